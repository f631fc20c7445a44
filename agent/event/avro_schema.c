/* A writer's Avro schema. https://avro.apache.org/docs/1.11.1/specification/#schema-declaration
 * Names are looked up by their full name, and as they are written. What Connect's converter adds
 * (connect.name, connect.parameters) goes before Avro's logical types. It came from the network. */
#include <stdio.h>
#include <string.h>

#include "agent/event/wire.h"
#include "common/mem.h"
#include "common/text.h"

#define NAMES_MAX 4096
#define NAME_BYTES_MAX 1024

typedef struct Named {
    const char *name;
    const json_t *json;
} Named;

typedef struct Load {
    WireSchema *schema;
    Named *names;
    size_t name_count;
    Error *err;
} Load;

static bool bad(const Load *load, const char *why, const char *what)
{
    return error_set(load->err, ERROR_CONFIG, "BadSchema", "an Avro schema: %s%s%.200s", why,
                     what ? " " : "", what ? what : "");
}

static const char *kept(const Load *load, const char *text)
{
    return arena_strndup(load->schema->arena, text, strlen(text));
}

/* `name` in `space`; a name with a point is whole. */
static const char *full_name(const Load *load, const char *name, const char *space)
{
    if (strchr(name, '.') || !space || !*space)
        return kept(load, name);
    char text[2 * NAME_BYTES_MAX];
    snprintf(text, sizeof text, "%.*s.%.*s", NAME_BYTES_MAX - 1, space, NAME_BYTES_MAX - 1, name);
    return kept(load, text);
}

static const json_t *find_name(const Load *load, const char *name)
{
    for (size_t i = 0; i < load->name_count; i++)
        if (strcmp(load->names[i].name, name) == 0)
            return load->names[i].json;
    return NULL;
}

static bool take(Load *load, const json_t *json, const char *space, WireType *to, unsigned depth);

static bool take_primitive(const char *type, WireKind *ret)
{
    static const struct {
        const char *name;
        WireKind kind;
    } kinds[] = {{"null", WIRE_NULL},   {"boolean", WIRE_BOOLEAN}, {"int", WIRE_INT},
                 {"long", WIRE_LONG},   {"float", WIRE_FLOAT},     {"double", WIRE_DOUBLE},
                 {"bytes", WIRE_BYTES}, {"string", WIRE_STRING}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, type) == 0) {
            *ret = kinds[i].kind;
            return true;
        }
    return false;
}

static bool take_union(Load *load, const json_t *json, const char *space, WireType *to,
                       unsigned depth)
{
    size_t count = json_array_size(json);
    if (count == 1) {
        if (!take(load, json_array_get(json, 0), space, to, depth + 1))
            return false;
        to->branch_count = 1;
        return true;
    }
    if (count != 2)
        return bad(load, "a union of more than a type and null is not supported", NULL);
    for (uint8_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_array_get(json, i));
        if (!text || strcmp(text, "null") != 0)
            continue;
        if (!take(load, json_array_get(json, 1 - i), space, to, depth + 1))
            return false;
        if (to->branch_count)
            return bad(load, "a union in a union", NULL);
        to->optional = true;
        to->branch_count = 2;
        to->null_branch = i;
        return true;
    }
    return bad(load, "a union of more than a type and null is not supported", NULL);
}

static bool take_fields(Load *load, const json_t *json, const char *space, WireType *to,
                        unsigned depth)
{
    const json_t *fields = json_object_get(json, "fields");
    size_t count = json_array_size(fields);
    if (!json_is_array(fields) || count > WIRE_FIELDS_MAX)
        return bad(load, "a record without fields, or with too many", NULL);
    to->child_count = (uint32_t)count;
    to->children = wire_new(load->schema, to->child_count, load->err);
    if (!to->children)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = json_string_value(json_object_get(field, "name"));
        if (!name || strlen(name) > NAME_BYTES_MAX)
            return bad(load, "a field without a name", NULL);
        if (!take(load, json_object_get(field, "type"), space, &to->children[i], depth + 1))
            return error_wrap(load->err, "field %s", name);
        to->children[i].field = kept(load, name);
        to->children[i].field_bytes = (uint32_t)strlen(name);
    }
    return true;
}

static int32_t number(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    int64_t given;
    if (json_is_string(value) && text_integer_parse(json_string_value(value), &given))
        return given > INT32_MIN && given < INT32_MAX ? (int32_t)given : 0;
    given = json_integer_value(value);
    return given > INT32_MIN && given < INT32_MAX ? (int32_t)given : 0;
}

static void take_logical(const Load *load, const json_t *json, WireType *to)
{
    const json_t *parameters = json_object_get(json, "connect.parameters");
    const char *connect = json_string_value(json_object_get(json, "connect.name"));
    const char *logical = json_string_value(json_object_get(json, "logicalType"));
    if (connect || logical)
        to->name = kept(load, connect ? connect : logical);
    to->scale = number(json, "scale");
    to->precision = number(json, "precision");
    if (json_object_get(parameters, "scale"))
        to->scale = number(parameters, "scale");
    if (connect) /* the converter writes one of its own where none is known */
        to->precision = number(parameters, "connect.decimal.precision");
    to->length = number(parameters, "length");
}

static bool take_symbols(Load *load, const json_t *json, WireType *to)
{
    const json_t *symbols = json_object_get(json, "symbols");
    size_t count = json_array_size(symbols);
    if (!count || count > WIRE_NODES_MAX)
        return bad(load, "an enum without symbols, or with too many", NULL);
    to->symbols = arena_take(load->schema->arena, count * sizeof *to->symbols);
    to->symbol_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(symbols, i));
        if (!text)
            return bad(load, "an enum's symbol is no text", NULL);
        to->symbols[i] = kept(load, text);
    }
    return true;
}

/* record, enum, fixed: they have names */
static bool take_named(Load *load, const json_t *json, const char *type, const char *space,
                       WireType *to, unsigned depth)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *own = json_string_value(json_object_get(json, "namespace"));
    if (!name || strlen(name) > NAME_BYTES_MAX || (own && strlen(own) > NAME_BYTES_MAX) ||
        load->name_count == NAMES_MAX)
        return bad(load, "a named type without a name, or too many", NULL);
    const char *whole = full_name(load, name, own ? own : space);
    const json_t *known = find_name(load, whole);
    if (!known) {
        load->names = mem_regrow(load->names, load->name_count + 1, sizeof *load->names);
        load->names[load->name_count++] = (Named){whole, json};
    } else if (known != json) {
        return bad(load, "two types of one name", whole);
    }
    const char *point = strrchr(whole, '.');
    const char *inner =
        point ? arena_strndup(load->schema->arena, whole, (size_t)(point - whole)) : "";
    take_logical(load, json, to);
    if (strcmp(type, "record") == 0) {
        to->kind = WIRE_STRUCT;
        return take_fields(load, json, inner, to, depth);
    }
    if (strcmp(type, "enum") == 0) {
        to->kind = WIRE_ENUM;
        return take_symbols(load, json, to);
    }
    json_int_t size = json_integer_value(json_object_get(json, "size"));
    if (size < 0 || size > (1 << 20))
        return bad(load, "a fixed's size", NULL);
    to->kind = WIRE_FIXED;
    to->fixed_bytes = (uint32_t)size;
    return true;
}

static bool take_nested(Load *load, const json_t *json, bool is_map, const char *space,
                        WireType *to, unsigned depth)
{
    to->kind = is_map ? WIRE_MAP : WIRE_ARRAY;
    to->child_count = is_map ? 2 : 1;
    to->children = wire_new(load->schema, to->child_count, load->err);
    if (!to->children)
        return false;
    to->children[0].kind = WIRE_STRING;
    return take(load, json_object_get(json, is_map ? "values" : "items"), space,
                &to->children[to->child_count - 1], depth + 1);
}

static bool take_object(Load *load, const json_t *json, const char *space, WireType *to,
                        unsigned depth)
{
    const json_t *inner = json_object_get(json, "type");
    const char *type = json_string_value(inner);
    if (!type)
        return inner ? take(load, inner, space, to, depth + 1)
                     : bad(load, "a schema without a type", NULL);
    if (strcmp(type, "record") == 0 || strcmp(type, "enum") == 0 || strcmp(type, "fixed") == 0)
        return take_named(load, json, type, space, to, depth);
    if (strcmp(type, "array") == 0 || strcmp(type, "map") == 0)
        return take_nested(load, json, type[0] == 'm', space, to, depth);
    if (!take_primitive(type, &to->kind))
        return take(load, inner, space, to, depth + 1); /* {"type": "a.name"} */
    take_logical(load, json, to);
    return true;
}

static bool take(Load *load, const json_t *json, const char *space, WireType *to, unsigned depth)
{
    to->column = COLUMN_NONE;
    if (depth > 2 * WIRE_DEPTH_MAX)
        return bad(load, "it is too deep, or refers to itself", NULL);
    if (json_is_array(json))
        return take_union(load, json, space, to, depth);
    if (json_is_object(json))
        return take_object(load, json, space, to, depth);
    const char *type = json_string_value(json);
    if (!type)
        return bad(load, "a schema that is neither text, object nor list", NULL);
    if (take_primitive(type, &to->kind))
        return true;
    const json_t *named = find_name(load, full_name(load, type, space));
    if (!named)
        named = find_name(load, type);
    if (!named)
        return bad(load, "there is no type", type);
    return take_object(load, named, space, to, depth + 1);
}

bool wire_from_avro(const json_t *json, WireSchema *ret, Error *err)
{
    *ret = (WireSchema){0};
    Load load = {.schema = ret, .err = err};
    ret->root = wire_new(ret, 1, err);
    bool ok = ret->root && take(&load, json, "", ret->root, 0);
    free(load.names);
    if (!ok)
        wire_schema_done(ret);
    return ok;
}
