/* Kafka's transactions around flights. librdkafka tells three kinds of errors apart: those to call
 * again for, those that end the transaction, those that end the producer; what it means for the
 * rows is in producer.h. https://cwiki.apache.org/confluence/display/KAFKA/KIP-98 */
#include "agent/kafka/flight.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define ABORT_MS 30000
#define WHAT "the transaction"

bool kafka_producer_begin(KafkaProducer *producer, Error *err)
{
    ASSERT(producer->transactional);
    rd_kafka_error_t *error = rd_kafka_begin_transaction(producer->client.rk);
    return !error || kafka_fault_of(&producer->client, err, error, WHAT, "Write");
}

bool kafka_producer_abort(KafkaProducer *producer, int timeout_ms, Error *err)
{
    ASSERT(producer->transactional);
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        int64_t rest_ms = (until_us - clock_mono_us()) / 1000;
        rd_kafka_error_t *error =
            rd_kafka_abort_transaction(producer->client.rk, rest_ms > 1 ? (int)rest_ms : 1);
        if (!error)
            break;
        if (!rd_kafka_error_is_retriable(error) || clock_mono_us() >= until_us)
            return kafka_fault_of(&producer->client, err, error, WHAT, "Write");
        rd_kafka_error_destroy(error);
    }
    /* librdkafka has given up or finished every record of it. */
    pthread_mutex_lock(&producer->lock);
    flights_forget(producer);
    producer->acknowledged = producer->handed_over; /* numbers are not used twice */
    producer->failed_topic[0] = '\0';
    atomic_store(&producer->failed_code, 0);
    atomic_store(&producer->broken, false);
    pthread_cond_broadcast(&producer->changed);
    pthread_mutex_unlock(&producer->lock);
    return true;
}

/* What ended it says more than that it ended, when a person has to mend it. */
static bool aborted(KafkaProducer *producer, rd_kafka_error_t *error, Error *err)
{
    Error cause = {0}, again = {0};
    char what[sizeof producer->failed_topic] = WHAT;
    pthread_mutex_lock(&producer->lock);
    if (atomic_load(&producer->failed_code) == (int)rd_kafka_error_code(error))
        memcpy(what, producer->failed_topic, sizeof what);
    pthread_mutex_unlock(&producer->lock);
    (void)kafka_fault(&producer->client, &cause, rd_kafka_error_code(error),
                      rd_kafka_error_string(error), what, "Write");
    rd_kafka_error_destroy(error);
    if (!kafka_producer_abort(producer, ABORT_MS, &again)) {
        *err = kafka_fault_is_final(&cause) ? cause : again;
        return false;
    }
    if (kafka_fault_is_final(&cause)) {
        *err = cause;
        return false;
    }
    return error_set(err, ERROR_CONFLICT, "TransactionAborted",
                     "the transaction was aborted, its rows come again from the source: %s",
                     cause.message);
}

bool kafka_producer_commit(KafkaProducer *producer, int timeout_ms, Error *err)
{
    ASSERT(producer->transactional);
    rd_kafka_error_t *error = rd_kafka_commit_transaction(producer->client.rk, timeout_ms);
    if (error && rd_kafka_error_txn_requires_abort(error))
        return aborted(producer, error, err);
    if (error)
        return kafka_fault_of(&producer->client, err, error, WHAT, "Write");
    pthread_mutex_lock(&producer->lock);
    ASSERT(!producer->first); /* it waits for every record */
    pthread_mutex_unlock(&producer->lock);
    return true;
}

bool kafka_producer_offsets(KafkaProducer *producer, const KafkaMember *member,
                            const uint64_t *offsets, int timeout_ms, Error *err)
{
    ASSERT(producer->transactional && kafka_member_group(member));
    rd_kafka_topic_partition_list_t *list = kafka_member_list(member, offsets);
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    rd_kafka_error_t *error = NULL;
    for (;;) {
        int64_t rest_ms = (until_us - clock_mono_us()) / 1000;
        error = rd_kafka_send_offsets_to_transaction(
            producer->client.rk, list, kafka_member_group(member), rest_ms > 1 ? (int)rest_ms : 1);
        if (!error || !rd_kafka_error_is_retriable(error) || clock_mono_us() >= until_us)
            break;
        rd_kafka_error_destroy(error);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (!error)
        return true;
    return rd_kafka_error_txn_requires_abort(error)
               ? aborted(producer, error, err)
               : kafka_fault_of(&producer->client, err, error, WHAT, "Write");
}
