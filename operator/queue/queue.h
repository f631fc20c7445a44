/* The one work queue: keys that want looking at. A key stands in it once, however often it is put;
 * while somebody works on it, it is given to nobody else, and put meanwhile it comes again
 * afterwards. What failed comes again after a pause that doubles. Time is the caller's (µs of one
 * monotonic clock), so that tests need none. Used by several threads. */
#pragma once

#include "common/attrs.h"

typedef struct WorkQueue WorkQueue;

#define WORK_KEY_BYTES_MAX 600 /* a kind, a namespace and a name */

void work_queue_free(WorkQueue *queue);
/* A key that was put waits for `gather_us`, so that what comes together is looked at once. */
WorkQueue *work_queue_new(int64_t gather_us, int64_t retry_least_us, int64_t retry_most_us)
    OWNED_BY(work_queue_free);

/* At gather_us from now, or earlier if it stands for earlier. */
void work_queue_put(WorkQueue *queue, const char *key, int64_t now_us);
/* As put, for less than a whole look. */
void work_queue_put_light(WorkQueue *queue, const char *key, int64_t now_us);
/* As put, or at `at_us` if that is yet to come; and then before all that was not put so, however
 * long that has been due: a change that somebody made goes before what is to be said of a crowd. */
void work_queue_put_first(WorkQueue *queue, const char *key, int64_t at_us, int64_t now_us);
/* Not before `at_us`, unless it is put besides. */
void work_queue_put_at(WorkQueue *queue, const char *key, int64_t at_us, int64_t now_us);
/* The next key that is due (of those put first, then of the rest), into a buffer of
 * WORK_KEY_BYTES_MAX; false: none, and *ret_next_us says when (INT64_MAX: none waits). The taker
 * says work_queue_done. */
MUST_CHECK bool work_queue_take(WorkQueue *queue, int64_t now_us, char *ret_key,
                                int64_t *ret_next_us);
/* As take, but waits; false: the queue is closed. */
MUST_CHECK bool work_queue_wait(WorkQueue *queue, char *ret_key);
/* Of a key that was taken: whether all puts that brought it were light ones. What failed is not. */
bool work_queue_is_light(WorkQueue *queue, const char *key);
/* failed: again after the key's pause. Else its pauses begin anew. */
void work_queue_done(WorkQueue *queue, const char *key, bool failed, int64_t now_us);
void work_queue_close(WorkQueue *queue);
size_t work_queue_depth(WorkQueue *queue); /* keys that wait */
DEFINE_AUTO(WorkQueue, work_queue_free);
