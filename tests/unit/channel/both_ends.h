/* An API server that knows one Secret and reviews tokens, the operator's end of the channel, and
 * what comes out of it; real TLS on 127.0.0.1. */
#pragma once

#include <jansson.h>
#include <unistd.h>

#include "agent/channel/channel.h"
#include "common/clock.h"
#include "common/log.h"
#include "operator/channel/channel.h"
#include "tests/unit/http_script.h"
#include "tests/unit/tls_script.h"

#define WAIT_US INT64_C(60000000)
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until_us_ = clock_mono_us() + WAIT_US;                                             \
        while (!(condition) && clock_mono_us() < until_us_)                                        \
            clock_sleep_us(2000);                                                                  \
        assert_true(condition);                                                                    \
    } while (0)

typedef struct Heard {
    int joined, left, reports, tables;
    char owner[64], pod[64], phase[16], reason[64];
    int64_t lag, rows;
    bool whole;
} Heard;

typedef struct World {
    SSL_CTX *tls;
    Script *script;
    Api *api;
    Channel *channel;
    ChannelClient *client;
    char folder[64], ca_file[96], token_file[96];
    pthread_mutex_t lock;
    json_t *secret;               /* as it was written */
    int reviews, versions, looks; /* at the Secret */
    bool conflicts;               /* another operator is quicker, once */
    bool down;                    /* the API server can't review */
    bool pod_is_gone;             /* for whoever asks again */
    Heard heard;
    _Atomic int64_t lag;
    void (*ordered)(void *context, const ChannelOrders *orders);
    ChannelOptions options;
} World;

UNUSED static void reply_json(Bytes *reply, int status, const char *body)
{
    reply_with(reply, status, "", body, strlen(body));
}

/* "good:<pod>", "elsewhere", "node"; all others are not valid. */
static void review_token(const char *token, Bytes *reply)
{
    AUTO(mem_free) char *text = NULL;
    if (strncmp(token, "good:", 5) == 0)
        text = mem_format("{\"kind\":\"TokenReview\",\"status\":{\"authenticated\":true,"
                          "\"audiences\":[\"firn-channel\"],\"user\":{\"username\":"
                          "\"system:serviceaccount:retail:shop-capture\",\"extra\":{"
                          "\"authentication.kubernetes.io/pod-name\":[\"%s\"],"
                          "\"authentication.kubernetes.io/pod-uid\":[\"u-%s\"]}}}}",
                          token + 5, token + 5);
    else if (strcmp(token, "elsewhere") == 0)
        text = mem_strdup("{\"status\":{\"authenticated\":true,\"audiences\":[\"vault\"],\"user\":"
                          "{\"username\":\"system:serviceaccount:retail:shop-capture\"}}}");
    else if (strcmp(token, "node") == 0)
        text = mem_strdup("{\"status\":{\"authenticated\":true,\"audiences\":[\"firn-channel\"],"
                          "\"user\":{\"username\":\"system:node:one\"}}}");
    else
        text = mem_strdup("{\"status\":{\"authenticated\":false,\"error\":\"expired\"}}");
    reply_json(reply, 201, text);
}

static void answer_secret(World *world, const Asked *asked, Bytes *reply)
{
    world->looks += strcmp(asked->method, "GET") == 0;
    if (strcmp(asked->method, "GET") == 0 && !world->secret) {
        reply_json(reply, 404, "{\"reason\":\"NotFound\",\"message\":\"no\"}");
        return;
    }
    if (strcmp(asked->method, "GET") != 0) {
        bool conflicts = world->conflicts;
        json_t *body = json_loads((const char *)asked->body.data, 0, NULL);
        AUTO(mem_free) char *version = mem_format("%d", ++world->versions);
        json_object_set_new(json_object_get(body, "metadata"), "resourceVersion",
                            json_string(version));
        json_decref(world->secret);
        world->secret = body;
        world->conflicts = false;
        if (conflicts) {
            reply_json(reply, 409, "{\"reason\":\"AlreadyExists\",\"message\":\"there\"}");
            return;
        }
    }
    AUTO(mem_free) char *text = json_dumps(world->secret, 0);
    reply_json(reply, 200, text);
}

static Then api_server(void *context, const Asked *asked, Bytes *reply)
{
    World *world = context;
    pthread_mutex_lock(&world->lock);
    if (strstr(asked->target, "/secrets")) {
        answer_secret(world, asked, reply);
    } else if (strstr(asked->target, "/tokenreviews") && world->down) {
        reply_json(reply, 503, "{\"reason\":\"ServiceUnavailable\",\"message\":\"down\"}");
    } else if (strstr(asked->target, "/tokenreviews")) {
        json_t *body = json_loads((const char *)asked->body.data, 0, NULL);
        json_t *spec = json_object_get(body, "spec");
        world->reviews++;
        assert_string_equal(
            json_string_value(json_array_get(json_object_get(spec, "audiences"), 0)),
            "firn-channel");
        review_token(json_string_value(json_object_get(spec, "token")), reply);
        json_decref(body);
    }
    pthread_mutex_unlock(&world->lock);
    return THEN_KEEP;
}

/* --- what the operator does with it --- */

static bool world_admit(void *context, const ChannelPod *pod, char **ret_owner, Error *err)
{
    World *world = context;
    pthread_mutex_lock(&world->lock);
    bool gone = world->pod_is_gone;
    pthread_mutex_unlock(&world->lock);
    assert_string_equal(pod->namespace_name, "retail");
    assert_string_equal(pod->account, "shop-capture");
    assert_int_equal(strncmp(pod->uid, "u-", 2), 0);
    if (gone || strncmp(pod->name, "shop", 4) != 0)
        return error_set(err, ERROR_CONFIG, "ForeignPod", "not an agent's");
    *ret_owner = mem_strdup("c/retail/shop");
    return true;
}

static void world_joined(void *context, const char *owner, const char *pod)
{
    World *world = context;
    pthread_mutex_lock(&world->lock);
    world->heard.joined++;
    snprintf(world->heard.owner, sizeof world->heard.owner, "%s", owner);
    snprintf(world->heard.pod, sizeof world->heard.pod, "%s", pod);
    pthread_mutex_unlock(&world->lock);
}

static void world_left(void *context, const char *owner, const char *pod)
{
    World *world = context;
    (void)owner, (void)pod;
    pthread_mutex_lock(&world->lock);
    world->heard.left++;
    pthread_mutex_unlock(&world->lock);
}

static void world_said(void *context, const char *owner, const char *pod, ChannelReport *report)
{
    World *world = context;
    Heard *heard = &world->heard;
    (void)owner, (void)pod;
    pthread_mutex_lock(&world->lock);
    heard->reports++;
    heard->tables += (int)report->table_count;
    heard->whole = heard->whole || report->whole;
    if (report->has_flow) {
        snprintf(heard->phase, sizeof heard->phase, "%s", report->flow.phase);
        snprintf(heard->reason, sizeof heard->reason, "%s", report->flow.reason);
        heard->lag = report->flow.lag_bytes;
    }
    for (size_t i = 0; i < report->table_count; i++)
        if (strcmp(report->tables[i].unit, "orders") == 0)
            heard->rows = report->tables[i].rows;
    pthread_mutex_unlock(&world->lock);
}

UNUSED static Heard heard_of(World *world)
{
    pthread_mutex_lock(&world->lock);
    Heard heard = world->heard;
    pthread_mutex_unlock(&world->lock);
    return heard;
}

/* --- its life --- */

UNUSED static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

UNUSED static void world_listen(World *world)
{
    Error err = {0};
    ChannelTaker taker = {.admit = world_admit,
                          .joined = world_joined,
                          .said = world_said,
                          .left = world_left,
                          .context = world};
    world->channel = channel_start(world->api, &world->options, &taker, &err);
    if (!world->channel)
        fail_msg("%s: %s", err.code, err.message);
    AUTO(mem_free) char *trust = channel_trust(world->channel);
    write_file(world->ca_file, trust);
    world->options.port = channel_port(world->channel);
}

UNUSED static void world_start(World *world)
{
    *world = (World){.options = {.address = "127.0.0.1",
                                 .host = "localhost",
                                 .secret_namespace = "firn-system",
                                 .secret_name = "firn-channel"}};
    log_setup(LOG_ERROR, LOG_LOGFMT);
    pthread_mutex_init(&world->lock, NULL);
    ApiConfig *config = mem_zalloc(sizeof *config);
    world->tls = tls_with(&config->ca_pem);
    world->script = script_start(api_server, world, world->tls);
    config->server = mem_format("https://127.0.0.1:%u", world->script->port);
    config->token = mem_strdup("t0ken");
    world->api = api_new(config);
    snprintf(world->folder, sizeof world->folder, "/tmp/firn-channel-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->ca_file, sizeof world->ca_file, "%s/ca.crt", world->folder);
    snprintf(world->token_file, sizeof world->token_file, "%s/token", world->folder);
}

static void world_flow(void *context, ChannelFlow *flow)
{
    World *world = context;
    snprintf(flow->phase, sizeof flow->phase, "Streaming");
    flow->lag_bytes = atomic_load(&world->lag);
}

UNUSED static void world_report(World *world, const char *token)
{
    write_file(world->token_file, token);
    world->client = channel_client_start(&(ChannelClientOptions){.host = "localhost",
                                                                 .port = world->options.port,
                                                                 .ca_file = world->ca_file,
                                                                 .token_file = world->token_file,
                                                                 .report_us = 100000,
                                                                 .flow = world_flow,
                                                                 .ordered = world->ordered,
                                                                 .context = world});
}

UNUSED static void world_stop(World *world)
{
    channel_client_stop(world->client);
    api_stop(world->api);
    channel_stop(world->channel);
    api_free(world->api);
    script_stop(world->script);
    SSL_CTX_free(world->tls);
    json_decref(world->secret);
    (void)unlink(world->ca_file);
    (void)unlink(world->token_file);
    assert_int_equal(rmdir(world->folder), 0);
    pthread_mutex_destroy(&world->lock);
}

/* --- a peer that is not ours: WebSocket by hand --- */

typedef struct Peer {
    SSL_CTX *tls;
    SSL *ssl;
    int fd;
} Peer;

UNUSED static Peer peer_open(const World *world)
{
    Peer peer = {.tls = SSL_CTX_new(TLS_client_method())};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(world->options.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&to, sizeof to), 0);
    struct timeval limit = {.tv_sec = 60};
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    peer.ssl = SSL_new(peer.tls);
    SSL_set_fd(peer.ssl, peer.fd);
    assert_int_equal(SSL_connect(peer.ssl), 1);
    static const char upgrade[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: firn.channel\r\n\r\n";
    assert_true(SSL_write(peer.ssl, upgrade, sizeof upgrade - 1) > 0);
    char head[1024] = "";
    size_t used = 0;
    while (used < sizeof head - 1 && !strstr(head, "\r\n\r\n"))
        assert_int_equal(SSL_read(peer.ssl, head + used++, 1), 1);
    assert_non_null(strstr(head, " 101 "));
    return peer;
}

/* first: FIN and opcode. Ignores that the other side may have closed. */
UNUSED static void peer_send(Peer *peer, uint8_t first, const void *data, size_t bytes)
{
    Bytes frame = {0};
    bytes_put_u8(&frame, first);
    if (bytes < 126) {
        bytes_put_u8(&frame, (uint8_t)(0x80 | bytes));
    } else {
        bytes_put_u8(&frame, 0x80 | 127);
        bytes_put_u64be(&frame, bytes);
    }
    bytes_put_u32(&frame, 0); /* the mask */
    bytes_put(&frame, data, bytes);
    (void)SSL_write(peer->ssl, frame.data, (int)frame.used);
    bytes_done(&frame);
}

/* The next frame's opcode, its payload in text; 0: the connection ended. */
UNUSED static int peer_take(Peer *peer, char *text, size_t text_bytes)
{
    uint8_t head[2];
    memset(text, 0, text_bytes);
    for (size_t i = 0; i < 2; i++)
        if (SSL_read(peer->ssl, head + i, 1) != 1)
            return 0;
    size_t bytes = head[1] & 0x7f;
    assert_true(bytes < 126 && bytes < text_bytes);
    for (size_t i = 0; i < bytes; i++)
        if (SSL_read(peer->ssl, text + i, 1) != 1)
            return 0;
    return head[0] & 0x0f;
}

/* Waits for the close frame and its reason. */
UNUSED static void peer_is_refused(Peer *peer, const char *reason)
{
    char text[128];
    int kind;
    while ((kind = peer_take(peer, text, sizeof text)) != 0 && kind != 8) {
    }
    assert_int_equal(kind, 8);
    assert_int_equal((uint8_t)text[0] << 8 | (uint8_t)text[1], 1008);
    assert_string_equal(text + 2, reason);
}

UNUSED static void peer_close(Peer *peer)
{
    SSL_free(peer->ssl);
    close(peer->fd);
    SSL_CTX_free(peer->tls);
}
