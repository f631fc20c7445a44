/* links: firn_capture_mysql */
/* A server that can't be captured says so before anything is read, with the way out. */
#include "tests/unit/capture_mysql/server.h"

#define MYSQL_VERSION "9.7.0"
#define MARIADB_VERSION "5.5.5-10.11.6-MariaDB-log"

typedef struct Refused {
    const char *version;
    Answer answer;
    ErrorKind kind;
    const char *code, *naming;
} Refused;

#define VARIABLE(name, value) SAYS("SHOW GLOBAL VARIABLES LIKE '" name "'", name "\t" value)

static const Refused refusals[] = {
    {MYSQL_VERSION, VARIABLE("log_bin", "OFF"), ERROR_CONFIG, "BinlogOff", "log_bin"},
    {MYSQL_VERSION, VARIABLE("binlog_format", "STATEMENT"), ERROR_CONFIG, "BinlogFormat",
     "SET GLOBAL binlog_format = ROW"},
    {MARIADB_VERSION, VARIABLE("binlog_format", "MIXED"), ERROR_CONFIG, "BinlogFormat", "'MIXED'"},
    {MYSQL_VERSION, VARIABLE("binlog_row_image", "NOBLOB"), ERROR_CONFIG, "RowImageIncomplete",
     "SET GLOBAL binlog_row_image = FULL"},
    {MYSQL_VERSION, VARIABLE("binlog_row_value_options", "PARTIAL_JSON"), ERROR_CONFIG,
     "PartialJson", "SET GLOBAL binlog_row_value_options = ''"},
    {MYSQL_VERSION,
     FAILS("SHOW BINARY LOG STATUS", 1227,
           "Access denied; you need (at least one of) the REPLICATION CLIENT privilege(s)"),
     ERROR_CONFIG, "PrivilegeMissing", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO"},
    {MARIADB_VERSION,
     FAILS("SHOW MASTER STATUS", 1227, "Access denied; you need the BINLOG MONITOR privilege"),
     ERROR_CONFIG, "PrivilegeMissing", "`firn`"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", ""), ERROR_CONFIG, "BinlogOff", "log_bin"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", "binlog.000001\t4\t\tother,SHOP\t"),
     ERROR_CONFIG, "BinlogFiltered", "binlog_ignore_db"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", "binlog.000001\t4\tother\t\t"), ERROR_CONFIG,
     "BinlogFiltered", "database shop"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", "binlog.99999999999999\t4\t\t\t"), ERROR_DATA,
     "BadPlace", "binlog.99999999999999"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", "binlog\t4\t\t\t"), ERROR_DATA, "BadPlace",
     "binlog"},
    {MYSQL_VERSION, SAYS("SHOW BINARY LOG STATUS", "binlog.000001\t99999999999999999999\t\t\t"),
     ERROR_DATA, "BadPlace", "impossible"},
    {MYSQL_VERSION, SAYS("SELECT table_name, engine", "t\tMyISAM\t3\t1000"), ERROR_CONFIG,
     "UnsupportedEngine", "ENGINE = InnoDB"},
    {MYSQL_VERSION, SAYS("SELECT table_name, engine", ""), ERROR_CONFIG, "NoTables",
     "GRANT SELECT"},
    {MYSQL_VERSION, SAYS("SELECT column_name, column_type, coalesce", ""), ERROR_RETRY,
     "TableRewritten", "shop.t"},
    {MYSQL_VERSION, SAYS("SELECT column_name, column_type, coalesce", "id\tsomething(7)\t\tNO"),
     ERROR_CONFIG, "UnsupportedType", "id"},
    {MYSQL_VERSION,
     {.to = "SHOW GLOBAL VARIABLES LIKE 'log_bin'", .cut = true},
     ERROR_RETRY,
     "ConnectionLost",
     ""},
    {"8.4.0-MariaDB", OK(""), ERROR_CONFIG, "ServerTooOld", "MariaDB 10.5"},
    {"5.7.44", OK(""), ERROR_CONFIG, "ServerTooOld", "MySQL 8.0"},
};

static void what_a_server_lacks_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const Refused *refused = &refusals[i];
        Error err = {0};
        Server *server = server_new(refused->version);
        server_answer(server, refused->answer);
        assert_null(server_capture(server, &err));

        if (strcmp(err.code, refused->code) != 0 || !strstr(err.message, refused->naming))
            print_error("%s: %s\n", err.code, err.message);
        assert_string_equal(err.code, refused->code);
        assert_int_equal(err.kind, refused->kind);
        assert_non_null(strstr(err.message, refused->naming));
        assert_null(strstr(err.message, "firn-secret"));
        assert_int_equal(server_asked(server, "DUMP "), 0);
        server_free(server);
    }
}

static void another_kind_of_server_is_refused(void **state)
{
    (void)state;
    static const CaptureOptions options = {0};
    Error err = {0};
    Server *server = server_new(MARIADB_VERSION);
    ConnectorSpec spec = *server_spec(server);
    spec.source_type = SOURCE_MYSQL;
    assert_null(capture_mysql_open(&spec, &options, &err));
    assert_string_equal(err.code, "SourceType");
    assert_non_null(strstr(err.message, "type: MariaDB"));
    server_free(server);
}

static void a_login_that_is_refused_is_told_apart(void **state)
{
    (void)state;
    static const struct {
        unsigned number;
        ErrorKind kind;
        const char *code;
    } cases[] = {
        {1045, ERROR_CONFIG, "WrongPassword"},   {1044, ERROR_CONFIG, "PrivilegeMissing"},
        {1049, ERROR_CONFIG, "DatabaseMissing"}, {1040, ERROR_RETRY, "ServerFull"},
        {1130, ERROR_CONFIG, "LoginRefused"},    {9999, ERROR_RETRY, "ServerError"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        Server *server = server_new(MYSQL_VERSION);
        server->refusal_number = cases[i].number;
        server->refusal = "not you";
        assert_null(server_capture(server, &err));
        assert_string_equal(err.code, cases[i].code);
        assert_int_equal(err.kind, cases[i].kind);
        assert_non_null(strstr(err.message, "not you"));
        assert_non_null(strstr(err.message, "user firn"));
        server_free(server);
    }
}

static Capture *open_capture(Server *server)
{
    Error err = {0};
    Capture *capture = server_capture(server, &err);
    if (!capture)
        print_error("%s: %s\n", err.code, err.message);
    assert_non_null(capture);
    return capture;
}

/* The binlog that is needed next must be there, and reach as far. */
static void a_purged_log_is_noticed_at_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *logs;
        bool there;
    } cases[] = {
        {"binlog.000006\t99999\tNo\nbinlog.000007\t4711\tNo", true},
        {"binlog.000007\t4711\tNo\nbinlog.000008\t200\tNo", true},
        {"binlog.000008\t4711\tNo", false},
        {"binlog.000007\t99\tNo", false}, /* reset, or from a backup */
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        Server *server = server_new(MYSQL_VERSION);
        server_answer(server, (Answer)SAYS("SHOW BINARY LOGS", cases[i].logs));
        Capture *capture = open_capture(server);
        const bool complete[] = {true};
        const CaptureState known = {complete, true, {place_of(7, 100), 0}};
        Position copy;
        assert_int_equal(capture->driver->prepare(capture, &known, &copy, &err), cases[i].there);
        if (!cases[i].there) {
            assert_int_equal(err.kind, ERROR_CONFIG);
            assert_string_equal(err.code, "LogPurged");
            assert_non_null(strstr(err.message, "--resnapshot"));
        }
        capture->driver->close(capture);
        server_free(server);
    }
}

/* The tables have transactions that this server's log does not go on from. */
static void unknown_gtids_are_no_place(void **state)
{
    (void)state;
    static const struct {
        const char *purged;
        bool ok; /* it is another source, then, and its tables are loaded again */
    } cases[] = {
        {"", true}, {SERVER_UUID ":1-8", false}, /* gone already */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        Bytes dump = {0};
        uint8_t number = 1;
        Server *server = server_new(MYSQL_VERSION);
        Bytes event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL,
                                TEXT("\4\0\0\0\0\0\0\0binlog.000006"));
        Bytes packet = {0};
        bytes_put_u8(&packet, 0);
        bytes_put(&packet, event.data, event.used);
        server_packet(&dump, &number, packet.data, packet.used);
        server_packet(&dump, &number, TEXT("\xfe\0\0\2\0"));
        server_answer(server, (Answer)SAYS("SELECT @@GLOBAL.gtid_purged", cases[i].purged));
        server_answer(server, (Answer){.to = "DUMP ", .raw = &dump});
        Capture *capture = open_capture(server);
        Position position = {.source = "mysql/62626262-6262-6262-6262-626262626262",
                             .at = {place_of(3, 500), 0}};
        bool adopted = true;
        assert_int_equal(
            capture->driver->adopt(capture, &position, SERVER_UUID ":1-5", false, &adopted, &err),
            cases[i].ok);
        assert_true(!cases[i].ok || !adopted);
        if (!cases[i].ok) {
            assert_string_equal(err.code, "LogPurged");
            assert_non_null(strstr(err.message, SERVER_UUID ":1-5"));
        }
        capture->driver->close(capture);
        server_free(server);
        bytes_done(&event);
        bytes_done(&packet);
        bytes_done(&dump);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_lacks_is_said),
        cmocka_unit_test(another_kind_of_server_is_refused),
        cmocka_unit_test(a_login_that_is_refused_is_told_apart),
        cmocka_unit_test(a_purged_log_is_noticed_at_the_start),
        cmocka_unit_test(unknown_gtids_are_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
