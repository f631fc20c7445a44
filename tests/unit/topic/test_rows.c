/* links: firn_topic */
/* What each change of a row becomes: records, keys, headers, the envelope around it. */
#include "tests/unit/topic/one_table.h"

#include <stdio.h>

#define SOURCE(n)                                                                                  \
    "\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"c\","         \
    "\"ts_ms\":1700000000123,\"snapshot\":\"false\",\"db\":\"d\",\"sequence\":"                    \
    "\"[\\\"100\\\",\\\"" n "\\\"]\",\"ts_us\":1700000000123456,\"ts_ns\":1700000000123456000,"    \
    "\"schema\":\"public\",\"table\":\"t\",\"txId\":77,\"lsn\":" n                                 \
    ",\"xmin\":null,\"origin\":null,\"origin_lsn\":null}"
#define TIMES "\"ts_ms\":1700000001000,\"ts_us\":1700000001000001,\"ts_ns\":1700000001000001000}"

static void make(OneTable *one, TopicOptions options)
{
    one_make(one, (Type){.kind = TYPE_STRING}, (ColumnType){.name = "text", .modifier = -1},
             &options);
}

static void put_text(OneTable *one, RowOp op, int64_t id, const char *text)
{
    Column *column = one_row(one, op, id);
    if (text)
        column_put_bytes(one->batch, column, text, strlen(text));
    else
        column_put_null(one->batch, column);
}

static void expect(const OneTable *one, size_t record, const char *key, const char *value)
{
    const TopicRecord *found = &one->records.items[record];
    assert_true(record < one->records.count);
    assert_string_equal(one_text(one, found->key), key);
    if (value)
        assert_string_equal(one_text(one, found->value), value);
    else
        assert_int_equal(found->value.bytes, 0);
}

static void copied_inserted_updated(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    put_text(&one, ROW_READ, 1, "a");
    put_text(&one, ROW_INSERT, 2, "b");
    put_text(&one, ROW_UPDATE, 2, NULL);
    put_text(&one, ROW_UPDATE, 2, "d");
    one.snapshot[0] = TOPIC_SNAPSHOT_LAST_OF_TABLE;
    one.row[3].before = 1;
    assert_true(one_encode(&one, NULL));
    assert_int_equal(one.records.count, 4);
    assert_non_null(strstr(one_text(&one, one.records.items[0].value),
                           "\"snapshot\":\"last_in_data_collection\""));
    assert_non_null(strstr(one_text(&one, one.records.items[0].value), "\"op\":\"r\""));
    expect(&one, 1, "{\"id\":2}",
           "{\"before\":null,\"after\":{\"id\":2,\"v\":\"b\"}," SOURCE(
               "201") ",\"transaction\":null,\"op\":\"c\"," TIMES);
    expect(&one, 2, "{\"id\":2}",
           "{\"before\":null,\"after\":{\"id\":2,\"v\":null}," SOURCE(
               "202") ",\"transaction\":null,\"op\":\"u\"," TIMES);
    expect(&one, 3, "{\"id\":2}",
           "{\"before\":{\"id\":2,\"v\":\"b\"},\"after\":{\"id\":2,\"v\":\"d\"}," SOURCE(
               "203") ",\"transaction\":null,\"op\":\"u\"," TIMES);
    one_done(&one);
}

static void deleted(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    put_text(&one, ROW_DELETE, 1, NULL);
    assert_true(one_encode(&one, NULL));
    assert_int_equal(one.records.count, 2);
    expect(&one, 0, "{\"id\":1}",
           "{\"before\":{\"id\":1,\"v\":null},\"after\":null," SOURCE(
               "200") ",\"transaction\":null,\"op\":\"d\"," TIMES);
    expect(&one, 1, "{\"id\":1}", NULL);
    assert_int_equal(one.records.items[0].hash, one.records.items[1].hash);
    one_done(&one);
    make(&one, (TopicOptions){.no_tombstones = true});
    put_text(&one, ROW_DELETE, 1, NULL);
    assert_true(one_encode(&one, NULL));
    assert_int_equal(one.records.count, 1);
    one_done(&one);
}

static void key_changed(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    put_text(&one, ROW_MOVE, 1, NULL);
    put_text(&one, ROW_UPDATE, 2, "b");
    assert_true(one_encode(&one, NULL));
    assert_int_equal(one.records.count, 3);
    expect(&one, 0, "{\"id\":1}",
           "{\"before\":{\"id\":1,\"v\":null},\"after\":null," SOURCE(
               "200") ",\"transaction\":null,\"op\":\"d\"," TIMES);
    expect(&one, 1, "{\"id\":1}", NULL);
    expect(&one, 2, "{\"id\":2}",
           "{\"before\":null,\"after\":{\"id\":2,\"v\":\"b\"}," SOURCE(
               "201") ",\"transaction\":null,\"op\":\"c\"," TIMES);
    for (size_t i = 0; i < 3; i++) {
        const TopicRecord *record = &one.records.items[i];
        assert_string_equal(record->other_name, i < 2 ? "__debezium.newkey" : "__debezium.oldkey");
        assert_string_equal(one_text(&one, record->other), i < 2 ? "{\"id\":2}" : "{\"id\":1}");
    }
    assert_int_not_equal(one.records.items[0].hash, one.records.items[2].hash);
    one_done(&one);
}

static void truncated(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    topic_encode_truncate(one.table, &one.transaction, &one.row[0], (RowPosition){5, 6}, 4,
                          1700000001000001, &one.records);
    assert_int_equal(one.records.count, 1);
    assert_true(one.records.items[0].everywhere);
    expect(&one, 0, "",
           "{\"before\":null,\"after\":null," SOURCE(
               "200") ",\"transaction\":null,\"op\":\"t\"," TIMES);
    const uint8_t header[] = {'T', 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0,
                              0,   0, 0, 6, 0, 0, 0, 3, 0, 0, 0, 4};
    TopicSpan span = one.records.items[0].header;
    assert_int_equal(span.bytes, sizeof header);
    assert_memory_equal(one.records.bytes.data + span.at, header, sizeof header);
    one_done(&one);
}

static void values_left_out(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    column_put_unchanged(one.batch, one_row(&one, ROW_UPDATE, 1));
    put_text(&one, ROW_UPDATE, 1, TOPIC_PLACEHOLDER);
    assert_true(one_encode(&one, NULL));
    for (size_t i = 0; i < 2; i++)
        assert_non_null(strstr(one_text(&one, one.records.items[i].value),
                               "\"v\":\"__debezium_unavailable_value\""));
    const uint8_t header[] = {'R', 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0,
                              0,   0, 0, 0, 1, 0, 0, 0,    3, 0, 1};
    TopicSpan span = one.records.items[0].header;
    assert_int_equal(span.bytes, sizeof header);
    assert_memory_equal(one.records.bytes.data + span.at, header, sizeof header);
    assert_int_equal(one.records.items[1].header.bytes, TOPIC_HEADER_BYTES);
    one_done(&one);
}

static void placeholders(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        TypeKind kind, element; /* TYPE_STRUCT: none */
        TopicBinary binary;
        const char *json;
    } cases[] = {
        {"bytea", TYPE_BINARY, TYPE_STRUCT, TOPIC_BINARY_BYTES,
         "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\""},
        {"bytea", TYPE_BINARY, TYPE_STRUCT, TOPIC_BINARY_HEX, "\"__debezium_unavailable_value\""},
        {"_text", TYPE_LIST, TYPE_STRING, 0, "[\"__debezium_unavailable_value\"]"},
        {"_uuid", TYPE_LIST, TYPE_UUID, 0, "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]"},
        {"_int4", TYPE_LIST, TYPE_INT32, 0,
         "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,"
         "97,108,117,101]"},
        {"_numeric", TYPE_LIST, TYPE_DECIMAL, 0, "null"},
        {"date", TYPE_DATE, TYPE_STRUCT, 0, "null"},
        {"hstore", TYPE_MAP, TYPE_STRING, 0,
         "\"{\\\"__debezium_unavailable_value\\\":\\\"__debezium_unavailable_value\\\"}\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OneTable one;
        bool nested = cases[i].element != TYPE_STRUCT;
        const ColumnType element = {.name = cases[i].source + 1, .modifier = -1};
        ColumnType source = {.name = cases[i].source, .modifier = -1};
        Type type = nested ? type_nested(cases[i].kind, 0) : (Type){.kind = cases[i].kind};
        for (uint32_t k = 0; nested && k < type_child_count(&type); k++)
            type.fields[k].type = (Type){.kind = cases[i].element, .precision = 9};
        if (cases[i].kind == TYPE_LIST) {
            source.children = &element;
            source.child_count = 1;
        }
        one_make(&one, type, source, &(TopicOptions){.binary = cases[i].binary});
        column_put_unchanged(one.batch, one_row(&one, ROW_UPDATE, 1));
        assert_true(one_encode(&one, NULL));
        char expected[512];
        snprintf(expected, sizeof expected, "\"v\":%s},\"source\"", cases[i].json);
        if (!strstr(one_text(&one, one.records.items[0].value), expected))
            fail_msg("%s: %s\nhas no %s", cases[i].source,
                     one_text(&one, one.records.items[0].value), expected);
        one_done(&one);
    }
}

static void transactions_and_origins(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){.transactions = true});
    one.transaction.origin = "elsewhere";
    one.transaction.origin_lsn = 12;
    one.row[0].total_order = 5;
    one.row[0].table_order = 2;
    put_text(&one, ROW_INSERT, 1, "a");
    put_text(&one, ROW_INSERT, 2, "b");
    assert_true(one_encode(&one, NULL));
    const char *text = one_text(&one, one.records.items[0].value);
    assert_non_null(strstr(text, "\"transaction\":{\"id\":\"77:200\",\"total_order\":5,"
                                 "\"data_collection_order\":2},\"op\""));
    assert_non_null(strstr(text, "\"origin\":\"elsewhere\",\"origin_lsn\":12}"));
    assert_non_null(strstr(one_text(&one, one.records.items[1].value), "\"transaction\":null"));
    one_done(&one);
}

static void what_is_not_known_is_null(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    one.transaction.id = one.transaction.last_commit_lsn = 0;
    one.row[0].lsn = 0;
    one.snapshot[1] = TOPIC_SNAPSHOT_INCREMENTAL;
    put_text(&one, ROW_READ, 1, "a");
    put_text(&one, ROW_READ, 2, "b");
    assert_true(one_encode(&one, NULL));
    const char *text = one_text(&one, one.records.items[0].value);
    assert_non_null(strstr(text, "\"sequence\":\"[null,null]\""));
    assert_non_null(strstr(text, "\"txId\":null,\"lsn\":null,"));
    text = one_text(&one, one.records.items[1].value);
    assert_non_null(strstr(text, "\"snapshot\":\"incremental\""));
    assert_non_null(strstr(text, "\"txId\":null,\"lsn\":null,"));
    one_done(&one);
}

static void in_avro(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){.format = TOPIC_AVRO});
    put_text(&one, ROW_INSERT, 1, "a");
    put_text(&one, ROW_DELETE, 1, NULL);
    one.transaction.commit_us = 1000;
    one.transaction.last_commit_lsn = 0;
    assert_true(one_encode(&one, NULL));
    const uint8_t key[] = {0, 0, 0, 0, 7, 2};
    const uint8_t value[] = "\0\1\2\3\4"  /* magic, id */
                            "\0\2\2\2\2a" /* no before; after: 1, "a" */
                            "\x16"
                            "3.5.0.Final"
                            "\x14"
                            "postgresql"
                            "\2c"
                            "\2" /* … ts_ms 1 */
                            "\0\x0a"
                            "false"
                            "\2d"
                            "\2\x18"
                            "[null,\"200\"]" /* snapshot, db, sequence */
                            "\2\xd0\x0f"
                            "\2\x80\x89\x7a"
                            "\x0c"
                            "public"
                            "\2t" /* ts_us, ts_ns, schema, table */
                            "\2\x9a\1"
                            "\2\x90\3"
                            "\0\0\0" /* txId 77, lsn 200, xmin, origin */
                            "\0"
                            "\2c"; /* transaction, op */
    TopicSpan span = one.records.items[0].key;
    assert_int_equal(span.bytes, sizeof key);
    assert_memory_equal(one.records.bytes.data + span.at, key, sizeof key);
    span = one.records.items[0].value;
    assert_memory_equal(one.records.bytes.data + span.at, value, sizeof value - 1);
    /* before: 1, null; no after */
    assert_memory_equal(one.records.bytes.data + one.records.items[1].value.at,
                        "\0\1\2\3\4\2\2\0\0\x16", 10);
    one_done(&one);
}

static void json_with_its_schema(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){.format = TOPIC_JSON_WITH_SCHEMA});
    put_text(&one, ROW_INSERT, 1, "a");
    assert_true(one_encode(&one, NULL));
    char expected[512];
    snprintf(expected, sizeof expected, "{\"schema\":%s,\"payload\":{\"id\":1}}",
             topic_table_key_schema(one.table));
    assert_string_equal(one_text(&one, one.records.items[0].key), expected);
    assert_string_equal(topic_table_key_schema(one.table),
                        "{\"type\":\"struct\",\"fields\":[{\"type\":\"int64\",\"optional\":false,"
                        "\"field\":\"id\"}],\"optional\":false,\"name\":\"c.public.t.Key\"}");
    const char *text = one_text(&one, one.records.items[0].value);
    assert_memory_equal(text, "{\"schema\":{\"type\":\"struct\",", 27);
    assert_string_equal(text + strlen(text) - 3, "00}}" + 1);
    one_done(&one);
}

static void epochs(void **state)
{
    (void)state;
    OneTable one;
    make(&one, (TopicOptions){0});
    topic_encode_epoch(one.table, (RowPosition){5, 6}, 7, 9, 4, &one.records);
    const TopicRecord *record = &one.records.items[0];
    assert_true(record->everywhere);
    assert_int_equal(record->everywhere_from, 4);
    assert_int_equal(record->key.bytes + record->value.bytes, 0);
    assert_int_equal(record->header.bytes, TOPIC_HEADER_BYTES + 8);
    assert_memory_equal(one.records.bytes.data + record->header.at,
                        "E\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6\0\0\0\3\0\0\0\7\0\0\0\t",
                        TOPIC_HEADER_BYTES + 8);
    one_done(&one);
}

static void bounded_and_gone_on_with(void **state)
{
    (void)state;
    OneTable one;
    Error err = {0};
    make(&one, (TopicOptions){0});
    put_text(&one, ROW_INSERT, 1, "a");
    put_text(&one, ROW_MOVE, 1, NULL);
    put_text(&one, ROW_UPDATE, 2, "b");
    put_text(&one, ROW_INSERT, 3, "c");
    TopicRows rows = one_rows(&one);
    uint32_t from = 0, rounds = 0, after[] = {1, 3, 4};
    for (; from < one.batch->row_count; rounds++) {
        topic_records_clear(&one.records);
        assert_true(topic_encode(one.table, &rows, &from, 1, &one.records, &err));
        assert_int_equal(from, after[rounds]);
        assert_int_equal(one.records.count, rounds == 1 ? 3 : 1);
    }
    assert_int_equal(rounds, 3);
    one_done(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copied_inserted_updated),
        cmocka_unit_test(deleted),
        cmocka_unit_test(key_changed),
        cmocka_unit_test(truncated),
        cmocka_unit_test(values_left_out),
        cmocka_unit_test(placeholders),
        cmocka_unit_test(transactions_and_origins),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(in_avro),
        cmocka_unit_test(json_with_its_schema),
        cmocka_unit_test(epochs),
        cmocka_unit_test(bounded_and_gone_on_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
