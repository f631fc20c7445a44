/* What the rows of a topic are: plain JSON, and others' envelopes in JSON without schemas, as the
 * table declares them; our JSON without schemas, as
 * the Connector's state says; Avro, as the registry says of the topic's latest schema; JSON with
 * schemas, as they say themselves; Protobuf, as the registry says of what they name. */
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/kafka/reader.h"
#include "common/mem.h"

#define FRAME_BYTES 5
#define READ_MS 10000

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    const Feed *feed = context;
    bool protobuf = feed->ingest->stream->incoming == INCOMING_PROTOBUF;
    return registry_fetch(feed->registry, id, protobuf ? REGISTRY_PROTOBUF : REGISTRY_AVRO, ret,
                          err);
}

static bool open_registry(Feed *feed, Error *err)
{
    const StreamSpec *stream = feed->ingest->stream;
    feed->registry = registry_new(&(RegistryOptions){.url = stream->registry_url,
                                                     .username = stream->registry_username,
                                                     .password = stream->registry_password,
                                                     .token = stream->registry_token,
                                                     .ca_pem = stream->registry_ca_pem},
                                  err);
    return feed->registry != NULL;
}

/* JSON of others that does not say what its columns are. */
static bool is_declared(const Feed *feed)
{
    const StreamSpec *stream = feed->ingest->stream;
    return feed->own && stream->format == STREAM_JSON && !stream->records.schemas;
}

static void read_routes(Feed *feed)
{
    if (!feed->routes)
        return;
    feed->event_routes = mem_array(feed->routes->count, sizeof *feed->event_routes);
    for (size_t i = 0; i < feed->routes->count; i++) {
        const char *when = feed->routes->items[i].when;
        feed->event_routes[i].always = !when;
        bool read = !when || condition_parse(when, &feed->event_routes[i].when);
        ASSERT(read); /* the manifest was checked */
    }
}

/* With the feed's route. */
static EventReader *open_reader(Feed *feed, const EventOptions *of, Error *err)
{
    EventOptions options = *of;
    read_routes(feed);
    options.fetch_context = feed;
    options.routes = feed->event_routes;
    options.route_count = feed->routes ? feed->routes->count : 0;
    options.route = feed->route;
    options.upserts = feed->spec && feed->spec->mode == MODE_UPSERT;
    options.some_upserts = feed->some_upserts;
    return event_reader_new(&options, err);
}

static void put_frame(uint8_t to[FRAME_BYTES], uint32_t id)
{
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (uint8_t)(id >> (24 - 8 * i));
}

static bool learn_avro(Feed *feed, Error *err)
{
    const StreamSpec *stream = feed->ingest->stream;
    uint32_t value_id, key_id = 0;
    bool plain = stream->incoming == INCOMING_AVRO;
    uint8_t value[FRAME_BYTES], key[FRAME_BYTES];
    Error why = {0};
    if (!open_registry(feed, err))
        return false;
    AUTO(mem_free) char *value_subject = mem_format("%s-value", feed->topic);
    AUTO(mem_free) char *key_subject = mem_format("%s-key", feed->topic);
    if (!registry_latest(feed->registry, value_subject, &value_id, err))
        return false;
    bool has_key = !plain && registry_latest(feed->registry, key_subject, &key_id, &why);
    if (!plain && !has_key && strcmp(why.code, "SchemaMissing") != 0) {
        *err = why;
        return false;
    }
    feed->reader = open_reader(
        feed, &(EventOptions){.format = EVENT_AVRO, .plain = plain, .fetch = fetch}, err);
    put_frame(value, value_id);
    put_frame(key, has_key ? key_id : 0);
    const EventRecord record = {.value = value,
                                .value_bytes = sizeof value,
                                .key = has_key ? key : NULL,
                                .key_bytes = has_key ? sizeof key : 0};
    return feed->reader && event_wanted(feed->reader, &record, &feed->columns, err);
}

/* The topic's first row says what it is. */
typedef struct FirstRow {
    Feed *feed;
    int32_t partition;
} FirstRow;

static bool look_at(void *context, const KafkaRead *record, Error *err)
{
    const FirstRow *first = context;
    Feed *feed = first->feed;
    const EventRecord event = {.key = record->key,
                               .key_bytes = record->key_bytes,
                               .value = record->value,
                               .value_bytes = record->value_bytes,
                               .offset = (uint64_t)record->offset,
                               .partition = (uint32_t)first->partition};
    if (!record->value)
        return true; /* a tombstone, a marker */
    Error why = {0};
    if (!event_wanted(feed->reader, &event, &feed->columns, &why)) {
        *err = why;
        return feed_is_dead(feed, &why); /* it will be among the dead letters when it is read */
    }
    return !feed->columns ||
           error_set(err, ERROR_NONE, "Found", "the columns of %s are known", feed->topic);
}

static bool learn_from_records(Feed *feed, const EventOptions *options, Error *err)
{
    FirstRow first = {.feed = feed};
    Error why = {0};
    feed->reader = open_reader(feed, options, err);
    const KafkaClientOptions client = {.client_id = "firn-ingest",
                                       .field = ingest_kafka_field(feed->ingest)};
    if (!feed->reader)
        return false;
    /* The first partition that has a row; behind the last one there is none to be read. */
    for (int32_t partition = 0; !feed->columns; partition++) {
        first.partition = partition;
        if (kafka_topic_read(&feed->ingest->stream->kafka, &client, feed->topic, partition, READ_MS,
                             look_at, &first, &why) ||
            feed->columns)
            continue;
        if (partition && why.kind == ERROR_RETRY)
            break;
        *err = why;
        return false;
    }
    return feed->columns ||
           error_set(err, ERROR_RETRY, "SchemaMissing",
                     "topic %s has no row yet that says what its columns are", feed->topic);
}

static bool learn_json(Feed *feed, Error *err)
{
    if (!feed->value_schema)
        return feed->ingest->stream->records.schemas
                   ? learn_from_records(feed, &(EventOptions){.format = EVENT_JSON}, err)
                   : error_set(err, ERROR_RETRY, "SchemaMissing",
                               "the Connector's state does not say what the columns of topic %s "
                               "are; it will, once this version's capture has run",
                               feed->topic);
    feed->reader = open_reader(feed,
                               &(EventOptions){.format = EVENT_JSON,
                                               .value_schema = feed->value_schema,
                                               .key_schema = feed->key_schema},
                               err);
    return feed->reader && event_wanted(feed->reader, NULL, &feed->columns, err);
}

/* The registry says what messages the topic's schemas have, its records which of them it is. */
static bool learn_protobuf(Feed *feed, Error *err)
{
    const EventOptions options = {.format = EVENT_PROTOBUF, .plain = true, .fetch = fetch};
    return open_registry(feed, err) && learn_from_records(feed, &options, err);
}

void feed_routes_free(Feed *feed)
{
    for (size_t i = 0; feed->event_routes && i < feed->routes->count; i++)
        condition_done(&feed->event_routes[i].when);
    free(TAKE(feed->event_routes));
}

EventReader *feed_json_reader(Feed *feed, const Schema *columns, Error *err)
{
    const StreamSpec *stream = feed->ingest->stream;
    AUTO(mem_free) char **events = mem_array(stream->events.count + 1, sizeof *events);
    for (size_t i = 0; i < stream->events.count; i++)
        events[i] = stream->events.items[i].name;
    return open_reader(feed,
                       &(EventOptions){.format = EVENT_JSON,
                                       .plain = stream->incoming == INCOMING_JSON,
                                       .columns = columns,
                                       .records = &stream->records,
                                       .event_field = stream->event_field,
                                       .events = (const char *const *)events,
                                       .event_count = stream->events.count},
                       err);
}

/* As they are declared. An envelope's key has to be the rows'. */
static bool learn_declared(Feed *feed, Error *err)
{
    const ColumnList *declared = &feed->spec->columns;
    const TextList *ids = &feed->spec->id_columns;
    bool keyed =
        feed->ingest->stream->incoming == INCOMING_DEBEZIUM && feed->spec->mode == MODE_UPSERT;
    AUTO(schema_free) Schema *columns = schema_new(declared->count, keyed ? ids->count : 0);
    for (size_t i = 0; i < declared->count; i++) {
        columns->fields[i].name = mem_strdup(declared->items[i].name);
        if (!type_parse(declared->items[i].type, &columns->fields[i].type, err))
            return error_wrap(err, "column %s", declared->items[i].name);
    }
    for (size_t i = 0; i < columns->key_count; i++) {
        int at = schema_find(columns, ids->texts[i]);
        ASSERT(at >= 0); /* the manifest was checked */
        columns->key[i] = (uint32_t)at;
    }
    feed->reader = feed_json_reader(feed, columns, err);
    return feed->reader && event_wanted(feed->reader, NULL, &feed->columns, err);
}

/* Plain events do not say what their key is: the table does. */
static bool take_id_columns(Feed *feed, Error *err)
{
    const TextList *ids = &feed->spec->id_columns;
    Schema *columns = feed->columns;
    AUTO(schema_free) Schema *keyed = schema_new(columns->field_count, ids->count);
    for (size_t i = 0; i < columns->field_count; i++)
        field_copy(&keyed->fields[i], &columns->fields[i]);
    for (size_t i = 0; i < ids->count; i++) {
        int at = schema_find(keyed, ids->texts[i]);
        if (at < 0)
            return error_set(err, ERROR_CONFIG, "NoKey",
                             "idColumns name %s, and topic %s has no such field", ids->texts[i],
                             feed->topic);
        keyed->key[i] = (uint32_t)at;
        keyed->fields[at].required = true;
    }
    schema_free(columns);
    feed->columns = TAKE(keyed);
    return true;
}

/* Rows of one record's key are in order, of two they are not: the table's rows are known by just
 * that. */
static bool check_id_columns(const Feed *feed, Error *err)
{
    const TextList *ids = &feed->spec->id_columns;
    const Schema *columns = feed->columns;
    if (feed->spec->mode != MODE_UPSERT || !ids->count || !columns->key_count)
        return true;
    size_t same = 0;
    for (size_t i = 0; i < ids->count; i++)
        for (size_t k = 0; k < columns->key_count; k++)
            same += strcmp(ids->texts[i], columns->fields[columns->key[k]].name) == 0;
    return (same == ids->count && same == columns->key_count) ||
           error_set(err, ERROR_CONFIG, "KeyDiffers",
                     "idColumns are not the columns that the records of topic %s are keyed by: "
                     "leave them out, or have the records keyed so (for Firn's topics "
                     "spec.stream.records.keyColumns of the Connector)",
                     feed->topic);
}

static bool find_ordering(Feed *feed, Error *err)
{
    char type[TYPE_NAME_BYTES];
    if (!feed->ordering)
        return true;
    int at = schema_find(feed->columns, feed->ordering);
    if (at < 0)
        return error_set(err, ERROR_CONFIG, "OrderingColumn",
                         "spec.kafka.orderingColumn %s: topic %s has no such field; name one that "
                         "its rows have",
                         feed->ordering, feed->topic);
    feed->ordering_at = (uint32_t)at;
    return table_can_order(&feed->columns->fields[at].type) ||
           error_set(err, ERROR_CONFIG, "OrderingColumn",
                     "spec.kafka.orderingColumn %s: topic %s has it as %s, of which none is newer "
                     "than another; name an integer, decimal, date, timestamp or string",
                     feed->ordering, feed->topic,
                     type_format(&feed->columns->fields[at].type, type));
}

/* Plain JSON has more fields than its tables have columns. */
static bool check_routes(const Feed *feed, Error *err)
{
    char type[TYPE_NAME_BYTES];
    bool by_text = feed->ingest->stream->incoming == INCOMING_JSON;
    for (size_t i = 0; feed->routes && !by_text && i < feed->routes->count; i++) {
        const EventRoute *route = &feed->event_routes[i];
        int at = route->always ? -1 : schema_find(feed->columns, route->when.field);
        if (is_declared(feed) && at < 0 && !route->always)
            return error_set(err, ERROR_CONFIG, "RouteColumn",
                             "spec.routes[%zu].when asks for %s, and is asked of every row, but "
                             "the table's columns do not have it: add it there",
                             i, route->when.field);
        if (at >= 0 && !event_can_route(&feed->columns->fields[at].type))
            return error_set(
                err, ERROR_CONFIG, "RouteColumn",
                "spec.routes[%zu].when asks for %s, and topic %s has it as %s; ask for "
                "a string, an integer or a boolean",
                i, route->when.field, feed->topic,
                type_format(&feed->columns->fields[at].type, type));
    }
    return true;
}

static bool join_learnt(Feed *feed, Error *err)
{
    AUTO(schema_free) Schema *learnt = ingest_learnt(feed->ingest, feed->name);
    return !learnt || feed_join_columns(&feed->columns, learnt, err);
}

bool feed_learn_columns(Feed *feed, Error *err)
{
    const StreamSpec *stream = feed->ingest->stream;
    bool plain = feed->own && stream->incoming != INCOMING_DEBEZIUM;
    bool protobuf = feed->own && stream->incoming == INCOMING_PROTOBUF;
    if (feed->of_letters) {
        feed->columns = feed_letter_columns();
        feed_name_columns(feed->columns);
        return true;
    }
    bool ok = protobuf                        ? learn_protobuf(feed, err)
              : stream->format == STREAM_AVRO ? learn_avro(feed, err)
              : is_declared(feed)             ? learn_declared(feed, err)
                                              : learn_json(feed, err);
    ok = ok && feed_fit_columns(feed, err);
    ok = ok && (plain ? take_id_columns(feed, err) : check_id_columns(feed, err));
    ok = ok && join_learnt(feed, err) && find_ordering(feed, err) && check_routes(feed, err);
    if (!ok)
        return error_wrap(err, "table %s", feed->name);
    feed_name_columns(feed->columns);
    event_reader_target(feed->reader, feed->columns);
    return true;
}
