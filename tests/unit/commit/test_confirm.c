/* links: firn_commit */
/* The order of record and source, and where a stream may begin. */
#include "tests/unit/unit.h"

#include "agent/commit/confirm.h"

static RowPosition lows[2];
static RecordEntry entries[3];

static void begin(Confirm *confirm)
{
    confirm_init(confirm, lows, 2, entries, 3, 1000);
    const RowPosition from[] = {{20, 0}, {10, 0}, {30, 0}};
    ConfirmAction action = confirm_start(confirm, from, (RowPosition){10, 0});
    assert_int_equal(action.kind, CONFIRM_START);
    assert_int_equal(action.position.major, 10);
}

static void test_start(void **state)
{
    (void)state;
    Confirm confirm;
    begin(&confirm);
    assert_int_equal(confirm_held(&confirm, (RowPosition){10, 0}).kind, CONFIRM_NOTHING);
    assert_int_equal(confirm_held(&confirm, (RowPosition){11, 0}).kind, CONFIRM_REOPEN);
    const RowPosition from[] = {{20, 0}, {9, 5}, {30, 0}};
    ConfirmAction action = confirm_start(&confirm, from, (RowPosition){10, 0});
    assert_int_equal(action.kind, CONFIRM_STALL);
    assert_int_equal(action.reason, STALL_SLOT_AHEAD);
    assert_int_equal(action.table, 1);
}

static void test_lowest_counts(void **state)
{
    (void)state;
    Confirm confirm;
    begin(&confirm);
    confirm_received(&confirm, (RowPosition){90, 0});
    assert_int_equal(confirm_tick(&confirm, 1, false).kind, CONFIRM_NOTHING);
    confirm_low(&confirm, 0, (RowPosition){50, 0});
    assert_int_equal(confirm_tick(&confirm, 1, false).kind, CONFIRM_NOTHING);
    confirm_low(&confirm, 1, (RowPosition){40, 0});
    ConfirmAction action = confirm_tick(&confirm, 1, false);
    assert_int_equal(action.kind, CONFIRM_WRITE_RECORD);
    assert_int_equal(action.position.major, 40);
    assert_int_equal(confirm_tick(&confirm, 5000, true).kind, CONFIRM_NOTHING); /* one at a time */
    action = confirm_written(&confirm, ANSWER_DONE, 2);
    assert_int_equal(action.kind, CONFIRM_SOURCE);
    assert_int_equal(action.position.major, 40);
    confirm_low(&confirm, 1, (RowPosition){45, 0});
    assert_int_equal(confirm_tick(&confirm, 3, false).kind, CONFIRM_NOTHING); /* the interval */
    assert_int_equal(confirm_tick(&confirm, 3, true).kind, CONFIRM_WRITE_RECORD);
}

/* Whatever the answer but DONE: read, then decide. */
static void test_unknown_record(void **state)
{
    (void)state;
    static const struct {
        CommitAnswer answer;
        uint64_t found;
        ConfirmKind kind;
    } rows[] = {
        {ANSWER_UNKNOWN, 40, CONFIRM_SOURCE},  {ANSWER_UNKNOWN, 10, CONFIRM_WRITE_RECORD},
        {ANSWER_UNKNOWN, 41, CONFIRM_REOPEN},  {ANSWER_CONFLICT, 10, CONFIRM_WRITE_RECORD},
        {ANSWER_CONFLICT, 41, CONFIRM_REOPEN}, {ANSWER_FAILED, 0, CONFIRM_WRITE_RECORD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Confirm confirm;
        begin(&confirm);
        confirm_low(&confirm, 0, (RowPosition){40, 0});
        confirm_low(&confirm, 1, (RowPosition){40, 0});
        assert_int_equal(confirm_tick(&confirm, 1, false).kind, CONFIRM_WRITE_RECORD);
        assert_int_equal(confirm_written(&confirm, rows[i].answer, 2).kind, CONFIRM_NOTHING);
        assert_int_equal(confirm_tick(&confirm, 3, true).kind, CONFIRM_NOTHING);
        assert_int_equal(confirm_tick(&confirm, 3 + COMMIT_PAUSE_MIN_US, false).kind,
                         CONFIRM_READ_RECORD);
        assert_int_equal(confirm_read(&confirm, (RowPosition){rows[i].found, 0}).kind,
                         rows[i].kind);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_lowest_counts),
        cmocka_unit_test(test_unknown_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
