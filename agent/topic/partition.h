/* Where a record goes: a hash of its key's values, not of its bytes, so that a key has one place in
 * JSON and in Avro, under every id that a registry gives its schema, and when int4 becomes int8,
 * varchar text, numeric(12,2) numeric(14,2).
 *
 * hash = XXH64 (seed 0) over, for each column of the key in its order:
 *
 *   null           0
 *   boolean        1, then 0 or 1
 *   int2 … int8, oid …, date (days), time, timestamp(tz) (microseconds)
 *                  2, then the number, 8 bytes little-endian
 *   float4, float8 3, then the float8, 8 bytes little-endian; -0 is 0, every NaN 0x7ff8000000000000
 *   numeric, money, xid8
 *                  4, then 4 bytes length and the digits: "-12.5", without zeros at the end of the
 *                  fraction or at the beginning, "0" for zero
 *   text and whatever is text here
 *                  5, then 4 bytes length (little-endian), the bytes
 *   bytea, uuid    6, then 4 bytes length, the bytes
 *   array, map     7, then 4 bytes count, each element (a map: key, value) as above
 *   composite      8, then each attribute
 *
 * A table without a key has the hash of nothing: all its records in one partition, in their order.
 */
#pragma once

#include "agent/topic/topic.h"

/* count > 0 */
static inline uint32_t topic_partition(uint64_t hash, uint32_t count)
{
    return (uint32_t)(hash % count);
}

/* Appends the bytes above for one value. is_number: a string that is a numeric. */
void partition_put(Bytes *to, const Column *column, uint32_t row, bool is_number);
uint64_t topic_hash(const Bytes *key);
