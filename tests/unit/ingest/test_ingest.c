/* links: firn_ingest */
/* A topic of librdkafka's mock cluster into a table of a folder: rows, updates, deletions, a
 * TRUNCATE, a restart, two consumers, kill -9 at each point of the way, other columns. What is read
 * is what agent/topic writes. */
#include "tests/unit/ingest/source.h"

#include <signal.h>
#include <sys/wait.h>

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

#define BACKLOG 9000

/* More than one fetch brings, of a broker that takes its time: a partition is sought while
 * librdkafka has a question under way that it asked when it was dealt out, if it was given the name
 * of an offset: it would ask again, and follow the answer. */
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

/* --- processes that are killed: forked before anything has threads, told later what to do --- */
#define CHILDREN 5

typedef struct Child {
    pid_t pid;
    int pipe;
    const char *crash_at;
} Child;

static Child children[CHILDREN] = {{.crash_at = "stage-files-written:3"},
                                   {.crash_at = "ingest-staged:3"},
                                   {.crash_at = "ingest-pieces-taken:2"},
                                   {.crash_at = "commit-swapped:2"},
                                   {.crash_at = "ingest-committed:2"}};

/* Gets a broker and a folder; ends by the crash point. */
static void child_run(int from)
{
    Source source = {0};
    Process process;
    char text[128] = "";
    if (read(from, text, sizeof text - 1) <= 0)
        _exit(0);
    char *space = strchr(text, ' ');
    *space = '\0';
    source.cluster.broker = text;
    snprintf(source.folder, sizeof source.folder, "%s", space + 1);
    parse_manifest(&source);
    process_start(&process, &source);
    thread_join(process.thread);
    _exit(1);
}

static void fork_children(void)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        children[i].pid = fork();
        assert_true(children[i].pid >= 0);
        if (children[i].pid == 0) {
            setenv("FIRN_CRASH_AT", children[i].crash_at, 1);
            close(ends[1]);
            child_run(ends[0]);
        }
        close(ends[0]);
        children[i].pipe = ends[1];
    }
}

static void test_kills(void **state)
{
    (void)state;
    Source source;
    Process process;
    char text[128];
    source_open(&source);
    int32_t version = 0;
    for (int64_t id = 1; id <= 60; id++)
        put(&source, ROW_READ, id, 0);
    flush(&source);
    for (size_t i = 0; i < CHILDREN; i++) {
        int bytes = snprintf(text, sizeof text, "%s %s", source.cluster.broker, source.folder);
        assert_int_equal(write(children[i].pipe, text, (size_t)bytes), bytes);
        int status = 0;
        while (waitpid(children[i].pid, &status, WNOHANG) == 0) {
            version++;
            for (int64_t id = 1; id <= 60; id++)
                put(&source, version % 7 == 6 && id == 60 ? ROW_DELETE : ROW_UPDATE, id, version);
            flush(&source);
            clock_sleep_us(150000);
        }
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: ended with %d", children[i].crash_at, status);
    }
    version++;
    for (int64_t id = 1; id <= 60; id++)
        put(&source, ROW_UPDATE, id, version + (int32_t)id);
    flush(&source);
    process_start(&process, &source);
    expect(&source, 60, 60 * 61 / 2, 60 * version + 60 * 61 / 2);
    process_stop(&process);
    source_close(&source);
}

int main(void)
{
    setenv("FIRN_TOPIC_ID_MS", "0", 1);
    setenv("FIRN_SETTINGS_MS", "0", 1);
    setenv("FIRN_SESSION_MS", "6000", 1); /* the mock holds a group that was left for so long */
    log_setup(getenv("FIRN_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_LOGFMT);
    cmocka_set_test_filter(getenv("FIRN_TEST_ONLY"));
    fork_children();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills), cmocka_unit_test(test_follows),
                                       cmocka_unit_test(test_columns),
                                       cmocka_unit_test(test_backlog)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
