/* links: firn_table */
/* When the store fails under the table: nothing is lost, nothing is doubled, the error says what to
 * do; and the initial copy's writers side by side. */
#include "tests/unit/table/deaf.h"
#include "tests/unit/table/world.h"

#include <fcntl.h>

#include "common/thread.h"

#define ROWS 200

static Batch *rows_of(const World *world, RowOp op, int64_t first, uint32_t count, uint64_t major)
{
    Batch *batch = batch_new(world->source, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        batch_row_begin(batch, op, (RowPosition){major, i + 1});
        column_put_i64(batch, &batch->columns[0], first + i);
        column_put_i32(batch, &batch->columns[1], (int32_t)(major % 1000));
        column_put_null(batch, &batch->columns[2]);
        column_put_null(batch, &batch->columns[3]);
    }
    return batch;
}

typedef struct Seen {
    int32_t regions[4000]; /* per id; 0: no such row */
    size_t count;
} Seen;

static void see(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)row_id;
    Seen *seen = context;
    int64_t id = column_i64(&batch->columns[0], row);
    assert_in_range(id, 0, 3999);
    assert_int_equal(seen->regions[id], 0);
    seen->regions[id] = column_i32(&batch->columns[1], row);
    seen->count++;
}

static void expect(const World *world, Seen *seen)
{
    *seen = (Seen){0};
    Head head;
    head_rows(world, &head, see, seen);
    head_done(&head);
}

/* A folder of the table becomes a file, and a folder again. */
static void breakdown(const World *world, const char *folder, bool broken)
{
    AUTO(mem_free) char *path = mem_format("%s/lake/orders/%s", world->folder, folder);
    AUTO(mem_free) char *away = mem_format("%s.away", path);
    if (broken) {
        assert_int_equal(rename(path, away), 0);
        int file = open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(file >= 0);
        close(file);
    } else {
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(away, path), 0);
    }
}

static void run_breakdown(int format_version, const char *folder)
{
    World world;
    Seen seen;
    world_init(&world, format_version, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    AUTO(batch_free) Batch *first = rows_of(&world, ROW_INSERT, 0, ROWS, 101);
    Position position = world_position(102);
    OK(table_put(table, first, &err));
    OK(commit_now(table, &position, &err));

    AUTO(batch_free) Batch *second = rows_of(&world, ROW_UPDATE, ROWS / 2, ROWS, 203);
    position = world_position(204);
    breakdown(&world, folder, true);
    Error refusal = {0};
    bool done = table_put(table, second, &refusal) && commit_now(table, &position, &refusal);
    assert_false(done); /* the fault struck */
    assert_true(refusal.kind != ERROR_NONE && refusal.code[0] && strstr(refusal.message, "orders"));
    assert_false(commit_now(table, &position, &refusal));
    assert_int_equal(refusal.kind, ERROR_RETRY);
    assert_string_equal(refusal.code, "TableFailed");
    table_close(table);
    breakdown(&world, folder, false);

    expect(&world, &seen);
    assert_int_equal(seen.count, ROWS);
    table = world_open(&world);
    RowPosition at;
    int64_t snapshot;
    claim_of(table, &at, &snapshot);
    assert_int_equal(at.major, 102);
    OK(table_put(table, first, &err)); /* repeated: dropped */
    OK(table_put(table, second, &err));
    OK(commit_now(table, &position, &err));
    expect(&world, &seen);
    assert_int_equal(seen.count, ROWS + ROWS / 2);
    for (int id = 0; id < ROWS + ROWS / 2; id++)
        assert_int_equal(seen.regions[id], id < ROWS / 2 ? 101 : 203);
    table_close(table);
    world_done(&world);
}

/* The flow ends (for another reason) before anybody could ask: the files are the table's. */
static void test_closed_while_unknown(void **state)
{
    (void)state;
    World world;
    Seen seen;
    world_init(&world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    AUTO(batch_free) Batch *rows = rows_of(&world, ROW_INSERT, 0, ROWS, 101);
    Position position = world_position(102);
    OK(table_put(table, rows, &err));
    deaf_begin(world.catalog);
    CommitAnswer answer;
    int64_t id, sequence;
    Error why = {0};
    assert_true(table_send(table, &position, NULL, &answer, &id, &sequence, &why));
    assert_int_equal(answer, ANSWER_UNKNOWN);
    table_close(table);
    deaf_end(world.catalog);
    expect(&world, &seen);
    assert_int_equal(seen.count, ROWS);
    world_done(&world);
}

static void test_data_folder_fails(void **state)
{
    (void)state;
    run_breakdown(2, "data");
    run_breakdown(3, "data");
}

static void test_metadata_folder_fails(void **state)
{
    (void)state;
    run_breakdown(2, "metadata");
    run_breakdown(3, "metadata");
}

typedef struct Part {
    const World *world;
    TableCopy *copy;
    int64_t first;
    char failure[600];
} Part;

static void copy_part(void *argument)
{
    Part *part = argument;
    Error refusal = {0};
    AUTO(table_copy_writer_free)
    TableCopyWriter *writer = table_copy_writer_open(part->copy, &refusal);
    bool ok = writer != NULL;
    for (int i = 0; ok && i < 10; i++) {
        AUTO(batch_free)
        Batch *batch =
            rows_of(part->world, ROW_READ, part->first + i * 100, 100, (uint64_t)i % 5 + 1);
        ok = table_copy_put(writer, batch, &refusal);
    }
    ok = ok && table_copy_finish(writer, &refusal);
    if (!ok)
        snprintf(part->failure, sizeof part->failure, "%s: %s", refusal.code, refusal.message);
}

static void test_copy_side_by_side(void **state)
{
    (void)state;
    World world;
    Seen seen;
    world_init(&world, 3, MODE_UPSERT, "region");
    Table *table = world_open(&world);
    TableCopy *copy;
    copy = table_copy_start(table);
    Part parts[4];
    Thread *threads[4];
    for (int i = 0; i < 4; i++) {
        parts[i] = (Part){.world = &world, .copy = copy, .first = i * 1000};
        threads[i] = thread_start("copy", copy_part, &parts[i]);
    }
    for (int i = 0; i < 4; i++) {
        thread_join(threads[i]);
        assert_string_equal(parts[i].failure, "");
    }
    Position position = world_position(100);
    OK(commit_copy_now(TAKE(copy), table, &position, &err));
    table_copy_free(copy);
    expect(&world, &seen);
    assert_int_equal(seen.count, 4000);
    for (int id = 0; id < 4000; id++)
        assert_int_equal(seen.regions[id], id / 100 % 10 % 5 + 1);
    TableFigures figures;
    table_figures(table, &figures);
    assert_int_equal(figures.changes, 4000);
    assert_int_equal(figures.rows, 4000);
    table_close(table);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_folder_fails),
        cmocka_unit_test(test_metadata_folder_fails),
        cmocka_unit_test(test_copy_side_by_side),
        cmocka_unit_test(test_closed_while_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
