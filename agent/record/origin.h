/* What the source says of rows beyond their values and positions, for receivers that pass it on
 * (agent/topic). A batch has it only where the capture was asked to keep it. */
#pragma once

#include "agent/record/batch.h"

/* A transaction of the source, or the snapshot that rows were copied in. */
typedef struct TransactionOrigin {
    /* PostgreSQL: xid; of a copy the snapshot's. MySQL, MariaDB: its GTID's number. 0: not known */
    uint64_t id;
    uint64_t last_commit_lsn; /* end of the latest transaction handed out before it; 0: none yet */
    int64_t commit_us;        /* since 1970; of a copy: when its snapshot was taken */
    /* PostgreSQL: where it was replicated from; NULL: nowhere (no capture says it). MySQL, MariaDB:
     * its GTID up to the number ("<uuid>:", "0-1-"); NULL: it has none. Texts live as long as the
     * capture. */
    const char *origin;
    uint64_t origin_lsn;
    /* MySQL, MariaDB alone: */
    const char *file; /* of the binlog, in which all of it stands */
    uint32_t server;  /* which wrote it first; of a copy 0 */
    uint32_t thread;  /* of that server; 0: not said */
} TransactionOrigin;

#define ORIGIN_NO_BEFORE UINT32_MAX
/* A place of MySQL's or MariaDB's log: the file's number stands above so many bits of the offset.
 */
#define PLACE_OFFSET_BITS 40 /* a file of 1 TiB */

typedef struct RowOrigin {
    uint64_t lsn;         /* of the change in the log; of a copy the snapshot's. MySQL, MariaDB: the
                           * place (file and offset) of the event that it stands in */
    uint64_t total_order; /* in its transaction, from 1: among all tables captured */
    uint64_t table_order; /* and of this one; both 0 in a copy */
    uint32_t transaction; /* index in Origins.transactions */
    uint32_t before;      /* row of Origins.before: the whole row as it was, where the log has it
                           * (REPLICA      IDENTITY FULL); else ORIGIN_NO_BEFORE. A ROW_DELETE's own
                           * columns      are that      already */
    uint32_t row;         /* MySQL, MariaDB: which one of its event, from 0 */
} RowOrigin;

typedef struct Origins {
    RowOrigin *rows; /* as many as the batch has room for */
    TransactionOrigin *transactions;
    uint32_t transaction_count, transactions_held;
    Batch *before; /* the same schema; NULL: none. Goes with the batch */
} Origins;

/* From now on each row put has an origin: all zero until it is set; values are as sent. The batch
 * is empty. */
void origins_keep(Batch *batch);
/* The transaction's index, appended when it is not the latest one. */
uint32_t origins_transaction(Batch *batch, const TransactionOrigin *transaction);
/* For old rows; made when there is none. */
Batch *origins_before(Batch *batch);

/* What somebody wrote into the log as it is (PostgreSQL: pg_logical_emit_message). */
typedef struct LogMessage {
    char *prefix;
    uint8_t *content;
    size_t bytes;
    bool transactional; /* else it stands in no transaction, and was written even if one failed */
} LogMessage;
void log_message_free(LogMessage *message);
