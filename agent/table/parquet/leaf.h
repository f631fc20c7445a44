/* How one leaf field of an Iceberg schema is stored in Parquet.
 * https://iceberg.apache.org/spec/#parquet
 *
 *   bool BOOLEAN · int, date INT32 · long, time, timestamps INT64 · float FLOAT · double DOUBLE
 *   decimal(P): P <= 9 INT32, P <= 18 INT64, else FIXED of the fewest bytes that hold it
 *   string, binary BYTE_ARRAY · uuid FIXED(16) · fixed[L] FIXED(L) · list: three levels */
#pragma once

#include "agent/record/type.h"
#include "agent/table/parquet/format.h"

typedef enum RangeKind {
    RANGE_INT,    /* bool, integers, dates and times, decimals up to 18 digits */
    RANGE_FLOAT,  /* float and double, compared as double */
    RANGE_INT128, /* larger decimals */
    RANGE_BYTES,  /* unsigned bytes in order */
} RangeKind;

typedef struct Leaf {
    const Field *field; /* the value's: of a list the element's */
    const Field *list;  /* NULL: not in a list */
    Physical physical;
    uint32_t width; /* bytes of a value as Parquet stores it; 0: BOOLEAN and BYTE_ARRAY */
    RangeKind range;
    uint8_t definition_max;
    uint8_t repetition_max;
} Leaf;

/* CONFIG error on what can't be stored (a list in a list, more than 38 digits). */
MUST_CHECK bool leaf_init(Leaf *leaf, const Field *field, Error *err);
/* The fewest bytes that hold every decimal of that many digits. */
uint32_t decimal_bytes(unsigned precision);
