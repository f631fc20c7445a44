/* links: firn_common */
/* bytes.h writes, reader.h reads: what one puts the other takes. */
#include "tests/unit/unit.h"

#include "common/bytes.h"
#include "common/reader.h"

static void numbers_have_their_order(void **state)
{
    (void)state;
    Bytes bytes = {0};
    bytes_put_u8(&bytes, 0x01);
    bytes_put_u32(&bytes, 0x02030405);
    bytes_put_u32be(&bytes, 0x06070809);
    bytes_put_u64(&bytes, 0x0a0b0c0d0e0f1011);
    bytes_put_u64be(&bytes, 0x1213141516171819);
    static const uint8_t expected[] = {1,    5,    4,    3,    2,    6,    7,    8,    9,
                                       0x11, 0x10, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x12,
                                       0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19};
    assert_int_equal(bytes.used, sizeof expected);
    assert_memory_equal(bytes.data, expected, sizeof expected);
    Reader reader = reader_over(bytes.data, bytes.used);
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    assert_true(reader_u8(&reader, &u8) && u8 == 1);
    assert_true(reader_u32(&reader, &u32) && u32 == 0x02030405);
    assert_true(reader_u32be(&reader, &u32) && u32 == 0x06070809);
    assert_true(reader_u64(&reader, &u64) && u64 == 0x0a0b0c0d0e0f1011);
    assert_true(reader_u16be(&reader, &u16) && u16 == 0x1213);
    assert_false(reader_u64be(&reader, &u64)); /* six are left */
    assert_int_equal(reader_left(&reader), 6);
    const uint8_t *taken = NULL;
    assert_false(reader_take(&reader, 7, &taken));
    assert_false(reader_take(&reader, SIZE_MAX, &taken));
    assert_true(reader_take(&reader, 6, &taken));
    assert_int_equal(taken[5], 0x19);
    assert_int_equal(reader_left(&reader), 0);
    assert_false(reader_u8(&reader, &u8));
    assert_true(reader_take(&reader, 0, &taken));
    bytes_done(&bytes);
    assert_null(bytes.data);
}

static void grows_and_keeps(void **state)
{
    (void)state;
    Bytes bytes = {0};
    bytes_put(&bytes, NULL, 0);
    for (uint32_t i = 0; i < 100000; i++)
        bytes_put_u32(&bytes, i);
    assert_int_equal(bytes.used, 400000);
    Reader reader = reader_over(bytes.data, bytes.used);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t value;
        assert_true(reader_u32(&reader, &value) && value == i);
    }
    size_t held = bytes.held;
    bytes_clear(&bytes);
    assert_int_equal(bytes.used, 0);
    assert_int_equal(bytes.held, held);
    bytes_done(&bytes);
}

static void varints(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, UINT64_MAX};
    static const int64_t signed_values[] = {0, -1, 1, -64, 64, INT32_MIN, INT64_MIN, INT64_MAX};
    Bytes bytes = {0};
    bytes_put_varint(&bytes, 300);
    assert_int_equal(bytes.used, 2);
    assert_memory_equal(bytes.data, "\xac\x02", 2);
    bytes_clear(&bytes);
    bytes_put_zigzag(&bytes, -2);
    assert_memory_equal(bytes.data, "\x03", 1);
    bytes_clear(&bytes);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        bytes_put_varint(&bytes, values[i]);
    for (size_t i = 0; i < ARRAY_LEN(signed_values); i++)
        bytes_put_zigzag(&bytes, signed_values[i]);
    Reader reader = reader_over(bytes.data, bytes.used);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint64_t value;
        assert_true(reader_varint(&reader, &value));
        assert_true(value == values[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(signed_values); i++) {
        int64_t value;
        assert_true(reader_zigzag(&reader, &value));
        assert_true(value == signed_values[i]);
    }
    assert_int_equal(reader_left(&reader), 0);
    bytes_done(&bytes);
}

static void bad_varints_move_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t bytes;
    } cases[] = {
        {"", 0},
        {"\x80", 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, /* more than 64 bits */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Reader reader = reader_over(cases[i].data, cases[i].bytes);
        uint64_t value = 7;
        int64_t signed_value;
        assert_false(reader_varint(&reader, &value));
        assert_false(reader_zigzag(&reader, &signed_value));
        assert_int_equal(value, 7);
        assert_int_equal(reader_left(&reader), cases[i].bytes);
    }
}

static void texts_inside(void **state)
{
    (void)state;
    Reader reader = reader_over("ab\0\0cd", 6);
    const char *text;
    assert_true(reader_cstring(&reader, &text));
    assert_string_equal(text, "ab");
    assert_true(reader_cstring(&reader, &text));
    assert_string_equal(text, "");
    assert_false(reader_cstring(&reader, &text)); /* no NUL within the bounds */
    assert_int_equal(reader_left(&reader), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_their_order),
        cmocka_unit_test(grows_and_keeps),
        cmocka_unit_test(varints),
        cmocka_unit_test(bad_varints_move_nothing),
        cmocka_unit_test(texts_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
