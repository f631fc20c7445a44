/* A writer thread owns some tables: it applies their batches in order and commits at checkpoints,
 * when a table's interval has passed, its pending files are large, or the flow drains. A table may
 * be committed at checkpoint P as long as no row after P was applied to it. */
#include <unistd.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

#define QUEUE_ITEMS 256
#define QUEUE_BYTES ((size_t)24 << 20)
#define TICK_MS 50

static void item_free(void *at)
{
    Item *item = at;
    batch_free(item->batch);
    free(item);
}

static bool commit(Flow *flow, BoundTable *table, Error *err)
{
    Position position = position_of(capture_source(flow->capture), table->checkpoint);
    if (!table_commit(table->table, &position, err))
        return error_wrap(err, "table %s", table->name);
    CRASH_POINT("writer-committed");
    table->pending = false;
    table->clean = table->checkpoint;
    atomic_fetch_add(&flow->commits, 1);
    Position committed;
    bool complete;
    table_position(table->table, &complete, &committed);
    pthread_mutex_lock(&flow->lock);
    table->committed = committed;
    table->snapshot = table_snapshot(table->table);
    pthread_mutex_unlock(&flow->lock);
    progress_table(table);
    return true;
}

static bool is_due(const BoundTable *table, int64_t now_us, bool drain)
{
    if (!table->pending || table->past_checkpoint)
        return false;
    if (drain || now_us - table->pending_since_us >= table->spec->commit_interval_ms * 1000)
        return true;
    TableFigures figures;
    table_figures(table->table, &figures);
    return figures.pending_bytes >= table->spec->file_target_bytes;
}

/* Commits what is due, and says how far everything of this writer is durable. */
static bool settle(Writer *writer, RowPosition *checkpoint, bool drain, Error *err)
{
    int64_t now_us = clock_mono_us();
    RowPosition low = *checkpoint;
    for (size_t i = 0; i < writer->table_count; i++) {
        BoundTable *table = writer->tables[i];
        if (is_due(table, now_us, drain) && !commit(writer->flow, table, err))
            return false;
        if (!table->pending)
            table->clean = *checkpoint;
        else if (row_position_compare(table->clean, low) < 0)
            low = table->clean;
    }
    pthread_mutex_lock(&writer->flow->lock);
    writer->low = low;
    pthread_mutex_unlock(&writer->flow->lock);
    return true;
}

static void mark_pending(BoundTable *table)
{
    if (!table->pending)
        table->pending_since_us = clock_mono_us();
    table->pending = true;
    table->past_checkpoint = true;
}

static bool apply(Writer *writer, const Item *item, RowPosition *checkpoint, Error *err)
{
    BoundTable *table = item->table;
    switch (item->kind) {
    case ITEM_BATCH:
        mark_pending(table);
        if (!table_put(table->table, item->batch, err))
            return error_wrap(err, "table %s", table->name);
        atomic_fetch_add(&writer->flow->rows, item->batch->row_count);
        metric_add(table->metrics.changes, item->batch->row_count);
        return true;
    case ITEM_TRUNCATE:
        mark_pending(table);
        if (!table_truncate(table->table, item->row, err))
            return error_wrap(err, "table %s", table->name);
        return true;
    case ITEM_CHECKPOINT:
        *checkpoint = item->row;
        for (size_t i = 0; i < writer->table_count; i++) {
            writer->tables[i]->checkpoint = item->row;
            writer->tables[i]->past_checkpoint = false;
        }
        return settle(writer, checkpoint, false, err);
    case ITEM_DRAIN:
        return settle(writer, checkpoint, true, err);
    }
    ASSERT(false);
}

static void serve(Writer *writer)
{
    Error err = {0};
    RowPosition checkpoint = writer->low;
    while (!flow_failed(writer->flow)) {
        void *at;
        QueueResult result = queue_take(writer->queue, &at, TICK_MS);
        if (result == QUEUE_CLOSED)
            return;
        bool ok;
        if (result == QUEUE_TIMEOUT) {
            ok = settle(writer, &checkpoint, false, &err);
        } else {
            ok = apply(writer, at, &checkpoint, &err);
            item_free(at);
        }
        if (!ok)
            flow_fail(writer->flow, &err);
    }
}

static void run(void *argument)
{
    Writer *writer = argument;
    serve(writer);
    queue_close(writer->queue); /* a failed writer takes nothing more: put sees it */
    atomic_store(&writer->done, true);
}

void flow_writers_start(Flow *flow, RowPosition from)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cores > 1 ? (size_t)cores : 1;
    flow->writer_count = count < flow->table_count ? count : flow->table_count;
    flow->writers = mem_array(flow->writer_count, sizeof *flow->writers);
    for (size_t i = 0; i < flow->writer_count; i++) {
        Writer *writer = &flow->writers[i];
        writer->flow = flow;
        writer->low = from;
        writer->queue = queue_new(QUEUE_ITEMS, QUEUE_BYTES / flow->writer_count, item_free);
        writer->tables = mem_array(flow->table_count, sizeof(BoundTable *));
    }
    for (size_t i = 0; i < flow->table_count; i++) {
        BoundTable *table = &flow->tables[i];
        table->clean = table->checkpoint = from;
        Writer *writer = &flow->writers[table->number % flow->writer_count];
        writer->tables[writer->table_count++] = table;
    }
    for (size_t i = 0; i < flow->writer_count; i++)
        flow->writers[i].thread = thread_start("writer", run, &flow->writers[i]);
}

void flow_writers_join(Flow *flow)
{
    for (size_t i = 0; i < flow->writer_count; i++)
        queue_close(flow->writers[i].queue);
    for (size_t i = 0; i < flow->writer_count; i++) {
        thread_join(flow->writers[i].thread);
        queue_free(flow->writers[i].queue);
        free(flow->writers[i].tables);
    }
    free(flow->writers);
    flow->writers = NULL;
    flow->writer_count = 0;
}

RowPosition flow_durable(Flow *flow)
{
    RowPosition low = {UINT64_MAX, UINT64_MAX};
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < flow->writer_count; i++)
        if (row_position_compare(flow->writers[i].low, low) < 0)
            low = flow->writers[i].low;
    pthread_mutex_unlock(&flow->lock);
    return low;
}
