/* One thread serves all connections; what waits for the API server is done by others, which hand
 * back what they found out. A connection says hello in time or is closed; what it says is bounded
 * in size and in number; who is silent is taken for dead. Everything of libwebsockets but
 * lws_cancel_service happens in the one thread. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/bucket.h"
#include "common/clock.h"
#include "common/http/web.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/queue.h"
#include "common/thread.h"
#include "operator/channel/channel.h"

#define CONNECTIONS_MAX 20000
#define DESCRIPTORS_OF_OTHERS 256
#define REVIEWERS 4
#define REVIEWS_WAIT_MAX 8192
#define HELLO_US INT64_C(10000000)
#define REVIEW_US INT64_C(30000000)
#define SILENCE_US INT64_C(30000000)
#define LOOK_US INT64_C(30000000) /* whether its Pod is still there */
#define TICK_US INT64_C(1000000)
#define CLOSE_US INT64_C(2000000)
#define PACE_EACH_US INT64_C(600) /* between two rounds, for each connection, … */
#define PACE_MOST_US INT64_C(800000)
#define RUSH_US INT64_C(1000000) /* … but not so soon after somebody came, went, or goes on */
#define KEYS_US INT64_C(600000000)
#define MESSAGES_AT_ONCE 64.0
#define HEADER_BYTES_MAX 2048
#define PIECE_BYTES_MAX 4096    /* of what is read; one buffer for all */
#define MESSAGE_PIECE_BYTES 512 /* each connection keeps as much: most reports are shorter */
#define TIMEOUT_S 10

typedef enum Stage { STAGE_NEW, STAGE_HELLO, STAGE_REVIEW, STAGE_OPEN } Stage;

/* What libwebsockets keeps for each connection, zeroed. */
typedef struct Connection {
    struct lws *wsi;
    struct Connection *before, *after;
    Stage stage;
    bool welcome;        /* is to be said */
    const char *refused; /* a code: is to be closed */
    int64_t until_us;    /* hello, review or the next word is there */
    int64_t look_us;
    Bytes in;
    Bucket messages;
    struct Review *review;
    ChannelPod pod;
    char *owner;
    char *version;   /* of the Pod, when it was looked at */
    uint64_t orders; /* the version that it was told; 0: none */
} Connection;

typedef struct Review {
    struct Review *next;
    Connection *connection; /* NULL: it went. Of the serving thread. */
    char *token;
    ChannelPod pod;
    char *owner;
    bool ok;
    Error err;
} Review;

typedef struct Figures {
    Metric *connections, *reports;
} Figures;

struct Channel {
    Api *api;
    ChannelOptions options;
    ChannelTaker taker;
    Reviews *reviews;
    OrderBook *orders;
    atomic_bool ordered; /* anything new */
    Queue *waiting;
    pthread_mutex_t lock; /* over reviewed, authority and its flag */
    Review *reviewed;
    Authority authority;
    bool keys_are_new;
    SSL_CTX *tls;    /* libwebsockets' */
    SSL_CTX *no_tls; /* of a client, which it is not: else all of the system's CAs are loaded */
    struct lws_context *context;
    lws_sorted_usec_list_t tick;
    Connection *first;
    int64_t rush_us; /* until then */
    unsigned connections, connections_max;
    Figures figures;
    atomic_bool stop;
    uint16_t port;
    Thread *thread, *keys, *reviewers[REVIEWERS];
};

/* --- who is refused --- */

static const char *const reasons[] = {"TokenRefused", "NoPod",   "ForeignPod", "BadWord",
                                      "TooLarge",     "TooFast", "TooMany",    "NoHello",
                                      "Silent",       "PodGone", "NotNow"};

static Metric *refusals_of(const char *reason)
{
    AUTO(mem_free) char *label = metrics_label("reason", reason);
    return metrics_register(METRIC_COUNTER, "firn_channel_refused_total",
                            "Agents' connections that were refused or cut", label);
}

/* One of `reasons`, which live as long as the process. */
static const char *known_reason(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(reasons[i], code) == 0)
            return reasons[i];
    return "NotNow";
}

/* Closes it as soon as it can be written to. */
static void refuse(Connection *c, const char *code)
{
    if (c->refused)
        return;
    c->refused = known_reason(code);
    c->until_us = clock_mono_us() + TIMEOUT_S * INT64_C(1000000);
    metric_add(refusals_of(c->refused), 1);
    log_debug("an agent's connection is refused", LOG_T("reason", c->refused),
              LOG_T("pod", c->pod.name ? c->pod.name : ""));
    lws_callback_on_writable(c->wsi);
}

/* --- reviews --- */

static void review_free(void *item)
{
    Review *review = item;
    if (!review)
        return;
    if (review->token)
        explicit_bzero(review->token, strlen(review->token));
    free(review->token);
    free(review->owner);
    channel_pod_done(&review->pod);
    free(review);
}

static void review_run(void *argument)
{
    Channel *channel = argument;
    void *item;
    while (queue_take(channel->waiting, &item, -1) == QUEUE_OK) {
        Review *review = item;
        const ChannelTaker *taker = &channel->taker;
        review->ok = !atomic_load(&channel->stop) &&
                     reviews_pod(channel->reviews, review->token, &review->pod, &review->err) &&
                     taker->admit(taker->context, &review->pod, &review->owner, &review->err);
        pthread_mutex_lock(&channel->lock);
        review->next = channel->reviewed;
        channel->reviewed = review;
        pthread_mutex_unlock(&channel->lock);
        lws_cancel_service(channel->context);
    }
}

static void begin_review(Channel *channel, Connection *c, ChannelWord *word)
{
    Review *review = mem_zalloc(sizeof *review);
    review->connection = c;
    review->token = TAKE(word->token);
    if (queue_put(channel->waiting, review, 1, 0) != QUEUE_OK) {
        review_free(review);
        refuse(c, "TooMany");
        return;
    }
    c->review = review;
    c->stage = STAGE_REVIEW;
    c->until_us = clock_mono_us() + REVIEW_US;
}

static void end_review(Channel *channel, Review *review)
{
    Connection *c = review->connection;
    if (c)
        c->review = NULL;
    if (c && !review->ok) {
        refuse(c, review->err.kind == ERROR_CONFIG ? review->err.code : "NotNow");
    } else if (c && !c->refused) {
        c->pod = review->pod;
        review->pod = (ChannelPod){0};
        c->owner = TAKE(review->owner);
        c->stage = STAGE_OPEN;
        c->welcome = true;
        int64_t now_us = clock_mono_us();
        c->until_us = now_us + channel->options.silence_us;
        c->look_us = now_us + LOOK_US;
        bucket_init(&c->messages, CHANNEL_MESSAGES_PER_S * 2, MESSAGES_AT_ONCE, now_us);
        c->messages.tokens = MESSAGES_AT_ONCE;
        channel->taker.joined(channel->taker.context, c->owner, c->pod.name);
        lws_callback_on_writable(c->wsi);
    }
    review_free(review);
}

/* --- keys --- */

static bool use_keys(SSL_CTX *tls, const Authority *authority)
{
    BIO *certs = BIO_new_mem_buf(authority->cert, -1), *keys = BIO_new_mem_buf(authority->key, -1);
    X509 *cert = PEM_read_bio_X509(certs, NULL, NULL, NULL), *more;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(keys, NULL, NULL, NULL);
    STACK_OF(X509) *chain = sk_X509_new_null();
    while (cert && (more = PEM_read_bio_X509(certs, NULL, NULL, NULL)))
        sk_X509_push(chain, more);
    bool good = cert && key && SSL_CTX_use_cert_and_key(tls, cert, key, chain, 1) == 1;
    sk_X509_pop_free(chain, X509_free);
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(certs);
    BIO_free(keys);
    ERR_clear_error();
    return good;
}

static void set_up_tls(Channel *channel, SSL_CTX *tls)
{
    channel->tls = tls;
    (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(tls, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_num_tickets(tls, 0);
    if (!use_keys(tls, &channel->authority))
        channel->tls = NULL;
}

static bool are_keys(const Authority *authority)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    bool good = tls && use_keys(tls, authority);
    SSL_CTX_free(tls);
    return good;
}

/* Whose the Secret is, it may be another one tomorrow. What can't be used leaves those of before in
 * use, and trusted. */
static void keys_run(void *argument)
{
    Channel *channel = argument;
    int64_t every_us = channel->options.keys_us, due_us = clock_mono_us() + every_us;
    while (api_sleep(channel->api, every_us < TICK_US ? every_us : TICK_US) &&
           !atomic_load(&channel->stop)) {
        if (clock_mono_us() < due_us)
            continue;
        due_us = clock_mono_us() + every_us;
        Authority fresh;
        Error err = {0};
        if (!channel_secret(channel->api, &channel->options, clock_wall_us() / 1000000, &fresh,
                            &err)) {
            log_warn("the channel's keys can't be looked at", LOG_T("reason", err.code),
                     LOG_T("error", err.message));
            continue;
        }
        pthread_mutex_lock(&channel->lock);
        bool same = strcmp(fresh.cert, channel->authority.cert) == 0 &&
                    strcmp(fresh.ca, channel->authority.ca) == 0;
        bool good = same || are_keys(&fresh);
        if (!same && good) {
            Authority old = channel->authority;
            channel->authority = fresh;
            fresh = old;
            channel->keys_are_new = true;
        }
        pthread_mutex_unlock(&channel->lock);
        authority_done(&fresh);
        if (!good)
            log_warn("the channel's new keys are no good: those of before stay",
                     LOG_T("secret", channel->options.secret_name));
        else if (!same)
            lws_cancel_service(channel->context);
    }
}

/* What other threads have handed over. */
static void take_handed(Channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    Review *reviewed = channel->reviewed;
    channel->reviewed = NULL;
    if (channel->keys_are_new && !use_keys(channel->tls, &channel->authority))
        log_warn("the channel's new keys can't be used");
    channel->keys_are_new = false;
    pthread_mutex_unlock(&channel->lock);
    while (reviewed) {
        Review *next = reviewed->next;
        end_review(channel, reviewed);
        reviewed = next;
    }
    if (!atomic_exchange(&channel->ordered, false))
        return;
    for (Connection *c = channel->first; c; c = c->after)
        if (c->stage == STAGE_OPEN && order_book_version(channel->orders, c->owner) != c->orders)
            lws_callback_on_writable(c->wsi);
}

/* --- a connection --- */

/* Others will come or go with it, or its next message is on its way. */
static void rush(Channel *channel)
{
    channel->rush_us = clock_mono_us() + RUSH_US;
}

static void begin(Channel *channel, Connection *c, struct lws *wsi)
{
    c->wsi = wsi;
    c->after = channel->first;
    if (c->after)
        c->after->before = c;
    channel->first = c;
    channel->connections++;
    rush(channel);
    c->stage = STAGE_HELLO;
    c->until_us = clock_mono_us() + HELLO_US;
    metric_set(channel->figures.connections, channel->connections);
    if (channel->connections > channel->connections_max)
        refuse(c, "TooMany");
}

static void end(Channel *channel, Connection *c)
{
    if (c->stage == STAGE_NEW)
        return;
    if (c->stage == STAGE_OPEN)
        channel->taker.left(channel->taker.context, c->owner, c->pod.name);
    if (c->review)
        c->review->connection = NULL;
    if (c->before)
        c->before->after = c->after;
    else
        channel->first = c->after;
    if (c->after)
        c->after->before = c->before;
    channel->connections--;
    rush(channel);
    metric_set(channel->figures.connections, channel->connections);
    bytes_done(&c->in);
    channel_pod_done(&c->pod);
    free(c->owner);
    free(c->version);
    *c = (Connection){0};
}

static void take_message(Channel *channel, Connection *c)
{
    ChannelWord word;
    Error err;
    if (c->stage == STAGE_OPEN && bucket_take(&c->messages, 1, clock_mono_us()) > 0) {
        refuse(c, "TooFast");
    } else if (!channel_take(c->in.data, c->in.used, &word, &err)) {
        refuse(c, "BadWord");
    } else {
        c->until_us = clock_mono_us() + channel->options.silence_us;
        if (c->stage == STAGE_HELLO && word.kind == CHANNEL_HELLO) {
            begin_review(channel, c, &word);
        } else if (c->stage != STAGE_OPEN || word.kind == CHANNEL_HELLO) {
            refuse(c, "BadWord"); /* not before welcome, and not twice */
        } else if (word.kind == CHANNEL_REPORT) {
            metric_add(channel->figures.reports, 1);
            if (!word.report.whole)
                rush(channel);
            channel->taker.said(channel->taker.context, c->owner, c->pod.name, &word.report);
        }
        channel_word_done(&word);
    }
    if (c->stage == STAGE_REVIEW && c->in.used) /* a token was in it */
        explicit_bzero(c->in.data, c->in.used);
    bytes_done(&c->in);
}

static int take_piece(Channel *channel, Connection *c, const void *data, size_t bytes)
{
    if (c->refused)
        return 0;
    switch (web_gather(c->wsi, &c->in, data, bytes, CHANNEL_MESSAGE_BYTES_MAX)) {
    case WEB_TOO_LARGE:
        refuse(c, "TooLarge");
        break;
    case WEB_WHOLE:
        take_message(channel, c);
        break;
    case WEB_MORE:
        break;
    }
    return 0;
}

static bool write_message(const Connection *c, Bytes *word)
{
    int bytes = (int)(word->used - LWS_PRE);
    int done = lws_write(c->wsi, word->data + LWS_PRE, (size_t)bytes, LWS_WRITE_TEXT);
    bytes_done(word);
    return done >= bytes;
}

/* -1 closes the connection. */
static int write_word(Channel *channel, Connection *c)
{
    if (c->refused) {
        lws_close_reason(c->wsi, (enum lws_close_status)CHANNEL_CLOSE_REFUSED,
                         (unsigned char *)(uintptr_t)c->refused, strlen(c->refused));
        return -1;
    }
    if (c->stage != STAGE_OPEN)
        return 0;
    uint64_t orders = order_book_version(channel->orders, c->owner);
    if (!c->welcome && orders == c->orders)
        return 0;
    Bytes word = {0};
    bytes_reserve(&word, LWS_PRE + 64);
    word.used = LWS_PRE;
    if (c->welcome) {
        channel_put_welcome(&word);
        c->welcome = false;
        if (orders) /* one message at a time */
            lws_callback_on_writable(c->wsi);
    } else {
        order_book_put(channel->orders, c->owner, &word);
        c->orders = orders;
    }
    return write_message(c, &word) ? 0 : -1;
}

static void look_at(Channel *channel, Connection *c, int64_t now_us)
{
    if (c->refused) {
        /* It does not read, so it is never told. */
        if (now_us > c->until_us)
            lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
        return;
    }
    if (now_us > c->until_us) {
        refuse(c, c->stage == STAGE_OPEN     ? "Silent"
                  : c->stage == STAGE_REVIEW ? "NotNow"
                                             : "NoHello");
    } else if (c->stage == STAGE_OPEN && now_us > c->look_us) {
        c->look_us = now_us + LOOK_US;
        if (!channel->taker.stands(channel->taker.context, &c->pod, c->owner, &c->version))
            refuse(c, "PodGone");
    }
}

static void tick(lws_sorted_usec_list_t *sul)
{
    Channel *channel = lws_container_of(sul, Channel, tick);
    int64_t now_us = clock_mono_us();
    for (Connection *c = channel->first, *after; c; c = after) {
        after = c->after;
        look_at(channel, c, now_us);
    }
    lws_sul_schedule(channel->context, 0, &channel->tick, tick, TICK_US);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    Channel *channel = lws_context_user(lws_get_context(wsi));
    Connection *c = user;
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        set_up_tls(channel, user);
        return channel->tls ? 0 : 1;
    case LWS_CALLBACK_ESTABLISHED:
        begin(channel, c, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return take_piece(channel, c, in, bytes);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return write_word(channel, c);
    case LWS_CALLBACK_CLOSED:
        end(channel, c);
        return 0;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        take_handed(channel);
        return 0;
    case LWS_CALLBACK_HTTP:
        return -1; /* nothing but WebSockets */
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, bytes);
    }
}

/* --- beginning and end --- */

/* libwebsockets gives back all that it has only when no connection is left. */
static void close_all(Channel *channel)
{
    int64_t until_us = clock_mono_us() + CLOSE_US;
    for (Connection *c = channel->first; c; c = c->after)
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
    while (channel->first && clock_mono_us() < until_us && lws_service(channel->context, 0) >= 0) {
    }
}

static void serve(void *argument)
{
    Channel *channel = argument;
    /* Each round asks the kernel about every connection: the more there are, the seldomer. A word
     * can wait for others to be asked about with it; who connects can't, for many do so at once. */
    while (!atomic_load(&channel->stop) && lws_service(channel->context, 0) >= 0) {
        int64_t pace_us = (int64_t)channel->connections * PACE_EACH_US;
        if (clock_mono_us() > channel->rush_us)
            clock_sleep_us(pace_us < PACE_MOST_US ? pace_us : PACE_MOST_US);
    }
    close_all(channel);
}

static unsigned connections_max(const ChannelOptions *options)
{
    struct rlimit limit;
    unsigned most = options->connections_max ? options->connections_max : CONNECTIONS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < most + DESCRIPTORS_OF_OTHERS)
        most = limit.rlim_cur > 2 * DESCRIPTORS_OF_OTHERS
                   ? (unsigned)limit.rlim_cur - DESCRIPTORS_OF_OTHERS
                   : (unsigned)limit.rlim_cur / 2;
    return most;
}

/* libwebsockets would say no more than that it did not begin. */
static bool check_keys(const Channel *channel, Error *err)
{
    return are_keys(&channel->authority) ||
           error_set(err, ERROR_CONFIG, "BadKeys",
                     "Secret %s has a tls.key that is not its tls.crt's, or one of them can't be "
                     "read: put keys for --channel there",
                     channel->options.secret_name);
}

static bool listen_on(Channel *channel, Error *err)
{
    static const struct lws_protocols protocols[] = {
        {.name = CHANNEL_PROTOCOL,
         .callback = on_event,
         .per_session_data_size = sizeof(Connection),
         .rx_buffer_size = MESSAGE_PIECE_BYTES},
        {.name = NULL},
    };
    struct lws_context_creation_info info = {
        .port = channel->options.port,
        .iface = channel->options.address,
        .protocols = protocols,
        .user = channel,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX,
        .provided_client_ssl_ctx = channel->no_tls,
        .pt_serv_buf_size = PIECE_BYTES_MAX,
        .max_http_header_data = HEADER_BYTES_MAX,
        .max_http_header_pool = 256,
        .timeout_secs = TIMEOUT_S,
    };
    channel->context = web_listen(&info, "--channel", &channel->port, err);
    if (!channel->context)
        return false;
    lws_sul_schedule(channel->context, 0, &channel->tick, tick, TICK_US);
    return true;
}

void channel_stop(Channel *channel)
{
    if (!channel)
        return;
    atomic_store(&channel->stop, true);
    queue_close(channel->waiting);
    if (channel->context)
        lws_cancel_service(channel->context);
    thread_join(channel->thread);
    thread_join(channel->keys);
    for (size_t i = 0; i < REVIEWERS; i++)
        thread_join(channel->reviewers[i]);
    if (channel->context)
        lws_context_destroy(channel->context);
    while (channel->reviewed) {
        Review *next = channel->reviewed->next;
        review_free(channel->reviewed);
        channel->reviewed = next;
    }
    SSL_CTX_free(channel->no_tls);
    queue_free(channel->waiting);
    reviews_free(channel->reviews);
    order_book_free(channel->orders);
    authority_done(&channel->authority);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

Channel *channel_start(Api *api, const ChannelOptions *options, const ChannelTaker *taker,
                       Error *err)
{
    Channel *channel = mem_zalloc(sizeof *channel);
    channel->api = api;
    channel->options = *options;
    if (!options->silence_us)
        channel->options.silence_us = SILENCE_US;
    if (!options->keys_us)
        channel->options.keys_us = KEYS_US;
    channel->taker = *taker;
    channel->connections_max = connections_max(options);
    pthread_mutex_init(&channel->lock, NULL);
    channel->no_tls = SSL_CTX_new(TLS_client_method());
    ASSERT(channel->no_tls);
    channel->reviews = reviews_new(api);
    channel->orders = order_book_new();
    channel->waiting = queue_new(REVIEWS_WAIT_MAX, REVIEWS_WAIT_MAX, review_free);
    channel->figures = (Figures){
        metrics_register(METRIC_GAUGE, "firn_channel_connections", "Agents that are connected", ""),
        metrics_register(METRIC_COUNTER, "firn_channel_reports_total", "Reports of agents", ""),
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        (void)refusals_of(reasons[i]);
    if (!channel_secret(api, &channel->options, clock_wall_us() / 1000000, &channel->authority,
                        err) ||
        !check_keys(channel, err) || !listen_on(channel, err)) {
        channel_stop(channel);
        return NULL;
    }
    channel->thread = thread_start("channel", serve, channel);
    channel->keys = thread_start("channel-keys", keys_run, channel);
    for (size_t i = 0; i < REVIEWERS; i++)
        channel->reviewers[i] = thread_start("review", review_run, channel);
    lws_cancel_service(channel->context);
    return channel;
}

void channel_order(Channel *channel, const char *owner, const ChannelOrders *orders)
{
    if (!order_book_set(channel->orders, owner, orders))
        return;
    atomic_store(&channel->ordered, true);
    lws_cancel_service(channel->context);
}

uint16_t channel_port(const Channel *channel)
{
    return channel->port;
}

char *channel_trust(Channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    char *pem = mem_strdup(channel->authority.ca);
    pthread_mutex_unlock(&channel->lock);
    return pem;
}
