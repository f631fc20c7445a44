#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

json_t *child_object(Kind kind, const json_t *owner, const char *name, const json_t *labels)
{
    json_t *all = json_copy((json_t *)(uintptr_t)labels);
    json_object_set_new(all, LABEL_MANAGED_BY, json_string(LABEL_MANAGED_BY_VALUE));
    json_t *object = packed(json_pack("{ss ss s{ss ss so}}", "apiVersion", kinds[kind].api_version,
                                      "kind", kinds[kind].name, "metadata", "name", name,
                                      "namespace", object_namespace(owner), "labels", all));
    if (object_uid(owner))
        json_object_set_new(
            json_object_get(object, "metadata"), "ownerReferences",
            packed(json_pack("[{sO sO ss ss sb sb}]", "apiVersion",
                             json_object_get(owner, "apiVersion"), "kind",
                             json_object_get(owner, "kind"), "name", object_name(owner), "uid",
                             object_uid(owner), "controller", 1, "blockOwnerDeletion", 1)));
    return object;
}

static void add(json_t *list, json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, packed(value));
    json_array_append_new(list, object);
}

typedef struct Family {
    const ConnectorInput *input;
    const json_t *owner;
    const char *name, *role, *command, *strategy;
    int64_t replicas;
    json_t *labels; /* the selector's */
} Family;

static json_t *deployment_spec(const Family *family)
{
    PodInput pod = {.from = family->input,
                    .name = family->name,
                    .role = family->role,
                    .command = family->command,
                    .owner = family->owner,
                    .labels = family->labels};
    return packed(json_pack("{sI si si s{sO} s{ss} so}", "replicas", (json_int_t)family->replicas,
                            "revisionHistoryLimit", 3, "progressDeadlineSeconds", 600, "selector",
                            "matchLabels", family->labels, "strategy", "type", family->strategy,
                            "template", pod_template(&pod)));
}

static json_t *family_objects(const Family *family)
{
    const json_t *owner = family->owner, *labels = family->labels;
    const char *name = family->name;
    json_t *list = json_array();
    add(list, child_object(KIND_SERVICE_ACCOUNT, owner, name, labels),
        "automountServiceAccountToken", json_false());
    json_t *data = json_pack("{ss}", "manifest.yaml", family->input->manifest);
    if (family->input->channel_host) /* a mounted file is renewed with it: no Pod is rolled */
        json_object_set_new(data, "channel-ca.crt", json_string(family->input->channel_trust));
    if (family->input->orders) /* likewise, and who runs is told by the channel */
        json_object_set_new(data, "orders.json", json_string(family->input->orders));
    add(list, child_object(KIND_CONFIG_MAP, owner, name, labels), "data", data);
    add(list, child_object(KIND_SERVICE, owner, name, labels), "spec",
        json_pack("{ss sO s[{ss si ss ss}]}", "clusterIP", "None", "selector", labels, "ports",
                  "name", "http", "port", AGENT_PORT, "targetPort", "http", "protocol", "TCP"));
    add(list, child_object(KIND_DISRUPTION_BUDGET, owner, name, labels), "spec",
        json_pack("{si s{sO}}", "maxUnavailable", 1, "selector", "matchLabels", labels));
    /* What an agent reaches (sources, stores, catalogs) has names and not addresses: only who
     * reaches it is limited. */
    json_t *ports = json_pack("[{si ss}]", "port", AGENT_PORT, "protocol", "TCP");
    if (family->input->maintains)
        json_array_append_new(ports,
                              json_pack("{si ss}", "port", MAINTAIN_PORT, "protocol", "TCP"));
    add(list, child_object(KIND_NETWORK_POLICY, owner, name, labels), "spec",
        json_pack("{s{sO} s[s] s[{so}]}", "podSelector", "matchLabels", labels, "policyTypes",
                  "Ingress", "ingress", "ports", ports));
    add(list, child_object(KIND_DEPLOYMENT, owner, name, labels), "spec", deployment_spec(family));
    return list;
}

static json_t *selector_labels(const char *role, const json_t *connector, const json_t *unit)
{
    char label[NAME_BYTES_MAX];
    json_t *labels =
        packed(json_pack("{ss ss}", "app.kubernetes.io/name", "firn-agent", LABEL_ROLE, role));
    if (connector) {
        name_of_label(object_name(connector), label);
        json_object_set_new(labels, LABEL_CONNECTOR, json_string(label));
    }
    if (unit) {
        name_of_label(object_name(unit), label);
        json_object_set_new(labels, LABEL_UNIT, json_string(label));
    }
    return labels;
}

static bool is_running(const json_t *object)
{
    const char *state = object_text(object, "spec.state");
    return !state || strcmp(state, "Stopped") != 0;
}

json_t *desired_of_connector(const ConnectorInput *input)
{
    char name[NAME_BYTES_MAX];
    name_of_child(object_name(input->connector), "-capture", name);
    json_t *labels = selector_labels("capture", input->connector, NULL);
    Family family = {.input = input,
                     .owner = input->connector,
                     .name = name,
                     .role = "capture",
                     .command = object_at(input->connector, "spec.stream") ? "capture" : "run",
                     /* one slot has one reader */
                     .strategy = "Recreate",
                     .replicas = is_running(input->connector),
                     .labels = labels};
    json_t *list = family_objects(&family);
    json_decref(labels);
    return list;
}

bool unit_has_pods(const json_t *unit, const json_t *connector)
{
    return object_at(unit, "spec.kafka") || object_at(connector, "spec.stream");
}

json_t *desired_of_unit(const ConnectorInput *input, const json_t *unit)
{
    char name[NAME_BYTES_MAX];
    name_of_child(object_name(unit), "-ingest", name);
    json_t *labels = selector_labels("ingest", NULL, unit);
    const json_t *consumers = object_at(unit, "spec.numberOfConsumers");
    Family family = {.input = input,
                     .owner = unit,
                     .name = name,
                     .role = "ingest",
                     .command = "ingest",
                     .strategy = "RollingUpdate",
                     .replicas = !is_running(unit) ? 0
                                 : consumers       ? json_integer_value(consumers)
                                                   : 1,
                     .labels = labels};
    json_t *list = family_objects(&family);
    json_decref(labels);
    return list;
}
