#include "agent/table/parquet/encode.h"

#define BLOCK 128
#define MINIBLOCK 32
#define MINIBLOCKS (BLOCK / MINIBLOCK)
#define GROUP 8

/* The worst-paid loops get a copy for AVX2 (and one that runs everywhere). */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/* ---------- bit packing ---------- */
static inline __attribute__((always_inline)) void pack_at(const uint64_t *from, uint8_t *to,
                                                          const unsigned width)
{
    uint64_t word = 0;
    unsigned at = 0;
#ifdef __clang__
#pragma unroll
#else
#pragma GCC unroll 32
#endif
    for (unsigned i = 0; i < MINIBLOCK; i++) {
        word |= from[i] << at;
        at += width;
        if (at >= 64) {
            memcpy(to, &word, sizeof word);
            to += sizeof word;
            at -= 64;
            word = at ? from[i] >> (width - at) : 0;
        }
    }
    if (at) /* 32 * width bits end on a multiple of 4 bytes */
        memcpy(to, &word, 4);
}

/* clang-format off */
#define EACH_WIDTH(X) \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) \
    X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) \
    X(27) X(28) X(29) X(30) X(31) X(32) X(33) X(34) X(35) X(36) X(37) X(38) X(39) \
    X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47) X(48) X(49) X(50) X(51) X(52) \
    X(53) X(54) X(55) X(56) X(57) X(58) X(59) X(60) X(61) X(62) X(63) X(64)
/* clang-format on */
#define PACK_FUNCTION(width)                                                                       \
    static void pack_##width(const uint64_t *from, uint8_t *to)                                    \
    {                                                                                              \
        pack_at(from, to, width);                                                                  \
    }
EACH_WIDTH(PACK_FUNCTION)

typedef void Pack(const uint64_t *from, uint8_t *to);
#define PACK_ENTRY(width) pack_##width,
static Pack *const packs[65] = {NULL, EACH_WIDTH(PACK_ENTRY)};

void pack32(const uint64_t from[32], unsigned width, uint8_t *to)
{
    if (width)
        packs[width](from, to);
}

/* ---------- RLE/bit-packed hybrid ---------- */
void encode_hybrid_run(Bytes *to, uint32_t value, size_t count, unsigned width)
{
    if (!count)
        return;
    bytes_put_varint(to, (uint64_t)count << 1);
    bytes_put(to, &value, (width + 7) / 8);
}

static void put_literals(Bytes *to, const uint32_t *values, size_t count, unsigned width)
{
    if (!count)
        return;
    size_t groups = (count + GROUP - 1) / GROUP;
    bytes_put_varint(to, (uint64_t)groups << 1 | 1);
    bytes_reserve(to, (groups + 4) * width); /* pack32 writes whole fours of groups */
    for (size_t i = 0; i < count; i += MINIBLOCK) {
        uint64_t wide[MINIBLOCK] = {0};
        size_t left = count - i < MINIBLOCK ? count - i : MINIBLOCK;
        for (size_t k = 0; k < left; k++)
            wide[k] = values[i + k];
        pack32(wide, width, to->data + to->used + i / GROUP * width);
    }
    to->used += groups * width;
}

void encode_hybrid(Bytes *to, const uint32_t *values, size_t count, unsigned width)
{
    size_t from = 0; /* of the literals not yet written, a multiple of 8 before i */
    size_t i = 0;
    while (i + GROUP <= count) {
        uint32_t differs = 0;
        for (unsigned k = 1; k < GROUP; k++)
            differs |= values[i] ^ values[i + k];
        if (differs) {
            i += GROUP;
            continue;
        }
        size_t end = i + GROUP;
        while (end < count && values[end] == values[i])
            end++;
        if (end - i < 2 * GROUP && end < count) { /* too short to interrupt the literals for */
            i += GROUP;
            continue;
        }
        put_literals(to, values + from, i - from, width);
        encode_hybrid_run(to, values[i], end - i, width);
        from = i = end;
    }
    put_literals(to, values + from, count - from, width);
}

void encode_hybrid_bits(Bytes *to, const uint8_t *bits, size_t count, bool all_set)
{
    if (all_set) {
        encode_hybrid_run(to, 1, count, 1);
        return;
    }
    size_t groups = (count + GROUP - 1) / GROUP;
    bytes_put_varint(to, (uint64_t)groups << 1 | 1);
    bytes_put(to, bits, groups);
}

/* ---------- DELTA_BINARY_PACKED ---------- */
static void put_block(Bytes *to, uint64_t *deltas, size_t count)
{
    for (size_t i = count; i < BLOCK; i++)
        deltas[i] = 0;
    uint8_t *widths = to->data + to->used;
    to->used += MINIBLOCKS;
    for (unsigned mini = 0; mini < MINIBLOCKS; mini++) {
        const uint64_t *part = deltas + (size_t)mini * MINIBLOCK;
        uint64_t all = 0;
        for (unsigned i = 0; i < MINIBLOCK; i++)
            all |= part[i];
        unsigned width = bits_needed(all);
        widths[mini] = (uint8_t)width;
        if ((size_t)mini * MINIBLOCK >= count)
            continue; /* no body for a miniblock without values */
        pack32(part, width, to->data + to->used);
        to->used += (size_t)width * 4;
    }
}

/* Differences wrap in the type's own width, so that int32 never needs more than 32 bits. */
#define ENCODE_DELTA(name, signed_t, unsigned_t, least_t)                                          \
    WIDE static signed_t differences_##name(const signed_t *values, size_t count, uint64_t *to)    \
    {                                                                                              \
        signed_t least = least_t;                                                                  \
        signed_t deltas[BLOCK];                                                                    \
        for (size_t i = 0; i < count; i++) {                                                       \
            deltas[i] = (signed_t)((unsigned_t)values[i + 1] - (unsigned_t)values[i]);             \
            least = deltas[i] < least ? deltas[i] : least;                                         \
        }                                                                                          \
        for (size_t i = 0; i < count; i++)                                                         \
            to[i] = (unsigned_t)((unsigned_t)deltas[i] - (unsigned_t)least);                       \
        return least;                                                                              \
    }                                                                                              \
    void encode_delta_##name(Bytes *to, const signed_t *values, size_t count)                      \
    {                                                                                              \
        uint64_t deltas[BLOCK];                                                                    \
        bytes_put_varint(to, BLOCK);                                                               \
        bytes_put_varint(to, MINIBLOCKS);                                                          \
        bytes_put_varint(to, count);                                                               \
        bytes_put_zigzag(to, count ? values[0] : 0);                                               \
        for (size_t at = 1; at < count; at += BLOCK) {                                             \
            size_t block = count - at < BLOCK ? count - at : BLOCK;                                \
            signed_t least = differences_##name(values + at - 1, block, deltas);                   \
            bytes_reserve(to, 10 + MINIBLOCKS + BLOCK * sizeof(signed_t));                         \
            bytes_put_zigzag(to, least);                                                           \
            put_block(to, deltas, block);                                                          \
        }                                                                                          \
    }
ENCODE_DELTA(i32, int32_t, uint32_t, INT32_MAX)
ENCODE_DELTA(i64, int64_t, uint64_t, INT64_MAX)

/* ---------- the rest ---------- */
void encode_split(Bytes *to, const uint8_t *values, size_t count, size_t width)
{
    bytes_reserve(to, count * width);
    uint8_t *out = to->data + to->used;
    if (width == 8) {
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < 8; k++)
                out[k * count + i] = values[i * 8 + k];
    } else {
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < width; k++)
                out[k * count + i] = values[i * width + k];
    }
    to->used += count * width;
}

void encode_bools(Bytes *to, const uint8_t *values, size_t count)
{
    size_t bytes = (count + 7) / 8;
    bytes_reserve(to, bytes);
    uint8_t *out = to->data + to->used;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t eight;
        memcpy(&eight, values + i, sizeof eight);
        /* Gathers the low bit of each byte in the top byte, the first value lowest. */
        out[i / 8] = (uint8_t)(eight * 0x0102040810204080u >> 56);
    }
    if (i < count) {
        out[i / 8] = 0;
        for (; i < count; i++)
            out[i / 8] |= (uint8_t)(values[i] << (i & 7));
    }
    to->used += bytes;
}

void encode_decimal(Bytes *to, const __int128 *values, size_t count, size_t width)
{
    bytes_reserve(to, count * width);
    uint8_t *out = to->data + to->used;
    for (size_t i = 0; i < count; i++) {
        unsigned __int128 value = (unsigned __int128)values[i];
        for (size_t k = width; k-- > 0; value >>= 8)
            out[k] = (uint8_t)value;
        out += width;
    }
    to->used += count * width;
}
