/* What updates of the REST protocol make of metadata: the one place where new metadata comes from.
 * A catalog that is nothing but a pointer gets it whole; one that writes metadata itself does the
 * same on its side, and this is then what we expect of it.
 *
 * The old metadata stays as it is: what changes is copied, one level deep; snapshots and everything
 * we don't know are shared.
 * https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml (TableUpdate) */
#include <inttypes.h>
#include <string.h>

#include "agent/table/iceberg/change.h"
#include "agent/table/iceberg/hashes.h"

typedef struct Apply {
    json_t *metadata;
    int64_t now_ms;
    json_int_t schema_id, spec_id, order_id; /* last added, which -1 stands for */
} Apply;

static json_int_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool bad(const char *what, Error *err)
{
    return error_set(err, ERROR_FATAL, "BadUpdate", "an update of the table's metadata %s", what);
}

/* A copy of one member, so that the old metadata stays as it is. */
static json_t *own(Apply *apply, const char *key)
{
    json_t *copy = json_copy(json_object_get(apply->metadata, key));
    if (!copy)
        copy = strcmp(key, "refs") == 0 || strcmp(key, "properties") == 0 ? json_object()
                                                                          : json_array();
    json_object_set_new(apply->metadata, key, copy);
    return copy;
}

/* ---------- the table ---------- */
static bool assign_uuid(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_object_set(apply->metadata, "table-uuid", json_object_get(update, "uuid"));
    return true;
}

static bool upgrade_format_version(Apply *apply, json_t *update, Error *err)
{
    json_int_t version = integer(update, "format-version");
    if (version < integer(apply->metadata, "format-version"))
        return bad("lowers the format version", err);
    json_object_set_new(apply->metadata, "format-version", json_integer(version));
    if (version >= 3 && !json_object_get(apply->metadata, "next-row-id"))
        json_object_set_new(apply->metadata, "next-row-id", json_integer(0));
    if (version >= 3 && integer(apply->metadata, "current-snapshot-id") == -1)
        json_object_set_new(apply->metadata, "current-snapshot-id", json_null());
    return true;
}

static bool set_location(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_object_set(apply->metadata, "location", json_object_get(update, "location"));
    return true;
}

static bool set_properties(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_object_update(own(apply, "properties"), json_object_get(update, "updates"));
    return true;
}

static bool remove_properties(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_t *properties = own(apply, "properties"), *name;
    size_t i;
    json_array_foreach(json_object_get(update, "removals"), i, name)
    {
        json_object_del(properties, json_string_value(name));
    }
    return true;
}

/* ---------- schemas, specs, sort orders ---------- */
static bool add_schema(Apply *apply, json_t *update, Error *err)
{
    const json_t *last = json_object_get(update, "last-column-id");
    json_t *schema = json_object_get(update, "schema");
    if (!json_is_integer(last))
        return bad("adds a schema without last-column-id", err);
    if (json_integer_value(last) > integer(apply->metadata, "last-column-id"))
        json_object_set_new(apply->metadata, "last-column-id",
                            json_integer(json_integer_value(last)));
    apply->schema_id = integer(schema, "schema-id");
    json_array_append(own(apply, "schemas"), schema);
    return true;
}

static bool add_spec(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_t *spec = json_object_get(update, "spec"), *field;
    json_int_t last = integer(apply->metadata, "last-partition-id");
    size_t i;
    json_array_foreach(json_object_get(spec, "fields"), i, field)
    {
        if (integer(field, "field-id") > last)
            last = integer(field, "field-id");
    }
    json_object_set_new(apply->metadata, "last-partition-id", json_integer(last));
    apply->spec_id = integer(spec, "spec-id");
    json_array_append(own(apply, "partition-specs"), spec);
    return true;
}

static bool add_sort_order(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    json_t *order = json_object_get(update, "sort-order");
    apply->order_id = integer(order, "order-id");
    json_array_append(own(apply, "sort-orders"), order);
    return true;
}

/* -1: the one that was added last. */
static bool choose(Apply *apply, const json_t *update, const char *from, const char *to,
                   json_int_t last, Error *err)
{
    json_int_t id = integer(update, from);
    id = id == -1 ? last : id;
    if (id < 0)
        return bad("chooses what was never added", err);
    json_object_set_new(apply->metadata, to, json_integer(id));
    return true;
}

static bool set_current_schema(Apply *apply, json_t *update, Error *err)
{
    return choose(apply, update, "schema-id", "current-schema-id", apply->schema_id, err);
}

static bool set_default_spec(Apply *apply, json_t *update, Error *err)
{
    return choose(apply, update, "spec-id", "default-spec-id", apply->spec_id, err);
}

static bool set_default_sort_order(Apply *apply, json_t *update, Error *err)
{
    return choose(apply, update, "sort-order-id", "default-sort-order-id", apply->order_id, err);
}

/* ---------- snapshots ---------- */
static bool add_snapshot(Apply *apply, json_t *update, Error *err)
{
    json_t *snapshot = json_object_get(update, "snapshot");
    json_int_t number = integer(snapshot, "sequence-number");
    if (number <= integer(apply->metadata, "last-sequence-number"))
        return bad("adds a snapshot that is older than the newest", err);
    json_object_set_new(apply->metadata, "last-sequence-number", json_integer(number));
    json_object_set(apply->metadata, "last-updated-ms", json_object_get(snapshot, "timestamp-ms"));
    if (integer(apply->metadata, "format-version") >= 3)
        json_object_set_new(
            apply->metadata, "next-row-id",
            json_integer(integer(snapshot, "first-row-id") + integer(snapshot, "added-rows")));
    json_array_append(own(apply, "snapshots"), snapshot);
    return true;
}

static bool set_snapshot_ref(Apply *apply, json_t *update, Error *err)
{
    const char *name = json_string_value(json_object_get(update, "ref-name"));
    json_t *id = json_object_get(update, "snapshot-id");
    const json_t *snapshot = metadata_snapshot(apply->metadata, json_integer_value(id));
    if (!name || !snapshot)
        return bad("names a snapshot that is not there", err);
    json_t *ref = json_copy(update);
    json_object_del(ref, "action");
    json_object_del(ref, "ref-name");
    json_object_set_new(own(apply, "refs"), name, ref);
    if (strcmp(name, "main") != 0)
        return true;
    /* one that was there before is set again at this time, a fresh one at its own */
    json_int_t then_ms = integer(snapshot, "timestamp-ms");
    json_int_t at_ms =
        then_ms == integer(apply->metadata, "last-updated-ms") ? then_ms : apply->now_ms;
    json_object_set(apply->metadata, "current-snapshot-id", id);
    json_array_append_new(own(apply, "snapshot-log"),
                          json_pack("{s:I,s:O}", "timestamp-ms", at_ms, "snapshot-id", id));
    return true;
}

static bool remove_snapshot_ref(Apply *apply, json_t *update, Error *err)
{
    (void)err;
    const char *name = json_string_value(json_object_get(update, "ref-name"));
    json_object_del(own(apply, "refs"), name);
    if (strcmp(name, "main") == 0)
        json_object_set_new(apply->metadata, "current-snapshot-id",
                            integer(apply->metadata, "format-version") >= 3 ? json_null()
                                                                            : json_integer(-1));
    return true;
}

/* Entries of the array that name an expired snapshot go. gapless: what is before one, too. */
static void forget(Apply *apply, const char *key, const Hashes *expired, bool gapless)
{
    json_t *old = json_object_get(apply->metadata, key), *kept = json_array(), *entry;
    size_t i;
    json_array_foreach(old, i, entry)
    {
        if (!hashes_have(expired, (uint64_t)integer(entry, "snapshot-id")))
            json_array_append(kept, entry);
        else if (gapless)
            json_array_clear(kept);
    }
    if (json_array_size(kept) != json_array_size(old))
        json_object_set(apply->metadata, key, kept);
    json_decref(kept);
}

static bool remove_snapshots(Apply *apply, json_t *update, Error *err)
{
    Hashes ids = {0};
    size_t i;
    const char *name;
    json_t *item;
    bool ok = true;
    json_array_foreach(json_object_get(update, "snapshot-ids"), i, item)
    {
        hashes_add(&ids, (uint64_t)json_integer_value(item));
    }
    hashes_sort(&ids);
    json_object_foreach(json_object_get(apply->metadata, "refs"), name, item)
    {
        ok = ok && !hashes_have(&ids, (uint64_t)integer(item, "snapshot-id"));
    }
    if (ok) {
        forget(apply, "snapshots", &ids, false);
        forget(apply, "snapshot-log", &ids, true);
        forget(apply, "statistics", &ids, false);
        forget(apply, "partition-statistics", &ids, false);
    }
    hashes_done(&ids);
    return ok || bad("removes a snapshot that a ref names", err);
}

/* ---------- all ---------- */
static const struct {
    const char *action;
    bool (*apply)(Apply *apply, json_t *update, Error *err);
} actions[] = {
    {"assign-uuid", assign_uuid},
    {"upgrade-format-version", upgrade_format_version},
    {"set-location", set_location},
    {"set-properties", set_properties},
    {"remove-properties", remove_properties},
    {"add-schema", add_schema},
    {"set-current-schema", set_current_schema},
    {"add-spec", add_spec},
    {"set-default-spec", set_default_spec},
    {"add-sort-order", add_sort_order},
    {"set-default-sort-order", set_default_sort_order},
    {"add-snapshot", add_snapshot},
    {"set-snapshot-ref", set_snapshot_ref},
    {"remove-snapshot-ref", remove_snapshot_ref},
    {"remove-snapshots", remove_snapshots},
};

static bool apply_one(Apply *apply, json_t *update, Error *err)
{
    const char *action = json_string_value(json_object_get(update, "action"));
    for (size_t i = 0; action && i < ARRAY_LEN(actions); i++)
        if (strcmp(actions[i].action, action) == 0)
            return actions[i].apply(apply, update, err);
    return bad(action ? action : "has no action", err);
}

/* A table of which nothing is known yet. */
static json_t *nothing(int64_t now_ms)
{
    json_t *metadata = json_pack(
        "{s:i,s:n,s:n,s:i,s:I,s:i,s:i,s:[],s:i,s:[],s:i,s:i,s:[],s:{},s:i,s:{},s:[],s:[],s:[],s:[],"
        "s:[]}",
        "format-version", 1, "table-uuid", "location", "last-sequence-number", 0, "last-updated-ms",
        (json_int_t)now_ms, "last-column-id", 0, "current-schema-id", -1, "schemas",
        "default-spec-id", -1, "partition-specs", "last-partition-id", PARTITION_ID_BEFORE_FIRST,
        "default-sort-order-id", -1, "sort-orders", "properties", "current-snapshot-id", -1, "refs",
        "snapshots", "snapshot-log", "metadata-log", "statistics", "partition-statistics");
    ASSERT(metadata);
    return metadata;
}

json_t *metadata_apply(json_t *base, const json_t *updates, int64_t now_ms, Error *err)
{
    Apply apply = {.metadata = base ? json_copy(base) : nothing(now_ms),
                   .now_ms = now_ms,
                   .schema_id = -1,
                   .spec_id = -1,
                   .order_id = -1};
    int64_t last_ms = integer(apply.metadata, "last-updated-ms");
    if (now_ms > last_ms)
        json_object_set_new(apply.metadata, "last-updated-ms", json_integer(now_ms));
    size_t i;
    json_t *update;
    json_array_foreach(updates, i, update)
    {
        if (!apply_one(&apply, update, err)) {
            json_decref(apply.metadata);
            return NULL;
        }
    }
    return apply.metadata;
}
