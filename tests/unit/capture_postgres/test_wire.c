/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/wire.h"
#include "common/mem.h"
#include "common/thread.h"

typedef struct Pair {
    Wire wire;
    int server; /* the other end */
    int wake_fd;
} Pair;

static int setup(void **state)
{
    Pair *pair = calloc(1, sizeof *pair);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pair->server = ends[1];
    pair->wake_fd = eventfd(0, 0);
    wire_init_fd(&pair->wire, ends[0], pair->wake_fd, 64);
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    Pair *pair = *state;
    close(pair->wire.fd);
    wire_done(&pair->wire);
    if (pair->server >= 0)
        close(pair->server);
    close(pair->wake_fd);
    free(pair);
    return 0;
}

static void say(Pair *pair, const void *bytes, size_t count)
{
    assert_int_equal(write(pair->server, bytes, count), count);
}
#define SAY(pair, text) say(pair, text, sizeof(text) - 1)

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
        WireResult result = wire_next(&pair->wire, &kind, &content, &err);
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

static void put_all(void *at)
{
    Pair *pair = at;
    enum { LARGE = 6 << 20 };
    AUTO(mem_free) uint8_t *large = mem_zalloc(LARGE);
    uint8_t head[5] = {'d', 0, 0x60, 0, 4};
    say(pair, head, 5);
    for (size_t put = 0; put < LARGE;) {
        ssize_t wrote = write(pair->server, large + put, LARGE - put);
        assert_true(wrote > 0);
        put += (size_t)wrote;
    }
    SAY(pair, "d\0\0\0\7abc");
}

/* Once it is decoded a large message keeps no memory, and what follows it is not lost. */
static void a_large_message_keeps_no_memory(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    uint8_t kind;
    Reader content;
    size_t bytes, seen = 0;
    Thread *thread = thread_start("server", put_all, pair);
    while (seen < 2) {
        WireResult result = wire_next(&pair->wire, &kind, &content, &err);
        if (result == WIRE_EMPTY) {
            assert_int_not_equal(wire_wait(&pair->wire, -1, &err), WIRE_FAILED);
            assert_int_not_equal(wire_read(&pair->wire, &bytes, &err), WIRE_FAILED);
            continue;
        }
        assert_int_equal(result, WIRE_OK);
        if (seen++ == 0) {
            assert_int_equal(reader_left(&content), 6 << 20);
            assert_true(pair->wire.held > 6 << 20);
            wire_rest(&pair->wire);
            assert_true(pair->wire.held < 1 << 20);
        } else {
            assert_int_equal(reader_left(&content), 3);
            assert_memory_equal(content.at, "abc", 3);
        }
    }
    thread_join(thread);
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
    assert_int_equal(wire_next(&pair->wire, &kind, &content, &err), WIRE_EMPTY);
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
        assert_int_equal(wire_next(&pair->wire, &kind, &content, &err), WIRE_FAILED);
        assert_string_equal(err.code, "BadMessage");
        pair->wire.begin = pair->wire.end = 0;
    }
}

static void commands_are_answered(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    SAY(pair, "N\0\0\0\5\0S\0\0\0\6a\0H\0\0\0\4");
    assert_true(wire_command(&pair->wire, "COPY t", 'H', 1000, &err));
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
    assert_false(wire_command(&pair->wire, "START", 'W', 1000, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "NoFreeSlot");
    assert_non_null(strstr(err.message, "max_replication_slots"));
    assert_false(wire_command(&pair->wire, "START", 'W', 1, &err));
    assert_string_equal(err.code, "Timeout");
}

static void an_end_is_a_lost_connection(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    close(pair->server);
    pair->server = -1;
    size_t bytes;
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_FAILED);
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "ConnectionLost");
}

static void a_wait_ends_when_woken(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    assert_int_equal(wire_wait(&pair->wire, 0, &err), WIRE_EMPTY);
    uint64_t one = 1;
    assert_int_equal(write(pair->wake_fd, &one, sizeof one), sizeof one);
    assert_int_equal(wire_wait(&pair->wire, -1, &err), WIRE_WOKEN);
}

static void what_the_socket_refuses_is_kept(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    enum { LARGE = 4 << 20 };
    AUTO(mem_free) uint8_t *large = mem_zalloc(LARGE);
    assert_true(wire_send_copy(&pair->wire, large, LARGE, &err));
    assert_true(wire_sending(&pair->wire));
    size_t got = 0;
    while (got < LARGE + 5) {
        ssize_t count = read(pair->server, large, LARGE);
        assert_true(count > 0);
        got += (size_t)count;
        assert_true(wire_flush(&pair->wire, &err));
    }
    assert_false(wire_sending(&pair->wire));
}

static void errors_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate, *primary;
        ErrorKind kind;
        const char *code, *naming;
    } cases[] = {
        {"28P01", "password authentication failed", ERROR_CONFIG, "WrongPassword", "Secret"},
        {"3D000", "database \"x\" does not exist", ERROR_CONFIG, "DatabaseMissing", "database"},
        {"53300", "too many", ERROR_RETRY, "ServerFull", "max_wal_senders"},
        {"55000", "logical decoding requires wal_level >= logical", ERROR_CONFIG, "WalLevel",
         "ALTER SYSTEM"},
        {"42704", "replication slot \"s\" does not exist", ERROR_CONFIG, "SlotMissing", "s"},
        {"57P01", "terminating connection", ERROR_RETRY, "ServerError", "57P01"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        assert_false(connect_classify(cases[i].sqlstate, cases[i].primary, "", "", &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_string_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.message, cases[i].naming));
    }
}

static void names_are_quoted(void **state)
{
    (void)state;
    AUTO(mem_free) char *name = connect_identifier("a\"b");
    assert_string_equal(name, "\"a\"\"b\"");
    AUTO(mem_free) char *literal = connect_literal("it's \\");
    assert_string_equal(literal, "'it''s \\'");
}

/* Two ends of a TCP connection: other sockets know no low water mark. */
static void tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&address, sizeof address), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
}

/* Few bytes wait for more, but not longer than was said, and afterwards any byte wakes. */
static void gathering_ends(void **state)
{
    enum { FOREVER_MS = 60000, MANY = 8192 };
    (void)state;
    static const uint8_t many[MANY];
    int ends[2];
    Error err = {0};
    size_t bytes;
    tcp_pair(ends);
    Pair pair = {.server = ends[1], .wake_fd = -1};
    wire_init_fd(&pair.wire, ends[0], -1, 2 * MANY);
    SAY(&pair, "few");
    wire_gather(&pair.wire, MANY, 1);
    assert_int_equal(wire_read(&pair.wire, &bytes, &err), WIRE_OK);
    assert_int_equal(bytes, 3);
    say(&pair, many, MANY);
    wire_gather(&pair.wire, MANY, FOREVER_MS);
    assert_int_equal(wire_read(&pair.wire, &bytes, &err), WIRE_OK);
    assert_int_equal(bytes, MANY);
    SAY(&pair, "1");
    assert_int_equal(wire_wait(&pair.wire, FOREVER_MS, &err), WIRE_OK);
    close(ends[0]);
    close(ends[1]);
    wire_done(&pair.wire);
}

#define PAIRED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIRED(a_message_larger_than_the_buffer),
        PAIRED(a_large_message_keeps_no_memory),
        PAIRED(an_announced_length_allocates_nothing),
        PAIRED(impossible_lengths_are_refused),
        PAIRED(commands_are_answered),
        PAIRED(an_end_is_a_lost_connection),
        PAIRED(a_wait_ends_when_woken),
        PAIRED(what_the_socket_refuses_is_kept),
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(names_are_quoted),
        cmocka_unit_test(gathering_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
