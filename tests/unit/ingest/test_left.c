/* links: firn_ingest */
/* What consumers that died have staged beside the table: it goes once no commit can take it, and
 * never what one could, nor what one has. */
#include "tests/unit/ingest/source.h"

#include "agent/ingest/flow.h"
#include "agent/table/table.h"

#define DEAD "0-0-0-0-aa-1"       /* the table is behind its place */
#define WAITS "0-ffffff-0-0-bb-1" /* … before it */
#define TAKEN "1-0-0-0-cc-1"      /* … behind it, with its rows */
/* … and their consumers died before they described them */
#define DEAD_ALONE "0-0-0-0-dd-1"
#define WAITS_ALONE "0-ffffff-0-0-ee-1"
#define FOREIGN "other-0-0-0-0-ff-1" /* what others wrote */

typedef struct Left {
    Source *source;
    Store *store;
    Catalog *catalog;
    LakeTableSpec *spec;
    char *name, *location;
    Table *table;
} Left;

static void open_left(Left *left, Source *source)
{
    Error err = {0};
    *left = (Left){.source = source, .store = store_posix_open(source->folder, &err)};
    left->catalog = catalog_directory_open(left->store, &err);
    assert_true(manifest_expand(&source->manifest->units[0], "public", "t", &left->spec,
                                &left->name, &err));
    AUTO(mem_free) char *warehouse = store_uri(source->folder, &err);
    left->location = mem_format("%s/public/t", warehouse);
    const TableOptions options = {.spec = left->spec,
                                  .unit = "default/all-public-t",
                                  .source = source->schema,
                                  .catalog = left->catalog,
                                  .warehouse = source->folder,
                                  .memory_bytes_max = 1 << 20,
                                  .lanes = true};
    left->table = table_open(&options, &err);
    if (!left->table)
        fail_msg("%s", err.message);
}

static void close_left(Left *left)
{
    table_close(left->table);
    lake_table_free(left->spec);
    catalog_close(left->catalog);
    store_close(left->store);
    free(left->name);
    free(left->location);
}

/* Two rows, of keys from `id` on. */
static void stage(const Left *left, const char *name, int64_t id)
{
    Error err = {0};
    TableStage *stage = table_stage_new(left->table, name, &err);
    assert_non_null(stage);
    for (int64_t i = 0; i < 2; i++)
        put(left->source, ROW_INSERT, id + i, 1);
    assert_true(table_stage_put(stage, left->source->batch, &err));
    batch_free(left->source->batch);
    left->source->batch = batch_new(left->source->schema, 0, 128);
    assert_true(table_stage_finish(stage, &err));
    table_stage_free(stage);
}

static void stage_alone(const Left *left, const char *name, int64_t id)
{
    Error err = {0};
    stage(left, name, id);
    AUTO(mem_free) char *uri = mem_format("%s/metadata/staged/%s.piece", left->location, name);
    assert_true(store_delete(left->store, uri, &err));
}

static bool has_piece(const Left *left, const char *name)
{
    Error err = {0};
    bool there = false;
    AUTO(mem_free) char *uri = mem_format("%s/metadata/staged/%s.piece", left->location, name);
    assert_true(store_exists(left->store, uri, &there, &err));
    return there;
}

typedef struct Counted {
    const char *name;
    size_t count;
} Counted;

static bool count_one(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    Counted *counted = context;
    (void)bytes;
    (void)modified_us;
    counted->count += strstr(uri, ".parquet") && strstr(uri, counted->name);
    return true;
}

/* Whose URI has the name in it. */
static size_t files_of(const Left *left, const char *name)
{
    Error err = {0};
    Counted counted = {.name = name};
    AUTO(mem_free) char *folder = mem_format("%s/data/", left->location);
    assert_true(store_list(left->store, folder, count_one, &counted, &err));
    return counted.count;
}

/* The piece is committed, and its description is still there: the process died in between. */
static void commit_and_leave(Left *left, const char *name)
{
    Error err = {0};
    TableView view;
    CommitAnswer answer;
    int64_t id, sequence;
    Bytes object = {0};
    AUTO(mem_free) char *uri = mem_format("%s/metadata/staged/%s.piece", left->location, name);
    assert_true(store_get(left->store, uri, 1 << 20, &object, &err));
    table_view(left->table, 0, 0, &view);
    assert_int_equal(view.lane_count, PARTITIONS);
    LaneValue lanes[PARTITIONS];
    memcpy(lanes, view.lanes, sizeof lanes);
    char topic[POSITION_SOURCE_BYTES];
    snprintf(topic, sizeof topic, "%s", view.source);
    assert_true(table_take_staged(left->table, name, &err));
    assert_true(
        table_send_lanes(left->table, topic, lanes, PARTITIONS, &answer, &id, &sequence, &err));
    assert_int_equal(answer, ANSWER_DONE);
    assert_false(has_piece(left, name));
    assert_true(store_put(left->store, uri, object.data, object.used, &err));
    bytes_done(&object);
}

static void test_left(void **state)
{
    (void)state;
    Source source;
    Process process;
    Left left;
    source_open(&source);
    for (int64_t id = 1; id <= 30; id++)
        put(&source, ROW_INSERT, id, 1);
    flush(&source);
    process_start(&process, &source);
    expect(&source, 30, 465, 30);
    process_stop(&process);
    open_left(&left, &source);
    stage(&left, DEAD, 1001);
    stage(&left, WAITS, 2001);
    stage(&left, TAKEN, 3001);
    commit_and_leave(&left, TAKEN);
    stage_alone(&left, DEAD_ALONE, 4001);
    stage_alone(&left, WAITS_ALONE, 5001);
    stage_alone(&left, FOREIGN, 6001);
    size_t files = files_of(&left, "");
    assert_int_equal(files_of(&left, "/" DEAD_ALONE "-"), 1);
    process_start(&process, &source);
    put(&source, ROW_UPDATE, 31, 1); /* the commit after which it looks */
    flush(&source);
    for (int64_t until_us = clock_mono_us() + SOON_US;
         has_piece(&left, DEAD) || has_piece(&left, TAKEN) || files_of(&left, DEAD_ALONE);) {
        assert_true(clock_mono_us() < until_us);
        clock_sleep_us(20000);
    }
    process_stop(&process);
    expect(&source, 33, 465 + 31 + 6003, 33);
    assert_true(has_piece(&left, WAITS));
    assert_int_equal(files_of(&left, ""), files - 1); /* the dead ones' are gone, one came */
    assert_int_equal(files_of(&left, "/" WAITS_ALONE "-"), 1);
    assert_int_equal(files_of(&left, "/" FOREIGN "-"), 1);
    assert_int_equal(files_of(&left, "/" TAKEN "-"), 1);
    close_left(&left);
    source_close(&source);
}

static void test_names(void **state)
{
    (void)state;
    char name[PIECE_NAME_BYTES];
    PieceName read;
    const LaneValue lanes[] = {{10, {5, 1}}, {10, {0, 0}}};
    static const struct {
        PieceName piece;
        bool dead;
    } cases[] = {
        {{0, {9, {5, 1}}, {1, 2}}, true},
        {{0, {10, {5, 1}}, {1, 2}}, false},
        {{0, {11, {5, 0}}, {1, 2}}, true},
        {{0, {9, {5, 2}}, {1, 2}}, false},
        {{1, {0, {0, 0}}, {UINT64_MAX, UINT64_MAX}}, true},
        {{1, {UINT64_MAX, {UINT64_MAX, UINT64_MAX}}, {3, 4}}, false},
        {{2, {0, {0, 0}}, {3, 4}}, false}, /* the table does not know it */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(piece_name_parse(piece_name(&cases[i].piece, name), &read));
        assert_int_equal(read.lane, cases[i].piece.lane);
        assert_true(lane_value_equal(read.from, cases[i].piece.from));
        assert_true(read.id.worker == cases[i].piece.id.worker);
        assert_true(read.id.number == cases[i].piece.id.number);
        assert_int_equal(piece_is_dead(&read, lanes, 2), cases[i].dead);
    }
    static const char *const others[] = {"", "0123456789abcdef-7", "0-0-0-0-aa", "0-0-0-0-aa-1x"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(piece_name_parse(others[i], &read));
}

int main(void)
{
    setenv("FIRN_TOPIC_ID_MS", "0", 1);
    setenv("FIRN_SETTINGS_MS", "0", 1);
    setenv("FIRN_SESSION_MS", "6000", 1);
    setenv("FIRN_LEFT_MS", "0", 1);
    log_setup(getenv("FIRN_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_LOGFMT);
    cmocka_set_test_filter(getenv("FIRN_TEST_ONLY"));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
