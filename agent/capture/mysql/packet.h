/* The server's packets, read in place (agent/capture/wire), as the log and the copy are one small
 * packet per event or row: the library connects, authenticates and does TLS, and while it is idle a
 * command is sent and its answer read here. After an answer's last packet the library may go on;
 * left earlier, the connection can only be closed.
 *
 *   packet   uint24 bytes, uint8 number, content; one of 2^24 - 1 bytes goes on in the next
 *   OK 0x00, error 0xff (uint16 number, '#', 5 letters of state, text), EOF 0xfe (of fewer than 9
 *   bytes, or an OK under that head)
 *
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html */
#pragma once

#include <mysql.h>

#include "agent/capture/wire/wire.h"
#include "common/reader.h"

/* A longer one is refused: a server's own are of 1 GiB and a head at most. */
#define PACKET_MAX (((size_t)1 << 30) + 65536)

/* The connection must be idle and outlive the wire; its socket no longer blocks. */
void my_packet_init(Wire *wire, MYSQL *connection, int wake_fd);
/* A command, by the library; its answer is read here. */
MUST_CHECK bool my_packet_command(MYSQL *connection, enum enum_server_command command,
                                  const void *content, size_t bytes, Error *err);

/* The next complete packet in the buffer; *ret points into it and lasts until more is read. */
MUST_CHECK WireResult my_packet_next(Wire *wire, Reader *ret, Error *err);
/* The next packet, however long it takes but for the timeout. False: *err is filled. */
MUST_CHECK bool my_packet_take(Wire *wire, int timeout_ms, Reader *ret, Error *err);

/* Fills *err from an error's packet; false. */
bool my_packet_error(Reader packet, Error *err);
static inline bool my_packet_is_error(const Reader *packet)
{
    return reader_left(packet) > 0 && packet->at[0] == 0xff;
}
static inline bool my_packet_is_eof(const Reader *packet)
{
    return reader_left(packet) > 0 && reader_left(packet) < 9 && packet->at[0] == 0xfe;
}
