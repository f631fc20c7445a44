/* links: firn_operator_desired */
#include "tests/unit/operator/objects.h"

#include <stdio.h>

#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

static const AgentDefaults defaults = {.image = "firn/agent:1", .pull_policy = "IfNotPresent"};

static const char connector_text[] =
    "{\"apiVersion\": \"firn.dev/v1alpha1\", \"kind\": \"Connector\","
    " \"metadata\": {\"name\": \"shop\", \"namespace\": \"retail\", \"uid\": \"u-1\"},"
    " \"spec\": {\"source\": {\"type\": \"PostgreSQL\", \"host\": \"db\", \"database\": \"shop\","
    "   \"credentialsSecretRef\": {\"name\": \"shop-db\"},"
    "   \"tls\": {\"mode\": \"VerifyFull\", \"caSecretRef\": {\"name\": \"ca\"}}}}}";

static json_t *unit_of(const char *name, const char *table, const char *lake, const char *made)
{
    json_t *unit =
        json_pack("{ss ss s{ss ss ss ss} s{s{ss ss} s{ss}}}", "apiVersion", "firn.dev/v1alpha1",
                  "kind", "IngestionUnit", "metadata", "name", name, "namespace", "retail", "uid",
                  name, "creationTimestamp", made, "spec", "connectorRef", "name", "shop", "table",
                  table, "lakeTableRef", "name", lake);
    assert_non_null(unit);
    return unit;
}

static json_t *table_of(const char *name, const char *folder)
{
    json_t *table =
        json_pack("{ss ss s{ss ss} s{s{ss} s{ss} ss ss ss}}", "apiVersion", "firn.dev/v1alpha1",
                  "kind", "LakeTable", "metadata", "name", name, "namespace", "retail", "spec",
                  "catalog", "warehouse", "s3://lake/x", "storage", "region", "eu-west-1",
                  "database", "retail", "tableName", name, "location", folder);
    assert_non_null(table);
    return table;
}

static json_t *made_of(json_t *connector)
{
    json_t *secrets = json_pack("[ss]", "ca", "shop-db");
    ConnectorInput input = {.connector = connector,
                            .manifest = "text",
                            .manifest_hash = "m1",
                            .secrets = secrets,
                            .secrets_hash = "s1",
                            .defaults = &defaults};
    json_t *list = desired_of_connector(&input);
    json_decref(secrets);
    return list;
}

static void names_fit(void **state)
{
    (void)state;
    char a[NAME_BYTES_MAX], b[NAME_BYTES_MAX];
    name_of_child("shop", "-capture", a);
    assert_string_equal(a, "shop-capture");
    name_of_child("shop.eu", "-capture", a);
    name_of_child("shop-eu", "-capture", b);
    assert_string_equal(b, "shop-eu-capture");
    assert_string_not_equal(a, b);
    assert_null(strchr(a, '.'));
    name_of_child("7up", "-capture", a);
    assert_true(a[0] == 'f');
    char longest[254];
    memset(longest, 'x', 253);
    longest[253] = '\0';
    name_of_child(longest, "-capture", a);
    assert_int_equal(strlen(a), 63);
    longest[252] = 'y';
    name_of_child(longest, "-capture", b);
    assert_string_not_equal(a, b);
    name_of_label(longest, a);
    assert_true(strlen(a) <= 63);
}

/* https://kubernetes.io/docs/concepts/security/pod-security-standards: restricted */
static void pods_are_restricted(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *list = made_of(connector);
    assert_int_equal(json_array_size(list), 6);
    const json_t *spec = object_at(of_kind(list, KIND_DEPLOYMENT), "spec.template.spec");
    const json_t *container = json_array_get(json_object_get(spec, "containers"), 0);
    assert_true(json_is_true(object_at(spec, "securityContext.runAsNonRoot")));
    assert_string_equal(object_text(spec, "securityContext.seccompProfile.type"), "RuntimeDefault");
    assert_true(json_is_false(object_at(spec, "automountServiceAccountToken")));
    assert_true(json_is_false(object_at(container, "securityContext.allowPrivilegeEscalation")));
    assert_true(json_is_true(object_at(container, "securityContext.readOnlyRootFilesystem")));
    AUTO(json_free) json_t *all = json_pack("[s]", "ALL");
    assert_true(json_equal(object_at(container, "securityContext.capabilities.drop"), all));
    assert_non_null(object_at(container, "resources.limits.memory"));
    assert_non_null(object_at(container, "readinessProbe.httpGet"));
    assert_true(json_integer_value(object_at(spec, "terminationGracePeriodSeconds")) > 50);
    assert_string_equal(object_text(of_kind(list, KIND_DEPLOYMENT), "spec.strategy.type"),
                        "Recreate");
    /* each Secret where --secrets looks */
    AUTO(mem_free) char *mounts = object_dump(object_at(container, "volumeMounts"));
    assert_non_null(strstr(mounts, "\"/etc/firn/secrets/shop-db\""));
    assert_non_null(strstr(mounts, "\"/etc/firn/secrets/ca\""));
}

/* A table asks for its orphans to be removed: a container beside the agent's does it. */
static void maintenance_has_a_container(void **state)
{
    (void)state;
    static const char laid_over[] =
        "{\"spec\": {\"volumes\": [{\"name\": \"lake\", \"emptyDir\": {}}], \"containers\": ["
        "{\"name\": \"maintain\", \"resources\": {\"limits\": {\"memory\": \"1Gi\"}}},"
        "{\"name\": \"agent\", \"volumeMounts\":"
        " [{\"name\": \"lake\", \"mountPath\": \"/lake\"}]}]}}";
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *secrets = json_pack("[s]", "shop-db");
    json_object_set_new(object_at(connector, "spec"), "agent",
                        json_pack("{so so}", "podTemplate", parsed(laid_over), "resources",
                                  parsed("{\"limits\": {\"memory\": \"3Gi\"}}")));
    ConnectorInput input = {.connector = connector,
                            .manifest = "text",
                            .manifest_hash = "m1",
                            .secrets = secrets,
                            .secrets_hash = "s1",
                            .channel_host = "operator",
                            .channel_trust = "ca",
                            .defaults = &defaults};
    for (int maintains = 0; maintains < 2; maintains++) {
        input.maintains = maintains;
        AUTO(json_free) json_t *list = desired_of_connector(&input);
        const json_t *template = object_at(of_kind(list, KIND_DEPLOYMENT), "spec.template");
        const json_t *containers = object_at(template, "spec.containers");
        const json_t *agent = json_array_get(containers, 0),
                     *beside = json_array_get(containers, 1);
        assert_int_equal(json_array_size(containers), 1 + maintains);
        assert_string_equal(object_text(agent, "name"), "agent");
        AUTO(mem_free) char *arguments = object_dump(object_at(agent, "args"));
        assert_int_equal(strstr(arguments, "--no-maintenance") != NULL, maintains);
        AUTO(mem_free)
        char *policy = object_dump(object_at(of_kind(list, KIND_NETWORK_POLICY), "spec.ingress"));
        assert_int_equal(strstr(policy, "8081") != NULL, maintains);
        if (!maintains)
            continue;
        assert_string_equal(object_text(beside, "name"), "maintain");
        AUTO(json_free)
        json_t *wanted = parsed("[\"maintain\", \"--file=/etc/firn/manifest/manifest.yaml\","
                                " \"--secrets=/etc/firn/secrets\", \"--http=0.0.0.0:8081\","
                                " \"--log-format=json\"]");
        assert_true(json_equal(object_at(beside, "args"), wanted));
        assert_string_equal(object_text(beside, "image"), object_text(agent, "image"));
        assert_true(
            json_equal(object_at(beside, "securityContext"), object_at(agent, "securityContext")));
        assert_string_equal(object_text(agent, "resources.limits.memory"), "3Gi");
        assert_string_equal(object_text(beside, "resources.limits.memory"), "1Gi");
        assert_string_equal(object_text(beside, "resources.requests.memory"), "32Mi");
        assert_null(object_at(beside, "readinessProbe"));
        assert_string_equal(object_text(beside, "livenessProbe.httpGet.port"), "maintain");
        AUTO(mem_free) char *mounts = object_dump(object_at(beside, "volumeMounts"));
        assert_non_null(strstr(mounts, "\"/lake\""));
        assert_non_null(strstr(mounts, "\"/etc/firn/secrets/shop-db\""));
        assert_null(strstr(mounts, "channel"));
        AUTO(mem_free) char *annotations = object_dump(object_at(template, "metadata.annotations"));
        assert_non_null(
            strstr(annotations, "\"kubectl.kubernetes.io/default-container\":\"agent\""));
    }
    AUTO(json_free) json_t *job = desired_drop(&input);
    assert_int_equal(
        json_array_size(object_at(of_kind(job, KIND_JOB), "spec.template.spec.containers")), 1);
}

static void a_bundle_says_what_is_maintained(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *tables = json_object();
    AUTO(json_free) json_t *units = json_pack("[o]", unit_of("a", "public.a", "a", "1"));
    json_object_set_new(tables, "a", table_of("a", "s3://lake/a"));
    for (int maintains = 0; maintains < 2; maintains++) {
        Bundle bundle;
        if (maintains)
            json_object_set_new(object_at(json_object_get(tables, "a"), "spec"), "maintenance",
                                parsed("{\"orphanFiles\": {\"olderThan\": \"3d\"}}"));
        bundle_make(connector, units, tables, &bundle);
        assert_non_null(bundle.text);
        assert_int_equal(bundle.maintains, maintains);
        bundle_done(&bundle);
    }
}

static void every_child_is_owned_and_labelled(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *list = made_of(connector);
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        assert_string_equal(object_text(object_controller(one), "uid"), "u-1");
        assert_string_equal(object_label(one, LABEL_CONNECTOR), "shop");
        assert_string_equal(object_label(one, LABEL_MANAGED_BY), LABEL_MANAGED_BY_VALUE);
        assert_string_equal(object_namespace(one), "retail");
    }
    /* the same input, the same objects */
    AUTO(json_free) json_t *again = made_of(connector);
    assert_true(json_equal(list, again));
}

static void a_users_template_is_laid_over(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free)
    json_t *agent = parsed(
        "{\"image\": \"mine:2\", \"resources\": {\"limits\": {\"memory\": \"2Gi\"}},"
        " \"podTemplate\": {\"metadata\": {\"labels\": {\"team\": \"data\","
        "   \"firn.dev/connector\": \"other\"}},"
        "  \"spec\": {\"nodeSelector\": {\"disk\": \"ssd\"},"
        "   \"containers\": [{\"name\": \"agent\", \"env\": [{\"name\": \"A\", \"value\": \"b\"}],"
        "     \"volumeMounts\": [{\"name\": \"lake\", \"mountPath\": \"/lake\"}]},"
        "    {\"name\": \"sidecar\", \"image\": \"x\"}],"
        "   \"volumes\": [{\"name\": \"lake\", \"hostPath\": {\"path\": \"/lake\"}},"
        "    {\"name\": \"tmp\", \"emptyDir\": {\"sizeLimit\": \"1Gi\"}}],"
        "   \"topologySpreadConstraints\": null}}}");
    json_object_set(json_object_get(connector, "spec"), "agent", agent);
    AUTO(json_free) json_t *list = made_of(connector);
    const json_t *template = object_at(of_kind(list, KIND_DEPLOYMENT), "spec.template");
    const json_t *containers = object_at(template, "spec.containers");
    const json_t *first = json_array_get(containers, 0);
    assert_int_equal(json_array_size(containers), 2);
    assert_string_equal(object_text(first, "image"), "mine:2");
    assert_string_equal(object_text(first, "resources.limits.memory"), "2Gi");
    assert_string_equal(object_text(first, "resources.requests.memory"), "256Mi");
    assert_int_equal(json_array_size(json_object_get(first, "env")), 2);
    assert_int_equal(json_array_size(json_object_get(first, "volumeMounts")), 5);
    assert_null(object_at(template, "spec.topologySpreadConstraints"));
    AUTO(mem_free) char *volumes = object_dump(object_at(template, "spec.volumes"));
    assert_non_null(strstr(volumes, "{\"emptyDir\":{\"sizeLimit\":\"1Gi\"},\"name\":\"tmp\"}"));
    /* what the selector needs is not to be had */
    assert_string_equal(object_text(template, "metadata.labels.team"), "data");
    assert_string_equal(
        json_string_value(json_object_get(object_at(template, "metadata.labels"), LABEL_CONNECTOR)),
        "shop");
}

static void state_and_stream_decide_what_runs(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *run = made_of(connector);
    const json_t *deployment = of_kind(run, KIND_DEPLOYMENT);
    const json_t *container =
        json_array_get(object_at(deployment, "spec.template.spec.containers"), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(container, "args"), 0)),
                        "run");
    assert_int_equal(json_integer_value(object_at(deployment, "spec.replicas")), 1);
    json_object_set_new(json_object_get(connector, "spec"), "state", json_string("Stopped"));
    json_object_set_new(json_object_get(connector, "spec"), "stream", json_object());
    AUTO(json_free) json_t *stopped = made_of(connector);
    deployment = of_kind(stopped, KIND_DEPLOYMENT);
    container = json_array_get(object_at(deployment, "spec.template.spec.containers"), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(container, "args"), 0)),
                        "capture");
    assert_int_equal(json_integer_value(object_at(deployment, "spec.replicas")), 0);
}

static void a_unit_behind_a_topic_has_its_consumers(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *unit = unit_of("orders", "public.orders", "orders", "2026");
    assert_false(unit_has_pods(unit, connector));
    json_object_set_new(json_object_get(connector, "spec"), "stream", json_object());
    assert_true(unit_has_pods(unit, connector));
    json_object_set_new(json_object_get(unit, "spec"), "numberOfConsumers", json_integer(4));
    AUTO(json_free) json_t *none = json_array();
    ConnectorInput input = {.connector = connector,
                            .manifest = "text",
                            .manifest_hash = "m",
                            .secrets = none,
                            .secrets_hash = "",
                            .defaults = &defaults};
    AUTO(json_free) json_t *list = desired_of_unit(&input, unit);
    const json_t *deployment = of_kind(list, KIND_DEPLOYMENT);
    assert_string_equal(object_name(deployment), "orders-ingest");
    assert_int_equal(json_integer_value(object_at(deployment, "spec.replicas")), 4);
    const json_t *containers = object_at(deployment, "spec.template.spec.containers");
    assert_int_equal(json_array_size(containers), 1);
    const json_t *arguments = json_object_get(json_array_get(containers, 0), "args");
    assert_string_equal(json_string_value(json_array_get(arguments, 0)), "ingest");
    json_object_set_new(json_object_get(connector, "metadata"), "annotations",
                        json_pack("{ss}", ANNOTATION_RESTART, "all"));
    json_object_set_new(json_object_get(unit, "metadata"), "annotations",
                        json_pack("{ss}", ANNOTATION_RESTART, "one"));
    AUTO(json_free) json_t *again = desired_of_unit(&input, unit);
    const json_t *template = object_at(of_kind(again, KIND_DEPLOYMENT), "spec.template");
    assert_string_equal(object_annotation(template, ANNOTATION_RESTART), "one");
    assert_int_equal(
        json_integer_value(object_at(of_kind(list, KIND_DISRUPTION_BUDGET), "spec.maxUnavailable")),
        1);
}

static void what_holds_is_left_alone(void **state)
{
    (void)state;
    AUTO(json_free) json_t *wanted = parsed("{\"a\": {\"b\": [1, {\"c\": \"d\"}]}}");
    AUTO(json_free)
    json_t *more = parsed("{\"a\": {\"b\": [1, {\"c\": \"d\", \"e\": 1}]}, \"f\": 2}");
    AUTO(json_free) json_t *less = parsed("{\"a\": {\"b\": [1]}}");
    AUTO(json_free) json_t *other = parsed("{\"a\": {\"b\": [1, {\"c\": \"x\"}]}}");
    assert_true(overlay_holds(more, wanted));
    assert_false(overlay_holds(less, wanted));
    assert_false(overlay_holds(other, wanted));
    assert_false(overlay_holds(NULL, wanted));
}

/* --- the bundle --- */

static void the_bundle_is_what_the_agent_reads(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free)
    json_t *units = json_pack("[oo]", unit_of("b", "public.b", "b", "2026-02"),
                              unit_of("a", "public.a", "a", "2026-01"));
    AUTO(json_free)
    json_t *tables =
        json_pack("{so so so}", "a", table_of("a", "s3://lake/a"), "b",
                  table_of("b", "s3://lake/b"), "unused", table_of("unused", "s3://lake/c"));
    json_object_set_new(json_object_get(connector, "status"), "x", json_true());
    Bundle bundle, again;
    bundle_make(connector, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.units, 2);
    assert_int_equal(bundle.verdict_count, 0);
    assert_true(strstr(bundle.text, "public.a") < strstr(bundle.text, "public.b"));
    assert_null(strstr(bundle.text, "unused"));
    assert_null(strstr(bundle.text, "u-1")); /* only what a person wrote */
    bundle_make(connector, units, tables, &again);
    assert_string_equal(bundle.hash, again.hash);
    bundle_done(&again);
    bundle_done(&bundle);
    AUTO(json_free) json_t *secrets = bundle_secrets(connector, units, tables);
    AUTO(mem_free) char *names = object_dump(secrets);
    assert_string_equal(names, "[\"ca\",\"shop-db\"]");
}

static void one_mistake_stops_one_unit(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free)
    json_t *units = json_pack("[ooo]", unit_of("late", "public.x", "a", "2026-03"),
                              unit_of("a", "public.a", "a", "2026-01"),
                              unit_of("odd", "public.*", "odd", "2026-02"));
    AUTO(json_free)
    json_t *tables = json_pack("{so so}", "a", table_of("a", "s3://lake/a"), "odd",
                               table_of("odd", "s3://lake/o"));
    Bundle bundle;
    bundle_make(connector, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.units, 1);
    assert_null(bundle_verdict(&bundle, "IngestionUnit", "a"));
    assert_non_null(bundle_verdict(&bundle, "IngestionUnit", "odd"));
    const char *why = bundle_verdict(&bundle, "IngestionUnit", "late"); /* the table has its unit */
    assert_non_null(why);
    assert_non_null(strstr(why, "is filled by IngestionUnit a already"));
    bundle_done(&bundle);
    json_object_set_new(object_at(connector, "spec.source"), "port", json_integer(0));
    bundle_make(connector, units, tables, &bundle);
    assert_null(bundle.text);
    assert_non_null(bundle_verdict(&bundle, "Connector", "shop"));
    bundle_done(&bundle);
}

/* In GitOps all comes in any order: nobody is told of a mistake that is none. */
static void a_table_may_come_later(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free)
    json_t *units = json_pack("[oo]", unit_of("early", "public.e", "later", "2026-01"),
                              unit_of("a", "public.a", "a", "2026-02"));
    AUTO(json_free) json_t *tables = json_pack("{so}", "a", table_of("a", "s3://lake/a"));
    Bundle bundle;
    bundle_make(connector, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.units, 1);
    assert_int_equal(bundle.verdict_count, 0);
    assert_false(bundle_holds(bundle.text, "IngestionUnit", "early"));
    bundle_done(&bundle);
}

static void a_refused_table_is_its_units_reason(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *units = json_pack("[o]", unit_of("a", "public.a", "a", "2026"));
    AUTO(json_free) json_t *tables = json_pack("{so}", "a", table_of("a", "relative/folder"));
    Bundle bundle;
    bundle_make(connector, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.units, 0);
    assert_non_null(bundle_verdict(&bundle, "LakeTable", "a"));
    assert_non_null(
        strstr(bundle_verdict(&bundle, "IngestionUnit", "a"), "LakeTable a is refused"));
    bundle_done(&bundle);
}

static json_t *routed(void)
{
    return parsed("{\"apiVersion\": \"firn.dev/v1alpha1\", \"kind\": \"IngestionUnit\","
                  " \"metadata\": {\"name\": \"clicks\", \"namespace\": \"retail\"},"
                  " \"spec\": {\"kafka\": {\"topic\": \"clicks\", \"brokers\": \"k:9092\","
                  "   \"incomingData\": \"Json\"}, \"routes\": ["
                  "   {\"when\": \"event == 'seen'\", \"lakeTableRef\": {\"name\": \"seen\"}},"
                  "   {\"lakeTableRef\": {\"name\": \"rest\"}}]}}");
}

static json_t *plain_table(const char *name, const char *secret)
{
    char folder[64];
    snprintf(folder, sizeof folder, "s3://lake/%s", name);
    json_t *table = table_of(name, folder), *spec = json_object_get(table, "spec");
    json_object_set_new(spec, "mode", json_string("Append"));
    json_object_set_new(spec, "columns", json_pack("[{ssss}]", "name", "id", "type", "long"));
    json_object_set_new(json_object_get(spec, "storage"), "credentialsSecretRef",
                        json_pack("{ss}", "name", secret));
    return table;
}

static void a_units_routes_name_its_tables(void **state)
{
    (void)state;
    AUTO(json_free) json_t *unit = routed();
    AUTO(json_free) json_t *units = json_pack("[O]", unit);
    AUTO(json_free)
    json_t *tables =
        json_pack("{so so so}", "rest", plain_table("rest", "s-rest"), "other",
                  plain_table("other", "s-other"), "seen", plain_table("seen", "s-seen"));
    assert_string_equal(object_table(unit, 0), "seen");
    assert_string_equal(object_table(unit, 1), "rest");
    assert_null(object_table(unit, 2));
    Bundle bundle;
    bundle_make(NULL, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.verdict_count, 0);
    assert_true(bundle_holds(bundle.text, "LakeTable", "seen"));
    assert_true(bundle_holds(bundle.text, "LakeTable", "rest"));
    assert_false(bundle_holds(bundle.text, "LakeTable", "other"));
    bundle_done(&bundle);
    AUTO(json_free) json_t *secrets = bundle_secrets(NULL, units, tables);
    AUTO(mem_free) char *names = object_dump(secrets);
    assert_string_equal(names, "[\"s-rest\",\"s-seen\"]");
    json_object_set_new(object_at(tables, "rest.spec"), "location", json_string("relative"));
    bundle_make(NULL, units, tables, &bundle);
    assert_null(bundle.text);
    assert_non_null(
        strstr(bundle_verdict(&bundle, "IngestionUnit", "clicks"), "LakeTable rest is refused"));
    bundle_done(&bundle);
}

/* Beside its own, whether that is named or made in place. */
static void dead_letters_have_a_table(void **state)
{
    (void)state;
    AUTO(json_free) json_t *unit = routed();
    json_t *spec = object_at(unit, "spec");
    json_object_set_new(spec, "deadLetter", json_pack("{s{ss}}", "lakeTableRef", "name", "dead"));
    assert_string_equal(object_table(unit, 1), "rest");
    assert_string_equal(object_table(unit, 2), "dead");
    assert_null(object_table(unit, 3));
    AUTO(json_free) json_t *units = json_pack("[O]", unit);
    AUTO(json_free)
    json_t *tables =
        json_pack("{so so so}", "rest", plain_table("rest", "s-rest"), "seen",
                  plain_table("seen", "s-seen"), "dead", plain_table("dead", "s-dead"));
    json_t *own = object_at(tables, "dead.spec");
    json_object_del(own, "mode");
    json_object_del(own, "columns");
    Bundle bundle;
    bundle_make(NULL, units, tables, &bundle);
    assert_non_null(bundle.text);
    assert_true(bundle_holds(bundle.text, "LakeTable", "dead"));
    bundle_done(&bundle);
    AUTO(json_free) json_t *secrets = bundle_secrets(NULL, units, tables);
    AUTO(mem_free) char *names = object_dump(secrets);
    assert_string_equal(names, "[\"s-dead\",\"s-rest\",\"s-seen\"]");
    json_object_set_new(own, "idColumns", json_pack("[s]", "id"));
    bundle_make(NULL, units, tables, &bundle);
    assert_null(bundle.text);
    assert_non_null(strstr(bundle_verdict(&bundle, "IngestionUnit", "clicks"),
                           "is a table that says idColumns of its own"));
    bundle_done(&bundle);
    json_object_del(spec, "routes");
    assert_string_equal(object_table(unit, 0), "dead");
    assert_null(object_table(unit, 1));
}

static void nobody_hears(void *context, Kind kind, const json_t *before, const json_t *now)
{
    (void)context, (void)kind, (void)before, (void)now;
}

/* By each of its tables, by whole names, and by those of now alone. */
static void a_unit_is_found_by_its_tables(void **state)
{
    (void)state;
    AUTO(cache_free) Cache *cache = cache_new();
    AUTO(feed_free)
    Feed *feed = feed_new(cache, KIND_UNIT, NULL, &(CacheTaker){.changed = nobody_hears});
    WatchTaker taker = feed_taker(feed);
    AUTO(json_free) json_t *unit = routed();
    taker.changed(taker.context, KIND_UNIT, unit);
    static const struct {
        const char *table;
        size_t before, after;
    } cases[] = {{"seen", 1, 0}, {"rest", 1, 1}, {"see", 0, 0}, {"res", 0, 0},
                 {"est", 0, 0},  {"", 0, 0},     {"new", 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json_free) json_t *found = cache_list(cache, KIND_UNIT, "retail", 1, cases[i].table);
        assert_int_equal(json_array_size(found), cases[i].before);
    }
    json_t *first = json_array_get(object_at(unit, "spec.routes"), 0);
    json_object_set_new(json_object_get(first, "lakeTableRef"), "name", json_string("new"));
    taker.changed(taker.context, KIND_UNIT, unit);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json_free) json_t *found = cache_list(cache, KIND_UNIT, "retail", 1, cases[i].table);
        assert_int_equal(json_array_size(found), cases[i].after);
    }
}

static void an_outsourcing_unit_makes_its_table(void **state)
{
    (void)state;
    AUTO(json_free) json_t *unit = unit_of("orders", "sales.orders", "x", "2026");
    assert_null(desired_lake_table(unit));
    json_t *spec = json_object_get(unit, "spec");
    json_object_del(spec, "lakeTableRef");
    json_object_set_new(spec, "outsourcingUnit",
                        parsed("{\"table\": {\"catalog\": {\"warehouse\": \"/lake\"},"
                               " \"database\": \"raw_{schema}\"}}"));
    AUTO(json_free) json_t *table = desired_lake_table(unit);
    assert_string_equal(object_name(table), "orders");
    assert_string_equal(object_text(table, "spec.database"), "raw_sales");
    assert_string_equal(object_text(table, "spec.tableName"), "orders");
    assert_string_equal(object_text(object_controller(table), "kind"), "IngestionUnit");
    json_t *inner = json_object_get(json_object_get(spec, "outsourcingUnit"), "table");
    json_object_set_new(inner, "tableName", json_string("clicks"));
    json_object_del(spec, "connectorRef"); /* a topic has no source's names to fill in */
    AUTO(json_free) json_t *of_topic = desired_lake_table(unit);
    assert_true(json_equal(object_at(of_topic, "spec"), inner));
    json_object_set_new(spec, "connectorRef", parsed("{\"tables\": [\"public.*\"]}"));
    assert_null(desired_lake_table(unit)); /* each that is found has its own */
}

static void a_topic_of_somebody_elses_needs_no_connector(void **state)
{
    (void)state;
    AUTO(json_free)
    json_t *unit =
        parsed("{\"apiVersion\": \"firn.dev/v1alpha1\", \"kind\": \"IngestionUnit\","
               " \"metadata\": {\"name\": \"clicks\", \"namespace\": \"retail\"},"
               " \"spec\": {\"kafka\": {\"topic\": \"clicks\", \"brokers\": \"kafka:9092\","
               "   \"incomingData\": \"Json\", \"startFrom\": \"Earliest\","
               "   \"events\": {\"nameField\": \"e\", \"allow\": [{\"name\": \"click\"}]}},"
               "  \"outsourcingUnit\": {\"table\": {\"catalog\": {\"warehouse\": \"/lake\"},"
               "   \"database\": \"web\", \"tableName\": \"clicks\", \"mode\": \"Append\","
               "   \"columns\": [{\"name\": \"e\", \"type\": \"string\"}]}}}}");
    AUTO(json_free) json_t *units = json_pack("[O]", unit);
    AUTO(json_free) json_t *none = json_array();
    Bundle bundle;
    bundle_make(NULL, units, none, &bundle);
    assert_non_null(bundle.text);
    assert_int_equal(bundle.units, 1);
    assert_true(bundle_holds(bundle.text, "IngestionUnit", "clicks"));
    assert_true(unit_has_pods(unit, NULL));
    ConnectorInput input = {.manifest = bundle.text,
                            .manifest_hash = bundle.hash,
                            .secrets = none,
                            .secrets_hash = "",
                            .defaults = &defaults};
    AUTO(json_free) json_t *list = desired_of_unit(&input, unit);
    assert_string_equal(object_name(of_kind(list, KIND_DEPLOYMENT)), "clicks-ingest");
    /* its Pods are made as it says itself, which is none of the agent's manifest */
    AUTO(mem_free) char *before = mem_strdup(bundle.text);
    bundle_done(&bundle);
    json_object_set_new(json_object_get(unit, "spec"), "agent",
                        parsed("{\"image\": \"agent:2\", \"podTemplate\": {\"spec\": "
                               "{\"nodeSelector\": {\"disk\": \"fast\"}}}, "
                               "\"resources\": {\"limits\": {\"memory\": \"3Gi\"}}}"));
    bundle_make(NULL, units, none, &bundle);
    assert_string_equal(bundle.text, before);
    input.manifest = bundle.text;
    input.manifest_hash = bundle.hash;
    AUTO(json_free) json_t *own = desired_of_unit(&input, unit);
    const json_t *spec = object_at(of_kind(own, KIND_DEPLOYMENT), "spec.template.spec");
    const json_t *container = json_array_get(json_object_get(spec, "containers"), 0);
    assert_string_equal(object_text(spec, "nodeSelector.disk"), "fast");
    assert_string_equal(object_text(container, "image"), "agent:2");
    assert_string_equal(object_text(container, "resources.limits.memory"), "3Gi");
    assert_string_equal(object_text(container, "resources.requests.memory"), "256Mi");
    bundle_done(&bundle);
    json_object_set_new(object_at(unit, "spec.kafka"), "startFrom", json_string("Never"));
    bundle_make(NULL, units, none, &bundle);
    assert_int_equal(bundle.units, 0);
    assert_non_null(bundle_verdict(&bundle, "IngestionUnit", "clicks"));
    bundle_done(&bundle);
}

static void the_drop_job_stands_alone(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free) json_t *none = json_array();
    ConnectorInput input = {.connector = connector,
                            .manifest = "text",
                            .manifest_hash = "m",
                            .secrets = none,
                            .secrets_hash = "",
                            .defaults = &defaults};
    AUTO(json_free) json_t *list = desired_drop(&input);
    const json_t *job = of_kind(list, KIND_JOB);
    assert_null(object_controller(job));
    assert_string_equal(object_text(job, "spec.template.spec.restartPolicy"), "Never");
    const json_t *container = json_array_get(object_at(job, "spec.template.spec.containers"), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(container, "args"), 0)),
                        "drop");
    assert_null(json_object_get(container, "readinessProbe"));
}

/* The user's sidecars and policies are those of Pods that never end; what the agent needs to reach
 * source and lake is the Job's, too. */
static void a_users_template_lets_the_job_end(void **state)
{
    (void)state;
    AUTO(json_free) json_t *connector = parsed(connector_text);
    AUTO(json_free)
    json_t *agent = parsed(
        "{\"podTemplate\": {\"metadata\": {\"labels\": {\"team\": \"data\"},"
        "  \"annotations\": {\"mesh\": \"off\"}},"
        " \"spec\": {\"restartPolicy\": \"Always\", \"nodeSelector\": {\"disk\": \"ssd\"},"
        "  \"priorityClassName\": \"high\", \"serviceAccountName\": \"lake\","
        "  \"imagePullSecrets\": [{\"name\": \"pull\"}], \"tolerations\": [{\"key\": \"a\"}],"
        "  \"initContainers\": [{\"name\": \"proxy\", \"image\": \"p\"}],"
        "  \"containers\": [{\"name\": \"sidecar\", \"image\": \"x\"},"
        "   {\"name\": \"agent\", \"args\": [\"run\"], \"command\": [\"sh\"],"
        "    \"livenessProbe\": {\"httpGet\": {\"path\": \"/\", \"port\": 1}},"
        "    \"env\": [{\"name\": \"A\", \"value\": \"b\"}],"
        "    \"volumeMounts\": [{\"name\": \"lake\", \"mountPath\": \"/lake\"}]},"
        "   {\"name\": \"maintain\", \"image\": \"y\"}],"
        "  \"volumes\": [{\"name\": \"lake\", \"emptyDir\": {}}]}}}");
    AUTO(json_free) json_t *none = json_array();
    ConnectorInput input = {.connector = connector,
                            .manifest = "text",
                            .manifest_hash = "m",
                            .secrets = none,
                            .secrets_hash = "",
                            .defaults = &defaults};
    AUTO(json_free) json_t *before = desired_drop(&input);
    json_object_set(json_object_get(connector, "spec"), "agent", agent);
    AUTO(json_free) json_t *list = desired_drop(&input);
    const json_t *template = object_at(of_kind(list, KIND_JOB), "spec.template");
    const json_t *containers = object_at(template, "spec.containers");
    const json_t *one = json_array_get(containers, 0);
    const json_t *was =
        json_array_get(object_at(of_kind(before, KIND_JOB), "spec.template.spec.containers"), 0);
    assert_int_equal(json_array_size(containers), 1);
    assert_string_equal(object_text(one, "name"), "agent");
    assert_true(json_equal(json_object_get(one, "args"), json_object_get(was, "args")));
    assert_null(json_object_get(one, "command"));
    assert_null(json_object_get(one, "livenessProbe"));
    assert_int_equal(json_array_size(json_object_get(one, "env")), 2);
    assert_string_equal(object_text(template, "spec.restartPolicy"), "Never");
    assert_string_equal(object_text(template, "spec.nodeSelector.disk"), "ssd");
    assert_string_equal(object_text(template, "spec.priorityClassName"), "high");
    assert_string_equal(object_text(template, "spec.serviceAccountName"), "lake");
    assert_int_equal(json_array_size(object_at(template, "spec.imagePullSecrets")), 1);
    assert_int_equal(json_array_size(object_at(template, "spec.tolerations")), 1);
    assert_int_equal(json_array_size(object_at(template, "spec.initContainers")), 1);
    assert_string_equal(object_text(template, "metadata.labels.team"), "data");
    assert_string_equal(object_text(template, "metadata.annotations.mesh"), "off");
    AUTO(mem_free) char *volumes = object_dump(object_at(template, "spec.volumes"));
    assert_non_null(strstr(volumes, "\"lake\""));
    AUTO(mem_free) char *mounts = object_dump(json_object_get(one, "volumeMounts"));
    assert_non_null(strstr(mounts, "\"/lake\""));
    /* one that says nothing of the agent's container */
    AUTO(json_free)
    json_t *rest = parsed("{\"spec\": {\"containers\": [{\"name\": \"sidecar\"}]}}");
    AUTO(json_free) json_t *other = json_pack("{sO}", "podTemplate", rest);
    json_object_set(json_object_get(connector, "spec"), "agent", other);
    AUTO(json_free) json_t *again = desired_drop(&input);
    assert_int_equal(
        json_array_size(object_at(of_kind(again, KIND_JOB), "spec.template.spec.containers")), 1);
    /* the Connector's own is as it was */
    assert_int_equal(json_array_size(object_at(agent, "podTemplate.spec.containers")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_fit),
        cmocka_unit_test(pods_are_restricted),
        cmocka_unit_test(maintenance_has_a_container),
        cmocka_unit_test(a_bundle_says_what_is_maintained),
        cmocka_unit_test(every_child_is_owned_and_labelled),
        cmocka_unit_test(a_users_template_is_laid_over),
        cmocka_unit_test(state_and_stream_decide_what_runs),
        cmocka_unit_test(a_unit_behind_a_topic_has_its_consumers),
        cmocka_unit_test(what_holds_is_left_alone),
        cmocka_unit_test(the_bundle_is_what_the_agent_reads),
        cmocka_unit_test(one_mistake_stops_one_unit),
        cmocka_unit_test(a_table_may_come_later),
        cmocka_unit_test(a_refused_table_is_its_units_reason),
        cmocka_unit_test(a_units_routes_name_its_tables),
        cmocka_unit_test(dead_letters_have_a_table),
        cmocka_unit_test(a_unit_is_found_by_its_tables),
        cmocka_unit_test(an_outsourcing_unit_makes_its_table),
        cmocka_unit_test(a_topic_of_somebody_elses_needs_no_connector),
        cmocka_unit_test(the_drop_job_stands_alone),
        cmocka_unit_test(a_users_template_lets_the_job_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
