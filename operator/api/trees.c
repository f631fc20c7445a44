/* jansson makes each value of a tree on its own, and most of what a small look costs was malloc,
 * and what it does to the heap. In between trees_begin and trees_end a thread's trees are made in
 * a block of its own, one behind the other, and given back as one. */
#include "operator/api/api.h"

#define BLOCK_BYTES ((size_t)64 << 10)
#define ALIGNMENT sizeof(max_align_t)

typedef struct Block {
    struct Block *next;
    size_t bytes, used;
    _Alignas(max_align_t) uint8_t data[];
} Block;

typedef struct Trees {
    bool on;
    Block *blocks; /* the first is kept */
} Trees;

static _Thread_local Trees trees;

static Block *block_new(size_t bytes, Block *next)
{
    Block *block = mem_alloc(sizeof *block + bytes);
    *block = (Block){.next = next, .bytes = bytes};
    return block;
}

static void *take(size_t bytes)
{
    if (!trees.on)
        return malloc(bytes);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    Block *block = trees.blocks;
    if (bytes > block->bytes - block->used)
        block = trees.blocks = block_new(bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES, block);
    void *at = block->data + block->used;
    block->used += bytes;
    return at;
}

static void give(void *at)
{
    const uint8_t *byte = at;
    for (const Block *block = trees.blocks; block; block = block->next)
        if (byte >= block->data && byte < block->data + block->bytes)
            return;
    free(at);
}

void trees_set_up(void)
{
    json_set_alloc_funcs(take, give);
}

void trees_begin(void)
{
    ASSERT(!trees.on);
    if (!trees.blocks)
        trees.blocks = block_new(BLOCK_BYTES, NULL);
    trees.on = true;
}

void trees_end(void)
{
    if (!trees.on)
        return;
    trees.on = false;
    while (trees.blocks->next) {
        Block *next = trees.blocks->next;
        free(trees.blocks);
        trees.blocks = next;
    }
#ifdef __SANITIZE_ADDRESS__ /* who still looks at it is found */
    memset(trees.blocks->data, 0xdb, trees.blocks->used);
#endif
    trees.blocks->used = 0;
}

bool trees_pause(void)
{
    bool was = trees.on;
    trees.on = false;
    return was;
}

void trees_resume(bool was)
{
    trees.on = was;
}

void trees_done(void)
{
    ASSERT(!trees.on);
    free(trees.blocks);
    trees.blocks = NULL;
}
