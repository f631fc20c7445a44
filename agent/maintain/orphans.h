/* One table's files that no snapshot names. */
#pragma once

#include <stdatomic.h>

#include "common/error.h"
#include "common/manifest/manifest.h"

typedef struct OrphanTask {
    const LakeTableSpec *spec;
    bool now;     /* whoever did it when */
    bool dry_run; /* prints them, and removes none */
    int64_t every_ms;
    const atomic_bool *stop; /* NULL */
} OrphanTask;

typedef struct OrphanOutcome {
    bool worked;     /* else it was not its turn, or there is no table yet */
    bool more;       /* there were too many for one run */
    int64_t due_ms;  /* wall clock: its next turn, unless it worked; 0: there is no table yet */
    int64_t done_ms; /* when it was done last, by whom ever; 0: never */
    uint64_t files, bytes; /* that were removed, also where it failed */
    uint64_t held;         /* old ones that stayed, for a commit may yet name them */
} OrphanOutcome;

/* *ret is filled in any case. */
MUST_CHECK bool orphans_remove(const OrphanTask *task, OrphanOutcome *ret, Error *err);
