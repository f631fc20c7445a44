#pragma once

#include "agent/pipeline/pipeline.h"

/* One attempt. True: stopped, or done. */
MUST_CHECK bool flow_run(Pipeline *pipeline, Error *err);
