/* links: firn_operator_desired */
/* What a family of objects has that nobody asked for, by its whole content: a default that goes, or
 * that is another, is seen here. */
#include "tests/unit/operator/objects.h"

#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

static void assert_holds(const json_t *list, Kind kind, const char *path, const char *text)
{
    AUTO(json_free) json_t *wanted = parsed(text);
    AUTO(mem_free) char *found = object_dump(object_at(of_kind(list, kind), path));
    AUTO(mem_free) char *of = object_dump(wanted);
    assert_string_equal(found, of);
}

static void assert_agents_defaults(const json_t *list, const char *labels)
{
    AUTO(mem_free)
    char *spread = mem_format("[{\"maxSkew\": 1, \"topologyKey\": \"kubernetes.io/hostname\","
                              " \"whenUnsatisfiable\": \"ScheduleAnyway\","
                              " \"labelSelector\": {\"matchLabels\": %s}}]",
                              labels);
    assert_holds(list, KIND_DEPLOYMENT, "spec.template.spec.topologySpreadConstraints", spread);
    AUTO(mem_free) char *selector = mem_format("{\"matchLabels\": %s}", labels);
    assert_holds(list, KIND_DEPLOYMENT, "spec.selector", selector);
    AUTO(mem_free)
    char *budget = mem_format("{\"maxUnavailable\": 1, \"selector\": %s}", selector);
    assert_holds(list, KIND_DISRUPTION_BUDGET, "spec", budget);
    AUTO(mem_free)
    char *service = mem_format("{\"clusterIP\": \"None\", \"selector\": %s, \"ports\": [{\"name\":"
                               " \"http\", \"port\": 8080, \"targetPort\": \"http\","
                               " \"protocol\": \"TCP\"}]}",
                               labels);
    assert_holds(list, KIND_SERVICE, "spec", service);
    assert_true(json_is_false(
        object_at(of_kind(list, KIND_SERVICE_ACCOUNT), "automountServiceAccountToken")));
    const json_t *agent = json_array_get(
        object_at(of_kind(list, KIND_DEPLOYMENT), "spec.template.spec.containers"), 0);
    AUTO(json_free)
    json_t *probes = parsed("{\"livenessProbe\": {\"httpGet\": {\"path\": \"/healthz\", \"port\":"
                            " \"http\"}, \"periodSeconds\": 10, \"failureThreshold\": 6,"
                            " \"timeoutSeconds\": 3},"
                            " \"readinessProbe\": {\"httpGet\": {\"path\": \"/readyz\", \"port\":"
                            " \"http\"}, \"periodSeconds\": 5, \"failureThreshold\": 3,"
                            " \"timeoutSeconds\": 3},"
                            " \"resources\": {\"requests\": {\"cpu\": \"100m\", \"memory\":"
                            " \"256Mi\"}, \"limits\": {\"memory\": \"1Gi\"}},"
                            " \"ports\": [{\"name\": \"http\", \"containerPort\": 8080,"
                            " \"protocol\": \"TCP\"}]}");
    const char *field;
    json_t *wanted;
    json_object_foreach(probes, field, wanted)
    {
        assert_true(json_equal(json_object_get(agent, field), wanted));
    }
}

/* Who may reach a Pod is limited to its port of metrics and probes; whom it reaches is not:
 * sources, stores, catalogs and the operator's channel have names and not addresses. */
static void assert_policy(const json_t *list, const char *labels, bool maintains)
{
    AUTO(mem_free)
    char *policy = mem_format("{\"podSelector\": {\"matchLabels\": %s}, \"policyTypes\":"
                              " [\"Ingress\"], \"ingress\": [{\"ports\": [{\"port\": 8080,"
                              " \"protocol\": \"TCP\"}%s]}]}",
                              labels, maintains ? ", {\"port\": 8081, \"protocol\": \"TCP\"}" : "");
    assert_holds(list, KIND_NETWORK_POLICY, "spec", policy);
}

static void each_family_has_its_defaults(void **state)
{
    (void)state;
    static const char captures[] = "{\"app.kubernetes.io/name\": \"firn-agent\","
                                   " \"firn.dev/role\": \"capture\","
                                   " \"firn.dev/connector\": \"shop\"}",
                      ingests[] = "{\"app.kubernetes.io/name\": \"firn-agent\","
                                  " \"firn.dev/role\": \"ingest\","
                                  " \"firn.dev/unit\": \"orders\"}";
    AUTO(json_free)
    json_t *connector =
        parsed("{\"metadata\": {\"name\": \"shop\", \"namespace\": \"retail\"}, \"spec\": {}}");
    AUTO(json_free)
    json_t *unit =
        parsed("{\"metadata\": {\"name\": \"orders\", \"namespace\": \"retail\"}, \"spec\": {}}");
    AUTO(json_free) json_t *none = json_array();
    for (int maintains = 0; maintains < 2; maintains++) {
        ConnectorInput input = {
            .connector = connector,
            .manifest = "text",
            .manifest_hash = "m",
            .secrets = none,
            .secrets_hash = "",
            .channel_host = "operator",
            .channel_port = 8443,
            .channel_trust = "ca",
            .maintains = maintains,
            .defaults = &(AgentDefaults){.image = "firn/agent:1", .pull_policy = "Always"}};
        AUTO(json_free) json_t *capture = desired_of_connector(&input);
        assert_agents_defaults(capture, captures);
        assert_policy(capture, captures, maintains);
        assert_holds(capture, KIND_CONFIG_MAP, "data",
                     "{\"manifest.yaml\": \"text\", \"channel-ca.crt\": \"ca\"}");
        AUTO(json_free) json_t *ingest = desired_of_unit(&input, unit);
        assert_agents_defaults(ingest, ingests);
        assert_policy(ingest, ingests, maintains);
        assert_holds(ingest, KIND_DEPLOYMENT, "spec.strategy", "{\"type\": \"RollingUpdate\"}");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_family_has_its_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
