/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/json.h"

static const char *print(const void *value, size_t bytes, Bytes *to)
{
    /* A copy of exactly that many bytes: reading past it is seen. */
    uint8_t *exact = malloc(bytes + !bytes);
    if (bytes)
        memcpy(exact, value, bytes);
    const char *why = json_print(exact, bytes, to);
    free(exact);
    return why;
}

static void expect(const void *value, size_t bytes, const char *wanted)
{
    Bytes text = {0};
    assert_null(print(value, bytes, &text));
    bytes_put_u8(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
    bytes_done(&text);
    for (size_t i = 1; i < bytes; i++) {
        Bytes cut = {0};
        assert_non_null(print(value, i, &cut));
        bytes_done(&cut);
    }
}

static void test_leaves(void **state)
{
    (void)state;
    expect("", 0, "null");
    expect(TEXT("\4\0"), "null");
    expect(TEXT("\4\1"), "true");
    expect(TEXT("\4\2"), "false");
    expect(TEXT("\5\xff\xff"), "-1");
    expect(TEXT("\6\xff\xff"), "65535");
    expect(TEXT("\7\0\0\0\x80"), "-2147483648");
    expect(TEXT("\x08\xff\xff\xff\xff"), "4294967295");
    expect(TEXT("\x09\0\0\0\0\0\0\0\x80"), "-9223372036854775808");
    expect(TEXT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615");
    expect(TEXT("\x0c\5a\"\\\n\1"), "\"a\\\"\\\\\\n\\u0001\"");
    expect(TEXT("\x0c\3\xe2\x82\xac"), "\"€\"");
    Bytes text = {0}, wanted = {0};
    bytes_put(&text, "\x0c\xc8\1", 3); /* 200 bytes */
    bytes_put_u8(&wanted, '"');
    for (int i = 0; i < 200; i++) {
        bytes_put_u8(&text, 'x');
        bytes_put_u8(&wanted, 'x');
    }
    bytes_put(&wanted, "\"", 2);
    expect(text.data, text.used, (const char *)wanted.data);
    bytes_done(&text);
    bytes_done(&wanted);
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *wanted;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {3.14159, "3.14159"},
        {100, "100.0"},
        {1e14, "100000000000000.0"},
        {123456789012345678.0, "1.2345678901234568e17"},
        {1234567890123456.7, "1234567890123456.8"},
        {1e15, "1e15"},
        {1e16, "1e16"},
        {1e-14, "0.00000000000001"},
        {1.5e-5, "0.000015"},
        {1e-15, "0.000000000000001"},
        {1e-16, "1e-16"},
        {6.02214076e23, "6.02214076e23"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {5e-324, "5e-324"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t value[9] = {11};
        memcpy(value + 1, &cases[i].value, 8);
        expect(value, sizeof value, cases[i].wanted);
    }
    expect(TEXT("\x0b\x9a\x99\x99\x99\x99\x99\xb9\x3f"), "0.1");
    Bytes text = {0};
    assert_non_null(print(TEXT("\x0b\0\0\0\0\0\0\xf0\x7f"), &text)); /* infinity */
    bytes_done(&text);
}

static void test_opaque(void **state)
{
    (void)state;
    /* 2015-01-15 23:24:25.5: (2015 * 13 + 1) << 22 | 15 << 17 | 23 << 12 | 24 << 6 | 25, then the
     * fraction. */
    uint64_t clock = 23 << 12 | 24 << 6 | 25;
    uint64_t packed = ((((UINT64_C(2015) * 13 + 1) << 22) | 15 << 17 | clock) << 24) + 500000;
    uint8_t value[11] = {15, 12, 8};
    memcpy(value + 3, &packed, 8);
    expect(value, sizeof value, "\"2015-01-15 23:24:25.500000\"");
    value[1] = 7;
    expect(value, sizeof value, "\"2015-01-15 23:24:25.500000\"");
    value[1] = 10;
    expect(value, sizeof value, "\"2015-01-15\"");
    value[1] = 11;
    packed = clock << 24;
    memcpy(value + 3, &packed, 8);
    expect(value, sizeof value, "\"23:24:25.000000\"");
    packed = -packed;
    memcpy(value + 3, &packed, 8);
    expect(value, sizeof value, "\"-23:24:25.000000\"");
    expect(TEXT("\x0f\xf6\4\4\2\x8c\x22"), "12.34"); /* decimal(4,2) */
    expect(TEXT("\x0f\xfc\1U"), "\"base64:type252:VQ==\"");
    expect(TEXT("\x0f\xfc\3abc"), "\"base64:type252:YWJj\"");
    Bytes text = {0};
    assert_non_null(print(TEXT("\x0f\xf6\4\4\2\x0c"), &text));
    assert_non_null(print(TEXT("\x0f\x0c\3abc"), &text));
    bytes_done(&text);
}

static void test_nested(void **state)
{
    (void)state;
    /* {"a": 1, "bc": [true, "x"]} */
    expect(TEXT("\0"
                "\2\0\x26\0"           /* two members, 38 bytes */
                "\x12\0\1\0\x13\0\2\0" /* names at 18 and 19 */
                "\5\1\0\2\x15\0"       /* 1; an array at 21 */
                "abc"
                "\2\0\x0d\0\4\1\0\x0c\x0a\0\1x\0"
                "\0\0\0\0"),
           "{\"a\": 1, \"bc\": [true, \"x\"]}");
    expect(TEXT("\0\0\0\4\0"), "{}");
    expect(TEXT("\2\0\0\4\0"), "[]");
    /* Large: counts and offsets of four bytes, 32 bits in place. */
    expect(TEXT("\3\2\0\0\0\x12\0\0\0\7\xff\xff\xff\xff\x08\xff\xff\xff\xff"), "[-1, 4294967295]");
    expect(TEXT("\1\1\0\0\0\x15\0\0\0\x13\0\0\0\2\0\5\3\0\0\0xy"), "{\"xy\": 3}");
}

static void expect_bad(const void *value, size_t bytes)
{
    Bytes text = {0};
    assert_non_null(print(value, bytes, &text));
    bytes_done(&text);
}

static void test_what_is_none(void **state)
{
    (void)state;
    expect_bad(TEXT("\x0d\0"));
    expect_bad(TEXT("\4\3"));
    expect_bad(TEXT("\x0c\2\xc3\x28"));
    expect_bad(TEXT("\2\xff\xff\4\0"));
    expect_bad(TEXT("\2\1\0\7\0\x0c\x50\0"));
    /* An array whose element is the array. */
    expect_bad(TEXT("\2\1\0\7\0\2\0\0"));
    /* Many elements that all are one long text. */
    Bytes whole = {0};
    put_le(&whole, 2, 1);
    put_le(&whole, 1000, 2);
    put_le(&whole, 4 + 3000 + 101, 2);
    for (int i = 0; i < 1000; i++) {
        put_le(&whole, 12, 1);
        put_le(&whole, 3004, 2);
    }
    put_le(&whole, 100, 1);
    for (int i = 0; i < 100; i++)
        put_le(&whole, 'x', 1);
    expect_bad(whole.data, whole.used);
    bytes_done(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),       cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_opaque),       cmocka_unit_test(test_nested),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
