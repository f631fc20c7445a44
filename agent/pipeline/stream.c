/* The capture thread: reads the log, hands every change to the writer of its table, and confirms to
 * the source what is durable: first the record beside the warehouse, then the position (law 1, law
 * 2). While a writer's queue is full it reads nothing and answers keepalives; the source's socket
 * fills, and that is the back-pressure. */
#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define NEXT_MS 100
#define BLOCKED_MS 500
#define CONFIRM_US 1000000
#define FIGURES_US 100000
#define DRAIN_CHECKPOINT_US 5000000

typedef struct Stream {
    Flow *flow;
    Recorder *recorder;
    RowPosition checkpoint; /* the latest one handed out */
    int64_t figures_after_us;
    bool at_checkpoint; /* nothing was handed out since */
    Marks marks;        /* of checkpoints handed to the writers */
    int64_t look_after_us;
} Stream;

static bool put(Stream *stream, Writer *writer, Item item, size_t bytes, Error *err)
{
    Item *moved = mem_alloc(sizeof *moved);
    *moved = item;
    for (;;) {
        QueueResult result = queue_put(writer->queue, moved, bytes, BLOCKED_MS);
        if (result == QUEUE_OK)
            return true;
        bool failed = result == QUEUE_CLOSED || flow_failed(stream->flow);
        if (failed || !capture_idle(stream->flow->capture, err)) {
            batch_free(moved->batch);
            free(moved);
            /* the writer's own error is the flow's; this one only ends the loop */
            return failed ? error_set(err, ERROR_RETRY, "WriterStopped", "a writer has stopped")
                          : false;
        }
    }
}

static bool put_all(Stream *stream, ItemKind kind, RowPosition at, Error *err)
{
    for (size_t i = 0; i < stream->flow->writer_count; i++)
        if (!put(stream, &stream->flow->writers[i], (Item){.kind = kind, .row = at}, sizeof(Item),
                 err))
            return false;
    return true;
}

static ItemKind item_kind(ChangeKind kind)
{
    return kind == CHANGE_BATCH      ? ITEM_BATCH
           : kind == CHANGE_TRUNCATE ? ITEM_TRUNCATE
                                     : ITEM_SCHEMA;
}

static bool hand_out(Stream *stream, const Change *change, Error *err)
{
    Flow *flow = stream->flow;
    BoundTable *table = NULL;
    switch (change->kind) {
    case CHANGE_NONE:
        return true;
    case CHANGE_BATCH:
    case CHANGE_TRUNCATE:
    case CHANGE_SCHEMA:
        ASSERT(change->table < flow->captured_count);
        table = flow->by_number[change->table];
        if (!table) {
            batch_free(change->batch);
            return true;
        }
        stream->at_checkpoint = false;
        return put(stream, &flow->writers[table->number % flow->writer_count],
                   (Item){.kind = item_kind(change->kind),
                          .alone = change->alone,
                          .table = table,
                          .batch = change->batch,
                          .schema = change->schema,
                          .shape = change->shape,
                          .row = change->row},
                   sizeof(Item) + (change->batch ? batch_memory(change->batch) : 0), err);
    case CHANGE_CHECKPOINT:
        stream->checkpoint = change->position.at;
        pthread_mutex_lock(&flow->lock);
        confirm_received(&flow->confirm, stream->checkpoint);
        pthread_mutex_unlock(&flow->lock);
        stream->at_checkpoint = true;
        marks_put(&stream->marks, change);
        return put_all(stream, ITEM_CHECKPOINT, change->position.at, err);
    case CHANGE_MESSAGE: /* these are not asked for */
    case CHANGE_STATEMENT:
    case CHANGE_COMMIT:
        break;
    }
    ASSERT(false);
}

static void figures(Stream *stream, RowPosition durable)
{
    Flow *flow = stream->flow;
    CaptureFigures capture;
    capture_figures(flow->capture, &capture);
    Shown shown = {.capture = &capture,
                   .durable = durable,
                   .rows = atomic_load(&flow->rows),
                   .commits = atomic_load(&flow->commits),
                   .draining = flow_stopping(flow)};
    progress_copy(flow, &shown.copy);
    if (!atomic_load(&flow->copying))
        supervised_copied(&flow->pipeline->base, &flow->request);
    supervised_show(&flow->pipeline->base, &stream->marks, &shown);
}

static RowPosition durable_now(Flow *flow)
{
    pthread_mutex_lock(&flow->lock);
    RowPosition durable = confirm_durable(&flow->confirm);
    pthread_mutex_unlock(&flow->lock);
    return durable;
}

/* Does what agent/commit/confirm.h says: record first, then the source. */
static bool obey(Stream *stream, ConfirmAction action, Error *err)
{
    Flow *flow = stream->flow;
    switch (action.kind) {
    case CONFIRM_NOTHING:
        return true;
    case CONFIRM_WRITE_RECORD:
    case CONFIRM_READ_RECORD:
        recorder_ask(stream->recorder, action);
        return true;
    case CONFIRM_SOURCE:
        capture_confirm(flow->capture, action.position);
        CRASH_POINT("confirmed");
        return true;
    case CONFIRM_REOPEN:
        return error_set(err, ERROR_CONFLICT, "RecordMoved",
                         "another process writes the confirmed record of Connector/%s; run one "
                         "agent per Connector",
                         flow->pipeline->connector->meta.name);
    case CONFIRM_START:
    case CONFIRM_STALL:
        break;
    }
    ASSERT(false); /* only confirm_start says these */
}

static bool answered(Stream *stream, const RecordAnswer *answer, Error *err)
{
    Flow *flow = stream->flow;
    Confirm *confirm = &flow->confirm;
    bool writes = answer->kind == CONFIRM_WRITE_RECORD, ok = answer->answer == ANSWER_DONE;
    if (answer->answer == ANSWER_FAILED) {
        *err = answer->error;
        return false;
    }
    if (!ok && writes)
        log_info("confirmed record was not written", LOG_T("reason", answer->error.code),
                 LOG_T("error", answer->error.message));
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&flow->lock);
    ConfirmAction action = writes ? confirm_written(confirm, answer->answer, now_us)
                           : ok   ? confirm_read(confirm, answer->recorded)
                                  : confirm_read_failed(confirm, now_us);
    pthread_mutex_unlock(&flow->lock);
    return obey(stream, action, err);
}

static bool confirm(Stream *stream, bool last, Error *err)
{
    Flow *flow = stream->flow;
    int64_t now_us = clock_mono_us();
    RecordAnswer answer;
    if (recorder_take(stream->recorder, &answer) && !answered(stream, &answer, err))
        return false;
    if (!last && now_us < stream->figures_after_us)
        return true;
    stream->figures_after_us = now_us + FIGURES_US;
    figures(stream, durable_now(flow));
    pthread_mutex_lock(&flow->lock);
    ConfirmAction action = confirm_tick(&flow->confirm, now_us, last);
    pthread_mutex_unlock(&flow->lock);
    return obey(stream, action, err);
}

/* Runs on to a checkpoint, so that whole transactions are committed; gives up on a transaction that
 * is too long. */
static bool run_to_checkpoint(Stream *stream, Error *err)
{
    int64_t until_us = clock_mono_us() + DRAIN_CHECKPOINT_US;
    while (!stream->at_checkpoint && clock_mono_us() < until_us && !flow_failed(stream->flow)) {
        Change change;
        if (!capture_next(stream->flow->capture, NEXT_MS, &change, err) ||
            !hand_out(stream, &change, err))
            return false;
    }
    return true;
}

/* Writers finish first; only then is what they made durable confirmed. */
static bool drain(Stream *stream, Error *err)
{
    Flow *flow = stream->flow;
    if (!run_to_checkpoint(stream, err) || !put_all(stream, ITEM_DRAIN, stream->checkpoint, err))
        return false;
    for (size_t i = 0; i < flow->writer_count; i++) {
        queue_close(flow->writers[i].queue);
        while (!flow_failed(flow) && !atomic_load(&flow->writers[i].done)) {
            if (!capture_idle(flow->capture, err))
                return false;
            clock_sleep_us(1000);
        }
    }
    while (!flow_failed(flow)) {
        if (!confirm(stream, true, err) || !capture_idle(flow->capture, err))
            return false;
        if (!flow->confirm.busy) /* else the record is tried again */
            return true;
        clock_sleep_us(1000);
    }
    return false;
}

static bool takes(void *context, const char *table_name)
{
    return flow_takes(context, table_name);
}

/* While it is to pause, at the end of a transaction, nothing is read. */
static bool read_on(Stream *stream, Error *err)
{
    Flow *flow = stream->flow;
    Change change;
    if (stream->at_checkpoint && supervised_pauses(&flow->pipeline->base)) {
        clock_sleep_us(NEXT_MS * 1000);
        return capture_idle(flow->capture, err) && confirm(stream, false, err);
    }
    return capture_next(flow->capture, NEXT_MS, &change, err) && hand_out(stream, &change, err) &&
           confirm(stream, false, err);
}

static bool follow(Stream *stream, Error *err)
{
    Flow *flow = stream->flow;
    while (!flow_stopping(flow)) {
        if (flow_failed(flow) || !read_on(stream, err))
            return false;
        if (!atomic_load(&flow->copying) &&
            supervised_asks_more(&flow->pipeline->base, &flow->request))
            atomic_store(&flow->leaves, true);
        /* a copy goes on to its end first: what it read since its last commit would be read again
         */
        if (!atomic_load(&flow->copying) &&
            !supervised_look(&flow->pipeline->base, flow->capture, takes, flow, &flow->leaves,
                             &stream->look_after_us, err))
            return false;
    }
    flow_phase(flow, PHASE_DRAINING);
    return drain(stream, err);
}

/* From where the stream begins, by what tables and record say. */
static bool begin(Flow *flow, RowPosition *ret, Error *err)
{
    AUTO(mem_free) RowPosition *from = mem_array(flow->table_count, sizeof *from);
    uint32_t writers = (uint32_t)flow_writers_count(flow), count = (uint32_t)flow->table_count;
    flow->lows = mem_array(writers, sizeof *flow->lows);
    flow->entries = mem_array(count, sizeof *flow->entries);
    confirm_init(&flow->confirm, flow->lows, writers, flow->entries, count,
                 clock_asked_us("FIRN_CONFIRM_MS", CONFIRM_US));
    for (uint32_t i = 0; i < count; i++) {
        RecordEntry entry;
        follow_entry(&flow->tables[i].follow, &entry);
        confirm_entry(&flow->confirm, i, &entry);
        from[i] = follow_low(&flow->tables[i].follow);
    }
    ConfirmAction action = confirm_start(&flow->confirm, from, flow->told);
    if (action.kind == CONFIRM_STALL)
        return flow_stalled(&flow->tables[action.table], action.reason, err);
    *ret = action.position;
    return true;
}

/* The stream runs, nobody else can confirm any more. */
static bool held(Flow *flow, Error *err)
{
    RowPosition told;
    if (!capture_told(flow->capture, &told, err))
        return false;
    ConfirmAction action = confirm_held(&flow->confirm, told);
    return action.kind == CONFIRM_NOTHING ||
           error_set(err, ERROR_CONFLICT, "SlotMoved",
                     "another process has confirmed more to the source meanwhile; run one agent "
                     "per Connector");
}

static bool end(Flow *flow, Error *err)
{
    flow_copy_join(flow);
    flow_writers_join(flow);
    if (flow_failed(flow))
        *err = flow->error;
    return !flow_failed(flow);
}

bool flow_stream(Flow *flow, Error *err)
{
    RowPosition from = {0};
    for (size_t i = 0; i < flow->table_count; i++)
        if (flow->tables[i].complete)
            flow_fills(flow, &flow->tables[i]);
    if (!begin(flow, &from, err) || !capture_stream_start(flow->capture, err) || !held(flow, err))
        return false;
    Stream stream = {.flow = flow, .checkpoint = from, .at_checkpoint = true};
    stream.recorder = recorder_start(flow);
    flow_writers_start(flow);
    flow_copy_start(flow);
    bool ok = follow(&stream, err);
    if (!ok && !flow_failed(flow))
        flow_fail(flow, err);
    ok = end(flow, err) && ok;
    recorder_stop(stream.recorder);
    return ok;
}

bool flow_copy_alone(Flow *flow, Error *err)
{
    RowPosition from = {0};
    if (!begin(flow, &from, err))
        return false;
    Stream stream = {.flow = flow, .checkpoint = from};
    flow_writers_start(flow);
    flow_copy_start(flow);
    while (!flow_failed(flow) && !flow_stopping(flow) && atomic_load(&flow->copying)) {
        figures(&stream, from);
        clock_sleep_us(20000);
    }
    return end(flow, err);
}
