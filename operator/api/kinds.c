#include "common/http/http_client.h"
#include "operator/api/api.h"

#define FIRN "firn.dev/v1alpha1"
const KindInfo kinds[KIND_COUNT] = {
    [KIND_CONNECTOR] = {FIRN, "Connector", "connectors", "/apis/" FIRN, false, false},
    [KIND_LAKE_TABLE] = {FIRN, "LakeTable", "laketables", "/apis/" FIRN, false, false},
    [KIND_UNIT] = {FIRN, "IngestionUnit", "ingestionunits", "/apis/" FIRN, false, false},
    [KIND_DEPLOYMENT] = {"apps/v1", "Deployment", "deployments", "/apis/apps/v1", true, false},
    [KIND_POD] = {"v1", "Pod", "pods", "/api/v1", true, false},
    [KIND_JOB] = {"batch/v1", "Job", "jobs", "/apis/batch/v1", true, false},
    /* Never their values: only that they are there, and that they changed. */
    [KIND_SECRET] = {"v1", "Secret", "secrets", "/api/v1", false, true},
    [KIND_CONFIG_MAP] = {"v1", "ConfigMap", "configmaps", "/api/v1", true, false},
    [KIND_SERVICE_ACCOUNT] = {"v1", "ServiceAccount", "serviceaccounts", "/api/v1", true, false},
    [KIND_SERVICE] = {"v1", "Service", "services", "/api/v1", true, false},
    [KIND_DISRUPTION_BUDGET] = {"policy/v1", "PodDisruptionBudget", "poddisruptionbudgets",
                                "/apis/policy/v1", true, false},
    [KIND_NETWORK_POLICY] = {"networking.k8s.io/v1", "NetworkPolicy", "networkpolicies",
                             "/apis/networking.k8s.io/v1", true, false},
};

Kind kind_of(const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "kind"));
    const char *version = json_string_value(json_object_get(object, "apiVersion"));
    Kind kind = 0;
    while (kind < KIND_COUNT && !(name && version && strcmp(kinds[kind].name, name) == 0 &&
                                  strcmp(kinds[kind].api_version, version) == 0))
        kind++;
    return kind;
}

char *kind_path(Kind kind, const char *namespace_name, const char *name, const char *more)
{
    ASSERT(kind < KIND_COUNT);
    const KindInfo *info = &kinds[kind];
    AUTO(mem_free) char *space = namespace_name ? http_escape(namespace_name, NULL) : NULL;
    AUTO(mem_free) char *own = name ? http_escape(name, NULL) : NULL;
    return mem_format("%s%s%s/%s%s%s%s", info->path, space ? "/namespaces/" : "",
                      space ? space : "", info->plural, own ? "/" : "", own ? own : "", more);
}

static bool apply(Api *api, const json_t *object, bool status, bool metadata_only, json_t **ret,
                  Error *err)
{
    Kind kind = kind_of(object);
    ASSERT(kind < KIND_COUNT);
    AUTO(mem_free)
    char *path = kind_path(kind, object_namespace(object), object_name(object),
                           status ? "/status?fieldManager=" API_FIELD_MANAGER "&force=true"
                                  : "?fieldManager=" API_FIELD_MANAGER "&force=true");
    ApiRequest request = {.method = "PATCH",
                          .path = path,
                          .body = object,
                          .body_kind = API_APPLY,
                          .metadata_only = metadata_only};
    return api_call(api, &request, ret, err);
}

bool api_apply(Api *api, const json_t *object, json_t **ret, Error *err)
{
    return apply(api, object, false, false, ret, err);
}

/* An apply that names a version is refused where the object has another, and makes what is not
 * there. The first version that a store counts is no child's. */
bool api_create(Api *api, const json_t *object, Error *err)
{
    AUTO(json_free) json_t *own = json_copy((json_t *)(uintptr_t)object);
    AUTO(json_free) json_t *meta = json_copy(json_object_get(object, "metadata"));
    json_object_set_new(meta, "resourceVersion", json_string("1"));
    json_object_set(own, "metadata", meta);
    return apply(api, own, false, true, NULL, err);
}

bool api_apply_status(Api *api, const json_t *object, json_t **ret, Error *err)
{
    return apply(api, object, true, true, ret, err);
}

bool api_delete(Api *api, Kind kind, const char *namespace_name, const char *name, Error *err)
{
    AUTO(mem_free)
    char *path = kind_path(kind, namespace_name, name, "?propagationPolicy=Background");
    Error own = {0};
    if (api_call(api, &(ApiRequest){.method = "DELETE", .path = path}, NULL, &own) ||
        strcmp(own.code, "NotFound") == 0)
        return true;
    if (err)
        *err = own;
    return false;
}
