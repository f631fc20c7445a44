#include "common/arena.h"

#include <string.h>

#include "common/mem.h"

typedef struct Chunk {
    struct Chunk *next;
    size_t bytes; /* usable, behind this header */
    _Alignas(64) uint8_t data[];
} Chunk;

struct Arena {
    Chunk *used;  /* the head is the one the pointer moves in */
    Chunk *spare; /* of the usual size */
    size_t at;    /* offset of the next block in used->data */
    size_t chunk_bytes;
    size_t held_bytes;
};

Arena *arena_new(size_t chunk_bytes)
{
    ASSERT(chunk_bytes >= 4096);
    Arena *arena = mem_zalloc(sizeof *arena);
    arena->chunk_bytes = chunk_bytes;
    return arena;
}

static void chunks_free(Chunk *chunk)
{
    while (chunk) {
        Chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void arena_free(Arena *arena)
{
    if (!arena)
        return;
    chunks_free(arena->used);
    chunks_free(arena->spare);
    free(arena);
}

static void chunk_add(Arena *arena, size_t bytes)
{
    Chunk *chunk;
    if (bytes <= arena->chunk_bytes && arena->spare) {
        chunk = arena->spare;
        arena->spare = chunk->next;
    } else {
        size_t usable = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
        usable = (usable + 63) & ~(size_t)63;
        chunk = mem_aligned(64, sizeof *chunk + usable);
        chunk->bytes = usable;
        arena->held_bytes += sizeof *chunk + usable;
    }
    chunk->next = arena->used;
    arena->used = chunk;
    arena->at = 0;
}

void *arena_take(Arena *arena, size_t bytes)
{
    ASSERT(bytes < SIZE_MAX / 2);
    size_t align = bytes >= 64 ? 64 : 16;
    size_t from = (arena->at + align - 1) & ~(align - 1);
    if (!arena->used || from > arena->used->bytes || bytes > arena->used->bytes - from) {
        chunk_add(arena, bytes);
        from = 0;
    }
    arena->at = from + bytes;
    return arena->used->data + from;
}

void *arena_regrow(Arena *arena, void *old, size_t old_bytes, size_t new_bytes)
{
    ASSERT(new_bytes >= old_bytes);
    Chunk *head = arena->used;
    if (old && head && (uint8_t *)old >= head->data &&
        (uint8_t *)old + old_bytes == head->data + arena->at &&
        new_bytes - old_bytes <= head->bytes - arena->at) {
        arena->at += new_bytes - old_bytes;
        return old;
    }
    void *fresh = arena_take(arena, new_bytes);
    if (old_bytes)
        memcpy(fresh, old, old_bytes);
    return fresh;
}

char *arena_strndup(Arena *arena, const char *text, size_t bytes)
{
    char *copy = arena_take(arena, bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

void arena_reset(Arena *arena)
{
    while (arena->used) {
        Chunk *chunk = arena->used;
        arena->used = chunk->next;
        if (chunk->bytes <= ((arena->chunk_bytes + 63) & ~(size_t)63)) {
            chunk->next = arena->spare;
            arena->spare = chunk;
        } else {
            arena->held_bytes -= sizeof *chunk + chunk->bytes;
            free(chunk);
        }
    }
    arena->at = 0;
}

size_t arena_bytes(const Arena *arena)
{
    return arena->held_bytes;
}
