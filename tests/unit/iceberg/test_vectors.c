/* links: firn_iceberg */
/* Deletion vectors: written and read back, byte for byte as the specification says; cut, bent and
 * hostile ones refused. */
#include "tests/unit/iceberg/memory.h"

#include <zlib.h>

#define URI "file:///w/x.puffin"

static MemoryStore *memory;
static char uri_text[] = URI;

static int set_up(void **state)
{
    (void)state;
    memory = memory_store_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_close(&memory->store);
    return 0;
}

static void round_trip(roaring_bitmap_t *const *bitmaps, size_t count)
{
    DeletionVector vectors[8];
    DataFile files[8];
    char names[8][40];
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "file:///w/%zu.parquet", i);
        vectors[i] = (DeletionVector){.data_file = names[i], .rows = bitmaps[i]};
    }
    OK(puffin_write_vectors(&memory->store, URI, vectors, count, files, &err));
    for (size_t i = 0; i < count; i++) {
        roaring_bitmap_t *again;
        OK(puffin_read_vector(&memory->store, &files[i], &again, &err));
        assert_true(roaring_bitmap_equals(again, bitmaps[i]));
        assert_int_equal(files[i].record_count, roaring_bitmap_get_cardinality(bitmaps[i]));
        assert_int_equal(files[i].file_bytes, memory_find(memory, URI)->data.used);
        assert_string_equal(files[i].referenced_data_file, names[i]);
        roaring_bitmap_free(again);
        data_file_done(&files[i]);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    roaring_bitmap_t *bitmaps[6] = {roaring_bitmap_from_range(0, 1, 1),
                                    roaring_bitmap_from_range(0, 200000, 1),
                                    roaring_bitmap_from_range(0, 300000, 3),
                                    roaring_bitmap_from_range(65530, 65540, 1),
                                    roaring_bitmap_from_range(4294967290, 4294967296, 1),
                                    roaring_bitmap_create()};
    roaring_bitmap_run_optimize(bitmaps[1]);
    roaring_bitmap_run_optimize(bitmaps[3]);
    for (uint32_t i = 0; i < 5000; i++)
        roaring_bitmap_add(bitmaps[5], i * 2654435761u);
    round_trip(bitmaps, 6);
    for (size_t i = 0; i < 6; i++)
        roaring_bitmap_free(bitmaps[i]);
}

/* https://iceberg.apache.org/puffin-spec/ */
static void test_layout(void **state)
{
    (void)state;
    roaring_bitmap_t *rows = roaring_bitmap_from_range(3, 5, 1);
    DeletionVector vector = {.data_file = "file:///w/a.parquet", .rows = rows};
    DataFile file;
    OK(puffin_write_vectors(&memory->store, URI, &vector, 1, &file, &err));
    const Bytes *data = &memory_find(memory, URI)->data;
    assert_memory_equal(data->data, "PFA1", 4);
    assert_memory_equal(data->data + data->used - 4, "PFA1", 4);
    assert_memory_equal(data->data + data->used - 8, "\0\0\0\0", 4);
    uint32_t footer_bytes;
    memcpy(&footer_bytes, data->data + data->used - 12, 4);
    const uint8_t *footer = data->data + data->used - 12 - footer_bytes;
    assert_memory_equal(footer - 4, "PFA1", 4);
    json_t *json = json_loadb((const char *)footer, footer_bytes, 0, NULL);
    const json_t *blob = json_array_get(json_object_get(json, "blobs"), 0);
    assert_string_equal(json_string_value(json_object_get(blob, "type")), "deletion-vector-v1");
    assert_int_equal(json_integer_value(json_object_get(blob, "offset")), 4);
    assert_int_equal(json_integer_value(json_object_get(blob, "length")), file.content_bytes);
    assert_int_equal(json_integer_value(json_object_get(blob, "snapshot-id")), -1);
    assert_int_equal(json_integer_value(json_object_get(blob, "sequence-number")), -1);
    assert_null(json_object_get(blob, "compression-codec"));
    const json_t *properties = json_object_get(blob, "properties");
    assert_string_equal(json_string_value(json_object_get(properties, "cardinality")), "2");
    assert_string_equal(json_string_value(json_object_get(properties, "referenced-data-file")),
                        "file:///w/a.parquet");
    json_decref(json);
    static const uint8_t vector_bytes[] = {0xD1, 0xD3, 0x39, 0x64, 1,    0,    0, 0, 0, 0, 0, 0,
                                           0,    0,    0,    0,    0x3A, 0x30, 0, 0, 1, 0, 0, 0,
                                           0,    0,    1,    0,    16,   0,    0, 0, 3, 0, 4, 0};
    /* range bitmaps are runs in CRoaring; made an array, it is what Java writes */
    roaring_bitmap_remove_run_compression(rows);
    data_file_done(&file);
    OK(puffin_write_vectors(&memory->store, URI, &vector, 1, &file, &err));
    data = &memory_find(memory, URI)->data;
    assert_memory_equal(data->data + 8, vector_bytes, sizeof vector_bytes);
    uint32_t bytes, crc;
    memcpy(&bytes, data->data + 4, 4);
    memcpy(&crc, data->data + 8 + sizeof vector_bytes, 4);
    assert_int_equal(__builtin_bswap32(bytes), sizeof vector_bytes);
    assert_int_equal(__builtin_bswap32(crc), crc32(0, vector_bytes, sizeof vector_bytes));
    data_file_done(&file);
    roaring_bitmap_free(rows);
}

/* A blob with right length, magic and checksum around these bytes. */
static void put_blob(const void *vector, size_t bytes, DataFile *ret, uint64_t rows)
{
    Bytes blob = {0};
    bytes_put_u32be(&blob, (uint32_t)bytes + 4);
    bytes_put(&blob, "\xD1\xD3\x39\x64", 4);
    bytes_put(&blob, vector, bytes);
    bytes_put_u32be(&blob, (uint32_t)crc32(0, blob.data + 4, (uInt)bytes + 4));
    OK(store_put(&memory->store, URI, blob.data, blob.used, &err));
    *ret = (DataFile){.path = uri_text, .record_count = rows, .content_bytes = (int64_t)blob.used};
    bytes_done(&blob);
}

static void refused(const DataFile *file, const char *why)
{
    roaring_bitmap_t *bitmap;
    Error refusal = {0};
    if (puffin_read_vector(&memory->store, file, &bitmap, &refusal))
        fail_msg("read, but it should say '%s'", why);
    assert_null(bitmap);
    assert_int_equal(refusal.kind, ERROR_DATA);
    assert_string_equal(refusal.code, "BadPuffin");
    if (!strstr(refusal.message, why))
        fail_msg("'%s' has no '%s'", refusal.message, why);
}

static void vector_refused(const char *hex, uint64_t rows, const char *why)
{
    uint8_t bytes[200];
    size_t count = 0;
    for (const char *at = hex; *at; at++) {
        unsigned value;
        if (*at == ' ')
            continue;
        assert_int_equal(sscanf(at, "%2x", &value), 1);
        bytes[count++] = (uint8_t)value;
        at++;
    }
    DataFile file;
    put_blob(bytes, count, &file, rows);
    refused(&file, why);
}

#define ONE "0100000000000000 00000000 "

static void test_hostile(void **state)
{
    (void)state;
    DataFile file;
    roaring_bitmap_t *bitmap;
    static const uint8_t good[] = {1, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0x3A, 0x30, 0, 0,
                                   1, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 3,    0,    4, 0};
    put_blob(good, sizeof good, &file, 2);
    OK(puffin_read_vector(&memory->store, &file, &bitmap, &err));
    assert_int_equal(roaring_bitmap_get_cardinality(bitmap), 2);
    roaring_bitmap_free(bitmap);
    file.record_count = 3;
    refused(&file, "another number of rows");
    file.record_count = 2;
    file.content_bytes++;
    refused(&file, "passes the file's end");
    file.content_bytes = INT64_MAX;
    refused(&file, "impossible");
    file.content_offset = -1;
    refused(&file, "impossible");
    const char *const portable = "portable form";
    vector_refused("ffffffffffffffff 00000000 3a300000", 0, "number of bitmaps");
    vector_refused("0100000000000000 01000000 3a300000 00000000", 0, "2^32");
    vector_refused("0200000000000000 00000000 3a300000 00000000 00000000 3a300000 00000000", 0,
                   "twice");
    vector_refused(ONE "3a300000 ffffffff", 0, portable);                        /* containers */
    vector_refused(ONE "3a300000 01000000 00000100 10000000 0300", 2, portable); /* cut */
    vector_refused(ONE "3a300000 01000000 00000100 10000000 04000300", 2, portable); /* order */
    vector_refused(ONE "3a300000 01000000 00000100 10000000 03000300", 2, portable); /* twice */
    vector_refused(ONE "3a300000 02000000 05000000 05000000 18000000 1a000000 0300 0300", 2,
                   portable);                                               /* a key twice */
    vector_refused(ONE "3b300000 01 00000100 0100 0300 0200", 2, portable); /* 3 rows, not 2 */
    vector_refused(ONE "3b300000 01 00000500 0200 0300 0200 0500 0200", 6, portable); /* overlap */
    vector_refused(ONE "3b300000 01 00000100 0100 ffff 0100", 2, portable); /* past 65535 */
    vector_refused(ONE "3a300000 01000000 00000100 10000000 03000400 00", 2,
                   "more than its bitmaps");
}

/* Every bit of a good blob matters. */
static void test_bent_and_cut(void **state)
{
    (void)state;
    roaring_bitmap_t *rows = roaring_bitmap_from_range(0, 9000, 7), *again;
    DeletionVector vector = {.data_file = "file:///w/a.parquet", .rows = rows};
    DataFile file;
    Error refusal;
    OK(puffin_write_vectors(&memory->store, URI, &vector, 1, &file, &err));
    uint8_t *blob = memory_find(memory, URI)->data.data + file.content_offset;
    for (int64_t bit = 0; bit < file.content_bytes * 8; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(puffin_read_vector(&memory->store, &file, &again, &refusal));
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    OK(puffin_read_vector(&memory->store, &file, &again, &err));
    roaring_bitmap_free(again);
    while (--file.content_bytes > 0)
        assert_false(puffin_read_vector(&memory->store, &file, &again, &refusal));
    data_file_done(&file);
    roaring_bitmap_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_layout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bent_and_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
