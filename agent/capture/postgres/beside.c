/* Chunks of a table by its key, each read in a snapshot of its own, beside the stream of another
 * capture. A key is a JSON array of its columns' values as the server writes them. Nothing is held
 * but while a chunk is read: then ACCESS SHARE, as any SELECT does.
 *
 * The lock is taken before the snapshot (LOCK takes none itself): a table that is rewritten between
 * the two would seem to be empty. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/copy.h"
#include "common/clock.h"
#include "common/json/text.h"
#include "common/mem.h"

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static const char *only(const PgTable *table)
{
    return table->partitioned ? "" : "ONLY ";
}

/* "a", "b", each with `suffix`. */
static void put_key(const PgTable *table, const char *suffix, Bytes *to)
{
    const Schema *schema = table->source->schema;
    for (size_t i = 0; i < schema->key_count; i++) {
        AUTO(mem_free) char *name = connect_identifier(schema->fields[schema->key[i]].name);
        put_text(to, i ? ", " : "");
        put_text(to, name);
        put_text(to, suffix);
    }
}

/* ("a", "b") > ('1', 'x'): the literals become what the columns are. */
static bool put_limit(const PgTable *table, const char *operator, const char * key, Bytes *to,
                      Error *err)
{
    json_t *values = json_loads(key, 0, NULL);
    bool ok = json_array_size(values) == table->source->schema->key_count;
    put_text(to, "(");
    put_key(table, "", to);
    put_text(to, ") ");
    put_text(to, operator);
    put_text(to, " (");
    size_t i;
    json_t *value;
    json_array_foreach(values, i, value)
    {
        AUTO(mem_free) char *literal = connect_literal(json_string_value(value) ?: "");
        ok = ok && json_is_string(value);
        put_text(to, i ? ", " : "");
        put_text(to, literal);
    }
    put_text(to, ")");
    json_decref(values);
    return ok ||
           error_set(err, ERROR_RETRY, "ColumnsChanged",
                     "table %s: its key is not the one that its copy has come to", table->name);
}

static bool put_where(const PgTable *table, const char *after, const char *until, Bytes *to,
                      Error *err)
{
    if (after) {
        put_text(to, " WHERE ");
        if (!put_limit(table, ">", after, to, err))
            return false;
    }
    if (until) {
        put_text(to, after ? " AND " : " WHERE ");
        if (!put_limit(table, "<=", until, to, err))
            return false;
    }
    return true;
}

CopyReader *beside_open(Capture *capture, Capture *stream, Error *err)
{
    (void)stream; /* hears of it by its log */
    Postgres *postgres = postgres_of(capture);
    connect_close(TAKE(postgres->replication)); /* the server has only so many */
    TableReader *reader = copy_reader_new(postgres, err);
    if (!reader)
        return NULL;
    reader->beside = true;
    return &reader->base;
}

/* In a transaction of its own, so that it is flushed, and has the place of its commit. */
bool beside_say(CopyReader *base, const char *text, Error *err)
{
    TableReader *reader = (TableReader *)base;
    AUTO(mem_free) char *literal = connect_literal(text);
    AUTO(mem_free)
    char *sql = mem_format("SELECT pg_catalog.pg_logical_emit_message(true, '" CAPTURE_BESIDE_PREFIX
                           "', %s)",
                           literal);
    AUTO(mem_free) char *lsn = connect_value(reader->connection, sql, err);
    return lsn != NULL;
}

bool beside_bound(CopyReader *base, uint32_t number, const char *after, uint32_t rows, char **ret,
                  Error *err)
{
    TableReader *reader = (TableReader *)base;
    const PgTable *table = &reader->postgres->tables[number];
    AUTO(text_done) Bytes sql = {0};
    char limit[64];
    ASSERT(table->source->schema->key_count && rows);
    *ret = NULL;
    put_text(&sql, "SELECT ");
    put_key(table, "::text", &sql);
    put_text(&sql, " FROM ");
    put_text(&sql, only(table));
    put_text(&sql, table->quoted);
    if (!put_where(table, after, NULL, &sql, err))
        return false;
    put_text(&sql, " ORDER BY ");
    put_key(table, "", &sql);
    snprintf(limit, sizeof limit, " OFFSET %" PRIu32 " LIMIT 1", rows - 1);
    put_text(&sql, limit);
    bytes_put_u8(&sql, 0);
    AUTO(result_clear)
    PGresult *result =
        connect_query(reader->connection, PGRES_TUPLES_OK, (const char *)sql.data, err);
    if (!result)
        return error_wrap(err, "table %s", table->name);
    if (!PQntuples(result))
        return true;
    json_t *key = json_array();
    for (int i = 0; i < PQnfields(result); i++)
        json_array_append_new(key, json_string(PQgetvalue(result, 0, i)));
    *ret = json_text(key, JSON_COMPACT);
    json_decref(key);
    return *ret != NULL;
}

/* "10:20:10,14": all before 10 has ended, all from 20 on had not begun; 10 and 14 are open. */
static bool parse_unseen(const char *text, Unseen *ret)
{
    char *at;
    *ret = (Unseen){.oldest = strtoull(text, &at, 10)};
    if (*at++ != ':')
        return false;
    ret->next = strtoull(at, &at, 10);
    if (*at != ':')
        return false;
    while (*at++ && *at) {
        ret->open = mem_regrow(ret->open, ret->open_count + 1, sizeof *ret->open);
        ret->open[ret->open_count++] = strtoull(at, &at, 10);
    }
    return true;
}

/* Of the transaction's snapshot, which is taken by the first query. */
static bool look_at_snapshot(TableReader *reader, Unseen *ret, Error *err)
{
    Postgres *postgres = reader->postgres;
    AUTO(result_clear)
    PGresult *result = connect_query(reader->connection, PGRES_TUPLES_OK,
                                     "SELECT pg_catalog.pg_current_snapshot()::text, "
                                     "pg_catalog.pg_current_wal_lsn()::text",
                                     err);
    if (!result)
        return false;
    postgres->copy_us = clock_wall_us();
    if (!postgres_lsn_parse(PQgetvalue(result, 0, 1), &postgres->copy_at.major, err))
        return false;
    return parse_unseen(PQgetvalue(result, 0, 0), ret) ||
           error_set(err, ERROR_RETRY, "BadMessage", "no snapshot: %.100s",
                     PQgetvalue(result, 0, 0));
}

bool beside_begin(CopyReader *base, uint32_t number, const char *after, const char *until,
                  Unseen *ret, Error *err)
{
    TableReader *reader = (TableReader *)base;
    const PgTable *table = &reader->postgres->tables[number];
    AUTO(text_done) Bytes sql = {0};
    ASSERT(!reader->table);
    *ret = (Unseen){0};
    put_text(&sql, "COPY (SELECT ");
    put_text(&sql, table->columns);
    put_text(&sql, " FROM ");
    put_text(&sql, only(table));
    put_text(&sql, table->quoted);
    if (!put_where(table, after, until, &sql, err))
        return false;
    put_text(&sql, ") TO STDOUT (FORMAT binary)");
    bytes_put_u8(&sql, 0);
    if (!copy_command(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) ||
        !copy_hold_columns(reader, table, err) || !look_at_snapshot(reader, ret, err) ||
        !copy_start(reader, number, (const char *)sql.data, err))
        return error_wrap(err, "copying table %s", table->name);
    return true;
}
