/* Decimals of any length: see numeric.h. */
#include "agent/topic/numeric.h"

#include "agent/topic/scalar.h"

#define LIMB_DIGITS 9
#define LIMB 1000000000u

unsigned numeric_text(char to[NUMERIC_TEXT_BYTES], __int128 value, unsigned scale)
{
    char digits[NUMERIC_TEXT_BYTES];
    unsigned at = sizeof digits, count = 0;
    unsigned __int128 size = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    while (size > UINT64_MAX) {
        digits[--at] = (char)('0' + (unsigned)(size % 10));
        size /= 10;
    }
    for (uint64_t rest = (uint64_t)size; rest; rest /= 10)
        digits[--at] = (char)('0' + rest % 10);
    while (sizeof digits - at <= scale)
        digits[--at] = '0';
    unsigned whole = (unsigned)sizeof digits - at - scale;
    if (value < 0)
        to[count++] = '-';
    memcpy(to + count, digits + at, whole);
    count += whole;
    if (scale) {
        to[count++] = '.';
        memcpy(to + count, digits + at + whole, scale);
        count += scale;
    }
    return count;
}

/* The digits alone, without leading zeros, at the scale: into scratch. False: not a number, or
 * digits would be lost. */
static bool take_digits(const char *text, size_t bytes, int32_t scale, Bytes *scratch,
                        int32_t *ret_scale)
{
    bool point = false;
    int32_t fraction = 0;
    bytes_clear(scratch);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (text[i] < '0' || text[i] > '9')
            return false;
        fraction += point;
        if (scratch->used || text[i] != '0')
            bytes_put_u8(scratch, (uint8_t)text[i]);
    }
    int32_t wanted = scale < 0 ? 0 : scale;
    while (fraction > wanted && (scratch->used == 0 || scratch->data[scratch->used - 1] == '0')) {
        if (scratch->used)
            scratch->used--;
        fraction--;
    }
    if (scale >= 0 && fraction > scale)
        return false;
    while (fraction < wanted) {
        if (scratch->used)
            bytes_put_u8(scratch, '0');
        fraction++;
    }
    *ret_scale = fraction;
    return true;
}

/* Digits to bytes, the lowest first: by limbs of nine digits, multiplied in from the highest. */
static size_t digits_to_bytes(const Bytes *digits, Bytes *to)
{
    size_t words = digits->used / LIMB_DIGITS + 1, used = 0;
    size_t from = to->used;
    bytes_reserve(to, 4 * words + 1);
    memset(to->data + from, 0, 4 * words + 1);
    for (size_t at = 0; at < digits->used;) {
        size_t take = (digits->used - at) % LIMB_DIGITS;
        take = take ? take : LIMB_DIGITS;
        uint64_t carry = 0, power = 1;
        for (size_t i = 0; i < take; i++) {
            carry = carry * 10 + (uint64_t)(digits->data[at + i] - '0');
            power *= 10;
        }
        at += take;
        for (size_t i = 0; i < used || carry; i++) {
            uint32_t word;
            memcpy(&word, to->data + from + 4 * i, 4);
            carry += (uint64_t)word * power;
            word = (uint32_t)carry;
            memcpy(to->data + from + 4 * i, &word, 4);
            carry >>= 32;
            used = i >= used ? i + 1 : used;
        }
    }
    return 4 * used;
}

bool numeric_unscaled_text(const char *text, size_t bytes, int32_t scale, Bytes *scratch, Bytes *to,
                           int32_t *ret_scale)
{
    bool negative = bytes && text[0] == '-';
    text += negative;
    bytes -= negative;
    if (!bytes || !take_digits(text, bytes, scale, scratch, ret_scale))
        return false;
    size_t from = to->used;
    size_t count = digits_to_bytes(scratch, to);
    uint8_t *at = to->data + from;
    at[count++] = 0;
    if (negative) { /* two's complement */
        unsigned carry = 1;
        for (size_t i = 0; i < count; i++) {
            carry += (uint8_t)~at[i];
            at[i] = (uint8_t)carry;
            carry >>= 8;
        }
    }
    while (count > 1 && ((at[count - 1] == 0 && at[count - 2] < 0x80) ||
                         (at[count - 1] == 0xff && at[count - 2] >= 0x80)))
        count--;
    for (size_t i = 0; i < count / 2; i++) {
        uint8_t swap = at[i];
        at[i] = at[count - 1 - i];
        at[count - 1 - i] = swap;
    }
    to->used += count;
    return true;
}
