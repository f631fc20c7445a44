/* A member of a consumer group that reads one topic, each partition from where it is told. The
 * group deals the partitions out, and keeps offsets for those who look at lag: where a partition is
 * read from is the caller's word alone.
 *
 * Eager rebalances: all partitions are taken away, then dealt out anew; what stays with this member
 * goes on where `next` says. Of members, the one that was opened first gets partition 0 (the range
 * assignor sorts by names, which begin with the time).
 *
 * Nothing is read of a partition before kafka_member_seek. Only what is committed: records of a
 * transaction that is open or aborted are passed over. One thread. */
#pragma once

#include "agent/kafka/kafka.h"

typedef struct KafkaMember KafkaMember;

typedef struct KafkaMemberOptions {
    KafkaClientOptions client;
    const char *group, *topic;
    uint64_t queue_bytes; /* fetched ahead; 0: 32 MiB */
    int64_t session_ms;   /* dead after so long without a word; 0: 15 s */
    /* Where a partition that was this member's before goes on; false: it is paused. Called inside
     * kafka_member_next alone, while it is dealt out. */
    bool (*next)(void *context, uint32_t partition, uint64_t *ret);
    void *context;
} KafkaMemberOptions;

void kafka_member_free(KafkaMember *member); /* leaves the group */
/* CONFIG "KafkaRights", "TopicMissing" … */
KafkaMember *kafka_member_open(const KafkaSpec *spec, const KafkaMemberOptions *options, Error *err)
    OWNED_BY(kafka_member_free);
/* "kafka/<cluster>/<topic>#<its id>": another topic of the name is another source. The member's. */
const char *kafka_member_source(const KafkaMember *member);
typedef enum KafkaSame {
    KAFKA_SAME,    /* what was heard up to now is all of that source */
    KAFKA_ANOTHER, /* the topic was deleted, and perhaps made again: RETRY "TopicGone", "TopicAnew"
                    */
    KAFKA_UNTOLD,  /* nobody says, within a few seconds */
} KafkaSame;
/* Is the topic still the one that was opened? librdkafka may go on in another one of its name, or
 * wait for one that never comes. */
MUST_CHECK KafkaSame kafka_member_same(const KafkaMember *member, Error *err);
uint32_t kafka_member_partitions(const KafkaMember *member); /* as of its opening */

typedef enum KafkaHeardKind {
    KAFKA_HEARD_NOTHING,
    KAFKA_HEARD_RECORD,
    KAFKA_HEARD_END,     /* `offset` is the partition's next, and nothing stands before it */
    KAFKA_HEARD_DEALT,   /* partitions were dealt out: kafka_member_dealt */
    KAFKA_HEARD_OUTSIDE, /* the offset asked for is not in the partition */
} KafkaHeardKind;

#define KAFKA_HEARD_HEADERS 2
typedef struct KafkaHeard {
    KafkaHeardKind kind;
    uint32_t partition;
    uint64_t offset;
    int64_t timestamp_ms;    /* 0: none */
    const void *key, *value; /* NULL: null; until the next call */
    size_t key_bytes, value_bytes;
    const void *message; /* for kafka_heard_header */
} KafkaHeard;

/* All of its headers, for a KafkaRecord; NULL: it has none. */
typedef struct KafkaHeaders KafkaHeaders;
void kafka_headers_free(KafkaHeaders *headers);
KafkaHeaders *kafka_heard_headers(const KafkaHeard *heard) OWNED_BY(kafka_headers_free);
/* … and one more. */
KafkaHeaders *kafka_heard_headers_with(const KafkaHeard *heard, const char *name, const void *value,
                                       size_t bytes) OWNED_BY(kafka_headers_free);
/* The header in that place, from 0 on; *ret_value NULL: it has none. False: there are no more. */
bool kafka_heard_header_at(const KafkaHeard *heard, size_t at, const char **ret_name,
                           const void **ret_value, size_t *ret_bytes);
/* The value of the last header of that name, until the next call; NULL: none, or null. */
const void *kafka_heard_header(const KafkaHeard *heard, const char *name, size_t *ret_bytes);

/* Waits at most timeout_ms. What passes is logged and waited for; false is for the rest. */
MUST_CHECK bool kafka_member_next(KafkaMember *member, int timeout_ms, KafkaHeard *ret, Error *err);
/* The partitions that are this member's, and the group's generation. */
const uint32_t *kafka_member_dealt(const KafkaMember *member, uint32_t *ret_count,
                                   uint64_t *ret_generation);
/* Reads on from there. False: not yet possible, ask again; what is refused for half a minute ends
 * the reading (kafka_member_next: RETRY "SeekRefused"). */
bool kafka_member_seek(KafkaMember *member, uint32_t partition, uint64_t offset);
/* Nothing is handed out of it until the next seek. */
void kafka_member_pause(KafkaMember *member, uint32_t partition);
/* What the partition holds: the first offset, and the next one. */
MUST_CHECK bool kafka_member_bounds(KafkaMember *member, uint32_t partition, uint64_t *ret_start,
                                    uint64_t *ret_end, Error *err);
/* The next offset, as of what was fetched last; does not wait. False: nothing was yet. */
bool kafka_member_end(const KafkaMember *member, uint32_t partition, uint64_t *ret);
/* Of each partition the first record that is not older than that moment, in milliseconds since
 * 1970; where there is none the partition's next offset. */
MUST_CHECK bool kafka_member_at(KafkaMember *member, int64_t time_ms, uint64_t *ret_offsets,
                                Error *err);
/* KafkaTopicState's, of the topic. */
MUST_CHECK bool kafka_member_retention(KafkaMember *member, int64_t *ret_ms, Error *err);
/* For lag tools; 0: of that partition nothing. Does not wait. */
void kafka_member_commit(KafkaMember *member, const uint64_t *offsets, uint32_t count);
/* Where the group stands in each partition; UINT64_MAX: nowhere. Waits for transactions that are
 * under way. */
MUST_CHECK bool kafka_member_stands(KafkaMember *member, uint64_t *ret_offsets, Error *err);
/* Has the group offsets of the topic? */
MUST_CHECK bool kafka_member_committed(KafkaMember *member, bool *ret, Error *err);

DEFINE_AUTO(KafkaMember, kafka_member_free);
