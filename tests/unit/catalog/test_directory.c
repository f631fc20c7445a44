/* links: firn_catalog */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/catalog/catalog.h"
#include "common/thread.h"

static char folder[64], location[80];
static Store *store;
static Catalog *catalog;
static TableName name;

static int setup(void **state)
{
    (void)state;
    Error err = {0};
    snprintf(folder, sizeof folder, "/tmp/firn-catalog-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(location, sizeof location, "file://%s/db/t", folder);
    name = (TableName){"db", "t", location};
    store = store_posix_open(folder, &err);
    catalog = catalog_directory_open(store, &err);
    assert_non_null(catalog);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    Error err = {0};
    catalog_close(catalog);
    assert_true(store_delete_all(store, folder, &err));
    store_close(store);
    return 0;
}

static const char *file(const char *format, long long number)
{
    static char text[4][200];
    static int at;
    char *to = text[at++ & 3], last[120];
    snprintf(last, sizeof last, "%s/metadata/", location);
    snprintf(to, sizeof text[0], "%s%s%lld.metadata.json", last, format, number);
    return to;
}

static const char *hint(void)
{
    static char text[120];
    snprintf(text, sizeof text, "%s/metadata/version-hint.text", location);
    return text;
}

static void expect_hint(const char *content)
{
    Error err = {0};
    Bytes got = {0};
    assert_true(store_get(store, hint(), 100, &got, &err));
    assert_int_equal(got.used, strlen(content));
    assert_memory_equal(got.data, content, got.used);
    bytes_done(&got);
}

static int64_t version_now(void)
{
    Error err = {0};
    CatalogEntry entry;
    assert_true(catalog_load(catalog, &name, &entry, &err));
    int64_t version = entry.metadata_uri ? entry.version : 0;
    catalog_entry_done(&entry);
    return version;
}

static bool commit_on(int64_t base, const char *text, Error *err)
{
    AUTO(mem_free) char *base_uri = mem_strdup(file("v", base));
    CatalogEntry entry = {.metadata_uri = base ? base_uri : NULL, .version = base}, now;
    CatalogChange change = {.base = &entry, .metadata = text, .metadata_bytes = strlen(text)};
    bool ok = catalog_commit(catalog, &name, &change, &now, err);
    if (ok) {
        assert_int_equal(now.version, base + 1);
        assert_string_equal(now.metadata_uri, file("v", base + 1));
    }
    catalog_entry_done(&now);
    return ok;
}

static void commits_are_one_after_the_other(void **state)
{
    (void)state;
    Error err = {0};
    CatalogEntry entry;
    assert_int_equal(version_now(), 0);
    assert_true(commit_on(0, "{1}", &err));
    assert_false(commit_on(0, "{x}", &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_true(commit_on(1, "{2}", &err));
    assert_false(commit_on(1, "{x}", &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    expect_hint("2");
    assert_true(catalog_load(catalog, &name, &entry, &err));
    assert_int_equal(entry.version, 2);
    assert_int_equal(entry.metadata.used, 3);
    assert_memory_equal(entry.metadata.data, "{2}", 3);
    catalog_entry_done(&entry);
}

static void the_hint_is_repaired(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "2", "1\n", "99", "", "nonsense", "-4", "3.0", "99999999999999999999999999", "0"};
    Error err = {0};
    for (int64_t i = 0; i < 4; i++)
        assert_true(commit_on(i, "{}", &err));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_true(store_put(store, hint(), wrong[i], strlen(wrong[i]), &err));
        assert_int_equal(version_now(), 4);
        expect_hint("4");
    }
    assert_true(store_delete(store, hint(), &err));
    assert_int_equal(version_now(), 4);
    expect_hint("4");
    /* names that are no versions */
    AUTO(mem_free) char *other = mem_format("%s/metadata/v7.metadata.json.tmp", location);
    assert_true(store_put(store, other, "x", 1, &err));
    assert_true(store_put(store, file("vx", 9), "x", 1, &err));
    assert_true(store_delete(store, hint(), &err));
    assert_int_equal(version_now(), 4);
}

/* A writer that slept while a hundred versions came and its successor's name was freed again. */
static void a_sleeper_does_not_commit_into_the_past(void **state)
{
    (void)state;
    Error err = {0};
    for (int64_t i = 0; i < 9; i++)
        assert_true(commit_on(i, "{}", &err));
    for (int64_t i = 1; i <= 5; i++)
        assert_true(store_delete(store, file("v", i), &err));
    assert_false(commit_on(3, "{x}", &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_false(commit_on(0, "{x}", &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    bool there;
    assert_true(store_exists(store, file("v", 4), &there, &err));
    assert_false(there);
    assert_int_equal(version_now(), 9);
}

static void drop_forgets_and_purge_deletes(void **state)
{
    (void)state;
    Error err = {0};
    bool there;
    AUTO(mem_free) char *data = mem_format("%s/data/x.parquet", location);
    assert_true(catalog_drop(catalog, &name, true, &err)); /* nothing there */
    assert_true(commit_on(0, "{}", &err));
    assert_true(commit_on(1, "{}", &err));
    assert_true(store_put(store, data, "x", 1, &err));
    assert_true(catalog_drop(catalog, &name, false, &err));
    assert_int_equal(version_now(), 0);
    assert_true(store_exists(store, data, &there, &err));
    assert_true(there);
    assert_false(commit_on(2, "{x}", &err)); /* who still holds it can't bring it back */
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_true(commit_on(0, "{}", &err));
    assert_true(catalog_drop(catalog, &name, true, &err));
    AUTO(mem_free) char *path = mem_format("%s/db/t", folder);
    assert_int_equal(access(path, F_OK), -1);
}

typedef struct Racer {
    int won, lost;
} Racer;

static void race(void *argument)
{
    Racer *racer = argument;
    for (int i = 0; i < 30; i++) {
        Error err = {0};
        int64_t base = version_now();
        if (commit_on(base, "{}", &err))
            racer->won++;
        else if (err.kind == ERROR_CONFLICT)
            racer->lost++;
    }
}

static void one_of_many_wins(void **state)
{
    (void)state;
    Racer racers[4] = {0};
    Thread *threads[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("racer", race, &racers[i]);
    int won = 0;
    for (size_t i = 0; i < 4; i++) {
        thread_join(threads[i]);
        won += racers[i].won;
        assert_int_equal(racers[i].won + racers[i].lost, 30);
    }
    assert_int_equal(version_now(), won);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_are_one_after_the_other),
        TEST(the_hint_is_repaired),
        TEST(a_sleeper_does_not_commit_into_the_past),
        TEST(drop_forgets_and_purge_deletes),
        TEST(one_of_many_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
