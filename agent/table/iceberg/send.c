/* A change goes to the catalog, and its answer is read. An answer that is lost is no failure: the
 * same change may be sent again, and takes effect once at most, for it asserts the head it was made
 * for, and moves it.
 * https://iceberg.apache.org/spec/#commit-conflict-resolution-and-retry */
#include <string.h>

#include "agent/table/iceberg/change.h"
#include "common/crash.h"

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

Outcome change_send(IcebergTable *table, const Change *change, CatalogEntry *ret_entry,
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
