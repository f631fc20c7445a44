/* A batch's columns in the table's order: those of the source by name, nulls for columns that only
 * the table has, and in Append the two that say what happened and where. */
#pragma once

#include "agent/record/batch.h"
#include "common/bytes.h"

#define COLUMN_ABSENT UINT32_MAX         /* the source has none: null */
#define COLUMN_OP (UINT32_MAX - 1)       /* _firn_op */
#define COLUMN_POSITION (UINT32_MAX - 2) /* _firn_position */

#define OP_COLUMN "_firn_op"
#define POSITION_COLUMN "_firn_position"
#define POSITION_TEXT 33 /* bytes of "%016X.%016X" */

typedef struct ColumnMap {
    const Schema *schema;      /* of the table */
    const uint32_t *source_of; /* per field of schema */
    const Column **columns;
    Batch *absent; /* nulls, for as many rows as any batch had */
    bool has_absent;
    /* Append */
    Column op, position;
    uint8_t *op_texts, *position_texts, *bits;
    int32_t *op_offsets, *position_offsets;
    uint32_t rows_held;
} ColumnMap;

/* schema and source_of outlive the map. */
void column_map_init(ColumnMap *map, const Schema *schema, const uint32_t *source_of);
void column_map_done(ColumnMap *map);
/* Valid until the next call, and while the batch lives. op: what _firn_op says of every row, 0: as
 * the rows' ops have it. */
const Column *const *column_map_batch(ColumnMap *map, const Batch *batch, char op);
