#include "agent/relay/state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/topic/envelope.h"
#include "common/json/text.h"
#include "common/mem.h"

#define PAST_MAX 16u
#define STATE_VERSION 1
#define POSITION_KEY "position"
#define TABLE_KEY "table/"
#define PLACE_BYTES 48

/* ---------- in memory ---------- */
static void version_done(ColumnsVersion *columns)
{
    free(columns->shape);
    free(columns->value_schema);
    free(columns->key_schema);
}

static void columns_done(TableState *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        version_done(&table->columns[i]);
    free(table->columns);
    table->columns = NULL;
    table->column_count = 0;
}

static void growths_done(TableState *table)
{
    for (size_t i = 0; i < table->grown_count; i++)
        free(table->grown[i].ends);
    free(table->grown);
    table->grown = NULL;
    table->grown_count = 0;
}

static void table_free(TableState *table)
{
    columns_done(table);
    growths_done(table);
    free(table->name);
    free(table->topic);
    free(table->key);
    free(table->progress);
    free(table->again_id);
    free(table->again_after);
    for (size_t i = 0; i < table->again_past_count; i++)
        free(table->again_past[i]);
    free(table->again_past);
    free(table);
}

void state_done(State *state)
{
    for (size_t i = 0; i < state->table_count; i++)
        table_free(state->tables[i]);
    free(state->tables);
    free(state->connector);
    free(state->anchor);
    *state = (State){0};
}

TableState *state_table(State *state, const char *name)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (strcmp(state->tables[i]->name, name) == 0)
            return state->tables[i];
    return NULL;
}

TableState *state_add(State *state, const char *name, const char *topic)
{
    ASSERT(!state_table(state, name));
    TableState *table = mem_zalloc(sizeof *table);
    table->name = mem_strdup(name);
    table->topic = mem_strdup(topic);
    state->tables = mem_regrow(state->tables, state->table_count + 1, sizeof(TableState *));
    state->tables[state->table_count++] = table;
    return table;
}

static void state_drop(State *state, const char *name)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (strcmp(state->tables[i]->name, name) == 0) {
            table_free(state->tables[i]);
            state->tables[i] = state->tables[--state->table_count];
            return;
        }
}

/* ---------- a table's columns ---------- */
static void columns_add(TableState *table, uint32_t version, RowPosition from, const char *shape)
{
    table->columns = mem_regrow(table->columns, table->column_count + 1, sizeof *table->columns);
    table->columns[table->column_count++] =
        (ColumnsVersion){.version = version, .from = from, .shape = mem_strdup(shape)};
}

const ColumnsVersion *table_state_columns(const TableState *table, RowPosition at)
{
    const ColumnsVersion *found = NULL;
    for (size_t i = 0; i < table->column_count; i++)
        if (row_position_compare(table->columns[i].from, at) <= 0)
            found = &table->columns[i];
    return found;
}

const ColumnsVersion *table_state_learn(TableState *table, RowPosition from, const char *shape)
{
    uint32_t version = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        const ColumnsVersion *known = &table->columns[i];
        if (row_position_compare(known->from, from) == 0 && strcmp(known->shape, shape) == 0)
            return known;
        version = known->version > version ? known->version : version;
    }
    /* What stood behind it was learnt in a life whose end is forgotten. */
    while (table->column_count &&
           row_position_compare(table->columns[table->column_count - 1].from, from) >= 0)
        version_done(&table->columns[--table->column_count]);
    columns_add(table, version + 1, from, shape);
    return &table->columns[table->column_count - 1];
}

static char *copy_of(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

void table_state_describe(TableState *table, uint32_t version, const char *value_schema,
                          const char *key_schema)
{
    for (size_t i = 0; i < table->column_count; i++) {
        ColumnsVersion *columns = &table->columns[i];
        if (columns->version != version)
            continue;
        free(columns->value_schema);
        free(columns->key_schema);
        columns->value_schema = copy_of(value_schema);
        columns->key_schema = copy_of(key_schema);
    }
}

void table_state_forget(TableState *table, RowPosition at)
{
    const ColumnsVersion *needed = table_state_columns(table, at);
    size_t old = needed ? (size_t)(needed - table->columns) : 0;
    for (size_t i = 0; i < old; i++)
        version_done(&table->columns[i]);
    table->column_count -= old;
    if (old)
        memmove(table->columns, table->columns + old, table->column_count * sizeof *needed);
}

bool table_state_is_done(const TableState *table, const char *id)
{
    for (size_t i = 0; i < table->again_past_count; i++)
        if (strcmp(table->again_past[i], id) == 0)
            return true;
    return table->again_id && strcmp(table->again_id, id) == 0 && table->again_done;
}

static void add_past(TableState *table, const char *id)
{
    if (table->again_past_count == PAST_MAX) {
        free(table->again_past[0]);
        memmove(table->again_past, table->again_past + 1,
                (PAST_MAX - 1) * sizeof *table->again_past);
        table->again_past_count--;
    }
    table->again_past =
        mem_regrow(table->again_past, table->again_past_count + 1, sizeof *table->again_past);
    table->again_past[table->again_past_count++] = mem_strdup(id);
}

void table_state_again(TableState *table, const char *id, const char *after, bool done)
{
    char *new_id = mem_strdup(id), *new_after = after ? mem_strdup(after) : NULL;
    if (table->again_id && table->again_done && strcmp(table->again_id, id) != 0)
        add_past(table, table->again_id);
    free(table->again_id);
    free(table->again_after);
    table->again_id = new_id;
    table->again_after = new_after;
    table->again_done = done;
}

void table_state_begin(TableState *table, RowPosition at, const char *shape)
{
    uint32_t version = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].version > version)
            version = table->columns[i].version;
    columns_done(table);
    columns_add(table, version + 1, at, shape);
    free(table->progress);
    table->progress = NULL;
    table->complete = false;
    table->begun = at;
}

/* ---------- a topic's partitions ---------- */
static void growth_add(TableState *table, Growth growth)
{
    table->grown = mem_regrow(table->grown, table->grown_count + 1, sizeof *table->grown);
    table->grown[table->grown_count++] = growth;
}

void table_state_grown(TableState *table, uint64_t *ends)
{
    ASSERT(table->grows);
    growth_add(table, (Growth){table->partitions, table->grows_at, ends});
    table->partitions = table->grows;
    table->grows = 0;
}

void table_state_partitions(TableState *table, uint32_t partitions)
{
    growths_done(table);
    table->grows = 0;
    table->partitions = partitions;
}

RowPosition table_state_acknowledged(const TableState *table)
{
    return table->grows         ? table->grows_at
           : table->grown_count ? table->grown[table->grown_count - 1].at
                                : (RowPosition){0};
}

/* ---------- records ---------- */
static const char *place_format(RowPosition at, char ret[PLACE_BYTES])
{
    snprintf(ret, PLACE_BYTES, "%" PRIu64 ".%" PRIu64, at.major, at.minor);
    return ret;
}

static bool place_parse(const char *text, RowPosition *ret)
{
    char more;
    return text && sscanf(text, "%" SCNu64 ".%" SCNu64 "%c", &ret->major, &ret->minor, &more) == 2;
}

static TopicSpan append(TopicRecords *to, const char *text)
{
    TopicSpan span = {to->bytes.used, strlen(text)};
    bytes_put(&to->bytes, text, span.bytes);
    return span;
}

static void put(const char *key, json_t *value, TopicRecords *to)
{
    ASSERT(value);
    AUTO(mem_free) char *text = json_text(value, JSON_COMPACT);
    json_decref(value);
    TopicRecord *record = topic_record_add(to);
    record->key = append(to, key);
    record->value = append(to, text);
}

void state_put_position(const char *connector, const Position *position, const char *anchor,
                        TopicRecords *to)
{
    char text[POSITION_TEXT_BYTES];
    put(POSITION_KEY,
        json_pack("{s:i,s:s,s:s,s:s*}", "version", STATE_VERSION, "connector", connector,
                  "position", position_format(position, text), "anchor", anchor),
        to);
}

static void put_schema(json_t *to, const char *name, const char *schema)
{
    if (schema)
        json_object_set_new(to, name, json_loads(schema, 0, NULL));
}

static json_t *put_grown(const TableState *table)
{
    char place[PLACE_BYTES];
    json_t *grown = table->grown_count ? json_array() : NULL;
    for (size_t i = 0; i < table->grown_count; i++) {
        const Growth *each = &table->grown[i];
        json_t *ends = json_array();
        for (uint32_t k = 0; k < each->partitions; k++)
            json_array_append_new(ends, json_integer((json_int_t)each->ends[k]));
        json_array_append_new(grown,
                              json_pack("{s:I,s:s,s:o}", "partitions", (json_int_t)each->partitions,
                                        "at", place_format(each->at, place), "ends", ends));
    }
    return grown;
}

void state_put_table(const TableState *table, TopicRecords *to)
{
    char place[PLACE_BYTES];
    json_t *grows = table->grows ? json_pack("{s:I,s:s}", "partitions", (json_int_t)table->grows,
                                             "at", place_format(table->grows_at, place))
                                 : NULL;
    json_t *columns = json_array();
    for (size_t i = 0; i < table->column_count; i++) {
        const ColumnsVersion *each = &table->columns[i];
        json_t *shape = json_loads(each->shape, 0, NULL);
        json_t *json = json_pack("{s:i,s:s,s:o}", "version", (int)each->version, "from",
                                 place_format(each->from, place), "shape", shape);
        put_schema(json, "value", each->value_schema);
        put_schema(json, "key", each->key_schema);
        json_array_append_new(columns, json);
    }
    json_t *again = table->again_id ? json_pack("{s:s,s:s?,s:b}", "id", table->again_id, "after",
                                                table->again_after, "done", (int)table->again_done)
                                    : NULL;
    json_t *past = table->again_past_count ? json_array() : NULL;
    for (size_t i = 0; i < table->again_past_count; i++)
        json_array_append_new(past, json_string(table->again_past[i]));
    json_t *keyed = table->key_count ? json_array() : NULL;
    for (size_t i = 0; i < table->key_count; i++)
        json_array_append_new(keyed, json_integer(table->key[i]));
    AUTO(mem_free) char *key = mem_format(TABLE_KEY "%s", table->name);
    put(key,
        json_pack("{s:i,s:s,s:I,s:o*,s:o*,s:o*,s:s,s:s,s:o,s:o*,s:o*}", "version", STATE_VERSION,
                  "topic", table->topic, "partitions", (json_int_t)table->partitions, "grown",
                  put_grown(table), "grows", grows, "key", keyed, "begun",
                  place_format(table->begun, place), "copy",
                  table->complete   ? "complete"
                  : table->progress ? table->progress
                                    : "",
                  "columns", columns, "again", again, "done", past),
        to);
}

static bool bad(const char *key, const char *why, Error *err)
{
    return error_set(err, ERROR_CONFIG, "BadState",
                     "the state's record %.100s: %s; when nothing else mends it, delete the topic "
                     "and load the tables again with --resnapshot '*.*'",
                     key, why);
}

static bool take_position(State *state, const char *key, json_t *value, Error *err)
{
    const char *connector = json_string_value(json_object_get(value, "connector"));
    const char *text = json_string_value(json_object_get(value, "position"));
    if (!connector || !text || !position_parse(text, &state->position, err))
        return bad(key, "it has no position", err);
    const char *anchor = json_string_value(json_object_get(value, "anchor"));
    free(state->connector);
    free(state->anchor);
    state->connector = mem_strdup(connector);
    state->anchor = anchor ? mem_strdup(anchor) : NULL;
    state->anchored = state->position.at;
    return true;
}

static char *take_schema(const json_t *columns, const char *name)
{
    const json_t *schema = json_object_get(columns, name);
    return json_is_object(schema) ? json_text(schema, JSON_COMPACT) : NULL;
}

static bool take_columns(TableState *table, json_t *columns)
{
    size_t i;
    json_t *each;
    json_array_foreach(columns, i, each)
    {
        json_int_t version = json_integer_value(json_object_get(each, "version"));
        RowPosition from;
        json_t *shape = json_object_get(each, "shape");
        if (version <= 0 || version > UINT32_MAX || !json_is_object(shape) ||
            !place_parse(json_string_value(json_object_get(each, "from")), &from))
            return false;
        AUTO(mem_free) char *text = json_text(shape, JSON_COMPACT);
        columns_add(table, (uint32_t)version, from, text);
        ColumnsVersion *added = &table->columns[table->column_count - 1];
        added->value_schema = take_schema(each, "value");
        added->key_schema = take_schema(each, "key");
    }
    return table->column_count > 0;
}

static bool take_key(TableState *table, const json_t *key)
{
    size_t count = json_array_size(key);
    if (!count)
        return !key;
    table->key = mem_array(count, sizeof *table->key);
    for (size_t i = 0; i < count; i++) {
        const json_t *each = json_array_get(key, i);
        json_int_t origin = json_integer_value(each);
        if (!json_is_integer(each) || origin < INT32_MIN || origin > INT32_MAX)
            return false;
        table->key[table->key_count++] = (int32_t)origin;
    }
    return true;
}

/* 0: there is no number that can be one of partitions. */
static uint32_t take_partitions(const json_t *of)
{
    json_int_t number = json_integer_value(json_object_get(of, "partitions"));
    return number > 0 && number <= INT32_MAX ? (uint32_t)number : 0;
}

static bool take_grown(TableState *table, const json_t *value)
{
    const json_t *grows = json_object_get(value, "grows");
    table->grows = take_partitions(grows);
    if (grows && (!table->grows ||
                  !place_parse(json_string_value(json_object_get(grows, "at")), &table->grows_at)))
        return false;
    size_t i, k;
    json_t *each, *end;
    json_array_foreach(json_object_get(value, "grown"), i, each)
    {
        const json_t *ends = json_object_get(each, "ends");
        Growth growth = {.partitions = take_partitions(each)};
        if (!growth.partitions || json_array_size(ends) != growth.partitions ||
            !place_parse(json_string_value(json_object_get(each, "at")), &growth.at))
            return false;
        growth.ends = mem_array(growth.partitions, sizeof *growth.ends);
        json_array_foreach(ends, k, end) growth.ends[k] = (uint64_t)json_integer_value(end);
        growth_add(table, growth);
    }
    return true;
}

static bool take_table(State *state, const char *key, json_t *value, Error *err)
{
    const char *name = key + strlen(TABLE_KEY);
    const char *topic = json_string_value(json_object_get(value, "topic"));
    const char *copy = json_string_value(json_object_get(value, "copy"));
    RowPosition begun;
    if (!topic || !copy || !place_parse(json_string_value(json_object_get(value, "begun")), &begun))
        return bad(key, "it lacks a member", err);
    state_drop(state, name);
    TableState *table = state_add(state, name, topic);
    table->begun = begun;
    table->partitions = take_partitions(value);
    table->complete = strcmp(copy, "complete") == 0;
    table->progress = table->complete ? NULL : mem_strdup(copy);
    if (!take_key(table, json_object_get(value, "key")))
        return bad(key, "its key can't be read", err);
    if (!take_grown(table, value))
        return bad(key, "its partitions can't be read", err);
    json_t *again = json_object_get(value, "again");
    const char *id = json_string_value(json_object_get(again, "id"));
    const json_t *past = json_object_get(value, "done");
    for (size_t i = 0; i < json_array_size(past) && i < PAST_MAX; i++)
        if (json_is_string(json_array_get(past, i)))
            add_past(table, json_string_value(json_array_get(past, i)));
    if (id)
        table_state_again(table, id, json_string_value(json_object_get(again, "after")),
                          json_is_true(json_object_get(again, "done")));
    return take_columns(table, json_object_get(value, "columns")) ||
           bad(key, "its columns can't be read", err);
}

bool state_take(State *state, const void *key, size_t key_bytes, const void *value,
                size_t value_bytes, Error *err)
{
    AUTO(mem_free) char *name = mem_strndup(key ? key : "", key ? key_bytes : 0);
    bool is_table = strncmp(name, TABLE_KEY, strlen(TABLE_KEY)) == 0;
    if (!is_table && strcmp(name, POSITION_KEY) != 0)
        return true; /* of a later version */
    if (!value) {
        if (is_table)
            state_drop(state, name + strlen(TABLE_KEY));
        return true;
    }
    json_t *json = json_loadb(value, value_bytes, 0, NULL);
    bool ok = json_integer_value(json_object_get(json, "version")) == STATE_VERSION ||
              bad(name, "it is none of this version of Firn", err);
    ok = ok &&
         (is_table ? take_table(state, name, json, err) : take_position(state, name, json, err));
    json_decref(json);
    return ok;
}
