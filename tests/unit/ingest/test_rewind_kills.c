/* links: firn_ingest */
/* A rollback of a table that a Connector's topic fills, with kill -9 right before it is committed
 * and right after: it is done once, and each change is there once. Processes are forked before
 * anything has threads, and told later what to do. */
#include "tests/unit/ingest/source.h"

#include <signal.h>
#include <sys/wait.h>

typedef struct Child {
    pid_t pid;
    int pipe;
    const char *crash_at;
} Child;

static Child children[] = {{.crash_at = "ingest-before-rewind:1"},
                           {.crash_at = "ingest-rewound:1"}};
static char notes[128];

static void ask(const char *snapshot)
{
    snprintf(notes, sizeof notes, ", annotations: {firn.dev/rollback: \"%s back dave\"}", snapshot);
    unit_notes = notes;
}

/* Gets a broker, a folder and a snapshot; ends by the crash point. */
static void child_run(int from)
{
    Source source = {0};
    Process process;
    char broker[64], snapshot[32], text[192] = "";
    if (read(from, text, sizeof text - 1) <= 0)
        _exit(0);
    if (sscanf(text, "%63s %63s %31s", broker, source.folder, snapshot) != 3)
        _exit(2);
    source.cluster.broker = broker;
    ask(snapshot);
    parse_manifest(&source);
    process_start(&process, &source);
    thread_join(process.thread);
    _exit(1);
}

static void fork_children(void)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
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

static int64_t head_of(const Source *source, int64_t *snapshot)
{
    Error err = {0};
    Store *store = store_posix_open(source->folder, &err);
    Catalog *catalog = catalog_directory_open(store, &err);
    AUTO(mem_free) char *uri = store_uri(source->folder, &err);
    AUTO(mem_free) char *location = mem_format("%s/public/t", uri);
    const TableName name = {.database = "public", .table = "t", .location = location};
    IcebergTable *table = NULL;
    assert_true(iceberg_table_load(catalog, &name, &table, &err) && table);
    int64_t head = iceberg_current_snapshot(table);
    if (snapshot)
        *snapshot = iceberg_history_holds(table, *snapshot) ? *snapshot : 0;
    iceberg_table_free(table);
    catalog_close(catalog);
    store_close(store);
    return head;
}

/* In Append each change is a row: one that is lost or doubled shows. */
static void test_kills(void **state)
{
    (void)state;
    Source source;
    Process process;
    char text[192], snapshot[32];
    source_open(&source);
    for (int64_t id = 1; id <= 60; id++)
        put(&source, ROW_INSERT, id, 1);
    flush(&source);
    process_start(&process, &source);
    expect(&source, 60, 60 * 61 / 2, 60);
    int64_t first = head_of(&source, NULL);
    for (int64_t id = 1; id <= 60; id++)
        put(&source, ROW_UPDATE, id, 2);
    flush(&source);
    expect(&source, 120, 60 * 61, 180);
    process_stop(&process);
    int64_t last = head_of(&source, NULL);
    snprintf(snapshot, sizeof snapshot, "%lld", (long long)first);
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        int bytes =
            snprintf(text, sizeof text, "%s %s %s", source.cluster.broker, source.folder, snapshot);
        assert_int_equal(write(children[i].pipe, text, (size_t)bytes), bytes);
        int status = 0;
        assert_int_equal(waitpid(children[i].pid, &status, 0), children[i].pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: ended with %d", children[i].crash_at, status);
        assert_int_equal(head_of(&source, NULL), i ? first : last);
    }
    expect(&source, 60, 60 * 61 / 2, 60);
    for (int64_t id = 1; id <= 60; id++)
        put(&source, ROW_UPDATE, id, 3);
    flush(&source);
    ask(snapshot);
    manifest_free(source.manifest);
    parse_manifest(&source);
    process_start(&process, &source);
    expect(&source, 180, 60 * 61 / 2 * 3, 360);
    Figures figures;
    supervised_figures(process.flow, &figures);
    assert_string_equal(figures.request, "back");
    assert_int_equal(figures.request_state, REQUEST_DONE);
    process_stop(&process);
    int64_t stands = first, gone = last;
    (void)head_of(&source, &stands);
    (void)head_of(&source, &gone);
    assert_int_equal(stands, first);
    assert_int_equal(gone, 0);
    source_close(&source);
}

int main(void)
{
    setup_quick();
    table_extra = "      mode: Append\n";
    fork_children();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
