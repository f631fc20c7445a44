/* links: firn_ingest */
/* Words of a group's control topic, and the position of a topic's lanes, as anybody may write them:
 * what is taken is written again as it was. */
#include <stdlib.h>
#include <string.h>

#include "agent/commit/lanes.h"
#include "agent/ingest/control.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Control control = {0}, again = {0};
    Bytes bytes = {0};
    control_take(data, size, &control);
    if (control.kind == CONTROL_REPORT)
        control_put_report(&bytes, control.sender, &control.report);
    else if (control.kind == CONTROL_ANNOUNCEMENT)
        control_put_announcement(&bytes, control.sender, &control.announcement);
    if (control.kind) {
        control_take(bytes.data, bytes.used, &again);
        if (again.kind != control.kind || again.sender != control.sender)
            abort();
    }
    bytes_done(&bytes);
    control_done(&control);
    control_done(&again);
    LanePosition position;
    Error err;
    AUTO(mem_free) char *text = mem_strndup((const char *)data, size);
    if (lane_position_parse(text, &position, &err)) {
        AUTO(mem_free)
        char *same = lane_position_format(position.source, position.lanes, position.lane_count);
        if (strcmp(same, text) != 0)
            abort();
    }
    lane_position_done(&position);
    return 0;
}
