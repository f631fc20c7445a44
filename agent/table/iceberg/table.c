/* An IcebergTable: loaded, made, refreshed, asked. See iceberg.h. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "agent/table/iceberg/change.h"
#include "agent/table/iceberg/history.h"
#include "common/clock.h"
#include "common/mem.h"

const IcebergRetention iceberg_retention_default = {.all_ms = 3600000,
                                                    .burst_most = 50,
                                                    .young_most = 1000,
                                                    .hourly_ms = 5 * (int64_t)86400000,
                                                    .daily_ms = 30 * (int64_t)86400000,
                                                    .metadata_files = 100,
                                                    .merge_manifests = 10,
                                                    .manifest_bytes = 8 << 20};

static IcebergTable *table_new(Catalog *catalog, const TableName *name)
{
    IcebergTable *table = mem_zalloc(sizeof *table);
    table->catalog = catalog;
    table->database = mem_strdup(name->database);
    table->name = mem_strdup(name->table);
    table->asked_location = name->location ? mem_strdup(name->location) : NULL;
    table->retention = iceberg_retention_default;
    random_hex(table->file_prefix, 16);
    return table;
}

void iceberg_table_free(IcebergTable *table)
{
    if (!table)
        return;
    catalog_entry_done(&table->entry);
    history_done(&table->history);
    metadata_text_done(&table->text);
    json_decref(table->metadata);
    schema_free(table->schema);
    free(table->schema_json);
    state_specs_free(table->specs, table->spec_count);
    manifest_files_free(table->manifests, table->manifest_count);
    leaving_done(&table->leaving);
    free(table->database);
    free(table->name);
    free(table->asked_location);
    free(table->location);
    free(table->location_before);
    free(table);
}

static json_t *parse_entry(const CatalogEntry *entry, Error *err)
{
    json_error_t where;
    json_t *metadata =
        json_loadb((const char *)entry->metadata.data, entry->metadata.used, 0, &where);
    if (!metadata)
        error_set(err, ERROR_DATA, "BadMetadata", "%s: line %d: %s", entry->metadata_uri,
                  where.line, where.text);
    return metadata;
}

bool state_adopt_entry(IcebergTable *table, CatalogEntry *entry, Error *err)
{
    json_t *metadata = parse_entry(entry, err);
    const char *uuid = json_string_value(json_object_get(metadata, "table-uuid"));
    bool other = table->metadata && uuid && strcmp(uuid, iceberg_uuid(table)) != 0;
    bytes_done(&entry->metadata);
    if (other) {
        json_decref(metadata);
        catalog_entry_done(entry);
        return error_set(err, ERROR_CONFIG, "TableDropped",
                         "it was dropped and made anew; put the old one back, or load it again "
                         "with --resnapshot");
    }
    if (!metadata || !state_adopt(table, metadata, false, err)) {
        catalog_entry_done(entry);
        return error_wrap(err, "table %s.%s", table->database, table->name);
    }
    catalog_entry_done(&table->entry);
    table->entry = *entry;
    *entry = (CatalogEntry){0};
    return state_find_store(table, err) ||
           error_wrap(err, "table %s.%s", table->database, table->name);
}

bool iceberg_table_load(Catalog *catalog, const TableName *name, IcebergTable **ret, Error *err)
{
    *ret = NULL;
    CatalogEntry entry;
    if (!catalog_load(catalog, name, &entry, err))
        return false;
    if (!entry.metadata_uri)
        return true;
    AUTO(iceberg_table_free) IcebergTable *table = table_new(catalog, name);
    if (!state_adopt_entry(table, &entry, err))
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
                         "it is gone from %s; put it back, or load it again with --resnapshot",
                         table->location);
    if (strcmp(entry.metadata_uri, table->entry.metadata_uri) == 0) {
        catalog_entry_done(&entry);
        return true;
    }
    if (!state_adopt_entry(table, &entry, err))
        return false;
    *ret_changed = true;
    return true;
}

/* ---------- making ---------- */
/* What is to be made, where the catalog says; the change's updates are there. */
static bool stage(IcebergTable *table, Change *change, Error *err)
{
    TableName name = table_name(table);
    int64_t now_ms = clock_wall_us() / 1000;
    AUTO(mem_free) char *location = NULL;
    json_t *outline = metadata_apply(NULL, change->updates, now_ms, err);
    bool ok = outline && catalog_stage(table->catalog, &name, outline, &location, err);
    json_decref(outline);
    if (!ok)
        return false;
    json_array_append_new(change->updates,
                          json_pack("{s:s,s:s}", "action", "set-location", "location", location));
    change->requirements = json_pack("[{s:s}]", "type", "assert-create");
    random_uuid(7, change->id);
    change->metadata = metadata_apply(NULL, change->updates, now_ms, err);
    if (change->metadata && catalog_keeps_metadata(table->catalog))
        metadata_text_init(&change->text, change->metadata, &table->text);
    return change->metadata != NULL;
}

/* After a failure: is it there, and ours? */
static bool was_made(const IcebergTable *table, const Change *change, CatalogEntry *ret)
{
    TableName name = table_name(table);
    if (!catalog_load(table->catalog, &name, ret, NULL))
        return false;
    json_t *metadata = ret->metadata_uri ? json_loadb((const char *)ret->metadata.data,
                                                      ret->metadata.used, 0, NULL)
                                         : NULL;
    bool ours = metadata && json_equal(json_object_get(metadata, "table-uuid"),
                                       json_object_get(change->metadata, "table-uuid"));
    json_decref(metadata);
    if (!ours)
        catalog_entry_done(ret);
    return ours;
}

static bool make(IcebergTable *table, const Change *change, Error *err)
{
    TableName name = table_name(table);
    CatalogChange it = {.metadata = (const char *)change->text.text.data,
                        .metadata_bytes = change->text.text.used,
                        .requirements = change->requirements,
                        .updates = change->updates,
                        .id = change->id};
    CatalogEntry entry;
    Error why = {0};
    if (!catalog_commit(table->catalog, &name, &it, &entry, &why) &&
        ((why.kind != ERROR_RETRY && why.kind != ERROR_CONFLICT) ||
         !was_made(table, change, &entry))) {
        if (err)
            *err = why;
        return false;
    }
    if (entry.metadata.used)
        return state_adopt_entry(table, &entry, err);
    table->entry = entry;
    return state_adopt(table, json_incref(change->metadata), false, err) &&
           state_find_store(table, err);
}

bool iceberg_table_create(Catalog *catalog, const TableName *name, const IcebergCreate *create,
                          IcebergTable **ret, Error *err)
{
    *ret = NULL;
    AUTO(iceberg_table_free) IcebergTable *table = table_new(catalog, name);
    Change change = {.updates = create_updates(create, err)};
    bool ok = change.updates && stage(table, &change, err) && make(table, &change, err);
    change_done(&change);
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

Store *iceberg_store(const IcebergTable *table)
{
    return table->store;
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

int32_t iceberg_last_column_id(const IcebergTable *table)
{
    return (int32_t)json_integer_value(json_object_get(table->metadata, "last-column-id"));
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

const char *iceberg_property_like(const IcebergTable *table, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(table->metadata, "properties"), key, value)
    {
        if (strncmp(key, prefix, strlen(prefix)) == 0)
            return key;
    }
    return NULL;
}

const json_t *iceberg_metadata(const IcebergTable *table)
{
    return table->metadata;
}

int64_t iceberg_current_snapshot(const IcebergTable *table)
{
    return metadata_head(table->metadata);
}

int64_t iceberg_last_sequence(const IcebergTable *table)
{
    return json_integer_value(json_object_get(table->metadata, "last-sequence-number"));
}

bool iceberg_has_row_ids(const IcebergTable *table)
{
    const json_t *head = metadata_snapshot(table->metadata, metadata_head(table->metadata));
    return json_is_integer(json_object_get(head, "first-row-id"));
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

char *iceberg_named_file_uri(IcebergTable *table, const char *partition_path, const char *name,
                             const char *suffix)
{
    bool in_partition = partition_path && *partition_path;
    return mem_format("%s/data/%s%s%s-%05" PRIu64 "%s", table->location,
                      in_partition ? partition_path : "", in_partition ? "/" : "", name,
                      table->file_counter++, suffix);
}

char *iceberg_new_file_uri(IcebergTable *table, const char *partition_path, const char *suffix)
{
    return iceberg_named_file_uri(table, partition_path, table->file_prefix, suffix);
}

char *metadata_file_uri(IcebergTable *table, const char *prefix, const char *suffix)
{
    return mem_format("%s/metadata/%s%s-%05" PRIu64 "%s", table->location, prefix,
                      table->file_prefix, table->file_counter++, suffix);
}

bool state_owns_file(const IcebergTable *table, const char *uri)
{
    size_t bytes = strlen(table->location);
    return uri && strncmp(uri, table->location, bytes) == 0 && uri[bytes] == '/';
}

void iceberg_set_retention(IcebergTable *table, const IcebergRetention *retention)
{
    table->retention = *retention;
    table->look_after = 0;
}

/* A property that is a number from `least` on; anything else leaves what was said otherwise. */
static int64_t property_number(const IcebergTable *table, const char *key, int64_t least,
                               int64_t otherwise)
{
    const char *text = iceberg_property(table, key);
    char *end = NULL;
    int64_t number = text ? strtoll(text, &end, 10) : -1;
    return text && end != text && !*end && number >= least ? number : otherwise;
}

Merging state_merging(const IcebergTable *table)
{
    const char *enabled = iceberg_property(table, "commit.manifest-merge.enabled");
    if (enabled && strcasecmp(enabled, "false") == 0)
        return (Merging){0};
    int64_t fanout = property_number(table, "commit.manifest.min-count-to-merge", 1,
                                     table->retention.merge_manifests);
    fanout = fanout < 2 ? 2 : fanout > INT32_MAX ? INT32_MAX : fanout;
    return (Merging){.fanout = (int32_t)fanout,
                     .target_bytes = property_number(table, "commit.manifest.target-size-bytes", 1,
                                                     table->retention.manifest_bytes)};
}

size_t state_metadata_files(const IcebergTable *table)
{
    return (size_t)property_number(table, "write.metadata.previous-versions-max", 1,
                                   table->retention.metadata_files);
}
