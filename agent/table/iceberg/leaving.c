/* Expired snapshots on their way out. Whoever began to read a snapshot goes on for a while after it
 * has been expired; so what only such snapshots hold is deleted (sweep.c) when they are older than
 * all_ms. Until then they are kept in mind, a batch for each commit that expired some, and in a
 * file <location>/metadata/expired/<random>.json beside the table, from which the next process goes
 * on:
 *
 *   [{"snapshot-id", "parent-snapshot-id", "sequence-number", "timestamp-ms", "manifest-list",
 *     "summary": {"operation"}}, …]    as in the metadata they came from
 *
 * A batch leaves as a whole, with the newest of it. A file that can't be written or read leaves
 * orphans, never a hole. */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/clock.h"
#include "common/json/text.h"
#include "common/mem.h"

#define FOLDER "expired/"
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define BATCHES_AT_ONCE 4 /* of those that are due, by one commit */

static void batch_done(LeavingBatch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free((char *)(uintptr_t)batch->steps[i].list);
    free(batch->steps);
    free(batch->uri);
    *batch = (LeavingBatch){0};
}

void leaving_done(Leaving *leaving)
{
    for (size_t b = 0; b < leaving->count; b++)
        batch_done(&leaving->batches[b]);
    free(leaving->batches);
    *leaving = (Leaving){0};
}

/* Takes the URI. */
static void add_batch(Leaving *leaving, char *uri, const json_t *snapshots)
{
    LeavingBatch batch = {.uri = uri};
    size_t i;
    json_t *snapshot;
    batch.steps = mem_array(json_array_size(snapshots), sizeof *batch.steps);
    json_array_foreach(snapshots, i, snapshot)
    {
        Step step = history_step(snapshot);
        if (!step.list || step.id < 0)
            continue;
        step.snapshot = NULL;
        step.list = mem_strdup(step.list);
        if (step.time_ms > batch.newest_ms)
            batch.newest_ms = step.time_ms;
        batch.steps[batch.count++] = step;
    }
    leaving->batches = mem_regrow(leaving->batches, leaving->count + 1, sizeof *leaving->batches);
    leaving->batches[leaving->count++] = batch;
}

/* ---------- the files ---------- */
static json_t *told(const json_t *snapshot)
{
    static const char *const keys[] = {"snapshot-id", "parent-snapshot-id", "sequence-number",
                                       "timestamp-ms", "manifest-list"};
    json_t *to = json_object(), *summary = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_get(snapshot, keys[i]))
            json_object_set(to, keys[i], json_object_get(snapshot, keys[i]));
    json_t *operation = json_object_get(json_object_get(snapshot, "summary"), "operation");
    if (operation)
        json_object_set(summary, "operation", operation);
    json_object_set_new(to, "summary", summary);
    return to;
}

/* NULL: it could not be written. */
static char *write_file(IcebergTable *table, const json_t *snapshots)
{
    AUTO(mem_free) char *uri = metadata_file_uri(table, FOLDER, ".json");
    json_t *all = json_array(), *snapshot;
    size_t i;
    json_array_foreach(snapshots, i, snapshot)
    {
        json_array_append_new(all, told(snapshot));
    }
    AUTO(mem_free) char *text = json_text(all, JSON_COMPACT);
    json_decref(all);
    ASSERT(text);
    return store_put(table->store, uri, text, strlen(text), NULL) ? TAKE(uri) : NULL;
}

static bool name_file(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)modified_us;
    if (bytes <= FILE_BYTES_MAX)
        json_array_append_new(context, json_string(uri));
    return true;
}

/* What an earlier process could not see to. */
static void find_left(IcebergTable *table)
{
    AUTO(mem_free) char *folder = mem_format("%s/metadata/" FOLDER, table->location);
    json_t *uris = json_array(), *uri;
    size_t i;
    table->leaving.known = true;
    if (!store_list(table->store, folder, name_file, uris, NULL))
        json_array_clear(uris);
    json_array_foreach(uris, i, uri)
    {
        Bytes text = {0};
        if (store_get(table->store, json_string_value(uri), FILE_BYTES_MAX, &text, NULL)) {
            json_t *snapshots = json_loadb((const char *)text.data, text.used, 0, NULL);
            if (json_is_array(snapshots))
                add_batch(&table->leaving, mem_strdup(json_string_value(uri)), snapshots);
            json_decref(snapshots);
        }
        bytes_done(&text);
    }
    json_decref(uris);
}

/* One file's lists; a file that is gone has been seen to. */
static bool lists_of(IcebergTable *table, const char *uri, LeavingEach *each, void *context,
                     Error *err)
{
    Bytes text = {0};
    Error why = {0};
    size_t i;
    json_t *snapshot;
    if (!store_get(table->store, uri, FILE_BYTES_MAX, &text, &why)) {
        if (strcmp(why.code, "ObjectMissing") == 0)
            return true;
        *err = why;
        return false;
    }
    json_t *snapshots = json_loadb((const char *)text.data, text.used, 0, NULL);
    bool ok = json_is_array(snapshots) ||
              error_set(err, ERROR_DATA, "BadMetadata",
                        "%s tells of no snapshots: what leaves with them is not known; remove it "
                        "if nobody reads snapshots that old any more",
                        uri);
    json_array_foreach(snapshots, i, snapshot)
    {
        const char *list = json_string_value(json_object_get(snapshot, "manifest-list"));
        ok = ok && (!list || each(context, list, err));
    }
    json_decref(snapshots);
    bytes_done(&text);
    return ok;
}

bool leaving_each(IcebergTable *table, LeavingEach *each, void *context, Error *err)
{
    AUTO(mem_free) char *folder = mem_format("%s/metadata/" FOLDER, table->location);
    json_t *uris = json_array(), *uri;
    size_t i;
    bool ok = store_list(table->store, folder, name_file, uris, err);
    json_array_foreach(uris, i, uri)
    {
        ok = ok && lists_of(table, json_string_value(uri), each, context, err);
    }
    json_decref(uris);
    return ok;
}

/* ---------- leaving ---------- */
static bool is_due(const IcebergTable *table, int64_t time_ms, int64_t now_ms)
{
    return now_ms - time_ms > table->retention.all_ms;
}

static void let_go(IcebergTable *table, size_t at)
{
    Leaving *leaving = &table->leaving;
    LeavingBatch batch = leaving->batches[at];
    memmove(&leaving->batches[at], &leaving->batches[at + 1],
            (--leaving->count - at) * sizeof batch);
    sweep(table, batch.steps, batch.count);
    if (batch.uri)
        (void)!store_delete(table->store, batch.uri, NULL);
    batch_done(&batch);
}

/* Of those that are just expired the old ones go at once. */
static void take_in(IcebergTable *table, const json_t *expired, int64_t now_ms)
{
    Step *due = mem_array(json_array_size(expired), sizeof *due);
    json_t *stay = json_array(), *snapshot;
    size_t i, count = 0;
    json_array_foreach(expired, i, snapshot)
    {
        Step step = history_step(snapshot);
        if (is_due(table, step.time_ms, now_ms))
            due[count++] = step;
        else
            json_array_append(stay, snapshot);
    }
    if (json_array_size(stay))
        add_batch(&table->leaving, write_file(table, stay), stay);
    json_decref(stay);
    if (count)
        sweep(table, due, count);
    free(due);
}

void retention_clean(IcebergTable *table, const json_t *expired)
{
    Leaving *leaving = &table->leaving;
    if (!retention_allowed(table, table->metadata))
        return;
    if (!leaving->known)
        find_left(table);
    if ((!json_array_size(expired) && !leaving->count) || !state_load_manifests(table, NULL))
        return;
    /* the table's time, which may run ahead of the clock: each snapshot is a millisecond later */
    int64_t now_ms = clock_wall_us() / 1000;
    int64_t last_ms = json_integer_value(json_object_get(table->metadata, "last-updated-ms"));
    if (now_ms < last_ms)
        now_ms = last_ms;
    if (json_array_size(expired))
        take_in(table, expired, now_ms);
    size_t gone = 0;
    for (size_t b = 0; b < leaving->count && gone < BATCHES_AT_ONCE;)
        if (is_due(table, leaving->batches[b].newest_ms, now_ms)) {
            let_go(table, b);
            gone++;
        } else {
            b++;
        }
}
