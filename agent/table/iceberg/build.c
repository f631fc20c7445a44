/* The manifests of a new snapshot, on top of the head's:
 *
 *  - add: a manifest for the new data files, one for the new delete files, of each spec.
 *  - carry: each older manifest as it is; those that hold something that is removed are rewritten
 *    into one, where that stands as DELETED, for this snapshot only; one with nothing live is left
 *    out.
 *  - merge: many small manifests of a kind become one.
 *
 * What an untouched manifest costs is a few searches in its keys, in memory. A fresh manifest never
 * mixes added and carried entries, so that the row ids of added files are its first row id plus the
 * rows before them. https://iceberg.apache.org/spec/#snapshots, #first-row-id-assignment */
#include "agent/table/iceberg/build.h"

#include <string.h>

#include "common/mem.h"

#define DELETE_MANIFESTS_MERGE 8 /* v3: vectors are replaced all the time, small manifests cost */

/* ---------- what is removed ---------- */
static int compare_named(const void *a, const void *b)
{
    const Named *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash ? 1 : -1) : strcmp(x->path, y->path);
}

static void name(Named *list, size_t *count, const char *path)
{
    list[(*count)++] = (Named){.hash = path_hash(path, strlen(path)), .path = path};
}

static void collect_named(Build *build)
{
    const IcebergCommit *commit = build->commit;
    build->removed = mem_array(commit->removed_count, sizeof(Named));
    build->replaced = mem_array(commit->removed_count + commit->added_count + commit->retired_count,
                                sizeof(Named));
    for (size_t i = 0; i < commit->removed_count; i++) {
        name(build->removed, &build->removed_count, commit->removed[i]);
        name(build->replaced, &build->replaced_count, commit->removed[i]);
    }
    for (size_t i = 0; i < commit->added_count; i++)
        if (commit->added[i].format == FORMAT_PUFFIN && commit->added[i].referenced_data_file)
            name(build->replaced, &build->replaced_count, commit->added[i].referenced_data_file);
    for (size_t i = 0; i < commit->retired_count; i++)
        name(build->replaced, &build->replaced_count, commit->retired[i]);
    if (build->removed_count)
        qsort(build->removed, build->removed_count, sizeof(Named), compare_named);
    if (build->replaced_count)
        qsort(build->replaced, build->replaced_count, sizeof(Named), compare_named);
}

static bool find_named(Named *list, size_t count, const AvroValue *path)
{
    if (!count || !path || path->kind != AVRO_BYTES)
        return false;
    uint64_t hash = path_hash((const char *)path->bytes, path->count);
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (list[middle].hash < hash)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < count && list[from].hash == hash; from++)
        if (strlen(list[from].path) == path->count &&
            memcmp(list[from].path, path->bytes, path->count) == 0)
            return list[from].found = true;
    return false;
}

static bool is_removed(Build *build, const ManifestEntry *entry)
{
    if (build->commit->remove_all)
        return true;
    if (avro_long(entry->data_file, 134, 0) == FILE_DATA)
        return find_named(build->removed, build->removed_count, avro_field(entry->data_file, 100));
    return find_named(build->replaced, build->replaced_count, avro_field(entry->data_file, 143)) ||
           find_named(build->replaced, build->replaced_count, avro_field(entry->data_file, 100));
}

/* ---------- counting ---------- */
static void count_file(Counts *counts, FileContent content, bool vector, int64_t rows,
                       int64_t bytes)
{
    counts->bytes += bytes;
    if (content == FILE_DATA) {
        counts->files++;
        counts->records += rows;
        return;
    }
    counts->delete_files++;
    if (content == FILE_EQUALITY_DELETES) {
        counts->equality_files++;
        counts->equality_deletes += rows;
        return;
    }
    counts->position_files += !vector;
    counts->vectors += vector;
    counts->position_deletes += rows;
}

static void count_removed(Build *build, const AvroValue *file)
{
    bool vector = avro_field(file, 144) != NULL;
    count_file(&build->removed_counts, (FileContent)avro_long(file, 134, 0), vector,
               avro_long(file, 103, 0), avro_long(file, vector ? 145 : 104, 0));
}

static void count_added(Build *build, const PartitionSpec *spec, const DataFile *file)
{
    bool vector = file->format == FORMAT_PUFFIN;
    count_file(&build->added_counts, file->content, vector, (int64_t)file->record_count,
               vector ? file->content_bytes : (int64_t)file->file_bytes);
    hashes_add(&build->partitions, partition_hash(spec, file->partition));
}

/* ---------- writing manifests ---------- */
char *build_uri(Build *build, const char *prefix)
{
    build->written = mem_regrow(build->written, build->written_count + 1, sizeof *build->written);
    return build->written[build->written_count++] =
               metadata_file_uri(build->table, prefix, ".avro");
}

static void keep(Build *build, const ManifestFile *manifest)
{
    build->manifests = mem_regrow(build->manifests, build->count + 1, sizeof *build->manifests);
    build->manifests[build->count++] = *manifest;
}

static void writer_open(Build *build, ManifestWriter *writer, int32_t spec_id, bool deletes)
{
    const IcebergTable *table = build->table;
    manifest_writer_init(writer, state_spec_by_id(table, spec_id), build->schema_json,
                         build->schema_id, build->format_version, deletes, build->snapshot_id);
}

/* Writes it, and adds it to the new list. */
static bool writer_close(Build *build, ManifestWriter *writer, Error *err)
{
    ManifestFile manifest;
    if (!writer->started) {
        manifest_writer_done(writer);
        return true;
    }
    bool ok =
        manifest_writer_finish(writer, build->table->store, build_uri(build, "m-"), &manifest, err);
    manifest_writer_done(writer);
    if (!ok)
        return false;
    manifest.sequence_number = build->sequence_number;
    /* added files inherit this commit's number */
    if (manifest.min_sequence_number < 0)
        manifest.min_sequence_number = build->sequence_number;
    build->manifests_created++;
    keep(build, &manifest);
    return true;
}

static bool check_added(const Build *build, const DataFile *file, Error *err)
{
    bool vector = file->content == FILE_POSITION_DELETES && file->format == FORMAT_PUFFIN;
    bool wrong =
        build->format_version >= 3 ? file->content == FILE_POSITION_DELETES && !vector : vector;
    const PartitionSpec *spec = state_spec_by_id(build->table, file->spec_id);
    if (wrong || (vector && !file->referenced_data_file) || !spec ||
        spec->field_count != file->partition_count)
        return error_set(err, ERROR_FATAL, "BadCommit",
                         "%s can't be added to a v%d table: wrong kind of deletes, or a partition "
                         "that does not fit spec %d",
                         file->path, build->format_version, file->spec_id);
    return true;
}

static bool add(Build *build, Error *err)
{
    const IcebergCommit *commit = build->commit;
    for (size_t i = 0; i < commit->added_count; i++)
        if (!check_added(build, &commit->added[i], err))
            return false;
    for (int deletes = 0; deletes < 2; deletes++)
        for (size_t s = 0; s < build->table->spec_count; s++) {
            const PartitionSpec *spec = &build->table->specs[s];
            ManifestWriter writer;
            writer_open(build, &writer, spec->spec_id, deletes);
            for (size_t i = 0; i < commit->added_count; i++) {
                const DataFile *file = &commit->added[i];
                if (file->spec_id != spec->spec_id || (file->content != FILE_DATA) != deletes)
                    continue;
                count_added(build, spec, file);
                manifest_put_added(&writer, file);
            }
            if (!writer_close(build, &writer, err))
                return false;
        }
    return true;
}

/* ---------- carrying ---------- */
typedef struct Filter {
    Build *build;
    ManifestWriter *writer;
} Filter;

static bool filter_entry(const ManifestEntry *entry, void *context, Error *err)
{
    Filter *filter = context;
    if (entry->status == ENTRY_DELETED)
        return true;
    bool removed = is_removed(filter->build, entry);
    if (removed) {
        uint64_t partition;
        if (!manifest_entry_partition(entry, filter->writer->spec, &partition, err))
            return false;
        hashes_add(&filter->build->partitions, partition);
        count_removed(filter->build, entry->data_file);
    }
    return manifest_put_carried(filter->writer, entry, removed ? ENTRY_DELETED : ENTRY_EXISTING,
                                err);
}

/* Might the manifest hold something that is removed? */
static bool touches(Build *build, ManifestFile *manifest, bool *ret, Error *err)
{
    const Named *list = manifest->deletes ? build->replaced : build->removed;
    size_t count = manifest->deletes ? build->replaced_count : build->removed_count;
    *ret = build->commit->remove_all;
    if (*ret || !count)
        return true;
    if (!manifest_load_keys(build->table->store, manifest, err))
        return false;
    for (size_t i = 0; i < count && !*ret; i++)
        *ret = hashes_have(&manifest->keys, list[i].hash);
    return true;
}

static bool carry_one(Build *build, size_t at, Filter *filter, Error *err)
{
    ManifestFile *manifest = &build->table->manifests[at];
    ManifestWriter *writer = filter->writer;
    bool rewrite;
    if (!touches(build, manifest, &rewrite, err))
        return false;
    if (!rewrite) {
        ManifestFile borrowed = *manifest;
        borrowed.origin = (int64_t)at;
        keep(build, &borrowed);
        return true;
    }
    build->manifests_replaced++;
    if (!manifest_read(build->table->store, manifest, filter_entry, filter, err))
        return false;
    if ((int64_t)writer->avro.file.used < build->table->retention.manifest_bytes)
        return true;
    if (!writer_close(build, writer, err))
        return false;
    writer_open(build, writer, manifest->spec_id, manifest->deletes);
    return true;
}

/* Manifests of one kind. What is rewritten goes together, so that a removal that touches many small
 * manifests leaves one. */
static bool carry_kind(Build *build, int32_t spec_id, bool deletes, Error *err)
{
    ManifestWriter writer;
    writer_open(build, &writer, spec_id, deletes);
    Filter filter = {.build = build, .writer = &writer};
    bool ok = true;
    for (size_t i = 0; i < build->table->manifest_count && ok; i++) {
        const ManifestFile *manifest = &build->table->manifests[i];
        /* one with nothing live only says what an earlier snapshot removed */
        if (manifest->spec_id == spec_id && manifest->deletes == deletes &&
            manifest->added_files + manifest->existing_files > 0)
            ok = carry_one(build, i, &filter, err);
    }
    ok = ok && writer_close(build, &writer, err);
    manifest_writer_done(&writer);
    return ok;
}

static bool carry(Build *build, Error *err)
{
    for (size_t s = 0; s < build->table->spec_count; s++)
        for (int deletes = 0; deletes < 2; deletes++)
            if (!carry_kind(build, build->table->specs[s].spec_id, deletes, err))
                return false;
    for (size_t i = 0; i < build->removed_count && !build->commit->remove_all; i++)
        if (!build->removed[i].found)
            return error_set(err, ERROR_CONFLICT, "FileGone",
                             "%s is to be removed, but the table no longer holds it",
                             build->removed[i].path);
    return true;
}

/* ---------- merging ---------- */
/* Manifests are merged as the runs of a log-structured tree are: by tiers of like numbers of files.
 * What is merged together was alike, so that a file's entry is written again once for each tier it
 * rises to, a logarithm of their number, and a commit's cost does not follow the table's size. */
#define TIERS 32

static int tier_of(const ManifestFile *manifest, int32_t fanout)
{
    int tier = 0;
    for (int64_t live = (int64_t)manifest->added_files + manifest->existing_files; live >= fanout;
         live /= fanout)
        tier++;
    return tier;
}

/* A merged one is not merged again at once: the tier above has its turn at the next commit. */
static bool is_small(const Build *build, const ManifestFile *manifest, int32_t spec_id,
                     bool deletes)
{
    return manifest->spec_id == spec_id && manifest->deletes == deletes &&
           manifest->snapshot_id != build->snapshot_id &&
           manifest->bytes < build->merging.target_bytes / 2;
}

static bool merge_entry(const ManifestEntry *entry, void *context, Error *err)
{
    return entry->status == ENTRY_DELETED ||
           manifest_put_carried(context, entry, ENTRY_EXISTING, err);
}

/* Those of one tier become one. */
static bool merge_tier(Build *build, int32_t spec_id, bool deletes, int32_t fanout, int tier,
                       Error *err)
{
    ManifestWriter writer;
    writer_open(build, &writer, spec_id, deletes);
    size_t kept = 0, count = build->count;
    int64_t bytes = 0;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ManifestFile *manifest = &build->manifests[i]; /* the table's own: nothing to free */
        bool merged = ok && is_small(build, manifest, spec_id, deletes) &&
                      tier_of(manifest, fanout) == tier &&
                      bytes + manifest->bytes <= build->merging.target_bytes;
        if (merged) {
            bytes += manifest->bytes;
            build->manifests_replaced++;
            ok = manifest_read(build->table->store, manifest, merge_entry, &writer, err);
        } else {
            build->manifests[kept++] = *manifest;
        }
    }
    build->count = kept;
    if (!ok) {
        manifest_writer_done(&writer);
        return false;
    }
    return writer_close(build, &writer, err);
}

static bool merge_kind(Build *build, int32_t spec_id, bool deletes, Error *err)
{
    int32_t fanout = build->merging.fanout, members[TIERS] = {0};
    if (deletes && build->format_version >= 3 && fanout > DELETE_MANIFESTS_MERGE)
        fanout = DELETE_MANIFESTS_MERGE;
    for (size_t i = 0; i < build->count; i++)
        if (is_small(build, &build->manifests[i], spec_id, deletes))
            members[tier_of(&build->manifests[i], fanout)]++;
    for (int tier = 0; tier < TIERS; tier++)
        if (members[tier] >= fanout)
            return merge_tier(build, spec_id, deletes, fanout, tier, err);
    return true;
}

bool build_manifests(Build *build, Error *err)
{
    collect_named(build);
    /* new ones first: readers of the newest rows find them at once */
    if (!add(build, err) || !carry(build, err))
        return false;
    build->merging = state_merging(build->table);
    if (!build->merging.fanout)
        return true;
    for (size_t s = 0; s < build->table->spec_count; s++)
        for (int deletes = 0; deletes < 2; deletes++)
            if (!merge_kind(build, build->table->specs[s].spec_id, deletes, err))
                return false;
    return true;
}

/* ---------- row ids ---------- */
/* v3: every data manifest that has no range of row ids yet gets the next one, as long as what
 * inherits from it. */
void build_assign_row_ids(Build *build)
{
    if (build->format_version < 3)
        return;
    for (size_t i = 0; i < build->count; i++) {
        ManifestFile *manifest = &build->manifests[i];
        if (manifest->deletes || manifest->first_row_id >= 0)
            continue;
        manifest->first_row_id = build->next_row_id;
        build->next_row_id += manifest->unassigned_rows;
    }
}

void build_fill_in_added(const Build *build)
{
    bool lineage = build->format_version >= 3;
    for (size_t i = 0; i < build->commit->added_count; i++)
        if (build->commit->added[i].sequence_number <= 0)
            build->commit->added[i].sequence_number = build->sequence_number;
    for (size_t m = 0; m < build->count && lineage; m++) {
        const ManifestFile *manifest = &build->manifests[m];
        if (manifest->origin >= 0 || manifest->deletes || !manifest->added_files)
            continue;
        int64_t row_id = manifest->first_row_id;
        for (size_t i = 0; i < build->commit->added_count; i++) {
            DataFile *file = &build->commit->added[i];
            if (file->content != FILE_DATA || file->spec_id != manifest->spec_id)
                continue;
            file->first_row_id = row_id;
            row_id += (int64_t)file->record_count;
        }
    }
}

/* ---------- the end ---------- */
void build_hand_over(Build *build)
{
    IcebergTable *table = build->table;
    for (size_t i = 0; i < build->count; i++) {
        if (build->manifests[i].origin >= 0)
            table->manifests[build->manifests[i].origin] = (ManifestFile){0};
        build->manifests[i].origin = -1;
    }
    manifest_files_free(table->manifests, table->manifest_count);
    table->manifests = build->manifests;
    table->manifest_count = build->count;
    table->manifests_known = true;
    build->manifests = NULL;
    build->count = 0;
}

void build_undo(Build *build)
{
    for (size_t i = 0; i < build->written_count; i++)
        (void)!store_delete(build->table->store, build->written[i], NULL);
}

void build_done(Build *build)
{
    for (size_t i = 0; i < build->count; i++)
        if (build->manifests[i].origin < 0)
            manifest_file_done(&build->manifests[i]);
    free(build->manifests);
    for (size_t i = 0; i < build->written_count; i++)
        free(build->written[i]);
    free(build->written);
    free(build->removed);
    free(build->replaced);
    hashes_done(&build->partitions);
    json_decref(build->schema);
    free(build->schema_json);
}
