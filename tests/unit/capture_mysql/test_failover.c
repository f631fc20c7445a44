/* links: firn_capture_mysql */
/* What is kept with positions, and how they are found at another server. */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/anchors.h"
#include "agent/capture/mysql/place.h"
#include "agent/capture/mysql/seek.h"

#define A "61616161-6161-6161-6161-616161616161"
#define B "62626262-6262-6262-6262-626262626262"

static Gtid of(char letter, uint64_t number)
{
    Gtid gtid = {.number = number};
    memset(gtid.uuid, letter, sizeof gtid.uuid);
    return gtid;
}

static void expect_at(MyAnchors *anchors, uint64_t major, const char *wanted)
{
    AUTO(mem_free) char *text = my_anchors_at(anchors, (RowPosition){.major = major});
    if (wanted) {
        assert_non_null(text);
        assert_string_equal(text, wanted);
    } else {
        assert_null(text);
    }
}

static void add(MyAnchors *anchors, char letter, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        Gtid gtid = of(letter, i);
        my_anchors_add(anchors, &gtid);
    }
}

static GtidSet parse(const char *text, bool mariadb)
{
    GtidSet set;
    Error err = {0};
    assert_true(gtid_set_parse(text, mariadb, &set, &err));
    return set;
}

static void test_anchors(void **state)
{
    (void)state;
    AUTO(my_anchors_free) MyAnchors *anchors = my_anchors_new(false);
    my_anchors_mark(anchors, 50);
    expect_at(anchors, 50, NULL); /* nobody knows what lies before it */
    AUTO(gtid_set_done) GtidSet set = parse(A ":1-7", false);
    my_anchors_begin(anchors, &set, 100);
    expect_at(anchors, 100, A ":1-7");
    add(anchors, 'a', 8, 9);
    my_anchors_mark(anchors, 200);
    my_anchors_mark(anchors, 250); /* without a transaction */
    add(anchors, 'a', 10, 10);
    add(anchors, 'b', 1, 3);
    add(anchors, 'a', 12, 12);
    my_anchors_mark(anchors, 300);
    add(anchors, 'a', 11, 11);
    expect_at(anchors, 100, A ":1-7");
    expect_at(anchors, 200, A ":1-9");
    expect_at(anchors, 250, A ":1-9");
    expect_at(anchors, 300, A ":1-10:12," B ":1-3");
    expect_at(anchors, 260, NULL); /* never handed out */
    expect_at(anchors, 400, NULL);
    assert_null(my_anchors_at(anchors, (RowPosition){300, 5})); /* inside a transaction */
    my_anchors_confirm(anchors, 260);
    expect_at(anchors, 200, NULL);
    expect_at(anchors, 250, A ":1-9");
    expect_at(anchors, 300, A ":1-10:12," B ":1-3");
    my_anchors_confirm(anchors, 1000);
    my_anchors_mark(anchors, 1001);
    expect_at(anchors, 1001, A ":1-12," B ":1-3");
    my_anchors_add(anchors, NULL); /* one that no set tells of */
    my_anchors_mark(anchors, 1100);
    expect_at(anchors, 1100, NULL);
    expect_at(anchors, 1001, A ":1-12," B ":1-3");
}

static void test_anchors_of_domains(void **state)
{
    (void)state;
    AUTO(my_anchors_free) MyAnchors *anchors = my_anchors_new(true);
    AUTO(gtid_set_done) GtidSet set = parse("0-1-7", true);
    my_anchors_begin(anchors, &set, 100);
    my_anchors_add(anchors, &(Gtid){.mariadb = true, .domain = 0, .server = 1, .number = 8});
    my_anchors_add(anchors, &(Gtid){.mariadb = true, .domain = 0, .server = 2, .number = 11});
    my_anchors_add(anchors, &(Gtid){.mariadb = true, .domain = 3, .server = 1, .number = 1});
    my_anchors_mark(anchors, 200);
    expect_at(anchors, 200, "0-2-11,3-1-1");
    expect_at(anchors, 100, "0-1-7");
}

/* --- a log that is searched --- */

typedef struct Log {
    Seek seek;
    GtidSet wanted;
    uint32_t at, server;
    SeekResult result;
    Error err;
} Log;

static void put(Log *log, uint8_t type, uint16_t flags, const void *content, size_t bytes)
{
    if (log->result != SEEK_ON)
        return;
    Bytes event = log_event(false, type, flags, content, bytes);
    if (!flags)
        log->at += (uint32_t)event.used;
    memcpy(event.data + 5, &log->server, 4);
    memcpy(event.data + 13, &log->at, 4);
    log->result = seek_event(&log->seek, event.data, event.used, &log->err);
    bytes_done(&event);
}

static void rotate(Log *log, const char *name)
{
    Bytes content = {0};
    put_le(&content, 4, 8);
    bytes_put(&content, name, strlen(name));
    put(log, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL, content.data, content.used);
    bytes_done(&content);
    log->at = 4;
    content = log_format_content();
    put(log, EVENT_FORMAT, 0, content.data, content.used);
    bytes_done(&content);
}

/* The head of a file: in the domain 0 everything up to `number`, of `server`. */
static void head(Log *log, uint32_t server, uint64_t number)
{
    Bytes content = {0};
    put_le(&content, number ? 1 : 0, 4);
    if (number) {
        put_le(&content, 0, 4);
        put_le(&content, server, 4);
        put_le(&content, number, 8);
    }
    put(log, EVENT_GTID_LIST, 0, content.data, content.used);
    bytes_done(&content);
}

/* A transaction; where it begins. */
static uint64_t transaction(Log *log, uint32_t server, uint64_t number)
{
    uint64_t begins = place_of(log->seek.file, log->at);
    Bytes content = {0};
    put_le(&content, number, 8);
    put_le(&content, 0, 4);
    put_le(&content, 0, 1);
    log->server = server;
    put(log, EVENT_MARIADB_GTID, 0, content.data, content.used);
    put(log, EVENT_XID, 0, TEXT("\1\0\0\0\0\0\0\0"));
    bytes_done(&content);
    return begins;
}

static void begin(Log *log, const char *wanted)
{
    *log = (Log){.wanted = parse(wanted, true), .server = 2};
    seek_init(&log->seek, &log->wanted, NULL, false);
    rotate(log, "bin.000009");
}

static void end(Log *log)
{
    seek_done(&log->seek);
    gtid_set_done(&log->wanted);
}

static void expect_found(Log *log, uint64_t place)
{
    assert_string_equal(log->err.message, "");
    assert_int_equal(log->result, SEEK_FOUND);
    assert_int_equal(log->seek.place, place);
    end(log);
}

static void expect_other(Log *log, const char *part)
{
    assert_int_equal(log->result, SEEK_OTHER);
    assert_string_equal(log->err.code, "GtidsDiffer");
    assert_non_null(strstr(log->err.message, part));
    end(log);
}

static void test_found(void **state)
{
    (void)state;
    Log log;
    begin(&log, "0-1-5");
    head(&log, 1, 3);
    transaction(&log, 1, 4);
    transaction(&log, 1, 5);
    assert_int_equal(log.result, SEEK_ON);
    uint64_t place = transaction(&log, 2, 6);
    expect_found(&log, place);
    /* in the file behind it */
    begin(&log, "0-1-5");
    head(&log, 1, 3);
    transaction(&log, 1, 4);
    rotate(&log, "bin.000010");
    head(&log, 1, 4);
    transaction(&log, 1, 5);
    place = transaction(&log, 1, 6);
    assert_int_equal(place_file(place), 10);
    expect_found(&log, place);
    /* at the end */
    begin(&log, "0-1-5");
    head(&log, 1, 3);
    transaction(&log, 1, 4);
    transaction(&log, 1, 5);
    place = place_of(9, log.at);
    log.result = seek_end(&log.seek, &log.err);
    expect_found(&log, place);
}

static void test_not_found(void **state)
{
    (void)state;
    Log log;
    begin(&log, "0-1-5"); /* the head is newer */
    head(&log, 1, 6);
    assert_int_equal(log.result, SEEK_BEHIND);
    end(&log);
    begin(&log, "0-1-5"); /* the number is one of another server's */
    head(&log, 1, 4);
    transaction(&log, 2, 5);
    expect_other(&log, "one that the tables lack: 0-2-5");
    begin(&log, "0-1-5"); /* … and has been passed */
    head(&log, 1, 3);
    transaction(&log, 2, 4);
    transaction(&log, 2, 6);
    expect_other(&log, "has 0-2-4, and then one that the tables lack: 0-2-6");
    begin(&log, "0-1-5"); /* it ends before */
    head(&log, 1, 3);
    transaction(&log, 1, 4);
    log.result = seek_end(&log.seek, &log.err);
    expect_other(&log, "has 0-1-4, and then ends");
    begin(&log, "0-1-5"); /* it began later, and has none of before */
    head(&log, 1, 0);
    transaction(&log, 1, 6);
    expect_other(&log, "none of them");
    begin(&log, "0-1-5"); /* without GTIDs */
    head(&log, 1, 4);
    put(&log, EVENT_ANONYMOUS_GTID, 0, TEXT("\0aaaaaaaaaaaaaaaa\1\0\0\0\0\0\0\0"));
    expect_other(&log, "without a GTID");
}

static void test_malformed(void **state)
{
    (void)state;
    Log log;
    begin(&log, "0-1-5");
    put(&log, EVENT_GTID_LIST, 0, TEXT("\xff\0\0\0"));
    assert_int_equal(log.result, SEEK_FAILED);
    assert_string_equal(log.err.code, "BadEvent");
    end(&log);
    begin(&log, "0-1-5");
    put(&log, EVENT_PREVIOUS_GTIDS, 0, TEXT("\0\0\0\0\0\0\0\0")); /* MySQL's */
    assert_int_equal(log.result, SEEK_FAILED);
    end(&log);
    begin(&log, "0-1-5");
    head(&log, 1, 4);
    put(&log, EVENT_MARIADB_GTID, 0, TEXT("\1"));
    assert_int_equal(log.result, SEEK_FAILED);
    end(&log);
}

/* A server that was restored: what it had then is in no file of it. */
static void test_purged_set(void **state)
{
    (void)state;
    Seek seek;
    Error err = {0};
    AUTO(gtid_set_done) GtidSet wanted = parse(A ":1-2", false), already = parse(A ":1", false);
    seek_init(&seek, &wanted, &already, false);
    static const char heads[] = "\4\0\0\0\0\0\0\0bin.000001";
    Bytes rotated = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL, TEXT(heads));
    Bytes content = log_format_content();
    Bytes format = log_event(false, EVENT_FORMAT, 0, content.data, content.used);
    Bytes before = log_event(false, EVENT_PREVIOUS_GTIDS, 0, TEXT("\0\0\0\0\0\0\0\0"));
    Bytes second = log_event(false, EVENT_GTID, 0, TEXT("\0aaaaaaaaaaaaaaaa\2\0\0\0\0\0\0\0"));
    assert_int_equal(seek_event(&seek, rotated.data, rotated.used, &err), SEEK_ON);
    assert_int_equal(seek_event(&seek, format.data, format.used, &err), SEEK_ON);
    assert_int_equal(seek_event(&seek, before.data, before.used, &err), SEEK_ON);
    assert_int_equal(seek_event(&seek, second.data, second.used, &err), SEEK_ON);
    assert_int_equal(seek_end(&seek, &err), SEEK_FOUND);
    bytes_done(&rotated);
    bytes_done(&content);
    bytes_done(&format);
    bytes_done(&before);
    bytes_done(&second);
    seek_done(&seek);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anchors),   cmocka_unit_test(test_anchors_of_domains),
        cmocka_unit_test(test_found),     cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_purged_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
