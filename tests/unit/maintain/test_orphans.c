/* links: firn_maintain */
/* A table's turn to have its orphans removed: once in a while, by one process of several; and what
 * belongs to a group or to the turn itself stays. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/maintain/maintain.h"
#include "agent/maintain/orphans.h"
#include "agent/table/iceberg/turn.h"
#include "common/clock.h"
#include "tests/unit/iceberg/lake.h"

#define DAY_MS (INT64_C(86400) * 1000)

static Lake lake;
static LakeTableSpec spec;
static char database[] = "db", table_name[] = "t", resource[] = "orders";

static int setup(void **state)
{
    (void)state;
    lake_open(&lake);
    spec = (LakeTableSpec){.meta.name = resource,
                           .database = database,
                           .table_name = table_name,
                           .catalog = {.type = CATALOG_DIRECTORY, .warehouse = lake.folder},
                           .orphans_older_than_ms = DAY_MS};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lake_close(&lake);
    return 0;
}

static char *uri_of(const char *name)
{
    return mem_format("%s/%s", lake.location, name);
}

static void plant(const char *name)
{
    AUTO(mem_free) char *uri = uri_of(name);
    const struct timespec times[] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    OK(store_put(lake.store, uri, "[]", 2, &why_));
    assert_int_equal(utimensat(AT_FDCWD, uri + strlen("file://"), times, 0), 0);
}

static bool there(const char *name)
{
    AUTO(mem_free) char *uri = uri_of(name);
    return access(uri + strlen("file://"), F_OK) == 0;
}

static void make_table(void)
{
    AUTO(iceberg_table_free) IcebergTable *table = lake_create(&lake, 2, NULL);
    DataFile file = lake_file(&lake, table, 10, 0);
    OK(lake_commit(table, &file, 1, NULL, &why_));
    data_file_done(&file);
}

static OrphanOutcome turn_of(bool now)
{
    OrphanTask task = {.spec = &spec, .now = now, .every_ms = DAY_MS};
    OrphanOutcome outcome;
    OK(orphans_remove(&task, &outcome, &why_));
    return outcome;
}

static void write_turn(const char *text)
{
    AUTO(mem_free) char *uri = uri_of("metadata/" TURN_FILE);
    OK(store_put(lake.store, uri, text, strlen(text), &why_));
}

static void test_turns(void **state)
{
    (void)state;
    OrphanOutcome outcome = turn_of(false);
    assert_false(outcome.worked || outcome.due_ms); /* there is no table */
    make_table();
    plant("data/a.parquet");
    int64_t before_ms = clock_wall_us() / 1000;
    outcome = turn_of(false);
    assert_true(outcome.worked && outcome.files == 1 && outcome.bytes == 2);
    assert_true(outcome.done_ms >= before_ms);
    int64_t done_ms = outcome.done_ms;

    plant("data/b.parquet");
    outcome = turn_of(false); /* another process, or this one after a restart */
    assert_false(outcome.worked);
    assert_true(outcome.due_ms >= before_ms + DAY_MS && outcome.due_ms <= done_ms + DAY_MS);
    assert_int_equal(outcome.done_ms, done_ms);
    assert_true(there("data/b.parquet"));
    outcome = turn_of(true);
    assert_true(outcome.worked && outcome.files == 1);

    AUTO(mem_free)
    char *yesterday = mem_format("{\"begun-ms\":%lld}", (long long)(before_ms - DAY_MS));
    const char *const due[] = {yesterday, "", "{", "[]", "{\"begun-ms\":-5}"};
    for (size_t i = 0; i < ARRAY_LEN(due); i++) {
        write_turn(due[i]);
        assert_true(turn_of(false).worked);
    }
    write_turn("{\"begun-ms\":9007199254740991}"); /* by a clock that ran ahead */
    outcome = turn_of(false);
    assert_false(outcome.worked);
    assert_true(outcome.due_ms <= clock_wall_us() / 1000 + DAY_MS);
}

static void test_two_at_once(void **state)
{
    (void)state;
    Turn a, b;
    make_table();
    AUTO(mem_free) char *uri = uri_of("metadata/" TURN_FILE);
    OK(turn_read(lake.store, uri, &a, &why_));
    OK(turn_read(lake.store, uri, &b, &why_));
    a.begun_ms = 1;
    a.files = 3;
    OK(turn_write(lake.store, uri, &a, &why_));
    FAILS(turn_write(lake.store, uri, &b, &why_), ERROR_CONFLICT, "ObjectExists");
    OK(turn_read(lake.store, uri, &b, &why_));
    assert_true(b.begun_ms == 1 && b.files == 3);
}

/* What went wrong stands there until it is done. */
static void test_failed(void **state)
{
    (void)state;
    make_table();
    AUTO(mem_free) char *uri = uri_of("metadata/" TURN_FILE);
    AUTO(mem_free) char *other = uri_of("metadata/00000-1.metadata.json");
    OK(store_put(lake.store, other, "{}", 2, &why_));
    OrphanTask task = {.spec = &spec, .now = true, .every_ms = DAY_MS};
    OrphanOutcome outcome;
    Turn turn;
    FAILS(orphans_remove(&task, &outcome, &why_), ERROR_CONFIG, "LocationShared");
    OK(turn_read(lake.store, uri, &turn, &why_));
    assert_string_equal(turn.failed, "LocationShared");
    assert_true(turn.begun_ms > 0 && turn.done_ms == 0);
    OK(store_delete(lake.store, other, &why_));
    atomic_bool stop = true;
    task.stop = &stop;
    FAILS(orphans_remove(&task, &outcome, &why_), ERROR_RETRY, "Stopped");
    OK(turn_read(lake.store, uri, &turn, &why_));
    assert_string_equal(turn.failed, "LocationShared");
    assert_true(turn_of(true).worked);
    OK(turn_read(lake.store, uri, &turn, &why_));
    assert_string_equal(turn.failed, "");
    assert_true(turn.done_ms >= turn.begun_ms);
}

static void test_what_is_others(void **state)
{
    (void)state;
    static const char *const stay[] = {
        "data/3-10-5-1-ab12-7-00001.parquet", "data/day=1/0-0-0-0-1-1-00000.parquet",
        "metadata/" TURN_FILE, "metadata/staged/3-10-5-1-ab12-7.piece"};
    static const char *const go[] = {"data/3-10-5-1-ab12-x-00001.parquet", "data/1.parquet",
                                     "data/3-10-5-1-ab12.parquet", "metadata/3-10.avro"};
    make_table();
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        plant(stay[i]);
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        plant(go[i]);
    assert_int_equal(turn_of(true).files, ARRAY_LEN(go));
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        assert_true(there(stay[i]));
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        assert_false(there(go[i]));
}

/* Tables of their own and those that units make; not those that ask for nothing. */
static void test_which(void **state)
{
    (void)state;
    LakeTableSpec silent = spec;
    silent.orphans_older_than_ms = 0;
    IngestionUnitSpec unit = {.lake = &spec};
    Manifest manifest = {.tables = &silent, .table_count = 1};
    assert_false(manifest_is_maintained(&manifest));
    assert_null(maintain_start(&manifest));
    manifest.units = &unit;
    manifest.unit_count = 1;
    assert_true(manifest_is_maintained(&manifest));

    make_table();
    plant("data/a.parquet");
    OK(maintain_once(&manifest, true, &why_));
    assert_true(there("data/a.parquet"));
    assert_false(there("metadata/" TURN_FILE));
    OK(maintain_once(&manifest, false, &why_));
    assert_false(there("data/a.parquet"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_which, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
