/* The encoders: dense values in, a page's bytes out. Nulls are gone already.
 * https://github.com/apache/parquet-format/blob/master/Encodings.md
 *
 *   RLE/bit-packed hybrid   runs of: varint(count << 1), value in ceil(width / 8) bytes
 *                           or: varint(groups of 8 << 1 | 1), values packed from the low bit up
 *   DELTA_BINARY_PACKED     varint 128, varint 4, varint count, zigzag first value; blocks of
 *                           zigzag least delta, 4 widths, 4 miniblocks of 32 packed differences
 *   BYTE_STREAM_SPLIT       all first bytes, all second bytes, …
 *
 * The loops are straight so that the compiler can use vectors. */
#pragma once

#include "common/bytes.h"

/* Bits that `value` needs. */
static inline unsigned bits_needed(uint64_t value)
{
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}

/* Packs 32 values of `width` bits (0..64) into 4 * width bytes. Bits above must be 0. */
void pack32(const uint64_t from[32], unsigned width, uint8_t *to);

void encode_hybrid(Bytes *to, const uint32_t *values, size_t count, unsigned width);
/* As encode_hybrid at width 1, from bits. */
void encode_hybrid_bits(Bytes *to, const uint8_t *bits, size_t count, bool all_set);
/* count times the same value. */
void encode_hybrid_run(Bytes *to, uint32_t value, size_t count, unsigned width);

void encode_delta_i32(Bytes *to, const int32_t *values, size_t count);
void encode_delta_i64(Bytes *to, const int64_t *values, size_t count);
void encode_split(Bytes *to, const uint8_t *values, size_t count, size_t width);
/* One byte each, 0 or 1, to bits. */
void encode_bools(Bytes *to, const uint8_t *values, size_t count);
/* Unscaled decimals, big-endian two's complement of `width` bytes (1..16). */
void encode_decimal(Bytes *to, const __int128 *values, size_t count, size_t width);
