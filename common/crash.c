#include "common/crash.h"

#ifdef FIRN_CRASH_POINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void crash_point(const char *name)
{
    static atomic_long passed;
    const char *wanted = getenv("FIRN_CRASH_AT");
    size_t bytes = strlen(name);
    if (!wanted || strncmp(wanted, name, bytes) != 0 || (wanted[bytes] && wanted[bytes] != ':'))
        return;
    long nth = wanted[bytes] ? atol(wanted + bytes + 1) : 1;
    if (atomic_fetch_add(&passed, 1) + 1 != nth)
        return;
    fprintf(stderr, "crash point %s struck\n", name);
    raise(SIGKILL);
    _exit(128 + SIGKILL); /* a container's first process is spared by its own signals */
}
#else
typedef int crash_points_are_off; /* a translation unit must not be empty */
#endif
