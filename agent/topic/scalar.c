/* Text of numbers, times and bytes: see scalar.h. */
#include "agent/topic/scalar.h"

#include <math.h>
#include <stdio.h>

#define SECONDS_PER_DAY 86400
#define MICROS_PER_SECOND 1000000
#define DAYS_PER_ERA 146097  /* 400 years */
#define DAYS_TO_EPOCH 719468 /* from 0000-03-01 */

const char scalar_pairs[200] = "00010203040506070809101112131415161718192021222324"
                               "25262728293031323334353637383940414243444546474849"
                               "50515253545556575859606162636465666768697071727374"
                               "75767778798081828384858687888990919293949596979899";

/* --- times --- */

/* Years that begin in March, in eras of 400: every month then begins at a fixed day of its year. */
int64_t scalar_days(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = scalar_floor(year, 400);
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;
    return era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_EPOCH;
}

static unsigned put_date(char *to, int64_t days)
{
    days += DAYS_TO_EPOCH;
    int64_t era = scalar_floor(days, DAYS_PER_ERA);
    uint32_t of_era = (uint32_t)(days - era * DAYS_PER_ERA);
    uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t shifted = (5 * of_year + 2) / 153;
    uint32_t day = of_year - (153 * shifted + 2) / 5 + 1;
    uint32_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t year = (int64_t)year_of_era + era * 400 + (month <= 2);
    unsigned used = 0;
    if (year >= 0 && year <= 9999) {
        memcpy(to, scalar_pairs + 2 * (year / 100), 2);
        memcpy(to + 2, scalar_pairs + 2 * (year % 100), 2);
        used = 4;
    } else {
        to[used++] = year < 0 ? '-' : '+';
        uint64_t size = (uint64_t)(year < 0 ? -year : year);
        for (uint64_t digit = 1000; digit > size && digit > 1; digit /= 10)
            to[used++] = '0';
        used += scalar_u64(to + used, size);
    }
    to[used] = '-';
    memcpy(to + used + 1, scalar_pairs + 2 * (size_t)month, 2);
    to[used + 3] = '-';
    memcpy(to + used + 4, scalar_pairs + 2 * (size_t)day, 2);
    return used + 6;
}

unsigned scalar_timestamp(char to[SCALAR_TIMESTAMP_BYTES], int64_t micros, unsigned digits)
{
    int64_t seconds = scalar_floor(micros, MICROS_PER_SECOND);
    uint32_t fraction = (uint32_t)(micros - seconds * MICROS_PER_SECOND);
    int64_t days = scalar_floor(seconds, SECONDS_PER_DAY);
    uint32_t of_day = (uint32_t)(seconds - days * SECONDS_PER_DAY);
    unsigned used = put_date(to, days);
    to[used++] = 'T';
    memcpy(to + used, scalar_pairs + 2 * (size_t)(of_day / 3600), 2);
    to[used + 2] = ':';
    memcpy(to + used + 3, scalar_pairs + 2 * (size_t)(of_day / 60 % 60), 2);
    to[used + 5] = ':';
    memcpy(to + used + 6, scalar_pairs + 2 * (size_t)(of_day % 60), 2);
    used += 8;
    if (digits) {
        char six[6];
        memcpy(six, scalar_pairs + 2 * (size_t)(fraction / 10000), 2);
        memcpy(six + 2, scalar_pairs + 2 * (size_t)(fraction / 100 % 100), 2);
        memcpy(six + 4, scalar_pairs + 2 * (size_t)(fraction % 100), 2);
        to[used++] = '.';
        memcpy(to + used, six, digits < 6 ? digits : 6);
        used += digits < 6 ? digits : 6;
    }
    to[used++] = 'Z';
    return used;
}

/* --- JSON strings --- */

/* 0: as it is; 'u': as \u00XX; else behind a backslash. */
static const char escapes[256] = {
    [0] = 'u',  [1] = 'u',  [2] = 'u',  [3] = 'u',  [4] = 'u',   [5] = 'u',    [6] = 'u',
    [7] = 'u',  [8] = 'b',  [9] = 't',  [10] = 'n', [11] = 'u',  [12] = 'f',   [13] = 'r',
    [14] = 'u', [15] = 'u', [16] = 'u', [17] = 'u', [18] = 'u',  [19] = 'u',   [20] = 'u',
    [21] = 'u', [22] = 'u', [23] = 'u', [24] = 'u', [25] = 'u',  [26] = 'u',   [27] = 'u',
    [28] = 'u', [29] = 'u', [30] = 'u', [31] = 'u', ['"'] = '"', ['\\'] = '\\'};

/* Copies bytes up to the first that needs an escape, and returns how many. Eight at a time: a
 * byte's high bit is set where one of the three differences borrows, exact up to the first such
 * byte. `to` has room for seven more than are copied. */
static size_t copy_plain(uint8_t *to, const uint8_t *at, size_t bytes)
{
    const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    size_t run = 0;
    for (; bytes - run >= 8; run += 8) {
        uint64_t word, quote, slash;
        memcpy(&word, at + run, 8);
        memcpy(to + run, &word, 8);
        quote = word ^ (ones * '"');
        slash = word ^ (ones * '\\');
        uint64_t found = (((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                          ((slash - ones) & ~slash)) &
                         highs;
        if (UNLIKELY(found))
            return run + (size_t)(__builtin_ctzll(found) / 8);
    }
    for (; run < bytes && !escapes[at[run]]; run++)
        to[run] = at[run];
    return run;
}

void scalar_json_string(Bytes *to, const void *text, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    const uint8_t *at = text;
    bytes_reserve(to, bytes + 16);
    to->data[to->used++] = '"';
    for (;;) {
        size_t run = copy_plain(to->data + to->used, at, bytes);
        to->used += run;
        at += run;
        bytes -= run;
        if (LIKELY(!bytes))
            break;
        char escape[6] = {'\\', escapes[*at], '0', '0', digits[*at >> 4], digits[*at & 15]};
        bytes_put(to, escape, escape[1] == 'u' ? 6 : 2);
        at++;
        bytes--;
        bytes_reserve(to, bytes + 16);
    }
    bytes_put_u8(to, '"');
}

/* --- bytes --- */

void scalar_base64(Bytes *to, const uint8_t *at, size_t bytes, bool url)
{
    static const char standard[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char for_urls[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *letters = url ? for_urls : standard;
    bytes_reserve(to, (bytes + 2) / 3 * 4);
    char *out = (char *)to->data + to->used;
    to->used += (bytes + 2) / 3 * 4;
    for (; bytes >= 3; bytes -= 3, at += 3, out += 4) {
        uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        out[0] = letters[three >> 18];
        out[1] = letters[three >> 12 & 63];
        out[2] = letters[three >> 6 & 63];
        out[3] = letters[three & 63];
    }
    if (!bytes)
        return;
    uint32_t rest = (uint32_t)at[0] << 16 | (bytes == 2 ? (uint32_t)at[1] << 8 : 0);
    out[0] = letters[rest >> 18];
    out[1] = letters[rest >> 12 & 63];
    out[2] = bytes == 2 ? letters[rest >> 6 & 63] : '=';
    out[3] = '=';
}

void scalar_hex(Bytes *to, const uint8_t *at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    bytes_reserve(to, 2 * bytes);
    for (size_t i = 0; i < bytes; i++) {
        to->data[to->used++] = (uint8_t)digits[at[i] >> 4];
        to->data[to->used++] = (uint8_t)digits[at[i] & 15];
    }
}

void scalar_uuid(char to[36], const uint8_t uuid[16])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[uuid[i] >> 4];
        *to++ = digits[uuid[i] & 15];
    }
}

/* --- reals --- */

/* digits / 10^point, both exact, is the correctly rounded quotient: when that is the value, these
 * digits read back as it, and with the least point they are the fewest. */
static bool put_short(Bytes *to, double value, bool single)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
    for (unsigned point = 1; point < ARRAY_LEN(powers); point++) {
        double digits = nearbyint(value * powers[point]);
        if (fabs(digits) > 0x1p53)
            return false;
        double back = digits / powers[point];
        if (single ? (float)back != (float)value : back != value)
            continue;
        char text[SCALAR_I64_BYTES];
        unsigned count = scalar_u64(text, (uint64_t)fabs(digits));
        bytes_reserve(to, 40);
        if (signbit(value))
            bytes_put_u8(to, '-');
        if (count <= point) { /* 0.05 */
            bytes_put(to, "0.", 2);
            for (unsigned zeros = count; zeros < point; zeros++)
                bytes_put_u8(to, '0');
            bytes_put(to, text, count);
            return true;
        }
        bytes_put(to, text, count - point);
        bytes_put_u8(to, '.');
        bytes_put(to, text + count - point, point);
        return true;
    }
    return false;
}

void scalar_real(Bytes *to, double value, bool single)
{
    if (value == 0) {
        scalar_put_text(to, signbit(value) ? "-0.0" : "0.0");
        return;
    }
    double size = fabs(value);
    if (size >= 1e-3 && size < 1e7 && put_short(to, value, single))
        return;
    char text[40];
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    scalar_put_text(to, text);
    if (!strpbrk(text, ".e"))
        scalar_put_text(to, ".0");
}
