/* What the server says of transactions that the log names. */
#pragma once

#include "agent/capture/postgres/postgres.h"

/* Waits until the catalog shows these transactions: the log has them a moment before others see
 * that they are committed. */
MUST_CHECK bool transactions_seen(Postgres *postgres, const uint32_t *xids, size_t count,
                                  Error *err);
/* Pure: does the snapshot, as text, show the transaction? */
bool snapshot_sees(const char *snapshot, uint32_t xid);

/* A PgoutputUndone; context is the Postgres. */
MUST_CHECK bool transactions_undone(void *context, const uint32_t *subxids, size_t count,
                                    bool *ret_undone, Error *err);
