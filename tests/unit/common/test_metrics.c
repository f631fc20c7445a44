/* links: firn_common */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>

#include "common/metrics.h"
#include "common/thread.h"

static void text_format(void **state)
{
    (void)state;
    AUTO(mem_free) char *odd = metrics_label("table", "public.\"a\\b\"\nc");
    assert_string_equal(odd, "table=\"public.\\\"a\\\\b\\\"\\nc\"");
    Metric *rows = metrics_register(METRIC_COUNTER, "firn_rows_total", "Rows\nread \\ written.",
                                    "table=\"a\"");
    Metric *lag = metrics_register(METRIC_GAUGE, "firn_lag_seconds", "Lag.", "");
    Metric *more = metrics_register(METRIC_COUNTER, "firn_rows_total", "Rows.", odd);
    Metric *zero = metrics_register(METRIC_GAUGE, "firn_zero", "Zero.", "");
    Metric *nan_metric = metrics_register(METRIC_GAUGE, "firn_nan", "Not known.", "");
    assert_ptr_equal(rows, metrics_register(METRIC_COUNTER, "firn_rows_total", "", "table=\"a\""));
    assert_ptr_not_equal(rows, more);
    metric_add(rows, 4);
    metric_add(rows, 38);
    metric_set(more, 1e15);
    metric_set(lag, 0.25);
    metric_set(zero, -INFINITY);
    metric_set(nan_metric, NAN);
    Bytes text = {0};
    metrics_write(&text);
    bytes_put_u8(&text, '\0');
    assert_string_equal((const char *)text.data,
                        "# HELP firn_rows_total Rows\\nread \\\\ written.\n"
                        "# TYPE firn_rows_total counter\n"
                        "firn_rows_total{table=\"a\"} 42\n"
                        "firn_rows_total{table=\"public.\\\"a\\\\b\\\"\\nc\"} 1000000000000000\n"
                        "# HELP firn_lag_seconds Lag.\n"
                        "# TYPE firn_lag_seconds gauge\n"
                        "firn_lag_seconds 0.25\n"
                        "# HELP firn_zero Zero.\n"
                        "# TYPE firn_zero gauge\n"
                        "firn_zero -Inf\n"
                        "# HELP firn_nan Not known.\n"
                        "# TYPE firn_nan gauge\n"
                        "firn_nan NaN\n");
    bytes_done(&text);
}

static void find_odd(void *context, const char *name, const char *labels, Metric *metric)
{
    AUTO(mem_free) char *table = metrics_label_value(labels, "table");
    if (strcmp(name, "firn_found") == 0 && table && strcmp(table, "a\"\\b\nc=d,e") == 0)
        *(Metric **)context = metric;
}

static void labels_are_read_again(void **state)
{
    (void)state;
    AUTO(mem_free) char *first = metrics_label("table", "a\"\\b\nc=d,e");
    AUTO(mem_free) char *second = metrics_label("unit", "retail/x");
    AUTO(mem_free) char *labels = mem_format("%s,%s", first, second);
    AUTO(mem_free) char *unit = metrics_label_value(labels, "unit");
    assert_string_equal(unit, "retail/x");
    assert_null(metrics_label_value(labels, "un"));
    assert_null(metrics_label_value("", "unit"));
    size_t before = metrics_count();
    Metric *metric = metrics_register(METRIC_GAUGE, "firn_found", "Found.", labels), *found = NULL;
    assert_int_equal(metrics_count(), before + 1);
    metrics_each(find_odd, &found);
    assert_ptr_equal(found, metric);
}

/* Each again by its labels, and in the order in which they came. */
static void many_samples(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static Metric *metrics[MANY];
    char labels[40];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < MANY; i++) {
            snprintf(labels, sizeof labels, "table=\"t%d\"", i);
            Metric *metric = metrics_register(METRIC_GAUGE, "firn_many", "Many.", labels);
            if (round)
                assert_ptr_equal(metric, metrics[i]);
            metrics[i] = metric;
            metric_set(metric, i);
        }
    Bytes text = {0};
    metrics_write(&text);
    bytes_put_u8(&text, '\0');
    const char *at = strstr((const char *)text.data, "firn_many{");
    for (int i = 0; i < MANY; i++) {
        int used = snprintf(labels, sizeof labels, "firn_many{table=\"t%d\"} %d\n", i, i);
        assert_memory_equal(at, labels, (size_t)used);
        at += used;
    }
    assert_null(strstr(at, "firn_many{"));
    bytes_done(&text);
}

#define ADDS 20000
static void adder(void *metric)
{
    for (int i = 0; i < ADDS; i++)
        metric_add(metric, 1);
}

static void several_threads_add(void **state)
{
    (void)state;
    Metric *metric = metrics_register(METRIC_COUNTER, "firn_adds_total", "Adds.", "");
    Thread *threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        threads[i] = thread_start("adder", adder, metric);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(threads[i]);
    assert_true(atomic_load(&metric->value) == (double)(ADDS * ARRAY_LEN(threads)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_format),
        cmocka_unit_test(labels_are_read_again),
        cmocka_unit_test(many_samples),
        cmocka_unit_test(several_threads_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
