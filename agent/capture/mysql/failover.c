/* A position of another server's log, found in this one's: after a failover, or when a server was
 * restored under another identity. What is kept with a position is the GTID set before it
 * (anchors.h); the place here is where this server's own log has that set before it, and nothing
 * else (seek.h). It is looked for in the files themselves, from the newest whose head tells of
 * nothing more; what a server says of its sets is not of one moment with its log's end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/mysql/mysql.h"
#include "agent/capture/mysql/seek.h"
#include "common/log.h"
#include "common/mem.h"

#define ANSWER_MS 60000

/* --- what was found --- */

static void shift_files(Mysql *mysql, uint64_t shift)
{
    mysql->file_shift = shift;
    snprintf(mysql->source, sizeof mysql->source, "%.100s+%" PRIu64, mysql->server, shift);
}

/* Positions of this server that were passed on say by how much its files were shifted. */
static void take_shift(Mysql *mysql, const Position *position)
{
    uint64_t shift;
    char more;
    size_t bytes = strlen(mysql->server);
    if (mysql->options.origins && strncmp(position->source, mysql->server, bytes) == 0 &&
        sscanf(position->source + bytes, "+%8" SCNu64 "%c", &shift, &more) == 1)
        shift_files(mysql, shift);
}

/* Rows are passed on with their places: those of this server come behind the other's. */
static bool shift_behind(Mysql *mysql, uint64_t then, uint64_t *place, Error *err)
{
    if (!mysql->options.origins || *place >= then)
        return true;
    shift_files(mysql, place_file(then) + 1 - place_file(*place));
    return my_place(mysql, place_file(*place), place_offset(*place), place, err);
}

void my_adopted_forget(Mysql *mysql)
{
    for (size_t i = 0; i < mysql->adopted_count; i++)
        free(mysql->adopted[i].gtids);
    free(mysql->adopted);
    mysql->adopted = NULL;
    mysql->adopted_count = 0;
}

static const Adopted *find_adopted(const Mysql *mysql, const Position *then)
{
    for (size_t i = 0; i < mysql->adopted_count; i++) {
        const Position *each = &mysql->adopted[i].then;
        if (row_position_compare(each->at, then->at) == 0 &&
            strcmp(each->source, then->source) == 0)
            return &mysql->adopted[i];
    }
    return NULL;
}

static void keep(Mysql *mysql, const Position *then, uint64_t place, const char *gtids)
{
    if (find_adopted(mysql, then))
        return;
    mysql->adopted = mem_regrow(mysql->adopted, mysql->adopted_count + 1, sizeof *mysql->adopted);
    mysql->adopted[mysql->adopted_count++] =
        (Adopted){*then, place, gtids ? mem_strdup(gtids) : NULL};
}

/* What lies before a place of this server, as far as anybody knows. */
static char *gtids_at(Mysql *mysql, uint64_t place)
{
    if (mysql->copy_gtids && mysql->copy_at.major == place)
        return mem_strdup(mysql->copy_gtids);
    for (size_t i = 0; i < mysql->adopted_count; i++)
        if (mysql->adopted[i].place == place && mysql->adopted[i].gtids)
            return mem_strdup(mysql->adopted[i].gtids);
    return check_gtids(mysql, place);
}

void my_anchors_start(Mysql *mysql)
{
    AUTO(mem_free) char *text = mysql->gtids ? gtids_at(mysql, mysql->start.major) : NULL;
    AUTO(gtid_set_done) GtidSet set = gtid_set_new(mysql->mariadb);
    if (text && gtid_set_parse(text, mysql->mariadb, &set, NULL))
        my_anchors_begin(mysql->anchors, &set, mysql->start.major);
    my_adopted_forget(mysql);
}

char *my_anchor(const Capture *capture, RowPosition at)
{
    const Mysql *mysql = (const Mysql *)capture;
    if (!mysql->gtids)
        return NULL;
    char *text = my_anchors_at(mysql->anchors, at);
    if (!text && mysql->copy_gtids && row_position_compare(at, mysql->copy_at) == 0)
        return mem_strdup(mysql->copy_gtids);
    return text;
}

/* --- looking --- */

static SeekResult follow(Mysql *mysql, Wire *wire, Seek *seek, Error *err)
{
    for (;;) {
        Reader packet;
        const uint8_t *event;
        size_t bytes;
        if (!patience_lasts(&mysql->patience)) {
            error_set(err, ERROR_RETRY, "Stopped", "told to stop while the binlog was searched");
            return SEEK_FAILED;
        }
        wire_rest(wire);
        if (!my_packet_take(wire, ANSWER_MS, &packet, err) ||
            !my_stream_packet(mysql, packet, &event, &bytes, err))
            return SEEK_FAILED;
        if (!event)
            return seek_end(seek, err);
        SeekResult result = seek_event(seek, event, bytes, err);
        if (result != SEEK_ON)
            return result;
    }
}

static SeekResult seek_from(Mysql *mysql, uint64_t file, const GtidSet *wanted,
                            const GtidSet *already, uint64_t *ret, Error *err)
{
    bool checksums;
    AUTO(my_close) MYSQL *connection = mysql_connect(mysql, err);
    if (!connection || !my_stream_announce(mysql, connection, &checksums, err) ||
        !my_stream_ask(mysql, connection, place_of(file, PLACE_FIRST_OFFSET), 0, err))
        return SEEK_FAILED;
    Wire wire;
    Seek seek;
    my_packet_init(&wire, connection, -1);
    seek_init(&seek, wanted, already, checksums);
    SeekResult result = follow(mysql, &wire, &seek, err);
    *ret = seek.place;
    seek_done(&seek);
    wire_done(&wire);
    return result;
}

/* MySQL: what the server has of before its log, as after a restore. */
static bool read_purged(Mysql *mysql, GtidSet *ret, Error *err)
{
    *ret = gtid_set_new(mysql->mariadb);
    if (mysql->mariadb)
        return true;
    AUTO(mem_free)
    char *text = my_value(mysql->query, &mysql->patience, "SELECT @@GLOBAL.gtid_purged", err);
    return text && gtid_set_parse(text, false, ret, err);
}

static SeekResult seek_in_files(Mysql *mysql, const GtidSet *wanted, uint64_t *ret, Error *err)
{
    SeekResult result = SEEK_BEHIND;
    AUTO(gtid_set_done) GtidSet purged = gtid_set_new(mysql->mariadb);
    if (!read_purged(mysql, &purged, err))
        return SEEK_FAILED;
    AUTO(my_result_free)
    MYSQL_RES *files = my_query(mysql->query, &mysql->patience, "SHOW BINARY LOGS", err);
    if (!files)
        return SEEK_FAILED;
    if (!gtid_set_contains(wanted, &purged))
        return SEEK_BEHIND;
    for (uint64_t i = mysql_num_rows(files); i > 0 && result == SEEK_BEHIND; i--) {
        uint64_t file;
        size_t base;
        mysql_data_seek(files, i - 1);
        MYSQL_ROW row = mysql_fetch_row(files);
        if (row && row[0] && place_parse_file(row[0], strlen(row[0]), &file, &base, NULL))
            result = seek_from(mysql, file, wanted, &purged, ret, err);
    }
    return result;
}

static bool find(Mysql *mysql, Position *position, const char *anchor, bool *ret, Error *err)
{
    uint64_t place;
    Error why = {0};
    char then[POSITION_TEXT_BYTES];
    AUTO(gtid_set_done) GtidSet wanted;
    position_format(position, then);
    if (!gtid_set_parse(anchor, mysql->mariadb, &wanted, &why))
        return true;
    switch (seek_in_files(mysql, &wanted, &place, &why)) {
    case SEEK_FOUND:
        if (!shift_behind(mysql, position->at.major, &place, err))
            return false;
        keep(mysql, position, place, anchor);
        *position = position_of(mysql->source, (RowPosition){.major = place});
        log_info("the source is another server, which has the same transactions",
                 LOG_T("then", then), LOG_T("now", mysql->source), LOG_T("gtids", anchor));
        *ret = true;
        return true;
    case SEEK_OTHER:
        log_warn("the source is another server, which does not go on from where the tables are",
                 LOG_T("then", then), LOG_T("now", mysql->source), LOG_T("why", why.message));
        return true;
    case SEEK_BEHIND: {
        AUTO(mem_free)
        char *what = mem_format("on %s, from the transactions %.120s on", mysql->source, anchor);
        return log_purged(what, err);
    }
    case SEEK_ON:
    case SEEK_FAILED:
        break;
    }
    *err = why;
    return error_wrap(err, "looking for the transactions in the binlogs of %s", mysql->source);
}

bool my_adopt(Capture *capture, Position *position, const char *anchor, bool passed, bool *ret,
              Error *err)
{
    (void)passed;
    Mysql *mysql = mysql_of(capture);
    take_shift(mysql, position);
    *ret = strcmp(position->source, mysql->source) == 0;
    if (*ret) {
        if (position->at.minor == 0)
            keep(mysql, position, position->at.major, anchor);
        return true;
    }
    const Adopted *adopted = find_adopted(mysql, position);
    if (adopted) {
        *position = position_of(mysql->source, (RowPosition){.major = adopted->place});
        *ret = true;
        return true;
    }
    size_t kind = strcspn(mysql->source, "/") + 1;
    if (!anchor || !mysql->gtids || position->at.minor ||
        strncmp(position->source, mysql->source, kind) != 0)
        return true;
    return mysql_query_open(mysql, err) && find(mysql, position, anchor, ret, err);
}
