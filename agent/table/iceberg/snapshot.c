/* One commit: manifests (build.c), manifest list, summary (summary.c), the change, and then the
 * catalog (send.c). Until that has succeeded the table in memory stays as it is. What the commit
 * expires (retention.c) is deleted after. */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "agent/table/iceberg/build.h"
#include "agent/table/iceberg/change.h"
#include "agent/table/iceberg/history.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/json/text.h"
#include "common/mem.h"

struct IcebergAttempt {
    Build build;
    Change change;
    const char *list_uri; /* of the build's */
    json_t *expired;      /* snapshots that go with it */
    json_t *dropped;      /* URIs of metadata files that are no longer kept */
};

static json_t *snapshot_json(Build *build, const char *list_uri, int64_t now_ms)
{
    const IcebergTable *table = build->table;
    const json_t *parent = metadata_snapshot(table->metadata, metadata_head(table->metadata));
    json_t *snapshot =
        json_pack("{s:I,s:I,s:I,s:o,s:s,s:o}", "snapshot-id", (json_int_t)build->snapshot_id,
                  "sequence-number", (json_int_t)build->sequence_number, "timestamp-ms",
                  (json_int_t)now_ms, "summary", summary_json(build, parent), "manifest-list",
                  list_uri, "schema-id", json_integer(build->schema_id));
    ASSERT(snapshot);
    if (parent)
        json_object_set(snapshot, "parent-snapshot-id", json_object_get(parent, "snapshot-id"));
    if (build->format_version >= 3) {
        json_object_set_new(snapshot, "first-row-id", json_integer(build->first_row_id));
        json_object_set_new(snapshot, "added-rows",
                            json_integer(build->next_row_id - build->first_row_id));
    }
    return snapshot;
}

void change_log_metadata(const IcebergTable *table, json_t *metadata, json_t *ret_dropped)
{
    json_t *log = json_copy(json_object_get(metadata, "metadata-log"));
    if (!log)
        log = json_array();
    json_object_set_new(metadata, "metadata-log", log);
    json_array_append_new(log, json_pack("{s:O,s:s}", "timestamp-ms",
                                         json_object_get(table->metadata, "last-updated-ms"),
                                         "metadata-file", table->entry.metadata_uri));
    size_t drop = 0, count = json_array_size(log), most = state_metadata_files(table);
    for (; count - drop > most; drop++)
        json_array_append(ret_dropped, json_object_get(json_array_get(log, drop), "metadata-file"));
    for (size_t i = 0; i < drop; i++)
        json_array_remove(log, 0);
}

/* ---------- the change ---------- */
json_t *change_requirements(const IcebergTable *table)
{
    int64_t head = metadata_head(table->metadata);
    json_t *list = json_pack(
        "[{s:s,s:O},{s:s,s:s,s:o},{s:s,s:O},{s:s,s:O}]", "type", "assert-table-uuid", "uuid",
        json_object_get(table->metadata, "table-uuid"), "type", "assert-ref-snapshot-id", "ref",
        "main", "snapshot-id", head < 0 ? json_null() : json_integer(head), "type",
        "assert-current-schema-id", "current-schema-id",
        json_object_get(table->metadata, "current-schema-id"), "type", "assert-default-spec-id",
        "default-spec-id", json_object_get(table->metadata, "default-spec-id"));
    ASSERT(list);
    return list;
}

/* Which schema the table has with this commit. One that it had before is taken again: a catalog
 * that writes metadata itself would do so, too. */
static void choose_schema(Build *build)
{
    const IcebergTable *table = build->table;
    const json_t *schemas = json_object_get(table->metadata, "schemas");
    json_t *current = NULL, *each;
    int32_t last = 0;
    size_t i;
    json_array_foreach(schemas, i, each)
    {
        int32_t id = (int32_t)json_integer_value(json_object_get(each, "schema-id"));
        last = id > last ? id : last;
        if (id == table->schema_id)
            current = each;
    }
    build->schema_id = table->schema_id;
    build->schema = json_incref(current);
    if (build->commit->schema) {
        json_t *wanted = schema_change_json(current, build->commit->schema, last + 1);
        build->schema_is_new = true;
        json_array_foreach(schemas, i, each)
        {
            json_object_set(wanted, "schema-id", json_object_get(each, "schema-id"));
            if (!json_equal(wanted, each))
                continue;
            build->schema_is_new = false;
            break;
        }
        if (build->schema_is_new)
            json_object_set_new(wanted, "schema-id", json_integer(last + 1));
        json_decref(build->schema);
        build->schema = wanted;
        build->schema_id = (int32_t)json_integer_value(json_object_get(wanted, "schema-id"));
    }
    build->schema_json = build->schema == current ? mem_strdup(table->schema_json)
                                                  : json_text(build->schema, JSON_COMPACT);
}

/* Before all else: what follows is of that version. */
static void raise_version(const Build *build, Change *change)
{
    if (build->format_version > build->table->format_version)
        json_array_append_new(change->updates,
                              json_pack("{s:s,s:i}", "action", "upgrade-format-version",
                                        "format-version", build->format_version));
}

static void set_schema(const Build *build, Change *change)
{
    const IcebergTable *table = build->table;
    if (!build->commit->schema || build->schema_id == table->schema_id)
        return;
    json_array_append_new(change->requirements,
                          json_pack("{s:s,s:O}", "type", "assert-last-assigned-field-id",
                                    "last-assigned-field-id",
                                    json_object_get(table->metadata, "last-column-id")));
    if (build->schema_is_new)
        json_array_append_new(change->updates, json_pack("{s:s,s:O,s:i}", "action", "add-schema",
                                                         "schema", build->schema, "last-column-id",
                                                         build->commit->last_column_id));
    json_array_append_new(change->updates,
                          json_pack("{s:s,s:i}", "action", "set-current-schema", "schema-id",
                                    build->schema_is_new ? -1 : build->schema_id));
}

void change_set_main(const IcebergTable *table, json_t *updates, int64_t snapshot_id)
{
    json_t *ref = json_copy(json_object_get(json_object_get(table->metadata, "refs"), "main"));
    if (!ref)
        ref = json_pack("{s:s}", "type", "branch");
    json_object_set_new(ref, "action", json_string("set-snapshot-ref"));
    json_object_set_new(ref, "ref-name", json_string("main"));
    json_object_set_new(ref, "snapshot-id", json_integer(snapshot_id));
    json_array_append_new(updates, ref);
}

static void set_properties(const Build *build, Change *change)
{
    json_t *properties = json_object();
    change->marks = json_object();
    for (size_t i = 0; i < build->commit->property_count; i++) {
        const char *key = build->commit->properties[2 * i];
        const char *value = build->commit->properties[2 * i + 1];
        json_object_set_new(properties, key, build_text(build, value));
        if (strstr(value, "%SNAPSHOT%"))
            json_object_set(change->marks, key, json_object_get(properties, key));
    }
    if (json_object_size(properties))
        json_array_append_new(change->updates, json_pack("{s:s,s:o}", "action", "set-properties",
                                                         "updates", properties));
    else
        json_decref(properties);
}

/* Law 10, as part of the commit. *ret_expired: the snapshots that go. */
static bool thin(IcebergTable *table, Change *change, int64_t now_ms, json_t **ret_expired,
                 Error *err)
{
    History history;
    *ret_expired = json_array();
    if (!retention_is_time(table, now_ms))
        return true;
    history_init(&history, change->metadata, &table->history);
    json_t *ids = retention_choose(table, change->metadata, &history, now_ms), *id;
    size_t i;
    json_array_foreach(ids, i, id)
    {
        int64_t at = history_find(&history, json_integer_value(id));
        json_array_append(*ret_expired, history.steps[at].snapshot);
    }
    history_done(&history);
    if (!ids)
        return true;
    json_t *removal = json_pack("{s:s,s:o}", "action", "remove-snapshots", "snapshot-ids", ids);
    json_t *only = json_pack("[o]", removal), *without;
    json_array_append(change->updates, removal);
    without = metadata_apply(change->metadata, only, 0, err);
    json_decref(only);
    json_decref(change->metadata);
    change->metadata = without;
    return without != NULL;
}

static bool change_init(Change *change, Build *build, const char *list_uri, json_t **ret_expired,
                        json_t *ret_dropped, Error *err)
{
    IcebergTable *table = build->table;
    int64_t now_ms = clock_wall_us() / 1000;
    int64_t last_ms = json_integer_value(json_object_get(table->metadata, "last-updated-ms"));
    if (now_ms <= last_ms)
        now_ms = last_ms + 1;
    *change = (Change){.requirements = change_requirements(table),
                       .updates = json_array(),
                       .base = {.metadata_uri = mem_strdup(table->entry.metadata_uri),
                                .version = table->entry.version},
                       .snapshot_id = build->snapshot_id};
    random_uuid(7, change->id);
    raise_version(build, change);
    set_schema(build, change);
    json_array_append_new(change->updates,
                          json_pack("{s:s,s:o}", "action", "add-snapshot", "snapshot",
                                    snapshot_json(build, list_uri, now_ms)));
    change_set_main(table, change->updates, build->snapshot_id);
    set_properties(build, change);
    change->metadata = metadata_apply(table->metadata, change->updates, now_ms, err);
    if (!change->metadata || !thin(table, change, now_ms, ret_expired, err))
        return false;
    if (catalog_keeps_metadata(table->catalog)) {
        change_log_metadata(table, change->metadata, ret_dropped);
        metadata_text_init(&change->text, change->metadata, &table->text);
    }
    return true;
}

static int64_t new_snapshot_id(const IcebergTable *table)
{
    int64_t id;
    do {
        ssize_t got = getrandom(&id, sizeof id, 0);
        ASSERT(got == sizeof id);
        id &= INT64_MAX;
    } while (id == 0 || history_find(&table->history, id) >= 0);
    return id;
}

/* ---------- an attempt ---------- */
void iceberg_attempt_free(IcebergAttempt *attempt)
{
    if (!attempt)
        return;
    build_done(&attempt->build);
    change_done(&attempt->change);
    json_decref(attempt->expired);
    json_decref(attempt->dropped);
    free(attempt);
}

void iceberg_attempt_undo(IcebergAttempt *attempt)
{
    build_undo(&attempt->build);
}

static bool prepare(IcebergAttempt *attempt, Error *err)
{
    Build *build = &attempt->build;
    const IcebergTable *table = build->table;
    if (!build_manifests(build, err))
        return false;
    AUTO(mem_free) char *prefix = mem_format("snap-%" PRId64 "-", build->snapshot_id);
    attempt->list_uri = build_uri(build, prefix);
    build_assign_row_ids(build);
    return manifest_list_write(table->store, attempt->list_uri, build->manifests, build->count,
                               build->format_version, build->snapshot_id,
                               metadata_head(table->metadata), build->sequence_number,
                               build->first_row_id, err) &&
           change_init(&attempt->change, build, attempt->list_uri, &attempt->expired,
                       attempt->dropped, err);
}

IcebergAttempt *iceberg_attempt_new(IcebergTable *table, IcebergCommit *commit, Error *err)
{
    if (!state_load_manifests(table, err))
        return NULL;
    int64_t next_row_id = json_integer_value(json_object_get(table->metadata, "next-row-id"));
    IcebergAttempt *attempt = mem_zalloc(sizeof *attempt);
    attempt->dropped = json_array();
    attempt->build = (Build){.table = table,
                             .commit = commit,
                             .format_version = commit->format_version > table->format_version
                                                   ? commit->format_version
                                                   : table->format_version,
                             .snapshot_id = new_snapshot_id(table),
                             .sequence_number = iceberg_last_sequence(table) + 1,
                             .first_row_id = next_row_id,
                             .next_row_id = next_row_id};
    choose_schema(&attempt->build);
    if (prepare(attempt, err))
        return attempt;
    build_undo(&attempt->build);
    iceberg_attempt_free(attempt);
    error_wrap(err, "commit to %s.%s", table->database, table->name);
    return NULL;
}

int64_t iceberg_attempt_id(const IcebergAttempt *attempt)
{
    return attempt->build.snapshot_id;
}

/* ---------- what comes of it ---------- */
/* Only what is ours to delete, whatever the log says. */
void change_delete_dropped(const IcebergTable *table, const json_t *dropped)
{
    size_t i;
    json_t *uri;
    json_array_foreach(dropped, i, uri)
    {
        if (state_owns_file(table, json_string_value(uri)))
            (void)!store_delete(table->store, json_string_value(uri), NULL);
    }
}

/* Takes metadata (NULL: it is the change's) and entry. */
static bool adopt(IcebergAttempt *attempt, json_t *metadata, CatalogEntry *entry, Error *err)
{
    Build *build = &attempt->build;
    Change *change = &attempt->change;
    IcebergTable *table = build->table;
    if (!metadata) {
        metadata = json_incref(change->metadata);
        metadata_text_done(&table->text);
        table->text = change->text;
        change->text = (MetadataText){0};
    }
    build_fill_in_added(build);
    /* unless somebody is on top of it already */
    bool known = metadata_head(metadata) == build->snapshot_id &&
                 strcmp(table->entry.metadata_uri, change->base.metadata_uri) == 0;
    catalog_entry_done(&table->entry);
    table->entry = *entry;
    if (!state_adopt(table, metadata, known, err))
        return false;
    if (known)
        build_hand_over(build);
    if (!state_find_store(table, err))
        return false;
    change_delete_dropped(table, attempt->dropped);
    retention_clean(table, attempt->expired);
    return true;
}

/* A catalog that lets nobody remove snapshots (Nessie) gets the same without, from now on. */
static bool leave_removals_out(IcebergAttempt *attempt, Error *why)
{
    Build *build = &attempt->build;
    build->table->never_thin = true;
    change_done(&attempt->change);
    json_decref(attempt->expired);
    attempt->expired = NULL;
    json_array_clear(attempt->dropped);
    return change_init(&attempt->change, build, attempt->list_uri, &attempt->expired,
                       attempt->dropped, why);
}

IcebergAnswer iceberg_attempt_send(IcebergAttempt *attempt, Error *why)
{
    IcebergTable *table = attempt->build.table;
    CatalogEntry entry;
    json_t *metadata;
    CRASH_POINT("commit-manifests-written");
    Outcome outcome = change_send(table, &attempt->change, &entry, &metadata, why);
    if (outcome == OUTCOME_LOST && strcmp(why->code, "Unsupported") == 0 &&
        json_array_size(attempt->expired) && leave_removals_out(attempt, why))
        outcome = change_send(table, &attempt->change, &entry, &metadata, why);
    /* what took effect and can't be read is found by loading, as if no answer had come */
    if (outcome == OUTCOME_TAKEN && adopt(attempt, metadata, &entry, why))
        return ICEBERG_TAKEN;
    error_wrap(why, "commit to %s.%s", table->database, table->name);
    if (outcome != OUTCOME_LOST)
        return ICEBERG_UNKNOWN;
    return why->kind == ERROR_CONFLICT || strcmp(why->code, "CommitRefused") == 0 ? ICEBERG_REFUSED
                                                                                  : ICEBERG_FAILED;
}

void iceberg_attempt_found(IcebergAttempt *attempt)
{
    build_fill_in_added(&attempt->build);
    change_delete_dropped(attempt->build.table, attempt->dropped);
    retention_clean(attempt->build.table, attempt->expired);
}
