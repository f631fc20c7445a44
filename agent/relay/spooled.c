/* stream.spool: rows wait in a folder or a bucket while the broker is slow or away, so that the
 * source need not keep its log.
 *
 * A flow is direct (records go to Kafka and nowhere else) or spooled: every record goes to the
 * backlog first, the source is told what is durable there, and from there Kafka is given what it
 * takes, in order. One is spooled when the flow before it found that Kafka takes nothing (stalled),
 * when Kafka can't be reached at its beginning (away), or when the backlog holds anything. Once all
 * of it is acknowledged the next flow is direct. A copy is never spooled: it waits for the broker.
 *
 * Away, a flow knows of Kafka what the backlog's note says (the state topic's records, and of each
 * topic how many partitions and bytes it takes), and what the backlog itself has of the state. It
 * ends as soon as a broker answers; the next one opens Kafka and gives.
 *
 * After a crash what is acknowledged, but not released, is given again: with the same positions
 * (Idempotent), or left out, as far as the position that was committed to Kafka says (Transactional
 * has it in the transaction of the rows, and always ends one at a checkpoint of the backlog). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/relay/spooled.h"
#include "agent/topic/envelope.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/reader.h"

#define KNOWN_TOPIC "topic/"
#define CONFIRM_US 1000000
#define STALLED_US 5000000
#define STORE_PATIENCE_US 3000000 /* of one call; what can wait is tried again */
#define ROOM_WAIT_MS 50
#define DRAIN_US 5000000
/* A long time away makes fewer segments: they are written once in an interval that grows with it,
 * to a minute's after an hour. */
#define SLOWER_US 64000000
#define SLOWER_MOST 60
#define LOOK_US 100000
#define KNOCK_MS 2000

/* ---------- what is known of Kafka ---------- */
static RelayTopic *one_topic(void *context, const char *name)
{
    (void)name;
    return context;
}

static bool take_known_topic(Spooled *spool, const char *name, const uint8_t *value, size_t bytes)
{
    Reader in = reader_over(value, bytes);
    KnownTopic known = {0};
    if (!reader_u32(&in, &known.partitions) || !reader_u64(&in, &known.record_bytes_max) ||
        reader_left(&in) || !known.partitions)
        return false;
    known.name = mem_strdup(name);
    spool->known = mem_regrow(spool->known, spool->known_count + 1, sizeof *spool->known);
    spool->known[spool->known_count++] = known;
    return true;
}

static bool take_known(Spooled *spool, const uint8_t *data, size_t bytes)
{
    Outbox box = {0};
    RelayTopic any = {.partitions = 1};
    Error ignored = {0};
    bool ok = relay_box_take(data, bytes, one_topic, &any, &box);
    for (size_t i = 0; ok && i < box.records.count; i++) {
        const TopicRecord *record = &box.records.items[i];
        const uint8_t *all = box.records.bytes.data;
        AUTO(mem_free)
        char *key = mem_strndup((const char *)all + record->key.at, record->key.bytes);
        if (strncmp(key, KNOWN_TOPIC, strlen(KNOWN_TOPIC)) == 0)
            ok = take_known_topic(spool, key + strlen(KNOWN_TOPIC), all + record->value.at,
                                  record->value.bytes);
        else
            ok = state_take(&spool->state, key, record->key.bytes, all + record->value.at,
                            record->value.bytes, &ignored);
    }
    outbox_done(&box);
    return ok;
}

static void put_known_topic(const RelayTopic *topic, TopicRecords *to)
{
    if (!topic->name)
        return;
    TopicRecord *record = topic_record_add(to);
    record->key.at = to->bytes.used;
    bytes_put(&to->bytes, KNOWN_TOPIC, strlen(KNOWN_TOPIC));
    bytes_put(&to->bytes, topic->name, strlen(topic->name));
    record->key.bytes = to->bytes.used - record->key.at;
    record->value.at = to->bytes.used;
    bytes_put_u32(&to->bytes, topic->partitions);
    bytes_put_u64(&to->bytes, topic->record_bytes_max);
    record->value.bytes = to->bytes.used - record->value.at;
}

bool relay_spool_know(RelayFlow *flow, Error *err)
{
    if (!flow->spool)
        return true;
    Outbox box = {0};
    TopicRecords *to = outbox_to(&box, &flow->state_topic);
    const Position at = position_of(capture_source(flow->capture), flow->durable);
    AUTO(mem_free) char *anchor = capture_anchor(flow->capture, flow->durable);
    state_put_position(flow->relay->base.name, &at, anchor, to);
    put_known_topic(&flow->state_topic, to);
    for (size_t i = 0; i < CONNECTOR_TOPICS; i++)
        put_known_topic(&flow->others[i].topic, to);
    for (size_t i = 0; i < flow->table_count; i++) {
        put_known_topic(&flow->tables[i].topic, to);
        state_put_table(flow->tables[i].state, to);
    }
    Bytes text = {0};
    relay_box_put(&box, &text);
    bool ok = backlog_note(flow->spool->backlog, text.data, text.used, err);
    bytes_done(&text);
    outbox_done(&box);
    return ok;
}

bool relay_spool_topic(const RelayFlow *flow, const char *name, RelayTopic *ret, Error *err)
{
    const Spooled *spool = flow->spool;
    for (size_t i = 0; i < spool->known_count; i++) {
        const KnownTopic *known = &spool->known[i];
        if (strcmp(known->name, name) != 0)
            continue;
        *ret = (RelayTopic){.name = mem_strdup(name),
                            .partitions = known->partitions,
                            .record_bytes_max = known->record_bytes_max};
        return true;
    }
    *err = spool->why_away;
    return false;
}

/* ---------- beginning and end ---------- */
static void knock(void *argument)
{
    RelayFlow *flow = argument;
    Spooled *spool = flow->spool;
    while (!atomic_load(&spool->quits)) {
        Error ignored = {0};
        int64_t began_us = clock_mono_us();
        AUTO(kafka_client_free)
        KafkaClient *client =
            kafka_client_open(&flow->stream->kafka,
                              &(KafkaClientOptions){.client_id = flow->relay->base.name,
                                                    .field = "spec.stream.kafka",
                                                    .patience_ms = KNOCK_MS},
                              &ignored);
        if (client) {
            atomic_store(&spool->answered, true);
            return;
        }
        int64_t left_us = began_us + KNOCK_MS * 1000 - clock_mono_us();
        for (; left_us > 0 && !atomic_load(&spool->quits); left_us -= ROOM_WAIT_MS * 1000)
            clock_sleep_us(ROOM_WAIT_MS * 1000);
    }
}

void relay_spool_close(RelayFlow *flow)
{
    Spooled *spool = flow->spool;
    if (!spool)
        return;
    atomic_store(&spool->quits, true);
    if (spool->knocks)
        thread_join(spool->knocks);
    outbox_done(&spool->giving);
    outbox_done(&spool->own);
    for (size_t i = 0; i < spool->known_count; i++)
        free(spool->known[i].name);
    free(spool->known);
    state_done(&spool->state);
    backlog_close(spool->backlog);
    store_close(spool->store);
    aws_credentials_free(spool->keys);
    free(spool);
    flow->spool = NULL;
}

static bool open_store(Spooled *spool, const StreamSpec *stream, const char *uri, Error *err)
{
    static const char file[] = "file://";
    const StorageSpec *storage = &stream->spool_storage;
    const AwsKeys keys = {.access_key = storage->access_key,
                          .secret_key = storage->secret_key,
                          .session_token = storage->session_token};
    bool is_folder = strncmp(uri, file, strlen(file)) == 0;
    if (is_folder)
        (void)mkdir(uri + strlen(file), 0700); /* rows are in it; the store makes what is missing */
    if (storage->access_key)
        spool->keys = aws_credentials_static(&keys);
    const S3Options s3 = {.endpoint = storage->endpoint,
                          .region = storage->region,
                          .path_style = storage->path_style,
                          .ca_pem = storage->ca_pem,
                          .credentials = spool->keys,
                          .field = "spec.stream.spool.storage",
                          .patience_us = STORE_PATIENCE_US};
    spool->store = store_open(uri, &s3, err);
    if (!spool->store && is_folder && err->kind == ERROR_CONFIG) {
        snprintf(err->code, sizeof err->code, "SpoolFolder");
        error_wrap(err, "spec.stream.spool.location %.200s", uri);
    }
    return spool->store;
}

bool relay_spool_open(RelayFlow *flow, Error *err)
{
    const StreamSpec *stream = flow->stream;
    RowPosition told;
    uint8_t *known;
    size_t bytes;
    if (!stream->spool_location)
        return true;
    Spooled *spool = flow->spool = mem_zalloc(sizeof *spool);
    AUTO(mem_free) char *uri = store_uri(stream->spool_location, err);
    if (!uri || !open_store(spool, stream, uri, err) || !capture_told(flow->capture, &told, err))
        return false;
    const uint64_t part = stream->spool_bytes / 16;
    spool->backlog = backlog_open(&(BacklogOptions){.store = spool->store,
                                                    .uri = uri,
                                                    .owner = flow->relay->base.name,
                                                    .bytes_max = stream->spool_bytes,
                                                    .segment_bytes = part < BACKLOG_SEGMENT_BYTES
                                                                         ? part
                                                                         : BACKLOG_SEGMENT_BYTES,
                                                    .told = told},
                                  err);
    if (!spool->backlog || !backlog_noted(spool->backlog, &known, &bytes, err))
        return false;
    spool->known_whole = known && take_known(spool, known, bytes);
    free(known);
    return true;
}

bool relay_spool_away(RelayFlow *flow, const Error *why)
{
    Spooled *spool = flow->spool;
    if (!spool || why->kind != ERROR_RETRY || !spool->known_whole)
        return false;
    for (size_t i = 0; i < spool->state.table_count; i++)
        if (!spool->state.tables[i]->complete)
            return false; /* a copy waits for the broker */
    spool->away = true;
    spool->why_away = *why;
    state_done(&flow->state);
    flow->state = spool->state;
    spool->state = (State){0};
    AUTO(mem_free)
    char *topic = mem_format("%s." STATE_TOPIC_SUFFIX, flow->stream->topic_prefix);
    Error ignored = {0};
    if (!flow->state_topic.name &&
        !relay_topic_open(flow, topic, USE_STATE, &flow->state_topic, &ignored))
        return false;
    flow->state_topic.kafka = NULL;
    log_warn("kafka can't be reached: rows go to the spool", LOG_T("error", why->message));
    return true;
}

/* What stands in the backlog of the state topic is the state's, too. */
bool relay_spool_state(RelayFlow *flow, Error *err)
{
    Spooled *spool = flow->spool;
    Outbox box = {0};
    BacklogEntry entry;
    bool any = true, ok = true;
    if (!spool)
        return true;
    spool->there = spool->away ? (RowPosition){0} : flow->state.position.at;
    RowPosition from = backlog_from(spool->backlog);
    if (!backlog_is_empty(spool->backlog) && !spool->away &&
        row_position_compare(from, flow->state.position.at) > 0)
        return error_set(err, ERROR_CONFIG, "SlotAhead",
                         "the spool begins behind %llX, and the topics have everything up to %llX "
                         "alone: changes between are lost; load the tables again with "
                         "--resnapshot '*.*'",
                         (unsigned long long)from.major,
                         (unsigned long long)flow->state.position.at.major);
    while (ok && (ok = backlog_next(spool->backlog, &entry, &any, err)) && any) {
        /* of any topic: which there are is not known yet */
        RelayTopic topic = {.partitions = UINT32_MAX};
        if (entry.checkpoint)
            continue;
        ok = relay_box_take(entry.data, entry.bytes, one_topic, &topic, &box) ||
             error_set(err, ERROR_CONFIG, "SpoolDamaged",
                       "spec.stream.spool.location %s: an entry has no records in it",
                       flow->stream->spool_location);
        for (size_t i = 0; ok && i < box.records.count; i++) {
            const TopicRecord *record = &box.records.items[i];
            const uint8_t *all = box.records.bytes.data;
            if (!record->header.bytes && record->key.bytes > 6 &&
                memcmp(all + record->key.at, "table/", 6) == 0)
                ok = state_take(&flow->state, all + record->key.at, record->key.bytes,
                                all + record->value.at, record->value.bytes, err);
        }
    }
    outbox_done(&box);
    backlog_rewind(spool->backlog);
    RowPosition until = backlog_until(spool->backlog);
    if (!backlog_is_empty(spool->backlog) &&
        row_position_compare(until, flow->state.position.at) > 0)
        flow->state.position.at = until;
    else if (spool->away) /* what went to Kafka itself: the source was told no more than that */
        ok = ok && capture_told(flow->capture, &flow->state.position.at, err);
    spool->told = spool->put = flow->state.position.at;
    return ok;
}

bool relay_is_away(const RelayFlow *flow)
{
    return flow->spool && flow->spool->away;
}

bool relay_spool_holds(const RelayFlow *flow)
{
    return flow->spool && !backlog_is_empty(flow->spool->backlog);
}

bool spool_kafka_stalls(RelayFlow *flow)
{
    KafkaFigures figures;
    kafka_producer_figures(flow->producer, &figures);
    return figures.oldest_us > clock_asked_us("FIRN_STALLED_MS", STALLED_US);
}

bool relay_stalled(RelayFlow *flow, Error *err)
{
    flow->relay->stalled = true;
    return error_set(err, ERROR_RETRY, "KafkaStalled",
                     "kafka acknowledges nothing: rows go to the spool (%s) from the durable "
                     "position on",
                     flow->stream->spool_location);
}

bool relay_check_stalled(RelayFlow *flow, Error *err)
{
    int64_t now_us = clock_mono_us();
    if (!flow->spool || flow->spooled || flow->copying || !flow->producer ||
        now_us < flow->stalled_after_us)
        return true;
    flow->stalled_after_us = now_us + LOOK_US;
    return !spool_kafka_stalls(flow) || relay_stalled(flow, err);
}

bool relay_check_commit(RelayFlow *flow, int64_t waited_us, Error *err)
{
    return !flow->spool || flow->copying ||
           waited_us < clock_asked_us("FIRN_STALLED_MS", STALLED_US) || relay_stalled(flow, err);
}

/* Is this flow spooled? What can't be, waits until the backlog is given. */
bool relay_spool_begin(RelayFlow *flow, Error *err)
{
    Spooled *spool = flow->spool;
    if (!spool || (!spool->away && !flow->relay->stalled && backlog_is_empty(spool->backlog)))
        return true;
    flow->relay->stalled = false;
    flow->spooled = true;
    flow->recorded = flow->durable = spool->there;
    spool->begun_us = clock_mono_us();
    if (backlog_is_empty(spool->backlog))
        backlog_begin(spool->backlog, flow->checkpoint);
    if (spool->away)
        spool->knocks = thread_start("knock", knock, flow);
    log_info("rows go by way of the spool", LOG_U("bytes", backlog_bytes(spool->backlog)));
    bool copies = false;
    for (size_t i = 0; i < flow->table_count; i++)
        copies = copies || !flow->tables[i].complete;
    if (!copies)
        return true;
    if (spool->away) {
        *err = spool->why_away;
        return false;
    }
    while (!relay_stopping(flow))
        if (!relay_spool_step(flow, true, err) || !relay_idle(flow, err))
            return false;
    return true; /* with the backlog empty another flow begins, and copies */
}

/* ---------- in ---------- */
/* One transaction of the source fills all of it: Kafka has everything before that. Without a spool
 * Kafka is given it piece by piece. */
static bool is_too_large(RelayFlow *flow)
{
    Backlog *backlog = flow->spool->backlog;
    return !flow->spool->away && backlog_is_written(backlog) &&
           row_position_compare(backlog_until(backlog), flow->recorded) <= 0;
}

/* There was no room for so long: is it time to end? Else what Kafka takes now makes some. */
static bool make_room(RelayFlow *flow, BacklogRoom room, int64_t waited_us, Error *err)
{
    Spooled *spool = flow->spool;
    backlog_wait(spool->backlog, ROOM_WAIT_MS);
    bool ends = relay_stopping(flow) || atomic_load(&spool->answered);
    if ((ends && (room == BACKLOG_FULL || waited_us > DRAIN_US)) ||
        (room == BACKLOG_FULL && is_too_large(flow)))
        return error_set(err, ERROR_RETRY, "SpoolFull",
                         "spec.stream.spool.location %s has no room for more rows",
                         flow->stream->spool_location);
    return relay_spool_step(flow, false, err) && relay_idle(flow, err);
}

bool relay_spool_put(RelayFlow *flow, Outbox *box, Error *err)
{
    Spooled *spool = flow->spool;
    BacklogRoom room = BACKLOG_BUSY;
    bool said = false;
    Bytes entry = {0};
    relay_box_put(box, &entry);
    bool ok = true;
    for (int64_t since_us = clock_mono_us(); ok && room != BACKLOG_PUT;) {
        ok = backlog_put(spool->backlog, entry.data, entry.used, &room, err);
        if (!ok || room == BACKLOG_PUT)
            break;
        if (room == BACKLOG_FULL && !said)
            log_warn("the spool is full: the source keeps its log",
                     LOG_U("bytes", backlog_bytes(spool->backlog)));
        said = said || room == BACKLOG_FULL;
        ok = make_room(flow, room, clock_mono_us() - since_us, err);
    }
    bytes_done(&entry);
    outbox_clear(box);
    CRASH_POINT("relay-spooled");
    return ok;
}

/* Everything up to the checkpoint has been put. */
void relay_spool_checkpoint(RelayFlow *flow)
{
    Spooled *spool = flow->spool;
    if (row_position_compare(flow->checkpoint, spool->put) <= 0)
        return;
    backlog_put_checkpoint(spool->backlog, flow->checkpoint);
    spool->put = flow->checkpoint;
}

static int64_t flush_interval_us(const Spooled *spool, int64_t now_us)
{
    int64_t slower = (now_us - spool->begun_us) / SLOWER_US;
    slower = slower < 1 ? 1 : slower > SLOWER_MOST ? SLOWER_MOST : slower;
    return slower * clock_asked_us("FIRN_CONFIRM_MS", CONFIRM_US);
}

bool spool_tell(RelayFlow *flow, bool at_once, Error *err)
{
    Spooled *spool = flow->spool;
    int64_t now_us = clock_mono_us();
    if (at_once ||
        (now_us >= spool->flush_us && row_position_compare(spool->put, spool->told) > 0)) {
        spool->flush_us = now_us + flush_interval_us(spool, now_us);
        if (!backlog_flush(spool->backlog, err))
            return false;
    }
    if (!backlog_look(spool->backlog, err))
        return false;
    RowPosition durable = backlog_until(spool->backlog);
    if (row_position_compare(durable, spool->told) <= 0)
        return true;
    CRASH_POINT("relay-spool-synced");
    spool->told = flow->confirmed = durable;
    capture_confirm(flow->capture, spool->told);
    CRASH_POINT("relay-spool-told");
    return true;
}

bool relay_spool_drain(RelayFlow *flow, Error *err)
{
    Spooled *spool = flow->spool;
    int64_t until_us = clock_mono_us() + DRAIN_US;
    do {
        if (!spool_tell(flow, true, err) || !relay_idle(flow, err))
            return false;
        if (row_position_compare(spool->put, spool->told) <= 0)
            return true;
        backlog_wait(spool->backlog, ROOM_WAIT_MS);
    } while (clock_mono_us() < until_us);
    return true; /* the rest was not told, and comes again */
}
