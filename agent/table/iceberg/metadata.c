/* metadata.json: made, loaded, asked. Fields we don't know survive, because the JSON is kept and
 * changed, not rebuilt. https://iceberg.apache.org/spec/#table-metadata */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/state.h"
#include "common/clock.h"
#include "common/mem.h"

/* ---------- the state that follows from metadata ---------- */
void state_specs_free(PartitionSpec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < specs[i].field_count; f++)
            free(specs[i].fields[f].name);
        free(specs[i].fields);
    }
    free(specs);
}

static bool specs_from_json(const json_t *metadata, const Schema *schema, PartitionSpec **ret,
                            size_t *ret_count, Error *err)
{
    const json_t *json = json_object_get(metadata, "partition-specs");
    const json_t *schemas = json_object_get(metadata, "schemas");
    size_t count = json_array_size(json);
    PartitionSpec *specs = mem_array(count, sizeof *specs);
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(json, i);
        const json_t *fields = json_object_get(from, "fields");
        specs[i].spec_id = (int32_t)json_integer_value(json_object_get(from, "spec-id"));
        specs[i].fields = mem_array(json_array_size(fields), sizeof(PartitionField));
        for (size_t f = 0; f < json_array_size(fields); f++) {
            if (!partition_field_from_json(json_array_get(fields, f), schema, schemas,
                                           &specs[i].fields[f], err)) {
                state_specs_free(specs, count);
                return false;
            }
            specs[i].field_count = f + 1;
        }
    }
    *ret = specs;
    *ret_count = count;
    return true;
}

static json_t *by_id(const json_t *array, const char *key, int64_t id)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i,
                       item) if (json_integer_value(json_object_get(item, key)) == id) return item;
    return NULL;
}

json_t *metadata_snapshot(const json_t *metadata, int64_t snapshot_id)
{
    /* from the newest on: that is what is mostly asked for */
    const json_t *snapshots = json_object_get(metadata, "snapshots");
    for (size_t i = json_array_size(snapshots); i-- > 0;) {
        json_t *snapshot = json_array_get(snapshots, i);
        if (json_integer_value(json_object_get(snapshot, "snapshot-id")) == snapshot_id)
            return snapshot;
    }
    return NULL;
}

int64_t metadata_head(const json_t *metadata)
{
    const json_t *main_ref = json_object_get(json_object_get(metadata, "refs"), "main");
    const json_t *id = main_ref ? json_object_get(main_ref, "snapshot-id")
                                : json_object_get(metadata, "current-snapshot-id");
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

static bool check(const json_t *metadata, Error *err)
{
    static const char *const numbers[] = {"current-schema-id", "default-spec-id", "last-updated-ms",
                                          "last-sequence-number", "next-row-id"};
    int64_t version = json_integer_value(json_object_get(metadata, "format-version"));
    if (version != 2 && version != 3)
        return error_set(err, ERROR_CONFIG, "FormatVersion",
                         "the table has format version %" PRId64 "; 2 and 3 can be written",
                         version);
    for (size_t i = 0; i < ARRAY_LEN(numbers) - (version < 3); i++) {
        const json_t *number = json_object_get(metadata, numbers[i]);
        if (!json_is_integer(number) || json_integer_value(number) < 0 ||
            json_integer_value(number) > ROW_ID_MAX)
            return error_set(err, ERROR_DATA, "BadMetadata", "metadata.json: '%s' is no number",
                             numbers[i]);
    }
    int64_t head = metadata_head(metadata);
    if (!json_is_string(json_object_get(metadata, "table-uuid")) ||
        !by_id(json_object_get(metadata, "schemas"), "schema-id",
               json_integer_value(json_object_get(metadata, "current-schema-id"))) ||
        !by_id(json_object_get(metadata, "partition-specs"), "spec-id",
               json_integer_value(json_object_get(metadata, "default-spec-id"))) ||
        (head >= 0 &&
         !json_is_string(json_object_get(metadata_snapshot(metadata, head), "manifest-list"))))
        return error_set(err, ERROR_DATA, "BadMetadata",
                         "metadata.json lacks its uuid, current schema, default partition spec, or "
                         "the head's manifest list");
    return true;
}

/* Schema and specs stay the same objects, for whoever holds them, as long as they say the same. */
static bool same_shape(const IcebergTable *table, const json_t *metadata)
{
    static const char *const keys[] = {"schemas", "current-schema-id", "partition-specs",
                                       "default-spec-id"};
    if (!table->metadata)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!json_equal(json_object_get(table->metadata, keys[i]),
                        json_object_get(metadata, keys[i])))
            return false;
    return true;
}

static bool adopt_shape(IcebergTable *table, const json_t *metadata, Error *err)
{
    Schema *schema = NULL;
    PartitionSpec *specs;
    size_t spec_count;
    int64_t schema_id = json_integer_value(json_object_get(metadata, "current-schema-id"));
    int64_t spec_id = json_integer_value(json_object_get(metadata, "default-spec-id"));
    const json_t *schema_json = by_id(json_object_get(metadata, "schemas"), "schema-id", schema_id);
    if (!schema_from_json(schema_json, &schema, err) ||
        !specs_from_json(metadata, schema, &specs, &spec_count, err)) {
        schema_free(schema);
        return false;
    }
    schema_free(table->schema);
    free(table->schema_json);
    state_specs_free(table->specs, table->spec_count);
    table->schema = schema;
    table->schema_id = (int32_t)schema_id;
    table->schema_json = json_dumps(schema_json, JSON_COMPACT);
    table->specs = specs;
    table->spec_count = spec_count;
    table->current_spec = 0;
    for (size_t i = 0; i < spec_count; i++)
        if (specs[i].spec_id == spec_id)
            table->current_spec = i;
    return true;
}

bool state_adopt(IcebergTable *table, json_t *metadata, Error *err)
{
    if (!check(metadata, err) ||
        (!same_shape(table, metadata) && !adopt_shape(table, metadata, err))) {
        json_decref(metadata);
        return false;
    }
    json_decref(table->metadata);
    manifest_files_free(table->manifests, table->manifest_count);
    table->metadata = metadata;
    table->format_version = (int)json_integer_value(json_object_get(metadata, "format-version"));
    table->manifests = NULL;
    table->manifest_count = 0;
    table->manifests_known = metadata_head(metadata) < 0;
    return true;
}

const PartitionSpec *state_spec_by_id(const void *at, int32_t spec_id)
{
    const IcebergTable *table = at;
    for (size_t i = 0; i < table->spec_count; i++)
        if (table->specs[i].spec_id == spec_id)
            return &table->specs[i];
    return NULL;
}

bool state_load_manifests(IcebergTable *table, Error *err)
{
    if (table->manifests_known)
        return true;
    const json_t *head = metadata_snapshot(table->metadata, metadata_head(table->metadata));
    const char *list = json_string_value(json_object_get(head, "manifest-list"));
    if (!manifest_list_read(table->store, list, state_spec_by_id, table, &table->manifests,
                            &table->manifest_count, err))
        return false;
    table->manifests_known = true;
    return true;
}

/* ---------- making ---------- */
static int32_t assign_ids(Schema *schema)
{
    int32_t last = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        schema->fields[i].id = ++last;
    for (size_t i = 0; i < schema->field_count; i++)
        type_assign_ids(&schema->fields[i].type, &last);
    return last;
}

void random_hex(char *to, size_t bytes)
{
    uint8_t random[16];
    ssize_t got = getrandom(random, bytes, 0);
    ASSERT(got == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", random[i]);
}

static void random_uuid(char ret[37])
{
    char hex[33];
    random_hex(hex, 16);
    hex[12] = '4';
    hex[16] = "89ab"[hex[16] & 3];
    snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
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

static json_t *spec_to_json(const IcebergCreate *create, const Schema *schema, int32_t *ret_last,
                            Error *err)
{
    json_t *fields = json_array();
    *ret_last = 999;
    for (size_t i = 0; i < create->partition_count; i++) {
        PartitionField field;
        const char *text = create->partition_by[i];
        bool ok = partition_field_parse(text, schema, &field, err) &&
                  name_field(&field, schema, fields, text, err);
        if (ok) {
            field.field_id = ++*ret_last;
            json_array_append_new(fields, partition_field_json(&field));
        }
        free(field.name);
        if (!ok) {
            json_decref(fields);
            return NULL;
        }
    }
    return json_pack("[{s:i,s:o}]", "spec-id", 0, "fields", fields);
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

json_t *metadata_new(const IcebergCreate *create, const TableName *name, Error *err)
{
    if (!check_create(create, err))
        return NULL;
    AUTO(schema_free) Schema *schema = schema_copy(create->schema);
    int32_t last_column = assign_ids(schema), last_partition;
    json_t *specs = spec_to_json(create, schema, &last_partition, err);
    if (!specs)
        return NULL;
    json_t *properties = json_object();
    for (size_t i = 0; i < create->property_count; i++)
        json_object_set_new(properties, create->properties[2 * i],
                            json_string(create->properties[2 * i + 1]));
    char uuid[37];
    random_uuid(uuid);
    json_t *metadata = json_pack(
        "{s:i,s:s,s:s,s:i,s:I,s:i,s:i,s:[o],s:i,s:o,s:i,s:i,s:[{s:i,s:[]}],s:o,s:{},s:[],s:[],s:[],"
        "s:[],s:[]}",
        "format-version", create->format_version, "table-uuid", uuid, "location", name->location,
        "last-sequence-number", 0, "last-updated-ms", (json_int_t)(clock_wall_us() / 1000),
        "last-column-id", last_column, "current-schema-id", 0, "schemas", schema_to_json(schema, 0),
        "default-spec-id", 0, "partition-specs", specs, "last-partition-id", last_partition,
        "default-sort-order-id", 0, "sort-orders", "order-id", 0, "fields", "properties",
        properties, "refs", "snapshots", "snapshot-log", "metadata-log", "statistics",
        "partition-statistics");
    ASSERT(metadata);
    if (create->format_version >= 3) {
        json_object_set_new(metadata, "next-row-id", json_integer(0));
        json_object_set_new(metadata, "current-snapshot-id", json_null());
    } else {
        json_object_set_new(metadata, "current-snapshot-id", json_integer(-1));
    }
    return metadata;
}
