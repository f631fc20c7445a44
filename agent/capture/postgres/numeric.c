#include "agent/capture/postgres/numeric.h"

const char numeric_does_not_fit[] = "does not fit its decimal";
const char numeric_no_digit[] = "is a numeric with an impossible digit";

/* sum * by + plus, refused above 2^127 (10^38 is less). */
static bool multiply_add(unsigned __int128 *sum, uint32_t by, uint32_t plus)
{
    const unsigned __int128 most = ((unsigned __int128)1 << 127) - 10000;
    if (UNLIKELY(*sum > most / by))
        return false;
    *sum = *sum * by + plus;
    return true;
}

/* Up to 11 groups: 38 digits can begin and end inside a group. */
const char *numeric_many_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                                unsigned __int128 *ret)
{
    uint32_t whole = exponent < 0 ? groups - 1 : groups;
    *ret = 0;
    for (uint32_t i = 0; i < whole; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return numeric_no_digit;
        if (!multiply_add(ret, 10000, group))
            return numeric_does_not_fit;
    }
    if (exponent < 0) {
        uint16_t group = be16(numeric->at + 2 * whole);
        uint32_t cut = (uint32_t)powers_of_ten[-exponent];
        if (group > 9999 || group % cut ||
            !multiply_add(ret, (uint32_t)powers_of_ten[4 + exponent], group / cut))
            return numeric_does_not_fit;
    }
    for (; exponent > 0; exponent--)
        if (!multiply_add(ret, 10, 0))
            return numeric_does_not_fit;
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
            return numeric_no_digit;
        for (int digit = 3; digit >= 0; digit--) {
            uint8_t shown = (uint8_t)('0' + group / powers_of_ten[digit] % 10);
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
            return numeric_no_digit;
        *text++ = (uint8_t)('0' + group / powers_of_ten[3 - digit % 4] % 10);
    }
    ASSERT((size_t)(text - begin) <= room);
    to->used += (size_t)(text - begin);
    return NULL;
}
