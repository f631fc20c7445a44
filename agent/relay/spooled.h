/* What spooled.c (records into the spool) and given.c (out of it, to Kafka) know together. */
#pragma once

#include "agent/relay/flow.h"

typedef struct KnownTopic {
    char *name;
    uint32_t partitions;
    uint64_t record_bytes_max;
} KnownTopic;

struct Spooled {
    Backlog *backlog;
    Store *store;
    AwsCredentials *keys; /* NULL: from the environment */
    KnownTopic *known;    /* as the note says */
    size_t known_count;
    State state;
    bool known_whole;

    bool away;
    Error why_away;
    RowPosition there; /* Kafka has everything up to it, as of the beginning */
    RowPosition told;  /* written, and told */
    RowPosition put;   /* the latest checkpoint in the backlog */
    RowPosition released;
    Outbox giving, own;
    bool waits; /* `giving` is to be handed over, or `ends` is a checkpoint that is to be committed
                 */
    RowPosition ends;
    bool ends_waits;
    int64_t flush_us, begun_us, ours_us;

    Thread *knocks;
    atomic_bool answered, quits;
};

/* What is durable is told to the source; at_once: the rest soon will be. */
MUST_CHECK bool spool_tell(RelayFlow *flow, bool at_once, Error *err);
/* Kafka has taken nothing for a while, though something waits. */
bool spool_kafka_stalls(RelayFlow *flow);
