/* links: firn_ingest */
/* More than one fetch brings, of a broker that takes its time: a partition is sought while
 * librdkafka has a question under way that it asked when it was dealt out, if it was given the name
 * of an offset: it would ask again, half a second later, and follow the answer. So it has to be at
 * work for longer than that. */
#include "tests/unit/ingest/source.h"

#define BACKLOG 5000

static void test_backlog(void **state)
{
    (void)state;
    Source source;
    Process process;
    source_open(&source);
    put(&source, ROW_INSERT, 1, 1);
    flush(&source);
    process_start(&process, &source);
    expect(&source, 1, 1, 1);
    process_stop(&process);
    for (int64_t id = 2; id <= BACKLOG; id++) {
        put(&source, ROW_INSERT, id, 1);
        if (source.batch->row_count == 128 || id == BACKLOG)
            flush(&source);
    }
    assert_int_equal(rd_kafka_mock_broker_set_rtt(source.cluster.mock, 1, 300), 0);
    process_start(&process, &source);
    expect(&source, BACKLOG, (int64_t)BACKLOG * (BACKLOG + 1) / 2, BACKLOG);
    assert_int_equal(rd_kafka_mock_broker_set_rtt(source.cluster.mock, 1, 0), 0);
    process_stop(&process);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backlog)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
