/* A table that is to be made, as updates of the REST protocol: what metadata_apply makes the first
 * metadata of, and a catalog that writes metadata itself is sent. */
#include <stdio.h>
#include <string.h>

#include "agent/table/iceberg/change.h"
#include "common/mem.h"

static int32_t assign_ids(Schema *schema)
{
    int32_t last = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        schema->fields[i].id = ++last;
    for (size_t i = 0; i < schema->field_count; i++)
        type_assign_ids(&schema->fields[i].type, &last);
    return last;
}

/* Iceberg wants a partition field's name to be no column's (but for identity), and to stand once.
 */
static bool name_field(PartitionField *field, const Schema *schema, const json_t *others,
                       const char *text, Error *err)
{
    while (field->transform != TRANSFORM_IDENTITY && schema_find(schema, field->name) >= 0) {
        char *longer = mem_format("%s_partition", field->name);
        free(field->name);
        field->name = longer;
    }
    size_t i;
    json_t *other;
    json_array_foreach(others, i, other)
    {
        if (strcmp(json_string_value(json_object_get(other, "name")), field->name) == 0)
            return error_set(err, ERROR_CONFIG, "BadPartition",
                             "partitionBy '%.100s' stands twice, or with another number; leave one",
                             text);
    }
    return true;
}

static json_t *spec_to_json(const IcebergCreate *create, const Schema *schema, Error *err)
{
    json_t *fields = json_array();
    int32_t last = PARTITION_ID_BEFORE_FIRST;
    for (size_t i = 0; i < create->partition_count; i++) {
        PartitionField field;
        const char *text = create->partition_by[i];
        bool ok = partition_field_parse(text, schema, &field, err) &&
                  name_field(&field, schema, fields, text, err);
        if (ok) {
            field.field_id = ++last;
            json_array_append_new(fields, partition_field_json(&field));
        }
        free(field.name);
        if (!ok) {
            json_decref(fields);
            return NULL;
        }
    }
    return json_pack("{s:i,s:o}", "spec-id", 0, "fields", fields);
}

/* Identifier fields are required and no floating point numbers.
 * https://iceberg.apache.org/spec/#identifier-field-ids */
static bool check_create(const IcebergCreate *create, Error *err)
{
    ASSERT(create->format_version == 2 || create->format_version == 3);
    for (size_t i = 0; i < create->schema->key_count; i++) {
        const Field *field = &create->schema->fields[create->schema->key[i]];
        char type[TYPE_NAME_BYTES];
        if (!field->required || field->type.kind == TYPE_FLOAT32 ||
            field->type.kind == TYPE_FLOAT64 || type_is_nested(&field->type))
            return error_set(err, ERROR_CONFIG, "BadKey",
                             "column %s (%s%s) can't be an identifier: it must be required, and "
                             "neither a floating point number nor nested; choose other idColumns",
                             field->name, field->required ? "" : "optional ",
                             type_format(&field->type, type));
    }
    return true;
}

static void put(json_t *updates, const char *action, const char *key, json_t *value)
{
    json_array_append_new(updates, json_pack("{s:s,s:o}", "action", action, key, value));
}

json_t *create_updates(const IcebergCreate *create, Error *err)
{
    if (!check_create(create, err))
        return NULL;
    AUTO(schema_free) Schema *schema = schema_copy(create->schema);
    int32_t last_column = assign_ids(schema);
    json_t *spec = spec_to_json(create, schema, err);
    if (!spec)
        return NULL;
    char uuid[37];
    random_uuid(4, uuid);
    json_t *updates = json_array(), *properties = json_object();
    put(updates, "assign-uuid", "uuid", json_string(uuid));
    put(updates, "upgrade-format-version", "format-version", json_integer(create->format_version));
    put(updates, "add-schema", "schema", schema_to_json(schema, 0));
    json_object_set_new(json_array_get(updates, json_array_size(updates) - 1), "last-column-id",
                        json_integer(last_column));
    put(updates, "set-current-schema", "schema-id", json_integer(-1));
    put(updates, "add-spec", "spec", spec);
    put(updates, "set-default-spec", "spec-id", json_integer(-1));
    put(updates, "add-sort-order", "sort-order", json_pack("{s:i,s:[]}", "order-id", 0, "fields"));
    put(updates, "set-default-sort-order", "sort-order-id", json_integer(-1));
    for (size_t i = 0; i < create->property_count; i++)
        json_object_set_new(properties, create->properties[2 * i],
                            json_string(create->properties[2 * i + 1]));
    put(updates, "set-properties", "updates", properties);
    return updates;
}
