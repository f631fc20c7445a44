/* Who we are: nothing, a bearer token, one that an OAuth2 server gives for client id and secret
 * (fetched anew before it ends, and once more when the server has enough of it), or a signature.
 * RFC 6749 section 4.4; Signature Version 4 */
#include <stdio.h>
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/aws/aws.h"
#include "common/clock.h"
#include "common/mem.h"

#define TOKEN_ANSWER_BYTES_MAX ((size_t)1 << 20)
#define TOKEN_BYTES_MAX 65536
#define LIFETIME_DEFAULT_S 3600
#define LIFETIME_MAX_S 86400

void rest_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void rest_headers_put(RestHeaders *headers, const char *name, const char *value)
{
    ASSERT(headers->count < REST_HEADERS_MAX);
    headers->owned_names[headers->count] = mem_strdup(name);
    headers->owned[headers->count] = mem_strdup(value);
    headers->items[headers->count] =
        (HttpHeader){headers->owned_names[headers->count], headers->owned[headers->count]};
    headers->count++;
}

void rest_headers_done(RestHeaders *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        free(headers->owned_names[i]);
        rest_wipe(headers->owned[i]);
    }
    headers->count = 0;
}

void rest_forget_token(RestCatalog *catalog)
{
    rest_wipe(catalog->token);
    catalog->token = NULL;
}

/* ---------- OAuth2 ---------- */
static bool read_token(RestCatalog *catalog, const HttpAnswer *answer, Error *err)
{
    json_t *body = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    const json_t *lifetime = json_object_get(body, "expires_in");
    const char *token = json_string_value(json_object_get(body, "access_token"));
    bool good = token && *token && strlen(token) <= TOKEN_BYTES_MAX;
    for (const char *c = token; good && *c; c++)
        good = *c > ' ' && *c < 127;
    if (good) {
        json_int_t s =
            json_is_integer(lifetime) ? json_integer_value(lifetime) : LIFETIME_DEFAULT_S;
        s = s < 1 ? 1 : s > LIFETIME_MAX_S ? LIFETIME_MAX_S : s;
        /* a fifth of it before its end, a minute at most */
        int64_t early_s = s / 5 > 60 ? 60 : s / 5;
        rest_forget_token(catalog);
        catalog->token = mem_strdup(token);
        catalog->token_renew_us = clock_mono_us() + (s - early_s) * 1000000;
    }
    json_decref(body);
    return good ||
           error_set(err, ERROR_RETRY, "AnswerBad",
                     "%s gave an answer without a usable access_token", catalog->oauth2_uri);
}

static bool fetch_token(RestCatalog *catalog, Error *err)
{
    AUTO(mem_free) char *id = http_escape(catalog->client_id ? catalog->client_id : "", "");
    AUTO(mem_free) char *scope = http_escape(catalog->scope, "");
    char *secret = http_escape(catalog->client_secret ? catalog->client_secret : "", "");
    char *form = mem_format("grant_type=client_credentials&%s%s%sclient_secret=%s&scope=%s",
                            *id ? "client_id=" : "", id, *id ? "&" : "", secret, scope);
    HttpHeader type = {"Content-Type", "application/x-www-form-urlencoded"};
    HttpRequest request = {.method = "POST",
                           .url = catalog->oauth2_uri,
                           .headers = &type,
                           .header_count = 1,
                           .body = form,
                           .body_bytes = strlen(form),
                           .answer_bytes_max = TOKEN_ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    bool ok = http_send(catalog->http, &request, &answer, err);
    if (ok && answer.status == 200)
        ok = read_token(catalog, &answer, err);
    else if (ok && (answer.status == 429 || answer.status >= 500))
        ok = rest_refused(catalog, &answer, "give a token", ERROR_RETRY, "TokenRefused", NULL, err);
    else if (ok)
        ok = rest_refused(catalog, &answer, "give a token", ERROR_CONFIG, "Unauthorized",
                          "check client id and secret in spec.catalog.credentialsSecretRef, and "
                          "spec.catalog.uri, oauth2Uri and scope",
                          err);
    if (answer.body.used)
        explicit_bzero(answer.body.data, answer.body.used);
    http_answer_done(&answer);
    rest_wipe(form);
    rest_wipe(secret);
    return ok;
}

static bool bearer(RestCatalog *catalog, RestHeaders *headers, Error *err)
{
    bool ok = true;
    pthread_mutex_lock(&catalog->token_lock);
    if (catalog->auth == REST_AUTH_OAUTH2 &&
        (!catalog->token || clock_mono_us() >= catalog->token_renew_us))
        ok = fetch_token(catalog, err);
    if (ok) {
        char *value = mem_format("Bearer %s", catalog->token ? catalog->token : "");
        rest_headers_put(headers, "Authorization", value);
        rest_wipe(value);
    }
    pthread_mutex_unlock(&catalog->token_lock);
    return ok;
}

/* ---------- SigV4 ---------- */
static void put_header(void *context, const char *name, const char *value)
{
    rest_headers_put(context, name, value);
}

static bool sign(RestCatalog *catalog, HttpRequest *request, RestHeaders *headers, Error *err)
{
    AwsKeys keys;
    if (!aws_credentials_get(catalog->signing, &keys, err))
        return error_wrap(err, "signing of requests to %s", catalog->uri);
    AwsSigning signing = {.keys = &keys,
                          .region = catalog->signing_region ? catalog->signing_region : "us-east-1",
                          .service =
                              catalog->signing_service ? catalog->signing_service : "execute-api",
                          .now_us = clock_wall_us()};
    aws_sign(&signing, request, put_header, headers);
    aws_keys_done(&keys);
    return true;
}

bool rest_authorize(RestCatalog *catalog, HttpRequest *request, RestHeaders *headers, Error *err)
{
    bool ok = true;
    request->headers = headers->items;
    request->header_count = headers->count;
    if (catalog->auth == REST_AUTH_BEARER || catalog->auth == REST_AUTH_OAUTH2)
        ok = bearer(catalog, headers, err);
    else if (catalog->auth == REST_AUTH_SIGV4)
        ok = sign(catalog, request, headers, err);
    request->header_count = headers->count;
    return ok;
}

bool rest_reauthorize(RestCatalog *catalog)
{
    if (catalog->auth == REST_AUTH_SIGV4) {
        aws_credentials_refuse(catalog->signing);
        return true;
    }
    if (catalog->auth != REST_AUTH_OAUTH2)
        return false;
    pthread_mutex_lock(&catalog->token_lock);
    rest_forget_token(catalog);
    pthread_mutex_unlock(&catalog->token_lock);
    return true;
}
