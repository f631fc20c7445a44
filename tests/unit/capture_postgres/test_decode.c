/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include "tests/unit/capture_postgres/fixture.h"

/* One column, one value. */
typedef struct One {
    PgDecoder decoder;
    Field field;
    Schema schema;
    Batch *batch;
    const char *why;
} One;

static Column *column_of(One *one)
{
    return &one->batch->columns[0];
}

static void decode(One *one, const PgTypeFacts *facts, const void *value, size_t bytes)
{
    *one = (One){.field.name = (char[]){"v"}};
    assert_true(fixture_choose(facts, &one->decoder, &one->field.type));
    one->schema = (Schema){.fields = &one->field, .field_count = 1};
    one->batch = batch_new(&one->schema, 0, 4);
    batch_row_begin(one->batch, ROW_READ, (RowPosition){0});
    /* A copy of exactly that many bytes: reading past it is seen. */
    uint8_t *exact = malloc(bytes ? bytes : 1);
    if (bytes)
        memcpy(exact, value, bytes);
    one->why = decode_value(&one->decoder, one->batch, column_of(one), exact, (uint32_t)bytes);
    free(exact);
}

static void one_done(One *one)
{
    batch_free(one->batch);
    type_done(&one->field.type);
    decoder_done(&one->decoder);
}

#define BASE(oid_) (&(PgTypeFacts){.oid = (oid_), .typmod = -1, .typtype = 'b'})
#define BYTES(text) (text), sizeof(text) - 1

static void expect_i64(const PgTypeFacts *facts, const void *value, size_t bytes, TypeKind kind,
                       int64_t wanted)
{
    One one;
    decode(&one, facts, value, bytes);
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, kind);
    if (column_of(&one)->width == 4)
        assert_int_equal(column_i32(column_of(&one), 0), wanted);
    else
        assert_int_equal(column_i64(column_of(&one), 0), wanted);
    one_done(&one);
}

static void expect_text(const PgTypeFacts *facts, const void *value, size_t bytes,
                        const char *wanted)
{
    One one;
    decode(&one, facts, value, bytes);
    assert_null(one.why);
    uint32_t length;
    const uint8_t *at = column_bytes(column_of(&one), 0, &length);
    assert_int_equal(length, strlen(wanted));
    assert_memory_equal(at, wanted, length);
    one_done(&one);
}

static void expect_refused(const PgTypeFacts *facts, const void *value, size_t bytes,
                           const char *wanted)
{
    One one;
    decode(&one, facts, value, bytes);
    assert_non_null(one.why);
    assert_non_null(strstr(one.why, wanted));
    one_done(&one);
}

static void numbers(void **state)
{
    (void)state;
    expect_i64(BASE(21), BYTES("\xff\xfe"), TYPE_INT32, -2);
    expect_i64(BASE(23), BYTES("\x80\0\0\0"), TYPE_INT32, INT32_MIN);
    expect_i64(BASE(20), BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), TYPE_INT64, INT64_MAX);
    float f = -1.5f;
    int32_t f_bits;
    memcpy(&f_bits, &f, 4);
    expect_i64(BASE(700), BYTES("\xbf\xc0\0\0"), TYPE_FLOAT32, f_bits);
    double d = 1e300;
    int64_t d_bits;
    memcpy(&d_bits, &d, 8);
    expect_i64(BASE(701), BYTES("\x7e\x37\xe4\x3c\x88\x00\x75\x9c"), TYPE_FLOAT64, d_bits);
    One one;
    decode(&one, BASE(16), "\1", 1);
    assert_null(one.why);
    assert_true(bit_get(column_of(&one)->values, 0));
    one_done(&one);
}

static void times(void **state)
{
    (void)state;
    expect_i64(BASE(1082), BYTES("\0\0\0\0"), TYPE_DATE, 10957);
    expect_i64(BASE(1082), BYTES("\xff\xff\xd5\x32"), TYPE_DATE, -1); /* 1969-12-31 */
    expect_refused(BASE(1082), BYTES("\x7f\xff\xff\xff"), "infinite");
    expect_refused(BASE(1082), BYTES("\x80\0\0\0"), "infinite");
    expect_refused(BASE(1082), BYTES("\x7f\xff\xff\xfe"), "range");
    expect_i64(BASE(1083), BYTES("\0\0\0\x14\x1d\xd7\x5f\xff"), TYPE_TIME, 86399999999);
    expect_refused(BASE(1083), BYTES("\0\0\0\x14\x1d\xd7\x60\0"), "24:00:00");
    expect_refused(BASE(1083), BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), "time of day");
    expect_i64(BASE(1114), BYTES("\0\0\0\0\0\0\0\1"), TYPE_TIMESTAMP, 946684800000001);
    expect_i64(BASE(1184), BYTES("\xff\xfc\xa2\xfe\xc4\xc8\x20\0"), TYPE_TIMESTAMPTZ, 0);
    expect_refused(BASE(1184), BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), "infinite");
    expect_refused(BASE(1184), BYTES("\x80\0\0\0\0\0\0\0"), "infinite");
    expect_refused(BASE(1114), BYTES("\x7f\xff\xff\xff\xff\xff\xff\xfe"), "range");
}

static void texts(void **state)
{
    (void)state;
    static const uint32_t oids[] = {19, 25, 114, 1042, 1043};
    for (size_t i = 0; i < ARRAY_LEN(oids); i++)
        expect_text(BASE(oids[i]), BYTES("h\xc3\xa9llo, long enough for a word"),
                    "h\xc3\xa9llo, long enough for a word");
    expect_text(BASE(25), "", 0, "");
    expect_text(BASE(17), BYTES("\x01\xff"), "\x01\xff");
    expect_text(BASE(18), "x", 1, "x");
    expect_text(BASE(18), "\0", 1, "");
    expect_text(BASE(18), "\xe9", 1, "\\351");
    expect_text(BASE(3802), BYTES("\1{\"a\": 1}"), "{\"a\": 1}");
    expect_refused(BASE(3802), BYTES("\2{}"), "version");
    expect_refused(BASE(3802), "", 0, "version");
    expect_text(&(PgTypeFacts){.oid = 99999, .typtype = 'e'}, BYTES("happy"), "happy");
    static const char *const broken[] = {"\xff",
                                         "\xc0\xaf",
                                         "\xc3",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "12345678\xe2\x82",
                                         "\xf0\x80\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        expect_refused(BASE(25), broken[i], strlen(broken[i]), "UTF-8");
    expect_text(BASE(25), BYTES("\xf0\x9f\x8f\x94\xe2\x82\xac"), "\xf0\x9f\x8f\x94\xe2\x82\xac");
    One one;
    decode(&one, BASE(2950), "0123456789abcdef", 16);
    assert_null(one.why);
    assert_memory_equal(column_of(&one)->values, "0123456789abcdef", 16);
    one_done(&one);
}

static void wrong_lengths_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        size_t bytes;
    } fixed[] = {{16, 1},  {18, 1},   {20, 8},   {21, 2},   {23, 4},   {700, 4},
                 {701, 8}, {1082, 4}, {1083, 8}, {1114, 8}, {1184, 8}, {2950, 16}};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        for (size_t bytes = 0; bytes < 20; bytes++)
            if (bytes != fixed[i].bytes)
                expect_refused(BASE(fixed[i].oid), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                               bytes, "length");
}

static const PgTypeFacts decimal_12_2 = {
    .oid = 1700, .typmod = NUMERIC_TYPMOD(12, 2), .typtype = 'b'};
static const PgTypeFacts decimal_38_10 = {
    .oid = 1700, .typmod = NUMERIC_TYPMOD(38, 10), .typtype = 'b'};

static void expect_decimal(const PgTypeFacts *facts, const void *value, size_t bytes,
                           __int128 wanted)
{
    One one;
    decode(&one, facts, value, bytes);
    assert_null(one.why);
    assert_int_equal(one.field.type.kind, TYPE_DECIMAL);
    __int128 got;
    memcpy(&got, column_of(&one)->values, sizeof got);
    assert_true(got == wanted);
    one_done(&one);
}

static void decimals(void **state)
{
    (void)state;
    /* groups, weight, sign, scale */
    expect_decimal(&decimal_12_2, BYTES("\0\0\0\0\0\0\0\2"), 0);
    expect_decimal(&decimal_12_2, BYTES("\0\1\xff\xff\0\0\0\2\0\x64"), 1); /* 0.01 */
    expect_decimal(&decimal_12_2, BYTES("\0\1\0\1\0\0\0\2\0\1"), 1000000); /* 10000.00 */
    /* -1234567890.12 */
    expect_decimal(&decimal_12_2, BYTES("\0\4\0\2\x40\0\0\2\0\x0c\x0d\x80\x1e\xd2\x04\xb0"),
                   -123456789012);
    /* 9999999999.99, and 10000000000.00 that is one digit too long */
    expect_decimal(&decimal_12_2, BYTES("\0\4\0\2\0\0\0\2\0\x63\x27\x0f\x27\x0f\x26\xac"),
                   999999999999);
    expect_refused(&decimal_12_2, BYTES("\0\1\0\2\0\0\0\2\0\x64"), "fit");
    expect_refused(&decimal_12_2, BYTES("\0\1\xff\xff\0\0\0\3\0\x0a"), "fit"); /* 0.001 */
    expect_refused(&decimal_12_2, BYTES("\0\1\xff\xfe\0\0\0\2\0\1"), "fit");
    expect_refused(&decimal_12_2, BYTES("\0\0\0\0\xc0\0\0\2"), "NaN");
    expect_refused(&decimal_12_2, BYTES("\0\0\0\0\xd0\0\0\2"), "infinite");
    expect_refused(&decimal_12_2, BYTES("\0\0\0\0\xf0\0\0\2"), "infinite");
    expect_refused(&decimal_12_2, BYTES("\0\0\0\0\x12\0\0\2"), "infinite");
    expect_refused(&decimal_12_2, BYTES("\0\1\0\0\0\0\0\2\x27\x10"), "digit");
    expect_refused(&decimal_12_2, BYTES("\0\1\0\0\0\0\0\2"), "length");
    expect_refused(&decimal_12_2, BYTES("\0\0\0\0\0\0\0"), "short");
    expect_refused(&decimal_12_2, BYTES("\0\1\x7f\xff\0\0\0\2\0\1"), "fit");
    __int128 most = 1;
    for (int i = 0; i < 38; i++)
        most *= 10;
    /* 28 nines before the point, 10 behind */
    expect_decimal(&decimal_38_10,
                   BYTES("\0\x0a\0\6\x40\0\0\x0a\x27\x0f\x27\x0f\x27\x0f\x27\x0f\x27\x0f\x27\x0f"
                         "\x27\x0f\x27\x0f\x27\x0f\x26\xac"),
                   -(most - 1));
    expect_refused(&decimal_38_10, BYTES("\0\1\0\7\0\0\0\x0a\0\1"), "fit");
    /* 7, at the scales around the largest power of ten in 64 bits */
    __int128 seven = 7;
    for (uint32_t scale = 0; scale <= 24; scale++, seven *= 10) {
        const PgTypeFacts facts = {
            .oid = 1700, .typmod = NUMERIC_TYPMOD(38, scale), .typtype = 'b'};
        expect_decimal(&facts, BYTES("\0\1\0\0\0\0\0\0\0\7"), seven);
    }
}

static void numerics_without_a_decimal_are_text(void **state)
{
    (void)state;
    PgTypeFacts odd = {.oid = 1700, .typmod = NUMERIC_TYPMOD(3, -2), .typtype = 'b'};
    PgTypeFacts wide = {.oid = 1700, .typmod = NUMERIC_TYPMOD(39, 2), .typtype = 'b'};
    expect_text(&wide, BYTES("\0\0\0\0\0\0\0\2"), "0.00");
    expect_text(&odd, BYTES("\0\1\0\1\0\0\0\0\0\1"), "10000");
    expect_text(BASE(1700), BYTES("\0\1\xff\xfe\0\0\0\x09\0\x7b"), "0.000001230");
    expect_text(BASE(1700), BYTES("\0\3\0\1\x40\0\0\1\0\x0c\x0d\x80\x13\x88"), "-123456.5");
    expect_text(BASE(1700), BYTES("\0\0\0\0\xc0\0\0\0"), "NaN");
    expect_text(BASE(1700), BYTES("\0\0\0\0\xf0\0\0\0"), "-Infinity");
    expect_refused(BASE(1700), BYTES("\0\0\0\0\x11\0\0\0"), "sign");
    expect_refused(BASE(1700), BYTES("\0\1\0\0\0\0\0\0\xff\xff"), "digit");
    expect_refused(BASE(1700), BYTES("\0\0\0\0\0\0\xff\xff"), "scale");
}

static void arrays(void **state)
{
    (void)state;
    PgTypeFacts ints = {
        .oid = 1007, .typmod = -1, .typtype = 'b', .element_oid = 23, .element_typtype = 'b'};
    One one;
    decode(&one, &ints,
           BYTES("\0\0\0\1\0\0\0\1\0\0\0\x17\0\0\0\3\0\0\0\1\0\0\0\4\0\0\0\x05\xff\xff\xff\xff"
                 "\0\0\0\4\xff\xff\xff\xff"));
    assert_null(one.why);
    assert_int_equal(column_of(&one)->offsets[1], 3);
    assert_int_equal(column_i32(column_of(&one)->child, 0), 5);
    assert_true(column_is_null(column_of(&one)->child, 1));
    assert_int_equal(column_i32(column_of(&one)->child, 2), -1);
    one_done(&one);
    decode(&one, &ints, BYTES("\0\0\0\0\0\0\0\0\0\0\0\x17"));
    assert_null(one.why);
    assert_int_equal(column_of(&one)->offsets[1], 0);
    one_done(&one);
    expect_refused(&ints, BYTES("\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\1"), "another type");
    expect_refused(&ints, BYTES("\0\0\0\2\0\0\0\0\0\0\0\x17\0\0\0\0\0\0\0\1"), "dimension");
    expect_refused(&ints, BYTES("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\0\0\0\0\0"), "lower bound");
    expect_refused(&ints, BYTES("\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1"), "longer");
    expect_refused(&ints, BYTES("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\x05wxyz"),
                   "longer");
    expect_refused(&ints, BYTES("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\x04wxyz!"),
                   "shorter");
    expect_refused(&ints, BYTES("\0\0\0\1"), "short");
}

static void unknown_types_are_not_chosen(void **state)
{
    (void)state;
    static const PgTypeFacts unknown[] = {
        {.oid = 20002, .typtype = 'b'}, /* an extension's */
        {.oid = 20000, .typtype = 'c'}, /* composite without attributes */
        {.oid = 20001, .typtype = 'd'}, /* domain of nothing */
        {.oid = 20003, .typtype = 'b', .element_oid = 20002, .element_typtype = 'b'},
    };
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        PgDecoder decoder;
        Type type;
        assert_false(fixture_choose(&unknown[i], &decoder, &type));
        decoder_done(&decoder);
        type_done(&type);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),  cmocka_unit_test(times),
        cmocka_unit_test(texts),    cmocka_unit_test(wrong_lengths_are_refused),
        cmocka_unit_test(decimals), cmocka_unit_test(numerics_without_a_decimal_are_text),
        cmocka_unit_test(arrays),   cmocka_unit_test(unknown_types_are_not_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
