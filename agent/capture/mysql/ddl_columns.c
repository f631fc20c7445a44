/* What a statement says of the columns that it adds, changes and drops: see ddl.h. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/ddl.h"
#include "agent/capture/mysql/ddl_scan.h"
#include "common/bytes.h"
#include "common/mem.h"

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
        scan_next(scan);
        return text;
    }
    const char *from = token.at, *end = from;
    if (scan_is(scan, "-") || scan_is(scan, "+"))
        scan_next(scan);
    if (!scan->token.bytes || !isdigit((unsigned char)*scan->token.at))
        return NULL;
    while (scan->token.kind == TOKEN_WORD || scan_is(scan, ".")) {
        for (size_t i = 0; i < scan->token.bytes; i++)
            if (!isdigit((unsigned char)scan->token.at[i]) && scan->token.at[i] != '.')
                return NULL; /* 1e5, 0x10, or a word behind it */
        if (scan->token.at != end && end != from && *end != '.' && end[-1] != '.')
            break;
        end = scan->token.at + scan->token.bytes;
        scan_next(scan);
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
           !(scan->depth == depth && scan_is(scan, ","))) {
        if (scan->depth == depth && scan_take_any(scan, computed))
            return DDL_DEFAULT_COMPUTED;
        if (scan->depth > depth || !scan_take(scan, "DEFAULT")) {
            scan_next(scan);
            continue;
        }
        if (scan_take(scan, "NULL"))
            continue;
        if (scan_is(scan, "TRUE") || scan_is(scan, "FALSE"))
            *ret = mem_strdup(scan_is(scan, "TRUE") ? "1" : "0");
        else
            *ret = literal(scan);
        if (!*ret)
            return DDL_DEFAULT_COMPUTED;
        static const char *const goes_on[] = {"+", "-", "*", "/", "%", "(", NULL};
        for (const char *const *mark = goes_on; *mark; mark++)
            if (scan_is(scan, *mark))
                return DDL_DEFAULT_COMPUTED;
        return DDL_DEFAULT_LITERAL;
    }
    return DDL_DEFAULT_NONE;
}

/* --- types --- */

/* NULL in the catalog's words: a size, a setting or more words decide. */
static const struct {
    const char *word, *catalog;
} types[] = {
    {"TINYINT", "tinyint"},
    {"SMALLINT", "smallint"},
    {"MEDIUMINT", "mediumint"},
    {"INT", "int"},
    {"INTEGER", "int"},
    {"BIGINT", "bigint"},
    {"INT1", "tinyint"},
    {"INT2", "smallint"},
    {"INT3", "mediumint"},
    {"INT4", "int"},
    {"INT8", "bigint"},
    {"MIDDLEINT", "mediumint"},
    {"BOOL", "tinyint"},
    {"BOOLEAN", "tinyint"},
    {"BIT", "bit"},
    {"FLOAT", "float"},
    {"FLOAT4", "float"},
    {"FLOAT8", "double"},
    {"DOUBLE", "double"},
    {"REAL", NULL},
    {"DECIMAL", "decimal"},
    {"DEC", "decimal"},
    {"NUMERIC", "decimal"},
    {"FIXED", "decimal"},
    {"DATE", "date"},
    {"TIME", "time"},
    {"DATETIME", "datetime"},
    {"TIMESTAMP", "timestamp"},
    {"YEAR", "year"},
    {"CHAR", "char"},
    {"CHARACTER", "char"},
    {"VARCHAR", "varchar"},
    {"VARCHARACTER", "varchar"},
    {"NCHAR", NULL},
    {"NVARCHAR", NULL},
    {"NATIONAL", NULL},
    {"BINARY", "binary"},
    {"VARBINARY", "varbinary"},
    {"TINYTEXT", "tinytext"},
    {"TEXT", "text"},
    {"MEDIUMTEXT", "mediumtext"},
    {"LONGTEXT", "longtext"},
    {"TINYBLOB", "tinyblob"},
    {"BLOB", "blob"},
    {"MEDIUMBLOB", "mediumblob"},
    {"LONGBLOB", "longblob"},
    {"ENUM", "enum"},
    {"SET", "set"},
    {"JSON", "json"},
    {"SERIAL", NULL},
    {"UUID", "uuid"},
    {"INET4", "inet4"},
    {"INET6", "inet6"},
    {"VECTOR", "vector"},
    {"GEOMETRY", "geometry"},
    {"POINT", "point"},
    {"LINESTRING", "linestring"},
    {"POLYGON", "polygon"},
    {"MULTIPOINT", "multipoint"},
    {"LONG", NULL},
    {"MULTIPOLYGON", "multipolygon"},
    {"VARCHAR2", NULL},
    {"GEOMCOLLECTION", "geomcollection"},
    {"GEOMETRYCOLLECTION", "geomcollection"},
    {"MULTILINESTRING", "multilinestring"},
};

/* What follows a name tells a definition from an index, a check, and all else in brackets. */
static bool is_type(const Scan *scan)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (scan_is(scan, types[i].word))
            return true;
    return false;
}

/* To the type of a column that the statement adds; false: it adds no such column. */
static bool find_definition(Scan *scan, const char *column)
{
    bool begins = false;
    for (scan_next(scan); scan->token.kind != TOKEN_END;) {
        bool word = scan->token.kind == TOKEN_WORD || scan->token.kind == TOKEN_QUOTED;
        if (!word || !begins) {
            begins = scan_is(scan, "ADD") || scan_is(scan, "(") || scan_is(scan, ",");
            scan_next(scan);
            continue;
        }
        if (scan_take(scan, "COLUMN")) {
            scan_skip_if(scan);
            continue;
        }
        if (scan_is(scan, "IF")) {
            scan_skip_if(scan);
            continue;
        }
        begins = scan_is(scan, "ADD"); /* behind a comma */
        AUTO(mem_free) char *found = scan_name(scan);
        if (!found)
            scan_next(scan);
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
    DdlDefault kind = scan_is(&scan, "SERIAL") ? DDL_DEFAULT_COMPUTED : column_default(&scan, ret);
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
    for (scan_next(&scan); scan.token.kind != TOKEN_END;) {
        if (!scan_take(&scan, "DROP")) {
            scan_next(&scan);
            continue;
        }
        bool other = false;
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            other = other || scan_is(&scan, others[i]);
        if (other)
            continue;
        (void)scan_take(&scan, "COLUMN");
        scan_skip_if(&scan);
        AUTO(mem_free) char *found = scan_name(&scan);
        if (found && strcasecmp(found, column) == 0)
            return true;
    }
    return false;
}

bool ddl_adds(const char *text, size_t bytes, const char *column, const char *type)
{
    Scan scan = {.at = text, .end = text + bytes};
    return find_definition(&scan, column) && scan_is(&scan, type);
}

/* To the type of a column that the statement changes, or gives that name with a definition. */
static bool find_change(Scan *scan, const char *column)
{
    for (scan_next(scan); scan->token.kind != TOKEN_END;) {
        bool changes = scan_is(scan, "CHANGE");
        if (!changes && !scan_is(scan, "MODIFY")) {
            scan_next(scan);
            continue;
        }
        scan_next(scan);
        (void)scan_take(scan, "COLUMN");
        scan_skip_if(scan);
        if (changes)
            free(scan_name(scan));
        AUTO(mem_free) char *found = scan_name(scan);
        if (found && strcasecmp(found, column) == 0 && is_type(scan))
            return true;
    }
    return false;
}

/* "(10, 2)" as "(10,2)". */
static void put_brackets(Scan *scan, Bytes *words)
{
    int depth = scan->depth;
    do {
        bytes_put(words, scan->token.at, scan->token.bytes);
        scan_next(scan);
    } while (scan->token.kind != TOKEN_END && scan->depth >= depth);
    if (scan_take(scan, ")"))
        bytes_put_u8(words, ')');
}

typedef struct Attributes {
    bool is_unsigned, of_bytes, has_charset, required;
} Attributes;

/* binary, `binary` or 'binary' */
static void read_charset(Scan *scan, Attributes *ret)
{
    Token token = scan->token;
    if (token.kind != TOKEN_WORD && token.bytes >= 2) {
        token.at++;
        token.bytes -= 2;
    }
    ret->has_charset = true;
    ret->of_bytes = ret->of_bytes || (token.bytes == 6 && strncasecmp(token.at, "binary", 6) == 0);
}

/* What follows the type, to the definition's end. */
static void read_attributes(Scan *scan, Attributes *ret)
{
    static const char *const has_value[] = {"DEFAULT", "AFTER", "COMMENT", NULL};
    static const char *const named[] = {"ASCII", "UNICODE", NULL};
    static const char *const charset[] = {"CHARACTER", "CHAR", NULL};
    int depth = scan->depth;
    *ret = (Attributes){0};
    while (scan->token.kind != TOKEN_END && scan->depth >= depth &&
           !(scan->depth == depth && scan_is(scan, ","))) {
        if (scan->depth > depth) {
            scan_next(scan);
        } else if (scan_take(scan, "UNSIGNED") || scan_take(scan, "ZEROFILL")) {
            ret->is_unsigned = true;
        } else if (scan_take(scan, "NOT")) {
            ret->required = ret->required || scan_is(scan, "NULL");
        } else if (scan_take(scan, "PRIMARY")) {
            ret->required = true;
        } else if (scan_take(scan, "BYTE")) {
            ret->has_charset = ret->of_bytes = true;
        } else if (scan_take_any(scan, named)) {
            ret->has_charset = true;
        } else if (scan_take(scan, "CHARSET") || scan_take(scan, "COLLATE") ||
                   (scan_take_any(scan, charset) && scan_take(scan, "SET"))) {
            read_charset(scan, ret);
        } else if (!scan_take_any(scan, has_value) || scan->depth == depth) {
            scan_next(scan); /* a value is no attribute, whatever it is called */
        }
    }
}

/* What the catalog calls a type of text whose character set is that of bytes. */
static const char *of_bytes(const char *word)
{
    static const char *const pairs[][2] = {{"char", "binary"},           {"varchar", "varbinary"},
                                           {"tinytext", "tinyblob"},     {"text", "blob"},
                                           {"mediumtext", "mediumblob"}, {"longtext", "longblob"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (strcmp(pairs[i][0], word) == 0)
            return pairs[i][1];
    return word;
}

/* FLOAT(25) is a DOUBLE, FLOAT(7,4) is none. */
static bool is_double(const Bytes *brackets)
{
    return brackets->used && !memchr(brackets->data, ',', brackets->used) &&
           strtol((const char *)brackets->data + 1, NULL, 10) > 24;
}

static bool read_type(Scan *scan, DdlType *ret)
{
    const char *word = NULL;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (scan_is(scan, types[i].word))
            word = types[i].catalog;
    if (!word)
        return false;
    bool truth = scan_is(scan, "BOOL") || scan_is(scan, "BOOLEAN");
    scan_next(scan);
    if (strcmp(word, "char") == 0 && scan_take(scan, "VARYING"))
        word = "varchar";
    Bytes brackets = {0}, words = {0};
    if (scan_is(scan, "("))
        put_brackets(scan, &brackets);
    else if (strcmp(word, "char") == 0 || strcmp(word, "binary") == 0 || truth)
        bytes_put(&brackets, "(1)", 3);
    bool sized = brackets.used && (strcmp(word, "text") == 0 || strcmp(word, "blob") == 0);
    Attributes attributes;
    read_attributes(scan, &attributes);
    bytes_put_u8(&brackets, '\0');
    brackets.used--;
    if (strcmp(word, "float") == 0 && is_double(&brackets)) {
        word = "double";
        brackets.used = 0;
    }
    if (attributes.of_bytes)
        word = of_bytes(word);
    bytes_put(&words, word, strlen(word));
    bytes_put(&words, brackets.data, brackets.used);
    if (attributes.is_unsigned)
        bytes_put(&words, " unsigned", 9);
    *ret = (DdlType){.words = sized ? NULL : mem_strndup((const char *)words.data, words.used),
                     .required = attributes.required,
                     .has_charset = attributes.has_charset};
    bytes_done(&words);
    bytes_done(&brackets);
    return !sized;
}

DdlTold ddl_type(const char *text, size_t bytes, const char *column, bool added, DdlType *ret)
{
    Scan scan = {.at = text, .end = text + bytes};
    *ret = (DdlType){0};
    if (!(added ? find_definition(&scan, column) : find_change(&scan, column)))
        return DDL_TYPE_NONE;
    return read_type(&scan, ret) ? DDL_TYPE_TOLD : DDL_TYPE_UNKNOWN;
}
