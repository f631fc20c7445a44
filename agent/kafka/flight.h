/* Flights: what flight.c, producer.c, send.c and transaction.c share. */
#pragma once

#include "agent/kafka/private.h"
#include "agent/kafka/producer.h"

#define FLIGHT_OPEN ((int64_t)1 << 40)

typedef struct Flight {
    struct Flight *next;
    Bytes bytes;
    uint64_t held_bytes; /* of the limit */
    uint64_t records;
    uint64_t record_bytes; /* keys, values, headers */
    int64_t sent_us;
    /* How many records are not acknowledged. While records are being handed over it has FLIGHT_OPEN
     * more than there are, so that counting needs nothing atomic on the sender's side. */
    _Atomic int64_t left;
} Flight;

struct KafkaTopic {
    KafkaTopic *next;
    rd_kafka_topic_t *rkt;
    char *name;
    uint64_t record_bytes_max;
};

struct KafkaProducer {
    KafkaClient client; /* first */
    uint64_t bytes_max, batch_bytes;
    bool transactional;
    KafkaTopic *topics;

    atomic_bool
        broken; /* a record failed for good, or a fatal error: nothing more is handed over */
    /* The first record that failed, by the broker's thread that was told. */
    atomic_int failed_code;
    char failed_topic[256];
    _Atomic uint64_t refused_bytes;

    pthread_mutex_t lock; /* what follows, and changed */
    pthread_cond_t changed;
    Flight *first, **last;
    uint64_t acknowledged; /* flights */
    uint64_t handed_over;  /* flights */
    uint64_t held_bytes;
    uint64_t wakes;
    KafkaFigures figures; /* but what is derived */
};

/* Counts its acknowledgements from now on. */
void flights_intercept(KafkaProducer *producer, rd_kafka_conf_t *conf);
/* The flight's number; it is open. */
uint64_t flight_begin(KafkaProducer *producer, Flight *flight);
/* So many less are left; with none the flight is whole, and may be gone on return. */
void flight_counted(KafkaProducer *producer, Flight *flight, int64_t by);
/* Frees all of them, acknowledged or not; no record of them is with librdkafka any more. */
void flights_forget(KafkaProducer *producer);
/* Whether a record failed for a reason of its own: failed_code says which. */
bool flights_cause(KafkaProducer *producer);
/* True: it goes on; else why not. */
bool producer_works(KafkaProducer *producer, Error *err);
