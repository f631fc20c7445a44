/* See text.h. */
#include "agent/capture/mysql/text.h"

#include <errno.h>
#include <stdio.h>

#include "agent/capture/mysql/temporal.h"
#include "common/text.h"

#define NUMBER_BYTES_MAX 400 /* a DOUBLE without exponent */

static const char no_number[] = "is no number";
static const char no_moment[] = "is no date or time";

static bool read_int(const uint8_t *at, size_t bytes, __int128 *ret)
{
    bool negative = bytes && at[0] == '-';
    __int128 value = 0;
    size_t i = negative;
    if (i == bytes || bytes - i > 38)
        return false;
    for (; i < bytes; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        value = value * 10 + (at[i] - '0');
    }
    *ret = negative ? -value : value;
    return true;
}

/* "-12.30" of scale 2: -1230. The server shows as many digits as its column has. */
static bool read_decimal(const uint8_t *at, size_t bytes, unsigned scale, __int128 *ret)
{
    uint8_t digits[80];
    size_t used = 0;
    unsigned behind = 0;
    bool point = false;
    if (bytes > sizeof digits)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] == '.' && !point) {
            point = true;
            continue;
        }
        digits[used++] = at[i];
        behind += point;
    }
    return behind == scale && read_int(digits, used, ret);
}

static bool read_double(const uint8_t *at, size_t bytes, double *ret)
{
    char text[NUMBER_BYTES_MAX], *end;
    if (!bytes || bytes >= sizeof text)
        return false;
    memcpy(text, at, bytes);
    text[bytes] = '\0';
    *ret = strtod(text, &end);
    return end == text + bytes;
}

/* --- dates and times --- */

static bool read_digits(const uint8_t **at, const uint8_t *end, unsigned least, unsigned most,
                        uint32_t *ret)
{
    unsigned count = 0;
    *ret = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && count < most; (*at)++, count++)
        *ret = *ret * 10 + (uint32_t)(**at - '0');
    return count >= least;
}

static bool read_mark(const uint8_t **at, const uint8_t *end, char mark)
{
    if (*at == end || **at != (uint8_t)mark)
        return false;
    (*at)++;
    return true;
}

static bool read_clock(const uint8_t **at, const uint8_t *end, Moment *ret)
{
    static const uint32_t scales[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    if (!read_digits(at, end, 2, 3, &ret->hour) || !read_mark(at, end, ':') ||
        !read_digits(at, end, 2, 2, &ret->minute) || !read_mark(at, end, ':') ||
        !read_digits(at, end, 2, 2, &ret->second))
        return false;
    if (!read_mark(at, end, '.'))
        return true;
    const uint8_t *from = *at;
    if (!read_digits(at, end, 1, 6, &ret->microsecond))
        return false;
    ret->microsecond *= scales[*at - from];
    return true;
}

static bool read_moment(const MyDecoder *decoder, const uint8_t *at, size_t bytes, Moment *ret)
{
    const uint8_t *end = at + bytes;
    *ret = (Moment){0};
    if (decoder->form == FORM_MY_TIME) {
        ret->negative = read_mark(&at, end, '-');
        return read_clock(&at, end, ret) && at == end;
    }
    if (!read_digits(&at, end, 4, 4, &ret->year) || !read_mark(&at, end, '-') ||
        !read_digits(&at, end, 2, 2, &ret->month) || !read_mark(&at, end, '-') ||
        !read_digits(&at, end, 2, 2, &ret->day))
        return false;
    if (decoder->form == FORM_MY_DATE)
        return at == end;
    return read_mark(&at, end, ' ') && read_clock(&at, end, ret) && at == end;
}

static const char *put_moment(const MyDecoder *decoder, Batch *batch, Column *column,
                              const uint8_t *at, size_t bytes)
{
    Moment moment;
    if (!read_moment(decoder, at, bytes, &moment))
        return no_moment;
    if (decoder->form == FORM_MY_TIMESTAMPTZ) {
        moment.is_zero = !moment.year && !moment.month && !moment.day;
        const char *why = moment.is_zero ? NULL : temporal_us(&moment, &moment.unix_us);
        if (why)
            return why;
    }
    return value_put_moment(decoder, batch, column, &moment);
}

/* --- the rest --- */

static const char *put_int(const MyDecoder *decoder, Batch *batch, Column *column,
                           const uint8_t *at, size_t bytes)
{
    __int128 value;
    if (!read_int(at, bytes, &value))
        return no_number;
    switch (decoder->form) {
    case FORM_MY_INT:
    case FORM_MY_YEAR:
        if (value < INT32_MIN || value > INT32_MAX)
            return no_number;
        column_put_i32(batch, column, (int32_t)value);
        return NULL;
    case FORM_MY_LONG:
        if (value < INT64_MIN || value > INT64_MAX)
            return no_number;
        column_put_i64(batch, column, (int64_t)value);
        return NULL;
    default:
        column_put_i128(batch, column, value);
        return NULL;
    }
}

static const char *put_float(const MyDecoder *decoder, Batch *batch, Column *column,
                             const uint8_t *at, size_t bytes)
{
    double value;
    if (!read_double(at, bytes, &value))
        return no_number;
    if (decoder->form == FORM_MY_DOUBLE) {
        memcpy(column_put_fixed(batch, column), &value, sizeof value);
        return NULL;
    }
    float narrow = (float)value;
    memcpy(column_put_fixed(batch, column), &narrow, sizeof narrow);
    return NULL;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *put_uuid(Batch *batch, Column *column, const uint8_t *at, size_t bytes)
{
    uint8_t uuid[16];
    size_t used = 0;
    for (size_t i = 0; i + 1 < bytes && used < sizeof uuid; i++) {
        if (at[i] == '-')
            continue;
        int high = hex_digit(at[i]), low = hex_digit(at[i + 1]);
        if (high < 0 || low < 0)
            return "is no uuid";
        uuid[used++] = (uint8_t)(high << 4 | low);
        i++;
    }
    if (used != sizeof uuid)
        return "is no uuid";
    memcpy(column_put_fixed(batch, column), uuid, sizeof uuid);
    return NULL;
}

/* Bytes as the log has them: what has a text is that already. */
static const char *put_printed(const MyDecoder *decoder, Batch *batch, Column *column,
                               const uint8_t *at, size_t bytes, Bytes *scratch)
{
    if (decoder->column.type == MY_BIT) {
        bytes_clear(scratch);
        if (bytes != (decoder->column.bytes + 7) / 8)
            return "has a length that is not its type's";
        const char *why = value_print(decoder, at, (uint32_t)bytes, scratch);
        if (!why)
            column_put_bytes(batch, column, scratch->data, scratch->used);
        return why;
    }
    if (!text_is_utf8(at, bytes))
        return "is no text of its column's character set";
    column_put_bytes(batch, column, at, bytes);
    return NULL;
}

const char *text_decode(const MyDecoder *decoder, Batch *batch, Column *column, const uint8_t *at,
                        size_t bytes, Bytes *scratch)
{
    __int128 unscaled;
    if (UNLIKELY(bytes > COLUMN_BYTES_MAX / 2))
        return "is larger than 512 MiB";
    switch (decoder->form) {
    case FORM_MY_INT:
    case FORM_MY_LONG:
    case FORM_MY_ULONG:
    case FORM_MY_YEAR:
        return put_int(decoder, batch, column, at, bytes);
    case FORM_MY_FLOAT:
    case FORM_MY_DOUBLE:
        return put_float(decoder, batch, column, at, bytes);
    case FORM_MY_DECIMAL:
        if (!read_decimal(at, bytes, decoder->column.scale, &unscaled))
            return no_number;
        column_put_i128(batch, column, unscaled);
        return NULL;
    case FORM_MY_DATE:
    case FORM_MY_TIME:
    case FORM_MY_TIMESTAMP:
    case FORM_MY_TIMESTAMPTZ:
        return put_moment(decoder, batch, column, at, bytes);
    case FORM_MY_UUID:
        return put_uuid(batch, column, at, bytes);
    case FORM_MY_BOOL:
    case FORM_MY_BINARY:
    case FORM_MY_PADDED:
    case FORM_MY_WKB:
    case FORM_MY_VECTOR:
        if (decoder->form == FORM_MY_BOOL && bytes != 1)
            return "has a length that is not its type's";
        return value_decode(decoder, batch, column, at, (uint32_t)bytes, scratch);
    case FORM_MY_TEXT:
    case FORM_MY_PRINTED:
        return put_printed(decoder, batch, column, at, bytes, scratch);
    }
    return "has a form that is not known";
}
