/* links: firn_commit */
/* Worker and coordinator by hand: chains, rounds, barriers, what becomes of a commit. */
#include "tests/unit/unit.h"

#include "agent/commit/coordinator.h"
#include "agent/commit/worker.h"

#define TOPIC "kafka/c1/t1"
#define LANES 4

static const CoordinatorOptions options = {.interval_us = 1000,
                                           .deadline_us = 500,
                                           .repeat_us = 100,
                                           .gap_us = 100000,
                                           .doubt_us = COMMIT_STALE_US};
static const LaneValue starts[LANES];
static const TopicView topic = {.source = TOPIC, .lane_count = 2, .starts = starts};

static CoordinatorLane lanes[LANES];
static LaneValue values[LANES];

static CoordinatorAction expect(Coordinator *coordinator, CoordinatorKind kind)
{
    CoordinatorAction action;
    assert_true(coordinator_next(coordinator, &action));
    assert_int_equal(action.kind, kind);
    return action;
}

static void expect_nothing(Coordinator *coordinator)
{
    CoordinatorAction action;
    assert_false(coordinator_next(coordinator, &action));
}

static const LaneValue at_5[] = {{5, {5, 0}}, {5, {5, 0}}};

static TableView view_of(const LaneValue *at, uint32_t count)
{
    return (TableView){.exists = true,
                       .uuid = "u1",
                       .head = 7,
                       .sequence = 7,
                       .has_claim = true,
                       .snapshot = 7,
                       .is_ancestor = true,
                       .source = TOPIC,
                       .lane_count = count,
                       .lanes = at};
}

/* Two lanes, both at offset 5; a round has been asked for. */
static void open_at_5(Coordinator *coordinator)
{
    coordinator_init(coordinator, &options, lanes, values, LANES);
    coordinator_start(coordinator, 3, 1);
    CoordinatorAction action = expect(coordinator, COORDINATOR_LOAD);
    expect_nothing(coordinator);
    TableView view = view_of(at_5, 2);
    coordinator_loaded(coordinator, action.ticket, &view, &topic, 10);
    action = expect(coordinator, COORDINATOR_ANNOUNCE);
    assert_true(action.announcement.asks);
    assert_int_equal(action.announcement.lane_count, 2);
    assert_int_equal(action.announcement.lanes[1].next, 5);
}

static Report answer(const Coordinator *coordinator, uint32_t lane)
{
    return (Report){
        .generation = coordinator->generation, .serial = coordinator->serial, .lane = lane};
}

static void add(Report *report, uint64_t from, uint64_t to, BarrierKind barrier, uint32_t of)
{
    report->pieces[report->count++] = (Piece){.id = {1, to},
                                              .rows = barrier ? 0 : to - from,
                                              .from = {from, {from, 0}},
                                              .to = {to, {to, 0}},
                                              .barrier = {barrier, of, {to, 0}}};
}

static void test_chain(void **state)
{
    (void)state;
    Coordinator coordinator;
    open_at_5(&coordinator);
    Report report = answer(&coordinator, 0);
    add(&report, 5, 8, 0, 0);
    add(&report, 10, 12, 0, 0); /* does not follow */
    add(&report, 8, 9, 0, 0);
    coordinator_reported(&coordinator, &report, 20);
    coordinator_reported(&coordinator, &report, 21); /* doubled */
    expect_nothing(&coordinator);
    report = answer(&coordinator, 1);
    add(&report, 4, 8, 0, 0); /* the table is past it */
    coordinator_reported(&coordinator, &report, 22);
    CoordinatorAction action = expect(&coordinator, COORDINATOR_COMMIT);
    assert_int_equal(action.head, 7);
    uint32_t count;
    LaneValue to;
    coordinator_taken(&coordinator, 0, &count, &to);
    assert_int_equal(count, 2);
    assert_int_equal(to.next, 9);
    coordinator_taken(&coordinator, 1, &count, &to);
    assert_int_equal(count, 0);
    assert_int_equal(to.next, 5);
    coordinator_answered(&coordinator, action.ticket, ANSWER_DONE, 42, 8, 30);
    action = expect(&coordinator, COORDINATOR_ANNOUNCE);
    assert_false(action.announcement.asks);
    assert_int_equal(action.announcement.lanes[0].next, 9);
    expect_nothing(&coordinator);
}

static void test_deadline(void **state)
{
    (void)state;
    Coordinator coordinator;
    open_at_5(&coordinator);
    Report report = answer(&coordinator, 0);
    add(&report, 5, 8, 0, 0);
    coordinator_reported(&coordinator, &report, 20);
    coordinator_tick(&coordinator, 110);
    assert_true(expect(&coordinator, COORDINATOR_ANNOUNCE).announcement.asks); /* repeated */
    expect_nothing(&coordinator);
    coordinator_tick(&coordinator, 510);
    expect(&coordinator, COORDINATOR_COMMIT);
}

/* One round: lane 0 brings `rows`. */
static void commit_rows(Coordinator *coordinator, uint64_t *at, uint64_t rows, int64_t now_us)
{
    Report first = answer(coordinator, 0), second = answer(coordinator, 1);
    first.pieces[first.count++] = (Piece){
        .id = {1, *at}, .rows = rows, .from = {*at, {*at, 0}}, .to = {*at + rows, {*at + rows, 0}}};
    *at += rows;
    coordinator_reported(coordinator, &first, now_us);
    coordinator_reported(coordinator, &second, now_us);
    CoordinatorAction action = expect(coordinator, COORDINATOR_COMMIT);
    coordinator_answered(coordinator, action.ticket, ANSWER_DONE, (int64_t)*at, (int64_t)*at,
                         now_us);
    expect(coordinator, COORDINATOR_ANNOUNCE);
}

/* Little comes: it rests longer, up to the limit; much comes: it does not, and wakes early. */
static void test_quiet(void **state)
{
    (void)state;
    static const int64_t rests[] = {2000, 4000, 5000, 5000};
    Coordinator coordinator;
    uint64_t at = 5;
    open_at_5(&coordinator);
    coordinator.options.quiet_us = 5000;
    coordinator.options.enough_rows = 100;
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        int64_t begun_us = coordinator.begun_us;
        commit_rows(&coordinator, &at, 3, begun_us);
        coordinator_tick(&coordinator, begun_us + rests[i] - 1);
        expect_nothing(&coordinator);
        coordinator_tick(&coordinator, begun_us + rests[i]);
        assert_true(expect(&coordinator, COORDINATOR_ANNOUNCE).announcement.asks);
    }
    commit_rows(&coordinator, &at, 200, coordinator.begun_us);
    assert_int_equal(coordinator.rest_us, 2500);
    int64_t begun_us = coordinator.begun_us;
    Report full = answer(&coordinator, 0);
    full.pieces[full.count++] =
        (Piece){.id = {1, at}, .rows = 100, .from = {at, {at, 0}}, .to = {at + 100, {at + 100, 0}}};
    coordinator_reported(&coordinator, &full, begun_us + 10);
    coordinator_tick(&coordinator, begun_us + 999);
    expect_nothing(&coordinator);
    coordinator_tick(&coordinator, begun_us + 1000);
    assert_true(expect(&coordinator, COORDINATOR_ANNOUNCE).announcement.asks);
}

static void test_other_generation(void **state)
{
    (void)state;
    Coordinator coordinator;
    open_at_5(&coordinator);
    for (uint32_t lane = 0; lane < 2; lane++) {
        Report report = answer(&coordinator, lane);
        report.generation = 2;
        add(&report, 5, 8, 0, 0);
        coordinator_reported(&coordinator, &report, 20);
    }
    expect_nothing(&coordinator);
}

/* All lanes at the marker, in one snapshot; not before. */
static void test_barrier(void **state)
{
    (void)state;
    Coordinator coordinator;
    open_at_5(&coordinator);
    Report report = answer(&coordinator, 0);
    add(&report, 5, 8, BARRIER_TRUNCATE, 2);
    coordinator_reported(&coordinator, &report, 20);
    report = answer(&coordinator, 1);
    add(&report, 5, 7, 0, 0);
    coordinator_reported(&coordinator, &report, 20);
    CoordinatorAction action = expect(&coordinator, COORDINATOR_COMMIT);
    assert_int_equal(action.barrier->kind, BARRIER_NONE);
    report = answer(&coordinator, 1);
    report.pieces[report.count++] =
        (Piece){.from = {7, {7, 0}}, .to = {8, {8, 0}}, .barrier = {BARRIER_TRUNCATE, 2, {8, 0}}};
    coordinator_reported(&coordinator, &report, 25); /* while the commit is out */
    expect_nothing(&coordinator);
    coordinator_answered(&coordinator, action.ticket, ANSWER_DONE, 42, 8, 30);
    expect(&coordinator, COORDINATOR_ANNOUNCE);
    action = expect(&coordinator, COORDINATOR_COMMIT);
    assert_int_equal(action.barrier->kind, BARRIER_TRUNCATE);
    assert_int_equal(action.head, 42);
    uint32_t count;
    LaneValue to;
    for (uint32_t lane = 0; lane < 2; lane++) {
        coordinator_taken(&coordinator, lane, &count, &to);
        assert_int_equal(count, 1);
        assert_int_equal(to.next, 8);
    }
}

/* Lane 0 was moved by somebody else, lane 1 was not: only lane 1 goes on. */
static void test_conflict(void **state)
{
    (void)state;
    Coordinator coordinator;
    open_at_5(&coordinator);
    for (uint32_t lane = 0; lane < 2; lane++) {
        Report report = answer(&coordinator, lane);
        add(&report, 5, 8, 0, 0);
        coordinator_reported(&coordinator, &report, 20);
    }
    CoordinatorAction action = expect(&coordinator, COORDINATOR_COMMIT);
    coordinator_answered(&coordinator, action.ticket + 1, ANSWER_DONE, 41, 8, 25); /* nobody's */
    expect_nothing(&coordinator);
    coordinator_answered(&coordinator, action.ticket, ANSWER_CONFLICT, 42, 0, 30);
    action = expect(&coordinator, COORDINATOR_LOAD);
    assert_int_equal(action.commit, 42);
    const LaneValue now[] = {{6, {6, 0}}, {5, {5, 0}}};
    TableView view = view_of(now, 2);
    view.head = view.snapshot = 50;
    coordinator_loaded(&coordinator, action.ticket, &view, &topic, 40);
    action = expect(&coordinator, COORDINATOR_COMMIT);
    assert_int_equal(action.head, 50);
    uint32_t count;
    LaneValue to;
    coordinator_taken(&coordinator, 0, &count, &to);
    assert_int_equal(count, 0);
    assert_int_equal(to.next, 6);
    coordinator_taken(&coordinator, 1, &count, &to);
    assert_int_equal(count, 1);
}

typedef struct Outcome {
    const char *what;
    bool ours, claim_is_ours, moved, rolled_back, other_table;
    CoordinatorKind kind;
    StallReason reason;
} Outcome;

static const Outcome outcomes[] = {
    {"still out", false, false, false, false, false, COORDINATOR_RESEND, 0},
    {"in the history", true, false, true, false, false, COORDINATOR_ANNOUNCE, 0},
    {"expired, but claimed", false, true, true, false, false, COORDINATOR_ANNOUNCE, 0},
    {"another head", false, false, true, false, false, COORDINATOR_COMMIT, 0},
    {"rolled back", false, false, true, true, false, COORDINATOR_STALL, STALL_ROLLED_BACK},
    {"another table", false, false, true, false, true, COORDINATOR_STALL, STALL_TABLE_DROPPED},
};

static void test_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        const Outcome *at = &outcomes[i];
        print_message("%s\n", at->what);
        Coordinator coordinator;
        open_at_5(&coordinator);
        for (uint32_t lane = 0; lane < 2; lane++) {
            Report report = answer(&coordinator, lane);
            add(&report, 5, 8, 0, 0);
            coordinator_reported(&coordinator, &report, 20);
        }
        CoordinatorAction action = expect(&coordinator, COORDINATOR_COMMIT);
        coordinator_answered(&coordinator, action.ticket, ANSWER_UNKNOWN, 42, 0, 30);
        expect_nothing(&coordinator);
        coordinator_tick(&coordinator, 30 + COMMIT_PAUSE_MIN_US);
        action = expect(&coordinator, COORDINATOR_LOAD);
        const LaneValue at_8[] = {{8, {8, 0}}, {8, {8, 0}}};
        TableView view = view_of(at->ours || at->claim_is_ours ? at_8 : at_5, 2);
        view.ours_found = at->ours;
        view.head = at->moved ? 50 : 7;
        view.snapshot = at->ours || at->claim_is_ours ? 42 : 7;
        view.is_ancestor = !at->rolled_back;
        view.uuid[1] = at->other_table ? '2' : '1';
        coordinator_loaded(&coordinator, action.ticket, &view, &topic, 40 + COMMIT_PAUSE_MIN_US);
        action = expect(&coordinator, at->kind);
        assert_int_equal(action.reason, at->reason);
        if (at->kind == COORDINATOR_RESEND)
            assert_int_equal(action.commit, 42);
        if (at->kind == COORDINATOR_ANNOUNCE)
            assert_int_equal(action.announcement.lanes[1].next, 8);
    }
}

/* ---------- worker ---------- */
static WorkerLane worker_lanes[LANES];

static WorkerAction next(Worker *worker, WorkerKind kind)
{
    WorkerAction action;
    assert_true(worker_next(worker, &action));
    assert_int_equal(action.kind, kind);
    return action;
}

static void announce(Worker *worker, uint64_t serial, bool asks, const LaneValue *at,
                     uint32_t count)
{
    const Announcement announcement = {.generation = 3,
                                       .serial = serial,
                                       .asks = asks,
                                       .source = TOPIC,
                                       .lane_count = count,
                                       .lanes = at};
    worker_announced(worker, &announcement);
}

static void test_worker(void **state)
{
    (void)state;
    Worker worker;
    worker_init(&worker, 9, worker_lanes, LANES, 100);
    worker_assigned(&worker, (const uint32_t[]){0, 2}, 2);
    assert_false(worker_reads(&worker, 0));
    announce(&worker, 1, false, at_5, 2);
    WorkerAction action = next(&worker, WORKER_SEEK);
    assert_int_equal(action.next, 5);
    worker_sought(&worker, 0, TOPIC, 0, 50);
    assert_int_equal(next(&worker, WORKER_SEEK).lane, 2);
    worker_sought(&worker, 2, TOPIC, 0, 50);
    assert_false(worker_next(&worker, &action));

    PieceId piece;
    assert_false(worker_row(&worker, 0, 5, (RowPosition){4, 0}, &piece)); /* repeated */
    assert_true(worker_row(&worker, 0, 6, (RowPosition){6, 0}, &piece));
    /* a row of no position counts wherever it stands, and passes none */
    assert_true(worker_row_unplaced(&worker, 0, 7, &piece));
    assert_false(worker_row(&worker, 0, 8, (RowPosition){6, 0}, &piece));
    const Barrier truncate = {BARRIER_TRUNCATE, 2, {8, 0}};
    worker_marker(&worker, 0, 9, &truncate);
    assert_false(worker_reads(&worker, 0));
    action = next(&worker, WORKER_STAGE);
    worker_staged(&worker, 0, action.piece, true);
    const Report *report = next(&worker, WORKER_REPORT).report;
    assert_int_equal(report->count, 2);
    assert_int_equal(report->pieces[0].rows, 2);
    assert_int_equal(report->pieces[0].to.next, 9);
    assert_int_equal(report->pieces[0].to.passed.major, 6);
    assert_int_equal(report->pieces[1].from.next, 9);
    assert_int_equal(report->pieces[1].to.next, 10);
    assert_int_equal(report->pieces[1].barrier.kind, BARRIER_TRUNCATE);

    /* a lane that the table does not know begins with the barrier that announces it */
    assert_false(worker_row(&worker, 2, 0, (RowPosition){9, 0}, &piece));
    report = next(&worker, WORKER_REPORT).report;
    assert_int_equal(report->refused, STALL_LANE_UNANNOUNCED);

    /* committed up to the barrier, then past it */
    const LaneValue at_9[] = {{9, {6, 0}}, {5, {5, 0}}};
    announce(&worker, 2, false, at_9, 2);
    assert_false(worker_reads(&worker, 0));
    const LaneValue past[] = {{10, {8, 0}}, {10, {8, 0}}};
    announce(&worker, 3, false, past, 2);
    assert_true(worker_reads(&worker, 0));
    worker_marker(&worker, 0, 10, &truncate); /* repeated: skipped */
    assert_true(worker_reads(&worker, 0));
    announce(&worker, 2, false, at_9, 2); /* late */
    assert_true(worker_reads(&worker, 0));

    /* the table is elsewhere: the lane starts again, what was open may go */
    assert_true(worker_row(&worker, 0, 11, (RowPosition){9, 0}, &piece));
    const LaneValue elsewhere[] = {{11, {8, 5}}, {10, {8, 0}}};
    announce(&worker, 4, false, elsewhere, 2);
    action = next(&worker, WORKER_DISCARD);
    assert_int_equal(action.piece.number, piece.number);
    assert_int_equal(next(&worker, WORKER_SEEK).next, 11);
    worker_sought(&worker, 0, TOPIC, 12, 50);
    while (worker_next(&worker, &action) && action.kind != WORKER_REPORT)
        ;
    assert_int_equal(action.report->refused, STALL_TOPIC_TRUNCATED);
}

/* More lanes: all wait for the marker, and pass it once; whoever sends it twice says the same. */
static void test_lanes_added(void **state)
{
    (void)state;
    Worker worker;
    WorkerLane of[LANES];
    WorkerAction action;
    worker_init(&worker, 1, of, LANES, 100);
    worker_assigned(&worker, (const uint32_t[]){0, 2}, 2);
    announce(&worker, 1, false, at_5, 2);
    for (int i = 0; i < 2; i++)
        worker_sought(&worker, next(&worker, WORKER_SEEK).lane, TOPIC, 0, 50);
    const Barrier grown = {BARRIER_LANES_ADDED, 3, {9, 3}};
    worker_marker(&worker, 0, 5, &grown);
    worker_marker(&worker, 2, 0, &grown);
    assert_false(worker_reads(&worker, 0));
    assert_false(worker_reads(&worker, 2));
    const Report *report = next(&worker, WORKER_REPORT).report;
    assert_int_equal(report->lane, 0);
    assert_int_equal(report->pieces[0].to.next, 6);
    assert_int_equal(report->pieces[0].to.passed.major, 9);
    report = next(&worker, WORKER_REPORT).report;
    assert_int_equal(report->pieces[0].to.next, 1);
    assert_int_equal(report->pieces[0].to.passed.major, 9);
    const LaneValue three[] = {{6, {9, 3}}, {9, {9, 3}}, {1, {9, 3}}};
    announce(&worker, 2, false, three, 3);
    assert_true(worker_reads(&worker, 0));
    worker_marker(&worker, 0, 6, &grown);
    assert_true(worker_reads(&worker, 0));
    PieceId piece;
    assert_true(worker_row(&worker, 0, 7, (RowPosition){10, 0}, &piece));
    assert_true(worker_row(&worker, 2, 1, (RowPosition){11, 0}, &piece));
    assert_false(worker_next(&worker, &action));
}

/* Offsets that move without rows, round after round, don't fill the chain: the lane is read on. */
static void test_gaps(void **state)
{
    (void)state;
    Worker worker;
    WorkerLane of[LANES];
    WorkerAction action;
    worker_init(&worker, 1, of, LANES, 100);
    worker_assigned(&worker, (const uint32_t[]){0}, 1);
    announce(&worker, 1, false, at_5, 2);
    worker_sought(&worker, next(&worker, WORKER_SEEK).lane, TOPIC, 0, 500);
    for (uint64_t round = 0; round < 3 * GROUP_CHAIN_MAX; round++) {
        assert_true(worker_reads(&worker, 0));
        worker_gap(&worker, 0, 10 + round);
        announce(&worker, 2 + round, true, at_5, 2);
        assert_int_equal(next(&worker, WORKER_REPORT).report->count, 1);
    }
    PieceId piece;
    assert_true(worker_row(&worker, 0, 100, (RowPosition){6, 0}, &piece));
    announce(&worker, 100, true, at_5, 2);
    assert_true(worker_next(&worker, &action));
    assert_int_equal(action.kind, WORKER_STAGE);
    worker_staged(&worker, 0, action.piece, true);
    const Report *report = next(&worker, WORKER_REPORT).report;
    assert_int_equal(report->count, 2);
    assert_int_equal(report->pieces[0].to.next, 10);
    assert_int_equal(report->pieces[1].from.next, 10);
    assert_int_equal(report->pieces[1].to.next, 101);
}

/* A table that begins with a topic which has grown: the new lane's marker waits for the old ones',
 * but not for one that the topic has lost. */
static void test_grown_before(void **state)
{
    (void)state;
    Coordinator coordinator;
    CoordinatorAction action;
    const LaneValue begun[] = {{0}, {70, {9, 3}}, {0}};
    coordinator_init(&coordinator, &options, lanes, values, LANES);
    coordinator_start(&coordinator, 1, 0);
    assert_true(coordinator_next(&coordinator, &action));
    const TableView view = {.exists = true, .head = 7, .is_ancestor = true};
    const TopicView grown_topic = {.source = TOPIC, .lane_count = 3, .starts = begun};
    coordinator_loaded(&coordinator, action.ticket, &view, &grown_topic, 0);
    assert_true(coordinator_next(&coordinator, &action));
    assert_int_equal(action.kind, COORDINATOR_ANNOUNCE);
    assert_int_equal(action.announcement.lane_count, 3);
    assert_int_equal(action.announcement.lanes[1].passed.major, 9);
    const Barrier grown = {BARRIER_LANES_ADDED, 3, {9, 3}};
    Report report = answer(&coordinator, 2);
    report.count = 1;
    report.pieces[0] = (Piece){.from = begun[2], .to = {1, {9, 3}}, .barrier = grown};
    coordinator_reported(&coordinator, &report, 10);
    report = answer(&coordinator, 1);
    coordinator_reported(&coordinator, &report, 10);
    report = answer(&coordinator, 0);
    report.count = 1;
    report.pieces[0] = (Piece){.id = {1, 1}, .rows = 4, .from = begun[0], .to = {4, {6, 0}}};
    coordinator_reported(&coordinator, &report, 10);
    assert_true(coordinator_next(&coordinator, &action)); /* the rows before it, first */
    assert_int_equal(action.kind, COORDINATOR_COMMIT);
    assert_int_equal(action.barrier->kind, BARRIER_NONE);
    report = answer(&coordinator, 0);
    report.count = 1;
    report.pieces[0] = (Piece){.from = {4, {6, 0}}, .to = {5, {9, 3}}, .barrier = grown};
    coordinator_reported(&coordinator, &report, 20);
    coordinator_answered(&coordinator, action.ticket, ANSWER_DONE, 8, 1, 20);
    while (coordinator_next(&coordinator, &action) && action.kind != COORDINATOR_COMMIT)
        ;
    assert_int_equal(action.kind, COORDINATOR_COMMIT);
    assert_int_equal(action.barrier->kind, BARRIER_LANES_ADDED);
    uint32_t count;
    LaneValue to;
    (void)coordinator_taken(&coordinator, 1, &count, &to);
    assert_int_equal(count, 0);
    assert_int_equal(to.next, 70);
}

static void refuse(Coordinator *coordinator, StallReason refused, int64_t now_us)
{
    Report report = answer(coordinator, 1);
    report.refused = refused;
    coordinator_reported(coordinator, &report, now_us);
}

/* A lane is refused after it has answered, when nobody asks, again and again, while another one's
 * rows are committed: it stalls all the same. */
static void test_refused(void **state)
{
    (void)state;
    Coordinator coordinator;
    CoordinatorAction action;
    int64_t now_us = 10;
    open_at_5(&coordinator);
    coordinator.options.doubt_us = 5000;
    for (uint64_t from = 5;; from++) {
        Report report = answer(&coordinator, 0);
        add(&report, from, from + 1, 0, 0);
        coordinator_reported(&coordinator, &report, now_us);
        refuse(&coordinator, from == 5 ? STALL_NONE : STALL_BARRIER_MALFORMED, now_us);
        if (coordinator.state == COORDINATOR_STALLED)
            break;
        action = expect(&coordinator, COORDINATOR_COMMIT);
        int64_t id = (int64_t)from + 100;
        coordinator_answered(&coordinator, action.ticket, ANSWER_DONE, id, id, now_us);
        assert_false(expect(&coordinator, COORDINATOR_ANNOUNCE).announcement.asks);
        refuse(&coordinator, STALL_BARRIER_MALFORMED, now_us);
        now_us += 1000;
        coordinator_tick(&coordinator, now_us);
        action = expect(&coordinator, COORDINATOR_LOAD);
        const LaneValue at[] = {{from + 1, {from + 1, 0}}, {5, {5, 0}}};
        TableView view = view_of(at, 2);
        view.head = view.snapshot = view.sequence = id;
        coordinator_loaded(&coordinator, action.ticket, &view, &topic, now_us);
        assert_true(expect(&coordinator, COORDINATOR_ANNOUNCE).announcement.asks);
    }
    action = expect(&coordinator, COORDINATOR_STALL);
    assert_int_equal(action.reason, STALL_BARRIER_MALFORMED);
    assert_in_range(now_us, 5000, 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_other_generation),
        cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_worker),
        cmocka_unit_test(test_lanes_added),
        cmocka_unit_test(test_grown_before),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
