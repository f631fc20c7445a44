#include "agent/table/parquet/column_reader.h"
#include "agent/table/parquet/parquet.h"

#define BATCH_ROWS 8192
#define SLICE_ROWS_FIRST 32
#define SLICE_BYTES ((size_t)1 << 20) /* wide rows are read few at a time */

struct ParquetReader {
    const Schema *wanted;
    StoreReader *file;
    Decompressor *decompressor;
    Footer footer;
    ColumnReader *columns;
    size_t group;        /* the next one to start */
    uint64_t group_left; /* rows of the current one */
    uint64_t row;        /* in the file, of the next batch's first */
    uint32_t slice_rows;
};

void parquet_reader_free(ParquetReader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; reader->columns && i < reader->wanted->field_count; i++)
        column_reader_done(&reader->columns[i]);
    free(reader->columns);
    footer_done(&reader->footer);
    decompressor_free(reader->decompressor);
    store_reader_free(reader->file);
    free(reader);
}

/* Refuses what can't be stored, as the writer does, and what only the writer does: of what is
 * nested, lists of plain values are read. */
static bool check_wanted(const Schema *wanted, Error *err)
{
    Leaf *leaves;
    size_t leaf_count;
    if (!leaves_of(wanted, &leaves, &leaf_count, err))
        return false;
    leaves_free(leaves, leaf_count);
    for (size_t i = 0; i < wanted->field_count; i++) {
        const Type *type = &wanted->fields[i].type;
        char name[TYPE_NAME_BYTES];
        if (type_is_nested(type) &&
            (type->kind != TYPE_LIST || type_is_nested(&type->element->type)))
            return error_set(err, ERROR_CONFIG, "TypeUnsupported",
                             "field %s: %s is written, but not read", wanted->fields[i].name,
                             type_format(type, name));
    }
    return true;
}

ParquetReader *parquet_reader_open(StoreReader *file, const Schema *wanted, Error *err)
{
    AUTO(parquet_reader_free) ParquetReader *reader = mem_zalloc(sizeof *reader);
    reader->file = file;
    reader->wanted = wanted;
    reader->decompressor = decompressor_new();
    reader->slice_rows = SLICE_ROWS_FIRST;
    if (!check_wanted(wanted, err))
        return NULL;
    if (!footer_read(file, wanted, &reader->footer, err))
        return NULL;
    reader->columns = mem_array(wanted->field_count, sizeof *reader->columns);
    for (size_t i = 0; i < wanted->field_count; i++)
        column_reader_init(&reader->columns[i], &wanted->fields[i], &reader->footer.leaves[i], file,
                           reader->decompressor);
    ParquetReader *ready = reader;
    reader = NULL;
    return ready;
}

uint64_t parquet_reader_rows(const ParquetReader *reader)
{
    return reader->footer.rows;
}

static bool group_start(ParquetReader *reader)
{
    while (!reader->group_left) {
        if (reader->group == reader->footer.group_count)
            return false;
        const SourceGroup *group = &reader->footer.groups[reader->group++];
        reader->group_left = group->rows;
        for (size_t i = 0; i < reader->wanted->field_count; i++)
            if (reader->footer.leaves[i].found)
                column_reader_start(&reader->columns[i], &group->chunks[i]);
    }
    return true;
}

static bool slice_take(ParquetReader *reader, Batch *batch, uint32_t rows, Error *err)
{
    for (uint32_t i = 0; i < rows; i++)
        batch_row_begin(batch, ROW_READ, (RowPosition){0, reader->row + i});
    size_t before = batch->bytes;
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (!column_reader_take(&reader->columns[i], batch, &batch->columns[i], rows, err))
            return false;
    reader->row += rows;
    reader->group_left -= rows;
    /* The next slice: twice as many rows, unless that is too much memory at once. */
    uint64_t fit = (uint64_t)SLICE_BYTES * rows / (batch->bytes - before + 1);
    uint64_t next = (uint64_t)reader->slice_rows * 2 < fit ? (uint64_t)reader->slice_rows * 2 : fit;
    reader->slice_rows = (uint32_t)(next < 1 ? 1 : next > SLICE_VALUES ? SLICE_VALUES : next);
    return true;
}

bool parquet_reader_next(ParquetReader *reader, Batch **ret, Error *err)
{
    *ret = NULL;
    if (!group_start(reader))
        return true;
    uint64_t left = reader->footer.rows - reader->row;
    uint32_t row_max = left < BATCH_ROWS ? (uint32_t)left : BATCH_ROWS;
    AUTO(batch_free) Batch *batch = batch_new(reader->wanted, 0, row_max);
    while (!batch_is_full(batch) && group_start(reader)) {
        uint64_t rows = batch->row_max - batch->row_count;
        if (rows > reader->slice_rows)
            rows = reader->slice_rows;
        if (rows > reader->group_left)
            rows = reader->group_left;
        if (!slice_take(reader, batch, (uint32_t)rows, err))
            return false;
    }
    *ret = batch;
    batch = NULL;
    return true;
}
