#include "agent/table/parquet/reader.h"

#define BATCH_ROWS 8192
#define SLICE_ROWS_FIRST 32
#define SLICE_BYTES ((size_t)1 << 20) /* wide rows are read few at a time */

void parquet_reader_free(ParquetReader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; reader->leaves && i < reader->footer.leaf_count; i++)
        column_reader_done(&reader->leaves[i]);
    for (size_t i = 0; reader->pick_leaves && i < reader->footer.leaf_count; i++)
        free(reader->pick_leaves[i].pages);
    free(reader->pick_leaves);
    free(reader->pick_fields);
    free(reader->leaves);
    free(reader->first_leaf);
    footer_done(&reader->footer);
    decompressor_free(reader->decompressor);
    store_reader_free(reader->file);
    free(reader);
}

ParquetReader *parquet_reader_open(StoreReader *file, const Schema *wanted, Error *err)
{
    AUTO(parquet_reader_free) ParquetReader *reader = mem_zalloc(sizeof *reader);
    reader->file = file;
    reader->wanted = wanted;
    reader->decompressor = decompressor_new();
    reader->slice_rows = SLICE_ROWS_FIRST;
    Leaf *leaves;
    size_t leaf_count;
    if (!leaves_of(wanted, &leaves, &leaf_count, err)) /* refuses what can't be stored */
        return NULL;
    bool ok = footer_read(file, wanted, &reader->footer, err);
    if (ok) {
        reader->leaves = mem_array(leaf_count, sizeof *reader->leaves);
        reader->first_leaf = mem_array(wanted->field_count, sizeof *reader->first_leaf);
        for (size_t i = leaf_count; i-- > 0;) {
            column_reader_init(&reader->leaves[i], leaves[i].field, &reader->footer.leaves[i], file,
                               reader->decompressor);
            reader->first_leaf[leaves[i].column] = i;
        }
    }
    leaves_free(leaves, leaf_count);
    return ok ? TAKE(reader) : NULL;
}

size_t parquet_reader_memory(const ParquetReader *reader)
{
    return sizeof *reader + reader->footer.leaf_count * sizeof *reader->leaves;
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
        for (size_t i = 0; i < reader->footer.leaf_count; i++)
            if (reader->footer.leaves[i].found)
                column_reader_start(&reader->leaves[i], &group->chunks[i]);
    }
    return true;
}

static bool slice_take(ParquetReader *reader, Batch *batch, uint32_t rows, Error *err)
{
    for (uint32_t i = 0; i < rows; i++)
        batch_row_begin(batch, ROW_READ, (RowPosition){0, reader->row + i});
    size_t before = batch->bytes;
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (!field_take(&reader->leaves[reader->first_leaf[i]], &reader->wanted->fields[i], batch,
                        &batch->columns[i], rows, err))
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
