/* A Connector: what its Pods read, its children, and what that means to its units. */
#include <stdio.h>

#include "common/crash.h"
#include "operator/reconcile/reconcile.h"

#define CROWD_LOOKS_US 5000000 /* apart, in a crowd */

/* Whether it can be filled, by its Secrets and its tables; if not, *ret says so. */
static bool is_good(Look *look, json_t *unit, const json_t *tables, bool streams, State *ret)
{
    AUTO(json_free) json_t *one = json_pack("[O]", unit);
    AUTO(json_free) json_t *names = bundle_secrets(NULL, one, tables);
    return secrets_are_there(look, names, ret) &&
           (streams || !table_taken(look, unit, tables, ret));
}

/* Those that are not stay out, and say why. The list that remains; the caller's. */
static json_t *good_units(Look *look, const json_t *units, const json_t *tables, bool streams,
                          json_t *kept_out)
{
    json_t *rest = json_array();
    State why;
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        if (is_good(look, unit, tables, streams, &why))
            json_array_append(rest, unit);
        else
            json_object_set_new(kept_out, object_name(unit),
                                json_pack("[ss]", why.reason, why.message));
    }
    return rest;
}

typedef struct Found {
    json_t *connector, *units, *tables; /* all */
    json_t *good;                       /* units that can be filled, by what is beside them */
    json_t *kept_out;                   /* of the others: name → [reason, message] */
    json_t *secrets;                    /* of its Pods */
    Bundle bundle;                      /* judges the units */
    Bundle own;                         /* what its Pods read, where that is less: with a stream */
    bool streams;
} Found;

static void found_done(Found *found)
{
    json_decref(found->connector);
    json_decref(found->units);
    json_decref(found->tables);
    json_decref(found->good);
    json_decref(found->kept_out);
    json_decref(found->secrets);
    bundle_done(&found->bundle);
    bundle_done(&found->own);
}

static const Bundle *read_by_pods(const Found *found)
{
    return found->streams && found->bundle.text ? &found->own : &found->bundle;
}

/* With a stream its Pods fill topics, whoever reads these. */
static bool has_work(const Found *found)
{
    return found->streams || found->bundle.units;
}

/* A namespace may have thousands of others. */
json_t *tables_of_units(Operator *op, const char *namespace_name, const json_t *units)
{
    json_t *tables = json_object();
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        const char *name;
        for (size_t t = 0; (name = object_table(unit, t)); t++) {
            if (json_object_get(tables, name))
                continue;
            AUTO(json_free)
            json_t *table = cache_get(op->cache, KIND_LAKE_TABLE, namespace_name, name);
            if (table && !object_is_deleted(table))
                json_object_set(tables, name, table);
        }
    }
    return tables;
}

static void find(Look *look, json_t *connector, Found *ret)
{
    Cache *cache = look->op->cache;
    *ret = (Found){.connector = connector, .kept_out = json_object()};
    ret->units = cache_list(cache, KIND_UNIT, look->namespace_name, 0, look->name);
    for (size_t i = json_array_size(ret->units); i-- > 0;)
        if (is_of_pattern(json_array_get(ret->units, i)))
            json_array_remove(ret->units, i);
    ret->tables = tables_of_units(look->op, look->namespace_name, ret->units);
    ret->streams = object_at(connector, "spec.stream");
    ret->good = good_units(look, ret->units, ret->tables, ret->streams, ret->kept_out);
    ret->secrets = bundle_secrets(connector, ret->streams ? NULL : ret->good, ret->tables);
    bundle_make(connector, ret->good, ret->tables, &ret->bundle);
    if (ret->streams)
        bundle_make(connector, NULL, NULL, &ret->own);
}

/* --- what it is in --- */

/* Its Pods fill what belonged to a unit that is deleted. */
static bool is_outdated(Look *look, const Found *found)
{
    char name[NAME_BYTES_MAX];
    name_of_child(look->name, "-capture", name);
    AUTO(json_free)
    json_t *map = cache_get(look->op->cache, KIND_CONFIG_MAP, look->namespace_name, name);
    const json_t *data = json_object_get(map, "data");
    const char *text = json_string_value(json_object_get(data, "manifest.yaml"));
    return text && bundle_holds_others(text, found->units);
}

static bool has_child(Look *look, Kind kind)
{
    char name[NAME_BYTES_MAX];
    name_of_child(look->name, "-capture", name);
    return cache_has(look->op->cache, kind, look->namespace_name, name);
}

/* And it came to no more: see prepare. */
static bool is_prepared(Look *look)
{
    return has_child(look, KIND_SERVICE_ACCOUNT) && !has_child(look, KIND_CONFIG_MAP) &&
           !has_child(look, KIND_DEPLOYMENT);
}

/* A unit that names what is not there yet is not refused for it: see unit.c. */
static bool is_refused(const Found *found, const json_t *unit)
{
    return json_object_get(found->kept_out, object_name(unit)) ||
           bundle_verdict(&found->bundle, "IngestionUnit", object_name(unit));
}

static State state_without_work(const Found *found)
{
    size_t count = json_array_size(found->units), refused = 0;
    for (size_t i = 0; i < count; i++)
        refused += is_refused(found, json_array_get(found->units, i));
    if (!count)
        return state_of(HEALTH_PROGRESS, "Pending", "NoUnits",
                        "no IngestionUnit names it yet: nothing is read");
    if (refused < count)
        return state_of(HEALTH_PROGRESS, "Pending", "NoUnits",
                        "none of its %zu IngestionUnits can be filled yet: they say why", count);
    return state_of(HEALTH_STALLED, "Stalled", "NoValidUnit",
                    "each of its %zu IngestionUnits is refused: they say why", count);
}

/* False: its children are to stay as they are, and *ret says why. */
static bool may_be_made(Look *look, const Found *found, State *ret)
{
    const char *why = bundle_verdict(&found->bundle, "Connector", look->name);
    AUTO(json_free) json_t *own = bundle_secrets(found->connector, NULL, NULL);
    if (!found->bundle.text) {
        *ret = state_of(HEALTH_STALLED, "Stalled", "InvalidSpec", "%s",
                        why ? why : "its manifest can't be made");
        return false;
    }
    if (!secrets_are_there(look, own, ret))
        return false;
    if (kafka_name_taken(look, KIND_CONNECTOR, found->connector, ret))
        return false;
    const Bundle *bundle = read_by_pods(found);
    if (strlen(bundle->text) > 1000000) {
        *ret = state_of(HEALTH_STALLED, "Stalled", "ManifestTooLarge",
                        "its units make a manifest of %zu bytes, and a ConfigMap holds 1 MiB: use "
                        "patterns (connectorRef.tables), or several Connectors",
                        strlen(bundle->text));
        return false;
    }
    if (!has_work(found) && json_array_size(found->units) && !is_outdated(look, found) &&
        !is_prepared(look)) {
        *ret = state_without_work(found);
        return false;
    }
    return true;
}

/* What Kubernetes says of its Pods, and they themselves: as many as are well are to be heard. */
static State hear(Look *look, Reported *ret)
{
    DeploymentCounts counts;
    State by_pods = state_of_process(look, "capture", 0, &counts);
    AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
    bool well = by_pods.health == HEALTH_READY && strcmp(by_pods.phase, "Stopped") != 0;
    reports_see(look->op->reports, key, look->op->options.channel && well, look->now_us, ret);
    return state_of_reported(&by_pods, ret);
}

static bool make(Look *look, const Found *found, const Orders *orders, Error *err)
{
    Operator *op = look->op;
    char label[NAME_BYTES_MAX], secrets_hash[HASH_BYTES];
    hash_secrets(look, found->secrets, secrets_hash);
    ConnectorInput input = {.connector = found->connector,
                            .manifest = read_by_pods(found)->text,
                            .manifest_hash = read_by_pods(found)->hash,
                            .maintains = read_by_pods(found)->maintains,
                            .secrets = found->secrets,
                            .secrets_hash = secrets_hash,
                            .defaults = &op->options.agent};
    AUTO(mem_free) char *terms = agents_terms(op, &input);
    AUTO(mem_free) char *text = orders_text(orders);
    input.orders = text;
    AUTO(json_free)
    json_t *wanted = has_work(found) ? desired_of_connector(&input) : json_array();
    size_t i;
    json_t *child;
    json_array_foreach(wanted, i, child)
    {
        if (!child_apply(op, found->connector, child, err))
            return false;
    }
    name_of_label(look->name, label);
    return children_prune(op, found->connector, 0, label, wanted, err);
}

/* --- what it says of others --- */

static void tell_units(Look *look, const Found *found)
{
    size_t i;
    json_t *unit;
    json_array_foreach(found->units, i, unit)
    {
        const char *name = object_name(unit);
        const json_t *out = json_object_get(found->kept_out, name);
        const char *reason = json_string_value(json_array_get(out, 0));
        const char *why = out ? json_string_value(json_array_get(out, 1))
                              : bundle_verdict(&found->bundle, "IngestionUnit", name);
        State state = state_of(HEALTH_STALLED, "Stalled", reason ? reason : "InvalidSpec", "%s",
                               why ? why : "");
        if (verdicts_set(look->op->verdicts, 'u', look->namespace_name, name, why ? &state : NULL))
            enqueue(look->op, 'u', look->namespace_name, name);
        const char *table;
        for (size_t t = 0; (table = object_table(unit, t)); t++) {
            why = bundle_verdict(&found->bundle, "LakeTable", table);
            state = state_of(HEALTH_STALLED, "Stalled", "InvalidSpec", "%s", why ? why : "");
            if (verdicts_set(look->op->verdicts, 't', look->namespace_name, table,
                             why ? &state : NULL))
                enqueue(look->op, 't', look->namespace_name, table);
        }
    }
}

static bool finalizer_set(Look *look, const json_t *connector, Error *err)
{
    bool wanted = connector_has_slot(connector);
    if (object_has_finalizer(connector, FINALIZER) == wanted)
        return true;
    if (!finalizer_write(look, KIND_CONNECTOR, connector, FINALIZER, wanted, err))
        return false;
    CRASH_POINT("operator-finalizer-set");
    return true;
}

static bool is_paused(const json_t *object)
{
    const char *paused = object_annotation(object, ANNOTATION_PAUSE);
    return paused && strcmp(paused, "false") != 0;
}

/* One of which nothing is there yet, while a crowd falters: all that is the same whatever its units
 * are is made, so that ConfigMap and Deployment alone remain for the crowd's end. What is wrong is
 * said by the look that follows. */
static bool prepare(Look *look, Error *err)
{
    AUTO(json_free)
    json_t *connector =
        cache_get(look->op->cache, KIND_CONNECTOR, look->namespace_name, look->name);
    AUTO(json_free)
    json_t *units = cache_names(look->op->cache, KIND_UNIT, look->namespace_name, 0, look->name);
    if (!connector || object_is_deleted(connector) || is_paused(connector) ||
        !json_array_size(units))
        return true;
    Found found = {.connector = json_incref(connector)};
    State state;
    bool ok = true;
    bundle_make(connector, NULL, NULL, &found.bundle);
    if (may_be_made(look, &found, &state)) {
        AUTO(json_free) json_t *none = json_array();
        ConnectorInput input = {.connector = connector,
                                .manifest = found.bundle.text,
                                .manifest_hash = found.bundle.hash,
                                .secrets = none,
                                .secrets_hash = "",
                                .defaults = &look->op->options.agent};
        AUTO(json_free) json_t *wanted = desired_of_connector(&input);
        ok = finalizer_set(look, connector, err);
        for (size_t i = 0; ok && i < json_array_size(wanted); i++) {
            const json_t *child = json_array_get(wanted, i);
            Kind kind = kind_of(child);
            ok = kind == KIND_CONFIG_MAP || kind == KIND_DEPLOYMENT ||
                 child_apply(look->op, connector, child, err);
        }
    }
    found_done(&found);
    return ok || err->kind == ERROR_CONFIG;
}

/* While units and tables come by the hundred: each look reads all that are there, and what it
 * writes rolls the Pods. One that came with them waits likewise. */
static bool can_wait(Look *look, bool *ret_prepares)
{
    Verdicts *verdicts = look->op->verdicts;
    int64_t ends_us = crowd_ends_us(look->op), still_us = crowd_is_still_us(look->op);
    int64_t since_us = verdicts_looked_at(verdicts, look->namespace_name, look->name);
    *ret_prepares = false;
    if (!ends_us || (since_us && look->now_us >= since_us + CROWD_LOOKS_US))
        return false;
    if (!since_us)
        verdicts_looked(verdicts, look->namespace_name, look->name, look->now_us);
    bool begun = has_child(look, KIND_SERVICE_ACCOUNT);
    *ret_prepares = !begun && look->now_us >= still_us;
    enqueue_first(look->op, 'c', look->namespace_name, look->name,
                  begun || *ret_prepares ? ends_us : still_us);
    return true;
}

bool connector_look(Look *look, Error *err)
{
    Operator *op = look->op;
    bool prepares;
    if (can_wait(look, &prepares))
        return !prepares || prepare(look, err);
    json_t *connector = cache_get(op->cache, KIND_CONNECTOR, look->namespace_name, look->name);
    if (!connector) {
        AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
        reports_forget(op->reports, key);
        verdicts_looked(op->verdicts, look->namespace_name, look->name, 0);
        if (verdicts_set(op->verdicts, 'c', look->namespace_name, look->name, NULL))
            enqueue_units_of(op, look->namespace_name, look->name);
        return true;
    }
    if (object_is_deleted(connector) || is_paused(connector)) {
        bool ok = !object_is_deleted(connector) || connector_finalize(look, connector, err);
        json_decref(connector);
        return ok;
    }
    verdicts_looked(op->verdicts, look->namespace_name, look->name, look->now_us);
    Found found;
    State state;
    Reported reported = {0};
    Orders orders;
    orders_find(look, KIND_CONNECTOR, connector, &orders);
    bool ok = finalizer_set(look, connector, err), made = false;
    find(look, connector, &found);
    if (ok && may_be_made(look, &found, &state) && !(made = make(look, &found, &orders, err))) {
        ok = err->kind == ERROR_CONFIG; /* a person can mend it, and is told */
        if (ok) {
            state = state_of(HEALTH_STALLED, "Stalled", err->code, "%s", err->message);
            look_again(look, 10000000);
        }
    }
    size_t tables = found.bundle.units;
    if (ok) {
        State heard = hear(look, &reported);
        if (made)
            state = has_work(&found) ? heard : state_without_work(&found);
    }
    if (ok && made && !found.streams)
        ok = patterns_make(look, &reported, found.good, found.bundle.text, &tables, err);
    if (ok) {
        AUTO(json_free) json_t *more = json_pack("{sI}", "tables", (json_int_t)tables);
        /* Once it stands, there may be a slot: see finalize.c. */
        const char *hash = made && has_work(&found) ? read_by_pods(&found)->hash
                                                    : object_text(connector, "status.manifestHash");
        if (hash)
            json_object_set_new(more, "manifestHash", json_string(hash));
        AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
        orders_tell(look, connector, key, &orders, &reported, more);
        tell_units(look, &found);
        if (verdicts_set(op->verdicts, 'c', look->namespace_name, look->name, &state))
            enqueue_units_of(op, look->namespace_name, look->name);
        Condition others[4];
        conditions_of_connector(&reported, others);
        ok = say(look, KIND_CONNECTOR, connector, &state, others, more, err);
    }
    reported_done(&reported);
    orders_done(&orders);
    found_done(&found);
    return ok;
}
