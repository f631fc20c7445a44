/* metadata.json: made, loaded, asked. Fields we don't know survive, because the JSON is kept and
 * changed, not rebuilt. https://iceberg.apache.org/spec/#table-metadata */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/state.h"
#include "common/clock.h"
#include "common/mem.h"

static const IcebergRetention retention_default = {.all_ms = 3600000,
                                                   .hourly_ms = 5 * (int64_t)86400000,
                                                   .daily_ms = 30 * (int64_t)86400000,
                                                   .metadata_files = 100,
                                                   .merge_manifests = 100,
                                                   .manifest_bytes = 8 << 20};

/* ---------- the state that follows from metadata ---------- */
static void specs_free(PartitionSpec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < specs[i].field_count; f++)
            free(specs[i].fields[f].name);
        free(specs[i].fields);
    }
    free(specs);
}

static bool specs_from_json(const json_t *json, const Schema *schema, PartitionSpec **ret,
                            size_t *ret_count, Error *err)
{
    size_t count = json_array_size(json);
    PartitionSpec *specs = mem_array(count, sizeof *specs);
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(json, i);
        const json_t *fields = json_object_get(from, "fields");
        specs[i].spec_id = (int32_t)json_integer_value(json_object_get(from, "spec-id"));
        specs[i].fields = mem_array(json_array_size(fields), sizeof(PartitionField));
        for (size_t f = 0; f < json_array_size(fields); f++) {
            if (!partition_field_from_json(json_array_get(fields, f), schema, &specs[i].fields[f],
                                           err)) {
                specs_free(specs, count);
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
    int64_t version = json_integer_value(json_object_get(metadata, "format-version"));
    if (version != 2 && version != 3)
        return error_set(err, ERROR_CONFIG, "FormatVersion",
                         "the table has format version %" PRId64 "; 2 and 3 can be written",
                         version);
    static const char *const numbers[] = {"current-schema-id", "default-spec-id", "last-updated-ms",
                                          "last-sequence-number", "next-row-id"};
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

bool state_adopt(IcebergTable *table, json_t *metadata, Error *err)
{
    Schema *schema = NULL;
    PartitionSpec *specs = NULL;
    size_t spec_count = 0;
    const json_t *schema_json =
        by_id(json_object_get(metadata, "schemas"), "schema-id",
              json_integer_value(json_object_get(metadata, "current-schema-id")));
    bool ok = check(metadata, err) && schema_from_json(schema_json, &schema, err) &&
              specs_from_json(json_object_get(metadata, "partition-specs"), schema, &specs,
                              &spec_count, err);
    if (!ok) {
        schema_free(schema);
        json_decref(metadata);
        return false;
    }
    json_decref(table->metadata);
    schema_free(table->schema);
    free(table->schema_json);
    specs_free(table->specs, table->spec_count);
    manifest_files_free(table->manifests, table->manifest_count);
    table->metadata = metadata;
    table->format_version = (int)json_integer_value(json_object_get(metadata, "format-version"));
    table->schema = schema;
    table->schema_json = json_dumps(schema_json, JSON_COMPACT);
    table->specs = specs;
    table->spec_count = spec_count;
    table->current_spec = 0;
    int64_t spec_id = json_integer_value(json_object_get(metadata, "default-spec-id"));
    for (size_t i = 0; i < spec_count; i++)
        if (specs[i].spec_id == spec_id)
            table->current_spec = i;
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

/* ---------- loading ---------- */
static void random_hex(char *to, size_t bytes)
{
    uint8_t random[16];
    ssize_t got = getrandom(random, bytes, 0);
    ASSERT(got == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", random[i]);
}

void random_uuid(char ret[37])
{
    char hex[33];
    random_hex(hex, 16);
    hex[12] = '4';
    hex[16] = "89ab"[hex[16] & 3];
    snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static IcebergTable *table_new(Store *store, Catalog *catalog, const TableName *name)
{
    IcebergTable *table = mem_zalloc(sizeof *table);
    table->store = store;
    table->catalog = catalog;
    table->database = mem_strdup(name->database);
    table->name = mem_strdup(name->table);
    table->location = mem_strdup(name->location);
    table->retention = retention_default;
    random_hex(table->file_prefix, 16);
    return table;
}

void iceberg_table_free(IcebergTable *table)
{
    if (!table)
        return;
    catalog_entry_done(&table->entry);
    json_decref(table->metadata);
    schema_free(table->schema);
    free(table->schema_json);
    specs_free(table->specs, table->spec_count);
    manifest_files_free(table->manifests, table->manifest_count);
    free(table->database);
    free(table->name);
    free(table->location);
    free(table);
}

/* The entry becomes the table's; its text is parsed and let go. */
static bool adopt_entry(IcebergTable *table, CatalogEntry *entry, Error *err)
{
    json_error_t where;
    json_t *metadata =
        json_loadb((const char *)entry->metadata.data, entry->metadata.used, 0, &where);
    bytes_done(&entry->metadata);
    if (!metadata)
        error_set(err, ERROR_DATA, "BadMetadata", "%s: line %d: %s", entry->metadata_uri,
                  where.line, where.text);
    if (!metadata || !state_adopt(table, metadata, err)) {
        error_wrap(err, "table %s.%s", table->database, table->name);
        catalog_entry_done(entry);
        return false;
    }
    catalog_entry_done(&table->entry);
    table->entry = *entry;
    *entry = (CatalogEntry){0};
    return true;
}

bool iceberg_table_load(Store *store, Catalog *catalog, const TableName *name, IcebergTable **ret,
                        Error *err)
{
    *ret = NULL;
    CatalogEntry entry;
    if (!catalog_load(catalog, name, &entry, err))
        return false;
    if (!entry.metadata_uri)
        return true;
    AUTO(iceberg_table_free) IcebergTable *table = table_new(store, catalog, name);
    if (!adopt_entry(table, &entry, err))
        return false;
    *ret = TAKE(table);
    return true;
}

bool iceberg_table_refresh(IcebergTable *table, bool *ret_changed, Error *err)
{
    CatalogEntry entry;
    TableName name = table_name(table);
    *ret_changed = false;
    if (!catalog_load(table->catalog, &name, &entry, err))
        return false;
    if (!entry.metadata_uri)
        return error_set(err, ERROR_CONFIG, "TableDropped",
                         "table %s.%s is gone from %s; put it back, or load it again",
                         table->database, table->name, table->location);
    if (strcmp(entry.metadata_uri, table->entry.metadata_uri) == 0) {
        catalog_entry_done(&entry);
        return true;
    }
    AUTO(mem_free) char *uuid = mem_strdup(iceberg_uuid(table));
    if (!adopt_entry(table, &entry, err))
        return false;
    *ret_changed = true;
    if (strcmp(uuid, iceberg_uuid(table)) != 0)
        return error_set(err, ERROR_CONFIG, "TableDropped",
                         "table %s.%s was dropped and made anew; put the old one back, or load it "
                         "again",
                         table->database, table->name);
    return true;
}

/* ---------- making ---------- */
static int32_t assign_ids(Schema *schema)
{
    int32_t last = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        schema->fields[i].id = ++last;
    for (size_t i = 0; i < schema->field_count; i++)
        for (Field *element = schema->fields[i].type.element; element;
             element = element->type.element)
            element->id = ++last;
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

/* https://iceberg.apache.org/spec/#identifier-field-ids */
static bool check_identifiers(const Schema *schema, Error *err)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        const Field *field = &schema->fields[schema->key[i]];
        TypeKind kind = field->type.kind;
        char type[TYPE_NAME_BYTES];
        if (!field->required || kind == TYPE_FLOAT32 || kind == TYPE_FLOAT64 || kind == TYPE_LIST)
            return error_set(err, ERROR_CONFIG, "BadKey",
                             "the key's column %s (%s%s) can't identify rows in Iceberg; name "
                             "other idColumns",
                             field->name, field->required ? "" : "optional ",
                             type_format(&field->type, type));
    }
    return true;
}

static json_t *new_metadata(const IcebergCreate *create, const TableName *name, Error *err)
{
    if (!check_identifiers(create->schema, err))
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

bool iceberg_table_create(Store *store, Catalog *catalog, const TableName *name,
                          const IcebergCreate *create, IcebergTable **ret, Error *err)
{
    *ret = NULL;
    json_t *metadata = new_metadata(create, name, err);
    if (!metadata)
        return error_wrap(err, "table %s.%s", name->database, name->table);
    AUTO(iceberg_table_free) IcebergTable *table = table_new(store, catalog, name);
    char *text = json_dumps(metadata, JSON_COMPACT);
    ASSERT(text);
    bool ok = state_adopt(table, metadata, err) &&
              catalog_commit(catalog, name, NULL, text, strlen(text), &table->entry.metadata_uri,
                             &table->entry.version, err);
    free(text);
    if (!ok)
        return error_wrap(err, "table %s.%s", name->database, name->table);
    *ret = TAKE(table);
    return true;
}

/* ---------- asking ---------- */
int iceberg_format_version(const IcebergTable *table)
{
    return table->format_version;
}

const char *iceberg_uuid(const IcebergTable *table)
{
    return json_string_value(json_object_get(table->metadata, "table-uuid"));
}

const char *iceberg_location(const IcebergTable *table)
{
    return table->location;
}

const Schema *iceberg_schema(const IcebergTable *table)
{
    return table->schema;
}

const char *iceberg_schema_json(const IcebergTable *table)
{
    return table->schema_json;
}

const PartitionSpec *iceberg_partition_spec(const IcebergTable *table)
{
    return &table->specs[table->current_spec];
}

const PartitionSpec *iceberg_partition_spec_by_id(const IcebergTable *table, int32_t spec_id)
{
    return state_spec_by_id(table, spec_id);
}

const char *iceberg_property(const IcebergTable *table, const char *key)
{
    return json_string_value(json_object_get(json_object_get(table->metadata, "properties"), key));
}

const json_t *iceberg_metadata(const IcebergTable *table)
{
    return table->metadata;
}

int64_t iceberg_current_snapshot(const IcebergTable *table)
{
    return metadata_head(table->metadata);
}

int64_t iceberg_snapshot_time_ms(const IcebergTable *table, int64_t snapshot_id)
{
    const json_t *time =
        json_object_get(metadata_snapshot(table->metadata, snapshot_id), "timestamp-ms");
    return time ? json_integer_value(time) : -1;
}

const char *iceberg_snapshot_summary(const IcebergTable *table, int64_t snapshot_id,
                                     const char *key)
{
    const json_t *snapshot = metadata_snapshot(table->metadata, snapshot_id);
    return json_string_value(json_object_get(json_object_get(snapshot, "summary"), key));
}

static int64_t sequence_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "sequence-number"));
}

/* The chain of parents may end at a snapshot that was thinned or expired. Then a snapshot that is
 * still known counts as an ancestor when it is older than the last one on the chain (a rollback
 * makes an older one the head, so what was rolled back is younger than all of the chain), and one
 * that is not known counts as expired with the rest of the chain. */
bool iceberg_is_ancestor(const IcebergTable *table, int64_t ancestor)
{
    const json_t *snapshot = NULL,
                 *at = metadata_snapshot(table->metadata, metadata_head(table->metadata));
    const json_t *sought = metadata_snapshot(table->metadata, ancestor);
    while (at) {
        snapshot = at;
        if (at == sought)
            return true;
        const json_t *parent = json_object_get(at, "parent-snapshot-id");
        if (!json_is_integer(parent))
            return false; /* the whole chain is known */
        at = metadata_snapshot(table->metadata, json_integer_value(parent));
        if (at && sequence_of(at) >= sequence_of(snapshot))
            return false; /* no history */
    }
    if (!sought)
        return snapshot != NULL;
    return snapshot && sequence_of(sought) < sequence_of(snapshot);
}

typedef struct EachFile {
    IcebergTable *table;
    const ManifestFile *manifest;
    IcebergEachFile *each;
    void *context;
} EachFile;

static bool each_entry(const ManifestEntry *entry, void *context, Error *err)
{
    EachFile *to = context;
    if (entry->status == ENTRY_DELETED)
        return true;
    DataFile file;
    const PartitionSpec *spec = state_spec_by_id(to->table, to->manifest->spec_id);
    if (!manifest_entry_file(entry, to->manifest, spec, &file, err))
        return false;
    bool ok = to->each(&file, to->context, err);
    data_file_done(&file);
    return ok;
}

bool iceberg_each_file(IcebergTable *table, IcebergEachFile *each, void *context, Error *err)
{
    if (!state_load_manifests(table, err))
        return false;
    for (int deletes = 0; deletes < 2; deletes++)
        for (size_t i = 0; i < table->manifest_count; i++) {
            EachFile to = {table, &table->manifests[i], each, context};
            if (table->manifests[i].deletes == deletes &&
                !manifest_read(table->store, &table->manifests[i], each_entry, &to, err))
                return false;
        }
    return true;
}

char *iceberg_new_file_uri(IcebergTable *table, const char *partition_path, const char *suffix)
{
    bool in_partition = partition_path && *partition_path;
    return mem_format("%s/data/%s%s%s-%05" PRIu64 "%s", table->location,
                      in_partition ? partition_path : "", in_partition ? "/" : "",
                      table->file_prefix, table->file_counter++, suffix);
}

char *metadata_file_uri(IcebergTable *table, const char *prefix, const char *suffix)
{
    return mem_format("%s/metadata/%s%s-%05" PRIu64 "%s", table->location, prefix,
                      table->file_prefix, table->file_counter++, suffix);
}

void iceberg_set_retention(IcebergTable *table, const IcebergRetention *retention)
{
    table->retention = *retention;
}
