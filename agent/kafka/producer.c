/* The producer: opened, its topics, closed. What it costs is what librdkafka costs: values are not
 * copied (they stay in the flight's memory until it is acknowledged), and acknowledgements are
 * counted where they arrive (flight.c).
 *
 * No gaps: `enable.gapless.guarantee` makes a batch that fails for good end the producer, so that
 * what is behind it is not written; what fails before it is sent (a topic that is gone, a right
 * that was taken) is noticed by the same interceptor, after which nothing more is handed over. */
#include "agent/kafka/flight.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define BATCH_BYTES 1000000
#define TRANSACTION_MS 60000
#define LINGER_MS 3

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
    flights_intercept(producer, conf);
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
