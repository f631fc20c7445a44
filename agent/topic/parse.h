/* Values that a batch has as the server's text and Debezium in another form. Pure; false: the text
 * is none of its type. */
#pragma once

#include "common/attrs.h"
#include "common/bytes.h"

/* "12:34:56.5+05:30" → "07:04:56.5Z": at UTC, the day ignored. */
MUST_CHECK bool parse_zoned_time(const char *text, size_t bytes, Bytes *to);

typedef struct Interval {
    int32_t years, months, days, hours, minutes; /* as the text has them */
    double seconds;
    int64_t nanos; /* the same as a whole number */
} Interval;
/* "1 year 2 mons 3 days -04:05:06.000007" (IntervalStyle postgres) */
MUST_CHECK bool parse_interval(const char *text, size_t bytes, Interval *ret);
/* With months of 365.25 / 12 days, in double precision, as Debezium's. */
int64_t interval_micros(const Interval *interval);
void interval_put_iso(const Interval *interval, Bytes *to); /* "P1Y2M3DT4H5M6.000007S" */

/* "10110" → 0x16: the last bit is the lowest; bytes up to the highest bit that is set. */
void parse_bits(const char *text, size_t bytes, Bytes *to);
/* "(1.5,-2)" */
MUST_CHECK bool parse_point(const char *text, size_t bytes, double *ret_x, double *ret_y);
/* The SRID of an EWKB; false: it has none. */
bool parse_srid(const uint8_t *ewkb, size_t bytes, int32_t *ret);

/* "2020-02-03", "01:02:03.5", "2020-02-03 01:02:03.5+02": of a default's text. */
MUST_CHECK bool parse_date(const char *text, int64_t *ret_days);
MUST_CHECK bool parse_time(const char *text, int64_t *ret_micros);
MUST_CHECK bool parse_timestamp(const char *text, int64_t *ret_micros);
