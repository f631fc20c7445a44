/* links: firn_table */
/* Consumers stage pieces, one process commits them: against a model of the rows. Keys are dealt to
 * lanes; what a lane staged is taken in its order, lanes in any; updates leave values out; the one
 * that commits begins anew now and then; a commit's answer is lost. The same with a column that
 * says which version of a row is newer. */
#include "agent/table/stage_file.h"
#include "tests/unit/table/deaf.h"
#include "tests/unit/table/world.h"

#define KEYS 120
#define LANES 3
#define SOURCE "kafka/c/orders#id"

#define NO_REGION INT32_MIN /* less than any, as null is */

typedef struct Model {
    bool live;
    int32_t region;  /* NO_REGION: null */
    int32_t version; /* in the name */
} Model;

typedef struct Run {
    World world;
    bool ordered; /* by the region */
    bool leaves;  /* updates leave values out */
    uint64_t seed;
    Model rows[KEYS];
    Model committed[KEYS];
    int32_t versions;
    Table *workers[LANES];
    Table *committer;
    LaneValue lanes[LANES];
    uint32_t pieces;
    int32_t seen[KEYS];
    uint64_t taken; /* rows and deletions, in Append */
    uint64_t older; /* versions that did not count */
} Run;

static uint32_t dice(Run *run, uint32_t sides)
{
    return (uint32_t)(next_random(&run->seed) >> 16) % sides;
}

static Table *open_table(const Run *run, bool create)
{
    TableOptions options = world_options(&run->world);
    options.lanes = true;
    options.ordering = run->ordered ? "region" : NULL;
    options.create = create;
    Table *table;
    OK((table = table_open(&options, &err)));
    return table;
}

static void put_row(Run *run, Batch *batch, uint32_t key)
{
    Model *row = &run->rows[key];
    char name[32];
    bool gone = row->live && dice(run, 4) == 0;
    bool left_out = row->live && !gone && run->leaves && dice(run, 3) == 0;
    batch_row_begin(batch,
                    gone        ? ROW_DELETE
                    : row->live ? ROW_UPDATE
                                : ROW_INSERT,
                    (RowPosition){++run->lanes[key % LANES].passed.major, 0});
    column_put_i64(batch, &batch->columns[0], key);
    if (gone) {
        row->live = false;
        for (uint32_t i = 1; i < 4; i++)
            column_put_null(batch, &batch->columns[i]);
        return;
    }
    Model next = {.live = true, .region = (int32_t)dice(run, 4), .version = row->version};
    if (run->ordered && dice(run, 5) == 0) {
        next.region = NO_REGION;
        column_put_null(batch, &batch->columns[1]);
    } else {
        column_put_i32(batch, &batch->columns[1], next.region);
    }
    if (left_out) {
        column_put_unchanged(batch, &batch->columns[2]);
    } else {
        next.version = ++run->versions;
        int bytes = snprintf(name, sizeof name, "version %d", next.version);
        column_put_bytes(batch, &batch->columns[2], name, (size_t)bytes);
    }
    column_put_i128(batch, &batch->columns[3], next.version);
    if (!run->ordered || !row->live || next.region >= row->region)
        *row = next;
    else
        run->older++;
}

/* Rows of a lane in one piece; its name. */
static void stage_piece(Run *run, uint32_t lane, char name[32])
{
    TableStage *stage;
    snprintf(name, 32, "%u-%u", lane, ++run->pieces);
    OK((stage = table_stage_new(run->workers[lane], name, &err)));
    for (uint32_t batches = 1 + dice(run, 3); batches; batches--) {
        AUTO(batch_free) Batch *batch = batch_new(run->world.source, 0, 64);
        run->leaves = run->world.spec.mode == MODE_UPSERT && dice(run, 2) == 0;
        for (uint32_t rows = 1 + dice(run, 40); rows; rows--)
            put_row(run, batch, lane + LANES * dice(run, KEYS / LANES));
        OK(table_stage_put(stage, batch, &err));
        assert_true(table_stage_memory(stage) > 0);
        run->taken += batch->row_count;
        run->lanes[lane].next += batch->row_count;
        if (dice(run, 4) == 0)
            OK(table_stage_ease(stage, &err));
    }
    OK(table_stage_finish(stage, &err));
    table_stage_free(stage);
}

/* ---------- committing ---------- */
static bool send(Run *run, CommitAnswer *answer, int64_t *id)
{
    int64_t sequence;
    Error err = {0};
    bool sent =
        table_send_lanes(run->committer, SOURCE, run->lanes, LANES, answer, id, &sequence, &err);
    if (!sent)
        fail_msg("%s: %s", err.code, err.message);
    return *answer == ANSWER_DONE;
}

static void commit(Run *run)
{
    CommitAnswer answer;
    int64_t id;
    TableView view;
    bool deaf = dice(run, 5) == 0;
    if (deaf)
        deaf_begin(run->world.catalog);
    bool done = send(run, &answer, &id);
    if (deaf) {
        deaf_end(run->world.catalog);
        assert_false(done);
        assert_int_equal(answer, ANSWER_UNKNOWN);
        OK(table_look(run->committer, id, 0, &view, &err));
        assert_true(view.ours_found);
        table_found(run->committer);
    }
    table_view(run->committer, id, 0, &view);
    assert_true(view.has_claim);
    assert_string_equal(view.source, SOURCE);
    assert_int_equal(view.lane_count, LANES);
    assert_memory_equal(view.lanes, run->lanes, sizeof run->lanes);
    assert_int_equal(view.snapshot, id);
    memcpy(run->committed, run->rows, sizeof run->rows);
}

static void see(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    Run *run = context;
    (void)row_id;
    int64_t key = column_i64(&batch->columns[0], row);
    assert_in_range(key, 0, KEYS - 1);
    const Model *model = &run->committed[key];
    char name[32];
    uint32_t bytes;
    __int128 amount;
    run->seen[key]++;
    assert_true(model->live);
    assert_int_equal(column_is_null(&batch->columns[1], row), model->region == NO_REGION);
    if (model->region != NO_REGION)
        assert_int_equal(column_i32(&batch->columns[1], row), model->region);
    const uint8_t *text = column_bytes(&batch->columns[2], row, &bytes);
    snprintf(name, sizeof name, "version %d", model->version);
    assert_int_equal(bytes, strlen(name));
    assert_memory_equal(text, name, bytes);
    memcpy(&amount, batch->columns[3].values + (size_t)row * 16, sizeof amount);
    assert_int_equal((int64_t)amount, model->version);
}

static void check(Run *run)
{
    Head head;
    memset(run->seen, 0, sizeof run->seen);
    head_rows(&run->world, &head, see, run);
    for (uint32_t key = 0; key < KEYS; key++)
        assert_int_equal(run->seen[key], run->committed[key].live);
    head_done(&head);
}

static void empty(Run *run)
{
    OK(table_truncate(run->committer, (RowPosition){1, 0}, &err));
    memset(run->rows, 0, sizeof run->rows);
    commit(run);
}

static void round_of(Run *run)
{
    char names[LANES * 3][32];
    uint32_t of_lane[LANES] = {0}, taken[LANES] = {0}, count = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        of_lane[lane] = dice(run, 3);
        for (uint32_t i = 0; i < of_lane[lane]; i++, count++)
            stage_piece(run, lane, names[lane * 3 + i]);
    }
    while (count) {
        uint32_t lane = dice(run, LANES);
        if (taken[lane] == of_lane[lane])
            continue;
        OK(table_take_staged(run->committer, names[lane * 3 + taken[lane]++], &err));
        count--;
    }
    commit(run);
}

static void begin(Run *run, int version, TableMode mode, const char *by, uint64_t seed,
                  bool ordered)
{
    *run = (Run){.seed = seed, .ordered = ordered};
    world_init(&run->world, version, mode, by);
    run->committer = open_table(run, true);
    for (uint32_t i = 0; i < LANES; i++)
        run->workers[i] = open_table(run, false);
}

static void end(Run *run)
{
    for (uint32_t i = 0; i < LANES; i++)
        table_close(run->workers[i]);
    table_close(run->committer);
    world_done(&run->world);
}

static void upsert(int version, const char *by, uint64_t seed, bool ordered)
{
    Run run;
    begin(&run, version, MODE_UPSERT, by, seed, ordered);
    for (uint32_t i = 0; i < 25; i++) {
        round_of(&run);
        check(&run);
        if (dice(&run, 6) == 0) {
            empty(&run);
            check(&run);
        }
        if (dice(&run, 4) == 0) { /* another process commits from here on */
            table_close(run.committer);
            run.committer = open_table(&run, false);
        }
    }
    assert_true(!ordered || run.older > 100);
    end(&run);
}

static void test_upsert(void **state)
{
    (void)state;
    upsert(2, NULL, 11, false);
    upsert(2, "bucket(3, id)", 12, false);
    upsert(3, NULL, 13, false);
    upsert(3, "region", 14, false);
}

static void test_ordered(void **state)
{
    (void)state;
    upsert(2, NULL, 41, true);
    upsert(2, "region", 42, true);
    upsert(3, NULL, 43, true);
    upsert(3, "bucket(3, id)", 44, true);
}

static void count_row(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)batch;
    (void)row;
    (void)row_id;
    ++*(uint64_t *)context;
}

static void test_append(void **state)
{
    (void)state;
    Run run;
    begin(&run, 2, MODE_APPEND, NULL, 21, false);
    for (uint32_t i = 0; i < 6; i++) {
        round_of(&run);
        Head head;
        uint64_t rows = 0;
        head_rows(&run.world, &head, count_row, &rows);
        head_done(&head);
        assert_int_equal(rows, run.taken);
    }
    end(&run);
}

/* A piece that a commit left behind stays what it was: nobody's, or another's. */
static void test_gone_and_outdated(void **state)
{
    (void)state;
    Run run;
    Error why = {0};
    char name[32];
    begin(&run, 2, MODE_UPSERT, NULL, 31, false);
    assert_false(table_take_staged(run.committer, "7-7", &why));
    assert_string_equal(why.code, "PieceOutdated");
    stage_piece(&run, 0, name);
    AUTO(mem_free)
    char *uri = mem_format("%s/lake/orders/metadata/staged/%s.piece", run.world.warehouse, name);
    Bytes object = {0};
    OK(store_get(run.world.store, uri, 1 << 20, &object, &err));
    table_close(run.committer);
    run.committer = open_table(&run, false);
    for (size_t cut = 0; cut < object.used; cut += 1 + object.used / 200) {
        StageFile file;
        Bytes part = {.data = object.data, .used = cut};
        assert_false(stage_file_decode(&part, run.committer->iceberg, &file, &why));
        assert_string_equal(why.code, "BadPiece");
    }
    object.data[object.used / 2] ^= 1;
    OK(store_put(run.world.store, uri, object.data, object.used, &err));
    assert_false(table_take_staged(run.committer, name, &why));
    assert_int_equal(why.kind, ERROR_DATA);
    bytes_done(&object);
    end(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upsert),
        cmocka_unit_test(test_ordered),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_gone_and_outdated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
