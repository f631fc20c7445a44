/* Records that belong to no table: heartbeats, and what was written into the source's log as it is
 * (PostgreSQL: pg_logical_emit_message). In topics of their own, as Debezium's. */
#include <stdlib.h>

#include "agent/relay/flow.h"
#include "common/clock.h"
#include "common/mem.h"

static bool open_topic(RelayFlow *flow, ConnectorTopic which, OtherTopic *to, Error *err)
{
    const char *prefix = flow->stream->topic_prefix;
    AUTO(mem_free) char *name = connector_topic_name(which, prefix);
    if (!relay_topic_open(flow, name, USE_CONNECTOR, &to->topic, err))
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
    const RecordsSpec *wanted = &flow->stream->records;
    return (!wanted->heartbeats || open_topic(flow, CONNECTOR_HEARTBEAT, &flow->heartbeats, err)) &&
           (!wanted->transactions ||
            open_topic(flow, CONNECTOR_TRANSACTION, &flow->transactions_topic, err)) &&
           (!wanted->messages || open_topic(flow, CONNECTOR_MESSAGE, &flow->messages, err));
}

void relay_others_close(RelayFlow *flow)
{
    OtherTopic *const all[] = {&flow->heartbeats, &flow->messages, &flow->transactions_topic};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        connector_records_free(all[i]->records);
        free(all[i]->topic.name);
    }
}

void relay_put_message(RelayFlow *flow, const Change *change)
{
    const LogMessage *message = change->message;
    const RowOrigin row = relay_origin(change);
    TransactionOrigin origin = change->transaction;
    if (!flow->messages.records)
        return;
    if (!message->transactional)
        origin.commit_us = clock_wall_us(); /* the log does not say when */
    relay_count_message(flow, change);
    connector_message(flow->messages.records, &origin, &row, message->prefix, message->content,
                      message->bytes, clock_wall_us(),
                      outbox_to(&flow->box, &flow->messages.topic));
}

void relay_put_heartbeat(RelayFlow *flow)
{
    int64_t now_us = clock_mono_us();
    if (!flow->heartbeats.records || now_us < flow->heartbeat_us)
        return;
    flow->heartbeat_us = now_us + flow->relay->base.connector->heartbeat_interval_ms * 1000;
    connector_heartbeat(flow->heartbeats.records, clock_wall_us(),
                        outbox_to(&flow->box, &flow->heartbeats.topic));
}
