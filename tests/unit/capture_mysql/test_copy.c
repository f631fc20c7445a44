/* links: firn_capture_mysql */
/* The plan of a copy, and its rows as the text protocol has them, from a server that means well and
 * from one that does not. */
#include "tests/unit/capture_mysql/server.h"

#include "agent/record/extents.h"

#define SELECT_ALL "SELECT `id`, `a` FROM `shop`.`t`"

typedef struct Copy {
    Server *server;
    Capture *capture;
    const CaptureDriver *driver;
    CopyReader *reader;
    Error err;
} Copy;

static void begin(Copy *copy, const char *version)
{
    const bool complete[] = {false};
    const CaptureState state = {.complete = complete};
    Position at;
    *copy = (Copy){.server = server_new(version)};
    copy->capture = server_capture(copy->server, &copy->err);
    assert_non_null(copy->capture);
    copy->driver = copy->capture->driver;
    assert_true(copy->driver->prepare(copy->capture, &state, &at, &copy->err));
    assert_int_equal(at.at.major, place_of(7, 4711));
    copy->reader = copy->driver->copy_reader_open(copy->capture, &copy->err);
    assert_non_null(copy->reader);
}

static void end(Copy *copy)
{
    copy->driver->copy_reader_free(copy->reader);
    copy->driver->close(copy->capture);
    server_free(copy->server);
}

static bool copy_begin(Copy *copy)
{
    const CopyRange range = {.extent = {.part = 1, .version = 1, .to = EXTENTS_END}};
    return copy->driver->copy_begin(copy->reader, &range, &copy->err);
}

static void rows_go_into_columns(void **state)
{
    (void)state;
    static const char *const versions[] = {"9.7.0", "5.5.5-10.11.6-MariaDB"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        Copy copy;
        Batch *batch;
        uint32_t bytes;
        begin(&copy, versions[i]);
        server_answer(copy.server, (Answer)SAYS(SELECT_ALL, "-5\tone\n7\t\\N\n2147483647\t"));
        assert_true(copy_begin(&copy));
        assert_true(copy.driver->copy_next(copy.reader, &batch, &copy.err));
        assert_non_null(batch);
        assert_int_equal(batch->row_count, 3);
        assert_int_equal(batch->ops[0], ROW_READ);
        assert_int_equal(batch->positions[2].major, place_of(7, 4711));
        assert_int_equal(column_i32(&batch->columns[0], 0), -5);
        assert_int_equal(column_i32(&batch->columns[0], 2), INT32_MAX);
        assert_memory_equal(column_bytes(&batch->columns[1], 0, &bytes), "one", 3);
        assert_true(column_is_null(&batch->columns[1], 1));
        assert_false(column_is_null(&batch->columns[1], 2));
        batch_free(batch);
        assert_true(copy.driver->copy_next(copy.reader, &batch, &copy.err));
        assert_null(batch);
        assert_true(copy_begin(&copy)); /* the session is free for the next range */
        assert_true(copy.driver->copy_next(copy.reader, &batch, &copy.err));
        batch_free(batch);
        assert_int_equal(server_asked(copy.server, "FLUSH TABLES WITH READ LOCK"), i == 0);
        end(&copy);
    }
}

/* --- answers that are none --- */

/* What a SELECT of two columns is answered with before its rows. */
static uint8_t say_head(Bytes *to)
{
    uint8_t number = 1;
    server_say_columns(to, &number, 2);
    return number;
}

/* The answer leaves the copy with an error of that code, and never with a row too many. */
static void expect_failure(const Bytes *answer, bool cut, const char *code)
{
    Copy copy;
    Batch *batch = NULL;
    begin(&copy, "9.7.0");
    server_answer(copy.server, (Answer){.to = SELECT_ALL, .raw = answer, .cut = cut});
    bool ok = copy_begin(&copy);
    while (ok && (ok = copy.driver->copy_next(copy.reader, &batch, &copy.err)) && batch) {
        assert_true(batch->row_count <= 1);
        batch_free(batch);
    }
    assert_false(ok);
    assert_string_equal(copy.err.code, code);
    assert_non_null(strstr(copy.err.message, *code == 'C' && cut ? "connection" : "shop.t"));
    end(&copy);
}

static void rows_cut_short_are_no_rows(void **state)
{
    (void)state;
    static const char row[] = "\1"
                              "5"
                              "\3"
                              "one";
    for (size_t bytes = 0; bytes < sizeof row + 1; bytes++) {
        char content[sizeof row + 1] = {0}; /* the last has something behind the row */
        if (bytes == sizeof row - 1)
            continue; /* that is a row */
        memcpy(content, row, sizeof row);
        Bytes answer = {0};
        uint8_t number = say_head(&answer);
        server_packet(&answer, &number, content, bytes);
        server_packet(&answer, &number, TEXT("\xfe\0\0\2\0"));
        expect_failure(&answer, false, "BadMessage");
        bytes_done(&answer);
    }
}

typedef struct Hostile {
    const char *rows; /* packets of a byte's length */
    size_t bytes;
    const char *code;
} Hostile;

static void hostile_rows_are_refused(void **state)
{
    (void)state;
    static const Hostile cases[] = {
        {TEXT("\x0b\1"
              "5\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"),
         "BadMessage"}, /* a huge length */
        {TEXT("\4\xfd\xff\xff\xff"), "BadMessage"},
        {TEXT("\2\xff\xff"), "BadMessage"}, /* an error without its number */
        {TEXT("\3\1x\xfb"), "BadValue"},    /* no number */
        {TEXT("\4\1"
              "5\1\xff"),
         "BadValue"}, /* no utf-8 */
        {TEXT("\x0c\x0a"
              "2147483648\xfb"),
         "BadValue"},
        {TEXT("\2\xfb\xfb"), "ColumnsChanged"}, /* the key was NOT NULL */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Bytes answer = {0};
        uint8_t number = say_head(&answer);
        for (size_t at = 0; at < cases[i].bytes; at += 1 + (uint8_t)cases[i].rows[at])
            server_packet(&answer, &number, cases[i].rows + at + 1, (uint8_t)cases[i].rows[at]);
        server_packet(&answer, &number, TEXT("\xfe\0\0\2\0"));
        expect_failure(&answer, false, cases[i].code);
        bytes_done(&answer);
    }
}

static void hostile_heads_are_refused(void **state)
{
    (void)state;
    Bytes answer = {0};
    uint8_t number = 1;
    server_say_columns(&answer, &number, 3); /* one too many */
    expect_failure(&answer, false, "BadMessage");
    answer.used = 0;
    number = 1;
    server_packet(&answer, &number, TEXT("\0\0\0\2\0\0\0")); /* OK: no rows at all */
    expect_failure(&answer, false, "BadMessage");
    answer.used = 0;
    number = 1;
    server_packet(&answer, &number, TEXT("\2"));
    for (int i = 0; i < 3; i++) /* where the columns end there is another */
        server_packet(&answer, &number, TEXT("\3def"));
    expect_failure(&answer, false, "BadMessage");
    answer.used = 0;
    server_say_error(&answer, 1, 1142, "SELECT command denied");
    expect_failure(&answer, false, "PrivilegeMissing");
    answer.used = 0;
    server_say_error(&answer, 1, 1054, "Unknown column 'a'");
    expect_failure(&answer, false, "ColumnsChanged");
    bytes_done(&answer);
}

/* Wherever it is cut, what came whole is no more than it was, and the rest is an error. */
static void a_connection_cut_anywhere_is_lost(void **state)
{
    (void)state;
    Bytes whole = {0};
    uint8_t number = say_head(&whole);
    server_packet(&whole, &number,
                  TEXT("\1"
                       "5\3one"));
    server_packet(&whole, &number, TEXT("\xfe\0\0\2\0"));
    for (size_t bytes = 1; bytes < whole.used; bytes += 7) {
        Bytes part = {.data = whole.data, .used = bytes};
        expect_failure(&part, true, "ConnectionLost");
    }
    bytes_done(&whole);
}

/* An error in the midst of the rows: what a server says when it is stopped, or runs out of space.
 */
static void an_error_among_rows_ends_them(void **state)
{
    (void)state;
    Bytes answer = {0};
    uint8_t number = say_head(&answer);
    server_packet(&answer, &number,
                  TEXT("\1"
                       "5\3one"));
    server_say_error(&answer, number, 1317, "Query execution was interrupted");
    expect_failure(&answer, false, "Cancelled");
    bytes_done(&answer);
}

static void changed_columns_are_noticed(void **state)
{
    (void)state;
    static const Answer changes[] = {
        SAYS("SELECT column_name, column_type FROM", "id\tint"),
        SAYS("SELECT column_name, column_type FROM", "id\tint\na\tvarchar(20)\nb\tint"),
        SAYS("SELECT column_name, column_type FROM", "id\tint\na\tvarchar(21)"),
        SAYS("SELECT column_name, column_type FROM", "a\tvarchar(20)\nid\tint"),
        SAYS("SHOW CREATE TABLE `shop`.`t`", "t\tCREATE TABLE `t` ( \n)"),
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        Copy copy;
        begin(&copy, "9.7.0");
        server_answer(copy.server, changes[i]);
        assert_false(copy_begin(&copy));
        assert_string_equal(copy.err.code, "ColumnsChanged");
        assert_int_equal(copy.err.kind, ERROR_RETRY);
        assert_int_equal(server_asked(copy.server, SELECT_ALL), 0);
        end(&copy);
    }
}

/* Nobody may lock all tables at a managed server, and where nobody may lock any, that is said. */
static void locks_are_asked_for_in_turn(void **state)
{
    (void)state;
    const bool complete[] = {false};
    const CaptureState nothing = {.complete = complete};
    for (int may_lock = 0; may_lock < 2; may_lock++) {
        Error err = {0};
        Position at;
        Server *server = server_new("9.7.0");
        server_answer(server, (Answer)FAILS("FLUSH TABLES", 1227, "you need RELOAD"));
        server_answer(server, may_lock ? (Answer)OK("LOCK TABLES `shop`.`t` READ")
                                       : (Answer)FAILS("LOCK TABLES", 1044, "denied"));
        Capture *capture = server_capture(server, &err);
        assert_non_null(capture);
        assert_int_equal(capture->driver->prepare(capture, &nothing, &at, &err), may_lock);
        if (!may_lock) {
            assert_int_equal(err.kind, ERROR_CONFIG);
            assert_string_equal(err.code, "PrivilegeMissing");
            assert_non_null(strstr(err.message, "GRANT LOCK TABLES, SELECT ON `shop`.*"));
        }
        capture->driver->close(capture);
        server_free(server);
    }
}

/* --- the plan --- */

#define RANGES 3

static void ranges_cover_every_key(void **state)
{
    (void)state;
    static const struct {
        const char *bounds;
        uint64_t range_bytes;
        size_t count;
        const char *first, *last; /* of the SELECTs */
    } cases[] = {
        {"1\t300", 400, RANGES, " WHERE `id` < 101", " WHERE `id` >= 201"},
        {"-2147483648\t2147483647", 400, RANGES, " WHERE `id` < -715827882",
         " WHERE `id` >= 715827884"},
        {"1\t300", 100000, 1, "", ""},
        {"5\t5", 100, 1, "", ""},
        {"\\N\t\\N", 100, 1, "", ""}, /* no row */
        {"x\ty", 100, 1, "", ""},
    };
    Copy copy;
    begin(&copy, "9.7.0");
    const MyTable *table = &mysql_of(copy.capture)->tables[0];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CopyRange *ranges;
        size_t count;
        server_answer(copy.server, (Answer)SAYS("SELECT min(", cases[i].bounds));
        assert_true(copy.driver->copy_plan(copy.capture, 0, cases[i].range_bytes, NULL, &ranges,
                                           &count, &copy.err));
        assert_int_equal(count, cases[i].count);
        assert_int_equal(ranges[0].extent.from, 0);
        assert_true(ranges[count - 1].extent.to == EXTENTS_END);
        for (size_t k = 1; k < count; k++)
            assert_int_equal(ranges[k].extent.from, ranges[k - 1].extent.to);
        AUTO(mem_free) char *first = my_copy_where(table, &ranges[0].extent);
        AUTO(mem_free) char *last = my_copy_where(table, &ranges[count - 1].extent);
        assert_string_equal(first, cases[i].first);
        assert_string_equal(last, cases[i].last);
        free(ranges);
    }
    end(&copy);
}

/* What is done is not read again, whatever the keys are by now. */
static void a_plan_goes_on(void **state)
{
    (void)state;
    Copy copy;
    Extents done = {0};
    CopyRange *ranges;
    size_t count;
    const uint64_t zero = UINT64_C(1) << 63; /* the key 0 */
    begin(&copy, "9.7.0");
    server_answer(copy.server, (Answer)SAYS("SELECT min(", "1\t300"));
    extents_add(&done, (Extent){1, 1, 0, zero + 50});
    extents_add(&done, (Extent){1, 1, zero + 250, EXTENTS_END});
    assert_true(copy.driver->copy_plan(copy.capture, 0, 400, &done, &ranges, &count, &copy.err));
    assert_int_equal(count, RANGES);
    assert_int_equal(ranges[0].extent.from, zero + 50);
    assert_int_equal(ranges[0].extent.to, zero + 101);
    assert_int_equal(ranges[2].extent.to, zero + 250);
    free(ranges);
    extents_add(&done, (Extent){1, 1, zero + 50, zero + 250});
    assert_true(copy.driver->copy_plan(copy.capture, 0, 400, &done, &ranges, &count, &copy.err));
    assert_int_equal(count, 0);
    free(ranges);
    server_answer(copy.server, (Answer)FAILS("SELECT min(", 1142, "SELECT command denied"));
    assert_false(copy.driver->copy_plan(copy.capture, 0, 400, NULL, &ranges, &count, &copy.err));
    assert_string_equal(copy.err.code, "PrivilegeMissing");
    assert_non_null(strstr(copy.err.message, "shop.t"));
    extents_done(&done);
    end(&copy);
}

/* Keys that are no integers, and tables without one: one range of all. */
static void other_keys_are_one_range(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", ""};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        Error err = {0};
        CopyRange *ranges;
        size_t count;
        Server *server = server_new("9.7.0");
        server_answer(
            server, (Answer)SAYS("SELECT column_name FROM information_schema.statistics", keys[i]));
        Capture *capture = server_capture(server, &err);
        assert_non_null(capture);
        assert_true(capture->driver->copy_plan(capture, 0, 100, NULL, &ranges, &count, &err));
        assert_int_equal(count, 1);
        assert_int_equal(server_asked(server, "SELECT min("), 0);
        free(ranges);
        capture->driver->close(capture);
        server_free(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_into_columns),
        cmocka_unit_test(rows_cut_short_are_no_rows),
        cmocka_unit_test(hostile_rows_are_refused),
        cmocka_unit_test(hostile_heads_are_refused),
        cmocka_unit_test(a_connection_cut_anywhere_is_lost),
        cmocka_unit_test(an_error_among_rows_ends_them),
        cmocka_unit_test(changed_columns_are_noticed),
        cmocka_unit_test(locks_are_asked_for_in_turn),
        cmocka_unit_test(ranges_cover_every_key),
        cmocka_unit_test(a_plan_goes_on),
        cmocka_unit_test(other_keys_are_one_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
