/* A box of records as bytes, for the spool, and again.
 *
 * Little-endian: 4 bytes runs; of each: 2 bytes length and the topic's name, 4 bytes records; of
 * each: 1 byte which other header (0: none), 1 byte whether it goes to every partition, 4 bytes
 * from which on, 8 bytes hash, and of key, value, header and other header 8 bytes each where it
 * begins in, and how much it is of, the rest: the records' bytes. */
#include <string.h>

#include "agent/relay/flow.h"
#include "agent/topic/envelope.h"
#include "agent/topic/letter.h"
#include "common/mem.h"
#include "common/reader.h"

static const char *const other_names[] = {NULL, "__debezium.newkey", "__debezium.oldkey",
                                          LETTER_PIECE, LETTER_KEY_PIECE};

static void put_span(Bytes *to, TopicSpan span)
{
    bytes_put_u64(to, span.at);
    bytes_put_u64(to, span.bytes);
}

static void put_record(Bytes *to, const TopicRecord *record)
{
    uint8_t other = 0;
    if (record->other_name)
        for (other = 1; strcmp(other_names[other], record->other_name) != 0; other++)
            ASSERT(other + 1u < ARRAY_LEN(other_names));
    bytes_put_u8(to, other);
    bytes_put_u8(to, record->everywhere);
    bytes_put_u32(to, record->everywhere_from);
    bytes_put_u64(to, record->hash);
    put_span(to, record->key);
    put_span(to, record->value);
    put_span(to, record->header);
    put_span(to, record->other);
}

void relay_box_put(const Outbox *box, Bytes *to)
{
    bytes_put_u32(to, (uint32_t)box->run_count);
    for (size_t i = 0; i < box->run_count; i++) {
        const OutboxRun *run = &box->runs[i];
        size_t end = i + 1 < box->run_count ? box->runs[i + 1].first : box->records.count;
        const char *name =
            run->topic->name ? run->topic->name : ""; /* dead letters, not made yet */
        uint16_t bytes = (uint16_t)strlen(name);
        bytes_put(to, &bytes, sizeof bytes);
        bytes_put(to, name, bytes);
        bytes_put_u32(to, (uint32_t)(end - run->first));
        for (size_t k = run->first; k < end; k++)
            put_record(to, &box->records.items[k]);
    }
    bytes_put(to, box->records.bytes.data, box->records.bytes.used);
}

static bool take_span(Reader *in, TopicSpan *ret)
{
    uint64_t at, bytes;
    if (!reader_u64(in, &at) || !reader_u64(in, &bytes))
        return false;
    *ret = (TopicSpan){at, bytes};
    return true;
}

static bool take_record(Reader *in, TopicRecord *ret)
{
    uint8_t other, everywhere;
    if (!reader_u8(in, &other) || other >= ARRAY_LEN(other_names) || !reader_u8(in, &everywhere) ||
        everywhere > 1 || !reader_u32(in, &ret->everywhere_from) || !reader_u64(in, &ret->hash) ||
        !take_span(in, &ret->key) || !take_span(in, &ret->value) || !take_span(in, &ret->header) ||
        !take_span(in, &ret->other))
        return false;
    ret->everywhere = everywhere;
    ret->other_name = other_names[other];
    return true;
}

static bool within(TopicSpan span, size_t bytes)
{
    return span.at <= bytes && span.bytes <= bytes - span.at;
}

/* What a reader of the folder may believe, whoever wrote it. */
static bool sound(const Outbox *box)
{
    for (size_t i = 0; i < box->run_count; i++) {
        const OutboxRun *run = &box->runs[i];
        size_t end = i + 1 < box->run_count ? box->runs[i + 1].first : box->records.count;
        for (size_t k = run->first; k < end; k++) {
            const TopicRecord *record = &box->records.items[k];
            size_t bytes = box->records.bytes.used;
            if (!within(record->key, bytes) || !within(record->value, bytes) ||
                !within(record->header, bytes) || !within(record->other, bytes) ||
                (record->everywhere && record->everywhere_from >= run->topic->partitions))
                return false;
        }
    }
    return true;
}

bool relay_box_take(const uint8_t *data, size_t bytes, RelayTopic *(*find)(void *, const char *),
                    void *context, Outbox *to)
{
    Reader in = reader_over(data, bytes);
    uint32_t runs;
    outbox_clear(to);
    if (!reader_u32(&in, &runs))
        return false;
    for (uint32_t i = 0; i < runs; i++) {
        uint16_t length;
        uint32_t count;
        const uint8_t *name;
        if (!reader_take(&in, sizeof length, &name))
            return false;
        memcpy(&length, name, sizeof length);
        if (!reader_take(&in, length, &name) || !reader_u32(&in, &count))
            return false;
        AUTO(mem_free) char *text = mem_strndup((const char *)name, length);
        RelayTopic *topic = find(context, text);
        if (!topic)
            return false;
        TopicRecords *records = outbox_to(to, topic);
        for (uint32_t k = 0; k < count; k++) {
            TopicRecord record = {0};
            if (!take_record(&in, &record))
                return false;
            *topic_record_add(records) = record;
        }
    }
    bytes_put(&to->records.bytes, in.at, reader_left(&in));
    return sound(to);
}
