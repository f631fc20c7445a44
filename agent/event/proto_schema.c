/* A message of a .proto file → WireTypes. A field that its writer may leave out is null, or has its
 * default, as the file says (ProtoWire.implicit). What everybody imports (google/protobuf/…) is
 * known by name: registries do not keep it. */
#include <string.h>

#include "agent/event/proto_text.h"
#include "agent/event/wire.h"

typedef struct Load {
    WireSchema *schema;
    ProtoFile file;
    Error *err;
} Load;

typedef struct Scalar {
    const char *name;
    WireKind kind;
    ProtoCoding coding;
} Scalar;

static const Scalar scalars[] = {
    {"double", WIRE_DOUBLE, PROTO_FIXED64}, {"float", WIRE_FLOAT, PROTO_FIXED32},
    {"int32", WIRE_INT, PROTO_VARINT},      {"int64", WIRE_LONG, PROTO_VARINT},
    {"uint32", WIRE_LONG, PROTO_VARINT32},  {"uint64", WIRE_UNSIGNED, PROTO_VARINT},
    {"sint32", WIRE_INT, PROTO_ZIGZAG},     {"sint64", WIRE_LONG, PROTO_ZIGZAG},
    {"fixed32", WIRE_LONG, PROTO_FIXED32},  {"fixed64", WIRE_UNSIGNED, PROTO_FIXED64},
    {"sfixed32", WIRE_INT, PROTO_FIXED32},  {"sfixed64", WIRE_LONG, PROTO_FIXED64},
    {"bool", WIRE_BOOLEAN, PROTO_VARINT},   {"string", WIRE_STRING, PROTO_SPAN},
    {"bytes", WIRE_BYTES, PROTO_SPAN},
};

/* https://protobuf.dev/reference/protobuf/google.protobuf/ */
static const struct {
    const char *name, *value; /* of a wrapper: what it holds */
} known[] = {
    {"google.protobuf.DoubleValue", "double"}, {"google.protobuf.FloatValue", "float"},
    {"google.protobuf.Int64Value", "int64"},   {"google.protobuf.UInt64Value", "uint64"},
    {"google.protobuf.Int32Value", "int32"},   {"google.protobuf.UInt32Value", "uint32"},
    {"google.protobuf.BoolValue", "bool"},     {"google.protobuf.StringValue", "string"},
    {"google.protobuf.BytesValue", "bytes"},   {"google.protobuf.Timestamp", NULL},
    {"google.protobuf.Duration", NULL},        {"google.protobuf.Empty", NULL},
};
static const uint32_t in_order[] = {0, 1};

static bool bad(const Load *load, const char *why, const char *what)
{
    return error_set(load->err, ERROR_CONFIG, "BadSchema", "a Protobuf schema: %s %.200s", why,
                     what);
}

static const Scalar *find_scalar(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
        if (strcmp(scalars[i].name, name) == 0)
            return &scalars[i];
    return NULL;
}

/* One that there is. */
static void take_scalar(const Scalar *scalar, WireType *to)
{
    ASSERT(scalar);
    to->kind = scalar->kind;
    to->proto.coding = scalar->coding;
}

static bool new_children(Load *load, WireType *to, uint32_t count)
{
    to->child_count = count;
    to->children = wire_new(load->schema, count, load->err);
    for (uint32_t i = 0; i < count && to->children; i++)
        to->children[i].column = COLUMN_NONE;
    return to->children != NULL;
}

/* A part of a message that is known by name. */
static void take_part(WireType *to, const char *name, uint32_t number, const char *type)
{
    to->field = name;
    to->field_bytes = (uint32_t)strlen(name);
    to->proto = (ProtoWire){.number = number, .implicit = true};
    take_scalar(find_scalar(type), to);
}

static bool take_known(Load *load, size_t at, WireType *to)
{
    const char *value = known[at].value;
    to->proto.coding = PROTO_SPAN;
    to->proto.order = in_order;
    if (value) {
        to->proto.boxed = true;
        if (!new_children(load, to, 1))
            return false;
        take_part(&to->children[0], "value", 1, value);
        to->kind = to->children[0].kind;
        return true;
    }
    to->kind = WIRE_STRUCT;
    to->name = known[at].name;
    if (strcmp(to->name, "google.protobuf.Empty") == 0)
        return true;
    if (!new_children(load, to, 2))
        return false;
    take_part(&to->children[0], "seconds", 1, "int64");
    take_part(&to->children[1], "nanos", 2, "int32");
    return true;
}

static void take_enum(const ProtoType *type, WireType *to)
{
    to->kind = WIRE_ENUM;
    to->symbols = type->symbols;
    to->symbol_count = type->symbol_count;
    to->proto.numbers = type->numbers;
}

static bool take_message(Load *load, const ProtoType *message, WireType *to, unsigned depth);

/* What one value of the field is. */
static bool take_value(Load *load, const ProtoType *message, ProtoField *field, WireType *to,
                       unsigned depth)
{
    const Scalar *scalar = find_scalar(field->type);
    if (scalar) {
        take_scalar(scalar, to);
        return true;
    }
    if (!field->found)
        field->found = proto_find(&load->file, message, field->type);
    if (field->found && field->found->is_enum) {
        take_enum(field->found, to);
        return true;
    }
    const char *name = field->found ? field->found->name : field->type + (*field->type == '.');
    to->optional = true;
    to->proto.implicit = false; /* a message is there or not */
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return take_known(load, i, to);
    return field->found ? take_message(load, field->found, to, depth + 1)
                        : bad(load, "there is no type", field->type);
}

static bool take_map(Load *load, const ProtoType *message, ProtoField *field, WireType *to,
                     unsigned depth)
{
    const Scalar *key = find_scalar(field->key);
    if (!key || key->kind == WIRE_DOUBLE || key->kind == WIRE_FLOAT || key->kind == WIRE_BYTES)
        return bad(load, "no map has keys of the type", field->key);
    to->kind = WIRE_MAP;
    to->proto.coding = PROTO_SPAN;
    to->proto.order = in_order;
    if (!new_children(load, to, 2))
        return false;
    take_part(&to->children[0], "key", 1, field->key);
    to->children[1].field = "value";
    to->children[1].field_bytes = 5;
    to->children[1].proto = (ProtoWire){.number = 2, .implicit = true};
    return take_value(load, message, field, &to->children[1], depth);
}

static bool take_field(Load *load, const ProtoType *message, ProtoField *field, WireType *to,
                       unsigned depth)
{
    to->field = field->name;
    to->field_bytes = (uint32_t)strlen(field->name);
    to->proto = (ProtoWire){.number = field->number,
                            .implicit = field->implicit,
                            .required = field->required,
                            .oneof = field->oneof};
    to->optional = !field->implicit && !field->required;
    if (field->key)
        return take_map(load, message, field, to, depth);
    if (!field->repeated)
        return take_value(load, message, field, to, depth);
    to->kind = WIRE_ARRAY;
    if (!new_children(load, to, 1))
        return false;
    to->children[0].proto.number = field->number;
    if (!take_value(load, message, field, &to->children[0], depth))
        return false;
    to->proto.coding = to->children[0].proto.coding;
    return true;
}

static bool take_message(Load *load, const ProtoType *message, WireType *to, unsigned depth)
{
    if (depth > WIRE_DEPTH_MAX)
        return bad(load, "too deep, or in itself: message", message->name);
    to->kind = WIRE_STRUCT;
    to->proto.coding = PROTO_SPAN;
    to->proto.oneof_count = message->oneof_count;
    to->proto.order = message->order;
    if (!new_children(load, to, message->field_count))
        return false;
    for (uint32_t i = 0; i < message->field_count; i++)
        if (!take_field(load, message, &message->fields[i], &to->children[i], depth))
            return error_wrap(load->err, "field %s", message->fields[i].name);
    return true;
}

static const ProtoType *message_at(const ProtoFile *file, const uint32_t *path, size_t depth)
{
    const ProtoType *message = &file->main;
    for (size_t i = 0; i < depth && message; i++) {
        message = message->first;
        for (uint32_t k = 0; k < path[i] && message; k++)
            message = message->next;
    }
    return message;
}

bool wire_from_proto(const WriterSchema *writer, const uint32_t *path, size_t depth,
                     WireSchema *ret, Error *err)
{
    *ret = (WireSchema){0};
    Load load = {.schema = ret, .err = err};
    ret->root = wire_new(ret, 1, err);
    bool ok = ret->root && proto_parse(writer, ret->arena, &load.file, err);
    const ProtoType *message = ok ? message_at(&load.file, path, depth) : NULL;
    if (ok && !message)
        ok = bad(&load, "it has no message of the number that", "the record names");
    if (ok)
        ok = take_message(&load, message, ret->root, 0);
    if (ok)
        return true;
    wire_schema_done(ret);
    return false;
}
