/* One scrape of the operator shows all agents. Labels are what the resources are called, of which
 * there are so many as are kept; a resource that goes takes its lines along. */
#include <stdio.h>

#include "common/metrics.h"
#include "operator/reports/reports.h"

typedef struct Series {
    const char *name, *help;
    size_t at; /* in ChannelFlow */
    double unit;
} Series;

static const Series series[] = {
    {"firn_agents_lag_bytes", "What the source has and the agents have not made durable",
     offsetof(ChannelFlow, lag_bytes), 1},
    {"firn_agents_lag_records", "Records that the topics have and the tables have not",
     offsetof(ChannelFlow, lag_records), 1},
    {"firn_agents_freshness_seconds", "Age of the oldest change that is not durable",
     offsetof(ChannelFlow, freshness_ms), 1e-3},
    {"firn_agents_restarts", "Times that the agents began again after an error",
     offsetof(ChannelFlow, restarts), 1},
    {"firn_agents_dead_letters", "Records that went to the dead letters",
     offsetof(ChannelFlow, dead_letters), 1},
    {"firn_agents_memory_bytes", "Resident memory of the agents",
     offsetof(ChannelFlow, memory_bytes), 1},
    {"firn_agents_log_retained_bytes", "Log that the source keeps for the agents",
     offsetof(ChannelFlow, log_retained_bytes), 1},
    {"firn_agents_log_headroom_seconds", "Time until the source may drop log that is needed",
     offsetof(ChannelFlow, log_headroom_s), 1},
};

typedef struct Text {
    Bytes *to;
    const Series *series; /* NULL: the rows */
} Text;

static void put_line(Bytes *to, const char *name, const char *key, double value)
{
    const char *space = key + 2, *slash = strchr(space, '/');
    int bytes = slash ? (int)(slash - space) : 0;
    AUTO(mem_free)
    char *line = mem_format("%s{kind=\"%s\",namespace=\"%.*s\",name=\"%s\"} %.15g\n", name,
                            *key == 'c' ? "Connector" : "IngestionUnit", bytes, space,
                            slash ? slash + 1 : "", value);
    bytes_put(to, line, strlen(line));
}

static void put_flow(void *context, Owner *owner)
{
    const Text *text = context;
    ChannelFlow flow;
    if (owner_merge(owner, &flow)) {
        int64_t value = *(const int64_t *)(const void *)((const char *)&flow + text->series->at);
        if (value != CHANNEL_NOT_SAID)
            put_line(text->to, text->series->name, owner->key, (double)value * text->series->unit);
    }
    channel_flow_done(&flow);
}

static void put_rows(void *context, Owner *owner)
{
    const Text *text = context;
    int64_t rows = CHANNEL_NOT_SAID;
    for (size_t i = 0; i < owner->agent_count; i++)
        for (size_t t = 0; t < owner->agents[i].table_count; t++) {
            const ChannelTable *table = &owner->agents[i].tables[t]->now;
            if (owner_counts(owner, &owner->agents[i]) && table->rows != CHANNEL_NOT_SAID &&
                table->commits != 0)
                rows = (rows == CHANNEL_NOT_SAID ? 0 : rows) + table->rows;
        }
    if (rows != CHANNEL_NOT_SAID)
        put_line(text->to, "firn_agents_rows", owner->key, (double)rows);
}

static void put_heard(void *context, Owner *owner)
{
    const Text *text = context;
    int64_t heard_s = 0;
    for (size_t i = 0; i < owner->agent_count; i++)
        if (owner->agents[i].heard_s > heard_s)
            heard_s = owner->agents[i].heard_s;
    if (heard_s)
        put_line(text->to, "firn_agents_heard_timestamp_seconds", owner->key, (double)heard_s);
}

static void put_head(Bytes *to, const char *name, const char *help)
{
    AUTO(mem_free) char *head = mem_format("# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    bytes_put(to, head, strlen(head));
}

void reports_write(Reports *reports, Bytes *to)
{
    pthread_mutex_lock(&reports->lock);
    for (size_t i = 0; i < ARRAY_LEN(series); i++) {
        put_head(to, series[i].name, series[i].help);
        reports_each(reports, put_flow, &(Text){to, &series[i]});
    }
    put_head(to, "firn_agents_rows", "Live rows of the tables as of their last commits");
    reports_each(reports, put_rows, &(Text){to, NULL});
    put_head(to, "firn_agents_heard_timestamp_seconds", "When an agent was heard last");
    reports_each(reports, put_heard, &(Text){to, NULL});
    pthread_mutex_unlock(&reports->lock);
}
