/* links: firn_iceberg */
/* Files that nobody names go once they are old, and nothing else does: the table's own, what is on
 * its way into it or out of it, and what is not the table's. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/store/driver.h"
#include "common/clock.h"
#include "tests/unit/iceberg/each_lake.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define UNIT "firn.position.default/orders"

static int64_t committed[8];

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", lake.location + strlen("file://"), name);
    return path;
}

static void age(const char *path, int days)
{
    const int64_t at_us = clock_wall_us() - days * DAY_US - 60 * 1000000;
    const struct timespec times[] = {{.tv_sec = at_us / 1000000}, {.tv_sec = at_us / 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void plant(const char *name, int days)
{
    AUTO(mem_free) char *uri = mem_format("%s/%s", lake.location, name);
    OK(store_put(lake.store, uri, "[]", 2, &why_));
    age(path_of(name), days);
}

static bool there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* Everything that is there now is old. */
static bool age_one(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    (void)modified_us;
    (void)context;
    age(uri + strlen("file://"), 9);
    return true;
}

static void age_all(void)
{
    OK(store_list(lake.store, lake.location, age_one, NULL, &why_));
}

static void commit_one(IcebergTable *table, bool claims)
{
    DataFile file = lake_file(&lake, table, 10, 0);
    const char *const property[] = {UNIT, "kafka/x@1 %SNAPSHOT%"};
    IcebergCommit commit = {
        .added = &file, .added_count = 1, .properties = property, .property_count = claims};
    OK(commit_once(table, &commit, &committed[0], &why_));
    data_file_done(&file);
}

/* Three snapshots by three processes, v3 vectors among their files. */
static void fill(void)
{
    IcebergTable *table = lake_create(&lake, 3, NULL);
    for (int i = 0; i < 3; i++) {
        DataFile file = lake_file(&lake, table, 10, 0);
        OK(lake_commit(table, &file, 1, NULL, &why_));
        DataFile deletes = lake_deletes(&lake, table, &file, 2);
        OK(lake_commit(table, &deletes, 1, i == 1 ? file.path : NULL, &why_));
        data_file_done(&deletes);
        data_file_done(&file);
        iceberg_table_free(table);
        table = lake_load(&lake);
    }
    iceberg_table_free(table);
    age_all();
}

static bool is_others(const char *name)
{
    return strcmp(name, "others.parquet") == 0;
}

static const IcebergOrphans day = {.older_than_us = DAY_US, .is_others = is_others};

static uint64_t held; /* of that run */
static uint64_t removed(const IcebergOrphans *how)
{
    IcebergOrphanFigures figures;
    AUTO(iceberg_table_free) IcebergTable *table = lake_load(&lake);
    OK(iceberg_remove_orphans(table, how, &figures, &why_));
    assert_false(figures.more);
    held = figures.held;
    return figures.files;
}

static void refused(ErrorKind kind, const char *code)
{
    IcebergOrphanFigures figures;
    AUTO(iceberg_table_free) IcebergTable *table = lake_load(&lake);
    FAILS(iceberg_remove_orphans(table, &day, &figures, &why_), kind, code);
    assert_int_equal(figures.files, 0);
}

/* Fails where a file that a snapshot needs is gone. */
static void whole(void)
{
    lake_orphans(&lake);
}

/* ---------- what others make of the metadata ---------- */
typedef struct Property {
    const char *key, *value; /* NULL: it goes */
} Property;

static void change_property(json_t *metadata, void *context)
{
    const Property *property = context;
    json_t *properties = json_object_get(metadata, "properties");
    if (!properties)
        json_object_set_new(metadata, "properties", properties = json_object());
    if (property->value)
        json_object_set_new(properties, property->key, json_string(property->value));
    else
        json_object_del(properties, property->key);
}

static void set_property(const char *key, const char *value)
{
    lake_change(&lake, change_property, &(Property){key, value});
}

static void make_older(json_t *metadata, void *days)
{
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(metadata, "snapshots"), i, snapshot)
    {
        json_int_t ms = json_integer_value(json_object_get(snapshot, "timestamp-ms"));
        json_object_set_new(snapshot, "timestamp-ms",
                            json_integer(ms - (intptr_t)days * DAY_US / 1000));
    }
}

static void lose_list(json_t *metadata, void *context)
{
    (void)context;
    json_object_del(json_array_get(json_object_get(metadata, "snapshots"), 0), "manifest-list");
}

/* Lists as Hadoop writes them, and statistics of a folder that the table was moved from. */
static void name_otherwise(json_t *metadata, void *context)
{
    const char *scheme = context;
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(metadata, "snapshots"), i, snapshot)
    {
        const char *list = json_string_value(json_object_get(snapshot, "manifest-list"));
        AUTO(mem_free)
        char *other = mem_format(
            "%s%s", scheme, strstr(list, "/dev") ? strstr(list, "/dev") : strstr(list, "/tmp"));
        json_object_set_new(snapshot, "manifest-list", json_string(other));
    }
    json_object_set_new(metadata, "statistics",
                        json_pack("[{s:s}]", "statistics-path", "s3a://old/place/of.stats"));
    json_object_set_new(
        metadata, "partition-statistics",
        json_pack("[{s:s}]", "statistics-path", "s3a://old/place/of-partition.stats"));
}

#define GOES "data/region=x/0123456789abcdef0123456789abcdef-00001.parquet"

static void test_goes_and_stays(void **state)
{
    (void)state;
    static const char *const go[] = {
        GOES,
        "data/00000-1-5c0b8cf1-6d0e-4d0f-9d4e-2b8f6c1a7e11-00001.parquet",
        "data/0123456789abcdef0123456789abcdef-00002-deletes.parquet",
        "data/0123456789abcdef0123456789abcdef-00003.puffin",
        "metadata/m-0123456789abcdef0123456789abcdef-00004.avro",
        "metadata/snap-77-0123456789abcdef0123456789abcdef-00005.avro",
        "metadata/statistics.stats"};
    static const char *const stay[] = {"metadata/staged/0-0-0-0-aa-1.piece",
                                       "data/others.parquet",
                                       "metadata/.00000-x.metadata.json.crc",
                                       "metadata/00000-x.gz.metadata.json",
                                       "metadata/00000-x.metadata.json.gz",
                                       "data/_hidden",
                                       "data/.hidden",
                                       "other/table/data/1.parquet",
                                       "metadata/version-hint.text.tmp"};
    fill();
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        plant(go[i], 2);
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        plant(stay[i], 9);
    plant("data/young.parquet", 0);

    IcebergOrphans dry = day;
    dry.dry_run = true;
    assert_int_equal(removed(&dry), ARRAY_LEN(go));
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        assert_true(there(go[i]));
    assert_int_equal(removed(&day), ARRAY_LEN(go));
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        assert_false(there(go[i]));
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        assert_true(there(stay[i]));
    assert_true(there("data/young.parquet"));
    assert_true(there("metadata/v1.metadata.json"));
    whole();
    assert_int_equal(removed(&day), 0);
}

/* What a unit's process wrote may go with its next commit, however long that takes. */
static void test_pending(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    plant("data/before.parquet", 9);
    assert_int_equal(removed(&day), 0); /* of the first commit, maybe */
    commit_one(table, true);
    DataFile pending = lake_file(&lake, table, 5, 0); /* by the process of the unit's last commit */
    age_all();
    plant("data/before.parquet", 3);
    assert_int_equal(removed(&day), 1);
    assert_false(there("data/before.parquet"));

    /* Another process goes on with the table, the unit's own is held up for five days. */
    lake_change(&lake, make_older, (void *)(intptr_t)5);
    IcebergTable *other = lake_load(&lake);
    commit_one(other, false);
    plant(GOES, 3);
    plant("data/held.parquet", 5);
    plant("data/before.parquet", 7);
    assert_int_equal(removed(&day), 1);
    assert_int_equal(held, 3);
    assert_true(there(GOES));
    assert_true(there("data/held.parquet"));
    assert_true(access(pending.path + strlen("file://"), F_OK) == 0);
    assert_false(there("data/before.parquet"));

    /* It goes on, and so does what is removed; what the one before left is nobody's now. */
    iceberg_table_free(table);
    table = lake_load(&lake);
    commit_one(table, true);
    age(pending.path + strlen("file://"), 9);
    assert_int_equal(removed(&day), 3);
    assert_false(there(GOES));
    assert_false(there("data/held.parquet"));
    assert_false(access(pending.path + strlen("file://"), F_OK) == 0);
    whole();
    data_file_done(&pending);
    iceberg_table_free(other);
    iceberg_table_free(table);
}

/* Somebody expired the snapshot that says how far the unit is: nobody knows when that was. */
static void test_claim_unknown(void **state)
{
    (void)state;
    fill();
    plant(GOES, 9);
    set_property(UNIT, "kafka/x@1 4711");
    assert_int_equal(removed(&day), 0);
    assert_true(there(GOES));
}

static void test_named_otherwise(void **state)
{
    (void)state;
    char file[] = "file:", plain[] = "file://";
    fill();
    plant("metadata/of.stats", 9);
    plant("metadata/of-partition.stats", 9);
    plant(GOES, 9);
    lake_change(&lake, name_otherwise, file);
    assert_int_equal(removed(&day), 1);
    assert_true(there("metadata/of.stats"));
    assert_true(there("metadata/of-partition.stats"));
    lake_change(&lake, name_otherwise, plain);
    whole();
}

static void test_refusals(void **state)
{
    (void)state;
    char metadata[] = "{\"table-uuid\":\"another\"}";
    fill();
    plant(GOES, 9);
    set_property("gc.enabled", "false");
    refused(ERROR_CONFIG, "NotAllowed");
    set_property("gc.enabled", "true");
    set_property("nessie.commit.id", "1");
    refused(ERROR_CONFIG, "NotAllowed");
    set_property("nessie.commit.id", NULL);

    age_all();
    static const char *const strange[] = {"00000-5c0b8cf1.metadata.json", "v0.metadata.json"};
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        AUTO(mem_free) char *name = mem_format("metadata/%s", strange[i]);
        AUTO(mem_free) char *uri = mem_format("%s/%s", lake.location, name);
        OK(store_put(lake.store, uri, metadata, strlen(metadata), &why_));
        age(path_of(name), 3);
        refused(ERROR_CONFIG, "LocationShared");
        OK(store_delete(lake.store, uri, &why_));
    }
    assert_true(there(GOES));
    assert_int_equal(removed(&day), 1);
}

/* What can't be read may name anything. */
static void test_unreadable(void **state)
{
    (void)state;
    fill();
    plant(GOES, 9);
    Paths paths = lake_reachable(&lake);
    for (size_t i = 0; i < paths.count; i++) {
        const char *path = paths.items[i] + strlen("file://");
        if (!strstr(path, ".avro"))
            continue;
        AUTO(mem_free) char *away = mem_format("%s.away", path);
        assert_int_equal(rename(path, away), 0);
        refused(ERROR_DATA, "ObjectMissing");
        assert_int_equal(rename(away, path), 0);
    }
    paths_done(&paths);
    AUTO(mem_free) char *leaving = mem_format("%s/metadata/expired/x.json", lake.location);
    OK(store_put(lake.store, leaving, "[{", 2, &why_));
    refused(ERROR_DATA, "BadMetadata");
    OK(store_delete(lake.store, leaving, &why_));
    assert_true(there(GOES));
    assert_int_equal(removed(&day), 1);
    whole();
    plant(GOES, 9);
    lake_change(&lake, lose_list, NULL);
    refused(ERROR_CONFIG, "SnapshotUnreadable");
    assert_true(there(GOES));
}

/* Between the two readings a file is committed that is old, and a snapshot goes that somebody may
 * be reading. */
static struct {
    IcebergTable *table;
    DataFile file;
    char *expired;
} meanwhile;

static void drop_first(json_t *metadata, void *context)
{
    (void)context;
    json_array_remove(json_object_get(metadata, "snapshots"), 0);
}

static bool commit_meanwhile(const char *name)
{
    (void)name;
    if (!meanwhile.table)
        return false;
    OK(lake_commit(meanwhile.table, &meanwhile.file, 1, NULL, &why_));
    iceberg_table_free(meanwhile.table);
    meanwhile.table = NULL;
    lake_change(&lake, drop_first, NULL);
    return false;
}

static void test_meanwhile(void **state)
{
    (void)state;
    fill();
    plant(GOES, 9);
    meanwhile.table = lake_load(&lake);
    meanwhile.file = lake_file(&lake, meanwhile.table, 5, 0);
    free(meanwhile.file.path); /* of another engine */
    meanwhile.file.path = mem_format("%s/data/00000-7-x.parquet", lake.location);
    OK(store_put(lake.store, meanwhile.file.path, "PAR1", 4, &why_));
    meanwhile.expired = mem_strdup(json_string_value(json_object_get(
        json_array_get(json_object_get(iceberg_metadata(meanwhile.table), "snapshots"), 0),
        "manifest-list")));
    age_all();
    IcebergOrphans how = day;
    how.is_others = commit_meanwhile;
    assert_int_equal(removed(&how), 1);
    assert_null(meanwhile.table);
    assert_false(there(GOES));
    assert_int_equal(access(meanwhile.file.path + strlen("file://"), F_OK), 0);
    assert_int_equal(access(meanwhile.expired + strlen("file://"), F_OK), 0);
    whole();
    assert_int_equal(removed(&day), 1); /* nobody names its list any more */
    free(meanwhile.expired);
    data_file_done(&meanwhile.file);
}

static void keep_last(json_t *metadata, void *context)
{
    (void)context;
    json_t *snapshots = json_object_get(metadata, "snapshots");
    while (json_array_size(snapshots) > 1)
        json_array_remove(snapshots, 0);
}

/* Files that the one snapshot has from others, which are gone. */
static void test_head_alone(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 2, NULL);
    static const IcebergRetention merging = {
        .all_ms = 3600000, .metadata_files = 100, .merge_manifests = 2, .manifest_bytes = 8 << 20};
    iceberg_set_retention(table, &merging);
    for (int i = 0; i < 8; i++)
        commit_one(table, false);
    iceberg_table_free(table);
    age_all();
    assert_int_equal(removed(&day), 0);
    lake_change(&lake, keep_last, NULL);
    table = lake_load(&lake); /* another process makes the head, so that all are judged */
    commit_one(table, false);
    iceberg_table_free(table);
    assert_in_range(removed(&day), 7, 20);
    whole();
    assert_int_equal(lake_orphans(&lake), 0);
}

/* Those that leaving.c keeps for their readers, as it tells of them. */
static void test_leaving(void **state)
{
    (void)state;
    IcebergTable *table = lake_create(&lake, 3, NULL);
    static const IcebergRetention least = {.all_ms = 3600000, .burst_most = 1, .young_most = 1};
    iceberg_set_retention(table, &least);
    for (int i = 0; i < 40; i++)
        commit_one(table, false);
    Paths leaving = lake_leaving(&lake);
    assert_true(leaving.count > 0);
    paths_done(&leaving);
    iceberg_table_free(table);
    age_all();
    plant(GOES, 9);
    assert_int_equal(removed(&day), 1);
    whole();
}

/* ---------- the n-th call of the store fails ---------- */
static const StoreDriver *well;
static const char *fault_code;
static int calls_left, struck;

static bool fails(Error *err)
{
    if (--calls_left != 0)
        return false;
    struck++;
    (void)error_set(err, strcmp(fault_code, "ObjectMissing") == 0 ? ERROR_DATA : ERROR_RETRY,
                    fault_code, "a fault");
    return true;
}

static StoreReader *faulty_open(Store *store, const char *uri, Error *err)
{
    return fails(err) ? NULL : well->open(store, uri, err);
}

static bool faulty_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    return !fails(err) && well->read(reader, offset, to, bytes, err);
}

static bool faulty_list(Store *store, const char *prefix, StoreEach *each, void *context,
                        Error *err)
{
    return !fails(err) && well->list(store, prefix, each, context, err);
}

static bool faulty_remove(Store *store, const char *uri, Error *err)
{
    return !fails(err) && well->remove(store, uri, err);
}

static void torture(const char *code)
{
    int n = 0;
    fault_code = code;
    well = lake.store->driver;
    StoreDriver faulty = *well;
    faulty.open = faulty_open;
    faulty.read = faulty_read;
    faulty.list = faulty_list;
    faulty.remove = faulty_remove;
    do {
        IcebergOrphanFigures figures;
        Error why = {0};
        plant(GOES, 9);
        plant("data/1.parquet", 9);
        AUTO(iceberg_table_free) IcebergTable *table = lake_load(&lake);
        struck = 0;
        calls_left = ++n;
        lake.store->driver = &faulty;
        bool ok = iceberg_remove_orphans(table, &day, &figures, &why);
        lake.store->driver = well;
        assert_int_equal(figures.files, !there(GOES) + !there("data/1.parquet"));
        if (ok) /* what the fault hit was nobody's */
            assert_int_equal(figures.files, 2);
        else
            assert_true(struck == 1 && strcmp(why.code, code) == 0);
        whole();
    } while (struck);
    assert_true(n > 20);
}

static void test_faults(void **state)
{
    (void)state;
    fill();
    torture("StoreFailed");
    torture("ObjectMissing");
}

/* As many as are kept in mind go at once; the others are said to be left. */
static void test_too_many(void **state)
{
    (void)state;
    const struct timespec times[] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    IcebergOrphanFigures figures;
    fill();
    for (int i = 0; i < 50003; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%05d.parquet", path_of("data"), i);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && futimens(fd, times) == 0);
        close(fd);
    }
    AUTO(iceberg_table_free) IcebergTable *table = lake_load(&lake);
    OK(iceberg_remove_orphans(table, &day, &figures, &why_));
    assert_true(figures.more && figures.files == 50000);
    assert_int_equal(removed(&day), 3);
    whole();
}

static void test_stops(void **state)
{
    (void)state;
    IcebergOrphanFigures figures;
    atomic_bool stop = true;
    IcebergOrphans how = day;
    how.stop = &stop;
    fill();
    plant(GOES, 9);
    AUTO(iceberg_table_free) IcebergTable *table = lake_load(&lake);
    FAILS(iceberg_remove_orphans(table, &how, &figures, &why_), ERROR_RETRY, "Stopped");
    assert_true(there(GOES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_goes_and_stays),  TEST(test_pending),    TEST(test_claim_unknown),
        TEST(test_named_otherwise), TEST(test_refusals),   TEST(test_unreadable),
        TEST(test_meanwhile),       TEST(test_head_alone), TEST(test_leaving),
        TEST(test_faults),          TEST(test_too_many),   TEST(test_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
