/* See stage_file.h. */
#include "agent/table/stage_file.h"

#include <string.h>
#include <xxhash.h>

#include "common/mem.h"

#define MAGIC "FIRNPC01"
#define MAGIC_BYTES 8
#define FILES_MAX 65536u
#define PATH_BYTES_MAX 4096u
#define LISTS_MAX 65536u /* metrics, splits of a file */
#define DEPTH_MAX 16

enum { LEFT_NULL, LEFT_THERE, LEFT_UNCHANGED };

uint64_t stage_columns(const Table *table)
{
    return XXH3_64bits(table->schema_json, strlen(table->schema_json));
}

uint64_t table_seed(const Table *table)
{
    const char *uuid = iceberg_uuid(table->iceberg);
    uint64_t seed = XXH3_64bits(uuid, strlen(uuid));
    return seed ? seed : 1;
}

char *stage_uri(const Table *table, const char *name)
{
    return mem_format("%s/metadata/staged/%s.piece", iceberg_location(table->iceberg), name);
}

/* ---------- files ---------- */
static void file_encode(const DataFile *file, Bytes *to)
{
    size_t path = strlen(file->path);
    bytes_put_u32(to, (uint32_t)path);
    bytes_put(to, file->path, path);
    bytes_put_u32(to, (uint32_t)file->spec_id);
    bytes_put_u64(to, file->record_count);
    bytes_put_u64(to, file->file_bytes);
    bytes_put_u32(to, (uint32_t)file->partition_count);
    for (size_t i = 0; i < file->partition_count; i++) {
        const Value *value = &file->partition[i];
        bytes_put_u8(to, value->is_null);
        bytes_put(to, value->uuid, sizeof value->uuid);
        bytes_put_u32(to, value->bytes ? value->byte_count : 0);
        bytes_put(to, value->bytes, value->bytes ? value->byte_count : 0);
    }
    bytes_put_u32(to, (uint32_t)file->metric_count);
    bytes_put(to, file->metrics, file->metric_count * sizeof *file->metrics);
    bytes_put_u32(to, (uint32_t)file->split_count);
    bytes_put(to, file->split_offsets, file->split_count * sizeof *file->split_offsets);
}

static bool take_array(Reader *in, uint64_t count, size_t each, void **ret)
{
    const uint8_t *at;
    if (count > reader_left(in) / each || !reader_take(in, (size_t)count * each, &at))
        return false;
    *ret = mem_array((size_t)count + 1, each);
    if (count)
        memcpy(*ret, at, (size_t)count * each);
    return true;
}

static bool take_partition(Reader *in, const PartitionSpec *spec, DataFile *to)
{
    uint32_t count, bytes;
    const uint8_t *at;
    if (!reader_u32(in, &count) || count != spec->field_count)
        return false;
    to->partition = mem_array((size_t)count + 1, sizeof *to->partition);
    to->partition_count = count;
    for (uint32_t i = 0; i < count; i++) {
        Value *value = &to->partition[i];
        uint8_t is_null;
        value->type = spec->fields[i].result;
        if (!reader_u8(in, &is_null) || !reader_take(in, sizeof value->uuid, &at))
            return false;
        value->is_null = is_null;
        memcpy(value->uuid, at, sizeof value->uuid);
        if (!reader_u32(in, &bytes) || !reader_take(in, bytes, &at))
            return false;
        bool has_bytes = value->type.kind == TYPE_STRING || value->type.kind == TYPE_BINARY ||
                         value->type.kind == TYPE_FIXED;
        if (has_bytes && !is_null) {
            value->bytes = mem_alloc(bytes + (size_t)1);
            memcpy(value->bytes, at, bytes);
            value->byte_count = bytes;
        }
    }
    return true;
}

static bool file_decode(Reader *in, const IcebergTable *iceberg, DataFile *to)
{
    uint32_t bytes, spec_id, metrics, splits;
    const uint8_t *path;
    *to = (DataFile){
        .content = FILE_DATA, .format = FORMAT_PARQUET, .first_row_id = -1, .content_offset = -1};
    if (!reader_u32(in, &bytes) || !bytes || bytes > PATH_BYTES_MAX ||
        !reader_take(in, bytes, &path) || memchr(path, 0, bytes))
        return false;
    to->path = mem_strndup((const char *)path, bytes);
    const char *location = iceberg_location(iceberg);
    if (strncmp(to->path, location, strlen(location)) != 0 || strstr(to->path, "/../"))
        return false;
    if (!reader_u32(in, &spec_id) || !reader_u64(in, &to->record_count) ||
        !reader_u64(in, &to->file_bytes) || !to->record_count || to->record_count >= UINT32_MAX)
        return false;
    to->spec_id = (int32_t)spec_id;
    const PartitionSpec *spec = iceberg_partition_spec_by_id(iceberg, to->spec_id);
    if (!spec || !take_partition(in, spec, to))
        return false;
    void *list;
    if (!reader_u32(in, &metrics) || metrics > LISTS_MAX ||
        !take_array(in, metrics, sizeof *to->metrics, &list))
        return false;
    to->metrics = list;
    to->metric_count = metrics;
    for (uint32_t i = 0; i < metrics; i++)
        if (to->metrics[i].lower_bytes > sizeof to->metrics[i].lower ||
            to->metrics[i].upper_bytes > sizeof to->metrics[i].upper)
            return false;
    if (!reader_u32(in, &splits) || splits > LISTS_MAX ||
        !take_array(in, splits, sizeof *to->split_offsets, &list))
        return false;
    to->split_offsets = list;
    to->split_count = splits;
    return true;
}

/* ---------- the whole ---------- */
void stage_file_done(StageFile *file)
{
    for (uint32_t i = 0; i < file->file_count; i++)
        data_file_done(&file->files[i]);
    free(file->files);
    free(file->first);
    free(file->second);
    free(file->in_file);
    free(file->positions);
    *file = (StageFile){0};
}

void stage_file_encode(const StageFile *file, Bytes *to)
{
    size_t keys = (size_t)file->key_count;
    bytes_put(to, MAGIC, MAGIC_BYTES);
    bytes_put_u64(to, file->columns);
    bytes_put_u64(to, file->seed);
    bytes_put_u8(to, file->wide);
    bytes_put_u32(to, file->file_count);
    for (uint32_t i = 0; i < file->file_count; i++)
        file_encode(&file->files[i], to);
    bytes_put_u64(to, file->key_count);
    bytes_put(to, file->first, keys * sizeof *file->first);
    if (file->wide)
        bytes_put(to, file->second, keys * sizeof *file->second);
    bytes_put(to, file->in_file, keys * sizeof *file->in_file);
    bytes_put(to, file->positions, keys * sizeof *file->positions);
    bytes_put_u64(to, file->left_count);
    bytes_put_u64(to, file->left_bytes);
    bytes_put(to, file->left, (size_t)file->left_bytes);
    bytes_put_u64(to, XXH3_64bits(to->data, to->used));
}

/* Every key's place is in a file that there is. */
static bool places_are_good(const StageFile *file)
{
    uint64_t left = 0;
    for (uint64_t i = 0; i < file->key_count; i++) {
        uint32_t in = file->in_file[i];
        if (in == STAGE_LEFT)
            left++;
        else if (in != RUN_DELETED &&
                 (in >= file->file_count || file->positions[i] >= file->files[in].record_count))
            return false;
    }
    return left == file->left_count;
}

static bool decode(Reader *in, const IcebergTable *iceberg, StageFile *ret)
{
    uint32_t files;
    uint8_t wide;
    void *list;
    if (!reader_u64(in, &ret->columns) || !reader_u64(in, &ret->seed) || !reader_u8(in, &wide) ||
        !reader_u32(in, &files) || files > FILES_MAX)
        return false;
    ret->wide = wide;
    ret->files = mem_array((size_t)files + 1, sizeof *ret->files);
    while (ret->file_count < files)
        if (!file_decode(in, iceberg, &ret->files[ret->file_count++]))
            return false;
    if (!reader_u64(in, &ret->key_count) || !take_array(in, ret->key_count, 8, &list))
        return false;
    ret->first = list;
    if (ret->wide) {
        if (!take_array(in, ret->key_count, 8, &list))
            return false;
        ret->second = list;
    }
    if (!take_array(in, ret->key_count, 4, &list))
        return false;
    ret->in_file = list;
    if (!take_array(in, ret->key_count, 4, &list))
        return false;
    ret->positions = list;
    return reader_u64(in, &ret->left_count) && reader_u64(in, &ret->left_bytes) &&
           ret->left_bytes == reader_left(in) && reader_take(in, ret->left_bytes, &ret->left) &&
           places_are_good(ret);
}

bool stage_file_decode(const Bytes *from, const IcebergTable *iceberg, StageFile *ret, Error *err)
{
    uint64_t sum = 0;
    *ret = (StageFile){0};
    if (from->used > MAGIC_BYTES + sizeof sum && memcmp(from->data, MAGIC, MAGIC_BYTES) == 0) {
        size_t bytes = from->used - sizeof sum;
        memcpy(&sum, from->data + bytes, sizeof sum);
        Reader in = reader_over(from->data + MAGIC_BYTES, bytes - MAGIC_BYTES);
        if (sum == XXH3_64bits(from->data, bytes) && decode(&in, iceberg, ret))
            return true;
    }
    stage_file_done(ret);
    return error_set(err, ERROR_DATA, "BadPiece", "a staged piece can't be read");
}

/* ---------- rows that lack values ---------- */
static void value_encode(const Column *column, uint32_t row, Bytes *to)
{
    const Type *type = &column->field->type;
    uint32_t bytes;
    bool there = !column_is_null(column, row);
    bytes_put_u8(to, there                              ? LEFT_THERE
                     : column_is_unchanged(column, row) ? LEFT_UNCHANGED
                                                        : LEFT_NULL);
    if (!there)
        return;
    if (column->width) {
        bytes_put(to, column->values + (size_t)row * column->width, column->width);
    } else if (type->kind == TYPE_BOOL) {
        bytes_put_u8(to, bit_get(column->values, row));
    } else if (type->kind == TYPE_STRUCT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            value_encode(&column->child[i], row, to);
    } else if (column->child) {
        uint32_t from = (uint32_t)column->offsets[row], end = (uint32_t)column->offsets[row + 1];
        bytes_put_u32(to, end - from);
        for (uint32_t i = from; i < end; i++)
            for (uint32_t child = 0; child < type_child_count(type); child++)
                value_encode(&column->child[child], i, to);
    } else {
        const uint8_t *at = column_bytes(column, row, &bytes);
        bytes_put_u32(to, bytes);
        bytes_put(to, at, bytes);
    }
}

void stage_row_encode(const Batch *batch, uint32_t row, Bytes *to)
{
    for (uint32_t i = 0; i < batch->column_count; i++)
        value_encode(&batch->columns[i], row, to);
}

static bool value_decode(Reader *in, Batch *batch, Column *column, unsigned depth)
{
    const Type *type = &column->field->type;
    uint8_t state, boolean;
    uint32_t count;
    const uint8_t *at;
    if (depth > DEPTH_MAX || !reader_u8(in, &state) || state > LEFT_UNCHANGED ||
        (state == LEFT_UNCHANGED && depth))
        return false;
    if (state == LEFT_UNCHANGED) {
        column_put_unchanged(batch, column);
    } else if (state == LEFT_NULL) {
        column_put_null(batch, column);
    } else if (column->width) {
        if (!reader_take(in, column->width, &at))
            return false;
        memcpy(column_put_fixed(batch, column), at, column->width);
    } else if (type->kind == TYPE_BOOL) {
        if (!reader_u8(in, &boolean))
            return false;
        column_put_bool(batch, column, boolean);
    } else if (type->kind == TYPE_STRUCT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!value_decode(in, batch, &column->child[i], depth + 1))
                return false;
        column_put_struct(batch, column);
    } else if (column->child) {
        if (!reader_u32(in, &count) || count > reader_left(in))
            return false;
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t child = 0; child < type_child_count(type); child++) {
                column_element_room(batch, &column->child[child]);
                if (!value_decode(in, batch, &column->child[child], depth + 1))
                    return false;
            }
        column_put_list(batch, column);
    } else {
        if (!reader_u32(in, &count) || count > COLUMN_BYTES_MAX / 2 || !reader_take(in, count, &at))
            return false;
        column_put_bytes(batch, column, at, count);
    }
    return true;
}

bool stage_row_decode(Reader *in, Batch *batch, Error *err)
{
    batch_row_begin(batch, ROW_UPDATE, (RowPosition){0});
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (!value_decode(in, batch, &batch->columns[i], 0))
            return error_set(err, ERROR_DATA, "BadPiece", "a staged piece can't be read");
    return true;
}
