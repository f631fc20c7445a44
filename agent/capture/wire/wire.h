/* A server's socket, or its TLS session, read in large pieces past the client library.
 *
 * The log and the copy are one small message per row, and the libraries read little at a time and
 * allocate and copy each message: so they connect, authenticate and do TLS, and while they are idle
 * (nothing in their buffers) what the server says is read here, in place. The drivers know where a
 * message ends: postgres/message.h, mysql/packet.h.
 *
 * The socket does not block; every wait is a poll here. The buffer grows with what has really
 * arrived, never by a length that was only announced. One thread at a time. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

/* How much is asked for at a time. */
#define WIRE_READ_BYTES ((size_t)256 << 10)
/* What larger messages took of memory is given back once they are decoded (wire_rest). */
#define WIRE_KEPT_BYTES ((size_t)4 << 20)
/* A read of so much has gathered enough. */
#define WIRE_GATHER_BYTES ((size_t)64 << 10)

typedef struct Wire {
    int fd;
    void *ssl;     /* SSL *, or NULL */
    int wake_fd;   /* an eventfd that ends a wait, or -1 */
    uint8_t *data; /* begin … end: read, not yet taken */
    size_t begin, end, held;
    size_t usual;       /* held, but for messages that are larger */
    size_t message_max; /* a longer one is refused by whoever takes it */
    Bytes out;          /* to be sent */
    size_t out_sent;
    uint64_t bytes_read;
    size_t wake_bytes; /* so many end a wait; 0: any */
    size_t low_bytes;  /* … as the socket knows it: SO_RCVLOWAT */
    bool want_write;   /* TLS asks for it before it can read on */
    /* of wire_read_on */
    size_t latest_bytes; /* of the latest read */
    int64_t read_us;     /* when something was read */
} Wire;

typedef enum WireResult {
    WIRE_OK,
    WIRE_EMPTY,  /* nothing there (yet) */
    WIRE_WOKEN,  /* wake_fd was written to */
    WIRE_FAILED, /* *err is filled; RETRY "ConnectionLost" of all functions here */
} WireResult;

void wire_done(Wire *wire);
/* Socket and session outlive the wire and are not closed by it; the socket no longer blocks. */
void wire_init(Wire *wire, int fd, void *ssl, int wake_fd, size_t read_bytes, size_t message_max);

/* Reads what is there, once, without waiting. *ret_bytes says how much. WIRE_EMPTY: nothing. */
MUST_CHECK WireResult wire_read(Wire *wire, size_t *ret_bytes, Error *err);
/* The same of a stream that goes on and on: when reads follow each other closely and find little,
 * the kernel gathers first. */
MUST_CHECK WireResult wire_read_on(Wire *wire, int64_t now_us, Error *err);
/* Waits until something can be read, and sends meanwhile. WIRE_EMPTY: the time passed. */
MUST_CHECK WireResult wire_wait(Wire *wire, int timeout_ms, Error *err);
/* Reads more of an answer that was asked for at asked_us, and waits for it until timeout_ms later.
 * RETRY "Timeout"; "Cancelled" when woken. */
MUST_CHECK bool wire_more(Wire *wire, int64_t asked_us, int timeout_ms, Error *err);
/* Lets the kernel gather: waits until so many bytes can be read, or the time has passed, whichever
 * is first (socket(7), SO_RCVLOWAT). Says nothing of what is there. */
void wire_gather(Wire *wire, size_t bytes, int timeout_ms);
/* From here on a wait ends when so many bytes can be read; 0: any. */
void wire_wake_at(Wire *wire, size_t bytes);

void wire_shrink(Wire *wire);
/* The message taken last is done with: one wide row need not keep its memory. */
static inline void wire_rest(Wire *wire)
{
    if (UNLIKELY(wire->held > WIRE_KEPT_BYTES))
        wire_shrink(wire);
}

/* What was put into `out` is sent as far as the socket takes it; the rest goes with the next call,
 * or while waiting. */
MUST_CHECK bool wire_flush(Wire *wire, Error *err);
static inline bool wire_sending(const Wire *wire)
{
    return wire->out_sent < wire->out.used;
}
