/* Sets of path hashes: 8 bytes for a file, filled, then sorted once, then asked. A collision makes
 * a manifest be read, or a file be kept, that needn't; never the other way round. */
#pragma once

#include <stdlib.h>

#include "common/mem.h"

typedef struct Hashes {
    uint64_t *items;
    size_t count, held;
} Hashes;

static inline void hashes_done(Hashes *set)
{
    free(set->items);
    *set = (Hashes){0};
}

static inline void hashes_add(Hashes *set, uint64_t hash)
{
    if (set->count == set->held) {
        set->held = set->held ? set->held * 2 : 16;
        set->items = mem_regrow(set->items, set->held, sizeof *set->items);
    }
    set->items[set->count++] = hash;
}

static inline int hashes_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorted, each once. */
static inline void hashes_sort(Hashes *set)
{
    size_t kept = 0;
    if (!set->count)
        return;
    qsort(set->items, set->count, sizeof *set->items, hashes_compare);
    for (size_t i = 0; i < set->count; i++)
        if (i == 0 || set->items[i] != set->items[i - 1])
            set->items[kept++] = set->items[i];
    set->count = kept;
}

static inline bool hashes_have(const Hashes *sorted, uint64_t hash)
{
    return sorted->count &&
           bsearch(&hash, sorted->items, sorted->count, sizeof hash, hashes_compare);
}
