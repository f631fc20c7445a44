/* See marks.h. */
#include "agent/capture/mysql/marks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/mem.h"

void my_marks_init(MyMarks *marks)
{
    *marks = (MyMarks){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_init(&marks->lock, NULL);
    pthread_cond_init(&marks->changed, NULL);
}

void my_marks_done(MyMarks *marks)
{
    ASSERT(!marks->text);
    if (marks->wake_fd >= 0)
        close(marks->wake_fd);
    free(marks->gtids);
    pthread_mutex_destroy(&marks->lock);
    pthread_cond_destroy(&marks->changed);
}

bool my_marks_say(MyMarks *marks, const char *text, uint64_t place, const atomic_bool *cancelled,
                  uint64_t *ret_at, char **ret_gtids, Error *err)
{
    uint64_t one = 1;
    pthread_mutex_lock(&marks->lock);
    ASSERT(!marks->text);
    marks->text = text;
    marks->place = place;
    ssize_t wrote = write(marks->wake_fd, &one, sizeof one);
    (void)wrote; /* full means it is awake already; without one the next event wakes it */
    while (marks->text && !atomic_load(cancelled))
        pthread_cond_wait(&marks->changed, &marks->lock);
    bool said = !marks->text;
    marks->text = NULL;
    *ret_at = marks->said_at;
    *ret_gtids = TAKE(marks->gtids);
    pthread_mutex_unlock(&marks->lock);
    return said || error_set(err, ERROR_RETRY, "Cancelled",
                             "the stream was not waited for to come to a mark");
}

void my_marks_wake(MyMarks *marks)
{
    pthread_mutex_lock(&marks->lock);
    pthread_cond_broadcast(&marks->changed);
    pthread_mutex_unlock(&marks->lock);
}

char *my_marks_due(MyMarks *marks, uint64_t place)
{
    pthread_mutex_lock(&marks->lock);
    char *text = marks->text && marks->place <= place ? mem_strdup(marks->text) : NULL;
    pthread_mutex_unlock(&marks->lock);
    return text;
}

void my_marks_woken(MyMarks *marks)
{
    uint64_t count;
    ssize_t got = read(marks->wake_fd, &count, sizeof count);
    (void)got; /* whoever woke it did so before */
}

void my_marks_said(MyMarks *marks, uint64_t place, char *gtids)
{
    pthread_mutex_lock(&marks->lock);
    free(marks->gtids);
    marks->gtids = gtids;
    marks->said_at = place;
    marks->text = NULL;
    pthread_cond_broadcast(&marks->changed);
    pthread_mutex_unlock(&marks->lock);
}
