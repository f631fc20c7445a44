/* What follows a Connector, whatever it fills (agent/pipeline: tables; agent/relay: topics), is
 * tried again and again as errors say, and shows how far it is. Such a kind has a Supervised as the
 * first member of its own struct, and the files of its folder may read and write its fields.
 *
 *   supervise.c  the loop: the one place that reads an error's kind; and tables to copy anew
 *   orders.c     what a person asks of it meanwhile: a pause, tables to be copied again; of a
 * unit's own process, to go on from elsewhere look.c       tables that are added at the source
 *   headroom.c   the log that the source keeps
 *   copying.c    what copies have in common (copying.h)
 *   trouble.c    tables that can't be committed for now, while all else goes on
 *   progress.c   figures for metrics, health and the progress line */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/supervise/copying.h"
#include "common/manifest/manifest.h"
#include "common/metrics.h"

typedef enum Phase {
    PHASE_PENDING,
    PHASE_SNAPSHOTTING,
    PHASE_CATCHING_UP,
    PHASE_STREAMING,
    PHASE_RETRYING,
    PHASE_DRAINING,
    PHASE_STOPPED,
    PHASE_PAUSED
} Phase;
const char *phase_name(Phase phase);

/* How far what was asked for is. */
typedef enum RequestState {
    REQUEST_NONE,
    REQUEST_WAITING,
    REQUEST_RUNNING,
    REQUEST_DONE,
    REQUEST_REFUSED
} RequestState;
const char *request_state_name(RequestState state);

#define REQUEST_PLACE_BYTES 128 /* of what there are many of, the beginning */

typedef struct Figures {
    Phase phase;
    uint32_t tables;
    uint64_t rows;      /* copied or changed rows passed on since the start */
    CopyFigures copy;   /* while tables are copied */
    uint64_t lag_bytes; /* from what is durable to the source's end */
    int64_t
        freshness_us; /* age of the oldest source transaction that is not yet durable; 0: none */
    uint64_t commits;
    char error[512];                  /* the latest error while retrying, else "" */
    char reason[64];                  /* its code */
    char request[COPY_REQUEST_BYTES]; /* the latest request's id; "": there was none */
    RequestState request_state;
    char refusal[200]; /* why it is refused */
    /* where a table stood, and stands by what was asked for: "<snapshot>@<lanes>"; "": not said */
    char request_from[REQUEST_PLACE_BYTES], request_to[REQUEST_PLACE_BYTES];
} Figures;

/* A set. */
typedef struct Names {
    char **items;
    size_t count;
} Names;
bool names_hold(const Names *names, const char *name);
void names_add(Names *names, const char *name);
void names_drop(Names *names, const char *name);
void names_done(Names *names);

/* trouble.c. Begins as zero; time is the caller's, in order. */
typedef struct Trouble {
    Names tables;
    int64_t since_us, last_us;
    Error err; /* the latest */
} Trouble;
void trouble_done(Trouble *trouble);
void trouble_put(Trouble *trouble, const char *table_name, const Error *err, int64_t now_us);
void trouble_drop(Trouble *trouble, const char *table_name);
/* NULL: there is none, or none that lasts. */
const Error *trouble_shown(Trouble *trouble, int64_t now_us);

/* What is said of the source's log (headroom.c). */
typedef struct Headroom {
    Metric *retained, *bytes, *seconds, *status, *heartbeats;
    LogStatus said_status; /* with the latest warning; LOG_UNKNOWN: there is none */
    int64_t again_us;
    int64_t short_us; /* when it was short last */
} Headroom;

typedef struct Supervised Supervised;
typedef struct SupervisedKind {
    /* One attempt. True: stopped, or done; *ret_again: another one is to begin at once. */
    bool (*attempt)(Supervised *supervised, bool *ret_again, Error *err);
    void (*free)(Supervised *supervised);
} SupervisedKind;

struct Supervised {
    const SupervisedKind *kind;
    const ConnectorSpec *connector;
    const TextList *resnapshot; /* "schema.table" to copy afresh, whatever was confirmed; may be
                                   NULL */
    char *name;                 /* "retail/shop" */
    atomic_bool stop;
    pthread_mutex_t lock; /* over figures, trouble, the names, and what is asked for */
    Figures figures;
    CopyRequest request;
    UnitRequest unit_request;
    int64_t paused_us;    /* since when; 0: it does not pause */
    Trouble trouble;      /* of this attempt */
    Names begun;          /* tables whose --resnapshot has begun: a retry goes on with it */
    Names outdated;       /* tables whose copy has to begin anew: its columns changed */
    uint64_t rows_before; /* of earlier attempts */
    uint64_t commits_before;
    uint64_t keyed_reads_before;
    uint64_t heartbeats_before;
    Headroom headroom;
    struct {
        Metric *phase, *lag, *freshness, *restarts, *confirmed, *received, *keyed_reads;
    } metrics;
};

/* --- for whoever runs it --- */
/* NULL is fine. */
void supervised_free(Supervised *supervised);
/* Runs until stopped, done (snapshot mode Only), or an error that no retry mends. Logs what
 * happens. */
MUST_CHECK bool supervised_run(Supervised *supervised, Error *err);
/* From any thread: drain, make everything durable, and return from supervised_run. */
void supervised_stop(Supervised *supervised);
/* Thread-safe. */
void supervised_figures(Supervised *supervised, Figures *ret);
/* What is asked of it now, from any thread and as often as one likes: whether it is to pause, and
 * the text of an annotation firn.dev/resnapshot (NULL: none). */
void supervised_order(Supervised *supervised, bool pause, const char *resnapshot);
/* Of a unit's own process: the texts of its annotations (NULL: none); a rollback comes first. */
void supervised_unit_order(Supervised *supervised, const char *positions, const char *rollback);

/* --- for its kind --- */
/* The spec and the list outlive it. */
void supervised_init(Supervised *supervised, const SupervisedKind *kind,
                     const ConnectorSpec *connector, const TextList *resnapshot);
void supervised_done(Supervised *supervised); /* what supervised_init made */
void supervised_phase(Supervised *supervised, Phase phase);
/* What an attempt that has ended leaves to the next one's figures; capture may be NULL. */
void supervised_ended(Supervised *supervised, const Capture *capture, uint64_t rows,
                      uint64_t commits);
/* Was the table's copying afresh asked for, and has not begun yet? */
bool supervised_resnapshots(Supervised *supervised, const char *table_name);
/* Has the table's unfinished copy to begin anew? */
bool supervised_copies_anew(Supervised *supervised, const char *table_name);
void supervised_outdated(Supervised *supervised, const char *table_name);
/* The table's copy has begun, durably: neither is true from here on. */
void supervised_copy_begun(Supervised *supervised, const char *table_name);
/* orders.c. Is the log to be left alone? */
bool supervised_pauses(Supervised *supervised);
/* What a flow that begins is to copy again (of what was refused no table), the caller's to be done;
 * and was anything else asked for since? */
void supervised_request(Supervised *supervised, CopyRequest *ret);
bool supervised_asks_more(Supervised *supervised, const CopyRequest *known);
/* How far it is; refusal "": it is not refused. */
void supervised_asked(Supervised *supervised, const CopyRequest *request, RequestState state,
                      const char *refusal);
/* What was running is done. */
void supervised_copied(Supervised *supervised, const CopyRequest *request);
/* The request for a unit's table that is not settled, the caller's to be done; is another one asked
 * for by now? And how far it is. */
void supervised_unit_request(Supervised *supervised, UnitRequest *ret);
bool supervised_unit_asks_more(Supervised *supervised, const UnitRequest *known);
void supervised_unit_asked(Supervised *supervised, const char *id, RequestState state,
                           const char *why, const char *from, const char *to);
/* trouble.c. The table can't be committed for now; it is. */
void supervised_failed(Supervised *supervised, const char *table_name, const Error *err);
void supervised_committed(Supervised *supervised, const char *table_name);
/* Of a flow that runs: that phase, or Retrying, with the error, while a table can't be committed.
 */
void supervised_show_phase(Supervised *supervised, Phase phase);
/* headroom.c */
void headroom_register(Supervised *supervised, const char *label);
void supervised_headroom(Supervised *supervised, const CaptureFigures *figures);

/* look.c. Is there a table that was not there when the capture was opened, that `takes` takes and
 * that could be captured? Then *leaves is set: the flow is to drain, and another one to begin. Asks
 * now and then; *after_us begins as 0. In the capture's thread. False: a table can't be followed as
 * it is now (CONFIG). */
typedef bool SupervisedTakes(void *context, const char *table_name);
MUST_CHECK bool supervised_look(Supervised *supervised, Capture *capture, SupervisedTakes *takes,
                                void *context, atomic_bool *leaves, int64_t *after_us,
                                Error *ret_err);

/* --- progress.c --- */
void progress_register(Supervised *supervised);

#define MARKS_MAX 256
#define MARK_EVERY_US INT64_C(1000000)
/* Checkpoints that are not durable yet, at most one a second: when one is, all that was committed
 * at the source by commit_us is downstream. */
typedef struct Mark {
    RowPosition at;
    int64_t commit_us;
} Mark;
typedef struct Marks {
    Mark items[MARKS_MAX];
    size_t head, count;
    int64_t after_us;
    int64_t behind_us; /* age of the latest transaction when it was handed out */
} Marks;
void marks_put(Marks *marks, const Change *checkpoint);

/* What there is to be shown now; draining: it was told to end. */
typedef struct Shown {
    const CaptureFigures *capture;
    CopyFigures copy;
    RowPosition durable;
    uint64_t rows, commits; /* of this attempt */
    bool draining;
} Shown;
void supervised_show(Supervised *supervised, Marks *marks, const Shown *shown);
