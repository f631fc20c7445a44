/* links: firn_capture */
/* A source that no driver reads is refused by its name, before anything is asked. */
#include "tests/unit/unit.h"

#include "agent/capture/capture.h"
#include "common/mem.h"

static void other_sources(void **state)
{
    (void)state;
    static const SourceType types[] = {SOURCE_DYNAMODB};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        char name[] = "shop";
        ConnectorSpec spec = {.meta.name = name, .source_type = types[i]};
        CaptureOptions options = {0};
        Error err = {0};
        assert_null(capture_open(&spec, &options, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_string_equal(err.code, "UnsupportedSource");
        assert_non_null(strstr(err.message, "Connector shop"));
        err = (Error){0};
        assert_false(capture_drop(&spec, &err));
        assert_string_equal(err.code, "UnsupportedSource");
    }
}

/* Nothing of ours is kept there, so no connection is needed to take it away. */
static void nothing_to_drop(void **state)
{
    (void)state;
    static const SourceType types[] = {SOURCE_MYSQL, SOURCE_MARIADB};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        Error err = {0};
        assert_true(capture_drop(&(ConnectorSpec){.source_type = types[i]}, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(other_sources),
                                       cmocka_unit_test(nothing_to_drop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
