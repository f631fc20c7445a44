/* links: firn_kafka */
/* The producer against librdkafka's mock cluster: order, room, what passes and what does not. */
#include "tests/unit/kafka/cluster.h"

#include <pthread.h>

#include "common/clock.h"

static void every_flight_in_order(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(3, "numbers", 4);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    assert_non_null(producer);
    assert_true(strncmp(kafka_client_cluster(kafka_producer_client(producer)), "kafka/", 6) == 0);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    assert_ptr_equal(topic, kafka_producer_topic(producer, "numbers", 1 << 20, &err));
    uint64_t number = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(send_numbers(producer, topic, i * 50, 50, 4, SOON_MS, &number, &err),
                         KAFKA_SENT);
        assert_int_equal(number, i + 1);
    }
    await(producer, 200);
    KafkaFigures figures;
    kafka_producer_figures(producer, &figures);
    assert_int_equal(figures.acknowledged_records, 10000);
    assert_int_equal(figures.sent_records, 10000);
    assert_int_equal(figures.queued_records, 0);
    assert_int_equal(figures.queued_flights, 0);
    assert_int_equal(figures.queued_bytes, 0);
    assert_int_equal(figures.oldest_us, 0);
    uint64_t measured = 0;
    for (size_t i = 0; i < KAFKA_LATENCY_BUCKETS; i++)
        measured += figures.latency[i];
    assert_int_equal(measured, 200);
    kafka_producer_free(producer);
    for (int partition = 0; partition < 4; partition++) {
        size_t count;
        int *found = read_numbers(&cluster, "numbers", partition, false, 2500, &count);
        assert_int_equal(count, 2500);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(found[i], (int)i * 4 + partition);
        free(found);
    }
    cluster_down(&cluster);
}

/* The brokers are gone: the room ends, nothing blocks, nothing is lost once they are back. */
static void no_room(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    cluster.stream.buffer_bytes = 1 << 20;
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    assert_non_null(producer);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    uint64_t number = 0, done = 0;
    assert_int_equal(send_numbers(producer, topic, 0, 100, 1, 0, &number, &err), KAFKA_SENT);
    await(producer, 1);
    rd_kafka_mock_broker_set_down(cluster.mock, -1);
    int sent = 1;
    while (send_numbers(producer, topic, sent * 100, 100, 1, 0, &number, &err) == KAFKA_SENT)
        assert_in_range(++sent, 2, 100);
    KafkaFigures figures;
    kafka_producer_figures(producer, &figures);
    assert_in_range(figures.queued_bytes, (1 << 20) - 100 * (KAFKA_RECORD_BYTES + 64), 1 << 20);
    assert_int_equal(figures.queued_flights, sent - 1);
    assert_int_equal(figures.queued_records, (sent - 1) * 100);
    assert_true(figures.oldest_us > 0);
    assert_true(kafka_producer_wait(producer, 1, 50, &done, &err));
    assert_int_equal(done, 1);
    while (!figures.health.all_down) { /* until librdkafka has noticed */
        assert_true(kafka_producer_wait(producer, 1, 20, &done, &err));
        kafka_producer_figures(producer, &figures);
    }
    assert_int_equal(figures.health.problem.kind, ERROR_RETRY);
    assert_string_equal(figures.health.problem.code, "BrokersUnreachable");
    rd_kafka_mock_broker_set_up(cluster.mock, -1);
    assert_int_equal(send_numbers(producer, topic, sent * 100, 100, 1, SOON_MS, &number, &err),
                     KAFKA_SENT);
    await(producer, (uint64_t)sent + 1);
    size_t count;
    int *found = read_numbers(&cluster, "numbers", 0, false, ((size_t)sent + 1) * 100, &count);
    assert_int_equal(count, (sent + 1) * 100);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(found[i], i);
    free(found);
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

static void a_flight_larger_than_the_room(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    cluster.stream.buffer_bytes = 1;
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    uint64_t number = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_numbers(producer, topic, i * 10, 10, 1, SOON_MS, &number, &err),
                         KAFKA_SENT);
    await(producer, 3);
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

/* What passes is waited for. One batch at a time: the mock does not look at sequence numbers. */
static void what_passes(void **state)
{
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE};
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    uint64_t number = 0;
    for (int i = 0; i < (int)ARRAY_LEN(errors); i++) {
        assert_int_equal(rd_kafka_mock_broker_push_request_error_rtts(cluster.mock, 1, API_PRODUCE,
                                                                      1, errors[i], 0),
                         0);
        assert_int_equal(send_numbers(producer, topic, i * 10, 10, 1, 0, &number, &err),
                         KAFKA_SENT);
        await(producer, number);
        size_t left = 1;
        assert_int_equal(rd_kafka_mock_broker_error_stack_cnt(cluster.mock, 1, API_PRODUCE, &left),
                         0);
        assert_int_equal(left, 0);
    }
    size_t count;
    int *found = read_numbers(&cluster, "numbers", 0, false, 50, &count);
    assert_int_equal(count, 50);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(found[i], i);
    free(found);
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

/* A batch that fails for good: the error says why, and nothing behind it is ever written. */
static void check_final(rd_kafka_resp_err_t error, ErrorKind kind, const char *code,
                        const char *words)
{
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    uint64_t number = 0, done = 0;
    assert_int_equal(send_numbers(producer, topic, 0, 10, 1, 0, &number, &err), KAFKA_SENT);
    await(producer, 1);
    rd_kafka_mock_push_request_errors(cluster.mock, API_PRODUCE, 1, error);
    assert_int_equal(send_numbers(producer, topic, 10, 10, 1, 0, &number, &err), KAFKA_SENT);
    while (kafka_producer_wait(producer, 1, SOON_MS, &done, &err))
        assert_int_equal(done, 1);
    assert_int_equal(done, 1);
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.code, code);
    if (!strstr(err.message, words))
        fail_msg("%s is not in: %s", words, err.message);
    err = (Error){0};
    assert_int_equal(send_numbers(producer, topic, 20, 10, 1, SOON_MS, &number, &err),
                     KAFKA_FAILED);
    assert_string_equal(err.code, code);
    kafka_producer_free(producer);
    size_t count;
    int *found = read_numbers(&cluster, "numbers", 0, false, 10, &count);
    assert_int_equal(count, 10);
    free(found);
    cluster_down(&cluster);
}

static void what_does_not_pass(void **state)
{
    (void)state;
    check_final(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_CONFIG, "KafkaRights",
                "--operation Write --topic numbers");
    check_final(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERROR_RETRY, "BatchTooLarge",
                "topic numbers");
    check_final(RD_KAFKA_RESP_ERR_INVALID_RECORD, ERROR_RETRY, "KafkaBusy", "INVALID_RECORD");
}

/* The failure comes while records are being handed over: it says why all the same. */
static void fails_while_sending(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    uint64_t number = 0;
    rd_kafka_mock_push_request_errors(cluster.mock, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    KafkaSent sent = KAFKA_SENT;
    for (int i = 0; i < 100000 && sent == KAFKA_SENT; i++)
        sent = send_numbers(producer, topic, i * 10, 10, 1, SOON_MS, &number, &err);
    assert_int_equal(sent, KAFKA_FAILED);
    assert_string_equal(err.code, "KafkaRights");
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

static void a_record_too_large(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    assert_null(kafka_producer_topic(producer, "numbers", 1000, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "BatchTooLarge");
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    Bytes bytes = {0};
    bytes_reserve(&bytes, 2 << 20);
    memset(bytes.data, 'x', 2 << 20);
    KafkaRecord records[] = {
        {.topic = topic, .key = "a", .key_bytes = 1, .value = bytes.data, .value_bytes = 10},
        {.topic = topic, .key = "b", .key_bytes = 1, .value = bytes.data, .value_bytes = 1 << 20},
        {.topic = topic, .key = "c", .key_bytes = 1, .value = bytes.data, .value_bytes = 900000}};
    uint64_t number = 0;
    assert_int_equal(kafka_producer_send(producer, &bytes, records, 3, 0, &number, &err),
                     KAFKA_FAILED);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "RecordTooLarge");
    assert_int_equal(number, 1);
    assert_non_null(strstr(err.message, "max.message.bytes"));
    records[1] = records[2];
    assert_int_equal(kafka_producer_send(producer, &bytes, records, 2, 0, &number, &err),
                     KAFKA_SENT);
    assert_int_equal(number, 1);
    assert_null(bytes.data);
    await(producer, 1);
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

static void stops_without_brokers(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    KafkaTopic *topic = kafka_producer_topic(producer, "numbers", 1 << 20, &err);
    rd_kafka_mock_broker_set_down(cluster.mock, -1);
    uint64_t number = 0;
    assert_int_equal(send_numbers(producer, topic, 0, 1000, 1, 0, &number, &err), KAFKA_SENT);
    int64_t before_us = clock_mono_us();
    kafka_producer_free(producer);
    assert_in_range(clock_mono_us() - before_us, 0, 20000000);
    cluster_down(&cluster);
}

static void *wake_it(void *argument)
{
    kafka_producer_wake(argument);
    return NULL;
}

static void is_woken(void **state)
{
    (void)state;
    Cluster cluster = cluster_up(1, "numbers", 1);
    Error err = {0};
    KafkaProducer *producer = producer_on(&cluster, NULL, &err);
    pthread_t thread;
    uint64_t done = 1;
    bool woken = false;
    /* Whether the wake comes before the wait, or during it: repeated until it was during it. */
    for (int i = 0; i < 1000 && !woken; i++) {
        int64_t before_us = clock_mono_us();
        assert_int_equal(pthread_create(&thread, NULL, wake_it, producer), 0);
        assert_true(kafka_producer_wait(producer, 0, 500, &done, &err));
        woken = clock_mono_us() - before_us < 400000;
        pthread_join(thread, NULL);
        assert_int_equal(done, 0);
    }
    assert_true(woken);
    kafka_producer_free(producer);
    cluster_down(&cluster);
}

static void check_not_opened(StreamSpec *stream, int64_t patience_ms, ErrorKind kind,
                             const char *code, const char *words)
{
    Error err = {0};
    do { /* a busy machine, and its names' server, may take longer to say so */
        const KafkaProducerOptions options = {
            .client = {.client_id = "t", .field = "spec.stream.kafka", .patience_ms = patience_ms}};
        err = (Error){0};
        assert_null(kafka_producer_open(stream, &options, &err));
        patience_ms *= 4;
    } while (!strstr(err.message, words) && patience_ms < SOON_MS);
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.code, code);
    if (!strstr(err.message, words))
        fail_msg("%s is not in: %s", words, err.message);
}

static void not_opened(void **state)
{
    (void)state;
    char refused[] = "127.0.0.1:1", nowhere[] = "kafka.invalid:9092", odd[] = "-----BEGIN X-----";
    char *brokers[] = {refused};
    StreamSpec stream = {.buffer_bytes = 1 << 20, .kafka = {.brokers = {brokers, 1}}};
    check_not_opened(&stream, 300, ERROR_RETRY, "BrokersUnreachable", "refused");
    brokers[0] = nowhere;
    check_not_opened(&stream, 300, ERROR_RETRY, "BrokersUnreachable", "kafka.invalid");
    stream.kafka.protocol = KAFKA_SSL;
    stream.kafka.ca_pem = odd;
    check_not_opened(&stream, 300, ERROR_CONFIG, "KafkaTls", "spec.stream.kafka");
    Cluster cluster = cluster_up(1, "numbers", 1);
    stream.kafka.brokers.texts[0] = cluster.broker;
    stream.kafka.ca_pem = NULL;
    check_not_opened(&stream, 1000, ERROR_RETRY, "BrokersUnreachable", "has no TLS");
    cluster_down(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_flight_in_order),
                                       cmocka_unit_test(no_room),
                                       cmocka_unit_test(a_flight_larger_than_the_room),
                                       cmocka_unit_test(what_passes),
                                       cmocka_unit_test(what_does_not_pass),
                                       cmocka_unit_test(fails_while_sending),
                                       cmocka_unit_test(a_record_too_large),
                                       cmocka_unit_test(stops_without_brokers),
                                       cmocka_unit_test(is_woken),
                                       cmocka_unit_test(not_opened)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
