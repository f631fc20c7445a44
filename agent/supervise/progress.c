/* What a Connector's flow shows of itself: Prometheus metrics, and figures for health and the
 * progress line. Names carry their unit; the label is the connector. */
#include "agent/supervise/supervise.h"
#include "common/clock.h"
#include "common/mem.h"

#define BEHIND_US 10000000 /* transactions older than this when they are read: catching up */

void progress_register(Supervised *supervised)
{
    AUTO(mem_free) char *label = metrics_label("connector", supervised->name);
    supervised->metrics.phase = metrics_register(
        METRIC_GAUGE, "firn_phase",
        "0 Pending, 1 Snapshotting, 2 CatchingUp, 3 Streaming, 4 Retrying, 5 Draining, 6 Stopped, "
        "7 Paused",
        label);
    supervised->metrics.lag =
        metrics_register(METRIC_GAUGE, "firn_lag_bytes",
                         "Log between what is durable downstream and the source's end", label);
    supervised->metrics.freshness =
        metrics_register(METRIC_GAUGE, "firn_freshness_seconds",
                         "Age of the oldest source transaction that is not yet durable", label);
    supervised->metrics.restarts = metrics_register(METRIC_COUNTER, "firn_restarts_total",
                                                    "Flows started again after an error", label);
    supervised->metrics.confirmed =
        metrics_register(METRIC_GAUGE, "firn_confirmed_position",
                         "Position told to the source as durable (an LSN as a number)", label);
    supervised->metrics.received =
        metrics_register(METRIC_GAUGE, "firn_received_position",
                         "Position read from the source (an LSN as a number)", label);
    headroom_register(supervised, label);
    supervised->metrics.keyed_reads = metrics_register(
        METRIC_COUNTER, "firn_keyed_reads_total",
        "Queries to the source for large values that an update left out of the log", label);
}

void marks_put(Marks *marks, const Change *checkpoint)
{
    int64_t now_us = clock_mono_us();
    marks->behind_us = checkpoint->commit_us ? clock_wall_us() - checkpoint->commit_us : 0;
    if (!checkpoint->commit_us || now_us < marks->after_us || marks->count == MARKS_MAX)
        return;
    marks->after_us = now_us + MARK_EVERY_US;
    marks->items[(marks->head + marks->count++) % MARKS_MAX] =
        (Mark){checkpoint->position.at, checkpoint->commit_us};
}

static void forget_durable(Marks *marks, RowPosition durable)
{
    while (marks->count && row_position_compare(marks->items[marks->head].at, durable) <= 0) {
        marks->head = (marks->head + 1) % MARKS_MAX;
        marks->count--;
    }
}

void supervised_show(Supervised *supervised, Marks *marks, const Shown *shown)
{
    const CaptureFigures *capture = shown->capture;
    forget_durable(marks, shown->durable);
    uint64_t durable = shown->durable.major;
    uint64_t lag = capture->source_end > durable ? capture->source_end - durable : 0;
    int64_t freshness_us = marks->count ? clock_wall_us() - marks->items[marks->head].commit_us : 0;
    bool behind = marks->count && marks->behind_us > BEHIND_US;
    pthread_mutex_lock(&supervised->lock);
    int64_t paused_us = supervised->paused_us;
    pthread_mutex_unlock(&supervised->lock);
    /* of what is not read nobody knows how old it is: at most so old */
    int64_t pause_us = paused_us ? clock_mono_us() - paused_us : 0;
    if (pause_us > freshness_us)
        freshness_us = pause_us;
    Phase phase = shown->draining      ? PHASE_DRAINING
                  : shown->copy.tables ? PHASE_SNAPSHOTTING
                  : paused_us          ? PHASE_PAUSED
                  : behind             ? PHASE_CATCHING_UP
                                       : PHASE_STREAMING;
    pthread_mutex_lock(&supervised->lock);
    Figures *to = &supervised->figures;
    to->copy = shown->copy;
    to->lag_bytes = lag;
    to->freshness_us = freshness_us;
    to->rows = supervised->rows_before + shown->rows;
    to->commits = supervised->commits_before + shown->commits;
    pthread_mutex_unlock(&supervised->lock);
    supervised_show_phase(supervised, phase);
    metric_set(supervised->metrics.lag, (double)lag);
    metric_set(supervised->metrics.freshness, (double)freshness_us / 1e6);
    metric_set(supervised->metrics.confirmed, (double)capture->confirmed.major);
    metric_set(supervised->metrics.received, (double)capture->received.major);
    metric_set(supervised->metrics.keyed_reads,
               (double)(supervised->keyed_reads_before + capture->keyed_reads));
    supervised_headroom(supervised, capture);
}
