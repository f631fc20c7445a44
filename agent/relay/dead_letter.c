/* Records that could not be written as they should go to the topic "<prefix>.firn-dead-letters", as
 * agent/topic/letter.h has them: one that is larger than its topic takes, as it would have been
 * written; a row with a value that the chosen representation can't hold, as JSON with its decimals
 * as text. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "agent/topic/letter.h"
#include "agent/topic/partition.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

/* The topic of dead letters is declared as the tables' are, and takes what they take. */
static void put_letter(RelayFlow *flow, const RelayTopic *topic, const Letter *letter,
                       TopicRecords *to)
{
    AUTO(mem_free) char *name = letter_name(letter);
    letter_put(letter, topic->record_bytes_max, to);
    metric_add(flow->relay->metrics.dead_letters, 1);
    log_warn("a record can't be written as it should: it is among the dead letters",
             LOG_T("topic", letter->topic), LOG_T("key", name), LOG_T("reason", letter->why->code),
             LOG_T("error", letter->why->message), LOG_U("bytes", letter->value_bytes));
}

bool relay_letters_open(RelayFlow *flow, Error *err)
{
    if (flow->dead_letters.name)
        return true;
    AUTO(mem_free) char *name = mem_format("%s.firn-dead-letters", flow->stream->topic_prefix);
    return relay_topic_open(flow, name, USE_CONNECTOR, &flow->dead_letters, err) ||
           error_wrap(err, "dead letters");
}

/* ---------- too large ---------- */
bool relay_dead_letter(RelayFlow *flow, const Outbox *box, const KafkaRecord *record,
                       const Error *why, Error *err)
{
    const RelayTopic *topic = NULL;
    for (size_t i = 0; i < box->run_count && !topic; i++)
        if (box->runs[i].topic->kafka == record->topic)
            topic = box->runs[i].topic;
    ASSERT(topic);
    const Letter letter = {
        .topic = topic->name,
        .partition = (uint32_t)record->partition,
        .at = record->headers[0].name
                  ? topic_header_position(record->headers[0].value, record->headers[0].bytes)
                  : (RowPosition){0},
        .key = record->key,
        .value = record->value,
        .key_bytes = record->key_bytes,
        .value_bytes = record->value_bytes,
        .why = why};
    if (topic == &flow->dead_letters || topic == &flow->state_topic) {
        *err = *why; /* there is no other place for it */
        err->kind = ERROR_CONFIG;
        return false;
    }
    Outbox letters = {0};
    put_letter(flow, topic, &letter, outbox_to(&letters, &flow->dead_letters));
    /* the records of the flight that it was left out of are still to be sent */
    KafkaRecord *scratch = TAKE(flow->scratch);
    size_t held = flow->scratch_held;
    flow->scratch_held = 0;
    bool sent, ok = relay_hand_over(flow, &letters, true, &sent, err);
    free(flow->scratch);
    flow->scratch = scratch;
    flow->scratch_held = held;
    outbox_done(&letters);
    return ok;
}

/* ---------- values that can't be written ---------- */
bool relay_put_rows(RelayFlow *flow, Outbox *box, RelayTable *table, TopicTable *encoder,
                    const Batch *batch, const TopicSnapshot *snapshots, size_t bytes_max,
                    uint32_t *row, Error *err)
{
    Error why = {0};
    if (outbox_put_rows(box, &table->topic, encoder, batch, snapshots, bytes_max, row, &why))
        return true;
    *err = why;
    AUTO(topic_table_free) TopicTable *plain = NULL;
    AUTO(topic_records_done) TopicRecords records = {0};
    uint32_t end = *row;
    const TopicRows rows = {batch, batch->origins, snapshots, clock_wall_us()};
    if (why.kind != ERROR_DATA || !(plain = table_plain_encoder(flow, table, batch->schema, err)) ||
        !topic_encode(plain, &rows, &end, 1, &records, err))
        return false;
    TopicRecords *to = outbox_to(box, &flow->dead_letters);
    for (size_t i = 0; i < records.count; i++) {
        const TopicRecord *each = &records.items[i];
        const uint8_t *at = records.bytes.data;
        const Letter letter = {.topic = table->topic.name,
                               .partition = topic_partition(each->hash, table->topic.partitions),
                               .at = batch->positions[each->row],
                               .key = at + each->key.at,
                               .value = each->value.bytes ? at + each->value.at : NULL,
                               .key_bytes = each->key.bytes,
                               .value_bytes = each->value.bytes,
                               .why = &why};
        put_letter(flow, &table->topic, &letter, to);
    }
    *row = end;
    return true;
}
