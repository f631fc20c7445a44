/* Connect's schema as its JsonConverter writes it:
 *
 *   {"type": "struct", "fields": […], "optional": false, "name": "…", "version": 1,
 *    "parameters": {"scale": "2"}, "field": "…"}; array: "items"; map: "keys", "values"
 *
 * It came from the network: everything is looked at before it is believed. */
#include <stdlib.h>
#include <string.h>

#include "agent/event/wire.h"
#include "common/text.h"

static bool bad(Error *err, const char *why)
{
    return error_set(err, ERROR_CONFIG, "BadSchema", "Connect's schema of a record: %s", why);
}

static const char *kept(WireSchema *schema, const json_t *text)
{
    return arena_strndup(schema->arena, json_string_value(text), json_string_length(text));
}

static bool take_kind(const char *type, WireKind *ret)
{
    static const struct {
        const char *name;
        WireKind kind;
    } kinds[] = {{"int8", WIRE_INT},      {"int16", WIRE_INT},      {"int32", WIRE_INT},
                 {"int64", WIRE_LONG},    {"float", WIRE_FLOAT},    {"float32", WIRE_FLOAT},
                 {"double", WIRE_DOUBLE}, {"float64", WIRE_DOUBLE}, {"boolean", WIRE_BOOLEAN},
                 {"string", WIRE_STRING}, {"bytes", WIRE_BYTES},    {"array", WIRE_ARRAY},
                 {"map", WIRE_MAP},       {"struct", WIRE_STRUCT}};
    for (size_t i = 0; type && i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, type) == 0) {
            *ret = kinds[i].kind;
            return true;
        }
    return false;
}

static int32_t parameter(const json_t *json, const char *name)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(json, "parameters"), name));
    int64_t value;
    return text && text_integer_parse(text, &value) && value > INT32_MIN && value < INT32_MAX
               ? (int32_t)value
               : 0;
}

static bool take(WireSchema *schema, const json_t *json, WireType *to, unsigned depth, Error *err);

static bool take_children(WireSchema *schema, const json_t *json, WireType *to, unsigned depth,
                          Error *err)
{
    const json_t *fields = json_object_get(json, "fields");
    const json_t *items = json_object_get(json, "items"), *keys = json_object_get(json, "keys");
    size_t count = to->kind == WIRE_STRUCT ? json_array_size(fields) : to->kind == WIRE_MAP ? 2 : 1;
    if (count > WIRE_FIELDS_MAX)
        return bad(err, "a struct has too many fields");
    to->child_count = (uint32_t)count;
    to->children = wire_new(schema, to->child_count, err);
    if (!to->children)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const json_t *child = to->kind == WIRE_STRUCT  ? json_array_get(fields, i)
                              : to->kind == WIRE_ARRAY ? items
                              : i                      ? json_object_get(json, "values")
                                                       : keys;
        WireType *at = &to->children[i];
        if (!take(schema, child, at, depth + 1, err))
            return false;
        if (to->kind == WIRE_STRUCT && !at->field)
            return bad(err, "a field has no name");
    }
    return to->kind != WIRE_MAP || to->children[0].kind == WIRE_STRING ||
           bad(err, "a map's keys are no texts");
}

static bool take(WireSchema *schema, const json_t *json, WireType *to, unsigned depth, Error *err)
{
    const json_t *name = json_object_get(json, "name"), *field = json_object_get(json, "field");
    if (depth > WIRE_DEPTH_MAX)
        return bad(err, "it is too deep");
    if (!take_kind(json_string_value(json_object_get(json, "type")), &to->kind))
        return bad(err, "a type is not known");
    to->optional = json_is_true(json_object_get(json, "optional"));
    to->column = COLUMN_NONE;
    if (json_is_string(name))
        to->name = kept(schema, name);
    if (json_is_string(field)) {
        to->field = kept(schema, field);
        to->field_bytes = (uint32_t)json_string_length(field);
        if (strlen(to->field) != to->field_bytes)
            return bad(err, "a field's name has a NUL");
    }
    to->scale = parameter(json, "scale");
    to->precision = parameter(json, "connect.decimal.precision");
    to->length = parameter(json, "length");
    return to->kind < WIRE_ARRAY || take_children(schema, json, to, depth, err);
}

bool wire_from_connect(const json_t *json, WireSchema *ret, Error *err)
{
    *ret = (WireSchema){0};
    ret->root = wire_new(ret, 1, err);
    if (ret->root && take(ret, json, ret->root, 0, err))
        return true;
    wire_schema_done(ret);
    return false;
}
