#include "agent/table/parquet/range.h"

#include <string.h>

#define RANGE_ADD(name, value_t, member, end_t)                                                    \
    void range_add_##name(Range *range, const value_t *values, size_t count)                       \
    {                                                                                              \
        if (!count)                                                                                \
            return;                                                                                \
        value_t min = values[0], max = values[0];                                                  \
        for (size_t i = 1; i < count; i++) {                                                       \
            min = values[i] < min ? values[i] : min;                                               \
            max = values[i] > max ? values[i] : max;                                               \
        }                                                                                          \
        if (!range->any || min < range->min.member)                                                \
            range->min.member = min;                                                               \
        if (!range->any || max > range->max.member)                                                \
            range->max.member = max;                                                               \
        range->any = true;                                                                         \
    }
RANGE_ADD(i32, int32_t, i, int64_t)
RANGE_ADD(i64, int64_t, i, int64_t)
RANGE_ADD(i128, __int128, x, __int128)
RANGE_ADD(bools, uint8_t, i, int64_t)

/* Comparisons with NaN are false, so it never becomes an end. Four lanes hide the latency. */
#define RANGE_ADD_FLOAT(name, value_t)                                                             \
    void range_add_##name(Range *range, const value_t *values, size_t count)                       \
    {                                                                                              \
        value_t infinity = (value_t)__builtin_inf();                                               \
        value_t min[4] = {infinity, infinity, infinity, infinity};                                 \
        value_t max[4] = {-infinity, -infinity, -infinity, -infinity};                             \
        size_t nans[4] = {0};                                                                      \
        size_t i = 0;                                                                              \
        for (; i + 4 <= count; i += 4) {                                                           \
            for (unsigned k = 0; k < 4; k++) {                                                     \
                value_t value = values[i + k];                                                     \
                min[k] = value < min[k] ? value : min[k];                                          \
                max[k] = value > max[k] ? value : max[k];                                          \
                nans[k] += value != value;                                                         \
            }                                                                                      \
        }                                                                                          \
        for (; i < count; i++) {                                                                   \
            min[0] = values[i] < min[0] ? values[i] : min[0];                                      \
            max[0] = values[i] > max[0] ? values[i] : max[0];                                      \
            nans[0] += values[i] != values[i];                                                     \
        }                                                                                          \
        size_t nan_count = nans[0] + nans[1] + nans[2] + nans[3];                                  \
        range->nans += nan_count;                                                                  \
        if (nan_count == count)                                                                    \
            return;                                                                                \
        for (unsigned k = 0; k < 4; k++) {                                                         \
            if (!range->any || min[k] < range->min.d)                                              \
                range->min.d = min[k];                                                             \
            if (!range->any || max[k] > range->max.d)                                              \
                range->max.d = max[k];                                                             \
            range->any = true;                                                                     \
        }                                                                                          \
    }
RANGE_ADD_FLOAT(f32, float)
RANGE_ADD_FLOAT(f64, double)

static RangeEnd text_end(const uint8_t *bytes, size_t count)
{
    RangeEnd end;
    end.text.cut = count > RANGE_CUT_BYTES;
    end.text.used = (uint8_t)(end.text.cut ? RANGE_CUT_BYTES : count);
    if (end.text.used)
        memcpy(end.text.bytes, bytes, end.text.used);
    return end;
}

void range_add_bytes(Range *range, const uint8_t *min, size_t min_bytes, const uint8_t *max,
                     size_t max_bytes)
{
    Range more = {.any = true};
    more.min = text_end(min, min_bytes);
    more.max = text_end(max, max_bytes);
    range_merge(range, &more, RANGE_BYTES);
}

int range_compare(const RangeEnd *a, const RangeEnd *b, RangeKind kind)
{
    switch (kind) {
    case RANGE_INT:
        return (a->i > b->i) - (a->i < b->i);
    case RANGE_FLOAT:
        return (a->d > b->d) - (a->d < b->d);
    case RANGE_INT128:
        return (a->x > b->x) - (a->x < b->x);
    case RANGE_BYTES:
        break;
    }
    size_t common = a->text.used < b->text.used ? a->text.used : b->text.used;
    int order = memcmp(a->text.bytes, b->text.bytes, common);
    if (order)
        return order;
    if (a->text.used != b->text.used)
        return a->text.used < b->text.used ? -1 : 1;
    return (a->text.cut > b->text.cut) - (a->text.cut < b->text.cut);
}

void range_merge(Range *to, const Range *from, RangeKind kind)
{
    to->nans += from->nans;
    if (!from->any)
        return;
    if (!to->any || range_compare(&from->min, &to->min, kind) < 0)
        to->min = from->min;
    if (!to->any || range_compare(&from->max, &to->max, kind) > 0)
        to->max = from->max;
    to->any = true;
}

/* Bytes of the character that begins here, by its first byte; 0: none begins so. */
static size_t character_bytes(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0)
        return 2;
    if (first >= 0xe0 && first < 0xf0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

static bool character_valid(const uint8_t *at, size_t bytes)
{
    for (size_t i = 1; i < bytes; i++)
        if ((at[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* The length of the longest prefix of whole characters within both limits; -1: no UTF-8. */
static int text_prefix(const uint8_t *text, size_t used, size_t characters_max, size_t bytes_max)
{
    size_t at = 0;
    for (size_t n = 0; n < characters_max && at < used; n++) {
        size_t bytes = character_bytes(text[at]);
        if (!bytes)
            return -1;
        if (at + bytes > used || at + bytes > bytes_max)
            break;
        if (!character_valid(text + at, bytes))
            return -1;
        at += bytes;
    }
    return (int)at;
}

static uint32_t character_decode(const uint8_t *at, size_t bytes)
{
    if (bytes == 1)
        return at[0];
    uint32_t code = at[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++)
        code = code << 6 | (at[i] & 0x3f);
    return code;
}

static size_t character_encode(uint32_t code, uint8_t to[4])
{
    if (code < 0x80) {
        to[0] = (uint8_t)code;
        return 1;
    }
    size_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = bytes; i-- > 1; code >>= 6)
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    to[0] = (uint8_t)((0xf00u >> bytes & 0xf0) | code);
    return bytes;
}

/* Raises the last character that can be raised and drops what follows. 0: none can. */
static size_t raise_text(uint8_t *text, size_t used, size_t bytes_max)
{
    while (used) {
        size_t at = used - 1;
        while (at && (text[at] & 0xc0) == 0x80)
            at--;
        uint32_t code = character_decode(text + at, used - at) + 1;
        if (code == 0xd800)
            code = 0xe000; /* no surrogates in UTF-8 */
        uint8_t raised[4];
        size_t bytes = code <= 0x10ffff ? character_encode(code, raised) : 0;
        if (bytes && at + bytes <= bytes_max) {
            memcpy(text + at, raised, bytes);
            return at + bytes;
        }
        used = at;
    }
    return 0;
}

static size_t raise_bytes(uint8_t *bytes, size_t used)
{
    while (used && bytes[used - 1] == 0xff)
        used--;
    if (used)
        bytes[used - 1]++;
    return used;
}

static bool text_bound(const RangeText *end, bool is_text, bool upper, size_t units_max,
                       size_t bytes_max, uint8_t *to, size_t *ret_bytes, bool *ret_exact)
{
    size_t used;
    if (is_text) {
        int prefix = text_prefix(end->bytes, end->used, units_max, bytes_max);
        if (prefix < 0)
            return false;
        used = (size_t)prefix;
    } else {
        used = end->used < units_max ? end->used : units_max;
        used = used < bytes_max ? used : bytes_max;
    }
    *ret_exact = used == end->used && !end->cut;
    if (used)
        memcpy(to, end->bytes, used);
    *ret_bytes = used;
    if (*ret_exact || !upper)
        return true;
    *ret_bytes = is_text ? raise_text(to, used, bytes_max) : raise_bytes(to, used);
    return *ret_bytes > 0;
}

static double float_end(const Range *range, bool upper)
{
    double value = upper ? range->max.d : range->min.d;
    if (value == 0)
        return upper ? 0.0 : -0.0;
    return value;
}

static size_t put_decimal(__int128 value, size_t bytes, uint8_t *to)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        to[i] = (uint8_t)value;
    return bytes;
}

bool range_plain(const Leaf *leaf, const Range *range, bool upper, uint8_t to[RANGE_CUT_BYTES],
                 size_t *ret_bytes, bool *ret_exact)
{
    if (!range->any)
        return false;
    const RangeEnd *end = upper ? &range->max : &range->min;
    *ret_exact = true;
    *ret_bytes = leaf->width ? leaf->width : 1;
    switch (leaf->range) {
    case RANGE_INT:
        memcpy(to, &end->i, *ret_bytes); /* little-endian: the low bytes */
        return true;
    case RANGE_FLOAT: {
        double wide = float_end(range, upper);
        float narrow = (float)wide;
        memcpy(to, leaf->width == 4 ? (const void *)&narrow : &wide, leaf->width);
        return true;
    }
    case RANGE_INT128:
        put_decimal(end->x, leaf->width, to);
        return true;
    case RANGE_BYTES:
        break;
    }
    return text_bound(&end->text, leaf->field->type.kind == TYPE_STRING, upper, RANGE_CUT_BYTES,
                      RANGE_CUT_BYTES, to, ret_bytes, ret_exact);
}

/* Decimals: the fewest big-endian bytes. */
static size_t decimal_bound(__int128 value, uint8_t *to)
{
    size_t bytes = 1;
    while (bytes < 16 && (value >> (8 * bytes - 1)) != (value >> 127))
        bytes++;
    return put_decimal(value, bytes, to);
}

bool range_iceberg(const Leaf *leaf, const Range *range, bool upper,
                   uint8_t to[ICEBERG_BOUND_BYTES], uint8_t *ret_bytes)
{
    if (!range->any || leaf->repetition_max)
        return false;
    const RangeEnd *end = upper ? &range->max : &range->min;
    size_t bytes = 0;
    bool exact;
    if (leaf->field->type.kind == TYPE_DECIMAL) {
        bytes = decimal_bound(leaf->range == RANGE_INT ? (__int128)end->i : end->x, to);
    } else if (leaf->field->type.kind == TYPE_UUID) {
        memcpy(to, end->text.bytes, 16);
        bytes = 16;
    } else if (leaf->range == RANGE_BYTES) {
        if (!text_bound(&end->text, leaf->field->type.kind == TYPE_STRING, upper,
                        ICEBERG_BOUND_CHARACTERS, ICEBERG_BOUND_BYTES, to, &bytes, &exact))
            return false;
    } else {
        uint8_t plain[RANGE_CUT_BYTES];
        if (!range_plain(leaf, range, upper, plain, &bytes, &exact))
            return false;
        memcpy(to, plain, bytes);
    }
    *ret_bytes = (uint8_t)bytes;
    return true;
}
