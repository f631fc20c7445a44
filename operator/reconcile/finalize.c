/* A Connector that is being deleted: first its Pods go, so that the slot is free; then a Job with
 * the agent's image drops slot and publication, for the operator holds no Secret; then the
 * finalizer. A source that can't be reached holds nobody up for ever: what stays behind is named.
 * Tables are never dropped here: they are their LakeTables'. */
#include <stdio.h>
#include <time.h>

#include "common/crash.h"
#include "common/log.h"
#include "common/metrics.h"
#include "operator/reconcile/reconcile.h"

#define LOOK_US 2000000

static bool finalizer_removed(Look *look, const json_t *connector, Error *err)
{
    return finalizer_write(look, KIND_CONNECTOR, connector, FINALIZER, false, err);
}

static bool remove_drop(Look *look, Error *err)
{
    char name[NAME_BYTES_MAX];
    name_of_child(look->name, "-drop", name);
    return may_write(look->op, err) &&
           api_delete(look->op->api, KIND_JOB, look->namespace_name, name, err) &&
           api_delete(look->op->api, KIND_CONFIG_MAP, look->namespace_name, name, err);
}

static bool give_up(Look *look, const json_t *connector, const char *why, Error *err)
{
    const char *slot = object_text(connector, "spec.source.postgresql.slot");
    AUTO(mem_free)
    char *text = mem_format("slot %s and its publication may have stayed at the source, which then "
                            "keeps its log for them: drop them there (%s)",
                            slot ? slot : "firn_<name>", why);
    log_warn("slot left behind", LOG_T("namespace", look->namespace_name),
             LOG_T("connector", look->name), LOG_T("slot", slot ? slot : ""), LOG_T("error", why));
    metric_add(metrics_register(METRIC_COUNTER, "firn_leaked_slots",
                                "Deleted Connectors whose slot may have stayed at the source", ""),
               1);
    say_event(look->op, connector, true, "SlotLeaked", text);
    return remove_drop(look, err) && finalizer_removed(look, connector, err);
}

/* The Pods that read the slot. */
static bool pods_are_gone(Look *look, const json_t *connector, Error *err)
{
    char label[NAME_BYTES_MAX];
    name_of_label(look->name, label);
    AUTO(json_free) json_t *none = json_array();
    if (!children_prune(look->op, connector, 0, label, none, err))
        return false;
    AUTO(json_free)
    json_t *pods = cache_list(look->op->cache, KIND_POD, look->namespace_name, 0, label);
    size_t i;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        const char *role = object_label(pod, LABEL_ROLE);
        const char *phase = object_text(pod, "status.phase");
        bool ended = phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
        if (role && strcmp(role, "capture") == 0 && !ended)
            return error_set(err, ERROR_RETRY, "PodsRemain", "its Pods are ending");
    }
    return true;
}

/* The Connector alone, in the form in which it ran. */
static bool drop_begun(Look *look, const json_t *connector, Error *err)
{
    AUTO(json_free) json_t *secrets = bundle_secrets(connector, NULL, NULL);
    Bundle bundle;
    AUTO(json_free) json_t *nothing = json_array();
    bundle_make(connector, nothing, nothing, &bundle);
    if (!bundle.text) {
        bundle_done(&bundle);
        return error_set(err, ERROR_CONFIG, "InvalidSpec", "its spec is refused");
    }
    ConnectorInput input = {.connector = connector,
                            .manifest = bundle.text,
                            .manifest_hash = bundle.hash,
                            .secrets = secrets,
                            .secrets_hash = "",
                            .defaults = &look->op->options.agent};
    AUTO(json_free) json_t *wanted = desired_drop(&input);
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(wanted); i++)
        ok = child_apply(look->op, NULL, json_array_get(wanted, i), err);
    bundle_done(&bundle);
    return ok;
}

const char *job_end(const json_t *job)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(job, "status.conditions"), i, one)
    {
        const char *type = object_text(one, "type"), *is = object_text(one, "status");
        if (type && is && strcmp(is, "True") == 0 &&
            (strcmp(type, "Complete") == 0 || strcmp(type, "Failed") == 0))
            return type[0] == 'C' ? "Complete" : "Failed";
    }
    return NULL;
}

int64_t deleted_for_us(const json_t *object, int64_t now_s)
{
    struct tm parts = {0};
    const char *text = object_text(object, "metadata.deletionTimestamp");
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &parts))
        return 0;
    return (now_s - (int64_t)timegm(&parts)) * 1000000;
}

bool connector_finalize(Look *look, const json_t *connector, Error *err)
{
    Operator *op = look->op;
    char name[NAME_BYTES_MAX];
    if (!object_has_finalizer(connector, FINALIZER))
        return true;
    /* No Pod of it was ever made: it has no slot. (The status may be behind: killed in between.) */
    name_of_child(look->name, "-capture", name);
    AUTO(json_free)
    json_t *deployment = cache_get(op->cache, KIND_DEPLOYMENT, look->namespace_name, name);
    if (!deployment && !object_text(connector, "status.manifestHash"))
        return finalizer_removed(look, connector, err);
    bool late = deleted_for_us(connector, look->now_s) >= cleanup_limit_us(op);
    name_of_child(look->name, "-drop", name);
    AUTO(json_free) json_t *job = cache_get(op->cache, KIND_JOB, look->namespace_name, name);
    const char *end = job_end(job);
    if (end && end[0] == 'C') {
        CRASH_POINT("operator-slot-dropped");
        return remove_drop(look, err) && finalizer_removed(look, connector, err);
    }
    if (end)
        return give_up(look, connector, "the Job that drops them failed: see its Pod's log", err);
    if (late)
        return give_up(look, connector, "the source could not be reached in time", err);
    look_again(look, LOOK_US);
    Error own = {0};
    if (job || (pods_are_gone(look, connector, &own) && drop_begun(look, connector, &own)))
        return true;
    if (strcmp(own.code, "PodsRemain") == 0)
        return true;
    /* A namespace that is going takes nothing new. */
    if (own.kind == ERROR_CONFIG)
        return give_up(look, connector, own.message, err);
    *err = own;
    return false;
}
