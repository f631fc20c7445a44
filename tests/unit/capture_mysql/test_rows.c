/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/known.h"
#include "agent/record/origin.h"

#include "agent/capture/mysql/rows.h"
#include "agent/capture/mysql/unpack.h"

static const Collation collation_items[] = {{8, "latin1"}, {45, "utf8mb4"}, {63, "binary"}};
static const Collations collations = {collation_items, ARRAY_LEN(collation_items)};

/* shop.t (id int unsigned primary key, name varchar(300) latin1, size enum('s','m'), note text,
 * raw varbinary(9), flags set('a','b')), all but the key nullable. */
#define TYPES                                                                                      \
    "\x6d\0\0\0\0\0\1\0\4shop\0\1t\0\6\3\x0f\xfe\xfc\x0f\xfe\x09\x2c\1\xf7\1\2\x09\0\xf8\1\x3e"
#define FULL                                                                                       \
    TYPES "\1\1\x80"             /* unsigned */                                                    \
          "\2\5\x2d\0\x08\2\x3f" /* utf8mb4, but the first latin1 and the third binary */          \
          "\4\x1c\2id\4name\4size\4note\3raw\5flags"                                               \
          "\6\5\2\1s\1m"                                                                           \
          "\5\5\2\1a\1b"                                                                           \
          "\x08\1\0"                                                                               \
          "\x0b\2\x2d\x2d"                                                                         \
          "\x0c\1\xf4"

static TableMap *read_map(const void *content, size_t bytes, Error *err)
{
    BinlogFormat format = log_format(false);
    BinlogEvent event = log_content(EVENT_TABLE_MAP, content, bytes);
    return table_map_read(&event, &format, err);
}

static void test_table_map(void **state)
{
    (void)state;
    Error err = {0};
    TableMap *map = read_map(TEXT(FULL), &err);
    assert_non_null(map);
    assert_int_equal(map->id, 0x6d);
    assert_string_equal(map->schema_name, "shop");
    assert_string_equal(map->table_name, "t");
    assert_int_equal(map->column_count, 6);
    static const struct {
        uint8_t type;
        bool nullable, is_unsigned, invisible;
        uint32_t collation;
        const char *name;
    } wanted[] = {
        {MY_LONG, false, true, false, 0, "id"},     {MY_VARCHAR, true, false, false, 8, "name"},
        {MY_ENUM, true, false, false, 45, "size"},  {MY_BLOB, true, false, false, 45, "note"},
        {MY_VARCHAR, true, false, true, 63, "raw"}, {MY_SET, true, false, false, 45, "flags"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const MyColumn *column = &map->columns[i];
        assert_int_equal(column->type, wanted[i].type);
        assert_int_equal(column->nullable, wanted[i].nullable);
        assert_int_equal(column->is_unsigned, wanted[i].is_unsigned);
        assert_int_equal(column->invisible, wanted[i].invisible);
        assert_int_equal(column->collation, wanted[i].collation);
        assert_string_equal(column->name, wanted[i].name);
    }
    assert_int_equal(map->columns[1].length_bytes, 2);
    assert_int_equal(map->columns[4].length_bytes, 1);
    assert_string_equal(map->columns[2].labels[1], "m");
    assert_string_equal(map->columns[5].labels[0], "a");
    assert_int_equal(map->key_count, 1);
    assert_false(map->key_prefixed);
    char again[] = FULL;
    again[0] = 0x6e;
    BinlogEvent event = log_content(EVENT_TABLE_MAP, again, sizeof again - 1);
    assert_true(table_map_same(map, &event));
    again[20] ^= 1;
    assert_false(table_map_same(map, &event));
    table_map_free(map);
    /* Cut anywhere it is none, but where its fields begin, or between two. */
    size_t whole = 0;
    for (size_t bytes = 0; bytes < sizeof FULL - 1; bytes++) {
        uint8_t *exact = malloc(bytes + !bytes);
        memcpy(exact, FULL, bytes);
        map = read_map(exact, bytes, &err);
        whole += map != NULL;
        table_map_free(map);
        free(exact);
    }
    assert_int_equal(whole, 8);
}

static void test_lengths_of_strings(void **state)
{
    (void)state;
    Error err = {0};
    /* char(255) of utf8mb4 is 1020 bytes: its upper bits stand in the type's, turned round. */
    TableMap *map =
        read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\2\xfe\xfe\4\xce\xfc\xfe\x28\0"), &err);
    assert_non_null(map);
    assert_int_equal(map->columns[0].bytes, 1020);
    assert_int_equal(map->columns[0].length_bytes, 2);
    assert_int_equal(map->columns[1].bytes, 40);
    assert_int_equal(map->columns[1].length_bytes, 1);
    table_map_free(map);
}

static void test_signs_count_years(void **state)
{
    (void)state;
    Error err = {0};
    TableMap *map = read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\4\x0d\3\x0a\1\0\0\1\1\xa0"), &err);
    assert_non_null(map);
    assert_true(map->columns[0].is_unsigned); /* YEAR */
    assert_false(map->columns[1].is_unsigned);
    assert_true(map->columns[3].is_unsigned); /* the DATE between has no sign */
    table_map_free(map);
}

static void test_refused_maps(void **state)
{
    (void)state;
    Error err = {0};
    assert_null(read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\1\x8c\1\2\0"), &err));
    assert_string_equal(err.code, "UnsupportedType");
    assert_non_null(strstr(err.message, "COMPRESSED"));
    assert_null(read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\1\x63\0\0"), &err));
    assert_string_equal(err.code, "UnsupportedType");
    assert_null(read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\1\xf6\2\x0a\x0b\0"), &err));
    assert_string_equal(err.code, "BadEvent"); /* decimal(10,11) */
    assert_null(read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\1\3\0\0\x08\1\1"), &err));
    assert_string_equal(err.code, "BadEvent"); /* the key is a column that isn't there */
}

/* --- rows --- */

typedef struct Table {
    TableMap *map;
    Schema *schema;
    RowPlan *plan;
    Batch *batch;
    Bytes unpacked;
    Error err;
} Table;

static void table_open(Table *table)
{
    *table = (Table){0};
    table->map = read_map(TEXT(FULL), &table->err);
    table->schema = rows_schema(table->map, &collations, &table->err);
    assert_non_null(table->schema);
    table->plan = row_plan_new(table->map, table->schema, NULL, &collations, &table->err);
    assert_non_null(table->plan);
    table->batch = batch_new(table->schema, 0, 16);
}

static void table_close(Table *table)
{
    batch_free(table->batch);
    row_plan_free(table->plan);
    schema_free(table->schema);
    table_map_free(table->map);
    bytes_done(&table->unpacked);
}

static bool put_all(Table *table, uint8_t type, const void *content, size_t bytes)
{
    BinlogFormat format = log_format(type >= EVENT_MARIADB_FIRST);
    BinlogEvent event = log_content(type, content, bytes);
    RowsEvent rows;
    if (!rows_read(&event, &format, &table->unpacked, &rows, &table->err))
        return false;
    assert_int_equal(rows.table, 0x6d);
    while (reader_left(&rows.rows))
        if (!rows_put_next(table->plan, &rows, table->batch, (RowPosition){1, 1}, &table->err))
            return false;
    for (uint32_t i = 0; i < table->batch->column_count; i++)
        assert_int_equal(table->batch->columns[i].rows, table->batch->row_count);
    return true;
}

static void expect_cell(const Table *table, uint32_t row, uint32_t column, const char *wanted)
{
    const Column *of = &table->batch->columns[column];
    uint32_t bytes;
    assert_int_equal(column_is_null(of, row), wanted == NULL);
    if (!wanted)
        return;
    const uint8_t *at = column_bytes(of, row, &bytes);
    assert_int_equal(bytes, strlen(wanted));
    assert_memory_equal(at, wanted, bytes);
}

#define HEAD_V1 "\x6d\0\0\0\0\0\1\0\6"
#define HEAD_V2 "\x6d\0\0\0\0\0\1\0\2\0\6"

static void test_insert(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    assert_int_equal(table.schema->fields[0].type.kind, TYPE_INT64);
    assert_true(table.schema->fields[0].required);
    assert_int_equal(table.schema->key_count, 1);
    static const char two[] = HEAD_V2 "\x3f"
                                      "\x00\1\0\0\0\2\0\xe4\x62\2\3\0yes\1\xff\3"
                                      "\x3e\2\0\0\0";
    assert_true(put_all(&table, EVENT_WRITE, TEXT(two)));
    assert_int_equal(table.batch->row_count, 2);
    assert_int_equal(table.batch->ops[0], ROW_INSERT);
    assert_int_equal(column_i64(&table.batch->columns[0], 1), 2);
    expect_cell(&table, 0, 1, "äb");
    expect_cell(&table, 0, 2, "m");
    expect_cell(&table, 0, 3, "yes");
    expect_cell(&table, 0, 4, "\xff");
    expect_cell(&table, 0, 5, "a,b");
    for (uint32_t i = 1; i < 6; i++)
        expect_cell(&table, 1, i, NULL);
    assert_true(put_all(&table, EVENT_WRITE_V1, TEXT(HEAD_V1 "\x3f\x3e\3\0\0\0")));
    assert_int_equal(table.batch->row_count, 3);
    /* With four bytes of extra data. */
    assert_true(put_all(&table, EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\6\0abcd\6\x3f\x3e\4\0\0\0")));
    assert_int_equal(table.batch->row_count, 4);
    assert_false(put_all(&table, EVENT_WRITE, TEXT(HEAD_V2 "\x3d\x1e\1\0\0\0")));
    assert_string_equal(table.err.code, "RowImageIncomplete");
    assert_int_equal(table.batch->row_count, 4);
    /* Cut anywhere it is none; the batch stays whole. */
    for (size_t bytes = 0; bytes < sizeof two - 1 - 5; bytes++) {
        uint8_t *exact = malloc(bytes + !bytes);
        memcpy(exact, two, bytes);
        if (bytes != 12) /* without a row */
            assert_false(put_all(&table, EVENT_WRITE, exact, bytes));
        free(exact);
        assert_int_equal(table.batch->row_count, 4);
    }
    table_close(&table);
}

static void test_update(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    assert_true(put_all(&table, EVENT_UPDATE,
                        TEXT(HEAD_V2 "\x3f\x3f"
                                     "\x3e\1\0\0\0"
                                     "\x3c\1\0\0\0\1\0n"
                                     "\x3e\1\0\0\0"
                                     "\x3e\2\0\0\0")));
    assert_int_equal(table.batch->row_count, 3);
    assert_int_equal(table.batch->ops[0], ROW_UPDATE);
    expect_cell(&table, 0, 1, "n");
    assert_int_equal(table.batch->ops[1], ROW_MOVE);
    assert_int_equal(column_i64(&table.batch->columns[0], 1), 1);
    assert_int_equal(table.batch->ops[2], ROW_UPDATE);
    assert_int_equal(column_i64(&table.batch->columns[0], 2), 2);
    assert_false(table.batch->has_unchanged);
    table_close(&table);
}

static void test_images_with_holes(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    /* MINIMAL: the old image is the key, the new one what changed. */
    assert_true(put_all(&table, EVENT_UPDATE,
                        TEXT(HEAD_V2 "\1\2"
                                     "\0\1\0\0\0"
                                     "\0\1\0n")));
    assert_int_equal(table.batch->row_count, 1);
    assert_int_equal(column_i64(&table.batch->columns[0], 0), 1);
    expect_cell(&table, 0, 1, "n");
    for (uint32_t i = 2; i < 6; i++)
        assert_true(column_is_unchanged(&table.batch->columns[i], 0));
    assert_false(column_is_unchanged(&table.batch->columns[1], 0));
    /* With another key: what is unchanged is so under the old one. */
    assert_true(put_all(&table, EVENT_UPDATE, TEXT(HEAD_V2 "\1\1\0\1\0\0\0\0\5\0\0\0")));
    assert_int_equal(table.batch->row_count, 3);
    assert_int_equal(table.batch->ops[1], ROW_MOVE);
    assert_false(column_is_unchanged(&table.batch->columns[1], 1));
    assert_true(column_is_unchanged(&table.batch->columns[1], 2));
    /* NOBLOB: all but the text, which did not change. */
    assert_true(put_all(&table, EVENT_UPDATE,
                        TEXT(HEAD_V2 "\x37\x37"
                                     "\x1e\1\0\0\0"
                                     "\x1c\1\0\0\0\1\0z")));
    expect_cell(&table, 3, 1, "z");
    expect_cell(&table, 3, 2, NULL);
    assert_false(column_is_unchanged(&table.batch->columns[2], 3));
    assert_true(column_is_unchanged(&table.batch->columns[3], 3));
    /* A key that neither image has. */
    assert_false(put_all(&table, EVENT_UPDATE, TEXT(HEAD_V2 "\2\2\1\1")));
    assert_string_equal(table.err.code, "RowImageIncomplete");
    assert_true(put_all(&table, EVENT_DELETE, TEXT(HEAD_V2 "\1\0\x09\0\0\0")));
    assert_int_equal(table.batch->ops[4], ROW_DELETE);
    assert_int_equal(column_i64(&table.batch->columns[0], 4), 9);
    expect_cell(&table, 4, 1, NULL);
    table_close(&table);
}

static void test_bad_values(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    /* The third value is an ENUM that has no third label: the row is named by its key. */
    assert_false(put_all(&table, EVENT_WRITE, TEXT(HEAD_V2 "\x3f\x3a\x2a\0\0\0\3")));
    assert_string_equal(table.err.code, "BadValue");
    assert_int_equal(table.err.kind, ERROR_DATA);
    assert_non_null(strstr(table.err.message, "shop.t column size"));
    assert_non_null(strstr(table.err.message, "id = 42"));
    assert_int_equal(table.batch->row_count, 0);
    /* A move whose new row is bad takes its first half back. */
    assert_false(put_all(&table, EVENT_UPDATE, TEXT(HEAD_V2 "\x3f\x3f\x3e\1\0\0\0\x3a\2\0\0\0\3")));
    assert_string_equal(table.err.code, "BadValue");
    assert_int_equal(table.batch->row_count, 0);
    assert_false(put_all(&table, EVENT_PARTIAL_UPDATE, TEXT(HEAD_V2)));
    assert_string_equal(table.err.code, "PartialJson");
    assert_false(put_all(&table, EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\5\x1f\x1e\1\0\0\0")));
    assert_string_equal(table.err.code, "BadEvent"); /* five columns */
    assert_false(put_all(&table, EVENT_WRITE, TEXT("\x6d\0\0\0\0\0\1\0\2\0\6\0\0")));
    table_close(&table);
}

static void test_compressed_rows(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    static const char row[] = "\x3c\7\0\0\0\1\0n";
    uint8_t packed[100];
    uLongf packed_bytes = sizeof packed;
    assert_int_equal(compress(packed, &packed_bytes, (const uint8_t *)row, sizeof row - 1), Z_OK);
    Bytes content = {0};
    bytes_put(&content, TEXT(HEAD_V1 "\x3f\x81\x08"));
    bytes_put(&content, packed, packed_bytes);
    assert_true(put_all(&table, EVENT_WRITE_V1_COMPRESSED, content.data, content.used));
    assert_int_equal(table.batch->row_count, 1);
    expect_cell(&table, 0, 1, "n");
    content.data[content.used - 1] ^= 1;
    assert_false(put_all(&table, EVENT_WRITE_V1_COMPRESSED, content.data, content.used));
    assert_string_equal(table.err.code, "BadEvent");
    bytes_done(&content);
    table_close(&table);
}

static void test_other_columns(void **state)
{
    (void)state;
    Table table;
    table_open(&table);
    /* A field less: its column is passed over, whatever its length. */
    Schema *schema = schema_new(2, 1);
    schema->fields[0] = (Field){.name = strdup("size"), .type.kind = TYPE_STRING};
    schema->fields[1] = (Field){.name = strdup("id"), .type.kind = TYPE_INT64};
    schema->key[0] = 1;
    row_plan_free(table.plan);
    batch_free(table.batch);
    table.plan = row_plan_new(table.map, schema, NULL, &collations, &table.err);
    assert_non_null(table.plan);
    table.batch = batch_new(schema, 0, 4);
    assert_true(
        put_all(&table, EVENT_WRITE, TEXT(HEAD_V2 "\x3f\0\1\0\0\0\2\0\xe4\x62\2\3\0yes\1\xff\3")));
    expect_cell(&table, 0, 0, "m");
    assert_int_equal(column_i64(&table.batch->columns[1], 0), 1);
    /* A field that the log has no column for, or another type of. */
    free(schema->fields[0].name);
    schema->fields[0].name = strdup("gone");
    assert_null(row_plan_new(table.map, schema, NULL, &collations, &table.err));
    assert_string_equal(table.err.code, "SchemaChanged");
    free(schema->fields[0].name);
    schema->fields[0].name = strdup("raw");
    assert_null(row_plan_new(table.map, schema, NULL, &collations, &table.err));
    assert_string_equal(table.err.code, "SchemaChanged");
    table_close(&table);
    schema_free(schema);
    /* binlog_row_metadata=MINIMAL: names have to come from elsewhere. */
    Error err = {0};
    TableMap *map = read_map(TEXT("\1\0\0\0\0\0\1\0\1s\0\1t\0\1\3\0\0"), &err);
    assert_null(rows_schema(map, &collations, &err));
    assert_string_equal(err.code, "RowMetadata");
    schema = schema_new(1, 0);
    schema->fields[0] = (Field){.name = strdup("n"), .type.kind = TYPE_INT32};
    assert_null(row_plan_new(map, schema, NULL, &collations, &err));
    assert_string_equal(err.code, "RowMetadata");
    const char *names[] = {"n"};
    RowPlan *plan = row_plan_new(map, schema, names, &collations, &err);
    assert_non_null(plan);
    row_plan_free(plan);
    schema_free(schema);
    table_map_free(map);
}

/* As MySQL 9.7 writes (id int primary key, a varchar(3), v vector(3)): a vector has a collation
 * like text. */
static void test_vector(void **state)
{
    (void)state;
    Error err = {0};
    TableMap *map = read_map(
        TEXT("\x6d\0\0\0\0\0\1\0\4shop\0\1t\0\3\3\x0f\xf2\3\x0c\0\4\6\1\1\0\3\4\xfc\xff\0\x3f"
             "\x0d\1\3\4\7\2id\1a\1v\x08\1\0\x0c\1\xe0"),
        &err);
    assert_non_null(map);
    assert_int_equal(map->columns[1].collation, 255);
    assert_int_equal(map->columns[2].type, MY_VECTOR);
    assert_int_equal(map->columns[2].collation, COLLATION_BINARY);
    assert_int_equal(map->columns[2].dimensions, 3);
    table_map_free(map);
}

#define DAY "\x21\xd0\x0f" /* 2024-01-01 */
#define NO_DAY "\0\0\0"

/* key date, a date, b date not null, t time, g geometry: with origins values are as sent, and a
 * date that is none is null or 1970, but not in a key. */
static void test_as_sent(void **state)
{
    (void)state;
    static const KnownColumn columns[] = {
        {.name = "key", .type = "date", .charset = "", .required = true},
        {.name = "a", .type = "date", .charset = ""},
        {.name = "b", .type = "date", .charset = "", .required = true},
        {.name = "t", .type = "time", .charset = ""},
        {.name = "g", .type = "geometry", .charset = ""}};
    static const char point[] = "\x19\0\0\0\xe6\x10\0\0\1\1\0\0\0"
                                "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";
    Table table = {0};
    uint32_t bytes;
    Bytes row = {0};
    MyKnown *known = known_new("shop", "t", columns, ARRAY_LEN(columns), (uint32_t[]){0}, 1,
                               &collations, &table.err);
    assert_non_null(known);
    table.schema = rows_schema(known->map, &collations, &table.err);
    table.plan = row_plan_new(known->map, table.schema, NULL, &collations, &table.err);
    table.batch = batch_new(table.schema, 0, 16);
    bytes_put(&row, TEXT("\x6d\0\0\0\0\0\1\0\2\0\5\x1f\0" DAY NO_DAY NO_DAY));
    bytes_put(&row, TEXT("\x4b\x91\x05")); /* -838:59:59 */
    bytes_put(&row, TEXT(point));
    assert_false(put_all(&table, EVENT_WRITE, row.data, row.used));
    assert_string_equal(table.err.code, "BadValue");
    origins_keep(table.batch);
    row_plan_as_sent(table.plan);
    assert_true(put_all(&table, EVENT_WRITE, row.data, row.used));
    assert_int_equal(column_i32(&table.batch->columns[0], 0), 19723);
    assert_true(column_is_null(&table.batch->columns[1], 0));
    assert_int_equal(column_i32(&table.batch->columns[2], 0), 0);
    assert_false(column_is_null(&table.batch->columns[2], 0));
    assert_int_equal(column_i64(&table.batch->columns[3], 0), INT64_C(-3020399000000));
    const uint8_t *at = column_bytes(&table.batch->columns[4], 0, &bytes);
    assert_int_equal(bytes, 25);
    assert_memory_equal(at, point + 4, bytes);
    assert_int_equal(table.batch->origins->rows[0].before, ORIGIN_NO_BEFORE);
    memcpy(row.data + 13, NO_DAY, 3);
    assert_false(put_all(&table, EVENT_WRITE, row.data, row.used));
    assert_string_equal(table.err.code, "BadValue");
    assert_int_equal(table.batch->row_count, 1);
    /* A deletion has the row as it was beside it; one that can't be put leaves neither. */
    assert_false(put_all(&table, EVENT_DELETE, row.data, row.used));
    memcpy(row.data + 13, DAY, 3);
    assert_true(put_all(&table, EVENT_DELETE, row.data, row.used));
    assert_int_equal(table.batch->row_count, 2);
    assert_int_equal(table.batch->origins->rows[1].before, 0);
    assert_int_equal(table.batch->origins->before->row_count, 1);
    bytes_done(&row);
    known_free(known);
    table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_map),
        cmocka_unit_test(test_as_sent),
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_lengths_of_strings),
        cmocka_unit_test(test_signs_count_years),
        cmocka_unit_test(test_refused_maps),
        cmocka_unit_test(test_insert),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_images_with_holes),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_compressed_rows),
        cmocka_unit_test(test_other_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
