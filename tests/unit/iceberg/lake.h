/* A table in a folder of its own, for tests: files that are only names, commits, a look at what is
 * reachable and what lies about. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/catalog/driver.h"
#include "tests/unit/iceberg/commit.h"
#include "agent/table/iceberg/manifest_file.h"
#include "common/mem.h"

typedef struct Lake {
    char folder[64], location[96];
    Store *store;
    Catalog *catalog;
    TableName name;
    uint64_t random;
} Lake;

static inline uint64_t lake_random(Lake *lake, uint64_t below)
{
    lake->random ^= lake->random << 13;
    lake->random ^= lake->random >> 7;
    lake->random ^= lake->random << 17;
    return lake->random % below;
}

static inline void lake_open(Lake *lake)
{
    Error err = {0};
    *lake = (Lake){.random = 88172645463325252};
    /* in memory where there is some: thousands of fsyncs */
    snprintf(lake->folder, sizeof lake->folder, "%s/firn-iceberg-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(lake->folder));
    snprintf(lake->location, sizeof lake->location, "file://%s/db/t", lake->folder);
    lake->name = (TableName){"db", "t", lake->location};
    lake->store = store_posix_open(lake->folder, &err);
    lake->catalog = catalog_directory_open(lake->store, &err);
}

static inline void lake_close(Lake *lake)
{
    Error err = {0};
    catalog_close(lake->catalog);
    assert_true(store_delete_all(lake->store, lake->folder, &err));
    store_close(lake->store);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        Error why_ = {0};                                                                          \
        if (!(call))                                                                               \
            fail_msg("%s: %s", why_.code, why_.message);                                           \
    } while (0)
#define FAILS(call, kind_, code_)                                                                  \
    do {                                                                                           \
        Error why_ = {0};                                                                          \
        assert_false(call);                                                                        \
        if (why_.kind != (kind_) || strcmp(why_.code, code_) != 0)                                 \
            fail_msg("%s %s: %s", error_kind_name(why_.kind), why_.code, why_.message);            \
    } while (0)

/* id long (key), region string, amount decimal, tags list<int>. */
static inline Schema *lake_schema(void)
{
    Schema *schema = schema_new(4, 1);
    schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    schema->fields[1] = (Field){.name = mem_strdup("region"), .type.kind = TYPE_STRING};
    schema->fields[2] = (Field){.name = mem_strdup("amount"),
                                .type = {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}};
    schema->fields[3] = (Field){.name = mem_strdup("tags"), .type.kind = TYPE_LIST};
    schema->fields[3].type.element = mem_zalloc(sizeof(Field));
    *schema->fields[3].type.element =
        (Field){.name = mem_strdup("element"), .type.kind = TYPE_INT32};
    schema->key[0] = 0;
    return schema;
}

static inline IcebergTable *lake_create(Lake *lake, int version, const char *partition_by)
{
    AUTO(schema_free) Schema *schema = lake_schema();
    IcebergCreate create = {.format_version = version,
                            .schema = schema,
                            .partition_by = &partition_by,
                            .partition_count = partition_by != NULL};
    IcebergTable *table;
    OK(iceberg_table_create(lake->catalog, &lake->name, &create, &table, &why_));
    return table;
}

static inline IcebergTable *lake_load(Lake *lake)
{
    IcebergTable *table;
    OK(iceberg_table_load(lake->catalog, &lake->name, &table, &why_));
    return table;
}

/* A data file that is only a name, with metrics. */
static inline DataFile lake_file(Lake *lake, IcebergTable *table, uint64_t rows, int32_t bucket)
{
    DataFile file = {.content = FILE_DATA,
                     .path = iceberg_new_file_uri(table, "", ".parquet"),
                     .record_count = rows,
                     .file_bytes = 100 + rows,
                     .first_row_id = -1,
                     .content_offset = -1,
                     .content_bytes = -1};
    file.partition_count = iceberg_partition_spec(table)->field_count;
    file.partition = mem_array(file.partition_count, sizeof(Value));
    if (file.partition_count)
        file.partition[0] = (Value){.type.kind = TYPE_INT32, .i32 = bucket};
    file.metrics = mem_array(1, sizeof *file.metrics);
    file.metric_count = 1;
    file.metrics[0] = (ParquetFieldMetrics){.field_id = 1,
                                            .column_bytes = 50,
                                            .value_count = (int64_t)rows,
                                            .nan_count = -1,
                                            .lower_bytes = 8,
                                            .upper_bytes = 8,
                                            .has_lower = true,
                                            .has_upper = true};
    file.split_offsets = mem_array(1, sizeof(int64_t));
    file.split_offsets[0] = 4;
    file.split_count = 1;
    OK(store_put(lake->store, file.path, "PAR1", 4, &why_));
    return file;
}

/* v3: a vector with so many rows of it; v2: a file of position deletes that names only it. */
static inline DataFile lake_deletes(Lake *lake, IcebergTable *table, const DataFile *of,
                                    uint32_t rows)
{
    if (iceberg_format_version(table) < 3) {
        DataFile file = lake_file(lake, table, rows, 0);
        file.content = FILE_POSITION_DELETES;
        file.referenced_data_file = mem_strdup(of->path);
        if (of->partition_count)
            file.partition[0] = of->partition[0];
        return file;
    }
    DataFile file;
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    roaring_bitmap_add_range(bitmap, 0, rows);
    char *uri = iceberg_new_file_uri(table, "", ".puffin");
    DeletionVector vector = {of->path, bitmap, of->spec_id, of->partition, of->partition_count};
    OK(puffin_write_vectors(lake->store, uri, &vector, 1, &file, &why_));
    roaring_bitmap_free(bitmap);
    free(uri);
    return file;
}

static inline bool lake_commit(IcebergTable *table, DataFile *added, size_t added_count,
                               const char *removed, Error *err)
{
    IcebergCommit commit = {.added = added,
                            .added_count = added_count,
                            .removed = &removed,
                            .removed_count = removed != NULL};
    int64_t id;
    bool ok = commit_once(table, &commit, &id, err);
    if (ok)
        assert_int_equal(id, iceberg_current_snapshot(table));
    return ok;
}

/* ---------- what is reachable, and what is there ---------- */
typedef struct Paths {
    char **items;
    size_t count;
} Paths;

static inline void paths_add(Paths *paths, const char *path, size_t bytes)
{
    paths->items = mem_regrow(paths->items, paths->count + 1, sizeof *paths->items);
    paths->items[paths->count++] = mem_strndup(path, bytes);
}

static inline int paths_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void paths_sort(Paths *paths)
{
    size_t kept = 0;
    qsort(paths->items, paths->count, sizeof *paths->items, paths_compare);
    for (size_t i = 0; i < paths->count; i++)
        if (kept && strcmp(paths->items[kept - 1], paths->items[i]) == 0)
            free(paths->items[i]);
        else
            paths->items[kept++] = paths->items[i];
    paths->count = kept;
}

static inline void paths_done(Paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->items[i]);
    free(paths->items);
    *paths = (Paths){0};
}

static inline bool lake_live(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status != ENTRY_DELETED)
        paths_add(context, (const char *)path->bytes, path->count);
    return true;
}

static inline const PartitionSpec *lake_spec(const void *table, int32_t spec_id)
{
    return iceberg_partition_spec_by_id(table, spec_id);
}

static inline void lake_reach(Lake *lake, IcebergTable *table, const json_t *snapshots,
                              Paths *paths)
{
    for (size_t i = 0; i < json_array_size(snapshots); i++) {
        const char *list =
            json_string_value(json_object_get(json_array_get(snapshots, i), "manifest-list"));
        ManifestFile *manifests;
        size_t count;
        paths_add(paths, list, strlen(list));
        OK(manifest_list_read(lake->store, list, lake_spec, table, &manifests, &count, &why_));
        for (size_t m = 0; m < count; m++) {
            paths_add(paths, manifests[m].path, strlen(manifests[m].path));
            OK(manifest_read(lake->store, &manifests[m], lake_live, paths, &why_));
        }
        manifest_files_free(manifests, count);
    }
}

static inline bool lake_name(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    (void)modified_us;
    paths_add(context, uri, strlen(uri));
    return true;
}

/* What tells of snapshots that have been expired, but not long enough (leaving.c). */
static inline Paths lake_leaving(Lake *lake)
{
    Paths files = {0};
    AUTO(mem_free) char *folder = mem_format("%s/metadata/expired/", lake->location);
    OK(store_list(lake->store, folder, lake_name, &files, &why_));
    return files;
}

/* Everything the table's snapshots need, and those that are leaving, of which a part is missing if
 * it was deleted too early. */
static inline Paths lake_reachable(Lake *lake)
{
    Paths paths = {0}, leaving = lake_leaving(lake);
    IcebergTable *table = lake_load(lake);
    lake_reach(lake, table, json_object_get(iceberg_metadata(table), "snapshots"), &paths);
    for (size_t i = 0; i < leaving.count; i++) {
        Bytes text = {0};
        OK(store_get(lake->store, leaving.items[i], 1 << 20, &text, &why_));
        json_t *snapshots = json_loadb((const char *)text.data, text.used, 0, NULL);
        assert_true(json_is_array(snapshots) && json_array_size(snapshots) > 0);
        paths_add(&paths, leaving.items[i], strlen(leaving.items[i]));
        lake_reach(lake, table, snapshots, &paths);
        json_decref(snapshots);
        bytes_done(&text);
    }
    paths_done(&leaving);
    iceberg_table_free(table);
    paths_sort(&paths);
    return paths;
}

static inline bool lake_collect(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    (void)modified_us;
    if (!strstr(uri, ".metadata.json") && !strstr(uri, "version-hint"))
        paths_add(context, uri, strlen(uri));
    return true;
}

/* Files that no snapshot holds; none that one holds may be missing. */
static inline size_t lake_orphans(Lake *lake)
{
    Paths there = {0}, wanted = lake_reachable(lake);
    OK(store_list(lake->store, lake->location, lake_collect, &there, &why_));
    paths_sort(&there);
    size_t found = 0;
    for (size_t w = 0, t = 0; w < wanted.count; w++) {
        while (t < there.count && strcmp(there.items[t], wanted.items[w]) < 0)
            t++;
        if (t == there.count || strcmp(there.items[t], wanted.items[w]) != 0)
            fail_msg("%s is gone", wanted.items[w]);
        found++;
    }
    size_t orphans = there.count - found;
    paths_done(&there);
    paths_done(&wanted);
    return orphans;
}

/* Somebody else changes the metadata: the next version as `change` leaves it. */
typedef void LakeChange(json_t *metadata, void *context);
static inline void lake_change(Lake *lake, LakeChange *change, void *context)
{
    CatalogEntry entry, now;
    OK(catalog_load(lake->catalog, &lake->name, &entry, &why_));
    json_t *metadata = json_loadb((const char *)entry.metadata.data, entry.metadata.used, 0, NULL);
    change(metadata, context);
    char *text = json_dumps(metadata, JSON_COMPACT);
    CatalogChange it = {.base = &entry, .metadata = text, .metadata_bytes = strlen(text)};
    OK(catalog_commit(lake->catalog, &lake->name, &it, &now, &why_));
    free(text);
    catalog_entry_done(&now);
    json_decref(metadata);
    catalog_entry_done(&entry);
}
