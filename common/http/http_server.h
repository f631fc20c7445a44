/* The agent's small HTTP server (libwebsockets, a thread of its own): GET /healthz, /readyz,
 * /metrics. */
#pragma once

#include "common/error.h"

typedef struct HttpServer HttpServer;

typedef struct HttpHealth {
    /* Called from the server's thread; fills text (one line, no secret) and says whether all is
     * well. */
    bool (*healthy)(void *context, char *text, size_t text_bytes);
    bool (*ready)(void *context, char *text, size_t text_bytes);
    void *context;
} HttpHealth;

void http_server_stop(HttpServer *server); /* NULL is fine; joins the thread */
/* address "127.0.0.1", port 0 takes a free one. CONFIG error "AddressInUse" names the port and the
 * flag. */
HttpServer *http_server_start(const char *address, uint16_t port, const HttpHealth *health,
                              Error *err) OWNED_BY(http_server_stop);
uint16_t http_server_port(const HttpServer *server);
