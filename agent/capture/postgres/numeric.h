/* numeric, as numeric_send writes it (the byte table stands in decode.h), to an unscaled integer or
 * to the server's text. Every function returns NULL, or the reason as decode_value does. */
#pragma once

#include "common/bytes.h"

enum {
    SIGN_PLUS = 0,
    SIGN_MINUS = 0x4000,
    SIGN_NAN = 0xC000,
    SIGN_INF = 0xD000,
    SIGN_NINF = 0xF000
};

typedef struct Numeric {
    uint32_t groups;
    int32_t weight;
    uint16_t sign;
    uint32_t scale; /* digits to show after the point */
    const uint8_t *at;
} Numeric;

MUST_CHECK const char *numeric_read(const uint8_t *value, uint32_t bytes, Numeric *ret);
/* The value at 10^-scale; finite ones only. */
MUST_CHECK const char *numeric_unscaled(const Numeric *numeric, unsigned scale, __int128 *ret);
/* As the server prints it: NaN, Infinity and -Infinity too. */
MUST_CHECK const char *numeric_print(const Numeric *numeric, Bytes *to);

extern const char numeric_does_not_fit[];
