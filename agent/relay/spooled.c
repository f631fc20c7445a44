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

#include "agent/relay/flow.h"
#include "agent/topic/envelope.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/reader.h"

#define KNOWN_TOPIC "topic/"
#define STALLED_US 5000000
#define CONFIRM_US 1000000
#define AGE_US 1000000            /* a direct flow may follow when nothing waits for longer */
#define STORE_PATIENCE_US 3000000 /* of one call; what can wait is tried again */
#define OURS_US 1000000           /* nothing was looked at for so long: it may have slept */
#define ROOM_WAIT_MS 50
#define DRAIN_US 5000000
/* A long time away makes fewer segments: they are written once in an interval that grows with it,
 * to a minute's after an hour. */
#define SLOWER_US 64000000
#define SLOWER_MOST 60
#define LOOK_US 100000
#define KNOCK_MS 2000
#define GIVEN_AT_ONCE 64 /* entries, before the source is looked at again */

/* ---------- what is known of Kafka ---------- */
typedef struct KnownTopic {
    char *name;
    uint32_t partitions;
    uint64_t record_bytes_max;
    RelayTopic topic; /* for relay_box_take */
} KnownTopic;

struct Spooled {
    Backlog *backlog;
    Store *store;
    AwsCredentials *keys; /* NULL: from the environment */
    KnownTopic *known;    /* as the note says */
    size_t known_count;
    State state;
    bool known_whole;

    bool away;
    Error why_away;
    RowPosition there; /* Kafka has everything up to it, as of the beginning */
    RowPosition told;  /* written, and told */
    RowPosition put;   /* the latest checkpoint in the backlog */
    RowPosition released;
    Outbox giving, own;
    bool waits; /* `giving` is to be handed over, or `ends` is a checkpoint that is to be committed
                 */
    RowPosition ends;
    bool ends_waits;
    int64_t flush_us, begun_us, ours_us;

    Thread *knocks;
    atomic_bool answered, quits;
};

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
    state_put_position(flow->relay->base.name, &at, to);
    RelayTopic *const others[] = {&flow->state_topic, &flow->heartbeats.topic,
                                  &flow->messages.topic, &flow->transactions_topic.topic};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        put_known_topic(others[i], to);
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

/* Kafka has taken nothing for a while, though something waits. */
static bool kafka_stalls(RelayFlow *flow)
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
    return !kafka_stalls(flow) || relay_stalled(flow, err);
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
    topic_records_clear(&box->records);
    box->run_count = 0;
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

/* What is durable there is told to the source. */
static bool tell(RelayFlow *flow, bool at_once, Error *err)
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
        if (!tell(flow, true, err) || !relay_idle(flow, err))
            return false;
        if (row_position_compare(spool->put, spool->told) <= 0)
            return true;
        backlog_wait(spool->backlog, ROOM_WAIT_MS);
    } while (clock_mono_us() < until_us);
    return true; /* the rest was not told, and comes again */
}

/* ---------- out ---------- */
static RelayTopic *topic_of(void *context, const char *name)
{
    RelayFlow *flow = context;
    RelayTopic *const others[] = {&flow->state_topic, &flow->heartbeats.topic,
                                  &flow->messages.topic, &flow->transactions_topic.topic,
                                  &flow->dead_letters};
    for (size_t i = 0; i < flow->table_count; i++)
        if (strcmp(flow->tables[i].topic.name, name) == 0)
            return &flow->tables[i].topic;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i]->name && strcmp(others[i]->name, name) == 0)
            return others[i];
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
    topic_records_clear(&spool->own.records);
    spool->own.run_count = 0;
    state_put_position(flow->relay->base.name, &position,
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
        if (!tell(flow, true, err) || !give(flow, &all, err))
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
        if (kafka_stalls(flow))
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
    if (!tell(flow, false, err))
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
