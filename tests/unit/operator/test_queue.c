/* links: firn_operator_queue */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/clock.h"
#include "operator/queue/queue.h"

static void take_is(WorkQueue *queue, int64_t now_us, const char *wanted)
{
    char key[WORK_KEY_BYTES_MAX];
    int64_t next_us;
    bool taken = work_queue_take(queue, now_us, key, &next_us);
    assert_int_equal(taken, wanted != NULL);
    if (wanted)
        assert_string_equal(key, wanted);
}

static void a_key_stands_once(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(10, 100, 800);
    work_queue_put(queue, "a", 0);
    work_queue_put(queue, "a", 5);
    work_queue_put(queue, "b", 6);
    assert_int_equal(work_queue_depth(queue), 2);
    take_is(queue, 9, NULL); /* what comes together is gathered */
    take_is(queue, 20, "a");
    take_is(queue, 20, "b");
    take_is(queue, 20, NULL);
    work_queue_done(queue, "a", false, 21);
    work_queue_done(queue, "b", false, 21);
    take_is(queue, 1000, NULL);
}

static void a_key_is_nobody_elses_while_it_is_worked_on(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(0, 100, 800);
    work_queue_put(queue, "a", 0);
    take_is(queue, 0, "a");
    work_queue_put(queue, "a", 1);
    take_is(queue, 50, NULL);
    work_queue_done(queue, "a", false, 60);
    take_is(queue, 60, "a"); /* once, however often it was put */
    work_queue_done(queue, "a", false, 61);
    take_is(queue, 10000, NULL);
}

/* It is a light look as long as nobody wants more, from before it is taken to the next. */
static void a_look_is_as_light_as_all_want_it(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(0, 100, 800);
    work_queue_put_light(queue, "a", 0);
    work_queue_put_light(queue, "a", 0);
    take_is(queue, 0, "a");
    assert_true(work_queue_is_light(queue, "a"));
    work_queue_put(queue, "a", 1);
    work_queue_put_light(queue, "a", 1);
    assert_true(work_queue_is_light(queue, "a"));
    work_queue_done(queue, "a", false, 2);
    take_is(queue, 2, "a");
    assert_false(work_queue_is_light(queue, "a"));
    work_queue_put_light(queue, "a", 3);
    work_queue_done(queue, "a", true, 3);
    take_is(queue, 103, "a");
    assert_false(work_queue_is_light(queue, "a")); /* it failed */
    work_queue_done(queue, "a", false, 104);
    work_queue_put_light(queue, "a", 105);
    take_is(queue, 105, "a");
    assert_true(work_queue_is_light(queue, "a"));
    work_queue_done(queue, "a", false, 106);
    work_queue_put_light(queue, "a", 107);
    work_queue_put_at(queue, "a", 500, 107);
    take_is(queue, 107, "a");
    assert_false(work_queue_is_light(queue, "a"));
    work_queue_done(queue, "a", false, 108);
    take_is(queue, 1000, NULL);
}

static void pauses_double_and_begin_anew(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(0, 100, 800);
    static const int64_t pauses[] = {100, 200, 400, 800, 800};
    int64_t now_us = 0;
    work_queue_put(queue, "a", now_us);
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        take_is(queue, now_us, "a");
        work_queue_done(queue, "a", true, now_us);
        take_is(queue, now_us + pauses[i] - 1, NULL);
        now_us += pauses[i];
    }
    take_is(queue, now_us, "a");
    work_queue_done(queue, "a", false, now_us);
    work_queue_put(queue, "a", now_us);
    take_is(queue, now_us, "a");
    work_queue_done(queue, "a", true, now_us);
    take_is(queue, now_us + 99, NULL);
    take_is(queue, now_us + 100, "a");
    work_queue_done(queue, "a", false, now_us + 100);
}

static void news_do_not_wait_for_a_pause(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(0, 1000, 8000);
    work_queue_put(queue, "a", 0);
    take_is(queue, 0, "a");
    work_queue_done(queue, "a", true, 0);
    work_queue_put(queue, "a", 10);
    take_is(queue, 10, "a");
    work_queue_put_at(queue, "a", 500, 20);
    work_queue_done(queue, "a", false, 20);
    take_is(queue, 499, NULL);
    take_is(queue, 500, "a");
    work_queue_done(queue, "a", false, 500);
}

static void the_earliest_comes_first(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(0, 100, 800);
    unsigned seed = 7;
    char key[WORK_KEY_BYTES_MAX];
    for (int i = 0; i < 500; i++) {
        seed = seed * 1103515245 + 12345;
        snprintf(key, sizeof key, "k%d", i);
        work_queue_put_at(queue, key, (int64_t)(seed >> 8) % 10000, 0);
    }
    int64_t last_us = 0, next_us;
    for (int i = 0; i < 500; i++) {
        assert_false(work_queue_take(queue, -1, key, &next_us));
        assert_true(next_us >= last_us);
        last_us = next_us;
        assert_true(work_queue_take(queue, next_us, key, &next_us));
        work_queue_done(queue, key, false, last_us);
    }
    assert_int_equal(work_queue_depth(queue), 0);
}

static void a_change_goes_before_a_crowd(void **state)
{
    (void)state;
    AUTO(work_queue_free) WorkQueue *queue = work_queue_new(10, 100, 800);
    char key[WORK_KEY_BYTES_MAX];
    int64_t next_us;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        work_queue_put(queue, key, i);
    }
    work_queue_put_first(queue, "new", 0, 200);
    work_queue_put_first(queue, "k50", 0, 201); /* out of the middle */
    work_queue_put(queue, "k50", 202);          /* what is put besides takes nothing from it */
    assert_int_equal(work_queue_depth(queue), 101);
    take_is(queue, 209, "k50"); /* which was due long since */
    take_is(queue, 209, "k0");  /* what comes together with the new one may not be there yet */
    work_queue_put_first(queue, "k0", 0, 209);
    take_is(queue, 250, "new");
    work_queue_done(queue, "k0", false, 250); /* put while it was worked on */
    take_is(queue, 250, "k0");
    work_queue_done(queue, "k0", true, 250);
    work_queue_put(queue, "k0", 250); /* once is enough: now it is one of the rest */
    for (int i = 1; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (i != 50)
            take_is(queue, 1000, key);
    }
    take_is(queue, 1000, "k0");
    assert_false(work_queue_take(queue, 1000, key, &next_us));
    assert_true(next_us == INT64_MAX);
    work_queue_put_first(queue, "later", 2000, 1000);
    take_is(queue, 1999, NULL);
    take_is(queue, 2000, "later");
    work_queue_put_first(queue, "soon", 2003,
                         2000); /* what has a time of its own gathers nothing */
    take_is(queue, 2002, NULL);
    take_is(queue, 2003, "soon");
    work_queue_put_first(queue, "late", 2001, 2003);
    take_is(queue, 2012, NULL);
    take_is(queue, 2013, "late");
}

#define KEYS 16
typedef struct Crowd {
    WorkQueue *queue;
    pthread_t threads[4];
    atomic_int inside[KEYS];
    atomic_int taken, clashes;
} Crowd;

static void *work(void *at)
{
    Crowd *crowd = at;
    char key[WORK_KEY_BYTES_MAX];
    while (work_queue_wait(crowd->queue, key)) {
        int number = key[0] - 'A';
        if (atomic_fetch_add(&crowd->inside[number], 1) != 0)
            atomic_fetch_add(&crowd->clashes, 1);
        atomic_fetch_add(&crowd->taken, 1);
        atomic_fetch_sub(&crowd->inside[number], 1);
        work_queue_done(crowd->queue, key, false, clock_mono_us());
    }
    return NULL;
}

static void crowd_begin(Crowd *crowd)
{
    *crowd = (Crowd){.queue = work_queue_new(0, 100, 800)};
    for (size_t i = 0; i < ARRAY_LEN(crowd->threads); i++)
        pthread_create(&crowd->threads[i], NULL, work, crowd);
}

static void crowd_end(Crowd *crowd)
{
    work_queue_close(crowd->queue);
    for (size_t i = 0; i < ARRAY_LEN(crowd->threads); i++)
        pthread_join(crowd->threads[i], NULL);
}

static void several_workers(void **state)
{
    (void)state;
    Crowd crowd;
    crowd_begin(&crowd);
    for (int i = 0; i < 20000; i++) {
        char key[2] = {(char)('A' + i % KEYS), '\0'};
        work_queue_put(crowd.queue, key, clock_mono_us());
    }
    int64_t end_us = clock_mono_us() + 300000000;
    while (work_queue_depth(crowd.queue) && clock_mono_us() < end_us)
        sched_yield();
    crowd_end(&crowd);
    assert_int_equal(atomic_load(&crowd.clashes), 0);
    assert_true(atomic_load(&crowd.taken) >= KEYS);
    work_queue_free(crowd.queue);
}

static void *put_what_is_due(void *at)
{
    WorkQueue *queue = at;
    while (work_queue_depth(queue) != 1) /* the one that is far off: all workers wait for it */
        sched_yield();
    work_queue_put(queue, "soon", clock_mono_us());
    work_queue_put(queue, "as soon", clock_mono_us());
    return NULL;
}

/* The longest wait is the test's own limit: nobody who misses a wake is helped by the time. */
static void an_earlier_one_wakes(void **state)
{
    (void)state;
    WorkQueue *queue = work_queue_new(0, 100, 800);
    char one[WORK_KEY_BYTES_MAX], other[WORK_KEY_BYTES_MAX];
    pthread_t thread;
    work_queue_put_at(queue, "far off", clock_mono_us() + 3600000000, clock_mono_us());
    pthread_create(&thread, NULL, put_what_is_due, queue);
    assert_true(work_queue_wait(queue, one));
    assert_true(work_queue_wait(queue, other));
    assert_string_equal(one, "soon");
    assert_string_equal(other, "as soon");
    pthread_join(thread, NULL);
    assert_int_equal(work_queue_depth(queue), 1);
    work_queue_free(queue);
}

/* Keys that are due one after the other are all taken, though each wakes one worker at most. */
static void each_that_becomes_due_is_taken(void **state)
{
    (void)state;
    Crowd crowd;
    crowd_begin(&crowd);
    for (int round = 0; round < 50; round++) {
        int64_t now_us = clock_mono_us();
        for (int i = 0; i < KEYS; i++) {
            char key[2] = {(char)('A' + i), '\0'};
            work_queue_put_at(crowd.queue, key, now_us + (KEYS - i) * 100, now_us);
        }
        while (atomic_load(&crowd.taken) < (round + 1) * KEYS)
            sched_yield();
    }
    crowd_end(&crowd);
    assert_int_equal(atomic_load(&crowd.taken), 50 * KEYS);
    assert_int_equal(atomic_load(&crowd.clashes), 0);
    work_queue_free(crowd.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_stands_once),
        cmocka_unit_test(a_key_is_nobody_elses_while_it_is_worked_on),
        cmocka_unit_test(a_look_is_as_light_as_all_want_it),
        cmocka_unit_test(pauses_double_and_begin_anew),
        cmocka_unit_test(news_do_not_wait_for_a_pause),
        cmocka_unit_test(the_earliest_comes_first),
        cmocka_unit_test(a_change_goes_before_a_crowd),
        cmocka_unit_test(several_workers),
        cmocka_unit_test(an_earlier_one_wakes),
        cmocka_unit_test(each_that_becomes_due_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
