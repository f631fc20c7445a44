/* links: firn_table */
/* Upsert against a naive model: random inserts, updates, deletes, moves and truncates, commits,
 * restarts with changes repeated; after each commit the head is read back and compared, content and
 * row ids. Some tables begin with v2, and are raised to v3 halfway. */
#include "tests/unit/table/world.h"

#define KEYS 3000
#define BATCH_ROWS 300

typedef struct Row {
    bool live;
    bool null_name;
    int32_t region;
    int64_t amount;
    uint64_t version, named;     /* these make the name: the key it was given under */
    bool same_name, same_amount; /* the update leaves them out */
    int64_t row_id;              /* -1: not known before the next look at the table */
} Row;

typedef struct Run {
    World world;
    Table *table;
    uint64_t seed;
    uint64_t major; /* of the latest transaction */
    uint64_t committed_major;
    Row rows[KEYS];
    Row committed[KEYS]; /* as of the last commit */
    bool seen[KEYS];
    int64_t row_id_max; /* seen so far */
    int64_t row_id_max_now;
    size_t looked_at;
    bool raised;
} Run;

static void put_row(Run *run, Batch *batch, RowOp op, uint64_t key, const Row *row, uint64_t minor)
{
    (void)run;
    batch_row_begin(batch, op, (RowPosition){run->major, minor});
    column_put_i64(batch, &batch->columns[0], (int64_t)key);
    if (op == ROW_DELETE || op == ROW_MOVE) {
        for (int i = 1; i < 4; i++)
            column_put_null(batch, &batch->columns[i]);
        return;
    }
    char name[64];
    snprintf(name, sizeof name, "row %" PRIu64 " version %" PRIu64, row->named, row->version);
    column_put_i32(batch, &batch->columns[1], row->region);
    if (row->same_name && op == ROW_UPDATE)
        column_put_unchanged(batch, &batch->columns[2]);
    else if (row->null_name)
        column_put_null(batch, &batch->columns[2]);
    else
        column_put_bytes(batch, &batch->columns[2], name, strlen(name));
    if (row->same_amount && op == ROW_UPDATE)
        column_put_unchanged(batch, &batch->columns[3]);
    else
        column_put_i128(batch, &batch->columns[3], row->amount);
}

static Row fresh_row(Run *run, uint64_t key, int64_t row_id)
{
    uint64_t random = next_random(&run->seed);
    return (Row){.live = true,
                 .null_name = random % 11 == 0,
                 .region = (int32_t)(random >> 8) % 3,
                 .amount = (int64_t)(random >> 20) % 1000000,
                 .version = random % 100000,
                 .named = key,
                 .row_id = row_id};
}

/* An update, which may leave out what it does not change. */
static Row changed_row(Run *run, uint64_t key, const Row *old)
{
    Row row = fresh_row(run, key, old->row_id);
    row.same_name = next_random(&run->seed) % 3 == 0;
    row.same_amount = next_random(&run->seed) % 4 == 0;
    if (row.same_name) {
        row.null_name = old->null_name;
        row.version = old->version;
        row.named = old->named;
    }
    if (row.same_amount)
        row.amount = old->amount;
    return row;
}

/* One batch of changes, into the model as well. */
static Batch *make_batch(Run *run, uint64_t keys)
{
    Batch *batch = batch_new(run->world.source, 0, BATCH_ROWS);
    run->major += 16;
    uint64_t minor = 0;
    while (batch->row_count + 2 <= BATCH_ROWS) {
        uint64_t key = next_random(&run->seed) % keys, dice = next_random(&run->seed) % 100;
        Row *row = &run->rows[key];
        if (!row->live) {
            if (dice < 10) { /* a delete of what isn't there */
                put_row(run, batch, ROW_DELETE, key, row, ++minor);
                continue;
            }
            *row = fresh_row(run, key, -1);
            put_row(run, batch, ROW_INSERT, key, row, ++minor);
        } else if (dice < 65) {
            *row = changed_row(run, key, row);
            put_row(run, batch, ROW_UPDATE, key, row, ++minor);
        } else if (dice < 90) {
            row->live = false;
            put_row(run, batch, ROW_DELETE, key, row, ++minor);
        } else {
            uint64_t other = next_random(&run->seed) % keys;
            if (run->rows[other].live)
                continue;
            run->rows[other] = changed_row(run, other, row);
            row->live = false;
            put_row(run, batch, ROW_MOVE, key, row, ++minor);
            put_row(run, batch, ROW_UPDATE, other, &run->rows[other], ++minor);
        }
    }
    return batch;
}

static void look_at_row(const Batch *batch, uint32_t at, int64_t row_id, void *context)
{
    Run *run = context;
    int64_t key = column_i64(&batch->columns[0], at);
    assert_in_range(key, 0, KEYS - 1);
    Row *row = &run->rows[key];
    assert_true(row->live);
    assert_false(run->seen[key]);
    run->seen[key] = true;
    run->looked_at++;
    assert_int_equal(column_i32(&batch->columns[1], at), row->region);
    assert_int_equal(column_is_null(&batch->columns[2], at), row->null_name);
    if (!row->null_name) {
        char name[64];
        snprintf(name, sizeof name, "row %" PRIu64 " version %" PRIu64, row->named, row->version);
        uint32_t bytes;
        const uint8_t *text = column_bytes(&batch->columns[2], at, &bytes);
        assert_int_equal(bytes, strlen(name));
        assert_memory_equal(text, name, bytes);
    }
    __int128 amount;
    memcpy(&amount, batch->columns[3].values + (size_t)at * 16, 16);
    assert_true(amount == row->amount);
    if (run->world.spec.format_version < 3)
        return;
    if (row->row_id >= 0)
        assert_int_equal(row_id, row->row_id);
    else
        assert_true(row_id > run->row_id_max); /* never that of a row of before */
    row->row_id = row_id;
    if (row_id > run->row_id_max_now)
        run->row_id_max_now = row_id;
}

static int id_order(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static void check_ids_differ(const Run *run)
{
    int64_t ids[KEYS];
    size_t count = 0;
    for (int i = 0; i < KEYS; i++)
        if (run->rows[i].live)
            ids[count++] = run->rows[i].row_id;
    qsort(ids, count, sizeof *ids, id_order);
    for (size_t i = 1; i < count; i++)
        assert_true(ids[i - 1] < ids[i]);
}

static void count_row(const Batch *batch, uint32_t at, int64_t row_id, void *context)
{
    (void)batch;
    (void)at;
    (void)row_id;
    ++*(size_t *)context;
}

static void check(Run *run)
{
    memset(run->seen, 0, sizeof run->seen);
    run->looked_at = 0;
    Head head;
    head_rows(&run->world, &head, look_at_row, run);
    size_t live = 0;
    for (int i = 0; i < KEYS; i++)
        live += run->rows[i].live;
    assert_int_equal(run->looked_at, live);
    TableFigures figures;
    table_figures(run->table, &figures);
    if (run->world.spec.format_version >= 3 && !run->raised)
        assert_int_equal(figures.rows, live);
    else /* too few may be said until the index is there: deletes of removed files count */
        assert_in_range(figures.rows, 0, live);
    assert_int_equal(figures.pending_rows, 0);
    run->row_id_max = run->row_id_max_now;
    if (run->world.spec.format_version >= 3)
        check_ids_differ(run);
    head_done(&head);
}

static void commit(Run *run)
{
    Position position = world_position(run->major + 1);
    OK(commit_now(run->table, &position, &err));
    run->committed_major = run->major;
    check(run);
    memcpy(run->committed, run->rows, sizeof run->rows);
}

/* A new process: what was pending is gone. */
static void reopen(Run *run)
{
    table_close(run->table);
    run->table = world_open(&run->world);
    memcpy(run->rows, run->committed, sizeof run->rows);
    run->major = run->committed_major;
    TableView view;
    table_view(run->table, 0, 0, &view);
    assert_true(view.has_claim && view.is_ancestor);
    assert_int_equal(view.lanes[0].passed.major, run->committed_major + 1);
    assert_string_equal(view.source, "postgresql/7/1/firn");
}

static size_t head_deletes(const Run *run, size_t *ret_vectors)
{
    size_t count = 0;
    Head head;
    head_rows(&run->world, &head, count_row, &count);
    *ret_vectors = head.vector_count;
    count = head.delete_file_count;
    head_done(&head);
    return count;
}

/* The resource asks for v3 from here on: the table is opened anew, and every row has its id. */
static void raise_version(Run *run)
{
    size_t vectors, deletes;
    for (int round = 0; round < 2; round++) {
        AUTO(batch_free) Batch *batch = make_batch(run, KEYS);
        OK(table_put(run->table, batch, &err));
        commit(run);
    }
    deletes = head_deletes(run, &vectors);
    assert_true(deletes > 0 && vectors == 0);
    int64_t claimed = world_snapshot(run->table);
    run->world.spec.format_version = 3;
    run->raised = true;
    reopen(run);
    assert_int_equal(table_raised_from(run->table), 2);
    assert_int_equal(world_snapshot(run->table), claimed);
    assert_int_equal(head_deletes(run, &vectors), deletes);
    assert_int_equal(vectors, 0);
    check(run); /* from here on it knows their ids */
    memcpy(run->committed, run->rows, sizeof run->rows);
    reopen(run);
    assert_int_equal(table_raised_from(run->table), 0);
}

/* Rows the table has passed: garbage that must not be looked at. */
static void put_repeated(Run *run)
{
    Run before = *run;
    before.major -= 16;
    AUTO(batch_free) Batch *batch = make_batch(&before, KEYS);
    if (run->table && run->committed_major == run->major)
        OK(table_put(run->table, batch, &err));
}

static void copy(Run *run)
{
    AUTO(table_copy_free) TableCopy *all = NULL;
    all = table_copy_start(run->table);
    for (int part = 0; part < 2; part++) {
        AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
        OK((writer = table_copy_writer_open(all, &err)));
        AUTO(batch_free) Batch *batch = batch_new(run->world.source, 0, KEYS);
        for (uint64_t key = (uint64_t)part; key < KEYS; key += 4) {
            run->rows[key] = fresh_row(run, key, -1);
            put_row(run, batch, ROW_READ, key, &run->rows[key], 0);
        }
        OK(table_copy_put(writer, batch, &err));
        OK(table_copy_finish(writer, &err));
    }
    Position position = world_position(run->major + 1);
    OK(commit_copy_now(TAKE(all), run->table, &position, &err));
    run->committed_major = run->major;
    check(run);
    memcpy(run->committed, run->rows, sizeof run->rows);
}

static void truncate_table(Run *run)
{
    run->major += 16;
    OK(table_truncate(run->table, (RowPosition){run->major, 1}, &err));
    for (int i = 0; i < KEYS; i++)
        run->rows[i].live = false;
}

/* id, region, name, unscaled amount, row id: tabs between. */
static void print_rows(const Run *run)
{
    for (int key = 0; key < KEYS; key++) {
        const Row *row = &run->rows[key];
        if (!row->live)
            continue;
        char name[64] = "\\N";
        if (!row->null_name)
            snprintf(name, sizeof name, "row %" PRIu64 " version %" PRIu64, row->named,
                     row->version);
        printf("%d\t%d\t%s\t%" PRId64 "\t%" PRId64 "\n", key, row->region, name, row->amount,
               row->row_id);
    }
}

/* folder NULL: the table goes at the end; else it stays, and the model's rows are printed. raised:
 * it becomes v3 on the way. */
static void run_model_at(const char *folder, int format_version, bool raised,
                         const char *partition_by, bool with_copy, uint64_t seed)
{
    Run *run = mem_zalloc(sizeof *run);
    world_init_at(&run->world, folder, format_version, MODE_UPSERT, partition_by);
    run->seed = seed;
    run->major = 4096;
    run->row_id_max = run->row_id_max_now = -1;
    run->table = world_open(&run->world);
    assert_int_equal(world_snapshot(run->table), 0);
    if (with_copy)
        copy(run);
    uint64_t keys = KEYS;
    for (int step = 0; step < 60; step++) {
        if (raised && step == 25)
            raise_version(run);
        uint64_t dice = next_random(&run->seed) % 100;
        /* At times a few keys only: many versions in a batch, files that die whole. */
        if (dice % 7 == 0)
            keys = next_random(&run->seed) % 2 ? 40 : KEYS;
        if (dice < 60) {
            AUTO(batch_free) Batch *batch = make_batch(run, keys);
            OK(table_put(run->table, batch, &err));
            if (dice < 15) { /* other tables need the memory: what is open ends */
                OK(table_ease(run->table, &err));
                assert_int_equal(table_buffers(run->table), 0);
                table_forget(run->table);
                assert_int_equal(table_kept(run->table), 0);
            }
        } else if (dice < 85) {
            commit(run);
            put_repeated(run);
        } else if (dice < 93 && run->committed_major) {
            reopen(run);
        } else if (dice < 96) {
            truncate_table(run);
        }
    }
    commit(run);
    reopen(run);
    AUTO(batch_free) Batch *batch = make_batch(run, KEYS);
    OK(table_put(run->table, batch, &err));
    commit(run);
    table_close(run->table);
    if (folder)
        print_rows(run);
    else
        world_remove(&run->world);
    world_close(&run->world);
    free(run);
}

static void run_model(int format_version, const char *partition_by, bool with_copy, uint64_t seed)
{
    run_model_at(NULL, format_version, false, partition_by, with_copy, seed);
}

static void test_v2(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_model(2, NULL, seed & 1, seed);
}

static void test_v2_partitioned(void **state)
{
    (void)state;
    run_model(2, "region", true, 11);
    run_model(2, "bucket(5, id)", false, 12);
    run_model(2, "truncate(5, name)", true, 13);
}

static void test_v3(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 23; seed++)
        run_model(3, NULL, seed & 1, seed);
}

static void test_v3_partitioned(void **state)
{
    (void)state;
    run_model(3, "region", true, 31);
    run_model(3, "bucket(5, id)", false, 32);
}

static void test_raised(void **state)
{
    (void)state;
    for (uint64_t seed = 41; seed <= 44; seed++)
        run_model_at(NULL, 2, true, NULL, seed & 1, seed);
    run_model_at(NULL, 2, true, "region", true, 51);
    run_model_at(NULL, 2, true, "bucket(5, id)", false, 52);
}

/* FOLDER FORMAT PARTITION SEED: leaves the table there for tests/integration/test_table_engines.py
 * to read with other engines. FORMAT 2-3: raised on the way. */
int main(int argc, char **argv)
{
    if (argc == 5) {
        run_model_at(argv[1], (int)strtol(argv[2], NULL, 10), strcmp(argv[2], "2-3") == 0,
                     argv[3][0] ? argv[3] : NULL, true, strtoull(argv[4], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),     cmocka_unit_test(test_v2_partitioned),
        cmocka_unit_test(test_v3),     cmocka_unit_test(test_v3_partitioned),
        cmocka_unit_test(test_raised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
