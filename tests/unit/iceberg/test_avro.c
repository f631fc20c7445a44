/* links: firn_iceberg */
/* Avro object files: written and read back; cut, bent and hostile ones refused. */
#include "tests/unit/iceberg/lake.h"

#include "agent/table/iceberg/avro.h"

static const uint8_t sync_mark[16] = "0123456789abcdef";

/* A file of one block with this schema, not deflated. */
static Bytes made(const char *schema, int64_t records, const void *block, size_t bytes)
{
    Bytes file = {0};
    bytes_put(&file, "Obj\1\2", 5);
    avro_put_text(&file, "avro.schema");
    avro_put_text(&file, schema);
    bytes_put_u8(&file, 0);
    bytes_put(&file, sync_mark, sizeof sync_mark);
    bytes_put_zigzag(&file, records);
    avro_put_bytes(&file, block, bytes);
    bytes_put(&file, sync_mark, sizeof sync_mark);
    return file;
}

/* The number of records, or -1 and *ret_error. */
static int64_t count_records(const void *data, size_t bytes, Error *ret_error)
{
    *ret_error = (Error){0};
    AUTO(avro_reader_free) AvroReader *reader = avro_reader_open(data, bytes, ret_error);
    if (!reader)
        return -1;
    for (int64_t records = 0;; records++) {
        const AvroValue *record;
        if (!avro_reader_next(reader, &record, ret_error))
            return -1;
        if (!record)
            return records;
    }
}

static void refused(const char *schema, int64_t records, const void *block, size_t bytes,
                    const char *why)
{
    Error refusal;
    Bytes file = made(schema, records, block, bytes);
    assert_int_equal(count_records(file.data, file.used, &refusal), -1);
    assert_int_equal(refusal.kind, ERROR_DATA);
    assert_string_equal(refusal.code, "BadAvro");
    if (!strstr(refusal.message, why))
        fail_msg("'%s' has no '%s'", refusal.message, why);
    bytes_done(&file);
}

#define ROW_SCHEMA                                                                                 \
    "{\"type\":\"record\",\"name\":\"row\",\"fields\":["                                           \
    "{\"name\":\"n\",\"type\":\"long\",\"field-id\":1},"                                           \
    "{\"name\":\"t\",\"type\":[\"null\",\"string\"],\"field-id\":2},"                              \
    "{\"name\":\"l\",\"type\":{\"type\":\"array\",\"items\":\"int\"},\"field-id\":3},"             \
    "{\"name\":\"d\",\"type\":\"double\",\"field-id\":4},"                                         \
    "{\"name\":\"b\",\"type\":\"boolean\",\"field-id\":5},"                                        \
    "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"f4\",\"size\":4},\"field-id\":6},"    \
    "{\"name\":\"g\",\"type\":\"f4\",\"field-id\":7},"                                             \
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"long\"},\"field-id\":8}]}"

static void put_row(Bytes *to, int64_t i)
{
    double half = (double)i / 2;
    bytes_put_zigzag(to, i * 1000003 - 5);
    bytes_put_zigzag(to, i % 3 != 0);
    if (i % 3)
        avro_put_text(to, i % 3 == 1 ? "" : "Grüße");
    if (i % 5)
        bytes_put_zigzag(to, i % 5);
    for (int64_t k = 0; k < i % 5; k++)
        bytes_put_zigzag(to, -k);
    bytes_put_zigzag(to, 0);
    bytes_put(to, &half, sizeof half);
    bytes_put_u8(to, i & 1);
    bytes_put(to, "abcd", 4);
    bytes_put(to, "efgh", 4);
    bytes_put_zigzag(to, -1); /* a block of one item, with its size */
    bytes_put_zigzag(to, 3);
    avro_put_text(to, "k");
    bytes_put_zigzag(to, i % 50);
    bytes_put_zigzag(to, 0);
}

static void check_row(const AvroValue *row, int64_t i)
{
    assert_int_equal(avro_long(row, 1, -1), i * 1000003 - 5);
    AUTO(mem_free) char *text = avro_text(row, 2);
    if (i % 3)
        assert_string_equal(text, i % 3 == 1 ? "" : "Grüße");
    else
        assert_null(text);
    const AvroValue *list = avro_field(row, 3), *map = avro_field(row, 8);
    assert_int_equal(list->kind, AVRO_ARRAY);
    assert_int_equal(list->item_count, i % 5);
    for (int64_t k = 0; k < i % 5; k++)
        assert_int_equal(list->items[k].i, -k);
    assert_true(avro_field(row, 4)->f == (double)i / 2);
    assert_int_equal(avro_field(row, 5)->b, i & 1);
    assert_memory_equal(avro_field(row, 6)->bytes, "abcd", 4);
    assert_memory_equal(avro_field(row, 7)->bytes, "efgh", 4);
    assert_int_equal(map->item_count, 1);
    assert_int_equal(map->items[0].items[1].i, i % 50);
    assert_null(avro_field(row, 9));
    assert_int_equal(avro_long(row, 9, 77), 77);
    assert_int_equal(avro_long(row, 2, 77), 77); /* a text is no number */
}

#define ROWS 20000 /* several blocks */

static void test_round_trip(void **state)
{
    (void)state;
    const char *const metadata[] = {"who", "me"};
    AvroWriter writer;
    avro_writer_init(&writer, ROW_SCHEMA, metadata, 1);
    for (int64_t i = 0; i < ROWS; i++) {
        put_row(&writer.block, i);
        avro_record_end(&writer);
    }
    avro_writer_finish(&writer);
    AvroReader *reader = NULL;
    OK((reader = avro_reader_open(writer.file.data, writer.file.used, &err)));
    assert_string_equal(avro_reader_metadata(reader, "who"), "me");
    assert_null(avro_reader_metadata(reader, "whom"));
    for (int64_t i = 0; i <= ROWS; i++) {
        const AvroValue *row;
        OK(avro_reader_next(reader, &row, &err));
        assert_true((row != NULL) == (i < ROWS));
        if (row)
            check_row(row, i);
    }
    avro_reader_free(reader);
    avro_writer_done(&writer);
}

static void test_empty(void **state)
{
    (void)state;
    AvroWriter writer;
    Error refusal;
    avro_writer_init(&writer, ROW_SCHEMA, NULL, 0);
    avro_writer_finish(&writer);
    assert_int_equal(count_records(writer.file.data, writer.file.used, &refusal), 0);
    avro_writer_done(&writer);
}

/* Cut anywhere, or with any byte bent: an error, or fewer records; never more. */
static void test_cut_and_bent(void **state)
{
    (void)state;
    AvroWriter writer;
    Error refusal;
    avro_writer_init(&writer, ROW_SCHEMA, NULL, 0);
    for (int64_t i = 0; i < 20; i++) {
        put_row(&writer.block, i);
        avro_record_end(&writer);
    }
    avro_writer_finish(&writer);
    size_t header = writer.file.used;
    assert_int_equal(count_records(writer.file.data, writer.file.used, &refusal), 20);
    for (size_t bytes = 0; bytes < writer.file.used; bytes++) {
        AUTO(mem_free) uint8_t *copy = mem_alloc(bytes); /* the sanitizer sees a step too far */
        memcpy(copy, writer.file.data, bytes);
        int64_t records = count_records(copy, bytes, &refusal);
        assert_true(records <= 0);
        assert_true(records == 0 || refusal.kind == ERROR_DATA);
    }
    for (size_t at = 0; at < header; at++)
        for (int bit = 0; bit < 8; bit++) {
            writer.file.data[at] ^= (uint8_t)(1 << bit);
            assert_true(count_records(writer.file.data, writer.file.used, &refusal) <= 20);
            writer.file.data[at] ^= (uint8_t)(1 << bit);
        }
    avro_writer_done(&writer);
}

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"r\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"

static void test_hostile_lengths(void **state)
{
    (void)state;
    const char *text = RECORD(FIELD("t", "\"string\""));
    refused(text, 1, "\x01xxx", 4, "length");              /* -1 */
    refused(text, 1, "\x80\x80\x80\x80\x10", 5, "length"); /* 2^31 */
    refused(text, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, "length");
    refused(text, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "length");
    refused(text, -1, "\x02x", 2, "block");
    refused(text, 3, "\x02x", 2, "more records than bytes");
    refused(text, 2, "\x02x", 2, "fewer records");
    refused(RECORD(FIELD("u", "[\"null\",\"int\"]")), 1, "\x04", 1, "no branch");
    refused(RECORD(FIELD("u", "[\"null\",\"int\"]")), 1, "\x01", 1, "no branch");
    refused(RECORD(FIELD("f", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":9}")), 1, "12345678", 8,
            "cut");
}

/* Arrays of items that take no bytes: what a few bytes ask for is bounded. */
static void test_hostile_items(void **state)
{
    (void)state;
    const char *nulls = RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"null\"}"));
    refused(nulls, 1, "\x80\x80\x80\x80\x10\x00", 6, "more items than bytes");
    refused(nulls, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", 12, "array");
    Bytes block = {0};
    for (int i = 0; i < 3000; i++)
        bytes_put_zigzag(&block, 1000);
    bytes_put_u8(&block, 0);
    refused(nulls, 1, block.data, block.used, "too many values");
    refused(RECORD(FIELD("a", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"e\","
                              "\"fields\":[]}}")),
            1, block.data, block.used, "too many values");
    /* records of nothing: as many as it says, and no byte for them */
    refused(RECORD(""), 1000000, "x", 1, "more records than bytes");
    /* 2^30 values in no bytes at all: each record holds the next one twice */
    Bytes schema = {0};
    for (int level = 0; level < 28; level++) {
        AUTO(mem_free)
        char *head = mem_format("{\"type\":\"record\",\"name\":\"r%d\",\"fields\":[{\"name\":\"a\","
                                "\"type\":",
                                level);
        bytes_put(&schema, head, strlen(head));
    }
    bytes_put(&schema, "\"null\"", 6);
    for (int level = 27; level >= 0; level--) {
        AUTO(mem_free)
        char *tail = level == 27 ? mem_strdup("}]}")
                                 : mem_format("},{\"name\":\"b\",\"type\":\"r%d\"}]}", level + 1);
        bytes_put(&schema, tail, strlen(tail));
    }
    bytes_put_u8(&schema, 0);
    refused((const char *)schema.data, 1, "x", 1, "too many values");
    bytes_done(&schema);
    bytes_done(&block);
}

static void test_hostile_schemas(void **state)
{
    (void)state;
    /* a record in itself never ends */
    refused(RECORD(FIELD("self", "\"r\"")), 1, "x", 1, "too deep");
    refused(RECORD(FIELD("x", "\"nothing\"")), 0, "", 0, "schema");
    refused("\"long\"", 0, "", 0, "schema");
    refused("{", 0, "", 0, "schema");
    refused("null", 0, "", 0, "schema");
    refused("{\"type\":\"record\",\"name\":\"r\"}", 0, "", 0, "schema");
    refused(RECORD("{\"type\":\"long\"}"), 0, "", 0, "schema");
    refused(RECORD(FIELD("f", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":-1}")), 0, "", 0,
            "schema");
    Bytes deep = {0};
    const char *head = "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":";
    const char *array = "{\"type\":\"array\",\"items\":";
    bytes_put(&deep, head, strlen(head));
    for (int i = 0; i < 100; i++)
        bytes_put(&deep, array, strlen(array));
    bytes_put(&deep, "\"int\"", 5);
    for (int i = 0; i < 100; i++)
        bytes_put(&deep, "}", 1);
    bytes_put(&deep, "}]}", 4);
    refused((const char *)deep.data, 0, "", 0, "schema");
    bytes_done(&deep);
}

static void test_header(void **state)
{
    (void)state;
    Error refusal;
    assert_int_equal(count_records("Obj\1", 4, &refusal), -1);
    assert_int_equal(count_records("Obj\2\0", 5, &refusal), -1);
    assert_int_equal(count_records("", 0, &refusal), -1);
    Bytes file = {0};
    bytes_put(&file, "Obj\1\4", 5);
    avro_put_text(&file, "avro.schema");
    avro_put_text(&file, ROW_SCHEMA);
    avro_put_text(&file, "avro.codec");
    avro_put_text(&file, "snappy");
    bytes_put_u8(&file, 0);
    bytes_put(&file, sync_mark, 16);
    assert_int_equal(count_records(file.data, file.used, &refusal), -1);
    assert_non_null(strstr(refusal.message, "snappy"));
    bytes_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_empty),
        cmocka_unit_test(test_cut_and_bent),  cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_hostile_items), cmocka_unit_test(test_hostile_schemas),
        cmocka_unit_test(test_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
