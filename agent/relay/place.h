/* The place of a spool (backlog.h): a folder or a prefix of a bucket, which objects are there,
 * whose it is now, and what the one before left.
 *
 *   <epoch>.claim           whose epoch it is: "namespace/connector"
 *   <epoch>.left            which segments of earlier epochs count, and how much of each: 4 bytes
 *                           CRC-32 of what follows; of each segment 8 bytes number, epoch and end
 *   <epoch>.known           a note of the epoch's owner: 4 bytes CRC-32, the text
 *   <number>-<epoch>.spool  a segment
 *
 * Numbers are 16 hex digits. Objects are written whole and never changed; whoever opens the place
 * begins a new epoch. What keeps two apart, also where nothing can be locked and one of both slept:
 *
 *   the opener  makes its claim (which nobody else can), removes every earlier one, and only then
 *               looks which segments there are: those, and no others, count, which ".left" says
 *   the writer  writes a segment, and only then looks whether its claim still stands; what it wrote
 *               counts if it does, for then every later opener has seen it
 *
 * So a segment that the source was told of is never missed, and one of a process that was replaced
 * is never taken for another. */
#pragma once

#include "agent/store/store.h"

typedef struct PlaceSegment {
    uint64_t number; /* of its first entry */
    uint64_t epoch;
    uint64_t end;   /* of the first entry that is not its; 0: all of it counts */
    uint64_t bytes; /* of the object */
} PlaceSegment;

typedef struct Place {
    Store *store; /* not owned */
    char *uri;    /* canonical; no slash at the end */
    char *owner;
    uint64_t epoch;
    uint64_t known; /* the epoch of the latest note before ours; 0: none */
} Place;

void place_done(Place *place);
/* Takes it. *ret: segments that count, in order; caller frees. RETRY "SpoolTaken": another process
 * does the same just now; CONFIG "SpoolFolder": it is another Connector's, or can't be used;
 * "SpoolDamaged"; errors of the store. */
MUST_CHECK bool place_take(Place *place, Store *store, const char *uri, const char *owner,
                           PlaceSegment **ret, size_t *ret_count, Error *err);
/* What counts from here on; everything else goes. */
MUST_CHECK bool place_leave(Place *place, const PlaceSegment *segments, size_t count, Error *err);
/* Is it still ours? RETRY "SpoolTaken". From any thread, as place_write. */
MUST_CHECK bool place_is_ours(const Place *place, Error *err);

/* A segment of ours; it counts when it returns true. */
MUST_CHECK bool place_write(const Place *place, uint64_t number, const void *data, size_t bytes,
                            Error *err);
/* Appends it to *ret. DATA: it is not there, or not as it was. */
MUST_CHECK bool place_read(const Place *place, const PlaceSegment *segment, Bytes *ret, Error *err);
MUST_CHECK bool place_remove(const Place *place, uint64_t number, uint64_t epoch, Error *err);

/* A note for the next one. */
MUST_CHECK bool place_note(Place *place, const void *data, size_t bytes, Error *err);
/* The latest one before ours. *ret NULL: there is none, or it is not what was written. Caller
 * frees. */
MUST_CHECK bool place_noted(const Place *place, uint8_t **ret, size_t *ret_bytes, Error *err);
