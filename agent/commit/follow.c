/* A table may be committed at checkpoint P as long as no row behind P was applied to it. */
#include "agent/commit/follow.h"

#include "agent/commit/mutant.h"

static FollowAction nothing(void)
{
    return (FollowAction){.kind = FOLLOW_NOTHING};
}

static FollowAction stall(Follow *follow, StallReason reason)
{
    follow->state = FOLLOW_ENDED;
    return (FollowAction){.kind = FOLLOW_STALL, .reason = reason};
}

static FollowAction reopen(Follow *follow)
{
    follow->state = FOLLOW_ENDED;
    return (FollowAction){.kind = FOLLOW_REOPEN, .files_may_go = !follow->unknown};
}

static FollowAction load(Follow *follow)
{
    follow->state = FOLLOW_LOADING;
    return (FollowAction){
        .kind = FOLLOW_LOAD, .head = follow->known.head, .commit = follow->commit};
}

static FollowAction load_later(Follow *follow, int64_t now_us)
{
    follow->state = FOLLOW_PAUSING;
    pause_start(&follow->pause, now_us);
    return nothing();
}

static FollowAction commit(Follow *follow, FollowKind kind)
{
    follow->state = FOLLOW_COMMITTING;
    int64_t head = MUTANT(zombie_not_fenced) ? COMMIT_ANY_HEAD : follow->known.head;
    return (FollowAction){.kind = kind, .position = follow->to, .head = head};
}

/* ---------- opening ---------- */
void follow_init(Follow *follow, const FollowOptions *options)
{
    *follow = (Follow){.options = *options};
}

static void take_claim(Follow *follow, const TableView *view)
{
    follow->has_claim = view->has_claim;
    follow->claim_source[0] = '\0';
    if (!view->has_claim)
        return;
    ASSERT(view->lane_count == 1 && strlen(view->source) < sizeof follow->claim_source);
    memcpy(follow->claim_source, view->source, strlen(view->source) + 1);
    follow->claim = view->lanes[0].passed;
    follow->snapshot = view->snapshot;
}

/* An entry of another source is of a time before the table was loaded from this one. */
static bool is_of(const RecordEntry *entry, const char *source)
{
    return entry && strcmp(entry->source, source) == 0;
}

static StallReason refuse(const Follow *follow, const TableView *view, const RecordEntry *entry)
{
    const char *source = follow->options.source;
    if (entry && (!view->exists || strcmp(view->uuid, entry->uuid) != 0) &&
        !MUTANT(another_table_taken))
        return STALL_TABLE_DROPPED;
    if (view->has_claim && !view->is_ancestor && !MUTANT(rollback_not_seen))
        return STALL_ROLLED_BACK;
    if (view->has_claim && strcmp(view->source, source) != 0 && !MUTANT(source_change_ignored))
        return STALL_SOURCE_CHANGED;
    if (MUTANT(entry_ignored))
        return STALL_NONE;
    /* what the source was told is gone, and it will not send it again */
    if (entry && !view->has_claim)
        return STALL_ROLLED_BACK;
    if (is_of(entry, source) && row_position_compare(view->lanes[0].passed, entry->at) < 0)
        return STALL_ROLLED_BACK;
    return STALL_NONE;
}

FollowAction follow_open(Follow *follow, const TableView *view, const RecordEntry *entry,
                         const Position *recorded, int64_t now_us)
{
    const char *source = follow->options.source;
    if (!follow->options.resnapshot) {
        if (entry && view->exists && strcmp(view->uuid, entry->uuid) == 0) {
            TableKnown *known = &follow->known;
            *known =
                (TableKnown){.sequence = entry->sequence, .stale_since_us = known->stale_since_us};
            memcpy(known->uuid, entry->uuid, sizeof known->uuid);
            if (table_judge(known, 0, view, now_us) == VERDICT_STALE)
                return load_later(follow, now_us);
        }
        StallReason reason = refuse(follow, view, entry);
        if (reason) {
            bool behind = entry && (!view->has_claim ||
                                    row_position_compare(view->lanes[0].passed, entry->at) < 0);
            follow->snapshot = behind ? entry->snapshot : view->snapshot;
            return stall(follow, reason);
        }
    }
    if (!view->exists)
        return (FollowAction){.kind = FOLLOW_CREATE};
    pause_reset(&follow->pause);
    table_know(&follow->known, view);
    take_claim(follow, view);
    bool again = follow->options.resnapshot ||
                 (view->copying && (view->outdated || follow->options.copy_whole));
    follow->known.anew = again;
    if (!view->has_claim || again) {
        follow->state = FOLLOW_COPYING;
        return (FollowAction){.kind = FOLLOW_COPY};
    }
    follow->durable = follow->claim;
    if (is_of(entry, source) && recorded && strcmp(recorded->source, source) == 0 &&
        row_position_compare(recorded->at, follow->durable) > 0)
        follow->durable = recorded->at; /* it was idle */
    follow->checkpoint = follow->durable;
    follow->passed = follow->claim;
    follow->state = FOLLOW_STREAMING;
    return (FollowAction){.kind = FOLLOW_STREAM, .position = follow->durable};
}

void follow_begin(Follow *follow, RowPosition at, int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_COPYING);
    follow->copies = true;
    follow->passed = follow->durable = follow->checkpoint = at;
    follow->state = FOLLOW_STREAMING;
    follow_piece(follow, now_us);
}

void follow_piece(Follow *follow, int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_STREAMING);
    if (!follow->pending)
        follow->pending_since_us = now_us;
    follow->pending = true;
}

/* ---------- the stream ---------- */
bool follow_row(Follow *follow, RowPosition row, int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_STREAMING);
    if (row_position_compare(row, follow->passed) <= 0 && !MUTANT(passed_rows_applied))
        return false;
    if (!follow->pending)
        follow->pending_since_us = now_us;
    follow->pending = true;
    follow->past_checkpoint = true;
    return true;
}

void follow_checkpoint(Follow *follow, RowPosition at)
{
    ASSERT(follow->state == FOLLOW_STREAMING);
    /* a stream that starts for a table behind this one repeats checkpoints */
    if (row_position_compare(at, follow->durable) < 0)
        return;
    follow->checkpoint = at;
    follow->past_checkpoint = false;
    if (!follow->pending && !MUTANT(idle_not_counted))
        follow->durable = at;
}

RowPosition follow_low(const Follow *follow)
{
    return follow->durable;
}

static bool is_due(const Follow *follow, int64_t now_us, uint64_t pending_bytes, bool drain)
{
    if (!follow->pending || (follow->past_checkpoint && !MUTANT(past_checkpoint_committed)))
        return false;
    return drain || now_us - follow->pending_since_us >= follow->options.interval_us ||
           pending_bytes >= follow->options.bytes_max;
}

FollowAction follow_tick(Follow *follow, int64_t now_us, uint64_t pending_bytes, bool drain)
{
    if (follow->state == FOLLOW_PAUSING && now_us >= follow->pause.until_us)
        return load(follow);
    if (follow->state != FOLLOW_STREAMING || !is_due(follow, now_us, pending_bytes, drain))
        return nothing();
    follow->to = follow->checkpoint;
    return commit(follow, FOLLOW_COMMIT);
}

/* ---------- what became of a commit ---------- */
static FollowAction done(Follow *follow)
{
    follow->has_claim = true;
    memcpy(follow->claim_source, follow->options.source, strlen(follow->options.source) + 1);
    follow->claim = follow->passed = follow->durable = follow->to;
    follow->snapshot = follow->commit;
    follow->known.anew = false;
    follow->commit = 0;
    follow->unknown = false;
    follow->pending = follow->copies = false;
    pause_reset(&follow->pause);
    follow->state = FOLLOW_STREAMING;
    return nothing();
}

FollowAction follow_answered(Follow *follow, CommitAnswer answer, int64_t id, int64_t sequence,
                             int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_COMMITTING && id);
    follow->commit = id;
    follow->answer = answer;
    switch (answer) {
    case ANSWER_DONE:
        follow->known.head = id;
        follow->known.sequence = sequence;
        return done(follow);
    case ANSWER_CONFLICT:
        return pause_is_first_refusal(&follow->pause) ? load(follow) : load_later(follow, now_us);
    case ANSWER_UNKNOWN:
        if (MUTANT(unknown_is_failed))
            return reopen(follow);
        follow->unknown = true;
        return load_later(follow, now_us);
    case ANSWER_FAILED:
        return load_later(follow, now_us);
    }
    ASSERT(false);
}

/* Is the claim as it was compared? */
static bool claim_stands(const Follow *follow, const TableView *view)
{
    if (view->has_claim != follow->has_claim || !view->has_claim)
        return view->has_claim == follow->has_claim;
    return strcmp(view->source, follow->claim_source) == 0 &&
           row_position_compare(view->lanes[0].passed, follow->claim) == 0;
}

static bool was_rewritten(const Follow *follow, const TableView *view)
{
    return view->foreign == FOREIGN_REWROTE && follow->options.names_positions &&
           !MUTANT(rewrite_not_seen);
}

/* It took effect; but others may have gone on from it, and then the table is not where we are, or
 * its files are not those that were known. */
static FollowAction took_effect(Follow *follow, const TableView *view)
{
    follow->unknown = true; /* the table's files now */
    if (!view->has_claim || strcmp(view->source, follow->options.source) != 0 ||
        row_position_compare(view->lanes[0].passed, follow->to) != 0 ||
        (view->head != follow->commit && was_rewritten(follow, view)))
        return reopen(follow);
    table_know(&follow->known, view);
    return done(follow);
}

FollowAction follow_loaded(Follow *follow, const TableView *view, int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_LOADING && follow->known.uuid[0]);
    Verdict verdict = table_judge(&follow->known, follow->commit, view, now_us);
    if (MUTANT(blind_rebase) && follow->answer == ANSWER_CONFLICT && view->exists) {
        follow->known.head = view->head;
        return commit(follow, FOLLOW_COMMIT);
    }
    switch (verdict) {
    case VERDICT_DROPPED:
        return stall(follow, STALL_TABLE_DROPPED);
    case VERDICT_STALE:
        return load_later(follow, now_us);
    case VERDICT_ROLLED_BACK:
        return stall(follow, STALL_ROLLED_BACK);
    case VERDICT_OURS:
        return took_effect(follow, view);
    case VERDICT_UNMOVED:
    case VERDICT_MOVED:
        break;
    }
    if (!claim_stands(follow, view))
        return reopen(follow);
    if (verdict == VERDICT_UNMOVED && follow->answer == ANSWER_UNKNOWN)
        return commit(follow, FOLLOW_RESEND);
    if (verdict == VERDICT_MOVED && !follow->copies && was_rewritten(follow, view))
        return reopen(follow);
    table_know(&follow->known, view);
    return commit(follow, FOLLOW_COMMIT);
}

FollowAction follow_load_failed(Follow *follow, int64_t now_us)
{
    ASSERT(follow->state == FOLLOW_LOADING);
    return load_later(follow, now_us);
}

void follow_entry(const Follow *follow, RecordEntry *ret)
{
    *ret = (RecordEntry){0};
    if (!follow->has_claim || follow->copies) /* a claim that the copy makes void */
        return;
    memcpy(ret->uuid, follow->known.uuid, sizeof ret->uuid);
    ret->snapshot = follow->snapshot;
    ret->sequence = follow->known.sequence;
    ret->source = follow->options.source;
    ret->at = follow->claim;
}
