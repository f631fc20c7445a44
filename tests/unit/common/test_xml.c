/* links: firn_common */
/* What XML is read, and what is none that is expected. */
#include "tests/unit/unit.h"

#include "common/bytes.h"
#include "common/mem.h"
#include "common/xml.h"

static bool note(void *context, const char *path, const char *text)
{
    Bytes *seen = context;
    AUTO(mem_free) char *line = mem_format("%s=%s;", path, text);
    bytes_put(seen, line, strlen(line));
    return strcmp(text, "stop") != 0;
}

static void elements_end_one_by_one(void **state)
{
    (void)state;
    static const char xml[] = "<?xml version=\"1.0\"?><s3:r xmlns:s3=\"u\"><a>1 &lt; 2</a>"
                              "<b><c/><c>x</c></b>tail</s3:r>";
    Bytes seen = {0};
    Error err = {0};
    assert_true(xml_read(xml, strlen(xml), note, &seen, &err));
    bytes_put_u8(&seen, 0);
    assert_string_equal((char *)seen.data, "r/a=1 < 2;r/b/c=;r/b/c=x;r/b=;r=tail;");
    bytes_done(&seen);
    /* the one that is told may have had enough: the error is its own */
    static const char more[] = "<r><a>stop</a><a>more</a></r>";
    assert_false(xml_read(more, strlen(more), note, &seen, &err));
    assert_int_equal(err.kind, ERROR_NONE);
    bytes_put_u8(&seen, 0);
    assert_string_equal((char *)seen.data, "r/a=stop;");
    bytes_done(&seen);
}

static void refused(const char *xml, const char *why)
{
    Bytes seen = {0};
    Error err = {0};
    assert_false(xml_read(xml, strlen(xml), note, &seen, &err));
    bytes_done(&seen);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "BadXml");
    if (!strstr(err.message, why))
        fail_msg("'%s' has no '%s'", err.message, why);
}

static void what_is_none(void **state)
{
    (void)state;
    refused("", "no element");
    refused("<html><body>502</html>", "mismatched tag");
    refused("<r>&nothing;</r>", "undefined entity");
    refused("<!DOCTYPE r [<!ENTITY a \"b\">]><r>&a;</r>", "document type");
    refused(
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a>"
        "</a></a></a></a></a></a></a></a>",
        "nested too deep");
    AUTO(mem_free) char *letters = mem_alloc((65 << 10) + 1);
    memset(letters, 'x', 65 << 10);
    letters[65 << 10] = '\0';
    AUTO(mem_free) char *xml = mem_format("<r>%s</r>", letters);
    refused(xml, "too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_end_one_by_one),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
