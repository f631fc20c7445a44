/* links: firn_iceberg */
/* Updates and the metadata that comes of them; text that is made of older text. */
#include "tests/unit/iceberg/memory.h"

#include "agent/table/iceberg/change.h"

static json_t *parse(const char *text)
{
    json_error_t where;
    json_t *json = json_loads(text, 0, &where);
    if (!json)
        fail_msg("%s: %s", text, where.text);
    return json;
}

/* Takes base. */
static json_t *apply(json_t *base, const char *text)
{
    json_t *updates = parse(text), *metadata = NULL;
    json_t *before = json_deep_copy(base);
    OK((metadata = metadata_apply(base, updates, 5000, &err)));
    assert_true(!base || json_equal(base, before)); /* the old one stays as it is */
    json_decref(before);
    json_decref(updates);
    json_decref(base);
    return metadata;
}

static void refuse(json_t *base, const char *text)
{
    json_t *updates = parse(text);
    Error err = {0};
    assert_null(metadata_apply(base, updates, 5000, &err));
    assert_string_equal(err.code, "BadUpdate");
    json_decref(updates);
}

static void expect(const json_t *metadata, const char *key, const char *text)
{
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    char *got = json_dumps(json_object_get(metadata, key), JSON_COMPACT | JSON_ENCODE_ANY);
    if (!json_equal(json_object_get(metadata, key), wanted))
        fail_msg("%s is %s, not %s", key, got, text);
    free(got);
    json_decref(wanted);
}

static json_t *made(int version)
{
    AUTO(mem_free)
    char *text = mem_format(
        "[{\"action\":\"assign-uuid\",\"uuid\":\"u\"},"
        "{\"action\":\"upgrade-format-version\",\"format-version\":%d},"
        "{\"action\":\"add-schema\",\"schema\":{\"schema-id\":0},\"last-column-id\":7},"
        "{\"action\":\"set-current-schema\",\"schema-id\":-1},"
        "{\"action\":\"add-spec\",\"spec\":{\"spec-id\":0,\"fields\":[{\"field-id\":1004}]}},"
        "{\"action\":\"set-default-spec\",\"spec-id\":-1},"
        "{\"action\":\"add-sort-order\",\"sort-order\":{\"order-id\":0,\"fields\":[]}},"
        "{\"action\":\"set-default-sort-order\",\"sort-order-id\":-1},"
        "{\"action\":\"set-location\",\"location\":\"file:///t\"},"
        "{\"action\":\"set-properties\",\"updates\":{\"a\":\"1\",\"b\":\"2\"}}]",
        version);
    return apply(NULL, text);
}

static void test_create(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++) {
        json_t *metadata = made(version);
        expect(metadata, "format-version", version == 2 ? "2" : "3");
        expect(metadata, "current-snapshot-id", version == 2 ? "-1" : "null");
        assert_int_equal(version == 3, json_object_get(metadata, "next-row-id") != NULL);
        expect(metadata, "table-uuid", "\"u\"");
        expect(metadata, "last-column-id", "7");
        expect(metadata, "current-schema-id", "0");
        expect(metadata, "last-partition-id", "1004");
        expect(metadata, "default-spec-id", "0");
        expect(metadata, "default-sort-order-id", "0");
        expect(metadata, "location", "\"file:///t\"");
        metadata = apply(metadata, "[{\"action\":\"set-properties\",\"updates\":{\"b\":\"3\"}},"
                                   "{\"action\":\"remove-properties\",\"removals\":[\"a\"]}]");
        expect(metadata, "properties", "{\"b\":\"3\"}");
        json_decref(metadata);
    }
}

static json_t *with_snapshot(json_t *metadata, int id)
{
    AUTO(mem_free)
    char *text = mem_format(
        "[{\"action\":\"add-snapshot\",\"snapshot\":{\"snapshot-id\":%d,\"sequence-number\":%d,"
        "\"timestamp-ms\":%d,\"first-row-id\":%d,\"added-rows\":10,\"x\":1}},"
        "{\"action\":\"set-snapshot-ref\",\"ref-name\":\"main\",\"type\":\"branch\","
        "\"snapshot-id\":%d,\"max-ref-age-ms\":9}]",
        id, id, 6000 + id, (id - 1) * 10, id);
    return apply(metadata, text);
}

static void test_snapshots(void **state)
{
    (void)state;
    json_t *metadata = made(3);
    for (int id = 1; id <= 4; id++)
        metadata = with_snapshot(metadata, id);
    expect(metadata, "last-sequence-number", "4");
    expect(metadata, "last-updated-ms", "6004");
    expect(metadata, "next-row-id", "40");
    expect(metadata, "current-snapshot-id", "4");
    expect(metadata, "refs",
           "{\"main\":{\"type\":\"branch\",\"snapshot-id\":4,\"max-ref-age-ms\":9}}");
    json_object_set_new(metadata, "statistics", parse("[{\"snapshot-id\":2},{\"snapshot-id\":3}]"));
    json_object_set_new(metadata, "unknown", json_integer(1));
    refuse(metadata, "[{\"action\":\"remove-snapshots\",\"snapshot-ids\":[1,4]}]");
    metadata = apply(metadata, "[{\"action\":\"remove-snapshots\",\"snapshot-ids\":[2]}]");
    assert_int_equal(json_array_size(json_object_get(metadata, "snapshots")), 3);
    expect(metadata, "snapshot-log",
           "[{\"timestamp-ms\":6003,\"snapshot-id\":3},"
           "{\"timestamp-ms\":6004,\"snapshot-id\":4}]");
    expect(metadata, "statistics", "[{\"snapshot-id\":3}]");
    expect(metadata, "unknown", "1");
    refuse(metadata, "[{\"action\":\"set-snapshot-ref\",\"ref-name\":\"main\",\"type\":\"branch\","
                     "\"snapshot-id\":2}]");
    /* back to an older one: at the time it is done */
    metadata = apply(metadata, "[{\"action\":\"set-snapshot-ref\",\"ref-name\":\"main\",\"type\":"
                               "\"branch\",\"snapshot-id\":3}]");
    expect(metadata, "current-snapshot-id", "3");
    metadata = apply(metadata, "[{\"action\":\"remove-snapshot-ref\",\"ref-name\":\"main\"}]");
    expect(metadata, "current-snapshot-id", "null");
    json_decref(metadata);
}

static void test_refusals(void **state)
{
    (void)state;
    json_t *metadata = with_snapshot(made(3), 2);
    refuse(metadata, "[{\"action\":\"fly\"}]");
    refuse(metadata, "[{}]");
    refuse(metadata, "[7]");
    refuse(metadata, "[{\"action\":\"upgrade-format-version\",\"format-version\":2}]");
    refuse(metadata, "[{\"action\":\"set-current-schema\",\"schema-id\":-1}]");
    refuse(metadata, "[{\"action\":\"add-schema\",\"schema\":{\"schema-id\":1}}]");
    refuse(metadata, "[{\"action\":\"add-snapshot\",\"snapshot\":{\"snapshot-id\":9,"
                     "\"sequence-number\":2}}]");
    json_decref(metadata);
}

/* Arrays grow, lose entries anywhere, and are put in another order; the text is always the same as
 * when it is made anew. */
static void test_text(void **state)
{
    (void)state;
    json_t *metadata = made(2);
    MetadataText text = {0};
    uint64_t random = 7;
    for (int i = 0; i < 400; i++) {
        static const char *const keys[] = {"snapshots", "snapshot-log", "metadata-log"};
        json_t *next = json_copy(metadata);
        random = random * 6364136223846793005 + 1442695040888963407;
        const char *key = keys[(random >> 33) % 3];
        json_t *array = json_copy(json_object_get(metadata, key));
        size_t count = json_array_size(array), at = count ? (random >> 40) % count : 0;
        json_object_set_new(next, key, array);
        if ((random >> 50) % 4 || !count)
            json_array_append_new(array, json_pack("{s:i,s:s}", "n\"", i, "text", "\xc3\xa4\n,]"));
        else if ((random >> 52) % 4)
            json_array_remove(array, at);
        else
            json_array_insert(array, 0, json_array_get(array, at));
        json_decref(metadata);
        metadata = next;
        MetadataText fresh;
        metadata_text_init(&fresh, metadata, &text);
        char *wanted = json_dumps(metadata, JSON_COMPACT);
        assert_int_equal(fresh.text.used, strlen(wanted));
        assert_memory_equal(fresh.text.data, wanted, fresh.text.used);
        free(wanted);
        if ((random >> 55) % 8) { /* else the commit was lost */
            metadata_text_done(&text);
            text = fresh;
        } else {
            metadata_text_done(&fresh);
        }
    }
    assert_true(json_array_size(json_object_get(metadata, "snapshots")) > 20);
    metadata_text_done(&text);
    json_decref(metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
