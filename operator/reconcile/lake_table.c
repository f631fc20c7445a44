/* A LakeTable is as well as the unit that fills it. */
#include "operator/reconcile/reconcile.h"

/* The oldest of those that name it, or the one that made it. */
static json_t *unit_of(Look *look, const json_t *table)
{
    const json_t *owner = object_controller(table);
    if (owner)
        return cache_get(look->op->cache, KIND_UNIT, look->namespace_name,
                         object_text(owner, "name"));
    AUTO(json_free)
    json_t *units = cache_list(look->op->cache, KIND_UNIT, look->namespace_name, 1, look->name);
    const json_t *oldest = NULL;
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        const char *made = object_text(unit, "metadata.creationTimestamp");
        const char *least = object_text(oldest, "metadata.creationTimestamp");
        int order = oldest ? strcmp(made ? made : "", least ? least : "") : -1;
        if (order < 0 || (order == 0 && strcmp(object_name(unit), object_name(oldest)) < 0))
            oldest = unit;
    }
    return oldest ? json_deep_copy(oldest) : NULL;
}

static State state_by_unit(const json_t *unit)
{
    const json_t *ready = condition_of(unit, "Ready");
    const char *phase = object_text(unit, "status.phase"), *reason = object_text(ready, "reason");
    const char *message = object_text(ready, "message");
    if (!ready || !phase || !reason)
        return state_of(HEALTH_UNKNOWN, "Pending", "Pending", "its IngestionUnit is new");
    Health health = condition_is(unit, "Stalled", "True", NULL) ? HEALTH_STALLED
                    : condition_is(unit, "Ready", "True", NULL) ? HEALTH_READY
                                                                : HEALTH_PROGRESS;
    if (health == HEALTH_READY)
        return state_of(health, phase, reason, "%s", message ? message : "");
    return state_of(health, phase, reason, "IngestionUnit %s: %s", object_name(unit),
                    message ? message : "");
}

/* What its process says of it. */
static void see(Look *look, const json_t *unit, Reported *reported, Condition ret[3])
{
    const char *name = object_text(unit, "spec.connectorRef.name");
    AUTO(json_free)
    json_t *connector =
        name ? cache_get(look->op->cache, KIND_CONNECTOR, look->namespace_name, name) : NULL;
    AUTO(mem_free) char *process = unit_process(look, unit, connector);
    UnitFigures figures;
    (void)reports_of_unit(look->op->reports, process, object_name(unit), &figures);
    reports_see(look->op->reports, process, -1, look->now_us, reported);
    conditions_of_table(reported, condition_of(unit, "Ready"), reported->tables == 1,
                        figures.upkeep, ret);
}

bool lake_table_look(Look *look, Error *err)
{
    Operator *op = look->op;
    AUTO(json_free)
    json_t *table = cache_get(op->cache, KIND_LAKE_TABLE, look->namespace_name, look->name);
    if (!table || object_is_deleted(table)) {
        (void)verdicts_set(op->verdicts, 't', look->namespace_name, look->name, NULL);
        return !object_has_finalizer(table, FINALIZER_TABLE) ||
               lake_table_finalize(look, table, err);
    }
    const char *policy = object_text(table, "spec.deletionPolicy");
    bool drops = policy && strcmp(policy, "Drop") == 0;
    if (object_has_finalizer(table, FINALIZER_TABLE) != drops &&
        !finalizer_write(look, KIND_LAKE_TABLE, table, FINALIZER_TABLE, drops, err))
        return false;
    AUTO(json_free) json_t *unit = unit_of(look, table);
    AUTO(json_free) json_t *more = json_object();
    State state;
    Condition others[3] = {{0}};
    Reported reported = {0};
    if (unit)
        see(look, unit, &reported, others);
    else
        conditions_of_table(&reported, NULL, false, CHANNEL_NOT_SAID, others);
    const char *connector = object_text(unit, "spec.connectorRef.name");
    const json_t *was = object_at(table, "status.connector");
    if (unit)
        json_object_set_new(more, "unit", json_string(object_name(unit)));
    /* Its Pods reach the table: see drop_table.c. */
    if (connector)
        json_object_set_new(more, "connector", json_string(connector));
    else if (was)
        json_object_set_new(more, "connector", json_string(json_string_value(was)));
    if (!unit)
        state = state_of(HEALTH_UNKNOWN, "Pending", "NoUnit", "no IngestionUnit fills it yet");
    else if (!verdicts_get(op->verdicts, 't', look->namespace_name, look->name, &state))
        state = state_by_unit(unit);
    bool ok = say(look, KIND_LAKE_TABLE, table, &state, others, more, err);
    reported_done(&reported);
    return ok;
}
