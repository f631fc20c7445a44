/* MySQL's binary JSON, printed as the server prints it: members in their stored order, ", " between
 * them and ": " behind names, so that what is streamed reads as what was copied.
 *
 *   value     uint8 type, then: 0, 2 small object, array; 1, 3 large ones; 4 literal (0 null, 1
 *             true, 2 false); 5, 6 int16, uint16; 7, 8 of 32 bits; 9, 10 of 64; 11 double; 12 text;
 *             15 opaque
 *   object    count, bytes, for each member its name's offset and uint16 length, for each its
 *             value's entry; then names and values. An array has no names. Counts and offsets are
 *             of 2 bytes in small ones, 4 in large ones, offsets from behind the type
 *   entry     uint8 type, then an offset; of literals, 16 bits, and in large ones 32 bits, the
 * value text      length in groups of 7 bits, lowest first; utf8mb4 opaque    uint8 column type,
 * length as text's, the value: a DECIMAL is precision, scale and decimal.h's, dates and times
 * temporal.h's packed; all others are shown in base64
 *
 * https://dev.mysql.com/doc/dev/mysql-server/latest/namespacejson__binary.html */
#pragma once

#include "common/bytes.h"

#define JSON_DEPTH_MAX 100 /* the server's own */

/* NULL, or the reason as in value.h; then `to` has some of it. No bytes at all are the server's way
 * to say null. */
MUST_CHECK const char *json_print(const uint8_t *value, size_t bytes, Bytes *to);
