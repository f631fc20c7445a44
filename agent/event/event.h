/* Records of a Kafka topic → typed rows in a Batch: Debezium's envelope, ours and theirs, in JSON,
 * in JSON with its schema, and in Avro; plain rows in JSON, Avro and Protobuf (Avro and Protobuf in
 * Confluent's framing). The other way round than agent/topic.
 * No Kafka client, no thread, no I/O but what the caller's EventFetch does.
 *
 *   event.c     a record: head, framing, envelope
 *   select.c    which records are taken: of plain JSON by its text, else by the row
 *   wire.c      the one table of types: what a value is on the wire, what it becomes in the lake
 *   connect.c, avro_schema.c, proto_schema.c, proto_text.c
 *               schemas → WireTypes
 *   declared.c  columns that are declared → WireTypes: plain JSON, envelopes without a schema
 *   plan.c      a writer's schema, and the target's
 *   json.c, avro.c, proto.c, natural.c (plain JSON's values, by their columns)
 *               … → columns; JSON by common/json/scan.h
 *   value.c     texts and bytes → values
 *   put.c       … put into columns
 *   key.c       the fields of a record's key in JSON
 *
 * The hot path makes no tree of values: a record is walked once, each value goes straight into its
 * column. (A deleted row's old image is passed over first: op stands behind it.) What is known of a
 * writer's schema is made once (EventPlan): which field is which column, and how it gets there.
 *
 * The columns of the rows (the target) are the caller's. A writer's field that the target lacks, or
 * whose type is another, is EVENT_SCHEMA: nothing was appended, and event_wanted says what the
 * columns would have to be. A column that the writer lacks is null.
 *
 * Plain events have no envelope: the value is the row, each is one that was inserted. Plain JSON
 * has the columns that are declared; members that are none of them are passed over, columns that it
 * lacks are null. A record without a value deletes the row of its key, which has to be a JSON
 * object, Avro's record or Protobuf's message, with the key's columns; where the target has no key
 * it is nothing.
 *
 * An envelope in JSON without its schema has the columns that are declared, likewise; how its
 * values are written, what wrote them was told. Its key has to be an object with just the key's
 * columns.
 *
 * Types (https://debezium.io/documentation/reference/3.5/connectors/postgresql.html#data-types,
 * https://avro.apache.org/docs/1.11.1/specification/#logical-types): wire.c. Only the key's columns
 * are required: a topic outlives its schemas.
 *
 * Errors: DATA for a record that can't be read, whatever it holds ("BadRecord" and what value.h
 * says): it is the caller's to keep as a dead letter; RETRY and CONFIG as the registry's. */
#pragma once

#include "agent/record/batch.h"
#include "agent/record/writer.h"
#include "common/bytes.h"
#include "common/condition.h"
#include "common/error.h"

typedef struct RecordsSpec RecordsSpec; /* common/manifest/manifest.h */

typedef enum EventFormat {
    EVENT_JSON, /* Debezium's envelope, with its schema or without */
    EVENT_AVRO, /* … in Avro: 0x00, the writer's schema's id in 4 bytes big-endian, Avro */
    /* plain alone: the same, then which of the schema's messages it is (how many numbers, then
     * each, as zigzag varints; 0 alone stands for 1 0), then the message.
     * https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
     */
    EVENT_PROTOBUF,
} EventFormat;

/* A record as the consumer has it; nothing is kept of it. */
typedef struct EventRecord {
    const uint8_t *key, *value; /* NULL: null */
    size_t key_bytes, value_bytes;
    const uint8_t *header; /* the value of the header `firn`; NULL: the topic is not ours */
    size_t header_bytes;
    int64_t written_ms; /* as Kafka has it; 0: not known */
    bool of_new_key;    /* it has the header __debezium.oldkey */
    uint64_t offset;
    uint32_t partition;
} EventRecord;

typedef enum EventKind {
    EVENT_NOTHING,  /* a tombstone behind a deletion, a record of another kind */
    EVENT_ROW,      /* one was appended to the batch */
    EVENT_TRUNCATE, /* the table was emptied */
    EVENT_COPIED,   /* the table's copy ends here */
    EVENT_LANES,    /* the topic has more partitions behind it */
    EVENT_SCHEMA,   /* the record needs other columns than the target's */
    EVENT_UNROUTED, /* the record is for none of the routes; the first one says so */
} EventKind;

typedef struct Event {
    EventKind kind;
    bool unrouted; /* EVENT_ROW, told to the first route: what the row was before is gone, and what
                    * it is now is no route's */
    bool copied;   /* a row of the copy: its position says when, not what is older */
    /* Of our topics the source's, as the header has it; of others {offset, partition}. */
    RowPosition at;
    uint32_t partitions; /* EVENT_TRUNCATE: that it stands in; EVENT_LANES: there are behind it */
    uint32_t version;    /* of the columns; 0: the topic is not ours */
    int64_t source_ms;   /* when it was committed at the source; 0: not known */
} Event;

typedef struct EventReader EventReader;

/* Asks for a writer's schema by its id: *ret is the caller's, empty before. */
typedef bool EventFetch(void *context, uint32_t id, WriterSchema *ret, Error *err);

typedef struct EventRoute {
    Condition when;
    bool always; /* whatever `when` says */
} EventRoute;

typedef struct EventOptions {
    EventFormat format;
    /* EVENT_JSON without schemas: Connect's schema of the value (of the envelope) as JSON text, and
     * of the key; what they are is known from elsewhere. NULL: each record has its own. */
    const char *value_schema, *key_schema;
    bool plain; /* records are rows */
    /* EVENT_JSON: of primitive types, those that rows have; copied. Always, if plain; of envelopes
     * it is in place of value_schema and key_schema, and its key, if it has one, that of the
     * records. */
    const Schema *columns;
    const RecordsSpec *records; /* … and how the envelopes' values are written; not kept */
    /* Plain JSON: the records that are taken: those whose field of that name, a text, is one of
     * these; others are EVENT_NOTHING. NULL: all. Copied. */
    const char *event_field;
    const char *const *events;
    size_t event_count;
    /* Which of these routes' records are taken; others are EVENT_NOTHING. A record is its that has
     * the first condition which holds; the first one's, too, where it can't be told. Of plain JSON
     * a condition is on any member, else on a column that event_can_route. NULL: all records are.
     * They outlive the reader. */
    const EventRoute *routes;
    size_t route_count, route;
    /* With routes: the rows have keys. Then every route takes what deletes a key's row; and, of an
     * envelope, what changed a row that is another route's now comes as ROW_DELETE. */
    bool upserts;
    bool some_upserts; /* … those of some route: a deletion is never nobody's */
    EventFetch *fetch; /* EVENT_AVRO, EVENT_PROTOBUF */
    void *fetch_context;
} EventOptions;

/* Texts, integers and booleans. */
bool event_can_route(const Type *type);

void event_reader_free(EventReader *reader);
/* Everything is copied. CONFIG "BadSchema" for a schema that can't be read. */
EventReader *event_reader_new(const EventOptions *options, Error *err) OWNED_BY(event_reader_free);

/* The columns that this record's writer has, as a schema of its own (names, types, key, origins
 * 0): the caller's. NULL without an error: the record says nothing of them (a tombstone, a marker).
 * record NULL: those of EventOptions.value_schema. In Avro the first 5 bytes of key and value are
 * enough, in Protobuf what is in front of the message. */
MUST_CHECK bool event_wanted(EventReader *reader, const EventRecord *record, Schema **ret,
                             Error *err);
/* What batches have from here on; outlives the reader, and every batch made of it. */
void event_reader_target(EventReader *reader, const Schema *target);

/* Appends at most one row to the batch, whose schema is the target. CONFIG "KeyDiffers" for a
 * record whose columns are declared and whose key is not theirs. On false, and for any kind but
 * EVENT_ROW, nothing was appended. */
MUST_CHECK bool event_decode(EventReader *reader, const EventRecord *record, Batch *batch,
                             Event *ret, Error *err);

DEFINE_AUTO(EventReader, event_reader_free);
