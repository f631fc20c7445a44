/* What stands around a row: the block `source`, the block `transaction`, op and times; and the
 * framing of a record's key or value. Constant parts are made once, those of a transaction when it
 * changes. */
#pragma once

#include "agent/topic/connect_schema.h"

/* --- framing --- */

/* The bytes before and behind a record's key or value. */
typedef struct Frame {
    Bytes open, close;
} Frame;
void frame_done(Frame *frame);
/* schema: the text; only looked at by TOPIC_JSON_WITH_SCHEMA. */
void frame_init(Frame *frame, TopicFormat format, const char *schema);
void frame_set_id(Frame *frame, uint32_t id); /* TOPIC_AVRO */
/* The schema's text in its format, with a NUL. */
void envelope_schema_text(TopicFormat format, const ConnectSchema *schema, Bytes *to);

/* --- the block `source` --- */

typedef struct SourceBlock {
    bool avro;
    Bytes name;     /* version, connector, name, and what leads to ts_ms */
    Bytes database; /* … to sequence */
    Bytes table;    /* schema and table, … to txId */
    /* Of the transaction that was put last: */
    const TransactionOrigin *transaction;
    TopicSnapshot snapshot;
    Bytes head;   /* to the LSN in sequence; Avro: to the sequence's length */
    Bytes last;   /* the sequence's first part: [null, or ["123", */
    Bytes middle; /* to lsn */
    Bytes tail;
} SourceBlock;
void source_block_done(SourceBlock *block);
void source_block_init(SourceBlock *block, bool avro, const char *version, const char *connector,
                       const char *database, const char *schema_name, const char *table_name);
/* What was put last may have changed. */
static inline void source_block_forget(SourceBlock *block)
{
    block->transaction = NULL;
}
/* JSON: from ,"source": to ,"transaction": */
void source_block_put(SourceBlock *block, const TransactionOrigin *transaction, uint64_t lsn,
                      TopicSnapshot snapshot, Bytes *to);

/* --- the rest --- */

/* The value of `transaction`: null when total_order is 0. */
void transaction_block_put(bool avro, const TransactionOrigin *transaction, uint64_t lsn,
                           uint64_t total_order, uint64_t table_order, Bytes *to);
/* JSON: ,"ts_ms":…,"ts_us":…,"ts_ns":…} */
void envelope_times(bool avro, int64_t now_us, Bytes *to);

/* {before, after, source, transaction, op, ts_ms, ts_us, ts_ns} */
ConnectSchema *envelope_schema(Arena *arena, const char *name, const ConnectSchema *value);

/* Appends an empty one. */
TopicRecord *topic_record_add(TopicRecords *to);
