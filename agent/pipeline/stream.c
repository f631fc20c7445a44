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
#define BEHIND_US 10000000 /* transactions older than this when they are read: catching up */
#define MARKS 256          /* checkpoints remembered for freshness, at most one per CONFIRM_US */

/* A checkpoint handed to the writers: when it is durable, rows committed at the source by commit_us
 * are in the lake. */
typedef struct Mark {
    RowPosition at;
    int64_t commit_us;
} Mark;

typedef struct Stream {
    Flow *flow;
    RowPosition checkpoint; /* the latest one handed out */
    RowPosition recorded;   /* in the record and told to the capture */
    int64_t confirm_after_us;
    int64_t figures_after_us;
    bool at_checkpoint; /* nothing was handed out since */
    int64_t behind_us;  /* age of the latest transaction when it was handed out */
    Mark marks[MARKS];
    size_t mark_head, mark_count;
    int64_t mark_after_us;
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

static void mark(Stream *stream, const Change *change)
{
    int64_t now_us = clock_mono_us();
    stream->behind_us = change->commit_us ? clock_wall_us() - change->commit_us : 0;
    if (!change->commit_us || now_us < stream->mark_after_us || stream->mark_count == MARKS)
        return;
    stream->mark_after_us = now_us + CONFIRM_US;
    stream->marks[(stream->mark_head + stream->mark_count++) % MARKS] =
        (Mark){change->position.at, change->commit_us};
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
        ASSERT(change->table < flow->captured_count);
        table = flow->by_number[change->table];
        if (!table) {
            batch_free(change->batch);
            return true;
        }
        stream->at_checkpoint = false;
        return put(stream, &flow->writers[table->number % flow->writer_count],
                   (Item){.kind = change->kind == CHANGE_BATCH ? ITEM_BATCH : ITEM_TRUNCATE,
                          .table = table,
                          .batch = change->batch,
                          .row = change->row},
                   sizeof(Item) + (change->batch ? batch_memory(change->batch) : 0), err);
    case CHANGE_CHECKPOINT:
        stream->checkpoint = change->position.at;
        stream->at_checkpoint = true;
        mark(stream, change);
        return put_all(stream, ITEM_CHECKPOINT, change->position.at, err);
    }
    ASSERT(false);
}

static void figures(Stream *stream, RowPosition durable)
{
    Flow *flow = stream->flow;
    Pipeline *pipeline = flow->pipeline;
    while (stream->mark_count &&
           row_position_compare(stream->marks[stream->mark_head].at, durable) <= 0) {
        stream->mark_head = (stream->mark_head + 1) % MARKS;
        stream->mark_count--;
    }
    CaptureFigures capture;
    capture_figures(flow->capture, &capture);
    uint64_t lag = capture.source_end > durable.major ? capture.source_end - durable.major : 0;
    int64_t freshness_us =
        stream->mark_count ? clock_wall_us() - stream->marks[stream->mark_head].commit_us : 0;
    bool behind = stream->mark_count && stream->behind_us > BEHIND_US;
    pthread_mutex_lock(&pipeline->lock);
    PipelineFigures *to = &pipeline->figures;
    to->phase = flow_stopping(flow) ? PHASE_DRAINING : behind ? PHASE_CATCHING_UP : PHASE_STREAMING;
    to->lag_bytes = lag;
    to->freshness_us = freshness_us;
    to->rows = pipeline->rows_before + atomic_load(&flow->rows);
    to->commits = pipeline->commits_before + atomic_load(&flow->commits);
    to->error[0] = '\0';
    pthread_mutex_unlock(&pipeline->lock);
    metric_set(pipeline->metrics.phase, to->phase);
    metric_set(pipeline->metrics.lag, (double)lag);
    metric_set(pipeline->metrics.freshness, (double)freshness_us / 1e6);
    metric_set(pipeline->metrics.confirmed, (double)capture.confirmed.major);
    metric_set(pipeline->metrics.received, (double)capture.received.major);
}

/* Record first, then the source. At most once a second, but for the last time. */
static bool confirm(Stream *stream, bool last, Error *err)
{
    int64_t now_us = clock_mono_us();
    if (!last && now_us < stream->figures_after_us)
        return true;
    stream->figures_after_us = now_us + FIGURES_US;
    RowPosition durable = flow_durable(stream->flow);
    figures(stream, durable);
    if (!last && now_us < stream->confirm_after_us)
        return true;
    stream->confirm_after_us = now_us + CONFIRM_US;
    if (row_position_compare(durable, stream->recorded) <= 0)
        return true;
    if (!record_write(stream->flow, durable, err))
        return false;
    stream->recorded = durable;
    capture_confirm(stream->flow->capture, durable);
    CRASH_POINT("confirmed");
    return true;
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
    return !flow_failed(flow) && confirm(stream, true, err) && capture_idle(flow->capture, err);
}

static bool follow(Stream *stream, Error *err)
{
    Flow *flow = stream->flow;
    while (!flow_stopping(flow)) {
        Change change;
        if (flow_failed(flow))
            return false;
        if (!capture_next(flow->capture, NEXT_MS, &change, err) ||
            !hand_out(stream, &change, err) || !confirm(stream, false, err))
            return false;
    }
    flow_phase(flow, PHASE_DRAINING);
    return drain(stream, err);
}

bool flow_stream(Flow *flow, Error *err)
{
    RowPosition from = {UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < flow->table_count; i++) {
        RowPosition at = record_position(&flow->tables[i]);
        if (row_position_compare(at, from) < 0)
            from = at;
    }
    if (!capture_stream_start(flow->capture, err))
        return false;
    Stream stream = {.flow = flow, .checkpoint = from, .at_checkpoint = true};
    flow_writers_start(flow, from);
    bool ok = follow(&stream, err);
    if (!ok && !flow_failed(flow))
        flow_fail(flow, err);
    flow_writers_join(flow);
    if (flow_failed(flow)) {
        *err = flow->error;
        return false;
    }
    return ok;
}
