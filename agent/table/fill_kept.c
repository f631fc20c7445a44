#include "agent/table/fill_kept.h"

#include <stdlib.h>
#include <string.h>

#include "agent/table/fill.h"
#include "common/mem.h"

#define CHUNK_BYTES (FILL_KEPT_BYTES / KEPT_CHUNKS)
#define VALUE_BYTES_MAX (CHUNK_BYTES / 2) /* larger ones would drive too many others out */
#define FIRST_ROWS 32u /* of the first chunk; then twice as many, up to KEPT_CHUNK_ROWS */

struct KeptChunk {
    Batch *batch;
    uint32_t rows, rows_max; /* a power of two */
    RowBase *at;             /* rows_max */
    uint16_t *places;        /* twice that; row + 1, open addressing; 0: free */
};

static KeptChunk *chunk_new(const Schema *schema, uint32_t rows_max)
{
    KeptChunk *chunk = mem_zalloc(sizeof *chunk);
    chunk->batch = batch_new(schema, 0, rows_max);
    chunk->rows_max = rows_max;
    chunk->at = mem_array(rows_max, sizeof *chunk->at);
    chunk->places = mem_array((size_t)rows_max * 2, sizeof *chunk->places);
    return chunk;
}

static void chunk_free(KeptChunk *chunk)
{
    batch_free(chunk->batch);
    free(chunk->at);
    free(chunk->places);
    free(chunk);
}

void kept_done(KeptRows *kept)
{
    for (size_t i = 0; i < kept->count; i++)
        chunk_free(kept->chunks[i]);
    *kept = (KeptRows){0};
}

/* The first place to look at; the next is the one behind. */
static uint32_t place_of(const KeptChunk *chunk, uint32_t file, uint32_t position)
{
    uint64_t mixed = ((uint64_t)file << 32 | position) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (chunk->rows_max * 2 - 1);
}

static uint32_t place_after(const KeptChunk *chunk, uint32_t place)
{
    return (place + 1) & (chunk->rows_max * 2 - 1);
}

static KeptChunk *chunk_for(KeptRows *kept, const Schema *schema)
{
    KeptChunk *last = kept->count ? kept->chunks[kept->count - 1] : NULL;
    if (last && last->rows < last->rows_max && last->batch->bytes < CHUNK_BYTES &&
        last->batch->column_count == schema->field_count)
        return last;
    if (kept->count == KEPT_CHUNKS) {
        chunk_free(kept->chunks[0]);
        memmove(kept->chunks, kept->chunks + 1, --kept->count * sizeof *kept->chunks);
    }
    /* One of many tables has few rows, and shall not hold room for many. */
    uint32_t rows = last ? last->rows_max : FIRST_ROWS;
    if (last && last->rows == rows && rows < KEPT_CHUNK_ROWS)
        rows *= 2;
    return kept->chunks[kept->count++] = chunk_new(schema, rows);
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
    uint32_t place = place_of(chunk, file, position);
    while (chunk->places[place])
        place = place_after(chunk, place);
    chunk->places[place] = (uint16_t)chunk->rows;
}

static uint32_t row_in(const KeptChunk *chunk, uint32_t file, uint32_t position)
{
    for (uint32_t place = place_of(chunk, file, position); chunk->places[place];
         place = place_after(chunk, place)) {
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
    for (size_t i = 0; i < kept->count; i++) {
        const KeptChunk *chunk = kept->chunks[i];
        bytes += sizeof *chunk + batch_memory(chunk->batch) +
                 chunk->rows_max * (sizeof *chunk->at + 2 * sizeof *chunk->places);
    }
    return bytes;
}
