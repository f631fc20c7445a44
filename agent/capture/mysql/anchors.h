/* Which transactions lie before a place of this server's log, so that the same place is found in
 * another server's (capture_anchor): the GTID set at the places where checkpoints were made.
 *
 * Kept as one set, and what came behind it as runs of numbers, which each mark closes. From any
 * thread. */
#pragma once

#include "agent/capture/mysql/gtid.h"
#include "agent/record/position.h"

typedef struct MyAnchors MyAnchors;
void my_anchors_free(MyAnchors *anchors); /* NULL is fine */
MyAnchors *my_anchors_new(bool mariadb) OWNED_BY(my_anchors_free);

/* These lie before the place; what was known of others is forgotten. */
void my_anchors_begin(MyAnchors *anchors, const GtidSet *set, uint64_t place);
bool my_anchors_known(MyAnchors *anchors);
/* A transaction was read to its end; NULL: one without a GTID, so that from here on nothing is
 * known. */
void my_anchors_add(MyAnchors *anchors, const Gtid *gtid);
/* All that were added lie before this place. */
void my_anchors_mark(MyAnchors *anchors, uint64_t place);
/* Nobody asks for places before this one any more. */
void my_anchors_confirm(MyAnchors *anchors, uint64_t place);
/* The set before a place that was marked; NULL: it is not known. Inside a transaction it is not. */
char *my_anchors_at(MyAnchors *anchors, RowPosition at) OWNED_BY(free);

DEFINE_AUTO(MyAnchors, my_anchors_free);
