/* Topics that a unit writes to: its dead letters' and its destination. */
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/kafka/admin.h"
#include "common/clock.h"

#define USUAL_BYTES ((uint64_t)1000000) /* what Kafka's topics take unless they are told */

/* Where the cluster does not tell of its settings (DescribeConfigs may be refused; librdkafka's
 * mock cluster, of tests, never answers: they do not ask), it is taken for a topic as Kafka makes
 * them. */
bool feed_open_topic(const FeedTopic *wanted, KafkaProducer *producer, FeedTopic *ret, Error *err)
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
    ret->record_bytes_max = known ? state.record_bytes_max : USUAL_BYTES;
    if (ret->record_bytes_max < FEED_BATCH_BYTES)
        return error_set(err, ERROR_CONFIG, "TopicDiffers",
                         "topic %s takes records of %llu bytes (max.message.bytes), and %s need "
                         "%llu: alter it (kafka-configs)",
                         wanted->name, (unsigned long long)ret->record_bytes_max, wanted->what,
                         (unsigned long long)FEED_BATCH_BYTES);
    ret->topic = kafka_producer_topic(producer, wanted->name, ret->record_bytes_max, err);
    return ret->topic != NULL;
}
