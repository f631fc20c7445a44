/* links: firn_capture_postgres */
/* Ranges: together they are exactly what is not done, each of them of a bounded size. */
#include "tests/unit/unit.h"

#include "agent/capture/postgres/plan.h"
#include "common/mem.h"

static PgPart parts[] = {{.oid = 5, .version = 50, .blocks = 1000},
                         {.oid = 6, .version = 60, .blocks = 0},
                         {.oid = 9, .version = 91, .blocks = 33}};

/* Adds what the plan reads to what is done: then nothing may be left, and nothing come twice. */
static size_t check(const Extents *done, uint64_t blocks)
{
    CopyRange *ranges;
    size_t count;
    Extents all = {0};
    for (size_t i = 0; i < done->count; i++)
        extents_add(&all, done->items[i]);
    plan_ranges(parts, 3, 7, blocks, done, &ranges, &count);
    for (size_t i = 0; i < count; i++) {
        const Extent *extent = &ranges[i].extent;
        Extent gap;
        assert_int_equal(ranges[i].table, 7);
        assert_true(extents_gap(&all, extent->part, extent->version, extent->from, &gap));
        assert_int_equal(gap.from, extent->from);
        assert_true(extent->to <= gap.to);
        uint64_t there = extent->part == 5 ? 1000 : extent->part == 9 ? 33 : 0;
        uint64_t to = extent->to < there ? extent->to : there;
        assert_true(to < extent->from || to - extent->from <= blocks + blocks / 2 + 1);
        extents_add(&all, *extent);
    }
    for (size_t i = 0; i < 3; i++) {
        Extent gap;
        assert_false(extents_gap(&all, parts[i].oid, parts[i].version, 0, &gap));
    }
    extents_done(&all);
    free(ranges);
    return count;
}

static void test_everything(void **state)
{
    (void)state;
    Extents none = {0};
    assert_int_equal(check(&none, 1u << 20), 3);
    assert_true(check(&none, 1) > 1000);
    for (uint64_t blocks = 2; blocks < 1100; blocks += 7)
        check(&none, blocks);
}

static void test_what_is_left(void **state)
{
    (void)state;
    Extents done = {0};
    extents_add(&done, (Extent){5, 50, 100, 300});
    extents_add(&done, (Extent){5, 50, 990, EXTENTS_END});
    extents_add(&done, (Extent){9, 90, 0, 20}); /* rewritten since */
    extents_add(&done, (Extent){6, 1, 0, EXTENTS_END});
    assert_int_equal(check(&done, 1u << 20), 3);
    for (uint64_t blocks = 1; blocks < 400; blocks += 3)
        check(&done, blocks);
    extents_done(&done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
