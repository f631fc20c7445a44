/* Out of the spool: Kafka is given what it takes, in order; what it has goes. See spooled.c. */
#include <string.h>

#include "agent/relay/spooled.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"

#define CONFIRM_US 1000000
#define AGE_US 1000000   /* a direct flow may follow when nothing waits for longer */
#define OURS_US 1000000  /* nothing was looked at for so long: it may have slept */
#define GIVEN_AT_ONCE 64 /* entries, before the source is looked at again */

static RelayTopic *topic_of(void *context, const char *name)
{
    RelayFlow *flow = context;
    RelayTopic *const others[] = {&flow->state_topic, &flow->dead_letters};
    for (size_t i = 0; i < flow->table_count; i++)
        if (strcmp(flow->tables[i].topic.name, name) == 0)
            return &flow->tables[i].topic;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i]->name && strcmp(others[i]->name, name) == 0)
            return others[i];
    for (size_t i = 0; i < CONNECTOR_TOPICS; i++)
        if (flow->others[i].topic.name && strcmp(flow->others[i].topic.name, name) == 0)
            return &flow->others[i].topic;
    return *name ? NULL : &flow->dead_letters;
}

/* What Kafka has already of it is left out. */
static void leave_out(const Spooled *spool, Outbox *box)
{
    TopicRecords *records = &box->records;
    size_t kept = 0, run = 0;
    for (size_t i = 0; i < records->count; i++) {
        for (; run < box->run_count && box->runs[run].first <= i; run++)
            box->runs[run].first = kept;
        const TopicRecord *record = &records->items[i];
        RowPosition at =
            topic_header_position(records->bytes.data + record->header.at, record->header.bytes);
        if (!at.major || row_position_compare(at, spool->there) > 0)
            records->items[kept++] = *record;
    }
    for (; run < box->run_count; run++)
        box->runs[run].first = kept;
    records->count = kept;
}

static bool put_state(RelayFlow *flow, RowPosition at, bool *ret_sent, Error *err)
{
    Spooled *spool = flow->spool;
    const Position position = position_of(capture_source(flow->capture), at);
    outbox_clear(&spool->own);
    AUTO(mem_free) char *anchor = capture_anchor(flow->capture, at);
    state_put_position(flow->relay->base.name, &position, anchor,
                       outbox_to(&spool->own, &flow->state_topic));
    return relay_hand_over(flow, &spool->own, false, ret_sent, err);
}

/* A checkpoint of the backlog has been given: *ret_done false: not yet. */
static bool end_group(RelayFlow *flow, RowPosition at, bool *ret_done, Error *err)
{
    *ret_done = true;
    if (!flow->transactional) {
        relay_add_point(flow, at);
        return true;
    }
    if (row_position_compare(at, flow->recorded) <= 0 || !relay_transaction_due(flow))
        return true;
    if (!put_state(flow, at, ret_done, err))
        return false;
    if (!*ret_done)
        return true;
    if (!relay_commit(flow, err))
        return false;
    flow->durable = flow->recorded = at;
    return true;
}

/* As much as Kafka takes now. *ret_all: all that is written has been given. */
static bool give(RelayFlow *flow, bool *ret_all, Error *err)
{
    Spooled *spool = flow->spool;
    int64_t now_us = clock_mono_us();
    *ret_all = false;
    if (now_us - spool->ours_us > OURS_US && !backlog_is_ours(spool->backlog, err))
        return false;
    spool->ours_us = now_us;
    for (int i = 0; i < GIVEN_AT_ONCE; i++) {
        bool done = true, any;
        BacklogEntry entry;
        if (spool->waits && !relay_hand_over(flow, &spool->giving, false, &done, err))
            return false;
        spool->waits = !done;
        if (done && spool->ends_waits && !end_group(flow, spool->ends, &done, err))
            return false;
        if (!done)
            return true;
        spool->ends_waits = false;
        if (!backlog_next(spool->backlog, &entry, &any, err))
            return false;
        if (!any) {
            *ret_all = true;
            return true;
        }
        if (entry.checkpoint) {
            spool->ends = entry.at;
            spool->ends_waits = true;
        } else {
            if (!relay_box_take(entry.data, entry.bytes, topic_of, flow, &spool->giving))
                return error_set(err, ERROR_CONFIG, "SpoolDamaged",
                                 "spec.stream.spool.location %s: an entry has records of no topic "
                                 "of this Connector",
                                 flow->stream->spool_location);
            leave_out(spool, &spool->giving);
            spool->waits = spool->giving.records.count > 0;
        }
    }
    return true;
}

/* What is acknowledged is said in the state topic, then it goes. */
static bool record(RelayFlow *flow, bool at_once, Error *err)
{
    Spooled *spool = flow->spool;
    int64_t now_us = clock_mono_us();
    if (flow->recording.flight && flow->recording.flight <= flow->acknowledged) {
        flow->recorded = flow->recording.at;
        flow->recording.flight = 0;
    }
    if (row_position_compare(flow->recorded, spool->released) > 0) {
        CRASH_POINT("relay-spool-given");
        if (!backlog_release(spool->backlog, flow->recorded, err))
            return false;
        CRASH_POINT("relay-spool-released");
        spool->released = flow->recorded;
    }
    if (flow->transactional || flow->recording.flight ||
        row_position_compare(flow->durable, flow->recorded) <= 0 ||
        (now_us < flow->confirm_after_us && !at_once))
        return true;
    flow->confirm_after_us = now_us + clock_asked_us("FIRN_CONFIRM_MS", CONFIRM_US);
    bool sent;
    RowPosition at = flow->durable;
    if (!put_state(flow, at, &sent, err))
        return false;
    if (sent)
        flow->recording = (Point){flow->sent, at};
    return true;
}

/* All is given, or soon will be: what is under way is waited for, and no more is read meanwhile. */
static bool close_up(RelayFlow *flow, Error *err)
{
    Spooled *spool = flow->spool;
    while (!relay_stopping(flow) && !backlog_is_empty(spool->backlog)) {
        bool all, done = true;
        if (!spool_tell(flow, true, err) || !give(flow, &all, err))
            return false;
        all = all && backlog_is_written(spool->backlog);
        if (flow->transactional && all && row_position_compare(spool->put, flow->recorded) > 0) {
            if (!put_state(flow, spool->put, &done, err) || (done && !relay_commit(flow, err)))
                return false;
            if (done)
                flow->durable = flow->recorded = spool->put;
        }
        uint64_t number;
        if (!kafka_producer_wait(flow->producer, flow->acknowledged, 20, &number, err) ||
            !relay_acknowledge(flow, err) || !record(flow, true, err) || !relay_idle(flow, err))
            return false;
        if (spool_kafka_stalls(flow))
            return true; /* later, then */
    }
    if (backlog_is_empty(spool->backlog)) {
        log_info("the spool is empty: rows go to kafka again");
        atomic_store(&flow->leaves, true);
    }
    return true;
}

/* at_checkpoint: everything up to flow->checkpoint is in the backlog. */
bool relay_spool_step(RelayFlow *flow, bool at_checkpoint, Error *err)
{
    Spooled *spool = flow->spool;
    bool all;
    if (!spool_tell(flow, false, err))
        return false;
    if (spool->away) {
        if (atomic_load(&spool->answered) && at_checkpoint) {
            log_info("kafka answers again");
            atomic_store(&flow->leaves, true);
        }
        return true;
    }
    if (!give(flow, &all, err) || !relay_acknowledge(flow, err) || !record(flow, false, err))
        return false;
    if (!all || !at_checkpoint || relay_stopping(flow) ||
        clock_mono_us() - spool->begun_us < AGE_US)
        return true;
    KafkaFigures figures;
    kafka_producer_figures(flow->producer, &figures);
    return figures.oldest_us > AGE_US || close_up(flow, err);
}
