/* How one leaf field of an Iceberg schema is stored in Parquet.
 * https://iceberg.apache.org/spec/#parquet
 *
 *   bool BOOLEAN · int, date INT32 · long, time, timestamps INT64 · float FLOAT · double DOUBLE
 *   decimal(P): P <= 9 INT32, P <= 18 INT64, else FIXED of the fewest bytes that hold it
 *   string, binary BYTE_ARRAY · uuid FIXED(16) · fixed[L] FIXED(L)
 *   list: three levels, name (LIST) / list / element · struct: a group of its fields
 *   map: name (MAP) / key_value / key, value */
#pragma once

#include "agent/record/type.h"
#include "agent/table/parquet/format.h"

typedef enum RangeKind {
    RANGE_INT,    /* bool, integers, dates and times, decimals up to 18 digits */
    RANGE_FLOAT,  /* float and double, compared as double */
    RANGE_INT128, /* larger decimals */
    RANGE_BYTES,  /* unsigned bytes in order */
} RangeKind;

#define LEAF_DEPTH_MAX 16

/* What stands above a leaf, from the table's column on. */
typedef struct LeafStep {
    const Field *field; /* a list, map or struct */
    uint32_t child;     /* which of its children goes on to the leaf */
} LeafStep;

typedef struct Leaf {
    const Field *field; /* the value's: of a list the element's */
    LeafStep *steps;    /* owned; NULL: the field is a column itself */
    uint32_t depth;     /* of steps */
    uint32_t column;    /* of the schema that it belongs to */
    Physical physical;
    uint32_t width; /* bytes of a value as Parquet stores it; 0: BOOLEAN and BYTE_ARRAY */
    RangeKind range;
    uint8_t definition_max;
    uint8_t repetition_max;
} Leaf;

static inline bool type_repeats(const Type *type)
{
    return type->kind == TYPE_LIST || type->kind == TYPE_MAP;
}
size_t type_leaf_count(const Type *type);
/* The leaves of a schema, depth first; leaves_free frees them. CONFIG error on what can't be stored
 * (more than 38 digits, nested too deep, a struct without fields). */
MUST_CHECK bool leaves_of(const Schema *schema, Leaf **ret, size_t *ret_count, Error *err);
void leaves_free(Leaf *leaves, size_t count);
/* The fewest bytes that hold every decimal of that many digits. */
uint32_t decimal_bytes(unsigned precision);
