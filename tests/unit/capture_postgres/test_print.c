/* links: firn_capture_postgres */
/* Values as real servers sent them and showed them: tests/golden/postgres/values.txt. */
#include "tests/unit/unit.h"

#include "agent/capture/postgres/print.h"
#include "tests/unit/capture_postgres/type_rows.h"

#define LINE_BYTES 8192
#define STRINGS_ONLY 13 /* values that only a string holds: see make.py */
typedef struct Line {
    uint32_t oid, known; /* on that server; here, once it is looked up */
    char type[64], extension[64];
    uint8_t value[LINE_BYTES];
    uint32_t bytes;
    char text[LINE_BYTES];
} Line;

static void unescape(const char *from, char *to)
{
    for (; *from && *from != '\n'; from++) {
        if (*from == '\\')
            from++, *to++ = (char)(*from == 't' ? '\t' : *from == 'n' ? '\n' : *from);
        else
            *to++ = *from;
    }
    *to = '\0';
}

static bool next_line(FILE *file, Line *ret)
{
    char text[3 * LINE_BYTES];
    if (!fgets(text, sizeof text, file))
        return false;
    char *at = text, *fields[5];
    for (int i = 0; i < 5; i++)
        fields[i] = strsep(&at, "\t");
    assert_non_null(fields[4]);
    ret->known = 0;
    ret->oid = (uint32_t)strtoul(fields[0], NULL, 10);
    snprintf(ret->type, sizeof ret->type, "%s", fields[1]);
    snprintf(ret->extension, sizeof ret->extension, "%s", fields[2]);
    ret->bytes = (uint32_t)(strlen(fields[3]) / 2);
    for (uint32_t i = 0; i < ret->bytes; i++) {
        unsigned byte;
        assert_int_equal(sscanf(fields[3] + (size_t)2 * i, "%2x", &byte), 1);
        ret->value[i] = (uint8_t)byte;
    }
    unescape(fields[4], ret->text);
    return true;
}

/* The user's types have other oids on every server: found by name. */
static uint32_t known_oid(Line *line)
{
    PgType *extension = &rows[ARRAY_LEN(rows) - 2];
    size_t length = strlen(line->type);
    bool array = length > 2 && strcmp(line->type + length - 2, "[]") == 0;
    if (strcmp(line->type, "pair") == 0)
        return PAIR;
    if (strcmp(line->type, "float_range") == 0)
        return FLOAT_RANGE;
    if (strcmp(line->extension, "-") == 0)
        return line->oid;
    if (array) { /* the element's oid stands in the value */
        line->type[length - 2] = '\0';
        uint32_t part = __builtin_bswap32(FIRST_EXTENSION);
        memcpy(line->value + 8, &part, sizeof part);
    }
    extension->name = line->type;
    extension->extension = line->extension;
    return FIRST_EXTENSION + array;
}

static void chosen(Line *line, PgDecoder *ret, Type *ret_type)
{
    if (!line->known)
        line->known = known_oid(line);
    if (!decoder_choose(&types, line->known, -1, ret, ret_type))
        fail_msg("no type for %s", line->type);
}

static void text_is_the_servers(void **state)
{
    (void)state;
    static Line line;
    int lines = 0;
    FILE *file = fopen(GOLDEN "/postgres/values.txt", "r");
    assert_non_null(file);
    for (; next_line(file, &line); lines++) {
        PgDecoder decoder;
        Type type;
        Bytes text = {0};
        chosen(&line, &decoder, &type);
        assert_true(printable(&decoder));
        const char *why = print_value(&decoder, line.value, line.bytes, &text);
        bytes_put_u8(&text, 0);
        if (why || strcmp((const char *)text.data, line.text) != 0)
            fail_msg("%s: %s, not %s", line.type, why ? why : (const char *)text.data, line.text);
        bytes_done(&text);
        decoder_done(&decoder);
        type_done(&type);
    }
    fclose(file);
    assert_true(lines > 200);
}

/* Every value goes into a column, as itself and as a string; every shorter one is read or refused
 * within its bytes (which the address sanitizer watches), and the row can be undone. */
static void values_are_decoded_within_their_bytes(void **state)
{
    (void)state;
    static Line line;
    int refused = 0;
    FILE *file = fopen(GOLDEN "/postgres/values.txt", "r");
    assert_non_null(file);
    while (next_line(file, &line)) {
        for (int as_text = 0; as_text < 2; as_text++) {
            PgDecoder decoder;
            Field field = {.name = (char[]){"v"}};
            static const Type string = {.kind = TYPE_STRING};
            chosen(&line, &decoder, &field.type);
            if (as_text)
                assert_true(decoder_override(&decoder, &field.type, &string));
            Schema schema = {.fields = &field, .field_count = 1};
            Batch *batch = batch_new(&schema, 0, 2);
            for (uint32_t bytes = 0; bytes <= line.bytes; bytes++) {
                uint8_t *exact = malloc(bytes ? bytes : 1);
                memcpy(exact, line.value, bytes);
                batch_row_begin(batch, ROW_READ, (RowPosition){0});
                const char *why = decode_value(&decoder, batch, &batch->columns[0], exact, bytes);
                free(exact);
                if (bytes == line.bytes && why && as_text)
                    fail_msg("%s %s: %s", line.type, line.text, why);
                refused += bytes == line.bytes && why;
                if (!why)
                    assert_int_equal(batch->columns[0].rows, 1);
                batch_row_undo(batch);
                assert_int_equal(batch->columns[0].rows, 0);
            }
            batch_free(batch);
            decoder_done(&decoder);
            type_done(&field.type);
        }
    }
    fclose(file);
    assert_int_equal(refused, STRINGS_ONLY);
}

static void nested_values_lie_in_their_children(void **state)
{
    (void)state;
    PgDecoder decoder;
    Field field = {.name = (char[]){"v"}};
    assert_true(decoder_choose(&types, PAIR, -1, &decoder, &field.type));
    assert_int_equal(field.type.kind, TYPE_STRUCT);
    assert_string_equal(field.type.fields[1].name, "b");
    Schema schema = {.fields = &field, .field_count = 1};
    Batch *batch = batch_new(&schema, 0, 4);
    Column *column = &batch->columns[0];
    static const uint8_t both[] = "\0\0\0\2\0\0\0\x17\0\0\0\4\0\0\0\7\0\0\0\x19\0\0\0\1x";
    static const uint8_t none[] = "\0\0\0\2\0\0\0\x17\xff\xff\xff\xff\0\0\0\x19\xff\xff\xff\xff";
    static const uint8_t other[] = "\0\0\0\2\0\0\0\x17\xff\xff\xff\xff\0\0\0\x11\xff\xff\xff\xff";
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_null(decode_value(&decoder, batch, column, both, sizeof both - 1));
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_null(decode_value(&decoder, batch, column, none, sizeof none - 1));
    assert_int_equal(column_i32(&column->child[0], 0), 7);
    assert_true(column_is_null(&column->child[1], 1));
    assert_false(column_is_null(column, 1));
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_non_null(decode_value(&decoder, batch, column, other, sizeof other - 1));
    batch_row_undo(batch);
    assert_int_equal(column->child[0].rows, 2);
    batch_free(batch);
    decoder_done(&decoder);
    type_done(&field.type);
}

/* pgvector's and PostGIS's formats, as they document them. */
static void extensions_types(void **state)
{
    (void)state;
    static Line line = {.type = "vector", .extension = "vector"};
    PgDecoder decoder;
    Type type;
    Bytes text = {0};
    static const uint8_t vector[] = "\0\2\0\0\x3f\x80\0\0\xbf\0\0\0";
    chosen(&line, &decoder, &type);
    assert_int_equal(type.kind, TYPE_LIST);
    assert_int_equal(type.element->type.kind, TYPE_FLOAT32);
    assert_null(print_value(&decoder, vector, sizeof vector - 1, &text));
    assert_memory_equal(text.data, "[1,-0.5]", 8);
    assert_non_null(print_value(&decoder, vector, 11, &text));
    bytes_done(&text);
    decoder_done(&decoder);
    type_done(&type);

    line.known = 0;
    snprintf(line.type, sizeof line.type, "geometry");
    snprintf(line.extension, sizeof line.extension, "postgis");
    chosen(&line, &decoder, &type);
    assert_int_equal(type.kind, TYPE_BINARY);
    Field field = {.name = (char[]){"v"}, .type = type};
    Schema schema = {.fields = &field, .field_count = 1};
    Batch *batch = batch_new(&schema, 0, 2);
    /* SRID=4326;POINT(1 2) */
    static const uint8_t point[] = "\1\1\0\0\x20\xe6\x10\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";
    uint32_t bytes;
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_null(decode_value(&decoder, batch, &batch->columns[0], point, sizeof point - 1));
    const uint8_t *wkb = column_bytes(&batch->columns[0], 0, &bytes); /* without the SRID */
    assert_int_equal(bytes, sizeof point - 1 - 4);
    assert_memory_equal(wkb, "\1\1\0\0\0", 5);
    assert_memory_equal(wkb + 5, point + 9, 16);
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    static const uint8_t order[] = "\2\1\0\0\0";
    assert_non_null(decode_value(&decoder, batch, &batch->columns[0], order, 5));
    assert_non_null(decode_value(&decoder, batch, &batch->columns[0], point, 4));
    batch_free(batch);
}

static void overrides(void **state)
{
    (void)state;
    PgDecoder decoder;
    Type type, wanted = {.kind = TYPE_DECIMAL, .precision = 20, .scale = 4};
    assert_true(decoder_choose(&types, 1700, -1, &decoder, &type));
    assert_int_equal(type.kind, TYPE_STRING);
    assert_true(decoder_override(&decoder, &type, &wanted));
    assert_true(type_equal(&type, &wanted));
    assert_true(decoder_same_typmod(&decoder, NUMERIC_TYPMOD(12, 2)));
    wanted = (Type){.kind = TYPE_TIMESTAMPTZ};
    assert_true(decoder_choose(&types, 1114, -1, &decoder, &type));
    assert_false(decoder_override(&decoder, &type, &wanted));
    wanted = (Type){.kind = TYPE_STRING};
    assert_true(decoder_choose(&types, 790, -1, &decoder, &type)); /* money */
    assert_false(decoder_override(&decoder, &type, &wanted));
    assert_true(decoder_choose(&types, 2205, -1, &decoder, &type)); /* regclass */
    assert_false(decoder_override(&decoder, &type, &wanted));
    assert_true(decoder_choose(&types, 1231, NUMERIC_TYPMOD(9, 2), &decoder, &type));
    assert_false(decoder_same_typmod(&decoder, NUMERIC_TYPMOD(9, 3)));
    assert_true(decoder_override(&decoder, &type, &wanted));
    assert_int_equal(type.kind, TYPE_STRING);
    assert_true(decoder_same_typmod(&decoder, NUMERIC_TYPMOD(9, 3)));
    decoder_done(&decoder);
    type_done(&type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_the_servers),
        cmocka_unit_test(values_are_decoded_within_their_bytes),
        cmocka_unit_test(nested_values_lie_in_their_children),
        cmocka_unit_test(extensions_types),
        cmocka_unit_test(overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
