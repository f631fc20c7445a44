/* spec.stream of a Connector, and spec.kafka of a unit: what goes beyond one field, the defaults
 * that hang on other fields, and their Secrets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/checks.h"
#include "common/manifest/load.h"
#include "common/mem.h"
#include "common/text.h"

#define KAFKA "spec.stream.kafka"
#define REGISTRY "spec.stream.schemaRegistry"
#define UNIT_KAFKA "spec.kafka"
#define UNIT_REGISTRY UNIT_KAFKA ".schemaRegistry"
#define PATH_BYTES 128
#define SPOOL "spec.stream.spool"

static const char *path_in(char to[PATH_BYTES], const char *at, const char *below)
{
    snprintf(to, PATH_BYTES, "%s%s", at, below);
    return to;
}

static bool has_sasl(const KafkaSpec *kafka)
{
    return kafka->protocol == KAFKA_SASL_PLAINTEXT || kafka->protocol == KAFKA_SASL_SSL;
}

static bool has_tls(const KafkaSpec *kafka)
{
    return kafka->protocol == KAFKA_SSL || kafka->protocol == KAFKA_SASL_SSL;
}

/* --- defaults --- */

static void add_broker(KafkaSpec *kafka, char *broker)
{
    kafka->brokers.texts = mem_array(1, sizeof *kafka->brokers.texts);
    kafka->brokers.texts[kafka->brokers.count++] = broker;
}

/* Strimzi puts a Service in front of each cluster's listeners. */
static void complete_strimzi(KafkaSpec *kafka, const char *namespace_name)
{
    if (!kafka->strimzi.namespace_name)
        kafka->strimzi.namespace_name = mem_strdup(namespace_name);
    if (!kafka->strimzi.port)
        kafka->strimzi.port = has_tls(kafka) ? 9093 : 9092;
    if (kafka->brokers.count)
        return; /* both: a finding */
    add_broker(kafka, mem_format("%s-kafka-bootstrap.%s.svc:%u", kafka->strimzi.cluster,
                                 kafka->strimzi.namespace_name, kafka->strimzi.port));
}

static void complete_authorities(StreamSpec *stream)
{
    SecretRef *const authorities[] = {&stream->kafka.ca, &stream->kafka.token_ca,
                                      &stream->registry_ca};
    for (size_t i = 0; i < ARRAY_LEN(authorities); i++)
        if (authorities[i]->name && !authorities[i]->key)
            authorities[i]->key = mem_strdup("ca.crt");
}

void stream_complete(ConnectorSpec *connector, const YamlNode *spec)
{
    StreamSpec *stream = connector->stream;
    const YamlNode *kafka = yaml_get(yaml_get(spec, "stream"), "kafka");
    if (stream->kafka.strimzi.cluster && !yaml_get(kafka, "bootstrapServers"))
        complete_strimzi(&stream->kafka, connector->meta.namespace_name);
    if (!stream->topic_prefix && connector->meta.name && !yaml_get(kafka, "topicPrefix"))
        stream->topic_prefix = mem_strdup(connector->meta.name);
    if (stream->retention && strcmp(stream->retention, "Forever") == 0)
        stream->retention_ms = INT64_MAX;
    else if (stream->retention && !text_duration_parse(stream->retention, &stream->retention_ms))
        stream->retention_ms = 0; /* has its finding */
    complete_authorities(stream);
    storage_complete(&stream->spool_storage,
                     yaml_get(yaml_get(yaml_get(spec, "stream"), "spool"), "storage"));
}

/* --- checks --- */

/* Fields that say nothing without `on`, which `wanted` names. */
static void check_unused(const Place *place, const char *at, const YamlNode *security,
                         const char *const *fields, size_t count, bool on, const char *wanted)
{
    for (size_t i = 0; i < count && !on; i++) {
        if (!yaml_get(security, fields[i]))
            continue;
        AUTO(mem_free) char *path = mem_format("%s.%s", at, fields[i]);
        place_report(place, path, NULL, "is for %s alone: leave it out, or write %s", wanted,
                     wanted);
    }
}

/* at: where it stands */
static void check_security(const Place *place, const char *at, const KafkaSpec *kafka,
                           const YamlNode *security)
{
    char path[PATH_BYTES];
    static const char *const sasl_only[] = {"mechanism"};
    static const char *const tls_only[] = {"caSecretRef", "verifyHost"};
    static const char *const token_only[] = {"tokenEndpoint", "tokenScope", "tokenExtensions",
                                             "tokenCaSecretRef"};
    bool sasl = has_sasl(kafka), tls = has_tls(kafka);
    bool oauth = sasl && kafka->mechanism == KAFKA_OAUTHBEARER;
    check_unused(place, at, security, sasl_only, ARRAY_LEN(sasl_only), sasl,
                 "protocol SASL_SSL or SASL_PLAINTEXT");
    check_unused(place, at, security, tls_only, ARRAY_LEN(tls_only), tls,
                 "protocol SASL_SSL or SSL");
    check_unused(place, at, security, token_only, ARRAY_LEN(token_only), oauth,
                 "mechanism OAUTHBEARER");
    if (sasl && !yaml_get(security, "mechanism"))
        place_report(place, path_in(path, at, ".mechanism"), NULL,
                     "is required with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER");
    if (sasl && !yaml_get(security, "credentialsSecretRef"))
        place_report(place, path_in(path, at, ".credentialsSecretRef"), NULL,
                     "is required with SASL: the Secret with %s",
                     oauth ? "clientId and clientSecret" : "username and password");
    if (!sasl && !tls && yaml_get(security, "credentialsSecretRef"))
        place_report(place, path_in(path, at, ".credentialsSecretRef"), NULL,
                     "is not used with protocol PLAINTEXT: leave it out, or write protocol");
    if (oauth && !yaml_get(security, "tokenEndpoint"))
        place_report(place, path_in(path, at, ".tokenEndpoint"), NULL,
                     "is required with OAUTHBEARER: where the token comes from");
    if (kafka->token_ca.name && kafka->token_url && strncmp(kafka->token_url, "http://", 7) == 0)
        place_report(place, path_in(path, at, ".tokenCaSecretRef"), NULL,
                     "has nothing to check: tokenEndpoint is not https");
}

static void check_topics(const Place *place, const StreamSpec *stream)
{
    if (stream->replication && stream->min_insync_replicas > stream->replication)
        place_report(place, KAFKA ".minInsyncReplicas", NULL,
                     "%u is more than the replicationFactor %u: nothing could be written",
                     stream->min_insync_replicas, stream->replication);
    if (stream->cleanup == CLEANUP_COMPACT && stream->retention)
        place_report(place, KAFKA ".retention", NULL,
                     "says nothing with cleanupPolicy Compact: leave it out, or write "
                     "CompactAndDelete");
    if (stream->settings.count > KAFKA_SETTINGS_MAX)
        place_report(place, KAFKA ".topicSettings", NULL, "has more than %d settings",
                     KAFKA_SETTINGS_MAX);
    for (size_t i = 0; i < stream->settings.count && i < KAFKA_SETTINGS_MAX; i++)
        for (size_t j = 0; j < i; j++) {
            const char *earlier = stream->settings.items[j].name;
            if (!earlier || !stream->settings.items[i].name ||
                strcmp(earlier, stream->settings.items[i].name) != 0)
                continue;
            AUTO(mem_free) char *path = mem_format(KAFKA ".topicSettings[%zu].name", i);
            place_report(place, path, earlier, "stands in the list twice: write it once");
            break;
        }
}

static void check_registry_ca(const Place *place, const char *at, const StreamSpec *stream)
{
    char path[PATH_BYTES];
    if (stream->registry_ca.name && stream->registry_url &&
        strncmp(stream->registry_url, "http://", 7) == 0)
        place_report(place, path_in(path, at, ".caSecretRef"), NULL,
                     "has nothing to check: url is not https");
}

static void check_registry(const Place *place, const StreamSpec *stream, const YamlNode *node)
{
    const YamlNode *registry = yaml_get(node, "schemaRegistry");
    if (stream->format == STREAM_AVRO && !registry)
        place_report(place, REGISTRY, NULL,
                     "is required with format Avro: who keeps the records' schemas");
    if (stream->format == STREAM_JSON && registry)
        place_report(place, REGISTRY, NULL,
                     "is for format Avro alone: leave it out, or write format: Avro");
    check_registry_ca(place, REGISTRY, stream);
}

static void check_spool(const Place *place, const StreamSpec *stream, const YamlNode *node)
{
    const char *location = stream->spool_location;
    if (!yaml_get(yaml_get(node, "spool"), "storage"))
        return;
    if (location && strncmp(location, "s3://", 5) != 0)
        place_report(place, SPOOL ".storage", NULL,
                     "is for a spool on S3: leave it out, or write an s3:// location");
    storage_check(place, SPOOL ".storage", &stream->spool_storage);
}

/* Brokers are named in one of two ways; `unless` says what the other one does. */
static void check_brokers_named(const Place *place, const char *at, const YamlNode *kafka,
                                const char *list, const char *other, const char *unless)
{
    AUTO(mem_free) char *list_path = mem_format("%s.%s", at, list);
    AUTO(mem_free) char *other_path = mem_format("%s.%s", at, other);
    bool listed = yaml_get(kafka, list), named = yaml_get(kafka, other);
    if (!listed && !named)
        place_report(place, list_path, NULL, "is required, unless %s: write host:port", unless);
    if (listed && named)
        place_report(place, other_path, NULL, "stands beside %s: leave out one of both", list);
}

void stream_check(const Place *place, const ConnectorSpec *connector)
{
    const StreamSpec *stream = connector->stream;
    const YamlNode *node = yaml_at(place->node, "spec.stream"), *kafka = yaml_get(node, "kafka");
    if (kafka && kafka->kind == YAML_MAP) {
        check_brokers_named(place, KAFKA, kafka, "bootstrapServers", "strimzi",
                            "strimzi names a cluster");
        check_security(place, KAFKA ".security", &stream->kafka, yaml_get(kafka, "security"));
    }
    check_topics(place, stream);
    check_registry(place, stream, node);
    check_spool(place, stream, node);
    if (stream->format == STREAM_AVRO && stream->records.schemas)
        place_report(place, "spec.stream.records.schemas", NULL,
                     "is for format Json alone: Avro's schemas are with the registry");
}

void stream_check_unit(const Place *place, const IngestionUnitSpec *unit)
{
    const StreamSpec *stream = unit->kafka;
    const YamlNode *kafka = yaml_at(place->node, UNIT_KAFKA);
    check_brokers_named(place, UNIT_KAFKA, kafka, "brokers", "r53", "r53 names them");
    check_security(place, UNIT_KAFKA ".security", &stream->kafka, yaml_get(kafka, "security"));
    check_registry_ca(place, UNIT_REGISTRY, stream);
}

void stream_complete_unit(IngestionUnitSpec *unit)
{
    StreamSpec *stream = unit->kafka;
    KafkaSpec *kafka = &stream->kafka;
    complete_authorities(stream);
    if (kafka->r53 && !kafka->brokers.count)
        add_broker(kafka, strchr(kafka->r53, ':')
                              ? mem_strdup(kafka->r53)
                              : mem_format("%s:%u", kafka->r53, has_tls(kafka) ? 9093 : 9092));
    stream->format = stream->registry_url ? STREAM_AVRO : STREAM_JSON;
    stream->start_ms = stream->replay_ms = INT64_MIN;
    stream->start_latest = stream->start_from && strcmp(stream->start_from, "Latest") == 0;
    if (stream->start_from && !text_time_parse(stream->start_from, &stream->start_ms))
        stream->start_ms = INT64_MIN;
    if (stream->replay_from && !text_time_parse(stream->replay_from, &stream->replay_ms))
        stream->replay_ms = INT64_MIN;
    stream->records.schemas =
        stream->records.schemas && !stream->registry_url && stream->incoming == INCOMING_DEBEZIUM;
    if (!unit->connector)
        unit->connector = mem_strdup("");
}

bool manifest_runs(const Manifest *manifest, Findings *findings)
{
    *findings = (Findings){0};
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const ObjectMeta *meta = &manifest->units[i].meta;
        if (!manifest->units[i].kafka)
            continue;
        AUTO(mem_free) char *object = mem_format("IngestionUnit/%s", meta->name);
        Report report = {.findings = findings, .file = meta->file, .object = object, .path = {0}};
        report_at(&report, meta->line, NULL,
                  "spec.kafka: topics are read by firn-agent ingest, not by run");
    }
    for (size_t i = 0; i < manifest->connector_count; i++) {
        const ConnectorSpec *connector = &manifest->connectors[i];
        if (!connector->stream)
            continue;
        AUTO(mem_free) char *object = mem_format("Connector/%s", connector->meta.name);
        Report report = {
            .findings = findings, .file = connector->meta.file, .object = object, .path = {0}};
        report_at(
            &report, connector->meta.line, NULL,
            "spec.stream: its topics are filled by firn-agent capture, and tables from them by "
            "firn-agent ingest: leave it out, and tables are filled straight from the source");
    }
    return findings->count == 0;
}

/* --- Secrets --- */

/* at: spec.…security */
static void resolve_login(const Load *load, const Place *place, const char *at, KafkaSpec *kafka)
{
    char path[PATH_BYTES];
    (void)path_in(path, at, ".credentialsSecretRef.name");
    const char *name = kafka->credentials.name;
    bool oauth = kafka->mechanism == KAFKA_OAUTHBEARER;
    bool shows = place_secret_has(load, place, name, "tls.crt") ||
                 place_secret_has(load, place, name, "tls.key");
    if (has_sasl(kafka))
        (void)(place_secret(load, place, path, name, oauth ? "clientId" : "username",
                            &kafka->username) &&
               place_secret(load, place, path, name, oauth ? "clientSecret" : "password",
                            &kafka->password));
    if (has_tls(kafka) && (shows || !has_sasl(kafka)))
        (void)(place_secret_pem(load, place, path, name, "tls.crt", "certificate",
                                &kafka->client_pem) &&
               place_secret_pem(load, place, path, name, "tls.key", "private key",
                                &kafka->client_key_pem));
}

static void resolve_authority(const Load *load, const Place *place, const char *at,
                              const char *below, const SecretRef *ref, char **ret_pem)
{
    char path[PATH_BYTES];
    if (ref->name)
        (void)place_secret_pem(load, place, path_in(path, at, below), ref->name, ref->key,
                               "certificate", ret_pem);
}

static void resolve_kafka(const Load *load, const Place *place, const char *at, KafkaSpec *kafka)
{
    if (kafka->credentials.name)
        resolve_login(load, place, at, kafka);
    resolve_authority(load, place, at, ".caSecretRef.name", &kafka->ca, &kafka->ca_pem);
    resolve_authority(load, place, at, ".tokenCaSecretRef.name", &kafka->token_ca,
                      &kafka->token_ca_pem);
}

static void resolve_registry(const Load *load, const Place *place, const char *at,
                             StreamSpec *stream)
{
    char path[PATH_BYTES];
    const char *name = stream->registry_credentials.name;
    resolve_authority(load, place, at, ".caSecretRef.name", &stream->registry_ca,
                      &stream->registry_ca_pem);
    (void)path_in(path, at, ".credentialsSecretRef.name");
    if (name && place_secret_has(load, place, name, "token"))
        (void)place_secret(load, place, path, name, "token", &stream->registry_token);
    else if (name)
        (void)(place_secret(load, place, path, name, "username", &stream->registry_username) &&
               place_secret(load, place, path, name, "password", &stream->registry_password));
}

void stream_resolve(const Load *load, const Place *place, ConnectorSpec *connector)
{
    StreamSpec *stream = connector->stream;
    resolve_kafka(load, place, KAFKA ".security", &stream->kafka);
    resolve_registry(load, place, REGISTRY, stream);
    storage_resolve(load, place, SPOOL ".storage", &stream->spool_storage);
}

void stream_resolve_unit(const Load *load, const Place *place, IngestionUnitSpec *unit)
{
    resolve_kafka(load, place, UNIT_KAFKA ".security", &unit->kafka->kafka);
    resolve_registry(load, place, UNIT_REGISTRY, unit->kafka);
}

void stream_secrets_wipe(StreamSpec *stream)
{
    StorageSpec *spool = &stream->spool_storage;
    char **const secrets[] = {&stream->kafka.username,    &stream->kafka.password,
                              &stream->kafka.client_pem,  &stream->kafka.client_key_pem,
                              &stream->kafka.ca_pem,      &stream->kafka.token_ca_pem,
                              &stream->registry_username, &stream->registry_password,
                              &stream->registry_token,    &stream->registry_ca_pem,
                              &spool->access_key,         &spool->secret_key,
                              &spool->session_token,      &spool->ca_pem};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        secret_wipe(*secrets[i]);
        *secrets[i] = NULL;
    }
}
