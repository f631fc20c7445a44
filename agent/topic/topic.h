/* Rows of one table → records of a Kafka topic, as Debezium's connectors for PostgreSQL, MySQL and
 * MariaDB (3.5) and Connect's converters would write them: the envelope {before, after, source,
 * transaction, op, ts_ms, ts_us, ts_ns} and the key, in JSON, in JSON with its schema, or in Avro
 * with Confluent's framing. No Kafka client, no thread, no I/O (but registry.h): in come batches
 * and what the source says of their rows, out come bytes, a partition's hash and headers.
 *
 *   topic.h        the contract            table.c, rows.c  a table's records
 *   envelope.h     what stands around a row: transaction, op, times
 *   source.h       and where it comes from: source.c, source_mysql.c; members.h is theirs
 *   connector.h    records of no table, table_change.h in them     registry.h  a schema registry
 *   connect_schema.h  Connect's schema of a table, from ours and the source's types: PostgreSQL's
 *                  in connect_schema.c, MySQL's and MariaDB's in connect_mysql.c (connect_types.h)
 *   schema_text.h  that schema as JSON, as Avro           literal.h  values that stand in
 *   values.h       rows and values; json.c, avro.c share value_body.h
 *   scalar.h       numbers, times, base64 … as text       numeric.h  decimals and their bytes
 *   parse.h        values that come as the server's text  name.h     names of topics, schemas
 *   partition.h    where a key goes
 *
 * What is written once for a table and its columns (names, schemas, the block's constant parts) is
 * made by topic_table_new; a row appends to one growing buffer and allocates nothing. A TopicTable
 * may be used by one thread at a time.
 *
 * Differences from Debezium 3.5 that stay (tests/integration/test_topic_debezium.py compares):
 *
 *   | what                         | Debezium                          | here
 *   |------------------------------|-----------------------------------|------------------------
 *   | null in a column that has a  | Connect's converters write the    | null, unless
 *   | default                      | default                           | nulls_as_defaults
 *   | types it does not know       | left out (include.unknown.        | their text; composites
 *   | (jsonpath, xid, tid, tsquery,| datatypes: its bytes)             | as structs, other
 *   | multiranges, composites, box,|                                   | arrays as arrays;
 *   | money[], interval[], xml[] …)|                                   | TOPIC_UNKNOWN_OMIT: out
 *   | name, streamed               | null                              | the text
 *   | int2vector, bit(n)[], several| empty, null, or nulls inside      | the elements; several
 *   | dimensions                   |                                   | dimensions stop capture
 *   | numeric(p,s) with s < 0      |                                   | as numeric without p, s
 *   | NaN, Infinity in a decimal   | no decimal but with mode string   | DATA "NoDecimal" but with
 *   |                              |                                   | STRING and DOUBLE
 *   | infinite intervals           |                                   | greatest, least int64
 *   | arrays of a domain           | left out                          | arrays
 *   | a value left out, of a type  | null; date[]: the placeholder's   | null; the empty value
 *   | that has no placeholder      | character codes as days           | where it is required
 *   | … hstore[], ltree[]; bytea   | null                              | the placeholder
 *   | as base64; bytea[] as text   |                                   |
 *   | times of a key's change      | one more for each record          | one for the pair
 *   | dates before 1582, copied    | in the Julian calendar            | Gregorian, as streamed
 *   | hstore's pairs               | in the order of Java's hash       | in the server's
 *   | float8 in JSON               | 1.0E300                           | 1e+300, the same number
 *   | a primary key's change that  | u                                 | d, tombstone, c
 *   | a declared key does not show |                                   |
 *   | headers                      | __debezium.context.* on each      | `firn` (below); newkey
 *   |                              |                                   | and oldkey as there
 *   | TRUNCATE                     | one record                        | one in every partition
 *   | elements of an enum[]        | required                          | may be null
 *   | a key's partition            | murmur2 of the key's bytes        | partition.h
 *   | ts_ns                        | nanoseconds                       | ends with 000
 *
 * Those of MySQL and MariaDB stand in README.
 *
 * https://debezium.io/documentation/reference/3.5/connectors/postgresql.html
 * https://debezium.io/documentation/reference/3.5/connectors/mysql.html */
#pragma once

#include "agent/record/origin.h"
#include "agent/record/source_column.h"
#include "common/bytes.h"
#include "common/error.h"

/* --- what a table's records look like; the words of Debezium's options in brackets --- */

typedef enum TopicSource { /* whose connector's records they are to be like */
                           TOPIC_POSTGRESQL,
                           TOPIC_MYSQL,
                           TOPIC_MARIADB,
} TopicSource;

typedef enum TopicFormat {
    TOPIC_JSON,             /* JsonConverter, schemas.enable=false */
    TOPIC_JSON_WITH_SCHEMA, /* schemas.enable=true: {"schema": …, "payload": …} */
    TOPIC_AVRO,             /* AvroConverter; 0x00, the schema's id in 4 bytes big-endian, Avro */
} TopicFormat;

typedef enum TopicTime { /* [time.precision.mode] */
                         TOPIC_TIME_ADAPTIVE,
                         TOPIC_TIME_ADAPTIVE_MICROSECONDS, /* adaptive_time_microseconds */
                         TOPIC_TIME_CONNECT,
} TopicTime;

typedef enum TopicDecimal { /* [decimal.handling.mode] */
                            TOPIC_DECIMAL_PRECISE,
                            TOPIC_DECIMAL_DOUBLE,
                            TOPIC_DECIMAL_STRING,
} TopicDecimal;

typedef enum TopicBinary { /* [binary.handling.mode] */
                           TOPIC_BINARY_BYTES,
                           TOPIC_BINARY_BASE64,
                           TOPIC_BINARY_BASE64_URL,
                           TOPIC_BINARY_HEX,
} TopicBinary;

typedef enum TopicInterval { /* [interval.handling.mode] */
                             TOPIC_INTERVAL_NUMERIC,
                             TOPIC_INTERVAL_STRING,
} TopicInterval;

typedef enum TopicHstore { /* [hstore.handling.mode] */
                           TOPIC_HSTORE_JSON,
                           TOPIC_HSTORE_MAP,
} TopicHstore;

typedef enum TopicUnknown { /* types that Debezium does not know */
                            TOPIC_UNKNOWN_KEEP,
                            TOPIC_UNKNOWN_OMIT,
} TopicUnknown;

typedef enum TopicAdjust { /* [schema.name.adjustment.mode, field.name.adjustment.mode] */
                           TOPIC_ADJUST_NONE,
                           TOPIC_ADJUST_AVRO,         /* what Avro forbids becomes _ */
                           TOPIC_ADJUST_AVRO_UNICODE, /* … becomes _uXXXX, and _ itself __ */
} TopicAdjust;

#define TOPIC_PLACEHOLDER "__debezium_unavailable_value"
#define TOPIC_DEBEZIUM_VERSION "3.5.0.Final"

typedef struct TopicOptions {
    TopicSource source;
    TopicFormat format;
    TopicTime time;
    TopicDecimal decimal;
    TopicBinary binary;
    TopicInterval interval;
    TopicHstore hstore;
    TopicUnknown unknown;
    TopicAdjust schema_names; /* with TOPIC_AVRO never NONE: then AVRO is taken */
    TopicAdjust field_names;  /* the same */
    bool no_tombstones;       /* [tombstones.on.delete=false] */
    bool transactions;        /* [provide.transaction.metadata]: the block `transaction` */
    bool unsigned_as_long;    /* [bigint.unsigned.handling.mode=long]; else precise */
    bool nulls_as_defaults;   /* [replace.null.with.default of the converters, true there] */
    const char *placeholder;  /* [unavailable.value.placeholder] NULL: TOPIC_PLACEHOLDER */
    const char *version;      /* source.version; NULL: TOPIC_DEBEZIUM_VERSION, whose format it is */
} TopicOptions;

/* --- what capture says of a table --- */

/* The table at one version of its columns. Everything is copied but the schema, which outlives the
 * TopicTable. */
typedef struct TopicTableSpec {
    const char *topic;           /* its name: topic_name() */
    const char *connector;       /* source.name, Debezium's topic.prefix */
    const char *database;        /* source.db */
    const char *schema_name;     /* "public" */
    const char *table_name;      /* "orders" */
    const Schema *schema;        /* of its batches */
    const SourceColumn *columns; /* one for each field */
    /* Fields of the record's key; NULL: the schema's key [message.key.columns]. Columns that the
     * log does not have of old rows (not of the replica identity) are refused by the capture. */
    const uint32_t *key;
    size_t key_count;
    uint32_t version; /* of the columns, for the header */
} TopicTableSpec;

typedef struct TopicTable TopicTable;
void topic_table_free(TopicTable *table);
/* CONFIG "NoSuchType" when a column's type in the schema and at the source don't go together,
 * "NameTaken" when two columns get one name by TopicAdjust. */
TopicTable *topic_table_new(const TopicTableSpec *spec, const TopicOptions *options, Error *err)
    OWNED_BY(topic_table_free);
/* The texts to register, under the subjects "<topic>-key" and "<topic>-value"; NULL key: the table
 * has none. For JSON what stands under "schema" where the records have it. */
const char *topic_table_key_schema(const TopicTable *table);
const char *topic_table_value_schema(const TopicTable *table);
/* TOPIC_AVRO: what the registry calls them. Before the first row. */
void topic_table_set_ids(TopicTable *table, uint32_t key_id, uint32_t value_id);

/* --- what capture says of rows --- */

typedef enum TopicSnapshot { /* source.snapshot; of a copied table's rows, in the copy's order */
                             TOPIC_SNAPSHOT_FALSE, /* from the log */
                             TOPIC_SNAPSHOT_TRUE,
                             TOPIC_SNAPSHOT_FIRST, /* of all tables */
                             TOPIC_SNAPSHOT_FIRST_OF_TABLE,
                             TOPIC_SNAPSHOT_LAST_OF_TABLE,
                             TOPIC_SNAPSHOT_LAST,
                             TOPIC_SNAPSHOT_INCREMENTAL, /* ad hoc, beside the stream */
} TopicSnapshot;

/* Rows with what the source says of them (agent/record/origin.h). Old images, with the same schema,
 * are looked at for ROW_UPDATE, ROW_DELETE and ROW_MOVE. */
typedef struct TopicRows {
    const Batch *batch;
    const Origins *origins;         /* of its rows; mostly batch->origins */
    const TopicSnapshot *snapshots; /* of each row; NULL: all are from the log */
    int64_t now_us;                 /* the envelope's ts_ms, ts_us, ts_ns */
} TopicRows;

/* --- the records --- */

#define TOPIC_HEADER "firn"
/* Its value, big-endian: 1 byte kind, 8 bytes major, 8 bytes minor (agent/record/position.h), 4
 * bytes version of the columns, then 2 bytes for each field (its index in the schema) that the
 * update left out, so that a value that looks like the placeholder is none. The kind is a letter
 * and stands first: Connect's SimpleHeaderConverter guesses a type from what the bytes look like as
 * text, and where a position came first it was now a number, now an array, now a text cut short;
 * behind a letter it is always a text, whole. */
#define TOPIC_HEADER_BYTES 21
typedef enum TopicKind {
    TOPIC_KIND_ROW = 'R',
    TOPIC_KIND_TOMBSTONE = 'D',
    TOPIC_KIND_TRUNCATE = 'T', /* 4 bytes follow: how many partitions it stands in */
    TOPIC_KIND_COPIED = 'C',   /* a marker without key and value: the table's copy ends here */
    /* Another one: the topic gets, or got, more partitions. 4 bytes follow with the epoch, 4 with
     * how many partitions it has. In each old partition behind the last record of before; first in
     * each new one. Whoever goes on behind it only when he has seen it in every old partition
     * reads each key's records in order. Rows before it are of positions up to its own, those
     * behind it of greater ones, also when they are repeated. It may be there twice, with the same
     * epoch and position. */
    TOPIC_KIND_EPOCH = 'E',
} TopicKind;

/* The source's position that the header has. {0, 0}: it is no header of ours; NULL is fine. */
RowPosition topic_header_position(const void *header, size_t bytes);

/* Offsets into TopicRecords.bytes. */
typedef struct TopicSpan {
    size_t at;
    size_t bytes;
} TopicSpan;

typedef struct TopicRecord {
    TopicSpan key;    /* bytes 0: null */
    TopicSpan value;  /* bytes 0: null, a tombstone */
    TopicSpan header; /* TOPIC_HEADER's value */
    /* The other key of an update that changed it, with the header's name ("__debezium.newkey" on
     * the old key's records, "__debezium.oldkey" on the new one's); NULL: none. */
    const char *other_name;
    TopicSpan other;
    uint64_t hash;   /* for topic_partition() */
    bool everywhere; /* to be written to every partition, from everywhere_from on: markers */
    uint32_t everywhere_from;
    uint32_t row; /* of the batch */
} TopicRecord;

typedef struct TopicRecords {
    Bytes bytes;
    TopicRecord *items;
    size_t count, held;
} TopicRecords;
void topic_records_done(TopicRecords *records);
void topic_records_clear(TopicRecords *records); /* memory is kept */
/* AUTO(topic_records_done) TopicRecords records = {0}; */
static inline void topic_records_done_auto(TopicRecords *at)
{
    topic_records_done(at);
}

/* Appends the records of rows *from and on, until bytes_max are passed or the rows end (a pair of
 * ROW_MOVE and ROW_UPDATE is never cut); *from is then the next row. One row gives one record (op
 * r, c, u), two (d and its tombstone) or three (a key that changed: d, tombstone, c). DATA for a
 * value that can't be written ("NoDecimal", "BadValue"), with table, column and position: what the
 * rows before it gave is there, *from is that row. */
MUST_CHECK bool topic_encode(TopicTable *table, const TopicRows *rows, uint32_t *from,
                             size_t bytes_max, TopicRecords *to, Error *err);
/* The table was emptied: op t. */
void topic_encode_truncate(TopicTable *table, const TransactionOrigin *transaction,
                           const RowOrigin *row, RowPosition at, uint32_t partitions,
                           int64_t now_us, TopicRecords *to);

/* The end of the table's copy, which began at that position. */
void topic_encode_copied(TopicTable *table, RowPosition at, TopicRecords *to);

/* From the partition on. */
void topic_encode_epoch(TopicTable *table, RowPosition at, uint32_t epoch, uint32_t partitions,
                        uint32_t from, TopicRecords *to);

DEFINE_AUTO(TopicTable, topic_table_free);
