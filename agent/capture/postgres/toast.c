/* SELECT the columns FROM the table WHERE the key is the row's, everything binary, over the
 * capture's ordinary connection. What the answer means when the row has changed since: pgoutput.c.
 */
#include "agent/capture/postgres/toast.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "common/bytes.h"
#include "common/mem.h"

#define KEY_COLUMNS_MAX 32 /* PostgreSQL's INDEX_MAX_KEYS */
#define OID_TEXT 25
#define OID_VARCHAR 1043

void toast_done(Toast *toast)
{
    PQclear(TAKE(toast->latest));
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static void put_identifier(Bytes *to, const char *name)
{
    AUTO(mem_free) char *quoted = connect_identifier(name);
    put_text(to, quoted);
}

/* names: what the fields are called now; NULL: as the log called them. Behind the fields stands the
 * key, so that its columns can be told by their numbers, too. */
static void write_sql(const PgTable *table, char *const *names, const uint32_t *fields,
                      size_t count, Bytes *to)
{
    const Schema *schema = table->source->schema;
    put_text(to, "SELECT ");
    for (size_t i = 0; i < count + schema->key_count; i++) {
        uint32_t field = i < count ? fields[i] : schema->key[i - count];
        put_text(to, i ? ", " : "");
        put_identifier(to, names ? names[field] : schema->fields[field].name);
        put_text(to, table->decoders[field].form == FORM_SERVER_TEXT ? "::pg_catalog.text" : "");
    }
    put_text(to, table->partitioned ? " FROM " : " FROM ONLY ");
    put_text(to, table->quoted);
    for (size_t i = 0; i < schema->key_count; i++) {
        char place[32];
        uint32_t field = schema->key[i];
        put_text(to, i ? " AND " : " WHERE ");
        put_identifier(to, names ? names[field] : schema->fields[field].name);
        snprintf(place, sizeof place, " = $%zu", i + 1);
        put_text(to, place);
    }
    bytes_put_u8(to, 0);
}

static bool same_bytes(uint32_t a, uint32_t b)
{
    bool texts = (a == OID_TEXT || a == OID_VARCHAR) && (b == OID_TEXT || b == OID_VARCHAR);
    return a == b || texts;
}

static bool take_values(const PgTable *table, PGresult *result, PgValue *values,
                        const uint32_t *fields, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        int column = (int)i;
        const PgDecoder *decoder = &table->decoders[fields[i]];
        if (decoder->form != FORM_SERVER_TEXT &&
            !same_bytes(PQftype(result, column), decoder->base_oid))
            return error_set(err, ERROR_CONFIG, "SchemaUndecided",
                             "table %s column %s has changed its type since, and a value that the "
                             "log leaves out can't be fetched as it was; load the table again "
                             "with --resnapshot %s",
                             table->name, table->source->schema->fields[fields[i]].name,
                             table->name);
        values[fields[i]] = PQgetisnull(result, 0, column)
                                ? (PgValue){.kind = 'n'}
                                : (PgValue){.at = (const uint8_t *)PQgetvalue(result, 0, column),
                                            .bytes = (uint32_t)PQgetlength(result, 0, column),
                                            .kind = 'b'};
    }
    return true;
}

/* Names may have changed, or have been given to other columns, since the log used them: was every
 * column of the answer the one that is meant? */
static bool is_meant(const PgTable *table, const PGresult *result, const uint32_t *fields,
                     size_t count)
{
    const Schema *schema = table->source->schema;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return true;
    for (size_t i = 0; i < count + schema->key_count; i++) {
        uint32_t field = i < count ? fields[i] : schema->key[i - count];
        int number = PQftablecol(result, (int)i); /* 0: an expression */
        if (number && schema->fields[field].origin && number != schema->fields[field].origin)
            return false;
    }
    return true;
}

static bool lacks_column(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state && strcmp(state, "42703") == 0;
}

/* What the fields are called now; NULL for those that are dropped. */
static bool names_now(PGconn *connection, const PgTable *table, char **names, Error *err)
{
    const Schema *schema = table->source->schema;
    AUTO(mem_free)
    char *sql = mem_format("SELECT attnum, attname FROM pg_catalog.pg_attribute WHERE attrelid = "
                           "%" PRIu32 " AND attnum > 0 AND NOT attisdropped",
                           table->oid);
    AUTO(result_clear) PGresult *result = connect_query(connection, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return false;
    for (int row = 0; row < PQntuples(result); row++)
        for (size_t i = 0; i < schema->field_count; i++)
            if (schema->fields[i].origin == strtol(PQgetvalue(result, row, 0), NULL, 10))
                names[i] = mem_strdup(PQgetvalue(result, row, 1));
    return true;
}

typedef struct Key {
    Oid types[KEY_COLUMNS_MAX];
    const char *values[KEY_COLUMNS_MAX];
    int lengths[KEY_COLUMNS_MAX], formats[KEY_COLUMNS_MAX];
    int count;
} Key;

static bool ask(Toast *toast, const PgTable *table, char *const *names, const Key *key,
                const uint32_t *fields, size_t count, Error *err)
{
    AUTO(text_done) Bytes sql = {0};
    write_sql(table, names, fields, count, &sql);
    toast_done(toast);
    toast->reads++;
    toast->latest = connect_ask(toast->postgres->query, (const char *)sql.data, key->count,
                                key->types, key->values, key->lengths, key->formats, err);
    return toast->latest != NULL;
}

/* By what the columns are called now. A value of a column that is dropped by now is null: nobody
 * has it any more. */
static bool ask_again(Toast *toast, const PgTable *table, const Key *key, PgValue *values,
                      const uint32_t *fields, size_t *count, uint32_t *left, Error *err)
{
    size_t field_count = table->source->schema->field_count, there = 0;
    char **names = mem_array(field_count, sizeof *names);
    bool ok = names_now(toast->postgres->query, table, names, err);
    for (size_t i = 0; ok && i < *count; i++)
        if (names[fields[i]])
            left[there++] = fields[i];
        else
            values[fields[i]] = (PgValue){.kind = 'n'};
    for (size_t i = 0; ok && i < table->source->schema->key_count; i++)
        ok = names[table->source->schema->key[i]] ||
             error_set(err, ERROR_CONFIG, "SchemaUndecided",
                       "table %s has lost its key since, and a value that the log leaves out can't "
                       "be fetched; load the table again with --resnapshot %s",
                       table->name, table->name);
    *count = there;
    ok = ok && ask(toast, table, names, key, left, there, err);
    for (size_t i = 0; i < field_count; i++)
        free(names[i]);
    free(names);
    return ok;
}

bool toast_fetch(void *context, const PgTable *table, PgValue *values, const uint32_t *fields,
                 size_t count, bool *ret_found, Error *err)
{
    Toast *toast = context;
    const Schema *schema = table->source->schema;
    ASSERT(schema->key_count && schema->key_count <= KEY_COLUMNS_MAX);
    Key key = {.count = (int)schema->key_count};
    for (size_t i = 0; i < schema->key_count; i++) {
        const PgValue *value = &values[schema->key[i]];
        key.types[i] = table->decoders[schema->key[i]].type_oid;
        key.values[i] = (const char *)value->at;
        key.lengths[i] = (int)value->bytes;
        key.formats[i] = 1;
    }
    if (!postgres_query_open(toast->postgres, err) ||
        !ask(toast, table, NULL, &key, fields, count, err))
        return false;
    AUTO(mem_free) uint32_t *left = NULL;
    if (UNLIKELY(lacks_column(toast->latest) || !is_meant(table, toast->latest, fields, count))) {
        left = mem_array(count, sizeof *left);
        if (!ask_again(toast, table, &key, values, fields, &count, left, err))
            return false;
        fields = left;
    }
    if (!connect_check(toast->postgres->query, toast->latest, PGRES_TUPLES_OK, err))
        return error_wrap(err, "table %s: fetching values that an update left out", table->name);
    if (!is_meant(table, toast->latest, fields, count))
        return error_set(err, ERROR_RETRY, "SchemaMoves",
                         "table %s: its columns change while values are fetched", table->name);
    *ret_found = PQntuples(toast->latest) == 1;
    return !*ret_found || take_values(table, toast->latest, values, fields, count, err);
}
