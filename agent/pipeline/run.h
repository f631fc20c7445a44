#pragma once

#include "agent/pipeline/pipeline.h"

/* One attempt. True: stopped, or done; *ret_again: another one is to begin, with more tables. */
MUST_CHECK bool flow_run(Pipeline *pipeline, bool *ret_again, Error *err);
