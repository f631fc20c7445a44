/* links: firn_parquet */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>

#include "agent/table/parquet/parquet.h"
#include "tests/unit/parquet/memory_store.h"
#include "tests/unit/parquet/same_value.h"

/* A value generator per column: `shape` says what kind of data, so that every encoding is met. */
typedef enum Shape { SHAPE_SERIAL, SHAPE_FEW, SHAPE_RANDOM, SHAPE_CONSTANT, SHAPE_GROWING } Shape;
#define SHAPES 5

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t value_of(Shape shape, uint32_t row)
{
    switch (shape) {
    case SHAPE_SERIAL:
        return row;
    case SHAPE_FEW:
        return mix(row) % 50;
    case SHAPE_RANDOM:
        return mix(row);
    case SHAPE_CONSTANT:
        return 7;
    case SHAPE_GROWING: /* few at first, then all different: the dictionary is given up late */
        return row < 30000 ? mix(row) % 100 : mix(row) % 1000000;
    }
    return 0;
}

static void put_value(Batch *batch, Column *column, uint64_t value)
{
    const Type *type = &column->field->type;
    char text[2000];
    switch (type->kind) {
    case TYPE_BOOL:
        column_put_bool(batch, column, value & 1);
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        column_put_i32(batch, column, (int32_t)value);
        break;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        column_put_i64(batch, column, (int64_t)value);
        break;
    case TYPE_FLOAT32: {
        float f = (float)((double)(int64_t)value / 7);
        memcpy(column_put_fixed(batch, column), &f, sizeof f);
        break;
    }
    case TYPE_FLOAT64: {
        double d = (double)(int64_t)value / 7;
        memcpy(column_put_fixed(batch, column), &d, sizeof d);
        break;
    }
    case TYPE_DECIMAL: {
        __int128 limit = 1;
        for (unsigned i = 0; i < type->precision; i++)
            limit *= 10;
        column_put_i128(batch, column, (__int128)(int64_t)value * ((int64_t)1 << 40) % limit);
        break;
    }
    case TYPE_STRING:
    case TYPE_BINARY: {
        int bytes =
            snprintf(text, sizeof text, "%*llx", (int)(value % 90), (unsigned long long)value);
        column_put_bytes(batch, column, text, value % 13 ? (size_t)bytes : 0);
        break;
    }
    case TYPE_UUID:
    case TYPE_FIXED: {
        uint8_t *to = column_put_fixed(batch, column);
        for (uint32_t i = 0; i < column->width; i++)
            to[i] = (uint8_t)(mix(value) >> (i % 8 * 8));
        break;
    }
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        for (uint64_t i = 0; i < value % 5; i++) {
            column_element_room(batch, column->child);
            if (mix(value + i) % 9 == 0 && !column->child->field->required)
                column_put_null(batch, column->child);
            else
                put_value(batch, column->child, mix(value + i));
        }
        column_put_list(batch, column);
        break;
    }
}

#define KINDS 22
static void field_make(Field *field, int kind, int32_t id, bool required)
{
    static const Type types[] = {
        {.kind = TYPE_BOOL},
        {.kind = TYPE_INT32},
        {.kind = TYPE_INT64},
        {.kind = TYPE_FLOAT32},
        {.kind = TYPE_FLOAT64},
        {.kind = TYPE_DECIMAL, .precision = 9, .scale = 2},
        {.kind = TYPE_DECIMAL, .precision = 18},
        {.kind = TYPE_DECIMAL, .precision = 25, .scale = 5},
        {.kind = TYPE_DECIMAL, .precision = 38, .scale = 10},
        {.kind = TYPE_DATE},
        {.kind = TYPE_TIME},
        {.kind = TYPE_TIMESTAMP},
        {.kind = TYPE_TIMESTAMPTZ},
        {.kind = TYPE_STRING},
        {.kind = TYPE_BINARY},
        {.kind = TYPE_UUID},
        {.kind = TYPE_FIXED, .fixed_bytes = 5},
        {.kind = TYPE_FIXED, .fixed_bytes = 70},
        {.kind = TYPE_LIST},
        {.kind = TYPE_LIST},
        {.kind = TYPE_LIST},
        {.kind = TYPE_LIST},
    };
    *field = (Field){.type = types[kind], .id = id, .required = required};
    field->name = mem_format("f%d", id);
    if (field->type.kind == TYPE_LIST) {
        static const int elements[] = {2, 13, 0, 8};
        field->type.element = mem_zalloc(sizeof(Field));
        field_make(field->type.element, elements[kind - 18], id + 1000, kind & 1);
    }
}

static Schema *every_type(void)
{
    Schema *schema = schema_new(KINDS * 2, 0);
    for (int i = 0; i < KINDS * 2; i++)
        field_make(&schema->fields[i], i / 2, i + 1, i & 1);
    return schema;
}

/* Optional columns have nulls in every null_every-th row (0: none). */
static Batch *batch_make(const Schema *schema, uint32_t rows, Shape shape, uint32_t null_every)
{
    Batch *batch = batch_new(schema, 0, rows);
    for (uint32_t row = 0; row < rows; row++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0, row});
        for (uint32_t i = 0; i < batch->column_count; i++) {
            Column *column = &batch->columns[i];
            if (!column->field->required && null_every && mix(row + i) % null_every == 0)
                column_put_null(batch, column);
            else
                put_value(batch, column, value_of(shape, row));
        }
    }
    return batch;
}

static void write_batch(const Batch *batch, const ParquetOptions *options,
                        const uint32_t *selection, size_t count, size_t step, Bytes *file,
                        ParquetFileInfo *info)
{
    Error err = {0};
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(batch->schema, options, memory_writer(file), &err);
    assert_non_null(writer);
    const Column **columns = mem_array(batch->column_count, sizeof *columns);
    for (uint32_t i = 0; i < batch->column_count; i++)
        columns[i] = &batch->columns[i];
    if (!selection) {
        if (!parquet_writer_put(writer, columns, NULL, count, &err))
            fail_msg("%s", err.message);
    } else {
        for (size_t at = 0; at < count; at += step)
            if (!parquet_writer_put(writer, columns, selection + at,
                                    count - at < step ? count - at : step, &err))
                fail_msg("%s", err.message);
    }
    assert_int_equal(parquet_writer_rows(writer), count);
    assert_true(parquet_writer_memory(writer) > 0);
    if (!parquet_writer_finish(writer, info, &err))
        fail_msg("%s", err.message);
    assert_true(memory_finished);
    assert_int_equal(info->bytes, file->used);
    assert_int_equal(info->rows, count);
    free(columns);
}

static void read_compare(const Bytes *file, const Batch *batch, const uint32_t *selection,
                         size_t count)
{
    Error err = {0};
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(file), batch->schema, &err);
    if (!reader)
        fail_msg("%s", err.message);
    assert_int_equal(parquet_reader_rows(reader), count);
    size_t at = 0;
    for (;;) {
        AUTO(batch_free) Batch *got = NULL;
        if (!parquet_reader_next(reader, &got, &err))
            fail_msg("%s", err.message);
        if (!got)
            break;
        for (uint32_t i = 0; i < got->column_count; i++)
            for (uint32_t row = 0; row < got->row_count; row++)
                same_value(&batch->columns[i], selection ? selection[at + row] : (uint32_t)at + row,
                           &got->columns[i], row);
        for (uint32_t row = 0; row < got->row_count; row++)
            assert_int_equal(got->positions[row].minor, at + row);
        at += got->row_count;
    }
    assert_int_equal(at, count);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    Schema *schema = every_type();
    static const uint32_t rows[] = {1, 7, 1000, 45000};
    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t size = 0; size < 4; size++) {
            if (rows[size] == 45000 && shape == SHAPE_SERIAL)
                continue; /* slow under the sanitizers, and RANDOM meets the same code */
            for (uint32_t nulls = 0; nulls <= 3; nulls += 3) {
                AUTO(batch_free) Batch *batch = batch_make(schema, rows[size], shape, nulls);
                ParquetOptions options;
                parquet_options_default(&options);
                options.zstd_level = shape == SHAPE_FEW ? 0 : 1;
                Bytes file = {0};
                ParquetFileInfo info;
                write_batch(batch, &options, NULL, rows[size], 0, &file, &info);
                read_compare(&file, batch, NULL, rows[size]);
                parquet_file_info_done(&info);
                bytes_done(&file);
            }
        }
    }
    schema_free(schema);
    assert_int_equal(memory_open, 0);
}

static void selections_and_small_groups(void **state)
{
    (void)state;
    Schema *schema = every_type();
    AUTO(batch_free) Batch *batch = batch_make(schema, 5000, SHAPE_FEW, 4);
    uint32_t *selection = mem_array(7000, sizeof *selection);
    for (uint32_t i = 0; i < 7000; i++)
        selection[i] = (uint32_t)(mix(i) % 5000);
    for (size_t step = 1; step <= 7000; step = step * 7 + 100) {
        ParquetOptions options;
        parquet_options_default(&options);
        options.row_group_rows = 1300;
        options.page_bytes = 4096;
        Bytes file = {0};
        ParquetFileInfo info;
        write_batch(batch, &options, selection, 7000, step, &file, &info);
        assert_int_equal(info.split_count, 6);
        read_compare(&file, batch, selection, 7000);
        parquet_file_info_done(&info);
        bytes_done(&file);
    }
    free(selection);
    schema_free(schema);
}

static void an_empty_file(void **state)
{
    (void)state;
    Schema *schema = every_type();
    AUTO(batch_free) Batch *batch = batch_make(schema, 1, SHAPE_FEW, 0);
    ParquetOptions options;
    parquet_options_default(&options);
    Bytes file = {0};
    ParquetFileInfo info;
    write_batch(batch, &options, NULL, 0, 0, &file, &info);
    read_compare(&file, batch, NULL, 0);
    assert_false(info.fields[2].has_lower);
    parquet_file_info_done(&info);
    bytes_done(&file);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(selections_and_small_groups),
        cmocka_unit_test(an_empty_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
