/* Records that can't be read: see flow.h for when they are durable, agent/topic/letter.h for what
 * they are. The producer is opened for the first one. */
#include <stdlib.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/topic/letter.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define GATHERED_BYTES ((size_t)1 << 20) /* then they are sent, whatever the worker does */
#define BUFFER_BYTES ((uint64_t)8 << 20)
/* Of the topic in front of a table: a record of the usual size has room beside its place and
 * reason, and services that keep such sizes low take so much. */
#define WHOLE_BYTES_MAX ((uint64_t)8 << 20)
#define SETTLE_US INT64_C(30000000) /* then the flow begins again */
#define WAIT_MS 500

/* What a record that goes as it was has beside its bytes. */
typedef struct Whole {
    KafkaHeaders *headers;
    bool has_key, has_value;
} Whole;

typedef struct Letters {
    StreamSpec stream; /* the unit's, with a buffer; its pointers are borrowed */
    KafkaProducer *producer;
    FeedTopic to;
    TopicRecords records; /* not sent yet */
    Whole *wholes;        /* of each record; NULL: they are letter_put's */
    uint64_t count;       /* of letters in them */
    uint64_t acknowledged;
    Error latest;
} Letters;

bool feed_is_dead(const Feed *feed, const Error *why)
{
    return feed->dead_letter &&
           (why->kind == ERROR_DATA || strcmp(why->code, "SchemaUnknown") == 0);
}

static void drop_records(Letters *letters)
{
    for (size_t i = 0; letters->wholes && i < letters->records.count; i++)
        kafka_headers_free(letters->wholes[i].headers);
    free(TAKE(letters->wholes));
    topic_records_clear(&letters->records);
}

static void letters_free(Letters *letters)
{
    if (!letters)
        return;
    drop_records(letters);
    topic_records_done(&letters->records);
    kafka_producer_free(letters->producer);
    free(letters);
}
DEFINE_AUTO(Letters, letters_free);

void feed_letters_free(Feed *feed)
{
    letters_free(TAKE(feed->letters));
}

static Letters *open_topic(const Feed *feed, const char *topic, bool whole, Error *err)
{
    AUTO(mem_free) char *name = feed_group_name(feed);
    AUTO(letters_free) Letters *letters = mem_zalloc(sizeof *letters);
    letters->stream = *feed->ingest->stream;
    letters->stream.buffer_bytes = BUFFER_BYTES;
    const KafkaProducerOptions options = {
        .client = {.client_id = name, .field = ingest_kafka_field(feed->ingest)},
        .batch_bytes = FEED_BATCH_BYTES};
    letters->producer = kafka_producer_open(&letters->stream, &options, err);
    const FeedTopic wanted = {.name = topic,
                              .what = "dead letters",
                              .partitions = 1,
                              .deletes = true,
                              .made_bytes_max = whole ? WHOLE_BYTES_MAX : 0};
    if (!letters->producer ||
        !feed_open_topic(feed->ingest, &wanted, letters->producer, &letters->to, err)) {
        error_wrap(err, "dead letters");
        return NULL;
    }
    return TAKE(letters);
}

bool feed_letters_prepare(const Feed *feed, Error *err)
{
    AUTO(letters_free) Letters *letters = open_topic(feed, feed->topic, true, err);
    return letters != NULL;
}

static bool open_letters(Feed *feed, Error *err)
{
    if (feed->letters)
        return true;
    if (strcmp(feed->dead_letter, feed->topic) == 0)
        return error_set(err, ERROR_CONFIG, "TopicTaken",
                         "deadLetter.topic of unit %s is %s, the topic that is read: write "
                         "another one",
                         feed->unit, feed->topic);
    feed->letters = open_topic(feed, feed->dead_letter, feed->letters_whole, err);
    return feed->letters != NULL;
}

static void put_whole(Letters *letters, const KafkaHeard *heard, const Letter *letter)
{
    AUTO(mem_free) char *head = letter_header(letter);
    TopicRecords *records = &letters->records;
    letter_put_whole(letter, records);
    letters->wholes = mem_regrow(letters->wholes, records->count, sizeof *letters->wholes);
    letters->wholes[records->count - 1] =
        (Whole){.headers = kafka_heard_headers_with(heard, LETTER_HEADER, head, strlen(head)),
                .has_key = heard->key,
                .has_value = heard->value};
}

bool feed_put_letter(Feed *feed, const KafkaHeard *heard, const Error *why, Error *err)
{
    if (!open_letters(feed, err))
        return false;
    Letters *letters = feed->letters;
    size_t header_bytes = 0;
    const void *header = kafka_heard_header(heard, TOPIC_HEADER, &header_bytes);
    const Letter letter = {.topic = feed->topic,
                           .source = kafka_member_source(feed->member),
                           .written_ms = heard->timestamp_ms,
                           .partition = heard->partition,
                           .was_read = true,
                           .offset = heard->offset,
                           .at = topic_header_position(header, header_bytes),
                           .key = heard->key,
                           .key_bytes = heard->key_bytes,
                           .value = heard->value,
                           .value_bytes = heard->value_bytes,
                           .header = header,
                           .header_bytes = header_bytes,
                           .why = why};
    if (feed->letters_whole)
        put_whole(letters, heard, &letter);
    else /* in pieces, and of these it has to take the least ones */
        letter_put(&letter, letters->to.is_told ? letters->to.record_bytes_max : FEED_BATCH_BYTES,
                   &letters->records);
    letters->count++;
    letters->latest = *why;
    return letters->records.bytes.used < GATHERED_BYTES || feed_letters_settle(feed, err);
}

/* Their bytes go with the flight. */
static KafkaRecord *address(const Letters *letters, const Bytes *bytes)
{
    const TopicRecords *from = &letters->records;
    KafkaRecord *records = mem_array(from->count, sizeof *records);
    for (size_t i = 0; i < from->count; i++) {
        const TopicRecord *record = &from->items[i];
        records[i] = (KafkaRecord){.topic = letters->to.topic,
                                   .key = bytes->data + record->key.at,
                                   .key_bytes = (uint32_t)record->key.bytes,
                                   .value = bytes->data + record->value.at,
                                   .value_bytes = (uint32_t)record->value.bytes};
        if (letters->wholes) {
            const Whole *whole = &letters->wholes[i];
            records[i].key = whole->has_key ? records[i].key : NULL;
            records[i].value = whole->has_value ? records[i].value : NULL;
            records[i].all = whole->headers;
        }
        if (record->other_name)
            records[i].headers[0] = (KafkaHeader){
                record->other_name, bytes->data + record->other.at, (uint32_t)record->other.bytes};
    }
    return records;
}

static bool send(Letters *letters, uint64_t *ret_flight, Error *err)
{
    Bytes bytes = letters->records.bytes;
    letters->records.bytes = (Bytes){0};
    AUTO(mem_free) KafkaRecord *records = address(letters, &bytes);
    /* there is no other flight: each is waited for */
    KafkaSent sent = kafka_producer_send(letters->producer, &bytes, records, letters->records.count,
                                         WAIT_MS, ret_flight, err);
    bytes_done(&bytes);
    if (sent == KAFKA_FULL)
        return error_set(err, ERROR_RETRY, "KafkaBusy", "Kafka takes no dead letters");
    if (sent == KAFKA_FAILED && err->kind == ERROR_DATA)
        err->kind =
            ERROR_CONFIG; /* the topic takes less than it said, and there is no other place */
    return sent == KAFKA_SENT;
}

bool feed_letters_settle(Feed *feed, Error *err)
{
    Letters *letters = feed->letters;
    int64_t settle_us = clock_asked_us("FIRN_SETTLE_MS", SETTLE_US);
    uint64_t flight;
    if (!letters || !letters->count)
        return true;
    if (!send(letters, &flight, err)) {
        feed_learn_size(feed->ingest, &letters->to, letters->producer, err);
        return error_wrap(err, "dead letters (topic %s)", feed->dead_letter);
    }
    for (int64_t until_us = clock_mono_us() + settle_us; letters->acknowledged < flight;) {
        if (!kafka_producer_wait(letters->producer, letters->acknowledged, WAIT_MS,
                                 &letters->acknowledged, err)) {
            feed_learn_size(feed->ingest, &letters->to, letters->producer, err);
            return error_wrap(err, "dead letters (topic %s)", feed->dead_letter);
        }
        if (letters->acknowledged < flight && (feed_stopping(feed) || clock_mono_us() > until_us))
            return error_set(err, ERROR_RETRY, "KafkaBusy",
                             "topic %s does not acknowledge dead letters", feed->dead_letter);
    }
    metric_add(feed->metrics.dead_letters, (double)letters->count);
    log_warn("records can't be read: they are among the dead letters", LOG_T("table", feed->name),
             LOG_T("topic", feed->dead_letter), LOG_U("records", letters->count),
             LOG_T("reason", letters->latest.code), LOG_T("latest", letters->latest.message));
    letters->count = 0;
    drop_records(letters);
    return true;
}
