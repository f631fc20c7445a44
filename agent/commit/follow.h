/* One table that is fed in this process: owned by its writer thread.
 *
 *   follow_open ─► CREATE ─► (make it, load it) follow_open
 *              ├─► COPY ─► follow_begin: rows, and pieces of the copy (follow_piece), as they come;
 *              │   the first COMMIT replaces what was there
 *              ├─► STREAM(from): rows, truncates, checkpoints, ticks ─► COMMIT(position)
 *              └─► STALL, LOAD
 *   COMMIT ─► follow_answered ─► NOTHING: done │ LOAD ─► follow_loaded ─► COMMIT again on the new
 *              head │ RESEND │ NOTHING: it had taken effect │ REOPEN │ STALL
 *
 * Until a commit is settled (follow_is_settled) the table takes no row, checkpoint or drain; its
 * thread calls follow_tick for pauses and lets the queue fill. */
#pragma once

#include "agent/commit/outcome.h"

typedef struct FollowOptions {
    const char *source; /* the identity that is read now; outlives the machine */
    int64_t interval_us;
    uint64_t bytes_max; /* pending files as large as this are committed at the next checkpoint */
    bool
        names_positions; /* pending deletes name rows of files (Upsert), which others may rewrite */
    bool resnapshot;     /* a person asked: copy, whatever table and record say */
    bool copy_whole; /* a copy that was not finished begins anew: the table is a log (Append), in
                        which rows of two snapshots can't stand side by side, or no stream will make
                        them agree */
} FollowOptions;

/* What the record beside the warehouse says of a table. */
typedef struct RecordEntry {
    char uuid[TABLE_UUID_BYTES];
    int64_t snapshot;
    int64_t sequence; /* of the table then; 0: not known */
    const char *source;
    RowPosition at; /* the table's claim */
} RecordEntry;

typedef enum FollowKind {
    FOLLOW_NOTHING,
    FOLLOW_CREATE, /* make the table, load it, call follow_open again */
    FOLLOW_COPY,   /* take a snapshot of the source, then follow_begin with its position */
    FOLLOW_STREAM, /* go on from `position`: everything up to it is in the table */
    FOLLOW_COMMIT, /* everything applied, as a new commit that asserts `head`, with `position` */
    FOLLOW_RESEND, /* the commit before, unchanged, asserting `head` as before */
    FOLLOW_LOAD,   /* load the table, for follow_loaded (for follow_open, if there was no STREAM or
                      COPY yet); look for `commit` in its history (0: none); what others did
                      since `head` */
    FOLLOW_REOPEN, /* throw pending rows away, start again at the source from follow_open; files of
                      what was pending may be deleted if files_may_go, and never otherwise */
    FOLLOW_STALL,  /* for `reason`; pending files stay */
} FollowKind;

typedef struct FollowAction {
    FollowKind kind;
    RowPosition position;
    int64_t head;
    int64_t commit;
    StallReason reason;
    bool files_may_go;
} FollowAction;

typedef enum FollowState {
    FOLLOW_OPENING,
    FOLLOW_COPYING, /* waits for the snapshot */
    FOLLOW_STREAMING,
    FOLLOW_COMMITTING, /* a commit was handed out, no answer yet */
    FOLLOW_LOADING,
    FOLLOW_PAUSING, /* LOAD is due at pause.until_us */
    FOLLOW_ENDED,   /* reopen, or stalled */
} FollowState;

typedef struct Follow {
    FollowOptions options;
    FollowState state;
    TableKnown known;
    Pause pause;
    /* the claim as compared last */
    bool has_claim;
    char claim_source[POSITION_SOURCE_BYTES];
    RowPosition claim;
    RowPosition passed; /* rows up to here are in the table: the claim, or the copy's snapshot */
    int64_t snapshot;   /* stalled as RolledBack: the one that should be the head */
    /* the stream */
    RowPosition durable;    /* everything up to here is in the table, or was nothing */
    RowPosition checkpoint; /* the latest one */
    bool pending;           /* applied, not committed */
    bool past_checkpoint;   /* rows behind `checkpoint` were applied */
    int64_t pending_since_us;
    /* the commit */
    bool copies; /* it replaces everything: the first one since follow_begin */
    RowPosition to;
    int64_t commit; /* id; 0: none was sent */
    CommitAnswer answer;
    bool unknown; /* files of what is pending may stand in a commit that may take effect */
} Follow;

void follow_init(Follow *follow, const FollowOptions *options);
/* entry, recorded: what the record says of the table, and of the connector; NULL: nothing. The
 * record was read before the view. */
FollowAction follow_open(Follow *follow, const TableView *view, const RecordEntry *entry,
                         const Position *recorded, int64_t now_us);
/* The snapshot of the copy shows everything up to `at`, and the stream brings everything behind it:
 * the table takes rows from here on. What it holds of before is void, and goes with the first
 * commit. */
void follow_begin(Follow *follow, RowPosition at, int64_t now_us);
/* A piece of the copy, or a word on how far it is, goes with the next commit. Its rows have no
 * position: they do not hold a commit up, and are not counted by one. */
void follow_piece(Follow *follow, int64_t now_us);

/* A row or truncate. True: apply it. False: the table has it (a restart repeats). */
bool follow_row(Follow *follow, RowPosition row, int64_t now_us);
/* Everything up to `at` has been handed to this table. */
void follow_checkpoint(Follow *follow, RowPosition at);
/* Is something due? drain: commit now, if a checkpoint allows it. */
FollowAction follow_tick(Follow *follow, int64_t now_us, uint64_t pending_bytes, bool drain);

/* id: the commit's. sequence: the table's after it, for DONE. */
FollowAction follow_answered(Follow *follow, CommitAnswer answer, int64_t id, int64_t sequence,
                             int64_t now_us);
FollowAction follow_loaded(Follow *follow, const TableView *view, int64_t now_us);
FollowAction follow_load_failed(Follow *follow, int64_t now_us);

static inline bool follow_is_settled(const Follow *follow)
{
    return follow->state == FOLLOW_STREAMING;
}
/* Low watermark: a table with nothing pending counts as being at the checkpoint it received. */
RowPosition follow_low(const Follow *follow);
/* For the record. */
void follow_entry(const Follow *follow, RecordEntry *ret);
