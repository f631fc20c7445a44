/* The primary-key index: where the live row of each key stands. Key -> (file, position[, row id]),
 * in memory, open addressing with linear probing. The interface works on whole batches of keys
 * (locate, then read and change entries by slot), so that an index that spills can stand behind it.
 *
 * Entry, 16 to 32 bytes: u64 key, u32 file, u32 position, [u64 second half of the key], [i64 row
 * id]. An 8-byte key is exact (mixed by a bijection); a 16-byte key is a 128-bit hash. The home of
 * a key is (key * capacity) >> 64: the order of homes is the order of keys whatever the capacity,
 * so growing reads the old entries and writes the new ones from front to back, and the memory
 * behind the reading end is given back on the way: growing never holds both tables.
 *
 * A key that was deleted keeps its entry, marked absent, until the next growth: slots stay valid
 * between two calls of key_index_reserve. With keeps_gone set it is marked gone, and outlives
 * growing: whoever adds rows of an older state must see that they are no more. One thread at a
 * time. */
#pragma once

#include "common/attrs.h"

#define INDEX_FILE_NONE 0u                /* slot never used */
#define INDEX_FILE_ABSENT UINT32_MAX      /* the key has no live row */
#define INDEX_FILE_BATCH (UINT32_MAX - 1) /* in the batch at hand; position is its row there */
#define INDEX_FILE_GONE (UINT32_MAX - 2)  /* it was deleted, and that is to be remembered */
#define INDEX_FILE_MAX (UINT32_MAX - 3)
#define INDEX_ROW_ID_NONE (-1) /* the row takes its id from file and position */

typedef struct IndexEntry {
    uint64_t key;
    uint32_t file; /* counts from 1 */
    uint32_t position;
    int64_t more[]; /* second half of the key, row id: as the index was made */
} IndexEntry;

typedef struct KeyIndex {
    uint8_t *entries;
    size_t capacity;
    size_t used; /* slots with a key, absent ones included */
    size_t live;
    size_t gone; /* marked so */
    uint32_t stride;
    uint8_t row_id_at; /* index in more; meaningful with_row_ids */
    bool wide;         /* 16-byte keys */
    bool with_row_ids;
    bool keeps_gone; /* from now on; what is marked stays so until it is cleared or has a row */
} KeyIndex;

/* A batch's keys: second is NULL when the index has 8-byte keys. */
typedef struct IndexKeys {
    const uint64_t *first;
    const uint64_t *second;
    size_t count;
} IndexKeys;

void key_index_free(KeyIndex *index);
KeyIndex *key_index_new(bool wide, bool with_row_ids) OWNED_BY(key_index_free);
/* Makes room for `more` new keys; all slots known before are void. */
void key_index_reserve(KeyIndex *index, size_t more);
/* The slot of each key; a key never seen gets an entry that is absent. Room was reserved. */
void key_index_locate(KeyIndex *index, const IndexKeys *keys, uint32_t *ret_slots);
void key_index_clear(KeyIndex *index); /* no key has a row; memory is given back */
size_t key_index_memory(const KeyIndex *index);

static inline IndexEntry *key_index_entry(const KeyIndex *index, uint32_t slot)
{
    return (IndexEntry *)(void *)(index->entries + (size_t)slot * index->stride);
}
static inline bool index_entry_has_row(const IndexEntry *entry)
{
    return entry->file != INDEX_FILE_ABSENT && entry->file != INDEX_FILE_GONE;
}
static inline void key_index_set(KeyIndex *index, IndexEntry *entry, uint32_t file,
                                 uint32_t position)
{
    index->live += !index_entry_has_row(entry);
    index->gone -= entry->file == INDEX_FILE_GONE;
    entry->file = file;
    entry->position = position;
}
static inline void key_index_forget(KeyIndex *index, IndexEntry *entry)
{
    index->live -= index_entry_has_row(entry);
    index->gone -= entry->file == INDEX_FILE_GONE;
    index->gone += index->keeps_gone;
    entry->file = index->keeps_gone ? INDEX_FILE_GONE : INDEX_FILE_ABSENT;
}
static inline int64_t key_index_row_id(const KeyIndex *index, const IndexEntry *entry)
{
    return index->with_row_ids ? entry->more[index->row_id_at] : INDEX_ROW_ID_NONE;
}
static inline void key_index_set_row_id(const KeyIndex *index, IndexEntry *entry, int64_t row_id)
{
    if (index->with_row_ids)
        entry->more[index->row_id_at] = row_id;
}

DEFINE_AUTO(KeyIndex, key_index_free);
