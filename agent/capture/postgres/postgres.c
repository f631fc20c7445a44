/* The driver: what capture.h promises, for PostgreSQL 14 and later. */
#include "agent/capture/postgres/postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

bool postgres_lsn_parse(const char *text, uint64_t *ret, Error *err)
{
    uint32_t high, low;
    int end = 0;
    if (sscanf(text, "%8" SCNx32 "/%8" SCNx32 "%n", &high, &low, &end) != 2 || text[end])
        return error_set(err, ERROR_DATA, "BadPosition", "'%.40s' is no LSN", text);
    *ret = (uint64_t)high << 32 | low;
    return true;
}

bool postgres_query_open(Postgres *postgres, Error *err)
{
    if (postgres->query && PQstatus(postgres->query) == CONNECTION_OK)
        return true;
    connect_close(postgres->query);
    postgres->query = connect_open(postgres->spec, false, &postgres->patience, err);
    return postgres->query != NULL;
}

static bool goes_on(void *context)
{
    Postgres *postgres = context;
    if (postgres->stream)
        stream_keep(postgres->stream);
    return patience_until(postgres->options.stop, &postgres->stopped_us);
}

static bool replication_open(Postgres *postgres, Error *err)
{
    if (!postgres->replication)
        postgres->replication = connect_open(postgres->spec, true, &postgres->patience, err);
    return postgres->replication != NULL;
}

/* wal_level before the replication connection's IDENTIFY_SYSTEM: a plainer message. Amazon gives
 * the right by membership in rds_replication; then the server's own answer counts. */
static bool check_settings(Postgres *postgres, Error *err)
{
    AUTO(mem_free) char *level = connect_value(postgres->query, "SHOW wal_level", err);
    if (!level)
        return false;
    if (strcmp(level, "logical") != 0)
        return error_set(err, ERROR_CONFIG, "WalLevel",
                         "the server's wal_level is %s; ALTER SYSTEM SET wal_level = logical, and "
                         "restart the server",
                         level);
    AUTO(mem_free)
    char *role = connect_value(
        postgres->query,
        "SELECT rolsuper OR rolreplication OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE "
        "r.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, 'MEMBER')) "
        "FROM pg_catalog.pg_roles WHERE rolname = current_user",
        err);
    if (!role)
        return false;
    if (role[0] != 't')
        return error_set(err, ERROR_CONFIG, "PrivilegeMissing",
                         "user %s may not read the log; as a superuser: ALTER ROLE \"%s\" WITH "
                         "REPLICATION",
                         postgres->spec->username, postgres->spec->username);
    return true;
}

static bool identify(Postgres *postgres, Error *err)
{
    AUTO(result_clear)
    PGresult *result =
        connect_query(postgres->replication, PGRES_TUPLES_OK, "IDENTIFY_SYSTEM", err);
    if (!result)
        return false;
    snprintf(postgres->source, sizeof postgres->source, "postgresql/%.40s/%.10s/%.63s",
             PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), postgres->spec->pg_slot);
    return timelines_load(postgres, PQgetvalue(result, 0, 1), err);
}

static void postgres_close(Capture *capture)
{
    Postgres *postgres = postgres_of(capture);
    stream_close(postgres->stream);
    connect_close(postgres->replication);
    connect_close(postgres->query);
    for (size_t i = 0; i < postgres->table_count; i++)
        table_done(&postgres->tables[i]);
    free(postgres->by_oid);
    free(postgres->tables);
    free(postgres->sources);
    free(postgres->timelines.items);
    free(postgres->snapshot);
    free(postgres->composites_now);
    free(postgres);
}

static const SourceTable *postgres_tables(const Capture *capture, size_t *ret_count)
{
    const Postgres *postgres = (const Postgres *)capture;
    *ret_count = postgres->table_count;
    return postgres->sources;
}

static void postgres_fills(Capture *capture, uint32_t table)
{
    atomic_store(&postgres_of(capture)->tables[table].fills, true);
}

static const char *postgres_source(const Capture *capture)
{
    return ((const Postgres *)capture)->source;
}

static bool postgres_adopt(Capture *capture, Position *position, const char *anchor, bool passed,
                           bool *ret, Error *err)
{
    (void)anchor;
    (void)err;
    const Postgres *postgres = (const Postgres *)capture;
    *ret = timelines_adopt(&postgres->timelines, postgres->source, position, passed);
    return true;
}

static bool postgres_told(Capture *capture, RowPosition *ret, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    return postgres_query_open(postgres, err) && slot_told(postgres, ret, err);
}

static bool postgres_log_end(Capture *capture, RowPosition *ret, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    *ret = (RowPosition){0};
    return postgres_query_open(postgres, err) && slot_log_end(postgres, &ret->major, err);
}

static bool postgres_unread(Capture *capture, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    return postgres_query_open(postgres, err) && slot_unread(postgres, err);
}

static bool postgres_prepare(Capture *capture, const CaptureState *state, Position *ret_copy,
                             Error *err)
{
    Postgres *postgres = postgres_of(capture);
    bool copying = false, streaming = false;
    for (size_t i = 0; i < postgres->table_count; i++) {
        postgres->sources[i].copied = !state->complete[i];
        atomic_store(&postgres->tables[i].copying, !state->complete[i]);
        if (postgres->options.origins)
            atomic_store(&postgres->tables[i].fills, true);
        copying = copying || !state->complete[i];
        streaming = streaming || state->complete[i];
    }
    *ret_copy = (Position){0};
    snprintf(ret_copy->source, sizeof ret_copy->source, "%s", postgres->source);
    if (!postgres_query_open(postgres, err))
        return false;
    if (copying && !copy_look(postgres, err))
        return false;
    if (!replication_open(postgres, err) || !publication_prepare(postgres, err) ||
        !slot_prepare(postgres, state, copying, &ret_copy->at, err))
        return false;
    postgres->copy_at = ret_copy->at;
    postgres->copy_us = clock_wall_us();
    for (size_t i = 0; i < postgres->table_count; i++)
        if (!state->complete[i] && !postgres->tables[i].resumed)
            postgres->tables[i].passed = ret_copy->at;
    postgres->start = streaming || state->from.major ? state->from : ret_copy->at;
    return true;
}

/* Ends the snapshot, and with its connection a temporary slot. */
static bool postgres_copy_done(Capture *capture, Error *err)
{
    (void)err;
    Postgres *postgres = postgres_of(capture);
    if (!postgres->snapshot)
        return true;
    connect_close(TAKE(postgres->replication));
    free(TAKE(postgres->snapshot));
    return true;
}

static void postgres_copied(Capture *capture, uint32_t table)
{
    atomic_store(&postgres_of(capture)->tables[table].copying, false);
}

static const CaptureDriver driver = {
    .close = postgres_close,
    .tables = postgres_tables,
    .columns = tables_override,
    .identify = tables_identify,
    .forget = tables_forget,
    .resume = table_resume,
    .same = table_same,
    .fills = postgres_fills,
    .source = postgres_source,
    .adopt = postgres_adopt,
    .told = postgres_told,
    .log_end = postgres_log_end,
    .unread = postgres_unread,
    .describe = columns_describe,
    .look = tables_look,
    .prepare = postgres_prepare,
    .copy_plan = copy_plan,
    .copy_reader_open = copy_reader_open,
    .copy_reader_free = copy_reader_free,
    .copy_begin = copy_begin,
    .copy_next = copy_next,
    .copy_cancel = copy_cancel,
    .copy_done = postgres_copy_done,
    .beside_open = beside_open,
    .beside_say = beside_say,
    .beside_bound = beside_bound,
    .beside_begin = beside_begin,
    .copied = postgres_copied,
    .stream_start = stream_start,
    .next = stream_next,
    .idle = stream_idle,
    .confirm = stream_confirm,
    .figures = stream_figures,
};

Capture *capture_postgres_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
{
    Postgres *postgres = mem_zalloc(sizeof *postgres);
    postgres->base.driver = &driver;
    postgres->spec = spec;
    postgres->options = *options;
    postgres->patience = (Patience){goes_on, postgres};
    if (!postgres_query_open(postgres, err) || !check_settings(postgres, err) ||
        !replication_open(postgres, err) || !identify(postgres, err)) {
        postgres_close(&postgres->base);
        return NULL;
    }
    postgres->version = PQserverVersion(postgres->query);
    if (!tables_find(postgres, err)) {
        postgres_close(&postgres->base);
        return NULL;
    }
    return &postgres->base;
}

bool capture_postgres_drop(const ConnectorSpec *spec, Error *err)
{
    if (!spec->pg_manage)
        return true;
    AUTO(connect_close) PGconn *connection = connect_open(spec, false, NULL, err);
    if (!connection)
        return false;
    AUTO(mem_free) char *slot = connect_literal(spec->pg_slot);
    AUTO(mem_free) char *publication = connect_identifier(spec->pg_publication);
    AUTO(mem_free)
    char *drop_slot = mem_format("SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
                                 "FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND "
                                 "database = pg_catalog.current_database()",
                                 slot);
    AUTO(result_clear)
    PGresult *dropped = connect_query(connection, PGRES_TUPLES_OK, drop_slot, err);
    if (!dropped)
        return error_wrap(err, "dropping slot %s", spec->pg_slot);
    AUTO(mem_free)
    char *drop_publication = mem_format("DROP PUBLICATION IF EXISTS %s", publication);
    AUTO(result_clear)
    PGresult *gone = connect_query(connection, PGRES_COMMAND_OK, drop_publication, err);
    return gone ? true : error_wrap(err, "dropping publication %s", spec->pg_publication);
}
