/* Statements that change tables, for receivers that pass them on: which of them concern tables that
 * the manifest's patterns choose, and what the columns of these are then. Names, types and keys of
 * a captured table are those that its rows are read with from here on (learn.c), whatever the
 * catalog has by now; the rest (defaults, AUTO_INCREMENT, tables that nobody reads yet) is the
 * catalog's. */
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/mem.h"
#include "common/text.h"

/* A statement stands in the log as its client wrote it. What is no UTF-8 is taken for latin1. */
static Statement *statement_of(const char *database, const char *text, size_t bytes, size_t tables)
{
    Charset latin1;
    Bytes utf8 = {0};
    const uint8_t *at = (const uint8_t *)text;
    if (!text_is_utf8(at, bytes) && charset_open("latin1", &latin1)) {
        if (!charset_print(&latin1, at, bytes, &utf8)) /* every byte is one of its letters */
            text = (const char *)utf8.data;
        bytes = utf8.used;
        charset_close(&latin1);
    }
    Statement *statement = statement_new(database, text, bytes, tables);
    bytes_done(&utf8);
    return statement;
}

/* What the catalog alone tells. */
static bool read_attributes(Mysql *mysql, const MyKnown *known, Arena *arena, StatementTable *to,
                            Error *err)
{
    AUTO(mem_free) char *schema = my_literal(known->map->schema_name);
    AUTO(mem_free) char *table = my_literal(known->map->table_name);
    AUTO(mem_free)
    char *sql = mem_format(
        "SELECT c.column_name, c.column_default, c.extra, substring_index(t.table_collation, '_', "
        "1) FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = "
        "c.table_schema AND t.table_name = c.table_name WHERE c.table_schema = %s AND c.table_name "
        "= %s",
        schema, table);
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        int at = known_find(known, row[0]);
        if (row[3])
            to->charset = arena_strndup(arena, row[3], strlen(row[3]));
        if (at < 0)
            continue;
        AUTO(mem_free) char *text = my_column_default(mysql, row[1], row[2]);
        if (text)
            to->columns[at].default_expression = arena_strndup(arena, text, strlen(text));
        to->columns[at].incremented = row[2] && strcasestr(row[2], "auto_increment");
    }
    return true;
}

static bool describe(Mysql *mysql, const MyKnown *known, Arena *arena, StatementTable *to,
                     Error *err)
{
    const TableMap *map = known->map;
    to->described = true;
    to->column_count = map->column_count;
    to->columns = arena_take(arena, (map->column_count + 1) * sizeof *to->columns);
    for (uint32_t i = 0; i < map->column_count; i++)
        to->columns[i] = (StatementColumn){
            .name = arena_strndup(arena, map->columns[i].name, strlen(map->columns[i].name)),
            .type = arena_strndup(arena, known->types[i], strlen(known->types[i])),
            .charset = *known->charsets[i]
                           ? arena_strndup(arena, known->charsets[i], strlen(known->charsets[i]))
                           : NULL,
            .required = !map->columns[i].nullable};
    to->key_count = map->key_count;
    to->key = arena_take(arena, (map->key_count + 1) * sizeof *to->key);
    for (uint32_t i = 0; i < map->key_count; i++)
        to->key[i] = to->columns[map->key[i]].name;
    return read_attributes(mysql, known, arena, to, err);
}

/* Of one that nobody reads yet. Of one that is gone by now, or that can't be read, there is nothing
 * to be said. */
static bool describe_other(Mysql *mysql, const char *table, Arena *arena, StatementTable *to,
                           Error *err)
{
    AUTO(mem_free) char *schema_part = my_identifier(mysql->spec->database);
    AUTO(mem_free) char *table_part = my_identifier(table);
    AUTO(mem_free) char *quoted = mem_format("%s.%s", schema_part, table_part);
    AUTO(mem_free) char *schema_name = mem_strdup(mysql->spec->database);
    AUTO(mem_free) char *table_name = mem_strdup(table);
    const SourceTable source = {.schema_name = schema_name, .table_name = table_name};
    AUTO(known_free) MyKnown *known = NULL;
    if (!my_table_wait(mysql, quoted, err))
        return false;
    if (!my_table_read(mysql, mysql->query, &mysql->patience, &source, &known, err))
        return err->kind == ERROR_CONFIG;
    return !known || describe(mysql, known, arena, to, err);
}

static MyTable *find_captured(const Mysql *mysql, const char *table)
{
    for (size_t i = 0; i < mysql->table_count; i++)
        if (strcmp(mysql->tables[i].source->table_name, table) == 0)
            return &mysql->tables[i];
    return NULL;
}

static bool add_table(Mysql *mysql, const Ddl *ddl, const char *name, const MyTable *captured,
                      Statement *statement, Error *err)
{
    if (ddl->kind == DDL_INDEX || (ddl->kind == DDL_CREATE && captured)) /* IF NOT EXISTS */
        return true;
    StatementTable *to = &statement->tables[statement->table_count++];
    *to = (StatementTable){.kind = ddl->kind == DDL_DROP ? STATEMENT_DROP
                                   : ddl->kind == DDL_CREATE || ddl->kind == DDL_REPLACE
                                       ? STATEMENT_CREATE
                                       : STATEMENT_ALTER,
                           .name = arena_strndup(statement->arena, name, strlen(name))};
    if (to->kind == STATEMENT_DROP)
        return true;
    if (!mysql_query_open(mysql, err))
        return false;
    return captured ? describe(mysql, captured->known, statement->arena, to, err)
                    : describe_other(mysql, name, statement->arena, to, err);
}

bool my_statement_tell(void *context, const Ddl *ddl, RowPosition at, Statement **ret, Error *err)
{
    Mysql *mysql = context;
    AUTO(statement_free) Statement *statement = NULL;
    *ret = NULL;
    if (ddl->kind == DDL_TRUNCATE || ddl->kind == DDL_DROP_DATABASE)
        return true;
    for (size_t i = 0; i < ddl->table_count; i++) {
        const DdlTable *of = &ddl->tables[i];
        const char *schema = of->to_table ? of->to_schema : of->schema;
        const char *name = of->to_table ? of->to_table : of->table;
        if (!schema || !name || strcmp(schema, mysql->spec->database) != 0 ||
            !my_table_chosen(mysql, name))
            continue;
        const MyTable *captured = find_captured(mysql, name);
        if (captured && row_position_compare(at, captured->passed) <= 0)
            continue;
        if (!statement)
            statement = statement_of(schema, ddl->text, ddl->bytes, ddl->table_count);
        if (!add_table(mysql, ddl, name, captured, statement, err))
            return error_wrap(err, "table %s.%s", schema, name);
    }
    *ret = TAKE(statement);
    return true;
}

bool my_table_definition(Capture *capture, uint32_t number, Change *ret, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    const MyTable *table = &mysql->tables[number];
    AUTO(mem_free) char *sql = mem_format("SHOW CREATE TABLE %s", table->quoted);
    if (!mysql_query_open(mysql, err))
        return false;
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    MYSQL_ROW row = mysql_fetch_row(result);
    const char *text = row && row[1] ? row[1] : "";
    AUTO(statement_free)
    Statement *statement = statement_of(mysql->spec->database, text, strlen(text), 1);
    const char *name = table->source->table_name;
    StatementTable *to = &statement->tables[statement->table_count++];
    *to = (StatementTable){.kind = STATEMENT_CREATE,
                           .name = arena_strndup(statement->arena, name, strlen(name))};
    if (!describe(mysql, table->known, statement->arena, to, err))
        return error_wrap(err, "table %s", table->name);
    *ret = (Change){.kind = CHANGE_STATEMENT,
                    .table = number,
                    .statement = TAKE(statement),
                    .lsn = mysql->copy_at.major,
                    .transaction = {.commit_us = mysql->copy_us, .file = mysql->copy_file}};
    return true;
}
