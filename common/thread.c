#include "common/thread.h"

#include <signal.h>
#include <stdio.h>

#include "common/mem.h"

struct Thread {
    pthread_t id;
    void (*run)(void *argument);
    void *argument;
    char name[16];
};

static void *enter(void *at)
{
    Thread *thread = at;
    pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->argument);
    return NULL;
}

Thread *thread_start(const char *name, void (*run)(void *argument), void *argument)
{
    Thread *thread = mem_zalloc(sizeof *thread);
    thread->run = run;
    thread->argument = argument;
    snprintf(thread->name, sizeof thread->name, "%s", name);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread->id, NULL, enter, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(!failed);
    return thread;
}

void thread_join(Thread *thread)
{
    if (!thread)
        return;
    pthread_join(thread->id, NULL);
    free(thread);
}
