/* What the processes of a group say over the unit's control topic, in bytes. Little-endian; numbers
 * are LEB128 varints unless a size is given:
 *
 *   1  version: 1
 *   1  'A' an announcement, 'R' a report
 *   8  who says it: the worker's id, random for every process
 *   A  generation, serial · 1 asks · source (length, bytes) · lanes: count, then each its value
 *   R  generation, serial · lane · refused · pieces: count, then each:
 *      8 worker · number · rows · from, to: a value each · barrier: kind, and unless it is 0 its
 *      lanes, its position, 1 whether that is a name alone
 *   a value: next, passed (major, minor)
 *
 * It comes from a topic that others may write to, too: what is no such message is none. */
#pragma once

#include "agent/commit/group.h"
#include "common/bytes.h"

typedef enum ControlKind { CONTROL_NONE, CONTROL_ANNOUNCEMENT, CONTROL_REPORT } ControlKind;

typedef struct Control {
    ControlKind kind;
    uint64_t sender;
    Announcement announcement; /* source and lanes point to the two below */
    Report report;
    char source[POSITION_SOURCE_BYTES];
    LaneValue *lanes; /* kept for the next message; freed by control_done */
    uint32_t lanes_held;
} Control;

void control_done(Control *control);
void control_put_announcement(Bytes *to, uint64_t sender, const Announcement *announcement);
void control_put_report(Bytes *to, uint64_t sender, const Report *report);
/* kind NONE: it is no message of this version. */
void control_take(const void *from, size_t bytes, Control *ret);
