/* links: firn_common */
#include "common/condition.h"

#include "common/mem.h"
#include "tests/unit/unit.h"

static void test_reads(void **state)
{
    (void)state;
    Condition one;
    assert_true(condition_parse("eventName == 'page_view'", &one));
    assert_string_equal(one.field, "eventName");
    assert_int_equal(one.value_count, 1);
    assert_true(condition_holds(&one, "page_view", 9));
    assert_false(condition_holds(&one, "page_views", 10));
    assert_false(condition_holds(&one, "page_vie", 8));
    assert_false(condition_holds(&one, "", 0));
    condition_done(&one);
    assert_true(condition_parse("_a1=='it''s'", &one));
    assert_string_equal(one.field, "_a1");
    assert_string_equal(one.values[0], "it's");
    condition_done(&one);
    assert_true(condition_parse("a in ['x', '' ,'''']", &one));
    assert_int_equal(one.value_count, 3);
    assert_true(condition_holds(&one, "x", 1));
    assert_true(condition_holds(&one, "", 0));
    assert_true(condition_holds(&one, "'", 1));
    assert_false(condition_holds(&one, "a", 1));
    condition_done(&one);
    assert_true(condition_parse("in in['x']", &one)); /* no word is taken */
    assert_string_equal(one.field, "in");
    condition_done(&one);
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",          "a",           "a ==",           "a = 'x'",    "a != 'x'",
        "a == x",    "a == \"x\"",  "a == 'x",        "a == 'x' ",  "a == 'x'y",
        " a == 'x'", "1a == 'x'",   "== 'x'",         "a.b == 'x'", "a in []",
        "a in ['x'", "a in ['x',]", "a in 'x'",       "ain ['x']",  "a in ['x'] ",
        "a == 'x''", "a == ['x']",  "a in ['x' 'y']", "a == '",     "a in ["};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        Condition none;
        if (condition_parse(texts[i], &none))
            fail_msg("taken: %s", texts[i]);
        assert_null(none.field);
        assert_int_equal(none.value_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads),
                                       cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
