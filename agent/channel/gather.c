#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/channel/channel.h"

#define EXACT_MAX 9e15 /* integers that a double holds */

static const struct {
    const char *metric;
    size_t at;
} of_table[] = {
    {"firn_table_rows", offsetof(GatheredTable, rows)},
    {"firn_table_changes_total", offsetof(GatheredTable, changes)},
    {"firn_table_copying", offsetof(GatheredTable, copying)},
    {"firn_table_copy_rows_total", offsetof(GatheredTable, copied)},
    {"firn_table_copy_rows_estimate", offsetof(GatheredTable, to_copy)},
    {"firn_ingest_commits", offsetof(GatheredTable, commits)},
    {"firn_table_committed_timestamp_seconds", offsetof(GatheredTable, committed_s)},
    {"firn_table_committed_seconds", offsetof(GatheredTable, committed_s)},
    {"firn_table_upkeep", offsetof(GatheredTable, upkeep)},
};

/* Of several with other labels: together, or the largest. */
static const struct {
    const char *metric;
    size_t at;
    bool sum;
} of_process[] = {
    {"firn_restarts_total", offsetof(ChannelFlow, restarts), true},
    {"firn_dead_letters_total", offsetof(ChannelFlow, dead_letters), true},
    {"firn_ingest_lag_records", offsetof(ChannelFlow, lag_records), true},
    {"firn_ingest_partitions", offsetof(ChannelFlow, partitions), true},
    {"firn_log_status", offsetof(ChannelFlow, log_status), false},
    {"firn_log_retained_bytes", offsetof(ChannelFlow, log_retained_bytes), true},
    {"firn_log_headroom_bytes", offsetof(ChannelFlow, log_headroom_bytes), false},
    {"firn_log_headroom_seconds", offsetof(ChannelFlow, log_headroom_s), false},
    {"firn_confirmed_position", offsetof(ChannelFlow, confirmed), false},
    {"firn_received_position", offsetof(ChannelFlow, received), false},
    {"firn_topic_retention_status", offsetof(ChannelFlow, retention_status), false},
};

void gathered_done(Gathered *gathered)
{
    for (size_t i = 0; i < gathered->table_count; i++) {
        free(gathered->tables[i].unit);
        free(gathered->tables[i].table);
    }
    free(gathered->tables);
    free(gathered->slots);
    free(gathered->wholes);
    *gathered = (Gathered){0};
}

static uint64_t hash_of(const char *unit, const char *table) /* FNV-1a */
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *unit; unit++)
        hash = (hash ^ (uint8_t)*unit) * UINT64_C(0x100000001b3);
    hash *= UINT64_C(0x100000001b3);
    for (; *table; table++)
        hash = (hash ^ (uint8_t)*table) * UINT64_C(0x100000001b3);
    return hash;
}

static size_t *slot_of(const Gathered *gathered, uint64_t hash, const char *unit, const char *table)
{
    size_t at = hash & (gathered->slot_count - 1);
    for (;; at = (at + 1) & (gathered->slot_count - 1)) {
        size_t index = gathered->slots[at];
        const GatheredTable *here = index ? &gathered->tables[index - 1] : NULL;
        if (!here || (here->hash == hash && strcmp(here->unit, unit) == 0 &&
                      strcmp(here->table, table) == 0))
            return &gathered->slots[at];
    }
}

static void grow(Gathered *gathered)
{
    gathered->slot_count = gathered->slot_count ? gathered->slot_count * 2 : 64;
    free(gathered->slots);
    gathered->slots = mem_array(gathered->slot_count, sizeof *gathered->slots);
    for (size_t i = 0; i < gathered->table_count; i++) {
        const GatheredTable *table = &gathered->tables[i];
        *slot_of(gathered, table->hash, table->unit, table->table) = i + 1;
    }
}

static GatheredTable *table_of(Gathered *gathered, const char *unit, const char *table)
{
    uint64_t hash = hash_of(unit, table);
    if ((gathered->table_count + 1) * 2 > gathered->slot_count)
        grow(gathered);
    size_t *slot = slot_of(gathered, hash, unit, table);
    if (*slot)
        return &gathered->tables[*slot - 1];
    if (gathered->table_count == gathered->held) {
        gathered->held = gathered->held ? gathered->held * 2 : 16;
        gathered->tables = mem_regrow(gathered->tables, gathered->held, sizeof *gathered->tables);
    }
    *slot = gathered->table_count + 1;
    GatheredTable *made = &gathered->tables[gathered->table_count++];
    *made = (GatheredTable){.unit = mem_strdup(unit), .table = mem_strdup(table), .hash = hash};
    return made;
}

static void take_metric(void *context, const char *name, const char *labels, Metric *metric)
{
    Gathered *gathered = context;
    for (size_t i = 0; i < ARRAY_LEN(of_process); i++) {
        if (strcmp(of_process[i].metric, name) != 0)
            continue;
        gathered->wholes =
            mem_regrow(gathered->wholes, gathered->whole_count + 1, sizeof *gathered->wholes);
        gathered->wholes[gathered->whole_count++] = (GatheredWhole){i, metric};
    }
    for (size_t i = 0; i < ARRAY_LEN(of_table); i++) {
        if (strcmp(of_table[i].metric, name) != 0)
            continue;
        AUTO(mem_free) char *table = metrics_label_value(labels, "table");
        AUTO(mem_free) char *unit = metrics_label_value(labels, "unit");
        const char *slash = unit ? strchr(unit, '/') : NULL; /* "namespace/name" */
        if (table && *table) {
            GatheredTable *to = table_of(gathered, slash ? slash + 1 : "", table);
            *(Metric **)(void *)((char *)to + of_table[i].at) = metric;
        }
        return;
    }
}

void gathered_look(Gathered *gathered)
{
    size_t count = metrics_count();
    if (count == gathered->seen)
        return;
    gathered->whole_count = 0; /* found again */
    metrics_each(take_metric, gathered);
    gathered->seen = count;
}

static int64_t number_of(double value)
{
    return isfinite(value) && value >= 0 && value < EXACT_MAX ? (int64_t)value : CHANNEL_NOT_SAID;
}

#define READ(field, member)                                                                        \
    if (table->field)                                                                              \
        ret->field = number_of(atomic_load_explicit(&table->field->value, memory_order_relaxed));

void gathered_read(const GatheredTable *table, ChannelTable *ret)
{
    channel_table_clear(ret);
    ret->unit = table->unit;
    ret->table = table->table;
    CHANNEL_TABLE_NUMBERS(READ)
}

static void add_up(const GatheredWhole *whole, ChannelFlow *flow)
{
    int64_t *to = (int64_t *)(void *)((char *)flow + of_process[whole->figure].at);
    int64_t value = number_of(atomic_load_explicit(&whole->metric->value, memory_order_relaxed));
    if (value == CHANNEL_NOT_SAID)
        return;
    if (*to == CHANNEL_NOT_SAID)
        *to = value;
    else if (of_process[whole->figure].sum)
        *to += value;
    else if (value > *to)
        *to = value;
}

static int64_t resident_bytes(void)
{
    char text[128] = "";
    long long whole, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    bool good =
        file && fgets(text, sizeof text, file) && sscanf(text, "%lld %lld", &whole, &resident) == 2;
    if (file)
        fclose(file);
    return good ? resident * sysconf(_SC_PAGESIZE) : CHANNEL_NOT_SAID;
}

void gathered_flow(const Gathered *gathered, ChannelFlow *flow)
{
    for (size_t i = 0; i < gathered->whole_count; i++)
        add_up(&gathered->wholes[i], flow);
    flow->memory_bytes = resident_bytes();
    if (flow->retention_status == 0) /* not known */
        flow->retention_status = CHANNEL_NOT_SAID;
    if (flow->log_status == 0) /* not measured */
        flow->log_status = CHANNEL_NOT_SAID;
    if (flow->log_status == CHANNEL_NOT_SAID)
        flow->log_retained_bytes = flow->log_headroom_bytes = flow->log_headroom_s =
            CHANNEL_NOT_SAID;
}
