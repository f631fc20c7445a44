/* Compressing and decompressing pages.
 *
 * Compressor: one zstd context for all pages of a writer. Pages of random-looking content (hex
 * tokens, mantissas, packed numbers) gain nothing from zstd's search for repetitions but pay most
 * of their time for it, so each column finds out now and then whether entropy coding alone is as
 * small, and then uses that. */
#pragma once

#include "agent/table/parquet/format.h"
#include "common/bytes.h"
#include "common/error.h"

typedef struct Compressor Compressor;
typedef struct CompressorHabit { /* a column's; zeroed at start */
    uint32_t pages_until_trial;
    bool entropy_only;
} CompressorHabit;

void compressor_free(Compressor *compressor);
Compressor *compressor_new(int zstd_level) OWNED_BY(compressor_free); /* 0: stores as it is */
Codec compressor_codec(const Compressor *compressor);
size_t compressor_memory(const Compressor *compressor);
/* *ret stays the compressor's (or is the data itself) until the next call. */
void compressor_run(Compressor *compressor, CompressorHabit *habit, const uint8_t *data,
                    size_t bytes, const uint8_t **ret, size_t *ret_bytes);
/* Gives back what a page beyond so many bytes took; *ret of the last call is gone. */
void compressor_rest(Compressor *compressor, size_t bytes_kept);

typedef struct Decompressor Decompressor;
void decompressor_free(Decompressor *decompressor);
Decompressor *decompressor_new(void) OWNED_BY(decompressor_free);
void decompressor_rest(Decompressor *decompressor); /* gives back its buffers until it runs again */
/* Exactly to_bytes come out, or DATA. */
MUST_CHECK bool decompressor_run(Decompressor *decompressor, Codec codec, const uint8_t *from,
                                 size_t from_bytes, uint8_t *to, size_t to_bytes, Error *err);
/* Whether from_bytes can be to_bytes at all; asked before memory is taken. */
bool codec_plausible(Codec codec, const uint8_t *from, size_t from_bytes, size_t to_bytes);
