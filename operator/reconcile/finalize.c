/* A Connector that is being deleted: first its Pods go, so that the slot is free; then a Job drops
 * slot and publication: see drop_job.c. MySQL and MariaDB keep nothing for who reads them, and what
 * `manage: false` says somebody else manages stays. Tables are never dropped here: they are their
 * LakeTables'. */
#include "common/log.h"
#include "common/metrics.h"
#include "operator/reconcile/reconcile.h"

bool connector_has_slot(const json_t *connector)
{
    const char *type = object_text(connector, "spec.source.type");
    return type && strcmp(type, "PostgreSQL") == 0 &&
           !json_is_false(object_at(connector, "spec.source.postgresql.manage"));
}

static void slot_left(Look *look, const json_t *connector, const char *why)
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
    if (!pods_are_gone(look, connector, err))
        return false;
    Bundle bundle;
    AUTO(json_free) json_t *nothing = json_array();
    bundle_make(connector, nothing, nothing, &bundle);
    if (!bundle.text) {
        const char *why = bundle_verdict(&bundle, "Connector", look->name);
        (void)error_set(err, ERROR_CONFIG, "InvalidSpec", "%s", why ? why : "its spec is refused");
        bundle_done(&bundle);
        return false;
    }
    ConnectorInput input = {.connector = connector,
                            .manifest = bundle.text,
                            .manifest_hash = bundle.hash,
                            .secrets = secrets,
                            .secrets_hash = "",
                            .defaults = &look->op->options.agent};
    AUTO(json_free) json_t *wanted = desired_drop(&input);
    bool ok = drop_make(look, wanted, secrets, err);
    bundle_done(&bundle);
    return ok;
}

bool connector_finalize(Look *look, const json_t *connector, Error *err)
{
    char name[NAME_BYTES_MAX];
    if (!object_has_finalizer(connector, FINALIZER))
        return true;
    /* No Pod of it was ever made: it has no slot. (The status may be behind: killed in between.) */
    name_of_child(look->name, "-capture", name);
    AUTO(json_free)
    json_t *deployment = cache_get(look->op->cache, KIND_DEPLOYMENT, look->namespace_name, name);
    if (!connector_has_slot(connector) ||
        (!deployment && !object_text(connector, "status.manifestHash")))
        return finalizer_write(look, KIND_CONNECTOR, connector, FINALIZER, false, err);
    const Drop drop = {.kind = KIND_CONNECTOR,
                       .object = connector,
                       .finalizer = FINALIZER,
                       .suffix = "-drop",
                       .label = LABEL_CONNECTOR,
                       .what = "its slot and publication",
                       .begin = drop_begun,
                       .left = slot_left};
    return drop_run(look, &drop, err);
}
