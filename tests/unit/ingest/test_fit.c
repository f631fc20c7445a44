/* links: firn_ingest */
/* Debezium's JSON with its schemas, of which some the table can't follow: with
 * schemaEvolution.incompatible: DeadLetter these records alone are missing, also when a restart
 * meets their schema first. */
#include "agent/kafka/reader.h"
#include "tests/unit/ingest/events.h"

#define ENVELOPE                                                                                   \
    "{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"optional\":true,"         \
    "\"field\":\"after\",\"fields\":[{\"type\":\"int64\",\"field\":\"id\"}%s]},"                   \
    "{\"type\":\"string\",\"field\":\"op\"}]},\"payload\":{\"after\":{\"id\":%d%s},\"op\":\"c\"}}"

#define FIELD(type, name) ",{\"type\":\"" type "\",\"optional\":true,\"field\":\"" name "\"}"
static const char with_int[] = FIELD("int32", "v") FIELD("int32", "w"),
                  with_text[] = FIELD("string", "v") FIELD("int32", "w"),
                  with_more[] = FIELD("int64", "v") FIELD("int32", "w") FIELD("int32", "x");

static void configure(Source *source, const char *evolution)
{
    char text[2048];
    snprintf(text, sizeof text,
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
             "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Debezium}\n"
             "  deadLetter: {topic: " LETTERS "}\n"
             "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"
             "      database: public\n      tableName: t\n      commitInterval: 300ms\n"
             "      mode: Append\n%s",
             source->cluster.broker, source->folder, evolution);
    parse_events(source, text);
}

static void open_topic(Source *source, const char *evolution)
{
    source_open(source);
    assert_int_equal(
        rd_kafka_mock_topic_create(source->cluster.mock, "firn-default-events-control", 1, 1), 0);
    configure(source, evolution);
}

static char *record_of(const char *columns, int id, const char *values)
{
    return mem_format(ENVELOPE, columns, id, values);
}

static void send_row(Source *source, int32_t partition, const char *columns, int id,
                     const char *values)
{
    AUTO(mem_free) char *text = record_of(columns, id, values);
    send_raw(source, partition, text, strlen(text), NULL, 0);
}

static void send_good(Source *source, int from, int to)
{
    for (int id = from; id <= to; id++)
        send_row(source, 1, with_int, id, ",\"v\":1,\"w\":2");
}

/* --- the letters --- */
typedef struct Letters {
    size_t count;
    char reasons[16][512];
    Bytes values[16];
    int64_t left; /* pieces of the latest */
} Letters;

static bool take_letter(void *context, const KafkaRead *record, Error *err)
{
    Letters *letters = context;
    (void)err;
    if (letters->left) {
        bytes_put(&letters->values[letters->count - 1], record->value, record->value_bytes);
        letters->left--;
        return true;
    }
    assert_true(letters->count < 16);
    json_t *json = json_loadb(record->value, record->value_bytes, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "code")), "SchemaIncompatible");
    snprintf(letters->reasons[letters->count++], 512, "%s",
             json_string_value(json_object_get(json, "reason")));
    letters->left = json_integer_value(json_object_get(json, "pieces"));
    json_decref(json);
    return true;
}

/* Each of them once, whole, in this order, with what it says. */
static void expect_letters(const Source *source, size_t count, const char *const *wanted,
                           const char *says)
{
    Error err = {0};
    Letters letters = {0};
    const KafkaClientOptions client = {.client_id = "test", .field = "spec.kafka"};
    if (!kafka_topic_read(&source->cluster.stream.kafka, &client, LETTERS, 0, SOON_MS, take_letter,
                          &letters, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_int_equal(letters.left, 0);
    assert_int_equal(letters.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(letters.values[i].used, strlen(wanted[i]));
        assert_memory_equal(letters.values[i].data, wanted[i], strlen(wanted[i]));
        if (!strstr(letters.reasons[i], says))
            fail_msg("'%s' does not say '%s'", letters.reasons[i], says);
        bytes_done(&letters.values[i]);
    }
}

static void test_goes_on(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_topic(&source, "      schemaEvolution: {incompatible: DeadLetter}\n");
    char *bad[3];
    for (int i = 0; i < 3; i++)
        bad[i] = record_of(with_text, 1000 + i, ",\"v\":\"one\",\"w\":2");
    send_good(&source, 1, 10);
    start_events(&process, &source);
    expect(&source, 10, 55, 10);
    for (int i = 0; i < 2; i++)
        send_raw(&source, 0, bad[i], strlen(bad[i]), NULL, 0);
    send_good(&source, 11, 20);
    expect(&source, 20, 210, 20);
    process_stop(&process);
    send_good(&source, 21, 25);
    start_events(&process, &source); /* the topic's first row has a text */
    expect(&source, 25, 325, 25);
    expect_letters(&source, 2, (const char *const *)bad, "column v");
    send_row(&source, 1, with_more, 26,
             ",\"v\":5,\"w\":2,\"x\":7"); /* wider, and one more: followed */
    send_good(&source, 27, 27);
    expect(&source, 27, 378, 31);
    send_raw(&source, 1, bad[2], strlen(bad[2]), NULL, 0);
    send_row(&source, 1, with_more, 28, ",\"v\":5,\"w\":2,\"x\":7");
    expect(&source, 28, 406, 36);
    process_stop(&process);
    expect_letters(&source, 3, (const char *const *)bad, "column v");
    for (int i = 0; i < 3; i++)
        free(bad[i]);
    source_close(&source);
}

/* What the table would be able to, but is not to. */
static void test_not_allowed(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_topic(&source, "      schemaEvolution: {incompatible: DeadLetter, addColumns: false, "
                        "widenTypes: false}\n");
    AUTO(mem_free) char *bad = record_of(with_more, 11, ",\"v\":5,\"w\":2,\"x\":7");
    send_good(&source, 1, 10);
    start_events(&process, &source);
    expect(&source, 10, 55, 10);
    process_stop(&process);
    send_raw(&source, 0, bad, strlen(bad), NULL, 0); /* a restart's first row */
    send_good(&source, 12, 20);
    start_events(&process, &source);
    expect(&source, 19, 199, 19);
    process_stop(&process);
    expect_letters(&source, 1, (const char *const[]){bad}, "widenTypes is false");
    source_close(&source);
}

/* By default it ends the flow, and nothing behind it is taken. */
static void test_stalls(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_topic(&source, "");
    send_good(&source, 1, 10);
    start_events(&process, &source);
    expect(&source, 10, 55, 10);
    send_row(&source, 1, with_text, 11, ",\"v\":\"one\",\"w\":2");
    send_good(&source, 12, 12);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, "SchemaIncompatible");
    supervised_free(process.flow);
    expect_letters(&source, 0, NULL, "");
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on),
                                       cmocka_unit_test(test_not_allowed),
                                       cmocka_unit_test(test_stalls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
