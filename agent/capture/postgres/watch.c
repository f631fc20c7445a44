#include "agent/capture/postgres/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define EVERY_US INT64_C(10000000) /* at most; as often as heartbeats are, if that is oftener */
#define AGAIN_US INT64_C(60000000) /* after a connection could not be had */
#define ANSWER_US INT64_C(30000000)

/* What the slot keeps is reckoned from the end of the log that the server writes, or, of a standby,
 * replays. safe_wal_size is null where max_slot_wal_keep_size sets no limit. */
static const char slot_format[] =
    "SELECT pg_catalog.pg_wal_lsn_diff(e.lsn, s.restart_lsn)::int8, s.wal_status, s.safe_wal_size, "
    "  pg_catalog.pg_wal_lsn_diff(e.lsn, '0/0')::int8, %s "
    "FROM pg_catalog.pg_replication_slots s, (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() "
    "  THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END) e(lsn) "
    "WHERE s.slot_name = %s";

/* Not transactional: a message of the log that no transaction has to be decoded for. */
static char *heartbeat_sql(const ConnectorSpec *spec)
{
    if (!spec->heartbeat_table)
        return mem_strdup("SELECT pg_catalog.pg_logical_emit_message(false, '" HEARTBEAT_PREFIX
                          "', '')");
    const char *point = strchr(spec->heartbeat_table, '.');
    ASSERT(point); /* the manifest is checked */
    AUTO(mem_free)
    char *schema_name = mem_strndup(spec->heartbeat_table, (size_t)(point - spec->heartbeat_table));
    AUTO(mem_free) char *schema = connect_identifier(schema_name);
    AUTO(mem_free) char *table = connect_identifier(point + 1);
    return mem_format("INSERT INTO %s.%s (id, at) VALUES (1, pg_catalog.now()) "
                      "ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at",
                      schema, table);
}

void watch_init(Watch *watch, Postgres *postgres, int64_t now_us)
{
    AUTO(mem_free) char *slot = connect_literal(postgres->spec->pg_slot);
    *watch = (Watch){.postgres = postgres, .due_us = now_us};
    watch->slot_sql = mem_format(slot_format, slot_reason_sql(postgres->version), slot);
    watch->heartbeat_sql = heartbeat_sql(postgres->spec);
    watch->heartbeat_due_us = now_us + postgres->spec->heartbeat_interval_ms * 1000;
    watch->latest.seconds = INFINITY;
}

void watch_done(Watch *watch)
{
    free(watch->slot_sql);
    free(watch->heartbeat_sql);
    *watch = (Watch){0};
}

static int64_t every_us(const Watch *watch)
{
    int64_t heartbeat_us = watch->postgres->spec->heartbeat_interval_ms * 1000;
    return heartbeat_us < EVERY_US ? heartbeat_us : EVERY_US;
}

/* ---------- what the slot keeps ---------- */
/* Between the oldest and the newest: the slot's place moves in leaps, so that single steps say
 * little. */
double watch_growth(const WatchSample *samples, size_t count, double *ret_seconds)
{
    *ret_seconds = 0;
    size_t held = count < WATCH_SAMPLES ? count : WATCH_SAMPLES;
    if (held < 2)
        return 0;
    const WatchSample *oldest = &samples[(count - held) % WATCH_SAMPLES];
    const WatchSample *newest = &samples[(count - 1) % WATCH_SAMPLES];
    double seconds = *ret_seconds = (double)(newest->at_us - oldest->at_us) / 1e6;
    if (seconds <= 0 || newest->retained <= oldest->retained)
        return 0;
    return (double)(newest->retained - oldest->retained) / seconds;
}

static LogStatus status_of(const char *text)
{
    static const char *const names[] = {[LOG_RESERVED] = "reserved",
                                        [LOG_EXTENDED] = "extended",
                                        [LOG_UNRESERVED] = "unreserved",
                                        [LOG_LOST] = "lost"};
    for (LogStatus i = LOG_RESERVED; i <= LOG_LOST; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return LOG_UNKNOWN;
}

static bool take_slot(Watch *watch, const PGresult *result, int64_t now_us, Error *err)
{
    const char *slot = watch->postgres->spec->pg_slot;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        return true; /* a slot that is gone ends the stream by itself */
    LogHeadroom *latest = &watch->latest;
    latest->status = status_of(PQgetvalue(result, 0, 1));
    if (latest->status == LOG_LOST)
        return slot_lost(slot, PQgetvalue(result, 0, 4), err);
    long long retained = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    latest->retained_bytes = retained > 0 ? (uint64_t)retained : 0;
    latest->limited = !PQgetisnull(result, 0, 2);
    latest->headroom_bytes = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    watch->samples[watch->sample_count++ % WATCH_SAMPLES] =
        (WatchSample){now_us, latest->retained_bytes};
    latest->growth = watch_growth(watch->samples, watch->sample_count, &latest->over_seconds);
    latest->seconds = !latest->limited              ? INFINITY
                      : latest->headroom_bytes <= 0 ? 0
                      : latest->growth > 0 ? (double)latest->headroom_bytes / latest->growth
                                           : INFINITY;
    watch->end_asked = strtoull(PQgetvalue(result, 0, 3), NULL, 10);
    return true;
}

/* ---------- asking ---------- */
static void ask(Watch *watch, WatchQuestion question, int64_t now_us)
{
    const char *sql = question == WATCH_SLOT ? watch->slot_sql : watch->heartbeat_sql;
    if (question == WATCH_SLOT)
        watch->due_us = now_us + every_us(watch);
    else
        watch->heartbeat_due_us = now_us + watch->postgres->spec->heartbeat_interval_ms * 1000;
    if (!postgres_query_open(watch->postgres, NULL)) {
        watch->due_us = watch->heartbeat_due_us = now_us + AGAIN_US;
        return;
    }
    watch->asked_us = now_us;
    if (PQsendQuery(watch->postgres->query, sql))
        watch->asked = question;
}

static void take_heartbeat(Watch *watch, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK) {
        watch->heartbeats++;
        return;
    }
    log_warn("no heartbeats: the stream goes by the server's keepalives alone",
             LOG_T("slot", watch->postgres->spec->pg_slot),
             LOG_T("error", PQresultErrorMessage(result)));
    free(TAKE(watch->heartbeat_sql));
}

/* Is the server's log ahead of the stream, though nothing has come since the last time? */
static void note_silence(Watch *watch, uint64_t received)
{
    watch->left_behind = received == watch->received && watch->end_asked > received;
    watch->received = received;
}

static bool take(Watch *watch, int64_t now_us, uint64_t received, Error *err)
{
    PGconn *query = watch->postgres->query;
    if (!query || !PQconsumeInput(query)) {
        watch->asked = WATCH_NOTHING;
        return true;
    }
    if (PQisBusy(query)) {
        if (now_us - watch->asked_us > ANSWER_US) { /* the next one gets a new connection */
            connect_close(TAKE(watch->postgres->query));
            watch->asked = WATCH_NOTHING;
        }
        return true;
    }
    WatchQuestion asked = watch->asked;
    bool ok = true;
    watch->asked = WATCH_NOTHING;
    /* None: another query on the connection has taken it. */
    for (PGresult *result; (result = PQgetResult(query)) != NULL; PQclear(result))
        if (ok && asked == WATCH_SLOT)
            ok = take_slot(watch, result, now_us, err);
        else if (asked == WATCH_HEARTBEAT)
            take_heartbeat(watch, result);
    if (asked == WATCH_SLOT)
        note_silence(watch, received);
    return ok;
}

bool watch_step(Watch *watch, int64_t now_us, uint64_t received, Error *err)
{
    if (watch->asked != WATCH_NOTHING)
        return take(watch, now_us, received, err);
    if (now_us >= watch->due_us)
        ask(watch, WATCH_SLOT, now_us);
    else if (watch->heartbeat_sql && now_us >= watch->heartbeat_due_us &&
             (watch->left_behind || watch->postgres->spec->heartbeat_table))
        ask(watch, WATCH_HEARTBEAT, now_us);
    return true;
}
