/* What an update left out, because it is large and did not change (batch.h: unchanged), from the
 * row that the update replaces: it stands in the batch at hand, or in a data file, committed or
 * not. The values of a batch are read file by file and column by column, each page once, at most
 * FILL_BYTES of them at a time; and what was written lately is kept, FILL_KEPT_BYTES of it, from
 * the first such update of a column on: rows are changed again soon after they came, while the file
 * that has them is still open, and reading it means closing it. */
#pragma once

#include "agent/record/batch.h"
#include "agent/store/store.h"
#include "agent/table/index.h"
#include "agent/table/readers.h"

#define FILL_BYTES ((size_t)16 << 20)
#define FILL_KEPT_BYTES ((size_t)16 << 20)

/* Where the row stands that a row of the batch replaces: as in IndexEntry. */
typedef struct RowBase {
    uint32_t file, position;
} RowBase;

typedef struct FillOptions {
    Store *store;
    const Schema *schema; /* of the table; outlives the fill, or the next fill_reset */
    WholeFile *file;
    void *context;
} FillOptions;

typedef struct Fill Fill;
void fill_free(Fill *fill);
Fill *fill_new(const FillOptions *options) OWNED_BY(fill_free);
/* The table has other columns from here on, or no rows. */
void fill_reset(Fill *fill, const Schema *schema);

/* A batch, whose columns stand in the table's order. *ret_bases: to be filled in, per row of the
 * batch from `from` on. The batch stays until the next call. */
void fill_begin(Fill *fill, const Batch *batch, const Column *const *columns, uint32_t from,
                RowBase **ret_bases);
/* The bases are there: what is written of the batch may be asked for. */
void fill_resolve(Fill *fill);
/* Rows rows[0..*count), ascending, of those columns that have unchanged values: columns[i] becomes
 * one that has them, for these rows alone, until the next call. *count becomes less when they are
 * too large; never 0. RETRY "BaseRowMissing": the table has no such row. */
MUST_CHECK bool fill_rows(Fill *fill, const uint32_t *rows, size_t *count, const Column **columns,
                          Error *err);
/* The rows now stand at first_position and following of the file. */
void fill_keep(Fill *fill, uint32_t file, uint32_t first_position, const Column *const *columns,
               const uint32_t *rows, size_t count);
/* The batch is written: what was read for it goes. */
void fill_end(Fill *fill);
/* Bytes of what is kept, open files among it; giving them back costs reading what is asked for
 * again. Not between fill_rows and fill_end. */
size_t fill_kept(const Fill *fill);
void fill_forget(Fill *fill);
/* Does fill_keep do anything? */
bool fill_keeps(const Fill *fill);
uint64_t fill_count(const Fill *fill); /* values filled in so far */
size_t fill_memory(const Fill *fill);  /* between batches */
