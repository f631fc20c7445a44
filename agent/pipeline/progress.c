/* What a pipeline shows of its tables: Prometheus metrics. Names carry their unit; labels are the
 * source's name of the table and the unit. The number of tables bounds the number of series. */

#include "agent/pipeline/flow.h"
#include "common/mem.h"

void progress_table_register(BoundTable *table)
{
    AUTO(mem_free) char *name = metrics_label("table", table->name);
    AUTO(mem_free) char *unit = metrics_label("unit", table->unit);
    AUTO(mem_free) char *labels = mem_format("%s,%s", name, unit);
    TableMetrics *to = &table->metrics;
    to->changes = metrics_register(METRIC_COUNTER, "firn_table_changes_total",
                                   "Rows copied and changes applied", labels);
    to->rows = metrics_register(METRIC_GAUGE, "firn_table_rows", "Live rows as of the last commit",
                                labels);
    to->commits =
        metrics_register(METRIC_COUNTER, "firn_table_commits_total", "Snapshots made", labels);
    to->memory = metrics_register(METRIC_GAUGE, "firn_table_memory_bytes",
                                  "Index and buffers of the table", labels);
    to->committed = metrics_register(METRIC_GAUGE, "firn_table_committed_timestamp_seconds",
                                     "Time of the last commit", labels);
    to->upkeep = metrics_register(METRIC_GAUGE, "firn_table_upkeep", TABLE_UPKEEP_HELP, labels);
    to->filled = metrics_register(
        METRIC_COUNTER, "firn_table_filled_values_total",
        "Large values that an update left out of the log, taken from the table's own rows", labels);
    copying_register(&table->copy.count, labels);
    progress_table(table);
}

void progress_copy(Flow *flow, CopyFigures *ret)
{
    *ret = (CopyFigures){.tables = (uint32_t)atomic_load(&flow->copying)};
    for (size_t i = 0; ret->tables && i < flow->table_count; i++)
        copying_add(&flow->tables[i].copy.count, ret);
}

void progress_table(BoundTable *table)
{
    TableFigures figures;
    table_figures(table->table, &figures);
    metric_set(table->metrics.rows, (double)figures.rows);
    metric_set(table->metrics.memory, (double)figures.memory_bytes);
    metric_set(table->metrics.filled, (double)figures.filled);
    metric_set(table->metrics.upkeep, table_upkeep(&figures));
    if (figures.committed_us) {
        metric_add(table->metrics.commits, 1);
        metric_set(table->metrics.committed, (double)figures.committed_us / 1e6);
    }
}
