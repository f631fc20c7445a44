/* links: firn_table */
/* Columns that change while a table is followed: one commit holds files of before and after. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/table/deaf.h"
#include "tests/unit/table/world.h"

#define SHAPE "{\"columns\":1}"
#define SHAPE_AFTER "{\"columns\":2}"

static void init(World *world, int format_version, TableMode mode, const char *by)
{
    world_init(world, format_version, mode, by);
    world->spec.add_columns = world->spec.widen_types = true;
    for (int i = 0; i < 4; i++)
        world->source->fields[i].origin = i + 1;
}

/* id, region (long now), label (was name), no amount, and a new one. */
static Schema *evolved(void)
{
    Schema *schema = schema_new(4, 1);
    schema->fields[0] = world_field("id", (Type){.kind = TYPE_INT64}, true);
    schema->fields[1] = world_field("region", (Type){.kind = TYPE_INT64}, false);
    schema->fields[2] = world_field("label", (Type){.kind = TYPE_STRING}, false);
    schema->fields[3] = world_field("more", (Type){.kind = TYPE_INT32}, true);
    for (int i = 0; i < 3; i++)
        schema->fields[i].origin = i + 1;
    schema->fields[3].origin = 6;
    return schema;
}

static void put(Table *table, const Schema *schema, int64_t first, uint32_t count, uint64_t major)
{
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        batch_row_begin(batch, ROW_INSERT, (RowPosition){major, i + 1});
        column_put_i64(batch, &batch->columns[0], first + i);
        if (schema->fields[1].type.kind == TYPE_INT64)
            column_put_i64(batch, &batch->columns[1], INT64_C(5000000000));
        else
            column_put_i32(batch, &batch->columns[1], 7);
        column_put_bytes(batch, &batch->columns[2], "text", 4);
        if (schema->fields[3].type.kind == TYPE_INT32)
            column_put_i32(batch, &batch->columns[3], 42);
        else
            column_put_null(batch, &batch->columns[3]);
    }
    OK(table_put(table, batch, &err));
}

typedef struct Sums {
    size_t rows, with_more;
    int64_t regions;
} Sums;

static void add_row(const Batch *batch, uint32_t row, int64_t row_id, void *context)
{
    (void)row_id;
    Sums *sums = context;
    int more = schema_find(batch->schema, "more");
    sums->rows++;
    sums->regions += column_i64(&batch->columns[1], row);
    sums->with_more += more >= 0 && !column_is_null(&batch->columns[more], row);
}

static Table *open_again(const World *world, TableOptions *options)
{
    Table *table;
    *options = world_options(world);
    OK((table = table_open(options, &err)));
    return table;
}

static const Field *field_of(const Schema *schema, const char *name)
{
    int at = schema_find(schema, name);
    if (at < 0)
        fail_msg("no column %s", name);
    return &schema->fields[at];
}

static void check_schema(const World *world, DroppedColumns dropped)
{
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(world);
    const Schema *schema = iceberg_schema(loaded);
    assert_int_equal(field_of(schema, "region")->type.kind, TYPE_INT64);
    assert_int_equal(field_of(schema, "label")->id, 3);
    bool upsert = world->spec.mode == MODE_UPSERT; /* else two columns more */
    assert_int_equal(field_of(schema, "more")->id, upsert ? 5 : 7);
    assert_false(field_of(schema, "more")->required);
    assert_int_equal(schema_find(schema, "name"), -1);
    assert_int_equal(schema_find(schema, "amount") >= 0, dropped == DROPPED_KEEP);
    assert_int_equal(schema->key_count, upsert);
    if (schema->key_count)
        assert_int_equal(schema->fields[schema->key[0]].id, 1);
    const char *initial = field_of(schema, "more")->initial;
    if (world->spec.format_version == 3)
        assert_string_equal(initial, "7");
    else
        assert_null(initial);
    const json_t *metadata = iceberg_metadata(loaded);
    assert_int_equal(json_array_size(json_object_get(metadata, "schemas")), 2);
    const json_t *snapshots = json_object_get(metadata, "snapshots");
    const json_t *last = json_array_get(snapshots, json_array_size(snapshots) - 1);
    assert_int_equal(json_integer_value(json_object_get(last, "schema-id")),
                     json_integer_value(json_object_get(metadata, "current-schema-id")));
    AUTO(mem_free)
    char *columns = mem_format("{\"ids\":{\"1\":1,\"2\":2,\"3\":3,\"6\":%d},\"source\":%s}",
                               upsert ? 5 : 7, SHAPE_AFTER);
    assert_string_equal(iceberg_property(loaded, "firn.columns.retail/orders"), columns);
}

typedef struct Resumed {
    const Schema *schema;
    int calls;
} Resumed;

static bool resume(void *context, const char *shape, const TableClaim *claim, const char *anchor,
                   const Schema **source, const char **ret_shape, Error *err)
{
    (void)err;
    Resumed *resumed = context;
    resumed->calls++;
    assert_string_equal(shape, SHAPE_AFTER);
    assert_int_equal(claim->position.at.major, 50);
    assert_null(anchor);
    *source = resumed->schema;
    *ret_shape = SHAPE_AFTER;
    return true;
}

static void follow(int format_version, TableMode mode, DroppedColumns dropped)
{
    World world;
    init(&world, format_version, mode, NULL);
    world.spec.dropped_columns = dropped;
    AUTO(schema_free) Schema *after = evolved();
    if (format_version == 3)
        after->fields[3].initial = mem_strdup("7");
    TableOptions options = world_options(&world);
    options.shape = SHAPE;
    Table *table;
    OK((table = table_open(&options, &err)));
    Position position = world_position(10);
    if (format_version == 3) { /* committed rows of before, whose default is told */
        put(table, world.source, 0, 10, 5);
        OK(commit_now(table, &position, &err));
    }
    if (format_version == 3)
        put(table, world.source, 100, 10, 20);
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    put(table, after, 105, 10, 30); /* five of them anew, where the mode is Upsert */
    position = world_position(40);
    OK(commit_now(table, &position, &err));
    check_schema(&world, dropped);
    put(table, after, 0, 5, 45);
    position = world_position(50);
    OK(commit_now(table, &position, &err)); /* no schema goes with this one */
    table_close(table);
    check_schema(&world, dropped);

    Resumed resumed = {.schema = after};
    options = world_options(&world); /* the source as it is now is not asked */
    options.resume = resume;
    options.resume_context = &resumed;
    OK((table = table_open(&options, &err)));
    assert_int_equal(resumed.calls, 1);
    put(table, after, 1000, 3, 60);
    position = world_position(70);
    OK(commit_now(table, &position, &err));
    table_close(table);
    check_schema(&world, dropped);

    Head head;
    Sums sums = {0};
    head_rows(&world, &head, add_row, &sums);
    bool v3 = format_version == 3, upsert = mode == MODE_UPSERT;
    size_t old_rows = !v3 ? 0 : upsert ? 10 : 20; /* five of each ten were replaced */
    assert_int_equal(sums.rows, 18 + old_rows);
    assert_int_equal(sums.with_more, 18); /* our reader knows of no defaults */
    assert_true(sums.regions == (int64_t)old_rows * 7 + 18 * INT64_C(5000000000));
    head_done(&head);
    world_done(&world);
}

static void one_commit_holds_before_and_after(void **state)
{
    (void)state;
    for (int version = 2; version <= 3; version++)
        for (TableMode mode = MODE_UPSERT; mode <= MODE_APPEND; mode++)
            for (DroppedColumns dropped = DROPPED_KEEP; dropped <= DROPPED_DROP; dropped++)
                follow(version, mode, dropped);
}

/* Makes the table with rows, lets it become `after`; what comes of it is the error. */
static void expect_refusal(const World *world, const Schema *after, const char *code,
                           const char *names)
{
    Error refusal = {0};
    TableOptions options;
    Table *table = open_again(world, &options);
    Position position = world_position(10);
    put(table, world->source, 0, 10, 5);
    OK(commit_now(table, &position, &err));
    put(table, world->source, 10, 10, 20);
    bool ok = table_evolve(table, after, SHAPE_AFTER, &refusal);
    if (ok)
        fail_msg("%s was not refused", names);
    assert_int_equal(refusal.kind, ERROR_CONFIG);
    assert_string_equal(refusal.code, code);
    if (!strstr(refusal.message, names))
        fail_msg("'%s' doesn't name %s", refusal.message, names);
    table_close(table);
}

static void what_can_not_be_followed_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++) {
        World world;
        init(&world, 2, MODE_UPSERT, i == 5 ? "bucket(4, region)" : NULL);
        AUTO(schema_free) Schema *after = evolved();
        const char *code = "SchemaIncompatible", *names = "column more";
        if (i == 0)
            world.spec.add_columns = false;
        if (i == 1)
            world.spec.widen_types = false, names = "widenTypes";
        if (i == 2) /* with rows there, and v2 */
            after->fields[3].initial = mem_strdup("7"), names = "formatVersion: 3";
        if (i == 3)
            after->fields[2].type.kind = TYPE_DATE, names = "column label";
        if (i == 4) /* narrower */
            after->fields[0].type.kind = TYPE_INT32, names = "column id";
        if (i == 5)
            names = "partitioned";
        if (i == 6)
            after->key[0] = 1, code = "KeyChanged", names = "idColumns";
        expect_refusal(&world, after, code, names);
        world_done(&world);
    }
}

/* A column that was dropped stays, and makes room for one that comes under its name. */
static void a_name_comes_again(void **state)
{
    (void)state;
    World world;
    init(&world, 3, MODE_UPSERT, NULL);
    TableOptions options;
    Table *table = open_again(&world, &options);
    put(table, world.source, 0, 10, 5);
    AUTO(schema_free) Schema *after = schema_copy(world.source);
    after->fields[3].origin = 9;
    after->fields[3].type = (Type){.kind = TYPE_INT32};
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    put(table, after, 20, 10, 6);
    Position position = world_position(10);
    OK(commit_now(table, &position, &err));
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    assert_int_equal(field_of(iceberg_schema(loaded), "amount_4")->id, 4);
    assert_int_equal(field_of(iceberg_schema(loaded), "amount")->id, 5);
    world_done(&world);
}

static void put_struct(Type *to, const char *const *names, const int32_t *origins, uint32_t count)
{
    *to = type_nested(TYPE_STRUCT, count);
    for (uint32_t i = 0; i < count; i++) {
        to->fields[i].name = mem_strdup(names[i]);
        to->fields[i].type.kind = origins[i] == 3 ? TYPE_DATE : TYPE_STRING;
        to->fields[i].origin = origins[i];
    }
}

/* Its last column is a list of structs (a, b). */
static void init_with_structs(World *world)
{
    init(world, 2, MODE_UPSERT, NULL);
    world->source->fields[3].type = type_nested(TYPE_LIST, 0);
    put_struct(&world->source->fields[3].type.element->type, (const char *const[]){"a", "b"},
               (const int32_t[]){1, 2}, 2);
}

/* The structs lose b, call a otherwise, and get c; then c becomes b; then all go, and d comes. */
static void what_stands_below_a_column_changes(void **state)
{
    (void)state;
    World world;
    init_with_structs(&world);
    AUTO(schema_free) Schema *after = schema_copy(world.source);
    type_done(&after->fields[3].type.element->type);
    put_struct(&after->fields[3].type.element->type, (const char *const[]){"alpha", "c"},
               (const int32_t[]){1, 3}, 2);
    AUTO(schema_free) Schema *last = schema_copy(after);
    free(last->fields[3].type.element->type.fields[1].name);
    last->fields[3].type.element->type.fields[1].name = mem_strdup("b");
    AUTO(schema_free) Schema *anew = schema_copy(last);
    type_done(&anew->fields[3].type.element->type);
    put_struct(&anew->fields[3].type.element->type, (const char *const[]){"d"},
               (const int32_t[]){4}, 1);
    AUTO(schema_free) Schema *other = schema_copy(after);
    other->fields[3].type.element->type.fields[0].type.kind = TYPE_INT32;

    TableOptions options;
    Table *table = open_again(&world, &options);
    put(table, world.source, 0, 10, 5);
    Position position = world_position(10);
    OK(commit_now(table, &position, &err));
    world.spec.add_columns = false;
    Error refusal = {0};
    assert_false(table_evolve(table, after, SHAPE_AFTER, &refusal));
    assert_string_equal(refusal.code, "SchemaIncompatible");
    assert_non_null(strstr(refusal.message, "addColumns"));
    world.spec.add_columns = true;
    assert_false(table_evolve(table, other, SHAPE_AFTER, &refusal)); /* a is of another type */
    assert_string_equal(refusal.code, "SchemaIncompatible");
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    put(table, after, 20, 10, 12);
    OK(table_evolve(table, last, SHAPE_AFTER, &err));
    put(table, last, 40, 10, 14);
    position = world_position(20);
    OK(commit_now(table, &position, &err));
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const Field *list = field_of(iceberg_schema(loaded), "amount");
    const Type *type = &list->type.element->type;
    assert_int_equal(list->id, 4);
    assert_int_equal(list->type.element->id, 5);
    assert_int_equal(type->field_count, 2);
    assert_string_equal(type->fields[0].name, "alpha");
    assert_int_equal(type->fields[0].id, 6);
    assert_string_equal(type->fields[1].name, "b");
    assert_int_equal(type->fields[1].id, 8); /* 7 was the first b */
    assert_int_equal(iceberg_last_column_id(loaded), 8);

    OK(table_evolve(table, anew, SHAPE_AFTER, &err));
    put(table, anew, 60, 10, 22);
    position = world_position(30);
    OK(commit_now(table, &position, &err));
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *at_last = world_load(&world);
    list = field_of(iceberg_schema(at_last), "amount");
    assert_int_equal(list->id, 4);
    assert_int_equal(list->type.element->type.field_count, 1);
    assert_int_equal(list->type.element->type.fields[0].id, 9);
    world_done(&world);
}

/* What a topic says of its columns numbers nothing below them: another column comes, the structs
 * keep their fields, and so rows of before their values. */
static void what_is_not_numbered_keeps_its_place(void **state)
{
    (void)state;
    World world;
    init_with_structs(&world);
    Type *have = &world.source->fields[3].type.element->type;
    have->fields[0].origin = have->fields[1].origin = 0;
    AUTO(schema_free) Schema *after = schema_new(5, 1);
    for (size_t i = 0; i < 4; i++)
        field_copy(&after->fields[i], &world.source->fields[i]);
    after->fields[4] = world_field("more", (Type){.kind = TYPE_INT32}, false);
    after->fields[4].origin = 5;
    TableOptions options;
    Table *table = open_again(&world, &options);
    put(table, world.source, 0, 10, 5);
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    Position position = world_position(10);
    OK(commit_now(table, &position, &err));
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const Field *list = field_of(iceberg_schema(loaded), "amount");
    const Type *type = &list->type.element->type;
    assert_int_equal(list->id, 4);
    assert_int_equal(list->type.element->id, 5);
    assert_int_equal(type->fields[0].id, 6);
    assert_int_equal(type->fields[1].id, 7);
    assert_int_equal(field_of(iceberg_schema(loaded), "more")->id, 8);
    assert_int_equal(iceberg_last_column_id(loaded), 8);
    world_done(&world);
}

/* What could not be followed is loaded again into the same table. */
static void load_again(World *world, Schema *as, int64_t at)
{
    Schema *before = world->source;
    world->source = as;
    TableOptions options = world_options(world);
    options.resnapshot = true;
    options.shape = SHAPE_AFTER;
    Table *table;
    OK((table = table_open(&options, &err)));
    TableCopy *copy = table_copy_start(table);
    Position position = world_position((uint64_t)at);
    OK(commit_copy_now(copy, table, &position, &err));
    table_close(table);
    world->source = before;
}

static void loaded_again_a_struct_grows_by_its_names(void **state)
{
    (void)state;
    World world;
    init_with_structs(&world);
    TableOptions options;
    Table *table = open_again(&world, &options);
    Position position = world_position(10);
    put(table, world.source, 0, 10, 5);
    OK(commit_now(table, &position, &err));
    table_close(table);

    AUTO(schema_free) Schema *more = schema_copy(world.source);
    type_done(&more->fields[3].type.element->type);
    put_struct(&more->fields[3].type.element->type, (const char *const[]){"a", "c", "b"},
               (const int32_t[]){1, 3, 2}, 3);
    load_again(&world, more, 20);
    IcebergTable *loaded = world_load(&world);
    const Field *list = field_of(iceberg_schema(loaded), "amount");
    const Type *type = &list->type.element->type;
    assert_int_equal(list->id, 4);
    assert_int_equal(type->field_count, 3);
    assert_int_equal(type->fields[0].id, 6);
    assert_int_equal(type->fields[1].id, 8);
    assert_int_equal(type->fields[2].id, 7);
    iceberg_table_free(loaded);

    load_again(&world, world.source, 30); /* c is gone: another type, and a column of its own */
    loaded = world_load(&world);
    assert_int_equal(field_of(iceberg_schema(loaded), "amount_4")->id, 4);
    assert_int_equal(field_of(iceberg_schema(loaded), "amount")->id, 9);
    iceberg_table_free(loaded);
    world_done(&world);
}

static void loaded_again_it_takes_any_columns(void **state)
{
    (void)state;
    World world;
    init(&world, 2, MODE_UPSERT, NULL);
    TableOptions options;
    Table *table = open_again(&world, &options);
    Position position = world_position(10);
    put(table, world.source, 0, 10, 5);
    OK(commit_now(table, &position, &err));
    table_close(table);
    AUTO(schema_free) Schema *after = evolved();
    after->fields[2].type.kind = TYPE_STRING;
    after->fields[1].type.kind = TYPE_STRING; /* no promotion: another column of the name */
    load_again(&world, after, 20);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    const Schema *schema = iceberg_schema(loaded);
    assert_int_equal(field_of(schema, "region")->type.kind, TYPE_STRING);
    assert_int_equal(field_of(schema, "region_2")->type.kind, TYPE_INT32);
    assert_true(field_of(schema, "region")->id > 4);
    world_done(&world);
}

/* Somebody commits in between: the columns go with the commit that is made on top of that. */
static void a_conflict_does_not_lose_columns(void **state)
{
    (void)state;
    World world;
    init(&world, 3, MODE_UPSERT, NULL);
    AUTO(schema_free) Schema *after = evolved();
    after->fields[3].initial = mem_strdup("7");
    TableOptions options;
    Table *table = open_again(&world, &options);
    Position position = world_position(10);
    put(table, world.source, 0, 10, 5);
    OK(commit_now(table, &position, &err));
    int64_t head = world_snapshot(table), id, sequence, foreign;
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    put(table, after, 5, 10, 20);
    AUTO(iceberg_table_free) IcebergTable *other = world_load(&world);
    IcebergCommit nothing = {.added_count = 0};
    OK(commit_once(other, &nothing, &foreign, &err));
    position = world_position(30);
    CommitAnswer answer;
    TableView view;
    Error why = {0};
    OK(table_send(table, &position, NULL, &answer, &id, &sequence, &why) || (err = why, false));
    assert_int_equal(answer, ANSWER_CONFLICT);
    OK(table_look(table, id, head, &view, &err));
    assert_true(view.exists && !view.ours_found);
    OK(table_send(table, &position, NULL, &answer, &id, &sequence, &why) || (err = why, false));
    assert_int_equal(answer, ANSWER_DONE);
    table_close(table);
    AUTO(iceberg_table_free) IcebergTable *loaded = world_load(&world);
    assert_int_equal(field_of(iceberg_schema(loaded), "label")->id, 3);
    assert_string_equal(field_of(iceberg_schema(loaded), "more")->initial, "7");
    Head rows;
    Sums sums = {0};
    head_rows(&world, &rows, add_row, &sums);
    head_done(&rows);
    assert_int_equal(sums.rows, 15);
    assert_int_equal(sums.with_more, 10);
    world_done(&world);
}

/* The table has the columns, nobody has said so: they are ours when it is loaded again. */
static void an_answer_that_is_lost_is_no_foreign_change(void **state)
{
    (void)state;
    World world;
    init(&world, 2, MODE_UPSERT, NULL);
    AUTO(schema_free) Schema *after = evolved();
    TableOptions options;
    Table *table = open_again(&world, &options);
    Position position = world_position(10);
    put(table, world.source, 0, 10, 5);
    OK(commit_now(table, &position, &err));
    int64_t head = world_snapshot(table), id, sequence;
    OK(table_evolve(table, after, SHAPE_AFTER, &err));
    put(table, after, 5, 10, 20);
    position = world_position(30);
    deaf_begin(world.catalog);
    CommitAnswer answer;
    TableView view;
    Error why = {0};
    assert_true(table_send(table, &position, NULL, &answer, &id, &sequence, &why));
    deaf_end(world.catalog);
    assert_int_equal(answer, ANSWER_UNKNOWN);
    OK(table_look(table, id, head, &view, &err));
    assert_true(view.ours_found);
    table_found(table);
    put(table, after, 0, 5, 40);
    position = world_position(50);
    OK(commit_now(table, &position, &err));
    table_close(table);
    check_schema(&world, DROPPED_KEEP);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_commit_holds_before_and_after),
        cmocka_unit_test(what_can_not_be_followed_is_refused),
        cmocka_unit_test(a_name_comes_again),
        cmocka_unit_test(what_stands_below_a_column_changes),
        cmocka_unit_test(what_is_not_numbered_keeps_its_place),
        cmocka_unit_test(loaded_again_it_takes_any_columns),
        cmocka_unit_test(loaded_again_a_struct_grows_by_its_names),
        cmocka_unit_test(a_conflict_does_not_lose_columns),
        cmocka_unit_test(an_answer_that_is_lost_is_no_foreign_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
