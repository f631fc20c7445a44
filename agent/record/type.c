#include "agent/record/type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

Schema *schema_new(size_t field_count, size_t key_count)
{
    Schema *schema = mem_zalloc(sizeof *schema);
    schema->fields = mem_array(field_count, sizeof *schema->fields);
    schema->field_count = field_count;
    schema->key = mem_array(key_count, sizeof *schema->key);
    schema->key_count = key_count;
    return schema;
}

void field_done(Field *field)
{
    free(field->name);
    free(field->doc);
    free(field->initial);
    type_done(&field->type);
    *field = (Field){0};
}

void type_done(Type *type)
{
    for (uint32_t i = 0; i < type_child_count(type) && type->fields; i++)
        field_done(&type->fields[i]);
    free(type->fields);
    *type = (Type){0};
}

Type type_nested(TypeKind kind, uint32_t field_count)
{
    Type type = {.kind = kind, .field_count = kind == TYPE_STRUCT ? field_count : 0};
    ASSERT(type_is_nested(&type));
    type.fields = mem_array(type_child_count(&type), sizeof *type.fields);
    if (kind == TYPE_LIST)
        type.element->name = mem_strdup("element");
    if (kind == TYPE_MAP) {
        type.fields[0] = (Field){.name = mem_strdup("key"), .required = true};
        type.fields[1].name = mem_strdup("value");
    }
    return type;
}

void schema_free(Schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < schema->field_count; i++)
        field_done(&schema->fields[i]);
    free(schema->fields);
    free(schema->key);
    free(schema);
}

void field_copy(Field *to, const Field *from)
{
    *to = *from;
    to->name = from->name ? mem_strdup(from->name) : NULL;
    to->doc = from->doc ? mem_strdup(from->doc) : NULL;
    to->initial = from->initial ? mem_strdup(from->initial) : NULL;
    uint32_t children = type_child_count(&from->type);
    if (!children || !from->type.fields)
        return;
    to->type.fields = mem_array(children, sizeof *to->type.fields);
    for (uint32_t i = 0; i < children; i++)
        field_copy(&to->type.fields[i], &from->type.fields[i]);
}

Schema *schema_copy(const Schema *schema)
{
    Schema *copy = schema_new(schema->field_count, schema->key_count);
    for (size_t i = 0; i < schema->field_count; i++)
        field_copy(&copy->fields[i], &schema->fields[i]);
    if (schema->key_count)
        memcpy(copy->key, schema->key, schema->key_count * sizeof *copy->key);
    return copy;
}

int schema_find(const Schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return (int)i;
    return -1;
}

uint32_t type_width(const Type *type)
{
    switch (type->kind) {
    case TYPE_INT32:
    case TYPE_FLOAT32:
    case TYPE_DATE:
        return 4;
    case TYPE_INT64:
    case TYPE_FLOAT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return 8;
    case TYPE_DECIMAL:
    case TYPE_UUID:
        return 16;
    case TYPE_FIXED:
        return type->fixed_bytes;
    case TYPE_BOOL:
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        return 0;
    }
    ASSERT(false);
}

bool type_equal(const Type *a, const Type *b)
{
    if (a->kind != b->kind || type_child_count(a) != type_child_count(b))
        return false;
    switch (a->kind) {
    case TYPE_DECIMAL:
        return a->precision == b->precision && a->scale == b->scale;
    case TYPE_FIXED:
        return a->fixed_bytes == b->fixed_bytes;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        for (uint32_t i = 0; i < type_child_count(a); i++)
            if ((a->kind == TYPE_STRUCT && strcmp(a->fields[i].name, b->fields[i].name) != 0) ||
                !type_equal(&a->fields[i].type, &b->fields[i].type))
                return false;
        return true;
    default:
        return true;
    }
}

static const char *const primitive_names[] = {
    [TYPE_BOOL] = "boolean",   [TYPE_INT32] = "int",
    [TYPE_INT64] = "long",     [TYPE_FLOAT32] = "float",
    [TYPE_FLOAT64] = "double", [TYPE_DATE] = "date",
    [TYPE_TIME] = "time",      [TYPE_TIMESTAMP] = "timestamp",
    [TYPE_STRING] = "string",  [TYPE_TIMESTAMPTZ] = "timestamptz",
    [TYPE_BINARY] = "binary",  [TYPE_UUID] = "uuid",
};

/* Appends, and cuts with "…" what is too long. */
static void append(char ret[TYPE_NAME_BYTES], const char *text)
{
    static const char cut[] = "…";
    size_t used = strlen(ret), more = strlen(text), most = TYPE_NAME_BYTES - sizeof cut;
    if (used > most)
        return; /* cut already */
    if (used + more > most) {
        memcpy(ret + used, text, most - used);
        memcpy(ret + most, cut, sizeof cut);
    } else {
        memcpy(ret + used, text, more + 1);
    }
}

static void format_nested(const Type *type, char ret[TYPE_NAME_BYTES])
{
    char inner[TYPE_NAME_BYTES];
    ret[0] = '\0';
    append(ret, type->kind == TYPE_STRUCT ? "struct<" : type->kind == TYPE_MAP ? "map<" : "list<");
    for (uint32_t i = 0; i < type_child_count(type); i++) {
        if (i)
            append(ret, ", ");
        if (type->kind == TYPE_STRUCT) {
            append(ret, type->fields[i].name);
            append(ret, ": ");
        }
        append(ret, type_format(&type->fields[i].type, inner));
    }
    append(ret, ">");
}

char *type_format(const Type *type, char ret[TYPE_NAME_BYTES])
{
    switch (type->kind) {
    case TYPE_DECIMAL:
        snprintf(ret, TYPE_NAME_BYTES, "decimal(%u,%u)", type->precision, type->scale);
        break;
    case TYPE_FIXED:
        snprintf(ret, TYPE_NAME_BYTES, "fixed[%u]", type->fixed_bytes);
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        format_nested(type, ret);
        break;
    default:
        snprintf(ret, TYPE_NAME_BYTES, "%s", primitive_names[type->kind]);
    }
    return ret;
}

bool type_parse(const char *text, Type *ret, Error *err)
{
    *ret = (Type){0};
    for (size_t kind = 0; kind < ARRAY_LEN(primitive_names); kind++)
        if (primitive_names[kind] && strcmp(primitive_names[kind], text) == 0) {
            ret->kind = (TypeKind)kind;
            return true;
        }
    unsigned a, b;
    int end = 0;
    if (sscanf(text, "decimal(%2u ,%2u )%n", &a, &b, &end) == 2 && end && !text[end]) {
        if (a < 1 || a > 38 || b > a)
            return error_set(err, ERROR_CONFIG, "BadType",
                             "type '%.60s': precision is 1 to 38 and scale 0 to precision", text);
        *ret = (Type){.kind = TYPE_DECIMAL, .precision = (uint8_t)a, .scale = (uint8_t)b};
        return true;
    }
    if (sscanf(text, "fixed[%9u]%n", &a, &end) == 1 && end && !text[end] && a > 0) {
        *ret = (Type){.kind = TYPE_FIXED, .fixed_bytes = a};
        return true;
    }
    return error_set(err, ERROR_CONFIG, "BadType",
                     "type '%.60s' is unknown; known are boolean, int, long, float, double, "
                     "decimal(P,S), date, time, timestamp, timestamptz, string, binary, uuid, "
                     "fixed[N]",
                     text);
}
