/* The decoders, each handing out values a few at a time, so that no page's own counts decide how
 * much memory is taken. All bytes are hostile: a false means they are cut or wrong.
 * https://github.com/apache/parquet-format/blob/master/Encodings.md; the byte tables are in
 * encode.h.
 *
 * Buffers they read from must have DECODE_SLACK readable bytes behind their end: packed values are
 * loaded eight bytes at a time. */
#pragma once

#include "common/bytes.h"
#include "common/reader.h"

#define DECODE_SLACK 16

/* RLE/bit-packed hybrid. */
typedef struct HybridDecoder {
    Reader in;
    unsigned width;    /* 0..32 */
    uint32_t run_left; /* of the current run */
    bool packed;
    uint32_t value;    /* of a repeated run */
    const uint8_t *at; /* of a packed run */
    unsigned bit;      /* within at[0] */
} HybridDecoder;

MUST_CHECK bool hybrid_open(HybridDecoder *decoder, Reader in, unsigned width);
MUST_CHECK bool hybrid_take(HybridDecoder *decoder, uint32_t *to, size_t count);

/* DELTA_BINARY_PACKED; values of INT32 are right in their low 32 bits. */
typedef struct DeltaDecoder {
    Reader in;
    uint64_t left;      /* values not handed out */
    uint64_t mini_size; /* values in a miniblock */
    uint64_t mini_count;
    uint64_t value; /* the next one, if it is the header's; else the latest */
    bool first;
    uint64_t least;
    const uint8_t *widths; /* of the miniblocks of this block */
    uint64_t mini;         /* current miniblock; mini_count: a block must be read */
    uint64_t mini_left;
    unsigned width;
    const uint8_t *at;
    unsigned bit;
} DeltaDecoder;

MUST_CHECK bool delta_open(DeltaDecoder *decoder, Reader in);
MUST_CHECK bool delta_take(DeltaDecoder *decoder, int64_t *to, size_t count);
/* What follows all of the values: a copy of the decoder is run to its end. */
MUST_CHECK bool delta_rest(const DeltaDecoder *decoder, Reader *ret);
