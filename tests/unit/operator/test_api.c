/* links: firn_operator_cache */
/* The client against a scripted server that speaks TLS: what an API server does seldom, on purpose.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"
#include "operator/cache/cache.h"
#include "tests/unit/http_script.h"
#include "tests/unit/tls_script.h"

/* --- who and where --- */

static const char kubeconfig[] =
    "apiVersion: v1\n"
    "current-context: b\n"
    "contexts:\n"
    "- {name: a, context: {cluster: x, user: y}}\n"
    "- {name: b, context: {cluster: c, user: u, namespace: retail}}\n"
    "clusters:\n"
    "- name: c\n"
    "  cluster: {server: 'https://k.example:6443/', tls-server-name: k,\n"
    "            certificate-authority-data: aGVsbG8=}\n"
    "users:\n"
    "- {name: u, user: {token: secret, client-key-data: a2V5}}\n";

static char *changed(const char *find, const char *replace)
{
    const char *at = strstr(kubeconfig, find);
    assert_non_null(at);
    return mem_format("%.*s%s%s", (int)(at - kubeconfig), kubeconfig, replace, at + strlen(find));
}

static void the_current_context_decides(void **state)
{
    (void)state;
    AUTO(api_config_free) ApiConfig *config = NULL;
    Error err = {0};
    assert_true(api_config_parse("f", kubeconfig, strlen(kubeconfig), &config, &err));
    assert_string_equal(config->server, "https://k.example:6443");
    assert_string_equal(config->namespace_name, "retail");
    assert_string_equal(config->ca_pem, "hello");
    assert_string_equal(config->token, "secret");
    assert_string_equal(config->client_key_pem, "key");
    assert_string_equal(config->server_name, "k");
}

static void odd_kubeconfigs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *find, *replace, *says;
    } odd[] = {
        {"current-context: b", "current-context: z", "names no context"},
        {"https://k.example:6443/", "http://k.example", "begins with https://"},
        {"aGVsbG8=", "'?!?'", "is no base64"},
        {"token: secret", "exec: {command: x}", "logs in by a program"},
        {"tls-server-name: k", "insecure-skip-tls-verify: true", "is not taken"},
        {"contexts:", "contexts: [", "f:"},
        {"client-key-data: a2V5", "client-key: /nowhere", "can't be opened"},
    };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        AUTO(mem_free) char *text = changed(odd[i].find, odd[i].replace);
        ApiConfig *config;
        Error err = {0};
        assert_false(api_config_parse("f", text, strlen(text), &config, &err));
        assert_null(config);
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_string_equal(err.code, "BadKubeconfig");
        if (!strstr(err.message, odd[i].says))
            fail_msg("%s", err.message);
        assert_null(strstr(err.message, "secret"));
    }
}

/* Writes one of several files; its path is the caller's. */
static char *file_with(const char *folder, const char *name, const char *text)
{
    char *path = mem_format("%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* As kubectl has it: the first file that has an entry of a name counts, with what it names beside
 * it. */
static void several_kubeconfigs_are_one(void **state)
{
    (void)state;
    char folder[] = "/tmp/firn-kubeconfig-XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO(mem_free)
    char *first = file_with(folder, "a", "users: [{name: u, user: {tokenFile: t}}]\n");
    AUTO(mem_free)
    char *second = file_with(folder, "b",
                             "current-context: two\n"
                             "contexts: [{name: two, context: {cluster: c, user: u}}]\n"
                             "users: [{name: u, user: {token: no}}]\n");
    AUTO(mem_free) char *third = file_with(folder, "c", kubeconfig);
    AUTO(mem_free) char *all = mem_format("%s::%s/none:%s:%s", first, folder, second, third);
    AUTO(mem_free) char *none = mem_format("%s/none:%s/neither", folder, folder);
    AUTO(mem_free) char *token_file = mem_format("%s/t", folder);
    Error err = {0};
    ApiConfig *config;
    assert_int_equal(setenv("KUBECONFIG", all, 1), 0);
    assert_true(api_config_load(NULL, &config, &err));
    assert_string_equal(config->server, "https://k.example:6443"); /* the third's */
    assert_string_equal(config->namespace_name, "default");        /* the second's context */
    assert_string_equal(config->token_file, token_file);           /* the first's user */
    assert_null(config->token);
    api_config_free(config);
    /* one that is named is taken alone */
    assert_true(api_config_load(third, &config, &err));
    assert_string_equal(config->namespace_name, "retail");
    api_config_free(config);
    assert_int_equal(setenv("KUBECONFIG", none, 1), 0);
    assert_false(api_config_load(NULL, &config, &err));
    assert_string_equal(err.code, "BadKubeconfig");
    assert_non_null(strstr(err.message, none));
    unsetenv("KUBECONFIG");
    unlink(first);
    unlink(second);
    unlink(third);
    rmdir(folder);
}

static void paths(void **state)
{
    (void)state;
    AUTO(mem_free) char *one = kind_path(KIND_DEPLOYMENT, "a", "b", "/status?x=y");
    assert_string_equal(one, "/apis/apps/v1/namespaces/a/deployments/b/status?x=y");
    AUTO(mem_free) char *all = kind_path(KIND_SECRET, NULL, NULL, "");
    assert_string_equal(all, "/api/v1/secrets");
}

/* --- a scripted server --- */

typedef struct Server {
    int step; /* what is asked next; each test's own */
    char token_file[64];
    char *said[64]; /* what was asked */
    int count;
    atomic_int watches;
} Server;

static void reply_json(Bytes *reply, int status, const char *headers, const char *body)
{
    reply_with(reply, status, headers, body, strlen(body));
}

typedef struct Client {
    Script *script;
    SSL_CTX *tls;
    Api *api;
} Client;

static Client client_of(ScriptAnswer *answer, void *server, const char *token_file)
{
    Client client = {0};
    ApiConfig *config = mem_zalloc(sizeof *config);
    client.tls = tls_with(&config->ca_pem);
    client.script = script_start(answer, server, client.tls);
    config->server = mem_format("https://127.0.0.1:%u", client.script->port);
    config->namespace_name = mem_strdup("default");
    config->token = token_file ? NULL : mem_strdup("t0ken");
    config->token_file = token_file ? mem_strdup(token_file) : NULL;
    client.api = api_new(config);
    return client;
}

static void client_done(Client *client)
{
    api_free(client->api);
    script_stop(client->script);
    SSL_CTX_free(client->tls);
}

/* --- a certificate of another name --- */

static Then named_server(void *context, const Asked *asked, Bytes *reply)
{
    Server *server = context;
    server->said[server->count++] = mem_format("%s %s", asked_header(asked, "host"), asked->target);
    reply_json(reply, 200, "", "{}");
    return THEN_KEEP;
}

/* *ret_asked: what the server's TLS was asked for. */
static int note_name(SSL *ssl, int *alert, void *context)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    snprintf(context, 64, "%s", name ? name : "");
    return SSL_TLSEXT_ERR_OK;
}

static void a_server_may_have_another_name(void **state)
{
    (void)state;
    static const char *const names[] = {"kube.internal", "other.internal", NULL};
    static const char *const bases[] = {"", "/k8s/clusters/c"};
    for (size_t i = 0; i < ARRAY_LEN(names) * ARRAY_LEN(bases); i++) {
        const char *name = names[i / 2], *base = bases[i % 2];
        Server server = {0};
        char asked_for[64] = "";
        ApiConfig *config = mem_zalloc(sizeof *config);
        SSL_CTX *tls = tls_named("DNS:kube.internal", &config->ca_pem);
        SSL_CTX_set_tlsext_servername_callback(tls, note_name);
        SSL_CTX_set_tlsext_servername_arg(tls, asked_for);
        Script *script = script_start(named_server, &server, tls);
        config->server = mem_format("https://127.0.0.1:%u%s", script->port, base);
        config->server_name = name ? mem_strdup(name) : NULL;
        Api *api = api_new(config);
        Error err = {0};
        bool ok = api_call(api, &(ApiRequest){.method = "GET", .path = "/x?y=z"}, NULL, &err);
        api_free(api);
        AUTO(mem_free) char *asked = mem_format("127.0.0.1:%u %s/x?y=z", script->port, base);
        script_stop(script);
        SSL_CTX_free(tls);
        assert_int_equal(ok, i / 2 == 0);
        assert_int_equal(server.count, ok);
        if (ok)
            assert_string_equal(server.said[0], asked);
        else
            assert_string_equal(err.code, "BadCertificate");
        assert_string_equal(asked_for, name ? name : "");
        free(server.said[0]);
    }
}

static Then hesitant(void *context, const Asked *asked, Bytes *reply)
{
    Server *server = context;
    const char *shown = asked_header(asked, "authorization");
    assert_string_equal(shown, "Bearer t0ken");
    if (++server->step <= 2)
        reply_json(
            reply, 429, "Retry-After: 1\r\n",
            "{\"kind\": \"Status\", \"reason\": \"TooManyRequests\", \"message\": \"later\"}");
    else
        reply_json(reply, 200, "", "{\"kind\": \"Pod\"}");
    return THEN_KEEP;
}

static Then starting(void *context, const Asked *asked, Bytes *reply)
{
    Server *server = context;
    server->step++;
    if (strcmp(asked->target, "/long") == 0)
        reply_json(reply, 429, "Retry-After: 77\r\n", "{}");
    else if (strcmp(asked->target, "/odd") == 0)
        reply_json(reply, 503, "Retry-After: 99999999999999999999\r\n", "{}");
    else if (server->step == 1)
        reply_json(reply, 503, "Retry-After: 1\r\n", "{}");
    else
        reply_json(reply, 200, "", "{}");
    return THEN_KEEP;
}

/* A 503 that says when is asked again then; what is too long to be waited for is told. */
static void a_503_may_say_when(void **state)
{
    (void)state;
    Server server = {0};
    Client client = client_of(starting, &server, NULL);
    Error err = {0};
    int64_t began_us = clock_mono_us(), wait_us = -1;
    ApiRequest request = {.method = "GET", .path = "/x", .wait_us = &wait_us};
    assert_true(api_call(client.api, &request, NULL, &err));
    assert_int_equal(server.step, 2);
    assert_true(clock_mono_us() - began_us >= 1000000);
    assert_int_equal(wait_us, 0);
    request.path = "/long";
    assert_false(api_call(client.api, &request, NULL, &err));
    assert_int_equal(wait_us, 77000000);
    request.path = "/odd";
    assert_false(api_call(client.api, &request, NULL, &err));
    assert_int_equal(wait_us, 300000000); /* no server is believed more */
    assert_int_equal(server.step, 4);
    client_done(&client);
}

static void a_429_is_asked_again(void **state)
{
    (void)state;
    Server server = {0};
    Client client = client_of(hesitant, &server, NULL);
    Error err = {0};
    json_t *answer = NULL;
    int64_t began_us = clock_mono_us();
    ApiRequest request = {.method = "GET", .path = "/x"};
    assert_true(api_call(client.api, &request, &answer, &err));
    assert_string_equal(json_string_value(json_object_get(answer, "kind")), "Pod");
    assert_int_equal(server.step, 3);
    assert_true(clock_mono_us() - began_us >= 2000000); /* as the server said */
    json_decref(answer);
    /* but not beyond its time */
    server.step = 0;
    request.timeout_us = 900000;
    assert_false(api_call(client.api, &request, &answer, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "TooManyRequests");
    client_done(&client);
}

/* --- who lost the lease --- */

typedef struct Slow {
    atomic_bool ours;
    atomic_int asked;
    int64_t lost_us; /* the lease, then */
} Slow;

static Then slow(void *context, const Asked *asked, Bytes *reply)
{
    Slow *server = context;
    atomic_fetch_add(&server->asked, 1);
    if (strcmp(asked->method, "GET") == 0 || strcmp(asked->target, "/review") == 0) {
        reply_json(reply, 200, "", "{}");
        return THEN_KEEP;
    }
    server->lost_us = clock_mono_us();
    atomic_store(&server->ours, false);
    if (strcmp(asked->target, "/held") == 0)
        return THEN_HANG;
    reply_json(reply, 429, "Retry-After: 1\r\n", "{\"reason\": \"TooManyRequests\"}");
    return THEN_KEEP;
}

static bool is_ours(const void *context)
{
    return atomic_load(&((const Slow *)context)->ours);
}

/* What is under way is broken off before another may have it, and what was put off is not sent
 * again. */
static void nothing_is_written_behind_the_lease(void **state)
{
    (void)state;
    static const char *const paths[] = {"/held", "/later"};
    Slow server = {0};
    Client client = client_of(slow, &server, NULL);
    api_guard(client.api, is_ours, &server);
    for (size_t i = 0, again = 0; i < ARRAY_LEN(paths); i++) {
        Error err = {0};
        atomic_store(&server.asked, 0);
        atomic_store(&server.ours, true);
        ApiRequest write = {.method = "PATCH", .path = paths[i]};
        assert_false(api_call(client.api, &write, NULL, &err));
        if (clock_mono_us() - server.lost_us >= 2000000) { /* of 10 s and 2 s before them */
            assert_in_range(++again, 1, 4);                /* a busy machine may be late */
            i--;
            continue;
        }
        assert_string_equal(err.code, "NotLeader");
        assert_int_equal(err.kind, ERROR_RETRY);
        assert_int_equal(atomic_load(&server.asked), 1);
        assert_false(api_call(client.api, &write, NULL, &err));
        assert_string_equal(err.code, "NotLeader");
        assert_int_equal(atomic_load(&server.asked), 1);
        /* it may go on looking, and asking */
        assert_true(api_call(client.api, &(ApiRequest){.method = "GET", .path = "/"}, NULL, &err));
        ApiRequest review = {.method = "POST", .path = "/review", .unguarded = true};
        assert_true(api_call(client.api, &review, NULL, &err));
    }
    client_done(&client);
}

static Then refusing(void *context, const Asked *asked, Bytes *reply)
{
    (void)context;
    if (strcmp(asked->target, "/conflict") == 0)
        reply_json(reply, 409, "", "{\"reason\": \"Conflict\", \"message\": \"changed\"}");
    else if (strcmp(asked->target, "/exists") == 0)
        reply_json(reply, 409, "", "{\"reason\": \"AlreadyExists\", \"message\": \"there\"}");
    else if (strcmp(asked->target, "/odd") == 0)
        reply_json(reply, 200, "", "{\"half\":");
    else if (strcmp(asked->target, "/sick") == 0)
        reply_json(reply, 503, "", "no JSON");
    else
        reply_json(reply, 404, "", "{\"reason\": \"NotFound\", \"message\": \"gone\"}");
    return THEN_KEEP;
}

static void answers_become_errors(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        ErrorKind kind;
        const char *code;
    } cases[] = {{"/conflict", ERROR_CONFLICT, "Conflict"},
                 {"/exists", ERROR_CONFIG, "AlreadyExists"},
                 {"/sick", ERROR_RETRY, "Http503"},
                 {"/odd", ERROR_CONFIG, "Http200"},
                 {"/none", ERROR_CONFIG, "NotFound"}};
    Client client = client_of(refusing, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        json_t *answer;
        ApiRequest request = {.method = "GET", .path = cases[i].path};
        assert_false(api_call(client.api, &request, &answer, &err));
        assert_null(answer);
        assert_int_equal(err.kind, cases[i].kind);
        assert_string_equal(err.code, cases[i].code);
        assert_null(strstr(err.message, "t0ken"));
    }
    client_done(&client);
}

static Then particular(void *context, const Asked *asked, Bytes *reply)
{
    Server *server = context;
    const char *shown = asked_header(asked, "authorization");
    if (strcmp(shown, "Bearer new") == 0) {
        reply_json(reply, 200, "", "{}");
    } else { /* the kubelet renews it just now */
        int fd = open(server->token_file, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, "new\n", 4), 4);
        struct timespec later[2] = {{2000000000, 0}, {2000000000, 0}};
        assert_int_equal(futimens(fd, later), 0);
        close(fd);
        server->step++;
        reply_json(reply, 401, "", "{\"reason\": \"Unauthorized\"}");
    }
    return THEN_KEEP;
}

static void a_renewed_token_is_read_again(void **state)
{
    (void)state;
    Server server = {.token_file = "/tmp/firn-token-XXXXXX"};
    int fd = mkstemp(server.token_file);
    assert_int_equal(write(fd, "old\n", 4), 4);
    close(fd);
    Client client = client_of(particular, &server, server.token_file);
    Error err = {0};
    assert_true(api_call(client.api, &(ApiRequest){.method = "GET", .path = "/"}, NULL, &err));
    assert_int_equal(server.step, 1);
    client_done(&client);
    unlink(server.token_file);
}

/* --- files that are renewed --- */

static void rewrite(const char *path, const char *text)
{
    AUTO(mem_free) char *other = mem_format("%s.new", path);
    FILE *file = fopen(other, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(other, path), 0);
}

/* Who shows an old one is refused in a way that says nothing of the token. */
static Then of_the_new(void *context, const Asked *asked, Bytes *reply)
{
    bool is_new = strcmp(asked_header(asked, "authorization"), "Bearer new") == 0;
    (void)context;
    reply_json(reply, is_new ? 200 : 403, "", is_new ? "{}" : "{\"reason\": \"Forbidden\"}");
    return THEN_KEEP;
}

/* The CA at once when the server's certificate is not known, the token without any reason but that
 * its file is another. */
static void files_are_looked_at_again(void **state)
{
    (void)state;
    char folder[] = "/tmp/firn-renewed-XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO(mem_free) char *old_ca = NULL;
    AUTO(mem_free) char *ca = NULL;
    SSL_CTX *before = tls_with(&old_ca), *now = tls_with(&ca);
    AUTO(mem_free) char *ca_file = file_with(folder, "ca.crt", old_ca);
    AUTO(mem_free) char *token_file = file_with(folder, "token", "old\n");
    Script *script = script_start(of_the_new, NULL, now);
    ApiConfig *config = mem_zalloc(sizeof *config);
    config->server = mem_format("https://127.0.0.1:%u", script->port);
    config->ca_file = mem_strdup(ca_file);
    config->token_file = mem_strdup(token_file);
    Api *api = api_new(config);
    ApiRequest request = {.method = "GET", .path = "/"};
    Error err = {0};
    assert_false(api_call(api, &request, NULL, &err));
    assert_string_equal(err.code, "BadCertificate");
    rewrite(ca_file, ca);
    assert_false(api_call(api, &request, NULL, &err));
    assert_string_equal(err.code, "Forbidden");
    rewrite(token_file, "new\n");
    int64_t end_us = clock_mono_us() + 300000000;
    bool taken = false;
    while (!taken && clock_mono_us() < end_us) {
        taken = api_call(api, &request, NULL, &err);
        clock_sleep_us(100000);
    }
    assert_true(taken);
    api_free(api);
    script_stop(script);
    SSL_CTX_free(before);
    SSL_CTX_free(now);
    unlink(ca_file);
    unlink(token_file);
    rmdir(folder);
}

/* --- list and watch --- */

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void chunk(Bytes *reply, const char *text)
{
    AUTO(mem_free) char *piece = mem_format("%zx\r\n%s\r\n", strlen(text), text);
    reply_text(reply, piece);
}

static void pod(Bytes *reply, const char *type, const char *name, int version)
{
    AUTO(mem_free)
    char *line =
        mem_format("{\"type\": \"%s\", \"object\": {\"kind\": \"Pod\", \"apiVersion\": \"v1\", "
                   "\"metadata\": {\"name\": \"%s\", \"namespace\": \"a\", "
                   "\"resourceVersion\": \"%d\"}}}\n",
                   type, name, version);
    /* cut anywhere */
    size_t half = strlen(line) / 3;
    AUTO(mem_free) char *first = mem_strndup(line, half);
    chunk(reply, first);
    chunk(reply, line + half);
}

#define ITEM(name, version)                                                                        \
    "{\"metadata\": {\"name\": \"" name                                                            \
    "\", \"namespace\": \"a\", \"resourceVersion\": \"" version "\"}}"

/* The lists and watches of one kind, in order. */
static Then watched(void *context, const Asked *asked, Bytes *reply)
{
    Server *server = context;
    assert_true(server->count < 64);
    server->said[server->count++] = mem_strdup(asked->target);
    switch (server->count) {
    case 1:
        reply_json(
            reply, 200, "",
            "{\"metadata\": {\"resourceVersion\": \"10\", \"continue\": \"more\"}, \"items\": "
            "[" ITEM("x", "1") ", " ITEM("y", "2") "]}");
        return THEN_KEEP;
    case 2:
        reply_json(
            reply, 200, "",
            "{\"metadata\": {\"resourceVersion\": \"10\"}, \"items\": [" ITEM("z", "3") "]}");
        return THEN_KEEP;
    case 3: /* events, then the server's time is up */
        reply_text(reply, CHUNKED);
        pod(reply, "MODIFIED", "x", 11);
        pod(reply, "DELETED", "y", 12);
        pod(reply, "BOOKMARK", "", 20);
        reply_text(reply, "0\r\n\r\n");
        return THEN_KEEP;
    case 4: /* broken off in the middle of an event */
        reply_text(reply, CHUNKED);
        pod(reply, "ADDED", "w", 21);
        chunk(reply, "{\"type\": \"ADD");
        return THEN_RESET;
    case 5:
        reply_text(reply, CHUNKED);
        chunk(reply,
              "{\"type\": \"ERROR\", \"object\": {\"code\": 410, \"reason\": \"Expired\"}}\n");
        reply_text(reply, "0\r\n\r\n");
        return THEN_KEEP;
    case 6: /* z is gone, v is new */
        reply_json(reply, 200, "",
                   "{\"metadata\": {\"resourceVersion\": \"30\"}, \"items\": [" ITEM(
                       "x", "11") ", " ITEM("w", "21") ", " ITEM("v", "25") "]}");
        return THEN_KEEP;
    case 7:
        reply_json(reply, 410, "", "{\"code\": 410, \"reason\": \"Expired\"}");
        return THEN_KEEP;
    case 8:
        reply_json(reply, 500, "", "{}");
        return THEN_KEEP;
    default:
        reply_json(
            reply, 200, "",
            "{\"metadata\": {\"resourceVersion\": \"40\"}, \"items\": [" ITEM("x", "11") "]}");
        atomic_store(&server->watches, 1);
        return server->count == 9 ? THEN_KEEP : THEN_HANG;
    }
}

typedef struct Told {
    Bytes text; /* "+x" new, "~x" changed, "-x" gone */
} Told;

static void told(void *context, Kind kind, const json_t *before, const json_t *now)
{
    Told *to = context;
    assert_int_equal(kind, KIND_POD);
    const char *name = object_name(now ? now : before);
    bytes_put(&to->text, !before ? "+" : now ? "~" : "-", 1);
    bytes_put(&to->text, name, strlen(name));
}

typedef struct Watching {
    Api *api;
    Feed *feed;
    WatchFigures figures;
} Watching;

static void watch(void *argument)
{
    Watching *watching = argument;
    WatchTaker taker = feed_taker(watching->feed);
    api_watch(watching->api, KIND_POD, "a", &taker, &watching->figures);
}

static void a_watch_goes_on_where_it_was(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    Server server = {0};
    Told to = {0};
    Client client = client_of(watched, &server, NULL);
    AUTO(cache_free) Cache *cache = cache_new();
    CacheTaker taker = {.changed = told, .context = &to};
    Watching watching = {.api = client.api, .feed = feed_new(cache, KIND_POD, "a", &taker)};
    Thread *thread = thread_start("watch", watch, &watching);
    int64_t end_us = clock_mono_us() + 300000000;
    while (clock_mono_us() < end_us &&
           (!atomic_load(&server.watches) || atomic_load(&watching.figures.lists) < 3))
        clock_sleep_us(5000);
    api_stop(client.api);
    thread_join(thread);
    bytes_put_u8(&to.text, '\0');
    assert_string_equal((char *)to.text.data, "+x+y+z~x-y+w+v-z-w-v");
    static const char *const parts[] = {
        "pods?limit=500&labelSelector=",
        "continue=more",
        "watch=1",
        "resourceVersion=20",
        "resourceVersion=21",
        "pods?limit=500&labelSelector=",
        "resourceVersion=30",
        "pods?limit=500&labelSelector=",
        "pods?limit=500&labelSelector=",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!strstr(server.said[i], parts[i]))
            fail_msg("%zu: %s has no %s", i, server.said[i], parts[i]);
    assert_non_null(strstr(server.said[2], "resourceVersion=10"));
    assert_non_null(strstr(server.said[2], "allowWatchBookmarks=true"));
    assert_int_equal(cache_count(cache, KIND_POD), 1);
    assert_true(feed_listed(watching.feed));
    feed_free(watching.feed);
    bytes_done(&to.text);
    client_done(&client);
    for (int i = 0; i < server.count; i++)
        free(server.said[i]);
}

typedef struct Busy {
    int64_t refused_us;
    atomic_llong again_us; /* after it was refused */
} Busy;

static Then busy(void *context, const Asked *asked, Bytes *reply)
{
    Busy *server = context;
    if (!strstr(asked->target, "watch=1")) {
        reply_json(reply, 200, "", "{\"metadata\": {\"resourceVersion\": \"10\"}, \"items\": []}");
        return THEN_KEEP;
    }
    if (server->refused_us) {
        atomic_store(&server->again_us, clock_mono_us() - server->refused_us);
        return THEN_HANG;
    }
    server->refused_us = clock_mono_us();
    reply_json(reply, 429, "Retry-After: 2\r\n", "{\"reason\": \"TooManyRequests\"}");
    return THEN_KEEP;
}

static void a_watch_waits_as_it_is_asked(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    Busy server = {0};
    Client client = client_of(busy, &server, NULL);
    AUTO(cache_free) Cache *cache = cache_new();
    Told to = {0};
    CacheTaker taker = {.changed = told, .context = &to};
    Watching watching = {.api = client.api, .feed = feed_new(cache, KIND_POD, "a", &taker)};
    Thread *thread = thread_start("watch", watch, &watching);
    int64_t end_us = clock_mono_us() + 300000000;
    while (clock_mono_us() < end_us && !atomic_load(&server.again_us))
        clock_sleep_us(5000);
    api_stop(client.api);
    thread_join(thread);
    assert_true(atomic_load(&server.again_us) >= 2000000);
    feed_free(watching.feed);
    client_done(&client);
}

/* --- what an object's text says of it --- */

static void heads(void **state)
{
    (void)state;
    static const char text[] =
        "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","
        "\"namespace\":\"a\",\"annotations\":{\"x\":\"\\\"managedFields\\\":[]\"},"
        "\"managedFields\":[{\"a\":\"]}\\\"\"},{}],\"resourceVersion\":\"7\"},"
        "\"spec\":{\"managedFields\":[1],\"metadata\":{\"name\":\"q\"}}}}";
    ObjectHead head;
    assert_true(object_head(text, sizeof text - 1, &head));
    assert_string_equal(head.type, "MODIFIED");
    assert_string_equal(head.name, "p");
    assert_string_equal(head.space, "a");
    assert_string_equal(head.version, "7");
    AUTO(mem_free) char *copy = mem_strdup(text);
    AUTO(json_free) json_t *event = object_read(copy, sizeof text - 1, &head);
    AUTO(json_free) json_t *whole = json_loads(text, 0, NULL);
    json_t *meta = json_object_get(json_object_get(whole, "object"), "metadata");
    assert_int_equal(json_object_del(meta, "managedFields"), 0);
    assert_true(json_equal(event, whole));
    /* cut off, it has no head, or is no JSON */
    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++) {
        char *part = memcpy(mem_alloc(bytes + 1), text, bytes + 1);
        bool has = object_head(part, bytes, &head);
        assert_true(has || !head.cut_bytes);
        assert_null(object_read(part, bytes, &head));
        free(part);
    }
    static const char *const others[] = {
        "[]",
        "{}",
        "{\"metadata\":{}}",
        "{\"metadata\":[]}",
        "{\"metadata\":{\"name\":1}}",
        "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"metadata\":"
        "{\"name\":\"p\"}}]}"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        AUTO(mem_free) char *other = mem_strdup(others[i]);
        assert_false(object_head(other, strlen(other), &head));
        AUTO(json_free) json_t *read = object_read(other, strlen(other), &head);
        AUTO(json_free) json_t *all = json_loads(others[i], 0, NULL);
        assert_true(json_equal(read, all));
    }
}

/* What the API server takes, and jansson does not read: one such object is not to cost its list. */
static void what_is_odd_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *becomes;
    } cases[] = {
        {"{\"a\":\"x\\u0000y\",\"b\\u0000\":[\"\\u0000\"]}",
         "{\"a\":\"x\\ufffdy\",\"b\\ufffd\":[\"\\ufffd\"]}"},
        {"{\"a\":\"\\\\u0000\",\"b\":\"\\u0000\"}", "{\"a\":\"\\\\u0000\",\"b\":\"\\ufffd\"}"},
        {"{\"a\":\"\\\"\\u0000\\\\\"}", "{\"a\":\"\\\"\\ufffd\\\\\"}"},
    };
    ObjectHead none = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_free) char *text = mem_strdup(cases[i].text);
        AUTO(json_free) json_t *read = object_read(text, strlen(text), &none);
        AUTO(json_free) json_t *wanted = json_loads(cases[i].becomes, 0, NULL);
        assert_non_null(wanted);
        assert_true(json_equal(read, wanted));
    }
    /* deep, with all that could end it early, and the others beside it */
    Bytes deep = {0};
    reply_text(&deep, "{\"items\":[{\"n\":1},{\"n\":");
    for (int i = 0; i < 5000; i++)
        reply_text(&deep, i % 2 ? "[\"]}\\\"\\u0000\"," : "{\"]\\\\\":");
    reply_text(&deep, "0");
    for (int i = 5000; i-- > 0;)
        reply_text(&deep, i % 2 ? "]" : "}");
    reply_text(&deep, ",\"m\":2},{\"n\":3}]}");
    AUTO(json_free) json_t *list = object_read((char *)deep.data, deep.used, &none);
    const json_t *items = json_object_get(list, "items");
    assert_int_equal(json_array_size(items), 3);
    assert_int_equal(json_integer_value(object_at(json_array_get(items, 0), "n")), 1);
    assert_int_equal(json_integer_value(object_at(json_array_get(items, 1), "m")), 2);
    assert_int_equal(json_integer_value(object_at(json_array_get(items, 2), "n")), 3);
    bytes_done(&deep);
    /* cut off anywhere it is no JSON */
    static const char text[] = "{\"a\":[\"\\u0000\\\"\",{}]}";
    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++) {
        char *part = memcpy(mem_alloc(bytes + 1), text, bytes + 1);
        assert_null(object_read(part, bytes, &none));
        free(part);
    }
}

static void a_value_is_put_into_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *becomes; /* NULL: it has no such place */
    } cases[] = {
        {"{\"a\":{\"b\":1},\"c\":2}", "{\"a\":{\"b\":[3]},\"c\":2}"},
        {"{\"x\":{\"b\":1},\"a\":{\"ab\":\"b\",\"b\":{\"b\":7}}}",
         "{\"x\":{\"b\":1},\"a\":{\"ab\":\"b\",\"b\":[3]}}"},
        {"{\"a\":[1]}", NULL},
        {"{\"a\":{\"c\":1},\"b\":2}", NULL},
        {"{\"a\":{\"b\":", NULL},
        {"[]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_free) char *text = mem_strdup(cases[i].text);
        bool done = object_replace(&text, (const char *const[]){"a", "b", NULL}, "[3]");
        assert_int_equal(done, cases[i].becomes != NULL);
        assert_string_equal(text, done ? cases[i].becomes : cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_current_context_decides),
        cmocka_unit_test(odd_kubeconfigs_are_refused),
        cmocka_unit_test(several_kubeconfigs_are_one),
        cmocka_unit_test(paths),
        cmocka_unit_test(a_server_may_have_another_name),
        cmocka_unit_test(a_429_is_asked_again),
        cmocka_unit_test(a_503_may_say_when),
        cmocka_unit_test(nothing_is_written_behind_the_lease),
        cmocka_unit_test(answers_become_errors),
        cmocka_unit_test(a_renewed_token_is_read_again),
        cmocka_unit_test(files_are_looked_at_again),
        cmocka_unit_test(a_watch_goes_on_where_it_was),
        cmocka_unit_test(a_watch_waits_as_it_is_asked),
        cmocka_unit_test(heads),
        cmocka_unit_test(what_is_odd_is_read),
        cmocka_unit_test(a_value_is_put_into_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
