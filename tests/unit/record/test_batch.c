/* links: firn_record */
#include "tests/unit/unit.h"

#include "agent/record/batch.h"
#include "common/mem.h"

static Schema *mixed(void)
{
    Schema *schema = schema_new(4, 1);
    schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    schema->fields[1] = (Field){.name = mem_strdup("name"), .type.kind = TYPE_STRING};
    schema->fields[2] = (Field){.name = mem_strdup("flag"), .type.kind = TYPE_BOOL};
    schema->fields[3] = (Field){.name = mem_strdup("tags"), .type.kind = TYPE_LIST};
    schema->fields[3].type.element = mem_zalloc(sizeof(Field));
    *schema->fields[3].type.element =
        (Field){.name = mem_strdup("element"), .type.kind = TYPE_INT32};
    return schema;
}

static void put_row(Batch *batch, int64_t id, const char *name, uint32_t tags)
{
    batch_row_begin(batch, ROW_INSERT, (RowPosition){7, (uint64_t)id});
    column_put_i64(batch, &batch->columns[0], id);
    if (name)
        column_put_bytes(batch, &batch->columns[1], name, strlen(name));
    else
        column_put_null(batch, &batch->columns[1]);
    column_put_bool(batch, &batch->columns[2], id % 2);
    for (uint32_t i = 0; i < tags; i++) {
        column_element_room(batch, batch->columns[3].child);
        column_put_i32(batch, batch->columns[3].child, (int32_t)i);
    }
    column_put_list(batch, &batch->columns[3]);
}

static void holds_what_was_put(void **state)
{
    (void)state;
    Schema *schema = mixed();
    Batch *batch = batch_new(schema, 3, 100);
    char name[200];
    memset(name, 'x', sizeof name);
    for (int64_t i = 0; i < 100; i++) {
        name[i] = '\0';
        put_row(batch, i, i % 10 ? name : NULL, (uint32_t)i);
        name[i] = 'x';
    }
    assert_true(batch_is_full(batch));
    assert_int_equal(batch->columns[1].null_count, 10);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t bytes;
        column_bytes(&batch->columns[1], i, &bytes);
        assert_int_equal(bytes, i % 10 ? i : 0);
        assert_int_equal(column_is_null(&batch->columns[1], i), i % 10 == 0);
        assert_int_equal(column_i64(&batch->columns[0], i), i);
        assert_int_equal(bit_get(batch->columns[2].values, i), i % 2);
        assert_int_equal(batch->columns[3].offsets[i + 1] - batch->columns[3].offsets[i], i);
    }
    assert_int_equal(
        column_i32(batch->columns[3].child, (uint32_t)batch->columns[3].offsets[50] + 49), 49);
    batch_free(batch);
    schema_free(schema);
}

static void undo_takes_back_half_a_row(void **state)
{
    (void)state;
    Schema *schema = mixed();
    Batch *batch = batch_new(schema, 0, 10);
    put_row(batch, 1, "one", 2);
    batch_row_begin(batch, ROW_INSERT, (RowPosition){7, 2});
    column_put_i64(batch, &batch->columns[0], 2);
    column_put_null(batch, &batch->columns[1]);
    batch_row_undo(batch);
    put_row(batch, 3, "three", 1);
    assert_int_equal(batch->row_count, 2);
    assert_int_equal(batch->columns[1].null_count, 0);
    assert_int_equal(column_i64(&batch->columns[0], 1), 3);
    uint32_t bytes;
    assert_memory_equal(column_bytes(&batch->columns[1], 1, &bytes), "three", 5);
    assert_int_equal(batch->columns[3].child->rows, 3);
    batch_free(batch);
    schema_free(schema);
}

/* struct<n: int, tags: list<int>> and map<string, string>, and a list of the former. */
static void nested_columns(void **state)
{
    (void)state;
    Schema *schema = schema_new(2, 0);
    schema->fields[0] = (Field){.name = mem_strdup("items"), .type = type_nested(TYPE_LIST, 0)};
    Type *item = &schema->fields[0].type.element->type;
    *item = type_nested(TYPE_STRUCT, 2);
    item->fields[0] = (Field){.name = mem_strdup("n"), .type.kind = TYPE_INT32};
    item->fields[1] = (Field){.name = mem_strdup("tags"), .type = type_nested(TYPE_LIST, 0)};
    item->fields[1].type.element->type.kind = TYPE_INT32;
    schema->fields[1] = (Field){.name = mem_strdup("words"), .type = type_nested(TYPE_MAP, 0)};
    schema->fields[1].type.fields[0].type.kind = TYPE_STRING;
    schema->fields[1].type.fields[1].type.kind = TYPE_STRING;
    char name[TYPE_NAME_BYTES];
    assert_string_equal(type_format(&schema->fields[0].type, name),
                        "list<struct<n: int, tags: list<int>>>");
    assert_string_equal(type_format(&schema->fields[1].type, name), "map<string, string>");
    Schema *copy = schema_copy(schema);
    assert_true(type_equal(&copy->fields[0].type, &schema->fields[0].type));
    assert_false(type_equal(&copy->fields[0].type, &schema->fields[1].type));

    Batch *batch = batch_new(copy, 0, 4);
    Column *items = &batch->columns[0], *words = &batch->columns[1];
    for (uint32_t row = 0; row < 4; row++) {
        bool undone = false;
    again:
        batch_row_begin(batch, ROW_INSERT, (RowPosition){7, row});
        for (uint32_t i = 0; i < 20; i++) { /* more than there was room for */
            column_element_room(batch, items->child);
            if (i % 5 == 4) {
                column_put_null(batch, items->child);
                continue;
            }
            Column *fields = items->child->child;
            column_put_i32(batch, &fields[0], (int32_t)(row * 100 + i));
            column_element_room(batch, fields[1].child);
            column_put_i32(batch, fields[1].child, (int32_t)i);
            column_put_list(batch, &fields[1]);
            column_put_struct(batch, items->child);
        }
        column_put_list(batch, items);
        column_element_room(batch, &words->child[0]);
        column_put_bytes(batch, &words->child[0], "key", 3);
        if (row == 2 && !undone) { /* half a map: the row is taken back */
            batch_row_undo(batch);
            undone = true;
            goto again;
        }
        column_element_room(batch, &words->child[1]);
        column_put_null(batch, &words->child[1]);
        column_put_list(batch, words);
    }
    assert_int_equal(items->child->rows, 80);
    assert_int_equal(items->child->null_count, 16);
    assert_int_equal(items->child->child[0].rows, 80);
    assert_int_equal(items->child->child[0].null_count, 16);
    assert_int_equal(items->child->child[1].child->rows, 64);
    assert_int_equal(words->child[0].rows, 4);
    assert_int_equal(words->child[1].rows, 4);
    assert_int_equal(column_i32(&items->child->child[0], 3 * 20 + 18), 318);
    assert_true(column_is_null(items->child, 79));
    batch_free(batch);
    schema_free(schema);
    schema_free(copy);
}

static void types_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"boolean", "int",  "long",          "float",       "double",
                                        "date",    "time", "timestamp",     "timestamptz", "string",
                                        "binary",  "uuid", "decimal(12,2)", "fixed[16]"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        Type type;
        Error err = {0};
        char text[TYPE_NAME_BYTES];
        assert_true(type_parse(names[i], &type, &err));
        assert_string_equal(type_format(&type, text), names[i]);
    }
    Type type;
    Error err = {0};
    assert_false(type_parse("decimal(39,2)", &type, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "BadType");
    assert_false(type_parse("varchar", &type, &err));
    assert_string_equal(err.code, "BadType");
    assert_non_null(strstr(err.message, "varchar"));
}

static void positions_order_and_survive_text(void **state)
{
    (void)state;
    Position a = {.source = "postgresql/7000/1/firn_shop", .at = {0x1600000000, 3}}, b = a, back;
    Error err = {0};
    char text[POSITION_TEXT_BYTES];
    b.at.minor = 0;
    b.at.major++;
    assert_int_equal(position_compare(&a, &b), POSITION_BEFORE);
    assert_string_equal(position_format(&a, text), "postgresql/7000/1/firn_shop@16/0.3");
    assert_true(position_parse(text, &back, &err));
    assert_int_equal(position_compare(&a, &back), POSITION_EQUAL);
    strcpy(b.source, "postgresql/7001/1/firn_shop");
    assert_int_equal(position_compare(&a, &b), POSITION_UNRELATED);
    assert_false(position_parse("postgresql/7000@16/0.3 and more", &back, &err));
    assert_false(position_parse("16/0.3", &back, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_was_put),
        cmocka_unit_test(undo_takes_back_half_a_row),
        cmocka_unit_test(nested_columns),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(positions_order_and_survive_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
