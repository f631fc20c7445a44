/* One attempt of a pipeline, seen by the files of this folder alone. Everything in it is made in
 * run.c and freed there; a new attempt starts from what tables and records say. */
#pragma once

#include <pthread.h>

#include "agent/capture/capture.h"
#include "agent/pipeline/lake.h"
#include "agent/pipeline/pipeline.h"
#include "agent/table/table.h"
#include "common/metrics.h"
#include "common/queue.h"
#include "common/thread.h"

/* A lake, with the confirmed record of this connector in it. */
typedef struct Warehouse {
    Lake *lake;
    char *record_uri;
    json_t *record; /* as read at the start; NULL: none */
} Warehouse;

typedef struct TableMetrics {
    Metric *changes, *rows, *commits, *memory, *committed;
} TableMetrics;

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
    char *uuid; /* of the lake table */
    bool complete;
    TableMetrics metrics;

    /* the writer thread's own */
    RowPosition clean;        /* everything up to here is durable or was nothing */
    RowPosition checkpoint;   /* the latest one that was reached */
    bool pending;             /* applied, not committed */
    bool past_checkpoint;     /* rows were applied after `checkpoint` */
    int64_t pending_since_us; /* monotonic */

    /* under flow->lock: what the record says of it */
    Position committed;
    int64_t snapshot;
} BoundTable;

typedef enum ItemKind { ITEM_BATCH, ITEM_TRUNCATE, ITEM_CHECKPOINT, ITEM_DRAIN } ItemKind;
typedef struct Item {
    ItemKind kind;
    BoundTable *table;
    Batch *batch;
    RowPosition row; /* truncate, checkpoint */
} Item;

typedef struct Flow Flow;

typedef struct Writer {
    Flow *flow;
    Queue *queue;
    Thread *thread;
    BoundTable **tables;
    size_t table_count;
    atomic_bool done;
    RowPosition
        low; /* under flow->lock: everything up to here is durable in this writer's tables */
} Writer;

struct Pipeline {
    const Manifest *manifest;
    const ConnectorSpec *connector;
    PipelineOptions options;
    char *name; /* "retail/shop" */
    atomic_bool stop;
    pthread_mutex_t lock; /* over figures */
    PipelineFigures figures;
    uint64_t rows_before; /* of earlier attempts */
    uint64_t commits_before;
    struct {
        Metric *phase, *lag, *freshness, *restarts, *confirmed, *received;
    } metrics;
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
    Position copied; /* the position that the copy's snapshot stands for */

    Writer *writers;
    size_t writer_count;

    pthread_mutex_t lock;
    Error error; /* the first one of any thread */
    atomic_bool failed;
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
    return atomic_load_explicit(&flow->pipeline->stop, memory_order_relaxed);
}
void flow_phase(Flow *flow, Phase phase);

MUST_CHECK bool flow_bind(Flow *flow, Error *err); /* bind.c */
void flow_unbind(Flow *flow);
MUST_CHECK bool flow_copy(Flow *flow, Error *err);     /* copy.c */
MUST_CHECK bool flow_stream(Flow *flow, Error *err);   /* stream.c; returns on stop */
void flow_writers_start(Flow *flow, RowPosition from); /* writer.c */
void flow_writers_join(Flow *flow);
RowPosition flow_durable(Flow *flow);
MUST_CHECK bool record_load(Warehouse *warehouse, Error *err); /* record.c */
MUST_CHECK bool record_check(Flow *flow, BoundTable *table, Error *err);
MUST_CHECK bool record_table_behind(const Flow *flow, const BoundTable *table, Error *err);
RowPosition record_position(const BoundTable *table);
MUST_CHECK bool record_write(Flow *flow, RowPosition durable, Error *err);
bool pipeline_resnapshots(const Pipeline *pipeline, const char *table_name);
void progress_register(Pipeline *pipeline); /* progress.c */
void progress_table_register(BoundTable *table);
void progress_table(BoundTable *table);
