/* Keys that are declared (spec.stream.records.keyColumns) in place of the tables' own. A name of
 * the manifest is a column as the source has it now; from then on it is known by its origin, so
 * that a renamed column stays the key until the next start, which has to be told the new name.
 *
 * The capture is asked for what it takes to know a row by both keys: an update that changes a
 * column of either comes as a row that moves, with the old one's values. So each record of a key
 * is in that key's partition, deletions too.
 *
 * Another key would put what a key has already into partitions where nobody looks for what comes
 * later: it is taken up where the table's rows are sent anew, and nowhere else. */
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "common/mem.h"

#define FIELD "spec.stream.records.keyColumns"

static const KeyColumns *declared(const RelayFlow *flow, const RelayTable *table)
{
    const KeyColumnsList *keys = &flow->stream->records.keys;
    for (size_t i = 0; i < keys->count; i++)
        if (manifest_pattern_matches(keys->items[i].table, table->name))
            return &keys->items[i];
    return NULL;
}

static bool is_own_key(const Schema *schema, const int32_t *origins, size_t count)
{
    for (size_t i = 0; i < count && count == schema->key_count; i++)
        if (schema->fields[schema->key[i]].origin != origins[i])
            return false;
    return count == schema->key_count;
}

static bool has_origin(const int32_t *origins, size_t count, int32_t origin)
{
    for (size_t i = 0; i < count; i++)
        if (origins[i] == origin)
            return true;
    return false;
}

static void identify(const RelayFlow *flow, const RelayTable *table)
{
    const Schema *schema = table->source->schema;
    size_t count = table->key_count;
    AUTO(mem_free) int32_t *both = mem_array(count + schema->key_count, sizeof *both);
    memcpy(both, table->key, count * sizeof *both);
    for (size_t i = 0; i < schema->key_count; i++) {
        int32_t origin = schema->fields[schema->key[i]].origin;
        if (!has_origin(table->key, table->key_count, origin))
            both[count++] = origin;
    }
    capture_identify(flow->capture, table->number, both, count);
}

bool relay_key_declare(RelayFlow *flow, RelayTable *table, Error *err)
{
    const KeyColumns *key = declared(flow, table);
    const Schema *schema = table->source->schema;
    if (!key)
        return true;
    size_t count = key->columns.count;
    AUTO(mem_free) int32_t *origins = mem_array(count, sizeof *origins);
    for (size_t i = 0; i < count; i++) {
        int at = schema_find(schema, key->columns.texts[i]);
        if (at < 0)
            return error_set(err, ERROR_CONFIG, "UnknownColumn",
                             "table %s has no column \"%s\", which " FIELD " names: write the "
                             "columns' names as the source has them now",
                             table->name, key->columns.texts[i]);
        origins[i] = schema->fields[at].origin;
    }
    if (is_own_key(schema, origins, count))
        return true;
    table->key = TAKE(origins);
    table->key_count = count;
    identify(flow, table);
    return true;
}

bool relay_key_fields(const RelayTable *table, const Schema *schema, uint32_t **ret, Error *err)
{
    *ret = NULL;
    if (!table->key_count)
        return true;
    AUTO(mem_free) uint32_t *fields = mem_array(table->key_count, sizeof *fields);
    for (size_t i = 0; i < table->key_count; i++) {
        size_t at = 0;
        while (at < schema->field_count && schema->fields[at].origin != table->key[i])
            at++;
        if (at == schema->field_count)
            return error_set(err, ERROR_CONFIG, "KeyChanged",
                             "table %s: a column is gone which " FIELD " names: name others, and "
                             "load the table again with --resnapshot %s",
                             table->name, table->name);
        fields[i] = (uint32_t)at;
    }
    *ret = TAKE(fields);
    return true;
}

bool relay_key_tells_rows(const RelayTable *table)
{
    const Schema *schema = table->source->schema;
    for (size_t i = 0; i < schema->key_count && table->key_count; i++)
        if (!has_origin(table->key, table->key_count, schema->fields[schema->key[i]].origin))
            return false;
    return schema->key_count > 0;
}

static bool is_keyed_so(const RelayTable *table)
{
    const TableState *state = table->state;
    return state->key_count == table->key_count &&
           (!state->key_count ||
            memcmp(state->key, table->key, state->key_count * sizeof *state->key) == 0);
}

bool relay_key_take_up(RelayTable *table, Error *err)
{
    TableState *state = table->state;
    if (is_keyed_so(table))
        return true;
    if (!table->begins)
        return error_set(err, ERROR_CONFIG, "TopicRekeyed",
                         "table %s: its records were keyed by other columns than " FIELD " names "
                         "now: change that back, or load the table again with --resnapshot %s",
                         table->name, table->name);
    free(state->key);
    state->key = mem_array(table->key_count, sizeof *state->key);
    state->key_count = table->key_count;
    for (size_t i = 0; i < table->key_count; i++)
        state->key[i] = table->key[i];
    return true;
}
