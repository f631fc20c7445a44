/* Lists, maps and structs put together again from the levels of their leaves. The leaves of a field
 * are read side by side, the same rows of each: their values go straight to the columns that hold
 * them, their levels are kept until all have been read; then each list, map and struct above takes
 * its offsets and its nulls from the levels of its first leaf.
 *
 * A slot is a value, or stands for something that is not there: null, or an empty list. Its
 * repetition level is the depth (of lists and maps) at which it goes on; its definition level says
 * how much of its way is there. So below r lists, a slot of a repetition level up to r begins
 * something new, if its definition level says that the innermost of them has an element there.
 * https://github.com/apache/parquet-format#nested-encoding */
#include "agent/table/parquet/column_reader.h"

#define NESTED_ROWS_MAX (COLUMN_BYTES_MAX / 64)

/* ---------- leaves ---------- */
/* Refills levels and repeats; at the chunk's end level_count is 0. */
static bool slots_refill(ColumnReader *reader, Error *err)
{
    reader->level_at = reader->level_count = 0;
    if (!reader->slots_left && reader->offset >= reader->end)
        return true;
    if (!reader->slots_left && !page_next(reader, err))
        return false;
    uint32_t part = reader->slots_left < SLICE_VALUES ? reader->slots_left : SLICE_VALUES;
    uint32_t unused;
    if (!reader->source.repetition_max)
        memset(reader->repeats, 0, part * sizeof *reader->repeats);
    else if (!hybrid_take(&reader->repetitions, reader->repeats, part))
        return column_data_error(reader, "a page's repetition levels are cut", err);
    for (uint32_t i = 0; i < part; i++)
        if (reader->repeats[i] > reader->source.repetition_max)
            return column_data_error(reader, "a repetition level is too high", err);
    if (!reader->source.definition_max)
        memset(reader->levels, 0, part * sizeof *reader->levels);
    else if (!levels_take(reader, part, &unused, err))
        return false;
    reader->level_count = part;
    reader->slots_left -= part;
    return true;
}

/* Values of the slots from `from` on, up to level_at; and their levels. */
static bool slots_put(ColumnReader *reader, Batch *batch, Column *column, uint32_t from, Error *err)
{
    uint32_t elements = 0, values = 0;
    for (uint32_t i = from; i < reader->level_at; i++) {
        uint32_t level = reader->levels[i];
        if (level < reader->source.element_from)
            continue;
        reader->present[elements] = level == reader->source.definition_max;
        values += reader->present[elements++];
    }
    if (!values_take(reader, values, err))
        return false;
    if (!column)
        return true;
    bytes_reserve(&reader->row_levels, 2 * (size_t)(reader->level_at - from));
    for (uint32_t i = from; i < reader->level_at; i++) {
        bytes_put_u8(&reader->row_levels, (uint8_t)reader->levels[i]);
        bytes_put_u8(&reader->row_levels, (uint8_t)reader->repeats[i]);
    }
    if (column->rows > NESTED_ROWS_MAX)
        return column_data_error(reader, "its lists are too long for one batch", err);
    if (column->rows_max - column->rows < elements)
        column_grow_rows(batch, column, elements);
    return values_put(reader, batch, column, reader->present, elements, err);
}

/* A row ends where the next begins, or with the chunk. */
bool nested_leaf_take(ColumnReader *reader, Batch *batch, Column *column, uint32_t rows, Error *err)
{
    uint32_t begun = 0;
    bytes_clear(&reader->row_levels);
    for (;;) {
        if (begun == rows && !reader->source.repetition_max)
            return true;
        if (reader->level_at == reader->level_count && !slots_refill(reader, err))
            return false;
        if (!reader->level_count)
            return begun == rows ||
                   column_data_error(reader, "a column chunk has fewer rows than its row group",
                                     err);
        uint32_t from = reader->level_at;
        bool over = false;
        for (; reader->level_at < reader->level_count && !over; reader->level_at++) {
            over = !reader->repeats[reader->level_at] && begun == rows;
            begun += !reader->repeats[reader->level_at] && !over;
            if (!begun)
                return column_data_error(reader, "a row begins inside a list", err);
        }
        reader->level_at -= over;
        if (!slots_put(reader, batch, column, from, err))
            return false;
        if (over || (begun == rows && !reader->source.repetition_max))
            return true;
    }
}

/* Column and leaf in the same order, depth first. */
static bool leaves_take(ColumnReader **readers, const Field *field, Batch *batch, Column *column,
                        uint32_t rows, Error *err)
{
    if (!type_is_nested(&field->type)) {
        ColumnReader *reader = (*readers)++;
        return !reader->source.found || nested_leaf_take(reader, batch, column, rows, err);
    }
    for (uint32_t i = 0; i < type_child_count(&field->type); i++)
        if (!leaves_take(readers, &field->type.fields[i], batch, &column->child[i], rows, err))
            return false;
    return true;
}

/* ---------- what stands above them ---------- */
typedef struct Node {
    const Field *field;
    Column *column;
    ColumnReader *readers; /* of its leaves */
    uint32_t depth;
    uint32_t repetition;   /* lists and maps above it */
    uint32_t element_from; /* of the innermost of them */
} Node;

static const ColumnReader *first_found(const Node *node)
{
    for (size_t i = 0; i < type_leaf_count(&node->field->type); i++)
        if (node->readers[i].source.found)
            return &node->readers[i];
    return NULL;
}

static void struct_shape(const Node *node, const ColumnReader *leaf, Batch *batch)
{
    Column *column = node->column;
    const uint8_t *level = leaf->row_levels.data, *end = level + leaf->row_levels.used;
    for (; level < end; level += 2) {
        if (level[1] > node->repetition || level[0] < node->element_from)
            continue;
        column_element_room(batch, column);
        if (level[0] >= leaf->source.step_from[node->depth]) {
            column_put_struct(batch, column);
        } else {
            column->rows++;
            column->null_count++;
        }
    }
}

static void list_shape(const Node *node, const ColumnReader *leaf, Batch *batch)
{
    Column *column = node->column;
    const uint8_t *level = leaf->row_levels.data, *end = level + leaf->row_levels.used;
    uint8_t list_from = leaf->source.step_from[node->depth];
    for (; level < end; level += 2) {
        if (level[1] > node->repetition + 1 || level[0] < node->element_from)
            continue;
        if (level[1] <= node->repetition) {
            column_element_room(batch, column);
            uint32_t row = column->rows++;
            column->offsets[row + 1] = column->offsets[row];
            if (level[0] >= list_from)
                bit_set(column->validity, row);
            else
                column->null_count++;
            batch->bytes += 4;
        }
        column->offsets[column->rows] += level[0] > list_from;
    }
}

/* Has the child as many values as it should? One that the file lacks is null. */
static bool child_fits(const ColumnReader *leaf, const Field *field, Batch *batch, Column *child,
                       bool found, uint32_t rows, Error *err)
{
    while (!found && child->rows < rows) {
        column_element_room(batch, child);
        column_put_null(batch, child);
    }
    return child->rows == rows ||
           error_set(err, ERROR_DATA, "ParquetPage",
                     "field %s (id %d): it has %u values where its row's other columns, or field "
                     "%s, say %u",
                     field->name, field->id, child->rows, leaf->wanted->name, rows);
}

static bool node_put(const Node *node, Batch *batch, Error *err)
{
    const ColumnReader *leaf = first_found(node);
    const Type *type = &node->field->type;
    bool repeats = type_repeats(type);
    if (repeats)
        list_shape(node, leaf, batch);
    else
        struct_shape(node, leaf, batch);
    uint32_t rows =
        repeats ? (uint32_t)node->column->offsets[node->column->rows] : node->column->rows;
    Node child = *node;
    child.depth++;
    child.repetition += repeats;
    if (repeats)
        child.element_from = leaf->source.step_from[node->depth] + 1u;
    for (uint32_t i = 0; i < type_child_count(type); i++) {
        child.field = &type->fields[i];
        child.column = &node->column->child[i];
        bool found = first_found(&child) != NULL;
        if (found && type_is_nested(&child.field->type) && !node_put(&child, batch, err))
            return false;
        if (!child_fits(leaf, child.field, batch, child.column, found, rows, err))
            return false;
        child.readers += type_leaf_count(&child.field->type);
    }
    return true;
}

bool nested_take(ColumnReader *readers, const Field *field, Batch *batch, Column *column,
                 uint32_t rows, Error *err)
{
    ColumnReader *next = readers;
    Node node = {.field = field, .column = column, .readers = readers};
    if (!first_found(&node)) {
        for (uint32_t i = 0; i < rows; i++)
            column_put_null(batch, column);
        return true;
    }
    uint32_t before = column->rows;
    if (!leaves_take(&next, field, batch, column, rows, err))
        return false;
    return node_put(&node, batch, err) &&
           (column->rows == before + rows ||
            column_data_error(first_found(&node), "its rows are not whole", err));
}
