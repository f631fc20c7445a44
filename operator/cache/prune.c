#include "operator/cache/prune.h"

/* Shared with the object, which is only read from then on. */
static void keep(json_t *to, const json_t *from, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (value)
            json_object_set(to, names[i], value);
    }
}

#define KEEP(to, from, ...)                                                                        \
    keep((to), (from), (const char *const[]){__VA_ARGS__},                                         \
         ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static json_t *pruned_meta(Kind kind, const json_t *object)
{
    json_t *meta = json_object();
    const json_t *from = json_object_get(object, "metadata");
    KEEP(meta, from, "name", "namespace", "uid", "resourceVersion", "generation",
         "creationTimestamp", "deletionTimestamp");
    if (kind == KIND_SECRET)
        return meta;
    KEEP(meta, from, "labels", "ownerReferences", "finalizers", "annotations");
    json_t *annotations = json_object_get(meta, "annotations");
    if (json_object_get(annotations, ANNOTATION_APPLIED)) {
        annotations = json_copy(annotations);
        json_object_del(annotations, ANNOTATION_APPLIED);
        json_object_set_new(meta, "annotations", annotations);
    }
    return meta;
}

/* Of a Pod its containers' states, and why it is not scheduled. */
static json_t *pruned_pod(const json_t *object)
{
    json_t *status = json_object(), *containers = json_array();
    const json_t *from = json_object_get(object, "status");
    KEEP(status, from, "phase", "reason", "message", "podIP");
    static const char *const lists[] = {"initContainerStatuses", "containerStatuses"};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_t *container;
        json_array_foreach(json_object_get(from, lists[l]), i, container)
        {
            json_t *one = json_object();
            KEEP(one, container, "name", "ready", "restartCount", "state", "lastState");
            json_array_append_new(containers, one);
        }
    }
    json_object_set_new(status, "containerStatuses", containers);
    json_t *conditions = json_array();
    size_t i;
    json_t *condition;
    json_array_foreach(json_object_get(from, "conditions"), i, condition)
    {
        json_t *one = json_object();
        KEEP(one, condition, "type", "status", "reason", "message");
        json_array_append_new(conditions, one);
    }
    json_object_set_new(status, "conditions", conditions);
    return status;
}

json_t *prune(Kind kind, const json_t *object)
{
    json_t *to = json_object();
    KEEP(to, object, "apiVersion", "kind");
    json_object_set_new(to, "metadata", pruned_meta(kind, object));
    switch (kind) {
    case KIND_SECRET:
        break;
    case KIND_POD:
        json_object_set_new(to, "status", pruned_pod(object));
        break;
    case KIND_CONFIG_MAP:
        KEEP(to, object, "data", "immutable");
        break;
    case KIND_SERVICE_ACCOUNT:
        KEEP(to, object, "automountServiceAccountToken");
        break;
    case KIND_SERVICE:
    case KIND_DISRUPTION_BUDGET:
    case KIND_NETWORK_POLICY:
        KEEP(to, object, "spec");
        break;
    default:
        KEEP(to, object, "spec", "status");
    }
    return to;
}

char *prune_ref(Kind kind, const json_t *object, size_t at)
{
    const char *name = NULL;
    if (kind == KIND_UNIT)
        name = at ? object_table(object, 0) : object_text(object, "spec.connectorRef.name");
    else if (kinds[kind].owned)
        name = object_label(object, at ? LABEL_UNIT : LABEL_CONNECTOR);
    char *names = name ? mem_format("\n%s", name) : NULL;
    for (size_t i = 1; kind == KIND_UNIT && at && (name = object_table(object, i)); i++) {
        char *more = mem_format("%s\n%s", names, name);
        free(names);
        names = more;
    }
    return names;
}
