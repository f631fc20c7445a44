/* What can be told from outside: the Deployment's counts, and of a Pod that is not ready why its
 * container waits, or how it ended. An agent that ends with 3 needs a person; the last words of its
 * log are in the container's state. */
#include <stdio.h>

#include "operator/status/status.h"

#define EXIT_REFUSED 3
#define TRIED_ANEW_S 30

static int64_t number_at(const json_t *object, const char *path)
{
    return json_integer_value(object_at(object, path));
}

bool state_of_log(const char *log, char *reason, size_t reason_bytes, char *message,
                  size_t message_bytes)
{
    bool found = false;
    while (*log) {
        size_t bytes = strcspn(log, "\n");
        AUTO(json_free) json_t *line = json_loadb(log, bytes, 0, NULL);
        const char *why = json_string_value(json_object_get(line, "reason"));
        const char *error = json_string_value(json_object_get(line, "error"));
        if (why && *why && error) {
            snprintf(reason, reason_bytes, "%s", why);
            snprintf(message, message_bytes, "%s", error);
            found = true;
        }
        log += bytes + (log[bytes] == '\n');
    }
    return found;
}

/* The last lines of a text, as they are. */
static const char *tail(const char *text, size_t bytes)
{
    size_t all = strlen(text);
    return all > bytes ? text + all - bytes : text;
}

static bool is_reason(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
              (*at >= '0' && *at <= '9')))
            return false;
    return *text >= 'A' && *text <= 'Z';
}

/* Whose memory is raised how. */
static const char *memory_of(const json_t *container)
{
    const char *name = object_text(container, "name");
    return name && strcmp(name, "maintain") == 0
               ? "the container maintain was ended for its memory: raise its limit in "
                 "spec.agent.podTemplate: "
               : "the agent was ended for its memory: raise spec.agent.resources: ";
}

/* An ended container; true: that is the state. */
static bool state_of_end(const json_t *container, const char *path, State *ret)
{
    const json_t *ended = object_at(container, path);
    if (!ended)
        return false;
    int64_t code = number_at(ended, "exitCode");
    const char *log = object_text(ended, "message");
    const char *why = object_text(ended, "reason");
    char reason[40] = "", message[512] = "";
    bool told = log && state_of_log(log, reason, sizeof reason, message, sizeof message) &&
                is_reason(reason);
    if (code == 0)
        return false;
    if (code == EXIT_REFUSED) {
        *ret = state_of(HEALTH_STALLED, "Stalled", told ? reason : "Refused", "%s",
                        told  ? message
                        : log ? tail(log, 500)
                              : "the agent refuses to run: its log says why");
        return true;
    }
    bool memory = why && strcmp(why, "OOMKilled") == 0;
    *ret =
        state_of(HEALTH_PROGRESS, "Pending",
                 memory ? "OOMKilled"
                 : told ? reason
                        : "Restarting",
                 "%s%s", memory ? memory_of(container) : "the agent ended and is started again: ",
                 told  ? message
                 : log ? tail(log, 400)
                       : "its log says why");
    return true;
}

static bool state_of_waiting(const json_t *waiting, State *ret)
{
    static const char *const persons[] = {
        "ErrImagePull",      "ImagePullBackOff",           "InvalidImageName",
        "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
        "RunContainerError"};
    const char *reason = object_text(waiting, "reason"), *message = object_text(waiting, "message");
    for (size_t i = 0; reason && i < ARRAY_LEN(persons); i++) {
        if (strcmp(persons[i], reason) != 0)
            continue;
        *ret = state_of(HEALTH_STALLED, "Stalled", reason, "%s",
                        message && *message ? message : "the container can't be started");
        return true;
    }
    return false;
}

/* What is refused ends within seconds: while it is tried anew, what it said before holds. What
 * runs for longer has left that behind, and speaks for itself. */
static bool is_behind_it(const json_t *container, int64_t now_s, int64_t *ret_again_s)
{
    int64_t runs_s = time_age_s(object_text(container, "state.running.startedAt"), now_s);
    bool behind = runs_s >= TRIED_ANEW_S;
    if (runs_s >= 0 && !behind && object_at(container, "lastState.terminated"))
        *ret_again_s = TRIED_ANEW_S - runs_s;
    return behind;
}

static bool state_of_pod(const json_t *pod, int64_t now_s, int64_t *ret_again_s, State *ret)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(pod, "status.containerStatuses"), i, one)
    {
        if (json_is_true(json_object_get(one, "ready")))
            continue;
        if (state_of_waiting(object_at(one, "state.waiting"), ret) ||
            state_of_end(one, "state.terminated", ret) ||
            (!is_behind_it(one, now_s, ret_again_s) &&
             state_of_end(one, "lastState.terminated", ret)))
            return true;
    }
    json_array_foreach(object_at(pod, "status.conditions"), i, one)
    {
        const char *type = object_text(one, "type"), *reason = object_text(one, "reason");
        if (!type || !reason || strcmp(type, "PodScheduled") != 0 ||
            strcmp(reason, "Unschedulable") != 0)
            continue;
        const char *message = object_text(one, "message");
        *ret = state_of(HEALTH_PROGRESS, "Pending", "Unschedulable", "no node takes the Pod: %s",
                        message ? message : "");
        return true;
    }
    return false;
}

/* Quotas and webhooks refuse Pods at the ReplicaSet. */
static bool state_of_refusal(const json_t *deployment, State *ret)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(deployment, "status.conditions"), i, one)
    {
        const char *type = object_text(one, "type"), *is = object_text(one, "status");
        if (!type || !is || strcmp(type, "ReplicaFailure") != 0 || strcmp(is, "True") != 0)
            continue;
        const char *message = object_text(one, "message");
        *ret = state_of(HEALTH_STALLED, "Stalled", "PodRefused", "the Pod can't be made: %s",
                        message ? message : "");
        return true;
    }
    return false;
}

bool state_of_counts(const DeploymentCounts *counts, State *ret)
{
    if (!counts) {
        *ret = state_of(HEALTH_PROGRESS, "Pending", "Creating", "the Deployment is being made");
        return true;
    }
    int wanted = counts->wanted;
    bool whole = counts->seen && counts->updated == wanted && counts->replicas == wanted;
    if (wanted == 0)
        *ret = whole ? state_of(HEALTH_READY, "Stopped", "Stopped", "it is stopped, as state says")
                     : state_of(HEALTH_PROGRESS, "Pending", "Stopping", "its Pods are ending");
    else if (!whole)
        *ret = state_of(HEALTH_PROGRESS, "Pending", "RollingOut", "its Pods are being replaced");
    else if (counts->available == wanted)
        *ret = state_of(HEALTH_READY, "Streaming", "Streaming", "it follows the source");
    else
        *ret = state_of(HEALTH_PROGRESS, "Pending", "Starting",
                        "%d of %d Pods are ready: the agent is connecting, or copies",
                        counts->ready, wanted);
    return wanted == 0 || ret->health == HEALTH_READY;
}

State state_of_pods(const json_t *deployment, const json_t *pods, int64_t now_s,
                    int64_t *ret_again_s)
{
    State state, of_pod;
    *ret_again_s = 0;
    DeploymentCounts counts = deployment_counts(deployment);
    if (state_of_counts(deployment ? &counts : NULL, &state))
        return state;
    size_t i;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        if (!object_is_deleted(pod) && state_of_pod(pod, now_s, ret_again_s, &of_pod))
            return of_pod;
    }
    return state_of_refusal(deployment, &of_pod) ? of_pod : state;
}
