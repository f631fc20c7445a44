#include "common/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WORD_BYTES_MAX 64
#define QUOTE_BYTES_MAX 80

typedef struct DurationUnit {
    const char *name;
    int64_t ms;
} DurationUnit;

/* Largest first; "ms" is found before "m" because the longer name is tried first. */
static const DurationUnit duration_units[] = {
    {"y", 365 * 86400000LL}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const DurationUnit *duration_unit(const char *text, size_t bytes)
{
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++)
        if (strlen(duration_units[i].name) == bytes &&
            memcmp(duration_units[i].name, text, bytes) == 0)
            return &duration_units[i];
    return NULL;
}

/* Digits at *at; false without any, or on overflow. */
static bool digits_take(const char **at, uint64_t *ret)
{
    if (!isdigit((unsigned char)**at))
        return false;
    uint64_t value = 0;
    for (; isdigit((unsigned char)**at); ++*at)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
            return false;
    *ret = value;
    return true;
}

bool text_duration_parse(const char *text, int64_t *ret_ms)
{
    const int64_t most_ms = INT64_MAX / 1000;
    int64_t total = 0;
    const DurationUnit *before = NULL;
    do {
        uint64_t count;
        if (!digits_take(&text, &count))
            return false;
        size_t letters = strspn(text, "ydhms");
        const DurationUnit *unit = duration_unit(text, letters);
        if (!unit || (before && unit <= before) || count > (uint64_t)(most_ms / unit->ms))
            return false;
        int64_t part = (int64_t)count * unit->ms;
        if (part > most_ms - total)
            return false;
        total += part;
        text += letters;
        before = unit;
    } while (*text);
    *ret_ms = total;
    return true;
}

char *text_duration_format(int64_t ms, char *buffer, size_t buffer_bytes)
{
    const DurationUnit *unit = &duration_units[ARRAY_LEN(duration_units) - 1];
    /* Not years: "365d" is what people read. */
    for (size_t i = 1; ms && i < ARRAY_LEN(duration_units); i++) {
        if (ms % duration_units[i].ms == 0) {
            unit = &duration_units[i];
            break;
        }
    }
    if (ms == 0)
        snprintf(buffer, buffer_bytes, "0s");
    else
        snprintf(buffer, buffer_bytes, "%lld%s", (long long)(ms / unit->ms), unit->name);
    return buffer;
}

/* n digits, with what stands behind them unless that is 0. */
static bool number_take(const char **at, int n, char behind, int most, int *ret)
{
    for (*ret = 0; n; n--, ++*at) {
        if (!isdigit((unsigned char)**at))
            return false;
        *ret = *ret * 10 + (**at - '0');
    }
    if (*ret > most || (behind && *(*at)++ != behind))
        return false;
    return true;
}

bool text_time_parse(const char *text, int64_t *ret_ms)
{
    const char *at = text;
    int year, month, day, hour, minute, second, ms = 0, zone_hour, zone_minute;
    if (!number_take(&at, 4, '-', 9999, &year) || !number_take(&at, 2, '-', 12, &month) ||
        !number_take(&at, 2, 'T', 31, &day) || !number_take(&at, 2, ':', 23, &hour) ||
        !number_take(&at, 2, ':', 59, &minute) || !number_take(&at, 2, 0, 59, &second))
        return false;
    if (*at == '.') {
        int scale = 100;
        if (!isdigit((unsigned char)*++at))
            return false;
        for (; isdigit((unsigned char)*at); at++, scale /= 10)
            ms += scale * (*at - '0');
    }
    struct tm utc = {.tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second};
    int64_t seconds = timegm(&utc);
    if (utc.tm_mday != day || utc.tm_mon != month - 1) /* there is no such day */
        return false;
    char sign = *at++;
    if (sign == '+' || sign == '-') {
        if (!number_take(&at, 2, ':', 23, &zone_hour) || !number_take(&at, 2, 0, 59, &zone_minute))
            return false;
        seconds += (sign == '+' ? -1 : 1) * (zone_hour * 3600 + zone_minute * 60);
    } else if (sign != 'Z') {
        return false;
    }
    *ret_ms = seconds * 1000 + ms;
    return !*at;
}

bool text_quantity_parse(const char *text, uint64_t *ret_bytes)
{
    static const char letters[] = "kMGTP";
    uint64_t whole, fraction = 0, fraction_of = 1;
    if (!digits_take(&text, &whole))
        return false;
    if (*text == '.') {
        const char *from = ++text;
        if (!digits_take(&text, &fraction) || text - from > 9)
            return false;
        for (const char *at = from; at < text; at++)
            fraction_of *= 10;
    }
    uint64_t unit = 1;
    if (*text) {
        bool binary = text[1] == 'i';
        const char *letter = strchr(letters, *text == 'K' && binary ? 'k' : *text);
        if (!letter || (binary && *text == 'k') || text[binary ? 2 : 1])
            return false;
        for (const char *at = letters; at <= letter; at++)
            unit *= binary ? 1024 : 1000;
    }
    unsigned __int128 bytes = (unsigned __int128)whole * unit;
    unsigned __int128 part = (unsigned __int128)fraction * unit;
    if (part % fraction_of || bytes + part / fraction_of > INT64_MAX)
        return false;
    *ret_bytes = (uint64_t)(bytes + part / fraction_of);
    return true;
}

char *text_quantity_format(uint64_t bytes, char *buffer, size_t buffer_bytes)
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    size_t unit = 0;
    while (bytes && bytes % 1024 == 0 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(buffer, buffer_bytes, "%llu%s", (unsigned long long)bytes, units[unit]);
    return buffer;
}

bool text_integer_parse(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    const char *at = text + (negative || *text == '+');
    uint64_t value;
    if (!digits_take(&at, &value) || *at || value > (uint64_t)INT64_MAX)
        return false;
    *ret = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

bool text_is_object_name(const char *text)
{
    size_t bytes = strlen(text);
    if (!bytes || bytes > 253)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        bool edge = i == 0 || i + 1 == bytes || text[i - 1] == '.' || text[i + 1] == '.';
        bool letter = (text[i] >= 'a' && text[i] <= 'z') || isdigit((unsigned char)text[i]);
        if (!letter && (edge || (text[i] != '-' && text[i] != '.')))
            return false;
    }
    return true;
}

/* Levenshtein over rows, with swaps of neighbours (optimal string alignment). */
size_t text_distance(const char *a, const char *b, size_t most)
{
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    size_t apart = a_bytes > b_bytes ? a_bytes - b_bytes : b_bytes - a_bytes;
    if (a_bytes > WORD_BYTES_MAX || b_bytes > WORD_BYTES_MAX || apart >= most)
        return most;
    size_t rows[3][WORD_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        int x = tolower((unsigned char)a[i - 1]);
        for (size_t j = 1; j <= b_bytes; j++) {
            int y = tolower((unsigned char)b[j - 1]);
            size_t least = above[j - 1] + (x != y);
            if (above[j] + 1 < least)
                least = above[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]) && above2[j - 2] + 1 < least)
                least = above2[j - 2] + 1;
            row[j] = least;
        }
    }
    size_t distance = rows[a_bytes % 3][b_bytes];
    return distance < most ? distance : most;
}

const char *text_nearest(const char *word, const char *const *known, size_t count)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(known[i]);
        size_t limit = bytes / 3 + 1; /* 1 edit in "tls", 3 in "database" */
        if (limit > 4)
            limit = 4;
        size_t distance = text_distance(word, known[i], limit + 1);
        if (distance <= limit && distance < least && distance < bytes) {
            nearest = known[i];
            least = distance;
        }
    }
    return nearest;
}

/* Bytes of `value` from the password of a URL's user information up to its '@', or 0. */
static const char *password_in(const char *value, size_t *ret_bytes)
{
    const char *slashes = strstr(value, "//");
    const char *from = slashes ? slashes + 2 : value;
    const char *at = strrchr(from, '@');
    const char *colon = at ? memchr(from, ':', (size_t)(at - from)) : NULL;
    if (!colon)
        return NULL;
    *ret_bytes = (size_t)(at - colon - 1);
    return colon + 1;
}

void text_quote(Bytes *to, const char *value)
{
    size_t secret_bytes = 0;
    const char *secret = password_in(value, &secret_bytes);
    bytes_put_u8(to, '"');
    size_t from = to->used;
    for (const char *at = value; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (to->used - from >= QUOTE_BYTES_MAX && (byte & 0xc0) != 0x80) {
            bytes_put(to, "…", strlen("…"));
            break;
        }
        if (at == secret && secret_bytes) {
            bytes_put(to, "***", 3);
            at += secret_bytes - 1;
        } else if (byte < 0x20 || byte == 0x7f) {
            char escape[8];
            int bytes = snprintf(escape, sizeof escape, "\\x%02x", byte);
            bytes_put(to, escape, (size_t)bytes);
        } else {
            bytes_put_u8(to, byte);
        }
    }
    bytes_put_u8(to, '"');
}

size_t text_letter_bytes(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool text_is_utf8(const uint8_t *at, size_t bytes)
{
    const uint8_t *end = at + bytes;
    while (at < end) {
        uint64_t eight;
        while (end - at >= 8) {
            memcpy(&eight, at, 8);
            if (eight & 0x8080808080808080u)
                break;
            at += 8;
        }
        while (at < end && *at < 0x80)
            at++;
        if (at == end)
            break;
        size_t length = text_letter_bytes(at, (size_t)(end - at));
        if (!length)
            return false;
        at += length;
    }
    return true;
}

void text_mend_utf8(char *text)
{
    for (uint8_t *at = (uint8_t *)text, *end = at + strlen(text); at < end;) {
        size_t length = text_letter_bytes(at, (size_t)(end - at));
        if (!length)
            *at = '?';
        at += length ? length : 1;
    }
}

/* Up to 19 digits and a power of ten that a double holds exactly: one rounding, so it is right
 * (Clinger 1990). Everything else is strtod's. */
static bool quick_real(const char *at, const char *end, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    bool negative = at < end && *at == '-';
    at += negative;
    uint64_t digits = 0;
    int count = 0, scale = 0;
    bool point = false;
    for (; at < end; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        unsigned digit = (unsigned)(*at - '0');
        if (digit > 9 || ++count > 18)
            return false;
        digits = digits * 10 + digit;
        scale += point;
    }
    if (!count || digits > (UINT64_C(1) << 53) || scale > 22)
        return false;
    double value = (double)digits / powers[scale];
    *ret = negative ? -value : value;
    return true;
}

bool text_real_parse(const char *text, size_t bytes, double *ret)
{
    if (quick_real(text, text + bytes, ret))
        return true;
    char small[64], *end;
    AUTO(mem_free) char *large = bytes < sizeof small ? NULL : mem_strndup(text, bytes);
    if (!large) {
        memcpy(small, text, bytes);
        small[bytes] = '\0';
    }
    const char *copy = large ? large : small;
    *ret = strtod(copy, &end);
    return bytes && end == copy + bytes;
}

char *text_sql_quote(const char *text, char mark)
{
    AUTO(mem_free) char *out = mem_alloc(strlen(text) * 2 + 3);
    char *to = out;
    *to++ = mark;
    for (const char *at = text; *at; at++) {
        if (*at == mark)
            *to++ = mark;
        *to++ = *at;
    }
    *to++ = mark;
    *to = '\0';
    return TAKE(out);
}
