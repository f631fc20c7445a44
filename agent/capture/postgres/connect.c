/* Connections: the hosts in turn, each with its own deadline; TLS as the manifest says, with
 * authority, certificate and key from memory (libpq wants files: a memory file is one). Errors are
 * told apart by SQLSTATE, which libpq only shows for a failed connection when its verbosity says so
 * before the start: the server's language does not matter then.
 *
 * https://www.postgresql.org/docs/15/errcodes-appendix.html */
#include "agent/capture/postgres/connect.h"

#include <errno.h>
#include <libpq-events.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/tls/tls_files.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

#define CONNECT_TIMEOUT_MS 10000
#define LOOK_SQL                                                                                   \
    "SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE application_name = "     \
    "'firn-agent'"
#define SERVER_VERSION_MIN 140000 /* 13 has neither binary values nor streaming in pgoutput */

void connect_close(PGconn *connection)
{
    PQfinish(connection);
}
void result_clear(PGresult *result)
{
    PQclear(result);
}

char *connect_identifier(const char *name)
{
    return text_sql_quote(name, '"');
}

/* standard_conforming_strings is set on every connection: a backslash is only a backslash. */
char *connect_literal(const char *text)
{
    return text_sql_quote(text, '\'');
}

/* --- errors --- */

typedef struct Meaning {
    const char *state; /* SQLSTATE, or its class (two letters) */
    ErrorKind kind;
    const char *code;
    const char *way_out; /* "" when the server's own text says it */
} Meaning;

static const Meaning meanings[] = {
    {"28P01", ERROR_CONFIG, "WrongPassword",
     "check username and password in the Secret that spec.source.credentialsSecretRef names"},
    {"28000", ERROR_CONFIG, "LoginRefused",
     "check the username in the Secret, and that pg_hba.conf lets this host in, for the database "
     "and (for replication) the same role"},
    {"3D000", ERROR_CONFIG, "DatabaseMissing", "correct spec.source.database"},
    {"42501", ERROR_CONFIG, "PrivilegeMissing", ""},
    {"42P01", ERROR_CONFIG, "TableMissing",
     "the table was dropped or renamed; restart the agent "
     "after correcting spec.source.tables"},
    {"42703", ERROR_CONFIG, "SchemaChanged", "a column was dropped or renamed since the start"},
    {"53300", ERROR_RETRY, "ServerFull",
     "all connections or walsenders are taken: ALTER SYSTEM SET max_wal_senders (and "
     "max_connections) higher, and restart the server"},
    {"53400", ERROR_CONFIG, "NoFreeSlot",
     "drop a slot nobody reads (SELECT * FROM pg_replication_slots; SELECT "
     "pg_drop_replication_slot('name')), or ALTER SYSTEM SET max_replication_slots higher and "
     "restart the server"},
    {"55006", ERROR_RETRY, "SlotActive", "another process is reading the slot; stop it"},
    {"25006", ERROR_RETRY, "NotPrimary",
     "the server is a standby; name the primary in "
     "spec.source.host"},
    {"58P01", ERROR_CONFIG, "LogGone", "the server no longer has the WAL that the slot needs"},
    {"42704", ERROR_CONFIG, "ObjectMissing", ""},
    {"55P03", ERROR_RETRY, "Locked", ""},
    {"57014", ERROR_RETRY, "Cancelled", ""},
    {"XX000", ERROR_RETRY, "ServerFailed", "a fault of its own: its log says more"},
};

bool connect_classify(const char *sqlstate, const char *primary, const char *detail,
                      const char *hint, Error *err)
{
    const char *code = "ServerError", *way_out = "";
    ErrorKind kind = ERROR_RETRY;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (strcmp(meanings[i].state, sqlstate) == 0) {
            kind = meanings[i].kind;
            code = meanings[i].code;
            way_out = meanings[i].way_out;
        }
    /* 55000, object not in prerequisite state: the server's words tell which. */
    if (strcmp(sqlstate, "55000") == 0) {
        kind = ERROR_CONFIG;
        code = "SourceNotReady";
        /* "can no longer get changes from", since 18 "can no longer access", replication slot */
        if (strstr(primary, "can no longer")) {
            code = "SlotLost";
            way_out = "load the tables again with --resnapshot '*.*'";
        } else if (strstr(primary, "wal_level")) {
            code = "WalLevel";
            way_out = "ALTER SYSTEM SET wal_level = logical, and restart the server";
        }
    }
    if (strcmp(sqlstate, "42704") == 0)
        code = strstr(primary, "slot")          ? "SlotMissing"
               : strstr(primary, "publication") ? "PublicationMissing"
                                                : code;
    if (strstr(primary, "row-level security"))
        way_out = "give the role BYPASSRLS (ALTER ROLE … BYPASSRLS) or make it a member of the "
                  "table's owner, or exclude the table: a copy never leaves rows out";
    return error_set(err, kind, code, "%.200s%s%.120s%s%.100s%s%.200s (SQLSTATE %.5s)", primary,
                     *detail ? ": " : "", detail, *hint ? "; " : "", hint, *way_out ? "; " : "",
                     way_out, *sqlstate ? sqlstate : "none");
}

/* libpq's own words, and OpenSSL's in them; they are not translated. */
static const char *tls_way_out(const char *text)
{
    static const char *const ways[][2] = {
        {"does not support SSL", "turn ssl on at the server, or set spec.source.tls.mode: Disable "
                                 "where the network is safe"},
        {"does not match host name", "name the server in spec.source.host as its certificate does, "
                                     "or set spec.source.tls.mode: "
                                     "VerifyCa, which asks for the authority alone"},
        {"certificate verify failed",
         "the Secret of spec.source.tls.caSecretRef must hold the authority that signed the "
         "server's certificate"},
        {"root certificate", "the Secret of spec.source.tls.caSecretRef must hold certificates"},
        {" alert ",
         "the server refuses the client's certificate: tls.crt and tls.key in the Secret of "
         "spec.source.credentialsSecretRef must be signed by an authority that its ssl_ca_file "
         "names"},
        {"private key",
         "tls.crt and tls.key in the Secret of spec.source.credentialsSecretRef must belong "
         "together, the key without a pass phrase"},
        {"certificate file",
         "tls.crt in the Secret of spec.source.credentialsSecretRef must hold a certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        if (strstr(text, ways[i][0]))
            return ways[i][1];
    return "check spec.source.tls.mode and caSecretRef, and that the server has ssl on";
}

/* Refused by pg_hba.conf, or for want of a certificate. */
static const char *login_way_out(const ConnectorSpec *spec, const char *text)
{
    if (strstr(text, "valid client certificate") || strstr(text, "certificate authentication"))
        return "put tls.crt and tls.key, a certificate made out to that user, into the Secret that "
               "spec.source.credentialsSecretRef names";
    if (spec->tls_mode == TLS_DISABLE && strstr(text, "no encryption"))
        return "the server may ask for TLS: set spec.source.tls.mode: Require, or VerifyFull with "
               "caSecretRef; else pg_hba.conf must let this host in";
    return NULL;
}

/* The line of the text that is of TLS: of a host's addresses others may be refused before. */
static const char *tls_line(const char *text)
{
    static const char *const words[] = {"SSL", "certificate", "private key"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const char *found = strstr(text, words[i]);
        while (found && found > text && found[-1] != '\n')
            found--;
        if (found)
            return found;
    }
    return NULL;
}

/* A failed connection: libpq's text, in which VERBOSE puts "FATAL:  28P01: …" for the server's own
 * refusals; everything else is the network's, TLS's or the name service's. */
static bool classify_connection(const ConnectorSpec *spec, const char *host, PGconn *connection,
                                Error *err)
{
    const char *text = PQerrorMessage(connection);
    char state[6] = "", line[300];
    const char *colon = strstr(text, ":  ");
    size_t letters = colon ? strspn(colon + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;
    if (letters == 5 && colon[8] == ':')
        memcpy(state, colon + 3, 5);
    const char *of_tls = tls_line(text);
    const char *from = state[0] ? colon + 10 : of_tls ? of_tls : text;
    size_t length = strcspn(from, "\n");
    snprintf(line, sizeof line, "%.*s", length > 290 ? 290 : (int)length, from);
    if (state[0]) {
        connect_classify(state, line, "", "", err);
        if (err && strcmp(state, "28000") == 0 && login_way_out(spec, line))
            error_set(err, ERROR_CONFIG, "LoginRefused", "%.250s; %s", line,
                      login_way_out(spec, line));
        if (err && strcmp(state, "42501") == 0)
            error_set(err, ERROR_CONFIG, "PrivilegeMissing",
                      "%s; as a superuser: ALTER ROLE \"%s\" WITH REPLICATION", line,
                      spec->username);
    } else if (strstr(text, "could not translate host name")) {
        error_set(err, ERROR_CONFIG, "HostUnknown", "%s; correct spec.source.host", line);
    } else if (strstr(text, "no password supplied")) {
        error_set(err, ERROR_CONFIG, "PasswordMissing",
                  "the server asks user %s for a password; add the key password to the Secret that "
                  "spec.source.credentialsSecretRef names",
                  spec->username);
    } else if (of_tls) {
        error_set(err, ERROR_CONFIG, "TlsFailed", "%.200s; %s", line, tls_way_out(text));
    } else {
        error_set(err, ERROR_RETRY, "HostUnreachable",
                  "%s; check spec.source.host and port, and that the server runs and listens there",
                  line);
    }
    return error_wrap(err, "postgres %s:%u database %s user %s", host, spec->port, spec->database,
                      spec->username);
}

/* --- connecting --- */

static const char *tls_mode_name(TlsMode mode)
{
    static const char *const names[] = {[TLS_DISABLE] = "disable",
                                        [TLS_PREFER] = "prefer",
                                        [TLS_REQUIRE] = "require",
                                        [TLS_VERIFY_CA] = "verify-ca",
                                        [TLS_VERIFY_FULL] = "verify-full"};
    ASSERT((size_t)mode < ARRAY_LEN(names));
    return names[mode];
}

static const char *path_or_null(const PemFile *file)
{
    return file->path[0] ? file->path : NULL;
}

/* Drives the start of a connection to its end, good or bad (PQstatus tells). False: given up. */
static bool connect_drive(PGconn *connection, const Patience *patience, Error *err)
{
    int64_t deadline_us = clock_mono_us() + INT64_C(1000) * CONNECT_TIMEOUT_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        struct pollfd polled = {.fd = PQsocket(connection),
                                .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int ready = poll(&polled, 1, PATIENCE_LOOK_MS);
        if (ready < 0 && errno != EINTR)
            return error_errno(err, ERROR_RETRY, "HostUnreachable", errno, "waiting for it");
        if (ready > 0)
            status = PQconnectPoll(connection);
        if (!patience_lasts(patience))
            return error_set(err, ERROR_RETRY, "Stopped", "told to stop while connecting");
        if (clock_mono_us() >= deadline_us)
            return error_set(err, ERROR_RETRY, "HostUnreachable",
                             "no connection within %d ms; check spec.source.host and port, and "
                             "that no firewall is between",
                             CONNECT_TIMEOUT_MS);
    }
    return true;
}

/* A connection keeps its patience as libpq keeps data for the program's own use. */
static int on_event(PGEventId id, void *info, void *own)
{
    (void)id;
    (void)info;
    (void)own;
    return 1;
}

static void keep_patience(PGconn *connection, const Patience *patience)
{
    int kept = PQregisterEventProc(connection, on_event, "patience", NULL);
    ASSERT(kept); /* else memory is at its end */
    kept = PQsetInstanceData(connection, on_event, (void *)(uintptr_t)patience);
    ASSERT(kept);
}

static PGconn *connect_host(const ConnectorSpec *spec, const char *host, bool replication,
                            const Patience *patience, const TlsFiles *tls, Error *err)
{
    char port[8];
    snprintf(port, sizeof port, "%u", spec->port);
    const char *const names[] = {"host",
                                 "port",
                                 "dbname",
                                 "user",
                                 "password",
                                 "application_name",
                                 "client_encoding",
                                 "sslmode",
                                 "sslrootcert",
                                 "sslcert",
                                 "sslkey",
                                 "gssencmode",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 "target_session_attrs",
                                 "options",
                                 "replication",
                                 NULL};
    /* row_security off: a policy that would hide rows is an error, never a smaller copy. */
    const char *const values[] = {
        host,
        port,
        spec->database,
        spec->username,
        spec->password ? spec->password : "",
        "firn-agent",
        "UTF8",
        tls_mode_name(spec->tls_mode),
        path_or_null(&tls->ca),
        path_or_null(&tls->client),
        path_or_null(&tls->client_key),
        "disable",
        "30",
        "10",
        "3",
        "60000",
        spec->hosts.count > 1 ? "primary" : "any",
        "-c row_security=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 "
        "-c standard_conforming_strings=on -c datestyle=ISO -c bytea_output=hex",
        replication ? "database" : NULL,
        NULL};
    AUTO(connect_close) PGconn *connection = PQconnectStartParams(names, values, 0);
    ASSERT(connection);
    keep_patience(connection, patience);
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
    if (PQstatus(connection) != CONNECTION_BAD && !connect_drive(connection, patience, err)) {
        error_wrap(err, "postgres %s:%u", host, spec->port);
        return NULL;
    }
    if (PQstatus(connection) != CONNECTION_OK) {
        classify_connection(spec, host, connection, err);
        return NULL;
    }
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
    if (PQserverVersion(connection) < SERVER_VERSION_MIN) {
        error_set(err, ERROR_CONFIG, "ServerTooOld",
                  "postgres %s:%u is version %d.%d; Firn reads 14 and later", host, spec->port,
                  PQserverVersion(connection) / 10000, PQserverVersion(connection) % 100);
        return NULL;
    }
    int on = 1;
    setsockopt(PQsocket(connection), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return TAKE(connection);
}

PGconn *connect_open(const ConnectorSpec *spec, bool replication, const Patience *patience,
                     Error *err)
{
    TlsFiles tls;
    if (!tls_files_open(spec, &tls, err))
        return NULL;
    PGconn *connection = NULL;
    for (size_t i = 0; i < spec->hosts.count && !connection && (!i || patience_lasts(patience));
         i++)
        connection = connect_host(spec, spec->hosts.texts[i], replication, patience, &tls, err);
    tls_files_close(&tls);
    return connection;
}

/* --- queries --- */

static const char *field_of(const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    return text ? text : "";
}

bool connect_check(PGconn *connection, const PGresult *result, ExecStatusType wanted, Error *err)
{
    if (PQresultStatus(result) == wanted)
        return true;
    const char *primary = field_of(result, PG_DIAG_MESSAGE_PRIMARY);
    if (PQstatus(connection) == CONNECTION_BAD || !*primary)
        return error_set(err, ERROR_RETRY, "ConnectionLost", "postgres %s:%s: %.300s",
                         PQhost(connection), PQport(connection), PQerrorMessage(connection));
    return connect_classify(field_of(result, PG_DIAG_SQLSTATE), primary,
                            field_of(result, PG_DIAG_MESSAGE_DETAIL),
                            field_of(result, PG_DIAG_MESSAGE_HINT), err);
}

static PGresult *check(PGconn *connection, PGresult *taken, ExecStatusType wanted, Error *err)
{
    AUTO(result_clear) PGresult *result = taken;
    return connect_check(connection, result, wanted, err) ? TAKE(result) : NULL;
}

/* Asks the server to stop. */
static void cancel(PGconn *connection)
{
    char unused[256];
    PGcancel *asked = PQgetCancel(connection);
    if (asked)
        (void)!PQcancel(asked, unused, sizeof unused);
    PQfreeCancel(asked);
}

static void drop_results(PGconn *connection)
{
    for (PGresult *result; (result = PQgetResult(connection));)
        PQclear(result);
}

/* Waits until PQgetResult would not. False: given up, and the server was asked to stop. */
static bool wait_result(PGconn *connection, const char *sql, int64_t deadline_us, Error *err)
{
    const Patience *patience = PQinstanceData(connection, on_event);
    Unanswered unanswered = {.sql = sql, .look = LOOK_SQL, .since_us = clock_mono_us()};
    while (PQisBusy(connection)) {
        struct pollfd polled = {.fd = PQsocket(connection), .events = POLLIN};
        (void)!poll(&polled, 1, PATIENCE_LOOK_MS);
        if (!PQconsumeInput(connection))
            return true; /* the result says so */
        int64_t now_us = clock_mono_us();
        if (now_us >= deadline_us) {
            cancel(connection);
            drop_results(connection);
            return error_set(err, ERROR_RETRY, "Timeout", "no answer to '%.80s' within %d s", sql,
                             (int)((now_us - unanswered.since_us) / 1000000));
        }
        if (!patience_waits(patience, &unanswered, err)) {
            cancel(connection); /* else it would wait for its lock even when we are gone */
            return false;
        }
    }
    return true;
}

/* The last result of what was sent. NULL: given up. */
static PGresult *answer(PGconn *connection, const char *sql, int64_t deadline_us, Error *err)
{
    AUTO(result_clear) PGresult *last = NULL;
    for (;;) {
        if (!wait_result(connection, sql, deadline_us, err))
            return NULL;
        PGresult *result = PQgetResult(connection);
        if (!result)
            break;
        result_clear(last);
        last = result;
    }
    if (!last) /* the connection broke: what PQgetResult has said before */
        last = PQmakeEmptyPGresult(connection, PGRES_FATAL_ERROR);
    return TAKE(last);
}

/* What is left of an earlier question on the connection is nobody's any more. */
static bool ready(PGconn *connection, const char *sql, int64_t deadline_us, Error *err)
{
    do {
        if (!wait_result(connection, sql, deadline_us, err))
            return false;
        AUTO(result_clear) PGresult *result = PQgetResult(connection);
        if (!result)
            return true;
    } while (true);
}

static PGresult *query(PGconn *connection, ExecStatusType wanted, const char *sql,
                       int64_t deadline_us, Error *err)
{
    if (!ready(connection, sql, deadline_us, err))
        return NULL;
    if (!PQsendQuery(connection, sql))
        return check(connection, NULL, wanted, err);
    PGresult *result = answer(connection, sql, deadline_us, err);
    return result ? check(connection, result, wanted, err) : NULL;
}

PGresult *connect_query(PGconn *connection, ExecStatusType wanted, const char *sql, Error *err)
{
    return query(connection, wanted, sql, INT64_MAX, err);
}

PGresult *connect_query_within(PGconn *connection, ExecStatusType wanted, const char *sql,
                               int timeout_ms, Error *err)
{
    return query(connection, wanted, sql, clock_mono_us() + INT64_C(1000) * timeout_ms, err);
}

static PGresult *ask(PGconn *connection, const char *sql, int count, const Oid *types,
                     const char *const *values, const int *lengths, const int *formats,
                     int result_format, Error *err)
{
    if (!ready(connection, sql, INT64_MAX, err))
        return NULL;
    if (!PQsendQueryParams(connection, sql, count, types, values, lengths, formats, result_format))
        return PQmakeEmptyPGresult(connection, PGRES_FATAL_ERROR);
    return answer(connection, sql, INT64_MAX, err);
}

PGresult *connect_ask(PGconn *connection, const char *sql, int count, const Oid *types,
                      const char *const *values, const int *lengths, const int *formats, Error *err)
{
    return ask(connection, sql, count, types, values, lengths, formats, 1, err);
}

PGresult *connect_query_with(PGconn *connection, ExecStatusType wanted, const char *sql, int count,
                             const char *const *values, Error *err)
{
    PGresult *result = ask(connection, sql, count, NULL, values, NULL, NULL, 0, err);
    return result ? check(connection, result, wanted, err) : NULL;
}

char *connect_value(PGconn *connection, const char *sql, Error *err)
{
    AUTO(result_clear) PGresult *result = connect_query(connection, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return NULL;
    if (PQntuples(result) != 1) {
        error_set(err, ERROR_RETRY, "ServerError", "'%.100s' gave %d rows, not one", sql,
                  PQntuples(result));
        return NULL;
    }
    return mem_strdup(PQgetvalue(result, 0, 0));
}
