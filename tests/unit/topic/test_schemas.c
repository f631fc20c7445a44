/* links: firn_topic */
/* Schemas of a table as Debezium 3.5 and the converters wrote them (tests/golden/topic: what they
 * registered, and what stood before their payload), byte by byte:
 *
 *   create table plain (id bigint primary key, a int not null, b text,
 *       n numeric(12,2) not null default 7.5, at timestamptz not null default '2020-01-01',
 *       note varchar(40) default 'none', i2 smallint default 3, f8 float8 not null default 1.5,
 *       ok bool not null default true, d date not null default '2020-02-03',
 *       u uuid not null default '00000000-0000-0000-0000-000000000001',
 *       raw bytea not null default '\x0102', computed timestamptz default now()) */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/topic/topic.h"
#include "common/mem.h"

#define COLUMNS 13

static const struct {
    const char *name;
    Type type;
    bool required;
    const char *source;
    int32_t modifier;
    const char *expression;
} columns[COLUMNS] = {
    {"id", {.kind = TYPE_INT64}, true, "int8", -1, NULL},
    {"a", {.kind = TYPE_INT32}, true, "int4", -1, NULL},
    {"b", {.kind = TYPE_STRING}, false, "text", -1, NULL},
    {"n",
     {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2},
     true,
     "numeric",
     (12 << 16 | 2) + 4,
     "7.5"},
    {"at",
     {.kind = TYPE_TIMESTAMPTZ},
     true,
     "timestamptz",
     -1,
     "'2020-01-01 00:00:00+00'::timestamp with time zone"},
    {"note", {.kind = TYPE_STRING}, false, "varchar", 44, "'none'::character varying"},
    {"i2", {.kind = TYPE_INT32}, false, "int2", -1, "3"},
    {"f8", {.kind = TYPE_FLOAT64}, true, "float8", -1, "1.5"},
    {"ok", {.kind = TYPE_BOOL}, true, "bool", -1, "true"},
    {"d", {.kind = TYPE_DATE}, true, "date", -1, "'2020-02-03'::date"},
    {"u", {.kind = TYPE_UUID}, true, "uuid", -1, "'00000000-0000-0000-0000-000000000001'::uuid"},
    {"raw", {.kind = TYPE_BINARY}, true, "bytea", -1, "'\\x0102'::bytea"},
    {"computed", {.kind = TYPE_TIMESTAMPTZ}, false, "timestamptz", -1, "now()"},
};

static void expect(const char *file, const char *text)
{
    char path[512], golden[16384];
    snprintf(path, sizeof path, GOLDEN "/topic/%s", file);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_non_null(fgets(golden, sizeof golden, in));
    fclose(in);
    golden[strcspn(golden, "\n")] = '\0';
    if (strcmp(golden, text) != 0)
        fail_msg("%s:\n%s\nnot\n%s", file, text, golden);
}

static TopicTable *make(const Schema *schema, const SourceColumn *sources, const char *connector,
                        TopicFormat format)
{
    char topic[64];
    Error err = {0};
    snprintf(topic, sizeof topic, "%s.public.plain", connector);
    TopicTableSpec spec = {.topic = topic,
                           .connector = connector,
                           .database = "d",
                           .schema_name = "public",
                           .table_name = "plain",
                           .schema = schema,
                           .columns = sources};
    TopicTable *table = topic_table_new(&spec, &(TopicOptions){.format = format}, &err);
    if (!table)
        fail_msg("%s", err.message);
    return table;
}

static void as_registered(void **state)
{
    (void)state;
    Schema *schema = schema_new(COLUMNS, 1);
    SourceColumn sources[COLUMNS] = {0};
    for (size_t i = 0; i < COLUMNS; i++) {
        schema->fields[i] = (Field){.name = mem_strdup(columns[i].name),
                                    .type = columns[i].type,
                                    .required = columns[i].required};
        sources[i].type.name = columns[i].source;
        sources[i].type.modifier = columns[i].modifier;
        sources[i].default_expression = columns[i].expression;
    }
    TopicTable *table = make(schema, sources, "avro", TOPIC_AVRO);
    expect("plain-key.avsc", topic_table_key_schema(table));
    expect("plain-value.avsc", topic_table_value_schema(table));
    topic_table_free(table);
    table = make(schema, sources, "withs", TOPIC_JSON_WITH_SCHEMA);
    expect("plain-key.json", topic_table_key_schema(table));
    expect("plain-value.json", topic_table_value_schema(table));
    topic_table_free(table);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_registered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
