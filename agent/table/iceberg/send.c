/* A change goes to the catalog. An answer that is lost is not a failure: the table is loaded again
 * and asked for the snapshot's id. Has the table not moved, then the same change is sent again: it
 * can take effect once at most, for it asserts the head it was made for, and moves it.
 * https://iceberg.apache.org/spec/#commit-conflict-resolution-and-retry */
#include <string.h>

#include "agent/table/iceberg/change.h"
#include "common/clock.h"
#include "common/crash.h"

#define SENDS 3
#define PAUSE_US 100000 /* before it is sent again; doubled */

void change_done(Change *change)
{
    json_decref(change->requirements);
    json_decref(change->updates);
    json_decref(change->metadata);
    json_decref(change->marks);
    metadata_text_done(&change->text);
    catalog_entry_done(&change->base);
    *change = (Change){0};
}

static bool has_code(const Error *why, const char *code)
{
    return strcmp(why->code, code) == 0;
}

/* Does the table tell of the change? */
static bool tells_of(const json_t *metadata, const Change *change)
{
    const char *key;
    json_t *value;
    if (metadata_snapshot(metadata, change->snapshot_id))
        return true;
    json_object_foreach(change->marks, key, value)
    {
        if (json_equal(json_object_get(json_object_get(metadata, "properties"), key), value))
            return true;
    }
    return false;
}

/* Can a change made for what the table was no longer take effect? A pointer has moved when it
 * points elsewhere, a server asserts the head. */
static bool has_moved(const IcebergTable *table, const CatalogEntry *entry, const json_t *metadata)
{
    if (!entry->metadata_uri)
        return true;
    if (catalog_keeps_metadata(table->catalog))
        return strcmp(entry->metadata_uri, table->entry.metadata_uri) != 0;
    return !json_equal(json_object_get(metadata, "table-uuid"),
                       json_object_get(table->metadata, "table-uuid")) ||
           metadata_head(metadata) != metadata_head(table->metadata);
}

/* After a failure. doubtful: a send before may have taken effect, or may yet. *ret_again: the table
 * is as it was. */
static Outcome find_out(const IcebergTable *table, const Change *change, bool doubtful,
                        CatalogEntry *ret, json_t **ret_metadata, bool *ret_again, Error *why)
{
    TableName name = table_name(table);
    json_t *metadata = NULL;
    Error ignored;
    *ret_again = false;
    if (!catalog_load(table->catalog, &name, ret, &ignored))
        return OUTCOME_UNKNOWN;
    if (ret->metadata_uri)
        metadata = json_loadb((const char *)ret->metadata.data, ret->metadata.used, 0, NULL);
    bytes_done(&ret->metadata);
    if (metadata && tells_of(metadata, change)) {
        *ret_metadata = metadata;
        return OUTCOME_TAKEN;
    }
    bool unreadable = ret->metadata_uri && !metadata, moved = has_moved(table, ret, metadata);
    json_decref(metadata);
    catalog_entry_done(ret);
    if (unreadable)
        return OUTCOME_UNKNOWN;
    if (moved) {
        if (why->kind != ERROR_CONFLICT && !has_code(why, "DiskFull"))
            error_set(why, ERROR_CONFLICT, "CommitConflict", "somebody else committed first");
        return OUTCOME_LOST;
    }
    if (doubtful && why->kind == ERROR_CONFLICT)
        error_set(why, ERROR_RETRY, "CommitUnknown",
                  "it is not known whether it took effect: no answer, then a conflict");
    else if (why->kind != ERROR_RETRY || has_code(why, "DiskFull"))
        return OUTCOME_LOST;
    *ret_again = why->kind == ERROR_RETRY && !has_code(why, "CommitUnknown");
    return doubtful || !has_code(why, "NotSent") ? OUTCOME_UNKNOWN : OUTCOME_LOST;
}

Outcome change_send_once(IcebergTable *table, const Change *change, CatalogEntry *ret_entry,
                         json_t **ret_metadata, Error *why)
{
    TableName name = table_name(table);
    CatalogChange it = {.base = &change->base,
                        .metadata = (const char *)change->text.text.data,
                        .metadata_bytes = change->text.text.used,
                        .requirements = change->requirements,
                        .updates = change->updates,
                        .id = change->id};
    *ret_metadata = NULL;
    *ret_entry = (CatalogEntry){0};
    *why = (Error){0};
    if (!catalog_commit(table->catalog, &name, &it, ret_entry, why))
        return why->kind == ERROR_RETRY && !has_code(why, "NotSent") && !has_code(why, "DiskFull")
                   ? OUTCOME_UNKNOWN
                   : OUTCOME_LOST;
    CRASH_POINT("commit-swapped");
    if (!ret_entry->metadata.used)
        return OUTCOME_TAKEN;
    *ret_metadata =
        json_loadb((const char *)ret_entry->metadata.data, ret_entry->metadata.used, 0, NULL);
    bytes_done(&ret_entry->metadata);
    if (*ret_metadata && tells_of(*ret_metadata, change))
        return OUTCOME_TAKEN;
    /* an answer that says nothing of it is no answer */
    json_decref(*ret_metadata);
    *ret_metadata = NULL;
    catalog_entry_done(ret_entry);
    error_set(why, ERROR_RETRY, "AnswerBad", "the catalog's answer does not hold the snapshot");
    return OUTCOME_UNKNOWN;
}

static Outcome send(IcebergTable *table, const Change *change, bool *doubtful,
                    CatalogEntry *ret_entry, json_t **ret_metadata, bool *ret_again, Error *why)
{
    *ret_again = false;
    Outcome outcome = change_send_once(table, change, ret_entry, ret_metadata, why);
    *doubtful |= outcome == OUTCOME_UNKNOWN;
    if (outcome == OUTCOME_TAKEN || (why->kind != ERROR_RETRY && why->kind != ERROR_CONFLICT &&
                                     !has_code(why, "CommitRefused")))
        return outcome;
    return find_out(table, change, *doubtful, ret_entry, ret_metadata, ret_again, why);
}

Outcome change_send(IcebergTable *table, const Change *change, CatalogEntry *ret_entry,
                    json_t **ret_metadata, Error *why)
{
    bool doubtful = false, again;
    for (int sent = 1;; sent++) {
        Outcome outcome = send(table, change, &doubtful, ret_entry, ret_metadata, &again, why);
        if (outcome == OUTCOME_TAKEN || !again || sent == SENDS)
            return outcome;
        clock_sleep_us((int64_t)PAUSE_US << sent);
    }
}
