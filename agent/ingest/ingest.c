/* What agent/supervise runs: one attempt. Which topic fills which table is known from the
 * Connector's state topic; each table has a thread, and one's end is everybody's. */
#include "agent/ingest/ingest.h"

#include <stdlib.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/kafka/reader.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define READ_MS 10000
#define LOOK_US INT64_C(30000000)
#define PAUSE_US 50000
#define EARLY_US INT64_C(500000)

typedef struct Feeds {
    Ingest *ingest;
    State state;
    Feed **items;
    size_t count;
    size_t taken; /* tables of the state that are filled */
    atomic_bool leaves;
    UnitRequest request; /* for the table of Ingest.asked_unit */
} Feeds;

/* ---------- which units ---------- */
static bool is_of(const IngestionUnitSpec *unit, const ConnectorSpec *connector, const char *only)
{
    return strcmp(unit->connector, connector->meta.name) == 0 &&
           strcmp(unit->meta.namespace_name, connector->meta.namespace_name) == 0 &&
           unit->state == STATE_RUNNING && (!only || strcmp(unit->meta.name, only) == 0);
}

bool ingest_has_units(const Manifest *manifest, const ConnectorSpec *connector, const char *unit)
{
    for (size_t i = 0; i < manifest->unit_count; i++)
        if (is_of(&manifest->units[i], connector, unit))
            return true;
    return false;
}

/* The unit that names the table, else the first whose patterns match. */
static const IngestionUnitSpec *find_unit(const Ingest *ingest, const char *name)
{
    if (ingest->alone)
        return ingest->alone;
    const Manifest *manifest = ingest->manifest;
    const ConnectorSpec *connector = ingest->base.connector;
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &manifest->units[i];
        if (unit->table && strcmp(unit->table, name) == 0 && is_of(unit, connector, ingest->unit))
            return unit;
    }
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &manifest->units[i];
        if (manifest_patterns_match(&unit->tables, name) && is_of(unit, connector, ingest->unit))
            return unit;
    }
    return NULL;
}

/* ---------- the state ---------- */
static bool take_state(void *context, const KafkaRead *record, Error *err)
{
    return state_take(context, record->key, record->key_bytes, record->value, record->value_bytes,
                      err);
}

static bool read_state(const Ingest *ingest, State *ret, Error *err)
{
    const KafkaClientOptions client = {.client_id = "firn-ingest",
                                       .field = ingest_kafka_field(ingest)};
    *ret = (State){0};
    if (ingest->alone) { /* nobody says more of it than its records */
        (void)state_add(ret, ingest->stream->topic, ingest->stream->topic);
        return true;
    }
    AUTO(mem_free)
    char *topic = mem_format("%s." STATE_TOPIC_SUFFIX, ingest->stream->topic_prefix);
    if (kafka_topic_read(&ingest->stream->kafka, &client, topic, 0, READ_MS, take_state, ret, err))
        return true;
    state_done(ret);
    return false;
}

static bool stopping(const Ingest *ingest)
{
    return atomic_load_explicit(&ingest->base.stop, memory_order_relaxed);
}

static bool any_taken(const Ingest *ingest, const State *state)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (find_unit(ingest, state->tables[i]->name))
            return true;
    return false;
}

/* The capture may not have begun. True, too, when told to stop. */
static bool wait_for_state(Feeds *feeds, Error *err)
{
    const Ingest *ingest = feeds->ingest;
    Error said = {0};
    while (!stopping(ingest)) {
        Error why = {0};
        if (read_state(ingest, &feeds->state, &why)) {
            if (any_taken(ingest, &feeds->state))
                return true;
            state_done(&feeds->state);
            error_set(&why, ERROR_RETRY, "NoTables",
                      "the Connector's state names no table that a unit takes");
        } else if (why.kind != ERROR_RETRY) {
            *err = why;
            return false;
        }
        if (strcmp(why.code, said.code) != 0)
            log_info("waiting for the capture", LOG_T("connector", ingest->base.name),
                     LOG_T("reason", why.code), LOG_T("error", why.message));
        said = why;
        for (int64_t until_us = clock_mono_us() + EARLY_US;
             clock_mono_us() < until_us && !stopping(ingest);)
            clock_sleep_us(20000);
    }
    return true;
}

/* ---------- columns that records had ---------- */
bool ingest_learn(Ingest *ingest, const char *name, const Schema *columns, Error *err)
{
    pthread_mutex_lock(&ingest->base.lock);
    size_t at = 0;
    while (at < ingest->learnt_count && strcmp(ingest->learnt[at].name, name) != 0)
        at++;
    bool ok = true;
    if (at < ingest->learnt_count) {
        ok = feed_join_columns(&ingest->learnt[at].columns, columns, err);
    } else {
        ingest->learnt = mem_regrow(ingest->learnt, at + 1, sizeof *ingest->learnt);
        ingest->learnt[at].name = mem_strdup(name);
        ingest->learnt[at].columns = schema_copy(columns);
        ingest->learnt_count++;
    }
    pthread_mutex_unlock(&ingest->base.lock);
    return ok;
}

Schema *ingest_learnt(Ingest *ingest, const char *name)
{
    Schema *found = NULL;
    pthread_mutex_lock(&ingest->base.lock);
    for (size_t i = 0; i < ingest->learnt_count && !found; i++)
        if (strcmp(ingest->learnt[i].name, name) == 0)
            found = schema_copy(ingest->learnt[i].columns);
    pthread_mutex_unlock(&ingest->base.lock);
    return found;
}

void ingest_forget(Ingest *ingest, const char *name)
{
    pthread_mutex_lock(&ingest->base.lock);
    for (size_t i = 0; i < ingest->learnt_count; i++) {
        struct LearntColumns *each = &ingest->learnt[i];
        if (strcmp(each->name, name) != 0)
            continue;
        free(each->name);
        schema_free(each->columns);
        *each = ingest->learnt[--ingest->learnt_count];
        break;
    }
    pthread_mutex_unlock(&ingest->base.lock);
}

/* ---------- feeds ---------- */
static void feed_free(Feed *feed)
{
    if (!feed)
        return;
    lake_table_free(feed->made);
    free(feed->name);
    free(feed->unit);
    free(feed->topic);
    free(feed->dead_letter);
    free(feed->value_schema);
    free(feed->key_schema);
    free(feed);
}

static void register_metrics(Feed *feed)
{
    AUTO(mem_free) char *table = metrics_label("table", feed->name);
    AUTO(mem_free) char *unit = metrics_label("unit", feed->unit);
    AUTO(mem_free) char *label = mem_format("%s,%s", table, unit);
    feed->metrics = (FeedMetrics){
        .records = metrics_register(METRIC_COUNTER, "firn_ingest_records_total",
                                    "Records of the topic that were read", label),
        .unrouted =
            feed->routes && feed->route == 0
                ? metrics_register(METRIC_COUNTER, "firn_ingest_unrouted_records_total",
                                   "Records that no route takes, and that were passed over", unit)
                : NULL,
        .dead_letters = metrics_register(METRIC_COUNTER, "firn_dead_letters_total",
                                         "Records that are among the dead letters", label),
        .commits = metrics_register(METRIC_COUNTER, "firn_table_commits_total",
                                    "Snapshots committed", label),
        .table_rows = feed->spec ? metrics_register(METRIC_GAUGE, "firn_table_rows",
                                                    "Live rows of the table", label)
                                 : NULL,
        .upkeep = feed->spec ? metrics_register(METRIC_GAUGE, "firn_table_upkeep",
                                                TABLE_UPKEEP_HELP, label)
                             : NULL,
        .forwarded = feed->to_topic
                         ? metrics_register(METRIC_COUNTER, "firn_ingest_forwarded_records_total",
                                            "Records that were written to toTopic", label)
                         : NULL,
        .lanes = metrics_register(METRIC_GAUGE, "firn_ingest_partitions",
                                  "Partitions that this process reads", label),
        .coordinates = metrics_register(METRIC_GAUGE, "firn_ingest_commits",
                                        "1: this process commits for the group", label),
        .freshness =
            metrics_register(METRIC_GAUGE, "firn_table_freshness_seconds",
                             "Age of the oldest record read here that is not in the table", label),
        .lag = metrics_register(METRIC_GAUGE, "firn_ingest_lag_records",
                                "Records of this process's partitions that are not in the table",
                                label),
        .freshness_asked =
            feed->freshness_ms
                ? metrics_register(METRIC_GAUGE, "firn_table_freshness_asked_seconds",
                                   "What sla.freshness asks for", label)
                : NULL,
        .retention = feed->own && feed->spec
                         ? metrics_register(METRIC_GAUGE, "firn_topic_retention_status",
                                            "0: not known, 1: the topic keeps its records as is "
                                            "needed, 2: commits hurry for it, 3: it has a limit in "
                                            "bytes, 4: less than spec.kafka.retention",
                                            label)
                         : NULL,
        .committed = metrics_register(METRIC_GAUGE, "firn_table_committed_seconds",
                                      "When the table was committed last, since 1970", label)};
}

static char *copy_of(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static const UnitRequest no_request = {.at_ms = INT64_MIN};

static Feed *new_feed(Feeds *feeds)
{
    Feed *feed = mem_zalloc(sizeof *feed);
    feeds->items = mem_regrow(feeds->items, feeds->count + 1, sizeof(Feed *));
    feeds->items[feeds->count++] = feed;
    feed->ingest = feeds->ingest;
    feed->leaves = &feeds->leaves;
    feed->request = &no_request;
    return feed;
}

static bool has_upserts(const Manifest *manifest, const IngestionUnitSpec *unit)
{
    for (size_t i = 0; i < unit->routes.count; i++) {
        const LakeTableSpec *table =
            manifest_find_table(manifest, unit->meta.namespace_name, manifest_table_name(unit, i));
        if (table && table->mode == MODE_UPSERT)
            return true;
    }
    return false;
}

/* Of the unit's dead letters, once. */
static void add_letters(Feeds *feeds, const IngestionUnitSpec *unit)
{
    static const TableState nothing = {0};
    const LakeTableSpec *spec = manifest_find_table(
        feeds->ingest->manifest, unit->meta.namespace_name, unit->dead_letter_table);
    ASSERT(spec); /* the manifest was checked */
    for (size_t i = 0; i < feeds->count; i++)
        if (feeds->items[i]->spec == spec)
            return;
    Feed *feed = new_feed(feeds);
    feed->of_letters = true;
    feed->state = &nothing;
    feed->spec = spec;
    feed->name = mem_strdup(unit->dead_letter_table);
    feed->unit = mem_format("%s/%s", unit->meta.namespace_name, unit->meta.name);
    feed->topic = feed_letters_topic(unit);
    register_metrics(feed);
}

/* route: of the unit's, where it has routes. */
static bool add_feed(Feeds *feeds, const TableState *state, const IngestionUnitSpec *unit,
                     size_t route, Error *err)
{
    Feed *feed = new_feed(feeds);
    feed->is_asked =
        feeds->ingest->asked_unit && strcmp(unit->meta.name, feeds->ingest->asked_unit) == 0;
    feed->state = state;
    feed->own = unit->kafka;
    feed->routes = unit->routes.count ? &unit->routes : NULL;
    feed->route = route;
    feed->some_upserts = has_upserts(feeds->ingest->manifest, unit);
    feed->name = mem_strdup(feed->routes ? manifest_table_name(unit, route) : state->name);
    feed->topic = mem_strdup(state->topic);
    feed->ordering = unit->kafka ? unit->kafka->ordering_column : NULL;
    feed->letters_whole = unit->dead_letter_table;
    feed->dead_letter = feed->letters_whole ? feed_letters_topic(unit) : copy_of(unit->dead_letter);
    feed->freshness_ms = unit->freshness_ms;
    const ColumnsVersion *columns =
        state->column_count ? &state->columns[state->column_count - 1] : NULL;
    feed->version = columns && columns->value_schema ? columns->version : 0;
    feed->value_schema = columns ? copy_of(columns->value_schema) : NULL;
    feed->key_schema = columns ? copy_of(columns->key_schema) : NULL;
    if (unit->to_topic) {
        feed->to_topic = unit->to_topic;
        feed->unit = mem_format("%s/%s", unit->meta.namespace_name, unit->meta.name);
    } else if (!unit->lake) {
        feed->spec = manifest_find_table(feeds->ingest->manifest, unit->meta.namespace_name,
                                         manifest_table_name(unit, route));
        ASSERT(feed->spec);
        feed->unit = mem_format("%s/%s", unit->meta.namespace_name, unit->meta.name);
    } else if (unit->kafka) {
        feed->spec = unit->lake;
        feed->unit = mem_format("%s/%s", unit->meta.namespace_name, unit->meta.name);
    } else {
        AUTO(mem_free) char *made = NULL;
        const char *point = strchr(state->name, '.');
        AUTO(mem_free)
        char *schema = mem_strndup(state->name, point ? (size_t)(point - state->name) : 0);
        if (!manifest_expand(unit, schema, point ? point + 1 : state->name, &feed->made, &made,
                             err))
            return error_wrap(err, "table %s", state->name);
        feed->spec = feed->made;
        feed->unit = mem_format("%s/%s", unit->meta.namespace_name, made);
    }
    register_metrics(feed);
    if (feed->freshness_ms)
        metric_set(feed->metrics.freshness_asked, (double)feed->freshness_ms / 1e3);
    return true;
}

/* What is asked for goes to the unit's one table. */
static void bind_request(Feeds *feeds)
{
    size_t count = 0;
    Feed *found = NULL;
    char why[160];
    supervised_unit_request(&feeds->ingest->base, &feeds->request);
    if (!feeds->request.target)
        return;
    for (size_t i = 0; i < feeds->count; i++)
        if (feeds->items[i]->is_asked && feeds->items[i]->spec) {
            found = feeds->items[i];
            count++;
        }
    if (count == 1) {
        found->request = &feeds->request;
        return;
    }
    snprintf(why, sizeof why,
             "the unit fills %zu tables, and this is for one that fills one: roll them back by "
             "another engine, or give each its unit",
             count);
    supervised_unit_asked(&feeds->ingest->base, feeds->request.id, REQUEST_REFUSED,
                          count ? why : "the unit fills no table", "", "");
}

static size_t share_of(size_t all, size_t tables)
{
    size_t share = all / (tables ? tables : 1);
    return share > SHARE_LEAST ? share : SHARE_LEAST;
}

static bool bind(Feeds *feeds, Error *err)
{
    for (size_t i = 0; i < feeds->state.table_count; i++) {
        const TableState *table = feeds->state.tables[i];
        const IngestionUnitSpec *unit = find_unit(feeds->ingest, table->name);
        size_t count = unit && unit->routes.count ? unit->routes.count : unit != NULL;
        feeds->taken += unit != NULL;
        for (size_t route = 0; route < count; route++)
            if (!add_feed(feeds, table, unit, route, err))
                return false;
        if (unit && unit->dead_letter_table)
            add_letters(feeds, unit);
    }
    bind_request(feeds);
    feeds->ingest->buffers_max = share_of(BUFFERS_MAX, feeds->count);
    feeds->ingest->queue_max = share_of(QUEUES_MAX, feeds->count);
    pthread_mutex_lock(&feeds->ingest->base.lock);
    feeds->ingest->base.figures.tables = (uint32_t)feeds->count;
    pthread_mutex_unlock(&feeds->ingest->base.lock);
    return true;
}

/* ---------- running ---------- */
static void show(Feeds *feeds)
{
    Supervised *base = &feeds->ingest->base;
    uint64_t rows = 0, commits = 0;
    int64_t stale_us = 0;
    bool all_read = true;
    for (size_t i = 0; i < feeds->count; i++) {
        rows += atomic_load(&feeds->items[i]->rows);
        commits += atomic_load(&feeds->items[i]->commits);
        int64_t own_us = atomic_load(&feeds->items[i]->stale_us);
        stale_us = own_us > stale_us ? own_us : stale_us;
        all_read = all_read && atomic_load(&feeds->items[i]->reads);
    }
    Phase phase = stopping(feeds->ingest) ? PHASE_DRAINING
                  : all_read              ? PHASE_STREAMING
                                          : PHASE_PENDING;
    pthread_mutex_lock(&base->lock);
    base->figures.rows = base->rows_before + rows;
    base->figures.commits = base->commits_before + commits;
    base->figures.freshness_us = stale_us;
    pthread_mutex_unlock(&base->lock);
    supervised_show_phase(base, phase);
    metric_set(base->metrics.freshness, (double)stale_us / 1e6);
}

/* Tables that the capture has found since. */
static bool has_more(const Feeds *feeds)
{
    State now;
    Error ignored;
    size_t taken = 0;
    if (!read_state(feeds->ingest, &now, &ignored))
        return false;
    for (size_t i = 0; i < now.table_count; i++)
        taken += find_unit(feeds->ingest, now.tables[i]->name) != NULL;
    state_done(&now);
    return taken > feeds->taken;
}

/* Until all have ended; true: others are to begin, or these anew. */
static bool watch(Feeds *feeds)
{
    int64_t look_us = clock_mono_us() + LOOK_US;
    bool more = false;
    for (;;) {
        bool running = false;
        for (size_t i = 0; i < feeds->count; i++) {
            bool ended = atomic_load(&feeds->items[i]->ended);
            running = running || !ended;
            if (ended && !feeds->items[i]->ok)
                atomic_store(&feeds->leaves, true);
        }
        if (!running)
            return more;
        show(feeds);
        clock_sleep_us(PAUSE_US);
        if (supervised_unit_asks_more(&feeds->ingest->base, &feeds->request)) {
            more = true;
            atomic_store(&feeds->leaves, true);
        }
        if (clock_mono_us() < look_us || atomic_load(&feeds->leaves) || stopping(feeds->ingest))
            continue;
        more = has_more(feeds);
        look_us = clock_mono_us() + LOOK_US;
        if (more)
            atomic_store(&feeds->leaves, true);
    }
}

/* The error that counts: one that needs a person before one that passes. */
static bool outcome(const Feeds *feeds, Error *err)
{
    const Error *found = NULL;
    for (size_t i = 0; i < feeds->count; i++) {
        const Feed *feed = feeds->items[i];
        if (feed->ok || strcmp(feed->error.code, "Stopped") == 0)
            continue;
        if (!found || found->kind == ERROR_RETRY || found->kind == ERROR_CONFLICT)
            found = &feed->error;
    }
    if (found)
        *err = *found;
    return !found;
}

static bool attempt(Supervised *supervised, bool *ret_again, Error *err)
{
    Feeds feeds = {.ingest = (Ingest *)supervised};
    uint64_t rows = 0, commits = 0;
    supervised_phase(supervised, PHASE_PENDING);
    bool ok = wait_for_state(&feeds, err) && bind(&feeds, err);
    if (ok) {
        for (size_t i = 0; i < feeds.count; i++)
            feeds.items[i]->thread = thread_start(
                "ingest", feeds.items[i]->to_topic ? feed_forward : feed_run, feeds.items[i]);
        *ret_again = watch(&feeds);
        for (size_t i = 0; i < feeds.count; i++)
            thread_join(feeds.items[i]->thread);
        ok = outcome(&feeds, err);
    }
    for (size_t i = 0; i < feeds.count; i++) {
        rows += atomic_load(&feeds.items[i]->rows);
        commits += atomic_load(&feeds.items[i]->commits);
        feed_free(feeds.items[i]);
    }
    supervised_ended(supervised, NULL, rows, commits);
    free(feeds.items);
    unit_request_done(&feeds.request);
    state_done(&feeds.state);
    return ok;
}

static void ingest_free(Supervised *supervised)
{
    Ingest *ingest = (Ingest *)supervised;
    for (size_t i = 0; i < ingest->learnt_count; i++) {
        free(ingest->learnt[i].name);
        schema_free(ingest->learnt[i].columns);
    }
    free(ingest->learnt);
    for (size_t i = 0; i < ingest->size_count; i++)
        free(ingest->sizes[i].topic);
    free(ingest->sizes);
    supervised_done(supervised);
    free(supervised);
}

/* What is asked of a unit's table goes to that of the one unit; of several, to the first of which
 * the manifest asks something. */
static void take_asked(Ingest *ingest, const IngestionUnitSpec *units, size_t count)
{
    const IngestionUnitSpec *found = NULL;
    size_t own = 0;
    for (size_t i = 0; i < count; i++) {
        const IngestionUnitSpec *unit = &units[i];
        if (!ingest->alone && !is_of(unit, ingest->base.connector, ingest->unit))
            continue;
        own++;
        if (!found || (!found->positions && !found->rollback))
            found = unit;
    }
    if (!found || (own > 1 && !found->positions && !found->rollback))
        return;
    ingest->asked_unit = found->meta.name;
    supervised_unit_order(&ingest->base, found->positions, found->rollback);
}

static const SupervisedKind kind = {.attempt = attempt, .free = ingest_free};

Supervised *ingest_new(const Manifest *manifest, const ConnectorSpec *connector, const char *unit)
{
    ASSERT(connector->stream);
    Ingest *ingest = mem_zalloc(sizeof *ingest);
    supervised_init(&ingest->base, &kind, connector, NULL);
    ingest->manifest = manifest;
    ingest->stream = connector->stream;
    ingest->unit = unit;
    take_asked(ingest, manifest->units, manifest->unit_count);
    return &ingest->base;
}

Supervised *ingest_new_topic(const Manifest *manifest, const IngestionUnitSpec *unit)
{
    ASSERT(unit->kafka);
    Ingest *ingest = mem_zalloc(sizeof *ingest);
    ingest->in_place_of = (ConnectorSpec){.meta = unit->meta, .stream = unit->kafka};
    supervised_init(&ingest->base, &kind, &ingest->in_place_of, NULL);
    ingest->manifest = manifest;
    ingest->stream = unit->kafka;
    ingest->alone = unit;
    take_asked(ingest, unit, 1);
    return &ingest->base;
}
