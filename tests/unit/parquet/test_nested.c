/* links: firn_parquet */
/* Lists, maps and structs in each other, read back whole and row by row, from files of many pages
 * and row groups, with their offset index and without it. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/table/parquet/parquet.h"
#include "tests/unit/parquet/memory_store.h"
#include "tests/unit/parquet/same_value.h"

#define ROWS 3000u

static uint64_t state = 1;

static uint32_t below(uint32_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

static Field field(const char *name, int32_t id, Type type, bool required)
{
    return (Field){.name = mem_strdup(name), .id = id, .type = type, .required = required};
}

static Type of(TypeKind kind)
{
    return (Type){.kind = kind};
}

static Type list_of(Field element)
{
    Type type = {.kind = TYPE_LIST, .element = mem_zalloc(sizeof(Field))};
    *type.element = element;
    return type;
}

static Type map_of(Field key, Field value)
{
    Type type = {.kind = TYPE_MAP, .element = mem_array(2, sizeof(Field))};
    type.element[0] = key;
    type.element[1] = value;
    return type;
}

static Type struct_of(uint32_t count, const Field *fields)
{
    Type type = {
        .kind = TYPE_STRUCT, .field_count = count, .fields = mem_array(count, sizeof(Field))};
    memcpy(type.fields, fields, count * sizeof(Field));
    return type;
}

static Type pair(int32_t id, bool required)
{
    Field fields[] = {field("a", id, of(TYPE_INT32), required),
                      field("b", id + 1, of(TYPE_STRING), false)};
    return struct_of(2, fields);
}

/* What composites, arrays and hstore become, and deeper. */
static Schema *nested(void)
{
    Schema *schema = schema_new(7, 1);
    Field *to = schema->fields;
    to[0] = field("id", 1, of(TYPE_INT64), true);
    to[1] = field("texts", 2, list_of(field("element", 3, of(TYPE_STRING), false)), false);
    to[2] = field("made", 4, pair(5, false), false);
    Field deep[] = {field("p", 11, pair(12, false), false),
                    field("t", 14, list_of(field("element", 15, of(TYPE_BOOL), true)), false)};
    to[3] = field("mades", 10, list_of(field("element", 16, struct_of(2, deep), false)), false);
    to[4] = field(
        "words", 20,
        map_of(field("key", 21, of(TYPE_STRING), true), field("value", 22, of(TYPE_STRING), false)),
        false);
    to[5] = field(
        "grid", 30,
        list_of(field("element", 31, list_of(field("element", 32, pair(33, false), false)), false)),
        true);
    to[6] = field("large", 40, of(TYPE_STRING), false);
    return schema;
}

static void put(Batch *batch, Column *column)
{
    const Type *type = &column->field->type;
    char text[4000];
    if (!column->field->required && below(5) == 0) {
        column_put_null(batch, column);
        return;
    }
    switch (type->kind) {
    case TYPE_INT32:
        column_put_i32(batch, column, (int32_t)below(1000));
        return;
    case TYPE_INT64:
        column_put_i64(batch, column, batch->row_count);
        return;
    case TYPE_BOOL:
        column_put_bool(batch, column, below(2));
        return;
    case TYPE_STRING: {
        size_t bytes = column->field->id == 40 ? below(sizeof text) : below(20);
        for (size_t i = 0; i < bytes; i++)
            text[i] = (char)('a' + below(26));
        column_put_bytes(batch, column, text, bytes);
        return;
    }
    case TYPE_STRUCT:
        for (uint32_t i = 0; i < type->field_count; i++)
            put(batch, &column->child[i]);
        column_put_struct(batch, column);
        return;
    default:
        for (uint32_t n = below(4); n > 0; n--)
            for (uint32_t i = 0; i < type_child_count(type); i++) {
                column_element_room(batch, &column->child[i]);
                put(batch, &column->child[i]);
            }
        column_put_list(batch, column);
    }
}

static Batch *make(const Schema *schema)
{
    Batch *batch = batch_new(schema, 0, ROWS);
    for (uint32_t row = 0; row < ROWS; row++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0, row});
        for (uint32_t i = 0; i < batch->column_count; i++)
            put(batch, &batch->columns[i]);
    }
    return batch;
}

static void same(const Column *a, uint32_t at, const Column *b, uint32_t bt)
{
    const Type *type = &a->field->type;
    if (type->kind < TYPE_LIST) {
        same_value(a, at, b, bt);
        return;
    }
    assert_int_equal(column_is_null(a, at), column_is_null(b, bt));
    if (column_is_null(a, at))
        return;
    if (type->kind == TYPE_STRUCT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            same(&a->child[i], at, &b->child[i], bt);
        return;
    }
    int32_t count = a->offsets[at + 1] - a->offsets[at];
    assert_int_equal(count, b->offsets[bt + 1] - b->offsets[bt]);
    for (int32_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < type_child_count(type); i++)
            same(&a->child[i], (uint32_t)(a->offsets[at] + n), &b->child[i],
                 (uint32_t)(b->offsets[bt] + n));
}

static void write_file(const Schema *schema, const Batch *batch, Bytes *object)
{
    ParquetOptions options;
    Error err = {0};
    parquet_options_default(&options);
    options.page_bytes = 8 << 10;
    options.row_group_rows = 1100;
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(schema, &options, memory_writer(object), &err);
    const Column *columns[16];
    for (uint32_t i = 0; i < batch->column_count; i++)
        columns[i] = &batch->columns[i];
    if (!writer || !parquet_writer_put(writer, columns, NULL, batch->row_count, &err))
        fail_msg("%s", err.message);
    ParquetFileInfo info = {0};
    assert_true(parquet_writer_finish(writer, &info, &err));
    parquet_file_info_done(&info);
}

static void whole(void **unused)
{
    (void)unused;
    Error err = {0};
    AUTO(schema_free) Schema *schema = nested();
    AUTO(batch_free) Batch *batch = make(schema);
    Bytes object = {0};
    write_file(schema, batch, &object);
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(&object), schema, &err);
    uint32_t row = 0;
    for (;;) {
        AUTO(batch_free) Batch *got = NULL;
        if (!reader || !parquet_reader_next(reader, &got, &err))
            fail_msg("%s", err.message);
        if (!got)
            break;
        for (uint32_t i = 0; i < got->row_count; i++, row++)
            for (uint32_t k = 0; k < got->column_count; k++)
                same(&batch->columns[k], row, &got->columns[k], i);
    }
    assert_int_equal(row, ROWS);
    bytes_done(&object);
}

static void pick_rows(ParquetReader *reader, const Schema *schema, const Batch *batch,
                      const uint32_t *rows, uint32_t count)
{
    Error err = {0};
    AUTO(batch_free) Batch *got = batch_new(schema, 0, count);
    for (uint32_t k = 0; k < got->column_count; k++)
        for (uint32_t i = 0; i < count; i++) {
            if (!parquet_reader_pick(reader, k, rows[i], got, &got->columns[k], &err))
                fail_msg("field %u row %u: %s", k, rows[i], err.message);
            assert_int_equal(got->columns[k].rows, i + 1);
            same(&batch->columns[k], rows[i], &got->columns[k], i);
        }
}

/* In order, every one, backwards, and far apart; with the same reader. */
static void picked(void **unused)
{
    (void)unused;
    Error err = {0};
    AUTO(schema_free) Schema *schema = nested();
    AUTO(batch_free) Batch *batch = make(schema);
    Bytes object = {0};
    write_file(schema, batch, &object);
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(&object), schema, &err);
    assert_non_null(reader);
    uint32_t rows[ROWS];
    for (int round = 0; round < 8; round++) {
        uint32_t count = 0, step = round == 0 ? 1 : 1 + below(400);
        for (uint32_t row = round ? below(step) : 0; row < ROWS; row += 1 + below(step))
            rows[count++] = row;
        pick_rows(reader, schema, batch, rows, count);
        for (uint32_t i = 0; i < count / 2; i++) {
            uint32_t kept = rows[i];
            rows[i] = rows[count - 1 - i];
            rows[count - 1 - i] = kept;
        }
        pick_rows(reader, schema, batch, rows, count < 50 ? count : 50);
        parquet_reader_rest(reader);
    }
    assert_false(parquet_reader_pick(reader, 0, ROWS, batch, &batch->columns[0], &err));
    assert_string_equal(err.code, "BadFile");
    bytes_done(&object);
}

/* Columns and parts of structs that the file lacks are null. */
static void lacking(void **unused)
{
    (void)unused;
    Error err = {0};
    AUTO(schema_free) Schema *schema = nested();
    AUTO(batch_free) Batch *batch = make(schema);
    Bytes object = {0};
    write_file(schema, batch, &object);
    AUTO(schema_free) Schema *wanted = schema_copy(schema);
    wanted->fields[1].id = 99;                                             /* texts */
    wanted->fields[2].type.fields[0].id = 98;                              /* made.a */
    wanted->fields[3].type.element->type.fields[1].id = 97;                /* mades[].t */
    wanted->fields[3].type.element->type.fields[0].type.fields[1].id = 96; /* mades[].p.b */
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(&object), wanted, &err);
    assert_non_null(reader);
    assert_false(parquet_reader_has(reader, 1));
    assert_true(parquet_reader_has(reader, 2) && parquet_reader_has(reader, 3));
    AUTO(batch_free) Batch *got = NULL;
    if (!parquet_reader_next(reader, &got, &err))
        fail_msg("%s", err.message);
    for (uint32_t row = 0; row < got->row_count; row++) {
        assert_true(column_is_null(&got->columns[1], row));
        const Column *made = &got->columns[2], *mades = &got->columns[3];
        assert_int_equal(column_is_null(made, row), column_is_null(&batch->columns[2], row));
        assert_true(column_is_null(&made->child[0], row));
        same(&batch->columns[2].child[1], row, &made->child[1], row);
        for (int32_t i = mades->offsets[row]; i < mades->offsets[row + 1]; i++) {
            const Column *element = mades->child;
            assert_true(column_is_null(&element->child[1], (uint32_t)i));
            assert_true(column_is_null(&element->child[0].child[1], (uint32_t)i));
            same(&batch->columns[3].child->child[0].child[0], (uint32_t)i,
                 &element->child[0].child[0], (uint32_t)i);
        }
    }
    bytes_done(&object);
}

/* Bytes of pages, or of what describes them: values, an error, never a crash (the sanitizers
 * watch). */
static void damaged(void **unused)
{
    (void)unused;
    AUTO(schema_free) Schema *schema = nested();
    AUTO(batch_free) Batch *batch = make(schema);
    Bytes object = {0};
    write_file(schema, batch, &object);
    uint32_t refused = 0;
    for (int round = 0; round < 300; round++) {
        Error err = {0};
        size_t places[400];
        uint8_t before[400];
        uint32_t count = round % 2 ? 1 + below(3) : 400;
        for (uint32_t i = 0; i < count; i++) {
            places[i] = round % 2 ? object.used - 1 - below(20000) : below((uint32_t)object.used);
            before[i] = object.data[places[i]];
            object.data[places[i]] ^= (uint8_t)(1u << below(8));
        }
        AUTO(parquet_reader_free)
        ParquetReader *reader = parquet_reader_open(memory_reader(&object), schema, &err);
        AUTO(batch_free) Batch *got = batch_new(schema, 0, 64);
        bool ok = reader != NULL;
        for (uint32_t k = 0; k < schema->field_count && ok; k++)
            for (uint32_t row = below(50); row < ROWS && ok && got->columns[k].rows < 60;
                 row += 40 + below(40))
                ok = parquet_reader_pick(reader, k, row, got, &got->columns[k], &err);
        refused += !ok;
        for (uint32_t i = count; i-- > 0;)
            object.data[places[i]] = before[i];
    }
    assert_in_range(refused, 20, 299);
    bytes_done(&object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(picked),
        cmocka_unit_test(lacking),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
