/* links: firn_supervise */
/* Tables that can't be committed: shown when it lasts, over with the last of them, or when nothing
 * failed any more. */
#include "tests/unit/unit.h"

#include "agent/supervise/supervise.h"

#define SECOND INT64_C(1000000)

static Error error_of(const char *code)
{
    Error err;
    (void)error_set(&err, ERROR_RETRY, code, "the catalog is away");
    return err;
}

static void what_passes_is_not_shown(void **state)
{
    (void)state;
    Trouble trouble = {0};
    Error err = error_of("ServerError");
    assert_null(trouble_shown(&trouble, 100 * SECOND));
    trouble_drop(&trouble, "a");
    trouble_put(&trouble, "a", &err, 100 * SECOND);
    assert_null(trouble_shown(&trouble, 104 * SECOND));
    trouble_drop(&trouble, "a");
    assert_null(trouble_shown(&trouble, 200 * SECOND));
    /* the next one begins anew */
    trouble_put(&trouble, "a", &err, 200 * SECOND);
    assert_null(trouble_shown(&trouble, 204 * SECOND));
    trouble_done(&trouble);
}

static void what_lasts_is_shown(void **state)
{
    (void)state;
    Trouble trouble = {0};
    Error first = error_of("ServerError"), later = error_of("Timeout");
    trouble_put(&trouble, "a", &first, 100 * SECOND);
    trouble_put(&trouble, "b", &later, 104 * SECOND);
    trouble_put(&trouble, "a", &later, 105 * SECOND);
    const Error *shown = trouble_shown(&trouble, 105 * SECOND);
    assert_non_null(shown);
    assert_string_equal(shown->code, "Timeout");
    trouble_drop(&trouble, "a");
    assert_non_null(trouble_shown(&trouble, 106 * SECOND));
    trouble_drop(&trouble, "b");
    assert_null(trouble_shown(&trouble, 106 * SECOND));
    trouble_done(&trouble);
}

/* A commit of which nobody knew was found in the table, and there is no other to make. */
static void what_never_fails_again_is_over(void **state)
{
    (void)state;
    Trouble trouble = {0};
    Error err = error_of("CommitStateUnknown");
    trouble_put(&trouble, "a", &err, 100 * SECOND);
    assert_non_null(trouble_shown(&trouble, 160 * SECOND));
    assert_null(trouble_shown(&trouble, 161 * SECOND));
    trouble_put(&trouble, "a", &err, 170 * SECOND);
    assert_null(trouble_shown(&trouble, 171 * SECOND));
    trouble_done(&trouble);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_is_not_shown),
        cmocka_unit_test(what_lasts_is_shown),
        cmocka_unit_test(what_never_fails_again_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
