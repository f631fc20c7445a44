/* Split-block bloom filter of a column chunk, xxh64 of the plain values.
 * https://github.com/apache/parquet-format/blob/master/BloomFilter.md
 *
 * How many values come is known only at the end: the first hashes are kept as they are, then a
 * filter for the row group's limit is made, and folded to its right size at the end: with a power
 * of two of blocks, halving merges neighbours. */
#pragma once

#include "common/bytes.h"

#define BLOOM_BLOCK_BYTES 32

typedef struct Bloom {
    uint64_t *hashes; /* while they are few */
    uint32_t hash_count;
    uint32_t *words; /* 8 per block; NULL while hashes are kept */
    size_t block_count;
    uint64_t inserted;
} Bloom;

void bloom_done(Bloom *bloom);
uint64_t bloom_hash(const void *value, size_t bytes);
/* values_max: as many may come. */
void bloom_put(Bloom *bloom, uint64_t hash, size_t values_max);
/* Appends header and bits, and empties the filter. */
void bloom_write(Bloom *bloom, Bytes *to);
size_t bloom_memory(const Bloom *bloom);
