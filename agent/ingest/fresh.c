/* How old the oldest record is that is not in the table, and how many are not. Each piece that a
 * lane has begun is marked with its first row: pieces are committed whole. */
#include <string.h>

#include "agent/ingest/flow.h"
#include "common/clock.h"
#include "common/log.h"

#define SHOW_US INT64_C(200000)

void feed_mark(FeedLane *lane, uint64_t offset, uint64_t piece, int64_t written_ms)
{
    if (lane->mark_count && lane->marks[lane->mark_count - 1].piece == piece)
        return;
    if (lane->mark_count == ARRAY_LEN(lane->marks))
        return; /* the older ones tell more */
    lane->marks[lane->mark_count++] =
        (PieceMark){.offset = offset,
                    .piece = piece,
                    .written_us = written_ms ? written_ms * 1000 : clock_wall_us()};
}

void feed_heard(Feed *feed, const KafkaHeard *heard)
{
    bool record = heard->kind == KAFKA_HEARD_RECORD;
    if ((record || heard->kind == KAFKA_HEARD_END) && heard->partition < feed->lane_count)
        feed->lanes[heard->partition].read_next = heard->offset + record;
}

/* Where no row waits, all that was read is in the table, or was none: the markers of transactions,
 * and what compaction left. */
static uint64_t behind(const Feed *feed, uint32_t number)
{
    const FeedLane *lane = &feed->lanes[number];
    uint64_t end, next = feed->worker.lanes[number].committed.next;
    if (!feed->worker.lanes[number].owned || !kafka_member_end(feed->member, number, &end))
        return 0;
    if (!lane->mark_count && lane->read_next > next)
        next = lane->read_next;
    return end > next ? end - next : 0;
}

/* What the table has passed is in it. */
static int64_t oldest_us(Feed *feed, uint32_t number)
{
    FeedLane *lane = &feed->lanes[number];
    const WorkerLane *worker = &feed->worker.lanes[number];
    uint32_t gone = worker->owned ? 0 : lane->mark_count;
    if (!worker->owned)
        lane->read_next = 0;
    while (gone < lane->mark_count && lane->marks[gone].offset < worker->committed.next)
        gone++;
    lane->mark_count -= gone;
    memmove(lane->marks, lane->marks + gone, lane->mark_count * sizeof *lane->marks);
    return lane->mark_count ? lane->marks[0].written_us : INT64_MAX;
}

static void say_if_late(Feed *feed, int64_t stale_us)
{
    bool late = feed->freshness_ms && stale_us > feed->freshness_ms * 1000;
    if (late == feed->is_late)
        return;
    feed->is_late = late;
    if (late)
        log_warn("the table is staler than sla.freshness", LOG_T("table", feed->name),
                 LOG_I("seconds", stale_us / 1000000), LOG_I("asked_ms", feed->freshness_ms));
    else
        log_info("the table is as fresh as sla.freshness asks", LOG_T("table", feed->name));
}

void feed_tell(Feed *feed, int64_t stale_us)
{
    atomic_store(&feed->stale_us, stale_us);
    metric_set(feed->metrics.freshness, (double)stale_us / 1e6);
    say_if_late(feed, stale_us);
}

void feed_show(Feed *feed)
{
    int64_t now_us = clock_mono_us(), since_us = INT64_MAX;
    uint64_t records = 0;
    if (now_us < feed->show_us)
        return;
    feed->show_us = now_us + SHOW_US;
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        int64_t lane_us = oldest_us(feed, i);
        since_us = lane_us < since_us ? lane_us : since_us;
        records += behind(feed, i);
    }
    int64_t stale_us = since_us == INT64_MAX ? 0 : clock_wall_us() - since_us;
    metric_set(feed->metrics.lag, (double)records);
    feed_tell(feed, stale_us > 0 ? stale_us : 0);
}
