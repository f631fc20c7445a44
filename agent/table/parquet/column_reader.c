#include "agent/table/parquet/column_reader.h"

void column_reader_init(ColumnReader *reader, const Field *wanted, const SourceLeaf *source,
                        StoreReader *file, Decompressor *decompressor)
{
    reader->wanted = wanted->type.kind == TYPE_LIST ? wanted->type.element : wanted;
    reader->source = *source;
    reader->file = file;
    reader->decompressor = decompressor;
}

void column_reader_done(ColumnReader *reader)
{
    bytes_done(&reader->window);
    bytes_done(&reader->dictionary);
    bytes_done(&reader->page);
    bytes_done(&reader->previous);
    bytes_done(&reader->built);
    free(reader->pieces);
}

void column_reader_start(ColumnReader *reader, const SourceChunk *chunk)
{
    reader->codec = chunk->codec;
    reader->offset = chunk->offset;
    reader->end = chunk->offset + chunk->bytes;
    bytes_clear(&reader->window);
    reader->window_at = 0;
    reader->has_dictionary = false;
    reader->dictionary_count = 0;
    reader->slots_left = 0;
    reader->level_at = reader->level_count = 0;
}

/* Definition levels of the next `count` slots to reader->levels; how many are values. */
static bool levels_take(ColumnReader *reader, uint32_t count, uint32_t *ret_values, Error *err)
{
    uint32_t max = reader->source.definition_max;
    *ret_values = count;
    if (!max)
        return true;
    if (!hybrid_take(&reader->definitions, reader->levels, count))
        return column_data_error(reader, "a page's definition levels are cut", err);
    uint32_t values = 0, above = 0;
    for (uint32_t i = 0; i < count; i++) {
        values += reader->levels[i] == max;
        above |= reader->levels[i] > max;
    }
    *ret_values = values;
    return !above || column_data_error(reader, "a definition level is too high", err);
}

static bool take_flat(ColumnReader *reader, Batch *batch, Column *column, uint32_t rows, Error *err)
{
    while (rows) {
        if (!reader->slots_left && !page_next(reader, err))
            return false;
        uint32_t part = rows < reader->slots_left ? rows : reader->slots_left;
        uint32_t values;
        if (!levels_take(reader, part, &values, err) || !values_take(reader, values, err))
            return false;
        const uint8_t *present = NULL;
        if (values < part) {
            for (uint32_t i = 0; i < part; i++)
                reader->present[i] = reader->levels[i] == reader->source.definition_max;
            present = reader->present;
        }
        if (!values_put(reader, batch, column, present, part, err))
            return false;
        reader->slots_left -= part;
        rows -= part;
    }
    return true;
}

/* ---------- lists ---------- */
/* Refills levels and repeats; at the chunk's end level_count is 0. */
static bool list_levels(ColumnReader *reader, Error *err)
{
    reader->level_at = reader->level_count = 0;
    if (!reader->slots_left && reader->offset >= reader->end)
        return true;
    if (!reader->slots_left && !page_next(reader, err))
        return false;
    uint32_t part = reader->slots_left < SLICE_VALUES ? reader->slots_left : SLICE_VALUES;
    uint32_t unused;
    if (!hybrid_take(&reader->repetitions, reader->repeats, part))
        return column_data_error(reader, "a page's repetition levels are cut", err);
    if (!levels_take(reader, part, &unused, err))
        return false;
    reader->level_count = part;
    reader->slots_left -= part;
    return true;
}

/* The slots that belong to one row, from level_at on; the row may go on in the next levels. */
static uint32_t slots_of_row(const ColumnReader *reader, bool begun)
{
    uint32_t at = reader->level_at + !begun;
    while (at < reader->level_count && reader->repeats[at] == 1)
        at++;
    return at - reader->level_at;
}

static bool put_elements(ColumnReader *reader, Batch *batch, Column *child, uint32_t slots,
                         Error *err)
{
    uint32_t elements = 0, values = 0;
    for (uint32_t i = 0; i < slots; i++) {
        uint32_t level = reader->levels[reader->level_at + i];
        if (level < reader->source.element_from)
            continue;
        reader->present[elements] = level == reader->source.definition_max;
        values += reader->present[elements++];
    }
    if (child->rows_max - child->rows < elements)
        column_grow_rows(batch, child, elements);
    return values_take(reader, values, err) &&
           values_put(reader, batch, child, reader->present, elements, err);
}

/* `is_null` rows have no elements. */
static void end_row(Batch *batch, Column *list, bool is_null)
{
    if (is_null)
        column_put_null(batch, list);
    else
        column_put_list(batch, list);
}

static bool take_lists(ColumnReader *reader, Batch *batch, Column *column, uint32_t rows,
                       Error *err)
{
    for (; rows; rows--) {
        bool begun = false, is_null = false;
        for (;;) {
            if (reader->level_at == reader->level_count && !list_levels(reader, err))
                return false;
            if (!reader->level_count) {
                if (begun)
                    break; /* the chunk's last row */
                return column_data_error(reader, "a column chunk has fewer rows than its row group",
                                         err);
            }
            if (begun && reader->repeats[reader->level_at] != 1)
                break;
            if (!begun) {
                if (reader->repeats[reader->level_at] != 0)
                    return column_data_error(reader, "a row begins inside a list", err);
                is_null = reader->levels[reader->level_at] < reader->source.list_from;
            }
            uint32_t slots = slots_of_row(reader, begun);
            if (column->child->rows > COLUMN_BYTES_MAX / 64)
                return column_data_error(reader, "its lists are too long for one batch", err);
            if (!put_elements(reader, batch, column->child, slots, err))
                return false;
            reader->level_at += slots;
            begun = true;
            if (reader->level_at < reader->level_count)
                break;
        }
        end_row(batch, column, is_null);
    }
    return true;
}

bool column_reader_take(ColumnReader *reader, Batch *batch, Column *column, uint32_t rows,
                        Error *err)
{
    ASSERT(rows <= SLICE_VALUES);
    if (!reader->source.found) {
        for (uint32_t i = 0; i < rows; i++)
            column_put_null(batch, column);
        return true;
    }
    if (reader->source.repetition_max)
        return take_lists(reader, batch, column, rows, err);
    return take_flat(reader, batch, column, rows, err);
}
