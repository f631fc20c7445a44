/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/value.h"

static const Collation collation_items[] = {{8, "latin1"},   {11, "ascii"},  {28, "gbk"},
                                            {45, "utf8mb4"}, {54, "utf16"},  {63, "binary"},
                                            {83, "utf8mb3"}, {97, "klingon"}};
static const Collations collations = {collation_items, ARRAY_LEN(collation_items)};
static const char *labels[] = {"small", "b\xe4r", ""};
static uint32_t label_bytes[] = {5, 3, 0};

/* One column, one value. */
typedef struct One {
    MyDecoder decoder;
    Field field;
    Schema schema;
    Batch *batch;
    const char *why;
} One;

static Column *column_of(One *one)
{
    return &one->batch->columns[0];
}

static void decode(One *one, MyColumn column, const char *wanted, const void *value, size_t bytes)
{
    *one = (One){.field.name = (char[]){"v"}};
    Bytes scratch = {0};
    Type type;
    Error err = {0};
    if (wanted)
        assert_true(type_parse(wanted, &type, &err));
    assert_true(my_decoder_choose(&column, &collations, wanted ? &type : NULL, &one->decoder,
                                  &one->field.type, &one->why));
    one->schema = (Schema){.fields = &one->field, .field_count = 1};
    one->batch = batch_new(&one->schema, 0, 4);
    batch_row_begin(one->batch, ROW_READ, (RowPosition){0});
    uint8_t *exact = malloc(bytes + !bytes);
    memcpy(exact, value, bytes);
    Reader in = reader_over(exact, bytes);
    const uint8_t *at;
    uint32_t value_bytes;
    assert_true(value_take(&one->decoder, &in, &at, &value_bytes));
    assert_int_equal(reader_left(&in), 0);
    one->why = value_decode(&one->decoder, one->batch, column_of(one), at, value_bytes, &scratch);
    for (size_t i = 0; i < bytes; i++) { /* any less is not taken */
        in = reader_over(exact, i);
        assert_false(value_take(&one->decoder, &in, &at, &value_bytes));
    }
    free(exact);
    bytes_done(&scratch);
}

static void one_done(One *one)
{
    batch_free(one->batch);
    type_done(&one->field.type);
    my_decoder_done(&one->decoder);
}

static void expect_i64(MyColumn column, const void *value, size_t bytes, TypeKind kind,
                       int64_t wanted)
{
    One one;
    decode(&one, column, NULL, value, bytes);
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, kind);
    if (column_of(&one)->width == 4)
        assert_int_equal(column_i32(column_of(&one), 0), wanted);
    else
        assert_true(column_i64(column_of(&one), 0) == wanted);
    one_done(&one);
}

static void expect_as(MyColumn column, const char *as, const void *value, size_t bytes,
                      TypeKind kind, const void *wanted, size_t wanted_bytes)
{
    One one;
    uint32_t got;
    decode(&one, column, as, value, bytes);
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, kind);
    const uint8_t *at = column_bytes(column_of(&one), 0, &got);
    assert_int_equal(got, wanted_bytes);
    assert_memory_equal(at, wanted, wanted_bytes);
    one_done(&one);
}
static void expect_text(MyColumn column, const void *value, size_t bytes, const char *wanted)
{
    expect_as(column, NULL, value, bytes, TYPE_STRING, wanted, strlen(wanted));
}
static void expect_shown(MyColumn column, const void *value, size_t bytes, const char *wanted)
{
    expect_as(column, "string", value, bytes, TYPE_STRING, wanted, strlen(wanted));
}
static void expect_bad(MyColumn column, const void *value, size_t bytes)
{
    One one;
    decode(&one, column, NULL, value, bytes);
    assert_non_null(one.why);
    batch_row_undo(one.batch);
    assert_int_equal(one.batch->row_count, 0);
    one_done(&one);
}
static void expect_i128(MyColumn column, const void *value, size_t bytes, __int128 wanted)
{
    One one;
    decode(&one, column, NULL, value, bytes);
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, TYPE_DECIMAL);
    assert_memory_equal(column_of(&one)->values, &wanted, sizeof wanted);
    one_done(&one);
}

#define COLUMN(type_, ...) ((MyColumn){.type = (type_), __VA_ARGS__})

static void test_integers(void **state)
{
    (void)state;
    expect_i64(COLUMN(MY_TINY), TEXT("\x80"), TYPE_INT32, -128);
    expect_i64(COLUMN(MY_TINY, .is_unsigned = true), TEXT("\xff"), TYPE_INT32, 255);
    expect_i64(COLUMN(MY_SHORT), TEXT("\x00\x80"), TYPE_INT32, -32768);
    expect_i64(COLUMN(MY_SHORT, .is_unsigned = true), TEXT("\xff\xff"), TYPE_INT32, 65535);
    expect_i64(COLUMN(MY_INT24), TEXT("\x00\x00\x80"), TYPE_INT32, -8388608);
    expect_i64(COLUMN(MY_INT24, .is_unsigned = true), TEXT("\xff\xff\xff"), TYPE_INT32, 16777215);
    expect_i64(COLUMN(MY_LONG), TEXT("\x00\x00\x00\x80"), TYPE_INT32, INT32_MIN);
    expect_i64(COLUMN(MY_LONG, .is_unsigned = true), TEXT("\xff\xff\xff\xff"), TYPE_INT64,
               UINT32_MAX);
    expect_i64(COLUMN(MY_LONGLONG), TEXT("\0\0\0\0\0\0\0\x80"), TYPE_INT64, INT64_MIN);
    expect_i128(COLUMN(MY_LONGLONG, .is_unsigned = true), TEXT("\xff\xff\xff\xff\xff\xff\xff\xff"),
                (__int128)UINT64_MAX);
    expect_i64(COLUMN(MY_YEAR), TEXT("\0"), TYPE_INT32, 0);
    expect_i64(COLUMN(MY_YEAR), TEXT("\xff"), TYPE_INT32, 2155);
    expect_shown(COLUMN(MY_LONGLONG, .is_unsigned = true), TEXT("\xff\xff\xff\xff\xff\xff\xff\xff"),
                 "18446744073709551615");
    expect_shown(COLUMN(MY_INT24), TEXT("\xff\xff\xff"), "-1");
    expect_shown(COLUMN(MY_YEAR), TEXT("\0"), "0000");
}

static void test_floats(void **state)
{
    (void)state;
    One one;
    float f;
    double d;
    decode(&one, COLUMN(MY_FLOAT), NULL, TEXT("\0\0\xc0\xbf"));
    memcpy(&f, column_of(&one)->values, sizeof f);
    assert_true(f == -1.5f && one.field.type.kind == TYPE_FLOAT32);
    one_done(&one);
    decode(&one, COLUMN(MY_DOUBLE), NULL, TEXT("\0\0\0\0\0\0\xf8\xbf"));
    memcpy(&d, column_of(&one)->values, sizeof d);
    assert_true(d == -1.5 && one.field.type.kind == TYPE_FLOAT64);
    one_done(&one);
}

static void test_decimals(void **state)
{
    (void)state;
    MyColumn small = COLUMN(MY_NEWDECIMAL, .precision = 4, .scale = 2);
    expect_i128(small, TEXT("\x8c\x22"), 1234);
    expect_i128(small, TEXT("\x73\xdd"), -1234);
    expect_i128(small, TEXT("\x80\0"), 0);
    expect_shown(small, TEXT("\x73\xdd"), "-12.34");
    expect_shown(small, TEXT("\x80\5"), "0.05");
    expect_bad(small, TEXT("\xe4\0")); /* 100 in two digits */
    /* 1234567890.1234 as decimal(14,4), the server's manual: 81 0D FB 38 D2 04 D2. */
    MyColumn manual = COLUMN(MY_NEWDECIMAL, .precision = 14, .scale = 4);
    expect_i128(manual, TEXT("\x81\x0d\xfb\x38\xd2\x04\xd2"), (__int128)12345678901234);
    expect_i128(manual, TEXT("\x7e\xf2\x04\xc7\x2d\xfb\x2d"), -(__int128)12345678901234);
    expect_shown(manual, TEXT("\x7e\xf2\x04\xc7\x2d\xfb\x2d"), "-1234567890.1234");
    /* decimal(38,0): 2 digits, then four nines of nine */
    __int128 nines = 1;
    for (int i = 0; i < 38; i++)
        nines *= 10;
    expect_i128(COLUMN(MY_NEWDECIMAL, .precision = 38),
                TEXT("\xe3\x3b\x9a\xc9\xff\x3b\x9a\xc9\xff\x3b\x9a\xc9\xff\x3b\x9a\xc9\xff"),
                nines - 1);
    /* decimal(39,0) is text */
    expect_text(COLUMN(MY_NEWDECIMAL, .precision = 39),
                TEXT("\x80\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0"), "1000000000000000000000000000");
    expect_text(COLUMN(MY_NEWDECIMAL, .precision = 39, .scale = 38),
                TEXT("\x81\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\5"),
                "1.00000000000000000100000000000000000005");
    expect_i128(COLUMN(MY_NEWDECIMAL, .precision = 2, .scale = 2), TEXT("\x8c"), 12);
    expect_shown(COLUMN(MY_NEWDECIMAL, .precision = 2, .scale = 2), TEXT("\x8c"), "0.12");
}

static void test_dates(void **state)
{
    (void)state;
    MyColumn date = COLUMN(MY_DATE);
#define DATE(y, m, d) (y) << 9 | (m) << 5 | (d)
    static const struct {
        uint32_t packed;
        int32_t days; /* INT32_MIN: none */
        const char *text;
    } cases[] = {
        {DATE(1970, 1, 1), 0, "1970-01-01"},          {DATE(1969, 12, 31), -1, "1969-12-31"},
        {DATE(2000, 2, 29), 11016, "2000-02-29"},     {DATE(2024, 3, 1), 19783, "2024-03-01"},
        {DATE(9999, 12, 31), 2932896, "9999-12-31"},  {DATE(1000, 1, 1), -354285, "1000-01-01"},
        {DATE(1, 1, 1), -719162, "0001-01-01"},       {DATE(0, 1, 1), -719528, "0000-01-01"},
        {DATE(0, 0, 0), INT32_MIN, "0000-00-00"},     {DATE(2016, 0, 28), INT32_MIN, "2016-00-28"},
        {DATE(2016, 10, 0), INT32_MIN, "2016-10-00"}, {DATE(2023, 2, 29), INT32_MIN, "2023-02-29"},
        {DATE(1900, 2, 29), INT32_MIN, "1900-02-29"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].days == INT32_MIN)
            expect_bad(date, &cases[i].packed, 3);
        else
            expect_i64(date, &cases[i].packed, 3, TYPE_DATE, cases[i].days);
        expect_shown(date, &cases[i].packed, 3, cases[i].text);
    }
}

static void test_datetimes(void **state)
{
    (void)state;
    MyColumn whole = COLUMN(MY_DATETIME2), two = COLUMN(MY_DATETIME2, .scale = 2),
             six = COLUMN(MY_DATETIME2, .scale = 6), four = COLUMN(MY_DATETIME2, .scale = 3);
    expect_i64(whole, TEXT("\x99\x9a\xb8\xf7\xaa"), TYPE_TIMESTAMP, INT64_C(1477668642000000));
    expect_shown(whole, TEXT("\xfe\xf3\xff\x7e\xfb"), "9999-12-31 23:59:59");
    expect_i64(whole, TEXT("\x99\x02\xc2\x00\x00"), TYPE_TIMESTAMP, 0);
    expect_shown(two, TEXT("\x80\x03\x82\x00\x00\x0c"), "0001-01-01 00:00:00.12");
    expect_shown(four, TEXT("\x80\x03\x82\x00\x00\x04\xd3"), "0001-01-01 00:00:00.123");
    expect_i64(six, TEXT("\x99\x02\xc2\x00\x00\x01\xe2\x40"), TYPE_TIMESTAMP, 123456);
    expect_bad(whole, TEXT("\x80\x00\x00\x00\x00"));
    expect_shown(whole, TEXT("\x80\x00\x00\x00\x00"), "0000-00-00 00:00:00");
    expect_bad(whole, TEXT("\x99\x98\x38\xf7\xaa"));
    expect_shown(whole, TEXT("\x99\x98\x38\xf7\xaa"), "2016-00-28 15:30:42");
    expect_bad(whole, TEXT("\x19\x9a\xb8\xf7\xaa"));
    uint64_t old = UINT64_C(20161028153042);
    expect_i64(COLUMN(MY_DATETIME), &old, 8, TYPE_TIMESTAMP, INT64_C(1477668642000000));
}

static void test_timestamps(void **state)
{
    (void)state;
    expect_i64(COLUMN(MY_TIMESTAMP2), TEXT("\x58\x13\x6f\x22"), TYPE_TIMESTAMPTZ,
               INT64_C(1477668642000000));
    expect_i64(COLUMN(MY_TIMESTAMP2, .scale = 6), TEXT("\x58\x13\x6f\x22\x0f\x42\x3f"),
               TYPE_TIMESTAMPTZ, INT64_C(1477668642999999));
    expect_i64(COLUMN(MY_TIMESTAMP), TEXT("\x22\x6f\x13\x58"), TYPE_TIMESTAMPTZ,
               INT64_C(1477668642000000));
    expect_i64(COLUMN(MY_TIMESTAMP2), TEXT("\xff\xff\xff\xff"), TYPE_TIMESTAMPTZ,
               INT64_C(4294967295000000)); /* MariaDB's range */
    expect_shown(COLUMN(MY_TIMESTAMP2, .scale = 3), TEXT("\x58\x13\x6f\x22\x13\x88"),
                 "2016-10-28 15:30:42.500");
    expect_shown(COLUMN(MY_TIMESTAMP2), TEXT("\xff\xff\xff\xff"), "2106-02-07 06:28:15");
    expect_shown(COLUMN(MY_TIMESTAMP2), TEXT("\x38\xbc\x5d\x80"), "2000-03-01 00:00:00");
    expect_bad(COLUMN(MY_TIMESTAMP2), TEXT("\0\0\0\0"));
    expect_shown(COLUMN(MY_TIMESTAMP2), TEXT("\0\0\0\0"), "0000-00-00 00:00:00");
}

static void test_times(void **state)
{
    (void)state;
    MyColumn two = COLUMN(MY_TIME2, .scale = 2), six = COLUMN(MY_TIME2, .scale = 6);
    expect_i64(COLUMN(MY_TIME2), TEXT("\x80\x00\x00"), TYPE_TIME, 0);
    expect_i64(COLUMN(MY_TIME2), TEXT("\x81\x7e\xfb"), TYPE_TIME, INT64_C(86399000000));
    expect_shown(two, TEXT("\x7f\xff\xff\xff"), "-00:00:00.01");
    expect_shown(two, TEXT("\x7f\xff\xff\x9d"), "-00:00:00.99");
    expect_shown(two, TEXT("\x7f\xff\xff\x00"), "-00:00:01.00");
    expect_shown(two, TEXT("\x7f\xff\xfe\xff"), "-00:00:01.01");
    expect_shown(two, TEXT("\x7f\xff\xfe\xf6"), "-00:00:01.10");
    expect_i64(six, TEXT("\x80\x00\x00\x0f\x42\x3f"), TYPE_TIME, 999999);
    expect_shown(COLUMN(MY_TIME2), TEXT("\xb4\x6e\xfb"), "838:59:59");
    expect_shown(COLUMN(MY_TIME2), TEXT("\x4b\x91\x05"), "-838:59:59");
    expect_bad(COLUMN(MY_TIME2), TEXT("\xb4\x6e\xfb"));
    expect_bad(COLUMN(MY_TIME2), TEXT("\x81\x80\x00")); /* 24:00:00 */
    expect_bad(two, TEXT("\x7f\xff\xff\xff"));
    uint32_t old = 123456;
    expect_i64(COLUMN(MY_TIME), &old, 3, TYPE_TIME, INT64_C(45296000000));
    old = (uint32_t)-8385959;
    expect_shown(COLUMN(MY_TIME), &old, 3, "-838:59:59");
}

static void test_bits_and_labels(void **state)
{
    (void)state;
    One one;
    decode(&one, COLUMN(MY_BIT, .bytes = 1), NULL, TEXT("\1"));
    assert_int_equal(one.field.type.kind, TYPE_BOOL);
    assert_true(bit_get(column_of(&one)->values, 0));
    one_done(&one);
    expect_text(COLUMN(MY_BIT, .bytes = 10), TEXT("\2\5"), "1000000101");
    expect_text(COLUMN(MY_BIT, .bytes = 64), TEXT("\x80\0\0\0\0\0\0\1"),
                "1000000000000000000000000000000000000000000000000000000000000001");
    MyColumn choice = COLUMN(MY_ENUM, .bytes = 1, .collation = 8, .labels = labels,
                             .label_bytes = label_bytes, .label_count = 3);
    expect_text(choice, TEXT("\1"), "small");
    expect_text(choice, TEXT("\2"), "bär");
    expect_text(choice, TEXT("\3"), "");
    expect_text(choice, TEXT("\0"), "");
    expect_bad(choice, TEXT("\4"));
    choice.bytes = 2;
    expect_text(choice, TEXT("\2\0"), "bär");
    choice.type = MY_SET;
    choice.bytes = 1;
    expect_text(choice, TEXT("\0"), "");
    expect_text(choice, TEXT("\3"), "small,bär");
    expect_bad(choice, TEXT("\x08"));
}

static void test_text(void **state)
{
    (void)state;
    MyColumn text = COLUMN(MY_VARCHAR, .length_bytes = 1, .collation = 45);
    expect_text(text, TEXT("\0"), "");
    expect_text(text, TEXT("\6bl\xc3\xa4u\n"), "bläu\n");
    expect_bad(text, TEXT("\3a\xc3\x28"));
    text.collation = 83;
    expect_text(text, TEXT("\3\xe2\x82\xac"), "€");
    text.collation = 8;
    expect_text(text, TEXT("\5\x80\xe4z\x81\xff"), "€äz\xc2\x81ÿ");
    text.collation = 11;
    expect_text(text, TEXT("\2az"), "az");
    expect_bad(text, TEXT("\2a\xff"));
    text.collation = 28;
    expect_text(text, TEXT("\4\xc4\xe3\xba\xc3"), "你好");
    expect_bad(text, TEXT("\1\xc4"));
    text.collation = 54;
    expect_text(text, TEXT("\6\x20\xac\xd8\x3d\xde\0"), "€😀");
    text.length_bytes = 2;
    expect_text(text, TEXT("\2\0\0a"), "a");
    expect_text(COLUMN(MY_BLOB, .length_bytes = 3, .collation = 45), TEXT("\2\0\0ab"), "ab");
    expect_text(COLUMN(MY_JSON, .length_bytes = 4), TEXT("\5\0\0\0\0\0\0\4\0"), "{}");
    expect_bad(COLUMN(MY_JSON, .length_bytes = 4), TEXT("\1\0\0\0\0"));
}

static void test_bytes(void **state)
{
    (void)state;
    expect_as(COLUMN(MY_VARCHAR, .length_bytes = 1, .collation = 63), NULL, TEXT("\2\xff\0"),
              TYPE_BINARY, "\xff\0", 2);
    expect_as(COLUMN(MY_BLOB, .length_bytes = 2, .collation = 63), NULL, TEXT("\1\0\xfe"),
              TYPE_BINARY, "\xfe", 1);
    /* BINARY(4): the log leaves out the zeros at its end */
    MyColumn padded = COLUMN(MY_STRING, .length_bytes = 1, .bytes = 4, .collation = 63);
    expect_as(padded, NULL, TEXT("\2\xff\1"), TYPE_BINARY, "\xff\1\0\0", 4);
    expect_as(padded, NULL, TEXT("\0"), TYPE_BINARY, "\0\0\0\0", 4);
    expect_bad(padded, TEXT("\5abcde"));
    /* POINT(1 2) with its SRID before it */
    static const char point[] =
        "\x19\0\0\0\xe6\x10\0\0\1\1\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";
    expect_as(COLUMN(MY_GEOMETRY, .length_bytes = 4), NULL, point, sizeof point - 1, TYPE_BINARY,
              point + 8, 21);
    expect_bad(COLUMN(MY_GEOMETRY, .length_bytes = 4), TEXT("\4\0\0\0\0\0\0\0"));
    One one;
    decode(&one, COLUMN(MY_VECTOR, .length_bytes = 4), NULL,
           TEXT("\x08\0\0\0\0\0\x80\x3f\0\0\0\xc0"));
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, TYPE_LIST);
    float got[2];
    memcpy(got, column_of(&one)->child->values, sizeof got);
    assert_true(got[0] == 1 && got[1] == -2);
    one_done(&one);
    expect_bad(COLUMN(MY_VECTOR, .length_bytes = 4), TEXT("\3\0\0\0abc"));
}

static void expect_refused(MyColumn column, const char *as)
{
    MyDecoder decoder;
    Type type, wanted;
    const char *why = NULL;
    Error err = {0};
    if (as)
        assert_true(type_parse(as, &wanted, &err));
    assert_false(
        my_decoder_choose(&column, &collations, as ? &wanted : NULL, &decoder, &type, &why));
    assert_non_null(why);
    my_decoder_done(&decoder);
    type_done(&type);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    expect_refused(COLUMN(MY_VARCHAR, .length_bytes = 1, .collation = 97), NULL);
    expect_refused(COLUMN(MY_VARCHAR, .length_bytes = 1, .collation = 9999), NULL);
    expect_refused(COLUMN(MY_ENUM, .bytes = 1, .collation = 45), NULL);
    expect_refused(COLUMN(MY_DECIMAL_OLD), NULL);
    expect_refused(COLUMN(MY_FLOAT), "string");
    expect_refused(COLUMN(MY_LONG), "boolean");
    expect_refused(COLUMN(MY_GEOMETRY, .length_bytes = 4), "string");
    expect_i64(COLUMN(MY_LONG), TEXT("\1\0\0\0"), TYPE_INT32, 1);
    One one;
    decode(&one, COLUMN(MY_LONG), "long", TEXT("\xff\xff\xff\xff"));
    assert_int_equal(column_i64(column_of(&one), 0), -1);
    one_done(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_datetimes),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_bits_and_labels),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
