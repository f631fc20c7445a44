/* Unpacking: see unpack.h. */
#include "agent/capture/mysql/unpack.h"

#include <zlib.h>
#include <zstd.h>

#include "common/mem.h"

bool unpack_mariadb(const BinlogEvent *event, Reader *in, Bytes *to, Error *err)
{
    uint8_t head;
    const uint8_t *at;
    if (!reader_u8(in, &head) || (head & 0x80) == 0 || (head & 7) == 0 || (head & 7) > 4 ||
        !reader_take(in, head & 7, &at))
        return binlog_bad(event, "what it compresses has no length", err);
    if (head & 0x70)
        return error_set(err, ERROR_CONFIG, "UnsupportedEvent",
                         "a %s event is compressed by an algorithm (%d) that is not known",
                         binlog_type_name(event->type), (head & 0x70) >> 4);
    size_t bytes = be_uint(at, head & 7);
    if (bytes > BINLOG_EVENT_MAX || bytes / 1100 > reader_left(in)) /* zlib's best is 1032 to 1 */
        return binlog_bad(event, "it is impossibly large once unpacked", err);
    bytes_clear(to);
    bytes_reserve(to, bytes + 1);
    uLongf got = bytes;
    uLong packed = reader_left(in);
    if (uncompress2(to->data, &got, in->at, &packed) != Z_OK || got != bytes ||
        packed != reader_left(in))
        return binlog_bad(event, "it can't be unpacked", err);
    to->used = bytes;
    *in = reader_over(to->data, bytes);
    return true;
}

/* --- payloads --- */

struct Payload {
    const BinlogFormat *format;
    BinlogEvent whole;
    ZSTD_DStream *stream; /* NULL: as they are */
    ZSTD_inBuffer in;
    Bytes event;
    uint64_t unpacked_bytes, unpacked_max;
};

void payload_free(Payload *payload)
{
    if (!payload)
        return;
    ZSTD_freeDStream(payload->stream);
    bytes_done(&payload->event);
    free(payload);
}

enum { FIELD_END, FIELD_BYTES, FIELD_ALGORITHM, FIELD_UNPACKED_BYTES };
enum { ALGORITHM_ZSTD = 0, ALGORITHM_NONE = 255 };

/* The fields in front; *in is then at the events. */
static bool read_fields(const BinlogEvent *event, Reader *in, uint64_t *ret_algorithm,
                        uint64_t *ret_unpacked, Error *err)
{
    uint64_t kind, bytes = UINT64_MAX;
    *ret_algorithm = ALGORITHM_NONE;
    *ret_unpacked = UINT64_MAX;
    for (;;) {
        const uint8_t *at;
        size_t field_bytes;
        if (!reader_packed(in, &kind))
            return binlog_bad(event, "its fields have no end", err);
        if (kind == FIELD_END)
            break;
        if (!reader_packed_bytes(in, &at, &field_bytes))
            return binlog_bad(event, "a field is longer than it", err);
        Reader field = reader_over(at, field_bytes);
        uint64_t value;
        if (kind > FIELD_UNPACKED_BYTES)
            continue;
        if (!reader_packed(&field, &value))
            return binlog_bad(event, "a field is no number", err);
        *(kind == FIELD_BYTES       ? &bytes
          : kind == FIELD_ALGORITHM ? ret_algorithm
                                    : ret_unpacked) = value;
    }
    if (bytes != UINT64_MAX && bytes != reader_left(in))
        return binlog_bad(event, "what it holds has another length", err);
    return true;
}

Payload *payload_open(const BinlogEvent *event, const BinlogFormat *format, Error *err)
{
    Reader in = event->content;
    uint64_t algorithm, unpacked;
    if (!read_fields(event, &in, &algorithm, &unpacked, err))
        return NULL;
    if (algorithm != ALGORITHM_ZSTD && algorithm != ALGORITHM_NONE) {
        error_set(err, ERROR_CONFIG, "UnsupportedEvent",
                  "a transaction is compressed by an algorithm (%llu) that is not known",
                  (unsigned long long)algorithm);
        return NULL;
    }
    Payload *payload = mem_zalloc(sizeof *payload);
    payload->format = format;
    payload->whole = *event;
    payload->in = (ZSTD_inBuffer){.src = in.at, .size = reader_left(&in)};
    payload->unpacked_max = unpacked;
    if (algorithm == ALGORITHM_ZSTD) {
        payload->stream = ZSTD_createDStream();
        ASSERT(payload->stream);
    }
    return payload;
}

/* Appends so many bytes to the event. *ret_got: there were fewer. */
static bool fill(Payload *payload, size_t bytes, size_t *ret_got, Error *err)
{
    *ret_got = 0;
    bytes_reserve(&payload->event, bytes);
    uint8_t *to = payload->event.data + payload->event.used;
    if (!payload->stream) {
        size_t left = payload->in.size - payload->in.pos;
        *ret_got = bytes < left ? bytes : left;
        if (*ret_got)
            memcpy(to, (const uint8_t *)payload->in.src + payload->in.pos, *ret_got);
        payload->in.pos += *ret_got;
    } else {
        ZSTD_outBuffer out = {.dst = to, .size = bytes};
        for (;;) {
            size_t in_before = payload->in.pos, out_before = out.pos;
            if (out.pos == out.size)
                break;
            size_t result = ZSTD_decompressStream(payload->stream, &out, &payload->in);
            if (ZSTD_isError(result))
                return binlog_bad(&payload->whole, "it can't be unpacked", err);
            if (payload->in.pos == in_before && out.pos == out_before)
                break;
        }
        *ret_got = out.pos;
    }
    payload->event.used += *ret_got;
    payload->unpacked_bytes += *ret_got;
    if (payload->unpacked_bytes > payload->unpacked_max)
        return binlog_bad(&payload->whole, "it is longer than it says", err);
    return true;
}

bool payload_next(Payload *payload, BinlogEvent *ret, bool *ret_end, Error *err)
{
    size_t got;
    *ret_end = false;
    bytes_clear(&payload->event);
    if (!fill(payload, BINLOG_HEADER_BYTES, &got, err))
        return false;
    if (got == 0) {
        *ret_end = true;
        if (payload->unpacked_max != UINT64_MAX && payload->unpacked_bytes != payload->unpacked_max)
            return binlog_bad(&payload->whole, "it is shorter than it says", err);
        return true;
    }
    if (got < BINLOG_HEADER_BYTES)
        return binlog_bad(&payload->whole, "it ends within an event", err);
    size_t bytes = le_uint(payload->event.data + 9, 4);
    if (bytes < BINLOG_HEADER_BYTES || bytes > BINLOG_EVENT_MAX)
        return binlog_bad(&payload->whole, "it holds an event of an impossible length", err);
    /* Step by step: a length that lies takes no memory that was not sent. */
    for (size_t left = bytes - BINLOG_HEADER_BYTES; left;) {
        size_t piece = left < 65536                 ? left
                       : left < payload->event.used ? left
                                                    : payload->event.used;
        if (piece < 65536 && left >= 65536)
            piece = 65536;
        if (!fill(payload, piece, &got, err))
            return false;
        if (got < piece)
            return binlog_bad(&payload->whole, "it ends within an event", err);
        left -= piece;
    }
    return binlog_event_inside(payload->format, payload->event.data, bytes, ret, err);
}
