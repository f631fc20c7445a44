/* links: firn_ingest */
/* A table goes on from elsewhere, as a person asks: other offsets, an older snapshot. Once for an
 * id, whoever runs; and not at all where the topic has not got what would have to be read. */
#include "tests/unit/ingest/events.h"

#include "common/crash.h"

#define APPEND "      mode: Append\n"
#define UPSERT "      idColumns: [id]\n"

static void configure(Source *source, const char *annotation, const char *mode)
{
    AUTO(mem_free)
    char *text = mem_format(
        "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata:\n  name: events\n%s"
        "spec:\n  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json}\n"
        "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"
        "      database: public\n      tableName: t\n      commitInterval: 200ms\n%s"
        "      columns: [{name: id, type: long}, {name: v, type: int}]\n",
        annotation, source->cluster.broker, source->folder, mode);
    parse_events(source, text);
}

static void ask(Source *source, const char *what, const char *words, const char *mode)
{
    AUTO(mem_free)
    char *annotation = mem_format("  annotations: {firn.dev/%s: \"%s\"}\n", what, words);
    configure(source, annotation, mode);
}

static void open_source(Source *source, const char *mode)
{
    source_open(source);
    assert_int_equal(
        rd_kafka_mock_topic_create(source->cluster.mock, "firn-default-events-control", 1, 1), 0);
    configure(source, "", mode);
}

static void say_rows(Source *source, int64_t from, int64_t to, int v)
{
    for (int64_t id = from; id <= to; id++) {
        AUTO(mem_free) char *value = mem_format("{\"id\": %lld, \"v\": %d}", (long long)id, v);
        say(source, id, value);
    }
    await(source->producer, source->flights);
}

static Figures wait_for(Process *process, const char *id, RequestState state)
{
    Figures figures = {0};
    for (int64_t until_us = clock_mono_us() + SOON_US;;) {
        supervised_figures(process->flow, &figures);
        if (strcmp(figures.request, id) == 0 && figures.request_state == state)
            return figures;
        if (clock_mono_us() > until_us)
            fail_msg("%s is %s, not %s: %s %s", figures.request,
                     request_state_name(figures.request_state), request_state_name(state),
                     figures.refusal, figures.error);
        clock_sleep_us(20000);
    }
}

typedef struct Look {
    Lake *lake;
    IcebergTable *table;
} Look;

static Look look_at(const Source *source)
{
    Error err = {0};
    Look look = {.lake = lake_open(source->manifest->units[0].lake, &err)};
    AUTO(mem_free) char *location = mem_format("%s/public/t", lake_tables(look.lake));
    TableName name = {"public", "t", location};
    assert_true(iceberg_table_load(look.lake->catalog, &name, &look.table, &err) && look.table);
    return look;
}

static void look_done(Look *look)
{
    iceberg_table_free(look->table);
    lake_close(look->lake);
}

static int64_t head_of(const Source *source)
{
    Look look = look_at(source);
    int64_t head = iceberg_current_snapshot(look.table);
    look_done(&look);
    return head;
}

static bool head_stands_on(const Source *source, int64_t snapshot)
{
    Look look = look_at(source);
    bool stands = iceberg_history_holds(look.table, snapshot);
    look_done(&look);
    return stands;
}

static void says(const Source *source, const char *what, const char *id)
{
    Look look = look_at(source);
    AUTO(mem_free) char *key = mem_format("firn.%s.default/events", what);
    const char *text = iceberg_property(look.table, key);
    assert_non_null(text);
    assert_int_equal(strncmp(text, id, strlen(id)), 0);
    assert_int_equal(text[strlen(id)], ' ');
    look_done(&look);
}

/* A snapshot of somebody else's, without a row. */
static int64_t commit_foreign(const Source *source)
{
    Error err = {0};
    Look look = look_at(source);
    IcebergCommit commit = {0};
    AUTO(iceberg_attempt_free)
    IcebergAttempt *attempt = iceberg_attempt_new(look.table, &commit, &err);
    assert_non_null(attempt);
    assert_int_equal(iceberg_attempt_send(attempt, &err), ICEBERG_TAKEN);
    int64_t id = iceberg_attempt_id(attempt);
    look_done(&look);
    return id;
}

/* Append shows each row that is read again; asked while it runs, again by a start, and by another
 * id. */
static void test_positions(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_source(&source, APPEND);
    say_rows(&source, 1, 30, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    supervised_unit_order(process.flow, "Earliest one alice", NULL);
    Figures figures = wait_for(&process, "one", REQUEST_DONE);
    expect(&source, 60, 930, 60);
    assert_non_null(strchr(figures.request_from, '@'));
    assert_non_null(strstr(figures.request_from, "@10/0.0,10/0.0,10/0.0")
                        ? ""
                        : strstr(figures.request_from, "@10,10,10"));
    assert_non_null(strstr(figures.request_to, "@0/1.0,0/1.0,0/1.0"));
    supervised_unit_order(process.flow, "Earliest one alice", NULL);
    say_rows(&source, 31, 31, 1);
    expect(&source, 61, 961, 61);
    supervised_unit_order(process.flow, "0:5 two", NULL); /* 18, 21, 24, 27, 30 */
    wait_for(&process, "two", REQUEST_DONE);
    expect(&source, 66, 961 + 120, 66);
    process_stop(&process);
    ask(&source, "positions", "0:5 two bob", APPEND);
    start_events(&process, &source);
    wait_for(&process, "two", REQUEST_DONE);
    say_rows(&source, 32, 32, 1);
    expect(&source, 67, 961 + 152, 67);
    says(&source, "positions", "two");
    process_stop(&process);
    source_close(&source);
}

static void refused(Process *process, const char *positions, const char *rollback, const char *id,
                    const char *why)
{
    supervised_unit_order(process->flow, positions, rollback);
    Figures figures = wait_for(process, id, REQUEST_REFUSED);
    if (!strstr(figures.refusal, why))
        fail_msg("'%s' does not say '%s'", figures.refusal, why);
}

static void test_refused(void **state)
{
    (void)state;
    Source source;
    Process process;
    open_source(&source, APPEND);
    start_events(&process, &source);
    expect(&source, 0, 0, 0);
    AUTO(mem_free)
    char *foreign = mem_format("%lld e", (long long)commit_foreign(&source));
    say_rows(&source, 1, 30, 1);
    expect(&source, 30, 465, 30);
    refused(&process, "7:5 a", NULL, "a",
            "RequestRefused: the table knows of 3 partitions, and 7 is none of them");
    refused(&process, "1:500 b", NULL, "b", "ends at offset 10, before 500");
    refused(&process, NULL, "12345 c", "c",
            "SnapshotMissing: table public.t has no snapshot 12345");
    refused(&process, NULL, "1999-01-01T00:00:00Z d", "d", "no snapshot of 1999-01-01T00:00:00Z");
    refused(&process, NULL, foreign, "e", "PositionMissing: snapshot");
    say_rows(&source, 31, 31, 1); /* and it goes on */
    expect(&source, 31, 496, 31);
    process_stop(&process);
    source_close(&source);
}

/* Back to the first snapshot: rows that came since are gone, come again, and each is there once. */
static void roll_back(const char *mode, bool upsert)
{
    Source source;
    Process process;
    char words[64];
    open_source(&source, mode);
    say_rows(&source, 1, 30, 1);
    start_events(&process, &source);
    expect(&source, 30, 465, 30);
    int64_t first = head_of(&source);
    say_rows(&source, 1, 30, 2);
    expect(&source, upsert ? 30 : 60, upsert ? 465 : 930, upsert ? 60 : 90);
    say_rows(&source, 31, 40, 3);
    expect(&source, upsert ? 40 : 70, upsert ? 820 : 1285, upsert ? 90 : 120);
    int64_t last = head_of(&source);
    assert_true(head_stands_on(&source, first));
    snprintf(words, sizeof words, "%lld back carol", (long long)first);
    supervised_unit_order(process.flow, NULL, words);
    Figures figures = wait_for(&process, "back", REQUEST_DONE);
    AUTO(mem_free) char *from = mem_format("%lld@", (long long)last);
    AUTO(mem_free) char *to = mem_format("%lld@10", (long long)first);
    assert_int_equal(strncmp(figures.request_from, from, strlen(from)), 0);
    assert_int_equal(strncmp(figures.request_to, to, strlen(to)), 0);
    expect(&source, upsert ? 40 : 70, upsert ? 820 : 1285, upsert ? 90 : 120);
    says(&source, "rollback", "back");
    assert_true(head_stands_on(&source, first) && !head_stands_on(&source, last));
    process_stop(&process);
    int64_t now = head_of(&source);
    /* whoever starts next does nothing of it */
    ask(&source, "rollback", words, mode);
    start_events(&process, &source);
    wait_for(&process, "back", REQUEST_DONE);
    say_rows(&source, 41, 41, 1);
    expect(&source, upsert ? 41 : 71, upsert ? 861 : 1326, upsert ? 91 : 121);
    assert_true(head_stands_on(&source, now));
    process_stop(&process);
    source_close(&source);
}

static void test_rollback_append(void **state)
{
    (void)state;
    roll_back(APPEND, false);
}

static void test_rollback_upsert(void **state)
{
    (void)state;
    roll_back(UPSERT, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rollback_append), cmocka_unit_test(test_rollback_upsert)};
    setup_quick();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
