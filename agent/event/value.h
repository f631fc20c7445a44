/* Texts and bytes of the wire → values of columns. Pure; false: it is none of its type, or has
 * digits that the column can't hold. */
#pragma once

#include "common/attrs.h"
#include "common/bytes.h"

/* "2024-02-29T12:34:56.123456Z", "…+05:30", years with a sign; microseconds since 1970, UTC. */
MUST_CHECK bool value_zoned(const char *text, size_t bytes, int64_t *ret_micros);
MUST_CHECK bool value_uuid(const char *text, size_t bytes, uint8_t ret[16]);
/* Two's complement, big-endian; with at most so many decimal digits. */
MUST_CHECK bool value_decimal(const uint8_t *at, size_t bytes, unsigned precision, __int128 *ret);
/* The same, of any length up to VALUE_DECIMAL_BYTES_MAX, as text: "-0.05"; scale < 0: zeros. */
#define VALUE_DECIMAL_BYTES_MAX 65536
#define VALUE_SCALE_MAX 20000
MUST_CHECK bool value_decimal_text(const uint8_t *at, size_t bytes, int32_t scale, Bytes *to);
/* Standard alphabet or URL's, padded or not; appended. */
MUST_CHECK bool value_base64(const char *text, size_t bytes, Bytes *to);
/* Two digits a byte, small or large; appended. */
MUST_CHECK bool value_hex(const char *text, size_t bytes, Bytes *to);
/* The lowest `length` bits (<= 0 or more than there are: up to the highest that is set) as 0, 1. */
void value_bits(const uint8_t *at, size_t bytes, int32_t length, Bytes *to);
/* "(1.5,-2)" as PostgreSQL prints a point. */
void value_point(double x, double y, Bytes *to);
/* "-12.50", "1.5e3" as an unscaled integer; false, too, where it would have to be rounded. */
MUST_CHECK bool value_number(const char *text, size_t bytes, unsigned precision, unsigned scale,
                             __int128 *ret);
