/* links: firn_topic */
/* Heartbeats, transactions, logical messages: as Debezium's, byte by byte. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "agent/topic/connector.h"

static const char *text_of(const TopicRecords *records, TopicSpan span)
{
    static char text[8192];
    assert_true(span.bytes < sizeof text);
    memcpy(text, records->bytes.data + span.at, span.bytes);
    text[span.bytes] = '\0';
    return text;
}

static void names(void **state)
{
    (void)state;
    static const char *const expected[] = {"__debezium-heartbeat.c", "c.transaction", "c.message",
                                           "c"};
    for (int topic = CONNECTOR_HEARTBEAT; topic < CONNECTOR_TOPICS; topic++) {
        char *name = connector_topic_name((ConnectorTopic)topic, "c");
        assert_string_equal(name, expected[topic]);
        free(name);
    }
}

static void heartbeats(void **state)
{
    (void)state;
    TopicRecords records = {0};
    TopicOptions options = {0};
    ConnectorRecords *own = connector_records_new(CONNECTOR_HEARTBEAT, "c", "d", &options);
    connector_heartbeat(own, 1700000000123456, &records);
    assert_string_equal(text_of(&records, records.items[0].key), "{\"serverName\":\"c\"}");
    assert_string_equal(text_of(&records, records.items[0].value), "{\"ts_ms\":1700000000123}");
    connector_records_free(own);
    options.format = TOPIC_AVRO;
    own = connector_records_new(CONNECTOR_HEARTBEAT, "c", "d", &options);
    connector_set_ids(own, 1, 2);
    topic_records_clear(&records);
    connector_heartbeat(own, 1000, &records);
    assert_memory_equal(text_of(&records, records.items[0].key), "\0\0\0\0\1\2c", 7);
    assert_memory_equal(text_of(&records, records.items[0].value), "\0\0\0\0\2\2", 6);
    assert_string_equal(connector_value_schema(own),
                        "{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":"
                        "\"io.debezium.connector.common\",\"fields\":[{\"name\":\"ts_ms\",\"type\":"
                        "\"long\"}],\"connect.version\":1,\"connect.name\":"
                        "\"io.debezium.connector.common.Heartbeat\"}");
    connector_records_free(own);
    topic_records_done(&records);
}

static void transactions(void **state)
{
    (void)state;
    TopicRecords records = {0};
    ConnectorRecords *own =
        connector_records_new(CONNECTOR_TRANSACTION, "c", "d", &(TopicOptions){0});
    TransactionOrigin transaction = {.id = 770, .commit_us = 1795302619821999};
    const TransactionCount counts[] = {{"public.whole", 1}, {"public.emptied", 2}};
    connector_transaction(own, &transaction, 37804376, false, NULL, 0, &records);
    connector_transaction(own, &transaction, 37804944, true, counts, 2, &records);
    assert_string_equal(text_of(&records, records.items[0].key), "{\"id\":\"770:37804376\"}");
    assert_string_equal(text_of(&records, records.items[0].value),
                        "{\"status\":\"BEGIN\",\"id\":\"770:37804376\",\"event_count\":null,"
                        "\"data_collections\":null,\"ts_ms\":1795302619821}");
    assert_string_equal(text_of(&records, records.items[1].value),
                        "{\"status\":\"END\",\"id\":\"770:37804944\",\"event_count\":3,"
                        "\"data_collections\":[{\"data_collection\":\"public.whole\","
                        "\"event_count\":1},{\"data_collection\":\"public.emptied\","
                        "\"event_count\":2}],\"ts_ms\":1795302619821}");
    connector_records_free(own);
    own = connector_records_new(CONNECTOR_TRANSACTION, "c", "d",
                                &(TopicOptions){.format = TOPIC_AVRO});
    assert_string_equal(
        connector_value_schema(own),
        "{\"type\":\"record\",\"name\":\"TransactionMetadataValue\",\"namespace\":"
        "\"io.debezium.connector.common\",\"fields\":[{\"name\":\"status\",\"type\":\"string\"},{"
        "\"name\":\"id\",\"type\":\"string\"},{\"name\":\"event_count\",\"type\":[\"null\","
        "\"long\"],"
        "\"default\":null},{\"name\":\"data_collections\",\"type\":[\"null\",{\"type\":\"array\","
        "\"items\":[\"null\",{\"type\":\"record\",\"name\":\"collection\",\"namespace\":\"event\","
        "\"fields\":[{\"name\":\"data_collection\",\"type\":\"string\"},{\"name\":\"event_count\","
        "\"type\":\"long\"}],\"connect.version\":1,\"connect.name\":\"event.collection\"}]}],"
        "\"default\":null},{\"name\":\"ts_ms\",\"type\":\"long\"}],\"connect.version\":1,"
        "\"connect.name\":\"io.debezium.connector.common.TransactionMetadataValue\"}");
    connector_records_free(own);
    topic_records_done(&records);
}

static void messages(void **state)
{
    (void)state;
    TopicRecords records = {0};
    ConnectorRecords *own =
        connector_records_new(CONNECTOR_MESSAGE, "plainj", "d", &(TopicOptions){0});
    TransactionOrigin transaction = {
        .id = 771, .last_commit_lsn = 37804944, .commit_us = 1795302619852374};
    RowOrigin row = {.lsn = 37805008};
    connector_message(own, &transaction, &row, "pre", "body", 4, 1795302620957000, &records);
    assert_string_equal(text_of(&records, records.items[0].key), "{\"prefix\":\"pre\"}");
    assert_string_equal(
        text_of(&records, records.items[0].value),
        "{\"op\":\"m\",\"ts_ms\":1795302620957,\"source\":{\"version\":\"3.5.0.Final\","
        "\"connector\":\"postgresql\",\"name\":\"plainj\",\"ts_ms\":1795302619852,\"snapshot\":"
        "\"false\",\"db\":\"d\",\"sequence\":\"[\\\"37804944\\\",\\\"37805008\\\"]\",\"ts_us\":"
        "1795302619852374,\"ts_ns\":1795302619852374000,\"schema\":\"\",\"table\":\"\",\"txId\":"
        "771,"
        "\"lsn\":37805008,\"xmin\":null,\"origin\":null,\"origin_lsn\":null},\"transaction\":null,"
        "\"message\":{\"prefix\":\"pre\",\"content\":\"Ym9keQ==\"}}");
    connector_records_free(own);
    topic_records_done(&records);
}

/* Its text, from the mark on. */
static const char *from(const char *text, const char *mark)
{
    const char *at = strstr(text, mark);
    assert_non_null(at);
    return at;
}

static void statements(void **state)
{
    (void)state;
    static const struct {
        StatementColumn column;
        const char *expected;
    } cases[] = {
        {{"id", "int(11)", NULL, NULL, true, true},
         "\"jdbcType\":4,\"nativeType\":null,\"typeName\":\"INT\",\"typeExpression\":\"INT\","
         "\"charsetName\":null,\"length\":11,\"scale\":null,\"position\":1,\"optional\":false,"
         "\"autoIncremented\":true,\"generated\":true,\"comment\":null,"
         "\"defaultValueExpression\":null,\"enumValues\":null}"},
        {{"d", "decimal(10,2) unsigned zerofill", NULL, "1.50", false, false},
         "\"jdbcType\":3,\"nativeType\":null,\"typeName\":\"DECIMAL UNSIGNED ZEROFILL\","
         "\"typeExpression\":\"DECIMAL UNSIGNED ZEROFILL\",\"charsetName\":null,\"length\":10,"
         "\"scale\":2,\"position\":2,\"optional\":true,\"autoIncremented\":false,"
         "\"generated\":false,\"comment\":null,\"defaultValueExpression\":\"1.50\","
         "\"enumValues\":null}"},
        {{"e", "enum('a,b','c''d','')", "latin1", NULL, false, false},
         "\"jdbcType\":1,\"nativeType\":null,\"typeName\":\"ENUM\",\"typeExpression\":\"ENUM\","
         "\"charsetName\":\"latin1\",\"length\":1,\"scale\":null,\"position\":3,\"optional\":true,"
         "\"autoIncremented\":false,\"generated\":false,\"comment\":null,"
         "\"defaultValueExpression\":null,\"enumValues\":[\"'a,b'\",\"'c''d'\",\"''\"]}"},
        {{"s", "set('x','y)", "utf8mb4", NULL, false, false}, /* cut short */
         "\"jdbcType\":1,\"nativeType\":null,\"typeName\":\"SET\",\"typeExpression\":\"SET\","
         "\"charsetName\":\"utf8mb4\",\"length\":3,\"scale\":null,\"position\":4,\"optional\":true,"
         "\"autoIncremented\":false,\"generated\":false,\"comment\":null,"
         "\"defaultValueExpression\":null,\"enumValues\":[\"'x'\",\"'y)\"]}"},
        {{"at", "timestamp(3)", NULL, "CURRENT_TIMESTAMP", false, false},
         "\"jdbcType\":2014,\"nativeType\":null,\"typeName\":\"TIMESTAMP\",\"typeExpression\":"
         "\"TIMESTAMP\",\"charsetName\":null,\"length\":3,\"scale\":null,\"position\":5,"
         "\"optional\":true,\"autoIncremented\":false,\"generated\":false,\"comment\":null,"
         "\"defaultValueExpression\":\"1970-01-01 00:00:00\",\"enumValues\":null}"},
        {{"u", "inet6", NULL, "b'01'", false, false},
         "\"jdbcType\":1111,\"nativeType\":null,\"typeName\":\"INET6\",\"typeExpression\":"
         "\"INET6\","
         "\"charsetName\":null,\"length\":null,\"scale\":null,\"position\":6,\"optional\":true,"
         "\"autoIncremented\":false,\"generated\":false,\"comment\":null,"
         "\"defaultValueExpression\":\"01\",\"enumValues\":null}"},
    };
    StatementColumn columns[ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        columns[i] = cases[i].column;
    const char *key[] = {"id"};
    StatementTable tables[] = {
        {STATEMENT_ALTER, "t", "utf8mb4", true, columns, ARRAY_LEN(cases), key, 1},
        {STATEMENT_DROP, "u", NULL, false, NULL, 0, NULL, 0}};
    const Statement statement = {
        .database = "shop", .text = "ALTER TABLE `t` …", .tables = tables, .table_count = 2};
    const TransactionOrigin transaction = {
        .id = 7, .origin = "0-1-", .commit_us = 1795302619000000, .file = "b.000001", .server = 1};
    const RowOrigin row = {.lsn = 1234};
    TopicRecords records = {0};
    ConnectorRecords *own = connector_records_new(CONNECTOR_STATEMENT, "c", "shop",
                                                  &(TopicOptions){.source = TOPIC_MARIADB});
    connector_statement(own, &transaction, &row, &statement, TOPIC_SNAPSHOT_FALSE, 1795302620957000,
                        &records);
    assert_string_equal(text_of(&records, records.items[0].key), "{\"databaseName\":\"shop\"}");
    const char *text = text_of(&records, records.items[0].value);
    static const char head[] =
        "{\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"mariadb\",\"name\":\"c\","
        "\"ts_ms\":1795302619000,\"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":null,\"ts_"
        "us\":"
        "1795302619000000,\"ts_ns\":1795302619000000000,\"table\":\"t,u\",\"server_id\":1,\"gtid\":"
        "\"0-1-7\",\"file\":\"b.000001\",\"pos\":1234,\"row\":0,\"thread\":null,\"query\":null},"
        "\"ts_ms\":1795302620957,\"databaseName\":\"shop\",\"schemaName\":null,\"ddl\":"
        "\"ALTER TABLE `t` "
        "…\",\"tableChanges\":[{\"type\":\"ALTER\",\"id\":\"\\\"shop\\\".\\\"t\\\"\","
        "\"table\":{\"defaultCharsetName\":\"utf8mb4\",\"primaryKeyColumnNames\":[\"id\"],"
        "\"columns\":"
        "[{\"name\":\"id\",";
    assert_memory_equal(text, head, sizeof head - 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        text = from(text, "\"jdbcType\"");
        assert_memory_equal(text++, cases[i].expected, strlen(cases[i].expected));
    }
    assert_string_equal(from(text, "],\"comment\""),
                        "],\"comment\":null}},{\"type\":\"DROP\",\"id\":\"\\\"shop\\\".\\\"u\\\"\","
                        "\"table\":null}]}");
    connector_records_free(own);
    topic_records_done(&records);
}

/* The same in Avro: as long as its schema says, to the last byte (a text, an empty array). */
static void avro_statement(void **state)
{
    (void)state;
    const Statement statement = {.database = "shop", .text = "DROP INDEX i ON t"};
    const TransactionOrigin transaction = {.commit_us = 1000, .file = "b.1", .server = 1};
    const RowOrigin row = {.lsn = 4};
    TopicRecords records = {0};
    ConnectorRecords *own = connector_records_new(
        CONNECTOR_STATEMENT, "c", "shop",
        &(TopicOptions){.source = TOPIC_MYSQL, .format = TOPIC_AVRO, .version = "v"});
    connector_set_ids(own, 1, 2);
    connector_statement(own, &transaction, &row, &statement, TOPIC_SNAPSHOT_TRUE, 3000, &records);
    static const char expected[] =
        "\0\0\0\0\2\2v\12mysql\2c\2\0\10true\10shop\0\2\xd0\17\2\x80\x89\x7a\2\0\2\0\6b.1\10\0\0\0"
        "\6\2\10shop\0\2\42DROP INDEX i ON t\0";
    assert_int_equal(records.items[0].value.bytes, sizeof expected - 1);
    assert_memory_equal(records.bytes.data + records.items[0].value.at, expected,
                        sizeof expected - 1);
    assert_non_null(strstr(connector_value_schema(own), "io.debezium.connector.mysql"));
    connector_records_free(own);
    topic_records_done(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),    cmocka_unit_test(heartbeats), cmocka_unit_test(transactions),
        cmocka_unit_test(messages), cmocka_unit_test(statements), cmocka_unit_test(avro_statement)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
