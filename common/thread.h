/* Named threads. The name is what top and perf show (15 characters at most). */
#pragma once

#include <pthread.h>

#include "common/attrs.h"

typedef struct Thread Thread;

/* Starts run(argument). Joining is the owner's duty; signals are blocked in it. */
Thread *thread_start(const char *name, void (*run)(void *argument), void *argument);
void thread_join(Thread *thread); /* waits and frees; NULL is fine */
