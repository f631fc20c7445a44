/* Of Secrets the operator reads this one alone, and only while it works. */
#include <openssl/evp.h>

#include "operator/channel/channel.h"

#define TRIES 3

typedef struct Place {
    const char *key;
    char **text;
} Place;

#define PLACES(authority)                                                                          \
    {                                                                                              \
        {"ca.crt", &(authority)->ca}, {"ca.key", &(authority)->ca_key},                            \
            {"next.crt", &(authority)->next}, {"next.key", &(authority)->next_key},                \
            {"tls.crt", &(authority)->cert}, {"tls.key", &(authority)->key},                       \
    }

static json_t *encoded(const char *text)
{
    size_t bytes = strlen(text);
    char *value = mem_zalloc(bytes / 3 * 4 + 5);
    (void)EVP_EncodeBlock((unsigned char *)value, (const unsigned char *)text, (int)bytes);
    json_t *json = json_string(value);
    explicit_bzero(value, strlen(value));
    free(value);
    return json;
}

static char *path_of(const ChannelOptions *options, bool whole)
{
    return kind_path(KIND_SECRET, options->secret_namespace, whole ? options->secret_name : NULL,
                     "");
}

static bool look(Api *api, const ChannelOptions *options, json_t **ret, Error *err)
{
    AUTO(mem_free) char *path = path_of(options, true);
    ApiRequest request = {.method = "GET", .path = path};
    Error own = {0};
    *ret = NULL;
    if (api_call(api, &request, ret, &own) || strcmp(own.code, "NotFound") == 0)
        return true;
    *err = own;
    return false;
}

static void take_all(const json_t *secret, Authority *ret)
{
    const Place places[] = PLACES(ret);
    const json_t *data = json_object_get(secret, "data");
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *text = json_string_value(json_object_get(data, places[i].key));
        *places[i].text = text ? api_base64(text) : NULL;
    }
}

static bool write_all(Api *api, const ChannelOptions *options, const json_t *before,
                      Authority *authority, Error *err)
{
    const Place places[] = PLACES(authority);
    AUTO(mem_free) char *path = path_of(options, before != NULL);
    json_t *data = json_object();
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (*places[i].text)
            json_object_set_new(data, places[i].key, encoded(*places[i].text));
    AUTO(json_free)
    json_t *body =
        json_pack("{ss ss ss s{ss ss s{ss ss}} so}", "apiVersion", "v1", "kind", "Secret", "type",
                  "Opaque", "metadata", "name", options->secret_name, "namespace",
                  options->secret_namespace, "labels", "app.kubernetes.io/part-of", "firn",
                  LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE, "data", data);
    ASSERT(body);
    if (before)
        json_object_set_new(json_object_get(body, "metadata"), "resourceVersion",
                            json_string(object_version(before)));
    ApiRequest request = {.method = before ? "PUT" : "POST", .path = path, .body = body};
    return api_call(api, &request, NULL, err);
}

bool channel_secret(Api *api, const ChannelOptions *options, int64_t now_s, Authority *ret,
                    Error *err)
{
    *ret = (Authority){0};
    for (int i = 0;; i++) {
        AUTO(json_free) json_t *secret;
        if (!look(api, options, &secret, err))
            break;
        take_all(secret, ret);
        if (options->secret_is_foreign) {
            if (ret->ca && ret->cert && ret->key)
                return true;
            authority_done(ret);
            return error_set(err, ERROR_CONFIG, "SecretMissing",
                             "Secret %s of namespace %s, which the channel is to use, is not there "
                             "or lacks tls.crt, tls.key or ca.crt: make it, or take it out of "
                             "channel.certificateSecret (--channel-secret), and the operator makes "
                             "its own",
                             options->secret_name, options->secret_namespace);
        }
        bool changed = authority_renew(ret, options->host, now_s);
        Error own = {0};
        if (!changed || write_all(api, options, secret, ret, &own))
            return true;
        /* Another operator was quicker: what it wrote holds. */
        bool again = own.kind == ERROR_CONFLICT || strcmp(own.code, "AlreadyExists") == 0;
        *err = own;
        if (!again || i + 1 == TRIES)
            break;
        authority_done(ret);
    }
    authority_done(ret);
    return error_wrap(err, "Secret/%s, where the channel's keys are kept", options->secret_name);
}
