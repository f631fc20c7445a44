/* A small HTTP/1.1 server inside a test, on 127.0.0.1: every request is given to the test's own
 * function, which writes the answer, byte by byte if it likes. One thread for each connection, so
 * answers may come out of order. With a TLS context it speaks TLS. */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/mem.h"

#define SCRIPT_CONNECTIONS_MAX 512
#define UNUSED __attribute__((unused))

typedef struct Asked {
    char *head; /* request line and headers */
    char method[16];
    char *target; /* path and query, as sent */
    Bytes body;   /* a NUL behind it */
    int number;   /* of the request, from 1 */
    int connection;
} Asked;

typedef enum Then {
    THEN_KEEP,
    THEN_CLOSE, /* after what was written */
    THEN_RESET,
    THEN_HANG, /* until the client closes */
} Then;

typedef Then ScriptAnswer(void *context, const Asked *asked, Bytes *reply);

typedef struct Script {
    ScriptAnswer *answer;
    void *context;
    SSL_CTX *tls;
    int listener;
    uint16_t port;
    pthread_t acceptor;
    pthread_mutex_t lock;
    int fds[SCRIPT_CONNECTIONS_MAX];
    pthread_t threads[SCRIPT_CONNECTIONS_MAX];
    int connections;
    int requests;
    bool stopped;
} Script;

typedef struct ScriptConnection {
    Script *script;
    SSL *ssl;
    int number, fd;
} ScriptConnection;

static inline ssize_t script_read(ScriptConnection *c, void *to, size_t bytes)
{
    return c->ssl ? SSL_read(c->ssl, to, (int)bytes) : recv(c->fd, to, bytes, 0);
}

static inline bool script_write(ScriptConnection *c, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t done =
            c->ssl ? SSL_write(c->ssl, data, (int)bytes) : send(c->fd, data, bytes, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        data += done;
        bytes -= (size_t)done;
    }
    return true;
}

/* The value of a header, in one of a few static places of the thread; NULL: not there. */
UNUSED static const char *asked_header(const Asked *asked, const char *name)
{
    static __thread char places[8][2048];
    static __thread int place;
    const char *line = strstr(asked->head, "\r\n");
    size_t bytes = strlen(name);
    for (; line && line[2]; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, bytes) != 0 || line[2 + bytes] != ':')
            continue;
        const char *value = line + 3 + bytes;
        value += strspn(value, " ");
        char *to = places[place++ & 7];
        snprintf(to, sizeof places[0], "%.*s", (int)strcspn(value, "\r"), value);
        return to;
    }
    return NULL;
}

static inline bool script_take(ScriptConnection *c, Bytes *buffered, Asked *asked)
{
    uint8_t piece[65536];
    uint8_t *end;
    bytes_reserve(buffered, 1);
    while (!(end = memmem(buffered->data, buffered->used, "\r\n\r\n", 4))) {
        ssize_t got = script_read(c, piece, sizeof piece);
        if (got <= 0 || buffered->used > 1 << 20)
            return false;
        bytes_put(buffered, piece, (size_t)got);
    }
    size_t head_bytes = (size_t)(end - buffered->data) + 2;
    asked->head = mem_strndup((const char *)buffered->data, head_bytes);
    const char *length = asked_header(asked, "content-length");
    size_t body_bytes = length ? strtoul(length, NULL, 10) : 0;
    bytes_reserve(&asked->body, body_bytes + 1);
    size_t have = buffered->used - head_bytes - 2;
    if (have > body_bytes)
        have = body_bytes;
    bytes_put(&asked->body, end + 4, have);
    memmove(buffered->data, end + 4 + have, buffered->used - head_bytes - 2 - have);
    buffered->used -= head_bytes + 2 + have;
    while (asked->body.used < body_bytes) {
        ssize_t got =
            script_read(c, asked->body.data + asked->body.used, body_bytes - asked->body.used);
        if (got <= 0)
            return false;
        asked->body.used += (size_t)got;
    }
    asked->body.data[body_bytes] = '\0';
    size_t method = strcspn(asked->head, " ");
    snprintf(asked->method, sizeof asked->method, "%.*s", (int)method, asked->head);
    asked->target = mem_strndup(asked->head + method + 1, strcspn(asked->head + method + 1, " \r"));
    return true;
}

static inline void asked_done(Asked *asked)
{
    free(asked->head);
    free(asked->target);
    bytes_done(&asked->body);
}

static inline void *script_serve(void *at)
{
    ScriptConnection *c = at;
    Script *script = c->script;
    Bytes buffered = {0}, reply = {0};
    Then then = THEN_KEEP;
    if (script->tls) {
        c->ssl = SSL_new(script->tls);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_accept(c->ssl) != 1)
            then = THEN_CLOSE;
    }
    while (then == THEN_KEEP) {
        Asked asked = {.connection = c->number};
        bool taken = script_take(c, &buffered, &asked);
        if (taken) {
            pthread_mutex_lock(&script->lock);
            asked.number = ++script->requests;
            pthread_mutex_unlock(&script->lock);
            bytes_clear(&reply);
            then = script->answer(script->context, &asked, &reply);
            if (!script_write(c, reply.data, reply.used))
                then = THEN_CLOSE;
        } else {
            then = THEN_CLOSE;
        }
        asked_done(&asked);
    }
    if (then == THEN_HANG) {
        uint8_t byte;
        while (script_read(c, &byte, 1) > 0) {
        }
    }
    if (then == THEN_RESET)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    SSL_free(c->ssl);
    pthread_mutex_lock(&script->lock);
    script->fds[c->number] = -1;
    close(c->fd);
    pthread_mutex_unlock(&script->lock);
    bytes_done(&buffered);
    bytes_done(&reply);
    free(c);
    return NULL;
}

static inline void *script_accept(void *at)
{
    Script *script = at;
    for (;;) {
        int fd = accept(script->listener, NULL, NULL);
        pthread_mutex_lock(&script->lock);
        if (fd < 0 || script->stopped || script->connections == SCRIPT_CONNECTIONS_MAX) {
            if (fd >= 0)
                close(fd);
            pthread_mutex_unlock(&script->lock);
            return NULL;
        }
        ScriptConnection *c = mem_zalloc(sizeof *c);
        *c = (ScriptConnection){script, NULL, script->connections, fd};
        script->fds[script->connections] = fd;
        pthread_create(&script->threads[script->connections++], NULL, script_serve, c);
        pthread_mutex_unlock(&script->lock);
    }
}

UNUSED static Script *script_start(ScriptAnswer *answer, void *context, SSL_CTX *tls)
{
    signal(SIGPIPE, tls ? SIG_IGN : SIG_DFL); /* the server's own TLS writes */
    Script *script = mem_zalloc(sizeof *script);
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t to_bytes = sizeof to;
    script->answer = answer;
    script->context = context;
    script->tls = tls;
    pthread_mutex_init(&script->lock, NULL);
    script->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(script->listener, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(listen(script->listener, 64), 0);
    assert_int_equal(getsockname(script->listener, (struct sockaddr *)&to, &to_bytes), 0);
    script->port = ntohs(to.sin_port);
    pthread_create(&script->acceptor, NULL, script_accept, script);
    return script;
}

/* No new connections; those that are go on. */
UNUSED static void script_refuse_new(Script *script)
{
    pthread_mutex_lock(&script->lock);
    bool stopped = script->stopped;
    script->stopped = true;
    pthread_mutex_unlock(&script->lock);
    if (stopped)
        return;
    shutdown(script->listener, SHUT_RDWR);
    pthread_join(script->acceptor, NULL);
    close(script->listener);
}

UNUSED static void script_stop(Script *script)
{
    script_refuse_new(script);
    pthread_mutex_lock(&script->lock);
    for (int i = 0; i < script->connections; i++)
        if (script->fds[i] >= 0)
            shutdown(script->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&script->lock);
    for (int i = 0; i < script->connections; i++)
        pthread_join(script->threads[i], NULL);
    pthread_mutex_destroy(&script->lock);
    free(script);
}

UNUSED static void reply_text(Bytes *reply, const char *text)
{
    bytes_put(reply, text, strlen(text));
}

/* A whole answer; headers: "A: b\r\n" … or "". */
UNUSED static void reply_with(Bytes *reply, int status, const char *headers, const void *body,
                              size_t body_bytes)
{
    AUTO(mem_free)
    char *head = mem_format("HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\n%s\r\n", status,
                            body_bytes, headers);
    reply_text(reply, head);
    bytes_put(reply, body, body_bytes);
}
