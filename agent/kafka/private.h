/* Between the files of this folder. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent/kafka/kafka.h"
#include "common/bytes.h"
#include "common/http/http_client.h"
#include "common/manifest/manifest.h"
#include "common/thread.h"

#define KAFKA_PATIENCE_MS 10000
#define KAFKA_STATS_MS 5000
#define KAFKA_ADMIN_MS 30000

typedef struct KafkaToken KafkaToken; /* token.c */

struct KafkaClient {
    rd_kafka_t *rk;
    bool consumes; /* reader.c; else it produces */
    char *brokers, *cluster, *field, *user;
    bool scram;
    const char
        *asked; /* the field that names the brokers, and what it means outside of Kubernetes */
    KafkaToken *token;
    bool token_failed; /* of the thread "kafka" */
    Thread *thread;
    rd_kafka_queue_t *events;
    atomic_bool stop;
    /* Called in the thread "kafka" when something may have changed for whoever waits. */
    void (*changed)(void *context);
    void *changed_context;
    pthread_mutex_t lock; /* what follows */
    KafkaHealth health;
};

/* conf.c: the connection's part. Fails with CONFIG "KafkaOption" where librdkafka refuses a value.
 */
MUST_CHECK bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                               const char *field, Error *err);
MUST_CHECK bool kafka_conf_number(rd_kafka_conf_t *conf, const char *name, int64_t value,
                                  const char *field, Error *err);
rd_kafka_conf_t *kafka_conf_new(const KafkaSpec *spec, const KafkaClientOptions *options,
                                Error *err);
/* Certificates and keys are read at once: CONFIG "KafkaTls" for what is none. */
MUST_CHECK bool kafka_conf_try(const KafkaSpec *spec, const KafkaClientOptions *options,
                               Error *err);

/* client.c: takes the conf in any case. `client` is zeroed memory of the caller's. */
MUST_CHECK bool kafka_client_start(KafkaClient *client, rd_kafka_conf_t *conf,
                                   const KafkaSpec *spec, const KafkaClientOptions *options,
                                   Error *err);
/* Only stops; for a producer, which frees its flights after rd_kafka_destroy. */
void kafka_client_stop(KafkaClient *client);
void kafka_client_note(KafkaClient *client, rd_kafka_resp_err_t code, const char *text);

/* member.c: its topic's partitions, with these offsets (UINT64_MAX: without the partition); NULL:
 * all, without offsets. The caller's. */
struct KafkaMember;
rd_kafka_topic_partition_list_t *kafka_member_list(const struct KafkaMember *member,
                                                   const uint64_t *offsets);
/* As its partitions were dealt out; NULL: they were not yet. */
const rd_kafka_consumer_group_metadata_t *kafka_member_group(const struct KafkaMember *member);

/* fault.c: librdkafka's error → ours; returns false. `what` names the thing ("topic shop.orders"),
 * `right` what has to be granted when it is not ("WRITE"). */
bool kafka_fault(const KafkaClient *client, Error *err, rd_kafka_resp_err_t code, const char *text,
                 const char *what, const char *right);
/* … and frees it. */
bool kafka_fault_of(const KafkaClient *client, Error *err, rd_kafka_error_t *error,
                    const char *what, const char *right);
bool kafka_fault_is_final(const Error *err); /* waiting does not mend it */

/* stats.c: librdkafka's statistics (JSON) → health. */
void kafka_stats_read(const char *json, size_t bytes, KafkaHealth *to);

/* token.c: client credentials at a token endpoint, RFC 6749 section 4.4, handed to librdkafka. */
void kafka_token_free(KafkaToken *token);
KafkaToken *kafka_token_new(const KafkaSpec *spec, const char *field, Error *err)
    OWNED_BY(kafka_token_free);
MUST_CHECK bool kafka_token_renew(KafkaToken *token, rd_kafka_t *rk, Error *err);
