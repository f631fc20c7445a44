/* links: firn_capture_linger */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "agent/capture/linger/linger.h"

#define MS INT64_C(1000)
#define BEGIN (INT64_C(5000) * MS)

static int setup(void **state)
{
    Linger *linger = calloc(1, sizeof *linger);
    unsetenv("FIRN_CONFIRM_MS");
    linger_init(linger, 0);
    *state = linger;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void a_silent_source_is_fresh(void **state)
{
    Linger *linger = *state;
    assert_false(linger_due(linger, BEGIN));
    linger_data(linger, BEGIN);
    linger_data(linger, BEGIN + 10 * MS);
    assert_false(linger_due(linger, BEGIN + 29 * MS));
    assert_int_equal(linger_wait_ms(linger, true, BEGIN + 900 * MS, BEGIN + 11 * MS), 19);
    assert_true(linger_due(linger, BEGIN + 30 * MS));
    assert_int_equal(linger_wait_ms(linger, true, BEGIN + 900 * MS, BEGIN + 31 * MS), 0);
    linger_done(linger);
    assert_false(linger_due(linger, BEGIN + 900 * MS));
}

static void a_busy_source_gathers(void **state)
{
    Linger *linger = *state;
    for (int64_t at = 0; at < 200; at += 10) {
        linger_data(linger, BEGIN + at * MS);
        assert_false(linger_due(linger, BEGIN + at * MS));
    }
    linger_data(linger, BEGIN + 200 * MS);
    assert_true(linger_due(linger, BEGIN + 200 * MS));
}

/* The first beat counts, and none while data is there. */
static void beats_are_handed_out_seldom(void **state)
{
    Linger *linger = *state;
    linger_beat(linger, BEGIN);
    linger_beat(linger, BEGIN + 600 * MS);
    assert_false(linger_due(linger, BEGIN + 999 * MS));
    assert_int_equal(linger_wait_ms(linger, true, BEGIN + 9000 * MS, BEGIN + 600 * MS), 400);
    assert_true(linger_due(linger, BEGIN + 1000 * MS));
    linger_data(linger, BEGIN + 1000 * MS);
    assert_false(linger_due(linger, BEGIN + 1001 * MS));
    linger_done(linger);
    assert_false(linger_due(linger, BEGIN + 9000 * MS));
}

/* Never past what was asked for; within a transaction nothing falls due. A part of a millisecond is
 * a whole one, lest the wait spins. */
static void waits_end_when_asked(void **state)
{
    Linger *linger = *state;
    linger_data(linger, BEGIN);
    assert_int_equal(linger_wait_ms(linger, true, BEGIN + 5 * MS, BEGIN), 5);
    assert_int_equal(linger_wait_ms(linger, false, BEGIN + 70 * MS, BEGIN), 70);
    assert_int_equal(linger_wait_ms(linger, false, BEGIN + 1, BEGIN), 1);
    assert_int_equal(linger_wait_ms(linger, false, BEGIN - 1, BEGIN), 0);
}

static void less_may_be_asked_for(void **state)
{
    Linger *linger = *state;
    linger_init(linger, 5 * MS);
    linger_data(linger, BEGIN);
    assert_false(linger_due(linger, BEGIN + 4 * MS));
    assert_true(linger_due(linger, BEGIN + 5 * MS));
    setenv("FIRN_CONFIRM_MS", "50", 1);
    linger_init(linger, 0);
    linger_beat(linger, BEGIN);
    assert_false(linger_due(linger, BEGIN + 49 * MS));
    assert_true(linger_due(linger, BEGIN + 50 * MS));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_silent_source_is_fresh),    TEST(a_busy_source_gathers),
        TEST(beats_are_handed_out_seldom), TEST(waits_end_when_asked),
        TEST(less_may_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
