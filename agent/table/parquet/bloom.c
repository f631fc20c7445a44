#include "agent/table/parquet/bloom.h"

#include "agent/table/parquet/thrift.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BITS_PER_VALUE 11 /* a little under 1 % false positives */
#define HASHES_MAX 16384
#define WORDS_PER_BLOCK 8

static const uint32_t salt[WORDS_PER_BLOCK] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                               0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

void bloom_done(Bloom *bloom)
{
    free(bloom->hashes);
    free(bloom->words);
    *bloom = (Bloom){0};
}

uint64_t bloom_hash(const void *value, size_t bytes)
{
    return XXH64(value, bytes, 0);
}

static size_t blocks_for(uint64_t values)
{
    uint64_t bits = values * BITS_PER_VALUE;
    size_t blocks = 1;
    while (blocks * BLOOM_BLOCK_BYTES * 8 < bits)
        blocks *= 2;
    return blocks;
}

static void insert(Bloom *bloom, uint64_t hash)
{
    size_t block = (size_t)((hash >> 32) * bloom->block_count >> 32);
    uint32_t *words = bloom->words + block * WORDS_PER_BLOCK;
    for (unsigned i = 0; i < WORDS_PER_BLOCK; i++)
        words[i] |= 1u << ((uint32_t)hash * salt[i] >> 27);
}

static void filter_make(Bloom *bloom, size_t blocks)
{
    bloom->block_count = blocks;
    bloom->words = mem_array(blocks * WORDS_PER_BLOCK, sizeof *bloom->words);
    for (uint32_t i = 0; i < bloom->hash_count; i++)
        insert(bloom, bloom->hashes[i]);
}

void bloom_put(Bloom *bloom, uint64_t hash, size_t values_max)
{
    bloom->inserted++;
    if (bloom->words) {
        insert(bloom, hash);
        return;
    }
    if (!bloom->hashes)
        bloom->hashes = mem_array(HASHES_MAX, sizeof *bloom->hashes);
    bloom->hashes[bloom->hash_count++] = hash;
    if (bloom->hash_count == HASHES_MAX) {
        filter_make(bloom, blocks_for(values_max));
        free(bloom->hashes);
        bloom->hashes = NULL;
        bloom->hash_count = 0;
    }
}

static void fold(Bloom *bloom)
{
    size_t fit = blocks_for(bloom->inserted);
    while (bloom->block_count > fit) {
        bloom->block_count /= 2;
        for (size_t i = 0; i < bloom->block_count * WORDS_PER_BLOCK; i++) {
            size_t pair = i / WORDS_PER_BLOCK * 2 * WORDS_PER_BLOCK + i % WORDS_PER_BLOCK;
            bloom->words[i] = bloom->words[pair] | bloom->words[pair + WORDS_PER_BLOCK];
        }
    }
}

void bloom_write(Bloom *bloom, Bytes *to)
{
    if (!bloom->words)
        filter_make(bloom, blocks_for(bloom->inserted));
    fold(bloom);
    size_t bytes = bloom->block_count * BLOOM_BLOCK_BYTES;
    int16_t last = 0;
    thrift_put_i32(to, &last, 1, (int32_t)bytes);
    for (int16_t id = 2; id <= 4; id++) { /* unions: BLOCK, XXHASH, UNCOMPRESSED */
        thrift_put_field(to, &last, id, THRIFT_STRUCT);
        int16_t inner = 0;
        thrift_put_empty_struct(to, &inner, 1);
        thrift_put_stop(to);
    }
    thrift_put_stop(to);
    bytes_put(to, bloom->words, bytes);
    bloom_done(bloom);
}

size_t bloom_memory(const Bloom *bloom)
{
    return (bloom->hashes ? HASHES_MAX * sizeof *bloom->hashes : 0) +
           bloom->block_count * BLOOM_BLOCK_BYTES;
}
