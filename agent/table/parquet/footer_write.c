#include "agent/table/parquet/footer_write.h"

#include "agent/table/parquet/thrift.h"

/* ---------- schema: the tree, depth first ---------- */
static void put_unit_type(Bytes *to, bool utc) /* TimeType and TimestampType, microseconds */
{
    int16_t last = 0, unit = 0;
    thrift_put_bool(to, &last, 1, utc);
    thrift_put_field(to, &last, 2, THRIFT_STRUCT);
    thrift_put_empty_struct(to, &unit, UNIT_MICROS);
    thrift_put_stop(to);
    thrift_put_stop(to);
}

static void put_decimal_type(Bytes *to, const Type *type)
{
    int16_t last = 0;
    thrift_put_i32(to, &last, 1, type->scale);
    thrift_put_i32(to, &last, 2, type->precision);
    thrift_put_stop(to);
}

static int converted_of(const Type *type)
{
    switch (type->kind) {
    case TYPE_STRING:
        return CONVERTED_UTF8;
    case TYPE_LIST:
        return CONVERTED_LIST;
    case TYPE_MAP:
        return CONVERTED_MAP;
    case TYPE_DECIMAL:
        return CONVERTED_DECIMAL;
    case TYPE_DATE:
        return CONVERTED_DATE;
    case TYPE_TIME:
        return CONVERTED_TIME_MICROS;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return CONVERTED_TIMESTAMP_MICROS;
    default:
        return -1;
    }
}

static int logical_of(const Type *type)
{
    switch (type->kind) {
    case TYPE_STRING:
        return LOGICAL_STRING;
    case TYPE_LIST:
        return LOGICAL_LIST;
    case TYPE_MAP:
        return LOGICAL_MAP;
    case TYPE_DECIMAL:
        return LOGICAL_DECIMAL;
    case TYPE_DATE:
        return LOGICAL_DATE;
    case TYPE_TIME:
        return LOGICAL_TIME;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return LOGICAL_TIMESTAMP;
    case TYPE_UUID:
        return LOGICAL_UUID;
    default:
        return -1;
    }
}

static void put_logical(Bytes *to, int16_t *last, const Type *type)
{
    int logical = logical_of(type);
    int16_t inner = 0;
    if (logical < 0)
        return;
    thrift_put_field(to, last, 10, THRIFT_STRUCT);
    thrift_put_field(to, &inner, (int16_t)logical, THRIFT_STRUCT);
    if (logical == LOGICAL_DECIMAL)
        put_decimal_type(to, type);
    else if (logical == LOGICAL_TIME || logical == LOGICAL_TIMESTAMP)
        put_unit_type(to, type->kind == TYPE_TIMESTAMPTZ);
    else
        thrift_put_stop(to);
    thrift_put_stop(to);
}

/* The group between a list or map and what it holds. */
static const char *repeated_name(const Type *type)
{
    return type->kind == TYPE_MAP ? "key_value" : "list";
}

/* leaf: NULL for a group. */
static void put_element(Bytes *to, const Field *field, const Leaf *leaf, const char *name)
{
    int16_t last = 0;
    const Type *type = &field->type;
    if (leaf) {
        thrift_put_i32(to, &last, 1, leaf->physical);
        if (leaf->physical == PHYSICAL_FIXED)
            thrift_put_i32(to, &last, 2, (int32_t)leaf->width);
    }
    thrift_put_i32(to, &last, 3, field->required ? REPETITION_REQUIRED : REPETITION_OPTIONAL);
    thrift_put_text(to, &last, 4, name);
    if (!leaf)
        thrift_put_i32(to, &last, 5, type->kind == TYPE_STRUCT ? (int32_t)type->field_count : 1);
    if (converted_of(type) >= 0)
        thrift_put_i32(to, &last, 6, converted_of(type));
    if (type->kind == TYPE_DECIMAL) {
        thrift_put_i32(to, &last, 7, type->scale);
        thrift_put_i32(to, &last, 8, type->precision);
    }
    thrift_put_i32(to, &last, 9, field->id);
    put_logical(to, &last, type);
    thrift_put_stop(to);
}

static void put_repeated(Bytes *to, const Type *type)
{
    int16_t last = 0;
    thrift_put_i32(to, &last, 3, REPETITION_REPEATED);
    thrift_put_text(to, &last, 4, repeated_name(type));
    thrift_put_i32(to, &last, 5, (int32_t)type_child_count(type));
    thrift_put_stop(to);
}

static size_t element_count(const Type *type)
{
    size_t count = 1 + type_repeats(type);
    for (uint32_t i = 0; i < type_child_count(type); i++)
        count += element_count(&type->fields[i].type);
    return count;
}

/* A field and all below it; *leaf moves on behind its leaves. */
static void put_field(Bytes *to, const Field *field, const Leaf **leaf)
{
    bool nested = type_is_nested(&field->type);
    put_element(to, field, nested ? NULL : (*leaf)++, field->name);
    if (type_repeats(&field->type))
        put_repeated(to, &field->type);
    for (uint32_t i = 0; i < type_child_count(&field->type); i++)
        put_field(to, &field->type.fields[i], leaf);
}

static void put_schema(Bytes *to, int16_t *last, const FooterSource *source)
{
    const Schema *schema = source->schema;
    const Leaf *leaf = source->leaves;
    size_t count = 1;
    for (size_t i = 0; i < schema->field_count; i++)
        count += element_count(&schema->fields[i].type);
    thrift_put_list(to, last, 2, THRIFT_STRUCT, count);
    int16_t root = 0;
    thrift_put_text(to, &root, 4, "table");
    thrift_put_i32(to, &root, 5, (int32_t)schema->field_count);
    thrift_put_stop(to);
    for (size_t i = 0; i < schema->field_count; i++)
        put_field(to, &schema->fields[i], &leaf);
    ASSERT(leaf == source->leaves + source->leaf_count);
}

/* ---------- row groups ---------- */
static void put_statistics(Bytes *to, const Leaf *leaf, const ChunkInfo *chunk)
{
    int16_t last = 0;
    uint8_t max[RANGE_CUT_BYTES], min[RANGE_CUT_BYTES];
    size_t max_bytes, min_bytes;
    bool max_exact, min_exact;
    thrift_put_i64(to, &last, 3, (int64_t)chunk->nulls);
    bool has_max = range_plain(leaf, &chunk->range, true, max, &max_bytes, &max_exact);
    bool has_min = range_plain(leaf, &chunk->range, false, min, &min_bytes, &min_exact);
    if (has_max)
        thrift_put_binary(to, &last, 5, max, max_bytes);
    if (has_min)
        thrift_put_binary(to, &last, 6, min, min_bytes);
    if (has_max)
        thrift_put_bool(to, &last, 7, max_exact);
    if (has_min)
        thrift_put_bool(to, &last, 8, min_exact);
    thrift_put_stop(to);
}

static void put_encodings(Bytes *to, int16_t *last, const ChunkInfo *chunk)
{
    Encoding list[5];
    size_t count = 0;
    list[count++] = ENCODING_RLE; /* levels */
    if (chunk->numbered_pages)
        list[count++] = ENCODING_RLE_DICTIONARY;
    if (chunk->dictionary_pages ||
        (chunk->direct_pages && chunk->direct_encoding == ENCODING_PLAIN))
        list[count++] = ENCODING_PLAIN;
    if (chunk->direct_pages && chunk->direct_encoding != ENCODING_PLAIN)
        list[count++] = (Encoding)chunk->direct_encoding;
    thrift_put_list(to, last, 2, THRIFT_I32, count);
    for (size_t i = 0; i < count; i++)
        bytes_put_zigzag(to, list[i]);
}

static void put_encoding_stats(Bytes *to, int16_t *last, const ChunkInfo *chunk)
{
    const struct {
        PageType type;
        Encoding encoding;
        uint32_t pages;
    } stats[] = {
        {PAGE_DICTIONARY, ENCODING_PLAIN, chunk->dictionary_pages},
        {PAGE_DATA, ENCODING_RLE_DICTIONARY, chunk->numbered_pages},
        {PAGE_DATA, (Encoding)chunk->direct_encoding, chunk->direct_pages},
    };
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        count += stats[i].pages > 0;
    thrift_put_list(to, last, 13, THRIFT_STRUCT, count);
    for (size_t i = 0; i < 3; i++) {
        if (!stats[i].pages)
            continue;
        int16_t inner = 0;
        thrift_put_i32(to, &inner, 1, stats[i].type);
        thrift_put_i32(to, &inner, 2, stats[i].encoding);
        thrift_put_i32(to, &inner, 3, (int32_t)stats[i].pages);
        thrift_put_stop(to);
    }
}

/* The names from the table's column down to the leaf. */
static void put_path(Bytes *to, int16_t *last, const Leaf *leaf)
{
    size_t count = 1;
    for (uint32_t i = 0; i < leaf->depth; i++)
        count += 1 + (size_t)type_repeats(&leaf->steps[i].field->type);
    thrift_put_list(to, last, 3, THRIFT_BINARY, count);
    for (uint32_t i = 0; i < leaf->depth; i++) {
        const Field *field = leaf->steps[i].field;
        const char *group = repeated_name(&field->type);
        thrift_put_element_binary(to, field->name, strlen(field->name));
        if (type_repeats(&field->type))
            thrift_put_element_binary(to, group, strlen(group));
    }
    thrift_put_element_binary(to, leaf->field->name, strlen(leaf->field->name));
}

static void put_column_metadata(Bytes *to, const Leaf *leaf, const ChunkInfo *chunk, Codec codec)
{
    int16_t last = 0;
    thrift_put_i32(to, &last, 1, leaf->physical);
    put_encodings(to, &last, chunk);
    put_path(to, &last, leaf);
    thrift_put_i32(to, &last, 4, codec);
    thrift_put_i64(to, &last, 5, (int64_t)chunk->slots);
    thrift_put_i64(to, &last, 6, (int64_t)chunk->plain_bytes);
    thrift_put_i64(to, &last, 7, (int64_t)chunk->bytes);
    thrift_put_i64(to, &last, 9, (int64_t)chunk->data_offset);
    if (chunk->dictionary_pages)
        thrift_put_i64(to, &last, 11, (int64_t)chunk->dictionary_offset);
    thrift_put_field(to, &last, 12, THRIFT_STRUCT);
    put_statistics(to, leaf, chunk);
    put_encoding_stats(to, &last, chunk);
    if (chunk->has_bloom) {
        thrift_put_i64(to, &last, 14, (int64_t)chunk->bloom_offset);
        thrift_put_i32(to, &last, 15, (int32_t)chunk->bloom_bytes);
    }
    thrift_put_stop(to);
}

static void put_column_chunk(Bytes *to, const Leaf *leaf, const ChunkInfo *chunk, Codec codec)
{
    int16_t last = 0;
    thrift_put_i64(to, &last, 2, 0); /* file_offset: deprecated, 0 */
    thrift_put_field(to, &last, 3, THRIFT_STRUCT);
    put_column_metadata(to, leaf, chunk, codec);
    thrift_put_i64(to, &last, 4, (int64_t)chunk->offset_index_at);
    thrift_put_i32(to, &last, 5, (int32_t)chunk->offset_index_bytes);
    if (chunk->column_index_bytes) {
        thrift_put_i64(to, &last, 6, (int64_t)chunk->column_index_at);
        thrift_put_i32(to, &last, 7, (int32_t)chunk->column_index_bytes);
    }
    thrift_put_stop(to);
}

static void put_group(Bytes *to, const FooterSource *source, size_t ordinal)
{
    const GroupInfo *group = &source->groups[ordinal];
    int16_t last = 0;
    thrift_put_list(to, &last, 1, THRIFT_STRUCT, source->leaf_count);
    for (size_t i = 0; i < source->leaf_count; i++)
        put_column_chunk(to, &source->leaves[i], &group->chunks[i], source->codec);
    thrift_put_i64(to, &last, 2, (int64_t)group->plain_bytes);
    thrift_put_i64(to, &last, 3, (int64_t)group->rows);
    thrift_put_i64(to, &last, 5, (int64_t)group->offset);
    thrift_put_i64(to, &last, 6, (int64_t)group->bytes);
    if (ordinal <= INT16_MAX) {
        thrift_put_field(to, &last, 7, THRIFT_I16);
        bytes_put_zigzag(to, (int64_t)ordinal);
    }
    thrift_put_stop(to);
}

void footer_put(Bytes *to, const FooterSource *source)
{
    int16_t last = 0;
    thrift_put_i32(to, &last, 1, 2); /* version */
    put_schema(to, &last, source);
    thrift_put_i64(to, &last, 3, (int64_t)source->rows);
    thrift_put_list(to, &last, 4, THRIFT_STRUCT, source->group_count);
    for (size_t i = 0; i < source->group_count; i++)
        put_group(to, source, i);
    if (source->schema_json) {
        int16_t pair = 0;
        thrift_put_list(to, &last, 5, THRIFT_STRUCT, 1);
        thrift_put_text(to, &pair, 1, "iceberg.schema");
        thrift_put_text(to, &pair, 2, source->schema_json);
        thrift_put_stop(to);
    }
    thrift_put_text(to, &last, 6, source->created_by);
    thrift_put_list(to, &last, 7, THRIFT_STRUCT, source->leaf_count);
    for (size_t i = 0; i < source->leaf_count; i++) { /* TYPE_ORDER */
        int16_t order = 0;
        thrift_put_empty_struct(to, &order, 1);
        thrift_put_stop(to);
    }
    thrift_put_stop(to);
}
