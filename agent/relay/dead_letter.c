/* Records that could not be written as they should: law 7. The topic "<prefix>.firn-dead-letters"
 * gets each whole: one that is larger than its topic takes, as it would have been written, in
 * pieces; a row with a value that the chosen representation can't hold, as JSON with its decimals
 * as text. First a record that tells of it, then its value, all under one key,
 * "<topic>/<position>", in partition 0:
 *
 *   {"topic", "partition", "position": "<major>.<minor>", "code": "RecordTooLarge", "reason",
 *    "keyBytes", "key": in hex, "valueBytes", "pieces": 3}
 *   header "firn.piece": its number in four bytes, big-endian, from 0; the value a piece of the
 *   record's value
 *
 * A key of more than KEY_BYTES is cut (the value has it whole). */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "agent/topic/envelope.h"
#include "agent/topic/partition.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define KEY_BYTES 4096u
#define PIECE_BYTES ((uint64_t)512 << 10)
#define PIECE_HEADER "firn.piece"
#define ROOM_BYTES 1024u /* of a record: its key, header and framing */

typedef struct Letter {
    const RelayTopic *topic; /* that it was meant for */
    uint32_t partition;
    RowPosition at;
    const void *key, *value;
    size_t key_bytes, value_bytes;
    const Error *why;
} Letter;

static char *hex(const uint8_t *at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = mem_alloc(bytes * 2 + 1);
    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[at[i] >> 4];
        text[2 * i + 1] = digits[at[i] & 15];
    }
    text[bytes * 2] = '\0';
    return text;
}

static TopicSpan put_bytes(TopicRecords *to, const void *at, size_t bytes)
{
    TopicSpan span = {to->bytes.used, bytes};
    bytes_put(&to->bytes, at, bytes);
    return span;
}

static char *description(const Letter *letter, const char *position, size_t pieces)
{
    size_t shown = letter->key_bytes < KEY_BYTES ? letter->key_bytes : KEY_BYTES;
    AUTO(mem_free) char *key = hex(letter->key, shown);
    json_t *json = json_pack("{s:s,s:i,s:s,s:s,s:s,s:I,s:s,s:I,s:I}", "topic", letter->topic->name,
                             "partition", (int)letter->partition, "position", position, "code",
                             letter->why->code, "reason", letter->why->message, "keyBytes",
                             (json_int_t)letter->key_bytes, "key", key, "valueBytes",
                             (json_int_t)letter->value_bytes, "pieces", (json_int_t)pieces);
    ASSERT(json);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* The topic of dead letters is declared as the tables' are, and takes what they take. */
static void put_letter(RelayFlow *flow, const Letter *letter, TopicRecords *to)
{
    uint64_t piece_max = letter->topic->record_bytes_max - ROOM_BYTES;
    piece_max = piece_max < PIECE_BYTES ? piece_max : PIECE_BYTES;
    size_t pieces = (letter->value_bytes + piece_max - 1) / piece_max;
    AUTO(mem_free)
    char *position = mem_format("%" PRIu64 ".%" PRIu64, letter->at.major, letter->at.minor);
    AUTO(mem_free) char *name = mem_format("%s/%s", letter->topic->name, position);
    AUTO(mem_free) char *text = description(letter, position, pieces);
    TopicRecord *record = topic_record_add(to);
    TopicSpan key = record->key = put_bytes(to, name, strlen(name));
    record->value = put_bytes(to, text, strlen(text));
    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t from = i * piece_max, left = letter->value_bytes - from;
        record = topic_record_add(to);
        record->key = key;
        record->other_name = PIECE_HEADER;
        record->other = (TopicSpan){to->bytes.used, 4};
        bytes_put_u32be(&to->bytes, i);
        record->value = put_bytes(to, (const uint8_t *)letter->value + from,
                                  left < piece_max ? left : piece_max);
    }
    metric_add(flow->relay->metrics.dead_letters, 1);
    log_warn("a record can't be written as it should: it is among the dead letters",
             LOG_T("topic", letter->topic->name), LOG_T("position", position),
             LOG_T("reason", letter->why->code), LOG_T("error", letter->why->message),
             LOG_U("bytes", letter->value_bytes));
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
static uint64_t big_endian(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

RowPosition relay_header_position(const void *header, size_t bytes)
{
    if (bytes < TOPIC_HEADER_BYTES)
        return (RowPosition){0};
    const uint8_t *at = (const uint8_t *)header + 1; /* behind the kind */
    return (RowPosition){big_endian(at), big_endian(at + 8)};
}

bool relay_dead_letter(RelayFlow *flow, const Outbox *box, const KafkaRecord *record,
                       const Error *why, Error *err)
{
    const RelayTopic *topic = NULL;
    for (size_t i = 0; i < box->run_count && !topic; i++)
        if (box->runs[i].topic->kafka == record->topic)
            topic = box->runs[i].topic;
    ASSERT(topic);
    const Letter letter = {
        .topic = topic,
        .partition = (uint32_t)record->partition,
        .at = record->headers[0].name
                  ? relay_header_position(record->headers[0].value, record->headers[0].bytes)
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
    put_letter(flow, &letter, outbox_to(&letters, &flow->dead_letters));
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
        const Letter letter = {.topic = &table->topic,
                               .partition = topic_partition(each->hash, table->topic.partitions),
                               .at = batch->positions[each->row],
                               .key = at + each->key.at,
                               .value = at + each->value.at,
                               .key_bytes = each->key.bytes,
                               .value_bytes = each->value.bytes,
                               .why = &why};
        put_letter(flow, &letter, to);
    }
    *row = end;
    return true;
}
