/* Memory that is freed all at once: a bump pointer over chunks. Not for several threads at a time;
 * it may be handed from one to the next. */
#pragma once

#include "common/attrs.h"

typedef struct Arena Arena;

void arena_free(Arena *arena); /* NULL is fine */
Arena *arena_new(size_t chunk_bytes)
    OWNED_BY(arena_free); /* chunk_bytes: the usual chunk, >= 4096 */

/* 64-byte aligned when bytes >= 64, else 16; not zeroed. Owned by the arena. */
void *arena_take(Arena *arena, size_t bytes) __attribute__((returns_nonnull, alloc_size(2)));

/* Grows the block `old` of old_bytes to new_bytes, in place if it is the latest one. */
void *arena_regrow(Arena *arena, void *old, size_t old_bytes, size_t new_bytes)
    __attribute__((returns_nonnull));

char *arena_strndup(Arena *arena, const char *text, size_t bytes) __attribute__((returns_nonnull));

/* Everything is gone; the chunks of the usual size are kept for the next round. */
void arena_reset(Arena *arena);
size_t arena_bytes(const Arena *arena); /* bytes held from the system */

DEFINE_AUTO(Arena, arena_free);
