/* A Relation message that the table's columns may no longer fit: what the catalog says now, which
 * column is which, and the table made anew from it.
 *
 * What the log does not carry has to come from the catalog. A column that was added with a constant
 * default has it in attmissingval for the rows that were there (PostgreSQL writes none of them).
 * One added with a default that had to be computed row by row made the server rewrite the table,
 * which is not in the log: the file node tells. */
#include "agent/capture/postgres/learn.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/match.h"
#include "agent/capture/postgres/transactions.h"
#include "common/json/text.h"
#include "common/log.h"
#include "common/mem.h"

/* $2: the publication sends stored generated columns. */
static const char catalog_sql[] =
    "SELECT a.attnum, CASE WHEN a.attisdropped THEN NULL ELSE a.attname END, "
    "  a.attisdropped OR a.attgenerated = '' OR (a.attgenerated = 's' AND $2::bool), "
    "  a.atthasdef OR a.attidentity <> '', a.atthasmissing, "
    "  CASE WHEN a.attisdropped THEN '' ELSE "
    "    pg_catalog.format_type(a.atttypid, a.atttypmod) END, "
    "  pg_catalog.col_description(a.attrelid, a.attnum), "
    "  n.nspname || '.' || c.relname, "
    "  coalesce(pg_catalog.pg_relation_filenode(c.oid)::text, ''), a.xmin::text "
    "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE a.attrelid = $1::oid AND a.attnum > 0 ORDER BY a.attnum";

enum {
    NUMBER,
    NAME,
    SENT,
    HAS_DEFAULT,
    HAS_MISSING,
    TYPE_NAME,
    DESCRIPTION,
    TABLE,
    FILENODE,
    XMIN
};

typedef struct Learn {
    Postgres *postgres;
    PgTable *table;
    const Relation *relation;
    PGresult *catalog;    /* no rows: the table is gone by now */
    MatchColumn *columns; /* candidates */
    int *rows;            /* per candidate: its row in the catalog, -1: none */
    size_t column_count;
    uint32_t *place; /* per column of the message: its candidate */
    PgTypes types;
    bool rewritten; /* rows were written anew since the columns were known last */
} Learn;

static void learn_done(Learn *learn)
{
    result_clear(learn->catalog);
    free(learn->columns);
    free(learn->rows);
    free(learn->place);
    types_done(&learn->types);
}

/* ---------- messages ---------- */
bool table_replaced(const PgTable *table, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SourceTableReplaced",
                     "table %s was dropped and made anew at the source; load it again with "
                     "--resnapshot %s, or exclude it",
                     table->name, table->name);
}

static bool incompatible(const PgTable *table, const char *column, const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SchemaIncompatible",
                     "table %s column %s: %s. Nothing is lost: the slot keeps the changes. Load "
                     "the table again with --resnapshot %s, or exclude it",
                     table->name, column, what, table->name);
}

bool table_renamed(const PgTable *table, const char *name, Error *err)
{
    return error_set(err, ERROR_CONFIG, "TableRenamed",
                     "table %s is called %s now; name it so in source.tables and in the "
                     "IngestionUnit's connectorRef, and start again: it goes on where it stands",
                     table->name, name);
}

/* ---------- which column is which ---------- */
static int find_number(const Schema *schema, int32_t number)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].origin == number)
            return (int)i;
    return -1;
}

static const char *text_at(const Learn *learn, int row, int column)
{
    return PQgetvalue(learn->catalog, row, column);
}

/* NULL where the catalog has null: the name of a dropped column, a comment that is none. */
static const char *maybe_at(const Learn *learn, int row, int column)
{
    return PQgetisnull(learn->catalog, row, column) ? NULL : text_at(learn, row, column);
}

static bool read_catalog(Learn *learn, Error *err)
{
    PgTable *table = learn->table;
    char oid[16];
    snprintf(oid, sizeof oid, "%" PRIu32, table->oid);
    const char *values[] = {oid, table->sends_stored ? "t" : "f"};
    if (!postgres_query_open(learn->postgres, err) ||
        !transactions_seen(learn->postgres, &table->xid, 1, err))
        return error_wrap(err, "table %s", table->name);
    learn->catalog =
        connect_query_with(learn->postgres->query, PGRES_TUPLES_OK, catalog_sql, 2, values, err);
    if (!learn->catalog)
        return error_wrap(err, "table %s", table->name);
    if (!PQntuples(learn->catalog))
        return true;
    const char *name = text_at(learn, 0, TABLE), *filenode = text_at(learn, 0, FILENODE);
    if (strcmp(name, table->name) != 0)
        return table_renamed(table, name, err);
    learn->rewritten = strcmp(filenode, table->filenode) != 0;
    return true;
}

#define XID_FIRST 3 /* the lower ones are older than all */

static int since(const Learn *learn, int row)
{
    uint32_t changed = (uint32_t)strtoul(text_at(learn, row, XMIN), NULL, 10);
    int32_t later = (int32_t)(learn->table->xid - changed);
    return changed < XID_FIRST || later > 0 ? 1 : later < 0 ? -1 : 0;
}

/* The columns known last, and those that are younger. */
static void list_candidates(Learn *learn)
{
    const Schema *before = learn->table->source->schema;
    int rows = PQntuples(learn->catalog);
    size_t most = before->field_count + (size_t)rows;
    learn->columns = mem_array(most, sizeof *learn->columns);
    learn->rows = mem_array(most, sizeof *learn->rows);
    int32_t last = learn->table->last_number;
    for (size_t i = 0; i < before->field_count; i++) {
        int32_t number = before->fields[i].origin;
        last = number > last ? number : last;
        int row = 0;
        while (row < rows && strtol(text_at(learn, row, NUMBER), NULL, 10) != number)
            row++;
        learn->rows[learn->column_count] = row < rows ? row : -1;
        learn->columns[learn->column_count++] =
            (MatchColumn){.number = number,
                          .before = before->fields[i].name,
                          .type = learn->table->decoders[i].type_oid,
                          .now = row < rows ? maybe_at(learn, row, NAME) : NULL,
                          .since = row < rows ? since(learn, row) : 0};
    }
    for (int row = 0; row < rows; row++) {
        int32_t number = (int32_t)strtol(text_at(learn, row, NUMBER), NULL, 10);
        if (number <= last || text_at(learn, row, SENT)[0] != 't')
            continue;
        learn->rows[learn->column_count] = row;
        learn->columns[learn->column_count++] = (MatchColumn){
            .number = number, .now = maybe_at(learn, row, NAME), .since = since(learn, row)};
    }
}

static bool match(Learn *learn, Error *err)
{
    const Relation *relation = learn->relation;
    const char **names = mem_array(relation->column_count, sizeof *names);
    AUTO(mem_free) uint32_t *types = mem_array(relation->column_count, sizeof *types);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        names[i] = relation->columns[i].name;
        types[i] = relation->columns[i].type_oid;
    }
    learn->place = mem_array(relation->column_count, sizeof *learn->place);
    MatchResult result = match_columns(learn->columns, learn->column_count, names, types,
                                       relation->column_count, learn->place);
    free(names);
    if (result == MATCH_ONE)
        return true;
    return table_undecided(
        learn->table,
        result == MATCH_NONE
            ? "the log does not carry all of them (does the publication have a column "
              "list?)"
            : "the catalog has gone on since, so that which of them are the same can't "
              "be told",
        err);
}

/* ---------- what a column was before it was there ---------- */
static bool is_plain_time(const char *text)
{
    return isdigit((unsigned char)text[0]) && !strstr(text, "BC") && strncmp(text, "24:", 3) != 0 &&
           strcspn(text, "-:") <= 4;
}

/* A value in Iceberg's JSON form; NULL: it has none, or none that is sure to be read back. */
static json_t *single_value(const Type *type, const char *text)
{
    char *end = NULL;
    json_t *value = NULL;
    switch (type->kind) {
    case TYPE_BOOL:
        return json_boolean(text[0] == 't');
    case TYPE_INT32:
    case TYPE_INT64:
        value = json_integer(strtoll(text, &end, 10));
        break;
    case TYPE_FLOAT32:
    case TYPE_FLOAT64:
        value = json_real(strtod(text, &end)); /* NULL for NaN and infinities */
        break;
    case TYPE_DATE:
        return is_plain_time(text) ? json_string(text) : NULL;
    case TYPE_TIME:
        return is_plain_time(text) ? json_string(text) : NULL;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ: {
        if (!is_plain_time(text))
            return NULL;
        AUTO(mem_free)
        char *iso = mem_format("%s%s", text, type->kind == TYPE_TIMESTAMPTZ ? "+00:00" : "");
        char *space = strchr(iso, ' ');
        if (space)
            *space = 'T';
        return json_string(iso);
    }
    case TYPE_BINARY:
        return strncmp(text, "\\x", 2) == 0 ? json_string(text + 2) : NULL;
    case TYPE_DECIMAL:
    case TYPE_STRING:
    case TYPE_UUID:
        return json_string(text);
    default:
        return NULL;
    }
    if (end && *end) {
        json_decref(value);
        return NULL;
    }
    return value;
}

/* The default that rows have which were there before: constant, and kept in the catalog. */
static bool fetch_missing(Learn *learn, uint32_t oid, const char *number, int row, Field *field,
                          Error *err)
{
    const PgTable *table = learn->table;
    const char *zone = field->type.kind == TYPE_TIMESTAMPTZ ? " AT TIME ZONE 'UTC'" : "";
    AUTO(mem_free)
    char *sql = mem_format("SELECT ((attmissingval::pg_catalog.text::%s[])[1])%s "
                           "FROM pg_catalog.pg_attribute WHERE attrelid = %" PRIu32
                           " AND attnum = %s AND atthasmissing",
                           text_at(learn, row, TYPE_NAME), zone, oid, number);
    AUTO(result_clear)
    PGresult *result = connect_query(learn->postgres->query, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return error_wrap(err, "table %s column %s: its default", table->name, field->name);
    json_t *value = PQntuples(result) && !PQgetisnull(result, 0, 0)
                        ? single_value(&field->type, PQgetvalue(result, 0, 0))
                        : NULL;
    if (!value)
        return incompatible(table, field->name,
                            "it was added with a default that the lake's table can't have for the "
                            "rows that were there",
                            err);
    field->initial = json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    json_decref(value);
    return true;
}

/* A partitioned table keeps no such default: its partitions do, those that were there when the
 * column came, and were not rewritten since. *ret_found: it is known. */
static const char partitions_sql[] =
    "SELECT count(*), count(*) FILTER (WHERE a.atthasmissing), "
    "  count(DISTINCT a.attmissingval::pg_catalog.text), "
    "  min(a.attrelid) FILTER (WHERE a.atthasmissing), "
    "  (min(ARRAY[a.attrelid::int8, a.attnum]) FILTER (WHERE a.atthasmissing))[2] "
    "FROM " LEAVES_SQL(
        "$1::oid") " t JOIN pg_catalog.pg_attribute a "
                   "  ON a.attrelid = t.oid AND a.attname = $2 AND NOT a.attisdropped";

static bool find_in_partitions(Learn *learn, int row, Field *field, bool *ret_found, Error *err)
{
    char oid[16];
    snprintf(oid, sizeof oid, "%" PRIu32, learn->table->oid);
    const char *values[] = {oid, text_at(learn, row, NAME)};
    *ret_found = false;
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(learn->postgres->query, PGRES_TUPLES_OK, partitions_sql, 2, values, err);
    if (!result)
        return error_wrap(err, "table %s", learn->table->name);
    if (strcmp(PQgetvalue(result, 0, 0), "0") == 0) { /* no partitions, so no rows */
        *ret_found = true;
        return true;
    }
    if (strcmp(PQgetvalue(result, 0, 1), "0") == 0 || strcmp(PQgetvalue(result, 0, 2), "1") != 0)
        return true;
    *ret_found = true;
    return fetch_missing(learn, (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 10),
                         PQgetvalue(result, 0, 4), row, field, err);
}

static bool find_initial(Learn *learn, int row, Field *field, Error *err)
{
    const PgTable *table = learn->table;
    if (row < 0 || !maybe_at(learn, row, NAME)) /* gone again: nobody can compare */
        return true;
    if (table->emptied) /* there are no rows that had it before */
        return true;
    if (text_at(learn, row, HAS_MISSING)[0] == 't')
        return fetch_missing(learn, table->oid, text_at(learn, row, NUMBER), row, field, err);
    if (text_at(learn, row, HAS_DEFAULT)[0] != 't' || (!learn->rewritten && !table->partitioned))
        return true;
    bool found = false;
    if (table->partitioned && (!find_in_partitions(learn, row, field, &found, err) || found))
        return found;
    return incompatible(table, field->name,
                        "it was added with values that the log does not carry, or the table was "
                        "rewritten since",
                        err);
}

/* ---------- the table anew ---------- */
#define OID_INT8 20
#define OID_INT2 21
#define OID_INT4 23
#define OID_TEXT 25
#define OID_FLOAT4 700
#define OID_FLOAT8 701
#define OID_VARCHAR 1043

/* Are values that were there the same in the new type, as the lake has them? */
static bool keeps_values(uint32_t from, uint32_t to)
{
    static const uint32_t pairs[][2] = {{OID_INT2, OID_INT4},     {OID_INT4, OID_INT2},
                                        {OID_INT2, OID_INT8},     {OID_INT4, OID_INT8},
                                        {OID_FLOAT4, OID_FLOAT8}, {OID_TEXT, OID_VARCHAR},
                                        {OID_VARCHAR, OID_TEXT}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pairs[i][0] == from && pairs[i][1] == to)
            return true;
    return from == to;
}

#define OID_TIME 1083
#define OID_TIMESTAMP 1114
#define OID_TIMESTAMPTZ 1184
#define OID_INTERVAL 1186
#define OID_TIMETZ 1266
#define OID_VARBIT 1562
#define OID_NUMERIC 1700

/* The same type with other limits: are the values that were there still the same? Most types are
 * rounded, padded or cut by theirs. */
static bool keeps_values_within(const PgDecoder *known, int32_t from, int32_t to)
{
    uint32_t oid = known->type_oid;
    if (known->form == FORM_ARRAY && known->child_count == 1)
        oid = known->children[0].type_oid;
    switch (oid) {
    case OID_VARCHAR:
        return true;  /* what would be cut is refused */
    case OID_NUMERIC: /* precision and scale */
        return to == -1 || (from >= 4 && to > from && ((from - 4) & 0xffff) == ((to - 4) & 0xffff));
    case OID_TIME:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
    case OID_INTERVAL: /* digits, and of interval fields in the high half */
    case OID_TIMETZ:
    case OID_VARBIT:
        return to == -1 || (from >= 0 && to > from && (to >> 16) == (from >> 16));
    default:
        return false;
    }
}

static bool change_type(Learn *learn, const RelationColumn *column, const PgDecoder *before,
                        const Type *type_before, Field *to, PgDecoder *decoder, Error *err)
{
    const PgTable *table = learn->table;
    Type string = {.kind = TYPE_STRING};
    if (!keeps_values(before->type_oid, column->type_oid))
        return incompatible(table, column->name,
                            "its type is another, and what became of the values that were there "
                            "is not in the log",
                            err);
    if (!decoder_choose(&learn->types, column->type_oid, column->typmod, decoder, &to->type))
        return incompatible(table, column->name, "it has a type that Firn does not read", err);
    if (before->form == FORM_PRINTED && type_before->kind == TYPE_STRING)
        (void)!decoder_override(decoder, &to->type, &string);
    return true;
}

static bool make_column(Learn *learn, uint16_t at, Field *to, PgDecoder *decoder, Error *err)
{
    PgTable *table = learn->table;
    Schema *before = table->source->schema;
    const RelationColumn *column = &learn->relation->columns[at];
    uint32_t place = learn->place[at];
    int row = learn->rows[place], old = find_number(before, learn->columns[place].number);
    const char *description = row >= 0 ? maybe_at(learn, row, DESCRIPTION) : NULL;
    if (old >= 0) {
        PgDecoder *known = &table->decoders[old];
        field_copy(to, &before->fields[old]);
        free(to->name);
        to->name = mem_strdup(column->name);
        if (known->type_oid == column->type_oid && known->typmod != column->typmod &&
            !keeps_values_within(known, known->typmod, column->typmod))
            return incompatible(table, column->name,
                                "its type has other limits, and what became of the values that "
                                "were there is not in the log",
                                err);
        if (known->type_oid == column->type_oid && decoder_same_typmod(known, column->typmod)) {
            *decoder = *known;
            *known = (PgDecoder){0};
        } else {
            type_done(&to->type);
            if (!change_type(learn, column, known, &before->fields[old].type, to, decoder, err))
                return false;
        }
    } else {
        *to = (Field){.name = mem_strdup(column->name), .origin = learn->columns[place].number};
        if (!decoder_choose(&learn->types, column->type_oid, column->typmod, decoder, &to->type))
            return incompatible(table, column->name, "it has a type that Firn does not read", err);
        if (!find_initial(learn, row, to, err))
            return false;
    }
    decoder->typmod = column->typmod;
    if (old < 0)
        to->doc = decoder_doc(decoder, column->typmod, description);
    return true;
}

/* The key in the order it had, if its columns are the same. */
static void make_key(const Learn *learn, Schema *schema)
{
    const Relation *relation = learn->relation;
    const Schema *before = learn->table->source->schema;
    size_t count = 0, kept = 0;
    free(schema->key);
    schema->key = mem_array(relation->column_count + before->key_count, sizeof *schema->key);
    for (size_t i = 0; i < before->key_count; i++) {
        int at = find_number(schema, before->fields[before->key[i]].origin);
        if (at >= 0 && (relation->columns[at].flags & RELATION_COLUMN_IS_KEY))
            schema->key[kept++] = (uint32_t)at;
    }
    for (size_t i = 0; i < schema->field_count; i++)
        count += (relation->columns[i].flags & RELATION_COLUMN_IS_KEY) != 0;
    schema->key_count = kept;
    if (relation->identity == 'f' || kept == count)
        return;
    schema->key_count = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        if (relation->columns[i].flags & RELATION_COLUMN_IS_KEY)
            schema->key[schema->key_count++] = (uint32_t)i;
}

void table_take(PgTable *table, Schema *schema, PgDecoder *decoders)
{
    size_t before = table->source->schema->field_count;
    for (size_t i = 0; i < before; i++)
        decoder_done(&table->decoders[i]);
    free(table->decoders);
    table_retire(table);
    table->source->schema = schema;
    table->decoders = decoders;
}

static bool load_types(Learn *learn, Error *err)
{
    size_t count = learn->relation->column_count;
    AUTO(mem_free) uint32_t *columns = mem_array(count, sizeof *columns);
    for (size_t i = 0; i < count; i++)
        columns[i] = learn->relation->columns[i].type_oid;
    AUTO(mem_free) char *oids = table_type_oids(learn->table, columns, count);
    if (!types_load(&learn->types, learn->postgres->query, oids, err))
        return false;
    composites_put(&learn->types, &learn->table->composites);
    return true;
}

static bool make_table(Learn *learn, Error *err)
{
    uint16_t count = learn->relation->column_count;
    if (!load_types(learn, err))
        return false;
    AUTO(schema_free) Schema *schema = schema_new(count, 0);
    PgDecoder *decoders = mem_array(count, sizeof *decoders);
    for (uint16_t i = 0; i < count; i++)
        if (!make_column(learn, i, &schema->fields[i], &decoders[i], err)) {
            for (size_t d = 0; d <= i; d++)
                decoder_done(&decoders[d]);
            free(decoders);
            return false;
        }
    make_key(learn, schema);
    for (uint16_t i = 0; i < count; i++)
        if (schema->fields[i].origin > learn->table->last_number)
            learn->table->last_number = schema->fields[i].origin;
    table_take(learn->table, TAKE(schema), decoders);
    table_keep_composites(learn->table, &learn->types, decoders, count);
    return true;
}

/* Is the message what is known already, column by column? */
static bool is_known(const Learn *learn)
{
    const PgTable *table = learn->table;
    const Schema *schema = table->source->schema;
    const Relation *relation = learn->relation;
    if (relation->column_count != schema->field_count)
        return false;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const RelationColumn *column = &relation->columns[i];
        const PgDecoder *decoder = &table->decoders[i];
        if (learn->columns[learn->place[i]].number != schema->fields[i].origin ||
            strcmp(column->name, schema->fields[i].name) != 0 ||
            column->type_oid != decoder->type_oid || column->typmod != decoder->typmod ||
            (relation->identity != 'f' &&
             table_is_key(table, i) != ((column->flags & RELATION_COLUMN_IS_KEY) != 0)))
            return false;
    }
    return true;
}

/* Rows were rewritten while the table had no other columns than those that are known: whatever
 * comes from here on came after that. */
static void forget_rewriting(Learn *learn)
{
    for (size_t i = 0; i < learn->column_count; i++)
        if (!learn->columns[i].before && learn->columns[i].now)
            return;
    snprintf(learn->table->filenode, sizeof learn->table->filenode, "%s",
             text_at(learn, 0, FILENODE));
}

bool table_learn(void *context, PgTable *table, const Relation *relation, bool *ret_changed,
                 Error *err)
{
    Learn learn = {.postgres = context, .table = table, .relation = relation};
    bool copying = atomic_load(&table->copying);
    *ret_changed = false;
    bool ok = relation->oid == table->oid ||
              (copying ? table_changed(table, err) : table_replaced(table, err));
    ok = ok && read_catalog(&learn, err);
    if (ok) {
        list_candidates(&learn);
        ok = match(&learn, err) || (copying && table_changed(table, err));
    }
    if (ok && copying) {
        ok = is_known(&learn) || table_changed(table, err);
    } else if (ok && is_known(&learn) && PQntuples(learn.catalog)) {
        forget_rewriting(&learn);
    } else if (ok && !is_known(&learn)) {
        ok = make_table(&learn, err);
        *ret_changed = ok;
        if (ok) {
            if (PQntuples(learn.catalog))
                snprintf(table->filenode, sizeof table->filenode, "%s",
                         text_at(&learn, 0, FILENODE));
            table_write_shape(table);
            log_info("the source's table has other columns from here on",
                     LOG_T("table", table->name));
        }
    }
    learn_done(&learn);
    return ok;
}
