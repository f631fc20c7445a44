#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

#define TRIES 2
#define SECONDS_MAX 120 /* one that fails is made again: see reconcile/drop_job.c */
#define KEPT_S 3600     /* should nobody remove it */

static json_t *objects(const ConnectorInput *input, const char *namespace_name, const char *name,
                       json_t *labels /* taken */)
{
    json_t *nobody = json_pack("{s{ss}}", "metadata", "namespace", namespace_name);
    PodInput pod = {
        .from = input, .name = name, .role = "drop", .command = "drop", .labels = labels};
    json_t *map = child_object(KIND_CONFIG_MAP, nobody, name, labels);
    json_object_set_new(map, "data", json_pack("{ss}", "manifest.yaml", input->manifest));
    json_t *job = child_object(KIND_JOB, nobody, name, labels);
    json_object_set_new(job, "spec",
                        json_pack("{si si si so}", "backoffLimit", TRIES, "activeDeadlineSeconds",
                                  SECONDS_MAX, "ttlSecondsAfterFinished", KEPT_S, "template",
                                  pod_template(&pod)));
    json_decref(labels);
    json_decref(nobody);
    return json_pack("[oo]", map, job);
}

json_t *desired_drop(const ConnectorInput *input)
{
    char name[NAME_BYTES_MAX], label[NAME_BYTES_MAX];
    const json_t *connector = input->connector;
    name_of_child(object_name(connector), "-drop", name);
    name_of_label(object_name(connector), label);
    return objects(input, object_namespace(connector), name,
                   json_pack("{ss ss ss}", "app.kubernetes.io/name", "firn-agent", LABEL_ROLE,
                             "drop", LABEL_CONNECTOR, label));
}

json_t *desired_drop_table(const ConnectorInput *input, const json_t *table)
{
    char name[NAME_BYTES_MAX], label[NAME_BYTES_MAX];
    name_of_child(object_name(table), "-drop-table", name);
    name_of_label(object_name(table), label);
    return objects(input, object_namespace(table), name,
                   json_pack("{ss ss ss}", "app.kubernetes.io/name", "firn-agent", LABEL_ROLE,
                             "drop", LABEL_TABLE, label));
}
