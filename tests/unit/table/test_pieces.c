/* links: firn_table */
/* A copy beside the stream against a model of the source: rows stand at places, updates move them,
 * keys change, rows go and come back; pieces are read from the snapshot of the process, the stream
 * lags, processes end at any moment. Whatever the order, once every place was read and the stream
 * has passed every snapshot, the table holds what the source held where its claim is. */
#include "tests/unit/table/world.h"

#include "agent/record/extents.h"

#define KEYS 200
#define PLACES 64
#define PLACES_PER_RANGE 2
#define EVENTS 4000
#define PART 5

typedef struct SourceRow {
    bool live;
    uint32_t place;
    int32_t version;
} SourceRow;

typedef struct Event {
    RowOp op;
    uint32_t key, new_key; /* new_key: of a MOVE */
    int32_t version;
} Event;

typedef struct Run {
    World world;
    uint64_t seed;
    SourceRow rows[KEYS];
    Event events[EVENTS]; /* at LSN 100 + index */
    uint32_t event_count;
    int32_t next_version;
    /* the process */
    Table *table;
    SourceRow snapshot[KEYS];
    uint32_t applied; /* events of it */
    Extents done;
    uint32_t crashes, taken;
    int32_t seen[KEYS];
} Run;

static uint32_t dice(Run *run, uint32_t sides)
{
    return (uint32_t)(next_random(&run->seed) >> 16) % sides;
}

static uint64_t lsn(uint32_t events)
{
    return 100 + events;
}

/* ---------- the source ---------- */
static void put_at(Run *run, uint32_t key)
{
    run->rows[key] = (SourceRow){true, dice(run, PLACES), ++run->next_version};
}

static void change(Run *run)
{
    if (run->event_count == EVENTS)
        return;
    uint32_t key = dice(run, KEYS), other = dice(run, KEYS);
    Event *event = &run->events[run->event_count++];
    if (!run->rows[key].live) {
        put_at(run, key);
        *event = (Event){ROW_INSERT, key, 0, run->rows[key].version};
    } else if (dice(run, 3) == 0) {
        run->rows[key].live = false;
        *event = (Event){ROW_DELETE, key, 0, 0};
    } else if (dice(run, 4) == 0 && !run->rows[other].live) {
        run->rows[key].live = false;
        put_at(run, other);
        *event = (Event){ROW_MOVE, key, other, run->rows[other].version};
    } else {
        put_at(run, key);
        *event = (Event){ROW_UPDATE, key, 0, run->rows[key].version};
    }
}

/* ---------- the process ---------- */
static void put_row(Batch *batch, RowOp op, uint64_t major, uint32_t key, int32_t version)
{
    batch_row_begin(batch, op, (RowPosition){major, 1});
    column_put_i64(batch, &batch->columns[0], key);
    column_put_i32(batch, &batch->columns[1], version);
    column_put_null(batch, &batch->columns[2]);
    column_put_null(batch, &batch->columns[3]);
}

static void say_progress(Run *run)
{
    AUTO(mem_free) char *text = extents_format(&run->done);
    table_copy_set_progress(run->table, text);
}

static void process_starts(Run *run)
{
    RowPosition claim;
    int64_t snapshot;
    run->table = world_open(&run->world);
    memcpy(run->snapshot, run->rows, sizeof run->snapshot);
    extents_done(&run->done);
    if (claim_of(run->table, &claim, &snapshot)) {
        OK(extents_parse(table_copy_progress(run->table), &run->done, &err));
        run->applied = (uint32_t)(claim.major - 100);
    } else {
        run->applied = run->event_count;
        table_copy_begin(run->table, (RowPosition){lsn(run->applied), UINT64_MAX});
    }
    run->done.until = lsn(run->event_count);
    say_progress(run);
}

static void apply_some(Run *run)
{
    uint32_t most = dice(run, 30);
    AUTO(batch_free) Batch *batch = batch_new(run->world.source, 0, 64);
    for (; most && run->applied < run->event_count; most--) {
        const Event *event = &run->events[run->applied++];
        uint64_t major = lsn(run->applied);
        put_row(batch, event->op, major, event->key, event->version);
        if (event->op == ROW_MOVE)
            put_row(batch, ROW_UPDATE, major, event->new_key, event->version);
    }
    if (batch->row_count)
        OK(table_put(run->table, batch, &err));
}

/* A range that is not done yet; false: none. */
static bool read_piece(Run *run)
{
    Extent gap;
    uint64_t from = dice(run, 2) ? dice(run, PLACES / PLACES_PER_RANGE) * PLACES_PER_RANGE : 0;
    if (!extents_gap(&run->done, PART, 1, from, &gap) || gap.from >= PLACES)
        if (!extents_gap(&run->done, PART, 1, 0, &gap) || gap.from >= PLACES)
            return false;
    gap.to = gap.from + PLACES_PER_RANGE;
    TableCopy *piece = table_copy_start(run->table);
    AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
    OK((writer = table_copy_writer_open(piece, &err)));
    AUTO(batch_free) Batch *batch = batch_new(run->world.source, 0, KEYS);
    for (uint32_t key = 0; key < KEYS; key++) {
        const SourceRow *row = &run->snapshot[key];
        if (row->live && row->place >= gap.from && row->place < gap.to)
            put_row(batch, ROW_READ, 0, key, row->version);
    }
    if (batch->row_count)
        OK(table_copy_put(writer, batch, &err));
    OK(table_copy_finish(writer, &err));
    extents_add(&run->done, gap);
    say_progress(run);
    OK(table_copy_take(run->table, piece, &err));
    run->taken++;
    return true;
}

static void commit(Run *run)
{
    Position position = world_position(lsn(run->applied));
    position.at.minor = UINT64_MAX;
    OK(commit_now(run->table, &position, &err));
}

static void process_ends(Run *run)
{
    table_close(run->table);
    run->crashes++;
}

/* ---------- the end ---------- */
static void look(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)row_id;
    Run *run = context;
    int64_t key = column_i64(&batch->columns[0], row);
    assert_true(key >= 0 && key < KEYS);
    assert_int_equal(run->seen[key], 0); /* once */
    run->seen[key] = column_i32(&batch->columns[1], row);
}

static void check(Run *run)
{
    Head head;
    memset(run->seen, 0, sizeof run->seen);
    head_rows(&run->world, &head, look, run);
    head_done(&head);
    for (uint32_t key = 0; key < KEYS; key++)
        assert_int_equal(run->seen[key], run->rows[key].live ? run->rows[key].version : 0);
}

static void run_model(int format_version, uint64_t seed)
{
    Run run = {.seed = seed};
    world_init(&run.world, format_version, MODE_UPSERT, seed % 3 ? NULL : "region");
    for (uint32_t key = 0; key < KEYS; key += 2)
        put_at(&run, key);
    process_starts(&run);
    bool left = true;
    while (left || run.crashes < 4) {
        /* few changes: one that comes later would mend what went wrong */
        uint32_t what = dice(&run, 24);
        if (what == 0) {
            process_ends(&run);
            process_starts(&run);
            left = true;
        } else if (what < 3) {
            commit(&run);
        } else if (what < 9) {
            left = read_piece(&run);
        } else if (what < 14) {
            apply_some(&run);
        } else if (run.event_count < 250) {
            for (uint32_t count = dice(&run, 4); count; count--)
                change(&run);
        }
    }
    while (run.applied < run.event_count)
        apply_some(&run);
    assert_true(lsn(run.applied) >= run.done.until && run.taken >= PLACES / PLACES_PER_RANGE);
    table_copy_set_progress(run.table, COPY_COMPLETE);
    commit(&run);
    assert_null(table_copy_progress(run.table));
    check(&run);
    table_close(run.table);
    run.table = world_open(&run.world); /* the index can be built: no key twice */
    change(&run);
    apply_some(&run);
    while (run.applied < run.event_count)
        apply_some(&run);
    commit(&run);
    assert_null(table_copy_progress(run.table));
    check(&run);
    table_close(run.table);
    extents_done(&run.done);
    world_done(&run.world);
}

static void test_converges(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_model(2, seed * 7919);
        run_model(3, seed * 104729);
    }
}

/* Nothing of before the copy stays, and the claim and what is missing come with one commit. */
static void test_begins_anew(void **state)
{
    (void)state;
    Run run = {.seed = 5};
    RowPosition claim;
    int64_t snapshot;
    world_init(&run.world, 3, MODE_UPSERT, NULL);
    run.table = world_open(&run.world);
    AUTO(batch_free) Batch *old = batch_new(run.world.source, 0, 8);
    for (uint32_t key = 0; key < 8; key++)
        put_row(old, ROW_INSERT, 50, key, 1);
    OK(table_put(run.table, old, &err));
    Position position = world_position(60);
    OK(commit_now(run.table, &position, &err));
    table_copy_begin(run.table, (RowPosition){100, UINT64_MAX});
    run.done.until = 100;
    say_progress(&run);
    AUTO(batch_free) Batch *fresh = batch_new(run.world.source, 0, 2);
    put_row(fresh, ROW_UPDATE, 90, 3, 8); /* the snapshot has it */
    put_row(fresh, ROW_UPDATE, 110, 4, 9);
    OK(table_put(run.table, fresh, &err));
    position = world_position(120);
    OK(commit_now(run.table, &position, &err));
    table_close(run.table);
    run.rows[4] = (SourceRow){true, 0, 9};
    check(&run);
    run.table = world_open(&run.world);
    assert_true(claim_of(run.table, &claim, &snapshot));
    assert_int_equal(claim.major, 120);
    assert_string_equal(table_copy_progress(run.table), "until=64");
    TableView view;
    table_view(run.table, 0, 0, &view);
    assert_true(view.copying);
    table_close(run.table);
    extents_done(&run.done);
    world_done(&run.world);
}

/* ---------- columns that changed ---------- */
#define SHAPE_THEN "{\"columns\":1}"
#define SHAPE_NOW "{\"columns\":2}"

static bool is_same(void *context, const char *shape)
{
    assert_string_equal(shape, SHAPE_THEN);
    return *(const bool *)context;
}

static void put_copied(Table *table, const Schema *source, int32_t key)
{
    TableCopy *piece = table_copy_start(table);
    AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
    OK((writer = table_copy_writer_open(piece, &err)));
    AUTO(batch_free) Batch *batch = batch_new(source, 0, 1);
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    column_put_i64(batch, &batch->columns[0], key);
    for (size_t i = 1; i < source->field_count; i++)
        column_put_null(batch, &batch->columns[i]);
    OK(table_copy_put(writer, batch, &err));
    OK(table_copy_finish(writer, &err));
    OK(table_copy_take(table, piece, &err));
}

static const Field *column(const IcebergTable *loaded, const char *name)
{
    int at = schema_find(iceberg_schema(loaded), name);
    assert_true(at >= 0);
    return &iceberg_schema(loaded)->fields[at];
}

/* What the source's columns are by now: name renamed, amount dropped, and two more, of which one
 * has the name of before. */
static Schema *columns_now(const Schema *then)
{
    Schema *now = schema_new(5, 1);
    for (size_t i = 0; i < 3; i++)
        field_copy(&now->fields[i], &then->fields[i]);
    free(now->fields[2].name);
    now->fields[2].name = mem_strdup("label");
    now->fields[3] = world_field("extra", (Type){.kind = TYPE_INT32}, false);
    now->fields[4] = world_field("name", (Type){.kind = TYPE_STRING}, false);
    now->fields[3].origin = 5;
    now->fields[4].origin = 6;
    return now;
}

/* An unfinished copy goes on with the columns that it began with, or begins anew with others: its
 * rows go, columns that are known keep their ids. */
static void test_outdated(void **state)
{
    (void)state;
    World world;
    TableView view;
    bool same = true;
    world_init(&world, 3, MODE_UPSERT, NULL);
    for (size_t i = 0; i < 4; i++)
        world.source->fields[i].origin = (int32_t)i + 1;
    TableOptions options = world_options(&world);
    options.shape = SHAPE_THEN;
    options.same = is_same;
    options.resume_context = &same;
    Table *table;
    OK((table = table_open(&options, &err)));
    table_copy_begin(table, (RowPosition){100, 0});
    table_copy_set_progress(table, "until=64");
    put_copied(table, world.source, 1);
    Position position = world_position(100);
    OK(commit_now(table, &position, &err));
    table_close(table);

    OK((table = table_open(&options, &err)));
    table_view(table, 0, 0, &view);
    assert_true(view.has_claim && view.copying && !view.outdated);
    table_close(table);
    options.copy_whole = true;
    OK((table = table_open(&options, &err)));
    table_view(table, 0, 0, &view);
    assert_true(view.copying && view.outdated);
    table_close(table);

    AUTO(schema_free) Schema *now = columns_now(world.source);
    options.copy_whole = same = false;
    options.source = now;
    options.shape = SHAPE_NOW;
    OK((table = table_open(&options, &err)));
    table_view(table, 0, 0, &view);
    assert_true(view.has_claim && view.copying && view.outdated);
    table_copy_begin(table, (RowPosition){200, 0});
    table_copy_set_progress(table, COPY_COMPLETE);
    put_copied(table, now, 2);
    position = world_position(200);
    OK(commit_now(table, &position, &err));
    table_view(table, 0, 0, &view);
    assert_true(view.has_claim && !view.copying && !view.outdated);
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    assert_int_equal(column(loaded, "label")->id, 3);
    assert_int_equal(column(loaded, "amount")->id, 4);
    assert_int_equal(column(loaded, "extra")->id, 5);
    assert_int_equal(column(loaded, "name")->id, 6);
    const char *rows =
        iceberg_snapshot_summary(loaded, iceberg_current_snapshot(loaded), "total-records");
    assert_string_equal(rows, "1");
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outdated),
        cmocka_unit_test(test_converges),
        cmocka_unit_test(test_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
