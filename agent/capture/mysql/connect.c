/* Connections: the hosts in turn; TLS as the manifest says, with authority, certificate and key
 * from memory (libmariadb wants files: a memory file is one). Errors are told apart by the server's
 * numbers.
 *
 * https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
 * https://mariadb.com/kb/en/mariadb-error-codes/ */
#include "agent/capture/mysql/connect.h"

#include <errmsg.h>
#include <errno.h>
#include <mysqld_error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/tls/tls_files.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

#define CONNECT_TIMEOUT_S 10
#define LOOK_SQL "SHOW PROCESSLIST, and information_schema.INNODB_TRX"
/* 5.7 lacks what table maps say of columns, and the names of what is asked for here. */
#define MYSQL_VERSION_MIN 80000
#define MARIADB_VERSION_MIN 100500 /* the first whose table maps say all of columns */
#define NO_BINLOG_READING 1236     /* ER_MASTER_FATAL_ERROR_READING_BINLOG */

void my_close(MYSQL *connection)
{
    if (connection)
        mysql_close(connection);
}
void my_result_free(MYSQL_RES *result)
{
    if (result)
        mysql_free_result(result);
}

char *my_identifier(const char *name)
{
    return text_sql_quote(name, '`');
}

/* NO_BACKSLASH_ESCAPES is set on every connection. */
char *my_literal(const char *text)
{
    return text_sql_quote(text, '\'');
}

/* --- errors --- */

typedef struct Meaning {
    unsigned number;
    ErrorKind kind;
    const char *code;
    const char *way_out; /* "" when the server's own text says it */
} Meaning;

static const char retried[] = "";
static const Meaning meanings[] = {
    {ER_ACCESS_DENIED_ERROR, ERROR_CONFIG, "WrongPassword",
     "check username and password in the Secret that spec.source.credentialsSecretRef names, and "
     "that the account is for this host and without a certificate of its own"},
    {ER_DBACCESS_DENIED_ERROR, ERROR_CONFIG, "PrivilegeMissing",
     "grant SELECT on it, or correct spec.source.database"},
    {ER_BAD_DB_ERROR, ERROR_CONFIG, "DatabaseMissing", "correct spec.source.database"},
    {ER_SPECIFIC_ACCESS_DENIED_ERROR, ERROR_CONFIG, "PrivilegeMissing", ""},
    {ER_TABLEACCESS_DENIED_ERROR, ERROR_CONFIG, "PrivilegeMissing", ""},
    {ER_COLUMNACCESS_DENIED_ERROR, ERROR_CONFIG, "PrivilegeMissing", ""},
    {ER_HOST_NOT_PRIVILEGED, ERROR_CONFIG, "LoginRefused", "allow this host at the server"},
    {ER_MUST_CHANGE_PASSWORD, ERROR_CONFIG, "LoginRefused", "the account's password has expired"},
    {ER_CON_COUNT_ERROR, ERROR_RETRY, "ServerFull", "raise max_connections at the server"},
    {ER_LOCK_WAIT_TIMEOUT, ERROR_RETRY, "LockTimeout", retried},
    {ER_LOCK_DEADLOCK, ERROR_RETRY, "LockTimeout", retried},
    {ER_TABLE_DEF_CHANGED, ERROR_RETRY, "TableRewritten", retried},
    {ER_NO_SUCH_TABLE, ERROR_RETRY, "TableRewritten", retried},
    {ER_QUERY_INTERRUPTED, ERROR_RETRY, "Cancelled", retried},
    {CR_SERVER_GONE_ERROR, ERROR_RETRY, "ConnectionLost", retried},
    {CR_SERVER_LOST, ERROR_RETRY, "ConnectionLost", retried},
    {CR_AUTH_PLUGIN_CANNOT_LOAD, ERROR_CONFIG, "LoginRefused",
     "the account's authentication needs a plugin that is not there: use caching_sha2_password, "
     "mysql_native_password or ed25519"},
    {NO_BINLOG_READING, ERROR_RETRY, "LogUnreadable", retried},
};

bool my_classify(unsigned number, const char *text, Error *err)
{
    const char *code = "ServerError", *way_out = "";
    ErrorKind kind = ERROR_RETRY;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (meanings[i].number == number) {
            kind = meanings[i].kind;
            code = meanings[i].code;
            way_out = meanings[i].way_out;
        }
    return error_set(err, kind, code, "%.300s%s%s (error %u)", text, *way_out ? "; " : "", way_out,
                     number);
}

bool my_failed(MYSQL *connection, Error *err)
{
    return my_classify(mysql_errno(connection), mysql_error(connection), err);
}

static bool is_tls(const char *text)
{
    return strstr(text, "SSL") || strstr(text, "TLS") || strstr(text, "certificate");
}

static bool classify_connection(const ConnectorSpec *spec, const char *host, MYSQL *connection,
                                Error *err)
{
    unsigned number = mysql_errno(connection);
    const char *text = mysql_error(connection);
    if (number == CR_SSL_CONNECTION_ERROR || (number >= CR_MIN_ERROR && is_tls(text)))
        error_set(err, ERROR_CONFIG, "TlsFailed",
                  "%.200s; check spec.source.tls.mode and caSecretRef (VerifyFull: that the "
                  "certificate is this host's), and that the server has TLS on",
                  text);
    else if (number == CR_UNKNOWN_HOST)
        error_set(err, ERROR_CONFIG, "HostUnknown", "%.200s; correct spec.source.host", text);
    else if (number == CR_CONN_HOST_ERROR || number == CR_CONNECTION_ERROR ||
             number == CR_SERVER_LOST)
        error_set(err, ERROR_RETRY, "HostUnreachable",
                  "%.200s; check spec.source.host and port, and that the server runs and listens "
                  "there",
                  text);
    else
        my_classify(number, text, err);
    return error_wrap(err, "%s %s:%u user %s",
                      spec->source_type == SOURCE_MARIADB ? "mariadb" : "mysql", host, spec->port,
                      spec->username);
}

/* --- connecting --- */

/* The library checks the chain when it has an authority, the name when it is asked to. */
static void tls_options(MYSQL *connection, const ConnectorSpec *spec, const TlsFiles *tls)
{
    my_bool on = 1, verify = spec->tls_mode == TLS_VERIFY_FULL;
    mysql_options(connection, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_options(connection, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (tls->ca.path[0] && spec->tls_mode >= TLS_VERIFY_CA)
        mysql_options(connection, MYSQL_OPT_SSL_CA, tls->ca.path);
    if (tls->client.path[0])
        mysql_options(connection, MYSQL_OPT_SSL_CERT, tls->client.path);
    if (tls->client_key.path[0])
        mysql_options(connection, MYSQL_OPT_SSL_KEY, tls->client_key.path);
}

static void keep_alive(MYSQL *connection)
{
    int fd = mysql_get_socket(connection), on = 1, idle = 30, interval = 10, count = 3;
    unsigned timeout_ms = 60000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static MYSQL *connect_once(const ConnectorSpec *spec, const char *host, bool encrypted,
                           const TlsFiles *tls, bool *ret_without, Error *err)
{
    AUTO(my_close) MYSQL *connection = mysql_init(NULL);
    ASSERT(connection);
    unsigned timeout_s = CONNECT_TIMEOUT_S, protocol = MYSQL_PROTOCOL_TCP;
    my_bool no_local = 0;
    mysql_options(connection, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
    mysql_options(connection, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(connection, MYSQL_OPT_LOCAL_INFILE, &no_local);
    mysql_options(connection, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_optionsv(connection, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "firn-agent");
    if (encrypted)
        tls_options(connection, spec, tls);
    if (mysql_real_connect(connection, host, spec->username, spec->password ? spec->password : "",
                           spec->database, spec->port, NULL, 0)) {
        keep_alive(connection);
        return TAKE(connection);
    }
    *ret_without = encrypted && spec->tls_mode == TLS_PREFER &&
                   strstr(mysql_error(connection), "does not support");
    classify_connection(spec, host, connection, err);
    return NULL;
}

static bool check_version(MYSQL *connection, const ConnectorSpec *spec, Error *err)
{
    bool mariadb = mariadb_connection(connection), wanted = spec->source_type == SOURCE_MARIADB;
    if (mariadb != wanted)
        return error_set(err, ERROR_CONFIG, "SourceType",
                         "the server is %s; set spec.source.type: %s",
                         mariadb ? "MariaDB" : "MySQL", mariadb ? "MariaDB" : "MySQL");
    unsigned long version = mysql_get_server_version(connection);
    if (version < (mariadb ? MARIADB_VERSION_MIN : MYSQL_VERSION_MIN))
        return error_set(err, ERROR_CONFIG, "ServerTooOld",
                         "the server is version %s; Firn reads %s",
                         mysql_get_server_info(connection),
                         mariadb ? "MariaDB 10.5 and later" : "MySQL 8.0 and later");
    return true;
}

/* What a copy that is held back may make the server wait for, and what values look like. */
static const char session_sql[] =
    "SET SESSION time_zone = '+00:00', sql_mode = 'NO_BACKSLASH_ESCAPES', "
    "net_write_timeout = 31536000, wait_timeout = 2147483, lock_wait_timeout = 5";

static MYSQL *connect_host(const ConnectorSpec *spec, const char *host, const Patience *patience,
                           const TlsFiles *tls, Error *err)
{
    bool without = false;
    AUTO(my_close)
    MYSQL *connection = connect_once(spec, host, spec->tls_mode != TLS_DISABLE, tls, &without, err);
    if (!connection && without)
        connection = connect_once(spec, host, false, tls, &without, err);
    if (!connection)
        return NULL;
    if (!check_version(connection, spec, err) ||
        !my_command(connection, patience, session_sql, err)) {
        error_wrap(err, "%s:%u", host, spec->port);
        return NULL;
    }
    return TAKE(connection);
}

MYSQL *my_open(const ConnectorSpec *spec, const Patience *patience, Error *err)
{
    TlsFiles tls;
    if (!tls_files_open(spec, &tls, err))
        return NULL;
    MYSQL *connection = NULL;
    for (size_t i = 0; i < spec->hosts.count && !connection && (!i || patience_lasts(patience));
         i++)
        connection = connect_host(spec, spec->hosts.texts[i], patience, &tls, err);
    tls_files_close(&tls);
    return connection;
}

/* --- queries --- */

/* Until something can be read. False: given up. */
static bool wait_answer(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
{
    Unanswered unanswered = {.sql = sql, .look = LOOK_SQL, .since_us = clock_mono_us()};
    for (;;) {
        struct pollfd polled = {.fd = mysql_get_socket(connection), .events = POLLIN};
        if (poll(&polled, 1, PATIENCE_LOOK_MS) > 0)
            return true;
        if (!patience_waits(patience, &unanswered, err))
            return false;
    }
}

static bool run(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
{
    if (mysql_send_query(connection, sql, strlen(sql)))
        return my_failed(connection, err);
    if (!wait_answer(connection, patience, sql, err))
        return false;
    if (mysql_read_query_result(connection))
        return my_failed(connection, err);
    return true;
}

MYSQL_RES *my_query(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
{
    if (!run(connection, patience, sql, err))
        return NULL;
    MYSQL_RES *result = mysql_store_result(connection);
    if (result)
        return result;
    if (mysql_errno(connection))
        my_failed(connection, err);
    else
        error_set(err, ERROR_RETRY, "ServerError", "'%.100s' gave no rows", sql);
    return NULL;
}

bool my_command(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
{
    if (!run(connection, patience, sql, err))
        return false;
    AUTO(my_result_free) MYSQL_RES *result = mysql_store_result(connection);
    return result || !mysql_errno(connection) || my_failed(connection, err);
}

char *my_value(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
{
    AUTO(my_result_free) MYSQL_RES *result = my_query(connection, patience, sql, err);
    if (!result)
        return NULL;
    MYSQL_ROW row = mysql_fetch_row(result);
    return mem_strdup(row && row[0] ? row[0] : "");
}
