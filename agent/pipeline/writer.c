/* A writer thread owns some tables: it applies their batches in order, and commits when the table's
 * Follow says so (agent/commit/follow.h). */
#include <stdlib.h>
#include <unistd.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define QUEUE_ITEMS 256
#define QUEUE_BYTES ((size_t)24 << 20)
#define BUFFERS_BYTES ((size_t)80 << 20) /* open files of all tables, and values kept of them */
#define TICK_MS 50

static void item_free(void *at)
{
    Item *item = at;
    batch_free(item->batch);
    piece_free(item->piece);
    free(item);
}

/* A table whose commit is being settled takes nothing: the queue fills meanwhile. */
static bool wait_settled(Writer *writer, BoundTable *table, Error *err)
{
    while (!follow_is_settled(&table->follow)) {
        if (flow_failed(writer->flow))
            return error_set(err, ERROR_RETRY, "Cancelled", "another table's writer has failed");
        if (!flow_obey(writer->flow, table, follow_tick(&table->follow, clock_mono_us(), 0, false),
                       err))
            return false;
        if (!follow_is_settled(&table->follow))
            clock_sleep_us(TICK_MS * 1000 / 4);
    }
    if (table->has_later)
        follow_checkpoint(&table->follow, table->later);
    table->has_later = false;
    return true;
}

static uint64_t pending_bytes(const BoundTable *table)
{
    TableFigures figures;
    table_figures(table->table, &figures);
    return figures.pending_bytes;
}

static bool commit_due(Writer *writer, BoundTable *table, bool drain, Error *err)
{
    Follow *follow = &table->follow;
    uint64_t bytes = follow->pending && !follow->past_checkpoint ? pending_bytes(table) : 0;
    bool now = flow_copy_due(table) || drain;
    FollowAction action = follow_tick(follow, clock_mono_us(), bytes, now);
    if (!flow_obey(writer->flow, table, action, err))
        return false;
    return (!drain && !(follow_is_settled(follow) && table->has_later)) ||
           wait_settled(writer, table, err);
}

/* Commits what is due, and says how far everything of this writer is durable. */
static bool settle(Writer *writer, bool drain, Error *err)
{
    Flow *flow = writer->flow;
    RowPosition low = {UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < writer->table_count; i++) {
        BoundTable *table = writer->tables[i];
        if (!commit_due(writer, table, drain, err))
            return false;
        RowPosition at = follow_low(&table->follow);
        if (row_position_compare(at, low) < 0)
            low = at;
    }
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < writer->table_count; i++) {
        RecordEntry entry;
        if (writer->tables[i]->entered)
            continue;
        writer->tables[i]->entered = true;
        follow_entry(&writer->tables[i]->follow, &entry);
        confirm_entry(&flow->confirm, (uint32_t)(writer->tables[i] - flow->tables), &entry);
    }
    confirm_low(&flow->confirm, writer->number, low);
    pthread_mutex_unlock(&flow->lock);
    return true;
}

static void look(Writer *writer, BoundTable *table)
{
    size_t buffers = table_buffers(table->table), kept = table_kept(table->table);
    writer->buffers += buffers - table->buffers;
    writer->kept += kept - table->kept;
    table->buffers = buffers;
    table->kept = kept;
}

static bool holds_too_much(const Writer *writer, size_t max)
{
    return writer->buffers + writer->kept > max;
}

/* Law 6: many tables together hold no more than a bound. The values that the fattest keep go first,
 * but for a quarter; then what the fattest have open ends as files; a bit more than needed, lest
 * the next batch asks again. */
static bool ease(Writer *writer, BoundTable *table, Error *err)
{
    look(writer, table);
    if (LIKELY(!holds_too_much(writer, writer->bytes_max)))
        return true;
    for (size_t i = 0; i < writer->table_count; i++) /* commits have emptied some */
        look(writer, writer->tables[i]);
    size_t enough = writer->bytes_max / 4 * 3;
    if (!holds_too_much(writer, writer->bytes_max))
        return true;
    while (holds_too_much(writer, enough) && writer->kept > writer->bytes_max / 4) {
        BoundTable *fattest = writer->tables[0];
        for (size_t i = 1; i < writer->table_count; i++)
            if (writer->tables[i]->kept > fattest->kept)
                fattest = writer->tables[i];
        table_forget(fattest->table);
        look(writer, fattest);
    }
    while (holds_too_much(writer, enough)) {
        BoundTable *fattest = writer->tables[0];
        for (size_t i = 1; i < writer->table_count; i++)
            if (writer->tables[i]->buffers > fattest->buffers)
                fattest = writer->tables[i];
        size_t before = fattest->buffers;
        if (!table_ease(fattest->table, err))
            return error_wrap(err, "table %s", fattest->name);
        look(writer, fattest);
        if (fattest->buffers >= before)
            break;
    }
    return true;
}

static bool put(Writer *writer, BoundTable *table, const Item *item, Error *err)
{
    RowPosition last =
        item->kind == ITEM_BATCH ? item->batch->positions[item->batch->row_count - 1] : item->row;
    if (!wait_settled(writer, table, err))
        return false;
    if (!follow_row(&table->follow, last, clock_mono_us()))
        return true; /* a restart repeats what the table has */
    bool ok = item->kind == ITEM_BATCH ? table_put(table->table, item->batch, err)
                                       : table_truncate(table->table, item->row, err);
    if (ok && item->kind == ITEM_TRUNCATE)
        flow_copy_truncated(table);
    if (!ok)
        flow_put_failed(writer->flow, table, err);
    return ok ? ease(writer, table, err) : error_wrap(err, "table %s", table->name);
}

/* The table's other columns go with the commit of the rows that follow. Those that came alone have
 * a commit of their own: what the log said of them is not said again, so it may not be passed
 * before the table has it. */
static bool evolve(Writer *writer, const Item *item, Error *err)
{
    BoundTable *table = item->table;
    if (!wait_settled(writer, table, err))
        return false;
    ASSERT(!table->copy.active); /* copy.c: else it would have begun anew */
    if (!table_evolve(table->table, item->schema, item->shape, err))
        return error_wrap(err, "table %s", table->name);
    if (item->alone)
        (void)follow_row(&table->follow, item->row, clock_mono_us()); /* false: it was committed */
    log_info("columns follow the source", LOG_T("table", table->name));
    CRASH_POINT("schema-evolved");
    return true;
}

static bool apply(Writer *writer, const Item *item, Error *err)
{
    BoundTable *table = item->table;
    switch (item->kind) {
    case ITEM_BATCH:
        if (!put(writer, table, item, err))
            return false;
        atomic_fetch_add(&writer->flow->rows, item->batch->row_count);
        metric_add(table->metrics.changes, item->batch->row_count);
        return true;
    case ITEM_TRUNCATE:
        return put(writer, table, item, err);
    case ITEM_PIECE:
        return wait_settled(writer, table, err) && flow_copy_piece(table, item->piece, err) &&
               settle(writer, false, err);
    case ITEM_SCHEMA:
        return evolve(writer, item, err);
    case ITEM_CHECKPOINT:
        for (size_t i = 0; i < writer->table_count; i++) {
            BoundTable *each = writer->tables[i];
            if (follow_is_settled(&each->follow)) {
                follow_checkpoint(&each->follow, item->row);
            } else {
                each->has_later = true;
                each->later = item->row;
            }
        }
        return settle(writer, false, err);
    case ITEM_DRAIN:
        return settle(writer, true, err);
    }
    ASSERT(false);
}

static void serve(Writer *writer)
{
    Error err = {0};
    while (!flow_failed(writer->flow)) {
        void *at;
        QueueResult result = queue_take(writer->queue, &at, TICK_MS);
        if (result == QUEUE_CLOSED)
            return;
        bool ok;
        if (result == QUEUE_TIMEOUT) {
            ok = settle(writer, false, &err);
        } else {
            ok = apply(writer, at, &err);
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

size_t flow_writers_count(const Flow *flow)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cores > 1 ? (size_t)cores : 1;
    return count < flow->table_count ? count : flow->table_count;
}

/* A test has no need of so many rows. */
static size_t buffers_bytes(void)
{
#ifdef FIRN_CRASH_POINTS
    const char *asked = getenv("FIRN_BUFFERS_BYTES");
    if (asked)
        return strtoull(asked, NULL, 10);
#endif
    return BUFFERS_BYTES;
}

void flow_writers_start(Flow *flow)
{
    flow->writer_count = flow_writers_count(flow);
    flow->writers = mem_array(flow->writer_count, sizeof *flow->writers);
    for (size_t i = 0; i < flow->writer_count; i++) {
        Writer *writer = &flow->writers[i];
        writer->flow = flow;
        writer->number = (uint32_t)i;
        writer->queue = queue_new(QUEUE_ITEMS, QUEUE_BYTES / flow->writer_count, item_free);
        queue_hold(writer->queue);
        writer->bytes_max = buffers_bytes() / flow->writer_count;
        writer->tables = mem_array(flow->table_count, sizeof(BoundTable *));
    }
    for (size_t i = 0; i < flow->table_count; i++) {
        BoundTable *table = &flow->tables[i];
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
