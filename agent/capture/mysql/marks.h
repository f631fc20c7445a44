/* Words that one thread has the stream say at a place of the log: nobody writes into a binlog
 * without writing to a table. One thread asks, and waits until the stream, another thread, has come
 * to the place and handed the word out. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/error.h"

typedef struct MyMarks {
    pthread_mutex_t lock; /* of all but wake_fd */
    pthread_cond_t changed;
    int wake_fd;      /* an eventfd, for a stream that waits for its server */
    const char *text; /* what is to be said; NULL: nothing */
    uint64_t place;   /* there, or behind it */
    uint64_t said_at; /* where that was */
    char *gtids;      /* of the transactions before it; NULL: not known */
} MyMarks;

void my_marks_init(MyMarks *marks);
void my_marks_done(MyMarks *marks);

/* *ret_at: where it was said; *ret_gtids: what lies before that, NULL: not known; the caller frees.
 * RETRY "Cancelled", "ConnectionLost" when nothing can wake the stream. */
MUST_CHECK bool my_marks_say(MyMarks *marks, const char *text, uint64_t place,
                             const atomic_bool *cancelled, uint64_t *ret_at, char **ret_gtids,
                             Error *err);
/* Whoever waits looks at `cancelled` again; from any thread. */
void my_marks_wake(MyMarks *marks);

/* The stream's: it was woken. */
void my_marks_woken(MyMarks *marks);
/* Is something to be said at this place? NULL: nothing, or not yet. The caller frees.
 */
char *my_marks_due(MyMarks *marks, uint64_t place) OWNED_BY(free);
/* It was handed out. Takes gtids. */
void my_marks_said(MyMarks *marks, uint64_t place, char *gtids);
