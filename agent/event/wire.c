/* The one table of types: see wire.h. */
#include "agent/event/wire.h"

#include <string.h>

#include "common/mem.h"

#define PRECISION_MAX 38
#define UNSIGNED_DIGITS 20

void wire_schema_done(WireSchema *schema)
{
    arena_free(schema->arena);
    *schema = (WireSchema){0};
}

WireType *wire_new(WireSchema *schema, uint32_t count, Error *err)
{
    if (!schema->arena)
        schema->arena = arena_new(8192);
    if (count > WIRE_NODES_MAX - schema->nodes) {
        error_set(err, ERROR_CONFIG, "BadSchema", "a schema has more than %u fields",
                  WIRE_NODES_MAX);
        return NULL;
    }
    schema->nodes += count;
    WireType *types = arena_take(schema->arena, (count + (size_t)1) * sizeof *types);
    memset(types, 0, (count + (size_t)1) * sizeof *types);
    return types;
}

WireType *wire_find(const WireType *wire, const char *field)
{
    for (uint32_t i = 0; i < wire->child_count; i++)
        if (wire->children[i].field && strcmp(wire->children[i].field, field) == 0)
            return &wire->children[i];
    return NULL;
}

typedef struct LogicalRow {
    const char *name;
    WireKind kind;
    WireForm form;
    TypeKind type;
    int64_t multiplier, divisor;
} LogicalRow;

/* Connect's and Debezium's names, Avro's, Protobuf's. What is not here is its kind's own type. */
static const LogicalRow logical_rows[] = {
    {"io.debezium.time.Date", WIRE_INT, FORM_INTEGER, TYPE_DATE, 0, 0},
    {"org.apache.kafka.connect.data.Date", WIRE_INT, FORM_INTEGER, TYPE_DATE, 0, 0},
    {"io.debezium.time.Time", WIRE_INT, FORM_MICROS, TYPE_TIME, 1000, 1},
    {"org.apache.kafka.connect.data.Time", WIRE_INT, FORM_MICROS, TYPE_TIME, 1000, 1},
    {"io.debezium.time.MicroTime", WIRE_LONG, FORM_MICROS, TYPE_TIME, 1, 1},
    {"io.debezium.time.NanoTime", WIRE_LONG, FORM_MICROS, TYPE_TIME, 1, 1000},
    {"io.debezium.time.Timestamp", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1000, 1},
    {"org.apache.kafka.connect.data.Timestamp", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1000, 1},
    {"io.debezium.time.MicroTimestamp", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1, 1},
    {"io.debezium.time.NanoTimestamp", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1, 1000},
    {"io.debezium.time.ZonedTimestamp", WIRE_STRING, FORM_ZONED, TYPE_TIMESTAMPTZ, 0, 0},
    {"io.debezium.data.Uuid", WIRE_STRING, FORM_UUID, TYPE_UUID, 0, 0},
    {"io.debezium.data.Bits", WIRE_BYTES, FORM_BITS, TYPE_STRING, 0, 0},
    {"io.debezium.data.VariableScaleDecimal", WIRE_STRUCT, FORM_VARIABLE, TYPE_STRING, 0, 0},
    {"io.debezium.data.geometry.Point", WIRE_STRUCT, FORM_POINT, TYPE_STRING, 0, 0},
    {"io.debezium.data.geometry.Geometry", WIRE_STRUCT, FORM_WKB, TYPE_BINARY, 0, 0},
    {"io.debezium.data.geometry.Geography", WIRE_STRUCT, FORM_WKB, TYPE_BINARY, 0, 0},
    {"date", WIRE_INT, FORM_INTEGER, TYPE_DATE, 0, 0},
    {"time-millis", WIRE_INT, FORM_MICROS, TYPE_TIME, 1000, 1},
    {"time-micros", WIRE_LONG, FORM_MICROS, TYPE_TIME, 1, 1},
    {"timestamp-millis", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMPTZ, 1000, 1},
    {"timestamp-micros", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMPTZ, 1, 1},
    {"timestamp-nanos", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMPTZ, 1, 1000},
    {"local-timestamp-millis", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1000, 1},
    {"local-timestamp-micros", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1, 1},
    {"local-timestamp-nanos", WIRE_LONG, FORM_MICROS, TYPE_TIMESTAMP, 1, 1000},
    {"uuid", WIRE_STRING, FORM_UUID, TYPE_UUID, 0, 0},
    {"google.protobuf.Timestamp", WIRE_STRUCT, FORM_SECONDS, TYPE_TIMESTAMPTZ, 0, 0},
    {"google.protobuf.Duration", WIRE_STRUCT, FORM_SECONDS, TYPE_INT64, 0, 0},
    {"google.protobuf.Empty", WIRE_STRUCT, FORM_PRESENT, TYPE_BOOL, 0, 0},
};

static const LogicalRow *find_logical(const WireType *wire)
{
    for (size_t i = 0; wire->name && i < ARRAY_LEN(logical_rows); i++)
        if (logical_rows[i].kind == wire->kind && strcmp(logical_rows[i].name, wire->name) == 0)
            return &logical_rows[i];
    return NULL;
}

static bool is_decimal(const WireType *wire)
{
    return (wire->kind == WIRE_BYTES || wire->kind == WIRE_FIXED) && wire->name &&
           (strcmp(wire->name, "org.apache.kafka.connect.data.Decimal") == 0 ||
            strcmp(wire->name, "decimal") == 0);
}

/* Without a precision (money): as many digits as there can be. */
static void decimal_type(WireType *wire, Type *ret)
{
    int32_t precision = wire->precision > 0 ? wire->precision : PRECISION_MAX;
    bool fits = precision <= PRECISION_MAX && wire->scale >= 0 && wire->scale <= precision;
    wire->form = fits ? FORM_DECIMAL : FORM_DECIMAL_TEXT;
    *ret = fits ? (Type){.kind = TYPE_DECIMAL,
                         .precision = (uint8_t)precision,
                         .scale = (uint8_t)wire->scale}
                : (Type){.kind = TYPE_STRING};
}

static bool nested_type(WireType *wire, WireForm form, TypeKind kind, Type *ret, Error *err)
{
    wire->form = form;
    *ret = type_nested(kind, wire->child_count);
    for (uint32_t i = 0; i < wire->child_count; i++) {
        WireType *child = &wire->children[i];
        Field *field = &ret->fields[i];
        if (kind == TYPE_STRUCT) {
            free(field->name);
            field->name = mem_strdup(child->field);
        }
        if (!wire_type(child, &field->type, err)) {
            type_done(ret);
            *ret = (Type){0};
            return kind == TYPE_STRUCT ? error_wrap(err, "field %s", child->field) : false;
        }
        field->required = kind == TYPE_MAP && i == 0;
    }
    return true;
}

static bool plain_type(WireType *wire, Type *ret, Error *err)
{
    static const struct {
        WireForm form;
        TypeKind type;
    } plain[] = {
        [WIRE_BOOLEAN] = {FORM_BOOLEAN, TYPE_BOOL}, [WIRE_INT] = {FORM_INTEGER, TYPE_INT32},
        [WIRE_LONG] = {FORM_INTEGER, TYPE_INT64},   [WIRE_FLOAT] = {FORM_REAL, TYPE_FLOAT32},
        [WIRE_DOUBLE] = {FORM_REAL, TYPE_FLOAT64},  [WIRE_STRING] = {FORM_TEXT, TYPE_STRING},
        [WIRE_BYTES] = {FORM_BINARY, TYPE_BINARY},  [WIRE_FIXED] = {FORM_BINARY, TYPE_BINARY},
        [WIRE_ENUM] = {FORM_TEXT, TYPE_STRING}};
    switch (wire->kind) {
    case WIRE_ARRAY:
        return nested_type(wire, FORM_LIST, TYPE_LIST, ret, err);
    case WIRE_MAP:
        return nested_type(wire, FORM_MAP, TYPE_MAP, ret, err);
    case WIRE_STRUCT:
        if (wire->child_count)
            return nested_type(wire, FORM_STRUCT, TYPE_STRUCT, ret, err);
        return error_set(err, ERROR_CONFIG, "UnsupportedType", "a struct without fields");
    case WIRE_NULL:
        return error_set(err, ERROR_CONFIG, "UnsupportedType", "a value that is always null");
    case WIRE_UNSIGNED:
        wire->form = FORM_UNSIGNED;
        *ret = (Type){.kind = TYPE_DECIMAL, .precision = UNSIGNED_DIGITS};
        return true;
    default:
        wire->form = plain[wire->kind].form;
        *ret = (Type){.kind = plain[wire->kind].type};
        return true;
    }
}

/* A struct of ours has the fields that its form looks for. */
static bool has_parts(const WireType *wire, WireForm form)
{
    switch (form) {
    case FORM_VARIABLE: {
        const WireType *scale = wire_find(wire, "scale"), *value = wire_find(wire, "value");
        return scale && scale->kind == WIRE_INT && value && value->kind == WIRE_BYTES;
    }
    case FORM_POINT: {
        const WireType *x = wire_find(wire, "x"), *y = wire_find(wire, "y");
        return x && x->kind == WIRE_DOUBLE && y && y->kind == WIRE_DOUBLE;
    }
    case FORM_WKB: {
        const WireType *wkb = wire_find(wire, "wkb");
        return wkb && wkb->kind == WIRE_BYTES;
    }
    case FORM_SECONDS:
    case FORM_PRESENT:
        return wire->proto.order != NULL; /* Protobuf's own, no struct that has its name */
    default:
        return true;
    }
}

bool wire_type(WireType *wire, Type *ret, Error *err)
{
    *ret = (Type){0};
    if (wire->kind == WIRE_NATURAL) {
        *ret = wire->natural;
        return true;
    }
    if (is_decimal(wire)) {
        decimal_type(wire, ret);
        return true;
    }
    const LogicalRow *row = find_logical(wire);
    if (!row || !has_parts(wire, row->form))
        return plain_type(wire, ret, err);
    /* the parts of such a struct are read by themselves */
    for (uint32_t i = 0; i < wire->child_count; i++) {
        Type part;
        if (!wire_type(&wire->children[i], &part, err))
            return false;
        type_done(&part);
    }
    wire->form = row->form;
    wire->multiplier = row->multiplier;
    wire->divisor = row->divisor;
    *ret = (Type){.kind = row->type};
    return true;
}
