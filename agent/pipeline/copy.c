/* The initial copy. Each worker is one thread with one connection in the shared snapshot: it reads
 * a range, and encodes it into a file of its own, so that no row crosses a thread. The tables are
 * taken one after another, largest first, each in ranges; who finishes a table's last range commits
 * it, as one snapshot. */
#include <stdlib.h>
#include <string.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define RANGE_BYTES ((uint64_t)32 << 20)
#define RANGES_MAX 4096

typedef struct CopyTable {
    BoundTable *bound;
    TableCopy *copy;
    CopyRange *ranges;
    size_t range_count;
    size_t next;     /* the next range to hand out */
    size_t finished; /* ranges whose rows are in finished files */
    atomic_uint_fast64_t rows;
    int64_t started_us;
} CopyTable;

typedef struct CopyRun {
    Flow *flow;
    CopyTable *tables;
    size_t table_count;
    size_t current; /* tables before it have handed out every range */
    CopyReader **readers;
    size_t worker_count;
    pthread_mutex_t lock;
    /* maxRowsPerSecond */
    uint64_t rows_per_second;
    int64_t started_us;
    atomic_uint_fast64_t rows;
} CopyRun;

typedef struct Worker {
    CopyRun *run;
    size_t number;
} Worker;

static bool copy_over(CopyRun *run)
{
    return flow_failed(run->flow) || flow_stopping(run->flow);
}

/* The next range of any table; NULL when there is none. */
static CopyTable *range_take(CopyRun *run, CopyRange *ret)
{
    CopyTable *found = NULL;
    pthread_mutex_lock(&run->lock);
    for (; run->current < run->table_count && !found; run->current += !found) {
        CopyTable *table = &run->tables[run->current];
        if (table->next < table->range_count) {
            *ret = table->ranges[table->next++];
            found = table;
        }
    }
    pthread_mutex_unlock(&run->lock);
    return found;
}

/* Sleeps as long as the copy is ahead of its allowed rate. */
static void throttle(CopyRun *run)
{
    while (run->rows_per_second && !copy_over(run)) {
        double allowed_us = 1e6 * (double)atomic_load(&run->rows) / (double)run->rows_per_second;
        int64_t ahead_us = run->started_us + (int64_t)allowed_us - clock_mono_us();
        if (ahead_us <= 0)
            return;
        clock_sleep_us(ahead_us < 100000 ? ahead_us : 100000);
    }
}

static bool range_copy(CopyRun *run, CopyReader *reader, const CopyRange *range, CopyTable *table,
                       TableCopyWriter *writer, Error *err)
{
    if (!capture_copy_begin(reader, range, err))
        return false;
    for (;;) {
        AUTO(batch_free) Batch *batch = NULL;
        if (copy_over(run))
            return error_set(err, ERROR_RETRY, "Cancelled", "the copy was stopped");
        if (!capture_copy_next(reader, &batch, err))
            return false;
        if (!batch)
            return true;
        if (!table_copy_put(writer, batch, err))
            return false;
        atomic_fetch_add(&table->rows, batch->row_count);
        atomic_fetch_add(&run->flow->rows, batch->row_count);
        atomic_fetch_add(&run->rows, batch->row_count);
        metric_add(table->bound->metrics.changes, batch->row_count);
        throttle(run);
    }
}

static bool table_finish(CopyRun *run, CopyTable *table, Error *err)
{
    BoundTable *bound = table->bound;
    CRASH_POINT("copy-table-read");
    if (!table_copy_close(table->copy, err))
        return error_wrap(err, "table %s", bound->name);
    FollowAction action = follow_copied(&bound->follow, run->flow->copied.at);
    while (flow_obey(run->flow, bound, action, err) && !follow_is_settled(&bound->follow)) {
        if (copy_over(run))
            return error_set(err, ERROR_RETRY, "Cancelled", "the copy was stopped");
        clock_sleep_us(10000);
        action = follow_tick(&bound->follow, clock_mono_us(), 0, false);
    }
    if (!follow_is_settled(&bound->follow))
        return false;
    bound->complete = true;
    log_info("table copied", LOG_T("table", bound->name), LOG_U("rows", table->rows),
             LOG_F("seconds", (double)(clock_mono_us() - table->started_us) / 1e6));
    return true;
}

/* Everything this worker wrote of one table is whole now; the last one commits. */
static bool writer_finish(CopyRun *run, CopyTable *table, TableCopyWriter *writer, size_t ranges,
                          Error *err)
{
    if (!table_copy_finish(writer, err))
        return error_wrap(err, "table %s", table->bound->name);
    pthread_mutex_lock(&run->lock);
    table->finished += ranges;
    bool last = table->finished == table->range_count;
    pthread_mutex_unlock(&run->lock);
    return !last || table_finish(run, table, err);
}

static bool work(CopyRun *run, CopyReader *reader, Error *err)
{
    CopyTable *table = NULL;
    size_t ranges = 0;
    AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
    for (;;) {
        CopyRange range;
        CopyTable *next = range_take(run, &range);
        if (table && next != table) {
            if (!writer_finish(run, table, writer, ranges, err))
                return false;
            table_copy_writer_free(TAKE(writer));
            ranges = 0;
        }
        table = next;
        if (!table)
            return true;
        if (!writer) {
            writer = table_copy_writer_open(table->copy, err);
            if (!writer)
                return false;
        }
        if (!range_copy(run, reader, &range, table, writer, err))
            return error_wrap(err, "copy of %s", table->bound->name);
        ranges++;
    }
}

static void worker_run(void *argument)
{
    Worker *worker = argument;
    CopyRun *run = worker->run;
    Error err = {0};
    if (!work(run, run->readers[worker->number], &err) && !flow_stopping(run->flow)) {
        flow_fail(run->flow, &err);
        for (size_t i = 0; i < run->worker_count; i++)
            capture_copy_cancel(run->readers[i]);
    }
}

static int larger_first(const void *a, const void *b)
{
    uint64_t x = ((const CopyTable *)a)->bound->source->bytes_estimate;
    uint64_t y = ((const CopyTable *)b)->bound->source->bytes_estimate;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool tables_plan(CopyRun *run, Error *err)
{
    Flow *flow = run->flow;
    run->tables = mem_array(flow->table_count, sizeof *run->tables);
    for (size_t i = 0; i < flow->table_count; i++)
        if (!flow->tables[i].complete)
            run->tables[run->table_count++].bound = &flow->tables[i];
    qsort(run->tables, run->table_count, sizeof *run->tables, larger_first);
    uint64_t rows = 0;
    for (size_t i = 0; i < run->table_count; i++) {
        CopyTable *table = &run->tables[i];
        table->started_us = clock_mono_us();
        table->copy = table_copy_start(table->bound->table, err);
        if (!table->copy)
            return error_wrap(err, "table %s", table->bound->name);
        uint64_t pieces = table->bound->source->bytes_estimate / RANGE_BYTES + 1;
        if (pieces > RANGES_MAX)
            pieces = RANGES_MAX;
        if (flow->pipeline->connector->snapshot_mode != SNAPSHOT_NEVER &&
            !capture_copy_plan(flow->capture, table->bound->number, pieces, &table->ranges,
                               &table->range_count, err))
            return false;
        if (table->range_count == 0 && !table_finish(run, table, err))
            return false;
        rows += table->bound->source->rows_estimate;
    }
    pthread_mutex_lock(&flow->pipeline->lock);
    flow->pipeline->figures.copy_rows_estimate = rows;
    pthread_mutex_unlock(&flow->pipeline->lock);
    return true;
}

static bool workers_run(CopyRun *run, Error *err)
{
    size_t ranges = 0;
    for (size_t i = 0; i < run->table_count; i++)
        ranges += run->tables[i].range_count;
    size_t wanted = run->flow->pipeline->connector->snapshot_parallelism;
    run->worker_count = wanted < ranges ? wanted : ranges;
    run->readers = mem_array(run->worker_count, sizeof(CopyReader *));
    AUTO(mem_free) Worker *workers = mem_array(run->worker_count, sizeof *workers);
    AUTO(mem_free) Thread **threads = mem_array(run->worker_count, sizeof *threads);
    for (size_t i = 0; i < run->worker_count; i++) {
        run->readers[i] = capture_copy_reader_open(run->flow->capture, err);
        if (!run->readers[i])
            return false;
    }
    for (size_t i = 0; i < run->worker_count; i++) {
        workers[i] = (Worker){.run = run, .number = i};
        threads[i] = thread_start("copy", worker_run, &workers[i]);
    }
    for (size_t i = 0; i < run->worker_count; i++)
        thread_join(threads[i]);
    if (flow_failed(run->flow)) {
        *err = run->flow->error;
        return false;
    }
    return true;
}

bool flow_copy(Flow *flow, Error *err)
{
    CopyRun run = {.flow = flow,
                   .rows_per_second = flow->pipeline->connector->snapshot_rows_per_second,
                   .started_us = clock_mono_us()};
    pthread_mutex_init(&run.lock, NULL);
    bool any = false;
    for (size_t i = 0; i < flow->table_count; i++)
        any = any || !flow->tables[i].complete;
    if (any)
        flow_phase(flow, PHASE_SNAPSHOTTING);
    bool ok = !any || (tables_plan(&run, err) && workers_run(&run, err));
    for (size_t i = 0; i < run.worker_count && run.readers; i++)
        capture_copy_reader_free(run.readers[i]);
    for (size_t i = 0; i < run.table_count; i++) {
        table_copy_free(run.tables[i].copy);
        free(run.tables[i].ranges);
    }
    free(run.readers);
    free(run.tables);
    pthread_mutex_destroy(&run.lock);
    return ok && capture_copy_done(flow->capture, err);
}
