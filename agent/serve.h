/* `firn-agent run` and `capture`: a thread for each Connector, the signals, the HTTP server, the
 * progress line.
 */
#pragma once

#include "agent/options.h"
#include "common/manifest/manifest.h"

/* Returns the exit code. */
int serve(const Manifest *manifest, const Options *options);
/* `firn-agent maintain`, until it is told to stop. */
int serve_maintenance(const Manifest *manifest, const Options *options);
/* Has the unit a topic of its own that is to be read? */
bool ingests_topic(const IngestionUnitSpec *unit, const Options *options);
