/* Records that are larger than their topic takes: law 7. The topic "<prefix>.firn-dead-letters"
 * gets each whole, in pieces where it has to be: first a record that tells of it, then its value,
 * all under one key, "<topic>/<position>", in partition 0:
 *
 *   {"topic", "partition", "position": "<major>.<minor>", "reason", "keyBytes", "key": in hex,
 *    "valueBytes", "pieces": 3}
 *   header "firn.piece": its number in four bytes, big-endian, from 0; the value a piece of the
 *   record's value
 *
 * The pieces joined are the record as it would have been written. A key of more than KEY_BYTES is
 * cut (the value has it whole). */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "common/log.h"
#include "common/mem.h"

#define KEY_BYTES 4096u
#define PIECE_BYTES ((uint64_t)512 << 10)
#define PIECE_HEADER "firn.piece"
#define ROOM_BYTES 1024u /* of a record: its key, header and framing */

static uint64_t big_endian(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static char *position_text(const KafkaRecord *record)
{
    const KafkaHeader *header = &record->headers[0];
    if (!header->name || header->bytes < TOPIC_HEADER_BYTES)
        return mem_strdup("0.0");
    const uint8_t *at = header->value;
    return mem_format("%" PRIu64 ".%" PRIu64, big_endian(at), big_endian(at + 8));
}

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

static bool open_topic(RelayFlow *flow, Error *err)
{
    if (flow->dead_letters.name)
        return true;
    AUTO(mem_free) char *name = mem_format("%s.firn-dead-letters", flow->stream->topic_prefix);
    return relay_topic_open(flow, name, USE_CONNECTOR, &flow->dead_letters, err);
}

/* The flight of its description and pieces. */
static bool send_all(RelayFlow *flow, const char *topic, const char *position,
                     const KafkaRecord *record, const Error *why, Error *err)
{
    RelayTopic *to = &flow->dead_letters;
    uint64_t piece_max = to->record_bytes_max - ROOM_BYTES;
    piece_max = piece_max < PIECE_BYTES ? piece_max : PIECE_BYTES;
    size_t pieces = (record->value_bytes + piece_max - 1) / piece_max;
    uint32_t shown = record->key_bytes < KEY_BYTES ? record->key_bytes : KEY_BYTES;
    AUTO(mem_free) char *key = hex(record->key, shown);
    AUTO(mem_free) char *name = mem_format("%s/%s", topic, position);
    json_t *json = json_pack("{s:s,s:i,s:s,s:s,s:i,s:s,s:I,s:i}", "topic", topic, "partition",
                             (int)record->partition, "position", position, "reason", why->message,
                             "keyBytes", (int)record->key_bytes, "key", key, "valueBytes",
                             (json_int_t)record->value_bytes, "pieces", (int)pieces);
    ASSERT(json);
    AUTO(mem_free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    Bytes bytes = {0};
    size_t name_bytes = strlen(name), text_bytes = strlen(text);
    bytes_reserve(&bytes, name_bytes + text_bytes + pieces * 4 + record->value_bytes);
    bytes_put(&bytes, name, name_bytes);
    bytes_put(&bytes, text, text_bytes);
    AUTO(mem_free) KafkaRecord *records = mem_array(pieces + 1, sizeof *records);
    records[0] = (KafkaRecord){.topic = to->kafka,
                               .key = bytes.data,
                               .key_bytes = (uint32_t)name_bytes,
                               .value = bytes.data + name_bytes,
                               .value_bytes = (uint32_t)text_bytes};
    for (size_t i = 0; i < pieces; i++) {
        uint64_t from = i * piece_max, left = record->value_bytes - from;
        records[i + 1] = records[0];
        records[i + 1].headers[0] = (KafkaHeader){PIECE_HEADER, bytes.data + bytes.used, 4};
        bytes_put_u32be(&bytes, (uint32_t)i);
        records[i + 1].value = bytes.data + bytes.used;
        records[i + 1].value_bytes = (uint32_t)(left < piece_max ? left : piece_max);
        bytes_put(&bytes, (const uint8_t *)record->value + from, records[i + 1].value_bytes);
    }
    for (;;) {
        uint64_t number;
        KafkaSent sent =
            kafka_producer_send(flow->producer, &bytes, records, pieces + 1, 200, &number, err);
        if (sent == KAFKA_SENT) {
            flow->sent = number;
            return true;
        }
        if (sent == KAFKA_FAILED || !relay_idle(flow, err)) {
            bytes_done(&bytes);
            return false;
        }
    }
}

bool relay_dead_letter(RelayFlow *flow, Outbox *box, const KafkaRecord *record, const Error *why,
                       Error *err)
{
    const char *topic = "?";
    for (size_t i = 0; i < box->run_count; i++)
        if (box->runs[i].topic->kafka == record->topic)
            topic = box->runs[i].topic->name;
    AUTO(mem_free) char *position = position_text(record);
    if (!open_topic(flow, err) || !send_all(flow, topic, position, record, why, err))
        return error_wrap(err, "dead letters");
    metric_add(flow->relay->metrics.dead_letters, 1);
    log_warn("a record is too large for its topic: it is among the dead letters",
             LOG_T("topic", topic), LOG_T("position", position),
             LOG_T("dead_letters", flow->dead_letters.name), LOG_U("bytes", record->value_bytes));
    return true;
}
