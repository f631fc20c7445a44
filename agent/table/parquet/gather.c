#include "agent/table/parquet/gather.h"

size_t gather_width(const Leaf *leaf)
{
    if (leaf->physical == PHYSICAL_BOOLEAN)
        return 1;
    return leaf->range == RANGE_INT128 ? sizeof(__int128) : leaf->width;
}

/* Without a branch per value: every value is written, only those that are there move on. One value
 * past the end may be written when the last rows are null, inside the room of rows->count. */
#define GATHER(name, from_t, to_t)                                                                 \
    static size_t gather_##name(const Column *column, const Rows *rows, to_t *to)                  \
    {                                                                                              \
        const from_t *values = (const from_t *)(const void *)column->values;                       \
        size_t out = 0;                                                                            \
        if (!column->null_count && !rows->selection) {                                             \
            for (size_t i = 0; i < rows->count; i++)                                               \
                to[i] = (to_t)values[rows->at + i];                                                \
            return rows->count;                                                                    \
        }                                                                                          \
        if (!column->null_count) {                                                                 \
            for (size_t i = 0; i < rows->count; i++)                                               \
                to[i] = (to_t)values[rows->selection[rows->at + i]];                               \
            return rows->count;                                                                    \
        }                                                                                          \
        for (size_t i = 0; i < rows->count; i++) {                                                 \
            uint32_t row = rows_get(rows, i);                                                      \
            to[out] = (to_t)values[row];                                                           \
            out += bit_get(column->validity, row);                                                 \
        }                                                                                          \
        return out;                                                                                \
    }
GATHER(u32, uint32_t, uint32_t)
GATHER(u64, uint64_t, uint64_t)
GATHER(i128, __int128, __int128)
GATHER(i128_to_i32, __int128, int32_t)
GATHER(i128_to_i64, __int128, int64_t)

static size_t gather_bools(const Column *column, const Rows *rows, uint8_t *to)
{
    size_t out = 0;
    for (size_t i = 0; i < rows->count; i++) {
        uint32_t row = rows_get(rows, i);
        to[out] = bit_get(column->values, row);
        out += !column->null_count || bit_get(column->validity, row);
    }
    return out;
}

static size_t gather_blocks(const Column *column, const Rows *rows, uint8_t *to)
{
    size_t width = column->width;
    size_t out = 0;
    for (size_t i = 0; i < rows->count; i++) {
        uint32_t row = rows_get(rows, i);
        memcpy(to + out * width, column->values + row * width, width);
        out += !column->null_count || bit_get(column->validity, row);
    }
    return out;
}

size_t gather_fixed(const Leaf *leaf, const Column *column, const Rows *rows, void *to)
{
    if (leaf->physical == PHYSICAL_BOOLEAN)
        return gather_bools(column, rows, to);
    if (leaf->field->type.kind == TYPE_DECIMAL) {
        if (leaf->physical == PHYSICAL_INT32)
            return gather_i128_to_i32(column, rows, to);
        if (leaf->physical == PHYSICAL_INT64)
            return gather_i128_to_i64(column, rows, to);
        return gather_i128(column, rows, to);
    }
    if (leaf->range == RANGE_BYTES)
        return gather_blocks(column, rows, to);
    return leaf->width == 4 ? gather_u32(column, rows, to) : gather_u64(column, rows, to);
}

static void set_ones(uint8_t *bits, size_t used, size_t count)
{
    for (; count && used & 7; used++, count--)
        bit_set(bits, used);
    memset(bits + used / 8, 0xff, count / 8);
    used += count & ~(size_t)7;
    if (count & 7)
        bits[used / 8] = (uint8_t)((1u << (count & 7)) - 1);
}

size_t gather_validity(const Column *column, const Rows *rows, uint8_t *bits, size_t used)
{
    if (!column->null_count) {
        set_ones(bits, used, rows->count);
        return 0;
    }
    size_t there = 0;
    for (size_t i = 0; i < rows->count; i++, used++) {
        unsigned bit = bit_get(column->validity, rows_get(rows, i));
        if (!(used & 7))
            bits[used / 8] = 0;
        bits[used / 8] |= (uint8_t)(bit << (used & 7));
        there += bit;
    }
    return rows->count - there;
}

bool gather_find_null(const Column *column, const Rows *rows, uint32_t *ret_row)
{
    if (!column->null_count)
        return false;
    for (size_t i = 0; i < rows->count; i++) {
        *ret_row = rows_get(rows, i);
        if (!bit_get(column->validity, *ret_row))
            return true;
    }
    return false;
}

bool gather_find_overflow(const Column *column, const Rows *rows, uint32_t *ret_row)
{
    __int128 limit = 1;
    for (unsigned i = 0; i < column->field->type.precision; i++)
        limit *= 10;
    const __int128 *values = (const __int128 *)(const void *)column->values;
    for (size_t i = 0; i < rows->count; i++) {
        *ret_row = rows_get(rows, i);
        __int128 value = values[*ret_row];
        if (UNLIKELY(value >= limit || value <= -limit) && !column_is_null(column, *ret_row))
            return true;
    }
    return false;
}
