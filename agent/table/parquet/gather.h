/* From Arrow columns to dense values as Parquet stores them: rows selected, nulls left out,
 * decimals narrowed. */
#pragma once

#include "agent/record/batch.h"
#include "agent/table/parquet/leaf.h"

/* Rows selection[at..at + count), or at..at + count without a selection. */
typedef struct Rows {
    const uint32_t *selection; /* may be NULL */
    size_t at;
    size_t count;
} Rows;

static inline uint32_t rows_get(const Rows *rows, size_t i)
{
    return rows->selection ? rows->selection[rows->at + i] : (uint32_t)(rows->at + i);
}

/* Bytes of a dense value: the leaf's width, but 16 for larger decimals and 1 for bool. */
size_t gather_width(const Leaf *leaf);
/* Fixed-width values to `to` (room for rows->count of them); returns how many were not null. */
size_t gather_fixed(const Leaf *leaf, const Column *column, const Rows *rows, void *to);
/* Appends one bit per row to `bits`, of which `used` are taken (the rest of the last byte is 0);
 * returns the nulls. */
size_t gather_validity(const Column *column, const Rows *rows, uint8_t *bits, size_t used);
/* A null in these rows? *ret_row is its place in the column. */
bool gather_find_null(const Column *column, const Rows *rows, uint32_t *ret_row);
/* A decimal of more digits than its type has? */
bool gather_find_overflow(const Column *column, const Rows *rows, uint32_t *ret_row);
