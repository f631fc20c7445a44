/* links: firn_ingest */
/* Debezium's records without their schemas, whose columns the table declares, into a table: rows
 * come, change and go by the records' key, and another key stops the flow. */
#include "tests/unit/ingest/events.h"

#define DECLARED_FORMAT                                                                            \
    "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"        \
    "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Debezium%s}\n"                     \
    "  deadLetter: {topic: " LETTERS "}\n"                                                         \
    "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"            \
    "      database: public\n      tableName: t\n      commitInterval: 300ms\n%s"

#define COLUMNS "{name: id, type: long}, {name: v, type: int}, {name: w, type: int}"
#define KEYED "      idColumns: [id]\n      columns: [" COLUMNS "]\n"

static void configure(Source *source, const char *records, const char *table)
{
    char text[2048];
    snprintf(text, sizeof text, DECLARED_FORMAT, source->cluster.broker, records, source->folder,
             table);
    parse_events(source, text);
}

static void open_declared(Source *source, const char *table)
{
    unit_extra = "";
    source_open(source);
    assert_int_equal(
        rd_kafka_mock_topic_create(source->cluster.mock, "firn-default-events-control", 1, 1), 0);
    configure(source, ", records: {schemas: false}", table);
}

static void change(Source *source, char op, int64_t id, int v)
{
    AUTO(mem_free)
    char *row =
        mem_format("{\"v\":%d,\"tags\":[\"a\"],\"id\":%lld,\"w\":%d}", v, (long long)id, 2 * v);
    AUTO(mem_free)
    char *value = mem_format("{\"before\":%s,\"after\":%s,\"source\":{\"ts_ms\":1700000000000},"
                             "\"op\":\"%c\",\"ts_ms\":1700000000001}",
                             op == 'd' ? row : "null", op == 'd' ? "null" : row, op);
    say(source, id, value);
    if (op == 'd')
        say(source, id, NULL);
}

static void test_rows(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_declared(&source, KEYED);
    for (int64_t id = 1; id <= 30; id++)
        change(&source, id % 2 ? 'c' : 'r', id, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    for (int64_t id = 1; id <= 10; id++)
        change(&source, 'u', id, 5);
    say(&source, 4, "{\"before\":null,\"after\":{\"id\":\"four\"},\"op\":\"u\"}"); /* a letter */
    for (int64_t id = 21; id <= 30; id++)
        change(&source, 'd', id, 1);
    expect(&source, 20, 210, 60);
    process_stop(&process);
    change(&source, 'c', 21, 7);
    start_events(&process, &source); /* from where the table stands */
    expect(&source, 21, 231, 67);
    assert_int_equal(more_of(&source), 2 * 67);
    process_stop(&process);
    source_close(&source);
}

/* A table with one column less takes what it declares; one that is added later is null before. */
static void test_a_column_more(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_declared(&source, "      idColumns: [id]\n"
                           "      columns: [{name: id, type: long}, {name: v, type: int}]\n");
    for (int64_t id = 1; id <= 3; id++)
        change(&source, 'c', id, 1);
    start_events(&process, &source);
    expect(&source, 3, 6, 3);
    process_stop(&process);
    configure(&source, ", records: {schemas: false}", KEYED);
    change(&source, 'c', 4, 4);
    start_events(&process, &source);
    expect(&source, 4, 10, 7);
    assert_int_equal(more_of(&source), 2 * 4);
    process_stop(&process);
    source_close(&source);
}

static void expect_stopped(Source *source, const char *code, const char *words)
{
    Process process;
    await(source->producer, source->flights);
    start_events(&process, source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, code);
    if (!strstr(process.err.message, words))
        fail_msg("%s\nnot %s", process.err.message, words);
    supervised_free(process.flow);
}

static void test_another_key(void **state)
{
    (void)state;
    Source source;
    open_declared(&source, "      idColumns: [v]\n      columns: [" COLUMNS "]\n");
    change(&source, 'c', 1, 1);
    expect_stopped(&source, "KeyDiffers", "just the idColumns (v)");
    source_close(&source);
}

/* In Append every change is a row, whatever it is keyed by. */
static void test_append(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_declared(&source, "      mode: Append\n      columns: [" COLUMNS "]\n");
    change(&source, 'c', 1, 1);
    change(&source, 'u', 1, 2);
    change(&source, 'd', 1, 2);
    start_events(&process, &source);
    expect(&source, 3, 3, 5);
    process_stop(&process);
    source_close(&source);
}

/* An update leaves a large value out, and its row never was in the table: a person decides. */
static void test_nothing_to_have_it_from(void **state)
{
    (void)state;
    Source source;
    open_declared(&source, "      idColumns: [id]\n"
                           "      columns: [{name: id, type: long}, {name: s, type: string}]\n");
    say(&source, 1,
        "{\"before\":null,\"after\":{\"id\":1,\"s\":\"__debezium_unavailable_value\"},"
        "\"op\":\"u\"}");
    expect_stopped(&source, "BaseRowMissing", "leaves column s out");
    expect_stopped(&source, "BaseRowMissing", "firn.dev/positions");
    source_close(&source);
}

/* Nobody says what the columns are: both ways out are named. */
static void test_not_declared(void **state)
{
    (void)state;
    Source source;
    open_declared(&source, KEYED);
    AUTO(mem_free)
    char *text = mem_format("apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\n"
                            "metadata: {name: events}\nspec:\n"
                            "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Debezium}\n"
                            "  outsourcingUnit:\n    table:\n"
                            "      catalog: {type: Directory, warehouse: %s}\n"
                            "      database: public\n      tableName: t\n",
                            source.cluster.broker, source.folder);
    parse_events(&source, text);
    change(&source, 'c', 1, 1);
    expect_stopped(&source, "SchemaUnknown", "partition 1 offset 0");
    expect_stopped(&source, "SchemaUnknown", "schemas.enable=true");
    expect_stopped(&source, "SchemaUnknown", "spec.kafka.records.schemas: false");
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_a_column_more),
                                       cmocka_unit_test(test_another_key),
                                       cmocka_unit_test(test_append),
                                       cmocka_unit_test(test_nothing_to_have_it_from),
                                       cmocka_unit_test(test_not_declared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
