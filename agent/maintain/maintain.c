#include "agent/maintain/maintain.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/maintain/orphans.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define MINUTE_US (INT64_C(60) * 1000000)
#define FIRST_US (5 * MINUTE_US) /* after the start, and as much again at random */
#define EVERY_US (24 * 60 * MINUTE_US)
#define AGAIN_US (60 * MINUTE_US) /* after a failure, and while there is no table */

typedef struct Task {
    const LakeTableSpec *spec;
    bool mine;      /* it took its turn, and is not done */
    int64_t due_us; /* by the steady clock */
    Metric *files, *bytes, *failures, *done;
} Task;

typedef struct TaskList {
    Task *items;
    size_t count;
} TaskList;

struct Maintainer {
    TaskList tasks;
    Thread *thread;
    pthread_mutex_t lock;
    pthread_cond_t told;
    atomic_bool stop;
};

/* ---------- which ---------- */
static void add(TaskList *tasks, const LakeTableSpec *spec)
{
    if (!spec->orphans_older_than_ms)
        return;
    tasks->items = mem_regrow(tasks->items, tasks->count + 1, sizeof *tasks->items);
    tasks->items[tasks->count++] = (Task){.spec = spec};
}

/* A pattern's tables are not known here: validation refuses it there. */
static TaskList tasks_of(const Manifest *manifest)
{
    TaskList tasks = {0};
    for (size_t i = 0; i < manifest->table_count; i++)
        add(&tasks, &manifest->tables[i]);
    for (size_t i = 0; i < manifest->unit_count; i++)
        if (manifest->units[i].lake && !manifest->units[i].tables.count)
            add(&tasks, manifest->units[i].lake);
    return tasks;
}

/* ---------- when ---------- */
static void measure(Task *task)
{
    AUTO(mem_free)
    char *name = mem_format("%s.%s", task->spec->database, task->spec->table_name);
    AUTO(mem_free) char *label = metrics_label("table", name);
    task->files = metrics_register(METRIC_COUNTER, "firn_orphan_files_removed_total",
                                   "Files that no snapshot named, removed by this process", label);
    task->bytes =
        metrics_register(METRIC_COUNTER, "firn_orphan_bytes_removed_total", "Their bytes", label);
    task->failures = metrics_register(METRIC_COUNTER, "firn_orphan_failures_total",
                                      "Times that they could not be removed", label);
    task->done = metrics_register(METRIC_GAUGE, "firn_orphans_removed_timestamp_seconds",
                                  "When it was done last, by any process", label);
}

/* Up to a tenth more, so that not all tables of a lake are listed at once. */
static int64_t about(int64_t us)
{
    return us + (us >= 10 ? random() % (us / 10) : 0);
}

static int64_t every_us(void)
{
    return clock_asked_us("FIRN_MAINTAIN_MS", EVERY_US);
}

static int64_t next_us(bool ok, const OrphanOutcome *outcome)
{
    int64_t again_us = every_us() < AGAIN_US ? every_us() : AGAIN_US;
    if (!ok)
        return about(again_us);
    if (outcome->more)
        return 0;
    if (outcome->worked)
        return about(every_us());
    int64_t wait_us = outcome->due_ms ? outcome->due_ms * 1000 - clock_wall_us() : again_us;
    return about(wait_us > 0 ? wait_us : 0);
}

static void work(Maintainer *maintainer, Task *task)
{
    const OrphanTask it = {.spec = task->spec,
                           .now = task->mine,
                           .every_ms = every_us() / 1000,
                           .stop = &maintainer->stop};
    OrphanOutcome outcome;
    Error err = {0};
    bool ok = orphans_remove(&it, &outcome, &err);
    task->mine = outcome.worked && (!ok || outcome.more);
    metric_add(task->files, (double)outcome.files);
    metric_add(task->bytes, (double)outcome.bytes);
    if (outcome.done_ms)
        metric_set(task->done, (double)outcome.done_ms / 1000);
    if (!ok && !atomic_load(&maintainer->stop)) {
        metric_add(task->failures, 1);
        log_warn("files that no snapshot names are not removed",
                 LOG_T("table", task->spec->meta.name), LOG_T("reason", err.code),
                 LOG_T("error", err.message));
    }
    task->due_us = clock_mono_us() + next_us(ok, &outcome);
}

static Task *first_due(const Maintainer *maintainer)
{
    Task *first = &maintainer->tasks.items[0];
    for (size_t i = 1; i < maintainer->tasks.count; i++)
        if (maintainer->tasks.items[i].due_us < first->due_us)
            first = &maintainer->tasks.items[i];
    return first;
}

/* False: told to stop. */
static bool wait_until(Maintainer *maintainer, int64_t due_us)
{
    const struct timespec until = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_mutex_lock(&maintainer->lock);
    while (!atomic_load(&maintainer->stop) && clock_mono_us() < due_us)
        pthread_cond_timedwait(&maintainer->told, &maintainer->lock, &until);
    pthread_mutex_unlock(&maintainer->lock);
    return !atomic_load(&maintainer->stop);
}

static void run(void *argument)
{
    Maintainer *maintainer = argument;
    for (Task *task = first_due(maintainer); wait_until(maintainer, task->due_us);
         task = first_due(maintainer))
        work(maintainer, task);
}

Maintainer *maintain_start(const Manifest *manifest)
{
    TaskList tasks = tasks_of(manifest);
    if (!tasks.count)
        return NULL;
    Maintainer *maintainer = mem_zalloc(sizeof *maintainer);
    maintainer->tasks = tasks;
    int64_t first_us = clock_asked_us("FIRN_MAINTAIN_MS", FIRST_US);
    srandom((unsigned)clock_wall_us());
    for (size_t i = 0; i < tasks.count; i++) {
        measure(&tasks.items[i]);
        tasks.items[i].due_us = clock_mono_us() + first_us + random() % (first_us + 1);
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&maintainer->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&maintainer->lock, NULL);
    maintainer->thread = thread_start("maintain", run, maintainer);
    return maintainer;
}

void maintain_stop(Maintainer *maintainer)
{
    if (!maintainer)
        return;
    pthread_mutex_lock(&maintainer->lock);
    atomic_store(&maintainer->stop, true);
    pthread_cond_signal(&maintainer->told);
    pthread_mutex_unlock(&maintainer->lock);
    thread_join(maintainer->thread);
    pthread_cond_destroy(&maintainer->told);
    pthread_mutex_destroy(&maintainer->lock);
    free(maintainer->tasks.items);
    free(maintainer);
}

/* ---------- once ---------- */
bool maintain_once(const Manifest *manifest, bool dry_run, Error *err)
{
    TaskList tasks = tasks_of(manifest);
    bool all = true;
    for (size_t i = 0; i < tasks.count; i++) {
        const LakeTableSpec *spec = tasks.items[i].spec;
        OrphanTask it = {.spec = spec, .now = true, .dry_run = dry_run};
        OrphanOutcome outcome = {.more = true};
        Error why = {0};
        bool ok = true;
        while (ok && outcome.more) {
            ok = orphans_remove(&it, &outcome, &why);
            if (outcome.worked)
                printf("%s.%s: files that no snapshot names: %llu of %llu bytes %s, %llu are held "
                       "for a commit that may name them\n",
                       spec->database, spec->table_name, (unsigned long long)outcome.files,
                       (unsigned long long)outcome.bytes, dry_run ? "would go" : "removed",
                       (unsigned long long)outcome.held);
            if (dry_run) /* the next run would find the same */
                break;
        }
        if (!ok)
            error_wrap(&why, "LakeTable/%s", spec->meta.name);
        if (!ok && all)
            *err = why;
        all = all && ok;
    }
    free(tasks.items);
    return all;
}
