#include <stdio.h>

#include "common/crash.h"
#include "operator/reconcile/reconcile.h"

static bool is_child_of(const json_t *object, const json_t *owner)
{
    const char *uid = object_text(object_controller(object), "uid");
    return uid && object_uid(owner) && strcmp(uid, object_uid(owner)) == 0;
}

/* Of a name under which nothing of ours was seen, and under which nothing new could be made: it may
 * be somebody else's, or too new for the cache. */
static bool name_is_free(Operator *op, Kind kind, const json_t *owner, const json_t *object,
                         Error *err)
{
    AUTO(mem_free)
    char *path = kind_path(kind, object_namespace(object), object_name(object), "");
    AUTO(json_free) json_t *found = NULL;
    Error own = {0};
    ApiRequest request = {.method = "GET", .path = path};
    if (!api_call(op->api, &request, &found, &own)) {
        if (strcmp(own.code, "NotFound") == 0)
            return true;
        *err = own;
        return false;
    }
    const char *manager = object_label(found, LABEL_MANAGED_BY);
    bool ours = manager && strcmp(manager, LABEL_MANAGED_BY_VALUE) == 0;
    if (owner ? is_child_of(found, owner) : ours)
        return true;
    if (ours && kind != KIND_LAKE_TABLE)
        return error_set(err, ERROR_RETRY, "OldChild",
                         "%s %s is still that of an owner that is gone", kinds[kind].name,
                         object_name(object));
    return error_set(err, ERROR_CONFIG, "NameTaken",
                     "%s %s is there already and not ours: rename it, or the resource that needs "
                     "the name",
                     kinds[kind].name, object_name(object));
}

/* By a quota, a policy, a webhook, a right that the operator lacks; or it is a webhook that nobody
 * reaches, which the API server says as an error of its own. A person has to see it, where anything
 * else that may pass is left to the next look, and a namespace that is going keeps its name. */
static bool refused(Kind kind, const json_t *object, Error *err)
{
    bool mended = err->kind == ERROR_CONFIG && strcmp(err->code, "NamespaceTerminating") != 0;
    if (!mended && !strstr(err->message, "failed calling webhook"))
        return error_wrap(err, "%s/%s", kinds[kind].name, object_name(object));
    Error own = *err;
    return error_set(err, ERROR_CONFIG, "ObjectRefused",
                     "%s %s is refused: %.400s; mend what refuses it: it is tried again by itself",
                     kinds[kind].name, object_name(object), own.message);
}

bool child_apply(Operator *op, const json_t *owner, const json_t *object, Error *err)
{
    Kind kind = kind_of(object);
    ASSERT(kind < KIND_COUNT);
    AUTO(json_free)
    json_t *live = cache_get(op->cache, kind, object_namespace(object), object_name(object));
    if (live && owner && !is_child_of(live, owner)) {
        const char *manager = object_label(live, LABEL_MANAGED_BY);
        if (object_controller(live) || !manager || strcmp(manager, LABEL_MANAGED_BY_VALUE) != 0)
            return name_is_free(op, kind, owner, object, err) &&
                   error_set(err, ERROR_RETRY, "OldChild", "%s %s is being replaced",
                             kinds[kind].name, object_name(object));
    }
    if (live && overlay_holds(live, object))
        return true;
    AUTO(json_free) json_t *now = NULL;
    bool ok = !live && api_create(op->api, object, err);
    if (!ok && !live) {
        if (err->kind != ERROR_CONFLICT && strcmp(err->code, "AlreadyExists") != 0)
            return refused(kind, object, err);
        if (!name_is_free(op, kind, owner, object, err))
            return false;
    }
    if (!ok && !api_apply(op->api, object, &now, err))
        return refused(kind, object, err);
    if (now && kind > KIND_UNIT) /* of resources the watch tells whom it concerns */
        cache_put(op->cache, kind, now);
    CRASH_POINT("operator-child-applied");
    return true;
}

static bool is_wanted(const json_t *wanted, Kind kind, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(wanted, i, one)
    {
        if (kind_of(one) == kind && strcmp(object_name(one), name) == 0)
            return true;
    }
    return false;
}

bool children_prune(Operator *op, const json_t *owner, size_t ref, const char *label,
                    const json_t *wanted, Error *err)
{
    for (Kind kind = 0; kind < KIND_COUNT; kind++) {
        if (!kinds[kind].owned || kind == KIND_POD)
            continue;
        AUTO(json_free)
        json_t *list = cache_list(op->cache, kind, object_namespace(owner), ref, label);
        size_t i;
        json_t *one;
        json_array_foreach(list, i, one)
        {
            if (!is_child_of(one, owner) || object_is_deleted(one) ||
                is_wanted(wanted, kind, object_name(one)))
                continue;
            if (!api_delete(op->api, kind, object_namespace(one), object_name(one), err))
                return false;
            CRASH_POINT("operator-child-removed");
        }
    }
    return true;
}

State state_of_process(Look *look, const char *role, size_t ref, DeploymentCounts *ret)
{
    Cache *cache = look->op->cache;
    const char *space = look->namespace_name;
    char label[NAME_BYTES_MAX], name[NAME_BYTES_MAX], suffix[32];
    State state;
    snprintf(suffix, sizeof suffix, "-%s", role);
    name_of_child(look->name, suffix, name);
    bool there = cache_counts(cache, space, name, ret);
    if (state_of_counts(there ? ret : NULL, &state))
        return state;
    AUTO(json_free) json_t *deployment = cache_get(cache, KIND_DEPLOYMENT, space, name);
    name_of_label(look->name, label);
    AUTO(json_free) json_t *pods = cache_list(cache, KIND_POD, space, ref, label);
    for (size_t i = json_array_size(pods); i-- > 0;) {
        const char *own = object_label(json_array_get(pods, i), LABEL_ROLE);
        if (!own || strcmp(own, role) != 0)
            json_array_remove(pods, i);
    }
    int64_t again_s;
    state = state_of_pods(deployment, pods, look->now_s, &again_s);
    if (again_s)
        look_again(look, again_s * 1000000);
    return state;
}

bool finalizer_write(Look *look, Kind kind, const json_t *object, const char *finalizer,
                     bool stands, Error *err)
{
    AUTO(json_free) json_t *list = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(object_at(object, "metadata.finalizers"), i, item)
    {
        if (strcmp(json_string_value(item), finalizer) != 0)
            json_array_append(list, item);
    }
    if (stands)
        json_array_append_new(list, json_string(finalizer));
    AUTO(json_free)
    json_t *body = json_pack("{s{ss sO}}", "metadata", "resourceVersion", object_version(object),
                             "finalizers", list);
    AUTO(mem_free)
    char *path =
        kind_path(kind, look->namespace_name, look->name, "?fieldManager=" API_FIELD_MANAGER);
    ApiRequest request = {
        .method = "PATCH", .path = path, .body = body, .body_kind = API_MERGE_PATCH};
    AUTO(json_free) json_t *now = NULL;
    Error own = {0};
    if (api_call(look->op->api, &request, &now, &own)) {
        /* Of what goes with its last finalizer the answer is as it was before. */
        json_object_set(json_object_get(now, "metadata"), "finalizers", list);
        cache_put(look->op->cache, kind, now);
        return true;
    }
    if (strcmp(own.code, "NotFound") == 0)
        return true;
    *err = own;
    return error_wrap(err, "finalizer of %s/%s", kinds[kind].name, look->name);
}
