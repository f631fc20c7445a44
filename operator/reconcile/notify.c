/* Which keys a change concerns. Both what was and what is counts: a unit that names another
 * Connector now concerns both. Of what somebody changed the look that makes the Deployment goes
 * first: the others only have something to say. */
#include "operator/reconcile/reconcile.h"

#include <stdio.h>

#include "common/clock.h"

#define LOOKS_APART_US 1000000
/* than the end of a crowd */
#define TOLD_LATER_US 1000000
#define WORDS_LATER_US 2000000

/* A crowd: more than eight at once, and then more than three in a second, as kubectl applies a
 * folder, or deletes one. It is over when none came for three times the longest pause between the
 * last ones: what applies them may falter, and the API server, too. */
#define ARRIVAL_US 300000
#define CROWD_US (8 * ARRIVAL_US)
#define FALTER_MOST_US 500000 /* longer: it was over */
#define PAUSE_LEAST_US 120000

static int64_t pause_of(const Crowd *crowd)
{
    int64_t pause_us = 3 * atomic_load(&crowd->longest_us);
    return pause_us > PAUSE_LEAST_US ? pause_us : PAUSE_LEAST_US;
}

/* Two watches' threads call it: what one overwrites of the other's is a gap among many. */
static void arrived(Operator *op)
{
    Crowd *crowd = &op->crowd;
    int64_t now_us = clock_mono_us(), was_us = atomic_load(&crowd->until_us), next_us;
    int64_t gap_us = now_us - atomic_exchange(&crowd->last_us, now_us);
    int64_t longest_us = atomic_load(&crowd->longest_us) * 15 / 16; /* it is forgotten by and by */
    if (gap_us > longest_us && gap_us < FALTER_MOST_US)
        longest_us = gap_us;
    atomic_store(&crowd->longest_us, longest_us);
    int64_t pause_us = pause_of(crowd);
    do {
        next_us = (was_us > now_us ? was_us : now_us) + ARRIVAL_US;
        if (next_us > now_us + CROWD_US + pause_us)
            next_us = now_us + CROWD_US + pause_us;
    } while (!atomic_compare_exchange_weak(&crowd->until_us, &was_us, next_us));
    if (next_us - CROWD_US > now_us)
        atomic_store(&crowd->ended_us, next_us - CROWD_US);
}

int64_t crowd_ends_us(const Operator *op)
{
    int64_t ends_us = atomic_load(&op->crowd.until_us) - CROWD_US;
    return ends_us > clock_mono_us() ? ends_us : 0;
}

int64_t crowd_is_still_us(const Operator *op)
{
    return atomic_load(&op->crowd.last_us) + pause_of(&op->crowd) / 3;
}

int64_t crowd_is_told_us(const Operator *op)
{
    int64_t ended_us = atomic_load(&op->crowd.ended_us);
    return ended_us && ended_us + TOLD_LATER_US > clock_mono_us() ? ended_us + TOLD_LATER_US : 0;
}

/* False: it is too long for the queue. */
static bool key_of(char kind, const char *namespace_name, const char *name,
                   char ret[WORK_KEY_BYTES_MAX])
{
    int bytes = snprintf(ret, WORK_KEY_BYTES_MAX, "%c/%s/%s", kind, namespace_name, name);
    return bytes > 0 && bytes < WORK_KEY_BYTES_MAX;
}

void enqueue(Operator *op, char kind, const char *namespace_name, const char *name)
{
    char key[WORK_KEY_BYTES_MAX];
    if (key_of(kind, namespace_name, name, key))
        work_queue_put(op->queue, key, clock_mono_us());
}

void enqueue_light(Operator *op, char kind, const char *namespace_name, const char *name)
{
    char key[WORK_KEY_BYTES_MAX];
    if (key_of(kind, namespace_name, name, key))
        work_queue_put_light(op->queue, key, clock_mono_us());
}

void enqueue_first(Operator *op, char kind, const char *namespace_name, const char *name,
                   int64_t at_us)
{
    char key[WORK_KEY_BYTES_MAX];
    if (key_of(kind, namespace_name, name, key))
        work_queue_put_first(op->queue, key, at_us, clock_mono_us());
}

/* For what its units, tables and children say, and its own status. These often come, or are
 * changed, by the hundred, and each look reads all of them and may write a manifest: the first is
 * at once, then once a second. What somebody changed waits for nothing, if it is changed alone. */
static void enqueue_connector(Operator *op, const char *namespace_name, const char *name,
                              bool change)
{
    char key[WORK_KEY_BYTES_MAX];
    int64_t now_us = clock_mono_us();
    int64_t looked_us = verdicts_looked_at(op->verdicts, namespace_name, name);
    int64_t at_us = looked_us ? looked_us + LOOKS_APART_US : 0;
    if (change)
        enqueue_first(op, 'c', namespace_name, name, crowd_ends_us(op) ? at_us : 0);
    else if (at_us <= now_us)
        enqueue(op, 'c', namespace_name, name);
    else if (key_of('c', namespace_name, name, key))
        work_queue_put_at(op->queue, key, at_us, now_us);
}

static void enqueue_each_first(void *context, const char *namespace_name, const char *name)
{
    enqueue_first(context, 'u', namespace_name, name, 0);
}

void enqueue_each(void *context, const char *namespace_name, const char *name)
{
    const Enqueued *to = context;
    enqueue(to->op, to->kind, namespace_name, name);
}

void enqueue_units_of(Operator *op, const char *namespace_name, const char *connector)
{
    cache_each_name(op->cache, KIND_UNIT, namespace_name, 0, connector, enqueue_each,
                    &(Enqueued){op, 'u'});
}

/* Of what has only something to say: while a crowd comes that waits (say.c), and so does the look
 * that would find it out. */
static void enqueue_words(Operator *op, char kind, const char *namespace_name, const char *name)
{
    char key[WORK_KEY_BYTES_MAX];
    int64_t ends_us = crowd_ends_us(op);
    if (!ends_us)
        enqueue(op, kind, namespace_name, name);
    else if (key_of(kind, namespace_name, name, key))
        work_queue_put_at(op->queue, key, ends_us + WORDS_LATER_US, clock_mono_us());
}

static void enqueue_table(Operator *op, const char *namespace_name, const char *name)
{
    enqueue_words(op, 't', namespace_name, name);
}

void enqueue_tables_of(Operator *op, const json_t *unit)
{
    const char *name;
    enqueue_table(op, object_namespace(unit), object_name(unit)); /* that it made, if it made one */
    for (size_t i = 0; (name = object_table(unit, i)); i++)
        enqueue_table(op, object_namespace(unit), name);
}

bool tables_repeat_the_same(const json_t *before, const json_t *now)
{
    return json_same(object_at(before, "status.phase"), object_at(now, "status.phase")) &&
           json_same(condition_of(before, "Ready"), condition_of(now, "Ready"));
}

static void enqueue_unit(Operator *op, const json_t *unit, bool change)
{
    const char *space = object_namespace(unit), *name = object_name(unit);
    const char *connector_name = object_text(unit, "spec.connectorRef.name");
    /* Nothing was said of it, nothing went with it, and no table is made of it. */
    bool is_new = object_is_new(unit) && cache_has(op->cache, KIND_UNIT, space, name) &&
                  !object_at(unit, "spec.outsourcingUnit");
    AUTO(json_free)
    json_t *connector = (change || is_new) && connector_name
                            ? cache_get(op->cache, KIND_CONNECTOR, space, connector_name)
                            : NULL;
    bool has_pods = unit_has_pods(unit, connector), own = change && has_pods;
    if (own)
        enqueue_first(op, 'u', space, name, 0);
    else if (is_new && !has_pods)
        enqueue_words(op, 'u', space, name);
    else
        enqueue(op, 'u', space, name);
    if (connector_name)
        enqueue_connector(op, space, connector_name, change && !own);
}

/* Without a stream a unit repeats what its Connector's look finds out, which calls it then. */
static void connector_changed(Operator *op, const json_t *connector, bool change)
{
    const char *space = object_namespace(connector), *name = object_name(connector);
    if (change)
        enqueue_first(op, 'c', space, name, 0);
    else
        enqueue(op, 'c', space, name);
    if (!change)
        enqueue_units_of(op, space, name);
    else if (object_at(connector, "spec.stream"))
        cache_each_name(op->cache, KIND_UNIT, space, 0, name, enqueue_each_first, op);
}

static void table_changed(Operator *op, const json_t *table, bool change)
{
    const char *space = object_namespace(table);
    enqueue_table(op, space, object_name(table));
    AUTO(json_free)
    json_t *users = cache_names(op->cache, KIND_UNIT, space, 1, object_name(table));
    const json_t *owner = object_controller(table);
    if (owner && object_text(owner, "name"))
        json_array_append_new(users, json_string(object_text(owner, "name")));
    size_t i;
    json_t *name;
    json_array_foreach(users, i, name)
    {
        AUTO(json_free)
        json_t *unit = cache_get(op->cache, KIND_UNIT, space, json_string_value(name));
        if (unit)
            enqueue_unit(op, unit, change);
    }
}

typedef struct Labelled {
    const char *label;
    char *name;
} Labelled;

static void take_labelled(void *context, const char *namespace_name, const char *name)
{
    Labelled *to = context;
    char label[NAME_BYTES_MAX];
    (void)namespace_name;
    name_of_label(name, label);
    if (!to->name && strcmp(label, to->label) == 0)
        to->name = mem_strdup(name);
}

char *name_of_labelled(Operator *op, Kind kind, const char *namespace_name, const char *label)
{
    Labelled to = {.label = label};
    if (label && strlen(label) < NAME_BYTES_MAX - 1)
        return mem_strdup(label); /* not shortened */
    if (label)
        cache_each_name(op->cache, kind, namespace_name, 0, NULL, take_labelled, &to);
    return to.name;
}

static void enqueue_owner(Operator *op, Kind kind, const char *namespace_name, const char *name)
{
    if (kind == KIND_CONNECTOR)
        enqueue_connector(op, namespace_name, name, false);
    else
        enqueue(op, 'u', namespace_name, name);
}

/* The resource that something of ours is a part of: by its owner, or (Pods, Jobs) by its label. */
static void child_changed(Operator *op, const json_t *child)
{
    const char *space = object_namespace(child);
    const json_t *owner = object_controller(child);
    const char *kind = object_text(owner, "kind"), *name = object_text(owner, "name");
    const char *labels[] = {object_label(child, LABEL_CONNECTOR), object_label(child, LABEL_UNIT)};
    const Kind of[] = {KIND_CONNECTOR, KIND_UNIT};
    for (size_t i = 0; kind && name && i < ARRAY_LEN(of); i++) {
        if (strcmp(kind, kinds[of[i]].name) == 0) {
            enqueue_owner(op, of[i], space, name);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        if (!labels[i])
            continue;
        if (strlen(labels[i]) < NAME_BYTES_MAX - 1) /* not shortened, most likely */
            enqueue_owner(op, of[i], space, labels[i]);
        else
            cache_each_name(op->cache, of[i], space, 0, NULL, enqueue_each,
                            &(Enqueued){op, i ? 'u' : 'c'});
    }
}

/* change: somebody wants another thing of what was there. */
static void concerns(Operator *op, Kind kind, const json_t *object, bool change)
{
    const char *space = object_namespace(object);
    switch (kind) {
    case KIND_CONNECTOR:
        connector_changed(op, object, change);
        break;
    case KIND_UNIT:
        enqueue_unit(op, object, change);
        enqueue_tables_of(op, object);
        break;
    case KIND_LAKE_TABLE:
        table_changed(op, object, change);
        break;
    case KIND_SECRET:
        /* Before it works, everything stands in the queue anyway. */
        if (!operator_is_working(op))
            break;
        cache_each_name(op->cache, KIND_CONNECTOR, space, 0, NULL, enqueue_each,
                        &(Enqueued){op, 'c'});
        cache_each_name(op->cache, KIND_UNIT, space, 0, NULL, enqueue_each, &(Enqueued){op, 'u'});
        break;
    default:
        child_changed(op, object);
    }
}

/* Our own words on a status concern nobody but those who repeat them. */
static bool only_status(const json_t *before, const json_t *now)
{
    static const char *const ours[] = {"metadata.finalizers", "metadata.labels",
                                       "metadata.ownerReferences"};
    bool same = before && now && object_same_wish(before, now) &&
                object_is_deleted(before) == object_is_deleted(now);
    for (size_t i = 0; same && i < ARRAY_LEN(ours); i++)
        same = json_same(object_at(before, ours[i]), object_at(now, ours[i]));
    return same;
}

static void changed(void *context, Kind kind, const json_t *before, const json_t *now)
{
    Operator *op = context;
    if (kind <= KIND_UNIT && only_status(before, now)) {
        if (kind == KIND_UNIT && !tables_repeat_the_same(before, now))
            enqueue_tables_of(op, now);
        /* Somebody else may have written it. */
        if (kind == KIND_CONNECTOR)
            enqueue_connector(op, object_namespace(now), object_name(now), false);
        else
            enqueue_light(op, kind == KIND_UNIT ? 'u' : 't', object_namespace(now),
                          object_name(now));
        return;
    }
    bool change = kind <= KIND_UNIT && before && now && !object_same_wish(before, now);
    if ((!before || !now || change) && (kind == KIND_UNIT || kind == KIND_LAKE_TABLE))
        arrived(op);
    if (before)
        concerns(op, kind, before, change);
    if (now)
        concerns(op, kind, now, change);
}

CacheTaker notify_taker(Operator *op)
{
    return (CacheTaker){.changed = changed, .context = op};
}
