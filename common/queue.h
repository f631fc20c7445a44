/* A queue of pointers between threads, bounded in items and in bytes. A full queue is the
 * back-pressure. Items move: what was put belongs to the queue, what was taken to the taker. One
 * item is always let in when the queue is empty, however large, so that nothing waits for ever. */
#pragma once

#include "common/attrs.h"

typedef struct Queue Queue;
typedef enum QueueResult { QUEUE_OK, QUEUE_TIMEOUT, QUEUE_CLOSED } QueueResult;

/* item_free frees what is left inside at queue_free. */
void queue_free(Queue *queue);
Queue *queue_new(size_t items_max, size_t bytes_max, void (*item_free)(void *item))
    OWNED_BY(queue_free);

/* From here on what was taken counts as inside until the next take: of items that are larger than
 * the queue two are alive, the taker's and the one that waits to be put. For one taker. */
void queue_hold(Queue *queue);
/* On QUEUE_OK the item is the queue's; else it is still the caller's. timeout_ms < 0 waits for
 * ever. */
MUST_CHECK QueueResult queue_put(Queue *queue, void *item, size_t bytes, int timeout_ms);
/* QUEUE_CLOSED only once it is closed and empty. */
MUST_CHECK QueueResult queue_take(Queue *queue, void **ret_item, int timeout_ms);
/* No more puts; what is inside can still be taken. */
void queue_close(Queue *queue);
size_t queue_bytes(Queue *queue);
