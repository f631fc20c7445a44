/* The initial copy, before the stream. Each reader is one thread with one connection in the shared
 * snapshot: it reads ranges of tables and makes records of them, which the capture thread sends.
 * When all of a range is acknowledged, the table's state says so; after a crash only what it does
 * not say is read again, in a new snapshot.
 *
 * Why that gives the source's table in the end, for whoever folds the topic by key: the stream
 * brings every change behind L, where the table's first snapshot was taken, in order, and each
 * key's records are in one partition, in the order sent. A row that no change behind L concerns
 * comes from whatever snapshot its range was read in. One that a change concerns gets its last word
 * from the stream, which comes behind the copy. Columns: a range is read under a lock that keeps
 * them, and is refused when they are not those that the copy began with; then it begins anew,
 * behind a record that empties the table.
 *
 * Transactional: a range's records, and that it is done, are committed together, so that nothing is
 * there twice; only a range of more than RANGE_HELD_MAX is cut, and a crash just then repeats it.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "agent/supervise/copying.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define RANGE_BYTES_TRANSACTIONAL ((uint64_t)2 << 20) /* it is held until it is whole */
#define RANGE_HELD_MAX ((size_t)64 << 20)
#define QUEUE_ITEMS 64
#define QUEUE_BYTES ((size_t)8 << 20)
#define PUT_MS 100
#define TAKE_MS 50
#define STATE_US 500000 /* so often the state is written */
#define REPORT_US 30000000

typedef struct CopyTask {
    RelayTable *table;
    CopyRange *ranges;
    size_t range_count;
    size_t next;   /* the next range to hand out */
    size_t unread; /* ranges whose last records are not in the queue yet */
} CopyTask;

/* From a reader to the capture thread. */
typedef struct Parcel {
    Outbox box;
    RelayTable *table;
    bool ends; /* the range's last */
    CopyRange range;
} Parcel;

typedef struct Reader {
    CopyRun *run;
    CopyReader *capture;
    Thread *thread;
    TopicTable **encoders; /* per table of the flow; its own */
    Parcel *parcel;        /* being filled; NULL: none */
} Reader;

/* What is done once all flights up to this one are acknowledged. */
typedef struct Note {
    uint64_t flight;
    RelayTable *table;
    Extent extent;
    bool completes;
} Note;

struct CopyRun {
    RelayFlow *flow;
    CopyTask *tasks;
    size_t task_count;
    size_t current; /* tasks before it have handed out every range */
    Reader *readers;
    size_t reader_count;
    atomic_size_t reading; /* readers that run */
    Queue *queue;
    Note *notes; /* in the order of flights */
    size_t note_head, note_count, notes_held;
    pthread_mutex_t lock; /* over ranges handed out, first */
    pthread_mutex_t end;  /* over the end of a range: the last one of all is the last */
    size_t unread;        /* ranges of all tables; under `end` */
    bool any;             /* a row was read: under `lock` */
    CopyPace pace;
    int64_t started_us, report_us, state_us;
};

static void parcel_free(void *at)
{
    Parcel *parcel = at;
    if (!parcel)
        return;
    outbox_done(&parcel->box);
    free(parcel);
}

static bool copy_over(const void *context)
{
    const CopyRun *run = context;
    return relay_failed(run->flow) || relay_stopping(run->flow);
}

static bool cancelled(Error *err)
{
    return error_set(err, ERROR_RETRY, "Cancelled", "the copy was stopped");
}

/* ---------- the readers ---------- */
static CopyTask *range_take(CopyRun *run, CopyRange *ret)
{
    CopyTask *found = NULL;
    pthread_mutex_lock(&run->lock);
    for (; run->current < run->task_count && !found; run->current += !found) {
        CopyTask *task = &run->tasks[run->current];
        if (task->next < task->range_count) {
            *ret = task->ranges[task->next++];
            found = task;
        }
    }
    pthread_mutex_unlock(&run->lock);
    return found;
}

static bool hand_over(Reader *reader, Error *err)
{
    Parcel *parcel = reader->parcel;
    for (;;) {
        QueueResult result =
            queue_put(reader->run->queue, parcel, parcel->box.records.bytes.held, PUT_MS);
        if (result == QUEUE_OK) {
            reader->parcel = NULL;
            return true;
        }
        if (result == QUEUE_CLOSED || copy_over(reader->run))
            return cancelled(err);
    }
}

static Parcel *parcel_of(Reader *reader, CopyTask *task, const CopyRange *range)
{
    if (!reader->parcel) {
        reader->parcel = mem_zalloc(sizeof *reader->parcel);
        reader->parcel->table = task->table;
        reader->parcel->range = *range;
    }
    return reader->parcel;
}

/* The records of a batch; `last` says what its last row is called. */
static bool put_batch(Reader *reader, CopyTask *task, const CopyRange *range, const Batch *batch,
                      TopicSnapshot last, Error *err)
{
    CopyRun *run = reader->run;
    RelayTable *table = task->table;
    AUTO(mem_free) TopicSnapshot *marks = mem_array(batch->row_count, sizeof *marks);
    for (uint32_t i = 0; i < batch->row_count; i++)
        marks[i] = TOPIC_SNAPSHOT_TRUE;
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&table->count.rows))
        marks[0] = run->any ? TOPIC_SNAPSHOT_FIRST_OF_TABLE : TOPIC_SNAPSHOT_FIRST;
    run->any = true;
    copying_put_rows(&table->count, batch->row_count);
    pthread_mutex_unlock(&run->lock);
    atomic_fetch_add(&run->flow->rows, batch->row_count);
    metric_add(table->changes, batch->row_count);
    if (last != TOPIC_SNAPSHOT_TRUE)
        marks[batch->row_count - 1] = last;
    size_t most = run->flow->transactional ? RANGE_HELD_MAX : FLIGHT_BYTES;
    for (uint32_t row = 0; row < batch->row_count;) {
        Parcel *parcel = parcel_of(reader, task, range);
        if (!relay_put_rows(run->flow, &parcel->box, table, reader->encoders[table->number], batch,
                            marks, most, &row, err) ||
            (parcel->box.records.bytes.used >= most && !hand_over(reader, err)))
            return false;
    }
    return true;
}

/* The range's last rows, and that it ends: one range after the other, so that what is called the
 * last one of the table is behind all others in the queue. */
static bool end_range(Reader *reader, CopyTask *task, const CopyRange *range, Batch *batch,
                      Error *err)
{
    CopyRun *run = reader->run;
    pthread_mutex_lock(&run->end);
    task->unread--;
    run->unread--;
    TopicSnapshot last = task->unread  ? TOPIC_SNAPSHOT_TRUE
                         : run->unread ? TOPIC_SNAPSHOT_LAST_OF_TABLE
                                       : TOPIC_SNAPSHOT_LAST;
    bool ok = !batch || put_batch(reader, task, range, batch, last, err);
    if (ok) {
        parcel_of(reader, task, range)->ends = true;
        ok = hand_over(reader, err);
    }
    pthread_mutex_unlock(&run->end);
    return ok;
}

static bool range_read(Reader *reader, CopyTask *task, const CopyRange *range, Error *err)
{
    CopyRun *run = reader->run;
    AUTO(batch_free) Batch *kept = NULL; /* the range's last so far */
    if (!capture_copy_begin(reader->capture, range, err))
        return false;
    for (;;) {
        Batch *batch = NULL;
        if (copy_over(run))
            return cancelled(err);
        if (!capture_copy_next(reader->capture, &batch, err))
            return false;
        if (!batch)
            break;
        copying_pace(&run->pace, batch->row_count, copy_over, run);
        Batch *before = kept;
        kept = batch;
        bool ok = !before || put_batch(reader, task, range, before, TOPIC_SNAPSHOT_TRUE, err);
        batch_free(before);
        if (!ok)
            return false;
    }
    if (!end_range(reader, task, range, kept, err))
        return false;
    copying_put_range(&task->table->count, range);
    return true;
}

static bool work(Reader *reader, Error *err)
{
    CopyRange range;
    for (CopyTask *task; (task = range_take(reader->run, &range));) {
        RelayTable *table = task->table;
        TopicTable **encoder = &reader->encoders[table->number];
        if (!*encoder)
            *encoder = table_encoder(reader->run->flow, table, table->source->schema, err);
        if (!*encoder || !range_read(reader, task, &range, err))
            return error_wrap(err, "copy of %s", table->name);
        CRASH_POINT("relay-range-read");
    }
    return true;
}

static void reader_run(void *argument)
{
    Reader *reader = argument;
    CopyRun *run = reader->run;
    Error err = {0};
    if (!work(reader, &err) && !relay_stopping(run->flow))
        relay_fail(run->flow, &err);
    /* its snapshot holds up VACUUM, and its locks DDL: no longer than needed */
    pthread_mutex_lock(&run->lock);
    CopyReader *capture = TAKE(reader->capture);
    pthread_mutex_unlock(&run->lock);
    capture_copy_reader_free(capture);
    parcel_free(TAKE(reader->parcel));
    atomic_fetch_sub(&run->reading, 1);
}

/* ---------- what becomes of it: the capture thread ---------- */
static void note(CopyRun *run, Note what)
{
    if (run->note_count == run->notes_held) {
        Note *notes = mem_array(run->notes_held ? run->notes_held * 2 : 64, sizeof *notes);
        for (size_t i = 0; i < run->note_count; i++)
            notes[i] = run->notes[(run->note_head + i) % run->notes_held];
        free(run->notes);
        run->notes = notes;
        run->note_head = 0;
        run->notes_held = run->notes_held ? run->notes_held * 2 : 64;
    }
    run->notes[(run->note_head + run->note_count++) % run->notes_held] = what;
}

static void keep_progress(RelayTable *table)
{
    free(table->state->progress);
    table->state->progress = table->state->complete ? NULL : extents_format(&table->done);
    table->dirty = true;
}

/* All up to that flight is there, or goes with what says so. */
static void settle_notes(CopyRun *run, uint64_t flight)
{
    while (run->note_count && run->notes[run->note_head].flight <= flight) {
        Note *at = &run->notes[run->note_head];
        RelayTable *table = at->table;
        if (at->completes)
            table->state->complete = true;
        else if (at->extent.version) /* else it could not be told whether it is the same later */
            extents_add(&table->done, at->extent);
        keep_progress(table);
        run->note_head = (run->note_head + 1) % run->notes_held;
        run->note_count--;
    }
}

/* Every row of the table is sent: the marker, and what is then done. */
static bool table_read(CopyRun *run, RelayTable *table, Error *err)
{
    RelayFlow *flow = run->flow;
    if (!table->topic.keyed)
        topic_encode_copied(table->encoder, table->state->begun,
                            outbox_to(&flow->box, &table->topic));
    if (!relay_send(flow, &flow->box, err))
        return false;
    note(run, (Note){.flight = flow->sent, .table = table, .completes = true});
    return true;
}

static bool take_parcel(CopyRun *run, Parcel *parcel, Error *err)
{
    RelayFlow *flow = run->flow;
    RelayTable *table = parcel->table;
    if (!relay_send(flow, &parcel->box, err))
        return false;
    if (!parcel->ends)
        return true;
    note(run, (Note){.flight = flow->sent, .table = table, .extent = parcel->range.extent});
    return --table->ranges_unsent || table_read(run, table, err);
}

static void table_copied(RelayFlow *flow, RelayTable *table)
{
    table->copying = false;
    flow->copying--;
    capture_copied(flow->capture, table->number);
    copying_end(&table->count, table->name);
}

/* States of tables that have come further; with Transactional they are committed with the rows. */
static bool put_states(CopyRun *run, Error *err)
{
    RelayFlow *flow = run->flow;
    for (size_t i = 0; i < run->task_count; i++) {
        RelayTable *table = run->tasks[i].table;
        if (table->dirty)
            state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
    }
    if (!relay_send(flow, &flow->box, err) || (flow->transactional && !relay_commit(flow, err)))
        return false;
    CRASH_POINT("relay-copy-state");
    for (size_t i = 0; i < run->task_count; i++) {
        RelayTable *table = run->tasks[i].table;
        table->dirty = false;
        if (table->copying && table->state->complete)
            table_copied(flow, table);
    }
    return true;
}

static bool step(CopyRun *run, bool last, Error *err)
{
    RelayFlow *flow = run->flow;
    int64_t now_us = clock_mono_us();
    if (!relay_acknowledge(flow, err))
        return false;
    if (now_us < run->state_us && !last)
        return true;
    run->state_us = now_us + STATE_US;
    settle_notes(run, flow->transactional ? flow->sent : flow->acknowledged);
    bool any = flow->in_transaction;
    for (size_t i = 0; i < run->task_count; i++)
        any = any || run->tasks[i].table->dirty;
    return !any || put_states(run, err);
}

static void report_if_due(CopyRun *run)
{
    int64_t now_us = clock_mono_us();
    if (now_us < run->report_us)
        return;
    run->report_us = now_us + REPORT_US;
    double seconds = (double)(now_us - run->started_us) / 1e6;
    uint64_t rows = atomic_load(&run->flow->rows);
    log_info("copying", LOG_U("tables", run->flow->copying), LOG_U("rows", rows),
             LOG_F("rows_per_second", seconds > 0 ? (double)rows / seconds : 0));
}

/* What is sent before the first row: that tables begin, and where. It must be there before them:
 * else rows of a copy that nobody knows of could stay in a topic for good. */
static bool begin(CopyRun *run, Error *err)
{
    RelayFlow *flow = run->flow;
    const TransactionOrigin snapshot = {.last_commit_lsn = flow->copied.at.major,
                                        .commit_us = clock_wall_us()};
    bool any = false;
    for (size_t i = 0; i < run->task_count; i++) {
        RelayTable *table = run->tasks[i].table;
        any = any || table->begins;
        if (!table->begins)
            continue;
        if (table->emptied && table->topic.keyed)
            log_warn("the copy begins anew, and a compacted topic can't be emptied: rows that were "
                     "deleted at the source meanwhile stay in it",
                     LOG_T("table", table->name), LOG_T("topic", table->topic.name));
        else if (table->emptied)
            outbox_put_emptied(&flow->box, table, &snapshot,
                               &(RowOrigin){.lsn = flow->copied.at.major}, flow->copied.at);
        if (!relay_put_definition(flow, table, err))
            return false;
        keep_progress(table);
        state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
        table->dirty = false;
    }
    if (!any)
        return true;
    const Position from = position_of(capture_source(flow->capture), flow->durable);
    AUTO(mem_free) char *anchor = capture_anchor(flow->capture, flow->durable);
    state_put_position(flow->relay->base.name, &from, anchor,
                       outbox_to(&flow->box, &flow->state_topic));
    if (!relay_send(flow, &flow->box, err) || (flow->transactional && !relay_commit(flow, err)) ||
        !relay_settle(flow, err))
        return false;
    CRASH_POINT("relay-copy-begun");
    for (size_t i = 0; i < run->task_count; i++)
        if (run->tasks[i].table->begins)
            supervised_copy_begun(&flow->relay->base, run->tasks[i].table->name);
    return true;
}

static void readers_join(CopyRun *run)
{
    for (size_t i = 0; i < run->reader_count; i++) {
        Reader *reader = &run->readers[i];
        if (!reader->thread)
            continue;
        pthread_mutex_lock(&run->lock);
        if (reader->capture)
            capture_copy_cancel(reader->capture);
        pthread_mutex_unlock(&run->lock);
        thread_join(TAKE(reader->thread));
    }
}

/* Takes what readers made, until all is sent. */
static bool send_all(CopyRun *run, Error *err)
{
    RelayFlow *flow = run->flow;
    for (size_t i = 0; i < run->task_count; i++)
        if (!run->tasks[i].range_count && !table_read(run, run->tasks[i].table, err))
            return false;
    while (!copy_over(run)) {
        void *item;
        bool ended = !atomic_load(&run->reading);
        QueueResult result = queue_take(run->queue, &item, ended ? 0 : TAKE_MS);
        bool ok = result != QUEUE_OK || take_parcel(run, item, err);
        if (result == QUEUE_OK)
            parcel_free(item);
        if (!ok || !step(run, false, err) || !relay_idle(flow, err))
            return false;
        report_if_due(run);
        if (ended && result != QUEUE_OK)
            break;
    }
    return true;
}

bool relay_copy(RelayFlow *flow, Error *err)
{
    CopyRun *run = flow->copy;
    if (!run->task_count)
        return true;
    supervised_phase(&flow->relay->base, PHASE_SNAPSHOTTING);
    if (!begin(run, err))
        return false;
    atomic_store(&run->reading, run->reader_count);
    for (size_t i = 0; i < run->reader_count; i++)
        run->readers[i].thread = thread_start("copy", reader_run, &run->readers[i]);
    bool ok = send_all(run, err);
    if (!ok)
        relay_fail(flow, err);
    queue_close(run->queue);
    readers_join(run);
    if (relay_failed(flow)) {
        *err = flow->error;
        return false;
    }
    /* what was sent is acknowledged; then what says so */
    return relay_settle(flow, err) && step(run, true, err) && relay_settle(flow, err);
}

/* ---------- beginning and end ---------- */
static int larger_first(const void *a, const void *b)
{
    const CopyTask *left = a, *right = b;
    return copying_larger_first(left->table->source, right->table->source);
}

static uint64_t range_bytes(const RelayFlow *flow, const RelayTable *table)
{
    return flow->transactional ? RANGE_BYTES_TRANSACTIONAL
                               : copying_range_bytes(flow->relay->base.connector, table->source);
}

static bool task_plan(RelayFlow *flow, CopyTask *task, Error *err)
{
    RelayTable *table = task->table;
    bool wanted = flow->relay->base.connector->snapshot_mode != SNAPSHOT_NEVER || !table->begins;
    table->copying = true;
    if (!table->begins && table->state->progress &&
        !extents_parse(table->state->progress, &table->done, err)) {
        err->kind = ERROR_CONFIG;
        return error_wrap(err, "table %s, its state; load it again with --resnapshot %s",
                          table->name, table->name);
    }
    if (wanted && !capture_copy_plan(flow->capture, table->number, range_bytes(flow, table),
                                     &table->done, &task->ranges, &task->range_count, err))
        return false;
    task->unread = table->ranges_unsent = task->range_count;
    table->done.until = flow->copied.at.major;
    copying_begin(&table->count, table->name, table->source, table->begins, task->ranges,
                  task->range_count);
    flow->copying++;
    return true;
}

static bool readers_open(CopyRun *run, Error *err)
{
    for (size_t i = 0; i < run->task_count; i++)
        run->unread += run->tasks[i].range_count;
    size_t wanted = run->flow->relay->base.connector->snapshot_parallelism;
    wanted = wanted < run->unread ? wanted : run->unread;
    run->readers = mem_array(wanted, sizeof *run->readers);
    while (run->reader_count < wanted) {
        Reader *reader = &run->readers[run->reader_count++];
        reader->run = run;
        reader->encoders = mem_array(run->flow->table_count, sizeof(TopicTable *));
        reader->capture = capture_copy_reader_open(run->flow->capture, err);
        if (!reader->capture)
            return false;
    }
    return true;
}

bool relay_copy_open(RelayFlow *flow, Error *err)
{
    CopyRun *run = flow->copy = mem_zalloc(sizeof *run);
    run->flow = flow;
    run->started_us = clock_mono_us();
    run->report_us = run->started_us + REPORT_US;
    copying_pace_init(&run->pace, flow->relay->base.connector);
    pthread_mutex_init(&run->lock, NULL);
    pthread_mutex_init(&run->end, NULL);
    run->queue = queue_new(QUEUE_ITEMS, QUEUE_BYTES, parcel_free);
    run->tasks = mem_array(flow->table_count, sizeof *run->tasks);
    for (size_t i = 0; i < flow->table_count; i++)
        if (!flow->tables[i].complete)
            run->tasks[run->task_count++].table = &flow->tables[i];
    qsort(run->tasks, run->task_count, sizeof *run->tasks, larger_first);
    for (size_t i = 0; i < run->task_count; i++)
        if (!task_plan(flow, &run->tasks[i], err))
            return false;
    return readers_open(run, err) && capture_copy_done(flow->capture, err);
}

void relay_copy_close(RelayFlow *flow)
{
    CopyRun *run = flow->copy;
    if (!run)
        return;
    for (size_t i = 0; i < run->reader_count; i++) {
        Reader *reader = &run->readers[i];
        ASSERT(!reader->thread);
        capture_copy_reader_free(reader->capture);
        parcel_free(reader->parcel);
        for (size_t t = 0; reader->encoders && t < flow->table_count; t++)
            topic_table_free(reader->encoders[t]);
        free(reader->encoders);
    }
    for (size_t i = 0; i < run->task_count; i++)
        free(run->tasks[i].ranges);
    queue_free(run->queue);
    copying_pace_done(&run->pace);
    pthread_mutex_destroy(&run->lock);
    pthread_mutex_destroy(&run->end);
    free(run->notes);
    free(run->readers);
    free(run->tasks);
    free(run);
}
