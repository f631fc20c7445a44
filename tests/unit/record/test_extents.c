/* links: firn_record */
#include "tests/unit/unit.h"

#include "agent/record/extents.h"
#include "common/mem.h"

static void add(Extents *extents, uint64_t part, uint64_t version, uint64_t from, uint64_t to)
{
    extents_add(extents, (Extent){part, version, from, to});
}

static void expect_text(const Extents *extents, const char *text)
{
    AUTO(mem_free) char *got = extents_format(extents);
    assert_string_equal(got, text);
    Extents again;
    assert_true(extents_parse(got, &again, NULL));
    AUTO(mem_free) char *twice = extents_format(&again);
    assert_string_equal(twice, text);
    extents_done(&again);
}

static void test_adding(void **state)
{
    (void)state;
    Extents extents = {.until = 0x16B3748};
    expect_text(&extents, "until=16B3748");
    add(&extents, 7, 70, 10, 20);
    add(&extents, 7, 70, 30, 40);
    add(&extents, 5, 50, 0, EXTENTS_END);
    expect_text(&extents, "until=16B3748 5.50:0- 7.70:10-20,30-40");
    add(&extents, 7, 70, 20, 30); /* touches both */
    expect_text(&extents, "until=16B3748 5.50:0- 7.70:10-40");
    add(&extents, 7, 70, 5, EXTENTS_END);
    expect_text(&extents, "until=16B3748 5.50:0- 7.70:5-");
    add(&extents, 7, 71, 0, 1); /* rewritten: what was read before says nothing */
    expect_text(&extents, "until=16B3748 5.50:0- 7.71:0-1");
    extents_done(&extents);
}

static void expect_gaps(const Extents *extents, uint64_t part, uint64_t version,
                        const uint64_t *bounds)
{
    Extent gap;
    for (uint64_t from = 0; extents_gap(extents, part, version, from, &gap); from = gap.to) {
        assert_int_equal(gap.part, part);
        assert_int_equal(gap.version, version);
        assert_int_equal(gap.from, *bounds++);
        assert_int_equal(gap.to, *bounds++);
        if (gap.to == EXTENTS_END)
            break;
    }
    assert_int_equal(*bounds, 1); /* no bound but the end of the list */
}

static void test_gaps(void **state)
{
    (void)state;
    Extents extents = {0};
    expect_gaps(&extents, 3, 30, (uint64_t[]){0, EXTENTS_END, 1});
    add(&extents, 3, 30, 0, 10);
    add(&extents, 3, 30, 20, 30);
    expect_gaps(&extents, 3, 30, (uint64_t[]){10, 20, 30, EXTENTS_END, 1});
    expect_gaps(&extents, 3, 31, (uint64_t[]){0, EXTENTS_END, 1});
    expect_gaps(&extents, 2, 30, (uint64_t[]){0, EXTENTS_END, 1});
    add(&extents, 3, 30, 28, EXTENTS_END);
    expect_gaps(&extents, 3, 30, (uint64_t[]){10, 20, 1});
    add(&extents, 3, 30, 10, 20);
    expect_gaps(&extents, 3, 30, (uint64_t[]){1});
    expect_gaps(&extents, 3, 31, (uint64_t[]){1}); /* whole: every row of it is there */
    extents_done(&extents);
}

static void test_bounded(void **state)
{
    (void)state;
    Extents extents = {0};
    for (uint64_t i = 0; i < 20000; i++)
        add(&extents, 9, 90, i * 10, i * 10 + 5);
    add(&extents, 10, 100, 0, 7);
    AUTO(mem_free) char *text = extents_format(&extents);
    assert_string_equal(text, "until=0 10.100:0-7"); /* what doesn't fit counts as not done */
    extents_done(&extents);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "complete",
        "until=",
        "until=1 ",
        "until=1 5",
        "until=1 5.",
        "until=1 5.0:0-",
        "until=1 5.1:",
        "until=1 5.1:3-3",
        "until=1 5.1:4-3",
        "until=1 5.1:0-1,",
        "until=1  5.1:0-1",
        "until=1 5.1:0-1x",
        "until=-1",
        "until=1 5.1:99999999999999999999-",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Extents extents;
        Error err = {0};
        assert_false(extents_parse(texts[i], &extents, &err));
        assert_string_equal(err.code, "BadExtents");
        extents_done(&extents);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
