/* Headers, checksums and formats: see binlog.h. */
#include "agent/capture/mysql/binlog.h"

#include <stdio.h>
#include <zlib.h>

#define CHECKSUM_BYTES 4
#define FORMAT_VERSION 4
#define CHECKSUM_NONE 0
#define CHECKSUM_CRC32 1

const char *binlog_type_name(uint8_t type)
{
    static const char *const names[256] = {
        [EVENT_QUERY] = "query",
        [EVENT_STOP] = "stop",
        [EVENT_ROTATE] = "rotate",
        [EVENT_FORMAT] = "format description",
        [EVENT_XID] = "xid",
        [EVENT_TABLE_MAP] = "table map",
        [EVENT_WRITE_V1] = "write rows v1",
        [EVENT_UPDATE_V1] = "update rows v1",
        [EVENT_DELETE_V1] = "delete rows v1",
        [EVENT_INCIDENT] = "incident",
        [EVENT_HEARTBEAT] = "heartbeat",
        [EVENT_WRITE] = "write rows",
        [EVENT_UPDATE] = "update rows",
        [EVENT_DELETE] = "delete rows",
        [EVENT_GTID] = "gtid",
        [EVENT_ANONYMOUS_GTID] = "anonymous gtid",
        [EVENT_PREVIOUS_GTIDS] = "previous gtids",
        [EVENT_XA_PREPARE] = "xa prepare",
        [EVENT_PARTIAL_UPDATE] = "partial update rows",
        [EVENT_PAYLOAD] = "transaction payload",
        [EVENT_HEARTBEAT_V2] = "heartbeat v2",
        [EVENT_GTID_TAGGED] = "tagged gtid",
        [EVENT_MARIADB_GTID] = "mariadb gtid",
        [EVENT_GTID_LIST] = "gtid list",
        [EVENT_START_ENCRYPTION] = "start encryption",
        [EVENT_QUERY_COMPRESSED] = "compressed query",
        [EVENT_WRITE_V1_COMPRESSED] = "compressed write rows v1",
        [EVENT_UPDATE_V1_COMPRESSED] = "compressed update rows v1",
        [EVENT_DELETE_V1_COMPRESSED] = "compressed delete rows v1",
        [EVENT_WRITE_COMPRESSED] = "compressed write rows",
        [EVENT_UPDATE_COMPRESSED] = "compressed update rows",
        [EVENT_DELETE_COMPRESSED] = "compressed delete rows",
    };
    return names[type] ? names[type] : "unknown";
}

bool binlog_bad(const BinlogEvent *event, const char *what, Error *err)
{
    return error_set(err, ERROR_DATA, "BadEvent", "%s event (%u) of %u bytes that ends at %u: %s",
                     binlog_type_name(event->type), event->type, event->bytes, event->end, what);
}

static bool read_header(const uint8_t *data, size_t bytes, BinlogEvent *ret, Error *err)
{
    *ret = (BinlogEvent){0};
    if (bytes < BINLOG_HEADER_BYTES || bytes > BINLOG_EVENT_MAX)
        return error_set(err, ERROR_DATA, "BadEvent", "an event of %zu bytes", bytes);
    *ret = (BinlogEvent){
        .time = (uint32_t)le_uint(data, 4),
        .type = data[4],
        .server = (uint32_t)le_uint(data + 5, 4),
        .bytes = (uint32_t)le_uint(data + 9, 4),
        .end = (uint32_t)le_uint(data + 13, 4),
        .flags = (uint16_t)le_uint(data + 17, 2),
        .content = reader_over(data + BINLOG_HEADER_BYTES, bytes - BINLOG_HEADER_BYTES),
    };
    if (ret->bytes != bytes)
        return binlog_bad(ret, "it came with another length", err);
    return true;
}

static bool check(const uint8_t *data, BinlogEvent *event, Error *err)
{
    if (reader_left(&event->content) < CHECKSUM_BYTES)
        return binlog_bad(event, "it is too short for its checksum", err);
    event->content.end -= CHECKSUM_BYTES;
    uint32_t wanted = (uint32_t)le_uint(event->content.end, CHECKSUM_BYTES);
    uint32_t got = (uint32_t)crc32_z(0, data, event->bytes - CHECKSUM_BYTES);
    if (got != wanted)
        return error_set(err, ERROR_DATA, "BadChecksum",
                         "%s event that ends at %u: its checksum is %08x, not %08x: the binlog is "
                         "damaged at the server, or was on its way",
                         binlog_type_name(event->type), event->end, got, wanted);
    return true;
}

/* A server that knows of checksums says so behind the lengths: MySQL from 5.6.1 on, MariaDB from
 * 5.3 on; those before are not followed. */
static bool read_format(BinlogFormat *format, const uint8_t *data, BinlogEvent *event, Error *err)
{
    Reader in = event->content;
    uint16_t version = 0;
    uint8_t header;
    const uint8_t *at;
    BinlogFormat read = {.known = true};
    if (reader_left(&in) < 2 + 50 + 4 + 1 + 1 + CHECKSUM_BYTES)
        return binlog_bad(event, "it is too short", err);
    uint64_t number;
    if (reader_le(&in, 2, &number))
        version = (uint16_t)number;
    if (version != FORMAT_VERSION)
        return binlog_bad(event, "it is not of version 4", err);
    if (!reader_take(&in, 50, &at))
        return binlog_bad(event, "it is too short", err);
    memcpy(read.version, at, 50);
    read.mariadb = strstr(read.version, "MariaDB") != NULL;
    if (!reader_take(&in, 4, &at) || !reader_u8(&in, &header) || header != BINLOG_HEADER_BYTES)
        return binlog_bad(event, "its headers have another length", err);
    size_t types = reader_left(&in) - 1 - CHECKSUM_BYTES;
    if (types >= sizeof read.fixed_bytes || types < EVENT_DELETE_V1)
        return binlog_bad(event, "it has an impossible number of types", err);
    memcpy(read.fixed_bytes + 1, in.at, types);
    uint8_t algorithm = in.at[types];
    if (algorithm != CHECKSUM_NONE && algorithm != CHECKSUM_CRC32)
        return binlog_bad(event, "it names an unknown checksum", err);
    read.checksums = algorithm == CHECKSUM_CRC32;
    if (read.checksums)
        if (!check(data, event, err))
            return false;
    *format = read;
    return true;
}

bool binlog_event(BinlogFormat *format, const uint8_t *data, size_t bytes, BinlogEvent *ret,
                  Error *err)
{
    if (!read_header(data, bytes, ret, err))
        return false;
    if (ret->type == EVENT_FORMAT)
        return read_format(format, data, ret, err);
    if (format->checksums && !check(data, ret, err))
        return false;
    if (!format->known && ret->type != EVENT_ROTATE && ret->type != EVENT_HEARTBEAT &&
        ret->type != EVENT_HEARTBEAT_V2)
        return binlog_bad(ret, "it came before a format description", err);
    return true;
}

bool binlog_event_inside(const BinlogFormat *format, const uint8_t *data, size_t bytes,
                         BinlogEvent *ret, Error *err)
{
    if (!read_header(data, bytes, ret, err))
        return false;
    if (!format->known || ret->type == EVENT_FORMAT || ret->type == EVENT_PAYLOAD)
        return binlog_bad(ret, "it stands in a payload", err);
    return true;
}
