/* Tables that can't be committed while the flow goes on: what is read and staged waits for the
 * catalog, which is asked again and again. Whoever looks at the phase is to see it, unless it is
 * over before. */
#include <stdio.h>

#include "agent/supervise/supervise.h"
#include "common/clock.h"
#include "common/mem.h"

#define SHOWN_US INT64_C(5000000)
#define OVER_US INT64_C(60000000) /* longer than the pauses between two attempts */

void trouble_done(Trouble *trouble)
{
    names_done(&trouble->tables);
    *trouble = (Trouble){0};
}

void trouble_put(Trouble *trouble, const char *table_name, const Error *err, int64_t now_us)
{
    if (!trouble->tables.count)
        trouble->since_us = now_us;
    names_add(&trouble->tables, table_name);
    trouble->last_us = now_us;
    trouble->err = *err;
}

void trouble_drop(Trouble *trouble, const char *table_name)
{
    if (trouble->tables.count)
        names_drop(&trouble->tables, table_name);
}

const Error *trouble_shown(Trouble *trouble, int64_t now_us)
{
    if (trouble->tables.count && now_us - trouble->last_us > OVER_US)
        trouble_done(trouble); /* what was tried last turned out to have been done */
    return trouble->tables.count && now_us - trouble->since_us >= SHOWN_US ? &trouble->err : NULL;
}

void supervised_failed(Supervised *supervised, const char *table_name, const Error *err)
{
    pthread_mutex_lock(&supervised->lock);
    trouble_put(&supervised->trouble, table_name, err, clock_mono_us());
    pthread_mutex_unlock(&supervised->lock);
}

void supervised_committed(Supervised *supervised, const char *table_name)
{
    pthread_mutex_lock(&supervised->lock);
    trouble_drop(&supervised->trouble, table_name);
    pthread_mutex_unlock(&supervised->lock);
}

void supervised_show_phase(Supervised *supervised, Phase phase)
{
    Figures *to = &supervised->figures;
    pthread_mutex_lock(&supervised->lock);
    const Error *err =
        phase != PHASE_DRAINING ? trouble_shown(&supervised->trouble, clock_mono_us()) : NULL;
    if (err) {
        phase = PHASE_RETRYING;
        snprintf(to->error, sizeof to->error, "%s", err->message);
        snprintf(to->reason, sizeof to->reason, "%s", err->code);
    } else if (phase != PHASE_PENDING) {
        to->error[0] = '\0'; /* until it runs, what it begins again for stands */
    }
    to->phase = phase;
    pthread_mutex_unlock(&supervised->lock);
    metric_set(supervised->metrics.phase, phase);
}
