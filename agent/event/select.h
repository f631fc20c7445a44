/* Which plain JSON records are taken: those of the events that are asked for, and of them those of
 * one route. A record is looked through only as far as the fields that tell. */
#pragma once

#include "agent/event/decode.h"
#include "agent/event/event.h"

typedef struct Selection {
    char *event_field; /* NULL: every event is taken */
    char **events;
    size_t event_count;
    const EventRoute *routes; /* borrowed */
    size_t route_count, route;
} Selection;

typedef enum Selected {
    SELECTED_TAKEN,
    SELECTED_PASSED,   /* it is of another event, or another route's */
    SELECTED_UNROUTED, /* it is nobody's: to the first route alone */
    SELECTED_BAD,      /* it can't be told, and `why` says why: to the first route alone */
} Selected;

void selection_done(Selection *selection);
void selection_init(Selection *selection, const EventOptions *options);
/* json stands at the record, and does so again afterwards. */
Selected selection_look(const Selection *selection, Decode *decode, Scan *json);
