/* links: firn_kafka */
/* Drives agent/kafka for the tests: a manifest's first Connector says where to, each line of
 * standard input is a command, each answer a line: "ok …" or "error KIND CODE message".
 *
 *   kafka_drive MANIFEST SECRETS_FOLDER
 *
 *   open [TRANSACTION_ID|- [PATIENCE_MS]]   a producer     client   only a client, for topics
 *   ensure TOPIC               as the manifest declares; partitions replication record_bytes_max
 *   look TOPIC                 exists partitions replication record_bytes_max retention_ms
 *   grow TOPIC PARTITIONS      drop TOPIC
 *   send TOPIC FIRST COUNT     records "FIRST" … in flights of 500, key % partitions; waits for
 * room large TOPIC BYTES          one record of so many bytes between two small ones drain until
 * all that was sent is acknowledged, 60 s at most begin | commit | abort figures queued
 * acknowledged brokers_up all_down close                      cluster */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "agent/kafka/admin.h"
#include "agent/kafka/producer.h"
#include "common/log.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"

#define FLIGHT_RECORDS 500
#define WAIT_MS 60000

typedef struct Drive {
    Manifest *manifest;
    const StreamSpec *stream;
    KafkaProducer *producer;
    KafkaClient *client; /* the producer's, or by itself */
    uint64_t sent;
    KafkaTopic *topic; /* the latest, so that no send has to ask a broker that is away */
    char topic_name[300];
    KafkaTopicState topic_state;
} Drive;

static KafkaTopic *topic_of(Drive *drive, const char *name, KafkaTopicState *state, Error *err)
{
    if (drive->topic && strcmp(drive->topic_name, name) == 0) {
        *state = drive->topic_state;
        return drive->topic;
    }
    if (!kafka_topic_look(drive->client, name, state, err))
        return NULL;
    if (state->exists) {
        drive->topic = kafka_producer_topic(drive->producer, name, state->record_bytes_max, err);
        drive->topic_state = *state;
        snprintf(drive->topic_name, sizeof drive->topic_name, "%s", name);
        return drive->topic;
    }
    error_set(err, ERROR_CONFIG, "NoTopic", "there is no topic %s", name);
    return NULL;
}

static bool open_producer(Drive *drive, const char *transaction_id, long patience_ms, Error *err)
{
    const KafkaProducerOptions options = {
        .client = {.client_id = "firn-drive",
                   .field = "spec.stream.kafka",
                   .patience_ms = patience_ms ? patience_ms : WAIT_MS,
                   .stats_ms = 1000},
        .transaction_id = *transaction_id && *transaction_id != '-' ? transaction_id : NULL};
    drive->producer = kafka_producer_open(drive->stream, &options, err);
    drive->client = drive->producer ? kafka_producer_client(drive->producer) : NULL;
    if (drive->client)
        printf("ok %s\n", kafka_client_cluster(drive->client));
    return drive->producer;
}

static bool open_client(Drive *drive, Error *err)
{
    const KafkaClientOptions options = {
        .client_id = "firn-drive", .field = "spec.stream.kafka", .patience_ms = WAIT_MS};
    drive->client = kafka_client_open(&drive->stream->kafka, &options, err);
    if (drive->client)
        printf("ok %s\n", kafka_client_cluster(drive->client));
    return drive->client;
}

static bool close_all(Drive *drive)
{
    if (drive->producer)
        kafka_producer_free(drive->producer);
    else
        kafka_client_free(drive->client);
    drive->producer = NULL;
    drive->client = NULL;
    drive->topic = NULL;
    drive->sent = 0;
    puts("ok");
    return true;
}

static bool ensure(Drive *drive, const char *name, Error *err)
{
    KafkaTopicHold hold;
    KafkaTopicSpec spec;
    KafkaTopicState state;
    kafka_topic_declared(drive->stream, name, &hold, &spec);
    if (!kafka_topic_ensure(drive->client, &spec, NULL, &state, err))
        return false;
    printf("ok %d %d %" PRIu64 "\n", state.partitions, state.replication, state.record_bytes_max);
    return true;
}

static bool look(Drive *drive, const char *name, Error *err)
{
    KafkaTopicState state;
    if (!kafka_topic_look(drive->client, name, &state, err))
        return false;
    printf("ok %d %d %d %" PRIu64 " %" PRIi64 "\n", state.exists, state.partitions,
           state.replication, state.record_bytes_max, state.retention_ms);
    return true;
}

/* One flight of numbers. */
static bool send_flight(Drive *drive, KafkaTopic *topic, int32_t partitions, long first, long count,
                        Error *err)
{
    KafkaRecord records[FLIGHT_RECORDS];
    Bytes bytes = {0};
    bytes_reserve(&bytes, FLIGHT_RECORDS * 24);
    for (long i = 0; i < count; i++) {
        char text[24];
        uint32_t length = (uint32_t)snprintf(text, sizeof text, "%ld", first + i);
        const void *at = bytes.data + bytes.used;
        bytes_put(&bytes, text, length);
        records[i] = (KafkaRecord){.topic = topic,
                                   .key = at,
                                   .key_bytes = length,
                                   .value = at,
                                   .value_bytes = length,
                                   .partition = (int32_t)((first + i) % partitions),
                                   .headers = {{"firn", at, length}}};
    }
    KafkaSent sent = kafka_producer_send(drive->producer, &bytes, records, (size_t)count, WAIT_MS,
                                         &drive->sent, err);
    bytes_done(&bytes);
    if (sent == KAFKA_FULL)
        error_set(err, ERROR_RETRY, "Full", "no room for a minute");
    return sent == KAFKA_SENT;
}

static bool send_numbers(Drive *drive, const char *name, long first, long count, Error *err)
{
    KafkaTopicState state;
    KafkaTopic *topic = topic_of(drive, name, &state, err);
    for (long done = 0; topic && done < count; done += FLIGHT_RECORDS) {
        long some = count - done < FLIGHT_RECORDS ? count - done : FLIGHT_RECORDS;
        if (!send_flight(drive, topic, state.partitions, first + done, some, err))
            return false;
    }
    if (topic)
        printf("ok %" PRIu64 "\n", drive->sent);
    return topic;
}

static bool send_large(Drive *drive, const char *name, long large, Error *err)
{
    KafkaTopicState state;
    KafkaTopic *topic = topic_of(drive, name, &state, err);
    if (!topic)
        return false;
    Bytes bytes = {0};
    bytes_reserve(&bytes, (size_t)large);
    for (uint64_t random = 1; bytes.used < (size_t)large; bytes.used++) { /* lz4 can't help */
        random = random * 6364136223846793005u + 1442695040888963407u;
        bytes.data[bytes.used] = (uint8_t)(random >> 56);
    }
    KafkaRecord records[3];
    for (int i = 0; i < 3; i++)
        records[i] = (KafkaRecord){.topic = topic,
                                   .key = bytes.data,
                                   .key_bytes = 1,
                                   .value = bytes.data,
                                   .value_bytes = i == 1 ? (uint32_t)large : 10};
    uint64_t number = 0;
    KafkaSent sent =
        kafka_producer_send(drive->producer, &bytes, records, 3, WAIT_MS, &number, err);
    if (sent == KAFKA_FAILED && err->kind == ERROR_DATA)
        error_wrap(err, "record %" PRIu64, number);
    if (sent == KAFKA_SENT) {
        drive->sent = number;
        puts("ok");
    }
    bytes_done(&bytes);
    return sent == KAFKA_SENT;
}

static bool drain(Drive *drive, Error *err)
{
    uint64_t done = 0, before;
    do {
        before = done;
        if (!kafka_producer_wait(drive->producer, done, WAIT_MS, &done, err))
            return false;
        if (done == before && done < drive->sent)
            return error_set(err, ERROR_RETRY, "Late", "%" PRIu64 " of %" PRIu64 " flights", done,
                             drive->sent);
    } while (done < drive->sent);
    printf("ok %" PRIu64 "\n", done);
    return true;
}

static bool figures(Drive *drive)
{
    KafkaFigures now;
    kafka_producer_figures(drive->producer, &now);
    printf("ok %" PRIu64 " %" PRIu64 " %u %d\n", now.queued_records, now.acknowledged_records,
           now.health.brokers_up, now.health.all_down);
    return true;
}

static bool said(bool ok)
{
    if (ok)
        puts("ok");
    return ok;
}

static bool command(Drive *drive, char *line, Error *err)
{
    char verb[16] = "", name[300] = "";
    long first = 0, second = 0;
    (void)sscanf(line, "%15s %299s %ld %ld", verb, name, &first, &second);
    bool open = drive->client, producing = drive->producer;
    if (strcmp(verb, "open") == 0 && !open)
        return open_producer(drive, name, first, err);
    if (strcmp(verb, "client") == 0 && !open)
        return open_client(drive, err);
    if (strcmp(verb, "version") == 0)
        return printf("ok %d\n", rd_kafka_version()) > 0;
    if (strcmp(verb, "close") == 0)
        return close_all(drive);
    if (open && strcmp(verb, "ensure") == 0)
        return ensure(drive, name, err);
    if (open && strcmp(verb, "look") == 0)
        return look(drive, name, err);
    if (open && strcmp(verb, "grow") == 0)
        return said(kafka_topic_grow(drive->client, name, (int32_t)first, err));
    if (open && strcmp(verb, "drop") == 0)
        return said(kafka_topic_drop(drive->client, name, err));
    if (producing && strcmp(verb, "send") == 0)
        return send_numbers(drive, name, first, second, err);
    if (producing && strcmp(verb, "large") == 0)
        return send_large(drive, name, first, err);
    if (producing && strcmp(verb, "drain") == 0)
        return drain(drive, err);
    if (producing && strcmp(verb, "begin") == 0)
        return said(kafka_producer_begin(drive->producer, err));
    if (producing && strcmp(verb, "commit") == 0)
        return said(kafka_producer_commit(drive->producer, WAIT_MS, err));
    if (producing && strcmp(verb, "abort") == 0)
        return said(kafka_producer_abort(drive->producer, WAIT_MS, err));
    if (producing && strcmp(verb, "figures") == 0)
        return figures(drive);
    return error_set(err, ERROR_FATAL, "NoCommand", "%s can't be done now", verb);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    log_setup(LOG_WARN, LOG_LOGFMT);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *files[] = {argv[1]};
    Findings findings = {0};
    Drive drive = {0};
    if (!manifest_load(&(ManifestOptions){files, 1, argv[2]}, true, &drive.manifest, &findings)) {
        for (size_t i = 0; i < findings.count; i++)
            fprintf(stderr, "%s: %s\n", findings.items[i].path, findings.items[i].message);
        return 1;
    }
    findings_done(&findings);
    drive.stream = drive.manifest->connectors[0].stream;
    if (!drive.stream)
        return 1;
    char line[512];
    while (fgets(line, sizeof line, stdin)) {
        Error err = {0};
        if (!command(&drive, line, &err))
            printf("error %s %s %s\n", error_kind_name(err.kind), err.code, err.message);
    }
    if (drive.client)
        close_all(&drive);
    manifest_free(drive.manifest);
    return 0;
}
