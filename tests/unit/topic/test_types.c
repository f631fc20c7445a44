/* links: firn_topic */
/* A value of every form, in JSON and in Avro, and the schemas that go with it. */
#include "tests/unit/topic/one_table.h"

#include <math.h>
#include <stdio.h>

typedef struct TypeCase {
    const char *source;
    int32_t modifier;
    TypeKind kind;
    TopicOptions options; /* but the format */
    int64_t number;       /* integers, times, decimals, float bits by `real` */
    double real;
    const char *text;        /* strings; binaries in `bytes` */
    uint32_t bytes;          /* of text, where it is binary */
    const char *json;        /* expected of the value */
    const char *avro;        /* hex */
    const char *schema;      /* Connect's, without optional and field */
    const char *avro_schema; /* without the union */
} TypeCase;

#define PLAIN(type) "{\"type\":\"" type "\",", "\"" type "\""
#define NAMED(type, avro, name)                                                                    \
    "{\"type\":\"" type "\",\"optional\":true,\"name\":\"" name "\",\"version\":1,",               \
        "{\"type\":\"" avro "\",\"connect.version\":1,\"connect.name\":\"" name "\"}"
#define DECIMAL(s, p)                                                                              \
    "{\"type\":\"bytes\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\","    \
    "\"version\":1,\"parameters\":{\"scale\":\"" s "\",\"connect.decimal.precision\":\"" p "\"},", \
        "{\"type\":\"bytes\",\"scale\":" s ",\"precision\":" p                                     \
        ",\"connect.version\":1,\"connect.parameters\":{\"scale\":\"" s                            \
        "\",\"connect.decimal.precision\":\"" p "\"},\"connect.name\":\"org.apache.kafka.connect." \
        "data.Decimal\",\"logicalType\":\"decimal\"}"

#define NUMERIC(p, s) (((p) << 16 | (s)) + 4)

static const TypeCase cases[] = {
    {"bool", -1, TYPE_BOOL, {0}, .number = 1, .json = "true", "01", PLAIN("boolean")},
    {"int2",
     -1,
     TYPE_INT32,
     {0},
     .number = -3,
     .json = "-3",
     "05",
     "{\"type\":\"int16\",",
     "{\"type\":\"int\",\"connect.type\":\"int16\"}"},
    {"int4",
     -1,
     TYPE_INT32,
     {0},
     .number = INT32_MIN,
     .json = "-2147483648",
     "ffffffff0f",
     "{\"type\":\"int32\",",
     "\"int\""},
    {"int8",
     -1,
     TYPE_INT64,
     {0},
     .number = INT64_MIN,
     .json = "-9223372036854775808",
     "ffffffffffffffffff01",
     "{\"type\":\"int64\",",
     "\"long\""},
    {"oid",
     -1,
     TYPE_INT64,
     {0},
     .number = 4294967295,
     .json = "4294967295",
     "feffffff1f",
     "{\"type\":\"int64\",",
     "\"long\""},
    {"float4", -1, TYPE_FLOAT32, {0}, .real = 0.1, .json = "0.1", "cdcccc3d", PLAIN("float")},
    {"float8",
     -1,
     TYPE_FLOAT64,
     {0},
     .real = 1e300,
     .json = "1e+300",
     "9c7500883ce4377e",
     PLAIN("double")},
    {"float8",
     -1,
     TYPE_FLOAT64,
     {0},
     .real = NAN,
     .json = "\"NaN\"",
     "000000000000f87f",
     PLAIN("double")},
    {"float8",
     -1,
     TYPE_FLOAT64,
     {0},
     .real = -INFINITY,
     .json = "\"-Infinity\"",
     "000000000000f0ff",
     PLAIN("double")},
    {"text",
     -1,
     TYPE_STRING,
     {0},
     .text = "\x01\t\"\\/\x7f\xc3\xbc",
     .json = "\"\\u0001\\t\\\"\\\\/\x7f\xc3\xbc\"",
     "10010922"
     "5c2f7fc3bc",
     PLAIN("string")},
    {"json",
     -1,
     TYPE_STRING,
     {0},
     .text = "{\"a\": 1}",
     .json = "\"{\\\"a\\\": 1}\"",
     "107b2261223a20317d",
     NAMED("string", "string", "io.debezium.data.Json")},
    {"xml",
     -1,
     TYPE_STRING,
     {0},
     .text = "<a/>",
     .json = "\"<a/>\"",
     "083c612f3e",
     NAMED("string", "string", "io.debezium.data.Xml")},
    {"ltree",
     -1,
     TYPE_STRING,
     {0},
     .text = "a.b",
     .json = "\"a.b\"",
     "06612e62",
     NAMED("string", "string", "io.debezium.data.Ltree")},
    {"tsvector",
     -1,
     TYPE_STRING,
     {0},
     .text = "'a':1A",
     .json = "\"'a':1A\"",
     "0c2761273a3141",
     NAMED("string", "string", "io.debezium.data.Tsvector")},
    {"int4range",
     -1,
     TYPE_STRING,
     {0},
     .text = "[1,5)",
     .json = "\"[1,5)\"",
     "0a5b312c3529",
     PLAIN("string")},
    {"uuid",
     -1,
     TYPE_UUID,
     {0},
     .text = "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01\x23\x45\x67\x89\xab\xcd\xef",
     16,
     .json = "\"12345678-9abc-def0-0123-456789abcdef\"",
     "4831323334353637382d396162632d646566302d303132332d343536373839616263646566",
     NAMED("string", "string", "io.debezium.data.Uuid")},
    {"bytea",
     -1,
     TYPE_BINARY,
     {0},
     .text = "\0\xff\x01",
     3,
     .json = "\"AP8B\"",
     "0600ff01",
     PLAIN("bytes")},
    {"bytea",
     -1,
     TYPE_BINARY,
     {.binary = TOPIC_BINARY_HEX},
     .text = "\0\xff",
     2,
     .json = "\"00ff\"",
     "0830306666",
     PLAIN("string")},
    {"bytea",
     -1,
     TYPE_BINARY,
     {.binary = TOPIC_BINARY_BASE64},
     .text = "\xfb\xff",
     2,
     .json = "\"+/8=\"",
     "082b2f383d",
     PLAIN("string")},
    {"bytea",
     -1,
     TYPE_BINARY,
     {.binary = TOPIC_BINARY_BASE64_URL},
     .text = "\xfb\xff",
     2,
     .json = "\"-_8=\"",
     "082d5f383d",
     PLAIN("string")},
    {"numeric",
     NUMERIC(10, 3),
     TYPE_DECIMAL,
     {0},
     .number = 12345678,
     .json = "\"ALxhTg==\"",
     "0800bc614e",
     DECIMAL("3", "10")},
    {"numeric",
     NUMERIC(10, 3),
     TYPE_DECIMAL,
     {0},
     .number = -1,
     .json = "\"/w==\"",
     "02ff",
     DECIMAL("3", "10")},
    {"numeric",
     NUMERIC(10, 3),
     TYPE_DECIMAL,
     {.decimal = TOPIC_DECIMAL_STRING},
     .number = -50,
     .json = "\"-0.050\"",
     "0c2d302e303530",
     PLAIN("string")},
    {"numeric",
     NUMERIC(10, 3),
     TYPE_DECIMAL,
     {.decimal = TOPIC_DECIMAL_DOUBLE},
     .number = 1500,
     .json = "1.5",
     "000000000000f83f",
     PLAIN("double")},
    {"numeric",
     NUMERIC(45, 3),
     TYPE_STRING,
     {0},
     .text = "1.500",
     .json = "\"Bdw=\"",
     "0405dc",
     DECIMAL("3", "45")},
    {"numeric",
     -1,
     TYPE_STRING,
     {0},
     .text = "12345678901234567890.1234567890",
     .json = "{\"scale\":9,\"value\":\"J+QbMka+ybFuOYEV\"}",
     "121827e41b3246bec9b16e398115",
     "{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"optional\":false,\"field\":\"scale\"},"
     "{\"type\":\"bytes\",\"optional\":false,\"field\":\"value\"}],\"optional\":true,\"name\":"
     "\"io.debezium.data.VariableScaleDecimal\",\"version\":1,\"doc\":\"Variable scaled decimal\",",
     "{\"type\":\"record\",\"name\":\"VariableScaleDecimal\",\"namespace\":\"io.debezium.data\","
     "\"fields\":[{\"name\":\"scale\",\"type\":\"int\"},{\"name\":\"value\",\"type\":\"bytes\"}],"
     "\"connect.doc\":\"Variable scaled decimal\",\"connect.version\":1,\"connect.name\":"
     "\"io.debezium.data.VariableScaleDecimal\"}"},
    {"numeric",
     -1,
     TYPE_STRING,
     {.decimal = TOPIC_DECIMAL_STRING},
     .text = "NaN",
     .json = "\"NaN\"",
     "064e614e",
     PLAIN("string")},
    {"numeric",
     -1,
     TYPE_STRING,
     {.decimal = TOPIC_DECIMAL_DOUBLE},
     .text = "NaN",
     .json = "\"NaN\"",
     "000000000000f87f",
     PLAIN("double")},
    {"money",
     -1,
     TYPE_DECIMAL,
     {0},
     .number = 1234567,
     .json = "\"EtaH\"",
     "0612d687",
     "{\"type\":\"bytes\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\","
     "\"version\":1,\"parameters\":{\"scale\":\"3\"},",
     "{\"type\":\"bytes\",\"scale\":3,\"precision\":64,\"connect.version\":1,"
     "\"connect.parameters\":{\"scale\":\"3\"},"
     "\"connect.name\":\"org.apache.kafka.connect.data.Decimal\",\"logicalType\":\"decimal\"}"},
    {"date",
     -1,
     TYPE_DATE,
     {0},
     .number = -735160,
     .json = "-735160",
     "efde59",
     NAMED("int32", "int", "io.debezium.time.Date")},
    {"date",
     -1,
     TYPE_DATE,
     {.time = TOPIC_TIME_CONNECT},
     .number = 1,
     .json = "1",
     "02",
     "{\"type\":\"int32\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Date\","
     "\"version\":1,",
     "{\"type\":\"int\",\"connect.version\":1,\"connect.name\":"
     "\"org.apache.kafka.connect.data.Date\",\"logicalType\":\"date\"}"},
    {"time",
     -1,
     TYPE_TIME,
     {0},
     .number = 45296123456,
     .json = "45296123456",
     "80f9dfbdd102",
     NAMED("int64", "long", "io.debezium.time.MicroTime")},
    {"time",
     3,
     TYPE_TIME,
     {0},
     .number = 45296123000,
     .json = "45296123",
     "f6a7992b",
     NAMED("int32", "int", "io.debezium.time.Time")},
    {"time",
     3,
     TYPE_TIME,
     {.time = TOPIC_TIME_ADAPTIVE_MICROSECONDS},
     .number = 1000,
     .json = "1000",
     "d00f",
     NAMED("int64", "long", "io.debezium.time.MicroTime")},
    {"timestamp",
     -1,
     TYPE_TIMESTAMP,
     {0},
     .number = -1,
     .json = "-1",
     "01",
     NAMED("int64", "long", "io.debezium.time.MicroTimestamp")},
    {"timestamp",
     3,
     TYPE_TIMESTAMP,
     {0},
     .number = -1,
     .json = "-1",
     "01",
     NAMED("int64", "long", "io.debezium.time.Timestamp")},
    {"timestamp",
     -1,
     TYPE_TIMESTAMP,
     {.time = TOPIC_TIME_CONNECT},
     .number = -1001,
     .json = "-2",
     "03",
     "{\"type\":\"int64\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Timestamp\",",
     "{\"type\":\"long\",\"connect.version\":1,\"connect.name\":"
     "\"org.apache.kafka.connect.data.Timestamp\",\"logicalType\":\"timestamp-millis\"}"},
    {"timestamptz",
     -1,
     TYPE_TIMESTAMPTZ,
     {0},
     .number = 1709202896123456,
     .json = "\"2024-02-29T10:34:56.123456Z\"",
     "36323032342d30322d32395431303a33343a35362e3132333435365a",
     NAMED("string", "string", "io.debezium.time.ZonedTimestamp")},
    {"timestamptz",
     0,
     TYPE_TIMESTAMPTZ,
     {0},
     .number = -62135596800000000 - 86400000000,
     .json = "\"0000-12-31T00:00:00Z\"",
     "28303030302d31322d33315430303a30303a30305a",
     NAMED("string", "string", "io.debezium.time.ZonedTimestamp")},
    {"timetz",
     -1,
     TYPE_STRING,
     {0},
     .text = "12:34:56.5+05:30",
     .json = "\"07:04:56.5Z\"",
     "1630373a30343a35362e355a",
     NAMED("string", "string", "io.debezium.time.ZonedTime")},
    {"interval",
     -1,
     TYPE_STRING,
     {0},
     .text = "1 year 2 mons 3 days 04:05:06.000007",
     .json = "37091106000007",
     "8eb294a3feee10",
     NAMED("int64", "long", "io.debezium.time.MicroDuration")},
    {"interval",
     -1,
     TYPE_STRING,
     {.interval = TOPIC_INTERVAL_STRING},
     .text = "-1 years +2 days -00:00:00.1",
     .json = "\"P-1Y0M2DT0H0M-0.1S\"",
     "24502d3159304d3244543048304d2d302e3153",
     NAMED("string", "string", "io.debezium.time.Interval")},
    {"bit", 1, TYPE_STRING, {0}, .text = "1", .json = "true", "01", PLAIN("boolean")},
    {"bit",
     12,
     TYPE_STRING,
     {0},
     .text = "101100000001",
     .json = "\"AQs=\"",
     "04010b",
     "{\"type\":\"bytes\",\"optional\":true,\"name\":\"io.debezium.data.Bits\",\"version\":1,"
     "\"parameters\":{\"length\":\"12\"},",
     "{\"type\":\"bytes\",\"connect.version\":1,\"connect.parameters\":{\"length\":\"12\"},"
     "\"connect.name\":\"io.debezium.data.Bits\"}"},
    {"varbit",
     -1,
     TYPE_STRING,
     {0},
     .text = "000",
     .json = "\"\"",
     "00",
     "{\"type\":\"bytes\",\"optional\":true,\"name\":\"io.debezium.data.Bits\",\"version\":1,"
     "\"parameters\":{\"length\":\"2147483647\"},",
     "{\"type\":\"bytes\",\"connect.version\":1,\"connect.parameters\":{\"length\":\"2147483647\"},"
     "\"connect.name\":\"io.debezium.data.Bits\"}"},
    {"point",
     -1,
     TYPE_STRING,
     {0},
     .text = "(1.5,-2)",
     .json = "{\"x\":1.5,\"y\":-2.0,\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAADA\",\"srid\":null}",
     "000000000000f83f00000000000000c0022a0101000000000000000000f83f00000000000000c000",
     "{\"type\":\"struct\",\"fields\":[{\"type\":\"double\",\"optional\":false,\"field\":\"x\"},",
     "{\"type\":\"record\",\"name\":\"Point\",\"namespace\":\"io.debezium.data.geometry\","
     "\"fields\":"
     "[{\"name\":\"x\",\"type\":\"double\"},{\"name\":\"y\",\"type\":\"double\"},{\"name\":\"wkb\","
     "\"type\":[\"null\",\"bytes\"],\"default\":null},{\"name\":\"srid\",\"type\":[\"null\","
     "\"int\"],"
     "\"default\":null}],\"connect.doc\":\"Geometry (POINT)\",\"connect.version\":1,"
     "\"connect.name\":\"io.debezium.data.geometry.Point\"}"},
    {"geometry",
     -1,
     TYPE_BINARY,
     {0},
     .text = "\1\1\0\0\x20\xe6\x10\0\0\1",
     10,
     .json = "{\"wkb\":\"AQEAACDmEAAAAQ==\",\"srid\":4326}",
     "140101000020e610000001"
     "02cc43",
     "{\"type\":\"struct\",\"fields\":[{\"type\":\"bytes\",\"optional\":false,\"field\":\"wkb\"},",
     "{\"type\":\"record\",\"name\":\"Geometry\",\"namespace\":\"io.debezium.data.geometry\","
     "\"fields\":[{\"name\":\"wkb\",\"type\":\"bytes\"},{\"name\":\"srid\",\"type\":[\"null\","
     "\"int\"],"
     "\"default\":null}],\"connect.doc\":\"Geometry\",\"connect.version\":1,\"connect.name\":"
     "\"io.debezium.data.geometry.Geometry\"}"},
    {"tsquery",
     -1,
     TYPE_STRING,
     {0},
     .text = "'a'",
     .json = "\"'a'\"",
     "06276127",
     PLAIN("string")},
    {"xid8",
     -1,
     TYPE_DECIMAL,
     {0},
     .number = 1844,
     .json = "\"1.844\"",
     "0a312e383434",
     PLAIN("string")},
};

static void put_case(OneTable *one, const TypeCase *c, Column *column)
{
    switch (c->kind) {
    case TYPE_BOOL:
        column_put_bool(one->batch, column, c->number);
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        column_put_i32(one->batch, column, (int32_t)c->number);
        break;
    case TYPE_FLOAT32: {
        float value = (float)c->real;
        memcpy(column_put_fixed(one->batch, column), &value, sizeof value);
        break;
    }
    case TYPE_FLOAT64:
        memcpy(column_put_fixed(one->batch, column), &c->real, sizeof c->real);
        break;
    case TYPE_DECIMAL:
        column_put_i128(one->batch, column, c->number);
        break;
    case TYPE_UUID:
        memcpy(column_put_fixed(one->batch, column), c->text, 16);
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
        column_put_bytes(one->batch, column, c->text, c->bytes ? c->bytes : strlen(c->text));
        break;
    default:
        column_put_i64(one->batch, column, c->number);
    }
}

static void make_case(OneTable *one, const TypeCase *c, TopicFormat format)
{
    TopicOptions options = c->options;
    Type type = {.kind = c->kind};
    if (c->kind == TYPE_DECIMAL) {
        type.precision = 10;
        type.scale = 3;
    }
    options.format = format;
    one_make(one, type, (ColumnType){.name = c->source, .modifier = c->modifier}, &options);
    put_case(one, c, one_row(one, ROW_INSERT, 1));
    Error err = {0};
    if (!one_encode(one, &err))
        fail_msg("%s: %s", c->source, err.message);
}

static void in_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OneTable one;
        char expected[1024];
        make_case(&one, &cases[i], TOPIC_JSON);
        snprintf(expected, sizeof expected,
                 "{\"before\":null,\"after\":{\"id\":1,\"v\":%s},\"source\"", cases[i].json);
        const char *text = one_text(&one, one.records.items[0].value);
        if (strncmp(text, expected, strlen(expected)) != 0)
            fail_msg("%s %d: %s\nnot %s", cases[i].source, cases[i].modifier, text, expected);
        if (!strstr(topic_table_value_schema(one.table), cases[i].schema))
            fail_msg("%s %d: %s\nnot %s", cases[i].source, cases[i].modifier,
                     topic_table_value_schema(one.table), cases[i].schema);
        one_done(&one);
    }
}

static void in_avro(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OneTable one;
        char found[512] = "", expected[512];
        make_case(&one, &cases[i], TOPIC_AVRO);
        /* framing, no before, after, id, v */
        snprintf(expected, sizeof expected,
                 "0001020304"
                 "00"
                 "02"
                 "02"
                 "02%s",
                 cases[i].avro);
        const uint8_t *at = one.records.bytes.data + one.records.items[0].value.at;
        for (size_t k = 0; k < strlen(expected) / 2; k++)
            snprintf(found + 2 * k, 3, "%02x", at[k]);
        if (strcmp(found, expected) != 0)
            fail_msg("%s %d: %s\nnot %s", cases[i].source, cases[i].modifier, found, expected);
        snprintf(expected, sizeof expected,
                 "{\"name\":\"v\",\"type\":[\"null\",%s],\"default\":null}", cases[i].avro_schema);
        if (!strstr(topic_table_value_schema(one.table), expected))
            fail_msg("%s: %s\nnot %s", cases[i].source, topic_table_value_schema(one.table),
                     expected);
        one_done(&one);
    }
}

/* --- nested --- */

static void put_elements(Batch *batch, Column *column)
{
    column_element_room(batch, column->child);
    column_put_i32(batch, column->child, 1);
    column_element_room(batch, column->child);
    column_put_null(batch, column->child);
    column_put_list(batch, column);
}

static void expect_after(OneTable *one, size_t record, const char *json)
{
    char expected[1024];
    snprintf(expected, sizeof expected, "\"v\":%s},\"source\"", json);
    const char *text = one_text(one, one->records.items[record].value);
    if (!strstr(text, expected))
        fail_msg("%s\nhas no %s", text, expected);
}

static void expect_avro(OneTable *one, size_t record, const uint8_t *expected, size_t bytes)
{
    const uint8_t *at = one->records.bytes.data + one->records.items[record].value.at;
    assert_memory_equal(at + 8, expected, bytes);
}

static void arrays(void **state)
{
    (void)state;
    const ColumnType element = {.name = "int2", .modifier = -1};
    const ColumnType source = {
        .name = "_int2", .modifier = -1, .children = &element, .child_count = 1};
    const uint8_t full[] = {2, 4, 2, 2, 0, 0}, empty[] = {2, 0};
    for (int format = TOPIC_JSON; format <= TOPIC_AVRO; format += 2) {
        OneTable one;
        Type type = type_nested(TYPE_LIST, 0);
        type.element->type.kind = TYPE_INT32;
        one_make(&one, type, source, &(TopicOptions){.format = (TopicFormat)format});
        put_elements(one.batch, one_row(&one, ROW_INSERT, 1));
        column_put_list(one.batch, one_row(&one, ROW_INSERT, 2));
        assert_true(one_encode(&one, NULL));
        if (format == TOPIC_JSON) {
            expect_after(&one, 0, "[1,null]");
            expect_after(&one, 1, "[]");
            assert_non_null(
                strstr(topic_table_value_schema(one.table),
                       "{\"type\":\"array\",\"items\":{\"type\":\"int16\",\"optional\":true},"));
        } else {
            expect_avro(&one, 0, full, sizeof full);
            expect_avro(&one, 1, empty, sizeof empty);
            assert_non_null(strstr(topic_table_value_schema(one.table),
                                   "{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"int\","
                                   "\"connect.type\":\"int16\"}]}"));
        }
        one_done(&one);
    }
}

static void put_pair(Batch *batch, Column *column, const char *key, const char *value)
{
    Column *keys = &column->child[0], *values = &column->child[1];
    column_element_room(batch, keys);
    column_put_bytes(batch, keys, key, strlen(key));
    column_element_room(batch, values);
    if (value)
        column_put_bytes(batch, values, value, strlen(value));
    else
        column_put_null(batch, values);
}

static void hstores(void **state)
{
    (void)state;
    const uint8_t avro[] = {2, 4, 2, 'a', 2, 4, '"', '1', 2, 'b', 0, 0};
    for (int map = 0; map < 2; map++)
        for (int format = TOPIC_JSON; format <= TOPIC_AVRO; format += 2) {
            OneTable one;
            Type type = type_nested(TYPE_MAP, 0);
            type.fields[0].type.kind = type.fields[1].type.kind = TYPE_STRING;
            one_make(&one, type, (ColumnType){.name = "hstore", .modifier = -1},
                     &(TopicOptions){.format = (TopicFormat)format, .hstore = (TopicHstore)map});
            Column *column = one_row(&one, ROW_INSERT, 1);
            put_pair(one.batch, column, "a", "\"1");
            put_pair(one.batch, column, "b", NULL);
            column_put_list(one.batch, column);
            assert_true(one_encode(&one, NULL));
            if (format == TOPIC_JSON)
                expect_after(&one, 0,
                             map ? "{\"a\":\"\\\"1\",\"b\":null}"
                                 : "\"{\\\"a\\\":\\\"\\\\\\\"1\\\",\\\"b\\\":null}\"");
            else if (map)
                expect_avro(&one, 0, avro, sizeof avro);
            one_done(&one);
        }
}

static void composites(void **state)
{
    (void)state;
    const ColumnType attributes[] = {{.name = "int4", .modifier = -1},
                                     {.name = "text", .modifier = -1}};
    const ColumnType source = {
        .name = "pair", .modifier = -1, .children = attributes, .child_count = 2};
    const uint8_t avro[] = {2, 2, 14, 0};
    for (int format = TOPIC_JSON; format <= TOPIC_AVRO; format += 2) {
        OneTable one;
        Type type = type_nested(TYPE_STRUCT, 2);
        type.fields[0].name = mem_strdup("a");
        type.fields[0].type.kind = TYPE_INT32;
        type.fields[1].name = mem_strdup("odd name");
        type.fields[1].type.kind = TYPE_STRING;
        one_make(&one, type, source, &(TopicOptions){.format = (TopicFormat)format});
        Column *column = one_row(&one, ROW_INSERT, 1);
        column_put_i32(one.batch, &column->child[0], 7);
        column_put_null(one.batch, &column->child[1]);
        column_put_struct(one.batch, column);
        assert_true(one_encode(&one, NULL));
        if (format == TOPIC_JSON) {
            expect_after(&one, 0, "{\"a\":7,\"odd name\":null}");
        } else {
            expect_avro(&one, 0, avro, sizeof avro);
            assert_non_null(
                strstr(topic_table_value_schema(one.table),
                       "{\"type\":\"record\",\"name\":\"v\",\"namespace\":\"c.public.t.columns\","
                       "\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"int\"],"
                       "\"default\":null},{\"name\":\"odd_name\""));
        }
        one_done(&one);
        /* … and left out, when that is asked for */
        Type again = type_nested(TYPE_STRUCT, 2);
        again.fields[0].name = mem_strdup("a");
        again.fields[0].type.kind = TYPE_INT32;
        again.fields[1].name = mem_strdup("b");
        again.fields[1].type.kind = TYPE_STRING;
        one_make(&one, again, source,
                 &(TopicOptions){.format = (TopicFormat)format, .unknown = TOPIC_UNKNOWN_OMIT});
        assert_null(strstr(topic_table_value_schema(one.table), "\"v\""));
        one_done(&one);
    }
}

static void enums(void **state)
{
    (void)state;
    const char *const labels[] = {"glad", "so, so"};
    OneTable one;
    ColumnType source = {
        .name = "mood", .modifier = -1, .is_enum = true, .labels = labels, .label_count = 2};
    one_make(&one, (Type){.kind = TYPE_STRING}, source, &(TopicOptions){.format = TOPIC_JSON});
    column_put_bytes(one.batch, one_row(&one, ROW_INSERT, 1), "glad", 4);
    assert_true(one_encode(&one, NULL));
    expect_after(&one, 0, "\"glad\"");
    assert_non_null(strstr(topic_table_value_schema(one.table),
                           "\"name\":\"io.debezium.data.Enum\",\"version\":1,\"parameters\":{"
                           "\"allowed\":\"glad,so, so\"}"));
    one_done(&one);
}

static void what_has_no_form_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int32_t modifier;
        const char *text, *code;
    } bad[] = {{"numeric", -1, "NaN", "NoDecimal"},
               {"numeric", NUMERIC(45, 3), "Infinity", "NoDecimal"},
               {"numeric", NUMERIC(45, 3), "0.0001", "NoDecimal"},
               {"timetz", -1, "12", "BadValue"},
               {"interval", -1, "1 fortnight", "BadValue"},
               {"point", -1, "(1)", "BadValue"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        OneTable one;
        Error err = {0};
        one_make(&one, (Type){.kind = TYPE_STRING},
                 (ColumnType){.name = bad[i].source, .modifier = bad[i].modifier},
                 &(TopicOptions){.format = TOPIC_AVRO});
        column_put_null(one.batch, one_row(&one, ROW_INSERT, 1));
        column_put_bytes(one.batch, one_row(&one, ROW_INSERT, 2), bad[i].text, strlen(bad[i].text));
        TopicRows rows = one_rows(&one);
        uint32_t from = 0;
        assert_false(topic_encode(one.table, &rows, &from, SIZE_MAX, &one.records, &err));
        assert_int_equal(err.kind, ERROR_DATA);
        assert_string_equal(err.code, bad[i].code);
        assert_non_null(strstr(err.message, "table public.t column v"));
        assert_int_equal(from, 1);
        assert_int_equal(one.records.count, 1);
        one_done(&one);
    }
    /* a type that the two sides don't agree on */
    Schema *schema = schema_new(1, 0);
    Error err = {0};
    schema->fields[0] = (Field){.name = mem_strdup("v"), .type = type_nested(TYPE_LIST, 0)};
    TopicTableSpec spec = {.topic = "t",
                           .connector = "c",
                           .database = "d",
                           .schema_name = "s",
                           .table_name = "t",
                           .schema = schema,
                           .columns = &(SourceColumn){.type = {.name = "text"}}};
    assert_null(topic_table_new(&spec, &(TopicOptions){0}, &err));
    assert_string_equal(err.code, "NoSuchType");
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_json),
        cmocka_unit_test(in_avro),
        cmocka_unit_test(arrays),
        cmocka_unit_test(hstores),
        cmocka_unit_test(composites),
        cmocka_unit_test(enums),
        cmocka_unit_test(what_has_no_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
