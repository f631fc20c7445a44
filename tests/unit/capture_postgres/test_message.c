/* links: firn_capture_postgres */
#include "tests/unit/capture_wire/pair.h"

#include "agent/capture/postgres/message.h"
#include "common/mem.h"

static void a_message_larger_than_the_buffer(void **state)
{
    Pair *pair = *state;
    enum { LARGE = 100000 };
    AUTO(mem_free) uint8_t *large = mem_zalloc(LARGE);
    uint8_t head[5] = {'d', 0, 1, 0x86, 0xa4}; /* 100004 */
    Error err = {0};
    uint8_t kind;
    Reader content;
    size_t bytes;
    SAY(pair, "Z\0\0\0\5I");
    say(pair, head, 5);
    large[LARGE - 1] = 42;
    say(pair, large, LARGE);
    SAY(pair, "c\0\0\0\4");
    int seen = 0;
    while (seen < 3) {
        WireResult result = message_next(&pair->wire, &kind, &content, &err);
        if (result == WIRE_EMPTY) {
            assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
            continue;
        }
        assert_int_equal(result, WIRE_OK);
        assert_int_equal(kind, "Zdc"[seen]);
        assert_int_equal(reader_left(&content), ((size_t[]){1, LARGE, 0})[seen]);
        if (seen++ == 1)
            assert_int_equal(content.at[LARGE - 1], 42);
    }
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_EMPTY);
}

static void an_announced_length_allocates_nothing(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    uint8_t kind;
    Reader content;
    size_t bytes;
    SAY(pair, "d\x3f\xff\xff\xff");
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
    assert_int_equal(message_next(&pair->wire, &kind, &content, &err), WIRE_EMPTY);
    assert_int_equal(pair->wire.held, 64);
}

static void impossible_lengths_are_refused(void **state)
{
    Pair *pair = *state;
    static const char *const heads[] = {"d\xff\xff\xff\xff", "d\x40\0\0\1", "d\0\0\0\3"};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        Error err = {0};
        uint8_t kind;
        Reader content;
        size_t bytes;
        say(pair, heads[i], 5);
        assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
        assert_int_equal(message_next(&pair->wire, &kind, &content, &err), WIRE_FAILED);
        assert_string_equal(err.code, "BadMessage");
        pair->wire.begin = pair->wire.end = 0;
    }
}

static void commands_are_answered(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    SAY(pair, "N\0\0\0\5\0S\0\0\0\6a\0H\0\0\0\4");
    assert_true(message_command(&pair->wire, "COPY t", 'H', 1000, &err));
    char sent[64];
    assert_int_equal(read(pair->server, sent, sizeof sent), 12);
    assert_memory_equal(sent,
                        "Q\0\0\0\x0b"
                        "COPY t",
                        12);
    SAY(pair, "E\0\0\0\x29"
              "SERROR\0"
              "C53400\0"
              "Mall slots are in use\0\0");
    assert_false(message_command(&pair->wire, "START", 'W', 1000, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "NoFreeSlot");
    assert_non_null(strstr(err.message, "max_replication_slots"));
    assert_false(message_command(&pair->wire, "START", 'W', 1, &err));
    assert_string_equal(err.code, "Timeout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIRED(a_message_larger_than_the_buffer),
        PAIRED(an_announced_length_allocates_nothing),
        PAIRED(impossible_lengths_are_refused),
        PAIRED(commands_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
