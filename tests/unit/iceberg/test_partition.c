/* links: firn_iceberg */
/* Transforms against the specification's vectors (Appendix B) and the edges of time and type; the
 * values' binary form; what partitionBy refuses. */
#include "tests/unit/iceberg/lake.h"

#include <math.h>

/* A batch of one column with one value. */
typedef struct One {
    Schema *schema;
    Batch *batch;
} One;

static One one(Type type, const void *value, size_t bytes)
{
    One one = {.schema = schema_new(1, 0)};
    one.schema->fields[0] = lake_field("c", type, false);
    one.batch = batch_new(one.schema, 0, 1);
    batch_row_begin(one.batch, ROW_READ, (RowPosition){0});
    Column *column = &one.batch->columns[0];
    if (!value)
        column_put_null(one.batch, column);
    else if (column->width)
        memcpy(column_put_fixed(one.batch, column), value, column->width);
    else if (type.kind == TYPE_BOOL)
        column_put_bool(one.batch, column, *(const bool *)value);
    else
        column_put_bytes(one.batch, column, value, bytes);
    return one;
}

static Value transformed(const char *text, Type type, const void *value, size_t bytes)
{
    One made = one(type, value, bytes);
    PartitionField field;
    Value result;
    OK(partition_field_parse(text, made.schema, &field, &err));
    partition_value(&field, &made.batch->columns[0], 0, &result);
    free(field.name);
    batch_free(made.batch);
    schema_free(made.schema);
    return result;
}

static void bucket_is(Type type, const void *value, size_t bytes, int32_t hash)
{
    Value result = transformed("bucket(1000000, c)", type, value, bytes);
    assert_int_equal(result.i32, (hash & INT32_MAX) % 1000000);
    result = transformed("bucket(16, c)", type, value, bytes);
    assert_int_equal(result.i32, (hash & INT32_MAX) % 16);
}

/* 2017-11-16T22:31:08 */
#define STAMP_US INT64_C(1510871468000000)
#define STAMP_DAY 17486

static void test_hashes(void **state)
{
    (void)state;
    int32_t i32 = 34, day = STAMP_DAY;
    int64_t i64 = 34, time = INT64_C(81068000000), stamp = STAMP_US, later = STAMP_US + 1;
    __int128 decimal = 1420;
    static const uint8_t uuid[] = {0xf7, 0x9c, 0x3e, 0x09, 0x67, 0x7c, 0x4b, 0xbd,
                                   0xa4, 0x79, 0x3f, 0x34, 0x9c, 0xb7, 0x85, 0xe7};
    bucket_is((Type){.kind = TYPE_INT32}, &i32, 4, 2017239379);
    bucket_is((Type){.kind = TYPE_INT64}, &i64, 8, 2017239379);
    bucket_is((Type){.kind = TYPE_DECIMAL, .precision = 9, .scale = 2}, &decimal, 16, -500754589);
    bucket_is((Type){.kind = TYPE_DATE}, &day, 4, -653330422);
    bucket_is((Type){.kind = TYPE_TIME}, &time, 8, -662762989);
    bucket_is((Type){.kind = TYPE_TIMESTAMP}, &stamp, 8, -2047944441);
    bucket_is((Type){.kind = TYPE_TIMESTAMP}, &later, 8, -1207196810);
    bucket_is((Type){.kind = TYPE_TIMESTAMPTZ}, &stamp, 8, -2047944441);
    bucket_is((Type){.kind = TYPE_TIMESTAMPTZ}, &later, 8, -1207196810);
    bucket_is((Type){.kind = TYPE_STRING}, "iceberg", 7, 1210000089);
    bucket_is((Type){.kind = TYPE_UUID}, uuid, 16, 1488055340);
    bucket_is((Type){.kind = TYPE_FIXED, .fixed_bytes = 4}, "\0\1\2\3", 4, -188683207);
    bucket_is((Type){.kind = TYPE_BINARY}, "\0\1\2\3", 4, -188683207);
    assert_true(transformed("bucket(16, c)", (Type){.kind = TYPE_INT32}, NULL, 0).is_null);
}

static int32_t period_of_us(const char *text, int64_t us)
{
    return transformed(text, (Type){.kind = TYPE_TIMESTAMPTZ}, &us, 8).i32;
}

static int32_t period_of_day(const char *text, int32_t day)
{
    return transformed(text, (Type){.kind = TYPE_DATE}, &day, 4).i32;
}

static void test_periods(void **state)
{
    (void)state;
    assert_int_equal(period_of_us("year(c)", STAMP_US), 47);
    assert_int_equal(period_of_us("month(c)", STAMP_US), 574);
    assert_int_equal(period_of_us("day(c)", STAMP_US), STAMP_DAY);
    assert_int_equal(period_of_us("hour(c)", STAMP_US), 419686);
    assert_int_equal(period_of_day("year(c)", STAMP_DAY), 47);
    assert_int_equal(period_of_day("month(c)", STAMP_DAY), 574);
    assert_int_equal(period_of_day("day(c)", STAMP_DAY), STAMP_DAY);
    const char *const all[] = {"year(c)", "month(c)", "day(c)", "hour(c)"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(period_of_us(all[i], 0), 0);
        assert_int_equal(period_of_us(all[i], -1), -1); /* the last of 1969 */
    }
    assert_int_equal(period_of_us("hour(c)", -3600000000), -1);
    assert_int_equal(period_of_us("hour(c)", -3600000001), -2);
    assert_int_equal(period_of_us("day(c)", -86400000001), -2);
    assert_int_equal(period_of_day("month(c)", -31), -1); /* 1969-12-01 */
    assert_int_equal(period_of_day("month(c)", -32), -2);
    assert_int_equal(period_of_day("year(c)", -365), -1);
    assert_int_equal(period_of_day("year(c)", -366), -2);
    assert_int_equal(period_of_day("month(c)", 11016), 361);    /* 2000-02-29 */
    assert_int_equal(period_of_day("month(c)", 11017), 362);    /* 2000-03-01 */
    assert_int_equal(period_of_day("year(c)", -719162), -1969); /* 0001-01-01 */
    assert_int_equal(period_of_day("year(c)", -719163), -1970); /* the day before */
    assert_int_equal(period_of_us("day(c)", INT64_MAX), 106751991);
    assert_int_equal(period_of_us("day(c)", INT64_MIN), -106751992);
    assert_int_equal(transformed("day(c)", (Type){.kind = TYPE_DATE}, "\1\0\0\0", 4).type.kind,
                     TYPE_DATE);
}

static int64_t truncated(int32_t width, int64_t value)
{
    AUTO(mem_free) char *text = mem_format("truncate(%d, c)", width);
    return transformed(text, (Type){.kind = TYPE_INT64}, &value, 8).i64;
}

static void truncated_text(Type type, int32_t width, const char *text, const char *wanted)
{
    AUTO(mem_free) char *how = mem_format("truncate(%d, c)", width);
    Value value = transformed(how, type, text, strlen(text));
    assert_int_equal(value.byte_count, strlen(wanted));
    assert_memory_equal(value.bytes, wanted, strlen(wanted));
    value_done(&value);
}

static void test_truncate(void **state)
{
    (void)state;
    assert_int_equal(truncated(10, 1), 0);
    assert_int_equal(truncated(10, -1), -10);
    assert_int_equal(truncated(10, 10), 10);
    assert_int_equal(truncated(10, -10), -10);
    assert_int_equal(truncated(1, INT64_MIN), INT64_MIN);
    assert_int_equal(truncated(10, INT64_MAX), INT64_MAX - 7);
    assert_true(truncated(10, INT64_MIN) > 0); /* wraps, as in Java */
    int32_t i32 = -7;
    assert_int_equal(transformed("truncate(5, c)", (Type){.kind = TYPE_INT32}, &i32, 4).i32, -10);
    __int128 decimal = 1065;
    Type money = {.kind = TYPE_DECIMAL, .precision = 9, .scale = 2};
    assert_true(transformed("truncate(50, c)", money, &decimal, 16).i128 == 1050);
    decimal = -1;
    assert_true(transformed("truncate(50, c)", money, &decimal, 16).i128 == -50);
    truncated_text((Type){.kind = TYPE_STRING}, 3, "iceberg", "ice");
    truncated_text((Type){.kind = TYPE_STRING}, 3, "ic", "ic");
    truncated_text((Type){.kind = TYPE_STRING}, 3, "", "");
    truncated_text((Type){.kind = TYPE_STRING}, 2, "äöü", "äö");
    truncated_text((Type){.kind = TYPE_STRING}, 2, "𝄞𝄞𝄞", "𝄞𝄞"); /* code points, not UTF-16 */
    truncated_text((Type){.kind = TYPE_BINARY}, 3, "äöü", "\xc3\xa4\xc3");
}

static void refused(const char *text, TypeKind kind, const char *why)
{
    AUTO(schema_free) Schema *schema = schema_new(2, 0);
    schema->fields[0] = lake_field("c", (Type){.kind = kind, .precision = 9}, false);
    schema->fields[1] = lake_field("created_at", (Type){.kind = TYPE_TIMESTAMP}, false);
    PartitionField field;
    Error refusal = {0};
    if (partition_field_parse(text, schema, &field, &refusal))
        fail_msg("%s was taken", text);
    assert_int_equal(refusal.kind, ERROR_CONFIG);
    assert_null(field.name);
    if (!strstr(refusal.message, why) || !strstr(refusal.message, text))
        fail_msg("'%s' has no '%s'", refusal.message, why);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("bucket(0, c)", TYPE_INT32, "N > 0");
    refused("bucket(-4, c)", TYPE_INT32, "N > 0");
    refused("bucket(99999999999, c)", TYPE_INT32, "none of");
    refused("bucket(c)", TYPE_INT32, "N > 0");
    refused("bucket(4, c", TYPE_INT32, "none of");
    refused("bucket(4, c) x", TYPE_INT32, "none of");
    refused("day(4, c)", TYPE_DATE, "none of");
    refused("week(c)", TYPE_DATE, "week");
    refused("", TYPE_DATE, "none of");
    refused("day(create_at)", TYPE_DATE, "did you mean 'created_at'");
    refused("bucket(4, c)", TYPE_FLOAT64, "double");
    refused("bucket(4, c)", TYPE_BOOL, "boolean");
    refused("truncate(4, c)", TYPE_UUID, "uuid");
    refused("truncate(4, c)", TYPE_TIMESTAMP, "timestamp");
    refused("hour(c)", TYPE_DATE, "date");
    refused("day(c)", TYPE_STRING, "string");
    refused("day(c)", TYPE_TIME, "time");
}

/* Refused before a table is made that other engines would refuse. */
static void creation_is_refused(const char *first, const char *second, const char *why)
{
    Lake lake;
    lake_open(&lake);
    const char *by[] = {first, second};
    IcebergCreate how = {
        .format_version = 2, .schema = lake.schema, .partition_by = by, .partition_count = 2};
    Error refusal = {0};
    assert_false(
        iceberg_table_create(lake.store, lake.catalog, &lake.name, &how, &lake.table, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFIG);
    assert_non_null(strstr(refusal.message, why));
    assert_int_equal(lake.memory->count, 0);
    lake_done(&lake);
}

static void test_names(void **state)
{
    (void)state;
    creation_is_refused("country", "country", "stands twice");
    creation_is_refused("bucket(4, id)", "bucket(8, id)", "another number");
    Lake lake;
    lake_open(&lake);
    free(lake.schema->fields[1].name);
    lake.schema->fields[1].name = mem_strdup("at_day");
    lake_create(&lake, 2, "day(at)");
    const PartitionSpec *spec = iceberg_partition_spec(lake.table);
    assert_string_equal(spec->fields[0].name, "at_day_partition");
    assert_int_equal(spec->fields[0].field_id, 1000);
    lake_done(&lake);
}

static void path_is(const char *by, Type type, const void *value, size_t bytes, const char *wanted)
{
    One made = one(type, value, bytes);
    PartitionField field;
    Value result;
    OK(partition_field_parse(by, made.schema, &field, &err));
    partition_value(&field, &made.batch->columns[0], 0, &result);
    const PartitionSpec spec = {.fields = &field, .field_count = 1};
    AUTO(mem_free) char *path = partition_path(&spec, &result);
    assert_string_equal(path, wanted);
    value_done(&result);
    free(field.name);
    batch_free(made.batch);
    schema_free(made.schema);
}

static void test_paths(void **state)
{
    (void)state;
    int64_t us = STAMP_US, before = -1;
    int32_t far = INT32_MAX;
    Type stamp = {.kind = TYPE_TIMESTAMPTZ}, text = {.kind = TYPE_STRING};
    path_is("year(c)", stamp, &us, 8, "c_year=2017");
    path_is("month(c)", stamp, &us, 8, "c_month=2017-11");
    path_is("day(c)", stamp, &us, 8, "c_day=2017-11-16");
    path_is("hour(c)", stamp, &us, 8, "c_hour=2017-11-16-22");
    path_is("month(c)", stamp, &before, 8, "c_month=1969-12");
    path_is("hour(c)", stamp, &before, 8, "c_hour=1969-12-31-23");
    path_is("day(c)", stamp, NULL, 0, "c_day=null");
    path_is("c", text, "a b/c=d", 7, "c=a+b%2Fc%3Dd");
    path_is("c", text, "..", 2, "c=..");
    path_is("c", text, "ä\0", 3, "c=%C3%A4%00");
    path_is("c", (Type){.kind = TYPE_DATE}, &far, 4, "c=5881580-07-11");
    __int128 cents = -5;
    path_is("c", (Type){.kind = TYPE_DECIMAL, .precision = 9, .scale = 2}, &cents, 16, "c=-0.05");
}

static void serialized(Value value, const void *wanted, size_t bytes)
{
    Bytes is = {0};
    value_serialize(&value, &is);
    assert_int_equal(is.used, bytes);
    assert_memory_equal(is.data, wanted, bytes);
    bytes_done(&is);
}

/* https://iceberg.apache.org/spec/#binary-single-value-serialization */
static void test_serialization(void **state)
{
    (void)state;
    Type money = {.kind = TYPE_DECIMAL, .precision = 38, .scale = 2};
    serialized((Value){.type = {.kind = TYPE_BOOL}, .b = true}, "\1", 1);
    serialized((Value){.type = {.kind = TYPE_INT32}, .i32 = -2}, "\xfe\xff\xff\xff", 4);
    serialized((Value){.type = {.kind = TYPE_TIMESTAMP}, .i64 = 258}, "\2\1\0\0\0\0\0\0", 8);
    serialized((Value){.type = {.kind = TYPE_FLOAT32}, .f32 = 1}, "\0\0\x80\x3f", 4);
    serialized((Value){.type = money, .i128 = 0}, "\0", 1);
    serialized((Value){.type = money, .i128 = 127}, "\x7f", 1);
    serialized((Value){.type = money, .i128 = 128}, "\0\x80", 2);
    serialized((Value){.type = money, .i128 = -128}, "\x80", 1);
    serialized((Value){.type = money, .i128 = -129}, "\xff\x7f", 2);
    serialized((Value){.type = money, .i128 = 1420}, "\x05\x8c", 2);
}

static int order(double a, double b)
{
    Value x = {.type = {.kind = TYPE_FLOAT64}, .f64 = a}, y = {.type = x.type, .f64 = b};
    return value_compare(&x, &y);
}

static void test_order(void **state)
{
    (void)state;
    assert_true(order(-0.0, 0.0) < 0 && order(0.0, -0.0) > 0 && order(0.0, 0.0) == 0);
    assert_true(order(-INFINITY, -1) < 0 && order(INFINITY, 1) > 0);
    Value nan = {.type = {.kind = TYPE_FLOAT64}, .f64 = NAN};
    assert_true(value_is_nan(&nan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),   cmocka_unit_test(test_periods),
        cmocka_unit_test(test_truncate), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_paths),
        cmocka_unit_test(test_order),    cmocka_unit_test(test_serialization),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
