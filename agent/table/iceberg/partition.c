/* Partition transforms: from a row's column to the partition's value.
 * https://iceberg.apache.org/spec/#partition-transforms and Appendix B (32-bit hash requirements)
 */
#define XXH_INLINE_ALL
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "agent/table/iceberg/state.h"
#include "agent/table/iceberg/value.h"
#include "common/mem.h"

/* ---------- parsing ---------- */
static const char *const transform_names[] = {"identity", "bucket", "truncate", "year",
                                              "month",    "day",    "hour",     "void"};

static bool is_time(TypeKind kind)
{
    return kind == TYPE_TIMESTAMP || kind == TYPE_TIMESTAMPTZ;
}

static bool allows(TransformKind transform, TypeKind kind)
{
    switch (transform) {
    case TRANSFORM_BUCKET:
        return kind != TYPE_BOOL && kind != TYPE_FLOAT32 && kind != TYPE_FLOAT64 &&
               kind < TYPE_LIST;
    case TRANSFORM_TRUNCATE:
        return kind == TYPE_INT32 || kind == TYPE_INT64 || kind == TYPE_DECIMAL ||
               kind == TYPE_STRING || kind == TYPE_BINARY;
    case TRANSFORM_YEAR:
    case TRANSFORM_MONTH:
    case TRANSFORM_DAY:
        return kind == TYPE_DATE || is_time(kind);
    case TRANSFORM_HOUR:
        return is_time(kind);
    default:
        return kind < TYPE_LIST;
    }
}

static Type result_type(TransformKind transform, const Type *source)
{
    switch (transform) {
    case TRANSFORM_IDENTITY:
    case TRANSFORM_TRUNCATE:
    case TRANSFORM_VOID:
        return *source;
    case TRANSFORM_DAY:
        return (Type){.kind = TYPE_DATE};
    default:
        return (Type){.kind = TYPE_INT32};
    }
}

typedef struct Parts {
    char transform[24];
    char column[256];
    int32_t argument;
    bool has_argument;
} Parts;

/* "bucket(16, id)", "day(created_at)", "truncate(10, name)", "country". */
static bool split(const char *text, Parts *ret)
{
    *ret = (Parts){.transform = "identity"};
    int end = 0;
    if (!strchr(text, '('))
        return sscanf(text, " %255[^ (),]%n", ret->column, &end) == 1 &&
               strspn(text + end, " ") == strlen(text + end);
    if (sscanf(text, " %23[a-zA-Z] ( %9d , %255[^ (),] ) %n", ret->transform, &ret->argument,
               ret->column, &end) == 3 &&
        end && !text[end])
        return ret->has_argument = true;
    return sscanf(text, " %23[a-zA-Z] ( %255[^ (),] ) %n", ret->transform, ret->column, &end) ==
               2 &&
           end && !text[end];
}

static const char *nearest(const Schema *schema, const char *name)
{
    const char *best = schema->field_count ? schema->fields[0].name : "";
    size_t most = 0;
    for (size_t i = 0; i < schema->field_count; i++) {
        size_t same = 0;
        const char *candidate = schema->fields[i].name;
        for (size_t c = 0; candidate[c] && name[c]; c++)
            same += candidate[c] == name[c];
        if (same > most) {
            most = same;
            best = candidate;
        }
    }
    return best;
}

bool partition_field_parse(const char *text, const Schema *schema, PartitionField *ret, Error *err)
{
    Parts parts;
    *ret = (PartitionField){0};
    if (!split(text, &parts))
        return error_set(err, ERROR_CONFIG, "BadPartition",
                         "partitionBy '%.100s' is none of COLUMN, year(C), month(C), day(C), "
                         "hour(C), bucket(N, C), truncate(N, C)",
                         text);
    int transform = -1;
    for (size_t i = 0; i < ARRAY_LEN(transform_names); i++)
        if (strcmp(transform_names[i], parts.transform) == 0)
            transform = (int)i;
    bool wants = transform == TRANSFORM_BUCKET || transform == TRANSFORM_TRUNCATE;
    if (transform < 0 || wants != parts.has_argument || (wants && parts.argument <= 0))
        return error_set(err, ERROR_CONFIG, "BadPartition",
                         "partitionBy '%.100s': '%s' is none of year(C), month(C), day(C), "
                         "hour(C), bucket(N, C), truncate(N, C) with N > 0",
                         text, parts.transform);
    int source = schema_find(schema, parts.column);
    if (source < 0)
        return error_set(err, ERROR_CONFIG, "BadPartition",
                         "partitionBy '%.100s': there is no column '%s'; did you mean '%s'?", text,
                         parts.column, nearest(schema, parts.column));
    const Field *field = &schema->fields[source];
    char type[TYPE_NAME_BYTES];
    if (!allows((TransformKind)transform, field->type.kind))
        return error_set(err, ERROR_CONFIG, "BadPartition",
                         "partitionBy '%.100s': %s is not for a column of type %s", text,
                         parts.transform, type_format(&field->type, type));
    ret->source = (uint32_t)source;
    ret->source_id = field->id;
    ret->transform = (TransformKind)transform;
    ret->argument = parts.argument;
    ret->result = result_type(ret->transform, &field->type);
    ret->name = transform == TRANSFORM_IDENTITY
                    ? mem_strdup(field->name)
                    : mem_format("%s_%s", field->name,
                                 transform == TRANSFORM_TRUNCATE ? "trunc" : parts.transform);
    return true;
}

char *partition_field_text(const PartitionField *field, const Schema *schema)
{
    const char *column = "?";
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].id == field->source_id)
            column = schema->fields[i].name;
    const char *transform = transform_names[field->transform];
    switch (field->transform) {
    case TRANSFORM_IDENTITY:
        return mem_strdup(column);
    case TRANSFORM_BUCKET:
    case TRANSFORM_TRUNCATE:
        return mem_format("%s(%d, %s)", transform, field->argument, column);
    default:
        return mem_format("%s(%s)", transform, column);
    }
}

json_t *partition_field_json(const PartitionField *field)
{
    char transform[40];
    snprintf(transform, sizeof transform, "%s", transform_names[field->transform]);
    if (field->transform == TRANSFORM_BUCKET || field->transform == TRANSFORM_TRUNCATE)
        snprintf(transform, sizeof transform, "%s[%d]", transform_names[field->transform],
                 field->argument);
    json_t *json = json_pack("{s:s,s:s,s:i,s:i}", "name", field->name, "transform", transform,
                             "source-id", field->source_id, "field-id", field->field_id);
    ASSERT(json);
    return json;
}

bool partition_field_from_json(const json_t *json, const Schema *schema, const json_t *schemas,
                               PartitionField *ret, Error *err)
{
    *ret = (PartitionField){0};
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *text = json_string_value(json_object_get(json, "transform"));
    ret->source_id = (int32_t)json_integer_value(json_object_get(json, "source-id"));
    ret->field_id = (int32_t)json_integer_value(json_object_get(json, "field-id"));
    char word[24] = "";
    int fields = text ? sscanf(text, "%23[a-z][%9d]", word, &ret->argument) : 0;
    int transform = -1;
    for (size_t i = 0; fields >= 1 && i < ARRAY_LEN(transform_names); i++)
        if (strcmp(transform_names[i], word) == 0)
            transform = (int)i;
    int source = -1;
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].id == ret->source_id)
            source = (int)i;
    Type type = {.kind = TYPE_INT32};
    bool typed = source >= 0 || schema_type_of(schemas, ret->source_id, &type);
    if (source >= 0)
        type = schema->fields[source].type;
    bool wants = transform == TRANSFORM_BUCKET || transform == TRANSFORM_TRUNCATE;
    if (!name || transform < 0 || (wants && ret->argument <= 0) ||
        (!typed && transform != TRANSFORM_VOID))
        return error_set(
            err, ERROR_DATA, "BadMetadata",
            "partition field '%.60s' with transform '%.40s' of column %d can't be read",
            name ? name : "", text ? text : "", ret->source_id);
    ret->name = mem_strdup(name);
    ret->transform = (TransformKind)transform;
    ret->source = source < 0 ? 0 : (uint32_t)source;
    ret->result = result_type(ret->transform, &type);
    return true;
}

/* ---------- hashing: murmur3, x86, 32 bit, seed 0 ---------- */
static uint32_t rotate(uint32_t x, int by)
{
    return x << by | x >> (32 - by);
}

static uint32_t murmur3(const uint8_t *data, size_t bytes)
{
    uint32_t hash = 0;
    size_t i = 0;
    for (; i + 4 <= bytes; i += 4) {
        uint32_t k;
        memcpy(&k, data + i, 4);
        hash ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
        hash = rotate(hash, 13) * 5 + 0xe6546b64u;
    }
    uint32_t tail = 0;
    for (size_t t = bytes & 3; t > 0; t--)
        tail = tail << 8 | data[i + t - 1];
    hash ^= rotate(tail * 0xcc9e2d51u, 15) * 0x1b873593u;
    hash ^= (uint32_t)bytes;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

/* The bytes of a column's value that are hashed: int and date as long, decimal as its shortest
 * big-endian two's complement, everything else as it lies there. Nothing is allocated. */
static int32_t bucket(const Column *column, uint32_t row, int32_t count)
{
    const uint8_t *at = column->values + (size_t)row * column->width;
    uint32_t bytes = column->width;
    uint8_t scratch[16];
    int64_t wide;
    switch (column->field->type.kind) {
    case TYPE_INT32:
    case TYPE_DATE:
        wide = column_i32(column, row);
        memcpy(scratch, &wide, sizeof wide);
        at = scratch;
        bytes = sizeof wide;
        break;
    case TYPE_DECIMAL: {
        __int128 unscaled;
        memcpy(&unscaled, at, sizeof unscaled);
        bytes = (uint32_t)value_decimal_bytes(unscaled, scratch);
        at = scratch;
        break;
    }
    case TYPE_STRING:
    case TYPE_BINARY:
        at = column_bytes(column, row, &bytes);
        break;
    default:
        break;
    }
    return (int32_t)((murmur3(at, bytes) & INT32_MAX) % (uint32_t)count);
}

/* ---------- values ---------- */
static void plain_value(const Column *column, uint32_t row, Value *ret)
{
    const uint8_t *at = column->values + (size_t)row * column->width;
    const uint8_t *bytes = at;
    uint32_t count = column->width;
    switch (ret->type.kind) {
    case TYPE_BOOL:
        ret->b = bit_get(column->values, row);
        break;
    case TYPE_INT32:
    case TYPE_DATE:
    case TYPE_FLOAT32:
        memcpy(&ret->i32, at, 4);
        break;
    case TYPE_DECIMAL:
    case TYPE_UUID:
        memcpy(&ret->i128, at, 16);
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
        bytes = column_bytes(column, row, &count);
        __attribute__((fallthrough));
    case TYPE_FIXED:
        ret->bytes = mem_alloc(count);
        memcpy(ret->bytes, bytes, count);
        ret->byte_count = count;
        break;
    default:
        memcpy(&ret->i64, at, 8);
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Months since 1970-01 of a day since 1970-01-01: civil date by eras of 400 years. */
static int32_t month_of(int64_t day)
{
    int64_t z = day + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153; /* 0 = March */
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    return (int32_t)((year - 1970) * 12 + month - 1);
}

static int32_t period(const Value *value, TransformKind transform)
{
    bool date = value->type.kind == TYPE_DATE;
    if (transform == TRANSFORM_HOUR)
        return (int32_t)floor_div(value->i64, 3600000000);
    int64_t day = date ? value->i32 : floor_div(value->i64, 86400000000);
    if (transform == TRANSFORM_DAY)
        return (int32_t)day;
    int32_t month = month_of(day);
    return transform == TRANSFORM_MONTH ? month : (int32_t)floor_div(month, 12);
}

static void truncate_value(Value *value, int32_t width)
{
    switch (value->type.kind) {
    case TYPE_INT32:
        value->i32 = (int32_t)(floor_div(value->i32, width) * width);
        break;
    case TYPE_INT64:
        /* wraps at the very end of the range, as in Java */
        value->i64 = (int64_t)((uint64_t)floor_div(value->i64, width) * (uint64_t)width);
        break;
    case TYPE_DECIMAL:
        value->i128 -= ((value->i128 % width) + width) % width;
        break;
    case TYPE_BINARY:
        if (value->byte_count > (uint32_t)width)
            value->byte_count = (uint32_t)width;
        break;
    default: { /* string: code points */
        uint32_t at = 0;
        for (int32_t points = 0; at < value->byte_count; at++)
            if ((value->bytes[at] & 0xc0) != 0x80 && points++ == width)
                break;
        value->byte_count = at;
    }
    }
}

void partition_value(const PartitionField *field, const Column *column, uint32_t row, Value *ret)
{
    *ret = (Value){.is_null = true, .type = field->result};
    if (field->transform == TRANSFORM_VOID || column_is_null(column, row))
        return;
    ret->is_null = false;
    if (field->transform == TRANSFORM_BUCKET) {
        ret->i32 = bucket(column, row, field->argument);
        return;
    }
    Value source = {.type = column->field->type};
    plain_value(column, row, &source);
    switch (field->transform) {
    case TRANSFORM_TRUNCATE:
        truncate_value(&source, field->argument);
        *ret = source;
        break;
    case TRANSFORM_YEAR:
    case TRANSFORM_MONTH:
    case TRANSFORM_DAY:
    case TRANSFORM_HOUR:
        ret->i32 = period(&source, field->transform);
        break;
    default:
        *ret = source;
    }
}

static void put_escaped(Bytes *to, const Bytes *text)
{
    for (size_t i = 0; i < text->used; i++) {
        uint8_t c = text->data[i];
        if (isalnum(c) || (c && strchr("-_.*", c))) {
            bytes_put_u8(to, c);
        } else if (c == ' ') {
            bytes_put_u8(to, '+');
        } else {
            char escape[4];
            snprintf(escape, sizeof escape, "%%%02X", c);
            bytes_put(to, escape, 3);
        }
    }
}

/* A folder's name is limited (255 bytes on file systems, 1,024 for a whole key of S3), a text is
 * not: what is too long is cut, and told apart by a hash. Nobody reads values from names, and two
 * partitions might as well share a folder. */
#define FOLDER_BYTES_MAX 160

static void bound_folder(Bytes *path, size_t start)
{
    char text[20];
    if (path->used - start <= FOLDER_BYTES_MAX)
        return;
    uint64_t hash = XXH3_64bits(path->data + start, path->used - start);
    int bytes = snprintf(text, sizeof text, "-%016" PRIx64, hash);
    path->used = start + FOLDER_BYTES_MAX - (size_t)bytes;
    for (size_t back = 1; back <= 2; back++) /* no half of an escape */
        if (path->data[path->used - back] == '%') {
            path->used -= back;
            break;
        }
    bytes_put(path, text, (size_t)bytes);
}

char *partition_path(const PartitionSpec *spec, const Value *values)
{
    Bytes path = {0}, text = {0};
    for (size_t i = 0; i < spec->field_count; i++) {
        if (i)
            bytes_put_u8(&path, '/');
        size_t start = path.used;
        bytes_clear(&text);
        bytes_put(&text, spec->fields[i].name, strlen(spec->fields[i].name));
        put_escaped(&path, &text);
        bytes_put_u8(&path, '=');
        bytes_clear(&text);
        value_text(&values[i], spec->fields[i].transform, &text);
        put_escaped(&path, &text);
        bound_folder(&path, start);
    }
    bytes_put_u8(&path, 0);
    bytes_done(&text);
    return (char *)path.data;
}
