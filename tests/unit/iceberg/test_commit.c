/* links: firn_iceberg */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/unit.h"

#include "tests/unit/iceberg/each_lake.h"

static int64_t summary(const IcebergTable *table, const char *key)
{
    const char *text = iceberg_snapshot_summary(table, iceberg_current_snapshot(table), key);
    return text ? strtoll(text, NULL, 10) : -1;
}

static int64_t number(const IcebergTable *table, const char *key)
{
    return json_integer_value(json_object_get(iceberg_metadata(table), key));
}

typedef struct Seen {
    DataFile files[400];
    size_t count;
} Seen;

static bool see(const DataFile *file, void *context, Error *err)
{
    (void)err;
    Seen *seen = context;
    assert_true(seen->count < ARRAY_LEN(seen->files));
    DataFile *to = &seen->files[seen->count++];
    *to = *file;
    to->path = mem_strdup(file->path);
    to->partition = NULL;
    to->partition_count = 0;
    to->split_offsets = NULL;
    to->referenced_data_file =
        file->referenced_data_file ? mem_strdup(file->referenced_data_file) : NULL;
    return true;
}

static void seen_done(Seen *seen)
{
    for (size_t i = 0; i < seen->count; i++)
        data_file_done(&seen->files[i]);
    free(seen);
}

/* As a fresh handle sees it. */
static Seen *look(void)
{
    Seen *seen = mem_zalloc(sizeof *seen);
    IcebergTable *table = lake_load(&lake);
    OK(iceberg_each_file(table, see, seen, &why_));
    iceberg_table_free(table);
    return seen;
}

static const DataFile *find(const Seen *seen, const char *path)
{
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->files[i].path, path) == 0)
            return &seen->files[i];
    return NULL;
}

static const char *find_deletes(const Seen *seen, const char *data_file, size_t *ret_count)
{
    const char *path = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < seen->count; i++)
        if (seen->files[i].content != FILE_DATA &&
            strcmp(seen->files[i].referenced_data_file, data_file) == 0) {
            path = seen->files[i].path;
            ++*ret_count;
        }
    return path;
}

static void a_new_table_is_empty(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        IcebergTable *table = lake_create(&lake, version, "bucket(4, id)"), *other;
        assert_int_equal(iceberg_format_version(table), version);
        assert_int_equal(iceberg_current_snapshot(table), -1);
        assert_string_equal(iceberg_location(table), lake.location);
        const Schema *schema = iceberg_schema(table);
        for (int i = 0; i < 4; i++)
            assert_int_equal(schema->fields[i].id, i + 1);
        assert_int_equal(schema->fields[3].type.element->id, 5);
        assert_int_equal(schema->key_count, 1);
        assert_int_equal(iceberg_partition_spec(table)->fields[0].field_id, 1000);
        AUTO(schema_free) Schema *again = lake_schema();
        IcebergCreate create = {.format_version = version, .schema = again};
        FAILS(iceberg_table_create(lake.catalog, &lake.name, &create, &other, &why_),
              ERROR_CONFLICT, "CommitConflict");
        Seen *seen = look();
        assert_int_equal(seen->count, 0);
        seen_done(seen);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

static void a_table_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {"bucket(4, id)", "bucket(8, id)"};
    AUTO(schema_free) Schema *schema = lake_schema();
    IcebergTable *table;
    IcebergCreate create = {
        .format_version = 2, .schema = schema, .partition_by = twice, .partition_count = 2};
    FAILS(iceberg_table_create(lake.catalog, &lake.name, &create, &table, &why_), ERROR_CONFIG,
          "BadPartition");
    create.partition_count = 0;
    schema->fields[0].required = false;
    FAILS(iceberg_table_create(lake.catalog, &lake.name, &create, &table, &why_), ERROR_CONFIG,
          "BadKey");
    schema->fields[0].required = true;
    schema->fields[0].type.kind = TYPE_FLOAT64;
    FAILS(iceberg_table_create(lake.catalog, &lake.name, &create, &table, &why_), ERROR_CONFIG,
          "BadKey");
    OK(iceberg_table_load(lake.catalog, &lake.name, &table, &why_));
    assert_null(table);
}

static void appends_add_up(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        IcebergTable *table = lake_create(&lake, version, "bucket(4, id)");
        const Schema *schema = iceberg_schema(table);
        int64_t rows = 0, bytes = 0;
        char *paths[5];
        for (int commit = 0; commit < 5; commit++) {
            DataFile files[2] = {lake_file(&lake, table, 10, 1), lake_file(&lake, table, 7, 2)};
            OK(lake_commit(table, files, 2, NULL, &why_));
            for (int f = 0; f < 2; f++) {
                assert_int_equal(files[f].sequence_number, commit + 1);
                assert_int_equal(files[f].first_row_id, version == 3 ? rows + f * 10 : -1);
            }
            paths[commit] = mem_strdup(files[1].path);
            rows += 17;
            bytes += 217;
            assert_int_equal(summary(table, "added-data-files"), 2);
            assert_int_equal(summary(table, "added-records"), 17);
            assert_int_equal(summary(table, "added-files-size"), 217);
            assert_int_equal(summary(table, "total-data-files"), 2 * commit + 2);
            assert_int_equal(summary(table, "total-records"), rows);
            assert_int_equal(summary(table, "total-files-size"), bytes);
            assert_int_equal(summary(table, "total-delete-files"), 0);
            assert_int_equal(summary(table, "changed-partition-count"), 2);
            assert_int_equal(summary(table, "manifests-kept"), commit);
            data_file_done(&files[0]);
            data_file_done(&files[1]);
        }
        assert_ptr_equal(iceberg_schema(table), schema); /* whoever holds it may go on */
        assert_string_equal(
            iceberg_snapshot_summary(table, iceberg_current_snapshot(table), "operation"),
            "append");
        assert_int_equal(number(table, "last-sequence-number"), 5);
        if (version == 3)
            assert_int_equal(number(table, "next-row-id"), rows);
        Seen *seen = look();
        assert_int_equal(seen->count, 10);
        for (int commit = 0; commit < 5; commit++) {
            const DataFile *file = find(seen, paths[commit]);
            assert_int_equal(file->sequence_number, commit + 1);
            assert_int_equal(file->first_row_id, version == 3 ? commit * 17 + 10 : -1);
            assert_int_equal(file->record_count, 7);
            free(paths[commit]);
        }
        seen_done(seen);
        assert_int_equal(lake_orphans(&lake), 0);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

static void one_vector_for_a_file(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 3, NULL);
    DataFile files[2] = {lake_file(&lake, table, 100, 0), lake_file(&lake, table, 200, 0)};
    OK(lake_commit(table, files, 2, NULL, &why_));
    DataFile first[2] = {lake_deletes(&lake, table, &files[0], 3),
                         lake_deletes(&lake, table, &files[1], 4)};
    OK(lake_commit(table, first, 2, NULL, &why_));
    assert_string_equal(
        iceberg_snapshot_summary(table, iceberg_current_snapshot(table), "operation"), "delete");
    assert_int_equal(summary(table, "added-dvs"), 2);
    assert_int_equal(summary(table, "added-delete-files"), 2);
    assert_int_equal(summary(table, "added-position-deletes"), 7);
    assert_int_equal(summary(table, "added-position-delete-files"), -1);
    int64_t bytes = 500 + first[0].content_bytes + first[1].content_bytes;
    assert_int_equal(summary(table, "total-files-size"), bytes);

    DataFile second[2] = {lake_deletes(&lake, table, &files[0], 9), lake_file(&lake, table, 6, 0)};
    OK(lake_commit(table, second, 2, NULL, &why_));
    bytes += second[0].content_bytes - first[0].content_bytes + 106;
    assert_string_equal(
        iceberg_snapshot_summary(table, iceberg_current_snapshot(table), "operation"), "overwrite");
    assert_int_equal(summary(table, "removed-dvs"), 1);
    assert_int_equal(summary(table, "removed-delete-files"), 1);
    assert_int_equal(summary(table, "removed-position-deletes"), 3);
    assert_int_equal(summary(table, "total-position-deletes"), 13);
    assert_int_equal(summary(table, "total-delete-files"), 2);
    assert_int_equal(summary(table, "total-records"), 306);
    assert_int_equal(summary(table, "total-files-size"), bytes);
    assert_int_equal(second[1].first_row_id, 300);

    size_t count;
    Seen *seen = look();
    assert_string_equal(find_deletes(seen, files[0].path, &count), second[0].path);
    assert_int_equal(count, 1);
    assert_string_equal(find_deletes(seen, files[1].path, &count), first[1].path);
    assert_int_equal(count, 1);
    const DataFile *vector = find(seen, second[0].path);
    assert_int_equal(vector->sequence_number, 3);
    roaring_bitmap_t *rows;
    OK(puffin_read_vector(lake.store, vector, &rows, &why_));
    assert_int_equal(roaring_bitmap_get_cardinality(rows), 9);
    roaring_bitmap_free(rows);
    assert_int_equal(find(seen, first[1].path)->sequence_number, 2);
    seen_done(seen);

    /* the file goes, and its vector with it */
    OK(lake_commit(table, NULL, 0, files[0].path, &why_));
    assert_int_equal(summary(table, "deleted-data-files"), 1);
    assert_int_equal(summary(table, "deleted-records"), 100);
    assert_int_equal(summary(table, "removed-dvs"), 1);
    assert_int_equal(summary(table, "total-position-deletes"), 4);
    assert_int_equal(summary(table, "total-files-size"), bytes - second[0].content_bytes - 200);
    seen = look();
    assert_null(find_deletes(seen, files[0].path, &count));
    assert_null(find(seen, files[0].path));
    assert_int_equal(find(seen, files[1].path)->first_row_id, 100);
    assert_int_equal(seen->count, 3);
    seen_done(seen);
    assert_int_equal(number(table, "next-row-id"), 306);
    for (int i = 0; i < 2; i++) {
        data_file_done(&files[i]);
        data_file_done(&first[i]);
        data_file_done(&second[i]);
    }
    iceberg_table_free(table);
}

static void deletes_go_with_their_file_in_v2(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, "bucket(4, id)");
    DataFile files[2] = {lake_file(&lake, table, 100, 1), lake_file(&lake, table, 200, 2)};
    OK(lake_commit(table, files, 2, NULL, &why_));
    DataFile deletes[3] = {lake_deletes(&lake, table, &files[0], 3),
                           lake_deletes(&lake, table, &files[1], 4),
                           lake_deletes(&lake, table, &files[0], 5)};
    OK(lake_commit(table, deletes, 2, NULL, &why_));
    OK(lake_commit(table, &deletes[2], 1, NULL, &why_));
    assert_int_equal(summary(table, "total-position-deletes"), 12);
    assert_int_equal(summary(table, "added-position-delete-files"), 1);
    OK(lake_commit(table, NULL, 0, files[0].path, &why_));
    assert_int_equal(summary(table, "removed-position-delete-files"), 2);
    assert_int_equal(summary(table, "changed-partition-count"), 1);
    assert_int_equal(summary(table, "total-position-deletes"), 4);
    assert_int_equal(summary(table, "total-files-size"), 300 + 104);
    Seen *seen = look();
    assert_int_equal(seen->count, 2);
    seen_done(seen);
    for (int i = 0; i < 2; i++)
        data_file_done(&files[i]);
    for (int i = 0; i < 3; i++)
        data_file_done(&deletes[i]);
    iceberg_table_free(table);
}

static void truncation_leaves_what_is_added(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        IcebergTable *table = lake_create(&lake, version, NULL);
        DataFile files[2] = {lake_file(&lake, table, 100, 0), lake_file(&lake, table, 5, 0)};
        OK(lake_commit(table, files, 1, NULL, &why_));
        DataFile deletes = lake_deletes(&lake, table, &files[0], 3);
        OK(lake_commit(table, &deletes, 1, NULL, &why_));
        int64_t id;
        IcebergCommit commit = {.added = &files[1], .added_count = 1, .remove_all = true};
        OK(commit_once(table, &commit, &id, &why_));
        assert_int_equal(summary(table, "deleted-data-files"), 1);
        assert_int_equal(summary(table, "deleted-records"), 100);
        assert_int_equal(summary(table, "removed-delete-files"), 1);
        assert_int_equal(summary(table, "total-records"), 5);
        assert_int_equal(summary(table, "total-delete-files"), 0);
        Seen *seen = look();
        assert_int_equal(seen->count, 1);
        assert_string_equal(seen->files[0].path, files[1].path);
        assert_int_equal(seen->files[0].first_row_id, version == 3 ? 100 : -1);
        seen_done(seen);
        /* what only says DELETED is left out */
        OK(lake_commit(table, NULL, 0, files[1].path, &why_));
        assert_int_equal(summary(table, "total-records"), 0);
        assert_int_equal(lake_orphans(&lake), 0);
        for (int i = 0; i < 2; i++)
            data_file_done(&files[i]);
        data_file_done(&deletes);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

static void small_manifests_are_merged(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        IcebergTable *table = lake_create(&lake, version, "bucket(4, id)");
        const IcebergRetention retention = {.all_ms = 1 << 30,
                                            .metadata_files = 100,
                                            .merge_manifests = 5,
                                            .manifest_bytes = 8 << 20};
        iceberg_set_retention(table, &retention);
        for (int i = 0; i < 33; i++) {
            DataFile file = lake_file(&lake, table, 10, i % 4);
            OK(lake_commit(table, &file, 1, NULL, &why_));
            assert_int_equal(file.first_row_id, version == 3 ? i * 10 : -1);
            /* at most four and a fresh one, or one that is not merged yet, of each tier */
            assert_true(summary(table, "manifests-kept") + summary(table, "manifests-created") <=
                        (i < 5    ? 5
                         : i < 30 ? 10
                                  : 12));
            data_file_done(&file);
        }
        Seen *seen = look();
        assert_int_equal(seen->count, 33);
        bool rows[33] = {0}, sequences[34] = {0};
        for (size_t i = 0; i < 33; i++) {
            sequences[seen->files[i].sequence_number] = true;
            if (version == 3)
                rows[seen->files[i].first_row_id / 10] = true;
        }
        for (size_t i = 0; i < 33; i++)
            assert_true(sequences[i + 1] && (version == 2 || rows[i]));
        if (version == 3)
            assert_int_equal(number(table, "next-row-id"), 330);
        seen_done(seen);
        assert_int_equal(lake_orphans(&lake), 0);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

static void set_properties(IcebergTable *table, const char *const *pairs, size_t count)
{
    int64_t id;
    IcebergCommit commit = {.properties = pairs, .property_count = count};
    OK(commit_once(table, &commit, &id, &why_));
}

/* Appends; how many manifests were merged away meanwhile, each of them written once before. */
static int64_t merged_by(IcebergTable *table, int commits)
{
    int64_t merged = 0;
    for (int i = 0; i < commits; i++) {
        DataFile file = lake_file(&lake, table, 10, 0);
        OK(lake_commit(table, &file, 1, NULL, &why_));
        merged += summary(table, "manifests-replaced");
        data_file_done(&file);
    }
    return merged;
}

static void properties_say_how_to_merge(void **state)
{
    (void)state;
    static const char *const never[] = {"commit.manifest-merge.enabled", "false"};
    static const char *const again[] = {"commit.manifest-merge.enabled", "true",
                                        "commit.manifest.min-count-to-merge", "3"};
    static const char *const tiny[] = {"commit.manifest.target-size-bytes", "1000"};
    IcebergTable *table = lake_create(&lake, 2, NULL);
    /* the default: tens of single ones, and no tier above in so few commits */
    assert_int_equal(merged_by(table, 31), 30);
    set_properties(table, never, 1);
    assert_int_equal(merged_by(table, 30), 0);
    set_properties(table, again, 2);
    /* 30 single ones and three of ten: all of a tier at once, then threes of threes */
    assert_true(merged_by(table, 9) >= 33 + 6);
    set_properties(table, tiny, 1);
    assert_int_equal(merged_by(table, 9), 0);
    assert_int_equal(lake_orphans(&lake), 0);
    iceberg_table_free(table);
}

static void the_first_one_wins(void **state)
{
    (void)state;
    IcebergTable *one = lake_create(&lake, 3, NULL), *two = lake_load(&lake);
    DataFile files[2] = {lake_file(&lake, one, 10, 0), lake_file(&lake, two, 20, 0)};
    OK(lake_commit(one, &files[0], 1, NULL, &why_));
    FAILS(lake_commit(two, &files[1], 1, NULL, &why_), ERROR_CONFLICT, "CommitConflict");
    assert_int_equal(iceberg_current_snapshot(two), -1);
    assert_int_equal(files[1].sequence_number, 0);
    assert_int_equal(files[1].first_row_id, -1);
    assert_int_equal(lake_orphans(&lake), 1); /* the data file, which is the caller's */
    bool changed;
    OK(iceberg_table_refresh(two, &changed, &why_));
    assert_true(changed);
    OK(lake_commit(two, &files[1], 1, NULL, &why_));
    assert_int_equal(files[1].sequence_number, 2);
    assert_int_equal(files[1].first_row_id, 10);
    OK(iceberg_table_refresh(two, &changed, &why_));
    assert_false(changed);
    assert_int_equal(lake_orphans(&lake), 0);
    for (int i = 0; i < 2; i++)
        data_file_done(&files[i]);
    iceberg_table_free(one);
    iceberg_table_free(two);
}

static void what_is_gone_can_not_be_removed(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 3, NULL);
    DataFile file = lake_file(&lake, table, 10, 0);
    OK(lake_commit(table, &file, 1, NULL, &why_));
    FAILS(lake_commit(table, NULL, 0, "file:///nowhere.parquet", &why_), ERROR_CONFLICT,
          "FileGone");
    assert_int_equal(lake_orphans(&lake), 0);
    OK(lake_commit(table, NULL, 0, file.path, &why_));
    FAILS(lake_commit(table, NULL, 0, file.path, &why_), ERROR_CONFLICT, "FileGone");
    data_file_done(&file);
    iceberg_table_free(table);
}

static void wrong_kinds_of_deletes_are_refused(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 3, NULL);
    DataFile file = lake_file(&lake, table, 10, 0);
    file.content = FILE_POSITION_DELETES;
    FAILS(lake_commit(table, &file, 1, NULL, &why_), ERROR_FATAL, "BadCommit");
    data_file_done(&file);
    iceberg_table_free(table);
}

static void texts_carry_the_snapshots_id(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    const char *const texts[] = {"firn.position.u", "pg@1/2.0 %SNAPSHOT%", "plain", "x"};
    IcebergCommit commit = {
        .summary = texts, .summary_count = 2, .properties = texts, .property_count = 2};
    int64_t id;
    OK(commit_once(table, &commit, &id, &why_));
    char expected[60];
    snprintf(expected, sizeof expected, "pg@1/2.0 %lld", (long long)id);
    IcebergTable *again = lake_load(&lake);
    assert_string_equal(iceberg_property(again, "firn.position.u"), expected);
    assert_string_equal(iceberg_snapshot_summary(again, id, "firn.position.u"), expected);
    assert_string_equal(iceberg_property(again, "plain"), "x");
    assert_true(iceberg_snapshot_time_ms(again, id) > 0);
    assert_int_equal(iceberg_snapshot_time_ms(again, id + 1), -1);
    iceberg_table_free(again);
    iceberg_table_free(table);
}

static void a_table_made_anew_is_another(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    bool changed;
    OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    FAILS(iceberg_table_refresh(table, &changed, &why_), ERROR_CONFIG, "TableDropped");
    FAILS(lake_commit(table, NULL, 0, NULL, &why_), ERROR_CONFLICT, "CommitConflict");
    IcebergTable *second = lake_create(&lake, 2, NULL);
    OK(lake_commit(second, NULL, 0, NULL, &why_));
    AUTO(mem_free) char *uuid = mem_strdup(iceberg_uuid(table));
    FAILS(iceberg_table_refresh(table, &changed, &why_), ERROR_CONFIG, "TableDropped");
    assert_string_equal(iceberg_uuid(table), uuid);
    iceberg_table_free(table);
    iceberg_table_free(second);
}

/* ---------- answers that are lost ---------- */
typedef enum Fault {
    FAULT_NONE,
    LOST_AFTER,
    LOST_AND_FOLLOWED,
    LOST_BEFORE,
    FULL_BEFORE,
    BLIND
} Fault;

typedef struct Double {
    Catalog catalog;
    Fault fault;
    int struck;
} Double;

static bool double_load(Catalog *at, const TableName *name, CatalogEntry *ret, Error *err)
{
    Double *faulty = (Double *)at;
    if (faulty->fault == BLIND && faulty->struck)
        return error_set(err, ERROR_RETRY, "Unreachable", "no answer");
    return catalog_load(lake.catalog, name, ret, err);
}

static bool double_store(Catalog *at, const TableName *name, const CatalogEntry *entry, Store **ret,
                         Error *err)
{
    (void)at;
    return catalog_store(lake.catalog, name, entry, ret, err);
}

static bool double_commit(Catalog *at, const TableName *name, const CatalogChange *change,
                          CatalogEntry *ret, Error *err)
{
    Double *faulty = (Double *)at;
    Fault fault = faulty->fault;
    if (fault == FAULT_NONE)
        return catalog_commit(lake.catalog, name, change, ret, err);
    faulty->struck++;
    if (fault == FULL_BEFORE)
        return error_set(err, ERROR_RETRY, "DiskFull", "no room");
    if (fault == LOST_BEFORE)
        return error_set(err, ERROR_RETRY, "Timeout", "no answer");
    OK(catalog_commit(lake.catalog, name, change, ret, &why_));
    catalog_entry_done(ret);
    if (fault == LOST_AND_FOLLOWED) {
        IcebergTable *other = lake_load(&lake);
        DataFile file = lake_file(&lake, other, 1000, 0);
        OK(lake_commit(other, &file, 1, NULL, &why_));
        data_file_done(&file);
        iceberg_table_free(other);
    }
    return error_set(err, ERROR_RETRY, "Timeout", "no answer");
}

static const CatalogDriver double_driver = {
    .keeps_metadata = true, .load = double_load, .store = double_store, .commit = double_commit};

/* Two appends, of which the second's answer is lost, and then a third through the same handle. */
static void lose(Fault fault, const char *code, int64_t rows_after, size_t orphans_after)
{
    Double faulty = {.catalog.driver = &double_driver};
    IcebergTable *made = lake_create(&lake, 3, NULL), *table;
    iceberg_table_free(made);
    OK(iceberg_table_load(&faulty.catalog, &lake.name, &table, &why_));
    DataFile files[3];
    for (int i = 0; i < 3; i++)
        files[i] = lake_file(&lake, table, 10, 0);
    OK(lake_commit(table, &files[0], 1, NULL, &why_));
    faulty.fault = fault;
    int64_t id;
    IcebergCommit commit = {.added = &files[1], .added_count = 1};
    if (code) {
        FAILS(commit_once(table, &commit, &id, &why_), ERROR_RETRY, code);
        assert_int_equal(files[1].sequence_number, 0);
    } else {
        OK(commit_once(table, &commit, &id, &why_));
        assert_int_equal(files[1].sequence_number, 2);
        assert_int_equal(files[1].first_row_id, 10);
    }
    assert_int_equal(faulty.struck, fault == LOST_BEFORE ? 3 : 1); /* it is sent again */
    faulty.fault = FAULT_NONE;
    if (fault == BLIND) {
        bool changed;
        OK(iceberg_table_refresh(table, &changed, &why_));
        assert_true(changed);
    }
    OK(lake_commit(table, &files[2], 1, NULL, &why_));
    assert_int_equal(summary(table, "total-records"), rows_after);
    assert_int_equal(files[2].first_row_id, rows_after - 10);
    assert_int_equal(lake_orphans(&lake), orphans_after);
    for (int i = 0; i < 3; i++)
        data_file_done(&files[i]);
    iceberg_table_free(table);
}

static void a_lost_answer_is_found_out(void **state)
{
    (void)state;
    lose(LOST_AFTER, NULL, 30, 0);
}

static void a_foreign_commit_on_top_of_ours_survives(void **state)
{
    (void)state;
    lose(LOST_AND_FOLLOWED, NULL, 1030, 0);
}

static void what_may_still_be_under_way_is_not_deleted(void **state)
{
    (void)state;
    lose(LOST_BEFORE, "Timeout", 20, 1 + 2); /* the data file; manifest and list */
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    lose(FULL_BEFORE, "DiskFull", 20, 1);
}

static void without_any_answer_it_stays_unknown(void **state)
{
    (void)state;
    lose(BLIND, "Timeout", 30, 0);
}

/* ---------- hostile metadata ---------- */
typedef struct Spoil {
    const char *key;
    const char *json;
} Spoil;

static void spoil(json_t *metadata, void *context)
{
    const Spoil *how = context;
    if (how->json)
        json_object_set_new(metadata, how->key, json_loads(how->json, JSON_DECODE_ANY, NULL));
    else
        json_object_del(metadata, how->key);
}

static void spoilt_metadata_is_refused(void **state)
{
    (void)state;
    static const Spoil how[] = {
        {"table-uuid", NULL},
        {"format-version", "4"},
        {"format-version", "\"2\""},
        {"schemas", "{}"},
        {"schemas", "[{\"schema-id\":0,\"fields\":[{\"id\":1}]}]"},
        {"schemas", "[{\"schema-id\":0,\"fields\":[{\"id\":1,\"name\":\"a\",\"type\":{\"type\":"
                    "\"map\"}}]}]"},
        {"current-schema-id", "7"},
        {"partition-specs", "[]"},
        {"partition-specs", "[{\"spec-id\":0,\"fields\":[{\"name\":\"x\"}]}]"},
        {"default-spec-id", NULL},
        {"last-sequence-number", "\"x\""},
        {"next-row-id", NULL},
        {"snapshots", "[]"},
        {"snapshots", "7"},
        {"refs", "{\"main\":{\"snapshot-id\":5,\"type\":\"branch\"}}"},
    };
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        IcebergTable *table = lake_create(&lake, 3, "bucket(4, id)");
        OK(lake_commit(table, NULL, 0, NULL, &why_));
        Spoil one = how[i];
        lake_change(&lake, spoil, &one);
        Error err = {0};
        bool changed;
        assert_false(iceberg_table_refresh(table, &changed, &err));
        if (err.kind == ERROR_DATA)
            assert_string_equal(err.code, "BadMetadata");
        else
            assert_int_equal(err.kind, ERROR_CONFIG);
        found += err.kind == ERROR_DATA;
        assert_true(iceberg_current_snapshot(table) >= 0); /* what it was */
        iceberg_table_free(table);
        assert_false(iceberg_table_load(lake.catalog, &lake.name, &table, &err));
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_table_is_empty),
        TEST(a_table_that_makes_no_sense_is_refused),
        TEST(appends_add_up),
        TEST(one_vector_for_a_file),
        TEST(deletes_go_with_their_file_in_v2),
        TEST(truncation_leaves_what_is_added),
        TEST(small_manifests_are_merged),
        TEST(properties_say_how_to_merge),
        TEST(the_first_one_wins),
        TEST(what_is_gone_can_not_be_removed),
        TEST(wrong_kinds_of_deletes_are_refused),
        TEST(texts_carry_the_snapshots_id),
        TEST(a_table_made_anew_is_another),
        TEST(a_lost_answer_is_found_out),
        TEST(a_foreign_commit_on_top_of_ours_survives),
        TEST(what_may_still_be_under_way_is_not_deleted),
        TEST(a_full_disk_leaves_nothing),
        TEST(without_any_answer_it_stays_unknown),
        TEST(spoilt_metadata_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
