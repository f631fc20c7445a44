/* Rows of one table on their way, in columns: Arrow's memory layout, one arena, nothing boxed. A
 * batch has one producer, then moves; it is never shared by two threads at a time.
 *
 * Building: row = batch_row_begin(...) once per row, then exactly one column_put_* or
 * column_put_null for each column, in any order. The fixed-width arrays are sized for rows_max at
 * the start; bytes and the children of lists and maps grow in the arena. The producer hands a batch
 * on when batch_is_full() says so, or earlier.
 *
 * https://arrow.apache.org/docs/format/Columnar.html */
#pragma once

#include <string.h>

#include "agent/record/position.h"
#include "agent/record/type.h"
#include "common/arena.h"

typedef enum RowOp {
    ROW_READ, /* from the initial copy */
    ROW_INSERT,
    ROW_UPDATE, /* the key is the same as before */
    ROW_DELETE, /* only the key columns need be there; the others are null */
    ROW_MOVE, /* an update that changes the key: this row is the old key, the very next one (always
               * in the same batch) is ROW_UPDATE with the new key and all columns */
} RowOp;

typedef struct Column Column;
struct Column {
    const Field *field;
    uint8_t *validity; /* bit i set: value i is there. Bits of rows not yet put are 0 */
    /* Bit i set: the source left value i out, because the update did not change it: it is what the
     * row had before (of a ROW_MOVE's pair: under the old key). Null meanwhile. NULL: none such.
     * Only of a batch's own columns. */
    uint8_t *unchanged;
    uint8_t
        *values; /* fixed width: rows * width; bool: bits; string, binary: bytes; nested: unused */
    int32_t *offsets; /* rows + 1 entries for string, binary, list, map; else NULL */
    Column *child;    /* list: its elements; map: keys, values; struct: one per field, each with as
                       * many rows as the struct; else NULL */
    uint32_t width;   /* of a fixed-width value in bytes, else 0 */
    uint32_t rows;    /* values put so far */
    uint32_t rows_max;
    uint32_t null_count;
    uint32_t values_held; /* bytes held by values, for string and binary */
};

typedef struct Batch {
    Arena *arena;         /* holds everything below, and the batch */
    const Schema *schema; /* not owned; outlives the batch */
    uint32_t table;       /* the capture's number of the table */
    uint32_t row_count;
    uint32_t row_max;
    uint32_t column_count;
    Column *columns;
    uint8_t *ops;            /* RowOp per row */
    RowPosition *positions;  /* per row */
    size_t bytes;            /* payload put so far, for bounds and statistics */
    bool has_unchanged;      /* some column has unchanged values, or had before an undo */
    bool as_sent;            /* values are the source's own where the lake has another form of them
                              * (geometry: EWKB with its SRID) */
    struct Origins *origins; /* NULL: not kept (origin.h) */
} Batch;

/* No column's bytes may pass this (int32_t offsets); one value neither. */
#define COLUMN_BYTES_MAX ((size_t)1 << 30)
/* A batch is full at this payload whatever its rows. */
#define BATCH_BYTES_FULL ((size_t)4 << 20)

void batch_free(Batch *batch);
Batch *batch_new(const Schema *schema, uint32_t table, uint32_t row_max) OWNED_BY(batch_free);
size_t batch_memory(const Batch *batch); /* bytes held from the system */
DEFINE_AUTO(Batch, batch_free);

static inline bool batch_is_full(const Batch *batch)
{
    return batch->row_count >= batch->row_max || batch->bytes >= BATCH_BYTES_FULL;
}

/* Opens the next row; there must be room. */
static inline uint32_t batch_row_begin(Batch *batch, RowOp op, RowPosition position)
{
    ASSERT(batch->row_count < batch->row_max);
    uint32_t row = batch->row_count++;
    batch->ops[row] = (uint8_t)op;
    batch->positions[row] = position;
    return row;
}

/* Takes back what columns got for the latest row, and the row. For a row that turns out to be bad.
 */
void batch_row_undo(Batch *batch);

void column_grow(Batch *batch, Column *column, size_t more);        /* bytes */
void column_grow_rows(Batch *batch, Column *column, uint32_t more); /* a list's or map's child */
void column_put_null_fields(Batch *batch, Column *column);          /* of a struct that is null */
void column_put_unchanged(Batch *batch, Column *column); /* of an update; one of the batch's own */
/* Appends row `row` of another column of the same type. */
void column_put_copy(Batch *batch, Column *column, const Column *from, uint32_t row);

static inline bool bit_get(const uint8_t *bits, size_t at)
{
    return bits[at >> 3] >> (at & 7) & 1;
}
static inline void bit_set(uint8_t *bits, size_t at)
{
    bits[at >> 3] |= (uint8_t)(1u << (at & 7));
}
static inline bool column_is_null(const Column *column, uint32_t row)
{
    return column->null_count && !bit_get(column->validity, row);
}

static inline bool column_is_unchanged(const Column *column, uint32_t row)
{
    return column->unchanged && bit_get(column->unchanged, row);
}

static inline void column_put_null(Batch *batch, Column *column)
{
    uint32_t row = column->rows++;
    column->null_count++;
    batch->bytes += 1;
    if (column->width)
        memset(column->values + (size_t)row * column->width, 0, column->width);
    else if (column->offsets)
        column->offsets[row + 1] = column->offsets[row];
    else if (UNLIKELY(column->child != NULL))
        column_put_null_fields(batch, column);
}

/* Room for one fixed-width value, marked as there; the caller writes column->width bytes. */
static inline void *column_put_fixed(Batch *batch, Column *column)
{
    uint32_t row = column->rows++;
    bit_set(column->validity, row);
    batch->bytes += column->width;
    return column->values + (size_t)row * column->width;
}
static inline void column_put_i32(Batch *batch, Column *column, int32_t value)
{
    memcpy(column_put_fixed(batch, column), &value, sizeof value);
}
static inline void column_put_i64(Batch *batch, Column *column, int64_t value)
{
    memcpy(column_put_fixed(batch, column), &value, sizeof value);
}
static inline void column_put_i128(Batch *batch, Column *column, __int128 value)
{
    memcpy(column_put_fixed(batch, column), &value, sizeof value);
}
static inline void column_put_bool(Batch *batch, Column *column, bool value)
{
    uint32_t row = column->rows++;
    bit_set(column->validity, row);
    if (value)
        bit_set(column->values, row);
    batch->bytes += 1;
}
/* string and binary; the caller has checked bytes against COLUMN_BYTES_MAX. */
static inline void column_put_bytes(Batch *batch, Column *column, const void *from, size_t bytes)
{
    uint32_t row = column->rows++;
    uint32_t at = (uint32_t)column->offsets[row];
    if (UNLIKELY(column->values_held - at < bytes))
        column_grow(batch, column, bytes);
    memcpy(column->values + at, from, bytes);
    column->offsets[row + 1] = (int32_t)(at + bytes);
    bit_set(column->validity, row);
    batch->bytes += bytes + 4;
}
/* Also for a map. Call after the elements were put into column->child (or keys and values into
 * both; each may need column_element_room first). */
static inline void column_put_list(Batch *batch, Column *column)
{
    uint32_t row = column->rows++;
    column->offsets[row + 1] = (int32_t)column->child->rows;
    bit_set(column->validity, row);
    batch->bytes += 4;
}
/* Call after each field's value was put into its child. */
static inline void column_put_struct(Batch *batch, Column *column)
{
    bit_set(column->validity, column->rows++);
    batch->bytes += 1;
}
/* Before each element of a list, key or value of a map. */
static inline void column_element_room(Batch *batch, Column *child)
{
    if (UNLIKELY(child->rows == child->rows_max))
        column_grow_rows(batch, child, 1);
}

static inline int32_t column_i32(const Column *column, uint32_t row)
{
    int32_t value;
    memcpy(&value, column->values + (size_t)row * 4, sizeof value);
    return value;
}
static inline int64_t column_i64(const Column *column, uint32_t row)
{
    int64_t value;
    memcpy(&value, column->values + (size_t)row * 8, sizeof value);
    return value;
}
static inline const uint8_t *column_bytes(const Column *column, uint32_t row, uint32_t *ret_bytes)
{
    *ret_bytes = (uint32_t)(column->offsets[row + 1] - column->offsets[row]);
    return column->values + column->offsets[row];
}
