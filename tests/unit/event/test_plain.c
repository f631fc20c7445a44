/* links: firn_event */
/* Plain events: JSON with declared columns of every type, Avro with its schema; what deletes, and
 * what is refused. */
#include "tests/unit/unit.h"

#include "agent/event/event.h"
#include "agent/event/value.h"
#include "common/mem.h"

static const char *const types[] = {"long",   "boolean", "int",          "float",     "double",
                                    "string", "date",    "time",         "timestamp", "timestamptz",
                                    "uuid",   "binary",  "decimal(10,2)"};
static const char *const names[] = {"id", "b", "i", "f", "d", "s", "day",
                                    "t",  "l", "z", "u", "x", "n"};
enum { ID, B, I, F, D, S, DAY, T, L, Z, U, X, N, COLUMNS };

static EventReader *reader;
static Schema *columns;
static Batch *batch;

static void target(const char *key)
{
    Schema *keyed = schema_new(columns->field_count, key ? 1 : 0);
    for (size_t i = 0; i < columns->field_count; i++)
        field_copy(&keyed->fields[i], &columns->fields[i]);
    if (key) {
        keyed->key[0] = (uint32_t)schema_find(keyed, key);
        keyed->fields[keyed->key[0]].required = true;
    }
    schema_free(columns);
    columns = keyed;
    event_reader_target(reader, columns);
    batch = batch_new(columns, 0, 64);
}

static void open_json(const char *key)
{
    Error err = {0};
    AUTO(schema_free) Schema *declared = schema_new(COLUMNS, 0);
    for (size_t i = 0; i < COLUMNS; i++) {
        declared->fields[i].name = mem_strdup(names[i]);
        assert_true(type_parse(types[i], &declared->fields[i].type, &err));
    }
    reader = event_reader_new(
        &(EventOptions){.format = EVENT_JSON, .plain = true, .columns = declared}, &err);
    assert_non_null(reader);
    assert_true(event_wanted(reader, NULL, &columns, &err));
    for (size_t i = 0; i < COLUMNS; i++) {
        assert_string_equal(columns->fields[i].name, names[i]);
        assert_true(type_equal(&columns->fields[i].type, &declared->fields[i].type));
    }
    target(key);
}

static void end(void)
{
    batch_free(batch);
    schema_free(columns);
    event_reader_free(reader);
}

static bool decode(const char *key, const char *value, Event *event, Error *err)
{
    const EventRecord record = {.key = (const uint8_t *)key,
                                .key_bytes = key ? strlen(key) : 0,
                                .value = (const uint8_t *)value,
                                .value_bytes = value ? strlen(value) : 0,
                                .offset = 9,
                                .partition = 2};
    return event_decode(reader, &record, batch, event, err);
}

static void expect_bytes(int column, const char *wanted)
{
    uint32_t bytes;
    const uint8_t *at = column_bytes(&batch->columns[column], batch->row_count - 1, &bytes);
    assert_int_equal(bytes, strlen(wanted));
    assert_memory_equal(at, wanted, bytes);
}

static __int128 decimal(void)
{
    __int128 value;
    memcpy(&value, (const uint8_t *)batch->columns[N].values + 16 * (size_t)(batch->row_count - 1),
           16);
    return value;
}

static void every_type(void **state)
{
    (void)state;
    Event event;
    Error err = {0};
    open_json(NULL);
    assert_true(decode(NULL,
                       " {\"more\": [1, {}], \"id\": 9007199254740993, \"b\": true, \"i\": -7, "
                       "\"f\": 0.5, \"d\": 1e300, \"s\": \"a\\u00e9\", \"day\": \"1969-12-31\", "
                       "\"t\": \"23:59:59.000001\", \"l\": \"1970-01-02T00:00:00\", "
                       "\"z\": \"1970-01-01T02:00:00+01:00\", "
                       "\"u\": \"00000000-0000-0000-0000-0000000000ff\", \"x\": \"AQI=\", "
                       "\"n\": -12.5} ",
                       &event, &err));
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(batch->ops[0], ROW_INSERT);
    assert_true(column_i64(&batch->columns[ID], 0) == INT64_C(9007199254740993));
    assert_int_equal(column_i32(&batch->columns[I], 0), -7);
    assert_int_equal(column_i32(&batch->columns[DAY], 0), -1);
    assert_true(column_i64(&batch->columns[T], 0) == INT64_C(86399000001));
    assert_true(column_i64(&batch->columns[L], 0) == INT64_C(86400000000));
    assert_true(column_i64(&batch->columns[Z], 0) == INT64_C(3600000000));
    expect_bytes(S, "a\xc3\xa9");
    expect_bytes(X, "\1\2");
    assert_true(decimal() == -1250);
    /* a value that is none of a text is its JSON; what is not there is null */
    assert_true(decode(NULL, "{\"s\": {\"a\": [1, \"\xc3\xa9\"]}, \"n\": \"1.2e1\", \"b\": null}",
                       &event, &err));
    expect_bytes(S, "{\"a\": [1, \"\xc3\xa9\"]}");
    assert_true(decimal() == 1200);
    assert_true(column_is_null(&batch->columns[B], 1) && column_is_null(&batch->columns[ID], 1));
    end();
}

static void refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"", "expected"},
        {"[1]", ""},
        {"{\"id\": 1", ""},
        {"{\"id\": 1} x", "behind its end"},
        {"{\"id\": 1, \"id\": 2}", "twice"},
        {"{\"i\": 1}", "lacks a column of the key"},
        {"{\"id\": null}", "required"},
        {"{\"id\": 1.5}", "field id"},
        {"{\"id\": 1, \"i\": 3000000000}", "field i"},
        {"{\"id\": 1, \"s\": \"\xff\"}", "field s"},
        {"{\"id\": 1, \"s\": [\"\xff\"]}", "UTF-8"},
        {"{\"id\": 1, \"day\": 20000}", "is no text"},
        {"{\"id\": 1, \"day\": \"2026-11\"}", "is no date"},
        {"{\"id\": 1, \"day\": \"2026-11-22T00:00:00\"}", "is no date"},
        {"{\"id\": 1, \"t\": \"24:00:00\"}", "is no time"},
        {"{\"id\": 1, \"t\": \"12:00:00Z\"}", "is no time"},
        {"{\"id\": 1, \"l\": \"2026-11-22T00:00:00Z\"}", "without a zone"},
        {"{\"id\": 1, \"z\": \"2026-11-22T00:00:00\"}", "with a zone"},
        {"{\"id\": 1, \"z\": \"2026-11-22T00:00:00.0000001Z\"}", "microseconds"},
        {"{\"id\": 1, \"n\": 1.005}", "more digits"},
        {"{\"id\": 1, \"n\": 100000000}", "more digits"},
        {"{\"id\": 1, \"n\": \"NaN\"}", "is no number"},
        {"{\"id\": 1, \"n\": true}", "is no number"},
        {"{\"id\": 1, \"n\": 1e999999999999}", "is no number"},
        {"{\"id\": 1, \"u\": \"x\"}", "is no UUID"},
        {"{\"id\": 1, \"x\": \"*\"}", "base64"}};
    open_json("id");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Event event;
        Error err = {0};
        if (decode(NULL, wrong[i][0], &event, &err))
            fail_msg("taken: %s", wrong[i][0]);
        assert_int_equal(err.kind, ERROR_DATA);
        if (i && !strstr(err.message, wrong[i][1]))
            fail_msg("%s: '%s' does not say '%s'", wrong[i][0], err.message, wrong[i][1]);
        assert_int_equal(batch->row_count, 0);
    }
    end();
}

static void deletes(void **state)
{
    (void)state;
    Event event;
    Error err = {0};
    open_json("id");
    assert_true(decode("{\"id\": 7}", NULL, &event, &err));
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(batch->ops[0], ROW_DELETE);
    assert_true(column_i64(&batch->columns[ID], 0) == 7);
    assert_false(decode("7", NULL, &event, &err));
    assert_false(decode(NULL, NULL, &event, &err));
    assert_non_null(strstr(err.message, "neither key nor value"));
    assert_false(decode("{\"i\": 7}", NULL, &event, &err));
    assert_int_equal(batch->row_count, 1);
    end();
    open_json(NULL); /* Append: there is nothing to delete */
    assert_true(decode("{\"id\": 7}", NULL, &event, &err));
    assert_int_equal(event.kind, EVENT_NOTHING);
    assert_int_equal(batch->row_count, 0);
    end();
}

/* Those that are allowed are taken, others passed over; one that says nothing is refused. */
static void events(void **state)
{
    (void)state;
    static const char *const allowed[] = {"view", "buy"};
    static const struct {
        const char *value;
        uint32_t rows; /* that there are after it */
    } cases[] = {{"{\"id\": 1, \"event\": \"view\"}", 1},
                 {"{\"event\": \"b\\u0075y\", \"id\": 2}", 2},
                 {"{\"event\": \"vie\", \"id\": 3}", 2},
                 {"{\"event\": \"views\", \"id\": \"no number\"}", 2}};
    static const char *const wrong[] = {"{\"id\": 1}", "{\"event\": 1, \"id\": 1}",
                                        "{\"event\": \"view", "[]",
                                        "{\"event\": \"view\", \"id\": \"a\"}"};
    Event event;
    Error err = {0};
    AUTO(schema_free) Schema *declared = schema_new(1, 0);
    declared->fields[0].name = mem_strdup("id");
    assert_true(type_parse("long", &declared->fields[0].type, &err));
    reader = event_reader_new(&(EventOptions){.format = EVENT_JSON,
                                              .plain = true,
                                              .columns = declared,
                                              .event_field = "event",
                                              .events = allowed,
                                              .event_count = ARRAY_LEN(allowed)},
                              &err);
    assert_true(event_wanted(reader, NULL, &columns, &err));
    target("id");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t before = batch->row_count;
        assert_true(decode(NULL, cases[i].value, &event, &err));
        assert_int_equal(batch->row_count, cases[i].rows);
        assert_int_equal(event.kind, cases[i].rows > before ? EVENT_ROW : EVENT_NOTHING);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(decode(NULL, wrong[i], &event, &err));
        assert_int_equal(err.kind, ERROR_DATA);
    }
    assert_true(decode("{\"id\": 1}", NULL, &event, &err)); /* a deletion has no name */
    assert_int_equal(batch->ops[2], ROW_DELETE);
    assert_int_equal(batch->row_count, 3);
    end();
}

/* Which of three routes a record is taken by, in all three readers; -1: none. */
static void routes(void **state)
{
    (void)state;
    EventRoute all[3] = {{.always = false}};
    static const struct {
        const char *value;
        int route;
        bool bad; /* the first one says so */
    } cases[] = {{"{\"id\": 1, \"event\": \"view\"}", 0, false},
                 {"{\"event\": \"b\\u0075y\", \"id\": 2}", 1, false},
                 {"{\"event\": \"left\", \"event\": \"view\", \"version\": 2}", 2, false},
                 {"{\"version\": 2, \"event\": null}", 2, false},
                 {"{\"version\": true, \"event\": [\"view\"]}", 2, false},
                 {"{\"version\": \"2\", \"event\": \"view\"}", 0, false},
                 {"{\"version\": 20, \"event\": \"views\"}", -1, false},
                 {"{\"version\": {\"2\": 2}}", -1, false},
                 {"{}", -1, false},
                 {"{\"event\": \"view", -1, true},
                 {"{\"event\": \"other\", \"version\"", -1, true},
                 {"[\"event\", \"view\"]", -1, true},
                 {"", -1, true}};
    assert_true(condition_parse("event == 'view'", &all[0].when));
    assert_true(condition_parse("event in ['buy', 'pay']", &all[1].when));
    assert_true(condition_parse("version in ['2', 'true']", &all[2].when));
    for (size_t own = 0; own < ARRAY_LEN(all); own++) {
        Error err = {0};
        Event event;
        AUTO(schema_free) Schema *declared = schema_new(1, 0);
        declared->fields[0].name = mem_strdup("id");
        assert_true(type_parse("long", &declared->fields[0].type, &err));
        reader = event_reader_new(&(EventOptions){.format = EVENT_JSON,
                                                  .plain = true,
                                                  .columns = declared,
                                                  .routes = all,
                                                  .route_count = ARRAY_LEN(all),
                                                  .route = own},
                                  &err);
        assert_true(event_wanted(reader, NULL, &columns, &err));
        target(NULL);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            bool first = own == 0, taken = cases[i].route == (int)own;
            uint32_t rows = batch->row_count;
            assert_true(decode(NULL, cases[i].value, &event, &err) == !(first && cases[i].bad));
            assert_int_equal(batch->row_count, rows + taken);
            if (!(first && cases[i].bad))
                assert_int_equal(event.kind, taken                           ? EVENT_ROW
                                             : first && cases[i].route == -1 ? EVENT_UNROUTED
                                                                             : EVENT_NOTHING);
        }
        all[2].always = true; /* it takes what is left */
        assert_true(decode(NULL, "{\"event\": 7}", &event, &err));
        assert_int_equal(event.kind, own == 2 ? EVENT_ROW : EVENT_NOTHING);
        all[2].always = false;
        end();
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        condition_done(&all[i].when);
}

static void numbers(void **state)
{
    (void)state;
    static const char *const right[][2] = {
        {"0", "0"},          {"-0.00", "0"},    {"1", "100"},      {"0.01", "1"},
        {"1.230000", "123"}, {"1E+2", "10000"}, {"123e-2", "123"}, {"-99999999.99", "-9999999999"},
        {"100e-4", "1"},     {"0e99999", "0"}};
    static const char *const wrong[] = {"",          "-",
                                        ".5",        "1.2.3",
                                        "1e",        "1e+",
                                        "0x10",      "1 ",
                                        "0.001",     "100000000",
                                        "1e8",       "1e-3",
                                        "12e400000", "99999999999999999999999999999999999999999"};
    __int128 value;
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        if (!value_number(right[i][0], strlen(right[i][0]), 10, 2, &value) ||
            value != atoll(right[i][1]))
            fail_msg("%s", right[i][0]);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (value_number(wrong[i], strlen(wrong[i]), 10, 2, &value))
            fail_msg("%s", wrong[i]);
    static const char most[] = "99999999999999999999999999999999999999";
    assert_true(value_number(most, sizeof most - 1, 38, 0, &value));
    assert_true(value % 10 == 9 && value > ((__int128)1 << 125));
}

/* --- Avro --- */
static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    (void)context;
    static const char *const schemas[] = {
        NULL,
        "{\"type\":\"record\",\"name\":\"e\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"},"
        "{\"name\":\"s\",\"type\":[\"null\",\"string\"]}]}",
        "{\"type\":\"record\",\"name\":\"k\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"}]}",
        "{\"type\":\"record\",\"name\":\"e\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"},"
        "{\"name\":\"more\",\"type\":\"int\"}]}",
        "\"long\""};
    if (id >= ARRAY_LEN(schemas) || !schemas[id])
        return error_set(err, ERROR_DATA, "UnknownSchemaId", "no schema %u", id);
    ret->text = mem_strdup(schemas[id]);
    return true;
}

static bool decode_avro(const char *key, size_t key_bytes, const char *value, size_t value_bytes,
                        Event *event, Error *err)
{
    const EventRecord record = {.key = (const uint8_t *)key,
                                .key_bytes = key_bytes,
                                .value = (const uint8_t *)value,
                                .value_bytes = value_bytes};
    return event_decode(reader, &record, batch, event, err);
}
#define VALUE(text) NULL, 0, text, sizeof(text) - 1
#define KEY(text) text, sizeof(text) - 1, NULL, 0

static void avro(void **state)
{
    (void)state;
    Event event;
    Error err = {0};
    const EventRecord first = {.value = (const uint8_t *)"\0\0\0\0\1", .value_bytes = 5};
    reader = event_reader_new(&(EventOptions){.format = EVENT_AVRO, .plain = true, .fetch = fetch},
                              &err);
    assert_non_null(reader);
    assert_true(event_wanted(reader, &first, &columns, &err));
    assert_int_equal(columns->field_count, 2);
    assert_int_equal(columns->fields[0].type.kind, TYPE_INT64);
    assert_int_equal(columns->key_count, 0);
    target("id");
    assert_true(decode_avro(VALUE("\0\0\0\0\1\x0e\2\4hi"), &event, &err));
    assert_int_equal(event.kind, EVENT_ROW);
    assert_int_equal(batch->ops[0], ROW_INSERT);
    assert_true(column_i64(&batch->columns[0], 0) == 7);
    assert_true(decode_avro(KEY("\0\0\0\0\2\x0e"), &event, &err));
    assert_int_equal(batch->ops[1], ROW_DELETE);
    assert_true(column_i64(&batch->columns[0], 1) == 7);
    assert_true(decode_avro(VALUE("\0\0\0\0\3\x0e\2"), &event, &err)); /* another column */
    assert_int_equal(event.kind, EVENT_SCHEMA);
    assert_false(decode_avro(VALUE("\0\0\0\0\1\x0e\2\4h"), &event, &err)); /* cut short */
    assert_false(decode_avro(VALUE("\0\0\0\0\1\x0e\0x"), &event, &err));   /* goes on */
    assert_false(decode_avro(VALUE("\1\0\0\0\1\x0e\0"), &event, &err));
    assert_false(decode_avro(VALUE("\0\0\0\0\x09\x0e\0"), &event, &err));
    assert_string_equal(err.code, "UnknownSchemaId");
    assert_false(decode_avro(VALUE("\0\0\0\0\4\x0e"), &event, &err));
    assert_string_equal(err.code, "BadSchema");
    assert_false(decode_avro(KEY("\0\0\0\0\3\x0e\2"), &event, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    assert_int_equal(batch->row_count, 2);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_type), cmocka_unit_test(refused),
                                       cmocka_unit_test(deletes),    cmocka_unit_test(events),
                                       cmocka_unit_test(routes),     cmocka_unit_test(numbers),
                                       cmocka_unit_test(avro)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
