/* links: firn_kafka */
/* kafka_consume_bench BROKERS TOPIC PARTITIONS RECORDS: what librdkafka itself costs: reads so many
 * records of a topic to nothing, with the settings of agent/kafka/member.c, and prints
 * "wall seconds, cpu seconds, bytes of values". */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/attrs.h"
#include "common/clock.h"

#define BATCH 1024
#define WAIT_MS 20 /* a batch that does not fill is waited for so long */
#define IDLE_MAX 1500

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static rd_kafka_t *open_consumer(const char *brokers)
{
    const char *const settings[][2] = {
        {"bootstrap.servers", brokers},           {"group.id", "bench"},
        {"queued.max.messages.kbytes", "32768"},  {"fetch.max.bytes", "4194304"},
        {"max.partition.fetch.bytes", "1048576"}, {"fetch.message.max.bytes", "1048576"},
        {"fetch.queue.backoff.ms", "5"}};
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why)) {
            fprintf(stderr, "%s\n", why);
            exit(1);
        }
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    ASSERT(rk);
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

int main(int argument_count, char **arguments)
{
    if (argument_count < 5)
        return 2;
    static rd_kafka_message_t *taken[BATCH];
    uint64_t wanted = strtoull(arguments[4], NULL, 10), count = 0, bytes = 0;
    int partitions = atoi(arguments[3]);
    int64_t begun_us = clock_mono_us();
    rd_kafka_t *rk = open_consumer(arguments[1]);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, arguments[2], i)->offset = 0;
    ASSERT(!rd_kafka_assign(rk, list));
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    for (int idle = 0; count < wanted;) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, WAIT_MS, taken, BATCH);
        idle = got > 0 ? 0 : idle + 1;
        if (got < 0 || idle > IDLE_MAX) {
            fprintf(stderr, "%" PRIu64 " of %" PRIu64 " records came\n", count, wanted);
            return 1;
        }
        for (ssize_t i = 0; i < got; i++) {
            count += taken[i]->err == 0;
            bytes += taken[i]->err ? 0 : taken[i]->len;
            rd_kafka_message_destroy(taken[i]);
        }
    }
    printf("%.6f %.6f %" PRIu64 "\n", (double)(clock_mono_us() - begun_us) / 1e6, cpu_seconds(),
           bytes);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return 0;
}
