#include "operator/api/api.h"

static const char *meta_text(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(json_object_get(object, "metadata"), field));
}

const char *object_name(const json_t *object)
{
    return meta_text(object, "name");
}

const char *object_namespace(const json_t *object)
{
    return meta_text(object, "namespace");
}

const char *object_uid(const json_t *object)
{
    return meta_text(object, "uid");
}

const char *object_version(const json_t *object)
{
    return meta_text(object, "resourceVersion");
}

int64_t object_generation(const json_t *object)
{
    return json_integer_value(json_object_get(json_object_get(object, "metadata"), "generation"));
}

bool object_is_deleted(const json_t *object)
{
    return meta_text(object, "deletionTimestamp");
}

static const char *meta_entry(const json_t *object, const char *map, const char *name)
{
    json_t *entries = json_object_get(json_object_get(object, "metadata"), map);
    return json_string_value(json_object_get(entries, name));
}

const char *object_label(const json_t *object, const char *name)
{
    return meta_entry(object, "labels", name);
}

const char *object_annotation(const json_t *object, const char *name)
{
    return meta_entry(object, "annotations", name);
}

bool object_has_finalizer(const json_t *object, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(object, "metadata"), "finalizers"), i, item)
    {
        if (strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

json_t *object_at(const json_t *object, const char *path)
{
    json_t *at = (json_t *)(uintptr_t)object;
    while (at && *path) {
        char name[64];
        size_t bytes = strcspn(path, ".");
        ASSERT(bytes < sizeof name);
        memcpy(name, path, bytes);
        name[bytes] = '\0';
        at = json_object_get(at, name);
        path += bytes + (path[bytes] == '.');
    }
    return at;
}

const char *object_text(const json_t *object, const char *path)
{
    return json_string_value(object_at(object, path));
}

const char *object_table(const json_t *unit, size_t at)
{
    const json_t *routes = object_at(unit, "spec.routes");
    const char *own = object_text(unit, "spec.lakeTableRef.name");
    size_t count = routes ? json_array_size(routes) : own != NULL;
    if (at == count)
        return object_text(unit, "spec.deadLetter.lakeTableRef.name");
    return routes ? object_text(json_array_get(routes, at), "lakeTableRef.name") : at ? NULL : own;
}

const json_t *object_controller(const json_t *object)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(object, "metadata"), "ownerReferences"), i,
                       item)
    {
        if (json_is_true(json_object_get(item, "controller")))
            return item;
    }
    return NULL;
}

bool object_is_new(const json_t *object)
{
    return json_integer_value(object_at(object, "status.observedGeneration")) < 0;
}

bool object_is_elder(const json_t *one, const json_t *other)
{
    const char *a = object_text(one, "metadata.creationTimestamp");
    const char *b = object_text(other, "metadata.creationTimestamp");
    int order = strcmp(a ? a : "", b ? b : "");
    if (!order)
        order = strcmp(object_namespace(one), object_namespace(other));
    return order ? order < 0 : strcmp(object_name(one), object_name(other)) < 0;
}

static int count_at(const json_t *status, const char *name)
{
    return (int)json_integer_value(json_object_get(status, name));
}

DeploymentCounts deployment_counts(const json_t *deployment)
{
    const json_t *status = json_object_get(deployment, "status");
    return (DeploymentCounts){
        .seen = json_integer_value(json_object_get(status, "observedGeneration")) >=
                object_generation(deployment),
        .wanted = count_at(json_object_get(deployment, "spec"), "replicas"),
        .replicas = count_at(status, "replicas"),
        .updated = count_at(status, "updatedReplicas"),
        .ready = count_at(status, "readyReplicas"),
        .available = count_at(status, "availableReplicas"),
    };
}

bool json_same(const json_t *before, const json_t *now)
{
    return before == now || json_equal(before, now);
}

/* But for the whole object again, which the cache leaves out. */
static bool same_annotations(const json_t *before, const json_t *now)
{
    if (json_same(before, now))
        return true;
    AUTO(json_free) json_t *a = json_copy((json_t *)(uintptr_t)before);
    AUTO(json_free) json_t *b = json_copy((json_t *)(uintptr_t)now);
    json_object_del(a, ANNOTATION_APPLIED);
    json_object_del(b, ANNOTATION_APPLIED);
    return json_same(a, b);
}

bool object_same_wish(const json_t *before, const json_t *now)
{
    return object_generation(before) == object_generation(now) &&
           same_annotations(object_at(before, "metadata.annotations"),
                            object_at(now, "metadata.annotations"));
}

char *object_dump(const json_t *object)
{
    return json_text(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}
