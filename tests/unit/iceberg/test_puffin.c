/* links: firn_iceberg */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "agent/table/iceberg/iceberg.h"
#include "common/mem.h"

static char folder[64], uri[100];
static Store *store;

static int setup(void **state)
{
    (void)state;
    Error err = {0};
    snprintf(folder, sizeof folder, "/tmp/firn-puffin-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(uri, sizeof uri, "file://%s/x.puffin", folder);
    store = store_posix_open(folder, &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    Error err = {0};
    assert_true(store_delete_all(store, folder, &err));
    store_close(store);
    return 0;
}

/* Few, many (bits), runs, and all of them over several containers. */
static roaring_bitmap_t *rows(int kind)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    for (uint32_t i = 0; i < 200000; i++)
        if ((kind == 0 && i % 1000 == 0) || (kind == 1 && i % 3) || (kind == 2 && i > 50000) ||
            (kind == 3 && (i < 66000 ? i % 2 : i % 900 < 5)))
            roaring_bitmap_add(bitmap, i);
    if (kind >= 2)
        roaring_bitmap_run_optimize(bitmap);
    return bitmap;
}

static void vectors_come_back(void **state)
{
    (void)state;
    Error err = {0};
    DeletionVector vectors[4] = {0};
    roaring_bitmap_t *bitmaps[4];
    DataFile files[4];
    char names[4][32];
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "file:///t/data/%d.parquet", i);
        bitmaps[i] = rows(i);
        vectors[i] = (DeletionVector){.data_file = names[i], .rows = bitmaps[i]};
    }
    assert_true(puffin_write_vectors(store, uri, vectors, 4, files, &err));
    for (int i = 0; i < 4; i++) {
        roaring_bitmap_t *back;
        assert_int_equal(files[i].content, FILE_POSITION_DELETES);
        assert_int_equal(files[i].format, FORMAT_PUFFIN);
        assert_string_equal(files[i].referenced_data_file, names[i]);
        assert_int_equal(files[i].record_count, roaring_bitmap_get_cardinality(bitmaps[i]));
        assert_true(puffin_read_vector(store, &files[i], &back, &err));
        assert_true(roaring_bitmap_equals(back, bitmaps[i]));
        roaring_bitmap_free(back);
        files[i].record_count++;
        assert_false(puffin_read_vector(store, &files[i], &back, &err));
        assert_int_equal(err.kind, ERROR_DATA);
        data_file_done(&files[i]);
        roaring_bitmap_free(bitmaps[i]);
    }
}

/* A blob by hand around a serialized bitmap; then what a manifest says of it. */
static bool reads(const void *vector, size_t bytes, uint64_t cardinality)
{
    Error err = {0};
    Bytes blob = {0};
    bytes_put_u32be(&blob, (uint32_t)bytes + 4);
    bytes_put(&blob, "\xD1\xD3\x39\x64", 4);
    bytes_put(&blob, vector, bytes);
    bytes_put_u32be(&blob, (uint32_t)crc32(0, blob.data + 4, (uInt)bytes + 4));
    assert_true(store_put(store, uri, blob.data, blob.used, &err));
    DataFile file = {.path = uri,
                     .record_count = cardinality,
                     .content_offset = 0,
                     .content_bytes = (int64_t)blob.used};
    roaring_bitmap_t *back;
    bool ok = puffin_read_vector(store, &file, &back, &err);
    assert_true(ok || (err.kind == ERROR_DATA && !back));
    if (ok)
        roaring_bitmap_free(back);
    bytes_done(&blob);
    return ok;
}

#define BITMAPS "\1\0\0\0\0\0\0\0"                 /* one, */
#define HIGH "\0\0\0\0"                            /* its high half */
#define ARRAY2 BITMAPS HIGH "\x3a\x30\0\0\1\0\0\0" /* cookie, one container */
#define READS(text, cardinality) reads(text, sizeof(text) - 1, cardinality)

static void hostile_bitmaps_are_refused(void **state)
{
    (void)state;
    assert_true(READS(ARRAY2 "\0\0\1\0"
                             "\x10\0\0\0"
                             "\5\0\7\0",
                      2));
    assert_false(READS(ARRAY2 "\0\0\1\0"
                              "\x10\0\0\0"
                              "\7\0\5\0",
                       2)); /* not ascending */
    assert_false(READS(ARRAY2 "\0\0\1\0"
                              "\x10\0\0\0"
                              "\5\0\5\0",
                       2));
    assert_false(READS(ARRAY2 "\0\0\1\0"
                              "\x10\0\0\0"
                              "\5\0",
                       2));
    assert_false(READS(ARRAY2 "\0\0\1\0"
                              "\x10\0\0\0"
                              "\5\0\7\0x",
                       2));
    assert_false(READS(BITMAPS "\1\0\0\0"
                               "\x3a\x30\0\0\1\0\0\0"
                               "\0\0\1\0"
                               "\x10\0\0\0"
                               "\5\0\7\0",
                       2)); /* 2^32 and more */
    assert_false(READS(BITMAPS HIGH "\x3a\x30\0\0\2\0\0\0"
                                    "\1\0\0\0"
                                    "\0\0\0\0"
                                    "\x18\0\0\0"
                                    "\x1a\0\0\0"
                                    "\5\0\7\0",
                       2)); /* keys not ascending */
    assert_false(READS("\2\0\0\0\0\0\0\0" HIGH "\x3a\x30\0\0\0\0\0\0" HIGH "\x3a\x30\0\0\0\0\0\0",
                       0)); /* twice */
    assert_false(READS("\xff\xff\xff\xff\xff\xff\xff\xff" HIGH, 0));
    assert_false(READS(BITMAPS HIGH "\x3a\x30\0\0\xff\xff\xff\xff", 0));
    assert_false(READS(BITMAPS HIGH "\x3c\x30\0\0", 0));
    assert_true(READS("\0\0\0\0\0\0\0\0", 0));
    /* runs: one container, of one run 5..7; past the end; overlapping; a wrong cardinality */
    assert_true(READS(BITMAPS HIGH "\x3b\x30\0\0\1"
                                   "\0\0\2\0"
                                   "\1\0"
                                   "\5\0\2\0",
                      3));
    assert_false(READS(BITMAPS HIGH "\x3b\x30\0\0\1"
                                    "\0\0\2\0"
                                    "\1\0"
                                    "\xff\xff\2\0",
                       3));
    assert_false(READS(BITMAPS HIGH "\x3b\x30\0\0\1"
                                    "\0\0\3\0"
                                    "\2\0"
                                    "\5\0\2\0\6\0\0\0",
                       4));
    assert_false(READS(BITMAPS HIGH "\x3b\x30\0\0\1"
                                    "\0\0\4\0"
                                    "\1\0"
                                    "\5\0\2\0",
                       5));
    assert_false(READS(BITMAPS HIGH "\x3b\x30\xff\xff\1", 3));
}

static void every_byte_is_checked(void **state)
{
    (void)state;
    Error err = {0};
    DataFile file;
    roaring_bitmap_t *bitmap = rows(3), *back;
    DeletionVector vector = {.data_file = "file:///a", .rows = bitmap};
    assert_true(puffin_write_vectors(store, uri, &vector, 1, &file, &err));
    Bytes bytes = {0};
    assert_true(store_get(store, uri, 1 << 20, &bytes, &err));
    for (int64_t at = 0; at < file.content_bytes; at += at < 100 ? 1 : 97) {
        bytes.data[file.content_offset + at] ^= 0x10;
        assert_true(store_put(store, uri, bytes.data, bytes.used, &err));
        assert_false(puffin_read_vector(store, &file, &back, &err));
        assert_int_equal(err.kind, ERROR_DATA);
        bytes.data[file.content_offset + at] ^= 0x10;
    }
    assert_true(store_put(store, uri, bytes.data, bytes.used / 2, &err));
    assert_false(puffin_read_vector(store, &file, &back, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    static const int64_t sizes[] = {-1, 0, 19, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        file.content_bytes = sizes[i];
        assert_false(puffin_read_vector(store, &file, &back, &err));
    }
    bytes_done(&bytes);
    data_file_done(&file);
    roaring_bitmap_free(bitmap);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(vectors_come_back),
        TEST(hostile_bitmaps_are_refused),
        TEST(every_byte_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
