/* A hash table of keys and two heaps of those that wait, by time: what somebody changed, and the
 * rest. A key's place is freed when nothing is known of it any more: neither waiting, nor worked
 * on, nor with pauses behind it. */
#include "operator/queue/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/mem.h"

#define NOT_WAITING SIZE_MAX
#define BUCKETS 1024u

typedef struct Work Work;
struct Work {
    Work *next;   /* in its bucket */
    size_t place; /* in its heap, or NOT_WAITING */
    int64_t due_us;
    int64_t again_us; /* put while it was worked on: when; -1: not */
    unsigned failures;
    bool working;
    bool first; /* which heap it is in, or is to come into once it is worked on no more */
    bool heavy; /* any put since it was taken last was no light one */
    bool light; /* what it was taken for */
    char key[];
};

typedef struct Heap {
    Work **items;
    size_t waiting, held;
} Heap;

struct WorkQueue {
    pthread_mutex_t lock;
    pthread_cond_t sooner; /* to the one who minds the time: something is due earlier */
    pthread_cond_t needed; /* to one of the others: take what is due, or mind the time */
    bool minded;           /* somebody minds the time, */
    int64_t minded_us;     /* until then */
    bool closed;
    int64_t gather_us, retry_least_us, retry_most_us;
    Work *buckets[BUCKETS];
    Heap rest, first;
};

WorkQueue *work_queue_new(int64_t gather_us, int64_t retry_least_us, int64_t retry_most_us)
{
    WorkQueue *queue = mem_zalloc(sizeof *queue);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->sooner, &monotonic);
    pthread_cond_init(&queue->needed, NULL);
    pthread_condattr_destroy(&monotonic);
    queue->gather_us = gather_us;
    queue->retry_least_us = retry_least_us;
    queue->retry_most_us = retry_most_us;
    return queue;
}

void work_queue_free(WorkQueue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (Work *work = queue->buckets[i], *next; work; work = next) {
            next = work->next;
            free(work);
        }
    }
    free(queue->rest.items);
    free(queue->first.items);
    pthread_cond_destroy(&queue->sooner);
    pthread_cond_destroy(&queue->needed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* --- the table --- */

static Work **bucket_of(WorkQueue *queue, const char *key)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *at = key; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
    return &queue->buckets[(hash ^ hash >> 32) % BUCKETS];
}

static Work *find(WorkQueue *queue, const char *key)
{
    Work *work = *bucket_of(queue, key);
    while (work && strcmp(work->key, key) != 0)
        work = work->next;
    return work;
}

static Work *find_or_add(WorkQueue *queue, const char *key)
{
    Work *work = find(queue, key);
    if (work)
        return work;
    size_t bytes = strlen(key) + 1;
    ASSERT(bytes <= WORK_KEY_BYTES_MAX);
    work = mem_zalloc(sizeof *work + bytes);
    memcpy(work->key, key, bytes);
    work->place = NOT_WAITING;
    work->again_us = -1;
    Work **bucket = bucket_of(queue, key);
    work->next = *bucket;
    *bucket = work;
    return work;
}

static void forget_idle(WorkQueue *queue, Work *work)
{
    if (work->working || work->place != NOT_WAITING || work->failures)
        return;
    Work **at = bucket_of(queue, work->key);
    while (*at != work)
        at = &(*at)->next;
    *at = work->next;
    free(work);
}

/* --- the heaps --- */

static void put_in_place(Heap *heap, size_t place, Work *work)
{
    heap->items[place] = work;
    work->place = place;
}

static void sift_up(Heap *heap, size_t place)
{
    Work *work = heap->items[place];
    while (place && heap->items[(place - 1) / 2]->due_us > work->due_us) {
        put_in_place(heap, place, heap->items[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_in_place(heap, place, work);
}

static void sift_down(Heap *heap, size_t place)
{
    Work *work = heap->items[place];
    for (size_t child; (child = place * 2 + 1) < heap->waiting; place = child) {
        if (child + 1 < heap->waiting &&
            heap->items[child + 1]->due_us < heap->items[child]->due_us)
            child++;
        if (heap->items[child]->due_us >= work->due_us)
            break;
        put_in_place(heap, place, heap->items[child]);
    }
    put_in_place(heap, place, work);
}

static void heap_put(Heap *heap, Work *work)
{
    if (heap->waiting == heap->held) {
        heap->held = heap->held ? heap->held * 2 : 64;
        heap->items = mem_regrow(heap->items, heap->held, sizeof *heap->items);
    }
    heap->items[heap->waiting] = work;
    sift_up(heap, heap->waiting++);
}

static void heap_remove(Heap *heap, Work *work)
{
    size_t place = work->place;
    Work *last = heap->items[--heap->waiting];
    work->place = NOT_WAITING;
    if (last == work)
        return;
    put_in_place(heap, place, last);
    sift_up(heap, place);
    sift_down(heap, last->place);
}

static Heap *heap_of(WorkQueue *queue, const Work *work)
{
    return work->first ? &queue->first : &queue->rest;
}

/* Of what was put twice the earlier time holds, and that it goes first. */
static void wait_until(WorkQueue *queue, Work *work, int64_t due_us, bool first)
{
    if (work->place != NOT_WAITING) {
        if (work->due_us < due_us)
            due_us = work->due_us;
        heap_remove(heap_of(queue, work), work);
    }
    work->due_us = due_us;
    work->first = work->first || first;
    heap_put(heap_of(queue, work), work);
}

/* --- */

static int64_t next_of(const Heap *heap)
{
    return heap->waiting ? heap->items[0]->due_us : INT64_MAX;
}

static int64_t next_due(const WorkQueue *queue)
{
    int64_t first_us = next_of(&queue->first), rest_us = next_of(&queue->rest);
    return first_us < rest_us ? first_us : rest_us;
}

/* Where nobody minds the time, those who work come by before they wait. */
static void wake(WorkQueue *queue)
{
    if (queue->minded && next_due(queue) < queue->minded_us)
        pthread_cond_signal(&queue->sooner);
}

static void put(WorkQueue *queue, const char *key, int64_t at_us, bool first, bool light)
{
    pthread_mutex_lock(&queue->lock);
    Work *work = find_or_add(queue, key);
    work->heavy = work->heavy || !light;
    if (work->working) {
        work->again_us = work->again_us < 0 || at_us < work->again_us ? at_us : work->again_us;
        work->first = work->first || first;
    } else {
        wait_until(queue, work, at_us, first);
        wake(queue);
    }
    pthread_mutex_unlock(&queue->lock);
}

void work_queue_put_at(WorkQueue *queue, const char *key, int64_t at_us, int64_t now_us)
{
    put(queue, key, at_us < now_us ? now_us : at_us, false, false);
}

void work_queue_put(WorkQueue *queue, const char *key, int64_t now_us)
{
    put(queue, key, now_us + queue->gather_us, false, false);
}

void work_queue_put_light(WorkQueue *queue, const char *key, int64_t now_us)
{
    put(queue, key, now_us + queue->gather_us, false, true);
}

void work_queue_put_first(WorkQueue *queue, const char *key, int64_t at_us, int64_t now_us)
{
    put(queue, key, at_us > now_us ? at_us : now_us + queue->gather_us, true, false);
}

static bool take(WorkQueue *queue, int64_t now_us, char *ret_key, int64_t *ret_next_us)
{
    *ret_next_us = next_due(queue);
    if (*ret_next_us > now_us)
        return false;
    Heap *heap = next_of(&queue->first) <= now_us ? &queue->first : &queue->rest;
    Work *work = heap->items[0];
    heap_remove(heap, work);
    work->working = true;
    work->first = false;
    work->light = !work->heavy;
    work->heavy = false;
    memcpy(ret_key, work->key, strlen(work->key) + 1);
    return true;
}

bool work_queue_take(WorkQueue *queue, int64_t now_us, char *ret_key, int64_t *ret_next_us)
{
    pthread_mutex_lock(&queue->lock);
    bool taken = take(queue, now_us, ret_key, ret_next_us);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

/* Of those that find nothing to do one minds the time and the others sleep: what becomes due wakes
 * one of them and not all, and what is put for later than that wakes nobody. */
static void rest(WorkQueue *queue, int64_t until_us)
{
    if (queue->minded) {
        pthread_cond_wait(&queue->needed, &queue->lock);
        return;
    }
    struct timespec end = {until_us / 1000000, until_us % 1000000 * 1000};
    queue->minded = true;
    queue->minded_us = until_us;
    if (until_us == INT64_MAX)
        pthread_cond_wait(&queue->sooner, &queue->lock);
    else
        pthread_cond_timedwait(&queue->sooner, &queue->lock, &end);
    queue->minded = false;
}

bool work_queue_wait(WorkQueue *queue, char *ret_key)
{
    bool taken = false;
    int64_t next_us;
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && !(taken = take(queue, clock_mono_us(), ret_key, &next_us)))
        rest(queue, next_us);
    if (!queue->minded)
        pthread_cond_signal(&queue->needed);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

bool work_queue_is_light(WorkQueue *queue, const char *key)
{
    pthread_mutex_lock(&queue->lock);
    const Work *work = find(queue, key);
    ASSERT(work && work->working);
    bool light = work->light;
    pthread_mutex_unlock(&queue->lock);
    return light;
}

static int64_t pause_of(const WorkQueue *queue, unsigned failures)
{
    int64_t pause_us = queue->retry_least_us;
    for (unsigned i = 1; i < failures && pause_us < queue->retry_most_us; i++)
        pause_us *= 2;
    return pause_us < queue->retry_most_us ? pause_us : queue->retry_most_us;
}

void work_queue_done(WorkQueue *queue, const char *key, bool failed, int64_t now_us)
{
    pthread_mutex_lock(&queue->lock);
    Work *work = find(queue, key);
    ASSERT(work && work->working);
    work->working = false;
    work->failures = failed ? work->failures + 1 : 0;
    work->heavy = work->heavy || failed;
    if (work->again_us >= 0)
        wait_until(queue, work, work->again_us, false);
    if (failed)
        wait_until(queue, work, now_us + pause_of(queue, work->failures), false);
    work->again_us = -1;
    forget_idle(queue, work);
    wake(queue);
    pthread_mutex_unlock(&queue->lock);
}

void work_queue_close(WorkQueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->sooner);
    pthread_cond_broadcast(&queue->needed);
    pthread_mutex_unlock(&queue->lock);
}

size_t work_queue_depth(WorkQueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t waiting = queue->rest.waiting + queue->first.waiting;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}
