/* Composite types of a table's columns that were altered: composites.h says which attribute is
 * which; here is where that is asked, and the table made anew from it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/learn.h"
#include "agent/capture/postgres/transactions.h"
#include "common/log.h"
#include "common/mem.h"

bool table_undecided(const PgTable *table, const char *why, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SchemaUndecided",
                     "table %s: its columns changed, and %s. Nothing is lost: the slot keeps the "
                     "changes. Load the table again with --resnapshot %s",
                     table->name, why, table->name);
}

/* ---------- a table's composites ---------- */
char *table_type_oids(const PgTable *table, const uint32_t *oids, size_t count)
{
    AUTO(text_done) Bytes text = {0};
    char oid[16];
    bytes_put_u8(&text, '{');
    for (size_t i = 0; i < count; i++)
        bytes_put(&text, oid, (size_t)snprintf(oid, sizeof oid, "%" PRIu32 ",", oids[i]));
    for (size_t i = 0; i < table->composites.count; i++)
        for (uint32_t k = 0; k < table->composites.types[i].attribute_count; k++)
            bytes_put(&text, oid,
                      (size_t)snprintf(oid, sizeof oid, "%" PRIu32 ",",
                                       table->composites.types[i].attributes[k].oid));
    if (text.used > 1)
        text.used--;
    bytes_put(&text, "}", 2);
    return mem_strdup((const char *)text.data);
}

/* And those of the values, if there are any. */
static bool load_types(Postgres *postgres, const PgTable *table, const CompositeSeen *seen,
                       PgTypes *ret, Error *err)
{
    size_t columns = table->source->schema->field_count, count = columns + (seen ? seen->count : 0);
    AUTO(mem_free) uint32_t *types = mem_array(count, sizeof *types);
    for (size_t i = 0; i < count; i++)
        types[i] = i < columns ? table->decoders[i].type_oid : seen->oids[i - columns];
    AUTO(mem_free) char *oids = table_type_oids(table, types, count);
    return postgres_query_open(postgres, err) && types_load(ret, postgres->query, oids, err);
}

void table_keep_composites(PgTable *table, const PgTypes *types, const PgDecoder *decoders,
                           size_t count)
{
    PgTypes known = {0};
    /* what it knows already goes first; but only as far as the columns still have it */
    PgTypes all = {0};
    for (size_t i = 0; i < count; i++)
        composites_add(&all, types, &decoders[i]);
    composites_put(&all, &table->composites);
    for (size_t i = 0; i < count; i++)
        composites_add(&known, &all, &decoders[i]);
    types_done(&all);
    types_done(&table->composites);
    table->composites = known;
}

/* Types with their composites as known: the table's columns made from them. */
static bool rebuild(PgTable *table, const PgTypes *types, Error *err)
{
    const Schema *before = table->source->schema;
    size_t count = before->field_count;
    AUTO(schema_free) Schema *schema = schema_copy(before);
    PgDecoder *decoders = mem_array(count, sizeof *decoders);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        const PgDecoder *known = &table->decoders[i];
        Type type = {0}, string = {.kind = TYPE_STRING};
        if (!composites_in(known))
            continue;
        ok = decoder_choose(types, known->type_oid, known->typmod, &decoders[i], &type) ||
             error_set(err, ERROR_CONFIG, "SchemaIncompatible",
                       "table %s column %s: its type has an attribute of a type that Firn does not "
                       "read, or that is gone. Nothing is lost: the slot keeps the changes. Load "
                       "the table again with --resnapshot %s, or exclude it",
                       table->name, before->fields[i].name, table->name);
        decoders[i].typmod = known->typmod;
        if (ok && known->form == FORM_PRINTED)
            (void)!decoder_override(&decoders[i], &type, &string);
        type_done(&schema->fields[i].type);
        schema->fields[i].type = type;
    }
    if (!ok) {
        for (size_t i = 0; i < count; i++)
            decoder_done(&decoders[i]);
        free(decoders);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!composites_in(&table->decoders[i])) {
            decoders[i] = table->decoders[i];
            table->decoders[i] = (PgDecoder){0};
        }
    table_take(table, TAKE(schema), decoders);
    table_keep_composites(table, types, decoders, count); /* with those of new attributes */
    table_write_shape(table);
    return true;
}

static const char several[] =
    "an attribute of a composite type was dropped and another of its type "
    "added, so that which of them a value has can't be told";

/* Every composite, as the values had it until now, against the catalog. */
static void check(PgTable *table, const PgTypes *now, bool *ret_renamed)
{
    table->doubtful = *ret_renamed = false;
    for (size_t i = 0; i < table->composites.count; i++) {
        PgType *known = &table->composites.types[i];
        CompositeMatch match = composite_check(known, now);
        table->doubtful |= match == COMPOSITE_SEVERAL || match == COMPOSITE_NONE;
        *ret_renamed |= match == COMPOSITE_CHANGED;
    }
}

bool table_retype(void *context, PgTable *table, const CompositeSeen *seen, Error *err)
{
    Postgres *postgres = context;
    AUTO(types_done) PgTypes types = {0};
    bool renamed;
    if (!postgres_query_open(postgres, err) || !transactions_seen(postgres, &table->xid, 1, err) ||
        !load_types(postgres, table, seen, &types, err))
        return error_wrap(err, "table %s", table->name);
    PgType *known = NULL;
    for (size_t i = 0; i < table->composites.count; i++)
        if (table->composites.types[i].oid == seen->oid)
            known = &table->composites.types[i];
    check(table, &types, &renamed);
    if (table->doubtful && table->touched)
        return table_undecided(table, several, err);
    CompositeMatch match =
        known ? composite_match(known, &types, seen->oids, seen->count, table->forgets)
              : COMPOSITE_NONE;
    if (match != COMPOSITE_CHANGED)
        return table_undecided(table,
                               match == COMPOSITE_SEVERAL
                                   ? several
                                   : "a composite value has attributes that are neither known nor "
                                     "in the catalog",
                               err);
    check(table, &types, &renamed);
    composites_put(&types, &table->composites);
    if (!rebuild(table, &types, err))
        return false;
    log_info("a composite type of the source's table has other attributes from here on",
             LOG_T("table", table->name));
    return true;
}

/* ---------- before a checkpoint ---------- */
static const char composites_sql[] =
    "SELECT coalesce(pg_catalog.string_agg(t.oid || ':' || a.attnum || ':' || CASE WHEN "
    "    a.attisdropped THEN '' ELSE pg_catalog.quote_ident(a.attname) END, ',' "
    "    ORDER BY t.oid, a.attnum), '') "
    "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid "
    "  AND a.attnum > 0 "
    "WHERE t.oid = ANY ($1::pg_catalog.oid[])";

static char *composite_oids(const Postgres *postgres)
{
    AUTO(text_done) Bytes text = {0};
    char oid[16];
    bytes_put_u8(&text, '{');
    for (size_t i = 0; i < postgres->table_count; i++)
        for (size_t k = 0; k < postgres->tables[i].composites.count; k++)
            bytes_put(&text, oid,
                      (size_t)snprintf(oid, sizeof oid, "%" PRIu32 ",",
                                       postgres->tables[i].composites.types[k].oid));
    if (text.used > 1)
        text.used--;
    bytes_put(&text, "}", 2);
    return mem_strdup((const char *)text.data);
}

/* While a table is copied its types stay as they were found. */
static bool is_as_found(const PgTable *table, const PgTypes *now)
{
    for (size_t i = 0; i < table->composites.count; i++) {
        const PgType *known = &table->composites.types[i];
        const PgType *type = types_find(now, known->oid);
        uint32_t live = 0;
        for (uint32_t k = 0; type && k < type->attribute_count; k++)
            live += !type->attributes[k].dropped;
        if (!type || type->last_number != known->last_number || live != known->attribute_count)
            return false;
    }
    return true;
}

static bool settle_table(Postgres *postgres, PgTable *table, Error *err)
{
    AUTO(types_done) PgTypes types = {0};
    bool renamed;
    if (!load_types(postgres, table, NULL, &types, err))
        return error_wrap(err, "table %s", table->name);
    if (atomic_load(&table->copying))
        return is_as_found(table, &types) || table_changed(table, err);
    check(table, &types, &renamed);
    if (!renamed)
        return true;
    composites_put(&types, &table->composites);
    table->reshaped = true;
    return rebuild(table, &types, err);
}

bool tables_settle(void *context, const uint32_t *xids, size_t xid_count, Error *err)
{
    Postgres *postgres = context;
    AUTO(mem_free) char *oids = composite_oids(postgres);
    const char *values[] = {oids};
    if (!postgres_query_open(postgres, err) || !transactions_seen(postgres, xids, xid_count, err))
        return false;
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, composites_sql, 1, values, err);
    if (!result)
        return false;
    const char *now = PQgetvalue(result, 0, 0);
    bool same = postgres->composites_now && strcmp(postgres->composites_now, now) == 0;
    for (size_t i = 0; i < postgres->table_count; i++) {
        PgTable *table = &postgres->tables[i];
        if (!same && table->composites.count && !settle_table(postgres, table, err))
            return false;
        if (table->touched && table->doubtful)
            return table_undecided(table, several, err);
    }
    if (!same) {
        free(postgres->composites_now);
        postgres->composites_now = mem_strdup(now);
    }
    return true;
}

void tables_forget(Capture *capture, uint32_t number)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(number < postgres->table_count);
    postgres->tables[number].forgets = true;
}

/* ---------- while it is copied ---------- */
/* has_column_privilege is null of a column that there is none: one of the few questions about a
 * type that the server answers by the catalog of now, whatever the transaction's snapshot shows. */
bool tables_check_composites(PGconn *connection, const PgTable *table, Error *err)
{
    for (size_t i = 0; i < table->composites.count; i++) {
        const PgType *type = &table->composites.types[i];
        AUTO(text_done) Bytes sql = {0};
        char text[128];
        static const char begin[] = "SELECT true";
        bytes_put(&sql, begin, sizeof begin - 1);
        for (uint32_t k = 0; k <= type->attribute_count; k++) {
            bool is_known = k < type->attribute_count;
            int32_t number = is_known ? type->attributes[k].number : type->last_number + 1;
            bytes_put(&sql, text,
                      (size_t)snprintf(text, sizeof text,
                                       " AND pg_catalog.has_column_privilege(t.typrelid, "
                                       "%" PRId32 "::int2, 'SELECT') IS %s",
                                       number, is_known ? "NOT NULL" : "NULL"));
        }
        bytes_put(&sql, text,
                  (size_t)snprintf(text, sizeof text,
                                   " FROM pg_catalog.pg_type t WHERE t.oid = %" PRIu32, type->oid));
        bytes_put_u8(&sql, 0);
        AUTO(result_clear)
        PGresult *result = connect_query(connection, PGRES_TUPLES_OK, (const char *)sql.data, err);
        if (!result)
            return false;
        if (PQntuples(result) != 1 || PQgetvalue(result, 0, 0)[0] != 't')
            return table_changed(table, err);
    }
    return true;
}
