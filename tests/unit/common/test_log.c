/* links: firn_common */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/thread.h"

/* What the function writes to stderr. */
static void capture(void (*write_lines)(void), char *text, size_t text_bytes)
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    write_lines();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    rewind(file);
    size_t bytes = fread(text, 1, text_bytes - 1, file);
    text[bytes] = '\0';
    fclose(file);
}

static void one_line(void)
{
    log_debug("not shown");
    log_info("table \"orders\" is open", LOG_T("table", "public.orders"), LOG_I("lag", -5),
             LOG_U("rows", INT64_MAX), LOG_F("rate", 0.5), LOG_T("empty", ""), LOG_T("null", NULL),
             LOG_T("odd", "a=b \\ \x01\x1b\n"), LOG_T("utf8", "é€😀"),
             LOG_T("bad", "a\xff\xc3 \xed\xa0\x80\xe2\x82"), LOG_F("unknown", NAN));
}

static void logfmt(void **state)
{
    (void)state;
    char text[4096];
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture(one_line, text, sizeof text);
    assert_memory_equal(text, "time=20", 7);
    assert_string_equal(
        text + strlen("time=2026-11-21T08:00:00.000Z "),
        "level=info msg=\"table \\\"orders\\\" is open\" table=public.orders lag=-5 "
        "rows=9223372036854775807 rate=0.5 empty=\"\" null=\"\" "
        "odd=\"a=b \\\\ \\u0001\\u001b\\n\" utf8=\"é€😀\" bad=\"a�� �����\" unknown=nan\n");
}

static void json(void **state)
{
    (void)state;
    char text[4096];
    log_setup(LOG_INFO, LOG_JSON);
    capture(one_line, text, sizeof text);
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(line, "msg")),
                        "table \"orders\" is open");
    assert_int_equal(json_integer_value(json_object_get(line, "lag")), -5);
    assert_true(json_real_value(json_object_get(line, "rate")) == 0.5);
    assert_string_equal(json_string_value(json_object_get(line, "odd")), "a=b \\ \x01\x1b\n");
    assert_string_equal(json_string_value(json_object_get(line, "utf8")), "é€😀");
    assert_string_equal(json_string_value(json_object_get(line, "bad")), "a�� �����");
    assert_string_equal(json_string_value(json_object_get(line, "unknown")), "nan");
    assert_string_equal(json_string_value(json_object_get(line, "null")), "");
    json_decref(line);
}

static void levels(void **state)
{
    (void)state;
    log_setup(LOG_WARN, LOG_LOGFMT);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    assert_true(log_enabled(LOG_ERROR));
    char text[4096];
    capture(one_line, text, sizeof text);
    assert_string_equal(text, "");
}

static void writer(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++)
        log_info("a line that is whole", LOG_I("n", i));
}

static void four_writers(void)
{
    Thread *threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        threads[i] = thread_start("writer", writer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(threads[i]);
}

static void lines_are_whole(void **state)
{
    (void)state;
    size_t text_bytes = 1 << 20;
    char *text = malloc(text_bytes);
    assert_non_null(text);
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture(four_writers, text, text_bytes);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        assert_memory_equal(line, "time=", 5);
        assert_non_null(strstr(line, "msg=\"a line that is whole\" n="));
    }
    assert_int_equal(lines, 800);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt),
        cmocka_unit_test(json),
        cmocka_unit_test(levels),
        cmocka_unit_test(lines_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
