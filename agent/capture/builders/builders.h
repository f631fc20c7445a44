/* What a reader of the log has made of it and not handed on: for each table the batch that is being
 * built, and the queue of changes that are ready. A full batch is ready at once, the others when
 * they are flushed: with a checkpoint, before a change that has to stand behind their rows, and
 * when too much is pending in all of them. Pure; one thread at a time. */
#pragma once

#include "agent/capture/capture.h"

#define BUILDERS_ROWS_FIRST 32
#define BUILDERS_ROWS_MAX 8192
#define BUILDERS_PENDING_BYTES_MAX ((uint64_t)32 << 20) /* in batches that are not full */

typedef struct Builder {
    Batch *batch;     /* NULL: none; then, or once it was, the table is listed */
    uint32_t row_max; /* of the next batch: grows with the flow, so that 1,000 tables stay small */
    bool listed;      /* in Builders.listed */
    uint64_t order, order_of; /* changes in transaction number order_of */
} Builder;

typedef struct Builders {
    Builder *tables;
    size_t table_count;
    bool origins;     /* are kept with the rows */
    uint32_t *listed; /* tables whose builder has (had) rows */
    size_t listed_count;
    uint64_t pending_bytes;    /* in batches that are not full */
    uint64_t checkpoint_bytes; /* payload since the latest checkpoint */

    Change *ready; /* ready_at … ready_count */
    size_t ready_at, ready_count, ready_held;

    uint64_t transaction; /* the how manieth */
    uint64_t order;       /* changes in it, of all tables */
} Builders;

void builders_init(Builders *builders, size_t table_count, bool origins);
void builders_done(Builders *builders);

/* The next ready change, to be filled in at once; or taken. */
Change *builders_push(Builders *builders, ChangeKind kind);
bool builders_take(Builders *builders, Change *ret);
/* What a table's batch holds becomes ready; every table's. */
void builders_flush(Builders *builders, uint32_t table);
void builders_flush_all(Builders *builders);
/* Every batch, and behind them a checkpoint, becomes ready. */
void builders_checkpoint(Builders *builders, RowPosition at, int64_t commit_us);
/* The columns that the table has from `at` on; the table's batch was flushed before it got them. */
Change *builders_schema(Builders *builders, uint32_t table, const SourceTable *source,
                        RowPosition at);

/* For builders_batch. */
Batch *builders_new_batch(Builders *builders, uint32_t table, const Schema *schema);
/* The table's batch, with room for a pair of rows. */
static inline Batch *builders_batch(Builders *builders, uint32_t table, const Schema *schema)
{
    Batch *batch = builders->tables[table].batch;
    if (LIKELY(batch && batch->row_count + 2 <= batch->row_max))
        return batch;
    return builders_new_batch(builders, table, schema);
}
/* After a change's rows: is the batch full, or too much pending? bytes_before: of the batch, when
 * builders_batch gave it. It may be gone afterwards. */
static inline void builders_filled(Builders *builders, uint32_t table, const Batch *batch,
                                   size_t bytes_before)
{
    size_t bytes = batch->bytes - bytes_before;
    builders->pending_bytes += bytes;
    builders->checkpoint_bytes += bytes;
    if (batch_is_full(batch))
        builders_flush(builders, table);
    if (UNLIKELY(builders->pending_bytes > BUILDERS_PENDING_BYTES_MAX))
        builders_flush_all(builders);
}
/* Nothing was put after all, though values of it may still take room in the batch. */
static inline void builders_refused(Builders *builders, const Batch *batch, size_t bytes_before)
{
    builders->pending_bytes += batch->bytes - bytes_before;
}

/* The changes that follow are another transaction's; its orders begin at 1. */
static inline void builders_begin(Builders *builders)
{
    builders->transaction++;
    builders->order = 0;
}
/* A change's place in the transaction, and of the table in it. */
static inline uint64_t builders_count(Builders *builders, uint32_t table, uint64_t *ret_of_table)
{
    Builder *builder = &builders->tables[table];
    if (builder->order_of != builders->transaction)
        builder->order = 0;
    builder->order_of = builders->transaction;
    *ret_of_table = ++builder->order;
    return ++builders->order;
}
/* The one counted last comes, and is counted, again. */
static inline void builders_uncount(Builders *builders, uint32_t table)
{
    builders->order--;
    builders->tables[table].order--;
}
