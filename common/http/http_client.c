/* libcurl's easy handles in a pool: a request borrows one and gives it back with its connections
 * still open, last in, first out, so that few connections carry most of the requests.
 *
 * Whether a failed request may have been carried out is told by CURLINFO_REQUEST_SIZE, which
 * counts what was written over all attempts: nothing written and no answer is "Unreachable",
 * everything else is "AnswerLost". A proxy's CONNECT counts as written, which errs to the safe
 * side.
 *
 * When a kept connection turns out to be closed, curl sends the request again by itself. The server
 * may have read it before, so what changes something must not go out twice behind the caller's
 * back: before_request ends that with "AnswerLost".
 *
 * HTTP/1.1 only: with HTTP/2 streams are refused and sent again under rules of their own, and none
 * of the stores offers it. */
#include "common/http/http_client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "common/mem.h"

#define CONNECT_TIMEOUT_MS 10000
#define TIMEOUT_MS 60000
#define CONNECTIONS_MAX 16
#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define HEADER_BYTES_MAX ((size_t)256 << 10)
#define SLOW_BYTES_PER_S 1024L
#define SLOW_S 30L
#define BUFFER_BYTES (128L << 10)

struct HttpClient {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    char *ca_pem;
    int64_t connect_timeout_ms;
    uint32_t connections_max;
    uint32_t lent;
    uint32_t idle_count;
    CURL **idle; /* connections_max places; the last is the warmest */
};

typedef struct Transfer {
    const HttpRequest *request;
    HttpAnswer *answer;
    CURL *curl;
    size_t body_before; /* bytes in answer->body that are not ours */
    size_t body_max;
    bool too_large;
    bool only_reads;
    bool head_ended; /* the empty line after the headers came */
} Transfer;

/* ---------- the client ---------- */

static void start_curl(void)
{
    ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

static bool holds_certificate(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    ASSERT(bio);
    STACK_OF(X509_INFO) *found = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    bool any = false;
    for (int i = 0; found && i < sk_X509_INFO_num(found); i++)
        any |= sk_X509_INFO_value(found, i)->x509 != NULL;
    sk_X509_INFO_pop_free(found, X509_INFO_free);
    BIO_free(bio);
    ERR_clear_error();
    return any;
}

HttpClient *http_client_new(const HttpClientOptions *options, Error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const HttpClientOptions defaults = {0};
    const HttpClientOptions *o = options ? options : &defaults;
    pthread_once(&once, start_curl);
    if (o->ca_pem && !holds_certificate(o->ca_pem)) {
        error_set(err, ERROR_CONFIG, "BadCertificate",
                  "the CA given holds no certificate; it must be PEM text with BEGIN CERTIFICATE");
        return NULL;
    }
    HttpClient *client = mem_zalloc(sizeof *client);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->given_back, NULL);
    client->ca_pem = o->ca_pem ? mem_strdup(o->ca_pem) : NULL;
    client->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    client->connections_max = o->connections_max ? o->connections_max : CONNECTIONS_MAX;
    client->idle = mem_array(client->connections_max, sizeof(CURL *));
    return client;
}

void http_client_free(HttpClient *client)
{
    if (!client)
        return;
    ASSERT(client->lent == 0);
    for (uint32_t i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    pthread_cond_destroy(&client->given_back);
    pthread_mutex_destroy(&client->lock);
    free(client->idle);
    free(client->ca_pem);
    free(client);
}

static CURL *borrow(HttpClient *client)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&client->lock);
    while (client->lent == client->connections_max)
        pthread_cond_wait(&client->given_back, &client->lock);
    client->lent++;
    if (client->idle_count)
        curl = client->idle[--client->idle_count];
    pthread_mutex_unlock(&client->lock);
    if (!curl)
        curl = curl_easy_init();
    ASSERT(curl);
    return curl;
}

static void give_back(HttpClient *client, CURL *curl)
{
    curl_easy_reset(curl); /* keeps connections, TLS sessions and resolved names */
    pthread_mutex_lock(&client->lock);
    client->lent--;
    client->idle[client->idle_count++] = curl;
    pthread_cond_signal(&client->given_back);
    pthread_mutex_unlock(&client->lock);
}

/* ---------- one request ---------- */

static size_t take_header(char *data, size_t one, size_t bytes, void *context)
{
    Transfer *t = context;
    (void)one;
    if (bytes >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        /* A further answer begins: that before was "100 Continue". */
        bytes_clear(&t->answer->headers);
        t->answer->body.used = t->body_before;
        t->head_ended = false;
    }
    if (bytes > HEADER_BYTES_MAX - t->answer->headers.used) {
        t->too_large = true;
        return 0;
    }
    bytes_put(&t->answer->headers, data, bytes);
    t->head_ended |= bytes <= 2 && (data[0] == '\r' || data[0] == '\n');
    return bytes;
}

static size_t take_body(char *data, size_t one, size_t bytes, void *context)
{
    Transfer *t = context;
    (void)one;
    Bytes *body = &t->answer->body;
    size_t have = body->used - t->body_before;
    curl_off_t whole = -1;
    if (have == 0)
        curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole);
    if (bytes > t->body_max - have || (whole > 0 && (uint64_t)whole > t->body_max)) {
        t->too_large = true;
        return 0;
    }
    if (whole > 0)
        bytes_reserve(body, (size_t)whole);
    bytes_put(body, data, bytes);
    return bytes;
}

/* Called before each attempt of curl's. */
static int before_request(void *context, char *to, char *from, int to_port, int from_port)
{
    const Transfer *t = context;
    (void)to, (void)from, (void)to_port, (void)from_port;
    long written = 0;
    curl_easy_getinfo(t->curl, CURLINFO_REQUEST_SIZE, &written);
    return written > 0 && !t->only_reads ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static bool has_line_break(const char *text)
{
    return text[strcspn(text, "\r\n")] != '\0';
}

static bool put_headers(const HttpRequest *request, struct curl_slist **list, Error *err)
{
    bool type = false;
    for (size_t i = 0; i < request->header_count; i++) {
        const HttpHeader *header = &request->headers[i];
        if (has_line_break(header->name) || has_line_break(header->value))
            return error_set(err, ERROR_CONFIG, "BadHeader", "header %.40s has a line break in it",
                             has_line_break(header->name) ? "?" : header->name);
        type |= strcasecmp(header->name, "content-type") == 0;
        /* "Name;" is curl's way to send a header without a value. */
        AUTO(mem_free)
        char *line = *header->value ? mem_format("%s: %s", header->name, header->value)
                                    : mem_format("%s;", header->name);
        struct curl_slist *longer = curl_slist_append(*list, line);
        ASSERT(longer);
        *list = longer;
    }
    /* Neither what curl would make up for a body, nor a second's wait for servers that don't know
     * 100 Continue. */
    const char *const none[] = {"Expect:", type ? NULL : "Content-Type:"};
    for (size_t i = 0; i < ARRAY_LEN(none) && none[i]; i++) {
        struct curl_slist *longer = curl_slist_append(*list, none[i]);
        ASSERT(longer);
        *list = longer;
    }
    return true;
}

#define SET(option, value) ASSERT(curl_easy_setopt(curl, (option), (value)) == CURLE_OK)

static void set_up(const HttpClient *client, CURL *curl, const HttpRequest *request, Transfer *t,
                   struct curl_slist *headers)
{
    bool head = strcmp(request->method, "HEAD") == 0;
    t->only_reads = head || strcmp(request->method, "GET") == 0;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PATH_AS_IS, 1L); /* what was signed is what is sent; a key may hold "/../" */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_USERAGENT, "firn/" FIRN_VERSION);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    /* Only wishes: a handle whose last request was broken off may still hold its buffer. */
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    (void)curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)(request->timeout_ms ? request->timeout_ms : TIMEOUT_MS));
    SET(CURLOPT_LOW_SPEED_LIMIT, request->patient ? 0L : SLOW_BYTES_PER_S);
    SET(CURLOPT_LOW_SPEED_TIME, request->patient ? 0L : SLOW_S);
    if (client->ca_pem) {
        struct curl_blob blob = {client->ca_pem, strlen(client->ca_pem), CURL_BLOB_NOCOPY};
        SET(CURLOPT_CAINFO_BLOB, &blob);
        SET(CURLOPT_CAPATH, NULL); /* else the system's are trusted besides */
    }
    if (head)
        SET(CURLOPT_NOBODY, 1L);
    if (request->body) {
        SET(CURLOPT_POSTFIELDS, (const char *)request->body); /* not copied */
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        SET(CURLOPT_POSTFIELDS, ""); /* servers want content-length: 0 */
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
    }
    if (!head)
        SET(CURLOPT_CUSTOMREQUEST, request->method);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_PREREQFUNCTION, before_request);
    SET(CURLOPT_PREREQDATA, t);
}

/* OpenSSL writes to sockets without MSG_NOSIGNAL: a peer that is gone must not end the process. */
static CURLcode perform_without_sigpipe(CURL *curl)
{
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    CURLcode code = curl_easy_perform(curl);
    if (!was_pending)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) == SIGPIPE) {
        }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

/* Fills *err for a request that failed: "PUT host:port/path: …". */
static bool refuse(const Transfer *t, CURLcode code, const char *reason, Error *err)
{
    const HttpRequest *request = t->request;
    const char *slashes = strstr(request->url, "//");
    const char *place = slashes ? slashes + 2 : request->url;
    int place_bytes = (int)strcspn(place, "?#");
    const char *at = memrchr(place, '@', strcspn(place, "/?#"));
    if (at) {
        place_bytes -= (int)(at + 1 - place);
        place = at + 1;
    }
    if (place_bytes > 200)
        place_bytes = 200;
    const char *why = *reason ? reason : curl_easy_strerror(code);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        why = "the connection was closed after the request was sent";
    if (t->too_large)
        return error_set(err, ERROR_DATA, "AnswerTooLarge",
                         "%s %.*s: the answer is larger than %zu bytes", request->method,
                         place_bytes, place, t->body_max);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
        code == CURLE_SSL_ISSUER_ERROR)
        return error_set(err, ERROR_CONFIG, "BadCertificate", "%s %.*s: %.200s", request->method,
                         place_bytes, place, why);
    long written = 0, status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_REQUEST_SIZE, &written);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    bool lost = written > 0 || status > 0;
    if (!lost && (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL))
        return error_set(err, ERROR_CONFIG, "BadUrl", "%s %.*s: %.200s", request->method,
                         place_bytes, place, why);
    return error_set(err, ERROR_RETRY, lost ? "AnswerLost" : "Unreachable", "%s %.*s: %.200s",
                     request->method, place_bytes, place, why);
}

bool http_send(HttpClient *client, const HttpRequest *request, HttpAnswer *ret, Error *err)
{
    struct curl_slist *headers = NULL;
    bool ok = put_headers(request, &headers, err);
    if (!ok) {
        curl_slist_free_all(headers);
        return false;
    }
    CURL *curl = borrow(client);
    Transfer t = {.request = request, .answer = ret, .curl = curl, .body_before = ret->body.used};
    t.body_max = request->answer_bytes_max ? request->answer_bytes_max : ANSWER_BYTES_MAX;
    bytes_clear(&ret->headers);
    ret->status = 0;
    char reason[CURL_ERROR_SIZE] = "";
    set_up(client, curl, request, &t, headers);
    SET(CURLOPT_ERRORBUFFER, reason);
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, request->url);
    if (code == CURLE_OK)
        code = perform_without_sigpipe(curl);
    if (code == CURLE_OK) {
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        ret->status = (int)status;
        /* curl takes headers that are cut short for whole ones. */
        ok = (status >= 100 && t.head_ended) ||
             refuse(&t, CURLE_WEIRD_SERVER_REPLY, "the answer ends within its headers", err);
    } else {
        ok = refuse(&t, code, reason, err);
    }
    if (!ok)
        ret->body.used = t.body_before;
    give_back(client, curl);
    curl_slist_free_all(headers);
    return ok;
}

/* ---------- what was answered ---------- */

void http_answer_done(HttpAnswer *answer)
{
    bytes_done(&answer->body);
    bytes_done(&answer->headers);
    answer->status = 0;
}

char *http_answer_header(const HttpAnswer *answer, const char *name)
{
    const char *at = (const char *)answer->headers.data;
    const char *end = at + answer->headers.used;
    size_t name_bytes = strlen(name);
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        if ((size_t)(line_end - at) > name_bytes && at[name_bytes] == ':' &&
            strncasecmp(at, name, name_bytes) == 0) {
            const char *from = at + name_bytes + 1, *to = line_end;
            while (from < to && isspace((unsigned char)*from))
                from++;
            while (to > from && isspace((unsigned char)to[-1]))
                to--;
            return mem_strndup(from, (size_t)(to - from));
        }
        at = line_end < end ? line_end + 1 : end;
    }
    return NULL;
}

char *http_escape(const char *text, const char *keep)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = mem_alloc(strlen(text) * 3 + 1), *to = escaped;
    for (const char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("-._~", byte) ||
                     (keep && strchr(keep, byte));
        if (plain) {
            *to++ = (char)byte;
        } else {
            *to++ = '%';
            *to++ = digits[byte >> 4];
            *to++ = digits[byte & 15];
        }
    }
    *to = '\0';
    return escaped;
}
