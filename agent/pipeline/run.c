/* One attempt: open, bind, follow the log and copy what is incomplete until told to stop, drain.
 * Whatever ends it, everything it opened is closed here, in the flow's order. */
#include "agent/pipeline/run.h"

#include "agent/pipeline/flow.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

void flow_fail(Flow *flow, const Error *err)
{
    pthread_mutex_lock(&flow->lock);
    if (!atomic_load(&flow->failed)) {
        flow->error = *err;
        atomic_store(&flow->failed, true);
    }
    pthread_mutex_unlock(&flow->lock);
}

void flow_phase(Flow *flow, Phase phase)
{
    supervised_phase(&flow->pipeline->base, phase);
}

/* What the tables and the record know, told to the source; the slot and the copy's snapshot in
 * return. */
static bool prepare(Flow *flow, Error *err)
{
    CaptureState state = {0};
    AUTO(mem_free) bool *complete = mem_array(flow->captured_count, sizeof *complete);
    for (size_t i = 0; i < flow->captured_count; i++) {
        const BoundTable *table = flow->by_number[i];
        complete[i] = !table || table->complete;
        if (!table || table->begins)
            continue;
        RowPosition at = follow_low(&table->follow);
        if (row_position_compare(at, flow->told) < 0) /* before anything is copied in vain */
            return flow_stalled(table, STALL_SLOT_AHEAD, err) ||
                   error_wrap(err, "slot %s", flow->pipeline->connector->pg_slot);
        if (!state.known || row_position_compare(at, state.from) < 0)
            state.from = at;
        state.known = true;
    }
    state.complete = complete;
    return capture_prepare(flow->capture, &state, &flow->copied, err) &&
           (flow->told.major || capture_told(flow->capture, &flow->told, err)); /* a new slot */
}

static void begin_request(const Flow *flow)
{
    bool any = false;
    for (size_t i = 0; i < flow->table_count; i++)
        any = any || copy_request_names(&flow->request, flow->tables[i].name);
    supervised_asked(&flow->pipeline->base, &flow->request, any ? REQUEST_RUNNING : REQUEST_REFUSED,
                     any ? ""
                         : "no table that is captured, and that a unit takes, is of that name");
}

static bool attempt(Flow *flow, Error *err)
{
    flow_phase(flow, PHASE_PENDING);
    flow->capture = capture_open(flow->pipeline->connector,
                                 &(CaptureOptions){.stop = &flow->pipeline->base.stop}, err);
    if (!flow->capture || !capture_told(flow->capture, &flow->told, err))
        return false;
    if (!flow_bind(flow, err) || !prepare(flow, err) || !flow_copy_open(flow, err))
        return false;
    begin_request(flow);
    if (flow_stopping(flow))
        return true;
    return flow->pipeline->connector->snapshot_mode == SNAPSHOT_ONLY ? flow_copy_alone(flow, err)
                                                                     : flow_stream(flow, err);
}

/* What the next flow has to know of this one. */
static void remember(const Flow *flow)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        const BoundTable *table = &flow->tables[i];
        if (!table->source || !atomic_load(&table->source->changed))
            continue;
        supervised_outdated(&flow->pipeline->base, table->name);
        log_info("columns changed while the table was copied: its copy begins anew",
                 LOG_T("table", table->name));
        CRASH_POINT("copy-outdated");
    }
}

bool flow_run(Pipeline *pipeline, bool *ret_again, Error *err)
{
    Flow flow = {.pipeline = pipeline};
    supervised_request(&pipeline->base, &flow.request);
    pthread_mutex_init(&flow.lock, NULL);
    bool ok = attempt(&flow, err);
    *ret_again = atomic_load(&flow.leaves);
    remember(&flow);
    supervised_ended(&pipeline->base, flow.capture, flow.rows, flow.commits);
    flow_copy_close(&flow);
    flow_unbind(&flow);
    capture_close(flow.capture);
    pthread_mutex_destroy(&flow.lock);
    copy_request_done(&flow.request);
    return ok;
}
