/* See member.h. librdkafka's consumer queue is taken from by the caller's thread, its main queue by
 * the client's; the rebalance callback runs inside kafka_member_next, and once more while the group
 * is left: whom `next` would ask may have gone by then. */
#include "agent/kafka/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/admin.h"
#include "agent/kafka/private.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/reader.h"

#define QUEUE_BYTES_USUAL ((uint64_t)32 << 20)
#define FETCH_BYTES (INT64_C(1) << 20) /* least; librdkafka wants a message's most */
#define TAKEN_MAX 1024
#define BOUNDS_MS 10000
#define SAME_MS 5000
#define SEEK_MS 2000
#define REFUSED_US INT64_C(30000000)
#define SOURCE_TOPIC_MAX 80
#define SESSION_MS_USUAL 15000 /* a thread of librdkafka's own says that we live */

struct KafkaMember {
    KafkaClient client;
    char *topic, *what, *source;
    bool (*next)(void *context, uint32_t partition, uint64_t *ret);
    void *context;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *taken[TAKEN_MAX]; /* handed out one by one */
    size_t taken_at, taken_count;
    rd_kafka_message_t *current;
    uint32_t partitions;
    uint32_t *dealt;
    uint32_t dealt_count;
    uint64_t generation;
    rd_kafka_consumer_group_metadata_t *group; /* as the partitions were dealt out; NULL: not yet */
    bool was_dealt;                            /* to be told */
    int64_t refused_us; /* since when a partition can't be sought; 0: each could */
    uint32_t refused;
    bool leaves;
};

static rd_kafka_topic_partition_list_t *one_of(const KafkaMember *member, uint32_t partition,
                                               int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, member->topic, (int32_t)partition)->offset = offset;
    return list;
}

void kafka_member_free(KafkaMember *member)
{
    if (!member)
        return;
    member->leaves = true; /* what is dealt out meanwhile nobody will read */
    while (member->taken_at < member->taken_count)
        rd_kafka_message_destroy(member->taken[member->taken_at++]);
    if (member->current)
        rd_kafka_message_destroy(member->current);
    if (member->queue)
        rd_kafka_queue_destroy(member->queue);
    if (member->client.rk)
        (void)rd_kafka_consumer_close(member->client.rk);
    kafka_client_stop(&member->client);
    if (member->group)
        rd_kafka_consumer_group_metadata_destroy(member->group);
    free(member->topic);
    free(member->what);
    free(member->source);
    free(member->dealt);
    free(member);
}

/* --- dealing --- */

static void take_generation(KafkaMember *member)
{
    if (member->group)
        rd_kafka_consumer_group_metadata_destroy(member->group);
    member->group = rd_kafka_consumer_group_metadata(member->client.rk);
    if (!member->group)
        return;
    int32_t generation = rd_kafka_consumer_group_metadata_generation_id(member->group);
    member->generation = generation < 0 ? 0 : (uint64_t)generation;
}

/* Where each partition begins: what waits stands there until its seek. An offset that is there no
 * more would be answered with an error that ends the reading of the partition, and a seek is then
 * refused, or forgotten where that answer comes behind it. No name of an offset either (BEGINNING,
 * END): the question where that is would be asked again half a second after the seek, and its
 * answer followed. */
static void ask_starts(KafkaMember *member, uint64_t *ret)
{
    Error why = {0};
    memset(ret, 0, member->partitions * sizeof *ret);
    if (!kafka_member_at(member, RD_KAFKA_OFFSET_BEGINNING, ret, &why))
        log_warn("kafka does not say where partitions begin", LOG_T("topic", member->topic),
                 LOG_T("reason", why.code), LOG_T("error", why.message));
}

/* What this member reads already goes on; the rest waits for its seek. */
static void take_dealt(KafkaMember *member, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *waiting = rd_kafka_topic_partition_list_new(list->cnt + 1);
    AUTO(mem_free) uint64_t *starts = NULL;
    free(member->dealt);
    member->dealt = mem_array((size_t)list->cnt + 1, sizeof *member->dealt);
    member->dealt_count = 0;
    for (int i = 0; i < list->cnt; i++) {
        uint64_t next;
        rd_kafka_topic_partition_t *one = &list->elems[i];
        uint32_t partition = (uint32_t)one->partition;
        member->dealt[member->dealt_count++] = partition;
        if (member->next(member->context, partition, &next)) {
            one->offset = (int64_t)next;
            continue;
        }
        if (!starts) {
            starts = mem_array(member->partitions, sizeof *starts);
            ask_starts(member, starts);
        }
        one->offset = partition < member->partitions ? (int64_t)starts[partition] : 0;
        rd_kafka_topic_partition_list_add(waiting, member->topic, one->partition);
    }
    (void)rd_kafka_assign(member->client.rk, list);
    (void)rd_kafka_pause_partitions(member->client.rk, waiting);
    rd_kafka_topic_partition_list_destroy(waiting);
    take_generation(member);
    member->was_dealt = true;
    member->refused_us = 0;
}

static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                       rd_kafka_topic_partition_list_t *list, void *context)
{
    KafkaMember *member = context;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !member->leaves)
        take_dealt(member, list);
    else
        (void)rd_kafka_assign(rk, NULL);
}

/* --- opening --- */

static bool set_all(rd_kafka_conf_t *conf, const KafkaMemberOptions *options, Error *err)
{
    const char *field = options->client.field;
    uint64_t queue = options->queue_bytes ? options->queue_bytes : QUEUE_BYTES_USUAL;
    int64_t fetch = queue / 8 > FETCH_BYTES ? (int64_t)(queue / 8) : FETCH_BYTES;
    int64_t session_ms = options->session_ms ? options->session_ms : SESSION_MS_USUAL;
    return kafka_conf_set(conf, "group.id", options->group, field, err) &&
           kafka_conf_set(conf, "partition.assignment.strategy", "range", field, err) &&
           kafka_conf_set(conf, "isolation.level", "read_committed", field, err) &&
           kafka_conf_set(conf, "enable.partition.eof", "true", field, err) &&
           kafka_conf_set(conf, "enable.auto.commit", "false", field, err) &&
           kafka_conf_set(conf, "enable.auto.offset.store", "false", field, err) &&
           kafka_conf_set(conf, "auto.offset.reset", "error", field, err) &&
           kafka_conf_number(conf, "queued.max.messages.kbytes", (int64_t)(queue >> 10), field,
                             err) &&
           kafka_conf_number(conf, "fetch.max.bytes", fetch, field, err) &&
           kafka_conf_number(conf, "max.partition.fetch.bytes", FETCH_BYTES, field, err) &&
           kafka_conf_number(conf, "fetch.message.max.bytes", FETCH_BYTES, field, err) &&
           kafka_conf_number(conf, "fetch.queue.backoff.ms", 5, field, err) &&
           kafka_conf_number(conf, "fetch.wait.max.ms", 100, field, err) &&
           kafka_conf_number(conf, "session.timeout.ms", session_ms, field, err) &&
           kafka_conf_number(conf, "heartbeat.interval.ms", session_ms / 5, field, err);
}

/* "#<id>". Brokers before 2.8 know no topic ids: then its name has to do. */
static rd_kafka_resp_err_t ask_id(const KafkaMember *member, int timeout_ms, char *to, size_t bytes)
{
    const char *topics[] = {member->topic};
    rd_kafka_t *rk = member->client.rk;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_TopicCollection_t *names = rd_kafka_TopicCollection_of_topic_names(topics, 1);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
    rd_kafka_DescribeTopics(rk, names, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 5000);
    rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    size_t count = 0;
    const rd_kafka_TopicDescription_t **found =
        code ? NULL
             : rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event),
                                                     &count);
    if (count == 1) {
        const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(found[0]);
        code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        const rd_kafka_Uuid_t *uuid = code ? NULL : rd_kafka_TopicDescription_topic_id(found[0]);
        if (uuid)
            snprintf(to, bytes, "#%s", rd_kafka_Uuid_base64str(uuid));
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_TopicCollection_destroy(names);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return code;
}

/* librdkafka's mock cluster, of tests, never answers: they ask for no time. */
static char *ask_source(const KafkaMember *member, int most_ms, Error *err)
{
    char id[64] = "";
    int timeout_ms = (int)(clock_asked_us("FIRN_TOPIC_ID_MS", most_ms * INT64_C(1000)) / 1000);
    rd_kafka_resp_err_t code = timeout_ms ? ask_id(member, timeout_ms, id, sizeof id) : 0;
    if (code && code != RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) {
        (void)kafka_fault(&member->client, err, code, NULL, member->what, "Describe");
        return NULL;
    }
    return mem_format("%s/%.*s%s", member->client.cluster, SOURCE_TOPIC_MAX, member->topic, id);
}

static bool find_partitions(KafkaMember *member, Error *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(member->client.rk, member->topic, NULL);
    rd_kafka_resp_err_t code =
        topic ? rd_kafka_metadata(member->client.rk, 0, topic, &metadata, KAFKA_ADMIN_MS)
              : rd_kafka_last_error();
    if (topic)
        rd_kafka_topic_destroy(topic);
    if (!code && metadata && metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
        member->partitions = (uint32_t)metadata->topics[0].partition_cnt;
    }
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return kafka_fault(&member->client, err, code, NULL, member->what, "Describe");
    return member->partitions ||
           error_set(err, ERROR_RETRY, "TopicMissing", "kafka %s: there is no %s yet",
                     member->client.brokers, member->what);
}

static bool subscribe(KafkaMember *member, Error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, member->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(member->client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !code || kafka_fault(&member->client, err, code, NULL, member->what, "Read");
}

KafkaMember *kafka_member_open(const KafkaSpec *spec, const KafkaMemberOptions *options, Error *err)
{
    AUTO(mem_free)
    char *id = mem_format("firn-%013llx-%s", (unsigned long long)clock_wall_us(),
                          options->client.client_id);
    KafkaClientOptions client = options->client;
    client.client_id = id;
    rd_kafka_conf_t *conf = kafka_conf_new(spec, &client, err);
    if (!conf)
        return NULL;
    if (!set_all(conf, options, err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    AUTO(kafka_member_free) KafkaMember *member = mem_zalloc(sizeof *member);
    member->client.consumes = true;
    member->topic = mem_strdup(options->topic);
    member->what = mem_format("topic %s", options->topic);
    member->next = options->next;
    member->context = options->context;
    rd_kafka_conf_set_opaque(conf, member);
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    if (!kafka_client_start(&member->client, conf, spec, &client, err))
        return NULL;
    member->queue = rd_kafka_queue_get_consumer(member->client.rk);
    ASSERT(member->queue);
    if (!find_partitions(member, err))
        return NULL;
    member->source = ask_source(member, KAFKA_ADMIN_MS, err);
    if (!member->source || !subscribe(member, err))
        return NULL;
    return TAKE(member);
}

KafkaSame kafka_member_same(const KafkaMember *member, Error *err)
{
    AUTO(mem_free) char *now = ask_source(member, SAME_MS, err);
    if (!now)
        return strcmp(err->code, "TopicGone") == 0 ? KAFKA_ANOTHER : KAFKA_UNTOLD;
    if (strcmp(now, member->source) == 0)
        return KAFKA_SAME;
    (void)error_set(err, ERROR_RETRY, "TopicAnew", "kafka %s: %s was deleted and made again",
                    member->client.brokers, member->what);
    return KAFKA_ANOTHER;
}

const char *kafka_member_source(const KafkaMember *member)
{
    return member->source;
}

uint32_t kafka_member_partitions(const KafkaMember *member)
{
    return member->partitions;
}

/* --- reading --- */

/* A varint's length and as many bytes; -1: null. */
static bool take_span(Reader *in, const uint8_t **ret, size_t *ret_bytes)
{
    int64_t bytes;
    *ret = NULL;
    *ret_bytes = 0;
    if (!reader_zigzag(in, &bytes) || bytes < -1)
        return false;
    *ret_bytes = bytes < 0 ? 0 : (size_t)bytes;
    return bytes < 0 || reader_take(in, (size_t)bytes, ret);
}

/* As they came, KIP-82's array: librdkafka's list of them costs as much as half a row. */
const void *kafka_heard_header(const KafkaHeard *heard, const char *name, size_t *ret_bytes)
{
    const uint8_t *key, *value, *found = NULL;
    size_t all, key_bytes, bytes, name_bytes = strlen(name);
    int64_t count;
    const void *raw = rd_kafka_message_headers_raw(heard->message, &all);
    Reader in = raw ? reader_over(raw, all) : (Reader){0};
    if (!raw || !reader_zigzag(&in, &count))
        return NULL;
    while (count-- > 0 && take_span(&in, &key, &key_bytes) && take_span(&in, &value, &bytes))
        if (key_bytes == name_bytes && memcmp(key, name, name_bytes) == 0) {
            found = value;
            *ret_bytes = bytes;
        }
    return found;
}

void kafka_headers_free(KafkaHeaders *headers)
{
    if (headers)
        rd_kafka_headers_destroy((rd_kafka_headers_t *)headers);
}

KafkaHeaders *kafka_heard_headers(const KafkaHeard *heard)
{
    rd_kafka_headers_t *headers;
    return rd_kafka_message_headers(heard->message, &headers)
               ? NULL
               : (KafkaHeaders *)rd_kafka_headers_copy(headers);
}

KafkaHeaders *kafka_heard_headers_with(const KafkaHeard *heard, const char *name, const void *value,
                                       size_t bytes)
{
    rd_kafka_headers_t *headers = (rd_kafka_headers_t *)kafka_heard_headers(heard);
    if (!headers)
        headers = rd_kafka_headers_new(1);
    rd_kafka_resp_err_t code = rd_kafka_header_add(headers, name, -1, value, (ssize_t)bytes);
    ASSERT(!code);
    return (KafkaHeaders *)headers;
}

bool kafka_heard_header_at(const KafkaHeard *heard, size_t at, const char **ret_name,
                           const void **ret_value, size_t *ret_bytes)
{
    rd_kafka_headers_t *headers;
    return !rd_kafka_message_headers(heard->message, &headers) &&
           !rd_kafka_header_get_all(headers, at, ret_name, ret_value, ret_bytes);
}

/* False ends the reading. */
static bool take_error(KafkaMember *member, const rd_kafka_message_t *message, KafkaHeard *ret,
                       Error *err)
{
    Error why = {0};
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        ret->kind = KAFKA_HEARD_END;
        return true;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        ret->kind = KAFKA_HEARD_OUTSIDE;
        return true;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_warn("this consumer was silent for too long, and rejoins its group",
                 LOG_T("topic", member->topic));
        return true;
    default:
        (void)kafka_fault(&member->client, &why, message->err, rd_kafka_message_errstr(message),
                          member->what, "Read");
        if (why.kind != ERROR_RETRY) {
            *err = why;
            return false;
        }
        log_info("kafka: reading waits", LOG_T("reason", why.code), LOG_T("error", why.message));
        return true;
    }
}

static bool hand_out(KafkaMember *member, rd_kafka_message_t *message, KafkaHeard *ret, Error *err)
{
    member->current = message;
    *ret = (KafkaHeard){.partition = (uint32_t)message->partition,
                        .offset = message->offset < 0 ? 0 : (uint64_t)message->offset,
                        .message = message};
    if (UNLIKELY(message->err))
        return take_error(member, message, ret, err);
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);
    ret->kind = KAFKA_HEARD_RECORD;
    ret->timestamp_ms = timestamp_ms > 0 ? timestamp_ms : 0;
    ret->key = message->key;
    ret->key_bytes = message->key_len;
    ret->value = message->payload;
    ret->value_bytes = message->len;
    return true;
}

bool kafka_member_next(KafkaMember *member, int timeout_ms, KafkaHeard *ret, Error *err)
{
    *ret = (KafkaHeard){.kind = KAFKA_HEARD_NOTHING};
    if (UNLIKELY(member->refused_us) && clock_mono_us() - member->refused_us > REFUSED_US)
        return error_set(err, ERROR_RETRY, "SeekRefused",
                         "kafka %s: %s partition %u can't be read on", member->client.brokers,
                         member->what, member->refused);
    if (member->current)
        rd_kafka_message_destroy(TAKE(member->current));
    if (member->taken_at < member->taken_count)
        return hand_out(member, member->taken[member->taken_at++], ret, err);
    rd_kafka_message_t *first =
        member->was_dealt ? NULL : rd_kafka_consumer_poll(member->client.rk, timeout_ms);
    if (member->was_dealt) {
        /* what came in the same call may be the first one of where a partition goes on */
        member->taken_at = member->taken_count = 0;
        if (first)
            member->taken[member->taken_count++] = first;
        member->was_dealt = false;
        ret->kind = KAFKA_HEARD_DEALT;
        return true;
    }
    if (!first)
        return true;
    ssize_t more = rd_kafka_consume_batch_queue(member->queue, 0, member->taken, TAKEN_MAX);
    member->taken_at = 0;
    member->taken_count = more > 0 ? (size_t)more : 0;
    return hand_out(member, first, ret, err);
}

const uint32_t *kafka_member_dealt(const KafkaMember *member, uint32_t *ret_count,
                                   uint64_t *ret_generation)
{
    *ret_count = member->dealt_count;
    *ret_generation = member->generation;
    return member->dealt;
}

/* What was taken of the partition and not handed out: what comes next is from elsewhere. */
static void drop_taken(KafkaMember *member, uint32_t partition)
{
    size_t left = member->taken_at;
    for (size_t i = member->taken_at; i < member->taken_count; i++) {
        if (member->taken[i]->partition == (int32_t)partition)
            rd_kafka_message_destroy(member->taken[i]);
        else
            member->taken[left++] = member->taken[i];
    }
    member->taken_count = left;
}

bool kafka_member_seek(KafkaMember *member, uint32_t partition, uint64_t offset)
{
    rd_kafka_topic_partition_list_t *list = one_of(member, partition, (int64_t)offset);
    rd_kafka_error_t *error = rd_kafka_seek_partitions(member->client.rk, list, SEEK_MS);
    bool ok = !error && !list->elems[0].err;
    drop_taken(member, partition);
    if (error)
        rd_kafka_error_destroy(error);
    if (ok)
        ok = !rd_kafka_resume_partitions(member->client.rk, list) && !list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    if (ok && member->refused == partition)
        member->refused_us = 0;
    if (!ok && !member->refused_us) {
        member->refused = partition;
        member->refused_us = clock_mono_us();
    }
    return ok;
}

void kafka_member_pause(KafkaMember *member, uint32_t partition)
{
    rd_kafka_topic_partition_list_t *list = one_of(member, partition, RD_KAFKA_OFFSET_INVALID);
    (void)rd_kafka_pause_partitions(member->client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

bool kafka_member_bounds(KafkaMember *member, uint32_t partition, uint64_t *ret_start,
                         uint64_t *ret_end, Error *err)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        member->client.rk, member->topic, (int32_t)partition, &low, &high, BOUNDS_MS);
    if (code)
        return kafka_fault(&member->client, err, code, NULL, member->what, "Describe");
    *ret_start = low < 0 ? 0 : (uint64_t)low;
    *ret_end = high < 0 ? 0 : (uint64_t)high;
    return true;
}

bool kafka_member_end(const KafkaMember *member, uint32_t partition, uint64_t *ret)
{
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(member->client.rk, member->topic, (int32_t)partition, &low,
                                       &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        high < 0)
        return false;
    *ret = (uint64_t)high;
    return true;
}

bool kafka_member_at(KafkaMember *member, int64_t time_ms, uint64_t *ret_offsets, Error *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)member->partitions);
    for (uint32_t i = 0; i < member->partitions; i++)
        rd_kafka_topic_partition_list_add(list, member->topic, (int32_t)i)->offset = time_ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(member->client.rk, list, BOUNDS_MS);
    bool ok = true;
    for (int i = 0; !code && ok && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        uint64_t start, end;
        code = one->err;
        if (one->offset >= 0)
            ret_offsets[one->partition] = (uint64_t)one->offset;
        else if ((ok = kafka_member_bounds(member, (uint32_t)one->partition, &start, &end, err)))
            ret_offsets[one->partition] = end;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return ok && (!code || kafka_fault(&member->client, err, code, NULL, member->what, "Describe"));
}

bool kafka_member_retention(KafkaMember *member, int64_t *ret_ms, Error *err)
{
    KafkaTopicState state;
    if (!kafka_topic_look(&member->client, member->topic, &state, err))
        return false;
    *ret_ms = state.retention_ms;
    return true;
}

void kafka_member_commit(KafkaMember *member, const uint64_t *offsets, uint32_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count + 1);
    for (uint32_t i = 0; i < count; i++)
        if (offsets[i])
            rd_kafka_topic_partition_list_add(list, member->topic, (int32_t)i)->offset =
                (int64_t)offsets[i];
    if (list->cnt)
        (void)rd_kafka_commit(member->client.rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

rd_kafka_topic_partition_list_t *kafka_member_list(const KafkaMember *member,
                                                   const uint64_t *offsets)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)member->partitions);
    for (uint32_t i = 0; i < member->partitions; i++) {
        if (offsets && offsets[i] == UINT64_MAX)
            continue;
        rd_kafka_topic_partition_t *one =
            rd_kafka_topic_partition_list_add(list, member->topic, (int32_t)i);
        if (offsets)
            one->offset = (int64_t)offsets[i];
    }
    return list;
}

const rd_kafka_consumer_group_metadata_t *kafka_member_group(const KafkaMember *member)
{
    return member->group;
}

bool kafka_member_stands(KafkaMember *member, uint64_t *ret_offsets, Error *err)
{
    rd_kafka_topic_partition_list_t *list = kafka_member_list(member, NULL);
    rd_kafka_resp_err_t code = rd_kafka_committed(member->client.rk, list, BOUNDS_MS);
    for (int i = 0; !code && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        code = one->err;
        ret_offsets[one->partition] = one->offset < 0 ? UINT64_MAX : (uint64_t)one->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return !code || kafka_fault(&member->client, err, code, NULL, "the group", "Read");
}

bool kafka_member_committed(KafkaMember *member, bool *ret, Error *err)
{
    AUTO(mem_free) uint64_t *offsets = mem_array((size_t)member->partitions + 1, sizeof *offsets);
    *ret = false;
    if (!kafka_member_stands(member, offsets, err))
        return false;
    for (uint32_t i = 0; i < member->partitions; i++)
        *ret = *ret || offsets[i] != UINT64_MAX;
    return true;
}
