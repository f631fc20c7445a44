/* links: firn_common */
#include "tests/unit/unit.h"

#include "common/mem.h"
#include "common/queue.h"
#include "common/thread.h"

static void bounded_in_items_and_bytes(void **state)
{
    (void)state;
    Queue *queue = queue_new(2, 100, free);
    int *first = mem_alloc(sizeof *first), *second = mem_alloc(sizeof *second);
    assert_int_equal(queue_put(queue, first, 1000, 0), QUEUE_OK); /* alone: any size */
    assert_int_equal(queue_put(queue, second, 1, 10), QUEUE_TIMEOUT);
    void *taken;
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_OK);
    assert_ptr_equal(taken, first);
    free(first);
    assert_int_equal(queue_put(queue, second, 60, 0), QUEUE_OK);
    int *third = mem_alloc(sizeof *third);
    assert_int_equal(queue_put(queue, third, 60, 10), QUEUE_TIMEOUT);
    assert_int_equal(queue_put(queue, third, 40, 10), QUEUE_OK);
    assert_int_equal(queue_bytes(queue), 100);
    queue_close(queue);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_OK);
    free(taken);
    queue_free(queue); /* frees the third */
}

static void closed_when_empty(void **state)
{
    (void)state;
    Queue *queue = queue_new(2, 100, free);
    void *taken = NULL;
    assert_int_equal(queue_take(queue, &taken, 5), QUEUE_TIMEOUT);
    queue_close(queue);
    assert_int_equal(queue_take(queue, &taken, -1), QUEUE_CLOSED);
    assert_int_equal(queue_put(queue, queue, 1, -1), QUEUE_CLOSED);
    queue_free(queue);
}

/* What the taker works on is inside until it comes again: a second large item waits. */
static void held_until_the_next_take(void **state)
{
    (void)state;
    int first, second, third;
    void *taken;
    Queue *queue = queue_new(4, 100, NULL);
    queue_hold(queue);
    assert_int_equal(queue_put(queue, &first, 1000, 0), QUEUE_OK);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_OK);
    assert_int_equal(queue_bytes(queue), 1000);
    assert_int_equal(queue_put(queue, &second, 1000, 5), QUEUE_TIMEOUT);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_TIMEOUT); /* done with the first */
    assert_int_equal(queue_put(queue, &second, 60, 0), QUEUE_OK);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_OK);
    assert_ptr_equal(taken, &second);
    assert_int_equal(queue_put(queue, &third, 40, 0), QUEUE_OK); /* small ones go beside it */
    assert_int_equal(queue_put(queue, &first, 1, 5), QUEUE_TIMEOUT);
    queue_close(queue);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_OK);
    assert_int_equal(queue_take(queue, &taken, 0), QUEUE_CLOSED);
    assert_int_equal(queue_bytes(queue), 0);
    queue_free(queue);
}

#define COUNT 20000
static void producer(void *at)
{
    for (size_t i = 1; i <= COUNT; i++) {
        size_t *item = mem_alloc(sizeof *item);
        *item = i;
        assert_int_equal(queue_put(at, item, 10, -1), QUEUE_OK);
    }
    queue_close(at);
}

static void in_order_between_threads(void **state)
{
    (void)state;
    Queue *queue = queue_new(7, 50, free);
    Thread *thread = thread_start("producer", producer, queue);
    void *taken;
    size_t expected = 1;
    while (queue_take(queue, &taken, -1) == QUEUE_OK) {
        assert_int_equal(*(size_t *)taken, expected++);
        free(taken);
    }
    assert_int_equal(expected, COUNT + 1);
    thread_join(thread);
    queue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded_in_items_and_bytes),
        cmocka_unit_test(closed_when_empty),
        cmocka_unit_test(held_until_the_next_take),
        cmocka_unit_test(in_order_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
