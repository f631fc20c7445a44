/* links: firn_iceberg */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/unit.h"

#include "tests/unit/iceberg/each_lake.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

static const IcebergRetention law = {.all_ms = HOUR_MS,
                                     .hourly_ms = 5 * DAY_MS,
                                     .daily_ms = 30 * DAY_MS,
                                     .metadata_files = 100,
                                     .merge_manifests = 100,
                                     .manifest_bytes = 8 << 20};
/* As the law, but for how many young ones are too many. */
static const IcebergRetention few = {.all_ms = HOUR_MS,
                                     .young_most = 10,
                                     .hourly_ms = 5 * DAY_MS,
                                     .daily_ms = 30 * DAY_MS,
                                     .metadata_files = 3,
                                     .merge_manifests = 4,
                                     .manifest_bytes = 8 << 20};
/* Nothing but the head and what is named. */
static const IcebergRetention least = {
    .metadata_files = 3, .merge_manifests = 4, .manifest_bytes = 8 << 20};

static int64_t append(IcebergTable *table)
{
    DataFile file = lake_file(&lake, table, 10, 0);
    OK(lake_commit(table, &file, 1, NULL, &why_));
    data_file_done(&file);
    return iceberg_current_snapshot(table);
}

static const json_t *snapshots(const IcebergTable *table)
{
    return json_object_get(iceberg_metadata(table), "snapshots");
}

static bool holds(const IcebergTable *table, int64_t id)
{
    return iceberg_snapshot_time_ms(table, id) >= 0;
}

/* A fresh handle thins at its first commit. */
static IcebergTable *thin(const IcebergRetention *retention)
{
    IcebergTable *table = lake_load(&lake);
    iceberg_set_retention(table, retention);
    append(table);
    return table;
}

/* ---------- somebody changes the metadata ---------- */
static void step_ms(json_t *entry, int64_t time_ms)
{
    json_object_set_new(entry, "timestamp-ms", json_integer(time_ms));
}

/* The snapshots lie so far apart, the last one now. */
static void spread(json_t *metadata, void *context)
{
    int64_t apart_ms = *(int64_t *)context;
    int64_t now_ms = json_integer_value(json_object_get(metadata, "last-updated-ms"));
    json_t *list = json_object_get(metadata, "snapshots");
    for (size_t i = 0, n = json_array_size(list); i < n; i++)
        step_ms(json_array_get(list, i), now_ms - (int64_t)(n - 1 - i) * apart_ms);
    json_array_clear(json_object_get(metadata, "snapshot-log"));
}

static void set_head(json_t *metadata, void *context)
{
    json_int_t id = *(int64_t *)context;
    json_object_set_new(metadata, "current-snapshot-id", json_integer(id));
    json_object_set_new(json_object_get(json_object_get(metadata, "refs"), "main"), "snapshot-id",
                        json_integer(id));
}

static void tag(json_t *metadata, void *context)
{
    json_object_set_new(
        json_object_get(metadata, "refs"), "kept",
        json_pack("{s:s,s:I}", "type", "tag", "snapshot-id", (json_int_t) * (int64_t *)context));
}

static void keep_garbage(json_t *metadata, void *context)
{
    (void)context;
    json_object_set_new(json_object_get(metadata, "properties"), "gc.enabled",
                        json_string("false"));
}

/* Expiry by somebody else: the snapshot is taken from the list. */
static void expire(json_t *metadata, void *context)
{
    json_t *list = json_object_get(metadata, "snapshots");
    for (size_t i = json_array_size(list); i-- > 0;)
        if (json_integer_value(json_object_get(json_array_get(list, i), "snapshot-id")) ==
            *(int64_t *)context)
            json_array_remove(list, i);
    json_array_clear(json_object_get(metadata, "snapshot-log"));
}

static void refresh(IcebergTable *table)
{
    bool changed;
    OK(iceberg_table_refresh(table, &changed, &why_));
    assert_true(changed);
}

/* ---------- thinning ---------- */
static void young_snapshots_all_stay(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    for (int i = 0; i < 40; i++)
        append(table);
    assert_int_equal(json_array_size(snapshots(table)), 40);
    assert_int_equal(json_array_size(json_object_get(iceberg_metadata(table), "snapshot-log")), 40);
    iceberg_table_free(table);
}

static void older_ones_are_thinned(void **state)
{
    (void)state;
    static const struct {
        int64_t apart_ms;
        int64_t period_ms;
        int commits;
    } cases[] = {{10 * MINUTE_MS, HOUR_MS, 60}, {DAY_MS, DAY_MS, 40}, {7 * HOUR_MS, DAY_MS, 60}};
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        IcebergTable *table = lake_create(&lake, 3, NULL);
        for (int i = 0; i < cases[c].commits; i++)
            append(table);
        iceberg_table_free(table);
        int64_t apart_ms = cases[c].apart_ms;
        lake_change(&lake, spread, &apart_ms);
        table = thin(&law);
        const json_t *list = snapshots(table);
        size_t count = json_array_size(list);
        int64_t now_ms = iceberg_snapshot_time_ms(table, iceberg_current_snapshot(table));
        assert_true(count < (size_t)cases[c].commits);
        int64_t last_period = -1;
        for (size_t i = 0; i < count; i++) {
            int64_t time_ms =
                json_integer_value(json_object_get(json_array_get(list, i), "timestamp-ms"));
            assert_true(now_ms - time_ms <= 30 * DAY_MS);
            int64_t period_ms = now_ms - time_ms > 5 * DAY_MS ? DAY_MS : HOUR_MS;
            if (now_ms - time_ms > HOUR_MS && cases[c].period_ms == period_ms) {
                assert_int_not_equal(time_ms / period_ms, last_period);
                last_period = time_ms / period_ms;
            }
        }
        /* all of them, in both directions: nothing missing, nothing left over */
        assert_int_equal(lake_orphans(&lake), 0);
        size_t again = count;
        iceberg_table_free(table);
        table = thin(&law); /* and it does not thin what it has thinned */
        assert_int_equal(json_array_size(snapshots(table)), again + 1);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

static void thinning_comes_in_batches(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    iceberg_set_retention(table, &least);
    size_t most = 0, shrinks = 0, last = 0;
    for (int i = 0; i < 100; i++) {
        append(table);
        size_t count = json_array_size(snapshots(table));
        shrinks += count < last;
        most = count > most ? count : most;
        last = count;
    }
    assert_true(most <= 17);
    assert_in_range(shrinks, 5, 7);
    iceberg_table_free(table);
}

static void what_is_named_stays(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    int64_t id, ids[4];
    for (int i = 0; i < 4; i++)
        ids[i] = append(table);
    const char *const property[] = {"firn.position.a/b", "pg/1@1/2.0 %SNAPSHOT%"};
    IcebergCommit commit = {.properties = property, .property_count = 1};
    OK(commit_once(table, &commit, &id, &why_));
    for (int i = 0; i < 4; i++)
        append(table);
    iceberg_table_free(table);
    lake_change(&lake, tag, &ids[1]);
    table = thin(&least);
    assert_int_equal(json_array_size(snapshots(table)), 3);
    assert_true(holds(table, ids[1]));
    assert_true(holds(table, id));
    assert_int_equal(lake_orphans(&lake), 0);
    iceberg_table_free(table);
    lake_change(&lake, keep_garbage, NULL);
    table = thin(&least);
    assert_int_equal(json_array_size(snapshots(table)), 4);
    iceberg_table_free(table);
}

static void old_metadata_goes(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    iceberg_set_retention(table, &least);
    for (int i = 0; i < 20; i++)
        append(table);
    for (int64_t version = 1; version <= 21; version++) {
        bool there;
        AUTO(mem_free)
        char *uri =
            mem_format("%s/metadata/v%lld.metadata.json", lake.location, (long long)version);
        OK(store_exists(lake.store, uri, &there, &why_));
        assert_int_equal(there, version >= 18);
    }
    assert_int_equal(json_array_size(json_object_get(iceberg_metadata(table), "metadata-log")), 3);
    iceberg_table_free(table);
}

/* ---------- too many young ones ---------- */
static size_t leaving(void)
{
    Paths files = lake_leaving(&lake);
    size_t count = files.count;
    paths_done(&files);
    return count;
}

static void too_many_young_ones_are_thinned(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        IcebergTable *table = lake_create(&lake, version, NULL);
        iceberg_set_retention(table, &few);
        int64_t ids[100];
        for (int i = 0; i < 100; i++)
            ids[i] = append(table);
        /* the newest, what is waiting to be thinned, the first of one or two periods */
        assert_in_range(json_array_size(snapshots(table)), 11, 10 + 16 + 2);
        for (int i = 90; i < 100; i++)
            assert_true(holds(table, ids[i]));
        assert_true(holds(table, ids[0]));
        for (int i = 0; i < 100; i++)
            assert_true(iceberg_is_ancestor(table, ids[i]));
        /* nothing of theirs is gone, and each is known to be leaving */
        assert_in_range(leaving(), 4, 6);
        assert_int_equal(lake_orphans(&lake), 0);
        iceberg_table_free(table);
        /* the next process goes on: as long as they are young they stay */
        table = thin(&few);
        assert_in_range(leaving(), 4, 7);
        assert_int_equal(lake_orphans(&lake), 0);
        iceberg_table_free(table);
        /* and then they go, some at each commit */
        table = thin(&least);
        size_t before = leaving();
        assert_int_equal(lake_orphans(&lake), 0);
        append(table);
        append(table);
        assert_int_equal(leaving(), 0);
        assert_in_range(before, 0, 3);
        assert_int_equal(lake_orphans(&lake), 0);
        iceberg_table_free(table);
        OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
    }
}

/* The first of each period stays, where there is a snapshot every 30 s. */
static void young_periods_keep_their_first(void **state)
{
    (void)state;
    enum { COMMITS = 100 };
    IcebergTable *table = lake_create(&lake, 2, NULL);
    iceberg_set_retention(table, &law);
    for (int i = 0; i < COMMITS; i++)
        append(table);
    iceberg_table_free(table);
    int64_t apart_ms = MINUTE_MS / 2;
    lake_change(&lake, spread, &apart_ms);
    table = thin(&few);
    const json_t *list = snapshots(table);
    size_t count = json_array_size(list);
    int64_t last_period = -1;
    for (size_t i = 0; i + 10 < count; i++) {
        int64_t period =
            json_integer_value(json_object_get(json_array_get(list, i), "timestamp-ms")) /
            (5 * MINUTE_MS);
        assert_true(period > last_period);
        last_period = period;
    }
    /* fifty minutes, less the ten newest: nine to eleven periods */
    assert_in_range(count, 10 + 9, 10 + 11);
    assert_int_equal(leaving(), 1);
    assert_int_equal(lake_orphans(&lake), 0);
    iceberg_table_free(table);
}

/* A commit each 200 ms: the ten newest stay, of the others the first of each second. */
static void bursts_keep_one_per_second(void **state)
{
    (void)state;
    enum { COMMITS = 60 };
    IcebergRetention retention = law;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    iceberg_set_retention(table, &retention);
    for (int i = 0; i < COMMITS; i++)
        append(table);
    iceberg_table_free(table);
    int64_t apart_ms = 200;
    lake_change(&lake, spread, &apart_ms);
    retention.burst_most = 10;
    retention.young_most = 1000;
    table = thin(&retention);
    const json_t *list = snapshots(table);
    size_t count = json_array_size(list);
    int64_t last_second = -1;
    for (size_t i = 0; i + 10 < count; i++) {
        int64_t second =
            json_integer_value(json_object_get(json_array_get(list, i), "timestamp-ms")) / 1000;
        assert_true(second > last_second);
        last_second = second;
    }
    /* twelve seconds, less the two of the ten newest: ten or eleven begun */
    assert_in_range(count, 10 + 9, 10 + 11);
    iceberg_table_free(table);
}

/* ---------- random histories ---------- */
typedef struct Live {
    DataFile file;
    char *deletes; /* path; v2: the latest */
} Live;

/* Appends, deletes, removals, truncations, merges, thinning at random; at the end every file that a
 * snapshot needs is there, and no other. */
static void random_history(int version, uint64_t seed, const IcebergRetention *retention)
{
    Live live[64] = {0};
    size_t count = 0;
    lake.random = seed;
    IcebergTable *table = lake_create(&lake, version, "bucket(4, id)");
    iceberg_set_retention(table, retention);
    for (int i = 0; i < 120; i++) {
        DataFile added[3];
        size_t added_count = 0;
        const char *removed = NULL;
        bool truncate = lake_random(&lake, 40) == 0;
        size_t gone = count ? lake_random(&lake, count) : 0;
        if (count < 60 && lake_random(&lake, 3))
            added[added_count++] =
                lake_file(&lake, table, 1 + lake_random(&lake, 50), (int32_t)lake_random(&lake, 4));
        if (!truncate && count && lake_random(&lake, 4) == 0)
            removed = live[gone].file.path;
        if (!truncate && count && lake_random(&lake, 2)) {
            size_t of = lake_random(&lake, count);
            if (!removed || of != gone)
                added[added_count++] =
                    lake_deletes(&lake, table, &live[of].file, 1 + (uint32_t)lake_random(&lake, 9));
        }
        IcebergCommit commit = {.added = added,
                                .added_count = added_count,
                                .removed = &removed,
                                .removed_count = removed != NULL,
                                .remove_all = truncate};
        int64_t id;
        OK(commit_once(table, &commit, &id, &why_));
        if (truncate)
            for (; count; count--)
                data_file_done(&live[count - 1].file);
        if (removed) {
            data_file_done(&live[gone].file);
            live[gone] = live[--count];
        }
        for (size_t a = 0; a < added_count; a++)
            if (added[a].content == FILE_DATA)
                live[count++].file = added[a];
            else
                data_file_done(&added[a]);
        if (lake_random(&lake, 20) == 0) { /* a restart, and with it a thinning */
            iceberg_table_free(table);
            iceberg_table_free(thin(lake_random(&lake, 4) ? retention : &least));
            table = lake_load(&lake);
            iceberg_set_retention(table, retention);
        }
        if (i % 25 == 0)
            lake_orphans(&lake);
    }
    assert_int_equal(lake_orphans(&lake), 0);
    iceberg_table_free(table);
    for (int i = 0; i < 4; i++) { /* so many batches at each commit */
        table = thin(&least);
        iceberg_table_free(table);
    }
    table = thin(&least);
    assert_int_equal(leaving(), 0);
    assert_int_equal(json_array_size(snapshots(table)), 1);
    assert_int_equal(lake_orphans(&lake), 0);
    while (count)
        data_file_done(&live[--count].file);
    iceberg_table_free(table);
    OK(catalog_drop(lake.catalog, &lake.name, true, &why_));
}

static void nothing_is_missing_and_nothing_left(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        random_history(2 + (int)(seed & 1), seed * 7919, seed <= 4 ? &least : &few);
}

/* ---------- rollbacks and ancestors ---------- */
/* S1 … S6; back to S4; S7 on top of it. S5 had removed a file that S4 has. */
static void a_rollback_is_told_apart_and_survives_thinning(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    int64_t ids[8];
    for (int i = 1; i <= 3; i++)
        ids[i] = append(table);
    DataFile file = lake_file(&lake, table, 10, 0);
    OK(lake_commit(table, &file, 1, NULL, &why_));
    ids[4] = iceberg_current_snapshot(table);
    OK(lake_commit(table, NULL, 0, file.path, &why_));
    ids[5] = iceberg_current_snapshot(table);
    const char *const property[] = {"firn.position.u", "pg@1/2.0 %SNAPSHOT%"};
    IcebergCommit commit = {.properties = property, .property_count = 1};
    OK(commit_once(table, &commit, &ids[6], &why_));
    for (int i = 1; i <= 6; i++)
        assert_true(iceberg_is_ancestor(table, ids[i]));
    assert_false(iceberg_is_ancestor(table, 4711));

    lake_change(&lake, set_head, &ids[4]);
    refresh(table);
    for (int i = 1; i <= 6; i++)
        assert_int_equal(iceberg_is_ancestor(table, ids[i]), i <= 4);
    ids[7] = append(table);
    for (int i = 1; i <= 7; i++)
        assert_int_equal(iceberg_is_ancestor(table, ids[i]), i != 5 && i != 6);
    iceberg_table_free(table);

    /* everything may go; the position still names S6, and so the evidence stays */
    table = thin(&least);
    assert_true(holds(table, ids[6]));
    assert_false(iceberg_is_ancestor(table, ids[6]));
    assert_true(iceberg_is_ancestor(table, ids[7]));
    lake_orphans(&lake); /* fails if the file that S4 and S7 have is gone */
    bool there;
    OK(store_exists(lake.store, file.path, &there, &why_));
    assert_true(there);
    append(table);
    assert_false(iceberg_is_ancestor(table, ids[6]));
    data_file_done(&file);
    iceberg_table_free(table);
}

static void thinned_ancestors_are_ancestors(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    int64_t ids[60];
    for (int i = 0; i < 60; i++)
        ids[i] = append(table);
    iceberg_table_free(table);
    int64_t apart_ms = 10 * MINUTE_MS;
    lake_change(&lake, spread, &apart_ms);
    table = thin(&law);
    size_t known = 0;
    for (int i = 0; i < 60; i++) {
        known += holds(table, ids[i]);
        assert_true(iceberg_is_ancestor(table, ids[i])); /* kept or thinned */
    }
    assert_in_range(known, 10, 20);
    /* back to one that was kept, behind a gap */
    int64_t back = 0;
    for (int i = 0; i < 40; i++)
        if (holds(table, ids[i]))
            back = ids[i];
    int64_t head = iceberg_current_snapshot(table);
    lake_change(&lake, set_head, &back);
    refresh(table);
    assert_true(iceberg_is_ancestor(table, back));
    assert_false(iceberg_is_ancestor(table, head));
    assert_false(iceberg_is_ancestor(table, ids[59]));
    /* one that nobody knows any more may be what was rolled back */
    lake_change(&lake, expire, &head);
    refresh(table);
    assert_false(iceberg_is_ancestor(table, head));
    iceberg_table_free(table);
}

/* As Nessie shows a table: the head, and nothing of what it stands on. */
static void leave_head(json_t *metadata, void *context)
{
    const bool *is_nessie = context;
    int64_t head = json_integer_value(json_object_get(metadata, "current-snapshot-id"));
    json_t *snapshots = json_object_get(metadata, "snapshots"), *kept = json_array(), *snapshot;
    size_t i;
    json_array_foreach(snapshots, i, snapshot)
    {
        if (json_integer_value(json_object_get(snapshot, "snapshot-id")) != head)
            continue;
        json_object_del(snapshot, "parent-snapshot-id");
        json_array_append(kept, snapshot);
    }
    json_object_set_new(metadata, "snapshots", kept);
    if (*is_nessie)
        json_object_set_new(json_object_get(metadata, "properties"), "nessie.commit.id",
                            json_string("1f5c"));
}

static void a_head_alone_tells_nothing(void **state)
{
    (void)state;
    for (int nessie = 0; nessie < 2; nessie++) {
        IcebergTable *table = lake_create(&lake, 2, NULL);
        int64_t first = append(table), head = append(table);
        bool is_nessie = nessie;
        lake_change(&lake, leave_head, &is_nessie);
        refresh(table);
        assert_true(iceberg_is_ancestor(table, head));
        /* elsewhere a head without a parent replaced whatever was there */
        assert_int_equal(iceberg_is_ancestor(table, first), nessie);
        assert_int_equal(iceberg_foreign(table, first), ICEBERG_FILES_CHANGED);
        iceberg_table_free(table);
        each_lake_close(state);
        each_lake_open(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(young_snapshots_all_stay),
        TEST(older_ones_are_thinned),
        TEST(thinning_comes_in_batches),
        TEST(what_is_named_stays),
        TEST(old_metadata_goes),
        TEST(too_many_young_ones_are_thinned),
        TEST(young_periods_keep_their_first),
        TEST(bursts_keep_one_per_second),
        TEST(nothing_is_missing_and_nothing_left),
        TEST(a_rollback_is_told_apart_and_survives_thinning),
        TEST(thinned_ancestors_are_ancestors),
        TEST(a_head_alone_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
