/* links: firn_operator_reconcile */
/* A Connector, or a LakeTable whose table is to be dropped, that is being deleted: what is asked of
 * the API server, by how far it had come. */
#include "tests/unit/unit.h"

#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "operator/reconcile/reconcile.h"
#include "tests/unit/http_script.h"
#include "tests/unit/tls_script.h"

/* "PATCH /path" …, without queries. */
typedef struct Asks {
    char *said[32];
    size_t count;
    int status; /* 0: what is made for a drop is taken; else the answer, with the next */
    const char *refusal;
    char *words, *meta; /* of the Connector: the status, and the rest, that was written last */
} Asks;

/* What the API server says of a namespace that is going, of a quota, and of a webhook that nobody
 * reaches. */
static const char going[] = "{\"reason\": \"Forbidden\", \"message\": \"it is being terminated\", "
                            "\"details\": {\"causes\": [{\"reason\": \"NamespaceTerminating\", "
                            "\"message\": \"namespace a is being terminated\"}]}}";
static const char quota[] = "{\"reason\": \"Forbidden\", \"message\": \"exceeded quota: jobs\"}";
static const char webhook[] =
    "{\"reason\": \"InternalError\", \"message\": \"failed calling webhook \\\"x\\\"\"}";

static Then answer(void *context, const Asked *asked, Bytes *reply)
{
    Asks *asks = context;
    static const char next[] =
        "{\"metadata\": {\"name\": \"shop\", \"namespace\": \"a\", \"resourceVersion\": \"6\", "
        "\"deletionTimestamp\": \"2026-01-01T00:00:00Z\"}}";
    static const char none[] = "{\"reason\": \"NotFound\", \"message\": \"not there\"}";
    assert_true(asks->count < ARRAY_LEN(asks->said));
    asks->said[asks->count++] =
        mem_format("%s %.*s", asked->method, (int)strcspn(asked->target, "?"), asked->target);
    bool patches = strcmp(asked->method, "PATCH") == 0;
    bool says = patches && strstr(asked->target, "/status");
    char **kept = says ? &asks->words : &asks->meta;
    if (patches && strstr(asked->target, "/connectors/")) {
        free(*kept);
        *kept = mem_strdup((char *)asked->body.data);
    }
    if (strcmp(asked->method, "GET") == 0)
        reply_with(reply, 404, "", none, strlen(none));
    else if (says)
        reply_with(reply, 200, "", next, strlen(next));
    else if (asks->status && strstr(asked->target, "-drop") && patches)
        reply_with(reply, asks->status, "", asks->refusal, strlen(asks->refusal));
    else
        reply_with(reply, 200, "", asked->body.used ? (char *)asked->body.data : "{}",
                   asked->body.used ? asked->body.used : 2);
    return THEN_KEEP;
}

static bool was_asked(const Asks *asks, const char *what)
{
    for (size_t i = 0; i < asks->count; i++)
        if (strcmp(asks->said[i], what) == 0)
            return true;
    return false;
}

typedef struct Rig {
    Asks asks;
    Script *script;
    SSL_CTX *tls;
    Operator op;
} Rig;

/* In the status that was written last. */
static bool has_word(const Rig *rig, const char *reason, const char *message)
{
    AUTO(mem_free) char *wanted = mem_format("\"reason\":\"%s\"", reason);
    return rig->asks.words && strstr(rig->asks.words, wanted) && strstr(rig->asks.words, message);
}

static void nobody(void *context, Kind kind, const json_t *before, const json_t *now)
{
    (void)context, (void)kind, (void)before, (void)now;
}

static void rig_begin(Rig *rig)
{
    ApiConfig *config = mem_zalloc(sizeof *config);
    *rig = (Rig){0};
    log_setup(LOG_ERROR, LOG_LOGFMT);
    rig->tls = tls_with(&config->ca_pem);
    rig->script = script_start(answer, &rig->asks, rig->tls);
    config->server = mem_format("https://127.0.0.1:%u", rig->script->port);
    config->namespace_name = mem_strdup("a");
    rig->op.api = api_new(config);
    rig->op.cache = cache_new();
    rig->op.queue = work_queue_new(0, 1000, 1000);
    rig->op.verdicts = verdicts_new();
    rig->op.reports = reports_new(0, 0);
    rig->op.options.agent = (AgentDefaults){.image = "agent:1", .pull_policy = "Never"};
}

static void rig_end(Rig *rig)
{
    api_free(rig->op.api);
    cache_free(rig->op.cache);
    work_queue_free(rig->op.queue);
    verdicts_free(rig->op.verdicts);
    reports_free(rig->op.reports);
    script_stop(rig->script);
    SSL_CTX_free(rig->tls);
    for (size_t i = 0; i < rig->asks.count; i++)
        free(rig->asks.said[i]);
    free(rig->asks.words);
    free(rig->asks.meta);
}

static void there_is(Rig *rig, Kind kind, json_t *object)
{
    assert_non_null(object);
    json_object_set_new(object, "apiVersion", json_string(kinds[kind].api_version));
    json_object_set_new(object, "kind", json_string(kinds[kind].name));
    CacheTaker taker = {.changed = nobody};
    AUTO(feed_free) Feed *feed = feed_new(rig->op.cache, kind, NULL, &taker);
    WatchTaker into = feed_taker(feed);
    into.changed(into.context, kind, object);
    json_decref(object);
}

static void deleted_connector(Rig *rig, const char *hash, int64_t ago_s)
{
    char when[32];
    status_time(time(NULL) - ago_s, when);
    json_t *connector =
        json_pack("{s{ss ss ss ss ss s[s]} s{s{ss ss ss s{ss}}}}", "metadata", "name", "shop",
                  "namespace", "a", "uid", "u1", "resourceVersion", "5", "deletionTimestamp", when,
                  "finalizers", FINALIZER, "spec", "source", "type", "PostgreSQL", "host", "db",
                  "database", "shop", "credentialsSecretRef", "name", "db");
    if (hash)
        json_object_set_new(connector, "status", json_pack("{ss}", "manifestHash", hash));
    there_is(rig, KIND_CONNECTOR, connector);
}

static void secret(Rig *rig)
{
    there_is(rig, KIND_SECRET,
             json_pack("{s{ss ss ss}}", "metadata", "name", "db", "namespace", "a",
                       "resourceVersion", "1"));
}

static void deployment(Rig *rig)
{
    there_is(rig, KIND_DEPLOYMENT,
             json_pack("{s{ss ss ss s{ss} s[{ss sb}]}}", "metadata", "name", "shop-capture",
                       "namespace", "a", "resourceVersion", "1", "labels", LABEL_CONNECTOR, "shop",
                       "ownerReferences", "uid", "u1", "controller", 1));
}

static void job(Rig *rig, const char *end)
{
    there_is(rig, KIND_JOB,
             json_pack("{s{ss ss ss} s{s[{ss ss}]}}", "metadata", "name", "shop-drop", "namespace",
                       "a", "resourceVersion", "1", "status", "conditions", "type", end, "status",
                       "True"));
}

static void look(Rig *rig)
{
    Look at = {.op = &rig->op,
               .namespace_name = "a",
               .name = "shop",
               .now_s = time(NULL),
               .now_us = clock_mono_us()};
    Error err = {0};
    if (!connector_look(&at, &err))
        fail_msg("%s: %s", err.code, err.message);
}

#define CONNECTOR "PATCH /apis/firn.dev/v1alpha1/namespaces/a/connectors/shop"
#define JOB "/apis/batch/v1/namespaces/a/jobs/shop-drop"
#define EVENT "POST /api/v1/namespaces/a/events"

static void what_never_ran_goes_at_once(void **state)
{
    (void)state;
    Rig rig;
    rig_begin(&rig);
    deleted_connector(&rig, NULL, 0);
    look(&rig);
    assert_int_equal(rig.asks.count, 1);
    assert_string_equal(rig.asks.said[0], CONNECTOR);
    rig_end(&rig);
}

/* Killed after the Deployment was made, before the status said so. */
static void a_deployment_says_that_there_may_be_a_slot(void **state)
{
    (void)state;
    Rig rig;
    rig_begin(&rig);
    deleted_connector(&rig, NULL, 0);
    deployment(&rig);
    secret(&rig);
    look(&rig);
    assert_string_equal(rig.asks.said[0],
                        "DELETE /apis/apps/v1/namespaces/a/deployments/shop-capture");
    assert_true(was_asked(&rig.asks, "PATCH " JOB));
    assert_false(was_asked(&rig.asks, CONNECTOR));
    assert_true(has_word(&rig, "Dropping", "Job shop-drop drops its slot and publication"));
    rig_end(&rig);
}

static void pods_go_before_the_job(void **state)
{
    (void)state;
    Rig rig;
    rig_begin(&rig);
    deleted_connector(&rig, "h", 0);
    there_is(&rig, KIND_POD,
             json_pack("{s{ss ss ss s{ss ss}} s{ss}}", "metadata", "name", "p", "namespace", "a",
                       "resourceVersion", "1", "labels", LABEL_CONNECTOR, "shop", LABEL_ROLE,
                       "capture", "status", "phase", "Running"));
    look(&rig);
    assert_false(was_asked(&rig.asks, "PATCH " JOB));
    assert_false(was_asked(&rig.asks, CONNECTOR));
    assert_true(has_word(&rig, "Stopping", "its Pods are ending"));
    rig_end(&rig);
}

static void the_jobs_end_is_the_end(void **state)
{
    (void)state;
    Rig rig;
    rig_begin(&rig);
    deleted_connector(&rig, "h", 0);
    job(&rig, "Complete");
    look(&rig);
    assert_true(was_asked(&rig.asks, "DELETE " JOB));
    assert_true(was_asked(&rig.asks, CONNECTOR));
    assert_false(was_asked(&rig.asks, EVENT)); /* nothing stayed behind */
    rig_end(&rig);
}

/* Whatever is in the way is told, with what is kept of the status, and nothing is given up. */
static void what_is_in_the_way_is_told(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *refusal, *reason, *message;
    } ways[] = {{403, quota, "ObjectRefused", "exceeded quota"},
                {500, webhook, "ObjectRefused", "failed calling webhook"},
                {0, NULL, "SecretMissing", "Secret db"}};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        Rig rig;
        rig_begin(&rig);
        deleted_connector(&rig, "h", 200);
        if (ways[i].status)
            secret(&rig);
        rig.asks.status = ways[i].status;
        rig.asks.refusal = ways[i].refusal;
        look(&rig);
        assert_true(has_word(&rig, ways[i].reason, ways[i].message));
        assert_true(was_asked(&rig.asks, EVENT)); /* for a person */
        assert_non_null(strstr(rig.asks.words, "\"manifestHash\":\"h\""));
        assert_false(was_asked(&rig.asks, CONNECTOR));
        /* mended, it goes on */
        rig.asks.status = 0;
        if (!ways[i].status)
            secret(&rig);
        look(&rig);
        assert_true(was_asked(&rig.asks, "PATCH " JOB));
        assert_true(has_word(&rig, "Dropping", "Job shop-drop"));
        assert_false(was_asked(&rig.asks, CONNECTOR));
        rig_end(&rig);
    }
}

static void a_job_that_fails_is_made_again(void **state)
{
    (void)state;
    Rig rig;
    rig_begin(&rig);
    deleted_connector(&rig, "h", 0);
    secret(&rig);
    job(&rig, "Failed");
    there_is(&rig, KIND_POD,
             json_pack("{s{ss ss ss s{ss ss}} s{ss s[{s{s{ss}}}]}}", "metadata", "name", "p",
                       "namespace", "a", "resourceVersion", "1", "labels", LABEL_CONNECTOR, "shop",
                       LABEL_ROLE, "drop", "status", "phase", "Failed", "containerStatuses",
                       "state", "terminated", "message",
                       "something\nfirn-agent: drop: ConnectionFailed: refused\n"));
    look(&rig);
    assert_true(was_asked(&rig.asks, "DELETE " JOB));
    assert_false(was_asked(&rig.asks, CONNECTOR));
    assert_true(has_word(&rig, "DropFailed", "firn-agent: drop: ConnectionFailed: refused\""));
    /* the next one, of which nothing is known yet */
    AUTO(feed_free) Feed *feed = feed_new(rig.op.cache, KIND_JOB, NULL, &(CacheTaker){nobody, 0});
    WatchTaker into = feed_taker(feed);
    AUTO(json_free) json_t *gone = cache_get(rig.op.cache, KIND_JOB, "a", "shop-drop");
    into.deleted(into.context, KIND_JOB, gone);
    look(&rig);
    assert_true(was_asked(&rig.asks, "PATCH " JOB));
    assert_true(has_word(&rig, "DropFailed", "refused"));
    assert_false(was_asked(&rig.asks, CONNECTOR));
    rig_end(&rig);
}

static void what_stays_behind_is_named(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        Rig rig;
        rig_begin(&rig);
        deleted_connector(&rig, "h", way == 2 ? 0 : 301);
        secret(&rig);
        if (way == 0)
            job(&rig, "Failed");
        rig.asks.status = way == 2 ? 403 : 0;
        rig.asks.refusal = going;
        look(&rig);
        assert_true(was_asked(&rig.asks, EVENT));
        assert_true(was_asked(&rig.asks, CONNECTOR));
        assert_int_equal(was_asked(&rig.asks, "PATCH /api/v1/namespaces/a/configmaps/shop-drop"),
                         way == 2);
        rig_end(&rig);
    }
}

/* Neither has a slot that is ours to drop: the finalizer goes, of what lives as of what is deleted.
 */
static void without_a_slot_nothing_is_dropped(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        Rig rig;
        rig_begin(&rig);
        deleted_connector(&rig, "h", 0);
        secret(&rig);
        AUTO(json_free) json_t *connector = cache_get(rig.op.cache, KIND_CONNECTOR, "a", "shop");
        json_t *source = object_at(connector, "spec.source");
        if (way % 2)
            json_object_set_new(source, "postgresql", json_pack("{sb}", "manage", 0));
        else
            json_object_set_new(source, "type", json_string("MySQL"));
        if (way < 2)
            json_object_del(object_at(connector, "metadata"), "deletionTimestamp");
        json_object_set_new(object_at(connector, "metadata"), "resourceVersion", json_string("6"));
        there_is(&rig, KIND_CONNECTOR, json_incref(connector));
        look(&rig);
        assert_true(was_asked(&rig.asks, CONNECTOR));
        assert_non_null(strstr(rig.asks.meta, "\"finalizers\":[]"));
        assert_false(was_asked(&rig.asks, "PATCH " JOB));
        rig_end(&rig);
    }
}

/* ---------- a table that is to be dropped ---------- */
#define WITH "{\"kind\":\"LakeTable\",\"metadata\":{\"name\":\"orders\"}}"
#define WITHOUT "{\"kind\":\"Connector\",\"metadata\":{\"name\":\"shop\"}}"
#define UNIT "{\"kind\":\"IngestionUnit\",\"metadata\":{\"name\":\"customers\"}}"
#define ORDERS "{\"kind\":\"IngestionUnit\",\"metadata\":{\"name\":\"orders\"}}"

static void capture_runs(Rig *rig, const char *in_map, const char *in_pods)
{
    char hash[HASH_BYTES];
    hash_as_text(in_pods, hash);
    there_is(rig, KIND_CONFIG_MAP,
             json_pack("{s{ss ss ss} s{ss}}", "metadata", "name", "shop-capture", "namespace", "a",
                       "resourceVersion", "1", "data", "manifest.yaml", in_map));
    there_is(rig, KIND_DEPLOYMENT,
             json_pack("{s{ss ss ss si} s{si s{s{s{ss}}}} s{si si si}}", "metadata", "name",
                       "shop-capture", "namespace", "a", "resourceVersion", "1", "generation", 1,
                       "spec", "replicas", 1, "template", "metadata", "annotations",
                       ANNOTATION_MANIFEST, hash, "status", "observedGeneration", 1, "replicas", 1,
                       "updatedReplicas", 1));
}

/* Whether its table is dropped while the Pods were made with one manifest, and the ConfigMap has
 * another. */
static bool is_dropped(const char *in_map, const char *in_pods, const char *owner)
{
    Rig rig;
    char when[32];
    Error err = {0};
    rig_begin(&rig);
    status_time(time(NULL), when);
    capture_runs(&rig, in_map, in_pods);
    AUTO(json_free)
    json_t *table = json_pack("{ss ss s{ss ss ss ss ss s[s]} s{ss} s{ss}}", "apiVersion",
                              kinds[KIND_LAKE_TABLE].api_version, "kind", "LakeTable", "metadata",
                              "name", "orders", "namespace", "a", "uid", "u2", "resourceVersion",
                              "5", "deletionTimestamp", when, "finalizers", FINALIZER_TABLE, "spec",
                              "deletionPolicy", "Drop", "status", "connector", "shop");
    assert_non_null(table);
    if (owner)
        json_object_set_new(json_object_get(table, "metadata"), "ownerReferences",
                            json_pack("[{ss ss ss sb}]", "kind", "IngestionUnit", "name", owner,
                                      "uid", "u3", "controller", 1));
    Look at = {.op = &rig.op,
               .namespace_name = "a",
               .name = "orders",
               .now_s = time(NULL),
               .now_us = clock_mono_us()};
    if (!lake_table_finalize(&at, table, &err))
        fail_msg("%s: %s", err.code, err.message);
    bool dropped = was_asked(&rig.asks, "PATCH /apis/batch/v1/namespaces/a/jobs/orders-drop-table");
    rig_end(&rig);
    return dropped;
}

static void a_table_is_dropped_once_no_pod_fills_it(void **state)
{
    (void)state;
    assert_false(is_dropped(WITH, WITH, NULL));
    assert_false(is_dropped(WITHOUT, WITH, NULL)); /* the Deployment does not know of the map yet */
    assert_false(is_dropped(WITH, WITHOUT, NULL));
    assert_true(is_dropped(WITHOUT, WITHOUT, NULL));
    /* that of a unit which is gone already: the manifest has it in the unit */
    assert_false(is_dropped(UNIT, UNIT, "customers"));
    assert_true(is_dropped(UNIT, UNIT, "others"));
}

/* ---------- a unit that is deleted, beside one that is refused, or waits ---------- */
static void rest_of_units(Rig *rig, const char *in_map, bool refused)
{
    deleted_connector(rig, "h", 0);
    AUTO(json_free) json_t *live = cache_get(rig->op.cache, KIND_CONNECTOR, "a", "shop");
    json_t *meta = json_object_get(live, "metadata");
    json_object_del(meta, "deletionTimestamp");
    json_object_set_new(meta, "resourceVersion", json_string("6"));
    there_is(rig, KIND_CONNECTOR, json_incref(live));
    secret(rig);
    there_is(rig, KIND_UNIT,
             json_pack("{s{ss ss ss ss} s{s{ss ss} s{ss}}}", "metadata", "name", "orders",
                       "namespace", "a", "uid", "u4", "resourceVersion", "1", "spec",
                       "connectorRef", "name", "shop", "table", "public.orders", "lakeTableRef",
                       "name", "odd"));
    if (refused)
        there_is(rig, KIND_LAKE_TABLE,
                 json_pack("{s{ss ss ss ss} s{s{ss}}}", "metadata", "name", "odd", "namespace", "a",
                           "uid", "t4", "resourceVersion", "1", "spec", "catalog", "warehouse",
                           "no/place"));
    there_is(rig, KIND_CONFIG_MAP,
             json_pack("{s{ss ss ss} s{ss}}", "metadata", "name", "shop-capture", "namespace", "a",
                       "resourceVersion", "1", "data", "manifest.yaml", in_map));
    deployment(rig);
    look(rig);
}

static void a_deleted_unit_is_filled_no_more(void **state)
{
    static const char gone[] = "DELETE /apis/apps/v1/namespaces/a/deployments/shop-capture";
    static const char *const maps[] = {UNIT, ORDERS};
    (void)state;
    for (int i = 0; i < 4; i++) {
        Rig rig;
        State found;
        rig_begin(&rig);
        rest_of_units(&rig, maps[i % 2], i < 2);
        assert_int_equal(was_asked(&rig.asks, gone), i % 2 == 0);
        assert_true(verdicts_get(rig.op.verdicts, 'c', "a", "shop", &found));
        assert_string_equal(found.reason, i < 2 ? "NoValidUnit" : "NoUnits");
        assert_int_equal(found.health, i < 2 ? HEALTH_STALLED : HEALTH_PROGRESS);
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_never_ran_goes_at_once),
        cmocka_unit_test(a_deployment_says_that_there_may_be_a_slot),
        cmocka_unit_test(pods_go_before_the_job),
        cmocka_unit_test(the_jobs_end_is_the_end),
        cmocka_unit_test(what_is_in_the_way_is_told),
        cmocka_unit_test(a_job_that_fails_is_made_again),
        cmocka_unit_test(what_stays_behind_is_named),
        cmocka_unit_test(without_a_slot_nothing_is_dropped),
        cmocka_unit_test(a_table_is_dropped_once_no_pod_fills_it),
        cmocka_unit_test(a_deleted_unit_is_filled_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
