/* links: firn_table */
/* What updates leave out, where it is bounded: values larger than are read at once, more than are
 * kept, files still open; and a row that the table does not have. */
#include "tests/unit/table/world.h"

#define ROWS 400u

static size_t value_bytes(uint32_t row)
{
    return row % 50 == 7 ? (size_t)3 << 20 : 100 + row * 37 % 5000;
}

static void put_row(Batch *batch, RowOp op, uint32_t row, uint64_t major, bool whole)
{
    batch_row_begin(batch, op, (RowPosition){major, batch->row_count + 1});
    column_put_i64(batch, &batch->columns[0], row);
    column_put_i32(batch, &batch->columns[1], (int32_t)major);
    if (whole) {
        size_t bytes = value_bytes(row);
        char *text = mem_alloc(bytes);
        for (size_t i = 0; i < bytes; i++)
            text[i] = (char)('a' + (row * 7 + i * i % 251) % 26);
        column_put_bytes(batch, &batch->columns[2], text, bytes);
        free(text);
    } else {
        column_put_unchanged(batch, &batch->columns[2]);
    }
    column_put_i128(batch, &batch->columns[3], row);
}

static void put(Table *table, const World *world, RowOp op, uint32_t from, uint32_t to,
                uint64_t major, bool whole)
{
    AUTO(batch_free) Batch *batch = batch_new(world->source, 0, to - from);
    for (uint32_t row = from; row < to; row++)
        put_row(batch, op, row, major, whole);
    OK(table_put(table, batch, &err));
}

static void look(const Batch *batch, uint32_t at, int64_t row_id, void *context)
{
    uint32_t *seen = context, bytes;
    (void)row_id;
    uint32_t row = (uint32_t)column_i64(&batch->columns[0], at);
    assert_false(column_is_null(&batch->columns[2], at));
    const uint8_t *text = column_bytes(&batch->columns[2], at, &bytes);
    assert_int_equal(bytes, value_bytes(row));
    for (size_t i = 0; i < bytes; i += 97)
        assert_int_equal(text[i], (char)('a' + (row * 7 + i * i % 251) % 26));
    (*seen)++;
}

static void check(Table *table, const World *world, uint64_t major, uint32_t rows, uint64_t filled)
{
    Position position = world_position(major + 1);
    OK(commit_now(table, &position, &err));
    uint32_t seen = 0;
    Head head;
    head_rows(world, &head, look, &seen);
    head_done(&head);
    assert_int_equal(seen, rows);
    TableFigures figures;
    table_figures(table, &figures);
    assert_int_equal(figures.filled, filled);
}

static void bounded(int format_version)
{
    World world;
    world_init(&world, format_version, MODE_UPSERT, NULL);
    world.spec.file_target_bytes = 1 << 20;
    Table *table = world_open(&world);
    for (uint32_t from = 0; from < ROWS; from += 50)
        put(table, &world, ROW_INSERT, from, from + 50, 16 + from, true);
    put(table, &world, ROW_UPDATE, 0, ROWS, 1000, false); /* of files that are still open, too */
    check(table, &world, 1000, ROWS, ROWS);
    put(table, &world, ROW_UPDATE, 0, ROWS, 2000, false);
    TableFigures figures;
    table_figures(table, &figures);
    assert_in_range(figures.memory_bytes, 1, 120 << 20);
    put(table, &world, ROW_UPDATE, 100, 130, 2100, false);
    put(table, &world, ROW_UPDATE, 110, 140, 2200, false);
    check(table, &world, 2200, ROWS, 2 * ROWS + 60);
    table_close(table);
    table = world_open(&world);
    put(table, &world, ROW_UPDATE, 0, ROWS, 3000, false);
    put(table, &world, ROW_INSERT, ROWS, ROWS + 10, 3100, true);
    check(table, &world, 3100, ROWS + 10, ROWS);
    table_close(table);
    world_done(&world);
}

static void bounded_v2(void **state)
{
    (void)state;
    bounded(2);
}

static void bounded_v3(void **state)
{
    (void)state;
    bounded(3);
}

static void no_such_row(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    put(table, &world, ROW_INSERT, 0, 10, 16, true);
    AUTO(batch_free) Batch *batch = batch_new(world.source, 0, 2);
    put_row(batch, ROW_UPDATE, 3, 32, false);
    put_row(batch, ROW_UPDATE, 10, 32, false);
    Error err = {0};
    assert_false(table_put(table, batch, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "BaseRowMissing");
    assert_non_null(strstr(err.message, "name"));
    table_close(table);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded_v2),
        cmocka_unit_test(bounded_v3),
        cmocka_unit_test(no_such_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
