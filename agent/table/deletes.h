/* Deleted rows, from and to the table: position delete files (v2) and deletion vectors (v3).
 * https://iceberg.apache.org/spec/#row-level-deletes */
#pragma once

#include "agent/table/live.h"

typedef struct DeleteFiles {
    DataFile *files; /* owned */
    size_t count;
} DeleteFiles;
void delete_files_done(DeleteFiles *files);

/* Marks what the head's delete files name as deleted in `files` (numbers from 1, none touched).
 * Equality deletes are CONFIG "EqualityDeletes". */
MUST_CHECK bool deletes_load(IcebergTable *iceberg, Store *store, LiveFiles *files, Error *err);

/* One position delete file per partition, sorted by path and position, naming the deleted rows of
 * the files numbers[0..count). On false the files already in *ret are the caller's to delete. */
MUST_CHECK bool deletes_write_positions(IcebergTable *iceberg, Store *store, const LiveFiles *files,
                                        const uint32_t *numbers, size_t count, int zstd_level,
                                        DeleteFiles *ret, Error *err);
/* One Puffin file with a vector for each of the files. */
MUST_CHECK bool deletes_write_vectors(IcebergTable *iceberg, Store *store, const LiveFiles *files,
                                      const uint32_t *numbers, size_t count, DeleteFiles *ret,
                                      Error *err);
