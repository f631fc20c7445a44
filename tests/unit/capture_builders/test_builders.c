/* links: firn_capture_builders */
#include "tests/unit/unit.h"

#include "agent/capture/builders/builders.h"
#include "common/mem.h"

enum { TABLES = 3 };

typedef struct Fixture {
    Schema *schema;
    Builders builders;
    int64_t put;   /* rows so far: each is its number, and the next */
    int64_t taken; /* … of them, in the order put */
} Fixture;

static int setup(void **state)
{
    Fixture *fixture = calloc(1, sizeof *fixture);
    fixture->schema = schema_new(2, 1);
    fixture->schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    fixture->schema->fields[1] = (Field){.name = mem_strdup("what"), .type.kind = TYPE_BINARY};
    builders_init(&fixture->builders, TABLES, false);
    *state = fixture;
    return 0;
}

/* What nobody took is freed, too: the sanitizer looks. */
static int teardown(void **state)
{
    Fixture *fixture = *state;
    builders_done(&fixture->builders);
    schema_free(fixture->schema);
    free(fixture);
    return 0;
}

static void put(Fixture *fixture, uint32_t table, size_t bytes)
{
    AUTO(mem_free) uint8_t *what = mem_zalloc(bytes + 1);
    Batch *batch = builders_batch(&fixture->builders, table, fixture->schema);
    size_t before = batch->bytes;
    assert_true(batch->row_count + 2 <= batch->row_max);
    batch_row_begin(batch, ROW_INSERT, (RowPosition){1, (uint64_t)fixture->put});
    column_put_i64(batch, &batch->columns[0], fixture->put++);
    column_put_bytes(batch, &batch->columns[1], what, bytes);
    builders_filled(&fixture->builders, table, batch, before);
}

/* Takes the next change, a batch of the table with the rows that come next; how many. */
static uint32_t take_rows(Fixture *fixture, uint32_t table)
{
    Change change;
    assert_true(builders_take(&fixture->builders, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    assert_int_equal(change.table, table);
    assert_int_equal(change.batch->table, table);
    uint32_t rows = change.batch->row_count;
    for (uint32_t i = 0; i < rows; i++)
        assert_int_equal(column_i64(&change.batch->columns[0], i), fixture->taken++);
    batch_free(change.batch);
    return rows;
}

static void take_nothing(Fixture *fixture)
{
    Change change;
    assert_false(builders_take(&fixture->builders, &change));
    assert_int_equal(fixture->taken, fixture->put);
}

/* A table that many rows come for gets large batches; no row is lost between two. */
static void batches_grow_with_the_flow(void **state)
{
    Fixture *fixture = *state;
    uint32_t most = 0, least = UINT32_MAX;
    while (fixture->put < 100000)
        put(fixture, 1, 8);
    builders_flush(&fixture->builders, 1);
    while (fixture->taken < fixture->put) {
        uint32_t rows = take_rows(fixture, 1);
        most = rows > most ? rows : most;
        least = rows < least ? rows : least;
    }
    take_nothing(fixture);
    assert_true(least <= BUILDERS_ROWS_FIRST);
    assert_in_range(most, BUILDERS_ROWS_MAX - 1, BUILDERS_ROWS_MAX);
}

static void batches_shrink_where_little_comes(void **state)
{
    Fixture *fixture = *state;
    while (fixture->put < 20000)
        put(fixture, 0, 8);
    assert_int_equal(fixture->builders.tables[0].row_max, BUILDERS_ROWS_MAX);
    for (int i = 0; i < 20; i++) {
        builders_flush_all(&fixture->builders);
        put(fixture, 0, 8);
    }
    assert_int_equal(fixture->builders.tables[0].row_max, BUILDERS_ROWS_FIRST);
    assert_int_equal(fixture->builders.tables[2].row_max, BUILDERS_ROWS_FIRST);
}

/* Also of tables whose batch went before, or never had a row: those are no change. */
static void a_checkpoint_stands_behind_every_row(void **state)
{
    Fixture *fixture = *state;
    Builders *builders = &fixture->builders;
    Change change;
    put(fixture, 2, 10);
    builders_flush(builders, 2);
    put(fixture, 2, 10);
    put(fixture, 0, 10);
    (void)builders_batch(builders, 1, fixture->schema);
    assert_true(builders->checkpoint_bytes >= 30);
    builders_checkpoint(builders, (RowPosition){7, 3}, 1234);
    assert_int_equal(builders->checkpoint_bytes, 0);
    assert_int_equal(builders->pending_bytes, 0);
    assert_int_equal(take_rows(fixture, 2), 1);
    assert_int_equal(take_rows(fixture, 2), 1);
    assert_int_equal(take_rows(fixture, 0), 1);
    assert_true(builders_take(builders, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    assert_int_equal(change.position.at.major, 7);
    assert_int_equal(change.position.at.minor, 3);
    assert_int_equal(change.commit_us, 1234);
    take_nothing(fixture);
    put(fixture, 2, 10); /* listed again */
    builders_flush_all(builders);
    assert_int_equal(take_rows(fixture, 2), 1);
    take_nothing(fixture);
}

/* A batch of a few large rows, and many tables with a little each. */
static void bytes_fill_a_batch_too(void **state)
{
    Fixture *fixture = *state;
    put(fixture, 0, BATCH_BYTES_FULL);
    assert_int_equal(take_rows(fixture, 0), 1);
    take_nothing(fixture);
}

static void too_much_pending_is_handed_on(void **state)
{
    enum { MANY = 1000 };
    const size_t each = BUILDERS_PENDING_BYTES_MAX / MANY;
    Fixture *fixture = *state;
    Builders *builders = &fixture->builders;
    builders_done(builders);
    builders_init(builders, MANY, false);
    for (uint32_t i = 0; i + 1 < MANY; i++)
        put(fixture, i, each);
    while (!builders->ready_count && fixture->put < 2 * MANY)
        put(fixture, MANY - 1, each);
    assert_int_equal(builders->pending_bytes, 0);
    for (uint32_t i = 0; i + 1 < MANY; i++)
        assert_int_equal(take_rows(fixture, i), 1);
    (void)take_rows(fixture, MANY - 1);
    take_nothing(fixture);
}

/* builders_flush_all's assertion minds what is forgotten. */
static void what_was_refused_still_took_room(void **state)
{
    Fixture *fixture = *state;
    Builders *builders = &fixture->builders;
    Batch *batch = builders_batch(builders, 0, fixture->schema);
    size_t before = batch->bytes;
    batch_row_begin(batch, ROW_INSERT, (RowPosition){1, 1});
    column_put_i64(batch, &batch->columns[0], 5);
    batch_row_undo(batch);
    builders_refused(builders, batch, before);
    builders_flush_all(builders);
    take_nothing(fixture);
}

static void a_schema_is_the_sources(void **state)
{
    Fixture *fixture = *state;
    char shape[] = "{}";
    SourceTable source = {.schema = fixture->schema, .shape = shape};
    builders_schema(&fixture->builders, 2, &source, (RowPosition){4, 5})->alone = true;
    Change change;
    assert_true(builders_take(&fixture->builders, &change));
    assert_int_equal(change.kind, CHANGE_SCHEMA);
    assert_int_equal(change.table, 2);
    assert_ptr_equal(change.schema, fixture->schema);
    assert_ptr_equal(change.shape, shape);
    assert_int_equal(change.row.major, 4);
    assert_int_equal(change.row.minor, 5);
    assert_true(change.alone);
}

static void changes_are_counted_in_their_transaction(void **state)
{
    Builders *builders = &((Fixture *)*state)->builders;
    uint64_t of_table;
    for (int transaction = 0; transaction < 2; transaction++) {
        builders_begin(builders);
        assert_int_equal(builders->order, 0);
        assert_int_equal(builders_count(builders, 0, &of_table), 1);
        assert_int_equal(of_table, 1);
        assert_int_equal(builders_count(builders, 2, &of_table), 2);
        assert_int_equal(of_table, 1);
        assert_int_equal(builders_count(builders, 0, &of_table), 3);
        assert_int_equal(of_table, 2);
        builders_uncount(builders, 0);
        assert_int_equal(builders_count(builders, 0, &of_table), 3);
        assert_int_equal(of_table, 2);
    }
}

/* Batches have origins where they are asked for. */
static void origins_are_kept(void **state)
{
    Fixture *fixture = *state;
    assert_null(builders_batch(&fixture->builders, 0, fixture->schema)->origins);
    builders_done(&fixture->builders);
    builders_init(&fixture->builders, TABLES, true);
    assert_non_null(builders_batch(&fixture->builders, 0, fixture->schema)->origins);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(batches_grow_with_the_flow),
        WITH(batches_shrink_where_little_comes),
        WITH(a_checkpoint_stands_behind_every_row),
        WITH(bytes_fill_a_batch_too),
        WITH(too_much_pending_is_handed_on),
        WITH(what_was_refused_still_took_room),
        WITH(a_schema_is_the_sources),
        WITH(changes_are_counted_in_their_transaction),
        WITH(origins_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
