/* links: firn_common */
/* spec.stream of a Connector, and what spec.kafka of a unit shares with it: what is taken,
 * defaults, Secrets, and everything that is refused. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/manifest/manifest.h"
#include "common/mem.h"

static Manifest *load(bool resolve)
{
    const char *file = GOLDEN "/manifest/streams.yaml";
    Manifest *manifest;
    Findings findings;
    if (!manifest_load(&(ManifestOptions){.files = &file, .file_count = 1}, resolve, &manifest,
                       &findings))
        for (size_t i = 0; i < findings.count; i++)
            print_message("%d: %s %s\n", findings.items[i].line, findings.items[i].path,
                          findings.items[i].message);
    assert_int_equal(findings.count, 0);
    findings_done(&findings);
    return manifest;
}

static const StreamSpec *stream(const Manifest *manifest, const char *name)
{
    const ConnectorSpec *found = manifest_find_connector(manifest, "default", name);
    assert_non_null(found);
    assert_non_null(found->stream);
    return found->stream;
}

static void every_field(void **state)
{
    (void)state;
    Manifest *manifest = load(true);
    const StreamSpec *full = stream(manifest, "full");
    const KafkaSpec *kafka = &full->kafka;
    assert_int_equal(kafka->brokers.count, 2);
    assert_string_equal(kafka->brokers.texts[0], "kafka-1:9092,kafka-2:9092");
    assert_string_equal(kafka->brokers.texts[1], "[::1]:9092");
    assert_int_equal(kafka->protocol, KAFKA_SASL_SSL);
    assert_int_equal(kafka->mechanism, KAFKA_SCRAM_SHA_512);
    assert_false(kafka->verify_host);
    assert_string_equal(kafka->username, "alice");
    assert_string_equal(kafka->password, "s3cret");
    assert_non_null(strstr(kafka->client_pem, "client"));
    assert_non_null(strstr(kafka->client_key_pem, "key"));
    assert_non_null(strstr(kafka->ca_pem, "\nca\n"));
    assert_null(kafka->token_ca_pem);
    assert_string_equal(full->topic_prefix, "shop");
    assert_string_equal(full->topic_template, "{connector}.{database}.{table}-v1");
    assert_int_equal(full->partitions, 4);
    assert_int_equal(full->replication, 3);
    assert_int_equal(full->min_insync_replicas, 2);
    assert_int_equal(full->retention_ms, 7 * 86400000LL);
    assert_int_equal(full->cleanup, CLEANUP_COMPACT_DELETE);
    assert_int_equal(full->settings.count, 2);
    assert_string_equal(full->settings.items[0].name, "max.message.bytes");
    assert_string_equal(full->settings.items[0].value, "2000000");
    assert_int_equal(full->compression, KAFKA_ZSTD);
    assert_int_equal(full->buffer_bytes, 64 << 20);
    assert_int_equal(full->format, STREAM_AVRO);
    assert_string_equal(full->registry_url, "https://registry:8081");
    assert_string_equal(full->registry_token, "r3gistry");
    assert_null(full->registry_username);
    assert_non_null(strstr(full->registry_ca_pem, "other"));
    assert_int_equal(full->delivery, DELIVERY_TRANSACTIONAL);
    assert_string_equal(full->spool_location, "s3://spools/full");
    assert_string_equal(full->spool_storage.endpoint, "https://s3:9000");
    assert_true(full->spool_storage.path_style);
    assert_string_equal(full->spool_storage.access_key, "s3-id");
    assert_string_equal(full->spool_storage.secret_key, "s3-s3cret");
    assert_non_null(strstr(full->spool_storage.ca_pem, "\nca\n"));
    assert_int_equal(full->spool_bytes, 2LL << 30);
    assert_string_equal(full->resnapshot_id, "again-1");
    assert_int_equal(full->resnapshot.count, 2);
    assert_string_equal(full->resnapshot.texts[1], "public.order_*");
    manifest_free(manifest);
}

static void defaults(void **state)
{
    (void)state;
    Manifest *manifest = load(true);
    const StreamSpec *small = stream(manifest, "small");
    assert_string_equal(small->topic_prefix, "small");
    assert_string_equal(small->topic_template, "{connector}.{schema}.{table}");
    assert_int_equal(small->kafka.protocol, KAFKA_PLAINTEXT);
    assert_true(small->kafka.verify_host);
    assert_int_equal(small->partitions, 1);
    assert_int_equal(small->replication, 0);
    assert_int_equal(small->min_insync_replicas, 0);
    assert_int_equal(small->retention_ms, 0);
    assert_int_equal(small->cleanup, CLEANUP_DEFAULT);
    assert_int_equal(small->compression, KAFKA_LZ4);
    assert_int_equal(small->buffer_bytes, 6 << 20);
    assert_int_equal(small->format, STREAM_JSON);
    assert_int_equal(small->delivery, DELIVERY_IDEMPOTENT);
    assert_null(small->resnapshot_id);
    assert_true(small->records.tombstones && small->records.schema_changes);
    assert_false(small->records.schemas || small->records.transactions ||
                 small->records.heartbeats || small->records.messages);
    assert_int_equal(small->records.time, RECORD_TIME_ADAPTIVE);
    assert_int_equal(small->records.decimal, RECORD_DECIMAL_PRECISE);
    const StreamSpec *tokens = stream(manifest, "tokens");
    assert_int_equal(tokens->kafka.brokers.count, 1);
    assert_string_equal(tokens->kafka.brokers.texts[0], "main-kafka-bootstrap.kafka.svc:9093");
    assert_true(tokens->retention_ms == INT64_MAX);
    assert_int_equal(tokens->kafka.mechanism, KAFKA_OAUTHBEARER);
    assert_string_equal(tokens->kafka.username, "firn");
    assert_string_equal(tokens->kafka.password, "t0ken");
    assert_string_equal(tokens->kafka.token_url, "https://login/token");
    assert_string_equal(tokens->kafka.token_scope, "kafka");
    assert_string_equal(tokens->kafka.token_extensions, "logicalCluster=lkc-1,identityPoolId=pool");
    assert_non_null(strstr(tokens->kafka.token_ca_pem, "\nca\n"));
    assert_null(tokens->kafka.client_pem);
    assert_null(manifest_find_connector(manifest, "default", "straight")->stream);
    Findings findings;
    assert_false(manifest_runs(manifest, &findings)); /* not yet */
    assert_int_equal(findings.count, 4);
    assert_non_null(strstr(findings.items[0].message, "firn-agent ingest"));
    assert_non_null(strstr(findings.items[1].message, "firn-agent capture"));
    findings_done(&findings);
    manifest_free(manifest);
}

/* A topic of others is reached as a Connector's are. */
static void of_a_unit(void **state)
{
    (void)state;
    Manifest *manifest = load(true);
    assert_int_equal(manifest->unit_count, 1);
    const StreamSpec *others = manifest->units[0].kafka;
    assert_int_equal(others->kafka.brokers.count, 1);
    assert_string_equal(others->kafka.brokers.texts[0], "kafka.example.internal:9093");
    assert_int_equal(others->kafka.protocol, KAFKA_SASL_SSL);
    assert_int_equal(others->kafka.mechanism, KAFKA_SCRAM_SHA_512);
    assert_true(others->kafka.verify_host);
    assert_string_equal(others->kafka.username, "u");
    assert_string_equal(others->kafka.password, "p");
    assert_non_null(strstr(others->kafka.ca_pem, "\nca\n"));
    assert_string_equal(others->registry_username, "u");
    assert_string_equal(others->registry_password, "p");
    assert_non_null(strstr(others->registry_ca_pem, "\nca\n"));
    assert_int_equal(others->format, STREAM_AVRO);
    manifest_free(manifest);
}

#define K "kafka: {bootstrapServers: \"k:9092\""
#define S(security) K ", security: {" security "}}"
#define REF "credentialsSecretRef: {name: kafka}"

static const struct {
    const char *stream; /* spec.stream, in braces */
    const char *path;   /* below spec.stream, of the only finding */
    const char *words;
} refusals[] = {
    {"format: Json", ".kafka", "kafka is required"},
    {"kafka: {partitions: 2}", ".kafka.bootstrapServers", "unless strimzi names a cluster"},
    {K "}, spool: {maxBytes: 1Gi}", ".spool", "location is required"},
    {K "}, spool: {location: here}", ".spool.location", "an absolute folder"},
    {K "}, spool: {location: /a/../b}", ".spool.location", "an absolute folder"},
    {K "}, spool: {location: \"s3://b\"}", ".spool.location", "a place in a bucket"},
    {K "}, spool: {location: /a, maxBytes: 1Ki}", ".spool.maxBytes", "1Mi to 1Pi"},
    {K "}, spool: {location: /a, storage: {region: eu-west-1}}", ".spool.storage", "an s3://"},
    {K "}, spool: {location: \"s3://spools\", storage: {endpoint: s3}}", ".spool.storage.endpoint",
     "https://"},
    {K "}, spool: {location: \"s3://spools\", storage: {endpoint: \"http://s3\", caSecretRef: "
       "{name: ca}}}",
     ".spool.storage.caSecretRef", "not https"},
    {K ", strimzi: {cluster: c}}", ".kafka.strimzi", "leave out one of both"},
    {"kafka: {bootstrapServers: k}", ".kafka.bootstrapServers", "brokers as host:port"},
    {"kafka: {bootstrapServers: \"http://k:9092\"}", ".kafka.bootstrapServers", "host:port"},
    {"kafka: {bootstrapServers: \"u:p@k:9092\"}", ".kafka.bootstrapServers", "host:port"},
    {"kafka: {bootstrapServers: \"k:9092,\"}", ".kafka.bootstrapServers", "host:port"},
    {"kafka: {bootstrapServers: \"k:99999\"}", ".kafka.bootstrapServers", "host:port"},
    {K ", topicPrefix: \"a b\"}", ".kafka.topicPrefix", "letters, digits"},
    {K ", topicTemplate: \"{connector}.{tabel}\"}", ".kafka.topicTemplate", "{table}"},
    {K ", topicTemplate: \"{schema}\"}", ".kafka.topicTemplate", "has to be there"},
    {K ", partitions: 0}", ".kafka.partitions", "1 to 10000"},
    {K ", replicationFactor: 2, minInsyncReplicas: 3}", ".kafka.minInsyncReplicas",
     "nothing could be written"},
    {K ", retention: 7}", ".kafka.retention", "text"},
    {K ", retention: soon}", ".kafka.retention", "a duration such as 7d, or Forever"},
    {K ", retention: 1d, cleanupPolicy: Compact}", ".kafka.retention", "CompactAndDelete"},
    {K ", topicSettings: [{name: retention.ms, value: \"1\"}]}", ".kafka.topicSettings[0].name",
     "write retention"},
    {K ", topicSettings: [{name: Max, value: \"1\"}]}", ".kafka.topicSettings[0].name",
     "as Kafka names it"},
    {K ", topicSettings: [{name: a.b, value: \"1\"}, {name: a.b, value: \"2\"}]}",
     ".kafka.topicSettings[1].name", "twice"},
    {K ", compression: Brotli}", ".kafka.compression", "Zstd"},
    {K ", buffer: 1Ki}", ".kafka.buffer", "1Mi"},
    {S("protocol: SASL"), ".kafka.security.protocol", "SASL_SSL"},
    {S("protocol: SASL_SSL, " REF), ".kafka.security.mechanism", "SCRAM-SHA-512"},
    {S("protocol: SASL_SSL, mechanism: PLAIN"), ".kafka.security.credentialsSecretRef",
     "username and password"},
    {S("protocol: SASL_SSL, mechanism: GSSAPI, " REF), ".kafka.security.mechanism", "PLAIN"},
    {S("mechanism: PLAIN"), ".kafka.security.mechanism", "protocol SASL_SSL"},
    {S(REF), ".kafka.security.credentialsSecretRef", "not used with protocol PLAINTEXT"},
    {S("caSecretRef: {name: ca}"), ".kafka.security.caSecretRef", "SASL_SSL or SSL"},
    {S("protocol: SSL, tokenScope: x"), ".kafka.security.tokenScope", "OAUTHBEARER"},
    {S("protocol: SASL_SSL, mechanism: OAUTHBEARER, " REF), ".kafka.security.tokenEndpoint",
     "is required"},
    {S("protocol: SASL_SSL, mechanism: OAUTHBEARER, " REF
       ", tokenEndpoint: \"https://t/\", tokenExtensions: \"a=b,auth=c\""),
     ".kafka.security.tokenExtensions", "auth is taken"},
    {S("protocol: SASL_SSL, mechanism: OAUTHBEARER, " REF
       ", tokenEndpoint: \"http://t/\", tokenCaSecretRef: {name: ca}"),
     ".kafka.security.tokenCaSecretRef", "not https"},
    {S("protocol: SSL, passwrd: x"), ".kafka.security.passwrd", "Secret"},
    {K "}, format: Avro", ".schemaRegistry", "is required with format Avro"},
    {K "}, schemaRegistry: {url: \"http://r\"}", ".schemaRegistry", "format: Avro"},
    {K "}, format: Avro, schemaRegistry: {url: \"r\"}", ".schemaRegistry.url", "address"},
    {K "}, delivery: ExactlyOnce", ".delivery", "Idempotent or Transactional"},
    {K "}, topic: x", ".topic", "unknown field"},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        AUTO(mem_free)
        char *text = mem_format("apiVersion: firn.dev/v1alpha1\nkind: Connector\n"
                                "metadata: {name: shop}\nspec:\n"
                                "  source: {type: PostgreSQL, host: db, database: shop,\n"
                                "           credentialsSecretRef: {name: db}}\n"
                                "  stream: {%s}\n",
                                refusals[i].stream);
        Manifest *manifest;
        Findings findings;
        assert_false(manifest_parse("m", text, strlen(text), &manifest, &findings));
        AUTO(mem_free) char *path = mem_format("spec.stream%s", refusals[i].path);
        bool found =
            findings.count == 1 && strncmp(findings.items[0].path, path, strlen(path)) == 0;
        if (!found || !strstr(findings.items[0].message, refusals[i].words))
            fail_msg("{%s}: %zu findings, the first: %s: %s", refusals[i].stream, findings.count,
                     findings.items[0].path, findings.items[0].message);
        assert_int_equal(findings.items[0].line, 7);
        findings_done(&findings);
    }
}

/* Of a Secret: what is missing, and what is no PEM. */
static void secrets(void **state)
{
    (void)state;
    static const struct {
        const char *secret, *security, *words;
    } wrong[] = {
        {"username: a", "protocol: SASL_SSL, mechanism: PLAIN, " REF, "has no key password"},
        {"username: a, password: b",
         "protocol: SASL_SSL, mechanism: OAUTHBEARER, " REF ", tokenEndpoint: \"https://t/\"",
         "has no key clientId"},
        {"username: a, password: b", "protocol: SSL, " REF, "has no key tls.crt"},
        {"tls.crt: one, tls.key: \"-----BEGIN PRIVATE KEY-----\"", "protocol: SSL, " REF,
         "no certificate in PEM form"},
        {"ca.crt: nothing", "protocol: SSL, caSecretRef: {name: kafka}", "no certificate in PEM"},
        {"one: two", "protocol: SSL, caSecretRef: {name: nobody}", "Secret nobody"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char file[] = "/tmp/firn-stream-XXXXXX";
        int fd = mkstemp(file);
        assert_true(fd >= 0);
        FILE *out = fdopen(fd, "w");
        fprintf(out,
                "apiVersion: v1\nkind: Secret\nmetadata: {name: kafka}\nstringData: {%s}\n---\n"
                "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n"
                "stringData: {username: u, password: p}\n---\n"
                "apiVersion: firn.dev/v1alpha1\nkind: Connector\nmetadata: {name: shop}\nspec:\n"
                "  source: {type: PostgreSQL, host: db, database: shop,\n"
                "           credentialsSecretRef: {name: db}}\n"
                "  stream: {kafka: {bootstrapServers: \"k:9092\", security: {%s}}}\n",
                wrong[i].secret, wrong[i].security);
        fclose(out);
        const char *files = file;
        Manifest *manifest;
        Findings findings;
        assert_false(manifest_load(&(ManifestOptions){.files = &files, .file_count = 1}, true,
                                   &manifest, &findings));
        assert_int_equal(findings.count, 1);
        if (!strstr(findings.items[0].message, wrong[i].words))
            fail_msg("%s: %s", wrong[i].security, findings.items[0].message);
        findings_done(&findings);
        remove(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_field), cmocka_unit_test(defaults),
                                       cmocka_unit_test(of_a_unit), cmocka_unit_test(refused),
                                       cmocka_unit_test(secrets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
