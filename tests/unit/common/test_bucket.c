/* links: firn_common */
#include "tests/unit/unit.h"

#include "common/bucket.h"

/* Whoever waits as told never passes more than the rate allows, plus one taking. */
static void test_rate(void **state)
{
    (void)state;
    Bucket bucket;
    int64_t now_us = 5000000, started_us = now_us;
    double passed = 0;
    bucket_init(&bucket, 1000, 100, now_us);
    for (int i = 0; i < 200; i++) {
        double count = 1 + i * 37 % 700;
        int64_t wait_us = bucket_take(&bucket, count, now_us);
        double allowed = 1000 * (double)(now_us - started_us) / 1e6 + 700;
        passed += count;
        assert_true(passed <= allowed + 1);
        now_us += wait_us;
    }
    double mean = passed / ((double)(now_us - started_us) / 1e6);
    assert_true(mean > 990 && mean < 1010); /* and not less */
}

static void test_idle_gathers_little(void **state)
{
    (void)state;
    Bucket bucket;
    bucket_init(&bucket, 1000, 100, 0);
    assert_int_equal(bucket_take(&bucket, 100, 3600000000), 0);
    int64_t wait_us = bucket_take(&bucket, 50, 3600000000);
    assert_true(wait_us >= 49999 && wait_us <= 50001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_idle_gathers_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
