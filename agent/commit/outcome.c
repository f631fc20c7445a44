/* The order of the questions matters: whether it is the same table, whether the view is new enough
 * to be asked, whether what it claims still holds, and only then whether the commit is in it. */
#include "agent/commit/outcome.h"

#include "agent/commit/mutant.h"

const char *stall_reason_name(StallReason reason)
{
    static const char *const names[STALL_REASONS] = {
        "None",      "TableDropped",   "RolledBack",      "SourceChanged",
        "SlotAhead", "TopicTruncated", "LaneUnannounced", "BarrierMalformed"};
    ASSERT((size_t)reason < STALL_REASONS);
    return names[reason];
}

static bool is_stale(TableKnown *known, const TableView *view, int64_t now_us)
{
    if (view->sequence >= known->sequence || MUTANT(stale_view_believed)) {
        known->stale_since_us = 0;
        return false;
    }
    if (!known->stale_since_us)
        known->stale_since_us = now_us;
    return now_us - known->stale_since_us < COMMIT_STALE_US;
}

Verdict table_judge(TableKnown *known, int64_t commit, const TableView *view, int64_t now_us)
{
    if (!view->exists || (strcmp(view->uuid, known->uuid) != 0 && !MUTANT(another_table_taken)))
        return VERDICT_DROPPED;
    if (is_stale(known, view, now_us))
        return VERDICT_STALE;
    if (view->has_claim && !view->is_ancestor && !known->anew && !MUTANT(rollback_not_seen))
        return VERDICT_ROLLED_BACK;
    if (commit && (view->ours_found || (view->has_claim && view->snapshot == commit)))
        return VERDICT_OURS;
    return view->head == known->head ? VERDICT_UNMOVED : VERDICT_MOVED;
}

void table_know(TableKnown *known, const TableView *view)
{
    memcpy(known->uuid, view->uuid, sizeof known->uuid);
    known->head = view->head;
    known->sequence = view->sequence;
    known->stale_since_us = 0;
}

void pause_start(Pause *pause, int64_t now_us)
{
    pause->us = pause->us ? 2 * pause->us : COMMIT_PAUSE_MIN_US;
    if (pause->us > COMMIT_PAUSE_MAX_US)
        pause->us = COMMIT_PAUSE_MAX_US;
    pause->until_us = now_us + pause->us;
}
