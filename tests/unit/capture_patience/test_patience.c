/* links: firn_capture_patience */
#include "tests/unit/unit.h"

#include "agent/capture/patience/patience.h"
#include "common/clock.h"

static bool asked_twice(void *context)
{
    return ++*(int *)context < 2;
}

static void no_patience_is_endless(void **state)
{
    (void)state;
    Unanswered query = {.sql = "SELECT 1", .look = "there", .since_us = clock_mono_us()};
    Error err = {0};
    assert_true(patience_lasts(NULL));
    assert_true(patience_lasts(&(Patience){0}));
    assert_true(patience_waits(NULL, &query, &err));
}

static void it_ends_with_the_query_named(void **state)
{
    (void)state;
    int asked = 0;
    const Patience patience = {asked_twice, &asked};
    Unanswered query = {.sql = "LOCK TABLE t", .look = "there", .since_us = clock_mono_us()};
    Error err = {0};
    assert_true(patience_waits(&patience, &query, &err));
    assert_false(patience_waits(&patience, &query, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "Stopped");
    assert_non_null(strstr(err.message, "LOCK TABLE t"));
    assert_int_equal(asked, 2);
}

/* Not before ten seconds. The machine may stand still between two looks at the clock: what was
 * asked in time is known from a look behind it. */
static void a_slow_query_is_named(void **state)
{
    (void)state;
    Error err = {0};
    Unanswered query;
    do {
        query = (Unanswered){.sql = "q", .look = "there", .since_us = clock_mono_us() - 5000000};
        assert_true(patience_waits(NULL, &query, &err));
    } while (clock_mono_us() - query.since_us >= 10000000);
    assert_false(query.said);
    query.since_us -= 5000000;
    assert_true(patience_waits(NULL, &query, &err));
    assert_true(query.said);
}

static void told_to_stop_it_lasts_two_seconds(void **state)
{
    (void)state;
    atomic_bool stop = false;
    int64_t seen_us = 0, before_us = clock_mono_us();
    assert_true(patience_until(NULL, &seen_us));
    assert_true(patience_until(&stop, &seen_us));
    assert_int_equal(seen_us, 0);
    atomic_store(&stop, true);
    assert_true(patience_until(&stop, &seen_us)); /* it is the first look that counts */
    assert_true(seen_us >= before_us);
    bool lasts;
    do {
        seen_us = clock_mono_us() - 1000000;
        lasts = patience_until(&stop, &seen_us);
    } while (clock_mono_us() - seen_us >= 2000000);
    assert_true(lasts);
    seen_us -= 1000000;
    assert_false(patience_until(&stop, &seen_us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_patience_is_endless),
        cmocka_unit_test(it_ends_with_the_query_named),
        cmocka_unit_test(a_slow_query_is_named),
        cmocka_unit_test(told_to_stop_it_lasts_two_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
