/* links: firn_common */
#include "tests/unit/unit.h"

#include <stdatomic.h>

#include "common/clock.h"
#include "common/http/http_client.h"
#include "common/thread.h"
#include "tests/unit/http_script.h"
#include "tests/unit/tls_script.h"

/* What the scripted server does follows from the path. */
static Then by_path(void *context, const Asked *asked, Bytes *reply)
{
    (void)context;
    const char *path = asked->target;
    if (strncmp(path, "/echo", 5) == 0) {
        AUTO(mem_free)
        char *headers = mem_format("X-Connection: %d\r\nx-Odd :no\r\nX-Type: %s\r\nX-Empty:\r\n",
                                   asked->connection, asked_header(asked, "content-type"));
        reply_with(reply, 200, headers, asked->body.data, asked->body.used);
        return THEN_KEEP;
    }
    if (strcmp(path, "/head") == 0) {
        reply_text(reply, "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n");
        return THEN_KEEP;
    }
    if (strcmp(path, "/redirect") == 0) {
        reply_with(reply, 301, "Location: /echo\r\n", "moved", 5);
        return THEN_KEEP;
    }
    if (strcmp(path, "/continue") == 0)
        reply_text(reply, "HTTP/1.1 100 Continue\r\nX-A: early\r\n\r\n"
                          "HTTP/1.1 503 Slow\r\nX-A: final\r\nContent-Length: 0\r\n\r\n");
    if (strcmp(path, "/cut") == 0)
        reply_text(reply, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    if (strcmp(path, "/cut-headers") == 0)
        reply_text(reply, "HTTP/1.1 200 OK\r\nContent-Le");
    if (strcmp(path, "/chunks") == 0)
        reply_text(reply, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    if (strcmp(path, "/garbage") == 0)
        reply_text(reply, "\x16\x03 nothing of HTTP\r\n\r\n");
    if (strcmp(path, "/endless-headers") == 0) {
        reply_text(reply, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 40000; i++)
            reply_text(reply, "X-More: and more\r\n");
    }
    if (strcmp(path, "/reset") == 0)
        return THEN_RESET;
    if (strcmp(path, "/hang") == 0)
        return THEN_HANG;
    return THEN_CLOSE;
}

static char *url_of(const Script *script, const char *path)
{
    return mem_format("http%s://127.0.0.1:%u%s", script->tls ? "s" : "", script->port, path);
}

static bool ask(HttpClient *client, const Script *script, const char *method, const char *path,
                const char *body, HttpAnswer *answer, Error *err)
{
    AUTO(mem_free) char *url = url_of(script, path);
    HttpRequest request = {.method = method, .url = url, .body = body};
    request.body_bytes = body ? strlen(body) : 0;
    request.timeout_ms = strcmp(path, "/hang") == 0 ? 2000 : 60000; /* a busy machine has time */
    return http_send(client, &request, answer, err);
}

static HttpClient *client_new(void)
{
    Error err = {0};
    HttpClient *client = http_client_new(NULL, &err);
    assert_non_null(client);
    return client;
}

static void a_connection_is_used_again(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    for (int i = 0; i < 5; i++) {
        assert_true(
            ask(client, script, i % 2 ? "PUT" : "POST", "/echo", "some text", &answer, &err));
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body.used, 9 * (i + 1)); /* appended */
        assert_memory_equal(answer.body.data + 9 * i, "some text", 9);
        AUTO(mem_free) char *connection = http_answer_header(&answer, "x-connection");
        assert_string_equal(connection, "0");
    }
    assert_int_equal(script->connections, 1);
    http_answer_done(&answer);
    script_stop(script);
}

static void headers_are_found(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    AUTO(mem_free) char *url = url_of(script, "/echo?x=1");
    HttpHeader own[] = {{"Content-Type", "text/x"}};
    HttpRequest request = {.method = "PUT",
                           .url = url,
                           .headers = own,
                           .header_count = 1,
                           .body = "",
                           .body_bytes = 0};
    assert_true(http_send(client, &request, &answer, &err));
    AUTO(mem_free) char *type = http_answer_header(&answer, "X-TYPE");
    AUTO(mem_free) char *empty = http_answer_header(&answer, "x-empty");
    AUTO(mem_free) char *part = http_answer_header(&answer, "x-typ");
    AUTO(mem_free) char *none = http_answer_header(&answer, "etag");
    assert_string_equal(type, "text/x");
    assert_string_equal(empty, "");
    assert_null(part);
    assert_null(none);
    request.header_count = 0; /* nothing is made up for a body */
    assert_true(http_send(client, &request, &answer, &err));
    AUTO(mem_free) char *made_up = http_answer_header(&answer, "x-type");
    assert_string_equal(made_up, "(null)");
    assert_true(ask(client, script, "GET", "/continue", NULL, &answer, &err));
    AUTO(mem_free) char *final = http_answer_header(&answer, "x-a");
    assert_string_equal(final, "final");
    assert_int_equal(answer.status, 503);
    own[0].value = "a\r\nX-Smuggled: b";
    request.header_count = 1;
    assert_false(http_send(client, &request, &answer, &err));
    assert_string_equal(err.code, "BadHeader");
    http_answer_done(&answer);
    script_stop(script);
}

static void heads_and_redirects(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    assert_true(ask(client, script, "HEAD", "/head", NULL, &answer, &err));
    AUTO(mem_free) char *length = http_answer_header(&answer, "content-length");
    assert_string_equal(length, "5000000");
    assert_int_equal(answer.body.used, 0);
    assert_true(ask(client, script, "GET", "/redirect", NULL, &answer, &err));
    assert_int_equal(answer.status, 301);
    assert_int_equal(script->connections, 1);
    http_answer_done(&answer);
    script_stop(script);
}

static void a_lost_answer_is_told_from_an_unreachable_server(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    static const char *const paths[] = {"/cut",   "/cut-headers", "/chunks", "/garbage",
                                        "/reset", "/hang",        "/close"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        for (int warm = 0; warm < 2; warm++) {
            const char *secret = "?token=secret";
            AUTO(mem_free) char *path = mem_strdup(paths[i]);
            if (warm)
                assert_true(ask(client, script, "GET", "/echo", NULL, &answer, &err));
            bytes_clear(&answer.body);
            assert_false(ask(client, script, "PUT", path, "x", &answer, &err));
            assert_int_equal(err.kind, ERROR_RETRY);
            assert_string_equal(err.code, "AnswerLost");
            assert_int_equal(answer.body.used, 0);
            AUTO(mem_free) char *place = mem_format("PUT 127.0.0.1:%u%s: ", script->port, paths[i]);
            assert_ptr_equal(strstr(err.message, place), err.message);
            assert_null(strstr(err.message, secret));
        }
    }
    script_refuse_new(script);
    AUTO(http_client_free) HttpClient *fresh = client_new();
    assert_false(ask(fresh, script, "PUT", "/echo?token=secret", "x", &answer, &err));
    assert_string_equal(err.code, "Unreachable");
    assert_null(strstr(err.message, "secret"));
    HttpRequest other = {.method = "GET", .url = "gopher://127.0.0.1/a?b=secret"};
    assert_false(http_send(fresh, &other, &answer, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "BadUrl");
    assert_null(strstr(err.message, "secret"));
    HttpRequest request = {.method = "GET", .url = "http://no-such-host.invalid/a?b=secret"};
    assert_false(http_send(fresh, &request, &answer, &err));
    assert_string_equal(err.code, "Unreachable");
    assert_non_null(strstr(err.message, "GET no-such-host.invalid/a: "));
    assert_null(strstr(err.message, "secret"));
    request.url = "ftp://127.0.0.1/";
    assert_false(http_send(fresh, &request, &answer, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    http_answer_done(&answer);
    script_stop(script);
}

/* A kept connection is closed after the server has read the request: curl would send it again. */
static void nothing_that_changes_goes_out_twice(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    static const char *const methods[] = {"POST", "PUT", "DELETE"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        assert_true(ask(client, script, "GET", "/echo", NULL, &answer, &err));
        int before = script->requests;
        assert_false(ask(client, script, methods[i], "/close", i < 2 ? "x" : NULL, &answer, &err));
        assert_string_equal(err.code, "AnswerLost");
        assert_int_equal(script->requests, before + 1);
    }
    /* Reads may: curl's second attempt is the answer. */
    assert_true(ask(client, script, "GET", "/echo", NULL, &answer, &err));
    int before = script->requests;
    assert_false(ask(client, script, "GET", "/close", NULL, &answer, &err));
    assert_string_equal(err.code, "AnswerLost");
    assert_int_equal(script->requests, before + 2);
    /* … and where nobody listens any more, it is lost, too, not "Unreachable". */
    assert_true(ask(client, script, "GET", "/echo", NULL, &answer, &err));
    script_refuse_new(script);
    assert_false(ask(client, script, "GET", "/close", NULL, &answer, &err));
    assert_string_equal(err.code, "AnswerLost");
    http_answer_done(&answer);
    script_stop(script);
}

static void answers_are_bounded(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    AUTO(http_client_free) HttpClient *client = client_new();
    HttpAnswer answer = {0};
    AUTO(mem_free) char *url = url_of(script, "/echo");
    HttpRequest request = {.method = "PUT",
                           .url = url,
                           .body = "0123456789",
                           .body_bytes = 10,
                           .answer_bytes_max = 10};
    assert_true(http_send(client, &request, &answer, &err));
    request.answer_bytes_max = 9;
    assert_false(http_send(client, &request, &answer, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "AnswerTooLarge");
    assert_int_equal(answer.body.used, 10);
    AUTO(mem_free) char *endless = url_of(script, "/endless-headers");
    request.url = endless;
    assert_false(http_send(client, &request, &answer, &err));
    assert_string_equal(err.code, "AnswerTooLarge");
    http_answer_done(&answer);
    script_stop(script);
}

/* Two connections for six threads: all are served. */
typedef struct Crowd {
    HttpClient *client;
    Script *script;
    atomic_int good;
} Crowd;

static void crowd_asks(void *at)
{
    Crowd *crowd = at;
    HttpAnswer answer = {0};
    Error err;
    AUTO(mem_free) char *url = url_of(crowd->script, "/echo");
    HttpRequest request = {.method = "PUT", .url = url, .body = "abc", .body_bytes = 3};
    for (int i = 0; i < 50; i++) {
        bytes_clear(&answer.body);
        if (http_send(crowd->client, &request, &answer, &err) && answer.body.used == 3)
            atomic_fetch_add(&crowd->good, 1);
    }
    http_answer_done(&answer);
}

static void threads_share_connections(void **state)
{
    (void)state;
    Error err = {0};
    Script *script = script_start(by_path, NULL, NULL);
    HttpClientOptions options = {.connections_max = 2};
    AUTO(http_client_free) HttpClient *client = http_client_new(&options, &err);
    Crowd crowd = {.client = client, .script = script};
    Thread *threads[6];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        threads[i] = thread_start("crowd", crowd_asks, &crowd);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(threads[i]);
    assert_int_equal(atomic_load(&crowd.good), 300);
    assert_in_range(script->connections, 1, 2);
    script_stop(script);
}

/* ---------- TLS ---------- */

static void tls_trusts_the_given_ca_and_no_other(void **state)
{
    (void)state;
    Error err = {0};
    char *pem, *other_pem;
    SSL_CTX *tls = tls_with(&pem), *other = tls_with(&other_pem);
    Script *script = script_start(by_path, NULL, tls);
    HttpAnswer answer = {0};
    HttpClientOptions options = {.ca_pem = pem};
    HttpClient *client = http_client_new(&options, &err);
    assert_true(ask(client, script, "PUT", "/echo", "hidden", &answer, &err));
    assert_true(ask(client, script, "PUT", "/echo", "hidden", &answer, &err));
    assert_int_equal(answer.body.used, 12);
    assert_int_equal(script->connections, 1);
    assert_false(ask(client, script, "PUT", "/reset", "x", &answer, &err));
    assert_string_equal(err.code, "AnswerLost");
    http_client_free(client);

    const char *const wrong[] = {other_pem, NULL};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        options.ca_pem = wrong[i];
        client = http_client_new(&options, &err);
        assert_false(ask(client, script, "PUT", "/echo", "x", &answer, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_string_equal(err.code, "BadCertificate");
        http_client_free(client);
    }
    /* The right CA, but a server that speaks no TLS. */
    Script *plain = script_start(by_path, NULL, NULL);
    options.ca_pem = pem;
    client = http_client_new(&options, &err);
    AUTO(mem_free) char *url = mem_format("https://127.0.0.1:%u/echo", plain->port);
    HttpRequest request = {.method = "GET", .url = url, .timeout_ms = 60000};
    assert_false(http_send(client, &request, &answer, &err));
    assert_string_equal(err.code, "Unreachable");
    http_client_free(client);
    script_stop(plain);
    options.ca_pem = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n";
    assert_null(http_client_new(&options, &err));
    assert_string_equal(err.code, "BadCertificate");
    http_answer_done(&answer);
    script_stop(script);
    SSL_CTX_free(tls);
    SSL_CTX_free(other);
    free(pem);
    free(other_pem);
}

static void escapes_what_is_not_plain(void **state)
{
    (void)state;
    AUTO(mem_free) char *key = http_escape("p/a=1 %2F+\xc3\xbc~/x", "/");
    AUTO(mem_free) char *all = http_escape("a/b", NULL);
    assert_string_equal(key, "p/a%3D1%20%252F%2B%C3%BC~/x");
    assert_string_equal(all, "a%2Fb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(heads_and_redirects),
        cmocka_unit_test(a_lost_answer_is_told_from_an_unreachable_server),
        cmocka_unit_test(nothing_that_changes_goes_out_twice),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(threads_share_connections),
        cmocka_unit_test(tls_trusts_the_given_ca_and_no_other),
        cmocka_unit_test(escapes_what_is_not_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
