#include "agent/table/parquet/codec.h"

#include <snappy-c.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#define GZIP_WINDOW (15 + 32)      /* the largest window; zlib's and gzip's head are both fine */
#define TRIAL_EVERY 16             /* pages */
#define TRIAL_BYTES_MIN (32 << 10) /* small pages are not worth a second try */
#define TRIAL_BYTES_MAX (4 << 20)

struct Compressor {
    int level;
    ZSTD_CCtx *zstd;
    Bytes out[2]; /* the second only for trials */
};

void compressor_free(Compressor *compressor)
{
    if (!compressor)
        return;
    ZSTD_freeCCtx(compressor->zstd);
    bytes_done(&compressor->out[0]);
    bytes_done(&compressor->out[1]);
    free(compressor);
}

Compressor *compressor_new(int zstd_level)
{
    Compressor *compressor = mem_zalloc(sizeof *compressor);
    compressor->level = zstd_level;
    if (zstd_level) {
        compressor->zstd = ZSTD_createCCtx();
        ASSERT(compressor->zstd);
    }
    return compressor;
}

Codec compressor_codec(const Compressor *compressor)
{
    return compressor->level ? CODEC_ZSTD : CODEC_UNCOMPRESSED;
}

size_t compressor_memory(const Compressor *compressor)
{
    return (compressor->zstd ? ZSTD_sizeof_CCtx(compressor->zstd) : 0) + compressor->out[0].held +
           compressor->out[1].held;
}

static void parameter(ZSTD_CCtx *zstd, ZSTD_cParameter name, int value)
{
    size_t result = ZSTD_CCtx_setParameter(zstd, name, value);
    ASSERT(!ZSTD_isError(result));
}

/* Level 1 with long matches only and a small table: literals go to Huffman at little cost. */
static void choose(Compressor *compressor, bool entropy_only)
{
    ZSTD_CCtx_reset(compressor->zstd, ZSTD_reset_session_and_parameters);
    parameter(compressor->zstd, ZSTD_c_compressionLevel, entropy_only ? 1 : compressor->level);
    if (entropy_only) {
        parameter(compressor->zstd, ZSTD_c_strategy, ZSTD_fast);
        parameter(compressor->zstd, ZSTD_c_minMatch, 7);
        parameter(compressor->zstd, ZSTD_c_hashLog, 12);
    }
}

static void zstd_run(Compressor *compressor, bool entropy_only, const uint8_t *data, size_t bytes,
                     Bytes *to)
{
    choose(compressor, entropy_only);
    bytes_clear(to);
    size_t bound = ZSTD_compressBound(bytes);
    bytes_reserve(to, bound);
    size_t result = ZSTD_compress2(compressor->zstd, to->data, bound, data, bytes);
    ASSERT(!ZSTD_isError(result));
    to->used = result;
}

/* Both ways; *ret_smaller is what came out smaller. */
static void try_both(Compressor *compressor, CompressorHabit *habit, const uint8_t *data,
                     size_t bytes, const Bytes **ret_smaller)
{
    Bytes *search = &compressor->out[0], *entropy = &compressor->out[1];
    zstd_run(compressor, false, data, bytes, search);
    zstd_run(compressor, true, data, bytes, entropy);
    habit->pages_until_trial = TRIAL_EVERY;
    habit->entropy_only = entropy->used <= search->used;
    *ret_smaller = habit->entropy_only ? entropy : search;
}

void compressor_run(Compressor *compressor, CompressorHabit *habit, const uint8_t *data,
                    size_t bytes, const uint8_t **ret, size_t *ret_bytes)
{
    if (!compressor->level) {
        *ret = data;
        *ret_bytes = bytes;
        return;
    }
    const Bytes *out = &compressor->out[0];
    bool tries = !habit->pages_until_trial && bytes >= TRIAL_BYTES_MIN;
    habit->pages_until_trial -= habit->pages_until_trial > 0;
    if (tries && bytes > TRIAL_BYTES_MAX) /* a part of it tells as much */
        try_both(compressor, habit, data, TRIAL_BYTES_MAX, &out);
    if (tries && bytes <= TRIAL_BYTES_MAX) {
        try_both(compressor, habit, data, bytes, &out);
    } else {
        zstd_run(compressor, habit->entropy_only, data, bytes, &compressor->out[0]);
        out = &compressor->out[0];
    }
    *ret = out->data;
    *ret_bytes = out->used;
}

void compressor_rest(Compressor *compressor, size_t bytes_kept)
{
    for (size_t i = 0; i < ARRAY_LEN(compressor->out); i++)
        if (compressor->out[i].held > bytes_kept)
            bytes_done(&compressor->out[i]);
}

/* ---------- decompressing ---------- */
struct Decompressor {
    ZSTD_DCtx *zstd; /* some 80 KB; NULL: not asked for since it rested */
};

void decompressor_free(Decompressor *decompressor)
{
    if (!decompressor)
        return;
    decompressor_rest(decompressor);
    free(decompressor);
}

void decompressor_rest(Decompressor *decompressor)
{
    ZSTD_freeDCtx(TAKE(decompressor->zstd));
}

Decompressor *decompressor_new(void)
{
    return mem_zalloc(sizeof(Decompressor));
}

static ZSTD_DCtx *zstd_of(Decompressor *decompressor)
{
    if (!decompressor->zstd)
        decompressor->zstd = ZSTD_createDCtx();
    ASSERT(decompressor->zstd);
    return decompressor->zstd;
}

bool codec_plausible(Codec codec, const uint8_t *from, size_t from_bytes, size_t to_bytes)
{
    size_t length;
    unsigned long long content;
    switch (codec) {
    case CODEC_UNCOMPRESSED:
        return from_bytes == to_bytes;
    case CODEC_SNAPPY:
        return snappy_uncompressed_length((const char *)from, from_bytes, &length) == SNAPPY_OK &&
               length == to_bytes && to_bytes / 64 <= from_bytes;
    case CODEC_GZIP:
        return to_bytes / 1100 <= from_bytes;
    case CODEC_ZSTD:
        content = ZSTD_getFrameContentSize(from, from_bytes);
        if (content == ZSTD_CONTENTSIZE_ERROR)
            return false;
        /* A block of 4 bytes gives at most 128 KiB. */
        return (content == ZSTD_CONTENTSIZE_UNKNOWN || content <= to_bytes) &&
               to_bytes / (32 << 10) <= from_bytes;
    }
    return false;
}

static bool gzip_run(const uint8_t *from, size_t from_bytes, uint8_t *to, size_t to_bytes)
{
    z_stream stream = {
        .next_in = from, .avail_in = (uInt)from_bytes, .next_out = to, .avail_out = (uInt)to_bytes};
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK)
        return false;
    bool good = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == to_bytes;
    inflateEnd(&stream);
    return good;
}

bool decompressor_run(Decompressor *decompressor, Codec codec, const uint8_t *from,
                      size_t from_bytes, uint8_t *to, size_t to_bytes, Error *err)
{
    bool good = false;
    size_t length = to_bytes;
    switch (codec) {
    case CODEC_UNCOMPRESSED:
        good = from_bytes == to_bytes;
        if (good && to_bytes)
            memcpy(to, from, to_bytes);
        break;
    case CODEC_SNAPPY:
        good =
            snappy_uncompress((const char *)from, from_bytes, (char *)to, &length) == SNAPPY_OK &&
            length == to_bytes;
        break;
    case CODEC_GZIP:
        good = gzip_run(from, from_bytes, to, to_bytes);
        break;
    case CODEC_ZSTD:
        length = ZSTD_decompressDCtx(zstd_of(decompressor), to, to_bytes, from, from_bytes);
        good = !ZSTD_isError(length) && length == to_bytes;
        break;
    }
    return good || error_set(err, ERROR_DATA, "ParquetPage",
                             "a page of %zu bytes does not decompress to %zu (codec %d)",
                             from_bytes, to_bytes, (int)codec);
}
