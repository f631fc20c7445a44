/* links: firn_capture_mysql */
/* A chunk of a table, read beside a stream: its keys, what the stream is told, what a snapshot has
 * to show. */
#include "tests/unit/capture_mysql/dump.h"

#include "common/clock.h"

#define MYSQL_VERSION "9.7.0"
#define MARIADB_VERSION "5.5.5-10.11.6-MariaDB"
#define WAIT_MS 20000
#define KEY_COLUMNS                                                                                \
    "id\tbigint unsigned\t\tNO\na\tvarchar(20)\tlatin1\tNO\nb\tvarbinary(8)\t\tNO\n"               \
    "e\tenum('x','y')\tutf8mb4\tNO\nt\tdatetime(3)\t\tNO\nf\tdouble\t\tNO"

typedef struct Beside {
    Server *server;
    Capture *stream, *capture;
    CopyReader *reader;
    Error err;
} Beside;

static Capture *open_capture(Beside *beside)
{
    Capture *capture = server_capture(beside->server, &beside->err);
    if (!capture)
        fail_msg("%s: %s", beside->err.code, beside->err.message);
    return capture;
}

/* The stream goes on at its place, before which these transactions lie. */
static void begin(Beside *beside, const char *version, const char *key, const Bytes *packets)
{
    const bool complete[] = {true};
    const RowPosition at = {place_of(7, LOG_START), 0};
    const CaptureState known = {complete, true, at};
    Position copy;
    bool adopted;
    *beside = (Beside){.server = server_new(version)};
    Server *server = beside->server;
    server_answer(server, (Answer)SAYS("SELECT id, character_set_name",
                                       "8\tlatin1\n45\tutf8mb4\n63\tbinary"));
    if (key) {
        server_answer(server,
                      (Answer)SAYS("SELECT column_name, column_type, coalesce", KEY_COLUMNS));
        server_answer(server,
                      (Answer)SAYS("SELECT column_name FROM information_schema.statistics", key));
    }
    server_answer(server, (Answer){.to = "DUMP ", .raw = packets});
    beside->stream = open_capture(beside);
    beside->capture = open_capture(beside);
    const CaptureDriver *driver = beside->stream->driver;
    Position then = position_of(driver->source(beside->stream), at);
    const char *before = mysql_of(beside->stream)->mariadb ? "0-1-9" : SERVER_UUID ":2-5";
    assert_true(driver->adopt(beside->stream, &then, before, false, &adopted, &beside->err));
    assert_true(driver->prepare(beside->stream, &known, &copy, &beside->err));
    assert_true(driver->stream_start(beside->stream, &beside->err));
    beside->reader = driver->beside_open(beside->capture, beside->stream, &beside->err);
    assert_non_null(beside->reader);
}

static void end(Beside *beside)
{
    const CaptureDriver *driver = beside->stream->driver;
    driver->copy_reader_free(beside->reader);
    driver->close(beside->capture);
    driver->close(beside->stream);
    server_free(beside->server);
}

/* --- keys --- */

static void keys_become_limits(void **state)
{
    (void)state;
    static const struct {
        const char *key, *after, *select; /* what is asked, and shown */
        const char *row, *bound;
    } cases[] = {
        {"id", NULL, "SELECT `id` + 0 FROM `shop`.`t` ORDER BY `id` LIMIT 1 OFFSET 99\n",
         "18446744073709551615", "[\"18446744073709551615\"]"},
        {"id", "[\"7\"]",
         "SELECT `id` + 0 FROM `shop`.`t` WHERE `id` > 7 ORDER BY `id` LIMIT 1 OFFSET 99\n", "8",
         "[\"8\"]"},
        {"a\nb", "[\"it's \\\\\",\"00FF\"]",
         "SELECT `a`, hex(`b`) FROM `shop`.`t` WHERE `a` >= 'it''s \\' AND (`a` > 'it''s \\' OR "
         "`b` > x'00FF') ORDER BY `a`, `b` LIMIT 1 OFFSET 99\n",
         "z\t", "[\"z\",\"\"]"},
        {"e\nt\nid", "[\"1\",\"2026-01-01 00:00:00.000\",\"5\"]",
         "SELECT `e` + 0, `t`, `id` + 0 FROM `shop`.`t` WHERE `e` >= 1 AND (`e` > 1 OR `t` >= "
         "'2026-01-01 00:00:00.000' AND (`t` > '2026-01-01 00:00:00.000' OR `id` > 5)) ORDER BY "
         "`e`, `t`, `id` LIMIT 1 OFFSET 99\n",
         "2\t2026-01-01 00:00:00.000\t6", "[\"2\",\"2026-01-01 00:00:00.000\",\"6\"]"},
        {"id", "[\"8\"]", "WHERE `id` > 8 ORDER BY", "", NULL}, /* no row: the rest */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Beside beside;
        Dump dump = dump_begin();
        begin(&beside, MYSQL_VERSION, cases[i].key, &dump.packets);
        server_answer(beside.server, (Answer)SAYS("SELECT `", cases[i].row));
        char *bound;
        bool ok = my_beside_bound(beside.reader, 0, cases[i].after, 100, &bound, &beside.err);
        if (!ok)
            fail_msg("%s: %s", beside.err.code, beside.err.message);
        assert_int_equal(server_asked(beside.server, cases[i].select), 1);
        if (cases[i].bound)
            assert_string_equal(bound, cases[i].bound);
        else
            assert_null(bound);
        free(bound);
        end(&beside);
        bytes_done(&dump.packets);
    }
}

/* What a copy has come to is kept where others may write. */
static void kept_keys_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "7",
                                      "[]",
                                      "[\"1\"]",
                                      "[\"1\",\"00\",\"3\"]",
                                      "[1,\"00\"]",
                                      "[\"1 OR 1\",\"00\"]",
                                      "[\"\",\"00\"]",
                                      "[\"1\",\"0'; DROP TABLE t\"]"};
    Beside beside;
    Dump dump = dump_begin();
    begin(&beside, MYSQL_VERSION, "id\nb", &dump.packets);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Error err = {0};
        char *bound;
        assert_false(my_beside_bound(beside.reader, 0, bad[i], 100, &bound, &err));
        assert_string_equal(err.code, "ColumnsChanged");
    }
    assert_int_equal(server_asked(beside.server, "OFFSET"), 0);
    end(&beside);
    begin(&beside, MYSQL_VERSION, "id\nf", &dump.packets);
    char *bound;
    assert_false(my_beside_bound(beside.reader, 0, NULL, 100, &bound, &beside.err));
    assert_string_equal(beside.err.code, "UnsupportedKey");
    assert_int_equal(beside.err.kind, ERROR_CONFIG);
    end(&beside);
    bytes_done(&dump.packets);
}

/* --- words --- */

typedef struct Word {
    Beside *beside;
    Error err;
    bool said;
} Word;

static void say(void *at)
{
    Word *word = at;
    word->said = my_beside_say(word->beside->reader, "token 1 low", &word->err);
}

static void next(Beside *beside, Change *ret)
{
    if (!beside->stream->driver->next(beside->stream, WAIT_MS, ret, &beside->err))
        fail_msg("%s: %s", beside->err.code, beside->err.message);
}

static void a_word_stands_behind_what_was_committed(void **state)
{
    (void)state;
    Beside beside;
    Change change;
    Dump dump = dump_begin();
    dump_put_row(&dump, TEXT(ROW("\1")));
    begin(&beside, MYSQL_VERSION, NULL, &dump.packets);
    AUTO(mem_free) char *end_of_log = mem_format("binlog.000007\t%u\t\t\t", dump.at);
    server_answer(beside.server, (Answer)SAYS("SHOW BINARY LOG STATUS", end_of_log));
    Word word = {.beside = &beside};
    Thread *thread = thread_start("word", say, &word);
    bool any_row = false;
    do {
        next(&beside, &change);
        any_row = any_row || change.kind == CHANGE_BATCH;
        assert_true(change.kind != CHANGE_MESSAGE || any_row);
        if (change.kind != CHANGE_MESSAGE)
            change_done(&change);
    } while (change.kind != CHANGE_MESSAGE);
    thread_join(thread);
    assert_true(word.said);
    assert_string_equal(change.message->prefix, CAPTURE_BESIDE_PREFIX);
    assert_int_equal(change.message->bytes, strlen("token 1 low"));
    assert_memory_equal(change.message->content, "token 1 low", change.message->bytes);
    assert_int_equal(change.row.major, place_of(7, dump.at));
    change_done(&change);
    next(&beside, &change); /* what came before it is durable with this */
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    assert_int_equal(change.position.at.major, place_of(7, dump.at));
    end(&beside);
    bytes_done(&dump.packets);
}

static void a_word_that_is_not_waited_for(void **state)
{
    (void)state;
    Beside beside;
    Dump dump = dump_begin();
    begin(&beside, MYSQL_VERSION, NULL, &dump.packets);
    Word word = {.beside = &beside};
    Thread *thread = thread_start("word", say, &word);
    my_copy_cancel(beside.reader); /* the stream is never asked */
    thread_join(thread);
    assert_false(word.said);
    assert_string_equal(word.err.code, "Cancelled");
    end(&beside);
    bytes_done(&dump.packets);
}

/* --- snapshots --- */

/* The word was said, behind one transaction. */
static void say_one(Beside *beside)
{
    Change change = {0};
    Word word = {.beside = beside};
    Thread *thread = thread_start("word", say, &word);
    while (change.kind != CHANGE_MESSAGE) {
        next(beside, &change);
        change_done(&change);
    }
    thread_join(thread);
    assert_true(word.said);
}

static void a_chunk_is_read_in_a_snapshot(void **state)
{
    (void)state;
    static const char *const versions[] = {MYSQL_VERSION, MARIADB_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        Beside beside;
        Batch *batch;
        Unseen unseen;
        Dump dump = dump_begin();
        begin(&beside, versions[i], NULL, &dump.packets);
        server_answer(beside.server, (Answer)OK("COMMIT"));
        server_answer(beside.server, (Answer)SAYS("SELECT `id`, `a` FROM `shop`.`t` WHERE `id` > 3 "
                                                  "AND `id` <= 5",
                                                  "4\tx\n5\ty"));
        say_one(&beside);
        if (!my_beside_begin(beside.reader, 0, "[\"3\"]", "[\"5\"]", &unseen, &beside.err))
            fail_msg("%s: %s", beside.err.code, beside.err.message);
        assert_int_equal(unseen.open_count, 0);
        assert_true(my_copy_next(beside.reader, &batch, &beside.err));
        assert_int_equal(batch->row_count, 2);
        batch_free(batch);
        assert_true(my_copy_next(beside.reader, &batch, &beside.err));
        assert_null(batch);
        assert_int_equal(server_asked(beside.server, "COMMIT"), 1);
        assert_int_equal(server_asked(beside.server, "LOCK"), 2); /* the two of the stream's name */
        end(&beside);
        bytes_done(&dump.packets);
    }
}

typedef struct Cancel {
    Beside *beside;
    const char *asked;
} Cancel;

static void cancel_when_asked(void *at)
{
    const Cancel *cancel = at;
    while (server_asked(cancel->beside->server, cancel->asked) < 3)
        clock_sleep_us(1000);
    my_copy_cancel(cancel->beside->reader);
}

/* What stands in the log is not shown yet: it is waited for. */
static void a_snapshot_has_to_show_enough(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        Answer answer;
        const char *asked;
    } cases[] = {
        {MYSQL_VERSION, SAYS("SELECT @@GLOBAL.gtid_executed", SERVER_UUID ":2-4"), "gtid_executed"},
        {MARIADB_VERSION,
         SAYS("SHOW STATUS LIKE 'binlog_snapshot_%'",
              "Binlog_snapshot_file\tbinlog.000007\nBinlog_snapshot_position\t4710"),
         "binlog_snapshot"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Beside beside;
        Unseen unseen;
        Dump dump = dump_begin();
        begin(&beside, cases[i].version, NULL, &dump.packets);
        server_answer(beside.server, (Answer)OK("COMMIT"));
        server_answer(beside.server, cases[i].answer);
        say_one(&beside);
        Cancel cancel = {&beside, cases[i].asked};
        Thread *thread = thread_start("cancel", cancel_when_asked, &cancel);
        assert_false(my_beside_begin(beside.reader, 0, NULL, NULL, &unseen, &beside.err));
        thread_join(thread);
        assert_string_equal(beside.err.code, "Cancelled");
        assert_int_equal(server_asked(beside.server, "SELECT `id`, `a`"), 0);
        end(&beside);
        bytes_done(&dump.packets);
    }
}

static void without_gtids_it_is_refused(void **state)
{
    (void)state;
    Error err = {0};
    Server *server = server_new(MYSQL_VERSION);
    server_answer(server, (Answer)SAYS("SHOW GLOBAL VARIABLES LIKE 'gtid_mode'", "gtid_mode\tOFF"));
    Capture *capture = server_capture(server, &err);
    assert_non_null(capture);
    assert_null(my_beside_open(capture, capture, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "gtid_mode = ON"));
    capture->driver->close(capture);
    server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_limits),
        cmocka_unit_test(kept_keys_are_checked),
        cmocka_unit_test(a_word_stands_behind_what_was_committed),
        cmocka_unit_test(a_word_that_is_not_waited_for),
        cmocka_unit_test(a_chunk_is_read_in_a_snapshot),
        cmocka_unit_test(a_snapshot_has_to_show_enough),
        cmocka_unit_test(without_gtids_it_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
