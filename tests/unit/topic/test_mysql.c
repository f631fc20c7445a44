/* links: firn_topic */
/* MySQL's and MariaDB's types, defaults and block `source`, as their connectors write them. */
#include "tests/unit/topic/one_table.h"

#include <stdio.h>

#define PLACE(file, offset) ((uint64_t)(file) << 40 | (offset))
#define DECIMAL(scale, precision)                                                                  \
    "\"name\":\"org.apache.kafka.connect.data.Decimal\",\"version\":1,\"parameters\":{\"scale\":"  \
    "\"" scale "\",\"connect.decimal.precision\":\"" precision "\"}"
#define NAMED(type, name)                                                                          \
    "\"type\":\"" type "\",\"optional\":true,\"name\":\"" name "\",\"version\":1"

typedef struct MysqlCase {
    const char *source;
    int32_t modifier;
    Type type;
    TopicOptions options; /* but source and format */
    __int128 number;
    const char *text;
    uint32_t bytes;
    const char *json;   /* the value */
    const char *schema; /* stands in the field's */
} MysqlCase;

static const MysqlCase cases[] = {
    {"tinyint", -1, {.kind = TYPE_INT32}, {0}, -128, NULL, 0, "-128", "\"type\":\"int16\""},
    {"tinyint unsigned", -1, {.kind = TYPE_INT32}, {0}, 255, NULL, 0, "255", "\"type\":\"int16\""},
    {"smallint", -1, {.kind = TYPE_INT32}, {0}, -2, NULL, 0, "-2", "\"type\":\"int16\""},
    {"smallint unsigned",
     -1,
     {.kind = TYPE_INT32},
     {0},
     65535,
     NULL,
     0,
     "65535",
     "\"type\":\"int32\""},
    {"mediumint unsigned", -1, {.kind = TYPE_INT32}, {0}, 7, NULL, 0, "7", "\"type\":\"int32\""},
    {"int unsigned",
     -1,
     {.kind = TYPE_INT64},
     {0},
     4294967295,
     NULL,
     0,
     "4294967295",
     "\"type\":\"int64\""},
    {"bigint unsigned",
     -1,
     {.kind = TYPE_DECIMAL, .precision = 20},
     {0},
     UINT64_MAX,
     NULL,
     0,
     "\"AP//////////\"",
     DECIMAL("0", "20")},
    {"bigint unsigned",
     -1,
     {.kind = TYPE_DECIMAL, .precision = 20},
     {.decimal = TOPIC_DECIMAL_STRING},
     1,
     NULL,
     0,
     "\"AQ==\"",
     DECIMAL("0", "20")},
    {"bigint unsigned",
     -1,
     {.kind = TYPE_DECIMAL, .precision = 20},
     {.unsigned_as_long = true},
     INT64_MAX,
     NULL,
     0,
     "9223372036854775807",
     "\"type\":\"int64\""},
    {"decimal",
     ((10 << 16) | 2) + 4,
     {.kind = TYPE_DECIMAL, .precision = 10, .scale = 2},
     {0},
     12345,
     NULL,
     0,
     "\"MDk=\"",
     DECIMAL("2", "10")},
    {"decimal unsigned",
     ((10 << 16) | 2) + 4,
     {.kind = TYPE_DECIMAL, .precision = 10, .scale = 2},
     {.decimal = TOPIC_DECIMAL_STRING},
     12345,
     NULL,
     0,
     "\"123.45\"",
     "\"type\":\"string\""},
    {"decimal",
     ((65 << 16) | 1) + 4,
     {.kind = TYPE_STRING},
     {0},
     0,
     "1.5",
     0,
     "\"Dw==\"",
     DECIMAL("1", "65")},
    {"bit", 1, {.kind = TYPE_BOOL}, {0}, 1, NULL, 0, "true", "\"type\":\"boolean\""},
    {"bit",
     10,
     {.kind = TYPE_STRING},
     {0},
     0,
     "0000000101",
     0,
     "\"BQA=\"",
     "\"name\":\"io.debezium.data.Bits\",\"version\":1,\"parameters\":{\"length\":\"10\"}"},
    {"year",
     -1,
     {.kind = TYPE_INT32},
     {0},
     2155,
     NULL,
     0,
     "2155",
     NAMED("int32", "io.debezium.time.Year")},
    {"date",
     -1,
     {.kind = TYPE_DATE},
     {0},
     -1,
     NULL,
     0,
     "-1",
     NAMED("int32", "io.debezium.time.Date")},
    {"time",
     0,
     {.kind = TYPE_TIME},
     {0},
     -3020399000000,
     NULL,
     0,
     "-3020399000000",
     NAMED("int64", "io.debezium.time.MicroTime")},
    {"time",
     3,
     {.kind = TYPE_TIME},
     {.time = TOPIC_TIME_CONNECT},
     1999,
     NULL,
     0,
     "1",
     NAMED("int32", "org.apache.kafka.connect.data.Time")},
    {"datetime",
     0,
     {.kind = TYPE_TIMESTAMP},
     {0},
     5000000,
     NULL,
     0,
     "5000",
     NAMED("int64", "io.debezium.time.Timestamp")},
    {"datetime",
     6,
     {.kind = TYPE_TIMESTAMP},
     {0},
     5000001,
     NULL,
     0,
     "5000001",
     NAMED("int64", "io.debezium.time.MicroTimestamp")},
    {"timestamp",
     3,
     {.kind = TYPE_TIMESTAMPTZ},
     {0},
     500000,
     NULL,
     0,
     "\"1970-01-01T00:00:00.500Z\"",
     NAMED("string", "io.debezium.time.ZonedTimestamp")},
    {"varchar", -1, {.kind = TYPE_STRING}, {0}, 0, "ä", 0, "\"ä\"", "\"type\":\"string\""},
    {"varbinary", -1, {.kind = TYPE_BINARY}, {0}, 0, "\1", 1, "\"AQ==\"", "\"type\":\"bytes\""},
    {"blob",
     -1,
     {.kind = TYPE_BINARY},
     {.binary = TOPIC_BINARY_HEX},
     0,
     "\1",
     1,
     "\"01\"",
     "\"type\":\"string\""},
    {"json",
     -1,
     {.kind = TYPE_STRING},
     {0},
     0,
     "{}",
     0,
     "\"{}\"",
     NAMED("string", "io.debezium.data.Json")},
    {"geometry",
     -1,
     {.kind = TYPE_BINARY},
     {0},
     0,
     "\0\0\0\0\1\7\0\0\0\0\0\0\0",
     13,
     "{\"wkb\":\"AQcAAAAAAAAA\",\"srid\":null}",
     "\"io.debezium.data.geometry.Geometry\""},
    {"point",
     -1,
     {.kind = TYPE_BINARY},
     {0},
     0,
     "\xe6\x10\0\0\1\1\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40",
     25,
     "{\"x\":1.0,\"y\":2.0,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\",\"srid\":4326}",
     "\"io.debezium.data.geometry.Point\""},
    {"inet6", -1, {.kind = TYPE_STRING}, {0}, 0, "::1", 0, "\"::1\"", "\"type\":\"string\""},
};

static void put(OneTable *one, const MysqlCase *of)
{
    Column *column = one_row(one, ROW_INSERT, 1);
    size_t bytes = of->text ? (of->bytes ? of->bytes : strlen(of->text)) : 0;
    if (of->text)
        column_put_bytes(one->batch, column, of->text, bytes);
    else if (of->type.kind == TYPE_BOOL)
        column_put_bool(one->batch, column, of->number != 0);
    else if (of->type.kind == TYPE_DECIMAL)
        column_put_i128(one->batch, column, of->number);
    else if (column->width == 4)
        column_put_i32(one->batch, column, (int32_t)of->number);
    else
        column_put_i64(one->batch, column, (int64_t)of->number);
}

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OneTable one;
        Error err = {0};
        char wanted[512];
        TopicOptions options = cases[i].options;
        options.source = TOPIC_MYSQL;
        options.format = TOPIC_JSON_WITH_SCHEMA;
        const ColumnType source = {.name = cases[i].source, .modifier = cases[i].modifier};
        one_make(&one, cases[i].type, source, &options);
        put(&one, &cases[i]);
        assert_true(one_encode(&one, &err));
        const char *text = one_text(&one, one.records.items[0].value);
        snprintf(wanted, sizeof wanted, "\"after\":{\"id\":1,\"v\":%s},\"source\"", cases[i].json);
        if (!strstr(text, wanted))
            fail_msg("%s: no %s in %s", cases[i].source, wanted, text);
        if (!strstr(topic_table_value_schema(one.table), cases[i].schema))
            fail_msg("%s: no %s in %s", cases[i].source, cases[i].schema,
                     topic_table_value_schema(one.table));
        one_done(&one);
    }
}

static void test_labels(void **state)
{
    (void)state;
    static const char *labels[] = {"x", "y"};
    static const char *const kinds[][2] = {{"enum", "Enum"}, {"set", "EnumSet"}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        OneTable one;
        char wanted[128];
        const ColumnType source = {.name = kinds[i][0],
                                   .modifier = -1,
                                   .is_enum = true,
                                   .labels = labels,
                                   .label_count = 2};
        one_make(&one, (Type){.kind = TYPE_STRING}, source,
                 &(TopicOptions){.source = TOPIC_MARIADB, .format = TOPIC_JSON_WITH_SCHEMA});
        snprintf(wanted, sizeof wanted,
                 "\"name\":\"io.debezium.data.%s\",\"version\":1,\"parameters\":{\"allowed\":"
                 "\"x,y\"}",
                 kinds[i][1]);
        assert_non_null(strstr(topic_table_value_schema(one.table), wanted));
        one_done(&one);
    }
}

/* What is no long, and what is no point. */
static void test_refused(void **state)
{
    (void)state;
    static const MysqlCase bad[] = {
        {"bigint unsigned",
         -1,
         {.kind = TYPE_DECIMAL, .precision = 20},
         {.unsigned_as_long = true},
         (__int128)INT64_MAX + 1,
         NULL,
         0,
         NULL,
         NULL},
        {"point", -1, {.kind = TYPE_BINARY}, {0}, 0, "\0\0\0\0\1\7\0\0\0\0\0\0\0", 13, NULL, NULL},
        {"geometry", -1, {.kind = TYPE_BINARY}, {0}, 0, "\0\0\0\0\1", 5, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        OneTable one;
        Error err = {0};
        TopicOptions options = bad[i].options;
        options.source = TOPIC_MYSQL;
        one_make(&one, bad[i].type, (ColumnType){.name = bad[i].source, .modifier = -1}, &options);
        put(&one, &bad[i]);
        assert_false(one_encode(&one, &err));
        assert_int_equal(err.kind, ERROR_DATA);
        assert_string_equal(err.code, "BadValue");
        one_done(&one);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int32_t modifier;
        Type type;
        bool required;
        const char *expression, *wanted; /* NULL: none */
    } defaults[] = {
        {"int", -1, {.kind = TYPE_INT32}, true, "7", "\"default\":7,"},
        {"tinyint", -1, {.kind = TYPE_INT32}, true, "7", "\"default\":7,"},
        {"varchar", -1, {.kind = TYPE_STRING}, false, "it's", "\"default\":\"it's\","},
        {"varchar",
         -1,
         {.kind = TYPE_STRING},
         false,
         "CURRENT_TIMESTAMP",
         "\"default\":\"CURRENT_TIMESTAMP\","},
        {"double", -1, {.kind = TYPE_FLOAT64}, false, "1.5", "\"default\":1.5,"},
        {"bit", 1, {.kind = TYPE_BOOL}, true, "b'1'", "\"default\":true,"},
        {"bit", 9, {.kind = TYPE_STRING}, true, "b'101'", "\"default\":\"BQ"},
        {"date", -1, {.kind = TYPE_DATE}, true, "1970-01-03", "\"default\":2,"},
        {"date", -1, {.kind = TYPE_DATE}, true, "0000-00-00", "\"default\":0,"},
        {"date", -1, {.kind = TYPE_DATE}, false, "0000-00-00", NULL},
        {"datetime", 0, {.kind = TYPE_TIMESTAMP}, true, "1970-01-01 00:00:01", "\"default\":1000,"},
        {"timestamp",
         0,
         {.kind = TYPE_TIMESTAMPTZ},
         true,
         "CURRENT_TIMESTAMP",
         "\"default\":\"1970-01-01T00:00:00Z\","},
        {"timestamp",
         3,
         {.kind = TYPE_TIMESTAMPTZ},
         true,
         "CURRENT_TIMESTAMP",
         "\"default\":\"1970-01-01T00:00:00Z\","},
        {"timestamp", 0, {.kind = TYPE_TIMESTAMPTZ}, false, "CURRENT_TIMESTAMP", NULL},
        {"time", 0, {.kind = TYPE_TIME}, true, "00:00:01", "\"default\":1000000,"},
        {"decimal",
         ((10 << 16) | 2) + 4,
         {.kind = TYPE_DECIMAL, .precision = 10, .scale = 2},
         true,
         "1.50",
         "\"default\":\"AJY=\","},
        {"varbinary", -1, {.kind = TYPE_BINARY}, true, "ab", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        OneTable one;
        Error err = {0};
        const TopicOptions options = {.source = TOPIC_MYSQL, .format = TOPIC_JSON_WITH_SCHEMA};
        one_make(&one, defaults[i].type,
                 (ColumnType){.name = defaults[i].source, .modifier = defaults[i].modifier},
                 &options);
        one.schema->fields[1].required = defaults[i].required;
        one.columns[1] =
            (SourceColumn){.type = {.name = defaults[i].source, .modifier = defaults[i].modifier},
                           .default_expression = defaults[i].expression};
        const TopicTableSpec spec = one_spec(&one);
        topic_table_free(one.table);
        one.table = topic_table_new(&spec, &options, &err);
        assert_non_null(one.table);
        const char *schema = topic_table_value_schema(one.table);
        const char *ends = strstr(schema, "c.public.t.Value"); /* of the first image */
        char row[4096];
        snprintf(row, sizeof row, "%.*s", (int)(ends - schema), schema);
        bool ok = defaults[i].wanted ? strstr(row, defaults[i].wanted) != NULL
                                     : strstr(row, "\"default\"") == NULL;
        if (!ok)
            fail_msg("%s %s: %s", defaults[i].source, defaults[i].expression, row);
        one_done(&one);
    }
}

/* --- the block --- */

static void take(OneTable *one, TopicSource source, TopicFormat format)
{
    const TopicOptions options = {.source = source, .format = format, .transactions = true};
    one_make(one, (Type){.kind = TYPE_STRING}, (ColumnType){.name = "text", .modifier = -1},
             &options);
    column_put_null(one->batch, one_row(one, ROW_INSERT, 1));
    one->row[0] = (RowOrigin){.lsn = PLACE(7, 4711),
                              .row = 2,
                              .total_order = 3,
                              .table_order = 1,
                              .before = ORIGIN_NO_BEFORE};
}

static void test_source(void **state)
{
    (void)state;
    OneTable one;
    Error err = {0};
    take(&one, TOPIC_MYSQL, TOPIC_JSON);
    one.transaction = (TransactionOrigin){.id = 12,
                                          .commit_us = 1700000000123456,
                                          .origin = "61616161-6161-6161-6161-616161616161:",
                                          .file = "binlog.000007",
                                          .server = 7,
                                          .thread = 99};
    assert_true(one_encode(&one, &err));
    const char *text = one_text(&one, one.records.items[0].value);
    assert_non_null(strstr(
        text, "\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"mysql\",\"name\":\"c\","
              "\"ts_ms\":1700000000123,\"snapshot\":\"false\",\"db\":\"d\",\"sequence\":null,"
              "\"ts_us\":1700000000123456,\"ts_ns\":1700000000123456000,\"table\":\"t\","
              "\"server_id\":7,\"gtid\":\"61616161-6161-6161-6161-616161616161:12\","
              "\"file\":\"binlog.000007\",\"pos\":4711,\"row\":2,\"thread\":99,"
              "\"query\":null},\"transaction\":{\"id\":\"61616161-6161-6161-6161-"
              "616161616161:12\",\"total_order\":3,\"data_collection_order\":1}"));
    one_done(&one);
    take(&one, TOPIC_MARIADB, TOPIC_JSON);
    one.transaction = (TransactionOrigin){.origin_lsn = PLACE(7, 300), .file = "binlog.000007"};
    assert_true(one_encode(&one, &err));
    text = one_text(&one, one.records.items[0].value);
    assert_non_null(strstr(text, "\"connector\":\"mariadb\""));
    assert_non_null(strstr(text, "\"gtid\":null,\"file\":\"binlog.000007\",\"pos\":4711,\"row\":2,"
                                 "\"thread\":null,"));
    assert_non_null(strstr(text, "\"transaction\":{\"id\":\"file=binlog.000007,pos=300\""));
    one_done(&one);
}

/* Read by hand: the union's branch, then the value. */
static void test_source_in_avro(void **state)
{
    (void)state;
    OneTable one;
    Error err = {0};
    static const uint8_t tail[] = {
        0x02, 2,    't',                     /* table */
        14,                                  /* server_id 7 */
        0x02, 10,   '0', '-', '1', '-', '9', /* gtid */
        4,    'f',  '1',                     /* file */
        0xce, 0x49,                          /* pos 4711 */
        4,                                   /* row 2 */
        0x00, 0x00,                          /* thread, query */
    };
    take(&one, TOPIC_MARIADB, TOPIC_AVRO);
    one.transaction =
        (TransactionOrigin){.id = 9, .origin = "0-1-", .file = "f1", .server = 7, .commit_us = 1};
    assert_true(one_encode(&one, &err));
    const TopicSpan value = one.records.items[0].value;
    assert_non_null(memmem(one.records.bytes.data + value.at, value.bytes, tail, sizeof tail));
    assert_non_null(strstr(topic_table_value_schema(one.table),
                           "\"connect.name\":\"io.debezium.connector.mariadb.Source\""));
    one_done(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_labels),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_source),  cmocka_unit_test(test_source_in_avro),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
