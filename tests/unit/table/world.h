/* What the table's tests share: a warehouse in a folder of its own, a source schema, and a reader
 * of the table's head that knows nothing of the index: data files with the delete files applied as
 * the specification says. */
#pragma once

#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/table/iceberg/iceberg.h"
#include "agent/table/table.h"
#include "common/mem.h"
#include "tests/unit/table/commit.h"

typedef struct World {
    char folder[256];
    char *warehouse;
    Store *store;
    Catalog *catalog;
    Schema *source;
    LakeTableSpec spec;
    char *partition_texts[2];
    size_t memory_bytes_max;
} World;

#define OK(call)                                                                                   \
    do {                                                                                           \
        Error err = {0};                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.code, err.message);                                  \
    } while (0)

static inline Field world_field(const char *name, Type type, bool required)
{
    return (Field){.name = mem_strdup(name), .type = type, .required = required};
}

typedef struct WorldCount {
    const char *const *words; /* up to NULL */
    size_t count;
} WorldCount;

static inline bool world_count_one(const char *uri, uint64_t bytes, int64_t modified_us,
                                   void *context)
{
    (void)bytes, (void)modified_us;
    WorldCount *found = context;
    bool counts = false;
    for (size_t i = 0; found->words[i]; i++)
        counts = counts || strstr(uri, found->words[i]);
    found->count += counts;
    return true;
}

/* Objects of the warehouse whose URI has one of the words (up to NULL). */
static inline size_t world_count(const World *world, const char *const *words)
{
    WorldCount found = {.words = words};
    AUTO(mem_free) char *prefix = mem_format("%s/", world->warehouse);
    OK(store_list(world->store, prefix, world_count_one, &found, &err));
    return found.count;
}

/* id long key, region int, name string, amount decimal(12,2). folder NULL: one that goes with the
 * world. */
static inline void world_init_at(World *world, const char *folder, int format_version,
                                 TableMode mode, const char *by)
{
    *world = (World){.folder = "/tmp/firn-table-XXXXXX", .memory_bytes_max = 8 << 20};
    if (folder)
        snprintf(world->folder, sizeof world->folder, "%s", folder);
    else
        assert_non_null(mkdtemp(world->folder));
    OK((world->store = store_posix_open(world->folder, &err)));
    OK((world->warehouse = store_uri(world->folder, &err)));
    OK((world->catalog = catalog_directory_open(world->store, &err)));
    world->source = schema_new(4, 1);
    world->source->fields[0] = world_field("id", (Type){.kind = TYPE_INT64}, true);
    world->source->fields[1] = world_field("region", (Type){.kind = TYPE_INT32}, false);
    world->source->fields[2] = world_field("name", (Type){.kind = TYPE_STRING}, false);
    world->source->fields[3] =
        world_field("amount", (Type){.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}, false);
    char database[] = "lake", table[] = "orders";
    world->partition_texts[0] = by ? mem_strdup(by) : NULL;
    world->spec = (LakeTableSpec){.database = mem_strdup(database),
                                  .table_name = mem_strdup(table),
                                  .format_version = format_version,
                                  .mode = mode,
                                  .partition_by = {world->partition_texts, by != NULL},
                                  .file_target_bytes = 24 << 10,
                                  .zstd_level = 3};
}

static inline void world_init(World *world, int format_version, TableMode mode, const char *by)
{
    world_init_at(world, NULL, format_version, mode, by);
}

static inline void world_remove(World *world)
{
    OK(store_delete_all(world->store, world->warehouse, &err));
    rmdir(world->folder);
}

static inline void world_close(World *world)
{
    catalog_close(world->catalog);
    store_close(world->store);
    free(world->warehouse);
    free(world->partition_texts[0]);
    free(world->spec.database);
    free(world->spec.table_name);
    schema_free(world->source);
}

static inline void world_done(World *world)
{
    world_remove(world);
    world_close(world);
}

static inline TableOptions world_options(const World *world)
{
    return (TableOptions){.spec = &world->spec,
                          .unit = "retail/orders",
                          .source = world->source,
                          .create = true,
                          .catalog = world->catalog,
                          .warehouse = world->warehouse,
                          .memory_bytes_max = world->memory_bytes_max};
}

static inline Table *world_open(const World *world)
{
    TableOptions options = world_options(world);
    Table *table;
    OK((table = table_open(&options, &err)));
    return table;
}

static inline int64_t world_snapshot(Table *table)
{
    RowPosition at;
    int64_t snapshot;
    claim_of(table, &at, &snapshot);
    return snapshot;
}

static inline Position world_position(uint64_t major)
{
    return (Position){.source = "postgresql/7/1/firn", .at = {.major = major}};
}

static inline IcebergTable *world_load(const World *world)
{
    AUTO(mem_free) char *location = mem_format("%s/lake/orders", world->warehouse);
    TableName name = {.database = "lake", .table = "orders", .location = location};
    IcebergTable *loaded = NULL;
    OK(iceberg_table_load(world->catalog, &name, &loaded, &err));
    assert_non_null(loaded);
    return loaded;
}

/* ---------- the head, row by row ---------- */
typedef struct HeadFile {
    char *path;
    uint64_t rows;
    int64_t sequence_number, first_row_id;
    roaring_bitmap_t *deleted;
    roaring_bitmap_t *vector; /* goes before position deletes, and holds them too; NULL: none */
} HeadFile;

typedef struct Head {
    const World *world;
    HeadFile *files;
    size_t file_count;
    size_t delete_file_count;
    size_t vector_count;
    uint64_t rows; /* live */
} Head;

/* row_id: -1 in v2. */
typedef void EachRow(const Batch *batch, uint32_t row, int64_t row_id, void *context);

static inline HeadFile *head_find(Head *head, const char *path, size_t bytes)
{
    for (size_t i = 0; i < head->file_count; i++)
        if (strlen(head->files[i].path) == bytes && memcmp(head->files[i].path, path, bytes) == 0)
            return &head->files[i];
    return NULL;
}

static inline void head_mark(HeadFile *file, uint64_t position)
{
    assert_true(position < file->rows);
    assert_false(roaring_bitmap_contains(file->deleted, (uint32_t)position)); /* never twice */
    roaring_bitmap_add(file->deleted, (uint32_t)position);
}

static inline void head_positions(Head *head, const DataFile *file)
{
    AUTO(schema_free) Schema *schema = schema_new(2, 0);
    schema->fields[0] = world_field("file_path", (Type){.kind = TYPE_STRING}, true);
    schema->fields[0].id = ICEBERG_POS_DELETE_PATH_FIELD;
    schema->fields[1] = world_field("pos", (Type){.kind = TYPE_INT64}, true);
    schema->fields[1].id = ICEBERG_POS_DELETE_POS_FIELD;
    StoreReader *object;
    ParquetReader *reader;
    OK((object = store_reader_open(head->world->store, file->path, &err)));
    OK((reader = parquet_reader_open(object, schema, &err)));
    char last[512] = "";
    int64_t last_position = -1;
    for (;;) {
        Batch *batch;
        OK(parquet_reader_next(reader, &batch, &err));
        if (!batch)
            break;
        for (uint32_t row = 0; row < batch->row_count; row++) {
            uint32_t bytes;
            const uint8_t *path = column_bytes(&batch->columns[0], row, &bytes);
            char text[512];
            snprintf(text, sizeof text, "%.*s", (int)bytes, (const char *)path);
            int64_t position = column_i64(&batch->columns[1], row);
            int order = strcmp(last, text);
            assert_true(order < 0 || (order == 0 && last_position < position)); /* sorted */
            if (file->referenced_data_file)
                assert_string_equal(file->referenced_data_file, text);
            strcpy(last, text);
            last_position = position;
            HeadFile *data = head_find(head, text, bytes);
            if (data)
                head_mark(data, (uint64_t)position);
        }
        batch_free(batch);
    }
    parquet_reader_free(reader);
}

static inline bool head_file(const DataFile *file, void *context, Error *failure)
{
    (void)failure;
    Head *head = context;
    if (file->content == FILE_DATA) {
        head->files = mem_regrow(head->files, head->file_count + 1, sizeof *head->files);
        head->files[head->file_count++] = (HeadFile){.path = mem_strdup(file->path),
                                                     .rows = file->record_count,
                                                     .sequence_number = file->sequence_number,
                                                     .first_row_id = file->first_row_id,
                                                     .deleted = roaring_bitmap_create()};
        return true;
    }
    head->delete_file_count++;
    assert_int_equal(file->content, FILE_POSITION_DELETES);
    if (file->format == FORMAT_PUFFIN) {
        HeadFile *data =
            head_find(head, file->referenced_data_file, strlen(file->referenced_data_file));
        assert_non_null(data);
        assert_null(data->vector); /* one per file */
        OK(puffin_read_vector(head->world->store, file, &data->vector, &err));
        assert_true(roaring_bitmap_get_cardinality(data->vector) < data->rows);
        head->vector_count++;
    } else {
        head_positions(head, file);
    }
    return true;
}

static inline void head_read(Head *head, const HeadFile *file, const Schema *wanted, EachRow *each,
                             void *context)
{
    StoreReader *object;
    ParquetReader *reader;
    OK((object = store_reader_open(head->world->store, file->path, &err)));
    OK((reader = parquet_reader_open(object, wanted, &err)));
    uint32_t at = 0;
    const uint32_t last = (uint32_t)wanted->field_count - 1;
    for (;;) {
        Batch *batch;
        OK(parquet_reader_next(reader, &batch, &err));
        if (!batch)
            break;
        for (uint32_t row = 0; row < batch->row_count; row++, at++) {
            if (roaring_bitmap_contains(file->deleted, at))
                continue;
            assert_true(column_is_null(&batch->columns[last], row)); /* sequence number inherits */
            const Column *row_ids = &batch->columns[last - 1];
            int64_t row_id = -1;
            if (head->world->spec.format_version >= 3)
                row_id = column_is_null(row_ids, row) ? file->first_row_id + at
                                                      : column_i64(row_ids, row);
            head->rows++;
            each(batch, row, row_id, context);
        }
        batch_free(batch);
    }
    assert_int_equal(at, file->rows);
    parquet_reader_free(reader);
}

/* Calls each for every live row of the head; the figures are in *ret until head_done. */
static inline void head_rows(const World *world, Head *ret, EachRow *each, void *context)
{
    *ret = (Head){.world = world};
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(world);
    OK(iceberg_each_file(loaded, head_file, ret, &err));
    const Schema *schema = iceberg_schema(loaded);
    AUTO(schema_free) Schema *wanted = schema_new(schema->field_count + 2, 0);
    for (size_t i = 0; i < schema->field_count; i++)
        field_copy(&wanted->fields[i], &schema->fields[i]);
    Field *own = &wanted->fields[schema->field_count];
    own[0] = world_field("_row_id", (Type){.kind = TYPE_INT64}, false);
    own[0].id = ICEBERG_ROW_ID_FIELD;
    own[1] = world_field("_last_updated_sequence_number", (Type){.kind = TYPE_INT64}, false);
    own[1].id = ICEBERG_LAST_UPDATED_SEQ_FIELD;
    for (size_t i = 0; i < ret->file_count; i++) {
        HeadFile *file = &ret->files[i];
        if (!file->vector)
            continue;
        /* what is deleted stays so: position deletes count no more beside it */
        assert_true(roaring_bitmap_is_subset(file->deleted, file->vector));
        roaring_bitmap_free(file->deleted);
        file->deleted = TAKE(file->vector);
    }
    for (size_t i = 0; i < ret->file_count; i++)
        head_read(ret, &ret->files[i], wanted, each, context);
}

static inline void head_done(Head *head)
{
    for (size_t i = 0; i < head->file_count; i++) {
        free(head->files[i].path);
        roaring_bitmap_free(head->files[i].deleted);
    }
    free(head->files);
}

/* A repeatable sequence, whatever the library. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
