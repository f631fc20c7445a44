/* Relation messages. The byte table, behind the kind 'R' and (in a streamed transaction) its xid:
 *
 *   Int32 oid, String schema ("" = pg_catalog), String name,
 *   Int8 replica identity (d, i, f, n), Int16 columns, then per column
 *     Int8 flags (1: part of the key), String name, Int32 type oid, Int32 typmod
 *
 * Following changed tables (ALTER TABLE) is learn.c's: a table that does not fit after that is
 * CONFIG "SchemaChanged", and the slot keeps the changes until it is mended. */
#include "agent/capture/postgres/relation.h"

#include <string.h>

#include "common/mem.h"

#define RELATIONS_MAX ((size_t)1 << 20)

static int by_name(const void *a, const void *b)
{
    const RelationKey *left = a, *right = b;
    int order = strcmp(left->schema_name, right->schema_name);
    return order ? order : strcmp(left->table_name, right->table_name);
}

static int by_oid(const void *a, const void *b)
{
    const RelationKey *left = a, *right = b;
    return (left->oid > right->oid) - (left->oid < right->oid);
}

void relations_init(Relations *relations, const PgTable *tables, size_t table_count)
{
    *relations = (Relations){.tables = tables, .table_count = table_count, .slot_count = 64};
    relations->by_name = mem_array(table_count, sizeof *relations->by_name);
    relations->by_oid = mem_array(table_count, sizeof *relations->by_oid);
    for (size_t i = 0; i < table_count; i++)
        relations->by_name[i] = relations->by_oid[i] = (RelationKey){
            tables[i].oid, (int32_t)i, tables[i].source->schema_name, tables[i].source->table_name};
    qsort(relations->by_name, table_count, sizeof *relations->by_name, by_name);
    qsort(relations->by_oid, table_count, sizeof *relations->by_oid, by_oid);
    relations->slots = mem_array(relations->slot_count, sizeof *relations->slots);
}

static void relation_free(Relation *relation)
{
    for (uint16_t i = 0; relation->columns && i < relation->column_count; i++)
        free(relation->columns[i].name);
    free(relation->columns);
    free(relation->name);
    free(relation->field_of);
    free(relation);
}

void relations_done(Relations *relations)
{
    for (size_t i = 0; i < relations->slot_count; i++)
        if (relations->slots[i])
            relation_free(relations->slots[i]);
    free(relations->slots);
    free(relations->by_name);
    free(relations->by_oid);
    *relations = (Relations){0};
}

static Relation **slot_of(Relation **slots, size_t slot_count, uint32_t oid)
{
    size_t at = (oid * UINT32_C(2654435761)) & (slot_count - 1);
    while (slots[at] && slots[at]->oid != oid)
        at = (at + 1) & (slot_count - 1);
    return &slots[at];
}

static void grow(Relations *relations)
{
    size_t slot_count = relations->slot_count * 2;
    Relation **slots = mem_array(slot_count, sizeof *slots);
    for (size_t i = 0; i < relations->slot_count; i++)
        if (relations->slots[i])
            *slot_of(slots, slot_count, relations->slots[i]->oid) = relations->slots[i];
    free(relations->slots);
    relations->slots = slots;
    relations->slot_count = slot_count;
}

Relation *relations_find(Relations *relations, uint32_t oid, Error *err)
{
    if (LIKELY(relations->latest && relations->latest->oid == oid))
        return relations->latest;
    Relation *relation = *slot_of(relations->slots, relations->slot_count, oid);
    if (!relation)
        error_set(err, ERROR_RETRY, "BadMessage",
                  "the log has a change of relation %u that it never described", oid);
    else
        relations->latest = relation;
    return relation;
}

/* --- fitting --- */

static bool changed(Relation *relation, const PgTable *table, const char *column, const char *what)
{
    relation->fits = false;
    return error_set(&relation->problem, ERROR_CONFIG, "SchemaChanged",
                     "table %s%s%s: %s in the log, which Firn does not follow yet; nothing is "
                     "lost: the slot keeps the changes. Undo it, or exclude the table, or copy it "
                     "again under its new shape",
                     table->name, *column ? " column " : "", column, what);
}

/* By oid, and by name: a table made anew under its name must not be passed over. */
static void find_table(const Relations *relations, Relation *relation, const char *schema_name,
                       const char *table_name)
{
    RelationKey key = {relation->oid, 0, schema_name, table_name};
    size_t count = relations->table_count;
    const RelationKey *found = bsearch(&key, relations->by_oid, count, sizeof key, by_oid);
    if (!found)
        found = bsearch(&key, relations->by_name, count, sizeof key, by_name);
    relation->table = found ? found->number : -1;
    if (found)
        relation->name = mem_format("%s.%s", schema_name, table_name);
}

static bool is_generated(const PgTable *table, const char *name)
{
    for (char **at = table->generated; at && *at; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

static void fit_column(const PgTable *table, Relation *relation, uint16_t at, bool *seen)
{
    const RelationColumn *facts = &relation->columns[at];
    const Schema *schema = table->source->schema;
    int field = schema_find(schema, facts->name);
    relation->field_of[at] = -1;
    if (field < 0) {
        if (!is_generated(table, facts->name))
            changed(relation, table, facts->name, "it was added");
        return;
    }
    if (seen[field]) {
        changed(relation, table, facts->name, "it is there twice");
        return;
    }
    seen[field] = true;
    relation->field_of[at] = (int16_t)field;
    const PgDecoder *decoder = &table->decoders[field];
    if (facts->type_oid != decoder->type_oid || !decoder_same_typmod(decoder, facts->typmod)) {
        changed(relation, table, facts->name, "its type is another");
        return;
    }
    bool is_key = table_is_key(table, (size_t)field);
    if (relation->identity != 'f' && is_key != ((facts->flags & RELATION_COLUMN_IS_KEY) != 0))
        changed(relation, table, facts->name, "the table's key is another");
}

/* What rows are known by has to be in every old row. */
static void fit_identity(const PgTable *table, Relation *relation)
{
    for (uint16_t at = 0; at < relation->column_count; at++) {
        bool sent = relation->identity == 'f' ||
                    (relation->columns[at].flags & RELATION_COLUMN_IS_KEY) != 0;
        int field = relation->field_of[at];
        if (table->id_count && field >= 0 && !sent && table_is_identity(table, (size_t)field))
            changed(relation, table, relation->columns[at].name,
                    "the replica identity no longer has it, which idColumns or keyColumns names,");
    }
}

void relation_fit(const Relations *relations, Relation *relation, bool by_name)
{
    const PgTable *table = &relations->tables[relation->table];
    size_t fields = table->source->schema->field_count;
    AUTO(mem_free) bool *seen = mem_array(fields + 1, sizeof *seen);
    relation->fitted = relation->fits = true;
    if (relation->oid != table->oid)
        changed(relation, table, "", "it was dropped and made anew");
    else if (by_name && strcmp(relation->name, table->name) != 0)
        changed(relation, table, "", "it has another name");
    for (uint16_t at = 0; at < relation->column_count; at++)
        fit_column(table, relation, at, seen);
    if (relation->fits)
        fit_identity(table, relation);
    for (size_t field = 0; field < fields; field++)
        if (!seen[field] && relation->fits)
            changed(relation, table, table->source->schema->fields[field].name,
                    "it was dropped or renamed, or the publication's column list leaves it out,");
}

void relations_unfit(Relations *relations, uint32_t table)
{
    for (size_t i = 0; i < relations->slot_count; i++)
        if (relations->slots[i] && relations->slots[i]->table == (int32_t)table)
            relations->slots[i]->fitted = false;
}

static bool read_columns(Relation *relation, Reader *in)
{
    relation->columns = mem_array(relation->column_count, sizeof *relation->columns);
    relation->field_of = mem_array(relation->column_count, sizeof *relation->field_of);
    for (uint16_t at = 0; at < relation->column_count; at++) {
        RelationColumn *column = &relation->columns[at];
        const char *name;
        uint32_t typmod;
        if (!reader_u8(in, &column->flags) || !reader_cstring(in, &name) ||
            !reader_u32be(in, &column->type_oid) || !reader_u32be(in, &typmod))
            return false;
        column->name = mem_strdup(name);
        column->typmod = (int32_t)typmod;
    }
    return true;
}

bool relations_learn(Relations *relations, Reader *in, Error *err)
{
    uint32_t oid;
    const char *schema_name, *table_name;
    uint8_t identity;
    uint16_t column_count;
    if (!reader_u32be(in, &oid) || !reader_cstring(in, &schema_name) ||
        !reader_cstring(in, &table_name) || !reader_u8(in, &identity) ||
        !reader_u16be(in, &column_count) || column_count > RELATION_COLUMNS_MAX)
        return error_set(err, ERROR_RETRY, "BadMessage", "a Relation message is cut short");
    Relation *relation = mem_zalloc(sizeof *relation);
    relation->oid = oid;
    relation->column_count = column_count;
    relation->identity = (char)identity;
    find_table(relations, relation, *schema_name ? schema_name : "pg_catalog", table_name);
    if (!read_columns(relation, in) || reader_left(in)) {
        relation_free(relation);
        return error_set(err, ERROR_RETRY, "BadMessage", "a Relation message is cut short");
    }
    Relation **slot = slot_of(relations->slots, relations->slot_count, oid);
    relations->latest = NULL;
    if (*slot) {
        relation_free(*slot);
        *slot = relation;
        return true;
    }
    if (relations->count >= RELATIONS_MAX) {
        relation_free(relation);
        return error_set(err, ERROR_RETRY, "BadMessage", "the log describes too many relations");
    }
    *slot = relation;
    if (++relations->count * 2 > relations->slot_count)
        grow(relations);
    return true;
}
