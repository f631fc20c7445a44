#include "operator/reports/reports.h"

static void put_number(json_t *to, const char *member, int64_t value)
{
    if (value != CHANNEL_NOT_SAID)
        json_object_set_new(to, member, json_integer(value));
}

#define PUT(field, member) put_number(to, member, from->field);

static json_t *flow_of(const ChannelFlow *from)
{
    json_t *to = json_pack("{ss}", "phase", from->phase);
    if (from->error)
        json_object_set_new(to, "error", json_string(from->error));
    CHANNEL_FLOW_NUMBERS(PUT)
    return to;
}

static void add_number(json_t *to, const char *member, int64_t value)
{
    const json_t *was = json_object_get(to, member);
    if (value != CHANNEL_NOT_SAID)
        json_object_set_new(to, member, json_integer(value + json_integer_value(was)));
}

/* Of several consumers one commits, and knows the rows; what each has read adds up. */
static void add_table(json_t *tables, const ChannelTable *from)
{
    json_t *to = json_object_get(tables, from->unit);
    if (!to) {
        to = json_pack("{ss}", "table", from->table);
        json_object_set_new(tables, from->unit, to);
    }
    if (from->commits != 0) {
        add_number(to, "rows", from->rows);
        put_number(to, "committedAt", from->committed_s);
    }
    add_number(to, "changes", from->changes);
    add_number(to, "copying", from->copying);
    add_number(to, "copied", from->copied);
    add_number(to, "toCopy", from->to_copy);
}

json_t *reports_live(Reports *reports, const char *key)
{
    json_t *live = NULL;
    ChannelFlow flow;
    pthread_mutex_lock(&reports->lock);
    const Owner *owner = owner_find(reports, key);
    if (owner && owner_merge(owner, &flow)) {
        json_t *tables = json_object();
        int64_t heard_s = 0;
        live = json_pack("{so so}", "flow", flow_of(&flow), "tables", tables);
        channel_flow_done(&flow);
        for (size_t i = 0; i < owner->agent_count; i++) {
            const Agent *agent = &owner->agents[i];
            if (agent->heard_s > heard_s)
                heard_s = agent->heard_s;
            for (size_t t = 0; owner_counts(owner, agent) && t < agent->table_count; t++)
                add_table(tables, &agent->tables[t]->now);
        }
        if (owner->silent)
            put_number(json_object_get(live, "flow"), "heard", heard_s);
    }
    pthread_mutex_unlock(&reports->lock);
    return live;
}
