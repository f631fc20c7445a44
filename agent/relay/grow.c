/* More partitions for a topic that has rows: keys go elsewhere from then on, and whoever reads has
 * to know from where. So a barrier, at a place of the log up to which all rows are acknowledged,
 * and none behind it was sent, by nobody (an earlier flow may have sent more than is known of: the
 * log is read to where it ended when this one began). The state says that it begins, and where, so
 * that rows of before never come again; a marker stands behind the last record of every old
 * partition (topic.h: TOPIC_KIND_EPOCH); when all are acknowledged, the partitions are made; a
 * marker is the first record of each new one; when these are acknowledged, the state. Only then
 * rows go by the new number. Whatever fails in between, the next flow does again before anything
 * else: the markers are there twice, rows are not between them.
 *
 * The number that counts is the state's: partitions that somebody else adds are taken in by the
 * same barrier. A compacted topic keeps its number: the old partition would keep what the key had.
 */
#include <stdlib.h>

#include "agent/relay/flow.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

static uint32_t wanted(const RelayFlow *flow, const RelayTable *table)
{
    return flow->stream->partitions > table->partitions_there ? flow->stream->partitions
                                                              : table->partitions_there;
}

static bool make(RelayFlow *flow, RelayTable *table, uint32_t partitions, Error *err)
{
    if (table->partitions_there < partitions &&
        !kafka_topic_grow(kafka_producer_client(flow->producer), table->topic.name,
                          (int32_t)partitions, err))
        return error_wrap(err, "table %s", table->name);
    if (table->partitions_there < partitions)
        table->partitions_there = partitions;
    return true;
}

bool relay_partitions(RelayFlow *flow, RelayTable *table, bool known, Error *err)
{
    TableState *state = table->state;
    table->partitions_there = table->topic.partitions;
    if (!known || !state->partitions) { /* no rows of ours */
        if (!make(flow, table, wanted(flow, table), err))
            return false;
        table_state_partitions(state, table->partitions_there);
    } else if (state->partitions > table->partitions_there && table->begins) {
        table_state_partitions(state, table->partitions_there);
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

static bool wants_more(const RelayFlow *flow, const RelayTable *table)
{
    return !table->topic.keyed && wanted(flow, table) > table->topic.partitions;
}

/* Nothing is to be done twice at one place: two barriers could not be told apart. */
static bool is_due(const RelayFlow *flow, const RelayTable *table)
{
    return wants_more(flow, table) &&
           row_position_compare(flow->recorded, table_state_acknowledged(table->state)) > 0;
}

/* Acknowledged, and visible. */
static bool send_all(RelayFlow *flow, Error *err)
{
    return relay_send(flow, &flow->box, err) && (!flow->transactional || relay_commit(flow, err)) &&
           relay_settle(flow, err);
}

static void put_markers(RelayFlow *flow, RelayTable *table, uint32_t from)
{
    const TableState *state = table->state;
    topic_encode_epoch(table->encoder, state->grows_at, (uint32_t)state->grown_count + 1,
                       state->grows, from, outbox_to(&flow->box, &table->topic));
}

/* Behind the markers; of a transaction its end is a record, too. */
static bool find_ends(RelayFlow *flow, RelayTable *table, uint64_t *ends, Error *err)
{
    uint32_t count = table->topic.partitions;
    if (!kafka_topic_ends(kafka_producer_client(flow->producer), table->topic.name, count, ends,
                          err))
        return error_wrap(err, "table %s", table->name);
    for (uint32_t i = 0; i < count; i++)
        ends[i] -= flow->transactional && ends[i];
    return true;
}

static bool mark_old(RelayFlow *flow, uint64_t **ends, Error *err)
{
    for (size_t i = 0; i < flow->table_count; i++)
        if (flow->tables[i].state->grows)
            put_markers(flow, &flow->tables[i], 0);
    if (!send_all(flow, err))
        return false;
    CRASH_POINT("relay-epoch-marked");
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        if (!table->state->grows)
            continue;
        ends[i] = mem_array(table->topic.partitions, sizeof **ends);
        if (!find_ends(flow, table, ends[i], err))
            return false;
    }
    return true;
}

static bool mark_new(RelayFlow *flow, Error *err)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        uint32_t before = table->topic.partitions, after = table->state->grows;
        if (!after)
            continue;
        if (!make(flow, table, after, err))
            return false;
        CRASH_POINT("relay-epoch-grown");
        table->topic.partitions = after;
        put_markers(flow, table, before);
    }
    return send_all(flow, err);
}

static bool grow(RelayFlow *flow, uint64_t **ends, Error *err)
{
    if (!mark_old(flow, ends, err) || !mark_new(flow, err))
        return false;
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        TableState *state = table->state;
        if (!state->grows)
            continue;
        table_state_grown(state, TAKE(ends[i]));
        state_put_table(state, outbox_to(&flow->box, &flow->state_topic));
        log_info("the topic has more partitions", LOG_T("topic", table->topic.name),
                 LOG_U("partitions", state->partitions), LOG_U("epoch", state->grown_count));
    }
    CRASH_POINT("relay-epoch-new");
    return send_all(flow, err);
}

bool relay_grow_on(RelayFlow *flow, Error *err)
{
    bool any = false;
    for (size_t i = 0; i < flow->table_count; i++)
        any = any || flow->tables[i].state->grows;
    if (!any)
        return true;
    if (flow->spooled)
        return error_set(err, ERROR_RETRY, "PartitionsPending",
                         "topics were getting more partitions when the agent ended, and Kafka does "
                         "not answer: no row may come before that is done, not even in the spool");
    uint64_t **ends = mem_array(flow->table_count, sizeof *ends);
    bool ok = grow(flow, ends, err);
    for (size_t i = 0; i < flow->table_count; i++)
        free(ends[i]);
    free(ends);
    return ok;
}

bool relay_grows(const RelayFlow *flow)
{
    for (size_t i = 0; i < flow->table_count; i++)
        if (wants_more(flow, &flow->tables[i]))
            return true;
    return false;
}

bool relay_grow(RelayFlow *flow, Error *err)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        if (!is_due(flow, table))
            continue;
        table->state->grows = wanted(flow, table);
        table->state->grows_at = flow->recorded;
        state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
    }
    return send_all(flow, err) && relay_grow_on(flow, err) && relay_spool_know(flow, err);
}
