/* The producer. What it costs is what librdkafka costs: values are not copied (they stay in the
 * flight's memory until it is acknowledged), and acknowledgements do not come as events through a
 * queue and a thread of ours but are counted where they arrive, in the broker's thread, by an
 * interceptor (tests/bench/NOTES.md has the figures).
 *
 * No gaps: `enable.gapless.guarantee` makes a batch that fails for good end the producer, so that
 * what is behind it is not written; what fails before it is sent (a topic that is gone, a right
 * that was taken) is noticed by the same interceptor, after which nothing more is handed over. */
#include "agent/kafka/flight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define OPEN ((int64_t)1 << 40)
#define BATCH_BYTES 1000000
#define TRANSACTION_MS 60000
#define LINGER_MS 3
/* Of a record in a batch: lengths, offsets, and what librdkafka counts for its framing. */
#define FRAME_BYTES 96u
#define HEADER_FRAME_BYTES 10u

/* --- acknowledgements --- */

static void flight_counted(KafkaProducer *producer, Flight *flight, int64_t by)
{
    if (atomic_fetch_sub_explicit(&flight->left, by, memory_order_acq_rel) != by)
        return;
    pthread_mutex_lock(&producer->lock);
    flights_settle(producer);
    pthread_mutex_unlock(&producer->lock);
}

static void record_failed(KafkaProducer *producer, const rd_kafka_message_t *message)
{
    pthread_mutex_lock(&producer->lock);
    if (!atomic_load(&producer->failed_code)) {
        snprintf(producer->failed_topic, sizeof producer->failed_topic, "topic %s",
                 message->rkt ? rd_kafka_topic_name(message->rkt) : "?");
        atomic_store(&producer->failed_code, message->err);
    }
    atomic_store(&producer->broken, true);
    pthread_cond_broadcast(&producer->changed);
    pthread_mutex_unlock(&producer->lock);
}

/* In a broker's thread, for every record. */
static rd_kafka_resp_err_t acknowledged(rd_kafka_t *rk, rd_kafka_message_t *message, void *context)
{
    (void)rk;
    KafkaProducer *producer = context;
    Flight *flight = message->_private;
    if (UNLIKELY(message->err))
        record_failed(producer, message); /* stays counted: the flight is never whole */
    else
        flight_counted(producer, flight, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t begin_intercepting(rd_kafka_t *rk, const rd_kafka_conf_t *conf,
                                              void *context, char *text, size_t text_bytes)
{
    (void)conf;
    (void)text;
    (void)text_bytes;
    return rd_kafka_interceptor_add_on_acknowledgement(rk, "firn", acknowledged, context);
}

static void something_changed(void *context)
{
    KafkaProducer *producer = context;
    /* Of a gap the records that made it say more: they come right behind. */
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(producer->client.rk, NULL, 0);
    if (fatal && fatal != RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE)
        atomic_store(&producer->broken, true);
    pthread_mutex_lock(&producer->lock);
    pthread_cond_broadcast(&producer->changed);
    pthread_mutex_unlock(&producer->lock);
}

static void flight_free(Flight *flight)
{
    bytes_done(&flight->bytes);
    free(flight);
}

static unsigned bucket_of(int64_t us)
{
    unsigned bucket = us > 1 ? 63u - (unsigned)__builtin_clzll((uint64_t)us) : 0;
    return bucket < KAFKA_LATENCY_BUCKETS ? bucket : KAFKA_LATENCY_BUCKETS - 1;
}

void flights_settle(KafkaProducer *producer)
{
    KafkaFigures *figures = &producer->figures;
    int64_t now_us = 0;
    bool any = false;
    for (Flight *flight; (flight = producer->first); any = true) {
        if (atomic_load_explicit(&flight->left, memory_order_acquire) != 0)
            break;
        now_us = now_us ? now_us : clock_mono_us();
        producer->first = flight->next;
        if (!producer->first)
            producer->last = &producer->first;
        producer->acknowledged++;
        producer->held_bytes -= flight->held_bytes;
        figures->queued_flights--;
        figures->queued_records -= flight->records;
        figures->acknowledged_records += flight->records;
        figures->acknowledged_bytes += flight->record_bytes;
        figures->latency[bucket_of(now_us - flight->sent_us)]++;
        flight_free(flight);
    }
    if (any)
        pthread_cond_broadcast(&producer->changed);
}

void flights_forget(KafkaProducer *producer)
{
    for (Flight *flight; (flight = producer->first);) {
        producer->first = flight->next;
        flight_free(flight);
    }
    producer->last = &producer->first;
    producer->held_bytes = 0;
    producer->figures.queued_flights = producer->figures.queued_records = 0;
}

/* --- opening --- */

static bool set_producing(rd_kafka_conf_t *conf, const StreamSpec *stream,
                          const KafkaProducerOptions *options, uint64_t batch_bytes, Error *err)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    const char *field = options->client.field;
    int64_t linger_ms = options->linger_ms ? options->linger_ms : LINGER_MS;
    AUTO(mem_free) char *compression = mem_format("%s.compression", field);
    bool ok =
        kafka_conf_set(conf, "compression.codec", codecs[stream->compression], compression, err) &&
        kafka_conf_set(conf, "acks", "all", field, err) &&
        kafka_conf_set(conf, "enable.idempotence", "true", field, err) &&
        kafka_conf_number(conf, "max.in.flight", 5, field, err) &&
        /* the limit is ours: flights */
        kafka_conf_number(conf, "queue.buffering.max.messages", 0, field, err) &&
        kafka_conf_number(conf, "queue.buffering.max.kbytes", INT32_MAX, field, err) &&
        kafka_conf_number(conf, "message.max.bytes", 1000000000, field, err) &&
        kafka_conf_number(conf, "batch.size", (int64_t)batch_bytes, field, err) &&
        kafka_conf_number(conf, "batch.num.messages", 100000, field, err) &&
        kafka_conf_number(conf, "linger.ms", linger_ms < 0 ? 0 : linger_ms, field, err);
    if (ok && !options->transaction_id) /* a transaction is aborted as a whole */
        ok = kafka_conf_set(conf, "message.timeout.ms", "0", field, err) &&
             kafka_conf_set(conf, "enable.gapless.guarantee", "true", field, err);
    if (ok && options->transaction_id) {
        int64_t limit_ms = options->transaction_ms ? options->transaction_ms : TRANSACTION_MS;
        ok = kafka_conf_set(conf, "transactional.id", options->transaction_id, field, err) &&
             kafka_conf_number(conf, "transaction.timeout.ms", limit_ms, field, err);
    }
    return ok;
}

/* Whoever had this id before is fenced, and what it left open is aborted. */
static bool become_the_writer(KafkaProducer *producer, const KafkaProducerOptions *options,
                              Error *err)
{
    int64_t patience_ms =
        options->client.patience_ms ? options->client.patience_ms : KAFKA_PATIENCE_MS;
    int64_t until_us = clock_mono_us() + patience_ms * 1000;
    AUTO(mem_free) char *what = mem_format("transactional id %s", options->transaction_id);
    for (;;) {
        int64_t rest_ms = (until_us - clock_mono_us()) / 1000;
        rd_kafka_error_t *error =
            rd_kafka_init_transactions(producer->client.rk, rest_ms > 1 ? (int)rest_ms : 1);
        if (!error)
            return true;
        bool again = rd_kafka_error_is_retriable(error) && clock_mono_us() < until_us;
        if (!again)
            return kafka_fault_of(&producer->client, err, error, what, "Write");
        rd_kafka_error_destroy(error);
    }
}

KafkaProducer *kafka_producer_open(const StreamSpec *stream, const KafkaProducerOptions *options,
                                   Error *err)
{
    uint64_t batch_bytes = options->batch_bytes ? options->batch_bytes : BATCH_BYTES;
    rd_kafka_conf_t *conf = kafka_conf_new(&stream->kafka, &options->client, err);
    if (conf && !set_producing(conf, stream, options, batch_bytes, err)) {
        rd_kafka_conf_destroy(conf);
        conf = NULL;
    }
    if (!conf)
        return NULL;
    KafkaProducer *producer = mem_zalloc(sizeof *producer);
    producer->last = &producer->first;
    producer->batch_bytes = batch_bytes;
    producer->bytes_max = stream->buffer_bytes;
    producer->transactional = options->transaction_id;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&producer->lock, NULL);
    pthread_cond_init(&producer->changed, &attr);
    pthread_condattr_destroy(&attr);
    producer->client.changed = something_changed;
    producer->client.changed_context = producer;
    ASSERT(rd_kafka_conf_interceptor_add_on_new(conf, "firn", begin_intercepting, producer) ==
           RD_KAFKA_RESP_ERR_NO_ERROR);
    if (kafka_client_start(&producer->client, conf, &stream->kafka, &options->client, err) &&
        (!options->transaction_id || become_the_writer(producer, options, err)))
        return producer;
    kafka_producer_free(producer);
    return NULL;
}

void kafka_producer_free(KafkaProducer *producer)
{
    if (!producer)
        return;
    if (producer->client.rk)
        (void)rd_kafka_purge(producer->client.rk, RD_KAFKA_PURGE_F_QUEUE |
                                                      RD_KAFKA_PURGE_F_INFLIGHT |
                                                      RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (KafkaTopic *topic; (topic = producer->topics);) {
        producer->topics = topic->next;
        rd_kafka_topic_destroy(topic->rkt);
        free(topic->name);
        free(topic);
    }
    kafka_client_stop(&producer->client); /* no record is with librdkafka behind this */
    flights_forget(producer);
    pthread_cond_destroy(&producer->changed);
    pthread_mutex_destroy(&producer->lock);
    free(producer);
}

KafkaClient *kafka_producer_client(KafkaProducer *producer)
{
    return &producer->client;
}

KafkaTopic *kafka_producer_topic(KafkaProducer *producer, const char *name,
                                 uint64_t record_bytes_max, Error *err)
{
    if (record_bytes_max < producer->batch_bytes) {
        error_set(err, ERROR_RETRY, "BatchTooLarge",
                  "topic %s takes batches of %llu bytes (max.message.bytes), and they are made of "
                  "%llu here: the producer is opened again",
                  name, (unsigned long long)record_bytes_max,
                  (unsigned long long)producer->batch_bytes);
        return NULL;
    }
    KafkaTopic *topic = producer->topics;
    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    if (!topic) {
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(producer->client.rk, name, NULL);
        if (!rkt) {
            error_set(err, ERROR_CONFIG, "KafkaOption", "topic %s: %s", name,
                      rd_kafka_err2str(rd_kafka_last_error()));
            return NULL;
        }
        topic = mem_zalloc(sizeof *topic);
        topic->rkt = rkt;
        topic->name = mem_strdup(name);
        topic->next = producer->topics;
        producer->topics = topic;
    }
    topic->record_bytes_max = record_bytes_max;
    return topic;
}

/* --- sending --- */

bool producer_works(KafkaProducer *producer, Error *err)
{
    char text[256] = "";
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(producer->client.rk, text, sizeof text);
    if (!atomic_load(&producer->broken) && (!code || code == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE))
        return true;
    pthread_mutex_lock(&producer->lock);
    AUTO(mem_free)
    char *what = mem_strdup(*producer->failed_topic ? producer->failed_topic : "the producer");
    rd_kafka_resp_err_t failed = (rd_kafka_resp_err_t)atomic_load(&producer->failed_code);
    pthread_mutex_unlock(&producer->lock);
    bool is_purged =
        failed == RD_KAFKA_RESP_ERR__PURGE_QUEUE || failed == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
        failed == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE || failed == RD_KAFKA_RESP_ERR__FATAL;
    if (failed && !is_purged)
        return kafka_fault(&producer->client, err, failed, NULL, what, "Write");
    return kafka_fault(&producer->client, err, code ? code : failed, text, what, "Write");
}

static uint64_t record_bytes(const KafkaRecord *record)
{
    uint64_t bytes = (uint64_t)record->key_bytes + record->value_bytes;
    for (size_t i = 0; i < KAFKA_HEADERS_MAX && record->headers[i].name; i++)
        bytes += strlen(record->headers[i].name) + record->headers[i].bytes + HEADER_FRAME_BYTES;
    return bytes;
}

/* What the broker would refuse is found before anything is handed over. */
static bool fits(const KafkaRecord *record, size_t index, uint64_t bytes, uint64_t *ret, Error *err)
{
    ASSERT(record->partition >= 0);
    if (bytes + FRAME_BYTES <= record->topic->record_bytes_max)
        return true;
    *ret = index;
    return error_set(err, ERROR_DATA, "RecordTooLarge",
                     "topic %s, partition %d: a record has %llu bytes, and the topic takes %llu: "
                     "raise its max.message.bytes (and the replicas' replica.fetch.max.bytes), or "
                     "leave the row out",
                     record->topic->name, record->partition, (unsigned long long)bytes,
                     (unsigned long long)record->topic->record_bytes_max);
}

static bool hand_over(KafkaProducer *producer, Flight *flight, const KafkaRecord *record,
                      Error *err)
{
    rd_kafka_headers_t *headers = NULL;
    size_t header_count = 0;
    while (header_count < KAFKA_HEADERS_MAX && record->headers[header_count].name)
        header_count++;
    if (header_count) {
        headers = rd_kafka_headers_new(header_count);
        for (size_t i = 0; i < header_count; i++)
            (void)rd_kafka_header_add(headers, record->headers[i].name, -1,
                                      record->headers[i].value, record->headers[i].bytes);
    }
    rd_kafka_vu_t parts[8] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = record->topic->rkt},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {.ptr = (void *)(uintptr_t)record->value, .size = record->value_bytes}},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {.ptr = (void *)(uintptr_t)record->key, .size = record->key_bytes}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = flight},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers}};
    rd_kafka_error_t *error = rd_kafka_produceva(producer->client.rk, parts, headers ? 7 : 6);
    if (LIKELY(!error))
        return true;
    if (headers)
        rd_kafka_headers_destroy(headers);
    AUTO(mem_free) char *what = mem_format("topic %s", record->topic->name);
    return kafka_fault_of(&producer->client, err, error, what, "Write");
}

static struct timespec moment(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* The lock is held. False: time is up. */
static bool wait_changed(KafkaProducer *producer, int timeout_ms, const struct timespec *until)
{
    if (timeout_ms < 0)
        return pthread_cond_wait(&producer->changed, &producer->lock) == 0;
    return pthread_cond_timedwait(&producer->changed, &producer->lock, until) == 0;
}

/* Takes the place in the limit. */
static KafkaSent take_room(KafkaProducer *producer, uint64_t bytes, int timeout_ms)
{
    struct timespec until = moment(timeout_ms < 0 ? 0 : timeout_ms);
    KafkaSent result = KAFKA_SENT;
    pthread_mutex_lock(&producer->lock);
    while (producer->first && producer->held_bytes + bytes > producer->bytes_max &&
           !atomic_load(&producer->broken))
        if (!wait_changed(producer, timeout_ms, &until)) {
            result = KAFKA_FULL;
            break;
        }
    if (atomic_load(&producer->broken))
        result = KAFKA_FAILED;
    if (result == KAFKA_SENT)
        producer->held_bytes += bytes;
    pthread_mutex_unlock(&producer->lock);
    return result;
}

static uint64_t flight_begin(KafkaProducer *producer, Flight *flight)
{
    flight->sent_us = clock_mono_us();
    atomic_store(&flight->left, OPEN);
    pthread_mutex_lock(&producer->lock);
    *producer->last = flight;
    producer->last = &flight->next;
    producer->figures.queued_flights++;
    producer->figures.queued_records += flight->records;
    producer->figures.sent_records += flight->records;
    producer->figures.sent_bytes += flight->record_bytes;
    uint64_t number = ++producer->handed_over;
    pthread_mutex_unlock(&producer->lock);
    return number;
}

KafkaSent kafka_producer_send(KafkaProducer *producer, Bytes *bytes, const KafkaRecord *records,
                              size_t count, int timeout_ms, uint64_t *ret, Error *err)
{
    ASSERT(count > 0);
    uint64_t record_total = 0, keys = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t one = record_bytes(&records[i]);
        record_total += one;
        keys += one - records[i].value_bytes; /* librdkafka copies these */
        if (!fits(&records[i], i, one, ret, err))
            return KAFKA_FAILED;
    }
    uint64_t held = bytes->held + keys + count * KAFKA_RECORD_BYTES;
    KafkaSent room = take_room(producer, held, timeout_ms);
    if (room == KAFKA_FAILED)
        (void)producer_works(producer, err);
    if (room != KAFKA_SENT)
        return room;
    Flight *flight = mem_zalloc(sizeof *flight);
    flight->bytes = *bytes;
    *bytes = (Bytes){0};
    flight->held_bytes = held;
    flight->records = count;
    flight->record_bytes = record_total;
    uint64_t number = flight_begin(producer, flight);
    for (size_t i = 0; i < count; i++) {
        if (UNLIKELY(atomic_load_explicit(&producer->broken, memory_order_relaxed)) ||
            UNLIKELY(!hand_over(producer, flight, &records[i], err))) {
            /* What of it is with librdkafka may still be written; the flight is never whole. */
            if (atomic_exchange(&producer->broken, true))
                (void)producer_works(producer, err);
            return KAFKA_FAILED;
        }
    }
    *ret = number;
    flight_counted(producer, flight, OPEN - (int64_t)count);
    return KAFKA_SENT;
}

/* --- waiting --- */

bool kafka_producer_wait(KafkaProducer *producer, uint64_t known, int timeout_ms, uint64_t *ret,
                         Error *err)
{
    struct timespec until = moment(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&producer->lock);
    uint64_t wakes = producer->wakes;
    while (producer->acknowledged <= known && producer->wakes == wakes &&
           !atomic_load(&producer->broken))
        if (!wait_changed(producer, timeout_ms, &until))
            break;
    *ret = producer->acknowledged;
    pthread_mutex_unlock(&producer->lock);
    return producer_works(producer, err);
}

void kafka_producer_wake(KafkaProducer *producer)
{
    pthread_mutex_lock(&producer->lock);
    producer->wakes++;
    pthread_cond_broadcast(&producer->changed);
    pthread_mutex_unlock(&producer->lock);
}

void kafka_producer_figures(KafkaProducer *producer, KafkaFigures *ret)
{
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&producer->lock);
    *ret = producer->figures;
    ret->queued_bytes = producer->held_bytes;
    ret->oldest_us = producer->first ? now_us - producer->first->sent_us : 0;
    pthread_mutex_unlock(&producer->lock);
    kafka_client_health(&producer->client, &ret->health);
}
