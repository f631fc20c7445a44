/* Reads a partition from its beginning to where it ends now: for small topics that are kept to be
 * read whole. Only what is committed: records of a transaction that is open or aborted are passed
 * over. */
#pragma once

#include "agent/kafka/kafka.h"

typedef struct KafkaRead { /* the reader's until the call returns; NULL: null */
    const void *key, *value;
    size_t key_bytes, value_bytes;
    int64_t offset;
} KafkaRead;

/* False ends the reading with *err. */
typedef bool KafkaTake(void *context, const KafkaRead *record, Error *err);

/* CONFIG "KafkaRights" where it may not be read; RETRY "KafkaBusy" when nothing comes for
 * timeout_ms. */
MUST_CHECK bool kafka_topic_read(const KafkaSpec *spec, const KafkaClientOptions *options,
                                 const char *topic, int32_t partition, int timeout_ms,
                                 KafkaTake *take, void *context, Error *err);
