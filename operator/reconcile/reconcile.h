/* The operator: watches fill the cache and the queue, workers take keys and make what is there into
 * what is wanted. Each look at a key begins from the cache alone and may be broken off anywhere:
 * the next one, of this process or of another, goes on from what it finds.
 *
 *   reconcile.c    threads, the workers, what failed
 *   notify.c       which keys a change concerns
 *   connector.c    a Connector: its bundle, its children, the verdict on its units
 *   unit.c         an IngestionUnit
 *   lake_table.c   a LakeTable
 *   finalize.c     a Connector that is being deleted: its slot and publication go first
 *   drop_table.c   a LakeTable that is being deleted and is to be dropped
 *   drop_job.c     what these two have in common: the Job, and for how long it is tried
 *   children.c     objects applied when they differ, removed when nobody wants them
 *   say.c          status and Events
 *   verdicts.c     what a Connector's look found out about others
 *   agents.c       the channel: who is listened to, and whose turn it is to be looked at
 *   orders.c       what is asked of a Connector's process while it runs, and what came of it
 *   kafka_names.c  two resources of one name in Kafka
 *   secrets.c      which of those that specs name are there
 *   patterns.c     a unit and a table of its own for each table that a pattern found */
#pragma once

#include "operator/cache/cache.h"
#include "operator/channel/channel.h"
#include "operator/desired/desired.h"
#include "operator/lease/lease.h"
#include "operator/queue/queue.h"
#include "operator/reports/reports.h"
#include "operator/status/status.h"

typedef struct OperatorOptions {
    const char *const *namespaces; /* none: all */
    size_t namespace_count;
    AgentDefaults agent;
    unsigned workers;   /* 0: 4 */
    int64_t cleanup_us; /* for how long it is tried to drop what a deleted one leaves; 0: 5 min */
    int64_t missing_us; /* how long a reference may lead nowhere before that is Stalled; 0: 15 s */
    int64_t figures_us; /* how often figures are written into statuses; 0: 60 s */
    const ChannelOptions *channel; /* NULL: agents don't report */
} OperatorOptions;

typedef struct Operator Operator;
void operator_free(Operator *op); /* stopped; joins the watches */
/* Starts to watch. The Api is the caller's, and stopped before operator_free. */
Operator *operator_new(Api *api, const OperatorOptions *options) OWNED_BY(operator_free);
/* Waits for the first lists, then works for as long as the lease is ours; false: it was lost.
 * lease NULL: there is nobody else. */
bool operator_work(Operator *op, Lease *lease);
bool operator_is_synced(const Operator *op);
bool operator_is_working(const Operator *op);
/* False: agents can't be listened to, and nothing is made until they can. */
bool operator_listens(const Operator *op);
/* What is there to be shown; they live as long as it does. */
Cache *operator_cache(const Operator *op);
Reports *operator_reports(const Operator *op);

/* --- inside --- */

#define FINALIZER "firn.dev/source"
#define FINALIZER_TABLE "firn.dev/table"

/* Units and tables that came, went or were changed: see crowd_ends_us. */
typedef struct Crowd {
    _Atomic int64_t until_us, last_us;
    _Atomic int64_t longest_us; /* between the last ones */
    _Atomic int64_t ended_us;   /* when it was over, or will be */
} Crowd;

struct Operator {
    Api *api;
    OperatorOptions options;
    Cache *cache;
    WorkQueue *queue;
    struct Verdicts *verdicts;
    Reports *reports;
    Channel *_Atomic channel;
    struct Thread *agents;
    atomic_bool working;
    Crowd crowd;
    struct OperatorWatch *watches;
    size_t watch_count;
    WatchFigures watch_figures;
};

/* A look at one object; now_s is the wall clock. *ret_again_us: look again then at the latest, by
 * the monotonic clock. */
typedef struct Look {
    Operator *op;
    const char *namespace_name, *name;
    int64_t now_s, now_us;
    bool light;       /* only what is said may be another: what was made stands as it was made */
    int64_t again_us; /* 0: no need */
} Look;
MUST_CHECK bool connector_look(Look *look, Error *err);
MUST_CHECK bool unit_look(Look *look, Error *err);
MUST_CHECK bool lake_table_look(Look *look, Error *err);
/* Of kind and object: that the finalizer stands or not; others' stay. */
MUST_CHECK bool finalizer_write(Look *look, Kind kind, const json_t *object, const char *finalizer,
                                bool stands, Error *err);
MUST_CHECK bool lake_table_finalize(Look *look, const json_t *table, Error *err);
MUST_CHECK bool connector_finalize(Look *look, const json_t *connector, Error *err);
/* It makes a slot at its source, which is to go with it. */
bool connector_has_slot(const json_t *connector);

/* drop_job.c: what is deleted, and how what it leaves is dropped. */
typedef struct Drop {
    Kind kind;
    const json_t *object;
    const char *finalizer;
    const char *suffix; /* of the Job's name */
    const char *label;  /* its Pods', with the object's name */
    const char *what;   /* is dropped, in the middle of a sentence */
    /* Makes ConfigMap and Job. RETRY "PodsRemain": it may be in use yet. */
    bool (*begin)(Look *look, const json_t *object, Error *err);
    /* Says that it stays behind, and why. */
    void (*left)(Look *look, const json_t *object, const char *why);
} Drop;
MUST_CHECK bool drop_run(Look *look, const Drop *drop, Error *err);
/* For `begin`: what desired_drop gave, for which the Secrets have to be there. CONFIG
 * "SecretMissing", and what child_apply says. */
MUST_CHECK bool drop_make(Look *look, const json_t *wanted, const json_t *secrets, Error *err);
void look_again(Look *look, int64_t in_us);

/* The LakeTables that these units name and that are not being deleted, by their names; the
 * caller's. */
json_t *tables_of_units(Operator *op, const char *namespace_name, const json_t *units);
/* Of the names; false: one is not, and *ret says so. */
bool secrets_are_there(Look *look, const json_t *names, State *ret);
/* Of the names' versions: changes when one of these Secrets does. */
void hash_secrets(Look *look, const json_t *names, char ret[HASH_BYTES]);

/* The name whose label this is; NULL: none. The caller's. */
char *name_of_labelled(Operator *op, Kind kind, const char *namespace_name, const char *label);
/* kind is 'c', 'u' or 't' */
void enqueue(Operator *op, char kind, const char *namespace_name, const char *name);
/* Before all that has only something to say; not before at_us (monotonic). */
void enqueue_first(Operator *op, char kind, const char *namespace_name, const char *name,
                   int64_t at_us);
/* For a light look, of whom there is such. */
void enqueue_light(Operator *op, char kind, const char *namespace_name, const char *name);
/* The LakeTables that the unit names, or its own. */
void enqueue_tables_of(Operator *op, const json_t *unit);
/* Of a unit before and after its status was written: of that its tables repeat the phase, and
 * Ready. What they repeat of figures is reports_has_news's. */
bool tables_repeat_the_same(const json_t *before, const json_t *now);
void enqueue_units_of(Operator *op, const char *namespace_name, const char *connector);
CacheTaker notify_taker(Operator *op);
/* When it is over that units and tables come, or are changed, by the hundred, if none comes any
 * more (monotonic); 0: they do not. What they become waits until they all can be read at once, and
 * what is to be said of them longer. */
int64_t crowd_ends_us(const Operator *op);
/* While there is a crowd: when it is still enough, if none comes any more, to make what does no
 * harm should it go on. */
int64_t crowd_is_still_us(const Operator *op);
/* When it is time to say of what came with a crowd that it is on its way: what somebody waits for
 * is made first. 0: now. */
int64_t crowd_is_told_us(const Operator *op);
/* For cache_each_name. */
typedef struct Enqueued {
    Operator *op;
    char kind;
} Enqueued;
void enqueue_each(void *context, const char *namespace_name, const char *name);

/* CONFIG "NameTaken": an object of that name is somebody else's; "ObjectRefused": Kubernetes does
 * not take it. RETRY "OldChild": it is one of an owner that is gone. */
MUST_CHECK bool child_apply(Operator *op, const json_t *owner, const json_t *object, Error *err);
MUST_CHECK bool children_prune(Operator *op, const json_t *owner, size_t ref, const char *label,
                               const json_t *wanted, Error *err);

/* What Kubernetes says of a resource's process, by its Deployment's counts, and where they do not
 * tell all by its Pods, which `ref` finds. */
State state_of_process(Look *look, const char *role, size_t ref, DeploymentCounts *ret);

/* Writes the status if it says something new, and an Event when it is for a person. */
MUST_CHECK bool say(Look *look, Kind kind, const json_t *object, const State *state,
                    const Condition *others, const json_t *more, Error *err);
void say_event(Operator *op, const json_t *object, bool warning, const char *reason,
               const char *message);

/* Keys "c/…", "u/…" and "t/…" as in the queue. */
typedef struct Verdicts Verdicts;
void verdicts_free(Verdicts *verdicts);
Verdicts *verdicts_new(void) OWNED_BY(verdicts_free);
/* True: it is another than before. state NULL: none any more. */
bool verdicts_set(Verdicts *verdicts, char kind, const char *namespace_name, const char *name,
                  const State *state);
bool verdicts_get(Verdicts *verdicts, char kind, const char *namespace_name, const char *name,
                  State *ret);

/* When a Connector was looked at last; 0: not yet, or it is gone. */
void verdicts_looked(Verdicts *verdicts, const char *namespace_name, const char *connector,
                     int64_t now_us);
int64_t verdicts_looked_at(Verdicts *verdicts, const char *namespace_name, const char *connector);

/* Whether another unit, which no Connector judges together with this one, made a table of this one,
 * or fills it and is older; then *ret says so. tables: those that it names, by their names. */
bool table_taken(Look *look, const json_t *unit, const json_t *tables, State *ret);
/* Whether an older resource of another namespace has its name in Kafka; then *ret says so. */
bool kafka_name_taken(Look *look, Kind kind, const json_t *object, State *ret);

/* agents.c. A key of reports.h; the caller's. */
char *reports_key(char kind, const char *namespace_name, const char *name);
void agents_begin(Operator *op);
void agents_run(void *op);
/* Until agents can be listened to; false: it was stopped. */
bool agents_wait(Operator *op);
void agents_end(Operator *op);
/* What Pods are told of the channel; the caller's is what is to be given back afterwards. */
char *agents_terms(Operator *op, ConnectorInput *input);

/* orders.c */
typedef struct Orders {
    ChannelOrders asked;
    json_t *requests; /* as the status is to say them */
    json_t *current;  /* of these, the one that the process is to do; NULL: nothing */
} Orders;
void orders_done(Orders *orders);
/* Of a Connector or an IngestionUnit. */
void orders_find(Look *look, Kind kind, const json_t *object, Orders *ret);
/* No process could do it. */
void orders_refuse(Look *look, const json_t *object, Orders *orders, const char *why);
/* As a Pod that begins reads them. The caller's. */
char *orders_text(const Orders *orders);
/* To the process of that key; and into the status what it says of them. */
void orders_tell(Look *look, const json_t *object, const char *key, Orders *orders,
                 const Reported *reported, json_t *more);

/* unit.c: the key of whose process fills it; the caller's. */
char *unit_process(Look *look, const json_t *unit, const json_t *connector);
bool is_of_pattern(const json_t *unit);
/* What the agent found by patterns: an IngestionUnit for each table, which makes its LakeTable.
 * They are there to be seen: the agent reads the pattern. *ret_tables: how many. */
MUST_CHECK bool patterns_make(Look *look, const Reported *reported, const json_t *units,
                              const char *manifest, size_t *ret_tables, Error *err);
