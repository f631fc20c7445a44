/* What was confirmed to the source, written beside the warehouse before it is confirmed (law 2):
 *
 *   <warehouse>/_firn/<namespace>.<connector>.json
 *   {"connector": "retail/shop", "position": "<position>", "anchor": "…" (capture_anchor, or none),
 *    "tables": {"public.orders": {"uuid": "…", "snapshot": 1, "sequence": 1,
 *                                 "position": "<position>"}, …}}
 *
 * A table behind its entry was rolled back, or dropped and made anew: what the source was told is
 * gone, and it will never be sent again. A table at its entry counts as being at the record's
 * position: it was idle. */
#include <string.h>

#include "agent/pipeline/flow.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/crash.h"
#include "common/json/text.h"
#include "common/mem.h"

#define RECORD_BYTES_MAX ((size_t)64 << 20)

static json_t *entries_by_uuid(const json_t *record)
{
    json_t *found = json_object(), *entry;
    const char *name;
    json_object_foreach(json_object_get(record, "tables"), name, entry)
    {
        const char *uuid = json_string_value(json_object_get(entry, "uuid"));
        if (uuid)
            json_object_set(found, uuid, entry);
    }
    return found;
}

bool record_load(Warehouse *warehouse, Error *err)
{
    json_decref(warehouse->record);
    json_decref(warehouse->by_uuid);
    warehouse->record = warehouse->by_uuid = NULL;
    Bytes text = {0};
    bool ok = store_get_tagged(warehouse->lake->store, warehouse->record_uri, RECORD_BYTES_MAX,
                               &text, &warehouse->record_tag, err);
    if (ok && warehouse->record_tag.text[0]) {
        json_error_t where;
        warehouse->record = json_loadb((const char *)text.data, text.used, 0, &where);
        if (!json_is_object(json_object_get(warehouse->record, "tables")) ||
            !json_is_string(json_object_get(warehouse->record, "position")))
            ok = error_set(err, ERROR_CONFIG, "BadRecord",
                           "%s is not a confirmed record (%s); restore it, or remove it if the "
                           "tables are known "
                           "to be whole",
                           warehouse->record_uri,
                           warehouse->record ? "fields are missing" : where.text);
    }
    bytes_done(&text);
    if (ok)
        warehouse->by_uuid = entries_by_uuid(warehouse->record);
    return ok;
}

/* By the source's name, or, where that is another by now, by the lake's table once it is open. */
static json_t *entry_of(const BoundTable *table)
{
    json_t *tables = json_object_get(table->warehouse->record, "tables");
    json_t *entry = json_object_get(tables, table->name);
    return entry || !table->table
               ? entry
               : json_object_get(table->warehouse->by_uuid, table_uuid(table->table));
}

bool record_entry(const BoundTable *table, RecordEntry *ret, Position *ret_entry_position,
                  Position *ret_recorded)
{
    const json_t *entry = entry_of(table);
    const char *recorded = json_string_value(json_object_get(table->warehouse->record, "position"));
    const char *at = json_string_value(json_object_get(entry, "position"));
    const char *uuid = json_string_value(json_object_get(entry, "uuid"));
    *ret = (RecordEntry){0};
    if (!recorded || !position_parse(recorded, ret_recorded, NULL))
        *ret_recorded = (Position){0};
    if (!at || !uuid || !position_parse(at, ret_entry_position, NULL))
        return false;
    snprintf(ret->uuid, sizeof ret->uuid, "%s", uuid);
    ret->snapshot = json_integer_value(json_object_get(entry, "snapshot"));
    ret->sequence = json_integer_value(json_object_get(entry, "sequence"));
    ret->source = ret_entry_position->source;
    ret->at = ret_entry_position->at;
    return true;
}

const char *record_anchor(const BoundTable *table)
{
    return json_string_value(json_object_get(table->warehouse->record, "anchor"));
}

static bool write_one(Flow *flow, Warehouse *warehouse, const char *position, const char *anchor,
                      Error *err)
{
    json_t *tables = json_object();
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < flow->table_count; i++) {
        const BoundTable *table = &flow->tables[i];
        const RecordEntry *entry = &flow->entries[i];
        if (table->warehouse != warehouse || !entry->uuid[0])
            continue;
        Position at = position_of(entry->source, entry->at);
        char text[POSITION_TEXT_BYTES];
        json_object_set_new(tables, table->name,
                            json_pack("{s:s,s:I,s:I,s:s}", "uuid", entry->uuid, "snapshot",
                                      (json_int_t)entry->snapshot, "sequence",
                                      (json_int_t)entry->sequence, "position",
                                      position_format(&at, text)));
    }
    pthread_mutex_unlock(&flow->lock);
    json_t *record = json_pack("{s:s,s:s,s:s*,s:o}", "connector", flow->pipeline->base.name,
                               "position", position, "anchor", anchor, "tables", tables);
    ASSERT(record);
    char *text = json_text(record, JSON_INDENT(1) | JSON_SORT_KEYS);
    ASSERT(text);
    bool ok = store_put_tagged(warehouse->lake->store, warehouse->record_uri, text, strlen(text),
                               &warehouse->record_tag, err);
    free(text);
    json_decref(record);
    return ok;
}

bool record_write(Flow *flow, RowPosition durable, Error *err)
{
    Position position = position_of(capture_source(flow->capture), durable);
    char text[POSITION_TEXT_BYTES];
    position_format(&position, text);
    AUTO(mem_free) char *anchor = capture_anchor(flow->capture, durable);
    CRASH_POINT("record-before");
    for (size_t i = 0; i < flow->warehouse_count; i++)
        if (!write_one(flow, flow->warehouses[i], text, anchor, err))
            return error_wrap(err, "confirmed record");
    CRASH_POINT("record-written");
    return true;
}

bool record_read(Flow *flow, RowPosition *ret, Error *err)
{
    *ret = (RowPosition){UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < flow->warehouse_count; i++) {
        Position position = {0};
        if (!record_load(flow->warehouses[i], err))
            return error_wrap(err, "confirmed record");
        const char *text =
            json_string_value(json_object_get(flow->warehouses[i]->record, "position"));
        if (text && !position_parse(text, &position, err))
            return error_wrap(err, "confirmed record");
        if (row_position_compare(position.at, *ret) < 0)
            *ret = position.at;
    }
    return true;
}
