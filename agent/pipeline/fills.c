/* Whose updates may leave values out: tables that hold every row. Such a table fills them in from
 * its own (agent/table/fill.h); for the others the capture fetches them from the source, as they
 * are there by then. That a table lacks a row shows with the first update of it: somebody has
 * deleted it in the lake. The flow then starts again, with that table among the others. */
#include <string.h>

#include "agent/pipeline/flow.h"
#include "common/mem.h"

static bool lacked_a_row(Pipeline *pipeline, const BoundTable *table)
{
    bool found = false;
    pthread_mutex_lock(&pipeline->lock);
    for (size_t i = 0; i < pipeline->without_rows_count && !found; i++)
        found = strcmp(pipeline->without_rows[i], table->name) == 0;
    pthread_mutex_unlock(&pipeline->lock);
    return found;
}

void flow_fills(Flow *flow)
{
    if (flow->pipeline->connector->snapshot_mode == SNAPSHOT_NEVER)
        return;
    for (size_t i = 0; i < flow->table_count; i++) {
        const BoundTable *table = &flow->tables[i];
        if (table->spec->mode == MODE_UPSERT && !lacked_a_row(flow->pipeline, table))
            capture_fills(flow->capture, table->number);
    }
}

void flow_put_failed(BoundTable *table, Flow *flow, const Error *err)
{
    Pipeline *pipeline = flow->pipeline;
    if (strcmp(err->code, "BaseRowMissing") != 0 || lacked_a_row(pipeline, table))
        return;
    pthread_mutex_lock(&pipeline->lock);
    pipeline->without_rows =
        mem_regrow(pipeline->without_rows, pipeline->without_rows_count + 1, sizeof(char *));
    pipeline->without_rows[pipeline->without_rows_count++] = mem_strdup(table->name);
    pthread_mutex_unlock(&pipeline->lock);
}
