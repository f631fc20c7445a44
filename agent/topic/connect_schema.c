/* Which of PostgreSQL's types is which of Connect's, as Debezium 3.5 has it (MySQL's and MariaDB's:
 * connect_mysql.c): see connect_schema.h. */
#include "agent/topic/connect_types.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/topic/literal.h"
#include "agent/topic/name.h"
#include "common/mem.h"

#define DEPTH_MAX 16
#define PRECISION_DEFAULT 6 /* of times without a modifier */

char *arena_text(Arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, again);
    va_end(again);
    ASSERT(bytes >= 0);
    char *text = arena_take(arena, (size_t)bytes + 1);
    vsnprintf(text, (size_t)bytes + 1, format, args);
    va_end(args);
    return text;
}

/* --- the table --- */

static const TypeRow type_rows[] = {
    {"bool", TYPE_BOOL, CONNECT_BOOLEAN, AS_BOOLEAN, NULL, false},
    {"int2", TYPE_INT32, CONNECT_INT16, AS_INTEGER, NULL, false},
    {"int4", TYPE_INT32, CONNECT_INT32, AS_INTEGER, NULL, false},
    {"int8", TYPE_INT64, CONNECT_INT64, AS_INTEGER, NULL, false},
    {"oid", TYPE_INT64, CONNECT_INT64, AS_INTEGER, NULL, false},
    {"float4", TYPE_FLOAT32, CONNECT_FLOAT, AS_REAL, NULL, false},
    {"float8", TYPE_FLOAT64, CONNECT_DOUBLE, AS_REAL, NULL, false},
    {"text", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"varchar", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"bpchar", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"char", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"name", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, true},
    {"citext", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"inet", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"cidr", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"macaddr", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"macaddr8", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"int4range", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"int8range", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"numrange", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"daterange", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"tsrange", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"tstzrange", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"json", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Json", false},
    {"jsonb", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Json", false},
    {"xml", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Xml", true},
    {"tsvector", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Tsvector", true},
    {"ltree", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Ltree", false},
    {"uuid", TYPE_UUID, CONNECT_STRING, AS_UUID_TEXT, "io.debezium.data.Uuid", false},
    {"timetz", TYPE_STRING, CONNECT_STRING, AS_ZONED_TIME, "io.debezium.time.ZonedTime", false},
    {"timestamptz", TYPE_TIMESTAMPTZ, CONNECT_STRING, AS_ZONED_TIMESTAMP,
     "io.debezium.time.ZonedTimestamp", false},
    /* What options change: made in the functions below. */
    {"date", TYPE_DATE, CONNECT_INT32, AS_INTEGER, "io.debezium.time.Date", false},
    {"time", TYPE_TIME, CONNECT_INT64, AS_MICROS, "io.debezium.time.MicroTime", false},
    {"timestamp", TYPE_TIMESTAMP, CONNECT_INT64, AS_MICROS, "io.debezium.time.MicroTimestamp",
     false},
    {"interval", TYPE_STRING, CONNECT_INT64, AS_INTERVAL_MICROS, "io.debezium.time.MicroDuration",
     true},
    {"numeric", TYPE_DECIMAL, CONNECT_BYTES, AS_DECIMAL_BYTES,
     "org.apache.kafka.connect.data.Decimal", false},
    {"numeric", TYPE_STRING, CONNECT_BYTES, AS_NUMERIC_BYTES,
     "org.apache.kafka.connect.data.Decimal", false},
    {"money", TYPE_DECIMAL, CONNECT_BYTES, AS_DECIMAL_BYTES,
     "org.apache.kafka.connect.data.Decimal", true},
    {"bytea", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"bit", TYPE_STRING, CONNECT_BYTES, AS_BITS, "io.debezium.data.Bits", true},
    {"varbit", TYPE_STRING, CONNECT_BYTES, AS_BITS, "io.debezium.data.Bits", true},
    {"point", TYPE_STRING, CONNECT_STRUCT, AS_POINT, "io.debezium.data.geometry.Point", true},
    {"geometry", TYPE_BINARY, CONNECT_STRUCT, AS_GEOMETRY, "io.debezium.data.geometry.Geometry",
     false},
    {"geography", TYPE_BINARY, CONNECT_STRUCT, AS_GEOMETRY, "io.debezium.data.geometry.Geography",
     false},
    {"hstore", TYPE_MAP, CONNECT_STRING, AS_PAIRS_TEXT, "io.debezium.data.Json", false},
    {"vector", TYPE_LIST, CONNECT_ARRAY, AS_ELEMENTS, "io.debezium.data.DoubleVector", true},
};

static const TypeRow *find_row(TopicSource from, const ColumnType *source, TypeKind type)
{
    if (from != TOPIC_POSTGRESQL)
        return connect_mysql_row(source->name, type);
    for (size_t i = 0; i < ARRAY_LEN(type_rows); i++)
        if (type_rows[i].type == type && strcmp(type_rows[i].source, source->name) == 0)
            return &type_rows[i];
    return NULL;
}

/* --- what options and modifiers change --- */

static unsigned time_precision(const ColumnType *source)
{
    return source->modifier < 0 ? PRECISION_DEFAULT : (unsigned)source->modifier;
}

/* time and timestamp: milliseconds where they are enough, or where Connect's own types are asked
 * for, which have no others. MySQL's connector knows no other times than of microseconds. */
static void choose_time(const ColumnType *source, const TopicOptions *options, bool is_timestamp,
                        ConnectSchema *ret)
{
    bool adaptive = options->time == TOPIC_TIME_ADAPTIVE && options->source == TOPIC_POSTGRESQL;
    bool fine = time_precision(source) > 3 || (!is_timestamp && !adaptive);
    if (options->time != TOPIC_TIME_CONNECT && fine) {
        ret->divisor = 1;
        return;
    }
    ret->divisor = 1000;
    ret->kind = is_timestamp ? CONNECT_INT64 : CONNECT_INT32;
    if (options->time == TOPIC_TIME_CONNECT)
        ret->name = is_timestamp ? "org.apache.kafka.connect.data.Timestamp"
                                 : "org.apache.kafka.connect.data.Time";
    else
        ret->name = is_timestamp ? "io.debezium.time.Timestamp" : "io.debezium.time.Time";
}

static void plain(ConnectSchema *ret, ConnectKind kind, ValueForm form)
{
    ret->kind = kind;
    ret->form = form;
    ret->name = NULL;
    ret->version = 0;
}

/* numeric(p,s), numeric, money. The modifier has the precision in its high half, the scale in 11
 * bits with sign. */
static void choose_decimal(Arena *arena, const ColumnType *source, const Type *type,
                           const TopicOptions *options, ConnectSchema *ret)
{
    bool is_money = strcmp(source->name, "money") == 0;
    uint32_t packed = source->modifier < 4 ? 0 : (uint32_t)source->modifier - 4;
    int precision = (int)(packed >> 16);
    int scale = (int)((packed & 0x7ff) ^ 1024) - 1024;
    bool is_text = type->kind == TYPE_STRING;
    ret->is_number = is_text;
    if (!is_text)
        scale = type->scale;
    if (!is_text && !is_money &&
        !precision) /* the lake's column has another type than its source */
        precision = type->precision;
    ret->scale = scale;
    if (options->decimal == TOPIC_DECIMAL_STRING)
        plain(ret, CONNECT_STRING, is_text ? AS_TEXT : AS_DECIMAL_TEXT);
    else if (options->decimal == TOPIC_DECIMAL_DOUBLE)
        plain(ret, CONNECT_DOUBLE, is_text ? AS_NUMERIC_DOUBLE : AS_DECIMAL_DOUBLE);
    else if (is_text && (!precision || scale < 0)) {
        ret->kind = CONNECT_STRUCT;
        ret->form = AS_NUMERIC_VARIABLE;
        ret->name = "io.debezium.data.VariableScaleDecimal";
        ret->doc = "Variable scaled decimal";
        ret->children = arena_take(arena, 2 * sizeof *ret->children);
        ret->child_count = 2;
        ret->children[0] = connect_field(CONNECT_INT32, "scale", false);
        ret->children[1] = connect_field(CONNECT_BYTES, "value", false);
    } else {
        ret->parameters[0] = "scale";
        ret->parameters[1] = arena_text(arena, "%d", scale);
        ret->parameters[2] = is_money ? NULL : "connect.decimal.precision";
        ret->parameters[3] = is_money ? NULL : arena_text(arena, "%d", precision);
    }
}

static void choose_binary(const TopicOptions *options, ConnectSchema *ret)
{
    static const ValueForm forms[] = {AS_BINARY, AS_BINARY_BASE64, AS_BINARY_BASE64_URL,
                                      AS_BINARY_HEX};
    if (options->binary != TOPIC_BINARY_BYTES)
        plain(ret, CONNECT_STRING, forms[options->binary]);
}

static void choose_bits(Arena *arena, const ColumnType *source, ConnectSchema *ret)
{
    int32_t length = source->modifier > 0               ? source->modifier
                     : strcmp(source->name, "bit") == 0 ? 1
                                                        : INT32_MAX;
    if (length == 1) {
        plain(ret, CONNECT_BOOLEAN, AS_BIT);
        return;
    }
    ret->parameters[0] = "length";
    ret->parameters[1] = arena_text(arena, "%d", length);
}

static void choose_geometry(Arena *arena, ConnectSchema *ret)
{
    bool is_point = ret->form == AS_POINT || ret->form == AS_MYSQL_POINT;
    ret->doc = is_point ? "Geometry (POINT)"
                        : arena_text(arena, "%s", strrchr(ret->name, '.') + 1); /* Geometry */
    ret->child_count = is_point ? 4 : 2;
    ret->children = arena_take(arena, ret->child_count * sizeof *ret->children);
    if (is_point) {
        ret->children[0] = connect_field(CONNECT_DOUBLE, "x", false);
        ret->children[1] = connect_field(CONNECT_DOUBLE, "y", false);
    } else {
        ret->optional = true; /* whatever the column is */
    }
    ret->children[ret->child_count - 2] = connect_field(CONNECT_BYTES, "wkb", is_point);
    ret->children[ret->child_count - 1] = connect_field(CONNECT_INT32, "srid", true);
}

static void choose_pairs(Arena *arena, const TopicOptions *options, ConnectSchema *ret)
{
    if (options->hstore != TOPIC_HSTORE_MAP)
        return;
    plain(ret, CONNECT_MAP, AS_PAIRS);
    ret->child_count = 2;
    ret->children = arena_take(arena, 2 * sizeof *ret->children);
    ret->children[0] = connect_field(CONNECT_STRING, NULL, false);
    ret->children[1] = connect_field(CONNECT_STRING, NULL, true);
}

static void choose_known(Arena *arena, const TypeRow *row, const Type *type,
                         const ColumnType *source, const TopicOptions *options, ConnectSchema *ret)
{
    ret->kind = row->kind;
    ret->form = row->form;
    ret->name = row->name;
    ret->version = row->name ? 1 : 0;
    switch (row->form) {
    case AS_MICROS:
        choose_time(source, options, type->kind == TYPE_TIMESTAMP, ret);
        break;
    case AS_ZONED_TIMESTAMP:
        ret->digits = time_precision(source);
        break;
    case AS_INTERVAL_MICROS:
        if (options->interval == TOPIC_INTERVAL_STRING) {
            ret->kind = CONNECT_STRING;
            ret->form = AS_INTERVAL_TEXT;
            ret->name = "io.debezium.time.Interval";
        }
        break;
    case AS_DECIMAL_LONG: /* whatever decimals are to be */
        if (!options->unsigned_as_long) {
            const TopicOptions precise = {.decimal = TOPIC_DECIMAL_PRECISE};
            ret->kind = CONNECT_BYTES;
            ret->form = AS_DECIMAL_BYTES;
            ret->name = "org.apache.kafka.connect.data.Decimal";
            ret->version = 1;
            choose_decimal(arena, source, type, &precise, ret);
        }
        break;
    case AS_DECIMAL_BYTES:
    case AS_NUMERIC_BYTES:
        choose_decimal(arena, source, type, options, ret);
        break;
    case AS_BINARY:
        choose_binary(options, ret);
        break;
    case AS_BITS:
        choose_bits(arena, source, ret);
        ret->digits =
            options->source == TOPIC_POSTGRESQL ? 0 : ((uint32_t)source->modifier + 7) / 8;
        break;
    case AS_POINT:
    case AS_GEOMETRY:
    case AS_MYSQL_POINT:
    case AS_MYSQL_GEOMETRY:
        choose_geometry(arena, ret);
        break;
    case AS_PAIRS_TEXT:
        choose_pairs(arena, options, ret);
        break;
    case AS_ELEMENTS: /* a vector: none of them null; PostgreSQL's of float8 */
        ret->child_count = 1;
        ret->children = arena_take(arena, sizeof *ret->children);
        ret->children[0] = connect_field(
            options->source == TOPIC_POSTGRESQL ? CONNECT_DOUBLE : CONNECT_FLOAT, NULL, false);
        ret->children[0].form = AS_REAL;
        break;
    default:
        if (type->kind == TYPE_DATE && options->time == TOPIC_TIME_CONNECT)
            ret->name = "org.apache.kafka.connect.data.Date";
        break;
    }
}

/* --- what Debezium does not know --- */

static const char *adjusted(Arena *arena, const char *name, TopicAdjust adjust, bool field)
{
    AUTO(mem_free) char *text = topic_adjust(name, adjust, field);
    return arena_text(arena, "%s", text);
}

static bool choose(Arena *arena, const Field *field, const ColumnType *source,
                   const TopicOptions *options, const char *path, unsigned depth,
                   ConnectSchema *ret, bool *ret_known, Error *err);

static bool type_error(const Field *field, const ColumnType *source, Error *err)
{
    char name[TYPE_NAME_BYTES];
    return error_set(err, ERROR_CONFIG, "NoSuchType",
                     "column %s is a %s here and a %s at the source", field->name,
                     type_format(&field->type, name), source->name);
}

static bool choose_children(Arena *arena, const Field *field, const ColumnType *source,
                            const TopicOptions *options, const char *path, unsigned depth,
                            ConnectSchema *ret, bool *ret_known, Error *err)
{
    uint32_t count = type_child_count(&field->type);
    if (source->child_count != count)
        return type_error(field, source, err);
    ret->children = arena_take(arena, (count ? count : 1) * sizeof *ret->children);
    ret->child_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const Field *child = &field->type.fields[i];
        const char *below =
            field->type.kind == TYPE_STRUCT ? arena_text(arena, "%s.%s", path, child->name) : path;
        if (!choose(arena, child, &source->children[i], options, below, depth + 1,
                    &ret->children[i], ret_known, err))
            return error_wrap(err, "column %s", field->name);
        ret->children[i].optional = true;
        ret->children[i].column = i;
        if (field->type.kind == TYPE_STRUCT)
            ret->children[i].field = adjusted(arena, child->name, options->field_names, true);
    }
    return true;
}

/* The nearest of Connect's types; text where there is none. */
static bool choose_unknown(Arena *arena, const Field *field, const ColumnType *source,
                           const TopicOptions *options, const char *path, unsigned depth,
                           ConnectSchema *ret, bool *ret_known, Error *err)
{
    static const struct {
        TypeKind type;
        ConnectKind kind;
        ValueForm form;
    } nearest[] = {
        {TYPE_BOOL, CONNECT_BOOLEAN, AS_BOOLEAN}, {TYPE_INT32, CONNECT_INT32, AS_INTEGER},
        {TYPE_INT64, CONNECT_INT64, AS_INTEGER},  {TYPE_FLOAT32, CONNECT_FLOAT, AS_REAL},
        {TYPE_FLOAT64, CONNECT_DOUBLE, AS_REAL},  {TYPE_DECIMAL, CONNECT_STRING, AS_DECIMAL_TEXT},
        {TYPE_STRING, CONNECT_STRING, AS_TEXT},   {TYPE_UUID, CONNECT_STRING, AS_UUID_TEXT},
        {TYPE_BINARY, CONNECT_BYTES, AS_BINARY},  {TYPE_FIXED, CONNECT_BYTES, AS_BINARY}};
    *ret_known = false;
    for (size_t i = 0; i < ARRAY_LEN(nearest); i++)
        if (field->type.kind == nearest[i].type) {
            plain(ret, nearest[i].kind, nearest[i].form);
            ret->scale = field->type.scale;
            return true;
        }
    if (field->type.kind != TYPE_STRUCT)
        return type_error(field, source, err);
    ret->kind = CONNECT_STRUCT;
    ret->form = AS_ATTRIBUTES;
    ret->name = adjusted(arena, path, options->schema_names, false);
    return choose_children(arena, field, source, options, path, depth, ret, ret_known, err);
}

static bool choose_array(Arena *arena, const Field *field, const ColumnType *source,
                         const TopicOptions *options, const char *path, unsigned depth,
                         ConnectSchema *ret, bool *ret_known, Error *err)
{
    plain(ret, CONNECT_ARRAY, AS_ELEMENTS);
    if (!choose_children(arena, field, source, options, path, depth, ret, ret_known, err))
        return false;
    const ColumnType *element = &source->children[0];
    const TypeRow *row = find_row(options->source, element, field->type.element->type.kind);
    if ((row && row->no_array) || strcmp(source->name, "int2vector") == 0 ||
        strcmp(source->name, "oidvector") == 0)
        *ret_known = false;
    return true;
}

static bool choose(Arena *arena, const Field *field, const ColumnType *source,
                   const TopicOptions *options, const char *path, unsigned depth,
                   ConnectSchema *ret, bool *ret_known, Error *err)
{
    *ret = (ConnectSchema){.there = 2, .none = 0};
    if (depth > DEPTH_MAX)
        return type_error(field, source, err);
    if (source->is_enum && field->type.kind == TYPE_STRING) {
        size_t bytes = 1;
        for (size_t i = 0; i < source->label_count; i++)
            bytes += strlen(source->labels[i]) + 1;
        char *allowed = arena_take(arena, bytes), *at = allowed;
        for (size_t i = 0; i < source->label_count; i++)
            at += snprintf(at, bytes - (size_t)(at - allowed), "%s%s", i ? "," : "",
                           source->labels[i]);
        *at = '\0';
        ret->kind = CONNECT_STRING;
        ret->form = AS_TEXT;
        bool is_set = options->source != TOPIC_POSTGRESQL && strcmp(source->name, "set") == 0;
        ret->name = is_set ? "io.debezium.data.EnumSet" : "io.debezium.data.Enum";
        ret->version = 1;
        ret->parameters[0] = "allowed";
        ret->parameters[1] = allowed;
        return true;
    }
    const TypeRow *row = find_row(options->source, source, field->type.kind);
    if (row) {
        choose_known(arena, row, &field->type, source, options, ret);
        return true;
    }
    if (field->type.kind == TYPE_LIST)
        return choose_array(arena, field, source, options, path, depth, ret, ret_known, err);
    return choose_unknown(arena, field, source, options, path, depth, ret, ret_known, err);
}

bool connect_column(Arena *arena, const Field *field, const ColumnType *source,
                    const TopicOptions *options, const char *path, ConnectSchema *ret,
                    bool *ret_known, Error *err)
{
    *ret_known = true;
    if (!choose(arena, field, source, options, path, 0, ret, ret_known, err))
        return false;
    ret->optional = ret->optional || !field->required;
    return true;
}

/* --- parts of the envelope --- */

ConnectSchema connect_field(ConnectKind kind, const char *field, bool optional)
{
    return (ConnectSchema){.kind = kind, .field = field, .optional = optional, .there = 2};
}

ConnectSchema *connect_struct(Arena *arena, const char *name, int version, uint32_t fields)
{
    ConnectSchema *schema = arena_take(arena, sizeof *schema);
    *schema = connect_field(CONNECT_STRUCT, NULL, false);
    schema->name = name;
    schema->version = version;
    schema->child_count = fields;
    schema->children = arena_take(arena, (fields ? fields : 1) * sizeof *schema->children);
    return schema;
}

ConnectSchema connect_transaction_schema(Arena *arena)
{
    ConnectSchema *schema = connect_struct(arena, "event.block", 1, 3);
    schema->children[0] = connect_field(CONNECT_STRING, "id", false);
    schema->children[1] = connect_field(CONNECT_INT64, "total_order", false);
    schema->children[2] = connect_field(CONNECT_INT64, "data_collection_order", false);
    schema->field = "transaction";
    schema->optional = true;
    return *schema;
}
