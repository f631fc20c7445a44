#include "operator/page/page.h"

#define REVIEW_US INT64_C(10000000)
#define NAMESPACES_MAX 500

static bool call(Api *api, const char *path, json_t *body, json_t **ret, Error *err)
{
    ApiRequest request = {
        .method = "POST", .path = path, .body = body, .unguarded = true, .timeout_us = REVIEW_US};
    Error own = {0};
    if (api_call(api, &request, ret, &own))
        return true;
    /* Whatever keeps us from asking says nothing of who asks. */
    *err = own;
    err->kind = ERROR_RETRY;
    return error_wrap(err, "it can't be found out who this is");
}

/* https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/ */
json_t *access_user_of(Api *api, const char *token, Error *err)
{
    AUTO(json_free)
    json_t *body = json_pack("{ss ss s{ss}}", "apiVersion", "authentication.k8s.io/v1", "kind",
                             "TokenReview", "spec", "token", token);
    AUTO(json_free) json_t *answer = NULL;
    if (!body) {
        error_set(err, ERROR_CONFIG, "TokenRefused", "the token is no text");
        return NULL;
    }
    if (!call(api, "/apis/authentication.k8s.io/v1/tokenreviews", body, &answer, err))
        return NULL;
    const json_t *status = json_object_get(answer, "status");
    json_t *user = json_object_get(status, "user");
    if (!json_is_true(json_object_get(status, "authenticated")) ||
        !json_is_string(json_object_get(user, "username"))) {
        error_set(err, ERROR_CONFIG, "TokenRefused", "the token is not valid here");
        return NULL;
    }
    return json_incref(user);
}

/* namespace_name NULL: in all of them.
 * https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/ */
static bool may_list(Api *api, const json_t *user, const char *resource, const char *namespace_name,
                     bool *ret, Error *err)
{
    AUTO(json_free)
    json_t *body =
        json_pack("{ss ss s{sO s{ss ss ss ss*}}}", "apiVersion", "authorization.k8s.io/v1", "kind",
                  "SubjectAccessReview", "spec", "user", json_object_get(user, "username"),
                  "resourceAttributes", "verb", "list", "group", "firn.dev", "resource", resource,
                  "namespace", namespace_name);
    ASSERT(body);
    static const char *const more[] = {"groups", "uid", "extra"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if (json_object_get(user, more[i]))
            json_object_set(json_object_get(body, "spec"), more[i], json_object_get(user, more[i]));
    AUTO(json_free) json_t *answer = NULL;
    if (!call(api, "/apis/authorization.k8s.io/v1/subjectaccessreviews", body, &answer, err))
        return false;
    *ret = json_is_true(object_at(answer, "status.allowed"));
    return true;
}

static bool may_see(Api *api, const json_t *user, const char *namespace_name, bool *ret, Error *err)
{
    return may_list(api, user, "connectors", namespace_name, ret, err) &&
           (!*ret || may_list(api, user, "ingestionunits", namespace_name, ret, err));
}

bool access_namespaces(Api *api, const json_t *user, const json_t *namespaces, json_t **ret,
                       Error *err)
{
    bool all;
    const char *name;
    json_t *unused;
    int asked = 0;
    *ret = NULL;
    if (!may_see(api, user, NULL, &all, err))
        return false;
    if (all)
        return true;
    json_t *found = json_object();
    json_object_foreach((json_t *)(uintptr_t)namespaces, name, unused)
    {
        bool may = false;
        if (asked++ == NAMESPACES_MAX)
            break;
        if (!may_see(api, user, name, &may, err)) {
            json_decref(found);
            return false;
        }
        if (may)
            json_object_set_new(found, name, json_true());
    }
    *ret = found;
    return true;
}
