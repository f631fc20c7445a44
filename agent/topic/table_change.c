/* See table_change.h. Types come in the server's words: "decimal(10,2) unsigned", "enum('a','b')".
 */
#include "agent/topic/table_change.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

/* java.sql.Types, by the word that a type begins with. */
static const struct {
    const char *word;
    int number;
} jdbc_types[] = {
    {"bit", -7},          {"tinyint", 5},      {"smallint", 5},    {"mediumint", 4},
    {"int", 4},           {"bigint", -5},      {"float", 6},       {"double", 8},
    {"decimal", 3},       {"year", 4},         {"date", 91},       {"time", 92},
    {"datetime", 93},     {"timestamp", 2014}, {"char", 1},        {"varchar", 12},
    {"tinytext", 12},     {"text", 12},        {"mediumtext", 12}, {"longtext", 12},
    {"binary", -2},       {"varbinary", -3},   {"tinyblob", 2004}, {"blob", 2004},
    {"mediumblob", 2004}, {"longblob", 2004},  {"enum", 1},        {"set", 1},
};
#define JDBC_OTHER 1111

typedef enum ColumnMember {
    COLUMN_NAME,
    COLUMN_JDBC_TYPE,
    COLUMN_NATIVE_TYPE,
    COLUMN_TYPE_NAME,
    COLUMN_TYPE_EXPRESSION,
    COLUMN_CHARSET,
    COLUMN_LENGTH,
    COLUMN_SCALE,
    COLUMN_POSITION,
    COLUMN_OPTIONAL,
    COLUMN_INCREMENTED,
    COLUMN_GENERATED,
    COLUMN_COMMENT,
    COLUMN_DEFAULT,
    COLUMN_ENUM,
    COLUMN_MEMBERS,
} ColumnMember;

/* --- schema --- */

static ConnectSchema texts(Arena *arena, const char *field)
{
    ConnectSchema schema = connect_field(CONNECT_ARRAY, field, true);
    schema.children = arena_take(arena, sizeof *schema.children);
    schema.children[0] = connect_field(CONNECT_STRING, NULL, false);
    schema.child_count = 1;
    return schema;
}

static ConnectSchema array_of(const char *field, ConnectSchema *element)
{
    ConnectSchema schema = connect_field(CONNECT_ARRAY, field, false);
    schema.children = element;
    schema.child_count = 1;
    return schema;
}

static ConnectSchema *column_schema(Arena *arena)
{
    static const struct {
        const char *name;
        ConnectKind kind;
        bool optional;
    } members[COLUMN_ENUM] = {{"name", CONNECT_STRING, false},
                              {"jdbcType", CONNECT_INT32, false},
                              {"nativeType", CONNECT_INT32, true},
                              {"typeName", CONNECT_STRING, false},
                              {"typeExpression", CONNECT_STRING, true},
                              {"charsetName", CONNECT_STRING, true},
                              {"length", CONNECT_INT32, true},
                              {"scale", CONNECT_INT32, true},
                              {"position", CONNECT_INT32, false},
                              {"optional", CONNECT_BOOLEAN, true},
                              {"autoIncremented", CONNECT_BOOLEAN, true},
                              {"generated", CONNECT_BOOLEAN, true},
                              {"comment", CONNECT_STRING, true},
                              {"defaultValueExpression", CONNECT_STRING, true}};
    ConnectSchema *schema =
        connect_struct(arena, "io.debezium.connector.schema.Column", 1, COLUMN_MEMBERS);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        schema->children[i] = connect_field(members[i].kind, members[i].name, members[i].optional);
    schema->children[COLUMN_ENUM] = texts(arena, "enumValues");
    return schema;
}

ConnectSchema table_changes_schema(Arena *arena, const char *field)
{
    ConnectSchema *table = connect_struct(arena, "io.debezium.connector.schema.Table", 1, 4);
    table->field = "table";
    table->optional = true;
    table->children[0] = connect_field(CONNECT_STRING, "defaultCharsetName", true);
    table->children[1] = texts(arena, "primaryKeyColumnNames");
    table->children[2] = array_of("columns", column_schema(arena));
    table->children[3] = connect_field(CONNECT_STRING, "comment", true);
    ConnectSchema *change = connect_struct(arena, "io.debezium.connector.schema.Change", 1, 3);
    change->children[0] = connect_field(CONNECT_STRING, "type", false);
    change->children[1] = connect_field(CONNECT_STRING, "id", false);
    change->children[2] = *table;
    return array_of(field, change);
}

/* --- values --- */

static const Literal none = {.none = true};

static Literal text(const char *of)
{
    return of ? (Literal){.bytes = {(const uint8_t *)of, strlen(of)}} : none;
}

static Literal *literals(Arena *arena, size_t count)
{
    Literal *items = arena_take(arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = none;
    return items;
}

static Literal several(Literal *items, size_t count)
{
    return (Literal){.items = items, .item_count = (uint32_t)count};
}

/* "decimal(10,2) unsigned" → "DECIMAL UNSIGNED" */
static const char *type_name(Arena *arena, const char *type)
{
    static const char *const more[] = {" unsigned", " zerofill"};
    size_t word = strcspn(type, " ("), used = word;
    char *name = arena_strndup(arena, type, strlen(type)); /* never longer */
    const char *behind = strrchr(type, ')') ? strrchr(type, ')') : type;
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if (strstr(behind, more[i])) {
            memcpy(name + used, more[i], strlen(more[i]));
            used += strlen(more[i]);
        }
    name[used] = '\0';
    for (char *at = name; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return name;
}

static int jdbc_type(const char *type)
{
    size_t word = strcspn(type, " (");
    for (size_t i = 0; i < ARRAY_LEN(jdbc_types); i++)
        if (strlen(jdbc_types[i].word) == word && strncmp(jdbc_types[i].word, type, word) == 0)
            return jdbc_types[i].number;
    return JDBC_OTHER;
}

/* 'a','b''c' → each with its quotes */
static Literal labels(Arena *arena, const char *in)
{
    size_t count = 0;
    Literal *items = literals(arena, strlen(in));
    while (*in == '\'') {
        const char *end = in + 1;
        while (*end && (*end != '\'' || end[1] == '\''))
            end += *end == '\'' ? 2 : 1;
        end += *end == '\'';
        items[count++] = (Literal){.bytes = {(const uint8_t *)in, (size_t)(end - in)}};
        in = end + (*end == ',');
    }
    return several(items, count);
}

static void put_numbers(const char *brackets, Literal *members)
{
    char *end;
    unsigned long length = strtoul(brackets, &end, 10);
    if (end == brackets)
        return;
    members[COLUMN_LENGTH] = (Literal){.integer = (int64_t)length};
    if (*end == ',')
        members[COLUMN_SCALE] = (Literal){.integer = (int64_t)strtoul(end + 1, NULL, 10)};
}

/* Debezium counts a set's labels with the commas between them, and one of an enum's. */
static void put_labels(Arena *arena, const char *type, const char *brackets, Literal *members)
{
    Literal all = members[COLUMN_ENUM] = labels(arena, brackets);
    bool one = strncmp(type, "enum", 4) == 0 || !all.item_count;
    members[COLUMN_LENGTH] = (Literal){.integer = one ? 1 : (int64_t)all.item_count * 2 - 1};
}

/* Debezium has a moment for one that is taken later, and the digits of bits. */
static Literal default_literal(const char *expression)
{
    if (expression && strcmp(expression, "CURRENT_TIMESTAMP") == 0)
        return text("1970-01-01 00:00:00");
    if (expression && strncmp(expression, "b'", 2) == 0)
        return (Literal){.bytes = {(const uint8_t *)expression + 2, strcspn(expression + 2, "'")}};
    return text(expression);
}

static Literal column_literal(Arena *arena, const StatementColumn *column, size_t position)
{
    Literal *members = literals(arena, COLUMN_MEMBERS);
    const char *bracket = strchr(column->type, '(');
    members[COLUMN_NAME] = text(column->name);
    members[COLUMN_JDBC_TYPE] = (Literal){.integer = jdbc_type(column->type)};
    members[COLUMN_TYPE_NAME] = text(type_name(arena, column->type));
    members[COLUMN_TYPE_EXPRESSION] = members[COLUMN_TYPE_NAME];
    members[COLUMN_CHARSET] = text(column->charset);
    members[COLUMN_POSITION] = (Literal){.integer = (int64_t)position};
    members[COLUMN_OPTIONAL] = (Literal){.integer = !column->required};
    members[COLUMN_INCREMENTED] = (Literal){.integer = column->incremented};
    members[COLUMN_GENERATED] = members[COLUMN_INCREMENTED]; /* of a computed column: false there */
    members[COLUMN_DEFAULT] = default_literal(column->default_expression);
    if (bracket && bracket[1] == '\'')
        put_labels(arena, column->type, bracket + 1, members);
    else if (bracket)
        put_numbers(bracket + 1, members);
    return several(members, COLUMN_MEMBERS);
}

static Literal table_literal(Arena *arena, const StatementTable *table)
{
    if (!table->described)
        return none;
    Literal *members = literals(arena, 4), *key = literals(arena, table->key_count);
    Literal *columns = literals(arena, table->column_count);
    for (size_t i = 0; i < table->key_count; i++)
        key[i] = text(table->key[i]);
    for (size_t i = 0; i < table->column_count; i++)
        columns[i] = column_literal(arena, &table->columns[i], i + 1);
    members[0] = text(table->charset);
    members[1] = several(key, table->key_count);
    members[2] = several(columns, table->column_count);
    return several(members, 4);
}

Literal table_changes(Arena *arena, const Statement *statement)
{
    static const char *const kinds[] = {"CREATE", "ALTER", "DROP"};
    Literal *changes = literals(arena, statement->table_count);
    for (size_t i = 0; i < statement->table_count; i++) {
        const StatementTable *table = &statement->tables[i];
        Literal *members = literals(arena, 3);
        members[0] = text(kinds[table->kind]);
        members[1] = text(arena_text(arena, "\"%s\".\"%s\"", statement->database, table->name));
        members[2] = table_literal(arena, table);
        changes[i] = several(members, 3);
    }
    return several(changes, statement->table_count);
}
