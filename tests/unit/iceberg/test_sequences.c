/* links: firn_iceberg */
/* Commits one by one: what stands in manifests and metadata after each, who wins a race, what an
 * answer that is lost leads to, what is thinned and deleted. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/iceberg/check.h"

static int64_t number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static const char *summary(const IcebergTable *table, const char *key)
{
    const char *text = iceberg_snapshot_summary(table, iceberg_current_snapshot(table), key);
    return text ? text : "";
}

/* Entries of a path in the head's manifests, by status. */
typedef struct Seen {
    const char *path; /* of the file, or of a deletion vector's data file */
    FileContent content;
    int by_status[3];
} Seen;

static bool see(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    Seen *seen = context;
    AUTO(mem_free)
    char *path = avro_text(entry->data_file, seen->content == FILE_DATA ? 100 : 143);
    seen->by_status[entry->status] += path && strcmp(path, seen->path) == 0;
    return true;
}

static Seen entries_of(IcebergTable *table, FileContent content, const char *path)
{
    Seen seen = {.path = path, .content = content};
    OK(state_load_manifests(table, &err));
    for (size_t i = 0; i < table->manifest_count; i++)
        OK(manifest_read(table->store, &table->manifests[i], see, &seen, &err));
    return seen;
}

static void expect_entries(IcebergTable *table, FileContent content, const char *path, int existing,
                           int added, int deleted)
{
    Seen seen = entries_of(table, content, path);
    assert_int_equal(seen.by_status[ENTRY_EXISTING], existing);
    assert_int_equal(seen.by_status[ENTRY_ADDED], added);
    assert_int_equal(seen.by_status[ENTRY_DELETED], deleted);
}

static void test_create_and_load(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        Lake lake;
        lake_open(&lake);
        IcebergTable *none = (IcebergTable *)&lake;
        OK(iceberg_table_load(lake.catalog, &lake.name, &none, &err));
        assert_null(none);
        lake_create(&lake, version, "country");
        check_table(lake.table, true);
        assert_int_equal(iceberg_current_snapshot(lake.table), -1);
        IcebergTable *again = lake_load(&lake);
        assert_string_equal(iceberg_uuid(again), iceberg_uuid(lake.table));
        assert_int_equal(strlen(iceberg_uuid(again)), 36);
        assert_int_equal(iceberg_format_version(again), version);
        const Schema *schema = iceberg_schema(again);
        assert_int_equal(schema->field_count, 3);
        assert_int_equal(schema->fields[2].id, 3);
        assert_int_equal(schema->key_count, 1);
        assert_int_equal(schema->key[0], 0);
        IcebergCreate how = {.format_version = version, .schema = lake.schema};
        IcebergTable *second = NULL;
        Error refusal = {0};
        assert_false(iceberg_table_create(lake.catalog, &lake.name, &how, &second, &refusal));
        assert_int_equal(refusal.kind, ERROR_CONFLICT);
        bool changed = true;
        OK(iceberg_table_refresh(again, &changed, &err));
        assert_false(changed);
        OK(catalog_drop(lake.catalog, &lake.name, false, &err));
        assert_false(iceberg_table_refresh(again, &changed, &refusal));
        assert_int_equal(refusal.kind, ERROR_CONFIG);
        assert_string_equal(refusal.code, "TableDropped");
        iceberg_table_free(again);
        lake_done(&lake);
    }
}

static void test_appends(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, "country");
    lake_append(lake.table, 10);
    assert_string_equal(summary(lake.table, "operation"), "append");
    assert_string_equal(summary(lake.table, "added-records"), "10");
    DataFile files[2] = {lake_data_file(lake.table, "de", 5), lake_data_file(lake.table, NULL, 7)};
    int64_t snapshot;
    IcebergCommit commit = {.added = files,
                            .added_count = 2,
                            .summary = (const char *const[]){"firn.at", "7"},
                            .summary_count = 1,
                            .properties = (const char *const[]){"firn.position.u", "p;%SNAPSHOT%!"},
                            .property_count = 1};
    OK(commit_once(lake.table, &commit, &snapshot, &err));
    assert_int_equal(files[0].first_row_id, 10);
    assert_int_equal(files[1].first_row_id, 15);
    assert_int_equal(files[1].sequence_number, 2);
    AUTO(mem_free) char *wanted = mem_format("p;%" PRId64 "!", snapshot);
    assert_string_equal(iceberg_property(lake.table, "firn.position.u"), wanted);
    assert_string_equal(summary(lake.table, "firn.at"), "7");
    assert_int_equal(number(lake.table->metadata, "next-row-id"), 22);
    check_table(lake.table, true);
    data_file_done(&files[0]);
    data_file_done(&files[1]);
    lake_done(&lake);
}

static void test_vector_is_replaced(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    DataFile data = lake_data_file(lake.table, NULL, 100), copy;
    data_file_copy(&copy, &data);
    lake_commit(lake.table, &data, 1, NULL);
    for (uint32_t rows = 1; rows <= 3; rows++) {
        DataFile vector = lake_vector(lake.table, &copy, rows * 10);
        lake_commit(lake.table, &vector, 1, NULL);
        expect_entries(lake.table, FILE_POSITION_DELETES, copy.path, 0, 1, rows > 1);
        assert_string_equal(summary(lake.table, "operation"), "delete");
        assert_string_equal(summary(lake.table, "added-dvs"), "1");
        assert_string_equal(summary(lake.table, "removed-dvs"), rows > 1 ? "1" : "");
        check_table(lake.table, true);
    }
    assert_string_equal(summary(lake.table, "total-position-deletes"), "30");
    lake_append(lake.table, 1); /* the removed entry stands only in the snapshot that removed it */
    expect_entries(lake.table, FILE_POSITION_DELETES, copy.path, 0, 1, 0);
    lake_commit(lake.table, NULL, 0, copy.path); /* its vector goes with it */
    expect_entries(lake.table, FILE_DATA, copy.path, 0, 0, 1);
    expect_entries(lake.table, FILE_POSITION_DELETES, copy.path, 0, 0, 1);
    assert_string_equal(summary(lake.table, "total-delete-files"), "0");
    lake_append(lake.table, 1);
    expect_entries(lake.table, FILE_DATA, copy.path, 0, 0, 0);
    expect_entries(lake.table, FILE_POSITION_DELETES, copy.path, 0, 0, 0);
    check_table(lake.table, true);
    data_file_done(&copy);
    lake_done(&lake);
}

static void test_position_deletes(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, "country");
    DataFile data[2] = {lake_data_file(lake.table, "de", 100), lake_data_file(lake.table, "fr", 9)};
    DataFile first, second;
    data_file_copy(&first, &data[0]);
    data_file_copy(&second, &data[1]);
    lake_commit(lake.table, data, 2, NULL);
    for (int i = 0; i < 3; i++) {
        DataFile deletes[2] = {lake_deletes(lake.table, &first, 2),
                               lake_deletes(lake.table, &second, 1)};
        if (i == 0) { /* one that names no data file outlives them */
            free(deletes[1].referenced_data_file);
            deletes[1].referenced_data_file = NULL;
        }
        lake_commit(lake.table, deletes, 2, NULL);
    }
    expect_entries(lake.table, FILE_POSITION_DELETES, first.path, 0, 3, 0);
    lake_commit(lake.table, NULL, 0, first.path);
    assert_string_equal(summary(lake.table, "removed-position-deletes"), "6");
    assert_string_equal(summary(lake.table, "removed-position-delete-files"), "3");
    lake_commit(lake.table, NULL, 0, second.path);
    assert_string_equal(summary(lake.table, "total-position-deletes"), "1");
    assert_string_equal(summary(lake.table, "total-records"), "0");
    data_file_done(&first);
    data_file_done(&second);
    lake_done(&lake);
}

static void test_remove_all(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        Lake lake;
        lake_open(&lake);
        lake_create(&lake, version, NULL);
        for (int i = 0; i < 3; i++)
            lake_append(lake.table, 10);
        DataFile data = lake_data_file(lake.table, NULL, 4);
        IcebergCommit commit = {.added = &data, .added_count = 1, .remove_all = true};
        int64_t snapshot;
        OK(commit_once(lake.table, &commit, &snapshot, &err));
        assert_string_equal(summary(lake.table, "operation"), "overwrite");
        assert_string_equal(summary(lake.table, "deleted-records"), "30");
        assert_string_equal(summary(lake.table, "total-records"), "4");
        check_table(lake.table, true);
        data_file_done(&data);
        lake_append(lake.table, 1);
        assert_int_equal(lake.table->manifest_count, 2); /* those of removed files are gone */
        lake_done(&lake);
    }
}

static void test_merge(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    lake.table->retention.merge_manifests = 3;
    int64_t first_ids[20], next = 0;
    DataFile copies[20];
    for (int i = 0; i < 20; i++) {
        DataFile file = lake_data_file(lake.table, NULL, (uint64_t)i + 1);
        data_file_copy(&copies[i], &file);
        OK(lake_try_commit(lake.table, &file, 1, NULL, &err));
        first_ids[i] = file.first_row_id;
        assert_true(first_ids[i] >= next);
        next = first_ids[i] + i + 1;
        data_file_done(&file);
        check_table(lake.table, true);
        assert_in_range(lake.table->manifest_count, 1, 8);
        Head head;
        head_read(lake.table, &head);
        for (int k = 0; k <= i; k++) { /* merged or not, row ids and sequence numbers stay */
            const DataFile *found = head_find(&head, FILE_DATA, copies[k].path);
            assert_int_equal(found->first_row_id, first_ids[k]);
            assert_int_equal(found->sequence_number, k + 1);
        }
        head_done(&head);
    }
    for (int i = 0; i < 20; i++)
        data_file_done(&copies[i]);
    lake_done(&lake);
}

/* ---------- more than one writer ---------- */
static void test_conflict(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, NULL);
    lake_append(lake.table, 1);
    IcebergTable *other = lake_load(&lake);
    lake_append(other, 2);
    DataFile file = lake_data_file(lake.table, NULL, 3);
    size_t objects = lake.memory->count;
    int64_t head = iceberg_current_snapshot(lake.table);
    Error refusal = {0};
    assert_false(lake_try_commit(lake.table, &file, 1, NULL, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFLICT);
    assert_int_equal(lake.memory->count, objects); /* what it wrote is gone, its file is not */
    assert_non_null(memory_find(lake.memory, file.path));
    assert_int_equal(iceberg_current_snapshot(lake.table), head);
    bool changed;
    OK(iceberg_table_refresh(lake.table, &changed, &err));
    assert_true(changed);
    assert_int_equal(iceberg_current_snapshot(lake.table), iceberg_current_snapshot(other));
    assert_true(iceberg_is_ancestor(lake.table, head));
    lake_commit(lake.table, &file, 1, NULL);
    assert_string_equal(summary(lake.table, "total-records"), "6");
    check_table(lake.table, true);
    iceberg_table_free(other);
    lake_done(&lake);
}

static void test_lost_answers(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    lake_append(lake.table, 1);
    lake.shaky->answer = ANSWER_LOST;
    lake_append(lake.table, 2); /* it looks and finds its snapshot */
    assert_string_equal(summary(lake.table, "total-records"), "3");
    lake_append(lake.table, 3);
    check_table(lake.table, true);

    lake.shaky->answer = ANSWER_NEVER; /* it looks, the table has not moved, it sends again */
    lake_append(lake.table, 4);
    assert_string_equal(summary(lake.table, "total-records"), "10");
    check_table(lake.table, true);

    lake.shaky->answer = ANSWER_NEVER;
    lake.shaky->answers = 3;
    DataFile file = lake_data_file(lake.table, NULL, 5);
    Error refusal = {0};
    assert_false(lake_try_commit(lake.table, &file, 1, NULL, &refusal));
    assert_int_equal(refusal.kind, ERROR_RETRY);
    assert_string_equal(refusal.code, "Timeout");
    assert_int_equal(lake.shaky->answers, 0);
    lake_commit(lake.table, &file, 1, NULL); /* nothing had happened, nothing is doubled */
    assert_string_equal(summary(lake.table, "total-records"), "15");
    check_table(lake.table, false); /* what was written for an unknown commit is not deleted */
    lake_done(&lake);
}

static void append_meanwhile(void *context)
{
    Lake *lake = context;
    lake->shaky->meanwhile = NULL;
    IcebergTable *other = lake_load(lake);
    lake_append(other, 100);
    iceberg_table_free(other);
}

/* The answer is lost, and before the look somebody commits on top: both must stay. */
static void test_lost_answer_and_a_later_commit(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    lake_append(lake.table, 1);
    lake.shaky->answer = ANSWER_LOST;
    lake.shaky->meanwhile = append_meanwhile;
    lake.shaky->context = &lake;
    DataFile file = lake_data_file(lake.table, NULL, 10);
    int64_t snapshot;
    IcebergCommit commit = {.added = &file, .added_count = 1};
    OK(commit_once(lake.table, &commit, &snapshot, &err));
    assert_int_not_equal(iceberg_current_snapshot(lake.table), snapshot);
    assert_true(iceberg_is_ancestor(lake.table, snapshot));
    assert_int_equal(file.first_row_id, 1);
    data_file_done(&file);
    lake_append(lake.table, 1000);
    assert_string_equal(summary(lake.table, "total-records"), "1111");
    check_table(lake.table, true);
    lake_done(&lake);
}

static void test_put_fails(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, NULL);
    lake_append(lake.table, 1);
    const char *const parts[] = {"/m-", "/snap-"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t objects = lake.memory->count;
        Error refusal = {0};
        IcebergCommit commit = {.remove_all = true};
        int64_t snapshot;
        lake.memory->fail_put = parts[i];
        assert_false(commit_once(lake.table, &commit, &snapshot, &refusal));
        assert_int_equal(refusal.kind, ERROR_RETRY);
        assert_int_equal(lake.memory->count, objects);
        lake.memory->fail_put = NULL;
    }
    lake_append(lake.table, 1);
    check_table(lake.table, true);
    lake_done(&lake);
}

/* Summaries of other writers may lack totals, or say anything. */
static void test_foreign_summaries(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, NULL);
    lake_append(lake.table, 1);
    json_t *parent = metadata_snapshot(lake.table->metadata, iceberg_current_snapshot(lake.table));
    json_t *said = json_object_get(parent, "summary");
    json_object_del(said, "total-records");
    json_object_set_new(said, "total-data-files", json_integer(1));
    json_object_set_new(said, "total-files-size", json_string("12x"));
    json_object_set_new(said, "total-delete-files", json_string("-3"));
    lake_append(lake.table, 1);
    assert_string_equal(summary(lake.table, "total-records"), "");
    assert_string_equal(summary(lake.table, "total-data-files"), "");
    assert_string_equal(summary(lake.table, "total-files-size"), "");
    assert_string_equal(summary(lake.table, "total-delete-files"), "");
    assert_string_equal(summary(lake.table, "total-position-deletes"), "0");
    IcebergCommit all = {.remove_all = true}; /* then it is known again */
    int64_t snapshot;
    OK(commit_once(lake.table, &all, &snapshot, &err));
    assert_string_equal(summary(lake.table, "total-records"), "0");
    check_table(lake.table, true);
    lake_done(&lake);
}

/* ---------- thinning ---------- */
#define HOUR_MS INT64_C(3600000)

static void stamp(IcebergTable *table, size_t at, int64_t ms)
{
    json_t *snapshot = json_array_get(json_object_get(table->metadata, "snapshots"), at);
    json_object_set_new(snapshot, "timestamp-ms", json_integer(ms));
}

/* One snapshot every twenty minutes for days, all thinned in one go: the first of each hour, then
 * of each day, then none. */
static void test_thinning(void **state)
{
    (void)state;
    enum { COUNT = 250 };
    for (int version = 2; version <= 3; version++) {
        Lake lake;
        lake_open(&lake);
        lake_create(&lake, version, NULL);
        lake.table->retention.metadata_files = 3;
        lake.table->retention.merge_manifests = 7;
        lake.table->retention.burst_most = lake.table->retention.young_most = 0;
        DataFile last = {0};
        for (int i = 0; i < COUNT; i++) {
            DataFile file = lake_data_file(lake.table, NULL, 10);
            if (last.path)
                data_file_done(&last);
            data_file_copy(&last, &file);
            lake_commit(lake.table, &file, 1, NULL);
            if (i % 3 == 0) /* every third file lives for no commit at all */
                lake_commit(lake.table, NULL, 0, last.path);
        }
        data_file_done(&last);
        json_t *snapshots = json_object_get(lake.table->metadata, "snapshots");
        size_t count = json_array_size(snapshots);
        int64_t now_ms = number(lake.table->metadata, "last-updated-ms");
        for (size_t i = 0; i < count; i++)
            stamp(lake.table, i, now_ms - (int64_t)(count - i) * HOUR_MS / 3);
        lake_look_again(lake.table);
        lake.table->retention.all_ms = 5 * HOUR_MS;
        lake.table->retention.hourly_ms = 24 * HOUR_MS;
        lake.table->retention.daily_ms = 72 * HOUR_MS;
        for (int i = 0; i < 5; i++) /* a hundred at a time */
            lake_append(lake.table, 1);
        snapshots = json_object_get(lake.table->metadata, "snapshots");
        int64_t last_hour = -1, last_day = -1;
        size_t young = 0, hourly = 0, daily = 0, i;
        json_t *snapshot;
        now_ms = number(lake.table->metadata, "last-updated-ms");
        json_array_foreach(snapshots, i, snapshot)
        {
            int64_t ms = number(snapshot, "timestamp-ms"), age = now_ms - ms;
            if (age > 24 * HOUR_MS) {
                assert_true(age <= 72 * HOUR_MS && ms / (24 * HOUR_MS) > last_day);
                last_day = ms / (24 * HOUR_MS);
                daily++;
            } else if (age > 5 * HOUR_MS) {
                assert_true(ms / HOUR_MS > last_hour);
                last_hour = ms / HOUR_MS;
                hourly++;
            } else {
                young++;
            }
        }
        assert_in_range(young, 5 * 3 + 4, 5 * 3 + 6);
        assert_in_range(hourly, 19, 20);
        assert_in_range(daily, 2, 3);
        check_table(lake.table, true);
        assert_true(iceberg_is_ancestor(lake.table, iceberg_current_snapshot(lake.table)));
        lake_done(&lake);
    }
}

/* Everything old goes at once, but never the head. */
static void test_only_the_head_stays(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    for (int i = 0; i < 10; i++)
        lake_append(lake.table, 1);
    int64_t first = iceberg_current_snapshot(lake.table);
    lake_age(lake.table, 40 * 24 * HOUR_MS);
    lake_append(lake.table, 1);
    assert_int_equal(json_array_size(json_object_get(lake.table->metadata, "snapshots")), 1);
    assert_int_equal(json_array_size(json_object_get(lake.table->metadata, "snapshot-log")), 1);
    assert_true(iceberg_is_ancestor(lake.table, first));
    check_table(lake.table, true);
    lake_done(&lake);
}

static void set_property(IcebergTable *table, const char *key, const char *value)
{
    json_object_set_new(json_object_get(table->metadata, "properties"), key, json_string(value));
}

static void test_what_is_never_deleted(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, NULL);
    for (int i = 0; i < 4; i++)
        lake_append(lake.table, 1);
    /* a tag: its snapshot stays, and what it holds */
    int64_t tagged = number(json_array_get(json_object_get(lake.table->metadata, "snapshots"), 1),
                            "snapshot-id");
    json_object_set_new(json_object_get(lake.table->metadata, "refs"), "audit",
                        json_pack("{s:s,s:I}", "type", "tag", "snapshot-id", tagged));
    lake_age(lake.table, 40 * 24 * HOUR_MS);
    lake_append(lake.table, 1);
    assert_int_equal(json_array_size(json_object_get(lake.table->metadata, "snapshots")), 2);
    assert_true(iceberg_snapshot_time_ms(lake.table, tagged) > 0);
    check_table(lake.table, false);
    json_object_del(json_object_get(lake.table->metadata, "refs"), "audit");

    set_property(lake.table, "gc.enabled", "false");
    lake_age(lake.table, 40 * 24 * HOUR_MS);
    lake_append(lake.table, 1);
    assert_int_equal(json_array_size(json_object_get(lake.table->metadata, "snapshots")), 3);
    set_property(lake.table, "gc.enabled", "true");

    /* a file that lies elsewhere may be another table's */
    DataFile elsewhere = lake_data_file(lake.table, NULL, 5);
    free(elsewhere.path);
    elsewhere.path = mem_strdup("file:///w/lake/orders2/data/x.parquet");
    OK(store_put(lake.store, elsewhere.path, "rows", 4, &err));
    lake_commit(lake.table, &elsewhere, 1, NULL);
    lake_commit(lake.table, NULL, 0, "file:///w/lake/orders2/data/x.parquet");
    lake_age(lake.table, 40 * 24 * HOUR_MS);
    lake_append(lake.table, 1);
    assert_int_equal(json_array_size(json_object_get(lake.table->metadata, "snapshots")), 1);
    assert_non_null(memory_find(lake.memory, "file:///w/lake/orders2/data/x.parquet"));
    lake_done(&lake);
}

/* A, B, C; somebody rolls back to A; D on top of it. What A and D hold must survive that A, B and C
 * are old, in whatever order they go. */
static void test_rollback(void **state)
{
    (void)state;
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 3, NULL);
    DataFile file = lake_data_file(lake.table, NULL, 10), copy;
    data_file_copy(&copy, &file);
    lake_commit(lake.table, &file, 1, NULL);
    int64_t a = iceberg_current_snapshot(lake.table);
    lake_commit(lake.table, NULL, 0, copy.path); /* B takes the file away */
    int64_t b = iceberg_current_snapshot(lake.table);
    lake_append(lake.table, 3);
    int64_t c = iceberg_current_snapshot(lake.table);
    json_object_set_new(json_object_get(json_object_get(lake.table->metadata, "refs"), "main"),
                        "snapshot-id", json_integer(a));
    json_object_set_new(lake.table->metadata, "current-snapshot-id", json_integer(a));
    manifest_files_free(lake.table->manifests, lake.table->manifest_count);
    lake.table->manifests = NULL;
    lake.table->manifest_count = 0;
    lake.table->manifests_known = false;
    assert_false(iceberg_is_ancestor(lake.table, b));
    lake_append(lake.table, 5); /* D */
    assert_int_equal(number(lake.table->metadata, "last-sequence-number"), 4);
    assert_true(iceberg_is_ancestor(lake.table, a));
    assert_false(iceberg_is_ancestor(lake.table, b));
    assert_false(iceberg_is_ancestor(lake.table, c));
    assert_string_equal(summary(lake.table, "total-records"), "15");
    stamp(lake.table, 0, 1); /* A alone is too old: it stays as long as B does */
    lake_append(lake.table, 1);
    assert_true(iceberg_snapshot_time_ms(lake.table, a) > 0);
    assert_non_null(memory_find(lake.memory, copy.path));
    check_table(lake.table, true);
    lake_age(lake.table, 40 * 24 * HOUR_MS);
    for (int i = 0; i < 3; i++) {
        lake_append(lake.table, 1);
        check_table(lake.table, i == 2);
    }
    assert_int_equal(iceberg_snapshot_time_ms(lake.table, a), -1);
    assert_string_equal(summary(lake.table, "total-records"), "19");
    data_file_done(&copy);
    lake_done(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_load),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_vector_is_replaced),
        cmocka_unit_test(test_position_deletes),
        cmocka_unit_test(test_remove_all),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_lost_answer_and_a_later_commit),
        cmocka_unit_test(test_put_fails),
        cmocka_unit_test(test_foreign_summaries),
        cmocka_unit_test(test_thinning),
        cmocka_unit_test(test_only_the_head_stays),
        cmocka_unit_test(test_what_is_never_deleted),
        cmocka_unit_test(test_rollback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
