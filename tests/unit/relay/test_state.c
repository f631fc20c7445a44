/* links: firn_relay */
/* What is put into the state topic is what is taken out of it, the newest of a key; and a table's
 * columns, from which place of the log on they hold. */
#include "tests/unit/unit.h"

#include "agent/relay/state.h"

static const char one[] = "{\"oid\":1,\"columns\":[]}", two[] = "{\"oid\":1,\"columns\":[[1]]}",
                  three[] = "{\"oid\":1,\"columns\":[[2]]}";

static RowPosition at(uint64_t major)
{
    return (RowPosition){.major = major};
}

/* Everything put, read again into another state. */
static void pass(TopicRecords *records, State *to)
{
    for (size_t i = 0; i < records->count; i++) {
        const TopicRecord *record = &records->items[i];
        Error err;
        assert_true(state_take(to, records->bytes.data + record->key.at, record->key.bytes,
                               records->bytes.data + record->value.at, record->value.bytes, &err));
    }
    topic_records_clear(records);
}

static void test_there_and_back(void **unused)
{
    (void)unused;
    AUTO(topic_records_done) TopicRecords records = {0};
    AUTO(state_done) State from = {0};
    AUTO(state_done) State to = {0};
    TableState *orders = state_add(&from, "public.orders", "shop.public.orders");
    table_state_begin(orders, at(100), one);
    state_put_table(orders, &records);
    orders->progress = mem_strdup("until=64 1.2:0-8");
    orders->grows = 4;
    orders->grows_at = (RowPosition){150, 1};
    orders->partitions = 2;
    uint64_t *ends = mem_array(2, sizeof *ends);
    ends[0] = 120;
    ends[1] = 98;
    table_state_grown(orders, ends);
    orders->grows = 6;
    orders->grows_at = at(170);
    orders->key = mem_array(2, sizeof *orders->key);
    orders->key[orders->key_count++] = 3;
    orders->key[orders->key_count++] = -7;
    table_state_again(orders, "first", "[\"7\"]", false);
    assert_int_equal(table_state_learn(orders, (RowPosition){200, 3}, two)->version, 2);
    state_put_table(orders, &records);
    const Position position = position_of("postgresql/1/1/firn", (RowPosition){300, 7});
    state_put_position("retail/shop", &position, "0-1-7", &records);
    pass(&records, &to);
    assert_string_equal(to.connector, "retail/shop");
    assert_int_equal(position_compare(&to.position, &position), POSITION_EQUAL);
    assert_string_equal(to.anchor, "0-1-7");
    assert_int_equal(to.anchored.major, 300);
    assert_int_equal(to.table_count, 1);
    TableState *read = state_table(&to, "public.orders");
    assert_non_null(read);
    assert_string_equal(read->topic, "shop.public.orders");
    assert_false(read->complete);
    assert_string_equal(read->progress, "until=64 1.2:0-8");
    assert_int_equal(read->begun.major, 100);
    assert_int_equal(read->column_count, 2);
    assert_string_equal(read->columns[1].shape, two);
    assert_int_equal(read->columns[1].from.minor, 3);
    assert_int_equal(read->partitions, 4);
    assert_int_equal(read->grown_count, 1);
    assert_int_equal(read->grown[0].partitions, 2);
    assert_int_equal(read->grown[0].at.minor, 1);
    assert_int_equal(read->grown[0].ends[1], 98);
    assert_int_equal(read->grows, 6);
    assert_int_equal(table_state_acknowledged(read).major, 170);
    assert_int_equal(read->key_count, 2);
    assert_int_equal(read->key[0], 3);
    assert_int_equal(read->key[1], -7);
    assert_string_equal(read->again_id, "first");
    assert_string_equal(read->again_after, "[\"7\"]");
    assert_false(read->again_done);
    table_state_again(read, read->again_id, NULL, true);
    read->complete = true;
    state_put_table(read, &records);
    pass(&records, &from);
    assert_string_equal(state_table(&from, "public.orders")->again_id, "first");
    assert_null(state_table(&from, "public.orders")->again_after);
    assert_true(state_table(&from, "public.orders")->again_done);
    /* what was done stays done, whatever else is asked for meanwhile */
    TableState *asked = state_table(&from, "public.orders");
    table_state_again(asked, "second", "[\"9\"]", false);
    assert_true(table_state_is_done(asked, "first"));
    assert_false(table_state_is_done(asked, "second"));
    table_state_again(asked, "third", NULL, true); /* the second was given up */
    assert_false(table_state_is_done(asked, "second"));
    state_put_table(asked, &records);
    pass(&records, &to);
    asked = state_table(&to, "public.orders");
    assert_true(table_state_is_done(asked, "first"));
    assert_false(table_state_is_done(asked, "second"));
    assert_true(table_state_is_done(asked, "third"));
    for (int i = 0; i < 40; i++) { /* not for ever */
        AUTO(mem_free) char *id = mem_format("id %d", i);
        table_state_again(asked, id, NULL, true);
    }
    assert_false(table_state_is_done(asked, "first"));
    assert_true(table_state_is_done(asked, "id 25"));
    assert_true(state_table(&from, "public.orders")->complete);
    assert_null(state_table(&from, "public.orders")->progress);
}

static void test_columns(void **unused)
{
    (void)unused;
    AUTO(state_done) State state = {0};
    TableState *table = state_add(&state, "public.t", "t");
    table_state_begin(table, at(10), one);
    assert_int_equal(table_state_learn(table, at(20), two)->version, 2);
    assert_int_equal(table_state_learn(table, at(30), three)->version, 3);
    assert_null(table_state_columns(table, at(9)));
    assert_int_equal(table_state_columns(table, at(10))->version, 1);
    assert_int_equal(table_state_columns(table, at(29))->version, 2);
    assert_int_equal(table_state_columns(table, at(1000))->version, 3);
    /* a restart at 25 learns the third again, and gives it no other number */
    assert_int_equal(table_state_learn(table, at(30), three)->version, 3);
    assert_int_equal(table->column_count, 3);
    table_state_forget(table, at(25));
    assert_int_equal(table->column_count, 2);
    assert_int_equal(table_state_columns(table, at(25))->version, 2);
    table_state_forget(table, at(5)); /* nothing that is needed */
    assert_int_equal(table->column_count, 2);
    /* the copy begins anew: numbers go on */
    table_state_begin(table, at(50), one);
    assert_int_equal(table->column_count, 1);
    assert_int_equal(table->columns[0].version, 4);
}

static void refuse(const char *key, const char *value)
{
    AUTO(state_done) State state = {0};
    Error err = {0};
    assert_false(state_take(&state, key, strlen(key), value, strlen(value), &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "BadState");
}

static void test_refused(void **unused)
{
    (void)unused;
    AUTO(state_done) State state = {0};
    Error err;
    refuse("position", "no json");
    refuse("position", "{\"version\":2,\"connector\":\"c\",\"position\":\"p/1/1/s@0/1.0\"}");
    refuse("position", "{\"version\":1,\"connector\":\"c\",\"position\":\"p\"}");
    refuse("table/public.t",
           "{\"version\":1,\"topic\":\"t\",\"copy\":\"complete\",\"begun\":\"x\"}");
    refuse("table/public.t",
           "{\"version\":1,\"topic\":\"t\",\"copy\":\"complete\",\"begun\":\"1.0\","
           "\"columns\":[]}");
    refuse("table/public.t",
           "{\"version\":1,\"topic\":\"t\",\"copy\":\"complete\",\"begun\":\"1.0\","
           "\"columns\":[{\"version\":-1,\"from\":\"1.0\",\"shape\":{}}]}");
    assert_true(state_take(&state, "other", 5, "what", 4, &err)); /* a later version's */
    assert_true(state_take(&state, NULL, 0, NULL, 0, &err));
    table_state_begin(state_add(&state, "public.t", "t"), at(1), one);
    assert_true(state_take(&state, "table/public.t", 14, NULL, 0, &err)); /* a tombstone */
    assert_int_equal(state.table_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_columns),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
