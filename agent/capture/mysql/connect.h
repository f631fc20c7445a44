/* Connections to MySQL and MariaDB, by libmariadb, and what the server's errors mean for us. Every
 * session speaks utf8mb4, in UTC, and takes a backslash for a backslash. */
#pragma once

#include <mysql.h>
#include <stdlib.h>

#include "agent/capture/patience/patience.h"
#include "common/manifest/manifest.h"

void my_close(MYSQL *connection);
DEFINE_AUTO(MYSQL, my_close);
void my_result_free(MYSQL_RES *result);
DEFINE_AUTO(MYSQL_RES, my_result_free);

/* Tries the spec's hosts in turn. */
MYSQL *my_open(const ConnectorSpec *spec, const Patience *patience, Error *err) OWNED_BY(my_close);

/* One statement and its whole result, in memory; NULL: it failed, or has none (my_command). What it
 * waits for may be a lock of somebody's open transaction: as long as the patience lasts (NULL:
 * endless); then the connection can only be closed. */
MYSQL_RES *my_query(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
    OWNED_BY(my_result_free);
MUST_CHECK bool my_command(MYSQL *connection, const Patience *patience, const char *sql,
                           Error *err);
/* The first value of the only row; the caller frees. "" for null and for no row. NULL on failure.
 */
char *my_value(MYSQL *connection, const Patience *patience, const char *sql, Error *err)
    OWNED_BY(free);

/* The server's number and words → kind, code, message. Returns false. */
bool my_classify(unsigned number, const char *text, Error *err);
/* What the connection said last, likewise. */
bool my_failed(MYSQL *connection, Error *err);

/* `a``b`: an identifier for SQL; the caller frees. */
char *my_identifier(const char *name) OWNED_BY(free);
/* 'it''s'; the caller frees. */
char *my_literal(const char *text) OWNED_BY(free);
