/* Flights handed over to librdkafka, and waited for. */
#include "agent/kafka/flight.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define CAUSE_MS 5000
/* Of a record in a batch: lengths, offsets, and what librdkafka counts for its framing. */
#define FRAME_BYTES 96u
#define HEADER_FRAME_BYTES 10u

/* The lock is held. False: time is up. */
static bool wait_changed(KafkaProducer *producer, int timeout_ms, const struct timespec *until)
{
    if (timeout_ms < 0)
        return pthread_cond_wait(&producer->changed, &producer->lock) == 0;
    return pthread_cond_timedwait(&producer->changed, &producer->lock, until) == 0;
}

/* A gap is known a moment before the record that made it says why, and what stands behind that
 * record may be given up first. */
static void wait_for_cause(KafkaProducer *producer)
{
    struct timespec until = clock_mono_in(CAUSE_MS);
    bool gap =
        rd_kafka_fatal_error(producer->client.rk, NULL, 0) == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE;
    pthread_mutex_lock(&producer->lock);
    while (gap && !flights_cause(producer) && wait_changed(producer, CAUSE_MS, &until))
        continue;
    pthread_mutex_unlock(&producer->lock);
}

bool producer_works(KafkaProducer *producer, Error *err)
{
    char text[256] = "";
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(producer->client.rk, text, sizeof text);
    if (!atomic_load(&producer->broken) && (!code || code == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE))
        return true;
    wait_for_cause(producer);
    pthread_mutex_lock(&producer->lock);
    AUTO(mem_free)
    char *what = mem_strdup(*producer->failed_topic ? producer->failed_topic : "the producer");
    rd_kafka_resp_err_t failed = (rd_kafka_resp_err_t)atomic_load(&producer->failed_code);
    pthread_mutex_unlock(&producer->lock);
    if (flights_cause(producer))
        return kafka_fault(&producer->client, err, failed, NULL, what, "Write");
    return kafka_fault(&producer->client, err, code ? code : failed, text, what, "Write");
}

uint64_t kafka_producer_refused(const KafkaProducer *producer)
{
    return atomic_load(&producer->refused_bytes);
}

static uint64_t headers_bytes(const rd_kafka_headers_t *headers)
{
    const char *name;
    const void *value;
    size_t bytes;
    uint64_t all = 0;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &bytes); i++)
        all += strlen(name) + bytes + HEADER_FRAME_BYTES;
    return all;
}

static uint64_t record_bytes(const KafkaRecord *record)
{
    uint64_t bytes = (uint64_t)record->key_bytes + record->value_bytes;
    if (record->all)
        return bytes + headers_bytes((const rd_kafka_headers_t *)record->all);
    for (size_t i = 0; i < KAFKA_HEADERS_MAX && record->headers[i].name; i++)
        bytes += strlen(record->headers[i].name) + record->headers[i].bytes + HEADER_FRAME_BYTES;
    return bytes;
}

bool kafka_record_fits(const KafkaRecord *record)
{
    return record_bytes(record) + FRAME_BYTES <= record->topic->record_bytes_max;
}

/* What the broker would refuse is found before anything is handed over. */
static bool fits(const KafkaRecord *record, size_t index, uint64_t bytes, uint64_t *ret, Error *err)
{
    ASSERT(record->partition >= 0);
    if (bytes + FRAME_BYTES <= record->topic->record_bytes_max)
        return true;
    *ret = index;
    return error_set(
        err, ERROR_DATA, "RecordTooLarge",
        "topic %s, partition %d: a record has %llu bytes, and the topic takes at most %llu: "
        "raise its max.message.bytes (and the replicas' replica.fetch.max.bytes), or "
        "leave the row out",
        record->topic->name, record->partition, (unsigned long long)bytes,
        (unsigned long long)record->topic->record_bytes_max);
}

static bool hand_over(KafkaProducer *producer, Flight *flight, const KafkaRecord *record,
                      Error *err)
{
    rd_kafka_headers_t *headers =
        record->all ? rd_kafka_headers_copy((const rd_kafka_headers_t *)record->all) : NULL;
    size_t header_count = 0;
    while (!headers && header_count < KAFKA_HEADERS_MAX && record->headers[header_count].name)
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

/* Takes the place in the limit. */
static KafkaSent take_room(KafkaProducer *producer, uint64_t bytes, int timeout_ms)
{
    struct timespec until = clock_mono_in(timeout_ms < 0 ? 0 : timeout_ms);
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

/* A record could not be handed over: *err says how, unless a record before it says why. */
static void find_cause(KafkaProducer *producer, Error *err)
{
    bool fatal = rd_kafka_fatal_error(producer->client.rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    wait_for_cause(producer);
    if (atomic_exchange(&producer->broken, true) || fatal)
        (void)producer_works(producer, err);
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
        bool works = !atomic_load_explicit(&producer->broken, memory_order_relaxed);
        if (LIKELY(works && hand_over(producer, flight, &records[i], err)))
            continue;
        /* What of it is with librdkafka may still be written; the flight is never whole. */
        find_cause(producer, err);
        return KAFKA_FAILED;
    }
    *ret = number;
    flight_counted(producer, flight, FLIGHT_OPEN - (int64_t)count);
    return KAFKA_SENT;
}

/* --- waiting --- */

bool kafka_producer_wait(KafkaProducer *producer, uint64_t known, int timeout_ms, uint64_t *ret,
                         Error *err)
{
    struct timespec until = clock_mono_in(timeout_ms < 0 ? 0 : timeout_ms);
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
