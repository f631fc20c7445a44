/* One commit: manifests (build.c), manifest list, summary (summary.c), metadata, and then the
 * catalog is swapped. Until that has succeeded the table in memory stays as it is. What the commit
 * expires (retention.c) is deleted after.
 *
 * An answer that is lost is not a failure: the table is loaded again and asked for the snapshot's
 * id. https://iceberg.apache.org/spec/#commit-conflict-resolution-and-retry */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/build.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

/* ---------- the new metadata ---------- */
static json_t *snapshot_json(Build *build, const char *list_uri, int64_t now_ms)
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

static json_t *next_metadata(Build *build, const char *list_uri, json_t **ret_expired,
                             json_t *ret_dropped)
{
    IcebergTable *table = build->table;
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
                            build_text(build, build->commit->properties[2 * i + 1]));
    *ret_expired = retention_thin(table, metadata, now_ms);
    return metadata;
}

/* ---------- the swap ---------- */
typedef enum Outcome {
    OUTCOME_SWAPPED, /* the entry's metadata is ours */
    OUTCOME_LOADED,  /* it took effect, and was found by loading: somebody may be on top of it */
    OUTCOME_LOST,    /* it has surely not taken effect */
    OUTCOME_UNKNOWN, /* nothing could be told, or an answer may still be under way */
} Outcome;

/* After a failure: does the table hold the snapshot? */
static Outcome find_out(const Build *build, CatalogEntry *ret, Error *why)
{
    TableName name = table_name(build->table);
    Error ignored;
    if (!catalog_load(build->table->catalog, &name, ret, &ignored))
        return OUTCOME_UNKNOWN;
    json_t *metadata = ret->metadata_uri ? json_loadb((const char *)ret->metadata.data,
                                                      ret->metadata.used, 0, NULL)
                                         : NULL;
    bool there = metadata && metadata_snapshot(metadata, build->snapshot_id);
    json_decref(metadata);
    if (there)
        return OUTCOME_LOADED;
    bool moved =
        !ret->metadata_uri || strcmp(ret->metadata_uri, build->table->entry.metadata_uri) != 0;
    catalog_entry_done(ret);
    if (why->kind == ERROR_RETRY && moved && strcmp(why->code, "DiskFull") != 0)
        error_set(why, ERROR_CONFLICT, "CommitConflict", "somebody else committed first");
    return moved || strcmp(why->code, "DiskFull") == 0 ? OUTCOME_LOST : OUTCOME_UNKNOWN;
}

static Outcome swap(Build *build, const char *text, CatalogEntry *ret, Error *why)
{
    IcebergTable *table = build->table;
    TableName name = table_name(table);
    *ret = (CatalogEntry){0};
    *why = (Error){0};
    CRASH_POINT("commit-manifests-written");
    if (catalog_commit(table->catalog, &name, &table->entry, text, strlen(text), &ret->metadata_uri,
                       &ret->version, why)) {
        CRASH_POINT("commit-swapped");
        return OUTCOME_SWAPPED;
    }
    if (why->kind != ERROR_RETRY && why->kind != ERROR_CONFLICT)
        return OUTCOME_LOST;
    return find_out(build, ret, why);
}

/* Takes metadata and entry. */
static bool adopt(Build *build, Outcome outcome, json_t *metadata, CatalogEntry *entry, Error *err)
{
    IcebergTable *table = build->table;
    build_fill_in_added(build);
    if (outcome == OUTCOME_LOADED) {
        json_decref(metadata);
        return state_adopt_entry(table, entry, err);
    }
    json_decref(table->metadata);
    table->metadata = metadata;
    catalog_entry_done(&table->entry);
    table->entry = *entry;
    build_hand_over(build);
    return true;
}

/* Only what is ours to delete, whatever the log says. */
static void delete_dropped(const IcebergTable *table, const json_t *dropped)
{
    size_t i;
    json_t *uri;
    json_array_foreach(dropped, i, uri)
    {
        if (state_owns_file(table, json_string_value(uri)))
            (void)!store_delete(table->store, json_string_value(uri), NULL);
    }
}

static bool publish(Build *build, Error *err)
{
    IcebergTable *table = build->table;
    AUTO(mem_free) char *prefix = mem_format("snap-%" PRId64 "-", build->snapshot_id);
    const char *list_uri = build_uri(build, prefix);
    build_assign_row_ids(build);
    if (!manifest_list_write(table->store, list_uri, build->manifests, build->count,
                             table->format_version, build->snapshot_id,
                             metadata_head(table->metadata), build->sequence_number,
                             build->first_row_id, err)) {
        build_undo(build);
        return false;
    }
    json_t *expired = NULL, *dropped = json_array();
    json_t *metadata = next_metadata(build, list_uri, &expired, dropped);
    char *text = json_dumps(metadata, JSON_COMPACT);
    ASSERT(text);
    CatalogEntry entry;
    Error why;
    bool ok;
    Outcome outcome = swap(build, text, &entry, &why);
    free(text);
    if (outcome == OUTCOME_LOST)
        build_undo(build);
    if (outcome == OUTCOME_SWAPPED || outcome == OUTCOME_LOADED) {
        ok = adopt(build, outcome, metadata, &entry, err);
    } else {
        json_decref(metadata);
        if (err)
            *err = why;
        ok = false;
    }
    if (ok) {
        delete_dropped(table, dropped);
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
    bool ok = build_manifests(&build, err);
    if (!ok)
        build_undo(&build);
    ok = ok && publish(&build, err);
    if (ok)
        *ret_snapshot_id = build.snapshot_id;
    build_done(&build);
    return ok || error_wrap(err, "commit to %s.%s", table->database, table->name);
}
