/* Records → topics: each once and in the order of each partition, as long as this producer lives
 * (acks=all, idempotent, without a limit of tries); after a failure it is freed and what was not
 * acknowledged comes again from the source. A record that fails for good stops everything behind
 * it: no partition ever has a gap.
 *
 * Records are handed over in flights: as many as one piece of memory holds. A flight is let in
 * whole or not at all; its bytes are not copied but freed once every record of it is acknowledged.
 * Flights are numbered from 1; what is told is the number up to which all are acknowledged.
 * Memory: the flights' bytes and about KAFKA_RECORD_BYTES a record stay below bytes_max; librdkafka
 * adds its requests, at most five batches for each broker that is written to.
 *
 * One thread sends, the same or another one waits for acknowledgements. With delivery Transactional
 * the calls below come from the thread that sends. */
#pragma once

#include "agent/kafka/kafka.h"
#include "common/bytes.h"

#define KAFKA_HEADERS_MAX 2
#define KAFKA_RECORD_BYTES 512 /* what librdkafka keeps for a record beside its value */

typedef struct KafkaProducer KafkaProducer;
typedef struct KafkaTopic KafkaTopic; /* the producer's */

typedef struct KafkaProducerOptions {
    KafkaClientOptions client;
    uint64_t batch_bytes;       /* at most so much in one batch; not above any topic's
                                   record_bytes_max. 0: 1,000,000 */
    const char *transaction_id; /* delivery Transactional: names the writer in the cluster: whoever
                                   opens it later fences us. NULL: Idempotent */
    int64_t transaction_ms;     /* the cluster aborts one that is open for longer; 0: 60 s */
    int linger_ms;              /* a batch waits so long for more; < 0: none; 0: 3 */
} KafkaProducerOptions;

/* What is not acknowledged is left to the source; waits for no broker. */
void kafka_producer_free(KafkaProducer *producer);
/* Connected, and with a transaction_id the one writer: FATAL "Fenced" is somebody else's word from
 * then on. bytes_max, compression: of the stream. */
KafkaProducer *kafka_producer_open(const StreamSpec *stream, const KafkaProducerOptions *options,
                                   Error *err) OWNED_BY(kafka_producer_free);
KafkaClient *kafka_producer_client(KafkaProducer *producer); /* for admin.h; the producer's */

/* A topic to write to, that exists. record_bytes_max: KafkaTopicState's. The same name gives the
 * same topic again, with a new limit. RETRY "BatchTooLarge" when it is below batch_bytes: open
 * anew with a smaller one. */
KafkaTopic *kafka_producer_topic(KafkaProducer *producer, const char *name,
                                 uint64_t record_bytes_max, Error *err);

typedef struct KafkaHeader {
    const char *name; /* NULL: no more headers */
    const void *value;
    uint32_t bytes;
} KafkaHeader;

typedef struct KafkaHeaders KafkaHeaders; /* member.h */

typedef struct KafkaRecord { /* what it points to lies in the flight's bytes; names are literals */
    KafkaTopic *topic;
    const void *key;   /* NULL: none */
    const void *value; /* NULL: none, a tombstone */
    uint32_t key_bytes, value_bytes;
    int32_t partition;
    int64_t timestamp_ms; /* 0: now */
    KafkaHeader headers[KAFKA_HEADERS_MAX];
    const KafkaHeaders *all; /* in place of these, as another record had them; NULL: these */
} KafkaRecord;

/* Would its topic take it? Else kafka_producer_send refuses it. */
bool kafka_record_fits(const KafkaRecord *record);

typedef enum KafkaSent {
    KAFKA_SENT,   /* bytes are the producer's, *bytes is empty */
    KAFKA_FULL,   /* no room within timeout_ms: bytes are still the caller's */
    KAFKA_FAILED, /* *err says why; of DATA, bytes are still the caller's, else they may be empty */
} KafkaSent;

/* Hands a flight over; count > 0. (With Transactional a producer that failed may also go on after
 * kafka_producer_abort, unless the failure was FATAL.) A flight larger than bytes_max is let in
 * when there is no other. timeout_ms 0 does not wait. KAFKA_FAILED: DATA "RecordTooLarge" with *ret
 * the index of the record (nothing was sent: leave it out and send again); else the producer's
 * failure, as in kafka_producer_wait. KAFKA_SENT: *ret is the flight's number. */
MUST_CHECK KafkaSent kafka_producer_send(KafkaProducer *producer, Bytes *bytes,
                                         const KafkaRecord *records, size_t count, int timeout_ms,
                                         uint64_t *ret, Error *err);

/* Waits, at most timeout_ms (< 0: for ever), until more than `known` flights are acknowledged in a
 * row; *ret is how many are (true, too, when time is up or kafka_producer_wake was called). False:
 * the producer has failed, *ret is still right; free it and go back to the source. */
MUST_CHECK bool kafka_producer_wait(KafkaProducer *producer, uint64_t known, int timeout_ms,
                                    uint64_t *ret, Error *err);
/* The bytes of the latest batch that a broker refused for its size, less than a record's framing
 * too few; 0: it refused none. The producer has failed then with "BatchTooLarge", or its
 * transaction. */
uint64_t kafka_producer_refused(const KafkaProducer *producer);
void kafka_producer_wake(KafkaProducer *producer); /* ends the waits that are under way */

/* --- delivery Transactional: what counts is the commit, not the flights' numbers --- */

MUST_CHECK bool kafka_producer_begin(KafkaProducer *producer, Error *err);
/* With the transaction the member's group stands at these offsets, one for each partition
 * (UINT64_MAX: as it does). Refused where partitions were dealt out anew after the member heard of
 * it: two members never write the same record. Errors as of kafka_producer_commit. */
typedef struct KafkaMember KafkaMember;
MUST_CHECK bool kafka_producer_offsets(KafkaProducer *producer, const KafkaMember *member,
                                       const uint64_t *offsets, int timeout_ms, Error *err);
/* Every flight since kafka_producer_begin is acknowledged and visible to read_committed, or none
 * ever will be. False: CONFLICT "TransactionAborted": the flights are gone, the producer may begin
 * again and the rows come again from the source; FATAL "Fenced"; RETRY "KafkaBusy" after
 * timeout_ms: not known yet, call it again (or free the producer: the next one with this id finds
 * the transaction ended). */
MUST_CHECK bool kafka_producer_commit(KafkaProducer *producer, int timeout_ms, Error *err);
/* The flights since kafka_producer_begin are gone and never told of. */
MUST_CHECK bool kafka_producer_abort(KafkaProducer *producer, int timeout_ms, Error *err);

#define KAFKA_LATENCY_BUCKETS 32
typedef struct KafkaFigures {
    uint64_t queued_flights, queued_records, queued_bytes;
    uint64_t sent_records, sent_bytes; /* of all flights handed over */
    uint64_t acknowledged_records, acknowledged_bytes;
    int64_t oldest_us;                       /* age of the oldest flight that is not acknowledged */
    uint64_t latency[KAFKA_LATENCY_BUCKETS]; /* flights acknowledged in [2^i, 2^(i+1)) us */
    KafkaHealth health;
} KafkaFigures;
void kafka_producer_figures(KafkaProducer *producer, KafkaFigures *ret);

DEFINE_AUTO(KafkaProducer, kafka_producer_free);
