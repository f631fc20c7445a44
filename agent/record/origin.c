#include "agent/record/origin.h"

#include <stdlib.h>

#include "common/mem.h"

void origins_keep(Batch *batch)
{
    ASSERT(batch->row_count == 0 && !batch->origins);
    Origins *origins = arena_take(batch->arena, sizeof *origins);
    size_t bytes = batch->row_max * sizeof *origins->rows;
    *origins = (Origins){.rows = arena_take(batch->arena, bytes)};
    memset(origins->rows, 0, bytes);
    batch->origins = origins;
    batch->as_sent = true;
}

static bool same(const TransactionOrigin *a, const TransactionOrigin *b)
{
    return a->id == b->id && a->last_commit_lsn == b->last_commit_lsn &&
           a->commit_us == b->commit_us && a->origin == b->origin &&
           a->origin_lsn == b->origin_lsn && a->file == b->file && a->server == b->server &&
           a->thread == b->thread;
}

uint32_t origins_transaction(Batch *batch, const TransactionOrigin *transaction)
{
    Origins *origins = batch->origins;
    uint32_t count = origins->transaction_count;
    if (count && same(&origins->transactions[count - 1], transaction))
        return count - 1;
    if (count == origins->transactions_held) {
        uint32_t held = count ? count * 2 : 4;
        origins->transactions =
            arena_regrow(batch->arena, origins->transactions, count * sizeof *transaction,
                         held * sizeof *transaction);
        origins->transactions_held = held;
    }
    origins->transactions[count] = *transaction;
    return origins->transaction_count++;
}

Batch *origins_before(Batch *batch)
{
    Origins *origins = batch->origins;
    if (!origins->before) {
        origins->before = batch_new(batch->schema, batch->table, batch->row_max);
        origins->before->as_sent = true;
    }
    return origins->before;
}

void log_message_free(LogMessage *message)
{
    if (!message)
        return;
    free(message->prefix);
    free(message->content);
    free(message);
}
