/* links: firn_ingest */
/* kill -9 at each point of the way from records to a snapshot, while rows come: processes that are
 * forked before anything has threads, and told later what to do. */
#include "tests/unit/ingest/source.h"

#include <signal.h>
#include <sys/wait.h>

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
    setup_quick();
    fork_children();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
