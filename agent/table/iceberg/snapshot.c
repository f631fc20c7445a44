/* One commit. On top of the head's manifests:
 *
 *   carry    each manifest as it is, or rewritten without what is removed (the removed entries
 * stand in it as DELETED, for this snapshot only); manifests with nothing live are left out add a
 * manifest for new data files, one for new delete files merge    many small manifests of the same
 * kind become one list     manifest list, row ids, snapshot, metadata; then the catalog is swapped
 *
 * A fresh manifest never mixes added and carried entries, so that row ids of added files are the
 * manifest's first row id plus the rows before them. https://iceberg.apache.org/spec/#snapshots,
 * #row-lineage */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/state.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

#define DELETE_MANIFESTS_MERGE 8 /* v3: vectors are replaced all the time, small manifests cost */

typedef struct Totals {
    int64_t added_files, added_records, added_bytes;
    int64_t added_delete_files, added_vectors, added_deletes;
    int64_t removed_files, removed_records, removed_bytes;
    int64_t removed_delete_files, removed_vectors, removed_deletes;
    int64_t removed_equality_files, removed_equality_deletes;
} Totals;

typedef struct Build {
    IcebergTable *table;
    IcebergCommit *commit;
    int64_t snapshot_id, sequence_number, first_row_id, next_row_id;
    ManifestFile *manifests;
    size_t count;
    char **written; /* URIs to delete when the commit loses */
    size_t written_count;
    uint64_t *removed; /* hashes of removed data files, sorted */
    uint64_t *
        replaced; /* hashes of data files whose vectors are replaced or which are removed, sorted */
    size_t removed_count, replaced_count;
    Totals totals;
} Build;

/* ---------- sets of hashes ---------- */
static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool has_hash(const uint64_t *sorted, size_t count, uint64_t hash)
{
    return count && bsearch(&hash, sorted, count, sizeof hash, compare_u64);
}

static bool has_bytes(const uint64_t *sorted, size_t count, const AvroValue *path)
{
    return path && path->kind == AVRO_BYTES &&
           has_hash(sorted, count, path_hash((const char *)path->bytes, path->count));
}

static void collect_hashes(Build *build)
{
    const IcebergCommit *commit = build->commit;
    build->removed = mem_array(commit->removed_count, sizeof(uint64_t));
    build->replaced = mem_array(commit->removed_count + commit->added_count, sizeof(uint64_t));
    for (size_t i = 0; i < commit->removed_count; i++)
        build->removed[build->removed_count++] = build->replaced[build->replaced_count++] =
            path_hash(commit->removed[i], strlen(commit->removed[i]));
    for (size_t i = 0; i < commit->added_count; i++) {
        const DataFile *file = &commit->added[i];
        if (file->format == FORMAT_PUFFIN && file->referenced_data_file)
            build->replaced[build->replaced_count++] =
                path_hash(file->referenced_data_file, strlen(file->referenced_data_file));
    }
    if (build->removed_count)
        qsort(build->removed, build->removed_count, sizeof(uint64_t), compare_u64);
    if (build->replaced_count)
        qsort(build->replaced, build->replaced_count, sizeof(uint64_t), compare_u64);
}

/* ---------- manifests ---------- */
static void keep(Build *build, ManifestFile *manifest)
{
    build->manifests = mem_regrow(build->manifests, build->count + 1, sizeof *build->manifests);
    build->manifests[build->count++] = *manifest;
}

static char *written(Build *build, char *uri)
{
    build->written = mem_regrow(build->written, build->written_count + 1, sizeof *build->written);
    build->written[build->written_count++] = uri;
    return uri;
}

static void writer_open(Build *build, ManifestWriter *writer, int32_t spec_id, bool deletes)
{
    const PartitionSpec *spec = state_spec_by_id(build->table, spec_id);
    ASSERT(spec);
    int64_t schema_id =
        json_integer_value(json_object_get(build->table->metadata, "current-schema-id"));
    manifest_writer_init(writer, spec, build->table->schema_json, (int32_t)schema_id,
                         build->table->format_version, deletes, build->snapshot_id);
}

/* Writes it, and adds it to the new list. */
static bool writer_close(Build *build, ManifestWriter *writer, Error *err)
{
    ManifestFile manifest;
    char *uri = written(build, metadata_file_uri(build->table, "m-", ".avro"));
    bool ok = manifest_writer_finish(writer, build->table->store, uri, &manifest, err);
    manifest_writer_done(writer);
    if (!ok || !manifest.path)
        return ok;
    manifest.sequence_number = build->sequence_number;
    if (manifest.min_sequence_number < 0)
        manifest.min_sequence_number = build->sequence_number;
    keep(build, &manifest);
    return true;
}

static void count_removed(Build *build, const AvroValue *file)
{
    Totals *totals = &build->totals;
    int64_t rows = avro_long(file, 103, 0), content = avro_long(file, 134, 0);
    bool vector = avro_field(file, 144) != NULL;
    totals->removed_bytes += vector ? avro_long(file, 145, 0) : avro_long(file, 104, 0);
    if (content == FILE_DATA) {
        totals->removed_files++;
        totals->removed_records += rows;
        return;
    }
    totals->removed_delete_files++;
    totals->removed_vectors += vector;
    if (content == FILE_EQUALITY_DELETES) {
        totals->removed_equality_files++;
        totals->removed_equality_deletes += rows;
    } else {
        totals->removed_deletes += rows;
    }
}

static bool is_removed(const Build *build, const ManifestEntry *entry)
{
    if (build->commit->remove_all)
        return true;
    if (avro_long(entry->data_file, 134, 0) == FILE_DATA)
        return has_bytes(build->removed, build->removed_count, avro_field(entry->data_file, 100));
    return has_bytes(build->replaced, build->replaced_count, avro_field(entry->data_file, 143));
}

typedef struct Filter {
    Build *build;
    ManifestWriter *writer; /* NULL: only look whether there is something to remove */
    bool found;
} Filter;

static bool filter_entry(const ManifestEntry *entry, void *context, Error *err)
{
    Filter *filter = context;
    if (entry->status == ENTRY_DELETED)
        return true;
    bool removed = is_removed(filter->build, entry);
    filter->found = filter->found || removed;
    if (!filter->writer)
        return true;
    if (removed)
        count_removed(filter->build, entry->data_file);
    return manifest_put_carried(filter->writer, entry, removed ? ENTRY_DELETED : ENTRY_EXISTING,
                                err);
}

static bool reference_entry(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    ManifestFile *manifest = context;
    const AvroValue *path = avro_field(entry->data_file, 143);
    if (entry->status == ENTRY_DELETED || !path || path->kind != AVRO_BYTES)
        return true;
    manifest->references = mem_regrow(manifest->references, manifest->reference_count + 1,
                                      sizeof *manifest->references);
    manifest->references[manifest->reference_count++] =
        path_hash((const char *)path->bytes, path->count);
    return true;
}

/* Might the manifest hold something that is removed? Delete manifests are asked for the data files
 * they name, which is kept in memory; data manifests are read. */
static bool touches(Build *build, ManifestFile *manifest, bool *ret, Error *err)
{
    *ret = build->commit->remove_all;
    if (*ret)
        return true;
    if (!manifest->deletes) {
        if (!build->removed_count)
            return true;
        Filter look = {.build = build};
        bool ok = manifest_read(build->table->store, manifest, filter_entry, &look, err);
        *ret = look.found;
        return ok;
    }
    if (!build->replaced_count)
        return true;
    if (!manifest->references_known) {
        if (!manifest_read(build->table->store, manifest, reference_entry, manifest, err))
            return false;
        if (manifest->reference_count)
            qsort(manifest->references, manifest->reference_count, sizeof(uint64_t), compare_u64);
        manifest->references_known = true;
    }
    for (size_t i = 0; i < build->replaced_count && !*ret; i++)
        *ret = has_hash(manifest->references, manifest->reference_count, build->replaced[i]);
    return true;
}

static bool carry(Build *build, Error *err)
{
    for (size_t i = 0; i < build->table->manifest_count; i++) {
        ManifestFile *manifest = &build->table->manifests[i];
        bool rewrite;
        if (manifest->added_files + manifest->existing_files == 0)
            continue; /* only says what an earlier snapshot removed */
        if (!touches(build, manifest, &rewrite, err))
            return false;
        if (!rewrite) {
            ManifestFile copy;
            manifest_file_copy(&copy, manifest);
            keep(build, &copy);
            continue;
        }
        ManifestWriter writer;
        writer_open(build, &writer, manifest->spec_id, manifest->deletes);
        Filter filter = {.build = build, .writer = &writer};
        if (!manifest_read(build->table->store, manifest, filter_entry, &filter, err)) {
            manifest_writer_done(&writer);
            return false;
        }
        if (!writer_close(build, &writer, err))
            return false;
    }
    return true;
}

static void count_added(Build *build, const DataFile *file)
{
    Totals *totals = &build->totals;
    totals->added_bytes +=
        file->format == FORMAT_PUFFIN ? file->content_bytes : (int64_t)file->file_bytes;
    if (file->content == FILE_DATA) {
        totals->added_files++;
        totals->added_records += (int64_t)file->record_count;
        return;
    }
    totals->added_delete_files++;
    totals->added_vectors += file->format == FORMAT_PUFFIN;
    totals->added_deletes += (int64_t)file->record_count;
}

/* New files: a manifest for each spec and content. */
static bool add(Build *build, Error *err)
{
    const IcebergCommit *commit = build->commit;
    size_t added = 0;
    for (int deletes = 0; deletes < 2; deletes++)
        for (size_t s = 0; s < build->table->spec_count; s++) {
            int32_t spec_id = build->table->specs[s].spec_id;
            ManifestWriter writer;
            writer_open(build, &writer, spec_id, deletes);
            for (size_t i = 0; i < commit->added_count; i++) {
                const DataFile *file = &commit->added[i];
                if (file->spec_id != spec_id || (file->content != FILE_DATA) != deletes)
                    continue;
                count_added(build, file);
                manifest_put_added(&writer, file);
                added++;
            }
            if (!writer.started)
                manifest_writer_done(&writer);
            else if (!writer_close(build, &writer, err))
                return false;
        }
    ASSERT(added == commit->added_count);
    return true;
}

static bool is_small(const Build *build, const ManifestFile *manifest, int32_t spec_id,
                     bool deletes)
{
    return manifest->spec_id == spec_id && manifest->deletes == deletes &&
           manifest->snapshot_id != build->snapshot_id &&
           manifest->bytes < build->table->retention.manifest_bytes / 2;
}

static bool merge_entry(const ManifestEntry *entry, void *context, Error *err)
{
    return entry->status == ENTRY_DELETED ||
           manifest_put_carried(context, entry, ENTRY_EXISTING, err);
}

static bool merge_kind(Build *build, int32_t spec_id, bool deletes, Error *err)
{
    int32_t threshold = build->table->retention.merge_manifests;
    if (deletes && build->table->format_version >= 3 && threshold > DELETE_MANIFESTS_MERGE)
        threshold = DELETE_MANIFESTS_MERGE;
    int32_t small = 0;
    for (size_t i = 0; i < build->count; i++)
        small += is_small(build, &build->manifests[i], spec_id, deletes);
    if (small < threshold)
        return true;
    ManifestWriter writer;
    writer_open(build, &writer, spec_id, deletes);
    size_t kept = 0, count = build->count;
    int64_t bytes = 0;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ManifestFile *manifest = &build->manifests[i];
        bool merged = ok && is_small(build, manifest, spec_id, deletes) &&
                      bytes + manifest->bytes <= build->table->retention.manifest_bytes;
        if (merged) {
            bytes += manifest->bytes;
            ok = manifest_read(build->table->store, manifest, merge_entry, &writer, err);
            manifest_file_done(manifest);
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

static bool merge(Build *build, Error *err)
{
    for (size_t s = 0; s < build->table->spec_count; s++)
        for (int deletes = 0; deletes < 2; deletes++)
            if (!merge_kind(build, build->table->specs[s].spec_id, deletes, err))
                return false;
    return true;
}

/* v3: every new data manifest gets the next range of row ids, as the list's writer hands them out.
 */
static void assign_row_ids(Build *build)
{
    if (build->table->format_version < 3)
        return;
    for (size_t i = 0; i < build->count; i++) {
        ManifestFile *manifest = &build->manifests[i];
        if (manifest->deletes || manifest->first_row_id >= 0)
            continue;
        manifest->first_row_id = build->next_row_id;
        build->next_row_id += manifest->added_rows + manifest->existing_rows;
    }
}

/* ---------- the snapshot ---------- */
static void put_count(json_t *summary, const char *key, int64_t count)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, count);
    if (count)
        json_object_set_new(summary, key, json_string(text));
}

/* total-… = what the parent says, plus, minus; left out when the parent does not say, or says what
 * can't be. */
static void put_total(json_t *summary, const json_t *parent, const char *key, int64_t added,
                      int64_t removed, bool reset)
{
    const char *before =
        json_string_value(json_object_get(json_object_get(parent, "summary"), key));
    int64_t total = 0;
    if (parent && !reset) {
        char *end = NULL;
        errno = 0;
        total = before ? strtoll(before, &end, 10) : -1;
        if (total < 0 || errno || end == before || *end || total < removed)
            return;
        total -= removed;
    }
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, total + added);
    json_object_set_new(summary, key, json_string(text));
}

static const char *operation(const Build *build)
{
    const Totals *totals = &build->totals;
    if (build->commit->operation)
        return build->commit->operation;
    bool takes =
        totals->removed_files || totals->added_delete_files || totals->removed_delete_files;
    return !takes ? "append" : totals->added_files ? "overwrite" : "delete";
}

/* Texts of the caller with the snapshot's id in them. */
static json_t *filled_in(const Build *build, const char *text)
{
    const char *at = strstr(text, "%SNAPSHOT%");
    if (!at)
        return json_string(text);
    AUTO(mem_free)
    char *full = mem_format("%.*s%" PRId64 "%s", (int)(at - text), text, build->snapshot_id,
                            at + strlen("%SNAPSHOT%"));
    return json_string(full);
}

static json_t *summary_json(const Build *build, const json_t *parent)
{
    const Totals *t = &build->totals;
    const IcebergCommit *commit = build->commit;
    bool reset = commit->remove_all;
    json_t *summary = json_pack("{s:s}", "operation", operation(build));
    int64_t added_plain = t->added_delete_files - t->added_vectors;
    int64_t removed_plain =
        t->removed_delete_files - t->removed_vectors - t->removed_equality_files;
    put_count(summary, "added-data-files", t->added_files);
    put_count(summary, "deleted-data-files", t->removed_files);
    put_count(summary, "added-records", t->added_records);
    put_count(summary, "deleted-records", t->removed_records);
    put_count(summary, "added-delete-files", t->added_delete_files);
    put_count(summary, "removed-delete-files", t->removed_delete_files);
    put_count(summary, "added-position-delete-files", added_plain);
    put_count(summary, "removed-position-delete-files", removed_plain);
    put_count(summary, "added-dvs", t->added_vectors);
    put_count(summary, "removed-dvs", t->removed_vectors);
    put_count(summary, "added-position-deletes", t->added_deletes);
    put_count(summary, "removed-position-deletes", t->removed_deletes);
    put_count(summary, "removed-equality-delete-files", t->removed_equality_files);
    put_count(summary, "removed-equality-deletes", t->removed_equality_deletes);
    put_count(summary, "added-files-size", t->added_bytes);
    put_count(summary, "removed-files-size", t->removed_bytes);
    put_total(summary, parent, "total-data-files", t->added_files, t->removed_files, reset);
    put_total(summary, parent, "total-delete-files", t->added_delete_files, t->removed_delete_files,
              reset);
    put_total(summary, parent, "total-records", t->added_records, t->removed_records, reset);
    put_total(summary, parent, "total-position-deletes", t->added_deletes, t->removed_deletes,
              reset);
    put_total(summary, parent, "total-equality-deletes", 0, t->removed_equality_deletes, reset);
    put_total(summary, parent, "total-files-size", t->added_bytes, t->removed_bytes, reset);
    for (size_t i = 0; i < commit->summary_count; i++)
        json_object_set_new(summary, commit->summary[2 * i],
                            filled_in(build, commit->summary[2 * i + 1]));
    json_object_set_new(summary, "engine-name", json_string("firn"));
    json_object_set_new(summary, "engine-version", json_string(FIRN_VERSION));
    return summary;
}

static json_t *snapshot_json(const Build *build, const char *list_uri, int64_t now_ms)
{
    const IcebergTable *table = build->table;
    const json_t *parent = metadata_snapshot(table->metadata, metadata_head(table->metadata));
    json_t *snapshot = json_pack(
        "{s:I,s:I,s:I,s:o,s:s,s:o}", "snapshot-id", (json_int_t)build->snapshot_id,
        "sequence-number", (json_int_t)build->sequence_number, "timestamp-ms", (json_int_t)now_ms,
        "summary", summary_json(build, parent), "manifest-list", list_uri, "schema-id",
        json_incref(json_object_get(table->metadata, "current-schema-id")));
    ASSERT(snapshot);
    if (parent)
        json_object_set(snapshot, "parent-snapshot-id", json_object_get(parent, "snapshot-id"));
    if (table->format_version >= 3) {
        json_object_set_new(snapshot, "first-row-id", json_integer(build->first_row_id));
        json_object_set_new(snapshot, "added-rows",
                            json_integer(build->next_row_id - build->first_row_id));
    }
    return snapshot;
}

/* A shallow copy of one member, so that the old metadata stays as it is. */
static json_t *own(json_t *metadata, const char *key)
{
    json_t *copy = json_copy(json_object_get(metadata, key));
    if (!copy)
        copy = strcmp(key, "refs") == 0 || strcmp(key, "properties") == 0 ? json_object()
                                                                          : json_array();
    json_object_set_new(metadata, key, copy);
    return copy;
}

/* *ret_dropped: URIs of metadata files that are no longer kept. */
static void log_metadata(const IcebergTable *table, json_t *metadata, json_t *ret_dropped)
{
    json_t *log = own(metadata, "metadata-log");
    json_array_append_new(log, json_pack("{s:O,s:s}", "timestamp-ms",
                                         json_object_get(table->metadata, "last-updated-ms"),
                                         "metadata-file", table->entry.metadata_uri));
    while (json_array_size(log) > (size_t)table->retention.metadata_files) {
        json_array_append(ret_dropped, json_object_get(json_array_get(log, 0), "metadata-file"));
        json_array_remove(log, 0);
    }
}

static json_t *next_metadata(const Build *build, const char *list_uri, json_t **ret_expired,
                             json_t *ret_dropped)
{
    const IcebergTable *table = build->table;
    json_t *metadata = json_copy(table->metadata);
    int64_t now_ms = clock_wall_us() / 1000;
    int64_t last_ms = json_integer_value(json_object_get(metadata, "last-updated-ms"));
    if (now_ms <= last_ms)
        now_ms = last_ms + 1;
    log_metadata(table, metadata, ret_dropped);
    json_object_set_new(metadata, "last-updated-ms", json_integer(now_ms));
    json_object_set_new(metadata, "last-sequence-number", json_integer(build->sequence_number));
    json_object_set_new(metadata, "current-snapshot-id", json_integer(build->snapshot_id));
    if (table->format_version >= 3)
        json_object_set_new(metadata, "next-row-id", json_integer(build->next_row_id));
    json_array_append_new(own(metadata, "snapshots"), snapshot_json(build, list_uri, now_ms));
    json_array_append_new(own(metadata, "snapshot-log"),
                          json_pack("{s:I,s:I}", "timestamp-ms", (json_int_t)now_ms, "snapshot-id",
                                    (json_int_t)build->snapshot_id));
    json_t *refs = own(metadata, "refs");
    json_t *main_ref = json_copy(json_object_get(refs, "main"));
    if (!main_ref)
        main_ref = json_pack("{s:s}", "type", "branch");
    json_object_set_new(main_ref, "snapshot-id", json_integer(build->snapshot_id));
    json_object_set_new(refs, "main", main_ref);
    json_t *properties = own(metadata, "properties");
    for (size_t i = 0; i < build->commit->property_count; i++)
        json_object_set_new(properties, build->commit->properties[2 * i],
                            filled_in(build, build->commit->properties[2 * i + 1]));
    retention_thin(table, metadata, now_ms, ret_expired);
    return metadata;
}

/* ---------- the swap ---------- */
static void build_done(Build *build)
{
    manifest_files_free(build->manifests, build->count);
    for (size_t i = 0; i < build->written_count; i++)
        free(build->written[i]);
    free(build->written);
    free(build->removed);
    free(build->replaced);
}

/* What was written for a commit that has surely not taken effect. */
static void delete_written(Build *build)
{
    for (size_t i = 0; i < build->written_count; i++)
        (void)!store_delete(build->table->store, build->written[i], NULL);
}

/* After an answer that says nothing: the table as it is now, if it holds the snapshot. */
static bool find_out(Build *build, CatalogEntry *ret, json_t **metadata)
{
    TableName name = table_name(build->table);
    CatalogEntry entry;
    if (!catalog_load(build->table->catalog, &name, &entry, NULL))
        return false;
    json_t *found = entry.metadata_uri ? json_loadb((const char *)entry.metadata.data,
                                                    entry.metadata.used, 0, NULL)
                                       : NULL;
    bytes_done(&entry.metadata);
    if (!found || !metadata_snapshot(found, build->snapshot_id)) {
        json_decref(found);
        catalog_entry_done(&entry);
        return false;
    }
    json_decref(*metadata);
    *metadata = found;
    *ret = entry;
    return true;
}

/* True: the commit took effect; *ret names the table's newest metadata, which *metadata then is:
 * what was written, or, where the answer was lost, what may hold later commits already. */
static bool swap(Build *build, json_t **metadata, CatalogEntry *ret, Error *err)
{
    IcebergTable *table = build->table;
    TableName name = table_name(table);
    *ret = (CatalogEntry){0};
    char *text = json_dumps(*metadata, JSON_COMPACT);
    ASSERT(text);
    CRASH_POINT("commit-manifests-written");
    Error why = {0};
    bool ok = catalog_commit(table->catalog, &name, &table->entry, text, strlen(text),
                             &ret->metadata_uri, &ret->version, &why);
    free(text);
    if (ok) {
        CRASH_POINT("commit-swapped");
        return true;
    }
    if (why.kind == ERROR_RETRY && find_out(build, ret, metadata))
        return true;
    if (why.kind == ERROR_CONFLICT)
        delete_written(build);
    if (err)
        *err = why;
    return false;
}

/* Added data files stand in one manifest per spec, in the commit's order. */
static void fill_in_added(const Build *build)
{
    IcebergCommit *commit = build->commit;
    for (size_t i = 0; i < commit->added_count; i++)
        commit->added[i].sequence_number = build->sequence_number;
    for (size_t m = 0; m < build->count && build->table->format_version >= 3; m++) {
        const ManifestFile *manifest = &build->manifests[m];
        int64_t row_id = manifest->first_row_id;
        if (manifest->snapshot_id != build->snapshot_id || manifest->deletes ||
            !manifest->added_files)
            continue;
        for (size_t i = 0; i < commit->added_count; i++) {
            DataFile *file = &commit->added[i];
            if (file->content != FILE_DATA || file->spec_id != manifest->spec_id)
                continue;
            file->first_row_id = row_id;
            row_id += (int64_t)file->record_count;
        }
    }
}

static bool adopt(Build *build, json_t *metadata, CatalogEntry *entry, Error *err)
{
    IcebergTable *table = build->table;
    fill_in_added(build);
    if (!state_adopt(table, metadata, err)) {
        catalog_entry_done(entry);
        return false;
    }
    catalog_entry_done(&table->entry);
    table->entry = *entry;
    if (metadata_head(table->metadata) != build->snapshot_id)
        return true; /* somebody committed on top: the manifests are read when needed */
    manifest_files_free(table->manifests, table->manifest_count);
    table->manifests = build->manifests;
    table->manifest_count = build->count;
    table->manifests_known = true;
    build->manifests = NULL;
    build->count = 0;
    return true;
}

static bool publish(Build *build, Error *err)
{
    IcebergTable *table = build->table;
    int64_t list_bytes;
    AUTO(mem_free) char *prefix = mem_format("snap-%" PRId64 "-", build->snapshot_id);
    char *list_uri = written(build, metadata_file_uri(table, prefix, ".avro"));
    assign_row_ids(build);
    if (!manifest_list_write(table->store, list_uri, build->manifests, build->count,
                             table->format_version, build->snapshot_id,
                             metadata_head(table->metadata), build->sequence_number,
                             build->first_row_id, &list_bytes, err)) {
        delete_written(build);
        return false;
    }
    json_t *expired = NULL, *dropped = json_array();
    json_t *metadata = next_metadata(build, list_uri, &expired, dropped);
    CatalogEntry entry;
    bool ok = swap(build, &metadata, &entry, err);
    if (ok)
        ok = adopt(build, metadata, &entry, err);
    else
        json_decref(metadata);
    if (ok) {
        size_t i;
        json_t *uri;
        json_array_foreach(dropped, i, uri)(void) !store_delete(table->store,
                                                                json_string_value(uri), NULL);
        retention_clean(table, expired);
    }
    json_decref(expired);
    json_decref(dropped);
    return ok;
}

static int64_t new_snapshot_id(const IcebergTable *table)
{
    int64_t id;
    do {
        ssize_t got = getrandom(&id, sizeof id, 0);
        ASSERT(got == sizeof id);
        id &= INT64_MAX;
    } while (id == 0 || metadata_snapshot(table->metadata, id));
    return id;
}

bool iceberg_commit(IcebergTable *table, IcebergCommit *commit, int64_t *ret_snapshot_id,
                    Error *err)
{
    if (!state_load_manifests(table, err))
        return false;
    int64_t next_row_id = json_integer_value(json_object_get(table->metadata, "next-row-id"));
    Build build = {
        .table = table,
        .commit = commit,
        .snapshot_id = new_snapshot_id(table),
        .sequence_number =
            json_integer_value(json_object_get(table->metadata, "last-sequence-number")) + 1,
        .first_row_id = next_row_id,
        .next_row_id = next_row_id};
    collect_hashes(&build);
    /* new ones first: readers of the newest rows find them at once */
    bool ok = add(&build, err) && carry(&build, err) && merge(&build, err);
    if (!ok)
        delete_written(&build);
    ok = ok && publish(&build, err);
    if (ok)
        *ret_snapshot_id = build.snapshot_id;
    build_done(&build);
    return ok || error_wrap(err, "commit to %s.%s", table->database, table->name);
}
