/* OAUTHBEARER: Debian's librdkafka is built without its OIDC, so the token comes over our own HTTP
 * client: its limits, its errors, a CA of one's own. librdkafka asks for a new one at four fifths
 * of the token's life; it knows the login's end by the token's `expires_in`. RFC 6749 section 4.4,
 * RFC 7628 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/private.h"
#include "common/clock.h"
#include "common/mem.h"

#define ANSWER_BYTES_MAX ((size_t)1 << 20)
#define TOKEN_BYTES_MAX 65536u
#define LIFETIME_DEFAULT_S 300
#define LIFETIME_MAX_S 86400
#define TIMEOUT_MS 10000
#define EXTENSIONS_MAX 32u

struct KafkaToken {
    HttpClient *http;
    const KafkaSpec *spec;
    char *field;
};

void kafka_token_free(KafkaToken *token)
{
    if (!token)
        return;
    http_client_free(token->http);
    free(token->field);
    free(token);
}

KafkaToken *kafka_token_new(const KafkaSpec *spec, const char *field, Error *err)
{
    HttpClient *http = http_client_new(
        &(HttpClientOptions){.ca_pem = spec->token_ca_pem, .connections_max = 1}, err);
    if (!http) {
        error_wrap(err, "%s.security.tokenCaSecretRef", field);
        return NULL;
    }
    KafkaToken *token = mem_zalloc(sizeof *token);
    token->http = http;
    token->spec = spec;
    token->field = mem_strdup(field);
    return token;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* "a=b,c=d" → a, b, c, d in place; the manifest has checked it. */
static size_t split_extensions(char *text, const char *ret[EXTENSIONS_MAX])
{
    size_t count = 0;
    char *rest = text;
    for (char *one; (one = strsep(&rest, ",")) && count + 2 <= EXTENSIONS_MAX;) {
        char *value = strchr(one, '=');
        if (!value)
            continue;
        *value = '\0';
        ret[count++] = one;
        ret[count++] = value + 1;
    }
    return count;
}

static bool hand_over(const KafkaToken *token, rd_kafka_t *rk, const HttpAnswer *answer, Error *err)
{
    json_t *body = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    const char *value = json_string_value(json_object_get(body, "access_token"));
    const json_t *expires = json_object_get(body, "expires_in");
    int64_t life_s = json_is_integer(expires) ? json_integer_value(expires) : LIFETIME_DEFAULT_S;
    life_s = life_s < 1 ? 1 : life_s > LIFETIME_MAX_S ? LIFETIME_MAX_S : life_s;
    bool good = value && *value && strlen(value) <= TOKEN_BYTES_MAX;
    for (const char *c = value; good && *c; c++)
        good = *c > ' ' && *c < 127;
    const char *extensions[EXTENSIONS_MAX];
    AUTO(mem_free)
    char *text = token->spec->token_extensions ? mem_strdup(token->spec->token_extensions) : NULL;
    size_t count = text ? split_extensions(text, extensions) : 0;
    char why[256] = "";
    if (!good)
        error_set(err, ERROR_RETRY, "AnswerBad", "%s gave an answer without a usable access_token",
                  token->spec->token_url);
    else if (rd_kafka_oauthbearer_set_token(rk, value, clock_wall_us() / 1000 + life_s * 1000,
                                            token->spec->username, extensions, count, why,
                                            sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR)
        good = error_set(err, ERROR_CONFIG, "KafkaLogin",
                         "%s.security: librdkafka refuses the "
                         "token: %s",
                         token->field, why);
    json_decref(body);
    return good;
}

bool kafka_token_renew(KafkaToken *token, rd_kafka_t *rk, Error *err)
{
    const KafkaSpec *spec = token->spec;
    char *id = http_escape(spec->username, ""), *secret = http_escape(spec->password, "");
    AUTO(mem_free) char *scope = spec->token_scope ? http_escape(spec->token_scope, "") : NULL;
    char *form = mem_format("grant_type=client_credentials&client_id=%s&client_secret=%s%s%s", id,
                            secret, scope ? "&scope=" : "", scope ? scope : "");
    HttpHeader type = {"Content-Type", "application/x-www-form-urlencoded"};
    HttpRequest request = {.method = "POST",
                           .url = spec->token_url,
                           .headers = &type,
                           .header_count = 1,
                           .body = form,
                           .body_bytes = strlen(form),
                           .timeout_ms = TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    bool ok = http_send(token->http, &request, &answer, err);
    if (ok && answer.status == 200)
        ok = hand_over(token, rk, &answer, err);
    else if (ok && (answer.status == 429 || answer.status >= 500))
        ok = error_set(err, ERROR_RETRY, "TokenRefused", "%s answers %d and gives no token",
                       spec->token_url, answer.status);
    else if (ok)
        ok = error_set(err, ERROR_CONFIG, "KafkaLogin",
                       "%s refuses a token (HTTP %d): check clientId and clientSecret in "
                       "%s.security.credentialsSecretRef, tokenEndpoint and tokenScope",
                       spec->token_url, answer.status, token->field);
    if (answer.body.used)
        explicit_bzero(answer.body.data, answer.body.used);
    http_answer_done(&answer);
    wipe(form);
    wipe(secret);
    wipe(id);
    return ok;
}
