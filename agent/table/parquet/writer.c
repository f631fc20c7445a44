#include <stdio.h>

#include "agent/table/parquet/footer_write.h"
#include "agent/table/parquet/parquet.h"

#define ROW_GROUP_BYTES_DEFAULT ((size_t)32 << 20)
#define ROW_GROUP_ROWS_DEFAULT ((size_t)1 << 20)
#define PAGE_BYTES_DEFAULT ((size_t)1 << 20)
#define PAGE_BYTES_LEAST ((size_t)4 << 10)
#define PAGE_BYTES_MOST ((size_t)64 << 20)
#define ZSTD_LEVEL_DEFAULT 3
#define SLICE_ROWS 8192 /* between looks at the row group's size */

struct ParquetWriter {
    const Schema *schema;
    StoreWriter *sink;
    ParquetOptions options;
    char *created_by;
    char *schema_json;
    PageWorkshop workshop;
    Leaf *leaves;
    ColumnWriter *columns; /* one per leaf */
    size_t leaf_count;

    uint64_t offset;     /* written so far */
    uint64_t rows;       /* put so far */
    uint64_t group_rows; /* of the group not yet written */
    GroupInfo *groups;
    size_t group_count;
    Bytes column_indexes, offset_indexes; /* of all chunks so far */
    bool failed;                          /* the sink has an unknown part: only freeing is left */
};

void parquet_options_default(ParquetOptions *options)
{
    *options = (ParquetOptions){.zstd_level = ZSTD_LEVEL_DEFAULT,
                                .row_group_bytes = ROW_GROUP_BYTES_DEFAULT,
                                .row_group_rows = ROW_GROUP_ROWS_DEFAULT,
                                .page_bytes = PAGE_BYTES_DEFAULT};
}

void parquet_writer_free(ParquetWriter *writer)
{
    if (!writer)
        return;
    store_writer_free(writer->sink);
    for (size_t i = 0; i < writer->leaf_count; i++)
        column_writer_done(&writer->columns[i]);
    free(writer->columns);
    leaves_free(writer->leaves, writer->leaf_count);
    for (size_t i = 0; i < writer->group_count; i++)
        free(writer->groups[i].chunks);
    free(writer->groups);
    compressor_free(writer->workshop.compressor);
    bytes_done(&writer->workshop.body);
    bytes_done(&writer->workshop.spare);
    bytes_done(&writer->workshop.header);
    bytes_done(&writer->workshop.chunk);
    bytes_done(&writer->workshop.rows);
    bytes_done(&writer->column_indexes);
    bytes_done(&writer->offset_indexes);
    free(writer->created_by);
    free(writer->schema_json);
    free(writer);
}

static void options_complete(ParquetOptions *options)
{
    ParquetOptions usual;
    parquet_options_default(&usual);
    if (!options->row_group_bytes)
        options->row_group_bytes = usual.row_group_bytes;
    if (!options->row_group_rows)
        options->row_group_rows = usual.row_group_rows;
    if (!options->page_bytes)
        options->page_bytes = usual.page_bytes;
    if (options->page_bytes < PAGE_BYTES_LEAST)
        options->page_bytes = PAGE_BYTES_LEAST;
    if (options->page_bytes > PAGE_BYTES_MOST)
        options->page_bytes = PAGE_BYTES_MOST;
}

static bool wants_bloom(const ParquetOptions *options, const Leaf *leaf)
{
    for (size_t i = 0; i < options->bloom_count; i++)
        if (options->bloom_ids[i] == leaf->field->id)
            return true;
    return false;
}

static bool columns_init(ParquetWriter *writer, Error *err)
{
    if (!leaves_of(writer->schema, &writer->leaves, &writer->leaf_count, err))
        return false;
    writer->columns = mem_array(writer->leaf_count, sizeof *writer->columns);
    for (size_t i = 0; i < writer->leaf_count; i++)
        column_writer_init(&writer->columns[i], &writer->leaves[i], &writer->workshop,
                           wants_bloom(&writer->options, &writer->leaves[i]));
    return true;
}

static bool write_out(ParquetWriter *writer, const void *data, size_t bytes, Error *err)
{
    writer->offset += bytes;
    return store_write(writer->sink, data, bytes, err);
}

ParquetWriter *parquet_writer_open(const Schema *schema, const ParquetOptions *options,
                                   StoreWriter *sink, Error *err)
{
    AUTO(parquet_writer_free) ParquetWriter *writer = mem_zalloc(sizeof *writer);
    writer->schema = schema;
    writer->sink = sink;
    writer->options = *options;
    options_complete(&writer->options);
    writer->created_by =
        mem_strdup(options->created_by ? options->created_by : "firn version " FIRN_VERSION);
    writer->schema_json = options->schema_json ? mem_strdup(options->schema_json) : NULL;
    if (options->zstd_level < 0 || options->zstd_level > 22) {
        error_set(err, ERROR_CONFIG, "CompressionLevel",
                  "zstd level %d is not one of 0 (none) to 22", options->zstd_level);
        return NULL;
    }
    writer->workshop.compressor = compressor_new(options->zstd_level);
    writer->workshop.page_bytes = writer->options.page_bytes;
    writer->workshop.group_rows = writer->options.row_group_rows;
    writer->workshop.plain_strings = writer->options.plain_strings;
    if (!columns_init(writer, err) || !write_out(writer, PARQUET_MAGIC, PARQUET_MAGIC_BYTES, err))
        return NULL;
    /* Read only during open. */
    writer->options.bloom_ids = NULL;
    writer->options.bloom_count = 0;
    ParquetWriter *ready = writer;
    writer = NULL;
    return ready;
}

static bool failed_before(Error *err)
{
    return error_set(err, ERROR_RETRY, "WriterFailed",
                     "this file could not be written, or is finished already; begin a new one");
}

/* ---------- rows ---------- */
/* One field of the rows, then what stands below it: there all elements, also those of rows that are
 * not selected, but in a struct only where the struct itself is there. */
static bool field_check(const Field *field, const Column *column, const Rows *rows, Error *err)
{
    const Type *type = &field->type;
    uint32_t row = 0;
    if (field->required && gather_find_null(column, rows, &row))
        return error_set(err, ERROR_DATA, "NullInRequired",
                         "field %s is required, but row %u of the batch has none", field->name,
                         row);
    if (type->kind == TYPE_DECIMAL && gather_find_overflow(column, rows, &row))
        return error_set(err, ERROR_DATA, "DecimalOverflow",
                         "row %u of field %s has more digits than decimal(%u,%u)", row, field->name,
                         type->precision, type->scale);
    for (uint32_t i = 0; i < type_child_count(type); i++) {
        Rows inner = {NULL, 0, column->child[i].rows};
        if (type->kind == TYPE_STRUCT && type->fields[i].required && column->null_count)
            return error_set(err, ERROR_DATA, "NullInRequired",
                             "field %s of the optional struct %s is required: that is not written",
                             type->fields[i].name, field->name);
        if (!field_check(&type->fields[i], &column->child[i], &inner, err))
            return error_wrap(err, "below field %s", field->name);
    }
    return true;
}

/* Before anything is taken, so that a refused call leaves the writer as it was. */
static bool rows_check(const ParquetWriter *writer, const Column *const *columns, const Rows *rows,
                       Error *err)
{
    for (size_t i = 0; i < writer->schema->field_count; i++)
        if (!field_check(&writer->schema->fields[i], columns[i], rows, err))
            return false;
    return true;
}

static bool flush_blooms(ParquetWriter *writer, GroupInfo *group, Error *err)
{
    Bytes *bits = &writer->workshop.body;
    for (size_t i = 0; i < writer->leaf_count; i++) {
        ColumnWriter *column = &writer->columns[i];
        if (!column->wants_bloom)
            continue;
        bytes_clear(bits);
        bloom_write(&column->bloom, bits);
        group->chunks[i].has_bloom = true;
        group->chunks[i].bloom_offset = writer->offset;
        group->chunks[i].bloom_bytes = (uint32_t)bits->used;
        if (!write_out(writer, bits->data, bits->used, err))
            return false;
    }
    return true;
}

static bool flush_group(ParquetWriter *writer, Error *err)
{
    if (!writer->group_rows)
        return true;
    writer->groups = mem_regrow(writer->groups, writer->group_count + 1, sizeof *writer->groups);
    GroupInfo *group = &writer->groups[writer->group_count++];
    *group = (GroupInfo){.rows = writer->group_rows, .offset = writer->offset};
    group->chunks = mem_array(writer->leaf_count, sizeof *group->chunks);
    writer->failed = true;
    for (size_t i = 0; i < writer->leaf_count; i++) {
        ChunkInfo *chunk = &group->chunks[i];
        if (!column_writer_flush(&writer->columns[i], writer->sink, &writer->offset,
                                 &writer->column_indexes, &writer->offset_indexes, chunk, err))
            return false;
        group->bytes += chunk->bytes;
        group->plain_bytes += chunk->plain_bytes;
    }
    if (!flush_blooms(writer, group, err))
        return false;
    writer->failed = false;
    writer->group_rows = 0;
    return true;
}

static uint64_t waiting_bytes(const ParquetWriter *writer)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < writer->leaf_count; i++)
        bytes += column_writer_bytes(&writer->columns[i]);
    return bytes;
}

bool parquet_writer_put(ParquetWriter *writer, const Column *const *columns,
                        const uint32_t *selection, size_t count, Error *err)
{
    if (writer->failed)
        return failed_before(err);
    Rows all = {selection, 0, count};
    if (!rows_check(writer, columns, &all, err))
        return false;
    for (size_t at = 0; at < count;) {
        Rows part = {selection, at, count - at};
        size_t room = writer->options.row_group_rows - writer->group_rows;
        if (part.count > room)
            part.count = room;
        if (part.count > SLICE_ROWS)
            part.count = SLICE_ROWS;
        for (size_t i = 0; i < writer->leaf_count; i++)
            column_writer_put(&writer->columns[i], columns[writer->leaves[i].column], &part);
        at += part.count;
        writer->rows += part.count;
        writer->group_rows += part.count;
        if ((writer->group_rows >= writer->options.row_group_rows ||
             waiting_bytes(writer) >= writer->options.row_group_bytes) &&
            !flush_group(writer, err))
            return false;
    }
    return true;
}

uint64_t parquet_writer_rows(const ParquetWriter *writer)
{
    return writer->rows;
}

uint64_t parquet_writer_bytes(const ParquetWriter *writer)
{
    return writer->offset + waiting_bytes(writer);
}

size_t parquet_writer_memory(const ParquetWriter *writer)
{
    const PageWorkshop *workshop = &writer->workshop;
    size_t bytes = sizeof *writer + workshop->body.held + workshop->spare.held +
                   workshop->header.held + workshop->chunk.held + workshop->rows.held +
                   compressor_memory(workshop->compressor) + writer->column_indexes.held +
                   writer->offset_indexes.held;
    bytes +=
        writer->group_count * (sizeof *writer->groups + writer->leaf_count * sizeof(ChunkInfo));
    for (size_t i = 0; i < writer->leaf_count; i++)
        bytes += sizeof(Leaf) + sizeof(ColumnWriter) + column_writer_memory(&writer->columns[i]);
    return bytes;
}

bool parquet_writer_ease(ParquetWriter *writer, bool *ret_ended, Error *err)
{
    *ret_ended = waiting_bytes(writer) >= parquet_writer_memory(writer) / 2;
    if (writer->failed)
        return failed_before(err);
    return !*ret_ended || flush_group(writer, err);
}

/* ---------- the end ---------- */
static void indexes_place(ParquetWriter *writer)
{
    uint64_t bounds = writer->offset;
    uint64_t offsets = bounds + writer->column_indexes.used;
    for (size_t g = 0; g < writer->group_count; g++) {
        for (size_t i = 0; i < writer->leaf_count; i++) {
            ChunkInfo *chunk = &writer->groups[g].chunks[i];
            chunk->column_index_at = bounds;
            chunk->offset_index_at = offsets;
            bounds += chunk->column_index_bytes;
            offsets += chunk->offset_index_bytes;
        }
    }
}

static void field_metrics(const ParquetWriter *writer, size_t at, ParquetFieldMetrics *ret)
{
    const Leaf *leaf = &writer->leaves[at];
    Range range = {0};
    *ret = (ParquetFieldMetrics){.field_id = leaf->field->id};
    for (size_t g = 0; g < writer->group_count; g++) {
        const ChunkInfo *chunk = &writer->groups[g].chunks[at];
        ret->column_bytes += (int64_t)chunk->bytes;
        ret->value_count += (int64_t)chunk->slots;
        ret->null_count += (int64_t)chunk->nulls;
        range_merge(&range, &chunk->range, leaf->range);
    }
    ret->nan_count = leaf->range == RANGE_FLOAT ? (int64_t)range.nans : -1;
    ret->has_lower = range_iceberg(leaf, &range, false, ret->lower, &ret->lower_bytes);
    ret->has_upper = range_iceberg(leaf, &range, true, ret->upper, &ret->upper_bytes);
}

static void info_fill(const ParquetWriter *writer, ParquetFileInfo *ret)
{
    *ret = (ParquetFileInfo){.rows = writer->rows,
                             .bytes = writer->offset,
                             .field_count = writer->leaf_count,
                             .split_count = writer->group_count};
    ret->fields = mem_array(writer->leaf_count, sizeof *ret->fields);
    ret->split_offsets = mem_array(writer->group_count, sizeof *ret->split_offsets);
    for (size_t i = 0; i < writer->leaf_count; i++)
        field_metrics(writer, i, &ret->fields[i]);
    for (size_t g = 0; g < writer->group_count; g++)
        ret->split_offsets[g] = (int64_t)writer->groups[g].offset;
}

bool parquet_writer_finish(ParquetWriter *writer, ParquetFileInfo *ret, Error *err)
{
    if (writer->failed)
        return failed_before(err);
    if (!flush_group(writer, err))
        return false;
    writer->failed = true; /* whatever comes, nothing more can be put */
    indexes_place(writer);
    Bytes *tail = &writer->workshop.body;
    bytes_clear(tail);
    bytes_put(tail, writer->column_indexes.data, writer->column_indexes.used);
    bytes_put(tail, writer->offset_indexes.data, writer->offset_indexes.used);
    size_t footer = tail->used;
    footer_put(tail, &(FooterSource){.schema = writer->schema,
                                     .leaves = writer->leaves,
                                     .leaf_count = writer->leaf_count,
                                     .groups = writer->groups,
                                     .group_count = writer->group_count,
                                     .rows = writer->rows,
                                     .codec = compressor_codec(writer->workshop.compressor),
                                     .created_by = writer->created_by,
                                     .schema_json = writer->schema_json});
    bytes_put_u32(tail, (uint32_t)(tail->used - footer));
    bytes_put(tail, PARQUET_MAGIC, PARQUET_MAGIC_BYTES);
    if (!write_out(writer, tail->data, tail->used, err) || !store_finish(writer->sink, err))
        return false;
    info_fill(writer, ret);
    return true;
}

void parquet_file_info_done(ParquetFileInfo *info)
{
    free(info->fields);
    free(info->split_offsets);
    *info = (ParquetFileInfo){0};
}
