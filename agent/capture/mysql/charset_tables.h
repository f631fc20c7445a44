/* The server's character sets that are not Unicode's own, as data: charset_tables.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/attrs.h"

/* Of a character set of one byte a character: the code points of the bytes from 0x80 on, 0 where
 * there is none; below it is ASCII. NULL: it is none of these. */
const uint16_t *charset_above(const char *name);

/* A character that iconv's character set has otherwise than the server's. */
typedef struct CharsetOther {
    uint32_t bytes; /* as a big-endian number */
    uint16_t code;
} CharsetOther;
typedef struct CharsetLike {
    const char *name, *iconv;
    size_t (*bytes)(const uint8_t *at,
                    size_t left); /* of the character there; NULL: all the same */
    const CharsetOther *others;   /* by bytes */
    size_t other_count;
} CharsetLike;
const CharsetLike *charset_like(const char *name); /* NULL: unknown */
