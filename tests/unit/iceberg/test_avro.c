/* links: firn_iceberg */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/table/iceberg/avro.h"

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"r\",\"fields\":["
    "{\"name\":\"a\",\"type\":\"long\",\"field-id\":1},"
    "{\"name\":\"b\",\"type\":[\"null\",\"string\"],\"field-id\":2},"
    "{\"name\":\"c\",\"type\":{\"type\":\"array\",\"items\":\"int\"},\"field-id\":3},"
    "{\"name\":\"d\",\"type\":{\"type\":\"map\",\"values\":\"bytes\"},\"field-id\":4},"
    "{\"name\":\"e\",\"type\":\"boolean\",\"field-id\":5},"
    "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"f3\",\"size\":3},\"field-id\":6},"
    "{\"name\":\"g\",\"type\":[\"null\",\"f3\"],\"field-id\":7},"
    "{\"name\":\"h\",\"type\":\"double\",\"field-id\":8}]}";

static void put_record(AvroWriter *writer, int64_t i)
{
    Bytes *to = &writer->block;
    double half = (double)i / 2;
    bytes_put_zigzag(to, i - 500);
    bytes_put_zigzag(to, i % 3 != 0);
    if (i % 3)
        avro_put_text(to, "some text");
    for (int64_t part = 0; part < 2 && i; part++) { /* two blocks of the array, one with its size */
        bytes_put_zigzag(to, part ? 1 : -1);
        if (!part)
            bytes_put_zigzag(to, 2);
        bytes_put_zigzag(to, 1000 + part);
    }
    bytes_put_u8(to, 0);
    bytes_put_zigzag(to, 1);
    avro_put_text(to, "key");
    avro_put_bytes(to, "\0\1", 2);
    bytes_put_u8(to, 0);
    bytes_put_u8(to, i & 1);
    bytes_put(to, "xyz", 3);
    bytes_put_zigzag(to, 1);
    bytes_put(to, "uvw", 3);
    bytes_put(to, &half, 8);
    avro_record_end(writer);
}

static Bytes made(int64_t records)
{
    static const char *const metadata[] = {"content", "data", "other", ""};
    AvroWriter writer;
    avro_writer_init(&writer, schema, metadata, 2);
    for (int64_t i = 0; i < records; i++)
        put_record(&writer, i);
    avro_writer_finish(&writer);
    Bytes file = writer.file;
    writer.file = (Bytes){0};
    avro_writer_done(&writer);
    return file;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    Error err = {0};
    Bytes file = made(20000);
    AvroReader *reader = avro_reader_open(file.data, file.used, &err);
    assert_non_null(reader);
    assert_string_equal(avro_reader_metadata(reader, "content"), "data");
    assert_null(avro_reader_metadata(reader, "nothing"));
    const AvroValue *record;
    for (int64_t i = 0; i < 20000; i++) {
        assert_true(avro_reader_next(reader, &record, &err));
        assert_non_null(record);
        assert_int_equal(avro_long(record, 1, 0), i - 500);
        char *text = avro_text(record, 2);
        assert_true(i % 3 ? strcmp(text, "some text") == 0 : !text);
        free(text);
        const AvroValue *array = avro_field(record, 3), *map = avro_field(record, 4);
        assert_int_equal(array->item_count, i ? 2 : 0);
        assert_true(!i || (array->items[0].i == 1000 && array->items[1].i == 1001));
        assert_memory_equal(map->items[0].items[0].bytes, "key", 3);
        assert_int_equal(map->items[0].items[1].count, 2);
        assert_int_equal(avro_field(record, 5)->b, i & 1);
        assert_memory_equal(avro_field(record, 6)->bytes, "xyz", 3);
        assert_memory_equal(avro_field(record, 7)->bytes, "uvw", 3);
        assert_true(avro_field(record, 8)->f * 2 == (double)i);
        assert_null(avro_field(record, 9));
    }
    assert_true(avro_reader_next(reader, &record, &err));
    assert_null(record);
    avro_reader_free(reader);
    bytes_done(&file);
}

/* Reads it all; what matters is that it ends, and says DATA when it fails. */
static bool reads(const uint8_t *data, size_t bytes)
{
    Error err = {0};
    AvroReader *reader = avro_reader_open(data, bytes, &err);
    const AvroValue *record = NULL;
    bool ok = reader != NULL;
    while (ok && (ok = avro_reader_next(reader, &record, &err)) && record) {
    }
    avro_reader_free(reader);
    if (!ok) {
        assert_int_equal(err.kind, ERROR_DATA);
        assert_string_equal(err.code, "BadAvro");
    }
    return ok;
}

static void cut_or_changed_files_are_refused(void **state)
{
    (void)state;
    Bytes file = made(40);
    assert_true(reads(file.data, file.used));
    size_t header = 0; /* whole blocks may be missing: where the first begins */
    Bytes none = made(0);
    header = none.used;
    bytes_done(&none);
    for (size_t cut = 0; cut < file.used; cut++) {
        uint8_t *copy = mem_alloc(cut);
        memcpy(copy, file.data, cut);
        assert_true(!reads(copy, cut) || cut == header);
        free(copy);
    }
    for (size_t at = 0; at < file.used; at++) {
        file.data[at] ^= 0x41;
        (void)reads(file.data, file.used);
        file.data[at] ^= 0x41;
    }
    bytes_done(&file);
}

/* A file by hand: header with this schema, one block without compression. */
static Bytes by_hand(const char *with_schema, const char *codec, int64_t records, const void *data,
                     size_t bytes)
{
    Bytes file = {0};
    bytes_put(&file, "Obj\1", 4);
    bytes_put_zigzag(&file, 2);
    avro_put_text(&file, "avro.schema");
    avro_put_text(&file, with_schema);
    avro_put_text(&file, "avro.codec");
    avro_put_text(&file, codec);
    bytes_put_u8(&file, 0);
    bytes_put(&file, "0123456789abcdef", 16);
    bytes_put_zigzag(&file, records);
    avro_put_bytes(&file, data, bytes);
    bytes_put(&file, "0123456789abcdef", 16);
    return file;
}

static bool reads_by_hand(const char *with_schema, const char *codec, int64_t records,
                          const void *data, size_t bytes)
{
    Bytes file = by_hand(with_schema, codec, records, data, bytes);
    bool ok = reads(file.data, file.used);
    bytes_done(&file);
    return ok;
}

static void bombs_do_not_go_off(void **state)
{
    (void)state;
    static const char array_of_nothing[] =
        "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"array\",\"items\":\"null\"}}}]}";
    static const char self[] =
        "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":\"r\"}]}";
    uint8_t zeros[300] = {0};
    /* an array of 2^40 nulls in a few bytes; arrays of nulls in an array */
    assert_false(reads_by_hand(array_of_nothing, "null", 1, "\x02\x80\x80\x80\x80\x80\x80\x01", 8));
    Bytes nested = {0};
    bytes_put_zigzag(&nested, 20000);
    for (int i = 0; i < 20000; i++) {
        bytes_put_zigzag(&nested, 40000);
        bytes_put_u8(&nested, 0);
    }
    bytes_put_u8(&nested, 0);
    assert_false(reads_by_hand(array_of_nothing, "null", 1, nested.data, nested.used));
    bytes_done(&nested);
    assert_false(reads_by_hand(self, "null", 1, zeros, 1));
    /* ten fields that are ten fields that are … nothing */
    Bytes deep = {0};
    const char *inner = "\"null\"";
    char *held = NULL;
    for (int level = 0; level < 12; level++) {
        bytes_clear(&deep);
        char head[80];
        bytes_put(&deep, head,
                  (size_t)snprintf(head, sizeof head,
                                   "{\"type\":\"record\",\"name\":\"r%d\",\"fields\":[", level));
        for (int f = 0; f < 10; f++) {
            char field[80];
            snprintf(field, sizeof field, "%s{\"name\":\"f%d\",\"type\":", f ? "," : "", f);
            bytes_put(&deep, field, strlen(field));
            if (f == 0)
                bytes_put(&deep, inner, strlen(inner));
            else
                bytes_put(&deep, field,
                          (size_t)snprintf(field, sizeof field, level ? "\"r%d\"" : "\"null\"",
                                           level - 1));
            bytes_put(&deep, "}", 1);
        }
        bytes_put(&deep, "]}", 3);
        free(held);
        inner = held = mem_strdup((char *)deep.data);
    }
    assert_false(reads_by_hand(held, "null", 1, zeros, 1));
    free(held);
    bytes_done(&deep);
}

static void odd_headers_are_refused(void **state)
{
    (void)state;
    static const char plain[] =
        "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}";
    uint8_t data[] = {2, 4, 6};
    assert_true(reads_by_hand(plain, "null", 3, data, 3));
    assert_false(reads_by_hand(plain, "null", 4, data, 3));
    assert_false(reads_by_hand(plain, "null", 2, data, 3));
    assert_false(reads_by_hand(plain, "null", -1, data, 3));
    assert_false(reads_by_hand(plain, "snappy", 3, data, 3));
    assert_false(reads_by_hand(plain, "deflate", 3, data, 3));
    assert_false(reads_by_hand("\"int\"", "null", 3, data, 3));
    assert_false(reads_by_hand("", "null", 3, data, 3));
    assert_false(reads_by_hand("{\"type\":\"record\",\"name\":\"r\"}", "null", 3, data, 3));
    assert_false(reads_by_hand("{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\","
                               "\"type\":\"unknown\"}]}",
                               "null", 3, data, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(cut_or_changed_files_are_refused),
        cmocka_unit_test(bombs_do_not_go_off),
        cmocka_unit_test(odd_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
