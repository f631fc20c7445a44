/* links: firn_capture_wire */
#include "tests/unit/capture_wire/pair.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/thread.h"
#include "tests/unit/tls_script.h"

enum { FOREVER_MS = 60000 };

/* Bytes that tell where they stand. */
static uint8_t *counted(size_t count)
{
    uint8_t *bytes = mem_alloc(count);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    return bytes;
}

typedef struct Speech {
    Pair *pair;
    SSL *tls; /* NULL: by the socket as it is */
    const uint8_t *bytes;
    size_t count;
} Speech;

static void speak(void *at)
{
    const Speech *speech = at;
    if (!speech->tls) {
        say(speech->pair, speech->bytes, speech->count);
        return;
    }
    assert_int_equal(SSL_accept(speech->tls), 1);
    assert_int_equal(SSL_write(speech->tls, speech->bytes, (int)speech->count), speech->count);
}

/* Reads on until all is there that was said, and takes it in messages of this size. */
static void hear(Wire *wire, const uint8_t *said, size_t count, size_t message)
{
    Error err = {0};
    for (size_t taken = 0; taken < count;) {
        size_t next = message < count - taken ? message : count - taken;
        while (wire->end - wire->begin < next)
            assert_true(wire_more(wire, clock_mono_us(), FOREVER_MS, &err));
        assert_memory_equal(wire->data + wire->begin, said + taken, next);
        wire->begin += next;
        taken += next;
    }
}

/* The buffer's end cuts messages anywhere; large ones let it grow. */
static void messages_are_whole_wherever_they_are_cut(void **state)
{
    Pair *pair = *state;
    static const size_t messages[] = {1, 7, 63, 64, 65, 1000, 300000};
    enum { COUNT = 300000 };
    AUTO(mem_free) uint8_t *said = counted(COUNT);
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        Thread *thread = thread_start("server", speak, &(Speech){pair, NULL, said, COUNT});
        hear(&pair->wire, said, COUNT, messages[i]);
        thread_join(thread);
    }
    assert_int_equal(pair->wire.bytes_read, COUNT * ARRAY_LEN(messages));
    size_t bytes;
    Error err = {0};
    assert_int_equal(wire_read(&pair->wire, &bytes, &err), WIRE_EMPTY);
    assert_int_equal(bytes, 0);
}

/* Once it is decoded a large message keeps no memory, and what follows it is not lost. */
static void a_large_message_keeps_no_memory(void **state)
{
    Pair *pair = *state;
    Wire *wire = &pair->wire;
    enum { LARGE = 6 << 20, MORE = 100 };
    Error err = {0};
    AUTO(mem_free) uint8_t *said = counted(LARGE + MORE);
    Thread *thread = thread_start("server", speak, &(Speech){pair, NULL, said, LARGE + MORE});
    while (wire->end < LARGE + MORE)
        assert_true(wire_more(wire, clock_mono_us(), FOREVER_MS, &err));
    thread_join(thread);
    assert_true(wire->held >= LARGE);
    assert_memory_equal(wire->data, said, LARGE);
    wire_rest(wire);
    assert_true(wire->held >= LARGE); /* not while it is not taken */
    wire->begin += LARGE;
    wire_rest(wire);
    assert_true(wire->held < 1 << 20);
    hear(wire, said + LARGE, MORE, MORE);
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
    err = (Error){0};
    assert_false(wire_more(&pair->wire, clock_mono_us(), FOREVER_MS, &err));
    assert_string_equal(err.code, "ConnectionLost");
    bytes_put(&pair->wire.out, "x", 1);
    err = (Error){0};
    assert_false(wire_flush(&pair->wire, &err));
    assert_string_equal(err.code, "ConnectionLost");
}

static void a_wait_ends(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    uint64_t one = 1;
    assert_int_equal(wire_wait(&pair->wire, 0, &err), WIRE_EMPTY);
    assert_false(wire_more(&pair->wire, clock_mono_us(), 1, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "Timeout");
    SAY(pair, "x");
    assert_int_equal(wire_wait(&pair->wire, FOREVER_MS, &err), WIRE_OK);
    assert_true(wire_more(&pair->wire, clock_mono_us(), 0, &err)); /* what is there is no wait */
    assert_int_equal(write(pair->wake_fd, &one, sizeof one), sizeof one);
    assert_int_equal(wire_wait(&pair->wire, -1, &err), WIRE_WOKEN);
    assert_false(wire_more(&pair->wire, clock_mono_us(), FOREVER_MS, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "Cancelled");
}

/* It goes with the calls that follow, and while the wire waits. */
static void what_the_socket_refuses_is_kept(void **state)
{
    Pair *pair = *state;
    Error err = {0};
    enum { LARGE = 4 << 20 };
    AUTO(mem_free) uint8_t *said = counted(LARGE);
    AUTO(mem_free) uint8_t *heard = mem_alloc(LARGE);
    bytes_put(&pair->wire.out, said, LARGE);
    assert_true(wire_flush(&pair->wire, &err));
    assert_true(wire_sending(&pair->wire));
    for (size_t got = 0; got < LARGE;) {
        ssize_t count = read(pair->server, heard + got, LARGE - got);
        assert_true(count > 0);
        got += (size_t)count;
        assert_int_equal(wire_wait(&pair->wire, 0, &err), WIRE_EMPTY);
    }
    assert_memory_equal(heard, said, LARGE);
    assert_false(wire_sending(&pair->wire));
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

/* Few bytes wait for more, but not longer than was said, and afterwards any byte wakes, or as many
 * as are asked for. */
static void gathering_ends(void **state)
{
    enum { MANY = 8192 };
    (void)state;
    static const uint8_t many[MANY];
    int ends[2];
    Error err = {0};
    size_t bytes;
    tcp_pair(ends);
    Pair pair = {.server = ends[1]};
    wire_init(&pair.wire, ends[0], NULL, -1, 2 * MANY, SIZE_MAX);
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
    wire_wake_at(&pair.wire, MANY);
    assert_int_equal(wire_wait(&pair.wire, 1, &err), WIRE_EMPTY);
    say(&pair, many, MANY);
    assert_int_equal(wire_wait(&pair.wire, FOREVER_MS, &err), WIRE_OK);
    close(ends[0]);
    close(ends[1]);
    wire_done(&pair.wire);
}

/* A TLS session hands out a record at a time; a read takes all that are there. What the session
 * holds, the socket no longer shows: no wait may miss it. */
static void tls_is_read_in_large_pieces(void **state)
{
    Pair *pair = *state;
    Wire *wire = &pair->wire;
    enum { COUNT = 200000 };
    AUTO(mem_free) char *pem = NULL;
    AUTO(mem_free) uint8_t *said = counted(COUNT);
    Error err = {0};
    size_t bytes;
    SSL_CTX *theirs = tls_with(&pem), *ours = SSL_CTX_new(TLS_client_method());
    SSL *server = SSL_new(theirs), *client = SSL_new(ours);
    SSL_set_fd(server, pair->server);
    SSL_set_fd(client, wire->fd);
    int wake_fd = wire->wake_fd, fd = wire->fd;
    wire_done(wire);
    Thread *thread = thread_start("server", speak, &(Speech){pair, server, said, COUNT});
    wire_init(wire, fd, client, wake_fd, 64, SIZE_MAX);
    while (SSL_connect(client) != 1)
        assert_int_equal(wire_wait(wire, FOREVER_MS, &err), WIRE_OK);
    hear(wire, said, COUNT, 100000);
    thread_join(thread);
    assert_int_equal(wire_read(wire, &bytes, &err), WIRE_EMPTY);

    assert_int_equal(SSL_write(server, "two ", 4), 4);
    assert_int_equal(SSL_write(server, "records", 7), 7);
    assert_int_equal(wire_wait(wire, FOREVER_MS, &err), WIRE_OK);
    uint8_t one;
    assert_int_equal(SSL_read(client, &one, 1), 1);
    assert_int_equal(wire_wait(wire, FOREVER_MS, &err), WIRE_OK);
    assert_int_equal(wire_read(wire, &bytes, &err), WIRE_OK);
    assert_int_equal(bytes, 10);

    bytes_put(&wire->out, "heard", 5);
    assert_true(wire_flush(wire, &err));
    char heard[8];
    assert_int_equal(SSL_read(server, heard, sizeof heard), 5);
    assert_memory_equal(heard, "heard", 5);
    SSL_shutdown(server);
    assert_false(wire_more(wire, clock_mono_us(), FOREVER_MS, &err));
    assert_string_equal(err.code, "ConnectionLost");
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(theirs);
    SSL_CTX_free(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIRED(messages_are_whole_wherever_they_are_cut),
        PAIRED(a_large_message_keeps_no_memory),
        PAIRED(an_end_is_a_lost_connection),
        PAIRED(a_wait_ends),
        PAIRED(what_the_socket_refuses_is_kept),
        cmocka_unit_test(gathering_ends),
        PAIRED(tls_is_read_in_large_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
