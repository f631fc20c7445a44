/* `firn-agent run` and `capture`: a thread for each Connector, the signals, the HTTP server, the
 * progress line.
 */
#pragma once

#include "agent/options.h"

/* Returns the exit code. */
int serve(const Manifest *manifest, const Options *options);
