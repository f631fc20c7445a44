/* links: firn_topic */
/* A column's default in schemas and in old rows, as Debezium reads its expression. */
#include "tests/unit/topic/one_table.h"

#include <stdio.h>

typedef struct DefaultCase {
    const char *source;
    int32_t modifier;
    TypeKind kind;
    const char *expression;
    const char *json; /* in Connect's schema, NULL: none */
    const char *avro; /* NULL: the same */
} DefaultCase;

#define NUMERIC(p, s) (((p) << 16 | (s)) + 4)

static const DefaultCase cases[] = {
    {"int4", -1, TYPE_INT32, "7", "7", NULL},
    {"int4", -1, TYPE_INT32, "'-3'::integer", "-3", NULL},
    {"int4", -1, TYPE_INT32, "nextval('s'::regclass)", "0", NULL},
    {"int4", -1, TYPE_INT32, "(1 + 2)", NULL, NULL},
    {"int8", -1, TYPE_INT64, "'9223372036854775807'::bigint", "9223372036854775807", NULL},
    {"bool", -1, TYPE_BOOL, "true", "true", NULL},
    {"float8", -1, TYPE_FLOAT64, "1.5", "1.5", NULL},
    {"float8", -1, TYPE_FLOAT64, "'NaN'::double precision", NULL, NULL},
    {"numeric", NUMERIC(12, 2), TYPE_DECIMAL, "7.5", "\"Au4=\"", "\"\\u0002\xc3\xae\""},
    {"numeric", -1, TYPE_STRING, "7.5", NULL, NULL}, /* a struct */
    {"text", -1, TYPE_STRING, "'it''s'::text", "\"it's\"", NULL},
    {"text", -1, TYPE_STRING, "NULL::text", NULL, NULL},
    {"text", -1, TYPE_STRING, "lower('X'::text)", "\"\"", NULL},
    {"varchar", 44, TYPE_STRING, "'none'::character varying", "\"none\"", NULL},
    {"uuid", -1, TYPE_UUID, "gen_random_uuid()", "\"00000000-0000-0000-0000-000000000000\"", NULL},
    {"json", -1, TYPE_STRING, "'{\"a\": 1}'::json", "\"{\\\"a\\\": 1}\"", NULL},
    {"date", -1, TYPE_DATE, "'2020-02-03'::date", "18295", NULL},
    {"date", -1, TYPE_DATE, "CURRENT_DATE", "0", NULL},
    {"time", -1, TYPE_TIME, "'01:02:03.5'::time without time zone", "3723500000", NULL},
    {"timestamp", 3, TYPE_TIMESTAMP, "'2020-01-01 00:00:00'::timestamp", "1577836800000", NULL},
    {"timestamptz", -1, TYPE_TIMESTAMPTZ, "'2020-01-01 00:00:00+01'::timestamp with time zone",
     "\"2019-12-31T23:00:00.000000Z\"", NULL},
    {"timestamptz", -1, TYPE_TIMESTAMPTZ, "now()", "\"1970-01-01T00:00:00.000000Z\"", NULL},
    {"interval", -1, TYPE_STRING, "'1 day'::interval", "86400000000", NULL},
    {"bit", 1, TYPE_STRING, "'1'::\"bit\"", "true", NULL},
    {"bit", 5, TYPE_STRING, "'10110'::\"bit\"", "\"Fg==\"", "\"\\u0016\""},
    {"bytea", -1, TYPE_BINARY, "'\\x0102'::bytea", NULL, NULL},
    {"point", -1, TYPE_STRING, "'(1,2)'::point", NULL, NULL},
};

static void make(OneTable *one, const DefaultCase *c, TopicFormat format, bool required)
{
    Type type = {.kind = c->kind, .precision = 12, .scale = 2};
    Error err = {0};
    TopicOptions options = {.format = format};
    one_make(one, type, (ColumnType){.name = c->source, .modifier = c->modifier}, &options);
    topic_table_free(one->table);
    one->columns[1].default_expression = c->expression;
    one->schema->fields[1].required = required;
    TopicTableSpec spec = one_spec(one);
    one->table = topic_table_new(&spec, &options, &err);
    assert_non_null(one->table);
}

static void in_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OneTable one;
        char expected[256];
        make(&one, &cases[i], TOPIC_JSON_WITH_SCHEMA, true);
        snprintf(expected, sizeof expected, "\"default\":%s,\"field\":\"v\"", cases[i].json);
        const char *schema = topic_table_value_schema(one.table);
        /* without one, the first is that of `source` */
        bool none = strstr(schema, "\"default\"") > strstr(schema, "\"field\":\"after\"");
        bool found = cases[i].json ? strstr(schema, expected) != NULL : none;
        if (!found)
            fail_msg("%s %s: %s", cases[i].source, cases[i].expression, schema);
        one_done(&one);
        if (!cases[i].json)
            continue;
        const char *avro = cases[i].avro ? cases[i].avro : cases[i].json;
        make(&one, &cases[i], TOPIC_AVRO, false);
        snprintf(expected, sizeof expected, "\"connect.default\":%s", avro);
        assert_non_null(strstr(topic_table_value_schema(one.table), expected));
        snprintf(expected, sizeof expected, ",\"null\"],\"default\":%s}", avro);
        if (!strstr(topic_table_value_schema(one.table), expected))
            fail_msg("%s: %s", cases[i].source, topic_table_value_schema(one.table));
        one_done(&one);
    }
}

/* What an old row lacks: a required column has its default or 0, an optional one null. */
static void in_old_rows(void **state)
{
    (void)state;
    const DefaultCase with = cases[0], without = {"int4", -1, TYPE_INT32, NULL, NULL, NULL};
    static const char *const expected[] = {"\"v\":7}", "\"v\":0}", "\"v\":null}", "\"v\":null}"};
    for (int i = 0; i < 4; i++) {
        OneTable one;
        make(&one, i % 2 ? &without : &with, TOPIC_JSON, i < 2);
        column_put_null(one.batch, one_row(&one, ROW_DELETE, 1));
        assert_true(one_encode(&one, NULL));
        assert_non_null(strstr(one_text(&one, one.records.items[0].value), expected[i]));
        one_done(&one);
    }
    /* … and Avro's branches are the other way round where there is a default */
    OneTable one;
    make(&one, &with, TOPIC_AVRO, false);
    column_put_null(one.batch, one_row(&one, ROW_INSERT, 1));
    column_put_i32(one.batch, one_row(&one, ROW_INSERT, 1), 5);
    assert_true(one_encode(&one, NULL));
    assert_memory_equal(one.records.bytes.data + one.records.items[0].value.at + 5, "\0\2\2\2\x16",
                        5);
    assert_memory_equal(one.records.bytes.data + one.records.items[1].value.at + 5, "\0\2\2\0\x0a",
                        5);
    one_done(&one);
}

static void nulls_as_defaults(void **state)
{
    (void)state;
    OneTable one;
    Error err = {0};
    make(&one, &cases[0], TOPIC_JSON, false);
    topic_table_free(one.table);
    TopicTableSpec spec = one_spec(&one);
    one.table = topic_table_new(&spec, &(TopicOptions){.nulls_as_defaults = true}, &err);
    column_put_null(one.batch, one_row(&one, ROW_INSERT, 1));
    assert_true(one_encode(&one, NULL));
    assert_non_null(strstr(one_text(&one, one.records.items[0].value), "{\"id\":1,\"v\":7}"));
    one_done(&one);
}

static void names_that_meet(void **state)
{
    (void)state;
    Schema *schema = schema_new(2, 0);
    schema->fields[0] = (Field){.name = mem_strdup("a b"), .type.kind = TYPE_INT32};
    schema->fields[1] = (Field){.name = mem_strdup("a_b"), .type.kind = TYPE_INT32};
    const SourceColumn columns[] = {{.type = {.name = "int4"}}, {.type = {.name = "int4"}}};
    TopicTableSpec spec = {.topic = "t",
                           .connector = "c",
                           .database = "d",
                           .schema_name = "s",
                           .table_name = "t",
                           .schema = schema,
                           .columns = columns};
    Error err = {0};
    assert_null(topic_table_new(&spec, &(TopicOptions){.format = TOPIC_AVRO}, &err));
    assert_string_equal(err.code, "NameTaken");
    assert_int_equal(err.kind, ERROR_CONFIG);
    TopicTable *table = topic_table_new(
        &spec, &(TopicOptions){.format = TOPIC_AVRO, .field_names = TOPIC_ADJUST_AVRO_UNICODE},
        &err);
    assert_non_null(table);
    assert_null(topic_table_key_schema(table));
    topic_table_free(table);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_schemas), cmocka_unit_test(in_old_rows),
                                       cmocka_unit_test(nulls_as_defaults),
                                       cmocka_unit_test(names_that_meet)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
