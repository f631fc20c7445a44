/* links: firn_capture_mysql */
/* What the servers themselves say is in tests/integration/test_mysql_charsets.py. */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/charset.h"

#define LONG_COUNT 5000

static const char *print(const char *name, const void *text, size_t bytes, Bytes *to)
{
    Charset charset;
    uint8_t *exact = malloc(bytes + !bytes); /* reading past it is seen */
    memcpy(exact, text, bytes);
    assert_true(charset_open(name, &charset));
    const char *why = charset_print(&charset, exact, bytes, to);
    charset_close(&charset);
    free(exact);
    return why;
}

static void expect(const char *name, const void *text, size_t bytes, const char *wanted)
{
    Bytes out = {0};
    assert_null(print(name, text, bytes, &out));
    bytes_put_u8(&out, 0);
    assert_string_equal((const char *)out.data, wanted);
    bytes_done(&out);
}

static void expect_none(const char *name, const void *text, size_t bytes)
{
    Bytes out = {0};
    assert_non_null(print(name, text, bytes, &out));
    bytes_done(&out);
}

static void test_one_byte(void **state)
{
    (void)state;
    expect("latin1", TEXT("a\x80\x81\xe4\xff"), "a€\xc2\x81äÿ");
    expect("cp866", TEXT("\x80\xfc\xfd"), "Аⁿ²");
    expect("KEYBCS2", TEXT("\x80\x8c"), "Čľ");
    expect("tis620", TEXT("\xa1\x80"), "ก\xc2\x80");
    expect("koi8u", TEXT("\x95\xa4"), "•є");
    expect_none("cp1251", TEXT("a\x98"));
    expect_none("ascii", TEXT("a\x80"));
    expect("cp1251", TEXT(""), "");
    Charset unknown;
    assert_false(charset_open("klingon", &unknown));
}

/* Where the server has characters otherwise than the C library, alone and among others. */
static void test_others(void **state)
{
    (void)state;
    expect("sjis", TEXT("C:\\~"), "C:\\~");
    expect("sjis", TEXT("\x93\xfa\x81\x5f\x96\x7b\x81\x60"), "日\\本〜");
    expect("sjis", TEXT("\x81\x60\xb1"), "〜ｱ");
    expect("ujis", TEXT("\xc6\xfc\xa1\xc1\x8f\xa2\xc3\x8e\xb1"), "日〜¦ｱ");
    expect("euckr", TEXT("\x81\x41\xb0\xa1"), "갂가");
    expect("big5", TEXT("\xa4\xa4\xa1\x45\xc7\xfc"), "中•⑽");
    expect("gb18030", TEXT("\xd6\xd0\xfe\x91\x82\x35\x90\x37z"), "中\xee\xa1\x95龴z");
    expect("swe7", TEXT("$}{|"), "$åäö");
    expect("eucjpms", TEXT("\xad\xa1"), "①");
}

static void test_cut_off(void **state)
{
    (void)state;
    expect_none("sjis", TEXT("\\\x93"));
    expect_none("ujis", TEXT("\xa1\xc1\x8f\xa2"));
    expect_none("big5", TEXT("\xa1"));
    expect_none("gb18030", TEXT("\x82\x35\x90"));
    expect_none("utf16", TEXT("\xd8\x3d"));
    expect_none("utf8mb4", TEXT("\xe2\x82"));
}

static void test_long(void **state)
{
    (void)state;
    Bytes text = {0}, wanted = {0};
    for (int i = 0; i < LONG_COUNT; i++) {
        bytes_put(&text, "\x93\xfa\x81\x60", 4);
        bytes_put(&wanted, "日〜", sizeof "日〜" - 1);
    }
    bytes_put_u8(&wanted, 0);
    expect("sjis", text.data, text.used, (const char *)wanted.data);
    bytes_done(&text);
    bytes_done(&wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_byte),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
