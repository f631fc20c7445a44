/* Back to an older snapshot, for a unit whose position is a topic's lanes: the rows go, and the
 * position goes back with them to what that snapshot was committed at, in one change of the table.
 * So the rows behind it come again, each once, as long as the topic has them. */
#include <inttypes.h>
#include <time.h>

#include "agent/table/table_private.h"
#include "common/mem.h"

static bool none_so_old(const Table *table, int64_t at_ms, Error *err)
{
    char at[32];
    struct tm utc;
    time_t seconds = (time_t)(at_ms / 1000);
    if (!gmtime_r(&seconds, &utc) || !strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc))
        at[0] = '\0';
    return error_set(err, ERROR_CONFIG, "SnapshotMissing",
                     "table %s.%s has no snapshot of %s or before (any more): name a later time",
                     table->name.database, table->name.table, at);
}

bool table_find_back(const Table *table, int64_t snapshot, int64_t at_ms, int64_t *ret_snapshot,
                     LanePosition *ret, Error *err)
{
    Error why = {0};
    *ret = (LanePosition){0};
    *ret_snapshot = snapshot ? snapshot : iceberg_snapshot_at(table->iceberg, at_ms);
    if (!snapshot && *ret_snapshot < 0)
        return none_so_old(table, at_ms, err);
    if (iceberg_snapshot_time_ms(table->iceberg, *ret_snapshot) < 0)
        return error_set(err, ERROR_CONFIG, "SnapshotMissing",
                         "table %s.%s has no snapshot %" PRId64 " (any more): name one that it has",
                         table->name.database, table->name.table, *ret_snapshot);
    const char *said = iceberg_said(table->iceberg, *ret_snapshot, table->property);
    if (said && lane_position_parse(said, ret, &why))
        return true;
    return error_set(err, ERROR_CONFIG, "PositionMissing",
                     "snapshot %" PRId64 " of table %s.%s does not say up to where %s had filled "
                     "it: name another one",
                     *ret_snapshot, table->name.database, table->name.table, table->unit);
}

CommitAnswer table_roll_back(Table *table, int64_t snapshot, const char *source,
                             const LaneValue *lanes, uint32_t lane_count, Error *err)
{
    ASSERT(table->lanes && !table->pending.attempt && table->asked_value);
    AUTO(mem_free) char *text = lane_position_format(source, lanes, lane_count);
    AUTO(mem_free) char *claim = mem_format("%s %" PRId64, text, snapshot);
    const char *const properties[] = {table->property, claim, table->asked_property,
                                      table->asked_value};
    table->failed = true; /* its index and figures are of another snapshot */
    switch (iceberg_roll_back(table->iceberg, snapshot, properties, 2, err)) {
    case ICEBERG_TAKEN:
        return ANSWER_DONE;
    case ICEBERG_REFUSED:
        return ANSWER_CONFLICT;
    case ICEBERG_UNKNOWN:
        return ANSWER_UNKNOWN;
    case ICEBERG_FAILED:
        break;
    }
    return ANSWER_FAILED;
}
