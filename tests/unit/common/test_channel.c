/* links: firn_common */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/channel/channel.h"

static ChannelWord taken(const Bytes *message)
{
    ChannelWord word;
    Error err = {0};
    if (!channel_take(message->data, message->used, &word, &err))
        fail_msg("%s: %.*s", err.message, (int)message->used, (const char *)message->data);
    return word;
}

static void words_come_back(void **state)
{
    (void)state;
    Bytes message = {0};
    channel_put_hello(&message, "to\"ken", "0.1.0");
    ChannelWord word = taken(&message);
    assert_int_equal(word.kind, CHANNEL_HELLO);
    assert_int_equal(word.version, CHANNEL_VERSION);
    assert_string_equal(word.token, "to\"ken");
    assert_string_equal(word.agent, "0.1.0");
    channel_word_done(&word);
    bytes_clear(&message);
    channel_put_welcome(&message);
    word = taken(&message);
    assert_int_equal(word.kind, CHANNEL_WELCOME);
    channel_word_done(&word);
    bytes_done(&message);
}

static void a_report_comes_back(void **state)
{
    (void)state;
    ChannelTable table;
    channel_table_clear(&table);
    table.unit = (char *)(uintptr_t) "orders";
    table.table = (char *)(uintptr_t) "public.\"or\\ders\"";
    table.rows = 0;
    table.to_copy = INT64_C(9000000000);
    ChannelReport report = {.has_flow = true, .tables = &table, .table_count = 1, .whole = true};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase, "Retrying");
    snprintf(report.flow.reason, sizeof report.flow.reason, "SlotMissing");
    report.flow.error = (char *)(uintptr_t) "the slot \"firn\" is gone";
    report.flow.lag_bytes = 7;
    Bytes message = {0};
    channel_put_report(&message, &report);
    ChannelWord word = taken(&message);
    assert_int_equal(word.kind, CHANNEL_REPORT);
    assert_true(channel_flow_equals(&word.report.flow, &report.flow));
    assert_int_equal(word.report.flow.freshness_ms, CHANNEL_NOT_SAID);
    assert_true(word.report.whole);
    assert_int_equal(word.report.table_count, 1);
    assert_string_equal(word.report.tables[0].table, table.table);
    assert_true(channel_numbers_equal(&word.report.tables[0], &table));
    assert_int_equal(word.report.tables[0].copied, CHANNEL_NOT_SAID);
    channel_word_done(&word);
    bytes_done(&message);
}

/* What a source says may be anything, and longer than the limit; a character is not cut in two. */
static void texts_are_mended(void **state)
{
    (void)state;
    ChannelReport report = {.has_flow = true};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase, "Retrying");
    Bytes text = {0}, message = {0};
    bytes_put_u8(&text, 'x');
    for (int i = 0; i < 400; i++)
        bytes_put(&text, "\xc3\xa4", 2);
    bytes_put_u8(&text, '\0');
    report.flow.error = (char *)text.data;
    channel_put_report(&message, &report);
    ChannelWord word = taken(&message);
    assert_int_equal(strlen(word.report.flow.error), 511);
    assert_memory_equal(word.report.flow.error, text.data, 511);
    channel_word_done(&word);
    report.flow.error = (char *)(uintptr_t) "\xff\xfe";
    bytes_clear(&message);
    channel_put_report(&message, &report);
    word = taken(&message);
    assert_string_equal(word.report.flow.error, "(not readable)");
    channel_word_done(&word);
    bytes_done(&text);
    bytes_done(&message);
}

static void odd_words_are_refused(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "",
        "{",
        "[]",
        "{\"hello\":{\"version\":1}}",
        "{\"hello\":{\"version\":0,\"token\":\"a\"}}",
        "{\"hello\":{\"version\":1,\"token\":\"a\\u0000b\"}}",
        "{\"welcome\":{}}",
        "{\"report\":1}",
        "{\"report\":{\"flow\":{\"phase\":\"\"}}}",
        "{\"report\":{\"flow\":{\"phase\":\"a phase that is too long\"}}}",
        "{\"report\":{\"tables\":[{\"unit\":\"a\"}]}}",
        "{\"report\":{\"tables\":[1]}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\",}}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\"}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\"}}}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\",\"error\":\"\xc3\"}}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\",\"error\":\"a\nb\"}}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\",\"error\":\"\\ud800\"}}}",
        "{\"report\":{\"flow\":{\"phase\":\"Paused\"},\"flow\":{}}}",
        "{\"welcome\":{\"version\":1},\"report\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        ChannelWord word;
        Error err = {0};
        if (channel_take(odd[i], strlen(odd[i]), &word, &err))
            fail_msg("%s", odd[i]);
        assert_int_equal(err.kind, ERROR_DATA);
        assert_string_equal(err.code, "BadWord");
    }
    Bytes many = {0};
    bytes_put(&many, "{\"report\":{\"tables\":[", 21);
    for (int i = 0; i <= CHANNEL_TABLES_MAX; i++)
        bytes_put(&many, ",{\"unit\":\"\",\"table\":\"a\"}" + !i, 24 - !i);
    bytes_put(&many, "]}}", 3);
    ChannelWord word;
    Error err = {0};
    assert_false(channel_take(many.data, many.used, &word, &err));
    assert_non_null(strstr(err.message, "too many tables"));
    bytes_done(&many);
}

/* The reader is our own: what another writer may do, it understands. */
static void another_hand(void **state)
{
    (void)state;
    static const char text[] =
        " {\"re\\u0070ort\" : {\"mood\": [{\"a\": [\"]}\"]}, null], \"tables\":\n"
        "[{\"table\": \"a.\\ud83d\\ude00\\/b\", \"rows\": 1, \"rows\": 9223372036854775807,\n"
        " \"unit\": \"old\", \"unit\": \"u\"}, {\"unit\":\"\",\"table\":\"t\","
        "\"rows\":9223372036854775808}, {\"unit\":\"v\",\"table\":\"t\"}], \"whole\": true,\n"
        "\"flow\": {\"error\": \"first\", \"phase\": \"Paused\"},\n"
        "\"flow\": {\"lag\": 01, \"phase\": \"Stre\\u0061ming\", \"reason\": 7,\n"
        "\"request\": \"a\\u0000b\", \"confirmed\": 12}}}\r\n";
    Bytes message = {0};
    bytes_put(&message, text, sizeof text - 1);
    ChannelWord word = taken(&message);
    assert_int_equal(word.kind, CHANNEL_REPORT);
    assert_true(word.report.whole && word.report.has_flow);
    assert_string_equal(word.report.flow.phase, "Streaming");
    assert_string_equal(word.report.flow.reason, "");
    assert_string_equal(word.report.flow.request, "");
    assert_null(word.report.flow.error); /* the last one counts */
    assert_int_equal(word.report.flow.lag_bytes, CHANNEL_NOT_SAID);
    assert_int_equal(word.report.flow.confirmed, 12);
    assert_int_equal(word.report.table_count, 3);
    assert_string_equal(word.report.tables[0].unit, "u");
    assert_string_equal(word.report.tables[0].table, "a.\xf0\x9f\x98\x80/b");
    assert_int_equal(word.report.tables[0].rows, INT64_MAX);
    assert_int_equal(word.report.tables[1].rows, CHANNEL_NOT_SAID);
    assert_string_equal(word.report.tables[2].unit, "v");
    channel_word_done(&word);
    bytes_done(&message);
}

/* Wherever a message is cut off, and whichever byte is another one, it is a word or is refused. */
static void no_byte_is_trusted(void **state)
{
    (void)state;
    static const uint8_t others[] = {0, '"', '\\', '{', '}', '[', ']', ',', ':', '9', 0xff};
    static const char text[] =
        "{\"report\":{\"flow\":{\"phase\":\"Paused\",\"error\":\"\\u00e4\",\"lag\":12},\"tables\":["
        "{\"unit\":\"u\",\"table\":\"t\",\"rows\":1},{\"unit\":\"\",\"table\":\"s\"}],\"whole\":"
        "true}}";
    size_t refused = 0;
    for (size_t at = 0; at < sizeof text - 1; at++) {
        ChannelWord word;
        Error err;
        /* of just its size, so that what is read behind it is found */
        uint8_t *message = memcpy(mem_alloc(at + 1), text, at + 1);
        bool whole = at + 1 == sizeof text - 1;
        assert_int_equal(channel_take(message, at + 1, &word, &err), whole);
        if (whole)
            channel_word_done(&word);
        free(message);
        message = memcpy(mem_alloc(sizeof text - 1), text, sizeof text - 1);
        for (size_t i = 0; i < sizeof others; i++) {
            message[at] = others[i];
            bool good = channel_take(message, sizeof text - 1, &word, &err);
            refused += !good;
            if (good)
                channel_word_done(&word);
            else
                assert_string_equal(err.code, "BadWord");
        }
        free(message);
    }
    assert_in_range(refused, sizeof text, sizeof text * sizeof others - 1);
}

/* Numbers that can't be are as if they were not said; what is newer is left out. */
static void what_is_not_known(void **state)
{
    (void)state;
    static const char text[] = "{\"report\":{\"flow\":{\"phase\":\"Dreaming\",\"lag\":-1,"
                               "\"freshness\":1.5,\"restarts\":\"2\","
                               "\"received\":3,\"dream\":{}},\"mood\":[]}}";
    Bytes message = {0};
    bytes_put(&message, text, sizeof text - 1);
    ChannelWord word = taken(&message);
    assert_string_equal(word.report.flow.phase, "Dreaming");
    assert_int_equal(word.report.flow.lag_bytes, CHANNEL_NOT_SAID);
    assert_int_equal(word.report.flow.freshness_ms, CHANNEL_NOT_SAID);
    assert_int_equal(word.report.flow.restarts, CHANNEL_NOT_SAID);
    assert_int_equal(word.report.flow.received, 3);
    channel_word_done(&word);
    bytes_clear(&message);
    bytes_put(&message, "{\"ode\":1}", 9);
    word = taken(&message);
    assert_int_equal(word.kind, CHANNEL_OTHER);
    channel_word_done(&word);
    bytes_done(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_come_back),   cmocka_unit_test(a_report_comes_back),
        cmocka_unit_test(texts_are_mended),  cmocka_unit_test(odd_words_are_refused),
        cmocka_unit_test(another_hand),      cmocka_unit_test(no_byte_is_trusted),
        cmocka_unit_test(what_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
