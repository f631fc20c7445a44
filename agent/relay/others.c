/* Records that belong to no table: heartbeats, what was written into the source's log as it is
 * (PostgreSQL: pg_logical_emit_message), and its statements that change tables (MySQL, MariaDB). In
 * topics of their own, as Debezium's. */
#include <stdlib.h>

#include "agent/relay/flow.h"
#include "common/clock.h"
#include "common/mem.h"

static bool open_topic(RelayFlow *flow, ConnectorTopic which, OtherTopic *to, Error *err)
{
    const char *prefix = flow->stream->topic_prefix;
    AUTO(mem_free) char *name = connector_topic_name(which, prefix);
    if (!relay_topic_open(flow, name, which == CONNECTOR_STATEMENT ? USE_STATEMENTS : USE_CONNECTOR,
                          &to->topic, err))
        return false;
    to->records =
        connector_records_new(which, prefix, flow->relay->base.connector->database, &flow->options);
    if (!flow->registry)
        return true;
    uint32_t key_id, value_id;
    AUTO(mem_free) char *key = mem_format("%s-key", name);
    AUTO(mem_free) char *value = mem_format("%s-value", name);
    if (!registry_register(flow->registry, key, connector_key_schema(to->records), &key_id, err) ||
        !registry_register(flow->registry, value, connector_value_schema(to->records), &value_id,
                           err))
        return error_wrap(err, "topic %s", name);
    connector_set_ids(to->records, key_id, value_id);
    return true;
}

bool relay_others_open(RelayFlow *flow, Error *err)
{
    const RecordsSpec *asked = &flow->stream->records;
    bool has_statements = flow->relay->base.connector->source_type != SOURCE_POSTGRESQL;
    const bool wanted[CONNECTOR_TOPICS] = {[CONNECTOR_HEARTBEAT] = asked->heartbeats,
                                           [CONNECTOR_TRANSACTION] = asked->transactions,
                                           [CONNECTOR_MESSAGE] = asked->messages,
                                           [CONNECTOR_STATEMENT] =
                                               asked->schema_changes && has_statements};
    for (int i = 0; i < CONNECTOR_TOPICS; i++)
        if (wanted[i] && !open_topic(flow, (ConnectorTopic)i, &flow->others[i], err))
            return false;
    return true;
}

void relay_others_close(RelayFlow *flow)
{
    for (size_t i = 0; i < CONNECTOR_TOPICS; i++) {
        connector_records_free(flow->others[i].records);
        free(flow->others[i].topic.name);
    }
}

void relay_put_message(RelayFlow *flow, const Change *change)
{
    const LogMessage *message = change->message;
    const RowOrigin row = relay_origin(change);
    TransactionOrigin origin = change->transaction;
    if (!flow->others[CONNECTOR_MESSAGE].records)
        return;
    if (!message->transactional)
        origin.commit_us = clock_wall_us(); /* the log does not say when */
    relay_count_message(flow, change);
    connector_message(flow->others[CONNECTOR_MESSAGE].records, &origin, &row, message->prefix,
                      message->content, message->bytes, clock_wall_us(),
                      outbox_to(&flow->box, &flow->others[CONNECTOR_MESSAGE].topic));
}

void relay_put_heartbeat(RelayFlow *flow)
{
    int64_t now_us = clock_mono_us();
    if (!flow->others[CONNECTOR_HEARTBEAT].records || now_us < flow->heartbeat_us)
        return;
    flow->heartbeat_us = now_us + flow->relay->base.connector->heartbeat_interval_ms * 1000;
    connector_heartbeat(flow->others[CONNECTOR_HEARTBEAT].records, clock_wall_us(),
                        outbox_to(&flow->box, &flow->others[CONNECTOR_HEARTBEAT].topic));
}

void relay_put_statement(RelayFlow *flow, const Change *change, TopicSnapshot snapshot)
{
    OtherTopic *to = &flow->others[CONNECTOR_STATEMENT];
    const RowOrigin row = relay_origin(change);
    connector_statement(to->records, &change->transaction, &row, change->statement, snapshot,
                        clock_wall_us(), outbox_to(&flow->box, &to->topic));
}

bool relay_put_definition(RelayFlow *flow, const RelayTable *table, Error *err)
{
    Change change;
    if (!flow->others[CONNECTOR_STATEMENT].records)
        return true;
    if (!capture_definition(flow->capture, table->number, &change, err))
        return false;
    relay_put_statement(flow, &change, TOPIC_SNAPSHOT_TRUE);
    change_done(&change);
    return true;
}
