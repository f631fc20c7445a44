/* Single rows of a column: from page to page by the file's offset index, where it has one; inside a
 * page, and in files without one, rows in between are passed over without being put anywhere.
 * https://github.com/apache/parquet-format/blob/master/PageIndex.md */
#include "agent/table/parquet/reader.h"
#include "agent/table/parquet/thrift.h"

static bool parse_page(Reader *in, PageAt *ret)
{
    int64_t offset = -1, row = -1;
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP) {
            *ret = (PageAt){(uint64_t)offset, (uint64_t)row};
            return offset >= 0 && row >= 0;
        }
        bool good = field.id == 1   ? thrift_i64(in, field, &offset)
                    : field.id == 3 ? thrift_i64(in, field, &row)
                                    : thrift_skip(in, field);
        if (!good)
            return false;
    }
    return false;
}

/* False: it is not what it should be; the pages are then read one after another. */
static bool parse_pages(Reader *in, const SourceChunk *chunk, uint64_t rows, PickLeaf *to)
{
    ThriftField field;
    size_t count = 0;
    for (int16_t last = 0; thrift_field(in, &last, &field) && field.type != THRIFT_STOP;) {
        if (field.id != 1) {
            if (!thrift_skip(in, field))
                return false;
            continue;
        }
        if (to->pages || !thrift_list(in, field, THRIFT_STRUCT, &count) || !count)
            return false;
        to->pages = mem_array(count, sizeof *to->pages);
        for (size_t i = 0; i < count; i++) {
            PageAt *page = &to->pages[i];
            if (!parse_page(in, page) || page->offset < chunk->offset ||
                page->offset - chunk->offset >= chunk->bytes || page->row >= rows ||
                (i ? page->row <= page[-1].row || page->offset <= page[-1].offset : page->row > 0))
                return false;
        }
    }
    to->page_count = count;
    return count > 0;
}

static bool load_pages(ParquetReader *reader, size_t group, size_t leaf, Error *err)
{
    const SourceChunk *chunk = &reader->footer.groups[group].chunks[leaf];
    PickLeaf *to = &reader->pick_leaves[leaf];
    if (to->group == group + 1)
        return true;
    free(to->pages);
    *to = (PickLeaf){.group = group + 1};
    if (!chunk->pages_bytes)
        return true;
    Bytes data = {0};
    bytes_reserve(&data, chunk->pages_bytes);
    bool ok = store_read(reader->file, chunk->pages_at, data.data, chunk->pages_bytes, err);
    if (ok) {
        Reader in = reader_over(data.data, chunk->pages_bytes);
        if (!parse_pages(&in, chunk, reader->footer.groups[group].rows, to)) {
            free(to->pages);
            *to = (PickLeaf){.group = group + 1};
        }
    }
    bytes_done(&data);
    if (!ok)
        to->group = 0;
    return ok;
}

static bool start_group(ParquetReader *reader, uint32_t field, size_t group, Error *err)
{
    size_t first = reader->first_leaf[field];
    size_t count = type_leaf_count(&reader->wanted->fields[field].type);
    for (size_t i = first; i < first + count; i++) {
        if (!reader->footer.leaves[i].found)
            continue;
        column_reader_start(&reader->leaves[i], &reader->footer.groups[group].chunks[i]);
        if (!load_pages(reader, group, i, err))
            return false;
    }
    reader->pick_fields[field] = (PickField){.group = group + 1};
    return true;
}

/* The last page that begins at or before the row. */
static const PageAt *page_of(const PickLeaf *leaf, uint64_t row)
{
    size_t low = 0, high = leaf->page_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (leaf->pages[middle].row <= row)
            low = middle;
        else
            high = middle;
    }
    return &leaf->pages[low];
}

/* One leaf to the row, as far as pages go; *at is where it then stands. */
static bool leaf_jump(ParquetReader *reader, size_t leaf, uint64_t row, uint64_t *at, Error *err)
{
    const PickLeaf *pages = &reader->pick_leaves[leaf];
    if (!pages->page_count)
        return true;
    const PageAt *page = page_of(pages, row);
    if (page->row <= *at)
        return true;
    *at = page->row;
    return column_reader_jump(&reader->leaves[leaf], pages->pages[0].offset, page->offset, err);
}

/* The next row of the field that is read will be `row` of the group. Each leaf has pages of its
 * own, so each goes its own way there. */
static bool field_seek(ParquetReader *reader, uint32_t number, uint64_t row, Error *err)
{
    const Field *field = &reader->wanted->fields[number];
    size_t first = reader->first_leaf[number];
    for (size_t i = first; i < first + type_leaf_count(&field->type); i++) {
        uint64_t at = reader->pick_fields[number].row;
        if (!reader->footer.leaves[i].found)
            continue;
        if (!leaf_jump(reader, i, row, &at, err))
            return false;
        while (at < row) {
            uint64_t part = row - at < SLICE_VALUES ? row - at : SLICE_VALUES;
            if (!leaf_pass(&reader->leaves[i], type_is_nested(&field->type), (uint32_t)part, err))
                return false;
            at += part;
        }
    }
    reader->pick_fields[number].row = row;
    return true;
}

static bool pick_group(ParquetReader *reader, uint64_t *row, size_t *ret)
{
    for (size_t i = 0; i < reader->footer.group_count; i++) {
        if (*row < reader->footer.groups[i].rows) {
            *ret = i;
            return true;
        }
        *row -= reader->footer.groups[i].rows;
    }
    return false;
}

void parquet_reader_rest(ParquetReader *reader)
{
    for (size_t i = 0; i < reader->footer.leaf_count; i++)
        column_reader_rest(&reader->leaves[i]);
    for (size_t i = 0; reader->pick_fields && i < reader->wanted->field_count; i++)
        reader->pick_fields[i].group = 0;
    decompressor_rest(reader->decompressor);
}

bool parquet_reader_has(const ParquetReader *reader, uint32_t field)
{
    size_t first = reader->first_leaf[field];
    for (size_t i = first; i < first + type_leaf_count(&reader->wanted->fields[field].type); i++)
        if (reader->footer.leaves[i].found)
            return true;
    return false;
}

bool parquet_reader_pick(ParquetReader *reader, uint32_t field, uint64_t row, Batch *batch,
                         Column *column, Error *err)
{
    if (!reader->pick_fields) {
        reader->pick_fields = mem_array(reader->wanted->field_count, sizeof *reader->pick_fields);
        reader->pick_leaves = mem_array(reader->footer.leaf_count, sizeof *reader->pick_leaves);
    }
    PickField *at = &reader->pick_fields[field];
    size_t group;
    if (!pick_group(reader, &row, &group))
        return error_set(err, ERROR_DATA, "BadFile", "it has no such row");
    if ((at->group != group + 1 || at->row > row) && !start_group(reader, field, group, err))
        return false;
    if (!field_seek(reader, field, row, err) ||
        !field_take(&reader->leaves[reader->first_leaf[field]], &reader->wanted->fields[field],
                    batch, column, 1, err)) {
        at->group = 0;
        return false;
    }
    at->row = row + 1;
    return true;
}
