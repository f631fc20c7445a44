/* See value.h. Text forms are those of Iceberg's Java, which names partition folders by them. */
#include "agent/table/iceberg/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"

void value_done(Value *value)
{
    free(value->bytes);
    *value = (Value){.is_null = true};
}

void value_copy(Value *to, const Value *from)
{
    *to = *from;
    if (from->bytes) {
        to->bytes = mem_alloc(from->byte_count);
        memcpy(to->bytes, from->bytes, from->byte_count);
    }
}

void values_free(Value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        value_done(&values[i]);
    free(values);
}

Value *values_copy(const Value *values, size_t count)
{
    Value *copy = mem_array(count, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        value_copy(&copy[i], &values[i]);
    return copy;
}

#define COMPARE(a, b) ((a) < (b) ? -1 : (a) > (b))

/* Iceberg orders -0 before +0. */
static int compare_floats(double a, double b)
{
    return a == b ? COMPARE(!signbit(a), !signbit(b)) : COMPARE(a, b);
}

int value_compare(const Value *a, const Value *b)
{
    if (a->is_null || b->is_null)
        return COMPARE(!a->is_null, !b->is_null);
    switch (a->type.kind) {
    case TYPE_BOOL:
        return COMPARE(a->b, b->b);
    case TYPE_INT32:
    case TYPE_DATE:
        return COMPARE(a->i32, b->i32);
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return COMPARE(a->i64, b->i64);
    case TYPE_FLOAT32:
        return compare_floats((double)a->f32, (double)b->f32);
    case TYPE_FLOAT64:
        return compare_floats(a->f64, b->f64);
    case TYPE_DECIMAL:
        return COMPARE(a->i128, b->i128);
    case TYPE_UUID:
        return memcmp(a->uuid, b->uuid, sizeof a->uuid);
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_FIXED: {
        uint32_t least = a->byte_count < b->byte_count ? a->byte_count : b->byte_count;
        int order = least ? memcmp(a->bytes, b->bytes, least) : 0;
        return order ? order : COMPARE(a->byte_count, b->byte_count);
    }
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    ASSERT(false);
}

bool value_is_nan(const Value *value)
{
    return !value->is_null && ((value->type.kind == TYPE_FLOAT32 && isnan(value->f32)) ||
                               (value->type.kind == TYPE_FLOAT64 && isnan(value->f64)));
}

size_t value_decimal_bytes(__int128 value, uint8_t to[16])
{
    for (int i = 15; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
    size_t skip = 0;
    while (skip < 15 && ((to[skip] == 0 && !(to[skip + 1] & 0x80)) ||
                         (to[skip] == 0xff && (to[skip + 1] & 0x80))))
        skip++;
    memmove(to, to + skip, 16 - skip);
    return 16 - skip;
}

void value_serialize(const Value *value, Bytes *to)
{
    uint8_t decimal[16];
    switch (value->type.kind) {
    case TYPE_BOOL:
        bytes_put_u8(to, value->b);
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        bytes_put(to, &value->i32, 4);
        break;
    case TYPE_FLOAT32:
        bytes_put(to, &value->f32, 4);
        break;
    case TYPE_FLOAT64:
        bytes_put(to, &value->f64, 8);
        break;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        bytes_put(to, &value->i64, 8);
        break;
    case TYPE_DECIMAL:
        bytes_put(to, decimal, value_decimal_bytes(value->i128, decimal));
        break;
    case TYPE_UUID:
        bytes_put(to, value->uuid, 16);
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_FIXED:
        bytes_put(to, value->bytes, value->byte_count);
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        ASSERT(false);
    }
}

/* Bytes that a decimal of this precision takes as fixed. */
static uint32_t decimal_width(uint8_t precision)
{
    uint32_t width = 1;
    __int128 most = 1;
    for (uint8_t i = 0; i < precision; i++)
        most *= 10;
    while (width < 16 && most - 1 > (((__int128)1 << (8 * width - 1)) - 1))
        width++;
    return width;
}

void value_put_avro(const Value *value, Bytes *to)
{
    bytes_put_zigzag(to, !value->is_null);
    if (value->is_null)
        return;
    switch (value->type.kind) {
    case TYPE_INT32:
    case TYPE_DATE:
        bytes_put_zigzag(to, value->i32);
        break;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        bytes_put_zigzag(to, value->i64);
        break;
    case TYPE_DECIMAL:
        for (uint32_t i = decimal_width(value->type.precision); i > 0; i--)
            bytes_put_u8(to, (uint8_t)(value->i128 >> (8 * (i - 1))));
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
        avro_put_bytes(to, value->bytes, value->byte_count);
        break;
    default:
        value_serialize(value, to);
    }
}

char *value_avro_type(const Type *type, int32_t field_id)
{
    switch (type->kind) {
    case TYPE_BOOL:
        return mem_strdup("\"boolean\"");
    case TYPE_INT32:
        return mem_strdup("\"int\"");
    case TYPE_INT64:
        return mem_strdup("\"long\"");
    case TYPE_FLOAT32:
        return mem_strdup("\"float\"");
    case TYPE_FLOAT64:
        return mem_strdup("\"double\"");
    case TYPE_DATE:
        return mem_strdup("{\"type\":\"int\",\"logicalType\":\"date\"}");
    case TYPE_TIME:
        return mem_strdup("{\"type\":\"long\",\"logicalType\":\"time-micros\"}");
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return mem_format(
            "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\",\"adjust-to-utc\":%s}",
            type->kind == TYPE_TIMESTAMPTZ ? "true" : "false");
    case TYPE_STRING:
        return mem_strdup("\"string\"");
    case TYPE_BINARY:
        return mem_strdup("\"bytes\"");
    case TYPE_UUID:
        return mem_format("{\"type\":\"fixed\",\"name\":\"uuid_%d\",\"size\":16,"
                          "\"logicalType\":\"uuid\"}",
                          field_id);
    case TYPE_FIXED:
        return mem_format("{\"type\":\"fixed\",\"name\":\"fixed_%d\",\"size\":%u}", field_id,
                          type->fixed_bytes);
    case TYPE_DECIMAL:
        return mem_format("{\"type\":\"fixed\",\"name\":\"decimal_%d\",\"size\":%u,"
                          "\"logicalType\":\"decimal\",\"precision\":%u,\"scale\":%u}",
                          field_id, decimal_width(type->precision), type->precision, type->scale);
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    ASSERT(false);
}

static __int128 decimal_from(const uint8_t *bytes, size_t count)
{
    __int128 value = count && (bytes[0] & 0x80) ? -1 : 0;
    for (size_t i = 0; i < count; i++)
        value = (__int128)((unsigned __int128)value << 8) | bytes[i];
    return value;
}

bool value_from_avro(const AvroValue *from, const Type *type, Value *ret, Error *err)
{
    *ret = (Value){.is_null = true, .type = *type};
    if (!from || from->kind == AVRO_NULL)
        return true;
    ret->is_null = false;
    bool fits = false;
    uint8_t decimal[16];
    switch (type->kind) {
    case TYPE_BOOL:
        fits = from->kind == AVRO_BOOL;
        ret->b = fits && from->b;
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        fits = from->kind == AVRO_LONG && from->i >= INT32_MIN && from->i <= INT32_MAX;
        ret->i32 = fits ? (int32_t)from->i : 0;
        break;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        fits = from->kind == AVRO_LONG;
        ret->i64 = fits ? from->i : 0;
        break;
    case TYPE_FLOAT32:
        fits = from->kind == AVRO_FLOAT;
        ret->f32 = fits ? (float)from->f : 0;
        break;
    case TYPE_FLOAT64:
        fits = from->kind == AVRO_DOUBLE || from->kind == AVRO_FLOAT;
        ret->f64 = fits ? from->f : 0;
        break;
    case TYPE_DECIMAL:
        fits = from->kind == AVRO_BYTES && from->count <= 16;
        ret->i128 = fits ? decimal_from(from->bytes, from->count) : 0;
        fits = fits && value_decimal_bytes(ret->i128, decimal) <= decimal_width(type->precision);
        break;
    case TYPE_UUID:
        fits = from->kind == AVRO_BYTES && from->count == 16;
        if (fits)
            memcpy(ret->uuid, from->bytes, 16);
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_FIXED:
        fits = from->kind == AVRO_BYTES && from->count <= UINT32_MAX &&
               (type->kind != TYPE_FIXED || from->count == type->fixed_bytes);
        if (fits) {
            ret->byte_count = (uint32_t)from->count;
            ret->bytes = mem_alloc(from->count);
            memcpy(ret->bytes, from->bytes, from->count);
        }
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    char name[TYPE_NAME_BYTES];
    return fits || error_set(err, ERROR_DATA, "BadManifest", "a partition value is no %s",
                             type_format(type, name));
}

static void put_format(Bytes *to, const char *text, int bytes)
{
    bytes_put(to, text, (size_t)bytes);
}

static void date_text(int32_t day, Bytes *to)
{
    char text[64];
    struct tm utc;
    time_t at = (time_t)day * 86400;
    gmtime_r(&at, &utc);
    put_format(to, text, (int)strftime(text, sizeof text, "%Y-%m-%d", &utc));
}

/* Microseconds since 1970 as ISO 8601. */
static void time_text(int64_t us, bool zone, Bytes *to)
{
    int64_t second = us / 1000000 - (us % 1000000 < 0);
    int64_t fraction = us - second * 1000000;
    struct tm utc;
    time_t at = second;
    gmtime_r(&at, &utc);
    char text[64];
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (fraction)
        used += (size_t)snprintf(text + used, sizeof text - used, ".%06d", (int)fraction);
    if (zone)
        used += (size_t)snprintf(text + used, sizeof text - used, "+00:00");
    put_format(to, text, (int)used);
}

/* year, month, hour: counts since 1970. */
static void period_text(int32_t count, TransformKind transform, Bytes *to)
{
    char text[40];
    if (transform == TRANSFORM_YEAR) {
        put_format(to, text, snprintf(text, sizeof text, "%04d", 1970 + count));
    } else if (transform == TRANSFORM_MONTH) {
        int32_t year = count / 12 - (count % 12 < 0);
        put_format(to, text,
                   snprintf(text, sizeof text, "%04d-%02d", 1970 + year, count - year * 12 + 1));
    } else {
        int32_t days = count / 24 - (count % 24 < 0);
        date_text(days, to);
        put_format(to, text, snprintf(text, sizeof text, "-%02d", count - days * 24));
    }
}

static void decimal_text(__int128 value, uint8_t scale, Bytes *to)
{
    char digits[48];
    size_t at = sizeof digits;
    bool negative = value < 0;
    unsigned __int128 rest = negative ? -(unsigned __int128)value : (unsigned __int128)value;
    for (uint8_t i = 0; rest || i <= scale; i++) {
        if (i == scale && scale)
            digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    if (negative)
        digits[--at] = '-';
    bytes_put(to, digits + at, sizeof digits - at);
}

void value_text(const Value *value, TransformKind transform, Bytes *to)
{
    char text[64];
    if (value->is_null) {
        bytes_put(to, "null", 4);
        return;
    }
    if (transform == TRANSFORM_YEAR || transform == TRANSFORM_MONTH ||
        transform == TRANSFORM_HOUR) {
        period_text(value->i32, transform, to);
        return;
    }
    switch (value->type.kind) {
    case TYPE_BOOL:
        put_format(to, text, snprintf(text, sizeof text, "%s", value->b ? "true" : "false"));
        break;
    case TYPE_INT32:
        put_format(to, text, snprintf(text, sizeof text, "%" PRId32, value->i32));
        break;
    case TYPE_INT64:
        put_format(to, text, snprintf(text, sizeof text, "%" PRId64, value->i64));
        break;
    case TYPE_FLOAT32:
        put_format(to, text, snprintf(text, sizeof text, "%.9g", (double)value->f32));
        break;
    case TYPE_FLOAT64:
        put_format(to, text, snprintf(text, sizeof text, "%.17g", value->f64));
        break;
    case TYPE_DECIMAL:
        decimal_text(value->i128, value->type.scale, to);
        break;
    case TYPE_DATE:
        date_text(value->i32, to);
        break;
    case TYPE_TIME:
        put_format(to, text,
                   snprintf(text, sizeof text, "%02d:%02d:%02d.%06d",
                            (int)(value->i64 / 3600000000), (int)(value->i64 / 60000000 % 60),
                            (int)(value->i64 / 1000000 % 60), (int)(value->i64 % 1000000)));
        break;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        time_text(value->i64, value->type.kind == TYPE_TIMESTAMPTZ, to);
        break;
    case TYPE_UUID:
        for (int i = 0; i < 16; i++)
            put_format(to, text,
                       snprintf(text, sizeof text, "%s%02x",
                                i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", value->uuid[i]));
        break;
    case TYPE_STRING:
        bytes_put(to, value->bytes, value->byte_count);
        break;
    case TYPE_BINARY:
    case TYPE_FIXED:
        for (uint32_t i = 0; i < value->byte_count; i++)
            put_format(to, text, snprintf(text, sizeof text, "%02x", value->bytes[i]));
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        ASSERT(false);
    }
}
