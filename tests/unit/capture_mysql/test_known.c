/* links: firn_capture_mysql */
#include "tests/unit/unit.h"

#include <string.h>

#include "agent/capture/mysql/known.h"
#include "agent/capture/mysql/rows.h"
#include "agent/capture/mysql/text.h"
#include "common/arena.h"
#include "common/mem.h"

static const Collation collation_items[] = {{8, "latin1"}, {45, "utf8mb4"}, {63, "binary"}};
static const Collations collations = {collation_items, ARRAY_LEN(collation_items)};

static void test_types_in_words(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    MyColumn column;
    assert_true(my_column_parse("int(10) unsigned zerofill", arena, &column));
    assert_true(column.type == MY_LONG && column.is_unsigned);
    assert_true(my_column_parse("decimal(65,30)", arena, &column));
    assert_true(column.type == MY_NEWDECIMAL && column.precision == 65 && column.scale == 30);
    assert_true(my_column_parse("datetime(6)", arena, &column));
    assert_true(column.type == MY_DATETIME2 && column.scale == 6);
    assert_true(my_column_parse("enum('a','it''s','','\\\\')", arena, &column));
    assert_int_equal(column.label_count, 4);
    assert_string_equal(column.labels[1], "it's");
    assert_string_equal(column.labels[2], "");
    assert_string_equal(column.labels[3], "\\");
    assert_int_equal(column.bytes, 1);
    assert_true(my_column_parse("set('x','y')", arena, &column));
    assert_true(column.label_count == 2 && column.bytes == 1);
    assert_true(my_column_parse("varbinary(20)", arena, &column));
    assert_true(column.type == MY_VARCHAR && column.collation == COLLATION_BINARY);
    assert_true(my_column_parse("uuid", arena, &column));
    assert_true(column.type == MY_STRING && column.special == MY_SPECIAL_UUID);
    static const char *const none[] = {"",        "blurb",         "enum",         "enum()",
                                       "enum('a", "decimal(66,2)", "decimal(5,6)", "datetime(7)",
                                       "bit(65)"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(my_column_parse(none[i], arena, &column));
}

/* What is made of a table map's column is what it was. */
static void test_words_of_types(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    static const char *const words[] = {"tinyint",
                                        "bigint unsigned",
                                        "decimal(10,2)",
                                        "float",
                                        "double unsigned",
                                        "bit(10)",
                                        "year",
                                        "date",
                                        "time(3)",
                                        "datetime",
                                        "timestamp(6)",
                                        "char(30)",
                                        "varchar(20)",
                                        "binary(5)",
                                        "varbinary(7)",
                                        "mediumtext",
                                        "longblob",
                                        "json",
                                        "vector(3)",
                                        "enum('a','it''s')",
                                        "set('x','y')"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        MyColumn column;
        assert_true(my_column_parse(words[i], arena, &column));
        assert_string_equal(my_column_format(&column, arena), words[i]);
    }
}

/* Of one type, so that one may be what became of the other's name alone. */
static void test_alike(void **state)
{
    (void)state;
    AUTO(arena_free) Arena *arena = arena_new(4096);
    static const struct {
        const char *a, *b;
        bool alike;
    } cases[] = {
        {"int(11)", "int", true},
        {"int", "int unsigned", false},
        {"int", "bigint", false},
        {"varchar(20)", "varchar(60)", true},
        {"varchar(20)", "varbinary(20)", false},
        {"varchar(20)", "text", false},
        {"tinytext", "text", false},
        {"text", "blob", false},
        {"binary(5)", "binary(6)", false},
        {"binary(16)", "uuid", false},
        {"decimal(10,2)", "decimal(12,2)", false},
        {"datetime(6)", "datetime", false},
        {"timestamp", "datetime", false},
        {"bit(1)", "bit(2)", false},
        {"enum('a')", "enum('a','b')", false},
        {"enum('a')", "set('a')", false},
        {"point", "geometry", true},
        {"json", "longtext", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        MyColumn a, b;
        assert_true(my_column_parse(cases[i].a, arena, &a));
        assert_true(my_column_parse(cases[i].b, arena, &b));
        b.nullable = true;
        if (my_column_alike(&a, &b) != cases[i].alike || my_column_alike(&b, &a) != cases[i].alike)
            fail_msg("%s, %s", cases[i].a, cases[i].b);
    }
}

static const KnownColumn columns[] = {
    {.name = "id", .type = "int unsigned", .charset = "", .required = true, .origin = 1},
    {.name = "name", .type = "varchar(20)", .charset = "latin1", .origin = 4},
    {.name = "size", .type = "enum('s','m')", .charset = "utf8mb4", .origin = 3},
};

static MyKnown *make(void)
{
    Error err;
    MyKnown *known =
        known_new("shop", "t", columns, ARRAY_LEN(columns), (uint32_t[]){0}, 1, &collations, &err);
    assert_non_null(known);
    return known;
}

static void test_kept(void **state)
{
    (void)state;
    Error err;
    AUTO(known_free) MyKnown *known = make();
    known->last = 9;
    AUTO(mem_free) char *text = known_format(known);
    AUTO(known_free) MyKnown *again = known_parse(text, "shop", "t", &collations, &err);
    assert_non_null(again);
    AUTO(mem_free) char *same = known_format(again);
    assert_string_equal(same, text);
    assert_int_equal(again->last, 9);
    assert_int_equal(again->map->columns[1].collation, 8);
    assert_int_equal(again->origins[1], 4);
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"columns\": [[1, \"a\", \"int\", \"\"]]}",
        "{\"columns\": [[0, \"a\", \"int\", \"\", true]]}",
        "{\"columns\": [[1, \"a\", \"int\", \"\", true]], \"key\": [2]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(known_parse(bad[i], "shop", "t", &collations, &err));
        assert_string_equal(err.code, "BadColumns");
    }
    KnownColumn odd = {.name = "a", .type = "blurb", .charset = ""};
    assert_null(known_new("shop", "t", &odd, 1, NULL, 0, &collations, &err));
    assert_string_equal(err.code, "UnsupportedType");
}

/* A table map as it is without metadata: neither names nor signs. */
static TableMap bare(MyColumn *to)
{
    to[0] = (MyColumn){.type = MY_LONG};
    to[1] = (MyColumn){.type = MY_VARCHAR, .bytes = 20, .length_bytes = 1, .nullable = true};
    to[2] = (MyColumn){.type = MY_ENUM, .bytes = 1, .nullable = true};
    return (TableMap){.schema_name = "shop", .table_name = "t", .columns = to, .column_count = 3};
}

static void test_beside_maps(void **state)
{
    (void)state;
    AUTO(known_free) MyKnown *known = make();
    MyColumn seen[3];
    TableMap map = bare(seen);
    assert_true(known_fits(known, &map));
    assert_false(known_covers(known, &map));
    known_complete(known, &map);
    assert_true(map.has_names && seen[0].is_unsigned);
    assert_string_equal(seen[1].name, "name");
    assert_int_equal(seen[1].collation, 8);
    assert_string_equal(seen[2].labels[1], "m");
    assert_true(known_fits(known, &map) && known_covers(known, &map));
    seen[1].name = "other";
    assert_false(known_fits(known, &map));
    map = bare(seen);
    seen[0].type = MY_LONGLONG;
    assert_false(known_fits(known, &map));
    map = bare(seen);
    seen[0].nullable = true; /* NOT NULL was dropped */
    assert_false(known_fits(known, &map));
    map = bare(seen);
    map.column_count = 2;
    assert_false(known_fits(known, &map));
}

/* --- values as text --- */

static void expect(const char *type, const char *charset, const char *text, const char *why,
                   const void *value, size_t bytes)
{
    Error err;
    KnownColumn column = {.name = "c", .type = type, .charset = charset};
    AUTO(known_free) MyKnown *known = known_new("s", "t", &column, 1, NULL, 0, &collations, &err);
    assert_non_null(known);
    AUTO(schema_free) Schema *schema = rows_schema(known->map, &collations, &err);
    assert_non_null(schema);
    MyDecoder decoder;
    Type chosen;
    const char *reason;
    assert_true(
        my_decoder_choose(&known->map->columns[0], &collations, NULL, &decoder, &chosen, &reason));
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 1);
    Bytes scratch = {0};
    batch_row_begin(batch, ROW_READ, (RowPosition){1, 0});
    size_t length = strlen(text);
    uint8_t *exact = malloc(length + !length);
    memcpy(exact, text, length);
    reason = text_decode(&decoder, batch, &batch->columns[0], exact, length, &scratch);
    free(exact);
    if (why)
        assert_true(reason && strstr(reason, why));
    else
        assert_null(reason);
    if (!why && batch->columns[0].offsets) {
        uint32_t got;
        const uint8_t *at = column_bytes(&batch->columns[0], 0, &got);
        assert_int_equal(got, bytes);
        assert_memory_equal(at, value, bytes);
    } else if (!why) {
        assert_memory_equal(batch->columns[0].values, value, bytes);
    }
    bytes_done(&scratch);
    my_decoder_done(&decoder);
    type_done(&chosen);
}

#define EXPECT(type, text, c_type, number)                                                         \
    expect(type, "", text, NULL, &(c_type){number}, sizeof(c_type))

static void test_text(void **state)
{
    (void)state;
    EXPECT("int", "-2147483648", int32_t, INT32_MIN);
    EXPECT("int unsigned", "4294967295", int64_t, UINT32_MAX);
    EXPECT("bigint unsigned", "18446744073709551615", __int128, UINT64_MAX);
    EXPECT("decimal(10,2)", "-12.30", __int128, -1230);
    EXPECT("decimal(5,0)", "0", __int128, 0);
    EXPECT("double", "-1.7976931348623157e308", double, -1.7976931348623157e308);
    EXPECT("float", "0.10000000149011612", float, 0.1f);
    EXPECT("year", "1901", int32_t, 1901);
    EXPECT("date", "1970-01-02", int32_t, 1);
    EXPECT("datetime(3)", "1970-01-01 00:00:01.500", int64_t, 1500000);
    EXPECT("timestamp", "1970-01-01 00:00:01", int64_t, 1000000);
    EXPECT("time(1)", "00:01:00.5", int64_t, 60500000);
    expect("varchar(9)", "latin1", "a€", NULL, "a€", 4);
    expect("bit(10)", "", "\3\201", NULL, "1110000001", 10);
    expect("enum('x')", "utf8mb4", "x", NULL, "x", 1);
    expect("uuid", "", "123e4567-e89b-12d3-a456-426655440000", NULL,
           "\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x55\x44\0\0", 16);
    static const char *const bad[][3] = {
        {"int", "", "number"},
        {"int", "2147483648", "number"},
        {"int", "12x", "number"},
        {"decimal(10,2)", "1.234", "number"},
        {"decimal(10,2)", "-", "number"},
        {"double", "1e", "number"},
        {"date", "2026-01", "date or time"},
        {"date", "0000-00-00", ""},
        {"datetime", "2026-01-01T00:00:00", "date or time"},
        {"timestamp", "0000-00-00 00:00:00", "zero timestamp"},
        {"time", "-01:00:00", ""},
        {"time", "838:59:59", ""},
        {"bit(10)", "1", "length"},
        {"uuid", "123e4567", "uuid"},
        {"json", "\xff", "text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(bad[i][0], "", bad[i][1], bad[i][2], NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_in_words), cmocka_unit_test(test_words_of_types),
        cmocka_unit_test(test_alike),          cmocka_unit_test(test_kept),
        cmocka_unit_test(test_beside_maps),    cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
