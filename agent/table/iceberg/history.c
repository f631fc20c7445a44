/* Which snapshots the head of a branch stands on.
 *
 * The chain of parents is cut where a snapshot was thinned or expired. It is then taken to go on at
 * the newest snapshot that is still known and older (by sequence number) than the cut: on a history
 * without rollbacks that is right, for every commit stands on the one before. After a rollback it
 * could be wrong: the snapshots rolled back lie between the new one (Y) and its parent (X) by
 * number, and would be taken for ancestors if Y or X were gone. Hence our own thinning keeps Y and
 * X as long as anything between them is kept (retention.c).
 *
 * A snapshot that is not known at all was expired. It counts as an ancestor if the chain was cut,
 * and the head is the newest snapshot that ever was: else what was rolled back may just as well be
 * what was expired, and the safe answer is no.
 *
 * Nessie tells of the head alone, and not of its parent: every commit cuts the chain there. Nothing
 * can be rolled back within such metadata; who sets Nessie's branch back, brings all of an older
 * state back, with the position it had. */
#include <string.h>

#include "agent/table/iceberg/history.h"
#include "common/mem.h"

static int64_t number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static int compare_steps(const void *a, const void *b)
{
    const Step *x = a, *y = b;
    return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

Step history_step(json_t *snapshot)
{
    const char *operation =
        json_string_value(json_object_get(json_object_get(snapshot, "summary"), "operation"));
    return (Step){.snapshot = snapshot,
                  .list = json_string_value(json_object_get(snapshot, "manifest-list")),
                  .appends = operation && strcmp(operation, "append") == 0,
                  .id = number(snapshot, "snapshot-id"),
                  .parent_id = number(snapshot, "parent-snapshot-id"),
                  .sequence = number(snapshot, "sequence-number"),
                  .time_ms = number(snapshot, "timestamp-ms")};
}

/* Both stand in the order of their numbers, so that one pass finds what is shared. */
static Step step_of(json_t *snapshot, const History *known, size_t *at)
{
    for (size_t k = *at; known && k < known->count; k++)
        if (known->steps[k].snapshot == snapshot) {
            *at = k + 1;
            Step step = known->steps[k];
            step.on_chain = step.keep = false;
            return step;
        }
    return history_step(snapshot);
}

static void find_parent(History *history, size_t s)
{
    Step *step = &history->steps[s];
    step->parent = -1;
    /* a parent is older; nearly always it is the one before */
    for (size_t p = s; step->parent_id >= 0 && p-- > 0;)
        if (history->steps[p].id == step->parent_id) {
            step->parent = (int64_t)p;
            return;
        }
}

void history_init(History *history, const json_t *metadata, const History *known)
{
    const json_t *snapshots = json_object_get(metadata, "snapshots");
    size_t i, at = 0;
    json_t *snapshot;
    bool sorted = true;
    *history = (History){.count = json_array_size(snapshots)};
    history->steps = mem_array(history->count, sizeof *history->steps);
    json_array_foreach(snapshots, i, snapshot)
    {
        history->steps[i] = step_of(snapshot, known, &at);
        sorted =
            sorted && (i == 0 || compare_steps(&history->steps[i - 1], &history->steps[i]) <= 0);
    }
    if (!sorted)
        qsort(history->steps, history->count, sizeof *history->steps, compare_steps);
    for (size_t s = 0; s < history->count; s++)
        find_parent(history, s);
}

/* A snapshot beside itself. */
static int compare_all(const void *a, const void *b)
{
    const Step *x = a, *y = b;
    int order = compare_steps(a, b);
    if (!order)
        order = (x->time_ms > y->time_ms) - (x->time_ms < y->time_ms);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* What comes is a few sorted runs, one behind the other. */
static Step *sorted(Step *steps, size_t count)
{
    Step *spare = mem_array(count, sizeof *spare);
    for (;;) {
        size_t middle = 1, end;
        while (middle < count && compare_all(&steps[middle - 1], &steps[middle]) <= 0)
            middle++;
        if (middle >= count)
            break;
        for (end = middle + 1; end < count && compare_all(&steps[end - 1], &steps[end]) <= 0;)
            end++;
        for (size_t a = 0, b = middle, to = 0; to < end; to++)
            spare[to] = b == end || (a < middle && compare_all(&steps[a], &steps[b]) <= 0)
                            ? steps[a++]
                            : steps[b++];
        memcpy(spare + end, steps + end, (count - end) * sizeof *steps);
        Step *merged = spare;
        spare = steps;
        steps = merged;
    }
    free(spare);
    return steps;
}

void history_of(History *history, Step *steps, size_t count)
{
    steps = sorted(steps, count);
    ASSERT(steps || !count);
    *history = (History){.steps = steps};
    for (size_t s = 0; s < count; s++) {
        Step *last = history->count ? &steps[history->count - 1] : NULL;
        if (last && last->sequence == steps[s].sequence && last->id == steps[s].id)
            last->keep = last->keep || steps[s].keep;
        else
            steps[history->count++] = steps[s];
    }
    for (size_t s = 0; s < history->count; s++)
        find_parent(history, s);
}

void history_done(History *history)
{
    free(history->steps);
    *history = (History){0};
}

int64_t history_find(const History *history, int64_t id)
{
    for (size_t s = history->count; s-- > 0;)
        if (history->steps[s].id == id)
            return (int64_t)s;
    return -1;
}

bool history_mark(History *history, int64_t head_id)
{
    bool cut = false;
    for (int64_t at = history_find(history, head_id); at >= 0;) {
        Step *step = &history->steps[at];
        step->on_chain = true;
        if (step->parent >= 0 || step->parent_id < 0) {
            at = step->parent;
        } else {
            cut = true;
            at--;
        }
    }
    return cut;
}

bool history_is_linear(const History *history)
{
    for (size_t s = 1; s < history->count; s++) {
        const Step *step = &history->steps[s];
        bool cut = step->parent < 0 && step->parent_id >= 0;
        if (!cut && step->parent != (int64_t)s - 1)
            return false;
    }
    return true;
}

static bool is_head_alone(const History *history, const json_t *metadata)
{
    return history->count == 1 && history->steps[0].parent_id < 0 &&
           json_object_get(json_object_get(metadata, "properties"), "nessie.commit.id");
}

bool iceberg_is_ancestor(const IcebergTable *table, int64_t ancestor)
{
    History history;
    int64_t head = metadata_head(table->metadata);
    history_init(&history, table->metadata, &table->history);
    bool cut = history_mark(&history, head) || is_head_alone(&history, table->metadata);
    int64_t at_head = history_find(&history, head), sought = history_find(&history, ancestor);
    bool is;
    if (sought >= 0)
        is = history.steps[sought].on_chain;
    else
        is = cut &&
             history.steps[at_head].sequence >= number(table->metadata, "last-sequence-number");
    history_done(&history);
    return is;
}

bool iceberg_history_holds(const IcebergTable *table, int64_t snapshot_id)
{
    return metadata_snapshot(table->metadata, snapshot_id) &&
           iceberg_is_ancestor(table, snapshot_id);
}

/* Where the chain of parents is cut nobody can say, and the safe answer is that files changed. */
IcebergForeign iceberg_foreign(const IcebergTable *table, int64_t since)
{
    IcebergForeign found = ICEBERG_FILES_SAME;
    for (int64_t at = metadata_head(table->metadata); at != since;) {
        const json_t *snapshot = metadata_snapshot(table->metadata, at);
        const char *operation =
            json_string_value(json_object_get(json_object_get(snapshot, "summary"), "operation"));
        if (!operation || strcmp(operation, "append") != 0)
            return ICEBERG_FILES_CHANGED;
        found = ICEBERG_FILES_ADDED;
        at = number(snapshot, "parent-snapshot-id");
    }
    return found;
}
