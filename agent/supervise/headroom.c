/* The source's log is watched (law 9): how much of it is kept for this Connector, and how long
 * until the source may let it go, as metrics; and said when it gets short, once for each time it
 * does, and again while it stays so. */
#include <math.h>

#include "agent/supervise/supervise.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define SHORT_SECONDS 3600.0
#define SHORT_PART 0.2     /* of what the source keeps at most */
#define BURST_SECONDS 30.0 /* a rate measured over less says little of an hour */
#define AGAIN_US INT64_C(600000000)
#define EASED_US INT64_C(60000000) /* so long there must be room before that is said */

void headroom_register(Supervised *supervised, const char *label)
{
    supervised->headroom.retained =
        metrics_register(METRIC_GAUGE, "firn_log_retained_bytes",
                         "Log that the source keeps for this Connector", label);
    supervised->headroom.bytes = metrics_register(
        METRIC_GAUGE, "firn_log_headroom_bytes",
        "Log that may still be written before the source may drop what is needed; +Inf: no limit",
        label);
    supervised->headroom.seconds =
        metrics_register(METRIC_GAUGE, "firn_log_headroom_seconds",
                         "Time until then, as the retained log grows now; +Inf: never", label);
    supervised->headroom.status = metrics_register(
        METRIC_GAUGE, "firn_log_status",
        "0 not measured, 1 reserved, 2 extended, 3 unreserved (may go at any time), 4 lost", label);
    supervised->headroom.heartbeats = metrics_register(METRIC_COUNTER, "firn_heartbeats_total",
                                                       "Heartbeats written to the source", label);
}

/* NULL: there is room. */
static const char *what_is_short(const LogHeadroom *log)
{
    if (log->status == LOG_UNRESERVED)
        return "the source may drop log that is needed at its next checkpoint";
    if (!log->limited)
        return NULL;
    double most = (double)log->headroom_bytes + (double)log->retained_bytes;
    if ((double)log->headroom_bytes < SHORT_PART * most)
        return "most of the log that the source keeps at most is in use";
    bool soon = log->seconds < SHORT_SECONDS && log->over_seconds >= BURST_SECONDS;
    return soon ? "the source may drop log that is needed within the hour" : NULL;
}

void supervised_headroom(Supervised *supervised, const CaptureFigures *figures)
{
    const LogHeadroom *log = &figures->headroom;
    metric_set(supervised->headroom.status, log->status);
    metric_set(supervised->headroom.heartbeats,
               (double)(supervised->heartbeats_before + figures->heartbeats));
    if (log->status == LOG_UNKNOWN)
        return;
    metric_set(supervised->headroom.retained, (double)log->retained_bytes);
    metric_set(supervised->headroom.bytes, log->limited ? (double)log->headroom_bytes : INFINITY);
    metric_set(supervised->headroom.seconds, log->seconds);
    const char *what = what_is_short(log);
    int64_t now_us = clock_mono_us();
    if (what)
        supervised->headroom.short_us = now_us;
    bool worse = supervised->headroom.said_status < log->status;
    if (what && (worse || now_us >= supervised->headroom.again_us)) {
        log_warn("LogHeadroom: the source's log gets short", LOG_T("connector", supervised->name),
                 LOG_T("what", what), LOG_U("retained_bytes", log->retained_bytes),
                 LOG_F("headroom_bytes", (double)log->headroom_bytes),
                 LOG_F("growth_bytes_per_second", log->growth), LOG_F("seconds", log->seconds));
        supervised->headroom.again_us = now_us + AGAIN_US;
        supervised->headroom.said_status = log->status;
    } else if (supervised->headroom.said_status &&
               now_us - supervised->headroom.short_us > EASED_US) {
        log_info("LogHeadroom: the source's log has room again",
                 LOG_T("connector", supervised->name));
        supervised->headroom.again_us = 0;
        supervised->headroom.said_status = LOG_UNKNOWN;
    }
}
