/* links: firn_event */
/* Debezium's envelope in JSON without its schema: the columns are declared, and what the connector
 * was told says what their values are. */
#include "tests/unit/unit.h"

#include "agent/event/event.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"

#define ENVELOPE(before, after, op)                                                                \
    "{\"before\":" before ",\"after\":" after                                                      \
    ",\"source\":{\"connector\":\"postgresql\",\"ts_ms\":1700000000123},\"op\":\"" op              \
    "\",\"ts_ms\":1700000000456,\"transaction\":null}"

static const char *const types[] = {"long",      "string", "decimal(12,2)", "date",   "time",
                                    "timestamp", "binary", "timestamptz",   "double", "uuid"};
static const char *const names[] = {"id", "s", "n", "day", "t", "l", "x", "z", "d", "u"};
enum { ID, S, N, DAY, T, L, X, Z, D, U, COLUMNS };

static EventReader *reader;
static Schema *columns;
static Batch *batch;

static Schema *declare(size_t key_count)
{
    Error err = {0};
    Schema *declared = schema_new(COLUMNS, key_count);
    for (size_t i = 0; i < COLUMNS; i++) {
        declared->fields[i].name = mem_strdup(names[i]);
        assert_true(type_parse(types[i], &declared->fields[i].type, &err));
    }
    for (uint32_t i = 0; i < key_count; i++)
        declared->key[i] = i;
    return declared;
}

static void begin(const RecordsSpec *records, size_t key_count)
{
    Error err = {0};
    AUTO(schema_free) Schema *declared = declare(key_count);
    reader = event_reader_new(
        &(EventOptions){.format = EVENT_JSON, .columns = declared, .records = records}, &err);
    if (!reader)
        fail_msg("%s", err.message);
    assert_true(event_wanted(reader, NULL, &columns, &err));
    assert_int_equal(columns->field_count, COLUMNS);
    assert_int_equal(columns->key_count, key_count);
    for (size_t i = 0; i < COLUMNS; i++) {
        assert_string_equal(columns->fields[i].name, names[i]);
        assert_true(type_equal(&columns->fields[i].type, &declared->fields[i].type));
        assert_true(columns->fields[i].required == (i < key_count));
    }
    event_reader_target(reader, columns);
    batch = batch_new(columns, 0, 64);
}

static void end(void)
{
    batch_free(batch);
    schema_free(columns);
    event_reader_free(reader);
}

static bool decode_with(const char *key, const char *value, const char *header, Event *event,
                        Error *err)
{
    const EventRecord record = {.key = (const uint8_t *)key,
                                .key_bytes = key ? strlen(key) : 0,
                                .value = (const uint8_t *)value,
                                .value_bytes = value ? strlen(value) : 0,
                                .header = (const uint8_t *)header,
                                .header_bytes = header ? 23 : 0,
                                .offset = 9,
                                .partition = 2};
    return event_decode(reader, &record, batch, event, err);
}

static void take(const char *key, const char *value, RowOp op)
{
    Event event;
    Error err = {0};
    if (!decode_with(key, value, NULL, &event, &err))
        fail_msg("%s: %s", value, err.message);
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(batch->ops[batch->row_count - 1], op);
}

static void refuse(const char *key, const char *value, const char *code, const char *why)
{
    Event event;
    Error err = {0};
    uint32_t rows = batch->row_count;
    if (decode_with(key, value, NULL, &event, &err))
        fail_msg("%s was taken", value);
    assert_string_equal(err.code, code);
    if (!strstr(err.message, why))
        fail_msg("%s: %s\nnot %s", value, err.message, why);
    assert_int_equal(batch->row_count, rows);
    for (size_t i = 0; i < COLUMNS; i++)
        assert_int_equal(batch->columns[i].rows, rows);
}

static const Column *last(int column)
{
    return &batch->columns[column];
}
static int64_t number(int column)
{
    uint32_t row = batch->row_count - 1;
    return last(column)->width == 8 ? column_i64(last(column), row) : column_i32(last(column), row);
}
static __int128 decimal(void)
{
    __int128 value;
    memcpy(&value, (const uint8_t *)last(N)->values + 16 * (size_t)(batch->row_count - 1), 16);
    return value;
}
static void expect_bytes(int column, const char *wanted)
{
    uint32_t bytes;
    const uint8_t *at = column_bytes(last(column), batch->row_count - 1, &bytes);
    assert_int_equal(bytes, strlen(wanted));
    assert_memory_equal(at, wanted, bytes);
}

static char t_name[] = "t", l_name[] = "l";
static char *in_list[] = {t_name, l_name};
#define LIST(name) .name = {in_list, 2}

static void every_type(void **state)
{
    (void)state;
    begin(&(RecordsSpec){LIST(microseconds)}, 1);
    take("{\"id\":7}",
         ENVELOPE("null",
                  "{\"more\":[1,{\"a\":2}],\"id\":7,\"s\":\"a\\u00e9\",\"n\":\"+x4=\",\"day\":-1,"
                  "\"t\":86399000001,\"l\":1700000000123456,\"x\":\"AQI=\","
                  "\"z\":\"1970-01-01T02:00:00.5+01:00\",\"d\":1.0E300,"
                  "\"u\":\"00000000-0000-0000-0000-0000000000ff\"}",
                  "c"),
         ROW_INSERT);
    assert_true(number(ID) == 7 && number(DAY) == -1 && number(T) == INT64_C(86399000001));
    assert_true(number(L) == INT64_C(1700000000123456) && number(Z) == INT64_C(3600500000));
    assert_true(decimal() == -1250); /* fb1e */
    expect_bytes(S, "a\xc3\xa9");
    expect_bytes(X, "\1\2");
    /* what is not there is null; a value that is none of a text is its JSON */
    take("{\"id\":8}", ENVELOPE("null", "{\"id\":8,\"s\":[\"a\", null],\"n\":null}", "r"),
         ROW_READ);
    expect_bytes(S, "[\"a\", null]");
    for (int i = N; i < COLUMNS; i++)
        assert_true(column_is_null(last(i), 1));
    /* of a numeric without a scale each value has its own */
    take("{\"id\":8}", ENVELOPE("null", "{\"id\":8,\"n\":{\"scale\":1,\"value\":\"BNI=\"}}", "u"),
         ROW_UPDATE);
    assert_true(decimal() == 12340);
    take("{\"id\":8}", ENVELOPE("null", "{\"id\":8,\"n\":{\"value\":\"/w==\",\"scale\":0}}", "u"),
         ROW_UPDATE);
    assert_true(decimal() == -100);
    take("{\"id\":8}", ENVELOPE("{\"id\":8,\"s\":null,\"t\":null}", "null", "d"), ROW_DELETE);
    assert_true(number(ID) == 8 && column_is_null(last(S), batch->row_count - 1));
    end();
}

static void modes(void **state)
{
    (void)state;
    static const struct {
        RecordsSpec records;
        const char *member;
        int column;
        int64_t wanted;
    } cases[] = {
        {{LIST(milliseconds)}, "\"t\":1001", T, 1001000},
        {{LIST(milliseconds)}, "\"l\":1700000000123", L, INT64_C(1700000000123000)},
        {{LIST(nanoseconds)}, "\"t\":5000", T, 5},
        {{LIST(nanoseconds)}, "\"l\":1700000000123456000", L, INT64_C(1700000000123456)},
        {{.time = RECORD_TIME_CONNECT}, "\"t\":1001", T, 1001000},
        {{.time = RECORD_TIME_CONNECT}, "\"l\":-1", L, -1000},
        {{.time = RECORD_TIME_CONNECT}, "\"day\":20000", DAY, 20000},
        {{.time = RECORD_TIME_MICROSECONDS}, "\"t\":1001", T, 1001},
        {{.time = RECORD_TIME_MICROSECONDS}, "\"l\":1001", L, 1001},
        {{.time = RECORD_TIME_NANOSECONDS}, "\"t\":1001000", T, 1001},
        {{.time = RECORD_TIME_NANOSECONDS}, "\"l\":1001000", L, 1001},
        /* a time of a day is in microseconds whatever stands in a list */
        {{.time = RECORD_TIME_ADAPTIVE_MICROSECONDS, LIST(milliseconds)}, "\"t\":1001", T, 1001},
        {{.time = RECORD_TIME_ADAPTIVE_MICROSECONDS, LIST(milliseconds)}, "\"l\":1001", L, 1001000},
        {{LIST(milliseconds), .decimal = RECORD_DECIMAL_STRING}, "\"n\":\"-12.5\"", N, -1250},
        {{LIST(milliseconds), .decimal = RECORD_DECIMAL_DOUBLE}, "\"n\":-12.5", N, -1250},
        {{LIST(milliseconds), .decimal = RECORD_DECIMAL_DOUBLE}, "\"n\":1.25E9", N, 125000000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(&cases[i].records, 1);
        AUTO(mem_free)
        char *value =
            mem_format("{\"before\":null,\"after\":{\"id\":1,%s},\"op\":\"c\"}", cases[i].member);
        take("{\"id\":1}", value, ROW_INSERT);
        int64_t is = cases[i].column == N ? (int64_t)decimal() : number(cases[i].column);
        if (is != cases[i].wanted)
            fail_msg("%zu: %s is %lld", i, cases[i].member, (long long)is);
        end();
    }
}

static void bytes_of_each_mode(void **state)
{
    (void)state;
    static const struct {
        RecordBinary mode;
        const char *text;
    } cases[] = {{RECORD_BINARY_BYTES, "+v8="},
                 {RECORD_BINARY_BASE64, "+v8="},
                 {RECORD_BINARY_BASE64_URL, "-v8="},
                 {RECORD_BINARY_HEX, "faff"},
                 {RECORD_BINARY_HEX, "FAff"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(&(RecordsSpec){LIST(milliseconds), .binary = cases[i].mode}, 1);
        AUTO(mem_free)
        char *value = mem_format("{\"after\":{\"id\":1,\"x\":\"%s\"},\"op\":\"c\"}", cases[i].text);
        take("{\"id\":1}", value, ROW_INSERT);
        expect_bytes(X, "\xfa\xff");
        end();
    }
}

#define ROW(member) "{\"after\":{\"id\":1," member "},\"op\":\"c\"}"

static void refused(void **state)
{
    (void)state;
    static const struct {
        RecordsSpec records;
        const char *value, *why;
    } cases[] = {
        {{LIST(milliseconds)}, ROW("\"n\":\"zz z\""), "field n is no base64"},
        {{LIST(milliseconds)}, ROW("\"n\":12.5"), "field n"},
        {{LIST(milliseconds)}, ROW("\"n\":\"fwAAAAAA\""), "more digits"},
        {{LIST(milliseconds)}, ROW("\"n\":{\"scale\":3,\"value\":\"AQ==\"}"), "more digits"},
        {{LIST(milliseconds)}, ROW("\"n\":{\"scale\":30000,\"value\":\"AQ==\"}"), "no decimal"},
        {{LIST(milliseconds)}, ROW("\"n\":{\"scale\":-30000,\"value\":\"AQ==\"}"), "no decimal"},
        {{LIST(milliseconds)}, ROW("\"n\":{\"value\":\"AQ==\"}"), "no decimal"},
        {{LIST(milliseconds)}, "{\"after\":{\"id\":1,\"n\":{\"scale\":1", "field n"},
        {{LIST(milliseconds)}, ROW("\"l\":\"2026-11-22T00:00:00\""), "field l"},
        {{LIST(milliseconds)}, ROW("\"l\":9223372036854775807"), "field l does not fit"},
        {{LIST(nanoseconds)}, ROW("\"l\":1"), "finer than a microsecond"},
        {{LIST(milliseconds)}, ROW("\"t\":86400000"), "field t is no time of a day"},
        {{LIST(microseconds)}, ROW("\"t\":-1"), "field t is no time of a day"},
        {{LIST(milliseconds)}, ROW("\"z\":1700000000123"), "field z"},
        {{LIST(milliseconds)}, ROW("\"day\":\"2026-11-22\""), "field day"},
        {{LIST(milliseconds)}, ROW("\"s\":\"a\",\"s\":\"b\""), "twice"},
        {{LIST(milliseconds), .decimal = RECORD_DECIMAL_STRING}, ROW("\"n\":\"1.005\""), "field n"},
        {{LIST(milliseconds), .decimal = RECORD_DECIMAL_STRING}, ROW("\"n\":\"NAN\""), "field n"},
        {{LIST(milliseconds), .binary = RECORD_BINARY_HEX}, ROW("\"x\":\"abc\""), "hexadecimal"},
        {{LIST(milliseconds), .binary = RECORD_BINARY_HEX}, ROW("\"x\":\"ag\""), "hexadecimal"},
        {{LIST(milliseconds)}, "{\"id\":1}", "op"},
        {{LIST(milliseconds)},
         "{\"after\":{\"s\":\"a\"},\"op\":\"c\"}",
         "lacks a column of the key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(&cases[i].records, 1);
        refuse("{\"id\":1}", cases[i].value, "BadRecord", cases[i].why);
        take("{\"id\":1}", ROW("\"s\":\"after it\""), ROW_INSERT);
        end();
    }
}

static void units_that_nobody_says(void **state)
{
    (void)state;
    static const RecordTime open[] = {RECORD_TIME_ADAPTIVE, RECORD_TIME_ADAPTIVE_MICROSECONDS};
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        Error err = {0};
        const RecordsSpec records = {.time = open[i]};
        AUTO(schema_free) Schema *declared = declare(0);
        EventReader *none = event_reader_new(
            &(EventOptions){.format = EVENT_JSON, .columns = declared, .records = &records}, &err);
        assert_null(none);
        assert_string_equal(err.code, "BadSchema");
        assert_non_null(strstr(err.message, i ? "column l" : "column t"));
    }
}

/* Rows of a key are in order only where the records have just that key. */
static void keys(void **state)
{
    (void)state;
    static const char row[] = ENVELOPE("null", "{\"id\":1,\"s\":\"a\"}", "c");
    static const char *const same[] = {
        "{\"id\":1,\"s\":\"a\"}", " { \"s\" : \"a\" , \"id\" : 1 } ",
        "{\"schema\":{\"type\":\"struct\"},\"payload\":{\"id\":1,\"s\":\"a\"}}",
        "{\"schema\":null,\"payload\":{\"i\\u0064\":1,\"s\":\"a\"}}"};
    static const char *const others[] = {NULL,
                                         "",
                                         "1",
                                         "Struct{id=1,s=a}",
                                         "{}",
                                         "{\"id\":1}",
                                         "{\"id\":1,\"id\":1}",
                                         "{\"id\":1,\"s\":\"a\",\"d\":1}",
                                         "{\"id\":1,\"s\":\"a\"",
                                         "[\"id\",\"s\"]",
                                         "{\"payload\":{\"id\":1}}"};
    begin(&(RecordsSpec){LIST(milliseconds)}, 2);
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        take(same[i], row, ROW_INSERT);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        refuse(others[i], row, "KeyDiffers", "(id, s)");
    refuse("{\"id\":1}", ENVELOPE("{\"id\":1,\"s\":\"a\"}", "null", "d"), "KeyDiffers", "offset 9");
    /* what is no row has no key */
    Event event;
    Error err = {0};
    assert_true(decode_with(NULL, ENVELOPE("null", "null", "t"), NULL, &event, &err));
    assert_int_equal(event.kind, EVENT_TRUNCATE);
    assert_true(decode_with("{\"id\":1}", NULL, NULL, &event, &err));
    assert_int_equal(event.kind, EVENT_NOTHING);
    end();
    begin(&(RecordsSpec){LIST(milliseconds)}, 0); /* nor does Append ask for one */
    take(NULL, row, ROW_INSERT);
    end();
}

static void records_with_a_schema(void **state)
{
    (void)state;
    begin(&(RecordsSpec){LIST(milliseconds)}, 1);
    take("{\"id\":1}", "{\"schema\":{\"type\":\"any\"},\"payload\":" ROW("\"t\":1") "}",
         ROW_INSERT);
    assert_true(number(T) == 1000);
    take("{\"id\":1}", "{\"schema\":null,\"payload\":" ROW("\"t\":2") "}", ROW_INSERT);
    assert_true(number(T) == 2000);
    refuse("{\"id\":1}", "{\"schema\":null,\"payload\":" ROW("\"t\":2"), "BadRecord", "payload");
    end();
}

/* A large value that an update left out is known by its placeholder, whatever the column was; a
 * header of ours counts columns that these are not. */
static void left_out(void **state)
{
    (void)state;
    static const char text[] = "\"__debezium_unavailable_value\"",
                      base64[] = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
    static const char header[23] = {'R', [20] = 1, [22] = 1};
    Event event;
    Error err = {0};
    for (int with_header = 0; with_header < 2; with_header++) {
        begin(&(RecordsSpec){LIST(milliseconds)}, 1);
        AUTO(mem_free)
        char *value =
            mem_format("{\"before\":null,\"after\":{\"id\":1,\"s\":%s,\"x\":%s,\"n\":null},"
                       "\"op\":\"u\"}",
                       text, base64);
        assert_true(decode_with("{\"id\":1}", value, with_header ? header : NULL, &event, &err));
        assert_true(column_is_unchanged(last(S), 0) && column_is_unchanged(last(X), 0));
        assert_false(column_is_unchanged(last(N), 0) || column_is_unchanged(last(ID), 0));
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(modes),
        cmocka_unit_test(bytes_of_each_mode),
        cmocka_unit_test(refused),
        cmocka_unit_test(units_that_nobody_says),
        cmocka_unit_test(keys),
        cmocka_unit_test(records_with_a_schema),
        cmocka_unit_test(left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
