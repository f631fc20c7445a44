/* links: firn_table */
/* What others put into a table that an Upsert can't go on from: named with the file and the way
 * out, before anything is written; and a mode that this version has not. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/table/world.h"

/* A row of this id, of the position (major, 1). */
static Batch *row_of(const World *world, int64_t id, uint64_t major)
{
    Batch *batch = batch_new(world->source, 0, 1);
    batch_row_begin(batch, ROW_INSERT, (RowPosition){major, 1});
    column_put_i64(batch, &batch->columns[0], id);
    for (int column = 1; column < 4; column++)
        column_put_null(batch, &batch->columns[column]);
    return batch;
}

/* The table with the row 1 in it, closed. */
static void with_a_row(World *world, int format_version)
{
    world_init(world, format_version, MODE_UPSERT, NULL);
    AUTO(table_close) Table *table = world_open(world);
    AUTO(batch_free) Batch *batch = row_of(world, 1, 100);
    Position position = world_position(101);
    OK(table_put(table, batch, &err));
    OK(commit_now(table, &position, &err));
}

typedef struct DataPath {
    char *path;
    uint64_t bytes;
} DataPath;

static bool take_path(const DataFile *file, void *context, Error *failure)
{
    (void)failure;
    DataPath *found = context;
    assert_int_equal(file->content, FILE_DATA);
    assert_null(found->path);
    *found = (DataPath){mem_strdup(file->path), file->file_bytes};
    return true;
}

/* As somebody else's commit. */
static void add(IcebergTable *loaded, DataFile *file)
{
    IcebergCommit commit = {.added = file, .added_count = 1};
    int64_t snapshot;
    OK(commit_once(loaded, &commit, &snapshot, &err));
}

/* A change is refused, nothing of it is committed, and the table's position stays. */
static void expect(const World *world, ErrorKind kind, const char *code, const char *names)
{
    AUTO(iceberg_table_free) IcebergTable *before = world_load(world);
    AUTO(table_close) Table *table = world_open(world);
    AUTO(batch_free) Batch *batch = row_of(world, 2, 200);
    Error refusal = {0};
    assert_false(table_put(table, batch, &refusal));
    assert_int_equal(refusal.kind, kind);
    assert_string_equal(refusal.code, code);
    if (!strstr(refusal.message, names))
        fail_msg("'%s' doesn't name %s", refusal.message, names);
    bool changed;
    OK(iceberg_table_refresh(before, &changed, &err));
    assert_false(changed);
    RowPosition at;
    int64_t snapshot;
    assert_true(claim_of(table, &at, &snapshot));
    assert_int_equal(at.major, 101);
}

/* A file of somebody else's that is not there: what the manifest says of it is enough. */
static void refused_file(DataFile file, const char *code)
{
    World world;
    with_a_row(&world, 2);
    IcebergTable *loaded = world_load(&world);
    file.path = iceberg_new_file_uri(loaded, "", "-foreign");
    file.file_bytes = 100;
    file.first_row_id = -1;
    file.content_offset = -1;
    AUTO(mem_free) char *path = mem_strdup(file.path);
    add(loaded, &file);
    data_file_done(&file);
    iceberg_table_free(loaded);
    expect(&world, ERROR_CONFIG, code, path);
    world_done(&world);
}

static void foreign_formats(void **state)
{
    (void)state;
    refused_file((DataFile){.format = FORMAT_OTHER, .record_count = 1}, "ForeignFormat");
    refused_file(
        (DataFile){.content = FILE_POSITION_DELETES, .format = FORMAT_OTHER, .record_count = 1},
        "ForeignFormat");
}

static void too_large(void **state)
{
    (void)state;
    refused_file((DataFile){.format = FORMAT_PARQUET, .record_count = UINT32_MAX}, "FileTooLarge");
}

/* A file whose rows are in the table already, as an append that was made twice leaves it. */
static void duplicate(int format_version)
{
    World world;
    with_a_row(&world, format_version);
    IcebergTable *loaded = world_load(&world);
    DataPath first = {0};
    OK(iceberg_each_file(loaded, take_path, &first, &err));
    assert_non_null(first.path);
    DataFile again = {.format = FORMAT_PARQUET,
                      .path = iceberg_new_file_uri(loaded, "", "-again.parquet"),
                      .record_count = 1,
                      .file_bytes = first.bytes,
                      .first_row_id = -1,
                      .content_offset = -1};
    Bytes bytes = {0};
    OK(store_get(world.store, first.path, first.bytes, &bytes, &err));
    OK(store_put(world.store, again.path, bytes.data, bytes.used, &err));
    bytes_done(&bytes);
    AUTO(mem_free) char *path = mem_strdup(again.path);
    add(loaded, &again);
    data_file_done(&again);
    iceberg_table_free(loaded);
    expect(&world, ERROR_CONFIG, "DuplicateKey", path);
    expect(&world, ERROR_CONFIG, "DuplicateKey", first.path);
    free(first.path);
    world_done(&world);
}

static void duplicate_key(void **state)
{
    (void)state;
    duplicate(2);
    duplicate(3);
}

/* Position deletes of a row that the file does not have. */
static void delete_past_the_end(void **state)
{
    (void)state;
    World world;
    with_a_row(&world, 2);
    IcebergTable *loaded = world_load(&world);
    DataPath of = {0};
    OK(iceberg_each_file(loaded, take_path, &of, &err));
    AUTO(schema_free) Schema *schema = schema_new(2, 0);
    schema->fields[0] = world_field("file_path", (Type){.kind = TYPE_STRING}, true);
    schema->fields[0].id = ICEBERG_POS_DELETE_PATH_FIELD;
    schema->fields[1] = world_field("pos", (Type){.kind = TYPE_INT64}, true);
    schema->fields[1].id = ICEBERG_POS_DELETE_POS_FIELD;
    AUTO(batch_free) Batch *rows = batch_new(schema, 0, 1);
    batch_row_begin(rows, ROW_READ, (RowPosition){0});
    column_put_bytes(rows, &rows->columns[0], of.path, strlen(of.path));
    column_put_i64(rows, &rows->columns[1], 1); /* it has one row, number 0 */
    DataFile deletes = {.content = FILE_POSITION_DELETES,
                        .format = FORMAT_PARQUET,
                        .path = iceberg_new_file_uri(loaded, "", "-deletes.parquet"),
                        .record_count = 1,
                        .first_row_id = -1,
                        .content_offset = -1};
    StoreWriter *sink;
    OK((sink = store_create(world.store, deletes.path, &err)));
    ParquetOptions options;
    parquet_options_default(&options);
    ParquetWriter *writer;
    OK((writer = parquet_writer_open(schema, &options, sink, &err)));
    const Column *columns[] = {&rows->columns[0], &rows->columns[1]};
    const uint32_t row = 0;
    ParquetFileInfo info;
    OK(parquet_writer_put(writer, columns, &row, 1, &err));
    OK(parquet_writer_finish(writer, &info, &err));
    deletes.file_bytes = info.bytes;
    parquet_file_info_done(&info);
    parquet_writer_free(writer);
    add(loaded, &deletes);
    data_file_done(&deletes);
    iceberg_table_free(loaded);
    expect(&world, ERROR_DATA, "BadDelete", of.path);
    free(of.path);
    world_done(&world);
}

/* A manifest that asks for one is refused before; whoever opens a table otherwise hears of it. */
static void other_modes(void **state)
{
    (void)state;
    static const TableMode modes[] = {MODE_TRUNCATE_LOAD, MODE_SCD2};
    World world;
    with_a_row(&world, 2);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        world.spec.mode = modes[i];
        TableOptions options = world_options(&world);
        Error refusal = {0};
        assert_null(table_open(&options, &refusal));
        assert_int_equal(refusal.kind, ERROR_CONFIG);
        assert_string_equal(refusal.code, "ModeUnsupported");
        assert_non_null(strstr(refusal.message, "lake.orders"));
    }
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_formats), cmocka_unit_test(too_large),
        cmocka_unit_test(duplicate_key),   cmocka_unit_test(delete_past_the_end),
        cmocka_unit_test(other_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
