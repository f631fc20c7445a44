/* links: firn_capture_postgres */
/* What a connection that does not come to be says, and what the server's errors mean. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/postgres/connect.h"
#include "common/mem.h"

/* A server that takes connections and says nothing; two of them, at two addresses. */
typedef struct Silent {
    int fd;
    uint16_t port;
} Silent;

static Silent silent_start(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    Silent silent = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(silent.fd >= 0);
    assert_int_equal(bind(silent.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(silent.fd, 8), 0);
    assert_int_equal(getsockname(silent.fd, (struct sockaddr *)&at, &bytes), 0);
    silent.port = ntohs(at.sin_port);
    return silent;
}

static bool asked_thrice(void *context)
{
    return ++*(int *)context < 3;
}

static void told_to_stop_while_connecting(void **state)
{
    (void)state;
    Silent silent = silent_start();
    char one[] = "127.0.0.1", two[] = "127.0.0.2", user[] = "firn", database[] = "shop";
    char *hosts[] = {one, two};
    ConnectorSpec spec = {.hosts = {.texts = hosts, .count = 2},
                          .port = silent.port,
                          .username = user,
                          .database = database,
                          .tls_mode = TLS_DISABLE};
    int asked = 0;
    Patience patience = {asked_thrice, &asked};
    Error err = {0};
    assert_null(connect_open(&spec, false, &patience, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "Stopped");
    AUTO(mem_free) char *place = mem_format("postgres 127.0.0.1:%u: told to stop", silent.port);
    assert_ptr_equal(strstr(err.message, place), err.message);
    assert_null(strstr(err.message, "firewall"));
    assert_true(asked <= 4); /* the other host is left alone */
    close(silent.fd);
}

static void meanings(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate, *primary;
        ErrorKind kind;
        const char *code, *way_out;
    } cases[] = {
        {"28P01", "password authentication failed", ERROR_CONFIG, "WrongPassword", "Secret"},
        {"3D000", "database \"x\" does not exist", ERROR_CONFIG, "DatabaseMissing",
         "spec.source.database"},
        {"58P01", "requested WAL segment has already been removed", ERROR_CONFIG, "LogGone", ""},
        {"42501", "permission denied for table t", ERROR_CONFIG, "PrivilegeMissing", ""},
        {"42P01", "relation \"t\" does not exist", ERROR_CONFIG, "TableMissing", ""},
        {"42703", "column \"c\" does not exist", ERROR_CONFIG, "SchemaChanged", ""},
        {"42704", "replication slot \"s\" does not exist", ERROR_CONFIG, "SlotMissing", ""},
        {"42704", "publication \"p\" does not exist", ERROR_CONFIG, "PublicationMissing", ""},
        {"42704", "type \"t\" does not exist", ERROR_CONFIG, "ObjectMissing", ""},
        {"53300", "too many clients already", ERROR_RETRY, "ServerFull", "max_wal_senders"},
        {"53400", "all replication slots are in use", ERROR_CONFIG, "NoFreeSlot", ""},
        {"55006", "replication slot \"s\" is active for PID 7", ERROR_RETRY, "SlotActive", ""},
        {"55000", "can no longer get changes from replication slot \"s\"", ERROR_CONFIG, "SlotLost",
         ""},
        {"55000", "can no longer access replication slot \"s\"", ERROR_CONFIG, "SlotLost", ""},
        {"55000", "logical decoding requires wal_level >= logical", ERROR_CONFIG, "WalLevel",
         "ALTER SYSTEM"},
        {"55000", "lo and behold", ERROR_CONFIG, "SourceNotReady", ""},
        {"25006", "cannot execute INSERT in a read-only transaction", ERROR_RETRY, "NotPrimary",
         ""},
        {"57014", "canceling statement due to user request", ERROR_RETRY, "Cancelled", ""},
        {"57P01", "terminating connection", ERROR_RETRY, "ServerError", "57P01"},
        {"", "", ERROR_RETRY, "ServerError", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        assert_false(connect_classify(cases[i].sqlstate, cases[i].primary, "", "", &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_string_equal(err.code, cases[i].code);
        assert_ptr_equal(strstr(err.message, cases[i].primary), err.message);
        assert_non_null(strstr(err.message, cases[i].way_out));
    }
}

static void names_are_quoted(void **state)
{
    (void)state;
    AUTO(mem_free) char *name = connect_identifier("a\"b");
    assert_string_equal(name, "\"a\"\"b\"");
    AUTO(mem_free) char *literal = connect_literal("it's \\");
    assert_string_equal(literal, "'it''s \\'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_to_stop_while_connecting),
        cmocka_unit_test(meanings),
        cmocka_unit_test(names_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
