/* Character sets: see charset.h. */
#include "agent/capture/mysql/charset.h"

#include <errno.h>
#include <strings.h>

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

/* What iconv calls those that it does not know by the server's name. */
static const struct {
    const char *name, *iconv;
} names[] = {
    {"big5", "BIG5"},          {"cp850", "CP850"},        {"cp852", "CP852"},
    {"cp866", "CP866"},        {"cp1250", "CP1250"},      {"cp1251", "CP1251"},
    {"cp1256", "CP1256"},      {"cp1257", "CP1257"},      {"cp932", "CP932"},
    {"dec8", "DEC-MCS"},       {"eucjpms", "EUC-JP-MS"},  {"euckr", "EUC-KR"},
    {"gb2312", "GB2312"},      {"gb18030", "GB18030"},    {"gbk", "GBK"},
    {"greek", "ISO-8859-7"},   {"hebrew", "ISO-8859-8"},  {"hp8", "HP-ROMAN8"},
    {"koi8r", "KOI8-R"},       {"koi8u", "KOI8-U"},       {"latin2", "ISO-8859-2"},
    {"latin5", "ISO-8859-9"},  {"latin7", "ISO-8859-13"}, {"macce", "MAC-CENTRALEUROPE"},
    {"macroman", "MACINTOSH"}, {"armscii8", "ARMSCII-8"}, {"geostd8", "GEORGIAN-PS"},
    {"sjis", "SJIS"},          {"tis620", "TIS-620"},     {"ucs2", "UTF-16BE"},
    {"ujis", "EUC-JP"},        {"utf16", "UTF-16BE"},     {"utf16le", "UTF-16LE"},
    {"utf32", "UTF-32BE"},
};

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
    else if (strcasecmp(name, "latin1") == 0)
        ret->kind = CHARSET_LATIN1;
    for (size_t i = 0; ret->kind == CHARSET_ICONV && i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i].name) == 0) {
            ret->iconv = iconv_open("UTF-8", names[i].iconv);
            return ret->iconv != (iconv_t)-1;
        }
    return ret->kind != CHARSET_ICONV;
}

void charset_close(Charset *charset)
{
    if (charset->kind == CHARSET_ICONV && charset->iconv && charset->iconv != (iconv_t)-1)
        iconv_close(charset->iconv);
    *charset = (Charset){0};
}

/* Length of the well-formed sequence at `at` (Unicode 15, table 3-7), 0 if it is none. */
static size_t utf8_sequence(const uint8_t *at, size_t left)
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

bool charset_is_utf8(const uint8_t *at, size_t bytes)
{
    size_t i = ascii_bytes(at, bytes);
    while (i < bytes) {
        size_t length = utf8_sequence(at + i, bytes - i);
        if (!length)
            return false;
        i += length;
    }
    return true;
}

/* 0x80 to 0x9f; the rest of latin1 is Unicode's own. */
static const uint16_t latin1_above[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

static void print_latin1(const uint8_t *at, size_t bytes, Bytes *to)
{
    bytes_reserve(to, bytes * 3);
    uint8_t *out = to->data + to->used;
    for (size_t i = 0; i < bytes; i++) {
        unsigned code = at[i] >= 0x80 && at[i] < 0xa0 ? latin1_above[at[i] - 0x80] : at[i];
        if (code < 0x80) {
            *out++ = (uint8_t)code;
        } else if (code < 0x800) {
            *out++ = (uint8_t)(0xc0 | code >> 6);
            *out++ = (uint8_t)(0x80 | (code & 0x3f));
        } else {
            *out++ = (uint8_t)(0xe0 | code >> 12);
            *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
            *out++ = (uint8_t)(0x80 | (code & 0x3f));
        }
    }
    to->used = (size_t)(out - to->data);
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

const char *charset_print(const Charset *charset, const uint8_t *at, size_t bytes, Bytes *to)
{
    if (!bytes)
        return NULL;
    switch (charset->kind) {
    case CHARSET_UTF8:
        if (!charset_is_utf8(at, bytes))
            return not_in_charset;
        break;
    case CHARSET_ASCII:
        if (ascii_bytes(at, bytes) < bytes)
            return not_in_charset;
        break;
    case CHARSET_LATIN1:
        print_latin1(at, bytes, to);
        return NULL;
    case CHARSET_ICONV:
        return print_iconv(charset->iconv, at, bytes, to);
    case CHARSET_BINARY:
        break;
    }
    bytes_put(to, at, bytes);
    return NULL;
}
