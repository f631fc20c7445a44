/* See seek.h. */
#include "agent/capture/mysql/seek.h"

#include <string.h>

#include "agent/capture/mysql/place.h"

void seek_init(Seek *seek, const GtidSet *wanted, const GtidSet *already, bool checksums)
{
    *seek = (Seek){.wanted = wanted,
                   .before = already ? gtid_set_copy(already) : gtid_set_new(wanted->mariadb),
                   .format = {.checksums = checksums, .mariadb = wanted->mariadb}};
}

static SeekResult differ(const Seek *seek, const Gtid *next, Error *err)
{
    char gtid[GTID_TEXT_BYTES];
    AUTO(mem_free) char *wanted = gtid_set_format(seek->wanted);
    AUTO(mem_free) char *before = gtid_set_format(&seek->before);
    error_set(err, ERROR_DATA, "GtidsDiffer",
              "the tables have the transactions %.150s; the server's log has %.150s, and then %s%s",
              wanted, *before ? before : "none of them",
              next ? "one that the tables lack: " : "ends", next ? gtid_format(next, gtid) : "");
    return SEEK_OTHER;
}

/* Before a transaction that is not in the set, or at the log's end. */
static SeekResult arrive(Seek *seek, uint64_t place, const Gtid *next, Error *err)
{
    if (!gtid_set_equal(&seek->before, seek->wanted))
        return differ(seek, next, err);
    seek->place = place;
    return SEEK_FOUND;
}

static SeekResult on_rotate(Seek *seek, const BinlogEvent *event, Error *err)
{
    RotateEvent rotate;
    size_t base;
    if (!rotate_read(event, &rotate, err) ||
        !place_parse_file(rotate.name, rotate.name_bytes, &seek->file, &base, err))
        return SEEK_FAILED;
    if (rotate.offset >> PLACE_OFFSET_BITS) {
        binlog_bad(event, "its offset is impossible", err);
        return SEEK_FAILED;
    }
    seek->offset = rotate.offset;
    return SEEK_ON;
}

/* Of the files that follow it says what was read. */
static SeekResult on_head(Seek *seek, const BinlogEvent *event, Error *err)
{
    AUTO(gtid_set_done) GtidSet set;
    if (!gtids_before_read(event, &set, err))
        return SEEK_FAILED;
    if (seek->headed)
        return SEEK_ON;
    seek->headed = true;
    if (set.mariadb != seek->wanted->mariadb) {
        binlog_bad(event, "it is of another kind of server", err);
        return SEEK_FAILED;
    }
    if (!gtid_set_contains(seek->wanted, &set))
        return SEEK_BEHIND;
    gtid_set_join(&seek->before, &set);
    return SEEK_ON;
}

static SeekResult on_gtid(Seek *seek, const BinlogEvent *event, Error *err)
{
    GtidEvent gtid;
    if (!gtid_read(event, &gtid, err))
        return SEEK_FAILED;
    if (gtid.anonymous || gtid.gtid.mariadb != seek->wanted->mariadb) {
        error_set(err, ERROR_DATA, "GtidsDiffer",
                  "the server's log has transactions without a GTID");
        return SEEK_OTHER;
    }
    if (!gtid_set_has(seek->wanted, &gtid.gtid)) {
        if (seek->offset < event->bytes) {
            binlog_bad(event, "it ends before it begins", err);
            return SEEK_FAILED;
        }
        return arrive(seek, place_of(seek->file, seek->offset - event->bytes), &gtid.gtid, err);
    }
    (void)gtid_set_add(&seek->before, &gtid.gtid);
    return SEEK_ON;
}

SeekResult seek_event(Seek *seek, const uint8_t *data, size_t bytes, Error *err)
{
    BinlogEvent event;
    if (!binlog_event(&seek->format, data, bytes, &event, err))
        return SEEK_FAILED;
    if (event.type == EVENT_ROTATE)
        return on_rotate(seek, &event, err);
    if (!(event.flags & BINLOG_FLAG_ARTIFICIAL) && event.end)
        seek->offset = place_offset_after(seek->offset, event.end);
    switch (event.type) {
    case EVENT_PREVIOUS_GTIDS:
    case EVENT_GTID_LIST:
        return on_head(seek, &event, err);
    case EVENT_GTID:
    case EVENT_ANONYMOUS_GTID:
    case EVENT_GTID_TAGGED:
    case EVENT_MARIADB_GTID:
        return on_gtid(seek, &event, err);
    default:
        return SEEK_ON;
    }
}

SeekResult seek_end(Seek *seek, Error *err)
{
    return arrive(seek, place_of(seek->file, seek->offset), NULL, err);
}
