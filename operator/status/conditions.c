#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "common/text.h"
#include "operator/status/status.h"

State state_of(Health health, const char *phase, const char *reason, const char *format, ...)
{
    State state = {.health = health};
    snprintf(state.phase, sizeof state.phase, "%s", phase);
    snprintf(state.reason, sizeof state.reason, "%s", reason);
    va_list args;
    va_start(args, format);
    vsnprintf(state.message, sizeof state.message, format, args);
    va_end(args);
    text_mend_utf8(state.message);
    return state;
}

bool state_equals(const State *a, const State *b)
{
    return a->health == b->health && strcmp(a->phase, b->phase) == 0 &&
           strcmp(a->reason, b->reason) == 0 && strcmp(a->message, b->message) == 0;
}

void status_time(int64_t now_s, char ret[32])
{
    time_t at = (time_t)now_s;
    struct tm parts;
    ASSERT(gmtime_r(&at, &parts));
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static json_t *named(const json_t *conditions, const char *type)
{
    size_t i;
    json_t *one;
    json_array_foreach(conditions, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "type"));
        if (name && strcmp(name, type) == 0)
            return one;
    }
    return NULL;
}

const json_t *condition_of(const json_t *object, const char *type)
{
    return named(object_at(object, "status.conditions"), type);
}

bool condition_is(const json_t *object, const char *type, const char *status, const char *reason)
{
    const json_t *one = condition_of(object, type);
    const char *is = json_string_value(json_object_get(one, "status"));
    const char *why = json_string_value(json_object_get(one, "reason"));
    return is && strcmp(is, status) == 0 && (!reason || (why && strcmp(why, reason) == 0));
}

int64_t time_age_s(const char *text, int64_t now_s)
{
    int64_t at_ms;
    if (!text || !text_time_parse(text, &at_ms))
        return -1;
    return at_ms / 1000 < now_s ? now_s - at_ms / 1000 : 0;
}

int64_t condition_age_s(const json_t *object, const char *type, int64_t now_s)
{
    return time_age_s(
        json_string_value(json_object_get(condition_of(object, type), "lastTransitionTime")),
        now_s);
}

void condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
                   const char *message, int64_t generation, const char *now)
{
    json_t *one = named(conditions, type);
    if (!one) {
        one = json_pack("{ss}", "type", type);
        json_array_append_new(conditions, one);
    }
    const char *was = json_string_value(json_object_get(one, "status"));
    bool kept = was && strcmp(was, status) == 0 && json_object_get(one, "lastTransitionTime");
    json_object_set_new(one, "status", json_string(status));
    json_object_set_new(one, "reason", json_string(reason));
    AUTO(mem_free) char *words = mem_strdup(message);
    text_mend_utf8(words);
    json_object_set_new(one, "message", json_string(words));
    json_object_set_new(one, "observedGeneration", json_integer(generation));
    if (!kept)
        json_object_set_new(one, "lastTransitionTime", json_string(now));
}

json_t *status_of(const json_t *object, const State *state, const Condition *others,
                  const json_t *more, int64_t now_s, bool *ret_changed)
{
    char now[32];
    status_time(now_s, now);
    int64_t generation = object_generation(object);
    json_t *old = json_object_get(object, "status");
    json_t *conditions = json_deep_copy(json_object_get(old, "conditions"));
    if (!conditions)
        conditions = json_array();
    static const char *const ready[] = {[HEALTH_UNKNOWN] = "Unknown",
                                        [HEALTH_PROGRESS] = "False",
                                        [HEALTH_READY] = "True",
                                        [HEALTH_STALLED] = "False"};
    bool moves = state->health == HEALTH_PROGRESS || state->health == HEALTH_UNKNOWN;
    bool stalled = state->health == HEALTH_STALLED;
    /* Not ready yet is not the same as no longer ready. */
    const char *was = json_string_value(json_object_get(named(conditions, "Ready"), "status"));
    bool first = moves && (!was || strcmp(was, "Unknown") == 0);
    condition_set(conditions, "Ready", first ? "Unknown" : ready[state->health], state->reason,
                  state->message, generation, now);
    condition_set(conditions, "Reconciling", moves ? "True" : "False",
                  moves ? state->reason : "Settled", moves ? state->message : "", generation, now);
    condition_set(conditions, "Stalled", stalled ? "True" : "False",
                  stalled ? state->reason : "NotStalled", stalled ? state->message : "", generation,
                  now);
    for (size_t i = 0; others[i].type; i++)
        condition_set(conditions, others[i].type, others[i].status, others[i].reason,
                      others[i].message, generation, now);
    json_t *status = json_pack("{sI so ss}", "observedGeneration", (json_int_t)generation,
                               "conditions", conditions, "phase", state->phase);
    ASSERT(status);
    if (more)
        json_object_update(status, (json_t *)(uintptr_t)more);
    *ret_changed = !old || !json_equal(old, status);
    return status;
}
