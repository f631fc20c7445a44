/* Deletes what only expired snapshots held: manifest lists, manifests, data and delete files.
 *
 * On a linear history a file or manifest is live in an unbroken run of snapshots. So, for a run of
 * expired snapshots between two that stay (P before, N after), what one of them held is needed no
 * more if it is neither live in P nor in N:
 *
 *   - a manifest, if neither list names it;
 *   - a file that is live in such a manifest, if it was added after P and is not live in N, where
 *     it could only be through a manifest made after the run began.
 *
 * Two lists and the manifests of the run are read, however old the table. Where the history is not
 * linear (branches, rollbacks) everything that stays is read instead. The head is asked in any
 * case, from memory. What can't be read deletes nothing; a crash in between leaves orphans, never a
 * hole. Only files in the table's own folder are deleted: others were brought by somebody else. */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/mem.h"

typedef struct Candidate {
    char *path;
    uint64_t hash;
} Candidate;

typedef struct Sweep {
    IcebergTable *table;
    Hashes kept;        /* manifests that stay */
    Hashes seen;        /* manifests of the run, each once */
    int64_t added_from; /* files of an older or the same sequence number are P's, too; -1: all go */
    Candidate *candidates;
    size_t count, held;
    char **manifests; /* that go */
    size_t manifest_count;
    Hashes live; /* paths of files that stay */
} Sweep;

typedef struct List {
    ManifestFile *manifests;
    size_t count;
} List;

static void list_done(List *list)
{
    manifest_files_free(list->manifests, list->count);
    *list = (List){0};
}

static bool list_read(const IcebergTable *table, const json_t *snapshot, List *ret)
{
    const char *uri = json_string_value(json_object_get(snapshot, "manifest-list"));
    *ret = (List){0};
    return uri && manifest_list_read(table->store, uri, state_spec_by_id, table, &ret->manifests,
                                     &ret->count, NULL);
}

static uint64_t hash_of(const ManifestFile *manifest)
{
    return path_hash(manifest->path, strlen(manifest->path));
}

/* ---------- what stays ---------- */
static bool add_live(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status != ENTRY_DELETED && path && path->kind == AVRO_BYTES)
        hashes_add(context, path_hash((const char *)path->bytes, path->count));
    return true;
}

/* The manifests of a snapshot that stays; and the files of those that are younger than
 * after_sequence. */
static bool stays(Sweep *sweep, const json_t *snapshot, bool files, int64_t after_sequence)
{
    List list;
    if (!list_read(sweep->table, snapshot, &list))
        return false;
    bool ok = true;
    for (size_t i = 0; i < list.count && ok; i++) {
        hashes_add(&sweep->kept, hash_of(&list.manifests[i]));
        if (files && list.manifests[i].sequence_number > after_sequence)
            ok = manifest_read(sweep->table->store, &list.manifests[i], add_live, &sweep->live,
                               NULL);
    }
    list_done(&list);
    return ok;
}

static bool head_holds(IcebergTable *table, uint64_t hash)
{
    for (size_t i = 0; i < table->manifest_count; i++)
        if (!manifest_load_keys(table->store, &table->manifests[i], NULL) ||
            hashes_have(&table->manifests[i].keys, hash))
            return true;
    return false;
}

/* ---------- what goes ---------- */
static bool add_candidate(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    Sweep *sweep = context;
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (entry->status == ENTRY_DELETED || !path || path->kind != AVRO_BYTES ||
        entry->file_sequence_number < 0 || entry->file_sequence_number <= sweep->added_from)
        return true;
    if (sweep->count == sweep->held) {
        sweep->held = sweep->held ? sweep->held * 2 : 64;
        sweep->candidates = mem_regrow(sweep->candidates, sweep->held, sizeof *sweep->candidates);
    }
    sweep->candidates[sweep->count++] =
        (Candidate){.path = mem_strndup((const char *)path->bytes, path->count),
                    .hash = path_hash((const char *)path->bytes, path->count)};
    return true;
}

/* A list or manifest that can't be read went in an earlier sweep that did not end. */
static void goes(Sweep *sweep, const json_t *snapshot)
{
    List list;
    if (!list_read(sweep->table, snapshot, &list))
        return;
    for (size_t i = 0; i < list.count; i++) {
        const ManifestFile *manifest = &list.manifests[i];
        uint64_t hash = hash_of(manifest);
        bool seen = false;
        for (size_t s = 0; s < sweep->seen.count && !seen; s++)
            seen = sweep->seen.items[s] == hash;
        if (seen || hashes_have(&sweep->kept, hash))
            continue;
        hashes_add(&sweep->seen, hash);
        (void)!manifest_read(sweep->table->store, manifest, add_candidate, sweep, NULL);
        sweep->manifests =
            mem_regrow(sweep->manifests, sweep->manifest_count + 1, sizeof *sweep->manifests);
        sweep->manifests[sweep->manifest_count++] = mem_strdup(manifest->path);
    }
    list_done(&list);
}

static void delete_own(const IcebergTable *table, const char *uri)
{
    if (uri && state_owns_file(table, uri))
        (void)!store_delete(table->store, uri, NULL);
}

static int compare_candidates(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static void delete_files(Sweep *sweep)
{
    if (sweep->count)
        qsort(sweep->candidates, sweep->count, sizeof *sweep->candidates, compare_candidates);
    for (size_t i = 0; i < sweep->count; i++) {
        const Candidate *candidate = &sweep->candidates[i];
        bool again = i && candidate->hash == candidate[-1].hash;
        if (!again && !hashes_have(&sweep->live, candidate->hash) &&
            !head_holds(sweep->table, candidate->hash))
            delete_own(sweep->table, candidate->path);
    }
    for (size_t i = 0; i < sweep->manifest_count; i++)
        delete_own(sweep->table, sweep->manifests[i]);
}

static void sweep_done(Sweep *sweep)
{
    hashes_done(&sweep->kept);
    hashes_done(&sweep->seen);
    hashes_done(&sweep->live);
    for (size_t i = 0; i < sweep->count; i++)
        free(sweep->candidates[i].path);
    free(sweep->candidates);
    for (size_t i = 0; i < sweep->manifest_count; i++)
        free(sweep->manifests[i]);
    free(sweep->manifests);
}

/* ---------- runs ---------- */
/* steps[from, to) are expired; before and after may be NULL in a linear history's first and last
 * run. Not linear: every step that stays is read. */
static void sweep_run(IcebergTable *table, const History *history, size_t from, size_t to,
                      bool linear)
{
    Sweep sweep = {.table = table, .added_from = -1};
    bool ok = true;
    for (size_t s = 0; s < history->count && ok; s++) {
        const Step *step = &history->steps[s];
        bool before = linear && s + 1 == from, after = linear && s == to;
        if (before)
            sweep.added_from = step->sequence;
        if (before || after || (!linear && step->keep))
            ok =
                stays(&sweep, step->snapshot, !before, linear ? history->steps[from].sequence : -1);
    }
    hashes_sort(&sweep.kept);
    hashes_sort(&sweep.live);
    for (size_t s = from; s < to && ok; s++)
        if (!history->steps[s].keep)
            goes(&sweep, history->steps[s].snapshot);
    if (ok)
        delete_files(&sweep);
    for (size_t s = from; s < to && ok; s++)
        if (!history->steps[s].keep)
            delete_own(table, json_string_value(
                                  json_object_get(history->steps[s].snapshot, "manifest-list")));
    sweep_done(&sweep);
}

/* Those of the expired that are gone, with those that stay. */
static void join(const IcebergTable *table, const json_t *expired, History *ret,
                 json_t **ret_holder)
{
    Hashes stay = {0};
    json_t *all = json_array(), *snapshot;
    size_t i;
    for (size_t s = 0; s < table->history.count; s++)
        hashes_add(&stay, (uint64_t)table->history.steps[s].id);
    hashes_sort(&stay);
    json_array_foreach(expired, i, snapshot)
    {
        json_t *id = json_object_get(snapshot, "snapshot-id");
        if (!hashes_have(&stay, (uint64_t)json_integer_value(id)))
            json_array_append(all, snapshot);
    }
    json_array_extend(all, json_object_get(table->metadata, "snapshots"));
    *ret_holder = json_pack("{s:o}", "snapshots", all);
    history_init(ret, *ret_holder, NULL);
    for (size_t s = 0; s < ret->count; s++)
        ret->steps[s].keep = hashes_have(&stay, (uint64_t)ret->steps[s].id);
    hashes_done(&stay);
}

void retention_clean(IcebergTable *table, const json_t *expired)
{
    if (!json_array_size(expired) || !state_load_manifests(table, NULL))
        return;
    History history;
    json_t *holder;
    join(table, expired, &history, &holder);
    if (!history_is_linear(&history)) {
        sweep_run(table, &history, 0, history.count, false);
    } else {
        for (size_t from = 0, to; from < history.count; from = to) {
            bool keep = history.steps[from].keep;
            for (to = from + 1; to < history.count && history.steps[to].keep == keep; to++) {
            }
            if (!keep)
                sweep_run(table, &history, from, to, true);
        }
    }
    history_done(&history);
    json_decref(holder);
}
