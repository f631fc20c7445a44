/* A commit in one go, for tests and benches (the agent leaves what comes next to agent/commit). An
 * answer that did not come is looked up, what did not take effect is sent again, three times at
 * most. Of a commit that is still unknown then, every file stays. */
#pragma once

#include <string.h>

#include "agent/table/iceberg/iceberg.h"

static inline bool commit_once(IcebergTable *table, IcebergCommit *commit, int64_t *ret_id,
                               Error *err)
{
    AUTO(iceberg_attempt_free) IcebergAttempt *attempt = iceberg_attempt_new(table, commit, err);
    bool unknown = false, changed = false;
    if (!attempt)
        return false;
    *ret_id = iceberg_attempt_id(attempt);
    for (int sends = 1; sends <= 3 && !changed; sends++) {
        Error why = {0}, ignored;
        IcebergAnswer answer = iceberg_attempt_send(attempt, &why);
        if (answer == ICEBERG_TAKEN)
            return true;
        if (err)
            *err = why;
        unknown = unknown || answer == ICEBERG_UNKNOWN;
        if (why.kind != ERROR_RETRY || strcmp(why.code, "DiskFull") == 0 ||
            !iceberg_table_refresh(table, &changed, &ignored))
            break;
        if (iceberg_history_holds(table, *ret_id)) {
            iceberg_attempt_found(attempt);
            return true;
        }
    }
    if (!unknown)
        iceberg_attempt_undo(attempt);
    return false;
}
