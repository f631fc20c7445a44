/* Connections to the source, and what the server's errors mean for us. */
#pragma once

#include <libpq-fe.h>
#include <stdlib.h>

#include "agent/capture/patience/patience.h"
#include "common/manifest/manifest.h"

void connect_close(PGconn *connection);
DEFINE_AUTO(PGconn, connect_close);
void result_clear(PGresult *result);
DEFINE_AUTO(PGresult, result_clear);

/* An ordinary connection, or one for replication commands (which also takes plain SQL). Tries the
 * spec's hosts in turn; with several, only a primary is taken. The spec's texts are not kept; the
 * patience is, for all that the connection is asked (NULL: endless). */
PGconn *connect_open(const ConnectorSpec *spec, bool replication, const Patience *patience,
                     Error *err) OWNED_BY(connect_close);

/* Runs one command and checks that it ended as `wanted`; NULL with *err filled when not. What it
 * waits for may be a lock of somebody's open transaction: as long as the patience lasts. */
PGresult *connect_query(PGconn *connection, ExecStatusType wanted, const char *sql, Error *err)
    OWNED_BY(result_clear);
/* The same, given up after timeout_ms: RETRY "Timeout". */
PGresult *connect_query_within(PGconn *connection, ExecStatusType wanted, const char *sql,
                               int timeout_ms, Error *err) OWNED_BY(result_clear);
/* The same with text parameters. */
PGresult *connect_query_with(PGconn *connection, ExecStatusType wanted, const char *sql, int count,
                             const char *const *values, Error *err) OWNED_BY(result_clear);
/* With parameters as PQexecParams has them, and the values in binary. The result is whatever the
 * server said: connect_check. NULL: the patience ended. */
PGresult *connect_ask(PGconn *connection, const char *sql, int count, const Oid *types,
                      const char *const *values, const int *lengths, const int *formats, Error *err)
    OWNED_BY(result_clear);
/* One text value of one row; the caller frees. NULL on failure; "" for null. */
char *connect_value(PGconn *connection, const char *sql, Error *err) OWNED_BY(free);

/* Did the command end as `wanted`? */
MUST_CHECK bool connect_check(PGconn *connection, const PGresult *result, ExecStatusType wanted,
                              Error *err);

/* SQLSTATE and texts → kind, code, message. Returns false. */
bool connect_classify(const char *sqlstate, const char *primary, const char *detail,
                      const char *hint, Error *err);

/* "a""b": an identifier for SQL; the caller frees. Needs no connection: the encoding is UTF-8. */
char *connect_identifier(const char *name) OWNED_BY(free);
/* 'it''s': a literal, E'' when it holds a backslash; the caller frees. */
char *connect_literal(const char *text) OWNED_BY(free);
