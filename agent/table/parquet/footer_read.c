#include "agent/table/parquet/footer_read.h"

#include "agent/table/parquet/thrift.h"

#define TAIL_BYTES ((uint64_t)8) /* length of FileMetaData, "PAR1" */
#define TAIL_GUESS_BYTES ((uint64_t)64 << 10)
#define FOOTER_BYTES_MAX ((uint64_t)64 << 20)
#define ELEMENTS_MAX 65536
#define GROUPS_MAX 65536
#define DEPTH_MAX 40 /* a list is two elements deep */
#define PAGES_BYTES_MAX (16 << 20)

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
    uint32_t leaf; /* the first one at or below it */
    size_t next;   /* the element behind all below it */
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

/* Notes of every element where it ends; *leaf is moved by the leaves among them. */
static bool measure(FileSchema *schema, size_t at, uint32_t *leaf, unsigned depth)
{
    if (at >= schema->count || depth > DEPTH_MAX)
        return false;
    Element *element = &schema->elements[at];
    element->leaf = *leaf;
    element->next = at + 1;
    *leaf += element->physical >= 0;
    for (int32_t i = 0; i < element->children; i++) {
        if (!measure(schema, element->next, leaf, depth + 1))
            return false;
        element->next = schema->elements[element->next].next;
    }
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

/* What stands above the element being matched. */
typedef struct Above {
    uint8_t definition, repetition, element_from;
    uint8_t depth;
    uint8_t step_from[LEAF_DEPTH_MAX];
} Above;

typedef struct Match {
    const FileSchema *schema;
    SourceLeaf *next; /* of the footer's: the next one to be filled */
} Match;

static bool not_read_as(const Field *wanted, const Element *element, Error *err)
{
    char name[TYPE_NAME_BYTES];
    return error_set(err, ERROR_DATA, "ParquetType",
                     "field %s (id %d) is stored as physical type %d, which can't be read as %s; "
                     "rewrite the file, or promote the table's column",
                     wanted->name, wanted->id, element->physical, type_format(&wanted->type, name));
}

static bool match_leaf(Match *match, const Field *wanted, const Element *element,
                       const Above *above, Error *err)
{
    SourceLeaf *ret = match->next++;
    if (element->physical < 0 || element->repetition == REPETITION_REPEATED ||
        !type_fits(&wanted->type, element, &ret->multiplier))
        return not_read_as(wanted, element, err);
    ret->found = true;
    ret->index = element->leaf;
    ret->physical = (Physical)element->physical;
    ret->width = ret->physical == PHYSICAL_FIXED ? (uint32_t)element->width : 0;
    ret->definition_max =
        (uint8_t)(above->definition + (element->repetition == REPETITION_OPTIONAL));
    ret->repetition_max = above->repetition;
    ret->element_from = above->element_from;
    memcpy(ret->step_from, above->step_from, sizeof ret->step_from);
    return true;
}

/* Nothing of the field is in the file. */
static void pass_leaves(Match *match, const Field *wanted)
{
    if (!type_is_nested(&wanted->type))
        match->next++;
    for (uint32_t i = 0; i < type_child_count(&wanted->type); i++)
        pass_leaves(match, &wanted->type.fields[i]);
}

static bool match_field(Match *match, const Field *wanted, size_t at, Above above, Error *err);

/* optional or required group (LIST) { repeated group { element } }, and of a MAP { key; value } */
static bool match_repeated(Match *match, const Field *wanted, size_t at, Above above, Error *err)
{
    const FileSchema *schema = match->schema;
    const Element *outer = &schema->elements[at];
    uint32_t children = type_child_count(&wanted->type);
    if (outer->children != 1 || outer[1].physical >= 0 || outer[1].children != (int32_t)children ||
        outer[1].repetition != REPETITION_REPEATED)
        return error_set(err, ERROR_DATA, "ParquetType",
                         "field %s (id %d) is no list or map of three levels in the file",
                         wanted->name, wanted->id);
    above.element_from = ++above.definition;
    above.repetition++;
    size_t child = at + 2;
    for (uint32_t i = 0; i < children; i++) {
        if (!match_field(match, &wanted->type.fields[i], child, above, err))
            return false;
        child = schema->elements[child].next;
    }
    return true;
}

static bool match_struct(Match *match, const Field *wanted, size_t at, Above above, Error *err)
{
    const FileSchema *schema = match->schema;
    bool any = false;
    for (uint32_t i = 0; i < wanted->type.field_count; i++) {
        const Field *field = &wanted->type.fields[i];
        size_t child = at + 1, end = schema->elements[at].next;
        while (child < end &&
               !(schema->elements[child].has_id && schema->elements[child].id == field->id))
            child = schema->elements[child].next;
        any = any || child < end;
        if (child >= end)
            pass_leaves(match, field);
        else if (!match_field(match, field, child, above, err))
            return false;
    }
    return any ||
           error_set(err, ERROR_DATA, "ParquetType",
                     "field %s (id %d): the file has none of its fields", wanted->name, wanted->id);
}

static bool match_field(Match *match, const Field *wanted, size_t at, Above above, Error *err)
{
    const Element *element = &match->schema->elements[at];
    if (!type_is_nested(&wanted->type))
        return match_leaf(match, wanted, element, &above, err);
    if (element->physical >= 0 || element->repetition == REPETITION_REPEATED)
        return not_read_as(wanted, element, err);
    ASSERT(above.depth < LEAF_DEPTH_MAX); /* leaves_of has seen the fields */
    above.definition += element->repetition == REPETITION_OPTIONAL;
    above.step_from[above.depth++] = above.definition;
    return wanted->type.kind == TYPE_STRUCT ? match_struct(match, wanted, at, above, err)
                                            : match_repeated(match, wanted, at, above, err);
}

static size_t find_field(const FileSchema *schema, const Field *wanted, bool *ret_twice)
{
    size_t found = 0;
    *ret_twice = false;
    for (size_t at = 1; at < schema->count; at = schema->elements[at].next)
        if (schema->elements[at].has_id && schema->elements[at].id == wanted->id) {
            *ret_twice = found != 0;
            found = at;
        }
    return found;
}

static bool match_fields(FileSchema *schema, const Schema *wanted, Footer *footer, Error *err)
{
    uint32_t leaf = 0;
    if (!schema->any_id && schema->leaf_count)
        return bad(err, "its columns have no field ids, so they can't be told apart as Iceberg's");
    if (schema->elements[0].physical >= 0)
        return bad(err, "its schema's root is no group");
    if (!measure(schema, 0, &leaf, 0))
        return bad(err, "its schema's tree is cut or too deep");
    if (schema->elements[0].next != schema->count)
        return bad(err, "its schema has elements outside the tree");
    Match match = {.schema = schema, .next = footer->leaves};
    for (size_t i = 0; i < wanted->field_count; i++) {
        bool twice;
        size_t at = find_field(schema, &wanted->fields[i], &twice);
        if (twice)
            return bad(err, "a field id is there twice");
        if (!at)
            pass_leaves(&match, &wanted->fields[i]);
        else if (!match_field(&match, &wanted->fields[i], at, (Above){0}, err))
            return false;
    }
    ASSERT(match.next == footer->leaves + footer->leaf_count);
    return true;
}

/* ---------- row groups ---------- */
typedef struct RawChunk {
    int32_t physical, codec;
    int64_t data_offset, dictionary_offset, bytes, values;
    int64_t pages_at;
    int32_t pages_bytes;
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
        else if (field.id == 4)
            good = thrift_i64(in, field, &ret->pages_at);
        else if (field.id == 5)
            good = thrift_i32(in, field, &ret->pages_bytes);
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
    *ret = (SourceChunk){
        .offset = (uint64_t)start, .bytes = (uint64_t)raw->bytes, .codec = (Codec)raw->codec};
    /* Only a short cut: one that lies elsewhere is none. */
    if (raw->pages_at > 0 && raw->pages_bytes > 0 && raw->pages_bytes <= PAGES_BYTES_MAX &&
        (uint64_t)raw->pages_at < data_end &&
        (uint64_t)raw->pages_bytes <= data_end - (uint64_t)raw->pages_at) {
        ret->pages_at = (uint64_t)raw->pages_at;
        ret->pages_bytes = (uint32_t)raw->pages_bytes;
    }
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
    size_t leaf_count = 0;
    for (size_t i = 0; i < wanted->field_count; i++)
        leaf_count += type_leaf_count(&wanted->fields[i].type);
    *ret = (Footer){.leaf_count = leaf_count};
    ret->leaves = mem_array(leaf_count, sizeof *ret->leaves);
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
