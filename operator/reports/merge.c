#include "operator/reports/reports.h"

/* Those that are connected; where none is, the one that was heard last. */
bool owner_counts(const Owner *owner, const Agent *agent)
{
    if (!agent->whole || agent->connected)
        return agent->whole;
    for (size_t i = 0; i < owner->agent_count; i++) {
        const Agent *other = &owner->agents[i];
        if (other != agent && other->whole &&
            (other->connected || other->heard_us > agent->heard_us))
            return false;
    }
    return true;
}

/* The lanes are shared out among the processes: lags add up. */
static void add_number(int64_t *to, int64_t value, bool largest)
{
    if (value == CHANNEL_NOT_SAID)
        return;
    if (*to == CHANNEL_NOT_SAID || (largest && value > *to))
        *to = value;
    else if (!largest)
        *to += value;
}

static bool is_of_the_source(size_t at)
{
    return at == offsetof(ChannelFlow, freshness_ms) || at >= offsetof(ChannelFlow, log_status);
}

#define ADD(field, member)                                                                         \
    add_number(&to->field, from->field, is_of_the_source(offsetof(ChannelFlow, field)));

/* The least advanced phase counts. */
static int rank_of(const char *phase)
{
    static const char *const phases[] = {"Retrying",     "Stopped", "Draining",   "Pending",
                                         "Snapshotting", "Paused",  "CatchingUp", "Streaming"};
    int rank = 0;
    while (rank < (int)ARRAY_LEN(phases) && strcmp(phases[rank], phase) != 0)
        rank++;
    return rank;
}

/* Of several processes one does what is asked: it is as far as the one that is furthest. */
static int request_rank(const ChannelFlow *flow)
{
    static const char *const states[] = {"Waiting", "Running", "Refused", "Done"};
    int rank = (int)ARRAY_LEN(states) - 1;
    while (rank >= 0 && strcmp(states[rank], flow->request_state) != 0)
        rank--;
    return rank;
}

static void merge_request(const ChannelFlow *from, ChannelFlow *to)
{
    if (!from->request[0] || (to->request[0] && request_rank(from) <= request_rank(to)))
        return;
    memcpy(to->request, from->request, sizeof to->request);
    memcpy(to->request_state, from->request_state, sizeof to->request_state);
    memcpy(to->request_why, from->request_why, sizeof to->request_why);
    memcpy(to->request_from, from->request_from, sizeof to->request_from);
    memcpy(to->request_to, from->request_to, sizeof to->request_to);
}

bool owner_merge(const Owner *owner, ChannelFlow *to)
{
    bool any = false;
    channel_flow_clear(to);
    for (size_t i = 0; i < owner->agent_count; i++) {
        const ChannelFlow *from = &owner->agents[i].flow;
        if (!owner_counts(owner, &owner->agents[i]))
            continue;
        if (!any || rank_of(from->phase) < rank_of(to->phase))
            memcpy(to->phase, from->phase, sizeof to->phase);
        if (!to->error && from->error) {
            to->error = mem_strdup(from->error);
            memcpy(to->reason, from->reason, sizeof to->reason);
        }
        merge_request(from, to);
        CHANNEL_FLOW_NUMBERS(ADD)
        any = true;
    }
    return any;
}

bool owner_is_silent(const Owner *owner, int64_t now_us)
{
    unsigned heard = 0;
    for (size_t i = 0; i < owner->agent_count; i++)
        heard += owner->agents[i].whole && now_us - owner->agents[i].heard_us <= REPORTS_SILENT_US;
    return heard < owner->expected && now_us - owner->expected_us > REPORTS_SILENT_US;
}

void owner_show(Owner *owner)
{
    channel_flow_done(&owner->shown);
    owner->is_shown = owner_merge(owner, &owner->shown);
    owner->shown_s = 0;
    for (size_t i = 0; i < owner->agent_count; i++) {
        Agent *agent = &owner->agents[i];
        if (!owner_counts(owner, agent))
            continue;
        if (agent->heard_s > owner->shown_s)
            owner->shown_s = agent->heard_s;
        for (size_t t = 0; t < agent->table_count; t++) {
            Told *told = agent->tables[t];
            told->is_news =
                told->is_news || !told->is_shown || told->shown.upkeep != told->now.upkeep;
            told->shown = told->now; /* its numbers: the texts stay now's */
            told->is_shown = true;
        }
    }
}

static bool any_copying(const Owner *owner)
{
    for (size_t i = 0; i < owner->agent_count; i++)
        for (size_t t = 0; t < owner->agents[i].table_count; t++)
            if (owner->agents[i].tables[t]->now.copying > 0)
                return true;
    return false;
}

static size_t tables_of(const Owner *owner)
{
    size_t count = 0;
    for (size_t i = 0; i < owner->agent_count; i++)
        count += owner->agents[i].whole ? owner->agents[i].table_count : 0;
    return count;
}

static uint64_t mixed(uint64_t hash, const void *data, size_t bytes) /* FNV-1a */
{
    for (const uint8_t *at = data, *end = at + bytes; at < end; at++)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t owner_word(const Owner *owner)
{
    ChannelFlow flow;
    bool any = owner_merge(owner, &flow);
    const char *const texts[] = {flow.phase, flow.reason, flow.request, flow.request_state};
    const int64_t numbers[] = {any,
                               owner->silent,
                               log_says(&flow),
                               flow.dead_letters > 0,
                               flow.retention_status,
                               any && any_copying(owner),
                               (int64_t)tables_of(owner)};
    uint64_t hash = mixed(UINT64_C(0xcbf29ce484222325), numbers, sizeof numbers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash = mixed(hash, texts[i], strlen(texts[i]) + 1);
    channel_flow_done(&flow);
    return hash;
}
