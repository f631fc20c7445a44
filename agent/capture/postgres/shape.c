/* A table's columns in PostgreSQL's own words, to be kept beside the table they fill and to go on
 * from after a restart:
 *
 *   {"oid": 16400, "filenode": "16412", "last": 1, "key": [1],
 *    "columns": [[1, "id", 20, -1, true, "long"], …]}
 *
 * per column: number (attnum), name, type oid, typmod, NOT NULL, and the type it has in the lake;
 * and, where columns are made of composites, "types": these (composites.h).
 * The filenode tells whether the table's rows were rewritten since; what is not among the columns
 * and not behind the number `last` was dropped before. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/learn.h"
#include "common/json/text.h"
#include "common/mem.h"

void table_write_shape(PgTable *table)
{
    const Schema *schema = table->source->schema;
    json_t *key = json_array(), *columns = json_array();
    for (size_t i = 0; i < schema->key_count; i++)
        json_array_append_new(key, json_integer(schema->fields[schema->key[i]].origin));
    for (size_t i = 0; i < schema->field_count; i++) {
        const Field *field = &schema->fields[i];
        char type[TYPE_NAME_BYTES];
        json_array_append_new(columns, json_pack("[i,s,I,i,b,s]", field->origin, field->name,
                                                 (json_int_t)table->decoders[i].type_oid,
                                                 table->decoders[i].typmod, field->required,
                                                 type_format(&field->type, type)));
    }
    json_t *json =
        json_pack("{s:I,s:s,s:i,s:o,s:o}", "oid", (json_int_t)table->oid, "filenode",
                  table->filenode, "last", table->last_number, "key", key, "columns", columns);
    ASSERT(json);
    if (table->composites.count)
        json_object_set_new(json, "types", composites_to_json(&table->composites));
    free(table->source->shape);
    table->source->shape = json_text(json, JSON_COMPACT);
    json_decref(json);
}

/* What was handed out may still be held: it lives as long as the table. */
void table_retire(PgTable *table)
{
    table->old = mem_regrow(table->old, table->old_count + 1, sizeof *table->old);
    table->old[table->old_count++] =
        (PgShape){TAKE(table->source->schema), TAKE(table->source->shape)};
}

void table_relax(PgTable *table, size_t field)
{
    Schema *schema = schema_copy(table->source->schema);
    schema->fields[field].required = false;
    table_retire(table);
    table->source->schema = schema;
    table_write_shape(table);
}

/* ---------- going on from one ---------- */
typedef struct Stored {
    int number, required, typmod;
    const char *name, *type;
    json_int_t oid;
} Stored;

static bool stored_column(json_t *json, Stored *ret)
{
    return json_unpack(json, "[i,s,I,i,b,s]", &ret->number, &ret->name, &ret->oid, &ret->typmod,
                       &ret->required, &ret->type) == 0;
}

static int find_number(const Schema *schema, int32_t number)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].origin == number)
            return (int)i;
    return -1;
}

static bool bad_shape(const PgTable *table, Error *err)
{
    return error_set(err, ERROR_CONFIG, "BadColumns",
                     "table %s: what the lake's table says of its columns can't be read; load it "
                     "again with --resnapshot",
                     table->name);
}

/* A column as it was: what has not changed since, with type and description as found now. */
static bool restore_column(PgTable *table, const PgTypes *types, const Stored *stored, Field *to,
                           PgDecoder *decoder, Error *err)
{
    Schema *now = table->source->schema;
    int at = find_number(now, stored->number);
    to->origin = stored->number;
    to->required = stored->required;
    to->name = mem_strdup(stored->name);
    if (at >= 0 && now->fields[at].doc)
        to->doc = mem_strdup(now->fields[at].doc);
    if (at >= 0 && !composites_in(&table->decoders[at]) &&
        table->decoders[at].type_oid == (uint32_t)stored->oid &&
        decoder_same_typmod(&table->decoders[at], stored->typmod)) {
        *decoder = table->decoders[at];
        table->decoders[at] = (PgDecoder){0};
        Field copy;
        field_copy(&copy, &now->fields[at]);
        to->type = copy.type;
        copy.type = (Type){0};
        field_done(&copy);
        decoder->typmod = stored->typmod;
        return true;
    }
    if (!decoder_choose(types, (uint32_t)stored->oid, stored->typmod, decoder, &to->type))
        return error_set(err, ERROR_CONFIG, "SchemaUndecided",
                         "table %s column %s had a type that is gone, so its changes in the log "
                         "can't be read; load the table again with --resnapshot %s",
                         table->name, stored->name, table->name);
    decoder->typmod = stored->typmod;
    char text[TYPE_NAME_BYTES];
    Type wanted;
    Error ignored;
    if (strcmp(type_format(&to->type, text), stored->type) != 0 &&
        type_parse(stored->type, &wanted, &ignored))
        (void)!decoder_override(decoder, &to->type, &wanted); /* the table compares types */
    return true;
}

static bool restore(Postgres *postgres, PgTable *table, json_t *json, Error *err)
{
    json_t *columns = json_object_get(json, "columns"), *key = json_object_get(json, "key");
    size_t count = json_array_size(columns);
    AUTO(mem_free) uint32_t *type_oids = mem_array(count, sizeof *type_oids);
    for (size_t i = 0; i < count; i++) {
        Stored stored;
        if (!stored_column(json_array_get(columns, i), &stored))
            return bad_shape(table, err);
        type_oids[i] = (uint32_t)stored.oid;
    }
    types_done(&table->composites);
    if (!composites_from_json(json_object_get(json, "types"), &table->composites))
        return bad_shape(table, err);
    AUTO(mem_free) char *oids = table_type_oids(table, type_oids, count);
    AUTO(types_done) PgTypes types = {0};
    if (!types_load(&types, postgres->query, oids, err))
        return false;
    composites_put(&types, &table->composites);
    AUTO(schema_free) Schema *schema = schema_new(count, json_array_size(key));
    PgDecoder *decoders = mem_array(count, sizeof *decoders);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        Stored stored;
        ok = stored_column(json_array_get(columns, i), &stored) &&
             restore_column(table, &types, &stored, &schema->fields[i], &decoders[i], err);
    }
    for (size_t i = 0; ok && i < schema->key_count; i++) {
        int at = find_number(schema, (int32_t)json_integer_value(json_array_get(key, i)));
        ok = at >= 0 || bad_shape(table, err);
        schema->key[i] = (uint32_t)at;
    }
    if (!ok) {
        for (size_t i = 0; i < count; i++)
            decoder_done(&decoders[i]);
        free(decoders);
        return false;
    }
    table_take(table, TAKE(schema), decoders);
    table_keep_composites(table, &types, decoders, count);
    return true;
}

bool table_changed(const PgTable *table, Error *err)
{
    atomic_store(&table->source->changed, true);
    return error_set(err, ERROR_RETRY, "ColumnsChanged",
                     "table %s: its columns changed while it was copied; its copy begins anew",
                     table->name);
}

/* Rows that were rewritten have to be read again, every one of them; and they need not be the same:
 * ALTER … USING says nothing of them in the log. (A partitioned table has no rows of its own;
 * plan.c sees to its partitions.) */
bool table_same(const Capture *capture, uint32_t number, const char *shape)
{
    const Postgres *postgres = (const Postgres *)capture;
    ASSERT(number < postgres->table_count);
    static const char *const members[] = {"oid", "filenode", "key", "columns", "types"};
    json_t *then = json_loads(shape, 0, NULL);
    json_t *now = json_loads(postgres->sources[number].shape, 0, NULL);
    bool same = then && now;
    for (size_t i = 0; i < ARRAY_LEN(members) && same; i++) {
        json_t *a = json_object_get(then, members[i]), *b = json_object_get(now, members[i]);
        same = json_equal(a, b) || (!a && !b);
    }
    json_decref(then);
    json_decref(now);
    return same;
}

bool table_resume(Capture *capture, uint32_t number, const char *shape, RowPosition at, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(number < postgres->table_count);
    PgTable *table = &postgres->tables[number];
    table->passed = at;
    table->resumed = true;
    if (!shape || strcmp(shape, table->source->shape) == 0)
        return true;
    json_t *json = json_loads(shape, 0, NULL);
    const char *filenode = json_string_value(json_object_get(json, "filenode"));
    bool ok = filenode && strlen(filenode) < sizeof table->filenode;
    if (!ok)
        (void)bad_shape(table, err);
    else if (json_integer_value(json_object_get(json, "oid")) != table->oid)
        ok = table_replaced(table, err);
    else
        ok = postgres_query_open(postgres, err) && restore(postgres, table, json, err);
    if (ok) {
        table->last_number = (int32_t)json_integer_value(json_object_get(json, "last"));
        snprintf(table->filenode, sizeof table->filenode, "%s", filenode);
        table_write_shape(table);
    }
    json_decref(json);
    return ok;
}
