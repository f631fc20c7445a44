/* links: firn_kafka */
/* librdkafka's errors in our words, its statistics, its settings, and tokens from an endpoint that
 * misbehaves. No secret is in any message. */
#include "tests/unit/unit.h"

#include "agent/kafka/admin.h"
#include "agent/kafka/private.h"
#include "common/mem.h"
#include "tests/unit/http_script.h"

static KafkaClient client = {.brokers = (char[]){"k:9092"},
                             .asked = "bootstrapServers",
                             .field = (char[]){"spec.stream.kafka"},
                             .user = (char[]){"alice"}};

static void check(rd_kafka_resp_err_t code, const char *text, const char *what, ErrorKind kind,
                  const char *name, const char *words)
{
    Error err = {0};
    assert_false(kafka_fault(&client, &err, code, text, what, "Write"));
    if (err.kind != kind || strcmp(err.code, name) != 0 || !strstr(err.message, words) ||
        !strstr(err.message, "k:9092"))
        fail_msg("%s: %d %s: %s", rd_kafka_err2name(code), err.kind, err.code, err.message);
}

static void faults(void **state)
{
    (void)state;
    static const char topic[] = "topic shop.orders", cluster[] = "the cluster";
    check(RD_KAFKA_RESP_ERR__AUTHENTICATION, "no", cluster, ERROR_CONFIG, "KafkaLogin",
          "credentialsSecretRef): no");
    check(RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, NULL, cluster, ERROR_CONFIG, "KafkaLogin",
          "alice");
    check(RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", cluster, ERROR_CONFIG, "KafkaTls",
          "authority in caSecretRef");
    check(RD_KAFKA_RESP_ERR__SSL, "wrong version number", cluster, ERROR_CONFIG, "KafkaTls",
          "does not speak TLS");
    check(RD_KAFKA_RESP_ERR__RESOLVE, "unknown host", cluster, ERROR_RETRY, "BrokersUnreachable",
          "unknown host");
    check(RD_KAFKA_RESP_ERR__TRANSPORT, "refused", cluster, ERROR_RETRY, "BrokersUnreachable",
          "bootstrapServers): refused");
    check(RD_KAFKA_RESP_ERR__TRANSPORT, "(connecting to a SSL listener?)", cluster, ERROR_RETRY,
          "BrokersUnreachable", "wants TLS");
    check(RD_KAFKA_RESP_ERR__TRANSPORT, "bad certificate: SSL alert number 42", cluster,
          ERROR_CONFIG, "KafkaTls", "tls.crt");
    check(RD_KAFKA_RESP_ERR__TRANSPORT, "Disconnected (after 2ms in state APIVERSION_QUERY)",
          cluster, ERROR_RETRY, "BrokersUnreachable", "wants TLS");
    check(RD_KAFKA_RESP_ERR__TRANSPORT, "ssl://k: Disconnected (after 0ms in state SSL_HANDSHAKE)",
          cluster, ERROR_RETRY, "BrokersUnreachable", "has no TLS");
    check(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, NULL, cluster, ERROR_RETRY, "BrokersUnreachable",
          "");
    check(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, NULL, topic, ERROR_CONFIG, "KafkaRights",
          "--allow-principal User:alice --operation Write --topic shop.orders");
    check(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, NULL, topic, ERROR_CONFIG, "KafkaRights",
          "--operation Write --cluster");
    check(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NULL, "transactional id x",
          ERROR_CONFIG, "KafkaRights", "--transactional-id");
    check(RD_KAFKA_RESP_ERR__FENCED, NULL, "transactional id x", ERROR_FATAL, "Fenced",
          "newer instance");
    check(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, NULL, topic, ERROR_RETRY, "BatchTooLarge",
          "shop.orders");
    check(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, NULL, topic, ERROR_RETRY, "TopicGone",
          "shop.orders");
    check(RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, NULL, topic, ERROR_CONFIG, "KafkaOption",
          "shop.orders");
    check(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, NULL, topic, ERROR_RETRY, "KafkaBusy",
          "OUT_OF_ORDER");
}

static void statistics(void **state)
{
    (void)state;
    static const char json[] =
        "{\"brokers\":{\"a\":{\"nodeid\":-1,\"state\":\"UP\",\"txretries\":1},"
        "\"b\":{\"nodeid\":1,\"state\":\"UP\",\"txretries\":2},"
        "\"c\":{\"nodeid\":2,\"state\":\"CONNECT\",\"txretries\":4},"
        "\"d\":{\"nodeid\":3,\"state\":\"UPDATE\"}}}";
    KafkaHealth health = {0};
    kafka_stats_read(json, strlen(json), &health);
    assert_int_equal(health.brokers_known, 3);
    assert_int_equal(health.brokers_up, 2);
    assert_int_equal(health.retries, 7);
    kafka_stats_read("{", 1, &health);
    assert_int_equal(health.brokers_known, 3);
}

static void declared(void **state)
{
    (void)state;
    TopicSetting other = {(char[]){"segment.ms"}, (char[]){"60000"}};
    StreamSpec stream = {.partitions = 4,
                         .replication = 3,
                         .min_insync_replicas = 2,
                         .retention_ms = INT64_MAX,
                         .cleanup = CLEANUP_COMPACT_DELETE,
                         .settings = {&other, 1}};
    KafkaTopicHold hold;
    KafkaTopicSpec spec;
    kafka_topic_declared(&stream, "t", &hold, &spec);
    static const char *const wanted[][2] = {{"min.insync.replicas", "2"},
                                            {"retention.ms", "-1"},
                                            {"cleanup.policy", "compact,delete"},
                                            {"segment.ms", "60000"}};
    assert_int_equal(spec.partitions, 4);
    assert_int_equal(spec.replication, 3);
    assert_int_equal(spec.setting_count, ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_string_equal(spec.settings[i].name, wanted[i][0]);
        assert_string_equal(spec.settings[i].value, wanted[i][1]);
    }
    stream = (StreamSpec){.partitions = 1};
    kafka_topic_declared(&stream, "t", &hold, &spec);
    assert_int_equal(spec.setting_count, 0);
    assert_int_equal(spec.replication, 0);
}

/* --- tokens --- */

typedef struct Endpoint {
    const char *status, *body;
    Bytes asked;
} Endpoint;

static Then answer(void *context, const Asked *asked, Bytes *reply)
{
    Endpoint *endpoint = context;
    bytes_clear(&endpoint->asked);
    bytes_put(&endpoint->asked, asked->body.data, asked->body.used + 1);
    AUTO(mem_free)
    char *text = mem_format("HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", endpoint->status,
                            strlen(endpoint->body), endpoint->body);
    bytes_put(reply, text, strlen(text));
    return THEN_KEEP;
}

#define SECRET "a&hush=+ "

static void tokens(void **state)
{
    (void)state;
    Endpoint endpoint = {0};
    Script *script = script_start(answer, &endpoint, NULL);
    AUTO(mem_free) char *url = mem_format("http://127.0.0.1:%u/token", script->port);
    KafkaSpec spec = {.protocol = KAFKA_SASL_PLAINTEXT,
                      .mechanism = KAFKA_OAUTHBEARER,
                      .username = (char[]){"firn"},
                      .password = (char[]){SECRET},
                      .token_url = url,
                      .token_scope = (char[]){"a b"},
                      .token_extensions = (char[]){"x=1,y=2"}};
    Error err = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "security.protocol", "sasl_plaintext", NULL, 0);
    rd_kafka_conf_set(conf, "sasl.mechanism", "OAUTHBEARER", NULL, 0);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_non_null(rk);
    KafkaToken *token = kafka_token_new(&spec, "spec.stream.kafka", &err);
    assert_non_null(token);
    static const struct {
        const char *status, *body;
        ErrorKind kind;
        const char *code;
    } answers[] = {
        {"200 OK", "{\"access_token\":\"abc.def\",\"expires_in\":60}", ERROR_NONE, ""},
        {"200 OK", "{\"access_token\":\"abc.def\"}", ERROR_NONE, ""},
        {"200 OK", "{\"access_token\":\"abc.def\",\"expires_in\":-7}", ERROR_NONE, ""},
        {"200 OK", "{\"access_token\":\"a b\"}", ERROR_RETRY, "AnswerBad"},
        {"200 OK", "{\"access_token\":7}", ERROR_RETRY, "AnswerBad"},
        {"200 OK", "<html>", ERROR_RETRY, "AnswerBad"},
        {"401 No", "{\"error\":\"invalid_client\"}", ERROR_CONFIG, "KafkaLogin"},
        {"400 No", "", ERROR_CONFIG, "KafkaLogin"},
        {"429 Later", "", ERROR_RETRY, "TokenRefused"},
        {"503 Later", "", ERROR_RETRY, "TokenRefused"},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        endpoint.status = answers[i].status;
        endpoint.body = answers[i].body;
        err = (Error){0};
        assert_int_equal(kafka_token_renew(token, rk, &err), answers[i].kind == ERROR_NONE);
        assert_int_equal(err.kind, answers[i].kind);
        assert_string_equal(err.code, answers[i].code);
        assert_null(strstr(err.message, "hush"));
        assert_string_equal(endpoint.asked.data, "grant_type=client_credentials&client_id=firn&"
                                                 "client_secret=a%26hush%3D%2B%20&scope=a%20b");
    }
    kafka_token_free(token);
    rd_kafka_destroy(rk);
    script_stop(script);
    bytes_done(&endpoint.asked);
}

/* librdkafka would quote what it can't read. */
static void no_secret_in_options(void **state)
{
    (void)state;
    char *brokers[] = {(char[]){"127.0.0.1:1"}};
    KafkaSpec spec = {.protocol = KAFKA_SSL,
                      .brokers = {brokers, 1},
                      .client_pem = (char[]){"-----BEGIN CERTIFICATE-----\nhush\n"},
                      .client_key_pem = (char[]){"-----BEGIN PRIVATE KEY-----\nhush\n"}};
    Error err = {0};
    assert_null(kafka_client_open(
        &spec, &(KafkaClientOptions){.client_id = "t", .field = "spec.stream.kafka"}, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "KafkaTls");
    assert_null(strstr(err.message, "hush"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(faults), cmocka_unit_test(statistics),
                                       cmocka_unit_test(declared), cmocka_unit_test(tokens),
                                       cmocka_unit_test(no_secret_in_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
