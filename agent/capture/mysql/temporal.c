/* Dates and times: see temporal.h. */
#include "agent/capture/mysql/temporal.h"

#include <stdio.h>

#define US INT64_C(1000000)
#define DAY_US (86400 * US)

static unsigned fraction_bytes(unsigned digits)
{
    return (digits + 1) / 2;
}

unsigned temporal_bytes(MyType type, unsigned digits)
{
    switch (type) {
    case MY_DATE:
    case MY_TIME:
        return 3;
    case MY_TIMESTAMP:
        return 4;
    case MY_DATETIME:
        return 8;
    case MY_TIME2:
        return 3 + fraction_bytes(digits);
    case MY_TIMESTAMP2:
        return 4 + fraction_bytes(digits);
    case MY_DATETIME2:
        return 5 + fraction_bytes(digits);
    default:
        ASSERT(!"a type of time");
        return 0;
    }
}

/* --- reading --- */

static uint32_t fraction(uint64_t value, unsigned digits)
{
    static const uint32_t scale[] = {0, 10000, 100, 1};
    return (uint32_t)(value * scale[fraction_bytes(digits)]);
}

static void set_clock(uint64_t packed, unsigned hour_bits, Moment *ret)
{
    ret->second = packed & 63;
    ret->minute = packed >> 6 & 63;
    ret->hour = (uint32_t)(packed >> 12 & ((1u << hour_bits) - 1));
}

static void set_calendar(uint64_t packed, Moment *ret)
{
    set_clock(packed, 5, ret);
    ret->day = packed >> 17 & 31;
    ret->month = (uint32_t)((packed >> 22) % 13);
    ret->year = (uint32_t)((packed >> 22) / 13);
}

static void read_old(MyType type, const uint8_t *at, Moment *ret)
{
    if (type == MY_TIME) {
        int64_t value = le_int(at, 3);
        ret->negative = value < 0;
        uint32_t clock = (uint32_t)(value < 0 ? -value : value);
        ret->second = clock % 100;
        ret->minute = clock / 100 % 100;
        ret->hour = clock / 10000;
        return;
    }
    uint64_t value = le_uint(at, 8);
    uint32_t clock = (uint32_t)(value % 1000000), date = (uint32_t)(value / 1000000 % 100000000);
    ret->second = clock % 100;
    ret->minute = clock / 100 % 100;
    ret->hour = clock / 10000;
    ret->day = date % 100;
    ret->month = date / 100 % 100;
    ret->year = date / 10000;
}

static const char *check(const Moment *moment)
{
    if (UNLIKELY(moment->month > 12 || moment->day > 31 || moment->minute > 59 ||
                 moment->second > 59 || moment->microsecond >= US || moment->year > 9999))
        return "is no date or time";
    return NULL;
}

const char *temporal_read(MyType type, unsigned digits, const uint8_t *at, Moment *ret)
{
    *ret = (Moment){0};
    unsigned more = fraction_bytes(digits);
    switch (type) {
    case MY_DATE: {
        uint32_t packed = (uint32_t)le_uint(at, 3);
        ret->day = packed & 31;
        ret->month = packed >> 5 & 15;
        ret->year = packed >> 9;
        break;
    }
    case MY_TIMESTAMP:
    case MY_TIMESTAMP2: {
        uint64_t seconds = type == MY_TIMESTAMP ? le_uint(at, 4) : be_uint(at, 4);
        if (type == MY_TIMESTAMP2)
            ret->microsecond = fraction(be_uint(at + 4, more), digits);
        ret->is_zero = !seconds && !ret->microsecond;
        ret->unix_us = (int64_t)seconds * US + ret->microsecond;
        break;
    }
    case MY_DATETIME2: {
        uint64_t packed = be_uint(at, 5);
        if (!(packed >> 39))
            return "is a negative date";
        set_calendar(packed & ((UINT64_C(1) << 39) - 1), ret);
        ret->microsecond = fraction(be_uint(at + 5, more), digits);
        break;
    }
    case MY_TIME2: {
        int64_t packed = (int64_t)be_uint(at, 3 + more) - (int64_t)(UINT64_C(0x800000) << 8 * more);
        ret->negative = packed < 0;
        uint64_t size = (uint64_t)(packed < 0 ? -packed : packed);
        set_clock(size >> 8 * more, 10, ret);
        ret->microsecond = fraction(size & ((UINT64_C(1) << 8 * more) - 1), digits);
        break;
    }
    default:
        read_old(type, at, ret);
    }
    return check(ret);
}

void temporal_read_packed(bool is_time, const uint8_t *at, Moment *ret)
{
    *ret = (Moment){0};
    int64_t value = le_int(at, 8);
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    ret->negative = is_time && value < 0;
    ret->microsecond = size & 0xffffff;
    if (is_time)
        set_clock(size >> 24, 10, ret);
    else
        set_calendar(size >> 24, ret);
}

/* --- moments --- */

static bool is_leap(uint32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

const char *temporal_days(const Moment *moment, int32_t *ret)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    if (UNLIKELY(!moment->month || !moment->day))
        return moment->year || moment->month || moment->day
                   ? "is a date of which a part is zero, which no date holds"
                   : "is the zero date, which no date holds";
    bool leap = is_leap(moment->year);
    if (UNLIKELY(moment->day > lengths[moment->month - 1] + (uint32_t)(moment->month == 2 && leap)))
        return "is a day that its month does not have";
    /* 0000-01-01 is 719528 days before 1970; 0000 is a leap year. */
    uint32_t past = moment->year ? moment->year - 1 : 0;
    int32_t days = (int32_t)(moment->year * 365 + past / 4 - past / 100 + past / 400);
    if (moment->year)
        days++;
    *ret = days + before[moment->month - 1] + (int32_t)(leap && moment->month > 2) +
           (int32_t)moment->day - 1 - 719528;
    return NULL;
}

int64_t temporal_duration_us(const Moment *moment)
{
    int64_t us = ((moment->hour * INT64_C(60) + moment->minute) * 60 + moment->second) * US +
                 moment->microsecond;
    return moment->negative ? -us : us;
}

const char *temporal_time_us(const Moment *moment, int64_t *ret)
{
    int64_t us = temporal_duration_us(moment);
    if (UNLIKELY(us < 0 || us >= DAY_US))
        return "is a time of no day, which no time holds";
    *ret = us;
    return NULL;
}

const char *temporal_us(const Moment *moment, int64_t *ret)
{
    int32_t days;
    int64_t us;
    const char *why = temporal_days(moment, &days);
    if (UNLIKELY(why != NULL))
        return why;
    why = temporal_time_us(moment, &us);
    *ret = days * DAY_US + (why ? 0 : us);
    return why;
}

/* --- text --- */

/* Of seconds since 1970, which are never negative. */
static Moment in_utc(const Moment *moment)
{
    uint64_t seconds = (uint64_t)(moment->unix_us / US), days = seconds / 86400;
    uint32_t clock = (uint32_t)(seconds % 86400);
    Moment utc = {.hour = clock / 3600,
                  .minute = clock / 60 % 60,
                  .second = clock % 60,
                  .microsecond = moment->microsecond,
                  .year = 1970,
                  .month = 1,
                  .day = 1};
    if (moment->is_zero)
        return (Moment){0};
    for (; days >= 365 + (uint64_t)is_leap(utc.year); utc.year++)
        days -= 365 + (uint64_t)is_leap(utc.year);
    int32_t first, next;
    for (; utc.month < 12; utc.month++) {
        Moment after = {.year = utc.year, .month = utc.month + 1, .day = 1};
        if (temporal_days(&utc, &first) || temporal_days(&after, &next) ||
            days < (uint64_t)(next - first))
            break;
        days -= (uint64_t)(next - first);
    }
    utc.day = (uint32_t)days + 1;
    return utc;
}

void temporal_print(MyType type, unsigned digits, const Moment *moment, Bytes *to)
{
    char text[96];
    int used = 0;
    Moment utc;
    if (type == MY_TIMESTAMP || type == MY_TIMESTAMP2) {
        utc = in_utc(moment);
        moment = &utc;
    }
    bool is_time = type == MY_TIME || type == MY_TIME2;
    if (!is_time)
        used = snprintf(text, sizeof text, "%04u-%02u-%02u%s", moment->year, moment->month,
                        moment->day, type == MY_DATE ? "" : " ");
    if (type != MY_DATE)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%02u:%02u:%02u",
                         moment->negative ? "-" : "", moment->hour, moment->minute, moment->second);
    if (type != MY_DATE && digits) {
        snprintf(text + used, sizeof text - (size_t)used, ".%06u", moment->microsecond);
        used += 1 + (int)digits;
    }
    bytes_put(to, text, (size_t)used);
}
