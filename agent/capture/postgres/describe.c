/* A table's columns in the server's own words: what a topic's schema tells of their types, which
 * the lake has no need of. Of columns as they were at some place of the log (shape.c) too: types
 * are known by their numbers then, and one that is gone by now has no name. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/postgres.h"
#include "common/mem.h"

#define DEPTH_MAX 32

static const char labels_sql[] =
    "SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = ANY ($1::oid[]) "
    "ORDER BY enumtypid, enumsortorder";

static const char defaults_sql[] =
    "SELECT d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum "
    "WHERE d.adrelid = $1::oid AND a.attgenerated = ''";

typedef struct Describe {
    Arena *arena;
    PgTypes types;
    PGresult *labels;
} Describe;

static const PgType *find_type(const PgTypes *types, uint32_t oid)
{
    for (size_t i = 0; i < types->count; i++)
        if (types->types[i].oid == oid)
            return &types->types[i];
    return NULL;
}

static const char *keep(Arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

static void take_labels(Describe *describe, uint32_t oid, ColumnType *to)
{
    int rows = PQntuples(describe->labels);
    const char **labels = arena_take(describe->arena, (size_t)rows * sizeof *labels + 1);
    for (int row = 0; row < rows; row++)
        if (strtoul(PQgetvalue(describe->labels, row, 0), NULL, 10) == oid)
            labels[to->label_count++] = keep(describe->arena, PQgetvalue(describe->labels, row, 1));
    to->is_enum = true;
    to->labels = labels;
}

static ColumnType describe_type(Describe *describe, uint32_t oid, int32_t modifier, int depth)
{
    const PgType *type = find_type(&describe->types, oid);
    if (!type || depth > DEPTH_MAX)
        return (ColumnType){.name = "", .modifier = modifier};
    if (type->typtype == 'd')
        return describe_type(describe, type->part_oid,
                             type->part_typmod >= 0 ? type->part_typmod : modifier, depth + 1);
    ColumnType to = {.name = keep(describe->arena, type->name), .modifier = modifier};
    if (type->typtype == 'e') {
        take_labels(describe, oid, &to);
    } else if (type->typtype == 'c') {
        ColumnType *children =
            arena_take(describe->arena, (type->attribute_count + (size_t)1) * sizeof *children);
        for (uint32_t i = 0; i < type->attribute_count; i++)
            children[i] = describe_type(describe, type->attributes[i].oid,
                                        type->attributes[i].typmod, depth + 1);
        to.children = children;
        to.child_count = type->attribute_count;
    } else if (type->typtype == 'b') {
        uint32_t element = strcmp(type->name, "int2vector") == 0  ? 21
                           : strcmp(type->name, "oidvector") == 0 ? 26
                                                                  : type->part_oid;
        if (!element)
            return to;
        ColumnType *child = arena_take(describe->arena, sizeof *child);
        *child = describe_type(describe, element, modifier, depth + 1);
        to.children = child;
        to.child_count = 1;
    }
    return to;
}

static bool load(Postgres *postgres, Describe *describe, json_t *columns, Error *err)
{
    AUTO(text_done) Bytes oids = {0};
    bytes_put(&oids, "{21,26", 6); /* of int2vector and oidvector */
    size_t at;
    json_t *column;
    json_array_foreach(columns, at, column)
    {
        char oid[24];
        int used = snprintf(oid, sizeof oid, ",%" PRId64,
                            (int64_t)json_integer_value(json_array_get(column, 2)));
        bytes_put(&oids, oid, (size_t)used);
    }
    bytes_put(&oids, "}", 2);
    if (!types_load(&describe->types, postgres->query, (const char *)oids.data, err))
        return false;
    bytes_clear(&oids);
    bytes_put(&oids, "{", 1);
    for (size_t i = 0; i < describe->types.count; i++) {
        char oid[24];
        int used = snprintf(oid, sizeof oid, "%s%" PRIu32, oids.used > 1 ? "," : "",
                            describe->types.types[i].oid);
        if (describe->types.types[i].typtype == 'e')
            bytes_put(&oids, oid, (size_t)used);
    }
    bytes_put(&oids, "}", 2);
    const char *values[] = {(const char *)oids.data};
    describe->labels =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, labels_sql, 1, values, err);
    return describe->labels != NULL;
}

bool columns_describe(Capture *capture, uint32_t table, const char *shape, Arena *arena,
                      const SourceColumn **ret, Error *err)
{
    (void)table; /* the shape names it */
    Postgres *postgres = postgres_of(capture);
    json_t *json = json_loads(shape, 0, NULL), *columns = json_object_get(json, "columns"), *column;
    SourceColumn *found = arena_take(arena, (json_array_size(columns) + 1) * sizeof *found);
    Describe describe = {.arena = arena};
    ASSERT(json && columns); /* a shape is read by capture_resume first, or is the capture's own */
    AUTO(mem_free)
    char *oid = mem_format("%" PRId64, (int64_t)json_integer_value(json_object_get(json, "oid")));
    const char *values[] = {oid};
    AUTO(result_clear) PGresult *defaults = NULL;
    bool ok = postgres_query_open(postgres, err) && load(postgres, &describe, columns, err);
    if (ok)
        defaults =
            connect_query_with(postgres->query, PGRES_TUPLES_OK, defaults_sql, 1, values, err);
    ok = ok && defaults;
    size_t at;
    json_array_foreach(columns, at, column)
    {
        if (!ok)
            break;
        found[at] =
            (SourceColumn){.type = describe_type(
                               &describe, (uint32_t)json_integer_value(json_array_get(column, 2)),
                               (int32_t)json_integer_value(json_array_get(column, 3)), 0)};
        for (int row = 0; row < PQntuples(defaults); row++)
            if (strtol(PQgetvalue(defaults, row, 0), NULL, 10) ==
                json_integer_value(json_array_get(column, 0)))
                found[at].default_expression = keep(arena, PQgetvalue(defaults, row, 1));
    }
    *ret = found;
    result_clear(describe.labels);
    types_done(&describe.types);
    json_decref(json);
    return ok;
}
