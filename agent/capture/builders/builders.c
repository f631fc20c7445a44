#include "agent/capture/builders/builders.h"

#include "common/mem.h"

void builders_init(Builders *builders, size_t table_count, bool origins)
{
    *builders = (Builders){.table_count = table_count, .origins = origins};
    builders->tables = mem_array(table_count + 1, sizeof *builders->tables);
    builders->listed = mem_array(table_count + 1, sizeof *builders->listed);
    for (size_t i = 0; i < table_count; i++)
        builders->tables[i].row_max = BUILDERS_ROWS_FIRST;
}

void builders_done(Builders *builders)
{
    for (size_t i = 0; i < builders->table_count; i++)
        batch_free(builders->tables[i].batch);
    for (size_t i = builders->ready_at; i < builders->ready_count; i++)
        change_done(&builders->ready[i]);
    free(builders->tables);
    free(builders->listed);
    free(builders->ready);
    *builders = (Builders){0};
}

Change *builders_push(Builders *builders, ChangeKind kind)
{
    if (builders->ready_at == builders->ready_count)
        builders->ready_at = builders->ready_count = 0;
    if (builders->ready_count == builders->ready_held) {
        builders->ready_held = builders->ready_held ? builders->ready_held * 2 : 16;
        builders->ready =
            mem_regrow(builders->ready, builders->ready_held, sizeof *builders->ready);
    }
    Change *change = &builders->ready[builders->ready_count++];
    *change = (Change){.kind = kind};
    return change;
}

bool builders_take(Builders *builders, Change *ret)
{
    if (builders->ready_at == builders->ready_count)
        return false;
    *ret = builders->ready[builders->ready_at++];
    return true;
}

void builders_flush(Builders *builders, uint32_t table)
{
    Builder *builder = &builders->tables[table];
    Batch *batch = TAKE(builder->batch);
    if (!batch)
        return;
    builders->pending_bytes -= batch->bytes;
    if (batch->row_count == 0) {
        batch_free(batch);
        return;
    }
    if (batch->row_count + 1 >= batch->row_max && builder->row_max < BUILDERS_ROWS_MAX)
        builder->row_max *= 2;
    else if (batch->row_count < builder->row_max / 8 && builder->row_max > BUILDERS_ROWS_FIRST)
        builder->row_max /= 2;
    Change *change = builders_push(builders, CHANGE_BATCH);
    change->table = table;
    change->batch = batch;
}

void builders_flush_all(Builders *builders)
{
    for (size_t i = 0; i < builders->listed_count; i++) {
        builders_flush(builders, builders->listed[i]);
        builders->tables[builders->listed[i]].listed = false;
    }
    builders->listed_count = 0;
    ASSERT(builders->pending_bytes == 0);
}

void builders_checkpoint(Builders *builders, RowPosition at, int64_t commit_us)
{
    builders_flush_all(builders);
    Change *change = builders_push(builders, CHANGE_CHECKPOINT);
    change->position.at = at;
    change->commit_us = commit_us;
    builders->checkpoint_bytes = 0;
}

Change *builders_schema(Builders *builders, uint32_t table, const SourceTable *source,
                        RowPosition at)
{
    Change *change = builders_push(builders, CHANGE_SCHEMA);
    change->table = table;
    change->row = at;
    change->schema = source->schema;
    change->shape = source->shape;
    return change;
}

Batch *builders_new_batch(Builders *builders, uint32_t table, const Schema *schema)
{
    Builder *builder = &builders->tables[table];
    builders_flush(builders, table);
    builder->batch = batch_new(schema, table, builder->row_max);
    if (builders->origins)
        origins_keep(builder->batch);
    if (!builder->listed) {
        builder->listed = true;
        builders->listed[builders->listed_count++] = table;
    }
    return builder->batch;
}
