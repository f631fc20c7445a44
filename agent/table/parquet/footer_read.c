#include "agent/table/parquet/footer_read.h"

#include "agent/table/parquet/thrift.h"

#define TAIL_BYTES ((uint64_t)8) /* length of FileMetaData, "PAR1" */
#define TAIL_GUESS_BYTES ((uint64_t)64 << 10)
#define FOOTER_BYTES_MAX ((uint64_t)64 << 20)
#define ELEMENTS_MAX 65536
#define GROUPS_MAX 65536
#define DEPTH_MAX 32

/* One node of the file's schema. */
typedef struct Element {
    int32_t physical; /* -1: a group */
    int32_t width;
    int32_t repetition;
    int32_t children;
    int32_t id; /* 0: none */
    int32_t converted;
    int32_t scale, precision;
    int32_t logical; /* -1: none */
    int32_t unit;
    bool has_id;
} Element;

typedef struct FileSchema {
    Element *elements;
    size_t count;
    uint32_t leaf_count;
    bool any_id;
} FileSchema;

void footer_done(Footer *footer)
{
    for (size_t i = 0; i < footer->group_count; i++)
        free(footer->groups[i].chunks);
    free(footer->groups);
    free(footer->leaves);
    *footer = (Footer){0};
}

static bool bad(Error *err, const char *what)
{
    return error_set(err, ERROR_DATA, "ParquetFooter", "this is no good Parquet file: %s", what);
}

/* ---------- the schema's elements ---------- */
static bool parse_unit(Reader *in, int32_t *ret)
{
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP)
            return true;
        *ret = field.id;
        if (!thrift_skip(in, field))
            return false;
    }
    return false;
}

/* TimeType and TimestampType have the unit as field 2, DecimalType scale 1 and precision 2. */
static bool parse_logical_body(Reader *in, Element *element)
{
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        bool good;
        if (field.type == THRIFT_STOP)
            return true;
        if (element->logical == LOGICAL_DECIMAL && field.id == 1)
            good = thrift_i32(in, field, &element->scale);
        else if (element->logical == LOGICAL_DECIMAL && field.id == 2)
            good = thrift_i32(in, field, &element->precision);
        else if (field.id == 2 && field.type == THRIFT_STRUCT)
            good = parse_unit(in, &element->unit);
        else
            good = thrift_skip(in, field);
        if (!good)
            return false;
    }
    return false;
}

static bool parse_logical(Reader *in, Element *element)
{
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP)
            return true;
        if (field.type != THRIFT_STRUCT)
            return false;
        element->logical = field.id;
        if (!parse_logical_body(in, element))
            return false;
    }
    return false;
}

static bool parse_element(Reader *in, Element *ret)
{
    *ret = (Element){.physical = -1, .converted = -1, .logical = -1};
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        bool good;
        switch (field.type == THRIFT_STOP ? 0 : field.id) {
        case 0:
            return field.type == THRIFT_STOP;
        case 1:
            good = thrift_i32(in, field, &ret->physical) && ret->physical >= 0 &&
                   ret->physical <= PHYSICAL_FIXED;
            break;
        case 2:
            good = thrift_i32(in, field, &ret->width);
            break;
        case 3:
            good = thrift_i32(in, field, &ret->repetition);
            break;
        case 5:
            good = thrift_i32(in, field, &ret->children);
            break;
        case 6:
            good = thrift_i32(in, field, &ret->converted);
            break;
        case 7:
            good = thrift_i32(in, field, &ret->scale);
            break;
        case 8:
            good = thrift_i32(in, field, &ret->precision);
            break;
        case 9:
            good = ret->has_id = thrift_i32(in, field, &ret->id);
            break;
        case 10:
            good = field.type == THRIFT_STRUCT && parse_logical(in, ret);
            break;
        default:
            good = thrift_skip(in, field);
        }
        if (!good)
            return false;
    }
    return false;
}

static bool parse_schema(Reader *in, ThriftField field, FileSchema *schema, Error *err)
{
    size_t count;
    if (!thrift_list(in, field, THRIFT_STRUCT, &count) || !count || count > ELEMENTS_MAX ||
        schema->elements)
        return bad(err, "its schema is cut, or has more than 65536 elements");
    schema->elements = mem_array(count, sizeof *schema->elements);
    schema->count = count;
    for (size_t i = 0; i < count; i++) {
        Element *element = &schema->elements[i];
        if (!parse_element(in, element))
            return bad(err, "an element of its schema is cut or wrong");
        bool group = element->physical < 0;
        if (element->repetition < 0 || element->repetition > REPETITION_REPEATED ||
            (group ? element->children < 0 : element->children != 0))
            return bad(err, "an element of its schema contradicts itself");
        schema->leaf_count += !group;
        schema->any_id |= element->has_id;
    }
    return true;
}

/* Moves *at behind the element and all below it, *leaf by the leaves among them. */
static bool pass_over(const FileSchema *schema, size_t *at, uint32_t *leaf, unsigned depth)
{
    if (*at >= schema->count || depth > DEPTH_MAX)
        return false;
    const Element *element = &schema->elements[(*at)++];
    if (element->physical >= 0)
        (*leaf)++;
    for (int32_t i = 0; i < element->children; i++)
        if (!pass_over(schema, at, leaf, depth + 1))
            return false;
    return true;
}

/* ---------- matching ---------- */
static bool decimal_fits(const Type *wanted, const Element *element)
{
    bool said = element->logical == LOGICAL_DECIMAL || element->converted == CONVERTED_DECIMAL;
    bool stored =
        element->physical == PHYSICAL_INT32 || element->physical == PHYSICAL_INT64 ||
        element->physical == PHYSICAL_BYTE_ARRAY ||
        (element->physical == PHYSICAL_FIXED && element->width >= 1 && element->width <= 16);
    return said && stored && element->scale == wanted->scale &&
           element->precision <= wanted->precision;
}

static bool time_fits(const Element *element, int64_t *ret_multiplier)
{
    bool millis = element->unit == UNIT_MILLIS || element->converted == CONVERTED_TIME_MILLIS ||
                  element->converted == CONVERTED_TIMESTAMP_MILLIS;
    *ret_multiplier = millis ? 1000 : 1;
    return element->unit != UNIT_NANOS;
}

static bool type_fits(const Type *wanted, const Element *element, int64_t *ret_multiplier)
{
    int32_t physical = element->physical;
    *ret_multiplier = 1;
    switch (wanted->kind) {
    case TYPE_BOOL:
        return physical == PHYSICAL_BOOLEAN;
    case TYPE_INT32:
    case TYPE_DATE:
        return physical == PHYSICAL_INT32;
    case TYPE_INT64:
        return physical == PHYSICAL_INT32 || physical == PHYSICAL_INT64;
    case TYPE_FLOAT32:
        return physical == PHYSICAL_FLOAT;
    case TYPE_FLOAT64:
        return physical == PHYSICAL_FLOAT || physical == PHYSICAL_DOUBLE;
    case TYPE_DECIMAL:
        return decimal_fits(wanted, element);
    case TYPE_TIME:
        return (physical == PHYSICAL_INT32 || physical == PHYSICAL_INT64) &&
               time_fits(element, ret_multiplier) &&
               (physical == PHYSICAL_INT64 || *ret_multiplier == 1000);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return physical == PHYSICAL_INT64 && time_fits(element, ret_multiplier);
    case TYPE_STRING:
    case TYPE_BINARY:
        return physical == PHYSICAL_BYTE_ARRAY;
    case TYPE_UUID:
        return physical == PHYSICAL_FIXED && element->width == 16;
    case TYPE_FIXED:
        return physical == PHYSICAL_FIXED && element->width == (int32_t)wanted->fixed_bytes;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    return false;
}

static bool match_leaf(const Field *wanted, const Element *element, SourceLeaf *ret, Error *err)
{
    char name[TYPE_NAME_BYTES];
    if (element->physical < 0 || element->repetition == REPETITION_REPEATED ||
        !type_fits(&wanted->type, element, &ret->multiplier))
        return error_set(err, ERROR_DATA, "ParquetType",
                         "field %s (id %d) is stored as physical type %d, which can't be read as "
                         "%s; rewrite the file, or promote the table's column",
                         wanted->name, wanted->id, element->physical,
                         type_format(&wanted->type, name));
    ret->physical = (Physical)element->physical;
    ret->width = ret->physical == PHYSICAL_FIXED ? (uint32_t)element->width : 0;
    ret->definition_max += element->repetition == REPETITION_OPTIONAL;
    return true;
}

/* optional or required group (LIST) { repeated group { element } } */
static bool match_list(const Field *wanted, const FileSchema *schema, size_t at, SourceLeaf *ret,
                       Error *err)
{
    const Element *outer = &schema->elements[at];
    if (at + 2 >= schema->count || outer->children != 1 ||
        outer->repetition == REPETITION_REPEATED || outer[1].physical >= 0 ||
        outer[1].children != 1 || outer[1].repetition != REPETITION_REPEATED)
        return error_set(err, ERROR_DATA, "ParquetType",
                         "field %s (id %d) is no list of three levels in the file", wanted->name,
                         wanted->id);
    ret->list_from = outer->repetition == REPETITION_OPTIONAL;
    ret->element_from = ret->list_from + 1;
    ret->definition_max = ret->element_from;
    ret->repetition_max = 1;
    return match_leaf(wanted->type.element, &outer[2], ret, err);
}

static bool match_fields(const FileSchema *schema, const Schema *wanted, Footer *footer, Error *err)
{
    size_t at = 1;
    uint32_t leaf = 0;
    if (!schema->any_id && schema->leaf_count)
        return bad(err, "its columns have no field ids, so they can't be told apart as Iceberg's");
    if (schema->elements[0].physical >= 0)
        return bad(err, "its schema's root is no group");
    for (int32_t i = 0; i < schema->elements[0].children; i++) {
        size_t top = at;
        uint32_t first = leaf;
        if (!pass_over(schema, &at, &leaf, 0))
            return bad(err, "its schema's tree is cut or too deep");
        const Element *element = &schema->elements[top];
        for (size_t k = 0; element->has_id && k < footer->leaf_count; k++) {
            const Field *field = &wanted->fields[k];
            SourceLeaf *ret = &footer->leaves[k];
            if (field->id != element->id)
                continue;
            if (ret->found)
                return bad(err, "a field id is there twice");
            ret->found = true;
            ret->index = first;
            if (field->type.kind == TYPE_LIST ? !match_list(field, schema, top, ret, err)
                                              : !match_leaf(field, element, ret, err))
                return false;
        }
    }
    return at == schema->count || bad(err, "its schema has elements outside the tree");
}

/* ---------- row groups ---------- */
typedef struct RawChunk {
    int32_t physical, codec;
    int64_t data_offset, dictionary_offset, bytes, values;
    bool has_file, has_meta;
} RawChunk;

static bool parse_column_metadata(Reader *in, RawChunk *ret)
{
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        bool good;
        switch (field.type == THRIFT_STOP ? 0 : field.id) {
        case 0:
            return field.type == THRIFT_STOP;
        case 1:
            good = thrift_i32(in, field, &ret->physical);
            break;
        case 4:
            good = thrift_i32(in, field, &ret->codec);
            break;
        case 5:
            good = thrift_i64(in, field, &ret->values);
            break;
        case 7:
            good = thrift_i64(in, field, &ret->bytes);
            break;
        case 9:
            good = thrift_i64(in, field, &ret->data_offset);
            break;
        case 11:
            good = thrift_i64(in, field, &ret->dictionary_offset);
            break;
        default:
            good = thrift_skip(in, field);
        }
        if (!good)
            return false;
    }
    return false;
}

static bool parse_chunk(Reader *in, RawChunk *ret)
{
    *ret = (RawChunk){.physical = -1, .codec = -1};
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP)
            return ret->has_meta && !ret->has_file;
        bool good;
        if (field.id == 3 && field.type == THRIFT_STRUCT)
            good = ret->has_meta = parse_column_metadata(in, ret);
        else
            good = thrift_skip(in, field);
        ret->has_file |= field.id == 1 || field.id == 8; /* another file, or encrypted */
        if (!good)
            return false;
    }
    return false;
}

static bool chunk_take(const RawChunk *raw, const SourceLeaf *leaf, uint64_t data_end,
                       SourceChunk *ret, Error *err)
{
    /* Some writers say 0 for a dictionary that is not there. */
    int64_t start = raw->data_offset;
    if (raw->dictionary_offset > 0 && raw->dictionary_offset < start)
        start = raw->dictionary_offset;
    if (!raw->values) { /* without data pages the offset may be 0 */
        *ret = (SourceChunk){0};
        return true;
    }
    if (start < PARQUET_MAGIC_BYTES || raw->bytes < 0 || (uint64_t)start > data_end ||
        (uint64_t)raw->bytes > data_end - (uint64_t)start)
        return bad(err, "a column chunk lies outside the file");
    if (raw->physical != (int32_t)leaf->physical)
        return bad(err, "a column chunk's type is not its schema's");
    if (raw->codec != CODEC_UNCOMPRESSED && raw->codec != CODEC_SNAPPY &&
        raw->codec != CODEC_GZIP && raw->codec != CODEC_ZSTD)
        return error_set(err, ERROR_DATA, "ParquetCodec",
                         "compression codec %d is not read here (uncompressed, snappy, gzip and "
                         "zstd are)",
                         raw->codec);
    *ret = (SourceChunk){(uint64_t)start, (uint64_t)raw->bytes, (Codec)raw->codec};
    return true;
}

static bool parse_chunks(Reader *in, ThriftField field, const FileSchema *schema, Footer *footer,
                         SourceGroup *group, uint64_t data_end, Error *err)
{
    size_t count;
    if (!thrift_list(in, field, THRIFT_STRUCT, &count) || count != schema->leaf_count ||
        group->chunks)
        return bad(err, "a row group has not one chunk per column");
    group->chunks = mem_array(footer->leaf_count, sizeof *group->chunks);
    for (size_t i = 0; i < count; i++) {
        RawChunk raw;
        if (!parse_chunk(in, &raw))
            return bad(err, "a column chunk's metadata is cut, encrypted, or in another file");
        for (size_t k = 0; k < footer->leaf_count; k++)
            if (footer->leaves[k].found && footer->leaves[k].index == i &&
                !chunk_take(&raw, &footer->leaves[k], data_end, &group->chunks[k], err))
                return false;
    }
    return true;
}

static bool parse_group(Reader *in, const FileSchema *schema, Footer *footer, SourceGroup *group,
                        uint64_t data_end, Error *err)
{
    ThriftField field;
    int64_t rows = -1;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP) {
            group->rows = (uint64_t)rows;
            return (rows >= 0 && group->chunks) || bad(err, "a row group lacks its columns");
        }
        if (field.id == 1) {
            if (!parse_chunks(in, field, schema, footer, group, data_end, err))
                return false;
        } else if (field.id == 3 ? !thrift_i64(in, field, &rows) : !thrift_skip(in, field)) {
            break;
        }
    }
    return bad(err, "a row group's metadata is cut or wrong");
}

static bool parse_groups(Reader *in, ThriftField field, const FileSchema *schema, Footer *footer,
                         uint64_t data_end, Error *err)
{
    size_t count;
    if (!thrift_list(in, field, THRIFT_STRUCT, &count) || count > GROUPS_MAX)
        return bad(err, "its row groups are cut, or more than 65536");
    footer->groups = mem_array(count, sizeof *footer->groups);
    footer->group_count = count;
    for (size_t i = 0; i < count; i++) {
        if (!parse_group(in, schema, footer, &footer->groups[i], data_end, err))
            return false;
        if (__builtin_add_overflow(footer->rows, footer->groups[i].rows, &footer->rows))
            return bad(err, "its row counts overflow");
    }
    return true;
}

static bool parse_metadata(Reader *in, FileSchema *schema, const Schema *wanted, Footer *footer,
                           uint64_t data_end, Error *err)
{
    ThriftField field;
    int64_t rows = -1;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP) {
            if (!schema->elements || rows < 0 || (uint64_t)rows != footer->rows)
                return bad(err, "its row count is not its row groups'");
            return true;
        }
        bool good = true;
        if (field.id == 2) {
            if (!parse_schema(in, field, schema, err) || !match_fields(schema, wanted, footer, err))
                return false;
        } else if (field.id == 3) {
            good = thrift_i64(in, field, &rows);
        } else if (field.id == 4) {
            if (!schema->elements || footer->groups)
                return bad(err, "its row groups come before its schema");
            if (!parse_groups(in, field, schema, footer, data_end, err))
                return false;
        } else {
            good = thrift_skip(in, field);
        }
        if (!good)
            break;
    }
    return bad(err, "its metadata is cut or wrong");
}

bool footer_read(StoreReader *file, const Schema *wanted, Footer *ret, Error *err)
{
    *ret = (Footer){.leaf_count = wanted->field_count};
    ret->leaves = mem_array(wanted->field_count, sizeof *ret->leaves);
    uint64_t size = store_reader_bytes(file);
    if (size < PARQUET_MAGIC_BYTES + TAIL_BYTES)
        return bad(err, "it is too short");
    uint64_t tail = size < TAIL_GUESS_BYTES ? size : TAIL_GUESS_BYTES;
    Bytes data = {0};
    bytes_reserve(&data, tail);
    bool good = store_read(file, size - tail, data.data, tail, err);
    uint32_t length = 0;
    if (good &&
        memcmp(data.data + tail - PARQUET_MAGIC_BYTES, PARQUET_MAGIC, PARQUET_MAGIC_BYTES) != 0)
        good = bad(err, "it does not end in PAR1 (cut, encrypted, or another format)");
    if (good) {
        memcpy(&length, data.data + tail - TAIL_BYTES, sizeof length);
        if (length > FOOTER_BYTES_MAX || length > size - TAIL_BYTES - PARQUET_MAGIC_BYTES)
            good = bad(err, "its metadata is longer than the file, or than 64 MiB");
    }
    if (good && length + TAIL_BYTES > tail) {
        tail = length + TAIL_BYTES;
        bytes_reserve(&data, tail);
        good = store_read(file, size - tail, data.data, tail, err);
    }
    if (good) {
        FileSchema schema = {0};
        Reader in = reader_over(data.data + tail - TAIL_BYTES - length, length);
        good = parse_metadata(&in, &schema, wanted, ret, size - TAIL_BYTES - length, err);
        free(schema.elements);
    }
    bytes_done(&data);
    return good;
}
