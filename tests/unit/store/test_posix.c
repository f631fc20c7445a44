/* links: firn_store */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/store.h"

static char folder[64];
static Store *store;

static int setup(void **state)
{
    (void)state;
    Error err = {0};
    snprintf(folder, sizeof folder, "/tmp/firn-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    AUTO(mem_free) char *root = mem_format("%s/warehouse/", folder);
    store = store_posix_open(root, &err);
    assert_non_null(store);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    Error err = {0};
    store_close(store);
    store = store_posix_open(folder, &err);
    assert_true(store_delete_all(store, folder, &err));
    store_close(store);
    assert_int_equal(access(folder, F_OK), -1);
    return 0;
}

static const char *uri(const char *name)
{
    static char text[4][300];
    static int at;
    char *to = text[at++ & 3];
    snprintf(to, sizeof text[0], "file://%s/warehouse/%s", folder, name);
    return to;
}

static void expect(const char *name, const char *content)
{
    Error err = {0};
    Bytes got = {0};
    assert_true(store_get(store, uri(name), 1000, &got, &err));
    assert_int_equal(got.used, strlen(content));
    assert_memory_equal(got.data, content, got.used);
    bytes_done(&got);
}

static bool count_one(const char *name, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)name;
    (void)bytes;
    assert_true(modified_us > 0);
    return ++*(int *)context < 3;
}

static void locations_have_one_form(void **state)
{
    (void)state;
    static const char *const same[][2] = {{"/a/b/", "file:///a/b"},
                                          {"//a//b", "file:///a/b"},
                                          {"file:///a/b", "file:///a/b"},
                                          {"file:/a/b", "file:///a/b"},
                                          {"/", "file:///"},
                                          {"/a b/c%20d", "file:///a b/c%20d"}};
    static const char *const bad[][2] = {
        {"a/b", "LocationNotAbsolute"},      {"", "LocationNotAbsolute"},
        {"gs://lake/a", "StoreUnsupported"}, {"file://host/a", "LocationNotAbsolute"},
        {"/a/../b", "LocationNotPlain"},     {"/a/./b", "LocationNotPlain"},
        {"file:///a/..", "LocationNotPlain"}};
    Error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        AUTO(mem_free) char *got = store_uri(same[i][0], &err);
        assert_string_equal(got, same[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(store_uri(bad[i][0], &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_string_equal(err.code, bad[i][1]);
    }
}

static void an_object_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    Error err = {0};
    bool there = true;
    StoreWriter *writer = store_create(store, uri("db/t/data/a=1/x.parquet"), &err);
    assert_non_null(writer);
    assert_true(store_write(writer, "hello ", 6, &err));
    assert_true(store_exists(store, uri("db/t/data/a=1/x.parquet"), &there, &err));
    assert_false(there);
    int seen = 0;
    assert_true(store_list(store, uri(""), count_one, &seen, &err));
    assert_int_equal(seen, 0); /* what is being written is no object */
    assert_true(store_write(writer, "world", 5, &err));
    assert_true(store_finish(writer, &err));
    store_writer_free(writer);
    expect("db/t/data/a=1/x.parquet", "hello world");

    writer = store_create(store, uri("gone"), &err);
    assert_true(store_write(writer, "x", 1, &err));
    store_writer_free(writer);
    assert_true(store_exists(store, uri("gone"), &there, &err));
    assert_false(there);
}

static void new_means_new(void **state)
{
    (void)state;
    Error err = {0};
    assert_true(store_put_new(store, uri("v1"), "one", 3, &err));
    assert_false(store_put_new(store, uri("v1"), "two", 3, &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_string_equal(err.code, "ObjectExists");
    expect("v1", "one");
    assert_true(store_put(store, uri("v1"), "three", 5, &err));
    expect("v1", "three");
    int seen = 0;
    assert_true(store_list(store, uri(""), count_one, &seen, &err));
    assert_int_equal(seen, 1); /* the loser left nothing */
}

static void a_tag_tells_what_stands_there(void **state)
{
    (void)state;
    Error err = {0};
    Bytes got = {0};
    StoreTag mine, theirs;
    assert_true(store_get_tagged(store, uri("record"), 10, &got, &mine, &err));
    assert_string_equal(mine.text, "");
    theirs = mine;
    assert_true(store_put_tagged(store, uri("record"), "one", 3, &mine, &err));
    assert_false(store_put_tagged(store, uri("record"), "two", 3, &theirs, &err));
    assert_string_equal(err.code, "ObjectExists");
    assert_true(store_get_tagged(store, uri("record"), 10, &got, &theirs, &err));
    assert_memory_equal(got.data, "one", 3);
    assert_string_equal(theirs.text, mine.text);
    errno = ENOENT; /* of something before: it means nothing */
    assert_true(store_put_tagged(store, uri("record"), "two", 3, &theirs, &err));
    assert_true(store_put_tagged(store, uri("record"), "tri", 3, &theirs, &err));
    assert_false(store_put_tagged(store, uri("record"), "old", 3, &mine, &err));
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_string_equal(err.code, "ObjectChanged");
    expect("record", "tri");
    assert_true(store_delete(store, uri("record"), &err));
    assert_false(store_put_tagged(store, uri("record"), "old", 3, &theirs, &err));
    assert_string_equal(err.code, "ObjectChanged");
    bytes_done(&got);
}

static void reads_are_bounded(void **state)
{
    (void)state;
    Error err = {0};
    Bytes got = {0};
    char to[8];
    assert_true(store_put(store, uri("o"), "0123456789", 10, &err));
    assert_false(store_get(store, uri("o"), 9, &got, &err));
    assert_string_equal(err.code, "ObjectTooLarge");
    assert_false(store_get(store, uri("none/o"), 9, &got, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "ObjectMissing");
    assert_false(store_get(store, uri("o/below"), 9, &got, &err));
    assert_string_equal(err.code, "ObjectMissing");
    StoreReader *reader = store_reader_open(store, uri("o"), &err);
    assert_int_equal(store_reader_bytes(reader), 10);
    assert_true(store_read(reader, 7, to, 3, &err));
    assert_memory_equal(to, "789", 3);
    assert_true(store_read(reader, 10, to, 0, &err));
    assert_false(store_read(reader, 8, to, 3, &err));
    assert_false(store_read(reader, UINT64_MAX, to, 3, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    store_reader_free(reader);
    bytes_done(&got);
}

static void names_stay_inside(void **state)
{
    (void)state;
    Error err = {0};
    AUTO(mem_free) char *beside = mem_format("%s/warehouse2/x", folder);
    const char *const outside[] = {"/etc/passwd", beside, "file:///"};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        bool there;
        assert_false(store_put(store, outside[i], "x", 1, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_false(store_delete(store, outside[i], &err));
        assert_false(store_exists(store, outside[i], &there, &err));
        assert_false(store_delete_all(store, outside[i], &err));
        assert_string_equal(err.code, "OutsideStore");
    }
    assert_false(store_put(store, uri("a/../../x"), "x", 1, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
}

static void lists_and_deletes_folders(void **state)
{
    (void)state;
    Error err = {0};
    int seen = 0;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "t/%d/%d/file", i / 2, i);
        assert_true(store_put(store, uri(name), "x", 1, &err));
    }
    assert_true(store_put(store, uri("t2/file"), "x", 1, &err));
    assert_true(store_list(store, uri("t/"), count_one, &seen, &err));
    assert_int_equal(seen, 3); /* stopped when told to */
    assert_true(store_list(store, uri("nowhere/"), count_one, &seen, &err));
    assert_true(store_delete(store, uri("t/0/0/file"), &err));
    assert_true(store_delete(store, uri("t/0/0/file"), &err));
    assert_true(store_delete_all(store, uri("t/"), &err));
    assert_true(store_delete_all(store, uri("t/"), &err));
    expect("t2/file", "x");
    AUTO(mem_free) char *path = mem_format("%s/warehouse/t", folder);
    assert_int_equal(access(path, F_OK), -1);
}

/* The descriptor that is open on a file whose path holds `part`. */
static int descriptor_of(const char *part)
{
    for (int fd = 3; fd < 1024; fd++) {
        char link[64], path[512];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t bytes = readlink(link, path, sizeof path - 1);
        path[bytes > 0 ? bytes : 0] = '\0';
        if (strstr(path, part))
            return fd;
    }
    return -1;
}

static void what_a_crash_left_is_swept(void **state)
{
    (void)state;
    Error err = {0};
    int seen = 0;
    AUTO(mem_free)
    char *left = mem_format("%s/warehouse/t/.o.0123456789abcdef.firn-tmp", folder);
    assert_true(store_put(store, uri("t/o"), "x", 1, &err));
    int fd = open(left, O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    close(fd);
    assert_true(store_sweep_unfinished(store, uri("t/"), 1, &err));
    assert_int_equal(access(left, F_OK), 0); /* younger than that */
    assert_true(store_sweep_unfinished(store, uri("elsewhere/"), INT64_MAX, &err));
    assert_int_equal(access(left, F_OK), 0);
    assert_true(store_sweep_unfinished(store, uri(""), INT64_MAX, &err));
    assert_int_equal(access(left, F_OK), -1);
    assert_true(store_list(store, uri("t/"), count_one, &seen, &err));
    assert_int_equal(seen, 1);
    assert_false(store_put(store, "s3://lake/x", "x", 1, &err));
    assert_string_equal(err.code, "OutsideStore");
    assert_null(store_posix_open("s3://lake", &err));
    assert_string_equal(err.code, "StoreUnsupported");
}

/* RLIMIT_FSIZE gives EFBIG, /dev/full gives ENOSPC: the second is the real thing. */
static void a_full_disk_passes(void **state)
{
    (void)state;
    Error err = {0};
    StoreWriter *writer = store_create(store, uri("big"), &err);
    assert_non_null(writer);
    /* the writer's descriptor becomes /dev/full's */
    int full = open("/dev/full", O_WRONLY), opened = descriptor_of("big");
    assert_true(full > 0);
    assert_true(opened > 0);
    assert_int_equal(dup2(full, opened), opened);
    assert_false(store_write(writer, "x", 1, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "DiskFull");
    AUTO(mem_free) char *where = mem_format("%s/warehouse;", folder);
    assert_non_null(strstr(err.message, where));
    assert_non_null(strstr(err.message, "free space"));
    close(full);
    store_writer_free(writer);
}

static void rights_are_a_matter_of_config(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip();
    Error err = {0};
    AUTO(mem_free) char *path = mem_format("%s/warehouse", folder);
    assert_int_equal(chmod(path, 0500), 0);
    assert_false(store_put(store, uri("x"), "x", 1, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "AccessDenied");
    assert_int_equal(chmod(path, 0700), 0);
}

static void a_root_that_is_no_folder_is_refused(void **state)
{
    (void)state;
    Error err = {0};
    assert_true(store_put(store, uri("file"), "x", 1, &err));
    assert_null(store_posix_open(uri("file"), &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "LocationUnusable");
    assert_null(store_posix_open(uri("file/below"), &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "LocationUnusable");
    assert_null(store_posix_open("relative", &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locations_have_one_form),
        TEST(an_object_appears_whole_or_not_at_all),
        TEST(new_means_new),
        TEST(a_tag_tells_what_stands_there),
        TEST(reads_are_bounded),
        TEST(names_stay_inside),
        TEST(lists_and_deletes_folders),
        TEST(what_a_crash_left_is_swept),
        TEST(a_full_disk_passes),
        TEST(rights_are_a_matter_of_config),
        TEST(a_root_that_is_no_folder_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
