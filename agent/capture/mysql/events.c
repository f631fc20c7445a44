/* What stands in events, rows and table maps apart: see binlog.h. */
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/binlog.h"
#include "agent/capture/mysql/unpack.h"
#include "common/bytes.h"

bool rotate_read(const BinlogEvent *event, RotateEvent *ret, Error *err)
{
    Reader in = event->content;
    if (!reader_le(&in, 8, &ret->offset) || !reader_left(&in))
        return binlog_bad(event, "it is too short", err);
    ret->name = (const char *)in.at;
    ret->name_bytes = reader_left(&in);
    return true;
}

bool xid_read(const BinlogEvent *event, uint64_t *ret, Error *err)
{
    Reader in = event->content;
    return reader_le(&in, 8, ret) || binlog_bad(event, "it is too short", err);
}

bool incident_read(const BinlogEvent *event, IncidentEvent *ret, Error *err)
{
    Reader in = event->content;
    uint64_t kind;
    uint8_t bytes = 0;
    const uint8_t *text = in.at;
    if (!reader_le(&in, 2, &kind))
        return binlog_bad(event, "it is too short", err);
    if (reader_u8(&in, &bytes) && !reader_take(&in, bytes, &text))
        return binlog_bad(event, "its text is longer than it", err);
    *ret = (IncidentEvent){.kind = (uint16_t)kind, .text = (const char *)text, .text_bytes = bytes};
    return true;
}

bool query_read(const BinlogEvent *event, Bytes *unpacked, QueryEvent *ret, Error *err)
{
    Reader in = event->content;
    uint64_t thread, seconds, error, variables;
    uint8_t schema;
    const uint8_t *at;
    *ret = (QueryEvent){0};
    if (!reader_le(&in, 4, &thread) || !reader_le(&in, 4, &seconds) || !reader_u8(&in, &schema) ||
        !reader_le(&in, 2, &error) || !reader_le(&in, 2, &variables) ||
        !reader_take(&in, variables, &at) || !reader_take(&in, (size_t)schema + 1, &at))
        return binlog_bad(event, "it is too short", err);
    *ret = (QueryEvent){.thread = (uint32_t)thread,
                        .error = (uint16_t)error,
                        .schema = (const char *)at,
                        .schema_bytes = schema};
    if (event->type == EVENT_QUERY_COMPRESSED && !unpack_mariadb(event, &in, unpacked, err))
        return false;
    ret->text = (const char *)in.at;
    ret->text_bytes = reader_left(&in);
    return true;
}

/* --- a query's kind --- */

/* Blanks and comments; not such as the server executes. */
static void skip_void(Reader *in)
{
    for (;;) {
        while (in->at < in->end && strchr(" \t\r\n\f\v", *in->at) && *in->at)
            in->at++;
        size_t left = reader_left(in);
        bool line = left && (*in->at == '#' || (left >= 3 && memcmp(in->at, "-- ", 3) == 0));
        if (line) {
            const uint8_t *end = memchr(in->at, '\n', left);
            in->at = end ? end + 1 : in->end;
        } else if (left >= 4 && memcmp(in->at, "/*", 2) == 0 && in->at[2] != '!' &&
                   in->at[2] != 'M') {
            const uint8_t *end = memmem(in->at + 2, left - 2, "*/", 2);
            in->at = end ? end + 2 : in->end;
        } else {
            return;
        }
    }
}

static bool take_word(Reader *in, const char *word)
{
    skip_void(in);
    size_t bytes = strlen(word), left = reader_left(in);
    if (left < bytes || strncasecmp((const char *)in->at, word, bytes) != 0)
        return false;
    uint8_t next = left > bytes ? in->at[bytes] : ' ';
    if ((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') || next == '_' ||
        (next >= '0' && next <= '9') || next >= 0x80)
        return false;
    in->at += bytes;
    return true;
}

QueryKind query_kind(const char *text, size_t bytes)
{
    static const struct {
        const char *word;
        QueryKind kind;
    } firsts[] = {
        {"BEGIN", QUERY_BEGIN},         {"COMMIT", QUERY_COMMIT},  {"XA", QUERY_XA},
        {"SAVEPOINT", QUERY_SAVEPOINT}, {"INSERT", QUERY_CHANGE},  {"UPDATE", QUERY_CHANGE},
        {"DELETE", QUERY_CHANGE},       {"REPLACE", QUERY_CHANGE}, {"LOAD", QUERY_CHANGE},
    };
    Reader in = reader_over(text, bytes);
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++)
        if (take_word(&in, firsts[i].word))
            return firsts[i].kind;
    if (take_word(&in, "START"))
        return take_word(&in, "TRANSACTION") ? QUERY_BEGIN : QUERY_OTHER;
    if (take_word(&in, "ROLLBACK")) {
        (void)take_word(&in, "WORK");
        return take_word(&in, "TO") ? QUERY_ROLLBACK_TO : QUERY_ROLLBACK;
    }
    return QUERY_OTHER;
}

/* --- GTIDs --- */

/* MySQL's serialization: as many bytes more as the first one ends in one bits. */
static bool read_serial(Reader *in, uint64_t *ret)
{
    uint8_t first;
    Reader look = *in;
    if (!reader_u8(&look, &first))
        return false;
    unsigned bytes = (first == 0xff ? 8 : (unsigned)__builtin_ctz(~(unsigned)first)) + 1;
    const uint8_t *at;
    if (!reader_take(in, bytes, &at))
        return false;
    *ret = bytes == 9 ? le_uint(at + 1, 8) : le_uint(at, bytes) >> bytes;
    return true;
}

static bool read_field(Reader *in, uint64_t wanted)
{
    uint64_t number;
    return read_serial(in, &number) && number == wanted;
}

/* Behind a GTID: uint8 2, int64 numbers of two transactions, then 7 bytes with microseconds of when
 * it was committed here; where their highest bit is set, it was elsewhere first: 7 bytes more. */
static int64_t read_commit_us(Reader in)
{
    const uint64_t elsewhere = UINT64_C(1) << 55;
    uint8_t kind;
    uint64_t here, first;
    const uint8_t *at;
    if (!reader_u8(&in, &kind) || kind != 2 || !reader_take(&in, 16, &at) ||
        !reader_le(&in, 7, &here))
        return 0;
    if (here & elsewhere && reader_le(&in, 7, &first))
        here = first;
    return (int64_t)(here & ~elsewhere);
}

static bool read_tagged(Reader *in, Gtid *ret)
{
    uint64_t version, size, last, flags, number, bytes;
    const uint8_t *tag;
    if (!read_serial(in, &version) || version != 1 || !read_serial(in, &size) ||
        !read_serial(in, &last) || !read_field(in, 0) || !read_serial(in, &flags) ||
        !read_field(in, 1))
        return false;
    for (size_t i = 0; i < sizeof ret->uuid; i++) {
        if (!read_serial(in, &number) || number > UINT8_MAX)
            return false;
        ret->uuid[i] = (uint8_t)number;
    }
    /* A signed number: its lowest bit is the sign. */
    if (!read_field(in, 2) || !read_serial(in, &number) || number & 1 || !read_field(in, 3) ||
        !read_serial(in, &bytes) || !reader_take(in, bytes, &tag) || !gtid_set_tag(ret, tag, bytes))
        return false;
    ret->number = number >> 1;
    return true;
}

static bool read_mariadb_gtid(const BinlogEvent *event, GtidEvent *ret)
{
    enum { STANDALONE = 1, DDL = 32, PREPARED_XA = 64 };
    Reader in = event->content;
    uint64_t number, domain;
    uint8_t flags;
    if (!reader_le(&in, 8, &number) || !reader_le(&in, 4, &domain) || !reader_u8(&in, &flags))
        return false;
    ret->gtid = (Gtid){
        .mariadb = true, .domain = (uint32_t)domain, .server = event->server, .number = number};
    ret->standalone = flags & STANDALONE;
    ret->ddl = flags & DDL;
    ret->prepared_xa = flags & PREPARED_XA;
    return true;
}

bool gtid_read(const BinlogEvent *event, GtidEvent *ret, Error *err)
{
    *ret = (GtidEvent){.anonymous = event->type == EVENT_ANONYMOUS_GTID};
    Reader in = event->content;
    uint8_t flags;
    const uint8_t *uuid;
    bool ok;
    if (event->type == EVENT_MARIADB_GTID) {
        ok = read_mariadb_gtid(event, ret);
    } else if (event->type == EVENT_GTID_TAGGED) {
        ok = read_tagged(&in, &ret->gtid);
    } else {
        ok = reader_u8(&in, &flags) && reader_take(&in, sizeof ret->gtid.uuid, &uuid) &&
             reader_le(&in, 8, &ret->gtid.number);
        if (ok)
            memcpy(ret->gtid.uuid, uuid, sizeof ret->gtid.uuid);
        ret->commit_us = read_commit_us(in);
    }
    if (!ok)
        return binlog_bad(event, "it holds no GTID", err);
    if (!ret->anonymous && !ret->gtid.mariadb &&
        (ret->gtid.number == 0 || ret->gtid.number > GTID_NUMBER_MAX))
        return binlog_bad(event, "its GTID has an impossible number", err);
    return true;
}

static bool read_sources(Reader *in, uint64_t count, bool tagged, GtidSet *set)
{
    while (count--) {
        Gtid source = {0};
        const uint8_t *at;
        uint64_t intervals, from, to, bytes = 0;
        if (!reader_take(in, sizeof source.uuid, &at))
            return false;
        memcpy(source.uuid, at, sizeof source.uuid);
        if (tagged && (!read_serial(in, &bytes) || !reader_take(in, bytes, &at) ||
                       !gtid_set_tag(&source, at, bytes)))
            return false;
        if (!reader_le(in, 8, &intervals) || intervals > reader_left(in) / 16)
            return false;
        while (intervals--) {
            if (!reader_le(in, 8, &from) || !reader_le(in, 8, &to) || from == 0 || to <= from ||
                to - 1 > GTID_NUMBER_MAX)
                return false;
            gtid_set_add_interval(set, &source, (GtidInterval){from, to - 1});
        }
    }
    return true;
}

/* The first eight bytes are the number of sources; or, where some have tags, 1, six bytes that are
 * the number, and 1 again. */
bool gtids_before_read(const BinlogEvent *event, GtidSet *ret, Error *err)
{
    bool mariadb = event->type == EVENT_GTID_LIST;
    *ret = gtid_set_new(mariadb);
    Reader in = event->content;
    uint64_t count, domain, server;
    if (mariadb) {
        bool ok = reader_le(&in, 4, &count) && (count & 0x0fffffff) <= reader_left(&in) / 16;
        count = ok ? count & 0x0fffffff : 0;
        for (; ok && count; count--) {
            Gtid gtid = {.mariadb = true};
            ok = reader_le(&in, 4, &domain) && reader_le(&in, 4, &server) &&
                 reader_le(&in, 8, &gtid.number);
            gtid.domain = (uint32_t)domain;
            gtid.server = (uint32_t)server;
            if (ok)
                (void)gtid_set_add(ret, &gtid);
        }
        return ok || binlog_bad(event, "its list is longer than it", err);
    }
    if (!reader_le(&in, 8, &count))
        return binlog_bad(event, "it is too short", err);
    bool tagged = count >> 56 == 1 && (count & 0xff) == 1;
    if (tagged)
        count = count << 8 >> 16;
    if (count > reader_left(&in) / 24 || !read_sources(&in, count, tagged, ret))
        return binlog_bad(event, "its list is longer than it", err);
    return true;
}

/* --- heartbeats --- */

bool heartbeat_read(const BinlogEvent *event, HeartbeatEvent *ret, Error *err)
{
    enum { END, NAME, OFFSET };
    Reader in = event->content;
    *ret = (HeartbeatEvent){.offset = event->end};
    if (event->type == EVENT_HEARTBEAT) {
        ret->name = (const char *)in.at;
        ret->name_bytes = reader_left(&in);
    }
    while (event->type == EVENT_HEARTBEAT_V2 && reader_left(&in)) {
        uint64_t kind;
        const uint8_t *at;
        size_t bytes;
        if (!reader_packed(&in, &kind))
            return binlog_bad(event, "a field has no kind", err);
        if (kind == END)
            break;
        if (!reader_packed_bytes(&in, &at, &bytes))
            return binlog_bad(event, "a field is longer than it", err);
        Reader field = reader_over(at, bytes);
        if (kind == NAME) {
            ret->name = (const char *)at;
            ret->name_bytes = bytes;
        } else if (kind == OFFSET && !reader_packed(&field, &ret->offset)) {
            return binlog_bad(event, "its offset is no number", err);
        }
    }
    if (!ret->name_bytes)
        return binlog_bad(event, "it names no file", err);
    return true;
}
