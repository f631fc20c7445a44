/* A table's commits: agent/commit says what is to be done, the table does it, and its answer is the
 * next event. Runs in the writer's thread (a copy's in the last copier's).
 *
 * What only takes time (no answer, a catalog that is down) is tried again from here for as long as
 * it lasts, with what is pending kept; everything else ends the flow. */
#include <string.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"

#define REFUSALS_MAX 8 /* in a row, without the table having moved on */
#define REFUSAL_PAUSE_US 50000

bool flow_stalled(const BoundTable *table, StallReason reason, Error *err)
{
    static const char *const texts[STALL_REASONS] = {
        [STALL_TABLE_DROPPED] = "it was dropped, or made anew, after rows of it were confirmed to "
                                "the source; put the old one back",
        [STALL_ROLLED_BACK] = "it was rolled back behind what was confirmed to the source; set its "
                              "head to the newest snapshot again",
        [STALL_SOURCE_CHANGED] = "it was filled from another source than the Connector reads now; "
                                 "point the Connector back",
        [STALL_SLOT_AHEAD] = "the slot was confirmed past it: changes are lost",
    };
    ASSERT(texts[reason]);
    return error_set(err, ERROR_CONFIG, stall_reason_name(reason),
                     "table %s (%s.%s): %s, or load it again with --resnapshot %s", table->name,
                     table->spec->database, table->spec->table_name, texts[reason], table->name);
}

static void committed(Flow *flow, BoundTable *table)
{
    CRASH_POINT("writer-committed");
    atomic_fetch_add(&flow->commits, 1);
    progress_table(table);
}

/* False: *err ends the flow. */
static bool answered(Flow *flow, BoundTable *table, CommitAnswer answer, int64_t id,
                     int64_t sequence, FollowAction *next, Error *why)
{
    if (answer == ANSWER_FAILED && why->kind != ERROR_RETRY) {
        table_abandon(table->table, !table->follow.unknown);
        return error_wrap(why, "table %s", table->name);
    }
    if (answer != ANSWER_DONE)
        log_info("commit did not go through", LOG_T("table", table->name),
                 LOG_T("reason", why->code), LOG_T("error", why->message));
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
        if (!table_send(table->table, &position, &answer, &id, &sequence, err)) {
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
            *action = follow_load_failed(follow, clock_mono_us());
            return true;
        }
        table_abandon(table->table, !follow->unknown);
        *err = why;
        return false;
    }
    *action = follow_loaded(follow, &view, clock_mono_us());
    if (action->kind == FOLLOW_NOTHING && follow_is_settled(follow)) {
        table_found(table->table);
        committed(flow, table);
    }
    return true;
}

bool flow_obey(Flow *flow, BoundTable *table, FollowAction action, Error *err)
{
    for (int refusals = 0;;) {
        switch (action.kind) {
        case FOLLOW_NOTHING:
            return true;
        case FOLLOW_COMMIT:
        case FOLLOW_RESEND:
            if (!send(flow, table, &action, err))
                return false;
            if (table->follow.state == FOLLOW_LOADING) /* refused */
                refusals++;
            break;
        case FOLLOW_LOAD:
            if (refusals > 1)
                clock_sleep_us((int64_t)REFUSAL_PAUSE_US << refusals);
            if (!look(flow, table, &action, err))
                return false;
            if (refusals == REFUSALS_MAX && action.kind == FOLLOW_COMMIT) {
                table_abandon(table->table, !table->follow.unknown);
                return error_wrap(err, "table %s: refused again and again", table->name);
            }
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
