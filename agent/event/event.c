/* A record: its head, its framing, and Debezium's envelope around the rows. */
#include "agent/event/event.h"

#include <string.h>

#include "agent/event/key.h"
#include "agent/event/plan.h"
#include "agent/event/select.h"
#include "common/reader.h"

#define HEADER_BYTES 21   /* agent/topic/topic.h: TOPIC_HEADER_BYTES */
#define PLANS_MAX 64      /* the oldest goes first */
#define PATH_MAX_DEPTH 16 /* a message in a message in … */
#define UNCHANGED_WORDS (WIRE_FIELDS_MAX / 64)

enum { /* TopicKind */
       KIND_ROW = 'R',
       KIND_TOMBSTONE = 'D',
       KIND_TRUNCATE = 'T',
       KIND_COPIED = 'C',
       KIND_EPOCH = 'E',
};

/* A writer's schema that records have come with. */
typedef struct KnownPlan {
    uint32_t id;  /* Avro, Protobuf */
    Bytes prefix; /* JSON with its schema: what stands before the payload; Protobuf: the path */
    EventPlan plan;
    char *problem; /* it can't be read; NULL: it can */
} KnownPlan;

struct EventReader {
    EventFormat format;
    bool plain;
    EventFetch *fetch;
    void *fetch_context;
    const Schema *target;
    KnownPlan *plans[PLANS_MAX]; /* the latest used first */
    size_t plan_count;
    EventPlan fixed; /* of JSON without schemas */
    bool has_fixed;
    bool declared;        /* … in envelopes, by columns */
    char *keys[KEYS_MAX]; /* with has_fixed */
    size_t key_count;
    Selection selection;
    Decode decode;
    Scan json;
    uint64_t unchanged[UNCHANGED_WORDS];
};

/* --- beginning and end --- */

static void known_free(KnownPlan *known)
{
    if (!known)
        return;
    event_plan_done(&known->plan);
    bytes_done(&known->prefix);
    free(known->problem);
    free(known);
}

void event_reader_free(EventReader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->plan_count; i++)
        known_free(reader->plans[i]);
    for (size_t i = 0; i < reader->key_count; i++)
        free(reader->keys[i]);
    selection_done(&reader->selection);
    event_plan_done(&reader->fixed);
    bytes_done(&reader->json.scratch);
    bytes_done(&reader->decode.text);
    bytes_done(&reader->decode.bytes);
    free(reader->decode.spots);
    free(reader->decode.slots);
    free(reader->decode.seen);
    free(reader);
}

static bool take_fixed(EventReader *reader, const EventOptions *options, Error *err)
{
    if (!event_plan_make(&reader->fixed, false, false, options->value_schema,
                         strlen(options->value_schema), err))
        return false;
    reader->has_fixed = true;
    if (!options->key_schema)
        return true;
    json_t *key = json_loads(options->key_schema, 0, NULL);
    const json_t *fields = json_object_get(key, "fields");
    size_t count = json_array_size(fields);
    for (size_t i = 0; i < count && i < KEYS_MAX; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(fields, i), "field"));
        if (name)
            reader->keys[reader->key_count++] = mem_strdup(name);
    }
    json_decref(key);
    return reader->key_count == count ||
           error_set(err, ERROR_CONFIG, "BadSchema", "Connect's schema of a key can't be read");
}

/* The columns in place of a schema. */
static bool take_columns(EventReader *reader, const EventOptions *options, Error *err)
{
    const Schema *columns = options->columns;
    ASSERT(columns && (options->plain || options->records) && columns->key_count <= KEYS_MAX);
    if (!event_plan_declared(&reader->fixed, columns, options->plain ? NULL : options->records,
                             err))
        return false;
    reader->has_fixed = true;
    reader->declared = !options->plain;
    for (size_t i = 0; reader->declared && i < columns->key_count; i++)
        reader->keys[reader->key_count++] = mem_strdup(columns->fields[columns->key[i]].name);
    return true;
}

EventReader *event_reader_new(const EventOptions *options, Error *err)
{
    AUTO(event_reader_free) EventReader *reader = mem_zalloc(sizeof *reader);
    reader->format = options->format;
    reader->fetch = options->fetch;
    reader->fetch_context = options->fetch_context;
    ASSERT(options->format == EVENT_JSON || options->fetch);
    ASSERT(options->format != EVENT_PROTOBUF || options->plain);
    reader->plain = options->plain;
    if (options->value_schema && !take_fixed(reader, options, err))
        return NULL;
    if (options->format == EVENT_JSON && (options->plain || options->columns) &&
        !take_columns(reader, options, err))
        return NULL;
    selection_init(&reader->selection, options);
    return TAKE(reader);
}

void event_reader_target(EventReader *reader, const Schema *target)
{
    reader->target = target;
    selection_target(&reader->selection, target);
    if (reader->has_fixed)
        event_plan_bind(&reader->fixed, target);
    for (size_t i = 0; i < reader->plan_count; i++)
        if (!reader->plans[i]->problem)
            event_plan_bind(&reader->plans[i]->plan, target);
}

/* --- writers' schemas --- */

/* To the front. */
static EventPlan *use_plan(EventReader *reader, size_t at, Error *err)
{
    KnownPlan *known = reader->plans[at];
    if (UNLIKELY(at)) {
        memmove(reader->plans + 1, reader->plans, at * sizeof *reader->plans);
        reader->plans[0] = known;
    }
    if (UNLIKELY(known->problem != NULL)) {
        error_set(err, ERROR_DATA, "BadSchema", "%s", known->problem);
        return NULL;
    }
    return &known->plan;
}

/* One that can't be read is remembered as such: the record is at fault, and each that follows. */
static EventPlan *learn_plan(EventReader *reader, KnownPlan *known, bool ok, const Error *why,
                             Error *err)
{
    if (!ok)
        known->problem = mem_strdup(why->message);
    else if (reader->target)
        event_plan_bind(&known->plan, reader->target);
    if (reader->plan_count == PLANS_MAX)
        known_free(reader->plans[--reader->plan_count]);
    memmove(reader->plans + 1, reader->plans, reader->plan_count * sizeof *reader->plans);
    reader->plans[0] = known;
    reader->plan_count++;
    return use_plan(reader, 0, err);
}

/* path: Protobuf's, of so many numbers. */
static EventPlan *plan_of_id(EventReader *reader, uint32_t id, const uint32_t *path, size_t depth,
                             Error *err)
{
    Error why = {0};
    size_t bytes = depth * sizeof *path;
    for (size_t i = 0; i < reader->plan_count; i++) {
        const KnownPlan *one = reader->plans[i];
        if (one->id == id && one->prefix.used == bytes &&
            (!bytes || memcmp(one->prefix.data, path, bytes) == 0))
            return use_plan(reader, i, err);
    }
    WriterSchema writer = {0};
    if (!reader->fetch(reader->fetch_context, id, &writer, err))
        return NULL;
    KnownPlan *known = mem_zalloc(sizeof *known);
    known->id = id;
    bytes_put(&known->prefix, path, bytes);
    bool ok = reader->format == EVENT_PROTOBUF
                  ? event_plan_proto(&known->plan, &writer, path, depth, &why)
                  : event_plan_make(&known->plan, true, reader->plain, writer.text,
                                    strlen(writer.text), &why);
    writer_schema_done(&writer);
    return learn_plan(reader, known, ok, &why, err);
}

static EventPlan *bad_record(const EventRecord *record, const char *why, Error *err)
{
    error_set(err, ERROR_DATA, "BadRecord", "partition %u offset %llu: the record %s",
              record->partition, (unsigned long long)record->offset, why);
    return NULL;
}

/* {"schema":{…},"payload": → its plan; json stands on the payload. */
static EventPlan *plan_of_json(EventReader *reader, const EventRecord *record, bool *ret_wrapped,
                               Error *err)
{
    Scan *json = &reader->json;
    const char *name, *from = json->at;
    size_t bytes;
    bool end;
    for (size_t i = 0; i < reader->plan_count; i++) {
        const Bytes *prefix = &reader->plans[i]->prefix;
        if ((size_t)(json->end - from) > prefix->used &&
            memcmp(from, prefix->data, prefix->used) == 0) {
            json->at = from + prefix->used;
            *ret_wrapped = true;
            return use_plan(reader, i, err);
        }
    }
    *ret_wrapped = scan_is(json, '{') && scan_member(json, true, &name, &bytes, &end) && !end &&
                   bytes == 6 && memcmp(name, "schema", 6) == 0;
    if (!*ret_wrapped) {
        json->at = from;
        if (reader->has_fixed)
            return &reader->fixed;
        error_set(err, ERROR_CONFIG, "SchemaUnknown",
                  "partition %u offset %llu: the record has no schema beside its payload, and what "
                  "its columns are is not known; let the producer write schemas "
                  "(schemas.enable=true of Kafka Connect's JsonConverter), or say what they are: "
                  "spec.kafka.records.schemas: false, with columns and idColumns of the table",
                  record->partition, (unsigned long long)record->offset);
        return NULL;
    }
    (void)scan_peek(json);
    const char *schema = json->at;
    if (!scan_skip(json))
        return bad_record(record, json->why, err);
    size_t schema_bytes = (size_t)(json->at - schema);
    if (!scan_member(json, false, &name, &bytes, &end))
        return bad_record(record, json->why, err);
    if (end || bytes != 7 || memcmp(name, "payload", 7) != 0)
        return bad_record(record, "has a schema and no payload behind it", err);
    bool is_null = schema_bytes == 4 && memcmp(schema, "null", 4) == 0;
    if (reader->declared || (is_null && reader->has_fixed))
        return &reader->fixed;
    if (is_null)
        return bad_record(record, "has no schema", err);
    Error why = {0};
    KnownPlan *known = mem_zalloc(sizeof *known);
    bytes_put(&known->prefix, from, (size_t)(json->at - from));
    bool ok = event_plan_make(&known->plan, false, reader->plain, schema, schema_bytes, &why);
    return learn_plan(reader, known, ok, &why, err);
}

/* Which of a schema's messages: the path from the file's to the one in one … */
static bool take_path(Reader *in, uint32_t path[PATH_MAX_DEPTH], size_t *ret_depth)
{
    int64_t depth, number;
    if (!reader_zigzag(in, &depth) || depth < 0 || depth > PATH_MAX_DEPTH)
        return false;
    path[0] = 0;
    *ret_depth = depth ? (size_t)depth : 1;
    for (int64_t i = 0; i < depth; i++) {
        if (!reader_zigzag(in, &number) || number < 0 || number > INT32_MAX)
            return false;
        path[i] = (uint32_t)number;
    }
    return true;
}

/* What stands in front of Avro and Protobuf; *ret is behind it. */
static EventPlan *plan_of_frame(EventReader *reader, const EventRecord *record, bool of_key,
                                Reader *ret, Error *err)
{
    uint8_t magic;
    uint32_t id, path[PATH_MAX_DEPTH];
    size_t depth = 0;
    *ret = of_key ? reader_over(record->key, record->key_bytes)
                  : reader_over(record->value, record->value_bytes);
    if (!reader_u8(ret, &magic) || magic != 0 || !reader_u32be(ret, &id))
        return bad_record(record, "does not begin with 0x00 and a schema's id", err);
    if (reader->format == EVENT_PROTOBUF && !take_path(ret, path, &depth))
        return bad_record(record, "does not say which of its schema's messages it is", err);
    return plan_of_id(reader, id, path, depth, err);
}

/* --- the head --- */

/* False: it is no header of ours that can be read. */
static bool take_header(EventReader *reader, const EventRecord *record, Event *ret,
                        uint8_t *ret_kind)
{
    Reader in = reader_over(record->header, record->header_bytes);
    Decode *decode = &reader->decode;
    const uint8_t *at;
    uint32_t epoch;
    if (!reader_u8(&in, ret_kind) || !*ret_kind || !strchr("RDTCE", *ret_kind) ||
        !reader_u64be(&in, &ret->at.major) || !reader_u64be(&in, &ret->at.minor) ||
        !reader_u32be(&in, &ret->version) || reader_left(&in) % 2)
        return false;
    decode->unchanged = reader->unchanged;
    if (LIKELY(!reader_left(&in)))
        return *ret_kind != KIND_EPOCH && *ret_kind != KIND_TRUNCATE;
    if (*ret_kind == KIND_EPOCH || *ret_kind == KIND_TRUNCATE)
        return (*ret_kind == KIND_TRUNCATE || reader_u32be(&in, &epoch)) &&
               reader_u32be(&in, &ret->partitions) && !reader_left(&in);
    memset(reader->unchanged, 0, sizeof reader->unchanged);
    decode->has_unchanged = true;
    while (reader_take(&in, 2, &at)) {
        uint32_t field = (uint32_t)at[0] << 8 | at[1];
        if (field >= WIRE_FIELDS_MAX)
            return false;
        reader->unchanged[field / 64] |= UINT64_C(1) << field % 64;
    }
    return true;
}

static bool bad_value(const EventReader *reader, const EventRecord *record, Error *err)
{
    const Decode *decode = &reader->decode;
    const char *why = decode->why ? decode->why : reader->json.why;
    bool in_field = decode->field != NULL;
    return error_set(err, ERROR_DATA, "BadRecord", "partition %u offset %llu: %s%.200s %s",
                     record->partition, (unsigned long long)record->offset,
                     in_field ? "field " : "the record", in_field ? decode->field->field : "",
                     why ? why : "can't be read");
}

/* --- the envelope --- */

typedef struct Envelope {
    char op;        /* 0: none yet */
    bool has_after; /* the row was begun */
    const char *before_json;
    const uint8_t *before_avro;
    size_t before_bytes; /* 0: none */
} Envelope;

static void begin_row(EventReader *reader, Batch *batch, RowPosition at, bool may_leave_out)
{
    reader->decode.batch = batch;
    reader->decode.may_leave_out = may_leave_out;
    batch_row_begin(batch, ROW_INSERT, at);
}

static bool take_op(Envelope *envelope, const char *text, size_t bytes)
{
    envelope->op = bytes == 1 ? text[0] : '?';
    return true;
}

/* source's ts_ms, the first member of that name */
static int64_t find_source_ms(const char *at, const char *end)
{
    static const char name[] = "\"ts_ms\":";
    const char *found = memmem(at, (size_t)(end - at), name, sizeof name - 1);
    Scan json = {.at = found ? found + sizeof name - 1 : end, .end = end};
    int64_t ms = 0;
    return found && scan_integer(&json, &ms) ? ms : 0;
}

static bool json_part(EventReader *reader, const EventPlan *plan, const char *name, size_t bytes,
                      Batch *batch, Envelope *envelope, Event *ret)
{
    Scan *json = &reader->json;
    const char *text;
    size_t text_bytes;
    (void)scan_peek(json);
    const char *from = json->at;
    if (bytes == 5 && memcmp(name, "after", 5) == 0 && !envelope->has_after) {
        if (scan_null(json))
            return true;
        envelope->has_after = true;
        begin_row(reader, batch, ret->at, true);
        return event_put_json(&reader->decode, json, plan->row);
    }
    if (bytes == 2 && memcmp(name, "op", 2) == 0)
        return scan_text(json, &text, &text_bytes) && take_op(envelope, text, text_bytes);
    if (!scan_skip(json))
        return false;
    if (bytes == 6 && memcmp(name, "source", 6) == 0)
        ret->source_ms = find_source_ms(from, json->at);
    if (bytes == 6 && memcmp(name, "before", 6) == 0 && *from == '{') {
        envelope->before_json = from;
        envelope->before_bytes = (size_t)(json->at - from);
    }
    return true;
}

static bool json_envelope(EventReader *reader, const EventPlan *plan, Batch *batch,
                          Envelope *envelope, Event *ret)
{
    Scan *json = &reader->json;
    const char *name;
    size_t bytes;
    bool end = false;
    if (scan_null(json)) {
        envelope->op = 'm';
        return true;
    }
    if (!scan_expect(json, '{'))
        return false;
    for (bool first = true;; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return false;
        if (end)
            return true;
        if (!json_part(reader, plan, name, bytes, batch, envelope, ret))
            return false;
    }
}

static bool avro_text(Decode *decode, Reader *in, const WireType *wire, Envelope *envelope)
{
    bool there;
    int64_t bytes;
    const uint8_t *text;
    if (!avro_is_there(decode, in, wire, &there))
        return false;
    if (!there)
        return true;
    if (!reader_zigzag(in, &bytes) || bytes < 0 || !reader_take(in, (size_t)bytes, &text))
        return decode_bad(decode, "is cut short, or no Avro of its schema");
    return take_op(envelope, (const char *)text, (size_t)bytes);
}

static bool avro_source(Decode *decode, Reader *in, const EventPlan *plan, Event *ret)
{
    const WireType *source = &plan->envelope->children[plan->source_at];
    const uint32_t count = source->child_count, at = plan->ts_at;
    bool there;
    if (at == COLUMN_NONE || source->children[at].branch_count)
        return avro_skip(decode, in, source, 0);
    if (!avro_is_there(decode, in, source, &there))
        return false;
    if (!there)
        return true;
    return (avro_skip_fields(decode, in, source->children, at) &&
            reader_zigzag(in, &ret->source_ms) &&
            avro_skip_fields(decode, in, source->children + at + 1, count - at - 1)) ||
           decode_bad(decode, "is cut short, or no Avro of its schema");
}

static bool avro_part(EventReader *reader, Reader *in, const EventPlan *plan, uint32_t at,
                      Batch *batch, Envelope *envelope, Event *ret)
{
    Decode *decode = &reader->decode;
    const WireType *field = &plan->envelope->children[at];
    bool there;
    if (at == plan->op_at)
        return avro_text(decode, in, field, envelope);
    if (at == plan->source_at)
        return avro_source(decode, in, plan, ret);
    if (at != plan->after_at && !(at == plan->before_at && plan->before))
        return avro_skip(decode, in, field, 0);
    if (at == plan->before_at) {
        const uint8_t *from = in->at;
        if (!avro_skip(decode, in, field, 0))
            return false;
        envelope->before_avro = from;
        envelope->before_bytes = (size_t)(in->at - from);
        return true;
    }
    if (!avro_is_there(decode, in, field, &there))
        return false;
    if (!there)
        return true;
    envelope->has_after = true;
    begin_row(reader, batch, ret->at, true);
    return event_put_avro(decode, in, plan->row);
}

/* The old row, where op is d. */
static bool put_before(EventReader *reader, const EventPlan *plan, const Envelope *envelope,
                       Batch *batch, const Event *event)
{
    Decode *decode = &reader->decode;
    bool there = false;
    if (!envelope->before_bytes || !plan->before)
        return decode_bad(decode, "deletes a row and does not say which");
    if (envelope->before_avro) {
        Reader in = reader_over(envelope->before_avro, envelope->before_bytes);
        if (!avro_is_there(decode, &in, plan->before, &there))
            return false;
        if (!there)
            return decode_bad(decode, "deletes a row and does not say which");
        begin_row(reader, batch, event->at, false);
        return event_put_avro(decode, &in, plan->before);
    }
    Scan *json = &reader->json;
    json->at = envelope->before_json;
    json->end = envelope->before_json + envelope->before_bytes;
    begin_row(reader, batch, event->at, false);
    return event_put_json(decode, json, plan->before);
}

static bool finish(EventReader *reader, const EventPlan *plan, const Envelope *envelope,
                   Batch *batch, Event *ret)
{
    static const char ops[] = "rcu";
    static const RowOp meant[] = {ROW_READ, ROW_INSERT, ROW_UPDATE};
    const char *at = envelope->op ? strchr(ops, envelope->op) : NULL;
    if (at) {
        if (!envelope->has_after)
            return decode_bad(&reader->decode, "has no row `after`");
        batch->ops[batch->row_count - 1] = (uint8_t)meant[at - ops];
        ret->copied = envelope->op == 'r';
        ret->kind = EVENT_ROW;
        return true;
    }
    if (envelope->op == 'd' && !envelope->has_after) {
        if (!put_before(reader, plan, envelope, batch, ret))
            return false;
        batch->ops[batch->row_count - 1] = ROW_DELETE;
        ret->kind = EVENT_ROW;
        return true;
    }
    if (envelope->has_after)
        return decode_bad(&reader->decode, "has a row `after` and an op that has none");
    if (envelope->op != 't' && envelope->op != 'm')
        return decode_bad(&reader->decode, "has an op that is not known");
    ret->kind = envelope->op == 't' ? EVENT_TRUNCATE : EVENT_NOTHING;
    return true;
}

/* --- plain events --- */

static bool end_row(Batch *batch, bool deletes, Event *ret)
{
    batch->ops[batch->row_count - 1] = deletes ? ROW_DELETE : ROW_INSERT;
    ret->kind = EVENT_ROW;
    return true;
}

static bool plain_json(EventReader *reader, const EventRecord *record, Batch *batch, bool deletes,
                       Event *ret)
{
    Scan *json = &reader->json;
    json->at = (const char *)(deletes ? record->key : record->value);
    json->end = json->at + (deletes ? record->key_bytes : record->value_bytes);
    Selected selected =
        deletes ? SELECTED_TAKEN : selection_look(&reader->selection, &reader->decode, json);
    if (selected != SELECTED_TAKEN) {
        ret->kind = selected == SELECTED_UNROUTED ? EVENT_UNROUTED : EVENT_NOTHING;
        return selected != SELECTED_BAD;
    }
    begin_row(reader, batch, ret->at, false);
    if (!event_put_json(&reader->decode, json, reader->fixed.row))
        return false;
    if (scan_peek(json) || json->at != json->end)
        return decode_bad(&reader->decode, "goes on behind its end");
    return end_row(batch, deletes, ret);
}

/* Avro, Protobuf. */
static bool plain_framed(EventReader *reader, const EventRecord *record, Batch *batch, bool deletes,
                         Event *ret, bool *ret_done, Error *err)
{
    Reader in;
    EventPlan *plan = plan_of_frame(reader, record, deletes, &in, err);
    if (!plan)
        return false;
    *ret_done = true;
    if (!plan->covers && deletes)
        return decode_bad(&reader->decode, "has a key with fields that are no columns");
    if (!plan->covers) {
        ret->kind = EVENT_SCHEMA;
        return true;
    }
    begin_row(reader, batch, ret->at, false);
    if (reader->format == EVENT_PROTOBUF ? !event_put_proto(&reader->decode, &in, plan->row)
                                         : !event_put_avro(&reader->decode, &in, plan->row))
        return false;
    if (reader_left(&in))
        return decode_bad(&reader->decode, "goes on behind its end");
    return end_row(batch, deletes, ret);
}

static bool decode_plain(EventReader *reader, const EventRecord *record, Batch *batch, Event *ret,
                         bool *ret_done, Error *err)
{
    bool deletes = !record->value;
    if (deletes && !reader->target->key_count)
        return true;
    reader->json.why = NULL;
    if (reader->format != EVENT_JSON && !(deletes && !record->key))
        return plain_framed(reader, record, batch, deletes, ret, ret_done, err);
    *ret_done = true;
    if (deletes && !record->key)
        return decode_bad(&reader->decode, "has neither key nor value");
    return plain_json(reader, record, batch, deletes, ret);
}

/* --- a record --- */

static bool decode_avro(EventReader *reader, const EventRecord *record, Batch *batch, Event *ret,
                        bool *ret_done, Error *err)
{
    Reader in;
    Envelope envelope = {0};
    EventPlan *plan = plan_of_frame(reader, record, false, &in, err);
    if (!plan)
        return false;
    *ret_done = true;
    if (!plan->covers) {
        ret->kind = EVENT_SCHEMA;
        return true;
    }
    for (uint32_t i = 0; i < plan->envelope->child_count; i++)
        if (!avro_part(reader, &in, plan, i, batch, &envelope, ret))
            return false;
    if (reader_left(&in))
        return decode_bad(&reader->decode, "goes on behind its end");
    return finish(reader, plan, &envelope, batch, ret);
}

/* Rows of one key are in one partition, in order. */
static bool check_key(const EventReader *reader, const EventRecord *record, Error *err)
{
    if (!reader->declared || !reader->key_count ||
        key_is_of(record, reader->keys, reader->key_count))
        return true;
    Bytes names = {0};
    for (size_t i = 0; i < reader->key_count; i++) {
        bytes_put(&names, i ? ", " : "", i ? 2 : 0);
        bytes_put(&names, reader->keys[i], strlen(reader->keys[i]));
    }
    bytes_put_u8(&names, 0);
    error_set(err, ERROR_CONFIG, "KeyDiffers",
              "partition %u offset %llu: the record's key is no JSON object of just the idColumns "
              "(%.200s), by which rows are in order: name there what the records are keyed by, "
              "or have them keyed so (message.key.columns)",
              record->partition, (unsigned long long)record->offset, (const char *)names.data);
    bytes_done(&names);
    return false;
}

static bool decode_json(EventReader *reader, const EventRecord *record, Batch *batch, Event *ret,
                        bool *ret_done, Error *err)
{
    Scan *json = &reader->json;
    Envelope envelope = {0};
    bool wrapped;
    json->at = (const char *)record->value;
    json->end = json->at + record->value_bytes;
    json->why = NULL;
    EventPlan *plan = plan_of_json(reader, record, &wrapped, err);
    if (!plan)
        return false;
    *ret_done = true;
    if (!plan->covers) {
        ret->kind = EVENT_SCHEMA;
        return true;
    }
    if (!json_envelope(reader, plan, batch, &envelope, ret))
        return false;
    if (wrapped && !scan_is(json, '}'))
        return decode_bad(&reader->decode, "goes on behind its payload");
    if (scan_peek(json) || json->at != json->end)
        return decode_bad(&reader->decode, "goes on behind its end");
    if (!finish(reader, plan, &envelope, batch, ret))
        return false;
    *ret_done = ret->kind != EVENT_ROW || check_key(reader, record, err);
    return *ret_done;
}

/* Plain JSON was looked at before. */
static bool select_row(EventReader *reader, Event *event)
{
    if (LIKELY(event->kind != EVENT_ROW || !reader->selection.route_count ||
               (reader->plain && reader->format == EVENT_JSON)))
        return true;
    Selected selected = selection_judge(&reader->selection, &reader->decode, !reader->plain);
    event->unrouted = selected == SELECTED_GONE;
    if (selected != SELECTED_TAKEN && selected != SELECTED_GONE)
        event->kind = selected == SELECTED_UNROUTED ? EVENT_UNROUTED : EVENT_NOTHING;
    return selected != SELECTED_BAD;
}

bool event_decode(EventReader *reader, const EventRecord *record, Batch *batch, Event *ret,
                  Error *err)
{
    Decode *decode = &reader->decode;
    uint32_t rows = batch->row_count;
    uint8_t kind = KIND_ROW;
    bool done = false;
    ASSERT(reader->target == batch->schema);
    *ret = (Event){.at = {record->offset, record->partition}};
    decode->why = NULL;
    decode->field = NULL;
    decode->unchanged = NULL;
    decode->has_unchanged = false;
    decode->batch = batch;
    if (record->header && !take_header(reader, record, ret, &kind))
        return bad_record(record, "has a header `firn` that can't be read", err) != NULL;
    if (reader->declared)
        decode->unchanged = NULL; /* it counts the writer's columns, and these are others */
    if (kind == KIND_TRUNCATE || kind == KIND_COPIED || kind == KIND_EPOCH) {
        ret->kind = kind == KIND_TRUNCATE ? EVENT_TRUNCATE
                    : kind == KIND_COPIED ? EVENT_COPIED
                                          : EVENT_LANES;
        return true;
    }
    if (kind == KIND_TOMBSTONE || (!record->value && !reader->plain))
        return true;
    bool ok = reader->plain                  ? decode_plain(reader, record, batch, ret, &done, err)
              : reader->format == EVENT_AVRO ? decode_avro(reader, record, batch, ret, &done, err)
                                             : decode_json(reader, record, batch, ret, &done, err);
    ok = ok && select_row(reader, ret);
    if (!ok || ret->kind != EVENT_ROW)
        while (batch->row_count > rows)
            batch_row_undo(batch);
    return ok || (done && bad_value(reader, record, err));
}

/* --- what columns there are --- */

static bool avro_keys(EventReader *reader, const EventRecord *record, char **keys, size_t *count,
                      Error *err)
{
    if (!record->key)
        return true;
    Reader in = reader_over(record->key, record->key_bytes);
    uint8_t magic;
    uint32_t id;
    WriterSchema writer = {0};
    if (!reader_u8(&in, &magic) || magic || !reader_u32be(&in, &id))
        return true; /* it has none, or one of another format */
    if (!reader->fetch(reader->fetch_context, id, &writer, err))
        return false;
    json_t *json = json_loads(writer.text, 0, NULL);
    writer_schema_done(&writer);
    const json_t *fields = json_object_get(json, "fields");
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(fields, i), "name"));
        if (name)
            key_add(keys, count, name, strlen(name));
    }
    json_decref(json);
    return true;
}

static EventPlan *plan_of(EventReader *reader, const EventRecord *record, bool *ret_known,
                          Error *err)
{
    Reader in;
    bool wrapped;
    if (reader->format != EVENT_JSON)
        return plan_of_frame(reader, record, false, &in, err);
    reader->json.at = (const char *)record->value;
    reader->json.end = reader->json.at + record->value_bytes;
    EventPlan *plan = plan_of_json(reader, record, &wrapped, err);
    *ret_known = plan == &reader->fixed;
    return plan;
}

bool event_wanted(EventReader *reader, const EventRecord *record, Schema **ret, Error *err)
{
    Event head = {0};
    uint8_t kind = KIND_ROW;
    bool known = false;
    char *keys[KEYS_MAX];
    size_t count = 0;
    *ret = NULL;
    if (record && record->header && !take_header(reader, record, &head, &kind))
        return bad_record(record, "has a header `firn` that can't be read", err) != NULL;
    if (record && (kind != KIND_ROW || !record->value))
        return true;
    ASSERT(record || reader->has_fixed);
    known = !record;
    EventPlan *plan = record ? plan_of(reader, record, &known, err) : &reader->fixed;
    if (!plan)
        return false;
    bool ok = true;
    if (known)
        for (size_t i = 0; i < reader->key_count; i++)
            key_add(keys, &count, reader->keys[i], strlen(reader->keys[i]));
    else if (reader->plain)
        ok = true; /* which columns are the key is the caller's to say */
    else if (reader->format == EVENT_AVRO)
        ok = avro_keys(reader, record, keys, &count, err);
    else
        key_names(record, keys, &count);
    if (ok)
        *ret = event_plan_schema(plan, keys, count, err);
    while (count)
        free(keys[--count]);
    return *ret != NULL;
}
