/* A batch's rows, one after another: one, two or three records of each. See topic.h. */
#include "agent/topic/partition.h"
#include "agent/topic/scalar.h"
#include "agent/topic/table_private.h"
#include "common/mem.h"

#define OTHER_NEW "__debezium.newkey"
#define OTHER_OLD "__debezium.oldkey"

void topic_records_done(TopicRecords *records)
{
    bytes_done(&records->bytes);
    free(records->items);
    *records = (TopicRecords){0};
}

void topic_records_clear(TopicRecords *records)
{
    bytes_clear(&records->bytes);
    records->count = 0;
}

TopicRecord *topic_record_add(TopicRecords *to)
{
    if (UNLIKELY(to->count == to->held)) {
        to->held = to->held ? to->held * 2 : 256;
        to->items = mem_regrow(to->items, to->held, sizeof *to->items);
    }
    TopicRecord *record = &to->items[to->count++];
    *record = (TopicRecord){.row = 0};
    return record;
}

/* --- keys and headers --- */

static bool put_struct(TopicTable *table, const ConnectSchema *schema, const Batch *batch,
                       uint32_t row, RowPart part, Bytes *to, ValueProblem *problem)
{
    return table->avro
               ? avro_put_row(schema, batch, row, part, table->is_key, &table->scratch, to, problem)
               : json_put_row(schema, batch, row, part, table->is_key, &table->scratch, to,
                              problem);
}

static bool put_key(TopicTable *table, const Batch *batch, uint32_t row, TopicSpan *ret,
                    uint64_t *ret_hash, Bytes *to, ValueProblem *problem)
{
    Bytes *canonical = &table->partition_key;
    bytes_clear(canonical);
    *ret = (TopicSpan){to->used, 0};
    if (table->key) {
        bytes_put(to, table->key_frame.open.data, table->key_frame.open.used);
        if (!put_struct(table, table->key, batch, row, ROW_WHOLE, to, problem))
            return false;
        bytes_put(to, table->key_frame.close.data, table->key_frame.close.used);
        ret->bytes = to->used - ret->at;
        for (uint32_t i = 0; i < table->key->child_count; i++) {
            const ConnectSchema *field = &table->key->children[i];
            partition_put(canonical, &batch->columns[field->column], row, field->is_number);
        }
    }
    *ret_hash = topic_hash(canonical);
    return true;
}

static TopicSpan put_header(const TopicTable *table, RowPosition at, TopicKind kind,
                            const Batch *batch, uint32_t row, Bytes *to)
{
    TopicSpan span = {to->used, 0};
    bytes_put_u8(to, (uint8_t)kind);
    bytes_put_u64be(to, at.major);
    bytes_put_u64be(to, at.minor);
    bytes_put_u32be(to, table->version);
    if (UNLIKELY(batch && batch->has_unchanged))
        for (uint32_t i = 0; i < batch->column_count; i++)
            if (column_is_unchanged(&batch->columns[i], row)) {
                bytes_put_u8(to, (uint8_t)(i >> 8));
                bytes_put_u8(to, (uint8_t)i);
            }
    span.bytes = to->used - span.at;
    return span;
}

/* --- the envelope --- */

typedef struct Image { /* of a row; batch NULL: null */
    const Batch *batch;
    uint32_t row;
    RowPart part;
} Image;

static bool put_image(TopicTable *table, Image image, Bytes *to, ValueProblem *problem)
{
    if (!image.batch) {
        if (table->avro)
            bytes_put_u8(to, 0);
        else
            bytes_put(to, "null", 4);
        return true;
    }
    if (table->avro)
        bytes_put_u8(to, 2);
    return put_struct(table, table->value, image.batch, image.row, image.part, to, problem);
}

static const char ops[TABLE_OPS] = {'r', 'c', 'u', 'd', 't'};
typedef enum Op {
    OP_READ,
    OP_CREATE,
    OP_UPDATE,
    OP_DELETE,
    OP_TRUNCATE,
} Op;

/* Whatever follows `transaction` is the same for all rows of a call but for op. */
static void make_endings(TopicTable *table, int64_t now_us)
{
    bytes_clear(&table->times);
    envelope_times(table->avro, now_us, &table->times);
    for (size_t i = 0; i < TABLE_OPS; i++) {
        char json[] = {',', '"', 'o', 'p', '"', ':', '"', ops[i], '"'}, avro[] = {2, ops[i]};
        Bytes *to = &table->endings[i];
        bytes_clear(to);
        bytes_put(to, table->avro ? avro : json, table->avro ? sizeof avro : sizeof json);
        bytes_put(to, table->times.data, table->times.used);
        bytes_put(to, table->value_frame.close.data, table->value_frame.close.used);
    }
}

static bool put_value(TopicTable *table, const TransactionOrigin *transaction, const RowOrigin *row,
                      TopicSnapshot snapshot, Image before, Image after, Op op, TopicSpan *ret,
                      Bytes *to, ValueProblem *problem)
{
    const Bytes *open = before.batch ? &table->open_old : &table->open_new;
    ret->at = to->used;
    bytes_put(to, open->data, open->used);
    if (before.batch) {
        if (!put_image(table, before, to, problem))
            return false;
        if (!table->avro)
            bytes_put(to, ",\"after\":", 9);
    }
    if (!put_image(table, after, to, problem))
        return false;
    source_block_put(&table->source, transaction, row, snapshot, to);
    transaction_block_put(table->options.source, table->avro, transaction, row->lsn,
                          table->options.transactions ? row->total_order : 0, row->table_order, to);
    bytes_put(to, table->endings[op].data, table->endings[op].used);
    ret->bytes = to->used - ret->at;
    return true;
}

/* --- a row --- */

typedef struct Task {
    TopicTable *table;
    const TopicRows *rows;
    TopicRecords *to;

    ValueProblem problem;
} Task;

static Image image_before(const TopicRows *rows, uint32_t row)
{
    const Origins *origins = rows->origins;
    uint32_t at = origins->rows[row].before;
    if (at == ORIGIN_NO_BEFORE || !origins->before)
        return (Image){0};
    ASSERT(at < origins->before->row_count);
    return (Image){origins->before, at, ROW_WHOLE};
}

static bool put_change(Task *task, uint32_t row, Image before, Image after, Op op)
{
    TopicTable *table = task->table;
    const TopicRows *rows = task->rows;
    const RowOrigin *about = &rows->origins->rows[row];
    TopicRecord *record = topic_record_add(task->to);
    Bytes *to = &task->to->bytes;
    record->row = row;
    if (!put_key(table, rows->batch, row, &record->key, &record->hash, to, &task->problem))
        return false;
    record->header =
        put_header(table, rows->batch->positions[row], TOPIC_KIND_ROW, rows->batch, row, to);
    return put_value(table, &rows->origins->transactions[about->transaction], about,
                     rows->snapshots ? rows->snapshots[row] : TOPIC_SNAPSHOT_FALSE, before, after,
                     op, &record->value, to, &task->problem);
}

/* Behind the deletion that was put last. */
static void put_tombstone(Task *task, uint32_t row)
{
    if (task->table->options.no_tombstones)
        return;
    TopicRecord *record = topic_record_add(task->to);
    const TopicRecord *deletion = record - 1;
    record->row = row;
    record->key = deletion->key;
    record->hash = deletion->hash;
    record->other_name = deletion->other_name;
    record->other = deletion->other;
    record->header = put_header(task->table, task->rows->batch->positions[row],
                                TOPIC_KIND_TOMBSTONE, NULL, row, &task->to->bytes);
}

static bool put_delete(Task *task, uint32_t row)
{
    Image before = image_before(task->rows, row);
    if (!before.batch)
        before = (Image){task->rows->batch, row, ROW_OLD_KEY};
    return put_change(task, row, before, (Image){0}, OP_DELETE);
}

/* A row whose key changed: the old one deleted, the new one made, each naming the other. */
static bool put_pair(Task *task, uint32_t row)
{
    const Batch *batch = task->rows->batch;
    ASSERT(row + 1 < batch->row_count && batch->ops[row + 1] == ROW_UPDATE);
    size_t first = task->to->count;
    TopicSpan new_key;
    uint64_t hash;
    if (!put_key(task->table, batch, row + 1, &new_key, &hash, &task->to->bytes, &task->problem) ||
        !put_delete(task, row))
        return false;
    TopicRecord *deletion = &task->to->items[first];
    deletion->other_name = task->table->key ? OTHER_NEW : NULL;
    deletion->other = new_key;
    TopicSpan old_key = deletion->key;
    put_tombstone(task, row);
    size_t made = task->to->count;
    if (!put_change(task, row + 1, (Image){0}, (Image){batch, row + 1, ROW_WHOLE}, OP_CREATE))
        return false;
    task->to->items[made].other_name = task->table->key ? OTHER_OLD : NULL;
    task->to->items[made].other = old_key;
    return true;
}

static bool put_one(Task *task, uint32_t row)
{
    const Batch *batch = task->rows->batch;
    Image after = {batch, row, ROW_WHOLE};
    switch ((RowOp)batch->ops[row]) {
    case ROW_READ:
        return put_change(task, row, (Image){0}, after, OP_READ);
    case ROW_INSERT:
        return put_change(task, row, (Image){0}, after, OP_CREATE);
    case ROW_UPDATE:
        return put_change(task, row, image_before(task->rows, row), after, OP_UPDATE);
    case ROW_DELETE:
        if (!put_delete(task, row))
            return false;
        put_tombstone(task, row);
        return true;
    case ROW_MOVE:
        return put_pair(task, row);
    }
    return false;
}

static bool bad_value(const Task *task, uint32_t row, Error *err)
{
    const Field *field = &task->table->schema->fields[task->problem.column->column];
    RowPosition at = task->rows->batch->positions[row];
    return error_set(err, ERROR_DATA, task->problem.code,
                     "table %s column %s: the value at %llX.%llu %s", task->table->name,
                     field->name, (unsigned long long)at.major, (unsigned long long)at.minor,
                     task->problem.why);
}

bool topic_encode(TopicTable *table, const TopicRows *rows, uint32_t *from, size_t bytes_max,
                  TopicRecords *to, Error *err)
{
    Task task = {.table = table, .rows = rows, .to = to};
    source_block_forget(&table->source);
    make_endings(table, rows->now_us);
    while (*from < rows->batch->row_count && to->bytes.used < bytes_max) {
        size_t bytes = to->bytes.used, count = to->count;
        if (UNLIKELY(!put_one(&task, *from))) {
            to->bytes.used = bytes;
            to->count = count;
            return bad_value(&task, *from, err);
        }
        *from += rows->batch->ops[*from] == ROW_MOVE ? 2 : 1;
    }
    return true;
}

void topic_encode_truncate(TopicTable *table, const TransactionOrigin *transaction,
                           const RowOrigin *row, RowPosition at, uint32_t partitions,
                           int64_t now_us, TopicRecords *to)
{
    ValueProblem unused;
    source_block_forget(&table->source);
    make_endings(table, now_us);
    TopicRecord *record = topic_record_add(to);
    record->everywhere = true;
    record->header = put_header(table, at, TOPIC_KIND_TRUNCATE, NULL, 0, &to->bytes);
    bytes_put_u32be(&to->bytes, partitions);
    record->header.bytes = to->bytes.used - record->header.at;
    bool put = put_value(table, transaction, row, TOPIC_SNAPSHOT_FALSE, (Image){0}, (Image){0},
                         OP_TRUNCATE, &record->value, &to->bytes, &unused);
    ASSERT(put);
}

void topic_encode_copied(TopicTable *table, RowPosition at, TopicRecords *to)
{
    TopicRecord *record = topic_record_add(to);
    record->everywhere = true;
    record->header = put_header(table, at, TOPIC_KIND_COPIED, NULL, 0, &to->bytes);
}

void topic_encode_epoch(TopicTable *table, RowPosition at, uint32_t epoch, uint32_t partitions,
                        uint32_t from, TopicRecords *to)
{
    TopicRecord *record = topic_record_add(to);
    record->everywhere = true;
    record->everywhere_from = from;
    record->header = put_header(table, at, TOPIC_KIND_EPOCH, NULL, 0, &to->bytes);
    bytes_put_u32be(&to->bytes, epoch);
    bytes_put_u32be(&to->bytes, partitions);
    record->header.bytes = to->bytes.used - record->header.at;
}

/* --- read again --- */

static uint64_t big_endian(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

RowPosition topic_header_position(const void *header, size_t bytes)
{
    if (bytes < TOPIC_HEADER_BYTES)
        return (RowPosition){0};
    const uint8_t *at = (const uint8_t *)header + 1; /* behind the kind */
    return (RowPosition){big_endian(at), big_endian(at + 8)};
}
