/* What a resource's status says. Pure: from what was seen to the words, by the conventions of
 * Kubernetes' API and kstatus: Ready is Unknown at first touch; Reconciling and Stalled stand as
 * abnormal-true; one transition time per change of a condition's status.
 *
 *   conditions.c   the list of conditions
 *   pods.c         what Deployment and Pods say about a process
 *   reported.c     what the agents' own words mean
 *
 * https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md */
#pragma once

#include "common/channel/channel.h"
#include "operator/api/api.h"

typedef enum Health {
    HEALTH_UNKNOWN,  /* nothing is known yet */
    HEALTH_PROGRESS, /* on its way */
    HEALTH_READY,
    HEALTH_STALLED, /* goes on by itself when what the message names is mended */
} Health;

/* The state of one thing, in a word and a sentence. */
typedef struct State {
    Health health;
    char phase[16];    /* "Pending", "Streaming", "Stopped", "Stalled" */
    char reason[64];   /* CamelCase, as README lists them */
    char message[600]; /* names the thing, the value, the way out */
    bool repeated;     /* what holds of another resource, which has the Event */
} State;
State state_of(Health health, const char *phase, const char *reason, const char *format, ...)
    PRINTF(4, 5);
bool state_equals(const State *a, const State *b);

/* --- pods.c --- */

/* By a Deployment's counts (NULL: it is not there yet). False: its Pods may know more. */
bool state_of_counts(const DeploymentCounts *counts, State *ret);
/* By a Deployment (NULL: likewise) and the Pods that it has. *ret_again_s: in so many seconds they
 * mean another thing, though nothing of them changes; 0: they don't. */
State state_of_pods(const json_t *deployment, const json_t *pods, int64_t now_s,
                    int64_t *ret_again_s);
/* The reason and the error of the last line of an agent's JSON log that has them; false: none. */
bool state_of_log(const char *log, char *reason, size_t reason_bytes, char *message,
                  size_t message_bytes);

/* --- reported.c --- */

/* What is known of the processes behind a resource, as one. */
typedef struct Reported {
    bool known;       /* they have reported: what follows is what they said */
    bool silent;      /* fewer are heard than there are */
    int64_t heard_s;  /* when one was heard last; 0: never */
    ChannelFlow flow; /* to be given back */
    unsigned tables;  /* of the process that has the most */
    unsigned copying;
    int64_t copied, to_copy;
} Reported;
void reported_done(Reported *reported);
/* What Kubernetes says of the Pods, and what they say themselves. */
State state_of_reported(const State *by_pods, const Reported *reported);

typedef enum LogSays {
    LOG_SAYS_NOTHING,
    LOG_SAYS_ENOUGH,
    LOG_SAYS_SHORT,
    LOG_SAYS_AT_RISK,
    LOG_SAYS_LOST
} LogSays;
LogSays log_says(const ChannelFlow *flow);

/* The texts live as long as the report. A type of NULL ends the list. */
typedef struct Condition {
    const char *type, *status, *reason, *message;
} Condition;
void conditions_of_connector(const Reported *reported, Condition ret[4]);
/* promised_ms: spec.sla.freshness; 0: none */
/* of_topic: it reads one that others fill. */
void conditions_of_unit(const Reported *reported, int64_t promised_ms, bool of_topic,
                        Condition ret[4]);

/* Of one unit's table, or of all that a pattern has found. */
typedef struct UnitFigures {
    int64_t rows, lag_bytes, lag_records, freshness_ms; /* CHANNEL_NOT_SAID */
    int64_t at_s;
    int64_t upkeep; /* of the tables that are known, the worst; CHANNEL_NOT_SAID */
} UnitFigures;
/* Of the table that a unit fills, by its process and the unit's Ready (NULL: none yet). alone: the
 * process fills no other, so that what ended it is of this one. */
void conditions_of_table(const Reported *reported, const json_t *ready, bool alone, int64_t upkeep,
                         Condition ret[3]);

/* --- conditions.c --- */

/* Sets one: its transition time is kept while its status is. `now` is RFC 3339. */
void condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
                   const char *message, int64_t generation, const char *now);
const json_t *condition_of(const json_t *object, const char *type); /* in its status */
bool condition_is(const json_t *object, const char *type, const char *status, const char *reason);
/* Seconds since its last transition; -1: not there. */
int64_t condition_age_s(const json_t *object, const char *type, int64_t now_s);
/* Seconds since a time as Kubernetes writes it, 0 where that is to come; -1: it is none (or NULL).
 */
int64_t time_age_s(const char *text, int64_t now_s);

/* The whole status for a server-side apply: Ready, Reconciling, Stalled from the state, the
 * `others`, and what `more` (may be NULL) has beside them. *ret_changed: it differs from the
 * object's. */
json_t *status_of(const json_t *object, const State *state, const Condition *others,
                  const json_t *more, int64_t now_s, bool *ret_changed);
void status_time(int64_t now_s, char ret[32]);
