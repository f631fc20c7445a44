/* A LakeTable is as well as the unit that fills it. */
#include "operator/reconcile/reconcile.h"

#define AGAIN_US 10000000 /* that the other one went is not told */

/* The oldest of those that name it, or the one that made it. */
static json_t *unit_of(Look *look, const json_t *table)
{
    const json_t *owner = object_controller(table);
    if (owner)
        return cache_get(look->op->cache, KIND_UNIT, look->namespace_name,
                         object_text(owner, "name"));
    AUTO(json_free)
    json_t *units = cache_list(look->op->cache, KIND_UNIT, look->namespace_name, 1, look->name);
    json_t *oldest = NULL, *unit;
    size_t i;
    json_array_foreach(units, i, unit)
    {
        if (!oldest || object_is_elder(unit, oldest))
            oldest = unit;
    }
    return json_incref(oldest);
}

/* A Connector judges its own units: see bundle.c. */
static bool judged_as_one(const json_t *unit, const json_t *other)
{
    const char *a = object_text(unit, "spec.connectorRef.name");
    const char *b = object_text(other, "spec.connectorRef.name");
    return a && b && strcmp(a, b) == 0;
}

static bool comes_first(Look *look, const char *other_name, bool made_it, const json_t *unit)
{
    if (strcmp(other_name, object_name(unit)) == 0)
        return false;
    AUTO(json_free)
    json_t *other = cache_get(look->op->cache, KIND_UNIT, look->namespace_name, other_name);
    return other && !object_is_deleted(other) && !judged_as_one(unit, other) &&
           (made_it || object_is_elder(other, unit));
}

bool table_taken(Look *look, const json_t *unit, const json_t *tables, State *ret)
{
    const char *table;
    for (size_t t = 0; (table = object_table(unit, t)); t++) {
        const char *taker = NULL;
        AUTO(json_free)
        json_t *names = cache_names(look->op->cache, KIND_UNIT, look->namespace_name, 1, table);
        const char *maker = object_text(object_controller(json_object_get(tables, table)), "name");
        if (maker && comes_first(look, maker, true, unit))
            taker = maker;
        for (size_t i = 0; !taker && i < json_array_size(names); i++) {
            const char *name = json_string_value(json_array_get(names, i));
            if (comes_first(look, name, false, unit))
                taker = name;
        }
        if (!taker)
            continue;
        *ret = state_of(HEALTH_STALLED, "Stalled", "TableTaken",
                        "LakeTable %s is filled by IngestionUnit %s already: a table has one "
                        "unit; name another table, or delete one of the two",
                        table, taker);
        look_again(look, AGAIN_US);
        return true;
    }
    return false;
}

static State state_by_unit(const json_t *unit)
{
    const json_t *ready = condition_of(unit, "Ready");
    const char *phase = object_text(unit, "status.phase"), *reason = object_text(ready, "reason");
    const char *message = object_text(ready, "message");
    if (!ready || !phase || !reason)
        return state_of(HEALTH_UNKNOWN, "Pending", "Pending", "its IngestionUnit is new");
    Health health = condition_is(unit, "Stalled", "True", NULL)    ? HEALTH_STALLED
                    : condition_is(unit, "Ready", "True", NULL)    ? HEALTH_READY
                    : condition_is(unit, "Ready", "Unknown", NULL) ? HEALTH_UNKNOWN
                                                                   : HEALTH_PROGRESS;
    State state =
        state_of(health, phase, reason, "%s%s%s%s", health == HEALTH_READY ? "" : "IngestionUnit ",
                 health == HEALTH_READY ? "" : object_name(unit),
                 health == HEALTH_READY ? "" : ": ", message ? message : "");
    state.repeated = true;
    return state;
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

/* What the Job has to know that drops the table, and that may outlive whom it is of: see
 * drop_table.c. */
static void keep_reach(Look *look, const json_t *table, bool drops, const json_t *unit,
                       json_t *status)
{
    const char *name = object_text(unit, "spec.connectorRef.name");
    const json_t *was = object_at(table, "status.connector");
    if (name)
        json_object_set_new(status, "connector", json_string(name));
    else if (was)
        json_object_set_new(status, "connector", json_string(json_string_value(was)));
    if (!drops)
        return;
    AUTO(json_free)
    json_t *connector =
        name ? cache_get(look->op->cache, KIND_CONNECTOR, look->namespace_name, name) : NULL;
    const json_t *of = name ? connector : unit;
    json_t *agent = object_at(of ? of : table, of ? "spec.agent" : "status.agent");
    if (agent)
        json_object_set(status, "agent", agent);
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
    if (unit)
        json_object_set_new(more, "unit", json_string(object_name(unit)));
    keep_reach(look, table, drops, unit, more);
    if (!unit)
        state = state_of(HEALTH_UNKNOWN, "Pending", "NoUnit", "no IngestionUnit fills it yet");
    /* Of one who feeds it no more it says nothing. */
    else if (!connector ||
             !verdicts_get(op->verdicts, 't', look->namespace_name, look->name, &state))
        state = state_by_unit(unit);
    bool ok = say(look, KIND_LAKE_TABLE, table, &state, others, more, err);
    reported_done(&reported);
    return ok;
}
