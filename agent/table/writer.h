/* Data files being written: one open per partition, a bounded number of them, rows routed to them
 * by batch. A file is closed at its target size; the largest is closed when too many are open or
 * they hold too much memory. Finished files wait here for the commit; what is never committed is
 * deleted. One thread at a time; several writers of one table share only the lock for file names.
 */
#pragma once

#include <pthread.h>

#include "agent/table/iceberg/iceberg.h"

typedef struct DataWriter DataWriter;

#define WRITER_OPEN_MAX 64 /* files open at a time */

typedef struct DataWriterOptions {
    Store *store;
    IcebergTable *iceberg;
    pthread_mutex_t *names;    /* held around calls of iceberg; NULL: nobody else calls */
    const Schema *schema;      /* of the table */
    const Schema *lineage;     /* the same and _row_id, _last_updated_sequence_number; NULL: v2 */
    const PartitionSpec *spec; /* by which rows are routed */
    const char *schema_json;
    const char *name; /* that its files bear, until it is freed; NULL: iceberg's own */
    int zstd_level;
    uint64_t file_target_bytes;
    size_t memory_bytes_max;
    bool bloom_key; /* bloom filters on the schema's key columns */
} DataWriterOptions;

/* Told after rows were put: rows[0..count) of the batch now stand at first_position and following
 * of the file; files of one writer count from 0 in the order of their opening. */
typedef void DataPlaced(void *context, uint32_t file, uint32_t first_position, const uint32_t *rows,
                        size_t count);

void data_writer_free(DataWriter *writer); /* deletes its files */
/* Everything options points to outlives the writer. */
DataWriter *data_writer_new(const DataWriterOptions *options) OWNED_BY(data_writer_free);
void data_writer_limit(DataWriter *writer, size_t memory_bytes_max);

/* Appends the rows selection[0..count) of the columns (the table's schema order; with_row_ids: two
 * more, of the lineage schema). A file that was opened without row ids is closed when some come. */
MUST_CHECK bool data_writer_put(DataWriter *writer, const Column *const *columns,
                                const uint32_t *selection, size_t count, bool with_row_ids,
                                DataPlaced *placed, void *context, Error *err);
/* Gives most of its memory back: row groups end, or whole files where that would free little. */
MUST_CHECK bool data_writer_ease(DataWriter *writer, Error *err);
/* The table has other columns from here on: what is open is closed, what was finished waits on. */
MUST_CHECK bool data_writer_reshape(DataWriter *writer, const Schema *schema, const Schema *lineage,
                                    const char *schema_json, Error *err);
/* The URI of a file (as numbered for DataPlaced) that is whole: it is closed if it is open. The URI
 * is the writer's. */
MUST_CHECK bool data_writer_whole(DataWriter *writer, uint32_t file, const char **ret_uri,
                                  Error *err);
/* Closes every file: durable. *ret_files stay the writer's until it forgets or frees them. */
MUST_CHECK bool data_writer_finish(DataWriter *writer, DataFile **ret_files, size_t *ret_count,
                                   Error *err);
/* Committed, or nobody knows: the files are no longer the writer's to delete, numbers start anew.
 */
void data_writer_forget(DataWriter *writer);
/* Never to be committed: open files are aborted, finished ones deleted, as far as that can be. */
void data_writer_discard(DataWriter *writer);
uint64_t data_writer_bytes(const DataWriter *writer); /* of finished and open files */
size_t data_writer_memory(const DataWriter *writer);

DEFINE_AUTO(DataWriter, data_writer_free);
