/* The server's packets read in large pieces, past libmariadb, as the log and the copy are one small
 * packet per event or row: the library connects, authenticates and does TLS, and while it is idle a
 * command is sent and its answer read here, straight from the socket or the TLS session. After an
 * answer's last packet the library may go on; left earlier, the connection can only be closed.
 *
 *   packet   uint24 bytes, uint8 number, content; one of 2^24 - 1 bytes goes on in the next
 *   OK 0x00, error 0xff (uint16 number, '#', 5 letters of state, text), EOF 0xfe (of fewer than 9
 *   bytes, or an OK under that head)
 *
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html */
#pragma once

#include <mysql.h>

#include "common/error.h"
#include "common/reader.h"

/* What larger packets took of memory is given back once they are decoded (mywire_rest). */
#define MYWIRE_KEPT_BYTES ((size_t)4 << 20)

typedef struct MyWire {
    int fd;
    void *ssl;     /* SSL *, or NULL */
    int wake_fd;   /* an eventfd that ends a wait, or -1 */
    uint8_t *data; /* begin … end: read, not yet taken */
    size_t begin, end, held, usual;
    size_t packet_max; /* a longer one is refused */
    uint64_t bytes_read;
    size_t gather; /* so many bytes wake the reader: SO_RCVLOWAT; 0: any */
} MyWire;

typedef enum MyWireResult {
    MYWIRE_OK,
    MYWIRE_EMPTY,  /* nothing there (yet) */
    MYWIRE_WOKEN,  /* wake_fd was written to */
    MYWIRE_FAILED, /* *err is filled */
} MyWireResult;

void mywire_done(MyWire *wire);
/* The connection must be idle and outlive the wire; its socket no longer blocks. */
void mywire_init(MyWire *wire, MYSQL *connection, int wake_fd, size_t read_bytes,
                 size_t packet_max);
/* For tests: any stream socket. */
void mywire_init_fd(MyWire *wire, int fd, int wake_fd, size_t read_bytes, size_t packet_max);
/* A command, by the library; its answer is read here. */
MUST_CHECK bool mywire_command(MYSQL *connection, enum enum_server_command command,
                               const void *content, size_t bytes, Error *err);

/* The next complete packet in the buffer; *ret points into it and lasts until the next call. */
MUST_CHECK MyWireResult mywire_next(MyWire *wire, Reader *ret, Error *err);
/* Reads what is there, once, without waiting. */
MUST_CHECK MyWireResult mywire_read(MyWire *wire, size_t *ret_bytes, Error *err);
/* Lets the kernel gather: waits until so many bytes can be read, or the time has passed. */
void mywire_gather(MyWire *wire, size_t bytes, int timeout_ms);
/* Waits until something can be read. MYWIRE_EMPTY: the time passed. */
MUST_CHECK MyWireResult mywire_wait(MyWire *wire, int timeout_ms, Error *err);
/* The next packet, however long it takes but for the timeout. False: *err is filled. */
MUST_CHECK bool mywire_take(MyWire *wire, int timeout_ms, Reader *ret, Error *err);
void mywire_shrink(MyWire *wire);
static inline void mywire_rest(MyWire *wire)
{
    if (UNLIKELY(wire->held > MYWIRE_KEPT_BYTES))
        mywire_shrink(wire);
}

/* Fills *err from an error's packet; false. */
bool mywire_error(Reader packet, Error *err);
static inline bool mywire_is_error(const Reader *packet)
{
    return reader_left(packet) > 0 && packet->at[0] == 0xff;
}
static inline bool mywire_is_eof(const Reader *packet)
{
    return reader_left(packet) > 0 && reader_left(packet) < 9 && packet->at[0] == 0xfe;
}
