/* links: firn_topic */
/* Dead letters: read back, they have the whole record. */
#include "tests/unit/unit.h"

#include <jansson.h>

#include "agent/topic/letter.h"
#include "common/mem.h"

#define SMALL 100000u /* bytes that a record may have */

static json_t *about(const TopicRecords *records)
{
    const TopicSpan *value = &records->items[0].value;
    json_t *json = json_loadb((const char *)records->bytes.data + value->at, value->bytes, 0, NULL);
    assert_non_null(json);
    assert_null(records->items[0].other_name);
    return json;
}

static int64_t number(const json_t *json, const char *name)
{
    assert_true(json_is_integer(json_object_get(json, name)));
    return json_integer_value(json_object_get(json, name));
}

static void expect_text(const json_t *json, const char *name, const char *wanted)
{
    const char *found = json_string_value(json_object_get(json, name));
    assert_non_null(found);
    assert_string_equal(found, wanted);
}

/* The pieces of that header, joined, from *at on; each is checked. */
static Bytes join(const TopicRecords *records, const char *header, int64_t count, size_t *at,
                  const char *name)
{
    Bytes all = {0};
    for (uint32_t i = 0; i < count; i++, (*at)++) {
        assert_true(*at < records->count);
        const TopicRecord *record = &records->items[*at];
        const uint8_t *bytes = records->bytes.data;
        const uint8_t piece[4] = {0, 0, (uint8_t)(i >> 8), (uint8_t)i};
        assert_string_equal(record->other_name, header);
        assert_int_equal(record->other.bytes, 4);
        assert_memory_equal(bytes + record->other.at, piece, 4);
        assert_int_equal(record->key.bytes, strlen(name));
        assert_memory_equal(bytes + record->key.at, name, strlen(name));
        assert_true(record->value.bytes > 0 && record->value.bytes < SMALL);
        bytes_put(&all, bytes + record->value.at, record->value.bytes);
    }
    return all;
}

static uint8_t *noise(size_t bytes)
{
    uint8_t *made = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        made[i] = (uint8_t)(i * 7919 >> 3);
    return made;
}

/* Key and value are larger than one record takes. */
static void whole(void **state)
{
    (void)state;
    enum { KEY = LETTER_KEY_BYTES + 250000, VALUE = 1234567 };
    AUTO(mem_free) uint8_t *key = noise(KEY), *value = noise(VALUE);
    AUTO(topic_records_done) TopicRecords records = {0};
    Error why = {0};
    (void)error_set(&why, ERROR_DATA, "BadRecord", "it is broken");
    const Letter letter = {.topic = "shop.t",
                           .partition = 3,
                           .was_read = true,
                           .offset = UINT64_C(5000000000),
                           .at = {7, 2},
                           .key = key,
                           .key_bytes = KEY,
                           .value = value,
                           .value_bytes = VALUE,
                           .header = "R\1",
                           .header_bytes = 2,
                           .why = &why};
    letter_put(&letter, SMALL, &records);
    json_t *json = about(&records);
    expect_text(json, "topic", "shop.t");
    expect_text(json, "position", "7.2");
    expect_text(json, "code", "BadRecord");
    expect_text(json, "reason", "it is broken");
    expect_text(json, "header", "5201");
    assert_int_equal(number(json, "partition"), 3);
    assert_int_equal(number(json, "offset"), INT64_C(5000000000));
    assert_int_equal(number(json, "keyBytes"), KEY);
    assert_int_equal(number(json, "valueBytes"), VALUE);
    assert_int_equal(strlen(json_string_value(json_object_get(json, "key"))), 2 * LETTER_KEY_BYTES);
    assert_null(json_object_get(json, "null"));
    size_t at = 1;
    static const char name[] = "shop.t/3@5000000000";
    Bytes keys = join(&records, LETTER_KEY_PIECE, number(json, "keyPieces"), &at, name);
    Bytes values = join(&records, LETTER_PIECE, number(json, "pieces"), &at, name);
    assert_int_equal(at, records.count);
    assert_int_equal(keys.used, KEY);
    assert_memory_equal(keys.data, key, KEY);
    assert_int_equal(values.used, VALUE);
    assert_memory_equal(values.data, value, VALUE);
    bytes_done(&keys);
    bytes_done(&values);
    json_decref(json);
}

/* A record that was to be written; a reason that is no UTF-8 (a name cut within a character). */
static void plain(void **state)
{
    (void)state;
    AUTO(topic_records_done) TopicRecords records = {0};
    Error why = {0};
    (void)error_set(&why, ERROR_DATA, "RecordTooLarge", "field \xc3 is large");
    const Letter letter = {.topic = "shop.t",
                           .at = {1, 0},
                           .key = "\xff",
                           .key_bytes = 1,
                           .value = "v",
                           .value_bytes = 1,
                           .why = &why};
    letter_put(&letter, 1 << 20, &records);
    json_t *json = about(&records);
    expect_text(json, "reason", "field ? is large");
    expect_text(json, "key", "ff");
    expect_text(json, "position", "1.0");
    assert_null(json_object_get(json, "offset"));
    assert_null(json_object_get(json, "keyPieces"));
    assert_int_equal(number(json, "pieces"), 1);
    assert_int_equal(records.count, 2);
    AUTO(mem_free) char *name = letter_name(&letter);
    assert_string_equal(name, "shop.t/1.0");
    json_decref(json);
}

/* Null is not empty. */
static void nothing(void **state)
{
    (void)state;
    Error why = {.code = "BadRecord"};
    for (int is_null = 0; is_null < 2; is_null++) {
        AUTO(topic_records_done) TopicRecords records = {0};
        const Letter letter = {
            .topic = "t", .was_read = true, .value = is_null ? NULL : "", .why = &why};
        letter_put(&letter, 0, &records); /* a limit that is none is no reason to fail */
        json_t *json = about(&records);
        assert_int_equal(json_is_true(json_object_get(json, "null")), is_null);
        assert_int_equal(number(json, "pieces"), 0);
        assert_int_equal(records.count, 1);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(plain),
                                       cmocka_unit_test(nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
