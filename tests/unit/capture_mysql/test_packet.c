/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/packet.h"
#include "common/mem.h"
#include "common/thread.h"
#include "tests/unit/capture_wire/pair.h"

#define FULL 0xffffff

/* Several in one piece, one in several, an empty one. */
static void packets_are_cut_where_they_end(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    Reader packet;
    size_t bytes;
    SAY(pair, "\1\0\0\0a\2\0\0\1bc\0\0\0\2\3\0\0\3d");
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
    static const char *const wanted[] = {"a", "bc", ""};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_int_equal(my_packet_next(&pair->wire, &packet, &err), WIRE_OK);
        assert_int_equal(reader_left(&packet), strlen(wanted[i]));
        assert_memory_equal(packet.at, wanted[i], strlen(wanted[i]));
    }
    assert_int_equal(my_packet_next(&pair->wire, &packet, &err), WIRE_EMPTY);
    SAY(pair, "ef");
    assert_true(my_packet_take(&pair->wire, 1000, &packet, &err));
    assert_memory_equal(packet.at, "def", 3);
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_EMPTY);
}

typedef struct Large {
    Pair *pair;
    const Bytes *what;
} Large;

static void put_all(void *at)
{
    const Large *large = at;
    say(large->pair, large->what->data, large->what->used);
}

/* One of 2^24 - 1 bytes goes on in the next, if only with nothing; its memory is given back. */
static void long_packets_are_joined(void **state)
{
    Pair *pair = *state;
    static const size_t more[] = {0, 5};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        Error err = {0};
        Reader packet;
        Bytes text = {0};
        AUTO(mem_free) uint8_t *content = mem_alloc(FULL + more[i]);
        for (size_t k = 0; k < FULL + more[i]; k++)
            content[k] = (uint8_t)(k * 31 >> 3);
        put_le(&text, FULL, 4);
        bytes_put(&text, content, FULL);
        put_le(&text, more[i], 4);
        bytes_put(&text, content + FULL, more[i]);
        bytes_put(&text, "\1\0\0\0z", 5);
        Thread *thread = thread_start("server", put_all, &(Large){pair, &text});
        assert_true(my_packet_take(&pair->wire, 60000, &packet, &err));
        assert_int_equal(reader_left(&packet), FULL + more[i]);
        assert_memory_equal(packet.at, content, FULL + more[i]);
        assert_true(pair->wire.held > FULL);
        wire_rest(&pair->wire);
        assert_true(pair->wire.held < WIRE_KEPT_BYTES);
        assert_true(my_packet_take(&pair->wire, 60000, &packet, &err));
        assert_memory_equal(packet.at, "z", 1);
        thread_join(thread);
        bytes_done(&text);
    }
}

static void an_announced_length_allocates_nothing(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    Reader packet;
    size_t bytes;
    SAY(pair, "\xff\xff\xff\0x");
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
    assert_int_equal(my_packet_next(&pair->wire, &packet, &err), WIRE_EMPTY);
    assert_int_equal(pair->wire.held, 64);
}

static void a_packet_over_the_limit_is_refused(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    Reader packet;
    size_t bytes;
    pair->wire.message_max = 10;
    SAY(pair, "\x0b\0\0\0elevenbytes");
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_OK);
    assert_int_equal(my_packet_next(&pair->wire, &packet, &err), WIRE_FAILED);
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "BadMessage");
    assert_non_null(strstr(err.message, "10 bytes"));
}

/* One that never ends is refused before all of it is there. */
static void a_packet_without_end_is_refused(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    Reader packet;
    Bytes text = {0};
    pair->wire.message_max = 1000;
    put_le(&text, FULL, 4);
    bytes_grow(&text, 4096);
    memset(text.data + text.used, 'x', 4096);
    text.used += 4096;
    say(pair, text.data, text.used);
    assert_false(my_packet_take(&pair->wire, 60000, &packet, &err));
    assert_string_equal(err.code, "BadMessage");
    assert_true(pair->wire.held <= 4096);
    bytes_done(&text);
}

static void an_end_is_a_lost_connection(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    Reader packet;
    SAY(pair, "\5\0\0\0ab");
    close(pair->server);
    pair->server = -1;
    assert_false(my_packet_take(&pair->wire, 60000, &packet, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "ConnectionLost");
}

static void errors_and_ends_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        size_t bytes;
        bool is_error, is_eof;
    } cases[] = {
        {TEXT("\xff\x28\4"), true, false},
        {TEXT("\xfe\0\0\2\0"), false, true},
        {TEXT("\xfe"), false, true},
        {TEXT("\xfe"
              "12345678"),
         false, false},
        {TEXT(""), false, false},
        {TEXT("\0\xff\xfe"), false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Reader packet = reader_over(cases[i].packet, cases[i].bytes);
        assert_int_equal(my_packet_is_error(&packet), cases[i].is_error);
        assert_int_equal(my_packet_is_eof(&packet), cases[i].is_eof);
    }
}

/* Whatever is in it: never a byte behind its end, and always words. */
static void an_error_packet_is_read_to_its_end(void **state)
{
    (void)state;
    static const char whole[] = "\xff\x28\4#42000denied to you";
    for (size_t bytes = 1; bytes < sizeof whole; bytes++) {
        Error err = {0};
        uint8_t *exact = malloc(bytes);
        memcpy(exact, whole, bytes);
        assert_false(my_packet_error(reader_over(exact, bytes), &err));
        assert_string_equal(err.code, bytes < 3 ? "BadMessage" : "ServerError");
        assert_true(bytes < sizeof whole - 1 || strstr(err.message, "denied to you (error 1064)"));
        free(exact);
    }
    Bytes endless = {0};
    Error err = {0};
    bytes_put(&endless, "\xff\x45\4", 3); /* without a state */
    bytes_grow(&endless, 100000);
    memset(endless.data + endless.used, 'e', 100000);
    endless.used += 100000;
    assert_false(my_packet_error(reader_over(endless.data, endless.used), &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_non_null(strstr(err.message, "eeee"));
    bytes_done(&endless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIRED(packets_are_cut_where_they_end),
        PAIRED(long_packets_are_joined),
        PAIRED(an_announced_length_allocates_nothing),
        PAIRED(a_packet_over_the_limit_is_refused),
        PAIRED(a_packet_without_end_is_refused),
        PAIRED(an_end_is_a_lost_connection),
        cmocka_unit_test(errors_and_ends_are_told_apart),
        cmocka_unit_test(an_error_packet_is_read_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
