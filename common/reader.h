/* A bounded reader over bytes that came from a file or the network: every read says whether it was
 * there, and the caller must look. A failed read moves nothing. It owns nothing. */
#pragma once

#include <string.h>

#include "common/attrs.h"

typedef struct Reader {
    const uint8_t *at;
    const uint8_t *end;
} Reader;

static inline Reader reader_over(const void *data, size_t bytes)
{
    return (Reader){.at = data, .end = (const uint8_t *)data + bytes};
}
static inline size_t reader_left(const Reader *reader)
{
    return (size_t)(reader->end - reader->at);
}
/* *ret points into the reader's memory. */
MUST_CHECK static inline bool reader_take(Reader *reader, size_t bytes, const uint8_t **ret)
{
    if (UNLIKELY(reader_left(reader) < bytes))
        return false;
    *ret = reader->at;
    reader->at += bytes;
    return true;
}
#define READER_NUMBER(name, type, turn)                                                            \
    MUST_CHECK static inline bool reader_##name(Reader *reader, type *ret)                         \
    {                                                                                              \
        if (UNLIKELY(reader_left(reader) < sizeof(type)))                                          \
            return false;                                                                          \
        memcpy(ret, reader->at, sizeof(type));                                                     \
        *ret = (type)turn(*ret);                                                                   \
        reader->at += sizeof(type);                                                                \
        return true;                                                                               \
    }
READER_NUMBER(u8, uint8_t, )
READER_NUMBER(u16be, uint16_t, __builtin_bswap16)
READER_NUMBER(u32be, uint32_t, __builtin_bswap32)
READER_NUMBER(u64be, uint64_t, __builtin_bswap64)
READER_NUMBER(u32, uint32_t, )
READER_NUMBER(u64, uint64_t, )
#undef READER_NUMBER

/* LEB128 of at most 10 bytes. */
MUST_CHECK static inline bool reader_varint(Reader *reader, uint64_t *ret)
{
    const uint8_t *at = reader->at;
    uint64_t value = 0;
    if (LIKELY(at < reader->end && *at < 0x80)) {
        *ret = *at;
        reader->at++;
        return true;
    }
    for (unsigned shift = 0; shift < 70 && at < reader->end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            reader->at = at;
            *ret = value;
            return true;
        }
    }
    return false;
}
MUST_CHECK static inline bool reader_zigzag(Reader *reader, int64_t *ret)
{
    uint64_t value;
    if (!reader_varint(reader, &value))
        return false;
    *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    return true;
}
/* A NUL-terminated text inside the reader's memory. */
MUST_CHECK static inline bool reader_cstring(Reader *reader, const char **ret)
{
    const uint8_t *nul = memchr(reader->at, 0, reader_left(reader));
    if (!nul)
        return false;
    *ret = (const char *)reader->at;
    reader->at = nul + 1;
    return true;
}
