/* Parquet, as far as Iceberg tables need it: a narrow writer and a narrow reader of our own.
 * https://github.com/apache/parquet-format (README, Encodings, PageIndex, BloomFilter,
 * parquet.thrift)
 *
 * Writer: values are encoded as they come (dictionary with fall-back to delta or byte stream split,
 * per column), pages are compressed as they fill; only compressed pages wait for the row group's
 * end. Columns carry Iceberg field ids. Statistics, page index, and bloom filters on the fields
 * asked for. Reader: by field id, whole columns, row order kept; hostile input is DATA, never a
 * crash.
 *
 * One writer or reader belongs to one thread at a time. */
#pragma once

#include "agent/record/batch.h"
#include "agent/store/store.h"
#include "common/error.h"

/* ---------- writer ---------- */
typedef struct ParquetWriter ParquetWriter;

typedef struct ParquetOptions {
    int zstd_level;         /* 1..22; 0: uncompressed */
    size_t row_group_bytes; /* a row group ends at this many compressed bytes, default 32 MiB */
    size_t row_group_rows;  /* … or this many rows, default 1 Mi */
    size_t page_bytes; /* encoded bytes per page, default 1 MiB (of large values an eighth); also
                        * ends at 20,000 rows … */
    const int32_t *bloom_ids; /* field ids that get a bloom filter */
    size_t bloom_count;
    /* Strings that no dictionary holds are PLAIN, not DELTA_LENGTH_BYTE_ARRAY: for position
     * deletes, whose file_path pyiceberg has pyarrow read into a dictionary, which it can't from
     * deltas. */
    bool plain_strings;
    const char *created_by;  /* NULL: "firn version …" */
    const char *schema_json; /* Iceberg schema JSON for the "iceberg.schema" key; NULL: none */
} ParquetOptions;

void parquet_options_default(ParquetOptions *options);

/* What Iceberg wants to know of a finished file. Arrays have field_count entries, leaf fields in
 * schema order (a list counts by its element). Bounds are in Iceberg's single-value serialization
 * (https://iceberg.apache.org/spec/#binary-single-value-serialization), string and binary cut to 16
 * characters or bytes (upper bound rounded up, absent if it can't be); NULL: none. NaN are counted
 * and left out. */
typedef struct ParquetFieldMetrics {
    int32_t field_id;
    int64_t column_bytes; /* compressed, in the file */
    int64_t value_count;  /* nulls included */
    int64_t null_count;
    int64_t nan_count; /* -1 where the type has none */
    uint8_t lower[40], upper[40];
    uint8_t lower_bytes, upper_bytes; /* 0: absent; an empty string's bound is marked by has_* */
    bool has_lower, has_upper;
} ParquetFieldMetrics;

typedef struct ParquetFileInfo {
    uint64_t rows;
    uint64_t bytes;
    ParquetFieldMetrics *fields; /* owned */
    size_t field_count;
    int64_t *split_offsets; /* start of each row group; owned */
    size_t split_count;
} ParquetFileInfo;
void parquet_file_info_done(ParquetFileInfo *info);

void parquet_writer_free(ParquetWriter *writer); /* aborts what was not finished */
/* The schema (with ids assigned) must outlive the writer; takes `sink` in any case. */
ParquetWriter *parquet_writer_open(const Schema *schema, const ParquetOptions *options,
                                   StoreWriter *sink, Error *err) OWNED_BY(parquet_writer_free);

/* Appends count rows: the rows selection[0..count) of the columns, in that order; selection NULL:
 * rows 0..count. columns[i] belongs to the schema's field i. A null in a required field is DATA and
 * names it. */
MUST_CHECK bool parquet_writer_put(ParquetWriter *writer, const Column *const *columns,
                                   const uint32_t *selection, size_t count, Error *err);
uint64_t parquet_writer_rows(const ParquetWriter *writer); /* put so far */
uint64_t
parquet_writer_bytes(const ParquetWriter *writer); /* written and waiting, compressed (estimate) */
size_t parquet_writer_memory(const ParquetWriter *writer); /* bytes held */
/* The row group ends here, if that frees half of the memory at least; else *ret_ended is false. */
MUST_CHECK bool parquet_writer_ease(ParquetWriter *writer, bool *ret_ended, Error *err);

/* Ends the file and its sink (durable). *ret is the caller's. The writer still wants freeing. */
MUST_CHECK bool parquet_writer_finish(ParquetWriter *writer, ParquetFileInfo *ret, Error *err);

/* ---------- reader ---------- */
typedef struct ParquetReader ParquetReader;

void parquet_reader_free(ParquetReader *reader);
/* Reads the fields of `wanted` (matched by id; promotions of Iceberg's rules are done: int → long,
 * float → double, decimal precision). A field missing in the file reads as null. Takes `file` in
 * any case; `wanted` must outlive it. */
ParquetReader *parquet_reader_open(StoreReader *file, const Schema *wanted, Error *err)
    OWNED_BY(parquet_reader_free);
size_t parquet_reader_memory(const ParquetReader *reader); /* once it rests */
uint64_t parquet_reader_rows(const ParquetReader *reader); /* of the file */
/* The next rows, in file order, every row once; *ret NULL at the end. Row n of the file is the n-th
 * row handed out. The caller owns the batch; its schema is `wanted`, ops are ROW_READ, positions
 * {0, row in file}. */
MUST_CHECK bool parquet_reader_next(ParquetReader *reader, Batch **ret, Error *err);
/* Appends the value that field number `field` of `wanted` has in that row of the file, to a column
 * of its type that has room. Cheap from row to later row: pages in between are not read, where the
 * file has an offset index. A reader either picks or goes through with parquet_reader_next. */
MUST_CHECK bool parquet_reader_pick(ParquetReader *reader, uint32_t field, uint64_t row,
                                    Batch *batch, Column *column, Error *err);
/* Gives its buffers back; what is known of the file stays. */
void parquet_reader_rest(ParquetReader *reader);
bool parquet_reader_has(const ParquetReader *reader, uint32_t field); /* or every value is null */

DEFINE_AUTO(ParquetWriter, parquet_writer_free);
DEFINE_AUTO(ParquetReader, parquet_reader_free);
