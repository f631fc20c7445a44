/* What a table that was loaded tells of the commit before it: the same on both paths. */
#pragma once

#include "agent/commit/commit.h"

/* What was compared last. */
typedef struct TableKnown {
    char uuid[TABLE_UUID_BYTES];
    int64_t head; /* the next commit asserts it */
    int64_t sequence;
    int64_t stale_since_us; /* 0: the last view was no stale one */
    bool anew;              /* the table is loaded again from scratch: its claim doesn't count */
} TableKnown;

typedef enum Verdict {
    VERDICT_DROPPED,     /* gone, or another table under the name */
    VERDICT_STALE,       /* older than what is known: load again */
    VERDICT_ROLLED_BACK, /* the claim's snapshot is no longer under the head */
    VERDICT_OURS,        /* our commit took effect */
    VERDICT_UNMOVED,     /* it has not, and the head is as compared: it may yet, or be sent again */
    VERDICT_MOVED,       /* it has not, and another head stands there: it can no longer */
} Verdict;

/* commit: the id to look for, 0: none. Our snapshot may have been expired by others: then the claim
 * still names it. Keeps account of stale views in *known, changes nothing else. */
Verdict table_judge(TableKnown *known, int64_t commit, const TableView *view, int64_t now_us);
void table_know(TableKnown *known, const TableView *view);

/* Pauses: when the next try is due; doubles up to the limit. */
typedef struct Pause {
    int64_t us;
    int64_t until_us;
    bool refused; /* a commit was, since the reset */
} Pause;
void pause_start(Pause *pause, int64_t now_us);
/* A commit was refused. The first time the table is loaded at once, then with pauses: writers that
 * meet again and again make room for each other. */
static inline bool pause_is_first_refusal(Pause *pause)
{
    bool first = !pause->refused;
    pause->refused = true;
    return first;
}
static inline void pause_reset(Pause *pause)
{
    *pause = (Pause){0};
}
