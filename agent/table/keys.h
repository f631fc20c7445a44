/* From a row's key columns to what the index keeps. A single key column whose values fit 8 bytes
 * goes through a bijection, so equal means equal; every other key becomes the 128-bit XXH3 of its
 * canonical encoding:
 *
 *   per key column, in the key's order:  u8 type tag · u32 length · value bytes
 *   integers, dates and times as 8 bytes (an int promoted to long keeps its key), bool as 1 byte,
 *   decimals as 16, uuid, fixed, string and binary as they are
 *
 * A key has no nulls. Both are seeded at random, so that no one can choose keys that collide. */
#pragma once

#include "agent/record/batch.h"
#include "agent/table/index.h"
#include "common/bytes.h"

typedef struct KeyHasher {
    const Schema *schema; /* names for errors */
    uint32_t *columns;    /* the key's columns in the batches to come; owned */
    size_t count;
    bool wide;
    uint64_t seed;
    uint64_t *first; /* of the latest batch */
    uint64_t *second;
    size_t rows_held;
    Bytes scratch;
} KeyHasher;

/* columns[i] is where the batch has key column i. Float, double and list columns are no keys
 * (CONFIG "BadKey"). */
MUST_CHECK bool key_hasher_init(KeyHasher *hasher, const Schema *schema, const uint32_t *columns,
                                size_t count, Error *err);
void key_hasher_done(KeyHasher *hasher);
/* In place of the random one: for keys that are compared with those hashed elsewhere. Before the
 * first batch. */
void key_hasher_seed(KeyHasher *hasher, uint64_t seed);
/* For the same keys read from other batches, where columns stand elsewhere. */
void key_hasher_move(KeyHasher *hasher, const Schema *schema, const uint32_t *columns);
/* Keys of rows [from, row_count) of the batch; *ret points into the hasher until the next call. A
 * null is DATA "NullKey" and names the column. */
MUST_CHECK bool key_hasher_batch(KeyHasher *hasher, const Batch *batch, uint32_t from,
                                 IndexKeys *ret, Error *err);
