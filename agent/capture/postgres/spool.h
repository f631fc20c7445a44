/* The changes of one transaction that the server streams before its end: kept in order, replayed at
 * Stream Commit. The first bytes stay in memory, the rest goes to a file that has no name. Undone
 * subtransactions cut it back to where their first change began: nothing later in the spool can
 * belong to anything but them and their children. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

#define SPOOL_MEMORY_BYTES ((size_t)256 << 10)

typedef struct Spool Spool;

void spool_free(Spool *spool);
Spool *spool_new(uint32_t xid) OWNED_BY(spool_free);
uint32_t spool_xid(const Spool *spool);
/* One message, as it came. subxid: the transaction or subtransaction that it belongs to; lsn: where
 * it stands in the log. FATAL when the disk is full. */
MUST_CHECK bool spool_put(Spool *spool, uint32_t subxid, uint64_t lsn, const void *message,
                          size_t bytes, Error *err);
/* Takes back the subtransaction and all that came after it. One that never wrote is fine. */
MUST_CHECK bool spool_abort(Spool *spool, uint32_t subxid, Error *err);
/* The subtransactions that wrote and were not undone. */
uint32_t *spool_subxids(const Spool *spool, size_t *ret_count) OWNED_BY(free);
/* The messages from the first on; *ret NULL at the end. *ret lasts until the next call of this or
 * of spool_rest. */
MUST_CHECK bool spool_next(Spool *spool, const uint8_t **ret, size_t *ret_bytes, uint64_t *ret_lsn,
                           Error *err);
/* Gives back the memory that a large message took. */
void spool_rest(Spool *spool);
uint64_t spool_bytes(const Spool *spool);

DEFINE_AUTO(Spool, spool_free);
