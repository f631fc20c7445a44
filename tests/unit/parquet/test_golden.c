/* links: firn_parquet */
/* Files written by pyarrow (tests/golden/parquet/make.py): one table of 40 rows in five ways of
 * encoding, compressing and paging. All five must read alike, and like the table. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/table/parquet/parquet.h"
#include "tests/unit/parquet/golden_schema.h"
#include "tests/unit/parquet/memory_store.h"
#include "tests/unit/parquet/same_value.h"

#define ROWS 40
#define SERIAL 3 /* the column whose value is its row */

static Batch *read_golden(const Schema *schema, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/parquet/%s.parquet", GOLDEN, name);
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    Bytes file = {0};
    bytes_reserve(&file, 1 << 20);
    file.used = fread(file.data, 1, file.held, from);
    fclose(from);
    Error err = {0};
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
    Batch *batch = NULL;
    if (!reader || !parquet_reader_next(reader, &batch, &err))
        fail_msg("%s: %s", name, err.message);
    assert_int_equal(parquet_reader_rows(reader), ROWS);
    assert_int_equal(batch->row_count, ROWS);
    bytes_done(&file);
    return batch;
}

static void five_ways_one_table(void **state)
{
    (void)state;
    static const char *const names[] = {"snappy_v1", "zstd_v2", "gzip_delta_v1", "none_delta_v2",
                                        "zstd_split_v1"};
    AUTO(schema_free) Schema *schema = golden_schema();
    AUTO(batch_free) Batch *first = read_golden(schema, names[0]);
    const Column *serial = &first->columns[SERIAL];
    for (uint32_t row = 0; row < ROWS; row++)
        if (!column_is_null(serial, row))
            assert_int_equal(column_i64(serial, row), row);
    for (uint32_t i = 0; i < first->column_count; i++) {
        assert_true(first->columns[i].null_count > 0);
        assert_true(first->columns[i].null_count < ROWS / 2);
    }
    for (size_t n = 1; n < sizeof names / sizeof names[0]; n++) {
        AUTO(batch_free) Batch *other = read_golden(schema, names[n]);
        for (uint32_t i = 0; i < first->column_count; i++)
            for (uint32_t row = 0; row < ROWS; row++)
                same_value(&first->columns[i], row, &other->columns[i], row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(five_ways_one_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
