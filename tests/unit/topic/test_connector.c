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
    static const char *const expected[] = {"__debezium-heartbeat.c", "c.transaction", "c.message"};
    for (int topic = CONNECTOR_HEARTBEAT; topic <= CONNECTOR_MESSAGE; topic++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(heartbeats),
                                       cmocka_unit_test(transactions), cmocka_unit_test(messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
