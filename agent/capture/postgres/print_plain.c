/* Values that hold no others; the tables stand in print.h and decode.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/capture/postgres/bigendian.h"
#include "agent/capture/postgres/numeric.h"
#include "agent/capture/postgres/print.h"
#include "common/reader.h"

#define DAYS_0000_TO_2000 730425 /* from 0000-03-01 */
#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY INT64_C(86400000000)

static const char cut[] = "is cut short, or longer than its bytes";

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* --- floating point --- */

static double read_back(const char *text, bool single)
{
    return single ? (double)strtof(text, NULL) : strtod(text, NULL);
}

/* The number next to a positive one: IEEE 754 orders them as integers. */
static double beside(double value, bool single, int step)
{
    if (single) {
        float number = (float)value;
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        bits += (uint32_t)step;
        memcpy(&number, &bits, sizeof number);
        return (double)number;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits += (uint64_t)(int64_t)step;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Do the digits stand exactly between the two numbers? */
static bool is_midpoint(const char *digits, double value, double neighbour)
{
    char exact[100];
    long double middle = ((long double)value + neighbour) / 2;
    if (isinf(neighbour) || strtold(digits, NULL) != middle)
        return false;
    /* Or only as near as a long double is: then more of its digits say so. */
    snprintf(exact, sizeof exact, "%.60Le", middle);
    size_t shown = (size_t)(strchr(digits, 'e') - digits);
    if (shown == 1) /* "1e+23" has no point */
        return exact[0] == digits[0] && strspn(exact + 2, "0") == 60;
    return strncmp(exact, digits, shown) == 0 && strspn(exact + shown, "0") == 62 - shown;
}

/* The server looks for the shortest digits that lie strictly between the midpoints to the numbers
 * beside this one, so that they read back whatever way ties are rounded; among those of one length
 * the nearest. The digits of %.*e are the nearest of their length; only where the gap below is half
 * the gap above (powers of two) can another of that length be in when the nearest is not, so its
 * neighbours are looked at too. */
static bool strictly_inside(const char *digits, double value, bool single)
{
    return read_back(digits, single) == value &&
           !is_midpoint(digits, value, beside(value, single, 1)) &&
           !is_midpoint(digits, value, beside(value, single, -1));
}

static void shortest(double value, bool single, char to[40])
{
    int most = single ? 9 : 17;
    for (int digits = 1; digits <= most; digits++) {
        snprintf(to, 40, "%.*e", digits - 1, value);
        if (digits == most || strictly_inside(to, value, single))
            return;
        char *exponent = strchr(to, 'e'), *last = exponent - 1;
        char kept = *last;
        for (int step = -1; step <= 1; step += 2) {
            if (kept + step < '0' || kept + step > '9')
                continue;
            *last = (char)(kept + step);
            if (strictly_inside(to, value, single))
                return;
        }
        *last = kept;
    }
}

void print_float(double value, bool single, Bytes *to)
{
    if (isnan(value) || isinf(value)) {
        put_text(to, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
        return;
    }
    if (value == 0) {
        put_text(to, signbit(value) ? "-0" : "0");
        return;
    }
    char text[40], digits[20] = "";
    shortest(fabs(value), single, text);
    int count = 0, exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    for (const char *at = text; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (signbit(value))
        bytes_put_u8(to, '-');
    if (exponent < -4 || exponent >= (single ? 6 : 15)) {
        bytes_put_u8(to, (uint8_t)digits[0]);
        if (count > 1)
            bytes_put_u8(to, '.');
        bytes_put(to, digits + 1, (size_t)count - 1);
        print_format(to, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0)
        bytes_put(to, "0.0000", (size_t)(1 - exponent));
    for (int at = 0; at < count || at <= exponent; at++) {
        if (at && at == exponent + 1)
            bytes_put_u8(to, '.');
        bytes_put_u8(to, (uint8_t)(at < count ? digits[at] : '0'));
    }
}

static double float_at(const uint8_t *at)
{
    uint64_t bits = be64(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* --- dates and times --- */

typedef struct Day {
    int64_t year;
    int month, day;
} Day;

/* Days since 2000-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. Years are counted from
 * March, so that the leap day ends them. */
static Day day_of(int64_t days)
{
    days += DAYS_0000_TO_2000;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097; /* of 400 years */
    int64_t in_era = days - era * 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153;
    return (Day){.year = year + era * 400 + (month >= 10),
                 .month = (int)(month < 10 ? month + 3 : month - 9),
                 .day = (int)(in_year - (153 * month + 2) / 5 + 1)};
}

static void put_day(Day day, Bytes *to)
{
    print_format(to, "%04" PRId64 "-%02d-%02d", day.year > 0 ? day.year : 1 - day.year, day.month,
                 day.day);
}

static void put_fraction(int64_t us, Bytes *to)
{
    if (!us)
        return;
    int width = 6;
    for (; us % 10 == 0; us /= 10)
        width--;
    print_format(to, ".%0*" PRId64, width, us);
}

static void put_clock(int64_t us, Bytes *to)
{
    int64_t seconds = us / US_PER_SECOND;
    print_format(to, "%02" PRId64 ":%02d:%02d", seconds / 3600, (int)(seconds / 60 % 60),
                 (int)(seconds % 60));
    put_fraction(us % US_PER_SECOND, to);
}

static const char *print_date(const uint8_t *value, Bytes *to)
{
    int32_t days = (int32_t)be32(value);
    if (days == INT32_MAX || days == INT32_MIN) {
        put_text(to, days > 0 ? "infinity" : "-infinity");
        return NULL;
    }
    Day day = day_of(days);
    put_day(day, to);
    put_text(to, day.year > 0 ? "" : " BC");
    return NULL;
}

static const char *print_timestamp(const uint8_t *value, bool zone, Bytes *to)
{
    int64_t us = (int64_t)be64(value);
    if (us == INT64_MAX || us == INT64_MIN) {
        put_text(to, us > 0 ? "infinity" : "-infinity");
        return NULL;
    }
    int64_t days = us / US_PER_DAY - (us % US_PER_DAY < 0);
    Day day = day_of(days);
    put_day(day, to);
    bytes_put_u8(to, ' ');
    put_clock((us % US_PER_DAY + US_PER_DAY) % US_PER_DAY, to);
    put_text(to, zone ? "+00" : "");
    put_text(to, day.year > 0 ? "" : " BC");
    return NULL;
}

static const char *print_time(int64_t us, Bytes *to)
{
    if (us < 0 || us > US_PER_DAY)
        return "is no time of day";
    put_clock(us, to);
    return NULL;
}

static const char *print_timetz(const uint8_t *value, Bytes *to)
{
    int32_t west = (int32_t)be32(value + 8);
    if (west <= -86400 || west >= 86400)
        return "is a time with an impossible zone";
    const char *why = print_time((int64_t)be64(value), to);
    int east = abs(west);
    if (why)
        return why;
    print_format(to, "%c%02d", west <= 0 ? '+' : '-', east / 3600);
    if (east % 3600)
        print_format(to, ":%02d", east / 60 % 60);
    if (east % 60)
        print_format(to, ":%02d", east % 60);
    return NULL;
}

typedef struct IntervalText {
    Bytes *to;
    bool any;      /* something was printed */
    bool negative; /* the latest part was */
} IntervalText;

static void put_part(IntervalText *text, int64_t value, const char *unit)
{
    if (!value)
        return;
    print_format(text->to, "%s%s%" PRId64 " %s%s", text->any ? " " : "",
                 text->negative && value > 0 ? "+" : "", value, unit, value != 1 ? "s" : "");
    text->any = true;
    text->negative = value < 0;
}

static const char *print_interval(const uint8_t *value, Bytes *to)
{
    int64_t us = (int64_t)be64(value);
    int32_t days = (int32_t)be32(value + 8), months = (int32_t)be32(value + 12);
    if ((us == INT64_MAX && days == INT32_MAX && months == INT32_MAX) ||
        (us == INT64_MIN && days == INT32_MIN && months == INT32_MIN)) {
        put_text(to, us > 0 ? "infinity" : "-infinity");
        return NULL;
    }
    IntervalText text = {.to = to};
    put_part(&text, months / 12, "year");
    put_part(&text, months % 12, "mon");
    put_part(&text, days, "day");
    if (text.any && !us)
        return NULL;
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    uint64_t seconds = size / 1000000;
    print_format(to, "%s%s%02" PRIu64 ":%02d:%02d", text.any ? " " : "",
                 us < 0          ? "-"
                 : text.negative ? "+"
                                 : "",
                 seconds / 3600, (int)(seconds / 60 % 60), (int)(seconds % 60));
    put_fraction((int64_t)(size % 1000000), to);
    return NULL;
}

/* --- bits and bytes --- */

static const char *print_bits(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    if (bytes < 4)
        return cut;
    uint64_t bits = be32(value);
    if (bits > INT32_MAX || (bits + 7) / 8 != bytes - 4)
        return cut;
    bytes_reserve(to, bits);
    for (uint64_t i = 0; i < bits; i++)
        to->data[to->used++] = (uint8_t)('0' + (value[4 + i / 8] >> (7 - i % 8) & 1));
    return NULL;
}

static void put_hex(const uint8_t *value, uint32_t bytes, const char *digits, Bytes *to)
{
    bytes_reserve(to, 2 * (size_t)bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        to->data[to->used++] = (uint8_t)digits[value[i] >> 4];
        to->data[to->used++] = (uint8_t)digits[value[i] & 15];
    }
}

static void put_separated(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    for (uint32_t i = 0; i < bytes; i++)
        print_format(to, "%s%02x", i ? ":" : "", value[i]);
}

static void print_uuid(const uint8_t *value, Bytes *to)
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    for (size_t i = 0; i < sizeof parts; value += parts[i++]) {
        if (i)
            bytes_put_u8(to, '-');
        put_hex(value, parts[i], "0123456789abcdef", to);
    }
}

/* --- addresses --- */

/* The longest run of zero words, of two at least, is "::"; the first of equals. */
static void find_zeros(const uint16_t words[8], int *ret_at, int *ret_count)
{
    *ret_at = -1;
    *ret_count = 1;
    for (int at = 0; at < 8; at++) {
        int count = 0;
        while (at + count < 8 && !words[at + count])
            count++;
        if (count > *ret_count) {
            *ret_at = at;
            *ret_count = count;
        }
        at += count;
    }
}

static void put_ip6(const uint8_t *at, Bytes *to)
{
    uint16_t words[8];
    int zeros, count;
    for (int i = 0; i < 8; i++)
        words[i] = be16(at + (ptrdiff_t)2 * i);
    find_zeros(words, &zeros, &count);
    for (int i = 0; i < 8; i++) {
        if (zeros >= 0 && i >= zeros && i < zeros + count) {
            put_text(to, i == zeros ? ":" : "");
            continue;
        }
        put_text(to, i ? ":" : "");
        /* An IPv4 address inside. */
        if (i == 6 && zeros == 0 &&
            (count == 6 || (count == 7 && words[7] != 1) || (count == 5 && words[5] == 0xffff))) {
            print_format(to, "%d.%d.%d.%d", at[12], at[13], at[14], at[15]);
            return;
        }
        print_format(to, "%x", words[i]);
    }
    put_text(to, zeros >= 0 && zeros + count == 8 ? ":" : "");
}

static const char *print_inet(const uint8_t *value, uint32_t bytes, bool cidr, Bytes *to)
{
    if (bytes < 4 || (value[0] != 2 && value[0] != 3))
        return cut;
    uint32_t size = value[0] == 2 ? 4 : 16;
    if (value[3] != size || bytes != 4 + size || value[1] > 8 * size)
        return cut;
    if (size == 4)
        print_format(to, "%d.%d.%d.%d", value[4], value[5], value[6], value[7]);
    else
        put_ip6(value + 4, to);
    if (cidr || value[1] < 8 * size)
        print_format(to, "/%d", value[1]);
    return NULL;
}

/* --- geometry --- */

static void put_point(const uint8_t *at, Bytes *to)
{
    bytes_put_u8(to, '(');
    print_float(float_at(at), false, to);
    bytes_put_u8(to, ',');
    print_float(float_at(at + 8), false, to);
    bytes_put_u8(to, ')');
}

static void put_points(const uint8_t *at, uint32_t count, const char *brackets, Bytes *to)
{
    if (brackets[0])
        bytes_put_u8(to, (uint8_t)brackets[0]);
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            bytes_put_u8(to, ',');
        put_point(at + (size_t)16 * i, to);
    }
    if (brackets[0])
        bytes_put_u8(to, (uint8_t)brackets[1]);
}

static const char *print_path(const uint8_t *value, uint32_t bytes, bool polygon, Bytes *to)
{
    uint32_t head = polygon ? 4 : 5;
    if (bytes < head)
        return cut;
    uint32_t count = be32(value + head - 4);
    if (count > bytes / 16 || bytes != head + 16 * count)
        return cut;
    put_points(value + head, count, polygon || value[0] ? "()" : "[]", to);
    return NULL;
}

static const char *print_geometry(PgForm form, const uint8_t *value, Bytes *to)
{
    switch (form) {
    case FORM_POINT:
        put_point(value, to);
        return NULL;
    case FORM_LSEG:
        put_points(value, 2, "[]", to);
        return NULL;
    case FORM_BOX:
        put_points(value, 2, "", to);
        return NULL;
    case FORM_LINE:
        for (uint32_t i = 0; i < 3; i++) {
            bytes_put_u8(to, i ? ',' : '{');
            print_float(float_at(value + (size_t)8 * i), false, to);
        }
        bytes_put_u8(to, '}');
        return NULL;
    default: /* circle */
        bytes_put_u8(to, '<');
        put_point(value, to);
        bytes_put_u8(to, ',');
        print_float(float_at(value + 16), false, to);
        bytes_put_u8(to, '>');
        return NULL;
    }
}

/* --- */

static const char *print_snapshot(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    if (bytes < 20)
        return cut;
    uint32_t count = be32(value);
    if (count > bytes / 8 || bytes != 20 + 8 * count)
        return cut;
    print_format(to, "%" PRIu64 ":%" PRIu64 ":", be64(value + 4), be64(value + 12));
    for (uint32_t i = 0; i < count; i++)
        print_format(to, "%s%" PRIu64, i ? "," : "", be64(value + 20 + (size_t)8 * i));
    return NULL;
}

static const char *print_numeric(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    Numeric numeric;
    const char *why = numeric_read(value, bytes, &numeric);
    return why ? why : numeric_print(&numeric, to);
}

/* Of a fixed size; 0: not. */
static uint32_t size_of(PgForm form)
{
    switch (form) {
    case FORM_BOOL:
    case FORM_CHAR:
        return 1;
    case FORM_INT2:
        return 2;
    case FORM_INT4:
    case FORM_UINT4:
    case FORM_FLOAT4:
    case FORM_DATE:
        return 4;
    case FORM_TID:
    case FORM_MACADDR:
        return 6;
    case FORM_INT8:
    case FORM_UINT8:
    case FORM_FLOAT8:
    case FORM_TIME:
    case FORM_TIMESTAMP:
    case FORM_TIMESTAMPTZ:
    case FORM_MACADDR8:
    case FORM_LSN:
        return 8;
    case FORM_TIMETZ:
        return 12;
    case FORM_UUID:
    case FORM_INTERVAL:
    case FORM_POINT:
        return 16;
    case FORM_LINE:
    case FORM_CIRCLE:
        return 24;
    case FORM_LSEG:
    case FORM_BOX:
        return 32;
    default:
        return 0;
    }
}

static const char *print_number(PgForm form, const uint8_t *value, Bytes *to)
{
    float single;
    uint32_t bits;
    switch (form) {
    case FORM_INT2:
        print_format(to, "%d", (int16_t)be16(value));
        return NULL;
    case FORM_INT4:
        print_format(to, "%" PRId32, (int32_t)be32(value));
        return NULL;
    case FORM_INT8:
        print_format(to, "%" PRId64, (int64_t)be64(value));
        return NULL;
    case FORM_UINT4:
        print_format(to, "%" PRIu32, be32(value));
        return NULL;
    case FORM_UINT8:
        print_format(to, "%" PRIu64, be64(value));
        return NULL;
    case FORM_FLOAT4:
        bits = be32(value);
        memcpy(&single, &bits, sizeof single);
        print_float((double)single, true, to);
        return NULL;
    default:
        print_float(float_at(value), false, to);
        return NULL;
    }
}

const char *print_plain(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes, Bytes *to)
{
    uint32_t size = size_of(decoder->form);
    if (size && bytes != size)
        return PRINT_WRONG_LENGTH;
    switch (decoder->form) {
    case FORM_BOOL:
        bytes_put_u8(to, value[0] ? 't' : 'f');
        return NULL;
    case FORM_DECIMAL:
    case FORM_NUMERIC_TEXT:
        return print_numeric(value, bytes, to);
    case FORM_DATE:
        return print_date(value, to);
    case FORM_TIME:
        return print_time((int64_t)be64(value), to);
    case FORM_TIMETZ:
        return print_timetz(value, to);
    case FORM_TIMESTAMP:
    case FORM_TIMESTAMPTZ:
        return print_timestamp(value, decoder->form == FORM_TIMESTAMPTZ, to);
    case FORM_INTERVAL:
        return print_interval(value, to);
    case FORM_TEXT:
    case FORM_SERVER_TEXT:
        bytes_put(to, value, bytes);
        return NULL;
    case FORM_CHAR:
        if (value[0] > 127)
            print_format(to, "\\%03o", value[0]);
        else
            bytes_put(to, value, value[0] ? 1 : 0);
        return NULL;
    case FORM_VERSIONED_TEXT:
        if (bytes < 1 || value[0] != 1)
            return "has an unknown version of its type's format";
        bytes_put(to, value + 1, bytes - 1);
        return NULL;
    case FORM_BYTEA:
        put_text(to, "\\x");
        put_hex(value, bytes, "0123456789abcdef", to);
        return NULL;
    case FORM_EWKB:
        put_hex(value, bytes, "0123456789ABCDEF", to);
        return NULL;
    case FORM_UUID:
        print_uuid(value, to);
        return NULL;
    case FORM_BITS:
        return print_bits(value, bytes, to);
    case FORM_INET:
    case FORM_CIDR:
        return print_inet(value, bytes, decoder->form == FORM_CIDR, to);
    case FORM_MACADDR:
    case FORM_MACADDR8:
        put_separated(value, bytes, to);
        return NULL;
    case FORM_PATH:
    case FORM_POLYGON:
        return print_path(value, bytes, decoder->form == FORM_POLYGON, to);
    case FORM_POINT:
    case FORM_LSEG:
    case FORM_BOX:
    case FORM_LINE:
    case FORM_CIRCLE:
        return print_geometry(decoder->form, value, to);
    case FORM_LSN:
        print_format(to, "%X/%X", be32(value), be32(value + 4));
        return NULL;
    case FORM_TID:
        print_format(to, "(%" PRIu32 ",%u)", be32(value), be16(value + 4));
        return NULL;
    case FORM_SNAPSHOT:
        return print_snapshot(value, bytes, to);
    default:
        return print_number(decoder->form, value, to);
    }
}
