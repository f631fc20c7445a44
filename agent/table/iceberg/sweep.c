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
 * Two lists and the manifests of the run are read, however old the table; of a run of appends, each
 * on top of the one before, only lists: every file lives on in N. Where the history is not
 * linear (branches, rollbacks) everything that stays is read instead. The head is asked in any
 * case, from memory. What can't be read deletes nothing; a crash in between leaves orphans, never a
 * hole. Only files in the table's own folder are deleted: others were brought by somebody else. */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/mem.h"

#define UNHELD_MAX 1000 /* at once */

typedef struct Candidate {
    char *path;
    uint64_t hash;
} Candidate;

typedef struct Sweep {
    IcebergTable *table;
    bool only_added;    /* no file that a snapshot of the run held is gone */
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

static bool list_read(const IcebergTable *table, const Step *step, List *ret)
{
    *ret = (List){0};
    return step->list && manifest_list_read(table->store, step->list, state_spec_by_id, table,
                                            &ret->manifests, &ret->count, NULL);
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

static void keep_path(const char *path, size_t bytes, void *context)
{
    hashes_add(&((Sweep *)context)->kept, path_hash(path, bytes));
}

/* The manifests of a snapshot that stays; and the files of those that are younger than
 * after_sequence. */
static bool stays(Sweep *sweep, const Step *step, bool files, int64_t after_sequence)
{
    List list;
    if (!files)
        return step->list &&
               manifest_list_paths(sweep->table->store, step->list, keep_path, sweep, NULL);
    if (!list_read(sweep->table, step, &list))
        return false;
    bool ok = true;
    for (size_t i = 0; i < list.count && ok; i++) {
        hashes_add(&sweep->kept, hash_of(&list.manifests[i]));
        if (list.manifests[i].sequence_number > after_sequence)
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

/* Is the manifest one that goes, and new? */
static bool is_new(Sweep *sweep, uint64_t hash)
{
    for (size_t s = sweep->seen.count; s-- > 0;)
        if (sweep->seen.items[s] == hash)
            return false;
    if (hashes_have(&sweep->kept, hash))
        return false;
    hashes_add(&sweep->seen, hash);
    return true;
}

static void add_manifest(Sweep *sweep, const char *path, size_t bytes)
{
    sweep->manifests =
        mem_regrow(sweep->manifests, sweep->manifest_count + 1, sizeof *sweep->manifests);
    sweep->manifests[sweep->manifest_count++] = mem_strndup(path, bytes);
}

static void path_goes(const char *path, size_t bytes, void *context)
{
    if (is_new(context, path_hash(path, bytes)))
        add_manifest(context, path, bytes);
}

/* A list or manifest that can't be read went in an earlier sweep that did not end. */
static void goes(Sweep *sweep, const Step *step)
{
    List list;
    if (sweep->only_added) {
        if (step->list)
            (void)!manifest_list_paths(sweep->table->store, step->list, path_goes, sweep, NULL);
        return;
    }
    if (!list_read(sweep->table, step, &list))
        return;
    for (size_t i = 0; i < list.count; i++) {
        const ManifestFile *manifest = &list.manifests[i];
        if (!is_new(sweep, hash_of(manifest)))
            continue;
        (void)!manifest_read(sweep->table->store, manifest, add_candidate, sweep, NULL);
        add_manifest(sweep, manifest->path, strlen(manifest->path));
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
/* Is what comes after each of steps[from, to) the next one, with nothing removed? */
static bool only_adds(const History *history, size_t from, size_t to)
{
    for (size_t s = from + 1; s <= to; s++)
        if (s == history->count || history->steps[s].parent != (int64_t)s - 1 ||
            !history->steps[s].appends)
            return false;
    return true;
}

/* steps[from, to) are expired; before and after may be NULL in a linear history's first and last
 * run. Not linear: every step that stays is read. */
static void sweep_run(IcebergTable *table, const History *history, size_t from, size_t to,
                      bool linear)
{
    Sweep it = {
        .table = table, .added_from = -1, .only_added = linear && only_adds(history, from, to)};
    bool ok = true;
    for (size_t s = 0; s < history->count && ok; s++) {
        const Step *step = &history->steps[s];
        bool before = linear && s + 1 == from, after = linear && s == to;
        if (before)
            it.added_from = step->sequence;
        if (before || after || (!linear && step->keep))
            ok = stays(&it, step, !before && !it.only_added,
                       linear ? history->steps[from].sequence : -1);
    }
    hashes_sort(&it.kept);
    hashes_sort(&it.live);
    for (size_t s = from; s < to && ok; s++)
        if (!history->steps[s].keep)
            goes(&it, &history->steps[s]);
    if (ok)
        delete_files(&it);
    for (size_t s = from; s < to && ok; s++)
        if (!history->steps[s].keep)
            delete_own(table, history->steps[s].list);
    sweep_done(&it);
}

/* With the gone those that stay: the table's, and what is leaving. */
static void join(const IcebergTable *table, const Step *gone, size_t count, History *ret)
{
    const Leaving *leaving = &table->leaving;
    size_t all = count + table->history.count, into = 0;
    for (size_t b = 0; b < leaving->count; b++)
        all += leaving->batches[b].count;
    Step *steps = mem_array(all, sizeof *steps);
    for (size_t i = 0; i < table->history.count; i++) {
        steps[into] = table->history.steps[i];
        steps[into++].keep = true;
    }
    for (size_t b = 0; b < leaving->count; b++)
        for (size_t i = 0; i < leaving->batches[b].count; i++) {
            steps[into] = leaving->batches[b].steps[i];
            steps[into++].keep = true;
        }
    for (size_t i = 0; i < count; i++) {
        steps[into] = gone[i];
        steps[into++].keep = false;
    }
    history_of(ret, steps, into);
}

void sweep(IcebergTable *table, const Step *gone, size_t count)
{
    History history;
    join(table, gone, count, &history);
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
}

/* ---------- files that were never committed ---------- */
/* The live files of a snapshot, of manifests that were not read yet. */
static bool add_held(Sweep *sweep, const Step *step)
{
    List list;
    if (!list_read(sweep->table, step, &list))
        return false;
    bool ok = true;
    for (size_t i = 0; i < list.count && ok; i++)
        if (is_new(sweep, hash_of(&list.manifests[i])))
            ok = manifest_read(sweep->table->store, &list.manifests[i], add_live, &sweep->live,
                               NULL);
    list_done(&list);
    return ok;
}

void iceberg_delete_unheld(IcebergTable *table, const char *const *uris, size_t count)
{
    History history;
    Sweep held = {.table = table, .added_from = -1};
    bool ok = true;
    join(table, NULL, 0, &history);
    for (size_t s = 0; s < history.count && ok; s++)
        ok = add_held(&held, &history.steps[s]);
    hashes_sort(&held.live);
    for (size_t i = 0; i < count && ok; i++) {
        uint64_t hash = path_hash(uris[i], strlen(uris[i]));
        if (!hashes_have(&held.live, hash) && !head_holds(table, hash))
            delete_own(table, uris[i]);
    }
    sweep_done(&held);
    history_done(&history);
}

typedef struct Unheld {
    IcebergTable *table;
    IcebergGoes *goes;
    void *context;
    char **uris;
    size_t count;
} Unheld;

static bool see(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    Unheld *unheld = context;
    (void)bytes;
    if (!unheld->goes(unheld->context, uri, modified_us) ||
        head_holds(unheld->table, path_hash(uri, strlen(uri))))
        return true;
    unheld->uris = mem_regrow(unheld->uris, unheld->count + 1, sizeof *unheld->uris);
    unheld->uris[unheld->count++] = mem_strdup(uri);
    return unheld->count < UNHELD_MAX;
}

/* Most files are the head's, which is asked from memory: older snapshots are read only for others.
 */
bool iceberg_sweep_unheld(IcebergTable *table, IcebergGoes *is_left, void *context, Error *err)
{
    Unheld unheld = {.table = table, .goes = is_left, .context = context};
    AUTO(mem_free) char *folder = mem_format("%s/data/", table->location);
    bool ok = store_list(table->store, folder, see, &unheld, err);
    if (unheld.count)
        iceberg_delete_unheld(table, (const char *const *)unheld.uris, unheld.count);
    for (size_t i = 0; i < unheld.count; i++)
        free(unheld.uris[i]);
    free(unheld.uris);
    return ok;
}
