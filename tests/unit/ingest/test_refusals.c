/* links: firn_ingest */
/* What a topic can hold that needs a person: the flow ends with the reason, and says the way out.
 */
#include "tests/unit/ingest/source.h"

#include "agent/table/table.h"

#define BIG_BYTES (900 * 1024)
#define SOURCE_BYTES 256

static void fill(Source *source)
{
    Process process;
    source_open(source);
    for (int64_t id = 1; id <= 30; id++)
        put(source, ROW_INSERT, id, 1);
    flush(source);
    process_start(&process, source);
    expect(source, 30, 465, 30);
    process_stop(&process);
}

/* It ends by itself; `says` are in its message, the last one NULL. */
static void ends_with(const Source *source, const char *code, const char *const *says)
{
    Process process;
    process_start(&process, source);
    thread_join(process.thread);
    assert_false(process.ok);
    assert_string_equal(process.err.code, code);
    for (; *says; says++)
        if (!strstr(process.err.message, *says))
            fail_msg("'%s' does not say '%s'", process.err.message, *says);
    supervised_free(process.flow);
}

static void test_truncate_unordered(void **state)
{
    (void)state;
    static const char truncate[] = "{\"before\":null,\"after\":null,\"op\":\"t\"}";
    Source source;
    fill(&source);
    send_raw(&source, 1, truncate, sizeof truncate - 1, NULL, 0);
    ends_with(&source, "TruncateUnordered",
              (const char *[]){"partition 1 offset ", "skipped.operations", NULL});
    expect(&source, 30, 465, 30); /* nothing was emptied */
    source_close(&source);
}

/* The topic has no order between rows of two keys. */
static void test_key_differs(void **state)
{
    (void)state;
    Source source;
    table_extra = "      idColumns: [id, v]\n";
    source_open(&source);
    put(&source, ROW_INSERT, 1, 1);
    flush(&source);
    ends_with(&source, "KeyDiffers", (const char *[]){"table public.t", TOPIC, "keyColumns", NULL});
    source_close(&source);
    table_extra = "";
}

/* More partitions than there can be. */
static void test_barrier_malformed(void **state)
{
    (void)state;
    static const uint8_t header[29] = {[0] = 'E', [1] = 9, [24] = 9, [26] = 1};
    Source source;
    fill(&source);
    send_raw(&source, 0, "", 0, header, sizeof header);
    ends_with(&source, "BarrierMalformed",
              (const char *[]){"table public.t",
                               "delete the consumer group firn-default-all-public-t", NULL});
    source_close(&source);
}

/* The mock cluster keeps five megabytes of a partition. */
static void test_topic_truncated(void **state)
{
    (void)state;
    Source source;
    fill(&source);
    char *big = mem_alloc(BIG_BYTES);
    for (size_t at = 0; at < BIG_BYTES; at += 256) /* no compression makes less of it */
        assert_true(getentropy(big + at, 256) == 0);
    for (int i = 0; i < 8; i++)
        send_raw(&source, 2, big, BIG_BYTES, NULL, 0);
    free(big);
    ends_with(&source, "TopicTruncated",
              (const char *[]){"table public.t", "--resnapshot",
                               "delete the consumer group firn-default-all-public-t", NULL});
    expect(&source, 30, 465, 30);
    source_close(&source);
}

/* The table says that the topic has two partitions. */
static void forget_a_lane(const Source *source)
{
    Error err = {0};
    TableView view;
    CommitAnswer answer;
    int64_t id, sequence;
    Store *store = store_posix_open(source->folder, &err);
    Catalog *catalog = catalog_directory_open(store, &err);
    LakeTableSpec *spec = NULL;
    AUTO(mem_free) char *name = NULL;
    assert_true(manifest_expand(&source->manifest->units[0], "public", "t", &spec, &name, &err));
    const TableOptions options = {.spec = spec,
                                  .unit = "default/all-public-t",
                                  .source = source->schema,
                                  .catalog = catalog,
                                  .warehouse = source->folder,
                                  .memory_bytes_max = 1 << 20,
                                  .lanes = true};
    Table *table = table_open(&options, &err);
    if (!table)
        fail_msg("%s", err.message);
    table_view(table, 0, 0, &view);
    assert_true(view.has_claim);
    assert_int_equal(view.lane_count, PARTITIONS);
    LaneValue lanes[PARTITIONS];
    memcpy(lanes, view.lanes, sizeof lanes);
    char topic[SOURCE_BYTES];
    snprintf(topic, sizeof topic, "%s", view.source);
    if (!table_send_lanes(table, topic, lanes, PARTITIONS - 1, &answer, &id, &sequence, &err))
        fail_msg("%s", err.message);
    assert_int_equal(answer, ANSWER_DONE);
    table_close(table);
    lake_table_free(spec);
    catalog_close(catalog);
    store_close(store);
}

static void test_lane_unannounced(void **state)
{
    (void)state;
    Source source;
    fill(&source);
    forget_a_lane(&source);
    ends_with(&source, "LaneUnannounced",
              (const char *[]){"table public.t", "`partitions` of the Connector",
                               "delete the consumer group firn-default-all-public-t", NULL});
    source_close(&source);
}

int main(void)
{
    setup_quick();
    setenv("FIRN_DOUBT_MS", "1500", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_differs), cmocka_unit_test(test_truncate_unordered),
        cmocka_unit_test(test_barrier_malformed), cmocka_unit_test(test_topic_truncated),
        cmocka_unit_test(test_lane_unannounced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
