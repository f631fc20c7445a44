/* What a Connector knows of its topics, kept beside them: the topic "<prefix>.firn-state", one
 * partition, compacted, read whole at the start. Its records are JSON under keys that are plain
 * text, the newest of a key counts:
 *
 *   position            {"version": 1, "connector": "retail/shop",
 *                        "position": "postgresql/…@0/16B3748.0"}
 *   table/public.orders {"version": 1, "topic": "shop.public.orders", "partitions": 4,
 *                        "key": [3], "begun": "23213896.0",
 *                        "copy": "complete" or extents (agent/record/extents.h),
 *                        "columns": [{"version": 1, "from": "23213896.0", "shape": {…}}, …],
 *                        "grown": [{"partitions": 2, "at": "23214000.0", "ends": [120, 98]}, …],
 *                        "grows": {"partitions": 8, "at": "23899100.0"},
 *                        "again": {"id": "2026-11-22", "after": "[\"4711\"]", "done": false},
 *                        "done": ["2026-11-20"]}
 *                       and where the records are JSON without schemas, beside each shape Connect's
 *                       schemas, for who has to know their types: "value": {…}, "key": {…}
 *
 * position: everything before it is acknowledged. Delivery Idempotent: written before the source is
 * told, which counts. Transactional: written in the transaction of the rows, and counts itself.
 *
 * key: the origins of the columns that are declared to be the key; not there: the table's own.
 * begun: the position of the snapshot that the copy began in: the stream has what is behind it.
 * partitions: where keys go: the topic may have more meanwhile (grow.c). grown: how many they were
 * up to a place of the log, and where the marker of that (topic.h: TOPIC_KIND_EPOCH) ends in each;
 * grows: the markers are being written.
 * again: the latest copy beside the stream (beside.c), as far as its rows are acknowledged.
 * done: those before it, the latest last, for who asks may ask by the manifest or meanwhile.
 * columns: what the table's columns were from a place of the log on; the log is read with the
 * latest at or before the position, so those that are older are forgotten. Positions are
 * "<major>.<minor>".
 *
 * Records of rows and those of the state are in different partitions: with Idempotent, what says
 * that rows are there is sent when they are acknowledged. */
#pragma once

#include "agent/record/position.h"
#include "agent/topic/topic.h"

#define STATE_TOPIC_SUFFIX "firn-state"

typedef struct ColumnsVersion {
    uint32_t version;
    RowPosition from;
    char *shape; /* SourceTable.shape */
    /* Connect's schemas of value and key, as JSON, where the records do not have them; else NULL */
    char *value_schema, *key_schema;
} ColumnsVersion;

typedef struct Growth {
    uint32_t partitions; /* before it */
    RowPosition at;
    uint64_t *ends; /* offsets, of each of these; owned */
} Growth;

typedef struct TableState {
    char *name; /* "public.orders" */
    char *topic;
    uint32_t partitions; /* that keys go to */
    Growth *grown;       /* in order; the number of the epoch is how many there are */
    size_t grown_count;
    uint32_t grows; /* to so many; 0: it does not */
    RowPosition grows_at;
    int32_t *key; /* columns' origins; NULL: the table's own key */
    size_t key_count;
    RowPosition begun;
    bool complete;
    char *progress;    /* extents' text, unless it is complete */
    char *again_id;    /* of the latest copy beside the stream; NULL: none */
    char *again_after; /* the key up to which its rows are there; NULL: none yet, or all */
    bool again_done;
    char **again_past; /* ids that were done before */
    size_t again_past_count;
    ColumnsVersion *columns; /* by `from` */
    size_t column_count;
} TableState;

typedef struct State {
    char *connector;   /* "retail/shop"; NULL: nothing was ever sent */
    Position position; /* source "": none */
    char *anchor;      /* capture_anchor's, of `anchored`; NULL: there is none */
    RowPosition anchored;
    TableState **tables;
    size_t table_count;
} State;

void state_done(State *state);
/* AUTO(state_done) State state = {0}; */
static inline void state_done_auto(State *at)
{
    state_done(at);
}

/* One record of the topic. DATA "BadState" for one that can't be read. */
MUST_CHECK bool state_take(State *state, const void *key, size_t key_bytes, const void *value,
                           size_t value_bytes, Error *err);
TableState *state_table(State *state, const char *name); /* NULL: none */
TableState *state_add(State *state, const char *name, const char *topic);

/* Append a record. */
void state_put_position(const char *connector, const Position *position, const char *anchor,
                        TopicRecords *to);
void state_put_table(const TableState *table, TopicRecords *to);

/* What the records of that version look like. key_schema NULL: they have no key. */
void table_state_describe(TableState *table, uint32_t version, const char *value_schema,
                          const char *key_schema);
/* The latest at or before the position; NULL: none. */
const ColumnsVersion *table_state_columns(const TableState *table, RowPosition at);
/* Of these columns from there on: the one that says so already (a restart learns again what it
 * knew), or a new one. */
const ColumnsVersion *table_state_learn(TableState *table, RowPosition from, const char *shape);
/* Nobody goes back behind `at`. */
void table_state_forget(TableState *table, RowPosition at);
/* It has grown: takes over `ends`. */
void table_state_grown(TableState *table, uint64_t *ends);
/* It has so many partitions, and nothing of ours in them. */
void table_state_partitions(TableState *table, uint32_t partitions);
/* Up to there all rows are acknowledged, whatever the source was told; {0, 0}: it is not known. */
RowPosition table_state_acknowledged(const TableState *table);
/* Was the copy beside the stream done for this id? */
bool table_state_is_done(const TableState *table, const char *id);
/* The copy beside the stream has come so far. */
void table_state_again(TableState *table, const char *id, const char *after, bool done);
/* The copy begins anew with these columns. */
void table_state_begin(TableState *table, RowPosition at, const char *shape);
