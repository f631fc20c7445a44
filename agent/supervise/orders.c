/* What a person asks of what runs: that it pauses, and tables to be copied again. It comes with the
 * manifest, and by the channel from whoever runs the operator; both say what holds now, as often as
 * they like. A request's id stands in what it was done for (a table's property, a topic's state),
 * so that it is done once, whoever asks again. */
#include <stdio.h>
#include <string.h>

#include "agent/supervise/supervise.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

const char *request_state_name(RequestState state)
{
    static const char *const names[] = {"", "Waiting", "Running", "Done", "Refused"};
    ASSERT((size_t)state < ARRAY_LEN(names));
    return names[state];
}

/* Under the lock. */
static void take_request(Supervised *supervised, CopyRequest *fresh)
{
    const char *known = supervised->request.id;
    if (!fresh->id || (known && strcmp(fresh->id, known) == 0))
        return;
    copy_request_done(&supervised->request);
    supervised->request = *fresh;
    *fresh = (CopyRequest){0};
    snprintf(supervised->figures.request, sizeof supervised->figures.request, "%s",
             supervised->request.id);
    supervised->figures.request_state = REQUEST_WAITING;
    supervised->figures.refusal[0] = '\0';
    log_info("tables are asked to be copied again", LOG_T("connector", supervised->name),
             LOG_T("id", supervised->request.id), LOG_T("by", supervised->request.by));
}

void supervised_order(Supervised *supervised, bool pause, const char *resnapshot)
{
    CopyRequest fresh = {0};
    Error err = {0};
    if (resnapshot && *resnapshot && !copy_request_parse(resnapshot, &fresh, &err))
        log_warn("what is asked for can't be read", LOG_T("connector", supervised->name),
                 LOG_T("reason", err.code), LOG_T("error", err.message));
    pthread_mutex_lock(&supervised->lock);
    take_request(supervised, &fresh);
    bool paused = supervised->paused_us != 0;
    if (pause != paused) {
        supervised->paused_us = pause ? clock_mono_us() : 0;
        log_info(pause ? "pausing: the source's log is not read" : "going on",
                 LOG_T("connector", supervised->name));
    }
    pthread_mutex_unlock(&supervised->lock);
    copy_request_done(&fresh);
}

bool supervised_pauses(Supervised *supervised)
{
    pthread_mutex_lock(&supervised->lock);
    bool pauses = supervised->paused_us && !atomic_load(&supervised->stop);
    pthread_mutex_unlock(&supervised->lock);
    return pauses;
}

void supervised_request(Supervised *supervised, CopyRequest *ret)
{
    pthread_mutex_lock(&supervised->lock);
    copy_request_of(ret, supervised->request.id, &supervised->request.tables);
    pthread_mutex_unlock(&supervised->lock);
}

bool supervised_asks_more(Supervised *supervised, const CopyRequest *known)
{
    pthread_mutex_lock(&supervised->lock);
    const char *id = supervised->request.id;
    bool more = id && (!known->id || strcmp(id, known->id) != 0);
    pthread_mutex_unlock(&supervised->lock);
    return more;
}

void supervised_asked(Supervised *supervised, const CopyRequest *request, RequestState state,
                      const char *refusal)
{
    Figures *to = &supervised->figures;
    if (!request->id)
        return;
    pthread_mutex_lock(&supervised->lock);
    if (strcmp(request->id, to->request) == 0 && to->request_state != state) {
        to->request_state = state;
        snprintf(to->refusal, sizeof to->refusal, "%s", refusal);
        log_info("tables that were asked to be copied again", LOG_T("connector", supervised->name),
                 LOG_T("id", request->id), LOG_T("state", request_state_name(state)),
                 LOG_T("reason", refusal));
    }
    pthread_mutex_unlock(&supervised->lock);
}

void supervised_copied(Supervised *supervised, const CopyRequest *request)
{
    pthread_mutex_lock(&supervised->lock);
    bool running = supervised->figures.request_state == REQUEST_RUNNING;
    pthread_mutex_unlock(&supervised->lock);
    if (running)
        supervised_asked(supervised, request, REQUEST_DONE, "");
}
