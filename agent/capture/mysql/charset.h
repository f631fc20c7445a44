/* A column's character set into UTF-8. The log has text as its column stores it; which set that is
 * a collation's number says, and which set a collation is of the server
 * (information_schema.COLLATIONS), as the numbers grow with each version. Not for two threads. */
#pragma once

#include <iconv.h>

#include "agent/capture/mysql/charset_tables.h"
#include "agent/record/batch.h"
#include "common/bytes.h"

typedef struct Collation {
    uint32_t id;
    const char *charset; /* "utf8mb4", "latin1", "binary" */
} Collation;
typedef struct Collations {
    const Collation *items; /* by id */
    size_t count;
} Collations;
const char *collations_charset(const Collations *collations, uint32_t id); /* NULL: unknown */

typedef enum CharsetKind {
    CHARSET_UTF8,
    CHARSET_BINARY,
    CHARSET_ASCII,
    CHARSET_BYTES, /* one byte a character */
    CHARSET_ICONV,
} CharsetKind;
typedef struct Charset {
    CharsetKind kind;
    const uint16_t *above; /* CHARSET_BYTES; charset_tables.h */
    const CharsetLike *like;
    iconv_t iconv;
} Charset;

void charset_close(Charset *charset);
/* By the server's name. False when it can't be turned into UTF-8. */
MUST_CHECK bool charset_open(const char *name, Charset *ret);
/* Appends the text in UTF-8. NULL, or the reason as decode gives it (value.h). */
MUST_CHECK const char *charset_print(const Charset *charset, const uint8_t *at, size_t bytes,
                                     Bytes *to);
