/* See envelope.h. */
#include "agent/topic/envelope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/topic/members.h"
#include "agent/topic/schema_text.h"

#define AVRO_FRAME_BYTES 5 /* 0x00, the id */

/* --- framing --- */

void frame_done(Frame *frame)
{
    bytes_done(&frame->open);
    bytes_done(&frame->close);
}

void frame_init(Frame *frame, TopicFormat format, const char *schema)
{
    *frame = (Frame){0};
    if (format == TOPIC_AVRO) {
        bytes_put(&frame->open, "\0\0\0\0", AVRO_FRAME_BYTES);
    } else if (format == TOPIC_JSON_WITH_SCHEMA) {
        scalar_put_text(&frame->open, "{\"schema\":");
        scalar_put_text(&frame->open, schema);
        scalar_put_text(&frame->open, ",\"payload\":");
        bytes_put_u8(&frame->close, '}');
    }
}

void frame_set_id(Frame *frame, uint32_t id)
{
    ASSERT(frame->open.used == AVRO_FRAME_BYTES);
    uint32_t big_endian = __builtin_bswap32(id);
    memcpy(frame->open.data + 1, &big_endian, sizeof big_endian);
}

void envelope_schema_text(TopicFormat format, const ConnectSchema *schema, Bytes *to)
{
    if (format == TOPIC_AVRO)
        schema_text_avro(schema, to);
    else
        schema_text_json(schema, to);
    bytes_put_u8(to, 0);
}

/* --- the rest --- */

const char *transaction_id(TopicSource source, const TransactionOrigin *transaction, uint64_t lsn,
                           char to[TRANSACTION_ID_BYTES])
{
    if (source == TOPIC_POSTGRESQL)
        snprintf(to, TRANSACTION_ID_BYTES, "%" PRIu64 ":%" PRIu64, transaction->id, lsn);
    else if (transaction->origin)
        snprintf(to, TRANSACTION_ID_BYTES, "%s%" PRIu64, transaction->origin, transaction->id);
    else
        snprintf(to, TRANSACTION_ID_BYTES, "file=%s,pos=%" PRIu64,
                 transaction->file ? transaction->file : "",
                 source_place_offset(transaction->origin_lsn));
    return to;
}

void transaction_block_put(TopicSource source, bool avro, const TransactionOrigin *transaction,
                           uint64_t lsn, uint64_t total_order, uint64_t table_order, Bytes *to)
{
    if (!total_order) {
        put_null(avro, to);
        return;
    }
    char id[TRANSACTION_ID_BYTES];
    (void)transaction_id(source, transaction, lsn, id);
    put_there(avro, to);
    put_label(avro, "{\"id\":", to);
    put_text(avro, id, to);
    put_label(avro, ",\"total_order\":", to);
    put_integer(avro, (int64_t)total_order, to);
    put_label(avro, ",\"data_collection_order\":", to);
    put_integer(avro, (int64_t)table_order, to);
    put_label(avro, "}", to);
}

void envelope_times(bool avro, int64_t now_us, Bytes *to)
{
    const int64_t times[] = {scalar_floor(now_us, 1000), now_us, now_us * 1000};
    static const char *const labels[] = {",\"ts_ms\":", ",\"ts_us\":", ",\"ts_ns\":"};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        put_label(avro, labels[i], to);
        put_there(avro, to);
        put_integer(avro, times[i], to);
    }
    put_label(avro, "}", to);
}

ConnectSchema *envelope_schema(Arena *arena, TopicSource source, const char *name,
                               const ConnectSchema *value)
{
    ConnectSchema *schema = connect_struct(arena, name, 2, 8);
    ConnectSchema *fields = schema->children;
    fields[0] = fields[1] = *value;
    fields[0].field = "before";
    fields[1].field = "after";
    fields[0].optional = fields[1].optional = true;
    fields[2] = source_schema(arena, source);
    fields[3] = connect_transaction_schema(arena);
    fields[4] = connect_field(CONNECT_STRING, "op", false);
    fields[5] = connect_field(CONNECT_INT64, "ts_ms", true);
    fields[6] = connect_field(CONNECT_INT64, "ts_us", true);
    fields[7] = connect_field(CONNECT_INT64, "ts_ns", true);
    return schema;
}
