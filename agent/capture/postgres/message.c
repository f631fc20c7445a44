#include "agent/capture/postgres/message.h"

#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "common/clock.h"

void message_init(Wire *wire, PGconn *connection, int wake_fd)
{
    wire_init(wire, PQsocket(connection), PQgetssl(connection), wake_fd, WIRE_READ_BYTES,
              MESSAGE_MAX);
}

WireResult message_next(Wire *wire, uint8_t *ret_kind, Reader *ret_content, Error *err)
{
    size_t left = wire->end - wire->begin;
    if (left < 5)
        return WIRE_EMPTY;
    const uint8_t *at = wire->data + wire->begin;
    uint32_t length;
    memcpy(&length, at + 1, sizeof length);
    length = __builtin_bswap32(length);
    if (UNLIKELY(length < 4 || length > wire->message_max)) {
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

static void queue_message(Wire *wire, char kind, const void *content, size_t bytes)
{
    bytes_put_u8(&wire->out, (uint8_t)kind);
    bytes_put_u32be(&wire->out, (uint32_t)(bytes + 4));
    bytes_put(&wire->out, content, bytes);
}

bool message_send_copy(Wire *wire, const void *content, size_t bytes, Error *err)
{
    queue_message(wire, 'd', content, bytes);
    return wire_flush(wire, err);
}

bool message_send_done(Wire *wire, Error *err)
{
    queue_message(wire, 'c', "", 0);
    return wire_flush(wire, err);
}

bool message_command(Wire *wire, const char *command, char wanted, int timeout_ms, Error *err)
{
    int64_t asked_us = clock_mono_us();
    queue_message(wire, 'Q', command, strlen(command) + 1);
    if (!wire_flush(wire, err))
        return false;
    for (;;) {
        uint8_t kind;
        Reader content;
        WireResult result = message_next(wire, &kind, &content, err);
        if (result == WIRE_FAILED)
            return false;
        if (result == WIRE_EMPTY) {
            if (!wire_more(wire, asked_us, timeout_ms, err))
                return error_wrap(err, "asked '%.60s'", command);
            continue;
        }
        if (kind == (uint8_t)wanted)
            return true;
        if (kind == 'E')
            return message_error(content, err);
        if (kind != 'N' && kind != 'S')
            return error_set(err, ERROR_RETRY, "BadMessage",
                             "the server answered '%.60s' with a message of kind 0x%02x", command,
                             kind);
    }
}

bool message_error(Reader content, Error *err)
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
