/* Topics, by librdkafka's admin API: each call makes its own queue, sends one request to the
 * controller and waits for the answer. What a topic is set to is asked for with DescribeConfigs and
 * compared as numbers where both are numbers. */
#include "agent/kafka/admin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/private.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

#define LOOK_MS 10000
#define KNOWN_PAUSE_US 20000
#define COMPARED_AT_ONCE 500 /* topics in a request */
#define LIMIT "max.message.bytes"
#define RETENTION "retention.ms"
#define RETENTION_BYTES "retention.bytes"

/* --- one request --- */

typedef struct Ask {
    KafkaClient *client;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event;
} Ask;

static Ask ask_begin(KafkaClient *client, rd_kafka_admin_op_t operation)
{
    char text[256];
    Ask ask = {.client = client,
               .queue = rd_kafka_queue_new(client->rk),
               .options = rd_kafka_AdminOptions_new(client->rk, operation)};
    ASSERT(rd_kafka_AdminOptions_set_request_timeout(ask.options, KAFKA_ADMIN_MS, text,
                                                     sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR);
    return ask;
}

/* The answer as a whole; what it says of the topic the caller looks at. */
static bool ask_wait(Ask *ask, const char *what, const char *right, Error *err)
{
    ask->event = rd_kafka_queue_poll(ask->queue, KAFKA_ADMIN_MS + 5000);
    if (!ask->event)
        return error_set(err, ERROR_RETRY, "KafkaBusy", "kafka %s: no answer about %s in time",
                         ask->client->brokers, what);
    rd_kafka_resp_err_t code = rd_kafka_event_error(ask->event);
    return !code || kafka_fault(ask->client, err, code, rd_kafka_event_error_string(ask->event),
                                what, right);
}

static void ask_end(Ask *ask)
{
    if (ask->event)
        rd_kafka_event_destroy(ask->event);
    rd_kafka_AdminOptions_destroy(ask->options);
    rd_kafka_queue_destroy(ask->queue);
}

/* --- settings --- */

/* "delete,compact" is "compact,delete". */
static bool same_list(const char *a, const char *b)
{
    if (strlen(a) != strlen(b))
        return false;
    for (const char *at = a; *at;) {
        size_t bytes = strcspn(at, ",");
        bool found = false;
        for (const char *other = b; *other && !found;) {
            size_t other_bytes = strcspn(other, ",");
            found = bytes == other_bytes && strncmp(at, other, bytes) == 0;
            other += other_bytes + (other[other_bytes] == ',');
        }
        if (!found)
            return false;
        at += bytes + (at[bytes] == ',');
    }
    return true;
}

static bool same_value(const char *a, const char *b)
{
    char *a_end, *b_end;
    double left = strtod(a, &a_end), right = strtod(b, &b_end);
    if (*a && *b && !*a_end && !*b_end)
        return left == right;
    return same_list(a, b);
}

static void put_difference(KafkaCompared *to, const char *name, const char *has, const char *wants)
{
    char *before = to->differences;
    to->differences = mem_format("%s%s%s is %.64s, wanted %.64s", before ? before : "",
                                 before ? "; " : "", name, has, wants);
    free(before);
}

/* They may come in any order: what is for ever by one setting may go by another. */
static void take_retention(const char *name, const char *value, KafkaCompared *ret)
{
    int64_t number;
    bool is_number = text_integer_parse(value, &number);
    if (strcmp(name, RETENTION) == 0 && is_number && ret->retention_ms == INT64_MAX && number >= 0)
        ret->retention_ms = number;
    if (strcmp(name, RETENTION_BYTES) == 0 && is_number && number >= 0)
        ret->retention_ms = 0;
}

static void compare_setting(const KafkaTopicSpec *spec, const char *name, const char *value,
                            KafkaCompared *ret)
{
    int64_t bytes;
    if (strcmp(name, LIMIT) == 0 && text_integer_parse(value, &bytes) && bytes > 0)
        ret->record_bytes_max = (uint64_t)bytes;
    if (spec->asks_retention)
        take_retention(name, value, ret);
    for (size_t i = 0; i < spec->setting_count; i++)
        if (strcmp(spec->settings[i].name, name) == 0 &&
            !same_value(value, spec->settings[i].value))
            put_difference(ret, name, value, spec->settings[i].value);
}

static void compare_resource(const rd_kafka_ConfigResource_t *found, const KafkaTopicSpec *spec,
                             KafkaCompared *ret)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found, &count);
    ret->known = true;
    ret->retention_ms = spec->asks_retention ? INT64_MAX : 0;
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_ConfigEntry_value(entries[i]))
            compare_setting(spec, rd_kafka_ConfigEntry_name(entries[i]),
                            rd_kafka_ConfigEntry_value(entries[i]), ret);
}

/* Only what is looked at: a topic has thirty settings, each with where it comes from. */
static rd_kafka_ConfigResource_t *wanted(const KafkaTopicSpec *spec)
{
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, spec->name);
    (void)rd_kafka_ConfigResource_set_config(resource, LIMIT, "");
    if (spec->asks_retention) {
        (void)rd_kafka_ConfigResource_set_config(resource, RETENTION, "");
        (void)rd_kafka_ConfigResource_set_config(resource, RETENTION_BYTES, "");
    }
    for (size_t i = 0; i < spec->setting_count; i++)
        (void)rd_kafka_ConfigResource_set_config(resource, spec->settings[i].name, "");
    return resource;
}

/* One request. What is wrong with a single topic is its resource's error: *ret_err of the last. */
static bool describe(KafkaClient *client, const KafkaTopicSpec *specs, size_t count,
                     KafkaCompared *ret, Error *ret_err, Error *err)
{
    rd_kafka_ConfigResource_t **resources = mem_array(count, sizeof *resources);
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        bool again = false; /* librdkafka refuses the answer to a name given twice */
        for (size_t k = 0; k < i && !again; k++)
            again = strcmp(specs[k].name, specs[i].name) == 0;
        if (!again)
            resources[asked++] = wanted(&specs[i]);
    }
    AUTO(mem_free)
    char *what = count == 1 ? mem_format("topic %s", specs->name) : mem_strdup("the topics");
    Ask ask = ask_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(client->rk, resources, asked, ask.options, ask.queue);
    rd_kafka_ConfigResource_destroy_array(resources, asked);
    free(resources);
    bool ok = ask_wait(&ask, what, "DescribeConfigs", err);
    size_t found_count = 0;
    const rd_kafka_ConfigResource_t **found =
        ok ? rd_kafka_DescribeConfigs_result_resources(
                 rd_kafka_event_DescribeConfigs_result(ask.event), &found_count)
           : NULL;
    for (size_t i = 0; i < found_count; i++) {
        const char *name = rd_kafka_ConfigResource_name(found[i]);
        rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(found[i]);
        if (code)
            (void)kafka_fault(client, ret_err, code, rd_kafka_ConfigResource_error_string(found[i]),
                              what, "DescribeConfigs");
        for (size_t k = 0; k < count && !code; k++) /* in the order asked for, mostly */
            if (strcmp(specs[(i + k) % count].name, name) == 0) {
                compare_resource(found[i], &specs[(i + k) % count], &ret[(i + k) % count]);
                break;
            }
    }
    ask_end(&ask);
    return ok;
}

bool kafka_topics_compare(KafkaClient *client, const KafkaTopicSpec *specs, size_t count,
                          KafkaCompared *ret, Error *err)
{
    Error ignored = {0}; /* kafka_topic_ensure asks again, and tells of it */
    memset(ret, 0, count * sizeof *ret);
    for (size_t at = 0; at < count; at += COMPARED_AT_ONCE) {
        size_t some = count - at < COMPARED_AT_ONCE ? count - at : COMPARED_AT_ONCE;
        if (!describe(client, specs + at, some, ret + at, &ignored, err))
            return false;
    }
    return true;
}

static bool compare_one(KafkaClient *client, const KafkaTopicSpec *spec, KafkaCompared *ret,
                        Error *err)
{
    Error why = {0};
    *ret = (KafkaCompared){0};
    if (!describe(client, spec, 1, ret, &why, err))
        return false;
    if (ret->known)
        return true;
    *err = why;
    return why.kind != ERROR_NONE
               ? false
               : error_set(err, ERROR_RETRY, "KafkaBusy", "kafka %s: no settings of topic %s",
                           client->brokers, spec->name);
}

/* --- looking --- */

static bool look(KafkaClient *client, const char *name, KafkaTopicState *ret, Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", name);
    *ret = (KafkaTopicState){0};
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client->rk, name, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code =
        topic ? rd_kafka_metadata(client->rk, 0, topic, &metadata, LOOK_MS) : rd_kafka_last_error();
    if (topic)
        rd_kafka_topic_destroy(topic);
    if (code || !metadata)
        return kafka_fault(client, err, code, NULL, what, "Describe");
    if (metadata->topic_cnt == 1)
        code = metadata->topics[0].err;
    if (!code && metadata->topic_cnt == 1) {
        const rd_kafka_metadata_topic_t *found = &metadata->topics[0];
        ret->exists = found->partition_cnt > 0;
        ret->partitions = found->partition_cnt;
        for (int i = 0; i < found->partition_cnt; i++) {
            int32_t replicas = found->partitions[i].replica_cnt;
            if (i == 0 || replicas < ret->replication)
                ret->replication = replicas;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return true;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
        return error_set(err, ERROR_CONFIG, "TopicRefused", "kafka takes no topic named %s", name);
    return !code || kafka_fault(client, err, code, NULL, what, "Describe");
}

bool kafka_topic_look(KafkaClient *client, const char *name, KafkaTopicState *ret, Error *err)
{
    const KafkaTopicSpec spec = {.name = name, .asks_retention = true};
    KafkaCompared compared;
    if (!look(client, name, ret, err) ||
        (ret->exists && !compare_one(client, &spec, &compared, err)))
        return false;
    if (ret->exists)
        ret->record_bytes_max = compared.record_bytes_max;
    if (ret->exists)
        ret->retention_ms = compared.retention_ms;
    return true;
}

/* A topic's birth and growth spread from the controller to the brokers. */
static bool wait_for_partitions(KafkaClient *client, const char *name, int32_t partitions,
                                KafkaTopicState *ret, Error *err)
{
    int64_t until_us = clock_mono_us() + KAFKA_ADMIN_MS * 1000LL;
    for (;;) {
        Error passing = {0};
        bool ok = look(client, name, ret, &passing);
        if (ok && ret->partitions >= partitions)
            return true;
        if (!ok && passing.kind != ERROR_RETRY) {
            *err = passing;
            return false;
        }
        if (clock_mono_us() > until_us)
            return error_set(err, ERROR_RETRY, "KafkaBusy",
                             "kafka %s: topic %s has %d of %d partitions after %d s",
                             client->brokers, name, ret->partitions, partitions,
                             KAFKA_ADMIN_MS / 1000);
        clock_sleep_us(KNOWN_PAUSE_US);
    }
}

/* --- making --- */

/* The cluster's word on one topic. */
static bool topic_answer(const KafkaClient *client, const rd_kafka_topic_result_t *const *results,
                         size_t count, rd_kafka_resp_err_t fine, const char *what,
                         const char *right, Error *err)
{
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    const char *text = count == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;
    switch (code) {
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED:
        return error_set(err, ERROR_CONFIG, "TopicRefused", "kafka %s refuses %s: %s (%s)",
                         client->brokers, what, text ? text : rd_kafka_err2str(code),
                         client->field);
    default:
        return !code || code == fine || kafka_fault(client, err, code, text, what, right);
    }
}

static rd_kafka_NewTopic_t *new_topic(const KafkaTopicSpec *spec, Error *err)
{
    char text[256] = "";
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(spec->name, spec->partitions,
                              spec->replication ? spec->replication : -1, text, sizeof text);
    if (!topic) {
        error_set(err, ERROR_CONFIG, "TopicRefused", "topic %s: %s", spec->name, text);
        return NULL;
    }
    for (size_t i = 0; i < spec->setting_count; i++)
        (void)rd_kafka_NewTopic_set_config(topic, spec->settings[i].name, spec->settings[i].value);
    if (spec->made_bytes_max) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)spec->made_bytes_max);
        (void)rd_kafka_NewTopic_set_config(topic, LIMIT, text);
    }
    return topic;
}

static bool create(KafkaClient *client, const KafkaTopicSpec *spec, Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", spec->name);
    rd_kafka_NewTopic_t *topic = new_topic(spec, err);
    if (!topic)
        return false;
    Ask ask = ask_begin(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(client->rk, &topic, 1, ask.options, ask.queue);
    rd_kafka_NewTopic_destroy(topic);
    bool ok = ask_wait(&ask, what, "Create", err);
    if (ok) {
        size_t count = 0;
        const rd_kafka_topic_result_t *const *results =
            (const rd_kafka_topic_result_t *const *)rd_kafka_CreateTopics_result_topics(
                rd_kafka_event_CreateTopics_result(ask.event), &count);
        ok = topic_answer(client, results, count, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, what,
                          "Create", err);
    }
    ask_end(&ask);
    return ok;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of all topics that may be seen, sorted; they live in *ret_metadata. */
static bool all_names(KafkaClient *client, const struct rd_kafka_metadata **ret_metadata,
                      const char ***ret_names, size_t *ret_count, Error *err)
{
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 1, NULL, ret_metadata, LOOK_MS);
    if (code)
        return kafka_fault(client, err, code, NULL, "the topics", "Describe");
    *ret_count = (size_t)(*ret_metadata)->topic_cnt;
    *ret_names = mem_array(*ret_count + 1, sizeof(char *));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_names)[i] = (*ret_metadata)->topics[i].topic;
    qsort(*ret_names, *ret_count, sizeof(char *), by_text);
    return true;
}

static bool make_all(KafkaClient *client, rd_kafka_NewTopic_t **topics, size_t count, Error *err)
{
    Ask ask = ask_begin(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(client->rk, topics, count, ask.options, ask.queue);
    bool ok = ask_wait(&ask, "new topics", "Create", err);
    ask_end(&ask);
    return ok;
}

bool kafka_topics_make(KafkaClient *client, const KafkaTopicSpec *specs, size_t count,
                       bool *ret_made, Error *err)
{
    const struct rd_kafka_metadata *metadata;
    const char **names = NULL;
    size_t name_count = 0, missing = 0;
    if (!all_names(client, &metadata, &names, &name_count, err))
        return false;
    rd_kafka_NewTopic_t **topics = mem_array(count + 1, sizeof *topics);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ret_made[i] = !bsearch(&specs[i].name, names, name_count, sizeof *names, by_text);
        for (size_t k = 0; k < i && ret_made[i]; k++) /* librdkafka refuses a name given twice */
            ret_made[i] = strcmp(specs[k].name, specs[i].name) != 0;
        if (ret_made[i])
            ok = (topics[missing] = new_topic(&specs[i], err)) != NULL && ++missing;
    }
    ok = ok && (!missing || make_all(client, topics, missing, err));
    rd_kafka_NewTopic_destroy_array(topics, missing);
    free(topics);
    free(names);
    rd_kafka_metadata_destroy(metadata);
    return ok;
}

/* What is there against what is declared. */
static bool compare_topic(KafkaClient *client, const KafkaTopicSpec *spec,
                          const KafkaCompared *compared, KafkaTopicState *state, Error *err)
{
    KafkaCompared own = {0};
    bool ok = true;
    if (compared && compared->known) {
        own = *compared;
        own.differences = compared->differences ? mem_strdup(compared->differences) : NULL;
    } else {
        ok = compare_one(client, spec, &own, err);
    }
    state->record_bytes_max = own.record_bytes_max;
    if (ok && spec->replication && spec->replication != state->replication) {
        char has[16], wants[16];
        snprintf(has, sizeof has, "%d", state->replication);
        snprintf(wants, sizeof wants, "%d", spec->replication);
        put_difference(&own, "replication factor", has, wants);
    }
    if (ok && own.differences)
        ok = error_set(err, ERROR_CONFIG, "TopicDiffers",
                       "kafka %s: topic %s exists with other settings: %s. Alter the topic "
                       "(kafka-configs), or %s",
                       client->brokers, spec->name, own.differences, client->field);
    free(own.differences);
    return ok;
}

bool kafka_topic_ensure(KafkaClient *client, const KafkaTopicSpec *spec,
                        const KafkaCompared *compared, KafkaTopicState *ret, Error *err)
{
    ASSERT(spec->partitions > 0);
    if (!look(client, spec->name, ret, err))
        return false;
    bool made = !ret->exists;
    if (made &&
        (!create(client, spec, err) || !wait_for_partitions(client, spec->name, 1, ret, err)))
        return false;
    ret->made = made;
    return compare_topic(client, spec, compared, ret, err);
}

bool kafka_topic_ends(KafkaClient *client, const char *name, uint32_t partitions, uint64_t *ret,
                      Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", name);
    for (uint32_t i = 0; i < partitions; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(client->rk, name, (int32_t)i, &low, &high, LOOK_MS);
        if (code)
            return kafka_fault(client, err, code, NULL, what, "Describe");
        ret[i] = high > 0 ? (uint64_t)high : 0;
    }
    return true;
}

bool kafka_topic_grow(KafkaClient *client, const char *name, int32_t partitions, Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", name);
    KafkaTopicState state;
    if (!look(client, name, &state, err))
        return false;
    if (!state.exists)
        return error_set(err, ERROR_RETRY, "TopicGone", "kafka %s: there is no %s", client->brokers,
                         what);
    if (state.partitions == partitions)
        return true;
    if (state.partitions > partitions)
        return error_set(err, ERROR_CONFIG, "TopicDiffers",
                         "kafka %s: %s has %d partitions, wanted %d: a topic can't lose partitions "
                         "(%s.partitions)",
                         client->brokers, what, state.partitions, partitions, client->field);
    char text[256] = "";
    rd_kafka_NewPartitions_t *more =
        rd_kafka_NewPartitions_new(name, (size_t)partitions, text, sizeof text);
    if (!more)
        return error_set(err, ERROR_CONFIG, "TopicRefused", "%s: %s", what, text);
    Ask ask = ask_begin(client, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    rd_kafka_CreatePartitions(client->rk, &more, 1, ask.options, ask.queue);
    rd_kafka_NewPartitions_destroy(more);
    bool ok = ask_wait(&ask, what, "Alter", err);
    if (ok) {
        size_t count = 0;
        const rd_kafka_topic_result_t *const *results =
            (const rd_kafka_topic_result_t *const *)rd_kafka_CreatePartitions_result_topics(
                rd_kafka_event_CreatePartitions_result(ask.event), &count);
        ok = topic_answer(client, results, count, RD_KAFKA_RESP_ERR_NO_ERROR, what, "Alter", err);
    }
    ask_end(&ask);
    return ok && wait_for_partitions(client, name, partitions, &state, err);
}

bool kafka_topic_drop(KafkaClient *client, const char *name, Error *err)
{
    AUTO(mem_free) char *what = mem_format("topic %s", name);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    Ask ask = ask_begin(client, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(client->rk, &topic, 1, ask.options, ask.queue);
    rd_kafka_DeleteTopic_destroy(topic);
    bool ok = ask_wait(&ask, what, "Delete", err);
    if (ok) {
        size_t count = 0;
        const rd_kafka_topic_result_t *const *results =
            (const rd_kafka_topic_result_t *const *)rd_kafka_DeleteTopics_result_topics(
                rd_kafka_event_DeleteTopics_result(ask.event), &count);
        ok = topic_answer(client, results, count, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, what,
                          "Delete", err);
    }
    ask_end(&ask);
    return ok;
}

void kafka_topic_declared(const StreamSpec *stream, const char *name, KafkaTopicHold *hold,
                          KafkaTopicSpec *ret)
{
    static_assert(KAFKA_HOLD_MAX == KAFKA_SETTINGS_MAX + 3, "and three with fields of their own");
    static const char *const policies[] = {NULL, "delete", "compact", "compact,delete"};
    *ret = (KafkaTopicSpec){.name = name,
                            .partitions = (int32_t)stream->partitions,
                            .replication = (int32_t)stream->replication,
                            .settings = hold->settings};
    KafkaSetting *settings = hold->settings;
    size_t count = 0;
    if (stream->min_insync_replicas) {
        snprintf(hold->numbers[0], sizeof hold->numbers[0], "%u", stream->min_insync_replicas);
        settings[count++] = (KafkaSetting){"min.insync.replicas", hold->numbers[0]};
    }
    if (stream->retention_ms) {
        bool for_ever = stream->retention_ms == INT64_MAX;
        snprintf(hold->numbers[1], sizeof hold->numbers[1], "%lld",
                 for_ever ? -1LL : (long long)stream->retention_ms);
        settings[count++] = (KafkaSetting){"retention.ms", hold->numbers[1]};
    }
    if (policies[stream->cleanup])
        settings[count++] = (KafkaSetting){"cleanup.policy", policies[stream->cleanup]};
    ASSERT(stream->settings.count <= KAFKA_SETTINGS_MAX);
    for (size_t i = 0; i < stream->settings.count; i++)
        settings[count++] =
            (KafkaSetting){stream->settings.items[i].name, stream->settings.items[i].value};
    ret->setting_count = count;
}
