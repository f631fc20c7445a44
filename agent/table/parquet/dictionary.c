#include "agent/table/parquet/dictionary.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SLOTS_FIRST 64 /* a table of many that get a few rows has one for each column */
#define ODD_CONSTANT 0x9e3779b97f4a7c15u /* 2^64 / golden ratio */

void dictionary_init(Dictionary *dictionary, uint32_t width)
{
    *dictionary = (Dictionary){.width = width};
}

void dictionary_done(Dictionary *dictionary)
{
    bytes_done(&dictionary->values);
    free(dictionary->offsets);
    free(dictionary->slots);
    *dictionary = (Dictionary){0};
}

void dictionary_reset(Dictionary *dictionary)
{
    dictionary->count = 0;
    bytes_clear(&dictionary->values);
    if (dictionary->slots)
        memset(dictionary->slots, 0, dictionary->slot_count * sizeof *dictionary->slots);
}

size_t dictionary_memory(const Dictionary *dictionary)
{
    return dictionary->values.held + dictionary->offsets_held * sizeof *dictionary->offsets +
           dictionary->slot_count * sizeof *dictionary->slots;
}

size_t dictionary_plain_bytes(const Dictionary *dictionary)
{
    return dictionary->values.used + (dictionary->width ? 0 : (size_t)dictionary->count * 4);
}

bool dictionary_is_full(const Dictionary *dictionary)
{
    return dictionary->count >= DICTIONARY_ENTRIES_MAX ||
           dictionary_plain_bytes(dictionary) >= DICTIONARY_BYTES_MAX;
}

static uint64_t hash_number(uint64_t value)
{
    value *= ODD_CONSTANT;
    return value ^ value >> 32;
}

static uint64_t hash_bytes(const uint8_t *value, uint32_t bytes)
{
    return XXH3_64bits(value, bytes);
}

static void slots_grow(Dictionary *dictionary)
{
    uint32_t count = dictionary->slot_count ? dictionary->slot_count * 2 : SLOTS_FIRST;
    DictionarySlot *slots = mem_array(count, sizeof *slots);
    for (uint32_t number = 0; number < dictionary->count; number++) {
        uint64_t hash;
        if (dictionary->width == 4 || dictionary->width == 8) {
            uint64_t value = 0;
            memcpy(&value, dictionary->values.data + (size_t)number * dictionary->width,
                   dictionary->width);
            hash = hash_number(value);
        } else {
            uint32_t bytes;
            const uint8_t *value = dictionary_bytes(dictionary, number, &bytes);
            hash = hash_bytes(value, bytes);
        }
        uint32_t at = (uint32_t)hash & (count - 1);
        while (slots[at].number)
            at = (at + 1) & (count - 1);
        slots[at] = (DictionarySlot){(uint32_t)(hash >> 32), number + 1};
    }
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->slot_count = count;
}

/* The slots are never more than half full. */
static inline void slots_room(Dictionary *dictionary)
{
    if (UNLIKELY(dictionary->count * 2 >= dictionary->slot_count))
        slots_grow(dictionary);
}

#define DICTIONARY_PUT(name, value_t)                                                              \
    void dictionary_put_##name(Dictionary *dictionary, const value_t *values, size_t count,        \
                               uint32_t *to)                                                       \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            slots_room(dictionary);                                                                \
            value_t value = values[i];                                                             \
            uint64_t hash = hash_number(value);                                                    \
            uint32_t mask = dictionary->slot_count - 1;                                            \
            uint32_t at = (uint32_t)hash & mask;                                                   \
            for (;; at = (at + 1) & mask) {                                                        \
                uint32_t number = dictionary->slots[at].number;                                    \
                value_t there;                                                                     \
                if (!number) {                                                                     \
                    bytes_put(&dictionary->values, &value, sizeof value);                          \
                    to[i] = dictionary->count++;                                                   \
                    dictionary->slots[at] =                                                        \
                        (DictionarySlot){(uint32_t)(hash >> 32), dictionary->count};               \
                    break;                                                                         \
                }                                                                                  \
                memcpy(&there, dictionary->values.data + (size_t)(number - 1) * sizeof value,      \
                       sizeof value);                                                              \
                if (there == value) {                                                              \
                    to[i] = number - 1;                                                            \
                    break;                                                                         \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
DICTIONARY_PUT(u32, uint32_t)
DICTIONARY_PUT(u64, uint64_t)

static void offset_put(Dictionary *dictionary, uint32_t offset)
{
    if (dictionary->count + 2 > dictionary->offsets_held) {
        dictionary->offsets_held = dictionary->offsets_held ? dictionary->offsets_held * 2 : 256;
        dictionary->offsets =
            mem_regrow(dictionary->offsets, dictionary->offsets_held, sizeof *dictionary->offsets);
        dictionary->offsets[0] = 0;
    }
    dictionary->offsets[dictionary->count + 1] = offset;
}

static inline bool bytes_equal(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
    uint64_t left, right;
    uint32_t at = 0;
    if (bytes < 8)
        return bytes == 0 || memcmp(a, b, bytes) == 0;
    for (; at + 8 < bytes; at += 8) {
        memcpy(&left, a + at, 8);
        memcpy(&right, b + at, 8);
        if (left != right)
            return false;
    }
    memcpy(&left, a + bytes - 8, 8); /* the last eight, some of them again */
    memcpy(&right, b + bytes - 8, 8);
    return left == right;
}

static uint32_t put_hashed(Dictionary *dictionary, const uint8_t *value, uint32_t bytes,
                           uint64_t hash)
{
    slots_room(dictionary);
    uint32_t tag = (uint32_t)(hash >> 32);
    uint32_t mask = dictionary->slot_count - 1;
    uint32_t at = (uint32_t)hash & mask;
    for (;; at = (at + 1) & mask) {
        DictionarySlot slot = dictionary->slots[at];
        if (!slot.number)
            break;
        if (slot.tag != tag)
            continue;
        uint32_t there_bytes;
        const uint8_t *there = dictionary_bytes(dictionary, slot.number - 1, &there_bytes);
        if (there_bytes == bytes && bytes_equal(there, value, bytes))
            return slot.number - 1;
    }
    bytes_put(&dictionary->values, value, bytes);
    if (!dictionary->width)
        offset_put(dictionary, (uint32_t)dictionary->values.used);
    dictionary->slots[at] = (DictionarySlot){tag, ++dictionary->count};
    return dictionary->count - 1;
}

/* A value costs three loads that wait for each other: slot, offset, bytes. Each is asked for ahead,
 * for the whole round, so that the misses overlap. */
static void prefetch(const Dictionary *dictionary, const uint64_t *hashes, size_t count)
{
    uint32_t mask = dictionary->slot_count - 1;
    uint32_t numbers[DICTIONARY_ROUND];
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(&dictionary->slots[(uint32_t)hashes[i] & mask]);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = dictionary->slots[(uint32_t)hashes[i] & mask].number;
        if (numbers[i] && !dictionary->width)
            __builtin_prefetch(&dictionary->offsets[numbers[i] - 1]);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t bytes;
        if (numbers[i])
            __builtin_prefetch(dictionary_bytes(dictionary, numbers[i] - 1, &bytes));
    }
}

void dictionary_put_bytes(Dictionary *dictionary, const uint8_t *const *values,
                          const uint32_t *bytes, size_t count, uint32_t *to)
{
    uint64_t hashes[DICTIONARY_ROUND];
    ASSERT(count <= DICTIONARY_ROUND);
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_bytes(values[i], bytes[i]);
    if (dictionary->slot_count)
        prefetch(dictionary, hashes, count);
    for (size_t i = 0; i < count; i++)
        to[i] = put_hashed(dictionary, values[i], bytes[i], hashes[i]);
}
