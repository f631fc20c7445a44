/* See wire.h. One thread at a time. The socket is non-blocking (libpq makes it so); every wait is a
 * poll here. The buffer grows with what has really arrived, never by a length that was only
 * announced. */
#include "agent/capture/postgres/wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/postgres/connect.h"
#include "common/clock.h"

void wire_done(Wire *wire)
{
    free(wire->data);
    bytes_done(&wire->out);
    *wire = (Wire){.fd = -1, .wake_fd = -1};
}

void wire_init_fd(Wire *wire, int fd, int wake_fd, size_t read_bytes)
{
    *wire = (Wire){.fd = fd, .wake_fd = wake_fd, .held = read_bytes, .usual = read_bytes};
    wire->data = mem_alloc(read_bytes);
}

void wire_init(Wire *wire, PGconn *connection, int wake_fd, size_t read_bytes)
{
    wire_init_fd(wire, PQsocket(connection), wake_fd, read_bytes);
    wire->ssl = PQgetssl(connection);
}

static bool lost(Error *err, const char *doing, int number)
{
    if (number)
        return error_errno(err, ERROR_RETRY, "ConnectionLost", number, "while %s the server",
                           doing);
    return error_set(err, ERROR_RETRY, "ConnectionLost", "the server closed the connection");
}

/* Bytes moved, 0: would block, -1: failed. */
static ssize_t tls_result(Wire *wire, int result, const char *doing, Error *err)
{
    if (result > 0)
        return result;
    int reason = SSL_get_error(wire->ssl, result);
    int number = errno;
    ERR_clear_error();
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
        wire->want_write = reason == SSL_ERROR_WANT_WRITE;
        return 0;
    }
    lost(err, doing, reason == SSL_ERROR_SYSCALL ? number : 0);
    return -1;
}

static ssize_t receive(Wire *wire, void *to, size_t room, Error *err)
{
    if (wire->ssl) {
        errno = 0;
        ERR_clear_error();
        return tls_result(wire, SSL_read(wire->ssl, to, room > INT32_MAX ? INT32_MAX : (int)room),
                          "reading from", err);
    }
    ssize_t got = recv(wire->fd, to, room, MSG_DONTWAIT);
    if (got > 0)
        return got;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    lost(err, "reading from", got < 0 ? errno : 0);
    return -1;
}

static ssize_t transmit(Wire *wire, const void *from, size_t bytes, Error *err)
{
    if (wire->ssl) {
        errno = 0;
        ERR_clear_error();
        return tls_result(wire, SSL_write(wire->ssl, from, (int)bytes), "writing to", err);
    }
    ssize_t sent = send(wire->fd, from, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    lost(err, "writing to", errno);
    return -1;
}

/* Room behind `end`: first by moving the rest to the front, then by growing when one message fills
 * the whole buffer. */
static void make_room(Wire *wire)
{
    size_t left = wire->end - wire->begin;
    if (wire->begin == wire->end) {
        wire->begin = wire->end = 0;
        if (wire->held > wire->usual * 4) { /* one wide row need not keep its memory */
            wire->held = wire->usual;
            wire->data = mem_regrow(wire->data, wire->held, 1);
        }
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

void wire_shrink(Wire *wire)
{
    size_t left = wire->end - wire->begin;
    if (left >= wire->held / 2) /* the next message is as large */
        return;
    if (left)
        memmove(wire->data, wire->data + wire->begin, left);
    wire->begin = 0;
    wire->end = left;
    wire->held = left + wire->usual;
    wire->data = mem_regrow(wire->data, wire->held, 1);
}

WireResult wire_read(Wire *wire, size_t *ret_bytes, Error *err)
{
    *ret_bytes = 0;
    make_room(wire);
    for (;;) {
        ssize_t got = receive(wire, wire->data + wire->end, wire->held - wire->end, err);
        if (got < 0)
            return WIRE_FAILED;
        wire->end += (size_t)got;
        wire->bytes_read += (uint64_t)got;
        *ret_bytes += (size_t)got;
        /* TLS hands out one record of 16 KiB at a time; a socket all it has. */
        if (got == 0 || !wire->ssl || wire->end == wire->held)
            return *ret_bytes ? WIRE_OK : WIRE_EMPTY;
    }
}

/* A socket that can't do it wakes at the first byte: that costs time, nothing else. */
static void wake_at(Wire *wire, size_t bytes)
{
    int low = bytes ? (int)bytes : 1;
    if (wire->gather != bytes)
        setsockopt(wire->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
    wire->gather = bytes;
}

void wire_gather(Wire *wire, size_t bytes, int timeout_ms)
{
    struct pollfd polled = {.fd = wire->fd, .events = POLLIN};
    wake_at(wire, bytes);
    if (!wire->ssl || SSL_pending(wire->ssl) == 0)
        poll(&polled, 1, timeout_ms);
}

WireResult wire_wait(Wire *wire, int timeout_ms, Error *err)
{
    if (wire->ssl && SSL_pending(wire->ssl) > 0)
        return WIRE_OK;
    wake_at(wire, 0);
    short events = POLLIN;
    if (wire_sending(wire) || wire->want_write)
        events |= POLLOUT;
    struct pollfd polled[2] = {{.fd = wire->fd, .events = events},
                               {.fd = wire->wake_fd, .events = POLLIN}};
    int ready = poll(polled, wire->wake_fd >= 0 ? 2 : 1, timeout_ms);
    if (ready < 0 && errno != EINTR) {
        lost(err, "waiting for", errno);
        return WIRE_FAILED;
    }
    if (ready <= 0)
        return WIRE_EMPTY;
    if (polled[1].revents)
        return WIRE_WOKEN;
    if (polled[0].revents & POLLOUT && !wire_flush(wire, err))
        return WIRE_FAILED;
    return polled[0].revents & ~POLLOUT || wire->want_write ? WIRE_OK : WIRE_EMPTY;
}

WireResult wire_next(Wire *wire, uint8_t *ret_kind, Reader *ret_content, Error *err)
{
    size_t left = wire->end - wire->begin;
    if (left < 5)
        return WIRE_EMPTY;
    const uint8_t *at = wire->data + wire->begin;
    uint32_t length;
    memcpy(&length, at + 1, sizeof length);
    length = __builtin_bswap32(length);
    if (UNLIKELY(length < 4 || length > WIRE_MESSAGE_MAX)) {
        error_set(err, ERROR_RETRY, "BadMessage",
                  "the server sent a message of kind 0x%02x and length %u, which is none", at[0],
                  length);
        return WIRE_FAILED;
    }
    if (left < 1 + (size_t)length)
        return WIRE_EMPTY;
    *ret_kind = at[0];
    *ret_content = reader_over(at + 5, length - 4);
    wire->begin += 1 + (size_t)length;
    return WIRE_OK;
}

bool wire_flush(Wire *wire, Error *err)
{
    while (wire_sending(wire)) {
        ssize_t sent =
            transmit(wire, wire->out.data + wire->out_sent, wire->out.used - wire->out_sent, err);
        if (sent < 0)
            return false;
        if (sent == 0)
            return true;
        wire->out_sent += (size_t)sent;
    }
    wire->out_sent = 0;
    bytes_clear(&wire->out);
    return true;
}

static void queue_message(Wire *wire, char kind, const void *content, size_t bytes)
{
    bytes_put_u8(&wire->out, (uint8_t)kind);
    bytes_put_u32be(&wire->out, (uint32_t)(bytes + 4));
    bytes_put(&wire->out, content, bytes);
}

bool wire_send_copy(Wire *wire, const void *content, size_t bytes, Error *err)
{
    queue_message(wire, 'd', content, bytes);
    return wire_flush(wire, err);
}

bool wire_send_done(Wire *wire, Error *err)
{
    queue_message(wire, 'c', "", 0);
    return wire_flush(wire, err);
}

bool wire_command(Wire *wire, const char *command, char wanted, int timeout_ms, Error *err)
{
    queue_message(wire, 'Q', command, strlen(command) + 1);
    if (!wire_flush(wire, err))
        return false;
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        uint8_t kind;
        Reader content;
        WireResult result = wire_next(wire, &kind, &content, err);
        if (result == WIRE_OK && kind == (uint8_t)wanted)
            return true;
        if (result == WIRE_OK && kind == 'E')
            return wire_error(content, err);
        if (result == WIRE_OK && kind != 'N' && kind != 'S')
            return error_set(err, ERROR_RETRY, "BadMessage",
                             "the server answered '%.60s' with a message of kind 0x%02x", command,
                             kind);
        if (result == WIRE_OK)
            continue;
        size_t bytes = 0;
        if (result == WIRE_EMPTY)
            result = wire_read(wire, &bytes, err);
        if (result == WIRE_EMPTY) {
            int64_t left_us = deadline_us - clock_mono_us();
            if (left_us <= 0)
                return error_set(err, ERROR_RETRY, "Timeout",
                                 "the server did not answer '%.60s' within %d ms", command,
                                 timeout_ms);
            result = wire_wait(wire, (int)(left_us / 1000) + 1, err);
        }
        if (result == WIRE_WOKEN)
            return error_set(err, ERROR_RETRY, "Cancelled", "cancelled");
        if (result == WIRE_FAILED)
            return false;
    }
}

bool wire_error(Reader content, Error *err)
{
    const char *state = "", *primary = "", *detail = "", *hint = "";
    uint8_t field;
    while (reader_u8(&content, &field) && field) {
        const char *text;
        if (!reader_cstring(&content, &text))
            break;
        if (field == 'C')
            state = text;
        else if (field == 'M')
            primary = text;
        else if (field == 'D')
            detail = text;
        else if (field == 'H')
            hint = text;
    }
    return connect_classify(state, primary, detail, hint, err);
}
