/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/composites.h"
#include "agent/capture/postgres/learn.h"
#include "agent/capture/postgres/match.h"
#include "agent/capture/postgres/print.h"
#include "agent/capture/postgres/transactions.h"
#include "tests/unit/capture_postgres/fixture.h"

#define INT 23
#define TEXT 25
#define DATE 1082
#define PAIR 70000
#define PAIRS 70001
#define OUTER 70002

static uint32_t oid_of(char letter)
{
    return letter == 'i' ? INT : letter == 't' ? TEXT : DATE;
}

#define LAYOUT_4 1
#define LAYOUT_TEXT 2

/* An int and a date are laid out alike. */
static uint32_t layout_of(char letter)
{
    return letter == 'i' || letter == 'd' ? LAYOUT_4 : letter == 't' ? LAYOUT_TEXT : 0;
}

/* "1a:i 2b:t- 3- 4-d": number, name, type; a minus behind it: gone. Without a type: all that the
 * catalog has of one that was dropped, of 4 that its values were like a date's. */
static PgType made(const char *text)
{
    PgType type = {.oid = PAIR, .typtype = 'c', .attributes = mem_array(16, sizeof(PgAttribute))};
    char copy[100];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        PgAttribute *to = &type.attributes[type.attribute_count++];
        char *name, *kind = strchr(word, ':');
        *to = (PgAttribute){.number = (int32_t)strtol(word, &name, 10), .typmod = -1};
        to->dropped = !kind;
        to->gone = kind && kind[2] == '-';
        to->oid = kind ? oid_of(kind[1]) : 0;
        to->layout = layout_of(kind ? kind[1] : name[1]);
        if (kind)
            *kind = '\0';
        to->name = mem_strdup(name);
        type.last_number = to->number;
    }
    return type;
}

static void put(const PgType *type, char *to, size_t bytes)
{
    to[0] = '\0';
    for (uint32_t i = 0; i < type->attribute_count; i++) {
        const PgAttribute *attribute = &type->attributes[i];
        char kind = attribute->oid == INT ? 'i' : attribute->oid == TEXT ? 't' : 'd';
        snprintf(to + strlen(to), bytes - strlen(to), "%s%d%s:%c%s", i ? " " : "",
                 attribute->number, attribute->name, kind, attribute->gone ? "-" : "");
    }
}

typedef struct Case {
    const char *known, *now, *seen; /* "it": an int and a text; "": what is known is checked */
    const char *is;                 /* known then; or none, several */
    bool forgets;
} Case;

static void check(const Case *test)
{
    PgType known = made(test->known), now = made(test->now);
    PgType rows[] = {{.oid = INT, .layout = LAYOUT_4}, {.oid = TEXT, .layout = LAYOUT_TEXT}, now};
    PgTypes types = {.types = rows, .count = ARRAY_LEN(rows)}; /* nobody has DATE any more */
    uint32_t oids[16], count = (uint32_t)strlen(test->seen);
    for (uint32_t i = 0; i < count; i++)
        oids[i] = oid_of(test->seen[i]);
    CompositeMatch match = count ? composite_match(&known, &types, oids, count, test->forgets)
                                 : composite_check(&known, &types);
    char is[200];
    put(&known, is, sizeof is);
    if (match == COMPOSITE_NONE || match == COMPOSITE_SEVERAL) {
        assert_string_equal(is, test->known); /* as it was */
        snprintf(is, sizeof is, "%s", match == COMPOSITE_NONE ? "none" : "several");
    }
    assert_int_equal(match == COMPOSITE_SAME, strcmp(is, test->known) == 0);
    if (strcmp(is, test->is) != 0)
        fail_msg("known '%s', now '%s', seen '%s': '%s', not '%s'", test->known, test->now,
                 test->seen, is, test->is);
    type_attributes_free(&known);
    type_attributes_free(&now);
}

static void attributes_are_found(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"1a:i 2b:t", "1a:i 2b:t 3c:d", "itd", "1a:i 2b:t 3c:d", false},
        {"1a:i 2b:t", "1x:i 2b:t 3c:d", "itd", "1x:i 2b:t 3c:d", false},
        {"1a:i 2b:t", "1a:i 2-", "i", "1a:i 2b:t-", false},
        {"1a:i 2b:t", "1a:i 2-", "i", "1a:i", true},
        {"1a:i 2b:t", "1a:i 2- 3b:d", "id", "1a:i 2b:t- 3b:d", false},
        {"1a:i 2b:t-", "1a:i 2- 3c:t", "it", "1a:i 2b:t- 3c:t", false},
        {"1a:i 2b:t", "1a:i 2- 3c:t 4d:d", "itd", "1a:i 2b:t- 3c:t 4d:d", false}, /* c before d */
        /* the catalog is ahead: c has gone again, d is still to come */
        {"1a:i", "1a:i 3- 4d:i", "it", "1a:i 3attribute_3:t", false},
        {"1a:i 3c:t", "1a:i 3- 4d:i", "ii", "1a:i 3c:t- 4d:i", false},
        /* found in the catalog before the log came to it, and then it came */
        {"1a:i 2b:t", "1a:i 2b:t", "i", "1a:i 2b:t-", false},
        {"1a:i 2b:t-", "1a:i 2b:t", "it", "1a:i 2b:t", false},
        {"1a:i 2b:t", "1a:i 2b:t", "", "1a:i 2b:t", false},
        {"1a:i 2b:t", "1a:i 2x:t 3c:d", "", "1a:i 2x:t", false},
        {"1a:i 2b:t-", "1x:i 2- 3c:d", "", "1x:i 2b:t-", false},
        {"1a:i 3c:t", "1a:i 2- 3-", "", "1a:i 3c:t", false}, /* dropped long ago */
        /* came and went: of another size than the value's, so it is the next */
        {"1a:i", "1a:i 2-d 3c:t", "it", "1a:i 3c:t", false},
        {"1a:i", "1a:i 2-t 3-i 4c:t", "ii", "1a:i 3attribute_3:i", false},
        {"1a:i 2b:t", "1a:i 2-t 3-d", "it", "1a:i 2b:t", false},
        {"1a:i 2b:t", "1a:i 2-t 3-d 4c:i", "", "1a:i 2b:t", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i]);
}

static void what_can_not_be_told_is_not_guessed(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"1a:i 2b:t", "1a:i 2- 3c:t", "", "several", false}, /* b, or c in its place */
        {"1a:i", "1a:i 2- 3c:t", "it", "several", false},    /* c, or one that came and went */
        {"1a:i", "1a:i 2-d 3c:i", "ii", "several", false},   /* of one size: it may be either */
        {"1a:i", "1a:i 2-t 3-i", "id", "several", false},    /* of a size that nobody knows */
        {"1a:i", "1a:i 2-t", "ii", "none", false},           {"1a:i", "1a:i", "it", "none", false},
        {"1a:i 2b:t", "1a:i 2b:t", "id", "none", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i]);
}

/* ---------- values ---------- */
static char nothing[] = "";
#define ROW(oid_, typtype_, part_)                                                                 \
    {                                                                                              \
        .oid = (oid_), .typtype = (typtype_), .part_oid = (part_), .name = nothing,                \
        .extension = nothing, .delimiter = ',', .sendable = true                                   \
    }

static void put_int(Bytes *to, uint32_t value)
{
    bytes_put_u32be(to, INT);
    bytes_put_u32be(to, 4);
    bytes_put_u32be(to, value);
}

/* A pair of that many ints. */
static void put_pair(Bytes *to, uint32_t count)
{
    bytes_put_u32be(to, count);
    for (uint32_t i = 0; i < count; i++)
        put_int(to, 40 + i);
}

/* (n integer, ones pair[]), the array's second element with that many attributes. */
static Bytes outer_value(uint32_t second)
{
    Bytes one = {0}, other = {0}, array = {0}, value = {0};
    put_pair(&one, 2);
    put_pair(&other, second);
    bytes_put_u32be(&array, 1);
    bytes_put_u32be(&array, 0);
    bytes_put_u32be(&array, PAIR);
    bytes_put_u32be(&array, 2);
    bytes_put_u32be(&array, 1);
    put_counted(&array, one.data, one.used);
    put_counted(&array, other.data, other.used);
    bytes_put_u32be(&value, 2);
    put_int(&value, 7);
    bytes_put_u32be(&value, PAIRS);
    put_counted(&value, array.data, array.used);
    bytes_done(&one);
    bytes_done(&other);
    bytes_done(&array);
    return value;
}

static void another_shape_is_found_wherever_it_lies(void **state)
{
    (void)state;
    PgType pair = made("1a:i 2b:t- 3c:i"),
           rows[] = {ROW(PAIR, 'c', 0), ROW(PAIRS, 'b', PAIR), ROW(OUTER, 'c', 0)};
    PgAttribute outer[] = {{(char[]){"n"}, INT, -1, 1, false, false, 0},
                           {(char[]){"ones"}, PAIRS, -1, 2, false, false, 0}};
    rows[0].attributes = pair.attributes;
    rows[0].attribute_count = pair.attribute_count;
    rows[2].attributes = outer;
    rows[2].attribute_count = 2;
    PgTypes types = {.types = rows, .count = ARRAY_LEN(rows)};
    PgDecoder decoder;
    Field field = {.name = (char[]){"v"}};
    assert_true(decoder_choose(&types, OUTER, -1, &decoder, &field.type));
    Schema schema = {.fields = &field, .field_count = 1};
    assert_int_equal(field.type.fields[1].type.element->type.field_count, 3);
    assert_int_equal(field.type.fields[1].type.element->type.fields[2].origin, 3);

    CompositeSeen seen;
    Bytes value = outer_value(2), other = outer_value(3), text = {0};
    assert_false(composite_find_other(&decoder, value.data, (uint32_t)value.used, &seen));
    assert_true(composite_find_other(&decoder, other.data, (uint32_t)other.used, &seen));
    assert_int_equal(seen.oid, PAIR);
    assert_int_equal(seen.count, 3);
    composite_seen_done(&seen);
    for (uint32_t cut = 0; cut < other.used; cut++) /* never past its end */
        if (composite_find_other(&decoder, other.data, cut, &seen))
            composite_seen_done(&seen);

    Batch *batch = batch_new(&schema, 0, 2);
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_null(
        decode_value(&decoder, batch, &batch->columns[0], value.data, (uint32_t)value.used));
    const Column *element = batch->columns[0].child[1].child;
    assert_int_equal(element->rows, 2);
    assert_int_equal(column_i32(&element->child[2], 1), 41);
    assert_true(column_is_null(&element->child[1], 1)); /* gone */
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    assert_ptr_equal(
        decode_value(&decoder, batch, &batch->columns[0], other.data, (uint32_t)other.used),
        decode_other_attributes);
    batch_free(batch);

    assert_null(print_value(&decoder, value.data, (uint32_t)value.used, &text));
    bytes_put_u8(&text, 0);
    assert_string_equal((char *)text.data, "(7,\"{\"\"(40,41)\"\",\"\"(40,41)\"\"}\")");
    bytes_clear(&text);
    assert_ptr_equal(print_value(&decoder, other.data, (uint32_t)other.used, &text),
                     decode_other_attributes);
    bytes_done(&text);
    bytes_done(&value);
    bytes_done(&other);
    decoder_done(&decoder);
    type_done(&field.type);
    type_attributes_free(&pair);
}

/* One that is gone gives its name to the one that has it now. */
static void names_differ(void **state)
{
    (void)state;
    PgType pair = made("1a:i- 2a_1:t 3a:d"), row = ROW(PAIR, 'c', 0);
    row.attributes = pair.attributes;
    row.attribute_count = pair.attribute_count;
    PgTypes types = {.types = &row, .count = 1};
    PgDecoder decoder;
    Type type;
    assert_true(decoder_choose(&types, PAIR, -1, &decoder, &type));
    assert_string_equal(type.fields[0].name, "a_1_1");
    assert_string_equal(type.fields[1].name, "a_1");
    assert_string_equal(type.fields[2].name, "a");
    decoder_done(&decoder);
    type_done(&type);
    type_attributes_free(&pair);
}

static void what_is_known_is_kept_as_json(void **state)
{
    (void)state;
    PgType pair = made("1a:i- 2b:t");
    PgTypes known = {.types = &pair, .count = 1}, back;
    json_t *json = composites_to_json(&known);
    assert_true(composites_from_json(json, &back));
    char is[100];
    put(&back.types[0], is, sizeof is);
    assert_string_equal(is, "1a:i- 2b:t");
    assert_int_equal(back.types[0].oid, PAIR);
    assert_int_equal(back.types[0].last_number, 2);
    types_done(&back);
    json_decref(json);
    json = json_loads("[[1, 2, [[1, \"a\"]]]]", 0, NULL);
    assert_false(composites_from_json(json, &back));
    types_done(&back);
    json_decref(json);
    type_attributes_free(&pair);
}

static void snapshots_show_transactions(void **state)
{
    (void)state;
    assert_true(snapshot_sees("10:20:10,14", 9));
    assert_false(snapshot_sees("10:20:10,14", 10));
    assert_true(snapshot_sees("10:20:10,14", 11));
    assert_false(snapshot_sees("10:20:10,14", 14));
    assert_true(snapshot_sees("10:20:10,14", 19));
    assert_false(snapshot_sees("10:20:10,14", 20));
    assert_true(snapshot_sees("4294967301:4294967302:", 4)); /* the second epoch */
    assert_true(snapshot_sees("4294967301:4294967302:", 4294967290u));
    assert_false(snapshot_sees("4294967301:4294967302:4294967301", 5));
    assert_false(snapshot_sees("", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_found),
        cmocka_unit_test(what_can_not_be_told_is_not_guessed),
        cmocka_unit_test(another_shape_is_found_wherever_it_lies),
        cmocka_unit_test(names_differ),
        cmocka_unit_test(what_is_known_is_kept_as_json),
        cmocka_unit_test(snapshots_show_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
