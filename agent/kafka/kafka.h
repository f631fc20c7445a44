/* Kafka: the one place that knows librdkafka (2.0.2, Debian 12).
 *
 *   kafka.h     this: a client of a cluster                      client.c, stats.c
 *   admin.h     topics: looked up, made, grown, dropped          admin.c
 *   producer.h  records → topics, idempotent or in transactions  producer.c, send.c, flight.c,
 *                                                                transaction.c
 *   reader.h    a small topic, read whole                        reader.c
 *   private.h   conf.c (options → librdkafka's), fault.c (its errors → ours), token.c (OAUTHBEARER)
 *
 * Every call takes part of what common/manifest read of the resource (KafkaSpec, StreamSpec), so
 * that messages name the manifest's fields. Secrets are in no message and no log; librdkafka's own
 * log lines go to common/log.
 *
 * Errors: RETRY "BrokersUnreachable" (why: the address, refused, the connection closed),
 * "KafkaBusy" and others that pass; CONFIG "KafkaLogin" (SASL), "KafkaTls", "KafkaRights" (which
 * right to grant), "KafkaOption"; FATAL "Fenced" (a newer instance writes); DATA "RecordTooLarge".
 *
 * Threads: librdkafka's own (one per broker, one main) and one of ours for each client ("kafka"),
 * which sleeps unless something happens. Calls may be made from any thread. */
#pragma once

#include "common/attrs.h"
#include "common/error.h"

typedef struct KafkaSpec KafkaSpec;   /* common/manifest/manifest.h */
typedef struct StreamSpec StreamSpec; /* … */

typedef struct KafkaClient KafkaClient;

typedef struct KafkaClientOptions {
    const char *client_id; /* as brokers' logs and quotas have it */
    const char *field;     /* where the KafkaSpec stands: "spec.stream.kafka"; for messages */
    int64_t patience_ms;   /* how long the brokers may be unreachable at the start; 0: 10 s */
    int64_t stats_ms;      /* how often the figures of brokers are taken; 0: 5 s */
} KafkaClientOptions;

/* Waits for what is under way to end, but for no broker. */
void kafka_client_free(KafkaClient *client);
/* Connected: some broker has answered and knows who we are. Errors as above. The spec outlives
 * it. */
KafkaClient *kafka_client_open(const KafkaSpec *spec, const KafkaClientOptions *options, Error *err)
    OWNED_BY(kafka_client_free);

/* "kafka/<cluster id>", for positions and messages; the client's. */
const char *kafka_client_cluster(const KafkaClient *client);
/* "host:port,host:port", as asked for. */
const char *kafka_client_brokers(const KafkaClient *client);

typedef struct KafkaHealth {
    uint32_t brokers_known; /* of the cluster, as of the latest figures */
    uint32_t brokers_up;    /* with a connection that works; idle ones count as known only */
    bool all_down;          /* no broker could be reached, and none since */
    uint64_t retries;       /* requests to produce sent again */
    Error problem;          /* the latest, kind ERROR_NONE: none, or it is over */
} KafkaHealth;
void kafka_client_health(KafkaClient *client, KafkaHealth *ret);

DEFINE_AUTO(KafkaClient, kafka_client_free);
