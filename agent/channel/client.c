/* One attempt after the other, each with a context of libwebsockets' of its own: what it trusts and
 * the token are read anew, and so are the addresses behind the operator's name, of which one is
 * that of who works. All of them are tried before the next pause. */
#include <arpa/inet.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

#include "agent/channel/channel.h"
#include "common/clock.h"
#include "common/http/web.h"
#include "common/log.h"
#include "common/thread.h"

#define PAUSE_MIN_US INT64_C(250000)
#define PAUSE_MAX_US INT64_C(3000000)
#define STEADY_US INT64_C(10000000) /* who was heard so long begins with short pauses again */
#define CONNECT_S 3
#define HEARD_US INT64_C(15000000) /* to be heard after connecting: the token is reviewed */
#define CLOSE_US INT64_C(1000000)
/* An operator that is frozen, or whose node is gone, is followed by another after the lease's 10 s;
 * that one is found within 10 s more. One that ends says so. */
#define PING_S 9
#define DEAD_S 14
#define DESCRIPTORS_MAX 16
#define ADDRESSES_MAX 16
#define FILE_BYTES_MAX ((size_t)65536)
#define TABLE_BYTES 300 /* of a message, with all its numbers */

typedef enum Stage { STAGE_CONNECTING, STAGE_CONNECTED, STAGE_HEARD, STAGE_ENDED } Stage;

struct ChannelClient {
    ChannelClientOptions options;
    Thread *thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* over context, heard and reason */
    struct lws_context *context;
    bool heard;
    char reason[64]; /* why not */
    bool said;       /* in the log, that nobody hears */
    uint64_t attempt;
    /* Of an attempt. */
    struct lws *wsi;
    Stage stage;
    int64_t until_us, heard_us, told_us;
    char *token;
    Bytes in, out; /* out: with LWS_PRE bytes before the message; empty: there is none */
    Gathered gathered;
    ChannelFlow told;
    bool whole; /* all tables were told */
    size_t at;  /* the table to go on with */
    lws_sorted_usec_list_t tick;
    double messages; /* that may be sent now */
};

static void note(ChannelClient *client, const char *reason)
{
    pthread_mutex_lock(&client->lock);
    snprintf(client->reason, sizeof client->reason, "%.63s", reason);
    pthread_mutex_unlock(&client->lock);
}

/* --- files --- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = mem_zalloc(FILE_BYTES_MAX + 1);
    size_t bytes = fread(text, 1, FILE_BYTES_MAX, file);
    fclose(file);
    while (bytes && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        text[--bytes] = '\0';
    if (bytes)
        return text;
    free(text);
    return NULL;
}

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

/* What it trusts, and nothing else. NULL: there is no such file. */
static SSL_CTX *tls_of(const char *ca_file)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    ASSERT(tls && SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION));
    if (SSL_CTX_load_verify_locations(tls, ca_file, NULL) == 1)
        return tls;
    SSL_CTX_free(tls);
    return NULL;
}

/* --- what is told --- */

static void begin_message(ChannelClient *client)
{
    bytes_clear(&client->out);
    bytes_reserve(&client->out, LWS_PRE);
    client->out.used = LWS_PRE;
}

static bool is_new(const ChannelClient *client, const GatheredTable *table, const ChannelTable *now)
{
    return table->told_on != client->attempt || !channel_numbers_equal(&table->told, now);
}

/* As many of the tables that are new as fit. */
static void add_tables(ChannelClient *client, ChannelReport *report)
{
    Gathered *gathered = &client->gathered;
    size_t bytes = 0, looked = 0;
    for (; looked < gathered->table_count && report->table_count < CHANNEL_TABLES_MAX; looked++) {
        if (client->at >= gathered->table_count)
            client->at = 0;
        GatheredTable *table = &gathered->tables[client->at];
        ChannelTable now;
        gathered_read(table, &now);
        if (is_new(client, table, &now)) {
            /* six bytes are the most that one of a text becomes */
            bytes += TABLE_BYTES + 6 * (strlen(table->unit) + strlen(table->table));
            if (report->table_count && bytes > CHANNEL_MESSAGE_BYTES_MAX - 8192)
                break;
            report->tables[report->table_count++] = now;
            table->told = now;
            table->told_on = client->attempt;
        }
        client->at++;
    }
    client->whole = client->whole || looked == gathered->table_count;
    report->whole = client->whole;
}

/* Whether there was anything to tell. */
static bool prepare_report(ChannelClient *client)
{
    ChannelTable tables[CHANNEL_TABLES_MAX];
    ChannelReport report = {.tables = tables};
    ChannelFlow *flow = &report.flow;
    int64_t now_us = clock_mono_us();
    bool was_whole = client->whole;
    channel_flow_clear(flow);
    gathered_look(&client->gathered);
    gathered_flow(&client->gathered, flow);
    client->options.flow(client->options.context, flow);
    report.has_flow = !channel_flow_equals(flow, &client->told) ||
                      now_us - client->told_us >= CHANNEL_SILENCE_S * INT64_C(1000000);
    add_tables(client, &report);
    bool any = report.has_flow || report.table_count || client->whole != was_whole;
    if (any) {
        begin_message(client);
        channel_put_report(&client->out, &report);
        channel_flow_copy(&client->told, flow);
        client->told_us = now_us;
    }
    channel_flow_done(flow);
    return any;
}

static void tell(ChannelClient *client)
{
    if (client->stage != STAGE_HEARD || client->out.used || client->messages < 1 ||
        !prepare_report(client))
        return;
    client->messages--;
    lws_callback_on_writable(client->wsi);
}

static void tick(lws_sorted_usec_list_t *sul)
{
    ChannelClient *client = lws_container_of(sul, ChannelClient, tick);
    int64_t every_us = client->options.report_us ? client->options.report_us : CHANNEL_REPORT_US;
    if (client->stage == STAGE_ENDED)
        return;
    if (client->stage != STAGE_HEARD && clock_mono_us() > client->until_us) {
        note(client, "Timeout");
        client->stage = STAGE_ENDED;
        return;
    }
    client->messages = CHANNEL_MESSAGES_PER_S;
    tell(client);
    lws_sul_schedule(client->context, 0, &client->tick, tick, every_us);
}

/* --- the connection --- */

static void become_heard(ChannelClient *client)
{
    client->stage = STAGE_HEARD;
    client->heard_us = clock_mono_us();
    pthread_mutex_lock(&client->lock);
    client->heard = true;
    client->reason[0] = '\0';
    pthread_mutex_unlock(&client->lock);
    client->said = false;
    log_info("the operator hears", LOG_T("host", client->options.host));
    tell(client);
}

static int take_piece(ChannelClient *client, struct lws *wsi, const void *data, size_t bytes)
{
    ChannelWord word;
    Error err = {0};
    WebMessage message = web_gather(wsi, &client->in, data, bytes, CHANNEL_MESSAGE_BYTES_MAX);
    if (message == WEB_TOO_LARGE)
        note(client, "TooLarge");
    if (message != WEB_WHOLE)
        return message == WEB_TOO_LARGE ? -1 : 0;
    bool good = channel_take(client->in.data, client->in.used, &word, &err);
    bytes_clear(&client->in);
    if (!good) {
        note(client, err.code);
        return -1;
    }
    if (word.kind == CHANNEL_WELCOME && client->stage == STAGE_CONNECTED)
        become_heard(client);
    else if (word.kind == CHANNEL_ORDERS && client->stage == STAGE_HEARD && client->options.ordered)
        client->options.ordered(client->options.context, &word.orders);
    channel_word_done(&word);
    return 0;
}

static int write_message(ChannelClient *client, struct lws *wsi)
{
    size_t bytes = client->out.used ? client->out.used - LWS_PRE : 0;
    if (!bytes)
        return 0;
    int done = lws_write(wsi, client->out.data + LWS_PRE, bytes, LWS_WRITE_TEXT);
    if (client->stage == STAGE_CONNECTED) /* a token was in it */
        explicit_bzero(client->out.data, client->out.used);
    bytes_done(&client->out);
    if (done < (int)bytes)
        return -1;
    tell(client); /* of many tables there is more */
    return 0;
}

static void take_close(ChannelClient *client, const uint8_t *data, size_t bytes)
{
    char reason[64] = "Closed";
    if (bytes > 2)
        snprintf(reason, sizeof reason, "%.*s", (int)(bytes - 2), (const char *)data + 2);
    note(client, reason);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    ChannelClient *client = lws_context_user(lws_get_context(wsi));
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        client->stage = STAGE_CONNECTED;
        client->until_us = clock_mono_us() + HEARD_US;
        begin_message(client);
        channel_put_hello(&client->out, client->token, FIRN_VERSION);
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return take_piece(client, wsi, in, bytes);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return write_message(client, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        take_close(client, in, bytes);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        note(client, in && strstr(in, "cert") ? "BadCertificate" : "Unreachable");
        client->stage = STAGE_ENDED;
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        client->stage = STAGE_ENDED;
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, bytes);
    }
}

static bool make_context(ChannelClient *client, SSL_CTX *tls)
{
    static const struct lws_protocols protocols[] = {
        {.name = CHANNEL_PROTOCOL, .callback = on_event, .rx_buffer_size = 4096},
        {.name = NULL},
    };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .user = client,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .provided_client_ssl_ctx = tls,
        .fd_limit_per_thread = DESCRIPTORS_MAX,
        .timeout_secs = CONNECT_S,
        .connect_timeout_secs = CONNECT_S,
    };
    struct lws_context *context = web_context(&info);
    pthread_mutex_lock(&client->lock);
    client->context = context;
    pthread_mutex_unlock(&client->lock);
    return context;
}

static void connect_to(ChannelClient *client, const char *address)
{
    static const uint32_t none[] = {0};
    static const lws_retry_bo_t alive = {
        .retry_ms_table = none, .secs_since_valid_ping = PING_S, .secs_since_valid_hangup = DEAD_S};
    struct lws_client_connect_info info = {
        .context = client->context,
        .address = address,
        .port = client->options.port,
        .ssl_connection = LCCSCF_USE_SSL,
        .path = "/",
        .host = client->options.host,
        .origin = client->options.host,
        .protocol = CHANNEL_PROTOCOL,
        .local_protocol_name = CHANNEL_PROTOCOL,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &alive,
        .pwsi = &client->wsi,
    };
    client->stage = STAGE_CONNECTING;
    client->until_us = clock_mono_us() + (CONNECT_S + 1) * INT64_C(1000000);
    lws_sul_schedule(client->context, 0, &client->tick, tick, CHANNEL_REPORT_US);
    if (!lws_client_connect_via_info(&info))
        client->stage = STAGE_ENDED;
}

/* libwebsockets gives back all that it has only when no connection is left. */
static void close_it(ChannelClient *client)
{
    int64_t until_us = clock_mono_us() + CLOSE_US;
    if (client->stage != STAGE_ENDED && client->wsi)
        lws_set_timeout(client->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
    while (client->stage != STAGE_ENDED && client->wsi && clock_mono_us() < until_us &&
           lws_service(client->context, 0) >= 0) {
    }
    client->stage = STAGE_ENDED;
}

/* One connection, from its beginning to its end. True: it was heard for a while. */
static bool attempt(ChannelClient *client, const char *address)
{
    SSL_CTX *tls = tls_of(client->options.ca_file);
    client->token = read_file(client->options.token_file);
    client->attempt++;
    client->heard_us = client->told_us = 0;
    client->whole = false;
    client->at = 0;
    channel_flow_done(&client->told);
    channel_flow_clear(&client->told);
    if (!tls || !client->token) {
        note(client, tls ? "NoToken" : "NoTrust");
    } else if (make_context(client, tls)) {
        connect_to(client, address);
        while (client->stage != STAGE_ENDED && !atomic_load(&client->stop) &&
               lws_service(client->context, 0) >= 0) {
        }
        close_it(client);
        lws_sul_cancel(&client->tick); /* it would go on standing in a list of the context's */
        struct lws_context *context = client->context;
        pthread_mutex_lock(&client->lock);
        client->context = NULL;
        client->heard = false;
        pthread_mutex_unlock(&client->lock);
        lws_context_destroy(context);
    }
    bytes_done(&client->in);
    bytes_done(&client->out);
    wipe(&client->token);
    SSL_CTX_free(tls);
    return client->heard_us && clock_mono_us() - client->heard_us > STEADY_US;
}

/* Each address behind the name once. */
static bool attempt_all(ChannelClient *client)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];
    bool steady = false;
    snprintf(port, sizeof port, "%u", client->options.port);
    if (getaddrinfo(client->options.host, port, &hints, &list) != 0) {
        note(client, "NoAddress");
        return false;
    }
    int count = 0;
    for (const struct addrinfo *one = list;
         one && !steady && count < ADDRESSES_MAX && !atomic_load(&client->stop);
         one = one->ai_next, count++) {
        char address[INET_ADDRSTRLEN];
        const struct sockaddr_in *to = (const struct sockaddr_in *)(const void *)one->ai_addr;
        if (inet_ntop(AF_INET, &to->sin_addr, address, sizeof address))
            steady = attempt(client, address);
    }
    freeaddrinfo(list);
    return steady;
}

static void pause_for(ChannelClient *client, int64_t us)
{
    int64_t until_us = clock_mono_us() + us;
    while (!atomic_load(&client->stop) && clock_mono_us() < until_us)
        clock_sleep_us(20000);
}

/* From half of it to all of it, so that not all agents come at once. */
static int64_t scattered(int64_t us)
{
    uint32_t chance = 0;
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        return us;
    return us / 2 + (int64_t)(chance % 1000) * (us / 2) / 1000;
}

static void run(void *argument)
{
    ChannelClient *client = argument;
    int64_t pause_us = PAUSE_MIN_US;
    while (!atomic_load(&client->stop)) {
        bool steady = attempt_all(client);
        if (atomic_load(&client->stop))
            break;
        if (!client->said)
            log_warn("the operator does not hear: going on, and trying again",
                     LOG_T("host", client->options.host), LOG_T("reason", client->reason));
        client->said = true;
        if (steady)
            pause_us = PAUSE_MIN_US;
        pause_for(client, scattered(pause_us));
        pause_us = pause_us * 2 < PAUSE_MAX_US ? pause_us * 2 : PAUSE_MAX_US;
    }
}

bool channel_client_is_heard(ChannelClient *client, char *ret_reason)
{
    pthread_mutex_lock(&client->lock);
    bool heard = client->heard;
    memcpy(ret_reason, client->reason, sizeof client->reason);
    pthread_mutex_unlock(&client->lock);
    return heard;
}

void channel_client_stop(ChannelClient *client)
{
    if (!client)
        return;
    atomic_store(&client->stop, true);
    pthread_mutex_lock(&client->lock);
    if (client->context)
        lws_cancel_service(client->context);
    pthread_mutex_unlock(&client->lock);
    thread_join(client->thread);
    channel_flow_done(&client->told);
    gathered_done(&client->gathered);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

ChannelClient *channel_client_start(const ChannelClientOptions *options)
{
    ChannelClient *client = mem_zalloc(sizeof *client);
    client->options = *options;
    pthread_mutex_init(&client->lock, NULL);
    client->thread = thread_start("channel", run, client);
    return client;
}
