/* Relation messages: what the log says a table looked like at that moment, fitted by name to the
 * columns found at the start. */
#pragma once

#include "agent/capture/postgres/postgres.h"

/* PostgreSQL's limit is 1600 columns. */
#define RELATION_COLUMNS_MAX 1664

typedef struct Relation {
    uint32_t oid;
    int32_t table; /* -1: not one of ours, its changes are passed over */
    bool fits;     /* else `problem` is returned when a change of it comes */
    Error problem;
    uint16_t column_count;
    int16_t *field_of; /* per column: index in the schema, -1: left out */
} Relation;

typedef struct Relations {
    const PgTable *tables;
    size_t table_count;
    Relation **slots; /* open addressing by oid; slot_count is a power of two */
    size_t slot_count;
    size_t count;
    Relation *latest;
} Relations;

void relations_init(Relations *relations, const PgTable *tables, size_t table_count);
void relations_done(Relations *relations);
/* Reads a Relation message from behind its kind (and xid). A table that no longer fits is noted,
 * not refused: its transaction may yet be undone. */
MUST_CHECK bool relations_learn(Relations *relations, Reader *in, Error *err);
/* NULL with *err when the server never described it. */
Relation *relations_find(Relations *relations, uint32_t oid, Error *err);
