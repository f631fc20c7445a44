/* The server's messages read in large pieces, past libpq.
 *
 * libpq reads at most 16 KiB at a time, and allocates and copies every CopyData message. Both COPY
 * and replication are one small message per row: so libpq connects, authenticates and does TLS, and
 * while it is idle (nothing in its buffers) the command is sent and its messages are read here,
 * straight from the socket or the TLS session, in place. After ReadyForQuery libpq may go on; if
 * the stream is left earlier, the connection can only be closed.
 *
 *   every message   Byte1 kind, Int32 length (with itself, without the kind), content
 *   kinds used      d CopyData, c CopyDone, C CommandComplete, Z ReadyForQuery, E ErrorResponse,
 *                   H CopyOutResponse, W CopyBothResponse, N NoticeResponse, S ParameterStatus
 *
 * https://www.postgresql.org/docs/15/protocol-message-formats.html */
#pragma once

#include <libpq-fe.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/reader.h"

/* A longer message is refused: the server itself makes none (its MaxAllocSize). */
#define WIRE_MESSAGE_MAX ((size_t)1 << 30)
/* What larger messages took of memory is given back once they are decoded (wire_rest). */
#define WIRE_KEPT_BYTES ((size_t)4 << 20)

typedef struct Wire {
    int fd;
    void *ssl;     /* SSL *, or NULL */
    int wake_fd;   /* an eventfd that ends a wait, or -1 */
    uint8_t *data; /* begin … end: read, not yet taken */
    size_t begin, end, held;
    size_t usual; /* held, but for messages that are larger */
    Bytes out;    /* to be sent */
    size_t out_sent;
    uint64_t bytes_read;
    size_t gather;   /* so many bytes wake the reader: SO_RCVLOWAT; 0: any */
    bool want_write; /* TLS asks for it before it can read on */
} Wire;

typedef enum WireResult {
    WIRE_OK,
    WIRE_EMPTY,  /* nothing there (yet) */
    WIRE_WOKEN,  /* wake_fd was written to */
    WIRE_FAILED, /* *err is filled */
} WireResult;

void wire_done(Wire *wire);
/* The connection must be idle and outlive the wire. read_bytes: how much to ask for at a time. */
void wire_init(Wire *wire, PGconn *connection, int wake_fd, size_t read_bytes);
/* For tests: any stream socket. */
void wire_init_fd(Wire *wire, int fd, int wake_fd, size_t read_bytes);

/* Sends `command` as a simple Query and waits for `wanted` ('H', 'W'). An ErrorResponse becomes the
 * error. Waits at most timeout_ms. */
MUST_CHECK bool wire_command(Wire *wire, const char *command, char wanted, int timeout_ms,
                             Error *err);

/* The next complete message in the buffer; *ret_content points into it and lasts until the next
 * wire_read. WIRE_EMPTY when there is none. */
MUST_CHECK WireResult wire_next(Wire *wire, uint8_t *ret_kind, Reader *ret_content, Error *err);
/* Reads what is there, once, without waiting. *ret_bytes says how much. WIRE_EMPTY: nothing. */
MUST_CHECK WireResult wire_read(Wire *wire, size_t *ret_bytes, Error *err);
void wire_shrink(Wire *wire);
/* The message taken last is done with: one wide row need not keep its memory. */
static inline void wire_rest(Wire *wire)
{
    if (UNLIKELY(wire->held > WIRE_KEPT_BYTES))
        wire_shrink(wire);
}
/* Lets the kernel gather: waits until so many bytes can be read, or the time has passed, whichever
 * is first (socket(7), SO_RCVLOWAT). Says nothing of what is there. */
void wire_gather(Wire *wire, size_t bytes, int timeout_ms);
/* Waits until something can be read. WIRE_EMPTY: the time passed. */
MUST_CHECK WireResult wire_wait(Wire *wire, int timeout_ms, Error *err);

/* Queues one CopyData message and sends what the socket takes; the rest goes with the next call. */
MUST_CHECK bool wire_send_copy(Wire *wire, const void *content, size_t bytes, Error *err);
/* Queues CopyDone likewise: nothing more will be sent. */
MUST_CHECK bool wire_send_done(Wire *wire, Error *err);
/* What was queued is sent as far as the socket takes it. */
MUST_CHECK bool wire_flush(Wire *wire, Error *err);
static inline bool wire_sending(const Wire *wire)
{
    return wire->out_sent < wire->out.used;
}

/* Fills *err from an ErrorResponse's fields; false. */
bool wire_error(Reader content, Error *err);
