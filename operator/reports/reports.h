/* What agents say of themselves, by whom they work for: "c/namespace/name" is a Connector's
 * process, "u/namespace/name" those of a unit that has its own.
 *
 *   owners.c   what is kept of each process
 *   merge.c    several processes as one
 *   line.c     whose status is to be written next
 *   live.c     the agents' figures as they are now, for the page
 *   write.c    the agents' key figures in the operator's /metrics
 *
 * What is shown of figures in statuses is a copy that is taken when their turn comes, so that looks
 * in between find nothing new. What a person wants to know at once (another phase, an error,
 * silence) waits in a line of its own that goes first. Time is the caller's. Used by several
 * threads. */
#pragma once

#include <jansson.h>
#include <pthread.h>

#include "common/bucket.h"
#include "operator/status/status.h"

typedef struct Reports Reports;
void reports_free(Reports *reports);
/* figures_us: how often figures are shown; 0: once a minute. */
Reports *reports_new(int64_t figures_us, int64_t now_us) OWNED_BY(reports_free);

/* --- from the channel --- */

void reports_joined(Reports *reports, const char *key, const char *pod);
/* The report's texts are taken. */
void reports_said(Reports *reports, const char *key, const char *pod, ChannelReport *report,
                  int64_t now_us, int64_t now_s);
void reports_left(Reports *reports, const char *key, const char *pod);
/* There is no such resource any more: what is known of it goes with its last process. */
void reports_forget(Reports *reports, const char *key);

/* --- the line --- */

/* Who has fallen silent, and whose figures are due; to be called once a second. */
void reports_scan(Reports *reports, int64_t now_us);
/* The next whose status is to be written, if there may be another one by now: at most
 * REPORTS_WRITES_PER_S are given in the long run. turn: also of those whose figures are due;
 * *ret_figures: it is one of these. NULL: none. The caller's. */
char *reports_next(Reports *reports, int64_t now_us, bool turn, bool *ret_figures);
/* Stands in the same line, behind: a unit whose figures its Connector's process tells. */
void reports_line_up(Reports *reports, const char *key);
#define REPORTS_WRITES_PER_S 20

/* --- for statuses --- */

/* expected: how many processes are to be heard by now; -1: as was said before. */
void reports_see(Reports *reports, const char *key, int expected, int64_t now_us, Reported *ret);
/* A unit's name → its table's name at the source, of all units that are told of. NULL: nothing is
 * known. The caller's. */
json_t *reports_tables(Reports *reports, const char *key);
/* owners: the name of a unit in the report → the IngestionUnit whose pattern found it. True: that
 * was not known. */
bool reports_claim(Reports *reports, const char *key, const json_t *owners);
/* The figures of one unit, and with them those of the units that it claims: a pattern's. False: it
 * is not told of. */
bool reports_of_unit(Reports *reports, const char *key, const char *unit, UnitFigures *ret);
/* Whether its LakeTable has something new to repeat since this was asked last. */
bool reports_has_news(Reports *reports, const char *key, const char *unit);

/* --- for the live page --- */

/* As it is told now: {"flow": its figures, with "heard", "tables": {unit: figures}}; of several
 * processes as one. NULL: nobody counts. The caller's. */
json_t *reports_live(Reports *reports, const char *key);

/* --- for /metrics --- */

void reports_write(Reports *reports, Bytes *to);

/* --- inside --- */

typedef struct Told {
    ChannelTable now;   /* with its texts */
    ChannelTable shown; /* its numbers */
    bool is_shown;
    bool is_news;   /* what a LakeTable repeats was shown anew, and nobody has asked since */
    unsigned round; /* of its agent's, when it was named last */
} Told;

typedef struct Agent {
    char *pod;
    unsigned connected; /* often: the one before may not know yet that it is broken */
    bool whole;         /* all of its tables were told, by this connection or one before */
    bool is_new;        /* a connection that has not told all yet */
    unsigned round;     /* connections */
    int64_t heard_us, heard_s;
    ChannelFlow flow;
    Told **tables; /* by unit and table */
    size_t table_count, held;
} Agent;

typedef struct Owner {
    struct Owner *next;  /* of its slot */
    struct Owner *after; /* in line */
    bool in_line;
    char *key;
    Agent *agents;
    size_t agent_count;
    unsigned expected;
    int64_t expected_us, seen_us;
    int64_t due_us; /* when its figures are; INT64_MAX: they stand in line */
    bool silent;
    bool is_gone;  /* the resource */
    bool moved;    /* a process came or went, or silence did, since its word was made */
    uint64_t word; /* of what was told at once last */
    bool is_shown;
    ChannelFlow shown;
    int64_t shown_s;
    json_t *claims;
} Owner;

typedef struct Key {
    struct Key *next;
    char text[];
} Key;

#define REPORTS_SLOTS 4096
struct Reports {
    pthread_mutex_t lock;
    Owner *slots[REPORTS_SLOTS];
    size_t count;
    Owner *first, *last; /* in line, for a word */
    Key *keys, **end;    /* in line, for figures */
    size_t key_count;
    Bucket bucket;
    int64_t figures_us;
};
#define REPORTS_SILENT_US INT64_C(25000000) /* so that it shows within 30 s */

/* merge.c: all under the lock. */
bool owner_counts(const Owner *owner, const Agent *agent);
/* False: nobody counts. *to is to be given back. */
bool owner_merge(const Owner *owner, ChannelFlow *to);
bool owner_is_silent(const Owner *owner, int64_t now_us);
void owner_show(Owner *owner);
uint64_t owner_word(const Owner *owner);
/* line.c: likewise. */
void owner_line_up(Reports *reports, Owner *owner);
void line_put_key(Reports *reports, const char *text);
/* owners.c */
Owner *owner_find(Reports *reports, const char *key);
void reports_each(Reports *reports, void (*each)(void *context, Owner *owner), void *context);
DEFINE_AUTO(Reports, reports_free);
