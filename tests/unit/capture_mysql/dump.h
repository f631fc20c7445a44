/* What a server sends of its log: each event in its packet, and standing in the file where its
 * header says. */
#pragma once

#include "tests/unit/capture_mysql/server.h"

#define LOG_FILE "binlog.000007"
#define LOG_START 4711
#define GTID_CONTENT "\1aaaaaaaaaaaaaaaa\1\0\0\0\0\0\0\0"
/* shop.t (id int primary key, a varchar(20) in utf8mb4), with its names: signedness, charset,
 * names, key */
#define MAP                                                                                        \
    "\x6d\0\0\0\0\0\1\0\4shop\0\1t\0\2\3\x0f\2\x50\0\2"                                            \
    "\1\1\0"                                                                                       \
    "\2\1\x2d"                                                                                     \
    "\4\5\2id\1a"                                                                                  \
    "\10\1\0"
#define ROW(id) "\x6d\0\0\0\0\0\1\0\2\0\2\3\0" id "\0\0\0\3one"

/* What the server sends, each event in its packet, and standing in the file where its header says.
 */
typedef struct Dump {
    Bytes packets;
    uint8_t number;
    uint32_t at;
} Dump;

static inline void dump_put(Dump *dump, uint8_t type, uint16_t flags, const void *content,
                            size_t bytes)
{
    Bytes packet = {0};
    Bytes event = log_event(false, type, flags, content, bytes);
    dump->at += flags & BINLOG_FLAG_ARTIFICIAL ? 0 : (uint32_t)event.used;
    memcpy(event.data + 13, &dump->at, 4);
    bytes_put_u8(&packet, 0);
    bytes_put(&packet, event.data, event.used);
    server_packet(&dump->packets, &dump->number, packet.data, packet.used);
    bytes_done(&event);
    bytes_done(&packet);
}

static inline Dump dump_begin(void)
{
    Dump dump = {.number = 1, .at = LOG_START};
    dump_put(&dump, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL, TEXT("\x67\x12\0\0\0\0\0\0" LOG_FILE));
    Bytes content = log_format_content();
    dump_put(&dump, EVENT_FORMAT, BINLOG_FLAG_ARTIFICIAL, content.data, content.used);
    bytes_done(&content);
    return dump;
}

static inline void dump_put_begin(Dump *dump)
{
    dump_put(dump, EVENT_GTID, 0, TEXT(GTID_CONTENT));
    dump_put(dump, EVENT_QUERY, 0, TEXT("\1\0\0\0\0\0\0\0\4\0\0\0\0shop\0BEGIN"));
}

/* A transaction of one row. */
static inline void dump_put_row(Dump *dump, const char *row, size_t bytes)
{
    dump_put_begin(dump);
    dump_put(dump, EVENT_TABLE_MAP, 0, TEXT(MAP));
    dump_put(dump, EVENT_WRITE, 0, row, bytes);
    dump_put(dump, EVENT_XID, 0, TEXT("\1\0\0\0\0\0\0\0"));
}
