/* What stands around a row: the block `transaction`, op and times (the block `source`: source.h);
 * and the framing of a record's key or value. */
#pragma once

#include "agent/topic/source.h"

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

/* --- the rest --- */

/* Debezium's name of a transaction: "<xid>:<lsn of the change>", the GTID, or "file=…,pos=…" where
 * it has none. Returns to. */
#define TRANSACTION_ID_BYTES 640
const char *transaction_id(TopicSource source, const TransactionOrigin *transaction, uint64_t lsn,
                           char to[TRANSACTION_ID_BYTES]);
/* The value of `transaction`: null when total_order is 0. */
void transaction_block_put(TopicSource source, bool avro, const TransactionOrigin *transaction,
                           uint64_t lsn, uint64_t total_order, uint64_t table_order, Bytes *to);
/* JSON: ,"ts_ms":…,"ts_us":…,"ts_ns":…} */
void envelope_times(bool avro, int64_t now_us, Bytes *to);

/* {before, after, source, transaction, op, ts_ms, ts_us, ts_ns} */
ConnectSchema *envelope_schema(Arena *arena, TopicSource source, const char *name,
                               const ConnectSchema *value);

/* Appends an empty one. */
TopicRecord *topic_record_add(TopicRecords *to);
