/* What is asked of the server beside the stream, every few seconds, over the query connection: how
 * much log the slot makes it keep, and how long it will; and the heartbeats that move an idle
 * database's slot on. Nothing here waits: a question is sent, and its answer taken when it is
 * there.
 *
 * What moves an idle database's slot on is the server's keepalives: they say how far it has
 * decoded, and nothing that is ours was left out on the way. Heartbeats are for when none come:
 * when the server's log has gone on for a whole interval and the stream has not, a logical message
 * (pg_logical_emit_message) is written, which wakes the server's sender; pgoutput need not send it.
 * A table that the manifest names is written to in each interval, whatever else happens: who wants
 * to see in the lake how fresh it is has a row that says so. Where neither may be done (a standby,
 * a right that lacks), the stream goes by the keepalives alone. */
#pragma once

#include "agent/capture/postgres/postgres.h"

#define HEARTBEAT_PREFIX "firn.heartbeat" /* prefix of the messages */
#define WATCH_SAMPLES 32

typedef struct WatchSample {
    int64_t at_us;
    uint64_t retained;
} WatchSample;

typedef enum WatchQuestion { WATCH_NOTHING, WATCH_SLOT, WATCH_HEARTBEAT } WatchQuestion;

typedef struct Watch {
    Postgres *postgres;
    char *slot_sql;
    char *heartbeat_sql; /* NULL: none, or no more */
    WatchQuestion asked;
    int64_t asked_us, due_us, heartbeat_due_us;
    uint64_t end_asked; /* of the server's log, at the latest answer */
    uint64_t received;  /* by the stream, then */
    bool left_behind;   /* the log has gone on since, and the stream has not */
    WatchSample samples[WATCH_SAMPLES];
    size_t sample_count; /* ever */
    LogHeadroom latest;
    uint64_t heartbeats;
} Watch;

void watch_init(Watch *watch, Postgres *postgres, int64_t now_us);
void watch_done(Watch *watch);
/* To be called often. received: how far the stream is. CONFIG "SlotLost": the server has let log go
 * that the slot needs. What else goes wrong is passed over: it is asked again. */
MUST_CHECK bool watch_step(Watch *watch, int64_t now_us, uint64_t received, Error *err);

/* Pure: by how much the retained log grows, bytes per second, over the samples (*ret_seconds long);
 * 0: not known, or it does not grow. */
double watch_growth(const WatchSample *samples, size_t count, double *ret_seconds);
