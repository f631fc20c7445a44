/* Acknowledgements. They do not come as events through a queue and a thread of ours but are counted
 * where they arrive, in the broker's thread, by an interceptor: an atomic subtraction for each
 * record, a lock for each flight (tests/bench/NOTES.md has the figures). */
#include "agent/kafka/flight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

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

/* Takes the flights off that are whole; the lock is held. */
static void flights_settle(KafkaProducer *producer)
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

void flight_counted(KafkaProducer *producer, Flight *flight, int64_t by)
{
    if (atomic_fetch_sub_explicit(&flight->left, by, memory_order_acq_rel) != by)
        return;
    pthread_mutex_lock(&producer->lock);
    flights_settle(producer);
    pthread_mutex_unlock(&producer->lock);
}

/* Of what followed from another record's failure. */
static bool is_consequence(int code)
{
    return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
           code == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE || code == RD_KAFKA_RESP_ERR__FATAL;
}

bool flights_cause(KafkaProducer *producer)
{
    int code = atomic_load(&producer->failed_code);
    return code && !is_consequence(code);
}

static void record_failed(KafkaProducer *producer, const rd_kafka_message_t *message)
{
    pthread_mutex_lock(&producer->lock);
    if (!flights_cause(producer) &&
        (!atomic_load(&producer->failed_code) || !is_consequence(message->err))) {
        snprintf(producer->failed_topic, sizeof producer->failed_topic, "topic %s",
                 message->rkt ? rd_kafka_topic_name(message->rkt) : "?");
        atomic_store(&producer->failed_code, message->err);
        if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
            /* one that is larger than a batch is alone in it; of smaller ones the whole was */
            uint64_t bytes = message->len + message->key_len;
            atomic_store(&producer->refused_bytes,
                         bytes > producer->batch_bytes ? bytes : producer->batch_bytes);
        }
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

void flights_intercept(KafkaProducer *producer, rd_kafka_conf_t *conf)
{
    ASSERT(rd_kafka_conf_interceptor_add_on_new(conf, "firn", begin_intercepting, producer) ==
           RD_KAFKA_RESP_ERR_NO_ERROR);
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

uint64_t flight_begin(KafkaProducer *producer, Flight *flight)
{
    flight->sent_us = clock_mono_us();
    atomic_store(&flight->left, FLIGHT_OPEN);
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
