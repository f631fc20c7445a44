/* Reads the kind of an error, and nothing else does: RETRY and CONFLICT begin a new attempt after a
 * pause that doubles, from the durable position; CONFIG, DATA and FATAL end the flow with the
 * error. Nothing is lost in any case: what was not confirmed is still at the source. */
#include "agent/supervise/supervise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define PAUSE_MIN_US 250000
#define PAUSE_MAX_US 30000000
#define STEADY_US 60000000 /* an attempt that lasted so long starts the pauses anew */

const char *phase_name(Phase phase)
{
    static const char *const names[] = {"Pending",  "Snapshotting", "CatchingUp", "Streaming",
                                        "Retrying", "Draining",     "Stopped",    "Paused"};
    ASSERT((size_t)phase < ARRAY_LEN(names));
    return names[phase];
}

/* ---------- names ---------- */
bool names_hold(const Names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

void names_add(Names *names, const char *name)
{
    if (names_hold(names, name))
        return;
    names->items = mem_regrow(names->items, names->count + 1, sizeof *names->items);
    names->items[names->count++] = mem_strdup(name);
}

void names_drop(Names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0) {
            free(names->items[i]);
            names->items[i] = names->items[--names->count];
            return;
        }
}

void names_done(Names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

/* ---------- beginning and end ---------- */
void supervised_init(Supervised *supervised, const SupervisedKind *kind,
                     const ConnectorSpec *connector, const TextList *resnapshot)
{
    supervised->kind = kind;
    supervised->connector = connector;
    supervised->resnapshot = resnapshot;
    supervised->name = mem_format("%s/%s", connector->meta.namespace_name, connector->meta.name);
    pthread_mutex_init(&supervised->lock, NULL);
    progress_register(supervised);
    supervised_order(supervised, connector->state == STATE_PAUSED, connector->resnapshot);
}

void supervised_done(Supervised *supervised)
{
    pthread_mutex_destroy(&supervised->lock);
    trouble_done(&supervised->trouble);
    names_done(&supervised->begun);
    names_done(&supervised->outdated);
    copy_request_done(&supervised->request);
    unit_request_done(&supervised->unit_request);
    free(supervised->name);
}

void supervised_free(Supervised *supervised)
{
    if (supervised)
        supervised->kind->free(supervised);
}

void supervised_stop(Supervised *supervised)
{
    atomic_store(&supervised->stop, true);
}

/* ---------- tables to copy anew ---------- */
static bool asked_for(const Supervised *supervised, const char *table_name)
{
    return supervised->resnapshot && manifest_patterns_match(supervised->resnapshot, table_name);
}

static bool locked_hold(Supervised *supervised, const Names *names, const char *table_name)
{
    pthread_mutex_lock(&supervised->lock);
    bool holds = names_hold(names, table_name);
    pthread_mutex_unlock(&supervised->lock);
    return holds;
}

bool supervised_resnapshots(Supervised *supervised, const char *table_name)
{
    return asked_for(supervised, table_name) &&
           !locked_hold(supervised, &supervised->begun, table_name);
}

bool supervised_copies_anew(Supervised *supervised, const char *table_name)
{
    return locked_hold(supervised, &supervised->outdated, table_name);
}

void supervised_outdated(Supervised *supervised, const char *table_name)
{
    pthread_mutex_lock(&supervised->lock);
    names_add(&supervised->outdated, table_name);
    pthread_mutex_unlock(&supervised->lock);
}

void supervised_copy_begun(Supervised *supervised, const char *table_name)
{
    pthread_mutex_lock(&supervised->lock);
    if (asked_for(supervised, table_name))
        names_add(&supervised->begun, table_name);
    names_drop(&supervised->outdated, table_name);
    pthread_mutex_unlock(&supervised->lock);
}

/* ---------- the loop ---------- */
static bool mends_itself(const Error *err)
{
    return err->kind == ERROR_RETRY || err->kind == ERROR_CONFLICT;
}

/* err NULL: what was said of errors stands. */
static void set_phase(Supervised *supervised, Phase phase, const Error *err)
{
    Figures *to = &supervised->figures;
    pthread_mutex_lock(&supervised->lock);
    to->phase = phase;
    if (err) {
        snprintf(to->error, sizeof to->error, "%s", err->message);
        snprintf(to->reason, sizeof to->reason, "%s", err->code);
    }
    pthread_mutex_unlock(&supervised->lock);
    metric_set(supervised->metrics.phase, phase);
}

void supervised_phase(Supervised *supervised, Phase phase)
{
    set_phase(supervised, phase, NULL);
}

static void end_trouble(Supervised *supervised)
{
    pthread_mutex_lock(&supervised->lock);
    trouble_done(&supervised->trouble);
    pthread_mutex_unlock(&supervised->lock);
}

static void pause_for(Supervised *supervised, int64_t us)
{
    int64_t until_us = clock_mono_us() + us;
    while (!atomic_load(&supervised->stop) && clock_mono_us() < until_us)
        clock_sleep_us(20000);
}

bool supervised_run(Supervised *supervised, Error *err)
{
    int64_t pause_us = PAUSE_MIN_US;
    for (;;) {
        int64_t started_us = clock_mono_us();
        bool again = false, ok = supervised->kind->attempt(supervised, &again, err);
        end_trouble(supervised);
        if (ok && again && !atomic_load(&supervised->stop))
            continue;
        if (ok || !mends_itself(err)) {
            set_phase(supervised, PHASE_STOPPED, ok ? &(Error){0} : err);
            return ok;
        }
        if (atomic_load(&supervised->stop)) {
            /* it was told to stop and could not commit the rest: that is safe, and worth a word */
            log_warn("stopped before everything was committed; the rest is still at the source",
                     LOG_T("connector", supervised->name), LOG_T("reason", err->code),
                     LOG_T("error", err->message));
            set_phase(supervised, PHASE_STOPPED, err);
            return true;
        }
        if (clock_mono_us() - started_us > STEADY_US)
            pause_us = PAUSE_MIN_US;
        set_phase(supervised, PHASE_RETRYING, err);
        metric_add(supervised->metrics.restarts, 1);
        log_warn("starting again from the durable position", LOG_T("connector", supervised->name),
                 LOG_T("kind", error_kind_name(err->kind)), LOG_T("reason", err->code),
                 LOG_T("error", err->message), LOG_F("pause_seconds", (double)pause_us / 1e6));
        pause_for(supervised, pause_us);
        pause_us = pause_us * 2 < PAUSE_MAX_US ? pause_us * 2 : PAUSE_MAX_US;
        if (atomic_load(&supervised->stop)) {
            set_phase(supervised, PHASE_STOPPED, &(Error){0});
            return true;
        }
    }
}

void supervised_figures(Supervised *supervised, Figures *ret)
{
    pthread_mutex_lock(&supervised->lock);
    *ret = supervised->figures;
    pthread_mutex_unlock(&supervised->lock);
}

void supervised_ended(Supervised *supervised, const Capture *capture, uint64_t rows,
                      uint64_t commits)
{
    CaptureFigures figures = {0};
    if (capture)
        capture_figures(capture, &figures);
    supervised->keyed_reads_before += figures.keyed_reads;
    supervised->heartbeats_before += figures.heartbeats;
    pthread_mutex_lock(&supervised->lock);
    supervised->rows_before += rows;
    supervised->commits_before += commits;
    pthread_mutex_unlock(&supervised->lock);
}
