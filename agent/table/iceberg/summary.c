/* The summary of a snapshot: what it adds and removes, and what the table holds in all, under the
 * names Iceberg's Java writes. https://iceberg.apache.org/spec/#optional-snapshot-summary-fields */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/table/iceberg/build.h"

static void put_number(json_t *summary, const char *key, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    json_object_set_new(summary, key, json_string(text));
}

static void put_count(json_t *summary, const char *key, int64_t count)
{
    if (count)
        put_number(summary, key, count);
}

/* What the parent says, plus, minus; left out when it says nothing that makes sense. A table whose
 * files all went starts from nothing. */
static void put_total(json_t *summary, const json_t *parent, bool reset, const char *key,
                      int64_t added, int64_t removed)
{
    int64_t total = 0;
    if (parent && !reset) {
        const char *text =
            json_string_value(json_object_get(json_object_get(parent, "summary"), key));
        char *end;
        total = text ? strtoll(text, &end, 10) : -1;
        if (!text || end == text || *end || total < removed)
            return;
        total -= removed;
    }
    put_number(summary, key, total + added);
}

static const char *operation(const Build *build)
{
    if (build->commit->operation)
        return build->commit->operation;
    const Counts *added = &build->added_counts, *removed = &build->removed_counts;
    bool takes = removed->files || added->delete_files || removed->delete_files;
    return !takes ? "append" : added->files ? "overwrite" : "delete";
}

json_t *build_text(const Build *build, const char *text)
{
    const char *at = strstr(text, "%SNAPSHOT%");
    if (!at)
        return json_string(text);
    AUTO(mem_free)
    char *full = mem_format("%.*s%" PRId64 "%s", (int)(at - text), text, build->snapshot_id,
                            at + strlen("%SNAPSHOT%"));
    return json_string(full);
}

static void put_side(json_t *summary, const Counts *counts, bool added)
{
    put_count(summary, added ? "added-data-files" : "deleted-data-files", counts->files);
    put_count(summary, added ? "added-records" : "deleted-records", counts->records);
    put_count(summary, added ? "added-files-size" : "removed-files-size", counts->bytes);
    put_count(summary, added ? "added-delete-files" : "removed-delete-files", counts->delete_files);
    put_count(summary, added ? "added-position-delete-files" : "removed-position-delete-files",
              counts->position_files);
    put_count(summary, added ? "added-dvs" : "removed-dvs", counts->vectors);
    put_count(summary, added ? "added-position-deletes" : "removed-position-deletes",
              counts->position_deletes);
    put_count(summary, added ? "added-equality-delete-files" : "removed-equality-delete-files",
              counts->equality_files);
    put_count(summary, added ? "added-equality-deletes" : "removed-equality-deletes",
              counts->equality_deletes);
}

json_t *summary_json(Build *build, const json_t *parent)
{
    const Counts *in = &build->added_counts, *out = &build->removed_counts;
    const IcebergCommit *commit = build->commit;
    bool reset = commit->remove_all;
    json_t *summary = json_object();
    json_object_set_new(summary, "operation", json_string(operation(build)));
    put_side(summary, in, true);
    put_side(summary, out, false);
    hashes_sort(&build->partitions);
    put_number(summary, "changed-partition-count", (int64_t)build->partitions.count);
    put_total(summary, parent, reset, "total-data-files", in->files, out->files);
    put_total(summary, parent, reset, "total-records", in->records, out->records);
    put_total(summary, parent, reset, "total-files-size", in->bytes, out->bytes);
    put_total(summary, parent, reset, "total-delete-files", in->delete_files, out->delete_files);
    put_total(summary, parent, reset, "total-position-deletes", in->position_deletes,
              out->position_deletes);
    put_total(summary, parent, reset, "total-equality-deletes", in->equality_deletes,
              out->equality_deletes);
    put_number(summary, "manifests-created", build->manifests_created);
    put_number(summary, "manifests-replaced", build->manifests_replaced);
    put_number(summary, "manifests-kept", (int64_t)build->count - build->manifests_created);
    for (size_t i = 0; i < commit->summary_count; i++)
        json_object_set_new(summary, commit->summary[2 * i],
                            build_text(build, commit->summary[2 * i + 1]));
    json_object_set_new(summary, "engine-name", json_string("firn"));
    json_object_set_new(summary, "engine-version", json_string(FIRN_VERSION));
    return summary;
}
