/* A topic of one partition over which the processes of a group talk: everybody hears everybody,
 * from when it opened the channel on. What is said may be lost, late or doubled; nothing waits for
 * it. One thread. */
#pragma once

#include "agent/kafka/kafka.h"

typedef struct KafkaChannel KafkaChannel;

void kafka_channel_free(KafkaChannel *channel);
/* The topic is made if it is missing: kept for an hour, replicated as the brokers' default. */
KafkaChannel *kafka_channel_open(const KafkaSpec *spec, const KafkaClientOptions *options,
                                 const char *topic, Error *err) OWNED_BY(kafka_channel_free);
/* Does not wait; what does not fit is lost. */
void kafka_channel_say(KafkaChannel *channel, const void *message, size_t bytes);
/* *ret NULL: nothing within timeout_ms; else until the next call. False: as kafka_member_next. */
MUST_CHECK bool kafka_channel_hear(KafkaChannel *channel, int timeout_ms, const void **ret,
                                   size_t *ret_bytes, Error *err);

DEFINE_AUTO(KafkaChannel, kafka_channel_free);
