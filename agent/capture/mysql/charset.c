/* Character sets: see charset.h. */
#include "agent/capture/mysql/charset.h"

#include <errno.h>
#include <strings.h>

#include "common/text.h"

#define CODE_BYTES 3 /* of a code point of the first plane in UTF-8, at most */

static const char not_in_charset[] = "is no text of its column's character set";

const char *collations_charset(const Collations *collations, uint32_t id)
{
    size_t from = 0, to = collations->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (collations->items[middle].id == id)
            return collations->items[middle].charset;
        if (collations->items[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

bool charset_open(const char *name, Charset *ret)
{
    *ret = (Charset){.kind = CHARSET_ICONV};
    if (strcasecmp(name, "utf8mb4") == 0 || strcasecmp(name, "utf8mb3") == 0 ||
        strcasecmp(name, "utf8") == 0)
        ret->kind = CHARSET_UTF8;
    else if (strcasecmp(name, "binary") == 0)
        ret->kind = CHARSET_BINARY;
    else if (strcasecmp(name, "ascii") == 0)
        ret->kind = CHARSET_ASCII;
    else if ((ret->above = charset_above(name)))
        ret->kind = CHARSET_BYTES;
    if (ret->kind != CHARSET_ICONV)
        return true;
    ret->like = charset_like(name);
    if (!ret->like)
        return false;
    ret->iconv = iconv_open("UTF-8", ret->like->iconv);
    return ret->iconv != (iconv_t)-1;
}

void charset_close(Charset *charset)
{
    if (charset->kind == CHARSET_ICONV && charset->iconv && charset->iconv != (iconv_t)-1)
        iconv_close(charset->iconv);
    *charset = (Charset){0};
}

static size_t ascii_bytes(const uint8_t *at, size_t bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < bytes && at[i] < 0x80)
        i++;
    return i;
}

static uint8_t *put_code(uint8_t *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (uint8_t)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (uint8_t)(0xc0 | code >> 6);
    } else {
        *out++ = (uint8_t)(0xe0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    }
    *out++ = (uint8_t)(0x80 | (code & 0x3f));
    return out;
}

static const char *print_bytes(const uint16_t *above, const uint8_t *at, size_t bytes, Bytes *to)
{
    bytes_reserve(to, bytes * CODE_BYTES);
    uint8_t *out = to->data + to->used;
    for (size_t i = 0; i < bytes; i++) {
        unsigned code = at[i] >= 0x80 ? above[at[i] - 0x80] : at[i];
        if (!code && at[i])
            return not_in_charset;
        out = put_code(out, code);
    }
    to->used = (size_t)(out - to->data);
    return NULL;
}

static const char *print_iconv(iconv_t conversion, const uint8_t *at, size_t bytes, Bytes *to)
{
    union {
        const uint8_t *in;
        char *out;
    } from = {.in = at}; /* iconv's parameter is not const, though it writes nothing there */
    (void)iconv(conversion, NULL, NULL, NULL, NULL);
    while (bytes) {
        bytes_reserve(to, bytes * 2 + 16);
        char *out = (char *)to->data + to->used;
        size_t room = to->held - to->used;
        size_t done = iconv(conversion, &from.out, &bytes, &out, &room);
        to->used = to->held - room;
        if (done == (size_t)-1 && errno != E2BIG)
            return not_in_charset;
    }
    return NULL;
}

static const CharsetOther *find_other(const CharsetLike *like, const uint8_t *at, size_t bytes)
{
    uint32_t number = 0;
    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | at[i];
    size_t from = 0, to = like->other_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (like->others[middle].bytes == number)
            return &like->others[middle];
        if (like->others[middle].bytes < number)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

/* What iconv's character set has otherwise is put by hand, what is between goes through iconv. */
static const char *print_like(const Charset *charset, const uint8_t *at, size_t bytes, Bytes *to)
{
    const CharsetLike *like = charset->like;
    size_t from = 0, length;
    for (size_t i = 0; like->bytes && i < bytes; i += length) {
        length = like->bytes(at + i, bytes - i);
        const CharsetOther *other = length <= bytes - i ? find_other(like, at + i, length) : NULL;
        if (!other)
            continue;
        const char *why = print_iconv(charset->iconv, at + from, i - from, to);
        if (why)
            return why;
        bytes_reserve(to, CODE_BYTES);
        to->used = (size_t)(put_code(to->data + to->used, other->code) - to->data);
        from = i + length;
    }
    return print_iconv(charset->iconv, at + from, bytes - from, to);
}

const char *charset_print(const Charset *charset, const uint8_t *at, size_t bytes, Bytes *to)
{
    if (!bytes)
        return NULL;
    switch (charset->kind) {
    case CHARSET_UTF8:
        if (!text_is_utf8(at, bytes))
            return not_in_charset;
        break;
    case CHARSET_ASCII:
        if (ascii_bytes(at, bytes) < bytes)
            return not_in_charset;
        break;
    case CHARSET_BYTES:
        return print_bytes(charset->above, at, bytes, to);
    case CHARSET_ICONV:
        return print_like(charset, at, bytes, to);
    case CHARSET_BINARY:
        break;
    }
    bytes_put(to, at, bytes);
    return NULL;
}
