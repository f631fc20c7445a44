/* librdkafka's own mock cluster, a stream that goes there, and a reader of what arrived. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/producer.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#define API_PRODUCE 0
#define API_INIT_PRODUCER 22
#define API_ADD_PARTITIONS 24
#define API_END_TRANSACTION 26
#define SOON_MS 60000 /* a test that has to wait for longer has failed */

typedef struct Cluster {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *mock;
    StreamSpec stream;
    char *broker;
} Cluster;

static inline Cluster cluster_up(int brokers, const char *topic, int partitions)
{
    Cluster cluster = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    cluster.rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_non_null(cluster.rk);
    cluster.mock = rd_kafka_mock_cluster_new(cluster.rk, brokers);
    assert_int_equal(rd_kafka_mock_topic_create(cluster.mock, topic, partitions, 1), 0);
    cluster.broker = mem_strdup(rd_kafka_mock_cluster_bootstraps(cluster.mock));
    cluster.stream = (StreamSpec){.compression = KAFKA_LZ4, .buffer_bytes = 4 << 20};
    cluster.stream.kafka.brokers.texts = mem_array(1, sizeof(char *));
    cluster.stream.kafka.brokers.texts[0] = cluster.broker;
    cluster.stream.kafka.brokers.count = 1;
    return cluster;
}

static inline void cluster_down(Cluster *cluster)
{
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->rk);
    free(cluster->stream.kafka.brokers.texts);
    free(cluster->broker);
}

static inline KafkaProducer *producer_on(Cluster *cluster, const char *transaction_id, Error *err)
{
    const KafkaProducerOptions options = {.client = {.client_id = "test",
                                                     .field = "spec.stream.kafka",
                                                     .patience_ms = SOON_MS,
                                                     .stats_ms = 1000},
                                          .transaction_id = transaction_id};
    return kafka_producer_open(&cluster->stream, &options, err);
}

/* Records "<first>" … "<first + count - 1>" of partition number % partitions, as one flight. */
static inline KafkaSent send_numbers(KafkaProducer *producer, KafkaTopic *topic, int first,
                                     int count, int partitions, int timeout_ms, uint64_t *ret,
                                     Error *err)
{
    Bytes bytes = {0};
    bytes_reserve(&bytes, (size_t)count * 16);
    KafkaRecord *records = mem_array((size_t)count, sizeof *records);
    for (int i = 0; i < count; i++) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", first + i);
        const void *at = bytes.data + bytes.used;
        bytes_put(&bytes, text, (size_t)length);
        records[i] = (KafkaRecord){.topic = topic,
                                   .key = at,
                                   .key_bytes = (uint32_t)length,
                                   .value = (first + i) % 7 == 6 ? NULL : at,
                                   .value_bytes = (first + i) % 7 == 6 ? 0 : (uint32_t)length,
                                   .partition = (first + i) % partitions,
                                   .headers = {{"firn", at, (uint32_t)length}}};
    }
    KafkaSent sent =
        kafka_producer_send(producer, &bytes, records, (size_t)count, timeout_ms, ret, err);
    if (sent == KAFKA_SENT)
        assert_null(bytes.data);
    else if (sent == KAFKA_FULL)
        assert_non_null(bytes.data);
    free(records);
    bytes_done(&bytes);
    return sent;
}

/* The keys of the partition's records, in order; each record is checked. Caller frees. */
static inline int *read_numbers(const Cluster *cluster, const char *topic, int partition,
                                bool committed, size_t expected, size_t *ret_count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", cluster->broker, text, 256), 0);
    rd_kafka_conf_set(conf, "group.id", "reader", text, 256);
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, 256);
    rd_kafka_conf_set(conf, "log_level", "0", text, 256);
    rd_kafka_conf_set(conf, "isolation.level", committed ? "read_committed" : "read_uncommitted",
                      text, 256);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(rk);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = 0;
    assert_int_equal(rd_kafka_assign(rk, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    int *found = NULL;
    size_t count = 0;
    for (bool end = false; !end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, SOON_MS);
        assert_non_null(message);
        end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && count >= expected;
        if (!message->err) {
            char number[16] = "";
            assert_true(message->key_len < sizeof number);
            memcpy(number, message->key, message->key_len);
            found = mem_regrow(found, count + 1, sizeof *found);
            found[count] = atoi(number);
            if (found[count] % 7 == 6) {
                assert_null(message->payload);
            } else {
                assert_int_equal(message->len, message->key_len);
                assert_memory_equal(message->payload, message->key, message->len);
            }
            rd_kafka_headers_t *headers = NULL;
            const void *value = NULL;
            size_t bytes = 0;
            assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
            assert_int_equal(rd_kafka_header_get_last(headers, "firn", &value, &bytes), 0);
            assert_int_equal(bytes, message->key_len);
            assert_memory_equal(value, message->key, bytes);
            count++;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    *ret_count = count;
    return found;
}

/* Until `number` flights are acknowledged. */
static inline void await(KafkaProducer *producer, uint64_t number)
{
    Error err = {0};
    uint64_t done = 0, before = 0;
    while (done < number) {
        bool ok = kafka_producer_wait(producer, done, SOON_MS, &done, &err);
        if (!ok || done == before)
            fail_msg("flight %llu of %llu: %s %s", (unsigned long long)done,
                     (unsigned long long)number, err.code, err.message);
        before = done;
    }
}
