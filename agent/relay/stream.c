/* The capture thread, once the copy is complete: reads the log, makes records of it, sends them,
 * and confirms to the source what is acknowledged: first the state, then the source (law 1).
 *
 * Idempotent: what was handed out at a checkpoint is sent at once; the position follows when all
 * before it is acknowledged. Transactional: a transaction is committed at the first checkpoint
 * after TRANSACTION_US, or BEHIND_US while the source is ahead, with the position in it. A
 * transaction of the source that is larger than the capture gathers between checkpoints is one of
 * Kafka's all the same. */
#include <string.h>

#include "agent/relay/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define NEXT_MS 100
#define BESIDE_MS 5
#define CONFIRM_US 1000000
#define DRAIN_CHECKPOINT_US 5000000
#define TRANSACTION_US 15000
#define BEHIND_US 150000      /* a transaction while rows wait at the source */
#define BEHIND_AGE_US 1000000 /* rows this old do */
#define TRANSACTION_BYTES ((uint64_t)8 << 20)

typedef struct Stream {
    RelayFlow *flow;
    bool at_checkpoint; /* nothing was handed out since */
    bool grows;         /* topics are to get more partitions */
    int64_t look_after_us;
} Stream;

/* ---------- changes ---------- */
static bool send_if_full(RelayFlow *flow, Error *err)
{
    return flow->box.records.bytes.used < FLIGHT_BYTES || relay_send(flow, &flow->box, err);
}

static bool on_batch(RelayFlow *flow, RelayTable *table, const Batch *batch, Error *err)
{
    relay_beside_batch(flow, batch);
    for (uint32_t row = 0; row < batch->row_count;) {
        size_t first = flow->box.records.count;
        if (!relay_put_rows(flow, &flow->box, table, table->encoder, batch, NULL, FLIGHT_BYTES,
                            &row, err))
            return false;
        relay_beside_saw(flow, table, first);
        if (!send_if_full(flow, err))
            return false;
    }
    relay_count_rows(flow, table, batch);
    atomic_fetch_add(&flow->rows, batch->row_count);
    metric_add(table->changes, batch->row_count);
    return true;
}

static bool on_truncate(RelayFlow *flow, RelayTable *table, const Change *change, Error *err)
{
    if (table->topic.keyed)
        return error_set(err, ERROR_CONFIG, "TruncateCompacted",
                         "table %s was truncated, and topic %s is compacted, which takes no record "
                         "without a key, so that its readers can't be told; set "
                         "spec.stream.kafka.cleanupPolicy to Delete, here and at the topic, or "
                         "exclude the table (spec.source.tables.exclude)",
                         table->name, table->topic.name);
    const RowOrigin row = relay_origin(change);
    relay_count_truncate(flow, table, change);
    relay_beside_void(flow, table, &change->transaction);
    outbox_put_emptied(&flow->box, table, &change->transaction, &row, change->row);
    return true;
}

/* The state learns of the columns before the source can be told of rows that have them: it is in
 * the same order of flights. */
static bool on_schema(RelayFlow *flow, RelayTable *table, const Change *change, Error *err)
{
    const ColumnsVersion *columns = table_state_learn(table->state, change->row, change->shape);
    relay_beside_void(flow, table, NULL);
    if (!table_columns(flow, table, change->schema, columns, err))
        return false;
    table_state_forget(table->state, flow->recorded);
    state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
    log_info("columns follow the source", LOG_T("table", table->name),
             LOG_U("version", columns->version));
    CRASH_POINT("relay-columns");
    return relay_spool_know(flow, err);
}

static bool on_message(RelayFlow *flow, const Change *change, Error *err)
{
    bool ok = true;
    if (strcmp(change->message->prefix, CAPTURE_BESIDE_PREFIX) == 0)
        ok = relay_beside_message(flow, change, err);
    else
        relay_put_message(flow, change);
    log_message_free(change->message);
    return ok;
}

static void on_checkpoint(Stream *stream, const Change *change)
{
    RelayFlow *flow = stream->flow;
    flow->checkpoint = change->position.at;
    stream->at_checkpoint = true;
    relay_put_counted(flow);
    marks_put(&flow->marks, change);
}

static bool take(Stream *stream, const Change *change, Error *err)
{
    RelayFlow *flow = stream->flow;
    AUTO(batch_free) Batch *batch = change->batch;
    RelayTable *table = NULL;
    switch (change->kind) {
    case CHANGE_NONE:
        return true;
    case CHANGE_BATCH:
    case CHANGE_TRUNCATE:
    case CHANGE_SCHEMA:
        ASSERT(change->table < flow->table_count);
        table = &flow->tables[change->table];
        stream->at_checkpoint = false;
        return change->kind == CHANGE_BATCH      ? on_batch(flow, table, batch, err)
               : change->kind == CHANGE_TRUNCATE ? on_truncate(flow, table, change, err)
                                                 : on_schema(flow, table, change, err);
    case CHANGE_CHECKPOINT:
        on_checkpoint(stream, change);
        return true;
    case CHANGE_MESSAGE:
        stream->at_checkpoint = false;
        return on_message(flow, change, err);
    case CHANGE_STATEMENT:
        stream->at_checkpoint = false;
        relay_put_statement(flow, change, TOPIC_SNAPSHOT_FALSE);
        statement_free(change->statement);
        return true;
    case CHANGE_COMMIT:
        stream->at_checkpoint = false;
        relay_count_end(flow, change);
        return true;
    }
    ASSERT(false);
}

/* ---------- idempotent ---------- */
/* When all that was sent is acknowledged, everything up to the checkpoint is. */
void relay_add_point(RelayFlow *flow, RowPosition at)
{
    Point *last = flow->point_count
                      ? &flow->points[(flow->point_head + flow->point_count - 1) % POINTS_MAX]
                      : NULL;
    bool joins = last && (last->flight == flow->sent || flow->point_count == POINTS_MAX);
    if (!joins)
        last = &flow->points[(flow->point_head + flow->point_count++) % POINTS_MAX];
    *last = (Point){flow->sent, at};
}

static void put_position(RelayFlow *flow, RowPosition at)
{
    const Position position = position_of(capture_source(flow->capture), at);
    AUTO(mem_free) char *anchor = capture_anchor(flow->capture, at);
    state_put_position(flow->relay->base.name, &position, anchor,
                       outbox_to(&flow->box, &flow->state_topic));
}

static void tell_source(RelayFlow *flow)
{
    if (row_position_compare(flow->recorded, flow->confirmed) <= 0)
        return;
    flow->confirmed = flow->recorded;
    CRASH_POINT("relay-before-confirm");
    capture_confirm(flow->capture, flow->recorded);
    CRASH_POINT("relay-confirmed");
}

/* The state, then the source. last: the interval doesn't count. */
static bool confirm(RelayFlow *flow, bool last, Error *err)
{
    int64_t now_us = clock_mono_us();
    if (flow->recording.flight && flow->recording.flight <= flow->acknowledged) {
        flow->recorded = flow->recording.at;
        flow->recording.flight = 0;
        CRASH_POINT("relay-state-written");
        tell_source(flow);
    }
    if (flow->recording.flight || row_position_compare(flow->durable, flow->recorded) <= 0 ||
        (now_us < flow->confirm_after_us && !last))
        return true;
    flow->confirm_after_us = now_us + clock_asked_us("FIRN_CONFIRM_MS", CONFIRM_US);
    put_position(flow, flow->durable);
    RowPosition at = flow->durable;
    if (!relay_send(flow, &flow->box, err))
        return false;
    flow->recording = (Point){flow->sent, at};
    return true;
}

static bool pass_on(Stream *stream, bool last, Error *err)
{
    RelayFlow *flow = stream->flow;
    bool moves = row_position_compare(flow->checkpoint, flow->durable) > 0;
    if (stream->at_checkpoint && (moves || flow->box.records.count)) {
        if (!relay_send(flow, &flow->box, err))
            return false;
        relay_add_point(flow, flow->checkpoint);
    }
    return relay_acknowledge(flow, err) && confirm(flow, last, err);
}

/* ---------- transactional ---------- */
/* Rows wait at the source: larger transactions pass more of them. */
static int64_t transaction_us(const RelayFlow *flow)
{
    return flow->marks.behind_us > BEHIND_AGE_US ? BEHIND_US : TRANSACTION_US;
}

static bool transaction_due(const RelayFlow *flow, bool last, int64_t now_us)
{
    bool moves = row_position_compare(flow->checkpoint, flow->recorded) > 0;
    if (last || flow->transaction_bytes >= TRANSACTION_BYTES)
        return flow->in_transaction || moves;
    return flow->in_transaction ? now_us - flow->transaction_us >= transaction_us(flow)
                                : moves && now_us >= flow->confirm_after_us;
}

bool relay_transaction_due(RelayFlow *flow)
{
    return flow->in_transaction && transaction_due(flow, false, clock_mono_us());
}

static bool commit_on(Stream *stream, bool last, Error *err)
{
    RelayFlow *flow = stream->flow;
    int64_t now_us = clock_mono_us();
    /* what there is is sent meanwhile, so that the commit waits for little */
    if (stream->at_checkpoint && !relay_send(flow, &flow->box, err))
        return false;
    if (!stream->at_checkpoint || !transaction_due(flow, last, now_us))
        return true;
    put_position(flow, flow->checkpoint);
    if (!relay_send(flow, &flow->box, err) || !relay_commit(flow, err))
        return false;
    flow->durable = flow->recorded = flow->checkpoint;
    if (now_us < flow->confirm_after_us && !last)
        return true;
    flow->confirm_after_us = now_us + clock_asked_us("FIRN_CONFIRM_MS", CONFIRM_US);
    tell_source(flow);
    return true;
}

/* ---------- spooled ---------- */
static bool put_by(Stream *stream, Error *err)
{
    RelayFlow *flow = stream->flow;
    if (stream->at_checkpoint) {
        if (!relay_send(flow, &flow->box, err))
            return false;
        relay_spool_checkpoint(flow);
    }
    return relay_spool_step(flow, stream->at_checkpoint, err);
}

/* ---------- the loop ---------- */
static bool settle(Stream *stream, bool last, Error *err)
{
    RelayFlow *flow = stream->flow;
    if (stream->at_checkpoint && !flow->spooled) /* nobody would hear of it in time */
        relay_put_heartbeat(flow);
    if (!relay_beside_step(flow, err))
        return false;
    bool ok = flow->spooled         ? put_by(stream, err)
              : flow->transactional ? commit_on(stream, last, err)
                                    : pass_on(stream, last, err);
    if (ok)
        relay_show(flow);
    flow->idle_us = clock_mono_us(); /* capture_next answers, too */
    return ok && relay_check_stalled(flow, err);
}

/* At a checkpoint: the rows, the state, the source. */
static bool record(Stream *stream, Error *err)
{
    for (int step = 0; step < 3; step++)
        if (!settle(stream, true, err) || !relay_settle(stream->flow, err))
            return false;
    return true;
}

/* More partitions, once the log is read to where it ended when the stream began: then all that was
 * sent can be recorded, and none of it comes again. */
static bool grow(Stream *stream, Error *err)
{
    RelayFlow *flow = stream->flow;
    if (!stream->grows || !stream->at_checkpoint ||
        row_position_compare(flow->checkpoint, flow->grows_from) < 0)
        return true;
    if (!record(stream, err) || !relay_grow(flow, err))
        return false;
    stream->grows = relay_grows(flow);
    return true;
}

static int wait_ms(const RelayFlow *flow)
{
    int most_ms = relay_beside_waits(flow) ? BESIDE_MS : NEXT_MS;
    if (!flow->in_transaction)
        return most_ms;
    int64_t left_us = flow->transaction_us + transaction_us(flow) - clock_mono_us();
    return left_us <= 0 ? 1 : left_us / 1000 >= most_ms ? most_ms : (int)(left_us / 1000) + 1;
}

/* While it is to pause, at the end of a transaction, nothing is read. */
static bool next(Stream *stream, Error *err)
{
    Change change;
    if (stream->at_checkpoint && supervised_pauses(&stream->flow->relay->base)) {
        clock_sleep_us(NEXT_MS * 1000);
        return capture_idle(stream->flow->capture, err) && settle(stream, false, err);
    }
    return capture_next(stream->flow->capture, wait_ms(stream->flow), &change, err) &&
           take(stream, &change, err) && settle(stream, false, err) && grow(stream, err);
}

/* Runs on to a checkpoint, so that whole transactions are passed on; gives up on one that is too
 * long. Then waits for all of it, and confirms it. */
static bool drain(Stream *stream, Error *err)
{
    RelayFlow *flow = stream->flow;
    int64_t until_us = clock_mono_us() + DRAIN_CHECKPOINT_US;
    supervised_phase(&flow->relay->base, PHASE_DRAINING);
    while (!stream->at_checkpoint && clock_mono_us() < until_us)
        if (!next(stream, err))
            return false;
    if (!stream->at_checkpoint)
        return true; /* of what was sent since the checkpoint nothing is confirmed */
    if (flow->spooled) {
        if (!settle(stream, true, err) || !relay_spool_drain(flow, err))
            return false;
        flow->idle_us = 0;
        return relay_idle(flow, err);
    }
    if (!record(stream, err))
        return false;
    tell_source(flow);
    flow->idle_us = 0;
    return relay_idle(flow, err);
}

static bool takes(void *context, const char *name)
{
    (void)context;
    (void)name;
    return true; /* the capture's patterns decide */
}

bool relay_stream(RelayFlow *flow, Error *err)
{
    Stream stream = {
        .flow = flow, .at_checkpoint = true, .grows = !flow->spooled && relay_grows(flow)};
    flow->confirmed = (RowPosition){0};
    if (stream.grows && !flow->transactional &&
        !capture_log_end(flow->capture, &flow->grows_from, err))
        return false;
    if (!flow->spooled)
        relay_beside_open(flow);
    if (!relay_is_away(flow) && !relay_spool_know(flow, err))
        return false;
    while (!relay_stopping(flow)) {
        if (!next(&stream, err) || !supervised_look(&flow->relay->base, flow->capture, takes, NULL,
                                                    &flow->leaves, &stream.look_after_us, err))
            return false;
        if (supervised_asks_more(&flow->relay->base, &flow->requests[REQUEST_ASKED]))
            atomic_store(&flow->leaves, true);
    }
    return drain(&stream, err);
}
