/* links: firn_common */
#include "tests/unit/unit.h"

#include <errno.h>

#include "common/error.h"

static void set_and_wrap(void **state)
{
    (void)state;
    Error err;
    assert_false(error_set(&err, ERROR_CONFIG, "SlotMissing", "slot %s is gone", "firn_shop"));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "SlotMissing");
    assert_string_equal(err.message, "slot firn_shop is gone");
    assert_false(error_wrap(&err, "postgres %s", "db"));
    assert_false(error_wrap(&err, "Connector %s", "shop"));
    assert_string_equal(err.message, "Connector shop: postgres db: slot firn_shop is gone");
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_false(error_errno(&err, ERROR_RETRY, "DiskFull", ENOSPC, "writing %s", "/lake"));
    assert_string_equal(err.message, "writing /lake: No space left on device (errno 28)");
    assert_false(error_errno(&err, ERROR_RETRY, "Odd", 99999, "x"));
    assert_string_equal(err.message, "x: unknown error (errno 99999)");
    assert_false(error_set(NULL, ERROR_DATA, "X", "x"));
    assert_false(error_wrap(NULL, "x"));
    assert_false(error_errno(NULL, ERROR_DATA, "X", 1, "x"));
}

/* Too long is cut, the front stays. */
static void long_messages(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    Error err;
    assert_false(error_set(&err, ERROR_DATA, text, "%s", text));
    assert_int_equal(strlen(err.code), sizeof err.code - 1);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_false(error_wrap(&err, "front"));
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_memory_equal(err.message, "front: aaa", 10);
    assert_false(error_wrap(&err, "%s", text));
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_false(error_errno(&err, ERROR_DATA, "X", EIO, "%s", text));
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(error_kind_name(ERROR_NONE), "None");
    assert_string_equal(error_kind_name(ERROR_CONFLICT), "Conflict");
    assert_string_equal(error_kind_name(ERROR_FATAL), "Fatal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_wrap),
        cmocka_unit_test(long_messages),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
