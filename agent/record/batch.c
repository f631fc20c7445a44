#include "agent/record/batch.h"

#include "agent/record/origin.h"
#include "common/mem.h"

#define ARENA_CHUNK_BYTES ((size_t)256 << 10)
#define ARENA_CHUNK_LEAST ((size_t)4 << 10)
#define BLOCK_ALIGN 64
#define ROOM_PER_VALUE 16 /* first guess for string and binary bytes */

static size_t bits_bytes(size_t bits)
{
    return (bits + 7) / 8;
}

static void *take_zeroed(Arena *arena, size_t bytes)
{
    return memset(arena_take(arena, bytes), 0, bytes);
}

static void column_init(Arena *arena, Column *column, const Field *field, uint32_t rows_max)
{
    *column = (Column){.field = field, .rows_max = rows_max, .width = type_width(&field->type)};
    column->validity = take_zeroed(arena, bits_bytes(rows_max));
    switch (field->type.kind) {
    case TYPE_BOOL:
        column->values = take_zeroed(arena, bits_bytes(rows_max));
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
        column->values_held = rows_max * ROOM_PER_VALUE;
        column->values = arena_take(arena, column->values_held);
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        column->child = arena_take(arena, type_child_count(&field->type) * sizeof *column->child);
        for (uint32_t i = 0; i < type_child_count(&field->type); i++)
            column_init(arena, &column->child[i], &field->type.fields[i], rows_max);
        break;
    default:
        column->values = arena_take(arena, (size_t)rows_max * column->width);
    }
    if (column->values_held || (column->child && field->type.kind != TYPE_STRUCT)) {
        column->offsets = arena_take(arena, ((size_t)rows_max + 1) * sizeof *column->offsets);
        column->offsets[0] = 0;
    }
}

/* What column_init takes. */
static size_t column_room(const Field *field, size_t rows)
{
    const Type *type = &field->type;
    size_t bytes = bits_bytes(rows) + BLOCK_ALIGN;
    bool varies = type->kind == TYPE_STRING || type->kind == TYPE_BINARY;
    bool lists = type->kind == TYPE_LIST || type->kind == TYPE_MAP;
    if (varies || lists)
        bytes += (rows + 1) * sizeof(int32_t) + BLOCK_ALIGN;
    bytes += varies                    ? rows * ROOM_PER_VALUE
             : type->kind == TYPE_BOOL ? bits_bytes(rows)
                                       : rows * type_width(type);
    for (uint32_t i = 0; i < type_child_count(type); i++)
        bytes += sizeof(Column) + column_room(&type->fields[i], rows);
    return bytes + 2 * BLOCK_ALIGN;
}

/* The usual chunk of a batch: a few rows of one of many tables are no reason for a large one. */
static size_t chunk_bytes(const Schema *schema, size_t row_max)
{
    size_t bytes = sizeof(Batch) + row_max * (1 + sizeof(RowPosition)) + 4 * BLOCK_ALIGN;
    for (size_t i = 0; i < schema->field_count && bytes < ARENA_CHUNK_BYTES; i++)
        bytes += sizeof(Column) + column_room(&schema->fields[i], row_max);
    return bytes < ARENA_CHUNK_LEAST   ? ARENA_CHUNK_LEAST
           : bytes > ARENA_CHUNK_BYTES ? ARENA_CHUNK_BYTES
                                       : bytes;
}

Batch *batch_new(const Schema *schema, uint32_t table, uint32_t row_max)
{
    ASSERT(row_max > 0);
    Arena *arena = arena_new(chunk_bytes(schema, row_max));
    Batch *batch = arena_take(arena, sizeof *batch);
    *batch = (Batch){.arena = arena,
                     .schema = schema,
                     .table = table,
                     .row_max = row_max,
                     .column_count = (uint32_t)schema->field_count};
    batch->columns = arena_take(arena, schema->field_count * sizeof *batch->columns);
    batch->ops = arena_take(arena, row_max);
    batch->positions = arena_take(arena, row_max * sizeof *batch->positions);
    for (size_t i = 0; i < schema->field_count; i++)
        column_init(arena, &batch->columns[i], &schema->fields[i], row_max);
    return batch;
}

void batch_free(Batch *batch)
{
    if (!batch)
        return;
    if (batch->origins)
        batch_free(batch->origins->before);
    arena_free(batch->arena);
}

size_t batch_memory(const Batch *batch)
{
    size_t bytes = arena_bytes(batch->arena);
    return batch->origins && batch->origins->before ? bytes + batch_memory(batch->origins->before)
                                                    : bytes;
}

void column_grow(Batch *batch, Column *column, size_t more)
{
    size_t used = (size_t)column->offsets[column->rows - 1];
    ASSERT(more <= COLUMN_BYTES_MAX && used <= COLUMN_BYTES_MAX);
    size_t held = (size_t)column->values_held * 2;
    if (held < used + more)
        held = used + more;
    column->values = arena_regrow(batch->arena, column->values, column->values_held, held);
    column->values_held = (uint32_t)held;
}

static void grow_rows_to(Batch *batch, Column *column, uint32_t now)
{
    uint32_t old = column->rows_max;
    ASSERT(now > old && now < (uint32_t)1 << 30);
    Arena *arena = batch->arena;
    size_t old_bits = bits_bytes(old), now_bits = bits_bytes(now);
    column->validity = arena_regrow(arena, column->validity, old_bits, now_bits);
    memset(column->validity + old_bits, 0, now_bits - old_bits);
    if (column->offsets)
        column->offsets = arena_regrow(arena, column->offsets, ((size_t)old + 1) * sizeof(int32_t),
                                       ((size_t)now + 1) * sizeof(int32_t));
    if (column->width) {
        column->values = arena_regrow(arena, column->values, (size_t)old * column->width,
                                      (size_t)now * column->width);
    } else if (column->field->type.kind == TYPE_BOOL) {
        column->values = arena_regrow(arena, column->values, old_bits, now_bits);
        memset(column->values + old_bits, 0, now_bits - old_bits);
    }
    column->rows_max = now;
    if (column->field->type.kind == TYPE_STRUCT)
        for (uint32_t i = 0; i < column->field->type.field_count; i++)
            if (column->child[i].rows_max < now) /* a reader may have made room there before */
                grow_rows_to(batch, &column->child[i], now);
}

void column_grow_rows(Batch *batch, Column *column, uint32_t more)
{
    uint32_t old = column->rows_max;
    grow_rows_to(batch, column, old * 2 > old + more ? old * 2 : old + more);
}

void column_put_null_fields(Batch *batch, Column *column)
{
    ASSERT(column->field->type.kind == TYPE_STRUCT);
    for (uint32_t i = 0; i < column->field->type.field_count; i++)
        column_put_null(batch, &column->child[i]);
}

void column_put_unchanged(Batch *batch, Column *column)
{
    if (!column->unchanged)
        column->unchanged = take_zeroed(batch->arena, bits_bytes(column->rows_max));
    batch->has_unchanged = true;
    bit_set(column->unchanged, column->rows);
    column_put_null(batch, column);
}

static void copy_elements(Batch *batch, Column *column, const Column *from, uint32_t row)
{
    uint32_t children = type_child_count(&column->field->type);
    for (int32_t at = from->offsets[row]; at < from->offsets[row + 1]; at++)
        for (uint32_t i = 0; i < children; i++) {
            column_element_room(batch, &column->child[i]);
            column_put_copy(batch, &column->child[i], &from->child[i], (uint32_t)at);
        }
    column_put_list(batch, column);
}

void column_put_copy(Batch *batch, Column *column, const Column *from, uint32_t row)
{
    const Type *type = &column->field->type;
    if (column_is_null(from, row)) {
        column_put_null(batch, column);
    } else if (column->width) {
        ASSERT(column->width == from->width);
        memcpy(column_put_fixed(batch, column), from->values + (size_t)row * from->width,
               from->width);
    } else if (type->kind == TYPE_BOOL) {
        column_put_bool(batch, column, bit_get(from->values, row));
    } else if (type->kind == TYPE_STRUCT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            column_put_copy(batch, &column->child[i], &from->child[i], row);
        column_put_struct(batch, column);
    } else if (column->child) {
        copy_elements(batch, column, from, row);
    } else {
        uint32_t bytes;
        const uint8_t *value = column_bytes(from, row, &bytes);
        column_put_bytes(batch, column, value, bytes);
    }
}

/* Back to `rows` values. */
static void column_cut(Column *column, uint32_t rows)
{
    while (column->rows > rows) {
        uint32_t row = --column->rows;
        if (!bit_get(column->validity, row))
            column->null_count--;
        column->validity[row >> 3] &= (uint8_t) ~(1u << (row & 7));
        if (column->unchanged)
            column->unchanged[row >> 3] &= (uint8_t) ~(1u << (row & 7));
        if (column->field->type.kind == TYPE_BOOL)
            column->values[row >> 3] &= (uint8_t) ~(1u << (row & 7));
    }
    const Type *type = &column->field->type;
    for (uint32_t i = 0; i < type_child_count(type); i++)
        column_cut(&column->child[i],
                   type->kind == TYPE_STRUCT ? rows : (uint32_t)column->offsets[rows]);
}

void batch_row_undo(Batch *batch)
{
    ASSERT(batch->row_count > 0);
    batch->row_count--;
    for (uint32_t i = 0; i < batch->column_count; i++)
        column_cut(&batch->columns[i], batch->row_count);
}
