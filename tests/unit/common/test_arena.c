/* links: firn_common */
#include "tests/unit/unit.h"

#include "common/arena.h"

static void blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    uint8_t *blocks[500];
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        size_t bytes = i * 7 % 200;
        blocks[i] = arena_take(arena, bytes);
        assert_int_equal((uintptr_t)blocks[i] % (bytes >= 64 ? 64 : 16), 0);
        memset(blocks[i], (int)(i % 251), bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
        for (size_t j = 0; j < i * 7 % 200; j++)
            assert_int_equal(blocks[i][j], i % 251);
    arena_free(NULL);
}

static void grows_in_place_when_last(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    char *first = arena_take(arena, 100);
    strcpy(first, "first");
    assert_ptr_equal(arena_regrow(arena, first, 100, 1000), first);
    char *second = arena_take(arena, 10);
    char *moved = arena_regrow(arena, first, 1000, 1001);
    assert_ptr_not_equal(moved, first);
    assert_string_equal(moved, "first");
    strcpy(second, "second");
    moved = arena_regrow(arena, moved, 1001, 100000); /* larger than a chunk */
    assert_string_equal(moved, "first");
    assert_non_null(arena_regrow(arena, NULL, 0, 10));
}

static void reset_keeps_usual_chunks(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            memset(arena_take(arena, 4000), round, 4000);
        size_t usual = arena_bytes(arena);
        memset(arena_take(arena, 1 << 20), round, 1 << 20);
        assert_true(arena_bytes(arena) > usual + (1 << 20));
        arena_reset(arena);
        assert_int_equal(arena_bytes(arena), usual); /* the large one is gone, no other is new */
    }
}

static void texts(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(arena, "", 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_apart),
        cmocka_unit_test(grows_in_place_when_last),
        cmocka_unit_test(reset_keeps_usual_chunks),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
