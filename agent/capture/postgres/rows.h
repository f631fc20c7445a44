/* Rows of the log on their way into batches: one batch being filled per table, and the queue of
 * changes that are ready. pgoutput.c reads the messages and says what happens; here are tuples,
 * values that an update left out, and when a batch is handed on. Pure, as pgoutput.h. */
#pragma once

#include "agent/capture/builders/builders.h"
#include "agent/capture/postgres/pgoutput.h"
#include "agent/capture/postgres/relation.h"

typedef struct LogRows {
    const PgTable *tables;
    PgoutputFetch fetch;
    void *fetch_context;
    Builders builders;

    PgValue *new_values, *old_values; /* of the change being read */
    uint32_t *missing;                /* fields of a row to be fetched */
    size_t widest;
    TransactionOrigin transaction; /* this, and where it stands: of the change being read */
    uint64_t lsn;
    uint64_t message_order; /* messages in the transaction */
    bool has_null; /* the latest row was not put: this field of it is null and must not be */
    size_t null_field;
    bool has_other; /* it was not put: a composite in this field has other attributes */
    size_t other_field;
    PgValue other_value;
} LogRows;

void rows_init(LogRows *rows, const PgoutputOptions *options);
void rows_done(LogRows *rows);

/* The table has other columns now. */
void rows_widen(LogRows *rows, uint32_t table);
/* Was the latest row not put because of a null? */
bool rows_null_where_required(const LogRows *rows, uint32_t table, size_t *ret_field);

/* Values go to their fields' places. *ret_unchanged: some are 'u'. */
MUST_CHECK bool rows_read_tuple(const Relation *relation, Reader *in, PgValue *values,
                                bool *ret_unchanged, Error *err);
/* Fills the new values that the update left out: from the old ones when old_kind is 'K' or 'O' (0:
 * there are none), else from the source; but not those that the receiver fills (PgTable.fills). */
MUST_CHECK bool rows_complete(LogRows *rows, const PgTable *table, char old_kind, bool *ret_found,
                              Error *err);
/* Has the old row all that the row is known by? CONFIG "ReplicaIdentityPartition" when not: a
 * partition's replica identity is another than the published root's. */
MUST_CHECK bool rows_has_key(const PgTable *table, const PgValue *old, Error *err);
/* Of an update that has no old row, which it has where the replica identity is FULL, or the key
 * changed: is that enough? Likewise. */
MUST_CHECK bool rows_need_no_old(const PgTable *table, const Relation *relation, Error *err);
/* Only the key of `values` stays, for a ROW_MOVE or a delete made of an update. */
MUST_CHECK bool rows_keep_key(const PgTable *table, PgValue *values, Error *err);
/* before: the whole row as it was, for the origin; NULL: not kept, or the log does not have it. */
MUST_CHECK bool rows_put(LogRows *rows, uint32_t table, RowOp op, RowPosition at,
                         const PgValue *values, const PgValue *before, Error *err);
/* Old values to new values. */
MUST_CHECK bool rows_put_move(LogRows *rows, uint32_t table, RowPosition at, const PgValue *before,
                              Error *err);
/* The changes that follow are this transaction's; its orders begin at 1. */
void rows_transaction(LogRows *rows, const TransactionOrigin *transaction);
static inline bool pgoutput_bad(Error *err, const char *what)
{
    return error_set(err, ERROR_RETRY, "BadMessage", "pgoutput: %s", what);
}
