/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/log.h"
#include "agent/capture/mysql/rows.h"
#include "agent/record/origin.h"
#include "common/mem.h"

/* shop.t (id int primary key), without optional metadata */
#define MAP "\x6d\0\0\0\0\0\1\0\4shop\0\1t\0\1\3\0\0"
#define OTHER_MAP "\x6e\0\0\0\0\0\1\0\4shop\0\1u\0\1\3\0\0"
#define ROWS_HEAD "\x6d\0\0\0\0\0\1\0\2\0\1\1"
#define GTID_CONTENT "\0aaaaaaaaaaaaaaaa\1\0\0\0\0\0\0\0"

static const Collation collation_items[] = {{63, "binary"}};
static const Collations collations = {collation_items, 1};

typedef struct Script {
    MyLog *log;
    SourceTable source;
    MyTable table;
    uint32_t at; /* where the next event begins in its file */
    bool learned;
    Error err;
} Script;

static bool learn(void *context, uint32_t table, const TableMap *map, const Ddl *ddl,
                  bool *ret_changed, Error *err)
{
    (void)table, (void)map, (void)ddl, (void)err;
    ((Script *)context)->learned = true;
    *ret_changed = false;
    return true;
}

/* One event that stands in the file. */
static bool put(Script *script, uint8_t type, const void *content, size_t bytes)
{
    Bytes event = log_event(false, type, 0, content, bytes);
    script->at += (uint32_t)event.used;
    memcpy(event.data + 13, &script->at, 4);
    bool ok = mylog_event(script->log, event.data, event.used, &script->err);
    bytes_done(&event);
    return ok;
}

static bool query(Script *script, const char *sql)
{
    Bytes content = {0};
    put_le(&content, 1, 4);
    put_le(&content, 0, 4);
    put_le(&content, 4, 1);
    put_le(&content, 0, 2);
    put_le(&content, 0, 2);
    bytes_put(&content, "shop", 5);
    bytes_put(&content, sql, strlen(sql));
    bool ok = put(script, EVENT_QUERY, content.data, content.used);
    bytes_done(&content);
    return ok;
}

static bool insert(Script *script, const char *map, size_t map_bytes, uint32_t id, uint32_t rows)
{
    Bytes content = {0};
    bytes_put(&content, ROWS_HEAD, sizeof ROWS_HEAD - 1);
    content.data[0] = (uint8_t)map[0];
    for (uint32_t i = 0; i < rows; i++) {
        put_le(&content, 0, 1);
        put_le(&content, id + i, 4);
    }
    bool ok = put(script, EVENT_TABLE_MAP, map, map_bytes) &&
              put(script, EVENT_WRITE, content.data, content.used);
    bytes_done(&content);
    return ok;
}

static bool format(Script *script)
{
    Bytes content = log_format_content();
    bool ok = put(script, EVENT_FORMAT, content.data, content.used);
    bytes_done(&content);
    return ok;
}

static bool tell(void *context, const Ddl *ddl, RowPosition at, Statement **ret, Error *err)
{
    (void)context, (void)at, (void)err;
    bool told = ddl->kind != DDL_OTHER && ddl->kind != DDL_TRUNCATE;
    *ret = !told ? NULL : statement_new("shop", ddl->text, ddl->bytes, 0);
    return true;
}

static void begin_with(Script *script, RowPosition passed, bool origins)
{
    *script = (Script){.at = 4};
    Error *err = &script->err;
    const KnownColumn id = {.name = "id", .type = "int", .charset = "", .required = true};
    script->source =
        (SourceTable){.schema_name = mem_strdup("shop"), .table_name = mem_strdup("t")};
    script->table = (MyTable){.source = &script->source, .passed = passed};
    script->table.name = mem_strdup("shop.t");
    script->table.known = known_new("shop", "t", &id, 1, (uint32_t[]){0}, 1, &collations, err);
    script->source.schema = rows_schema(script->table.known->map, &collations, err);
    assert_non_null(script->source.schema);
    script->log = mylog_new(&(MyLogOptions){.tables = &script->table,
                                            .table_count = 1,
                                            .collations = &collations,
                                            .learn = learn,
                                            .context = script,
                                            .tell = origins ? tell : NULL,
                                            .transaction_bytes = 1 << 20,
                                            .origins = origins,
                                            .commits = origins});
    Bytes event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL,
                            TEXT("\4\0\0\0\0\0\0\0binlog.000007"));
    memset(event.data + 13, 0, 4);
    assert_true(mylog_event(script->log, event.data, event.used, err));
    bytes_done(&event);
    assert_true(format(script));
}

static void begin(Script *script, RowPosition passed)
{
    begin_with(script, passed, false);
}

static void end(Script *script)
{
    mylog_free(script->log);
    my_table_done(&script->table);
}

static uint64_t here(const Script *script)
{
    return place_of(7, script->at);
}

static uint32_t take_rows(Script *script, uint32_t *ret_batches)
{
    uint32_t rows = 0;
    Change change;
    *ret_batches = 0;
    while (mylog_take(script->log, &change)) {
        if (change.kind != CHANGE_BATCH)
            continue;
        rows += change.batch->row_count;
        ++*ret_batches;
        batch_free(change.batch);
    }
    return rows;
}

static void test_transaction(void **state)
{
    (void)state;
    Script script;
    Change change;
    begin(&script, (RowPosition){0});
    uint64_t began = here(&script);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    assert_true(mylog_in_transaction(script.log) && !mylog_can_checkpoint(script.log));
    assert_true(insert(&script, TEXT(OTHER_MAP), 1, 3));
    assert_true(insert(&script, TEXT(MAP), 1, 2));
    assert_int_equal(mylog_position(script.log).major, began);
    RowPosition latest = mylog_position(script.log);
    assert_true(put(&script, EVENT_XID, TEXT("\1\0\0\0\0\0\0\0")));
    assert_true(mylog_can_checkpoint(script.log));
    assert_int_equal(mylog_position(script.log).major, here(&script));
    mylog_checkpoint(script.log);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    assert_int_equal(change.batch->row_count, 2);
    assert_int_equal(change.batch->positions[0].major, began);
    assert_int_equal(row_position_compare(change.batch->positions[1], latest), 0);
    assert_true(row_position_compare(change.batch->positions[0], latest) < 0);
    batch_free(change.batch);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    assert_int_equal(change.position.at.major, here(&script));
    assert_int_equal(change.position.at.minor, 0);
    assert_int_equal(change.commit_us, INT64_C(1700000000000000));
    assert_false(mylog_take(script.log, &change));
    assert_int_equal(mylog_changes(script.log), 2);
    end(&script);
}

/* A position inside the transaction, or behind it: what is in the table does not come again. */
static void test_passed(void **state)
{
    (void)state;
    Script script;
    RowPosition inside = {0};
    for (int round = 0; round < 3; round++) {
        uint32_t batches;
        begin(&script, round == 1 ? inside : (RowPosition){round == 2 ? place_of(8, 4) : 0, 0});
        assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
        assert_true(insert(&script, TEXT(MAP), 1, 2));
        if (round == 0)
            inside = mylog_position(script.log);
        assert_true(insert(&script, TEXT(MAP), 10, 3));
        assert_true(query(&script, "COMMIT"));
        mylog_checkpoint(script.log);
        assert_int_equal(take_rows(&script, &batches), round == 0 ? 5 : round == 1 ? 3 : 0);
        end(&script);
    }
}

static void test_statements(void **state)
{
    (void)state;
    Script script;
    Change change;
    begin(&script, (RowPosition){0});
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "TRUNCATE TABLE t"));
    assert_false(mylog_in_transaction(script.log));
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_TRUNCATE);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "ALTER TABLE u ADD a int") && !script.learned);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "ALTER TABLE t ADD a int") && script.learned);
    /* CREATE TABLE … SELECT stands between BEGIN and its rows. */
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    assert_true(query(&script, "CREATE TABLE u (id int) START TRANSACTION"));
    assert_true(insert(&script, TEXT(OTHER_MAP), 1, 3));
    assert_true(put(&script, EVENT_XID, TEXT("\1\0\0\0\0\0\0\0")));
    end(&script);
}

typedef struct Refusal {
    const char *sql; /* behind BEGIN and a row of t; NULL: an event */
    bool row;
    const char *code;
} Refusal;

static void test_refused(void **state)
{
    (void)state;
    static const Refusal refusals[] = {
        {"ROLLBACK", true, "UnsupportedEvent"},
        {"ROLLBACK TO `s`", true, "UnsupportedEvent"},
        {"INSERT INTO t VALUES (1)", false, "BinlogFormat"},
        {"DROP TABLE t", false, "SourceTableReplaced"},
        {"DROP DATABASE shop", false, "SourceTableReplaced"},
        {"RENAME TABLE t TO u", false, "TableRenamed"},
        {"RENAME TABLE t TO u, v TO t", false, "SourceTableReplaced"},
        {"ALTER TABLE t TRUNCATE PARTITION p", false, "RowsMoved"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        Script script;
        begin(&script, (RowPosition){0});
        assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
        assert_true(!refusals[i].row ||
                    (query(&script, "BEGIN") && insert(&script, TEXT(MAP), 1, 1)));
        assert_false(query(&script, refusals[i].sql));
        assert_string_equal(script.err.code, refusals[i].code);
        end(&script);
        begin(&script, (RowPosition){place_of(9, 4), 0}); /* the table is behind it already */
        assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
        assert_true(query(&script, refusals[i].sql));
        end(&script);
    }
}

#define XID "X'61',X'',1"
#define PREPARED "\0\1\0\0\0\1\0\0\0\0\0\0\0a"

static bool prepare(Script *script, const char *map, size_t map_bytes, uint32_t rows)
{
    return put(script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(script, "XA START " XID) &&
           insert(script, map, map_bytes, 1, rows) && query(script, "XA END " XID) &&
           put(script, EVENT_XA_PREPARE, TEXT(PREPARED));
}

/* As the server sends the log from a place on, once more. */
static void replay_head(Script *script)
{
    mylog_replay(script->log);
    Bytes event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL,
                            TEXT("\4\0\0\0\0\0\0\0binlog.000007"));
    assert_true(mylog_event(script->log, event.data, event.used, &script->err));
    bytes_done(&event);
    assert_true(format(script));
}

/* Rows of what is prepared come when it is committed, at the place where that is. */
static void test_xa(void **state)
{
    (void)state;
    Script script;
    Change change;
    const char *xid;
    uint64_t place, before;
    begin(&script, (RowPosition){0});
    assert_true(prepare(&script, TEXT(OTHER_MAP), 3)); /* nobody's rows */
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "XA COMMIT " XID));
    assert_false(mylog_wants(script.log, &xid, &place, &before));
    uint64_t prepared = here(&script);
    assert_true(prepare(&script, TEXT(MAP), 3));
    assert_false(mylog_in_transaction(script.log));
    mylog_checkpoint(script.log);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    uint64_t committed = here(&script);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "XA COMMIT " XID));
    assert_true(mylog_wants(script.log, &xid, &place, &before));
    assert_string_equal(xid, XID);
    assert_int_equal(place, prepared);
    assert_int_equal(before, committed);
    assert_false(mylog_can_checkpoint(script.log));
    uint64_t behind = here(&script);
    script.at = 4;
    replay_head(&script);
    script.at = (uint32_t)place_offset(prepared);
    assert_true(mylog_replaying(script.log));
    assert_true(prepare(&script, TEXT(MAP), 3));
    assert_false(mylog_replaying(script.log));
    mylog_checkpoint(script.log);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    assert_int_equal(change.batch->row_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(change.batch->positions[i].major, committed);
    batch_free(change.batch);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    assert_int_equal(change.position.at.major, behind);
    end(&script);
}

static void test_xa_odd(void **state)
{
    (void)state;
    Script script;
    const char *xid;
    uint64_t place, before;
    begin(&script, (RowPosition){0}); /* rolled back: nothing is read */
    assert_true(prepare(&script, TEXT(MAP), 1));
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "XA ROLLBACK " XID));
    assert_false(mylog_wants(script.log, &xid, &place, &before));
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "XA COMMIT " XID));
    assert_true(mylog_wants(script.log, &xid, &place, &before)); /* of a time before */
    assert_int_equal(place, 0);
    assert_false(put(&script, EVENT_GTID, TEXT(GTID_CONTENT))); /* first that */
    assert_string_equal(script.err.code, "BadEvent");
    replay_head(&script);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_false(put(&script, EVENT_XA_PREPARE, TEXT("\0\1\0\0\0\1\0\0\0\0\0\0\0b")));
    assert_string_equal(script.err.code, "BadEvent"); /* another one */
    end(&script);
    begin(&script, (RowPosition){0}); /* in one phase */
    uint64_t begins = here(&script);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "XA START " XID));
    assert_true(insert(&script, TEXT(MAP), 1, 1) && query(&script, "XA END " XID));
    assert_true(put(&script, EVENT_XA_PREPARE, TEXT("\1\1\0\0\0\1\0\0\0\0\0\0\0a")));
    assert_true(mylog_wants(script.log, &xid, &place, &before));
    assert_int_equal(place, begins);
    end(&script);
    begin(&script, (RowPosition){0});
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_false(query(&script, "XA COMMIT"));
    assert_string_equal(script.err.code, "UnsupportedEvent");
    assert_false(put(&script, EVENT_XA_PREPARE, TEXT("\0\1\0\0\0\xff\0\0\0\0\0\0\0a")));
    assert_string_equal(script.err.code, "BadEvent");
    end(&script);
}

static void test_odd_events(void **state)
{
    (void)state;
    Script script;
    begin(&script, (RowPosition){0});
    assert_false(put(&script, EVENT_INCIDENT, TEXT("\1\0\4lost")));
    assert_string_equal(script.err.code, "LogIncident");
    assert_false(put(&script, 99, TEXT("?")));
    assert_string_equal(script.err.code, "UnsupportedEvent");
    assert_false(insert(&script, TEXT(MAP), 1, 1)); /* outside a transaction */
    assert_string_equal(script.err.code, "BadEvent");
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_false(put(&script, EVENT_WRITE, TEXT("\x77\0\0\0\0\0\1\0\2\0\1\1\0\1\0\0\0")));
    assert_string_equal(script.err.code, "BadEvent"); /* without its table map */
    end(&script);
}

/* Headers count modulo 2^32, and what the server makes for us stands nowhere. */
static void test_places(void **state)
{
    (void)state;
    Script script;
    begin(&script, (RowPosition){0});
    script.at = UINT32_MAX - 30;
    assert_true(put(&script, EVENT_PREVIOUS_GTIDS, TEXT("\0\0\0\0\0\0\0\0")));
    assert_true(mylog_end(script.log) > place_of(7, UINT32_MAX - 30));
    uint64_t before = mylog_end(script.log);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_int_equal(mylog_end(script.log) - before, BINLOG_HEADER_BYTES + 25);
    assert_true(mylog_end(script.log) > place_of(7, UINT64_C(1) << 32));
    Bytes event = log_event(false, EVENT_GTID_LIST, BINLOG_FLAG_ARTIFICIAL, TEXT("\0\0\0\0"));
    before = mylog_end(script.log);
    assert_true(mylog_event(script.log, event.data, event.used, &script.err));
    assert_int_equal(mylog_end(script.log), before);
    bytes_done(&event);
    end(&script);
}

/* A statement's rows come behind all of its maps, however many there are; those of old transactions
 * go. */
static void test_many_maps(void **state)
{
    (void)state;
    Script script;
    uint32_t batches;
    begin(&script, (RowPosition){0});
    for (uint32_t round = 0; round < 3; round++) {
        Bytes rows = {0};
        assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
        assert_true(put(&script, EVENT_TABLE_MAP, TEXT(MAP)));
        for (uint32_t i = 0; i < 5000; i++) {
            uint8_t map[sizeof OTHER_MAP - 1];
            uint32_t id = 1000 + round * 5000 + i;
            memcpy(map, OTHER_MAP, sizeof map);
            memcpy(map, &id, sizeof id);
            assert_true(put(&script, EVENT_TABLE_MAP, map, sizeof map));
        }
        bytes_put(&rows, ROWS_HEAD, sizeof ROWS_HEAD - 1);
        put_le(&rows, 0, 1);
        put_le(&rows, round, 4);
        assert_true(put(&script, EVENT_WRITE, rows.data, rows.used));
        assert_true(put(&script, EVENT_XID, TEXT("\1\0\0\0\0\0\0\0")));
        bytes_done(&rows);
    }
    mylog_checkpoint(script.log);
    assert_int_equal(take_rows(&script, &batches), 3);
    end(&script);
}

/* The log begins anew, at a place that was passed. */
static void test_reset(void **state)
{
    (void)state;
    static const char *const names[] = {"\4\0\0\0\0\0\0\0binlog.000001",
                                        "\4\0\0\0\0\0\0\0binlog.000007"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        Script script;
        begin(&script, (RowPosition){0});
        Bytes event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL, names[i], 21);
        memset(event.data + 13, 0, 4);
        assert_false(mylog_event(script.log, event.data, event.used, &script.err));
        assert_string_equal(script.err.code, "LogPurged");
        bytes_done(&event);
        end(&script);
    }
}

/* When what a checkpoint brings was committed first. */
static void test_oldest(void **state)
{
    (void)state;
    Script script;
    begin(&script, (RowPosition){0});
    assert_int_equal(mylog_oldest_us(script.log), 0);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    assert_true(query(&script, "COMMIT"));
    mylog_checkpoint(script.log);
    assert_int_equal(mylog_oldest_us(script.log), INT64_C(1700000000000000));
    mylog_checkpoint(script.log);
    assert_int_equal(mylog_oldest_us(script.log), 0);
    end(&script);
}

/* uint8 2, two numbers, then 7 bytes of microseconds here, and, as their highest bit says, 7 of
 * where it was first. */
#define GTID_OF_ELSEWHERE                                                                          \
    GTID_CONTENT "\2\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\7\0\0\0\0\0\x80\5\0\0\0\0\0\0"

static const RowOrigin *origin_of(const Change *change, uint32_t row, uint64_t lsn, uint32_t number,
                                  uint64_t order)
{
    const RowOrigin *origin = &change->batch->origins->rows[row];
    assert_int_equal(origin->lsn, lsn);
    assert_int_equal(origin->row, number);
    assert_int_equal(origin->total_order, order);
    assert_int_equal(origin->table_order, order);
    return origin;
}

/* Two rows inserted, one of them updated, its key changed, and deleted: what is said of each. */
static void test_origins(void **state)
{
    (void)state;
    Script script;
    Change change;
    Bytes moved = {0};
    begin_with(&script, (RowPosition){0}, true);
    uint64_t began = here(&script);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_OF_ELSEWHERE)) && query(&script, "BEGIN"));
    assert_true(put(&script, EVENT_TABLE_MAP, TEXT(MAP)));
    uint64_t inserted = here(&script);
    assert_true(put(&script, EVENT_WRITE, TEXT(ROWS_HEAD "\0\1\0\0\0\0\2\0\0\0")));
    uint64_t updated = here(&script);
    bytes_put(&moved, ROWS_HEAD, sizeof ROWS_HEAD - 1);
    bytes_put(&moved, "\1\0\2\0\0\0\0\3\0\0\0", 11);
    assert_true(put(&script, EVENT_UPDATE, moved.data, moved.used));
    uint64_t deleted = here(&script);
    assert_true(put(&script, EVENT_DELETE, TEXT(ROWS_HEAD "\0\1\0\0\0")));
    assert_true(put(&script, EVENT_XID, TEXT("\1\0\0\0\0\0\0\0")));
    mylog_checkpoint(script.log);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_COMMIT);
    assert_int_equal(change.row.major, began);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    const Origins *origins = change.batch->origins;
    const uint8_t ops[] = {ROW_INSERT, ROW_INSERT, ROW_MOVE, ROW_UPDATE, ROW_DELETE};
    assert_int_equal(change.batch->row_count, ARRAY_LEN(ops));
    assert_memory_equal(change.batch->ops, ops, sizeof ops);
    assert_int_equal(origin_of(&change, 0, inserted, 0, 1)->before, ORIGIN_NO_BEFORE);
    assert_int_equal(origin_of(&change, 1, inserted, 1, 2)->before, ORIGIN_NO_BEFORE);
    assert_int_equal(origin_of(&change, 2, updated, 0, 3)->before, 0);
    assert_int_equal(origin_of(&change, 3, updated, 0, 4)->before, ORIGIN_NO_BEFORE);
    assert_int_equal(origin_of(&change, 4, deleted, 0, 5)->before, 1);
    assert_int_equal(column_i32(&origins->before->columns[0], 0), 2);
    assert_int_equal(column_i32(&origins->before->columns[0], 1), 1);
    assert_int_equal(origins->transaction_count, 1);
    const TransactionOrigin *of = &origins->transactions[0];
    assert_string_equal(of->origin, "61616161-6161-6161-6161-616161616161:");
    assert_string_equal(of->file, "binlog.000007");
    assert_int_equal(of->id, 1);
    assert_int_equal(of->server, 7);
    assert_int_equal(of->thread, 1);
    assert_int_equal(of->commit_us, 5);
    batch_free(change.batch);
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
    /* A statement that is its own transaction; its orders begin anew. */
    uint64_t truncated = here(&script) + BINLOG_HEADER_BYTES + sizeof GTID_CONTENT - 1;
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "TRUNCATE TABLE t") && mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_TRUNCATE);
    assert_int_equal(change.lsn, truncated);
    assert_int_equal(change.total_order, 1);
    assert_int_equal(change.transaction.commit_us, INT64_C(1700000000000000));
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_COMMIT);
    bytes_done(&moved);
    end(&script);
}

/* Without a GTID it is known by where its first statement stands. */
static void test_origins_without_gtid(void **state)
{
    (void)state;
    Script script;
    Change change;
    begin_with(&script, (RowPosition){0}, true);
    assert_true(put(&script, EVENT_ANONYMOUS_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    uint64_t begun = here(&script);
    assert_true(insert(&script, TEXT(OTHER_MAP), 1, 1)); /* not ours: of this nothing is said */
    assert_true(query(&script, "COMMIT"));
    assert_false(mylog_take(script.log, &change));
    assert_true(put(&script, EVENT_ANONYMOUS_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    begun = here(&script);
    assert_true(insert(&script, TEXT(MAP), 1, 1) && query(&script, "COMMIT"));
    assert_true(mylog_take(script.log, &change));
    assert_int_equal(change.kind, CHANGE_COMMIT);
    assert_null(change.transaction.origin);
    assert_int_equal(change.transaction.origin_lsn, begun);
    end(&script);
}

/* A statement stands behind the rows before it and what it made of its table, before its own
 * checkpoint, and not among the changes that are counted. */
static void test_told(void **state)
{
    (void)state;
    Script script;
    Change change;
    begin_with(&script, (RowPosition){0}, true);
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)) && query(&script, "BEGIN"));
    assert_true(insert(&script, TEXT(MAP), 1, 3));
    assert_true(put(&script, EVENT_XID, TEXT("\1\0\0\0\0\0\0\0")));
    uint64_t began = here(&script);
    uint64_t stands = began + BINLOG_HEADER_BYTES + sizeof GTID_CONTENT - 1;
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "ALTER TABLE t COMMENT 'x'"));
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "CREATE VIEW v AS SELECT 1"));
    assert_true(put(&script, EVENT_GTID, TEXT(GTID_CONTENT)));
    assert_true(query(&script, "CREATE TABLE u (id int)")); /* nobody takes it: it is freed */
    mylog_checkpoint(script.log);
    static const ChangeKind kinds[] = {CHANGE_COMMIT, CHANGE_BATCH, CHANGE_STATEMENT};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_true(mylog_take(script.log, &change));
        assert_int_equal(change.kind, kinds[i]);
        if (i + 1 < ARRAY_LEN(kinds))
            change_done(&change);
    }
    assert_int_equal(change.row.major, began);
    assert_int_equal(change.lsn, stands);
    assert_int_equal(change.total_order, 0);
    assert_int_equal(change.transaction.id, 1);
    assert_string_equal(change.transaction.file, "binlog.000007");
    assert_string_equal(change.statement->text, "ALTER TABLE t COMMENT 'x'");
    change_done(&change);
    end(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transaction), cmocka_unit_test(test_passed),
        cmocka_unit_test(test_statements),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_xa),          cmocka_unit_test(test_xa_odd),
        cmocka_unit_test(test_odd_events),  cmocka_unit_test(test_places),
        cmocka_unit_test(test_many_maps),   cmocka_unit_test(test_told),
        cmocka_unit_test(test_reset),       cmocka_unit_test(test_oldest),
        cmocka_unit_test(test_origins),     cmocka_unit_test(test_origins_without_gtid)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
