/* A Connector: what its Pods read, its children, and what that means to its units. */
#include <stdio.h>

#include "common/crash.h"
#include "operator/reconcile/reconcile.h"

#define CROWD_LOOKS_US 5000000 /* apart, in a crowd */

static bool has_secrets(Look *look, const json_t *names, const char **ret_missing)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        AUTO(mem_free)
        char *version = cache_version(look->op->cache, KIND_SECRET, look->namespace_name,
                                      json_string_value(name));
        *ret_missing = json_string_value(name);
        if (!version)
            return false;
    }
    return true;
}

void hash_secrets(Look *look, const json_t *names, char ret[HASH_BYTES])
{
    Bytes text = {0};
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        AUTO(mem_free)
        char *version = cache_version(look->op->cache, KIND_SECRET, look->namespace_name,
                                      json_string_value(name));
        AUTO(mem_free)
        char *line = mem_format("%s=%s\n", json_string_value(name), version ? version : "");
        bytes_put(&text, line, strlen(line));
    }
    bytes_put_u8(&text, '\0');
    hash_as_text((char *)text.data, ret);
    bytes_done(&text);
}

/* Units whose Secrets are not there stay out, and say so. The list that remains; the caller's. */
static json_t *units_with_secrets(Look *look, const json_t *units, const json_t *tables,
                                  json_t *verdicts)
{
    json_t *rest = json_array();
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        json_t *one = json_pack("[O]", unit);
        AUTO(json_free) json_t *names = bundle_secrets(NULL, one, tables);
        const char *missing;
        bool there = has_secrets(look, names, &missing);
        json_decref(one);
        if (there) {
            json_array_append(rest, unit);
            continue;
        }
        AUTO(mem_free)
        char *why = mem_format("Secret %s, which it names, is not in namespace %s: make it",
                               missing, look->namespace_name);
        json_object_set_new(verdicts, object_name(unit), json_string(why));
    }
    return rest;
}

typedef struct Found {
    json_t *connector, *units, *tables; /* all */
    json_t *good;                       /* units whose Secrets are there */
    json_t *missing;                    /* of the others: name → why */
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
    json_decref(found->missing);
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
    *ret = (Found){.connector = connector, .missing = json_object()};
    ret->units = cache_list(cache, KIND_UNIT, look->namespace_name, 0, look->name);
    for (size_t i = json_array_size(ret->units); i-- > 0;)
        if (is_of_pattern(json_array_get(ret->units, i)))
            json_array_remove(ret->units, i);
    ret->tables = tables_of_units(look->op, look->namespace_name, ret->units);
    ret->good = units_with_secrets(look, ret->units, ret->tables, ret->missing);
    ret->streams = object_at(connector, "spec.stream");
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

/* A unit that names what is not there yet is not refused for it: see unit.c. */
static bool is_refused(const Found *found, const json_t *unit)
{
    return json_object_get(found->missing, object_name(unit)) ||
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
    const char *why = bundle_verdict(&found->bundle, "Connector", look->name), *missing;
    AUTO(json_free) json_t *own = bundle_secrets(found->connector, NULL, NULL);
    if (!found->bundle.text) {
        *ret = state_of(HEALTH_STALLED, "Stalled", "InvalidSpec", "%s",
                        why ? why : "its manifest can't be made");
        return false;
    }
    if (!has_secrets(look, own, &missing)) {
        *ret = state_of(HEALTH_STALLED, "Stalled", "SecretMissing",
                        "Secret %s, which it names, is not in namespace %s: make it", missing,
                        look->namespace_name);
        return false;
    }
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
    if (!has_work(found) && json_array_size(found->units) && !is_outdated(look, found)) {
        *ret = state_without_work(found);
        return false;
    }
    return true;
}

/* As many processes as Kubernetes says are well are to be heard. */
static void hear(Look *look, const State *by_pods, Reported *ret)
{
    AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
    bool well = by_pods->health == HEALTH_READY && strcmp(by_pods->phase, "Stopped") != 0;
    reports_see(look->op->reports, key, look->op->options.channel && well, look->now_us, ret);
}

static bool make(Look *look, const Found *found, const Orders *orders, State *ret,
                 Reported *reported, Error *err)
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
    if (!children_prune(op, found->connector, 0, label, wanted, err))
        return false;
    if (!has_work(found)) {
        *ret = state_without_work(found);
        return true;
    }
    DeploymentCounts counts;
    State by_pods = state_of_process(look, "capture", 0, &counts);
    reported_done(reported);
    hear(look, &by_pods, reported);
    *ret = state_of_reported(&by_pods, reported);
    return true;
}

/* --- what it says of others --- */

static void tell_units(Look *look, const Found *found)
{
    size_t i;
    json_t *unit;
    json_array_foreach(found->units, i, unit)
    {
        const char *name = object_name(unit);
        const char *missing = json_string_value(json_object_get(found->missing, name));
        const char *why = bundle_verdict(&found->bundle, "IngestionUnit", name);
        State state =
            state_of(HEALTH_STALLED, "Stalled", missing ? "SecretMissing" : "InvalidSpec", "%s",
                     missing ? missing
                     : why   ? why
                             : "");
        if (verdicts_set(look->op->verdicts, 'u', look->namespace_name, name,
                         missing || why ? &state : NULL))
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
    const json_t *manage = object_at(connector, "spec.source.postgresql.manage");
    bool wanted = !json_is_false(manage);
    if (object_has_finalizer(connector, FINALIZER) == wanted)
        return true;
    AUTO(json_free)
    json_t *body =
        json_pack("{ss ss s{ss ss s[]}}", "apiVersion", kinds[KIND_CONNECTOR].api_version, "kind",
                  kinds[KIND_CONNECTOR].name, "metadata", "name", look->name, "namespace",
                  look->namespace_name, "finalizers");
    if (wanted)
        json_array_append_new(object_at(body, "metadata.finalizers"), json_string(FINALIZER));
    AUTO(json_free) json_t *now = NULL;
    if (!may_write(look->op, err) || !api_apply(look->op->api, body, &now, err))
        return error_wrap(err, "finalizer of Connector/%s", look->name);
    if (object_same_wish(connector, now))
        cache_put(look->op->cache, KIND_CONNECTOR, now);
    CRASH_POINT("operator-finalizer-set");
    return true;
}

static bool is_paused(const json_t *object)
{
    const char *paused = object_annotation(object, ANNOTATION_PAUSE);
    return paused && strcmp(paused, "false") != 0;
}

/* While units and tables come by the hundred: each look reads all that are there, and what it
 * writes rolls the Pods. One that came with them waits likewise. */
static bool can_wait(Look *look)
{
    Verdicts *verdicts = look->op->verdicts;
    int64_t ends_us = crowd_ends_us(look->op);
    int64_t since_us = verdicts_looked_at(verdicts, look->namespace_name, look->name);
    if (!ends_us || (since_us && look->now_us >= since_us + CROWD_LOOKS_US))
        return false;
    if (!since_us)
        verdicts_looked(verdicts, look->namespace_name, look->name, look->now_us);
    enqueue_first(look->op, 'c', look->namespace_name, look->name, ends_us);
    return true;
}

bool connector_look(Look *look, Error *err)
{
    Operator *op = look->op;
    if (can_wait(look))
        return true;
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
    if (ok && may_be_made(look, &found, &state) &&
        !(made = make(look, &found, &orders, &state, &reported, err))) {
        ok = err->kind == ERROR_CONFIG; /* a person can mend it, and is told */
        if (ok) {
            state = state_of(HEALTH_STALLED, "Stalled", err->code, "%s", err->message);
            look_again(look, 10000000);
        }
    }
    size_t tables = found.bundle.units;
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
