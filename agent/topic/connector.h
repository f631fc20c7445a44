/* Records that belong to no table: heartbeats, transactions' beginnings and ends, logical messages,
 * statements that change tables. Topics: "__debezium-heartbeat.<connector>",
 * "<connector>.transaction", "<connector>.message", "<connector>". The last is MySQL's and
 * MariaDB's alone: PostgreSQL's log has no statements, and Debezium no such topic for it. */
#pragma once

#include "agent/record/statement.h"
#include "agent/topic/topic.h"

typedef enum ConnectorTopic {
    CONNECTOR_HEARTBEAT,
    CONNECTOR_TRANSACTION,
    CONNECTOR_MESSAGE,
    CONNECTOR_STATEMENT,
    CONNECTOR_TOPICS, /* how many there are */
} ConnectorTopic;

/* Caller frees. */
char *connector_topic_name(ConnectorTopic topic, const char *connector) OWNED_BY(free);

typedef struct ConnectorRecords ConnectorRecords; /* of one of these topics */
void connector_records_free(ConnectorRecords *records);
/* connector: Debezium's topic.prefix. Everything is copied. */
ConnectorRecords *connector_records_new(ConnectorTopic topic, const char *connector,
                                        const char *database, const TopicOptions *options)
    OWNED_BY(connector_records_free);
const char *connector_key_schema(const ConnectorRecords *records); /* as topic_table_key_schema */
const char *connector_value_schema(const ConnectorRecords *records);
void connector_set_ids(ConnectorRecords *records, uint32_t key_id, uint32_t value_id);

void connector_heartbeat(ConnectorRecords *records, int64_t now_us, TopicRecords *to);

typedef struct TransactionCount {
    const char *table; /* "public.orders" */
    uint64_t rows;
} TransactionCount;
/* lsn: of the first change, or of the commit; ended: with the counts. Debezium's id is
 * "<xid>:<lsn>", another one at the end than at the beginning. */
void connector_transaction(ConnectorRecords *records, const TransactionOrigin *transaction,
                           uint64_t lsn, bool ended, const TransactionCount *counts,
                           size_t count_count, TopicRecords *to);
/* pg_logical_emit_message: op m. Of the row: lsn and orders. */
void connector_message(ConnectorRecords *records, const TransactionOrigin *transaction,
                       const RowOrigin *row, const char *prefix, const void *content,
                       size_t content_bytes, int64_t now_us, TopicRecords *to);
/* A statement of the log, with the columns that its tables have then. Of the row: lsn. */
void connector_statement(ConnectorRecords *records, const TransactionOrigin *transaction,
                         const RowOrigin *row, const Statement *statement, TopicSnapshot snapshot,
                         int64_t now_us, TopicRecords *to);

DEFINE_AUTO(ConnectorRecords, connector_records_free);
