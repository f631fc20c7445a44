#include "agent/table/fill_kept.h"

#include <stdlib.h>
#include <string.h>

#include "agent/table/fill.h"
#include "common/mem.h"

#define CHUNK_BYTES (FILL_KEPT_BYTES / KEPT_CHUNKS)
#define VALUE_BYTES_MAX (CHUNK_BYTES / 2) /* larger ones would drive too many others out */
#define PLACES (KEPT_CHUNK_ROWS * 2)

struct KeptChunk {
    Batch *batch;
    uint32_t rows;
    RowBase at[KEPT_CHUNK_ROWS];
    uint16_t places[PLACES]; /* row + 1, open addressing; 0: free */
};

static void chunk_free(KeptChunk *chunk)
{
    batch_free(chunk->batch);
    free(chunk);
}

void kept_done(KeptRows *kept)
{
    for (size_t i = 0; i < kept->count; i++)
        chunk_free(kept->chunks[i]);
    *kept = (KeptRows){0};
}

static uint32_t place_of(uint32_t file, uint32_t position)
{
    uint64_t mixed = ((uint64_t)file << 32 | position) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) % PLACES;
}

static KeptChunk *chunk_for(KeptRows *kept, const Schema *schema)
{
    KeptChunk *last = kept->count ? kept->chunks[kept->count - 1] : NULL;
    if (last && last->rows < KEPT_CHUNK_ROWS && last->batch->bytes < CHUNK_BYTES &&
        last->batch->column_count == schema->field_count)
        return last;
    if (kept->count == KEPT_CHUNKS) {
        chunk_free(kept->chunks[0]);
        memmove(kept->chunks, kept->chunks + 1, --kept->count * sizeof *kept->chunks);
    }
    KeptChunk *chunk = mem_zalloc(sizeof *chunk);
    chunk->batch = batch_new(schema, 0, KEPT_CHUNK_ROWS);
    kept->chunks[kept->count++] = chunk;
    return chunk;
}

/* Of what is nested only the offsets are looked at: its parts count in the chunk's bytes. */
static bool is_too_large(const Column *column, uint32_t row)
{
    if (!column->offsets || column_is_null(column, row))
        return false;
    return (size_t)(column->offsets[row + 1] - column->offsets[row]) > VALUE_BYTES_MAX;
}

void kept_put(KeptRows *kept, const Schema *schema, uint32_t file, uint32_t position,
              const Column *const *given, uint32_t row)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (is_too_large(given[i], row))
            return;
    KeptChunk *chunk = chunk_for(kept, schema);
    for (size_t i = 0; i < schema->field_count; i++)
        column_put_copy(chunk->batch, &chunk->batch->columns[i], given[i], row);
    chunk->at[chunk->rows++] = (RowBase){file, position};
    uint32_t place = place_of(file, position);
    while (chunk->places[place])
        place = (place + 1) % PLACES;
    chunk->places[place] = (uint16_t)chunk->rows;
}

static uint32_t row_in(const KeptChunk *chunk, uint32_t file, uint32_t position)
{
    for (uint32_t place = place_of(file, position); chunk->places[place];
         place = (place + 1) % PLACES) {
        const RowBase *at = &chunk->at[chunk->places[place] - 1];
        if (at->file == file && at->position == position)
            return chunk->places[place] - 1u;
    }
    return UINT32_MAX;
}

bool kept_find(const KeptRows *kept, uint32_t file, uint32_t position, uint32_t field,
               const Column **ret, uint32_t *ret_row)
{
    for (size_t i = kept->count; i-- > 0;) {
        const KeptChunk *chunk = kept->chunks[i];
        if (field >= chunk->batch->column_count)
            continue;
        uint32_t row = row_in(chunk, file, position);
        if (row == UINT32_MAX)
            continue;
        *ret = &chunk->batch->columns[field];
        *ret_row = row;
        return true;
    }
    return false;
}

size_t kept_memory(const KeptRows *kept)
{
    size_t bytes = 0;
    for (size_t i = 0; i < kept->count; i++)
        bytes += sizeof *kept->chunks[i] + batch_memory(kept->chunks[i]->batch);
    return bytes;
}
