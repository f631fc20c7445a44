/* links: firn_ingest */
/* Plain JSON events, that others write, into a table: inserted, updated and deleted by its
 * idColumns, appended; what can't be read is among the dead letters. */
#include "tests/unit/ingest/events.h"

#define EVENTS_FORMAT                                                                              \
    "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"        \
    "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json%s,\n"                         \
    "          events: {nameField: event, allow: [{name: taken}]}}\n"                              \
    "  deadLetter: {topic: " LETTERS "}\n"                                                         \
    "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"            \
    "      database: public\n      tableName: t\n      commitInterval: 300ms\n%s"                  \
    "      columns: [{name: id, type: long}, {name: v, type: int}, {name: w, type: int}]\n"

static void configure(Source *source, const char *from, const char *mode)
{
    char text[2048];
    snprintf(text, sizeof text, EVENTS_FORMAT, source->cluster.broker, from, source->folder, mode);
    parse_events(source, text);
}

static void open_events(Source *source, const char *from, const char *mode)
{
    unit_extra = "";
    source_open(source);
    assert_int_equal(
        rd_kafka_mock_topic_create(source->cluster.mock, "firn-default-events-control", 1, 1), 0);
    configure(source, from, mode);
}

static void say_row(Source *source, int64_t id, int v)
{
    AUTO(mem_free)
    char *value = mem_format(
        "{\"v\": %d, \"event\": \"taken\", \"other\": {\"a\": [1]}, \"id\": %lld, \"w\": %d}", v,
        (long long)id, 2 * v);
    say(source, id, value);
}

static void test_upsert(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_events(&source, "", "      idColumns: [id]\n");
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    for (int64_t id = 1; id <= 10; id++)
        say_row(&source, id, 5);
    say(&source, 4, "{\"event\": \"taken\", \"id\": \"four\"}");    /* among the dead letters */
    say(&source, 4, "{\"event\": \"other\", \"id\": 4, \"v\": 9}"); /* passed over */
    for (int64_t id = 21; id <= 30; id++)
        say(&source, id, NULL);
    expect(&source, 20, 210, 60);
    process_stop(&process);
    say_row(&source, 21, 7);
    start_events(&process, &source); /* from where the table stands */
    expect(&source, 21, 231, 67);
    assert_int_equal(more_of(&source), 2 * 67);
    process_stop(&process);
    source_close(&source);
}

/* One manifest, a topic of the same name in each of two clusters. */
static void test_two_clusters(void **state)
{
    (void)state;
    Source first, second;
    Process processes[2];
    open_events(&first, "", "      idColumns: [id]\n");
    open_events(&second, "", "      idColumns: [id]\n");
    assert_int_equal(
        rd_kafka_mock_topic_create(second.cluster.mock, "firn-default-others-control", 1, 1), 0);
    char texts[2][2048];
    snprintf(texts[0], sizeof texts[0], EVENTS_FORMAT, first.cluster.broker, "", first.folder,
             "      idColumns: [id]\n");
    snprintf(texts[1], sizeof texts[1], EVENTS_FORMAT, second.cluster.broker, "", second.folder,
             "      idColumns: [id]\n");
    static const char name[] = "{name: events}";
    memcpy(strstr(texts[1], name), "{name: others}", sizeof name - 1);
    AUTO(mem_free) char *both = mem_format("%s---\n%s", texts[0], texts[1]);
    parse_events(&first, both);
    for (int64_t id = 1; id <= 30; id++) {
        say_row(&first, id, 1);
        say_row(&second, id + 100, 2);
    }
    for (size_t i = 0; i < ARRAY_LEN(processes); i++) {
        processes[i] =
            (Process){.flow = ingest_new_topic(first.manifest, &first.manifest->units[i])};
        processes[i].thread = thread_start("flow", run, &processes[i]);
    }
    expect(&first, 30, 465, 30);
    expect(&second, 30, 3465, 60);
    for (size_t i = 0; i < ARRAY_LEN(processes); i++)
        process_stop(&processes[i]);
    source_close(&second);
    source_close(&first);
}

static void test_append(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_events(&source, "", "      mode: Append\n");
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    for (int64_t id = 1; id <= 10; id++)
        say_row(&source, id, 5); /* another row each */
    say(&source, 1, NULL);       /* nothing */
    say_row(&source, 31, 1);
    expect(&source, 41, 465 + 55 + 31, 30 + 50 + 1);
    process_stop(&process);
    source_close(&source);
}

/* What was there before it began is not taken; where the table stands counts from then on. */
static void test_latest(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_events(&source, ", startFrom: Latest", "      idColumns: [id]\n");
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    await(source.producer, source.flights);
    start_events(&process, &source);
    Figures figures = {0};
    for (int64_t until_us = clock_mono_us() + SOON_US; figures.phase != PHASE_STREAMING;) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
        supervised_figures(process.flow, &figures);
    }
    for (int64_t id = 31; id <= 40; id++)
        say_row(&source, id, 1);
    expect(&source, 10, 355, 10);
    process_stop(&process);
    for (int64_t id = 41; id <= 50; id++)
        say_row(&source, id, 1);
    await(source.producer, source.flights);
    start_events(&process, &source); /* not at the end of now */
    expect(&source, 20, 810, 20);
    process_stop(&process);
    source_close(&source);
}

/* The greater value of v counts, whichever comes first: in a commit, over commits and restarts. */
static void test_ordering(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_events(&source, ", orderingColumn: v", "      idColumns: [id]\n");
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 5);
    for (int64_t id = 1; id <= 10; id++)
        say_row(&source, id, 3);
    start_events(&process, &source);
    expect(&source, 30, 465, 150);
    for (int64_t id = 1; id <= 20; id++)
        say_row(&source, id, 4);
    for (int64_t id = 21; id <= 30; id++)
        say_row(&source, id, 7);
    expect(&source, 30, 465, 100 + 70);
    process_stop(&process);
    for (int64_t id = 1; id <= 10; id++) { /* null is less than any */
        AUTO(mem_free)
        char *value = mem_format("{\"event\": \"taken\", \"id\": %lld, \"w\": 7}", (long long)id);
        say(&source, id, value);
    }
    for (int64_t id = 11; id <= 20; id++) { /* of equal ones the later */
        AUTO(mem_free)
        char *value =
            mem_format("{\"event\": \"taken\", \"id\": %lld, \"v\": 5, \"w\": 99}", (long long)id);
        say(&source, id, value);
    }
    say(&source, 30, NULL); /* gone, and what it was is not known any more */
    say_row(&source, 30, 1);
    await(source.producer, source.flights);
    start_events(&process, &source);
    for (int64_t until_us = clock_mono_us() + SOON_US; more_of(&source) != 100 + 990 + 126 + 2;) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(50000);
    }
    expect(&source, 30, 465, 100 + 63 + 1);
    process_stop(&process);
    source_close(&source);
}

static void ends_with(const Source *source, const char *code, const char *says)
{
    Process process;
    start_events(&process, source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, code);
    if (!strstr(process.err.message, says))
        fail_msg("'%s' does not say '%s'", process.err.message, says);
    supervised_free(process.flow);
}

/* In Append rows come again: once for an id, and none for a table that begins. */
static void test_replay(void **state)
{
    (void)state;
    static const char append[] = "      mode: Append\n";
    Source source;
    Process process;
    open_events(&source, ", replay: {id: none, from: Earliest}", append);
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    process_stop(&process);
    say_row(&source, 31, 1);
    start_events(&process, &source); /* its id counts as done */
    expect(&source, 31, 496, 31);
    process_stop(&process);
    configure(&source, ", replay: {id: one, from: Earliest}", append);
    start_events(&process, &source);
    expect(&source, 62, 992, 62);
    process_stop(&process);
    say_row(&source, 32, 1);
    start_events(&process, &source);
    expect(&source, 63, 1024, 63);
    process_stop(&process);
    configure(&source, ", replay: {id: two, offsets: [{partition: 0, offset: 5}]}", append);
    start_events(&process, &source); /* 18, 21, 24, 27, 30; the other partitions stay */
    expect(&source, 68, 1024 + 120, 68);
    process_stop(&process);
    configure(&source, ", replay: {id: three, offsets: [{partition: 3, offset: 5}]}", append);
    ends_with(&source, "ReplayOutside", "partition 3, offset 5, of topic " TOPIC);
    expect(&source, 68, 1024 + 120, 68);
    source_close(&source);
}

/* In Upsert the table is what it was. */
static void test_replay_upsert(void **state)
{
    (void)state;
    static const char upsert[] = "      idColumns: [id]\n";
    Source source;
    Process process;
    open_events(&source, "", upsert);
    for (int v = 1; v <= 3; v++)
        for (int64_t id = 1; id <= 30; id++)
            say_row(&source, id, v);
    for (int64_t id = 21; id <= 30; id++)
        say(&source, id, NULL);
    await(source.producer, source.flights);
    start_events(&process, &source);
    expect(&source, 20, 210, 60);
    process_stop(&process);
    configure(&source, ", replay: {id: one, from: Earliest}", upsert);
    start_events(&process, &source);
    Figures figures = {0};
    for (int64_t until_us = clock_mono_us() + SOON_US; figures.rows < 100;) { /* all, again */
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
        supervised_figures(process.flow, &figures);
    }
    process_stop(&process);
    expect(&source, 20, 210, 60);
    source_close(&source);
}

/* Of the unit that is run, as /metrics says it: what another test left stands there, too. */
static double lag_records(void)
{
    Bytes text = {0};
    double all = 0;
    metrics_write(&text);
    bytes_put_u8(&text, '\0');
    for (char *at = (char *)text.data, *end;
         (at = strstr(at, "\nfirn_ingest_lag_records{")) && (end = strstr(at, "} ")); at = end) {
        *end = '\0';
        if (strstr(at, "unit=\"default/events\""))
            all += strtod(end + 2, NULL);
        *end = '}';
    }
    bytes_done(&text);
    return all;
}

/* What sla.freshness asks for counts where commitInterval is longer; and how old the oldest record
 * is that is not in the table is told. */
static void test_freshness(void **state)
{
    (void)state;
    Source source;
    Process process;
    Figures figures = {0};
    open_events(&source, "", "      idColumns: [id]\n");
    AUTO(mem_free)
    char *text = mem_format(
        "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
        "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json}\n"
        "  sla: {freshness: 20s}\n"
        "  outsourcingUnit: {table: {catalog: {type: Directory, warehouse: %s},\n"
        "    database: public, tableName: t, mode: Append, commitInterval: 1d,\n"
        "    columns: [{name: id, type: long}, {name: v, type: int}]}}\n",
        source.cluster.broker, source.folder);
    parse_events(&source, text);
    start_events(&process, &source);
    int64_t until_us = clock_mono_us() + SOON_US;
    while (figures.phase != PHASE_STREAMING) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
        supervised_figures(process.flow, &figures);
    }
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    while (!figures.freshness_us) { /* it waits for ten seconds */
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
        supervised_figures(process.flow, &figures);
    }
    while (lag_records() != 30) { /* so many wait */
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
    }
    expect(&source, 30, 465, 30);
    until_us = clock_mono_us() + SOON_US;
    while (figures.freshness_us || lag_records() > 0) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
        supervised_figures(process.flow, &figures);
    }
    process_stop(&process);
    source_close(&source);
}

/* A topic that does not tell (the mock cluster's never do) is taken at its word. */
static void test_retention(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_events(&source, "", "      idColumns: [id]\n");
    AUTO(mem_free)
    char *text = mem_format(
        "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
        "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json, retention: 8s}\n"
        "  outsourcingUnit: {table: {catalog: {type: Directory, warehouse: %s},\n"
        "    database: public, tableName: t, mode: Append, commitInterval: 1d,\n"
        "    columns: [{name: id, type: long}, {name: v, type: int}]}}\n",
        source.cluster.broker, source.folder);
    parse_events(&source, text);
    for (int64_t id = 1; id <= 30; id++)
        say_row(&source, id, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30); /* within two seconds, not a day */
    for (int64_t id = 31; id <= 40; id++)
        say_row(&source, id, 1);
    expect(&source, 40, 820, 40);
    process_stop(&process);
    source_close(&source);
}

#define CONNECT_ROW                                                                                \
    "\"optional\":true,\"type\":\"struct\",\"fields\":[{\"type\":\"int64\",\"optional\":false,"    \
    "\"field\":\"id\"},{\"type\":\"boolean\",\"optional\":true,\"field\":\"flag\"}]}"
#define CONNECT_RECORD                                                                             \
    "{\"schema\":{\"type\":\"struct\",\"optional\":false,\"fields\":[{\"field\":"                  \
    "\"before\"," CONNECT_ROW ",{\"field\":\"after\"," CONNECT_ROW                                 \
    ",{\"type\":\"string\",\"optional\":false,\"field\":\"op\"}]},\"payload\":{\"before\":null,"   \
    "\"after\":{\"id\":1,\"flag\":true},\"op\":\"c\"}}"

/* What only the topic can say of the column. */
static void test_ordering_refused(void **state)
{
    (void)state;
    static const struct {
        const char *column, *says;
    } cases[] = {{"flag", "topic " TOPIC " has it as boolean"},
                 {"version", "topic " TOPIC " has no such field"}};
    Source source;
    open_events(&source, "", "      idColumns: [id]\n");
    say(&source, 1, CONNECT_RECORD);
    await(source.producer, source.flights);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_free)
        char *text = mem_format(
            "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
            "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Debezium,\n"
            "          orderingColumn: %s}\n"
            "  outsourcingUnit: {table: {catalog: {type: Directory, warehouse: %s},\n"
            "    database: public, tableName: t, idColumns: [id]}}\n",
            source.cluster.broker, cases[i].column, source.folder);
        parse_events(&source, text);
        ends_with(&source, "OrderingColumn", cases[i].says);
    }
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upsert),    cmocka_unit_test(test_two_clusters),
        cmocka_unit_test(test_append),    cmocka_unit_test(test_latest),
        cmocka_unit_test(test_ordering),  cmocka_unit_test(test_ordering_refused),
        cmocka_unit_test(test_replay),    cmocka_unit_test(test_replay_upsert),
        cmocka_unit_test(test_freshness), cmocka_unit_test(test_retention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
