/* links: firn_capture_mysql */
#include "tests/unit/unit.h"

#include "agent/capture/mysql/gtid.h"
#include "agent/capture/mysql/place.h"

#define A "3e11fa47-71ca-11e1-9e33-c80aa9429562"
#define B "726757ad-4455-11e8-ae04-0242ac110002"

static void expect_text(const char *text, bool mariadb, const char *wanted)
{
    GtidSet set;
    Error err = {0};
    assert_true(gtid_set_parse(text, mariadb, &set, &err));
    char *got = gtid_set_format(&set);
    assert_string_equal(got, wanted);
    free(got);
    gtid_set_done(&set);
}

static void expect_bad(const char *text, bool mariadb)
{
    GtidSet set;
    Error err = {0};
    assert_false(gtid_set_parse(text, mariadb, &set, &err));
    assert_string_equal(err.code, "BadGtid");
    assert_int_equal(err.kind, ERROR_DATA);
    gtid_set_done(&set);
}

static void test_text(void **state)
{
    (void)state;
    expect_text("", false, "");
    expect_text(A ":1", false, A ":1");
    expect_text(A ":1-5:7-9:6", false, A ":1-9");
    expect_text("3E11FA47-71CA-11E1-9E33-C80AA9429562:11:9-10:1", false, A ":1:9-11");
    expect_text(B ":1-3,\n" A ":5 , " A ":1", false, A ":1:5," B ":1-3");
    expect_text(A ":1-4:Tag:3-5:x:1", false, A ":1-4:tag:3-5:x:1");
    expect_text(A ":9223372036854775806", false, A ":9223372036854775806");
    expect_text("", true, "");
    expect_text("1-10-500,0-1-42", true, "0-1-42,1-10-500");
    expect_text("0-1-42,0-2-41", true, "0-1-42");
    expect_text("0-1-42,0-2-43", true, "0-2-43");
}

static void test_what_is_no_set(void **state)
{
    (void)state;
    static const char *const mysql[] = {
        "x",         A,
        A ":",       A ":0",
        A ":2-1",    A ":1-",
        A ":1;",     A ":9223372036854775807",
        A ":1:",     "3e11fa4771ca-11e1-9e33-c80aa9429562:1",
        A ":tag!:1", A ":a23456789012345678901234567890123:1",
        "0-1-2",
    };
    for (size_t i = 0; i < ARRAY_LEN(mysql); i++)
        expect_bad(mysql[i], false);
    static const char *const mariadb[] = {"1-2",   "1-2-",           "4294967296-1-1",
                                          "a-1-1", "1-4294967296-1", "1-1-18446744073709551616",
                                          A ":1"};
    for (size_t i = 0; i < ARRAY_LEN(mariadb); i++)
        expect_bad(mariadb[i], true);
}

static void test_adding_joins(void **state)
{
    (void)state;
    GtidSet set = gtid_set_new(false);
    Gtid gtid = {.uuid = {1}};
    static const uint64_t numbers[] = {5, 1, 3, 4, 2, 9, 7, 8};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        gtid.number = numbers[i];
        assert_false(gtid_set_has(&set, &gtid));
        assert_true(gtid_set_add(&set, &gtid));
        assert_false(gtid_set_add(&set, &gtid));
    }
    char *text = gtid_set_format(&set);
    assert_string_equal(text, "01000000-0000-0000-0000-000000000000:1-5:7-9");
    free(text);
    GtidSet copy = gtid_set_copy(&set);
    gtid.number = 6;
    assert_true(gtid_set_add(&set, &gtid));
    assert_int_equal(set.sources[0].count, 1);
    assert_true(gtid_set_contains(&set, &copy));
    assert_false(gtid_set_contains(&copy, &set));
    assert_false(gtid_set_equal(&copy, &set));
    gtid_set_done(&copy);
    gtid_set_done(&set);
}

/* Against a plain bitmap, from a seed. */
static void test_against_a_bitmap(void **state)
{
    (void)state;
    bool has[64] = {0};
    GtidSet set = gtid_set_new(false);
    Gtid gtid = {.uuid = {2}};
    uint32_t random = 12345;
    for (int i = 0; i < 200; i++) {
        random = random * 1664525 + 1013904223;
        uint64_t from = 1 + random % 60, to = from + (random >> 8) % 3;
        gtid_set_add_interval(&set, &gtid, (GtidInterval){from, to});
        for (uint64_t j = from; j <= to; j++)
            has[j] = true;
        for (gtid.number = 1; gtid.number < 64; gtid.number++)
            assert_int_equal(gtid_set_has(&set, &gtid), has[gtid.number]);
        for (size_t j = 1; j < set.sources[0].count; j++)
            assert_true(set.sources[0].intervals[j].from > set.sources[0].intervals[j - 1].to + 1);
    }
    gtid_set_done(&set);
}

static void test_contains(void **state)
{
    (void)state;
    static const struct {
        bool mariadb;
        const char *set, *part;
        bool wanted;
    } cases[] = {
        {false, A ":1-10," B ":5", A ":2-3:9", true},
        {false, A ":1-10", "", true},
        {false, "", A ":1", false},
        {false, A ":1-10", A ":10-11", false},
        {false, A ":1-10", B ":1", false},
        {false, A ":1-10", A ":t:1", false},
        {true, "0-1-10,1-1-1", "0-2-9", true},
        {true, "0-1-10", "0-1-11", false},
        {true, "0-1-10", "0-2-10", false},
        {true, "0-1-10", "1-1-1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        GtidSet set, part;
        Error err = {0};
        assert_true(gtid_set_parse(cases[i].set, cases[i].mariadb, &set, &err));
        assert_true(gtid_set_parse(cases[i].part, cases[i].mariadb, &part, &err));
        assert_int_equal(gtid_set_contains(&set, &part), cases[i].wanted);
        gtid_set_done(&set);
        gtid_set_done(&part);
    }
}

static void test_places(void **state)
{
    (void)state;
    uint64_t file;
    size_t base;
    Error err = {0};
    char name[PLACE_NAME_BYTES];
    assert_true(place_parse_file(("mysql-bin.000042"), 16, &file, &base, &err));
    assert_int_equal(file, 42);
    assert_int_equal(base, 10);
    assert_true(place_format_file("mysql-bin.", file, name));
    assert_string_equal(name, "mysql-bin.000042");
    assert_true(place_parse_file("b1.1000000", 10, &file, &base, &err));
    assert_int_equal(file, 1000000);
    static const char *const bad[] = {
        "", "binlog", "binlog.", "000001", "binlog.16777216", "binlog.99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(place_parse_file(bad[i], strlen(bad[i]), &file, &base, &err));
        assert_string_equal(err.code, "BadPlace");
    }
    uint64_t place = place_of(42, (UINT64_C(5) << 32) + 4);
    assert_int_equal(place_file(place), 42);
    assert_int_equal(place_offset(place), (UINT64_C(5) << 32) + 4);
    assert_true(place_of(42, UINT32_MAX) < place_of(43, PLACE_FIRST_OFFSET));
    /* Through a position's text and back. */
    Position position = position_of("mysql/" A, (RowPosition){place, 3}), again;
    char text[POSITION_TEXT_BYTES];
    assert_true(position_parse(position_format(&position, text), &again, &err));
    assert_int_equal(position_compare(&position, &again), POSITION_EQUAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),         cmocka_unit_test(test_what_is_no_set),
        cmocka_unit_test(test_adding_joins), cmocka_unit_test(test_against_a_bitmap),
        cmocka_unit_test(test_contains),     cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
