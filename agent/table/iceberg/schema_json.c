/* Schemas as they stand in metadata.json. https://iceberg.apache.org/spec/#schemas (Appendix C) */
#include <stdio.h>
#include <string.h>

#include "agent/table/iceberg/state.h"
#include "common/mem.h"

static json_t *type_to_json(const Type *type)
{
    char name[TYPE_NAME_BYTES];
    if (type->kind != TYPE_LIST) {
        if (type->kind == TYPE_DECIMAL)
            snprintf(name, sizeof name, "decimal(%u, %u)", type->precision, type->scale);
        else
            type_format(type, name);
        return json_string(name);
    }
    return json_pack("{s:s,s:i,s:o,s:b}", "type", "list", "element-id", type->element->id,
                     "element", type_to_json(&type->element->type), "element-required",
                     type->element->required);
}

json_t *schema_to_json(const Schema *schema, int32_t schema_id)
{
    json_t *fields = json_array(), *keys = json_array();
    for (size_t i = 0; i < schema->field_count; i++) {
        const Field *field = &schema->fields[i];
        json_t *json = json_pack("{s:i,s:s,s:b,s:o}", "id", field->id, "name", field->name,
                                 "required", field->required, "type", type_to_json(&field->type));
        ASSERT(json);
        if (field->doc)
            json_object_set_new(json, "doc", json_string(field->doc));
        json_array_append_new(fields, json);
    }
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

static bool type_from_json(const json_t *json, Type *ret, int depth, Error *err)
{
    *ret = (Type){0};
    if (json_is_string(json))
        return type_parse(json_string_value(json), ret, err);
    const char *kind = json_string_value(json_object_get(json, "type"));
    if (!kind || strcmp(kind, "list") != 0 || depth > 8)
        return error_set(err, ERROR_CONFIG, "UnsupportedType",
                         "columns of type %s can't be written yet", kind ? kind : "unknown");
    ret->kind = TYPE_LIST;
    ret->element = mem_zalloc(sizeof *ret->element);
    ret->element->name = mem_strdup("element");
    ret->element->id = (int32_t)json_integer_value(json_object_get(json, "element-id"));
    ret->element->required = json_is_true(json_object_get(json, "element-required"));
    return type_from_json(json_object_get(json, "element"), &ret->element->type, depth + 1, err);
}

bool schema_from_json(const json_t *json, Schema **ret, Error *err)
{
    const json_t *fields = json_object_get(json, "fields");
    const json_t *keys = json_object_get(json, "identifier-field-ids");
    AUTO(schema_free) Schema *schema = schema_new(json_array_size(fields), json_array_size(keys));
    for (size_t i = 0; i < schema->field_count; i++) {
        const json_t *from = json_array_get(fields, i);
        Field *field = &schema->fields[i];
        const char *name = json_string_value(json_object_get(from, "name"));
        const char *doc = json_string_value(json_object_get(from, "doc"));
        field->name = mem_strdup(name ? name : "");
        field->doc = doc ? mem_strdup(doc) : NULL;
        field->id = (int32_t)json_integer_value(json_object_get(from, "id"));
        field->required = json_is_true(json_object_get(from, "required"));
        if (!name || field->id <= 0)
            return error_set(err, ERROR_DATA, "BadMetadata", "field %zu has no name or id", i);
        if (!type_from_json(json_object_get(from, "type"), &field->type, 0, err))
            return error_wrap(err, "column %s", name);
    }
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
