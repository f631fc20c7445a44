/* links: firn_supervise */
/* How a table is cut, and how far its copy is: estimates, figures and metrics agree. */
#include "tests/unit/unit.h"

#include "agent/supervise/copying.h"
#include "common/mem.h"

#define MIB ((uint64_t)1 << 20)

static const CopyRange ranges[] = {{.bytes_estimate = 10 * MIB}, {.bytes_estimate = 15 * MIB}};

static void shows(const char *sample)
{
    Bytes text = {0};
    metrics_write(&text);
    if (!memmem(text.data, text.used, sample, strlen(sample)))
        fail_msg("no %s in %.*s", sample, (int)text.used, (const char *)text.data);
    bytes_done(&text);
}

static void a_copy_is_counted(void **state)
{
    (void)state;
    const SourceTable source = {.rows_estimate = 1000, .bytes_estimate = 100 * MIB};
    CopyCount begun = {0}, gone_on = {0};
    copying_register(&begun, "table=\"a\"");
    copying_register(&gone_on, "table=\"b\"");
    copying_begin(&begun, "a", &source, true, ranges, 2);
    copying_begin(&gone_on, "b", &source, false, ranges, 2);
    assert_int_equal(begun.rows_estimate, 1000); /* whatever ranges say: every row is to be read */
    assert_int_equal(gone_on.rows_estimate, 250);
    shows("firn_table_copying{table=\"a\"} 1\n");
    shows("firn_table_copy_rows_estimate{table=\"b\"} 250\n");
    shows("firn_table_copy_bytes_estimate{table=\"b\"} 26214400\n");

    copying_put_rows(&begun, 7);
    copying_put_rows(&begun, 5);
    copying_put_rows(&gone_on, 30);
    copying_put_range(&begun, &ranges[0]);
    CopyFigures all = {.tables = 2};
    copying_add(&begun, &all);
    copying_add(&gone_on, &all);
    assert_int_equal(all.tables, 2);
    assert_int_equal(all.rows, 42);
    assert_int_equal(all.rows_estimate, 1250);
    assert_int_equal(all.bytes, 10 * MIB);
    assert_int_equal(all.bytes_estimate, 50 * MIB);
    shows("firn_table_copy_rows_total{table=\"a\"} 12\n");
    shows("firn_table_copy_bytes_total{table=\"a\"} 10485760\n");
    copying_end(&begun, "a");
    shows("firn_table_copying{table=\"a\"} 0\n");
    shows("firn_table_copying{table=\"b\"} 1\n");
}

/* Statistics of the source's may be older than its rows. */
static void a_small_estimate_is_no_limit(void **state)
{
    (void)state;
    const SourceTable source = {.rows_estimate = 3, .bytes_estimate = MIB};
    CopyCount count = {0};
    copying_register(&count, "table=\"c\"");
    copying_begin(&count, "c", &source, false, ranges, 2);
    assert_int_equal(count.rows_estimate, 3);
}

static void ranges_are_neither_small_nor_large(void **state)
{
    (void)state;
    const ConnectorSpec connector = {.snapshot_parallelism = 4};
    const uint64_t cases[][2] = {{0, 8}, {100, 8}, {1024, 16}, {100000, 32}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            copying_range_bytes(&connector, &(SourceTable){.bytes_estimate = cases[i][0] * MIB}),
            cases[i][1] * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_counted),
        cmocka_unit_test(a_small_estimate_is_no_limit),
        cmocka_unit_test(ranges_are_neither_small_nor_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
