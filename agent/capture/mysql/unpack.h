/* What servers compress: MySQL a whole transaction, MariaDB single events. Bounded: one event is
 * unpacked at a time, so a transaction of any size needs the memory of its largest event.
 *
 *   MariaDB   uint8 0x80 | algorithm << 4 (0: zlib) | n, n bytes big-endian of the length once
 *             unpacked, zlib's stream */
#pragma once

#include "agent/capture/mysql/binlog.h"
#include "common/bytes.h"

/* What is left of `in` is unpacked; `in` then reads from `to`. DATA "BadEvent". */
MUST_CHECK bool unpack_mariadb(const BinlogEvent *event, Reader *in, Bytes *to, Error *err);

typedef struct Payload Payload;
void payload_free(Payload *payload); /* NULL is fine */
/* The events of an EVENT_PAYLOAD, one after another; its bytes outlive it. DATA "BadEvent", and
 * for an algorithm that isn't known CONFIG "UnsupportedEvent". */
Payload *payload_open(const BinlogEvent *event, const BinlogFormat *format, Error *err)
    OWNED_BY(payload_free);
/* *ret lasts until the next call. *ret_end: there are no more. */
MUST_CHECK bool payload_next(Payload *payload, BinlogEvent *ret, bool *ret_end, Error *err);

DEFINE_AUTO(Payload, payload_free);
