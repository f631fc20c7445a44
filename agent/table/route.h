/* Which partition each row of a batch belongs to. Rows are told apart by a 128-bit hash of their
 * partition tuple, made column by column; the tuple itself is made once per partition. */
#pragma once

#include "agent/table/iceberg/iceberg.h"

typedef struct Partition {
    uint64_t hash[2];
    Value *values; /* one per field of the spec; owned */
    char *path;    /* owned; "" for the unpartitioned */
    uint32_t open; /* the writer's open file of this partition, UINT32_MAX: none */
} Partition;

typedef struct Router {
    const PartitionSpec *spec;
    Partition *partitions;
    size_t partition_count, partitions_held;
    uint32_t *table; /* hash -> partition + 1, open addressing; 0: free */
    size_t table_size;
    struct RouteMemo *memo; /* texts seen lately and what they became */
    uint64_t (*hashes)[2];  /* per row of the selection */
    uint32_t *numbers;      /* per row of the selection: its partition */
    size_t rows_held;
} Router;

void router_init(Router *router, const PartitionSpec *spec); /* spec outlives it */
void router_done(Router *router);
void router_clear(Router *router); /* forgets all partitions */
/* numbers[i] becomes the partition of row selection[i]. */
void router_route(Router *router, const Column *const *columns, const uint32_t *selection,
                  size_t count);
