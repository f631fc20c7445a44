/* Tables → topics: Kafka is opened, the state read, each table's topic made or checked, the schemas
 * of its records registered; and what of a table was sent before is told to the source. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka/reader.h"
#include "agent/relay/flow.h"
#include "agent/topic/name.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define KAFKA_FIELD "spec.stream.kafka"
#define READ_MS 30000
#define TRANSACTION_MS 300000
#define ABORT_MS 3000
#define SETTINGS_MAX 2
#define LINGER_MS 1               /* rows have gathered in the capture already */
#define SPOOL_PATIENCE_US 3000000 /* then rows have another way */

/* ---------- Kafka ---------- */
static bool open_producer(RelayFlow *flow, const KafkaClientOptions *client, Error *err)
{
    const ConnectorSpec *connector = flow->relay->base.connector;
    AUTO(mem_free)
    char *id = mem_format("firn-%s-%s", connector->meta.namespace_name, connector->meta.name);
    KafkaProducerOptions options = {.client = *client,
                                    .batch_bytes = flow->relay->batch_bytes,
                                    .transaction_id = flow->transactional ? id : NULL,
                                    .transaction_ms = TRANSACTION_MS,
                                    .linger_ms = LINGER_MS};
    flow->producer = kafka_producer_open(flow->stream, &options, err);
    return flow->producer != NULL;
}

static bool open_registry(RelayFlow *flow, Error *err)
{
    const StreamSpec *stream = flow->stream;
    if (stream->format != STREAM_AVRO)
        return true;
    flow->registry = registry_new(&(RegistryOptions){.url = stream->registry_url,
                                                     .username = stream->registry_username,
                                                     .password = stream->registry_password,
                                                     .token = stream->registry_token,
                                                     .ca_pem = stream->registry_ca_pem},
                                  err);
    return flow->registry != NULL;
}

static bool take_state(void *context, const KafkaRead *record, Error *err)
{
    return state_take(context, record->key, record->key_bytes, record->value, record->value_bytes,
                      err);
}

/* A topic of one partition; the state's compacted, whatever is declared of those with rows. */
static void compacted_spec(const StreamSpec *stream, const char *name, KafkaSetting *settings,
                           char replicas[24], KafkaTopicSpec *ret)
{
    *ret = (KafkaTopicSpec){.name = name,
                            .partitions = 1,
                            .replication = (int32_t)stream->replication,
                            .settings = settings};
    settings[ret->setting_count++] = (KafkaSetting){"cleanup.policy", "compact"};
    snprintf(replicas, 24, "%u", stream->min_insync_replicas);
    if (stream->min_insync_replicas)
        settings[ret->setting_count++] = (KafkaSetting){"min.insync.replicas", replicas};
}

static bool is_compacted(const StreamSpec *stream)
{
    return stream->cleanup == CLEANUP_COMPACT || stream->cleanup == CLEANUP_COMPACT_DELETE;
}

/* Records share a few keys, and the latest does not stand for those before it. */
static void keep_all(KafkaTopicHold *hold, size_t settings)
{
    for (size_t i = 0; i < settings; i++)
        if (strcmp(hold->settings[i].name, "cleanup.policy") == 0)
            hold->settings[i].value = "delete";
}

static bool topic_open(RelayFlow *flow, const char *name, TopicUse use,
                       const KafkaCompared *compared, RelayTopic *ret, Error *err)
{
    if (relay_is_away(flow)) {
        if (!relay_spool_topic(flow, name, ret, err))
            return false;
        ret->keyed = use == USE_STATE || is_compacted(flow->stream);
        return true;
    }
    KafkaTopicSpec spec;
    KafkaTopicHold hold;
    KafkaSetting settings[SETTINGS_MAX];
    char replicas[24];
    KafkaTopicState state;
    bool compacted = use == USE_STATE;
    if (compacted)
        compacted_spec(flow->stream, name, settings, replicas, &spec);
    else
        kafka_topic_declared(flow->stream, name, &hold, &spec);
    if (use == USE_CONNECTOR || use == USE_STATEMENTS)
        spec.partitions = 1;
    if (use == USE_STATEMENTS && is_compacted(flow->stream))
        keep_all(&hold, spec.setting_count);
    if (!kafka_topic_ensure(kafka_producer_client(flow->producer), &spec, compared, &state, err))
        return false;
    KafkaTopic *kafka = kafka_producer_topic(flow->producer, name, state.record_bytes_max, err);
    if (!kafka) {
        if (strcmp(err->code, "BatchTooLarge") == 0) /* the next flow makes smaller ones */
            flow->relay->batch_bytes = state.record_bytes_max;
        return false;
    }
    *ret = (RelayTopic){.name = mem_strdup(name),
                        .kafka = kafka,
                        .partitions = (uint32_t)state.partitions,
                        .record_bytes_max = state.record_bytes_max,
                        .made = state.made,
                        .keyed = compacted || is_compacted(flow->stream)};
    return true;
}

bool relay_topic_open(RelayFlow *flow, const char *name, TopicUse use, RelayTopic *ret, Error *err)
{
    return topic_open(flow, name, use, NULL, ret, err);
}

bool relay_open_kafka(RelayFlow *flow, Error *err)
{
    const ConnectorSpec *connector = flow->relay->base.connector;
    AUTO(mem_free)
    char *id = mem_format("firn-%s-%s", connector->meta.namespace_name, connector->meta.name);
    const KafkaClientOptions client = {
        .client_id = id,
        .field = KAFKA_FIELD,
        .patience_ms =
            flow->spool ? clock_asked_us("FIRN_STALLED_MS", SPOOL_PATIENCE_US) / 1000 : 0};
    AUTO(mem_free)
    char *topic = mem_format("%s." STATE_TOPIC_SUFFIX, flow->stream->topic_prefix);
    /* whoever wrote before us is fenced before its state is read */
    if (!open_registry(flow, err) || !open_producer(flow, &client, err) ||
        !relay_topic_open(flow, topic, USE_STATE, &flow->state_topic, err) ||
        !kafka_topic_read(&flow->stream->kafka, &client, topic, 0, READ_MS, take_state,
                          &flow->state, err))
        return false;
    if (flow->state.connector && strcmp(flow->state.connector, flow->relay->base.name) != 0)
        return error_set(err, ERROR_CONFIG, "StateTaken",
                         "topic %s is the state of Connector %s: give one of both another "
                         "topicPrefix",
                         topic, flow->state.connector);
    return true;
}

bool relay_drop(const ConnectorSpec *connector, Error *err)
{
    const char *prefix = connector->stream->topic_prefix;
    AUTO(mem_free)
    char *id = mem_format("firn-%s-%s", connector->meta.namespace_name, connector->meta.name);
    AUTO(mem_free) char *topic = mem_format("%s." STATE_TOPIC_SUFFIX, prefix);
    AUTO(kafka_client_free)
    KafkaClient *client =
        kafka_client_open(&connector->stream->kafka,
                          &(KafkaClientOptions){.client_id = id, .field = KAFKA_FIELD}, err);
    if (!client || !kafka_topic_drop(client, topic, err))
        return false;
    printf("connector %s/%s: topic %s dropped, topics with rows are kept\n",
           connector->meta.namespace_name, connector->meta.name, topic);
    return true;
}

/* ---------- a table's records ---------- */
static TopicOptions topic_options(const ConnectorSpec *connector)
{
    static const TopicSource sources[] = {[SOURCE_POSTGRESQL] = TOPIC_POSTGRESQL,
                                          [SOURCE_MYSQL] = TOPIC_MYSQL,
                                          [SOURCE_MARIADB] = TOPIC_MARIADB};
    const StreamSpec *stream = connector->stream;
    const RecordsSpec *records = &stream->records;
    return (TopicOptions){.source = sources[connector->source_type],
                          .format = stream->format == STREAM_AVRO ? TOPIC_AVRO
                                    : records->schemas            ? TOPIC_JSON_WITH_SCHEMA
                                                                  : TOPIC_JSON,
                          .time = (TopicTime)records->time,
                          .decimal = (TopicDecimal)records->decimal,
                          .binary = (TopicBinary)records->binary,
                          .interval = (TopicInterval)records->interval,
                          .hstore = (TopicHstore)records->hstore,
                          .unknown = (TopicUnknown)records->unknown,
                          .unsigned_as_long = records->bigint_unsigned == RECORD_UNSIGNED_LONG,
                          .no_tombstones = !records->tombstones,
                          .transactions = records->transactions,
                          .nulls_as_defaults = records->nulls_as_defaults};
}

static TopicTableSpec topic_spec(const RelayFlow *flow, const RelayTable *table,
                                 const Schema *schema)
{
    return (TopicTableSpec){.topic = table->topic.name,
                            .connector = flow->stream->topic_prefix,
                            .database = flow->relay->base.connector->database,
                            .schema_name = table->source->schema_name,
                            .table_name = table->source->table_name,
                            .schema = schema,
                            .columns = table->columns,
                            .version = table->version};
}

static TopicTable *encoder_with(const RelayFlow *flow, const RelayTable *table,
                                const Schema *schema, const TopicOptions *options, Error *err)
{
    TopicTableSpec spec = topic_spec(flow, table, schema);
    AUTO(mem_free) uint32_t *key = NULL;
    if (!relay_key_fields(table, schema, &key, err))
        return NULL;
    spec.key = key;
    spec.key_count = table->key_count;
    return topic_table_new(&spec, options, err);
}

TopicTable *table_encoder(const RelayFlow *flow, const RelayTable *table, const Schema *schema,
                          Error *err)
{
    TopicTable *encoder = encoder_with(flow, table, schema, &flow->options, err);
    if (!encoder)
        error_wrap(err, "table %s", table->name);
    else if (flow->registry && table->value_id)
        topic_table_set_ids(encoder, table->key_id, table->value_id);
    return encoder;
}

TopicTable *table_plain_encoder(const RelayFlow *flow, const RelayTable *table,
                                const Schema *schema, Error *err)
{
    TopicOptions options = flow->options;
    options.format = TOPIC_JSON;
    options.decimal = TOPIC_DECIMAL_STRING;
    options.unsigned_as_long = false;
    return encoder_with(flow, table, schema, &options, err);
}

static bool register_schemas(RelayFlow *flow, RelayTable *table, TopicTable *encoder, Error *err)
{
    const char *key = topic_table_key_schema(encoder), *value = topic_table_value_schema(encoder);
    AUTO(mem_free) char *key_subject = mem_format("%s-key", table->topic.name);
    AUTO(mem_free) char *value_subject = mem_format("%s-value", table->topic.name);
    if (!flow->registry)
        return true;
    if ((key && !registry_register(flow->registry, key_subject, key, &table->key_id, err)) ||
        !registry_register(flow->registry, value_subject, value, &table->value_id, err))
        return error_wrap(err, "table %s", table->name);
    topic_table_set_ids(encoder, table->key_id, table->value_id);
    return true;
}

bool table_columns(RelayFlow *flow, RelayTable *table, const Schema *schema,
                   const ColumnsVersion *columns, Error *err)
{
    arena_free(table->arena);
    table->arena = arena_new(8192);
    table->version = columns->version;
    if (!capture_describe(flow->capture, table->number, columns->shape, table->arena,
                          &table->columns, err))
        return error_wrap(err, "table %s", table->name);
    table->key_id = table->value_id = 0;
    AUTO(topic_table_free) TopicTable *encoder = table_encoder(flow, table, schema, err);
    if (!encoder || !register_schemas(flow, table, encoder, err))
        return false;
    topic_table_free(table->encoder);
    table->encoder = TAKE(encoder);
    if (flow->options.format == TOPIC_JSON)
        table_state_describe(table->state, columns->version,
                             topic_table_value_schema(table->encoder),
                             topic_table_key_schema(table->encoder));
    return true;
}

/* ---------- what was sent before ---------- */
/* Does the copy that has begun go on? */
static bool goes_on(const RelayFlow *flow, const RelayTable *table)
{
    const ConnectorSpec *connector = flow->relay->base.connector;
    const ColumnsVersion *then = table_state_columns(table->state, table->state->begun);
    return connector->snapshot_mode != SNAPSHOT_ONLY &&
           !supervised_copies_anew(&flow->relay->base, table->name) && then &&
           capture_same(flow->capture, table->number, then->shape);
}

static bool go_on(RelayFlow *flow, RelayTable *table, RowPosition start, Error *err)
{
    TableState *state = table->state;
    RowPosition at = state->begun;
    RowPosition acknowledged = table_state_acknowledged(state);
    if (state->complete && row_position_compare(start, at) > 0)
        at = start;
    if (state->complete && row_position_compare(acknowledged, at) > 0)
        at = acknowledged;
    const ColumnsVersion *then = table_state_columns(state, at);
    if (!then)
        return error_set(err, ERROR_CONFIG, "SlotAhead",
                         "table %s: what its columns were where the source goes on is not known; "
                         "load it again with --resnapshot %s",
                         table->name, table->name);
    return capture_resume(flow->capture, table->number, then->shape, at, err);
}

static bool was_written(const RelayFlow *flow, const RelayTable *table, bool *ret, Error *err)
{
    uint32_t count = table->topic.partitions;
    AUTO(mem_free) uint64_t *ends = mem_array((size_t)count + 1, sizeof *ends);
    if (!kafka_topic_ends(kafka_producer_client(flow->producer), table->topic.name, count, ends,
                          err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        *ret = *ret || ends[i];
    return true;
}

static bool bind_state(RelayFlow *flow, RelayTable *table, RowPosition start, Error *err)
{
    bool resnapshot = supervised_resnapshots(&flow->relay->base, table->name);
    table->state = state_table(&flow->state, table->name);
    bool moved = table->state && strcmp(table->state->topic, table->topic.name) != 0;
    if (moved && !resnapshot)
        return error_set(err, ERROR_CONFIG, "TopicMoved",
                         "table %s was sent to topic %s, and is to go to %s now: change "
                         "topicPrefix or topicTemplate back, or load it there with --resnapshot %s",
                         table->name, table->state->topic, table->topic.name, table->name);
    bool known = table->state != NULL;
    if (moved) {
        free(table->state->topic);
        table->state->topic = mem_strdup(table->topic.name);
    }
    if (!known)
        table->state = state_add(&flow->state, table->name, table->topic.name);
    table->complete = known && !resnapshot && table->state->complete;
    table->begins = !known || resnapshot || (!table->complete && !goes_on(flow, table));
    /* Of a life that was dropped, its topics may have rows which the source has no more. */
    table->emptied = known;
    if (!known && !table->topic.made && !was_written(flow, table, &table->emptied, err))
        return error_wrap(err, "table %s", table->name);
    table->emptied = table->emptied && table->begins;
    return relay_key_take_up(table, err) && relay_partitions(flow, table, known && !moved, err) &&
           (table->begins || go_on(flow, table, start, err));
}

static bool bind_table(RelayFlow *flow, RelayTable *table, const SourceTable *source,
                       uint32_t number, RowPosition start, bool made, const KafkaCompared *compared,
                       Error *err)
{
    table->number = number;
    table->source = source;
    table->name = mem_format("%s.%s", source->schema_name, source->table_name);
    if (source->left_out)
        log_warn("generated columns are left out: the source's log does not carry them",
                 LOG_T("table", table->name), LOG_T("columns", source->left_out));
    const TopicTableSpec names = topic_spec(flow, table, NULL);
    AUTO(mem_free) char *topic = topic_name(flow->stream->topic_template, &names, err);
    if (!topic || !topic_open(flow, topic, USE_TABLE, compared, &table->topic, err))
        return error_wrap(err, "table %s", table->name);
    table->topic.made = table->topic.made || made;
    for (size_t i = 0; i < number; i++)
        if (strcmp(flow->tables[i].topic.name, topic) == 0)
            return error_set(err, ERROR_CONFIG, "TopicTaken",
                             "%s and %s both go to topic %s; write {schema} and {table} in "
                             "spec.stream.kafka.topicTemplate",
                             flow->tables[i].name, table->name, topic);
    if (!relay_key_declare(flow, table, err))
        return false;
    if (table->topic.keyed && !source->schema->key_count && !table->key_count)
        return error_set(
            err, ERROR_CONFIG, "NoKey",
            "table %s has no primary key, and topic %s is compacted, which takes no "
            "record without one; add a key, name one (spec.stream.records.keyColumns), "
            "or exclude the table (spec.source.tables.exclude)",
            table->name, topic);
    table_register(table);
    return bind_state(flow, table, start, err);
}

/* Those of new tables, all with one request; then what each is set to. Whatever is wrong with one,
 * bind_table says. */
static bool make_topics(RelayFlow *flow, const SourceTable *sources, size_t count, bool *made,
                        KafkaCompared *compared, Error *err)
{
    KafkaTopicHold hold; /* the same settings in all */
    if (relay_is_away(flow))
        return true;
    KafkaClient *client = kafka_producer_client(flow->producer);
    KafkaTopicSpec *specs = mem_array(count, sizeof *specs);
    char **names = mem_array(count, sizeof *names);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        const RelayTable table = {.source = &sources[i]};
        const TopicTableSpec spec = topic_spec(flow, &table, NULL);
        names[i] = topic_name(flow->stream->topic_template, &spec, err);
        ok = names[i] != NULL;
        if (ok)
            kafka_topic_declared(flow->stream, names[i], &hold, &specs[i]);
    }
    ok = ok && kafka_topics_make(client, specs, count, made, err) &&
         kafka_topics_compare(client, specs, count, compared, err);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(specs);
    return ok;
}

bool relay_bind(RelayFlow *flow, RowPosition start, Error *err)
{
    size_t count;
    const SourceTable *sources = capture_tables(flow->capture, &count);
    flow->options = topic_options(flow->relay->base.connector);
    flow->tables = mem_array(count, sizeof *flow->tables);
    AUTO(mem_free) bool *made = mem_array(count, sizeof *made);
    AUTO(mem_free) KafkaCompared *compared = mem_array(count, sizeof *compared);
    bool ok = make_topics(flow, sources, count, made, compared, err);
    for (size_t i = 0; i < count && ok; i++) {
        flow->table_count = i + 1;
        ok = bind_table(flow, &flow->tables[i], &sources[i], (uint32_t)i, start, made[i],
                        &compared[i], err);
    }
    for (size_t i = 0; i < count; i++)
        free(compared[i].differences);
    if (!ok)
        return false;
    pthread_mutex_lock(&flow->relay->base.lock);
    flow->relay->base.figures.tables = (uint32_t)count;
    pthread_mutex_unlock(&flow->relay->base.lock);
    return true;
}

void relay_unbind(RelayFlow *flow)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        topic_table_free(table->encoder);
        arena_free(table->arena);
        extents_done(&table->done);
        free(table->topic.name);
        free(table->key);
        free(table->name);
    }
    free(flow->tables);
    free(flow->state_topic.name);
    free(flow->dead_letters.name);
    relay_others_close(flow);
    relay_counted_done(flow);
    free(flow->scratch);
    outbox_done(&flow->box);
    state_done(&flow->state);
    registry_free(flow->registry);
    /* else its readers wait for the next instance, or for the cluster's patience to end */
    if (flow->in_transaction)
        (void)!kafka_producer_abort(flow->producer, ABORT_MS, &(Error){0});
    kafka_producer_free(flow->producer);
}
