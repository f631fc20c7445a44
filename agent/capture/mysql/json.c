/* Binary JSON: see json.h. */
#include "agent/capture/mysql/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "agent/capture/mysql/charset.h"
#include "agent/capture/mysql/decimal.h"
#include "agent/capture/mysql/temporal.h"
#include "common/text.h"

enum {
    SMALL_OBJECT,
    LARGE_OBJECT,
    SMALL_ARRAY,
    LARGE_ARRAY,
    LITERAL,
    INT16,
    UINT16,
    INT32,
    UINT32,
    INT64,
    UINT64,
    DOUBLE,
    TEXT,
    OPAQUE = 15,
};

typedef struct Printer {
    Bytes *to;
    size_t max; /* values that overlap could be printed without end */
} Printer;

static const char bad[] = "is no JSON as the log has it";
static const char too_short[] = "is JSON longer than its bytes";

static void put(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* --- leaves --- */

static const char *print_text(Bytes *to, const uint8_t *at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    if (!text_is_utf8(at, bytes))
        return "is JSON with text that is not UTF-8";
    bytes_reserve(to, bytes + 2);
    bytes_put_u8(to, '"');
    size_t from = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (LIKELY(at[i] >= 0x20 && at[i] != '"' && at[i] != '\\'))
            continue;
        bytes_put(to, at + from, i - from);
        from = i + 1;
        const char *found = at[i] ? strchr(plain, at[i]) : NULL;
        if (found) {
            bytes_put_u8(to, '\\');
            bytes_put_u8(to, (uint8_t)escaped[found - plain]);
        } else {
            put(to, "\\u00");
            bytes_put_u8(to, (uint8_t)digits[at[i] >> 4]);
            bytes_put_u8(to, (uint8_t)digits[at[i] & 15]);
        }
    }
    bytes_put(to, at + from, bytes - from);
    bytes_put_u8(to, '"');
    return NULL;
}

/* The fewest digits that read back as the same number; plain where the point is among them or near,
 * else with an exponent without plus and zeros, as the server chooses. */
static const char *print_double(Bytes *to, double value)
{
    char text[40], digits[20];
    if (!isfinite(value))
        return bad;
    /* Up to 15 digits always read back; of what is close to zero fewer are there. */
    int least = fabs(value) < DBL_MIN ? 1 : DBL_DIG;
    for (int precision = least; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    const char *at = text;
    if (*at == '-') {
        bytes_put_u8(to, '-');
        at++;
    }
    int count = 0, exponent = 0;
    for (; *at && *at != 'e'; at++)
        if (*at != '.' && count < (int)sizeof digits)
            digits[count++] = *at;
    if (*at == 'e')
        exponent = (int)strtol(at + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    int point = value == 0 ? 1 : exponent + 1; /* 0.digits * 10 ^ point */
    if (point < -14 || (point > 15 && count <= point)) {
        bytes_put_u8(to, (uint8_t)digits[0]);
        if (count > 1)
            bytes_put_u8(to, '.');
        bytes_put(to, digits + 1, (size_t)(count - 1));
        snprintf(text, sizeof text, "e%d", exponent);
        put(to, text);
        return NULL;
    }
    if (point <= 0)
        put(to, "0.");
    for (int i = point; i < 0; i++)
        bytes_put_u8(to, '0');
    for (int i = 0; i < count || i < point; i++) {
        if (i == point && i > 0)
            bytes_put_u8(to, '.');
        bytes_put_u8(to, (uint8_t)(i < count ? digits[i] : '0'));
    }
    if (count <= point)
        put(to, ".0");
    return NULL;
}

static void print_base64(Bytes *to, const uint8_t *at, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t group = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0);
        bytes_put_u8(to, (uint8_t)digits[group >> 18]);
        bytes_put_u8(to, (uint8_t)digits[group >> 12 & 63]);
        bytes_put_u8(to, (uint8_t)(left > 1 ? digits[group >> 6 & 63] : '='));
        bytes_put_u8(to, (uint8_t)(left > 2 ? digits[group & 63] : '='));
    }
}

/* Groups of seven bits, at most five. */
static bool read_length(Reader *in, size_t *ret)
{
    uint64_t length;
    if (!reader_varint(in, &length) || length > reader_left(in))
        return false;
    *ret = length;
    return true;
}

static const char *print_opaque(Bytes *to, Reader in)
{
    uint8_t type;
    size_t bytes;
    const uint8_t *at;
    char text[32];
    if (!reader_u8(&in, &type) || !read_length(&in, &bytes) || !reader_take(&in, bytes, &at))
        return too_short;
    bool is_moment =
        type == MY_DATE || type == MY_TIME || type == MY_DATETIME || type == MY_TIMESTAMP;
    if (type == MY_NEWDECIMAL) {
        if (bytes < 3 || at[0] < 1 || at[0] > DECIMAL_PRECISION_MAX || at[1] > at[0] ||
            bytes - 2 != my_decimal_bytes(at[0], at[1]))
            return bad;
        return my_decimal_print(at + 2, at[0], at[1], to);
    }
    bytes_put_u8(to, '"');
    if (is_moment) {
        Moment moment;
        if (bytes != 8)
            return bad;
        temporal_read_packed(type == MY_TIME, at, &moment);
        MyType as = type == MY_TIMESTAMP ? MY_DATETIME : (MyType)type;
        temporal_print(as, as == MY_DATE ? 0 : 6, &moment, to);
    } else {
        snprintf(text, sizeof text, "base64:type%u:", type);
        put(to, text);
        print_base64(to, at, bytes);
    }
    bytes_put_u8(to, '"');
    return NULL;
}

static const char *print_literal(Bytes *to, uint64_t value)
{
    static const char *const names[] = {"null", "true", "false"};
    if (value >= ARRAY_LEN(names))
        return bad;
    put(to, names[value]);
    return NULL;
}

static unsigned number_bytes(uint8_t type)
{
    return type <= UINT16 ? 2 : type <= UINT32 ? 4 : 8;
}

static void print_number(Bytes *to, uint8_t type, const uint8_t *at)
{
    char text[32];
    unsigned bytes = number_bytes(type);
    if (type == INT16 || type == INT32 || type == INT64)
        snprintf(text, sizeof text, "%" PRId64, le_int(at, bytes));
    else
        snprintf(text, sizeof text, "%" PRIu64, le_uint(at, bytes));
    put(to, text);
}

/* --- the tree --- */

static const char *print_value(Printer *printer, uint8_t type, Reader in, unsigned depth);

static const char *print_entry(Printer *printer, Reader whole, Reader *entries, unsigned width,
                               unsigned depth)
{
    uint8_t type;
    const uint8_t *at;
    if (!reader_u8(entries, &type) || !reader_take(entries, width, &at))
        return too_short;
    if (type == LITERAL)
        return print_literal(printer->to, at[0]);
    if (type >= INT16 && type <= UINT32 && number_bytes(type) <= width) {
        print_number(printer->to, type, at);
        return NULL;
    }
    uint64_t offset = le_uint(at, width);
    if (offset >= reader_left(&whole))
        return too_short;
    whole.at += offset;
    return print_value(printer, type, whole, depth);
}

static const char *print_name(Bytes *to, Reader whole, Reader *names, unsigned width)
{
    uint64_t offset, bytes;
    if (!reader_le(names, width, &offset) || !reader_le(names, 2, &bytes) ||
        offset > reader_left(&whole) || bytes > reader_left(&whole) - offset)
        return too_short;
    const char *why = print_text(to, whole.at + offset, bytes);
    put(to, ": ");
    return why;
}

static const char *print_nested(Printer *printer, uint8_t type, Reader whole, unsigned depth)
{
    unsigned width = type == SMALL_OBJECT || type == SMALL_ARRAY ? 2 : 4;
    bool is_object = type == SMALL_OBJECT || type == LARGE_OBJECT;
    Reader in = whole;
    uint64_t count, bytes;
    if (depth == JSON_DEPTH_MAX)
        return "is JSON nested too deep";
    if (!reader_le(&in, width, &count) || !reader_le(&in, width, &bytes) ||
        bytes > reader_left(&whole))
        return too_short;
    whole.end = whole.at + bytes;
    Reader names = in, entries;
    uint64_t names_bytes = is_object ? count * (width + 2) : 0;
    if (names_bytes + count * (width + 1) + 2 * width > bytes)
        return too_short;
    names.end = whole.end;
    entries = names;
    entries.at += names_bytes;
    bytes_put_u8(printer->to, is_object ? '{' : '[');
    for (uint64_t i = 0; i < count; i++) {
        if (i)
            put(printer->to, ", ");
        const char *why = is_object ? print_name(printer->to, whole, &names, width) : NULL;
        if (!why)
            why = print_entry(printer, whole, &entries, width, depth + 1);
        if (!why && printer->to->used > printer->max)
            why = "is JSON whose values overlap";
        if (why)
            return why;
    }
    bytes_put_u8(printer->to, is_object ? '}' : ']');
    return NULL;
}

static const char *print_value(Printer *printer, uint8_t type, Reader in, unsigned depth)
{
    const uint8_t *at;
    size_t bytes;
    uint8_t literal;
    double number;
    switch (type) {
    case SMALL_OBJECT ... LARGE_ARRAY:
        return print_nested(printer, type, in, depth);
    case LITERAL:
        return reader_u8(&in, &literal) ? print_literal(printer->to, literal) : too_short;
    case INT16 ... UINT64:
        if (!reader_take(&in, number_bytes(type), &at))
            return too_short;
        print_number(printer->to, type, at);
        return NULL;
    case DOUBLE:
        if (!reader_take(&in, sizeof number, &at))
            return too_short;
        memcpy(&number, at, sizeof number);
        return print_double(printer->to, number);
    case TEXT:
        if (!read_length(&in, &bytes) || !reader_take(&in, bytes, &at))
            return too_short;
        return print_text(printer->to, at, bytes);
    case OPAQUE:
        return print_opaque(printer->to, in);
    default:
        return bad;
    }
}

const char *json_print(const uint8_t *value, size_t bytes, Bytes *to)
{
    /* The most that a byte becomes: of an empty array in an array (3 and 4 bytes) less than 1, of a
     * control character in a text 6, of a double 3. */
    Printer printer = {.to = to, .max = to->used + 8 * bytes + 64};
    Reader in = reader_over(value, bytes);
    uint8_t type;
    if (!reader_u8(&in, &type)) {
        put(to, "null");
        return NULL;
    }
    return print_value(&printer, type, in, 0);
}
