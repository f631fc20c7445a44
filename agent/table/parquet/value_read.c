/* Values of a page, by encoding, to dense arrays of numbers or pieces. */
#include <stdio.h>

#include "agent/table/parquet/column_reader.h"

#define BUILT_BYTES_MAX ((size_t)512 << 20) /* one slice of DELTA_BYTE_ARRAY */

size_t physical_width(Physical physical)
{
    switch (physical) {
    case PHYSICAL_INT32:
    case PHYSICAL_FLOAT:
        return 4;
    case PHYSICAL_INT64:
    case PHYSICAL_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

static bool is_pieces(Physical physical)
{
    return physical == PHYSICAL_BYTE_ARRAY || physical == PHYSICAL_FIXED;
}

static bool plain_piece(Physical physical, uint32_t width, Reader *in, Piece *ret)
{
    ret->bytes = width;
    if (physical == PHYSICAL_BYTE_ARRAY && !reader_u32(in, &ret->bytes))
        return false;
    return reader_take(in, ret->bytes, &ret->at);
}

bool dictionary_open(ColumnReader *reader, size_t bytes, Error *err)
{
    Physical physical = reader->source.physical;
    size_t each = is_pieces(physical)
                      ? (physical == PHYSICAL_FIXED ? reader->source.width : sizeof(uint32_t))
                      : physical_width(physical);
    if (!each || reader->dictionary_count > bytes / each)
        return column_data_error(reader, "a dictionary has fewer values than it says", err);
    if (!is_pieces(physical))
        return true;
    Reader in = reader_over(reader->dictionary.data, bytes);
    reader->pieces =
        mem_regrow(reader->pieces, (size_t)reader->dictionary_count + 1, sizeof(Piece));
    for (uint32_t i = 0; i < reader->dictionary_count; i++)
        if (!plain_piece(physical, reader->source.width, &in, &reader->pieces[i]))
            return column_data_error(reader, "a dictionary is cut", err);
    return true;
}

static bool open_split(ColumnReader *reader)
{
    size_t width = reader->source.physical == PHYSICAL_FIXED
                       ? reader->source.width
                       : physical_width(reader->source.physical);
    size_t bytes = reader_left(&reader->values);
    if (!width || bytes % width)
        return false;
    reader->split = reader->values.at;
    reader->split_count = bytes / width;
    reader->split_at = 0;
    return true;
}

static bool open_rle_booleans(ColumnReader *reader)
{
    uint32_t bytes;
    const uint8_t *data;
    return reader->source.physical == PHYSICAL_BOOLEAN && reader_u32(&reader->values, &bytes) &&
           reader_take(&reader->values, bytes, &data) &&
           hybrid_open(&reader->numbers, reader_over(data, bytes), 1);
}

static bool open_numbers(ColumnReader *reader)
{
    uint8_t width;
    if (!reader->has_dictionary)
        return false;
    if (!reader_left(&reader->values)) /* a page of nulls */
        return hybrid_open(&reader->numbers, reader->values, 0);
    return reader_u8(&reader->values, &width) &&
           hybrid_open(&reader->numbers, reader->values, width);
}

bool values_open(ColumnReader *reader, Error *err)
{
    Physical physical = reader->source.physical;
    bool nothing = !reader_left(&reader->values); /* a page of nulls may have no body at all */
    bool good = false;
    reader->bit = 0;
    switch (reader->encoding) {
    case ENCODING_PLAIN:
        good = true;
        break;
    case ENCODING_RLE:
        good = open_rle_booleans(reader) || nothing;
        break;
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_RLE_DICTIONARY:
        good = open_numbers(reader);
        break;
    case ENCODING_DELTA_BINARY_PACKED:
        good = (physical == PHYSICAL_INT32 || physical == PHYSICAL_INT64) &&
               (nothing || delta_open(&reader->delta, reader->values));
        break;
    case ENCODING_DELTA_LENGTH_BYTE_ARRAY:
        good = physical == PHYSICAL_BYTE_ARRAY &&
               (nothing || (delta_open(&reader->delta, reader->values) &&
                            delta_rest(&reader->delta, &reader->values)));
        break;
    case ENCODING_DELTA_BYTE_ARRAY:
        bytes_clear(&reader->previous);
        good = is_pieces(physical) && (nothing || (delta_open(&reader->delta, reader->values) &&
                                                   delta_rest(&reader->delta, &reader->values) &&
                                                   delta_open(&reader->suffixes, reader->values) &&
                                                   delta_rest(&reader->suffixes, &reader->values)));
        break;
    case ENCODING_BYTE_STREAM_SPLIT:
        good = open_split(reader);
        break;
    default:
        break;
    }
    if (nothing) {
        reader->delta = (DeltaDecoder){0};
        reader->suffixes = (DeltaDecoder){0};
        if (reader->encoding == ENCODING_RLE)
            reader->numbers = (HybridDecoder){.width = 1};
    }
    char what[80];
    snprintf(what, sizeof what, "a page of encoding %d is cut or does not fit the type",
             reader->encoding);
    return good || column_data_error(reader, what, err);
}

/* ---------- taking ---------- */
static bool take_plain(ColumnReader *reader, uint32_t count)
{
    Physical physical = reader->source.physical;
    const uint8_t *from;
    if (is_pieces(physical)) {
        for (uint32_t i = 0; i < count; i++)
            if (!plain_piece(physical, reader->source.width, &reader->values,
                             &reader->out.pieces[i]))
                return false;
        return true;
    }
    if (physical == PHYSICAL_BOOLEAN) {
        if ((uint64_t)reader->bit + count > (uint64_t)reader_left(&reader->values) * 8)
            return false;
        for (uint32_t i = 0; i < count; i++, reader->bit++)
            reader->out.u8[i] = bit_get(reader->values.at, reader->bit);
        return true;
    }
    size_t bytes = count * physical_width(physical);
    if (!bytes || !reader_take(&reader->values, bytes, &from))
        return false;
    memcpy(reader->out.raw, from, bytes);
    return true;
}

static bool take_numbered(ColumnReader *reader, uint32_t count)
{
    uint32_t *at = reader->indices;
    if (!hybrid_take(&reader->numbers, at, count))
        return false;
    uint32_t most = 0;
    for (uint32_t i = 0; i < count; i++)
        most = at[i] > most ? at[i] : most;
    if (most >= reader->dictionary_count)
        return false;
    if (is_pieces(reader->source.physical)) {
        for (uint32_t i = 0; i < count; i++)
            reader->out.pieces[i] = reader->pieces[at[i]];
    } else if (physical_width(reader->source.physical) == 4) {
        const uint8_t *values = reader->dictionary.data;
        for (uint32_t i = 0; i < count; i++)
            memcpy(&reader->out.i32[i], values + (size_t)at[i] * 4, 4);
    } else {
        const uint8_t *values = reader->dictionary.data;
        for (uint32_t i = 0; i < count; i++)
            memcpy(&reader->out.i64[i], values + (size_t)at[i] * 8, 8);
    }
    return true;
}

static bool take_rle(ColumnReader *reader, uint32_t count)
{
    if (!hybrid_take(&reader->numbers, reader->indices, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        reader->out.u8[i] = reader->indices[i] & 1;
    return true;
}

static bool take_delta(ColumnReader *reader, uint32_t count)
{
    if (reader->source.physical == PHYSICAL_INT64)
        return delta_take(&reader->delta, reader->out.i64, count);
    if (!delta_take(&reader->delta, reader->longs, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        reader->out.i32[i] = (int32_t)reader->longs[i];
    return true;
}

static bool take_delta_length(ColumnReader *reader, uint32_t count)
{
    if (!delta_take(&reader->delta, reader->longs, count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        int64_t bytes = (int32_t)reader->longs[i];
        if (bytes < 0 || !reader_take(&reader->values, (size_t)bytes, &reader->out.pieces[i].at))
            return false;
        reader->out.pieces[i].bytes = (uint32_t)bytes;
    }
    return true;
}

static bool take_delta_strings(ColumnReader *reader, uint32_t count)
{
    if (!delta_take(&reader->delta, reader->longs, count) ||
        !delta_take(&reader->suffixes, reader->more_longs, count))
        return false;
    size_t total = 0, before = reader->previous.used;
    for (uint32_t i = 0; i < count; i++) { /* lengths first: pieces must not move */
        int64_t prefix = (int32_t)reader->longs[i], suffix = (int32_t)reader->more_longs[i];
        if (prefix < 0 || suffix < 0 || (uint64_t)prefix > before)
            return false;
        before = (size_t)(prefix + suffix);
        total += before;
        if (total > BUILT_BYTES_MAX)
            return false;
    }
    bytes_clear(&reader->built);
    bytes_reserve(&reader->built, total + 1);
    const uint8_t *latest = reader->previous.data;
    size_t latest_bytes = reader->previous.used;
    for (uint32_t i = 0; i < count; i++) {
        size_t prefix = (size_t)reader->longs[i], suffix = (size_t)reader->more_longs[i];
        const uint8_t *tail;
        if (!reader_take(&reader->values, suffix, &tail))
            return false;
        uint8_t *to = reader->built.data + reader->built.used;
        bytes_put(&reader->built, latest, prefix);
        bytes_put(&reader->built, tail, suffix);
        latest = to;
        latest_bytes = prefix + suffix;
        reader->out.pieces[i] = (Piece){to, (uint32_t)latest_bytes};
        if (reader->source.physical == PHYSICAL_FIXED && latest_bytes != reader->source.width)
            return false;
    }
    if (count) {
        bytes_clear(&reader->previous);
        bytes_put(&reader->previous, latest, latest_bytes);
    }
    return true;
}

static bool take_split(ColumnReader *reader, uint32_t count)
{
    bool fixed = reader->source.physical == PHYSICAL_FIXED;
    size_t width = fixed ? reader->source.width : physical_width(reader->source.physical);
    if (count > reader->split_count - reader->split_at || count * width > BUILT_BYTES_MAX)
        return false;
    uint8_t *to = reader->out.raw;
    if (fixed) {
        bytes_clear(&reader->built);
        bytes_reserve(&reader->built, count * width + 1);
        to = reader->built.data;
        for (uint32_t i = 0; i < count; i++)
            reader->out.pieces[i] = (Piece){to + i * width, (uint32_t)width};
    }
    for (size_t k = 0; k < width; k++) {
        const uint8_t *stream = reader->split + k * reader->split_count + reader->split_at;
        for (uint32_t i = 0; i < count; i++)
            to[i * width + k] = stream[i];
    }
    reader->split_at += count;
    return true;
}

bool values_take(ColumnReader *reader, uint32_t count, Error *err)
{
    bool good = false;
    if (!count)
        return true;
    switch (reader->encoding) {
    case ENCODING_PLAIN:
        good = take_plain(reader, count);
        break;
    case ENCODING_RLE:
        good = take_rle(reader, count);
        break;
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_RLE_DICTIONARY:
        good = take_numbered(reader, count);
        break;
    case ENCODING_DELTA_BINARY_PACKED:
        good = take_delta(reader, count);
        break;
    case ENCODING_DELTA_LENGTH_BYTE_ARRAY:
        good = take_delta_length(reader, count);
        break;
    case ENCODING_DELTA_BYTE_ARRAY:
        good = take_delta_strings(reader, count);
        break;
    case ENCODING_BYTE_STREAM_SPLIT:
        good = take_split(reader, count);
        break;
    default:
        break;
    }
    return good || column_data_error(reader, "a page's values are cut or wrong", err);
}
