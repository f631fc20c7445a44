/* Least and greatest value of a page, a column chunk, a file, and how they are written down: plain
 * in Parquet's statistics and page index, single-value serialized in Iceberg's manifests.
 * https://iceberg.apache.org/spec/#binary-single-value-serialization
 *
 * NaN are left out and counted. A least zero is written as -0.0, a greatest as +0.0, because the
 * two compare equal here. Of long texts and bytes the first 64 are kept; what is shortened is
 * written so that it is still a bound: a prefix below, a prefix with its last character raised
 * above. */
#pragma once

#include "agent/table/parquet/leaf.h"

#define RANGE_CUT_BYTES 64
#define ICEBERG_BOUND_BYTES 40 /* of ParquetFieldMetrics */
#define ICEBERG_BOUND_CHARACTERS 16

typedef struct RangeText {
    uint8_t bytes[RANGE_CUT_BYTES];
    uint8_t used;
    bool cut; /* there was more */
} RangeText;

typedef union RangeEnd {
    int64_t i;
    double d;
    __int128 x;
    RangeText text;
} RangeEnd;

typedef struct Range {
    bool any; /* min and max are set */
    uint64_t nans;
    RangeEnd min, max;
} Range;

void range_add_i32(Range *range, const int32_t *values, size_t count);
void range_add_i64(Range *range, const int64_t *values, size_t count);
void range_add_f32(Range *range, const float *values, size_t count);
void range_add_f64(Range *range, const double *values, size_t count);
void range_add_i128(Range *range, const __int128 *values, size_t count);
void range_add_bools(Range *range, const uint8_t *values, size_t count);
/* The least and the greatest of a set, found by the caller. */
void range_add_bytes(Range *range, const uint8_t *min, size_t min_bytes, const uint8_t *max,
                     size_t max_bytes);
void range_merge(Range *to, const Range *from, RangeKind kind);
/* < 0, 0, > 0; of two ends of the same kind. */
int range_compare(const RangeEnd *a, const RangeEnd *b, RangeKind kind);

/* False: there is none. */
bool range_plain(const Leaf *leaf, const Range *range, bool upper, uint8_t to[RANGE_CUT_BYTES],
                 size_t *ret_bytes, bool *ret_exact);
bool range_iceberg(const Leaf *leaf, const Range *range, bool upper,
                   uint8_t to[ICEBERG_BOUND_BYTES], uint8_t *ret_bytes);
