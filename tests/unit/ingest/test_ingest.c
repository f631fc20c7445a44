/* links: firn_ingest */
/* A topic of librdkafka's mock cluster into a table of a folder: rows, updates, deletions, a
 * TRUNCATE, a restart, two consumers, other columns. What is read
 * is what agent/topic writes. */
#include "tests/unit/ingest/source.h"

static void test_follows(void **state)
{
    (void)state;
    Source source;
    Process process, other;
    source_open(&source);
    for (int64_t id = 1; id <= 50; id++)
        put(&source, ROW_READ, id, 1);
    flush(&source);
    send_marker(&source, false);
    process_start(&process, &source);
    expect(&source, 50, 1275, 50);
    for (int64_t id = 1; id <= 20; id++)
        put(&source, ROW_UPDATE, id, 10);
    for (int64_t id = 41; id <= 50; id++)
        put(&source, ROW_DELETE, id, 0);
    flush(&source);
    expect(&source, 40, 820, 220);
    process_stop(&process);
    put(&source, ROW_INSERT, 100, 3);
    flush(&source);
    process_start(&process, &source); /* from where the table stands */
    expect(&source, 41, 920, 223);
    send_marker(&source, true);
    put(&source, ROW_INSERT, 7, 9);
    flush(&source);
    expect(&source, 1, 7, 9);
    process_start(&other, &source); /* partitions are dealt out anew */
    for (int round = 0; round < 6; round++) {
        for (int64_t id = 8; id < 40; id++)
            put(&source, round ? ROW_UPDATE : ROW_INSERT, id, round);
        flush(&source);
        clock_sleep_us(400000);
    }
    expect(&source, 33, 7 + 47 * 16, 9 + 5 * 32);
    process_stop(&process); /* the one that commits; the other does from here on */
    put(&source, ROW_DELETE, 7, 0);
    flush(&source);
    expect(&source, 32, 47 * 16, 5 * 32);
    process_stop(&other);
    source_close(&source);
}

/* A column is added, another one widens: between two rows, while it is followed. */
static void test_columns(void **state)
{
    (void)state;
    Source source;
    Process process;
    source_open(&source);
    for (int64_t id = 1; id <= 30; id++)
        put(&source, ROW_INSERT, id, 1);
    flush(&source);
    process_start(&process, &source);
    expect(&source, 30, 465, 30);
    put(&source, ROW_UPDATE, 1, 5);
    flush(&source);
    topic_table_free(source.table);
    batch_free(source.batch);
    schema_free(source.schema);
    make_table(&source);
    send_state(&source);
    for (int64_t id = 21; id <= 40; id++)
        put(&source, id <= 30 ? ROW_UPDATE : ROW_INSERT, id, 100);
    flush(&source);
    expect(&source, 40, 820, 5 + 19 + 20 * 100);
    assert_int_equal(more_of(&source), 20 * 200);
    process_stop(&process);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_follows),
                                       cmocka_unit_test(test_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
