/* See scan.h. */
#include <stdint.h>
#include <string.h>

#include "common/json/scan.h"
#include "common/mem.h"
#include "common/text.h"

bool scan_expect(Scan *json, char wanted)
{
    return LIKELY(scan_is(json, wanted)) || scan_bad(json, "is no JSON of the kind expected");
}

/* --- texts --- */

/* Bytes of the word that are below space, a quote, a backslash or not ASCII: their high bit set,
 * the first of them surely. */
static inline uint64_t stops(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
    return ((word - ones * ' ') | (quote - ones) | (slash - ones) | word) & highs;
}

static inline const char *plain_end(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t stop = stops(word);
        if (stop)
            return at + __builtin_ctzll(stop) / 8;
        at += 8;
    }
    while (at < end && (uint8_t)*at >= ' ' && *at != '"' && *at != '\\' && !(*at & 0x80))
        at++;
    return at;
}

static bool take_hex(Scan *json, uint32_t *ret)
{
    if (json->end - json->at < 4)
        return scan_bad(json, "is cut short");
    *ret = 0;
    for (int i = 0; i < 4; i++) {
        char digit = *json->at++;
        char lower = (char)(digit | 0x20);
        uint32_t value = digit >= '0' && digit <= '9'   ? (uint32_t)(digit - '0')
                         : lower >= 'a' && lower <= 'f' ? (uint32_t)(lower - 'a' + 10)
                                                        : 16;
        if (value > 15)
            return scan_bad(json, "has a \\u without four digits");
        *ret = *ret << 4 | value;
    }
    return true;
}

static void put_utf8(Bytes *to, uint32_t point)
{
    if (point < 0x80) {
        bytes_put_u8(to, (uint8_t)point);
        return;
    }
    if (point < 0x800) {
        bytes_put_u8(to, (uint8_t)(0xc0 | point >> 6));
    } else {
        if (point < 0x10000) {
            bytes_put_u8(to, (uint8_t)(0xe0 | point >> 12));
        } else {
            bytes_put_u8(to, (uint8_t)(0xf0 | point >> 18));
            bytes_put_u8(to, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        }
        bytes_put_u8(to, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
    }
    bytes_put_u8(to, (uint8_t)(0x80 | (point & 0x3f)));
}

static bool take_point(Scan *json, Bytes *to)
{
    uint32_t point, low;
    if (!take_hex(json, &point))
        return false;
    if (point >= 0xd800 && point < 0xe000) {
        if (point >= 0xdc00 || json->end - json->at < 2 || json->at[0] != '\\' ||
            json->at[1] != 'u')
            return scan_bad(json, "has half a surrogate pair");
        json->at += 2;
        if (!take_hex(json, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return scan_bad(json, "has half a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(to, point);
    return true;
}

static bool take_escape(Scan *json, Bytes *to)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (json->at == json->end)
        return scan_bad(json, "is cut short");
    char kind = *json->at++;
    if (kind == 'u')
        return take_point(json, to);
    const char *found = kind ? strchr(from, kind) : NULL;
    if (!found)
        return scan_bad(json, "has an escape that JSON does not know");
    bytes_put_u8(to, (uint8_t)meant[found - from]);
    return true;
}

/* json->at stands on the first byte that is not plain; `from` is where the text begins. */
static bool slow_text(Scan *json, const char *from, const char **ret, size_t *ret_bytes)
{
    const char *run = from;
    bool high = false, copied = false;
    bytes_clear(&json->scratch);
    for (;;) {
        json->at = plain_end(json->at, json->end);
        if (json->at == json->end)
            return scan_bad(json, "is cut short");
        char stop = *json->at;
        if (stop & (char)0x80) {
            high = true;
            json->at++;
            continue;
        }
        if (stop != '"' && stop != '\\')
            return scan_bad(json, "has a control byte in a text");
        if (stop == '"' && !copied)
            break;
        bytes_put(&json->scratch, run, (size_t)(json->at - run));
        copied = true;
        if (stop == '"')
            break;
        json->at++;
        if (!take_escape(json, &json->scratch))
            return false;
        run = json->at;
    }
    *ret = copied ? (const char *)json->scratch.data : from;
    *ret_bytes = copied ? json->scratch.used : (size_t)(json->at - from);
    if (copied && !*ret)
        *ret = "";
    json->at++;
    return !high || text_is_utf8((const uint8_t *)*ret, *ret_bytes) ||
           scan_bad(json, "has a text that is no UTF-8");
}

bool scan_text(Scan *json, const char **ret, size_t *ret_bytes)
{
    if (UNLIKELY(!scan_is(json, '"')))
        return scan_bad(json, "is no text");
    const char *from = json->at, *stop = plain_end(from, json->end);
    json->at = stop;
    if (UNLIKELY(stop == json->end || *stop != '"'))
        return slow_text(json, from, ret, ret_bytes);
    *ret = from;
    *ret_bytes = (size_t)(stop - from);
    json->at++;
    return true;
}

bool scan_text_to(Scan *json, char *to, size_t to_bytes)
{
    const char *text;
    size_t bytes;
    to[0] = '\0';
    if (scan_peek(json) != '"')
        return scan_skip(json);
    if (!scan_text(json, &text, &bytes))
        return false;
    if (bytes < to_bytes && !memchr(text, '\0', bytes)) {
        memcpy(to, text, bytes);
        to[bytes] = '\0';
    }
    return true;
}

/* --- numbers --- */

/* A number's end, by JSON's grammar. */
static bool take_number(Scan *json, const char **ret, size_t *ret_bytes)
{
    (void)scan_peek(json);
    const char *from = json->at, *at = from, *end = json->end;
    at += at < end && *at == '-';
    const char *digits = at;
    while (at < end && (unsigned)(*at - '0') < 10)
        at++;
    if (at == digits || (*digits == '0' && at - digits > 1))
        return scan_bad(json, "is no number");
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && (unsigned)(*at - '0') < 10)
            at++;
        if (at == fraction)
            return scan_bad(json, "is no number");
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        const char *exponent = at;
        while (at < end && (unsigned)(*at - '0') < 10)
            at++;
        if (at == exponent)
            return scan_bad(json, "is no number");
    }
    json->at = at;
    *ret = from;
    *ret_bytes = (size_t)(at - from);
    return true;
}

/* 2^53 and below are whole in a double. */
static bool whole_real(Scan *json, int64_t *ret)
{
    const char *text;
    size_t bytes;
    double value;
    if (!take_number(json, &text, &bytes))
        return false;
    if (!text_real_parse(text, bytes, &value) || value > 9007199254740992.0 ||
        value < -9007199254740992.0 || value != (double)(int64_t)value)
        return scan_bad(json, "is no whole number that fits");
    *ret = (int64_t)value;
    return true;
}

bool scan_integer(Scan *json, int64_t *ret)
{
    (void)scan_peek(json);
    const char *from = json->at, *at = from;
    bool negative = at < json->end && *at == '-';
    at += negative;
    const char *digits = at;
    uint64_t value = 0;
    while (at < json->end && (unsigned)(*at - '0') < 10) {
        unsigned digit = (unsigned)(*at++ - '0');
        if (UNLIKELY(value > (UINT64_MAX - digit) / 10))
            return scan_bad(json, "does not fit its column");
        value = value * 10 + digit;
    }
    if (UNLIKELY(at < json->end && (*at == '.' || (*at | 0x20) == 'e')))
        return whole_real(json, ret);
    if (UNLIKELY(at == digits || (*digits == '0' && at - digits > 1)))
        return scan_bad(json, "is no number");
    if (UNLIKELY(value > (uint64_t)INT64_MAX + negative))
        return scan_bad(json, "does not fit its column");
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    json->at = at;
    return true;
}

/* NaN and the infinities come as texts (Connect's JsonConverter). */
static bool named_real(Scan *json, double *ret)
{
    const char *text;
    size_t bytes;
    if (!scan_text(json, &text, &bytes))
        return false;
    if (bytes == 3 && memcmp(text, "NaN", 3) == 0)
        *ret = __builtin_nan("");
    else if (bytes == 8 && memcmp(text, "Infinity", 8) == 0)
        *ret = __builtin_inf();
    else if (bytes == 9 && memcmp(text, "-Infinity", 9) == 0)
        *ret = -__builtin_inf();
    else
        return scan_bad(json, "is no number");
    return true;
}

bool scan_real(Scan *json, double *ret)
{
    const char *text;
    size_t bytes;
    if (UNLIKELY(scan_peek(json) == '"'))
        return named_real(json, ret);
    if (!take_number(json, &text, &bytes))
        return false;
    return text_real_parse(text, bytes, ret) || scan_bad(json, "is no number");
}

bool scan_boolean(Scan *json, bool *ret)
{
    char first = scan_peek(json);
    size_t left = (size_t)(json->end - json->at);
    if (first == 't' && left >= 4 && memcmp(json->at, "true", 4) == 0) {
        json->at += 4;
        *ret = true;
        return true;
    }
    if (first == 'f' && left >= 5 && memcmp(json->at, "false", 5) == 0) {
        json->at += 5;
        *ret = false;
        return true;
    }
    return scan_bad(json, "is neither true nor false");
}

/* --- what is passed over --- */

static bool skip_text(Scan *json)
{
    const char *at = json->at + 1;
    for (;;) {
        at = plain_end(at, json->end);
        if (at == json->end)
            return scan_bad(json, "is cut short");
        if (*at == '"')
            break;
        at += *at == '\\' ? 2 : 1;
        if (at > json->end)
            return scan_bad(json, "is cut short");
    }
    json->at = at + 1;
    return true;
}

/* What a word can't have: blanks and control bytes, and what the structure is made of. */
static const bool ends_word[256] = {
    [0 ... ' '] = true, [','] = true, ['}'] = true, [']'] = true,
    [':'] = true,       ['"'] = true, ['{'] = true, ['['] = true,
};

/* true, false, null, a number */
static bool skip_word(Scan *json)
{
    const char *from = json->at, *at = from;
    while (at < json->end && !ends_word[(uint8_t)*at])
        at++;
    json->at = at;
    return at > from || scan_bad(json, "is no JSON of the kind expected");
}

bool scan_skip(Scan *json)
{
    uint64_t objects = 0; /* per depth: is it an object? */
    unsigned depth = 0;
    for (;;) {
        char next = scan_peek(json);
        bool opens = next == '{' || next == '[';
        if (opens) {
            if (depth == SCAN_DEPTH_MAX)
                return scan_bad(json, "is too deep");
            objects = objects << 1 | (next == '{');
            depth++;
            json->at++;
            next = scan_peek(json);
            if (next != '}' && next != ']') {
                if (!(objects & 1))
                    continue;
                if (next != '"' || !skip_text(json) || !scan_is(json, ':'))
                    return scan_bad(json, "is no JSON of the kind expected");
                continue;
            }
        } else if (!(next == '"' ? skip_text(json) : skip_word(json))) {
            return false;
        }
        /* behind a value */
        for (;;) {
            if (!depth)
                return true;
            next = scan_peek(json);
            if (next == (objects & 1 ? '}' : ']')) {
                json->at++;
                objects >>= 1;
                depth--;
                continue;
            }
            break;
        }
        if (!scan_is(json, ','))
            return scan_bad(json, "is no JSON of the kind expected");
        if (objects & 1 && (scan_peek(json) != '"' || !skip_text(json) || !scan_is(json, ':')))
            return scan_bad(json, "is no JSON of the kind expected");
    }
}

bool scan_member(Scan *json, bool first, const char **ret, size_t *ret_bytes, bool *ret_end)
{
    *ret_end = scan_is(json, '}');
    if (*ret_end)
        return true;
    if (!first && UNLIKELY(!scan_is(json, ',')))
        return scan_bad(json, "is no JSON of the kind expected");
    return scan_text(json, ret, ret_bytes) && scan_expect(json, ':');
}

bool scan_element(Scan *json, bool first, bool *ret_end)
{
    *ret_end = scan_is(json, ']');
    return *ret_end || first || scan_expect(json, ',');
}
