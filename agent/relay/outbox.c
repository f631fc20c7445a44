/* Records gathered, handed to Kafka as flights, and what comes of them. A flight may hold records
 * of several topics; whose they are is kept in runs. While Kafka takes nothing the source is
 * answered, and nothing is read: that is all the memory there is. */
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "agent/topic/partition.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

#define BLOCKED_MS 200
#define IDLE_US 200000
#define TRANSACTION_WAIT_MS 500

/* ---------- gathering ---------- */
void outbox_done(Outbox *box)
{
    topic_records_done(&box->records);
    free(box->runs);
    *box = (Outbox){0};
}

void outbox_clear(Outbox *box)
{
    topic_records_clear(&box->records);
    box->run_count = 0;
}

TopicRecords *outbox_to(Outbox *box, RelayTopic *topic)
{
    if (box->run_count && box->runs[box->run_count - 1].topic == topic)
        return &box->records;
    if (box->run_count == box->runs_held) {
        box->runs_held = box->runs_held ? box->runs_held * 2 : 8;
        box->runs = mem_regrow(box->runs, box->runs_held, sizeof *box->runs);
    }
    box->runs[box->run_count++] = (OutboxRun){box->records.count, topic};
    return &box->records;
}

bool outbox_put_rows(Outbox *box, RelayTopic *topic, TopicTable *encoder, const Batch *batch,
                     const TopicSnapshot *snapshots, size_t bytes_max, uint32_t *row, Error *err)
{
    const TopicRows all = {batch, batch->origins, snapshots, clock_wall_us()};
    return topic_encode(encoder, &all, row, bytes_max, outbox_to(box, topic), err);
}

void outbox_put_emptied(Outbox *box, RelayTable *table, const TransactionOrigin *transaction,
                        const RowOrigin *row, RowPosition at)
{
    topic_encode_truncate(table->encoder, transaction, row, at, table->topic.partitions,
                          clock_wall_us(), outbox_to(box, &table->topic));
}

/* ---------- handing over ---------- */
static uint32_t copies_of(const TopicRecord *record, const RelayTopic *topic)
{
    ASSERT(!record->everywhere || record->everywhere_from < topic->partitions);
    return record->everywhere ? topic->partitions - record->everywhere_from : 1;
}

static size_t kafka_records_count(const Outbox *box)
{
    size_t count = 0;
    for (size_t run = 0; run < box->run_count; run++) {
        size_t end = run + 1 < box->run_count ? box->runs[run + 1].first : box->records.count;
        for (size_t i = box->runs[run].first; i < end; i++)
            count += copies_of(&box->records.items[i], box->runs[run].topic);
    }
    return count;
}

static const void *bytes_at(const Outbox *box, TopicSpan span)
{
    return span.bytes ? box->records.bytes.data + span.at : NULL;
}

static KafkaRecord kafka_record(const Outbox *box, const TopicRecord *record,
                                const RelayTopic *topic)
{
    KafkaRecord to = {.topic = topic->kafka,
                      .key = bytes_at(box, record->key),
                      .value = bytes_at(box, record->value),
                      .key_bytes = (uint32_t)record->key.bytes,
                      .value_bytes = (uint32_t)record->value.bytes,
                      .partition = (int32_t)topic_partition(record->hash, topic->partitions)};
    size_t headers = 0;
    if (record->header.bytes)
        to.headers[headers++] = (KafkaHeader){TOPIC_HEADER, bytes_at(box, record->header),
                                              (uint32_t)record->header.bytes};
    if (record->other_name)
        to.headers[headers++] = (KafkaHeader){record->other_name, bytes_at(box, record->other),
                                              (uint32_t)record->other.bytes};
    return to;
}

/* As Kafka wants them, in flow->scratch. */
static size_t address(RelayFlow *flow, const Outbox *box)
{
    size_t count = kafka_records_count(box), at = 0;
    if (count > flow->scratch_held) {
        flow->scratch_held = count * 2;
        free(flow->scratch);
        flow->scratch = mem_array(flow->scratch_held, sizeof *flow->scratch);
    }
    for (size_t run = 0; run < box->run_count; run++) {
        const RelayTopic *topic = box->runs[run].topic;
        size_t end = run + 1 < box->run_count ? box->runs[run + 1].first : box->records.count;
        for (size_t i = box->runs[run].first; i < end; i++) {
            const TopicRecord *record = &box->records.items[i];
            KafkaRecord to = kafka_record(box, record, topic);
            for (uint32_t copy = 0; copy < copies_of(record, topic); copy++) {
                if (record->everywhere)
                    to.partition = (int32_t)(record->everywhere_from + copy);
                flow->scratch[at++] = to;
            }
        }
    }
    ASSERT(at == count);
    return count;
}

/* What each record is of is known by its place alone: leaving one out keeps the others'. */
static bool leave_out(RelayFlow *flow, const Outbox *box, size_t *count, uint64_t index,
                      const Error *why, Error *err)
{
    ASSERT(index < *count);
    if (!relay_dead_letter(flow, box, &flow->scratch[index], why, err))
        return false;
    memmove(flow->scratch + index, flow->scratch + index + 1,
            (*count - index - 1) * sizeof *flow->scratch);
    (*count)--;
    return true;
}

bool relay_idle(RelayFlow *flow, Error *err)
{
    int64_t now_us = clock_mono_us();
    if (now_us - flow->idle_us < IDLE_US)
        return true;
    flow->idle_us = now_us;
    relay_show(flow);
    if (!relay_check_stalled(flow, err))
        return false;
    return !flow->holds || capture_idle(flow->capture, err);
}

bool relay_send(RelayFlow *flow, Outbox *box, Error *err)
{
    bool sent;
    if (flow->spooled && box->records.count)
        return relay_spool_put(flow, box, err);
    return relay_hand_over(flow, box, true, &sent, err);
}

bool relay_hand_over(RelayFlow *flow, Outbox *box, bool waits, bool *ret_sent, Error *err)
{
    *ret_sent = true;
    if (!box->records.count) {
        outbox_clear(box);
        return true;
    }
    if (flow->transactional && !flow->in_transaction) {
        if (!kafka_producer_begin(flow->producer, err))
            return false;
        flow->in_transaction = true;
        flow->transaction_us = clock_mono_us();
        flow->transaction_bytes = 0;
    }
    for (size_t run = 0; run < box->run_count; run++)
        if (box->runs[run].topic == &flow->dead_letters && !relay_letters_open(flow, err))
            return false;
    size_t count = address(flow, box), bytes = box->records.bytes.used;
    while (count) {
        uint64_t number;
        KafkaSent sent = kafka_producer_send(flow->producer, &box->records.bytes, flow->scratch,
                                             count, waits ? BLOCKED_MS : 0, &number, err);
        if (sent == KAFKA_SENT) {
            flow->sent = number;
            break;
        }
        if (sent == KAFKA_FAILED) {
            Error why = *err;
            if (why.kind != ERROR_DATA || !leave_out(flow, box, &count, number, &why, err))
                return false;
        } else if (!waits) {
            *ret_sent = false;
            return true;
        } else if (!relay_idle(flow, err)) {
            return false;
        }
    }
    flow->transaction_bytes += bytes;
    outbox_clear(box);
    return true;
}

/* ---------- what became of it ---------- */
bool relay_acknowledge(RelayFlow *flow, Error *err)
{
    uint64_t number;
    bool ok = kafka_producer_wait(flow->producer, flow->acknowledged, 0, &number, err);
    if (number > flow->acknowledged && !flow->transactional)
        CRASH_POINT("relay-acknowledged");
    flow->acknowledged = number;
    while (flow->point_count && flow->points[flow->point_head].flight <= number) {
        flow->durable = flow->points[flow->point_head].at;
        flow->point_head = (flow->point_head + 1) % POINTS_MAX;
        flow->point_count--;
    }
    return ok;
}

bool relay_settle(RelayFlow *flow, Error *err)
{
    while (flow->acknowledged < flow->sent) {
        uint64_t number;
        if (!kafka_producer_wait(flow->producer, flow->acknowledged, BLOCKED_MS, &number, err) ||
            !relay_acknowledge(flow, err) || !relay_idle(flow, err))
            return false;
    }
    return relay_acknowledge(flow, err);
}

bool relay_commit(RelayFlow *flow, Error *err)
{
    ASSERT(flow->transactional);
    if (!flow->in_transaction)
        return true;
    CRASH_POINT("relay-before-commit");
    for (int64_t since_us = clock_mono_us();;) {
        Error why = {0};
        if (kafka_producer_commit(flow->producer, TRANSACTION_WAIT_MS, &why))
            break;
        if (why.kind != ERROR_RETRY || strcmp(why.code, "KafkaBusy") != 0) {
            *err = why;
            return false;
        }
        if (!relay_idle(flow, err) || !relay_check_commit(flow, clock_mono_us() - since_us, err))
            return false;
    }
    CRASH_POINT("relay-committed");
    flow->in_transaction = false;
    flow->transactions++;
    metric_add(flow->relay->metrics.transactions, 1);
    return relay_acknowledge(flow, err);
}
