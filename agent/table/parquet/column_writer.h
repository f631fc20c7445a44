/* One leaf column being written: values are staged dense until a page is full, the page is encoded,
 * compressed and kept until the row group ends. Data pages are version 1: every reader knows them.
 *
 * Which encoding: a column starts with a dictionary; soon (4096 values) and at the first page's end
 * it is asked whether the dictionary pays, else what is staged is turned back to values and the
 * column goes on without: DELTA_BINARY_PACKED for integers and dates, BYTE_STREAM_SPLIT for floats,
 * DELTA_LENGTH_BYTE_ARRAY for strings, PLAIN for the rest. */
#pragma once

#include "agent/store/store.h"
#include "agent/table/parquet/bloom.h"
#include "agent/table/parquet/codec.h"
#include "agent/table/parquet/dictionary.h"
#include "agent/table/parquet/gather.h"
#include "agent/table/parquet/range.h"

#define PAGE_ROWS_MAX 20000

/* What the columns of a writer share. */
typedef struct PageWorkshop {
    Compressor *compressor;
    Bytes body;  /* a page before it is compressed */
    Bytes spare; /* for trials */
    Bytes header;
    Bytes chunk; /* dense values on their way to a dictionary */
    Bytes rows;  /* of what is nested: which of the leaf's own column hold values */
    size_t page_bytes;
    size_t group_rows;
    bool plain_strings; /* as in ParquetOptions */
} PageWorkshop;

typedef struct Page {
    uint8_t *data; /* header and compressed body */
    uint32_t bytes;
    uint32_t plain_bytes; /* header and body before compression */
    uint32_t rows;
    uint32_t slots; /* values and nulls */
    uint32_t nulls;
    uint8_t encoding;
    Range range;
} Page;

typedef enum DictionaryState {
    DICTIONARY_UNDECIDED, /* in the first page of a chunk */
    DICTIONARY_ON,
    DICTIONARY_CLOSING, /* full: this page is the last that uses it */
    DICTIONARY_OFF,
} DictionaryState;

typedef struct ColumnWriter {
    Leaf leaf;
    PageWorkshop *workshop;

    /* the page being filled */
    uint32_t rows, slots, values, nulls;
    Bytes validity;                 /* a bit per slot, of an optional column that is not nested */
    Bytes definitions, repetitions; /* uint32_t per slot, of what is nested */
    Bytes dense;                    /* values without a dictionary */
    Bytes lengths;                  /* of them, for BYTE_ARRAY: int32_t */
    Bytes numbers;                  /* with a dictionary: uint32_t */
    Range range;

    /* the column chunk */
    DictionaryState state;
    Dictionary dictionary;
    uint32_t *stamps; /* per entry: the latest page that has it */
    uint32_t stamps_held;
    uint32_t stamp;
    CompressorHabit habit, dictionary_habit;
    Page *pages;
    uint32_t page_count, pages_held;
    uint64_t page_bytes; /* of all pages here */
    bool wants_bloom;
    Bloom bloom;
    uint32_t bloom_entries; /* of the dictionary, in the filter already */
} ColumnWriter;

/* A chunk in the file, for the footer. */
typedef struct ChunkInfo {
    uint64_t dictionary_offset; /* 0: none */
    uint64_t data_offset;
    uint64_t bytes, plain_bytes;
    uint64_t slots, nulls;
    uint32_t dictionary_pages, numbered_pages; /* numbered: RLE_DICTIONARY */
    uint32_t direct_pages;
    uint8_t direct_encoding;
    bool has_bloom;
    uint64_t bloom_offset;
    uint32_t bloom_bytes;
    uint64_t column_index_at, offset_index_at;       /* in the file */
    uint32_t column_index_bytes, offset_index_bytes; /* 0: none */
    Range range;
} ChunkInfo;

void column_writer_init(ColumnWriter *writer, const Leaf *leaf, PageWorkshop *workshop,
                        bool wants_bloom);
void column_writer_done(ColumnWriter *writer);
void column_writer_put(ColumnWriter *writer, const Column *column, const Rows *rows);
/* Ends the chunk: pages go to the sink at *offset, which moves on; the indexes are appended. */
MUST_CHECK bool column_writer_flush(ColumnWriter *writer, StoreWriter *sink, uint64_t *offset,
                                    Bytes *column_indexes, Bytes *offset_indexes, ChunkInfo *ret,
                                    Error *err);
/* Compressed bytes waiting, and about how many the page being filled will take. */
uint64_t column_writer_bytes(const ColumnWriter *writer);
size_t column_writer_memory(const ColumnWriter *writer);
