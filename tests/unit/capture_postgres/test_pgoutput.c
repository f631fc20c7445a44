/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include "agent/capture/postgres/pgoutput.h"
#include "agent/capture/postgres/spool.h"
#include "agent/capture/postgres/watch.h"
#include "tests/unit/capture_postgres/fixture.h"

enum { ORDERS = 100, NOTES = 200, FULL = 300 };
static const FixtureColumn orders_columns[] = {
    {.name = "id", .oid = 23, .typmod = -1, .required = true, .key = true},
    {.name = "name", .oid = 25, .typmod = -1},
    {.name = "big", .oid = 25, .typmod = -1, .required = true},
};

typedef struct Script {
    PgTable tables[3];
    Pgoutput *out;
    Bytes message;
    bool streamed;
    uint32_t xid;
    uint64_t lsn; /* of the next message */
    /* what the scripted source has */
    bool row_gone;
    int fetches;
    int32_t fetched_key;
    uint32_t undone; /* this subtransaction was rolled back */
    size_t asked;    /* for so many, the last time */
} Script;

static bool fetch(void *context, const PgTable *table, PgValue *values, const uint32_t *fields,
                  size_t count, bool *ret_found, Error *err)
{
    (void)err;
    Script *script = context;
    script->fetches++;
    uint32_t key;
    memcpy(&key, values[table->source->schema->key[0]].at, 4);
    script->fetched_key = (int32_t)__builtin_bswap32(key);
    *ret_found = !script->row_gone;
    for (size_t i = 0; i < count && *ret_found; i++)
        values[fields[i]] = (PgValue){.at = (const uint8_t *)"fetched", .bytes = 7, .kind = 'b'};
    return true;
}

static bool undone(void *context, const uint32_t *subxids, size_t count, bool *ret_undone,
                   Error *err)
{
    (void)err;
    Script *script = context;
    *ret_undone = false;
    script->asked = count;
    for (size_t i = 0; i < count; i++)
        *ret_undone = *ret_undone || subxids[i] == script->undone;
    return true;
}

static int setup_with(void **state, bool origins)
{
    Script *script = calloc(1, sizeof *script);
    static const char *const names[] = {"orders", "notes", "full"};
    for (uint32_t i = 0; i < 3; i++)
        fixture_table(&script->tables[i], names[i], (i + 1) * 100, i == 2 ? 'f' : 'd',
                      orders_columns, 3);
    script->out = pgoutput_new(&(PgoutputOptions){.tables = script->tables,
                                                  .table_count = 3,
                                                  .fetch = fetch,
                                                  .fetch_context = script,
                                                  .undone = undone,
                                                  .learn_context = script,
                                                  .origins = origins,
                                                  .commits = origins,
                                                  .messages = origins,
                                                  .transaction_bytes = 4096});
    *state = script;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_with_origins(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    Script *script = *state;
    pgoutput_free(script->out);
    for (size_t i = 0; i < 3; i++)
        fixture_table_done(&script->tables[i]);
    bytes_done(&script->message);
    free(script);
    return 0;
}

/* --- the server's side --- */

static Bytes *open_message(Script *script, char kind)
{
    bytes_clear(&script->message);
    bytes_put_u8(&script->message, (uint8_t)kind);
    if (script->streamed && strchr("RYIUDTM", kind))
        bytes_put_u32be(&script->message, script->xid);
    return &script->message;
}

static bool try_send(Script *script, Error *err)
{
    uint8_t *exact = malloc(script->message.used);
    memcpy(exact, script->message.data, script->message.used);
    bool ok = pgoutput_message(script->out, script->lsn++, exact, script->message.used, err);
    while (ok && pgoutput_replaying(script->out))
        ok = pgoutput_replay(script->out, err);
    free(exact);
    return ok;
}

static void send(Script *script)
{
    Error err = {0};
    if (!try_send(script, &err))
        fail_msg("%s: %s", err.code, err.message);
}

static void begin(Script *script, uint64_t commit_lsn)
{
    Bytes *to = open_message(script, 'B');
    bytes_put_u64be(to, commit_lsn);
    bytes_put_u64be(to, 1000);
    bytes_put_u32be(to, 7);
    send(script);
}

static void put_commit(Bytes *to, uint64_t commit_lsn)
{
    bytes_put_u8(to, 0);
    bytes_put_u64be(to, commit_lsn);
    bytes_put_u64be(to, commit_lsn + 48);
    bytes_put_u64be(to, 5000000);
}

static void commit(Script *script, uint64_t commit_lsn)
{
    put_commit(open_message(script, 'C'), commit_lsn);
    send(script);
}

typedef struct RelationColumn {
    uint8_t flags;
    const char *name;
    uint32_t oid;
} RelationColumn;

static void put_relation(Script *script, uint32_t oid, const char *name, char identity,
                         const RelationColumn *columns, uint16_t count)
{
    Bytes *to = open_message(script, 'R');
    bytes_put_u32be(to, oid);
    put_cstring(to, "public");
    put_cstring(to, name);
    bytes_put_u8(to, (uint8_t)identity);
    put_u16be(to, count);
    for (uint16_t i = 0; i < count; i++) {
        bytes_put_u8(to, columns[i].flags);
        put_cstring(to, columns[i].name);
        bytes_put_u32be(to, columns[i].oid);
        bytes_put_u32be(to, UINT32_MAX);
    }
    send(script);
}

/* Not in the table's order: columns are found by name. */
static const RelationColumn usual[] = {{0, "big", 25}, {1, "id", 23}, {0, "name", 25}};

static void relation(Script *script, uint32_t oid)
{
    static const char *const names[] = {"orders", "notes", "full"};
    put_relation(script, oid, names[oid / 100 - 1], oid == FULL ? 'f' : 'd', usual, 3);
}

/* name, big: NULL is null, "~" an unchanged value left out. */
static void put_tuple(Bytes *to, int32_t id, const char *name, const char *big)
{
    const char *texts[] = {big, NULL, name};
    put_u16be(to, 3);
    for (size_t i = 0; i < 3; i++) {
        uint32_t number = __builtin_bswap32((uint32_t)id);
        if (i == 1) {
            bytes_put_u8(to, 'b');
            put_counted(to, &number, 4);
        } else if (texts[i] && strcmp(texts[i], "~") == 0) {
            bytes_put_u8(to, 'u');
        } else if (texts[i]) {
            bytes_put_u8(to, 'b');
            put_counted(to, texts[i], strlen(texts[i]));
        } else {
            bytes_put_u8(to, 'n');
        }
    }
}

static void insert(Script *script, uint32_t oid, int32_t id, const char *name)
{
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, oid);
    bytes_put_u8(to, 'N');
    put_tuple(to, id, name, "large");
    send(script);
}

static void put_old(Bytes *to, char kind, int32_t id)
{
    bytes_put_u8(to, (uint8_t)kind);
    put_tuple(to, id, kind == 'O' ? "old name" : NULL, kind == 'O' ? "old big" : NULL);
}

/* old_kind 0: no old tuple. */
static void update(Script *script, uint32_t oid, char old_kind, int32_t old_id, int32_t id,
                   const char *big)
{
    Bytes *to = open_message(script, 'U');
    bytes_put_u32be(to, oid);
    if (old_kind)
        put_old(to, old_kind, old_id);
    bytes_put_u8(to, 'N');
    put_tuple(to, id, "new name", big);
    send(script);
}

static void remove_row(Script *script, uint32_t oid, char old_kind, int32_t id)
{
    Bytes *to = open_message(script, 'D');
    bytes_put_u32be(to, oid);
    put_old(to, old_kind, id);
    send(script);
}

static void truncate_both(Script *script)
{
    Bytes *to = open_message(script, 'T');
    bytes_put_u32be(to, 2);
    bytes_put_u8(to, 0);
    bytes_put_u32be(to, ORDERS);
    bytes_put_u32be(to, NOTES);
    send(script);
}

static void send_stream_start(Script *script, uint32_t xid, bool first)
{
    Bytes *to = open_message(script, 'S');
    bytes_put_u32be(to, xid);
    bytes_put_u8(to, first);
    send(script);
    script->streamed = true;
    script->xid = xid;
}

static void send_stream_stop(Script *script)
{
    script->streamed = false;
    open_message(script, 'E');
    send(script);
}

static void send_stream_commit(Script *script, uint32_t xid, uint64_t commit_lsn)
{
    Bytes *to = open_message(script, 'c');
    bytes_put_u32be(to, xid);
    put_commit(to, commit_lsn);
    send(script);
}

static void send_stream_abort(Script *script, uint32_t xid, uint32_t subxid)
{
    Bytes *to = open_message(script, 'A');
    bytes_put_u32be(to, xid);
    bytes_put_u32be(to, subxid);
    send(script);
}

/* --- our side --- */

/* Everything that is ready, and after it a checkpoint, as text: one word per row. */
static const char *drain(Script *script)
{
    static const char ops[] = "RIUDM";
    static char text[1 << 16];
    size_t used = 0;
    text[0] = '\0';
    if (pgoutput_can_checkpoint(script->out))
        pgoutput_checkpoint(script->out);
    Change change;
    while (pgoutput_take(script->out, &change)) {
        assert_true(used + 2000 < sizeof text);
        if (change.kind == CHANGE_CHECKPOINT)
            used += (size_t)sprintf(text + used, "=%llx.%llu ",
                                    (unsigned long long)change.position.at.major,
                                    (unsigned long long)change.position.at.minor);
        if (change.kind == CHANGE_TRUNCATE)
            used += (size_t)sprintf(text + used, "T%u@%llx.%llu ", change.table,
                                    (unsigned long long)change.row.major,
                                    (unsigned long long)change.row.minor);
        if (change.kind != CHANGE_BATCH)
            continue;
        for (uint32_t row = 0; row < change.batch->row_count; row++) {
            assert_true(used + 2000 < sizeof text);
            used += (size_t)sprintf(text + used, "%c%u:%d@%llx.%llu", ops[change.batch->ops[row]],
                                    change.table, column_i32(&change.batch->columns[0], row),
                                    (unsigned long long)change.batch->positions[row].major,
                                    (unsigned long long)change.batch->positions[row].minor);
            for (size_t i = 1; i < 3; i++) {
                uint32_t bytes;
                const uint8_t *at = column_bytes(&change.batch->columns[i], row, &bytes);
                if (column_is_unchanged(&change.batch->columns[i], row)) {
                    assert_true(column_is_null(&change.batch->columns[i], row));
                    used += (size_t)sprintf(text + used, "/~");
                    continue;
                }
                used += (size_t)sprintf(
                    text + used, "/%.*s", (int)bytes,
                    column_is_null(&change.batch->columns[i], row) ? "" : (const char *)at);
            }
            used += (size_t)sprintf(text + used, " ");
        }
        batch_free(change.batch);
    }
    return text;
}

static void changes_keep_their_order_and_positions(void **state)
{
    Script *script = *state;
    begin(script, 0x1000);
    relation(script, ORDERS);
    insert(script, ORDERS, 1, "one");
    insert(script, ORDERS, 2, NULL);
    update(script, ORDERS, 0, 0, 1, "b");
    relation(script, NOTES);
    insert(script, NOTES, 9, "n");
    remove_row(script, ORDERS, 'K', 2);
    assert_false(pgoutput_can_checkpoint(script->out));
    commit(script, 0x1000);
    assert_string_equal(drain(script),
                        "I0:1@1000.1/one/large I0:2@1000.2//large U0:1@1000.3/new name/b "
                        "D0:2@1000.5// I1:9@1000.4/n/large =1030.0 ");
    assert_false(pgoutput_can_checkpoint(script->out));
    assert_int_equal(pgoutput_changes(script->out), 5);
}

/* Every row's origin, batch by batch: lsn, transaction (xid, the commit before it, seconds),
 * orders, and what the row was; of what is no row (T, M, C) lsn, xid and orders. */
static const char *origins(Script *script)
{
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    pgoutput_checkpoint(script->out);
    Change change;
    while (pgoutput_take(script->out, &change)) {
        char letter = change.kind == CHANGE_TRUNCATE  ? 'T'
                      : change.kind == CHANGE_MESSAGE ? 'M'
                      : change.kind == CHANGE_COMMIT  ? 'C'
                                                      : '\0';
        if (letter)
            used += (size_t)sprintf(
                text + used, "%c%llu/%llu@%llu.%llu%s", letter, (unsigned long long)change.lsn,
                (unsigned long long)change.transaction.id, (unsigned long long)change.total_order,
                (unsigned long long)change.table_order, change.kind == CHANGE_MESSAGE ? "" : " ");
        if (change.kind == CHANGE_MESSAGE)
            used +=
                (size_t)sprintf(text + used, ":%s=%.*s ", change.message->prefix,
                                (int)change.message->bytes, (const char *)change.message->content);
        log_message_free(change.message);
        if (change.kind != CHANGE_BATCH)
            continue;
        const Origins *all = change.batch->origins;
        for (uint32_t row = 0; row < change.batch->row_count; row++) {
            const RowOrigin *one = &all->rows[row];
            const TransactionOrigin *of = &all->transactions[one->transaction];
            used += (size_t)sprintf(
                text + used, "%llu(%llu,%llx,%lld)%llu.%llu", (unsigned long long)one->lsn,
                (unsigned long long)of->id, (unsigned long long)of->last_commit_lsn,
                (long long)(of->commit_us / 1000000 - 946684800),
                (unsigned long long)one->total_order, (unsigned long long)one->table_order);
            uint32_t bytes;
            if (one->before != ORIGIN_NO_BEFORE)
                used += (size_t)sprintf(
                    text + used, ":%d/%.8s", column_i32(&all->before->columns[0], one->before),
                    (const char *)column_bytes(&all->before->columns[1], one->before, &bytes));
            used += (size_t)sprintf(text + used, " ");
        }
        batch_free(change.batch);
    }
    return text;
}

static void put_log_message(Script *script, bool transactional, uint64_t lsn, const char *prefix,
                            const char *content)
{
    Bytes *to = open_message(script, 'M');
    bytes_put_u8(to, transactional);
    bytes_put_u64be(to, lsn);
    put_cstring(to, prefix);
    put_counted(to, content, strlen(content));
    send(script);
}

static void origins_tell_where_rows_come_from(void **state)
{
    Script *script = *state;
    begin(script, 0x1000);
    relation(script, ORDERS);
    relation(script, FULL);
    script->lsn = 50;
    insert(script, ORDERS, 1, "one");
    update(script, FULL, 'O', 3, 3, "b");
    update(script, FULL, 'O', 4, 5, "b"); /* moves */
    remove_row(script, FULL, 'O', 6);
    update(script, ORDERS, 'K', 1, 2, "b");
    commit(script, 0x1000);
    script->lsn = 90;
    begin(script, 0x2000);
    remove_row(script, ORDERS, 'K', 2);
    commit(script, 0x2000);
    assert_string_equal(origins(script),
                        "C4144/7@0.0 C8240/7@0.0 "
                        "50(7,0,0)1.1 54(7,0,0)6.2 54(7,0,0)7.3 91(7,1030,0)1.1 "
                        "51(7,0,0)2.1:3/old name 52(7,0,0)3.2:4/old name 52(7,0,0)4.3 "
                        "53(7,0,0)5.4 ");
}

static void origins_of_a_streamed_transaction(void **state)
{
    Script *script = *state;
    send_stream_start(script, 77, true);
    relation(script, FULL);
    script->lsn = 500;
    insert(script, FULL, 1, "one");
    put_log_message(script, true, 4711, "theirs", "hello");
    update(script, FULL, 'O', 1, 1, "b");
    send_stream_stop(script);
    put_log_message(script, false, 4712, "theirs", "alone");
    put_log_message(script, false, 4713, HEARTBEAT_PREFIX, "");
    put_log_message(script, false, 4712, "theirs", "alone"); /* the log was asked for again */
    script->lsn = 900;
    send_stream_commit(script, 77, 0x3000);
    begin(script, 0x4000);
    relation(script, ORDERS);
    relation(script, NOTES);
    truncate_both(script);
    commit(script, 0x4000);
    assert_string_equal(origins(script),
                        "M4712/0@0.0:theirs=alone 500(77,1268,5)1.1 M4711/77@2.1:theirs=hello "
                        "C12336/77@0.0 T904/7@1.1 T904/7@2.1 C16432/7@0.0 "
                        "502(77,1268,5)3.2:1/old name ");
}

static void a_changed_key_is_a_move_and_an_update(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    relation(script, ORDERS);
    relation(script, FULL);
    update(script, ORDERS, 'K', 1, 5, "b");
    update(script, ORDERS, 'K', 5, 5, "b"); /* the old key came for another reason */
    update(script, FULL, 'O', 7, 7, "b");
    update(script, FULL, 'O', 7, 8, "b");
    remove_row(script, FULL, 'O', 8);
    commit(script, 0x10);
    assert_string_equal(drain(script), "M0:1@10.1// U0:5@10.1/new name/b U0:5@10.2/new name/b "
                                       "U2:7@10.3/new name/b M2:7@10.4// U2:8@10.4/new name/b "
                                       "D2:8@10.5/old name/old big =40.0 ");
}

/* idColumns of the lake's table, beside the source's key. */
static void rows_move_with_what_the_lake_knows_them_by(void **state)
{
    Script *script = *state;
    PgTable *table = &script->tables[2];
    for (int32_t i = 0; i < 3; i++)
        table->source->schema->fields[i].origin = i + 1;
    table->ids = mem_array(1, sizeof *table->ids);
    table->ids[0] = 2; /* name */
    table->id_count = 1;
    begin(script, 0x10);
    relation(script, FULL);
    update(script, FULL, 'O', 7, 7, "b"); /* old name, new name */
    update(script, FULL, 'O', 7, 8, "b");
    commit(script, 0x10);
    assert_string_equal(drain(script), "M2:7@10.1/old name/ U2:7@10.1/new name/b "
                                       "M2:7@10.2/old name/ U2:8@10.2/new name/b =40.0 ");
    /* Old rows come without their name from here on. */
    begin(script, 0x50);
    put_relation(script, FULL, "full", 'd', usual, 3);
    Error err = {0};
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, FULL);
    bytes_put_u8(to, 'N');
    put_tuple(to, 9, "n", "b");
    assert_false(try_send(script, &err));
    assert_string_equal(err.code, "SchemaChanged");
    assert_non_null(strstr(err.message, "idColumns"));
}

static void a_pair_stays_in_one_batch(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    relation(script, ORDERS);
    for (int32_t i = 0; i < 31; i++) /* room for one more row */
        insert(script, ORDERS, i, NULL);
    update(script, ORDERS, 'K', 1, 500, "b");
    commit(script, 0x10);
    pgoutput_checkpoint(script->out);
    uint32_t rows = 0;
    Change change;
    while (pgoutput_take(script->out, &change)) {
        if (change.kind != CHANGE_BATCH)
            continue;
        for (uint32_t row = 0; row < change.batch->row_count; row++)
            if (change.batch->ops[row] == ROW_MOVE) {
                assert_true(row + 1 < change.batch->row_count);
                assert_int_equal(change.batch->ops[row + 1], ROW_UPDATE);
            }
        rows += change.batch->row_count;
        batch_free(change.batch);
    }
    assert_int_equal(rows, 33);
}

static void truncate_comes_after_what_was_before(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    relation(script, ORDERS);
    relation(script, NOTES);
    insert(script, ORDERS, 1, "x");
    truncate_both(script);
    insert(script, ORDERS, 2, "y");
    commit(script, 0x10);
    assert_string_equal(drain(script),
                        "I0:1@10.1/x/large T0@10.2 T1@10.2 I0:2@10.3/y/large =40.0 ");
}

static void unchanged_large_values_are_filled(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    relation(script, ORDERS);
    relation(script, FULL);
    update(script, FULL, 'O', 7, 7, "~");
    assert_int_equal(script->fetches, 0);
    update(script, ORDERS, 0, 0, 3, "~");
    assert_int_equal(script->fetches, 1);
    assert_int_equal(script->fetched_key, 3);
    update(script, ORDERS, 'K', 3, 4, "~"); /* by the new key */
    assert_int_equal(script->fetched_key, 4);
    script->row_gone = true;
    update(script, ORDERS, 0, 0, 4, "~");
    update(script, ORDERS, 'K', 4, 6, "~");
    commit(script, 0x10);
    assert_string_equal(drain(script),
                        "U2:7@10.1/new name/old big U0:3@10.2/new name/fetched M0:3@10.3// "
                        "U0:4@10.3/new name/fetched D0:4@10.4// D0:4@10.5// =40.0 ");
}

static void unchanged_large_values_are_left_to_who_has_the_rows(void **state)
{
    Script *script = *state;
    for (int i = 0; i < 3; i++)
        script->tables[i].fills = true;
    begin(script, 0x10);
    relation(script, ORDERS);
    relation(script, FULL);
    update(script, FULL, 'O', 7, 7, "~"); /* the old row has it */
    insert(script, ORDERS, 2, "x");
    update(script, ORDERS, 0, 0, 3, "~");
    update(script, ORDERS, 'K', 3, 4, "~");
    update(script, ORDERS, 0, 0, 4, "large");
    commit(script, 0x10);
    assert_int_equal(script->fetches, 0);
    assert_string_equal(drain(script),
                        "U2:7@10.1/new name/old big I0:2@10.2/x/large U0:3@10.3/new name/~ "
                        "M0:3@10.4// U0:4@10.4/new name/~ U0:4@10.5/new name/large =40.0 ");
}

static void streamed_transactions_wait_for_their_commit(void **state)
{
    Script *script = *state;
    send_stream_start(script, 70, true);
    relation(script, ORDERS);
    insert(script, ORDERS, 1, "a");
    script->xid = 71; /* a subtransaction */
    insert(script, ORDERS, 2, "sub");
    send_stream_stop(script);
    /* another transaction commits in between */
    begin(script, 0x500);
    relation(script, NOTES);
    insert(script, NOTES, 50, "n");
    commit(script, 0x500);
    assert_string_equal(drain(script), "I1:50@500.1/n/large =530.0 ");
    send_stream_start(script, 70, false);
    script->xid = 72;
    insert(script, ORDERS, 3, "undone");
    script->xid = 73; /* a child of 72 */
    insert(script, ORDERS, 4, "undone");
    send_stream_stop(script);
    send_stream_abort(script, 70, 73);
    send_stream_abort(script, 70, 72);
    send_stream_abort(script, 70, 99); /* never wrote */
    send_stream_start(script, 70, false);
    insert(script, ORDERS, 5, "b");
    send_stream_stop(script);
    send_stream_start(script, 80, true);
    insert(script, ORDERS, 6, "never");
    send_stream_stop(script);
    send_stream_abort(script, 80, 80);
    assert_string_equal(drain(script), "");
    send_stream_commit(script, 70, 0x900);
    assert_string_equal(drain(script), "I0:1@900.1/a/large I0:2@900.2/sub/large "
                                       "I0:5@900.3/b/large =930.0 ");
}

static void what_the_server_forgot_to_undo_is_asked_for_again(void **state)
{
    Script *script = *state;
    begin(script, 0x800);
    commit(script, 0x800);
    assert_string_equal(drain(script), "=830.0 ");
    send_stream_start(script, 80, true);
    relation(script, ORDERS);
    insert(script, ORDERS, 9, "not over");
    send_stream_stop(script);
    send_stream_start(script, 70, true);
    insert(script, ORDERS, 1, "a");
    script->xid = 71;
    insert(script, ORDERS, 2, "kept");
    script->xid = 72;
    insert(script, ORDERS, 3, "undone");
    script->xid = 73;
    insert(script, ORDERS, 4, "aborted");
    send_stream_stop(script);
    send_stream_abort(script, 70, 73);
    script->undone = 72;
    send_stream_commit(script, 70, 0x900);
    assert_int_equal(script->asked, 2);
    assert_true(pgoutput_refused(script->out));
    assert_string_equal(drain(script), "");
    assert_int_equal(pgoutput_forget_streamed(script->out), 0x830);
    assert_false(pgoutput_refused(script->out));
    /* whole, as it comes without streaming; and the other one */
    script->streamed = false;
    begin(script, 0x900);
    relation(script, ORDERS);
    insert(script, ORDERS, 1, "a");
    insert(script, ORDERS, 2, "kept");
    commit(script, 0x900);
    begin(script, 0xa00);
    insert(script, ORDERS, 9, "over");
    commit(script, 0xa00);
    assert_string_equal(drain(script), "I0:1@900.1/a/large I0:2@900.2/kept/large "
                                       "I0:9@a00.1/over/large =a30.0 ");
}

static void a_relation_survives_its_undone_subtransaction(void **state)
{
    Script *script = *state;
    send_stream_start(script, 70, true);
    script->xid = 71;
    relation(script, ORDERS);
    insert(script, ORDERS, 1, "undone");
    send_stream_stop(script);
    send_stream_abort(script, 70, 71);
    send_stream_start(script, 70, false);
    insert(script, ORDERS, 2, "kept");
    send_stream_stop(script);
    send_stream_commit(script, 70, 0x10);
    assert_string_equal(drain(script), "I0:2@10.1/kept/large =40.0 ");
}

static void large_transactions_go_through_a_file(void **state)
{
    Script *script = *state;
    enum { ROWS = 30000 };
    send_stream_start(script, 70, true);
    relation(script, ORDERS);
    for (int32_t i = 0; i < ROWS; i++) {
        script->xid = i == ROWS - 1 ? 72 : i >= ROWS / 2 ? 71 : 70;
        insert(script, ORDERS, i, "a name of some length, so that it is large");
    }
    send_stream_stop(script);
    send_stream_abort(script, 70, 72);
    Bytes *to = open_message(script, 'c');
    bytes_put_u32be(to, 70);
    put_commit(to, 0x10);
    Error err = {0};
    assert_true(pgoutput_message(script->out, 0, to->data, to->used, &err));
    int32_t next = 0;
    bool inside = false;
    RowPosition last = {0};
    for (;;) {
        Change change;
        if (pgoutput_take(script->out, &change)) {
            if (change.kind == CHANGE_CHECKPOINT) { /* larger than transaction_bytes */
                assert_int_equal(change.position.at.major, 0x10);
                assert_int_equal(change.position.at.minor, next);
                inside = true;
                continue;
            }
            for (uint32_t row = 0; row < change.batch->row_count; row++) {
                assert_int_equal(column_i32(&change.batch->columns[0], row), next++);
                assert_true(row_position_compare(last, change.batch->positions[row]) < 0);
                last = change.batch->positions[row];
            }
            batch_free(change.batch);
        } else if (pgoutput_replaying(script->out)) {
            assert_true(pgoutput_replay(script->out, &err));
        } else if (pgoutput_can_checkpoint(script->out)) {
            pgoutput_checkpoint(script->out);
            break;
        }
    }
    while (next < ROWS - 1) {
        Change change;
        assert_true(pgoutput_take(script->out, &change));
        assert_int_equal(change.kind, CHANGE_BATCH);
        next += (int32_t)change.batch->row_count;
        batch_free(change.batch);
    }
    assert_true(inside);
    assert_int_equal(next, ROWS - 1);
    assert_string_equal(drain(script), "=40.0 ");
}

/* Large messages go past the spool's memory, and come back in their place. */
static void a_spool_has_large_messages_in_order(void **state)
{
    (void)state;
    Error err = {0};
    enum { LARGE = 6 << 20 };
    static const size_t sizes[] = {10, LARGE, 20, 300 << 10, 30, LARGE, LARGE, 5};
    AUTO(mem_free) uint8_t *record = mem_zalloc(LARGE);
    AUTO(spool_free) Spool *spool = spool_new(1);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        record[0] = record[sizes[i] - 1] = (uint8_t)i;
        assert_true(spool_put(spool, 1, 100 + i, record, sizes[i], &err));
        record[sizes[i] - 1] = 0;
    }
    assert_true(spool_put(spool, 2, 0, record, LARGE, &err));
    assert_true(spool_abort(spool, 2, &err));
    for (size_t i = 0; i <= ARRAY_LEN(sizes); i++) {
        const uint8_t *at;
        size_t bytes;
        uint64_t lsn;
        assert_true(spool_next(spool, &at, &bytes, &lsn, &err));
        if (i == ARRAY_LEN(sizes)) {
            assert_null(at);
            break;
        }
        assert_int_equal(bytes, sizes[i]);
        assert_int_equal(at[0], i);
        assert_int_equal(at[bytes - 1], i);
        assert_int_equal(lsn, 100 + i);
        spool_rest(spool);
    }
}

static void a_spool_is_cut_inside_its_file(void **state)
{
    (void)state;
    Error err = {0};
    AUTO(spool_free) Spool *spool = spool_new(1);
    char record[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        memset(record, (int)(i % 251), sizeof record);
        assert_true(spool_put(spool,
                              i < 400   ? 1
                              : i < 900 ? 2
                                        : 3,
                              i + 7, record, sizeof record, &err));
    }
    assert_true(spool_abort(spool, 2, &err));
    assert_int_equal(spool_bytes(spool), 400 * 1012);
    memset(record, 7, sizeof record);
    assert_true(spool_put(spool, 4, UINT64_MAX, record, 10, &err));
    const uint8_t *at;
    size_t bytes;
    uint64_t lsn;
    for (uint32_t i = 0; i < 400; i++) {
        assert_true(spool_next(spool, &at, &bytes, &lsn, &err));
        assert_non_null(at);
        assert_int_equal(bytes, sizeof record);
        assert_int_equal(at[999], i % 251);
        assert_int_equal(lsn, i + 7);
    }
    assert_true(spool_next(spool, &at, &bytes, &lsn, &err));
    assert_int_equal(bytes, 10);
    assert_int_equal(at[9], 7);
    assert_int_equal(lsn, UINT64_MAX);
    assert_true(spool_next(spool, &at, &bytes, &lsn, &err));
    assert_null(at);
}

static void keepalives_move_the_checkpoint_when_nothing_is_open(void **state)
{
    Script *script = *state;
    pgoutput_keepalive(script->out, 0x100);
    assert_string_equal(drain(script), "=100.0 ");
    pgoutput_keepalive(script->out, 0x80);
    assert_string_equal(drain(script), "");
    begin(script, 0x200);
    pgoutput_keepalive(script->out, 0x300);
    assert_string_equal(drain(script), "");
    commit(script, 0x200);
    assert_string_equal(drain(script), "=230.0 ");
}

/* The next insert into ORDERS is refused with this code and naming this. */
static void expect_refused(Script *script, const char *code, const char *naming)
{
    Error err = {0};
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 1, "x", "y");
    assert_false(try_send(script, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, code);
    assert_non_null(strstr(err.message, naming));
    assert_non_null(strstr(err.message, "public.orders"));
}

static void changed_tables_are_refused(void **state)
{
    Script *script = *state;
    static const struct {
        RelationColumn columns[4];
        uint16_t count;
        const char *naming;
    } changed[] = {
        {{{1, "id", 23}, {0, "name", 25}, {0, "big", 25}, {0, "more", 25}}, 4, "more"},
        {{{1, "id", 23}, {0, "name", 25}}, 2, "big"},
        {{{1, "id", 20}, {0, "name", 25}, {0, "big", 25}}, 3, "type"},
        {{{0, "id", 23}, {1, "name", 25}, {0, "big", 25}}, 3, "key"},
        {{{1, "id", 23}, {0, "name", 25}, {0, "name", 25}}, 3, "name"},
    };
    begin(script, 0x10);
    for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
        put_relation(script, ORDERS, "orders", 'd', changed[i].columns, changed[i].count);
        expect_refused(script, "SchemaChanged", changed[i].naming);
    }
    put_relation(script, ORDERS, "orders2", 'd', usual, 3);
    expect_refused(script, "SchemaChanged", "another name");
    put_relation(script, 101, "orders", 'd', usual, 3);
    put_relation(script, ORDERS, "orders", 'd', usual, 3);
    insert(script, ORDERS, 1, "x"); /* it fits again */
}

static void other_tables_count_but_are_passed_over(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    put_relation(script, 777, "elsewhere", 'd', usual, 3);
    relation(script, ORDERS);
    insert(script, 777, 1, "x");
    insert(script, ORDERS, 2, "y");
    commit(script, 0x10);
    assert_string_equal(drain(script), "I0:2@10.2/y/large =40.0 ");
}

static void bad_values_name_the_row(void **state)
{
    Script *script = *state;
    Error err = {0};
    begin(script, 0x10);
    relation(script, ORDERS);
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 4711, "\xff", "y");
    assert_false(try_send(script, &err));
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "public.orders column name"));
    assert_non_null(strstr(err.message, "id=4711"));
    to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 4711, "x", "\xff");
    assert_false(try_send(script, &err));
    assert_int_equal(err.kind, ERROR_DATA);
}

/* DROP NOT NULL: the rows before it go first, with the columns as they were. */
static void a_null_makes_a_column_optional(void **state)
{
    Script *script = *state;
    Change change;
    begin(script, 0x10);
    relation(script, ORDERS);
    insert(script, ORDERS, 1, "x");
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 2, "y", NULL); /* big is NOT NULL */
    send(script);
    commit(script, 0x10);
    pgoutput_checkpoint(script->out);
    assert_true(pgoutput_take(script->out, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    assert_int_equal(change.batch->row_count, 1);
    assert_true(change.batch->schema->fields[2].required);
    batch_free(change.batch);
    assert_true(pgoutput_take(script->out, &change));
    assert_int_equal(change.kind, CHANGE_SCHEMA);
    assert_int_equal(change.table, 0);
    assert_int_equal(change.row.minor, 2);
    assert_false(change.schema->fields[2].required);
    assert_non_null(strstr(change.shape, "\"big\""));
    const Schema *schema = change.schema;
    assert_true(pgoutput_take(script->out, &change));
    assert_int_equal(change.kind, CHANGE_BATCH);
    assert_ptr_equal(change.batch->schema, schema);
    assert_int_equal(change.batch->row_count, 1);
    assert_true(column_is_null(&change.batch->columns[2], 0));
    batch_free(change.batch);
    assert_true(pgoutput_take(script->out, &change));
    assert_int_equal(change.kind, CHANGE_CHECKPOINT);
}

/* While the table is copied its columns stay as they are, because the copy's readers use them. */
static void a_null_ends_the_copy(void **state)
{
    Script *script = *state;
    Error err = {0};
    atomic_store(&script->tables[0].copying, true);
    begin(script, 0x10);
    relation(script, ORDERS);
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 2, "y", NULL);
    assert_false(try_send(script, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "ColumnsChanged");
    assert_true(atomic_load(&script->tables[0].source->changed));
    assert_false(atomic_load(&script->tables[1].source->changed));
    assert_true(script->tables[0].source->schema->fields[2].required);
}

/* What is there already is neither looked at nor fitted. */
static void changes_that_are_passed_are_not_decoded(void **state)
{
    Script *script = *state;
    static const RelationColumn other[] = {{1, "id", 20}};
    script->tables[0].passed = (RowPosition){0x10, 1};
    begin(script, 0x10);
    put_relation(script, ORDERS, "orders", 'd', other, 1);
    insert(script, ORDERS, 1, "x");
    relation(script, ORDERS);
    insert(script, ORDERS, 2, "y");
    commit(script, 0x10);
    assert_string_equal(drain(script), "I0:2@10.2/y/large =40.0 ");
}

static void what_is_cut_short_is_refused(void **state)
{
    Script *script = *state;
    begin(script, 0x10);
    relation(script, ORDERS);
    Bytes *to = open_message(script, 'U');
    bytes_put_u32be(to, ORDERS);
    put_old(to, 'K', 1);
    bytes_put_u8(to, 'N');
    put_tuple(to, 2, "name", "big");
    size_t whole = to->used;
    for (size_t bytes = 1; bytes < whole; bytes++) {
        Error err = {0};
        script->message.used = bytes;
        assert_false(try_send(script, &err));
        assert_string_equal(err.code, "BadMessage");
    }
    script->message.used = whole;
    bytes_put_u8(&script->message, 0);
    Error err = {0};
    assert_false(try_send(script, &err));
    script->message.used = whole;
    assert_true(try_send(script, &err));
}

static void out_of_place_is_refused(void **state)
{
    Script *script = *state;
    Error err = {0};
    relation(script, ORDERS);
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_tuple(to, 1, NULL, "b");
    assert_false(try_send(script, &err)); /* outside a transaction */
    put_commit(open_message(script, 'C'), 0x10);
    assert_false(try_send(script, &err));
    to = open_message(script, 'c');
    bytes_put_u32be(to, 70);
    put_commit(to, 0x10);
    assert_false(try_send(script, &err)); /* never streamed */
    begin(script, 0x20);
    put_commit(open_message(script, 'C'), 0x21);
    assert_false(try_send(script, &err)); /* not its Begin's */
    to = open_message(script, 'I');
    bytes_put_u32be(to, 4242);
    assert_false(try_send(script, &err)); /* never described */
    assert_non_null(strstr(err.message, "4242"));
    open_message(script, '?');
    assert_false(try_send(script, &err));
}

/* A server that sends text though binary was asked for. */
static void text_is_refused(void **state)
{
    Script *script = *state;
    Error err = {0};
    relation(script, ORDERS);
    begin(script, 0x20);
    Bytes *to = open_message(script, 'I');
    bytes_put_u32be(to, ORDERS);
    bytes_put_u8(to, 'N');
    put_u16be(to, 3);
    for (size_t i = 0; i < 3; i++) {
        bytes_put_u8(to, 't');
        put_counted(to, "1", 1);
    }
    assert_false(try_send(script, &err));
    assert_string_equal(err.code, "TextValue");
    assert_int_equal(err.kind, ERROR_CONFIG);
}

/* Whether rows came since the table was emptied: a column added then has none to be told of. */
static void a_table_is_empty_until_a_row_comes(void **state)
{
    Script *script = *state;
    relation(script, ORDERS);
    relation(script, NOTES);
    begin(script, 0x20);
    insert(script, ORDERS, 1, "a");
    assert_false(script->tables[0].emptied);
    truncate_both(script);
    assert_true(script->tables[0].emptied && script->tables[1].emptied);
    insert(script, NOTES, 1, "a");
    commit(script, 0x20);
    assert_true(script->tables[0].emptied);
    assert_false(script->tables[1].emptied);
}

#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITH_ORIGINS(test) cmocka_unit_test_setup_teardown(test, setup_with_origins, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPTED(changes_keep_their_order_and_positions),
        WITH_ORIGINS(origins_tell_where_rows_come_from),
        WITH_ORIGINS(origins_of_a_streamed_transaction),
        SCRIPTED(a_changed_key_is_a_move_and_an_update),
        SCRIPTED(rows_move_with_what_the_lake_knows_them_by),
        SCRIPTED(a_pair_stays_in_one_batch),
        SCRIPTED(truncate_comes_after_what_was_before),
        SCRIPTED(unchanged_large_values_are_filled),
        SCRIPTED(unchanged_large_values_are_left_to_who_has_the_rows),
        SCRIPTED(streamed_transactions_wait_for_their_commit),
        SCRIPTED(what_the_server_forgot_to_undo_is_asked_for_again),
        SCRIPTED(a_relation_survives_its_undone_subtransaction),
        SCRIPTED(large_transactions_go_through_a_file),
        cmocka_unit_test(a_spool_has_large_messages_in_order),
        cmocka_unit_test(a_spool_is_cut_inside_its_file),
        SCRIPTED(keepalives_move_the_checkpoint_when_nothing_is_open),
        SCRIPTED(changed_tables_are_refused),
        SCRIPTED(other_tables_count_but_are_passed_over),
        SCRIPTED(bad_values_name_the_row),
        SCRIPTED(a_null_makes_a_column_optional),
        SCRIPTED(a_null_ends_the_copy),
        SCRIPTED(changes_that_are_passed_are_not_decoded),
        SCRIPTED(what_is_cut_short_is_refused),
        SCRIPTED(out_of_place_is_refused),
        SCRIPTED(text_is_refused),
        SCRIPTED(a_table_is_empty_until_a_row_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
