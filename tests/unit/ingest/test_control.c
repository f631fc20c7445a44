/* links: firn_ingest */
/* What the processes of a group say comes back as it was said; anything else is no word. */
#include "tests/unit/unit.h"

#include "agent/commit/lanes.h"
#include "agent/ingest/control.h"

static Report report(void)
{
    Report report = {.generation = 7, .serial = UINT64_MAX, .lane = 4095, .count = 3};
    report.pieces[0] = (Piece){
        .id = {0xfedcba9876543210, 1}, .rows = 12, .from = {0, {0, 0}}, .to = {9, {UINT64_MAX, 5}}};
    report.pieces[1] = (Piece){.id = {1, 2}, .from = {9, {UINT64_MAX, 5}}, .to = {11, {1, 1}}};
    report.pieces[2] = (Piece){.from = {11, {1, 1}},
                               .to = {12, {2, 0}},
                               .barrier = {BARRIER_TRUNCATE, GROUP_LANES_MAX, {2, 0}}};
    return report;
}

static void test_words(void **state)
{
    (void)state;
    Control control = {0};
    Bytes bytes = {0};
    const Report said = report();
    control_put_report(&bytes, 42, &said);
    control_take(bytes.data, bytes.used, &control);
    assert_int_equal(control.kind, CONTROL_REPORT);
    assert_int_equal(control.sender, 42);
    assert_memory_equal(&control.report, &said, sizeof said);
    static LaneValue lanes[GROUP_LANES_MAX];
    for (uint32_t i = 0; i < GROUP_LANES_MAX; i++)
        lanes[i] = (LaneValue){i, {i * 3, 1}};
    for (uint32_t count = 0; count <= GROUP_LANES_MAX; count = count * 2 + 1) {
        const Announcement announcement = {.generation = 3,
                                           .serial = count,
                                           .asks = count % 2,
                                           .source = "kafka/c/t#x",
                                           .lane_count = count,
                                           .lanes = lanes};
        bytes_clear(&bytes);
        control_put_announcement(&bytes, 1, &announcement);
        control_take(bytes.data, bytes.used, &control);
        assert_int_equal(control.kind, CONTROL_ANNOUNCEMENT);
        assert_string_equal(control.announcement.source, "kafka/c/t#x");
        assert_int_equal(control.announcement.serial, count);
        assert_int_equal(control.announcement.asks, count % 2);
        assert_int_equal(control.announcement.lane_count, count);
        assert_memory_equal(control.announcement.lanes, lanes, count * sizeof *lanes);
    }
    bytes_done(&bytes);
    control_done(&control);
}

static void test_no_words(void **state)
{
    (void)state;
    Control control = {0};
    Bytes bytes = {0};
    const Report said = report();
    control_put_report(&bytes, 42, &said);
    for (size_t cut = 0; cut < bytes.used; cut++) {
        control_take(bytes.data, cut, &control);
        assert_int_equal(control.kind, CONTROL_NONE);
    }
    bytes_put_u8(&bytes, 0);
    control_take(bytes.data, bytes.used, &control);
    assert_int_equal(control.kind, CONTROL_NONE); /* it goes on behind its end */
    bytes.data[0] = 2;
    control_take(bytes.data, bytes.used - 1, &control);
    assert_int_equal(control.kind, CONTROL_NONE); /* of another version */
    uint64_t seed = 5;
    for (int i = 0; i < 200000; i++) {
        uint8_t noise[64];
        for (size_t k = 0; k < sizeof noise; k += 8) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            memcpy(noise + k, &seed, 8);
        }
        noise[0] = 1;
        noise[1] = i % 2 ? 'A' : 'R';
        control_take(noise, 10 + (size_t)i % 54, &control);
    }
    bytes_done(&bytes);
    control_done(&control);
}

static void test_positions(void **state)
{
    (void)state;
    static const char *const good[] = {"kafka/c/t#x@0", "a@1,2,3",
                                       "kafka/c@d@18446744073709551615/0.1,7/5.0,0"};
    static const char *const bad[] = {
        "",      "@1",      "a@",       "a@1,", "a@01",
        "a@1/0", "a@1/0.0", "a@1/1.2x", "a@-1", "a@18446744073709551616",
        "a",     "a@1 2"};
    LanePosition position;
    Error err;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(lane_position_parse(good[i], &position, &err));
        char *text = lane_position_format(position.source, position.lanes, position.lane_count);
        assert_string_equal(text, good[i]);
        free(text);
        lane_position_done(&position);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (lane_position_parse(bad[i], &position, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_string_equal(err.code, "BadPosition");
        lane_position_done(&position);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_no_words),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
