/* Rows: see rows.h. */
#include "agent/capture/postgres/rows.h"

#include "common/mem.h"

void rows_init(LogRows *rows, const PgoutputOptions *options)
{
    *rows = (LogRows){.tables = options->tables,
                      .fetch = options->fetch,
                      .fetch_context = options->fetch_context};
    builders_init(&rows->builders, options->table_count, options->origins);
    size_t widest = 1;
    for (size_t i = 0; i < options->table_count; i++)
        if (rows->tables[i].source->schema->field_count > widest)
            widest = rows->tables[i].source->schema->field_count;
    rows->widest = widest;
    rows->new_values = mem_array(widest, sizeof *rows->new_values);
    rows->old_values = mem_array(widest, sizeof *rows->old_values);
    rows->missing = mem_array(widest, sizeof *rows->missing);
}

void rows_widen(LogRows *rows, uint32_t table)
{
    size_t fields = rows->tables[table].source->schema->field_count;
    if (fields <= rows->widest)
        return;
    rows->widest = fields;
    rows->new_values = mem_regrow(rows->new_values, fields, sizeof *rows->new_values);
    rows->old_values = mem_regrow(rows->old_values, fields, sizeof *rows->old_values);
    rows->missing = mem_regrow(rows->missing, fields, sizeof *rows->missing);
}

bool rows_null_where_required(const LogRows *rows, uint32_t table, size_t *ret_field)
{
    (void)table;
    *ret_field = rows->null_field;
    return rows->has_null;
}

void rows_done(LogRows *rows)
{
    builders_done(&rows->builders);
    free(rows->new_values);
    free(rows->old_values);
    free(rows->missing);
    *rows = (LogRows){0};
}

/* --- rows --- */

/* The server sends text by itself where a type has no binary form. */
static bool is_text(const PgDecoder *decoder, const PgValue *value)
{
    return value->kind == 't' && decoder->form == FORM_SERVER_TEXT;
}

static bool put_row(LogRows *rows, const PgTable *table, Batch *batch, RowOp op, RowPosition at,
                    const PgValue *values, Error *err)
{
    const Schema *schema = table->source->schema;
    bool whole = op == ROW_INSERT || op == ROW_UPDATE;
    rows->has_null = rows->has_other = false;
    batch_row_begin(batch, op, at);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const PgValue *value = &values[i];
        if (LIKELY(value->kind == 'b') || is_text(&table->decoders[i], value)) {
            const char *why = decode_value(&table->decoders[i], batch, &batch->columns[i],
                                           value->at, value->bytes);
            if (LIKELY(!why))
                continue;
            batch_row_undo(batch);
            rows->has_other = why == decode_other_attributes;
            rows->other_field = i;
            rows->other_value = *value;
            return table_bad_value(table, i, values, why, err);
        }
        if (UNLIKELY(value->kind == 'u' && whole)) {
            column_put_unchanged(batch, &batch->columns[i]);
            continue;
        }
        if (UNLIKELY(value->kind == 't')) {
            batch_row_undo(batch);
            return error_set(err, ERROR_CONFIG, "TextValue",
                             "table %s column %s came as text, though binary was asked for",
                             table->name, schema->fields[i].name);
        }
        if (UNLIKELY(whole && schema->fields[i].required)) {
            batch_row_undo(batch);
            rows->has_null = true;
            rows->null_field = i;
            return error_set(err, ERROR_CONFIG, "SchemaChanged", "table %s column %s has a null",
                             table->name, schema->fields[i].name);
        }
        column_put_null(batch, &batch->columns[i]);
    }
    return true;
}

static bool is_known_by(const PgTable *table, size_t field)
{
    return table_is_key(table, field) || table_is_identity(table, field);
}

static bool not_there(const PgTable *table, size_t field, Error *err)
{
    return error_set(
        err, ERROR_CONFIG, "ReplicaIdentityPartition",
        "table %s column %s: an update or delete came without its old value, by which "
        "the row is known where it goes: the replica identity of a partition is another than "
        "that of the table. ALTER TABLE the partition REPLICA IDENTITY FULL, then "
        "load the table again with --resnapshot %s",
        table->name, table->source->schema->fields[field].name, table->name);
}

bool rows_has_key(const PgTable *table, const PgValue *old, Error *err)
{
    for (size_t field = 0; field < table->source->schema->field_count; field++)
        if (UNLIKELY(old[field].kind != 'b') && is_known_by(table, field))
            return old[field].kind == 'n' ? not_there(table, field, err)
                                          : pgoutput_bad(err, "an old key lacks a column");
    return true;
}

bool rows_need_no_old(const PgTable *table, const Relation *relation, Error *err)
{
    int field = relation->identity == 'f' ? table_beyond_key(table) : -1;
    return field < 0 || not_there(table, (size_t)field, err);
}

bool rows_keep_key(const PgTable *table, PgValue *values, Error *err)
{
    for (size_t field = 0; field < table->source->schema->field_count; field++)
        if (!is_known_by(table, field))
            values[field].kind = 'n';
    return rows_has_key(table, values, err);
}

void rows_transaction(LogRows *rows, const TransactionOrigin *transaction)
{
    rows->transaction = *transaction;
    rows->message_order = 0;
    builders_begin(&rows->builders);
}

/* Of the latest row. */
static bool put_origin(LogRows *rows, uint32_t number, Batch *batch, RowPosition at,
                       const PgValue *before, Error *err)
{
    RowOrigin *origin = &batch->origins->rows[batch->row_count - 1];
    *origin = (RowOrigin){.lsn = rows->lsn,
                          .transaction = origins_transaction(batch, &rows->transaction),
                          .before = ORIGIN_NO_BEFORE};
    if (before) {
        Batch *to = origins_before(batch);
        size_t bytes = to->bytes;
        /* as of a delete: what is null, is */
        if (!put_row(rows, &rows->tables[number], to, ROW_DELETE, at, before, err))
            return false;
        batch->bytes += to->bytes - bytes;
        origin->before = to->row_count - 1;
    }
    origin->total_order = builders_count(&rows->builders, number, &origin->table_order);
    return true;
}

bool rows_put(LogRows *rows, uint32_t number, RowOp op, RowPosition at, const PgValue *values,
              const PgValue *before, Error *err)
{
    const PgTable *table = &rows->tables[number];
    Batch *batch = builders_batch(&rows->builders, number, table->source->schema);
    size_t bytes = batch->bytes;
    if (!put_row(rows, table, batch, op, at, values, err) ||
        (rows->builders.origins && !put_origin(rows, number, batch, at, before, err))) {
        builders_refused(&rows->builders, batch, bytes);
        return false;
    }
    builders_filled(&rows->builders, number, batch, bytes);
    return true;
}

bool rows_put_move(LogRows *rows, uint32_t number, RowPosition at, const PgValue *before,
                   Error *err)
{
    const PgTable *table = &rows->tables[number];
    Batch *batch = builders_batch(&rows->builders, number, table->source->schema);
    size_t bytes = batch->bytes;
    bool put = put_row(rows, table, batch, ROW_MOVE, at, rows->old_values, err) &&
               (!rows->builders.origins || put_origin(rows, number, batch, at, before, err));
    if (put && !put_row(rows, table, batch, ROW_UPDATE, at, rows->new_values, err)) {
        batch_row_undo(batch);
        put = false;
        if (rows->builders.origins)
            builders_uncount(&rows->builders, number);
    }
    put = put && (!rows->builders.origins || put_origin(rows, number, batch, at, NULL, err));
    if (!put) {
        builders_refused(&rows->builders, batch, bytes);
        return false;
    }
    builders_filled(&rows->builders, number, batch, bytes);
    return true;
}

/* --- tuples --- */

bool rows_read_tuple(const Relation *relation, Reader *in, PgValue *values, bool *ret_unchanged,
                     Error *err)
{
    uint16_t count;
    *ret_unchanged = false;
    if (UNLIKELY(!reader_u16be(in, &count) || count != relation->column_count))
        return pgoutput_bad(err, "a tuple has another number of columns than its relation");
    for (uint16_t i = 0; i < count; i++) {
        PgValue value = {.kind = 0};
        uint8_t kind;
        if (UNLIKELY(!reader_u8(in, &kind)))
            return pgoutput_bad(err, "a tuple is cut short");
        value.kind = (char)kind;
        if (LIKELY(kind == 'b' || kind == 't')) {
            if (UNLIKELY(!reader_u32be(in, &value.bytes) ||
                         !reader_take(in, value.bytes, &value.at)))
                return pgoutput_bad(err, "a tuple is cut short");
        } else if (kind == 'u') {
            *ret_unchanged = true;
        } else if (UNLIKELY(kind != 'n')) {
            return pgoutput_bad(err, "a tuple has a value of unknown kind");
        }
        if (relation->field_of[i] >= 0)
            values[relation->field_of[i]] = value;
    }
    return true;
}

static bool has_whole_key(const LogRows *rows, const Schema *schema)
{
    for (size_t i = 0; i < schema->key_count; i++)
        if (rows->new_values[schema->key[i]].kind != 'b')
            return false;
    return true;
}

bool rows_complete(LogRows *rows, const PgTable *table, char old_kind, bool *ret_found, Error *err)
{
    const Schema *schema = table->source->schema;
    size_t missing = 0;
    *ret_found = true;
    for (uint32_t field = 0; field < schema->field_count; field++) {
        if (rows->new_values[field].kind != 'u')
            continue;
        const PgValue *old = &rows->old_values[field];
        /* What is left out is never null: a null is what the old row of a partition lacks, whose
         * identity is not FULL though that of the published root is. */
        if (old_kind && (old->kind == 'b' || old->kind == 't'))
            rows->new_values[field] = *old;
        else
            rows->missing[missing++] = field;
    }
    if (!missing)
        return true;
    if (atomic_load_explicit(&table->fills, memory_order_relaxed))
        return has_whole_key(rows, schema) || pgoutput_bad(err, "an update lacks its key");
    if (!schema->key_count)
        return error_set(err, ERROR_CONFIG, "NoReplicaIdentity",
                         "table %s: an update leaves out a large value and the table has no key to "
                         "fetch it by; ALTER TABLE %s REPLICA IDENTITY FULL",
                         table->name, table->quoted);
    if (!has_whole_key(rows, schema))
        return pgoutput_bad(err, "an update lacks its key");
    return rows->fetch(rows->fetch_context, table, rows->new_values, rows->missing, missing,
                       ret_found, err);
}
