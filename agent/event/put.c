/* See decode.h. */
#include <math.h>
#include <string.h>

#include "agent/event/decode.h"

#define DAY_MICROS INT64_C(86400000000)

bool event_put_micros(Decode *decode, const WireType *wire, Column *column, int64_t value)
{
    int64_t scaled;
    if (__builtin_mul_overflow(value, wire->multiplier, &scaled))
        return decode_bad(decode, "does not fit its column");
    if (scaled % wire->divisor)
        return decode_bad(decode, "is finer than a microsecond");
    scaled /= wire->divisor;
    /* MySQL's times go further, and PostgreSQL has 24:00 */
    if (column->field->type.kind == TYPE_TIME && (scaled < 0 || scaled >= DAY_MICROS))
        return decode_bad(decode, "is no time of a day");
    column_put_i64(decode->batch, column, scaled);
    return true;
}

bool event_put_real(Decode *decode, Column *column, double value)
{
    if (column->width == 8) {
        memcpy(column_put_fixed(decode->batch, column), &value, sizeof value);
        return true;
    }
    float single = (float)value;
    if (isinf(single) && !isinf(value))
        return decode_bad(decode, "does not fit its column");
    memcpy(column_put_fixed(decode->batch, column), &single, sizeof single);
    return true;
}

bool event_put_text(Decode *decode, const WireType *wire, Column *column, const char *text,
                    size_t bytes)
{
    int64_t micros;
    uint8_t uuid[16];
    switch (wire->form) {
    case FORM_ZONED:
        if (!value_zoned(text, bytes, &micros))
            return decode_bad(decode, "is no time with a zone, down to microseconds");
        column_put_i64(decode->batch, column, micros);
        return true;
    case FORM_UUID:
        if (!value_uuid(text, bytes, uuid))
            return decode_bad(decode, "is no UUID");
        memcpy(column_put_fixed(decode->batch, column), uuid, sizeof uuid);
        return true;
    default:
        if (bytes > COLUMN_BYTES_MAX / 2)
            return decode_bad(decode, "is too long");
        column_put_bytes(decode->batch, column, text, bytes);
        return true;
    }
}

static void put_scratch(Decode *decode, Column *column, const Bytes *from)
{
    column_put_bytes(decode->batch, column, from->used ? (const void *)from->data : "", from->used);
}

bool event_put_bytes(Decode *decode, const WireType *wire, Column *column, const uint8_t *at,
                     size_t bytes)
{
    __int128 value;
    if (bytes > COLUMN_BYTES_MAX / 16)
        return decode_bad(decode, "is too long");
    bytes_clear(&decode->text);
    switch (wire->form) {
    case FORM_DECIMAL:
    case FORM_SCALED:
        if (!value_decimal(at, bytes, column->field->type.precision, &value))
            return decode_bad(decode, "has more digits than its column");
        column_put_i128(decode->batch, column, value);
        return true;
    case FORM_DECIMAL_TEXT:
        if (!value_decimal_text(at, bytes, wire->scale, &decode->text))
            return decode_bad(decode, "is no decimal");
        put_scratch(decode, column, &decode->text);
        return true;
    case FORM_BITS:
        value_bits(at, bytes, wire->length, &decode->text);
        put_scratch(decode, column, &decode->text);
        return true;
    default:
        column_put_bytes(decode->batch, column, bytes ? (const void *)at : "", bytes);
        return true;
    }
}

bool event_put_variable(Decode *decode, Column *column, const uint8_t *at, size_t bytes,
                        int64_t scale)
{
    bytes_clear(&decode->text);
    if (scale > VALUE_SCALE_MAX || scale < -VALUE_SCALE_MAX ||
        !value_decimal_text(at, bytes, (int32_t)scale, &decode->text))
        return decode_bad(decode, "is no decimal");
    put_scratch(decode, column, &decode->text);
    return true;
}

bool event_put_null(Decode *decode, Column *column)
{
    if (UNLIKELY(column->field->required))
        return decode_bad(decode, "is null, and its column is required");
    column_put_null(decode->batch, column);
    return true;
}

void decode_row_begin(Decode *decode)
{
    size_t words = decode->batch->column_count / 64 + 1; /* there may be none */
    if (words > decode->seen_words) {
        decode->seen_words = words;
        decode->seen = mem_regrow(decode->seen, words, sizeof *decode->seen);
    }
    memset(decode->seen, 0, words * sizeof *decode->seen);
}

bool event_put_missing(Decode *decode)
{
    const Batch *batch = decode->batch;
    for (uint32_t i = 0; i < batch->column_count; i++) {
        uint64_t word = decode->seen[i / 64];
        if (LIKELY(i % 64 == 0 && word == UINT64_MAX)) {
            i += 63;
            continue;
        }
        if (LIKELY(word >> i % 64 & 1))
            continue;
        decode->field = NULL;
        if (batch->columns[i].field->required)
            return decode_bad(decode, "lacks a column of the key");
        column_put_null(decode->batch, &batch->columns[i]);
    }
    return true;
}
