/* See replay.h. */
#include "agent/capture/mysql/replay.h"

#include <string.h>

#include "agent/capture/mysql/unpack.h"
#include "agent/capture/mysql/xa.h"
#include "common/mem.h"

#define ANSWER_MS 60000

struct MyReplay {
    const Mysql *mysql;
    MYSQL *connection;
    Wire wire;
    bool checksums;
};

void my_replay_free(MyReplay *replay)
{
    if (!replay)
        return;
    wire_done(&replay->wire);
    my_close(replay->connection);
    free(replay);
}

static MyReplay *open_at(const Mysql *mysql, uint64_t place, Error *err)
{
    AUTO(my_replay_free) MyReplay *replay = mem_zalloc(sizeof *replay);
    replay->mysql = mysql;
    replay->wire.fd = -1;
    replay->connection = mysql_connect(mysql, err);
    if (!replay->connection ||
        !my_stream_announce(mysql, replay->connection, &replay->checksums, err) ||
        !my_stream_ask(mysql, replay->connection, place, 0, err))
        return NULL;
    my_packet_init(&replay->wire, replay->connection, -1);
    return TAKE(replay);
}

/* *ret NULL: the log's end. */
static bool next(MyReplay *replay, const uint8_t **ret, size_t *ret_bytes, Error *err)
{
    Reader packet;
    if (!patience_lasts(&replay->mysql->patience))
        return error_set(err, ERROR_RETRY, "Stopped", "told to stop");
    wire_rest(&replay->wire);
    return my_packet_take(&replay->wire, ANSWER_MS, &packet, err) &&
           my_stream_packet(replay->mysql, packet, ret, ret_bytes, err);
}

bool my_replay_next(MyReplay *replay, const uint8_t **ret, size_t *ret_bytes, Error *err)
{
    if (!next(replay, ret, ret_bytes, err))
        return false;
    return *ret || error_set(err, ERROR_RETRY, "StreamEnded", "the server ended the stream");
}

/* --- searching --- */

typedef struct Search {
    const Mysql *mysql;
    const char *xid;
    BinlogFormat format;
    uint64_t wanted_file, file, offset, begins; /* of the transaction that is being read */
    uint64_t before, found;
    bool over;
} Search;

static bool look(Search *search, const BinlogEvent *event, Error *err)
{
    char xid[XID_TEXT_BYTES];
    bool one_phase;
    if (event->type != EVENT_XA_PREPARE)
        return true;
    if (!xid_of_event(event, xid, &one_phase, err))
        return false;
    if (!one_phase && strcmp(xid, search->xid) == 0)
        search->found = search->begins;
    return true;
}

static bool look_inside(Search *search, const BinlogEvent *event, Error *err)
{
    BinlogEvent each;
    bool ends = false;
    AUTO(payload_free) Payload *payload = payload_open(event, &search->format, err);
    while (payload && !ends) {
        if (!payload_next(payload, &each, &ends, err) || (!ends && !look(search, &each, err)))
            return false;
    }
    return payload != NULL;
}

static bool search_event(Search *search, const uint8_t *data, size_t bytes, Error *err)
{
    BinlogEvent event;
    RotateEvent rotate;
    size_t base;
    if (!binlog_event(&search->format, data, bytes, &event, err))
        return false;
    if (event.type == EVENT_ROTATE) {
        search->offset = PLACE_FIRST_OFFSET;
        if (!rotate_read(&event, &rotate, err) ||
            !place_parse_file(rotate.name, rotate.name_bytes, &search->file, &base, err))
            return false;
        search->over = search->file != search->wanted_file;
        return true;
    }
    if (!(event.flags & BINLOG_FLAG_ARTIFICIAL) && event.end)
        search->offset = place_offset_after(search->offset, event.end);
    if (event.type == EVENT_GTID || event.type == EVENT_ANONYMOUS_GTID ||
        event.type == EVENT_GTID_TAGGED || event.type == EVENT_MARIADB_GTID) {
        uint64_t begins = search->offset > event.bytes ? search->offset - event.bytes : 0;
        if (!my_place(search->mysql, search->file, begins, &search->begins, err))
            return false;
        search->over = search->begins >= search->before;
        return true;
    }
    return event.type == EVENT_PAYLOAD ? look_inside(search, &event, err)
                                       : look(search, &event, err);
}

static bool search_file(Search *search, uint64_t file, Error *err)
{
    uint64_t head;
    if (!my_place(search->mysql, file, PLACE_FIRST_OFFSET, &head, err))
        return false;
    AUTO(my_replay_free) MyReplay *reader = open_at(search->mysql, head, err);
    if (!reader)
        return false;
    search->format = (BinlogFormat){.checksums = reader->checksums};
    search->wanted_file = search->file = file;
    search->over = false;
    while (!search->over) {
        const uint8_t *event;
        size_t bytes;
        if (!next(reader, &event, &bytes, err))
            return false;
        if (!event)
            break;
        if (!search_event(search, event, bytes, err))
            return false;
    }
    return true;
}

static bool find(Mysql *mysql, const char *xid, uint64_t before, uint64_t *ret, Error *err)
{
    Search search = {.mysql = mysql, .xid = xid, .before = before};
    if (!mysql_query_open(mysql, err))
        return false;
    AUTO(my_result_free)
    MYSQL_RES *files = my_query(mysql->query, &mysql->patience, "SHOW BINARY LOGS", err);
    if (!files)
        return false;
    for (uint64_t i = mysql_num_rows(files); i > 0 && !search.found; i--) {
        uint64_t file;
        size_t base;
        mysql_data_seek(files, i - 1);
        MYSQL_ROW row = mysql_fetch_row(files);
        if (!row || !row[0] || !place_parse_file(row[0], strlen(row[0]), &file, &base, NULL) ||
            file + mysql->file_shift > place_file(before))
            continue;
        if (!search_file(&search, file, err))
            return false;
    }
    *ret = search.found;
    return search.found || log_purged("what an XA transaction prepared that commits now", err);
}

MyReplay *my_replay_new(Mysql *mysql, const char *xid, uint64_t place, uint64_t before, Error *err)
{
    if (!place && !find(mysql, xid, before, &place, err))
        return NULL;
    return open_at(mysql, place, err);
}
