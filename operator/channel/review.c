/* https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1
 *
 * Answers are kept for a short time by the token's hash, so that agents that all come back at once
 * cost one question each, and somebody who tries the same token again and again costs none. */
#include <openssl/evp.h>
#include <pthread.h>

#include "common/clock.h"
#include "operator/channel/channel.h"

#define KEPT 4096 /* a power of two */
#define KEPT_US INT64_C(10000000)
#define HASH_BYTES_OF_TOKEN 32
#define REVIEW_US INT64_C(10000000)
#define ACCOUNT "system:serviceaccount:"
#define POD_NAME "authentication.kubernetes.io/pod-name"
#define POD_UID "authentication.kubernetes.io/pod-uid"

typedef struct Kept {
    uint8_t hash[HASH_BYTES_OF_TOKEN];
    int64_t until_us; /* 0: empty */
    ChannelPod pod;   /* no name: refused */
    Error *err;       /* then: why */
} Kept;

struct Reviews {
    Api *api;
    pthread_mutex_t lock;
    Kept *kept[KEPT]; /* by the hash's first bytes; a newer one takes the place */
};

void channel_pod_done(ChannelPod *pod)
{
    free(pod->namespace_name);
    free(pod->name);
    free(pod->uid);
    free(pod->account);
    *pod = (ChannelPod){0};
}

static ChannelPod copy_of(const ChannelPod *pod)
{
    if (!pod->name)
        return (ChannelPod){0};
    return (ChannelPod){.namespace_name = mem_strdup(pod->namespace_name),
                        .name = mem_strdup(pod->name),
                        .uid = mem_strdup(pod->uid),
                        .account = mem_strdup(pod->account)};
}

static void kept_free(Kept *kept)
{
    if (!kept)
        return;
    channel_pod_done(&kept->pod);
    free(kept->err);
    free(kept);
}

Reviews *reviews_new(Api *api)
{
    Reviews *reviews = mem_zalloc(sizeof *reviews);
    reviews->api = api;
    pthread_mutex_init(&reviews->lock, NULL);
    return reviews;
}

void reviews_free(Reviews *reviews)
{
    if (!reviews)
        return;
    for (size_t i = 0; i < KEPT; i++)
        kept_free(reviews->kept[i]);
    pthread_mutex_destroy(&reviews->lock);
    free(reviews);
}

/* --- what the API server says --- */

static bool is_meant_for_us(const json_t *status)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(status, "audiences"), i, one)
    {
        const char *audience = json_string_value(one);
        if (audience && strcmp(audience, CHANNEL_AUDIENCE) == 0)
            return true;
    }
    return false;
}

static const char *extra_of(const json_t *user, const char *name)
{
    const json_t *values = json_object_get(json_object_get(user, "extra"), name);
    return json_string_value(json_array_get(values, 0));
}

static bool pod_of(const json_t *review, ChannelPod *ret, Error *err)
{
    const json_t *status = json_object_get(review, "status"),
                 *user = json_object_get(status, "user");
    const char *name = json_string_value(json_object_get(user, "username"));
    const char *pod = extra_of(user, POD_NAME), *uid = extra_of(user, POD_UID);
    if (!json_is_true(json_object_get(status, "authenticated")))
        return error_set(err, ERROR_CONFIG, "TokenRefused", "its token is not valid here");
    if (!is_meant_for_us(status))
        return error_set(err, ERROR_CONFIG, "TokenRefused", "its token is for another audience");
    const char *space =
        name && strncmp(name, ACCOUNT, strlen(ACCOUNT)) == 0 ? name + strlen(ACCOUNT) : NULL;
    const char *colon = space ? strchr(space, ':') : NULL;
    if (!colon || !pod || !uid || !*pod || !*uid)
        return error_set(err, ERROR_CONFIG, "NoPod", "its token is bound to no Pod");
    *ret = (ChannelPod){.namespace_name = mem_strndup(space, (size_t)(colon - space)),
                        .name = mem_strdup(pod),
                        .uid = mem_strdup(uid),
                        .account = mem_strdup(colon + 1)};
    return true;
}

static bool ask(Reviews *reviews, const char *token, ChannelPod *ret, Error *err)
{
    AUTO(json_free)
    json_t *body = json_pack("{ss ss s{ss s[s]}}", "apiVersion", "authentication.k8s.io/v1", "kind",
                             "TokenReview", "spec", "token", token, "audiences", CHANNEL_AUDIENCE);
    AUTO(json_free) json_t *answer = NULL;
    ApiRequest request = {.method = "POST",
                          .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                          .body = body,
                          .unguarded = true,
                          .timeout_us = REVIEW_US};
    Error own = {0};
    if (!body)
        return error_set(err, ERROR_CONFIG, "TokenRefused", "its token is no text");
    if (api_call(reviews->api, &request, &answer, &own))
        return pod_of(answer, ret, err);
    /* Whatever keeps us from asking says nothing of the token. */
    *err = own;
    err->kind = ERROR_RETRY;
    return error_wrap(err, "a token can't be reviewed");
}

/* --- what is kept --- */

static size_t place_of(const uint8_t *hash)
{
    return (size_t)(hash[0] | hash[1] << 8) & (KEPT - 1);
}

/* Whether there is an answer, which is then *ret_ok. */
static bool known(Reviews *reviews, const uint8_t *hash, bool *ret_ok, ChannelPod *ret, Error *err)
{
    pthread_mutex_lock(&reviews->lock);
    const Kept *kept = reviews->kept[place_of(hash)];
    bool found = kept && memcmp(kept->hash, hash, sizeof kept->hash) == 0 &&
                 clock_mono_us() < kept->until_us;
    if (found) {
        *ret_ok = kept->pod.name;
        *ret = copy_of(&kept->pod);
        if (!*ret_ok)
            *err = *kept->err;
    }
    pthread_mutex_unlock(&reviews->lock);
    return found;
}

static void keep(Reviews *reviews, const uint8_t *hash, const ChannelPod *pod, const Error *err)
{
    Kept *kept = mem_zalloc(sizeof *kept);
    memcpy(kept->hash, hash, sizeof kept->hash);
    kept->until_us = clock_mono_us() + KEPT_US;
    kept->pod = copy_of(pod);
    if (!pod->name) {
        kept->err = mem_alloc(sizeof *kept->err);
        *kept->err = *err;
    }
    pthread_mutex_lock(&reviews->lock);
    kept_free(reviews->kept[place_of(hash)]);
    reviews->kept[place_of(hash)] = kept;
    pthread_mutex_unlock(&reviews->lock);
}

bool reviews_pod(Reviews *reviews, const char *token, ChannelPod *ret, Error *err)
{
    uint8_t hash[HASH_BYTES_OF_TOKEN];
    bool ok;
    *ret = (ChannelPod){0};
    ASSERT(EVP_Digest(token, strlen(token), hash, NULL, EVP_sha256(), NULL) == 1);
    if (known(reviews, hash, &ok, ret, err))
        return ok;
    Error own = {0};
    ok = ask(reviews, token, ret, &own);
    if (ok || own.kind == ERROR_CONFIG)
        keep(reviews, hash, ret, &own);
    if (!ok)
        *err = own;
    return ok;
}
