/* A wire to a server that the test plays: the other end of a socket pair. */
#pragma once

#include "tests/unit/unit.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/wire/wire.h"

typedef struct Pair {
    Wire wire; /* whose buffer is small at first */
    int server;
    int wake_fd;
} Pair;

static int pair_setup(void **state)
{
    Pair *pair = calloc(1, sizeof *pair);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pair->server = ends[1];
    pair->wake_fd = eventfd(0, 0);
    wire_init(&pair->wire, ends[0], NULL, pair->wake_fd, 64, (size_t)1 << 30);
    *state = pair;
    return 0;
}

static int pair_teardown(void **state)
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

#define PAIRED(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)

static void say(Pair *pair, const void *bytes, size_t count)
{
    for (size_t put = 0; put < count;) {
        ssize_t part = write(pair->server, (const char *)bytes + put, count - put);
        assert_true(part > 0);
        put += (size_t)part;
    }
}
#define SAY(pair, text) say(pair, text, sizeof(text) - 1)
