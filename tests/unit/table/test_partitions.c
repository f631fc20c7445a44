/* links: firn_table */
/* Upserts into tables partitioned by day, bucket, a text with nulls, a cut text: rows that move
 * from partition to partition. Run with FOLDER VERSION PARTITION it leaves the table there and
 * prints its rows, for tests/integration/test_iceberg_engines.py. */
#include "tests/unit/table/world.h"

#define IDS 400
#define ROUNDS 8

typedef struct Want {
    bool there;
    bool has_country;
    int64_t at_us;
    int32_t country;
    int64_t amount;
} Want;

static const char *const countries[] = {"de", "fr", "", "grüße/x", "zz top"};

static Schema *source_schema(void)
{
    Schema *schema = schema_new(4, 1);
    schema->fields[0] = world_field("id", (Type){.kind = TYPE_INT64}, true);
    schema->fields[1] = world_field("at", (Type){.kind = TYPE_TIMESTAMPTZ}, false);
    schema->fields[2] = world_field("country", (Type){.kind = TYPE_STRING}, false);
    schema->fields[3] = world_field("amount", (Type){.kind = TYPE_INT64}, false);
    return schema;
}

static uint32_t dice(uint64_t *random, uint32_t sides)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % sides;
}

static void put_row(Batch *batch, RowOp op, int64_t id, const Want *want, uint64_t major)
{
    Column *columns = batch->columns;
    batch_row_begin(batch, op, (RowPosition){major, batch->row_count + 1});
    column_put_i64(batch, &columns[0], id);
    if (op == ROW_DELETE) {
        for (int i = 1; i < 4; i++)
            column_put_null(batch, &columns[i]);
        return;
    }
    column_put_i64(batch, &columns[1], want->at_us);
    if (want->has_country)
        column_put_bytes(batch, &columns[2], countries[want->country],
                         strlen(countries[want->country]));
    else
        column_put_null(batch, &columns[2]);
    column_put_i64(batch, &columns[3], want->amount);
}

/* Around 1970, so that days and truncations go below zero, too. */
static void change(Want *want, uint64_t *random)
{
    *want = (Want){.there = true,
                   .has_country = dice(random, 6) != 0,
                   .at_us = ((int64_t)dice(random, 5) - 2) * INT64_C(86400000000) -
                            (int64_t)dice(random, 3),
                   .country = (int32_t)dice(random, ARRAY_LEN(countries)),
                   .amount = (int64_t)dice(random, 100000) - 50000};
}

static void round_of(Table *table, const World *world, Want *wants, uint64_t *random, int round)
{
    uint64_t major = 100 + (uint64_t)round;
    AUTO(batch_free) Batch *batch = batch_new(world->source, 0, 1000);
    for (int n = 0; n < 150; n++) {
        int64_t id = dice(random, IDS);
        Want *want = &wants[id];
        if (want->there && dice(random, 4) == 0) {
            want->there = false;
            put_row(batch, ROW_DELETE, id, NULL, major);
            continue;
        }
        RowOp op = want->there ? ROW_UPDATE : ROW_INSERT;
        change(want, random);
        put_row(batch, op, id, want, major);
    }
    OK(table_put(table, batch, &err));
    Position position = world_position(major + 1);
    OK(commit_now(table, &position, &err));
}

typedef struct Compared {
    const Want *wants;
    size_t count;
    bool print;
} Compared;

static void compare_row(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    Compared *to = context;
    int64_t id = column_i64(&batch->columns[0], row), amount = column_i64(&batch->columns[3], row);
    int64_t at_us = column_i64(&batch->columns[1], row);
    const Want *want = &to->wants[id];
    bool has_country = !column_is_null(&batch->columns[2], row);
    uint32_t bytes;
    const uint8_t *country = column_bytes(&batch->columns[2], row, &bytes);
    assert_true(want->there && want->has_country == has_country);
    assert_int_equal(amount, want->amount);
    assert_int_equal(at_us, want->at_us);
    if (has_country) {
        assert_int_equal(bytes, strlen(countries[want->country]));
        assert_memory_equal(country, countries[want->country], bytes);
    }
    to->count++;
    if (to->print)
        printf("%" PRId64 "\t%" PRId64 "\t%.*s\t%" PRId64 "\t%" PRId64 "\n", id, at_us,
               has_country ? (int)bytes : 2, has_country ? (const char *)country : "\\N", amount,
               row_id);
}

static void run(const char *folder, int format_version, const char *by)
{
    World world;
    Head head;
    Want wants[IDS] = {0};
    uint64_t random = 7;
    world_init_at(&world, folder, format_version, MODE_UPSERT, by);
    schema_free(world.source);
    world.source = source_schema();
    Table *table = world_open(&world);
    for (int round = 0; round < ROUNDS; round++) {
        round_of(table, &world, wants, &random, round);
        Compared rows = {.wants = wants, .print = folder && round == ROUNDS - 1};
        size_t there = 0;
        for (int id = 0; id < IDS; id++)
            there += wants[id].there;
        head_rows(&world, &head, compare_row, &rows);
        assert_int_equal(rows.count, there);
        head_done(&head);
    }
    table_close(table);
    if (folder)
        world_close(&world);
    else
        world_done(&world);
}

static void test_all(void **state)
{
    (void)state;
    const char *const by[] = {
        "day(at)",  "bucket(4, id)", "country", "truncate(3, country)", "truncate(1000, amount)",
        "month(at)"};
    for (size_t i = 0; i < ARRAY_LEN(by); i++) {
        run(NULL, 2, by[i]);
        run(NULL, 3, by[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        run(argv[1], (int)strtol(argv[2], NULL, 10), argv[3][0] ? argv[3] : NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
