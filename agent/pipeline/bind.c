/* Which captured table goes into which lake table: a unit that names it, else the first unit whose
 * patterns match. Opens warehouses (one store, catalog and record each) and tables. */
#include <stdio.h>
#include <string.h>

#include "agent/pipeline/flow.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define TABLE_MEMORY_BYTES ((size_t)32 << 20) /* buffers of a table's open files */

static Warehouse *warehouse_open(Flow *flow, const LakeTableSpec *spec, Error *err)
{
    for (size_t i = 0; i < flow->warehouse_count; i++)
        if (lake_serves(flow->warehouses[i]->lake, spec))
            return flow->warehouses[i];
    AUTO(lake_close) Lake *lake = lake_open(spec, err);
    if (!lake)
        return NULL;
    Warehouse *warehouse = mem_zalloc(sizeof *warehouse);
    flow->warehouses =
        mem_regrow(flow->warehouses, flow->warehouse_count + 1, sizeof *flow->warehouses);
    flow->warehouses[flow->warehouse_count++] = warehouse;
    warehouse->lake = TAKE(lake);
    warehouse->record_uri = lake_record_uri(warehouse->lake, flow->pipeline->connector);
    return record_load(warehouse, err) ? warehouse : NULL;
}

static void warehouse_close(Warehouse *warehouse)
{
    lake_close(warehouse->lake);
    json_decref(warehouse->record);
    json_decref(warehouse->by_uuid);
    free(warehouse->record_uri);
    free(warehouse);
}

static bool is_of(const IngestionUnitSpec *unit, const ConnectorSpec *connector)
{
    return strcmp(unit->connector, connector->meta.name) == 0 &&
           strcmp(unit->meta.namespace_name, connector->meta.namespace_name) == 0;
}

json_t *flow_units_by_table(const Pipeline *pipeline)
{
    json_t *found = json_object();
    for (size_t i = 0; i < pipeline->manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &pipeline->manifest->units[i];
        if (unit->table && is_of(unit, pipeline->connector) && !json_object_get(found, unit->table))
            json_object_set_new(found, unit->table, json_integer((json_int_t)i));
    }
    return found;
}

static const IngestionUnitSpec *find_unit(const Pipeline *pipeline, const char *name)
{
    const json_t *named = json_object_get(pipeline->units_by_table, name);
    if (named)
        return &pipeline->manifest->units[json_integer_value(named)];
    for (size_t i = 0; i < pipeline->manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &pipeline->manifest->units[i];
        if (manifest_patterns_match(&unit->tables, name) && is_of(unit, pipeline->connector))
            return unit;
    }
    return NULL;
}

bool flow_takes(const Flow *flow, const char *name)
{
    return find_unit(flow->pipeline, name) != NULL;
}

/* Every unit that names a table must have found it: a misspelt name is not an idle table. */
static bool units_found(const Flow *flow, Error *err)
{
    const Pipeline *pipeline = flow->pipeline;
    json_t *missing = json_copy(pipeline->units_by_table);
    for (size_t i = 0; i < flow->table_count; i++)
        json_object_del(missing, flow->tables[i].name);
    const char *name = json_object_iter_key(json_object_iter(missing));
    if (name)
        error_set(err, ERROR_CONFIG, "TableMissing",
                  "IngestionUnit/%s spec.connectorRef.table: '%s' is not among the tables that "
                  "Connector/%s captures; check the name, the database, and source.tables",
                  find_unit(pipeline, name)->meta.name, name, pipeline->connector->meta.name);
    bool found = !name;
    json_decref(missing);
    return found;
}

/* A lake table that is being opened, and what the record says of it. */
typedef struct Opening {
    Flow *flow;
    BoundTable *table;
    RecordEntry entry;
    bool has_entry, resnapshot;
    Position entry_position, recorded; /* as they were written */
    Position recorded_now; /* in the source's own words of now; source "": there are none */
    bool is_cut;           /* … which are less */
} Opening;

static void read_record(Opening *opening)
{
    opening->has_entry =
        record_entry(opening->table, &opening->entry, &opening->entry_position, &opening->recorded);
}

static bool adopt_recorded(Opening *opening, Error *err)
{
    const char *anchor = record_anchor(opening->table);
    Capture *capture = opening->flow->capture;
    bool related = false;
    Error why = {0};
    if (!opening->recorded.source[0] || opening->resnapshot || opening->recorded_now.source[0])
        return true;
    opening->recorded_now = opening->recorded;
    for (int cut = 0; cut < 2 && !related; cut++) {
        opening->is_cut = cut;
        if (!capture_adopt(capture, &opening->recorded_now, anchor, cut, &related, &why) &&
            why.kind == ERROR_RETRY) {
            *err = why;
            return false;
        }
    }
    if (!related) /* of another source; or the log is gone, and each table is asked by itself */
        opening->recorded_now.source[0] = '\0';
    return true;
}

/* Nothing was committed to the table since the entry was written, so that it has all that was
 * confirmed: its own place is older, and the log may be gone from there on. */
static bool was_idle(const Opening *opening, const TableClaim *claim)
{
    return opening->has_entry && opening->entry.snapshot == claim->snapshot &&
           opening->recorded_now.source[0] && !opening->is_cut &&
           strcmp(opening->entry.source, opening->recorded.source) == 0 &&
           row_position_compare(opening->entry.at, opening->recorded.at) <= 0;
}

static bool adopt_claim(Opening *opening, const TableClaim *claim, const char *anchor, Error *err)
{
    BoundTable *table = opening->table;
    bool related;
    if (table->then.source[0] && position_compare(&table->then, &claim->position) == POSITION_EQUAL)
        return true;
    table->then = table->now = claim->position;
    const char *source = capture_source(opening->flow->capture);
    if (strcmp(claim->position.source, source) != 0 && was_idle(opening, claim))
        table->now = opening->recorded_now;
    else if (strcmp(claim->position.source, source) != 0 && opening->has_entry &&
             opening->entry.snapshot == claim->snapshot &&
             strcmp(opening->entry.source, source) == 0)
        table->now = opening->entry_position;
    else
        return capture_adopt(opening->flow->capture, &table->now, anchor, false, &related, err);
    return true;
}

/* The lake's table says how far it is, and which columns the source had there. */
static bool resume(void *context, const char *shape, const TableClaim *claim, const char *anchor,
                   const Schema **source, const char **ret_shape, Error *err)
{
    Opening *opening = context;
    const BoundTable *table = opening->table;
    if (!adopt_claim(opening, claim, anchor, err) ||
        !capture_resume(opening->flow->capture, table->number, shape, table->now.at, err))
        return false;
    *source = table->source->schema;
    *ret_shape = table->source->shape;
    return true;
}

static bool same(void *context, const char *shape)
{
    const Opening *opening = context;
    return capture_same(opening->flow->capture, opening->table->number, shape);
}

/* The entry in the source's words of now: before, at, or behind the table's claim, as it was in the
 * words in which both were written. */
static bool adopt_entry(Opening *opening, const TableView *view, Error *err)
{
    const BoundTable *table = opening->table;
    RecordEntry *entry = &opening->entry;
    bool related;
    if (!opening->has_entry || !view->has_claim || strcmp(entry->source, table->now.source) == 0)
        return true;
    bool alike = strcmp(entry->source, table->then.source) == 0;
    int order = alike ? row_position_compare(entry->at, table->then.at) : 0;
    if (alike || entry->snapshot == view->snapshot) {
        entry->source = table->now.source;
        entry->at = order < 0 ? (RowPosition){0} : table->now.at;
        entry->at.minor += order > 0;
        return true;
    }
    if (!capture_adopt(opening->flow->capture, &opening->entry_position, NULL, true, &related, err))
        return false;
    entry->source = opening->entry_position.source;
    entry->at = opening->entry_position.at;
    return true;
}

void flow_adopt(BoundTable *table, TableView *view)
{
    if (!view->has_claim || strcmp(view->source, table->then.source) != 0 ||
        row_position_compare(view->lanes[0].passed, table->then.at) != 0)
        return;
    table->lane = (LaneValue){.passed = table->now.at};
    view->source = table->now.source;
    view->lanes = &table->lane;
}

static bool adopt_view(Opening *opening, TableView *view, Error *err)
{
    BoundTable *table = opening->table;
    if (!view->has_claim)
        return true;
    AUTO(mem_free) char *anchor = table_anchor(table->table);
    const TableClaim claim = {.position = position_of(view->source, view->lanes[0].passed),
                              .snapshot = view->snapshot};
    if (!adopt_claim(opening, &claim, anchor, err) || !adopt_entry(opening, view, err))
        return false;
    flow_adopt(table, view);
    if (strcmp(table->then.source, table->now.source) != 0)
        table_adopt(table->table, table->now.at);
    return true;
}

/* Opens the lake table, as often as its Follow wants to see it, and makes it if it is missing. */
static bool open_table(Opening *opening, TableOptions *options, Error *err)
{
    Flow *flow = opening->flow;
    BoundTable *table = opening->table;
    Follow *follow = &table->follow;
    for (;;) {
        read_record(opening);
        if (!adopt_recorded(opening, err))
            return false;
        TableView view = {0};
        Error why = {0};
        table_close(table->table);
        table->table = table_open(options, &why);
        if (!table->table && strcmp(why.code, "TableMissing") != 0) {
            *err = why;
            return error_wrap(err, "table %s", table->name);
        }
        if (table->table && table_raised_from(table->table))
            log_info("format version raised", LOG_T("table", table->name),
                     LOG_I("from", table_raised_from(table->table)),
                     LOG_I("to", table->spec->format_version));
        if (table->table)
            table_view(table->table, 0, 0, &view);
        follow->options.resnapshot = table->table ? table_resnapshots(table->table)
                                                  : options->resnapshot || options->resnapshot_id;
        if (!opening->has_entry) /* now it may be found by the table */
            read_record(opening);
        if (!adopt_view(opening, &view, err))
            return error_wrap(err, "table %s", table->name);
        FollowAction action = follow_open(
            follow, &view, opening->has_entry ? &opening->entry : NULL,
            opening->recorded_now.source[0] ? &opening->recorded_now : NULL, clock_mono_us());
        if (action.kind == FOLLOW_STALL)
            return flow_stalled(table, action.reason, err);
        options->create = action.kind == FOLLOW_CREATE;
        table->begins = action.kind == FOLLOW_COPY;
        if (table->begins && view.outdated && !options->copy_whole)
            log_info("the source's table was altered since its copy began: it begins anew",
                     LOG_T("table", table->name));
        table->complete = action.kind == FOLLOW_STREAM && !table_copy_progress(table->table);
        if (action.kind == FOLLOW_STREAM || action.kind == FOLLOW_COPY)
            return true;
        while (follow->state == FOLLOW_PAUSING && !flow_stopping(flow) &&
               clock_mono_us() < follow->pause.until_us)
            clock_sleep_us(20000);
        if (flow_stopping(flow))
            return error_set(err, ERROR_RETRY, "Cancelled", "stopped while opening the table");
    }
}

static bool bind_table(Flow *flow, const SourceTable *source, uint32_t number, Error *err)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", source->schema_name, source->table_name);
    const IngestionUnitSpec *unit = find_unit(flow->pipeline, name);
    if (!unit) {
        log_warn("captured table has no IngestionUnit", LOG_T("table", name));
        return true;
    }
    if (source->left_out)
        log_warn("generated columns are left out: the source's log does not carry them",
                 LOG_T("table", name), LOG_T("columns", source->left_out));
    BoundTable *table = &flow->tables[flow->table_count++];
    table->number = number;
    table->source = source;
    table->name = mem_strdup(name);
    if (unit->lake) {
        AUTO(mem_free) char *unit_name = NULL;
        if (!manifest_expand(unit, source->schema_name, source->table_name, &table->made,
                             &unit_name, err))
            return error_wrap(err, "table %s", name);
        table->spec = table->made;
        table->unit = mem_format("%s/%s", unit->meta.namespace_name, unit_name);
    } else {
        table->spec = manifest_find_table(flow->pipeline->manifest, unit->meta.namespace_name,
                                          unit->lake_table);
        ASSERT(table->spec);
        table->unit = mem_format("%s/%s", unit->meta.namespace_name, unit->meta.name);
    }
    table->warehouse = warehouse_open(flow, table->spec, err);
    if (!table->warehouse || !capture_columns(flow->capture, number, &table->spec->columns, err))
        return error_wrap(err, "table %s", name);
    FollowOptions rules = {.source = capture_source(flow->capture),
                           .interval_us = table->spec->commit_interval_ms * 1000,
                           .bytes_max = table->spec->file_target_bytes,
                           .names_positions = table->spec->mode == MODE_UPSERT,
                           .resnapshot = supervised_resnapshots(&flow->pipeline->base, name),
                           .copy_whole =
                               table->spec->mode == MODE_APPEND ||
                               flow->pipeline->connector->snapshot_mode == SNAPSHOT_ONLY ||
                               supervised_copies_anew(&flow->pipeline->base, name)};
    follow_init(&table->follow, &rules);
    Opening opening = {.flow = flow, .table = table, .resnapshot = rules.resnapshot};
    TableOptions options = {.spec = table->spec,
                            .unit = table->unit,
                            .source = source->schema,
                            .shape = source->shape,
                            .resume = resume,
                            .same = same,
                            .copy_whole = rules.copy_whole,
                            .resume_context = &opening,
                            .catalog = table->warehouse->lake->catalog,
                            .warehouse = lake_tables(table->warehouse->lake),
                            .memory_bytes_max = TABLE_MEMORY_BYTES,
                            .resnapshot = rules.resnapshot,
                            .resnapshot_id =
                                copy_request_names(&flow->request, name) ? flow->request.id : NULL};
    if (!open_table(&opening, &options, err))
        return false;
    size_t key_count;
    AUTO(mem_free) int32_t *key = table_key(table->table, &key_count);
    capture_identify(flow->capture, number, key, key_count);
    if (table->spec->dropped_columns == DROPPED_DROP)
        capture_forget(flow->capture, number);
    table->uuid = mem_strdup(table_uuid(table->table));
    flow->by_number[number] = table;
    progress_table_register(table);
    return true;
}

static int by_uuid(const void *a, const void *b)
{
    const BoundTable *const *left = a, *const *right = b;
    int order = strcmp((*left)->uuid, (*right)->uuid);
    return order ? order
                 : ((*left)->number > (*right)->number) - ((*left)->number < (*right)->number);
}

/* Two tables of the source must not meet in one of the lake's. */
static bool destinations_differ(const Flow *flow, Error *err)
{
    AUTO(mem_free) const BoundTable **sorted = mem_array(flow->table_count, sizeof *sorted);
    for (size_t i = 0; i < flow->table_count; i++)
        sorted[i] = &flow->tables[i];
    qsort(sorted, flow->table_count, sizeof *sorted, by_uuid);
    for (size_t i = 1; i < flow->table_count; i++)
        if (strcmp(sorted[i]->uuid, sorted[i - 1]->uuid) == 0)
            return error_set(err, ERROR_CONFIG, "TableTaken",
                             "%s and %s both go to the lake table %s.%s; give one of them another "
                             "tableName ('{schema}_{table}' keeps them apart)",
                             sorted[i - 1]->name, sorted[i]->name, sorted[i]->spec->database,
                             sorted[i]->spec->table_name);
    return true;
}

bool flow_bind(Flow *flow, Error *err)
{
    const SourceTable *sources = capture_tables(flow->capture, &flow->captured_count);
    flow->tables = mem_array(flow->captured_count, sizeof *flow->tables);
    flow->by_number = mem_array(flow->captured_count, sizeof *flow->by_number);
    for (size_t i = 0; i < flow->captured_count; i++)
        if (!bind_table(flow, &sources[i], (uint32_t)i, err))
            return false;
    if (!units_found(flow, err) || !destinations_differ(flow, err))
        return false;
    if (flow->table_count == 0)
        return error_set(
            err, ERROR_CONFIG, "NoTables",
            "Connector/%s: no table of the database matches source.tables and an IngestionUnit",
            flow->pipeline->connector->meta.name);
    pthread_mutex_lock(&flow->pipeline->base.lock);
    flow->pipeline->base.figures.tables = (uint32_t)flow->table_count;
    pthread_mutex_unlock(&flow->pipeline->base.lock);
    return true;
}

void flow_unbind(Flow *flow)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        BoundTable *table = &flow->tables[i];
        table_close(table->table);
        lake_table_free(table->made);
        free(table->name);
        free(table->unit);
        free(table->uuid);
    }
    free(flow->tables);
    free(flow->lows);
    free(flow->entries);
    free(flow->by_number);
    for (size_t i = 0; i < flow->warehouse_count; i++)
        warehouse_close(flow->warehouses[i]);
    free(flow->warehouses);
}
