/* Tables that appear while the source is followed: made, or renamed into what the patterns choose.
 * A look at the catalog now and then; when there is one, and the source as it is now would be taken
 * at a start, the flow drains and another begins, which copies the table. A table that can't be
 * captured does not end what runs: it is said once, and stays out until a start. */
#include <stdio.h>
#include <string.h>

#include "agent/supervise/supervise.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define LOOK_US 30000000

typedef struct Look {
    SupervisedTakes *takes;
    void *context;
    size_t count;
    char first[256];
} Look;

static void found(void *context, const char *name)
{
    Look *look = context;
    if (!look->takes(look->context, name))
        return;
    if (look->count++ == 0)
        snprintf(look->first, sizeof look->first, "%s", name);
}

/* Would a start now go through? */
static bool would_open(const Supervised *supervised, Error *err)
{
    AUTO(capture_close)
    Capture *probe =
        capture_open(supervised->connector, &(CaptureOptions){.stop = &supervised->stop}, err);
    return probe != NULL;
}

bool supervised_look(Supervised *supervised, Capture *capture, SupervisedTakes *takes,
                     void *context, atomic_bool *leaves, int64_t *after_us, Error *ret_err)
{
    int64_t now_us = clock_mono_us();
    Look look = {.takes = takes, .context = context};
    Error err = {0};
    if (*after_us == 0)
        *after_us = now_us + clock_asked_us("FIRN_LOOK_MS", LOOK_US);
    if (now_us < *after_us || atomic_load(&supervised->stop) || atomic_load(leaves))
        return true;
    *after_us = now_us + clock_asked_us("FIRN_LOOK_MS", LOOK_US);
    if (!capture_look(capture, found, &look, &err)) {
        *ret_err = err;
        if (err.kind == ERROR_CONFIG) /* a table is not what it was */
            return false;
        log_info("the source's catalog was not read", LOG_T("reason", err.code),
                 LOG_T("error", err.message));
        return true;
    }
    if (look.count == 0)
        return true;
    if (would_open(supervised, &err)) {
        log_info("tables were added at the source", LOG_U("tables", look.count),
                 LOG_T("first", look.first));
        atomic_store(leaves, true);
        return true;
    }
    *after_us = INT64_MAX;
    log_warn("tables that were added at the source can't be captured, and are left out until the "
             "next start",
             LOG_T("first", look.first), LOG_T("reason", err.code), LOG_T("error", err.message));
    return true;
}
