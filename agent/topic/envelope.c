/* See envelope.h. */
#include "agent/topic/envelope.h"

#include <string.h>

#include "agent/topic/scalar.h"
#include "agent/topic/schema_text.h"
#include "agent/topic/values.h"

#define AVRO_FRAME_BYTES 5 /* 0x00, the id */
#define BRANCH_NULL 0
#define BRANCH_THERE 2

/* --- framing --- */

void frame_done(Frame *frame)
{
    bytes_done(&frame->open);
    bytes_done(&frame->close);
}

void frame_init(Frame *frame, TopicFormat format, const char *schema)
{
    *frame = (Frame){0};
    if (format == TOPIC_AVRO) {
        bytes_put(&frame->open, "\0\0\0\0", AVRO_FRAME_BYTES);
    } else if (format == TOPIC_JSON_WITH_SCHEMA) {
        scalar_put_text(&frame->open, "{\"schema\":");
        scalar_put_text(&frame->open, schema);
        scalar_put_text(&frame->open, ",\"payload\":");
        bytes_put_u8(&frame->close, '}');
    }
}

void frame_set_id(Frame *frame, uint32_t id)
{
    ASSERT(frame->open.used == AVRO_FRAME_BYTES);
    uint32_t big_endian = __builtin_bswap32(id);
    memcpy(frame->open.data + 1, &big_endian, sizeof big_endian);
}

void envelope_schema_text(TopicFormat format, const ConnectSchema *schema, Bytes *to)
{
    if (format == TOPIC_AVRO)
        schema_text_avro(schema, to);
    else
        schema_text_json(schema, to);
    bytes_put_u8(to, 0);
}

/* --- members in either format --- */

static void put_label(bool avro, const char *label, Bytes *to)
{
    if (!avro)
        scalar_put_text(to, label);
}

static void put_text(bool avro, const char *text, Bytes *to)
{
    if (avro)
        avro_put_span(to, text, strlen(text));
    else
        scalar_json_string(to, text, strlen(text));
}

static void put_integer(bool avro, int64_t value, Bytes *to)
{
    if (avro)
        bytes_put_zigzag(to, value);
    else
        scalar_put_i64(to, value);
}

/* Of an optional member. */
static void put_there(bool avro, Bytes *to)
{
    if (avro)
        bytes_put_u8(to, BRANCH_THERE);
}

static void put_null(bool avro, Bytes *to)
{
    if (avro)
        bytes_put_u8(to, BRANCH_NULL);
    else
        scalar_put_text(to, "null");
}

/* --- the block `source` --- */

void source_block_done(SourceBlock *block)
{
    bytes_done(&block->name);
    bytes_done(&block->database);
    bytes_done(&block->table);
    bytes_done(&block->head);
    bytes_done(&block->last);
    bytes_done(&block->middle);
    bytes_done(&block->tail);
}

void source_block_init(SourceBlock *block, bool avro, const char *version, const char *connector,
                       const char *database, const char *schema_name, const char *table_name)
{
    *block = (SourceBlock){.avro = avro};
    put_label(avro, ",\"source\":{\"version\":", &block->name);
    put_text(avro, version, &block->name);
    put_label(avro, ",\"connector\":", &block->name);
    put_text(avro, "postgresql", &block->name);
    put_label(avro, ",\"name\":", &block->name);
    put_text(avro, connector, &block->name);
    put_label(avro, ",\"ts_ms\":", &block->name);
    put_label(avro, ",\"db\":", &block->database);
    put_text(avro, database, &block->database);
    put_label(avro, ",\"sequence\":\"", &block->database);
    put_there(avro, &block->database);
    put_label(avro, ",\"schema\":", &block->table);
    put_text(avro, schema_name, &block->table);
    put_label(avro, ",\"table\":", &block->table);
    put_text(avro, table_name, &block->table);
    put_label(avro, ",\"txId\":", &block->table);
}

static const char *const snapshots[] = {
    "false", "true",       "first", "first_in_data_collection", "last_in_data_collection",
    "last",  "incremental"};

static void take_transaction(SourceBlock *block, const TransactionOrigin *transaction,
                             TopicSnapshot snapshot)
{
    bool avro = block->avro;
    int64_t us = transaction->commit_us;
    block->transaction = transaction;
    block->snapshot = snapshot;
    Bytes *head = &block->head, *middle = &block->middle, *tail = &block->tail;
    bytes_clear(head);
    bytes_clear(middle);
    bytes_clear(tail);
    bytes_clear(&block->last);
    bytes_put(head, block->name.data, block->name.used);
    put_integer(avro, scalar_floor(us, 1000), head);
    put_label(avro, ",\"snapshot\":", head);
    if (avro)
        bytes_put_u8(head, 0); /* its union has the text first, because of the default */
    put_text(avro, snapshots[snapshot], head);
    bytes_put(head, block->database.data, block->database.used);
    const char *quote = avro ? "\"" : "\\\"";
    scalar_put_text(&block->last, "[");
    if (transaction->last_commit_lsn) {
        scalar_put_text(&block->last, quote);
        scalar_put_u64(&block->last, transaction->last_commit_lsn);
        scalar_put_text(&block->last, quote);
    } else {
        scalar_put_text(&block->last, "null");
    }
    scalar_put_text(&block->last, ",");
    put_label(avro, "\",\"ts_us\":", middle);
    put_there(avro, middle);
    put_integer(avro, us, middle);
    put_label(avro, ",\"ts_ns\":", middle);
    put_there(avro, middle);
    put_integer(avro, us * 1000, middle);
    bytes_put(middle, block->table.data, block->table.used);
    if (transaction->id && snapshot != TOPIC_SNAPSHOT_INCREMENTAL) {
        put_there(avro, middle);
        put_integer(avro, (int64_t)transaction->id, middle);
    } else {
        put_null(avro, middle);
    }
    put_label(avro, ",\"lsn\":", middle);
    put_label(avro, ",\"xmin\":", tail);
    put_null(avro, tail);
    put_label(avro, ",\"origin\":", tail);
    if (transaction->origin) {
        put_there(avro, tail);
        put_text(avro, transaction->origin, tail);
    } else {
        put_null(avro, tail);
    }
    put_label(avro, ",\"origin_lsn\":", tail);
    if (transaction->origin) {
        put_there(avro, tail);
        put_integer(avro, (int64_t)transaction->origin_lsn, tail);
    } else {
        put_null(avro, tail);
    }
    put_label(avro, "},\"transaction\":", tail);
}

void source_block_put(SourceBlock *block, const TransactionOrigin *transaction, uint64_t lsn,
                      TopicSnapshot snapshot, Bytes *to)
{
    if (UNLIKELY(block->transaction != transaction || block->snapshot != snapshot))
        take_transaction(block, transaction, snapshot);
    char text[SCALAR_I64_BYTES + 8]; /* "123"] */
    unsigned digits = scalar_u64(text + 2, lsn), from = 0, end;
    if (UNLIKELY(!lsn)) {
        static const char none[] = {'n', 'u', 'l', 'l', ']'};
        memcpy(text, none, sizeof none);
        end = sizeof none;
    } else if (block->avro) {
        text[from = 1] = '"';
        text[2 + digits] = '"';
        text[3 + digits] = ']';
        end = 4 + digits;
    } else {
        static const char quote[] = {'\\', '"', ']'};
        memcpy(text, quote, 2);
        memcpy(text + 2 + digits, quote, sizeof quote);
        end = 5 + digits;
    }
    bytes_put(to, block->head.data, block->head.used);
    if (block->avro)
        bytes_put_zigzag(to, (int64_t)(block->last.used + end - from));
    bytes_put(to, block->last.data, block->last.used);
    bytes_put(to, text + from, end - from);
    bytes_put(to, block->middle.data, block->middle.used);
    if (UNLIKELY(!lsn || snapshot == TOPIC_SNAPSHOT_INCREMENTAL)) {
        put_null(block->avro, to);
    } else if (block->avro) {
        bytes_put_u8(to, BRANCH_THERE);
        bytes_put_zigzag(to, (int64_t)lsn);
    } else {
        bytes_put(to, text + 2, digits);
    }
    bytes_put(to, block->tail.data, block->tail.used);
}

/* --- the rest --- */

void transaction_block_put(bool avro, const TransactionOrigin *transaction, uint64_t lsn,
                           uint64_t total_order, uint64_t table_order, Bytes *to)
{
    if (!total_order) {
        put_null(avro, to);
        return;
    }
    char id[2 * SCALAR_I64_BYTES + 2];
    unsigned bytes = scalar_u64(id, transaction->id);
    id[bytes++] = ':';
    bytes += scalar_u64(id + bytes, lsn);
    id[bytes] = '\0';
    put_there(avro, to);
    put_label(avro, "{\"id\":", to);
    put_text(avro, id, to);
    put_label(avro, ",\"total_order\":", to);
    put_integer(avro, (int64_t)total_order, to);
    put_label(avro, ",\"data_collection_order\":", to);
    put_integer(avro, (int64_t)table_order, to);
    put_label(avro, "}", to);
}

void envelope_times(bool avro, int64_t now_us, Bytes *to)
{
    const int64_t times[] = {scalar_floor(now_us, 1000), now_us, now_us * 1000};
    static const char *const labels[] = {",\"ts_ms\":", ",\"ts_us\":", ",\"ts_ns\":"};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        put_label(avro, labels[i], to);
        put_there(avro, to);
        put_integer(avro, times[i], to);
    }
    put_label(avro, "}", to);
}

ConnectSchema *envelope_schema(Arena *arena, const char *name, const ConnectSchema *value)
{
    ConnectSchema *schema = connect_struct(arena, name, 2, 8);
    ConnectSchema *fields = schema->children;
    fields[0] = fields[1] = *value;
    fields[0].field = "before";
    fields[1].field = "after";
    fields[0].optional = fields[1].optional = true;
    fields[2] = connect_source_schema(arena);
    fields[3] = connect_transaction_schema(arena);
    fields[4] = connect_field(CONNECT_STRING, "op", false);
    fields[5] = connect_field(CONNECT_INT64, "ts_ms", true);
    fields[6] = connect_field(CONNECT_INT64, "ts_us", true);
    fields[7] = connect_field(CONNECT_INT64, "ts_ns", true);
    return schema;
}
