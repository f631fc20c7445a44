/* SELECT the columns FROM the table WHERE the key is the row's, everything binary, over the
 * capture's ordinary connection. What the answer means when the row has changed since: pgoutput.c.
 */
#include "agent/capture/postgres/toast.h"

#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "common/bytes.h"
#include "common/mem.h"

#define KEY_COLUMNS_MAX 32 /* PostgreSQL's INDEX_MAX_KEYS */

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

static void write_sql(const PgTable *table, const uint32_t *fields, size_t count, Bytes *to)
{
    const Schema *schema = table->source->schema;
    put_text(to, "SELECT ");
    for (size_t i = 0; i < count; i++) {
        put_text(to, i ? ", " : "");
        AUTO(mem_free) char *expression = table_expression(table, fields[i]);
        put_text(to, expression);
    }
    put_text(to, table->partitioned ? " FROM " : " FROM ONLY ");
    put_text(to, table->quoted);
    for (size_t i = 0; i < schema->key_count; i++) {
        char place[32];
        put_text(to, i ? " AND " : " WHERE ");
        put_identifier(to, schema->fields[schema->key[i]].name);
        snprintf(place, sizeof place, " = $%zu", i + 1);
        put_text(to, place);
    }
    bytes_put_u8(to, 0);
}

static bool take_values(const PgTable *table, PGresult *result, PgValue *values,
                        const uint32_t *fields, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        int column = (int)i;
        const PgDecoder *decoder = &table->decoders[fields[i]];
        if (decoder->form != FORM_SERVER_TEXT && PQftype(result, column) != decoder->base_oid)
            return error_set(err, ERROR_CONFIG, "SchemaChanged",
                             "table %s column %s has changed its type since the agent started; "
                             "restart it",
                             table->name, table->source->schema->fields[fields[i]].name);
        values[fields[i]] = PQgetisnull(result, 0, column)
                                ? (PgValue){.kind = 'n'}
                                : (PgValue){.at = (const uint8_t *)PQgetvalue(result, 0, column),
                                            .bytes = (uint32_t)PQgetlength(result, 0, column),
                                            .kind = 'b'};
    }
    return true;
}

bool toast_fetch(void *context, const PgTable *table, PgValue *values, const uint32_t *fields,
                 size_t count, bool *ret_found, Error *err)
{
    Toast *toast = context;
    const Schema *schema = table->source->schema;
    ASSERT(schema->key_count && schema->key_count <= KEY_COLUMNS_MAX);
    Oid types[KEY_COLUMNS_MAX];
    const char *keys[KEY_COLUMNS_MAX];
    int lengths[KEY_COLUMNS_MAX], formats[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < schema->key_count; i++) {
        const PgValue *key = &values[schema->key[i]];
        types[i] = table->decoders[schema->key[i]].type_oid;
        keys[i] = (const char *)key->at;
        lengths[i] = (int)key->bytes;
        formats[i] = 1;
    }
    AUTO(text_done) Bytes sql = {0};
    write_sql(table, fields, count, &sql);
    toast_done(toast);
    if (!postgres_query_open(toast->postgres, err))
        return false;
    PGconn *connection = toast->postgres->query;
    toast->latest = PQexecParams(connection, (const char *)sql.data, (int)schema->key_count, types,
                                 keys, lengths, formats, 1);
    if (!connect_check(connection, toast->latest, PGRES_TUPLES_OK, err))
        return error_wrap(err, "table %s: fetching values that an update left out", table->name);
    *ret_found = PQntuples(toast->latest) == 1;
    return !*ret_found || take_values(table, toast->latest, values, fields, count, err);
}
