/* links: firn_table */
/* What is refused, and what it says: at open, and when others were at the table. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/table/world.h"

static void expect_refusal(const World *world, ErrorKind kind, const char *code, const char *names)
{
    TableOptions options = world_options(world);
    Error refusal = {0};
    AUTO(table_close) Table *table = table_open(&options, &refusal);
    assert_null(table);
    assert_int_equal(refusal.kind, kind);
    assert_string_equal(refusal.code, code);
    if (!strstr(refusal.message, names))
        fail_msg("'%s' doesn't name %s", refusal.message, names);
}

/* count rows with ids from first on. */
static Batch *rows_of(const World *world, RowOp op, int64_t first, uint32_t count, uint64_t major)
{
    Batch *batch = batch_new(world->source, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        batch_row_begin(batch, op, (RowPosition){major, i + 1});
        column_put_i64(batch, &batch->columns[0], first + i);
        for (int column = 1; column < 4; column++)
            column_put_null(batch, &batch->columns[column]);
    }
    return batch;
}

static void put_and_commit(const World *world, Table *table, int64_t first, uint64_t major)
{
    AUTO(batch_free) Batch *batch = rows_of(world, ROW_INSERT, first, 10, major);
    Position position = world_position(major + 1);
    OK(table_put(table, batch, &err));
    OK(commit_now(table, &position, &err));
}

static void count_row(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)batch, (void)row, (void)row_id;
    ++*(size_t *)context;
}

static size_t count_rows(const World *world)
{
    Head head;
    size_t count = 0;
    head_rows(world, &head, count_row, &count);
    head_done(&head);
    return count;
}

static size_t count_data_objects(const World *world)
{
    return world_count(world, (const char *const[]){"/data/", NULL});
}

static void test_other_partitions(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, "bucket(4, id)");
    table_close(world_open(&world));
    table_close(world_open(&world)); /* declared as it is */
    TextList declared = world.spec.partition_by;
    char eight[] = "bucket(8, id)", region[] = "region", four[] = "bucket( 4, id )";
    char *const others[] = {eight, region};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        world.spec.partition_by = (TextList){.texts = (char *[]){others[i]}, .count = 1};
        expect_refusal(&world, ERROR_CONFIG, "PartitionMismatch", "[\"bucket(4, id)\"]");
    }
    world.spec.partition_by = (TextList){.texts = (char *[]){four, region}, .count = 2};
    expect_refusal(&world, ERROR_CONFIG, "PartitionMismatch", "[\"bucket(4, id)\"]");
    world.spec.partition_by.count = 1;
    table_close(world_open(&world));
    world.spec.partition_by = (TextList){0}; /* nothing is declared: the table's own */
    table_close(world_open(&world));
    world.spec.partition_by = declared;
    world_done(&world);
}

static void test_refused_at_open(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    world.source->key_count = 0;
    expect_refusal(&world, ERROR_CONFIG, "NoKey", "orders");
    world.source->key_count = 1;
    char name[] = "idd";
    world.spec.id_columns = (TextList){.texts = (char *[]){name}, .count = 1};
    expect_refusal(&world, ERROR_CONFIG, "UnknownColumn", "idd");
    world.spec.id_columns = (TextList){0};

    Table *table = world_open(&world);
    assert_int_equal(world_snapshot(table), 0);
    put_and_commit(&world, table, 1, 100);
    assert_true(world_snapshot(table) > 0);
    table_close(table);

    world.source->fields[1].type.kind = TYPE_INT64;
    expect_refusal(&world, ERROR_CONFIG, "SchemaMismatch", "region: type long in the source, int");
    world.source->fields[1].type.kind = TYPE_INT32;
    world.source->fields[2].name[0] = 'N';
    expect_refusal(&world, ERROR_CONFIG, "SchemaMismatch", "Name");
    world.source->fields[2].name[0] = 'n';
    world.spec.mode = MODE_APPEND;
    expect_refusal(&world, ERROR_CONFIG, "SchemaMismatch", "_firn_op");
    world.spec.mode = MODE_UPSERT;

    /* Another unit: its copy would replace what is there. */
    TableOptions options = world_options(&world);
    options.unit = "retail/other";
    Error refusal = {0};
    assert_null(table_open(&options, &refusal));
    assert_string_equal(refusal.code, "TableTaken");

    table_close(world_open(&world)); /* all is well again */
    world.spec.format_version = 3;
    table_close(world_open(&world));
    world.spec.format_version = 2;
    expect_refusal(&world, ERROR_CONFIG, "FormatVersion", "formatVersion: 3");
    world_done(&world);
}

static void set_position(const World *world, const char *value)
{
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(world);
    const char *properties[] = {"firn.position.retail/orders", value};
    IcebergCommit commit = {.properties = properties, .property_count = 1};
    int64_t snapshot;
    OK(commit_once(loaded, &commit, &snapshot, &err));
}

/* What an engine's rollback does: an older snapshot is the head, the younger one stays known. */
static void roll_back_to(const World *world, int64_t snapshot)
{
    AUTO(mem_free) char *location = mem_format("%s/lake/orders", world->warehouse);
    TableName name = {.database = "lake", .table = "orders", .location = location};
    CatalogEntry entry;
    OK(catalog_load(world->catalog, &name, &entry, &err));
    json_t *metadata = json_loadb((const char *)entry.metadata.data, entry.metadata.used, 0, NULL);
    assert_non_null(metadata);
    json_object_set_new(metadata, "current-snapshot-id", json_integer(snapshot));
    json_t *main_ref = json_object_get(json_object_get(metadata, "refs"), "main");
    assert_int_equal(json_object_set_new(main_ref, "snapshot-id", json_integer(snapshot)), 0);
    char *text = json_dumps(metadata, 0);
    CatalogEntry now;
    CatalogChange it = {.base = &entry, .metadata = text, .metadata_bytes = strlen(text)};
    OK(catalog_commit(world->catalog, &name, &it, &now, &err));
    catalog_entry_done(&now);
    free(text);
    json_decref(metadata);
    catalog_entry_done(&entry);
}

static void test_rolled_back(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    put_and_commit(&world, table, 1, 100);
    int64_t first = world_snapshot(table);
    put_and_commit(&world, table, 11, 200);
    int64_t second = world_snapshot(table);
    assert_true(first != second);
    table_close(table);
    roll_back_to(&world, first);
    TableView view;
    table = world_open(&world);
    table_view(table, 0, second, &view);
    assert_true(view.has_claim && !view.is_ancestor);
    assert_true(view.snapshot == second && view.head == first && view.foreign == FOREIGN_REWROTE);
    roll_back_to(&world, second);
    OK(table_look(table, second, first, &view, &err));
    assert_true(view.is_ancestor && view.ours_found && view.foreign == FOREIGN_APPENDED);
    table_close(table);
    set_position(&world, "somewhere");
    expect_refusal(&world, ERROR_CONFIG, "BadPosition", "somewhere");
    world_done(&world);
}

/* Two writers: the second to commit is refused, its files are deleted; opened again, it goes on. */
static void foreign_commit(int format_version)
{
    World world;
    world_init(&world, format_version, MODE_UPSERT, NULL);
    Table *first = world_open(&world);
    put_and_commit(&world, first, 1, 100);
    Table *second = world_open(&world);
    AUTO(batch_free) Batch *pending = rows_of(&world, ROW_UPDATE, 5, 20, 200);
    OK(table_put(second, pending, &err));
    put_and_commit(&world, first, 101, 200);
    size_t objects = count_data_objects(&world);
    Error refusal = {0};
    Position position = world_position(300);
    assert_false(commit_now(second, &position, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFLICT);
    assert_string_equal(refusal.code, "CommitConflict");
    assert_int_equal(count_data_objects(&world), objects);
    assert_false(table_put(second, pending, &refusal));
    assert_int_equal(refusal.kind, ERROR_RETRY);
    table_close(second);
    table_close(first);
    assert_int_equal(count_rows(&world), 20);
    second = world_open(&world);
    RowPosition at;
    int64_t snapshot;
    claim_of(second, &at, &snapshot);
    assert_int_equal(at.major, 201);
    put_and_commit(&world, second, 201, 400);
    assert_int_equal(count_rows(&world), 30);
    table_close(second);
    world_done(&world);
}

static void test_foreign_commit(void **state)
{
    (void)state;
    foreign_commit(2);
    foreign_commit(3);
}

static void test_dropped(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    AUTO(table_close) Table *table = world_open(&world);
    put_and_commit(&world, table, 1, 100);
    AUTO(mem_free) char *location = mem_format("%s/lake/orders", world.warehouse);
    TableName name = {.database = "lake", .table = "orders", .location = location};
    AUTO(batch_free) Batch *batch = rows_of(&world, ROW_INSERT, 50, 10, 200);
    OK(table_put(table, batch, &err));
    OK(catalog_drop(world.catalog, &name, true, &err));
    Error refusal = {0};
    Position position = world_position(300);
    assert_false(commit_now(table, &position, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFIG);
    assert_string_equal(refusal.code, "TableDropped");
    table_close(TAKE(table));
    world_done(&world);
}

/* A file without a live row leaves the table; what was never committed leaves the store. */
static void dead_files(int format_version)
{
    World world;
    world_init(&world, format_version, MODE_UPSERT, NULL);
    AUTO(table_close) Table *table = world_open(&world);
    put_and_commit(&world, table, 1, 100);
    put_and_commit(&world, table, 11, 200);
    AUTO(batch_free) Batch *gone = rows_of(&world, ROW_DELETE, 1, 12, 300);
    OK(table_put(table, gone, &err));
    Position position = world_position(301);
    OK(commit_now(table, &position, &err));
    Head head;
    size_t count = 0;
    head_rows(&world, &head, count_row, &count);
    assert_int_equal(count, 8);
    assert_int_equal(head.file_count, 1);
    assert_int_equal(head.delete_file_count, 1);
    head_done(&head);

    size_t objects = count_data_objects(&world);
    AUTO(batch_free) Batch *made = rows_of(&world, ROW_INSERT, 100, 10, 400);
    AUTO(batch_free) Batch *unmade = rows_of(&world, ROW_DELETE, 100, 10, 401);
    OK(table_put(table, made, &err));
    OK(table_put(table, unmade, &err));
    position = world_position(402);
    OK(commit_now(table, &position, &err));
    assert_int_equal(count_data_objects(&world), objects);
    assert_int_equal(count_rows(&world), 8);
    RowPosition at;
    int64_t snapshot;
    claim_of(table, &at, &snapshot);
    assert_int_equal(at.major, 402);
    table_close(TAKE(table));
    world_done(&world);
}

static void test_dead_files(void **state)
{
    (void)state;
    dead_files(2);
    dead_files(3);
}

/* Somebody else's equality deletes: named, not ignored. */
static void test_equality_deletes(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    put_and_commit(&world, table, 1, 100);
    table_close(table);
    IcebergTable *loaded = world_load(&world);
    DataFile deletes = {.content = FILE_EQUALITY_DELETES,
                        .format = FORMAT_PARQUET,
                        .path = iceberg_new_file_uri(loaded, "", "-equality.parquet"),
                        .record_count = 1,
                        .file_bytes = 100,
                        .first_row_id = -1,
                        .content_offset = -1};
    AUTO(mem_free) char *path = mem_strdup(deletes.path);
    IcebergCommit commit = {.added = &deletes, .added_count = 1};
    int64_t snapshot;
    OK(commit_once(loaded, &commit, &snapshot, &err));
    data_file_done(&deletes);
    iceberg_table_free(loaded);

    table = world_open(&world);
    AUTO(batch_free) Batch *batch = rows_of(&world, ROW_UPDATE, 1, 1, 200);
    Error refusal = {0};
    assert_false(table_put(table, batch, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFIG);
    assert_string_equal(refusal.code, "EqualityDeletes");
    assert_non_null(strstr(refusal.message, path));
    table_close(table);
    world_done(&world);
}

static void test_empty_copy(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    TableCopy *copy;
    copy = table_copy_start(table);
    Position position = world_position(500);
    OK(commit_copy_now(TAKE(copy), table, &position, &err));
    table_copy_free(copy);
    table_close(table);
    table = world_open(&world);
    RowPosition at;
    int64_t snapshot;
    assert_true(claim_of(table, &at, &snapshot));
    assert_int_equal(at.major, 500);
    table_close(table);
    world_done(&world);
}

static void check_reordered(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)row_id;
    ++*(size_t *)context;
    int64_t id = column_i64(&batch->columns[0], row);
    bool changed = id >= 5;
    assert_int_equal(column_is_null(&batch->columns[1], row), !changed);
    assert_int_equal(column_is_null(&batch->columns[2], row), !changed);
    if (changed) {
        uint32_t bytes;
        const uint8_t *name = column_bytes(&batch->columns[2], row, &bytes);
        assert_int_equal(column_i32(&batch->columns[1], row), 42);
        assert_memory_equal(name, "new name", bytes);
    }
    assert_true(column_is_null(&batch->columns[3], row));
}

/* The source's columns come in another order than the table's, and one is gone. */
static void reordered(int format_version)
{
    World world;
    world_init(&world, format_version, MODE_UPSERT, NULL);
    Table *table = world_open(&world);
    put_and_commit(&world, table, 1, 100);
    table_close(table);

    Schema *before = world.source;
    world.source = schema_new(3, 1);
    world.source->fields[0] = world_field("name", (Type){.kind = TYPE_STRING}, false);
    world.source->fields[1] = world_field("region", (Type){.kind = TYPE_INT32}, false);
    world.source->fields[2] = world_field("id", (Type){.kind = TYPE_INT64}, true);
    world.source->key[0] = 2;
    table = world_open(&world);
    AUTO(batch_free) Batch *batch = batch_new(world.source, 0, 10);
    for (int64_t id = 5; id < 15; id++) {
        batch_row_begin(batch, ROW_UPDATE, (RowPosition){200, (uint64_t)id});
        column_put_bytes(batch, &batch->columns[0], "new name", 8);
        column_put_i32(batch, &batch->columns[1], 42);
        column_put_i64(batch, &batch->columns[2], id);
    }
    OK(table_put(table, batch, &err));
    Position position = world_position(201);
    OK(commit_now(table, &position, &err));
    Head head;
    size_t count = 0;
    head_rows(&world, &head, check_reordered, &count);
    assert_int_equal(count, 14);
    head_done(&head);
    table_close(table);
    schema_free(before);
    world_done(&world);
}

static void test_reordered(void **state)
{
    (void)state;
    reordered(2);
    reordered(3);
}

/* Two units begin with one empty table at once: who claims it first has it, though no row of his is
 * there yet. */
static void test_taken(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, "region");
    TableOptions others = world_options(&world);
    others.unit = "retail/other";
    AUTO(table_close) Table *table = world_open(&world);
    Table *other;
    OK((other = table_open(&others, &err)));
    const Position position = world_position(100);
    OK(commit_now(other, &position, &err));
    assert_int_equal(count_rows(&world), 0);

    AUTO(batch_free) Batch *batch = rows_of(&world, ROW_INSERT, 1, 10, 100);
    OK(table_put(table, batch, &err));
    Error refusal = {0};
    assert_false(commit_now(table, &position, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFLICT);
    TableView view = {0};
    assert_false(table_look(table, 0, 0, &view, &refusal));
    assert_string_equal(refusal.code, "TableTaken");
    assert_int_equal(count_rows(&world), 0);
    expect_refusal(&world, ERROR_CONFIG, "TableTaken", "filled by retail/other");

    const Position next = world_position(200);
    OK(commit_now(other, &next, &err));
    table_close(other);
    OK((other = table_open(&others, &err)));
    table_close(other);
    world_done(&world);
}

/* A copy that ends before its commit leaves nothing. */
static void test_abandoned_copy(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_UPSERT, "region");
    Table *table = world_open(&world);
    TableCopy *copy;
    copy = table_copy_start(table);
    for (int i = 0; i < 2; i++) {
        AUTO(table_copy_writer_free) TableCopyWriter *writer = NULL;
        OK((writer = table_copy_writer_open(copy, &err)));
        AUTO(batch_free) Batch *batch = rows_of(&world, ROW_READ, i * 100, 50, 0);
        OK(table_copy_put(writer, batch, &err));
        if (i == 0)
            OK(table_copy_finish(writer, &err));
    }
    assert_int_equal(count_data_objects(&world), 1);
    table_copy_free(copy);
    assert_int_equal(count_data_objects(&world), 0);
    RowPosition at;
    int64_t snapshot;
    assert_false(claim_of(table, &at, &snapshot));
    table_close(table);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_at_open), cmocka_unit_test(test_other_partitions),
        cmocka_unit_test(test_rolled_back),     cmocka_unit_test(test_foreign_commit),
        cmocka_unit_test(test_dropped),         cmocka_unit_test(test_dead_files),
        cmocka_unit_test(test_empty_copy),      cmocka_unit_test(test_abandoned_copy),
        cmocka_unit_test(test_reordered),       cmocka_unit_test(test_equality_deletes),
        cmocka_unit_test(test_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
