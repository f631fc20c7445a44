/* numeric, as numeric_send writes it (the byte table stands in decode.h), to an unscaled integer or
 * to the server's text. Every function returns NULL, or the reason as decode_value does. */
#pragma once

#include "agent/capture/postgres/bigendian.h"
#include "common/bytes.h"
#include "common/powers.h"

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

/* As the server prints it: NaN, Infinity and -Infinity too. */
MUST_CHECK const char *numeric_print(const Numeric *numeric, Bytes *to);

/* --- into a decimal: once per value, so the usual case stands here --- */
extern const char numeric_does_not_fit[], numeric_no_digit[];

MUST_CHECK static inline const char *numeric_read(const uint8_t *value, uint32_t bytes,
                                                  Numeric *ret)
{
    if (UNLIKELY(bytes < 8))
        return "is too short for a numeric";
    *ret = (Numeric){.groups = be16(value),
                     .weight = (int16_t)be16(value + 2),
                     .sign = be16(value + 4),
                     .scale = be16(value + 6),
                     .at = value + 8};
    if (UNLIKELY(bytes != 8 + 2 * ret->groups))
        return "has a length that is not its numeric's";
    if (UNLIKELY(ret->scale > 0x3fff))
        return "is a numeric with an impossible scale";
    return NULL;
}

/* The usual case: up to four groups (16 digits), in 64 bits until the last step. `exponent` is that
 * of ten for the last group, seen from the wanted scale: -3 to 19. */
static inline const char *numeric_few_groups(const Numeric *numeric, uint32_t groups,
                                             int32_t exponent, unsigned __int128 *ret)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < groups; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return numeric_no_digit;
        sum = sum * 10000 + group;
    }
    if (exponent < 0) {
        if (UNLIKELY(sum % powers_of_ten[-exponent]))
            return numeric_does_not_fit;
        *ret = sum / powers_of_ten[-exponent];
    } else {
        *ret = (unsigned __int128)sum * powers_of_ten[exponent];
    }
    return NULL;
}

const char *numeric_many_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                                unsigned __int128 *ret);

/* The value at 10^-scale; finite ones only. */
MUST_CHECK static inline const char *numeric_unscaled(const Numeric *numeric, unsigned scale,
                                                      __int128 *ret)
{
    uint32_t groups = numeric->groups;
    int32_t exponent = 4 * (numeric->weight - (int32_t)groups + 1) + (int32_t)scale;
    while (exponent <= -4 && groups && be16(numeric->at + 2 * (groups - 1)) == 0) {
        groups--;
        exponent += 4;
    }
    *ret = 0;
    if (groups == 0)
        return NULL;
    if (UNLIKELY(exponent <= -4 || exponent > 38 || groups > 11))
        return numeric_does_not_fit;
    unsigned __int128 size;
    const char *why = groups <= 4 && exponent < (int32_t)POWERS_OF_TEN
                          ? numeric_few_groups(numeric, groups, exponent, &size)
                          : numeric_many_groups(numeric, groups, exponent, &size);
    if (UNLIKELY(why != NULL))
        return why;
    *ret = numeric->sign == SIGN_MINUS ? -(__int128)size : (__int128)size;
    return NULL;
}
