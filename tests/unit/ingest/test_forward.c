/* links: firn_ingest */
/* One topic into another: what is taken goes as it is, to the partition of its number, each once.
 * The mock cluster keeps no offsets that a transaction commits: what restarts and others do is
 * tests/integration/test_to_topic.py's. */
#include "tests/unit/ingest/events.h"

#include "agent/kafka/reader.h"

#define OTHERS "others"
#define IDS_MAX 128

static void configure(Source *source, const char *kafka, const char *extra)
{
    char text[1024];
    snprintf(text, sizeof text,
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
             "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json%s}\n%s"
             "  toTopic: {topic: " OTHERS "}\n",
             source->cluster.broker, kafka, extra);
    parse_events(source, text);
}

/* Where the group begins: the mock would not let it say so itself. */
static void stand_at_beginning(const Source *source)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", source->cluster.broker, NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "firn-default-events", NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int32_t i = 0; i < PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(list, TOPIC, i)->offset = 0;
    assert_int_equal(rd_kafka_commit(rk, list, 0), 0);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
}

static void open_topics(Source *source, const char *kafka, const char *extra)
{
    unit_extra = "";
    source_open(source);
    assert_int_equal(rd_kafka_mock_topic_create(source->cluster.mock, OTHERS, PARTITIONS, 1), 0);
    configure(source, kafka, extra);
    stand_at_beginning(source);
}

static void tell(Source *source, int64_t id, const char *event)
{
    AUTO(mem_free)
    char *value = mem_format("{\"event\": \"%s\", \"id\": %lld}", event, (long long)id);
    say(source, id, value);
}

/* --- what came --- */
typedef struct Came {
    size_t count, of[IDS_MAX];
    int32_t partition;
    bool wrong;
} Came;

static bool take(void *context, const KafkaRead *record, Error *err)
{
    Came *came = context;
    long long key = -1, id = -1;
    char event[32] = "", text[128];
    (void)err;
    came->count++;
    snprintf(text, sizeof text, "%.*s", (int)record->key_bytes, (const char *)record->key);
    (void)!sscanf(text, "{\"id\": %lld}", &key);
    snprintf(text, sizeof text, "%.*s", (int)record->value_bytes, (const char *)record->value);
    (void)!sscanf(text, "{\"event\": \"%31[a-z]\", \"id\": %lld}", event, &id);
    came->wrong = came->wrong || key != id || id < 0 || id >= IDS_MAX ||
                  id % PARTITIONS != came->partition || strcmp(event, "seen") != 0;
    if (id >= 0 && id < IDS_MAX)
        came->of[id]++;
    return true;
}

static Came look(const Source *source)
{
    Came came = {0};
    Error err = {0};
    const KafkaClientOptions client = {.client_id = "test", .field = "spec.kafka"};
    for (; came.partition < PARTITIONS; came.partition++)
        if (!kafka_topic_read(&source->cluster.stream.kafka, &client, OTHERS, came.partition,
                              SOON_MS, take, &came, &err))
            fail_msg("%s: %s", err.code, err.message);
    return came;
}

/* Those of these numbers are there, once, and no others. */
static void expect_ids(const Source *source, size_t from, size_t to)
{
    Came came = {0};
    for (int64_t until_us = clock_mono_us() + SOON_US; came.count < to - from;) {
        if (clock_mono_us() > until_us)
            fail_msg("%zu of %zu records came", came.count, to - from);
        clock_sleep_us(50000);
        came = look(source);
    }
    assert_false(came.wrong);
    assert_int_equal(came.count, to - from);
    for (size_t id = from; id < to; id++)
        assert_int_equal(came.of[id], 1);
}

static void tell_all(Source *source, int64_t from, int64_t to)
{
    for (int64_t id = from; id < to; id++)
        tell(source, id, "seen");
    await(source->producer, source->flights);
}

static void test_each_once(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_topics(&source, "", "");
    tell_all(&source, 0, 30);
    start_events(&process, &source);
    expect_ids(&source, 0, 30);
    tell_all(&source, 30, 100);
    expect_ids(&source, 0, 100);
    process_stop(&process);
    expect_ids(&source, 0, 100);
    source_close(&source);
}

static bool count_one(void *context, const KafkaRead *record, Error *err)
{
    (void)err;
    *(size_t *)context +=
        record->value && memmem(record->value, record->value_bytes, "\"code\"", 6);
    return true;
}

/* Of the events that are asked for; what can't be read is a dead letter. */
static void test_events(void **state)
{
    (void)state;
    Source source;
    Process process;
    Error err = {0};
    size_t letters = 0;
    open_topics(&source, ", events: {nameField: event, allow: [{name: seen}]}",
                "  deadLetter: {topic: " LETTERS "}\n");
    for (int64_t id = 0; id < 30; id++) {
        tell(&source, id, "seen");
        tell(&source, id, "left");
    }
    say(&source, 1, "{\"event\": \"se");
    await(source.producer, source.flights);
    tell_all(&source, 30, 40);
    start_events(&process, &source);
    expect_ids(&source, 0, 40);
    process_stop(&process);
    const KafkaClientOptions client = {.client_id = "test", .field = "spec.kafka"};
    if (!kafka_topic_read(&source.cluster.stream.kafka, &client, LETTERS, 0, SOON_MS, count_one,
                          &letters, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_int_equal(letters, 1);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_once),
                                       cmocka_unit_test(test_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
