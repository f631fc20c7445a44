/* Binary values as text: exactly what the type's output function shows (in COPY's text format, in
 * psql), with DateStyle ISO, IntervalStyle postgres, TimeZone UTC, bytea_output hex and
 * extra_float_digits 1, which are the defaults but for the zone. So that a text is the same whether
 * the row was copied or streamed, both ask for binary and both come here.
 *
 *   interval   int64 microseconds, int32 days, int32 months; all the greatest or all the least:
 *              infinity, -infinity (17)
 *   timetz     int64 microseconds, int32 zone in seconds west of UTC
 *   bit, varbit  int32 bits, then the bits, the most significant first
 *   inet, cidr uint8 family (2, 3), uint8 prefix bits, uint8 is cidr, uint8 bytes, the address
 *   macaddr, macaddr8  6, 8 bytes
 *   point      float8 x, y                 lseg     2 points       box      2 points
 *   line       float8 a, b, c              circle   point, float8 radius
 *   path       uint8 closed, int32 points, the points
 *   polygon    int32 points, the points
 *   tsvector   int32 lexemes, then per lexeme its text with a zero byte, uint16 positions, each a
 *              uint16: 2 bits weight (3 A … 0 D), 14 bits position
 *   tsquery    int32 items, depth first; each a word or an operator:
 *              uint8 1, uint8 weights (8 A … 1 D), uint8 prefix, text with a zero byte
 *              uint8 2, uint8 operator (1 !, 2 &, 3 |, 4 <-> and int16 distance), then its right
 *              operand and, but for !, its left one
 *   pg_lsn     uint64                      tid      uint32 block, uint16 offset
 *   pg_snapshot  int32 transactions, uint64 xmin, uint64 xmax, then each a uint64
 *   range      uint8 flags (1 empty, 2 lower inclusive, 4 upper inclusive, 8 no lower, 16 no
 *              upper);
 *              then for each bound there int32 length and its bytes
 *   multirange int32 ranges, then per range int32 length and its bytes */
#pragma once

#include "agent/capture/postgres/decode.h"
#include "common/bytes.h"

/* Can its values, and all inside them, be printed here? */
bool printable(const PgDecoder *decoder);
/* Appends. NULL, or the reason as decode_value does. */
MUST_CHECK const char *print_value(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes,
                                   Bytes *to);

/* --- parts; print_plain.c, print_search.c --- */
MUST_CHECK const char *print_plain(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes,
                                   Bytes *to);
MUST_CHECK const char *print_tsvector(const uint8_t *value, uint32_t bytes, Bytes *to);
MUST_CHECK const char *print_tsquery(const uint8_t *value, uint32_t bytes, Bytes *to);
/* The shortest digits that read back as the same number; `single` of float4. */
void print_float(double value, bool single, Bytes *to);
void print_format(Bytes *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define PRINT_WRONG_LENGTH "has a length that is not its type's"
