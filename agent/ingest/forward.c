/* A topic into another one of the same cluster: spec.toTopic. Records go as they are, key, value,
 * headers and time, in the order of their partition; with plain JSON those that can't be read are
 * dead letters, and those of other events are passed over.
 *
 * Each once, for readers of what is committed: the group's offsets move in the very transaction
 * that holds the records. Whoever was dealt other partitions since is refused by the broker (the
 * group's generation goes with the offsets), so that two processes never write the same record.
 * What a transaction did not commit is read again from where the group stands. With a topic Kafka
 * deletes the offsets, too: another one of the name begins anew.
 *
 * Where a group begins that stands nowhere is said by the owner of partition 0, for all partitions
 * at once; the others wait for it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/ingest/flow.h"
#include "agent/topic/topic.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define IDLE_MS 10
#define BURST 512
#define COMMIT_US INT64_C(500000)
#define MOVED_US INT64_C(60000000) /* offsets that moved without a record */
#define AGAIN_US INT64_C(200000)
#define TRANSACTION_MS                                                                             \
    30000               /* what a process leaves open that dies holds readers up for so long       \
                         */
#define ANSWER_MS 60000 /* then the attempt ends */
#define WAIT_MS 500
#define GATHERED_BYTES ((size_t)256 << 10)
#define GATHERED_RECORDS 1024
#define BUFFER_BYTES ((uint64_t)16 << 20)
#define NOWHERE UINT64_MAX

typedef struct ForwardLane {
    bool owned;
    bool placed;           /* it is read, from `next` on */
    uint64_t next, stands; /* read up to; the group's */
} ForwardLane;

typedef struct Forward {
    Feed *feed;
    StreamSpec stream; /* the unit's, with a buffer; its pointers are borrowed */
    KafkaProducer *producer;
    FeedTopic target;
    Schema *columns; /* none */
    Batch *batch;
    ForwardLane *lanes;
    uint32_t lane_count;
    uint64_t *offsets;
    Bytes bytes; /* of the records that are gathered; does not move while there are any */
    KafkaRecord records[GATHERED_RECORDS];
    KafkaHeaders *headers[GATHERED_RECORDS];
    size_t count;
    bool open;         /* a transaction */
    bool seen;         /* partitions were dealt out */
    uint64_t pending;  /* records in it */
    int64_t oldest_ms; /* of them; 0: none */
    int64_t begun_us, committed_us, ask_us;
} Forward;

/* ---------- what is gathered ---------- */
static void drop_gathered(Forward *forward)
{
    for (size_t i = 0; i < forward->count; i++)
        kafka_headers_free(forward->headers[i]);
    forward->count = 0;
    bytes_clear(&forward->bytes);
}

static bool begin(Forward *forward, Error *err)
{
    if (forward->open)
        return true;
    if (!kafka_producer_begin(forward->producer, err))
        return false;
    forward->open = true;
    forward->begun_us = clock_mono_us();
    return true;
}

static bool send(Forward *forward, Error *err)
{
    uint64_t flight;
    if (!forward->count)
        return true;
    if (!begin(forward, err))
        return false;
    KafkaSent sent = KAFKA_FULL;
    for (int64_t until_us = clock_mono_us() + ANSWER_MS * INT64_C(1000);
         sent == KAFKA_FULL && clock_mono_us() < until_us;)
        sent = kafka_producer_send(forward->producer, &forward->bytes, forward->records,
                                   forward->count, WAIT_MS, &flight, err);
    drop_gathered(forward);
    if (sent == KAFKA_FULL)
        return error_set(err, ERROR_RETRY, "KafkaBusy", "topic %s takes no records",
                         forward->target.name);
    return sent == KAFKA_SENT;
}

static const void *keep(Forward *forward, const void *from, size_t bytes)
{
    if (!from)
        return NULL;
    const void *at = forward->bytes.data + forward->bytes.used;
    bytes_put(&forward->bytes, from, bytes);
    return at;
}

static bool gather(Forward *forward, const KafkaHeard *heard, Error *err)
{
    size_t bytes = heard->key_bytes + heard->value_bytes;
    if ((forward->count == GATHERED_RECORDS || forward->bytes.held - forward->bytes.used < bytes) &&
        !send(forward, err))
        return false;
    if (!forward->count)
        bytes_reserve(&forward->bytes, bytes > GATHERED_BYTES ? bytes : GATHERED_BYTES);
    KafkaHeaders *headers = kafka_heard_headers(heard);
    KafkaRecord record = {.topic = forward->target.topic,
                          .key = keep(forward, heard->key, heard->key_bytes),
                          .key_bytes = (uint32_t)heard->key_bytes,
                          .value = keep(forward, heard->value, heard->value_bytes),
                          .value_bytes = (uint32_t)heard->value_bytes,
                          .partition = (int32_t)(heard->partition % forward->target.partitions),
                          .timestamp_ms = heard->timestamp_ms,
                          .all = headers};
    if (!kafka_record_fits(&record)) {
        Feed *feed = forward->feed;
        Error why = {0};
        kafka_headers_free(headers);
        (void)error_set(&why, ERROR_DATA, "RecordTooLarge",
                        "topic %s: partition %u offset %" PRIu64 ": the record has %zu bytes, and "
                        "topic %s takes at most %" PRIu64 ": raise its max.message.bytes",
                        feed->topic, heard->partition, heard->offset, bytes, forward->target.name,
                        forward->target.record_bytes_max);
        if (feed_is_dead(feed, &why))
            return feed_put_letter(feed, heard, &why, err);
        *err = why;
        return false;
    }
    forward->records[forward->count] = record;
    forward->headers[forward->count++] = headers;
    forward->pending++;
    if (!forward->oldest_ms)
        forward->oldest_ms = heard->timestamp_ms;
    return begin(forward, err);
}

/* ---------- transactions ---------- */
/* What was not committed comes again, from where the group stands. */
static void unplace(Forward *forward)
{
    drop_gathered(forward);
    forward->open = false;
    forward->pending = 0;
    forward->oldest_ms = 0;
    forward->ask_us = 0;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        forward->lanes[i].placed = false;
}

static bool roll_back(Forward *forward, Error *err)
{
    if (forward->open && !kafka_producer_abort(forward->producer, ANSWER_MS, err))
        return false;
    unplace(forward);
    return true;
}

/* With the offsets in forward->offsets. *ret false: it was aborted. */
static bool end_transaction(Forward *forward, bool *ret, Error *err)
{
    Error why = {0};
    *ret = false;
    bool ok = kafka_producer_offsets(forward->producer, forward->feed->member, forward->offsets,
                                     ANSWER_MS, &why);
    if (ok)
        CRASH_POINT("forward-offsets-sent");
    for (int64_t until_us = clock_mono_us() + ANSWER_MS * INT64_C(1000); ok;) {
        ok = kafka_producer_commit(forward->producer, WAIT_MS, &why);
        if (ok || strcmp(why.code, "KafkaBusy") != 0 || clock_mono_us() > until_us)
            break;
        ok = true; /* not known yet */
    }
    if (ok) {
        CRASH_POINT("forward-committed");
        forward->open = false;
        *ret = true;
        return true;
    }
    if (why.kind == ERROR_CONFLICT && kafka_producer_refused(forward->producer))
        return error_set(err, ERROR_RETRY, "BatchTooLarge", "%s", why.message);
    if (why.kind == ERROR_CONFLICT) {
        log_info("a transaction was aborted, its records are read again",
                 LOG_T("topic", forward->feed->topic), LOG_T("error", why.message));
        unplace(forward);
        return true;
    }
    *err = why;
    return false;
}

static bool has_moved(const Forward *forward)
{
    for (uint32_t i = 0; i < forward->lane_count; i++)
        if (forward->lanes[i].placed && forward->lanes[i].next != forward->lanes[i].stands)
            return true;
    return false;
}

static bool commit(Forward *forward, Error *err)
{
    Feed *feed = forward->feed;
    uint64_t records = forward->pending;
    bool done;
    if (!has_moved(forward))
        return true;
    if (!feed_topic_stands(feed, true, err) || !send(forward, err) ||
        !feed_letters_settle(feed, err) || !begin(forward, err))
        return false;
    for (uint32_t i = 0; i < forward->lane_count; i++) {
        const ForwardLane *lane = &forward->lanes[i];
        forward->offsets[i] = lane->placed && lane->next != lane->stands ? lane->next : NOWHERE;
    }
    if (!end_transaction(forward, &done, err))
        return false;
    if (!done)
        return true;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        forward->lanes[i].stands = forward->lanes[i].next;
    forward->pending = 0;
    forward->oldest_ms = 0;
    forward->committed_us = clock_mono_us();
    atomic_fetch_add(&feed->rows, records);
    atomic_fetch_add(&feed->commits, 1);
    metric_add(feed->metrics.forwarded, (double)records);
    metric_add(feed->metrics.commits, 1);
    metric_set(feed->metrics.committed, (double)clock_wall_us() / 1e6);
    return true;
}

static bool commit_what_is_due(Forward *forward, Error *err)
{
    int64_t now_us = clock_mono_us();
    bool due = forward->open ? now_us - forward->begun_us >= COMMIT_US
                             : now_us - forward->committed_us >= MOVED_US;
    return !due || commit(forward, err);
}

/* ---------- where partitions are read from ---------- */
/* Of those that stand nowhere; true: the group stands there now. */
static bool say_starts(Forward *forward, bool *ret, Error *err)
{
    AUTO(mem_free)
    uint64_t *starts = mem_array((size_t)forward->lane_count + 1, sizeof *starts);
    bool any = false;
    uint64_t end;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        any = any || forward->offsets[i] != NOWHERE;
    if (!any && !feed_find_starts(forward->feed, starts, err))
        return false;
    for (uint32_t i = 0; any && i < forward->lane_count; i++) /* they were added */
        if (!kafka_member_bounds(forward->feed->member, i, &starts[i], &end, err))
            return false;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        forward->offsets[i] = forward->offsets[i] == NOWHERE ? starts[i] : NOWHERE;
    return begin(forward, err) && end_transaction(forward, ret, err);
}

static bool place(Forward *forward, uint32_t number, uint64_t offset, Error *err)
{
    Feed *feed = forward->feed;
    ForwardLane *lane = &forward->lanes[number];
    uint64_t start, end;
    if (!kafka_member_bounds(feed->member, number, &start, &end, err))
        return false;
    bool inside = start <= offset && offset <= end;
    feed->unsure = feed->unsure || !inside;
    if (!inside && !feed_topic_stands(feed, true, err))
        return false;
    if (!inside) {
        AUTO(mem_free) char *group = feed_group_name(feed);
        return error_set(err, ERROR_CONFIG, "TopicTruncated",
                         "topic %s partition %u begins at offset %" PRIu64 " and ends at %" PRIu64
                         ", and offset %" PRIu64 " is needed next: records were deleted before "
                         "they were read; to begin again as startFrom says, delete the consumer "
                         "group %s",
                         feed->topic, number, start, end, offset, group);
    }
    if (!kafka_member_seek(feed->member, number, offset))
        return true; /* the group is dealing out: later */
    *lane = (ForwardLane){.owned = true, .placed = true, .next = offset, .stands = offset};
    return true;
}

static bool place_all(Forward *forward, Error *err)
{
    bool waits = false, lacks = false, said;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        waits = waits || (forward->lanes[i].owned && !forward->lanes[i].placed);
    if (!waits) {
        atomic_store(&forward->feed->reads, forward->seen);
        return true;
    }
    if (clock_mono_us() < forward->ask_us)
        return true;
    if (forward->open) /* of those that are placed; say_starts takes one of its own */
        return commit(forward, err);
    forward->ask_us = clock_mono_us() + AGAIN_US;
    if (!kafka_member_stands(forward->feed->member, forward->offsets, err))
        return false;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        lacks = lacks || forward->offsets[i] == NOWHERE;
    if (lacks && forward->lanes[0].owned)
        return say_starts(forward, &said, err);
    for (uint32_t i = 0; i < forward->lane_count; i++)
        if (forward->lanes[i].owned && !forward->lanes[i].placed &&
            forward->offsets[i] != NOWHERE && !place(forward, i, forward->offsets[i], err))
            return false;
    return true;
}

/* Others may go on with what was this process's. */
static bool dealt(Forward *forward, Error *err)
{
    uint32_t count;
    uint64_t generation;
    Feed *feed = forward->feed;
    const uint32_t *lanes = kafka_member_dealt(feed->member, &count, &generation);
    if (!roll_back(forward, err))
        return false;
    forward->seen = true;
    for (uint32_t i = 0; i < forward->lane_count; i++)
        forward->lanes[i].owned = false;
    for (uint32_t i = 0; i < count; i++) {
        if (lanes[i] >= forward->lane_count)
            return error_set(err, ERROR_RETRY, "PartitionsAdded",
                             "topic %s has more partitions now", feed->topic);
        forward->lanes[lanes[i]].owned = true;
    }
    log_info("partitions are dealt out", LOG_T("topic", feed->topic), LOG_U("partitions", count),
             LOG_U("generation", generation));
    metric_set(feed->metrics.lanes, count);
    return true;
}

/* ---------- records ---------- */
/* Plain JSON is looked at; *ret: it goes on. */
static bool is_taken(Forward *forward, const KafkaHeard *heard, bool *ret, Error *err)
{
    Feed *feed = forward->feed;
    const EventRecord record = feed_record(heard);
    Event event;
    Error why = {0};
    *ret = true;
    if (!feed->reader || !record.value)
        return true;
    if (event_decode(feed->reader, &record, forward->batch, &event, &why)) {
        *ret = event.kind == EVENT_ROW;
        if (*ret)
            batch_row_undo(forward->batch);
        return true;
    }
    *ret = false;
    error_wrap(&why, "topic %s", feed->topic);
    if (feed_is_dead(feed, &why))
        return feed_put_letter(feed, heard, &why, err);
    *err = why;
    return false;
}

static bool take(Forward *forward, const KafkaHeard *heard, Error *err)
{
    if (heard->partition >= forward->lane_count)
        return error_set(err, ERROR_RETRY, "PartitionsAdded", "topic %s has more partitions now",
                         forward->feed->topic);
    ForwardLane *lane = &forward->lanes[heard->partition];
    forward->feed->unsure = true;
    if (!lane->placed || heard->offset < lane->next)
        return true; /* what was fetched before */
    if (heard->kind == KAFKA_HEARD_OUTSIDE)
        return roll_back(forward, err); /* what is wrong is said when it is placed */
    if (heard->kind == KAFKA_HEARD_END) {
        lane->next = heard->offset;
        return true;
    }
    bool taken;
    metric_add(forward->feed->metrics.records, 1);
    if (!is_taken(forward, heard, &taken, err) || (taken && !gather(forward, heard, err)))
        return false;
    lane->next = heard->offset + 1;
    return true;
}

static bool read_some(Forward *forward, Error *err)
{
    KafkaHeard heard;
    for (int i = 0; i < BURST; i++) {
        if (!kafka_member_next(forward->feed->member, i ? 0 : IDLE_MS, &heard, err))
            return false;
        if (heard.kind == KAFKA_HEARD_NOTHING)
            break;
        if (heard.kind == KAFKA_HEARD_DEALT ? !dealt(forward, err) : !take(forward, &heard, err))
            return false;
    }
    return send(forward, err);
}

/* ---------- the thread ---------- */
static bool open_reader(Forward *forward, Error *err)
{
    Feed *feed = forward->feed;
    if (feed->ingest->stream->incoming != INCOMING_JSON)
        return true;
    forward->columns = schema_new(0, 0);
    feed->reader = feed_json_reader(feed, forward->columns, err);
    if (!feed->reader)
        return false;
    event_reader_target(feed->reader, forward->columns);
    forward->batch = batch_new(forward->columns, 0, 1);
    return true;
}

static bool open_producer(Forward *forward, Error *err)
{
    Feed *feed = forward->feed;
    uint64_t id;
    ssize_t got = getrandom(&id, sizeof id, 0);
    ASSERT(got == sizeof id);
    AUTO(mem_free) char *group = feed_group_name(feed);
    AUTO(mem_free) char *transaction = mem_format("%s-%016" PRIx64, group, id);
    forward->stream = *feed->ingest->stream;
    forward->stream.buffer_bytes = BUFFER_BYTES;
    forward->stream.compression = KAFKA_LZ4;
    const KafkaProducerOptions options = {
        .client = {.client_id = group, .field = "spec.kafka"},
        .batch_bytes = FEED_BATCH_BYTES,
        .transaction_id = transaction,
        .transaction_ms = clock_asked_us("FIRN_TRANSACTION_MS", TRANSACTION_MS * 1000) / 1000};
    const FeedTopic wanted = {
        .name = feed->to_topic, .what = "batches", .partitions = forward->lane_count};
    forward->producer = kafka_producer_open(&forward->stream, &options, err);
    return forward->producer &&
           feed_open_topic(feed->ingest, &wanted, forward->producer, &forward->target, err);
}

/* Nothing is read before the group's offsets are known. */
static bool forward_next(void *context, uint32_t partition, uint64_t *ret)
{
    (void)context, (void)partition, (void)ret;
    return false;
}

static bool forward_open(Forward *forward, Error *err)
{
    Feed *feed = forward->feed;
    if (!open_reader(forward, err) || !feed_open_member(feed, forward_next, err))
        return false;
    forward->lane_count = feed->lane_count = kafka_member_partitions(feed->member);
    forward->lanes = mem_array(forward->lane_count, sizeof *forward->lanes);
    forward->offsets = mem_array(forward->lane_count, sizeof *forward->offsets);
    forward->committed_us = clock_mono_us();
    return open_producer(forward, err);
}

static void forward_close(Forward *forward)
{
    Feed *feed = forward->feed;
    Error ignored;
    if (forward->open) /* readers of the topic need not wait for its end */
        (void)!kafka_producer_abort(forward->producer, WAIT_MS, &ignored);
    drop_gathered(forward);
    bytes_done(&forward->bytes);
    kafka_producer_free(forward->producer);
    kafka_member_free(TAKE(feed->member));
    feed_letters_free(feed);
    event_reader_free(TAKE(feed->reader));
    batch_free(forward->batch);
    schema_free(forward->columns);
    free(forward->lanes);
    free(forward->offsets);
}

static bool loop(Forward *forward, Error *err)
{
    while (!feed_stopping(forward->feed)) {
        if (!read_some(forward, err) || !place_all(forward, err) ||
            !commit_what_is_due(forward, err) || !feed_topic_stands(forward->feed, false, err))
            return false;
        int64_t stale_us = forward->oldest_ms ? clock_wall_us() - forward->oldest_ms * 1000 : 0;
        feed_tell(forward->feed, stale_us > 0 ? stale_us : 0);
    }
    return commit(forward, err);
}

void feed_forward(void *argument)
{
    Feed *feed = argument;
    Forward *forward = mem_zalloc(sizeof *forward);
    forward->feed = feed;
    feed->ok = forward_open(forward, &feed->error) && loop(forward, &feed->error);
    if (!feed->ok && forward->producer && forward->target.topic)
        feed_learn_size(feed->ingest, &forward->target, forward->producer, &feed->error);
    if (strcmp(feed->error.code, "Fenced") == 0)
        feed->error.kind = ERROR_RETRY; /* it took too long: the group says who goes on */
    if (!feed->ok)
        error_wrap(&feed->error, "unit %s", feed->unit);
    forward_close(forward);
    free(forward);
    atomic_store(&feed->ended, true);
}
