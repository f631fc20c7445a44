/* A lane's rows are one chain: pieces that are staged, then the open piece, each from where the one
 * before ended. What the coordinator announces either stands somewhere in this chain (what is
 * before is committed), or the lane starts again from there. */
#include "agent/commit/worker.h"

#include "agent/commit/mutant.h"

static bool is_before(RowPosition a, RowPosition b)
{
    return row_position_compare(a, b) < 0;
}

void worker_init(Worker *worker, uint64_t id, WorkerLane *lanes, uint32_t lanes_max,
                 uint64_t piece_rows_max)
{
    ASSERT(lanes_max <= GROUP_LANES_MAX);
    *worker = (Worker){
        .id = id, .lanes = lanes, .lanes_max = lanes_max, .piece_rows_max = piece_rows_max};
    memset(lanes, 0, lanes_max * sizeof *lanes);
}

static void open_piece(Worker *worker, WorkerLane *lane)
{
    lane->open = (Piece){.id = {worker->id, ++worker->numbers}, .from = lane->at};
}

/* Nothing was said of the open piece to anybody. */
static void drop_open(WorkerLane *lane)
{
    if (lane->open.rows) {
        lane->discard = true;
        lane->discarded = lane->open.id;
    }
    lane->open = (Piece){0};
}

static void restart(Worker *worker, WorkerLane *lane, LaneValue value)
{
    drop_open(lane);
    if (!lane_value_equal(lane->committed, value))
        lane->doubted = STALL_NONE;
    lane->committed = lane->at = value;
    lane->count = 0;
    lane->close = lane->staging = lane->waits = false;
    lane->refused = STALL_NONE;
    lane->seek = true;
    open_piece(worker, lane);
}

void worker_assigned(Worker *worker, const uint32_t *lanes, uint32_t count)
{
    for (uint32_t i = 0; i < worker->lanes_max; i++) {
        WorkerLane *lane = &worker->lanes[i];
        bool owned = false;
        for (uint32_t k = 0; k < count; k++)
            owned |= lanes[k] == i;
        if (lane->owned == owned)
            continue;
        drop_open(lane);
        if (!owned && lane->count && !lane->discard && MUTANT(staged_deleted_at_rebalance)) {
            lane->discard = true;
            lane->discarded = lane->pieces[0].id;
        }
        *lane =
            (WorkerLane){.owned = owned, .discard = lane->discard, .discarded = lane->discarded};
    }
}

/* ---------- what the coordinator announces ---------- */
static void place(Worker *worker, WorkerLane *lane, LaneValue value)
{
    if (lane->placed && !lane->refused && lane_value_equal(lane->committed, value))
        return;
    uint32_t gone = lane->refused ? lane->count : 0;
    while (lane->placed && gone < lane->count && !lane_value_equal(lane->pieces[gone].to, value))
        gone++;
    if (!lane->placed || gone == lane->count) {
        lane->placed = true;
        restart(worker, lane, value);
        return;
    }
    if (lane->pieces[gone].barrier.kind)
        lane->waits = false;
    lane->doubted = STALL_NONE;
    lane->committed = value;
    lane->count -= gone + 1;
    memmove(lane->pieces, lane->pieces + gone + 1, lane->count * sizeof *lane->pieces);
}

/* Does the open piece hold anything? */
static bool has_moved(const WorkerLane *lane)
{
    return !lane_value_equal(lane->open.from, lane->at);
}

void worker_announced(Worker *worker, const Announcement *announcement)
{
    if (announcement->generation < worker->generation ||
        (announcement->generation == worker->generation && announcement->serial < worker->serial))
        return;
    worker->generation = announcement->generation;
    worker->serial = announcement->serial;
    bool grew = announcement->lane_count != worker->table_lanes;
    worker->table_lanes = announcement->lane_count;
    ASSERT(strlen(announcement->source) < sizeof worker->source);
    bool other_topic = strcmp(announcement->source, worker->source) != 0;
    memcpy(worker->source, announcement->source, strlen(announcement->source) + 1);
    for (uint32_t i = 0; i < worker->lanes_max; i++) {
        WorkerLane *lane = &worker->lanes[i];
        if (!lane->owned)
            continue;
        lane->placed &= !other_topic;
        if (grew)
            lane->doubted = STALL_NONE;
        place(worker, lane, i < announcement->lane_count ? announcement->lanes[i] : (LaneValue){0});
        if (!announcement->asks)
            continue;
        lane->report = true;
        lane->close |= !lane->staging && has_moved(lane);
    }
}

/* ---------- reading ---------- */
static void refuse(WorkerLane *lane, StallReason reason)
{
    drop_open(lane);
    lane->refused = lane->doubted = reason;
    lane->report = true;
}

void worker_sought(Worker *worker, uint32_t number, const char *source, uint64_t start,
                   uint64_t end)
{
    ASSERT(number < worker->lanes_max);
    WorkerLane *lane = &worker->lanes[number];
    lane->seeking = false;
    if (!lane->owned || !lane->placed)
        return;
    if (strcmp(source, worker->source) != 0 && !MUTANT(topic_made_anew_ignored))
        refuse(lane, STALL_SOURCE_CHANGED);
    else if ((start > lane->at.next || end < lane->at.next) && !MUTANT(truncation_ignored))
        refuse(lane, STALL_TOPIC_TRUNCATED);
    else if (lane->doubted == STALL_SOURCE_CHANGED || lane->doubted == STALL_TOPIC_TRUNCATED)
        lane->doubted = STALL_NONE;
}

bool worker_reads(const Worker *worker, uint32_t number)
{
    const WorkerLane *lane = &worker->lanes[number];
    return lane->owned && lane->placed && !lane->refused && !lane->seek && !lane->seeking &&
           !lane->close && !lane->staging && !lane->waits && lane->count + 2 <= GROUP_CHAIN_MAX;
}

/* A lane the table doesn't know begins with the barrier that announces it. */
static bool is_announced(const Worker *worker, uint32_t number)
{
    const WorkerLane *lane = &worker->lanes[number];
    return number < worker->table_lanes || lane->at.passed.major || lane->at.passed.minor;
}

/* False: no row can stand here. */
static bool begin_row(Worker *worker, uint32_t number, uint64_t offset)
{
    ASSERT(worker_reads(worker, number));
    WorkerLane *lane = &worker->lanes[number];
    ASSERT(offset >= lane->at.next);
    if (!is_announced(worker, number)) {
        refuse(lane, STALL_LANE_UNANNOUNCED);
        return false;
    }
    lane->at.next = offset + 1;
    return true;
}

static void add_row(const Worker *worker, WorkerLane *lane, PieceId *ret_piece)
{
    lane->open.rows++;
    lane->close = lane->open.rows >= worker->piece_rows_max;
    *ret_piece = lane->open.id;
}

bool worker_row(Worker *worker, uint32_t number, uint64_t offset, RowPosition at,
                PieceId *ret_piece)
{
    WorkerLane *lane = &worker->lanes[number];
    if (!begin_row(worker, number, offset))
        return false;
    if (!is_before(lane->at.passed, at) && !MUTANT(repeats_not_dropped))
        return false;
    lane->at.passed = at;
    add_row(worker, lane, ret_piece);
    return true;
}

bool worker_row_unplaced(Worker *worker, uint32_t number, uint64_t offset, PieceId *ret_piece)
{
    if (!begin_row(worker, number, offset))
        return false;
    add_row(worker, &worker->lanes[number], ret_piece);
    return true;
}

void worker_gap(Worker *worker, uint32_t number, uint64_t next)
{
    ASSERT(worker_reads(worker, number));
    WorkerLane *lane = &worker->lanes[number];
    ASSERT(next >= lane->at.next);
    lane->at.next = next;
}

/* The open piece ends at `to`, and is in the chain. */
static void chain(Worker *worker, WorkerLane *lane, const Barrier *barrier)
{
    ASSERT(lane->count < GROUP_CHAIN_MAX);
    Piece *piece = &lane->pieces[lane->count++];
    *piece = lane->open;
    piece->to = lane->at;
    if (barrier)
        piece->barrier = *barrier;
    open_piece(worker, lane);
}

static void chain_barrier(Worker *worker, WorkerLane *lane)
{
    lane->at.next = lane->behind_barrier;
    lane->at.passed = lane->barrier.at;
    chain(worker, lane, &lane->barrier);
}

void worker_marker(Worker *worker, uint32_t number, uint64_t offset, const Barrier *barrier)
{
    ASSERT(worker_reads(worker, number));
    WorkerLane *lane = &worker->lanes[number];
    ASSERT(offset >= lane->at.next);
    if (!is_before(lane->at.passed, barrier->at) && !MUTANT(barrier_repeated)) {
        lane->at.next = offset + 1;
        return;
    }
    if (MUTANT(lane_overtakes) && number >= worker->table_lanes) {
        lane->at = (LaneValue){offset + 1, barrier->at};
        return;
    }
    if (!barrier->kind || barrier->lanes <= number || barrier->lanes > worker->lanes_max) {
        refuse(lane, STALL_BARRIER_MALFORMED);
        return;
    }
    lane->barrier = *barrier;
    lane->behind_barrier = offset + 1;
    lane->waits = true;
    if (lane->open.rows)
        lane->close = true;
    else
        chain_barrier(worker, lane); /* offsets that moved before it go with it */
    lane->report = true;
}

void worker_staged(Worker *worker, uint32_t number, PieceId piece, bool ok)
{
    ASSERT(number < worker->lanes_max);
    WorkerLane *lane = &worker->lanes[number];
    if (!lane->staging || lane->open.id.number != piece.number)
        return; /* the lane has started again since, or went to another */
    lane->staging = false;
    if (!ok) {
        lane->open.rows = 0; /* what is left of it is an orphan */
        restart(worker, lane, lane->committed);
        return;
    }
    chain(worker, lane, NULL);
    if (lane->waits)
        chain_barrier(worker, lane);
}

/* ---------- actions ---------- */
static void report(Worker *worker, uint32_t number, WorkerAction *ret)
{
    WorkerLane *lane = &worker->lanes[number];
    Report *to = &worker->report;
    to->generation = worker->generation;
    to->serial = worker->serial;
    to->lane = number;
    to->refused = lane->refused ? lane->refused : lane->doubted;
    to->count = lane->refused ? 0 : lane->count;
    memcpy(to->pieces, lane->pieces, to->count * sizeof *to->pieces);
    lane->report = false;
    *ret = (WorkerAction){.kind = WORKER_REPORT, .lane = number, .report = to};
}

static bool ends_in_gap(const WorkerLane *lane)
{
    const Piece *last = lane->count ? &lane->pieces[lane->count - 1] : NULL;
    return last && !last->rows && !last->barrier.kind;
}

static bool close_open(Worker *worker, uint32_t number, WorkerAction *ret)
{
    WorkerLane *lane = &worker->lanes[number];
    lane->close = false;
    if (!lane->open.rows) {
        /* Before the barrier that announces a lane nothing goes by itself. Offsets that moved wait
         * for long, and one piece of them is enough: more would fill the chain. */
        if (has_moved(lane) && is_announced(worker, number) && !ends_in_gap(lane))
            chain(worker, lane, NULL);
        return false;
    }
    lane->staging = true;
    *ret = (WorkerAction){.kind = WORKER_STAGE, .lane = number, .piece = lane->open.id};
    return true;
}

static bool lane_next(Worker *worker, uint32_t number, WorkerAction *ret)
{
    WorkerLane *lane = &worker->lanes[number];
    if (lane->discard) {
        lane->discard = false;
        *ret = (WorkerAction){.kind = WORKER_DISCARD, .lane = number, .piece = lane->discarded};
        return true;
    }
    if (!lane->owned || !lane->placed)
        return false;
    if (lane->seek) {
        lane->seek = false;
        lane->seeking = true;
        *ret = (WorkerAction){.kind = WORKER_SEEK, .lane = number, .next = lane->at.next};
        return true;
    }
    if (lane->close && !lane->staging && close_open(worker, number, ret))
        return true;
    if (!lane->report || lane->staging)
        return false;
    report(worker, number, ret);
    return true;
}

bool worker_next(Worker *worker, WorkerAction *ret)
{
    for (uint32_t i = 0; i < worker->lanes_max; i++)
        if (lane_next(worker, i, ret))
            return true;
    return false;
}
