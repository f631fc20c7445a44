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
 *   M Message        [xid] …
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
 * or it is fetched from the source by key. That gives the value of now: when it was changed since,
 * its own update follows and says the same. When the row is gone by now, its delete or its move to
 * another key follows, so this update is handed out as a delete: the row is absent a little early,
 * but never there with a value that it did not have.
 *
 * https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html */
#include "agent/capture/postgres/pgoutput.h"

#include "agent/capture/postgres/relation.h"
#include "agent/capture/postgres/spool.h"
#include "common/mem.h"

#define ROWS_FIRST 256
#define ROWS_MAX 8192
#define PENDING_BYTES_MAX ((uint64_t)32 << 20) /* in batches that are not full */
#define US_1970_TO_2000 INT64_C(946684800000000)
#define SPOOLS_MAX 10000

typedef struct Builder {
    Batch *batch;
    uint32_t row_max; /* of the next batch: grows with the flow, so that 1,000 tables stay small */
    bool listed;      /* in Pgoutput.dirty */
} Builder;

struct Pgoutput {
    PgoutputOptions options;
    Relations relations;
    Builder *builders;
    uint32_t *dirty; /* tables whose builder has (had) rows */
    size_t dirty_count;
    uint64_t pending_bytes;

    Change *ready; /* ready_at … ready_count */
    size_t ready_at, ready_count, ready_held;

    bool in_transaction;
    RowPosition at;            /* in a transaction: (commit LSN, ordinal) */
    uint64_t end;              /* everything before it was handed to the builders */
    RowPosition checkpoint;    /* the latest one */
    uint64_t checkpoint_bytes; /* payload since then */
    int64_t commit_us;
    uint64_t changes;

    Spool **spools;
    size_t spool_count, spools_held;
    Spool *filling;   /* between Stream Start and Stop */
    Spool *replaying; /* after Stream Commit */
    uint64_t replay_end;

    PgValue *new_values, *old_values;
    uint32_t *missing; /* fields of a row to be fetched */
};

Pgoutput *pgoutput_new(const PgoutputOptions *options)
{
    Pgoutput *out = mem_zalloc(sizeof *out);
    out->options = *options;
    relations_init(&out->relations, options->tables, options->table_count);
    out->builders = mem_array(options->table_count, sizeof *out->builders);
    out->dirty = mem_array(options->table_count, sizeof *out->dirty);
    size_t widest = 1;
    for (size_t i = 0; i < options->table_count; i++) {
        out->builders[i].row_max = ROWS_FIRST;
        if (options->tables[i].source->schema->field_count > widest)
            widest = options->tables[i].source->schema->field_count;
    }
    out->new_values = mem_array(widest, sizeof *out->new_values);
    out->old_values = mem_array(widest, sizeof *out->old_values);
    out->missing = mem_array(widest, sizeof *out->missing);
    return out;
}

void pgoutput_free(Pgoutput *out)
{
    if (!out)
        return;
    for (size_t i = 0; i < out->options.table_count; i++)
        batch_free(out->builders[i].batch);
    for (size_t i = out->ready_at; i < out->ready_count; i++)
        batch_free(out->ready[i].batch);
    for (size_t i = 0; i < out->spool_count; i++)
        spool_free(out->spools[i]);
    spool_free(out->replaying);
    relations_done(&out->relations);
    free(out->spools);
    free(out->builders);
    free(out->dirty);
    free(out->ready);
    free(out->new_values);
    free(out->old_values);
    free(out->missing);
    free(out);
}

static bool bad(Error *err, const char *what)
{
    return error_set(err, ERROR_RETRY, "BadMessage", "pgoutput: %s", what);
}

/* --- what is ready --- */

static Change *push(Pgoutput *out, ChangeKind kind)
{
    if (out->ready_at == out->ready_count)
        out->ready_at = out->ready_count = 0;
    if (out->ready_count == out->ready_held) {
        out->ready_held = out->ready_held ? out->ready_held * 2 : 16;
        out->ready = mem_regrow(out->ready, out->ready_held, sizeof *out->ready);
    }
    Change *change = &out->ready[out->ready_count++];
    *change = (Change){.kind = kind};
    return change;
}

bool pgoutput_take(Pgoutput *out, Change *ret)
{
    if (out->ready_at == out->ready_count)
        return false;
    *ret = out->ready[out->ready_at++];
    return true;
}

static void builder_flush(Pgoutput *out, uint32_t table)
{
    Builder *builder = &out->builders[table];
    Batch *batch = TAKE(builder->batch);
    if (!batch)
        return;
    out->pending_bytes -= batch->bytes;
    if (batch->row_count == 0) {
        batch_free(batch);
        return;
    }
    if (batch->row_count + 1 >= batch->row_max && builder->row_max < ROWS_MAX)
        builder->row_max *= 2;
    else if (batch->row_count < builder->row_max / 8 && builder->row_max > ROWS_FIRST)
        builder->row_max /= 2;
    Change *change = push(out, CHANGE_BATCH);
    change->table = table;
    change->batch = batch;
}

static void flush_all(Pgoutput *out)
{
    for (size_t i = 0; i < out->dirty_count; i++) {
        builder_flush(out, out->dirty[i]);
        out->builders[out->dirty[i]].listed = false;
    }
    out->dirty_count = 0;
    ASSERT(out->pending_bytes == 0);
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
    flush_all(out);
    Change *change = push(out, CHANGE_CHECKPOINT);
    change->position.at = at;
    change->commit_us = out->commit_us;
    out->checkpoint = at;
    out->checkpoint_bytes = 0;
}

void pgoutput_checkpoint(Pgoutput *out)
{
    ASSERT(!out->in_transaction);
    checkpoint_at(out, (RowPosition){.major = out->end});
}

/* --- rows --- */

/* A builder with room for a pair of rows. */
static Batch *batch_for(Pgoutput *out, uint32_t table)
{
    Builder *builder = &out->builders[table];
    if (builder->batch && builder->batch->row_count + 2 > builder->batch->row_max)
        builder_flush(out, table);
    if (!builder->batch)
        builder->batch =
            batch_new(out->options.tables[table].source->schema, table, builder->row_max);
    if (!builder->listed) {
        builder->listed = true;
        out->dirty[out->dirty_count++] = table;
    }
    return builder->batch;
}

static bool put_row(const PgTable *table, Batch *batch, RowOp op, RowPosition at,
                    const PgValue *values, Error *err)
{
    const Schema *schema = table->source->schema;
    bool whole = op == ROW_INSERT || op == ROW_UPDATE;
    batch_row_begin(batch, op, at);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const PgValue *value = &values[i];
        if (LIKELY(value->kind == 'b')) {
            const char *why = decode_value(&table->decoders[i], batch, &batch->columns[i],
                                           value->at, value->bytes);
            if (LIKELY(!why))
                continue;
            batch_row_undo(batch);
            return table_bad_value(table, i, values, why, err);
        }
        if (UNLIKELY(value->kind == 't')) {
            batch_row_undo(batch);
            return error_set(err, ERROR_CONFIG, "TextValue",
                             "table %s column %s came as text, though binary was asked for",
                             table->name, schema->fields[i].name);
        }
        if (UNLIKELY(whole && schema->fields[i].required)) {
            batch_row_undo(batch);
            return table_null_where_required(table, i, err);
        }
        column_put_null(batch, &batch->columns[i]);
    }
    return true;
}

/* Only the key of `values` stays, for a ROW_MOVE or a delete made of an update. */
static bool keep_key(const PgTable *table, PgValue *values, Error *err)
{
    const Schema *schema = table->source->schema;
    for (size_t field = 0; field < schema->field_count; field++) {
        bool is_key = false;
        for (size_t i = 0; i < schema->key_count; i++)
            is_key = is_key || schema->key[i] == field;
        if (!is_key)
            values[field].kind = 'n';
        else if (values[field].kind != 'b')
            return bad(err, "an old key lacks a column");
    }
    return true;
}

/* After a change's rows: is the batch full, or too much pending? */
static void after_rows(Pgoutput *out, uint32_t table, const Batch *batch, size_t bytes_before)
{
    size_t bytes = batch->bytes - bytes_before;
    out->pending_bytes += bytes;
    out->checkpoint_bytes += bytes;
    if (batch_is_full(batch))
        builder_flush(out, table);
    if (UNLIKELY(out->pending_bytes > PENDING_BYTES_MAX))
        flush_all(out);
    if (UNLIKELY(out->checkpoint_bytes > out->options.transaction_bytes))
        checkpoint_at(out, out->at);
}

static bool put_change(Pgoutput *out, uint32_t number, RowOp op, PgValue *values, Error *err)
{
    const PgTable *table = &out->options.tables[number];
    Batch *batch = batch_for(out, number);
    size_t before = batch->bytes;
    if (!put_row(table, batch, op, out->at, values, err)) {
        out->pending_bytes += batch->bytes - before;
        return false;
    }
    after_rows(out, number, batch, before);
    return true;
}

static bool put_move(Pgoutput *out, uint32_t number, Error *err)
{
    const PgTable *table = &out->options.tables[number];
    Batch *batch = batch_for(out, number);
    size_t before = batch->bytes;
    bool put = put_row(table, batch, ROW_MOVE, out->at, out->old_values, err);
    if (put && !put_row(table, batch, ROW_UPDATE, out->at, out->new_values, err)) {
        batch_row_undo(batch);
        put = false;
    }
    if (!put) {
        out->pending_bytes += batch->bytes - before;
        return false;
    }
    after_rows(out, number, batch, before);
    return true;
}

/* --- tuples --- */

/* Values go to their fields' places. *ret_unchanged: some are 'u'. */
static bool read_tuple(const Relation *relation, Reader *in, PgValue *values, bool *ret_unchanged,
                       Error *err)
{
    uint16_t count;
    *ret_unchanged = false;
    if (UNLIKELY(!reader_u16be(in, &count) || count != relation->column_count))
        return bad(err, "a tuple has another number of columns than its relation");
    for (uint16_t i = 0; i < count; i++) {
        PgValue value = {.kind = 0};
        uint8_t kind;
        if (UNLIKELY(!reader_u8(in, &kind)))
            return bad(err, "a tuple is cut short");
        value.kind = (char)kind;
        if (LIKELY(kind == 'b' || kind == 't')) {
            if (UNLIKELY(!reader_u32be(in, &value.bytes) ||
                         !reader_take(in, value.bytes, &value.at)))
                return bad(err, "a tuple is cut short");
        } else if (kind == 'u') {
            *ret_unchanged = true;
        } else if (UNLIKELY(kind != 'n')) {
            return bad(err, "a tuple has a value of unknown kind");
        }
        if (relation->field_of[i] >= 0)
            values[relation->field_of[i]] = value;
    }
    return true;
}

/* Does the new row have another key than the old one? Values that were left out are the old ones.
 */
static bool key_differs(const Schema *schema, const PgValue *old_values, const PgValue *new_values)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        const PgValue *a = &old_values[schema->key[i]], *b = &new_values[schema->key[i]];
        if (b->kind != 'u' && (a->kind != b->kind || a->bytes != b->bytes ||
                               (a->bytes && memcmp(a->at, b->at, a->bytes) != 0)))
            return true;
    }
    return false;
}

/* Fills the values that the update left out. */
static bool complete(Pgoutput *out, const PgTable *table, bool has_old, char old_kind,
                     bool *ret_found, Error *err)
{
    const Schema *schema = table->source->schema;
    size_t missing = 0;
    *ret_found = true;
    for (uint32_t field = 0; field < schema->field_count; field++) {
        if (out->new_values[field].kind != 'u')
            continue;
        const PgValue *old = &out->old_values[field];
        if (has_old && (old->kind == 'b' || (old_kind == 'O' && old->kind == 'n')))
            out->new_values[field] = *old;
        else
            out->missing[missing++] = field;
    }
    if (!missing)
        return true;
    if (!schema->key_count)
        return error_set(err, ERROR_CONFIG, "NoReplicaIdentity",
                         "table %s: an update leaves out a large value and the table has no key to "
                         "fetch it by; ALTER TABLE %s REPLICA IDENTITY FULL",
                         table->name, table->quoted);
    for (size_t i = 0; i < schema->key_count; i++)
        if (out->new_values[schema->key[i]].kind != 'b')
            return bad(err, "an update lacks its key");
    return out->options.fetch(out->options.fetch_context, table, out->new_values, out->missing,
                              missing, ret_found, err);
}

/* --- changes --- */

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
    if (relation->table < 0)
        return true;
    out->changes++;
    if (UNLIKELY(!relation->fits)) {
        if (err)
            *err = relation->problem;
        return false;
    }
    *ret = relation;
    return true;
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
    if (!read_tuple(relation, in, out->new_values, &unchanged, err) || !ends(in, err))
        return false;
    if (UNLIKELY(unchanged))
        return bad(err, "an insert leaves a value out");
    return put_change(out, (uint32_t)relation->table, ROW_INSERT, out->new_values, err);
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
        if (!read_tuple(relation, in, out->old_values, &old_unchanged, err))
            return false;
        if (UNLIKELY(!reader_u8(in, &kind)))
            return bad(err, "an update is cut short");
    }
    if (UNLIKELY(kind != 'N'))
        return bad(err, "an update has no new row");
    if (!read_tuple(relation, in, out->new_values, &unchanged, err) || !ends(in, err))
        return false;
    uint32_t number = (uint32_t)relation->table;
    const PgTable *table = &out->options.tables[number];
    bool moved = old_kind && key_differs(table->source->schema, out->old_values, out->new_values);
    bool found = true;
    if (unchanged && !complete(out, table, old_kind, (char)old_kind, &found, err))
        return false;
    if (LIKELY(!moved && found))
        return put_change(out, number, ROW_UPDATE, out->new_values, err);
    PgValue *gone = moved ? out->old_values : out->new_values;
    if (!keep_key(table, gone, err))
        return false;
    return found ? put_move(out, number, err) : put_change(out, number, ROW_DELETE, gone, err);
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
    if (!read_tuple(relation, in, out->old_values, &unchanged, err) || !ends(in, err))
        return false;
    const Schema *schema = out->options.tables[relation->table].source->schema;
    for (size_t i = 0; i < schema->key_count; i++)
        if (UNLIKELY(out->old_values[schema->key[i]].kind != 'b'))
            return bad(err, "a delete lacks its key");
    return put_change(out, (uint32_t)relation->table, ROW_DELETE, out->old_values, err);
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
        if (relation->table < 0)
            continue;
        out->changes++;
        if (!relation->fits) {
            if (err)
                *err = relation->problem;
            return false;
        }
        builder_flush(out, (uint32_t)relation->table);
        Change *change = push(out, CHANGE_TRUNCATE);
        change->table = (uint32_t)relation->table;
        change->row = out->at;
    }
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

static void begin(Pgoutput *out, uint64_t commit_lsn)
{
    out->in_transaction = true;
    out->at = (RowPosition){.major = commit_lsn};
}

static void commit(Pgoutput *out, uint64_t end)
{
    out->in_transaction = false;
    if (end > out->end)
        out->end = end;
}

static bool on_begin(Pgoutput *out, Reader *in, Error *err)
{
    uint64_t commit_lsn;
    if (out->in_transaction || !reader_u64be(in, &commit_lsn))
        return bad(err, "a Begin is cut short or stands inside a transaction");
    begin(out, commit_lsn);
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
    if ((int64_t)ret->time < INT64_MAX - US_1970_TO_2000)
        out->commit_us = (int64_t)ret->time + US_1970_TO_2000;
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
    out->replaying = spool_take(out, index);
    out->replay_end = facts.end_lsn;
    begin(out, facts.commit_lsn);
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
static bool on_streamed(Pgoutput *out, uint8_t kind, const uint8_t *message, size_t bytes,
                        Error *err)
{
    Reader in = reader_over(message + 1, bytes - 1);
    uint32_t xid;
    switch (kind) {
    case 'E':
        out->filling = NULL;
        return true;
    case 'O':
    case 'M':
    case 'Y':
        return true;
    case 'R':
    case 'I':
    case 'U':
    case 'D':
    case 'T':
        if (!reader_u32be(&in, &xid))
            return bad(err, "a streamed change is cut short");
        if (!spool_put(out->filling, xid, message, bytes, err))
            return false;
        return kind == 'R' ? relations_learn(&out->relations, &in, err) : true;
    default:
        return bad(err, "an unknown message stands inside a stream");
    }
}

bool pgoutput_message(Pgoutput *out, const uint8_t *message, size_t bytes, Error *err)
{
    ASSERT(!out->replaying);
    if (bytes == 0)
        return bad(err, "an empty message");
    uint8_t kind = message[0];
    if (out->filling)
        return on_streamed(out, kind, message, bytes, err);
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
    case 'O':
    case 'M':
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
    if (!spool_next(out->replaying, &message, &bytes, err))
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
    return on_change(out, message[0], &in, err);
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
