/* The manifest's KafkaSpec → librdkafka's properties. Values that are secret are never in a
 * message: librdkafka's own text would quote some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/private.h"
#include "common/mem.h"

bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, const char *field,
                    Error *err)
{
    char text[256] = "";
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return true;
    bool secret = strstr(name, "password") || strstr(name, ".pem");
    return error_set(err, ERROR_CONFIG, "KafkaOption", "%s: librdkafka refuses %s%s%s", field, name,
                     secret ? "" : ": ", secret ? "" : text);
}

bool kafka_conf_number(rd_kafka_conf_t *conf, const char *name, int64_t value, const char *field,
                       Error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return kafka_conf_set(conf, name, text, field, err);
}

static char *join(const TextList *list)
{
    Bytes text = {0};
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            bytes_put_u8(&text, ',');
        bytes_put(&text, list->texts[i], strlen(list->texts[i]));
    }
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

static bool set_tls(rd_kafka_conf_t *conf, const KafkaSpec *spec, const char *field, Error *err)
{
    const struct {
        const char *name, *value, *field;
    } texts[] = {{"ssl.ca.pem", spec->ca_pem, "security.caSecretRef"},
                 {"ssl.certificate.pem", spec->client_pem, "security.credentialsSecretRef"},
                 {"ssl.key.pem", spec->client_key_pem, "security.credentialsSecretRef"}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(mem_free) char *where = mem_format("%s.%s", field, texts[i].field);
        if (texts[i].value && !kafka_conf_set(conf, texts[i].name, texts[i].value, where, err))
            return false;
    }
    return spec->verify_host ||
           kafka_conf_set(conf, "ssl.endpoint.identification.algorithm", "none", field, err);
}

static bool set_sasl(rd_kafka_conf_t *conf, const KafkaSpec *spec, const char *field, Error *err)
{
    static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512",
                                             "OAUTHBEARER"};
    AUTO(mem_free) char *where = mem_format("%s.security", field);
    if (!kafka_conf_set(conf, "sasl.mechanism", mechanisms[spec->mechanism], where, err))
        return false;
    if (spec->mechanism == KAFKA_OAUTHBEARER)
        return true;
    return kafka_conf_set(conf, "sasl.username", spec->username ? spec->username : "", where,
                          err) &&
           kafka_conf_set(conf, "sasl.password", spec->password ? spec->password : "", where, err);
}

static bool set_all(rd_kafka_conf_t *conf, const KafkaSpec *spec, const char *brokers,
                    const KafkaClientOptions *options, Error *err)
{
    static const char *const protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"};
    const char *field = options->field;
    AUTO(mem_free) char *where = mem_format("%s.bootstrapServers", field);
    if ((brokers && !kafka_conf_set(conf, "bootstrap.servers", brokers, where, err)) ||
        !kafka_conf_set(conf, "security.protocol", protocols[spec->protocol], field, err) ||
        !kafka_conf_set(conf, "client.id", options->client_id, field, err) ||
        !kafka_conf_set(conf, "socket.keepalive.enable", "true", field, err) ||
        /* to look for a topic is not to make it */
        !kafka_conf_set(conf, "allow.auto.create.topics", "false", field, err) ||
        !kafka_conf_set(conf, "socket.nagle.disable", "true", field, err) ||
        !kafka_conf_set(conf, "reconnect.backoff.max.ms", "2000", field, err) ||
        !kafka_conf_number(conf, "statistics.interval.ms",
                           options->stats_ms ? options->stats_ms : KAFKA_STATS_MS, field, err))
        return false;
    if ((spec->protocol == KAFKA_SSL || spec->protocol == KAFKA_SASL_SSL) &&
        !set_tls(conf, spec, field, err))
        return false;
    return (spec->protocol != KAFKA_SASL_PLAINTEXT && spec->protocol != KAFKA_SASL_SSL) ||
           set_sasl(conf, spec, field, err);
}

/* brokers NULL: none */
static rd_kafka_conf_t *conf_of(const KafkaSpec *spec, const char *brokers,
                                const KafkaClientOptions *options, Error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (set_all(conf, spec, brokers, options, err))
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_conf_t *kafka_conf_new(const KafkaSpec *spec, const KafkaClientOptions *options,
                                Error *err)
{
    AUTO(mem_free) char *brokers = join(&spec->brokers);
    return conf_of(spec, brokers, options, err);
}

static void no_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

bool kafka_conf_try(const KafkaSpec *spec, const KafkaClientOptions *options, Error *err)
{
    if (spec->protocol != KAFKA_SSL && spec->protocol != KAFKA_SASL_SSL)
        return true;
    rd_kafka_conf_t *conf = conf_of(spec, NULL, options, err);
    if (!conf)
        return false;
    char text[512] = "";
    rd_kafka_conf_set_log_cb(conf, no_log); /* about a client without brokers */
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (rk) {
        rd_kafka_destroy(rk);
        return true;
    }
    rd_kafka_conf_destroy(conf);
    return error_set(err, ERROR_CONFIG, "KafkaTls",
                     "%s.security: a certificate or key of caSecretRef or credentialsSecretRef "
                     "can't be used: %s",
                     options->field, text);
}
