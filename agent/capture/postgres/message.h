/* The server's messages, read in place (agent/capture/wire): libpq reads at most 16 KiB at a time,
 * and allocates and copies every CopyData message. After ReadyForQuery libpq may go on; if the
 * stream is left earlier, the connection can only be closed.
 *
 *   every message   Byte1 kind, Int32 length (with itself, without the kind), content
 *   kinds used      d CopyData, c CopyDone, C CommandComplete, Z ReadyForQuery, E ErrorResponse,
 *                   H CopyOutResponse, W CopyBothResponse, N NoticeResponse, S ParameterStatus
 *
 * https://www.postgresql.org/docs/15/protocol-message-formats.html */
#pragma once

#include <libpq-fe.h>

#include "agent/capture/wire/wire.h"
#include "common/reader.h"

/* A longer message is refused: the server itself makes none (its MaxAllocSize). */
#define MESSAGE_MAX ((size_t)1 << 30)

/* The connection must be idle and outlive the wire. */
void message_init(Wire *wire, PGconn *connection, int wake_fd);

/* Sends `command` as a simple Query and waits for `wanted` ('H', 'W'). An ErrorResponse becomes the
 * error. Waits at most timeout_ms. */
MUST_CHECK bool message_command(Wire *wire, const char *command, char wanted, int timeout_ms,
                                Error *err);

/* The next complete message in the buffer; *ret_content points into it and lasts until more is
 * read. WIRE_EMPTY when there is none. */
MUST_CHECK WireResult message_next(Wire *wire, uint8_t *ret_kind, Reader *ret_content, Error *err);

/* Queues one CopyData message and sends what the socket takes; the rest goes with the next call. */
MUST_CHECK bool message_send_copy(Wire *wire, const void *content, size_t bytes, Error *err);
/* Queues CopyDone likewise: nothing more will be sent. */
MUST_CHECK bool message_send_done(Wire *wire, Error *err);

/* Fills *err from an ErrorResponse's fields; false. */
bool message_error(Reader content, Error *err);
