/* links: firn_table */
/* A table of v2 whose resource asks for v3: raised in place by whoever commits, once; what becomes
 * of rows, row ids and position deletes; and when it is not raised. test_upsert.c has the model. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/table/deaf.h"
#include "tests/unit/table/world.h"

#define PROPERTY "firn.position.retail/orders"

/* Rows of the ids: region is the transaction's number. */
static void put_ids(const World *world, Table *table, RowOp op, const int64_t *ids, uint32_t count,
                    uint64_t major)
{
    AUTO(batch_free) Batch *batch = batch_new(world->source, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        batch_row_begin(batch, op, (RowPosition){major, i + 1});
        column_put_i64(batch, &batch->columns[0], ids[i]);
        column_put_i32(batch, &batch->columns[1], (int32_t)major);
        column_put_null(batch, &batch->columns[2]);
        column_put_null(batch, &batch->columns[3]);
    }
    OK(table_put(table, batch, &err));
}

static void commit_at(Table *table, uint64_t major)
{
    Position position = world_position(major);
    OK(commit_now(table, &position, &err));
}

#define IDS(...) (const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

/* Ids 1-4 in one file, 5-8 in another, and one delete file that names rows of both. */
static void make_v2(World *world)
{
    world_init(world, 2, MODE_UPSERT, NULL);
    Table *table = world_open(world);
    put_ids(world, table, ROW_INSERT, IDS(1, 2, 3, 4), 100);
    commit_at(table, 101);
    put_ids(world, table, ROW_INSERT, IDS(5, 6, 7, 8), 110);
    commit_at(table, 111);
    put_ids(world, table, ROW_DELETE, IDS(1, 5), 120);
    commit_at(table, 121);
    table_close(table);
    world->spec.format_version = 3;
}

typedef struct Rows {
    int32_t regions[20]; /* by id; 0: no such row */
    int64_t row_ids[20];
    size_t count;
} Rows;

static void see(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    Rows *rows = context;
    int64_t id = column_i64(&batch->columns[0], row);
    assert_in_range(id, 0, 19);
    assert_int_equal(rows->regions[id], 0);
    assert_true(row_id >= 0);
    for (int other = 0; other < 20; other++)
        assert_true(!rows->regions[other] || rows->row_ids[other] != row_id);
    rows->regions[id] = column_i32(&batch->columns[1], row);
    rows->row_ids[id] = row_id;
    rows->count++;
}

/* The head's; *ret_positions, *ret_vectors: its delete files. */
static Rows look(const World *world, size_t *ret_positions, size_t *ret_vectors)
{
    Rows rows = {0};
    Head head;
    head_rows(world, &head, see, &rows);
    *ret_vectors = head.vector_count;
    *ret_positions = head.delete_file_count - head.vector_count;
    head_done(&head);
    return rows;
}

static int version_of(const World *world)
{
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(world);
    return iceberg_format_version(loaded);
}

static int64_t head_of(const World *world)
{
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(world);
    return iceberg_current_snapshot(loaded);
}

/* Files of rows, and manifests with their lists. */
static size_t count_objects(const World *world)
{
    return world_count(world, (const char *const[]){".avro", "/data/", NULL});
}

static void test_in_place(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    make_v2(&world);
    AUTO(iceberg_table_free) IcebergTable *before = world_load(&world);
    int64_t old_head = iceberg_current_snapshot(before);
    Table *table = world_open(&world);
    assert_int_equal(table_raised_from(table), 2);
    AUTO(iceberg_table_free) IcebergTable *now = world_load(&world);
    int64_t head = iceberg_current_snapshot(now);
    assert_int_equal(iceberg_format_version(now), 3);
    assert_true(head != old_head && iceberg_is_ancestor(now, old_head));
    assert_int_equal(iceberg_foreign(now, old_head), ICEBERG_FILES_ADDED);
    /* what is claimed stays as it was, and the snapshot says so */
    assert_string_equal(iceberg_property(now, PROPERTY), iceberg_property(before, PROPERTY));
    assert_string_equal(iceberg_snapshot_summary(now, head, PROPERTY),
                        iceberg_snapshot_summary(before, old_head, PROPERTY));
    static const char *const same[] = {"total-records", "total-data-files", "total-delete-files",
                                       "total-position-deletes"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_string_equal(iceberg_snapshot_summary(now, head, same[i]),
                            iceberg_snapshot_summary(before, old_head, same[i]));
    const json_t *metadata = iceberg_metadata(now);
    assert_int_equal(json_integer_value(json_object_get(metadata, "next-row-id")), 8);
    const json_t *snapshots = json_object_get(metadata, "snapshots"), *snapshot;
    size_t i;
    json_array_foreach(snapshots, i, snapshot)
    {
        bool newest = i + 1 == json_array_size(snapshots);
        assert_int_equal(json_object_get(snapshot, "first-row-id") != NULL, newest);
        if (newest)
            assert_int_equal(json_integer_value(json_object_get(snapshot, "added-rows")), 8);
    }
    Rows first = look(&world, &positions, &vectors);
    assert_int_equal(first.count, 6);
    assert_int_equal(positions, 1);
    table_close(table);
    table = world_open(&world); /* once */
    assert_int_equal(table_raised_from(table), 0);
    assert_int_equal(head_of(&world), head);
    table_close(table);
    world_done(&world);
}

/* A vector tells of its file's old deletes, too; the delete file goes when each of its files has
 * one, or is gone. Half of it by a process that finds the first vector there. */
static void old_deletes(bool reopens, bool file_goes)
{
    World world;
    size_t positions, vectors;
    make_v2(&world);
    Table *table = world_open(&world);
    Rows first = look(&world, &positions, &vectors);
    put_ids(&world, table, ROW_UPDATE, IDS(2), 200);
    put_ids(&world, table, ROW_INSERT, IDS(9), 201);
    commit_at(table, 202);
    Rows second = look(&world, &positions, &vectors);
    assert_int_equal(second.count, 7);
    assert_int_equal(positions, 1);
    assert_int_equal(vectors, 1);
    assert_int_equal(second.regions[2], 200);
    for (int id = 2; id < 9; id++) /* an update keeps it, too */
        assert_int_equal(second.row_ids[id], first.row_ids[id]);
    if (reopens) {
        table_close(table);
        table = world_open(&world);
    }
    if (file_goes)
        put_ids(&world, table, ROW_DELETE, IDS(6, 7, 8), 210);
    else
        put_ids(&world, table, ROW_DELETE, IDS(6), 210);
    commit_at(table, 211);
    Rows third = look(&world, &positions, &vectors);
    assert_int_equal(third.count, file_goes ? 4 : 6);
    assert_int_equal(positions, 0);
    assert_int_equal(vectors, file_goes ? 1 : 2);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const char *deletes = iceberg_snapshot_summary(loaded, iceberg_current_snapshot(loaded),
                                                   "total-position-deletes");
    assert_string_equal(deletes, file_goes ? "2" : "4");
    put_ids(&world, table, ROW_UPDATE, IDS(2, 9), 220);
    commit_at(table, 221);
    Rows last = look(&world, &positions, &vectors);
    assert_int_equal(last.row_ids[2], first.row_ids[2]);
    assert_int_equal(last.row_ids[9], second.row_ids[9]);
    assert_int_equal(last.regions[9], 220);
    TableFigures figures;
    table_figures(table, &figures);
    assert_int_equal(figures.rows, last.count);
    table_close(table);
    world_done(&world);
}

static void test_old_deletes(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++)
        old_deletes(which & 1, which & 2);
}

/* The answer is lost: the next one finds it done. */
static void test_unknown(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    Error why = {0};
    make_v2(&world);
    TableOptions options = world_options(&world);
    deaf_begin(world.catalog);
    assert_null(table_open(&options, &why));
    deaf_end(world.catalog);
    assert_int_equal(why.kind, ERROR_RETRY);
    assert_string_equal(why.code, "AnswerLost");
    assert_non_null(strstr(why.message, "format version"));
    assert_int_equal(version_of(&world), 3);
    int64_t head = head_of(&world);
    Table *table = world_open(&world);
    assert_int_equal(table_raised_from(table), 0);
    assert_int_equal(head_of(&world), head);
    assert_int_equal(look(&world, &positions, &vectors).count, 6);
    table_close(table);
    world_done(&world);
}

static const CatalogDriver *real_;
static CatalogDriver refusing_;
static const World *world_;
static int refusals_;

/* Somebody else commits first. */
static bool overtaken(Catalog *catalog, const TableName *name, const CatalogChange *change,
                      CatalogEntry *ret, Error *error)
{
    catalog->driver = real_;
    AUTO(iceberg_table_free) IcebergTable *other = world_load(world_);
    IcebergCommit commit = {0};
    int64_t id;
    OK(commit_once(other, &commit, &id, &err));
    refusals_++;
    return real_->commit(catalog, name, change, ret, error);
}

/* A catalog that knows no version 3. */
static bool too_old(Catalog *catalog, const TableName *name, const CatalogChange *change,
                    CatalogEntry *ret, Error *error)
{
    (void)catalog, (void)name, (void)ret;
    char *updates = json_dumps(change->updates, JSON_COMPACT);
    refusals_ += strstr(updates, "upgrade-format-version") != NULL;
    free(updates);
    return error_set(error, ERROR_CONFIG, "CommitRefused", "unsupported format version: 3");
}

static void answer(const World *world,
                   bool (*commit)(Catalog *catalog, const TableName *name,
                                  const CatalogChange *change, CatalogEntry *ret, Error *error))
{
    world_ = world;
    real_ = world->catalog->driver;
    refusing_ = *real_;
    refusing_.commit = commit;
    world->catalog->driver = &refusing_;
    refusals_ = 0;
}

static void test_overtaken(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    Error why = {0};
    make_v2(&world);
    TableOptions options = world_options(&world);
    answer(&world, overtaken);
    assert_null(table_open(&options, &why));
    assert_int_equal(refusals_, 1);
    assert_int_equal(why.kind, ERROR_CONFLICT);
    assert_int_equal(version_of(&world), 2);
    Table *table = world_open(&world);
    assert_int_equal(table_raised_from(table), 2);
    assert_int_equal(look(&world, &positions, &vectors).count, 6);
    table_close(table);
    world_done(&world);
}

static void test_catalog_refuses(void **state)
{
    (void)state;
    World world;
    Error why = {0};
    make_v2(&world);
    int64_t head = head_of(&world);
    size_t objects = count_objects(&world);
    TableOptions options = world_options(&world);
    answer(&world, too_old);
    assert_null(table_open(&options, &why));
    world.catalog->driver = real_;
    assert_int_equal(refusals_, 1);
    assert_int_equal(why.kind, ERROR_CONFIG);
    assert_string_equal(why.code, "FormatVersion");
    assert_non_null(strstr(why.message, "unsupported format version: 3"));
    assert_non_null(strstr(why.message, "formatVersion: 2"));
    assert_int_equal(head_of(&world), head);
    assert_int_equal(count_objects(&world), objects); /* nothing is left of it */
    world_done(&world);
}

/* Who runs since before, with the old resource: it neither commits nor goes on. */
static void test_another_process(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    TableView view;
    Error why = {0};
    make_v2(&world);
    World old = world;
    old.spec.format_version = 2;
    Table *first = world_open(&old);
    put_ids(&old, first, ROW_UPDATE, IDS(2, 6), 200);
    Table *second = world_open(&world);
    assert_int_equal(table_raised_from(second), 2);
    CommitAnswer answered;
    int64_t id, sequence;
    Position position = world_position(201);
    OK(table_send(first, &position, NULL, &answered, &id, &sequence, &err));
    assert_int_equal(answered, ANSWER_CONFLICT);
    assert_false(table_look(first, id, 0, &view, &why));
    assert_int_equal(why.kind, ERROR_CONFLICT);
    assert_string_equal(why.code, "FormatVersion");
    table_abandon(first, true);
    table_close(first);
    TableOptions options = world_options(&old);
    why = (Error){0};
    assert_null(table_open(&options, &why));
    assert_int_equal(why.kind, ERROR_CONFIG);
    assert_string_equal(why.code, "FormatVersion");
    put_ids(&world, second, ROW_UPDATE, IDS(2, 6), 200);
    commit_at(second, 201);
    Rows rows = look(&world, &positions, &vectors);
    assert_int_equal(rows.count, 6);
    assert_true(rows.regions[2] == 200 && rows.regions[6] == 200);
    table_close(second);
    world_done(&world);
}

/* Who only stages, or looks, leaves it to who commits. */
static void test_left(void **state)
{
    (void)state;
    World world;
    make_v2(&world);
    int64_t head = head_of(&world);
    TableOptions options = world_options(&world);
    options.leaves_version = true;
    Table *table;
    OK((table = table_open(&options, &err)));
    assert_int_equal(table_raised_from(table), 0);
    table_close(table);
    assert_int_equal(version_of(&world), 2);
    assert_int_equal(head_of(&world), head);
    world_done(&world);
}

/* Changes the metadata: `head` becomes the head, the version becomes another, as others may do, and
 * all snapshots become older and the oldest gets a tag; 0: as it is. */
static void change(const World *world, int64_t head, int version, int64_t older_ms)
{
    AUTO(mem_free) char *location = mem_format("%s/lake/orders", world->warehouse);
    TableName name = {.database = "lake", .table = "orders", .location = location};
    CatalogEntry entry, now;
    OK(catalog_load(world->catalog, &name, &entry, &err));
    json_t *metadata = json_loadb((const char *)entry.metadata.data, entry.metadata.used, 0, NULL);
    assert_non_null(metadata);
    if (head) {
        json_object_set_new(metadata, "current-snapshot-id", json_integer(head));
        json_object_set_new(json_object_get(json_object_get(metadata, "refs"), "main"),
                            "snapshot-id", json_integer(head));
    }
    if (version) {
        json_object_set_new(metadata, "format-version", json_integer(version));
        json_object_set_new(metadata, "next-row-id", json_integer(0));
    }
    size_t i;
    json_t *each;
    json_array_foreach(json_object_get(metadata, "snapshots"), i, each)
    {
        json_t *time = json_object_get(each, "timestamp-ms");
        json_integer_set(time, json_integer_value(time) - older_ms);
    }
    if (older_ms) {
        const json_t *oldest = json_array_get(json_object_get(metadata, "snapshots"), 0);
        json_object_set_new(json_object_get(metadata, "refs"), "audit",
                            json_pack("{s:s,s:O}", "type", "tag", "snapshot-id",
                                      json_object_get(oldest, "snapshot-id")));
    }
    char *text = json_dumps(metadata, 0);
    CatalogChange it = {.base = &entry, .metadata = text, .metadata_bytes = strlen(text)};
    OK(catalog_commit(world->catalog, &name, &it, &now, &err));
    catalog_entry_done(&now);
    free(text);
    json_decref(metadata);
    catalog_entry_done(&entry);
}

static int64_t claimed_of(const IcebergTable *table)
{
    return strtoll(strrchr(iceberg_property(table, PROPERTY), ' ') + 1, NULL, 10);
}

/* A new head over what was rolled back could hide it. */
static void test_rolled_back(void **state)
{
    (void)state;
    World world;
    TableView view;
    make_v2(&world);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const json_t *oldest =
        json_array_get(json_object_get(iceberg_metadata(loaded), "snapshots"), 0);
    int64_t first = json_integer_value(json_object_get(oldest, "snapshot-id"));
    change(&world, first, 0, 0);
    Table *table = world_open(&world);
    assert_int_equal(table_raised_from(table), 0);
    table_view(table, 0, 0, &view);
    assert_true(view.has_claim && !view.is_ancestor && view.head == first);
    table_close(table);
    assert_int_equal(version_of(&world), 2);
    change(&world, iceberg_current_snapshot(loaded), 0, 0); /* put back */
    table = world_open(&world);
    assert_int_equal(table_raised_from(table), 2);
    table_close(table);
    world_done(&world);
}

static const json_t *tag_of(const IcebergTable *table)
{
    return json_object_get(json_object_get(iceberg_metadata(table), "refs"), "audit");
}

/* As every commit it expires what is due, by what the resource says, and no more; what another ref
 * names stays. */
static void test_retention(void **state)
{
    (void)state;
    const int64_t day_ms = 86400000;
    for (int keeps = 0; keeps < 2; keeps++) {
        World world;
        make_v2(&world);
        change(&world, 0, 0, 100 * day_ms);
        AUTO(iceberg_table_free) IcebergTable *before = world_load(&world);
        if (keeps)
            world.spec.expire_older_than_ms = 365 * day_ms;
        Table *table = world_open(&world);
        assert_int_equal(table_raised_from(table), 2);
        table_close(table);
        AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
        const json_t *snapshots = json_object_get(iceberg_metadata(loaded), "snapshots");
        if (keeps)
            assert_int_equal(json_array_size(snapshots), 4);
        else
            assert_true(json_array_size(snapshots) < 4);
        assert_true(iceberg_is_ancestor(loaded, claimed_of(loaded)));
        const json_t *tag = tag_of(loaded), *tagged = json_array_get(snapshots, 0);
        assert_true(json_equal(tag, tag_of(before)));
        assert_true(json_equal(
            tagged, json_array_get(json_object_get(iceberg_metadata(before), "snapshots"), 0)));
        assert_true(json_equal(json_object_get(tag, "snapshot-id"),
                               json_object_get(tagged, "snapshot-id")));
        world_done(&world);
    }
}

/* Another engine raised it, and said no more: its rows have no ids yet. */
static void test_raised_by_others(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    make_v2(&world);
    change(&world, 0, 3, 0);
    Table *table = world_open(&world);
    assert_int_equal(table_raised_from(table), 0);
    Rows first = look(&world, &positions, &vectors);
    put_ids(&world, table, ROW_UPDATE, IDS(2, 3, 7), 200);
    commit_at(table, 201);
    Rows second = look(&world, &positions, &vectors);
    for (int id = 0; id < 20; id++) {
        assert_int_equal(!first.regions[id], !second.regions[id]);
        assert_int_equal(first.row_ids[id], second.row_ids[id]);
    }
    assert_int_equal(second.regions[7], 200);
    table_close(table);
    world_done(&world);
}

/* Without a snapshot, and where all is to be copied again, the version comes with the next commit.
 */
static void test_with_the_next_commit(void **state)
{
    (void)state;
    World world;
    size_t positions, vectors;
    world_init(&world, 2, MODE_UPSERT, NULL);
    table_close(world_open(&world));
    world.spec.format_version = 3;
    Table *table = world_open(&world);
    assert_int_equal(version_of(&world), 2);
    assert_int_equal(head_of(&world), -1);
    put_ids(&world, table, ROW_INSERT, IDS(1, 2, 3), 100);
    commit_at(table, 101);
    assert_int_equal(version_of(&world), 3);
    Rows first = look(&world, &positions, &vectors);
    put_ids(&world, table, ROW_UPDATE, IDS(2), 110);
    commit_at(table, 111);
    Rows second = look(&world, &positions, &vectors);
    assert_int_equal(second.count, 3);
    assert_int_equal(second.row_ids[2], first.row_ids[2]);
    assert_int_equal(vectors, 1);
    table_close(table);
    world_done(&world);

    make_v2(&world);
    TableOptions options = world_options(&world);
    options.resnapshot = true;
    int64_t head = head_of(&world);
    OK((table = table_open(&options, &err)));
    assert_int_equal(version_of(&world), 2);
    assert_int_equal(head_of(&world), head);
    table_copy_begin(table, (RowPosition){200, 0});
    table_copy_set_progress(table, COPY_COMPLETE);
    put_ids(&world, table, ROW_INSERT, IDS(1, 2), 201);
    commit_at(table, 202);
    assert_int_equal(version_of(&world), 3);
    assert_int_equal(look(&world, &positions, &vectors).count, 2);
    assert_int_equal(positions + vectors, 0);
    table_close(table);
    world_done(&world);
}

/* A log has neither index nor deletes, and a copy that is not finished goes on. */
static void test_log_and_copy(void **state)
{
    (void)state;
    World world;
    world_init(&world, 2, MODE_APPEND, NULL);
    Table *table = world_open(&world);
    put_ids(&world, table, ROW_INSERT, IDS(1, 2, 3), 100);
    commit_at(table, 101);
    table_close(table);
    world.spec.format_version = 3;
    table = world_open(&world);
    assert_int_equal(table_raised_from(table), 2);
    put_ids(&world, table, ROW_UPDATE, IDS(1, 2), 110);
    commit_at(table, 111);
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *log = world_load(&world);
    assert_int_equal(json_integer_value(json_object_get(iceberg_metadata(log), "next-row-id")), 5);
    world_done(&world);

    world_init(&world, 2, MODE_UPSERT, NULL);
    table = world_open(&world);
    table_copy_begin(table, (RowPosition){100, 0});
    table_copy_set_progress(table, "until=64");
    put_ids(&world, table, ROW_INSERT, IDS(1, 2, 3), 101);
    commit_at(table, 102);
    table_close(table);
    world.spec.format_version = 3;
    table = world_open(&world);
    assert_int_equal(table_raised_from(table), 2);
    assert_string_equal(table_copy_progress(table), "until=64");
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const char *copy = iceberg_snapshot_summary(loaded, iceberg_current_snapshot(loaded),
                                                "firn.copy.retail/orders");
    assert_string_equal(copy, "unfinished");
    table_close(table);
    world_done(&world);
}

/* What is refused for another reason is not raised before. */
static void test_refused_as_before(void **state)
{
    (void)state;
    World world;
    Error why = {0};
    make_v2(&world);
    world.source->fields[1].type.kind = TYPE_INT64;
    TableOptions options = world_options(&world);
    assert_null(table_open(&options, &why));
    assert_string_equal(why.code, "SchemaMismatch");
    assert_int_equal(version_of(&world), 2);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_old_deletes),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_catalog_refuses),
        cmocka_unit_test(test_another_process),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_rolled_back),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_raised_by_others),
        cmocka_unit_test(test_with_the_next_commit),
        cmocka_unit_test(test_log_and_copy),
        cmocka_unit_test(test_refused_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
