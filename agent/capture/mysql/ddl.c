/* See ddl.h. Comments and blanks are passed over; what stands in a comment for some versions alone
 * counts as text. */
#include "agent/capture/mysql/ddl.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

typedef enum TokenKind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_TEXT, TOKEN_MARK } TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *at; /* with its quotes */
    size_t bytes;
} Token;

typedef struct Scan {
    const char *at, *end;
    Token token;
    int depth; /* of brackets */
} Scan;

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static bool starts(const Scan *scan, const char *text)
{
    size_t bytes = strlen(text);
    return (size_t)(scan->end - scan->at) >= bytes && memcmp(scan->at, text, bytes) == 0;
}

static void skip_to(Scan *scan, const char *until)
{
    while (scan->at < scan->end && !starts(scan, until))
        scan->at++;
    if (scan->at < scan->end)
        scan->at += strlen(until);
}

static void skip_blank(Scan *scan)
{
    for (;;) {
        if (scan->at == scan->end)
            return;
        if (isspace((unsigned char)*scan->at) || starts(scan, "*/")) {
            scan->at += starts(scan, "*/") ? 2 : 1;
        } else if (starts(scan, "/*!") || starts(scan, "/*M!")) {
            scan->at += starts(scan, "/*!") ? 3 : 4;
            while (scan->at < scan->end && isdigit((unsigned char)*scan->at))
                scan->at++;
        } else if (starts(scan, "/*")) {
            skip_to(scan, "*/");
        } else if (starts(scan, "-- ") || starts(scan, "--\t") || starts(scan, "--\n") ||
                   starts(scan, "#")) {
            skip_to(scan, "\n");
        } else {
            return;
        }
    }
}

/* Behind the closing quote; a doubled one, and in texts a backslash, stands for a letter. */
static void skip_quoted(Scan *scan, char mark)
{
    for (scan->at++; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\\' && mark != '`' && scan->at + 1 < scan->end)
            scan->at++;
        else if (*scan->at == mark && scan->at + 1 < scan->end && scan->at[1] == mark)
            scan->at++;
        else if (*scan->at == mark)
            break;
    }
    if (scan->at < scan->end)
        scan->at++;
}

static void next(Scan *scan)
{
    skip_blank(scan);
    Token *token = &scan->token;
    *token = (Token){.at = scan->at};
    if (scan->at == scan->end)
        return;
    char first = *scan->at;
    if (first == '`' || first == '"' || first == '\'') {
        token->kind = first == '\'' ? TOKEN_TEXT : TOKEN_QUOTED;
        skip_quoted(scan, first);
    } else if (is_word(first)) {
        token->kind = TOKEN_WORD;
        while (scan->at < scan->end && is_word(*scan->at))
            scan->at++;
    } else {
        token->kind = TOKEN_MARK;
        scan->at++;
        scan->depth += first == '(' ? 1 : first == ')' ? -1 : 0;
    }
    token->bytes = (size_t)(scan->at - token->at);
}

static bool is(const Scan *scan, const char *word)
{
    const Token *token = &scan->token;
    return (token->kind == TOKEN_WORD || token->kind == TOKEN_MARK) &&
           token->bytes == strlen(word) && strncasecmp(token->at, word, token->bytes) == 0;
}

static bool take(Scan *scan, const char *word)
{
    bool there = is(scan, word);
    if (there)
        next(scan);
    return there;
}

static bool take_any(Scan *scan, const char *const *choices)
{
    for (; *choices; choices++)
        if (take(scan, *choices))
            return true;
    return false;
}

/* NULL: no name stands here. */
static char *name(Scan *scan)
{
    const Token token = scan->token;
    if (token.kind == TOKEN_WORD) {
        next(scan);
        return mem_strndup(token.at, token.bytes);
    }
    if (token.kind != TOKEN_QUOTED || token.bytes < 2)
        return NULL;
    char *text = mem_alloc(token.bytes), *to = text;
    for (size_t i = 1; i + 1 < token.bytes; i++) {
        *to++ = token.at[i];
        i += token.at[i] == token.at[0];
    }
    *to = '\0';
    next(scan);
    return text;
}

/* [schema.]table */
static bool table_name(Scan *scan, const char *schema, size_t schema_bytes, char **ret_schema,
                       char **ret_table)
{
    char *first = name(scan);
    *ret_schema = *ret_table = NULL;
    if (!first)
        return false;
    if (!is(scan, ".")) {
        *ret_table = first;
        *ret_schema = mem_strndup(schema, schema_bytes);
        return true;
    }
    next(scan);
    *ret_schema = first;
    *ret_table = name(scan);
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

static void skip_if(Scan *scan)
{
    if (take(scan, "IF")) {
        (void)take(scan, "NOT");
        (void)take(scan, "EXISTS");
    }
}

/* One clause of ALTER TABLE; ends at its comma or at the end. */
static void alter_clause(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const partitions[] = {"PARTITION", "TABLESPACE", NULL};
    static const char *const takes[] = {"TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT", "DROP", NULL};
    static const char *const not_table[] = {"INDEX", "KEY", NULL};
    static const char *const to[] = {"TO", "AS", "=", NULL};
    if (take(scan, "CHANGE")) {
        (void)take(scan, "COLUMN");
        skip_if(scan);
        char *from = name(scan);
        add_column(ddl, from, name(scan));
    } else if (take(scan, "RENAME")) {
        if (take(scan, "COLUMN")) {
            skip_if(scan);
            char *from = name(scan);
            bool said = take_any(scan, to);
            add_column(ddl, from, said ? name(scan) : NULL);
        } else if (!take_any(scan, not_table)) {
            (void)take_any(scan, to);
            DdlTable *table = &ddl->tables[0];
            free(table->to_schema);
            free(table->to_table);
            (void)table_name(scan, schema, schema_bytes, &table->to_schema, &table->to_table);
        }
    } else if (take(scan, "CONVERT")) {
        ddl->moves_rows = ddl->moves_rows || is(scan, "TABLE") || is(scan, "PARTITION");
    } else if (take_any(scan, takes)) {
        ddl->moves_rows = ddl->moves_rows || take_any(scan, partitions);
    }
    while (scan->token.kind != TOKEN_END && !(scan->depth <= 0 && is(scan, ",")))
        next(scan);
    (void)take(scan, ",");
}

static void read_alter(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const before[] = {"ONLINE", "IGNORE", NULL};
    while (take_any(scan, before)) {
    }
    if (!take(scan, "TABLE"))
        return;
    skip_if(scan);
    DdlTable *table = add_table(ddl);
    if (!table_name(scan, schema, schema_bytes, &table->schema, &table->table))
        return;
    ddl->kind = DDL_ALTER;
    if (take(scan, "WAIT") || take(scan, "NOWAIT")) {
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
        if (kind == DDL_RENAME && take(scan, "TO") &&
            !table_name(scan, schema, schema_bytes, &table->to_schema, &table->to_table))
            return;
    } while (take(scan, ","));
}

/* [UNIQUE] INDEX name … ON table; false: it is something else. */
static bool read_index(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    static const char *const before[] = {"ONLINE",  "OFFLINE", "UNIQUE", "FULLTEXT",
                                         "SPATIAL", "VECTOR",  NULL};
    while (take_any(scan, before)) {
    }
    if (!take(scan, "INDEX"))
        return false;
    while (scan->token.kind != TOKEN_END && !take(scan, "ON"))
        next(scan);
    DdlTable *table = add_table(ddl);
    if (table_name(scan, schema, schema_bytes, &table->schema, &table->table))
        ddl->kind = DDL_INDEX;
    return true;
}

static void read_drop(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    if (take(scan, "DATABASE") || take(scan, "SCHEMA")) {
        skip_if(scan);
        ddl->kind = DDL_DROP_DATABASE;
        DdlTable *table = add_table(ddl);
        table->schema = name(scan);
        return;
    }
    if (read_index(scan, ddl, schema, schema_bytes))
        return;
    if (take(scan, "TABLE") || take(scan, "TABLES")) { /* a temporary one is nobody's */
        skip_if(scan);
        read_list(scan, ddl, DDL_DROP, schema, schema_bytes);
    }
}

static void read_create(Scan *scan, Ddl *ddl, const char *schema, size_t schema_bytes)
{
    bool replaces = take(scan, "OR") && take(scan, "REPLACE");
    if (read_index(scan, ddl, schema, schema_bytes) || !take(scan, "TABLE"))
        return;
    skip_if(scan);
    ddl->kind = replaces ? DDL_REPLACE : DDL_CREATE;
    DdlTable *table = add_table(ddl);
    (void)table_name(scan, schema, schema_bytes, &table->schema, &table->table);
}

void ddl_read(const char *text, size_t bytes, const char *schema, size_t schema_bytes, Ddl *ret)
{
    Scan scan = {.at = text, .end = text + bytes};
    *ret = (Ddl){.text = text, .bytes = bytes};
    next(&scan);
    if (take(&scan, "SET") && take(&scan, "STATEMENT")) /* MariaDB: SET STATEMENT … FOR … */
        while (scan.token.kind != TOKEN_END && !take(&scan, "FOR"))
            next(&scan);
    if (take(&scan, "ALTER")) {
        read_alter(&scan, ret, schema, schema_bytes);
    } else if (take(&scan, "TRUNCATE")) {
        (void)take(&scan, "TABLE");
        read_list(&scan, ret, DDL_TRUNCATE, schema, schema_bytes);
    } else if (take(&scan, "DROP")) {
        read_drop(&scan, ret, schema, schema_bytes);
    } else if (take(&scan, "RENAME")) {
        if (take(&scan, "TABLE") || take(&scan, "TABLES")) {
            skip_if(&scan);
            read_list(&scan, ret, DDL_RENAME, schema, schema_bytes);
        }
    } else if (take(&scan, "CREATE")) {
        read_create(&scan, ret, schema, schema_bytes);
    }
}

/* --- defaults --- */

/* 'it''s', or a number with its sign. NULL: neither. */
static char *literal(Scan *scan)
{
    const Token token = scan->token;
    if (token.kind == TOKEN_TEXT && token.bytes >= 2) {
        char *text = mem_alloc(token.bytes), *to = text;
        for (size_t i = 1; i + 1 < token.bytes; i++) {
            if (token.at[i] == '\\') { /* what it stands for is a setting's business */
                free(text);
                return NULL;
            }
            *to++ = token.at[i];
            i += token.at[i] == '\'';
        }
        *to = '\0';
        next(scan);
        return text;
    }
    const char *from = token.at, *end = from;
    if (is(scan, "-") || is(scan, "+"))
        next(scan);
    if (!scan->token.bytes || !isdigit((unsigned char)*scan->token.at))
        return NULL;
    while (scan->token.kind == TOKEN_WORD || is(scan, ".")) {
        for (size_t i = 0; i < scan->token.bytes; i++)
            if (!isdigit((unsigned char)scan->token.at[i]) && scan->token.at[i] != '.')
                return NULL; /* 1e5, 0x10, or a word behind it */
        if (scan->token.at != end && end != from && *end != '.' && end[-1] != '.')
            break;
        end = scan->token.at + scan->token.bytes;
        next(scan);
        if (scan->token.kind == TOKEN_WORD && !isdigit((unsigned char)*scan->token.at))
            break;
    }
    return mem_strndup(from + (*from == '+'), (size_t)(end - from) - (*from == '+'));
}

static DdlDefault column_default(Scan *scan, char **ret)
{
    static const char *const computed[] = {"AUTO_INCREMENT", "SERIAL", "GENERATED", "AS", NULL};
    int depth = scan->depth;
    while (scan->token.kind != TOKEN_END && scan->depth >= depth &&
           !(scan->depth == depth && is(scan, ","))) {
        if (scan->depth == depth && take_any(scan, computed))
            return DDL_DEFAULT_COMPUTED;
        if (scan->depth > depth || !take(scan, "DEFAULT")) {
            next(scan);
            continue;
        }
        if (take(scan, "NULL"))
            continue;
        if (is(scan, "TRUE") || is(scan, "FALSE"))
            *ret = mem_strdup(is(scan, "TRUE") ? "1" : "0");
        else
            *ret = literal(scan);
        if (!*ret)
            return DDL_DEFAULT_COMPUTED;
        static const char *const goes_on[] = {"+", "-", "*", "/", "%", "(", NULL};
        for (const char *const *mark = goes_on; *mark; mark++)
            if (is(scan, *mark))
                return DDL_DEFAULT_COMPUTED;
        return DDL_DEFAULT_LITERAL;
    }
    return DDL_DEFAULT_NONE;
}

/* What follows a name tells a definition from an index, a check, and all else in brackets. */
static bool is_type(const Scan *scan)
{
    static const char *const types[] = {"TINYINT",
                                        "SMALLINT",
                                        "MEDIUMINT",
                                        "INT",
                                        "INTEGER",
                                        "BIGINT",
                                        "INT1",
                                        "INT2",
                                        "INT3",
                                        "INT4",
                                        "INT8",
                                        "MIDDLEINT",
                                        "BOOL",
                                        "BOOLEAN",
                                        "BIT",
                                        "FLOAT",
                                        "DOUBLE",
                                        "REAL",
                                        "DECIMAL",
                                        "DEC",
                                        "NUMERIC",
                                        "FIXED",
                                        "DATE",
                                        "TIME",
                                        "DATETIME",
                                        "TIMESTAMP",
                                        "YEAR",
                                        "CHAR",
                                        "CHARACTER",
                                        "VARCHAR",
                                        "NCHAR",
                                        "NVARCHAR",
                                        "NATIONAL",
                                        "BINARY",
                                        "VARBINARY",
                                        "TINYTEXT",
                                        "TEXT",
                                        "MEDIUMTEXT",
                                        "LONGTEXT",
                                        "TINYBLOB",
                                        "BLOB",
                                        "MEDIUMBLOB",
                                        "LONGBLOB",
                                        "ENUM",
                                        "SET",
                                        "JSON",
                                        "SERIAL",
                                        "UUID",
                                        "INET4",
                                        "INET6",
                                        "VECTOR",
                                        "GEOMETRY",
                                        "POINT",
                                        "LINESTRING",
                                        "POLYGON",
                                        "MULTIPOINT",
                                        "LONG",
                                        "MULTIPOLYGON",
                                        "VARCHAR2",
                                        "GEOMCOLLECTION",
                                        "GEOMETRYCOLLECTION",
                                        "MULTILINESTRING"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (is(scan, types[i]))
            return true;
    return false;
}

/* To the type of a column that the statement adds; false: it adds no such column. */
static bool find_definition(Scan *scan, const char *column)
{
    bool begins = false;
    for (next(scan); scan->token.kind != TOKEN_END;) {
        bool word = scan->token.kind == TOKEN_WORD || scan->token.kind == TOKEN_QUOTED;
        if (!word || !begins) {
            begins = is(scan, "ADD") || is(scan, "(") || is(scan, ",");
            next(scan);
            continue;
        }
        if (take(scan, "COLUMN")) {
            skip_if(scan);
            continue;
        }
        if (is(scan, "IF")) {
            skip_if(scan);
            continue;
        }
        begins = is(scan, "ADD"); /* behind a comma */
        AUTO(mem_free) char *found = name(scan);
        if (!found)
            next(scan);
        if (found && strcasecmp(found, column) == 0 && is_type(scan))
            return true;
    }
    return false;
}

DdlDefault ddl_default(const char *text, size_t bytes, const char *column, char **ret)
{
    Scan scan = {.at = text, .end = text + bytes};
    *ret = NULL;
    if (!find_definition(&scan, column))
        return DDL_DEFAULT_ABSENT;
    DdlDefault kind = is(&scan, "SERIAL") ? DDL_DEFAULT_COMPUTED : column_default(&scan, ret);
    if (kind != DDL_DEFAULT_LITERAL) {
        free(*ret);
        *ret = NULL;
    }
    return kind;
}

bool ddl_drops(const char *text, size_t bytes, const char *column)
{
    static const char *const others[] = {"INDEX",      "KEY",       "PRIMARY", "FOREIGN", "CHECK",
                                         "CONSTRAINT", "PARTITION", "DEFAULT", "SYSTEM"};
    Scan scan = {.at = text, .end = text + bytes};
    for (next(&scan); scan.token.kind != TOKEN_END;) {
        if (!take(&scan, "DROP")) {
            next(&scan);
            continue;
        }
        bool other = false;
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            other = other || is(&scan, others[i]);
        if (other)
            continue;
        (void)take(&scan, "COLUMN");
        skip_if(&scan);
        AUTO(mem_free) char *found = name(&scan);
        if (found && strcasecmp(found, column) == 0)
            return true;
    }
    return false;
}

bool ddl_adds(const char *text, size_t bytes, const char *column, const char *type)
{
    Scan scan = {.at = text, .end = text + bytes};
    return find_definition(&scan, column) && is(&scan, type);
}

bool ddl_names(const char *text, size_t bytes, const char *table)
{
    Scan scan = {.at = text, .end = text + bytes};
    for (next(&scan); scan.token.kind != TOKEN_END;) {
        if (scan.token.kind != TOKEN_WORD && scan.token.kind != TOKEN_QUOTED) {
            next(&scan);
            continue;
        }
        AUTO(mem_free) char *found = name(&scan);
        if (found && strcasecmp(found, table) == 0)
            return true;
        if (!found)
            next(&scan);
    }
    return false;
}
