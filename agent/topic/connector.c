/* See connector.h. Few and small: written through literals, without anything made ahead but the
 * schemas. */
#include "agent/topic/connector.h"

#include <string.h>

#include "agent/topic/envelope.h"
#include "agent/topic/partition.h"
#include "agent/topic/scalar.h"
#include "agent/topic/table_change.h"
#include "agent/topic/values.h"
#include "common/mem.h"

struct ConnectorRecords {
    Arena *arena;
    ConnectorTopic topic;
    TopicSource from;
    const char *connector;
    bool avro, transactions;
    ConnectSchema *key, *value;
    Bytes key_text, value_text;
    Frame key_frame, value_frame;
    const char *version;
    SourceBlock source; /* of CONNECTOR_MESSAGE */
};

char *connector_topic_name(ConnectorTopic topic, const char *connector)
{
    switch (topic) {
    case CONNECTOR_HEARTBEAT:
        return mem_format("__debezium-heartbeat.%s", connector);
    case CONNECTOR_TRANSACTION:
        return mem_format("%s.transaction", connector);
    case CONNECTOR_MESSAGE:
        return mem_format("%s.message", connector);
    case CONNECTOR_STATEMENT:
        return mem_strdup(connector);
    case CONNECTOR_TOPICS:
        break;
    }
    ASSERT(false);
}

void connector_records_free(ConnectorRecords *records)
{
    if (!records)
        return;
    bytes_done(&records->key_text);
    bytes_done(&records->value_text);
    frame_done(&records->key_frame);
    frame_done(&records->value_frame);
    source_block_done(&records->source);
    arena_free(records->arena);
    free(records);
}

/* --- schemas --- */

static ConnectSchema *one_field(Arena *arena, const char *name, ConnectKind kind, const char *field,
                                bool optional)
{
    ConnectSchema *schema = connect_struct(arena, name, 1, 1);
    schema->children[0] = connect_field(kind, field, optional);
    return schema;
}

static ConnectSchema *transaction_value(Arena *arena)
{
    ConnectSchema *counts = connect_struct(arena, "event.collection", 1, 2);
    counts->optional = true;
    counts->children[0] = connect_field(CONNECT_STRING, "data_collection", false);
    counts->children[1] = connect_field(CONNECT_INT64, "event_count", false);
    ConnectSchema *schema =
        connect_struct(arena, "io.debezium.connector.common.TransactionMetadataValue", 1, 5);
    schema->children[0] = connect_field(CONNECT_STRING, "status", false);
    schema->children[1] = connect_field(CONNECT_STRING, "id", false);
    schema->children[2] = connect_field(CONNECT_INT64, "event_count", true);
    schema->children[3] = connect_field(CONNECT_ARRAY, "data_collections", true);
    schema->children[3].children = counts;
    schema->children[3].child_count = 1;
    schema->children[4] = connect_field(CONNECT_INT64, "ts_ms", false);
    return schema;
}

static ConnectSchema *message_value(Arena *arena)
{
    ConnectSchema *message =
        connect_struct(arena, "io.debezium.connector.postgresql.Message", 1, 2);
    message->field = "message";
    message->children[0] = connect_field(CONNECT_STRING, "prefix", true);
    message->children[1] = connect_field(CONNECT_BYTES, "content", true);
    ConnectSchema *schema =
        connect_struct(arena, "io.debezium.connector.postgresql.MessageValue", 1, 5);
    schema->children[0] = connect_field(CONNECT_STRING, "op", false);
    schema->children[1] = connect_field(CONNECT_INT64, "ts_ms", true);
    schema->children[2] = source_schema(arena, TOPIC_POSTGRESQL);
    schema->children[3] = connect_transaction_schema(arena);
    schema->children[4] = *message;
    return schema;
}

static ConnectSchema *statement_value(Arena *arena, TopicSource from)
{
    const char *name =
        arena_text(arena, "io.debezium.connector.%s.SchemaChangeValue", source_name(from));
    ConnectSchema *schema = connect_struct(arena, name, 1, 6);
    schema->children[0] = source_schema(arena, from);
    schema->children[1] = connect_field(CONNECT_INT64, "ts_ms", false);
    schema->children[2] = connect_field(CONNECT_STRING, "databaseName", true);
    schema->children[3] = connect_field(CONNECT_STRING, "schemaName", true);
    schema->children[4] = connect_field(CONNECT_STRING, "ddl", true);
    schema->children[5] = table_changes_schema(arena, "tableChanges");
    return schema;
}

ConnectorRecords *connector_records_new(ConnectorTopic topic, const char *connector,
                                        const char *database, const TopicOptions *options)
{
    ConnectorRecords *records = mem_zalloc(sizeof *records);
    Arena *arena = records->arena = arena_new(4096);
    records->topic = topic;
    records->from = options->source;
    records->connector = arena_strndup(arena, connector, strlen(connector));
    const char *version = options->version ? options->version : TOPIC_DEBEZIUM_VERSION;
    records->version = arena_strndup(arena, version, strlen(version));
    records->avro = options->format == TOPIC_AVRO;
    records->transactions = options->transactions;
    switch (topic) {
    case CONNECTOR_HEARTBEAT:
        records->key = one_field(arena, "io.debezium.connector.common.ServerNameKey",
                                 CONNECT_STRING, "serverName", false);
        records->value = one_field(arena, "io.debezium.connector.common.Heartbeat", CONNECT_INT64,
                                   "ts_ms", false);
        break;
    case CONNECTOR_TRANSACTION:
        records->key = one_field(arena, "io.debezium.connector.common.TransactionMetadataKey",
                                 CONNECT_STRING, "id", false);
        records->value = transaction_value(arena);
        break;
    case CONNECTOR_MESSAGE:
        records->key = one_field(arena, "io.debezium.connector.postgresql.MessageKey",
                                 CONNECT_STRING, "prefix", true);
        records->value = message_value(arena);
        source_block_init(&records->source, TOPIC_POSTGRESQL, records->avro, records->version,
                          connector, database, "", "");
        break;
    case CONNECTOR_STATEMENT:
        records->key = one_field(arena,
                                 arena_text(arena, "io.debezium.connector.%s.SchemaChangeKey",
                                            source_name(records->from)),
                                 CONNECT_STRING, "databaseName", false);
        records->value = statement_value(arena, records->from);
        break;
    case CONNECTOR_TOPICS:
        ASSERT(false);
    }
    envelope_schema_text(options->format, records->key, &records->key_text);
    envelope_schema_text(options->format, records->value, &records->value_text);
    frame_init(&records->key_frame, options->format, (const char *)records->key_text.data);
    frame_init(&records->value_frame, options->format, (const char *)records->value_text.data);
    return records;
}

const char *connector_key_schema(const ConnectorRecords *records)
{
    return (const char *)records->key_text.data;
}

const char *connector_value_schema(const ConnectorRecords *records)
{
    return (const char *)records->value_text.data;
}

void connector_set_ids(ConnectorRecords *records, uint32_t key_id, uint32_t value_id)
{
    frame_set_id(&records->key_frame, key_id);
    frame_set_id(&records->value_frame, value_id);
}

/* --- records --- */

static Literal text_literal(const char *text)
{
    return (Literal){.bytes = {(const uint8_t *)text, strlen(text)}};
}

static void put_literal(const ConnectorRecords *records, const ConnectSchema *schema,
                        const Literal *literal, Bytes *to)
{
    if (records->avro)
        avro_put_literal(schema, literal, to);
    else
        json_put_literal(schema, literal, to);
}

static TopicSpan framed(const ConnectorRecords *records, const Frame *frame,
                        const ConnectSchema *schema, const Literal *literal, Bytes *to)
{
    TopicSpan span = {to->used, 0};
    bytes_put(to, frame->open.data, frame->open.used);
    put_literal(records, schema, literal, to);
    bytes_put(to, frame->close.data, frame->close.used);
    span.bytes = to->used - span.at;
    return span;
}

/* A record with this text as its key's only field. */
static TopicRecord *begin(ConnectorRecords *records, const char *key, TopicRecords *to)
{
    TopicRecord *record = topic_record_add(to);
    Literal field = text_literal(key), whole = {.items = &field, .item_count = 1};
    record->key = framed(records, &records->key_frame, records->key, &whole, &to->bytes);
    Bytes canonical = {0}; /* partition.h: a text */
    bytes_put_u8(&canonical, 5);
    bytes_put_u32(&canonical, (uint32_t)strlen(key));
    scalar_put_text(&canonical, key);
    record->hash = topic_hash(&canonical);
    bytes_done(&canonical);
    return record;
}

void connector_heartbeat(ConnectorRecords *records, int64_t now_us, TopicRecords *to)
{
    ASSERT(records->topic == CONNECTOR_HEARTBEAT);
    TopicRecord *record = begin(records, records->connector, to);
    Literal at = {.integer = scalar_floor(now_us, 1000)}, whole = {.items = &at, .item_count = 1};
    record->value = framed(records, &records->value_frame, records->value, &whole, &to->bytes);
}

void connector_transaction(ConnectorRecords *records, const TransactionOrigin *transaction,
                           uint64_t lsn, bool ended, const TransactionCount *counts,
                           size_t count_count, TopicRecords *to)
{
    ASSERT(records->topic == CONNECTOR_TRANSACTION);
    char id[TRANSACTION_ID_BYTES];
    (void)transaction_id(records->from, transaction, lsn, id);
    TopicRecord *record = begin(records, id, to);
    Literal fields[5] = {text_literal(ended ? "END" : "BEGIN"),
                         text_literal(id),
                         {.none = !ended},
                         {.none = !ended},
                         {.integer = scalar_floor(transaction->commit_us, 1000)}};
    Literal *items = mem_array(count_count ? count_count : 1, sizeof *items);
    Literal(*parts)[2] = mem_array(count_count ? count_count : 1, sizeof *parts);
    for (size_t i = 0; i < count_count; i++) {
        parts[i][0] = text_literal(counts[i].table);
        parts[i][1].integer = (int64_t)counts[i].rows;
        items[i] = (Literal){.items = parts[i], .item_count = 2};
        fields[2].integer += (int64_t)counts[i].rows;
    }
    fields[3].items = items;
    fields[3].item_count = (uint32_t)count_count;
    Literal whole = {.items = fields, .item_count = 5};
    record->value = framed(records, &records->value_frame, records->value, &whole, &to->bytes);
    free(items);
    free(parts);
}

void connector_message(ConnectorRecords *records, const TransactionOrigin *transaction,
                       const RowOrigin *row, const char *prefix, const void *content,
                       size_t content_bytes, int64_t now_us, TopicRecords *to)
{
    ASSERT(records->topic == CONNECTOR_MESSAGE);
    /* source_block_put has its own label, and the next one's. */
    static const char *const labels[] = {"{\"op\":", ",\"ts_ms\":", "", "", ",\"message\":", "}"};
    TopicRecord *record = begin(records, prefix, to);
    Bytes *out = &to->bytes;
    const ConnectSchema *fields = records->value->children;
    Literal op = text_literal("m"), at = {.integer = scalar_floor(now_us, 1000)};
    Literal parts[2] = {text_literal(prefix), {.bytes = {content, content_bytes}}};
    Literal message = {.items = parts, .item_count = 2};
    record->value.at = out->used;
    bytes_put(out, records->value_frame.open.data, records->value_frame.open.used);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        if (!records->avro)
            scalar_put_text(out, labels[i]);
        if (i == 0)
            put_literal(records, &fields[0], &op, out);
        else if (i == 1)
            put_literal(records, &fields[1], &at, out);
        else if (i == 2)
            source_block_put(&records->source, transaction, row, TOPIC_SNAPSHOT_FALSE, out);
        else if (i == 3)
            transaction_block_put(TOPIC_POSTGRESQL, records->avro, transaction, row->lsn,
                                  records->transactions ? row->total_order : 0, row->table_order,
                                  out);
        else if (i == 4)
            put_literal(records, &fields[4], &message, out);
    }
    source_block_forget(&records->source);
    bytes_put(out, records->value_frame.close.data, records->value_frame.close.used);
    record->value.bytes = out->used - record->value.at;
}

/* The block `source` of a record that names its tables, and stands in front of all else. */
static void put_source(const ConnectorRecords *records, const TransactionOrigin *transaction,
                       const RowOrigin *row, const Statement *statement, TopicSnapshot snapshot,
                       Bytes *to)
{
    Bytes names = {0}, text = {0};
    SourceBlock block;
    for (size_t i = 0; i < statement->table_count; i++) {
        scalar_put_text(&names, i ? "," : "");
        scalar_put_text(&names, statement->tables[i].name);
    }
    bytes_put_u8(&names, 0);
    source_block_init(&block, records->from, records->avro, records->version, records->connector,
                      statement->database, "", (const char *)names.data);
    source_block_put(&block, transaction, row, snapshot, &text);
    size_t before = records->avro ? 0 : sizeof SOURCE_LABEL - 1;
    size_t behind = records->avro ? 0 : sizeof SOURCE_NEXT - 1;
    bytes_put(to, text.data + before, text.used - before - behind);
    source_block_done(&block);
    bytes_done(&names);
    bytes_done(&text);
}

void connector_statement(ConnectorRecords *records, const TransactionOrigin *transaction,
                         const RowOrigin *row, const Statement *statement, TopicSnapshot snapshot,
                         int64_t now_us, TopicRecords *to)
{
    ASSERT(records->topic == CONNECTOR_STATEMENT);
    static const char *const labels[] = {"{\"source\":",     ",\"ts_ms\":", ",\"databaseName\":",
                                         ",\"schemaName\":", ",\"ddl\":",   ",\"tableChanges\":"};
    AUTO(arena_free) Arena *arena = arena_new(4096);
    TopicRecord *record = begin(records, statement->database, to);
    Bytes *out = &to->bytes;
    const Literal parts[] = {[1] = {.integer = scalar_floor(now_us, 1000)},
                             [2] = text_literal(statement->database),
                             [3] = {.none = true},
                             [4] = text_literal(statement->text),
                             [5] = table_changes(arena, statement)};
    record->value.at = out->used;
    bytes_put(out, records->value_frame.open.data, records->value_frame.open.used);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        if (!records->avro)
            scalar_put_text(out, labels[i]);
        if (i == 0)
            put_source(records, transaction, row, statement, snapshot, out);
        else
            put_literal(records, &records->value->children[i], &parts[i], out);
    }
    if (!records->avro)
        scalar_put_text(out, "}");
    bytes_put(out, records->value_frame.close.data, records->value_frame.close.used);
    record->value.bytes = out->used - record->value.at;
}
