#include "agent/table/order.h"

#include <string.h>

#include "agent/table/table.h"
#include "common/mem.h"

struct Order {
    FileReaders readers;
    Schema *schema; /* of the one column */
    RowBase *rows;  /* wanted; once read sorted, each once, their values in that order in … */
    size_t count, held;
    bool known;
    Batch *values;
};

bool table_can_order(const Type *type)
{
    switch (type->kind) {
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DECIMAL:
    case TYPE_DATE:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
    case TYPE_STRING:
        return true;
    default:
        return false;
    }
}

static __int128 number(const Column *column, uint32_t row)
{
    __int128 wide;
    if (column->width == 4)
        return column_i32(column, row);
    if (column->width == 8)
        return column_i64(column, row);
    ASSERT(column->width == sizeof wide);
    memcpy(&wide, column->values + (size_t)row * sizeof wide, sizeof wide);
    return wide;
}

bool order_before(const Column *column, uint32_t row, const Column *other, uint32_t other_row)
{
    if (column_is_null(column, row) || column_is_null(other, other_row))
        return column_is_null(column, row) && !column_is_null(other, other_row);
    if (column->field->type.kind != TYPE_STRING)
        return number(column, row) < number(other, other_row);
    uint32_t bytes, other_bytes;
    const uint8_t *text = column_bytes(column, row, &bytes);
    const uint8_t *other_text = column_bytes(other, other_row, &other_bytes);
    int by = memcmp(text, other_text, bytes < other_bytes ? bytes : other_bytes);
    return by ? by < 0 : bytes < other_bytes;
}

void order_free(Order *order)
{
    if (!order)
        return;
    file_readers_close(&order->readers);
    batch_free(order->values);
    schema_free(order->schema);
    free(order->rows);
    free(order);
}

Order *order_new(const OrderOptions *options)
{
    Order *order = mem_zalloc(sizeof *order);
    ASSERT(table_can_order(&options->field->type));
    order->readers =
        (FileReaders){.store = options->store, .file = options->file, .context = options->context};
    order->schema = schema_new(1, 0);
    field_copy(&order->schema->fields[0], options->field);
    return order;
}

void order_want(Order *order, RowBase row)
{
    if (order->known)
        order->count = 0;
    order->known = false;
    if (order->count == order->held) {
        order->held = order->held ? order->held * 2 : 1024;
        order->rows = mem_regrow(order->rows, order->held, sizeof *order->rows);
    }
    order->rows[order->count++] = row;
}

static int compare(const void *a, const void *b)
{
    const RowBase *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static bool pick(Order *order, ParquetReader *reader, RowBase row, Error *err)
{
    Column *column = &order->values->columns[0];
    uint32_t bytes;
    if (!parquet_reader_has(reader, 0)) {
        column_put_null(order->values, column);
        return true;
    }
    if (!parquet_reader_pick(reader, 0, row.position, order->values, column, err))
        return file_readers_failed(&order->readers, row.file, err);
    if (!column->offsets || !column_bytes(column, column->rows - 1, &bytes) ||
        bytes <= TABLE_ORDER_BYTES_MAX)
        return true;
    error_set(err, ERROR_CONFIG, "OrderingColumn",
              "column %s, that says which version of a row is newer, has a value of %u bytes, and "
              "%u is the most; shorten it with another engine, or name another orderingColumn",
              order->schema->fields[0].name, bytes, TABLE_ORDER_BYTES_MAX);
    return file_readers_failed(&order->readers, row.file, err);
}

bool order_read(Order *order, Error *err)
{
    size_t count = 0;
    if (order->known)
        order->count = 0; /* nothing was wanted since */
    qsort(order->rows, order->count, sizeof *order->rows, compare);
    for (size_t i = 0; i < order->count; i++)
        if (!i || compare(&order->rows[i], &order->rows[i - 1]) != 0)
            order->rows[count++] = order->rows[i];
    order->count = count;
    order->known = true;
    batch_free(TAKE(order->values));
    order->values = batch_new(order->schema, 0, (uint32_t)count + 1);
    ParquetReader *reader = NULL;
    for (size_t i = 0; i < count; i++) {
        bool other = !i || order->rows[i].file != order->rows[i - 1].file;
        if (other && reader)
            parquet_reader_rest(reader);
        if (other &&
            !file_readers_get(&order->readers, order->schema, order->rows[i].file, &reader, err))
            return false;
        if (!pick(order, reader, order->rows[i], err))
            return false;
    }
    if (reader)
        parquet_reader_rest(reader);
    return true;
}

const Column *order_value(const Order *order, RowBase row, uint32_t *ret_row)
{
    ASSERT(order->known);
    const RowBase *found =
        order->count ? bsearch(&row, order->rows, order->count, sizeof row, compare) : NULL;
    ASSERT(found);
    *ret_row = (uint32_t)(found - order->rows);
    return &order->values->columns[0];
}

size_t order_memory(const Order *order)
{
    return order->held * sizeof *order->rows + (order->values ? batch_memory(order->values) : 0) +
           file_readers_memory(&order->readers);
}
