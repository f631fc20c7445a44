/* links: firn_event firn_topic */
/* What agent/topic writes, agent/event reads: the same values, in JSON and in Avro. */
#include "tests/unit/topic/one_table.h"

#include "agent/event/event.h"

static const char *avro_text; /* of the latest table */

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    const OneTable *one = context;
    (void)err;
    ret->text = mem_strdup(id == 7 ? topic_table_key_schema(one->table)
                                   : topic_table_value_schema(one->table));
    avro_text = ret->text;
    return true;
}

static EventRecord record_of(const OneTable *one, const TopicRecord *record)
{
    const uint8_t *bytes = one->records.bytes.data;
    return (EventRecord){.key = record->key.bytes ? bytes + record->key.at : NULL,
                         .key_bytes = record->key.bytes,
                         .value = record->value.bytes ? bytes + record->value.at : NULL,
                         .value_bytes = record->value.bytes,
                         .header = bytes + record->header.at,
                         .header_bytes = record->header.bytes,
                         .of_new_key = record->other_name &&
                                       strcmp(record->other_name, "__debezium.oldkey") == 0,
                         .offset = 5,
                         .partition = 1};
}

typedef struct Read {
    EventReader *reader;
    Schema *columns;
    Batch *batch;
    Event events[16];
    size_t count;
} Read;

/* Encodes the table's batch and reads it back. */
static void read_back(OneTable *one, TopicFormat format, Read *ret)
{
    Error err = {0};
    *ret = (Read){.count = 0};
    bool avro = format == TOPIC_AVRO;
    if (!one_encode(one, &err))
        fail_msg("%s: %s", err.code, err.message);
    const EventOptions options = {
        .format = avro ? EVENT_AVRO : EVENT_JSON,
        .value_schema = format == TOPIC_JSON ? topic_table_value_schema(one->table) : NULL,
        .key_schema = format == TOPIC_JSON ? topic_table_key_schema(one->table) : NULL,
        .fetch = fetch,
        .fetch_context = one};
    ret->reader = event_reader_new(&options, &err);
    if (!ret->reader)
        fail_msg("%s: %s", err.code, err.message);
    const EventRecord first = record_of(one, &one->records.items[0]);
    if (!event_wanted(ret->reader, format == TOPIC_JSON ? NULL : &first, &ret->columns, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_non_null(ret->columns);
    event_reader_target(ret->reader, ret->columns);
    ret->batch = batch_new(ret->columns, 0, 16);
    for (size_t i = 0; i < one->records.count; i++) {
        const EventRecord record = record_of(one, &one->records.items[i]);
        if (!event_decode(ret->reader, &record, ret->batch, &ret->events[ret->count++], &err))
            fail_msg("record %zu: %s: %s", i, err.code, err.message);
    }
}

static void read_done(Read *read)
{
    batch_free(read->batch);
    schema_free(read->columns);
    event_reader_free(read->reader);
}

static const TopicFormat formats[] = {TOPIC_JSON, TOPIC_JSON_WITH_SCHEMA, TOPIC_AVRO};

static void test_ops_and_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        OneTable one;
        Read read;
        const TopicOptions options = {.format = formats[i]};
        one_make(&one, (Type){.kind = TYPE_STRING}, (ColumnType){.name = "text", .modifier = -1},
                 &options);
        static const RowOp ops[] = {ROW_READ, ROW_INSERT, ROW_UPDATE, ROW_DELETE};
        for (int64_t row = 0; row < 4; row++) {
            Column *column = one_row(&one, ops[row], 10 + row);
            column_put_bytes(one.batch, column, "a\"\\\n\xc3\xa9", 6);
        }
        read_back(&one, formats[i], &read);
        assert_int_equal(read.count, 5); /* and a tombstone */
        assert_int_equal(read.batch->row_count, 4);
        assert_int_equal(read.columns->key_count, 1);
        assert_string_equal(read.columns->fields[read.columns->key[0]].name, "id");
        for (uint32_t row = 0; row < 4; row++) {
            uint32_t bytes;
            assert_int_equal(read.batch->ops[row], ops[row]);
            assert_int_equal(column_i64(&read.batch->columns[0], row), 10 + row);
            assert_int_equal(read.events[row].kind, EVENT_ROW);
            assert_int_equal(read.events[row].copied, row == 0);
            assert_int_equal(read.events[row].at.major, 0x1000);
            assert_int_equal(read.events[row].at.minor, row + 1);
            assert_int_equal(read.events[row].version, 3);
            assert_int_equal(read.events[row].source_ms, 1700000000123);
            if (ops[row] == ROW_DELETE)
                continue;
            const uint8_t *at = column_bytes(&read.batch->columns[1], row, &bytes);
            assert_int_equal(bytes, 6);
            assert_memory_equal(at, "a\"\\\n\xc3\xa9", 6);
        }
        assert_int_equal(read.events[4].kind, EVENT_NOTHING);
        read_done(&read);
        one_done(&one);
    }
}

/* A value of one type through each format: the type is kept, and so is the value. */
typedef struct Case {
    const char *name; /* the source's type */
    int32_t modifier;
    Type type, wanted;
    const void *value; /* fixed width, or text */
    const char *text, *wanted_text;
} Case;

static void put_case(OneTable *one, const Case *each)
{
    Column *column = one_row(one, ROW_INSERT, 1);
    if (each->text)
        column_put_bytes(one->batch, column, each->text, strlen(each->text));
    else if (each->type.kind == TYPE_BOOL)
        column_put_bool(one->batch, column, true);
    else
        memcpy(column_put_fixed(one->batch, column), each->value, column->width);
    column_put_null(one->batch, one_row(one, ROW_INSERT, 2));
}

static void check_case(const Case *each, TopicFormat format)
{
    OneTable one;
    Read read;
    const TopicOptions options = {.format = format};
    one_make(&one, each->type, (ColumnType){.name = each->name, .modifier = each->modifier},
             &options);
    put_case(&one, each);
    read_back(&one, format, &read);
    const Column *column = &read.batch->columns[1];
    char a[TYPE_NAME_BYTES], b[TYPE_NAME_BYTES];
    if (!type_equal(&column->field->type, &each->wanted))
        fail_msg("%s: type %s, wanted %s", each->name, type_format(&column->field->type, a),
                 type_format(&each->wanted, b));
    assert_false(column_is_null(column, 0));
    assert_true(column_is_null(column, 1));
    if (each->wanted_text) {
        uint32_t bytes;
        const uint8_t *at = column_bytes(column, 0, &bytes);
        if (bytes != strlen(each->wanted_text) || memcmp(at, each->wanted_text, bytes) != 0)
            fail_msg("%s: '%.*s', wanted '%s'", each->name, (int)bytes, (const char *)at,
                     each->wanted_text);
    } else if (each->type.kind == TYPE_BOOL) {
        assert_true(bit_get(column->values, 0));
    } else {
        assert_memory_equal(column->values, each->value, column->width);
    }
    read_done(&read);
    one_done(&one);
}

static void test_types(void **state)
{
    (void)state;
    static const int32_t i32 = -2147483647 - 1, day = -719528;
    static const int64_t i64 = INT64_MIN, micros = -62135596800000001, clock = 86399999999;
    static const float f32 = 1.5e-7f;
    static const double f64 = -1.7976931348623157e308;
    static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0xff};
    static const __int128 decimal = -((__int128)999999999999999999 * 100000000000000000 + 7);
    static const Type boolean = {.kind = TYPE_BOOL}, integer = {.kind = TYPE_INT32},
                      whole = {.kind = TYPE_INT64}, single = {.kind = TYPE_FLOAT32},
                      real = {.kind = TYPE_FLOAT64}, date = {.kind = TYPE_DATE},
                      time = {.kind = TYPE_TIME}, timestamp = {.kind = TYPE_TIMESTAMP},
                      zoned = {.kind = TYPE_TIMESTAMPTZ}, string = {.kind = TYPE_STRING},
                      binary = {.kind = TYPE_BINARY}, id = {.kind = TYPE_UUID},
                      number = {.kind = TYPE_DECIMAL, .precision = 38, .scale = 5};
    const Case cases[] = {
        {"bool", -1, boolean, boolean, NULL, NULL, NULL},
        {"int4", -1, integer, integer, &i32, NULL, NULL},
        {"int8", -1, whole, whole, &i64, NULL, NULL},
        {"float4", -1, single, single, &f32, NULL, NULL},
        {"float8", -1, real, real, &f64, NULL, NULL},
        {"date", -1, date, date, &day, NULL, NULL},
        {"time", -1, time, time, &clock, NULL, NULL},
        {"timestamp", -1, timestamp, timestamp, &micros, NULL, NULL},
        {"timestamptz", -1, zoned, zoned, &micros, NULL, NULL},
        {"uuid", -1, id, id, uuid, NULL, NULL},
        {"numeric", (38 << 16 | 5) + 4, number, number, &decimal, NULL, NULL},
        {"text", -1, string, string, NULL, "\xf0\x9f\x8c\xa8 \x01", "\xf0\x9f\x8c\xa8 \x01"},
        {"bytea", -1, binary, binary, NULL, "\xff\xfe!", "\xff\xfe!"},
        {"jsonb", -1, string, string, NULL, "{\"a\": 1}", "{\"a\": 1}"},
        {"numeric", -1, string, string, NULL, "-12345678901234567890123456789012345678901234567.05",
         "-12345678901234567890123456789012345678901234567.05"},
        {"numeric", -1, string, string, NULL, "1200", "1200"},
        {"bit", 5, string, string, NULL, "00101", "00101"},
        {"point", -1, string, string, NULL, "(1.5,-2)", "(1.5,-2)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < ARRAY_LEN(formats); k++)
            check_case(&cases[i], formats[k]);
}

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        OneTable one;
        Read read;
        const TopicOptions options = {.format = formats[i]};
        Type type = type_nested(TYPE_LIST, 0);
        type.element->type = (Type){.kind = TYPE_INT32};
        static const ColumnType element = {.name = "int4", .modifier = -1};
        one_make(
            &one, type,
            (ColumnType){.name = "_int4", .modifier = -1, .children = &element, .child_count = 1},
            &options);
        Column *column = one_row(&one, ROW_INSERT, 1);
        for (int32_t k = 0; k < 300; k++) {
            column_element_room(one.batch, column->child);
            if (k % 3)
                column_put_i32(one.batch, column->child, k);
            else
                column_put_null(one.batch, column->child);
        }
        column_put_list(one.batch, column);
        column_put_list(one.batch, one_row(&one, ROW_INSERT, 2));
        read_back(&one, formats[i], &read);
        const Column *list = &read.batch->columns[1];
        assert_int_equal(list->offsets[1], 300);
        assert_int_equal(list->offsets[2], 300);
        for (uint32_t k = 0; k < 300; k++) {
            assert_int_equal(column_is_null(list->child, k), k % 3 == 0);
            if (k % 3)
                assert_int_equal(column_i32(list->child, k), k);
        }
        read_done(&read);
        one_done(&one);
    }
}

/* What an update left out is told by the header, and by nothing that looks like it. */
static void test_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        OneTable one;
        Read read;
        const TopicOptions options = {.format = formats[i]};
        one_make(&one, (Type){.kind = TYPE_STRING}, (ColumnType){.name = "text", .modifier = -1},
                 &options);
        column_put_unchanged(one.batch, one_row(&one, ROW_UPDATE, 1));
        Column *column = one_row(&one, ROW_UPDATE, 2);
        column_put_bytes(one.batch, column, TOPIC_PLACEHOLDER, strlen(TOPIC_PLACEHOLDER));
        read_back(&one, formats[i], &read);
        assert_true(column_is_unchanged(&read.batch->columns[1], 0));
        assert_false(column_is_unchanged(&read.batch->columns[1], 1));
        assert_false(column_is_null(&read.batch->columns[1], 1));
        read_done(&read);
        one_done(&one);
    }
}

static void test_key_change_and_markers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        OneTable one;
        Read read;
        const TopicOptions options = {.format = formats[i]};
        one_make(&one, (Type){.kind = TYPE_INT32}, (ColumnType){.name = "int4", .modifier = -1},
                 &options);
        column_put_null(one.batch, one_row(&one, ROW_MOVE, 1));
        column_put_i32(one.batch, one_row(&one, ROW_UPDATE, 2), 5);
        read_back(&one, formats[i], &read);
        assert_int_equal(read.batch->row_count, 2);
        assert_int_equal(read.batch->ops[0], ROW_DELETE);
        assert_int_equal(read.batch->ops[1], ROW_INSERT);
        assert_int_equal(column_i64(&read.batch->columns[0], 0), 1);
        assert_int_equal(column_i64(&read.batch->columns[0], 1), 2);
        assert_true(record_of(&one, &one.records.items[2]).of_new_key);
        topic_records_clear(&one.records);
        topic_encode_truncate(one.table, &one.transaction, &one.row[0], (RowPosition){5, 6}, 4, 1,
                              &one.records);
        topic_encode_copied(one.table, (RowPosition){7, 0}, &one.records);
        topic_encode_epoch(one.table, (RowPosition){7, 1}, 1, 12, 0, &one.records);
        static const EventKind kinds[] = {EVENT_TRUNCATE, EVENT_COPIED, EVENT_LANES};
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            const EventRecord record = record_of(&one, &one.records.items[k]);
            Event event;
            Error err;
            assert_true(event_decode(read.reader, &record, read.batch, &event, &err));
            assert_int_equal(event.kind, kinds[k]);
            assert_int_equal(event.at.major, k ? 7 : 5);
            assert_int_equal(event.partitions, k == 2 ? 12 : k == 0 ? 4 : 0);
        }
        assert_int_equal(read.batch->row_count, 2);
        read_done(&read);
        one_done(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_and_heads),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_key_change_and_markers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
