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

static Client client_of(ScriptAnswer *answer, Server *server, const char *token_file)
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
    request.timeout_us = 500000;
    assert_false(api_call(client.api, &request, &answer, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "TooManyRequests");
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
    int64_t end_us = clock_mono_us() + 30000000;
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
        cmocka_unit_test(paths),
        cmocka_unit_test(a_429_is_asked_again),
        cmocka_unit_test(answers_become_errors),
        cmocka_unit_test(a_renewed_token_is_read_again),
        cmocka_unit_test(a_watch_goes_on_where_it_was),
        cmocka_unit_test(heads),
        cmocka_unit_test(a_value_is_put_into_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
