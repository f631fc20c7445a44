/* Events as a server writes them, built by hand from the byte tables in agent/capture/mysql. */
#pragma once

#include <zlib.h>

#include "agent/capture/mysql/binlog.h"
#include "tests/unit/unit.h"

#define TEXT(literal) (literal), sizeof(literal) - 1

static inline void put_le(Bytes *to, uint64_t value, unsigned bytes)
{
    bytes_put(to, &value, bytes);
}

/* Header, content and, where the format has them, the checksum; the caller ends it. */
static inline Bytes log_event(bool checksum, uint8_t type, uint16_t flags, const void *content,
                              size_t bytes)
{
    Bytes event = {0};
    put_le(&event, 1700000000, 4);
    put_le(&event, type, 1);
    put_le(&event, 7, 4);
    put_le(&event, BINLOG_HEADER_BYTES + bytes + (checksum ? 4 : 0), 4);
    put_le(&event, 4711, 4);
    put_le(&event, flags, 2);
    bytes_put(&event, content, bytes);
    if (checksum)
        bytes_put_u32(&event, (uint32_t)crc32_z(0, event.data, event.used));
    return event;
}

static inline BinlogFormat log_format(bool mariadb)
{
    BinlogFormat format = {.mariadb = mariadb, .known = true};
    format.fixed_bytes[EVENT_TABLE_MAP] = 8;
    for (unsigned type = 0; type < 256; type++)
        if (type >= EVENT_WRITE_V1 && type <= EVENT_DELETE_V1)
            format.fixed_bytes[type] = 8;
        else if (type >= EVENT_WRITE && type <= EVENT_DELETE)
            format.fixed_bytes[type] = 10;
        else if (type >= EVENT_WRITE_V1_COMPRESSED && type <= EVENT_DELETE_V1_COMPRESSED)
            format.fixed_bytes[type] = 8;
        else if (type >= EVENT_WRITE_COMPRESSED && type <= EVENT_DELETE_COMPRESSED)
            format.fixed_bytes[type] = 10;
    return format;
}

/* What a format description holds, of events without checksums; the caller ends it. */
static inline Bytes log_format_content(void)
{
    Bytes content = {0};
    char version[50] = "8.4.2";
    put_le(&content, 4, 2);
    bytes_put(&content, version, sizeof version);
    put_le(&content, 0, 4);
    put_le(&content, BINLOG_HEADER_BYTES, 1);
    for (unsigned i = 1; i <= 42; i++)
        put_le(&content,
               i == EVENT_TABLE_MAP                    ? 8
               : i >= EVENT_WRITE && i <= EVENT_DELETE ? 10
                                                       : 0,
               1);
    put_le(&content, 0, 1);
    put_le(&content, 0, 4);
    return content;
}

/* As it is without a header: what the readers of contents take. */
static inline BinlogEvent log_content(uint8_t type, const void *content, size_t bytes)
{
    return (BinlogEvent){.type = type,
                         .server = 7,
                         .bytes = (uint32_t)(BINLOG_HEADER_BYTES + bytes),
                         .end = 4711,
                         .content = reader_over(content, bytes)};
}
