/* Statuses and Events. An Event stands for a change of the word, not for each look. */
#include <stdio.h>
#include <time.h>

#include "common/crash.h"
#include "common/log.h"
#include "common/text.h"
#include "operator/reconcile/reconcile.h"

#define EVENT_MESSAGE_BYTES_MAX 1000
#define LATER_US 1000000

void say_event(Operator *op, const json_t *object, bool warning, const char *reason,
               const char *message)
{
    char now[32];
    Error err = {0};
    status_time(time(NULL), now);
    AUTO(mem_free)
    char *seed =
        mem_format("%s %s %s %lld", object_uid(object), reason, message, (long long)time(NULL));
    AUTO(mem_free)
    char *name =
        mem_format("%.200s.%016llx", object_name(object), (unsigned long long)hash_of_text(seed));
    AUTO(mem_free) char *text = mem_strndup(message, strnlen(message, EVENT_MESSAGE_BYTES_MAX));
    text_mend_utf8(text);
    AUTO(json_free)
    json_t *event = json_pack(
        "{ss ss s{ss ss} s{sO sO ss ss ss s{}} ss ss ss ss ss si s{ss} ss ss}", "apiVersion", "v1",
        "kind", "Event", "metadata", "name", name, "namespace", object_namespace(object),
        "involvedObject", "apiVersion", json_object_get(object, "apiVersion"), "kind",
        json_object_get(object, "kind"), "name", object_name(object), "namespace",
        object_namespace(object), "uid", object_uid(object), "_", "type",
        warning ? "Warning" : "Normal", "reason", reason, "message", text, "firstTimestamp", now,
        "lastTimestamp", now, "count", 1, "source", "component", "firn-operator",
        "reportingComponent", "firn-operator", "reportingInstance", "firn-operator");
    json_object_del(json_object_get(event, "involvedObject"), "_");
    AUTO(mem_free)
    char *path = mem_format("/api/v1/namespaces/%s/events", object_namespace(object));
    ApiRequest request = {.method = "POST", .path = path, .body = event};
    if (!event || !api_call(op->api, &request, NULL, &err))
        log_debug("no Event was written", LOG_T("reason", reason), LOG_T("error", err.message));
}

/* What a person wants to be told: that it stalls, and that it is well (again); once, where it is.
 */
static void event_of(Operator *op, const json_t *object, const State *state)
{
    if (state->repeated)
        return;
    if (state->health == HEALTH_STALLED && !condition_is(object, "Stalled", "True", state->reason))
        say_event(op, object, true, state->reason, state->message);
    else if (state->health == HEALTH_READY && !condition_is(object, "Ready", "True", state->reason))
        say_event(op, object, false, state->reason, state->message);
}

/* That it is on its way is what the definition itself says of what has no status yet. A Connector's
 * holds more: see finalize.c. */
static bool can_wait(Look *look, Kind kind, const json_t *object, const State *state)
{
    int64_t told_us = crowd_is_told_us(look->op);
    bool moves = state->health == HEALTH_PROGRESS || state->health == HEALTH_UNKNOWN;
    if (!told_us || !object_is_new(object) || !moves || kind == KIND_CONNECTOR)
        return false;
    if (crowd_ends_us(look->op))
        told_us += LATER_US; /* not again for each pause of one that goes on */
    look_again(look, told_us - look->now_us);
    return true;
}

bool say(Look *look, Kind kind, const json_t *object, const State *state, const Condition *others,
         const json_t *more, Error *err)
{
    Operator *op = look->op;
    bool changed;
    if (can_wait(look, kind, object, state))
        return true;
    json_t *status = status_of(object, state, others, more, look->now_s, &changed);
    AUTO(json_free)
    json_t *body = json_pack("{ss ss s{ss ss} so}", "apiVersion", kinds[kind].api_version, "kind",
                             kinds[kind].name, "metadata", "name", object_name(object), "namespace",
                             object_namespace(object), "status", status);
    ASSERT(body);
    if (!changed)
        return true;
    CRASH_POINT("operator-before-status");
    AUTO(json_free) json_t *now = NULL;
    Error own = {0};
    if (!api_apply_status(op->api, body, &now, &own)) {
        if (strcmp(own.code, "NotFound") == 0)
            return true; /* it went meanwhile */
        *err = own;
        return error_wrap(err, "status of %s/%s", kinds[kind].name, object_name(object));
    }
    cache_said(op->cache, kind, object, status, now);
    CRASH_POINT("operator-status-written");
    /* Its tables say the same; the event of this is no news by then. */
    if (kind == KIND_UNIT && !(look->light && tables_repeat_the_same(object, body)))
        enqueue_tables_of(op, object);
    if (state->health == HEALTH_STALLED && !state->repeated)
        log_warn("stalled", LOG_T("kind", kinds[kind].name),
                 LOG_T("namespace", object_namespace(object)), LOG_T("name", object_name(object)),
                 LOG_T("reason", state->reason), LOG_T("error", state->message));
    event_of(op, object, state);
    return true;
}
