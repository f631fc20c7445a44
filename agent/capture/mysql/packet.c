#include "agent/capture/mysql/packet.h"

#define HAVE_TLS 1 /* what the two headers below want in order to say what a TLS session is */
typedef unsigned char uchar;
#include <ma_pvio.h>
#include <ma_tls.h>
#include <stdio.h>

#include "agent/capture/mysql/connect.h"
#include "agent/capture/mysql/endian.h"
#include "common/clock.h"

#define PACKET_FULL 0xffffff
#define HEADER_BYTES 4

void my_packet_init(Wire *wire, MYSQL *connection, int wake_fd)
{
    bool tls = connection->net.pvio && connection->net.pvio->ctls;
    wire_init(wire, mysql_get_socket(connection), tls ? connection->net.pvio->ctls->ssl : NULL,
              wake_fd, WIRE_READ_BYTES, PACKET_MAX);
}

bool my_packet_command(MYSQL *connection, enum enum_server_command command, const void *content,
                       size_t bytes, Error *err)
{
    if (connection->methods->db_command(connection, command, content, bytes, 1, NULL))
        return my_failed(connection, err);
    return true;
}

/* How many bytes the packet at `begin` takes with its headers; 0: not all of it is there. */
static size_t packet_bytes(const Wire *wire)
{
    size_t at = wire->begin;
    for (;;) {
        if (wire->end - at < HEADER_BYTES)
            return 0;
        size_t bytes = le_uint(wire->data + at, 3);
        if (wire->end - at < HEADER_BYTES + bytes)
            return 0;
        at += HEADER_BYTES + bytes;
        if (LIKELY(bytes < PACKET_FULL))
            return at - wire->begin;
    }
}

/* Packets that go on in the next are pushed together. */
static Reader join(uint8_t *from, size_t whole)
{
    uint8_t *to = from + HEADER_BYTES;
    size_t used = le_uint(from, 3), at = HEADER_BYTES + used;
    while (at < whole) {
        size_t bytes = le_uint(from + at, 3);
        memmove(to + used, from + at + HEADER_BYTES, bytes);
        used += bytes;
        at += HEADER_BYTES + bytes;
    }
    return reader_over(to, used);
}

WireResult my_packet_next(Wire *wire, Reader *ret, Error *err)
{
    size_t whole = packet_bytes(wire);
    if (whole > wire->message_max ||
        wire->end - wire->begin > wire->message_max + wire->usual * 2) {
        error_set(err, ERROR_RETRY, "BadMessage", "the server sent a packet larger than %zu bytes",
                  wire->message_max);
        return WIRE_FAILED;
    }
    if (!whole)
        return WIRE_EMPTY;
    *ret = join(wire->data + wire->begin, whole);
    wire->begin += whole;
    return WIRE_OK;
}

bool my_packet_take(Wire *wire, int timeout_ms, Reader *ret, Error *err)
{
    int64_t asked_us = clock_mono_us();
    for (;;) {
        WireResult result = my_packet_next(wire, ret, err);
        if (result != WIRE_EMPTY)
            return result == WIRE_OK;
        if (!wire_more(wire, asked_us, timeout_ms, err))
            return false;
    }
}

bool my_packet_error(Reader packet, Error *err)
{
    const uint8_t *at;
    uint64_t number;
    char text[400];
    if (!reader_take(&packet, 1, &at) || !reader_le(&packet, 2, &number))
        return error_set(err, ERROR_RETRY, "BadMessage", "the server sent an error without number");
    if (reader_left(&packet) >= 6 && packet.at[0] == '#')
        packet.at += 6;
    size_t bytes = reader_left(&packet);
    snprintf(text, sizeof text, "%.*s", (int)(bytes < sizeof text ? bytes : sizeof text - 1),
             (const char *)packet.at);
    return my_classify((unsigned)number, text, err);
}
