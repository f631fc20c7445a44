/* Tables whose columns change while they are followed. match.h says which column is which; here is
 * what becomes of the table: its schema and decoders are replaced, and the old ones kept for
 * whoever still holds them. */
#pragma once

#include "agent/capture/postgres/composites.h"
#include "agent/capture/postgres/postgres.h"
#include "agent/capture/postgres/relation.h"

/* A PgoutputLearn; context is the Postgres. */
MUST_CHECK bool table_learn(void *context, PgTable *table, const Relation *relation,
                            bool *ret_changed, Error *err);

/* CONFIG "TableRenamed". */
bool table_renamed(const PgTable *table, const char *name, Error *err);

/* --- retype.c --- */
/* A PgoutputRetype and a PgoutputSettle; context is the Postgres. */
MUST_CHECK bool table_retype(void *context, PgTable *table, const CompositeSeen *seen, Error *err);
MUST_CHECK bool tables_settle(void *context, const uint32_t *xids, size_t count, Error *err);
/* The composites of the decoders: as known before, else as in types. */
void table_keep_composites(PgTable *table, const PgTypes *types, const PgDecoder *decoders,
                           size_t count);
/* "{25,16500}": types, of columns and of what composites are known to have. */
char *table_type_oids(const PgTable *table, const uint32_t *oids, size_t count) OWNED_BY(free);
/* CONFIG "SchemaUndecided". */
bool table_undecided(const PgTable *table, const char *why, Error *err);

/* --- shape.c --- */
void table_write_shape(PgTable *table);
void table_retire(PgTable *table);
/* The field may be null from here on. */
void table_relax(PgTable *table, size_t field);
/* Retires what the table has and takes these; the caller writes the shape. */
void table_take(PgTable *table, Schema *schema, PgDecoder *decoders);
/* CONFIG "SourceTableReplaced". */
bool table_replaced(const PgTable *table, Error *err);
