/* One Connector and all its units in one process: source → batch → table, with nothing in between
 * but bounded queues. This folder owns every thread but the HTTP server's, and every decision about
 * when.
 *
 *   supervise.c  what agent/supervise runs again and again
 *   run.c        one attempt from open to close, in order: bind, copy and stream, drain
 *   bind.c       which captured table goes into which lake table
 *   copy.c       the initial copy: readers side by side, each with a Parquet writer of its own
 *   stream.c     the capture thread: reads the log, hands items to the writers, confirms late
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

#include "agent/supervise/supervise.h"

typedef struct Pipeline Pipeline;

/* The manifest and the list outlive it. resnapshot: "schema.table" to copy afresh, whatever the
 * tables and records say; may be NULL. */
Supervised *pipeline_new(const Manifest *manifest, const ConnectorSpec *connector,
                         const TextList *resnapshot) OWNED_BY(supervised_free);

/* ---------- subcommands ---------- */
/* Prints to stdout. With json one object per table, else text. */
MUST_CHECK bool pipeline_inspect(const LakeTableSpec *table, bool as_json, Error *err);
/* A table by its folder ("/lake/shop/orders"), without a manifest. */
MUST_CHECK bool pipeline_inspect_location(const char *location, bool as_json, Error *err);
/* Removes what was made: slot and publication of managed connectors, the confirmed record, and the
 * tables whose deletionPolicy is Drop. Says on stdout what went and what stays. */
MUST_CHECK bool pipeline_drop(const Manifest *manifest, Error *err);
