/* The distinct values of a column chunk and their numbers, while they are few enough to pay.
 *
 * Open addressing over the numbers, with 32 bits of the hash beside each, so that a value is
 * compared only when it is most likely the same. Values of 4 and 8 bytes lie in an array, others
 * one after the other. */
#pragma once

#include "common/bytes.h"

#define DICTIONARY_ENTRIES_MAX (1u << 16)
#define DICTIONARY_BYTES_MAX ((size_t)1 << 20) /* plain encoded */

#define DICTIONARY_ROUND 32 /* texts looked up together */

typedef struct DictionarySlot {
    uint32_t tag;    /* of the hash */
    uint32_t number; /* + 1; 0: free */
} DictionarySlot;

typedef struct Dictionary {
    uint32_t width; /* bytes of a value; 0: they differ */
    uint32_t count;
    Bytes values;      /* width 4 and 8: an array; else one after the other */
    uint32_t *offsets; /* width 0: count + 1 */
    uint32_t offsets_held;
    DictionarySlot *slots;
    uint32_t slot_count;
} Dictionary;

void dictionary_done(Dictionary *dictionary);
void dictionary_init(Dictionary *dictionary, uint32_t width);
void dictionary_reset(Dictionary *dictionary); /* empty; the memory stays */
size_t dictionary_memory(const Dictionary *dictionary);
size_t dictionary_plain_bytes(const Dictionary *dictionary);
bool dictionary_is_full(const Dictionary *dictionary);

/* Numbers of values 0..count, into to. Entries are added past the limits: the caller looks
 * at dictionary_is_full between calls, and keeps count small. */
void dictionary_put_u32(Dictionary *dictionary, const uint32_t *values, size_t count, uint32_t *to);
void dictionary_put_u64(Dictionary *dictionary, const uint64_t *values, size_t count, uint32_t *to);
/* At most DICTIONARY_ROUND values. */
void dictionary_put_bytes(Dictionary *dictionary, const uint8_t *const *values,
                          const uint32_t *bytes, size_t count, uint32_t *to);

static inline const uint8_t *dictionary_bytes(const Dictionary *dictionary, uint32_t number,
                                              uint32_t *ret_bytes)
{
    if (dictionary->width) {
        *ret_bytes = dictionary->width;
        return dictionary->values.data + (size_t)number * dictionary->width;
    }
    *ret_bytes = dictionary->offsets[number + 1] - dictionary->offsets[number];
    return dictionary->values.data + dictionary->offsets[number];
}
