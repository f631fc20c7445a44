#include "agent/capture/postgres/numeric.h"

#include "agent/capture/postgres/bigendian.h"

const char *numeric_read(const uint8_t *value, uint32_t bytes, Numeric *ret)
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

const char numeric_does_not_fit[] = "does not fit its decimal";

/* sum * by + plus, refused above 2^127 (10^38 is less). */
static bool multiply_add(unsigned __int128 *sum, uint32_t by, uint32_t plus)
{
    const unsigned __int128 most = ((unsigned __int128)1 << 127) - 10000;
    if (UNLIKELY(*sum > most / by))
        return false;
    *sum = *sum * by + plus;
    return true;
}

static const uint64_t powers[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static const char no_digit[] = "is a numeric with an impossible digit";

/* The usual case: up to four groups (16 digits), in 64 bits until the last step. `exponent` is that
 * of ten for the last group, seen from the wanted scale: -3 to 18. */
static const char *few_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                              unsigned __int128 *ret)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < groups; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return no_digit;
        sum = sum * 10000 + group;
    }
    if (exponent < 0) {
        if (UNLIKELY(sum % powers[-exponent]))
            return numeric_does_not_fit;
        *ret = sum / powers[-exponent];
    } else {
        *ret = (unsigned __int128)sum * powers[exponent];
    }
    return NULL;
}

/* Up to 11 groups: 38 digits can begin and end inside a group. */
static const char *many_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                               unsigned __int128 *ret)
{
    uint32_t whole = exponent < 0 ? groups - 1 : groups;
    *ret = 0;
    for (uint32_t i = 0; i < whole; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return no_digit;
        if (!multiply_add(ret, 10000, group))
            return numeric_does_not_fit;
    }
    if (exponent < 0) {
        uint16_t group = be16(numeric->at + 2 * whole);
        uint32_t cut = (uint32_t)powers[-exponent];
        if (group > 9999 || group % cut ||
            !multiply_add(ret, (uint32_t)powers[4 + exponent], group / cut))
            return numeric_does_not_fit;
    }
    for (; exponent > 0; exponent--)
        if (!multiply_add(ret, 10, 0))
            return numeric_does_not_fit;
    return NULL;
}

const char *numeric_unscaled(const Numeric *numeric, unsigned scale, __int128 *ret)
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
    const char *why = groups <= 4 && exponent < (int32_t)ARRAY_LEN(powers)
                          ? few_groups(numeric, groups, exponent, &size)
                          : many_groups(numeric, groups, exponent, &size);
    if (UNLIKELY(why != NULL))
        return why;
    *ret = numeric->sign == SIGN_MINUS ? -(__int128)size : (__int128)size;
    return NULL;
}

const char *numeric_print(const Numeric *numeric, Bytes *to)
{
    const char *special = numeric->sign == SIGN_NAN    ? "NaN"
                          : numeric->sign == SIGN_INF  ? "Infinity"
                          : numeric->sign == SIGN_NINF ? "-Infinity"
                                                       : NULL;
    if (special) {
        bytes_put(to, special, strlen(special));
        return NULL;
    }
    if (numeric->sign != SIGN_PLUS && numeric->sign != SIGN_MINUS)
        return "is a numeric with an impossible sign";
    size_t room = (size_t)(numeric->weight < 0 ? 1 : numeric->weight + 1) * 4 + numeric->scale + 8;
    bytes_reserve(to, room);
    uint8_t *text = to->data + to->used, *begin = text;
    if (numeric->sign == SIGN_MINUS)
        *text++ = '-';
    bool begun = false;
    for (int32_t at = 0; at <= numeric->weight; at++) {
        uint32_t group = at < (int32_t)numeric->groups ? be16(numeric->at + 2 * at) : 0;
        if (group > 9999)
            return no_digit;
        for (int digit = 3; digit >= 0; digit--) {
            uint8_t shown = (uint8_t)('0' + group / powers[digit] % 10);
            if (begun || shown != '0')
                *text++ = shown;
            begun = begun || shown != '0';
        }
    }
    if (!begun)
        *text++ = '0';
    if (numeric->scale)
        *text++ = '.';
    for (uint32_t digit = 0; digit < numeric->scale; digit++) {
        int32_t at = numeric->weight + 1 + (int32_t)(digit / 4);
        uint32_t group = at >= 0 && at < (int32_t)numeric->groups ? be16(numeric->at + 2 * at) : 0;
        if (group > 9999)
            return no_digit;
        *text++ = (uint8_t)('0' + group / powers[3 - digit % 4] % 10);
    }
    ASSERT((size_t)(text - begin) <= room);
    to->used += (size_t)(text - begin);
    return NULL;
}
