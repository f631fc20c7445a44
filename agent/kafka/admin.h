/* Topics. What exists is compared with what is declared and never altered silently. Each call asks
 * the controller and waits for its answer (30 s at most). librdkafka 2.0.2 does not tell a topic's
 * id: a topic's identity here is the cluster's id and its name. */
#pragma once

#include "agent/kafka/kafka.h"

typedef struct KafkaSetting {
    const char *name, *value; /* as Kafka's documentation has them: "retention.ms", "604800000" */
} KafkaSetting;

typedef struct KafkaTopicSpec {
    const char *name;
    int32_t partitions;  /* > 0 */
    int32_t replication; /* 0: the brokers' default */
    const KafkaSetting *settings;
    size_t setting_count;
    uint64_t made_bytes_max; /* max.message.bytes, where it is made: one that exists may have
                                another; 0: the cluster's */
    bool asks_retention;     /* KafkaCompared's is wanted, too */
} KafkaTopicSpec;

typedef struct KafkaTopicState {
    bool exists;
    bool made; /* by this call */
    int32_t partitions;
    int32_t replication;       /* of the partition that has the fewest */
    uint64_t record_bytes_max; /* max.message.bytes: a batch of records, as sent */
    /* Records may be deleted after it; INT64_MAX: never for their age; 0: at any time (a limit in
     * bytes), or it is not known. Of kafka_topic_look alone. */
    int64_t retention_ms;
} KafkaTopicState;

/* True with exists = false when there is none. CONFIG "KafkaRights" where it may not be seen. */
MUST_CHECK bool kafka_topic_look(KafkaClient *client, const char *name, KafkaTopicState *ret,
                                 Error *err);

/* Made if it is missing, and known by every broker on return. One that exists has to be as
 * declared: CONFIG "TopicDiffers" names each setting, what it has and what is wanted; more
 * partitions than declared are fine, fewer are too (*ret says how many: kafka_topic_grow). CONFIG
 * "TopicRefused" when the cluster does not make such a topic (too few brokers, a policy, a name).
 * compared: what is known of its settings; NULL, or not known: they are asked for. */
typedef struct KafkaCompared KafkaCompared;
MUST_CHECK bool kafka_topic_ensure(KafkaClient *client, const KafkaTopicSpec *spec,
                                   const KafkaCompared *compared, KafkaTopicState *ret, Error *err);

/* Makes all that are missing with one request, for thousands; ret_made[i] says which. One that is
 * refused is kafka_topic_ensure's to tell of, which is to follow for each. */
MUST_CHECK bool kafka_topics_make(KafkaClient *client, const KafkaTopicSpec *specs, size_t count,
                                  bool *ret_made, Error *err);

/* The settings of topics that exist, against what is declared, with few requests for thousands. */
struct KafkaCompared {
    bool known;                /* else the cluster did not say */
    uint64_t record_bytes_max; /* max.message.bytes */
    int64_t retention_ms;      /* as KafkaTopicState's, where it was asked for */
    char *differences;         /* for a message; NULL: none; caller frees */
};
MUST_CHECK bool kafka_topics_compare(KafkaClient *client, const KafkaTopicSpec *specs, size_t count,
                                     KafkaCompared *ret, Error *err);

/* Of each of its partitions, the offset behind its last record; 0: nothing was ever written. */
MUST_CHECK bool kafka_topic_ends(KafkaClient *client, const char *name, uint32_t partitions,
                                 uint64_t *ret, Error *err);

/* More partitions, and known by every broker on return. Keys go elsewhere from then on: the caller
 * has made its barrier. Fewer than there are is CONFIG "TopicDiffers"; as many is done already. */
MUST_CHECK bool kafka_topic_grow(KafkaClient *client, const char *name, int32_t partitions,
                                 Error *err);

/* Gone, with its records; one that does not exist is fine. */
MUST_CHECK bool kafka_topic_drop(KafkaClient *client, const char *name, Error *err);

/* What is declared of the stream's topics (partitions, replication, min.insync.replicas, retention,
 * cleanup policy, settings) as a KafkaTopicSpec; the texts live in *hold. */
#define KAFKA_HOLD_MAX 67
typedef struct KafkaTopicHold {
    KafkaSetting settings[KAFKA_HOLD_MAX];
    char numbers[2][24];
} KafkaTopicHold;
void kafka_topic_declared(const StreamSpec *stream, const char *name, KafkaTopicHold *hold,
                          KafkaTopicSpec *ret);
