/* pgoutput's messages. All numbers big-endian; [xid] is there only in a streamed transaction.
 *
 *   B Begin          Int64 commit LSN, Int64 commit time, Int32 xid
 *   C Commit         Int8 flags, Int64 commit LSN, Int64 end LSN, Int64 commit time
 *   O Origin         Int64 LSN, String name
 *   R Relation       [xid], see relation.c          Y Type   [xid] …
 *   I Insert         [xid] Int32 relation, 'N', tuple
 *   U Update         [xid] Int32 relation, ('K' old key | 'O' old row, tuple)?, 'N', tuple
 *   D Delete         [xid] Int32 relation, 'K' | 'O', tuple
 *   T Truncate       [xid] Int32 relations, Int8 options, Int32 relation …
 *   M Message        [xid] Int8 1: transactional, Int64 LSN, String prefix, Int32 length, content
 *   S Stream Start   Int32 xid, Int8 first segment  E Stream Stop
 *   c Stream Commit  Int32 xid, then as Commit      A Stream Abort  Int32 xid, Int32 subxid
 *   tuple            Int16 columns, per column: 'n' null | 'u' unchanged TOAST value |
 *                    't' Int32 length, text | 'b' Int32 length, binary value
 *
 * A transaction between Begin and Commit is committed already, so its rows are handed out as they
 * come. One streamed before its end is spooled and replayed at Stream Commit. Ordinals count the
 * I, U, D and T messages of a transaction, those of other tables too: both ways give the same.
 *
 * An update that leaves an unchanged TOAST value out: the old row has it (REPLICA IDENTITY FULL),
 * or it is marked as unchanged, and the lake's table has it (PgTable.fills), or, where that has not
 * every row, it is fetched from the source by key. That gives the value of now: when it was changed
 * since, its own update follows and says the same. When the row is gone by now, its delete or its
 * move to another key follows, so this update is handed out as a delete: the row is absent a little
 * early, but never there with a value that it did not have.
 *
 * https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html */
#include "agent/capture/postgres/pgoutput.h"

#include "agent/capture/postgres/composites.h"
#include "agent/capture/postgres/learn.h"
#include "agent/capture/postgres/rows.h"
#include "agent/capture/postgres/spool.h"
#include "agent/capture/postgres/watch.h"
#include "common/crash.h"
#include "common/mem.h"

#define US_1970_TO_2000 INT64_C(946684800000000)
#define SPOOLS_MAX 10000

struct Pgoutput {
    PgoutputOptions options;
    Relations relations;
    LogRows rows;

    bool in_transaction;
    RowPosition at;         /* in a transaction: (commit LSN, ordinal) */
    uint64_t end;           /* everything before it was handed to the builders */
    RowPosition checkpoint; /* the latest one */
    int64_t commit_us;
    uint64_t last_commit; /* end of the latest transaction */
    uint64_t message_lsn; /* of the latest message that belongs to none */
    uint64_t changes;
    uint32_t xid; /* in a transaction: its number */
    /* Transactions that wrote to tables with composites since it was settled that these are as
     * known. */
    uint32_t *touched;
    size_t touched_count, touched_held;
    PgValue *whole; /* an old row whose values do not all stay; for origins */
    size_t whole_held;

    Spool **spools;
    size_t spool_count, spools_held;
    Spool *filling;   /* between Stream Start and Stop */
    Spool *replaying; /* after Stream Commit */
    uint64_t replay_end;
    bool refused; /* a streamed transaction that is not as it should be */
};

Pgoutput *pgoutput_new(const PgoutputOptions *options)
{
    Pgoutput *out = mem_zalloc(sizeof *out);
    out->options = *options;
    relations_init(&out->relations, options->tables, options->table_count);
    rows_init(&out->rows, options);
    return out;
}

void pgoutput_free(Pgoutput *out)
{
    if (!out)
        return;
    rows_done(&out->rows);
    for (size_t i = 0; i < out->spool_count; i++)
        spool_free(out->spools[i]);
    spool_free(out->replaying);
    relations_done(&out->relations);
    free(out->spools);
    free(out->touched);
    free(out->whole);
    free(out);
}

static bool bad(Error *err, const char *what)
{
    return pgoutput_bad(err, what);
}

bool pgoutput_take(Pgoutput *out, Change *ret)
{
    return builders_take(&out->rows.builders, ret);
}

bool pgoutput_in_transaction(const Pgoutput *out)
{
    return out->in_transaction;
}

bool pgoutput_can_checkpoint(const Pgoutput *out)
{
    return !out->in_transaction && out->end > out->checkpoint.major;
}

static void checkpoint_at(Pgoutput *out, RowPosition at)
{
    builders_checkpoint(&out->rows.builders, at, out->commit_us);
    out->checkpoint = at;
}

void pgoutput_checkpoint(Pgoutput *out)
{
    ASSERT(!out->in_transaction);
    checkpoint_at(out, (RowPosition){.major = out->end});
}

/* --- changes --- */

static void schema_changed(Pgoutput *out, uint32_t table)
{
    builders_schema(&out->rows.builders, table, out->options.tables[table].source, out->at);
}

/* The table as the log describes it from here on. */
static bool fit(Pgoutput *out, Relation *relation, Error *err)
{
    uint32_t number = (uint32_t)relation->table;
    bool changed = false;
    builders_flush(&out->rows.builders, number);
    out->options.tables[number].xid = out->xid;
    if (out->options.learn &&
        !out->options.learn(out->options.learn_context, &out->options.tables[number], relation,
                            &changed, err))
        return false;
    if (changed) {
        CRASH_POINT("schema-learned");
        rows_widen(&out->rows, number);
        relations_unfit(&out->relations, number);
        schema_changed(out, number);
    }
    relation_fit(&out->relations, relation, !out->options.learn);
    return true;
}

/* The relation of a change, its ordinal taken. *ret NULL: not one of our tables. */
static bool begin_change(Pgoutput *out, Reader *in, Relation **ret, Error *err)
{
    uint32_t oid;
    *ret = NULL;
    if (UNLIKELY(!reader_u32be(in, &oid)))
        return bad(err, "a change is cut short");
    Relation *relation = relations_find(&out->relations, oid, err);
    if (UNLIKELY(!relation))
        return false;
    out->at.minor++;
    if (relation->table < 0 ||
        row_position_compare(out->at, out->options.tables[relation->table].passed) <= 0)
        return true;
    out->changes++;
    if (UNLIKELY(!relation->fitted) && !fit(out, relation, err))
        return false;
    if (UNLIKELY(!relation->fits)) {
        if (err)
            *err = relation->problem;
        return false;
    }
    *ret = relation;
    return true;
}

/* A null where none could be: DROP NOT NULL is not announced in the log, this is the first sign. */
static bool relax(Pgoutput *out, uint32_t table, Error *err)
{
    size_t field;
    if (!rows_null_where_required(&out->rows, table, &field))
        return false;
    if (atomic_load(&out->options.tables[table].copying))
        return table_changed(&out->options.tables[table], err);
    builders_flush(&out->rows.builders, table);
    table_relax(&out->options.tables[table], field);
    schema_changed(out, table);
    return true;
}

/* A composite with other attributes: ALTER TYPE is not announced in the log. */
static bool retype(Pgoutput *out, uint32_t number, Error *err)
{
    PgTable *table = &out->options.tables[number];
    const LogRows *rows = &out->rows;
    CompositeSeen seen = {0};
    if (!rows->has_other || !out->options.retype ||
        !composite_find_other(&table->decoders[rows->other_field], rows->other_value.at,
                              rows->other_value.bytes, &seen))
        return false;
    builders_flush(&out->rows.builders, number);
    table->xid = out->xid;
    bool ok = atomic_load(&table->copying)
                  ? table_changed(table, err)
                  : out->options.retype(out->options.learn_context, table, &seen, err);
    composite_seen_done(&seen);
    if (ok)
        schema_changed(out, number);
    return ok;
}

static void touch(Pgoutput *out, PgTable *table)
{
    table->touched = true;
    if (out->touched_count && out->touched[out->touched_count - 1] == out->xid)
        return;
    if (out->touched_count == out->touched_held) {
        out->touched_held = out->touched_held ? out->touched_held * 2 : 64;
        out->touched = mem_regrow(out->touched, out->touched_held, sizeof *out->touched);
    }
    out->touched[out->touched_count++] = out->xid;
}

bool pgoutput_settle(Pgoutput *out, Error *err)
{
    if (LIKELY(!out->touched_count) || !out->options.settle)
        return true;
    if (!out->options.settle(out->options.learn_context, out->touched, out->touched_count, err))
        return false;
    for (uint32_t i = 0; i < out->options.table_count; i++) {
        PgTable *table = &out->options.tables[i];
        table->touched = false;
        if (!table->reshaped)
            continue;
        table->reshaped = false;
        builders_flush(&out->rows.builders, i);
        schema_changed(out, i);
    }
    out->touched_count = 0;
    return true;
}

/* A transaction larger than the limit may span checkpoints. */
static bool put_change(Pgoutput *out, uint32_t table, RowOp op, const PgValue *values,
                       const PgValue *before, Error *err)
{
    bool put;
    do
        put = op == ROW_MOVE ? rows_put_move(&out->rows, table, out->at, before, err)
                             : rows_put(&out->rows, table, op, out->at, values, before, err);
    while (UNLIKELY(!put) && (relax(out, table, err) || retype(out, table, err)));
    if (UNLIKELY(out->options.tables[table].emptied) && put)
        out->options.tables[table].emptied = false;
    if (UNLIKELY(out->options.tables[table].composites.count) && put)
        touch(out, &out->options.tables[table]);
    if (UNLIKELY(out->rows.builders.checkpoint_bytes > out->options.transaction_bytes) && put) {
        if (!pgoutput_settle(out, err))
            return false;
        checkpoint_at(out, out->at);
    }
    return put;
}

/* Is the new row known by something else than the old one? Values that were left out are the old
 * ones. */
static bool key_differs(const PgTable *table, const PgValue *old_values, const PgValue *new_values)
{
    size_t fields = table->source->schema->field_count;
    for (size_t i = 0; i < fields; i++) {
        const PgValue *a = &old_values[i], *b = &new_values[i];
        if (table_is_identity(table, i) && b->kind != 'u' &&
            (a->kind != b->kind || a->bytes != b->bytes ||
             (a->bytes && memcmp(a->at, b->at, a->bytes) != 0)))
            return true;
    }
    return false;
}

static bool ends(const Reader *in, Error *err)
{
    return LIKELY(!reader_left(in)) ? true : bad(err, "a change has bytes left over");
}

static bool on_insert(Pgoutput *out, Reader *in, Error *err)
{
    Relation *relation;
    uint8_t kind;
    bool unchanged;
    if (!begin_change(out, in, &relation, err))
        return false;
    if (!relation)
        return true;
    if (UNLIKELY(!reader_u8(in, &kind) || kind != 'N'))
        return bad(err, "an insert has no new row");
    if (!rows_read_tuple(relation, in, out->rows.new_values, &unchanged, err) || !ends(in, err))
        return false;
    if (UNLIKELY(unchanged))
        return bad(err, "an insert leaves a value out");
    return put_change(out, (uint32_t)relation->table, ROW_INSERT, out->rows.new_values, NULL, err);
}

/* The old values, for the origin of a change that keeps only the key of them. */
static const PgValue *keep_whole(Pgoutput *out, const PgTable *table)
{
    size_t fields = table->source->schema->field_count;
    if (fields > out->whole_held) {
        out->whole = mem_regrow(out->whole, fields, sizeof *out->whole);
        out->whole_held = fields;
    }
    memcpy(out->whole, out->rows.old_values, fields * sizeof *out->whole);
    return out->whole;
}

static bool on_update(Pgoutput *out, Reader *in, Error *err)
{
    Relation *relation;
    uint8_t kind, old_kind = 0;
    bool unchanged, old_unchanged;
    if (!begin_change(out, in, &relation, err))
        return false;
    if (!relation)
        return true;
    if (UNLIKELY(!reader_u8(in, &kind)))
        return bad(err, "an update is cut short");
    if (kind == 'K' || kind == 'O') {
        old_kind = kind;
        if (!rows_read_tuple(relation, in, out->rows.old_values, &old_unchanged, err))
            return false;
        if (UNLIKELY(!reader_u8(in, &kind)))
            return bad(err, "an update is cut short");
    }
    if (UNLIKELY(kind != 'N'))
        return bad(err, "an update has no new row");
    if (!rows_read_tuple(relation, in, out->rows.new_values, &unchanged, err) || !ends(in, err))
        return false;
    uint32_t number = (uint32_t)relation->table;
    const PgTable *table = &out->options.tables[number];
    if (UNLIKELY(!old_kind && relation->identity == 'f') && !rows_need_no_old(table, relation, err))
        return false;
    bool moved = old_kind && key_differs(table, out->rows.old_values, out->rows.new_values);
    bool found = true;
    if (unchanged && !rows_complete(&out->rows, table, (char)old_kind, &found, err))
        return false;
    const PgValue *before = old_kind == 'O' && out->options.origins ? out->rows.old_values : NULL;
    if (LIKELY(!moved && found))
        return put_change(out, number, ROW_UPDATE, out->rows.new_values, before, err);
    PgValue *gone = moved ? out->rows.old_values : out->rows.new_values;
    if (before)
        before = keep_whole(out, table);
    if (!rows_keep_key(table, gone, err))
        return false;
    return put_change(out, number, found ? ROW_MOVE : ROW_DELETE, gone, before, err);
}

static bool on_delete(Pgoutput *out, Reader *in, Error *err)
{
    Relation *relation;
    uint8_t kind;
    bool unchanged;
    if (!begin_change(out, in, &relation, err))
        return false;
    if (!relation)
        return true;
    if (UNLIKELY(!reader_u8(in, &kind) || (kind != 'K' && kind != 'O')))
        return bad(err, "a delete has no old row");
    if (!rows_read_tuple(relation, in, out->rows.old_values, &unchanged, err) || !ends(in, err))
        return false;
    if (!rows_has_key(&out->options.tables[relation->table], out->rows.old_values, err))
        return false;
    return put_change(out, (uint32_t)relation->table, ROW_DELETE, out->rows.old_values, NULL, err);
}

static bool on_truncate(Pgoutput *out, Reader *in, Error *err)
{
    uint32_t count, oid;
    uint8_t options;
    if (!reader_u32be(in, &count) || !reader_u8(in, &options) || count != reader_left(in) / 4 ||
        reader_left(in) % 4)
        return bad(err, "a truncate is cut short");
    out->at.minor++;
    while (reader_u32be(in, &oid)) {
        Relation *relation = relations_find(&out->relations, oid, err);
        if (!relation)
            return false;
        if (relation->table < 0 ||
            row_position_compare(out->at, out->options.tables[relation->table].passed) <= 0)
            continue;
        out->changes++;
        out->options.tables[relation->table].emptied = true;
        if (!relation->fitted && !fit(out, relation, err))
            return false;
        if (!relation->fits) {
            if (err)
                *err = relation->problem;
            return false;
        }
        builders_flush(&out->rows.builders, (uint32_t)relation->table);
        Change *change = builders_push(&out->rows.builders, CHANGE_TRUNCATE);
        change->table = (uint32_t)relation->table;
        change->row = out->at;
        change->lsn = out->rows.lsn;
        change->total_order =
            builders_count(&out->rows.builders, change->table, &change->table_order);
        change->transaction = out->rows.transaction;
    }
    return true;
}

/* Not heartbeats of ours: those are nobody's business. */
static bool on_message(Pgoutput *out, Reader *in, Error *err)
{
    uint8_t transactional;
    uint64_t lsn;
    const char *prefix;
    uint32_t length;
    const uint8_t *content;
    if (!out->options.origins)
        return true;
    if (!reader_u8(in, &transactional) || !reader_u64be(in, &lsn) || !reader_cstring(in, &prefix) ||
        !reader_u32be(in, &length) || !reader_take(in, length, &content) || reader_left(in))
        return bad(err, "a message is cut short");
    if (strcmp(prefix, HEARTBEAT_PREFIX) == 0)
        return true;
    if (!transactional) { /* as soon as it is decoded: again, when the log is asked for again */
        if (lsn <= out->message_lsn)
            return true;
        out->message_lsn = lsn;
    }
    builders_flush_all(&out->rows.builders);
    Change *change = builders_push(&out->rows.builders, CHANGE_MESSAGE);
    change->row = out->in_transaction ? out->at : (RowPosition){.major = lsn};
    change->lsn = lsn;
    if (transactional)
        change->transaction = out->rows.transaction;
    else /* as Debezium has it: a commit of its own */
        change->transaction.last_commit_lsn = out->last_commit = lsn;
    if (transactional && out->options.messages) {
        change->total_order = ++out->rows.builders.order;
        change->table_order = ++out->rows.message_order;
    }
    change->message = mem_zalloc(sizeof *change->message);
    *change->message = (LogMessage){.prefix = mem_strdup(prefix),
                                    .content = mem_alloc(length + 1),
                                    .bytes = length,
                                    .transactional = transactional & 1};
    memcpy(change->message->content, content, length);
    return true;
}

static bool on_change(Pgoutput *out, uint8_t kind, Reader *in, Error *err)
{
    if (UNLIKELY(!out->in_transaction))
        return bad(err, "a change stands outside a transaction");
    switch (kind) {
    case 'I':
        return on_insert(out, in, err);
    case 'U':
        return on_update(out, in, err);
    case 'D':
        return on_delete(out, in, err);
    default:
        return on_truncate(out, in, err);
    }
}

/* --- transactions --- */

/* 0: a time that nobody can mean. */
static int64_t since_1970(uint64_t time)
{
    return (int64_t)time < INT64_MAX - US_1970_TO_2000 ? (int64_t)time + US_1970_TO_2000 : 0;
}

static void begin(Pgoutput *out, uint64_t commit_lsn, uint32_t xid, int64_t commit_us)
{
    out->in_transaction = true;
    out->xid = xid;
    out->at = (RowPosition){.major = commit_lsn};
    rows_transaction(&out->rows, &(TransactionOrigin){.id = xid,
                                                      .last_commit_lsn = out->last_commit,
                                                      .commit_us = commit_us});
}

static void commit(Pgoutput *out, uint64_t end)
{
    if (out->options.commits && out->rows.builders.order) {
        Change *change = builders_push(&out->rows.builders, CHANGE_COMMIT);
        change->row = out->at;
        change->lsn = end;
        change->transaction = out->rows.transaction;
    }
    out->in_transaction = false;
    out->last_commit = end;
    if (end > out->end)
        out->end = end;
}

static bool on_begin(Pgoutput *out, Reader *in, Error *err)
{
    uint64_t commit_lsn, time;
    uint32_t xid;
    if (out->in_transaction || !reader_u64be(in, &commit_lsn) || !reader_u64be(in, &time) ||
        !reader_u32be(in, &xid))
        return bad(err, "a Begin is cut short or stands inside a transaction");
    begin(out, commit_lsn, xid, since_1970(time));
    return true;
}

typedef struct CommitFacts {
    uint8_t flags;
    uint64_t commit_lsn, end_lsn, time;
} CommitFacts;

static bool read_commit(Pgoutput *out, Reader *in, CommitFacts *ret, Error *err)
{
    if (!reader_u8(in, &ret->flags) || !reader_u64be(in, &ret->commit_lsn) ||
        !reader_u64be(in, &ret->end_lsn) || !reader_u64be(in, &ret->time) ||
        ret->end_lsn <= ret->commit_lsn)
        return bad(err, "a Commit is cut short or ends before it begins");
    out->commit_us = since_1970(ret->time);
    return true;
}

static bool on_commit(Pgoutput *out, Reader *in, Error *err)
{
    CommitFacts facts;
    if (!read_commit(out, in, &facts, err))
        return false;
    if (!out->in_transaction || facts.commit_lsn != out->at.major)
        return bad(err, "a Commit is not its Begin's");
    commit(out, facts.end_lsn);
    return true;
}

static size_t spool_index(const Pgoutput *out, uint32_t xid)
{
    size_t i = 0;
    while (i < out->spool_count && spool_xid(out->spools[i]) != xid)
        i++;
    return i;
}

static Spool *spool_take(Pgoutput *out, size_t index)
{
    Spool *spool = out->spools[index];
    out->spools[index] = out->spools[--out->spool_count];
    return spool;
}

static bool on_stream_start(Pgoutput *out, Reader *in, Error *err)
{
    uint32_t xid;
    uint8_t first;
    if (out->in_transaction || out->filling || !reader_u32be(in, &xid) || !reader_u8(in, &first))
        return bad(err, "a Stream Start is cut short or stands inside a transaction");
    size_t index = spool_index(out, xid);
    if (index < out->spool_count && first)
        return bad(err, "a transaction begins to be streamed twice");
    if (index == out->spool_count) {
        if (!first || out->spool_count >= SPOOLS_MAX)
            return bad(err, "a streamed transaction has no beginning");
        if (out->spool_count == out->spools_held) {
            out->spools_held = out->spools_held ? out->spools_held * 2 : 8;
            out->spools = mem_regrow(out->spools, out->spools_held, sizeof(Spool *));
        }
        out->spools[out->spool_count++] = spool_new(xid);
    }
    out->filling = out->spools[index];
    return true;
}

static bool ask_undone(const Pgoutput *out, const Spool *spool, bool *ret, Error *err)
{
    size_t count;
    AUTO(mem_free) uint32_t *subxids = spool_subxids(spool, &count);
    *ret = false;
    return count == 0 || !out->options.undone ||
           out->options.undone(out->options.learn_context, subxids, count, ret, err);
}

bool pgoutput_refused(const Pgoutput *out)
{
    return out->refused;
}

uint64_t pgoutput_forget_streamed(Pgoutput *out)
{
    ASSERT(!out->replaying && !out->in_transaction);
    while (out->spool_count)
        spool_free(spool_take(out, out->spool_count - 1));
    out->filling = NULL;
    out->refused = false;
    return out->end;
}

static bool on_stream_commit(Pgoutput *out, Reader *in, Error *err)
{
    uint32_t xid;
    CommitFacts facts;
    if (out->in_transaction || out->filling || !reader_u32be(in, &xid))
        return bad(err, "a Stream Commit is cut short or stands inside a transaction");
    if (!read_commit(out, in, &facts, err))
        return false;
    size_t index = spool_index(out, xid);
    if (index == out->spool_count)
        return bad(err, "a Stream Commit's transaction was never streamed");
    bool undone;
    if (!ask_undone(out, out->spools[index], &undone, err))
        return false;
    if (undone) {
        out->refused = true;
        return true;
    }
    out->replaying = spool_take(out, index);
    out->replay_end = facts.end_lsn;
    begin(out, facts.commit_lsn, xid, out->commit_us);
    CRASH_POINT("spool-committed");
    return true;
}

static bool on_stream_abort(Pgoutput *out, Reader *in, Error *err)
{
    uint32_t xid, subxid;
    if (out->filling || !reader_u32be(in, &xid) || !reader_u32be(in, &subxid))
        return bad(err, "a Stream Abort is cut short or stands inside a stream");
    size_t index = spool_index(out, xid);
    if (index == out->spool_count)
        return true;
    if (xid != subxid)
        return spool_abort(out->spools[index], subxid, err);
    spool_free(spool_take(out, index));
    return true;
}

/* Inside Stream Start … Stop. Relations are learned at once too: the server does not send one again
 * that came in a subtransaction since undone. */
static bool on_streamed(Pgoutput *out, uint8_t kind, uint64_t lsn, const uint8_t *message,
                        size_t bytes, Error *err)
{
    Reader in = reader_over(message + 1, bytes - 1);
    uint32_t xid;
    switch (kind) {
    case 'E':
        out->filling = NULL;
        CRASH_POINT("spool-filling");
        return true;
    case 'O':
    case 'Y':
        return true;
    case 'M':
        if (!out->options.origins)
            return true;
        __attribute__((fallthrough));
    case 'R':
    case 'I':
    case 'U':
    case 'D':
    case 'T':
        if (!reader_u32be(&in, &xid))
            return bad(err, "a streamed change is cut short");
        if (!spool_put(out->filling, xid, lsn, message, bytes, err))
            return false;
        return kind == 'R' ? relations_learn(&out->relations, &in, err) : true;
    default:
        return bad(err, "an unknown message stands inside a stream");
    }
}

bool pgoutput_message(Pgoutput *out, uint64_t lsn, const uint8_t *message, size_t bytes, Error *err)
{
    ASSERT(!out->replaying && !out->refused);
    if (bytes == 0)
        return bad(err, "an empty message");
    uint8_t kind = message[0];
    if (out->filling)
        return on_streamed(out, kind, lsn, message, bytes, err);
    out->rows.lsn = lsn;
    Reader in = reader_over(message + 1, bytes - 1);
    switch (kind) {
    case 'I':
    case 'U':
    case 'D':
    case 'T':
        return on_change(out, kind, &in, err);
    case 'B':
        return on_begin(out, &in, err);
    case 'C':
        return on_commit(out, &in, err);
    case 'R':
        return relations_learn(&out->relations, &in, err);
    case 'M':
        return on_message(out, &in, err);
    case 'O':
    case 'Y':
        return true;
    case 'S':
        return on_stream_start(out, &in, err);
    case 'c':
        return on_stream_commit(out, &in, err);
    case 'A':
        return on_stream_abort(out, &in, err);
    default:
        return error_set(err, ERROR_RETRY, "BadMessage", "pgoutput: unknown message 0x%02x", kind);
    }
}

bool pgoutput_replaying(const Pgoutput *out)
{
    return out->replaying != NULL;
}

bool pgoutput_replay(Pgoutput *out, Error *err)
{
    const uint8_t *message;
    size_t bytes;
    uint32_t xid;
    ASSERT(out->replaying);
    if (!spool_next(out->replaying, &message, &bytes, &out->rows.lsn, err))
        return false;
    if (!message) {
        spool_free(TAKE(out->replaying));
        commit(out, out->replay_end);
        return true;
    }
    Reader in = reader_over(message + 1, bytes - 1);
    if (!reader_u32be(&in, &xid))
        return bad(err, "a streamed change is cut short");
    if (message[0] == 'R')
        return relations_learn(&out->relations, &in, err);
    CRASH_POINT("spool-replaying");
    bool ok = message[0] == 'M' ? on_message(out, &in, err) : on_change(out, message[0], &in, err);
    if (ok)
        spool_rest(out->replaying);
    return ok;
}

void pgoutput_keepalive(Pgoutput *out, uint64_t end)
{
    if (!out->in_transaction && !out->filling && end > out->end)
        out->end = end;
}

RowPosition pgoutput_position(const Pgoutput *out)
{
    return out->in_transaction ? out->at : (RowPosition){.major = out->end};
}

uint64_t pgoutput_changes(const Pgoutput *out)
{
    return out->changes;
}
