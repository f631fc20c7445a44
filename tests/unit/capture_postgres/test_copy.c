/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include "tests/unit/capture_postgres/fixture.h"

static const FixtureColumn columns[] = {
    {.name = "id", .oid = 20, .typmod = -1, .required = true, .key = true},
    {.name = "name", .oid = 25, .typmod = -1},
};

typedef struct Copy {
    PgTable table;
    Batch *batch;
    PgValue values[2];
} Copy;

static int setup(void **state)
{
    Copy *copy = calloc(1, sizeof *copy);
    fixture_table(&copy->table, "orders", 100, 'd', columns, 2);
    copy->batch = batch_new(copy->table.source->schema, 0, 16);
    *state = copy;
    return 0;
}

static int teardown(void **state)
{
    Copy *copy = *state;
    batch_free(copy->batch);
    fixture_table_done(&copy->table);
    free(copy);
    return 0;
}

/* name NULL: null; bytes_cut off the end. */
static bool decode(Copy *copy, uint16_t fields, int64_t id, const char *name, size_t bytes_cut,
                   Error *err)
{
    AUTO(text_done) Bytes tuple = {0};
    put_u16be(&tuple, fields);
    bytes_put_u32be(&tuple, 8);
    bytes_put_u64be(&tuple, (uint64_t)id);
    if (name)
        put_counted(&tuple, name, strlen(name));
    else
        bytes_put_u32be(&tuple, UINT32_MAX);
    size_t bytes = tuple.used - bytes_cut;
    uint8_t *exact = malloc(bytes + 1);
    memcpy(exact, tuple.data, bytes);
    bool ok = copy_decode_row(&copy->table, copy->batch, (RowPosition){5, 0}, copy->values, exact,
                              bytes, err);
    free(exact);
    return ok;
}

static void rows_go_into_columns(void **state)
{
    Copy *copy = *state;
    Error err = {0};
    assert_true(decode(copy, 2, 1, "one", 0, &err));
    assert_true(decode(copy, 2, -2, NULL, 0, &err));
    assert_true(decode(copy, 2, 3, "", 0, &err));
    assert_int_equal(copy->batch->row_count, 3);
    assert_int_equal(copy->batch->ops[2], ROW_READ);
    assert_int_equal(copy->batch->positions[2].major, 5);
    assert_int_equal(column_i64(&copy->batch->columns[0], 1), -2);
    assert_true(column_is_null(&copy->batch->columns[1], 1));
    assert_false(column_is_null(&copy->batch->columns[1], 2));
}

static void bad_rows_leave_nothing_behind(void **state)
{
    Copy *copy = *state;
    assert_true(decode(copy, 2, 1, "one", 0, NULL));
    for (size_t cut = 1; cut < 2 + 12 + 4 + 3; cut++) {
        Error err = {0};
        assert_false(decode(copy, 2, 2, "two", cut, &err));
        assert_string_equal(err.code, "BadMessage");
        assert_int_equal(copy->batch->row_count, 1);
        assert_int_equal(copy->batch->columns[0].rows, 1);
        assert_int_equal(copy->batch->columns[1].rows, 1);
    }
    Error err = {0};
    assert_false(decode(copy, 3, 2, "two", 0, &err));
    assert_false(decode(copy, 1, 2, "two", 0, &err));
    assert_false(decode(copy, 2, 4711, "\xff", 0, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "public.orders column name"));
    assert_non_null(strstr(err.message, "id=4711"));
    assert_true(decode(copy, 2, 2, "two", 0, &err));
    assert_int_equal(copy->batch->row_count, 2);
    uint32_t bytes;
    assert_memory_equal(column_bytes(&copy->batch->columns[1], 1, &bytes), "two", 3);
}

static void the_header_is_checked(void **state)
{
    Copy *copy = *state;
    static const char good[] = "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\2xy";
    Error err = {0};
    Reader in = reader_over(good, sizeof good - 1);
    assert_true(copy_read_header(&copy->table, &in, &err));
    assert_int_equal(reader_left(&in), 0);
    for (size_t bytes = 0; bytes < sizeof good - 1; bytes++) {
        in = reader_over(good, bytes);
        assert_false(copy_read_header(&copy->table, &in, &err));
    }
    in = reader_over("PGCOPY\n\xff\r\n\0\0\1\0\0\0\0\0\0", 19); /* oids */
    assert_false(copy_read_header(&copy->table, &in, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_go_into_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_rows_leave_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(the_header_is_checked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
