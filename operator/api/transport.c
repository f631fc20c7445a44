/* One request at a time on a handle of libcurl's; handles are kept with their connections. A token
 * in a file is read again when the file changes and after a 401 (kubelet renews it hourly), so is
 * the CA, and after a certificate that it does not know. A 429 is the server's word for later, and
 * so is a 5xx that says when: what is asked here may be asked twice, so it is asked again. */
#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "operator/api/api.h"

#define IDLE_MAX 16
#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define FILE_BYTES_MAX (1u << 20)
#define CONNECT_MS 10000L
#define TIMEOUT_US 30000000
#define LOOK_US 10000000 /* how often files are looked at */
#define SILENT_S 150L    /* bookmarks come every minute: a watch that is silent longer is dead */
#define WAIT_S_MAX 30    /* within a request; what is longer is left to who asks */
#define RETRY_AFTER_S_MAX 300

struct Api {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stopping;
    ApiGuard *_Atomic may_write;
    const void *_Atomic guards;
    ApiConfig *config;
    char *server;                  /* as it is asked for, without the path */
    char *host_header;             /* with a server name: what is asked for is its host */
    struct curl_slist *connect_to; /* likewise: and it is found there */
    struct timespec token_time, ca_time;
    int64_t looked_us;
    CURL *idle[IDLE_MAX];
    size_t idle_count;
};

static void start_curl(void)
{
    ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
        return NULL;
    char *own = mem_strdup(text);
    curl_free(text);
    return own;
}

/* The certificate is another name's: that is asked for, where the server is. Of an address that is
 * no URL nothing is made: who asks it is told. */
static void name_server(Api *api)
{
    const ApiConfig *config = api->config;
    CURLU *url = config->server_name ? curl_url() : NULL;
    if (url && curl_url_set(url, CURLUPART_URL, config->server, 0) == CURLUE_OK) {
        AUTO(mem_free) char *host = part_of(url, CURLUPART_HOST, 0);
        AUTO(mem_free) char *port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        if (host && port &&
            curl_url_set(url, CURLUPART_HOST, config->server_name, 0) == CURLUE_OK) {
            AUTO(mem_free)
            char *to = mem_format("%s:%s:%s:%s", config->server_name, port, host, port);
            api->connect_to = curl_slist_append(NULL, to);
            api->host_header = mem_format("Host: %s:%s", host, port);
            api->server = part_of(url, CURLUPART_URL, 0);
        }
    }
    curl_url_cleanup(url);
    if (!api->server)
        api->server = mem_strdup(config->server);
    size_t bytes = strlen(api->server);
    if (bytes && api->server[bytes - 1] == '/')
        api->server[bytes - 1] = '\0';
}

Api *api_new(ApiConfig *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    Api *api = mem_zalloc(sizeof *api);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    api->config = config;
    name_server(api);
    return api;
}

void api_free(Api *api)
{
    if (!api)
        return;
    for (size_t i = 0; i < api->idle_count; i++)
        curl_easy_cleanup(api->idle[i]);
    pthread_cond_destroy(&api->changed);
    pthread_mutex_destroy(&api->lock);
    api_config_free(api->config);
    curl_slist_free_all(api->connect_to);
    free(api->host_header);
    free(api->server);
    free(api);
}

void api_stop(Api *api)
{
    pthread_mutex_lock(&api->lock);
    atomic_store(&api->stopping, true);
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->lock);
}

bool api_stopping(const Api *api)
{
    return atomic_load(&api->stopping);
}

void api_guard(Api *api, ApiGuard *may_write, const void *context)
{
    atomic_store(&api->guards, context);
    atomic_store(&api->may_write, may_write);
}

static bool may_go_on(Api *api, const ApiRequest *request)
{
    ApiGuard *may_write = atomic_load(&api->may_write);
    bool writes = strcmp(request->method, "GET") != 0 && !request->unguarded;
    return !writes || !may_write || may_write(atomic_load(&api->guards));
}

bool api_sleep(Api *api, int64_t us)
{
    int64_t end_us = clock_mono_us() + us;
    struct timespec end = {end_us / 1000000, end_us % 1000000 * 1000};
    pthread_mutex_lock(&api->lock);
    while (!atomic_load(&api->stopping) &&
           pthread_cond_timedwait(&api->changed, &api->lock, &end) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&api->lock);
    return !api_stopping(api);
}

/* --- what is read again --- */

static void read_again(const char *path, struct timespec *time, char **text, bool strip)
{
    struct stat status;
    if (!path || stat(path, &status) != 0 ||
        (*text && status.st_mtim.tv_sec == time->tv_sec &&
         status.st_mtim.tv_nsec == time->tv_nsec) ||
        status.st_size <= 0 || status.st_size > FILE_BYTES_MAX)
        return;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    char *fresh = mem_zalloc((size_t)status.st_size + 1);
    size_t got = fread(fresh, 1, (size_t)status.st_size, file);
    fclose(file);
    while (strip && got && (fresh[got - 1] == '\n' || fresh[got - 1] == '\r'))
        fresh[--got] = '\0';
    if (!got) {
        free(fresh);
        return;
    }
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = fresh;
    *time = status.st_mtim;
}

/* Under the lock. */
static void look_at_files(Api *api, bool now)
{
    int64_t now_us = clock_mono_us();
    if (!now && api->looked_us && now_us - api->looked_us < LOOK_US)
        return;
    api->looked_us = now_us;
    read_again(api->config->token_file, &api->token_time, &api->config->token, true);
    read_again(api->config->ca_file, &api->ca_time, &api->config->ca_pem, false);
}

/* --- one exchange --- */

typedef struct Exchange {
    Api *api;
    const ApiRequest *request;
    Bytes body;
    bool too_large, guarded; /* the guard broke it off */
    ApiTake *take;           /* NULL: into body */
    void *context;
    CURL *curl;
    int64_t retry_after_s; /* -1: not said */
    int64_t end_us;        /* of the request with its repetitions */
} Exchange;

static size_t take_body(char *data, size_t one, size_t bytes, void *context)
{
    Exchange *x = context;
    (void)one;
    long status = 0;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->take && status == 200)
        return x->take(x->context, data, bytes) ? bytes : 0;
    if (bytes > ANSWER_BYTES_MAX - x->body.used) {
        x->too_large = true;
        return 0;
    }
    bytes_put(&x->body, data, bytes);
    return bytes;
}

static size_t take_header(char *data, size_t one, size_t bytes, void *context)
{
    Exchange *x = context;
    (void)one;
    static const char name[] = "retry-after:";
    if (bytes > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0) {
        char text[24] = "";
        size_t count = bytes - sizeof name + 1;
        memcpy(text, data + sizeof name - 1, count < sizeof text - 1 ? count : sizeof text - 1);
        long seconds = strtol(text, NULL, 10);
        x->retry_after_s = seconds > RETRY_AFTER_S_MAX ? RETRY_AFTER_S_MAX
                           : seconds < 1               ? 1
                                                       : seconds;
    }
    return bytes;
}

static int look(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    Exchange *x = context;
    (void)a, (void)b, (void)c, (void)d;
    x->guarded = !may_go_on(x->api, x->request);
    return x->guarded || api_stopping(x->api);
}

#define SET(option, value) ASSERT(curl_easy_setopt(curl, (option), (value)) == CURLE_OK)

static void set_blob(CURL *curl, CURLoption option, const char *pem)
{
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_COPY};
    ASSERT(curl_easy_setopt(curl, option, &blob) == CURLE_OK);
}

static void add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    ASSERT(longer);
    *list = longer;
}

static struct curl_slist *headers_of(const Api *api, const ApiRequest *request, bool watching)
{
    static const char *const types[] = {[API_JSON] = "application/json",
                                        [API_APPLY] = "application/apply-patch+yaml",
                                        [API_MERGE_PATCH] = "application/merge-patch+json"};
    struct curl_slist *list = NULL;
    bool one = watching || request->body;
    if (request->metadata_only)
        add_header(&list, one ? "Accept: application/json;as=PartialObjectMetadata;"
                                "g=meta.k8s.io;v=v1,application/json"
                              : "Accept: application/json;as=PartialObjectMetadataList;"
                                "g=meta.k8s.io;v=v1,application/json");
    else
        add_header(&list, "Accept: application/json");
    add_header(&list, "Expect:");
    if (api->host_header)
        add_header(&list, api->host_header);
    AUTO(mem_free) char *type = mem_format("Content-Type: %s", types[request->body_kind]);
    if (request->body)
        add_header(&list, type);
    if (api->config->token) {
        char *line = mem_format("Authorization: Bearer %s", api->config->token);
        add_header(&list, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    return list;
}

static CURL *borrow(Api *api)
{
    CURL *curl = api->idle_count ? api->idle[--api->idle_count] : curl_easy_init();
    ASSERT(curl);
    return curl;
}

static void give_back(Api *api, CURL *curl)
{
    curl_easy_reset(curl);
    pthread_mutex_lock(&api->lock);
    bool kept = api->idle_count < IDLE_MAX;
    if (kept)
        api->idle[api->idle_count++] = curl;
    pthread_mutex_unlock(&api->lock);
    if (!kept)
        curl_easy_cleanup(curl);
}

/* A watch waits most of the time: the 33 KB that OpenSSL keeps for each connection are given back
 * while it does. */
static CURLcode keep_no_buffers(CURL *curl, void *tls, void *context)
{
    (void)curl, (void)context;
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    return CURLE_OK;
}

/* Under the lock: the configuration is copied into the handle. */
static void set_up(Api *api, CURL *curl, Exchange *x, const ApiRequest *request, const char *body)
{
    const ApiConfig *config = api->config;
    AUTO(mem_free) char *url = mem_format("%s%s", api->server, request->path);
    SET(CURLOPT_URL, url);
    if (api->connect_to)
        SET(CURLOPT_CONNECT_TO, api->connect_to);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "firn-operator/" FIRN_VERSION);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, look);
    SET(CURLOPT_XFERINFODATA, x);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 16L << 10);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, keep_no_buffers);
    if (config->ca_pem) {
        set_blob(curl, CURLOPT_CAINFO_BLOB, config->ca_pem);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (config->client_pem && config->client_key_pem) {
        set_blob(curl, CURLOPT_SSLCERT_BLOB, config->client_pem);
        set_blob(curl, CURLOPT_SSLKEY_BLOB, config->client_key_pem);
    }
    if (body) {
        SET(CURLOPT_POSTFIELDS, body);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    }
    SET(CURLOPT_CUSTOMREQUEST, request->method);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, x);
    if (x->take) {
        SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
        SET(CURLOPT_LOW_SPEED_TIME, SILENT_S);
    } else {
        int64_t left_us = x->end_us - clock_mono_us();
        SET(CURLOPT_TIMEOUT_MS, left_us < 1000 ? 1L : (long)(left_us / 1000));
    }
}

static bool not_leader(Error *err)
{
    return error_set(err, ERROR_RETRY, "NotLeader", "the lease is not ours any more");
}

/* *ret_status 0: no answer, with its error. */
static bool exchange(Api *api, const ApiRequest *request, Exchange *x, int *ret_status, Error *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    char *body = request->body ? json_text(request->body, JSON_COMPACT) : NULL;
    *ret_status = 0;
    x->api = api;
    x->request = request;
    x->retry_after_s = -1;
    pthread_mutex_lock(&api->lock);
    look_at_files(api, false);
    CURL *curl = x->curl = borrow(api);
    set_up(api, curl, x, request, body);
    struct curl_slist *headers = headers_of(api, request, x->take);
    pthread_mutex_unlock(&api->lock);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_ERRORBUFFER, reason);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    give_back(api, curl);
    curl_slist_free_all(headers);
    free(body);
    if (code == CURLE_OK || (x->take && status))
        *ret_status = (int)status;
    if (code == CURLE_OK)
        return true;
    int path_bytes = (int)strcspn(request->path, "?");
    if (x->too_large)
        return error_set(err, ERROR_CONFIG, "AnswerTooLarge", "%s %.*s: more than %zu bytes",
                         request->method, path_bytes, request->path, ANSWER_BYTES_MAX);
    if (x->guarded)
        return not_leader(err);
    bool untrusted = code == CURLE_PEER_FAILED_VERIFICATION;
    return error_set(err, ERROR_RETRY, untrusted ? "BadCertificate" : "Unreachable",
                     "%s %.*s: %.200s", request->method, path_bytes, request->path,
                     *reason ? reason : curl_easy_strerror(code));
}

/* That more than the reason tells. */
static bool has_cause(const json_t *answer, const char *cause)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(answer, "details.causes"), i, one)
    {
        const char *reason = object_text(one, "reason");
        if (reason && strcmp(reason, cause) == 0)
            return true;
    }
    return false;
}

bool api_error(Error *err, const char *what, int status, const json_t *answer)
{
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    const char *message = json_string_value(json_object_get(answer, "message"));
    ErrorKind kind = status == 429 || status >= 500 ? ERROR_RETRY : ERROR_CONFIG;
    if (status == 409 && reason && strcmp(reason, "Conflict") == 0)
        kind = ERROR_CONFLICT;
    if (status == 401)
        kind = ERROR_RETRY; /* tokens are renewed */
    char code[40];
    if (has_cause(answer, "NamespaceTerminating"))
        reason = "NamespaceTerminating";
    if (reason && *reason)
        snprintf(code, sizeof code, "%.39s", reason);
    else
        snprintf(code, sizeof code, "Http%d", status);
    return error_set(err, kind, code, "%s: %d %.400s", what, status,
                     message ? message : "without a word");
}

/* For how long the server asks to be left alone: with each 429, and with a 5xx that says so, as
 * Kubernetes' own clients take it. 0: it does not ask. */
static int64_t asked_wait_us(int status, const Exchange *x)
{
    if (status == 429)
        return (x->retry_after_s < 1 ? 1 : x->retry_after_s) * 1000000;
    return status >= 500 && x->retry_after_s > 0 ? x->retry_after_s * 1000000 : 0;
}

/* Whether what is read again from files may be another than what was refused. */
static bool read_anew(Api *api, int status, const Error *err)
{
    bool token = status == 401 && api->config->token_file;
    bool trust = !status && api->config->ca_file && strcmp(err->code, "BadCertificate") == 0;
    if (!token && !trust)
        return false;
    pthread_mutex_lock(&api->lock);
    look_at_files(api, true);
    pthread_mutex_unlock(&api->lock);
    return true;
}

static json_t *parsed(Bytes *body)
{
    ObjectHead head;
    (void)object_head((const char *)body->data, body->used, &head);
    return body->used ? object_read((char *)body->data, body->used, &head) : NULL;
}

bool api_call(Api *api, const ApiRequest *request, json_t **ret, Error *err)
{
    int64_t limit_us = request->timeout_us ? request->timeout_us : TIMEOUT_US;
    int64_t end_us = clock_mono_us() + limit_us;
    bool renewed = false;
    if (ret)
        *ret = NULL;
    if (request->wait_us)
        *request->wait_us = 0;
    for (;;) {
        Exchange x = {.end_us = end_us};
        int status;
        if (api_stopping(api))
            return error_set(err, ERROR_RETRY, "Stopping", "the operator is being stopped");
        if (!may_go_on(api, request))
            return not_leader(err);
        bool ok = exchange(api, request, &x, &status, err);
        json_t *answer = ok ? parsed(&x.body) : NULL;
        bool cut = ok && x.body.used && !answer;
        bytes_done(&x.body);
        if (ok && status >= 200 && status < 300 && !cut) {
            if (ret)
                *ret = answer;
            else
                json_decref(answer);
            return true;
        }
        if (ok) {
            AUTO(mem_free)
            char *what = mem_format("%s %.*s", request->method, (int)strcspn(request->path, "?"),
                                    request->path);
            (void)api_error(err, what, status, answer);
        }
        json_decref(answer);
        int64_t wait_us = ok ? asked_wait_us(status, &x) : 0;
        if (!renewed && read_anew(api, status, err)) {
            renewed = true;
        } else if (wait_us && wait_us <= WAIT_S_MAX * 1000000LL &&
                   clock_mono_us() + wait_us < end_us) {
            if (!api_sleep(api, wait_us))
                return false;
        } else {
            if (request->wait_us)
                *request->wait_us = wait_us;
            return false;
        }
    }
}

bool api_stream(Api *api, const char *path, bool metadata_only, ApiTake *take, void *context,
                int *ret_status, int64_t *ret_wait_us, Error *err)
{
    Exchange x = {.take = take, .context = context};
    ApiRequest request = {.method = "GET", .path = path, .metadata_only = metadata_only};
    bool ok = exchange(api, &request, &x, ret_status, err);
    *ret_wait_us = asked_wait_us(*ret_status, &x);
    if (*ret_status && *ret_status != 200) {
        AUTO(json_free) json_t *answer = parsed(&x.body);
        ok = api_error(err, "watch", *ret_status, answer);
    }
    bytes_done(&x.body);
    return ok;
}
