/* Values written lately, by where their rows stand; of fill.c alone. They lie in chunks; the oldest
 * chunk goes when there is a new one to make. */
#pragma once

#include "agent/record/batch.h"

#define KEPT_CHUNKS 16
#define KEPT_CHUNK_ROWS 4096u

typedef struct KeptChunk KeptChunk;

typedef struct KeptRows {
    KeptChunk *chunks[KEPT_CHUNKS]; /* the newest last */
    size_t count;
} KeptRows;

void kept_done(KeptRows *kept);
/* given[i]: of field i of `schema`, whose fields may become more later. */
void kept_put(KeptRows *kept, const Schema *schema, uint32_t file, uint32_t position,
              const Column *const *given, uint32_t row);
bool kept_find(const KeptRows *kept, uint32_t file, uint32_t position, uint32_t field,
               const Column **ret, uint32_t *ret_row);
size_t kept_memory(const KeptRows *kept);
