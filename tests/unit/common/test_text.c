/* links: firn_common */
#include "tests/unit/unit.h"

#include "common/text.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"500ms", 500},
        {"30s", 30000},
        {"5m", 300000},
        {"1h", 3600000},
        {"5d", 432000000},
        {"1y", 31536000000},
        {"0s", 0},
        {"1h30m", 5400000},
        {"1d1ms", 86400001},
        {"292471y", 292471 * 31536000000},
        {"", -1},
        {"5", -1},
        {"s", -1},
        {"5 s", -1},
        {" 5s", -1},
        {"5s ", -1},
        {"-5s", -1},
        {"1.5h", -1},
        {"5S", -1},
        {"5min", -1},
        {"30m1h", -1},
        {"1s1s", -1},
        {"5sm", -1},
        {"99999999999999999999s", -1},
        {"9223372036854775807s", -1},
        {"292471y99999d", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        if (!text_duration_parse(cases[i].text, &ms))
            ms = -1;
        if (ms != cases[i].ms)
            fail_msg("%s gives %lld", cases[i].text, (long long)ms);
    }
    char buffer[32];
    assert_string_equal(text_duration_format(0, buffer, sizeof buffer), "0s");
    assert_string_equal(text_duration_format(90000, buffer, sizeof buffer), "90s");
    assert_string_equal(text_duration_format(3600000, buffer, sizeof buffer), "1h");
    assert_string_equal(text_duration_format(1500, buffer, sizeof buffer), "1500ms");
    assert_string_equal(text_duration_format(31536000000, buffer, sizeof buffer), "365d");
}

static void quantities(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"123", 123},
        {"64Mi", 64 << 20},
        {"1Gi", 1 << 30},
        {"500M", 500000000},
        {"2k", 2000},
        {"2Ki", 2048},
        {"1Ti", 1LL << 40},
        {"7Pi", 7LL << 50},
        {"1.5Gi", 3LL << 29},
        {"0.5k", 500},
        {"0.1Ki", -1}, /* no whole number of bytes */
        {"1.5", -1},
        {"", -1},
        {"Mi", -1},
        {"64MB", -1},
        {"64mi", -1},
        {"64K", -1},
        {"64ki", -1},
        {"64 Mi", -1},
        {"-1Mi", -1},
        {"1e3", -1},
        {"1.Mi", -1},
        {"8192Pi", -1},
        {"99999999999999999999", -1},
        {"1.00000000000000000001Gi", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t bytes = 0;
        int64_t got = text_quantity_parse(cases[i].text, &bytes) ? (int64_t)bytes : -1;
        if (got != cases[i].bytes)
            fail_msg("%s gives %lld", cases[i].text, (long long)got);
    }
    char buffer[32];
    assert_string_equal(text_quantity_format(0, buffer, sizeof buffer), "0");
    assert_string_equal(text_quantity_format(67108864, buffer, sizeof buffer), "64Mi");
    assert_string_equal(text_quantity_format(1000, buffer, sizeof buffer), "1000");
}

static void integers(void **state)
{
    (void)state;
    int64_t value;
    assert_true(text_integer_parse("-42", &value));
    assert_int_equal(value, -42);
    assert_true(text_integer_parse("9223372036854775807", &value));
    assert_int_equal(value, INT64_MAX);
    assert_false(text_integer_parse("9223372036854775808", &value));
    assert_false(text_integer_parse("1x", &value));
    assert_false(text_integer_parse("", &value));
    assert_false(text_integer_parse("-", &value));
    assert_false(text_integer_parse("0x10", &value));
}

static void object_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "0", "shop", "shop-1", "a.b-c.d", "1.2"};
    static const char *const bad[] = {"",     "Shop", "a_b", "-a",  "a-", ".a",
                                      "a..b", "a.",   "a.-", "a b", "é"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(text_is_object_name(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(text_is_object_name(bad[i]));
    char name[255];
    memset(name, 'a', sizeof name);
    name[254] = '\0';
    assert_false(text_is_object_name(name));
    name[253] = '\0';
    assert_true(text_is_object_name(name));
}

static void nearest(void **state)
{
    (void)state;
    static const char *const known[] = {"host", "port", "database", "tls", "credentialsSecretRef"};
    assert_int_equal(text_distance("host", "hsot", 9), 1); /* a swap is one edit */
    assert_int_equal(text_distance("host", "HOST", 9), 0);
    assert_int_equal(text_distance("", "abc", 9), 3);
    assert_int_equal(text_distance("kitten", "sitting", 9), 3);
    assert_int_equal(text_distance("kitten", "sitting", 2), 2);
    assert_string_equal(text_nearest("hsot", known, 5), "host");
    assert_string_equal(text_nearest("dtabase", known, 5), "database");
    assert_string_equal(text_nearest("Database", known, 5), "database");
    assert_string_equal(text_nearest("credentialSecret", known, 5), "credentialsSecretRef");
    assert_null(text_nearest("frobnicate", known, 5));
    assert_null(text_nearest("x", known, 5));
    assert_null(text_nearest("", known, 5));
    assert_null(text_nearest("host", known, 0));
    char word[5000];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_null(text_nearest(word, known, 5));
}

static void assert_quoted(const char *value, const char *expected)
{
    Bytes out = {0};
    text_quote(&out, value);
    bytes_put_u8(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    bytes_done(&out);
}

static void quoting(void **state)
{
    (void)state;
    assert_quoted("", "\"\"");
    assert_quoted("a b", "\"a b\"");
    assert_quoted("a\nb\x1b[0m\x7f", "\"a\\x0ab\\x1b[0m\\x7f\"");
    assert_quoted("postgres://u:hunter2@db/shop", "\"postgres://u:***@db/shop\"");
    assert_quoted("u:p@ss:w@db", "\"u:***@db\"");
    assert_quoted("u:@db", "\"u:@db\"");
    assert_quoted("me@db", "\"me@db\"");
    char value[200], expected[200];
    memset(value, 'a', 100);
    value[100] = '\0';
    memset(expected, 'a', sizeof expected);
    expected[0] = '"';
    strcpy(expected + 81, "…\"");
    assert_quoted(value, expected);
    strcpy(value + 79, "é"); /* a letter is not cut in two */
    strcpy(value + 81, "more");
    strcpy(expected + 80, "é…\"");
    assert_quoted(value, expected);
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T12:34:56Z", 1795350896000},
        {"2026-11-22T13:34:56.25+01:00", 1795350896250},
        {"2026-11-22T07:04:56.0009-05:30", 1795350896000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2026-02-29T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},
        {"2026-11-22", -1},
        {"2026-11-22T12:34:56", -1},
        {"2026-11-22 12:34:56Z", -1},
        {"2026-11-22T24:00:00Z", -1},
        {"2026-11-22T12:34:56.Z", -1},
        {"2026-11-22T12:34:56Zulu", -1},
        {"2026-11-22T12:34:56+1:00", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        if (!text_time_parse(cases[i].text, &ms))
            ms = -1;
        if (ms != cases[i].ms)
            fail_msg("%s gives %lld", cases[i].text, (long long)ms);
    }
}

/* By arithmetic and not by the table: the shortest form of a code point that is no surrogate. */
static size_t letter_by_value(const uint8_t at[4])
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t more = 0; more < ARRAY_LEN(forms); more++) {
        if ((at[0] & forms[more].mask) != forms[more].lead)
            continue;
        uint32_t code = at[0] & (uint8_t)~forms[more].mask;
        for (size_t i = 1; i <= more; i++) {
            if (at[i] >> 6 != 2)
                return 0;
            code = code << 6 | (at[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code < 0xe000;
        return code < forms[more].least || code > 0x10ffff || surrogate ? 0 : more + 1;
    }
    return 0;
}

static void letters(void **state)
{
    (void)state;
    static const uint8_t last[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    static const uint8_t third[] = {0x00, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned two = 0; two < 0x10000; two++) {
        for (size_t i = 0; i < ARRAY_LEN(third) * ARRAY_LEN(last); i++) {
            uint8_t at[] = {(uint8_t)(two >> 8), (uint8_t)two, third[i / ARRAY_LEN(last)],
                            last[i % ARRAY_LEN(last)]};
            size_t wanted = letter_by_value(at);
            for (size_t left = 1; left <= 4; left++)
                if (text_letter_bytes(at, left) != (wanted <= left ? wanted : 0))
                    fail_msg("%02x %02x %02x %02x, %zu bytes", at[0], at[1], at[2], at[3], left);
            for (size_t before = 0; before < 10; before++) {
                uint8_t text[14] = "abcdefghij";
                memcpy(text + before, at, 4);
                if (text_is_utf8(text, before + (wanted ? wanted : 4)) != (wanted > 0))
                    fail_msg("%02x %02x %02x %02x behind %zu", at[0], at[1], at[2], at[3], before);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(test_time),    cmocka_unit_test(quantities),
        cmocka_unit_test(integers),  cmocka_unit_test(object_names), cmocka_unit_test(nearest),
        cmocka_unit_test(quoting),   cmocka_unit_test(letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
