/* Topics that a unit writes to: its dead letters' and its destination. */
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/kafka/admin.h"
#include "common/clock.h"
#include "common/mem.h"

#define USUAL_BYTES ((uint64_t)1000000) /* what Kafka's topics take unless they are told */

/* --- what topics take, by what was refused --- */

/* Nothing was refused: anything. */
static uint64_t known_size(Ingest *ingest, const char *topic)
{
    uint64_t bytes = UINT64_MAX;
    pthread_mutex_lock(&ingest->base.lock);
    for (size_t i = 0; i < ingest->size_count; i++)
        if (strcmp(ingest->sizes[i].topic, topic) == 0)
            bytes = ingest->sizes[i].bytes;
    pthread_mutex_unlock(&ingest->base.lock);
    return bytes;
}

static void keep_size(Ingest *ingest, const char *topic, uint64_t bytes)
{
    size_t at = 0;
    pthread_mutex_lock(&ingest->base.lock);
    while (at < ingest->size_count && strcmp(ingest->sizes[at].topic, topic) != 0)
        at++;
    if (at == ingest->size_count) {
        ingest->sizes = mem_regrow(ingest->sizes, at + 1, sizeof *ingest->sizes);
        ingest->sizes[ingest->size_count++].topic = mem_strdup(topic);
    }
    ingest->sizes[at].bytes = bytes;
    pthread_mutex_unlock(&ingest->base.lock);
}

static bool too_small(const FeedTopic *topic, uint64_t bytes, Error *err)
{
    return error_set(err, ERROR_CONFIG, "TopicDiffers",
                     "topic %s takes records of %s%llu bytes (max.message.bytes), and %s need "
                     "%llu: alter it (kafka-configs)",
                     topic->name, topic->is_told ? "" : "less than ", (unsigned long long)bytes,
                     topic->what, (unsigned long long)FEED_BATCH_BYTES);
}

void feed_learn_size(Ingest *ingest, const FeedTopic *topic, const KafkaProducer *producer,
                     Error *err)
{
    uint64_t bytes = kafka_producer_refused(producer);
    if (strcmp(err->code, "BatchTooLarge") != 0 || topic->is_told || !bytes)
        return;
    if (bytes > FEED_BATCH_BYTES)
        keep_size(ingest, topic->name, bytes);
    else
        too_small(topic, bytes, err);
}

/* --- opened --- */

/* Where the cluster does not tell of its settings (DescribeConfigs may be refused), what it refuses
 * tells enough. librdkafka's mock cluster, of tests, never answers: they do not ask, and have a
 * topic as Kafka makes them. */
bool feed_open_topic(Ingest *ingest, const FeedTopic *wanted, KafkaProducer *producer,
                     FeedTopic *ret, Error *err)
{
    static const KafkaSetting deletes[] = {{"cleanup.policy", "delete"}};
    const KafkaTopicSpec spec = {.name = wanted->name,
                                 .partitions = (int32_t)wanted->partitions,
                                 .settings = deletes,
                                 .setting_count = wanted->deletes ? ARRAY_LEN(deletes) : 0,
                                 .made_bytes_max = wanted->made_bytes_max};
    KafkaTopicState state = {0};
    const KafkaCompared usual = {.known = clock_asked_us("FIRN_SETTINGS_MS", 1000) == 0,
                                 .record_bytes_max = USUAL_BYTES};
    Error why = {0};
    bool known = kafka_topic_ensure(kafka_producer_client(producer), &spec, &usual, &state, &why);
    bool untold = state.exists &&
                  (strcmp(why.code, "KafkaRights") == 0 || strcmp(why.code, "KafkaOption") == 0);
    if (!known && !untold) {
        *err = why;
        return false;
    }
    *ret = *wanted;
    ret->partitions = (uint32_t)state.partitions;
    ret->is_told = known;
    ret->record_bytes_max = known ? state.record_bytes_max : known_size(ingest, wanted->name);
    if (ret->record_bytes_max < FEED_BATCH_BYTES)
        return too_small(ret, ret->record_bytes_max, err);
    ret->topic = kafka_producer_topic(producer, wanted->name, ret->record_bytes_max, err);
    return ret->topic != NULL;
}
