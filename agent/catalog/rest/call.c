/* One request of the protocol. What surely did nothing (429, no connection) is sent again, and so
 * is what changes nothing by being asked twice (5xx, a lost answer); a commit is not: its caller
 * looks first. Waiting is as the server says (Retry-After), else growing, with full jitter, and all
 * of it within a budget. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/catalog/rest/rest.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

#define BUDGET_US INT64_C(20000000) /* of waiting, for one call */
#define PAUSE_US INT64_C(100000)
#define PAUSE_MAX_US INT64_C(5000000)
#define TRIES_MAX 8

static int64_t jitter(int64_t below_us)
{
    uint32_t random = 0;
    ssize_t got = getrandom(&random, sizeof random, 0);
    ASSERT(got == (ssize_t)sizeof random);
    return below_us / 4 + (int64_t)((double)below_us * 0.75 * (random / 4294967296.0));
}

static int64_t pause_us(const HttpAnswer *answer, int tries)
{
    int64_t seconds, pause = PAUSE_US << (tries < 6 ? tries : 6);
    AUTO(mem_free) char *after = answer ? http_answer_header(answer, "Retry-After") : NULL;
    if (after && text_integer_parse(after, &seconds) && seconds >= 0 && seconds < 86400)
        return seconds * 1000000 + jitter(PAUSE_US);
    return jitter(pause > PAUSE_MAX_US ? PAUSE_MAX_US : pause);
}

static void code_set(Error *err, const char *code)
{
    snprintf(err->code, sizeof err->code, "%s", code);
}

static bool send(RestCatalog *catalog, const RestCall *call, HttpAnswer *ret, Error *err)
{
    RestHeaders headers = {0};
    HttpRequest request = {.method = call->method,
                           .url = call->url,
                           .body = call->body,
                           .body_bytes = call->body ? strlen(call->body) : 0,
                           .timeout_ms = call->once ? 120000 : 60000,
                           .answer_bytes_max = call->answer_bytes_max};
    rest_headers_put(&headers, "Accept", "application/json");
    if (call->body)
        rest_headers_put(&headers, "Content-Type", "application/json");
    if (call->delegate)
        rest_headers_put(&headers, "X-Iceberg-Access-Delegation", "vended-credentials");
    if (call->key)
        rest_headers_put(&headers, "Idempotency-Key", call->key);
    if (call->etag)
        rest_headers_put(&headers, "If-None-Match", call->etag);
    Error why = {0};
    bool ok = rest_authorize(catalog, &request, &headers, &why);
    if (!ok && why.kind == ERROR_RETRY)
        code_set(&why, "NotSent"); /* the token's answer, not this call's, is what was lost */
    ok = ok && http_send(catalog->http, &request, ret, &why);
    rest_headers_done(&headers);
    if (!ok && err)
        *err = why;
    return ok;
}

/* After 401 and 403. */
static bool denied(const RestCatalog *catalog, const RestCall *call, const HttpAnswer *answer,
                   Error *err)
{
    if (answer->status == 403)
        return rest_refused(catalog, answer, call->what, ERROR_CONFIG, "Forbidden",
                            "give the principal of spec.catalog.credentialsSecretRef the right to "
                            "it, or set another spec.database",
                            err);
    return rest_refused(catalog, answer, call->what, ERROR_CONFIG, "Unauthorized",
                        "check the keys in spec.catalog.credentialsSecretRef", err);
}

/* *ret_again: it may be sent again after a pause. False then, and *err filled in case it is not. */
static bool attempt(RestCatalog *catalog, const RestCall *call, bool *renewed, HttpAnswer *ret,
                    bool *ret_again, Error *err)
{
    Error why = {0};
    *ret_again = false;
    if (!send(catalog, call, ret, &why)) {
        bool sent = strcmp(why.code, "AnswerLost") == 0;
        *ret_again = why.kind == ERROR_RETRY && (!sent || !call->once);
        if (why.kind == ERROR_RETRY && call->once)
            code_set(&why, sent ? "CommitStateUnknown" : "NotSent");
        *err = why;
        return false;
    }
    int status = ret->status;
    if ((status == 401 || status == 419) && !*renewed && rest_reauthorize(catalog)) {
        *renewed = *ret_again = true;
        return denied(catalog, call, ret, err);
    }
    if (status == 401 || status == 403 || status == 419)
        return denied(catalog, call, ret, err);
    if (rest_unsupported(ret))
        return rest_refused(catalog, ret, call->what, ERROR_CONFIG, "Unsupported", NULL, err);
    if (status == 429) {
        *ret_again = true;
        return rest_refused(catalog, ret, call->what, ERROR_RETRY, "NotSent", NULL, err);
    }
    if (status >= 500) {
        *ret_again = !call->once && status != 501;
        return rest_refused(catalog, ret, call->what, ERROR_RETRY,
                            call->once ? "CommitStateUnknown" : "ServerError", NULL, err);
    }
    return true;
}

bool rest_call(RestCatalog *catalog, const RestCall *call, HttpAnswer *ret, Error *err)
{
    int64_t waited_us = 0;
    bool renewed = false, again;
    Error why = {0};
    for (int tries = 0;; tries++) {
        *ret = (HttpAnswer){0};
        bool before = renewed;
        if (attempt(catalog, call, &renewed, ret, &again, &why))
            return true;
        int64_t wait_us = renewed && !before ? 0 : pause_us(ret->status ? ret : NULL, tries);
        http_answer_done(ret);
        waited_us += wait_us;
        if (!again || tries + 1 == TRIES_MAX || waited_us > BUDGET_US) {
            if (err)
                *err = why;
            return error_wrap(err, "%s%s", call->what,
                              strcmp(why.code, "BadCertificate") == 0
                                  ? " (whom to trust: spec.catalog.caSecretRef)"
                                  : "");
        }
        clock_sleep_us(wait_us);
    }
}
