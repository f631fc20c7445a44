/* Tables without a server, and a writer for the server's messages. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/postgres/postgres.h"
#include "common/bytes.h"
#include "common/mem.h"

/* A type without a catalog: one of the server's own, an enum, or an array of one of these. */
typedef struct PgTypeFacts {
    uint32_t oid;
    int32_t typmod;
    char typtype;
    uint32_t element_oid; /* of an array type, else 0 */
    char element_typtype;
} PgTypeFacts;

static inline bool fixture_choose(const PgTypeFacts *facts, PgDecoder *ret, Type *ret_type)
{
    static char nothing[] = "";
    PgType rows[2] = {0};
    size_t count = 0;
    if (facts->element_oid)
        rows[count++] = (PgType){.oid = facts->element_oid, .typtype = facts->element_typtype};
    rows[count++] =
        (PgType){.oid = facts->oid, .typtype = facts->typtype, .part_oid = facts->element_oid};
    for (size_t i = 0; i < count; i++) {
        rows[i].name = rows[i].extension = nothing;
        rows[i].delimiter = ',';
        rows[i].sendable = true;
    }
    if (count == 2 && rows[0].oid > rows[1].oid) {
        PgType first = rows[0];
        rows[0] = rows[1];
        rows[1] = first;
    }
    PgTypes types = {.types = rows, .count = count, .money_scale = 2};
    return decoder_choose(&types, facts->oid, facts->typmod, ret, ret_type);
}

typedef struct FixtureColumn {
    const char *name;
    uint32_t oid;
    int32_t typmod;
    uint32_t element_oid;
    bool required;
    bool key;
} FixtureColumn;

#define NUMERIC_TYPMOD(precision, scale) ((((precision) << 16) | ((scale)&0x7ff)) + 4)

/* Fills a table called public.<name> with this oid; fixture_table_done frees it. */
static inline void fixture_table(PgTable *table, const char *name, uint32_t oid, char identity,
                                 const FixtureColumn *columns, size_t count)
{
    size_t keys = 0;
    for (size_t i = 0; i < count; i++)
        keys += columns[i].key;
    SourceTable *source = mem_zalloc(sizeof *source);
    *source = (SourceTable){.schema_name = mem_strdup("public"),
                            .table_name = mem_strdup(name),
                            .schema = schema_new(count, keys)};
    *table = (PgTable){.source = source,
                       .oid = oid,
                       .name = mem_format("public.%s", name),
                       .quoted = mem_format("\"public\".\"%s\"", name),
                       .identity = identity,
                       .decoders = mem_array(count, sizeof(PgDecoder)),
                       .columns = mem_strdup(""),
                       .generated = mem_array(1, sizeof(char *))};
    keys = 0;
    for (size_t i = 0; i < count; i++) {
        Field *field = &source->schema->fields[i];
        PgTypeFacts facts = {.oid = columns[i].oid,
                             .typmod = columns[i].typmod,
                             .typtype = columns[i].oid >= 16384 ? 'e' : 'b',
                             .element_oid = columns[i].element_oid,
                             .element_typtype = columns[i].element_oid >= 16384 ? 'e' : 'b'};
        bool known = fixture_choose(&facts, &table->decoders[i], &field->type);
        ASSERT(known);
        field->name = mem_strdup(columns[i].name);
        field->required = columns[i].required;
        if (columns[i].key)
            source->schema->key[keys++] = (uint32_t)i;
    }
}

static inline void fixture_table_done(PgTable *table)
{
    SourceTable *source = table->source;
    table_done(table);
    free(source);
}

static inline void put_u16be(Bytes *to, uint16_t value)
{
    uint16_t big = __builtin_bswap16(value);
    bytes_put(to, &big, sizeof big);
}

static inline void put_cstring(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text) + 1);
}

/* A length and the bytes, as in COPY and after 'b'. */
static inline void put_counted(Bytes *to, const void *at, size_t bytes)
{
    bytes_put_u32be(to, (uint32_t)bytes);
    bytes_put(to, at, bytes);
}
