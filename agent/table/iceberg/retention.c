/* Law 10: snapshots are thinned as part of commits. Every snapshot younger than all_ms stays, as
 * long as they are not too many, for each of them costs every commit its part of the metadata's
 * text: behind the newest fifty the first of each second stays, behind the newest thousand the
 * first of each five minutes (of an hour). Then the first of each hour, then of each day, UTC. What
 * stays in any case:
 *
 *   - what a ref points to;
 *   - what a property firn.position.… names as its last word: it says whether the table was rolled
 *     back;
 *   - both ends of a rollback while anything between them stays (history.c).
 *
 * Snapshots that no ref stands on go when they are older than all_ms. Thinning waits until some
 * snapshots are due or some minutes have passed, so that most commits do none of it. What the
 * expired ones alone held is deleted after the commit (sweep.c), though not while they are younger
 * than all_ms (leaving.c).
 *
 * https://iceberg.apache.org/spec/#snapshot-retention-policy */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/mem.h"

#define DUE_AT_LEAST 16
#define WAIT_AT_MOST_MS 600000
#define LOOK_AT_LEAST_MS 60000
#define EXPIRED_AT_MOST 256 /* by one commit; the others by the next ones */
#define SECOND_MS 1000
#define HOUR_MS 3600000
#define DAY_MS 86400000
#define YOUNG_PERIODS 12

/* The period that a young snapshot stands for. newer: how many are. */
static int64_t young_period(const IcebergRetention *keep, int64_t time_ms, size_t newer)
{
    if (keep->young_most > 0 && newer >= (size_t)keep->young_most && keep->all_ms >= YOUNG_PERIODS)
        return 1 + time_ms / (keep->all_ms / YOUNG_PERIODS);
    if (keep->burst_most > 0 && newer >= (size_t)keep->burst_most)
        return 1 + time_ms / SECOND_MS;
    return 0;
}

/* The period a snapshot stands for, of which the first is kept: 0: every one; -1: too old. */
static int64_t period_of(const IcebergRetention *keep, int64_t time_ms, int64_t now_ms,
                         size_t newer)
{
    int64_t age_ms = now_ms - time_ms;
    if (age_ms <= keep->all_ms)
        return young_period(keep, time_ms, newer);
    if (age_ms <= keep->hourly_ms)
        return 1 + time_ms / HOUR_MS;
    return age_ms <= keep->daily_ms ? 1 + time_ms / DAY_MS : -1;
}

static void keep_id(History *history, int64_t id)
{
    int64_t at = history_find(history, id);
    if (at >= 0)
        history->steps[at].keep = true;
}

static void keep_named(History *history, const json_t *metadata)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(metadata, "refs"), name, value)
    {
        int64_t id = json_integer_value(json_object_get(value, "snapshot-id"));
        keep_id(history, id);
        history_mark(history, id);
    }
    json_object_foreach(json_object_get(metadata, "properties"), name, value)
    {
        const char *text = json_string_value(value), *space = text ? strrchr(text, ' ') : NULL;
        if (space && strncmp(name, ICEBERG_CLAIM, strlen(ICEBERG_CLAIM)) == 0)
            keep_id(history, strtoll(space + 1, NULL, 10));
    }
}

static void keep_rollbacks(History *history)
{
    for (size_t s = 0; s < history->count; s++) {
        Step *step = &history->steps[s];
        if (!step->on_chain || step->parent < 0)
            continue;
        for (size_t between = (size_t)step->parent + 1; between < s; between++)
            if (history->steps[between].keep)
                step->keep = history->steps[step->parent].keep = true;
    }
}

static size_t choose(History *history, const IcebergRetention *retention, const json_t *metadata,
                     int64_t now_ms)
{
    int64_t last_period = -1;
    size_t due = 0;
    keep_named(history, metadata);
    for (size_t s = 0; s < history->count; s++) {
        Step *step = &history->steps[s];
        int64_t period = period_of(retention, step->time_ms, now_ms, history->count - 1 - s);
        step->keep =
            step->keep || period == 0 || (step->on_chain && period > 0 && period != last_period);
        if (step->on_chain && period > 0)
            last_period = period;
    }
    keep_rollbacks(history);
    for (size_t s = 0; s < history->count; s++)
        due += !history->steps[s].keep;
    return due;
}

bool retention_allowed(const IcebergTable *table, const json_t *metadata)
{
    const char *gc =
        json_string_value(json_object_get(json_object_get(metadata, "properties"), "gc.enabled"));
    return !table->never_thin && (!gc || strcmp(gc, "false") != 0);
}

bool iceberg_thins(const IcebergTable *table)
{
    return retention_allowed(table, table->metadata);
}

/* A commit makes one more due, as a rule: what was seen the last time says when to look again.
 * Until something has been thinned it does not wait. */
bool retention_is_time(IcebergTable *table, int64_t now_ms)
{
    return !table->thinned_ms || --table->look_after <= 0 ||
           now_ms - table->looked_ms >= LOOK_AT_LEAST_MS;
}

json_t *retention_choose(IcebergTable *table, const json_t *metadata, History *history,
                         int64_t now_ms)
{
    if (!retention_allowed(table, metadata))
        return NULL;
    size_t due = choose(history, &table->retention, metadata, now_ms);
    table->looked_ms = now_ms;
    table->look_after = due < DUE_AT_LEAST ? DUE_AT_LEAST - (int32_t)due : 1;
    if (!due || (due < DUE_AT_LEAST && now_ms - table->thinned_ms < WAIT_AT_MOST_MS))
        return NULL;
    table->thinned_ms = now_ms;
    json_t *ids = json_array();
    for (size_t s = 0; s < history->count && json_array_size(ids) < EXPIRED_AT_MOST; s++)
        if (!history->steps[s].keep)
            json_array_append_new(ids, json_integer(history->steps[s].id));
    return ids;
}
