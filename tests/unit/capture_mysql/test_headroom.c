/* links: firn_capture_mysql */
#include "tests/unit/unit.h"

#include <math.h>

#include "agent/capture/mysql/headroom.h"

#define SECOND INT64_C(1000000)
#define NOW (INT64_C(1700000000) * SECOND)
#define DAY (86400 * SECOND)

/* The server keeps files for ten days. Nothing is waited for; then a transaction of two days ago;
 * then that is durable, and one of today is not. */
static void test_age(void **state)
{
    (void)state;
    Headroom headroom = {.expire_us = 10 * DAY};
    LogHeadroom now = headroom_now(&headroom, NOW, 0, true);
    assert_int_equal(now.status, LOG_RESERVED);
    assert_true(now.limited);
    assert_true(now.seconds == 864000);
    assert_int_equal(now.headroom_bytes, INT64_MAX);
    assert_true(now.over_seconds == 0);
    headroom_mark(&headroom, 100, NOW - 2 * DAY);
    headroom_mark(&headroom, 200, NOW);
    headroom_mark(&headroom, 200, NOW - 9 * DAY); /* nothing lies between */
    headroom_mark(&headroom, 300, 0);             /* and here nothing was committed */
    now = headroom_now(&headroom, NOW, 1000, true);
    assert_true(now.seconds == 8 * 86400);
    assert_int_equal(now.retained_bytes, 1000);
    assert_int_equal(now.headroom_bytes, 4000);
    assert_true(now.over_seconds == 2 * 86400);
    headroom_confirmed(&headroom, 150);
    now = headroom_now(&headroom, NOW + 60 * SECOND, 7000, true);
    assert_true(now.seconds == 864000 - 60);
    assert_true(now.growth > 99 && now.growth < 121);
    headroom_confirmed(&headroom, 200);
    assert_int_equal(headroom.count, 0);
    assert_true(headroom_now(&headroom, NOW + 90 * DAY, 0, true).seconds == 864000);
}

static void test_short(void **state)
{
    (void)state;
    Headroom headroom = {.expire_us = DAY};
    headroom_mark(&headroom, 100, NOW - 2 * DAY);
    LogHeadroom now = headroom_now(&headroom, NOW, 1000, true);
    assert_int_equal(now.status, LOG_UNRESERVED);
    assert_true(now.seconds == 0);
    assert_int_equal(now.headroom_bytes, 0);
    headroom.expire_us = 0; /* it keeps all, but somebody has removed the file */
    assert_int_equal(headroom_now(&headroom, NOW, 1000, true).status, LOG_RESERVED);
    now = headroom_now(&headroom, NOW, 1000, false);
    assert_int_equal(now.status, LOG_UNRESERVED);
    assert_true(!now.limited && isinf(now.seconds));
}

/* More marks than there is room for: what joins the last one is as old as that. */
static void test_many(void **state)
{
    (void)state;
    Headroom headroom = {.expire_us = DAY};
    for (uint64_t i = 1; i <= 3 * HEADROOM_MARKS; i++)
        headroom_mark(&headroom, i, NOW + (int64_t)i);
    assert_int_equal(headroom.count, HEADROOM_MARKS);
    headroom_confirmed(&headroom, 3 * HEADROOM_MARKS - 1);
    assert_int_equal(headroom.count, 1);
    assert_int_equal(headroom.marks[0].oldest_us, NOW + HEADROOM_MARKS);
    headroom_confirmed(&headroom, 3 * HEADROOM_MARKS);
    assert_int_equal(headroom.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_age), cmocka_unit_test(test_short),
                                       cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
