#include "agent/capture/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/mem.h"

#define CLOSE_US INT64_C(500) /* reads that follow each other so closely: gather */
#define GATHER_MS 1

void wire_done(Wire *wire)
{
    free(wire->data);
    bytes_done(&wire->out);
    *wire = (Wire){.fd = -1, .wake_fd = -1};
}

void wire_init(Wire *wire, int fd, void *ssl, int wake_fd, size_t read_bytes, size_t message_max)
{
    *wire = (Wire){.fd = fd,
                   .ssl = ssl,
                   .wake_fd = wake_fd,
                   .held = read_bytes,
                   .usual = read_bytes,
                   .message_max = message_max};
    wire->data = mem_alloc(read_bytes);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
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

/* What is left goes to the front. */
static void move_left(Wire *wire)
{
    size_t left = wire->end - wire->begin;
    if (left && wire->begin)
        memmove(wire->data, wire->data + wire->begin, left);
    wire->begin = 0;
    wire->end = left;
}

/* Room behind `end`: first by moving the rest to the front, then by growing when one message fills
 * the whole buffer. */
static void make_room(Wire *wire)
{
    if (wire->begin == wire->end || wire->held - wire->end < wire->held / 2)
        move_left(wire);
    if (wire->end == wire->held) {
        wire->held *= 2;
        wire->data = mem_regrow(wire->data, wire->held, 1);
    }
}

void wire_shrink(Wire *wire)
{
    if (wire->end - wire->begin >= wire->held / 2) /* the next message is as large */
        return;
    move_left(wire);
    wire->held = wire->end + wire->usual;
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

/* A walsender sends every change by itself. A reader that wakes for each spends more on waking than
 * on decoding: so when reads follow each other closely, the kernel gathers some tens of KiB before
 * it wakes us, for a millisecond at most. A trickle is read at once. Sleeping instead must be so
 * short, lest the socket is full meanwhile and the sender waits, that a slow sender has us wake for
 * a few rows again. */
WireResult wire_read_on(Wire *wire, int64_t now_us, Error *err)
{
    if (now_us - wire->read_us < CLOSE_US && wire->latest_bytes < WIRE_GATHER_BYTES &&
        wire->latest_bytes > 0)
        wire_gather(wire, WIRE_GATHER_BYTES, GATHER_MS);
    WireResult result = wire_read(wire, &wire->latest_bytes, err);
    if (result == WIRE_OK)
        wire->read_us = clock_mono_us();
    return result;
}

/* A socket that can't do it wakes at the first byte: that costs time, nothing else. */
static void set_low(Wire *wire, size_t bytes)
{
    int low = bytes ? (int)bytes : 1;
    if (wire->low_bytes != bytes)
        (void)setsockopt(wire->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
    wire->low_bytes = bytes;
}

void wire_wake_at(Wire *wire, size_t bytes)
{
    wire->wake_bytes = bytes;
    set_low(wire, bytes);
}

void wire_gather(Wire *wire, size_t bytes, int timeout_ms)
{
    struct pollfd polled = {.fd = wire->fd, .events = POLLIN};
    set_low(wire, bytes);
    if (!wire->ssl || SSL_pending(wire->ssl) == 0)
        poll(&polled, 1, timeout_ms);
}

WireResult wire_wait(Wire *wire, int timeout_ms, Error *err)
{
    if (wire->ssl && SSL_pending(wire->ssl) > 0)
        return WIRE_OK;
    set_low(wire, wire->wake_bytes);
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

bool wire_more(Wire *wire, int64_t asked_us, int timeout_ms, Error *err)
{
    for (;;) {
        size_t bytes;
        WireResult result = wire_read(wire, &bytes, err);
        if (result == WIRE_EMPTY) {
            int64_t left_us = asked_us + (int64_t)timeout_ms * 1000 - clock_mono_us();
            if (left_us <= 0)
                return error_set(err, ERROR_RETRY, "Timeout",
                                 "the server did not answer within %d ms", timeout_ms);
            result = wire_wait(wire, (int)(left_us / 1000) + 1, err);
            if (result == WIRE_OK || result == WIRE_EMPTY)
                continue;
        }
        if (result == WIRE_WOKEN)
            return error_set(err, ERROR_RETRY, "Cancelled", "cancelled");
        return result == WIRE_OK;
    }
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
