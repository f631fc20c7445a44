/* Numbers as the binlog has them: little-endian in events, big-endian in sortable values. */
#pragma once

#include <string.h>

#include "common/reader.h"

/* Of 1 to 8 bytes. */
static inline uint64_t le_uint(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}
static inline int64_t le_int(const uint8_t *at, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(le_uint(at, bytes) << shift) >> shift;
}
static inline uint64_t be_uint(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

MUST_CHECK static inline bool reader_le(Reader *in, unsigned bytes, uint64_t *ret)
{
    const uint8_t *at;
    if (UNLIKELY(!reader_take(in, bytes, &at)))
        return false;
    *ret = le_uint(at, bytes);
    return true;
}

/* A length-encoded integer: one byte up to 250, or 252, 253, 254 and 2, 3, 8 bytes. 251 (NULL in
 * result sets) and 255 stand for no number. */
MUST_CHECK static inline bool reader_packed(Reader *in, uint64_t *ret)
{
    static const uint8_t more[] = {0, 2, 3, 8};
    uint8_t first;
    if (UNLIKELY(!reader_u8(in, &first) || first == 251 || first == 255))
        return false;
    if (LIKELY(first < 251)) {
        *ret = first;
        return true;
    }
    return reader_le(in, more[first - 251], ret);
}
/* Text behind its length-encoded length; *ret points into the reader's memory. */
MUST_CHECK static inline bool reader_packed_bytes(Reader *in, const uint8_t **ret,
                                                  size_t *ret_bytes)
{
    uint64_t bytes;
    if (!reader_packed(in, &bytes) || bytes > reader_left(in))
        return false;
    *ret_bytes = bytes;
    return reader_take(in, bytes, ret);
}
