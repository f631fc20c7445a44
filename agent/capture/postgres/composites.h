/* Composite types change (ALTER TYPE … ADD, DROP, RENAME ATTRIBUTE) without a word in the log: only
 * the values tell, each with its attributes' types, as they were at its place in the log. What the
 * catalog says may be ahead of that by any number of ALTERs, so a table keeps what it knows of its
 * columns' types (PgTable.composites) and goes on from there:
 *
 *   - a value that has other attributes is fitted to those known and those that came since, by
 *     their order (numbers are never given twice) and types (an attribute's type can't change while
 *     a column uses it; of one that came and went the catalog keeps how its values are laid out,
 *     so that it is not taken for one of another size);
 *   - one that has those known may be another one all the same, where an attribute was dropped and
 *     one of its type added: so before a place of the log is handed on as passed, the catalog is
 *     asked whether that may have been.
 *
 * Where there are several ways, nobody can tell: SchemaUndecided. Names are the catalog's. The
 * functions here are pure. */
#pragma once

#include <jansson.h>

#include "agent/capture/postgres/types.h"

/* The attributes of a value: their types' oids. */
typedef struct CompositeSeen {
    uint32_t oid; /* the composite */
    uint32_t *oids;
    uint32_t count;
} CompositeSeen;

void composite_seen_done(CompositeSeen *seen);
/* The first composite in the value that is not as its decoder has it; false: there is none. The
 * caller's. */
bool composite_find_other(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes,
                          CompositeSeen *ret);

/* Does the type have a composite in it? */
bool composites_in(const PgDecoder *decoder);
/* The composites that the decoder is made of, as `types` has them, added to those that *ret has
 * already, which stay. By oid; the caller's. */
void composites_add(PgTypes *ret, const PgTypes *types, const PgDecoder *decoder);
/* The types' composites become those that are known. */
void composites_put(PgTypes *types, const PgTypes *known);

typedef enum CompositeMatch {
    COMPOSITE_SAME,    /* what is known is as it was */
    COMPOSITE_CHANGED, /* it has become what the values have, or has other names */
    COMPOSITE_NONE,    /* no way */
    COMPOSITE_SEVERAL,
} CompositeMatch;

/* known, as the values (types' oids, in their order) have it; types: the catalog's of now, those of
 * the values too, as far as they are still there. forgets: attributes that are no longer there are
 * left out, else they stay as gone. Neither NONE nor SEVERAL changes it. */
CompositeMatch composite_match(PgType *known, const PgTypes *types, const uint32_t *oids,
                               uint32_t count, bool forgets);
/* With the attributes that it is known to have: may values that look like it be others, by what the
 * catalog says now? */
CompositeMatch composite_check(PgType *known, const PgTypes *types);

/* [[oid, last number, [[number, name, oid, typmod, gone], …]], …] */
json_t *composites_to_json(const PgTypes *known);
bool composites_from_json(const json_t *json, PgTypes *ret);
