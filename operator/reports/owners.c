#include "operator/reports/reports.h"

#define EVERY_US 60000000
#define OWNERS_MAX 50000
#define TABLES_MAX 100000 /* of one process */

Reports *reports_new(int64_t figures_us, int64_t now_us)
{
    Reports *reports = mem_zalloc(sizeof *reports);
    pthread_mutex_init(&reports->lock, NULL);
    reports->figures_us = figures_us ? figures_us : EVERY_US;
    reports->end = &reports->keys;
    bucket_init(&reports->bucket, REPORTS_WRITES_PER_S, REPORTS_WRITES_PER_S, now_us);
    reports->bucket.tokens = REPORTS_WRITES_PER_S;
    return reports;
}

static void agent_done(Agent *agent)
{
    for (size_t i = 0; i < agent->table_count; i++) {
        channel_table_done(&agent->tables[i]->now);
        free(agent->tables[i]);
    }
    free(agent->tables);
    free(agent->pod);
    channel_flow_done(&agent->flow);
}

static void owner_free(Owner *owner)
{
    for (size_t i = 0; i < owner->agent_count; i++)
        agent_done(&owner->agents[i]);
    free(owner->agents);
    free(owner->key);
    channel_flow_done(&owner->shown);
    json_decref(owner->claims);
    free(owner);
}

void reports_free(Reports *reports)
{
    if (!reports)
        return;
    for (size_t i = 0; i < REPORTS_SLOTS; i++)
        while (reports->slots[i]) {
            Owner *next = reports->slots[i]->next;
            owner_free(reports->slots[i]);
            reports->slots[i] = next;
        }
    while (reports->keys) {
        Key *next = reports->keys->next;
        free(reports->keys);
        reports->keys = next;
    }
    pthread_mutex_destroy(&reports->lock);
    free(reports);
}

/* --- owners; under the lock --- */

static uint64_t hash_of(const char *text) /* FNV-1a */
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static Owner **owner_at(Reports *reports, const char *key)
{
    Owner **at = &reports->slots[hash_of(key) % REPORTS_SLOTS];
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

Owner *owner_find(Reports *reports, const char *key)
{
    return *owner_at(reports, key);
}

/* NULL: there are too many. */
static Owner *owner_made(Reports *reports, const char *key)
{
    Owner **at = owner_at(reports, key);
    if (!*at && reports->count < OWNERS_MAX) {
        *at = mem_zalloc(sizeof **at);
        (*at)->key = mem_strdup(key);
        channel_flow_clear(&(*at)->shown);
        (*at)->word = owner_word(*at);
        reports->count++;
    }
    if (*at)
        (*at)->is_gone = false;
    return *at;
}

static Agent *agent_of(const Owner *owner, const char *pod)
{
    for (size_t i = 0; owner && i < owner->agent_count; i++)
        if (strcmp(owner->agents[i].pod, pod) == 0)
            return &owner->agents[i];
    return NULL;
}

static bool is_of_nobody(const Owner *owner, int64_t now_us)
{
    bool is_old = !owner->expected && now_us - owner->seen_us > 10 * REPORTS_SILENT_US;
    if (owner->in_line || (!owner->is_gone && (owner->agent_count || !is_old)))
        return false;
    for (size_t i = 0; i < owner->agent_count; i++)
        if (owner->agents[i].connected)
            return false;
    return true;
}

void reports_each(Reports *reports, void (*each)(void *context, Owner *owner), void *context)
{
    for (size_t i = 0; i < REPORTS_SLOTS; i++)
        for (Owner *owner = reports->slots[i]; owner; owner = owner->next)
            each(context, owner);
}

/* --- an agent's tables --- */

static int order_of(const Told *told, const char *unit, const char *table)
{
    int order = strcmp(told->now.unit, unit);
    return order ? order : strcmp(told->now.table, table);
}

/* Where it is, or would be. */
static size_t place_of(const Agent *agent, const char *unit, const char *table)
{
    size_t from = 0, to = agent->table_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (order_of(agent->tables[middle], unit, table) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static void take_table(Agent *agent, ChannelTable *from)
{
    size_t at = place_of(agent, from->unit, from->table);
    bool there =
        at < agent->table_count && order_of(agent->tables[at], from->unit, from->table) == 0;
    if (!there && agent->table_count == TABLES_MAX)
        return;
    if (there) {
        channel_table_done(&agent->tables[at]->now);
    } else {
        if (agent->table_count == agent->held) {
            agent->held = agent->held ? agent->held * 2 : 1;
            agent->tables = mem_regrow(agent->tables, agent->held, sizeof *agent->tables);
        }
        memmove(agent->tables + at + 1, agent->tables + at,
                (agent->table_count - at) * sizeof *agent->tables);
        agent->tables[at] = mem_zalloc(sizeof **agent->tables);
        agent->table_count++;
    }
    agent->tables[at]->now = *from;
    agent->tables[at]->round = agent->round;
    *from = (ChannelTable){0};
}

/* What this connection has not named, its process does not have any more. */
static void drop_unnamed(Agent *agent)
{
    size_t kept = 0;
    for (size_t i = 0; i < agent->table_count; i++) {
        Told *told = agent->tables[i];
        if (told->round == agent->round) {
            agent->tables[kept++] = told;
            continue;
        }
        channel_table_done(&told->now);
        free(told);
    }
    agent->table_count = kept;
}

/* Processes that another one, which has told everything, stands for now. */
static void drop_gone(Owner *owner)
{
    size_t kept = 0;
    for (size_t i = 0; i < owner->agent_count; i++) {
        if (owner->agents[i].connected)
            owner->agents[kept++] = owner->agents[i];
        else
            agent_done(&owner->agents[i]);
    }
    owner->agent_count = kept;
}

/* --- from the channel --- */

void reports_joined(Reports *reports, const char *key, const char *pod)
{
    pthread_mutex_lock(&reports->lock);
    Owner *owner = owner_made(reports, key);
    Agent *agent = agent_of(owner, pod);
    if (owner && !agent) {
        owner->agents = mem_regrow(owner->agents, owner->agent_count + 1, sizeof *owner->agents);
        agent = &owner->agents[owner->agent_count++];
        *agent = (Agent){.pod = mem_strdup(pod)};
        channel_flow_clear(&agent->flow);
    }
    if (agent) {
        agent->connected++;
        agent->is_new = true;
        agent->round++;
        owner->moved = true;
    }
    pthread_mutex_unlock(&reports->lock);
}

/* Has it fallen silent, or come back? */
static void listen_for(Owner *owner, int64_t now_us)
{
    bool silent = owner_is_silent(owner, now_us);
    owner->moved = owner->moved || silent != owner->silent;
    owner->silent = silent;
}

static void tell(Reports *reports, Owner *owner)
{
    uint64_t word = owner_word(owner);
    owner->moved = false;
    if (word == owner->word)
        return;
    owner->word = word;
    owner_line_up(reports, owner);
}

void reports_said(Reports *reports, const char *key, const char *pod, ChannelReport *report,
                  int64_t now_us, int64_t now_s)
{
    pthread_mutex_lock(&reports->lock);
    Owner *owner = *owner_at(reports, key);
    Agent *agent = agent_of(owner, pod);
    if (agent) {
        agent->heard_us = now_us;
        agent->heard_s = now_s;
        if (report->has_flow)
            channel_flow_copy(&agent->flow, &report->flow);
        for (size_t i = 0; i < report->table_count; i++)
            take_table(agent, &report->tables[i]);
        if (agent->is_new && report->whole) {
            drop_unnamed(agent);
            agent->is_new = false;
            agent->whole = agent->flow.phase[0] != '\0';
            drop_gone(owner);
        }
        listen_for(owner, now_us);
        tell(reports, owner);
    }
    pthread_mutex_unlock(&reports->lock);
}

void reports_left(Reports *reports, const char *key, const char *pod)
{
    pthread_mutex_lock(&reports->lock);
    Owner *owner = *owner_at(reports, key);
    Agent *agent = agent_of(owner, pod);
    if (agent && agent->connected) {
        agent->connected--;
        owner->moved = true;
    }
    pthread_mutex_unlock(&reports->lock);
}

void reports_forget(Reports *reports, const char *key)
{
    pthread_mutex_lock(&reports->lock);
    Owner *owner = *owner_at(reports, key);
    if (owner) {
        owner->is_gone = true;
        owner->expected = 0; /* it is not missed */
    }
    pthread_mutex_unlock(&reports->lock);
}

void reports_scan(Reports *reports, int64_t now_us)
{
    pthread_mutex_lock(&reports->lock);
    for (size_t i = 0; i < REPORTS_SLOTS; i++) {
        Owner **at = &reports->slots[i];
        while (*at) {
            Owner *owner = *at;
            if (is_of_nobody(owner, now_us)) {
                *at = owner->next;
                owner_free(owner);
                reports->count--;
                continue;
            }
            listen_for(owner, now_us);
            if (owner->moved)
                tell(reports, owner);
            if (!owner->silent && owner->is_shown && now_us >= owner->due_us) {
                owner->due_us = INT64_MAX; /* until its turn has come */
                line_put_key(reports, owner->key);
            }
            at = &owner->next;
        }
    }
    pthread_mutex_unlock(&reports->lock);
}

/* --- for statuses --- */

static void put_copies(const Owner *owner, Reported *ret)
{
    for (size_t i = 0; i < owner->agent_count; i++) {
        const Agent *agent = &owner->agents[i];
        unsigned tables = 0;
        for (size_t t = 0; owner_counts(owner, agent) && t < agent->table_count; t++) {
            const Told *told = agent->tables[t];
            if (!told->is_shown)
                continue;
            if (++tables > ret->tables)
                ret->tables = tables;
            ret->copying += told->shown.copying > 0;
            ret->copied += told->shown.copied > 0 ? told->shown.copied : 0;
            ret->to_copy += told->shown.to_copy > 0 ? told->shown.to_copy : 0;
        }
    }
}

void reports_see(Reports *reports, const char *key, int expected, int64_t now_us, Reported *ret)
{
    *ret = (Reported){0};
    channel_flow_clear(&ret->flow);
    pthread_mutex_lock(&reports->lock);
    Owner *owner = expected > 0 ? owner_made(reports, key) : *owner_at(reports, key);
    if (owner) {
        if (expected > (int)owner->expected)
            owner->expected_us = now_us;
        if (expected >= 0)
            owner->expected = (unsigned)expected;
        owner->seen_us = now_us;
        listen_for(owner, now_us);
        ret->silent = owner->silent;
        bool is_there = owner->expected; /* who was told to stop is not what it was */
        for (size_t i = 0; i < owner->agent_count; i++) {
            is_there = is_there || owner->agents[i].connected;
            if (owner->agents[i].heard_s > ret->heard_s)
                ret->heard_s = owner->agents[i].heard_s;
        }
        ret->known = owner->is_shown && is_there;
        channel_flow_copy(&ret->flow, &owner->shown);
        put_copies(owner, ret);
    }
    pthread_mutex_unlock(&reports->lock);
}

json_t *reports_tables(Reports *reports, const char *key)
{
    json_t *tables = NULL;
    pthread_mutex_lock(&reports->lock);
    const Owner *owner = *owner_at(reports, key);
    for (size_t i = 0; owner && i < owner->agent_count; i++) {
        const Agent *agent = &owner->agents[i];
        if (!owner_counts(owner, agent))
            continue;
        if (!tables)
            tables = json_object();
        for (size_t t = 0; t < agent->table_count; t++)
            if (*agent->tables[t]->now.unit)
                json_object_set_new(tables, agent->tables[t]->now.unit,
                                    json_string(agent->tables[t]->now.table));
    }
    pthread_mutex_unlock(&reports->lock);
    return tables;
}

bool reports_claim(Reports *reports, const char *key, const json_t *owners)
{
    pthread_mutex_lock(&reports->lock);
    Owner *owner = *owner_at(reports, key);
    bool none = !json_object_size(owners);
    bool changed = owner && !(none ? !owner->claims : json_equal(owner->claims, owners));
    if (changed) {
        bool small = trees_pause();
        json_decref(owner->claims);
        owner->claims = none ? NULL : json_deep_copy(owners);
        trees_resume(small);
    }
    pthread_mutex_unlock(&reports->lock);
    return changed;
}

bool reports_of_unit(Reports *reports, const char *key, const char *unit, UnitFigures *ret)
{
    bool found = false;
    *ret = (UnitFigures){CHANNEL_NOT_SAID, CHANNEL_NOT_SAID, CHANNEL_NOT_SAID, CHANNEL_NOT_SAID, 0,
                         CHANNEL_NOT_SAID};
    pthread_mutex_lock(&reports->lock);
    const Owner *owner = *owner_at(reports, key);
    for (size_t i = 0; owner && i < owner->agent_count; i++) {
        const Agent *agent = &owner->agents[i];
        for (size_t t = 0; owner_counts(owner, agent) && t < agent->table_count; t++) {
            const Told *told = agent->tables[t];
            const char *of = json_string_value(json_object_get(owner->claims, told->now.unit));
            if (!told->is_shown ||
                (strcmp(told->now.unit, unit) != 0 && !(of && strcmp(of, unit) == 0)))
                continue;
            found = true;
            /* of several consumers one commits, and knows the table */
            if (told->shown.rows != CHANNEL_NOT_SAID && told->shown.commits != 0)
                ret->rows = (ret->rows == CHANNEL_NOT_SAID ? 0 : ret->rows) + told->shown.rows;
            if (told->shown.upkeep > ret->upkeep && told->shown.commits != 0)
                ret->upkeep = told->shown.upkeep;
        }
    }
    if (found) {
        ret->lag_bytes = owner->shown.lag_bytes;
        ret->lag_records = owner->shown.lag_records;
        ret->freshness_ms = owner->shown.freshness_ms;
        ret->at_s = owner->shown_s;
    }
    pthread_mutex_unlock(&reports->lock);
    return found;
}

bool reports_has_news(Reports *reports, const char *key, const char *unit)
{
    bool news = false;
    pthread_mutex_lock(&reports->lock);
    const Owner *owner = *owner_at(reports, key);
    for (size_t i = 0; owner && i < owner->agent_count; i++) {
        const Agent *agent = &owner->agents[i];
        for (size_t t = place_of(agent, unit, "");
             t < agent->table_count && strcmp(agent->tables[t]->now.unit, unit) == 0; t++) {
            news = news || agent->tables[t]->is_news;
            agent->tables[t]->is_news = false;
        }
    }
    pthread_mutex_unlock(&reports->lock);
    return news;
}
