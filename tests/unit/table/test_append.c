/* links: firn_table */
/* The change log: every change a row, in both formats, with what happened and where. */
#include "tests/unit/table/world.h"

#include "agent/table/iceberg/turn.h"

typedef struct Change {
    char op;
    uint64_t major, minor;
    int64_t id; /* -1: null */
    int32_t region;
    bool found;
} Change;

typedef struct Log {
    Change changes[32];
    size_t count, found;
} Log;

static void find_change(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)row_id;
    Log *log = context;
    uint32_t op_bytes, position_bytes;
    const uint8_t *op = column_bytes(&batch->columns[4], row, &op_bytes);
    const uint8_t *position = column_bytes(&batch->columns[5], row, &position_bytes);
    assert_int_equal(op_bytes, 1);
    assert_int_equal(position_bytes, 33);
    for (size_t i = 0; i < log->count; i++) {
        Change *change = &log->changes[i];
        char text[40];
        snprintf(text, sizeof text, "%016" PRIX64 ".%016" PRIX64, change->major, change->minor);
        if (memcmp(text, position, 33) != 0)
            continue;
        assert_false(change->found);
        change->found = true;
        log->found++;
        assert_int_equal(*op, change->op);
        assert_int_equal(column_is_null(&batch->columns[0], row), change->id < 0);
        if (change->id >= 0)
            assert_int_equal(column_i64(&batch->columns[0], row), change->id);
        bool has_rest = change->op != 'd' && change->op != 't';
        assert_int_equal(column_is_null(&batch->columns[1], row), !has_rest);
        if (has_rest)
            assert_int_equal(column_i32(&batch->columns[1], row), change->region);
        return;
    }
    fail_msg("position %.33s is not expected", (const char *)position);
}

static void put_change(Log *log, Batch *batch, RowOp op, char letter, uint64_t major,
                       uint64_t minor, int64_t id, int32_t region)
{
    log->changes[log->count++] =
        (Change){.op = letter, .major = major, .minor = minor, .id = id, .region = region};
    batch_row_begin(batch, op, (RowPosition){major, minor});
    column_put_i64(batch, &batch->columns[0], id);
    if (op == ROW_DELETE || op == ROW_MOVE) {
        for (int i = 1; i < 4; i++)
            column_put_null(batch, &batch->columns[i]);
        return;
    }
    column_put_i32(batch, &batch->columns[1], region);
    column_put_bytes(batch, &batch->columns[2], "name", 4);
    column_put_i128(batch, &batch->columns[3], -12345);
}

static void expect_log(const World *world, Log *log)
{
    Head head;
    log->found = 0;
    for (size_t i = 0; i < log->count; i++)
        log->changes[i].found = false;
    head_rows(world, &head, find_change, log);
    assert_int_equal(log->found, log->count);
    assert_int_equal(head.delete_file_count, 0);
    head_done(&head);
}

static void run_log(int format_version, const char *partition_by)
{
    World world;
    Log log = {0};
    world_init(&world, format_version, MODE_APPEND, partition_by);
    Table *table = world_open(&world);
    AUTO(table_copy_free) TableCopy *copy = NULL;
    copy = table_copy_start(table);
    AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
    OK((writer = table_copy_writer_open(copy, &err)));
    AUTO(batch_free) Batch *copied = batch_new(world.source, 0, 8);
    put_change(&log, copied, ROW_READ, 'r', 0, 1, 1, 7);
    put_change(&log, copied, ROW_READ, 'r', 0, 2, 2, 7);
    OK(table_copy_put(writer, copied, &err));
    OK(table_copy_finish(writer, &err));
    Position position = world_position(100);
    table_copy_writer_free(TAKE(writer));
    OK(commit_copy_now(TAKE(copy), table, &position, &err));
    expect_log(&world, &log);

    AUTO(batch_free) Batch *batch = batch_new(world.source, 0, 8);
    put_change(&log, batch, ROW_INSERT, 'c', 0xABCDEF0123456789, 1, 3, 8);
    put_change(&log, batch, ROW_UPDATE, 'u', 0xABCDEF0123456789, 2, 3, 9);
    put_change(&log, batch, ROW_DELETE, 'd', 0xABCDEF0123456789, 3, 2, 0);
    put_change(&log, batch, ROW_MOVE, 'd', 0xABCDEF0123456789, 4, 3, 0);
    put_change(&log, batch, ROW_UPDATE, 'u', 0xABCDEF0123456789, 5, 4, 9);
    OK(table_put(table, batch, &err));
    OK(table_truncate(table, (RowPosition){0xABCDEF0123456789, 6}, &err));
    log.changes[log.count++] =
        (Change){.op = 't', .major = 0xABCDEF0123456789, .minor = 6, .id = -1};
    position = world_position(0xABCDEF0123456790);
    OK(commit_now(table, &position, &err));
    expect_log(&world, &log);

    /* A restart repeats changes: dropped. */
    table_close(table);
    table = world_open(&world);
    OK(table_put(table, batch, &err));
    OK(table_truncate(table, (RowPosition){0xABCDEF0123456789, 6}, &err));
    TableFigures figures;
    table_figures(table, &figures);
    assert_int_equal(figures.pending_rows, 0);
    assert_int_equal(figures.rows, log.count);
    expect_log(&world, &log);
    table_close(table);
    world_done(&world);
}

static void test_v2(void **state)
{
    (void)state;
    run_log(2, NULL);
}

static void test_v3(void **state)
{
    (void)state;
    run_log(3, NULL);
}

static void test_partitioned(void **state)
{
    (void)state;
    run_log(2, "region");
}

/* The log of a server that took the other's place: its places are lower than those of the claim. */
static void test_lower_places(void **state)
{
    (void)state;
    World world;
    Log log = {0};
    world_init(&world, 2, MODE_APPEND, NULL);
    Table *table = world_open(&world);
    AUTO(batch_free) Batch *batch = batch_new(world.source, 0, 8);
    put_change(&log, batch, ROW_INSERT, 'c', 900, 1, 1, 8);
    OK(table_put(table, batch, &err));
    Position position = world_position(1000);
    OK(commit_now(table, &position, &err));
    table_close(table);

    table = world_open(&world);
    table_adopt(table, (RowPosition){50, 0});
    AUTO(batch_free) Batch *more = batch_new(world.source, 0, 8);
    put_change(&log, more, ROW_INSERT, 'c', 40, 1, 1, 8);
    log.count--; /* the table has it under its old place */
    put_change(&log, more, ROW_INSERT, 'c', 60, 1, 2, 8);
    OK(table_put(table, more, &err));
    position = world_position(70);
    OK(commit_now(table, &position, &err));
    expect_log(&world, &log);
    table_close(table);
    world_done(&world);
}

static double upkeep_after(const World *world, Table *table, uint64_t at, const char *said)
{
    AUTO(mem_free)
    char *uri = mem_format("%s/lake/orders/metadata/" TURN_FILE, world->warehouse);
    AUTO(batch_free) Batch *batch = batch_new(world->source, 0, 1);
    Log log = {0};
    Position position = world_position(at);
    TableFigures figures;
    if (said)
        OK(store_put(world->store, uri, said, strlen(said), &err));
    put_change(&log, batch, ROW_INSERT, 'c', at, 1, 1, 8);
    OK(table_put(table, batch, &err));
    OK(commit_now(table, &position, &err));
    table_figures(table, &figures);
    return table_upkeep(&figures);
}

/* What the process that removes orphans says beside the table is told with the table's commits. */
static void test_orphans_stay(void **state)
{
    (void)state;
    World world;
    setenv("FIRN_MAINTAIN_MS", "0", 1);
    world_init(&world, 2, MODE_APPEND, NULL);
    Table *table = world_open(&world);
    assert_true(upkeep_after(&world, table, 1, "{\"failed\": \"LocationShared\"}") ==
                1); /* unasked */
    world.spec.orphans_older_than_ms = 1;
    assert_true(upkeep_after(&world, table, 2, NULL) == 3);
    assert_true(upkeep_after(&world, table, 3, "{\"failed\": \"\"}") == 1);
    assert_true(upkeep_after(&world, table, 4, "{\"failed\": \"StoreFailed\"}") == 3);
    assert_true(upkeep_after(&world, table, 5, "what is this") == 1);
    unsetenv("FIRN_MAINTAIN_MS");
    table_close(table);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),           cmocka_unit_test(test_v3),
        cmocka_unit_test(test_partitioned),  cmocka_unit_test(test_lower_places),
        cmocka_unit_test(test_orphans_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
