/* Numbers, times and bytes as text. Pure. */
#pragma once

#include "common/bytes.h"
#include "common/powers.h"

#define SCALAR_I64_BYTES 20
#define SCALAR_TIMESTAMP_BYTES 40

extern const char scalar_pairs[200]; /* "000102…99" */

static inline unsigned scalar_digits(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned digits = bits * 1233 >> 12; /* bits * log10(2), never too much */
    return digits + (value >= powers_of_ten[digits]) + (value == 0);
}

/* Both return how many were written; no NUL. */
static inline unsigned scalar_u64(char *to, uint64_t value)
{
    unsigned count = scalar_digits(value);
    char *at = to + count;
    while (value >= 100) {
        at -= 2;
        memcpy(at, scalar_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10)
        memcpy(to, scalar_pairs + 2 * value, 2);
    else
        *to = (char)('0' + value);
    return count;
}
static inline unsigned scalar_i64(char *to, int64_t value)
{
    if (value >= 0)
        return scalar_u64(to, (uint64_t)value);
    *to = '-';
    return 1 + scalar_u64(to + 1, -(uint64_t)value);
}
static inline void scalar_put_i64(Bytes *to, int64_t value)
{
    bytes_reserve(to, SCALAR_I64_BYTES);
    to->used += scalar_i64((char *)to->data + to->used, value);
}
static inline void scalar_put_u64(Bytes *to, uint64_t value)
{
    bytes_reserve(to, SCALAR_I64_BYTES);
    to->used += scalar_u64((char *)to->data + to->used, value);
}
static inline void scalar_put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static inline int64_t scalar_floor(int64_t value, int64_t divisor)
{
    int64_t quotient = value / divisor;
    return quotient - (value % divisor < 0);
}

/* "2024-02-29T12:34:56.123456Z"; years of more than four digits have a sign, as ISO 8601's. */
unsigned scalar_timestamp(char to[SCALAR_TIMESTAMP_BYTES], int64_t micros, unsigned digits);
/* Days since 1970-01-01 of a day in the Gregorian calendar. */
int64_t scalar_days(int64_t year, unsigned month, unsigned day);

/* Appends what is short and has SCALAR_PADDING readable bytes behind it: for most a copy of a fixed
 * size. */
#define SCALAR_PADDING 16
static inline void scalar_put_padded(Bytes *to, const uint8_t *at, size_t bytes)
{
    bytes_reserve(to, bytes + SCALAR_PADDING);
    memcpy(to->data + to->used, at, SCALAR_PADDING);
    if (UNLIKELY(bytes > SCALAR_PADDING))
        memcpy(to->data + to->used + SCALAR_PADDING, at + SCALAR_PADDING, bytes - SCALAR_PADDING);
    to->used += bytes;
}

/* In quotes, escaped as Jackson does: \b \t \n \f \r \" \\ and \u00XX below space. */
void scalar_json_string(Bytes *to, const void *text, size_t bytes);
void scalar_base64(Bytes *to, const uint8_t *at, size_t bytes, bool url); /* padded */
void scalar_hex(Bytes *to, const uint8_t *at, size_t bytes);
void scalar_uuid(char to[36], const uint8_t uuid[16]);
/* The fewest digits that read back as the same number, always with a point or an exponent; finite
 * ones only. */
void scalar_real(Bytes *to, double value, bool single);
