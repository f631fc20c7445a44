/* What the tests of this folder share: a store in memory, whose every object can be looked at, the
 * directory catalog over it, with an answer that can be lost, and small tables. Files of rows are a
 * few bytes that nobody reads. */
#pragma once

#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/catalog/driver.h"
#include "agent/store/driver.h"
#include "tests/unit/iceberg/commit.h"
#include "agent/table/iceberg/history.h"
#include "agent/table/iceberg/value.h"
#include "common/mem.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        Error err = {0};                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.code, err.message);                                  \
    } while (0)

/* ---------- a store in memory ---------- */
typedef struct Object {
    char *uri;
    uint64_t hash; /* of the URI */
    Bytes data;
} Object;

typedef struct MemoryStore {
    Store store;
    Object *objects;
    size_t count;
    size_t reads;         /* objects opened so far */
    const char *fail_put; /* a put of a URI with this in it fails */
} MemoryStore;

typedef struct MemoryReader {
    StoreReader reader;
    const Bytes *data;
} MemoryReader;

static inline Object *memory_find(MemoryStore *store, const char *uri)
{
    uint64_t hash = path_hash(uri, strlen(uri));
    for (size_t i = store->count; i-- > 0;)
        if (store->objects[i].hash == hash)
            return &store->objects[i];
    return NULL;
}

static bool memory_put(Store *at, const char *uri, const void *data, size_t bytes, StoreTag *tag,
                       Error *err)
{
    MemoryStore *store = (MemoryStore *)at;
    if (store->fail_put && strstr(uri, store->fail_put))
        return error_set(err, ERROR_RETRY, "DiskFull", "the put of %s was made to fail", uri);
    Object *object = memory_find(store, uri);
    if (object && tag)
        return error_set(err, ERROR_CONFLICT, "ObjectExists", "%s exists", uri);
    if (!object) {
        store->objects = mem_regrow(store->objects, store->count + 1, sizeof *store->objects);
        object = &store->objects[store->count++];
        *object = (Object){.uri = mem_strdup(uri), .hash = path_hash(uri, strlen(uri))};
    }
    bytes_clear(&object->data);
    bytes_put(&object->data, data, bytes);
    return true;
}

static StoreReader *memory_open(Store *at, const char *uri, Error *err)
{
    MemoryStore *store = (MemoryStore *)at;
    const Object *object = memory_find(store, uri);
    store->reads++;
    if (!object) {
        error_set(err, ERROR_DATA, "ObjectMissing", "%s is missing", uri);
        return NULL;
    }
    MemoryReader *reader = mem_zalloc(sizeof *reader);
    *reader = (MemoryReader){{.store = at, .bytes = object->data.used}, &object->data};
    return &reader->reader;
}

static void memory_reader_free(StoreReader *reader)
{
    free(reader);
}

static bool memory_read(StoreReader *at, uint64_t offset, void *to, size_t bytes, Error *err)
{
    const Bytes *data = ((MemoryReader *)at)->data;
    if (offset > data->used || bytes > data->used - offset)
        return error_set(err, ERROR_DATA, "ShortRead", "read past the end");
    if (bytes)
        memcpy(to, data->data + offset, bytes);
    return true;
}

static bool memory_remove(Store *at, const char *uri, Error *err)
{
    (void)err;
    MemoryStore *store = (MemoryStore *)at;
    Object *object = memory_find(store, uri);
    if (!object)
        return true;
    free(object->uri);
    bytes_done(&object->data);
    *object = store->objects[--store->count];
    return true;
}

static bool memory_exists(Store *at, const char *uri, bool *ret, Error *err)
{
    (void)err;
    *ret = memory_find((MemoryStore *)at, uri) != NULL;
    return true;
}

static bool memory_list(Store *at, const char *prefix, StoreEach *each, void *context, Error *err)
{
    (void)err;
    const MemoryStore *store = (MemoryStore *)at;
    for (size_t i = 0; i < store->count; i++)
        if (strncmp(store->objects[i].uri, prefix, strlen(prefix)) == 0 &&
            !each(store->objects[i].uri, store->objects[i].data.used, 0, context))
            break;
    return true;
}

static void memory_close(Store *at)
{
    MemoryStore *store = (MemoryStore *)at;
    for (size_t i = 0; i < store->count; i++) {
        free(store->objects[i].uri);
        bytes_done(&store->objects[i].data);
    }
    free(store->objects);
    free(store);
}

static const StoreDriver memory_driver = {
    .close = memory_close,
    .put = memory_put,
    .open = memory_open,
    .reader_free = memory_reader_free,
    .read = memory_read,
    .remove = memory_remove,
    .exists = memory_exists,
    .list = memory_list,
};

static inline MemoryStore *memory_store_new(void)
{
    MemoryStore *store = mem_zalloc(sizeof *store);
    store->store.driver = &memory_driver;
    return store;
}

/* ---------- a catalog whose answer can be lost ---------- */
typedef enum Answer {
    ANSWER_TRUE,
    ANSWER_LOST,  /* the commit took effect, the answer is RETRY */
    ANSWER_NEVER, /* it did not, the answer is RETRY */
} Answer;

typedef struct ShakyCatalog {
    Catalog catalog;
    Catalog *inner;
    Answer answer;
    int answers;                      /* so many times; 0: once */
    void (*meanwhile)(void *context); /* between a lost answer and the look at the table */
    void *context;
} ShakyCatalog;

static void shaky_close(Catalog *at)
{
    catalog_close(((ShakyCatalog *)at)->inner);
    free(at);
}

static bool shaky_load(Catalog *at, const TableName *name, CatalogEntry *ret, Error *err)
{
    return catalog_load(((ShakyCatalog *)at)->inner, name, ret, err);
}

static bool shaky_store(Catalog *at, const TableName *name, const CatalogEntry *entry, Store **ret,
                        Error *err)
{
    return catalog_store(((ShakyCatalog *)at)->inner, name, entry, ret, err);
}

static bool shaky_stage(Catalog *at, const TableName *name, const json_t *metadata,
                        char **ret_location, Error *err)
{
    return catalog_stage(((ShakyCatalog *)at)->inner, name, metadata, ret_location, err);
}

static bool shaky_commit(Catalog *at, const TableName *name, const CatalogChange *change,
                         CatalogEntry *ret, Error *err)
{
    ShakyCatalog *catalog = (ShakyCatalog *)at;
    Answer answer = catalog->answer;
    if (catalog->answers == 0 || --catalog->answers == 0)
        catalog->answer = ANSWER_TRUE;
    if (answer != ANSWER_NEVER && !catalog_commit(catalog->inner, name, change, ret, err))
        return false;
    if (answer == ANSWER_TRUE)
        return true;
    if (answer == ANSWER_LOST)
        catalog_entry_done(ret);
    if (catalog->meanwhile)
        catalog->meanwhile(catalog->context);
    return error_set(err, ERROR_RETRY, "Timeout", "the catalog gave no answer");
}

static bool shaky_drop(Catalog *at, const TableName *name, bool purge, Error *err)
{
    return catalog_drop(((ShakyCatalog *)at)->inner, name, purge, err);
}

/* ---------- a lake ---------- */
typedef struct Lake {
    MemoryStore *memory;
    Store *store;
    ShakyCatalog *shaky;
    Catalog *catalog;
    Schema *schema;
    TableName name;
    IcebergTable *table;
} Lake;

static inline Field lake_field(const char *name, Type type, bool required)
{
    return (Field){.name = mem_strdup(name), .type = type, .required = required};
}

static inline void lake_open(Lake *lake)
{
    static const CatalogDriver shaky_driver = {true,        shaky_close,  shaky_load, shaky_store,
                                               shaky_stage, shaky_commit, shaky_drop};
    *lake =
        (Lake){.memory = memory_store_new(), .name = {"lake", "orders", "file:///w/lake/orders"}};
    lake->store = &lake->memory->store;
    lake->shaky = mem_zalloc(sizeof *lake->shaky);
    lake->shaky->catalog.driver = &shaky_driver;
    lake->catalog = &lake->shaky->catalog;
    OK((lake->shaky->inner = catalog_directory_open(lake->store, &err)));
    lake->schema = schema_new(3, 1);
    lake->schema->fields[0] = lake_field("id", (Type){.kind = TYPE_INT64}, true);
    lake->schema->fields[1] = lake_field("country", (Type){.kind = TYPE_STRING}, false);
    lake->schema->fields[2] = lake_field("at", (Type){.kind = TYPE_TIMESTAMPTZ}, false);
}

/* partition_by NULL: none. */
static inline void lake_create(Lake *lake, int format_version, const char *partition_by)
{
    IcebergCreate how = {.format_version = format_version,
                         .schema = lake->schema,
                         .partition_by = &partition_by,
                         .partition_count = partition_by != NULL};
    OK(iceberg_table_create(lake->catalog, &lake->name, &how, &lake->table, &err));
}

static inline IcebergTable *lake_load(Lake *lake)
{
    IcebergTable *table = NULL;
    OK(iceberg_table_load(lake->catalog, &lake->name, &table, &err));
    assert_non_null(table);
    return table;
}

static inline void lake_done(Lake *lake)
{
    iceberg_table_free(lake->table);
    schema_free(lake->schema);
    catalog_close(lake->catalog);
    store_close(lake->store);
}

/* A data file that stands in the store. `country` only where the table is partitioned by it. */
static inline DataFile lake_data_file(IcebergTable *table, const char *country, uint64_t rows)
{
    const PartitionSpec *spec = iceberg_partition_spec(table);
    DataFile file = {.content = FILE_DATA,
                     .format = FORMAT_PARQUET,
                     .path = iceberg_new_file_uri(table, "", ".parquet"),
                     .spec_id = spec->spec_id,
                     .record_count = rows,
                     .file_bytes = 1000 + rows,
                     .first_row_id = -1,
                     .content_offset = -1};
    if (spec->field_count) {
        file.partition_count = 1;
        file.partition = mem_array(1, sizeof *file.partition);
        file.partition[0] = (Value){.is_null = !country, .type = {.kind = TYPE_STRING}};
        if (country) {
            file.partition[0].byte_count = (uint32_t)strlen(country);
            file.partition[0].bytes = (uint8_t *)mem_strdup(country);
        }
    }
    OK(store_put(table->store, file.path, "rows", 4, &err));
    return file;
}

/* v2: position deletes that name one data file. */
static inline DataFile lake_deletes(IcebergTable *table, const DataFile *of, uint64_t rows)
{
    DataFile file = {.content = FILE_POSITION_DELETES,
                     .format = FORMAT_PARQUET,
                     .path = iceberg_new_file_uri(table, "", "-deletes.parquet"),
                     .spec_id = of->spec_id,
                     .partition = values_copy(of->partition, of->partition_count),
                     .partition_count = of->partition_count,
                     .record_count = rows,
                     .file_bytes = 500 + rows,
                     .referenced_data_file = mem_strdup(of->path),
                     .first_row_id = -1,
                     .content_offset = -1};
    OK(store_put(table->store, file.path, "positions", 9, &err));
    return file;
}

/* v3: a Puffin file with the first `rows` of one data file. */
static inline DataFile lake_vector(IcebergTable *table, const DataFile *of, uint32_t rows)
{
    DataFile file;
    roaring_bitmap_t *bitmap = roaring_bitmap_from_range(0, rows, 1);
    AUTO(mem_free) char *uri = iceberg_new_file_uri(table, "", ".puffin");
    DeletionVector vector = {of->path, bitmap, of->spec_id, of->partition, of->partition_count};
    OK(puffin_write_vectors(table->store, uri, &vector, 1, &file, &err));
    roaring_bitmap_free(bitmap);
    return file;
}

static inline bool lake_try_commit(IcebergTable *table, DataFile *added, size_t added_count,
                                   const char *removed, Error *err)
{
    int64_t snapshot;
    IcebergCommit commit = {.added = added,
                            .added_count = added_count,
                            .removed = &removed,
                            .removed_count = removed != NULL};
    return commit_once(table, &commit, &snapshot, err);
}

/* Commits; the files are let go. */
static inline void lake_commit(IcebergTable *table, DataFile *added, size_t added_count,
                               const char *removed)
{
    OK(lake_try_commit(table, added, added_count, removed, &err));
    for (size_t i = 0; i < added_count; i++)
        data_file_done(&added[i]);
}

static inline void lake_append(IcebergTable *table, uint64_t rows)
{
    DataFile file = lake_data_file(table, "de", rows);
    lake_commit(table, &file, 1, NULL);
}

static inline void data_file_copy(DataFile *to, const DataFile *from)
{
    *to = *from;
    to->path = mem_strdup(from->path);
    to->partition = values_copy(from->partition, from->partition_count);
    to->referenced_data_file =
        from->referenced_data_file ? mem_strdup(from->referenced_data_file) : NULL;
    to->metrics = NULL;
    to->split_offsets = NULL;
}

/* After snapshots were changed in place: what was remembered of them is forgotten. */
static inline void lake_look_again(IcebergTable *table)
{
    table->look_after = 0;
    metadata_text_done(&table->text);
    history_done(&table->history);
    history_init(&table->history, table->metadata, NULL);
}

/* Makes every snapshot older, as far as this handle knows. */
static inline void lake_age(IcebergTable *table, int64_t by_ms)
{
    table->thinned_ms = 0; /* not to wait with thinning */
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(table->metadata, "snapshots"), i, snapshot)
    {
        int64_t then = json_integer_value(json_object_get(snapshot, "timestamp-ms"));
        json_object_set_new(snapshot, "timestamp-ms", json_integer(then - by_ms));
    }
    lake_look_again(table);
}
