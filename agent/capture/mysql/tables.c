/* The tables that the manifest's patterns choose, of the one database that it names, as the catalog
 * describes them now. Views and temporary tables are no candidates; a partitioned table is one
 * table. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "agent/capture/mysql/rows.h"
#include "common/arena.h"
#include "common/mem.h"

#define TABLES_MAX 100000

void my_table_forget_statements(MyTable *table)
{
    for (size_t i = 0; i < table->statement_count; i++)
        free(table->statements[i]);
    free(TAKE(table->statements));
    table->statement_count = 0;
}

void my_table_done(MyTable *table)
{
    known_free(table->known);
    free(table->name);
    free(table->quoted);
    free(table->ids);
    for (size_t i = 0; i < table->old_count; i++) {
        schema_free(table->old[i].schema);
        free(table->old[i].text);
    }
    free(table->old);
    my_table_forget_statements(table);
    free(table->created);
    free(table->source->schema_name);
    free(table->source->table_name);
    free(table->source->shape);
    schema_free(table->source->schema);
}

/* --- choosing --- */

bool my_table_chosen(const Mysql *mysql, const char *table)
{
    AUTO(mem_free) char *name = mem_format("%s.%s", mysql->spec->database, table);
    return manifest_chooses(mysql->spec, name);
}

/* A pattern without wildcards names one table: that must be there. */
static bool check_named(const Mysql *mysql, Error *err)
{
    const TextList *include = &mysql->spec->include;
    for (size_t i = 0; i < include->count; i++) {
        bool found = strpbrk(include->texts[i], "*?[") != NULL;
        for (size_t t = 0; t < mysql->table_count && !found; t++)
            found = manifest_pattern_matches(include->texts[i], mysql->tables[t].name);
        if (!found && !manifest_patterns_match(&mysql->spec->exclude, include->texts[i]))
            return error_set(err, ERROR_CONFIG, "TableMissing",
                             "spec.source.tables.include names %s, but database %s has no such "
                             "table that user %s may read (views are none); correct the name (it "
                             "begins with the database's), or GRANT SELECT",
                             include->texts[i], mysql->spec->database, mysql->spec->username);
    }
    return true;
}

static MYSQL_RES *list_tables(Mysql *mysql, Error *err)
{
    AUTO(mem_free) char *database = my_literal(mysql->spec->database);
    AUTO(mem_free)
    char *sql = mem_format(
        "SELECT table_name, engine, coalesce(table_rows, 0), coalesce(data_length, 0) "
        "FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE' "
        "ORDER BY table_name",
        database);
    return mysql_query_open(mysql, err) ? my_query(mysql->query, &mysql->patience, sql, err) : NULL;
}

/* Only InnoDB (and what MariaDB has like it) shows a snapshot that stands for one place of the log.
 */
static bool check_engine(const char *name, const char *engine, Error *err)
{
    return strcasecmp(engine, "InnoDB") == 0 || strcasecmp(engine, "RocksDB") == 0 ||
           error_set(err, ERROR_CONFIG, "UnsupportedEngine",
                     "table %s is of engine %s, which has no transactions; ALTER TABLE … ENGINE = "
                     "InnoDB, or exclude the table (spec.source.tables.exclude)",
                     name, *engine ? engine : "none");
}

static void take_table(Mysql *mysql, MYSQL_ROW row, char *name)
{
    size_t number = mysql->table_count++;
    SourceTable *source = &mysql->sources[number];
    *source = (SourceTable){.schema_name = mem_strdup(mysql->spec->database),
                            .table_name = mem_strdup(row[0]),
                            .rows_estimate = strtoull(row[2], NULL, 10),
                            .bytes_estimate = strtoull(row[3], NULL, 10)};
    AUTO(mem_free) char *schema_part = my_identifier(source->schema_name);
    AUTO(mem_free) char *table_part = my_identifier(source->table_name);
    mysql->tables[number] = (MyTable){
        .source = source, .name = name, .quoted = mem_format("%s.%s", schema_part, table_part)};
}

static bool find_tables(Mysql *mysql, Error *err)
{
    AUTO(my_result_free) MYSQL_RES *result = list_tables(mysql, err);
    if (!result)
        return false;
    uint64_t rows = mysql_num_rows(result);
    if (rows > TABLES_MAX)
        return error_set(err, ERROR_CONFIG, "TooManyTables",
                         "database %s has %" PRIu64 " tables, more than %d", mysql->spec->database,
                         rows, TABLES_MAX);
    mysql->sources = mem_array(rows + 1, sizeof *mysql->sources);
    mysql->tables = mem_array(rows + 1, sizeof *mysql->tables);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        char *name = mem_format("%s.%s", mysql->spec->database, row[0]);
        if (!manifest_chooses(mysql->spec, name)) {
            free(name);
            continue;
        }
        take_table(mysql, row, name);
        if (!check_engine(name, row[1] ? row[1] : "", err))
            return false;
    }
    if (!check_named(mysql, err))
        return false;
    return mysql->table_count ||
           error_set(err, ERROR_CONFIG, "NoTables",
                     "database %s has no table that spec.source.tables chooses and user %s may "
                     "read; correct include and exclude, or GRANT SELECT ON `%s`.* TO `%s`",
                     mysql->spec->database, mysql->spec->username, mysql->spec->database,
                     mysql->spec->username);
}

bool my_tables_look(Capture *capture, CaptureFound *found, void *context, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    AUTO(my_result_free) MYSQL_RES *result = list_tables(mysql, err);
    if (!result)
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        AUTO(mem_free) char *name = mem_format("%s.%s", mysql->spec->database, row[0]);
        bool known = false;
        for (size_t i = 0; i < mysql->table_count && !known; i++)
            known = strcmp(mysql->tables[i].name, name) == 0;
        if (!known && manifest_chooses(mysql->spec, name) &&
            check_engine(name, row[1] ? row[1] : "", NULL))
            found(context, name);
    }
    return true;
}

/* --- columns --- */

/* The key's columns, by their place in it. */
static bool read_key(MYSQL *connection, const Patience *patience, const char *schema,
                     const char *table, const KnownColumn *columns, size_t count, uint32_t *key,
                     size_t *ret_count, Error *err)
{
    AUTO(mem_free)
    char *sql = mem_format("SELECT column_name FROM information_schema.statistics WHERE "
                           "table_schema = %s AND table_name = %s AND index_name = 'PRIMARY' "
                           "ORDER BY seq_in_index",
                           schema, table);
    AUTO(my_result_free) MYSQL_RES *result = my_query(connection, patience, sql, err);
    *ret_count = 0;
    if (!result)
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));)
        for (size_t i = 0; i < count; i++)
            if (row[0] && *ret_count < count && strcasecmp(columns[i].name, row[0]) == 0)
                key[(*ret_count)++] = (uint32_t)i;
    return true;
}

bool my_table_read(const Mysql *mysql, MYSQL *connection, const Patience *patience,
                   const SourceTable *source, MyKnown **ret, Error *err)
{
    *ret = NULL;
    AUTO(mem_free) char *schema = my_literal(source->schema_name);
    AUTO(mem_free) char *table = my_literal(source->table_name);
    AUTO(mem_free)
    char *sql = mem_format("SELECT column_name, column_type, coalesce(character_set_name, ''), "
                           "is_nullable FROM information_schema.columns WHERE table_schema = %s "
                           "AND table_name = %s ORDER BY ordinal_position",
                           schema, table);
    AUTO(my_result_free) MYSQL_RES *result = my_query(connection, patience, sql, err);
    if (!result)
        return false;
    size_t count = mysql_num_rows(result), key_count;
    if (!count)
        return true;
    AUTO(mem_free) KnownColumn *columns = mem_array(count, sizeof *columns);
    AUTO(mem_free) uint32_t *key = mem_array(count, sizeof *key);
    for (size_t i = 0; i < count; i++) {
        MYSQL_ROW row = mysql_fetch_row(result);
        columns[i] = (KnownColumn){.name = row[0],
                                   .type = row[1],
                                   .charset = row[2],
                                   .required = strcmp(row[3], "NO") == 0};
    }
    if (!read_key(connection, patience, schema, table, columns, count, key, &key_count, err))
        return false;
    *ret = known_new(source->schema_name, source->table_name, columns, count, key, key_count,
                     &mysql->charsets, err);
    return *ret != NULL;
}

/* What was handed out may still be held: it lives as long as the table. */
static void retire(MyTable *table)
{
    if (!table->source->schema)
        return;
    table->old = mem_regrow(table->old, table->old_count + 1, sizeof *table->old);
    table->old[table->old_count++] =
        (MyShape){TAKE(table->source->schema), TAKE(table->source->shape)};
}

/* The type that the resource gives the field. */
static bool ask_type(Mysql *mysql, const MyTable *table, const MyKnown *known, Schema *schema,
                     const ColumnSpec *column, Error *err)
{
    int at = schema_find(schema, column->name);
    Type wanted, type;
    MyDecoder decoder;
    const char *why;
    if (at < 0)
        return error_set(err, ERROR_CONFIG, "UnknownColumn",
                         "columns names '%s', which table %s doesn't have", column->name,
                         table->name);
    Field *field = &schema->fields[at];
    char ours[TYPE_NAME_BYTES], theirs[TYPE_NAME_BYTES];
    if (column->doc) {
        free(field->doc);
        field->doc = mem_strdup(column->doc);
    }
    if (!column->type)
        return true;
    if (!type_parse(column->type, &wanted, err))
        return error_wrap(err, "columns, %s", column->name);
    bool ok = my_decoder_choose(&known->map->columns[at], &mysql->charsets, &wanted, &decoder,
                                &type, &why);
    my_decoder_done(&decoder);
    if (ok) {
        type_done(&field->type);
        field->type = type;
        return true;
    }
    type_done(&type);
    return error_set(err, ERROR_CONFIG, "TypeOverride",
                     "columns gives %s of table %s the type %s, but it is %s, of which that can't "
                     "be made without loss or doubt; write string, or leave the type out",
                     column->name, table->name, type_format(&wanted, theirs),
                     type_format(&field->type, ours));
}

bool my_table_take(Mysql *mysql, MyTable *table, MyKnown *taken, Error *err)
{
    AUTO(known_free) MyKnown *known = taken;
    AUTO(schema_free) Schema *schema = rows_schema(known->map, &mysql->charsets, err);
    if (!schema)
        return false;
    for (size_t i = 0; i < schema->field_count; i++)
        schema->fields[i].origin = known->origins[i];
    for (size_t i = 0; table->columns && i < table->columns->count; i++)
        if (!ask_type(mysql, table, known, schema, &table->columns->items[i], err))
            return false;
    retire(table);
    known_free(table->known);
    table->known = TAKE(known);
    table->source->schema = TAKE(schema);
    table->source->shape = known_format(table->known);
    table->version++;
    return true;
}

bool my_tables_find(Mysql *mysql, Error *err)
{
    if (!find_tables(mysql, err))
        return false;
    for (size_t i = 0; i < mysql->table_count; i++) {
        MyTable *table = &mysql->tables[i];
        MyKnown *known;
        if (!my_table_read(mysql, mysql->query, &mysql->patience, table->source, &known, err))
            return false;
        if (!known)
            return error_set(err, ERROR_RETRY, "TableRewritten", "table %s is gone by now",
                             table->name);
        if (!my_table_take(mysql, table, known, err))
            return false;
    }
    return my_cascades_find(mysql, err);
}

bool my_table_columns(Capture *capture, uint32_t number, const ColumnList *columns, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    MyTable *table = &mysql->tables[number];
    table->columns = columns;
    MyKnown *known = TAKE(table->known);
    return my_table_take(mysql, table, known, err);
}

/* --- going on --- */

bool my_table_changed(const MyTable *table, Error *err)
{
    atomic_store(&table->source->changed, true);
    return error_set(err, ERROR_RETRY, "ColumnsChanged",
                     "table %s: its columns changed while it was copied; its copy begins anew",
                     table->name);
}

/* Origins are only told apart by the log: what is asked is whether names, types and key are the
 * same. */
bool my_table_equal(const MyKnown *a, const MyKnown *b)
{
    if (a->map->column_count != b->map->column_count || a->map->key_count != b->map->key_count)
        return false;
    for (uint32_t i = 0; i < a->map->column_count; i++)
        if (strcmp(a->map->columns[i].name, b->map->columns[i].name) != 0 ||
            strcmp(a->types[i], b->types[i]) != 0 || strcmp(a->charsets[i], b->charsets[i]) != 0 ||
            a->map->columns[i].nullable != b->map->columns[i].nullable)
            return false;
    return memcmp(a->map->key, b->map->key, a->map->key_count * sizeof *a->map->key) == 0;
}

bool my_table_same(const Capture *capture, uint32_t number, const char *shape)
{
    const Mysql *mysql = (const Mysql *)capture;
    const MyTable *table = &mysql->tables[number];
    AUTO(known_free)
    MyKnown *then = known_parse(shape, table->source->schema_name, table->source->table_name,
                                &mysql->charsets, NULL);
    return then && my_table_equal(then, table->known);
}

bool my_table_resume(Capture *capture, uint32_t number, const char *shape, RowPosition at,
                     Error *err)
{
    Mysql *mysql = mysql_of(capture);
    MyTable *table = &mysql->tables[number];
    table->passed = at;
    table->resumed = true;
    if (!shape || strcmp(shape, table->source->shape) == 0)
        return true;
    MyKnown *then = known_parse(shape, table->source->schema_name, table->source->table_name,
                                &mysql->charsets, err);
    if (!then)
        return false;
    /* A column that the resource names may not have been there, or not have been called so. */
    const ColumnList *columns = table->columns;
    Error why;
    AUTO(mem_free) char *text = known_format(then);
    if (my_table_take(mysql, table, then, &why))
        return true;
    if (strcmp(why.code, "UnknownColumn") != 0) {
        *err = why;
        return false;
    }
    table->columns = NULL;
    then = known_parse(text, table->source->schema_name, table->source->table_name,
                       &mysql->charsets, err);
    bool ok = then && my_table_take(mysql, table, then, err);
    table->columns = columns;
    return ok;
}

void my_table_identify(Capture *capture, uint32_t number, const int32_t *origins, size_t count)
{
    MyTable *table = &mysql_of(capture)->tables[number];
    free(table->ids);
    table->ids = mem_array(count + 1, sizeof *table->ids);
    table->id_count = count;
    if (count)
        memcpy(table->ids, origins, count * sizeof *origins);
}

void my_table_forget(Capture *capture, uint32_t number)
{
    (void)capture; /* no column has parts that could go by themselves */
    (void)number;
}
