/* See ddl.h. */
#include "agent/capture/mysql/ddl.h"

#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/ddl_scan.h"
#include "common/mem.h"

/* [schema.]table */
static bool table_name(Scan *scan, const char *schema, size_t schema_bytes, char **ret_schema,
                       char **ret_table)
{
    char *first = scan_name(scan);
    *ret_schema = *ret_table = NULL;
    if (!first)
        return false;
    if (!scan_is(scan, ".")) {
        *ret_table = first;
        *ret_schema = mem_strndup(schema, schema_bytes);
        return true;
    }
    scan_next(scan);
    *ret_schema = first;
    *ret_table = scan_name(scan);
    return *ret_table != NULL;
}

static DdlTable *add_table(Ddl *ddl)
{
    ddl->tables = mem_regrow(ddl->tables, ddl->table_count + 1, sizeof *ddl->tables);
    DdlTable *table = &ddl->tables[ddl->table_count++];
    *table = (DdlTable){0};
    return table;
}

void ddl_done(Ddl *ddl)
{
    for (size_t i = 0; i < ddl->table_count; i++) {
        free(ddl->tables[i].schema);
        free(ddl->tables[i].table);
        free(ddl->tables[i].to_schema);
        free(ddl->tables[i].to_table);
    }
    for (size_t i = 0; i < ddl->column_count; i++) {
        free(ddl->columns[i].from);
        free(ddl->columns[i].to);
    }
    free(ddl->tables);
    free(ddl->columns);
    *ddl = (Ddl){0};
}

static void add_column(Ddl *ddl, char *from, char *to)
{
    if (!from || !to || strcasecmp(from, to) == 0) {
        free(from);
        free(to);
        return;
    }
    ddl->columns = mem_regrow(ddl->columns, ddl->column_count + 1, sizeof *ddl->columns);
    ddl->columns[ddl->column_count++] = (DdlColumn){from, to};
}

/* One clause of ALTER TABLE; ends at its comma or at the end. */
static void alter_clause(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const partitions[] = {"PARTITION", "TABLESPACE", NULL};
    static const char *const takes[] = {"TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT", "DROP", NULL};
    static const char *const not_table[] = {"INDEX", "KEY", NULL};
    static const char *const to[] = {"TO", "AS", "=", NULL};
    if (scan_take(scan, "CHANGE")) {
        (void)scan_take(scan, "COLUMN");
        scan_skip_if(scan);
        char *from = scan_name(scan);
        add_column(ddl, from, scan_name(scan));
    } else if (scan_take(scan, "RENAME")) {
        if (scan_take(scan, "COLUMN")) {
            scan_skip_if(scan);
            char *from = scan_name(scan);
            bool said = scan_take_any(scan, to);
            add_column(ddl, from, said ? scan_name(scan) : NULL);
        } else if (!scan_take_any(scan, not_table)) {
            (void)scan_take_any(scan, to);
            DdlTable *table = &ddl->tables[0];
            free(table->to_schema);
            free(table->to_table);
            (void)table_name(scan, schema, schema_bytes, &table->to_schema, &table->to_table);
        }
    } else if (scan_take(scan, "CONVERT")) {
        ddl->moves_rows = ddl->moves_rows || scan_is(scan, "TABLE") || scan_is(scan, "PARTITION");
    } else if (scan_take_any(scan, takes)) {
        ddl->moves_rows = ddl->moves_rows || scan_take_any(scan, partitions);
    }
    while (scan->token.kind != TOKEN_END && !(scan->depth <= 0 && scan_is(scan, ",")))
        scan_next(scan);
    (void)scan_take(scan, ",");
}

static void read_alter(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const before[] = {"ONLINE", "IGNORE", NULL};
    while (scan_take_any(scan, before)) {
    }
    if (!scan_take(scan, "TABLE"))
        return;
    scan_skip_if(scan);
    DdlTable *table = add_table(ddl);
    if (!table_name(scan, schema, schema_bytes, &table->schema, &table->table))
        return;
    ddl->kind = DDL_ALTER;
    if (scan_take(scan, "WAIT") || scan_take(scan, "NOWAIT")) {
        /* MariaDB: a number may follow; it is no clause. */
    }
    scan->depth = 0;
    while (scan->token.kind != TOKEN_END)
        alter_clause(scan, ddl, schema, schema_bytes);
}

static void read_list(Scan *scan, Ddl *ddl, DdlKind kind, const char *schema, size_t schema_bytes)
{
    ddl->kind = kind;
    do {
        DdlTable *table = add_table(ddl);
        if (!table_name(scan, schema, schema_bytes, &table->schema, &table->table))
            return;
        if (kind == DDL_RENAME && scan_take(scan, "TO") &&
            !table_name(scan, schema, schema_bytes, &table->to_schema, &table->to_table))
            return;
    } while (scan_take(scan, ","));
}

/* [UNIQUE] INDEX name … ON table; false: it is something else. */
static bool read_index(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const before[] = {"ONLINE",  "OFFLINE", "UNIQUE", "FULLTEXT",
                                         "SPATIAL", "VECTOR",  NULL};
    while (scan_take_any(scan, before)) {
    }
    if (!scan_take(scan, "INDEX"))
        return false;
    while (scan->token.kind != TOKEN_END && !scan_take(scan, "ON"))
        scan_next(scan);
    DdlTable *table = add_table(ddl);
    if (table_name(scan, schema, schema_bytes, &table->schema, &table->table))
        ddl->kind = DDL_INDEX;
    return true;
}

static void read_drop(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    if (scan_take(scan, "DATABASE") || scan_take(scan, "SCHEMA")) {
        scan_skip_if(scan);
        ddl->kind = DDL_DROP_DATABASE;
        DdlTable *table = add_table(ddl);
        table->schema = scan_name(scan);
        return;
    }
    if (read_index(scan, ddl, schema, schema_bytes))
        return;
    if (scan_take(scan, "TABLE") || scan_take(scan, "TABLES")) { /* a temporary one is nobody's */
        scan_skip_if(scan);
        read_list(scan, ddl, DDL_DROP, schema, schema_bytes);
    }
}

static void read_create(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    bool replaces = scan_take(scan, "OR") && scan_take(scan, "REPLACE");
    if (read_index(scan, ddl, schema, schema_bytes) || !scan_take(scan, "TABLE"))
        return;
    scan_skip_if(scan);
    ddl->kind = replaces ? DDL_REPLACE : DDL_CREATE;
    DdlTable *table = add_table(ddl);
    (void)table_name(scan, schema, schema_bytes, &table->schema, &table->table);
}

void ddl_read(const char *text, size_t bytes, const char *schema, size_t schema_bytes, Ddl *ret)
{
    Scan scan = {.at = text, .end = text + bytes};
    *ret = (Ddl){.text = text, .bytes = bytes};
    scan_next(&scan);
    if (scan_take(&scan, "SET") &&
        scan_take(&scan, "STATEMENT")) /* MariaDB: SET STATEMENT … FOR … */
        while (scan.token.kind != TOKEN_END && !scan_take(&scan, "FOR"))
            scan_next(&scan);
    if (scan_take(&scan, "ALTER")) {
        read_alter(&scan, ret, schema, schema_bytes);
    } else if (scan_take(&scan, "TRUNCATE")) {
        (void)scan_take(&scan, "TABLE");
        read_list(&scan, ret, DDL_TRUNCATE, schema, schema_bytes);
    } else if (scan_take(&scan, "DROP")) {
        read_drop(&scan, ret, schema, schema_bytes);
    } else if (scan_take(&scan, "RENAME")) {
        if (scan_take(&scan, "TABLE") || scan_take(&scan, "TABLES")) {
            scan_skip_if(&scan);
            read_list(&scan, ret, DDL_RENAME, schema, schema_bytes);
        }
    } else if (scan_take(&scan, "CREATE")) {
        read_create(&scan, ret, schema, schema_bytes);
    }
}

bool ddl_names(const char *text, size_t bytes, const char *table)
{
    Scan scan = {.at = text, .end = text + bytes};
    for (scan_next(&scan); scan.token.kind != TOKEN_END;) {
        if (scan.token.kind != TOKEN_WORD && scan.token.kind != TOKEN_QUOTED) {
            scan_next(&scan);
            continue;
        }
        AUTO(mem_free) char *found = scan_name(&scan);
        if (found && strcasecmp(found, table) == 0)
            return true;
        if (!found)
            scan_next(&scan);
    }
    return false;
}
