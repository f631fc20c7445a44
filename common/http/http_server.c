/* The server belongs to whoever started it; everything of libwebsockets but lws_cancel_service
 * happens in its own thread. It is kept small: 64 descriptors (more connections wait, or are
 * reset), headers of at most 2 KiB, no keep-alive, a body written in pieces. */
#include "common/http/http_server.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/http/web.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define DESCRIPTORS_MAX 64
#define HEADER_BYTES_MAX 2048
#define PIECE_BYTES_MAX 4096
#define TIMEOUT_S 5

struct HttpServer {
    HttpHealth health;
    struct lws_context *context;
    Thread *thread;
    atomic_bool stop;
    uint16_t port;
};

/* What libwebsockets keeps for each connection, zeroed. */
typedef struct Answer {
    Bytes body;
    size_t sent;
} Answer;

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static unsigned int answer_health(const HttpServer *server,
                                  bool (*ask)(void *context, char *text, size_t text_bytes),
                                  Bytes *body)
{
    char text[512] = "";
    bool good = ask(server->health.context, text, sizeof text);
    put_text(body, *text ? text : good ? "ok" : "not ok");
    bytes_put_u8(body, '\n');
    return good ? HTTP_STATUS_OK : HTTP_STATUS_SERVICE_UNAVAILABLE;
}

static unsigned int answer_of(const HttpServer *server, bool get, const char *path,
                              const char **ret_type, Bytes *body)
{
    bool health = strcmp(path, "/healthz") == 0, ready = strcmp(path, "/readyz") == 0;
    bool metrics = strcmp(path, "/metrics") == 0;
    *ret_type = "text/plain; charset=utf-8";
    if (!health && !ready && !metrics) {
        put_text(body, "not found: there are /healthz, /readyz and /metrics\n");
        return HTTP_STATUS_NOT_FOUND;
    }
    if (!get) {
        put_text(body, "method not allowed: GET only\n");
        return HTTP_STATUS_METHOD_NOT_ALLOWED;
    }
    if (!metrics)
        return answer_health(server, ready ? server->health.ready : server->health.healthy, body);
    *ret_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(body);
    return HTTP_STATUS_OK;
}

static bool add_header(struct lws *wsi, enum lws_token_indexes token, const char *value,
                       unsigned char **at, unsigned char *end)
{
    return lws_add_http_header_by_token(wsi, token, (const unsigned char *)value,
                                        (int)strlen(value), at, end) == 0;
}

/* -1 closes the connection. (1 does so in most callbacks of libwebsockets, but not when writable:
 * the connection then stays, is polled for reading and never read, and the thread spins.) */
static int begin_answer(struct lws *wsi, Answer *answer, const char *path)
{
    const HttpServer *server = lws_context_user(lws_get_context(wsi));
    unsigned char buffer[LWS_PRE + 1024];
    unsigned char *start = buffer + LWS_PRE, *at = start, *end = buffer + sizeof buffer;
    bool get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    const char *type;
    bytes_clear(&answer->body);
    answer->sent = 0;
    bytes_reserve(&answer->body, LWS_PRE);
    answer->body.used = LWS_PRE; /* libwebsockets writes its framing before the data */
    unsigned int status = answer_of(server, get, path, &type, &answer->body);
    answer->sent = LWS_PRE;
    if (lws_add_http_header_status(wsi, status, &at, end) ||
        !add_header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, type, &at, end) ||
        lws_add_http_header_content_length(wsi, answer->body.used - answer->sent, &at, end) ||
        !add_header(wsi, WSI_TOKEN_CONNECTION, "close", &at, end))
        return -1;
    if (status == HTTP_STATUS_METHOD_NOT_ALLOWED &&
        !add_header(wsi, WSI_TOKEN_HTTP_ALLOW, "GET", &at, end))
        return -1;
    if (lws_finalize_write_http_header(wsi, start, &at, end))
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

/* One piece; the bytes before it are sent already and may be written over. */
static int go_on_answer(struct lws *wsi, Answer *answer)
{
    size_t left = answer->body.used - answer->sent;
    if (!left)
        return -1;
    size_t bytes = left < PIECE_BYTES_MAX ? left : PIECE_BYTES_MAX;
    enum lws_write_protocol kind = bytes == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP;
    if (lws_write(wsi, answer->body.data + answer->sent, bytes, kind) < (int)bytes)
        return -1;
    answer->sent += bytes;
    if (bytes == left)
        return -1; /* closed once it is written; "connection: close" said so */
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    Answer *answer = user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return begin_answer(wsi, answer, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return go_on_answer(wsi, answer);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        if (answer)
            bytes_done(&answer->body);
        return 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return -1; /* nothing here speaks WebSocket or HTTP/2 */
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return 0; /* of a method that was refused */
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, bytes);
    }
}

static void serve(void *argument)
{
    HttpServer *server = argument;
    while (!atomic_load(&server->stop) && lws_service(server->context, 0) >= 0) {
    }
}

void http_server_stop(HttpServer *server)
{
    if (!server)
        return;
    atomic_store(&server->stop, true);
    lws_cancel_service(server->context);
    thread_join(server->thread);
    lws_context_destroy(server->context);
    free(server);
}

HttpServer *http_server_start(const char *address, uint16_t port, const HttpHealth *health,
                              Error *err)
{
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = on_event, .per_session_data_size = sizeof(Answer)},
        {.name = NULL},
    };
    HttpServer *server = mem_zalloc(sizeof *server);
    server->health = *health;
    struct lws_context_creation_info info = {
        .port = port,
        .iface = address,
        .protocols = protocols,
        .user = server,
        .fd_limit_per_thread = DESCRIPTORS_MAX,
        .pt_serv_buf_size = PIECE_BYTES_MAX,
        .max_http_header_data = HEADER_BYTES_MAX,
        .max_http_header_pool = 16,
        .keepalive_timeout = TIMEOUT_S,
        .timeout_secs = TIMEOUT_S,
    };
    server->context = web_listen(&info, "--http", &server->port, err);
    if (!server->context) {
        free(server);
        return NULL;
    }
    server->thread = thread_start("http", serve, server);
    return server;
}

uint16_t http_server_port(const HttpServer *server)
{
    return server->port;
}
