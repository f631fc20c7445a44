/* A table's columns in the server's own words: what a topic's schema tells of their types, and of
 * the defaults that they have by now, which the lake has no need of. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/arena.h"
#include "common/mem.h"

static ColumnType describe_type(const MyKnown *known, uint32_t number, Arena *arena)
{
    const MyColumn *column = &known->map->columns[number];
    const char *words = known->types[number];
    size_t length = strspn(words, "abcdefghijklmnopqrstuvwxyz0123456789_");
    ColumnType to = {.modifier = -1};
    bool sign = column->is_unsigned && column->type != MY_YEAR;
    AUTO(mem_free) char *name = mem_format("%.*s%s", (int)length, words, sign ? " unsigned" : "");
    to.name = arena_strndup(arena, name, strlen(name));
    switch (column->type) {
    case MY_NEWDECIMAL: /* as PostgreSQL packs it */
        to.modifier = ((column->precision << 16) | column->scale) + 4;
        break;
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        to.modifier = column->scale;
        break;
    case MY_BIT:
        to.modifier = (int32_t)column->bytes;
        break;
    case MY_ENUM:
    case MY_SET: {
        const char **labels = arena_take(arena, (column->label_count + 1) * sizeof *labels);
        for (uint32_t i = 0; i < column->label_count; i++)
            labels[i] = arena_strndup(arena, column->labels[i], column->label_bytes[i]);
        to.is_enum = true;
        to.labels = labels;
        to.label_count = column->label_count;
        break;
    }
    default:
        break;
    }
    return to;
}

/* 'it''s' → it's, as MariaDB's catalog shows constants. */
static char *unquoted(const char *text)
{
    char *plain = mem_strdup(text), *to = plain;
    size_t length = strlen(text);
    for (size_t i = 1; i + 1 < length; i++) {
        bool twice = (text[i] == '\'' && text[i + 1] == '\'') || text[i] == '\\';
        i += twice && i + 2 < length;
        *to++ = text[i];
    }
    *to = '\0';
    return plain;
}

char *my_column_default(const Mysql *mysql, const char *text, const char *extra)
{
    bool now = text && strncasecmp(text, "current_timestamp", 17) == 0;
    if (!text || (!mysql->mariadb && !now && strstr(extra, "DEFAULT_GENERATED")))
        return NULL;
    if (now && (mysql->mariadb || strstr(extra, "DEFAULT_GENERATED")))
        return mem_strdup("CURRENT_TIMESTAMP");
    if (!mysql->mariadb)
        return mem_strdup(text);
    if (*text == '\'')
        return unquoted(text);
    bool bits = strncmp(text, "b'", 2) == 0;
    return strcmp(text, "NULL") == 0 || (!bits && strchr(text, '(')) ? NULL : mem_strdup(text);
}

static bool read_defaults(Mysql *mysql, const MyKnown *known, Arena *arena, SourceColumn *columns,
                          Error *err)
{
    AUTO(mem_free) char *schema = my_literal(known->map->schema_name);
    AUTO(mem_free) char *table = my_literal(known->map->table_name);
    AUTO(mem_free)
    char *sql = mem_format("SELECT column_name, column_default, extra FROM "
                           "information_schema.columns WHERE table_schema = %s AND table_name = %s",
                           schema, table);
    if (!mysql_query_open(mysql, err))
        return false;
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        int at = known_find(known, row[0]);
        AUTO(mem_free) char *text = at < 0 ? NULL : my_column_default(mysql, row[1], row[2]);
        if (text)
            columns[at].default_expression = arena_strndup(arena, text, strlen(text));
    }
    return true;
}

bool my_columns_describe(Capture *capture, uint32_t number, const char *shape, Arena *arena,
                         const SourceColumn **ret, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    const SourceTable *source = &mysql->sources[number];
    AUTO(known_free)
    MyKnown *known =
        known_parse(shape, source->schema_name, source->table_name, &mysql->charsets, err);
    if (!known)
        return false;
    uint32_t count = known->map->column_count;
    SourceColumn *columns = arena_take(arena, (count + 1) * sizeof *columns);
    for (uint32_t i = 0; i < count; i++)
        columns[i] = (SourceColumn){.type = describe_type(known, i, arena)};
    *ret = columns;
    return read_defaults(mysql, known, arena, columns, err);
}
