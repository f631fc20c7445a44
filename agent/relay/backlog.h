/* What waits for a broker that is slow or away (stream.spool): entries in order, each either bytes
 * or a checkpoint, kept in segments of a place (place.h), a folder or a bucket's prefix, until they
 * are released.
 *
 *   segment  8 bytes "FIRNSPL2", 4 bytes CRC-32 of the rest of the head, 8 bytes number of its
 *            first entry, 8 bytes epoch, 8 bytes major and 8 bytes minor of the checkpoint before;
 *            then entries
 *   entry    4 bytes CRC-32 of all that follows, 4 bytes length of the payload, 8 bytes number (of
 *            the entry before, and one), 1 byte kind, the payload; little-endian
 *   payload  of a checkpoint: 8 bytes major, 8 bytes minor of its position
 *
 * A segment is gathered in memory, and a thread writes it: when it has segment_bytes, or when
 * backlog_flush asks for it. What is not written yet is not read, and nobody is told of it. Of the
 * open one, the one that is being written and the one that is being read there is one each: that is
 * all the memory (an entry larger than a segment is one by itself). What can't be written just now
 * (the store is away, the disk is full) is tried again until the backlog is closed.
 *
 * What is behind the last checkpoint is left out when the place is opened: nobody has been told of
 * it. The reader trusts nothing: each length is checked against the object, each entry against its
 * sum and its number, each segment against the one before.
 *
 * Errors: CONFIG "SpoolDamaged" (what the source was told of is not there, or not what was
 * written); RETRY "SpoolTaken" (another process has it now); those of the place. All but the
 * writing in one thread. */
#pragma once

#include "agent/record/position.h"
#include "agent/store/store.h"
#include "common/attrs.h"
#include "common/error.h"

#define BACKLOG_SEGMENT_BYTES ((uint64_t)8 << 20)

typedef struct BacklogOptions {
    Store *store;           /* outlives it */
    const char *uri;        /* of the place, canonical */
    const char *owner;      /* "namespace/connector" */
    uint64_t bytes_max;     /* of all that is there */
    uint64_t segment_bytes; /* 0: BACKLOG_SEGMENT_BYTES */
    RowPosition told;       /* of what is in it, the source was told so much */
} BacklogOptions;

typedef struct Backlog Backlog;
/* NULL is fine. What is written stays; what is not is forgotten. */
void backlog_close(Backlog *backlog);
/* Takes the place; every entry is read and checked. */
Backlog *backlog_open(const BacklogOptions *options, Error *err) OWNED_BY(backlog_close);

/* What is put next comes behind that position; of an empty one. */
void backlog_begin(Backlog *backlog, RowPosition at);
typedef enum BacklogRoom {
    BACKLOG_PUT,
    BACKLOG_BUSY, /* nothing was put: two segments wait to be written; backlog_wait */
    BACKLOG_FULL, /* nothing was put: bytes_max, or the store has no room. (One entry is always
                     taken.) */
} BacklogRoom;
MUST_CHECK bool backlog_put(Backlog *backlog, const void *data, size_t bytes, BacklogRoom *ret,
                            Error *err);
void backlog_put_checkpoint(Backlog *backlog, RowPosition at);
/* All that was put is to be written soon. */
MUST_CHECK bool backlog_flush(Backlog *backlog, Error *err);
/* What has been written since; false: what went wrong with that. */
MUST_CHECK bool backlog_look(Backlog *backlog, Error *err);
/* Until a segment is written; not longer. */
void backlog_wait(Backlog *backlog, int wait_ms);
/* Is the place still ours? For whoever may have slept. */
MUST_CHECK bool backlog_is_ours(const Backlog *backlog, Error *err);

typedef struct BacklogEntry {
    bool checkpoint;
    RowPosition at;      /* of a checkpoint */
    const uint8_t *data; /* the backlog's, until the next call */
    size_t bytes;
} BacklogEntry;
/* The next one of what is written that was not read; *ret_any false: there is none (yet). */
MUST_CHECK bool backlog_next(Backlog *backlog, BacklogEntry *ret, bool *ret_any, Error *err);
void backlog_rewind(Backlog *backlog); /* to the first one that is not released */

/* Everything up to that position's checkpoint is needed no more: segments that are over then go
 * (the last one once all of it was read), read or not. */
MUST_CHECK bool backlog_release(Backlog *backlog, RowPosition at, Error *err);

bool backlog_is_empty(const Backlog *backlog);   /* nothing waits to be written either */
bool backlog_is_written(const Backlog *backlog); /* all that was put */
uint64_t backlog_bytes(const Backlog *backlog);
RowPosition backlog_from(const Backlog *backlog);  /* what comes before the first that is there */
RowPosition backlog_until(const Backlog *backlog); /* the last checkpoint that is written; {0, 0}:
                                                      there is none */

/* A note beside the segments, for whoever opens the place next; and what the one before noted.
 * *ret NULL: nothing, or it is not what was written. Caller frees. */
MUST_CHECK bool backlog_note(Backlog *backlog, const void *data, size_t bytes, Error *err);
MUST_CHECK bool backlog_noted(const Backlog *backlog, uint8_t **ret, size_t *ret_bytes, Error *err);

DEFINE_AUTO(Backlog, backlog_close);
