/* links: firn_ingest */
/* Records that can't be read, with deadLetter: whole in its topic, and the flow goes on; none is
 * passed before its letter is durable. */
#include "tests/unit/ingest/source.h"

#include <jansson.h>

#include "agent/kafka/reader.h"
#include "agent/topic/letter.h"

#define BAD 6

typedef struct Bad {
    const char *value;
    size_t bytes;
    const char *says;
} Bad;

static char deep[4096];
static const Bad bad[BAD] = {
    {"{\"after\":{\"id\":1,", 17, ""},
    {"{\"before\":null,\"after\":{\"id\":1,\"v\":\"\xff\"},\"op\":\"c\"}", 0, ""},
    {"{\"before\":null,\"after\":{\"id\":1,\"id\":2,\"v\":1},\"op\":\"c\"}", 0, "twice"},
    {"{\"before\":null,\"after\":{\"id\":1e30,\"v\":1},\"op\":\"c\"}", 0, "id"},
    {"\x00\x00\x00\x00\x01 no JSON", 13, ""},
    {deep, 0, ""}};

static size_t size_of(const Bad *each)
{
    return each->bytes ? each->bytes : strlen(each->value);
}

/* --- what is in the letters' topic --- */
typedef struct Letters {
    size_t count;
    char *keys[64];
    char *reasons[64];
    Bytes values[64];
    int64_t left; /* pieces of the latest */
} Letters;

static bool take_letter(void *context, const KafkaRead *record, Error *err)
{
    Letters *letters = context;
    (void)err;
    if (letters->left) {
        Bytes *value = &letters->values[letters->count - 1];
        bytes_put(value, record->value, record->value_bytes);
        letters->left--;
        return true;
    }
    assert_true(letters->count < 64);
    json_t *json = json_loadb(record->value, record->value_bytes, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "topic")), TOPIC);
    assert_string_equal(json_string_value(json_object_get(json, "code")), "BadRecord");
    letters->left = json_integer_value(json_object_get(json, "pieces"));
    letters->keys[letters->count] = mem_strndup(record->key, record->key_bytes);
    letters->reasons[letters->count++] =
        mem_strdup(json_string_value(json_object_get(json, "reason")));
    json_decref(json);
    return true;
}

static Letters read_letters(const Source *source)
{
    Error err = {0};
    Letters letters = {0};
    const KafkaClientOptions client = {.client_id = "test", .field = "spec.kafka"};
    if (!kafka_topic_read(&source->cluster.stream.kafka, &client, LETTERS, 0, SOON_MS, take_letter,
                          &letters, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_int_equal(letters.left, 0);
    return letters;
}

static void letters_done(Letters *letters)
{
    for (size_t i = 0; i < letters->count; i++) {
        free(letters->keys[i]);
        free(letters->reasons[i]);
        bytes_done(&letters->values[i]);
    }
}

/* Each of them is there: in partition 1 from that offset on. */
static void expect_letters(const Source *source, uint64_t offset, bool once)
{
    Letters letters = read_letters(source);
    for (size_t i = 0; i < BAD; i++) {
        AUTO(mem_free) char *key = mem_format("%s/1@%zu", TOPIC, (size_t)offset + i);
        size_t found = 0;
        for (size_t k = 0; k < letters.count; k++) {
            if (strcmp(letters.keys[k], key) != 0)
                continue;
            found++;
            assert_int_equal(letters.values[k].used, size_of(&bad[i]));
            assert_memory_equal(letters.values[k].data, bad[i].value, size_of(&bad[i]));
            if (!strstr(letters.reasons[k], bad[i].says))
                fail_msg("'%s' does not say '%s'", letters.reasons[k], bad[i].says);
        }
        if (once ? found != 1 : !found)
            fail_msg("%zu letters of %s", found, key);
    }
    letters_done(&letters);
}

static void rows(Source *source, int64_t from, int64_t to)
{
    for (int64_t id = from; id <= to; id++)
        put(source, ROW_INSERT, id, 1);
    flush(source);
}

/* How much is in partition 1. */
static uint64_t end_of(const Source *source)
{
    int64_t low = -1, high = -1;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", source->cluster.broker, NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_int_equal(rd_kafka_query_watermark_offsets(rk, TOPIC, 1, &low, &high, SOON_MS), 0);
    rd_kafka_destroy(rk);
    return (uint64_t)high;
}

static void send_bad(Source *source)
{
    for (size_t i = 0; i < BAD; i++)
        send_raw(source, 1, bad[i].value, size_of(&bad[i]), NULL, 0);
}

static void test_goes_on(void **state)
{
    (void)state;
    Source source;
    Process process;
    unit_extra = "  deadLetter: {topic: " LETTERS "}\n";
    source_open(&source);
    rows(&source, 1, 30);
    uint64_t offset = end_of(&source);
    send_bad(&source);
    rows(&source, 31, 60);
    process_start(&process, &source);
    expect(&source, 60, 1830, 60);
    process_stop(&process);
    expect_letters(&source, offset, true);
    process_start(&process, &source); /* they are passed */
    rows(&source, 61, 61);
    expect(&source, 61, 1891, 61);
    process_stop(&process);
    expect_letters(&source, offset, true);
    source_close(&source);
}

/* The flow waits for the letters, and begins again. */
static bool is_held_up(const Process *process)
{
    Figures figures;
    supervised_figures(process->flow, &figures);
    return strstr(figures.error, "does not acknowledge dead letters") != NULL;
}

/* Kafka takes no letter: the table does not get past its record, not even when told to stop. */
static void test_durable_first(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    static rd_kafka_resp_err_t errors[MANY];
    Source source;
    Process process;
    Sums sums = {0};
    for (size_t i = 0; i < MANY; i++)
        errors[i] = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    unit_extra = "  deadLetter: {topic: " LETTERS "}\n";
    source_open(&source);
    uint64_t offset = end_of(&source);
    send_bad(&source);
    rows(&source, 1, 60);
    rd_kafka_mock_push_request_errors_array(source.cluster.mock, API_PRODUCE, MANY, errors);
    process_start(&process, &source);
    for (int64_t until_us = clock_mono_us() + SOON_US; !is_held_up(&process);) {
        if (clock_mono_us() > until_us)
            fail_msg("the flow goes on without its letters");
        clock_sleep_us(20000);
    }
    process_stop(&process);
    assert_true(!read_sums(&source, &sums) || sums.rows < 60);
    rd_kafka_mock_clear_request_errors(source.cluster.mock, API_PRODUCE);
    process_start(&process, &source);
    expect(&source, 60, 1830, 60);
    process_stop(&process);
    expect_letters(&source, offset, false);
    source_close(&source);
}

/* Without deadLetter the first of them ends it. */
static void test_undeclared(void **state)
{
    (void)state;
    Source source;
    Process process;
    unit_extra = "";
    source_open(&source);
    rows(&source, 1, 30);
    send_bad(&source);
    process_start(&process, &source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, "BadRecord");
    assert_non_null(strstr(process.err.message, "partition 1 offset "));
    supervised_free(process.flow);
    Letters letters = read_letters(&source);
    assert_int_equal(letters.count, 0);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    setenv("FIRN_SETTLE_MS", "1500", 1);
    memset(deep, '[', sizeof deep - 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on),
                                       cmocka_unit_test(test_durable_first),
                                       cmocka_unit_test(test_undeclared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
