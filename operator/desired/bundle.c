/* The agent reads what a user applies: the Connector, its units in the order in which they were
 * made, and the LakeTables these name, each reduced to what a person wrote. The agent's own reader
 * (common/manifest) judges the whole; what it finds wrong is taken out and the rest judged again.
 */
#include <stdio.h>

#include "common/manifest/manifest.h"
#include "operator/desired/desired.h"

#define ROUNDS_MAX 8

void bundle_done(Bundle *bundle)
{
    for (size_t i = 0; i < bundle->verdict_count; i++) {
        free(bundle->verdicts[i].object);
        free(bundle->verdicts[i].message);
    }
    free(bundle->verdicts);
    free(bundle->text);
    *bundle = (Bundle){0};
}

static const char *verdict_on(const Bundle *bundle, const char *object)
{
    for (size_t i = 0; i < bundle->verdict_count; i++)
        if (strcmp(bundle->verdicts[i].object, object) == 0)
            return bundle->verdicts[i].message;
    return NULL;
}

const char *bundle_verdict(const Bundle *bundle, const char *kind, const char *name)
{
    AUTO(mem_free) char *object = mem_format("%s/%s", kind, name);
    return verdict_on(bundle, object);
}

static bool judge(Bundle *bundle, const char *object, const char *path, const char *message)
{
    if (verdict_on(bundle, object))
        return false;
    bundle->verdicts =
        mem_regrow(bundle->verdicts, bundle->verdict_count + 1, sizeof *bundle->verdicts);
    bundle->verdicts[bundle->verdict_count++] =
        (Verdict){mem_strdup(object), mem_format("%s%s%s", path, *path ? ": " : "", message)};
    return true;
}

/* --- order --- */

typedef struct Aged {
    const char *made, *name;
    const json_t *object;
} Aged;

static int by_age(const void *a, const void *b)
{
    const Aged *x = a, *y = b;
    int order = strcmp(x->made, y->made);
    return order ? order : strcmp(x->name, y->name);
}

static void put_aged(Aged *items, size_t *count, const json_t *object)
{
    const char *made = object_text(object, "metadata.creationTimestamp");
    if (!object_is_deleted(object))
        items[(*count)++] = (Aged){made ? made : "", object_name(object), object};
}

/* Of an array or of an object's members those that are not being deleted, oldest first; the array
 * is the caller's, what its items hold is not. */
static Aged *in_order(const json_t *all, size_t *ret_count)
{
    Aged *items = mem_array(json_array_size(all) + json_object_size(all) + 1, sizeof *items);
    size_t i, count = 0;
    const char *name;
    json_t *item;
    json_array_foreach(all, i, item)
    {
        put_aged(items, &count, item);
    }
    json_object_foreach((json_t *)(uintptr_t)all, name, item)
    {
        put_aged(items, &count, item);
    }
    qsort(items, count, sizeof *items, by_age);
    *ret_count = count;
    return items;
}

/* --- text --- */

static void put_object(Bytes *to, const json_t *object)
{
    json_t *spec = json_copy(json_object_get(object, "spec")); /* shallow: only keys go */
    json_object_del(spec, "agent");
    const char *state = json_string_value(json_object_get(spec, "state"));
    if (state && strcmp(state, "Paused") == 0) /* which is told to who runs: no Pod is rolled */
        json_object_set_new(spec, "state", json_string("Running"));
    json_t *clean = json_pack(
        "{s:O, s:O, s:{s:s, s:s}, s:o}", "apiVersion", json_object_get(object, "apiVersion"),
        "kind", json_object_get(object, "kind"), "metadata", "name", object_name(object),
        "namespace", object_namespace(object), "spec", spec);
    AUTO(mem_free) char *text = object_dump(clean);
    json_decref(clean);
    bytes_put(to, text, strlen(text));
    bytes_put(to, "\n---\n", 5);
}

static bool is_out(const Bundle *bundle, const json_t *object)
{
    return bundle_verdict(bundle, json_string_value(json_object_get(object, "kind")),
                          object_name(object));
}

/* The first of the unit's tables that is out, or NULL. */
static const char *refused_table(const Bundle *bundle, const json_t *unit)
{
    const char *name;
    for (size_t i = 0; (name = object_table(unit, i)); i++)
        if (bundle_verdict(bundle, "LakeTable", name))
            return name;
    return NULL;
}

/* It may be on its way: its unit's own look says so, and when that has taken too long. */
static bool waits_for_table(const json_t *unit, const json_t *tables)
{
    const char *name;
    for (size_t i = 0; (name = object_table(unit, i)); i++)
        if (!json_object_get(tables, name))
            return true;
    return false;
}

typedef struct Parts {
    const json_t *connector; /* NULL: its unit reads a topic of somebody else's */
    const json_t *by_name;   /* the tables */
    Aged *units, *tables;
    size_t unit_count, table_count;
} Parts;

static Bytes text_of(const Parts *parts, Bundle *bundle)
{
    Bytes text = {0};
    AUTO(json_free) json_t *used = json_object();
    if (parts->connector)
        put_object(&text, parts->connector);
    bundle->units = 0;
    for (size_t i = 0; i < parts->unit_count; i++) {
        const json_t *unit = parts->units[i].object;
        const char *name;
        if (is_out(bundle, unit) || refused_table(bundle, unit) ||
            waits_for_table(unit, parts->by_name))
            continue;
        put_object(&text, unit);
        bundle->units++;
        for (size_t t = 0; (name = object_table(unit, t)); t++)
            json_object_set_new(used, name, json_true());
    }
    for (size_t t = 0; t < parts->table_count; t++)
        if (json_object_get(used, parts->tables[t].name))
            put_object(&text, parts->tables[t].object);
    return text;
}

/* True: something more was taken out. */
static bool judge_findings(Bundle *bundle, const Findings *findings)
{
    bool more = false;
    for (size_t i = 0; i < findings->count; i++)
        if (findings->items[i].object[0])
            more |= judge(bundle, findings->items[i].object, findings->items[i].path,
                          findings->items[i].message);
    return more;
}

/* A unit whose table was refused says so itself. */
static void judge_by_tables(Bundle *bundle, const Parts *parts)
{
    for (size_t i = 0; i < parts->unit_count; i++) {
        const char *name = refused_table(bundle, parts->units[i].object);
        if (!name)
            continue;
        const char *why = bundle_verdict(bundle, "LakeTable", name);
        AUTO(mem_free) char *object = mem_format("IngestionUnit/%s", parts->units[i].name);
        AUTO(mem_free) char *message = mem_format("LakeTable %s is refused: %s", name, why);
        (void)judge(bundle, object, "", message);
    }
}

void bundle_make(const json_t *connector, const json_t *units, const json_t *tables, Bundle *ret)
{
    *ret = (Bundle){0};
    Parts parts = {.connector = connector, .by_name = tables};
    parts.units = in_order(units, &parts.unit_count);
    parts.tables = in_order(tables, &parts.table_count);
    for (int round = 0; round < ROUNDS_MAX && !ret->text; round++) {
        Bytes text = text_of(&parts, ret);
        if (!text.used) /* the only unit was refused */
            break;
        Manifest *manifest = NULL;
        Findings findings = {0};
        bool good = manifest_parse("manifest.yaml", (const char *)text.data, text.used, &manifest,
                                   &findings);
        bool maintains = good && manifest_is_maintained(manifest);
        manifest_free(manifest);
        bool more = !good && judge_findings(ret, &findings);
        findings_done(&findings);
        judge_by_tables(ret, &parts);
        if (good) {
            ret->maintains = maintains;
            bytes_put_u8(&text, '\0');
            ret->text = (char *)text.data;
            hash_as_text(ret->text, ret->hash);
        } else {
            bytes_done(&text);
        }
        if (!good &&
            (!more || (connector && bundle_verdict(ret, "Connector", object_name(connector)))))
            break;
    }
    free(parts.units);
    free(parts.tables);
}

char *bundle_of_table(const json_t *table)
{
    Bytes text = {0};
    put_object(&text, table);
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

bool bundle_holds(const char *text, const char *kind, const char *name)
{
    AUTO(mem_free)
    char *head = mem_format("\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\"", kind, name);
    return strstr(text, head);
}

bool bundle_holds_others(const char *text, const json_t *units)
{
    static const char head[] = "\"kind\":\"IngestionUnit\",\"metadata\":{\"name\":\"";
    for (const char *at = text; (at = strstr(at, head));) {
        at += sizeof head - 1;
        size_t bytes = strcspn(at, "\""), i;
        const json_t *unit;
        bool known = false;
        json_array_foreach(units, i, unit)
        {
            const char *name = object_name(unit);
            known |= strlen(name) == bytes && memcmp(name, at, bytes) == 0;
        }
        if (!known)
            return true;
    }
    return false;
}

/* --- Secrets --- */

static void add_name(json_t *names, const char *name)
{
    size_t i = 0;
    while (i < json_array_size(names)) {
        int order = strcmp(json_string_value(json_array_get(names, i)), name);
        if (order == 0)
            return;
        if (order > 0)
            break;
        i++;
    }
    json_array_insert_new(names, i, json_string(name));
}

/* Every …SecretRef, wherever it stands. */
static void find_secrets(json_t *names, const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    json_array_foreach(value, i, item)
    {
        find_secrets(names, item);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        size_t bytes = strlen(key);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && bytes >= 9 && strcmp(key + bytes - 9, "SecretRef") == 0)
            add_name(names, name);
        else if (strcmp(key, "agent") != 0)
            find_secrets(names, item);
    }
}

json_t *bundle_secrets(const json_t *connector, const json_t *units, const json_t *tables)
{
    json_t *names = json_array();
    size_t i;
    json_t *unit;
    find_secrets(names, json_object_get(connector, "spec"));
    json_array_foreach(units, i, unit)
    {
        if (object_is_deleted(unit))
            continue;
        find_secrets(names, json_object_get(unit, "spec"));
        const char *name;
        for (size_t t = 0; (name = object_table(unit, t)); t++)
            find_secrets(names, json_object_get(json_object_get(tables, name), "spec"));
    }
    return names;
}
