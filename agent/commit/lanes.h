/* Where a table stands in a source of several lanes, as the one text of its claim:
 *
 *   kafka/<cluster>/<topic>@1234/23213896.4,88,0      lane 0, 1, 2
 *
 * per lane the next offset and, unless it is 0.0, the source position passed. The same values have
 * one text only. */
#pragma once

#include <stdlib.h>

#include "agent/commit/commit.h"

typedef struct LanePosition {
    char source[POSITION_SOURCE_BYTES];
    LaneValue *lanes; /* owned */
    uint32_t lane_count;
} LanePosition;

void lane_position_done(LanePosition *position);
/* source: shorter than POSITION_SOURCE_BYTES. Caller frees. */
char *lane_position_format(const char *source, const LaneValue *lanes, uint32_t lane_count)
    OWNED_BY(free);
/* DATA "BadPosition"; at most GROUP_LANES_MAX lanes. *ret is the caller's to end. */
MUST_CHECK bool lane_position_parse(const char *text, LanePosition *ret, Error *err);
