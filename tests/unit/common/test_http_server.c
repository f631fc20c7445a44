/* links: firn_common */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/http/http_server.h"
#include "common/mem.h"
#include "common/metrics.h"

static atomic_bool is_ready;

static bool healthy(void *at, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "alive %s", (const char *)at);
    return true;
}

static bool ready(void *at, char *text, size_t text_bytes)
{
    (void)at;
    snprintf(text, text_bytes, "%s", atomic_load(&is_ready) ? "" : "copying public.orders");
    return atomic_load(&is_ready);
}

static char context[] = "context";
static const HttpHealth health = {healthy, ready, context};

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 4}; /* less than the server's own patience */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* The whole answer, as it came; caller frees. */
static char *ask(uint16_t port, const char *request)
{
    int fd = dial(port);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    Bytes answer = {0};
    ssize_t got;
    do {
        bytes_reserve(&answer, 65536);
        got = read(fd, answer.data + answer.used, 65536);
        assert_true(got >= 0);
        answer.used += (size_t)got;
    } while (got > 0);
    close(fd);
    bytes_put_u8(&answer, '\0');
    return (char *)answer.data;
}

static void assert_answer(uint16_t port, const char *request, const char *status, const char *body)
{
    AUTO(mem_free) char *answer = ask(port, request);
    AUTO(mem_free) char *line = mem_format("HTTP/1.1 %s", status);
    if (strncmp(answer, line, strlen(line)) != 0)
        fail_msg("asked %s, wanted %s, got %s", request, line, answer);
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end + 4, body);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void answers(void **state)
{
    (void)state;
    Error err;
    HttpServer *server = http_server_start("127.0.0.1", 0, &health, &err);
    assert_non_null(server);
    uint16_t port = http_server_port(server);
    assert_int_not_equal(port, 0);
    assert_answer(port, GET("/healthz"), "200", "alive context\n");
    assert_answer(port, GET("/metrics"), "200", ""); /* none yet; closed all the same */
    assert_answer(port, GET("/readyz"), "503", "copying public.orders\n");
    atomic_store(&is_ready, true);
    assert_answer(port, GET("/readyz"), "200", "ok\n");
    assert_answer(port, GET("/readyz?verbose=1"), "200", "ok\n");
    assert_answer(port, GET("/"), "404", "not found: there are /healthz, /readyz and /metrics\n");
    assert_answer(port, GET("/healthz/x"), "404",
                  "not found: there are /healthz, /readyz and /metrics\n");
    assert_answer(port, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "405",
                  "method not allowed: GET only\n");
    AUTO(mem_free)
    char *refused = ask(port, "DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(refused, " 405 "));
    assert_non_null(strcasestr(refused, "\r\nallow: GET\r\n"));
    AUTO(mem_free)
    char *upgraded = ask(port, "GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_null(strstr(upgraded, " 101 "));
    http_server_stop(server);
}

/* Larger than any buffer inside, so that it is written in pieces. */
static void large_metrics(void **state)
{
    (void)state;
    Error err;
    for (int i = 0; i < 3000; i++) {
        char label[64];
        snprintf(label, sizeof label, "table=\"public.t%d\"", i);
        metric_set(metrics_register(METRIC_GAUGE, "firn_test_rows", "Rows.", label), i);
    }
    HttpServer *server = http_server_start("127.0.0.1", 0, &health, &err);
    assert_non_null(server);
    Bytes expected = {0};
    metrics_write(&expected);
    bytes_put_u8(&expected, '\0');
    assert_true(expected.used > 100000);
    AUTO(mem_free) char *answer = ask(http_server_port(server), GET("/metrics"));
    assert_non_null(strcasestr(answer, "\r\ncontent-type: text/plain; version=0.0.4"));
    assert_string_equal(strstr(answer, "\r\n\r\n") + 4, (const char *)expected.data);
    bytes_done(&expected);
    http_server_stop(server);
}

static void hostile_requests_do_no_harm(void **state)
{
    (void)state;
    Error err;
    HttpServer *server = http_server_start("127.0.0.1", 0, &health, &err);
    assert_non_null(server);
    uint16_t port = http_server_port(server);
    Bytes long_path = {0};
    bytes_put(&long_path, "GET /", 5);
    for (int i = 0; i < 100000; i++)
        bytes_put_u8(&long_path, 'a');
    const char *const requests[] = {"\r\n\r\n", "FOO / HTTP/1.1\r\n\r\n",
                                    "\x16\x03\x01\x02\x00\x01", "GET /healthz",
                                    "GET / HTTP/1.1\r\nHost: \r\n"};
    int open[24];
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        open[i] = dial(port);
        const char *request = requests[i % ARRAY_LEN(requests)];
        ssize_t sent = send(open[i], request, strlen(request), MSG_NOSIGNAL);
        assert_true(sent > 0);
    }
    int fd = dial(port);
    (void)!send(fd, long_path.data, long_path.used, MSG_NOSIGNAL);
    close(fd);
    bytes_done(&long_path);
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        close(open[i]);
    assert_answer(port, GET("/healthz"), "200", "alive context\n");
    fd = dial(port); /* stops although somebody holds a connection */
    http_server_stop(server);
    close(fd);
}

static void address_in_use(void **state)
{
    (void)state;
    Error err;
    HttpServer *server = http_server_start("127.0.0.1", 0, &health, &err);
    assert_non_null(server);
    uint16_t port = http_server_port(server);
    assert_null(http_server_start("127.0.0.1", port, &health, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "AddressInUse");
    AUTO(mem_free) char *name = mem_format("port %u of 127.0.0.1", port);
    assert_non_null(strstr(err.message, name));
    assert_non_null(strstr(err.message, "--http ADDRESS:PORT"));
    assert_answer(port, GET("/healthz"), "200", "alive context\n");
    http_server_stop(server);
    server = http_server_start("127.0.0.1", port, &health, &err); /* free again at once */
    assert_non_null(server);
    http_server_stop(server);
    assert_null(http_server_start("localhost:80", 0, &health, &err));
    assert_string_equal(err.code, "BadAddress");
    assert_null(http_server_start("192.0.2.1", 0, &health, &err));
    assert_string_equal(err.code, "BadAddress");
    http_server_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(large_metrics),
        cmocka_unit_test(hostile_requests_do_no_harm),
        cmocka_unit_test(address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
