/* The head of main becomes an older snapshot, in a change that adds none: as any other it asserts
 * the head that it was made for, so that it is of no effect on what somebody has committed since.
 * https://iceberg.apache.org/spec/#snapshot-references */
#include <inttypes.h>
#include <string.h>

#include "agent/table/iceberg/change.h"
#include "agent/table/iceberg/history.h"
#include "common/clock.h"

int64_t iceberg_snapshot_at(const IcebergTable *table, int64_t time_ms)
{
    History history;
    int64_t found = -1;
    history_init(&history, table->metadata, &table->history);
    (void)history_mark(&history, metadata_head(table->metadata));
    for (size_t s = history.count; s-- > 0 && found < 0;)
        if (history.steps[s].on_chain && history.steps[s].time_ms <= time_ms)
            found = history.steps[s].id;
    history_done(&history);
    return found;
}

const char *iceberg_said(const IcebergTable *table, int64_t snapshot_id, const char *key)
{
    const json_t *snapshots = json_object_get(table->metadata, "snapshots");
    for (size_t left = json_array_size(snapshots) + 1; left > 0; left--) {
        const json_t *snapshot = metadata_snapshot(table->metadata, snapshot_id);
        const json_t *parent = json_object_get(snapshot, "parent-snapshot-id");
        const char *said =
            json_string_value(json_object_get(json_object_get(snapshot, "summary"), key));
        if (said || !json_is_integer(parent))
            return said;
        snapshot_id = json_integer_value(parent);
    }
    return NULL; /* parents in a circle */
}

static bool prepare(IcebergTable *table, int64_t snapshot_id, const char *const *properties,
                    size_t property_count, Change *ret, json_t *ret_dropped, Error *err)
{
    int64_t now_ms = clock_wall_us() / 1000;
    int64_t last_ms = json_integer_value(json_object_get(table->metadata, "last-updated-ms"));
    *ret = (Change){.requirements = change_requirements(table),
                    .updates = json_array(),
                    .base = {.metadata_uri = mem_strdup(table->entry.metadata_uri),
                             .version = table->entry.version},
                    .snapshot_id = -1,
                    .marks = json_object()};
    random_uuid(7, ret->id);
    for (size_t i = 0; i < property_count; i++)
        json_object_set_new(ret->marks, properties[2 * i], json_string(properties[2 * i + 1]));
    change_set_main(table, ret->updates, snapshot_id);
    json_array_append_new(
        ret->updates, json_pack("{s:s,s:O}", "action", "set-properties", "updates", ret->marks));
    ret->metadata =
        metadata_apply(table->metadata, ret->updates, now_ms > last_ms ? now_ms : last_ms + 1, err);
    if (!ret->metadata)
        return false;
    if (catalog_keeps_metadata(table->catalog)) {
        change_log_metadata(table, ret->metadata, ret_dropped);
        metadata_text_init(&ret->text, ret->metadata, &table->text);
    }
    return true;
}

IcebergAnswer iceberg_roll_back(IcebergTable *table, int64_t snapshot_id,
                                const char *const *properties, size_t property_count, Error *why)
{
    Change change = {0};
    CatalogEntry entry = {0};
    json_t *metadata = NULL, *dropped = json_array();
    Outcome outcome = OUTCOME_LOST;
    if (!metadata_snapshot(table->metadata, snapshot_id))
        (void)error_set(why, ERROR_CONFIG, "SnapshotMissing",
                        "table %s.%s has no snapshot %" PRId64 " (any more): name one that it has",
                        table->database, table->name, snapshot_id);
    else if (prepare(table, snapshot_id, properties, property_count, &change, dropped, why))
        outcome = change_send(table, &change, &entry, &metadata, why);
    if (outcome == OUTCOME_TAKEN)
        change_delete_dropped(table, dropped);
    else
        error_wrap(why, "rolling back %s.%s", table->database, table->name);
    catalog_entry_done(&entry);
    json_decref(metadata);
    json_decref(dropped);
    change_done(&change);
    switch (outcome) {
    case OUTCOME_TAKEN:
        return ICEBERG_TAKEN;
    case OUTCOME_UNKNOWN:
        return ICEBERG_UNKNOWN;
    case OUTCOME_LOST:
        break;
    }
    return why->kind == ERROR_CONFLICT || strcmp(why->code, "CommitRefused") == 0 ? ICEBERG_REFUSED
                                                                                  : ICEBERG_FAILED;
}
