/* Which parts of a table's copy are done: for each part (a partition's oid; the table's own), the
 * stretches of it that were read. Kept as a table property, so it has one text form, bounded: what
 * does not fit counts as not done, which costs a second reading and nothing else.
 *
 *   "until=16B3748 16400.16412:0-4096,8192- 16401.16401:0-"
 *
 * until: every stretch was read in a snapshot no later than this; parts are "<part>.<version>:", a
 * stretch "from-to" without its end, "from-" goes to the part's end. */
#pragma once

#include <stdlib.h>

#include "common/attrs.h"
#include "common/error.h"

#define EXTENTS_END UINT64_MAX
#define EXTENTS_TEXT_MAX ((size_t)32 << 10)

typedef struct Extent {
    uint64_t part;
    uint64_t version;  /* stretches of another layout (the part was rewritten) say nothing; 0: of a
                          part that no version is known of, never done */
    uint64_t from, to; /* EXTENTS_END: the part's end, wherever it is */
} Extent;

typedef struct Extents {
    Extent *items; /* by part and from; they neither overlap nor touch */
    size_t count, held;
    uint64_t until;
} Extents;

void extents_done(Extents *extents);
/* What is there of another version of the part is forgotten. */
void extents_add(Extents *extents, Extent extent);
/* The first stretch of the part, at or behind `from`, that is not done; false: none. A part that is
 * done from 0 to its end is done in every version. */
bool extents_gap(const Extents *extents, uint64_t part, uint64_t version, uint64_t from,
                 Extent *ret);
/* The caller frees; at most EXTENTS_TEXT_MAX bytes. */
char *extents_format(const Extents *extents) OWNED_BY(free);
/* DATA "BadExtents". *ret is the caller's to end, on false too. */
MUST_CHECK bool extents_parse(const char *text, Extents *ret, Error *err);
