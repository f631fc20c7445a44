/* Which of PostgreSQL's types becomes which of Iceberg's: the one table, in types.c, a row per
 * type. Types that stand in no row follow rules: a domain is its base type, an enum is text, an
 * array is a list, a composite a struct (composites.h), a range or multirange text; a type without
 * a send function is the text that the server makes of it (the copy casts it, the log does so by
 * itself). Extensions' types have no fixed oid and are known by extension and name. */
#pragma once

#include <libpq-fe.h>
#include <stdlib.h>

#include "agent/capture/postgres/decode.h"

typedef struct PgAttribute {
    char *name;
    uint32_t oid;
    int32_t typmod;
    int32_t number;  /* attnum of the composite */
    bool gone;       /* values no longer have it, or do not yet; its field stays, and is null */
    bool dropped;    /* all that the catalog says of it: it is no field */
    uint32_t layout; /* of one in the catalog, also a dropped one: its type's; 0: not known */
} PgAttribute;

/* A row of pg_type, as far as it matters. */
typedef struct PgType {
    uint32_t oid;
    char *name;
    char *extension; /* "": the server's own, or the user's */
    char typtype;    /* b base, c composite, d domain, e enum, r range, m multirange */
    char delimiter;
    bool sendable;
    uint32_t layout;   /* of its values: length, by value, alignment, whether it has a collation; a
                        * type can't get another. Not 0 */
    uint32_t part_oid; /* array: element; domain: base; range: bound; multirange: range; else 0 */
    int32_t part_typmod;     /* domain */
    PgAttribute *attributes; /* by number */
    uint32_t attribute_count;
    int32_t last_number; /* what is not among the attributes up to here was dropped before */
} PgType;

typedef struct PgTypes {
    PgType *types; /* by oid */
    size_t count;
    int money_scale; /* digits of the server's currency */
} PgTypes;

void types_done(PgTypes *types);
/* Looks up these types ("{25,1700}") and all that they are made of. */
MUST_CHECK bool types_load(PgTypes *types, PGconn *connection, const char *oids, Error *err);

void type_attributes_free(PgType *type);
const PgType *types_find(const PgTypes *types, uint32_t oid); /* NULL: unknown */

/* False when Firn has no type for it: then both are to be done with as well. *ret_type is the
 * caller's (type_done), *ret too (decoder_done). */
MUST_CHECK bool decoder_choose(const PgTypes *types, uint32_t oid, int32_t typmod, PgDecoder *ret,
                               Type *ret_type);
/* Makes the decoder, and its type, give another one: string for whatever can be printed, another
 * decimal for numeric. False when that is not done. */
MUST_CHECK bool decoder_override(PgDecoder *decoder, Type *type, const Type *wanted);

/* A column's doc, from its comment (NULL: none) and what its type alone can't say; NULL: nothing.
 */
char *decoder_doc(const PgDecoder *decoder, int32_t typmod, const char *comment) OWNED_BY(free);

/* Does the column with this typmod still have the values the decoder reads? (varchar(20) grown to
 * varchar(40) does, numeric(12,2) made numeric(12,3) does not.) */
bool decoder_same_typmod(const PgDecoder *decoder, int32_t typmod);

/* AUTO(types_done) PgTypes types = {0}; */
static inline void types_done_auto(PgTypes *at)
{
    types_done(at);
}
