/* What holds other values: arrays, composites, ranges, hstore. The tables stand in print.h. A value
 * inside is printed in place first and then quoted where its surroundings need it. */
#include "agent/capture/postgres/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "common/reader.h"

#define DIMENSIONS_MAX 6 /* PostgreSQL's MAXDIM */

enum {
    RANGE_EMPTY = 0x01,
    RANGE_LOWER_INCLUSIVE = 0x02,
    RANGE_UPPER_INCLUSIVE = 0x04,
    RANGE_NO_LOWER = 0x08 | 0x20,
    RANGE_NO_UPPER = 0x10 | 0x40
};

static const char cut[] = "is cut short, or longer than its bytes";

void print_format(Bytes *to, const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ASSERT(used >= 0 && (size_t)used < sizeof text);
    bytes_put(to, text, (size_t)used);
}

bool printable(const PgDecoder *decoder)
{
    if (decoder->form == FORM_MONEY || decoder->form == FORM_REG)
        return false;
    for (uint32_t i = 0; i < decoder->child_count; i++)
        if (!printable(&decoder->children[i]))
            return false;
    return true;
}

/* --- quoting --- */

static bool is_space(uint8_t letter)
{
    return letter == ' ' || (letter >= '\t' && letter <= '\r');
}

typedef enum Quoting {
    QUOTE_ELEMENT,   /* of an array: backslashes; also when it is NULL */
    QUOTE_ATTRIBUTE, /* of a composite: doubled */
    QUOTE_BOUND,     /* of a range: doubled */
} Quoting;

static bool needs_quotes(Quoting quoting, char delimiter, const uint8_t *text, size_t bytes)
{
    static const char *const marks[] = {"\"\\{}", "\"\\(),", "\"\\()[],"};
    if (bytes == 0 ||
        (quoting == QUOTE_ELEMENT && bytes == 4 && strncasecmp((const char *)text, "null", 4) == 0))
        return true;
    for (size_t i = 0; i < bytes; i++)
        if (is_space(text[i]) || (text[i] && strchr(marks[quoting], text[i])) ||
            (quoting == QUOTE_ELEMENT && text[i] == (uint8_t)delimiter))
            return true;
    return false;
}

/* What was printed from `from` on is put into quotes where it needs them. */
static void quote(Bytes *to, size_t from, Quoting quoting, char delimiter)
{
    size_t bytes = to->used - from;
    if (!needs_quotes(quoting, delimiter, to->data + from, bytes))
        return;
    size_t escapes = 0;
    for (size_t i = from; i < to->used; i++)
        escapes += to->data[i] == '"' || to->data[i] == '\\';
    bytes_reserve(to, escapes + 2);
    uint8_t *read = to->data + to->used, *write = read + escapes + 2;
    to->used += escapes + 2;
    *--write = '"';
    while (read > to->data + from) {
        uint8_t letter = *--read;
        *--write = letter;
        if (letter == '"' || letter == '\\')
            *--write = quoting == QUOTE_ELEMENT ? '\\' : letter;
    }
    *--write = '"';
    ASSERT(write == to->data + from);
}

/* --- arrays --- */

typedef struct Dimensions {
    uint32_t count;
    uint32_t size[DIMENSIONS_MAX];
    int32_t lower[DIMENSIONS_MAX];
} Dimensions;

static const char *print_elements(const PgDecoder *decoder, Reader *in,
                                  const Dimensions *dimensions, uint32_t at, Bytes *to)
{
    bytes_put_u8(to, '{');
    for (uint32_t i = 0; i < dimensions->size[at]; i++) {
        uint32_t length;
        const uint8_t *value;
        const char *why;
        if (i)
            bytes_put_u8(to, (uint8_t)decoder->delimiter);
        if (at + 1 < dimensions->count) {
            if ((why = print_elements(decoder, in, dimensions, at + 1, to)))
                return why;
            continue;
        }
        if (!reader_u32be(in, &length))
            return cut;
        if (length == UINT32_MAX) {
            bytes_put(to, "NULL", 4);
            continue;
        }
        size_t from = to->used;
        if (!reader_take(in, length, &value))
            return cut;
        if ((why = print_value(&decoder->children[0], value, length, to)))
            return why;
        quote(to, from, QUOTE_ELEMENT, decoder->delimiter);
    }
    bytes_put_u8(to, '}');
    return NULL;
}

static const char *print_array(const PgDecoder *decoder, Reader in, Bytes *to)
{
    Dimensions dimensions;
    uint32_t has_nulls, oid, items = 1;
    bool shown = false;
    if (!reader_u32be(&in, &dimensions.count) || !reader_u32be(&in, &has_nulls) ||
        !reader_u32be(&in, &oid) || dimensions.count > DIMENSIONS_MAX)
        return cut;
    for (uint32_t i = 0; i < dimensions.count; i++) {
        uint32_t lower;
        if (!reader_u32be(&in, &dimensions.size[i]) || !reader_u32be(&in, &lower))
            return cut;
        if (__builtin_mul_overflow(items, dimensions.size[i], &items))
            return cut;
        dimensions.lower[i] = (int32_t)lower;
        shown = shown || dimensions.lower[i] != 1;
    }
    if (!dimensions.count || !items) {
        bytes_put(to, "{}", 2);
        return reader_left(&in) ? cut : NULL;
    }
    if (items > reader_left(&in) / 4)
        return cut;
    for (uint32_t i = 0; shown && i < dimensions.count; i++)
        print_format(to, "[%d:%lld]", dimensions.lower[i],
                     (long long)dimensions.lower[i] + dimensions.size[i] - 1);
    if (shown)
        bytes_put_u8(to, '=');
    const char *why = print_elements(decoder, &in, &dimensions, 0, to);
    return why ? why : reader_left(&in) ? cut : NULL;
}

/* int2vector, oidvector: their elements with blanks between them. */
static const char *print_vector_of_zero(const PgDecoder *decoder, Reader in, Bytes *to)
{
    const uint8_t *header;
    uint32_t length;
    if (!reader_take(&in, 20, &header))
        return cut;
    for (bool first = true; reader_left(&in); first = false) {
        const uint8_t *value;
        const char *why;
        if (!reader_u32be(&in, &length) || !reader_take(&in, length, &value))
            return cut;
        if (!first)
            bytes_put_u8(to, ' ');
        if ((why = print_value(&decoder->children[0], value, length, to)))
            return why;
    }
    return NULL;
}

/* --- composites, ranges, hstore, vector --- */

static const char *print_composite(const PgDecoder *decoder, Reader in, Bytes *to)
{
    uint32_t count;
    bool first = true;
    if (!reader_u32be(&in, &count))
        return decode_other_attributes;
    bytes_put_u8(to, '(');
    for (uint32_t i = 0; i < decoder->child_count; i++) {
        uint32_t oid, length;
        const uint8_t *value;
        if (decoder->children[i].gone)
            continue;
        if (!count--)
            return decode_other_attributes;
        if (!first)
            bytes_put_u8(to, ',');
        first = false;
        if (!reader_u32be(&in, &oid) || !reader_u32be(&in, &length))
            return cut;
        if (oid != decoder->children[i].type_oid)
            return decode_other_attributes;
        if (length == UINT32_MAX)
            continue;
        if (!reader_take(&in, length, &value))
            return cut;
        size_t from = to->used;
        const char *why = print_value(&decoder->children[i], value, length, to);
        if (why)
            return why;
        quote(to, from, QUOTE_ATTRIBUTE, ',');
    }
    bytes_put_u8(to, ')');
    return count ? decode_other_attributes : reader_left(&in) ? cut : NULL;
}

static const char *print_bound(const PgDecoder *bound, Reader *in, Bytes *to)
{
    uint32_t length;
    const uint8_t *value;
    if (!reader_u32be(in, &length) || !reader_take(in, length, &value))
        return cut;
    size_t from = to->used;
    const char *why = print_value(bound, value, length, to);
    if (!why)
        quote(to, from, QUOTE_BOUND, ',');
    return why;
}

static const char *print_range(const PgDecoder *decoder, Reader in, Bytes *to)
{
    uint8_t flags;
    const char *why = NULL;
    if (!reader_u8(&in, &flags))
        return cut;
    if (flags & RANGE_EMPTY) {
        bytes_put(to, "empty", 5);
        return reader_left(&in) ? cut : NULL;
    }
    bytes_put_u8(to, flags & RANGE_LOWER_INCLUSIVE ? '[' : '(');
    if (!(flags & RANGE_NO_LOWER))
        why = print_bound(&decoder->children[0], &in, to);
    bytes_put_u8(to, ',');
    if (!why && !(flags & RANGE_NO_UPPER))
        why = print_bound(&decoder->children[0], &in, to);
    bytes_put_u8(to, flags & RANGE_UPPER_INCLUSIVE ? ']' : ')');
    return why ? why : reader_left(&in) ? cut : NULL;
}

static const char *print_multirange(const PgDecoder *decoder, Reader in, Bytes *to)
{
    uint32_t count, length;
    const uint8_t *value;
    if (!reader_u32be(&in, &count) || count > reader_left(&in) / 5)
        return cut;
    bytes_put_u8(to, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (!reader_u32be(&in, &length) || !reader_take(&in, length, &value))
            return cut;
        if (i)
            bytes_put_u8(to, ',');
        const char *why = print_range(&decoder->children[0], reader_over(value, length), to);
        if (why)
            return why;
    }
    bytes_put_u8(to, '}');
    return reader_left(&in) ? cut : NULL;
}

static const char *put_escaped(Reader *in, uint32_t length, Bytes *to)
{
    const uint8_t *text;
    if (!reader_take(in, length, &text))
        return cut;
    bytes_put_u8(to, '"');
    for (uint32_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            bytes_put_u8(to, '\\');
        bytes_put_u8(to, text[i]);
    }
    bytes_put_u8(to, '"');
    return NULL;
}

static const char *print_hstore(Reader in, Bytes *to)
{
    uint32_t count, length;
    const char *why;
    if (!reader_u32be(&in, &count) || count > reader_left(&in) / 8)
        return cut;
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            bytes_put(to, ", ", 2);
        if (!reader_u32be(&in, &length))
            return cut;
        if ((why = put_escaped(&in, length, to)))
            return why;
        bytes_put(to, "=>", 2);
        if (!reader_u32be(&in, &length))
            return cut;
        if (length == UINT32_MAX)
            bytes_put(to, "NULL", 4);
        else if ((why = put_escaped(&in, length, to)))
            return why;
    }
    return reader_left(&in) ? cut : NULL;
}

static const char *print_vector(Reader in, Bytes *to)
{
    uint16_t count, unused;
    uint32_t bits;
    if (!reader_u16be(&in, &count) || !reader_u16be(&in, &unused) ||
        reader_left(&in) != 4 * (size_t)count)
        return cut;
    bytes_put_u8(to, '[');
    for (uint32_t i = 0; reader_u32be(&in, &bits); i++) {
        float value;
        memcpy(&value, &bits, sizeof value);
        if (i)
            bytes_put_u8(to, ',');
        print_float((double)value, true, to);
    }
    bytes_put_u8(to, ']');
    return NULL;
}

const char *print_value(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes, Bytes *to)
{
    if (bytes > PG_VALUE_BYTES_MAX / 8 || to->used > PG_VALUE_BYTES_MAX)
        return "is too large to be written as text";
    Reader in = reader_over(value, bytes);
    switch (decoder->form) {
    case FORM_PRINTED:
        return print_value(&decoder->children[0], value, bytes, to);
    case FORM_ARRAY:
        return decoder->from_zero ? print_vector_of_zero(decoder, in, to)
                                  : print_array(decoder, in, to);
    case FORM_COMPOSITE:
        return print_composite(decoder, in, to);
    case FORM_RANGE:
        return print_range(decoder, in, to);
    case FORM_MULTIRANGE:
        return print_multirange(decoder, in, to);
    case FORM_HSTORE:
        return print_hstore(in, to);
    case FORM_VECTOR:
        return print_vector(in, to);
    case FORM_TSVECTOR:
        return print_tsvector(value, bytes, to);
    case FORM_TSQUERY:
        return print_tsquery(value, bytes, to);
    default:
        return print_plain(decoder, value, bytes, to);
    }
}
