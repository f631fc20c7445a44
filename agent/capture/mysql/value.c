/* Values: see value.h. One switch per value, which the branch predictor learns from the row's fixed
 * order of columns; nothing is allocated here, the batch's arena grows. */
#include "agent/capture/mysql/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/capture/mysql/decimal.h"
#include "agent/capture/mysql/json.h"
#include "agent/capture/mysql/temporal.h"
#include "common/text.h"

#define NOINLINE __attribute__((noinline))
#define PADDED_MAX 1024 /* the log has ten bits for a BINARY's length */

static const char too_large[] = "is larger than 512 MiB";

/* --- text --- */

static const char *print_number(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes,
                                Bytes *to)
{
    char text[32];
    if (decoder->column.type == MY_YEAR)
        snprintf(text, sizeof text, "%04u", at[0] ? 1900u + at[0] : 0);
    else if (decoder->column.is_unsigned)
        snprintf(text, sizeof text, "%" PRIu64, le_uint(at, bytes));
    else
        snprintf(text, sizeof text, "%" PRId64, le_int(at, bytes));
    bytes_put(to, text, strlen(text));
    return NULL;
}

static const char *print_bits(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes,
                              Bytes *to)
{
    uint64_t bits = be_uint(at, bytes);
    for (uint32_t i = decoder->column.bytes; i > 0; i--)
        bytes_put_u8(to, (uint8_t)('0' + (bits >> (i - 1) & 1)));
    return NULL;
}

static const char *print_enum(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes,
                              Bytes *to)
{
    uint64_t number = le_uint(at, bytes);
    if (number > decoder->label_count)
        return "is a number that its column has no label for";
    if (number)
        bytes_put(to, decoder->labels[number - 1], decoder->label_bytes[number - 1]);
    return NULL;
}

static const char *print_set(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes, Bytes *to)
{
    uint64_t bits = le_uint(at, bytes);
    bool first = true;
    for (; bits; bits &= bits - 1) {
        unsigned label = (unsigned)__builtin_ctzll(bits);
        if (label >= decoder->label_count)
            return "is a number that its column has no label for";
        if (!first)
            bytes_put_u8(to, ',');
        first = false;
        bytes_put(to, decoder->labels[label], decoder->label_bytes[label]);
    }
    return NULL;
}

/* UUID, INET4, INET6: their zeros at the end are left out. */
static const char *print_special(const MyColumn *column, const uint8_t *at, uint32_t bytes,
                                 Bytes *to)
{
    uint8_t whole[16] = {0};
    char text[INET6_ADDRSTRLEN];
    if (bytes > sizeof whole)
        return "is longer than its column";
    memcpy(whole, at, bytes);
    if (column->special == MY_SPECIAL_UUID) {
        static const char digits[] = "0123456789abcdef";
        for (size_t i = 0; i < sizeof whole; i++) {
            if (i == 4 || i == 6 || i == 8 || i == 10)
                bytes_put_u8(to, '-');
            bytes_put_u8(to, (uint8_t)digits[whole[i] >> 4]);
            bytes_put_u8(to, (uint8_t)digits[whole[i] & 15]);
        }
        return NULL;
    }
    int family = column->special == MY_SPECIAL_INET4 ? AF_INET : AF_INET6;
    if (!inet_ntop(family, whole, text, sizeof text))
        return "is no address";
    bytes_put(to, text, strlen(text));
    return NULL;
}

const char *value_print(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes, Bytes *to)
{
    const MyColumn *column = &decoder->column;
    Moment moment;
    const char *why;
    if (UNLIKELY(column->special))
        return print_special(column, at, bytes, to);
    switch (column->type) {
    case MY_TINY:
    case MY_SHORT:
    case MY_INT24:
    case MY_LONG:
    case MY_LONGLONG:
    case MY_YEAR:
        return print_number(decoder, at, bytes, to);
    case MY_NEWDECIMAL:
        return my_decimal_print(at, column->precision, column->scale, to);
    case MY_DATE:
    case MY_TIME:
    case MY_DATETIME:
    case MY_TIMESTAMP:
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        why = temporal_read(column->type, column->scale, at, &moment);
        if (!why)
            temporal_print(column->type, column->scale, &moment, to);
        return why;
    case MY_BIT:
        return print_bits(decoder, at, bytes, to);
    case MY_ENUM:
        return print_enum(decoder, at, bytes, to);
    case MY_SET:
        return print_set(decoder, at, bytes, to);
    case MY_JSON:
        return json_print(at, bytes, to);
    default:
        return charset_print(&decoder->charset, at, bytes, to);
    }
}

NOINLINE static const char *put_printed(const MyDecoder *decoder, Batch *batch, Column *column,
                                        const uint8_t *at, uint32_t bytes, Bytes *scratch)
{
    bytes_clear(scratch);
    const char *why = value_print(decoder, at, bytes, scratch);
    if (UNLIKELY(why != NULL))
        return why;
    if (UNLIKELY(scratch->used > COLUMN_BYTES_MAX / 2))
        return too_large;
    column_put_bytes(batch, column, scratch->used ? scratch->data : (const uint8_t *)"",
                     scratch->used);
    return NULL;
}

static const char *put_text(const MyDecoder *decoder, Batch *batch, Column *column,
                            const uint8_t *at, uint32_t bytes, Bytes *scratch)
{
    if (decoder->charset.kind != CHARSET_UTF8)
        return put_printed(decoder, batch, column, at, bytes, scratch);
    if (UNLIKELY(!text_is_utf8(at, bytes)))
        return "is no text of its column's character set";
    column_put_bytes(batch, column, at, bytes);
    return NULL;
}

/* --- the rest --- */

NOINLINE static const char *put_decimal(const MyDecoder *decoder, Batch *batch, Column *column,
                                        const uint8_t *at)
{
    __int128 unscaled;
    const char *why =
        my_decimal_unscaled(at, decoder->column.precision, decoder->column.scale, &unscaled);
    if (UNLIKELY(why != NULL))
        return why;
    column_put_i128(batch, column, unscaled);
    return NULL;
}

const char *value_put_moment(const MyDecoder *decoder, Batch *batch, Column *column,
                             const Moment *moment)
{
    int64_t us = 0;
    int32_t days = 0;
    const char *why = NULL;
    if (decoder->form == FORM_MY_DATE)
        why = temporal_days(moment, &days);
    else if (decoder->form == FORM_MY_TIMESTAMP)
        why = temporal_us(moment, &us);
    else if (decoder->form == FORM_MY_TIMESTAMPTZ && moment->is_zero)
        why = "is the zero timestamp, which no timestamp holds";
    else if (decoder->form == FORM_MY_TIMESTAMPTZ)
        us = moment->unix_us;
    else if (batch->as_sent)
        us = temporal_duration_us(moment);
    else
        why = temporal_time_us(moment, &us);
    if (UNLIKELY(why != NULL)) {
        if (!decoder->stands_in || decoder->form == FORM_MY_TIME)
            return why;
        if (!column->field->required) {
            column_put_null(batch, column);
            return NULL;
        }
        days = 0;
        us = 0;
    }
    if (decoder->form == FORM_MY_DATE)
        column_put_i32(batch, column, days);
    else
        column_put_i64(batch, column, us);
    return NULL;
}

NOINLINE static const char *put_moment(const MyDecoder *decoder, Batch *batch, Column *column,
                                       const uint8_t *at)
{
    Moment moment;
    const char *why = temporal_read(decoder->column.type, decoder->column.scale, at, &moment);
    return LIKELY(!why) ? value_put_moment(decoder, batch, column, &moment) : why;
}

static const char *put_vector(Batch *batch, Column *column, const uint8_t *at, uint32_t bytes)
{
    if (UNLIKELY(bytes % sizeof(float)))
        return "is no vector";
    for (uint32_t i = 0; i < bytes; i += sizeof(float)) {
        column_element_room(batch, column->child);
        memcpy(column_put_fixed(batch, column->child), at + i, sizeof(float));
    }
    column_put_list(batch, column);
    return NULL;
}

NOINLINE static const char *put_padded(const MyDecoder *decoder, Batch *batch, Column *column,
                                       const uint8_t *at, uint32_t bytes)
{
    uint8_t whole[PADDED_MAX];
    if (UNLIKELY(bytes > decoder->column.bytes || decoder->column.bytes > sizeof whole))
        return "is longer than its column";
    memcpy(whole, at, bytes);
    memset(whole + bytes, 0, decoder->column.bytes - bytes);
    column_put_bytes(batch, column, whole, decoder->column.bytes);
    return NULL;
}

const char *value_decode(const MyDecoder *decoder, Batch *batch, Column *column, const uint8_t *at,
                         uint32_t bytes, Bytes *scratch)
{
    const MyColumn *of = &decoder->column;
    uint8_t *to;
    if (UNLIKELY(bytes > COLUMN_BYTES_MAX / 2))
        return too_large;
    switch (decoder->form) {
    case FORM_MY_INT:
        column_put_i32(batch, column,
                       of->is_unsigned ? (int32_t)le_uint(at, bytes) : (int32_t)le_int(at, bytes));
        return NULL;
    case FORM_MY_LONG:
        column_put_i64(batch, column,
                       of->is_unsigned ? (int64_t)le_uint(at, bytes) : le_int(at, bytes));
        return NULL;
    case FORM_MY_ULONG:
        column_put_i128(batch, column, (__int128)le_uint(at, bytes));
        return NULL;
    case FORM_MY_FLOAT:
    case FORM_MY_DOUBLE:
        memcpy(column_put_fixed(batch, column), at, bytes);
        return NULL;
    case FORM_MY_YEAR:
        column_put_i32(batch, column, at[0] ? 1900 + at[0] : 0);
        return NULL;
    case FORM_MY_DECIMAL:
        return put_decimal(decoder, batch, column, at);
    case FORM_MY_DATE:
    case FORM_MY_TIME:
    case FORM_MY_TIMESTAMP:
    case FORM_MY_TIMESTAMPTZ:
        return put_moment(decoder, batch, column, at);
    case FORM_MY_BOOL:
        column_put_bool(batch, column, at[0] & 1);
        return NULL;
    case FORM_MY_TEXT:
        return put_text(decoder, batch, column, at, bytes, scratch);
    case FORM_MY_BINARY:
        column_put_bytes(batch, column, at, bytes);
        return NULL;
    case FORM_MY_PADDED:
        return put_padded(decoder, batch, column, at, bytes);
    case FORM_MY_WKB:
        if (UNLIKELY(bytes < 4 + 5))
            return "is no geometry";
        if (batch->as_sent)
            column_put_bytes(batch, column, at, bytes);
        else
            column_put_bytes(batch, column, at + 4, bytes - 4);
        return NULL;
    case FORM_MY_VECTOR:
        return put_vector(batch, column, at, bytes);
    case FORM_MY_UUID:
        if (UNLIKELY(bytes > 16))
            return "is longer than its column";
        to = column_put_fixed(batch, column);
        memset(to, 0, 16);
        memcpy(to, at, bytes);
        return NULL;
    case FORM_MY_PRINTED:
        return put_printed(decoder, batch, column, at, bytes, scratch);
    }
    return "has a form that is not known";
}
