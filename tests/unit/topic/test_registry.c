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

/* ---------- a schema with what it imports ---------- */
static const struct {
    const char *path;
    int status;
    const char *body;
} kept[] = {
    {"/apis/ccompat/v7/schemas/ids/1", 200,
     "{\"schemaType\":\"PROTOBUF\",\"schema\":\"main\",\"references\":[{\"name\":\"a/b.proto\","
     "\"subject\":\"a b\",\"version\":3},{\"name\":\"c.proto\",\"subject\":\"c\",\"version\":1}]}"},
    {"/apis/ccompat/v7/subjects/a%20b/versions/3", 200,
     "{\"schemaType\":\"PROTOBUF\",\"schema\":\"ab\",\"references\":[{\"name\":\"c.proto\","
     "\"subject\":\"c\",\"version\":1},{\"name\":\"a/b.proto\",\"subject\":\"a "
     "b\",\"version\":3}]}"},
    {"/apis/ccompat/v7/subjects/c/versions/1", 200,
     "{\"schemaType\":\"PROTOBUF\",\"schema\":\"c\"}"},
    {"/apis/ccompat/v7/schemas/ids/2", 200, "{\"schema\":\"avro\"}"},
    {"/apis/ccompat/v7/schemas/ids/3", 200,
     "{\"schemaType\":\"PROTOBUF\",\"schema\":\"m\",\"references\":[{\"name\":\"x\",\"subject\":"
     "\"gone\",\"version\":1}]}"},
    {"/apis/ccompat/v7/schemas/ids/4", 200,
     "{\"schemaType\":\"PROTOBUF\",\"schema\":\"m\",\"references\":[{\"name\":\"x\"}]}"},
    {"/apis/ccompat/v7/schemas/ids/5", 200, "{\"schemaType\":\"PROTOBUF\"}"},
    {"/apis/ccompat/v7/schemas/ids/6", 200, "{\"schemaType\":\"JSON\",\"schema\":\"{}\"}"},
    {"/apis/ccompat/v7/schemas/ids/7", 503, "{}"},
};

static Then look_up(void *context, const Asked *asked, Bytes *reply)
{
    int *count = context;
    ++*count;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (strcmp(asked->target, kept[i].path) == 0) {
            reply_with(reply, kept[i].status, "", kept[i].body, strlen(kept[i].body));
            return THEN_KEEP;
        }
    reply_with(reply, 404, "", "{}", 2);
    return THEN_KEEP;
}

static void fetches(void **state)
{
    (void)state;
    static const struct {
        uint32_t id;
        RegistryKind kind;
        ErrorKind is;
        const char *code, *says;
    } refused[] = {
        {1, REGISTRY_AVRO, ERROR_DATA, "UnknownSchemaId", "schemas/ids/1 is none of Avro"},
        {2, REGISTRY_PROTOBUF, ERROR_DATA, "UnknownSchemaId", "is none of Protobuf"},
        {3, REGISTRY_PROTOBUF, ERROR_DATA, "UnknownSchemaId", "has no subjects/gone/versions/1"},
        {4, REGISTRY_PROTOBUF, ERROR_RETRY, "RegistryAnswer", "name, subject and version"},
        {5, REGISTRY_PROTOBUF, ERROR_RETRY, "RegistryAnswer", "no schema"},
        {6, REGISTRY_AVRO, ERROR_DATA, "UnknownSchemaId", "is none of Avro"},
        {7, REGISTRY_AVRO, ERROR_RETRY, "RegistryAway", "503"},
        {8, REGISTRY_AVRO, ERROR_DATA, "UnknownSchemaId", "has no schemas/ids/8"},
    };
    int count = 0;
    Script *script = script_start(look_up, &count, NULL);
    Registry *registry = open_registry(script, (RegistryOptions){0});
    Error err = {0};
    WriterSchema schema;
    if (!registry_fetch(registry, 1, REGISTRY_PROTOBUF, &schema, &err))
        fail_msg("%s", err.message);
    assert_string_equal(schema.text, "main");
    assert_int_equal(schema.import_count, 2); /* each once, though they import each other */
    assert_string_equal(schema.imports[0].name, "a/b.proto");
    assert_string_equal(schema.imports[0].text, "ab");
    assert_string_equal(schema.imports[1].name, "c.proto");
    assert_string_equal(schema.imports[1].text, "c");
    assert_int_equal(count, 3);
    writer_schema_done(&schema);
    assert_true(registry_fetch(registry, 2, REGISTRY_AVRO, &schema, &err));
    assert_string_equal(schema.text, "avro");
    writer_schema_done(&schema);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        err = (Error){0};
        assert_false(registry_fetch(registry, refused[i].id, refused[i].kind, &schema, &err));
        assert_int_equal(err.kind, refused[i].is);
        assert_string_equal(err.code, refused[i].code);
        if (!strstr(err.message, refused[i].says))
            fail_msg("%u: %s", refused[i].id, err.message);
        assert_null(schema.text);
    }
    registry_free(registry);
    script_stop(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_once), cmocka_unit_test(remembers_so_many),
        cmocka_unit_test(refusals), cmocka_unit_test(unreachable_and_misnamed),
        cmocka_unit_test(fetches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
