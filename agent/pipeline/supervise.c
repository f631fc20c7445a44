/* What outlives a flow: the pipeline as agent/supervise runs it again and again. */
#include <stdlib.h>

#include "agent/pipeline/flow.h"
#include "agent/pipeline/run.h"
#include "common/mem.h"

static bool attempt(Supervised *supervised, bool *ret_again, Error *err)
{
    return flow_run((Pipeline *)supervised, ret_again, err);
}

static void pipeline_free(Supervised *supervised)
{
    Pipeline *pipeline = (Pipeline *)supervised;
    json_decref(pipeline->units_by_table);
    names_done(&pipeline->without_rows);
    supervised_done(supervised);
    free(pipeline);
}

static const SupervisedKind kind = {.attempt = attempt, .free = pipeline_free};

Supervised *pipeline_new(const Manifest *manifest, const ConnectorSpec *connector,
                         const TextList *resnapshot)
{
    Pipeline *pipeline = mem_zalloc(sizeof *pipeline);
    supervised_init(&pipeline->base, &kind, connector, resnapshot);
    pipeline->manifest = manifest;
    pipeline->connector = connector;
    pipeline->units_by_table = flow_units_by_table(pipeline);
    return &pipeline->base;
}

bool pipeline_lacks_rows(Pipeline *pipeline, const char *table_name)
{
    pthread_mutex_lock(&pipeline->base.lock);
    bool lacks = names_hold(&pipeline->without_rows, table_name);
    pthread_mutex_unlock(&pipeline->base.lock);
    return lacks;
}

void pipeline_lacked_row(Pipeline *pipeline, const char *table_name)
{
    pthread_mutex_lock(&pipeline->base.lock);
    names_add(&pipeline->without_rows, table_name);
    pthread_mutex_unlock(&pipeline->base.lock);
}
