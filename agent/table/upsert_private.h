/* What upsert.c (changes), upsert_load.c (the index from the table) and upsert_commit.c (pending to
 * committed) share. */
#pragma once

#include "agent/table/fill.h"
#include "agent/table/order.h"
#include "agent/table/upsert.h"

/* A file that came whole. */
typedef struct TakenFile {
    uint32_t number;
    const DataFile *file;
} TakenFile;

struct Upsert {
    UpsertOptions options;
    bool lineage; /* v3 */
    KeyIndex *index;
    LiveFiles files;
    uint32_t first_pending; /* numbers from here are not committed yet: */
    uint32_t *numbers;      /* of the writer's files, in its order */
    uint32_t number_count, numbers_held;
    TakenFile *taken;
    size_t taken_count;
    bool remove_all; /* a truncate came; files hold only what is younger */
    KeyHasher hasher;
    Fill *fill;
    Order *order;      /* NULL: the later version counts */
    uint32_t ordering; /* its column, in the schema */
    /* of the batch at hand, by its rows */
    RowBase *bases; /* NULL: nothing was left out */
    uint32_t rows_held;
    uint32_t *slots;
    uint8_t *keep;
    uint32_t *selection;
    int64_t *row_ids; /* v3; INDEX_ROW_ID_NONE: to be inherited */
    uint8_t *row_id_bits;
    uint8_t *no_bits;
    Column row_id_column;
    Column sequence_column;
    const Column **columns; /* of the table, and the two */
};

/* Pending files are committed, or no more. */
static inline void upsert_none_pending(Upsert *upsert)
{
    upsert->first_pending = upsert->files.count;
    upsert->number_count = 0;
    upsert->taken_count = 0;
}
