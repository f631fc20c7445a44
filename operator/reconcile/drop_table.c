/* A LakeTable with `deletionPolicy: Drop` that is being deleted. First nobody may fill it any more:
 * the Pods that did have to be gone, or to run with a manifest without it. Then a Job that is like
 * these Pods (volumes, account …) drops the table with its files: see drop_job.c. */
#include "common/log.h"
#include "common/metrics.h"
#include "operator/reconcile/reconcile.h"

static void table_left(Look *look, const json_t *table, const char *why)
{
    const char *database = object_text(table, "spec.database");
    const char *name = object_text(table, "spec.tableName");
    AUTO(mem_free)
    char *text = mem_format("table %s.%s stayed in the lake: drop it there (%s)",
                            database ? database : "", name ? name : look->name, why);
    log_warn("table left behind", LOG_T("namespace", look->namespace_name),
             LOG_T("table", look->name), LOG_T("error", why));
    metric_add(metrics_register(METRIC_COUNTER, "firn_leaked_tables",
                                "Deleted LakeTables whose table was to be dropped and may be there",
                                ""),
               1);
    say_event(look->op, table, true, "TableLeft", text);
}

/* Its Pods are those of this manifest. The ConfigMap comes first, the Deployment follows it: until
 * it has, what it says of its Pods is of those before. */
static bool has_rolled(const json_t *deployment, const char *manifest)
{
    const json_t *notes = object_at(deployment, "spec.template.metadata.annotations");
    const char *of = json_string_value(json_object_get(notes, ANNOTATION_MANIFEST));
    char hash[HASH_BYTES];
    hash_as_text(manifest, hash);
    if (!of || strcmp(of, hash) != 0)
        return false;
    int64_t replicas = json_integer_value(object_at(deployment, "spec.replicas"));
    return json_integer_value(object_at(deployment, "status.observedGeneration")) >=
               object_generation(deployment) &&
           json_integer_value(object_at(deployment, "status.updatedReplicas")) == replicas &&
           json_integer_value(object_at(deployment, "status.replicas")) == replicas;
}

/* Pods that end, or that are left of a Deployment which is no more: they may still commit. */
static bool linger(Look *look, size_t ref, const char *owner, const char *role, bool deployed)
{
    char label[NAME_BYTES_MAX];
    name_of_label(owner, label);
    AUTO(json_free)
    json_t *pods = cache_list(look->op->cache, KIND_POD, look->namespace_name, ref, label);
    size_t i;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        const char *own = object_label(pod, LABEL_ROLE), *phase = object_text(pod, "status.phase");
        bool ended = phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
        if (own && strcmp(own, role) == 0 && !ended && (!deployed || object_is_deleted(pod)))
            return true;
    }
    return false;
}

/* Whether the Pods of a Connector (ref 0) or unit (ref 1) may still write the table, as a LakeTable
 * of that name or as that of the unit's own. */
static bool fills(Look *look, size_t ref, const char *owner, const char *unit)
{
    Cache *cache = look->op->cache;
    char child[NAME_BYTES_MAX];
    name_of_child(owner, ref ? "-ingest" : "-capture", child);
    AUTO(json_free)
    json_t *deployment = cache_get(cache, KIND_DEPLOYMENT, look->namespace_name, child);
    if (linger(look, ref, owner, ref ? "ingest" : "capture", deployment))
        return true;
    if (!deployment)
        return false;
    AUTO(json_free) json_t *map = cache_get(cache, KIND_CONFIG_MAP, look->namespace_name, child);
    const json_t *data = json_object_get(map, "data");
    const char *text = json_string_value(json_object_get(data, "manifest.yaml"));
    return !text || bundle_holds(text, "LakeTable", look->name) ||
           (unit && bundle_holds(text, "IngestionUnit", unit)) || !has_rolled(deployment, text);
}

static bool is_filled(Look *look, const json_t *table)
{
    const char *connector = object_text(table, "status.connector");
    const char *unit = object_text(table, "status.unit");
    const char *pattern = object_label(table, LABEL_PATTERN);
    /* Of a unit's own table the unit has to be out of the manifest, too, or the pattern's. */
    const char *own = pattern ? pattern : object_text(object_controller(table), "name");
    if (!unit) /* gone before its table, and out of the status with that */
        unit = own;
    return (connector && fills(look, 0, connector, own)) || (unit && fills(look, 1, unit, own));
}

/* A pattern goes on filling it, and it comes back: only the resource was deleted. */
static bool is_found_again(Look *look, const json_t *table)
{
    const char *connector = object_text(table, "status.connector");
    if (!object_label(table, LABEL_PATTERN) || !connector)
        return false;
    AUTO(mem_free) char *key = reports_key('c', look->namespace_name, connector);
    AUTO(json_free)
    json_t *found = reports_tables(look->op->reports, key);
    AUTO(json_free)
    json_t *there = cache_get(look->op->cache, KIND_CONNECTOR, look->namespace_name, connector);
    AUTO(json_free)
    json_t *pattern = cache_get(look->op->cache, KIND_UNIT, look->namespace_name,
                                object_label(table, LABEL_PATTERN));
    return there && pattern && !object_is_deleted(pattern) && json_object_get(found, look->name);
}

/* What has the spec.agent of the Pods that filled it: the Connector, or what the table's status
 * keeps of it, or of a unit that has none. */
static json_t *reach(Look *look, const json_t *table)
{
    json_t *connector = cache_get(look->op->cache, KIND_CONNECTOR, look->namespace_name,
                                  object_text(table, "status.connector"));
    return connector ? connector
                     : json_pack("{s{sO?}}", "spec", "agent", object_at(table, "status.agent"));
}

static bool drop_begun(Look *look, const json_t *table, Error *err)
{
    AUTO(json_free) json_t *of = reach(look, table);
    AUTO(json_free) json_t *secrets = bundle_secrets(table, NULL, NULL);
    if (is_filled(look, table))
        return error_set(err, ERROR_RETRY, "PodsRemain",
                         "Pods that fill it have to end, or to "
                         "run without it");
    AUTO(mem_free) char *text = bundle_of_table(table);
    char hash[HASH_BYTES];
    hash_as_text(text, hash);
    ConnectorInput input = {.connector = of,
                            .manifest = text,
                            .manifest_hash = hash,
                            .secrets = secrets,
                            .secrets_hash = "",
                            .defaults = &look->op->options.agent};
    AUTO(json_free) json_t *wanted = desired_drop_table(&input, table);
    return drop_make(look, wanted, secrets, err);
}

bool lake_table_finalize(Look *look, const json_t *table, Error *err)
{
    if (is_found_again(look, table))
        return finalizer_write(look, KIND_LAKE_TABLE, table, FINALIZER_TABLE, false, err);
    const Drop drop = {.kind = KIND_LAKE_TABLE,
                       .object = table,
                       .finalizer = FINALIZER_TABLE,
                       .suffix = "-drop-table",
                       .label = LABEL_TABLE,
                       .what = "the table with its files",
                       .begin = drop_begun,
                       .left = table_left};
    return drop_run(look, &drop, err);
}
