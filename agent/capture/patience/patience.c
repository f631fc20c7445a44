#include "agent/capture/patience/patience.h"

#include "common/clock.h"
#include "common/log.h"

/* Draining may still need an answer, but not one that waits for somebody's open transaction. */
#define STOP_US 2000000
#define SLOW_US 10000000 /* a query that takes so long is worth a word */

bool patience_until(const atomic_bool *stop, int64_t *seen_us)
{
    if (!stop || !atomic_load(stop))
        return true;
    int64_t now_us = clock_mono_us();
    if (!*seen_us)
        *seen_us = now_us;
    return now_us - *seen_us < STOP_US;
}

bool patience_waits(const Patience *patience, Unanswered *query, Error *err)
{
    if (!patience_lasts(patience))
        return error_set(err, ERROR_RETRY, "Stopped",
                         "told to stop while the source had not answered '%.80s'", query->sql);
    if (!query->said && clock_mono_us() - query->since_us >= SLOW_US) {
        log_warn("the source does not answer a query; does it wait for a lock that an open "
                 "transaction holds?",
                 LOG_T("query", query->sql), LOG_T("look", query->look));
        query->said = true;
    }
    return true;
}
