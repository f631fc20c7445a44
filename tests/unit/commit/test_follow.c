/* links: firn_commit */
/* The tables of decisions of one table's machine: what opening finds, what became of a commit. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/commit/follow.h"

#define SOURCE "postgresql/1/1/firn"
#define OTHER "postgresql/2/1/firn"

static const FollowOptions options = {
    .source = SOURCE, .interval_us = 1000, .bytes_max = 100, .names_positions = true};

static TableView view_at(const LaneValue *lane, const char *source)
{
    TableView view = {.exists = true, .uuid = "u1", .head = 7, .sequence = 7};
    if (lane) {
        view.has_claim = view.is_ancestor = true;
        view.snapshot = 5;
        view.source = source;
        view.lane_count = 1;
        view.lanes = lane;
    }
    return view;
}

/* ---------- opening ---------- */
typedef enum Finds { GONE, EMPTY, OTHER_TABLE, AT_10, AT_10_ROLLED_BACK, AT_10_OF_OTHER } Finds;

typedef struct Opening {
    const char *what;
    Finds finds;
    const char *entry_source; /* NULL: no entry */
    uint64_t entry_at;
    uint64_t recorded; /* the connector's */
    bool resnapshot;
    FollowKind kind;
    StallReason reason;
    uint64_t from;
} Opening;

static const Opening openings[] = {
    {"a new table", GONE, NULL, 0, 0, false, FOLLOW_CREATE, 0, 0},
    {"made, not copied", EMPTY, NULL, 0, 0, false, FOLLOW_COPY, 0, 0},
    {"goes on where it is", AT_10, NULL, 0, 0, false, FOLLOW_STREAM, 0, 10},
    {"ahead of its entry", AT_10, SOURCE, 5, 5, false, FOLLOW_STREAM, 0, 10},
    {"at its entry and idle since", AT_10, SOURCE, 10, 30, false, FOLLOW_STREAM, 0, 30},
    {"entry of the source before", AT_10, OTHER, 90, 90, false, FOLLOW_STREAM, 0, 10},
    {"dropped", GONE, SOURCE, 5, 5, false, FOLLOW_STALL, STALL_TABLE_DROPPED, 0},
    {"dropped and made anew", OTHER_TABLE, SOURCE, 5, 5, false, FOLLOW_STALL, STALL_TABLE_DROPPED,
     0},
    {"claim rolled back", AT_10_ROLLED_BACK, NULL, 0, 0, false, FOLLOW_STALL, STALL_ROLLED_BACK, 0},
    {"claim lost", EMPTY, SOURCE, 5, 5, false, FOLLOW_STALL, STALL_ROLLED_BACK, 0},
    {"behind its entry", AT_10, SOURCE, 11, 11, false, FOLLOW_STALL, STALL_ROLLED_BACK, 0},
    {"of another source", AT_10_OF_OTHER, NULL, 0, 0, false, FOLLOW_STALL, STALL_SOURCE_CHANGED, 0},
    {"dropped, to be loaded again", GONE, SOURCE, 5, 5, true, FOLLOW_CREATE, 0, 0},
    {"rolled back, to be loaded again", AT_10_ROLLED_BACK, SOURCE, 11, 11, true, FOLLOW_COPY, 0, 0},
    {"of another source, loaded again", AT_10_OF_OTHER, OTHER, 9, 9, true, FOLLOW_COPY, 0, 0},
};

static void test_opening(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        const Opening *at = &openings[i];
        print_message("%s\n", at->what);
        const LaneValue ten = {.passed = {10, 0}};
        bool claims = at->finds >= AT_10;
        TableView view =
            view_at(claims ? &ten : NULL, at->finds == AT_10_OF_OTHER ? OTHER : SOURCE);
        view.exists = at->finds != GONE;
        view.is_ancestor = claims && at->finds != AT_10_ROLLED_BACK;
        if (at->finds == OTHER_TABLE)
            view.uuid[1] = '2';
        RecordEntry entry = {.uuid = "u1", .source = at->entry_source, .at = {at->entry_at, 0}};
        Position recorded = {.at = {at->recorded, 0}};
        snprintf(recorded.source, sizeof recorded.source, "%s",
                 at->entry_source ? at->entry_source : "");
        FollowOptions with = options;
        with.resnapshot = at->resnapshot;
        Follow follow;
        follow_init(&follow, &with);
        FollowAction action = follow_open(&follow, &view, at->entry_source ? &entry : NULL,
                                          at->entry_source ? &recorded : NULL, 1);
        assert_int_equal(action.kind, at->kind);
        assert_int_equal(action.reason, at->reason);
        if (at->kind == FOLLOW_STREAM)
            assert_int_equal(action.position.major, at->from);
    }
}

/* A view older than the entry is read again, and believed only after a while. */
static void test_stale_opening(void **state)
{
    (void)state;
    const LaneValue ten = {.passed = {10, 0}};
    TableView view = view_at(&ten, SOURCE);
    RecordEntry entry = {.uuid = "u1", .source = SOURCE, .at = {11, 0}, .sequence = 8};
    Follow follow;
    follow_init(&follow, &options);
    assert_int_equal(follow_open(&follow, &view, &entry, NULL, 1).kind, FOLLOW_NOTHING);
    assert_int_equal(follow_tick(&follow, 1, 0, false).kind, FOLLOW_NOTHING);
    assert_int_equal(follow_tick(&follow, COMMIT_PAUSE_MAX_US, 0, false).kind, FOLLOW_LOAD);
    FollowAction action = follow_open(&follow, &view, &entry, NULL, 2 * COMMIT_STALE_US);
    assert_int_equal(action.kind, FOLLOW_STALL);
    assert_int_equal(action.reason, STALL_ROLLED_BACK);
}

/* ---------- what became of a commit ---------- */
typedef enum Now {
    HEAD_AS_COMPARED,
    HEAD_IS_OURS,
    OURS_EXPIRED,     /* only the claim still names it */
    OURS_AND_REWRITE, /* and somebody rewrote files after it */
    OURS_AND_OTHERS,  /* and somebody went on from it */
    EXPIRED_ONLY,
    APPENDED,
    REWROTE,
    POSITION_MOVED,
    CLAIM_LOST,
    ROLLED_BACK,
    DROPPED,
    OLD_VIEW,
} Now;

typedef struct Resolution {
    CommitAnswer answer;
    Now now;
    FollowKind kind;
    StallReason reason;
    bool files_may_go;
} Resolution;

static const Resolution resolutions[] = {
    {ANSWER_UNKNOWN, HEAD_AS_COMPARED, FOLLOW_RESEND, 0, false},
    {ANSWER_UNKNOWN, HEAD_IS_OURS, FOLLOW_NOTHING, 0, false},
    {ANSWER_UNKNOWN, OURS_EXPIRED, FOLLOW_NOTHING, 0, false},
    {ANSWER_UNKNOWN, OURS_AND_REWRITE, FOLLOW_REOPEN, 0, false},
    {ANSWER_UNKNOWN, OURS_AND_OTHERS, FOLLOW_REOPEN, 0, false},
    {ANSWER_UNKNOWN, EXPIRED_ONLY, FOLLOW_RESEND, 0, false},
    {ANSWER_UNKNOWN, APPENDED, FOLLOW_COMMIT, 0, false},
    {ANSWER_UNKNOWN, REWROTE, FOLLOW_REOPEN, 0, false},
    {ANSWER_UNKNOWN, POSITION_MOVED, FOLLOW_REOPEN, 0, false},
    {ANSWER_UNKNOWN, CLAIM_LOST, FOLLOW_REOPEN, 0, false},
    {ANSWER_UNKNOWN, ROLLED_BACK, FOLLOW_STALL, STALL_ROLLED_BACK, false},
    {ANSWER_UNKNOWN, DROPPED, FOLLOW_STALL, STALL_TABLE_DROPPED, false},
    {ANSWER_UNKNOWN, OLD_VIEW, FOLLOW_NOTHING, 0, false},
    {ANSWER_CONFLICT, HEAD_AS_COMPARED, FOLLOW_COMMIT, 0, false},
    {ANSWER_CONFLICT, EXPIRED_ONLY, FOLLOW_COMMIT, 0, false},
    {ANSWER_CONFLICT, APPENDED, FOLLOW_COMMIT, 0, false},
    {ANSWER_CONFLICT, REWROTE, FOLLOW_REOPEN, 0, true},
    {ANSWER_CONFLICT, POSITION_MOVED, FOLLOW_REOPEN, 0, true},
    {ANSWER_CONFLICT, ROLLED_BACK, FOLLOW_STALL, STALL_ROLLED_BACK, false},
    {ANSWER_CONFLICT, DROPPED, FOLLOW_STALL, STALL_TABLE_DROPPED, false},
    {ANSWER_FAILED, HEAD_AS_COMPARED, FOLLOW_COMMIT, 0, false},
    {ANSWER_FAILED, APPENDED, FOLLOW_COMMIT, 0, false},
    {ANSWER_FAILED, DROPPED, FOLLOW_STALL, STALL_TABLE_DROPPED, false},
};

static void show(Now now, TableView *view, LaneValue *lane)
{
    switch (now) {
    case HEAD_AS_COMPARED:
        return;
    case HEAD_IS_OURS:
    case OURS_AND_REWRITE:
        view->ours_found = true;
        view->head = now == HEAD_IS_OURS ? 42 : 43;
        view->foreign = now == HEAD_IS_OURS ? FOREIGN_NOTHING : FOREIGN_REWROTE;
        view->snapshot = 42;
        lane->passed.major = 20;
        return;
    case OURS_EXPIRED:
        view->head = 43;
        view->foreign = FOREIGN_APPENDED;
        view->snapshot = 42;
        lane->passed.major = 20;
        return;
    case OURS_AND_OTHERS:
        view->ours_found = true;
        view->head = view->snapshot = 44;
        lane->passed.major = 25;
        return;
    case EXPIRED_ONLY:
        return; /* nothing that a commit compares */
    case APPENDED:
    case REWROTE:
        view->head = 43;
        view->foreign = now == APPENDED ? FOREIGN_APPENDED : FOREIGN_REWROTE;
        return;
    case POSITION_MOVED:
        view->head = view->snapshot = 44;
        lane->passed.major = 15;
        return;
    case CLAIM_LOST:
        view->head = 43;
        view->has_claim = false;
        return;
    case ROLLED_BACK:
        view->head = 3;
        view->is_ancestor = false;
        return;
    case DROPPED:
        view->uuid[1] = '2';
        return;
    case OLD_VIEW:
        view->head = 3;
        view->sequence = 3;
        view->snapshot = 2;
        lane->passed.major = 5;
        return;
    }
}

/* Streaming from 10, committing up to 20 as 42. */
static void commit_to_20(Follow *follow, const FollowOptions *with)
{
    const LaneValue ten = {.passed = {10, 0}};
    TableView view = view_at(&ten, SOURCE);
    follow_init(follow, with);
    assert_int_equal(follow_open(follow, &view, NULL, NULL, 1).kind, FOLLOW_STREAM);
    assert_false(follow_row(follow, (RowPosition){10, 0}, 2));
    assert_true(follow_row(follow, (RowPosition){12, 1}, 2));
    assert_int_equal(follow_tick(follow, 5000, 0, false).kind, FOLLOW_NOTHING); /* no checkpoint */
    follow_checkpoint(follow, (RowPosition){20, 0});
    assert_int_equal(follow_low(follow).major, 10);
    FollowAction action = follow_tick(follow, 5000, 0, false);
    assert_int_equal(action.kind, FOLLOW_COMMIT);
    assert_int_equal(action.position.major, 20);
    assert_int_equal(action.head, 7);
}

static void test_resolution(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof resolutions / sizeof *resolutions; i++) {
        const Resolution *at = &resolutions[i];
        print_message("answer %d, then %d\n", at->answer, at->now);
        Follow follow;
        commit_to_20(&follow, &options);
        FollowAction action = follow_answered(&follow, at->answer, 42, 0, 6000);
        if (at->answer != ANSWER_CONFLICT) {
            assert_int_equal(action.kind, FOLLOW_NOTHING);
            action = follow_tick(&follow, 6000 + COMMIT_PAUSE_MIN_US, 0, false);
        }
        assert_int_equal(action.kind, FOLLOW_LOAD);
        assert_int_equal(action.commit, 42);
        assert_int_equal(action.head, 7);
        LaneValue lane = {.passed = {10, 0}};
        TableView view = view_at(&lane, SOURCE);
        view.sequence = 9;
        show(at->now, &view, &lane);
        action = follow_loaded(&follow, &view, 7000 + COMMIT_PAUSE_MIN_US);
        assert_int_equal(action.kind, at->kind);
        assert_int_equal(action.reason, at->reason);
        assert_int_equal(action.files_may_go, at->files_may_go);
        if (at->kind == FOLLOW_COMMIT)
            assert_int_equal(action.head, view.head);
        if (at->kind == FOLLOW_RESEND)
            assert_int_equal(action.head, 7);
        if (at->now == HEAD_IS_OURS || at->now == OURS_EXPIRED) {
            assert_true(follow_is_settled(&follow));
            assert_int_equal(follow_low(&follow).major, 20);
        }
    }
}

/* Append names no rows of files: a rewrite is nothing to it. */
static void test_rewrite_in_append(void **state)
{
    (void)state;
    FollowOptions append = options;
    append.names_positions = false;
    Follow follow;
    commit_to_20(&follow, &append);
    assert_int_equal(follow_answered(&follow, ANSWER_CONFLICT, 42, 0, 6000).kind, FOLLOW_LOAD);
    LaneValue lane = {.passed = {10, 0}};
    TableView view = view_at(&lane, SOURCE);
    show(REWROTE, &view, &lane);
    assert_int_equal(follow_loaded(&follow, &view, 7000).kind, FOLLOW_COMMIT);
}

/* A file that stood in an unknown commit is never free again, whatever becomes of later ones. */
static void test_unknown_keeps_files(void **state)
{
    (void)state;
    Follow follow;
    commit_to_20(&follow, &options);
    follow_answered(&follow, ANSWER_UNKNOWN, 42, 0, 6000);
    follow_tick(&follow, 6000 + COMMIT_PAUSE_MIN_US, 0, false);
    LaneValue lane = {.passed = {10, 0}};
    TableView view = view_at(&lane, SOURCE);
    show(APPENDED, &view, &lane);
    assert_int_equal(follow_loaded(&follow, &view, 7000).kind, FOLLOW_COMMIT);
    assert_int_equal(follow_answered(&follow, ANSWER_CONFLICT, 45, 0, 8000).kind, FOLLOW_LOAD);
    view.head = 46;
    view.foreign = FOREIGN_REWROTE;
    FollowAction action = follow_loaded(&follow, &view, 9000);
    assert_int_equal(action.kind, FOLLOW_REOPEN);
    assert_false(action.files_may_go);
}

/* At once the first time, then with pauses, at once again after a commit went through. */
static void test_refused_again(void **state)
{
    (void)state;
    Follow follow;
    commit_to_20(&follow, &options);
    LaneValue lane = {.passed = {10, 0}};
    TableView view = view_at(&lane, SOURCE);
    show(HEAD_AS_COMPARED, &view, &lane);
    int64_t now_us = 6000;
    assert_int_equal(follow_answered(&follow, ANSWER_CONFLICT, 42, 0, now_us).kind, FOLLOW_LOAD);
    for (int64_t pause_us = COMMIT_PAUSE_MIN_US; pause_us < COMMIT_PAUSE_MAX_US; pause_us *= 2) {
        assert_int_equal(follow_loaded(&follow, &view, now_us).kind, FOLLOW_COMMIT);
        FollowAction action = follow_answered(&follow, ANSWER_CONFLICT, 43, 0, now_us);
        assert_int_equal(action.kind, FOLLOW_NOTHING);
        action = follow_tick(&follow, now_us + pause_us - 1, 0, false);
        assert_int_equal(action.kind, FOLLOW_NOTHING);
        now_us += pause_us;
        assert_int_equal(follow_tick(&follow, now_us, 0, false).kind, FOLLOW_LOAD);
    }
    assert_int_equal(follow_loaded(&follow, &view, now_us).kind, FOLLOW_COMMIT);
    follow_answered(&follow, ANSWER_DONE, 44, 9, now_us);
    assert_true(follow_is_settled(&follow));
    assert_int_equal(follow.pause.us, 0);
    assert_false(follow.pause.refused);
}

static void test_idle_counts(void **state)
{
    (void)state;
    const LaneValue ten = {.passed = {10, 0}};
    TableView view = view_at(&ten, SOURCE);
    Follow follow;
    follow_init(&follow, &options);
    follow_open(&follow, &view, NULL, NULL, 1);
    follow_checkpoint(&follow, (RowPosition){30, 0});
    assert_int_equal(follow_low(&follow).major, 30);
    assert_int_equal(follow_tick(&follow, 99999, 0, true).kind, FOLLOW_NOTHING);
    RecordEntry entry;
    follow_entry(&follow, &entry);
    assert_int_equal(entry.at.major, 10); /* the table's claim, not what counts */
    assert_int_equal(entry.snapshot, 5);
}

/* A copy beside the stream: rows from its snapshot on, the first commit replaces, pieces have no
 * position. */
static void test_copy_begins(void **state)
{
    (void)state;
    Follow follow;
    TableView view = view_at(NULL, NULL);
    RecordEntry entry;
    follow_init(&follow, &options);
    assert_int_equal(follow_open(&follow, &view, NULL, NULL, 0).kind, FOLLOW_COPY);
    follow_begin(&follow, (RowPosition){50, 0}, 0);
    assert_true(follow_is_settled(&follow));
    assert_int_equal(follow_low(&follow).major, 50);
    follow_entry(&follow, &entry);
    assert_string_equal(entry.uuid, "");                        /* nothing that could be lost */
    assert_false(follow_row(&follow, (RowPosition){50, 0}, 0)); /* the snapshot has it */
    assert_true(follow_row(&follow, (RowPosition){60, 0}, 0));
    follow_piece(&follow, 10);
    assert_int_equal(follow_tick(&follow, 5000, 0, false).kind, FOLLOW_NOTHING);
    follow_checkpoint(&follow, (RowPosition){60, 0});
    follow_piece(&follow, 20); /* none of it is behind the checkpoint */
    FollowAction action = follow_tick(&follow, 5000, 0, false);
    assert_int_equal(action.kind, FOLLOW_COMMIT);
    assert_int_equal(action.position.major, 60);
    assert_true(follow.copies);
    follow_answered(&follow, ANSWER_DONE, 99, 8, 5000);
    assert_false(follow.copies);
    follow_entry(&follow, &entry);
    assert_int_equal(entry.at.major, 60);
    /* a piece alone is committed too, where the table is */
    follow_checkpoint(&follow, (RowPosition){70, 0});
    follow_piece(&follow, 6000);
    follow_checkpoint(&follow, (RowPosition){80, 0});
    assert_int_equal(follow_low(&follow).major, 70);
    action = follow_tick(&follow, 7000, 0, false);
    assert_int_equal(action.kind, FOLLOW_COMMIT);
    assert_int_equal(action.position.major, 80);
}

/* An unfinished copy goes on, but for a log's, and one of other columns: that begins anew, and what
 * it was no longer counts. */
static void test_unfinished_copy(void **state)
{
    (void)state;
    for (int whole = 0; whole < 3; whole++) {
        Follow follow;
        LaneValue ten = {.passed = {10, 0}};
        TableView view = view_at(&ten, SOURCE);
        FollowOptions with = options;
        RecordEntry entry;
        view.copying = true;
        with.copy_whole = whole == 1;
        view.outdated = whole == 2;
        follow_init(&follow, &with);
        FollowAction action = follow_open(&follow, &view, NULL, NULL, 0);
        assert_int_equal(action.kind, whole ? FOLLOW_COPY : FOLLOW_STREAM);
        if (!whole) {
            assert_int_equal(action.position.major, 10);
            continue;
        }
        follow_begin(&follow, (RowPosition){50, 0}, 0);
        follow_entry(&follow, &entry);
        assert_string_equal(entry.uuid, ""); /* the claim that is there is void */
        assert_false(follow_row(&follow, (RowPosition){20, 0}, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_stale_opening),
        cmocka_unit_test(test_resolution),
        cmocka_unit_test(test_rewrite_in_append),
        cmocka_unit_test(test_unknown_keeps_files),
        cmocka_unit_test(test_refused_again),
        cmocka_unit_test(test_idle_counts),
        cmocka_unit_test(test_copy_begins),
        cmocka_unit_test(test_unfinished_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
