/* See channel.h. Two of librdkafka's clients: one that produces, and makes the topic, one that
 * consumes. */
#include "agent/kafka/channel.h"

#include <stdlib.h>
#include <string.h>

#include "agent/kafka/admin.h"
#include "agent/kafka/private.h"
#include "common/log.h"
#include "common/mem.h"

#define END_MS 10000
#define MESSAGE_LIFE_MS 5000 /* what could not be sent by then is old */

struct KafkaChannel {
    KafkaClient says, hears;
    rd_kafka_topic_t *to, *from;
    bool reads;
    char *what;
    rd_kafka_message_t *current;
};

void kafka_channel_free(KafkaChannel *channel)
{
    if (!channel)
        return;
    if (channel->current)
        rd_kafka_message_destroy(channel->current);
    if (channel->reads)
        (void)rd_kafka_consume_stop(channel->from, 0);
    if (channel->from)
        rd_kafka_topic_destroy(channel->from);
    if (channel->to) {
        (void)rd_kafka_flush(channel->says.rk, 200);
        rd_kafka_topic_destroy(channel->to);
    }
    if (channel->says.brokers)
        kafka_client_stop(&channel->says);
    if (channel->hears.brokers)
        kafka_client_stop(&channel->hears);
    free(channel->what);
    free(channel);
}

/* However it is set: it is ours alone. */
static bool exists(KafkaChannel *channel)
{
    const struct rd_kafka_metadata *metadata = NULL;
    bool found = !rd_kafka_metadata(channel->says.rk, 0, channel->to, &metadata, END_MS) &&
                 metadata->topic_cnt == 1 && !metadata->topics[0].err &&
                 metadata->topics[0].partition_cnt > 0;
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    return found;
}

static bool open_says(KafkaChannel *channel, const KafkaSpec *spec,
                      const KafkaClientOptions *options, const char *topic, Error *err)
{
    rd_kafka_conf_t *conf = kafka_conf_new(spec, options, err);
    if (!conf)
        return false;
    if (!kafka_conf_number(conf, "message.timeout.ms", MESSAGE_LIFE_MS, options->field, err) ||
        !kafka_conf_number(conf, "linger.ms", 0, options->field, err) ||
        !kafka_conf_set(conf, "acks", "1", options->field, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    if (!kafka_client_start(&channel->says, conf, spec, options, err))
        return false;
    KafkaTopicState state;
    const KafkaSetting settings[] = {{"retention.ms", "3600000"}, {"cleanup.policy", "delete"}};
    const KafkaTopicSpec wanted = {
        .name = topic, .partitions = 1, .settings = settings, .setting_count = ARRAY_LEN(settings)};
    channel->to = rd_kafka_topic_new(channel->says.rk, topic, NULL);
    if (!channel->to)
        return kafka_fault(&channel->says, err, rd_kafka_last_error(), NULL, channel->what,
                           "Write");
    return exists(channel) || kafka_topic_ensure(&channel->says, &wanted, NULL, &state, err);
}

static bool open_hears(KafkaChannel *channel, const KafkaSpec *spec,
                       const KafkaClientOptions *options, const char *topic, Error *err)
{
    int64_t low = 0, high = 0;
    rd_kafka_conf_t *conf = kafka_conf_new(spec, options, err);
    if (!conf)
        return false;
    if (!kafka_conf_number(conf, "fetch.wait.max.ms", 100, options->field, err) ||
        !kafka_conf_number(conf, "queued.max.messages.kbytes", 1024, options->field, err) ||
        !kafka_conf_set(conf, "auto.offset.reset", "latest", options->field, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    channel->hears.consumes = true;
    if (!kafka_client_start(&channel->hears, conf, spec, options, err))
        return false;
    channel->from = rd_kafka_topic_new(channel->hears.rk, topic, NULL);
    rd_kafka_resp_err_t code =
        channel->from
            ? rd_kafka_query_watermark_offsets(channel->hears.rk, topic, 0, &low, &high, END_MS)
            : rd_kafka_last_error();
    if (!code && rd_kafka_consume_start(channel->from, 0, high) != 0)
        code = rd_kafka_last_error();
    channel->reads = !code;
    return !code || kafka_fault(&channel->hears, err, code, NULL, channel->what, "Read");
}

KafkaChannel *kafka_channel_open(const KafkaSpec *spec, const KafkaClientOptions *options,
                                 const char *topic, Error *err)
{
    AUTO(kafka_channel_free) KafkaChannel *channel = mem_zalloc(sizeof *channel);
    channel->what = mem_format("topic %s", topic);
    if (!open_says(channel, spec, options, topic, err) ||
        !open_hears(channel, spec, options, topic, err))
        return NULL;
    return TAKE(channel);
}

void kafka_channel_say(KafkaChannel *channel, const void *message, size_t bytes)
{
    if (rd_kafka_produce(channel->to, 0, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)message, bytes,
                         NULL, 0, NULL) != 0)
        log_debug("a word to the group is lost", LOG_T("topic", channel->what));
}

bool kafka_channel_hear(KafkaChannel *channel, int timeout_ms, const void **ret, size_t *ret_bytes,
                        Error *err)
{
    Error why = {0};
    *ret = NULL;
    if (channel->current)
        rd_kafka_message_destroy(TAKE(channel->current));
    rd_kafka_message_t *message = rd_kafka_consume(channel->from, 0, timeout_ms);
    if (!message)
        return true;
    channel->current = message;
    if (LIKELY(!message->err)) {
        *ret = message->payload;
        *ret_bytes = message->len;
        return true;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return true;
    (void)kafka_fault(&channel->hears, &why, message->err, rd_kafka_message_errstr(message),
                      channel->what, "Read");
    if (why.kind == ERROR_RETRY)
        return true;
    *err = why;
    return false;
}
