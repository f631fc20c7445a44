/* For how long a thread waits for a source that does not answer: what a query waits for may be a
 * lock of somebody's open transaction. */
#pragma once

#include <stdatomic.h>

#include "common/error.h"

#define PATIENCE_LOOK_MS 100 /* a wait looks up so often */

/* Asked in the thread that waits: is it to wait on? False ends the wait: RETRY "Stopped". */
typedef struct Patience {
    bool (*lasts)(void *context); /* NULL: endless, as is no Patience at all */
    void *context;
} Patience;

static inline bool patience_lasts(const Patience *patience)
{
    return !patience || !patience->lasts || patience->lasts(patience->context);
}

/* What a capture's lasts for: until `stop` (NULL: never) is set, and two seconds longer. *seen_us:
 * when that was first seen; 0: not yet. */
bool patience_until(const atomic_bool *stop, int64_t *seen_us);

/* A query that waits for its answer. */
typedef struct Unanswered {
    const char *sql;
    const char *look; /* at the server: who holds what */
    int64_t since_us;
    bool said;
} Unanswered;

/* Is it to wait on? After ten seconds the log says, once, that it waits. RETRY "Stopped". */
MUST_CHECK bool patience_waits(const Patience *patience, Unanswered *query, Error *err);
