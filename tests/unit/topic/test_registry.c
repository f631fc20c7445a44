/* links: firn_topic */
/* The schema registry's client, against one that says whatever it likes. */
#include "tests/unit/unit.h"

#include "tests/unit/http_script.h"

#include "agent/topic/registry.h"

typedef struct Says {
    int status;
    const char *body;
    char target[512];
    char authorization[256];
    char kind[128];
    char asked[2048];
    int count;
} Says;

static Then answer(void *context, const Asked *asked, Bytes *reply)
{
    Says *says = context;
    says->count++;
    const char *authorization = asked_header(asked, "Authorization");
    const char *kind = asked_header(asked, "Content-Type");
    snprintf(says->target, sizeof says->target, "%s %s", asked->method, asked->target);
    snprintf(says->authorization, sizeof says->authorization, "%s",
             authorization ? authorization : "");
    snprintf(says->kind, sizeof says->kind, "%s", kind ? kind : "");
    snprintf(says->asked, sizeof says->asked, "%.*s", (int)asked->body.used,
             (const char *)asked->body.data);
    reply_with(reply, says->status, "", says->body, strlen(says->body));
    return THEN_KEEP;
}

static Registry *open_registry(const Script *script, RegistryOptions options)
{
    char url[64];
    Error err = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/apis/ccompat/v7/", script->port);
    options.url = url;
    Registry *registry = registry_new(&options, &err);
    if (!registry)
        fail_msg("%s: %s", err.code, err.message);
    return registry;
}

static void registers_once(void **state)
{
    (void)state;
    Says says = {.status = 200, .body = "{\"id\": 7}"};
    Script *script = script_start(answer, &says, NULL);
    Registry *registry =
        open_registry(script, (RegistryOptions){.username = "u", .password = "p:w"});
    Error err = {0};
    uint32_t id = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(registry_register(registry, "a b/c-value", "{\"type\":\"string\"}", &id, &err));
        assert_int_equal(id, 7);
    }
    assert_int_equal(says.count, 1);
    assert_string_equal(says.target, "POST /apis/ccompat/v7/subjects/a%20b%2Fc-value/versions");
    assert_string_equal(says.asked, "{\"schema\":\"{\\\"type\\\":\\\"string\\\"}\"}");
    assert_string_equal(says.authorization, "Basic dTpwOnc=");
    assert_string_equal(says.kind, "application/vnd.schemaregistry.v1+json");
    says.body = "{\"id\": 2147483647, \"more\": []}";
    assert_true(registry_register(registry, "other", "{\"type\":\"string\"}", &id, &err));
    assert_int_equal(id, 2147483647);
    registry_free(registry);
    registry = open_registry(script, (RegistryOptions){.token = "t0ken"});
    assert_true(registry_register(registry, "s", "x", &id, &err));
    assert_string_equal(says.authorization, "Bearer t0ken");
    registry_free(registry);
    script_stop(script);
}

static void remembers_so_many(void **state)
{
    (void)state;
    Says says = {.status = 200, .body = "{\"id\": 1}"};
    Script *script = script_start(answer, &says, NULL);
    Registry *registry = open_registry(script, (RegistryOptions){.ids_max = 2});
    Error err = {0};
    uint32_t id;
    static const char *const order[] = {"a", "b", "a", "c", "b", "a"};
    static const int asked[] = {1, 2, 2, 3, 3, 4}; /* c takes a's place */
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_true(registry_register(registry, order[i], "x", &id, &err));
        assert_int_equal(says.count, asked[i]);
    }
    registry_free(registry);
    script_stop(script);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        ErrorKind kind;
        const char *code, *says;
    } cases[] = {
        {409, "{\"error_code\":409,\"message\":\"it is\\nincompatible\"}", ERROR_CONFIG,
         "SchemaRefused", "it is incompatible"},
        {422, "not json", ERROR_CONFIG, "SchemaRefused", "no reason given"},
        {401, "", ERROR_CONFIG, "RegistryDenied", "credentialsSecretRef"},
        {403, "{}", ERROR_CONFIG, "RegistryDenied", "403"},
        {404, "<html>", ERROR_CONFIG, "RegistryNotFound", "ccompat"},
        {500, "{\"message\": 7}", ERROR_RETRY, "RegistryAway", "500"},
        {302, "", ERROR_RETRY, "RegistryAway", "302"},
        {200, "", ERROR_RETRY, "RegistryAnswer", "no id"},
        {200, "[[[[[[[[", ERROR_RETRY, "RegistryAnswer", "no id"},
        {200, "{\"id\": -1}", ERROR_RETRY, "RegistryAnswer", "no id"},
        {200, "{\"id\": 4294967296}", ERROR_RETRY, "RegistryAnswer", "no id"},
        {200, "{\"id\": \"7\"}", ERROR_RETRY, "RegistryAnswer", "no id"},
        {200, "{\"id\": 7.5}", ERROR_RETRY, "RegistryAnswer", "no id"},
    };
    Says says = {0};
    Script *script = script_start(answer, &says, NULL);
    Registry *registry =
        open_registry(script, (RegistryOptions){.username = "u", .password = "sesame"});
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        uint32_t id;
        says.status = cases[i].status;
        says.body = cases[i].body;
        assert_false(registry_register(registry, "s-value", "x", &id, &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_string_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].says))
            fail_msg("%d: %s", cases[i].status, err.message);
        assert_null(strstr(err.message, "sesame"));
        assert_int_equal(says.count, i + 1); /* nothing of it is remembered */
    }
    registry_free(registry);
    script_stop(script);
}

static void unreachable_and_misnamed(void **state)
{
    (void)state;
    Error err = {0};
    uint32_t id;
    Says says = {.status = 200, .body = "{\"id\": 1}"};
    Script *script = script_start(answer, &says, NULL);
    Registry *registry = open_registry(script, (RegistryOptions){0});
    script_stop(script);
    assert_false(registry_register(registry, "s", "x", &id, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "Unreachable");
    registry_free(registry);
    static const char *const urls[] = {"registry:8081", "ftp://x", "http://x/?a=b",
                                       "http://u:p@x",  "",        NULL};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        assert_null(registry_new(&(RegistryOptions){.url = urls[i]}, &err));
        assert_string_equal(err.code, "RegistryUrl");
    }
    assert_null(registry_new(&(RegistryOptions){.url = "https://x", .ca_pem = "no pem"}, &err));
    assert_string_equal(err.code, "BadCertificate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_once), cmocka_unit_test(remembers_so_many),
        cmocka_unit_test(refusals), cmocka_unit_test(unreachable_and_misnamed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
