/* What waits on disk for a broker that is slow or away (stream.spool): entries in order, each
 * either bytes or a checkpoint, kept in segments of a folder until they are released.
 *
 *   segment  "<number of its first entry, 16 hex digits>.spool": 8 bytes "FIRNSPL1", then entries
 *   entry    4 bytes CRC-32 of all that follows, 4 bytes length of the payload, 8 bytes number (one
 *            more than the entry's before), 1 byte kind, the payload; little-endian
 *   payload  of a checkpoint, and of the beginning of all (a checkpoint, too): 8 bytes major, 8
 * bytes minor of its position
 *
 * What is behind the last whole checkpoint is cut off when the folder is opened: it may be torn,
 * and nobody has been told of it. The reader trusts nothing: each length is checked against the
 * file, each entry against its sum and its number. One process at a time ("lock").
 *
 * Errors: CONFIG "SpoolFolder" (can't be made, written or read), "SpoolDamaged" (what
 * the source was told of is not there, or not what was written); RETRY "SpoolTaken" (another
 * process has it). In one thread. */
#pragma once

#include "agent/record/position.h"
#include "common/attrs.h"
#include "common/error.h"

#define BACKLOG_SEGMENT_BYTES ((uint64_t)64 << 20)

typedef struct Backlog Backlog;
void backlog_close(Backlog *backlog); /* NULL is fine; what is there stays */
/* segment_bytes 0: BACKLOG_SEGMENT_BYTES. Every entry is read and checked. told: of what is in it,
 * the source was told so much. */
Backlog *backlog_open(const char *folder, uint64_t bytes_max, uint64_t segment_bytes,
                      RowPosition told, Error *err) OWNED_BY(backlog_close);

/* An empty one has what comes behind that position, durably. To be called before anything is put.
 */
MUST_CHECK bool backlog_begin(Backlog *backlog, RowPosition at, Error *err);
/* *ret_full: there is no room, in bytes_max or on the disk; nothing was put. (One entry is always
 * taken.) */
MUST_CHECK bool backlog_put(Backlog *backlog, const void *data, size_t bytes, bool *ret_full,
                            Error *err);
MUST_CHECK bool backlog_put_checkpoint(Backlog *backlog, RowPosition at, bool *ret_full,
                                       Error *err);
/* All that was put is durable from here on. */
MUST_CHECK bool backlog_sync(Backlog *backlog, Error *err);

typedef struct BacklogEntry {
    bool checkpoint, begins;
    RowPosition at;      /* of a checkpoint */
    const uint8_t *data; /* the backlog's, until the next call */
    size_t bytes;
} BacklogEntry;
/* The next one that was not read; *ret_any false: there is none (yet). */
MUST_CHECK bool backlog_next(Backlog *backlog, BacklogEntry *ret, bool *ret_any, Error *err);
void backlog_rewind(Backlog *backlog); /* to the first one that is not released */

/* Everything up to that position's checkpoint is needed no more: segments that are over then go
 * (the last one once all of it was read). */
MUST_CHECK bool backlog_release(Backlog *backlog, RowPosition at, Error *err);

bool backlog_is_empty(const Backlog *backlog);
uint64_t backlog_bytes(const Backlog *backlog);
RowPosition backlog_until(const Backlog *backlog); /* the last checkpoint; {0, 0}: there is none */

/* A small file beside the segments: written whole, durably and at once, under a sum. */
MUST_CHECK bool backlog_keep(Backlog *backlog, const char *name, const void *data, size_t bytes,
                             Error *err);
/* *ret NULL: there is none, or it is not what was written. Caller frees. */
MUST_CHECK bool backlog_kept(Backlog *backlog, const char *name, uint8_t **ret, size_t *ret_bytes,
                             Error *err);

DEFINE_AUTO(Backlog, backlog_close);
