/* The log's messages, as PostgreSQL's pgoutput plugin writes them, into changes. Pure: no socket;
 * bytes in, changes out, so that it can be tested and fuzzed with scripts.
 *
 * Loop: while pgoutput_take gives a change, hand it on; else if pgoutput_replaying,
 * pgoutput_replay; else pgoutput_message with the next one. Rows gather in one batch per table; a
 * full batch becomes a change at once, the others with pgoutput_checkpoint. */
#pragma once

#include "agent/capture/capture.h"
#include "agent/capture/postgres/postgres.h"

typedef struct Pgoutput Pgoutput;

/* The values of an update that the log left out: fields[i] of the row whose key stands in
 * values[key fields]. On success either *ret_found and every values[fields[i]] is 'b' or 'n', the
 * bytes lasting until the next call; or not *ret_found: the row is gone. */
typedef bool (*PgoutputFetch)(void *context, const PgTable *table, PgValue *values,
                              const uint32_t *fields, size_t count, bool *ret_found, Error *err);

/* The log has described the table anew, and a change of it follows: makes its columns those of the
 * message. *ret_changed: they were others. */
struct Relation;
typedef bool (*PgoutputLearn)(void *context, PgTable *table, const struct Relation *relation,
                              bool *ret_changed, Error *err);

/* A value of the table's has a composite with other attributes than are known: makes it known so,
 * or fails. */
struct CompositeSeen;
typedef bool (*PgoutputRetype)(void *context, PgTable *table, const struct CompositeSeen *seen,
                               Error *err);
/* Is what these transactions wrote to tables with composites (PgTable.touched) as it was taken for?
 * Where only names
 * are others, the table has them now (PgTable.reshaped). */
typedef bool (*PgoutputSettle)(void *context, const uint32_t *xids, size_t count, Error *err);

/* Was one of these subtransactions rolled back? They are what is left of a streamed transaction
 * that has committed. The server owes a Stream Abort for each that was, and leaves some out: of one
 * whose changes it had spilled to its disk before it began to stream, more than 4,096 of them, as
 * it must after a start in the transaction's midst or while a TOAST value is incomplete
 * (ReorderBufferTruncateTXN marks as streamed what has changes in memory, 14 to 18). */
typedef bool (*PgoutputUndone)(void *context, const uint32_t *subxids, size_t count,
                               bool *ret_undone, Error *err);

typedef struct PgoutputOptions {
    PgTable *tables;
    size_t table_count;
    PgoutputFetch fetch;
    void *fetch_context;
    PgoutputLearn learn; /* NULL: what doesn't fit is refused */
    PgoutputRetype retype;
    PgoutputSettle settle;
    PgoutputUndone undone; /* NULL: the server is believed */
    void *learn_context;
    bool origins;               /* batches have them; messages of the log become changes */
    bool commits, messages;     /* CaptureOptions' */
    uint64_t transaction_bytes; /* payload after which a checkpoint inside a transaction is made */
} PgoutputOptions;

void pgoutput_free(Pgoutput *out);
Pgoutput *pgoutput_new(const PgoutputOptions *options) OWNED_BY(pgoutput_free);

/* One message: what stands behind XLogData's header, which says where in the log. Not while
 * replaying. */
MUST_CHECK bool pgoutput_message(Pgoutput *out, uint64_t lsn, const uint8_t *message, size_t bytes,
                                 Error *err);
/* The server has decoded its log up to `end` and sent all of it. */
void pgoutput_keepalive(Pgoutput *out, uint64_t end);
/* A transaction that was streamed before its end is being handed out, message by message. */
bool pgoutput_replaying(const Pgoutput *out);
MUST_CHECK bool pgoutput_replay(Pgoutput *out, Error *err);

/* A streamed transaction has ended that can't be taken as it came (PgoutputUndone). */
bool pgoutput_refused(const Pgoutput *out);
/* Forgets what was streamed and not yet handed out. Returns from where the log is to be asked for
 * again, so that all of it comes, and nothing that was handed out; 0: from where it was before. Not
 * in a transaction. */
uint64_t pgoutput_forget_streamed(Pgoutput *out);

/* The next change that is ready; its Position's source is left empty. */
bool pgoutput_take(Pgoutput *out, Change *ret);
/* Something was read since the last checkpoint, and no transaction is open: a checkpoint says so.
 */
bool pgoutput_can_checkpoint(const Pgoutput *out);
/* To be asked before each checkpoint. */
MUST_CHECK bool pgoutput_settle(Pgoutput *out, Error *err);
/* The batches and then the checkpoint become ready. */
void pgoutput_checkpoint(Pgoutput *out);
bool pgoutput_in_transaction(const Pgoutput *out);

RowPosition pgoutput_position(const Pgoutput *out); /* of what was decoded last */
uint64_t pgoutput_changes(const Pgoutput *out);

DEFINE_AUTO(Pgoutput, pgoutput_free);
