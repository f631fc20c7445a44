/* librdkafka's errors in the house's words: what happened, to what, and the way out. The kinds are
 * policy: what time mends is RETRY, what a person has to mend is CONFIG. */
#include <string.h>

#include "agent/kafka/private.h"

static const char *user_of(const KafkaClient *client)
{
    return client->user ? client->user : "ANONYMOUS";
}

/* `what` is a topic as an ACL names it ("topic shop.orders"), or something else of the cluster's.
 */
static bool rights(const KafkaClient *client, Error *err, rd_kafka_resp_err_t code,
                   const char *what, const char *right)
{
    const char *on = strncmp(what, "topic ", 6) == 0 ? what : "cluster";
    if (code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED)
        on = "cluster";
    else if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        on = "transactional-id '*'";
    return error_set(err, ERROR_CONFIG, "KafkaRights",
                     "kafka %s: %s lacks the right %s for %s: grant it (kafka-acls --add "
                     "--allow-principal User:%s --operation %s --%s)",
                     client->brokers, user_of(client), right, what, user_of(client), right, on);
}

/* librdkafka before 2.6.0 puts its own nonce in front of the server's once more, which already
 * begins with it. Kafka used to let that pass (RFC 5802 section 5.1; CVE-2024-56128). */
#define SCRAM_MENDED 0x02060000

static bool login(const KafkaClient *client, Error *err, const char *text)
{
    if (client->scram && rd_kafka_version() < SCRAM_MENDED)
        return error_set(err, ERROR_CONFIG, "KafkaLogin",
                         "kafka %s does not let %s in: check %s.security (credentialsSecretRef). "
                         "Or the broker holds SCRAM to its rules, as Kafka 4 does: librdkafka "
                         "before 2.6.0 can't log in there (this is %s): write PLAIN with SASL_SSL, "
                         "OAUTHBEARER, or SSL with tls.crt and tls.key. %.120s",
                         client->brokers, user_of(client), client->field, rd_kafka_version_str(),
                         text);
    return error_set(err, ERROR_CONFIG, "KafkaLogin",
                     "kafka %s does not let %s in: check %s.security (mechanism, "
                     "credentialsSecretRef): %s",
                     client->brokers, user_of(client), client->field, text);
}

static bool tls(const KafkaClient *client, Error *err, const char *text)
{
    const char *hint = "check security.protocol and the certificates";
    if (strstr(text, "certificate verify failed") || strstr(text, "unable to get"))
        hint = "the broker's certificate is not of the authority in caSecretRef, or not its "
               "host's (verifyHost)";
    else if (strstr(text, "wrong version number"))
        hint = "the listener does not speak TLS: write another port, or protocol PLAINTEXT or "
               "SASL_PLAINTEXT";
    else if (strstr(text, "certificate required") || strstr(text, "bad certificate") ||
             strstr(text, "alert"))
        hint = "the broker does not take the client's certificate: tls.crt and tls.key of "
               "credentialsSecretRef";
    return error_set(err, ERROR_CONFIG, "KafkaTls", "kafka %s: TLS failed; %s.security: %s: %s",
                     client->brokers, client->field, hint, text);
}

static bool unreachable(const KafkaClient *client, Error *err, const char *text)
{
    const char *hint = "";
    if (strstr(text, "SSL listener") ||
        (strstr(text, "APIVERSION_QUERY") && !strstr(text, "ssl://")))
        hint = ", or the listener wants TLS: write protocol SSL or SASL_SSL";
    else if (strstr(text, "SSL_HANDSHAKE") || strstr(text, "PLAINTEXT broker listener"))
        hint = ", or the listener has no TLS: write protocol PLAINTEXT or SASL_PLAINTEXT";
    return error_set(err, ERROR_RETRY, "BrokersUnreachable",
                     "kafka %s can't be reached (%s.%s%s): %s", client->brokers, client->field,
                     client->asked, hint, text);
}

bool kafka_fault(const KafkaClient *client, Error *err, rd_kafka_resp_err_t code, const char *text,
                 const char *what, const char *right)
{
    if (!text || !*text)
        text = rd_kafka_err2str(code);
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
        return login(client, err, text);
    case RD_KAFKA_RESP_ERR__SSL:
        return tls(client, err, text);
    case RD_KAFKA_RESP_ERR__TRANSPORT: /* TLS 1.3 refuses a client after the handshake */
        return strstr(text, "SSL alert number") ? tls(client, err, text)
                                                : unreachable(client, err, text);
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return unreachable(client, err, text);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return rights(client, err, code, what, right);
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        return error_set(err, ERROR_FATAL, "Fenced",
                         "kafka %s: %s is written by a newer instance now: this one ends (%s)",
                         client->brokers, what, text);
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return error_set(err, ERROR_RETRY, "BatchTooLarge",
                         "kafka %s: %s takes smaller batches than its max.message.bytes said when "
                         "it was opened: it is looked at again",
                         client->brokers, what);
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return error_set(err, ERROR_RETRY, "TopicGone",
                         "kafka %s: %s or a partition of it is not there (any more): %s",
                         client->brokers, what, text);
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return error_set(err, ERROR_CONFIG, "KafkaOption", "kafka %s: %s: %s", client->brokers,
                         what, text);
    default:
        return error_set(err, ERROR_RETRY, "KafkaBusy", "kafka %s: %s: %s (%s)", client->brokers,
                         what, text, rd_kafka_err2name(code));
    }
}

bool kafka_fault_of(const KafkaClient *client, Error *err, rd_kafka_error_t *error,
                    const char *what, const char *right)
{
    (void)kafka_fault(client, err, rd_kafka_error_code(error), rd_kafka_error_string(error), what,
                      right);
    rd_kafka_error_destroy(error);
    return false;
}

bool kafka_fault_is_final(const Error *err)
{
    return err->kind == ERROR_CONFIG || err->kind == ERROR_FATAL;
}
