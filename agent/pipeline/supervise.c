/* Reads the kind of an error, and nothing else does: RETRY and CONFLICT open a new flow after a
 * pause that doubles, from the durable position; CONFIG, DATA and FATAL end the pipeline with the
 * error. Nothing is lost in any case: what was not confirmed is still at the source. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pipeline/flow.h"
#include "agent/pipeline/run.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define PAUSE_MIN_US 250000
#define PAUSE_MAX_US 30000000
#define STEADY_US 60000000 /* an attempt that lasted so long starts the pauses anew */

const char *phase_name(Phase phase)
{
    static const char *const names[] = {"Pending",  "Snapshotting", "CatchingUp", "Streaming",
                                        "Retrying", "Draining",     "Stopped"};
    ASSERT((size_t)phase < ARRAY_LEN(names));
    return names[phase];
}

static bool names_hold(const Names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

static void names_add(Names *names, const char *name)
{
    if (names_hold(names, name))
        return;
    names->items = mem_regrow(names->items, names->count + 1, sizeof *names->items);
    names->items[names->count++] = mem_strdup(name);
}

static void names_drop(Names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0) {
            free(names->items[i]);
            names->items[i] = names->items[--names->count];
            return;
        }
}

static void names_done(Names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

Pipeline *pipeline_new(const Manifest *manifest, const ConnectorSpec *connector,
                       const PipelineOptions *options)
{
    Pipeline *pipeline = mem_zalloc(sizeof *pipeline);
    pipeline->manifest = manifest;
    pipeline->connector = connector;
    pipeline->options = *options;
    pipeline->name = mem_format("%s/%s", connector->meta.namespace_name, connector->meta.name);
    pthread_mutex_init(&pipeline->lock, NULL);
    pipeline->units_by_table = flow_units_by_table(pipeline);
    progress_register(pipeline);
    return pipeline;
}

void pipeline_free(Pipeline *pipeline)
{
    if (!pipeline)
        return;
    pthread_mutex_destroy(&pipeline->lock);
    json_decref(pipeline->units_by_table);
    names_done(&pipeline->begun);
    names_done(&pipeline->outdated);
    names_done(&pipeline->without_rows);
    free(pipeline->name);
    free(pipeline);
}

void pipeline_stop(Pipeline *pipeline)
{
    atomic_store(&pipeline->stop, true);
}

static bool asked_for(const Pipeline *pipeline, const char *table_name)
{
    const TextList *list = pipeline->options.resnapshot;
    for (size_t i = 0; list && i < list->count; i++)
        if (manifest_pattern_matches(list->texts[i], table_name))
            return true;
    return false;
}

static bool locked_hold(Pipeline *pipeline, const Names *names, const char *table_name)
{
    pthread_mutex_lock(&pipeline->lock);
    bool holds = names_hold(names, table_name);
    pthread_mutex_unlock(&pipeline->lock);
    return holds;
}

bool pipeline_resnapshots(Pipeline *pipeline, const char *table_name)
{
    return asked_for(pipeline, table_name) && !locked_hold(pipeline, &pipeline->begun, table_name);
}

bool pipeline_copies_anew(Pipeline *pipeline, const char *table_name)
{
    return locked_hold(pipeline, &pipeline->outdated, table_name);
}

void pipeline_outdated(Pipeline *pipeline, const char *table_name)
{
    pthread_mutex_lock(&pipeline->lock);
    names_add(&pipeline->outdated, table_name);
    pthread_mutex_unlock(&pipeline->lock);
}

void pipeline_copy_begun(Pipeline *pipeline, const char *table_name)
{
    pthread_mutex_lock(&pipeline->lock);
    if (asked_for(pipeline, table_name))
        names_add(&pipeline->begun, table_name);
    names_drop(&pipeline->outdated, table_name);
    pthread_mutex_unlock(&pipeline->lock);
}

bool pipeline_lacks_rows(Pipeline *pipeline, const char *table_name)
{
    return locked_hold(pipeline, &pipeline->without_rows, table_name);
}

void pipeline_lacked_row(Pipeline *pipeline, const char *table_name)
{
    pthread_mutex_lock(&pipeline->lock);
    names_add(&pipeline->without_rows, table_name);
    pthread_mutex_unlock(&pipeline->lock);
}

static bool mends_itself(const Error *err)
{
    return err->kind == ERROR_RETRY || err->kind == ERROR_CONFLICT;
}

static void set_phase(Pipeline *pipeline, Phase phase, const char *error)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->figures.phase = phase;
    snprintf(pipeline->figures.error, sizeof pipeline->figures.error, "%s", error);
    pthread_mutex_unlock(&pipeline->lock);
    metric_set(pipeline->metrics.phase, phase);
}

static void pause_for(Pipeline *pipeline, int64_t us)
{
    int64_t until_us = clock_mono_us() + us;
    while (!atomic_load(&pipeline->stop) && clock_mono_us() < until_us)
        clock_sleep_us(20000);
}

bool pipeline_run(Pipeline *pipeline, Error *err)
{
    int64_t pause_us = PAUSE_MIN_US;
    for (;;) {
        int64_t started_us = clock_mono_us();
        bool ok = flow_run(pipeline, err);
        if (ok && pipeline->again && !atomic_load(&pipeline->stop))
            continue;
        if (ok || !mends_itself(err)) {
            set_phase(pipeline, PHASE_STOPPED, ok ? "" : err->message);
            return ok;
        }
        if (atomic_load(&pipeline->stop)) {
            /* it was told to stop and could not commit the rest: that is safe, and worth a word */
            log_warn("stopped before everything was committed; the rest is still at the source",
                     LOG_T("connector", pipeline->name), LOG_T("reason", err->code),
                     LOG_T("error", err->message));
            set_phase(pipeline, PHASE_STOPPED, err->message);
            return true;
        }
        if (clock_mono_us() - started_us > STEADY_US)
            pause_us = PAUSE_MIN_US;
        set_phase(pipeline, PHASE_RETRYING, err->message);
        metric_add(pipeline->metrics.restarts, 1);
        log_warn("starting again from the durable position", LOG_T("connector", pipeline->name),
                 LOG_T("kind", error_kind_name(err->kind)), LOG_T("reason", err->code),
                 LOG_T("error", err->message), LOG_F("pause_seconds", (double)pause_us / 1e6));
        pause_for(pipeline, pause_us);
        pause_us = pause_us * 2 < PAUSE_MAX_US ? pause_us * 2 : PAUSE_MAX_US;
        if (atomic_load(&pipeline->stop)) {
            set_phase(pipeline, PHASE_STOPPED, "");
            return true;
        }
    }
}

void pipeline_figures(Pipeline *pipeline, PipelineFigures *ret)
{
    pthread_mutex_lock(&pipeline->lock);
    *ret = pipeline->figures;
    pthread_mutex_unlock(&pipeline->lock);
}
