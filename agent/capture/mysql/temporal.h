/* Dates and times as the server stores them, and printed as it does.
 *
 *   DATE        3 bytes: 5 bits day, 4 bits month, 15 bits year
 *   DATETIME2   big-endian 5 bytes: 1 bit set, 17 bits year * 13 + month, 5 day, 5 hour, 6 minute,
 *               6 second; then the fraction
 *   TIME2       big-endian 3 bytes: 1 bit set for what is not negative, 1 unused, 10 hour, 6
 * minute, 6 second; then the fraction. A negative one is the complement of it all TIMESTAMP2
 * big-endian 4 bytes: seconds since 1970 in UTC; then the fraction fraction    big-endian (digits +
 * 1) / 2 bytes: hundredths, ten thousandths or millionths before 5.6  DATETIME 8 bytes
 * YYYYMMDDhhmmss and TIME 3 bytes hhmmss as decimal numbers, TIMESTAMP 4 bytes; all little-endian
 *
 * Any part of a date may be zero, and a day may be none of its month (ALLOW_INVALID_DATES): what is
 * read may be no moment, so reading and turning it into one are two steps. */
#pragma once

#include "agent/capture/mysql/table_map.h"
#include "common/bytes.h"

typedef struct Moment {
    bool negative; /* TIME */
    bool is_zero;  /* TIMESTAMP: its zero value, which is no moment */
    uint32_t year, month, day, hour, minute, second, microsecond;
    int64_t unix_us; /* TIMESTAMP */
} Moment;

unsigned temporal_bytes(MyType type, unsigned digits);
/* NULL, or the reason as in value.h. */
MUST_CHECK const char *temporal_read(MyType type, unsigned digits, const uint8_t *at, Moment *ret);
/* From JSON: a DATETIME or TIME in 8 bytes, little-endian: what stands above the fraction's 24
 * bits, and the fraction in microseconds. */
void temporal_read_packed(bool is_time, const uint8_t *at, Moment *ret);

/* Days, or microseconds, since 1970; of a TIME since midnight. */
MUST_CHECK const char *temporal_days(const Moment *moment, int32_t *ret);
MUST_CHECK const char *temporal_us(const Moment *moment, int64_t *ret);
MUST_CHECK const char *temporal_time_us(const Moment *moment, int64_t *ret);
int64_t temporal_duration_us(const Moment *moment); /* of any TIME */
/* "2026-01-31 12:00:00.500", of a TIMESTAMP in UTC; `digits` of the fraction. */
void temporal_print(MyType type, unsigned digits, const Moment *moment, Bytes *to);
