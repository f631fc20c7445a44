/* Whose updates may leave values out: tables that hold every row. Such a table fills them in from
 * its own (agent/table/fill.h); for the others the capture fetches them from the source, as they
 * are there by then. That a table lacks a row shows with the first update of it: somebody has
 * deleted it in the lake. The flow then starts again, with that table among the others. */
#include <string.h>

#include "agent/pipeline/flow.h"

void flow_fills(Flow *flow, const BoundTable *table)
{
    if (flow->pipeline->connector->snapshot_mode != SNAPSHOT_NEVER &&
        table->spec->mode == MODE_UPSERT && !pipeline_lacks_rows(flow->pipeline, table->name))
        capture_fills(flow->capture, table->number);
}

void flow_put_failed(Flow *flow, const BoundTable *table, const Error *err)
{
    if (strcmp(err->code, "BaseRowMissing") == 0)
        pipeline_lacked_row(flow->pipeline, table->name);
}
