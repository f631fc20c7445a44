/* What becomes of a table whose columns change. A statement of the log says that they do; what they
 * are then, the catalog says. When that is asked later statements may have run already: so of the
 * catalog only what the statement names counts, and the rest stays as it was until its own
 * statement comes; and a column that is not of the type that the statement gives it, or leaves it,
 * is another one that has its name by now, and has the statement's. Where table maps do not name
 * their columns nothing tells rows of in between apart, and that is refused. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/arena.h"
#include "common/json/text.h"
#include "common/mem.h"

#define STATEMENTS_MAX 256

static bool incompatible(const MyTable *table, const char *column, const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SchemaIncompatible",
                     "table %s column %s: %s. Nothing is lost while the server keeps its binlog. "
                     "Load the table again with --resnapshot %s, or exclude it",
                     table->name, column, what, table->name);
}

static int find(const MyKnown *known, const char *name)
{
    for (uint32_t i = 0; i < known->map->column_count; i++)
        if (strcasecmp(known->map->columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* What it was called before the statement. */
static const char *former_name(const Ddl *ddl, const char *name)
{
    for (size_t i = 0; ddl && i < ddl->column_count; i++)
        if (strcasecmp(ddl->columns[i].to, name) == 0)
            return ddl->columns[i].from;
    return name;
}

/* What it is called after the statement; NULL: it is not renamed. */
static const char *renamed_to(const Ddl *ddl, const char *name)
{
    for (size_t i = 0; ddl && i < ddl->column_count; i++)
        if (strcasecmp(ddl->columns[i].from, name) == 0)
            return ddl->columns[i].to;
    return NULL;
}

/* Is the column the statement's business? Of one that is not ALTER TABLE (a table was put in the
 * place of ours), and of rows, all are. */
static bool concerns(const Ddl *ddl, const char *name)
{
    return !ddl || ddl->kind != DDL_ALTER || ddl_names(ddl->text, ddl->bytes, name);
}

/* Rows that are there were changed, and the log has none of that. */
static bool check_kept(const MyTable *table, const MyColumn *before, const MyColumn *now,
                       Error *err)
{
    bool timed = now->type == MY_TIME2 || now->type == MY_DATETIME2 || now->type == MY_TIMESTAMP2;
    if (timed && now->type == before->type && now->scale < before->scale)
        return incompatible(table, now->name,
                            "it has fewer digits of a second now, so the server "
                            "changed values that the binlog does not have",
                            err);
    if (now->type == MY_STRING && before->type == MY_STRING && now->bytes != before->bytes &&
        now->collation == COLLATION_BINARY && !now->special)
        return incompatible(table, now->name,
                            "BINARY of another length: the server changed values that the binlog "
                            "does not have",
                            err);
    return true;
}

typedef struct Merge {
    Mysql *mysql;
    Arena *arena;
    KnownColumn *columns;
    size_t count;
    int32_t last;
    bool ahead; /* the catalog has changes that the statement did not make */
} Merge;

static void put(Merge *merge, const MyKnown *from, int at, int32_t origin)
{
    merge->columns[merge->count++] = (KnownColumn){.name = from->map->columns[at].name,
                                                   .type = from->types[at],
                                                   .charset = from->charsets[at],
                                                   .required = !from->map->columns[at].nullable,
                                                   .origin = origin};
}

static bool same_column(const MyKnown *a, int i, const MyKnown *b, int k)
{
    return strcmp(a->types[i], b->types[k]) == 0 && strcmp(a->charsets[i], b->charsets[k]) == 0 &&
           a->map->columns[i].nullable == b->map->columns[k].nullable;
}

static void put_named(Merge *merge, const MyKnown *from, int at, const char *name)
{
    put(merge, from, at, from->origins[at]);
    merge->columns[merge->count - 1].name = name;
}

/* What a table's text is without a word of its character set. */
static bool bytes_by_default(Mysql *mysql, const MyTable *table, bool *ret, Error *err)
{
    AUTO(mem_free) char *schema = my_literal(table->source->schema_name);
    AUTO(mem_free) char *name = my_literal(table->source->table_name);
    AUTO(mem_free)
    char *sql = mem_format("SELECT coalesce(max(table_collation), '') = 'binary' FROM "
                           "information_schema.tables WHERE table_schema = %s AND table_name = %s",
                           schema, name);
    AUTO(mem_free) char *said = my_value(mysql->query, &mysql->patience, sql, err);
    *ret = said && strcmp(said, "1") == 0;
    return said != NULL;
}

/* Can the catalog's column be the one that the statement describes? */
static bool is_told(Mysql *mysql, const MyTable *table, const DdlType *type, const MyColumn *told,
                    const MyColumn *now, bool *ret, Error *err)
{
    *ret = my_column_alike(told, now);
    /* In Oracle's mode MariaDB's DATE is another. */
    if (mysql->mariadb && told->type == MY_DATE && now->type == MY_DATETIME2 && !now->scale)
        *ret = true;
    MyColumn as = *told;
    as.collation = COLLATION_BINARY;
    if (*ret || type->has_charset || now->collation != COLLATION_BINARY)
        return true;
    as.bytes = now->bytes;
    return !my_column_alike(&as, now) || bytes_by_default(mysql, table, ret, err);
}

static bool is_text(const MyColumn *column)
{
    bool labelled = column->type == MY_ENUM || column->type == MY_SET;
    bool letters =
        column->type == MY_STRING || column->type == MY_VARCHAR || column->type == MY_BLOB;
    return labelled || (letters && column->collation != COLLATION_BINARY);
}

/* The column as the statement has it. Of text in which character set, the rows' table map says. */
static void put_told(Merge *merge, const DdlType *type, const char *words, const MyColumn *told,
                     int32_t origin)
{
    merge->ahead = true;
    merge->columns[merge->count++] = (KnownColumn){.name = told->name,
                                                   .type = words,
                                                   .charset = is_text(told) ? "utf8mb4" : "",
                                                   .required = type->required,
                                                   .origin = origin};
}

/* MariaDB's JSON is text with a check. */
static const char *words_of(Merge *merge, const DdlType *type)
{
    const char *words = type->words;
    if (merge->mysql->mariadb && strcmp(words, "json") == 0)
        words = "longtext";
    return arena_strndup(merge->arena, words, strlen(words));
}

/* A column that the statement is about: as the catalog has it, if that is still this one. at: what
 * it was before; -1: nothing. */
static bool put_column(Merge *merge, const MyTable *table, const MyKnown *now, uint32_t i, int at,
                       const Ddl *ddl, Error *err)
{
    const MyKnown *old = table->known;
    const MyColumn *column = &now->map->columns[i];
    const MyColumn *before = at < 0 ? NULL : &old->map->columns[at];
    int32_t origin = before ? old->origins[at] : ++merge->last;
    AUTO(ddl_type_done) DdlType type = {0};
    DdlTold how = DDL_TYPE_UNKNOWN;
    if (ddl && ddl->kind == DDL_ALTER && merge->mysql->full_metadata)
        how = ddl_type(ddl->text, ddl->bytes, column->name, !before, &type);
    if (how == DDL_TYPE_NONE && before && !my_column_alike(before, column)) {
        merge->ahead = true;
        put_named(merge, old, at, column->name);
        return true;
    }
    MyColumn told = {0};
    const char *words = how == DDL_TYPE_TOLD ? words_of(merge, &type) : NULL;
    bool is_clear = words && my_column_parse(words, merge->arena, &told);
    bool same = !is_clear || (before && same_column(old, at, now, (int)i));
    told.name = column->name;
    if (!same && !is_told(merge->mysql, table, &type, &told, column, &same, err))
        return false;
    if (before && ((is_clear && !check_kept(table, before, &told, err)) ||
                   (same && !check_kept(table, before, column, err))))
        return false;
    if (same)
        put(merge, now, (int)i, origin);
    else
        put_told(merge, &type, words, &told, origin);
    return true;
}

/* Whatever the catalog has of that name is another one, of this statement or of a later one. */
static bool drops(const Ddl *ddl, const char *name)
{
    return ddl && ddl->kind == DDL_ALTER && ddl_drops(ddl->text, ddl->bytes, name);
}

static bool adds(const Ddl *ddl, const char *name)
{
    AUTO(mem_free) char *unused = NULL;
    return ddl_default(ddl->text, ddl->bytes, name, &unused) != DDL_DEFAULT_ABSENT;
}

/* What was there and is not in the catalog, though the statement did not take it. */
static void put_missing(Merge *merge, const MyKnown *old, const MyKnown *now, const Ddl *ddl)
{
    for (uint32_t i = 0; i < old->map->column_count; i++) {
        const char *name = old->map->columns[i].name;
        bool there = false;
        for (size_t k = 0; k < merge->count; k++)
            there = there || merge->columns[k].origin == old->origins[i];
        const char *to = renamed_to(ddl, name);
        bool replaced = ddl && ddl->kind != DDL_ALTER; /* by a table that is as the catalog says */
        bool taken = replaced ? find(now, name) < 0 : drops(ddl, name);
        if (there || (!to && taken))
            continue;
        merge->ahead = true;
        put_named(merge, old, (int)i, to ? to : name);
    }
}

static bool merge_columns(const MyTable *table, const MyKnown *now, const Ddl *ddl, Merge *merge,
                          Error *err)
{
    const MyKnown *old = table->known;
    merge->last = old->last;
    for (uint32_t i = 0; i < now->map->column_count; i++) {
        const MyColumn *column = &now->map->columns[i];
        const char *former = former_name(ddl, column->name);
        int at = find(old, former);
        if (former == column->name && renamed_to(ddl, former)) {
            merge->ahead = true; /* another one, which was called so later */
            continue;
        }
        if (former == column->name && drops(ddl, former)) {
            bool again = adds(ddl, former); /* in one go */
            merge->ahead = merge->ahead || !again;
            if (again && !put_column(merge, table, now, i, -1, ddl, err))
                return false;
            continue;
        }
        if (at < 0 && !concerns(ddl, column->name)) {
            merge->ahead = true;
            continue;
        }
        if (at >= 0 && !concerns(ddl, column->name)) {
            merge->ahead = merge->ahead || !same_column(old, at, now, (int)i);
            put(merge, old, at, old->origins[at]);
        } else if (!put_column(merge, table, now, i, at, ddl, err)) {
            return false;
        }
    }
    put_missing(merge, old, now, ddl);
    return true;
}

/* The key, as the catalog has it; but while it names columns that are not there yet, as it was. */
static size_t merge_key(const MyTable *table, const MyKnown *now, const Merge *merge, uint32_t *key)
{
    const MyKnown *sources[] = {now, table->known};
    for (size_t s = 0; s < ARRAY_LEN(sources); s++) {
        size_t count = 0;
        const TableMap *map = sources[s]->map;
        for (uint32_t i = 0; i < map->key_count; i++)
            for (size_t k = 0; k < merge->count; k++)
                if (strcasecmp(merge->columns[k].name, map->columns[map->key[i]].name) == 0)
                    key[count++] = (uint32_t)k;
        if (count == map->key_count)
            return count;
    }
    return 0;
}

static bool is_same(const MyKnown *old, const Merge *merge, const uint32_t *key, size_t key_count)
{
    if (old->map->column_count != merge->count || old->map->key_count != key_count)
        return false;
    for (size_t i = 0; i < merge->count; i++)
        if (old->origins[i] != merge->columns[i].origin ||
            strcmp(old->map->columns[i].name, merge->columns[i].name) != 0 ||
            strcmp(old->types[i], merge->columns[i].type) != 0 ||
            strcmp(old->charsets[i], merge->columns[i].charset) != 0 ||
            old->map->columns[i].nullable == merge->columns[i].required)
            return false;
    return memcmp(old->map->key, key, key_count * sizeof *key) == 0;
}

/* --- what older rows have in a column that is added --- */

static bool unknown_values(const MyTable *table, const char *column, Error *err)
{
    return incompatible(table, column,
                        "it was added with values that the binlog does not have, or a default that "
                        "the lake's table can't have for the rows that were there",
                        err);
}

static bool has_form(const char *text, const char *form)
{
    for (; *form; text++, form++)
        if (*form == '9' ? *text < '0' || *text > '9' : *text != *form)
            return false;
    return !*text;
}

/* "5" of scale 2: "5.00". NULL: it has more digits than the column. */
static char *scaled(const char *text, unsigned scale)
{
    const char *point = strchr(text, '.');
    size_t behind = point ? strlen(point + 1) : 0;
    if (behind > scale || (point && strchr(point + 1, '.')))
        return NULL;
    return mem_format("%s%s%.*s", text, point || !scale ? "" : ".", (int)(scale - behind),
                      "00000000000000000000000000000000000000");
}

/* A default in Iceberg's single-value form. NULL: it has none that is surely the same. */
static json_t *single_value(const Type *type, const MyColumn *column, const char *text)
{
    char *end = NULL;
    bool number = *text && strspn(text, "-0123456789.") == strlen(text);
    switch (type->kind) {
    case TYPE_INT32:
    case TYPE_INT64: {
        long long value = strtoll(text, &end, 10);
        return *text && !*end && (column->type != MY_YEAR || has_form(text, "9999"))
                   ? json_integer(value)
                   : NULL;
    }
    case TYPE_FLOAT32:
    case TYPE_FLOAT64: {
        double value = strtod(text, &end);
        return number && !*end
                   ? json_real(type->kind == TYPE_FLOAT32 ? (double)(float)value : value)
                   : NULL;
    }
    case TYPE_DECIMAL: {
        AUTO(mem_free) char *digits = number ? scaled(text, type->scale) : NULL;
        return digits ? json_string(digits) : NULL;
    }
    case TYPE_DATE:
        return has_form(text, "9999-99-99") && strncmp(text, "0000", 4) != 0 ? json_string(text)
                                                                             : NULL;
    case TYPE_STRING: {
        bool is_text = column->type == MY_STRING || column->type == MY_VARCHAR ||
                       column->type == MY_ENUM || column->type == MY_BLOB;
        size_t length = strlen(text);
        bool trimmed = column->type == MY_STRING && length && text[length - 1] == ' ';
        return is_text && !column->special && !trimmed ? json_string(text) : NULL;
    }
    default:
        return NULL;
    }
}

/* NOT NULL without a default: what the server gives older rows. */
static const char *implicit_default(const Type *type)
{
    switch (type->kind) {
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_FLOAT32:
    case TYPE_FLOAT64:
    case TYPE_DECIMAL:
        return "0";
    case TYPE_STRING:
        return "";
    default:
        return NULL;
    }
}

/* What the statement says that added it, this one or an earlier one: the catalog's default may be a
 * later one, and its name too. */
static DdlDefault default_of(const MyTable *table, const Ddl *ddl, const char *name, char **ret)
{
    const char *former = former_name(ddl, name);
    DdlDefault kind = DDL_DEFAULT_ABSENT;
    *ret = NULL;
    if (ddl && ddl->kind == DDL_ALTER)
        kind = ddl_default(ddl->text, ddl->bytes, name, ret);
    for (size_t i = table->statement_count; i > 0 && kind == DDL_DEFAULT_ABSENT; i--) {
        const char *text = table->statements[i - 1];
        kind = ddl_default(text, strlen(text), former, ret);
    }
    return kind;
}

static bool find_initial(const MyTable *table, DdlDefault kind, const char *text,
                         const MyColumn *column, Field *field, Error *err)
{
    if (kind == DDL_DEFAULT_COMPUTED || kind == DDL_DEFAULT_ABSENT)
        return unknown_values(table, field->name, err);
    if (kind == DDL_DEFAULT_NONE && column->nullable)
        return true;
    const char *given = text ? text : implicit_default(&field->type);
    bool labelled = column->type == MY_ENUM || column->type == MY_SET; /* the first, or none */
    json_t *value = given && (text || !labelled) ? single_value(&field->type, column, given) : NULL;
    if (!value)
        return unknown_values(table, field->name, err);
    field->initial = json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    json_decref(value);
    return true;
}

/* Of a column that no statement of ours added: none may have come with it. */
static bool check_catalog(Mysql *mysql, const MyTable *table, const char *name, Error *err)
{
    AUTO(mem_free) char *schema = my_literal(table->source->schema_name);
    AUTO(mem_free) char *of = my_literal(table->source->table_name);
    AUTO(mem_free) char *column = my_literal(name);
    AUTO(mem_free)
    char *sql = mem_format(
        "SELECT is_nullable = 'YES' AND (column_default IS NULL OR column_default = 'NULL') AND "
        "coalesce(extra, '') NOT LIKE '%%GENERATED' FROM information_schema.columns WHERE "
        "table_schema = %s AND table_name = %s AND column_name = %s",
        schema, of, column);
    AUTO(mem_free) char *plain = my_value(mysql->query, &mysql->patience, sql, err);
    return plain && (strcmp(plain, "1") == 0 || unknown_values(table, name, err));
}

/* The table has its new columns: what its older rows have there. */
static bool find_initials(Mysql *mysql, MyTable *table, const Ddl *ddl, int32_t last, Error *err)
{
    Schema *schema = table->source->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        Field *field = &schema->fields[i];
        if (field->origin <= last)
            continue;
        AUTO(mem_free) char *text = NULL;
        DdlDefault kind = default_of(table, ddl, field->name, &text);
        bool altered = ddl && ddl->kind == DDL_ALTER;
        if (kind == DDL_DEFAULT_ABSENT && !altered
                ? !check_catalog(mysql, table, field->name, err)
                : !find_initial(table, kind, text, &table->known->map->columns[i], field, err))
            return false;
    }
    return true;
}

static void remember(MyTable *table, const Ddl *ddl)
{
    if (!ddl || ddl->kind != DDL_ALTER)
        return;
    if (table->statement_count == STATEMENTS_MAX) { /* what is forgotten is refused */
        free(table->statements[0]);
        memmove(table->statements, table->statements + 1,
                --table->statement_count * sizeof(char *));
    }
    table->statements = mem_regrow(table->statements, table->statement_count + 1, sizeof(char *));
    table->statements[table->statement_count++] = mem_strndup(ddl->text, ddl->bytes);
}

static bool learn(Mysql *mysql, MyTable *table, MyKnown *now, const Ddl *ddl, bool *ret_changed,
                  Error *err)
{
    size_t most = now->map->column_count + table->known->map->column_count;
    AUTO(mem_free) KnownColumn *columns = mem_array(most, sizeof *columns);
    AUTO(mem_free) uint32_t *key = mem_array(most, sizeof *key);
    AUTO(arena_free) Arena *arena = arena_new(4096);
    Merge merge = {.mysql = mysql, .arena = arena, .columns = columns};
    if (!merge_columns(table, now, ddl, &merge, err))
        return false;
    size_t key_count = merge_key(table, now, &merge, key);
    if (is_same(table->known, &merge, key, key_count))
        return true;
    if (atomic_load(&table->copying))
        return my_table_changed(table, err);
    if (merge.ahead && !mysql->full_metadata)
        return error_set(err, ERROR_CONFIG, "SchemaUndecided",
                         "table %s was altered several times meanwhile, and the binlog does not "
                         "name the columns of rows in between; set binlog_row_metadata = FULL at "
                         "the server, and load the table again with --resnapshot %s",
                         table->name, table->name);
    int32_t last = table->known->last;
    MyKnown *known = known_new(table->source->schema_name, table->source->table_name, columns,
                               merge.count, key, key_count, &mysql->charsets, err);
    if (!known)
        return false;
    if (merge.last > known->last)
        known->last = merge.last;
    *ret_changed = true;
    return my_table_take(mysql, table, known, err) && find_initials(mysql, table, ddl, last, err);
}

/* Table maps show uuid and inet as BINARY: of a column that the catalog no longer has under its
 * name the statement that added it tells. NULL: it is none of these. */
static const char *special_word(const MyTable *table, const MyColumn *column)
{
    static const char *const words[] = {"uuid", "inet6", "inet4"};
    if (column->type != MY_STRING || column->collation != COLLATION_BINARY)
        return NULL;
    AUTO(mem_free) char *name = mem_strdup(column->name);
    for (size_t i = table->statement_count; i > 0; i--) {
        const char *text = table->statements[i - 1];
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (ddl_adds(text, strlen(text), name, words[k]))
                return words[k];
        Ddl ddl;
        ddl_read(text, strlen(text), "", 0, &ddl);
        for (size_t k = 0; k < ddl.column_count; k++)
            if (strcasecmp(ddl.columns[k].to, name) == 0) {
                free(name);
                name = mem_strdup(ddl.columns[k].from);
                break;
            }
        ddl_done(&ddl);
    }
    return NULL;
}

/* Columns as the rows' own table map has them, while the catalog is of another time. What is not in
 * it stays, and is null in these rows. */
static MyKnown *known_of_map(const MyTable *table, const TableMap *map,
                             const Collations *collations, Error *err)
{
    const MyKnown *old = table->known;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    AUTO(mem_free) KnownColumn *columns = mem_array(map->column_count + 1, sizeof *columns);
    for (uint32_t i = 0; i < map->column_count; i++) {
        const MyColumn *column = &map->columns[i];
        int at = find(old, column->name);
        const char *charset = collations_charset(collations, column->collation);
        bool same = at >= 0 && my_column_is(&old->map->columns[at], column, map);
        const char *special = at < 0 ? special_word(table, column) : NULL;
        columns[i] =
            (KnownColumn){.name = column->name,
                          .type = same      ? old->types[at]
                                  : special ? special
                                            : my_column_format(column, arena),
                          .charset = same ? old->charsets[at]
                                     : charset && column->collation != COLLATION_BINARY ? charset
                                                                                        : "",
                          .required = !column->nullable};
    }
    return known_new(table->source->schema_name, table->source->table_name, columns,
                     map->column_count, map->key, map->key_count, collations, err);
}

/* Until then it holds the table, so that whoever reads the table after waits for it. */
bool my_table_wait(Mysql *mysql, const char *quoted, Error *err)
{
    AUTO(mem_free) char *sql = mem_format("SELECT 1 FROM %s LIMIT 0", quoted);
    Error why;
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, &why);
    if (result || strcmp(why.code, "TableRewritten") == 0) /* it is gone by now */
        return true;
    *err = why;
    return false;
}

bool my_table_learn(void *context, uint32_t number, const TableMap *map, const Ddl *ddl,
                    bool *ret_changed, Error *err)
{
    Mysql *mysql = context;
    MyTable *table = &mysql->tables[number];
    AUTO(known_free) MyKnown *now = NULL;
    *ret_changed = false;
    if (!mysql_query_open(mysql, err) || (ddl && !my_table_wait(mysql, table->quoted, err)) ||
        !my_table_read(mysql, mysql->query, &mysql->patience, table->source, &now, err))
        return error_wrap(err, "table %s", table->name);
    if (ddl && !my_cascades_check(mysql, table, err))
        return false;
    /* Gone by now: its own statement follows. Rows that do not fit what is there now say themselves
     * what they are, if their columns have names. */
    if (map && (!now || !known_fits(now, map))) {
        known_free(TAKE(now));
        if (map->has_names)
            now = known_of_map(table, map, &mysql->charsets, err);
        if (map->has_names && !now)
            return false;
    }
    bool ok = !now || learn(mysql, table, now, ddl, ret_changed, err);
    remember(table, ddl);
    return ok;
}
