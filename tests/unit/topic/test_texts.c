/* links: firn_topic */
/* Numbers, times and decimals as text and bytes; texts read back. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/topic/name.h"
#include "agent/topic/numeric.h"
#include "agent/topic/parse.h"
#include "agent/topic/scalar.h"
#include "common/mem.h"

static void expect(Bytes *found, const char *expected)
{
    bytes_put_u8(found, 0);
    assert_string_equal((const char *)found->data, expected);
    bytes_clear(found);
}

static void integers(void **state)
{
    (void)state;
    Bytes to = {0};
    static const int64_t values[] = {0, 7, 10, 99, 100, 12345, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "%lld", (long long)values[i]);
        scalar_put_i64(&to, values[i]);
        expect(&to, expected);
    }
    scalar_put_u64(&to, UINT64_MAX);
    expect(&to, "18446744073709551615");
    bytes_done(&to);
}

static void reals(void **state)
{
    (void)state;
    Bytes to = {0};
    static const struct {
        double value;
        bool single;
        const char *text;
    } cases[] = {{0, false, "0.0"},
                 {-0.0, false, "-0.0"},
                 {1, false, "1.0"},
                 {1.5, false, "1.5"},
                 {0.1, false, "0.1"},
                 {0.05, false, "0.05"},
                 {-12.25, false, "-12.25"},
                 {123456.789, false, "123456.789"},
                 {5e-324, false, "5e-324"},
                 {1e22, false, "1e+22"},
                 {1e21, true, "1e+21"},
                 {0.1f, true, "0.1"},
                 {3.4028235e38f, true, "3.40282347e+38"},
                 {0.001, false, "0.001"},
                 {100, false, "100.0"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scalar_real(&to, cases[i].value, cases[i].single);
        bytes_put_u8(&to, 0);
        if (strcmp((const char *)to.data, cases[i].text) != 0) /* as good: reads back */
            assert_true(strtod((const char *)to.data, NULL) == cases[i].value ||
                        strtof((const char *)to.data, NULL) == (float)cases[i].value);
        if (i < 8)
            assert_string_equal((const char *)to.data, cases[i].text);
        bytes_clear(&to);
    }
    uint64_t seed = 42; /* all kinds of bits read back */
    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        double value;
        uint64_t bits = i % 2 ? seed : (seed & 0xfffffffffffff) | (uint64_t)(1013 + i % 40) << 52;
        memcpy(&value, &bits, sizeof value);
        if (value - value != 0)
            continue;
        scalar_real(&to, value, false);
        bytes_put_u8(&to, 0);
        assert_true(strtod((const char *)to.data, NULL) == value);
        bytes_clear(&to);
    }
    bytes_done(&to);
}

static void timestamps(void **state)
{
    (void)state;
    static const struct {
        int64_t micros;
        unsigned digits;
        const char *text;
    } cases[] = {{0, 6, "1970-01-01T00:00:00.000000Z"},
                 {-1, 6, "1969-12-31T23:59:59.999999Z"},
                 {-1, 3, "1969-12-31T23:59:59.999Z"},
                 {951782400000000, 0, "2000-02-29T00:00:00Z"},
                 {253402300800000000, 0, "+10000-01-01T00:00:00Z"},
                 {-63517824000000000, 6, "-0043-03-15T00:00:00.000000Z"},
                 {-62167219200000000, 0, "0000-01-01T00:00:00Z"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[SCALAR_TIMESTAMP_BYTES] = {0};
        text[scalar_timestamp(text, cases[i].micros, cases[i].digits)] = '\0';
        assert_string_equal(text, cases[i].text);
    }
    for (int64_t day = -800000; day < 3000000; day += 997) { /* there and back */
        char text[SCALAR_TIMESTAMP_BYTES] = {0};
        int64_t back;
        scalar_timestamp(text, day * 86400000000, 0);
        *strchr(text, 'T') = '\0';
        if (text[0] == '-' || text[0] == '+')
            continue;
        assert_true(parse_date(text, &back));
        assert_int_equal(back, day);
    }
}

static void strings(void **state)
{
    (void)state;
    Bytes to = {0};
    scalar_json_string(&to, "", 0);
    expect(&to, "\"\"");
    /* an escape at every place of a word of eight, behind bytes that look like borrows */
    for (size_t at = 0; at < 24; at++) {
        static const struct {
            char byte;
            const char *escaped;
        } escapes[] = {
            {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {0x1f, "\\u001F"}, {0, "\\u0000"}};
        for (size_t k = 0; k < ARRAY_LEN(escapes); k++) {
            char text[25], expected[64] = "\"";
            memset(text, '\xa2', 24);
            text[at] = escapes[k].byte;
            memset(expected + 1, '\xa2', at);
            strcpy(expected + 1 + at, escapes[k].escaped);
            size_t used = strlen(expected);
            memset(expected + used, '\xa2', 23 - at);
            expected[used + 23 - at] = '"';
            scalar_json_string(&to, text, 24);
            expect(&to, expected);
        }
    }
    scalar_json_string(&to, "\"\"\\", 3);
    expect(&to, "\"\\\"\\\"\\\\\"");
    bytes_done(&to);
}

static void bytes_as_text(void **state)
{
    (void)state;
    Bytes to = {0};
    static const char *const base64[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                         "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t bytes = 0; bytes < ARRAY_LEN(base64); bytes++) {
        scalar_base64(&to, (const uint8_t *)"foobar", bytes, false);
        expect(&to, base64[bytes]);
    }
    scalar_base64(&to, (const uint8_t *)"\xff\xef\xfe", 3, true);
    expect(&to, "_-_-");
    scalar_hex(&to, (const uint8_t *)"\x00\xff\x1a", 3);
    expect(&to, "00ff1a");
    bytes_done(&to);
}

static void unscaled(const char *text, int32_t scale, const char *hex, int32_t expected_scale)
{
    Bytes scratch = {0}, to = {0}, shown = {0};
    int32_t found = -1;
    bool read = numeric_unscaled_text(text, strlen(text), scale, &scratch, &to, &found);
    assert_int_equal(read, hex != NULL);
    if (read) {
        scalar_hex(&shown, to.data, to.used);
        expect(&shown, hex);
        assert_int_equal(found, expected_scale);
    }
    bytes_done(&scratch);
    bytes_done(&to);
    bytes_done(&shown);
}

static void decimals(void **state)
{
    (void)state;
    unscaled("0", -1, "00", 0);
    unscaled("0.000", -1, "00", 0);
    unscaled("1.50", -1, "0f", 1);
    unscaled("-1", 0, "ff", 0);
    unscaled("-128", 0, "80", 0);
    unscaled("-129", 0, "ff7f", 0);
    unscaled("128", 0, "0080", 0);
    unscaled("1.5", 3, "05dc", 3);
    unscaled("0", 3, "00", 3);
    unscaled("10000000000", -1, "02540be400", 0);
    unscaled("18446744073709551616", 0, "010000000000000000", 0);
    unscaled("-340282366920938463463374607431768211456", 0, "ff00000000000000000000000000000000",
             0);
    unscaled("1.2345", 3, NULL, 0);
    unscaled("NaN", -1, NULL, 0);
    unscaled("", -1, NULL, 0);
    unscaled("-", -1, NULL, 0);
    static const __int128 values[] = {
        0, 1, -1, 127, 128, -128, -129, INT64_MAX, (__int128)1 << 100, -((__int128)1 << 126)};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) { /* both ways to the bytes agree */
        uint8_t bytes[NUMERIC_I128_BYTES];
        char text[NUMERIC_TEXT_BYTES + 1], hex[64] = "";
        unsigned count = numeric_i128(bytes, values[i]);
        for (unsigned k = 0; k < count; k++)
            snprintf(hex + 2 * k, 3, "%02x", bytes[k]);
        text[numeric_text(text, values[i], 0)] = '\0';
        unscaled(text, 0, hex, 0);
    }
    char text[NUMERIC_TEXT_BYTES + 1];
    text[numeric_text(text, -5, 3)] = '\0';
    assert_string_equal(text, "-0.005");
    text[numeric_text(text, 0, 2)] = '\0';
    assert_string_equal(text, "0.00");
    char *nines = mem_alloc(20001); /* long ones: 10^20000 - 1 */
    memset(nines, '9', 20000);
    nines[20000] = '\0';
    Bytes scratch = {0}, to = {0};
    int32_t scale;
    assert_true(numeric_unscaled_text(nines, 20000, 0, &scratch, &to, &scale));
    assert_int_equal(to.used, 8305); /* ceil(20000 log2 10 / 8) with the sign */
    bytes_done(&scratch);
    bytes_done(&to);
    free(nines);
}

static void texts_of_types(void **state)
{
    (void)state;
    Bytes to = {0};
    static const char *const zoned[][2] = {{"12:34:56+00", "12:34:56Z"},
                                           {"00:00:00+15:59:59", "08:00:01Z"},
                                           {"24:00:00-15:59", "15:59:00Z"},
                                           {"01:02:03.000004-00:30", "01:32:03.000004Z"}};
    for (size_t i = 0; i < ARRAY_LEN(zoned); i++) {
        assert_true(parse_zoned_time(zoned[i][0], strlen(zoned[i][0]), &to));
        expect(&to, zoned[i][1]);
    }
    static const char *const intervals[][2] = {
        {"00:00:00", "P0Y0M0DT0H0M0S"},
        {"-1 years +2 days -00:00:00.1", "P-1Y0M2DT0H0M-0.1S"},
        {"1 mon -1 days", "P0Y1M-1DT0H0M0S"},
        {"100000:00:10", "P0Y0M0DT100000H0M10S"}};
    for (size_t i = 0; i < ARRAY_LEN(intervals); i++) {
        Interval interval;
        assert_true(parse_interval(intervals[i][0], strlen(intervals[i][0]), &interval));
        interval_put_iso(&interval, &to);
        expect(&to, intervals[i][1]);
    }
    Interval interval;
    assert_false(parse_interval("", 0, &interval));
    assert_false(parse_interval("1 eon", 5, &interval));
    assert_false(parse_interval("99999999999 days", 16, &interval));
    assert_true(parse_interval("178000000 years", 15, &interval));
    assert_int_equal(interval_micros(&interval), INT64_MAX); /* as Java's cast */
    double x, y;
    assert_true(parse_point("(1e+300,-0.5)", 13, &x, &y));
    assert_true(x == 1e300 && y == -0.5);
    assert_false(parse_point("(1,2", 4, &x, &y));
    assert_false(parse_point("(1;2)", 5, &x, &y));
    int32_t srid;
    assert_false(parse_srid((const uint8_t *)"\1\1\0\0\x20\xe6", 6, &srid));
    assert_true(parse_srid((const uint8_t *)"\0\x20\0\0\1\0\0\x10\xe6", 9, &srid));
    assert_int_equal(srid, 4326);
    bytes_done(&to);
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        TopicAdjust adjust;
        bool field;
        const char *expected;
    } cases[] = {
        {"c.public.Odd Name-1.Value", TOPIC_ADJUST_AVRO, false, "c.public.Odd_Name_1.Value"},
        {"the id", TOPIC_ADJUST_AVRO, true, "the_id"},
        {"a.b", TOPIC_ADJUST_AVRO, true, "a_b"},
        {"1st", TOPIC_ADJUST_AVRO, true, "_1st"},
        {"\xc3\xbc", TOPIC_ADJUST_AVRO, true, "_"},
        {"\xf0\x9f\x8f\x94", TOPIC_ADJUST_AVRO, true, "__"},
        {"a_\xc3\xbc", TOPIC_ADJUST_AVRO_UNICODE, true, "a___u00fc"},
        {"\xf0\x9f\x8f\x94", TOPIC_ADJUST_AVRO_UNICODE, true, "_ud83c_udfd4"},
        {"as it \xff is", TOPIC_ADJUST_NONE, true, "as it \xff is"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_free) char *found = topic_adjust(cases[i].name, cases[i].adjust, cases[i].field);
        assert_string_equal(found, cases[i].expected);
    }
    TopicTableSpec spec = {
        .connector = "c", .database = "d", .schema_name = "s x", .table_name = "t\xc3\xbc"};
    static const char *const topics[][2] = {{NULL, "c.s_x.t_"},
                                            {"{database}-{table}", "d-t_"},
                                            {"all", "all"},
                                            {".", "_"},
                                            {"..", "__"}};
    Error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        AUTO(mem_free) char *found = topic_name(topics[i][0], &spec, &err);
        assert_string_equal(found, topics[i][1]);
    }
    char *long_name = mem_alloc(401);
    memset(long_name, 'x', 400);
    long_name[400] = '\0';
    AUTO(mem_free) char *cut = topic_name(long_name, &spec, &err);
    assert_int_equal(strlen(cut), TOPIC_NAME_BYTES_MAX);
    free(long_name);
    assert_null(topic_name("{tabel}", &spec, &err));
    assert_string_equal(err.code, "TopicTemplate");
    assert_null(topic_name("", &spec, &err));
    assert_string_equal(err.code, "TopicTemplate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),       cmocka_unit_test(reals),
        cmocka_unit_test(timestamps),     cmocka_unit_test(strings),
        cmocka_unit_test(bytes_as_text),  cmocka_unit_test(decimals),
        cmocka_unit_test(texts_of_types), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
