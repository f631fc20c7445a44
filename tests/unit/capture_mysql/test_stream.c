/* links: firn_capture_mysql */
/* The log as a server sends it: what it says when it can't, and what no server should send. What
 * came whole before is handed out in any case. */
#include "tests/unit/capture_mysql/dump.h"

#define MYSQL_VERSION "9.7.0"
#define WAIT_MS 20000

typedef struct Reading {
    Server *server;
    Capture *capture;
    Error err;
} Reading;

static bool reading_begin(Reading *reading, const Bytes *packets, bool cut)
{
    const bool complete[] = {true};
    const CaptureState known = {complete, true, {place_of(7, LOG_START), 0}};
    Position at;
    *reading = (Reading){.server = server_new(MYSQL_VERSION)};
    server_answer(reading->server,
                  (Answer){.to = "DUMP " LOG_FILE " 4711 5400", .raw = packets, .cut = cut});
    reading->capture = server_capture(reading->server, &reading->err);
    assert_non_null(reading->capture);
    assert_true(reading->capture->driver->prepare(reading->capture, &known, &at, &reading->err));
    return reading->capture->driver->stream_start(reading->capture, &reading->err);
}

static void reading_end(Reading *reading)
{
    reading->capture->driver->close(reading->capture);
    server_free(reading->server);
}

/* Rows that came, until a failure (false) or as many as wanted. */
static bool read_rows(Reading *reading, uint32_t wanted, uint32_t *ret)
{
    *ret = 0;
    while (*ret < wanted) {
        Change change;
        if (!reading->capture->driver->next(reading->capture, WAIT_MS, &change, &reading->err))
            return false;
        assert_int_not_equal(change.kind, CHANGE_NONE);
        if (change.kind == CHANGE_BATCH)
            *ret += change.batch->row_count;
        change_done(&change);
    }
    return true;
}

static void rows_come_and_the_session_ends(void **state)
{
    (void)state;
    Dump dump = dump_begin();
    dump_put_row(&dump, TEXT(ROW("\1")));
    dump_put_row(&dump, TEXT(ROW("\2")));
    Reading reading;
    uint32_t rows;
    assert_true(reading_begin(&reading, &dump.packets, false));
    assert_true(read_rows(&reading, 2, &rows));
    assert_int_equal(rows, 2);
    assert_int_equal(server_asked(reading.server, "GET_LOCK('firn_replica_5400'"), 1);
    assert_int_equal(server_asked(reading.server, "KILL "), 0);
    CaptureFigures figures;
    reading.capture->driver->figures(reading.capture, &figures);
    assert_int_equal(figures.changes, 2);
    assert_int_equal(figures.received.major, place_of(7, dump.at));
    my_stream_close(TAKE(mysql_of(reading.capture)->stream));
    assert_int_equal(server_asked(reading.server, "KILL "), 1);
    reading_end(&reading);
    bytes_done(&dump.packets);
}

typedef struct Said {
    const char *text; /* of an error 1236 */
    ErrorKind kind;
    const char *code, *naming;
} Said;

static const Said said[] = {
    {"A slave with the same server_uuid/server_id as this slave has connected to the master; the "
     "first event 'binlog.000007' at 4711",
     ERROR_CONFIG, "ServerIdTaken", "spec.source.mysql.serverId"},
    {"Could not find first log file name in binary log index file", ERROR_CONFIG, "LogPurged",
     "--resnapshot"},
    {"Cannot replicate because the source purged required binary logs", ERROR_CONFIG, "LogPurged",
     "binlog_expire_logs_seconds"},
    {"Client requested source to start replication from impossible position; the first event '' "
     "at 4711",
     ERROR_CONFIG, "LogPurged", "--resnapshot"},
    {"log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
     ERROR_RETRY, "LogUnreadable", "max_allowed_packet"},
    {"binlog truncated in the middle of event; consider out of disk space on source", ERROR_RETRY,
     "LogUnreadable", "out of disk space"},
};

/* At once, and behind a transaction that is handed out still. */
static void what_the_server_can_not_read_is_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        for (uint32_t before = 0; before < 2; before++) {
            Reading reading;
            uint32_t rows;
            Dump dump = dump_begin();
            if (before)
                dump_put_row(&dump, TEXT(ROW("\1")));
            server_say_error(&dump.packets, dump.number, 1236, said[i].text);
            assert_true(reading_begin(&reading, &dump.packets, false));
            assert_false(read_rows(&reading, 2, &rows));
            if (!strstr(reading.err.message, said[i].naming))
                print_error("%s: %s\n", reading.err.code, reading.err.message);
            assert_int_equal(reading.err.kind, said[i].kind);
            assert_string_equal(reading.err.code, said[i].code);
            assert_non_null(strstr(reading.err.message, said[i].naming));
            assert_non_null(strstr(reading.err.message, "binlog of mysql/" SERVER_UUID));
            reading_end(&reading);
            bytes_done(&dump.packets);
        }
}

typedef struct Refused {
    uint8_t type;
    const char *content;
    size_t bytes;
    ErrorKind kind;
    const char *code, *naming;
} Refused;

static const Refused refusals[] = {
    {EVENT_INCIDENT, TEXT("\1\0\x0blost events"), ERROR_CONFIG, "LogIncident", "lost events"},
    {EVENT_INCIDENT, TEXT("\1\0\xfflost"), ERROR_DATA, "BadEvent", "incident"},
    {99, TEXT("?"), ERROR_CONFIG, "UnsupportedEvent", "type 99"},
    {255, TEXT(""), ERROR_CONFIG, "UnsupportedEvent", "type 255"},
    {EVENT_QUERY, TEXT("\1\0\0\0\0\0\0\0\4\0\0\0\0shop\0INSERT INTO t VALUES (1, 'x')"),
     ERROR_CONFIG, "BinlogFormat", "binlog_format has to be ROW"},
    {EVENT_QUERY, TEXT("\1\0\0\0\0\0\0\0\xff\0\0\0\0shop\0BEGIN"), ERROR_DATA, "BadEvent", ""},
    {EVENT_QUERY, TEXT("\1\0\0\0"), ERROR_DATA, "BadEvent", ""},
    {EVENT_PARTIAL_UPDATE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\2\3\3\0"), ERROR_CONFIG, "PartialJson",
     "binlog_row_value_options"},
    {EVENT_WRITE, TEXT("\x6e\0\0\0\0\0\1\0\2\0\2\3\0\1\0\0\0\0"), ERROR_DATA, "BadEvent",
     "no table map"},
    {EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\2\3\0\1\0\0\0\x30x"), ERROR_DATA, "BadEvent", ""},
    {EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\2\1\0\1\0\0\0"), ERROR_CONFIG, "RowImageIncomplete",
     "binlog_row_image = FULL"},
    {EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff"), ERROR_DATA,
     "BadEvent", ""},
    {EVENT_WRITE, TEXT("\x6d\0\0"), ERROR_DATA, "BadEvent", ""},
    {EVENT_TABLE_MAP, TEXT("\x6e\0\0\0\0\0\1\0\4shop\0\1t\0\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"),
     ERROR_DATA, "BadEvent", ""},
    {EVENT_TABLE_MAP, TEXT("\x6e\0\0\0\0\0\1\0\xffshop"), ERROR_DATA, "BadEvent", ""},
    {EVENT_PAYLOAD, TEXT("\2\1\0\1\1\4\0\0(\xb5/\xfd"), ERROR_DATA, "BadEvent", ""},
    {EVENT_ROTATE, TEXT("\4\0\0\0\0\0\0\0nonsense"), ERROR_DATA, "BadPlace", "nonsense"},
    {EVENT_ROTATE, TEXT("\4\0\0\0\0\0\0\0binlog.000001"), ERROR_CONFIG, "LogPurged", "reset"},
    {EVENT_GTID, TEXT(GTID_CONTENT), ERROR_DATA, "BadEvent", "inside a transaction"},
    {EVENT_HEARTBEAT, TEXT(""), ERROR_DATA, "BadEvent", "names no file"},
    {EVENT_FORMAT, TEXT("\4\0"), ERROR_DATA, "BadEvent", ""},
};

/* Behind a transaction, and a row of another that is open: the first is durable, the second is
 * not known to end. */
static void what_can_not_be_followed_is_refused(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const Refused *refused = &refusals[i];
        Reading reading;
        uint32_t rows;
        Dump dump = dump_begin();
        dump_put_row(&dump, TEXT(ROW("\1")));
        uint32_t durable = dump.at;
        dump_put_begin(&dump);
        dump_put(&dump, EVENT_TABLE_MAP, 0, TEXT(MAP));
        dump_put(&dump, EVENT_WRITE, 0, TEXT(ROW("\2")));
        dump_put(&dump, refused->type, 0, refused->content, refused->bytes);
        assert_true(reading_begin(&reading, &dump.packets, false));
        assert_false(read_rows(&reading, 3, &rows));
        bool right = reading.err.kind == refused->kind &&
                     strcmp(reading.err.code, refused->code) == 0 &&
                     strstr(reading.err.message, refused->naming);
        if (!right)
            print_error("case %zu: %s: %s\n", i, reading.err.code, reading.err.message);
        wrong += !right;
        CaptureFigures figures;
        reading.capture->driver->figures(reading.capture, &figures);
        assert_true(figures.received.major >= place_of(7, durable));
        reading_end(&reading);
        bytes_done(&dump.packets);
    }
    assert_int_equal(wrong, 0);
}

/* --- packets that hold no event --- */

static void packets_without_an_event_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        size_t bytes;
        const char *code;
    } cases[] = {
        {TEXT(""), "BadMessage"},
        {TEXT("\1abc"), "BadMessage"},
        {TEXT("\0"), "BadEvent"},
        {TEXT("\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0"), "BadEvent"},     /* a byte too few */
        {TEXT("\0\0\0\0\0\2\0\0\0\0\xff\0\0\0\0\0\0\0\0\0"), "BadEvent"}, /* another length */
        {TEXT("\xff\xd4"), "BadMessage"},
        {TEXT("\xfe\0\0\2\0"), "StreamEnded"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Reading reading;
        uint32_t rows;
        Dump dump = dump_begin();
        server_packet(&dump.packets, &dump.number, cases[i].packet, cases[i].bytes);
        assert_true(reading_begin(&reading, &dump.packets, false));
        assert_false(read_rows(&reading, 1, &rows));
        assert_string_equal(reading.err.code, cases[i].code);
        reading_end(&reading);
        bytes_done(&dump.packets);
    }
}

/* Wherever it is cut: what was committed before comes, nothing of the other transaction is passed
 * off as whole, and it is a lost connection, which is tried again. */
static void a_log_cut_anywhere_is_a_lost_connection(void **state)
{
    (void)state;
    Dump dump = dump_begin();
    dump_put_row(&dump, TEXT(ROW("\1")));
    size_t first = dump.packets.used;
    uint32_t behind = dump.at;
    dump_put_row(&dump, TEXT(ROW("\2")));
    for (size_t bytes = first; bytes < dump.packets.used; bytes += 11) {
        Reading reading;
        uint32_t rows;
        Bytes part = {.data = dump.packets.data, .used = bytes};
        assert_true(reading_begin(&reading, &part, true));
        assert_false(read_rows(&reading, 3, &rows));
        assert_string_equal(reading.err.code, "ConnectionLost");
        assert_int_equal(reading.err.kind, ERROR_RETRY);
        CaptureFigures figures;
        reading.capture->driver->figures(reading.capture, &figures);
        assert_int_equal(figures.received.major, place_of(7, behind));
        reading_end(&reading);
    }
    bytes_done(&dump.packets);
}

/* --- who else reads --- */

static void locks_that_others_hold_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *lock;
        ErrorKind kind;
        const char *code, *naming;
    } cases[] = {
        {"SELECT GET_LOCK('firn_replica_", ERROR_CONFIG, "ServerIdTaken", "replica 5400"},
        {"SELECT GET_LOCK('firn_", ERROR_RETRY, "ConnectorActive", "Connector shop"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const bool complete[] = {true};
        const CaptureState known = {complete, true, {place_of(7, LOG_START), 0}};
        Position at;
        Error err = {0};
        Server *server = server_new(MYSQL_VERSION);
        server_answer(server, (Answer)SAYS(cases[i].lock, "0"));
        Capture *capture = server_capture(server, &err);
        assert_non_null(capture);
        assert_true(capture->driver->prepare(capture, &known, &at, &err));
        assert_false(capture->driver->stream_start(capture, &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_string_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.message, cases[i].naming));
        assert_int_equal(server_asked(server, "DUMP "), 0);
        capture->driver->close(capture);
        server_free(server);
    }
}

/* The server that answers is another one by now: what is known of the log is not of it. */
static void another_server_is_noticed(void **state)
{
    (void)state;
    Error err = {0};
    Reading reading;
    Dump dump = dump_begin();
    assert_true(reading_begin(&reading, &dump.packets, false));
    server_answer(reading.server,
                  (Answer)SAYS("SHOW GLOBAL VARIABLES LIKE 'server_uuid'", "server_uuid\tother"));
    assert_null(mysql_connect(mysql_of(reading.capture), &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "ServerChanged");
    reading_end(&reading);
    bytes_done(&dump.packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_and_the_session_ends),
        cmocka_unit_test(what_the_server_can_not_read_is_told_apart),
        cmocka_unit_test(what_can_not_be_followed_is_refused),
        cmocka_unit_test(packets_without_an_event_are_refused),
        cmocka_unit_test(a_log_cut_anywhere_is_a_lost_connection),
        cmocka_unit_test(locks_that_others_hold_are_told_apart),
        cmocka_unit_test(another_server_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
