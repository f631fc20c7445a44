/* A consumer of one partition that ends with it. librdkafka's simple consumer: no group, so that no
 * right to one is needed. */
#include "agent/kafka/reader.h"

#include <string.h>

#include "agent/kafka/private.h"
#include "common/clock.h"
#include "common/mem.h"

#define SLICE_MS 100
#define WAIT_MS 10 /* of a fetch that finds nothing: it says where the end is */

/* Whose events are taken by the client's thread, as a producer's. */
static KafkaClient *consumer_open(const KafkaSpec *spec, const KafkaClientOptions *options,
                                  Error *err)
{
    rd_kafka_conf_t *conf = kafka_conf_new(spec, options, err);
    if (!conf)
        return NULL;
    if (!kafka_conf_set(conf, "isolation.level", "read_committed", options->field, err) ||
        !kafka_conf_set(conf, "enable.partition.eof", "true", options->field, err) ||
        !kafka_conf_number(conf, "fetch.wait.max.ms", WAIT_MS, options->field, err) ||
        !kafka_conf_set(conf, "auto.offset.reset", "error", options->field, err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    KafkaClient *client = mem_zalloc(sizeof *client);
    client->consumes = true;
    if (kafka_client_start(client, conf, spec, options, err))
        return client;
    kafka_client_free(client);
    return NULL;
}

/* Where the topic ended when it was asked; -1: not known. */
static int64_t end_of(KafkaClient *client, const char *topic, int32_t partition, int timeout_ms)
{
    int64_t low, high;
    return rd_kafka_query_watermark_offsets(client->rk, topic, partition, &low, &high,
                                            timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR
               ? high
               : -1;
}

/* Until the end, or past where it was at the beginning: a topic that is written to more often than
 * a fetch waits has no end to come to. Each message that comes begins the time anew. */
static bool read_on(KafkaClient *client, rd_kafka_topic_t *rkt, int32_t partition, int64_t end,
                    int timeout_ms, const char *what, KafkaTake *take, void *context, Error *err)
{
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consume(rkt, partition, SLICE_MS);
        if (!message) {
            if (clock_mono_us() < until_us)
                continue;
            KafkaHealth health;
            kafka_client_health(client, &health);
            if (health.problem.kind != ERROR_NONE) {
                *err = health.problem;
                return error_wrap(err, "%s", what);
            }
            return error_set(err, ERROR_RETRY, "KafkaBusy", "%s: nothing came within %d ms", what,
                             timeout_ms);
        }
        rd_kafka_resp_err_t code = message->err;
        const KafkaRead record = {message->key, message->payload, message->key_len, message->len,
                                  message->offset};
        bool ok =
            code == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
            (code ? kafka_fault(client, err, code, rd_kafka_message_errstr(message), what, "Read")
                  : take(context, &record, err));
        rd_kafka_message_destroy(message);
        if (!ok || code == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
            (end >= 0 && record.offset + 1 >= end))
            return ok;
        until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    }
}

bool kafka_topic_read(const KafkaSpec *spec, const KafkaClientOptions *options, const char *topic,
                      int32_t partition, int timeout_ms, KafkaTake *take, void *context, Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", topic);
    AUTO(kafka_client_free) KafkaClient *client = consumer_open(spec, options, err);
    if (!client)
        return false;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(client->rk, topic, NULL);
    if (!rkt)
        return kafka_fault(client, err, rd_kafka_last_error(), NULL, what, "Read");
    bool ok = rd_kafka_consume_start(rkt, partition, RD_KAFKA_OFFSET_BEGINNING) == 0;
    if (!ok)
        (void)kafka_fault(client, err, rd_kafka_last_error(), NULL, what, "Read");
    int64_t end = ok ? end_of(client, topic, partition, timeout_ms) : -1;
    ok = ok && read_on(client, rkt, partition, end, timeout_ms, what, take, context, err);
    (void)rd_kafka_consume_stop(rkt, partition);
    rd_kafka_topic_destroy(rkt);
    return ok;
}
