/* links: firn_iceberg */
/* The REST catalog against a server inside the test: it keeps one table, asks for whatever proof it
 * is told to, and strikes with the fault of the moment. */
#include "tests/unit/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/catalog/catalog.h"
#include "tests/unit/iceberg/commit.h"
#include "agent/table/iceberg/change.h"
#include "common/clock.h"
#include "tests/unit/http_script.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        Error err = {0};                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.code, err.message);                                  \
    } while (0)
#define FAILS(call, kind_, code_)                                                                  \
    do {                                                                                           \
        assert_false(call);                                                                        \
        if (why.kind != (kind_) || strcmp(why.code, code_) != 0)                                   \
            fail_msg("%s %s: %s", error_kind_name(why.kind), why.code, why.message);               \
    } while (0)

typedef enum Fault {
    FAULT_NONE,
    STATUS_500_AFTER,  /* the commit is made, the answer is 500 */
    RESET_AFTER,       /* … is lost */
    RESET_BEFORE,      /* nothing is done, the answer is lost */
    EMPTY_CONFLICT,    /* 409 with an empty type */
    BUSY,              /* 429 with Retry-After: 0 */
    EXPIRED,           /* 401 */
    NO_JSON,           /* 200 with something else */
    ANSWER_OF_ANOTHER, /* 200, the metadata has no such snapshot */
    NO_REMOVAL,        /* 500 UnsupportedOperationException on remove-snapshots, always */
} Fault;

static struct Server {
    Script *script;
    pthread_mutex_t lock;
    char folder[64];
    json_t *metadata; /* of the one table; NULL: none */
    int version;
    bool namespaces; /* are there */
    Fault fault;
    int faults;          /* how often it strikes */
    const char *config;  /* what /v1/config says */
    const char *proof;   /* value of Authorization; NULL: none needed */
    const char *extra;   /* members of a table's answer: ,"config":{…} */
    int tokens, commits; /* given, asked for */
    int lifetime_s;
    char key[64]; /* Idempotency-Key of the last commit */
    char path[200];
    bool not_modified;
    const char *location; /* that it chooses; NULL: in the folder */
    int renewals, puts;
    char signed_with[64]; /* the key of the last object that was put */
    const char *refused;  /* "METHOD /end of the path": answered by 400 */
    const char *refusal;  /* … as this type of error */
} server;

static void refuse(Bytes *reply, int status, const char *type, const char *message)
{
    AUTO(mem_free)
    char *body = mem_format("{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":%d}}", message,
                            type, status);
    reply_with(reply, status, status == 429 ? "Retry-After: 0\r\n" : "", body, strlen(body));
}

static void answer_table(Bytes *reply, const json_t *metadata)
{
    char *text = json_dumps(metadata, JSON_COMPACT);
    AUTO(mem_free)
    char *body = mem_format("{\"metadata-location\":\"file://%s/m/%d.json\",\"metadata\":%s%s}",
                            server.folder, server.version, text, server.extra ? server.extra : "");
    AUTO(mem_free) char *etag = mem_format("ETag: \"v%d\"\r\n", server.version);
    reply_with(reply, 200, etag, body, strlen(body));
    free(text);
}

static bool holds(const json_t *requirements)
{
    size_t i;
    json_t *one;
    json_array_foreach(requirements, i, one)
    {
        const char *type = json_string_value(json_object_get(one, "type"));
        const json_t *id = json_object_get(one, "snapshot-id");
        if (strcmp(type, "assert-create") == 0 && server.metadata)
            return false;
        if (strcmp(type, "assert-table-uuid") == 0 &&
            !json_equal(json_object_get(one, "uuid"),
                        json_object_get(server.metadata, "table-uuid")))
            return false;
        if (strcmp(type, "assert-ref-snapshot-id") == 0 &&
            metadata_head(server.metadata) != (json_is_null(id) ? -1 : json_integer_value(id)))
            return false;
    }
    return true;
}

static bool removes(const json_t *updates)
{
    size_t i;
    json_t *one;
    json_array_foreach(updates, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "action")), "remove-snapshots") == 0)
            return true;
    }
    return false;
}

static Then post_commit(const Asked *asked, Bytes *reply)
{
    const char *key = asked_header(asked, "idempotency-key");
    json_t *body = json_loadb((const char *)asked->body.data, asked->body.used, 0, NULL);
    json_t *updates = json_object_get(body, "updates");
    Fault fault = server.faults ? server.fault : FAULT_NONE;
    snprintf(server.key, sizeof server.key, "%s", key ? key : "");
    server.faults -= server.faults > 0;
    server.commits++;
    Then then = THEN_KEEP;
    if (fault == RESET_BEFORE) {
        then = THEN_RESET;
    } else if (fault == BUSY) {
        refuse(reply, 429, "Slow", "slow down");
    } else if (fault == EXPIRED) {
        refuse(reply, 401, "NotAuthorizedException", "expired");
    } else if (fault == EMPTY_CONFLICT || !holds(json_object_get(body, "requirements"))) {
        refuse(reply, 409, "", "requirement failed");
    } else if (fault == NO_REMOVAL && removes(updates)) {
        refuse(reply, 500, "UnsupportedOperationException", "not mine");
        server.faults++;
    } else {
        json_t *old = server.metadata;
        if (fault != ANSWER_OF_ANOTHER) {
            OK((server.metadata = metadata_apply(old, updates, clock_wall_us() / 1000, &err)));
            json_decref(old);
            server.version++;
        }
        if (fault == RESET_AFTER)
            then = THEN_RESET;
        else if (fault == STATUS_500_AFTER)
            refuse(reply, 500, "Boom", "token eyJsecret");
        else if (fault == NO_JSON)
            reply_with(reply, 200, "", "{\"metadata\":[[[[", 16);
        else
            answer_table(reply, server.metadata);
    }
    json_decref(body);
    return then;
}

static Then give_token(const Asked *asked, Bytes *reply)
{
    assert_non_null(strstr((const char *)asked->body.data, "grant_type=client_credentials"));
    assert_non_null(strstr((const char *)asked->body.data, "client_id=me&client_secret=s%26cret"));
    AUTO(mem_free)
    char *body =
        mem_format("{\"access_token\":\"t%d\",\"token_type\":\"bearer\",\"expires_in\":%d}",
                   ++server.tokens, server.lifetime_s);
    reply_with(reply, 200, "", body, strlen(body));
    return THEN_KEEP;
}

static Then about_table(const Asked *asked, Bytes *reply)
{
    const char *tail = strstr(asked->target, "/tables");
    const char *etag = asked_header(asked, "if-none-match");
    AUTO(mem_free) char *now = mem_format("\"v%d\"", server.version);
    if (strcmp(asked->method, "POST") == 0 && strcmp(tail, "/tables") == 0) {
        AUTO(mem_free) char *chosen = mem_format("file://%s/chosen/t", server.folder);
        AUTO(mem_free)
        char *body = mem_format("{\"metadata\":{\"location\":\"%s\"}%s}",
                                server.location ? server.location : chosen,
                                server.extra ? server.extra : "");
        reply_with(reply, 200, "", body, strlen(body));
        return THEN_KEEP;
    }
    if (strcmp(asked->method, "POST") == 0)
        return post_commit(asked, reply);
    if (strstr(tail, "/credentials")) {
        server.renewals++;
        const char *fresh = "{\"storage-credentials\":[{\"prefix\":\"s3://bucket\",\"config\":{"
                            "\"s3.access-key-id\":\"short\",\"s3.secret-access-key\":\"x\"}},"
                            "{\"prefix\":\"s3://bucket/t\",\"config\":{\"s3.access-key-id\":\"K2\","
                            "\"s3.secret-access-key\":\"x\",\"s3.session-token\":\"y\"}},"
                            "{\"prefix\":\"s3://bucket/tother\",\"config\":{"
                            "\"s3.access-key-id\":\"other\",\"s3.secret-access-key\":\"x\"}}]}";
        reply_with(reply, 200, "", fresh, strlen(fresh));
    } else if (!server.metadata) {
        refuse(reply, 404, "NoSuchTableException", "no table");
    } else if (strcmp(asked->method, "DELETE") == 0) {
        json_decref(server.metadata);
        server.metadata = NULL;
        reply_with(reply, 204, "", "", 0);
    } else if (etag && strcmp(etag, now) == 0) {
        server.not_modified = true;
        reply_with(reply, 304, "", "", 0);
    } else {
        answer_table(reply, server.metadata);
    }
    return THEN_KEEP;
}

static bool is_refused(const Asked *asked)
{
    const char *what = server.refused, *tail = what ? strchr(what, ' ') + 1 : NULL;
    size_t method = what ? (size_t)(tail - what) - 1 : 0, bytes = strcspn(asked->target, "?");
    return what && strlen(asked->method) == method && strncmp(asked->method, what, method) == 0 &&
           bytes >= strlen(tail) &&
           memcmp(asked->target + bytes - strlen(tail), tail, strlen(tail)) == 0;
}

static Then serve(void *context, const Asked *asked, Bytes *reply)
{
    (void)context;
    Then then = THEN_KEEP;
    pthread_mutex_lock(&server.lock);
    const char *proof = asked_header(asked, "authorization");
    AUTO(mem_free) char *token = mem_format("Bearer t%d", server.tokens);
    const char *wanted = server.proof && strcmp(server.proof, "oauth") == 0 ? token : server.proof;
    snprintf(server.path, sizeof server.path, "%s", asked->target);
    if (strncmp(asked->target, "/bucket/", 8) == 0) {
        const char *key = proof ? strstr(proof, "Credential=") : NULL;
        server.puts++;
        sscanf(key ? key : "Credential=none/", "Credential=%63[^/]", server.signed_with);
        reply_with(reply, 200, "ETag: \"x\"\r\n", "", 0);
    } else if (strstr(asked->target, "/oauth/tokens"))
        then = give_token(asked, reply);
    else if (wanted && (!proof || strncmp(proof, wanted, strlen(wanted)) != 0))
        refuse(reply, 401, "NotAuthorizedException", "who are you");
    else if (is_refused(asked))
        refuse(reply, 400, server.refusal, "not this one");
    else if (strstr(asked->target, "/config"))
        reply_with(reply, 200, "", server.config, strlen(server.config));
    else if (strstr(asked->target, "/tables"))
        then = about_table(asked, reply);
    else if (strcmp(asked->method, "POST") == 0)
        server.namespaces = true, reply_with(reply, 200, "", "{}", 2);
    else if (server.namespaces)
        reply_with(reply, 200, "", "{}", 2);
    else
        refuse(reply, 404, "NoSuchNamespaceException", "none");
    pthread_mutex_unlock(&server.lock);
    return then;
}

static Store *store;
static char uri[64];

static int setup(void **state)
{
    (void)state;
    server = (struct Server){.config = "{\"defaults\":{},\"overrides\":{}}", .lifetime_s = 3600};
    pthread_mutex_init(&server.lock, NULL);
    snprintf(server.folder, sizeof server.folder, "/tmp/firn-rest-XXXXXX");
    assert_non_null(mkdtemp(server.folder));
    server.script = script_start(serve, NULL, NULL);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u", server.script->port);
    OK((store = store_posix_open(server.folder, &err)));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    script_stop(server.script);
    OK(store_delete_all(store, server.folder, &err));
    store_close(store);
    json_decref(server.metadata);
    pthread_mutex_destroy(&server.lock);
    return 0;
}

static Catalog *opened(const RestOptions *how)
{
    RestOptions options = how ? *how : (RestOptions){0};
    Catalog *catalog;
    options.uri = uri;
    options.store = store;
    OK((catalog = catalog_rest_open(&options, &err)));
    return catalog;
}

static const TableName name = {"a.b", "t", NULL};

static IcebergTable *created(Catalog *catalog)
{
    AUTO(schema_free) Schema *schema = schema_new(1, 0);
    schema->fields[0] = (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64};
    IcebergCreate create = {.format_version = 3, .schema = schema};
    IcebergTable *table;
    OK(iceberg_table_create(catalog, &name, &create, &table, &err));
    return table;
}

static bool append(IcebergTable *table, Error *err)
{
    DataFile file = {.path = iceberg_new_file_uri(table, "", ".parquet"),
                     .record_count = 10,
                     .file_bytes = 100,
                     .first_row_id = -1,
                     .content_offset = -1,
                     .content_bytes = -1};
    const char *const properties[] = {"firn.position.x", "p %SNAPSHOT%"};
    IcebergCommit commit = {
        .added = &file, .added_count = 1, .properties = properties, .property_count = 1};
    int64_t id;
    bool ok = commit_once(table, &commit, &id, err);
    data_file_done(&file);
    return ok;
}

static size_t snapshots(void)
{
    return json_array_size(json_object_get(server.metadata, "snapshots"));
}

static void test_create_and_commit(void **state)
{
    (void)state;
    server.config = "{\"defaults\":{\"prefix\":\"no\"},\"overrides\":{\"prefix\":\"p|q\"},"
                    "\"idempotency-key-lifetime\":\"PT30M\"}";
    AUTO(catalog_close) Catalog *catalog = opened(NULL);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog);
    assert_true(server.namespaces);
    assert_string_equal(server.path, "/v1/p%7Cq/namespaces/a%1Fb/tables/t");
    AUTO(mem_free) char *chosen = mem_format("file://%s/chosen/t", server.folder);
    assert_string_equal(iceberg_location(table), chosen);
    char last[64] = "";
    for (int i = 1; i <= 5; i++) {
        OK(append(table, &err));
        assert_int_equal(snapshots(), i);
        assert_int_equal(strlen(server.key), 36);
        assert_int_equal(server.key[14], '7');
        assert_true(strcmp(server.key, last) > 0);
        memcpy(last, server.key, sizeof last);
    }
    assert_string_equal(
        iceberg_snapshot_summary(table, iceberg_current_snapshot(table), "total-records"), "50");
    /* what did not change is not sent again */
    AUTO(iceberg_table_free) IcebergTable *again = NULL, *third = NULL;
    OK(iceberg_table_load(catalog, &name, &again, &err));
    OK(iceberg_table_load(catalog, &name, &third, &err));
    assert_true(server.not_modified);
    assert_int_equal(iceberg_current_snapshot(third), iceberg_current_snapshot(table));
    OK(catalog_drop(catalog, &name, true, &err));
    assert_null(server.metadata);
    OK(catalog_drop(catalog, &name, true, &err));
    AUTO(mem_free) char *list = mem_format("%s/chosen/t/metadata", server.folder);
    assert_int_equal(access(list, F_OK), -1);
}

/* The commit under the fault, and one after it. */
static void strike(Fault fault, int faults, bool ok, ErrorKind kind, const char *code, int commits)
{
    AUTO(catalog_close) Catalog *catalog = opened(NULL);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog);
    OK(append(table, &err));
    server.fault = fault;
    server.faults = faults;
    server.commits = 0;
    Error why = {0};
    if (ok)
        OK(append(table, &err));
    else
        FAILS(append(table, &why), kind, code);
    assert_null(strstr(why.message, "eyJ"));
    assert_int_equal(server.commits, commits);
    assert_int_equal(snapshots(), ok ? 2 : 1);
    server.faults = 0;
    OK(append(table, &err));
    assert_int_equal(snapshots(), ok ? 3 : 2);
}

static void test_500_after_success(void **state)
{
    (void)state;
    strike(STATUS_500_AFTER, 1, true, 0, NULL, 1);
}

static void test_lost_answer(void **state)
{
    (void)state;
    strike(RESET_AFTER, 1, true, 0, NULL, 1);
}

static void test_never_arrived_is_sent_again(void **state)
{
    (void)state;
    strike(RESET_BEFORE, 1, true, 0, NULL, 2);
}

static void test_unknown_in_the_end(void **state)
{
    (void)state;
    strike(RESET_BEFORE, 99, false, ERROR_RETRY, "CommitStateUnknown", 3);
}

static void test_conflict_with_empty_type(void **state)
{
    (void)state;
    strike(EMPTY_CONFLICT, 1, false, ERROR_CONFLICT, "CommitConflict", 1);
}

static void test_busy(void **state)
{
    (void)state;
    strike(BUSY, 2, true, 0, NULL, 3);
}

static void test_answers_that_say_nothing(void **state)
{
    (void)state;
    strike(NO_JSON, 1, true, 0, NULL, 1);
}

static void test_answer_of_another(void **state)
{
    (void)state;
    strike(ANSWER_OF_ANOTHER, 1, true, 0, NULL, 2);
}

static void test_no_removal(void **state)
{
    (void)state;
    AUTO(catalog_close) Catalog *catalog = opened(NULL);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog);
    const IcebergRetention at_once = {
        .metadata_files = 10, .merge_manifests = 100, .manifest_bytes = 8 << 20};
    iceberg_set_retention(table, &at_once);
    for (int i = 0; i < 4; i++)
        OK(append(table, &err));
    assert_in_range(snapshots(), 1, 3);
    size_t before = snapshots();
    server.fault = NO_REMOVAL;
    server.faults = 1000;
    server.commits = 0;
    for (int i = 0; i < 40; i++)
        OK(append(table, &err));
    assert_int_equal(server.commits, 41); /* it struck once, and was not asked for again */
    assert_int_equal(snapshots(), before + 40);
}

static void test_foreign_commit(void **state)
{
    (void)state;
    AUTO(catalog_close) Catalog *catalog = opened(NULL);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog), *other = NULL;
    OK(iceberg_table_load(catalog, &name, &other, &err));
    OK(append(other, &err));
    Error why = {0};
    FAILS(append(table, &why), ERROR_CONFLICT, "CommitConflict");
    bool changed;
    OK(iceberg_table_refresh(table, &changed, &err));
    assert_true(changed);
    OK(append(table, &err));
    assert_int_equal(snapshots(), 2);
}

/* What the catalog does not want: the reason says at which step, the message repeats the answer. */
static void test_refusals(void **state)
{
    (void)state;
    enum { CREATE, COMMIT, LOAD, DROP };
    static const struct {
        int step;
        const char *refused, *code, *way_out;
    } cases[] = {
        {LOAD, "GET /tables/t", "CatalogRefused", "spec.catalog.uri"},
        {CREATE, "GET /a%1Fb", "NamespaceRefused", "spec.database"},
        {CREATE, "POST /namespaces", "NamespaceRefused", "make the namespace by hand"},
        {CREATE, "POST /tables", "TableRefused", "LakeTable's spec"},
        {CREATE, "POST /tables/t", "CommitRefused", "not this one"},
        {COMMIT, "POST /tables/t", "CommitRefused", "not this one"},
        {DROP, "DELETE /tables/t", "DropRefused", "drop it by hand"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(catalog_close) Catalog *catalog = opened(NULL);
        AUTO(iceberg_table_free) IcebergTable *table = NULL, *other = NULL;
        if (cases[i].step != CREATE)
            table = created(catalog);
        server.refusal = "BadRequestException";
        server.refused = cases[i].refused;
        Error why = {0};
        AUTO(schema_free) Schema *schema = schema_new(1, 0);
        schema->fields[0] = (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64};
        IcebergCreate create = {.format_version = 2, .schema = schema};
        if (cases[i].step == CREATE)
            FAILS(iceberg_table_create(catalog, &name, &create, &other, &why), ERROR_CONFIG,
                  cases[i].code);
        else if (cases[i].step == COMMIT)
            FAILS(append(table, &why), ERROR_CONFIG, cases[i].code);
        else if (cases[i].step == LOAD)
            FAILS(iceberg_table_load(catalog, &name, &other, &why), ERROR_CONFIG, cases[i].code);
        else
            FAILS(catalog_drop(catalog, &name, false, &why), ERROR_CONFIG, cases[i].code);
        assert_non_null(strstr(why.message, "status 400, BadRequestException"));
        assert_non_null(strstr(why.message, cases[i].way_out));
        assert_int_equal(snapshots(), 0);
        server.refused = NULL;
        if (table)
            OK(append(table, &err)); /* it is as it was */
        OK(catalog_drop(catalog, &name, false, &err));
        server.namespaces = false;
    }
    AUTO(catalog_close) Catalog *catalog = opened(NULL);
    AUTO(iceberg_table_free) IcebergTable *table = NULL;
    server.refused = "GET /tables/t";
    server.refusal = "UnsupportedOperationException";
    Error why = {0};
    FAILS(iceberg_table_load(catalog, &name, &table, &why), ERROR_CONFIG, "Unsupported");
}

static void test_oauth(void **state)
{
    (void)state;
    const RestOptions how = {
        .auth = REST_AUTH_OAUTH2, .client_id = "me", .client_secret = "s&cret"};
    server.proof = "oauth";
    AUTO(catalog_close) Catalog *catalog = opened(&how);
    assert_int_equal(server.tokens, 1);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog);
    assert_int_equal(server.tokens, 1);
    server.fault = EXPIRED; /* by the server, before its time */
    server.faults = 1;
    OK(append(table, &err));
    assert_int_equal(server.tokens, 2);
    server.faults = 99; /* and with the new one, too */
    Error why = {0};
    FAILS(append(table, &why), ERROR_CONFIG, "Unauthorized");
    assert_non_null(strstr(why.message, "spec.catalog.credentialsSecretRef"));
    assert_null(strstr(why.message, "s&cret"));
}

static void test_tokens_are_renewed_in_time(void **state)
{
    (void)state;
    const RestOptions how = {
        .auth = REST_AUTH_OAUTH2, .client_id = "me", .client_secret = "s&cret"};
    server.proof = "oauth";
    server.lifetime_s = 0; /* taken for a second */
    AUTO(catalog_close) Catalog *catalog = opened(&how);
    int64_t until = clock_mono_us() + 100000000;
    while (server.tokens < 2 && clock_mono_us() < until) {
        CatalogEntry entry;
        OK(catalog_load(catalog, &name, &entry, &err)); /* never once refused */
        catalog_entry_done(&entry);
    }
    assert_int_equal(server.tokens, 2);
}

static void test_bearer_and_signature(void **state)
{
    (void)state;
    RestOptions how = {.auth = REST_AUTH_BEARER, .token = "abc"};
    server.proof = "Bearer abc";
    catalog_close(opened(&how));
    Error why = {0};
    how = (RestOptions){.uri = uri, .auth = REST_AUTH_BEARER, .token = "wrong-token"};
    assert_null(catalog_rest_open(&how, &why));
    assert_string_equal(why.code, "Unauthorized");
    assert_null(strstr(why.message, "wrong-token"));
    const AwsKeys keys = {.access_key = (char[]){"AK"}, .secret_key = (char[]){"SK"}};
    AUTO(aws_credentials_free) AwsCredentials *credentials = aws_credentials_static(&keys);
    how = (RestOptions){.auth = REST_AUTH_SIGV4,
                        .signing_credentials = credentials,
                        .signing_region = "eu-west-1",
                        .signing_service = "glue"};
    server.proof = "AWS4-HMAC-SHA256 Credential=AK/";
    catalog_close(opened(&how));
}

/* Keys that end in a moment are renewed before they are used, by the endpoint where there is one,
 * else by loading the table; of several the ones for the longest prefix are taken. */
static void vend(bool endpoint)
{
    int64_t now_ms = clock_wall_us() / 1000;
    AUTO(mem_free)
    char *extra =
        mem_format(",\"config\":{\"s3.access-key-id\":\"K1\",\"s3.secret-access-key\":\"x\","
                   "\"s3.session-token\":\"y\",\"s3.session-token-expires-at-ms\":\"%lld\","
                   "\"client.region\":\"eu-west-1\",\"s3.endpoint\":\"%s\","
                   "\"s3.path-style-access\":\"true\"}",
                   (long long)now_ms + 5000, uri);
    AUTO(mem_free) char *later = NULL;
    server.config = endpoint ? "{\"endpoints\":[\"GET /v1/{prefix}/namespaces/{namespace}/tables/"
                               "{table}/credentials\"]}"
                             : "{}";
    server.location = "s3://bucket/t";
    server.extra = extra;
    const RestOptions how = {.vended = true};
    AUTO(catalog_close) Catalog *catalog = opened(&how);
    AUTO(iceberg_table_free) IcebergTable *table = created(catalog);
    assert_string_equal(iceberg_location(table), "s3://bucket/t");
    if (!endpoint) {
        later = mem_format(",\"config\":{\"s3.access-key-id\":\"K3\",\"s3.secret-access-key\":"
                           "\"x\",\"s3.endpoint\":\"%s\",\"s3.path-style-access\":\"true\"}",
                           uri);
        server.extra = later;
    }
    OK(store_put(iceberg_store(table), "s3://bucket/t/data/1", "x", 1, &err));
    assert_int_equal(server.puts, 1);
    assert_string_equal(server.signed_with, endpoint ? "K2" : "K3");
    assert_int_equal(server.renewals > 0, endpoint);
    int renewals = server.renewals;
    OK(store_put(iceberg_store(table), "s3://bucket/t/data/2", "x", 1, &err));
    assert_int_equal(server.renewals, renewals);
    server.extra = NULL;
}

static void test_vended_keys_by_the_endpoint(void **state)
{
    (void)state;
    vend(true);
}

static void test_vended_keys_by_loading(void **state)
{
    (void)state;
    vend(false);
}

static void test_what_is_no_catalog(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "[]", "<html>", "{\"defaults\":"};
    const RestOptions how = {.uri = uri};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        Error why = {0};
        server.config = bodies[i];
        assert_null(catalog_rest_open(&how, &why));
        assert_int_equal(why.kind, ERROR_CONFIG);
        assert_string_equal(why.code, "NotACatalog");
        assert_non_null(strstr(why.message, "spec.catalog.uri"));
    }
    /* members of the wrong type are as if they were not there */
    server.config = "{\"defaults\":[],\"overrides\":7,\"endpoints\":{},\"x\":null}";
    catalog_close(opened(NULL));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_create_and_commit),
        TEST(test_500_after_success),
        TEST(test_lost_answer),
        TEST(test_never_arrived_is_sent_again),
        TEST(test_unknown_in_the_end),
        TEST(test_conflict_with_empty_type),
        TEST(test_busy),
        TEST(test_answers_that_say_nothing),
        TEST(test_answer_of_another),
        TEST(test_no_removal),
        TEST(test_foreign_commit),
        TEST(test_refusals),
        TEST(test_oauth),
        TEST(test_tokens_are_renewed_in_time),
        TEST(test_bearer_and_signature),
        TEST(test_vended_keys_by_the_endpoint),
        TEST(test_vended_keys_by_loading),
        TEST(test_what_is_no_catalog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
