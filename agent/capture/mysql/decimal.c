/* Decimals: see decimal.h. */
#include "agent/capture/mysql/decimal.h"

#define GROUP 9
static const uint8_t group_bytes[GROUP + 1] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};
static const uint32_t powers[GROUP + 1] = {1,      10,      100,      1000,      10000,
                                           100000, 1000000, 10000000, 100000000, 1000000000};
static const char no_decimal[] = "is no decimal";

unsigned my_decimal_bytes(unsigned precision, unsigned scale)
{
    unsigned whole = precision - scale;
    return whole / GROUP * 4 + group_bytes[whole % GROUP] + scale / GROUP * 4 +
           group_bytes[scale % GROUP];
}

/* Its groups, from the highest, and how many digits each has. */
typedef struct Groups {
    uint32_t value[10];
    uint8_t digits[10];
    unsigned count, whole; /* whole: so many stand before the point */
    bool negative;
} Groups;

static const char *read_groups(const uint8_t *at, unsigned precision, unsigned scale, Groups *ret)
{
    *ret = (Groups){.negative = !(at[0] & 0x80)};
    unsigned whole = precision - scale;
    if (whole % GROUP)
        ret->digits[ret->count++] = (uint8_t)(whole % GROUP);
    for (unsigned i = 0; i < whole / GROUP; i++)
        ret->digits[ret->count++] = GROUP;
    ret->whole = ret->count;
    for (unsigned i = 0; i < scale / GROUP; i++)
        ret->digits[ret->count++] = GROUP;
    if (scale % GROUP)
        ret->digits[ret->count++] = (uint8_t)(scale % GROUP);
    for (unsigned i = 0, from = 0; i < ret->count; i++) {
        unsigned bytes = group_bytes[ret->digits[i]];
        uint8_t raw[4];
        for (unsigned j = 0; j < bytes; j++)
            raw[j] =
                (uint8_t)(at[from + j] ^ (from + j == 0 ? 0x80 : 0) ^ (ret->negative ? 0xff : 0));
        ret->value[i] = (uint32_t)be_uint(raw, bytes);
        if (UNLIKELY(ret->value[i] >= powers[ret->digits[i]]))
            return no_decimal;
        from += bytes;
    }
    return NULL;
}

const char *my_decimal_unscaled(const uint8_t *at, unsigned precision, unsigned scale,
                                __int128 *ret)
{
    Groups groups;
    const char *why = read_groups(at, precision, scale, &groups);
    if (UNLIKELY(why != NULL))
        return why;
    __int128 sum = 0;
    for (unsigned i = 0; i < groups.count; i++)
        sum = sum * powers[groups.digits[i]] + groups.value[i];
    *ret = groups.negative ? -sum : sum;
    return NULL;
}

static unsigned digits_of(uint32_t value)
{
    unsigned digits = 1;
    while (digits < GROUP && value >= powers[digits])
        digits++;
    return digits;
}

static char *put_group(char *to, uint32_t value, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--, value /= 10)
        to[i - 1] = (char)('0' + value % 10);
    return to + digits;
}

const char *my_decimal_print(const uint8_t *at, unsigned precision, unsigned scale, Bytes *to)
{
    Groups groups;
    const char *why = read_groups(at, precision, scale, &groups);
    if (why)
        return why;
    char text[DECIMAL_PRECISION_MAX + 8], *out = text;
    bool leading = true;
    if (groups.negative)
        *out++ = '-';
    for (unsigned i = 0; i < groups.count; i++) {
        if (i == groups.whole) {
            if (leading)
                *out++ = '0';
            *out++ = '.';
            leading = false;
        }
        if (!leading)
            out = put_group(out, groups.value[i], groups.digits[i]);
        else if (groups.value[i])
            out = put_group(out, groups.value[i], digits_of(groups.value[i]));
        leading = leading && !groups.value[i];
    }
    if (leading)
        *out++ = '0';
    bytes_put(to, text, (size_t)(out - text));
    return NULL;
}
