/* Records → rows → pieces. The worker (agent/commit) says which record counts, and when a piece is
 * whole; here it is decoded, batched and staged. */
#include <inttypes.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/topic/topic.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define BATCH_ROWS 1024u
#define BATCH_ROWS_LEAST 64u
#define BATCH_VALUES (1u << 20) /* of all lanes: what a batch has room for is taken at once */
#define NEW_KEY_HEADER "__debezium.oldkey" /* on the new key's record */

/* ---------- a lane's piece ---------- */
static Batch *take_batch(Feed *feed, FeedLane *lane)
{
    feed->batched -= lane->batched;
    lane->batched = 0;
    return TAKE(lane->batch);
}

static void lane_drop(Feed *feed, FeedLane *lane)
{
    table_stage_free(TAKE(lane->stage));
    batch_free(take_batch(feed, lane));
}

/* Of many columns, or many lanes, fewer rows. */
static void open_batch(const Feed *feed, FeedLane *lane)
{
    size_t most = BATCH_VALUES / (feed->columns->field_count + 1) / feed->lane_count;
    if (!lane->batch)
        lane->batch = batch_new(feed->columns, 0,
                                most > BATCH_ROWS         ? BATCH_ROWS
                                : most < BATCH_ROWS_LEAST ? BATCH_ROWS_LEAST
                                                          : (uint32_t)most);
}

void feed_lanes_free(Feed *feed)
{
    for (uint32_t i = 0; i < feed->lane_count && feed->lanes; i++)
        lane_drop(feed, &feed->lanes[i]);
    free(TAKE(feed->lanes));
}

/* For rows of the open piece. The table is there: its coordinator has announced it. */
static bool open_table(Feed *feed, Error *err)
{
    if (feed->table)
        return true;
    if (!feed->lake)
        feed->lake = lake_open(feed->spec, err);
    if (!feed->lake)
        return false;
    const TableOptions options = {.spec = feed->spec,
                                  .unit = feed->unit,
                                  .source = feed->columns,
                                  .catalog = feed->lake->catalog,
                                  .warehouse = lake_tables(feed->lake),
                                  .memory_bytes_max = feed->ingest->buffers_max / 4,
                                  .leaves_version = true,
                                  .lanes = true,
                                  .ordering = feed->ordering};
    feed->table = table_open(&options, err);
    if (!feed->table)
        return error_wrap(err, "table %s", feed->name);
    return !table_lacks_columns(feed->table) ||
           error_set(err, ERROR_RETRY, "ColumnsPending",
                     "table %s has not got its new columns yet: who commits makes them",
                     feed->name);
}

/* The fattest gives most of its memory back. */
static bool ease(Feed *feed, Error *err)
{
    size_t all = 0, most = 0;
    FeedLane *fattest = NULL;
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        size_t own = feed->lanes[i].stage ? table_stage_memory(feed->lanes[i].stage) : 0;
        all += own;
        if (own > most) {
            most = own;
            fattest = &feed->lanes[i];
        }
    }
    return all <= feed->ingest->buffers_max || table_stage_ease(fattest->stage, err);
}

static bool put_batch(Feed *feed, uint32_t number, Error *err)
{
    FeedLane *lane = &feed->lanes[number];
    const Piece *open = &feed->worker.lanes[number].open;
    const PieceName it = {number, open->from, open->id};
    char name[PIECE_NAME_BYTES];
    AUTO(batch_free) Batch *batch = take_batch(feed, lane);
    if (!batch || !batch->row_count)
        return true;
    if (!lane->stage && !(lane->stage = table_stage_new(feed->table, piece_name(&it, name), err)))
        return false;
    return table_stage_put(lane->stage, batch, err) && ease(feed, err);
}

static bool stage(Feed *feed, uint32_t number, PieceId piece, Error *err)
{
    FeedLane *lane = &feed->lanes[number];
    if (!put_batch(feed, number, err) || !table_stage_finish(lane->stage, err))
        return false;
    lane_drop(feed, lane);
    CRASH_POINT("ingest-staged");
    worker_staged(&feed->worker, number, piece, true);
    return true;
}

/* ---------- records ---------- */
/* See ingest.h. */
static RowPosition place_of(const Event *event, bool of_new_key)
{
    if (event->kind == EVENT_LANES)
        return feed_place_behind(event->at);
    uint64_t kind = event->kind == EVENT_TRUNCATE ? 0 : of_new_key ? 2 : 1;
    return (RowPosition){event->at.major, event->at.minor * 4 + kind};
}

static bool take_row(Feed *feed, uint32_t number, const EventRecord *record, const Event *event)
{
    FeedLane *lane = &feed->lanes[number];
    PieceId piece;
    bool placed = record->header && !event->copied;
    bool counts = placed ? worker_row(&feed->worker, number, record->offset,
                                      place_of(event, record->of_new_key), &piece)
                         : worker_row_unplaced(&feed->worker, number, record->offset, &piece);
    if (!counts) {
        batch_row_undo(lane->batch);
        return false;
    }
    atomic_fetch_add_explicit(&feed->rows, 1, memory_order_relaxed);
    feed_mark(lane, record->offset, piece.number, record->written_ms);
    return true;
}

static bool take_marker(Feed *feed, uint32_t number, const EventRecord *record, const Event *event,
                        Error *err)
{
    if (!record->header)
        return error_set(err, ERROR_DATA, "TruncateUnordered",
                         "topic %s partition %u offset %" PRIu64
                         ": a TRUNCATE stands in one partition, and says nothing of its order to "
                         "the rows of the others; keep it out of the topic "
                         "(Debezium: skipped.operations=t)",
                         feed->topic, number, record->offset);
    const Barrier barrier = {.kind = event->kind == EVENT_LANES ? BARRIER_LANES_ADDED
                                                                : BARRIER_TRUNCATE,
                             .lanes = event->partitions,
                             .at = place_of(event, false)};
    if (barrier.lanes > feed->lane_count && barrier.lanes <= GROUP_LANES_MAX)
        return error_set(err, ERROR_RETRY, "PartitionsAdded", "topic %s has more partitions now",
                         feed->topic);
    worker_marker(&feed->worker, number, record->offset, &barrier);
    return true;
}

static bool dead_record(Feed *feed, const KafkaHeard *heard, const Error *why, Error *err)
{
    if (!feed_is_dead(feed, why)) {
        *err = *why;
        return false;
    }
    if (!feed_put_letter(feed, heard, why, err))
        return false;
    worker_gap(&feed->worker, heard->partition, heard->offset + 1);
    return true;
}

/* Everything begins again, with the columns that are known now and this record's. */
static bool columns_changed(Feed *feed, const EventRecord *record, Error *err)
{
    return error_set(err, ERROR_RETRY, "ColumnsChanged",
                     "topic %s partition %u offset %" PRIu64
                     ": rows have other columns from here on",
                     feed->topic, record->partition, record->offset);
}

static bool learn_columns(Feed *feed, const KafkaHeard *heard, const EventRecord *record,
                          Error *err)
{
    AUTO(schema_free) Schema *found = NULL;
    Error why = {0};
    if (!event_wanted(feed->reader, record, &found, err))
        return error_wrap(err, "topic %s", feed->topic);
    if (found && feed_keeps_going(feed) && !feed_can_follow(feed, found, &why)) {
        why.kind = ERROR_DATA;
        error_wrap(&why, "topic %s partition %u offset %" PRIu64, feed->topic, record->partition,
                   record->offset);
        return dead_record(feed, heard, &why, err);
    }
    if (found && !ingest_learn(feed->ingest, feed->name, found, err))
        return error_wrap(err, "topic %s partition %u offset %" PRIu64, feed->topic,
                          record->partition, record->offset);
    return columns_changed(feed, record, err);
}

/* Among the dead letters, where there are any; else passed over, and counted. */
static bool tell_unrouted(Feed *feed, const KafkaHeard *heard, Error *err)
{
    Error why;
    (void)error_set(&why, ERROR_DATA, "Unrouted",
                    "topic %s: partition %u offset %" PRIu64 ": no route takes the record",
                    feed->topic, heard->partition, heard->offset);
    if (feed->dead_letter)
        return feed_put_letter(feed, heard, &why, err);
    metric_add(feed->metrics.unrouted, 1);
    if (!feed->has_unrouted)
        log_warn("records that no route takes are passed over", LOG_T("topic", feed->topic),
                 LOG_U("partition", heard->partition), LOG_U("offset", heard->offset));
    feed->has_unrouted = true;
    return true;
}

static bool take_event(Feed *feed, const KafkaHeard *heard, const EventRecord *record,
                       const Event *event, Error *err)
{
    uint32_t number = record->partition;
    switch (event->kind) {
    case EVENT_ROW:
        if (UNLIKELY(event->unrouted) && !tell_unrouted(feed, heard, err))
            return false;
        if (take_row(feed, number, record, event) && batch_is_full(feed->lanes[number].batch))
            return put_batch(feed, number, err);
        return true;
    case EVENT_TRUNCATE:
    case EVENT_LANES:
        return take_marker(feed, number, record, event, err);
    case EVENT_SCHEMA:
        return learn_columns(feed, heard, record, err);
    case EVENT_UNROUTED:
        if (!tell_unrouted(feed, heard, err))
            return false;
        worker_gap(&feed->worker, number, record->offset + 1);
        return true;
    case EVENT_COPIED: /* of the copy's rows each counts by itself: nothing waits for the last */
    case EVENT_NOTHING:
        worker_gap(&feed->worker, number, record->offset + 1);
        return true;
    }
    return false;
}

/* A row whose place among the others of its key can't be told is none that can be read. */
static bool is_ordered(const Feed *feed, const EventRecord *record, Batch *batch, Error *err)
{
    if (LIKELY(!feed->ordering))
        return true;
    const Column *column = &batch->columns[feed->ordering_at];
    uint32_t row = batch->row_count - 1, bytes = 0;
    bool left_out = column_is_unchanged(column, row);
    if (column->offsets)
        (void)column_bytes(column, row, &bytes);
    if (LIKELY(!left_out && bytes <= TABLE_ORDER_BYTES_MAX))
        return true;
    batch_row_undo(batch);
    return left_out
               ? error_set(err, ERROR_DATA, "BadRecord",
                           "partition %u offset %" PRIu64 ": field %s, the orderingColumn, is left "
                           "out by the update",
                           record->partition, record->offset, feed->ordering)
               : error_set(err, ERROR_DATA, "BadRecord",
                           "partition %u offset %" PRIu64 ": field %s, the orderingColumn, has %u "
                           "bytes, and %u is the most",
                           record->partition, record->offset, feed->ordering, bytes,
                           TABLE_ORDER_BYTES_MAX);
}

static bool take_record(Feed *feed, const KafkaHeard *heard, Error *err)
{
    uint32_t number = heard->partition;
    FeedLane *lane = &feed->lanes[number];
    size_t ignored;
    EventRecord record = feed_record(heard);
    record.header = kafka_heard_header(heard, TOPIC_HEADER, &record.header_bytes);
    record.of_new_key =
        record.header && kafka_heard_header(heard, NEW_KEY_HEADER, &ignored) != NULL;
    Event event;
    open_batch(feed, lane);
    Error why = {0};
    if (!event_decode(feed->reader, &record, lane->batch, &event, &why) ||
        (event.kind == EVENT_ROW && !is_ordered(feed, &record, lane->batch, &why))) {
        error_wrap(&why, "topic %s", feed->topic);
        return dead_record(feed, heard, &why, err);
    }
    if (UNLIKELY(event.version > feed->version && feed->version)) {
        if (event.kind == EVENT_ROW)
            batch_row_undo(lane->batch);
        return columns_changed(feed, &record, err);
    }
    return take_event(feed, heard, &record, &event, err);
}

/* Of the dead letters' topic; what is none there somebody else wrote. */
static bool take_letter(Feed *feed, const KafkaHeard *heard, Error *err)
{
    FeedLane *lane = &feed->lanes[heard->partition];
    const EventRecord record = feed_record(heard);
    Event event = {.kind = EVENT_ROW, .at = {heard->offset, heard->partition}};
    open_batch(feed, lane);
    if (!feed_letter_row(heard, lane->batch)) {
        log_warn("a record that is no dead letter is passed over", LOG_T("topic", feed->topic),
                 LOG_U("partition", heard->partition), LOG_U("offset", heard->offset));
        event.kind = EVENT_NOTHING;
    }
    return take_event(feed, heard, &record, &event, err);
}

/* Handed out, and not to be read now: it is read again, from where the worker wants it. */
static void hold(Feed *feed, uint32_t number)
{
    FeedLane *lane = &feed->lanes[number];
    if (!lane->paused)
        kafka_member_pause(feed->member, number);
    lane->paused = true;
}

static bool look_outside(Feed *feed, uint32_t number, Error *err)
{
    uint64_t start, end;
    const WorkerLane *lane = &feed->worker.lanes[number];
    if (!lane->owned || !lane->placed || lane->refused)
        return true;
    if (!feed_topic_stands(feed, true, err) ||
        !kafka_member_bounds(feed->member, number, &start, &end, err))
        return false;
    hold(feed, number);
    worker_sought(&feed->worker, number, kafka_member_source(feed->member), start, end);
    return true;
}

/* Rows of all lanes that are not put yet have a bound, too: the lane with the most puts its own. */
static bool bound_batches(Feed *feed, uint32_t number, Error *err)
{
    FeedLane *lane = &feed->lanes[number];
    size_t now = lane->batch ? lane->batch->bytes : 0;
    feed->batched += now - lane->batched;
    lane->batched = now;
    if (feed->batched <= feed->ingest->buffers_max / 2)
        return true;
    if (!feed_work(feed, err)) /* what is no longer this one's goes first */
        return false;
    uint32_t most = 0;
    for (uint32_t i = 1; i < feed->lane_count; i++)
        if (feed->lanes[i].batched > feed->lanes[most].batched)
            most = i;
    return put_batch(feed, most, err);
}

bool feed_take(Feed *feed, const KafkaHeard *heard, Error *err)
{
    uint32_t number = heard->partition;
    feed->unsure = true;
    if (number >= feed->lane_count)
        return error_set(err, ERROR_RETRY, "PartitionsAdded", "topic %s has more partitions now",
                         feed->topic);
    if (heard->kind == KAFKA_HEARD_OUTSIDE)
        return look_outside(feed, number, err);
    if (feed->lanes[number].paused)
        return true; /* what was fetched before the pause */
    if (!worker_reads(&feed->worker, number)) {
        hold(feed, number);
        return true;
    }
    uint64_t next = feed->worker.lanes[number].at.next;
    if (heard->offset < next)
        return true; /* handed out twice */
    if (heard->kind == KAFKA_HEARD_END) {
        worker_gap(&feed->worker, number, heard->offset);
        return true;
    }
    if (!open_table(feed, err) ||
        !(feed->of_letters ? take_letter(feed, heard, err) : take_record(feed, heard, err)) ||
        !bound_batches(feed, number, err))
        return false;
    return worker_reads(&feed->worker, number) || feed_work(feed, err);
}

/* ---------- what the worker wants ---------- */
static void discard(Feed *feed, uint32_t number)
{
    lane_drop(feed, &feed->lanes[number]);
}

static bool seek(Feed *feed, uint32_t number, Error *err)
{
    FeedLane *lane = &feed->lanes[number];
    uint64_t start, end;
    if (!feed->worker.lanes[number].owned)
        lane->seek_due = false; /* it went to another before it could be sought */
    if (!lane->seek_due)
        return true;
    Error why = {0};
    if (!kafka_member_bounds(feed->member, number, &start, &end, &why)) {
        *err = why;
        return why.kind == ERROR_RETRY;
    }
    bool inside = start <= lane->seek_next && lane->seek_next <= end;
    feed->unsure = feed->unsure || !inside;
    if (!inside && !feed_topic_stands(feed, true, err))
        return false;
    if (inside && !kafka_member_seek(feed->member, number, lane->seek_next))
        return true; /* the group is dealing out: later */
    lane->seek_due = false;
    lane->paused = !inside;
    worker_sought(&feed->worker, number, kafka_member_source(feed->member), start, end);
    return true;
}

/* A lane that was held, and can be read: from where the worker stands. */
static void resume(Feed *feed, uint32_t number)
{
    FeedLane *lane = &feed->lanes[number];
    if (lane->paused && !lane->seek_due && worker_reads(&feed->worker, number) &&
        kafka_member_seek(feed->member, number, feed->worker.lanes[number].at.next))
        lane->paused = false;
}

bool feed_lane_next(void *context, uint32_t partition, uint64_t *ret)
{
    Feed *feed = context;
    if (partition >= feed->lane_count)
        return false;
    FeedLane *lane = &feed->lanes[partition];
    lane->paused = lane->paused || !worker_reads(&feed->worker, partition);
    *ret = feed->worker.lanes[partition].at.next;
    return !lane->paused;
}

bool feed_work(Feed *feed, Error *err)
{
    WorkerAction action;
    while (worker_next(&feed->worker, &action))
        switch (action.kind) {
        case WORKER_SEEK:
            feed->lanes[action.lane].seek_due = true;
            feed->lanes[action.lane].mark_count = 0; /* what is read again is marked again */
            feed->lanes[action.lane].seek_next = action.next;
            break;
        case WORKER_STAGE:
            if (!stage(feed, action.lane, action.piece, err))
                return false;
            break;
        case WORKER_DISCARD:
            discard(feed, action.lane);
            break;
        case WORKER_REPORT:
            if (!feed_topic_stands(feed, true, err) || !feed_letters_settle(feed, err))
                return false;
            feed_report(feed, action.report);
            break;
        }
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        if (!seek(feed, i, err))
            return false;
        resume(feed, i);
    }
    return true;
}
