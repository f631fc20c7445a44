/* metadata.json: checked, adopted, asked. Fields we don't know survive, because the JSON is kept
 * and changed, not rebuilt. https://iceberg.apache.org/spec/#table-metadata */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/history.h"
#include "common/clock.h"
#include "common/json/text.h"
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
    table->schema_json = json_text(schema_json, JSON_COMPACT);
    table->specs = specs;
    table->spec_count = spec_count;
    table->current_spec = 0;
    for (size_t i = 0; i < spec_count; i++)
        if (specs[i].spec_id == spec_id)
            table->current_spec = i;
    return true;
}

bool state_adopt(IcebergTable *table, json_t *metadata, bool keep_manifests, Error *err)
{
    if (!check(metadata, err) ||
        (!same_shape(table, metadata) && !adopt_shape(table, metadata, err))) {
        json_decref(metadata);
        return false;
    }
    History history;
    history_init(&history, metadata, &table->history);
    history_done(&table->history);
    table->history = history;
    json_decref(table->metadata);
    table->metadata = metadata;
    table->format_version = (int)json_integer_value(json_object_get(metadata, "format-version"));
    if (keep_manifests)
        return true;
    table->look_after = 0; /* somebody else may have been at its snapshots */
    manifest_files_free(table->manifests, table->manifest_count);
    table->manifests = NULL;
    table->manifest_count = 0;
    table->manifests_known = metadata_head(metadata) < 0;
    return true;
}

/* A folder's tables are where the folder is, wherever their metadata was written. */
bool state_find_store(IcebergTable *table, Error *err)
{
    TableName name = table_name(table);
    const char *location = json_string_value(json_object_get(table->metadata, "location"));
    if (catalog_keeps_metadata(table->catalog) && table->asked_location)
        location = table->asked_location;
    if (!location)
        return error_set(err, ERROR_DATA, "BadMetadata", "metadata.json has no location");
    char *uri = store_uri(location, err);
    if (!uri)
        return false;
    if (table->location && strcmp(table->location, uri) == 0) {
        free(uri); /* threads that name files may be reading the old one */
    } else {
        free(table->location_before);
        table->location_before = TAKE(table->location);
        table->location = uri;
    }
    return catalog_store(table->catalog, &name, &table->entry, &table->store, err);
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

/* ---------- names that nobody else has ---------- */
void random_hex(char *to, size_t bytes)
{
    uint8_t random[16];
    ssize_t got = getrandom(random, bytes, 0);
    ASSERT(got == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", random[i]);
}

void random_uuid(int version, char ret[37])
{
    char hex[33];
    random_hex(hex, 16);
    if (version == 7) {
        char time[13];
        snprintf(time, sizeof time, "%012" PRIx64, (uint64_t)(clock_wall_us() / 1000));
        memcpy(hex, time, 12);
    }
    hex[12] = (char)('0' + version);
    hex[16] = "89ab"[hex[16] & 3];
    snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}
