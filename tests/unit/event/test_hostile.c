/* links: firn_event */
/* Records that others made, or nobody sane: each is refused with what is wrong, and leaves nothing
 * behind in the batch; what is fine is taken. */
#include "tests/unit/unit.h"

#include "agent/event/event.h"
#include "agent/event/value.h"
#include "common/json/scan.h"
#include "common/mem.h"
#include "common/text.h"

#include <stdio.h>

#define FIELD(name, type) "{\"type\":\"" type "\",\"optional\":true,\"field\":\"" name "\"}"
#define ROW                                                                                        \
    "{\"type\":\"struct\",\"optional\":true,\"field\":\"%s\",\"fields\":[" FIELD(                  \
        "id", "int32") "," FIELD("v", "string") "," FIELD("n", "int64") "," FIELD("d",             \
                                                                                  "double") "]}"

static const char key_schema[] =
    "{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"optional\":false,\"field\":\"id\"}]}";

static EventReader *reader;
static Schema *columns;
static Batch *batch;

static int set_up(void **state)
{
    (void)state;
    char schema[4096], before[1024], after[1024];
    Error err;
    snprintf(before, sizeof before, ROW, "before");
    snprintf(after, sizeof after, ROW, "after");
    snprintf(schema, sizeof schema, "{\"type\":\"struct\",\"fields\":[%s,%s,%s]}", before, after,
             FIELD("op", "string"));
    reader = event_reader_new(
        &(EventOptions){.format = EVENT_JSON, .value_schema = schema, .key_schema = key_schema},
        &err);
    assert_non_null(reader);
    assert_true(event_wanted(reader, NULL, &columns, &err));
    event_reader_target(reader, columns);
    batch = batch_new(columns, 0, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    batch_free(batch);
    schema_free(columns);
    event_reader_free(reader);
    return 0;
}

static bool decode(const char *value, size_t bytes, Event *event, Error *err)
{
    const EventRecord record = {
        .value = (const uint8_t *)value, .value_bytes = bytes, .offset = 9, .partition = 2};
    return event_decode(reader, &record, batch, event, err);
}

static void refused(const char *value, size_t bytes, const char *why)
{
    Event event;
    Error err = {0};
    uint32_t rows = batch->row_count;
    if (decode(value, bytes, &event, &err))
        fail_msg("taken: %.*s", (int)bytes, value);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "BadRecord");
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s': %.*s", err.message, why, (int)bytes, value);
    assert_non_null(strstr(err.message, "partition 2 offset 9"));
    assert_int_equal(batch->row_count, rows);
    for (uint32_t i = 0; i < batch->column_count; i++)
        assert_int_equal(batch->columns[i].rows, rows);
}

static void after_refused(const char *row, const char *why)
{
    char value[8192];
    int bytes = snprintf(value, sizeof value, "{\"before\":null,\"after\":%s,\"op\":\"c\"}", row);
    refused(value, (size_t)bytes, why);
}

static void test_json(void **state)
{
    (void)state;
    Event event;
    Error err;
    static const char fine[] =
        " {\"after\" : {\"n\":1e3,\"id\":1.0,\"more\":[{\"x\":[]},\"\\u12\"],\"v\":\"\\ud83c\\udf28"
        "\\u0000\\n\"}, \"op\":\"u\",\"before\":{\"id\":5}}\n";
    assert_true(decode(fine, sizeof fine - 1, &event, &err));
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(batch->ops[0], ROW_UPDATE);
    assert_int_equal(column_i64(&batch->columns[2], 0), 1000);
    assert_true(column_is_null(&batch->columns[3], 0));
    uint32_t bytes;
    assert_memory_equal(column_bytes(&batch->columns[1], 0, &bytes), "\xf0\x9f\x8c\xa8\0\n", 6);
    assert_int_equal(bytes, 6);

    after_refused("{\"id\":1,\"id\":2}", "field id stands twice");
    after_refused("{\"id\":99999999999}", "does not fit");
    after_refused("{\"id\":1.5}", "no whole number");
    after_refused("{\"id\":1,\"n\":9223372036854775808}", "does not fit");
    after_refused("{\"id\":1,\"n\":123456789012345678901234567890}", "does not fit");
    after_refused("{\"id\":01}", "no number");
    after_refused("{\"id\":1,\"v\":5}", "no text");
    after_refused("{\"id\":1,\"v\":\"\xff\"}", "UTF-8");
    after_refused("{\"id\":1,\"v\":\"\xed\xa0\x80\"}", "UTF-8");
    after_refused("{\"id\":1,\"v\":\"\\ud800\"}", "surrogate");
    after_refused("{\"id\":1,\"v\":\"\\q\"}", "escape");
    after_refused("{\"id\":1,\"v\":\"a\nb\"}", "control byte");
    after_refused("{\"id\":1,\"d\":nan}", "no number");
    after_refused("{\"v\":\"a\"}", "key");
    after_refused("{\"id\":null}", "null");
    after_refused("{\"id\":1,}", "no text");
    after_refused("[1]", "no JSON");
    static const char *const whole[][2] = {
        {"", "no JSON"},
        {"null,", "behind its end"},
        {"{}", "op that is not known"},
        {"{\"op\":\"c\"}", "no row"},
        {"{\"op\":\"x\",\"after\":null}", "not known"},
        {"{\"op\":\"d\",\"before\":null,\"after\":null}", "which"},
        {"{\"op\":\"d\",\"after\":{\"id\":1}}", "has none"},
        {"{\"op\":\"c\",\"after\":{\"id\":1}} x", "behind its end"},
        {"{\"op\":\"c\",\"after\":{\"id\":1}", "no JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        refused(whole[i][0], strlen(whole[i][0]), whole[i][1]);
    for (size_t cut = 1; cut < sizeof fine - 2; cut++) {
        uint32_t rows = batch->row_count;
        assert_false(decode(fine, cut, &event, &err));
        assert_int_equal(batch->row_count, rows);
    }
}

static void test_deep(void **state)
{
    (void)state;
    char deep[4096];
    Event event;
    Error err;
    for (int depth = 60; depth <= 70; depth += 10) {
        size_t used = (size_t)snprintf(deep, sizeof deep, "{\"op\":\"c\",\"more\":");
        memset(deep + used, '[', (size_t)depth);
        memset(deep + used + depth, ']', (size_t)depth);
        used += 2 * (size_t)depth;
        used += (size_t)snprintf(deep + used, sizeof deep - used, ",\"after\":{\"id\":1}}");
        if (depth > SCAN_DEPTH_MAX)
            refused(deep, used, "too deep");
        else
            assert_true(decode(deep, used, &event, &err));
    }
}

/* --- Avro --- */
static const char avro_schema[] =
    "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"a\",\"fields\":["
    "{\"name\":\"before\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Value\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"int\"},"
    "{\"name\":\"v\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"l\",\"type\":[\"null\",{\"type\":\"array\",\"items\":\"long\"}]}]}]},"
    "{\"name\":\"after\",\"type\":[\"null\",\"Value\"]},{\"name\":\"op\",\"type\":\"string\"}]}";

static unsigned fetched;

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    (void)context;
    fetched++;
    if (id == 404)
        return error_set(err, ERROR_DATA, "UnknownSchemaId", "none");
    if (id == 503)
        return error_set(err, ERROR_RETRY, "RegistryAway", "away");
    ret->text =
        mem_strdup(id == 1   ? avro_schema
                   : id == 2 ? "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\","
                               "\"type\":\"A\"}]}"
                   : id == 3 ? "{\"type\":\"record\""
                             : "{\"type\":\"string\"}");
    return true;
}

static void avro_refused(EventReader *avro, Batch *to, const void *value, size_t bytes,
                         const char *code, const char *why)
{
    Event event;
    Error err = {0};
    const EventRecord record = {.value = value, .value_bytes = bytes, .offset = 9, .partition = 2};
    assert_false(event_decode(avro, &record, to, &event, &err));
    assert_string_equal(err.code, code);
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    assert_int_equal(to->row_count, 0);
}

static void test_avro(void **state)
{
    (void)state;
    Error err = {0};
    Event event;
    Schema *wanted;
    EventReader *avro =
        event_reader_new(&(EventOptions){.format = EVENT_AVRO, .fetch = fetch}, &err);
    static const uint8_t head[] = {0, 0, 0, 0, 1};
    const EventRecord first = {.value = head, .value_bytes = sizeof head};
    if (!event_wanted(avro, &first, &wanted, &err))
        fail_msg("%s", err.message);
    event_reader_target(avro, wanted);
    Batch *to = batch_new(wanted, 0, 8);
    avro_refused(avro, to, "{\"a\":1}", 7, "BadRecord", "0x00");
    avro_refused(avro, to, "\0\0\0", 3, "BadRecord", "0x00");
    avro_refused(avro, to, "\0\0\0\1\x94", 5, "UnknownSchemaId", "none");
    avro_refused(avro, to, "\0\0\0\1\xf7", 5, "RegistryAway", "away");
    unsigned before = fetched;
    for (int i = 0; i < 3; i++) {
        avro_refused(avro, to, "\0\0\0\0\2", 5, "BadSchema", "deep");
        avro_refused(avro, to, "\0\0\0\0\3", 5, "BadSchema", "JSON");
        avro_refused(avro, to, "\0\0\0\0\4", 5, "BadSchema", "envelope");
    }
    assert_int_equal(fetched, before + 3); /* what can't be read is asked for once */
    /* before null, after {id 3, v "ab", l [1, -1]}, op c */
    static const uint8_t good[] = {0,   0,   0, 0, 1, 0, 2, 6, 2, 4,
                                   'a', 'b', 2, 3, 4, 2, 1, 0, 2, 'c'};
    const EventRecord record = {.value = good, .value_bytes = sizeof good};
    if (!event_decode(avro, &record, to, &event, &err))
        fail_msg("%s", err.message);
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(column_i32(&to->columns[0], 0), 3);
    assert_int_equal(to->columns[2].offsets[1], 2);
    batch_row_undo(to);
    for (size_t cut = 5; cut < sizeof good; cut++)
        avro_refused(avro, to, good, cut, "BadRecord", "");
    static const uint8_t utf8[] = {0, 0, 0, 0, 1, 0, 2, 6, 2, 4, 0xc0, 0x80, 0, 2, 'c'};
    avro_refused(avro, to, utf8, sizeof utf8, "BadRecord", "UTF-8");
    static const uint8_t branch[] = {0, 0, 0, 0, 1, 4, 2};
    avro_refused(avro, to, branch, sizeof branch, "BadRecord", "cut short");
    static const uint8_t many[] = {0, 0, 0, 0, 1, 0, 2, 6, 0, 2, 0xfe, 0xff, 0xff, 0xff, 0x0f, 2};
    avro_refused(avro, to, many, sizeof many, "BadRecord", "cut short");
    static const uint8_t more[] = {0, 0, 0, 0, 1, 0, 2, 6, 0, 0, 2, 'c', 9};
    avro_refused(avro, to, more, sizeof more, "BadRecord", "behind its end");
    batch_free(to);
    schema_free(wanted);
    event_reader_free(avro);
}

static void test_header(void **state)
{
    (void)state;
    Event event;
    Error err;
    static const uint8_t header[23] = {'R'}, other[21] = {'r'};
    for (size_t bytes = 0; bytes <= 22; bytes++) {
        const EventRecord record = {.value = (const uint8_t *)"{}",
                                    .value_bytes = 2,
                                    .header = bytes == 21 ? other : header,
                                    .header_bytes = bytes};
        assert_false(event_decode(reader, &record, batch, &event, &err));
        assert_int_equal(err.kind, ERROR_DATA);
        assert_non_null(strstr(err.message, "has a header `firn` that can't be read"));
    }
}

static void test_values(void **state)
{
    (void)state;
    int64_t micros;
    static const char *const zoned[] = {
        "2024-02-29T12:34:56.123456Z", "2024-02-29T12:34:56.1234560Z",
        "2024-02-29T18:04:56.123456+05:30", "2024-02-29 07:34:56.123456-05"};
    for (size_t i = 0; i < ARRAY_LEN(zoned); i++) {
        assert_true(value_zoned(zoned[i], strlen(zoned[i]), &micros));
        assert_int_equal(micros, 1709210096123456);
    }
    char usual[40], other[48];
    for (int digits = 0; digits <= 6; digits++) { /* the usual form's short way and the long one */
        int bytes = snprintf(usual, sizeof usual, "1969-12-31T23:59:08%s%.*s", digits ? "." : "",
                             digits, "070809");
        int64_t micros_of_other;
        snprintf(other, sizeof other, "%.39s+00:00", usual);
        usual[bytes] = 'Z';
        assert_true(value_zoned(usual, (size_t)bytes + 1, &micros));
        assert_true(value_zoned(other, strlen(other), &micros_of_other));
        assert_int_equal(micros, micros_of_other);
        usual[bytes / 2] = '/'; /* below the digits */
        assert_false(value_zoned(usual, (size_t)bytes + 1, &micros));
        usual[bytes / 2] = ';'; /* above them */
        assert_false(value_zoned(usual, (size_t)bytes + 1, &micros));
    }
    static const char *const none[] = {"",
                                       "2024-02-29",
                                       "2024-02-29T12:34:56.Z",
                                       "2024-02-29T12:34:61Z",
                                       "2024-02-29T12:60:56Z",
                                       "2024-00-29T12:34:56Z",
                                       "2024-02-32T12:34:56Z",
                                       "2024-02-29T1a:34:56Z",
                                       "2024-02-29T12:34:56.1234567Z",
                                       "2024-13-01T00:00:00Z",
                                       "2024-02-29T12:34:56",
                                       "2024-02-29T12:34:56Zx",
                                       "20240-1-01T00:00:00Z"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(value_zoned(none[i], strlen(none[i]), &micros));
    __int128 decimal;
    static const uint8_t wide[17] = {0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    assert_false(value_decimal(wide, sizeof wide, 38, &decimal));
    assert_false(value_decimal(wide, 0, 38, &decimal));
    assert_true(value_decimal((const uint8_t *)"\xff\xff\x85", 3, 3, &decimal));
    assert_int_equal((int64_t)decimal, -123);
    assert_false(value_decimal((const uint8_t *)"\x03\xe8", 2, 3, &decimal));
    assert_true(value_decimal((const uint8_t *)"\x03\xe7", 2, 3, &decimal));
    assert_false(value_decimal((const uint8_t *)"\xfc\x18", 2, 3, &decimal)); /* -1000 */
    assert_true(value_decimal((const uint8_t *)"\xfc\x19", 2, 3, &decimal));
    assert_int_equal((int64_t)decimal, -999);
    double real;
    static const char *const reals[] = {"0.1",
                                        "-0",
                                        "1e22",
                                        "1.7976931348623157e308",
                                        "5e-324",
                                        "9007199254740993",
                                        "123456789012345678901234567890.5"};
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        assert_true(text_real_parse(reals[i], strlen(reals[i]), &real));
        assert_true(real == strtod(reals[i], NULL));
    }
}

/* Nobody said what the columns are: neither the record nor who made the reader. */
static void test_schema_unknown(void **state)
{
    (void)state;
    static const char bare[] = "{\"before\":null,\"after\":{\"id\":1},\"op\":\"c\"}";
    Error err = {0};
    Schema *found = NULL;
    AUTO(event_reader_free)
    EventReader *other = event_reader_new(&(EventOptions){.format = EVENT_JSON}, &err);
    const EventRecord record = {.value = (const uint8_t *)bare,
                                .value_bytes = sizeof bare - 1,
                                .offset = 9,
                                .partition = 2};
    assert_false(event_wanted(other, &record, &found, &err));
    assert_null(found);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "SchemaUnknown");
    assert_non_null(strstr(err.message, "partition 2 offset 9"));
    assert_non_null(strstr(err.message, "schemas.enable=true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_header, set_up, tear_down),
        cmocka_unit_test(test_avro),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_schema_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
