/* Decimals: their unscaled integer as Java's BigInteger writes it (two's complement, big-endian, as
 * few bytes as hold it), and their text. Pure. */
#pragma once

#include "common/bytes.h"

#define NUMERIC_I128_BYTES 17
#define NUMERIC_TEXT_BYTES 48

/* Returns how many bytes. */
static inline unsigned numeric_i128(uint8_t to[NUMERIC_I128_BYTES], __int128 value)
{
    unsigned bytes = 1;
    while (bytes < 16 && (value >> (8 * bytes - 1)) != 0 && (value >> (8 * bytes - 1)) != -1)
        bytes++;
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return bytes;
}
/* "-0.05": all digits of the scale. Returns how many. */
unsigned numeric_text(char to[NUMERIC_TEXT_BYTES], __int128 value, unsigned scale);

/* The text of a numeric ("-12.50", no exponent) as its unscaled integer at `scale`, appended;
 * digits that don't fit there must be 0. scale < 0: at its own, without zeros at the end of the
 * fraction; *ret_scale is what it is then. False: it is no such number (NaN, Infinity). */
MUST_CHECK bool numeric_unscaled_text(const char *text, size_t bytes, int32_t scale, Bytes *scratch,
                                      Bytes *to, int32_t *ret_scale);
