/* See source.h. */
#include "agent/topic/source.h"

#include "agent/topic/literal.h"
#include "agent/topic/members.h"

const char *source_name(TopicSource source)
{
    static const char *const names[] = {"postgresql", "mysql", "mariadb"};
    return names[source];
}

void source_block_done(SourceBlock *block)
{
    bytes_done(&block->name);
    bytes_done(&block->database);
    bytes_done(&block->table);
    bytes_done(&block->head);
    bytes_done(&block->last);
    bytes_done(&block->middle);
    bytes_done(&block->tail);
}

void source_block_init(SourceBlock *block, TopicSource source, bool avro, const char *version,
                       const char *connector, const char *database, const char *schema_name,
                       const char *table_name)
{
    *block = (SourceBlock){.source = source, .avro = avro};
    put_label(avro, SOURCE_LABEL "{\"version\":", &block->name);
    put_text(avro, version, &block->name);
    put_label(avro, ",\"connector\":", &block->name);
    put_text(avro, source_name(source), &block->name);
    put_label(avro, ",\"name\":", &block->name);
    put_text(avro, connector, &block->name);
    put_label(avro, ",\"ts_ms\":", &block->name);
    if (source != TOPIC_POSTGRESQL) {
        source_mysql_init(block, database, table_name);
        return;
    }
    put_label(avro, ",\"db\":", &block->database);
    put_text(avro, database, &block->database);
    put_label(avro, ",\"sequence\":\"", &block->database);
    put_there(avro, &block->database);
    put_label(avro, ",\"schema\":", &block->table);
    put_text(avro, schema_name, &block->table);
    put_label(avro, ",\"table\":", &block->table);
    put_text(avro, table_name, &block->table);
    put_label(avro, ",\"txId\":", &block->table);
}

const char *const source_snapshots[] = {
    "false", "true",       "first", "first_in_data_collection", "last_in_data_collection",
    "last",  "incremental"};

static void take_transaction(SourceBlock *block, const TransactionOrigin *transaction,
                             TopicSnapshot snapshot)
{
    bool avro = block->avro;
    int64_t us = transaction->commit_us;
    block->transaction = transaction;
    block->snapshot = snapshot;
    Bytes *head = &block->head, *middle = &block->middle, *tail = &block->tail;
    bytes_clear(head);
    bytes_clear(middle);
    bytes_clear(tail);
    bytes_clear(&block->last);
    bytes_put(head, block->name.data, block->name.used);
    put_integer(avro, scalar_floor(us, 1000), head);
    put_label(avro, ",\"snapshot\":", head);
    if (avro)
        bytes_put_u8(head, 0); /* its union has the text first, because of the default */
    put_text(avro, source_snapshots[snapshot], head);
    bytes_put(head, block->database.data, block->database.used);
    const char *quote = avro ? "\"" : "\\\"";
    scalar_put_text(&block->last, "[");
    if (transaction->last_commit_lsn) {
        scalar_put_text(&block->last, quote);
        scalar_put_u64(&block->last, transaction->last_commit_lsn);
        scalar_put_text(&block->last, quote);
    } else {
        scalar_put_text(&block->last, "null");
    }
    scalar_put_text(&block->last, ",");
    put_label(avro, "\",\"ts_us\":", middle);
    put_there(avro, middle);
    put_integer(avro, us, middle);
    put_label(avro, ",\"ts_ns\":", middle);
    put_there(avro, middle);
    put_integer(avro, us * 1000, middle);
    bytes_put(middle, block->table.data, block->table.used);
    if (transaction->id && snapshot != TOPIC_SNAPSHOT_INCREMENTAL) {
        put_there(avro, middle);
        put_integer(avro, (int64_t)transaction->id, middle);
    } else {
        put_null(avro, middle);
    }
    put_label(avro, ",\"lsn\":", middle);
    put_label(avro, ",\"xmin\":", tail);
    put_null(avro, tail);
    put_label(avro, ",\"origin\":", tail);
    if (transaction->origin) {
        put_there(avro, tail);
        put_text(avro, transaction->origin, tail);
    } else {
        put_null(avro, tail);
    }
    put_label(avro, ",\"origin_lsn\":", tail);
    if (transaction->origin) {
        put_there(avro, tail);
        put_integer(avro, (int64_t)transaction->origin_lsn, tail);
    } else {
        put_null(avro, tail);
    }
    put_label(avro, "}" SOURCE_NEXT, tail);
}

void source_block_put(SourceBlock *block, const TransactionOrigin *transaction,
                      const RowOrigin *row, TopicSnapshot snapshot, Bytes *to)
{
    if (block->source != TOPIC_POSTGRESQL) {
        source_mysql_put(block, transaction, row, snapshot, to);
        return;
    }
    uint64_t lsn = row->lsn;
    if (UNLIKELY(block->transaction != transaction || block->snapshot != snapshot))
        take_transaction(block, transaction, snapshot);
    char text[SCALAR_I64_BYTES + 8]; /* "123"] */
    unsigned digits = scalar_u64(text + 2, lsn), from = 0, end;
    if (UNLIKELY(!lsn)) {
        static const char none[] = {'n', 'u', 'l', 'l', ']'};
        memcpy(text, none, sizeof none);
        end = sizeof none;
    } else if (block->avro) {
        text[from = 1] = '"';
        text[2 + digits] = '"';
        text[3 + digits] = ']';
        end = 4 + digits;
    } else {
        static const char quote[] = {'\\', '"', ']'};
        memcpy(text, quote, 2);
        memcpy(text + 2 + digits, quote, sizeof quote);
        end = 5 + digits;
    }
    bytes_put(to, block->head.data, block->head.used);
    if (block->avro)
        bytes_put_zigzag(to, (int64_t)(block->last.used + end - from));
    bytes_put(to, block->last.data, block->last.used);
    bytes_put(to, text + from, end - from);
    bytes_put(to, block->middle.data, block->middle.used);
    if (UNLIKELY(!lsn || snapshot == TOPIC_SNAPSHOT_INCREMENTAL)) {
        put_null(block->avro, to);
    } else if (block->avro) {
        bytes_put_u8(to, BRANCH_THERE);
        bytes_put_zigzag(to, (int64_t)lsn);
    } else {
        bytes_put(to, text + 2, digits);
    }
    bytes_put(to, block->tail.data, block->tail.used);
}

/* --- its schema --- */

static ConnectSchema snapshot_schema(Arena *arena)
{
    Literal *usual = arena_take(arena, sizeof *usual);
    *usual = (Literal){.bytes = {(const uint8_t *)"false", 5}};
    ConnectSchema schema = connect_field(CONNECT_STRING, "snapshot", true);
    schema.name = "io.debezium.data.Enum";
    schema.version = 1;
    schema.parameters[0] = "allowed";
    schema.parameters[1] =
        "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental";
    schema.fallback = usual;
    schema.there = 0;
    schema.none = 2;
    return schema;
}

typedef struct SourceField {
    const char *name;
    ConnectKind kind;
    bool optional;
} SourceField;

static const SourceField common[] = {
    {"version", CONNECT_STRING, false}, {"connector", CONNECT_STRING, false},
    {"name", CONNECT_STRING, false},    {"ts_ms", CONNECT_INT64, false},
    {"snapshot", CONNECT_STRING, true}, {"db", CONNECT_STRING, false},
    {"sequence", CONNECT_STRING, true}, {"ts_us", CONNECT_INT64, true},
    {"ts_ns", CONNECT_INT64, true}};
static const SourceField of_postgresql[] = {
    {"schema", CONNECT_STRING, false},  {"table", CONNECT_STRING, false},
    {"txId", CONNECT_INT64, true},      {"lsn", CONNECT_INT64, true},
    {"xmin", CONNECT_INT64, true},      {"origin", CONNECT_STRING, true},
    {"origin_lsn", CONNECT_INT64, true}};
static const SourceField of_mysql[] = {
    {"table", CONNECT_STRING, true}, {"server_id", CONNECT_INT64, false},
    {"gtid", CONNECT_STRING, true},  {"file", CONNECT_STRING, false},
    {"pos", CONNECT_INT64, false},   {"row", CONNECT_INT32, false},
    {"thread", CONNECT_INT64, true}, {"query", CONNECT_STRING, true}};

ConnectSchema source_schema(Arena *arena, TopicSource source)
{
    bool postgresql = source == TOPIC_POSTGRESQL;
    const SourceField *own = postgresql ? of_postgresql : of_mysql;
    size_t own_count = postgresql ? ARRAY_LEN(of_postgresql) : ARRAY_LEN(of_mysql);
    const char *name = arena_text(arena, "io.debezium.connector.%s.Source", source_name(source));
    ConnectSchema *schema =
        connect_struct(arena, name, 1, (uint32_t)(ARRAY_LEN(common) + own_count));
    for (size_t i = 0; i < ARRAY_LEN(common) + own_count; i++) {
        const SourceField *of = i < ARRAY_LEN(common) ? &common[i] : &own[i - ARRAY_LEN(common)];
        schema->children[i] = connect_field(of->kind, of->name, of->optional);
    }
    schema->children[4] = snapshot_schema(arena);
    schema->field = "source";
    return *schema;
}
