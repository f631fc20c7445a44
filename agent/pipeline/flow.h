/* One attempt of a pipeline, seen by the files of this folder alone. Everything in it is made in
 * run.c and freed there; a new attempt starts from what tables and records say. */
#pragma once

#include <pthread.h>

#include "agent/capture/capture.h"
#include "agent/commit/confirm.h"
#include "agent/commit/follow.h"
#include "agent/lake/lake.h"
#include "agent/pipeline/pipeline.h"
#include "agent/table/table.h"
#include "common/metrics.h"
#include "common/queue.h"
#include "common/thread.h"

/* A lake, with the confirmed record of this connector in it. */
typedef struct Warehouse {
    Lake *lake;
    char *record_uri;
    json_t *record;      /* as read at the start; NULL: none */
    json_t *by_uuid;     /* its entries */
    StoreTag record_tag; /* of what stands there, as read or written last */
} Warehouse;

typedef struct TableMetrics {
    Metric *changes, *rows, *commits, *memory, *committed, *filled, *upkeep;
} TableMetrics;

/* The copy of a table (copy.c). The writer thread's own once it runs, but for the atomics. */
typedef struct BoundCopy {
    bool active;  /* rows are missing yet */
    bool ends;    /* the next commit says that none is */
    Extents done; /* of what the table has, and what it gets next; until: the snapshot that the
                     stream has to pass */
    size_t ranges_left;           /* not joined yet */
    atomic_bool over;             /* the table was emptied: nothing more is to be read, */
    atomic_uint_fast32_t reading; /* but for ranges that are being read */
    CopyCount count;
} BoundCopy;

/* What a reader has written: files, and the ranges whose rows they are. */
typedef struct Piece {
    TableCopy *files;
    Extent *extents;
    size_t extent_count;
    size_t range_count;
} Piece;
void piece_free(Piece *piece);

/* A captured table and where it goes. */
typedef struct BoundTable {
    uint32_t number; /* capture's */
    const SourceTable *source;
    char *name;          /* "public.orders" */
    char *unit;          /* "retail/orders" */
    LakeTableSpec *made; /* from a pattern; owned; else NULL */
    const LakeTableSpec *spec;
    Warehouse *warehouse;
    Table *table;
    char *uuid;    /* of the lake table */
    bool complete; /* at the start of the flow: nothing is to be copied */
    bool begins;   /* nothing that the table holds counts: it is copied from the first row */
    BoundCopy copy;
    TableMetrics metrics;
    bool refused;       /* the last commit, for what it is */
    bool swept;         /* unfinished uploads were looked for */
    Follow follow;      /* the writer thread's own, once it runs */
    Position then, now; /* what it claimed when it was opened; the same in the source's own words
                           of now, where there are any */
    LaneValue lane;     /* … for a view */
    bool entered;       /* its entry for the record is the Follow's of now */
    size_t buffers;     /* table_buffers, and table_kept, as of the last look */
    size_t kept;
    bool has_later;    /* a checkpoint came while a commit was being settled: */
    RowPosition later; /* the latest such */
} BoundTable;

typedef enum ItemKind {
    ITEM_BATCH,
    ITEM_TRUNCATE,
    ITEM_PIECE,
    ITEM_SCHEMA,
    ITEM_CHECKPOINT,
    ITEM_DRAIN
} ItemKind;
typedef struct Item {
    ItemKind kind;
    bool alone; /* ITEM_SCHEMA: no row need follow */
    BoundTable *table;
    Batch *batch;
    Piece *piece;
    const Schema *schema; /* these two of ITEM_SCHEMA; the capture's */
    const char *shape;
    RowPosition row; /* truncate, schema, checkpoint */
} Item;

typedef struct Flow Flow;
typedef struct CopyRun CopyRun;   /* copy.c */
typedef struct Recorder Recorder; /* recorder.c */

typedef struct Writer {
    Flow *flow;
    Queue *queue;
    Thread *thread;
    BoundTable **tables;
    size_t table_count;
    size_t buffers, kept; /* of its tables */
    size_t bytes_max;     /* of both */
    atomic_bool done;
    uint32_t number;
} Writer;

struct Pipeline {
    Supervised base;
    const Manifest *manifest;
    const ConnectorSpec *connector;
    json_t *units_by_table; /* of units that name a table: their numbers in the manifest */
    Names without_rows; /* tables that once lacked a row that an update was of; under base.lock */
};

struct Flow {
    Pipeline *pipeline;
    Capture *capture;
    BoundTable *tables; /* bound ones, dense */
    size_t table_count;
    BoundTable **by_number; /* capture's number → bound table, or NULL */
    size_t captured_count;
    Warehouse **warehouses;
    size_t warehouse_count;
    CopyRequest request; /* tables to be copied again, once for its id */
    Position copied;     /* the position that the copy's snapshot stands for */

    CopyRun *copy;                /* copy.c */
    atomic_uint_fast32_t copying; /* tables with rows missing */

    Writer *writers;
    size_t writer_count;

    RowPosition told;     /* by whoever was at it before, as read before record and tables */
    Confirm confirm;      /* the capture thread's, but for what writers bring under the lock */
    RowPosition *lows;    /* confirm's arrays */
    RecordEntry *entries; /* one per table, as in `tables` */

    pthread_mutex_t lock;
    Error error; /* the first one of any thread */
    atomic_bool failed;
    atomic_bool leaves; /* it drains, and another flow begins: there are tables to add */
    atomic_uint_fast64_t rows;
    atomic_uint_fast64_t commits;
};

/* From any thread: remembers the first error; everybody stops at the next look. */
void flow_fail(Flow *flow, const Error *err);
static inline bool flow_failed(Flow *flow)
{
    return atomic_load_explicit(&flow->failed, memory_order_relaxed);
}
static inline bool flow_stopping(Flow *flow)
{
    return atomic_load_explicit(&flow->pipeline->base.stop, memory_order_relaxed) ||
           atomic_load_explicit(&flow->leaves, memory_order_relaxed);
}
void flow_phase(Flow *flow, Phase phase);

MUST_CHECK bool flow_bind(Flow *flow, Error *err); /* bind.c */
void flow_unbind(Flow *flow);
json_t *flow_units_by_table(const Pipeline *pipeline);
/* Does a unit take the table of that name? */
bool flow_takes(const Flow *flow, const char *name);
/* copy.c. Open: in the capture's thread, before the stream; the tables take rows of the stream from
 * then on. Start: the writers run. Join: before they end. */
MUST_CHECK bool flow_copy_open(Flow *flow, Error *err);
void flow_copy_start(Flow *flow);
void flow_copy_join(Flow *flow);
void flow_copy_close(Flow *flow);
/* In the table's writer thread, the table's last commit being settled. */
MUST_CHECK bool flow_copy_piece(BoundTable *table, Piece *piece, Error *err);
void flow_copy_truncated(BoundTable *table);
bool flow_copy_due(BoundTable *table); /* is the copy's last commit to be made, at once? */
void flow_copy_committed(Flow *flow, BoundTable *table);
MUST_CHECK bool flow_stream(Flow *flow, Error *err);     /* stream.c; returns on stop */
MUST_CHECK bool flow_copy_alone(Flow *flow, Error *err); /* the copy without the stream behind it */
/* A claim that was made before the source failed over counts as one of now (bind.c). */
void flow_adopt(BoundTable *table, TableView *view);
size_t flow_writers_count(const Flow *flow); /* writer.c */
void flow_writers_start(Flow *flow);
void flow_writers_join(Flow *flow);
/* Does what the action says, and what comes of it, until the table is settled or waits for its next
 * try (commit.c). */
MUST_CHECK bool flow_obey(Flow *flow, BoundTable *table, FollowAction action, Error *err);
/* Why only a person can help, and how; returns false. */
bool flow_stalled(const BoundTable *table, StallReason reason, Error *err);
MUST_CHECK bool record_load(Warehouse *warehouse, Error *err); /* record.c */
/* That of the record's own position; NULL: none. */
const char *record_anchor(const BoundTable *table);
/* What it says of the table; false: nothing. ret_recorded->source "" if it holds no position. */
bool record_entry(const BoundTable *table, RecordEntry *ret, Position *ret_entry_position,
                  Position *ret_recorded);
MUST_CHECK bool record_write(Flow *flow, RowPosition durable, Error *err);
/* The least position that the records of all warehouses hold; {0, 0} where there is none. */
MUST_CHECK bool record_read(Flow *flow, RowPosition *ret, Error *err);
/* supervise.c: what outlives a flow. */
/* Did the table once lack a row that an update was of? */
bool pipeline_lacks_rows(Pipeline *pipeline, const char *table_name);
void pipeline_lacked_row(Pipeline *pipeline, const char *table_name);
void progress_copy(Flow *flow, CopyFigures *ret);
/* A thread does these two, one job at a time, so that the capture thread never waits for a store.
 */
typedef struct RecordAnswer {
    ConfirmKind kind; /* what was asked: CONFIRM_WRITE_RECORD or CONFIRM_READ_RECORD */
    CommitAnswer answer;
    Error error;          /* unless DONE */
    RowPosition recorded; /* READ */
} RecordAnswer;
Recorder *recorder_start(Flow *flow);   /* recorder.c */
void recorder_stop(Recorder *recorder); /* when the job under way has ended */
void recorder_ask(Recorder *recorder, ConfirmAction action);
bool recorder_take(Recorder *recorder, RecordAnswer *ret); /* false: not answered yet */
/* fills.c. The table holds every row by now: what its updates leave out it fills in itself. */
void flow_fills(Flow *flow, const BoundTable *table);
void flow_put_failed(Flow *flow, const BoundTable *table, const Error *err);
void progress_table_register(BoundTable *table);
void progress_table(BoundTable *table);
