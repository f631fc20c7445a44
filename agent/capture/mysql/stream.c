/* The log, as a replica gets it: COM_BINLOG_DUMP from a place on.
 *
 *   dump      uint32 offset, uint16 flags (1: up to the end only), uint32 server id, file's name
 *   answer    a packet per event: 0, the event; or an error; or EOF when the server ends it
 *
 * What is asked of the server before, as variables of the session: checksums as in its files, a
 * heartbeat each second, and that this replica understands GTIDs (MariaDB). One agent alone holds
 * the lock of the Connector's name, and that of its number as a replica, in the very session that
 * reads, so that a second one is noticed; the server ends them together. Of two replicas with one
 * number a server cuts the first off, which would come again and cut the other off.
 *
 * Nothing is told to the server: it keeps its log by its own rules, and where we stand is known
 * beside the lake alone (capture.h).
 *
 * Threads: everything from one, but my_stream_confirm and my_stream_figures.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump.html */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/linger/linger.h"
#include "agent/capture/mysql/binlog.h"
#include "agent/capture/mysql/headroom.h"
#include "agent/capture/mysql/log.h"
#include "agent/capture/mysql/replay.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define EVENTS_PER_CLOCK 128
#define TRANSACTION_BYTES ((uint64_t)256 << 20)
#define DUMP_TO_END 1
#define BEAT_NS "1000000000"
#define BLOCKED_SECONDS                                                                            \
    "86400" /* while nobody takes changes, as in a copy; its log is kept so long */
#define HEADROOM_US INT64_C(10000000) /* so often the server is asked what it keeps */
#define SILENT_US INT64_C(60000000)   /* not even a heartbeat: the connection is dead */
#define LOCK_TRIES 30                 /* of a session that the server has not yet seen to be gone */
#define LOCK_PAUSE_US 100000
#define LEAVE_US 1000000

struct MyStream {
    Mysql *mysql;
    MYSQL *connection;
    Wire wire;
    MyLog *log;
    MyReplay *replay; /* what was prepared by XA, read again; NULL: nothing */
    int64_t now_us;
    Linger linger;
    int64_t heard_us; /* when anything came last */
    bool any_batch;
    _Atomic(uint64_t) confirmed;
    Headroom headroom;
    int64_t headroom_due_us;
    LogHeadroom kept; /* as it was asked for last */
    pthread_mutex_t figures_lock;
    CaptureFigures figures;
};

static bool soon(void *context)
{
    const int64_t *until_us = context;
    return clock_mono_us() < *until_us;
}

/* The server sees that a reader is gone when it next writes to it, a heartbeat or two later, and
 * keeps the lock until then: whoever goes on would have to wait. A server that does not answer is
 * left alone. */
static void end_session(const MyStream *stream)
{
    const Mysql *mysql = stream->mysql;
    if (!stream->connection || !mysql->query)
        return;
    int64_t until_us = clock_mono_us() + LEAVE_US;
    const Patience patience = {soon, &until_us};
    AUTO(mem_free) char *sql = mem_format("KILL %lu", mysql_thread_id(stream->connection));
    Error unsaid;
    (void)!my_command(mysql->query, &patience, sql, &unsaid);
}

void my_stream_close(MyStream *stream)
{
    if (!stream)
        return;
    end_session(stream);
    wire_done(&stream->wire);
    my_replay_free(stream->replay);
    mylog_free(stream->log);
    my_close(stream->connection);
    pthread_mutex_destroy(&stream->figures_lock);
    free(stream);
}

/* --- beginning --- */

static bool in_use(const Mysql *mysql, Error *err)
{
    return error_set(err, ERROR_RETRY, "ConnectorActive",
                     "another agent reads the binlog for Connector %s (it holds the lock %s at the "
                     "server); run one agent per Connector",
                     mysql->spec->meta.name, mysql->lock);
}

static bool number_in_use(const Mysql *mysql, const char *who, Error *err)
{
    return error_set(err, ERROR_CONFIG, "ServerIdTaken",
                     "%s reads the server's binlog as replica %" PRIu32
                     ", too; give Connector %s a spec.source.mysql.serverId that no other replica "
                     "of the server has",
                     who, mysql->server_id, mysql->spec->meta.name);
}

/* What ends with the session that holds it; *ret_got false: another one has it, and keeps it. */
static bool take_lock(MyStream *stream, const char *name, bool *ret_got, Error *err)
{
    const Mysql *mysql = stream->mysql;
    AUTO(mem_free) char *sql = mem_format("SELECT GET_LOCK('%s', 0)", name);
    *ret_got = false;
    for (int i = 0; i < LOCK_TRIES && !*ret_got; i++) {
        if (i)
            clock_sleep_us(LOCK_PAUSE_US);
        AUTO(mem_free) char *got = my_value(stream->connection, &mysql->patience, sql, err);
        if (!got)
            return false;
        *ret_got = strcmp(got, "1") == 0;
        if (!patience_lasts(&mysql->patience))
            break;
    }
    return true;
}

static bool take_locks(MyStream *stream, Error *err)
{
    const Mysql *mysql = stream->mysql;
    char number[32];
    bool got;
    snprintf(number, sizeof number, "firn_replica_%" PRIu32, mysql->server_id);
    if (!take_lock(stream, mysql->lock, &got, err))
        return false;
    if (!got)
        return in_use(mysql, err);
    return take_lock(stream, number, &got, err) &&
           (got || number_in_use(mysql, "the agent of another Connector", err));
}

bool my_stream_unread(Mysql *mysql, Error *err)
{
    AUTO(mem_free) char *sql = mem_format("SELECT IS_FREE_LOCK('%s')", mysql->lock);
    AUTO(mem_free) char *is_free = my_value(mysql->query, &mysql->patience, sql, err);
    return is_free && (strcmp(is_free, "1") == 0 || in_use(mysql, err));
}

bool my_stream_announce(const Mysql *mysql, MYSQL *connection, bool *ret_checksums, Error *err)
{
    const Patience *patience = &mysql->patience;
    AUTO(mem_free)
    char *sums = my_value(connection, patience, "SELECT @@global.binlog_checksum", err);
    if (!sums)
        return false;
    *ret_checksums = strcmp(sums, "NONE") != 0;
    return my_command(connection, patience,
                      "SET @master_binlog_checksum = @@global.binlog_checksum, "
                      "@source_binlog_checksum = @@global.binlog_checksum, "
                      "@master_heartbeat_period = " BEAT_NS ", @source_heartbeat_period = " BEAT_NS
                      ", @mariadb_slave_capability = 4, @@session.net_write_timeout "
                      "= " BLOCKED_SECONDS,
                      err);
}

bool my_stream_ask(const Mysql *mysql, MYSQL *connection, uint64_t place, uint32_t replica,
                   Error *err)
{
    uint8_t head[10] = {0};
    /* Nothing begins behind 4 GiB: the file that ends there is the one transaction's. */
    if (place_offset(place) > UINT32_MAX)
        place = place_of(place_file(place) + 1, PLACE_FIRST_OFFSET);
    char name[PLACE_NAME_BYTES];
    if (!my_place_file(mysql, place, name, err))
        return false;
    uint32_t offset = (uint32_t)place_offset(place);
    uint16_t flags = replica ? 0 : DUMP_TO_END;
    memcpy(head, &offset, 4);
    memcpy(head + 4, &flags, 2);
    memcpy(head + 6, &replica, 4);
    Bytes content = {0};
    bytes_put(&content, head, sizeof head);
    bytes_put(&content, name, strlen(name));
    bool ok = my_packet_command(connection, COM_BINLOG_DUMP, content.data, content.used, err);
    bytes_done(&content);
    return ok;
}

/* By this a server knows two sessions for one replica's; MySQL's asks for nothing else. */
static bool name_replica(MyStream *stream, Error *err)
{
    const Mysql *mysql = stream->mysql;
    AUTO(mem_free)
    char *sql = mem_format(
        "SET @slave_uuid = '%08x-0000-0000-0000-%012" PRIx64 "', @replica_uuid = @slave_uuid",
        mysql->server_id, (uint64_t)strtoull(mysql->lock + 5, NULL, 16) & UINT64_C(0xffffffffffff));
    return my_command(stream->connection, &mysql->patience, sql, err);
}

bool my_stream_start(Capture *capture, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    ASSERT(!mysql->stream);
    MyStream *stream = mem_zalloc(sizeof *stream);
    pthread_mutex_init(&stream->figures_lock, NULL);
    stream->mysql = mysql;
    stream->wire.fd = -1;
    stream->connection = mysql_connect(mysql, err);
    bool checksums;
    if (!stream->connection || !take_locks(stream, err) || !name_replica(stream, err) ||
        !my_stream_announce(mysql, stream->connection, &checksums, err) ||
        !my_stream_ask(mysql, stream->connection, mysql->start.major, mysql->server_id, err)) {
        my_stream_close(stream);
        return error_wrap(err, "reading the binlog");
    }
    stream->log =
        mylog_new(&(MyLogOptions){.tables = mysql->tables,
                                  .table_count = mysql->table_count,
                                  .collations = &mysql->charsets,
                                  .learn = my_table_learn,
                                  .tell = mysql->options.statements ? my_statement_tell : NULL,
                                  .context = mysql,
                                  .anchors = mysql->gtids ? mysql->anchors : NULL,
                                  .file_shift = mysql->file_shift,
                                  .checksums = checksums,
                                  .transaction_bytes = TRANSACTION_BYTES,
                                  .origins = mysql->options.origins,
                                  .commits = mysql->options.commits});
    linger_init(&stream->linger, mysql->options.linger_us);
    my_packet_init(&stream->wire, stream->connection, mysql->marks.wake_fd);
    stream->now_us = stream->heard_us = clock_mono_us();
    mysql->stream = stream;
    char file[PLACE_NAME_BYTES];
    if (my_place_file(mysql, mysql->start.major, file, NULL))
        log_info("following the log", LOG_T("source", mysql->source), LOG_T("file", file),
                 LOG_U("offset", place_offset(mysql->start.major)));
    return true;
}

/* --- figures --- */

static void publish_figures(MyStream *stream)
{
    pthread_mutex_lock(&stream->figures_lock);
    stream->figures.received = mylog_position(stream->log);
    stream->figures.confirmed.major = atomic_load(&stream->confirmed);
    stream->figures.source_end = mylog_end(stream->log);
    stream->figures.changes = mylog_changes(stream->log);
    stream->figures.bytes = stream->wire.bytes_read;
    stream->figures.headroom = stream->kept;
    pthread_mutex_unlock(&stream->figures_lock);
}

/* Of what is not durable yet; before the first confirmation, of where the stream began. What goes
 * wrong is passed over: it is asked again. */
static void measure_headroom(MyStream *stream)
{
    Mysql *mysql = stream->mysql;
    LogKept kept;
    uint64_t place = atomic_load(&stream->confirmed);
    if (stream->now_us < stream->headroom_due_us)
        return;
    stream->headroom_due_us = stream->now_us + clock_asked_us("FIRN_HEADROOM_MS", HEADROOM_US);
    place = place ? place : mysql->start.major;
    Error why;
    if (!mysql_query_open(mysql, &why) || !check_log_kept(mysql, place, &kept, &why))
        return;
    headroom_confirmed(&stream->headroom, place);
    stream->headroom.expire_us = kept.expire_us;
    stream->kept = headroom_now(&stream->headroom, clock_wall_us(), kept.bytes, kept.there);
}

bool my_stream_idle(Capture *capture, Error *err)
{
    (void)err; /* the server asks for no answer, and ends nothing for want of one */
    MyStream *stream = mysql_of(capture)->stream;
    if (stream) {
        stream->now_us = stream->heard_us = clock_mono_us();
        measure_headroom(stream);
        publish_figures(stream);
    }
    return true;
}

void my_stream_confirm(Capture *capture, RowPosition durable)
{
    MyStream *stream = mysql_of(capture)->stream;
    if (!stream)
        return;
    my_anchors_confirm(mysql_of(capture)->anchors, durable.major);
    uint64_t old = atomic_load_explicit(&stream->confirmed, memory_order_relaxed);
    while (durable.major > old &&
           !atomic_compare_exchange_weak_explicit(&stream->confirmed, &old, durable.major,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

void my_stream_figures(const Capture *capture, CaptureFigures *ret)
{
    MyStream *stream = ((const Mysql *)capture)->stream;
    *ret = (CaptureFigures){0};
    if (!stream)
        return;
    pthread_mutex_lock(&stream->figures_lock);
    *ret = stream->figures;
    pthread_mutex_unlock(&stream->figures_lock);
}

/* --- reading --- */

/* What a server says when it can't read the log to us; its number is the same for all of it. */
static bool stream_error(const Mysql *mysql, Reader packet, Error *err)
{
    (void)my_packet_error(packet, err);
    if (err && strstr(err->message, "same server_uuid/server_id"))
        return number_in_use(mysql, "another replica", err);
    if (!err || strcmp(err->code, "LogUnreadable") != 0)
        return false;
    char said[301];
    snprintf(said, sizeof said, "%.300s", err->message);
    if (strstr(said, "Could not find first log file") || strstr(said, "purged") ||
        strstr(said, "impossible position"))
        return log_purged(said, err);
    return error_set(err, ERROR_RETRY, "LogUnreadable", "the server can't read its binlog: %s",
                     said);
}

bool my_stream_packet(const Mysql *mysql, Reader packet, const uint8_t **ret_event,
                      size_t *ret_bytes, Error *err)
{
    const uint8_t *at;
    *ret_event = NULL;
    if (my_packet_is_error(&packet))
        return stream_error(mysql, packet, err);
    if (my_packet_is_eof(&packet))
        return true;
    if (!reader_take(&packet, 1, &at) || *at != 0)
        return error_set(err, ERROR_RETRY, "BadMessage", "a packet of the log is none");
    *ret_bytes = reader_left(&packet);
    *ret_event = packet.at;
    return true;
}

static bool on_packet(MyStream *stream, Reader packet, Error *err)
{
    const uint8_t *event;
    size_t bytes;
    if (!my_stream_packet(stream->mysql, packet, &event, &bytes, err))
        return false;
    if (!event)
        return error_set(err, ERROR_RETRY, "StreamEnded", "the server ended the stream");
    bool beat = bytes >= BINLOG_HEADER_BYTES &&
                (event[4] == EVENT_HEARTBEAT || event[4] == EVENT_HEARTBEAT_V2);
    if (beat)
        linger_beat(&stream->linger, stream->now_us);
    else
        linger_data(&stream->linger, stream->now_us);
    return mylog_event(stream->log, event, bytes, err);
}

/* An event of what was prepared, or the beginning or the end of that. *ret_done false: there is
 * nothing of it to do. */
static bool replay_some(MyStream *stream, bool *ret_done, Error *err)
{
    const char *xid;
    uint64_t place, before;
    const uint8_t *event;
    size_t bytes;
    *ret_done = true;
    if (mylog_wants(stream->log, &xid, &place, &before)) {
        stream->replay = my_replay_new(stream->mysql, xid, place, before, err);
        if (!stream->replay)
            return error_wrap(err, "the XA transaction %s", xid);
        mylog_replay(stream->log);
        CRASH_POINT("mysql-xa-committed");
    } else if (mylog_replaying(stream->log)) {
        return my_replay_next(stream->replay, &event, &bytes, err) &&
               mylog_event(stream->log, event, bytes, err);
    } else {
        my_replay_free(TAKE(stream->replay));
        *ret_done = false;
    }
    return true;
}

/* A word that somebody who reads beside waits for. */
static bool say_mark(MyStream *stream)
{
    MyAnchors *anchors = stream->mysql->anchors;
    uint64_t place;
    if (!mylog_rests(stream->log, &place))
        return false;
    AUTO(mem_free) char *text = my_marks_due(&stream->mysql->marks, place);
    if (!text)
        return false;
    mylog_say(stream->log, text);
    my_anchors_mark(anchors, place);
    my_marks_said(&stream->mysql->marks, place,
                  my_anchors_at(anchors, (RowPosition){.major = place}));
    if (!stream->linger.first_us)
        stream->linger.first_us = stream->now_us;
    return true;
}

/* Decodes what is in the buffer until a change is ready (*ret filled), or nothing is left, or it is
 * time to look at the clock. WIRE_EMPTY: the buffer is used up. */
static WireResult decode_some(MyStream *stream, Change *ret, Error *err)
{
    bool due = linger_due(&stream->linger, stream->now_us);
    for (int i = 0; i < EVENTS_PER_CLOCK; i++) {
        if (mylog_take(stream->log, ret))
            return WIRE_OK;
        if (due && mylog_can_checkpoint(stream->log)) {
            mylog_checkpoint(stream->log);
            linger_done(&stream->linger);
            due = false;
            continue;
        }
        if (mylog_unpacking(stream->log)) {
            if (!mylog_unpack(stream->log, err))
                return WIRE_FAILED;
            CRASH_POINT("mysql-unpacking");
            continue;
        }
        if (say_mark(stream))
            continue;
        bool replayed;
        if (!replay_some(stream, &replayed, err))
            return WIRE_FAILED;
        if (replayed)
            continue;
        wire_rest(&stream->wire);
        Reader packet;
        WireResult result = my_packet_next(&stream->wire, &packet, err);
        if (result != WIRE_OK)
            return result;
        if (!on_packet(stream, packet, err))
            return WIRE_FAILED;
    }
    return WIRE_OK;
}

static bool read_some(MyStream *stream, int64_t deadline_us, Error *err)
{
    WireResult result = wire_read_on(&stream->wire, stream->now_us, err);
    if (result == WIRE_OK) {
        stream->heard_us = stream->wire.read_us;
        return true;
    }
    if (result == WIRE_FAILED)
        return false;
    if (stream->now_us - stream->heard_us > SILENT_US)
        return error_set(err, ERROR_RETRY, "ConnectionLost", "the server is silent");
    int wait_ms = linger_wait_ms(&stream->linger, mylog_can_checkpoint(stream->log), deadline_us,
                                 stream->now_us);
    result = wire_wait(&stream->wire, wait_ms, err);
    if (result == WIRE_WOKEN)
        my_marks_woken(&stream->mysql->marks);
    return result != WIRE_FAILED;
}

static void hand_out(MyStream *stream, Change *ret)
{
    if (ret->kind == CHANGE_CHECKPOINT) {
        memcpy(ret->position.source, stream->mysql->source, sizeof ret->position.source);
        headroom_mark(&stream->headroom, ret->position.at.major, mylog_oldest_us(stream->log));
    }
    if (ret->kind == CHANGE_BATCH) {
        if (!stream->any_batch)
            CRASH_POINT("mysql-stream-first-batch");
        if (mylog_in_transaction(stream->log))
            CRASH_POINT("mysql-stream-mid-transaction");
        stream->any_batch = true;
    }
}

bool my_stream_next(Capture *capture, int timeout_ms, Change *ret, Error *err)
{
    MyStream *stream = mysql_of(capture)->stream;
    ASSERT(stream);
    *ret = (Change){.kind = CHANGE_NONE};
    stream->now_us = clock_mono_us();
    int64_t deadline_us = stream->now_us + (int64_t)timeout_ms * 1000;
    for (;;) {
        WireResult result = decode_some(stream, ret, err);
        if (result == WIRE_FAILED)
            break;
        if (ret->kind == CHANGE_NONE) {
            if (result == WIRE_EMPTY && !read_some(stream, deadline_us, err))
                break;
            stream->now_us = clock_mono_us();
            if (stream->now_us < deadline_us)
                continue;
        }
        hand_out(stream, ret);
        measure_headroom(stream);
        publish_figures(stream);
        return true;
    }
    publish_figures(stream);
    return error_wrap(err, "binlog of %s", stream->mysql->source);
}
