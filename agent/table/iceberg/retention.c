/* Law 10: snapshots are thinned as part of commits, and what only they held is deleted after.
 *
 * On a linear history a manifest or file is live in an unbroken run of snapshots. So what an
 * expired snapshot held is still needed if and only if it is live in the nearest retained snapshot
 * before or after it: two lists are read, not all. Where refs other than main exist, nothing is
 * deleted here (a branch may hold it); orphan cleaning is maintenance's. A crash before the
 * deletion leaves orphans, never a hole. */
#include <string.h>

#include "agent/table/iceberg/state.h"
#include "common/mem.h"

/* ---------- which snapshots go ---------- */
static int64_t time_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "timestamp-ms"));
}

static int64_t id_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "snapshot-id"));
}

static bool is_referenced(const json_t *metadata, int64_t snapshot_id)
{
    const char *name;
    json_t *ref;
    json_object_foreach(json_object_get(metadata, "refs"), name,
                        ref) if (id_of(ref) == snapshot_id) return true;
    return false;
}

/* The period a snapshot stands for: 0 keeps it, else equal periods keep only their first. -1: too
 * old. */
static int64_t period_of(const IcebergRetention *keep, int64_t time_ms, int64_t now_ms)
{
    int64_t age_ms = now_ms - time_ms;
    if (age_ms <= keep->all_ms)
        return 0;
    if (age_ms <= keep->hourly_ms)
        return 1 + time_ms / 3600000;
    return age_ms <= keep->daily_ms ? 1 + time_ms / 86400000 : -1;
}

static void forget_in_log(json_t *metadata, const json_t *expired)
{
    json_t *log = json_object_get(metadata, "snapshot-log"), *kept = json_array();
    size_t i, e;
    json_t *entry, *snapshot;
    json_array_foreach(log, i, entry)
    {
        bool gone = false;
        json_array_foreach(expired, e, snapshot) gone = gone || id_of(snapshot) == id_of(entry);
        if (gone)
            json_array_clear(kept); /* the log must have no gaps: what is older goes, too */
        else
            json_array_append(kept, entry);
    }
    json_object_set_new(metadata, "snapshot-log", kept);
}

size_t retention_thin(const IcebergTable *table, json_t *metadata, int64_t now_ms,
                      json_t **ret_expired)
{
    json_t *kept = json_array(), *expired = json_array();
    int64_t last_period = -1;
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(metadata, "snapshots"), i, snapshot)
    {
        int64_t period = period_of(&table->retention, time_of(snapshot), now_ms);
        bool keep = period == 0 || (period > 0 && period != last_period);
        if (period > 0)
            last_period = period;
        json_array_append(keep || is_referenced(metadata, id_of(snapshot)) ? kept : expired,
                          snapshot);
    }
    json_object_set_new(metadata, "snapshots", kept);
    if (json_array_size(expired))
        forget_in_log(metadata, expired);
    *ret_expired = expired;
    return json_array_size(expired);
}

/* ---------- what went with them ---------- */
typedef struct Hashes {
    uint64_t *items;
    size_t count, held;
} Hashes;

static void hashes_add(Hashes *set, uint64_t hash)
{
    if (set->count == set->held) {
        set->held = set->held ? set->held * 2 : 64;
        set->items = mem_regrow(set->items, set->held, sizeof *set->items);
    }
    set->items[set->count++] = hash;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void hashes_sort(Hashes *set)
{
    if (set->count)
        qsort(set->items, set->count, sizeof *set->items, compare_u64);
}

static bool hashes_have(const Hashes *set, uint64_t hash)
{
    return set->count && bsearch(&hash, set->items, set->count, sizeof hash, compare_u64);
}

typedef struct List {
    ManifestFile *manifests;
    size_t count;
} List;

static bool list_of(const IcebergTable *table, const json_t *snapshot, List *ret)
{
    *ret = (List){0};
    const char *uri = json_string_value(json_object_get(snapshot, "manifest-list"));
    return !snapshot || (uri && manifest_list_read(table->store, uri, state_spec_by_id, table,
                                                   &ret->manifests, &ret->count, NULL));
}

static uint64_t manifest_hash(const ManifestFile *manifest)
{
    return path_hash(manifest->path, strlen(manifest->path));
}

static void add_manifests(const List *list, Hashes *to)
{
    for (size_t i = 0; i < list->count; i++)
        hashes_add(to, manifest_hash(&list->manifests[i]));
}

static bool live_path(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status != ENTRY_DELETED && path && path->kind == AVRO_BYTES)
        hashes_add(context, path_hash((const char *)path->bytes, path->count));
    return true;
}

/* Paths of files that are live through manifests the expired snapshot does not share. */
static bool add_live(const IcebergTable *table, const List *list, const Hashes *shared, Hashes *to)
{
    for (size_t i = 0; i < list->count; i++)
        if (!hashes_have(shared, manifest_hash(&list->manifests[i])) &&
            !manifest_read(table->store, &list->manifests[i], live_path, to, NULL))
            return false;
    return true;
}

typedef struct Sweep {
    const IcebergTable *table;
    const Hashes *live;
    char **paths;
    size_t count;
} Sweep;

static bool sweep_entry(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    Sweep *sweep = context;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status == ENTRY_DELETED || !path || path->kind != AVRO_BYTES ||
        hashes_have(sweep->live, path_hash((const char *)path->bytes, path->count)))
        return true;
    sweep->paths = mem_regrow(sweep->paths, sweep->count + 1, sizeof *sweep->paths);
    sweep->paths[sweep->count++] = mem_strndup((const char *)path->bytes, path->count);
    return true;
}

/* Manifests of the expired snapshot that neither neighbour has, and the files only they held. One
 * that can't be read was swept with another expired snapshot. */
static void sweep(const IcebergTable *table, const List *gone, const Hashes *kept,
                  const Hashes *live)
{
    Sweep files = {.table = table, .live = live};
    for (size_t i = 0; i < gone->count; i++)
        if (!hashes_have(kept, manifest_hash(&gone->manifests[i])))
            (void)!manifest_read(table->store, &gone->manifests[i], sweep_entry, &files, NULL);
    for (size_t i = 0; i < files.count; i++) {
        (void)!store_delete(table->store, files.paths[i], NULL);
        free(files.paths[i]);
    }
    free(files.paths);
    for (size_t i = 0; i < gone->count; i++)
        if (!hashes_have(kept, manifest_hash(&gone->manifests[i])))
            (void)!store_delete(table->store, gone->manifests[i].path, NULL);
}

static void clean_one(const IcebergTable *table, const json_t *expired, const json_t *older,
                      const json_t *newer)
{
    List gone = {0}, before = {0}, after = {0};
    Hashes kept = {0}, shared = {0}, live = {0};
    if (list_of(table, expired, &gone) && list_of(table, older, &before) &&
        list_of(table, newer, &after)) {
        add_manifests(&gone, &shared);
        add_manifests(&before, &kept);
        add_manifests(&after, &kept);
        hashes_sort(&kept);
        hashes_sort(&shared);
        if (add_live(table, &before, &shared, &live) && add_live(table, &after, &shared, &live)) {
            hashes_sort(&live);
            sweep(table, &gone, &kept, &live);
            (void)!store_delete(table->store,
                                json_string_value(json_object_get(expired, "manifest-list")), NULL);
        }
    }
    manifest_files_free(gone.manifests, gone.count);
    manifest_files_free(before.manifests, before.count);
    manifest_files_free(after.manifests, after.count);
    free(kept.items);
    free(shared.items);
    free(live.items);
}

void retention_clean(IcebergTable *table, const json_t *expired)
{
    if (!json_array_size(expired) ||
        json_object_size(json_object_get(table->metadata, "refs")) != 1)
        return;
    size_t e, i;
    json_t *gone, *snapshot;
    json_array_foreach(expired, e, gone)
    {
        const json_t *older = NULL, *newer = NULL;
        json_array_foreach(json_object_get(table->metadata, "snapshots"), i, snapshot)
        {
            int64_t order = json_integer_value(json_object_get(snapshot, "sequence-number")) -
                            json_integer_value(json_object_get(gone, "sequence-number"));
            if (order < 0)
                older = snapshot;
            else if (!newer)
                newer = snapshot;
        }
        if (newer)
            clean_one(table, gone, older, newer);
    }
}
