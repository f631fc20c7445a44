#include "agent/table/parquet/decode.h"

#define MINIBLOCK_VALUES_MAX (1u << 20)
#define MINIBLOCKS_MAX 512

/* Up to 57 bits at any bit; the caller's buffer has slack. */
static inline uint64_t load_bits(const uint8_t *at, unsigned bit)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word >> bit;
}

static inline uint64_t low_mask(unsigned width)
{
    return width < 64 ? ((uint64_t)1 << width) - 1 : UINT64_MAX;
}

/* ---------- hybrid ---------- */
bool hybrid_open(HybridDecoder *decoder, Reader in, unsigned width)
{
    *decoder = (HybridDecoder){.in = in, .width = width};
    return width <= 32;
}

static bool hybrid_run(HybridDecoder *decoder)
{
    uint64_t head;
    if (!reader_varint(&decoder->in, &head) || head >> 1 > INT32_MAX || !(head >> 1))
        return false;
    decoder->packed = head & 1;
    if (!decoder->packed) {
        const uint8_t *value;
        size_t bytes = (decoder->width + 7) / 8;
        if (!reader_take(&decoder->in, bytes, &value))
            return false;
        decoder->run_left = (uint32_t)(head >> 1);
        decoder->value = 0;
        memcpy(&decoder->value, value, bytes);
        return true;
    }
    uint64_t groups = head >> 1;
    uint64_t bytes = groups * decoder->width;
    if (bytes > reader_left(&decoder->in)) { /* some writers leave the last group's padding out */
        bytes = reader_left(&decoder->in);
        decoder->run_left = (uint32_t)(bytes * 8 / decoder->width);
    } else {
        if (groups > INT32_MAX / 8)
            return false;
        decoder->run_left = (uint32_t)groups * 8;
    }
    decoder->bit = 0;
    return reader_take(&decoder->in, bytes, &decoder->at) && decoder->run_left > 0;
}

bool hybrid_take(HybridDecoder *decoder, uint32_t *to, size_t count)
{
    while (count) {
        if (!decoder->run_left && !hybrid_run(decoder))
            return false;
        size_t part = count < decoder->run_left ? count : decoder->run_left;
        if (decoder->packed) {
            const uint8_t *at = decoder->at;
            size_t bit = decoder->bit;
            unsigned width = decoder->width;
            uint64_t mask = low_mask(width);
            for (size_t i = 0; i < part; i++, bit += width)
                to[i] = (uint32_t)(load_bits(at + bit / 8, bit & 7) & mask);
            decoder->at = at + bit / 8;
            decoder->bit = bit & 7;
        } else {
            for (size_t i = 0; i < part; i++)
                to[i] = decoder->value;
        }
        decoder->run_left -= (uint32_t)part;
        to += part;
        count -= part;
    }
    return true;
}

/* ---------- delta ---------- */
bool delta_open(DeltaDecoder *decoder, Reader in)
{
    uint64_t block;
    int64_t first;
    *decoder = (DeltaDecoder){.in = in, .first = true};
    if (!reader_varint(&decoder->in, &block) ||
        !reader_varint(&decoder->in, &decoder->mini_count) ||
        !reader_varint(&decoder->in, &decoder->left) || !reader_zigzag(&decoder->in, &first))
        return false;
    if (!decoder->mini_count || decoder->mini_count > MINIBLOCKS_MAX ||
        block % decoder->mini_count || decoder->left > INT32_MAX)
        return false;
    decoder->mini_size = block / decoder->mini_count;
    decoder->mini = decoder->mini_count;
    decoder->value = (uint64_t)first;
    return decoder->mini_size && decoder->mini_size <= MINIBLOCK_VALUES_MAX &&
           decoder->mini_size % 8 == 0;
}

static bool delta_miniblock(DeltaDecoder *decoder)
{
    if (decoder->mini + 1 >= decoder->mini_count) {
        int64_t least;
        if (!reader_zigzag(&decoder->in, &least) ||
            !reader_take(&decoder->in, decoder->mini_count, &decoder->widths))
            return false;
        decoder->least = (uint64_t)least;
        decoder->mini = 0;
    } else {
        decoder->mini++;
    }
    decoder->width = decoder->widths[decoder->mini];
    decoder->mini_left = decoder->mini_size;
    decoder->bit = 0;
    if (decoder->width > 64)
        return false;
    uint64_t bytes = decoder->mini_size / 8 * decoder->width;
    if (bytes > reader_left(&decoder->in)) { /* the last one may be cut to its values */
        uint64_t need = (decoder->left * decoder->width + 7) / 8;
        if (decoder->left >= decoder->mini_size || need > reader_left(&decoder->in))
            return false;
        bytes = reader_left(&decoder->in);
    }
    return reader_take(&decoder->in, bytes, &decoder->at);
}

static void delta_unpack(DeltaDecoder *decoder, int64_t *to, size_t count)
{
    const uint8_t *at = decoder->at;
    size_t bit = decoder->bit;
    unsigned width = decoder->width;
    uint64_t mask = low_mask(width), value = decoder->value, least = decoder->least;
    if (!width) {
        for (size_t i = 0; i < count; i++)
            to[i] = (int64_t)(value += least);
    } else {
        for (size_t i = 0; i < count; i++, bit += width) {
            uint64_t delta = load_bits(at + bit / 8, bit & 7);
            if (width > 57 && (bit & 7)) /* the ninth byte */
                delta |= (uint64_t)at[bit / 8 + 8] << (64 - (bit & 7));
            value += least + (delta & mask);
            to[i] = (int64_t)value;
        }
        decoder->at = at + bit / 8;
        decoder->bit = bit & 7;
    }
    decoder->value = value;
}

bool delta_take(DeltaDecoder *decoder, int64_t *to, size_t count)
{
    if (count > decoder->left)
        return false;
    if (count && decoder->first) {
        decoder->first = false;
        *to++ = (int64_t)decoder->value;
        count--;
        decoder->left--;
    }
    while (count) {
        if (!decoder->mini_left && !delta_miniblock(decoder))
            return false;
        size_t part = count < decoder->mini_left ? count : decoder->mini_left;
        delta_unpack(decoder, to, part);
        decoder->mini_left -= part;
        decoder->left -= part;
        to += part;
        count -= part;
    }
    return true;
}

bool delta_rest(const DeltaDecoder *decoder, Reader *ret)
{
    DeltaDecoder end = *decoder;
    if (end.left && end.first) {
        end.first = false;
        end.left--;
    }
    while (end.left) {
        if (!delta_miniblock(&end))
            return false;
        end.left -= end.left < end.mini_size ? end.left : end.mini_size;
    }
    *ret = end.in;
    return true;
}
