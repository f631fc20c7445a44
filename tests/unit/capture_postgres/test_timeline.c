/* links: firn_capture_postgres */
/* Which positions of before a promotion are as good as ones of now; and how fast a slot's log
 * grows. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/capture/postgres/postgres.h"
#include "agent/capture/postgres/watch.h"
#include "common/mem.h"

#define NOW "postgresql/7301/3/firn"

static Timelines history(void)
{
    Timelines timelines;
    assert_true(timelines_parse("1\t0/3000000\tno recovery target specified\n"
                                "# a remark\n\n"
                                "2\t1/A0000028\tat restore point \"x\"\n",
                                &timelines));
    assert_int_equal(timelines.count, 2);
    assert_int_equal(timelines.items[1].end, UINT64_C(0x1A0000028));
    return timelines;
}

static void adopts(const char *source, uint64_t major, uint64_t minor, bool passed, bool wanted,
                   uint64_t becomes)
{
    Timelines timelines = history();
    Position position = position_of(source, (RowPosition){major, minor});
    assert_int_equal(timelines_adopt(&timelines, NOW, &position, passed), wanted);
    assert_string_equal(position.source, wanted ? NOW : source);
    assert_int_equal(position.at.major, becomes);
    free(timelines.items);
}

static void positions_of_before(void **state)
{
    (void)state;
    adopts(NOW, 5, 2, false, true, 5);
    adopts("postgresql/7301/1/firn", 0x2000000, 7, false, true, 0x2000000);
    adopts("postgresql/7301/1/firn", 0x3000000, 0, false, true, 0x3000000);
    adopts("postgresql/7301/2/firn", 0x100000000, 0, false, true, 0x100000000);
    /* what the new primary never had */
    adopts("postgresql/7301/1/firn", 0x3000000, 1, false, false, 0x3000000);
    adopts("postgresql/7301/1/firn", 0x3000008, 0, false, false, 0x3000008);
    /* everything up to there is meant: as far as it was the same */
    adopts("postgresql/7301/1/firn", 0x3000008, 4, true, true, 0x3000000);
    /* another system, slot, timeline; a later one: the server has gone back */
    adopts("postgresql/7302/1/firn", 1, 0, true, false, 1);
    adopts("postgresql/7301/1/firm", 1, 0, true, false, 1);
    adopts("postgresql/7301/4/firn", 1, 0, true, false, 1);
    adopts("postgresql/73011/1/firn", 1, 0, true, false, 1);
    adopts("kafka/7301/1/firn", 1, 0, true, false, 1);
    adopts("postgresql", 1, 0, true, false, 1);
    adopts("", 1, 0, true, false, 1);
}

static void what_is_no_history(void **state)
{
    (void)state;
    static const char *const texts[] = {"1\n", "one 0/3\n", "1 0/3\n2 x\n", "1 0-3\n"};
    Timelines timelines;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_false(timelines_parse(texts[i], &timelines));
        assert_null(timelines.items);
        assert_int_equal(timelines.count, 0);
    }
    assert_true(timelines_parse("", &timelines));
    assert_int_equal(timelines.count, 0);
}

static void growth(void **state)
{
    (void)state;
    WatchSample samples[WATCH_SAMPLES] = {0};
    double seconds;
    assert_true(watch_growth(samples, 0, &seconds) == 0 && seconds == 0);
    samples[0] = (WatchSample){1000000, 500};
    assert_true(watch_growth(samples, 1, &seconds) == 0 && seconds == 0);
    samples[1] = (WatchSample){3000000, 2500};
    assert_true(watch_growth(samples, 2, &seconds) == 1000 && seconds == 2);
    samples[2] = (WatchSample){4000000, 100}; /* it went back: nothing grows */
    assert_true(watch_growth(samples, 3, &seconds) == 0 && seconds == 3);
    /* round the ring: the oldest that is still there counts */
    for (size_t i = 0; i < WATCH_SAMPLES + 5; i++)
        samples[i % WATCH_SAMPLES] = (WatchSample){(int64_t)i * 10000000, 1000000 + i * 50};
    assert_true(watch_growth(samples, WATCH_SAMPLES + 5, &seconds) == 5);
    assert_true(seconds == 10.0 * (WATCH_SAMPLES - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_of_before),
        cmocka_unit_test(what_is_no_history),
        cmocka_unit_test(growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
