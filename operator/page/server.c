/* One thread serves, and looks once a second while anybody looks on; another asks the API server
 * who somebody is, one after the other. Everything of libwebsockets but lws_cancel_service happens
 * in the first. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/http/web.h"
#include "common/log.h"
#include "common/queue.h"
#include "common/thread.h"
#include "operator/page/page.h"

#define PROTOCOL "firn.page"
#define VIEWERS_MAX 50u
#define DESCRIPTORS_MAX 128
#define HEADER_BYTES_MAX 16384 /* proxies add much */
#define PIECE_BYTES_MAX 4096
#define WORD_BYTES_MAX ((size_t)16384)
#define USER_BYTES_MAX 256
#define TICK_US INT64_C(1000000)
#define ALIVE_US INT64_C(10000000) /* a viewer that has nothing new hears at least so often */
#define HELLO_US INT64_C(10000000)
#define REVIEW_US INT64_C(60000000)
#define CLOSE_US INT64_C(1000000)
#define TIMEOUT_S 10

typedef enum Stage { STAGE_NONE, STAGE_HELLO, STAGE_OPEN } Stage;

/* What libwebsockets keeps for each connection, zeroed: of a file that is sent, or of a viewer. */
typedef struct Session {
    Bytes body; /* of a file, or a viewer's word; with LWS_PRE bytes before it, of a file */
    size_t sent;
    struct lws *wsi;
    struct Session *before, *after;
    Stage stage;
    bool welcome;        /* is to be said */
    const char *refused; /* is to be closed */
    char *token;         /* NULL: the proxy has said who it is */
    char user[USER_BYTES_MAX];
    json_t *namespaces; /* that it may see; NULL: all */
    int64_t until_us;   /* to say hello */
    int64_t review_us;  /* again; 0: it is under way */
    int64_t told_us;
    uint64_t seen; /* the view's version */
    struct Review *review;
} Session;

typedef struct Review {
    struct Review *next;
    Session *session; /* NULL: it went. Of the serving thread. */
    char *token;
    char user[USER_BYTES_MAX];
    json_t *namespaces, *allowed;
    bool ok;
    Error err;
} Review;

struct Page {
    Api *api;
    PageOptions options;
    PageSource source;
    struct lws_context *context;
    uint16_t port;
    Queue *waiting;
    pthread_mutex_t lock; /* over reviewed */
    Review *reviewed;
    Session *first;
    unsigned viewers;
    View view;
    lws_sorted_usec_list_t tick;
    atomic_bool stop;
    Thread *thread, *reviewer;
};

static void review_free(void *item)
{
    Review *review = item;
    if (review->token)
        explicit_bzero(review->token, strlen(review->token));
    free(review->token);
    json_decref(review->namespaces);
    json_decref(review->allowed);
    free(review);
}

/* --- who somebody is --- */

static bool find_out(const Page *page, Review *review)
{
    AUTO(json_free)
    json_t *user = review->token ? access_user_of(page->api, review->token, &review->err)
                                 : json_pack("{ss s[s]}", "username", review->user, "groups",
                                             "system:authenticated");
    if (!user)
        return false;
    snprintf(review->user, sizeof review->user, "%s",
             json_string_value(json_object_get(user, "username")));
    return access_namespaces(page->api, user, review->namespaces, &review->allowed, &review->err);
}

static void review_run(void *argument)
{
    Page *page = argument;
    void *item;
    while (queue_take(page->waiting, &item, -1) == QUEUE_OK) {
        Review *review = item;
        review->ok = !atomic_load(&page->stop) && find_out(page, review);
        pthread_mutex_lock(&page->lock);
        review->next = page->reviewed;
        page->reviewed = review;
        pthread_mutex_unlock(&page->lock);
        lws_cancel_service(page->context);
    }
}

static void refuse(Session *session, const char *why)
{
    if (session->refused)
        return;
    session->refused = why;
    lws_callback_on_writable(session->wsi);
}

static void begin_review(Page *page, Session *session)
{
    Review *review = mem_zalloc(sizeof *review);
    review->session = session;
    review->token = session->token ? mem_strdup(session->token) : NULL;
    memcpy(review->user, session->user, sizeof review->user);
    review->namespaces = view_namespaces(&page->source);
    session->review_us = 0;
    if (queue_put(page->waiting, review, 1, 0) == QUEUE_OK) {
        session->review = review;
        return;
    }
    review_free(review);
    refuse(session, "TooMany");
}

/* Whatever keeps us from asking again leaves what was said before. */
static void end_review(Page *page, Session *session, Review *review)
{
    bool refused =
        !review->ok && (review->err.kind == ERROR_CONFIG || session->stage != STAGE_OPEN);
    session->review_us = clock_mono_us() + REVIEW_US;
    if (refused || (review->ok && review->allowed && !json_object_size(review->allowed))) {
        log_info("somebody was not shown the page", LOG_T("user", review->user),
                 LOG_T("reason", review->ok ? "Forbidden" : review->err.code));
        refuse(session, review->ok                         ? "Forbidden"
                        : review->err.kind == ERROR_CONFIG ? "TokenRefused"
                                                           : "NotNow");
        return;
    }
    if (!review->ok)
        return;
    bool same =
        session->namespaces ? json_equal(session->namespaces, review->allowed) : !review->allowed;
    if (session->stage == STAGE_OPEN && same)
        return;
    json_decref(session->namespaces);
    session->namespaces = json_incref(review->allowed);
    session->seen = 0;
    session->welcome = session->stage != STAGE_OPEN;
    session->stage = STAGE_OPEN;
    memcpy(session->user, review->user, sizeof session->user);
    view_look(&page->view, &page->source);
    lws_callback_on_writable(session->wsi);
}

static void take_reviewed(Page *page)
{
    pthread_mutex_lock(&page->lock);
    Review *reviewed = page->reviewed;
    page->reviewed = NULL;
    pthread_mutex_unlock(&page->lock);
    while (reviewed) {
        Review *next = reviewed->next;
        if (reviewed->session) {
            reviewed->session->review = NULL;
            end_review(page, reviewed->session, reviewed);
        }
        review_free(reviewed);
        reviewed = next;
    }
}

/* --- who is spoken to at all --- */

static bool is_proxy(const Page *page, struct lws *wsi)
{
    char peer[64] = "";
    lws_get_peer_simple(wsi, peer, sizeof peer);
    return page->options.proxy && strcmp(peer, page->options.proxy) == 0;
}

static bool is_spoken_to(const Page *page, struct lws *wsi)
{
    char peer[64] = "";
    lws_get_peer_simple(wsi, peer, sizeof peer);
    return strncmp(peer, "127.", 4) == 0 || is_proxy(page, wsi);
}

static bool header(struct lws *wsi, enum lws_token_indexes token, char *to, int bytes)
{
    to[0] = '\0';
    return lws_hdr_total_length(wsi, token) > 0 && lws_hdr_copy(wsi, to, bytes, token) > 0;
}

/* Another site's page opens none in a logged-in person's name. */
static bool is_same_origin(struct lws *wsi)
{
    char origin[300], host[300];
    if (!header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof origin) ||
        !header(wsi, WSI_TOKEN_HOST, host, sizeof host))
        return false;
    const char *at = strstr(origin, "://");
    return at && strcmp(at + 3, host) == 0;
}

/* The name that the proxy gives; "": none, or not from there. */
static void proxy_user(const Page *page, struct lws *wsi, char ret[USER_BYTES_MAX])
{
    ret[0] = '\0';
    if (!page->options.user_header || !is_proxy(page, wsi))
        return;
    AUTO(mem_free) char *name = mem_format("%s:", page->options.user_header);
    for (char *at = name; *at; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    int length = lws_hdr_custom_length(wsi, name, (int)strlen(name));
    if (length > 0 && length < USER_BYTES_MAX)
        lws_hdr_custom_copy(wsi, ret, USER_BYTES_MAX, name, (int)strlen(name));
    for (char *at = ret; *at; at++)
        if ((unsigned char)*at < ' ') {
            ret[0] = '\0';
            return;
        }
}

/* --- files --- */

static bool add_header(struct lws *wsi, const char *name, const char *value, unsigned char **at,
                       unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), at,
                                       end) == 0;
}

static bool add_headers(struct lws *wsi, const char *type, unsigned char **at, unsigned char *end)
{
    static const char *const fixed[][2] = {
        {"content-security-policy:", "default-src 'none'; script-src 'self'; style-src 'self'; "
                                     "connect-src 'self'; img-src 'self'; "
                                     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"x-content-type-options:", "nosniff"},
        {"referrer-policy:", "no-referrer"},
        {"cross-origin-opener-policy:", "same-origin"},
        {"cross-origin-resource-policy:", "same-origin"},
        {"cache-control:", "no-store"},
        {"connection:", "close"},
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (!add_header(wsi, fixed[i][0], fixed[i][1], at, end))
            return false;
    return add_header(wsi, "content-type:", type, at, end);
}

static int begin_file(struct lws *wsi, Session *session, const char *path)
{
    static const char nothing[] = "not found\n";
    static const Asset none = {"", "text/plain; charset=utf-8", nothing,
                               nothing + sizeof nothing - 1};
    const Page *page = lws_context_user(lws_get_context(wsi));
    unsigned char buffer[LWS_PRE + 2048];
    unsigned char *start = buffer + LWS_PRE, *at = start, *end = buffer + sizeof buffer;
    bool get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    const Asset *asset = get && is_spoken_to(page, wsi) ? asset_of(path) : NULL;
    unsigned status = asset                      ? HTTP_STATUS_OK
                      : !is_spoken_to(page, wsi) ? HTTP_STATUS_FORBIDDEN
                                                 : HTTP_STATUS_NOT_FOUND;
    const Asset *file = asset ? asset : &none;
    bytes_clear(&session->body);
    bytes_reserve(&session->body, LWS_PRE);
    session->body.used = session->sent = LWS_PRE;
    bytes_put(&session->body, file->begin, (size_t)(file->end - file->begin));
    if (lws_add_http_header_status(wsi, status, &at, end) ||
        !add_headers(wsi, file->type, &at, end) ||
        lws_add_http_header_content_length(wsi, session->body.used - session->sent, &at, end) ||
        lws_finalize_write_http_header(wsi, start, &at, end))
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

static int go_on_file(struct lws *wsi, Session *session)
{
    size_t left = session->body.used - session->sent;
    size_t bytes = left < PIECE_BYTES_MAX ? left : PIECE_BYTES_MAX;
    enum lws_write_protocol kind = bytes == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP;
    if (!left || lws_write(wsi, session->body.data + session->sent, bytes, kind) < (int)bytes ||
        bytes == left)
        return -1;
    session->sent += bytes;
    lws_callback_on_writable(wsi);
    return 0;
}

/* --- a viewer --- */

static void begin(Page *page, Session *session, struct lws *wsi)
{
    session->wsi = wsi;
    session->stage = STAGE_HELLO;
    session->until_us = clock_mono_us() + HELLO_US;
    session->after = page->first;
    if (session->after)
        session->after->before = session;
    page->first = session;
    proxy_user(page, wsi, session->user);
    if (++page->viewers > VIEWERS_MAX)
        refuse(session, "TooMany");
}

static void end(Page *page, Session *session)
{
    if (session->stage == STAGE_NONE)
        return;
    if (session->review)
        session->review->session = NULL;
    if (session->before)
        session->before->after = session->after;
    else
        page->first = session->after;
    if (session->after)
        session->after->before = session->before;
    page->viewers--;
    if (session->token)
        explicit_bzero(session->token, strlen(session->token));
    free(session->token);
    json_decref(session->namespaces);
    bytes_done(&session->body);
    *session = (Session){0};
}

/* {"token": "…"}, or {} behind a proxy; once. */
static void take_word(Page *page, Session *session)
{
    json_error_t why;
    json_t *word = json_loadb((const char *)session->body.data, session->body.used, 0, &why);
    json_t *token = json_object_get(word, "token");
    const char *text = json_string_value(token);
    if (!json_is_object(word) || session->review || session->stage != STAGE_HELLO) {
        refuse(session, "BadWord");
    } else if (text && *text && strlen(text) == json_string_length(token)) {
        session->user[0] = '\0';
        session->token = mem_strdup(text);
        begin_review(page, session);
    } else if (session->user[0]) {
        begin_review(page, session);
    } else {
        refuse(session, "TokenWanted");
    }
    if (text)
        explicit_bzero((char *)(uintptr_t)text, strlen(text));
    json_decref(word);
    explicit_bzero(session->body.data, session->body.used);
    bytes_done(&session->body);
}

static int take_piece(Page *page, Session *session, const void *data, size_t bytes)
{
    if (session->refused)
        return 0;
    switch (web_gather(session->wsi, &session->body, data, bytes, WORD_BYTES_MAX)) {
    case WEB_TOO_LARGE:
        refuse(session, "BadWord");
        break;
    case WEB_WHOLE:
        take_word(page, session);
        break;
    case WEB_MORE:
        break;
    }
    return 0;
}

static void put_welcome(const Session *session, Bytes *to)
{
    json_t *word =
        json_pack("{s{ss ss}}", "welcome", "user", session->user, "version", FIRN_VERSION);
    char *text = word ? json_text(word, JSON_COMPACT) : mem_strdup("{\"welcome\":{}}");
    bytes_put(to, text, strlen(text));
    free(text);
    json_decref(word);
}

static int write_word(Page *page, Session *session)
{
    if (session->refused) {
        lws_close_reason(session->wsi, (enum lws_close_status)1008,
                         (unsigned char *)(uintptr_t)session->refused, strlen(session->refused));
        return -1;
    }
    if (session->stage != STAGE_OPEN || lws_partial_buffered(session->wsi))
        return 0;
    int64_t now_us = clock_mono_us();
    Bytes word = {0};
    bytes_reserve(&word, LWS_PRE + 256);
    word.used = LWS_PRE;
    bool any = true;
    if (session->welcome) {
        put_welcome(session, &word);
        session->welcome = false;
        lws_callback_on_writable(session->wsi);
    } else {
        bool works = page->source.works(page->source.context);
        any = view_put(&page->view, session->seen, session->namespaces, works, &word) ||
              now_us - session->told_us >= ALIVE_US;
        session->seen = page->view.version;
        session->told_us = any ? now_us : session->told_us;
    }
    size_t bytes = word.used - LWS_PRE;
    int done = any ? lws_write(session->wsi, word.data + LWS_PRE, bytes, LWS_WRITE_TEXT) : 0;
    bytes_done(&word);
    return any && done < (int)bytes ? -1 : 0;
}

static void tick(lws_sorted_usec_list_t *sul)
{
    Page *page = lws_container_of(sul, Page, tick);
    int64_t now_us = clock_mono_us();
    bool any = false;
    for (Session *one = page->first; one; one = one->after)
        any = any || one->stage == STAGE_OPEN;
    if (any)
        view_look(&page->view, &page->source);
    for (Session *one = page->first, *after; one; one = after) {
        after = one->after;
        if (one->stage == STAGE_HELLO && !one->review && now_us > one->until_us)
            refuse(one, "TokenWanted");
        if (one->stage == STAGE_OPEN && one->review_us && now_us > one->review_us)
            begin_review(page, one);
        if (one->stage == STAGE_OPEN)
            lws_callback_on_writable(one->wsi);
    }
    lws_sul_schedule(page->context, 0, &page->tick, tick, TICK_US);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    Page *page = lws_context_user(lws_get_context(wsi));
    Session *session = user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return begin_file(wsi, session, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return go_on_file(wsi, session);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        if (session && session->stage == STAGE_NONE)
            bytes_done(&session->body);
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_spoken_to(page, wsi) && is_same_origin(wsi) ? 0 : -1;
    case LWS_CALLBACK_ESTABLISHED:
        begin(page, session, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return take_piece(page, session, in, bytes);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return write_word(page, session);
    case LWS_CALLBACK_CLOSED:
        end(page, session);
        return 0;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        take_reviewed(page);
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, bytes);
    }
}

/* --- beginning and end --- */

static void serve(void *argument)
{
    Page *page = argument;
    while (!atomic_load(&page->stop) && lws_service(page->context, 0) >= 0) {
    }
    int64_t until_us = clock_mono_us() + CLOSE_US;
    for (Session *one = page->first; one; one = one->after)
        lws_set_timeout(one->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
    while (page->first && clock_mono_us() < until_us && lws_service(page->context, 0) >= 0) {
    }
}

/* libwebsockets does not say why it could not listen. */
static bool may_listen(const PageOptions *options, Error *err)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct in_addr proxy;
    if (inet_pton(AF_INET, options->address, &to.sin_addr) != 1)
        return error_set(err, ERROR_CONFIG, "BadAddress",
                         "\"%s\" is no IPv4 address to listen on, for --page", options->address);
    if (!options->proxy != !options->user_header ||
        (options->proxy && inet_pton(AF_INET, options->proxy, &proxy) != 1))
        return error_set(err, ERROR_CONFIG, "BadAddress",
                         "--page-proxy is the IPv4 address of a proxy that has logged people in, "
                         "and goes with --page-user-header");
    if (ntohl(to.sin_addr.s_addr) >> 24 != 127 && !options->proxy)
        return error_set(err, ERROR_CONFIG, "BadAddress",
                         "the page is plain HTTP: --page listens on 127.0.0.1 (kubectl "
                         "port-forward reaches that), or elsewhere for a --page-proxy alone");
    return true;
}

static bool listen_on(Page *page, Error *err)
{
    static const struct lws_protocols protocols[] = {
        {.name = PROTOCOL,
         .callback = on_event,
         .per_session_data_size = sizeof(Session),
         .rx_buffer_size = PIECE_BYTES_MAX},
        {.name = NULL},
    };
    struct lws_context_creation_info info = {
        .port = page->options.port,
        .iface = page->options.address,
        .protocols = protocols,
        .user = page,
        .fd_limit_per_thread = DESCRIPTORS_MAX,
        .pt_serv_buf_size = PIECE_BYTES_MAX,
        .max_http_header_data = HEADER_BYTES_MAX,
        .max_http_header_pool = 16,
        .timeout_secs = TIMEOUT_S,
    };
    page->context = web_listen(&info, "--page", &page->port, err);
    if (!page->context)
        return false;
    lws_sul_schedule(page->context, 0, &page->tick, tick, TICK_US);
    return true;
}

void page_stop(Page *page)
{
    if (!page)
        return;
    atomic_store(&page->stop, true);
    queue_close(page->waiting);
    if (page->context)
        lws_cancel_service(page->context);
    thread_join(page->thread);
    thread_join(page->reviewer);
    if (page->context)
        lws_context_destroy(page->context);
    while (page->reviewed) {
        Review *next = page->reviewed->next;
        review_free(page->reviewed);
        page->reviewed = next;
    }
    queue_free(page->waiting);
    view_done(&page->view);
    pthread_mutex_destroy(&page->lock);
    free(page);
}

Page *page_start(Api *api, const PageOptions *options, const PageSource *source, Error *err)
{
    Page *page = mem_zalloc(sizeof *page);
    page->api = api;
    page->options = *options;
    page->source = *source;
    pthread_mutex_init(&page->lock, NULL);
    page->waiting = queue_new(VIEWERS_MAX, VIEWERS_MAX, review_free);
    if (!may_listen(options, err) || !listen_on(page, err)) {
        page_stop(page);
        return NULL;
    }
    page->thread = thread_start("page", serve, page);
    page->reviewer = thread_start("page-review", review_run, page);
    return page;
}

uint16_t page_port(const Page *page)
{
    return page->port;
}
