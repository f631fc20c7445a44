/* links: firn_iceberg */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/table/iceberg/value.h"
#include "common/mem.h"

/* One column of one type, with one row. */
typedef struct One {
    Schema *schema;
    Batch *batch;
    Column *column;
} One;

static One one(Type type)
{
    One it = {.schema = schema_new(1, 0)};
    it.schema->fields[0] = (Field){.name = mem_strdup("c"), .type = type, .id = 1};
    it.batch = batch_new(it.schema, 0, 1);
    it.column = &it.batch->columns[0];
    batch_row_begin(it.batch, ROW_INSERT, (RowPosition){0, 0});
    return it;
}

static One of_number(TypeKind kind, int64_t number)
{
    One it = one((Type){.kind = kind, .precision = kind == TYPE_DECIMAL ? 9 : 0, .scale = 2});
    int32_t narrow = (int32_t)number;
    __int128 wide = number;
    if (it.column->width == 4)
        memcpy(column_put_fixed(it.batch, it.column), &narrow, 4);
    else if (it.column->width == 8)
        memcpy(column_put_fixed(it.batch, it.column), &number, 8);
    else
        memcpy(column_put_fixed(it.batch, it.column), &wide, 16);
    return it;
}

static One of_bytes(TypeKind kind, const void *bytes, uint32_t count)
{
    One it = one((Type){.kind = kind, .fixed_bytes = kind == TYPE_FIXED ? count : 0});
    if (it.column->width)
        memcpy(column_put_fixed(it.batch, it.column), bytes, count);
    else
        column_put_bytes(it.batch, it.column, bytes, count);
    return it;
}

static Value transformed(One it, const char *transform)
{
    Error err = {0};
    PartitionField field;
    Value value;
    assert_true(partition_field_parse(transform, it.schema, &field, &err));
    partition_value(&field, it.column, 0, &value);
    assert_true(type_equal(&value.type, &field.result));
    free(field.name);
    batch_free(it.batch);
    schema_free(it.schema);
    return value;
}

/* The hash is not to be had by itself: of 2^31 - 1 buckets, nearly the whole of it can be seen. */
static void expect_hash(One it, int32_t hash)
{
    Value value = transformed(it, "bucket(999999999, c)");
    assert_int_equal(value.i32, (int32_t)((uint32_t)hash & INT32_MAX) % 999999999);
}

/* Appendix B of the specification. */
static void hashes_are_the_specifications(void **state)
{
    (void)state;
    static const uint8_t uuid[] = {0xF7, 0x9C, 0x3E, 0x09, 0x67, 0x7C, 0x4B, 0xBD,
                                   0xA4, 0x79, 0x3F, 0x34, 0x9C, 0xB7, 0x85, 0xE7};
    const int64_t day = 17486, second = 1000000; /* 2017-11-16 */
    const int64_t noon = 81068 * second;         /* 22:31:08 */
    expect_hash(of_number(TYPE_INT32, 34), 2017239379);
    expect_hash(of_number(TYPE_INT64, 34), 2017239379);
    expect_hash(of_number(TYPE_DECIMAL, 1420), -500754589);
    expect_hash(of_number(TYPE_DATE, day), -653330422);
    expect_hash(of_number(TYPE_TIME, noon), -662762989);
    expect_hash(of_number(TYPE_TIMESTAMP, day * 86400 * second + noon), -2047944441);
    expect_hash(of_number(TYPE_TIMESTAMP, day * 86400 * second + noon + 1), -1207196810);
    expect_hash(of_number(TYPE_TIMESTAMPTZ, day * 86400 * second + noon), -2047944441);
    expect_hash(of_bytes(TYPE_STRING, "iceberg", 7), 1210000089);
    expect_hash(of_bytes(TYPE_UUID, uuid, 16), 1488055340);
    expect_hash(of_bytes(TYPE_FIXED, "\0\1\2\3", 4), -188683207);
    expect_hash(of_bytes(TYPE_BINARY, "\0\1\2\3", 4), -188683207);
}

static void expect_int(One it, const char *transform, int64_t expected)
{
    Value value = transformed(it, transform);
    bool wide = value.type.kind == TYPE_INT64;
    assert_int_equal(wide                              ? value.i64
                     : value.type.kind == TYPE_DECIMAL ? (int64_t)value.i128
                                                       : value.i32,
                     expected);
    value_done(&value);
}

static void expect_text(One it, const char *transform, const char *expected, uint32_t bytes)
{
    Value value = transformed(it, transform);
    assert_int_equal(value.byte_count, bytes);
    assert_memory_equal(value.bytes, expected, bytes);
    value_done(&value);
}

static void truncation_goes_down(void **state)
{
    (void)state;
    expect_int(of_number(TYPE_INT32, 1), "truncate(10, c)", 0);
    expect_int(of_number(TYPE_INT32, -1), "truncate(10, c)", -10);
    expect_int(of_number(TYPE_INT64, -1), "truncate(10, c)", -10);
    expect_int(of_number(TYPE_INT64, -20), "truncate(10, c)", -20);
    expect_int(of_number(TYPE_DECIMAL, 1065), "truncate(50, c)", 1050);
    expect_int(of_number(TYPE_DECIMAL, -1), "truncate(50, c)", -50);
    expect_text(of_bytes(TYPE_STRING, "iceberg", 7), "truncate(3, c)", "ice", 3);
    expect_text(of_bytes(TYPE_STRING, "ic", 2), "truncate(3, c)", "ic", 2);
    expect_text(of_bytes(TYPE_STRING, "\xf0\x9f\xa7\x8aü!x", 8), "truncate(3, c)",
                "\xf0\x9f\xa7\x8aü!", 7);
    expect_text(of_bytes(TYPE_BINARY, "\1\2\3\4\5", 5), "truncate(3, c)", "\1\2\3", 3);
    Value least = transformed(of_number(TYPE_INT64, INT64_MIN), "truncate(10, c)");
    assert_int_equal(least.i64, INT64_MAX - 1); /* wraps as in Java */
}

static void time_is_cut_into_periods(void **state)
{
    (void)state;
    const int64_t us = 1000000, day = 86400 * us;
    expect_int(of_number(TYPE_DATE, 17486), "year(c)", 47);
    expect_int(of_number(TYPE_DATE, 17486), "month(c)", 574);
    expect_int(of_number(TYPE_DATE, 17486), "day(c)", 17486);
    expect_int(of_number(TYPE_DATE, -1), "year(c)", -1);
    expect_int(of_number(TYPE_DATE, -1), "month(c)", -1);
    expect_int(of_number(TYPE_DATE, 789), "month(c)", 25);      /* 1972-02-29 */
    expect_int(of_number(TYPE_DATE, 790), "month(c)", 26);      /* 1972-03-01 */
    expect_int(of_number(TYPE_DATE, -25509), "year(c)", -70);   /* 1900-02-28 */
    expect_int(of_number(TYPE_DATE, -25508), "month(c)", -838); /* 1900-03-01 */
    expect_int(of_number(TYPE_TIMESTAMP, -1), "day(c)", -1);
    expect_int(of_number(TYPE_TIMESTAMP, -1), "hour(c)", -1);
    expect_int(of_number(TYPE_TIMESTAMPTZ, -day), "day(c)", -1);
    expect_int(of_number(TYPE_TIMESTAMPTZ, -day - 1), "month(c)", -1);
    expect_int(of_number(TYPE_TIMESTAMPTZ, 17486 * day + 81068 * us), "hour(c)", 419686);
    Value day_value = transformed(of_number(TYPE_TIMESTAMP, 5 * day), "day(c)");
    assert_int_equal(day_value.type.kind, TYPE_DATE);
}

static void null_stays_null(void **state)
{
    (void)state;
    static const char *const transforms[] = {"c", "bucket(4, c)", "truncate(4, c)", "void(c)"};
    for (size_t i = 0; i < ARRAY_LEN(transforms); i++) {
        One it = one((Type){.kind = TYPE_STRING});
        column_put_null(it.batch, it.column);
        Value value = transformed(it, transforms[i]);
        assert_true(value.is_null);
    }
    Value value = transformed(of_number(TYPE_INT32, 7), "void(c)");
    assert_true(value.is_null);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"bucket(c)", "bucket"},     {"bucket(0, c)", "bucket"}, {"bucket(-1, c)", "bucket"},
        {"day(16, c)", "day"},       {"week(c)", "week"},        {"day(customer)", "customer"},
        {"day(c)", "string"},        {"hour(c", "hour(c"},       {"", "''"},
        {"bucket(4, c) x", "bucket"}};
    Schema *schema = schema_new(1, 0);
    schema->fields[0] = (Field){.name = mem_strdup("c"), .type.kind = TYPE_STRING, .id = 1};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Error err = {0};
        PartitionField field;
        assert_false(partition_field_parse(wrong[i][0], schema, &field, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_non_null(strstr(err.message, wrong[i][1]));
    }
    Error err = {0};
    PartitionField field;
    assert_false(partition_field_parse("day(d)", schema, &field, &err));
    assert_non_null(strstr(err.message, "'c'"));
    schema_free(schema);
}

static void folders_have_readable_names(void **state)
{
    (void)state;
    PartitionField fields[] = {
        {.name = (char[]){"ts_day"}, .transform = TRANSFORM_DAY, .result.kind = TYPE_DATE},
        {.name = (char[]){"id_bucket"}, .transform = TRANSFORM_BUCKET, .result.kind = TYPE_INT32},
        {.name = (char[]){"ts_month"}, .transform = TRANSFORM_MONTH, .result.kind = TYPE_INT32},
        {.name = (char[]){"ts_hour"}, .transform = TRANSFORM_HOUR, .result.kind = TYPE_INT32},
        {.name = (char[]){"a b"}, .transform = TRANSFORM_IDENTITY, .result.kind = TYPE_STRING},
        {.name = (char[]){"n"}, .transform = TRANSFORM_IDENTITY, .result.kind = TYPE_INT64},
    };
    PartitionSpec spec = {.fields = fields, .field_count = ARRAY_LEN(fields)};
    Value values[] = {
        {.type.kind = TYPE_DATE, .i32 = 20778},
        {.type.kind = TYPE_INT32, .i32 = 3},
        {.type.kind = TYPE_INT32, .i32 = -1},
        {.type.kind = TYPE_INT32, .i32 = 419686},
        {.type.kind = TYPE_STRING, .bytes = (uint8_t *)(char[]){"a/b=\xc3\xbc ."}, .byte_count = 8},
        {.type.kind = TYPE_INT64, .is_null = true}};
    char *path = partition_path(&spec, values);
    assert_string_equal(path, "ts_day=2026-11-21/id_bucket=3/ts_month=1969-12/"
                              "ts_hour=2017-11-16-22/a+b=a%2Fb%3D%C3%BC+./n=null");
    free(path);
}

/* Of any length, in any alphabet: a folder's name has at most 255 bytes, and other values other
 * names.
 */
static void long_values_make_short_names(void **state)
{
    (void)state;
    char name[] = "name";
    PartitionField field = {.name = name};
    PartitionSpec spec = {.fields = &field, .field_count = 1};
    for (size_t shift = 0; shift < 3; shift++) {
        char *paths[2];
        for (size_t last = 0; last < 2; last++) {
            uint8_t text[20000];
            memset(text, 0xc3, sizeof text);
            memset(text, 'a', 140 + shift);
            text[sizeof text - 1] = (uint8_t)last;
            Value value = {.type.kind = TYPE_STRING, .bytes = text, .byte_count = sizeof text};
            paths[last] = partition_path(&spec, &value);
            assert_in_range(strlen(paths[last]), 150, 160);
            assert_memory_equal(paths[last], "name=aaa", 8);
            const char *escape = strrchr(paths[last], '%');
            assert_true(!escape || strncmp(escape, "%C3", 3) == 0);
        }
        assert_string_not_equal(paths[0], paths[1]);
        free(paths[0]);
        free(paths[1]);
    }
}

/* Appendix D. */
static void single_values_have_their_binary_form(void **state)
{
    (void)state;
    static const struct {
        int64_t unscaled;
        const char *bytes;
        size_t count;
    } decimals[] = {{0, "\0", 1},          {1, "\1", 1},          {127, "\x7f", 1},
                    {128, "\0\x80", 2},    {-1, "\xff", 1},       {-128, "\x80", 1},
                    {-129, "\xff\x7f", 2}, {1420, "\x05\x8c", 2}, {-32769, "\xff\x7f\xff", 3}};
    for (size_t i = 0; i < ARRAY_LEN(decimals); i++) {
        Bytes bytes = {0};
        Value value = {.type = {.kind = TYPE_DECIMAL, .precision = 9, .scale = 2},
                       .i128 = decimals[i].unscaled};
        value_serialize(&value, &bytes);
        assert_int_equal(bytes.used, decimals[i].count);
        assert_memory_equal(bytes.data, decimals[i].bytes, bytes.used);
        bytes_done(&bytes);
    }
    Bytes bytes = {0};
    value_serialize(&(Value){.type.kind = TYPE_BOOL, .b = true}, &bytes);
    value_serialize(&(Value){.type.kind = TYPE_INT32, .i32 = 34}, &bytes);
    value_serialize(&(Value){.type.kind = TYPE_INT64, .i64 = -2}, &bytes);
    value_serialize(&(Value){.type.kind = TYPE_FLOAT32, .f32 = 1}, &bytes);
    value_serialize(&(Value){.type.kind = TYPE_FLOAT64, .f64 = 1}, &bytes);
    assert_int_equal(bytes.used, 25);
    assert_memory_equal(bytes.data,
                        "\1\x22\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\0\0\x80\x3f\0\0\0\0\0\0\xf0"
                        "\x3f",
                        25);
    bytes_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_the_specifications),
        cmocka_unit_test(truncation_goes_down),
        cmocka_unit_test(time_is_cut_into_periods),
        cmocka_unit_test(null_stays_null),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(folders_have_readable_names),
        cmocka_unit_test(long_values_make_short_names),
        cmocka_unit_test(single_values_have_their_binary_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
