/* What the copy of a table reads: its parts, each a relation with rows of its own (the table, or
 * the partitions under it), cut into ranges of blocks. */
#pragma once

#include "agent/capture/postgres/postgres.h"

typedef struct PgPart {
    uint32_t oid;
    uint32_t version; /* its file: another one after TRUNCATE, VACUUM FULL, CLUSTER, a rewrite */
    uint64_t blocks;
    char *quoted;
} PgPart;

/* NULL for part 0: the partitions through their root, because the user may read only that. */
const PgPart *plan_part(const PgTable *table, uint64_t oid);

/* Ranges of what of the parts is not done, about `blocks` each, the last of a part to its end. No
 * parts: no ranges. Caller frees *ret. Pure. */
void plan_ranges(const PgPart *parts, size_t part_count, uint32_t table, uint64_t blocks,
                 const Extents *done, CopyRange **ret, size_t *ret_count);
