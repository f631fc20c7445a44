/* links: firn_ingest */
/* One topic of plain JSON events into several tables: each record into the one whose route takes
 * it first, and what no route takes. */
#include "tests/unit/ingest/events.h"

#include <jansson.h>

#include "agent/kafka/reader.h"

#define TABLE_FORMAT                                                                               \
    "---\napiVersion: firn.dev/v1alpha1\nkind: LakeTable\nmetadata: {name: %s}\nspec:\n"           \
    "  catalog: {type: Directory, warehouse: %s}\n  database: public\n  tableName: %s\n"           \
    "  commitInterval: 300ms\n  %s\n"                                                              \
    "  columns: [{name: id, type: long}, {name: v, type: int}, {name: w, type: int}]\n"

#define SEEN "  - {when: \"event == 'seen'\", lakeTableRef: {name: seen}}\n"
#define BOUGHT "  - {when: \"event in ['bought', 'paid']\", lakeTableRef: {name: bought}}\n"
#define REST "  - {lakeTableRef: {name: rest}}\n"

static void configure(Source *source, const char *extra, const char *routes)
{
    char tables[3][512], text[4096];
    static const char *const names[] = {"seen", "bought", "rest"};
    static const char *const modes[] = {"mode: Append", "idColumns: [id]", "mode: Append"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        snprintf(tables[i], sizeof tables[i], TABLE_FORMAT, names[i], source->folder, names[i],
                 modes[i]);
    snprintf(text, sizeof text,
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
             "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json}\n%s"
             "  routes:\n%s%s%s%s",
             source->cluster.broker, extra, routes, tables[0], tables[1], tables[2]);
    parse_events(source, text);
}

static void open_routes(Source *source, const char *extra, const char *routes)
{
    static const char *const names[] = {"seen", "bought", "rest"};
    unit_extra = "";
    source_open(source);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(mem_free) char *topic = mem_format("firn-default-events_%s-control", names[i]);
        assert_int_equal(rd_kafka_mock_topic_create(source->cluster.mock, topic, 1, 1), 0);
    }
    configure(source, extra, routes);
}

static void tell(Source *source, int64_t id, const char *event, int v)
{
    AUTO(mem_free)
    char *value =
        mem_format("{\"v\": %d, \"event\": \"%s\", \"id\": %lld}", v, event, (long long)id);
    say(source, id, value);
}

static void expect_in(Source *source, const char *table, uint64_t rows, int64_t ids, int64_t values)
{
    source->looked_at = table;
    expect(source, rows, ids, values);
}

/* Of each thirty ids ten are seen, ten bought (five in other words), ten anything else. */
static void tell_thirty(Source *source, int64_t from)
{
    for (int64_t i = 0; i < 10; i++) {
        tell(source, from + i, "seen", 1);
        tell(source, from + 10 + i, i % 2 ? "bought" : "paid", 2);
        tell(source, from + 20 + i, i % 2 ? "left" : "seen at last", 3);
    }
}

static void test_shared_out(void **state)
{
    (void)state;
    Source source;
    Process process, other;
    open_routes(&source, "", SEEN BOUGHT REST);
    tell_thirty(&source, 1);
    start_events(&process, &source);
    expect_in(&source, "seen", 10, 55, 10);
    expect_in(&source, "bought", 10, 155, 20);
    expect_in(&source, "rest", 10, 255, 30);
    start_events(&other, &source); /* each table's partitions are dealt out to both */
    tell_thirty(&source, 31);
    for (int64_t id = 11; id <= 15; id++)
        tell(&source, id, "paid", 7); /* the same keys: newer rows of that table */
    for (int64_t id = 16; id <= 20; id++)
        say(&source, id, NULL); /* gone, where rows have keys */
    await(source.producer, source.flights);
    expect_in(&source, "seen", 20, 55 + 355, 20);
    expect_in(&source, "bought", 15, 65 + 455, 5 * 7 + 20);
    expect_in(&source, "rest", 20, 255 + 555, 60);
    process_stop(&process);
    tell_thirty(&source, 61);
    expect_in(&source, "rest", 30, 255 + 555 + 855, 90);
    process_stop(&other);
    start_events(&process, &source); /* from where each table stands */
    expect_in(&source, "seen", 30, 55 + 355 + 655, 30);
    expect_in(&source, "bought", 25, 65 + 455 + 755, 75);
    process_stop(&process);
    source_close(&source);
}

/* It begins by itself, and takes nothing from the others. */
static void test_added(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_routes(&source, "", SEEN);
    tell_thirty(&source, 1);
    start_events(&process, &source);
    expect_in(&source, "seen", 10, 55, 10);
    process_stop(&process);
    configure(&source, "", SEEN BOUGHT);
    tell_thirty(&source, 31);
    start_events(&process, &source);
    expect_in(&source, "seen", 20, 410, 20);
    expect_in(&source, "bought", 20, 155 + 455, 40);
    process_stop(&process);
    source_close(&source);
}

/* --- what no route takes --- */
typedef struct Heads {
    size_t unrouted, bad;
} Heads;

static bool take_head(void *context, const KafkaRead *record, Error *err)
{
    Heads *heads = context;
    (void)err;
    json_t *json = json_loadb(record->value, record->value_bytes, 0, NULL);
    const char *code = json_string_value(json_object_get(json, "code"));
    heads->unrouted += code && strcmp(code, "Unrouted") == 0;
    heads->bad += code && strcmp(code, "BadRecord") == 0;
    json_decref(json);
    return true;
}

static void test_letters(void **state)
{
    (void)state;
    Source source;
    Process process;
    Heads heads = {0};
    Error err = {0};
    open_routes(&source, "  deadLetter: {topic: " LETTERS "}\n", SEEN BOUGHT);
    tell_thirty(&source, 1);
    say(&source, 1, "{\"v\": 1, \"eve");                       /* nobody's that can be told */
    say(&source, 1, "{\"event\": \"bought\", \"id\": \"x\"}"); /* one's */
    say(&source, 1, "{\"id\": 3}");
    await(source.producer, source.flights);
    tell(&source, 31, "seen", 1);
    tell(&source, 32, "bought", 2);
    start_events(&process, &source);
    expect_in(&source, "seen", 11, 86, 11);
    expect_in(&source, "bought", 11, 187, 22);
    process_stop(&process);
    const KafkaClientOptions client = {.client_id = "test", .field = "spec.kafka"};
    if (!kafka_topic_read(&source.cluster.stream.kafka, &client, LETTERS, 0, SOON_MS, take_head,
                          &heads, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_int_equal(heads.unrouted, 11); /* each once, whatever the number of routes */
    assert_int_equal(heads.bad, 2);
    source_close(&source);
}

static void test_passed_over(void **state)
{
    (void)state;
    Source source;
    Process process;
    Metric *counted = metrics_register(METRIC_COUNTER, "firn_ingest_unrouted_records_total",
                                       "Records that no route takes, and that were passed over",
                                       "unit=\"default/events\"");
    double before = atomic_load(&counted->value);
    open_routes(&source, "", SEEN BOUGHT);
    tell_thirty(&source, 1);
    await(source.producer, source.flights);
    start_events(&process, &source);
    expect_in(&source, "seen", 10, 55, 10);
    expect_in(&source, "bought", 10, 155, 20);
    for (int64_t until_us = clock_mono_us() + SOON_US;
         atomic_load(&counted->value) < before + 10;) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
    }
    process_stop(&process);
    assert_true(atomic_load(&counted->value) == before + 10);
    source_close(&source);
}

/* --- topics whose rows tell --- */
#define ROW_FIELDS                                                                                 \
    "\"fields\":[{\"type\":\"int64\",\"optional\":false,\"field\":\"id\"},"                        \
    "{\"type\":\"int32\",\"optional\":true,\"field\":\"v\"},"                                      \
    "{\"type\":\"int32\",\"optional\":true,\"field\":\"w\"},"                                      \
    "{\"type\":\"boolean\",\"optional\":true,\"field\":\"old\"},"                                  \
    "{\"type\":\"double\",\"optional\":true,\"field\":\"far\"},"                                   \
    "{\"type\":\"string\",\"optional\":true,\"field\":\"kind\"}],\"optional\":true"
#define ENVELOPE                                                                                   \
    "{\"schema\":{\"type\":\"struct\",\"optional\":false,\"fields\":["                             \
    "{\"type\":\"struct\"," ROW_FIELDS ",\"field\":\"before\"},"                                   \
    "{\"type\":\"struct\"," ROW_FIELDS ",\"field\":\"after\"},"                                    \
    "{\"type\":\"string\",\"optional\":false,\"field\":\"op\"}]},\"payload\":"

static void configure_debezium(Source *source, const char *extra, const char *routes)
{
    char text[4096];
    snprintf(text, sizeof text,
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
             "  kafka: {topic: " TOPIC
             ", brokers: \"%s\", incomingData: Debezium}\n%s  routes:\n%s",
             source->cluster.broker, extra, routes);
    static const char *const names[] = {"seen", "bought", "rest"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t used = strlen(text);
        snprintf(
            text + used, sizeof text - used,
            "---\napiVersion: firn.dev/v1alpha1\nkind: LakeTable\nmetadata: {name: %s}\nspec:\n"
            "  catalog: {type: Directory, warehouse: %s}\n  database: public\n"
            "  tableName: %s\n  commitInterval: 300ms\n%s",
            names[i], source->folder, names[i], i == 2 ? "  mode: Append\n" : "");
    }
    parse_events(source, text);
}

/* kind NULL: what is deleted, of which its key alone is said. */
static void change(Source *source, char op, int64_t id, const char *kind, int v)
{
    AUTO(mem_free)
    char *row = kind ? mem_format("{\"id\":%lld,\"v\":%d,\"w\":0,\"old\":%s,\"far\":1.5,"
                                  "\"kind\":\"%s\"}",
                                  (long long)id, v, id % 2 ? "true" : "false", kind)
                     : mem_format("{\"id\":%lld}", (long long)id);
    AUTO(mem_free)
    char *value = mem_format(ENVELOPE "{\"before\":%s,\"after\":%s,\"op\":\"%c\"}}",
                             op == 'd' ? row : "null", op == 'd' ? "null" : row, op);
    say(source, id, value);
}

/* A key's row is in the table of its latest version, and gone when it is deleted. */
static void test_debezium(void **state)
{
    (void)state;
    Source source;
    Process process;
    Metric *nobodys = metrics_register(METRIC_COUNTER, "firn_ingest_unrouted_records_total",
                                       "Records that no route takes, and that were passed over",
                                       "unit=\"default/events\"");
    double before = atomic_load(&nobodys->value);
    open_routes(&source, "", SEEN);
    configure_debezium(&source, "",
                       "  - {when: \"kind == 'seen'\", lakeTableRef: {name: seen}}\n"
                       "  - {when: \"kind in ['bought', 'paid']\", lakeTableRef: {name: bought}}\n"
                       "  - {when: \"old == 'true'\", lakeTableRef: {name: rest}}\n");
    for (int64_t id = 1; id <= 10; id++) {
        change(&source, 'c', id, "seen", 1);
        change(&source, 'c', id + 10, id % 2 ? "bought" : "paid", 2);
        change(&source, 'c', id + 20, "else", 3);
    }
    await(source.producer, source.flights);
    start_events(&process, &source);
    expect_in(&source, "seen", 10, 55, 10);
    expect_in(&source, "bought", 10, 155, 20);
    expect_in(&source, "rest", 5, 125, 15); /* of the odd ids */
    for (int64_t id = 1; id <= 5; id++) {
        change(&source, 'u', id, "paid", 5);      /* from one to the other */
        change(&source, 'u', id + 10, "else", 6); /* … to a table of changes, or nowhere */
        change(&source, 'd', id + 5, NULL, 0);    /* wherever it is */
        change(&source, 'd', id + 15, NULL, 0);
    }
    await(source.producer, source.flights);
    expect_in(&source, "bought", 5, 15, 25);
    expect_in(&source, "rest", 8, 125 + 11 + 13 + 15, 15 + 18);
    process_stop(&process);
    start_events(&process, &source);
    change(&source, 'c', 99, "seen", 7);
    await(source.producer, source.flights);
    expect_in(&source, "seen", 1, 99, 7);
    expect_in(&source, "bought", 5, 15, 25);
    process_stop(&process);
    /* of the even ids five that came so, and two that became so */
    assert_true(atomic_load(&nobodys->value) >= before + 7);
    source_close(&source);
}

/* A field by which nobody can be told apart. */
static void test_column_refused(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_routes(&source, "", SEEN);
    configure_debezium(&source, "", "  - {when: \"far == '1.5'\", lakeTableRef: {name: seen}}\n");
    change(&source, 'c', 1, "seen", 1);
    await(source.producer, source.flights);
    start_events(&process, &source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, "RouteColumn");
    assert_non_null(strstr(process.err.message, "spec.routes[0].when asks for far"));
    assert_non_null(strstr(process.err.message, "has it as double"));
    supervised_free(process.flow);
    source_close(&source);
}

/* --- tables that declare their columns --- */
static void configure_declared(Source *source, const char *more)
{
    char text[2048];
    snprintf(text, sizeof text,
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
             "  kafka: {topic: " TOPIC
             ", brokers: \"%s\", incomingData: Debezium, records: {schemas: false}}\n"
             "  routes:\n  - {when: \"kind == 'seen'\", lakeTableRef: {name: seen}}\n"
             "---\napiVersion: firn.dev/v1alpha1\nkind: LakeTable\nmetadata: {name: seen}\nspec:\n"
             "  catalog: {type: Directory, warehouse: %s}\n  database: public\n"
             "  tableName: seen\n  commitInterval: 300ms\n  idColumns: [id]\n"
             "  columns: [{name: id, type: long}, {name: v, type: int}%s]\n",
             source->cluster.broker, source->folder, more);
    parse_events(source, text);
}

/* The row tells, so it has to have what the routes ask for. */
static void test_declared(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_routes(&source, "", SEEN);
    configure_declared(&source, "");
    for (int64_t id = 1; id <= 6; id++)
        change(&source, 'c', id, id % 2 ? "seen" : "else", 1);
    await(source.producer, source.flights);
    start_events(&process, &source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, "RouteColumn");
    assert_non_null(strstr(process.err.message, "spec.routes[0].when asks for kind"));
    supervised_free(process.flow);
    configure_declared(&source, ", {name: kind, type: string}");
    start_events(&process, &source);
    expect_in(&source, "seen", 3, 9, 3);
    change(&source, 'u', 2, "seen", 5);
    change(&source, 'u', 1, "else", 5);
    change(&source, 'd', 3, NULL, 0);
    await(source.producer, source.flights);
    expect_in(&source, "seen", 2, 7, 6);
    process_stop(&process);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_out), cmocka_unit_test(test_added),
        cmocka_unit_test(test_letters),    cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_debezium),   cmocka_unit_test(test_column_refused),
        cmocka_unit_test(test_declared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
