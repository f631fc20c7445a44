#include "agent/commit/coordinator.h"

#include "agent/commit/mutant.h"

void coordinator_init(Coordinator *coordinator, const CoordinatorOptions *options,
                      CoordinatorLane *lanes, LaneValue *values, uint32_t lanes_max)
{
    ASSERT(lanes_max && lanes_max <= GROUP_LANES_MAX);
    *coordinator = (Coordinator){
        .options = *options, .lanes = lanes, .values = values, .lanes_max = lanes_max};
    coordinator->rest_us = options->interval_us;
    memset(lanes, 0, lanes_max * sizeof *lanes);
}

/* ---------- states ---------- */
static void stall(Coordinator *coordinator, StallReason reason)
{
    coordinator->state = COORDINATOR_STALLED;
    coordinator->reason = reason;
    coordinator->stall = true;
}

static void load(Coordinator *coordinator)
{
    coordinator->state = COORDINATOR_LOADING;
    coordinator->load = true;
    coordinator->ticket++;
}

static void load_later(Coordinator *coordinator, int64_t now_us)
{
    coordinator->state = COORDINATOR_PAUSING;
    pause_start(&coordinator->pause, now_us);
}

static void announce(Coordinator *coordinator, bool asks)
{
    coordinator->serial++;
    coordinator->announce = true;
    coordinator->asks = asks;
}

static void begin_round(Coordinator *coordinator, int64_t now_us)
{
    coordinator->state = COORDINATOR_GATHERING;
    coordinator->round_us = coordinator->begun_us = now_us;
    coordinator->repeat_at_us = now_us + coordinator->options.repeat_us;
    announce(coordinator, true);
}

static void rest(Coordinator *coordinator, int64_t now_us)
{
    coordinator->state = COORDINATOR_RESTING;
    coordinator->round_us += coordinator->rest_us;
    if (coordinator->round_us < now_us)
        coordinator->round_us = now_us;
}

static uint64_t rows_of(const Coordinator *coordinator, bool taken)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        const CoordinatorLane *lane = &coordinator->lanes[i];
        uint32_t count = taken ? lane->taken : lane->count;
        for (uint32_t k = 0; k < count; k++)
            rows += lane->chain[k].rows;
    }
    return rows;
}

/* The rest before the next round, by what this one was worth. */
static void stretch(Coordinator *coordinator, uint64_t rows)
{
    const CoordinatorOptions *options = &coordinator->options;
    if (options->quiet_us <= options->interval_us)
        return;
    int64_t rest_us = coordinator->rest_us;
    if (rows < options->enough_rows)
        rest_us = rest_us * 2 < options->quiet_us ? rest_us * 2 : options->quiet_us;
    else if (rows >= 2 * options->enough_rows)
        rest_us = rest_us / 2 > options->interval_us ? rest_us / 2 : options->interval_us;
    coordinator->rest_us = rest_us;
}

/* Enough is staged: it rests no longer than the interval. */
static void wake(Coordinator *coordinator)
{
    int64_t due_us = coordinator->begun_us + coordinator->options.interval_us;
    if (coordinator->rest_us > coordinator->options.interval_us && coordinator->round_us > due_us &&
        rows_of(coordinator, false) >= coordinator->options.enough_rows)
        coordinator->round_us = due_us;
}

/* Serials begin anew: answers to those of before don't count. */
static void begin_generation(Coordinator *coordinator, uint64_t generation)
{
    coordinator->generation = generation;
    coordinator->serial = 0;
    for (uint32_t i = 0; i < coordinator->lanes_max; i++)
        coordinator->lanes[i].answered = 0;
}

void coordinator_start(Coordinator *coordinator, uint64_t generation, int64_t now_us)
{
    if (coordinator->state != COORDINATOR_IDLE) {
        if (generation <= coordinator->generation)
            return;
        begin_generation(coordinator, generation);
        if (coordinator->state == COORDINATOR_GATHERING)
            begin_round(coordinator, now_us);
        return;
    }
    begin_generation(coordinator, generation);
    coordinator->commit = 0;
    coordinator->doubt_us = 0;
    pause_reset(&coordinator->pause);
    if (MUTANT(takeover_without_load)) {
        begin_round(coordinator, now_us);
        return;
    }
    coordinator->loaded = false;
    load(coordinator);
}

void coordinator_stop(Coordinator *coordinator)
{
    coordinator->state = COORDINATOR_IDLE;
    coordinator->ticket++; /* answers that are under way are nobody's */
    coordinator->load = coordinator->announce = coordinator->send = coordinator->resend = false;
    coordinator->stall = false;
}

/* ---------- chains ---------- */
static LaneValue tail(const CoordinatorLane *lane)
{
    return lane->count ? lane->chain[lane->count - 1].to : lane->at;
}

static void drop_front(CoordinatorLane *lane, uint32_t count)
{
    lane->count -= count;
    lane->taken = 0;
    memmove(lane->chain, lane->chain + count, lane->count * sizeof *lane->chain);
}

/* The lane stands at `value`: what is before it is in the table, what doesn't follow on it is
 * dropped. */
static void place(CoordinatorLane *lane, LaneValue value)
{
    uint32_t gone = 0;
    if (!lane_value_equal(lane->at, value)) {
        while (gone < lane->count && !lane_value_equal(lane->chain[gone].to, value))
            gone++;
        gone = gone < lane->count ? gone + 1 : lane->count;
    }
    if (!lane_value_equal(lane->at, value))
        lane->doubt_us = 0;
    lane->at = value;
    drop_front(lane, gone);
}

static void place_all(Coordinator *coordinator, const TableView *view, const TopicView *topic)
{
    if (view->has_claim)
        coordinator->table_lanes = view->lane_count;
    else if (!coordinator->loaded)
        coordinator->table_lanes =
            topic->lane_count < coordinator->lanes_max ? topic->lane_count : coordinator->lanes_max;
    uint32_t there =
        topic->lane_count < coordinator->lanes_max ? topic->lane_count : coordinator->lanes_max;
    if (topic->unmarked && coordinator->table_lanes < there)
        coordinator->table_lanes = there;
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        LaneValue value = {0};
        if (view->has_claim && i < view->lane_count)
            value = view->lanes[i];
        else if (!view->has_claim && i < coordinator->table_lanes)
            value = coordinator->loaded ? coordinator->lanes[i].at : topic->starts[i];
        place(&coordinator->lanes[i], value);
    }
    coordinator->has_claim = view->has_claim;
}

static bool fits(const Coordinator *coordinator, uint32_t number, const Piece *piece)
{
    const CoordinatorLane *lane = &coordinator->lanes[number];
    if (lane->count == GROUP_CHAIN_MAX || piece->to.next < piece->from.next)
        return false;
    if (piece->barrier.kind &&
        (piece->barrier.lanes <= number || piece->barrier.lanes > coordinator->lanes_max))
        return false;
    /* nothing but the barrier that announces it can begin a lane */
    if (!piece->barrier.kind && number >= coordinator->table_lanes && !MUTANT(lane_overtakes))
        return false;
    if (lane->count && lane->chain[lane->count - 1].barrier.kind)
        return false;
    return lane_value_equal(piece->from, tail(lane)) ||
           (MUTANT(wrong_from_accepted) && piece->to.next > tail(lane).next);
}

/* ---------- committing ---------- */
static void commit(Coordinator *coordinator, const Barrier *barrier)
{
    coordinator->state = COORDINATOR_COMMITTING;
    coordinator->barrier = barrier ? *barrier : (Barrier){0};
    coordinator->commit = 0;
    coordinator->send = true;
    coordinator->ticket++;
}

static bool is_at(const CoordinatorLane *lane, const Barrier *barrier)
{
    return lane->count && lane->chain[0].barrier.kind &&
           row_position_compare(lane->chain[0].barrier.at, barrier->at) == 0;
}

/* The topic has lost a barrier of more lanes there. */
static bool is_lost(const CoordinatorLane *lane, const Barrier *barrier)
{
    return barrier->kind == BARRIER_LANES_ADDED &&
           row_position_compare(lane->at.passed, barrier->at) >= 0;
}

static const Barrier *first_barrier(const Coordinator *coordinator)
{
    const Barrier *first = NULL;
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        const CoordinatorLane *lane = &coordinator->lanes[i];
        const Barrier *barrier = lane->count ? &lane->chain[0].barrier : NULL;
        if (barrier && barrier->kind &&
            (!first || row_position_compare(barrier->at, first->at) < 0))
            first = barrier;
    }
    return first;
}

/* All lanes of the barrier stand right before it. */
static bool take_barrier(Coordinator *coordinator)
{
    const Barrier *barrier = first_barrier(coordinator);
    if (!barrier)
        return false;
    uint32_t lanes = barrier->lanes;
    if (MUTANT(barrier_not_waiting) && lanes > 1)
        lanes--;
    for (uint32_t i = 0; i < lanes; i++) {
        const CoordinatorLane *lane = &coordinator->lanes[i];
        if (MUTANT(lane_overtakes) && i >= coordinator->table_lanes)
            continue;
        if (!is_at(lane, barrier) && !is_lost(lane, barrier))
            return false;
    }
    for (uint32_t i = 0; i < lanes; i++)
        coordinator->lanes[i].taken = is_at(&coordinator->lanes[i], barrier);
    commit(coordinator, barrier);
    return true;
}

static bool take_rows(Coordinator *coordinator, int64_t now_us)
{
    bool rows = false, moved = false, barrier_behind = false;
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        CoordinatorLane *lane = &coordinator->lanes[i];
        uint32_t take = 0;
        while (take < lane->count && !lane->chain[take].barrier.kind)
            rows |= lane->chain[take++].rows > 0;
        moved |= take > 0;
        barrier_behind |= take > 0 && take < lane->count;
        lane->taken = take;
    }
    bool gaps_due = now_us - coordinator->committed_us >= coordinator->options.gap_us &&
                    !MUTANT(gaps_not_committed);
    if (rows || (moved && (barrier_behind || gaps_due))) {
        commit(coordinator, NULL);
        return true;
    }
    for (uint32_t i = 0; i < coordinator->lanes_max; i++)
        coordinator->lanes[i].taken = 0;
    return false;
}

static void decide(Coordinator *coordinator, int64_t now_us)
{
    if (!take_rows(coordinator, now_us) && !take_barrier(coordinator))
        rest(coordinator, now_us);
}

static void settled(Coordinator *coordinator, int64_t now_us)
{
    coordinator->commit = 0;
    coordinator->committed_us = now_us;
    pause_reset(&coordinator->pause);
    announce(coordinator, false);
    if (!take_barrier(coordinator))
        rest(coordinator, now_us);
}

static void took_effect(Coordinator *coordinator)
{
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        CoordinatorLane *lane = &coordinator->lanes[i];
        if (lane->taken)
            place(lane, lane->chain[lane->taken - 1].to);
    }
    if (coordinator->barrier.lanes > coordinator->table_lanes)
        coordinator->table_lanes = coordinator->barrier.lanes;
    coordinator->has_claim = true;
}

void coordinator_answered(Coordinator *coordinator, uint64_t ticket, CommitAnswer answer,
                          int64_t id, int64_t sequence, int64_t now_us)
{
    if (ticket != coordinator->ticket || coordinator->state != COORDINATOR_COMMITTING)
        return;
    ASSERT(id);
    coordinator->commit = id;
    coordinator->answer = answer;
    if (answer == ANSWER_DONE) {
        if (!coordinator->barrier.kind)
            stretch(coordinator, rows_of(coordinator, true));
        coordinator->known.head = id;
        coordinator->known.sequence = sequence;
        took_effect(coordinator);
        settled(coordinator, now_us);
    } else if (answer == ANSWER_CONFLICT && pause_is_first_refusal(&coordinator->pause)) {
        load(coordinator);
    } else {
        load_later(coordinator, now_us);
    }
}

/* ---------- loading ---------- */
static StallReason refuse(const Coordinator *coordinator, const TableView *view, const char *source)
{
    if (!view->has_claim)
        return coordinator->loaded && coordinator->has_claim ? STALL_ROLLED_BACK : STALL_NONE;
    if (strcmp(view->source, source) != 0 && !MUTANT(source_change_ignored))
        return STALL_SOURCE_CHANGED;
    return view->lane_count > coordinator->lanes_max ? STALL_BARRIER_MALFORMED : STALL_NONE;
}

static void opened(Coordinator *coordinator, const TableView *view, const TopicView *topic,
                   int64_t now_us)
{
    StallReason reason = refuse(coordinator, view, topic->source);
    bool lost_claim = view->exists && !view->has_claim && topic->confirmed;
    if (lost_claim && !coordinator->doubt_us)
        coordinator->doubt_us = now_us;
    if (lost_claim && now_us - coordinator->doubt_us < coordinator->options.doubt_us) {
        load_later(coordinator, now_us); /* perhaps an old view */
        return;
    }
    if (!view->exists || (lost_claim && !MUTANT(another_table_taken)))
        reason = STALL_TABLE_DROPPED;
    else if (view->has_claim && !view->is_ancestor && !MUTANT(rollback_not_seen))
        reason = STALL_ROLLED_BACK;
    if (reason) {
        stall(coordinator, reason);
        return;
    }
    ASSERT(strlen(topic->source) < sizeof coordinator->source);
    memcpy(coordinator->source, topic->source, strlen(topic->source) + 1);
    coordinator->known = (TableKnown){0};
    table_know(&coordinator->known, view);
    for (uint32_t i = 0; i < coordinator->lanes_max; i++) {
        coordinator->lanes[i].count = 0;
        coordinator->lanes[i].doubt_us = 0;
    }
    place_all(coordinator, view, topic);
    coordinator->loaded = true;
    coordinator->doubt_us = 0;
    coordinator->committed_us = now_us;
    pause_reset(&coordinator->pause);
    begin_round(coordinator, now_us);
}

/* Whatever became of the commit: the table stands where it says, and what still follows on that
 * goes on. */
static void go_on(Coordinator *coordinator, const TableView *view, const TopicView *topic,
                  Verdict verdict, int64_t now_us)
{
    StallReason reason = refuse(coordinator, view, coordinator->source);
    if (reason) {
        stall(coordinator, reason);
        return;
    }
    bool was_commit = coordinator->commit != 0;
    table_know(&coordinator->known, view);
    coordinator->commit = 0;
    bool blind = MUTANT(group_blind_rebase) ||
                 (MUTANT(unknown_sent_anew) && coordinator->answer == ANSWER_UNKNOWN);
    if (!blind)
        place_all(coordinator, view, topic);
    if (verdict == VERDICT_OURS && !blind)
        settled(coordinator, now_us);
    else if (was_commit)
        decide(coordinator, now_us);
    else
        begin_round(coordinator, now_us);
}

void coordinator_loaded(Coordinator *coordinator, uint64_t ticket, const TableView *view,
                        const TopicView *topic, int64_t now_us)
{
    if (ticket != coordinator->ticket || coordinator->state != COORDINATOR_LOADING)
        return;
    if (!coordinator->loaded) {
        opened(coordinator, view, topic, now_us);
        return;
    }
    Verdict verdict = table_judge(&coordinator->known, coordinator->commit, view, now_us);
    switch (verdict) {
    case VERDICT_DROPPED:
        stall(coordinator, STALL_TABLE_DROPPED);
        return;
    case VERDICT_STALE:
        load_later(coordinator, now_us);
        return;
    case VERDICT_ROLLED_BACK:
        stall(coordinator, STALL_ROLLED_BACK);
        return;
    case VERDICT_UNMOVED:
        if (coordinator->commit && coordinator->answer == ANSWER_UNKNOWN) {
            coordinator->state = COORDINATOR_COMMITTING;
            coordinator->resend = true;
            coordinator->ticket++;
            return;
        }
        break;
    case VERDICT_OURS:
    case VERDICT_MOVED:
        break;
    }
    go_on(coordinator, view, topic, verdict, now_us);
}

void coordinator_load_failed(Coordinator *coordinator, uint64_t ticket, int64_t now_us)
{
    if (ticket == coordinator->ticket && coordinator->state == COORDINATOR_LOADING)
        load_later(coordinator, now_us);
}

/* ---------- rounds ---------- */
static bool all_answered(const Coordinator *coordinator)
{
    for (uint32_t i = 0; i < coordinator->table_lanes; i++)
        if (coordinator->lanes[i].answered != coordinator->serial)
            return false;
    return true;
}

static void judge(Coordinator *coordinator, CoordinatorLane *lane, StallReason refused,
                  int64_t now_us)
{
    if (!refused) {
        lane->doubt_us = 0;
    } else if (!lane->doubt_us) {
        lane->doubt_us = now_us;
        load(coordinator);
    } else if (now_us - lane->doubt_us >= coordinator->options.doubt_us) {
        stall(coordinator, refused);
    }
}

static bool is_any_doubted(const Coordinator *coordinator)
{
    for (uint32_t i = 0; i < coordinator->lanes_max; i++)
        if (coordinator->lanes[i].doubt_us)
            return true;
    return false;
}

void coordinator_reported(Coordinator *coordinator, const Report *report, int64_t now_us)
{
    if (report->lane >= coordinator->lanes_max || report->count > GROUP_CHAIN_MAX)
        return;
    if (!coordinator->loaded || coordinator->state == COORDINATOR_IDLE ||
        coordinator->state == COORDINATOR_STALLED)
        return;
    if (report->generation != coordinator->generation && !MUTANT(generation_ignored))
        return;
    CoordinatorLane *lane = &coordinator->lanes[report->lane];
    for (uint32_t i = 0; i < report->count; i++)
        if (fits(coordinator, report->lane, &report->pieces[i]))
            lane->chain[lane->count++] = report->pieces[i];
    bool rests = coordinator->state == COORDINATOR_RESTING;
    if (rests)
        wake(coordinator);
    if ((coordinator->state != COORDINATOR_GATHERING && !rests) ||
        report->serial != coordinator->serial)
        return;
    lane->answered = report->serial;
    judge(coordinator, lane, report->refused, now_us); /* refused while it rests, too */
    if (coordinator->state == COORDINATOR_GATHERING && all_answered(coordinator))
        decide(coordinator, now_us);
}

void coordinator_tick(Coordinator *coordinator, int64_t now_us)
{
    switch (coordinator->state) {
    case COORDINATOR_PAUSING:
        if (now_us >= coordinator->pause.until_us)
            load(coordinator);
        return;
    case COORDINATOR_RESTING:
        if (now_us < coordinator->round_us)
            return;
        if (is_any_doubted(coordinator))
            load(coordinator); /* a round follows */
        else
            begin_round(coordinator, now_us);
        return;
    case COORDINATOR_GATHERING:
        if (now_us - coordinator->round_us >= coordinator->options.deadline_us &&
            !MUTANT(deadline_ignored)) {
            decide(coordinator, now_us);
        } else if (now_us >= coordinator->repeat_at_us) {
            coordinator->repeat_at_us = now_us + coordinator->options.repeat_us;
            coordinator->announce = coordinator->asks = true;
        }
        return;
    case COORDINATOR_IDLE:
    case COORDINATOR_LOADING:
    case COORDINATOR_COMMITTING:
    case COORDINATOR_STALLED:
        return;
    }
}

/* ---------- actions ---------- */
static void fill_announcement(Coordinator *coordinator, CoordinatorAction *ret)
{
    for (uint32_t i = 0; i < coordinator->table_lanes; i++)
        coordinator->values[i] = coordinator->lanes[i].at;
    ret->kind = COORDINATOR_ANNOUNCE;
    ret->announcement = (Announcement){.generation = coordinator->generation,
                                       .serial = coordinator->serial,
                                       .asks = coordinator->asks,
                                       .source = coordinator->source,
                                       .lane_count = coordinator->table_lanes,
                                       .lanes = coordinator->values};
}

static void fill_commit(Coordinator *coordinator, CoordinatorAction *ret)
{
    ret->kind = coordinator->send ? COORDINATOR_COMMIT : COORDINATOR_RESEND;
    ret->head = MUTANT(zombie_not_fenced) ? COMMIT_ANY_HEAD : coordinator->known.head;
    ret->commit = coordinator->commit;
    ret->barrier = &coordinator->barrier;
    ret->lane_count = coordinator->barrier.lanes > coordinator->table_lanes
                          ? coordinator->barrier.lanes
                          : coordinator->table_lanes;
    coordinator->send = coordinator->resend = false;
}

bool coordinator_next(Coordinator *coordinator, CoordinatorAction *ret)
{
    *ret = (CoordinatorAction){.ticket = coordinator->ticket};
    if (coordinator->stall) {
        coordinator->stall = false;
        ret->kind = COORDINATOR_STALL;
        ret->reason = coordinator->reason;
    } else if (coordinator->announce) {
        coordinator->announce = false;
        fill_announcement(coordinator, ret);
    } else if (coordinator->load) {
        coordinator->load = false;
        ret->kind = COORDINATOR_LOAD;
        ret->head = coordinator->known.head;
        ret->commit = coordinator->commit;
    } else if (coordinator->send || coordinator->resend) {
        fill_commit(coordinator, ret);
    } else {
        return false;
    }
    return true;
}

const Piece *coordinator_taken(const Coordinator *coordinator, uint32_t number, uint32_t *ret_count,
                               LaneValue *ret_to)
{
    ASSERT(number < coordinator->lanes_max);
    const CoordinatorLane *lane = &coordinator->lanes[number];
    *ret_count = lane->taken;
    *ret_to = lane->taken ? lane->chain[lane->taken - 1].to : lane->at;
    return lane->chain;
}
