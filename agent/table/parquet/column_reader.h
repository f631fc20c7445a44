/* One leaf column being read: pages come in as they are needed, are decompressed one at a time, and
 * their values are decoded a slice of rows at a time into a batch's column. */
#pragma once

#include "agent/record/batch.h"
#include "agent/table/parquet/codec.h"
#include "agent/table/parquet/decode.h"
#include "agent/table/parquet/footer_read.h"

#define SLICE_VALUES 1024

/* A value of bytes, somewhere in a page, the dictionary or `built`. */
typedef struct Piece {
    const uint8_t *at;
    uint32_t bytes;
} Piece;

typedef struct ColumnReader {
    const Field *wanted; /* the leaf's */
    SourceLeaf source;
    StoreReader *file;
    Decompressor *decompressor;

    /* the chunk */
    Codec codec;
    uint64_t offset, end; /* what is still to be read */
    Bytes window;         /* the file's bytes from window_at on */
    uint64_t window_at;
    Bytes dictionary; /* plain values, with slack */
    Piece *pieces;    /* of the dictionary, for BYTE_ARRAY and FIXED */
    uint32_t dictionary_count;
    bool has_dictionary;

    /* the page */
    Bytes page; /* decompressed, with slack */
    uint32_t slots_left;
    int32_t encoding;
    HybridDecoder repetitions, definitions, numbers;
    DeltaDecoder delta, suffixes; /* numbers, or lengths; prefixes and suffixes */
    Reader values;
    const uint8_t *split; /* BYTE_STREAM_SPLIT: the first stream */
    size_t split_count, split_at;
    uint32_t bit; /* PLAIN booleans */
    Bytes previous, built;

    /* the slice */
    uint32_t levels[SLICE_VALUES], repeats[SLICE_VALUES]; /* definition, repetition */
    uint32_t level_at, level_count; /* read, not used: in nested fields only */
    Bytes row_levels; /* of the rows being put together: per slot definition, repetition */
    uint8_t present[SLICE_VALUES];
    union {
        int32_t i32[SLICE_VALUES];
        int64_t i64[SLICE_VALUES];
        float f32[SLICE_VALUES];
        double f64[SLICE_VALUES];
        uint8_t u8[SLICE_VALUES];
        uint8_t raw[SLICE_VALUES * 8];
        Piece pieces[SLICE_VALUES];
    } out;
    uint32_t indices[SLICE_VALUES];
    int64_t longs[SLICE_VALUES], more_longs[SLICE_VALUES];
} ColumnReader;

void column_reader_init(ColumnReader *reader, const Field *wanted, const SourceLeaf *source,
                        StoreReader *file, Decompressor *decompressor);
void column_reader_done(ColumnReader *reader);
void column_reader_rest(ColumnReader *reader); /* buffers are given back; start it anew */
void column_reader_start(ColumnReader *reader, const SourceChunk *chunk);
/* Goes on at the page that lies at `offset`, at its beginning; the chunk's first data page lies at
 * `first`. Not backwards. */
MUST_CHECK bool column_reader_jump(ColumnReader *reader, uint64_t first, uint64_t offset,
                                   Error *err);
/* Appends `rows` rows (at most SLICE_VALUES) of a field to the column; `readers` are its leaves'.
 */
MUST_CHECK bool field_take(ColumnReader *readers, const Field *field, Batch *batch, Column *column,
                           uint32_t rows, Error *err);
/* Passes over that many rows of one leaf; nested: of a field that is. */
MUST_CHECK bool leaf_pass(ColumnReader *reader, bool nested, uint32_t rows, Error *err);
/* --- nested_read.c: the same of a list, map or struct --- */
MUST_CHECK bool nested_leaf_take(ColumnReader *reader, Batch *batch, Column *column, uint32_t rows,
                                 Error *err); /* column NULL: they are passed over */
MUST_CHECK bool nested_take(ColumnReader *readers, const Field *field, Batch *batch, Column *column,
                            uint32_t rows, Error *err);
/* Definition levels of the next `count` slots to reader->levels; how many are values. */
MUST_CHECK bool levels_take(ColumnReader *reader, uint32_t count, uint32_t *ret_values, Error *err);

/* --- page_read.c --- */
/* Makes the next data page the current one; DATA when the chunk has no more. */
MUST_CHECK bool page_next(ColumnReader *reader, Error *err);
/* Reads the dictionary that may stand before `first`, the first data page. */
MUST_CHECK bool page_dictionary(ColumnReader *reader, uint64_t first, Error *err);
/* --- value_read.c --- */
/* After page_next set encoding and values. */
MUST_CHECK bool values_open(ColumnReader *reader, Error *err);
/* The next values that are not null (at most SLICE_VALUES), to reader->out. */
MUST_CHECK bool values_take(ColumnReader *reader, uint32_t count, Error *err);
/* Bytes of a number as Parquet stores it; 0: pieces or BOOLEAN. */
size_t physical_width(Physical physical);
/* Cuts a plain dictionary into its values. */
MUST_CHECK bool dictionary_open(ColumnReader *reader, size_t bytes, Error *err);
MUST_CHECK bool column_data_error(const ColumnReader *reader, const char *what, Error *err);
/* --- value_put.c --- */
/* Appends `slots` values from reader->out, null where !present[i] (NULL: all are there). */
MUST_CHECK bool values_put(ColumnReader *reader, Batch *batch, Column *column,
                           const uint8_t *present, uint32_t slots, Error *err);
