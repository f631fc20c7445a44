/* Files that nobody names any more: what a process wrote that died before its commit, or could not
 * delete. A file below data/ or metadata/ goes if no snapshot that the table knows needs it (of any
 * ref; and those that are leaving, leaving.c), if it is no statistics file, and if it is old.
 *
 * A file is known by its name alone, what stands behind the last slash: it is random, and so it
 * does not matter whether metadata says s3 or s3a, or which folder a table was moved from. Names
 * that are alike keep each other. (Who compares whole paths deletes tables that way.)
 *
 * No commit may lose a file. One that is under way has written files which nothing names yet, and
 * may be held up for days, with its process. Hence
 *
 *   - `old` is counted from the oldest of the units' last commits (retention.c: the snapshots that
 *     firn.position.… name), not from now: what is written after it may belong to the next one;
 *   - what the process wrote that made that commit stays whatever its age: its files bear the name
 *     that is in the snapshot's manifest list. It deletes itself what it gives up;
 *   - the table is read, then the folder is listed, then the table is read again: a file is kept by
 *     what either of both names. The second reading finds what was committed meanwhile, the first
 *     what was expired meanwhile, and may still be read.
 *
 * Never removed: metadata.json and hints (they are the catalog's), staged pieces and what is
 * leaving (they are those processes' own), names that begin with . or _, and everything outside
 * data/ and metadata/: other tables may lie there. What can't be read deletes nothing.
 *
 * Memory: 8 bytes for each name and manifest, and candidates up to CANDIDATES_MAX. */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

#define CANDIDATES_MAX 50000 /* of one run; the next one finds the others */
#define METADATA_BYTES_MAX ((size_t)512 << 20)
#define STRANGE_MAX 8
#define PREFIX_BYTES 32 /* of a process's files: IcebergTable.file_prefix */

/* Hashes that are asked while they are filled. */
typedef struct Seen {
    Hashes set;
    size_t sorted;
} Seen;

typedef struct Orphan {
    char *uri;
    uint64_t bytes;
    int64_t modified_us;
} Orphan;

typedef struct Search {
    IcebergTable *table;
    const IcebergOrphans *how;
    IcebergOrphanFigures *figures;
    Hashes names; /* that stay; sorted after each reading */
    size_t names_most;
    Seen read; /* manifest lists and manifests */
    char (*writers)[PREFIX_BYTES + 1];
    size_t writer_count;
    size_t root_bytes; /* of the location with its slash */
    Orphan *orphans;
    size_t count, held;
    char *strange[STRANGE_MAX]; /* metadata that the table does not name: [0] the newest, and some
                                   with which a table begins; NULL: none */
    int64_t newest_us;          /* of strange[0] */
    int64_t begun_us;
    bool stopped;
} Search;

/* ---------- names ---------- */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void keep_bytes(Search *search, const char *path, size_t bytes)
{
    Hashes *names = &search->names;
    const char *slash = memrchr(path, '/', bytes);
    const char *name = slash ? slash + 1 : path;
    if (names->count == search->names_most) { /* files stand in many manifests */
        hashes_sort(names);
        search->names_most = names->count * 2 > 65536 ? names->count * 2 : 65536;
    }
    hashes_add(names, path_hash(name, (size_t)(path + bytes - name)));
}

static void keep(Search *search, const char *path)
{
    if (path)
        keep_bytes(search, path, strlen(path));
}

static bool is_new(Seen *seen, const char *path)
{
    uint64_t hash = path_hash(path, strlen(path));
    const Hashes sorted = {.items = seen->set.items, .count = seen->sorted};
    if (hashes_have(&sorted, hash))
        return false;
    for (size_t i = seen->sorted; i < seen->set.count; i++)
        if (seen->set.items[i] == hash)
            return false;
    hashes_add(&seen->set, hash);
    if (seen->set.count - seen->sorted > 1024) {
        hashes_sort(&seen->set);
        seen->sorted = seen->set.count;
    }
    return true;
}

static bool goes_on(Search *search, Error *err)
{
    search->stopped = search->stopped || (search->how->stop && atomic_load(search->how->stop));
    return !search->stopped || error_set(err, ERROR_RETRY, "Stopped", "it was told to stop");
}

/* ---------- what the table names ---------- */
static bool keep_entry(const ManifestEntry *entry, void *context, Error *err)
{
    const AvroValue *path = avro_field(entry->data_file, 100);
    if (!path || path->kind != AVRO_BYTES)
        return error_set(err, ERROR_DATA, "BadManifest", "an entry has no path");
    if (entry->status != ENTRY_DELETED)
        keep_bytes(context, (const char *)path->bytes, path->count);
    return true;
}

static bool reach_list(Search *search, const char *list, Error *err)
{
    IcebergTable *table = search->table;
    ManifestFile *manifests;
    size_t count;
    keep(search, list);
    if (!is_new(&search->read, list))
        return true;
    if (!manifest_list_read(table->store, list, state_spec_by_id, table, &manifests, &count, err))
        return error_wrap(err, "%s", list);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        keep(search, manifests[i].path);
        if (!is_new(&search->read, manifests[i].path))
            continue;
        ok = goes_on(search, err) &&
             (manifest_read(table->store, &manifests[i], keep_entry, search, err) ||
              error_wrap(err, "%s", manifests[i].path));
    }
    manifest_files_free(manifests, count);
    return ok;
}

/* What it had is going, or gone: whoever expired it sees to that. */
static bool reach_leaving(void *context, const char *list, Error *err)
{
    Error why = {0};
    if (reach_list(context, list, &why) || strcmp(why.code, "ObjectMissing") == 0)
        return true;
    *err = why;
    return false;
}

/* One that is expired while it is read is nobody's but leaving.c's. */
static bool reach_snapshots(Search *search, const json_t *metadata, Error *err)
{
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(metadata, "snapshots"), i, snapshot)
    {
        Error why = {0};
        bool changed;
        const char *list = json_string_value(json_object_get(snapshot, "manifest-list"));
        int64_t id = json_integer_value(json_object_get(snapshot, "snapshot-id"));
        if (!list)
            return error_set(err, ERROR_CONFIG, "SnapshotUnreadable",
                             "snapshot %lld has no manifest list: what it holds is not known",
                             (long long)id);
        if (reach_list(search, list, &why))
            continue;
        if (search->stopped || strcmp(why.code, "ObjectMissing") != 0) {
            *err = why;
            return false;
        }
        if (!iceberg_table_refresh(search->table, &changed, err))
            return false;
        if (metadata_snapshot(search->table->metadata, id)) {
            *err = why;
            return false;
        }
    }
    return true;
}

static void keep_each(Search *search, const json_t *metadata, const char *array, const char *key)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(metadata, array), i, item)
    {
        keep(search, json_string_value(json_object_get(item, key)));
    }
}

/* All that the table names as it was loaded last. */
static bool reach(Search *search, Error *err)
{
    json_t *metadata = json_incref(search->table->metadata);
    keep(search, search->table->entry.metadata_uri);
    keep_each(search, metadata, "metadata-log", "metadata-file");
    keep_each(search, metadata, "statistics", "statistics-path");
    keep_each(search, metadata, "partition-statistics", "statistics-path");
    bool ok = reach_snapshots(search, metadata, err) &&
              leaving_each(search->table, reach_leaving, search, err);
    json_decref(metadata);
    hashes_sort(&search->names);
    return ok;
}

/* ---------- what may still be committed ---------- */
/* "<anything><32 hexadecimal digits>-<counter><anything>": the digits; NULL. */
static const char *writer_of(const char *name)
{
    for (const char *dash = name; (dash = strchr(dash, '-')); dash++)
        if (dash - name >= PREFIX_BYTES && dash[1] >= '0' && dash[1] <= '9' &&
            strspn(dash - PREFIX_BYTES, "0123456789abcdef") == PREFIX_BYTES)
            return dash - PREFIX_BYTES;
    return NULL;
}

static void add_writer(Search *search, const json_t *snapshot)
{
    const char *list = json_string_value(json_object_get(snapshot, "manifest-list"));
    const char *writer = list ? writer_of(name_of(list)) : NULL;
    if (!writer)
        return;
    search->writers =
        mem_regrow(search->writers, search->writer_count + 1, sizeof *search->writers);
    memcpy(search->writers[search->writer_count], writer, PREFIX_BYTES);
    search->writers[search->writer_count++][PREFIX_BYTES] = '\0';
}

/* When the table was settled: the oldest of its units' last commits. One that can't be told (its
 * snapshot was expired by somebody else) settles nothing, nor does a table without a snapshot. */
static int64_t settled_ms(Search *search)
{
    const json_t *metadata = search->table->metadata;
    int64_t settled = iceberg_snapshot_time_ms(search->table, metadata_head(metadata));
    const char *name;
    json_t *value;
    add_writer(search, metadata_snapshot(metadata, metadata_head(metadata)));
    json_object_foreach(json_object_get(metadata, "properties"), name, value)
    {
        const char *text = json_string_value(value), *space = text ? strrchr(text, ' ') : NULL;
        if (strncmp(name, ICEBERG_CLAIM, strlen(ICEBERG_CLAIM)) != 0)
            continue;
        int64_t id = space ? strtoll(space + 1, NULL, 10) : -1;
        int64_t time_ms = iceberg_snapshot_time_ms(search->table, id);
        if (time_ms < settled)
            settled = time_ms;
        add_writer(search, metadata_snapshot(metadata, id));
    }
    return settled;
}

static void settle(Search *search)
{
    int64_t settled_us = settled_ms(search) * 1000, now_us = search->begun_us;
    search->figures->before_us =
        (settled_us < now_us ? settled_us : now_us) - search->how->older_than_us;
}

static bool is_writers(const Search *search, const char *name)
{
    const char *writer = writer_of(name);
    for (size_t i = 0; writer && i < search->writer_count; i++)
        if (memcmp(writer, search->writers[i], PREFIX_BYTES) == 0)
            return true;
    return false;
}

/* ---------- what is there ---------- */
static bool is_catalogs(const char *name)
{
    return strstr(name, ".metadata.json") || strncmp(name, "version-hint", 12) == 0;
}

/* Of what was there before the table was read. A table that is not just a folder begins with
 * 00000-<uuid>.metadata.json. */
static void see_metadata(Search *search, const char *uri, int64_t modified_us)
{
    static const char suffix[] = ".metadata.json";
    const char *name = name_of(uri), *end = strstr(name, suffix);
    bool first = strncmp(name, "00000-", 6) == 0;
    if (modified_us >= search->begun_us || !end || end[sizeof suffix - 1] || strstr(name, ".gz.") ||
        hashes_have(&search->names, path_hash(name, strlen(name))))
        return;
    size_t at = first;
    while (first && at < STRANGE_MAX && search->strange[at])
        at++;
    if (at == STRANGE_MAX || (!first && search->strange[0] && modified_us <= search->newest_us))
        return;
    free(search->strange[at]);
    search->strange[at] = mem_strdup(uri);
    if (!first)
        search->newest_us = modified_us;
}

static bool see(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    Search *search = context;
    const char *name = name_of(uri), *path = uri + search->root_bytes;
    search->figures->seen++;
    if (!goes_on(search, NULL))
        return false;
    if (!*name || *name == '.' || *name == '_') /* checksums beside files, and the like */
        return true;
    if (is_catalogs(name)) {
        see_metadata(search, uri, modified_us);
        return true;
    }
    bool others = strncmp(path, "metadata/", 9) == 0 && strchr(path + 9, '/');
    if (modified_us >= search->begun_us - search->how->older_than_us || others ||
        (search->how->is_others && search->how->is_others(name)) ||
        hashes_have(&search->names, path_hash(name, strlen(name))))
        return true;
    if (modified_us >= search->figures->before_us || is_writers(search, name)) {
        search->figures->held++;
        return true;
    }
    if (search->count == CANDIDATES_MAX) {
        search->figures->more = true;
        return true;
    }
    if (search->count == search->held) {
        search->held = search->held ? search->held * 2 : 64;
        search->orphans = mem_regrow(search->orphans, search->held, sizeof *search->orphans);
    }
    search->orphans[search->count++] = (Orphan){mem_strdup(uri), bytes, modified_us};
    return true;
}

static bool list(Search *search, Error *err)
{
    static const char *const folders[] = {"metadata/", "data/"};
    bool ok = true;
    search->root_bytes = strlen(search->table->location) + 1;
    for (size_t i = 0; i < ARRAY_LEN(folders) && ok; i++) {
        AUTO(mem_free) char *folder = mem_format("%s/%s", search->table->location, folders[i]);
        ok = store_list(search->table->store, folder, see, search, err) && goes_on(search, err);
    }
    return ok;
}

static bool is_own(const Search *search, const char *uri, Error *err)
{
    Bytes text = {0};
    Error why = {0};
    if (!store_get(search->table->store, uri, METADATA_BYTES_MAX, &text, &why)) {
        if (strcmp(why.code, "ObjectMissing") == 0) /* a commit took it away */
            return true;
        *err = why;
        return false;
    }
    json_t *metadata = json_loadb((const char *)text.data, text.used, 0, NULL);
    const char *uuid = json_string_value(json_object_get(metadata, "table-uuid"));
    bool own = uuid && strcmp(uuid, iceberg_uuid(search->table)) == 0;
    if (!own)
        error_set(err, ERROR_CONFIG, "LocationShared",
                  "%s is metadata of another table (%s), whose files may lie in the same folder: "
                  "give each table its own, or remove that file if its table is gone",
                  uri, uuid ? uuid : "it can't be read");
    json_decref(metadata);
    bytes_done(&text);
    return own;
}

/* Metadata that the table does not name may be another table's, whose files are then here, too. */
static bool is_alone(const Search *search, Error *err)
{
    for (size_t i = 0; i < STRANGE_MAX; i++)
        if (search->strange[i] && !is_own(search, search->strange[i], err))
            return false;
    return true;
}

/* ---------- what goes ---------- */
static bool remove_all(Search *search, Error *err)
{
    for (size_t i = 0; i < search->count; i++) {
        const Orphan *orphan = &search->orphans[i];
        const char *name = name_of(orphan->uri);
        if (hashes_have(&search->names, path_hash(name, strlen(name))) || is_writers(search, name))
            continue;
        if (!goes_on(search, err))
            return false;
        if (search->how->each)
            search->how->each(search->how->context, orphan->uri, orphan->bytes,
                              orphan->modified_us);
        if (!search->how->dry_run && !store_delete(search->table->store, orphan->uri, err))
            return false;
        search->figures->files++;
        search->figures->bytes += orphan->bytes;
        CRASH_POINT("orphan-removed");
    }
    return true;
}

static bool allowed(const IcebergTable *table, Error *err)
{
    /* Nessie tells of one state of the table, and keeps others */
    bool nessie = iceberg_property(table, "nessie.commit.id") != NULL;
    return (!nessie && iceberg_thins(table)) ||
           error_set(err, ERROR_CONFIG, "NotAllowed",
                     nessie ? "Nessie keeps states of the table that its metadata does not tell "
                              "of: remove files with Nessie's own gc"
                            : "the table's property gc.enabled is false: set it to true, or leave "
                              "out maintenance.orphanFiles");
}

static void search_done(Search *search)
{
    for (size_t i = 0; i < search->count; i++)
        free(search->orphans[i].uri);
    free(search->orphans);
    free(search->writers);
    for (size_t i = 0; i < STRANGE_MAX; i++)
        free(search->strange[i]);
    hashes_done(&search->names);
    hashes_done(&search->read.set);
}

bool iceberg_remove_orphans(IcebergTable *table, const IcebergOrphans *how,
                            IcebergOrphanFigures *ret, Error *err)
{
    Search search = {.table = table, .how = how, .figures = ret, .begun_us = clock_wall_us()};
    bool changed, ok = allowed(table, err);
    *ret = (IcebergOrphanFigures){0};
    if (ok)
        settle(&search);
    ok = ok && reach(&search, err) && list(&search, err) && is_alone(&search, err);
    if (ok && search.count)
        ok = iceberg_table_refresh(table, &changed, err) && allowed(table, err) &&
             (settled_ms(&search), true) && reach(&search, err) && remove_all(&search, err);
    search_done(&search);
    return ok || error_wrap(err, "table %s.%s", table->database, table->name);
}
