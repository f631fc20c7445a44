/* One request of S3, from signing to the words of its error.
 *
 * Repeated, with full jitter between the attempts and within a budget of attempts and time: what
 * did not get there, answers that were lost, 429 and 5xx. All requests the store makes may be
 * repeated; those to whom it matters ask S3Answer.repeated. Three things are mended once, without
 * counting: a clock that is off (by the server's Date), keys that have expired, and both are told
 * apart from rights that are missing. */
#include <stdio.h>
#include <sys/random.h>

#include "agent/store/s3/s3.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/xml.h"

#define RETRY_AFTER_MAX_US INT64_C(30000000)
#define PAUSE_MAX_US INT64_C(10000000)
#define SKEW_MIN_US (5 * INT64_C(60000000)) /* what Amazon lets pass is a quarter of an hour */
#define TIMEOUT_MS 300000
#define ERROR_BYTES_MIN ((size_t)64 << 10) /* an error's text fits even where less is asked for */
#define SIGNED_HEADERS_MAX (S3_HEADERS_MAX + 6)

typedef struct S3Failure {
    char code[64], message[200], region[64];
    bool is_error; /* the document's root was Error */
} S3Failure;

typedef struct Signed {
    HttpHeader headers[SIGNED_HEADERS_MAX];
    char *owned[6]; /* values made by aws_sign */
    size_t count, owned_count;
} Signed;

void s3_answer_done(S3Answer *answer)
{
    http_answer_done(&answer->http);
    answer->repeated = false;
    answer->code[0] = '\0';
}

/* ---------- the request ---------- */

static char *url_of(const S3Store *store, const S3Call *call)
{
    const S3Place *place = call->place;
    AUTO(mem_free) char *key = http_escape(call->on_bucket ? "" : place->key, "/");
    const char *scheme = store->https ? "https" : "http";
    const char *mark = call->query ? "?" : "", *query = call->query ? call->query : "";
    /* A wildcard certificate covers no name with a further dot in it. */
    if (store->path_style || (store->https && strchr(place->bucket, '.')))
        return mem_format("%s://%s/%s%s%s%s%s", scheme, store->endpoint_host, place->bucket,
                          call->on_bucket ? "" : "/", key, mark, query);
    return mem_format("%s://%s.%s/%s%s%s", scheme, place->bucket, store->endpoint_host, key, mark,
                      query);
}

static void put_signed(void *context, const char *name, const char *value)
{
    /* aws_sign's own names are literals; its values are not ours to keep. */
    Signed *to = context;
    ASSERT(to->count < SIGNED_HEADERS_MAX && to->owned_count < ARRAY_LEN(to->owned));
    char *copy = mem_strdup(value);
    to->owned[to->owned_count++] = copy;
    to->headers[to->count++] = (HttpHeader){name, copy};
}

static bool send_once(S3Store *store, const S3Call *call, const AwsKeys *keys, S3Answer *ret,
                      Error *err)
{
    AUTO(mem_free) char *url = url_of(store, call);
    char checksum[S3_CHECKSUM_BYTES];
    Signed with = {.count = call->header_count};
    memcpy(with.headers, call->headers, call->header_count * sizeof *call->headers);
    HttpRequest request = {
        .method = call->method,
        .url = url,
        .headers = with.headers,
        .body = call->body,
        .body_bytes = call->body_bytes,
        .timeout_ms = TIMEOUT_MS,
        .answer_bytes_max =
            call->answer_bytes_max < ERROR_BYTES_MIN ? ERROR_BYTES_MIN : call->answer_bytes_max,
        .patient = call->patient,
    };
    if (call->body && strcmp(call->method, "PUT") == 0) {
        s3_checksum(call->body, call->body_bytes, checksum);
        with.headers[with.count++] = (HttpHeader){"x-amz-checksum-crc32c", checksum};
    }
    request.header_count = with.count;
    AwsSigning signing = {.keys = keys,
                          .region = store->region,
                          .service = "s3",
                          .payload_hash = store->https ? "UNSIGNED-PAYLOAD" : NULL,
                          .now_us = clock_wall_us() + atomic_load(&store->skew_us)};
    aws_sign(&signing, &request, put_signed, &with);
    request.header_count = with.count;
    bytes_clear(&ret->http.body);
    bool ok = http_send(store->http, &request, &ret->http, err);
    for (size_t i = 0; i < with.owned_count; i++) {
        explicit_bzero(with.owned[i], strlen(with.owned[i]));
        free(with.owned[i]);
    }
    return ok;
}

/* ---------- what was answered ---------- */

static bool take_failure(void *context, const char *path, const char *text)
{
    S3Failure *failure = context;
    failure->is_error |= strncmp(path, "Error", 5) == 0 && (!path[5] || path[5] == '/');
    if (strcmp(path, "Error/Code") == 0)
        snprintf(failure->code, sizeof failure->code, "%s", text);
    if (strcmp(path, "Error/Message") == 0)
        snprintf(failure->message, sizeof failure->message, "%s", text);
    if (strcmp(path, "Error/Region") == 0)
        snprintf(failure->region, sizeof failure->region, "%s", text);
    return true;
}

/* What is posted can answer 200 with an error in it: CompleteMultipartUpload begins its answer
 * before it is through. */
static bool succeeded(const S3Call *call, const HttpAnswer *answer, S3Failure *failure)
{
    *failure = (S3Failure){0};
    if (answer->status >= 200 && answer->status < 300 && strcmp(call->method, "POST") != 0)
        return true;
    /* What is no XML (a proxy's page) has no code, the status remains. */
    Error none;
    if (!xml_read(answer->body.data ? (const void *)answer->body.data : "", answer->body.used,
                  take_failure, failure, &none) &&
        !failure->code[0])
        failure->is_error = false;
    return answer->status >= 200 && answer->status < 300 && !failure->is_error;
}

/* How far the server's clock is from ours; 0 where it does not say. */
static int64_t skew_of(const HttpAnswer *answer)
{
    AUTO(mem_free) char *date = http_answer_header(answer, "date");
    int64_t theirs_us;
    return date && aws_time_parse(date, &theirs_us) ? theirs_us - clock_wall_us() : 0;
}

static bool is_skewed(const S3Store *store, const S3Call *call, const HttpAnswer *answer,
                      const S3Failure *failure)
{
    if (strcmp(failure->code, "RequestTimeTooSkewed") == 0)
        return true;
    int64_t apart_us = skew_of(answer) - atomic_load(&store->skew_us);
    return answer->status == 403 && strcmp(call->method, "HEAD") == 0 && skew_of(answer) &&
           (apart_us > SKEW_MIN_US || apart_us < -SKEW_MIN_US);
}

static bool is_expired(const S3Call *call, const AwsKeys *keys, int status, const char *code)
{
    if (strcmp(code, "ExpiredToken") == 0 || strcmp(code, "ExpiredTokenException") == 0 ||
        strcmp(code, "TokenRefreshRequired") == 0 || strcmp(code, "InvalidToken") == 0)
        return true;
    /* HEAD's refusals have no code. */
    return strcmp(call->method, "HEAD") == 0 && keys->session_token &&
           (status == 400 || status == 403);
}

static bool passes(int status, const char *code)
{
    static const char *const codes[] = {"RequestTimeout",     "OperationAborted",
                                        "SlowDown",           "InternalError",
                                        "BadDigest",          "ConditionalRequestConflict",
                                        "ServiceUnavailable", "XAmzContentSHA256Mismatch"};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    /* All of S3's own 409s have codes; one without is of something in between. */
    return status == 429 || status == 408 || status == 307 || (status == 409 && !*code) ||
           (status >= 500 && status != 501);
}

/* A 404 of S3's own about the object. Gateways have others (of users, of buckets), and what is no
 * S3 at all answers with a page. */
static bool is_missing(const S3Call *call, const HttpAnswer *answer, const char *code)
{
    bool silent = !*code && answer->body.used == 0;
    return answer->status == 404 &&
           (strcmp(code, "NoSuchKey") == 0 || strcmp(code, "NoSuchUpload") == 0 ||
            strcmp(code, "NoSuchVersion") == 0 ||
            (silent && (strcmp(call->method, "HEAD") == 0 || strcmp(call->method, "DELETE") == 0)));
}

static bool is_unknown_key(const char *code)
{
    return strcmp(code, "InvalidAccessKeyId") == 0 || strcmp(code, "XAdminUserNotFound") == 0;
}

static bool wrong_region(const S3Store *store, const S3Call *call, const HttpAnswer *answer,
                         const S3Failure *failure, Error *err)
{
    AUTO(mem_free) char *header = http_answer_header(answer, "x-amz-bucket-region");
    const char *region = *failure->region ? failure->region : header;
    bool told = region && *region && strcmp(region, store->region) != 0;
    bool says = answer->status == 301 || strcmp(failure->code, "PermanentRedirect") == 0 ||
                strcmp(failure->code, "AuthorizationHeaderMalformed") == 0 ||
                strcmp(failure->code, "IllegalLocationConstraintException") == 0 ||
                (told && (answer->status == 400 || answer->status == 403));
    if (!says)
        return false;
    AUTO(mem_free) char *right = told ? mem_format("%.60s", region) : NULL;
    error_set(err, ERROR_CONFIG, "WrongRegion",
              "%s %.200s: the bucket %.63s is in region %s, not in %.60s: set %s.region (or "
              "%s.endpoint)",
              call->doing, call->place->uri, call->place->bucket, right ? right : "another",
              store->region, store->field, store->field);
    return true;
}

/* Fills *err for an answer that is no success and is not repeated any more. */
static void explain(const S3Store *store, const S3Call *call, const HttpAnswer *answer,
                    const S3Failure *failure, Error *err)
{
    const char *uri = call->place->uri, *code = failure->code;
    int status = answer->status;
    if (wrong_region(store, call, answer, failure, err))
        return;
    AUTO(mem_free)
    char *said = mem_format("%d%s%s%s%.160s", status, *code ? " " : "", code,
                            *failure->message ? ": " : "", failure->message);
    if (strcmp(code, "RequestTimeTooSkewed") == 0 || is_skewed(store, call, answer, failure))
        error_set(err, ERROR_CONFIG, "ClockSkew",
                  "%s %.150s: this host's clock is off from the server's by more than it accepts; "
                  "set the clock (%s)",
                  call->doing, uri, said);
    else if (strcmp(code, "NoSuchBucket") == 0)
        error_set(err, ERROR_CONFIG, "BucketMissing",
                  "%s %.150s: there is no bucket %.63s at %.100s: make it, or mend "
                  "%s or %s.endpoint",
                  call->doing, uri, call->place->bucket, store->endpoint_host,
                  strcmp(store->field, S3_FIELD) == 0 ? "spec.catalog.warehouse" : "the location",
                  store->field);
    else if (is_unknown_key(code) || strcmp(code, "SignatureDoesNotMatch") == 0)
        error_set(err, ERROR_CONFIG, "AccessDenied",
                  "%s %.150s: %.100s does not accept the %s: mend the Secret of "
                  "%s.credentialsSecretRef (%s)",
                  call->doing, uri, store->endpoint_host,
                  is_unknown_key(code) ? "access key" : "secret key", store->field, said);
    else if (strcmp(code, "ExpiredToken") == 0 || strcmp(code, "InvalidToken") == 0)
        error_set(err, ERROR_CONFIG, "AccessDenied",
                  "%s %.150s: the session token has expired or is none: mend the Secret of "
                  "%s.credentialsSecretRef (%s)",
                  call->doing, uri, store->field, said);
    else if (status == 401 || status == 403)
        error_set(err, ERROR_CONFIG, "AccessDenied",
                  "%s %.150s: the keys of %s.credentialsSecretRef may not do so; grant "
                  "%s on the bucket %.63s (%s)",
                  call->doing, uri, store->field,
                  "s3:GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload and "
                  "ListBucketMultipartUploads",
                  call->place->bucket, said);
    else if (is_missing(call, answer, code))
        error_set(err, ERROR_DATA, "ObjectMissing", "%s %.300s: it is not there", call->doing, uri);
    else if (status == 507 || strcmp(code, "XMinioStorageFull") == 0 ||
             strcmp(code, "QuotaExceeded") == 0)
        error_set(err, ERROR_RETRY, "DiskFull", "%s %.200s: the store is full (%s)", call->doing,
                  uri, said);
    else if (passes(status, code))
        error_set(err, ERROR_RETRY, "StoreFailed", "%s %.200s: %.60s answered %s", call->doing, uri,
                  store->endpoint_host, said);
    else
        error_set(err, ERROR_CONFIG, "StoreRefused",
                  "%s %.200s: %.60s answered %s; is %s.endpoint an S3 endpoint?", call->doing, uri,
                  store->endpoint_host, said, store->field);
}

/* ---------- attempts ---------- */

static int64_t random_below(int64_t limit)
{
    uint64_t random;
    ASSERT(getrandom(&random, sizeof random, 0) == sizeof random);
    return limit > 0 ? (int64_t)(random % (uint64_t)limit) : 0;
}

/* How long to wait before the next attempt, or -1 when there is none. */
static int64_t pause_before(const S3Store *store, const S3Call *call, unsigned attempt,
                            int64_t begun_us, const HttpAnswer *answer)
{
    unsigned most = call->attempts_max ? call->attempts_max : store->patience.attempts_max;
    if (attempt >= most || (call->stop && atomic_load(call->stop)))
        return -1;
    int64_t limit_us = store->patience.first_pause_us << (attempt < 20 ? attempt - 1 : 19);
    int64_t pause_us = random_below(limit_us < PAUSE_MAX_US ? limit_us : PAUSE_MAX_US);
    AUTO(mem_free) char *after = answer->status ? http_answer_header(answer, "retry-after") : NULL;
    int64_t after_s;
    if (after && text_integer_parse(after, &after_s) && after_s > 0) {
        int64_t asked_us =
            after_s < RETRY_AFTER_MAX_US / 1000000 ? after_s * 1000000 : RETRY_AFTER_MAX_US;
        pause_us += asked_us;
    }
    bool late = clock_mono_us() - begun_us + pause_us > store->patience.total_us;
    return late ? -1 : pause_us;
}

typedef struct Mended {
    bool clock, keys;
} Mended;

/* True when the answer's cause was mended, and the request may go out again at once. */
static bool mend(S3Store *store, const S3Call *call, const AwsKeys *keys, const S3Failure *failure,
                 const HttpAnswer *answer, Mended *mended)
{
    if (!mended->clock && skew_of(answer) && is_skewed(store, call, answer, failure)) {
        atomic_store(&store->skew_us, skew_of(answer));
        return mended->clock = true;
    }
    if (!mended->keys && is_expired(call, keys, answer->status, failure->code)) {
        aws_credentials_refuse(store->credentials);
        return mended->keys = true;
    }
    return false;
}

bool s3_call(S3Store *store, const S3Call *call, S3Answer *ret, Error *err)
{
    int64_t begun_us = clock_mono_us();
    Mended mended = {0};
    unsigned attempt = 0;
    Error own;
    if (!err)
        err = &own;
    ret->repeated = false;
    for (;;) {
        AwsKeys keys = {0};
        S3Failure failure = {0};
        if (!aws_credentials_get(store->credentials, &keys, err))
            return error_wrap(err, "%s %.200s", call->doing, call->place->uri);
        attempt++;
        ret->http.status = 0;
        bool answered = send_once(store, call, &keys, ret, err);
        bool again = !answered && err->kind == ERROR_RETRY;
        bool reached = answered || strcmp(err->code, "Unreachable") != 0;
        if (answered) {
            if (succeeded(call, &ret->http, &failure)) {
                aws_keys_done(&keys);
                atomic_store(&s3_bucket(store, call->place->bucket)->seen, true);
                return true;
            }
            snprintf(ret->code, sizeof ret->code, "%s", failure.code);
            bool mended_now = mend(store, call, &keys, &failure, &ret->http, &mended);
            aws_keys_done(&keys);
            if (mended_now) {
                attempt--;
                continue;
            }
            if (ret->http.status == call->also &&
                (call->also != 404 || is_missing(call, &ret->http, failure.code)))
                return true;
            again = passes(ret->http.status, failure.code) || ret->http.status < 300;
        } else {
            aws_keys_done(&keys);
        }
        int64_t pause_us =
            again ? pause_before(store, call, attempt, begun_us, &ret->http) : INT64_C(-1);
        if (pause_us < 0) {
            if (answered)
                explain(store, call, &ret->http, &failure, err);
            else
                error_wrap(err, "%s %.150s (%s%s.%s)", call->doing, call->place->uri,
                           strcmp(err->code, "BadCertificate") == 0 ? "whom to trust: " : "",
                           store->field,
                           strcmp(err->code, "BadCertificate") == 0 ? "caSecretRef" : "endpoint");
            ret->repeated |= again && reached;
            return false;
        }
        ret->repeated |= reached;
        clock_sleep_us(pause_us);
    }
}
