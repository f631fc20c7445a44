/* Schemas as they stand in metadata.json. https://iceberg.apache.org/spec/#schemas (Appendix C) */
#include <stdio.h>
#include <string.h>

#include "agent/table/iceberg/state.h"
#include "common/json/text.h"
#include "common/mem.h"

#define DEPTH_MAX 16

static json_t *type_to_json(const Type *type);

static json_t *field_to_json(const Field *field)
{
    json_t *json = json_pack("{s:i,s:s,s:b,s:o}", "id", field->id, "name", field->name, "required",
                             field->required, "type", type_to_json(&field->type));
    ASSERT(json);
    if (field->doc)
        json_object_set_new(json, "doc", json_string(field->doc));
    if (field->initial) {
        json_t *value = json_loads(field->initial, JSON_DECODE_ANY, NULL);
        ASSERT(value);
        json_object_set_new(json, "initial-default", value);
        json_object_set(json, "write-default", value);
    }
    return json;
}

static json_t *type_to_json(const Type *type)
{
    char name[TYPE_NAME_BYTES];
    switch (type->kind) {
    case TYPE_LIST:
        return json_pack("{s:s,s:i,s:o,s:b}", "type", "list", "element-id", type->element->id,
                         "element", type_to_json(&type->element->type), "element-required",
                         type->element->required);
    case TYPE_MAP:
        return json_pack("{s:s,s:i,s:o,s:i,s:o,s:b}", "type", "map", "key-id", type->fields[0].id,
                         "key", type_to_json(&type->fields[0].type), "value-id", type->fields[1].id,
                         "value", type_to_json(&type->fields[1].type), "value-required",
                         type->fields[1].required);
    case TYPE_STRUCT: {
        json_t *fields = json_array();
        for (uint32_t i = 0; i < type->field_count; i++)
            json_array_append_new(fields, field_to_json(&type->fields[i]));
        return json_pack("{s:s,s:o}", "type", "struct", "fields", fields);
    }
    case TYPE_DECIMAL:
        snprintf(name, sizeof name, "decimal(%u, %u)", type->precision, type->scale);
        return json_string(name);
    default:
        return json_string(type_format(type, name));
    }
}

void type_assign_ids(Type *type, int32_t *last)
{
    for (uint32_t i = 0; i < type_child_count(type); i++)
        type->fields[i].id = ++*last;
    for (uint32_t i = 0; i < type_child_count(type); i++)
        type_assign_ids(&type->fields[i].type, last);
}

json_t *schema_to_json(const Schema *schema, int32_t schema_id)
{
    json_t *fields = json_array(), *keys = json_array();
    for (size_t i = 0; i < schema->field_count; i++)
        json_array_append_new(fields, field_to_json(&schema->fields[i]));
    for (size_t i = 0; i < schema->key_count; i++)
        json_array_append_new(keys, json_integer(schema->fields[schema->key[i]].id));
    json_t *json =
        json_pack("{s:s,s:i,s:o}", "type", "struct", "schema-id", schema_id, "fields", fields);
    ASSERT(json);
    if (json_array_size(keys))
        json_object_set(json, "identifier-field-ids", keys);
    json_decref(keys);
    return json;
}

char *iceberg_schema_text(const Schema *schema)
{
    json_t *json = schema_to_json(schema, 0);
    char *text = json_text(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static json_t *field_of(const json_t *schema, int32_t id)
{
    size_t i;
    json_t *field;
    json_array_foreach(json_object_get(schema, "fields"), i, field)
    {
        if (json_integer_value(json_object_get(field, "id")) == id)
            return field;
    }
    return NULL;
}

json_t *schema_change_json(const json_t *from, const Schema *schema, int32_t schema_id)
{
    json_t *json = schema_to_json(schema, schema_id);
    json_t *fields = json_object_get(json, "fields");
    for (size_t i = 0; i < schema->field_count; i++) {
        json_t *old = field_of(from, schema->fields[i].id);
        if (!old)
            continue;
        json_t *field = json_copy(old), *now = json_array_get(fields, i);
        json_object_update(field, now);
        if (!schema->fields[i].doc)
            json_object_del(field, "doc");
        if (json_object_get(old, "write-default"))
            json_object_set(field, "write-default", json_object_get(old, "write-default"));
        json_array_set_new(fields, i, field);
    }
    return json;
}

static bool type_from_json(const json_t *json, Type *ret, int depth, Error *err);

static bool field_from_json(const json_t *from, size_t place, Field *field, int depth, Error *err)
{
    const char *name = json_string_value(json_object_get(from, "name"));
    const char *doc = json_string_value(json_object_get(from, "doc"));
    field->name = mem_strdup(name ? name : "");
    field->doc = doc ? mem_strdup(doc) : NULL;
    field->id = (int32_t)json_integer_value(json_object_get(from, "id"));
    field->required = json_is_true(json_object_get(from, "required"));
    const json_t *initial = json_object_get(from, "initial-default");
    field->initial = initial && !json_is_null(initial) ? json_text(initial, JSON_ENCODE_ANY) : NULL;
    if (!name || field->id <= 0)
        return error_set(err, ERROR_DATA, "BadMetadata", "field %zu has no name or id", place);
    if (!type_from_json(json_object_get(from, "type"), &field->type, depth, err))
        return error_wrap(err, "column %s", name);
    return true;
}

/* The element of a list, the key or value of a map: their members are called after them. */
static bool part_from_json(const json_t *json, const char *part, Field *field, int depth,
                           Error *err)
{
    char id[16], required[24];
    snprintf(id, sizeof id, "%s-id", part);
    snprintf(required, sizeof required, "%s-required", part);
    field->id = (int32_t)json_integer_value(json_object_get(json, id));
    field->required |= json_is_true(json_object_get(json, required));
    return type_from_json(json_object_get(json, part), &field->type, depth, err);
}

static bool type_from_json(const json_t *json, Type *ret, int depth, Error *err)
{
    *ret = (Type){0};
    if (json_is_string(json))
        return type_parse(json_string_value(json), ret, err);
    const char *kind = json_string_value(json_object_get(json, "type"));
    if (kind && depth <= DEPTH_MAX && strcmp(kind, "list") == 0) {
        *ret = type_nested(TYPE_LIST, 0);
        return part_from_json(json, "element", ret->element, depth + 1, err);
    }
    if (kind && depth <= DEPTH_MAX && strcmp(kind, "map") == 0) {
        *ret = type_nested(TYPE_MAP, 0);
        return part_from_json(json, "key", &ret->fields[0], depth + 1, err) &&
               part_from_json(json, "value", &ret->fields[1], depth + 1, err);
    }
    if (kind && depth <= DEPTH_MAX && strcmp(kind, "struct") == 0) {
        const json_t *fields = json_object_get(json, "fields");
        *ret = type_nested(TYPE_STRUCT, (uint32_t)json_array_size(fields));
        for (uint32_t i = 0; i < ret->field_count; i++)
            if (!field_from_json(json_array_get(fields, i), i, &ret->fields[i], depth + 1, err))
                return false;
        return true;
    }
    return error_set(err, ERROR_CONFIG, "UnsupportedType",
                     "columns of type %s can't be written yet", kind ? kind : "unknown");
}

bool schema_from_json(const json_t *json, Schema **ret, Error *err)
{
    const json_t *fields = json_object_get(json, "fields");
    const json_t *keys = json_object_get(json, "identifier-field-ids");
    AUTO(schema_free) Schema *schema = schema_new(json_array_size(fields), json_array_size(keys));
    for (size_t i = 0; i < schema->field_count; i++)
        if (!field_from_json(json_array_get(fields, i), i, &schema->fields[i], 0, err))
            return false;
    size_t found = 0;
    for (size_t k = 0; k < schema->key_count; k++)
        for (size_t i = 0; i < schema->field_count; i++)
            if (schema->fields[i].id == json_integer_value(json_array_get(keys, k)))
                schema->key[found++] = (uint32_t)i;
    schema->key_count = found; /* identifier fields nested in structs are not ours */
    *ret = TAKE(schema);
    return true;
}

bool schema_type_of(const json_t *schemas, int32_t field_id, Type *ret)
{
    for (size_t i = json_array_size(schemas); i-- > 0;) {
        const json_t *fields = json_object_get(json_array_get(schemas, i), "fields");
        size_t f;
        json_t *field;
        json_array_foreach(fields, f, field)
        {
            const json_t *type = json_object_get(field, "type");
            if (json_integer_value(json_object_get(field, "id")) == field_id &&
                json_is_string(type))
                return type_parse(json_string_value(type), ret, NULL);
        }
    }
    return false;
}
