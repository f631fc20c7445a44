/* Transactions of XA. In the log their rows stand where they are prepared; the statement that
 * commits them, or rolls them back, comes later and has their name alone. What is prepared is
 * passed over, and read again when it is committed (replay.h): so rows come where they come to be
 * there, and nothing is kept of them meanwhile but where they stand.
 *
 *   xa prepare 38   uint8 1: committed with it, in one phase; uint32 format, uint32 bytes, uint32
 *                   bytes, the two parts of the name
 *   query 2         XA COMMIT X'616263',X'',1
 *
 * https://dev.mysql.com/doc/dev/mysql-server/latest/classXA__prepare__log__event.html */
#pragma once

#include "agent/capture/mysql/binlog.h"

#define XID_TEXT_BYTES 320 /* X'64 bytes',X'64 bytes',number */

/* The name as statements have it. DATA "BadEvent". */
MUST_CHECK bool xid_of_event(const BinlogEvent *event, char ret[XID_TEXT_BYTES],
                             bool *ret_one_phase, Error *err);
/* Of XA COMMIT and XA ROLLBACK. False: there is none. */
MUST_CHECK bool xid_of_query(const char *text, size_t bytes, char ret[XID_TEXT_BYTES]);

/* Those that were seen to be prepared, and nothing else of. */
typedef struct Prepared {
    char *xid;
    uint64_t place; /* where it begins; 0: it has no row of ours */
} Prepared;
typedef struct PreparedList {
    Prepared *items;
    size_t count, held;
} PreparedList;

void prepared_done(PreparedList *list);
/* CONFIG "UnsupportedEvent" when there are too many. */
MUST_CHECK bool prepared_put(PreparedList *list, const char *xid, uint64_t place, Error *err);
/* False: it was prepared before anybody looked. */
bool prepared_take(PreparedList *list, const char *xid, uint64_t *ret_place);
