#include "agent/event/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MICROS_PER_SECOND INT64_C(1000000)
#define SECONDS_PER_DAY 86400
#define YEAR_MAX 294276

/* --- times --- */
typedef struct Text {
    const char *at, *end;
} Text;

static bool take_char(Text *text, char wanted)
{
    if (text->at == text->end || *text->at != wanted)
        return false;
    text->at++;
    return true;
}

static inline unsigned two(const char *at, unsigned *bad)
{
    unsigned high = (unsigned)(at[0] - '0'), low = (unsigned)(at[1] - '0');
    *bad |= (high > 9) | (low > 9);
    return 10 * high + low;
}

static bool take_two(Text *text, int64_t most, int64_t *ret)
{
    unsigned bad = 0;
    if (text->end - text->at < 2)
        return false;
    *ret = two(text->at, &bad);
    text->at += 2;
    return !bad && *ret <= most;
}

static bool take_year(Text *text, int64_t *ret)
{
    bool negative = take_char(text, '-');
    if (!negative)
        (void)take_char(text, '+');
    const char *from = text->at;
    *ret = 0;
    while (text->at < text->end && (unsigned)(*text->at - '0') < 10 && text->at - from < 9)
        *ret = 10 * *ret + (*text->at++ - '0');
    if (text->at - from < 4 || *ret > YEAR_MAX)
        return false;
    if (negative)
        *ret = -*ret;
    return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_fraction(Text *text, int64_t *ret_micros)
{
    int64_t unit = MICROS_PER_SECOND / 10;
    const char *from = text->at;
    *ret_micros = 0;
    for (; text->at < text->end && (unsigned)(*text->at - '0') < 10; text->at++, unit /= 10) {
        if (!unit && *text->at != '0')
            return false; /* finer than a microsecond */
        *ret_micros += unit * (*text->at - '0');
    }
    return text->at > from;
}

static bool take_zone(Text *text, int64_t *ret_seconds)
{
    int64_t hours, minutes = 0;
    *ret_seconds = 0;
    if (take_char(text, 'Z'))
        return true;
    bool behind = take_char(text, '-');
    if ((!behind && !take_char(text, '+')) || !take_two(text, 18, &hours))
        return false;
    if (text->at < text->end)
        (void)take_char(text, ':');
    if (text->at < text->end && !take_two(text, 59, &minutes))
        return false;
    *ret_seconds = (behind ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* As Firn, Debezium and most of the world write it, "2026-11-22T12:34:56.123456Z" with as many
 * digits as it takes. False: another form, or none. */
static bool zoned_usual(const char *at, size_t bytes, int64_t *ret_micros)
{
    static const uint32_t units[] = {100000, 10000, 1000, 100, 10, 1};
    bool whole = bytes == 20;
    if (!whole && (bytes < 22 || bytes > 27 || at[19] != '.'))
        return false;
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' ||
        at[bytes - 1] != 'Z')
        return false;
    unsigned bad = 0, fraction = 0;
    unsigned year = 100 * two(at, &bad) + two(at + 2, &bad);
    unsigned month = two(at + 5, &bad), day = two(at + 8, &bad);
    unsigned hour = two(at + 11, &bad), minute = two(at + 14, &bad), second = two(at + 17, &bad);
    for (size_t i = 20; i < bytes - 1; i++) {
        unsigned digit = (unsigned)(at[i] - '0');
        bad |= digit > 9;
        fraction = 10 * fraction + digit;
    }
    if (bad || month - 1 > 11 || day - 1 > 30 || hour > 24 || minute > 59 || second > 60)
        return false;
    *ret_micros =
        (days_of(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second) *
            MICROS_PER_SECOND +
        (whole ? 0 : fraction * units[bytes - 22]);
    return true;
}

bool value_zoned(const char *from, size_t bytes, int64_t *ret_micros)
{
    if (LIKELY(zoned_usual(from, bytes, ret_micros)))
        return true;
    Text text = {from, from + bytes};
    int64_t year, month, day, hour, minute, second = 0, fraction = 0, zone;
    if (!take_year(&text, &year) || !take_char(&text, '-') || !take_two(&text, 12, &month) ||
        !take_char(&text, '-') || !take_two(&text, 31, &day) || !month || !day)
        return false;
    if ((!take_char(&text, 'T') && !take_char(&text, ' ')) || !take_two(&text, 24, &hour) ||
        !take_char(&text, ':') || !take_two(&text, 59, &minute))
        return false;
    if (take_char(&text, ':') && !take_two(&text, 60, &second))
        return false;
    if (take_char(&text, '.') && !take_fraction(&text, &fraction))
        return false;
    if (!take_zone(&text, &zone) || text.at != text.end)
        return false;
    *ret_micros =
        (days_of(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - zone) *
            MICROS_PER_SECOND +
        fraction;
    return true;
}

/* --- uuid --- */
static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool value_uuid(const char *text, size_t bytes, uint8_t ret[16])
{
    size_t at = 0;
    if (bytes != 36)
        return false;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (text[at++] != '-')
                return false;
        int high = hex(text[at]), low = hex(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

/* --- decimals --- */
bool value_decimal(const uint8_t *at, size_t bytes, unsigned precision, __int128 *ret)
{
    if (!bytes)
        return false;
    uint8_t sign = at[0] & 0x80 ? 0xff : 0;
    while (bytes > 16 && at[0] == sign && (at[1] & 0x80) == (sign & 0x80)) {
        at++;
        bytes--;
    }
    if (bytes > 16)
        return false;
    unsigned __int128 value = sign ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    *ret = (__int128)value;
    unsigned __int128 most = 1, size = sign ? -value : value;
    /* of so many bits: less than 10^(bits * log10 2), a little more here */
    unsigned bits = size >> 64 ? 128 : 64 - (unsigned)__builtin_clzll((uint64_t)size | 1);
    if (LIKELY(bits * 1234 <= precision * 4096))
        return true;
    for (unsigned i = 0; i < precision; i++)
        most *= 10;
    return size < most;
}

/* Digits of the number in `limbs` (32 bits each, the highest first), the lowest first. */
static void put_digits(uint32_t *limbs, size_t count, Bytes *to)
{
    size_t first = 0;
    while (first < count) {
        uint64_t rest = 0;
        for (size_t i = first; i < count; i++) {
            rest = rest << 32 | limbs[i];
            limbs[i] = (uint32_t)(rest / 1000000000);
            rest %= 1000000000;
        }
        while (first < count && !limbs[first])
            first++;
        for (int i = 0; i < 9 && (first < count || rest); i++, rest /= 10)
            bytes_put_u8(to, (uint8_t)('0' + rest % 10));
    }
}

static void put_turned(const Bytes *digits, int32_t scale, Bytes *to)
{
    size_t count = digits->used, fraction = scale > 0 ? (size_t)scale : 0;
    if (count <= fraction)
        bytes_put_u8(to, '0');
    for (size_t i = count; i > fraction; i--)
        bytes_put_u8(to, digits->data[i - 1]);
    for (int32_t i = scale; count && i < 0; i++)
        bytes_put_u8(to, '0');
    if (!fraction)
        return;
    bytes_put_u8(to, '.');
    for (size_t i = fraction; i > 0; i--)
        bytes_put_u8(to, i > count ? '0' : digits->data[i - 1]);
}

bool value_decimal_text(const uint8_t *at, size_t bytes, int32_t scale, Bytes *to)
{
    if (!bytes || bytes > VALUE_DECIMAL_BYTES_MAX || scale > VALUE_SCALE_MAX ||
        scale < -VALUE_SCALE_MAX)
        return false;
    bool negative = at[0] & 0x80;
    size_t count = (bytes + 3) / 4;
    AUTO(mem_free) uint32_t *limbs = mem_array(count, sizeof *limbs);
    for (size_t i = 0; i < bytes; i++) {
        size_t place = bytes - 1 - i; /* of the byte, from the lowest */
        uint8_t byte = negative ? (uint8_t)~at[i] : at[i];
        limbs[count - 1 - place / 4] |= (uint32_t)byte << (8 * (place % 4));
    }
    for (size_t i = count; negative && i > 0; i--)
        if (++limbs[i - 1])
            break;
    Bytes digits = {0};
    put_digits(limbs, count, &digits);
    if (negative)
        bytes_put_u8(to, '-');
    put_turned(&digits, scale, to);
    bytes_done(&digits);
    return true;
}

/* --- bytes --- */
/* A digit's value and one; 0: it is none. */
static const uint8_t base64_values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
    ['-'] = 63, ['_'] = 64};

bool value_base64(const char *text, size_t bytes, Bytes *to)
{
    for (unsigned i = 0; i < 2 && bytes && text[bytes - 1] == '='; i++)
        bytes--;
    if (bytes % 4 == 1)
        return false;
    bytes_reserve(to, bytes / 4 * 3 + 3);
    uint8_t *out = to->data + to->used;
    uint32_t held = 0;
    unsigned count = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned value = base64_values[(uint8_t)text[i]];
        if (!value--)
            return false;
        held = held << 6 | value;
        if (++count == 4) {
            *out++ = (uint8_t)(held >> 16);
            *out++ = (uint8_t)(held >> 8);
            *out++ = (uint8_t)held;
            held = count = 0;
        }
    }
    if (count == 2)
        *out++ = (uint8_t)(held >> 4);
    if (count == 3) {
        *out++ = (uint8_t)(held >> 10);
        *out++ = (uint8_t)(held >> 2);
    }
    to->used = (size_t)(out - to->data);
    return true;
}

bool value_hex(const char *text, size_t bytes, Bytes *to)
{
    for (size_t i = 0; i + 1 < bytes; i += 2) {
        int high = hex(text[i]), low = hex(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes_put_u8(to, (uint8_t)(high << 4 | low));
    }
    return bytes % 2 == 0;
}

void value_bits(const uint8_t *at, size_t bytes, int32_t length, Bytes *to)
{
    size_t count = length > 0 && (size_t)length <= 8 * bytes + 64 ? (size_t)length : 0;
    size_t highest = 8 * bytes;
    while (highest && !(at[(highest - 1) / 8] >> (highest - 1) % 8 & 1))
        highest--;
    for (size_t bit = count > highest ? count : highest; bit > 0; bit--)
        bytes_put_u8(to, bit <= highest && at[(bit - 1) / 8] >> (bit - 1) % 8 & 1 ? '1' : '0');
}

/* The fewest digits that read back as the same number. */
static void put_real(double value, Bytes *to)
{
    char text[32];
    int bytes = 0;
    for (int digits = 15; digits <= 17; digits++) {
        bytes = snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    bytes_put(to, text, (size_t)bytes);
}

void value_point(double x, double y, Bytes *to)
{
    bytes_put_u8(to, '(');
    put_real(x, to);
    bytes_put_u8(to, ',');
    put_real(y, to);
    bytes_put_u8(to, ')');
}

/* --- numbers --- */
#define EXPONENT_MAX 100000
#define DIGITS_MAX 38

/* Digits behind the point count down, an exponent up. */
static bool take_exponent(const char *at, const char *end, int64_t *ret)
{
    bool negative = at < end && *at == '-';
    *ret = 0;
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9' || *ret > EXPONENT_MAX)
            return false;
        *ret = *ret * 10 + (*at - '0');
    }
    *ret = negative ? -*ret : *ret;
    return true;
}

/* By a power of ten; false: digits would be lost, or it is not below the limit, itself a power of
 * ten. */
static bool scale_by(__int128 *value, int64_t power, __int128 limit)
{
    for (; power < 0 && *value; power++) {
        if (*value % 10)
            return false;
        *value /= 10;
    }
    for (; power > 0 && *value; power--) {
        if (*value >= limit / 10)
            return false;
        *value *= 10;
    }
    return *value < limit;
}

bool value_number(const char *text, size_t bytes, unsigned precision, unsigned scale, __int128 *ret)
{
    const char *at = text, *end = text + bytes;
    bool negative = at < end && *at == '-', point = false;
    __int128 value = 0, limit = 1, most = 1;
    int64_t behind = 0, exponent = 0, digits = 0, zeros = 0;
    for (unsigned i = 0; i < DIGITS_MAX; i++) {
        limit *= i < precision ? 10 : 1;
        most *= 10;
    }
    for (at += negative; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.' && !point && digits) {
            point = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            return false;
        digits++;
        behind += point;
        /* zeros wait: those at the end need no room */
        if (*at == '0') {
            zeros += value != 0;
            continue;
        }
        if (!scale_by(&value, zeros + 1, most))
            return false;
        value += *at - '0';
        zeros = 0;
    }
    if (!digits || (at < end && !take_exponent(at + 1, end, &exponent)))
        return false;
    if (!scale_by(&value, zeros + exponent - behind + scale, limit))
        return false;
    *ret = negative ? -value : value;
    return true;
}
