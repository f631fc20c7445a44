#include "agent/table/index.h"

#include <string.h>
#include <sys/mman.h>

#include "common/mem.h"

#define CAPACITY_MIN 128
#define PREFETCH_DISTANCE 16
#define RELEASE_BYTES ((size_t)2 << 20) /* memory behind the reading end is given back in these */

/* Small ones come from the heap: there may be ten thousand of them. */
static size_t table_bytes(size_t capacity, uint32_t stride)
{
    size_t bytes = capacity * stride;
    return bytes < RELEASE_BYTES ? bytes : (bytes + RELEASE_BYTES - 1) & ~(RELEASE_BYTES - 1);
}

/* Zeroed: an entry of zeros is INDEX_FILE_NONE. Large ones are pages straight from the system:
 * those not reached yet cost nothing. */
static uint8_t *table_map(size_t bytes)
{
    if (bytes < RELEASE_BYTES)
        return mem_zalloc(bytes);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(at != MAP_FAILED);
    return at;
}

static void table_unmap(uint8_t *entries, size_t bytes)
{
    if (bytes < RELEASE_BYTES)
        free(entries);
    else
        munmap(entries, bytes);
}

KeyIndex *key_index_new(bool wide, bool with_row_ids)
{
    KeyIndex *index = mem_zalloc(sizeof *index);
    index->wide = wide;
    index->with_row_ids = with_row_ids;
    index->row_id_at = wide;
    index->stride = (uint32_t)(sizeof(IndexEntry) + 8u * wide + 8u * with_row_ids);
    return index;
}

void key_index_clear(KeyIndex *index)
{
    if (index->entries)
        table_unmap(index->entries, table_bytes(index->capacity, index->stride));
    index->entries = NULL;
    index->capacity = index->used = index->live = index->gone = 0;
}

void key_index_free(KeyIndex *index)
{
    if (!index)
        return;
    key_index_clear(index);
    free(index);
}

size_t key_index_memory(const KeyIndex *index)
{
    return index->capacity * index->stride;
}

static inline size_t home_of(uint64_t key, size_t capacity)
{
    return (size_t)(((unsigned __int128)key * capacity) >> 64);
}

/* Moves the live entries of the old table, and those that are to be remembered, to a table of
 * `capacity`. */
static void rehash(KeyIndex *index, size_t capacity)
{
    if (!index->keeps_gone)
        index->gone = 0;
    ASSERT(capacity > index->live + index->gone && capacity < UINT32_MAX);
    uint32_t stride = index->stride;
    uint8_t *to = table_map(table_bytes(capacity, stride));
    size_t released = 0;
    for (size_t i = 0; i < index->capacity; i++) {
        const IndexEntry *entry = key_index_entry(index, (uint32_t)i);
        if (entry->file != INDEX_FILE_NONE && entry->file != INDEX_FILE_ABSENT &&
            (entry->file != INDEX_FILE_GONE || index->keeps_gone)) {
            size_t at = home_of(entry->key, capacity);
            while (((IndexEntry *)(void *)(to + at * stride))->file != INDEX_FILE_NONE)
                at = at + 1 == capacity ? 0 : at + 1;
            memcpy(to + at * stride, entry, stride);
        }
        if (UNLIKELY(i * stride - released >= RELEASE_BYTES)) {
            madvise(index->entries + released, RELEASE_BYTES, MADV_DONTNEED);
            released += RELEASE_BYTES;
        }
    }
    if (index->entries)
        table_unmap(index->entries, table_bytes(index->capacity, stride));
    index->entries = to;
    index->capacity = capacity;
    index->used = index->live + index->gone;
}

void key_index_reserve(KeyIndex *index, size_t more)
{
    /* At most 3/4 full; after growing 3/5, so that the next growth is a quarter away. */
    if ((index->used + more) * 4 <= index->capacity * 3)
        return;
    size_t capacity = (index->live + (index->keeps_gone ? index->gone : 0) + more) * 5 / 3;
    rehash(index, capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity);
}

static inline uint32_t locate_one(KeyIndex *index, uint64_t first, uint64_t second)
{
    size_t capacity = index->capacity;
    size_t at = home_of(first, capacity);
    for (;;) {
        IndexEntry *entry = key_index_entry(index, (uint32_t)at);
        if (entry->file == INDEX_FILE_NONE) {
            entry->key = first;
            entry->file = INDEX_FILE_ABSENT;
            if (index->wide)
                entry->more[0] = (int64_t)second;
            key_index_set_row_id(index, entry, INDEX_ROW_ID_NONE);
            index->used++;
            return (uint32_t)at;
        }
        if (entry->key == first && (!index->wide || entry->more[0] == (int64_t)second))
            return (uint32_t)at;
        at = at + 1 == capacity ? 0 : at + 1;
    }
}

void key_index_locate(KeyIndex *index, const IndexKeys *keys, uint32_t *ret_slots)
{
    ASSERT(index->used + keys->count <= index->capacity);
    ASSERT(index->wide == (keys->second != NULL));
    for (size_t i = 0; i < keys->count; i++) {
        if (i + PREFETCH_DISTANCE < keys->count) {
            size_t ahead = home_of(keys->first[i + PREFETCH_DISTANCE], index->capacity);
            __builtin_prefetch(index->entries + ahead * index->stride, 1);
        }
        ret_slots[i] = locate_one(index, keys->first[i], keys->second ? keys->second[i] : 0);
    }
}
