/* What a person asks of what runs: that it pauses, tables to be copied again, and of a unit's table
 * to go on from elsewhere. It comes with the manifest, and by the channel from whoever runs the
 * operator; both say what holds now, as often as they like. A request's id stands in what it was
 * done for (a table's property, a topic's state), so that it is done once, whoever asks again. */
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
static void begin_figures(Supervised *supervised, const char *id)
{
    Figures *to = &supervised->figures;
    snprintf(to->request, sizeof to->request, "%s", id);
    to->request_state = REQUEST_WAITING;
    to->refusal[0] = to->request_from[0] = to->request_to[0] = '\0';
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
    begin_figures(supervised, supervised->request.id);
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
    static const TextList none = {0};
    pthread_mutex_lock(&supervised->lock);
    bool refused = supervised->figures.request_state == REQUEST_REFUSED;
    copy_request_of(ret, supervised->request.id, refused ? &none : &supervised->request.tables);
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

/* ---------- a unit's table ---------- */
void supervised_unit_order(Supervised *supervised, const char *positions, const char *rollback)
{
    bool back = rollback && *rollback;
    const char *text = back ? rollback : positions;
    UnitRequest fresh;
    Error err = {0};
    if (!text || !*text)
        return;
    if (!unit_request_parse(back ? UNIT_ROLLBACK : UNIT_POSITIONS, text, &fresh, &err)) {
        log_warn("what is asked for can't be read", LOG_T("unit", supervised->name),
                 LOG_T("reason", err.code), LOG_T("error", err.message));
        return;
    }
    pthread_mutex_lock(&supervised->lock);
    UnitRequest *known = &supervised->unit_request;
    if (!known->target || known->kind != fresh.kind || strcmp(known->id, fresh.id) != 0) {
        UnitRequest old = *known;
        *known = fresh;
        fresh = old;
        begin_figures(supervised, known->id);
        log_info(back ? "a rollback is asked for" : "other positions are asked for",
                 LOG_T("unit", supervised->name), LOG_T("id", known->id), LOG_T("by", known->by),
                 LOG_T("target", known->target));
    }
    pthread_mutex_unlock(&supervised->lock);
    unit_request_done(&fresh);
}

/* Under the lock. */
static bool is_settled(const Supervised *supervised)
{
    RequestState state = supervised->figures.request_state;
    return state == REQUEST_DONE || state == REQUEST_REFUSED;
}

void supervised_unit_request(Supervised *supervised, UnitRequest *ret)
{
    static const UnitRequest nothing = {.at_ms = INT64_MIN};
    pthread_mutex_lock(&supervised->lock);
    const UnitRequest *known = is_settled(supervised) ? &nothing : &supervised->unit_request;
    *ret = *known;
    ret->target = known->target ? mem_strdup(known->target) : NULL;
    ret->offsets =
        (ReplayOffsets){.items = mem_array(known->offsets.count + 1, sizeof *known->offsets.items),
                        .count = known->offsets.count};
    if (known->offsets.count)
        memcpy(ret->offsets.items, known->offsets.items,
               known->offsets.count * sizeof *known->offsets.items);
    pthread_mutex_unlock(&supervised->lock);
}

bool supervised_unit_asks_more(Supervised *supervised, const UnitRequest *known)
{
    pthread_mutex_lock(&supervised->lock);
    const UnitRequest *now = &supervised->unit_request;
    bool more = now->target && !is_settled(supervised) &&
                (!known->target || now->kind != known->kind || strcmp(now->id, known->id) != 0);
    pthread_mutex_unlock(&supervised->lock);
    return more;
}

void supervised_unit_asked(Supervised *supervised, const char *id, RequestState state,
                           const char *why, const char *from, const char *to)
{
    Figures *figures = &supervised->figures;
    pthread_mutex_lock(&supervised->lock);
    if (strcmp(id, figures->request) == 0 && figures->request_state != state) {
        figures->request_state = state;
        snprintf(figures->refusal, sizeof figures->refusal, "%s", why);
        snprintf(figures->request_from, sizeof figures->request_from, "%s", from);
        snprintf(figures->request_to, sizeof figures->request_to, "%s", to);
        log_info("what was asked for of the unit's table", LOG_T("unit", supervised->name),
                 LOG_T("id", id), LOG_T("state", request_state_name(state)), LOG_T("reason", why),
                 LOG_T("from", from), LOG_T("to", to));
    }
    pthread_mutex_unlock(&supervised->lock);
}
