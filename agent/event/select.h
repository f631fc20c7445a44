/* Which records are taken: of plain JSON those of the events that are asked for, and of them those
 * of one route, for which a record is looked through only as far as the fields that tell. Of other
 * formats those of one route, by their row. */
#pragma once

#include "agent/event/decode.h"
#include "agent/event/event.h"

typedef struct Selection {
    char *event_field; /* NULL: every event is taken */
    char **events;
    size_t event_count;
    const EventRoute *routes; /* borrowed */
    size_t route_count, route;
    bool upserts, some_upserts;
    uint32_t *columns; /* of each route's field in the target; COLUMN_NONE: it has none */
} Selection;

typedef enum Selected {
    SELECTED_TAKEN,
    SELECTED_PASSED,   /* it is of another event, or another route's */
    SELECTED_GONE,     /* … and what it became is nobody's: to the first route alone */
    SELECTED_UNROUTED, /* it is nobody's: to the first route alone */
    SELECTED_BAD,      /* it can't be told, and `why` says why: to the first route alone */
} Selected;

void selection_done(Selection *selection);
void selection_init(Selection *selection, const EventOptions *options);
/* json stands at the record, and does so again afterwards. */
Selected selection_look(const Selection *selection, Decode *decode, Scan *json);
/* Rows have these columns from here on. */
void selection_target(Selection *selection, const Schema *target);
/* Of the batch's latest row; one that is taken may have become another op. in_envelope: it says
 * what was done to the row. */
Selected selection_judge(const Selection *selection, Decode *decode, bool in_envelope);
