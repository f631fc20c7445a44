/* Law 10: snapshots are thinned as part of commits, and what only they held is deleted after.
 *
 * On a linear history a manifest or file is live in an unbroken run of snapshots. So what an
 * expired snapshot held is still needed if and only if it is live in the nearest retained snapshot
 * before or after it. Before: its sequence number says so. After: one list is read, and those of
 * its manifests that the expired snapshot did not have.
 *
 * After a rollback the history forks: the snapshot where it does is not expired before the branch
 * that was given up is gone. Where refs other than main exist, nothing is deleted here (a branch
 * may hold it), nor what lies outside the table's location (others may hold it); orphan cleaning is
 * maintenance's. A crash before the deletion leaves orphans, never a hole. */
#include <string.h>
#include <strings.h>

#include "agent/table/iceberg/state.h"
#include "common/mem.h"

/* A table that was never expired loses its old snapshots over several commits, not in one. */
#define EXPIRE_MAX 100

/* ---------- which snapshots go ---------- */
static int64_t time_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "timestamp-ms"));
}

static int64_t id_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "snapshot-id"));
}

static int64_t sequence_of(const json_t *snapshot)
{
    return json_integer_value(json_object_get(snapshot, "sequence-number"));
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

/* Statistics of snapshots that are gone say nothing any more. */
static void forget_statistics(json_t *metadata, const char *key, const json_t *expired)
{
    json_t *list = json_object_get(metadata, key), *kept = json_array();
    size_t i, e;
    json_t *entry, *snapshot;
    json_array_foreach(list, i, entry)
    {
        bool gone = false;
        json_array_foreach(expired, e, snapshot) gone = gone || id_of(snapshot) == id_of(entry);
        if (!gone)
            json_array_append(kept, entry);
    }
    if (list)
        json_object_set(metadata, key, kept);
    json_decref(kept);
}

/* Did a later snapshot than the next one grow out of this one? */
static bool is_fork(const json_t *snapshots, size_t at)
{
    int64_t id = id_of(json_array_get(snapshots, at));
    for (size_t i = at + 2; i < json_array_size(snapshots); i++) {
        const json_t *parent = json_object_get(json_array_get(snapshots, i), "parent-snapshot-id");
        if (json_is_integer(parent) && json_integer_value(parent) == id)
            return true;
    }
    return false;
}

static bool is_gc_off(const json_t *metadata)
{
    const char *value =
        json_string_value(json_object_get(json_object_get(metadata, "properties"), "gc.enabled"));
    return value && strcasecmp(value, "false") == 0;
}

void retention_thin(const IcebergTable *table, json_t *metadata, int64_t now_ms,
                    json_t **ret_expired)
{
    json_t *kept = json_array(), *expired = json_array();
    json_t *snapshots = json_object_get(metadata, "snapshots");
    int64_t last_period = -1;
    size_t i;
    json_t *snapshot;
    *ret_expired = expired;
    json_array_foreach(snapshots, i, snapshot)
    {
        int64_t period = period_of(&table->retention, time_of(snapshot), now_ms);
        bool keep = period == 0 || (period > 0 && period != last_period);
        if (period > 0)
            last_period = period;
        if (keep || json_array_size(expired) == EXPIRE_MAX || is_gc_off(metadata) ||
            is_referenced(metadata, id_of(snapshot)) || is_fork(snapshots, i))
            json_array_append(kept, snapshot);
        else
            json_array_append(expired, snapshot);
    }
    json_object_set_new(metadata, "snapshots", kept);
    if (!json_array_size(expired))
        return;
    forget_in_log(metadata, expired);
    forget_statistics(metadata, "statistics", expired);
    forget_statistics(metadata, "partition-statistics", expired);
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
    const char *uri = json_string_value(json_object_get(snapshot, "manifest-list"));
    return uri && manifest_list_read(table->store, uri, state_spec_by_id, table, &ret->manifests,
                                     &ret->count, NULL);
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
    const Hashes *live;     /* in the snapshot after */
    int64_t older_sequence; /* of the snapshot before; -1: there is none */
    char **paths;
    size_t count;
} Sweep;

static bool sweep_entry(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    Sweep *sweep = context;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status == ENTRY_DELETED || !path || path->kind != AVRO_BYTES ||
        entry->file_sequence_number <= sweep->older_sequence ||
        hashes_have(sweep->live, path_hash((const char *)path->bytes, path->count)))
        return true;
    sweep->paths = mem_regrow(sweep->paths, sweep->count + 1, sizeof *sweep->paths);
    sweep->paths[sweep->count++] = mem_strndup((const char *)path->bytes, path->count);
    return true;
}

static void delete_own(const IcebergTable *table, const char *uri)
{
    size_t bytes = strlen(table->location);
    if (strncmp(uri, table->location, bytes) == 0 && uri[bytes] == '/')
        (void)!store_delete(table->store, uri, NULL);
}

/* Takes manifests that a neighbour has, too, out of the list. */
static void leave_out(List *gone, const Hashes *kept, int64_t older_sequence)
{
    size_t left = 0;
    for (size_t i = 0; i < gone->count; i++) {
        ManifestFile *manifest = &gone->manifests[i];
        if (manifest->sequence_number <= older_sequence ||
            hashes_have(kept, manifest_hash(manifest)))
            manifest_file_done(manifest);
        else
            gone->manifests[left++] = *manifest;
    }
    gone->count = left;
}

/* The manifests only the expired snapshot had, and the files only they held. One that can't be read
 * was swept with another expired snapshot. */
static void sweep(const IcebergTable *table, const List *gone, const Hashes *live,
                  int64_t older_sequence)
{
    Sweep files = {.table = table, .live = live, .older_sequence = older_sequence};
    for (size_t i = 0; i < gone->count; i++)
        (void)!manifest_read(table->store, &gone->manifests[i], sweep_entry, &files, NULL);
    for (size_t i = 0; i < files.count; i++) {
        delete_own(table, files.paths[i]);
        free(files.paths[i]);
    }
    free(files.paths);
    for (size_t i = 0; i < gone->count; i++)
        delete_own(table, gone->manifests[i].path);
}

static void clean_one(const IcebergTable *table, const json_t *expired, int64_t older_sequence,
                      const json_t *newer)
{
    List gone = {0}, after = {0};
    Hashes kept = {0}, shared = {0}, live = {0};
    if (list_of(table, expired, &gone) && list_of(table, newer, &after)) {
        add_manifests(&gone, &shared);
        add_manifests(&after, &kept);
        hashes_sort(&kept);
        hashes_sort(&shared);
        leave_out(&gone, &kept, older_sequence);
        if (!gone.count || add_live(table, &after, &shared, &live)) {
            hashes_sort(&live);
            sweep(table, &gone, &live, older_sequence);
            delete_own(table, json_string_value(json_object_get(expired, "manifest-list")));
        }
    }
    manifest_files_free(gone.manifests, gone.count);
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
        int64_t older = -1, own = sequence_of(gone);
        const json_t *newer = NULL;
        json_array_foreach(json_object_get(table->metadata, "snapshots"), i, snapshot)
        {
            int64_t sequence = sequence_of(snapshot);
            if (sequence <= own)
                older = sequence > older ? sequence : older;
            else if (!newer || sequence < sequence_of(newer))
                newer = snapshot;
        }
        if (newer)
            clean_one(table, gone, older, newer);
    }
}
