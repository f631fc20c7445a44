#include "agent/capture/postgres/ewkb.h"

#include <string.h>

#define FLAG_Z 0x80000000u
#define FLAG_M 0x40000000u
#define FLAG_SRID 0x20000000u
#define ISO_Z 1000
#define ISO_M 2000
#define DOUBLE_BYTES 8

typedef struct Ewkb {
    const uint8_t *at;
    uint32_t left;
    bool little;
    Bytes *to;
} Ewkb;

static const char cut[] = "is a geometry longer than its bytes";

static bool word(Ewkb *in, uint32_t *ret)
{
    if (in->left < sizeof *ret)
        return false;
    memcpy(ret, in->at, sizeof *ret);
    if (!in->little)
        *ret = __builtin_bswap32(*ret);
    in->at += sizeof *ret;
    in->left -= (uint32_t)sizeof *ret;
    return true;
}

static void put_word(const Ewkb *in, uint32_t value)
{
    if (!in->little)
        value = __builtin_bswap32(value);
    bytes_put(in->to, &value, sizeof value);
}

static bool positions(Ewkb *in, uint32_t count, uint32_t each)
{
    if (count > in->left / each)
        return false;
    bytes_put(in->to, in->at, (size_t)count * each);
    in->at += count * each;
    in->left -= count * each;
    return true;
}

/* Of a body that begins with a number of things. */
static bool counted(Ewkb *in, uint32_t *ret)
{
    if (!word(in, ret))
        return false;
    put_word(in, *ret);
    return true;
}

static const char *body(Ewkb *in, uint32_t type, uint32_t each, uint64_t *pending)
{
    uint32_t count = 0, rings = 0;
    switch (type) {
    case 1:
        return positions(in, 1, each) ? NULL : cut;
    case 2:
    case 8:
        return counted(in, &count) && positions(in, count, each) ? NULL : cut;
    case 3:
    case 17:
        if (!counted(in, &rings) || rings > in->left / 4)
            return cut;
        for (uint32_t i = 0; i < rings; i++)
            if (!counted(in, &count) || !positions(in, count, each))
                return cut;
        return NULL;
    case 4:
    case 5:
    case 6:
    case 7:
    case 9:
    case 10:
    case 11:
    case 12:
    case 15:
    case 16:
        if (!counted(in, &count) || count > in->left / 5)
            return cut;
        *pending += count;
        return NULL;
    default:
        return "is a geometry of an unknown kind";
    }
}

/* Parts follow what they are parts of, whole: so how many are still to come is all that there is to
 * be remembered, however deep they lie. */
const char *ewkb_to_wkb(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    Ewkb in = {.at = value, .left = bytes, .to = to};
    for (uint64_t pending = 1; pending > 0; pending--) {
        uint32_t type, srid;
        if (in.left < 1 || in.at[0] > 1)
            return "is no EWKB";
        in.little = in.at[0];
        bytes_put_u8(to, in.at[0]);
        in.at++;
        in.left--;
        if (!word(&in, &type) || ((type & FLAG_SRID) && !word(&in, &srid)))
            return cut;
        uint32_t kind = type & ~(FLAG_Z | FLAG_M | FLAG_SRID);
        uint32_t doubles = 2 + ((type & FLAG_Z) != 0) + ((type & FLAG_M) != 0);
        put_word(&in, kind + (type & FLAG_Z ? ISO_Z : 0) + (type & FLAG_M ? ISO_M : 0));
        const char *why = body(&in, kind, doubles * DOUBLE_BYTES, &pending);
        if (why)
            return why;
    }
    return in.left ? "is a geometry shorter than its bytes" : NULL;
}

/* 21 bits from bit 8 on, with their sign above them (PostGIS's gserialized_typmod). */
int32_t ewkb_srid(int32_t typmod)
{
    if (typmod < 0)
        return 0;
    return ((typmod & 0x0FFFFF00) - (typmod & 0x10000000)) >> 8;
}
