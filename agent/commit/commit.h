/* What decides that no row is lost or doubled: positions, pieces, conflicts, unknown results,
 * barriers, rebalances, recovery. Read this first, it is the folder's contract.
 *
 * Pure state machines. An event is a function call, what is to be done comes back as an action;
 * when it is done, or has failed, that is the next event. No I/O, no clock (microseconds of any
 * steady clock come in with events), no allocation (arrays are given at init and stay the
 * caller's), no threads: a machine belongs to one thread at a time. tests/simulate drives the same
 * code.
 *
 *   follow.h       one table fed in this process: when to commit, what a commit's answer means
 *   confirm.h      one connector: the record beside the warehouse first, then the source
 *   worker.h       one consumer of a group: stages pieces of its lanes
 *   coordinator.h  the consumer that owns lane 0: commits the pieces of all
 *   group.h        what worker and coordinator say to each other
 *   piece.h        what the pieces are called that workers stage
 *   outcome.h      what a table that was loaded again tells of a commit; shared by both paths
 *
 * Words
 *   lane      a part of a source that is in order by itself: PostgreSQL has one, a topic one per
 *             partition.
 *   value     how far a lane has been read: the next offset, and the source position passed.
 *   claim     what the table says of itself: property "firn.position.<unit>", the position and the
 *             id of the snapshot that made it true.
 *   head      the current snapshot of the branch that is written to. Every commit asserts the head
 *             whose claim it compared (compare and swap), so a commit that is sent twice takes
 *             effect at most once, and one by a process that slept is refused.
 *
 * Rules on the driver
 *   - At a start it reads the slot, then the record, then the tables: each is never ahead of the
 *     next, so that what is read later can't seem to have fallen behind.
 *   - A commit carries an id of its own (the snapshot's). RESEND sends the very same commit; COMMIT
 *     is a new one with a new id, even if its files are the same.
 *   - It deletes files only where an action says that they may go. */
#pragma once

#include <string.h>

#include "agent/record/position.h"

#define TABLE_UUID_BYTES 40

typedef struct LaneValue {
    uint64_t next;      /* offset; 0 where the source has none (PostgreSQL) */
    RowPosition passed; /* rows at or before it are in the table or never will be */
} LaneValue;

static inline bool lane_value_equal(LaneValue a, LaneValue b)
{
    return a.next == b.next && row_position_compare(a.passed, b.passed) == 0;
}

/* Why only a person can help. The name is the condition's reason. */
typedef enum StallReason {
    STALL_NONE,
    STALL_TABLE_DROPPED,
    STALL_ROLLED_BACK,
    STALL_SOURCE_CHANGED,    /* another server or slot; a topic that was made anew */
    STALL_SLOT_AHEAD,        /* the source was told more than the table has */
    STALL_TOPIC_TRUNCATED,   /* what the table needs next is gone */
    STALL_LANE_UNANNOUNCED,  /* a lane was added without the barrier that must begin it */
    STALL_BARRIER_MALFORMED, /* a marker that can't stand where it stands */
} StallReason;
#define STALL_REASONS 8

const char *stall_reason_name(StallReason reason); /* "RolledBack", … */

/* How the catalog (or the store, for the record) answered. */
typedef enum CommitAnswer {
    ANSWER_DONE,
    ANSWER_CONFLICT, /* surely refused: what it asserted doesn't hold */
    ANSWER_UNKNOWN,  /* timeout, 5xx, a lost connection: it may take effect yet */
    ANSWER_FAILED,   /* surely no effect, for another reason than others' commits */
} CommitAnswer;

/* What others did to a table between two of its heads. */
typedef enum Foreign {
    FOREIGN_NOTHING,  /* to its files: expiry, properties, branches and tags */
    FOREIGN_APPENDED, /* only added files */
    FOREIGN_REWROTE,  /* removed or replaced files, or the old head is no ancestor of the new one */
} Foreign;

/* A table as it was just loaded. */
typedef struct TableView {
    bool exists;
    char uuid[TABLE_UUID_BYTES];
    int64_t head;       /* 0: no snapshot */
    int64_t sequence;   /* last-sequence-number: never falls, so it tells an old view */
    bool has_claim;     /* the seven below */
    int64_t snapshot;   /* of the claim */
    bool copying;       /* the claim is of the changes alone: rows of before are still missing, */
    bool outdated;      /* and what there is of them can't be gone on with */
    bool is_ancestor;   /* the claim's snapshot is the head, or stands under it (expired or not) */
    const char *source; /* identity, as Position.source */
    uint32_t lane_count;
    const LaneValue *lanes;
    bool ours_found; /* the commit that LOAD asked for is in the history of the head */
    Foreign foreign; /* since the head that LOAD named; counts only if that isn't the head still */
} TableView;

/* No head is asserted: no product ever does; what tests need to break. */
#define COMMIT_ANY_HEAD INT64_C(-1)

/* Pauses between tries, doubling. Answers and loads that fail are tried again for ever: how long is
 * too long is for status to say. */
#define COMMIT_PAUSE_MIN_US INT64_C(250000)
#define COMMIT_PAUSE_MAX_US INT64_C(30000000)

/* A view older than what is known is taken for a stale read for so long; then it is believed
 * (somebody put an old state of the table back). */
#define COMMIT_STALE_US INT64_C(60000000)
