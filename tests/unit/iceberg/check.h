/* Everything that must hold of a table after any commit, from the objects in the store alone. */
#pragma once

#include "tests/unit/iceberg/memory.h"

/* ---------- a set of URIs ---------- */
typedef struct Uris {
    char **items;
    uint64_t *hashes;
    size_t count;
} Uris;

static inline bool uris_have(const Uris *set, const char *uri)
{
    uint64_t hash = path_hash(uri, strlen(uri));
    for (size_t i = 0; i < set->count; i++)
        if (set->hashes[i] == hash)
            return true;
    return false;
}

static inline void uris_add(Uris *set, const char *uri)
{
    if (uris_have(set, uri))
        return;
    set->items = mem_regrow(set->items, set->count + 1, sizeof *set->items);
    set->hashes = mem_regrow(set->hashes, set->count + 1, sizeof *set->hashes);
    set->hashes[set->count] = path_hash(uri, strlen(uri));
    set->items[set->count++] = mem_strdup(uri);
}

static inline void uris_done(Uris *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->items[i]);
    free(set->items);
    free(set->hashes);
}

/* ---------- manifests ---------- */
typedef struct Recount {
    const ManifestFile *manifest;
    const PartitionSpec *spec;
    Uris *reachable;
    ManifestFile is; /* counts, found in the entries */
    int64_t min_sequence_number;
    bool null_partition;
    bool inherits; /* some live entry takes its row ids from the manifest */
} Recount;

static bool recount_entry(const ManifestEntry *entry, void *context, Error *err)
{
    Recount *to = context;
    DataFile file;
    if (!manifest_entry_file(entry, to->manifest, to->spec, &file, err))
        return false;
    int64_t rows = (int64_t)file.record_count;
    assert_int_equal(to->manifest->deletes, file.content != FILE_DATA);
    if (entry->status == ENTRY_DELETED) {
        /* only the snapshot that removed it says so */
        assert_int_equal(entry->snapshot_id, to->manifest->snapshot_id);
        assert_true(entry->sequence_number >= 0);
        to->is.deleted_files++;
        to->is.deleted_rows += rows;
    } else {
        uris_add(to->reachable, file.path);
        assert_true(entry->sequence_number > 0);
        if (to->min_sequence_number < 0 || entry->sequence_number < to->min_sequence_number)
            to->min_sequence_number = entry->sequence_number;
    }
    if (entry->status == ENTRY_ADDED) {
        assert_int_equal(entry->snapshot_id, to->manifest->snapshot_id);
        assert_int_equal(entry->sequence_number, to->manifest->sequence_number);
        to->is.added_files++;
        to->is.added_rows += rows;
    } else if (entry->status == ENTRY_EXISTING) {
        assert_true(entry->sequence_number < to->manifest->sequence_number);
        assert_true(entry->file_sequence_number > 0);
        to->is.existing_files++;
        to->is.existing_rows += rows;
    }
    if (file.partition_count) {
        const PartitionSummary *summary = &to->manifest->summaries[0];
        const Value *value = &file.partition[0];
        assert_true(summary->nan_known && !summary->contains_nan);
        to->null_partition |= value->is_null;
        if (!value->is_null)
            assert_true(summary->has_bounds && value_compare(&summary->lower, value) <= 0 &&
                        value_compare(value, &summary->upper) <= 0);
    }
    data_file_done(&file);
    return true;
}

/* lineage: of a list of v3. */
static inline void check_manifest(const IcebergTable *table, const ManifestFile *manifest,
                                  bool lineage, Uris *reachable)
{
    Recount count = {.manifest = manifest,
                     .spec = state_spec_by_id(table, manifest->spec_id),
                     .reachable = reachable,
                     .min_sequence_number = -1};
    const Object *object = memory_find((MemoryStore *)table->store, manifest->path);
    assert_non_null(object);
    assert_int_equal(manifest->bytes, object->data.used);
    OK(manifest_read(table->store, manifest, recount_entry, &count, &err));
    assert_int_equal(count.is.added_files, manifest->added_files);
    assert_int_equal(count.is.existing_files, manifest->existing_files);
    assert_int_equal(count.is.deleted_files, manifest->deleted_files);
    assert_int_equal(count.is.added_rows, manifest->added_rows);
    assert_int_equal(count.is.existing_rows, manifest->existing_rows);
    assert_int_equal(count.is.deleted_rows, manifest->deleted_rows);
    if (count.min_sequence_number >= 0)
        assert_int_equal(count.min_sequence_number, manifest->min_sequence_number);
    if (manifest->summary_count)
        assert_int_equal(manifest->summaries[0].contains_null, count.null_partition);
    if (lineage && !manifest->deletes)
        assert_true(manifest->first_row_id >= 0);
    else
        assert_int_equal(manifest->first_row_id, -1);
}

/* ---------- the head ---------- */
typedef struct Head {
    DataFile *files;
    size_t count;
} Head;

static bool head_add(const DataFile *file, void *context, Error *err)
{
    (void)err;
    Head *head = context;
    head->files = mem_regrow(head->files, head->count + 1, sizeof *head->files);
    data_file_copy(&head->files[head->count++], file);
    return true;
}

static inline void head_read(IcebergTable *table, Head *ret)
{
    *ret = (Head){0};
    OK(iceberg_each_file(table, head_add, ret, &err));
}

static inline void head_done(Head *head)
{
    for (size_t i = 0; i < head->count; i++)
        data_file_done(&head->files[i]);
    free(head->files);
}

static inline const DataFile *head_find(const Head *head, FileContent content, const char *path)
{
    for (size_t i = 0; i < head->count; i++)
        if (head->files[i].content == content &&
            strcmp(content == FILE_DATA                  ? head->files[i].path
                   : head->files[i].referenced_data_file ? head->files[i].referenced_data_file
                                                         : "",
                   path) == 0)
            return &head->files[i];
    return NULL;
}

static inline void check_total(const IcebergTable *table, const char *key, int64_t is)
{
    const char *text = iceberg_snapshot_summary(table, iceberg_current_snapshot(table), key);
    assert_non_null(text);
    if (strtoll(text, NULL, 10) != is)
        fail_msg("%s is %s, counted %" PRId64, key, text, is);
}

static inline void check_head(IcebergTable *table)
{
    Head head;
    int64_t data_files = 0, rows = 0, delete_files = 0, deletes = 0, bytes = 0;
    int64_t next_row_id = json_integer_value(json_object_get(table->metadata, "next-row-id"));
    head_read(table, &head);
    for (size_t i = 0; i < head.count; i++) {
        const DataFile *file = &head.files[i];
        bool vector = file->format == FORMAT_PUFFIN;
        bytes += vector ? file->content_bytes : (int64_t)file->file_bytes;
        if (file->content == FILE_DATA) {
            data_files++;
            rows += (int64_t)file->record_count;
            for (size_t j = 0; table->format_version >= 3 && j < i; j++)
                assert_true(file->first_row_id >=
                                head.files[j].first_row_id + (int64_t)head.files[j].record_count ||
                            head.files[j].first_row_id >=
                                file->first_row_id + (int64_t)file->record_count);
            if (table->format_version >= 3)
                assert_in_range(file->first_row_id, 0, next_row_id - (int64_t)file->record_count);
            continue;
        }
        delete_files++;
        deletes += (int64_t)file->record_count;
        assert_true(table->format_version >= 3 || !vector);
        assert_non_null(head_find(&head, FILE_DATA, file->referenced_data_file));
        for (size_t j = 0; j < head.count && vector; j++) /* it replaces those of v2 */
            assert_true(j == i || head.files[j].content == FILE_DATA ||
                        strcmp(head.files[j].referenced_data_file, file->referenced_data_file));
        if (vector) { /* one per data file, and it can be read */
            assert_ptr_equal(head_find(&head, FILE_POSITION_DELETES, file->referenced_data_file),
                             file);
            roaring_bitmap_t *bitmap;
            OK(puffin_read_vector(table->store, file, &bitmap, &err));
            roaring_bitmap_free(bitmap);
        }
    }
    head_done(&head);
    check_total(table, "total-data-files", data_files);
    check_total(table, "total-records", rows);
    check_total(table, "total-delete-files", delete_files);
    check_total(table, "total-position-deletes", deletes);
    check_total(table, "total-equality-deletes", 0);
    check_total(table, "total-files-size", bytes);
}

/* ---------- the whole ---------- */
static inline void check_row_ids(const IcebergTable *table, const json_t *snapshot,
                                 const ManifestFile *manifests, size_t count)
{
    int64_t first = json_integer_value(json_object_get(snapshot, "first-row-id"));
    int64_t added = json_integer_value(json_object_get(snapshot, "added-rows"));
    int64_t id = json_integer_value(json_object_get(snapshot, "snapshot-id"));
    int64_t next = first;
    for (size_t i = 0; i < count; i++) {
        if (manifests[i].deletes)
            continue;
        if (first == 0) { /* the first of v3: nobody has an id before */
            assert_int_equal(manifests[i].first_row_id, next);
            next += manifests[i].added_rows + manifests[i].existing_rows;
        } else if (manifests[i].snapshot_id == id) { /* in the list's order */
            assert_int_equal(manifests[i].first_row_id, next);
            next += manifests[i].added_rows; /* carried files have their row ids already */
        } else {
            /* equal where nothing inherits from it */
            assert_true(manifests[i].first_row_id <= first);
        }
    }
    assert_int_equal(added, next - first);
    if (id == iceberg_current_snapshot(table))
        assert_int_equal(json_integer_value(json_object_get(table->metadata, "next-row-id")), next);
}

static inline void check_snapshot(const IcebergTable *table, const json_t *snapshot,
                                  Uris *reachable)
{
    const char *list = json_string_value(json_object_get(snapshot, "manifest-list"));
    ManifestFile *manifests;
    size_t count;
    uris_add(reachable, list);
    OK(manifest_list_read(table->store, list, state_spec_by_id, table, &manifests, &count, &err));
    bool lineage = json_object_get(snapshot, "first-row-id") != NULL;
    if (snapshot == metadata_snapshot(table->metadata, iceberg_current_snapshot(table)))
        assert_int_equal(lineage, table->format_version >= 3);
    for (size_t i = 0; i < count; i++) {
        if (!uris_have(reachable, manifests[i].path)) {
            uris_add(reachable, manifests[i].path);
            check_manifest(table, &manifests[i], lineage, reachable);
        }
    }
    if (lineage)
        check_row_ids(table, snapshot, manifests, count);
    manifest_files_free(manifests, count);
}

/* Every object that can be reached is there, and, if `exactly`, no other. */
static inline void check_objects(MemoryStore *store, const Uris *reachable, bool exactly)
{
    for (size_t i = 0; i < reachable->count; i++)
        if (!memory_find(store, reachable->items[i]))
            fail_msg("%s is gone", reachable->items[i]);
    for (size_t i = 0; exactly && i < store->count; i++)
        if (!uris_have(reachable, store->objects[i].uri))
            fail_msg("%s was left", store->objects[i].uri);
}

static inline void check_table(IcebergTable *table, bool exactly)
{
    Uris reachable = {0};
    size_t i;
    json_t *item;
    int64_t last = -1;
    uris_add(&reachable, table->entry.metadata_uri);
    AUTO(mem_free) char *hint = mem_format("%s/metadata/version-hint.text", table->location);
    uris_add(&reachable, hint);
    json_array_foreach(json_object_get(table->metadata, "metadata-log"), i, item)
    {
        uris_add(&reachable, json_string_value(json_object_get(item, "metadata-file")));
    }
    json_array_foreach(json_object_get(table->metadata, "snapshots"), i, item)
    {
        int64_t sequence = json_integer_value(json_object_get(item, "sequence-number"));
        assert_true(sequence > last);
        last = sequence;
        check_snapshot(table, item, &reachable);
    }
    if (iceberg_current_snapshot(table) >= 0) {
        const json_t *log = json_object_get(table->metadata, "snapshot-log");
        const json_t *newest = json_array_get(log, json_array_size(log) - 1);
        assert_int_equal(json_integer_value(json_object_get(newest, "snapshot-id")),
                         iceberg_current_snapshot(table));
        json_array_foreach(log, i, item)
        {
            assert_non_null(metadata_snapshot(
                table->metadata, json_integer_value(json_object_get(item, "snapshot-id"))));
        }
        assert_int_equal(
            json_integer_value(json_object_get(table->metadata, "last-sequence-number")), last);
        check_head(table);
    }
    check_objects((MemoryStore *)table->store, &reachable, exactly);
    uris_done(&reachable);
}
