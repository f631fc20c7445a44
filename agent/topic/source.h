/* The block `source` of an envelope: where a row comes from, as the Debezium connector for that
 * kind of source says it. source.c dispatches and has PostgreSQL's, source_mysql.c MySQL's and
 * MariaDB's. Constant parts are made once, those of a transaction when it changes. */
#pragma once

#include "agent/topic/connect_schema.h"

typedef struct SourceBlock {
    TopicSource source;
    bool avro;
    Bytes name;     /* version, connector, name, and what leads to ts_ms */
    Bytes database; /* … to sequence; MySQL: to ts_us */
    Bytes table;    /* schema and table, … to txId; MySQL: … to server_id */
    /* Of the transaction that was put last: */
    const TransactionOrigin *transaction;
    TopicSnapshot snapshot;
    Bytes head;   /* to the LSN in sequence; Avro: to the sequence's length; MySQL: to pos */
    Bytes last;   /* PostgreSQL: the sequence's first part: [null, or ["123", */
    Bytes middle; /* PostgreSQL: to lsn */
    Bytes tail;
} SourceBlock;
void source_block_done(SourceBlock *block);
void source_block_init(SourceBlock *block, TopicSource source, bool avro, const char *version,
                       const char *connector, const char *database, const char *schema_name,
                       const char *table_name);
/* What was put last may have changed. */
static inline void source_block_forget(SourceBlock *block)
{
    block->transaction = NULL;
}
#define SOURCE_LABEL ",\"source\":"
#define SOURCE_NEXT ",\"transaction\":"
/* JSON: from SOURCE_LABEL to SOURCE_NEXT. */
void source_block_put(SourceBlock *block, const TransactionOrigin *transaction,
                      const RowOrigin *row, TopicSnapshot snapshot, Bytes *to);

ConnectSchema source_schema(Arena *arena, TopicSource source);

/* Debezium's name of the connector: "postgresql". */
const char *source_name(TopicSource source);
/* In its file, of a place of the binlog. */
static inline uint64_t source_place_offset(uint64_t place)
{
    return place & ((UINT64_C(1) << PLACE_OFFSET_BITS) - 1);
}

/* --- between source.c and source_mysql.c --- */
extern const char *const source_snapshots[]; /* by TopicSnapshot */
void source_mysql_init(SourceBlock *block, const char *database, const char *table_name);
void source_mysql_put(SourceBlock *block, const TransactionOrigin *transaction,
                      const RowOrigin *row, TopicSnapshot snapshot, Bytes *to);
