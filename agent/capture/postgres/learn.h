/* Tables whose columns change while they are followed. match.h says which column is which; here is
 * what becomes of the table: its schema and decoders are replaced, and the old ones kept for
 * whoever still holds them. */
#pragma once

#include "agent/capture/postgres/postgres.h"
#include "agent/capture/postgres/relation.h"

/* A PgoutputLearn; context is the Postgres. */
MUST_CHECK bool table_learn(void *context, PgTable *table, const Relation *relation,
                            bool *ret_changed, Error *err);

/* --- shape.c --- */
void table_write_shape(PgTable *table);
void table_retire(PgTable *table);
/* The field may be null from here on. */
void table_relax(PgTable *table, size_t field);
/* Retires what the table has and takes these; the caller writes the shape. */
void table_take(PgTable *table, Schema *schema, PgDecoder *decoders);
/* CONFIG "SourceTableReplaced". */
bool table_replaced(const PgTable *table, Error *err);
