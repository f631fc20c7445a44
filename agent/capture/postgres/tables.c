/* The tables that the manifest's patterns choose, as the catalog describes them now.
 *
 * A partitioned table is one table: its partitions are neither found nor streamed on their own (the
 * publication has publish_via_partition_root). Unlogged and temporary tables aren't in the log and
 * are no candidates.
 *
 * Generated columns: virtual ones are in no log, stored ones only since 18, where the publication
 * says so (as the one that Firn makes does). What is not sent is left out of the schema, copy and
 * stream alike, rather than copied once and then stale. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/learn.h"
#include "common/bytes.h"
#include "common/mem.h"

#define TABLES_MAX 100000

static const char tables_sql[] =
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, "
    "  CASE WHEN c.relkind = 'p' THEN p.tuples ELSE greatest(c.reltuples, 0) END::int8, "
    "  CASE WHEN c.relkind = 'p' THEN p.bytes ELSE pg_catalog.pg_table_size(c.oid) END, "
    "  pg_catalog.has_table_privilege(c.oid, 'SELECT') "
    "    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'), "
    "  coalesce(pg_catalog.pg_relation_filenode(c.oid)::text, ''), c.relnatts "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN LATERAL (SELECT sum(greatest(l.reltuples, 0)) AS tuples, "
    "    sum(pg_catalog.pg_table_size(l.oid)) AS bytes "
    "  FROM " LEAVES_SQL("c.oid") " t JOIN pg_catalog.pg_class l ON l.oid = t.oid "
                                  "  WHERE c.relkind = 'p') p ON true "
                                  "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND "
                                  "c.relpersistence = 'p' "
                                  "  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND "
                                  "n.nspname !~ '^pg_toast' "
                                  "ORDER BY n.nspname, c.relname";

/* Is column a in the log? $2: the publication sends stored generated columns. */
#define SENT_SQL "(a.attgenerated = '' OR (a.attgenerated = 's' AND $2::bool))"

/* The key is the primary key, or with REPLICA IDENTITY USING INDEX that index. */
static const char columns_sql[] =
    "SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull, " SENT_SQL ", "
    "  pg_catalog.format_type(a.atttypid, a.atttypmod), "
    "  coalesce(pg_catalog.array_position((pg_catalog.string_to_array(i.indkey::text, ' '))"
    "    [1:i.indnkeyatts], a.attnum::text), 0), a.attgenerated <> '', "
    "  a.attnum, pg_catalog.col_description(a.attrelid, a.attnum) "
    "FROM pg_catalog.pg_attribute a "
    "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid "
    "  AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END "
    "WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY ($1::oid[]) "
    "ORDER BY a.attrelid, a.attnum";

void table_done(PgTable *table)
{
    free(table->name);
    free(table->quoted);
    for (size_t i = 0; table->decoders && i < table->source->schema->field_count; i++)
        decoder_done(&table->decoders[i]);
    free(table->decoders);
    free(table->columns);
    copy_parts_free(table->parts, table->part_count);
    for (char **name = table->generated; name && *name; name++)
        free(*name);
    free(table->generated);
    free(table->source->schema_name);
    free(table->source->table_name);
    free(table->source->left_out);
    free(table->source->shape);
    for (size_t i = 0; i < table->old_count; i++) {
        schema_free(table->old[i].schema);
        free(table->old[i].text);
    }
    free(table->old);
    types_done(&table->composites);
    free(table->ids);
    schema_free(table->source->schema);
}

/* --- messages about a row --- */

void table_describe_key(const PgTable *table, const PgValue *values, char *to, size_t to_bytes)
{
    const Schema *schema = table->source->schema;
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 0; i < schema->key_count && used + 1 < to_bytes; i++) {
        uint32_t field = schema->key[i];
        char text[100] = "(absent)";
        if (values[field].kind == 'b')
            decode_describe(&table->decoders[field], &schema->fields[field].type, values[field].at,
                            values[field].bytes, text, sizeof text);
        int wrote = snprintf(to + used, to_bytes - used, "%s%s=%s", i ? ", " : "",
                             schema->fields[field].name, text);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    if (!schema->key_count)
        snprintf(to, to_bytes, "without a key");
}

bool table_bad_value(const PgTable *table, size_t field, const PgValue *values, const char *why,
                     Error *err)
{
    char key[160];
    table_describe_key(table, values, key, sizeof key);
    return error_set(
        err, ERROR_DATA, "BadValue",
        "table %s column %s: the value %s; row %s; change the value at the source, "
        "give the column the type string (columns in the LakeTable's spec), or exclude "
        "the table (spec.source.tables.exclude)",
        table->name, table->source->schema->fields[field].name, why, key);
}

/* --- choosing --- */

/* A pattern without wildcards names one table: that must be there. */
static bool check_named(const Postgres *postgres, Error *err)
{
    const TextList *include = &postgres->spec->include;
    for (size_t i = 0; i < include->count; i++) {
        bool found = strpbrk(include->texts[i], "*?[") != NULL;
        for (size_t t = 0; t < postgres->table_count && !found; t++)
            found = manifest_pattern_matches(include->texts[i], postgres->tables[t].name);
        if (!found && !manifest_patterns_match(&postgres->spec->exclude, include->texts[i]))
            return error_set(err, ERROR_CONFIG, "TableMissing",
                             "spec.source.tables.include names %s, but database %s has no such "
                             "table (or it is unlogged, a view, or a partition); correct the name",
                             include->texts[i], postgres->spec->database);
    }
    return true;
}

static uint64_t number_at(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

static void take_table(Postgres *postgres, const PGresult *result, int row, char *name)
{
    size_t number = postgres->table_count++;
    SourceTable *source = &postgres->sources[number];
    PgTable *table = &postgres->tables[number];
    *source = (SourceTable){.schema_name = mem_strdup(PQgetvalue(result, row, 1)),
                            .table_name = mem_strdup(PQgetvalue(result, row, 2)),
                            .rows_estimate = number_at(result, row, 5),
                            .bytes_estimate = number_at(result, row, 6)};
    AUTO(mem_free) char *schema_part = connect_identifier(source->schema_name);
    AUTO(mem_free) char *table_part = connect_identifier(source->table_name);
    *table = (PgTable){.source = source,
                       .oid = (uint32_t)number_at(result, row, 0),
                       .name = name,
                       .quoted = mem_format("%s.%s", schema_part, table_part),
                       .partitioned = PQgetvalue(result, row, 3)[0] == 'p',
                       .identity = PQgetvalue(result, row, 4)[0],
                       .last_number = (int32_t)number_at(result, row, 9)};
    snprintf(table->filenode, sizeof table->filenode, "%.15s", PQgetvalue(result, row, 8));
}

static int by_oid(const void *a, const void *b)
{
    const PgTable *const *left = a, *const *right = b;
    return ((*left)->oid > (*right)->oid) - ((*left)->oid < (*right)->oid);
}

static void sort_by_oid(Postgres *postgres)
{
    postgres->by_oid = mem_array(postgres->table_count, sizeof(PgTable *));
    for (size_t i = 0; i < postgres->table_count; i++)
        postgres->by_oid[i] = &postgres->tables[i];
    qsort(postgres->by_oid, postgres->table_count, sizeof(PgTable *), by_oid);
}

PgTable *tables_by_oid(const Postgres *postgres, uint64_t oid)
{
    PgTable wanted = {.oid = (uint32_t)oid};
    const PgTable *key = &wanted;
    PgTable **found =
        bsearch(&key, postgres->by_oid, postgres->table_count, sizeof(PgTable *), by_oid);
    return found ? *found : NULL;
}

static bool find_tables(Postgres *postgres, Error *err)
{
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, tables_sql, err);
    if (!result)
        return false;
    int rows = PQntuples(result);
    if (rows > TABLES_MAX)
        return error_set(err, ERROR_CONFIG, "TooManyTables",
                         "database %s has %d tables, more "
                         "than %d",
                         postgres->spec->database, rows, TABLES_MAX);
    postgres->sources = mem_array((size_t)rows, sizeof *postgres->sources);
    postgres->tables = mem_array((size_t)rows, sizeof *postgres->tables);
    for (int row = 0; row < rows; row++) {
        char *name = mem_format("%s.%s", PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
        if (!manifest_chooses(postgres->spec, name)) {
            free(name);
            continue;
        }
        take_table(postgres, result, row, name);
        if (PQgetvalue(result, row, 7)[0] != 't') {
            const SourceTable *source = &postgres->sources[postgres->table_count - 1];
            return error_set(
                err, ERROR_CONFIG, "PrivilegeMissing",
                "user %s may not read table %s; GRANT USAGE ON SCHEMA \"%s\" TO "
                "\"%s\"; GRANT SELECT ON %s TO \"%s\"",
                postgres->spec->username, name, source->schema_name, postgres->spec->username,
                postgres->tables[postgres->table_count - 1].quoted, postgres->spec->username);
        }
    }
    sort_by_oid(postgres);
    if (!check_named(postgres, err))
        return false;
    if (postgres->table_count == 0)
        return error_set(err, ERROR_CONFIG, "NoTables",
                         "database %s has no table that spec.source.tables chooses; correct "
                         "include and exclude",
                         postgres->spec->database);
    return true;
}

/* $1: the publication; $2: tables may be added to it. */
static const char look_sql[] =
    "SELECT c.oid, n.nspname, c.relname "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' "
    "  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' "
    "  AND (c.relreplident = 'f' OR (c.relreplident <> 'n' AND EXISTS (SELECT FROM "
    "    pg_catalog.pg_index i WHERE i.indrelid = c.oid AND "
    "    CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END))) "
    "  AND ($2::bool OR (n.nspname, c.relname) IN (SELECT t.schemaname, t.tablename FROM "
    "    pg_catalog.pg_publication_tables t WHERE t.pubname = $1))";

bool tables_look(Capture *capture, CaptureFound *found, void *context, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    const ConnectorSpec *spec = postgres->spec;
    const char *values[] = {spec->pg_publication, spec->pg_manage ? "t" : "f"};
    if (!postgres_query_open(postgres, err))
        return false;
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, look_sql, 2, values, err);
    if (!result)
        return false;
    for (int row = 0; row < PQntuples(result); row++) {
        const PgTable *known = tables_by_oid(postgres, number_at(result, row, 0));
        AUTO(mem_free)
        char *name = mem_format("%s.%s", PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
        /* The log goes on under a partitioned table's old name: its partitions are as they were. */
        if (known && known->partitioned && strcmp(known->name, name) != 0)
            return table_renamed(known, name, err);
        if (!known && manifest_chooses(spec, name))
            found(context, name);
    }
    return true;
}

/* --- columns --- */

static bool unsupported(const PgTable *table, const char *column, const char *type, Error *err)
{
    return error_set(err, ERROR_CONFIG, "UnsupportedType",
                     "table %s column %s has type %s, which Firn does not read yet; exclude the "
                     "table (spec.source.tables.exclude), or change the column's type",
                     table->name, column, type);
}

/* Rows first … first + count of columns_sql's answer are this table's. */
static bool take_columns(PgTable *table, const PgTypes *types, const PGresult *result, int first,
                         int count, Error *err)
{
    size_t fields = 0, keys = 0, generated = 0;
    for (int row = first; row < first + count; row++) {
        bool sent = PQgetvalue(result, row, 5)[0] == 't';
        fields += sent;
        generated += !sent;
        keys += sent && number_at(result, row, 7) > 0;
    }
    Schema *schema = table->source->schema = schema_new(fields, keys);
    table->decoders = mem_array(fields, sizeof *table->decoders);
    table->generated = mem_array(generated + 1, sizeof *table->generated);
    size_t field = 0;
    generated = 0;
    for (int row = first; row < first + count; row++) {
        const char *name = PQgetvalue(result, row, 1);
        uint64_t key_place = number_at(result, row, 7);
        if (PQgetvalue(result, row, 5)[0] != 't') {
            if (key_place)
                return error_set(err, ERROR_CONFIG, "UnsupportedKey",
                                 "table %s: key column %s is generated, and PostgreSQL sends such "
                                 "columns since 18 and only where the publication has "
                                 "publish_generated_columns = stored; choose another key with "
                                 "ALTER TABLE %s REPLICA IDENTITY USING INDEX, or exclude the "
                                 "table",
                                 table->name, name, table->quoted);
            table->generated[generated++] = mem_strdup(name);
            continue;
        }
        table->selects = table->selects || PQgetvalue(result, row, 8)[0] == 't';
        Field *to = &schema->fields[field];
        to->name = mem_strdup(name);
        to->required = PQgetvalue(result, row, 4)[0] == 't';
        to->origin = (int32_t)number_at(result, row, 9);
        const char *type_name = PQgetvalue(result, row, 6);
        if (!decoder_choose(types, (uint32_t)number_at(result, row, 2),
                            (int32_t)strtol(PQgetvalue(result, row, 3), NULL, 10),
                            &table->decoders[field], &to->type))
            return unsupported(table, name, type_name, err);
        table->decoders[field].typmod = (int32_t)strtol(PQgetvalue(result, row, 3), NULL, 10);
        to->doc = decoder_doc(&table->decoders[field], table->decoders[field].typmod,
                              PQgetisnull(result, row, 10) ? NULL : PQgetvalue(result, row, 10));
        if (key_place && table->decoders[field].form == FORM_SERVER_TEXT)
            return error_set(err, ERROR_CONFIG, "UnsupportedKey",
                             "table %s: key column %s has type %s, which has no binary form; "
                             "choose another key with ALTER TABLE %s REPLICA IDENTITY USING INDEX, "
                             "or exclude the table",
                             table->name, name, type_name, table->quoted);
        if (key_place && key_place <= keys)
            schema->key[key_place - 1] = (uint32_t)field;
        field++;
    }
    return true;
}

char *table_expression(const PgTable *table, size_t field)
{
    AUTO(mem_free) char *name = connect_identifier(table->source->schema->fields[field].name);
    bool casts = table->decoders[field].form == FORM_SERVER_TEXT;
    return mem_format("%s%s", name, casts ? "::pg_catalog.text" : "");
}

static void list_columns(PgTable *table)
{
    AUTO(text_done) Bytes text = {0};
    const Schema *schema = table->source->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        AUTO(mem_free) char *expression = table_expression(table, i);
        if (i)
            bytes_put(&text, ", ", 2);
        bytes_put(&text, expression, strlen(expression));
        table->selects = table->selects || table->decoders[i].form == FORM_SERVER_TEXT;
    }
    table->columns = mem_strndup(text.data ? (char *)text.data : "", text.used);
}

static char *list_left_out(const PgTable *table)
{
    Bytes text = {0};
    for (char **name = table->generated; name && *name; name++) {
        if (text.used)
            bytes_put(&text, ", ", 2);
        bytes_put(&text, *name, strlen(*name));
    }
    if (text.used)
        bytes_put_u8(&text, 0);
    return (char *)text.data;
}

static bool check_table(const PgTable *table, Error *err)
{
    const Schema *schema = table->source->schema;
    if (schema->field_count == 0)
        return error_set(err, ERROR_CONFIG, "UnsupportedTable",
                         "table %s has no columns that can be read; exclude it", table->name);
    if (table->identity == 'n' && schema->key_count)
        return error_set(err, ERROR_CONFIG, "ReplicaIdentityNothing",
                         "table %s has REPLICA IDENTITY NOTHING, so its updates and deletes can't "
                         "be followed; ALTER TABLE %s REPLICA IDENTITY DEFAULT",
                         table->name, table->quoted);
    return true;
}

/* The rows of columns_sql's answer are in the order of their tables. */
static bool take_tables(Postgres *postgres, const PgTypes *types, const PGresult *result,
                        Error *err)
{
    int rows = PQntuples(result);
    for (int first = 0; first < rows;) {
        uint64_t oid = number_at(result, first, 0);
        int count = 1;
        while (first + count < rows && number_at(result, first + count, 0) == oid)
            count++;
        PgTable *table = tables_by_oid(postgres, oid);
        if (table && !take_columns(table, types, result, first, count, err))
            return false;
        first += count;
    }
    for (size_t i = 0; i < postgres->table_count; i++) {
        PgTable *table = &postgres->tables[i];
        if (!table->source->schema)
            table->source->schema = schema_new(0, 0);
        list_columns(table);
        table_keep_composites(table, types, table->decoders, table->source->schema->field_count);
        table->source->left_out = list_left_out(table);
        table->sends_stored = postgres->sends_stored;
        table_write_shape(table);
        if (!check_table(table, err))
            return false;
    }
    return true;
}

/* Every type that a column has, and what those are made of. */
static bool load_types(Postgres *postgres, const PGresult *result, PgTypes *types, Error *err)
{
    AUTO(text_done) Bytes oids = {0};
    bytes_put_u8(&oids, '{');
    for (int row = 0; row < PQntuples(result); row++) {
        if (row)
            bytes_put_u8(&oids, ',');
        const char *oid = PQgetvalue(result, row, 2);
        bytes_put(&oids, oid, strlen(oid));
    }
    bytes_put(&oids, "}", 2);
    return types_load(types, postgres->query, (const char *)oids.data, err);
}

/* Does the publication, or the one that will be made, send stored generated columns? */
static bool ask_stored(Postgres *postgres, Error *err)
{
    if (postgres->version < VERSION_SENDS_STORED)
        return true;
    const char *values[] = {postgres->spec->pg_publication};
    AUTO(result_clear)
    PGresult *result = connect_query_with(
        postgres->query, PGRES_TUPLES_OK,
        "SELECT pubgencols FROM pg_catalog.pg_publication WHERE pubname = $1", 1, values, err);
    if (!result)
        return false;
    postgres->sends_stored = PQntuples(result) ? PQgetvalue(result, 0, 0)[0] == 's' : true;
    return true;
}

static bool find_columns(Postgres *postgres, Error *err)
{
    AUTO(text_done) Bytes oids = {0};
    for (size_t i = 0; i < postgres->table_count; i++) {
        char text[16];
        int used =
            snprintf(text, sizeof text, "%c%" PRIu32, i ? ',' : '{', postgres->tables[i].oid);
        bytes_put(&oids, text, (size_t)used);
    }
    bytes_put(&oids, "}", 2);
    if (!ask_stored(postgres, err))
        return false;
    const char *values[] = {(const char *)oids.data, postgres->sends_stored ? "t" : "f"};
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, columns_sql, 2, values, err);
    if (!result)
        return false;
    AUTO(types_done) PgTypes types = {0};
    return load_types(postgres, result, &types, err) && take_tables(postgres, &types, result, err);
}

static bool override(PgTable *table, const ColumnSpec *column, Error *err)
{
    Schema *schema = table->source->schema;
    int at = schema_find(schema, column->name);
    Type wanted;
    if (at < 0)
        return error_set(err, ERROR_CONFIG, "UnknownColumn",
                         "columns names '%s', which table %s doesn't have, or not so that it can "
                         "be read",
                         column->name, table->name);
    Field *field = &schema->fields[at];
    char ours[TYPE_NAME_BYTES], theirs[TYPE_NAME_BYTES];
    if (column->type && !type_parse(column->type, &wanted, err))
        return error_wrap(err, "columns, %s", column->name);
    if (column->type && !decoder_override(&table->decoders[at], &field->type, &wanted))
        return error_set(err, ERROR_CONFIG, "TypeOverride",
                         "columns gives %s of table %s the type %s, but it is %s, of which that "
                         "can't be made without loss or doubt; write string (not for money and "
                         "reg* types), another decimal for a numeric, or leave the type out",
                         column->name, table->name, type_format(&wanted, theirs),
                         type_format(&field->type, ours));
    if (column->doc) {
        free(field->doc);
        field->doc = mem_strdup(column->doc);
    }
    return true;
}

bool tables_override(Capture *capture, uint32_t table, const ColumnList *columns, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(table < postgres->table_count);
    for (size_t i = 0; i < columns->count; i++)
        if (!override(&postgres->tables[table], &columns->items[i], err))
            return false;
    table_write_shape(&postgres->tables[table]);
    return true;
}

bool table_is_key(const PgTable *table, size_t field)
{
    const Schema *schema = table->source->schema;
    for (size_t i = 0; i < schema->key_count; i++)
        if (schema->key[i] == field)
            return true;
    return false;
}

bool table_is_identity(const PgTable *table, size_t field)
{
    const Schema *schema = table->source->schema;
    if (!table->id_count)
        return table_is_key(table, field);
    for (size_t i = 0; i < table->id_count; i++)
        if (table->ids[i] == schema->fields[field].origin)
            return true;
    return false;
}

int table_beyond_key(const PgTable *table)
{
    const Schema *schema = table->source->schema;
    for (size_t field = 0; field < schema->field_count; field++)
        if (!table_is_key(table, field) && table_is_identity(table, field))
            return (int)field;
    return -1;
}

void tables_identify(Capture *capture, uint32_t number, const int32_t *origins, size_t count)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(number < postgres->table_count);
    PgTable *table = &postgres->tables[number];
    const Schema *schema = table->source->schema;
    free(TAKE(table->ids));
    table->id_count = 0;
    size_t common = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < schema->key_count; k++)
            common += schema->fields[schema->key[k]].origin == origins[i];
    if (common == count && count == schema->key_count)
        return; /* the key, which may get other columns as well */
    table->ids = mem_array(count, sizeof *table->ids);
    for (size_t i = 0; i < count; i++)
        table->ids[i] = origins[i];
    table->id_count = count;
}

/* Is a column of the answer the field, or one that is left out? */
static bool is_same_column(const PgTable *table, const PGresult *result, int column)
{
    const Schema *schema = table->source->schema;
    const char *name = PQfname(result, column);
    for (size_t i = 0; i < schema->field_count; i++) {
        const PgDecoder *decoder = &table->decoders[i];
        if (schema->fields[i].origin != PQftablecol(result, column))
            continue;
        bool is_domain = decoder->base_oid != decoder->type_oid; /* has its own typmod */
        return strcmp(name, schema->fields[i].name) == 0 &&
               PQftype(result, column) == decoder->base_oid &&
               (is_domain || decoder_same_typmod(decoder, PQfmod(result, column)));
    }
    for (char **left_out = table->generated; left_out && *left_out; left_out++)
        if (strcmp(*left_out, name) == 0)
            return true;
    return false;
}

bool tables_check_columns(PGconn *connection, const PgTable *table, Error *err)
{
    AUTO(mem_free)
    char *sql =
        mem_format("SELECT * FROM %s%s LIMIT 0", table->partitioned ? "" : "ONLY ", table->quoted);
    AUTO(result_clear) PGresult *result = connect_query(connection, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return false;
    size_t columns = (size_t)PQnfields(result), left_out = 0;
    while (table->generated && table->generated[left_out])
        left_out++;
    bool same = columns == table->source->schema->field_count + left_out;
    for (size_t i = 0; i < columns && same; i++)
        same = is_same_column(table, result, (int)i);
    return same || table_changed(table, err);
}

bool tables_find(Postgres *postgres, Error *err)
{
    return find_tables(postgres, err) && find_columns(postgres, err);
}
