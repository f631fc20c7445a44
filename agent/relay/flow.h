/* One attempt of a relay, seen by the files of this folder alone. Everything in it is made in
 * relay.c and freed there; a new attempt starts from what the state topic and the source say. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/capture/capture.h"
#include "agent/kafka/admin.h"
#include "agent/kafka/producer.h"
#include "agent/relay/backlog.h"
#include "agent/relay/relay.h"
#include "agent/relay/state.h"
#include "agent/topic/connector.h"
#include "agent/topic/registry.h"
#include "agent/topic/topic.h"
#include "common/queue.h"
#include "common/thread.h"

#define FLIGHT_BYTES ((size_t)1 << 20) /* what is gathered is sent when it has so much */

/* A topic that is written to. */
typedef struct RelayTopic {
    char *name;
    KafkaTopic *kafka;
    uint32_t partitions;
    uint64_t record_bytes_max;
    bool made;  /* now */
    bool keyed; /* it takes no record without a key */
} RelayTopic;

/* Records on their way, of any topics; a zeroed one is empty. */
typedef struct OutboxRun {
    size_t first; /* record */
    RelayTopic *topic;
} OutboxRun;
typedef struct Outbox {
    TopicRecords records;
    OutboxRun *runs; /* whose records are which */
    size_t run_count, runs_held;
} Outbox;

typedef struct RelayTable {
    uint32_t number; /* capture's */
    const SourceTable *source;
    char *name; /* "public.orders" */
    RelayTopic topic;
    int32_t *key; /* columns' origins, where others than its own key are declared; else NULL */
    size_t key_count;
    TableState *state;
    bool complete;             /* at the start of the flow: nothing is to be copied */
    bool begins;               /* its copy begins with the first row */
    bool emptied;              /* rows of an earlier copy stand in the topic: op t comes first */
    uint32_t partitions_there; /* more than topic.partitions: grow.c */
    /* As of now, the stream's: */
    Arena *arena; /* of columns */
    const SourceColumn *columns;
    uint32_t version;
    uint32_t key_id, value_id; /* Avro */
    TopicTable *encoder;
    /* The copy (copy.c): */
    bool copying; /* rows are missing yet */
    Extents done;
    size_t ranges_unsent;
    bool dirty; /* its state is to be written */
    CopyCount count;
    Metric *changes; /* rows copied and changes passed on */
} RelayTable;

/* All flights up to this one acknowledged: everything before the position is. */
typedef struct Point {
    uint64_t flight;
    RowPosition at;
} Point;
#define POINTS_MAX 256

typedef struct Relay {
    Supervised base;
    const StreamSpec *stream;
    char *anew;           /* the request by which everything begins anew; NULL: nothing does */
    uint64_t batch_bytes; /* of the producer; 0: the usual */
    bool stalled;         /* the latest flow found that Kafka takes nothing: spooled.c */
    uint64_t dead_letters;
    struct {
        Metric *queued_bytes, *queued_records, *oldest, *records, *bytes, *brokers_up, *retries;
        Metric *dead_letters, *transactions;
    } metrics;
} Relay;

typedef struct OtherTopic {
    RelayTopic topic;
    ConnectorRecords *records; /* NULL: not asked for */
} OtherTopic;

typedef struct CountedTransaction { /* transactions.c */
    uint64_t commit_lsn, first_lsn, end_lsn;
    TransactionOrigin origin;
    TransactionCount *counts;
    size_t table_count;
} CountedTransaction;

typedef struct CopyRun CopyRun; /* copy.c */
typedef struct Beside Beside;   /* beside.c */
typedef struct Spooled Spooled; /* spooled.c */

enum { REQUEST_DECLARED, REQUEST_ASKED }; /* in the manifest's spec; by a person, meanwhile */

typedef struct RelayFlow {
    Relay *relay;
    const StreamSpec *stream;
    bool transactional;
    Capture *capture;
    KafkaProducer *producer;
    Registry *registry; /* NULL: JSON */
    TopicOptions options;
    State state;
    RelayTopic state_topic;
    RelayTopic dead_letters;             /* name NULL: not needed yet */
    OtherTopic others[CONNECTOR_TOPICS]; /* by ConnectorTopic */
    CountedTransaction *counted;         /* by commit_lsn */
    size_t counted_count, counted_held;
    int64_t heartbeat_us; /* the next one */
    RelayTable *tables;   /* as capture numbers them */
    size_t table_count;
    Position copied; /* what the copy's snapshot stands for */
    bool holds;      /* the stream has begun: the source wants to be answered */

    Outbox box;
    KafkaRecord *scratch; /* outbox.c */
    size_t scratch_held;
    uint64_t sent, acknowledged; /* flights */
    int64_t idle_us;             /* the source was answered last */
    int64_t stalled_after_us;    /* whether Kafka stalls is looked at again */
    Point points[POINTS_MAX];
    size_t point_head, point_count;
    RowPosition checkpoint; /* the latest one handed out */
    RowPosition durable;    /* acknowledged, or committed */
    RowPosition recorded;   /* as the state topic says */
    RowPosition confirmed;  /* as the source was told */
    Point recording;        /* the position's record under way; flight 0: none */
    RowPosition grows_from; /* what any flow before has sent is before */
    bool in_transaction;
    int64_t transaction_us; /* it began */
    uint64_t transaction_bytes;
    uint64_t transactions;
    int64_t confirm_after_us, figures_after_us;
    Marks marks;

    Spooled *spool; /* NULL: none is declared */
    bool spooled;   /* records go there */

    CopyRun *copy;
    Beside *beside;   /* NULL: nothing is copied beside the stream */
    uint32_t copying; /* tables with rows missing */

    CopyRequest requests[2]; /* what is copied beside the stream, by REQUEST_… */

    pthread_mutex_t lock; /* over error */
    Error error;          /* the first one of a reader */
    atomic_bool failed;
    atomic_bool leaves; /* it drains, and another flow begins: there are tables to add */
    atomic_uint_fast64_t rows;
} RelayFlow;

void relay_fail(RelayFlow *flow, const Error *err);
static inline bool relay_failed(const RelayFlow *flow)
{
    return atomic_load_explicit(&flow->failed, memory_order_relaxed);
}
static inline bool relay_stopping(const RelayFlow *flow)
{
    return atomic_load_explicit(&flow->relay->base.stop, memory_order_relaxed) ||
           atomic_load_explicit(&flow->leaves, memory_order_relaxed);
}

/* Of a change that is no row. */
static inline RowOrigin relay_origin(const Change *change)
{
    return (RowOrigin){
        .lsn = change->lsn, .total_order = change->total_order, .table_order = change->table_order};
}

/* --- key.c --- */
/* What is declared of the table's key, looked up and told to the capture. CONFIG "UnknownColumn".
 */
MUST_CHECK bool relay_key_declare(RelayFlow *flow, RelayTable *table, Error *err);
/* The key's fields in a schema of the table; caller frees *ret. NULL: the schema's own key. CONFIG
 * "KeyChanged" when one is gone. */
MUST_CHECK bool relay_key_fields(const RelayTable *table, const Schema *schema, uint32_t **ret,
                                 Error *err);
/* Has each row a key of its own? Not where less than the table's own key is declared. */
bool relay_key_tells_rows(const RelayTable *table);
/* CONFIG "TopicRekeyed" when the topic goes on with rows that have another key. */
MUST_CHECK bool relay_key_take_up(RelayTable *table, Error *err);

/* --- bind.c --- */
MUST_CHECK bool relay_open_kafka(RelayFlow *flow, Error *err); /* and reads the state */
/* start: where the stream goes on, of what the state says; {0, 0}: nowhere yet. */
MUST_CHECK bool relay_bind(RelayFlow *flow, RowPosition start, Error *err);
void relay_unbind(RelayFlow *flow);
/* A topic that is there: of a table's rows, as declared; of the connector's own, of one partition;
 * the state's, compacted, too; of statements, never compacted. */
typedef enum TopicUse { USE_TABLE, USE_CONNECTOR, USE_STATEMENTS, USE_STATE } TopicUse;
MUST_CHECK bool relay_topic_open(RelayFlow *flow, const char *name, TopicUse use, RelayTopic *ret,
                                 Error *err);
/* The table has these columns from here on: schemas are registered, and a new encoder made. */
MUST_CHECK bool table_columns(RelayFlow *flow, RelayTable *table, const Schema *schema,
                              const ColumnsVersion *columns, Error *err);
/* Another one of the same columns, for another thread. */
TopicTable *table_encoder(const RelayFlow *flow, const RelayTable *table, const Schema *schema,
                          Error *err) OWNED_BY(topic_table_free);
/* JSON that holds every value. */
TopicTable *table_plain_encoder(const RelayFlow *flow, const RelayTable *table,
                                const Schema *schema, Error *err) OWNED_BY(topic_table_free);

/* --- outbox.c --- */
void outbox_done(Outbox *box);
void outbox_clear(Outbox *box); /* its memory is kept */
/* What is put next goes to this topic. */
TopicRecords *outbox_to(Outbox *box, RelayTopic *topic);
/* A marker for every partition of the table's topic. */
void outbox_put_emptied(Outbox *box, RelayTable *table, const TransactionOrigin *transaction,
                        const RowOrigin *row, RowPosition at);
/* The rows of a batch with origins, from *row on, until the box has bytes_max; *row == row_count:
 * all. */
MUST_CHECK bool outbox_put_rows(Outbox *box, RelayTopic *topic, TopicTable *encoder,
                                const Batch *batch, const TopicSnapshot *snapshots,
                                size_t bytes_max, uint32_t *row, Error *err);
/* Over to Kafka; waits while it takes nothing, and answers the source. The box is empty after. In
 * the capture thread, as all that follows. */
MUST_CHECK bool relay_send(RelayFlow *flow, Outbox *box, Error *err);
/* The same to Kafka itself, in a spooled flow, too; *ret_sent false: there was no room, and it was
 * not to wait. */
MUST_CHECK bool relay_hand_over(RelayFlow *flow, Outbox *box, bool waits, bool *ret_sent,
                                Error *err);
/* What was acknowledged by now. */
MUST_CHECK bool relay_acknowledge(RelayFlow *flow, Error *err);
/* Until all that was sent is acknowledged; the source is answered meanwhile. */
MUST_CHECK bool relay_settle(RelayFlow *flow, Error *err);
/* Transactional: what was sent since the last time, for good. */
MUST_CHECK bool relay_commit(RelayFlow *flow, Error *err);
/* The source is answered, if it is time to. */
MUST_CHECK bool relay_idle(RelayFlow *flow, Error *err);

/* --- dead_letter.c --- */
MUST_CHECK bool relay_letters_open(RelayFlow *flow, Error *err);
/* A record of the box, too large for its topic, goes there at once. */
MUST_CHECK bool relay_dead_letter(RelayFlow *flow, const Outbox *box, const KafkaRecord *record,
                                  const Error *why, Error *err);
/* outbox_put_rows to the table's topic; a row with a value that can't be written goes to the dead
 * letters. From any thread. */
MUST_CHECK bool relay_put_rows(RelayFlow *flow, Outbox *box, RelayTable *table, TopicTable *encoder,
                               const Batch *batch, const TopicSnapshot *snapshots, size_t bytes_max,
                               uint32_t *row, Error *err);

/* --- grow.c --- */
/* Which partitions the table's keys go to, of the state and the topic that is there. */
MUST_CHECK bool relay_partitions(RelayFlow *flow, RelayTable *table, bool known, Error *err);
/* Has any to get more? */
bool relay_grows(const RelayFlow *flow);
/* More of them, where more are declared or there, and the position has moved since the last time:
 * all that was ever sent is recorded. */
MUST_CHECK bool relay_grow(RelayFlow *flow, Error *err);
/* What a flow before has begun: nothing has been sent since. */
MUST_CHECK bool relay_grow_on(RelayFlow *flow, Error *err);

/* --- copy.c --- */
MUST_CHECK bool relay_copy_open(RelayFlow *flow, Error *err);
MUST_CHECK bool relay_copy(RelayFlow *flow, Error *err); /* until complete, or told to stop */
void relay_copy_close(RelayFlow *flow);

/* --- beside.c: all but its reader in the capture thread --- */
void relay_beside_open(RelayFlow *flow); /* if a copy is asked for; the copy before is complete */
void relay_beside_close(RelayFlow *flow);
/* Records of the flow's box from `first` on are changes of the table. */
void relay_beside_saw(RelayFlow *flow, const RelayTable *table, size_t first);
void relay_beside_batch(RelayFlow *flow, const Batch *batch);
/* The table was emptied, or has other columns (of: NULL). */
void relay_beside_void(RelayFlow *flow, const RelayTable *table, const TransactionOrigin *of);
MUST_CHECK bool relay_beside_message(RelayFlow *flow, const Change *change, Error *err);
/* Something is to be done when a chunk is acknowledged. */
bool relay_beside_waits(const RelayFlow *flow);
MUST_CHECK bool relay_beside_step(RelayFlow *flow, Error *err);

/* --- spooled.c, given.c: what it is, stands there. All but the knocking in the capture thread ---
 */
MUST_CHECK bool relay_spool_open(RelayFlow *flow, Error *err); /* if one is declared */
void relay_spool_close(RelayFlow *flow);
/* Kafka can't be opened: can the flow go on without it? Then the state is what the note says. */
bool relay_spool_away(RelayFlow *flow, const Error *why);
bool relay_is_away(const RelayFlow *flow);
MUST_CHECK bool relay_spool_state(RelayFlow *flow, Error *err); /* the state is read */
/* As the note says. */
MUST_CHECK bool relay_spool_topic(const RelayFlow *flow, const char *name, RelayTopic *ret,
                                  Error *err);
/* The note says of topics and tables how they are now. */
MUST_CHECK bool relay_spool_know(RelayFlow *flow, Error *err);
/* Sets flow->spooled. */
MUST_CHECK bool relay_spool_begin(RelayFlow *flow, Error *err);
bool relay_spool_holds(const RelayFlow *flow);
/* RETRY "KafkaStalled": the next flow is spooled. */
bool relay_stalled(RelayFlow *flow, Error *err);
/* Of a flow that is not, while something waits: has it to be? */
MUST_CHECK bool relay_check_stalled(RelayFlow *flow, Error *err);
/* A commit has been waited for so long. */
MUST_CHECK bool relay_check_commit(RelayFlow *flow, int64_t waited_us, Error *err);
/* The box is empty after; waits while there is no room. */
MUST_CHECK bool relay_spool_put(RelayFlow *flow, Outbox *box, Error *err);
void relay_spool_checkpoint(RelayFlow *flow);
/* Tells the source, gives Kafka what it takes. */
MUST_CHECK bool relay_spool_step(RelayFlow *flow, bool at_checkpoint, Error *err);
/* Until what was put is durable, and the source was told; gives up on what takes too long. */
MUST_CHECK bool relay_spool_drain(RelayFlow *flow, Error *err);

/* --- box.c --- */
/* A box as bytes, and again; false: it is none, or is of a topic that find does not find. */
void relay_box_put(const Outbox *box, Bytes *to);
MUST_CHECK bool relay_box_take(const uint8_t *data, size_t bytes,
                               RelayTopic *(*find)(void *context, const char *name), void *context,
                               Outbox *to);

/* --- stream.c --- */
void relay_add_point(RelayFlow *flow, RowPosition at);
bool relay_transaction_due(RelayFlow *flow);
MUST_CHECK bool relay_stream(RelayFlow *flow, Error *err); /* returns on stop */

/* --- others.c: records of no table, where the manifest asks for them --- */
MUST_CHECK bool relay_others_open(RelayFlow *flow, Error *err);
void relay_others_close(RelayFlow *flow);
void relay_put_message(RelayFlow *flow, const Change *change);
void relay_put_heartbeat(RelayFlow *flow); /* if it is time to */
void relay_put_statement(RelayFlow *flow, const Change *change, TopicSnapshot snapshot);
/* What the table is made by, in front of its copy. */
MUST_CHECK bool relay_put_definition(RelayFlow *flow, const RelayTable *table, Error *err);

/* --- transactions.c; nothing, unless the manifest asks for it --- */
void relay_counted_done(RelayFlow *flow);
void relay_count_rows(RelayFlow *flow, const RelayTable *table, const Batch *batch);
void relay_count_truncate(RelayFlow *flow, const RelayTable *table, const Change *change);
void relay_count_message(RelayFlow *flow, const Change *change);
void relay_count_end(RelayFlow *flow, const Change *change);
void relay_put_counted(RelayFlow *flow); /* those that are whole at the checkpoint */

/* --- progress.c --- */
void relay_register(Relay *relay);
void table_register(RelayTable *table);
void relay_show(RelayFlow *flow); /* if it is time to */
