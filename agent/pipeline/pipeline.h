/* One Connector and all its units in one process: source → batch → table, with nothing in between
 * but bounded queues. This folder owns every thread but the HTTP server's, and every decision about
 * when.
 *
 *   supervise.c  runs a flow again and again as the error's kind says; only it logs errors
 *   run.c        one attempt from open to close, in order: bind, copy and stream, drain
 *   bind.c       which captured table goes into which lake table
 *   copy.c       the initial copy: readers side by side, each with a Parquet writer of its own
 *   stream.c     the capture thread: reads the log, hands items to the writers, confirms late
 *   look.c       tables that are added at the source
 *   writer.c     writer threads: apply batches, join pieces of copies, commit at checkpoints
 *   commit.c     what comes of a commit's answer
 *   record.c     what was confirmed, beside the warehouse (law 2)
 *   progress.c   figures for metrics, health and the progress line
 *   inspect.c, drop.c  the subcommands of that name
 *
 * Threads of a flow: the capture thread (stream.c), W writers (tables are dealt out by number),
 * during a copy P readers. Batches move: capture → writer's queue → freed by the writer. A full
 * queue holds the capture thread, which then only answers keepalives; that reaches the source's
 * socket.
 *
 * Stop: the capture thread runs on to the next checkpoint, the writers commit everything, the
 * record is written, the source is told, in that order. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "common/manifest/manifest.h"

typedef struct Pipeline Pipeline;

typedef struct PipelineOptions {
    const TextList *resnapshot; /* "schema.table" to copy afresh, whatever the tables and records
                                   say; may be NULL */
} PipelineOptions;

void pipeline_free(Pipeline *pipeline);
/* The manifest outlives it. */
Pipeline *pipeline_new(const Manifest *manifest, const ConnectorSpec *connector,
                       const PipelineOptions *options) OWNED_BY(pipeline_free);
/* Runs until stopped, done (snapshot mode Only), or an error that no retry mends. Logs what
 * happens. */
MUST_CHECK bool pipeline_run(Pipeline *pipeline, Error *err);
/* From any thread: drain, commit, and return from pipeline_run. */
void pipeline_stop(Pipeline *pipeline);

typedef enum Phase {
    PHASE_PENDING,
    PHASE_SNAPSHOTTING,
    PHASE_CATCHING_UP,
    PHASE_STREAMING,
    PHASE_RETRYING,
    PHASE_DRAINING,
    PHASE_STOPPED
} Phase;
const char *phase_name(Phase phase);

/* What there is to copy, and what was read of it by the latest attempt. */
typedef struct CopyFigures {
    uint32_t tables; /* not complete */
    uint64_t rows, rows_estimate;
    uint64_t bytes, bytes_estimate;
} CopyFigures;

typedef struct PipelineFigures {
    Phase phase;
    uint32_t tables;
    uint64_t rows;      /* copied or changed rows applied since the start */
    CopyFigures copy;   /* while tables are copied */
    uint64_t lag_bytes; /* from what is durable to the source's end */
    int64_t
        freshness_us; /* age of the oldest source transaction that is not yet durable; 0: none */
    uint64_t commits;
    char error[512]; /* the latest error while retrying, else "" */
} PipelineFigures;
/* Thread-safe. */
void pipeline_figures(Pipeline *pipeline, PipelineFigures *ret);

/* ---------- subcommands ---------- */
/* Prints to stdout. With json one object per table, else text. */
MUST_CHECK bool pipeline_inspect(const LakeTableSpec *table, bool as_json, Error *err);
/* A table by its folder ("/lake/shop/orders"), without a manifest. */
MUST_CHECK bool pipeline_inspect_location(const char *location, bool as_json, Error *err);
/* Removes what was made: slot and publication of managed connectors, the confirmed record, and the
 * tables whose deletionPolicy is Drop. Says on stdout what went and what stays. */
MUST_CHECK bool pipeline_drop(const Manifest *manifest, Error *err);

DEFINE_AUTO(Pipeline, pipeline_free);
