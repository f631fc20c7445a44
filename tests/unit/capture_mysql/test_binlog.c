/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include <zstd.h>

#include "agent/capture/mysql/unpack.h"

/* --- headers, checksums, formats --- */

static Bytes format_event(const char *version, unsigned types, uint8_t algorithm)
{
    Bytes content = {0};
    char padded[50] = {0};
    memcpy(padded, version, strlen(version));
    put_le(&content, 4, 2);
    bytes_put(&content, padded, sizeof padded);
    put_le(&content, 0, 4);
    put_le(&content, BINLOG_HEADER_BYTES, 1);
    for (unsigned i = 1; i <= types; i++)
        put_le(&content, i == EVENT_TABLE_MAP ? 8 : i, 1);
    put_le(&content, algorithm, 1);
    Bytes event = log_event(true, EVENT_FORMAT, 0, content.data, content.used);
    bytes_done(&content);
    return event;
}

static void expect_bad(BinlogFormat format, const Bytes *event, const char *code)
{
    BinlogEvent got;
    Error err = {0};
    assert_false(binlog_event(&format, event->data, event->used, &got, &err));
    assert_string_equal(err.code, code);
}

static void test_format(void **state)
{
    (void)state;
    BinlogFormat format = {0};
    BinlogEvent got;
    Error err = {0};
    Bytes event = format_event("8.4.2", 42, 1);
    assert_true(binlog_event(&format, event.data, event.used, &got, &err));
    assert_true(format.known && format.checksums && !format.mariadb);
    assert_string_equal(format.version, "8.4.2");
    assert_int_equal(format.fixed_bytes[EVENT_TABLE_MAP], 8);
    assert_int_equal(format.fixed_bytes[EVENT_GTID_TAGGED], 42);
    assert_int_equal(format.fixed_bytes[43], 0);
    event.data[30] ^= 1;
    expect_bad(format, &event, "BadChecksum");
    bytes_done(&event);
    event = format_event("10.11.6-MariaDB-log", 171, 0);
    assert_true(binlog_event(&format, event.data, event.used, &got, &err));
    assert_true(format.mariadb && !format.checksums);
    bytes_done(&event);
    event = format_event("8.4.2", 42, 9);
    expect_bad(format, &event, "BadEvent");
    bytes_done(&event);
}

static void test_headers(void **state)
{
    (void)state;
    BinlogFormat format = log_format(false);
    format.checksums = true;
    BinlogEvent got;
    Error err = {0};
    Bytes event = log_event(true, EVENT_XID, 0, TEXT("\x2a\0\0\0\0\0\0\0"));
    assert_true(binlog_event(&format, event.data, event.used, &got, &err));
    assert_int_equal(got.type, EVENT_XID);
    assert_int_equal(got.time, 1700000000);
    assert_int_equal(got.server, 7);
    assert_int_equal(got.end, 4711);
    uint64_t xid;
    assert_true(xid_read(&got, &xid, &err));
    assert_int_equal(xid, 42);
    for (size_t i = 0; i < event.used; i++) {
        if (i >= 9 && i < 13)
            continue; /* its length, which is looked at first */
        event.data[i] ^= 0x40;
        if (i != 4) /* another type */
            expect_bad(format, &event, "BadChecksum");
        event.data[i] ^= 0x40;
    }
    event.used--;
    expect_bad(format, &event, "BadEvent");
    event.used = 18;
    expect_bad(format, &event, "BadEvent");
    bytes_done(&event);
    event = log_event(false, EVENT_XID, 0, TEXT("\x2a\0\0\0\0\0\0\0"));
    expect_bad((BinlogFormat){0}, &event, "BadEvent"); /* no format yet */
    bytes_done(&event);
    event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL,
                      TEXT("\4\0\0\0\0\0\0\0binlog.000009"));
    format = (BinlogFormat){0};
    assert_true(binlog_event(&format, event.data, event.used, &got, &err));
    RotateEvent rotate;
    assert_true(rotate_read(&got, &rotate, &err));
    assert_int_equal(rotate.offset, 4);
    assert_int_equal(rotate.name_bytes, 13);
    assert_memory_equal(rotate.name, "binlog.000009", 13);
    bytes_done(&event);
}

/* --- what stands in events --- */

static void test_query(void **state)
{
    (void)state;
    static const char content[] = "\1\0\0\0\0\0\0\0\4\0\0\3\0\x11\x22\x33shop\0BEGIN";
    BinlogEvent event = log_content(EVENT_QUERY, TEXT(content));
    QueryEvent query;
    Bytes unpacked = {0};
    Error err = {0};
    assert_true(query_read(&event, &unpacked, &query, &err));
    assert_int_equal(query.thread, 1);
    assert_int_equal(query.schema_bytes, 4);
    assert_memory_equal(query.schema, "shop", 4);
    assert_int_equal(query.text_bytes, 5);
    assert_memory_equal(query.text, "BEGIN", 5);
    for (size_t bytes = 0; bytes < sizeof content - 1 - 5; bytes++) {
        event = log_content(EVENT_QUERY, content, bytes);
        assert_false(query_read(&event, &unpacked, &query, &err));
        assert_string_equal(err.code, "BadEvent");
    }
    bytes_done(&unpacked);
}

static void test_kinds_of_query(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        QueryKind wanted;
    } cases[] = {
        {"BEGIN", QUERY_BEGIN},
        {" begin /* x */", QUERY_BEGIN},
        {"START TRANSACTION", QUERY_BEGIN},
        {"COMMIT", QUERY_COMMIT},
        {"ROLLBACK", QUERY_ROLLBACK},
        {"ROLLBACK /* added by mysqlbinlog */", QUERY_ROLLBACK},
        {"ROLLBACK TO `s1`", QUERY_ROLLBACK_TO},
        {"rollback work to savepoint s", QUERY_ROLLBACK_TO},
        {"SAVEPOINT `s1`", QUERY_SAVEPOINT},
        {"XA START X'01',X'',1", QUERY_XA},
        {"/* a */ -- b\n# c\nINSERT INTO t VALUES (1)", QUERY_CHANGE},
        {"INSERTS", QUERY_OTHER},
        {"ALTER TABLE t ADD c int", QUERY_OTHER},
        {"/*!40000 ALTER TABLE t */", QUERY_OTHER},
        {"CREATE TABLE begin (a int)", QUERY_OTHER},
        {"", QUERY_OTHER},
        {"/* never closed", QUERY_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(query_kind(cases[i].text, strlen(cases[i].text)), cases[i].wanted);
}

static void expect_gtid(uint8_t type, const void *content, size_t bytes, const char *wanted)
{
    BinlogEvent event = log_content(type, content, bytes);
    GtidEvent got;
    Error err = {0};
    char text[GTID_TEXT_BYTES];
    assert_true(gtid_read(&event, &got, &err));
    assert_string_equal(gtid_format(&got.gtid, text), wanted);
    for (size_t i = 0; i < bytes; i++) {
        event = log_content(type, content, i);
        assert_false(gtid_read(&event, &got, &err));
        assert_string_equal(err.code, "BadEvent");
    }
}

static void test_gtids(void **state)
{
    (void)state;
    expect_gtid(EVENT_GTID,
                TEXT("\1\x5c\xcc\x10\x33\x44\xa8\x11\xea\xbd\x59\x02\x42\xac\x19\x00\x03\x77\0\0\0"
                     "\0\0\0\0"),
                "5ccc1033-44a8-11ea-bd59-0242ac190003:119");
    expect_gtid(EVENT_MARIADB_GTID, TEXT("\x2a\0\0\0\0\0\0\0\5\0\0\0\x21"), "5-7-42");
    /* Bytes above 127 take two: x << 2 | 1 in sixteen bits. */
    expect_gtid(EVENT_GTID_TAGGED,
                TEXT("\2\x76\0\0\2\2\2\4\6\x08\x0a\x0c\x0e\x10\x12\x14\x16\x18\x1a\x1c\x1e\xfd\3\4"
                     "\x14\6\x06tag"),
                "01020304-0506-0708-090a-0b0c0d0e0fff:tag:5");
    BinlogEvent event = log_content(EVENT_ANONYMOUS_GTID, TEXT("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                                               "\0\0\0\0\0\0\0\0"));
    GtidEvent got;
    Error err = {0};
    assert_true(gtid_read(&event, &got, &err));
    assert_true(got.anonymous);
    event.type = EVENT_GTID; /* number 0 */
    assert_false(gtid_read(&event, &got, &err));
    event = log_content(EVENT_MARIADB_GTID, TEXT("\x2a\0\0\0\0\0\0\0\5\0\0\0\x21"));
    assert_true(gtid_read(&event, &got, &err));
    assert_true(got.standalone && got.ddl);
}

static void expect_before(uint8_t type, const void *content, size_t bytes, const char *wanted)
{
    BinlogEvent event = log_content(type, content, bytes);
    GtidSet set;
    Error err = {0};
    assert_true(gtids_before_read(&event, &set, &err));
    char *text = gtid_set_format(&set);
    assert_string_equal(text, wanted);
    free(text);
    gtid_set_done(&set);
    event = log_content(type, content, bytes - 1);
    assert_false(gtids_before_read(&event, &set, &err));
    assert_string_equal(err.code, "BadEvent");
    gtid_set_done(&set);
}

#define UUID "\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
#define UUID_TEXT "01020304-0506-0708-090a-0b0c0d0e0f10"

static void test_gtids_before(void **state)
{
    (void)state;
    expect_before(EVENT_PREVIOUS_GTIDS, TEXT("\0\0\0\0\0\0\0\0"), "");
    expect_before(EVENT_PREVIOUS_GTIDS,
                  TEXT("\1\0\0\0\0\0\0\0" UUID "\2\0\0\0\0\0\0\0"
                       "\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0"
                       "\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"),
                  UUID_TEXT ":1-3:5");
    expect_before(EVENT_PREVIOUS_GTIDS,
                  TEXT("\1\2\0\0\0\0\0\1" UUID
                       "\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0" UUID "\x08"
                       "aaaa\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"),
                  UUID_TEXT ":1-4:aaaa:1");
    expect_before(
        EVENT_GTID_LIST,
        TEXT("\2\0\0\0\0\0\0\0\1\0\0\0\x2a\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0\7\0\0\0\0\0\0\0"),
        "0-1-42,1-2-7");
}

static void test_heartbeats_and_incidents(void **state)
{
    (void)state;
    HeartbeatEvent beat;
    IncidentEvent incident;
    Error err = {0};
    BinlogEvent event = log_content(EVENT_HEARTBEAT, TEXT("binlog.000001"));
    assert_true(heartbeat_read(&event, &beat, &err));
    assert_int_equal(beat.offset, 4711);
    assert_int_equal(beat.name_bytes, 13);
    event = log_content(EVENT_HEARTBEAT_V2, TEXT("\1\x0d"
                                                 "binlog.000001\2\1\x9e\0"));
    assert_true(heartbeat_read(&event, &beat, &err));
    assert_int_equal(beat.offset, 158);
    assert_memory_equal(beat.name, "binlog.000001", 13);
    event = log_content(EVENT_HEARTBEAT_V2, TEXT("\1\x0e"
                                                 "binlog.000001"));
    assert_false(heartbeat_read(&event, &beat, &err));
    event = log_content(EVENT_INCIDENT, TEXT("\1\0\4lost"));
    assert_true(incident_read(&event, &incident, &err));
    assert_int_equal(incident.kind, 1);
    assert_memory_equal(incident.text, "lost", 4);
    event = log_content(EVENT_INCIDENT, TEXT("\1\0\5lost"));
    assert_false(incident_read(&event, &incident, &err));
}

/* --- what is compressed --- */

static void test_mariadb_query(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text);
    uint8_t packed[200];
    uLongf packed_bytes = sizeof packed;
    assert_int_equal(compress(packed, &packed_bytes, (const uint8_t *)text, sizeof text), Z_OK);
    Bytes content = {0}, unpacked = {0};
    bytes_put(&content, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0", 14);
    size_t head = content.used;
    bytes_put(&content, "\x82\x0b\xb8", 3);
    bytes_put(&content, packed, packed_bytes);
    BinlogEvent event = log_content(EVENT_QUERY_COMPRESSED, content.data, content.used);
    QueryEvent query;
    Error err = {0};
    assert_true(query_read(&event, &unpacked, &query, &err));
    assert_int_equal(query.text_bytes, sizeof text);
    assert_memory_equal(query.text, text, sizeof text);
    content.data[head + 2]++; /* another length */
    assert_false(query_read(&event, &unpacked, &query, &err));
    assert_string_equal(err.code, "BadEvent");
    content.data[head + 2]--;
    content.data[head] = 0x92; /* another algorithm */
    assert_false(query_read(&event, &unpacked, &query, &err));
    assert_string_equal(err.code, "UnsupportedEvent");
    content.data[head] = 0x02;
    assert_false(query_read(&event, &unpacked, &query, &err));
    assert_string_equal(err.code, "BadEvent");
    bytes_done(&content);
    bytes_done(&unpacked);
}

static Bytes payload_of(const Bytes *events, uint8_t algorithm, size_t said)
{
    Bytes packed = {0}, content = {0};
    bytes_reserve(&packed, ZSTD_compressBound(events->used));
    packed.used = algorithm == 255
                      ? events->used
                      : ZSTD_compress(packed.data, packed.held, events->data, events->used, 3);
    if (algorithm == 255)
        memcpy(packed.data, events->data, events->used);
    put_le(&content, 2, 1);
    put_le(&content, algorithm == 255 ? 3 : 1, 1);
    put_le(&content, algorithm == 255 ? 252 : algorithm, 1);
    if (algorithm == 255)
        put_le(&content, 255, 2);
    put_le(&content, 3, 1);
    put_le(&content, 4, 1);
    put_le(&content, 253, 1);
    put_le(&content, said, 3);
    put_le(&content, 1, 1);
    put_le(&content, 4, 1);
    put_le(&content, 253, 1);
    put_le(&content, packed.used, 3);
    put_le(&content, 0, 1);
    bytes_put(&content, packed.data, packed.used);
    bytes_done(&packed);
    return content;
}

static void take_all(const Bytes *content, size_t wanted, const char *code)
{
    BinlogEvent event = log_content(EVENT_PAYLOAD, content->data, content->used), inside;
    BinlogFormat format = log_format(false);
    Error err = {0};
    Payload *payload = payload_open(&event, &format, &err);
    bool end = false, ok = payload != NULL;
    size_t got = 0;
    while (ok && !end) {
        ok = payload_next(payload, &inside, &end, &err);
        if (ok && !end) {
            assert_int_equal(inside.type, got ? EVENT_QUERY : EVENT_XID);
            got++;
        }
    }
    payload_free(payload);
    assert_int_equal(ok, code == NULL);
    if (code)
        assert_string_equal(err.code, code);
    else
        assert_int_equal(got, wanted);
}

static void test_payload(void **state)
{
    (void)state;
    Bytes large = {0}, events = {0};
    for (int i = 0; i < 300000; i++)
        bytes_put_u8(&large, (uint8_t)(i * 7 >> 3));
    Bytes first = log_event(false, EVENT_XID, 0, TEXT("\1\0\0\0\0\0\0\0"));
    Bytes second = log_event(false, EVENT_QUERY, 0, large.data, large.used);
    bytes_put(&events, first.data, first.used);
    bytes_put(&events, second.data, second.used);
    static const uint8_t algorithms[] = {0, 255};
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        Bytes content = payload_of(&events, algorithms[i], events.used);
        take_all(&content, 2, NULL);
        content.used--;
        take_all(&content, 0, "BadEvent");
        bytes_done(&content);
        content = payload_of(&events, algorithms[i], events.used - 1);
        take_all(&content, 0, "BadEvent");
        bytes_done(&content);
        content = payload_of(&events, algorithms[i], events.used + 1);
        take_all(&content, 0, "BadEvent");
        bytes_done(&content);
        events.used--; /* ends within an event */
        content = payload_of(&events, algorithms[i], events.used);
        take_all(&content, 0, "BadEvent");
        bytes_done(&content);
        events.used++;
    }
    Bytes content = payload_of(&events, 7, events.used);
    take_all(&content, 0, "UnsupportedEvent");
    bytes_done(&content);
    bytes_done(&large);
    bytes_done(&events);
    bytes_done(&first);
    bytes_done(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_query),         cmocka_unit_test(test_kinds_of_query),
        cmocka_unit_test(test_gtids),         cmocka_unit_test(test_gtids_before),
        cmocka_unit_test(test_mariadb_query), cmocka_unit_test(test_heartbeats_and_incidents),
        cmocka_unit_test(test_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
