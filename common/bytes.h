/* A growable byte buffer to write into; the encoders' output. Integers are little-endian unless the
 * name says be. It owns its memory; zero-initialised is empty. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "common/attrs.h"
#include "common/mem.h"

typedef struct Bytes {
    uint8_t *data;
    size_t used;
    size_t held;
} Bytes;

void bytes_done(Bytes *bytes); /* frees the memory; empty again */
void bytes_grow(Bytes *bytes, size_t more);

static inline void bytes_reserve(Bytes *bytes, size_t more)
{
    if (UNLIKELY(bytes->held - bytes->used < more))
        bytes_grow(bytes, more);
}
static inline void bytes_put(Bytes *bytes, const void *from, size_t count)
{
    bytes_reserve(bytes, count);
    if (count)
        memcpy(bytes->data + bytes->used, from, count);
    bytes->used += count;
}
static inline void bytes_put_u8(Bytes *bytes, uint8_t value)
{
    bytes_reserve(bytes, 1);
    bytes->data[bytes->used++] = value;
}
static inline void bytes_put_u32(Bytes *bytes, uint32_t value)
{
    bytes_put(bytes, &value, sizeof value);
}
static inline void bytes_put_u64(Bytes *bytes, uint64_t value)
{
    bytes_put(bytes, &value, sizeof value);
}
static inline void bytes_put_u32be(Bytes *bytes, uint32_t value)
{
    bytes_put_u32(bytes, __builtin_bswap32(value));
}
static inline void bytes_put_u64be(Bytes *bytes, uint64_t value)
{
    bytes_put_u64(bytes, __builtin_bswap64(value));
}
/* LEB128: Parquet's and Thrift's unsigned varint. */
static inline void bytes_put_varint(Bytes *bytes, uint64_t value)
{
    bytes_reserve(bytes, 10);
    while (value >= 0x80) {
        bytes->data[bytes->used++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes->data[bytes->used++] = (uint8_t)value;
}
/* Zigzag, then varint: Avro's int and long, Thrift compact's integers. */
static inline void bytes_put_zigzag(Bytes *bytes, int64_t value)
{
    bytes_put_varint(bytes, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}
static inline void bytes_clear(Bytes *bytes)
{
    bytes->used = 0;
}
