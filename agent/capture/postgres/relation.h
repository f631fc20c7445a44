/* Relation messages: what the log says a table looked like at that moment, fitted by name to the
 * table's columns when the first change of it comes. */
#pragma once

#include "agent/capture/postgres/postgres.h"

/* PostgreSQL's limit is 1600 columns. */
#define RELATION_COLUMNS_MAX 1664

#define RELATION_COLUMN_IS_KEY 1

typedef struct RelationColumn {
    uint8_t flags;
    char *name; /* owned */
    uint32_t type_oid;
    int32_t typmod;
} RelationColumn;

typedef struct Relation {
    uint32_t oid;
    int32_t table; /* -1: not one of ours, its changes are passed over */
    char identity; /* replica identity */
    char *name;    /* "public.orders", as the log has it; NULL: not one of ours; owned */
    RelationColumn *columns;
    bool fitted; /* to the table as it was found or has become; with the first change of it */
    bool fits;   /* else `problem` is returned when a change of it comes */
    Error problem;
    uint16_t column_count;
    int16_t *field_of; /* per column: index in the schema, -1: left out */
} Relation;

/* How a table of ours is found. */
typedef struct RelationKey {
    uint32_t oid;
    int32_t number;
    const char *schema_name, *table_name;
} RelationKey;

typedef struct Relations {
    const PgTable *tables;
    size_t table_count;
    RelationKey *by_name, *by_oid; /* of the tables, sorted */
    Relation **slots;              /* open addressing by oid; slot_count is a power of two */
    size_t slot_count;
    size_t count;
    Relation *latest;
} Relations;

void relations_init(Relations *relations, const PgTable *tables, size_t table_count);
void relations_done(Relations *relations);
/* Reads a Relation message from behind its kind (and xid). A table that no longer fits is noted,
 * not refused: its transaction may yet be undone. */
MUST_CHECK bool relations_learn(Relations *relations, Reader *in, Error *err);
/* Fills field_of from the table as it is now; what does not fit is noted. by_name: its name has to
 * be the table's, too; else it may be one of before. */
void relation_fit(const Relations *relations, Relation *relation, bool by_name);
/* The table's columns have changed: whatever was described of it has to fit anew. */
void relations_unfit(Relations *relations, uint32_t table);
/* NULL with *err when the server never described it. */
Relation *relations_find(Relations *relations, uint32_t oid, Error *err);
