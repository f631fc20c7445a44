/* See wire.h. One thread at a time. The buffer grows with what has really arrived, never by a
 * length that was only announced. */
#include "agent/capture/mysql/wire.h"

#include <errno.h>
#include <fcntl.h>
#define HAVE_TLS 1 /* what the two headers below want in order to say what a TLS session is */
typedef unsigned char uchar;
#include <ma_pvio.h>
#include <ma_tls.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "agent/capture/mysql/connect.h"
#include "agent/capture/mysql/endian.h"
#include "common/clock.h"
#include "common/mem.h"

#define PACKET_FULL 0xffffff
#define HEADER_BYTES 4

void mywire_done(MyWire *wire)
{
    free(wire->data);
    *wire = (MyWire){.fd = -1, .wake_fd = -1};
}

void mywire_init_fd(MyWire *wire, int fd, int wake_fd, size_t read_bytes, size_t packet_max)
{
    *wire = (MyWire){.fd = fd,
                     .wake_fd = wake_fd,
                     .held = read_bytes,
                     .usual = read_bytes,
                     .packet_max = packet_max};
    wire->data = mem_alloc(read_bytes);
}

void mywire_init(MyWire *wire, MYSQL *connection, int wake_fd, size_t read_bytes, size_t packet_max)
{
    mywire_init_fd(wire, mysql_get_socket(connection), wake_fd, read_bytes, packet_max);
    if (connection->net.pvio && connection->net.pvio->ctls)
        wire->ssl = connection->net.pvio->ctls->ssl;
    int flags = fcntl(wire->fd, F_GETFL);
    if (flags >= 0)
        fcntl(wire->fd, F_SETFL, flags | O_NONBLOCK);
}

bool mywire_command(MYSQL *connection, enum enum_server_command command, const void *content,
                    size_t bytes, Error *err)
{
    if (connection->methods->db_command(connection, command, content, bytes, 1, NULL))
        return my_failed(connection, err);
    return true;
}

static bool lost(Error *err, const char *doing, int number)
{
    if (number)
        return error_errno(err, ERROR_RETRY, "ConnectionLost", number, "while %s the server",
                           doing);
    return error_set(err, ERROR_RETRY, "ConnectionLost", "the server closed the connection");
}

/* Bytes read, 0: would block, -1: failed. */
static ssize_t receive(MyWire *wire, void *to, size_t room, Error *err)
{
    if (!wire->ssl) {
        ssize_t got = recv(wire->fd, to, room, MSG_DONTWAIT);
        if (got > 0)
            return got;
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        lost(err, "reading from", got < 0 ? errno : 0);
        return -1;
    }
    errno = 0;
    ERR_clear_error();
    int got = SSL_read(wire->ssl, to, room > INT32_MAX ? INT32_MAX : (int)room);
    if (got > 0)
        return got;
    int reason = SSL_get_error(wire->ssl, got), number = errno;
    ERR_clear_error();
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return 0;
    lost(err, "reading from", reason == SSL_ERROR_SYSCALL ? number : 0);
    return -1;
}

/* Room behind `end`: first by moving the rest to the front, then by growing when one packet fills
 * the whole buffer. */
static void make_room(MyWire *wire)
{
    size_t left = wire->end - wire->begin;
    if (wire->begin == wire->end) {
        wire->begin = wire->end = 0;
    } else if (wire->held - wire->end < wire->held / 2 && wire->begin > 0) {
        memmove(wire->data, wire->data + wire->begin, left);
        wire->begin = 0;
        wire->end = left;
    }
    if (wire->end == wire->held) {
        wire->held *= 2;
        wire->data = mem_regrow(wire->data, wire->held, 1);
    }
}

void mywire_shrink(MyWire *wire)
{
    size_t left = wire->end - wire->begin;
    if (left >= wire->held / 2) /* the next packet is as large */
        return;
    if (left)
        memmove(wire->data, wire->data + wire->begin, left);
    wire->begin = 0;
    wire->end = left;
    wire->held = left + wire->usual;
    wire->data = mem_regrow(wire->data, wire->held, 1);
}

MyWireResult mywire_read(MyWire *wire, size_t *ret_bytes, Error *err)
{
    *ret_bytes = 0;
    make_room(wire);
    for (;;) {
        ssize_t got = receive(wire, wire->data + wire->end, wire->held - wire->end, err);
        if (got < 0)
            return MYWIRE_FAILED;
        wire->end += (size_t)got;
        wire->bytes_read += (uint64_t)got;
        *ret_bytes += (size_t)got;
        /* TLS hands out one record of 16 KiB at a time; a socket all it has. */
        if (got == 0 || !wire->ssl || wire->end == wire->held)
            return *ret_bytes ? MYWIRE_OK : MYWIRE_EMPTY;
    }
}

/* A socket that can't do it wakes at the first byte: that costs time, nothing else. */
static void wake_at(MyWire *wire, size_t bytes)
{
    int low = bytes ? (int)bytes : 1;
    if (wire->gather != bytes)
        setsockopt(wire->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
    wire->gather = bytes;
}

void mywire_gather(MyWire *wire, size_t bytes, int timeout_ms)
{
    struct pollfd polled = {.fd = wire->fd, .events = POLLIN};
    wake_at(wire, bytes);
    if (!wire->ssl || SSL_pending(wire->ssl) == 0)
        poll(&polled, 1, timeout_ms);
}

MyWireResult mywire_wait(MyWire *wire, int timeout_ms, Error *err)
{
    if (wire->ssl && SSL_pending(wire->ssl) > 0)
        return MYWIRE_OK;
    wake_at(wire, 0);
    struct pollfd polled[2] = {{.fd = wire->fd, .events = POLLIN},
                               {.fd = wire->wake_fd, .events = POLLIN}};
    int ready = poll(polled, wire->wake_fd >= 0 ? 2 : 1, timeout_ms);
    if (ready < 0 && errno != EINTR) {
        lost(err, "waiting for", errno);
        return MYWIRE_FAILED;
    }
    if (ready <= 0)
        return MYWIRE_EMPTY;
    return polled[1].revents ? MYWIRE_WOKEN : MYWIRE_OK;
}

/* How many bytes the packet at `begin` takes with its headers; 0: not all of it is there. */
static size_t packet_bytes(const MyWire *wire)
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

MyWireResult mywire_next(MyWire *wire, Reader *ret, Error *err)
{
    size_t whole = packet_bytes(wire);
    if (whole > wire->packet_max || wire->end - wire->begin > wire->packet_max + wire->usual * 2) {
        error_set(err, ERROR_RETRY, "BadMessage", "the server sent a packet larger than %zu bytes",
                  wire->packet_max);
        return MYWIRE_FAILED;
    }
    if (!whole)
        return MYWIRE_EMPTY;
    *ret = join(wire->data + wire->begin, whole);
    wire->begin += whole;
    return MYWIRE_OK;
}

bool mywire_take(MyWire *wire, int timeout_ms, Reader *ret, Error *err)
{
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        size_t bytes;
        MyWireResult result = mywire_next(wire, ret, err);
        if (result == MYWIRE_OK)
            return true;
        if (result == MYWIRE_EMPTY)
            result = mywire_read(wire, &bytes, err);
        int64_t left_us = deadline_us - clock_mono_us();
        if (result == MYWIRE_EMPTY && left_us <= 0)
            return error_set(err, ERROR_RETRY, "Timeout", "the server did not answer within %d ms",
                             timeout_ms);
        if (result == MYWIRE_EMPTY)
            result = mywire_wait(wire, (int)(left_us / 1000) + 1, err);
        if (result == MYWIRE_WOKEN)
            return error_set(err, ERROR_RETRY, "Cancelled", "cancelled");
        if (result == MYWIRE_FAILED)
            return false;
    }
}

bool mywire_error(Reader packet, Error *err)
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
