/* See parse.h. Texts are not terminated; numbers are read with a limit on their digits. */
#include "agent/topic/parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/topic/scalar.h"

#define MICROS_PER_SECOND ((int64_t)1000000)
#define SECONDS_PER_DAY ((int64_t)86400)
#define MICROS_PER_DAY (SECONDS_PER_DAY * MICROS_PER_SECOND)

typedef struct Text {
    const char *at;
    const char *end;
} Text;

static bool take_char(Text *text, char wanted)
{
    if (text->at == text->end || *text->at != wanted)
        return false;
    text->at++;
    return true;
}

static bool take_digits(Text *text, int64_t *ret)
{
    const char *from = text->at;
    *ret = 0;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && text->at - from < 18)
        *ret = *ret * 10 + (*text->at++ - '0');
    return text->at > from;
}

/* "34:56.5": hours are read by the caller, which may have a sign. Fraction in microseconds. */
static bool take_minutes(Text *text, int64_t *ret_minutes, int64_t *ret_seconds,
                         int64_t *ret_micros)
{
    *ret_seconds = *ret_micros = 0;
    if (!take_char(text, ':') || !take_digits(text, ret_minutes))
        return false;
    if (!take_char(text, ':'))
        return true;
    if (!take_digits(text, ret_seconds))
        return false;
    if (!take_char(text, '.'))
        return true;
    const char *from = text->at;
    if (!take_digits(text, ret_micros) || text->at - from > 6)
        return false;
    for (ptrdiff_t digits = text->at - from; digits < 6; digits++)
        *ret_micros *= 10;
    return true;
}

static bool take_clock(Text *text, int64_t *ret_micros)
{
    int64_t hours, minutes, seconds, micros;
    if (!take_digits(text, &hours) || !take_minutes(text, &minutes, &seconds, &micros) ||
        hours > 24 || minutes > 59 || seconds > 60)
        return false;
    *ret_micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros;
    return true;
}

/* "+05", "-05:30", "+05:30:15": seconds east of UTC. */
static bool take_zone(Text *text, int64_t *ret)
{
    int64_t sign = 1, hours, minutes = 0, seconds = 0, micros = 0;
    if (take_char(text, '-'))
        sign = -1;
    else if (!take_char(text, '+'))
        return false;
    if (!take_digits(text, &hours) || hours > 18)
        return false;
    if (text->at < text->end && *text->at == ':' &&
        !take_minutes(text, &minutes, &seconds, &micros))
        return false;
    *ret = sign * ((hours * 60 + minutes) * 60 + seconds);
    return true;
}

bool parse_zoned_time(const char *from, size_t bytes, Bytes *to)
{
    Text text = {from, from + bytes};
    int64_t micros, zone;
    if (!take_clock(&text, &micros) || !take_zone(&text, &zone) || text.at != text.end)
        return false;
    micros = (micros - zone * MICROS_PER_SECOND) % MICROS_PER_DAY;
    micros += micros < 0 ? MICROS_PER_DAY : 0;
    char day[SCALAR_TIMESTAMP_BYTES];
    unsigned count = scalar_timestamp(day, micros, 6) - 1; /* 1970-01-01T07:04:56.500000 */
    while (day[count - 1] == '0' && micros % MICROS_PER_SECOND)
        count--;
    if (micros % MICROS_PER_SECOND == 0)
        count -= 7;
    bytes_put(to, day + 11, count - 11);
    bytes_put_u8(to, 'Z');
    return true;
}

/* --- intervals --- */

static bool take_unit(Text *text, int64_t value, Interval *ret)
{
    static const struct {
        const char *name;
        size_t offset;
    } units[] = {{"years", offsetof(Interval, years)}, {"year", offsetof(Interval, years)},
                 {"mons", offsetof(Interval, months)}, {"mon", offsetof(Interval, months)},
                 {"days", offsetof(Interval, days)},   {"day", offsetof(Interval, days)}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t bytes = strlen(units[i].name);
        if ((size_t)(text->end - text->at) < bytes || memcmp(text->at, units[i].name, bytes) != 0)
            continue;
        int32_t number = (int32_t)value;
        memcpy((char *)ret + units[i].offset, &number, sizeof number);
        text->at += bytes;
        return number == value;
    }
    return false;
}

bool parse_interval(const char *from, size_t bytes, Interval *ret)
{
    Text text = {from, from + bytes};
    *ret = (Interval){0};
    while (text.at < text.end) {
        int64_t value, minutes, seconds, micros;
        bool negative = take_char(&text, '-');
        if (!negative)
            (void)take_char(&text, '+');
        if (!take_digits(&text, &value))
            return false;
        if (take_char(&text, ' ')) {
            if (!take_unit(&text, negative ? -value : value, ret))
                return false;
            (void)take_char(&text, ' ');
            continue;
        }
        if (!take_minutes(&text, &minutes, &seconds, &micros) || text.at != text.end ||
            value > INT32_MAX)
            return false;
        int sign = negative ? -1 : 1;
        ret->hours = sign * (int32_t)value;
        ret->minutes = sign * (int32_t)minutes;
        ret->nanos = sign * (seconds * MICROS_PER_SECOND + micros) * 1000;
        /* Rounded as the JDBC driver's sum of the two is. */
        ret->seconds = sign * (double)seconds + sign * (double)micros / 1e6;
    }
    return bytes > 0;
}

int64_t interval_micros(const Interval *interval)
{
    const double days_per_month = 365.25 / 12.0;
    double days =
        ((double)interval->years * 12 + interval->months) * days_per_month + interval->days;
    double seconds =
        ((days * 24 + interval->hours) * 60 + interval->minutes) * 60 + interval->seconds;
    double micros = seconds * 1e6;
    return micros >= 0x1p63 ? INT64_MAX : micros <= -0x1p63 ? INT64_MIN : (int64_t)micros;
}

void interval_put_iso(const Interval *interval, Bytes *to)
{
    char text[128];
    int64_t micros = interval->nanos / 1000;
    int64_t size = micros < 0 ? -micros : micros;
    int count = snprintf(text, sizeof text, "P%dY%dM%dDT%dH%dM%s%lld.%06lld", interval->years,
                         interval->months, interval->days, interval->hours, interval->minutes,
                         micros < 0 ? "-" : "", (long long)(size / MICROS_PER_SECOND),
                         (long long)(size % MICROS_PER_SECOND));
    while (text[count - 1] == '0')
        count--;
    if (text[count - 1] == '.')
        count--;
    bytes_put(to, text, (size_t)count);
    bytes_put_u8(to, 'S');
}

/* --- bits, points, geometries --- */

void parse_bits(const char *text, size_t bytes, Bytes *to)
{
    size_t highest = bytes;
    while (highest && text[bytes - highest] != '1')
        highest--;
    for (size_t bit = 0; bit < highest; bit++) {
        if (bit % 8 == 0)
            bytes_put_u8(to, 0);
        if (text[bytes - 1 - bit] == '1')
            to->data[to->used - 1] |= (uint8_t)(1u << (bit % 8));
    }
}

bool parse_point(const char *text, size_t bytes, double *ret_x, double *ret_y)
{
    char copy[96], *end;
    if (bytes < 5 || bytes >= sizeof copy || text[0] != '(' || text[bytes - 1] != ')')
        return false;
    memcpy(copy, text + 1, bytes - 2);
    copy[bytes - 2] = '\0';
    *ret_x = strtod(copy, &end);
    if (*end != ',')
        return false;
    *ret_y = strtod(end + 1, &end);
    return *end == '\0';
}

bool parse_srid(const uint8_t *ewkb, size_t bytes, int32_t *ret)
{
    const uint32_t has_srid = 0x20000000;
    uint32_t type, srid;
    if (bytes < 9)
        return false;
    memcpy(&type, ewkb + 1, 4);
    memcpy(&srid, ewkb + 5, 4);
    if (!ewkb[0]) {
        type = __builtin_bswap32(type);
        srid = __builtin_bswap32(srid);
    }
    *ret = (int32_t)srid;
    return type & has_srid;
}

/* --- defaults --- */

static bool take_date(Text *text, int64_t *ret_days)
{
    int64_t year, month, day;
    if (!take_digits(text, &year) || !take_char(text, '-') || !take_digits(text, &month) ||
        !take_char(text, '-') || !take_digits(text, &day) || year > 300000 || month < 1 ||
        month > 12 || day < 1 || day > 31)
        return false;
    *ret_days = scalar_days(year, (unsigned)month, (unsigned)day);
    return true;
}

bool parse_date(const char *from, int64_t *ret_days)
{
    Text text = {from, from + strlen(from)};
    return take_date(&text, ret_days) && text.at == text.end;
}

bool parse_time(const char *from, int64_t *ret_micros)
{
    Text text = {from, from + strlen(from)};
    return take_clock(&text, ret_micros) && text.at == text.end;
}

bool parse_timestamp(const char *from, int64_t *ret_micros)
{
    Text text = {from, from + strlen(from)};
    int64_t days, micros = 0, zone = 0;
    if (!take_date(&text, &days))
        return false;
    if (take_char(&text, ' ') && !take_clock(&text, &micros))
        return false;
    if (text.at < text.end && !take_zone(&text, &zone))
        return false;
    *ret_micros = days * MICROS_PER_DAY + micros - zone * MICROS_PER_SECOND;
    return text.at == text.end;
}
