/* The slot: from where the log is kept for us, and the snapshot for the copy.
 *
 * A new slot exports the snapshot of the very point at which its changes begin. A slot that is
 * there already can't: a temporary slot is made beside it, whose snapshot belongs to its own
 * consistent point; the stream then goes on from the old slot's place, and what lies before that
 * point is in the copy already (the pipeline drops it by position). Either snapshot lasts until the
 * next command on the connection that made the slot, or its end, which also drops a temporary slot.
 *
 * https://www.postgresql.org/docs/15/protocol-replication.html */
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/postgres.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

/* A new slot becomes consistent only when the transactions that were open have ended. */
#define CREATE_TIMEOUT_MS 300000
#define VERSION_FAILOVER 170000

/* Can the server's standbys have the slot, too, so that one that is promoted goes on from it? */
static bool may_fail_over(Postgres *postgres, bool *ret, Error *err)
{
    *ret = false;
    if (postgres->version < VERSION_FAILOVER)
        return true;
    AUTO(mem_free)
    char *standby = connect_value(postgres->query, "SELECT pg_catalog.pg_is_in_recovery()", err);
    *ret = standby && standby[0] == 'f';
    return standby != NULL;
}

/* A slot of ours that was made before the server could is told to from now on; where that is
 * refused it goes on as it is. */
static void let_fail_over(Postgres *postgres)
{
    AUTO(mem_free) char *slot = connect_identifier(postgres->spec->pg_slot);
    AUTO(mem_free) char *sql = mem_format("ALTER_REPLICATION_SLOT %s (FAILOVER true)", slot);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->replication, PGRES_COMMAND_OK, sql, NULL);
    if (result)
        log_info("the slot can fail over from now on", LOG_T("slot", postgres->spec->pg_slot));
}

/* Makes a slot on the replication connection; the snapshot's name goes to postgres->snapshot. */
static bool create_slot(Postgres *postgres, const char *slot, bool temporary, bool export,
                        uint64_t *ret_lsn, Error *err)
{
    bool failover = false;
    if (!temporary && !may_fail_over(postgres, &failover, err))
        return false;
    const char *snapshot = failover ? export ? " (SNAPSHOT 'export', FAILOVER true)"
                                             : " (SNAPSHOT 'nothing', FAILOVER true)"
                           : postgres->version >= 150000
                               ? export ? " (SNAPSHOT 'export')" : " (SNAPSHOT 'nothing')"
                           : export ? " EXPORT_SNAPSHOT"
                                    : " NOEXPORT_SNAPSHOT";
    AUTO(mem_free) char *name = connect_identifier(slot);
    AUTO(mem_free)
    char *sql = mem_format("CREATE_REPLICATION_SLOT %s%s LOGICAL pgoutput%s", name,
                           temporary ? " TEMPORARY" : "", snapshot);
    AUTO(result_clear)
    PGresult *result =
        connect_query_within(postgres->replication, PGRES_TUPLES_OK, sql, CREATE_TIMEOUT_MS, err);
    if (!result && err && strcmp(err->code, "Timeout") == 0)
        return error_set(err, ERROR_RETRY, "SlotWaits",
                         "slot %s: the server waits for transactions that were open before; end "
                         "the oldest: SELECT pid, xact_start, query FROM pg_stat_activity WHERE "
                         "xact_start IS NOT NULL ORDER BY xact_start",
                         slot);
    if (!result)
        return error_wrap(err, "slot %s", slot);
    if (!postgres_lsn_parse(PQgetvalue(result, 0, 1), ret_lsn, err))
        return false;
    if (export)
        postgres->snapshot = mem_strdup(PQgetvalue(result, 0, 2));
    return true;
}

const char *slot_reason_sql(int version)
{
    return version >= 170000   ? "coalesce(s.invalidation_reason, '')"
           : version >= 160000 ? "CASE WHEN s.conflicting THEN 'rows_removed' ELSE '' END"
                               : "''";
}

bool slot_lost(const char *slot, const char *reason, Error *err)
{
    static const struct {
        const char *reason, *meaning;
    } meanings[] = {
        {"", "the server removed log that it needs (max_slot_wal_keep_size)"},
        {"wal_removed", "the server removed log that it needs (max_slot_wal_keep_size)"},
        {"rows_removed", "the primary removed rows that it needs (hot_standby_feedback)"},
        {"wal_level_insufficient", "the primary's wal_level was less than logical"},
        {"idle_timeout", "nobody read it for longer than idle_replication_slot_timeout"},
    };
    const char *meaning = reason;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (strcmp(meanings[i].reason, reason) == 0)
            meaning = meanings[i].meaning;
    return error_set(err, ERROR_CONFIG, "SlotLost",
                     "slot %s is lost: %s; changes are missing that nothing brings back. Load the "
                     "tables again with --resnapshot '*.*', and drop the slot first (SELECT "
                     "pg_drop_replication_slot('%s')) where spec.source.postgresql.manage is false",
                     slot, meaning, slot);
}

/* Plugin, wal_status … of a slot that is there. */
static bool check_slot(const Postgres *postgres, const PGresult *result, Error *err)
{
    const char *slot = postgres->spec->pg_slot;
    const char *plugin = PQgetvalue(result, 0, 0), *database = PQgetvalue(result, 0, 1);
    const char *pid = PQgetvalue(result, 0, 2), *wal_status = PQgetvalue(result, 0, 3);
    if (strcmp(plugin, "pgoutput") != 0)
        return error_set(err, ERROR_CONFIG, "SlotForeign",
                         "slot %s has plugin '%s', not pgoutput; name another in "
                         "spec.source.postgresql.slot, or SELECT pg_drop_replication_slot('%s')",
                         slot, plugin, slot);
    if (strcmp(database, postgres->spec->database) != 0)
        return error_set(err, ERROR_CONFIG, "SlotForeign",
                         "slot %s belongs to database %s, not %s; name another in "
                         "spec.source.postgresql.slot",
                         slot, database, postgres->spec->database);
    if (strcmp(wal_status, "lost") == 0)
        return slot_lost(slot, PQgetvalue(result, 0, 4), err);
    if (*pid)
        return error_set(err, ERROR_RETRY, "SlotActive",
                         "slot %s is being read by process %s of the server; stop the other agent, "
                         "or SELECT pg_terminate_backend(%s)",
                         slot, pid, pid);
    return true;
}

static bool make_slot(Postgres *postgres, const CaptureState *state, bool copying,
                      uint64_t *ret_lsn, Error *err)
{
    const ConnectorSpec *spec = postgres->spec;
    if (state->known)
        return error_set(err, ERROR_CONFIG, "SlotMissing",
                         "slot %s is gone, but tables were filled from it: the changes since are "
                         "lost; load the tables again with --resnapshot '*.*'",
                         spec->pg_slot);
    if (!spec->pg_manage)
        return error_set(err, ERROR_CONFIG, "SlotMissing",
                         "there is no slot %s and spec.source.postgresql.manage is false; SELECT "
                         "pg_create_logical_replication_slot('%s', 'pgoutput'), or set manage: "
                         "true",
                         spec->pg_slot, spec->pg_slot);
    if (!create_slot(postgres, spec->pg_slot, false, copying, ret_lsn, err))
        return false;
    CRASH_POINT("slot-created");
    return true;
}

/* A slot of ours that is lost and that no table goes on from is made anew. */
static bool drop_if_useless(Postgres *postgres, const CaptureState *state, const PGresult *result,
                            bool *ret_dropped, Error *err)
{
    *ret_dropped = false;
    if (!postgres->spec->pg_manage || state->known ||
        strcmp(PQgetvalue(result, 0, 3), "lost") != 0 ||
        strcmp(PQgetvalue(result, 0, 1), postgres->spec->database) != 0)
        return true;
    AUTO(mem_free) char *slot = connect_literal(postgres->spec->pg_slot);
    AUTO(mem_free) char *sql = mem_format("SELECT pg_catalog.pg_drop_replication_slot(%s)", slot);
    AUTO(result_clear)
    PGresult *dropped = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    *ret_dropped = dropped != NULL;
    return dropped || error_wrap(err, "dropping slot %s, which is lost", postgres->spec->pg_slot);
}

bool slot_told(Postgres *postgres, RowPosition *ret, Error *err)
{
    AUTO(mem_free) char *literal = connect_literal(postgres->spec->pg_slot);
    AUTO(mem_free)
    char *sql = mem_format("SELECT coalesce(confirmed_flush_lsn, restart_lsn, '0/0') "
                           "FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
                           literal);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    *ret = (RowPosition){0};
    return result && (PQntuples(result) == 0 ||
                      postgres_lsn_parse(PQgetvalue(result, 0, 0), &ret->major, err));
}

bool slot_log_end(Postgres *postgres, uint64_t *ret, Error *err)
{
    AUTO(mem_free)
    char *end = connect_value(postgres->query,
                              "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() "
                              "THEN pg_catalog.pg_last_wal_replay_lsn() "
                              "ELSE pg_catalog.pg_current_wal_flush_lsn() END",
                              err);
    return end && postgres_lsn_parse(end, ret, err);
}

bool slot_unread(Postgres *postgres, Error *err)
{
    AUTO(mem_free) char *literal = connect_literal(postgres->spec->pg_slot);
    AUTO(mem_free)
    char *sql = mem_format("SELECT active_pid FROM pg_catalog.pg_replication_slots "
                           "WHERE slot_name = %s AND active_pid IS NOT NULL",
                           literal);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    return result &&
           (PQntuples(result) == 0 ||
            error_set(err, ERROR_RETRY, "SlotActive",
                      "another process (pid %s of the server) is reading slot %s; stop it",
                      PQgetvalue(result, 0, 0), postgres->spec->pg_slot));
}

bool slot_prepare(Postgres *postgres, const CaptureState *state, bool copying,
                  RowPosition *ret_copy, Error *err)
{
    AUTO(mem_free) char *literal = connect_literal(postgres->spec->pg_slot);
    AUTO(mem_free)
    char *sql = mem_format("SELECT s.plugin, s.database, s.active_pid, s.wal_status, %s, %s "
                           "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s",
                           slot_reason_sql(postgres->version),
                           postgres->version >= VERSION_FAILOVER ? "s.failover" : "true", literal);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return false;
    uint64_t lsn = 0;
    bool dropped = false;
    if (PQntuples(result) && !drop_if_useless(postgres, state, result, &dropped, err))
        return false;
    if (PQntuples(result) == 0 || dropped) {
        if (!make_slot(postgres, state, copying, &lsn, err))
            return false;
    } else if (!check_slot(postgres, result, err)) {
        return false;
    } else if (copying) {
        char name[64];
        snprintf(name, sizeof name, "firn_copy_%d", PQbackendPID(postgres->replication));
        if (!create_slot(postgres, name, true, true, &lsn, err))
            return false;
    }
    if (PQntuples(result) && !dropped && postgres->spec->pg_manage && !copying &&
        PQgetvalue(result, 0, 5)[0] == 'f')
        let_fail_over(postgres);
    *ret_copy = copying ? (RowPosition){.major = lsn} : state->from;
    return true;
}
