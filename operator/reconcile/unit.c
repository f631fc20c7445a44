/* An IngestionUnit: the LakeTable it makes, the Pods it has when a topic is in between, and what
 * holds of it. Without a topic the Connector's Pod fills its table. */
#include <stdio.h>

#include "common/text.h"
#include "operator/reconcile/reconcile.h"

#define MISSING_US 15000000
#define NOT_LOOKED_AT "Pending"

static bool lake_table_made(Look *look, const json_t *unit, Error *err)
{
    Operator *op = look->op;
    char label[NAME_BYTES_MAX];
    name_of_label(look->name, label);
    AUTO(json_free) json_t *table = desired_lake_table(unit);
    if (table)
        return child_apply(op, unit, table, err);
    /* It is somebody else's by then, or of an outsourcingUnit that is no more. */
    AUTO(json_free)
    json_t *old = cache_get(op->cache, KIND_LAKE_TABLE, look->namespace_name, look->name);
    const char *uid = object_text(object_controller(old), "uid");
    if (!old || !uid || strcmp(uid, object_uid(unit)) != 0 || object_is_deleted(old))
        return true;
    return api_delete(op->api, KIND_LAKE_TABLE, look->namespace_name, look->name, err);
}

/* What leads nowhere may be on its way: GitOps applies in any order. */
static State missing(Look *look, const json_t *unit, const char *kind, const char *name)
{
    AUTO(mem_free) char *reason = mem_format("%sMissing", kind);
    int64_t wait_us = look->op->options.missing_us ? look->op->options.missing_us : MISSING_US;
    const json_t *ready = condition_of(unit, "Ready");
    const char *why = object_text(ready, "reason");
    int64_t age_s = condition_age_s(unit, "Reconciling", look->now_s);
    bool known = why && strcmp(why, reason) == 0;
    bool stalled =
        known && (condition_is(unit, "Stalled", "True", reason) || age_s * 1000000 >= wait_us);
    if (!stalled)
        look_again(look, known ? wait_us - age_s * 1000000 : wait_us);
    return state_of(stalled ? HEALTH_STALLED : HEALTH_PROGRESS, stalled ? "Stalled" : "Pending",
                    reason, "there is no %s %s in namespace %s: apply it, or name another", kind,
                    name, look->namespace_name);
}

/* The first of its tables that is not there; the caller's. NULL: all are. */
static char *missing_table(Look *look, const json_t *unit)
{
    const char *name;
    for (size_t i = 0; (name = object_table(unit, i)); i++)
        if (!cache_has(look->op->cache, KIND_LAKE_TABLE, look->namespace_name, name))
            return mem_strdup(name);
    return NULL;
}

/* What its Pods run on; *ret says why that can't be. Two must not fill one table: the second has no
 * Pods. For a Secret that is gone nothing is taken away. */
static bool ingest_made(Look *look, const json_t *unit, const json_t *connector,
                        const Orders *orders, bool *ret_refused, State *ret, Error *err)
{
    Operator *op = look->op;
    char label[NAME_BYTES_MAX], secrets_hash[HASH_BYTES];
    name_of_label(look->name, label);
    AUTO(json_free) json_t *units = json_pack("[O]", (json_t *)(uintptr_t)unit);
    AUTO(json_free)
    json_t *tables = tables_of_units(op, look->namespace_name, units);
    AUTO(json_free) json_t *secrets = bundle_secrets(connector, units, tables);
    AUTO(json_free) json_t *none = json_array();
    *ret_refused = true;
    if (table_taken(look, unit, tables, ret))
        return children_prune(op, unit, 1, label, none, err);
    if (!secrets_are_there(look, secrets, ret))
        return true;
    hash_secrets(look, secrets, secrets_hash);
    Bundle bundle;
    bundle_make(connector, units, tables, &bundle);
    *ret_refused = !bundle.text || !bundle.units;
    if (*ret_refused) {
        const char *why = bundle_verdict(&bundle, "IngestionUnit", look->name);
        *ret = state_of(HEALTH_STALLED, "Stalled", "InvalidSpec", "%s",
                        why ? why : "its manifest can't be made");
        bundle_done(&bundle);
        return true;
    }
    ConnectorInput input = {.connector = connector,
                            .manifest = bundle.text,
                            .manifest_hash = bundle.hash,
                            .maintains = bundle.maintains,
                            .secrets = secrets,
                            .secrets_hash = secrets_hash,
                            .defaults = &op->options.agent};
    AUTO(mem_free) char *terms = agents_terms(op, &input);
    AUTO(mem_free) char *text = orders_text(orders);
    input.orders = text;
    AUTO(json_free) json_t *wanted = desired_of_unit(&input, unit);
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(wanted); i++)
        ok = child_apply(op, unit, json_array_get(wanted, i), err);
    bundle_done(&bundle);
    return ok && children_prune(op, unit, 1, label, wanted, err);
}

static void find_ingest(Look *look, State *ret, json_t *more)
{
    DeploymentCounts counts;
    State by_pods = state_of_process(look, "ingest", 1, &counts);
    AUTO(mem_free) char *key = reports_key('u', look->namespace_name, look->name);
    bool well = look->op->options.channel && by_pods.health == HEALTH_READY;
    Reported reported;
    reports_see(look->op->reports, key, well ? counts.wanted : 0, look->now_us, &reported);
    *ret = state_of_reported(&by_pods, &reported);
    reported_done(&reported);
    json_object_set_new(more, "replicas", json_integer(counts.replicas));
}

static void put_selector(Look *look, const char *label, const char *name, json_t *more)
{
    char value[NAME_BYTES_MAX];
    (void)look;
    name_of_label(name, value);
    AUTO(mem_free) char *selector = mem_format("%s=%s", label, value);
    json_object_set_new(more, "selector", json_string(selector));
}

/* Of what a Connector feeds, by how that is. */
static State state_under(const char *connector, const State *state)
{
    State under = *state;
    if (state->health == HEALTH_READY && strcmp(state->phase, "Stopped") == 0)
        under = state_of(HEALTH_PROGRESS, "Stopped", "ConnectorStopped",
                         "Connector %s is stopped, as its state says", connector);
    if (state->health == HEALTH_STALLED)
        under = state_of(HEALTH_STALLED, state->phase, state->reason, "Connector %s: %s", connector,
                         state->message);
    under.repeated = true;
    return under;
}

/* Filled by the Connector's Pod: what holds of that. */
static State state_by_connector(Look *look, const char *connector, json_t *more)
{
    State state;
    put_selector(look, LABEL_CONNECTOR, connector, more);
    if (!verdicts_get(look->op->verdicts, 'c', look->namespace_name, connector, &state))
        return state_of(HEALTH_UNKNOWN, "Pending", NOT_LOOKED_AT,
                        "its Connector is not looked at yet");
    json_object_set_new(
        more, "replicas",
        json_integer(state.health == HEALTH_READY && strcmp(state.phase, "Stopped") != 0));
    return state_under(connector, &state);
}

/* Filled from topics: whoever reads all that they have is no fresher than whoever fills them. */
static void bound_by_connector(Look *look, const char *connector, State *state)
{
    State fed;
    if (state->health != HEALTH_READY ||
        !verdicts_get(look->op->verdicts, 'c', look->namespace_name, connector, &fed))
        return;
    fed = state_under(connector, &fed);
    if (fed.health != HEALTH_READY)
        *state = fed;
}

static void put_quantity(json_t *more, const char *name, int64_t bytes)
{
    char text[32];
    int64_t step = bytes >= 1 << 30   ? 1 << 30
                   : bytes >= 1 << 20 ? 1 << 20
                   : bytes >= 1 << 10 ? 1 << 10
                                      : 1;
    text_quantity_format((uint64_t)(bytes - bytes % step), text, sizeof text);
    json_object_set_new(more, name, json_string(text));
}

static void put_records(json_t *more, int64_t records)
{
    AUTO(mem_free)
    char *text = mem_format("%lld record%s", (long long)records, records == 1 ? "" : "s");
    json_object_set_new(more, "lag", json_string(text));
}

char *unit_process(Look *look, const json_t *unit, const json_t *connector)
{
    const char *name = object_text(unit, "spec.connectorRef.name");
    return unit_has_pods(unit, connector)
               ? reports_key('u', look->namespace_name, look->name)
               : reports_key('c', look->namespace_name, name ? name : "");
}

/* The agent's figures; where it has said none yet, those of before stand, but for the lag. */
static void put_figures(Look *look, const json_t *unit, const char *process, json_t *more)
{
    static const char *const kept[] = {"freshAt", "rows"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        json_t *was = json_object_get(json_object_get(unit, "status"), kept[i]);
        if (was)
            json_object_set(more, kept[i], was);
    }
    UnitFigures figures;
    if (reports_has_news(look->op->reports, process, look->name))
        enqueue_tables_of(look->op, unit);
    if (!reports_of_unit(look->op->reports, process, look->name, &figures))
        return;
    if (figures.rows != CHANNEL_NOT_SAID)
        json_object_set_new(more, "rows", json_integer(figures.rows));
    if (figures.lag_bytes != CHANNEL_NOT_SAID)
        put_quantity(more, "lag", figures.lag_bytes);
    else if (figures.lag_records != CHANNEL_NOT_SAID)
        put_records(more, figures.lag_records);
    if (figures.freshness_ms != CHANNEL_NOT_SAID) {
        char at[32];
        status_time(figures.at_s - figures.freshness_ms / 1000, at);
        json_object_set_new(more, "freshAt", json_string(at));
    }
}

static int64_t promised_ms(const json_t *unit)
{
    const char *text = object_text(unit, "spec.sla.freshness");
    int64_t ms;
    return text && text_duration_parse(text, &ms) ? ms : 0;
}

static bool find_state(Look *look, const json_t *unit, Orders *orders, State *ret,
                       Reported *reported, json_t *more, Error *err)
{
    Cache *cache = look->op->cache;
    const char *connector_name = object_text(unit, "spec.connectorRef.name");
    AUTO(json_free)
    json_t *connector = connector_name
                            ? cache_get(cache, KIND_CONNECTOR, look->namespace_name, connector_name)
                            : NULL;
    AUTO(mem_free) char *process = unit_process(look, unit, connector);
    put_figures(look, unit, process, more);
    reports_see(look->op->reports, process, -1, look->now_us, reported);
    if (connector_name && !connector) {
        *ret = missing(look, unit, "Connector", connector_name);
        return true;
    }
    AUTO(mem_free) char *lost = missing_table(look, unit);
    char label[NAME_BYTES_MAX];
    name_of_label(look->name, label);
    AUTO(json_free) json_t *none = json_array();
    if (lost) {
        *ret = missing(look, unit, "LakeTable", lost);
        return children_prune(look->op, unit, 1, label, none, err); /* nothing to fill */
    }
    const char *judged =
        is_of_pattern(unit) ? object_text(object_controller(unit), "name") : look->name;
    /* Of one who feeds it no more it says nothing. */
    if (connector_name && verdicts_get(look->op->verdicts, 'u', look->namespace_name, judged, ret))
        return true;
    if (unit_has_pods(unit, connector)) {
        if (kafka_name_taken(look, KIND_UNIT, unit, ret))
            return children_prune(look->op, unit, 1, label, none, err);
        put_selector(look, LABEL_UNIT, look->name, more);
        bool refused = false;
        if (!look->light && !ingest_made(look, unit, connector, orders, &refused, ret, err))
            return false;
        if (!refused)
            find_ingest(look, ret, more);
        if (connector_name)
            bound_by_connector(look, connector_name, ret);
        return true;
    }
    orders_refuse(look, unit, orders,
                  "its table is filled from the source's log, which does not keep what was "
                  "confirmed: roll it back by another engine, then copy it again (kubectl firn "
                  "resnapshot)");
    /* Its Connector had a stream, once. */
    if (!look->light && !children_prune(look->op, unit, 1, label, none, err))
        return false;
    *ret = state_by_connector(look, connector_name ? connector_name : "", more);
    return true;
}

/* With commas between. */
static void put_tables(Look *look, const json_t *unit, json_t *more)
{
    const char *name;
    char *names = unit_makes_table(unit) ? mem_strdup(look->name) : NULL;
    for (size_t i = 0; (name = object_table(unit, i)); i++) {
        AUTO(mem_free) char *before = names;
        names = mem_format("%s%s%s", before ? before : "", before ? "," : "", name);
    }
    if (names)
        json_object_set_new(more, "lakeTable", json_string(names));
    free(names);
}

/* Whether the last whole look got to its end, and at what the unit is now. */
static bool is_made(const json_t *unit)
{
    return json_integer_value(object_at(unit, "status.observedGeneration")) ==
               object_generation(unit) &&
           condition_is(unit, "Stalled", "False", NULL);
}

/* For a light look what that needs, if it may be one. */
static json_t *read_unit(Look *look)
{
    Cache *cache = look->op->cache;
    if (look->light) {
        json_t *unit = cache_get_brief(cache, KIND_UNIT, look->namespace_name, look->name);
        if (!unit || is_made(unit))
            return unit;
        json_decref(unit);
        look->light = false;
        trees_end(); /* a whole look makes more */
    }
    return cache_get(cache, KIND_UNIT, look->namespace_name, look->name);
}

/* After a start of ours: what was said of it until its Connector is looked at, which calls it. */
static bool stands_meanwhile(const json_t *unit, const State *state)
{
    return state->health == HEALTH_UNKNOWN && strcmp(state->reason, NOT_LOOKED_AT) == 0 &&
           json_integer_value(object_at(unit, "status.observedGeneration")) ==
               object_generation(unit);
}

bool unit_look(Look *look, Error *err)
{
    Operator *op = look->op;
    AUTO(json_free) json_t *unit = read_unit(look);
    if (!unit || object_is_deleted(unit)) {
        AUTO(mem_free) char *key = reports_key('u', look->namespace_name, look->name);
        reports_forget(op->reports, key);
        (void)verdicts_set(op->verdicts, 'u', look->namespace_name, look->name, NULL);
        return true;
    }
    const char *paused = object_annotation(unit, ANNOTATION_PAUSE);
    if (paused && strcmp(paused, "false") != 0)
        return true;
    AUTO(json_free) json_t *more = json_object();
    State state;
    Reported reported = {0};
    Orders orders;
    orders_find(look, KIND_UNIT, unit, &orders);
    bool ok = (look->light || lake_table_made(look, unit, err)) &&
              find_state(look, unit, &orders, &state, &reported, more, err);
    if (!ok && err->kind != ERROR_CONFIG) {
        reported_done(&reported);
        orders_done(&orders);
        return false;
    }
    if (!ok) {
        state = state_of(HEALTH_STALLED, "Stalled", err->code, "%s", err->message);
        look_again(look, 10000000);
    }
    if (ok && stands_meanwhile(unit, &state)) {
        reported_done(&reported);
        orders_done(&orders);
        return true;
    }
    put_tables(look, unit, more);
    AUTO(mem_free) char *key = reports_key('u', look->namespace_name, look->name);
    orders_tell(look, unit, key, &orders, &reported, more);
    orders_done(&orders);
    Condition others[4];
    conditions_of_unit(&reported, promised_ms(unit), object_at(unit, "spec.kafka"), others);
    ok = say(look, KIND_UNIT, unit, &state, others, more, err);
    reported_done(&reported);
    return ok;
}
