/* Opening: what the server says of itself. GET /v1/config gives settings that go before ours and
 * such that stand behind them, the prefix of all paths, the separator of namespaces' levels, and
 * which endpoints there are. */
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/aws/aws.h"
#include "common/mem.h"

#define CONFIG_BYTES_MAX ((size_t)4 << 20)
#define CREDENTIALS_ENDPOINT "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials"

const char *rest_setting(const RestCatalog *catalog, const char *key, const char *ours)
{
    const char *over = json_string_value(json_object_get(catalog->overrides, key));
    if (over || ours)
        return over ? over : ours;
    return json_string_value(json_object_get(catalog->defaults, key));
}

static void set(char **text, const char *value)
{
    if (!value)
        return;
    char *copy = mem_strdup(value);
    free(*text);
    *text = copy;
}

/* For every path from now on. Another server's address is taken as the protocol wants, but never
 * without TLS where we came with it. */
static void take_uri(RestCatalog *catalog)
{
    const char *uri = json_string_value(json_object_get(catalog->overrides, "uri"));
    if (!uri || strpbrk(uri, " ?#@\r\n") ||
        (strncmp(uri, "https://", 8) != 0 &&
         (strncmp(uri, "http://", 7) != 0 || strncmp(catalog->uri, "https://", 8) == 0)))
        return;
    set(&catalog->uri, uri);
    for (size_t bytes = strlen(catalog->uri); bytes && catalog->uri[bytes - 1] == '/';)
        catalog->uri[--bytes] = 0;
}

/* Separator and prefix come escaped, mostly; what may not stand in a URL is escaped. */
static void take_paths(RestCatalog *catalog)
{
    const char *prefix = rest_setting(catalog, "prefix", NULL);
    const char *separator = rest_setting(catalog, "namespace-separator", NULL);
    if (prefix && *prefix) {
        AUTO(mem_free) char *escaped = http_escape(prefix, "%/:@!$&'()*+,;=");
        free(catalog->prefix);
        catalog->prefix = mem_format("%s/", escaped);
    }
    if (separator && *separator && strlen(separator) < 64) {
        free(catalog->separator);
        catalog->separator = http_escape(separator, "%");
    }
}

static void take_signing(RestCatalog *catalog)
{
    const char *on = rest_setting(catalog, "rest.sigv4-enabled", NULL);
    if (on && strcmp(on, "true") == 0 && catalog->auth == REST_AUTH_NONE)
        catalog->auth = REST_AUTH_SIGV4;
    if (catalog->auth != REST_AUTH_SIGV4)
        return;
    set(&catalog->signing_region,
        rest_setting(catalog, "rest.signing-region", catalog->signing_region));
    set(&catalog->signing_service,
        rest_setting(catalog, "rest.signing-name", catalog->signing_service));
    if (!catalog->signing)
        catalog->signing = catalog->own_signing =
            aws_credentials_chain(catalog->http, catalog->signing_region);
}

static bool take(RestCatalog *catalog, const HttpAnswer *answer, Error *err)
{
    json_t *body = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL), *item;
    if (!json_is_object(body)) {
        json_decref(body);
        return error_set(err, ERROR_CONFIG, "NotACatalog",
                         "%s/v1/config gives no JSON object: no Iceberg REST catalog is there; "
                         "check spec.catalog.uri, which ends before /v1",
                         catalog->uri);
    }
    catalog->defaults = json_incref(json_object_get(body, "defaults"));
    catalog->overrides = json_incref(json_object_get(body, "overrides"));
    size_t i;
    json_array_foreach(json_object_get(body, "endpoints"), i, item)
    {
        const char *endpoint = json_string_value(item);
        catalog->renews |= endpoint && strcmp(endpoint, CREDENTIALS_ENDPOINT) == 0;
    }
    catalog->idempotent = json_is_string(json_object_get(body, "idempotency-key-lifetime"));
    json_decref(body);
    take_uri(catalog);
    take_paths(catalog);
    take_signing(catalog);
    return true;
}

bool rest_configure(RestCatalog *catalog, Error *err)
{
    AUTO(mem_free) char *warehouse = http_escape(catalog->warehouse ? catalog->warehouse : "", "");
    AUTO(mem_free)
    char *url = mem_format("%s/v1/config%s%s", catalog->uri,
                           catalog->warehouse ? "?warehouse=" : "", warehouse);
    /* some answer 500 for a warehouse that they don't know */
    AUTO(mem_free)
    char *what = catalog->warehouse
                     ? mem_format("tell its configuration for spec.catalog.warehouse %.80s",
                                  catalog->warehouse)
                     : mem_strdup("tell its configuration");
    RestCall call = {
        .method = "GET", .url = url, .what = what, .answer_bytes_max = CONFIG_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    const char *type, *message;
    json_t *error = rest_error(&answer, &type, &message);
    bool ok;
    if (answer.status == 200)
        ok = take(catalog, &answer, err);
    else if (error)
        ok = rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "WarehouseUnknown",
                          "check spec.catalog.warehouse", err);
    else
        ok = error_set(err, ERROR_CONFIG, "NotACatalog",
                       "%s/v1/config answers %d: no Iceberg REST catalog is there; check "
                       "spec.catalog.uri, which ends before /v1",
                       catalog->uri, answer.status);
    json_decref(error);
    http_answer_done(&answer);
    return ok;
}
