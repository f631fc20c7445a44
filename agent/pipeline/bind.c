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
        for (size_t k = 0; k < unit->tables.count; k++)
            if (manifest_pattern_matches(unit->tables.texts[k], name) &&
                is_of(unit, pipeline->connector))
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

typedef struct Resume {
    Capture *capture;
    const SourceTable *table;
    uint32_t number;
} Resume;

/* The lake's table says how far it is, and which columns the source had there. */
static bool resume(void *context, const char *shape, RowPosition at, const Schema **source,
                   const char **ret_shape, Error *err)
{
    const Resume *resume = context;
    if (!capture_resume(resume->capture, resume->number, shape, at, err))
        return false;
    *source = resume->table->schema;
    *ret_shape = resume->table->shape;
    return true;
}

static bool same(void *context, const char *shape)
{
    const Resume *resume = context;
    return capture_same(resume->capture, resume->number, shape);
}

/* What the record says of it, in the source's own positions of now. */
static bool find_entry(const Flow *flow, const BoundTable *table, RecordEntry *ret,
                       Position *ret_position, Position *ret_recorded)
{
    bool found = record_entry(table, ret, ret_position, ret_recorded);
    if (found && capture_adopt(flow->capture, ret_position, true)) {
        ret->source = ret_position->source;
        ret->at = ret_position->at;
    }
    if (ret_recorded->source[0])
        (void)capture_adopt(flow->capture, ret_recorded, true); /* else it is another source's */
    return found;
}

void flow_adopt(const Flow *flow, BoundTable *table, TableView *view)
{
    if (!view->has_claim)
        return;
    table->claimed = position_of(view->source, view->lanes[0].passed);
    if (capture_adopt(flow->capture, &table->claimed, false))
        view->source = table->claimed.source;
}

/* Opens the lake table, as often as its Follow wants to see it, and makes it if it is missing. */
static bool open_table(Flow *flow, BoundTable *table, TableOptions *options, Error *err)
{
    Follow *follow = &table->follow;
    Position entry_position, recorded;
    RecordEntry entry;
    bool has_entry = find_entry(flow, table, &entry, &entry_position, &recorded);
    for (;;) {
        TableView view = {0};
        Error why = {0};
        table_close(table->table);
        table->table = table_open(options, &why);
        if (!table->table && strcmp(why.code, "TableMissing") != 0) {
            *err = why;
            return error_wrap(err, "table %s", table->name);
        }
        if (table->table)
            table_view(table->table, 0, 0, &view);
        follow->options.resnapshot = table->table ? table_resnapshots(table->table)
                                                  : options->resnapshot || options->resnapshot_id;
        flow_adopt(flow, table, &view);
        if (table->table && !has_entry)
            has_entry = find_entry(flow, table, &entry, &entry_position, &recorded);
        FollowAction action = follow_open(follow, &view, has_entry ? &entry : NULL,
                                          recorded.source[0] ? &recorded : NULL, clock_mono_us());
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
    Resume going_on = {flow->capture, source, number};
    TableOptions options = {.spec = table->spec,
                            .unit = table->unit,
                            .source = source->schema,
                            .shape = source->shape,
                            .resume = resume,
                            .same = same,
                            .copy_whole = rules.copy_whole,
                            .resume_context = &going_on,
                            .catalog = table->warehouse->lake->catalog,
                            .warehouse = lake_tables(table->warehouse->lake),
                            .memory_bytes_max = TABLE_MEMORY_BYTES,
                            .resnapshot = rules.resnapshot,
                            .resnapshot_id =
                                copy_request_names(&flow->request, name) ? flow->request.id : NULL};
    if (!open_table(flow, table, &options, err))
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
