/* links: firn_kafka */
/* Records to a topic, as many and as fast as it goes, or so many a second.
 *
 *   kafka_produce_bench BROKERS TOPIC WAY RECORDS BYTES PARTITIONS [RATE]
 *
 * WAY firn is agent/kafka; the others are librdkafka by hand, with the same settings, to see what a
 * way costs: how values come in (copied or borrowed), how acknowledgements come out (a callback for
 * each, an event for many, an interceptor), with or without a header.
 *   batch-callback            as rdkafka_performance does: produce_batch, copied, no headers
 *   copy-callback copy-event borrow-callback borrow-event borrow-interceptor
 *   plain-interceptor         borrowed, no headers
 * Values are JSON-like text that lz4 halves. Prints one line of JSON. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <librdkafka/rdkafka.h>

#include "agent/kafka/producer.h"
#include "common/clock.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"
#include "common/thread.h"

#define FLIGHT_RECORDS 1000
#define HEADER_BYTES 21
#define RATE_MAX 100000

typedef struct Bench {
    char *brokers, *topic;
    const char *way;
    long records, partitions, rate;
    uint32_t bytes;
    atomic_long acknowledged;
    rd_kafka_t *rk;
    int64_t *sent_us; /* RATE: of each flight */
    int64_t *taken_us;
    atomic_bool stop;
} Bench;

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static long peak_bytes(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss * 1024;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "kafka_produce_bench: %s\n", what);
    exit(1);
}

/* A record's value: an envelope whose numbers differ. */
static void put_value(uint8_t *to, uint32_t bytes, long number)
{
    static const char filler[] = "\"note\":\"c4ca4238a0b923820dcc509a6f75849b\",\"amount\":";
    int length = snprintf((char *)to, bytes, "{\"before\":null,\"after\":{\"id\":%ld,", number);
    uint64_t random = (uint64_t)number * 0x9e3779b97f4a7c15u;
    for (uint32_t at = (uint32_t)length; at < bytes; at++) {
        bool noise = at % 3 == 0;
        random = random * 6364136223846793005u + 1442695040888963407u;
        to[at] = noise ? (uint8_t)("0123456789abcdef"[random >> 60])
                       : (uint8_t)filler[at % (sizeof filler - 1)];
    }
}

/* --- firn --- */

static KafkaProducer *open_firn(Bench *bench, StreamSpec *stream)
{
    Error err = {0};
    *stream = (StreamSpec){.compression = KAFKA_LZ4,
                           .buffer_bytes = 32 << 20,
                           .kafka = {.brokers = {&bench->brokers, 1}}};
    const KafkaProducerOptions options = {
        .client = {.client_id = "bench", .field = "spec.stream.kafka"}};
    KafkaProducer *producer = kafka_producer_open(stream, &options, &err);
    must(producer, err.message);
    return producer;
}

/* The values are made in the flight's own memory, as an encoder does. */
static void firn_flight(Bench *bench, KafkaProducer *producer, KafkaTopic *topic, long first,
                        long count, uint64_t *ret)
{
    static const uint8_t header[HEADER_BYTES];
    Error err = {0};
    Bytes bytes = {0};
    KafkaRecord *records = mem_array((size_t)count, sizeof *records);
    bytes_reserve(&bytes, (size_t)count * (bench->bytes + 8));
    for (long i = 0; i < count; i++) {
        long number = first + i;
        uint8_t *at = bytes.data + bytes.used;
        memcpy(at, &number, 8);
        put_value(at + 8, bench->bytes, number);
        bytes.used += bench->bytes + 8;
        records[i] = (KafkaRecord){.topic = topic,
                                   .key = at,
                                   .key_bytes = 8,
                                   .value = at + 8,
                                   .value_bytes = bench->bytes,
                                   .partition = (int32_t)(number % bench->partitions),
                                   .headers = {{"firn", header, HEADER_BYTES}}};
    }
    must(kafka_producer_send(producer, &bytes, records, (size_t)count, 60000, ret, &err) ==
             KAFKA_SENT,
         err.message);
    free(records);
}

typedef struct Taker {
    Bench *bench;
    KafkaProducer *producer;
} Taker;

static void take_acknowledgements(void *argument)
{
    Taker *taker = argument;
    Error err = {0};
    uint64_t done = 0, total = (uint64_t)taker->bench->records;
    while (done < total) {
        uint64_t before = done;
        must(kafka_producer_wait(taker->producer, done, 60000, &done, &err), err.message);
        must(done > before, "no acknowledgement in a minute");
        int64_t now_us = clock_mono_us();
        for (; before < done; before++)
            taker->bench->taken_us[before] = now_us;
    }
}

static void run_firn(Bench *bench)
{
    StreamSpec stream;
    Error err = {0};
    KafkaProducer *producer = open_firn(bench, &stream);
    KafkaTopic *topic = kafka_producer_topic(producer, bench->topic, 1048588, &err);
    must(topic, err.message);
    uint64_t number = 0, done = 0;
    if (bench->rate) {
        Taker taker = {bench, producer};
        Thread *thread = thread_start("taker", take_acknowledgements, &taker);
        int64_t begin_us = clock_mono_us();
        for (long i = 0; i < bench->records; i++) {
            int64_t due_us = begin_us + i * 1000000 / bench->rate;
            int64_t now_us = clock_mono_us();
            if (due_us > now_us)
                clock_sleep_us(due_us - now_us);
            bench->sent_us[i] = clock_mono_us();
            firn_flight(bench, producer, topic, i, 1, &number);
        }
        thread_join(thread);
    } else {
        for (long i = 0; i < bench->records; i += FLIGHT_RECORDS)
            firn_flight(bench, producer, topic, i, FLIGHT_RECORDS, &number);
        while (done < number)
            must(kafka_producer_wait(producer, done, 60000, &done, &err), err.message);
    }
    kafka_producer_free(producer);
}

/* --- librdkafka by hand --- */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *context)
{
    (void)rk;
    must(!message->err, rd_kafka_err2str(message->err));
    atomic_fetch_add_explicit(&((Bench *)context)->acknowledged, 1, memory_order_relaxed);
}

static rd_kafka_resp_err_t on_acknowledgement(rd_kafka_t *rk, rd_kafka_message_t *message,
                                              void *context)
{
    on_report(rk, message, context);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *context,
                                  char *text, size_t bytes)
{
    (void)conf;
    (void)text;
    (void)bytes;
    return rd_kafka_interceptor_add_on_acknowledgement(rk, "bench", on_acknowledgement, context);
}

static void poll_reports(void *argument)
{
    Bench *bench = argument;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(bench->rk);
    bool events = strstr(bench->way, "event");
    while (!atomic_load(&bench->stop)) {
        if (!events) {
            rd_kafka_poll(bench->rk, 100);
            continue;
        }
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 100);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
            const rd_kafka_message_t *message;
            while ((message = rd_kafka_event_message_next(event)))
                on_report(bench->rk, message, bench);
        }
        if (event)
            rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    must(rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK, text);
}

static void open_by_hand(Bench *bench)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bench->brokers);
    set(conf, "enable.idempotence", "true");
    set(conf, "compression.codec", "lz4");
    set(conf, "linger.ms", "3");
    set(conf, "batch.num.messages", "100000");
    set(conf, "queue.buffering.max.messages", "0");
    set(conf, "queue.buffering.max.kbytes", "32768");
    rd_kafka_conf_set_opaque(conf, bench);
    if (strstr(bench->way, "event"))
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    else if (strstr(bench->way, "callback"))
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    else
        rd_kafka_conf_interceptor_add_on_new(conf, "bench", on_new, bench);
    bench->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    must(bench->rk, text);
}

/* Borrowed values live until the end: one ring that is larger than the queue. */
static void send_one(Bench *bench, rd_kafka_topic_t *topic, uint8_t *at, long number)
{
    static const uint8_t header[HEADER_BYTES];
    bool copy = strncmp(bench->way, "copy", 4) == 0;
    for (;;) {
        rd_kafka_headers_t *headers = NULL;
        if (strncmp(bench->way, "plain", 5) != 0) {
            headers = rd_kafka_headers_new(1);
            rd_kafka_header_add(headers, "firn", 4, header, HEADER_BYTES);
        }
        rd_kafka_vu_t parts[] = {
            {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = (int32_t)(number % bench->partitions)},
            {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.ptr = at + 8, .size = bench->bytes}},
            {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.ptr = at, .size = 8}},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = copy ? RD_KAFKA_MSG_F_COPY : 0},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers}};
        rd_kafka_error_t *error = rd_kafka_produceva(bench->rk, parts, headers ? 6 : 5);
        if (!error)
            return;
        must(rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL,
             rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        if (headers)
            rd_kafka_headers_destroy(headers);
        clock_sleep_us(1000);
    }
}

static void send_batch(Bench *bench, rd_kafka_topic_t *topic, uint8_t *at, long first, long count)
{
    rd_kafka_message_t *messages = mem_array((size_t)count, sizeof *messages);
    for (long i = 0; i < count; i++)
        messages[i] = (rd_kafka_message_t){.payload = at + (size_t)i * (bench->bytes + 8) + 8,
                                           .len = bench->bytes,
                                           .key = at + (size_t)i * (bench->bytes + 8),
                                           .key_len = 8,
                                           .partition = (int32_t)((first + i) % bench->partitions)};
    long sent = 0;
    while (sent < count) {
        sent += rd_kafka_produce_batch(topic, 0, RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_PARTITION,
                                       messages + sent, (int)(count - sent));
        if (sent < count)
            clock_sleep_us(1000);
    }
    free(messages);
}

static void run_by_hand(Bench *bench)
{
    open_by_hand(bench);
    Thread *thread = thread_start("poll", poll_reports, bench);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(bench->rk, bench->topic, NULL);
    size_t flight_bytes = (size_t)FLIGHT_RECORDS * (bench->bytes + 8);
    size_t flights = ((size_t)64 << 20) / flight_bytes + 2;
    uint8_t *ring = mem_alloc(flights * flight_bytes);
    for (long first = 0; first < bench->records; first += FLIGHT_RECORDS) {
        uint8_t *at = ring + (size_t)(first / FLIGHT_RECORDS) % flights * flight_bytes;
        for (long i = 0; i < FLIGHT_RECORDS; i++) {
            long number = first + i;
            memcpy(at + (size_t)i * (bench->bytes + 8), &number, 8);
            put_value(at + (size_t)i * (bench->bytes + 8) + 8, bench->bytes, number);
        }
        if (strcmp(bench->way, "batch-callback") == 0)
            send_batch(bench, topic, at, first, FLIGHT_RECORDS);
        else
            for (long i = 0; i < FLIGHT_RECORDS; i++)
                send_one(bench, topic, at + (size_t)i * (bench->bytes + 8), first + i);
    }
    while (atomic_load(&bench->acknowledged) < bench->records)
        clock_sleep_us(1000);
    atomic_store(&bench->stop, true);
    thread_join(thread);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(bench->rk);
    free(ring);
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* What making the values costs is measured by itself and taken off. */
static double making_cpu(const Bench *bench)
{
    uint8_t *at = mem_alloc(bench->bytes);
    double before = cpu_seconds();
    for (long i = 0; i < bench->records; i++) {
        put_value(at, bench->bytes, i);
        __asm__ volatile("" : : "r"(at) : "memory");
    }
    double used = cpu_seconds() - before;
    free(at);
    return used;
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return 2;
    Bench bench = {.brokers = argv[1],
                   .topic = argv[2],
                   .way = argv[3],
                   .records = atol(argv[4]),
                   .bytes = (uint32_t)atol(argv[5]),
                   .partitions = atol(argv[6]),
                   .rate = argc > 7 ? atol(argv[7]) : 0};
    must(bench.records > 0 && bench.records % (bench.rate ? 1 : FLIGHT_RECORDS) == 0 &&
             bench.bytes >= 64 && bench.partitions > 0 && bench.rate <= RATE_MAX,
         "records in thousands, 64 bytes and one partition at least");
    bench.sent_us = mem_array((size_t)bench.records, sizeof(int64_t));
    bench.taken_us = mem_array((size_t)bench.records, sizeof(int64_t));
    double making = bench.rate ? 0 : making_cpu(&bench);
    double before = cpu_seconds();
    int64_t begin_us = clock_mono_us();
    if (strcmp(bench.way, "firn") == 0)
        run_firn(&bench);
    else
        run_by_hand(&bench);
    double cpu = cpu_seconds() - before - making;
    double wall = (double)(clock_mono_us() - begin_us) / 1e6;
    for (long i = 0; i < bench.records; i++)
        bench.taken_us[i] -= bench.sent_us[i];
    qsort(bench.taken_us, (size_t)bench.records, sizeof(int64_t), by_value);
    printf("{\"way\":\"%s\",\"cpu\":%.4f,\"making\":%.4f,\"wall\":%.4f,\"peak\":%ld,\"p50\":%.3f,"
           "\"p99\":%.3f}\n",
           bench.way, cpu, making, wall, peak_bytes(),
           (double)bench.taken_us[bench.records / 2] / 1e3,
           (double)bench.taken_us[bench.records * 99 / 100] / 1e3);
    free(bench.sent_us);
    free(bench.taken_us);
    return 0;
}
