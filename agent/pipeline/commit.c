/* A table's commits: agent/commit says what is to be done, the table does it, and its answer is the
 * next event. Runs in the writer's thread (a copy's in the last copier's).
 *
 * What only takes time (no answer, a catalog that is down) is tried again from here for as long as
 * it lasts, with what is pending kept; everything else ends the flow. */
#include <inttypes.h>
#include <string.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define SWEEP_AGE_US INT64_C(86400000000) /* no upload of ours takes a day */

bool flow_stalled(const BoundTable *table, StallReason reason, Error *err)
{
    static const char *const texts[STALL_REASONS] = {
        [STALL_TABLE_DROPPED] = "was dropped, or made anew, after rows of it were confirmed to "
                                "the source; put the old one back",
        [STALL_SOURCE_CHANGED] = "was filled from another source than the Connector reads now, or "
                                 "holds what a standby or replica that was promoted never had; "
                                 "point the Connector back",
        [STALL_SLOT_AHEAD] = "stands behind what the slot was confirmed to: changes are lost (to "
                             "other tables, too: --resnapshot '*.*')",
    };
    ASSERT(reason == STALL_ROLLED_BACK || texts[reason]);
    const LakeTableSpec *spec = table->spec;
    AUTO(mem_free)
    char *what = reason == STALL_ROLLED_BACK
                     ? mem_format("was rolled back behind what was confirmed to the source; make "
                                  "snapshot %" PRId64 " its head again",
                                  table->follow.snapshot)
                     : mem_strdup(texts[reason]);
    error_set(err, ERROR_CONFIG, stall_reason_name(reason),
              "%s.%s %s, or load it again with --resnapshot %s", spec->database, spec->table_name,
              what, table->name);
    return error_wrap(err, "table %s", table->name);
}

/* What processes that crashed have begun to upload costs money and is seen by nobody. Once a flow,
 * after the table's first commit: the store is there then. */
static void sweep(BoundTable *table)
{
    Error err = {0};
    table->swept = true;
    if (!table_sweep_unfinished(table->table,
                                clock_wall_us() - clock_asked_us("FIRN_SWEEP_AGE_MS", SWEEP_AGE_US),
                                &err))
        log_info("unfinished uploads were not looked for", LOG_T("table", table->name),
                 LOG_T("reason", err.code), LOG_T("error", err.message));
}

static void committed(Flow *flow, BoundTable *table)
{
    CRASH_POINT("writer-committed");
    table->entered = false;
    atomic_fetch_add(&flow->commits, 1);
    supervised_committed(&flow->pipeline->base, table->name);
    progress_table(table);
    flow_copy_committed(flow, table);
    if (!table->swept)
        sweep(table);
}

/* False: *err ends the flow. */
static bool answered(Flow *flow, BoundTable *table, CommitAnswer answer, int64_t id,
                     int64_t sequence, FollowAction *next, Error *why)
{
    /* refused for what it is, and once more on the table as it is now */
    bool hopeless = table->refused && why->kind == ERROR_CONFIG;
    table->refused = answer == ANSWER_CONFLICT && why->kind == ERROR_CONFIG;
    if ((answer == ANSWER_FAILED && why->kind != ERROR_RETRY) || hopeless) {
        table_abandon(table->table, !table->follow.unknown);
        return error_wrap(why, "table %s", table->name);
    }
    if (answer != ANSWER_DONE)
        log_info("commit did not go through", LOG_T("table", table->name),
                 LOG_T("reason", why->code), LOG_T("error", why->message));
    if (answer == ANSWER_UNKNOWN || answer == ANSWER_FAILED)
        supervised_failed(&flow->pipeline->base, table->name, why);
    *next = follow_answered(&table->follow, answer, id, sequence, clock_mono_us());
    if (answer == ANSWER_DONE)
        committed(flow, table);
    return true;
}

static bool send(Flow *flow, BoundTable *table, FollowAction *action, Error *err)
{
    Follow *follow = &table->follow;
    CommitAnswer answer;
    int64_t id = follow->commit, sequence = 0;
    if (action->kind == FOLLOW_RESEND) {
        answer = table_resend(table->table, &sequence, err);
    } else {
        Position position = position_of(capture_source(flow->capture), action->position);
        AUTO(mem_free) char *anchor = capture_anchor(flow->capture, action->position);
        if (!table_send(table->table, &position, anchor, &answer, &id, &sequence, err)) {
            table_abandon(table->table, !follow->unknown);
            return error_wrap(err, "table %s", table->name);
        }
    }
    return answered(flow, table, answer, id, sequence, action, err);
}

static bool look(Flow *flow, BoundTable *table, FollowAction *action, Error *err)
{
    Follow *follow = &table->follow;
    TableView view;
    Error why = {0};
    if (!table_look(table->table, action->commit, action->head, &view, &why)) {
        if (why.kind == ERROR_RETRY) {
            supervised_failed(&flow->pipeline->base, table->name, &why);
            *action = follow_load_failed(follow, clock_mono_us());
            return true;
        }
        table_abandon(table->table, !follow->unknown);
        *err = why;
        return false;
    }
    flow_adopt(table, &view);
    *action = follow_loaded(follow, &view, clock_mono_us());
    if (action->kind == FOLLOW_NOTHING && follow_is_settled(follow)) {
        table_found(table->table);
        committed(flow, table);
    }
    return true;
}

bool flow_obey(Flow *flow, BoundTable *table, FollowAction action, Error *err)
{
    for (;;) {
        switch (action.kind) {
        case FOLLOW_NOTHING:
            return true;
        case FOLLOW_COMMIT:
        case FOLLOW_RESEND:
            if (!send(flow, table, &action, err))
                return false;
            break;
        case FOLLOW_LOAD:
            if (!look(flow, table, &action, err))
                return false;
            break;
        case FOLLOW_REOPEN:
            table_abandon(table->table, action.files_may_go);
            return error_set(err, ERROR_CONFLICT, "ForeignCommit",
                             "table %s (%s.%s): somebody else changed its files; what was pending "
                             "comes again from the table's position",
                             table->name, table->spec->database, table->spec->table_name);
        case FOLLOW_STALL:
            table_abandon(table->table, false);
            return flow_stalled(table, action.reason, err);
        case FOLLOW_CREATE:
        case FOLLOW_COPY:
        case FOLLOW_STREAM:
            ASSERT(false); /* only follow_open says these */
        }
    }
}
