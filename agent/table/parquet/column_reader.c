#include "agent/table/parquet/column_reader.h"

void column_reader_init(ColumnReader *reader, const Field *wanted, const SourceLeaf *source,
                        StoreReader *file, Decompressor *decompressor)
{
    reader->wanted = wanted;
    reader->source = *source;
    reader->file = file;
    reader->decompressor = decompressor;
}

void column_reader_done(ColumnReader *reader)
{
    column_reader_rest(reader);
}

void column_reader_rest(ColumnReader *reader)
{
    bytes_done(&reader->window);
    bytes_done(&reader->dictionary);
    bytes_done(&reader->page);
    bytes_done(&reader->previous);
    bytes_done(&reader->built);
    bytes_done(&reader->row_levels);
    free(TAKE(reader->pieces));
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

bool column_reader_jump(ColumnReader *reader, uint64_t first, uint64_t offset, Error *err)
{
    if (!page_dictionary(reader, first, err))
        return false;
    if (offset < reader->offset || offset >= reader->end)
        return column_data_error(reader, "its offset index is wrong", err);
    reader->offset = offset;
    reader->slots_left = 0;
    reader->level_at = reader->level_count = 0;
    return true;
}

bool levels_take(ColumnReader *reader, uint32_t count, uint32_t *ret_values, Error *err)
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
        if (column && !values_put(reader, batch, column, present, part, err))
            return false;
        reader->slots_left -= part;
        rows -= part;
    }
    return true;
}

bool field_take(ColumnReader *readers, const Field *field, Batch *batch, Column *column,
                uint32_t rows, Error *err)
{
    ASSERT(rows <= SLICE_VALUES);
    if (type_is_nested(&field->type))
        return nested_take(readers, field, batch, column, rows, err);
    if (readers->source.found)
        return take_flat(readers, batch, column, rows, err);
    for (uint32_t i = 0; i < rows; i++)
        column_put_null(batch, column);
    return true;
}

bool leaf_pass(ColumnReader *reader, bool nested, uint32_t rows, Error *err)
{
    ASSERT(rows > 0 && rows <= SLICE_VALUES);
    return nested ? nested_leaf_take(reader, NULL, NULL, rows, err)
                  : take_flat(reader, NULL, NULL, rows, err);
}
