#include "common/queue.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "common/clock.h"
#include "common/mem.h"

typedef struct Slot {
    void *item;
    size_t bytes;
} Slot;

struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t not_full;
    pthread_cond_t not_empty;
    void (*item_free)(void *item);
    size_t items_max;
    size_t bytes_max;
    size_t head;
    size_t items;
    size_t bytes;
    size_t working; /* of these, what the taker holds; 0 unless `holds` */
    bool holds;
    bool closed;
    Slot slots[];
};

Queue *queue_new(size_t items_max, size_t bytes_max, void (*item_free)(void *item))
{
    ASSERT(items_max > 0);
    Queue *queue = mem_zalloc(sizeof *queue + items_max * sizeof(Slot));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->not_full, &attr);
    pthread_cond_init(&queue->not_empty, &attr);
    pthread_condattr_destroy(&attr);
    queue->items_max = items_max;
    queue->bytes_max = bytes_max;
    queue->item_free = item_free;
    return queue;
}

void queue_free(Queue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; i < queue->items; i++)
        queue->item_free(queue->slots[(queue->head + i) % queue->items_max].item);
    pthread_cond_destroy(&queue->not_full);
    pthread_cond_destroy(&queue->not_empty);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_hold(Queue *queue)
{
    queue->holds = true;
}

static bool wait_on(Queue *queue, pthread_cond_t *cond, int timeout_ms,
                    const struct timespec *until)
{
    if (timeout_ms < 0)
        return pthread_cond_wait(cond, &queue->lock) == 0;
    return pthread_cond_timedwait(cond, &queue->lock, until) != ETIMEDOUT;
}

static bool has_room(const Queue *queue, size_t bytes)
{
    if (queue->items == 0 && !queue->working)
        return true;
    return queue->items < queue->items_max && queue->bytes + bytes <= queue->bytes_max;
}

QueueResult queue_put(Queue *queue, void *item, size_t bytes, int timeout_ms)
{
    struct timespec until = clock_mono_in(timeout_ms < 0 ? 0 : timeout_ms);
    QueueResult result = QUEUE_OK;
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && !has_room(queue, bytes))
        if (!wait_on(queue, &queue->not_full, timeout_ms, &until) && !has_room(queue, bytes)) {
            result = QUEUE_TIMEOUT;
            break;
        }
    if (queue->closed)
        result = QUEUE_CLOSED;
    if (result == QUEUE_OK) {
        queue->slots[(queue->head + queue->items) % queue->items_max] = (Slot){item, bytes};
        queue->items++;
        queue->bytes += bytes;
        pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

QueueResult queue_take(Queue *queue, void **ret_item, int timeout_ms)
{
    struct timespec until = clock_mono_in(timeout_ms < 0 ? 0 : timeout_ms);
    QueueResult result = QUEUE_OK;
    pthread_mutex_lock(&queue->lock);
    if (queue->working) {
        queue->bytes -= queue->working;
        queue->working = 0;
        pthread_cond_signal(&queue->not_full);
    }
    while (!queue->closed && queue->items == 0)
        if (!wait_on(queue, &queue->not_empty, timeout_ms, &until) && queue->items == 0) {
            result = QUEUE_TIMEOUT;
            break;
        }
    if (queue->items > 0) {
        Slot *slot = &queue->slots[queue->head];
        *ret_item = slot->item;
        if (queue->holds)
            queue->working = slot->bytes;
        else
            queue->bytes -= slot->bytes;
        queue->head = (queue->head + 1) % queue->items_max;
        queue->items--;
        result = QUEUE_OK;
        pthread_cond_signal(&queue->not_full);
    } else if (queue->closed) {
        result = QUEUE_CLOSED;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void queue_close(Queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->not_full);
    pthread_cond_broadcast(&queue->not_empty);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_bytes(Queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t bytes = queue->bytes;
    pthread_mutex_unlock(&queue->lock);
    return bytes;
}
