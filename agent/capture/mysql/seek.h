/* Where in a server's log a GTID set stands: the place that has all of the set before it, and
 * nothing else. There is one only where the server has the same transactions in the same order, as
 * a replica that writes what it applies into a log of its own does (log_replica_updates, and
 * replica_preserve_commit_order where it applies in parallel).
 *
 * Fed with the events of a file from its head on, and of those that follow. Pure. */
#pragma once

#include "agent/capture/mysql/binlog.h"

typedef enum SeekResult {
    SEEK_ON,     /* more events */
    SEEK_BEHIND, /* the file begins behind the set: try the one before */
    SEEK_FOUND,
    SEEK_OTHER, /* there is no such place: *err says what differs, as DATA "GtidsDiffer" */
    SEEK_FAILED,
} SeekResult;

typedef struct Seek {
    const GtidSet *wanted;
    GtidSet before; /* what lies before `place` */
    BinlogFormat format;
    bool headed;   /* the file's head was read */
    char base[64]; /* of the files' names, shortened, for messages */
    uint64_t file, offset;
    uint64_t place; /* the answer */
} Seek;

static inline void seek_done(Seek *seek)
{
    gtid_set_done(&seek->before);
}
/* already: what the server has without having it in its log (MySQL's gtid_purged); may be NULL. */
void seek_init(Seek *seek, const GtidSet *wanted, const GtidSet *already, bool checksums);
SeekResult seek_event(Seek *seek, const uint8_t *data, size_t bytes, Error *err);
/* The log is over: SEEK_FOUND at its end, or SEEK_OTHER. */
SeekResult seek_end(Seek *seek, Error *err);
