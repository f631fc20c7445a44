/* The binlog's events.
 *
 *   MySQL     a GTID (or anonymous) event, then: Query BEGIN, table maps and rows, Xid or Query
 *             COMMIT; or a Query that is its own transaction (DDL); or a payload, in which all
 *             behind the GTID stands compressed
 *   MariaDB   a GTID event, which stands for BEGIN, table maps and rows, Xid or Query COMMIT; or
 *             with a flag, one Query
 *
 * A transaction in the log is committed, so its rows are handed out as they come; but one of XA,
 * which is in the log when it is prepared: xa.h. Where in
 * its file an event ends is in its header, modulo 2^32; what the server makes for us (its end is 0,
 * or it is artificial) stands nowhere. */
#include <stdio.h>
#include <string.h>

#include "agent/capture/mysql/log_private.h"
#include "common/mem.h"

MyLog *mylog_new(const MyLogOptions *options)
{
    MyLog *log = mem_zalloc(sizeof *log);
    log->options = *options;
    log->format.checksums = options->checksums;
    builders_init(&log->builders, options->table_count, options->origins);
    log->map_slots = MAPS_FIRST;
    log->maps = mem_array(log->map_slots, sizeof *log->maps);
    if (options->origins)
        log->origins = my_origins_new(&log->builders);
    return log;
}

void mylog_free(MyLog *log)
{
    if (!log)
        return;
    mylog_drop_maps(log);
    builders_done(&log->builders);
    payload_free(log->payload);
    prepared_done(&log->prepared);
    my_origins_free(log->origins);
    bytes_done(&log->unpacked);
    free(log->maps);
    free(log);
}

bool mylog_take(MyLog *log, Change *ret)
{
    return builders_take(&log->builders, ret);
}

static void put_commit(MyLog *log)
{
    Change ended = {.kind = CHANGE_COMMIT, .row = log->at};
    if (log->options.commits && my_origins_end(log->origins, log->end, &ended))
        *builders_push(&log->builders, CHANGE_COMMIT) = ended;
}

static void end_transaction(MyLog *log, uint32_t time)
{
    bool inside = log->in_transaction;
    if (inside && log->options.anchors)
        my_anchors_add(log->options.anchors, log->gtid.anonymous ? NULL : &log->gtid.gtid);
    log->in_transaction = log->is_xa = log->has_rows = log->begun = false;
    log->commit_us = (int64_t)time * 1000000;
    log->first_us = log->first_us ? log->first_us : log->commit_us;
    log->end = place_of(log->file, log->offset);
    if (log->origins && inside)
        put_commit(log);
}

static bool has_word(const QueryEvent *query, const char *word)
{
    return memmem(query->text, query->text_bytes, word, strlen(word)) != NULL;
}

static void want_prepared(MyLog *log, const char *xid, uint64_t place, uint32_t time)
{
    snprintf(log->replay.xid, sizeof log->replay.xid, "%s", xid);
    log->replay.state = REPLAY_WANTED;
    log->replay.place = place;
    log->replay.time = time;
}

/* XA START, END, COMMIT, ROLLBACK. What is prepared is an event of its own. */
static bool on_xa(MyLog *log, const BinlogEvent *event, const QueryEvent *query, Error *err)
{
    char xid[XID_TEXT_BYTES];
    uint64_t place;
    if (has_word(query, "START") || has_word(query, "BEGIN")) {
        log->is_xa = true;
        return true;
    }
    if (log->is_xa && has_word(query, "END"))
        return true;
    if (!xid_of_query(query->text, query->text_bytes, xid))
        return mylog_refuse("a statement of XA that names no transaction", err);
    bool known = prepared_take(&log->prepared, xid, &place);
    if (has_word(query, "COMMIT") && (!known || place))
        want_prepared(log, xid, known ? place : 0, event->time);
    else
        end_transaction(log, event->time);
    return true;
}

static bool on_xa_prepare(MyLog *log, const BinlogEvent *event, Error *err)
{
    char xid[XID_TEXT_BYTES];
    bool one_phase;
    if (!xid_of_event(event, xid, &one_phase, err))
        return false;
    if (log->replay.state == REPLAY_ON) {
        if (strcmp(xid, log->replay.xid) != 0)
            return binlog_bad(event, "it is of another transaction than was asked for", err);
        log->file = log->replay.file;
        log->offset = log->replay.offset;
        log->format = log->replay.format;
        log->replay.state = REPLAY_NONE;
        mylog_drop_maps(log);
        end_transaction(log, log->replay.time);
        return true;
    }
    if (one_phase && log->xa_ours) {
        want_prepared(log, xid, log->at.major, event->time);
        return true;
    }
    if (!one_phase && !prepared_put(&log->prepared, xid, log->xa_ours ? log->at.major : 0, err))
        return false;
    end_transaction(log, event->time);
    return true;
}

static bool on_query(MyLog *log, const BinlogEvent *event, Error *err)
{
    QueryEvent query;
    if (log->replay.state == REPLAY_ON) /* its XA START and END, its savepoints */
        return true;
    if (!query_read(event, &log->unpacked, &query, err))
        return false;
    switch (query_kind(query.text, query.text_bytes)) {
    case QUERY_BEGIN:
        log->begun = true;
        if (log->origins)
            my_origins_begun(log->origins, query.thread, place_of(log->file, log->offset));
        return true;
    case QUERY_SAVEPOINT:
        return true;
    case QUERY_COMMIT:
        end_transaction(log, event->time);
        return true;
    case QUERY_ROLLBACK:
    case QUERY_ROLLBACK_TO:
        if (log->has_rows)
            return mylog_refuse(
                "rows of a captured table that were rolled back again: a transaction "
                "wrote to a table of an engine without transactions, too",
                err);
        if (query_kind(query.text, query.text_bytes) == QUERY_ROLLBACK)
            end_transaction(log, event->time);
        return true;
    case QUERY_XA:
        return on_xa(log, event, &query, err);
    case QUERY_CHANGE:
        return mylog_on_statement(log, &query, err);
    case QUERY_OTHER:
        if (!mylog_on_ddl(log, event, &query, err))
            return false;
        if (!log->begun) /* CREATE TABLE … SELECT: its rows follow */
            end_transaction(log, event->time);
        return true;
    }
    ASSERT(false);
}

/* --- the rest --- */

static bool on_gtid(MyLog *log, const BinlogEvent *event, Error *err)
{
    GtidEvent gtid;
    if (!gtid_read(event, &gtid, err))
        return false;
    if (log->in_transaction && log->has_rows)
        return binlog_bad(event, "it stands inside a transaction", err);
    if (log->offset < event->bytes)
        return binlog_bad(event, "it ends before it begins", err);
    if (log->in_transaction && log->options.anchors) /* one of which nothing says that it ends */
        my_anchors_add(log->options.anchors, log->gtid.anonymous ? NULL : &log->gtid.gtid);
    log->gtid = gtid;
    if (log->map_count > MAPS_KEPT) /* ids are given anew; each statement names its own */
        mylog_drop_maps(log);
    log->in_transaction = true;
    log->is_xa = gtid.prepared_xa;
    log->xa_ours = false;
    log->begun = gtid.gtid.mariadb && !gtid.standalone;
    log->has_rows = false;
    log->at = (RowPosition){.major = place_of(log->file, log->offset - event->bytes)};
    return !log->origins || my_origins_begin(log->origins, &gtid, err);
}

static bool on_rotate(MyLog *log, const BinlogEvent *event, Error *err)
{
    RotateEvent rotate;
    uint64_t file;
    size_t base;
    if (!rotate_read(event, &rotate, err) ||
        !place_parse_file(rotate.name, rotate.name_bytes, &file, &base, err))
        return false;
    file += log->options.file_shift;
    if (rotate.offset >> PLACE_OFFSET_BITS || file > PLACE_FILE_MAX)
        return binlog_bad(event, "its offset is impossible", err);
    if (log->placed && place_of(file, rotate.offset) < place_of(log->file, log->offset))
        return log_purged("it goes on before the place that was read: the binlogs were reset", err);
    log->file = file;
    log->offset = rotate.offset;
    log->placed = true;
    if (!log->in_transaction && place_of(log->file, log->offset) > log->end)
        log->end = place_of(log->file, log->offset);
    return !log->origins || my_origins_file(log->origins, rotate.name, rotate.name_bytes, err);
}

/* At a file's head: all that lies before it. The place at which the stream began may be of a time
 * when nobody kept that. */
static bool on_gtids_before(MyLog *log, const BinlogEvent *event, Error *err)
{
    MyAnchors *anchors = log->options.anchors;
    if (!anchors || log->in_transaction || my_anchors_known(anchors))
        return true;
    AUTO(gtid_set_done) GtidSet set;
    if (!gtids_before_read(event, &set, err))
        return false;
    my_anchors_begin(anchors, &set, log->end);
    return true;
}

static bool on_heartbeat(MyLog *log, const BinlogEvent *event, Error *err)
{
    HeartbeatEvent beat;
    uint64_t file;
    size_t base;
    if (!heartbeat_read(event, &beat, err) ||
        !place_parse_file(beat.name, beat.name_bytes, &file, &base, err))
        return false;
    file += log->options.file_shift;
    if (log->in_transaction || beat.offset >> PLACE_OFFSET_BITS || file > PLACE_FILE_MAX)
        return true;
    uint64_t place = place_of(file, beat.offset);
    if (place > log->end)
        log->end = place;
    return true;
}

static bool on_incident(const BinlogEvent *event, Error *err)
{
    IncidentEvent incident;
    if (!incident_read(event, &incident, err))
        return false;
    return error_set(err, ERROR_CONFIG, "LogIncident",
                     "the server says that its binlog lacks events (%.*s); load the tables again "
                     "with --resnapshot '*.*'",
                     (int)(incident.text_bytes < 200 ? incident.text_bytes : 200), incident.text);
}

static bool on_payload(MyLog *log, const BinlogEvent *event, Error *err)
{
    log->payload_event = *event;
    log->payload_offset = log->offset - event->bytes;
    log->payload = payload_open(&log->payload_event, &log->format, err);
    return log->payload != NULL;
}

static bool on_event(MyLog *log, const BinlogEvent *event, Error *err)
{
    if (LIKELY(rows_is_event(event->type)))
        return mylog_on_rows(log, event, err);
    switch (event->type) {
    case EVENT_TABLE_MAP:
        return mylog_on_table_map(log, event, err);
    case EVENT_QUERY:
    case EVENT_QUERY_COMPRESSED:
        return on_query(log, event, err);
    case EVENT_XID:
        end_transaction(log, event->time);
        return true;
    case EVENT_XA_PREPARE:
        return on_xa_prepare(log, event, err);
    case EVENT_GTID:
    case EVENT_ANONYMOUS_GTID:
    case EVENT_GTID_TAGGED:
    case EVENT_MARIADB_GTID:
        return on_gtid(log, event, err);
    case EVENT_PAYLOAD:
        return on_payload(log, event, err);
    case EVENT_PREVIOUS_GTIDS:
    case EVENT_GTID_LIST:
        return on_gtids_before(log, event, err);
    case EVENT_INCIDENT:
        return on_incident(event, err);
    case EVENT_STOP:
    case EVENT_FORMAT:
    case EVENT_INTVAR:
    case EVENT_RAND:
    case EVENT_USER_VAR:
    case EVENT_BEGIN_LOAD:
    case EVENT_IGNORABLE:
    case EVENT_ROWS_QUERY:
    case EVENT_TRANSACTION_CONTEXT:
    case EVENT_VIEW_CHANGE:
    case EVENT_ANNOTATE_ROWS:
    case EVENT_BINLOG_CHECKPOINT:
    case EVENT_START_ENCRYPTION:
        return true;
    default:
        break;
    }
    if (event->flags & BINLOG_FLAG_IGNORABLE)
        return true;
    return error_set(err, ERROR_CONFIG, "UnsupportedEvent",
                     "the binlog has an event of type %u (%s), which this version does not know",
                     event->type, binlog_type_name(event->type));
}

static bool begins_transaction(uint8_t type)
{
    return type == EVENT_GTID || type == EVENT_ANONYMOUS_GTID || type == EVENT_GTID_TAGGED ||
           type == EVENT_MARIADB_GTID;
}

/* What stands in the file moves our place on. */
static void move_on(MyLog *log, const BinlogEvent *event)
{
    if (event->flags & BINLOG_FLAG_ARTIFICIAL || event->end == 0)
        return;
    log->offset = place_offset_after(log->offset, event->end);
    if (!log->in_transaction && log->placed && place_of(log->file, log->offset) > log->end)
        log->end = place_of(log->file, log->offset);
}

bool mylog_wants(const MyLog *log, const char **ret_xid, uint64_t *ret_place, uint64_t *ret_before)
{
    if (log->replay.state != REPLAY_WANTED || log->payload)
        return false;
    *ret_xid = log->replay.xid;
    *ret_place = log->replay.place;
    *ret_before = log->at.major;
    return true;
}

void mylog_replay(MyLog *log)
{
    ASSERT(log->replay.state == REPLAY_WANTED && !log->payload);
    log->replay.state = REPLAY_ON;
    log->replay.file = log->file;
    log->replay.offset = log->offset;
    log->replay.format = log->format;
    mylog_drop_maps(log); /* ids may be of another time */
}

bool mylog_replaying(const MyLog *log)
{
    return log->replay.state == REPLAY_ON;
}

static bool replay_rotate(MyLog *log, const BinlogEvent *event, Error *err)
{
    RotateEvent rotate;
    size_t base;
    if (!rotate_read(event, &rotate, err) ||
        !place_parse_file(rotate.name, rotate.name_bytes, &log->file, &base, err))
        return false;
    log->file += log->options.file_shift;
    log->offset = rotate.offset;
    return (log->file <= PLACE_FILE_MAX && !(rotate.offset >> PLACE_OFFSET_BITS)) ||
           binlog_bad(event, "its offset is impossible", err);
}

/* Of what was prepared only rows count: it has begun and ends in another place. */
static bool replay_event(MyLog *log, const BinlogEvent *event, Error *err)
{
    if (event->type == EVENT_ROTATE)
        return replay_rotate(log, event, err);
    if (!(event->flags & BINLOG_FLAG_ARTIFICIAL) && event->end)
        log->offset = place_offset_after(log->offset, event->end);
    if (begins_transaction(event->type)) {
        if (log->offset < event->bytes)
            return binlog_bad(event, "it ends before it begins", err);
        log->replay.begins = log->offset - event->bytes;
        return true;
    }
    if (rows_is_event(event->type) || event->type == EVENT_TABLE_MAP ||
        event->type == EVENT_PAYLOAD || event->type == EVENT_XA_PREPARE)
        return on_event(log, event, err);
    return true;
}

bool mylog_event(MyLog *log, const uint8_t *data, size_t bytes, Error *err)
{
    BinlogEvent event;
    ASSERT(!log->payload);
    if (!binlog_event(&log->format, data, bytes, &event, err))
        return false;
    if (log->replay.state == REPLAY_ON)
        return replay_event(log, &event, err);
    if (log->replay.state == REPLAY_WANTED)
        return binlog_bad(&event, "it comes before what was prepared was read", err);
    if (event.type == EVENT_ROTATE)
        return on_rotate(log, &event, err);
    if (event.type == EVENT_HEARTBEAT || event.type == EVENT_HEARTBEAT_V2)
        return on_heartbeat(log, &event, err);
    if (!log->placed && event.type != EVENT_FORMAT)
        return binlog_bad(&event, "nothing says yet in which file it stands", err);
    /* A GTID begins a transaction, so what came before it is over; its own place is not. */
    bool inside = log->in_transaction;
    log->in_transaction = log->in_transaction || begins_transaction(event.type);
    move_on(log, &event);
    log->in_transaction = inside;
    return on_event(log, &event, err);
}

bool mylog_unpack(MyLog *log, Error *err)
{
    BinlogEvent event;
    bool ends;
    if (!payload_next(log->payload, &event, &ends, err))
        return false;
    if (ends) {
        payload_free(TAKE(log->payload));
        if (log->in_transaction && log->replay.state != REPLAY_WANTED)
            return binlog_bad(&log->payload_event, "its transaction does not end", err);
        return true;
    }
    log->payload_offset += event.bytes;
    return on_event(log, &event, err);
}
