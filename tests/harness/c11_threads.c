/* Threads of <threads.h>, which librdkafka uses, by POSIX threads: ThreadSanitizer knows those
 * alone, and a thread that it has not seen begin ends the process. Linked into the programs of the
 * preset tsan, where these names come before the C library's; glibc's own are built the same way.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mutex fits");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a condition fits");
_Static_assert(sizeof(once_flag) >= sizeof(pthread_once_t), "a flag fits");

/* librdkafka itself is not built for it: that the last one to let go of a topic may end its lock is
 * known by a count which ThreadSanitizer does not see. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^rwlock_destroy$\n";
}

typedef struct Start {
    thrd_start_t run;
    void *argument;
} Start;

static int said(int number)
{
    return number == 0           ? thrd_success
           : number == ETIMEDOUT ? thrd_timedout
           : number == EBUSY     ? thrd_busy
           : number == ENOMEM    ? thrd_nomem
                                 : thrd_error;
}

static void *begin(void *argument)
{
    Start start = *(Start *)argument;
    free(argument);
    return (void *)(intptr_t)start.run(start.argument);
}

int thrd_create(thrd_t *ret, thrd_start_t run, void *argument)
{
    Start *start = malloc(sizeof *start);
    if (!start)
        return thrd_nomem;
    *start = (Start){run, argument};
    int number = pthread_create(ret, NULL, begin, start);
    if (number)
        free(start);
    return said(number);
}

int thrd_join(thrd_t thread, int *ret)
{
    void *value;
    int number = pthread_join(thread, &value);
    if (!number && ret)
        *ret = (int)(intptr_t)value;
    return said(number);
}

thrd_t thrd_current(void)
{
    return pthread_self();
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE);
    int number = pthread_mutex_init((pthread_mutex_t *)mutex, &how);
    pthread_mutexattr_destroy(&how);
    return said(number);
}

int mtx_lock(mtx_t *mutex)
{
    return said(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex)
{
    return said(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return said(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition)
{
    return said(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_signal(cnd_t *condition)
{
    return said(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return said(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return said(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    return said(
        pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

void call_once(once_flag *flag, void (*run)(void))
{
    (void)pthread_once((pthread_once_t *)flag, run);
}
