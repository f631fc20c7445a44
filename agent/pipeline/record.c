/* What was confirmed to the source, written beside the warehouse before it is confirmed (law 2):
 *
 *   <warehouse>/_firn/<namespace>.<connector>.json
 *   {"connector": "retail/shop", "position": "<position>",
 *    "tables": {"public.orders": {"uuid": "…", "snapshot": 1, "position": "<position>"}, …}}
 *
 * A table behind its entry was rolled back, or dropped and made anew: what the source was told is
 * gone, and it will never be sent again. A table at its entry counts as being at the record's
 * position: it was idle. */
#include <string.h>

#include "agent/pipeline/flow.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/crash.h"
#include "common/mem.h"

#define RECORD_BYTES_MAX ((size_t)64 << 20)

bool record_load(Warehouse *warehouse, Error *err)
{
    bool exists;
    if (!store_exists(warehouse->lake->store, warehouse->record_uri, &exists, err))
        return false;
    if (!exists)
        return true;
    Bytes text = {0};
    bool ok =
        store_get(warehouse->lake->store, warehouse->record_uri, RECORD_BYTES_MAX, &text, err);
    if (ok) {
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
    return ok;
}

bool pipeline_resnapshots(const Pipeline *pipeline, const char *table_name)
{
    const TextList *list = pipeline->options.resnapshot;
    for (size_t i = 0; list && i < list->count; i++)
        if (manifest_pattern_matches(list->texts[i], table_name))
            return true;
    return false;
}

static json_t *entry_of(const BoundTable *table)
{
    return json_object_get(json_object_get(table->warehouse->record, "tables"), table->name);
}

/* Before the table is opened (which would make a missing one): is it still the one that was
 * confirmed? */
bool record_check(Flow *flow, BoundTable *table, Error *err)
{
    const json_t *entry = entry_of(table);
    if (!entry || pipeline_resnapshots(flow->pipeline, table->name))
        return true;
    AUTO(mem_free) char *location = NULL;
    if (!lake_location(table->warehouse->lake, table->spec, &location, err))
        return false;
    TableName name = {table->spec->database, table->spec->table_name, location};
    AUTO(iceberg_table_free) IcebergTable *found = NULL;
    if (!iceberg_table_load(table->warehouse->lake->catalog, &name, &found, err))
        return false;
    const char *uuid = json_string_value(json_object_get(entry, "uuid"));
    if (!found || !uuid || strcmp(iceberg_uuid(found), uuid) != 0)
        return error_set(
            err, ERROR_CONFIG, "TableDropped",
            "%s.%s was %s after rows of it were confirmed to the source; put it back, or load it "
            "again with --resnapshot %s",
            table->spec->database, table->spec->table_name, found ? "made anew" : "dropped",
            table->name);
    return true;
}

RowPosition record_position(const BoundTable *table)
{
    RowPosition at = table->committed.at;
    const char *text = json_string_value(json_object_get(table->warehouse->record, "position"));
    Position recorded;
    if (entry_of(table) && text && position_parse(text, &recorded, NULL) &&
        position_compare(&recorded, &table->committed) == POSITION_AFTER)
        at = recorded.at;
    return at;
}

/* After the table is opened: it must not be behind its entry. */
bool record_table_behind(const Flow *flow, const BoundTable *table, Error *err)
{
    const char *text = json_string_value(json_object_get(entry_of(table), "position"));
    Position recorded;
    if (!text || pipeline_resnapshots(flow->pipeline, table->name) ||
        !position_parse(text, &recorded, NULL))
        return true;
    PositionOrder order = position_compare(&table->committed, &recorded);
    if (table->complete && (order == POSITION_EQUAL || order == POSITION_AFTER))
        return true;
    char has[POSITION_TEXT_BYTES];
    return error_set(err, ERROR_CONFIG, "RolledBack",
                     "the table stands at %s, but %s was confirmed to the source; roll it forward, "
                     "or load it again with --resnapshot %s",
                     table->complete ? position_format(&table->committed, has) : "no position",
                     text, table->name);
}

static bool write_one(Flow *flow, Warehouse *warehouse, const char *position, Error *err)
{
    json_t *tables = json_object();
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < flow->table_count; i++) {
        const BoundTable *table = &flow->tables[i];
        if (table->warehouse != warehouse)
            continue;
        char text[POSITION_TEXT_BYTES];
        json_object_set_new(tables, table->name,
                            json_pack("{s:s,s:I,s:s}", "uuid", table->uuid, "snapshot",
                                      (json_int_t)table->snapshot, "position",
                                      position_format(&table->committed, text)));
    }
    pthread_mutex_unlock(&flow->lock);
    json_t *record = json_pack("{s:s,s:s,s:o}", "connector", flow->pipeline->name, "position",
                               position, "tables", tables);
    ASSERT(record);
    char *text = json_dumps(record, JSON_INDENT(1) | JSON_SORT_KEYS);
    ASSERT(text);
    bool ok = store_put(warehouse->lake->store, warehouse->record_uri, text, strlen(text), err);
    free(text);
    json_decref(record);
    return ok;
}

bool record_write(Flow *flow, RowPosition durable, Error *err)
{
    Position position = position_of(capture_source(flow->capture), durable);
    char text[POSITION_TEXT_BYTES];
    position_format(&position, text);
    CRASH_POINT("record-before");
    for (size_t i = 0; i < flow->warehouse_count; i++)
        if (!write_one(flow, flow->warehouses[i], text, err))
            return error_wrap(err, "confirmed record");
    CRASH_POINT("record-written");
    return true;
}
