/* Upsert: batches of changes against the key index. What is pending until the commit: new data
 * files (in the writer), deleted rows of files old and new (LiveFiles), and whether everything of
 * before the interval's truncate is to go. */
#pragma once

#include "agent/table/deletes.h"
#include "agent/table/keys.h"
#include "agent/table/writer.h"

typedef struct Upsert Upsert;

typedef struct UpsertOptions {
    Store *store;
    IcebergTable *iceberg;
    const Schema *schema;      /* of the table, key and all */
    const Schema *lineage;     /* with the row ids' columns; NULL in v2 */
    const Schema *source;      /* of the batches */
    const uint32_t *source_of; /* per field of schema: the batch's column, UINT32_MAX: none */
    DataWriter *writer;        /* not owned; made with the same lineage */
    int zstd_level;
    uint64_t seed;        /* of the keys' hashes; 0: random */
    const char *ordering; /* the column that says which version of a row is newer, among those of
                             `schema` (order.h); NULL: the later one */
} UpsertOptions;

void upsert_free(Upsert *upsert);
/* Everything options points to outlives it. Reads nothing yet. */
Upsert *upsert_new(const UpsertOptions *options, Error *err) OWNED_BY(upsert_free);
/* Builds the index from the keys of the table's live rows. DATA "DuplicateKey" when one stands
 * there twice. */
MUST_CHECK bool upsert_load(Upsert *upsert, Error *err);
/* Rows [from, row_count) of the batch. columns: the table's schema order. Values that updates left
 * out become those of the rows they replace; RETRY "BaseRowMissing" when there is no such row. */
MUST_CHECK bool upsert_put(Upsert *upsert, const Batch *batch, const Column *const *columns,
                           uint32_t from, Error *err);
/* While the table is copied, deleted keys are remembered: see upsert_take. */
void upsert_copying(Upsert *upsert, bool copying);
/* A piece of the copy: whole files of rows as a snapshot shows them. The rows of keys that are
 * known already, live or deleted, are deleted: what is known is as new, or will be
 * (agent/pipeline/copy.c). Keys are read back from the files. They go with the next commit; paths
 * and contents stay the caller's until then. */
MUST_CHECK bool upsert_take(Upsert *upsert, const DataFile *files, size_t count, Error *err);
/* Rows that a consumer of a group has written: whole files, and what became of each key, in the
 * order of its rows. Keys are hashed with the same seed. */
#define RUN_DELETED UINT32_MAX
typedef struct UpsertRun {
    const uint64_t *first, *second; /* second NULL: keys of 8 bytes */
    const uint32_t *files;          /* of those that joined, from 0; RUN_DELETED */
    const uint32_t *positions;
    size_t count;
} UpsertRun;
/* The files go with the next commit; paths and contents stay the caller's until then. Returns the
 * number of the first. */
uint32_t upsert_join(Upsert *upsert, const DataFile *files, size_t count);
MUST_CHECK bool upsert_run(Upsert *upsert, const UpsertRun *run, uint32_t first_file, Error *err);
bool upsert_is_wide(const Upsert *upsert); /* keys of 16 bytes */
/* The columns are others from here on, of the table and of the batches; the key's are the same, but
 * may stand elsewhere and be wider. */
void upsert_reshape(Upsert *upsert, const UpsertOptions *options);
/* Every row put or loaded so far is gone. */
void upsert_truncate(Upsert *upsert);

/* The pending files. ret_data: copies without ownership of the writer's files that are to be
 * committed; ret_removed: URIs of committed files without a live row. */
typedef struct UpsertPending {
    DataFile *added; /* data files, then delete files; contents belong to writer and `deletes` */
    size_t added_count;
    size_t data_count; /* of added; in the order of their numbers */
    const char **removed;
    size_t removed_count;
    const char **retired; /* URIs of position delete files that hold for nothing any more */
    size_t retired_count;
    DeleteFiles deletes;
    const char **dead; /* data files of this interval without a live row: not committed */
    size_t dead_count;
    bool remove_all;
} UpsertPending;
void upsert_pending_done(UpsertPending *pending);
/* Closes the data files and writes the delete files: all durable. On false, too, `pending` holds
 * what was written. */
MUST_CHECK bool upsert_finish(Upsert *upsert, UpsertPending *pending, Error *err);
/* pending->added, as the commit filled it in, is now the table's. */
void upsert_committed(Upsert *upsert, const UpsertPending *pending);

uint64_t upsert_rows(const Upsert *upsert);   /* live keys */
uint64_t upsert_filled(const Upsert *upsert); /* values that updates left out, so far */
/* Values kept lest they are read again (fill.h): their bytes; giving them back. */
size_t upsert_kept(const Upsert *upsert);
void upsert_forget(Upsert *upsert);
size_t upsert_memory(const Upsert *upsert); /* index and scratch; not the writer's */
