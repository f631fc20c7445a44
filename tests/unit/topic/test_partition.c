/* links: firn_topic */
/* The bytes that a key's place is made of, as partition.h has them. */
#include "tests/unit/unit.h"

#include "agent/topic/partition.h"
#include "common/mem.h"

static Batch *one_column(Schema **ret_schema, Type type)
{
    *ret_schema = schema_new(1, 0);
    (*ret_schema)->fields[0] = (Field){.name = mem_strdup("k"), .type = type};
    Batch *batch = batch_new(*ret_schema, 0, 4);
    batch_row_begin(batch, ROW_INSERT, (RowPosition){1, 1});
    return batch;
}

static void expect(Batch *batch, Schema *schema, bool is_number, const void *bytes, size_t count)
{
    Bytes found = {0};
    partition_put(&found, &batch->columns[0], 0, is_number);
    assert_int_equal(found.used, count);
    assert_memory_equal(found.data, bytes, count);
    bytes_done(&found);
    batch_free(batch);
    schema_free(schema);
}
#define EXPECT(is_number, bytes) expect(batch, schema, is_number, bytes, sizeof(bytes) - 1)

static void numbers(void **state)
{
    (void)state;
    Schema *schema;
    Batch *batch = one_column(&schema, (Type){.kind = TYPE_INT32});
    column_put_i32(batch, &batch->columns[0], -2);
    EXPECT(false, "\2\xfe\xff\xff\xff\xff\xff\xff\xff");
    batch = one_column(&schema, (Type){.kind = TYPE_INT64});
    column_put_i64(batch, &batch->columns[0], -2);
    EXPECT(false, "\2\xfe\xff\xff\xff\xff\xff\xff\xff");
    batch = one_column(&schema, (Type){.kind = TYPE_BOOL});
    column_put_bool(batch, &batch->columns[0], true);
    EXPECT(false, "\1\1");
    batch = one_column(&schema, (Type){.kind = TYPE_FLOAT32});
    memcpy(column_put_fixed(batch, &batch->columns[0]), &(float){1.5f}, 4);
    EXPECT(false, "\3\0\0\0\0\0\0\xf8\x3f");
    batch = one_column(&schema, (Type){.kind = TYPE_FLOAT64});
    memcpy(column_put_fixed(batch, &batch->columns[0]), &(double){-0.0}, 8);
    EXPECT(false, "\3\0\0\0\0\0\0\0\0");
    batch = one_column(&schema, (Type){.kind = TYPE_FLOAT64});
    memcpy(column_put_fixed(batch, &batch->columns[0]), "\1\0\0\0\0\0\xf8\xff", 8);
    EXPECT(false, "\3\0\0\0\0\0\0\xf8\x7f");
    batch = one_column(&schema, (Type){.kind = TYPE_INT32});
    column_put_null(batch, &batch->columns[0]);
    EXPECT(false, "\0");
}

static void decimals(void **state)
{
    (void)state;
    static const struct {
        __int128 value;
        uint8_t scale;
        const char *text; /* the same, as a numeric without a scale */
        const char *digits;
    } cases[] = {{1250, 2, "12.50", "12.5"}, {-1, 3, "-0.001", "-0.001"}, {0, 2, "0.00", "0"},
                 {0, 0, "-0", "0"},          {100, 0, "100", "100"},      {100, 2, "1", "1"},
                 {7, 1, "00.7", "0.7"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t bytes[32] = {4, (uint8_t)strlen(cases[i].digits)};
        memcpy(bytes + 5, cases[i].digits, strlen(cases[i].digits));
        Schema *schema;
        Batch *batch = one_column(
            &schema, (Type){.kind = TYPE_DECIMAL, .precision = 10, .scale = cases[i].scale});
        column_put_i128(batch, &batch->columns[0], cases[i].value);
        expect(batch, schema, false, bytes, 5 + strlen(cases[i].digits));
        batch = one_column(&schema, (Type){.kind = TYPE_STRING});
        column_put_bytes(batch, &batch->columns[0], cases[i].text, strlen(cases[i].text));
        expect(batch, schema, true, bytes, 5 + strlen(cases[i].digits));
    }
}

static void texts_and_nested(void **state)
{
    (void)state;
    Schema *schema;
    Batch *batch = one_column(&schema, (Type){.kind = TYPE_STRING});
    column_put_bytes(batch, &batch->columns[0], "ab", 2);
    EXPECT(false, "\5\2\0\0\0ab");
    batch = one_column(&schema, (Type){.kind = TYPE_BINARY});
    column_put_bytes(batch, &batch->columns[0], "", 0);
    EXPECT(false, "\6\0\0\0\0");
    batch = one_column(&schema, (Type){.kind = TYPE_UUID});
    memcpy(column_put_fixed(batch, &batch->columns[0]), "0123456789abcdef", 16);
    EXPECT(false, "\6\x10\0\0\0"
                  "0123456789abcdef");
    Type list = type_nested(TYPE_LIST, 0);
    list.element->type.kind = TYPE_BOOL;
    batch = one_column(&schema, list);
    column_element_room(batch, batch->columns[0].child);
    column_put_bool(batch, batch->columns[0].child, false);
    column_element_room(batch, batch->columns[0].child);
    column_put_null(batch, batch->columns[0].child);
    column_put_list(batch, &batch->columns[0]);
    EXPECT(false, "\7\2\0\0\0\1\0\0");
    Type structure = type_nested(TYPE_STRUCT, 1);
    structure.fields[0].name = mem_strdup("a");
    structure.fields[0].type.kind = TYPE_INT32;
    batch = one_column(&schema, structure);
    column_put_i32(batch, &batch->columns[0].child[0], 1);
    column_put_struct(batch, &batch->columns[0]);
    EXPECT(false, "\x08\2\1\0\0\0\0\0\0\0");
}

/* XXH64 as others compute it: of nothing, and of int4 1. */
static void hashes(void **state)
{
    (void)state;
    Bytes key = {0};
    assert_true(topic_hash(&key) == 0xef46db3751d8e999);
    bytes_put(&key, "abc", 3);
    assert_true(topic_hash(&key) == 0x44bc2cf5ad770999);
    assert_int_equal(topic_partition(0x44bc2cf5ad770999, 16), 9);
    bytes_done(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(decimals),
                                       cmocka_unit_test(texts_and_nested),
                                       cmocka_unit_test(hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
