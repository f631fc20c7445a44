/* What librdkafka's statistics say of the brokers.
 * https://github.com/confluentinc/librdkafka/blob/v2.0.2/STATISTICS.md */
#include <jansson.h>
#include <string.h>

#include "agent/kafka/private.h"

void kafka_stats_read(const char *json, size_t bytes, KafkaHealth *to)
{
    json_t *root = json_loadb(json, bytes, 0, NULL);
    json_t *brokers = json_object_get(root, "brokers"), *broker;
    const char *name;
    uint32_t known = 0, up = 0;
    uint64_t retries = 0;
    json_object_foreach(brokers, name, broker)
    {
        const char *state = json_string_value(json_object_get(broker, "state"));
        bool is_up = state && (strcmp(state, "UP") == 0 || strcmp(state, "UPDATE") == 0);
        retries += (uint64_t)json_integer_value(json_object_get(broker, "txretries"));
        if (json_integer_value(json_object_get(broker, "nodeid")) < 0)
            continue; /* a bootstrap address, or the coordinator's second connection */
        known++;
        up += is_up;
    }
    if (brokers) {
        to->brokers_known = known;
        to->brokers_up = up;
        to->retries = retries;
    }
    json_decref(root);
}
