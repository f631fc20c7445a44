/* The threads: a watch for each kind (and namespace), the workers, and who listens to agents.
 * Errors are read and logged here alone. */
#include "operator/reconcile/reconcile.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/thread.h"

#define WORKERS 4
#define GATHER_US 50000
#define RETRY_LEAST_US 200000
#define RETRY_MOST_US 30000000
#define SYNC_LOOK_US 20000

typedef struct OperatorWatch {
    Operator *op;
    Kind kind;
    const char *namespace_name;
    Feed *feed;
    Thread *thread;
} OperatorWatch;

typedef struct Figures {
    Metric *done, *failed, *depth, *leader, *failures, *seconds;
} Figures;

static Figures figures(void)
{
    return (Figures){
        metrics_register(METRIC_COUNTER, "firn_operator_reconciles_total", "Looks at a resource",
                         "result=\"done\""),
        metrics_register(METRIC_COUNTER, "firn_operator_reconciles_total", "Looks at a resource",
                         "result=\"failed\""),
        metrics_register(METRIC_GAUGE, "firn_operator_queue_depth", "Keys that wait", ""),
        metrics_register(METRIC_GAUGE, "firn_operator_leader", "Whether this one works", ""),
        metrics_register(METRIC_GAUGE, "firn_operator_watch_failures", "Watches that broke off",
                         ""),
        metrics_register(METRIC_COUNTER, "firn_operator_reconcile_seconds_total",
                         "Time spent looking", ""),
    };
}

static void watch_run(void *argument)
{
    OperatorWatch *watch = argument;
    WatchTaker taker = feed_taker(watch->feed);
    api_watch(watch->op->api, watch->kind, watch->namespace_name, &taker,
              &watch->op->watch_figures);
}

Operator *operator_new(Api *api, const OperatorOptions *options)
{
    Operator *op = mem_zalloc(sizeof *op);
    op->api = api;
    op->options = *options;
    op->cache = cache_new();
    op->queue = work_queue_new(GATHER_US, RETRY_LEAST_US, RETRY_MOST_US);
    op->verdicts = verdicts_new();
    op->reports = reports_new(options->figures_us, clock_mono_us());
    size_t spaces = options->namespace_count ? options->namespace_count : 1;
    op->watch_count = spaces * KIND_COUNT;
    op->watches = mem_array(op->watch_count, sizeof *op->watches);
    CacheTaker taker = notify_taker(op);
    for (size_t i = 0; i < op->watch_count; i++) {
        OperatorWatch *watch = &op->watches[i];
        watch->op = op;
        watch->kind = (Kind)(i % KIND_COUNT);
        watch->namespace_name =
            options->namespace_count ? options->namespaces[i / KIND_COUNT] : NULL;
        watch->feed = feed_new(op->cache, watch->kind, watch->namespace_name, &taker);
    }
    for (size_t i = 0; i < op->watch_count; i++)
        op->watches[i].thread = thread_start("watch", watch_run, &op->watches[i]);
    return op;
}

void operator_free(Operator *op)
{
    if (!op)
        return;
    thread_join(op->agents);
    agents_end(op);
    for (size_t i = 0; i < op->watch_count; i++)
        thread_join(op->watches[i].thread);
    for (size_t i = 0; i < op->watch_count; i++)
        feed_free(op->watches[i].feed);
    free(op->watches);
    verdicts_free(op->verdicts);
    reports_free(op->reports);
    work_queue_free(op->queue);
    cache_free(op->cache);
    free(op);
}

bool operator_is_synced(const Operator *op)
{
    for (size_t i = 0; i < op->watch_count; i++)
        if (!feed_listed(op->watches[i].feed))
            return false;
    return true;
}

bool operator_is_working(const Operator *op)
{
    return atomic_load(&op->working);
}

bool operator_listens(const Operator *op)
{
    return !op->options.channel || atomic_load(&op->channel);
}

Cache *operator_cache(const Operator *op)
{
    return op->cache;
}

Reports *operator_reports(const Operator *op)
{
    return op->reports;
}

void look_again(Look *look, int64_t in_us)
{
    int64_t at_us = look->now_us + (in_us < 100000 ? 100000 : in_us);
    if (!look->again_us || at_us < look->again_us)
        look->again_us = at_us;
}

/* --- a worker --- */

static bool look_at(Operator *op, char *key, int64_t *ret_again_us, Error *err)
{
    char *space = key + 2, *slash = strchr(space, '/');
    ASSERT(slash);
    bool light = work_queue_is_light(op->queue, key);
    *slash = '\0';
    Look look = {.op = op,
                 .namespace_name = space,
                 .name = slash + 1,
                 .now_s = time(NULL),
                 .now_us = clock_mono_us(),
                 .light = light};
    if (light && key[0] == 'u')
        trees_begin();
    bool ok = key[0] == 'c'   ? connector_look(&look, err)
              : key[0] == 'u' ? unit_look(&look, err)
                              : lake_table_look(&look, err);
    trees_end();
    *ret_again_us = look.again_us;
    *slash = '/';
    return ok;
}

static void work(void *argument)
{
    Operator *op = argument;
    Figures figure = figures();
    char key[WORK_KEY_BYTES_MAX];
    if (!agents_wait(op))
        return;
    while (work_queue_wait(op->queue, key)) {
        Error err = {0};
        int64_t again_us = 0, began_us = clock_mono_us();
        bool ok = look_at(op, key, &again_us, &err);
        int64_t now_us = clock_mono_us();
        metric_add(figure.seconds, (double)(now_us - began_us) / 1e6);
        metric_add(ok ? figure.done : figure.failed, 1);
        metric_set(figure.depth, (double)work_queue_depth(op->queue));
        metric_set(figure.failures, (double)atomic_load(&op->watch_figures.failures));
        if (!ok && !api_stopping(op->api))
            log_warn("again later", LOG_T("key", key), LOG_T("kind", error_kind_name(err.kind)),
                     LOG_T("reason", err.code), LOG_T("error", err.message));
        if (again_us)
            work_queue_put_at(op->queue, key, again_us, now_us);
        work_queue_done(op->queue, key, !ok, now_us);
    }
    trees_done();
}

static bool is_leader(const void *lease)
{
    return lease_is_ours(lease);
}

bool operator_work(Operator *op, Lease *lease)
{
    while (!operator_is_synced(op))
        if (!api_sleep(op->api, SYNC_LOOK_US))
            return true;
    if (lease && !lease_acquire(lease))
        return true;
    Figures figure = figures();
    if (lease)
        api_guard(op->api, is_leader, lease);
    atomic_store(&op->working, true);
    agents_begin(op);
    metric_set(figure.leader, 1);
    log_info("working", LOG_U("connectors", cache_count(op->cache, KIND_CONNECTOR)),
             LOG_U("tables", cache_count(op->cache, KIND_LAKE_TABLE)),
             LOG_U("units", cache_count(op->cache, KIND_UNIT)));
    unsigned count = op->options.workers ? op->options.workers : WORKERS;
    Thread **threads = mem_array(count, sizeof *threads);
    for (unsigned i = 0; i < count; i++)
        threads[i] = thread_start("work", work, op);
    op->agents = thread_start("agents", agents_run, op);
    bool kept = true;
    if (lease)
        kept = lease_keep(lease);
    else
        while (api_sleep(op->api, 3600000000LL)) {
        }
    work_queue_close(op->queue);
    for (unsigned i = 0; i < count; i++)
        thread_join(threads[i]);
    free(threads);
    atomic_store(&op->working, false);
    metric_set(figure.leader, 0);
    return kept;
}
