/* DECIMAL(p,s) as the server stores it: groups of nine digits, big-endian in four bytes each, the
 * first and the last of fewer digits in fewer bytes; the highest bit is set for what is not
 * negative, and all bits are turned for what is. Functions return NULL, or the reason as in
 * value.h. https://dev.mysql.com/doc/refman/8.4/en/precision-math-decimal-characteristics.html */
#pragma once

#include "agent/capture/mysql/endian.h"
#include "common/bytes.h"

#define DECIMAL_PRECISION_MAX 65
#define DECIMAL_BYTES_MAX 32

unsigned my_decimal_bytes(unsigned precision, unsigned scale);
/* precision at most 38. */
MUST_CHECK const char *my_decimal_unscaled(const uint8_t *at, unsigned precision, unsigned scale,
                                           __int128 *ret);
/* As the server prints it: "-12.30". */
MUST_CHECK const char *my_decimal_print(const uint8_t *at, unsigned precision, unsigned scale,
                                        Bytes *to);
