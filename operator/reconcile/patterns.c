/* A pattern's tables are found by the agent, and told by it: each gets an IngestionUnit of its own,
 * owned by the one with the pattern and named as the agent names it, so that `kubectl get fiu`
 * shows every table. They say what is, and change nothing: the manifest has the pattern alone. */
#include "common/log.h"
#include "common/manifest/manifest.h"
#include "operator/reconcile/reconcile.h"

bool is_of_pattern(const json_t *unit)
{
    const char *kind = object_text(object_controller(unit), "kind");
    return kind && strcmp(kind, "IngestionUnit") == 0 && object_label(unit, LABEL_PATTERN);
}

static const json_t *named(const json_t *units, const char *name)
{
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        if (strcmp(object_name(unit), name) == 0)
            return unit;
    }
    return NULL;
}

/* Whether this pattern makes a unit of that name for the table. */
static bool makes(const IngestionUnitSpec *unit, const char *table, const char *name)
{
    size_t bytes = strlen(unit->meta.name);
    const char *dot = strchr(table, '.');
    if (!unit->tables.count || !dot || strncmp(name, unit->meta.name, bytes) != 0)
        return false;
    AUTO(mem_free) char *schema = mem_strndup(table, (size_t)(dot - table));
    LakeTableSpec *lake;
    AUTO(mem_free) char *own = NULL;
    Error err = {0};
    if (!manifest_expand(unit, schema, dot + 1, &lake, &own, &err))
        return false;
    lake_table_free(lake);
    return strcmp(own, name) == 0;
}

static const char *owner_of(const Manifest *manifest, const char *table, const char *name)
{
    for (size_t i = 0; i < manifest->unit_count; i++)
        if (makes(&manifest->units[i], table, name))
            return manifest->units[i].meta.name;
    return NULL;
}

/* Name → the IngestionUnit with the pattern. The caller's. */
static json_t *owners_of(const char *text, json_t *tables)
{
    json_t *owners = json_object(), *found;
    Manifest *manifest = NULL;
    Findings findings = {0};
    if (manifest_parse("manifest.yaml", text, strlen(text), &manifest, &findings)) {
        const char *name;
        json_object_foreach(tables, name, found)
        {
            const char *owner = owner_of(manifest, json_string_value(found), name);
            if (owner)
                json_object_set_new(owners, name, json_string(owner));
        }
    }
    manifest_free(manifest);
    findings_done(&findings);
    return owners;
}

static json_t *desired(const json_t *owner, const char *name, const char *table)
{
    char label[NAME_BYTES_MAX];
    name_of_label(object_name(owner), label);
    AUTO(json_free) json_t *labels = json_pack("{ss}", LABEL_PATTERN, label);
    json_t *unit = child_object(KIND_UNIT, owner, name, labels);
    json_t *spec = json_pack("{s{sO ss} sO}", "connectorRef", "name",
                             object_at(owner, "spec.connectorRef.name"), "table", table,
                             "outsourcingUnit", object_at(owner, "spec.outsourcingUnit"));
    ASSERT(spec);
    json_object_set_new(unit, "spec", spec);
    return unit;
}

/* One that can't be made (its name is taken, its table's name is none for Kubernetes) is left out:
 * its rows flow all the same. */
static bool make_one(Look *look, const json_t *owner, const char *name, const char *table,
                     Error *err)
{
    AUTO(json_free) json_t *unit = desired(owner, name, table);
    if (child_apply(look->op, owner, unit, err))
        return true;
    if (err->kind != ERROR_CONFIG)
        return false;
    log_warn("a table is not shown by a unit of its own", LOG_T("namespace", look->namespace_name),
             LOG_T("table", table), LOG_T("unit", name), LOG_T("reason", err->code),
             LOG_T("error", err->message));
    *err = (Error){0};
    return true;
}

static bool is_gone(const json_t *unit, const json_t *patterns, const json_t *owners)
{
    const char *uid = object_text(object_controller(unit), "uid");
    const json_t *owner = named(patterns, object_text(object_controller(unit), "name"));
    return owner && uid && strcmp(uid, object_uid(owner)) == 0 && !object_is_deleted(unit) &&
           !json_object_get(owners, object_name(unit));
}

bool patterns_make(Look *look, const Reported *reported, const json_t *units, const char *manifest,
                   size_t *ret_tables, Error *err)
{
    Operator *op = look->op;
    AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
    AUTO(json_free)
    json_t *all = cache_list(op->cache, KIND_UNIT, look->namespace_name, 0, look->name);
    AUTO(json_free)
    json_t *tables = reported->known ? reports_tables(op->reports, key) : NULL;
    json_t *unit, *owner;
    size_t i;
    *ret_tables = 0;
    json_array_foreach(units, i, unit)
    {
        *ret_tables += object_at(unit, "spec.connectorRef.table") != NULL;
    }
    if (!tables) {
        json_array_foreach(all, i, unit)
        {
            *ret_tables += is_of_pattern(unit);
        }
        return true;
    }
    AUTO(json_free) json_t *owners = owners_of(manifest, tables);
    if (reports_claim(op->reports, key, owners))
        enqueue_units_of(op, look->namespace_name, look->name);
    *ret_tables += json_object_size(owners);
    const char *name;
    json_object_foreach(owners, name, owner)
    {
        const json_t *pattern = named(units, json_string_value(owner));
        const char *table = json_string_value(json_object_get(tables, name));
        if (pattern && !make_one(look, pattern, name, table, err))
            return false;
    }
    bool whole =
        strcmp(reported->flow.phase, "Streaming") == 0; /* it has bound all that it found */
    json_array_foreach(all, i, unit)
    {
        if (whole && is_of_pattern(unit) && is_gone(unit, units, owners) &&
            !api_delete(op->api, KIND_UNIT, look->namespace_name, object_name(unit), err))
            return false;
    }
    return true;
}
