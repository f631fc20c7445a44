/* Which of two versions of a row counts, where a column says so (spec.kafka.orderingColumn): the
 * one with the greater value there; of two that are equal the later one; null is less than any.
 * Strings go by their bytes.
 *
 * The index knows where a key's row stands and not what it holds, so values are read from the data
 * files: for a run of keys at a time those of the rows that there are and of those that may replace
 * them, file by file, each page once. */
#pragma once

#include "agent/table/fill.h"

/* Does the value come before the other? Both of a type that table_can_order. */
bool order_before(const Column *column, uint32_t row, const Column *other, uint32_t other_row);

typedef struct OrderOptions {
    Store *store;
    const Field *field; /* of the table; copied */
    WholeFile *file;
    void *context;
} OrderOptions;

typedef struct Order Order;
void order_free(Order *order);
Order *order_new(const OrderOptions *options) OWNED_BY(order_free);
/* Rows whose values will be asked for, in files: from order_read to the next order_want. */
void order_want(Order *order, RowBase row);
MUST_CHECK bool order_read(Order *order, Error *err);
/* The column that has the value, and where. */
const Column *order_value(const Order *order, RowBase row, uint32_t *ret_row);
size_t order_memory(const Order *order);
