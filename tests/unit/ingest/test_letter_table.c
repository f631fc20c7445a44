/* links: firn_ingest */
/* Records that can't be read, with a table for dead letters: each is a row there, whole, once. */
#include "tests/unit/ingest/events.h"

#include "agent/topic/letter.h"

#define DEAD_TOPIC "firn-default-events-letters"
#define BAD 5

static const char *const bad[BAD] = {"{\"id\": 1, \"v\": ", "{\"id\": \"x\"}",
                                     "{\"id\": 1, \"id\": 2}", "{\"id\": 1, \"v\": 1} 2",
                                     "\xff\xfe"};

static void configure(Source *source)
{
    char text[2048];
    snprintf(
        text, sizeof text,
        "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: events}\nspec:\n"
        "  kafka: {topic: " TOPIC ", brokers: \"%s\", incomingData: Json}\n"
        "  deadLetter: {lakeTableRef: {name: dead}}\n"
        "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"
        "      database: public\n      tableName: t\n      commitInterval: 300ms\n"
        "      idColumns: [id]\n      columns: [{name: id, type: long}, {name: v, type: int}]\n"
        "---\napiVersion: firn.dev/v1alpha1\nkind: LakeTable\nmetadata: {name: dead}\nspec:\n"
        "  catalog: {type: Directory, warehouse: %s}\n  database: public\n"
        "  tableName: dead\n  commitInterval: 300ms\n",
        source->cluster.broker, source->folder, source->folder);
    parse_events(source, text);
}

static void open_events(Source *source)
{
    static const char *const topics[] = {"firn-default-events-control",
                                         "firn-default-events_dead-control", DEAD_TOPIC};
    unit_extra = "";
    source_open(source);
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        assert_int_equal(rd_kafka_mock_topic_create(source->cluster.mock, topics[i], 1, 1), 0);
    configure(source);
}

static void rows(Source *source, int64_t from, int64_t to)
{
    for (int64_t id = from; id <= to; id++) {
        AUTO(mem_free) char *value = mem_format("{\"id\": %lld, \"v\": 1}", (long long)id);
        say(source, id, value);
    }
    await(source->producer, source->flights);
}

/* With a key, unless it is the last of them, and a header of its writer's. */
static void send_bad(Source *source, KafkaTopic *topic, size_t number, const char *header,
                     const char *text)
{
    Error err = {0};
    Bytes held = {0};
    size_t bytes = strlen(bad[number]);
    bytes_put(&held, bad[number], bytes);
    bytes_put(&held, "key", 3);
    bytes_put(&held, text, strlen(text));
    const KafkaRecord record = {
        .topic = topic,
        .value = held.data,
        .value_bytes = (uint32_t)bytes,
        .key = number + 1 < BAD ? held.data + bytes : NULL,
        .key_bytes = number + 1 < BAD ? 3 : 0,
        .headers = {{header, held.data + bytes + 3, (uint32_t)strlen(text)}}};
    if (kafka_producer_send(source->producer, &held, &record, 1, SOON_MS, &source->flights, &err) !=
        KAFKA_SENT)
        fail_msg("%s: %s", err.code, err.message);
    await(source->producer, source->flights);
}

/* --- what is in their table --- */
typedef struct Seen {
    size_t count, of[BAD];
    bool other;
} Seen;

static bool is_text(const Column *column, uint32_t row, const char *text)
{
    uint32_t bytes;
    const uint8_t *at = column_bytes(column, row, &bytes);
    return bytes == strlen(text) && memcmp(at, text, bytes) == 0;
}

static bool has_header(const Column *list, uint32_t row, const char *name, const char *value)
{
    int32_t from = list->offsets[row];
    return list->offsets[row + 1] == from + 1 &&
           is_text(&list->child->child[0], (uint32_t)from, name) &&
           is_text(&list->child->child[1], (uint32_t)from, value);
}

static void look_at(void *context, const Batch *batch, uint32_t row)
{
    Seen *seen = context;
    const Column *columns = batch->columns;
    seen->count++;
    for (size_t i = 0; i < BAD; i++) {
        if (!is_text(&columns[8], row, bad[i]))
            continue;
        bool keyed = i + 1 < BAD;
        seen->of[i]++;
        seen->other = seen->other || !is_text(&columns[0], row, TOPIC) ||
                      column_i32(&columns[2], row) != 0 || column_is_null(&columns[4], row) ||
                      !is_text(&columns[5], row, "BadRecord") || column_is_null(&columns[6], row) ||
                      column_is_null(&columns[7], row) == keyed ||
                      (keyed && !is_text(&columns[7], row, "key")) ||
                      !has_header(&columns[9], row, "trace", "t-1");
    }
}

static void expect_dead(Source *source)
{
    int64_t until_us = clock_mono_us() + SOON_US;
    Seen seen = {0};
    source->looked_at = "dead";
    source->visit = look_at;
    source->visit_context = &seen;
    for (bool all = false; !all && clock_mono_us() < until_us;) {
        Sums sums;
        clock_sleep_us(50000);
        seen = (Seen){0};
        all = read_sums(source, &sums) && seen.count >= BAD;
        for (size_t i = 0; i < BAD; i++)
            all = all && seen.of[i];
    }
    source->looked_at = NULL;
    source->visit = NULL;
    assert_int_equal(seen.count, BAD);
    for (size_t i = 0; i < BAD; i++)
        assert_int_equal(seen.of[i], 1);
    assert_false(seen.other);
}

/* Whole, each once; after a restart, too, and where others go on beside it. */
static void test_rows(void **state)
{
    (void)state;
    Source source;
    Process process, other;
    Metric *counted = metrics_register(METRIC_COUNTER, "firn_dead_letters_total",
                                       "Records that are among the dead letters",
                                       "table=\"" TOPIC "\",unit=\"default/events\"");
    double before = atomic_load(&counted->value);
    open_events(&source);
    rows(&source, 1, 30);
    for (size_t i = 0; i < BAD; i++)
        send_bad(&source, source.topic, i, "trace", "t-1");
    rows(&source, 31, 60);
    start_events(&process, &source);
    expect(&source, 60, 1830, 60);
    expect_dead(&source);
    assert_true(atomic_load(&counted->value) == before + BAD);
    start_events(&other, &source);
    process_stop(&process);
    rows(&source, 61, 61);
    expect(&source, 61, 1891, 61);
    process_stop(&other);
    expect_dead(&source);
    source_close(&source);
}

/* A letter that was written twice (its record was read again) is there once; what is none is passed
 * over. */
static void test_repeated(void **state)
{
    (void)state;
    Source source;
    Process process;
    Error err = {0};
    open_events(&source);
    KafkaTopic *letters = kafka_producer_topic(source.producer, DEAD_TOPIC, 1 << 20, &err);
    assert_non_null(letters);
    for (size_t i = 0; i < BAD; i++)
        send_bad(&source, source.topic, i, "trace", "t-1");
    start_events(&process, &source);
    expect_dead(&source);
    process_stop(&process);
    Seen seen = {0};
    Sums sums;
    send_bad(&source, letters, 0, "else", "x");
    send_bad(&source, letters, 1, LETTER_HEADER, "{\"topic\": \"t\"}");
    for (int i = 0; i < 2; i++)
        send_bad(&source, letters, 2, LETTER_HEADER,
                 "{\"topic\":\"t\",\"source\":\"s\",\"partition\":1,\"offset\":7,"
                 "\"code\":\"BadRecord\",\"reason\":\"again\"}");
    source.looked_at = "dead";
    source.visit = look_at;
    source.visit_context = &seen;
    start_events(&process, &source);
    for (int64_t until_us = clock_mono_us() + SOON_US; seen.of[2] < 2;) {
        if (clock_mono_us() > until_us)
            fail_msg("the letter is not in its table");
        clock_sleep_us(50000);
        seen = (Seen){0};
        if (!read_sums(&source, &sums))
            seen = (Seen){0};
    }
    process_stop(&process);
    seen = (Seen){0};
    assert_true(read_sums(&source, &sums));
    assert_int_equal(seen.count, BAD + 1);
    source.visit = NULL;
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_repeated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
