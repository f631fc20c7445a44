/* links: firn_event */
/* Protobuf's messages, written by Google's own library (tests/golden/proto/make.py), as columns;
 * and what is no schema and no record. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/event/event.h"
#include "common/mem.h"

static WriterSchema given; /* schema 1: the golden one; 2: a test's own */
static unsigned fetched;

static char *read_text(const char *name)
{
    Bytes bytes = {0};
    AUTO(mem_free) char *path = mem_format(GOLDEN "/proto/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t got = 1; got; bytes.used += got) {
        bytes_reserve(&bytes, 4096);
        got = fread(bytes.data + bytes.used, 1, 4096, file);
    }
    fclose(file);
    bytes_put_u8(&bytes, 0);
    return (char *)bytes.data;
}

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    (void)context;
    fetched++;
    if (id == 9)
        return error_set(err, ERROR_DATA, "UnknownSchemaId", "no schema %u", id);
    if (id == 2) {
        ret->text = mem_strdup(given.text);
        return true;
    }
    ret->text = read_text("event.proto");
    ret->imports = mem_array(1, sizeof *ret->imports);
    ret->imports[0] = (WriterImport){mem_strdup("common.proto"), read_text("common.proto")};
    ret->import_count = 1;
    return true;
}

static EventReader *open_reader(void)
{
    Error err = {0};
    EventReader *reader = event_reader_new(
        &(EventOptions){.format = EVENT_PROTOBUF, .plain = true, .fetch = fetch}, &err);
    assert_non_null(reader);
    return reader;
}

/* ---------- columns as text ---------- */
static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static void put_hex(Bytes *to, const uint8_t *at, size_t bytes)
{
    char text[3];
    for (size_t i = 0; i < bytes; i++) {
        snprintf(text, sizeof text, "%02x", at[i]);
        put_text(to, text);
    }
}

static void put_integer(Bytes *to, __int128 value)
{
    char text[48], *at = text + sizeof text;
    bool negative = value < 0;
    *--at = 0;
    for (unsigned __int128 left = negative ? -(unsigned __int128)value : (unsigned __int128)value;
         left || !*at; left /= 10)
        *--at = (char)('0' + (int)(left % 10));
    if (negative)
        *--at = '-';
    put_text(to, at);
}

static void put_column(Bytes *to, const Column *column, uint32_t row);

static void put_list(Bytes *to, const Column *column, uint32_t row)
{
    bool map = column->field->type.kind == TYPE_MAP;
    put_text(to, map ? "{" : "[");
    for (int32_t i = column->offsets[row]; i < column->offsets[row + 1]; i++) {
        put_text(to, i > column->offsets[row] ? "," : "");
        put_column(to, &column->child[0], (uint32_t)i);
        if (!map)
            continue;
        put_text(to, ":");
        put_column(to, &column->child[1], (uint32_t)i);
    }
    put_text(to, map ? "}" : "]");
}

static void put_bytes_of(Bytes *to, const Column *column, uint32_t row, bool binary)
{
    uint32_t bytes;
    const uint8_t *at = column_bytes(column, row, &bytes);
    put_text(to, binary ? "x" : "\"");
    if (binary)
        put_hex(to, at, bytes);
    else
        bytes_put(to, at, bytes);
    put_text(to, binary ? "" : "\"");
}

static void put_column(Bytes *to, const Column *column, uint32_t row)
{
    const Type *type = &column->field->type;
    __int128 wide;
    if (column_is_null(column, row)) {
        put_text(to, "null");
        return;
    }
    switch (type->kind) {
    case TYPE_BOOL:
        put_text(to, bit_get(column->values, row) ? "true" : "false");
        return;
    case TYPE_FLOAT32:
    case TYPE_FLOAT64:
        put_text(to, "r");
        put_hex(to, column->values + (size_t)row * column->width, column->width);
        return;
    case TYPE_DECIMAL:
        memcpy(&wide, column->values + (size_t)row * 16, sizeof wide);
        put_integer(to, wide);
        return;
    case TYPE_STRING:
    case TYPE_BINARY:
        put_bytes_of(to, column, row, type->kind == TYPE_BINARY);
        return;
    case TYPE_LIST:
    case TYPE_MAP:
        put_list(to, column, row);
        return;
    case TYPE_STRUCT:
        put_text(to, "(");
        for (size_t i = 0; i < type->field_count; i++) {
            put_text(to, i ? "," : "");
            put_text(to, type->fields[i].name);
            put_text(to, ":");
            put_column(to, &column->child[i], row);
        }
        put_text(to, ")");
        return;
    default:
        put_integer(to, column->width == 4 ? column_i32(column, row) : column_i64(column, row));
    }
}

static void put_row(Bytes *to, const Batch *batch, uint32_t row)
{
    bytes_clear(to);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        put_text(to, i ? "," : "");
        put_text(to, batch->columns[i].field->name);
        put_text(to, ":");
        put_column(to, &batch->columns[i], row);
    }
    bytes_put_u8(to, 0);
}

/* ---------- */
static size_t from_hex(const char *text, size_t bytes, uint8_t *to)
{
    for (size_t i = 0; i + 1 < bytes; i += 2) {
        unsigned value = 0;
        assert_int_equal(sscanf(text + i, "%2x", &value), 1);
        to[i / 2] = (uint8_t)value;
    }
    return bytes / 2;
}

static void golden(void **state)
{
    (void)state;
    AUTO(mem_free) char *text = read_text("records.txt");
    Bytes shown = {0};
    unsigned records = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        char *wanted = strchr(line, '\t');
        assert_non_null(wanted);
        uint8_t data[4096];
        size_t bytes = from_hex(line, (size_t)(wanted - line), data);
        const EventRecord record = {.value = data, .value_bytes = bytes, .offset = 5};
        Error err = {0};
        Event event;
        AUTO(event_reader_free) EventReader *reader = open_reader();
        AUTO(schema_free) Schema *columns = NULL;
        if (!event_wanted(reader, &record, &columns, &err))
            fail_msg("%s", err.message);
        event_reader_target(reader, columns);
        AUTO(batch_free) Batch *batch = batch_new(columns, 0, 8);
        for (uint32_t row = 0; row < 2; row++) { /* a row leaves nothing to the next */
            if (!event_decode(reader, &record, batch, &event, &err))
                fail_msg("%s", err.message);
            assert_int_equal(event.kind, EVENT_ROW);
            put_row(&shown, batch, row);
            assert_string_equal((const char *)shown.data, wanted + 1);
        }
        /* cut short anywhere it is a record of fewer fields, or none; the batch stays whole */
        for (size_t cut = bytes; cut-- > 0;) {
            uint8_t *exact = mem_alloc(cut + 1);
            memcpy(exact, data, cut);
            const EventRecord part = {.value = exact, .value_bytes = cut};
            bool ok = event_decode(reader, &part, batch, &event, &err);
            if (ok && event.kind == EVENT_ROW)
                batch_row_undo(batch);
            assert_int_equal(batch->row_count, 2);
            for (uint32_t i = 0; i < batch->column_count; i++)
                assert_int_equal(batch->columns[i].rows, 2);
            free(exact);
        }
        records++;
    }
    assert_true(records >= 12);
    bytes_done(&shown);
}

/* ---------- one's own schemas ---------- */
static bool decode(EventReader *reader, Batch *batch, const char *value, size_t bytes, Event *event,
                   Error *err)
{
    const EventRecord record = {
        .value = (const uint8_t *)value, .value_bytes = bytes, .offset = 9, .partition = 3};
    return event_decode(reader, &record, batch, event, err);
}
#define RECORD(text) text, sizeof(text) - 1
#define FRAME "\0\0\0\0\2\0"

static Schema *columns_of(EventReader *reader, const char *schema, Error *err)
{
    Schema *columns = NULL;
    given.text = (char *)(uintptr_t)schema;
    const EventRecord record = {.value = (const uint8_t *)FRAME, .value_bytes = sizeof FRAME - 1};
    return event_wanted(reader, &record, &columns, err) ? columns : NULL;
}

static void refused_records(void **state)
{
    (void)state;
    static const char schema[] =
        "syntax = \"proto2\"; message M { required int32 a = 1; optional string s = 2; repeated "
        "int32 l = 3; optional fixed64 f = 4; optional google.protobuf.Timestamp t = 5; optional "
        "google.protobuf.Duration d = 6; map<string, int32> m = 7; }";
    static const struct {
        const char *at;
        size_t bytes;
        const char *says;
    } cases[] = {
        {RECORD(FRAME), "field a is required by its schema, and missing"},
        {RECORD(FRAME "\x08"), "the record is cut short"},
        {RECORD(FRAME "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1"), "cut short"},
        {RECORD(FRAME "\x08\1\x12\5abc"), "cut short"},
        {RECORD(FRAME "\x08\1\x12\2\xff\xfe"), "field s has a text that is no UTF-8"},
        {RECORD(FRAME "\x0a\1\1"), "field a is coded otherwise than its schema says"},
        {RECORD(FRAME "\x08\1\x0b\x0c"), "field a is coded otherwise"},
        {RECORD(FRAME "\x08\1\x1a\2\1\x80"), "field l is cut short"},
        {RECORD(FRAME "\x08\1\x21\1\2\3"), "cut short"},
        {RECORD(FRAME "\x08\1\0\1"), "cut short"},         /* number 0 */
        {RECORD(FRAME "\x08\1\x0e\1"), "cut short"},       /* a coding that there is none of */
        {RECORD(FRAME "\x08\1\x0c"), "cut short"},         /* a group's end alone */
        {RECORD(FRAME "\x08\1\x9b\6\x08\1"), "cut short"}, /* a group without its end */
        {RECORD(FRAME "\x08\1\x9b\6\xa4\6"), "cut short"}, /* … with another's */
        {RECORD(FRAME "\x08\1\x2a\2\x10\1"), "field t is finer than a microsecond"},
        {RECORD(FRAME "\x08\1\x2a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "of its range"},
        {RECORD(FRAME "\x08\1\x2a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "of its range"},
        {RECORD(FRAME "\x08\1\x32\x0d\x08\1\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
         "of its range"},
        {RECORD(FRAME "\x08\1\x3a\3\x08\1\1"), "field m"},
        {RECORD("\1\0\0\0\2\0"), "does not begin with 0x00"},
        {RECORD("\0\0\0\0"), "does not begin with 0x00"},
        {RECORD("\0\0\0\0\2"), "which of its schema's messages"},
        {RECORD("\0\0\0\0\2\1"), "which of its schema's messages"},   /* -1 of them */
        {RECORD("\0\0\0\0\2\x44"), "which of its schema's messages"}, /* 34 */
        {RECORD("\0\0\0\0\2\2\1"), "which of its schema's messages"}, /* number -1 */
    };
    Error err = {0};
    Event event;
    AUTO(event_reader_free) EventReader *reader = open_reader();
    AUTO(schema_free) Schema *columns = columns_of(reader, schema, &err);
    assert_non_null(columns);
    event_reader_target(reader, columns);
    AUTO(batch_free) Batch *batch = batch_new(columns, 0, 8);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        err = (Error){0};
        if (decode(reader, batch, cases[i].at, cases[i].bytes, &event, &err))
            fail_msg("case %zu was taken", i);
        assert_int_equal(err.kind, ERROR_DATA);
        assert_string_equal(err.code, "BadRecord");
        if (!strstr(err.message, cases[i].says) || !strstr(err.message, "partition 3 offset 9"))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, cases[i].says);
        assert_int_equal(batch->row_count, 0);
    }
    assert_true(decode(reader, batch, RECORD(FRAME "\x08\1"), &event, &err));
    assert_false(decode(reader, batch, RECORD("\0\0\0\0\x09\0"), &event, &err));
    assert_string_equal(err.code, "UnknownSchemaId");
    unsigned before = fetched;
    for (int i = 0; i < 3; i++) {
        assert_false(decode(reader, batch, RECORD("\0\0\0\0\2\2\2\x08\1"), &event, &err));
        assert_string_equal(err.code, "BadSchema"); /* it has one message */
    }
    assert_int_equal(fetched, before + 1);
}

static void refused_schemas(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *says;
    } cases[] = {
        {"", "no message of the number"},
        {"message M {", "ends where a name was to come"},
        {"message M { int32 a = 1 }", "line 1: '}' where ';' was to come"},
        {"message M {\n\n int32 a = 0; }", "line 3: '0' where a number of its range"},
        {"message M { int32 a = 536870912; }", "a number of its range"},
        {"message M { int32 a = 1; int64 a = 2; }", "two fields a"},
        {"message M { int32 a = 1; int64 b = 1; }", "two fields of the number 1"},
        {"message M { optional group G = 1 { optional int32 a = 2; } }", "groups are not"},
        {"message M { Nothing a = 1; }", "there is no type Nothing"},
        {"message M { int32 a = 1; M m = 2; }", "in itself"},
        {"message M { map<double, int32> m = 1; }", "no map has keys of the type double"},
        {"message M { map<M, int32> m = 1; }", "no map has keys of the type M"},
        {"message M { enum E { } E e = 1; }", "an enum without symbols"},
        {"message M { int32 a = 1; } message M { }", "two types of the name M"},
        {"edition = \"2023\"; message M { int32 a = 1; }", "editions are not supported"},
        {"syntax = \"proto4\";", "neither proto2 nor proto3"},
        {"message M { int32 a = 1; /* }", "a comment without its end"},
        {"message M { int32 a = 1 [x = \"", "a text without its end"},
        {"message M { option x = 1", "it ends where ';' was to come"},
        {"message M { message N { } N n = 1; }", "without fields"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        AUTO(event_reader_free) EventReader *reader = open_reader();
        AUTO(schema_free) Schema *columns = columns_of(reader, cases[i].schema, &err);
        if (columns)
            fail_msg("case %zu was taken", i);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, cases[i].says);
    }
    Bytes deep = {0}; /* messages in messages */
    for (int i = 0; i < 5000; i++)
        put_text(&deep, "message M {");
    bytes_put_u8(&deep, 0);
    Error err = {0};
    AUTO(event_reader_free) EventReader *reader = open_reader();
    assert_null(columns_of(reader, (const char *)deep.data, &err));
    assert_non_null(strstr(err.message, "deeper than"));
    bytes_done(&deep);
}

/* Another version of the schema, a deletion, small records that would be large rows. */
static void evolves(void **state)
{
    (void)state;
    Error err = {0};
    Event event;
    AUTO(event_reader_free) EventReader *reader = open_reader();
    AUTO(schema_free)
    Schema *columns =
        columns_of(reader, "message M { optional int64 b = 2; optional int32 a = 1; }", &err);
    assert_non_null(columns);
    AUTO(schema_free) Schema *keyed = schema_new(2, 1);
    for (size_t i = 0; i < 2; i++)
        field_copy(&keyed->fields[i], &columns->fields[i]);
    keyed->key[0] = 1;
    keyed->fields[1].required = true;
    event_reader_target(reader, keyed);
    AUTO(batch_free) Batch *batch = batch_new(keyed, 0, 8);
    assert_true(decode(reader, batch, RECORD(FRAME "\x08\7\x10\x09"), &event, &err));
    assert_int_equal(column_i64(&batch->columns[0], 0), 9);
    assert_int_equal(column_i32(&batch->columns[1], 0), 7);
    assert_false(decode(reader, batch, RECORD(FRAME "\x10\x09"), &event, &err)); /* no key */
    const EventRecord gone = {.key = (const uint8_t *)FRAME "\x08\7", .key_bytes = 8};
    assert_true(event_decode(reader, &gone, batch, &event, &err));
    assert_int_equal(batch->ops[1], ROW_DELETE);
    assert_int_equal(column_i32(&batch->columns[1], 1), 7);
    const EventRecord none = {0};
    assert_false(event_decode(reader, &none, batch, &event, &err));
    /* schema 1 has other columns: the record waits for them */
    assert_true(decode(reader, batch, RECORD("\0\0\0\0\1\2\2\x08\7"), &event, &err));
    assert_int_equal(event.kind, EVENT_SCHEMA);
    assert_int_equal(batch->row_count, 2);
}

static void grows(void **state)
{
    (void)state;
    Error err = {0};
    Event event;
    Bytes schema = {0}, record = {0};
    put_text(&schema, "message M { repeated N n = 1; } message N {");
    for (int i = 1; i <= 4000; i++) {
        AUTO(mem_free) char *field = mem_format("optional bool f%d = %d;", i, i);
        put_text(&schema, field);
    }
    put_text(&schema, "}");
    bytes_put_u8(&schema, 0);
    AUTO(event_reader_free) EventReader *reader = open_reader();
    AUTO(schema_free) Schema *columns = columns_of(reader, (const char *)schema.data, &err);
    if (!columns)
        fail_msg("%s", err.message);
    event_reader_target(reader, columns);
    AUTO(batch_free) Batch *batch = batch_new(columns, 0, 8);
    bytes_put(&record, FRAME, sizeof FRAME - 1);
    for (int i = 0; i < 100000; i++)
        bytes_put(&record, "\x0a\0", 2); /* one more N of 4,000 fields, in two bytes */
    assert_false(decode(reader, batch, (char *)record.data, record.used, &event, &err));
    assert_non_null(strstr(err.message, "field n has too many values"));
    assert_int_equal(batch->row_count, 0);
    bytes_done(&schema);
    bytes_done(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(refused_records),
                                       cmocka_unit_test(refused_schemas), cmocka_unit_test(evolves),
                                       cmocka_unit_test(grows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
