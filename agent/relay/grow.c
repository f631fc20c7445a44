/* More partitions for a topic that has rows: keys go elsewhere from then on, and whoever reads has
 * to know from where. A barrier, at the beginning of a flow, when nothing is on its way and no row
 * has been sent: a marker behind the last record of every old partition (topic.h:
 * TOPIC_KIND_EPOCH); when all are acknowledged, the partitions; a marker as the first record of
 * each new one; when these are, the state. Only then rows go by the new number. Whatever fails in
 * between, the next flow does again: the markers are there twice, rows are not between them.
 *
 * The number that counts is the state's: partitions that somebody else adds are taken in by the
 * same barrier. A compacted topic keeps its number: the old partition would keep what the key had.
 */
#include "agent/relay/flow.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

static uint32_t wanted(const RelayFlow *flow, const RelayTable *table)
{
    return flow->stream->partitions > table->partitions_there ? flow->stream->partitions
                                                              : table->partitions_there;
}

static bool grow(RelayFlow *flow, RelayTable *table, uint32_t partitions, Error *err)
{
    if (table->partitions_there < partitions &&
        !kafka_topic_grow(kafka_producer_client(flow->producer), table->topic.name,
                          (int32_t)partitions, err))
        return error_wrap(err, "table %s", table->name);
    table->partitions_there = partitions;
    return true;
}

bool relay_partitions(RelayFlow *flow, RelayTable *table, bool known, Error *err)
{
    TableState *state = table->state;
    table->partitions_there = table->topic.partitions;
    if (!known || !state->partitions) { /* no rows of ours */
        if (!grow(flow, table, wanted(flow, table), err))
            return false;
        state->partitions = table->partitions_there;
    } else if (state->partitions > table->partitions_there && table->begins) {
        state->partitions = table->partitions_there;
    } else if (state->partitions > table->partitions_there) {
        return error_set(err, ERROR_CONFIG, "TopicDiffers",
                         "topic %s has %u partitions, and had %u: it was made anew, without its "
                         "records; load the table again with --resnapshot %s",
                         table->topic.name, table->partitions_there, state->partitions,
                         table->name);
    } else if (table->topic.keyed && wanted(flow, table) > state->partitions) {
        log_warn("a compacted topic keeps the partitions that its keys go to",
                 LOG_T("topic", table->topic.name), LOG_U("partitions", state->partitions),
                 LOG_U("wanted", wanted(flow, table)));
    }
    table->topic.partitions = state->partitions;
    return true;
}

static bool grows(const RelayFlow *flow, const RelayTable *table)
{
    return !table->topic.keyed && wanted(flow, table) > table->topic.partitions;
}

/* Acknowledged, and visible. */
static bool send_all(RelayFlow *flow, Error *err)
{
    return relay_send(flow, &flow->box, err) && (!flow->transactional || relay_commit(flow, err)) &&
           relay_settle(flow, err);
}

static void put_markers(RelayFlow *flow, RelayTable *table, uint32_t from)
{
    topic_encode_epoch(table->encoder, flow->durable, table->state->epoch + 1, wanted(flow, table),
                       from, outbox_to(&flow->box, &table->topic));
}

bool relay_grow(RelayFlow *flow, Error *err)
{
    bool any = false;
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        if (!grows(flow, table))
            continue;
        any = true;
        put_markers(flow, table, 0);
    }
    if (!any)
        return true;
    if (!send_all(flow, err))
        return false;
    CRASH_POINT("relay-epoch-marked");
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        if (!grows(flow, table))
            continue;
        uint32_t before = table->topic.partitions;
        if (!grow(flow, table, wanted(flow, table), err))
            return false;
        CRASH_POINT("relay-epoch-grown");
        table->topic.partitions = table->partitions_there;
        put_markers(flow, table, before);
    }
    if (!send_all(flow, err))
        return false;
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        TableState *state = table->state;
        if (state->partitions == table->topic.partitions)
            continue;
        state->epoch++;
        state->partitions = table->topic.partitions;
        state_put_table(state, outbox_to(&flow->box, &flow->state_topic));
        log_info("the topic has more partitions", LOG_T("topic", table->topic.name),
                 LOG_U("partitions", state->partitions), LOG_U("epoch", state->epoch));
    }
    CRASH_POINT("relay-epoch-new");
    return send_all(flow, err);
}
