/* links: firn_table */
/* The key index against a map that can't be wrong: a plain array over a small domain of keys. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "agent/table/keys.h"
#include "common/mem.h"

/* A repeatable sequence, whatever the library. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static Schema *key_schema(const Type *types, size_t count)
{
    Schema *schema = schema_new(count, count);
    for (size_t i = 0; i < count; i++) {
        schema->fields[i] = (Field){.name = mem_format("k%zu", i),
                                    .type = types[i],
                                    .required = true,
                                    .id = (int32_t)i + 1};
        schema->key[i] = (uint32_t)i;
    }
    return schema;
}

static void put_key(Batch *batch, uint64_t key)
{
    batch_row_begin(batch, ROW_INSERT, (RowPosition){0});
    for (uint32_t i = 0; i < batch->column_count; i++) {
        Column *column = &batch->columns[i];
        char text[40];
        switch (column->field->type.kind) {
        case TYPE_BOOL:
            column_put_bool(batch, column, key & 1);
            break;
        case TYPE_INT32:
            column_put_i32(batch, column, (int32_t)key);
            break;
        case TYPE_INT64:
            column_put_i64(batch, column, (int64_t)key);
            break;
        case TYPE_UUID: {
            uint8_t *to = column_put_fixed(batch, column);
            memset(to, 0, 16);
            memcpy(to + 8, &key, 8);
            break;
        }
        default:
            snprintf(text, sizeof text, "key-%llu", (unsigned long long)key);
            column_put_bytes(batch, column, text, strlen(text));
        }
    }
}

typedef struct Model {
    uint32_t file; /* 0: absent */
    uint32_t position;
    int64_t row_id;
} Model;

/* Random batches of puts and deletes on keys of 0 .. domain-1; after each, every key of the batch
 * is as the model has it. */
static void run_model(const Type *types, size_t type_count, bool row_ids, uint32_t domain,
                      int rounds, uint64_t seed)
{
    AUTO(schema_free) Schema *schema = key_schema(types, type_count);
    KeyHasher hasher;
    Error err;
    assert_true(key_hasher_init(&hasher, schema, schema->key, type_count, &err));
    AUTO(key_index_free) KeyIndex *index = key_index_new(hasher.wide, row_ids);
    Model *model = mem_array(domain, sizeof *model);
    size_t live = 0;
    for (int round = 0; round < rounds; round++) {
        enum { ROWS = 700 };
        uint64_t keys_of[ROWS];
        uint32_t slots[ROWS];
        AUTO(batch_free) Batch *batch = batch_new(schema, 0, ROWS);
        for (int i = 0; i < ROWS; i++) {
            keys_of[i] = next_random(&seed) % domain;
            put_key(batch, keys_of[i]);
        }
        IndexKeys keys;
        assert_true(key_hasher_batch(&hasher, batch, 0, &keys, &err));
        assert_int_equal(keys.count, ROWS);
        key_index_reserve(index, ROWS);
        key_index_locate(index, &keys, slots);
        for (int i = 0; i < ROWS; i++) {
            Model *expected = &model[keys_of[i]];
            IndexEntry *entry = key_index_entry(index, slots[i]);
            if (expected->file) {
                assert_int_equal(entry->file, expected->file);
                assert_int_equal(entry->position, expected->position);
                assert_true(key_index_row_id(index, entry) ==
                            (row_ids ? expected->row_id : INDEX_ROW_ID_NONE));
            } else {
                assert_int_equal(entry->file, INDEX_FILE_ABSENT);
            }
            if (next_random(&seed) % 3 == 0) {
                live -= expected->file != 0;
                expected->file = 0;
                key_index_forget(index, entry);
            } else {
                live += expected->file == 0;
                *expected = (Model){.file = (uint32_t)round + 1,
                                    .position = (uint32_t)i,
                                    .row_id = (int64_t)(round * 1000 + i)};
                key_index_set(index, entry, expected->file, expected->position);
                key_index_set_row_id(index, entry, expected->row_id);
            }
        }
        assert_int_equal(index->live, live);
        assert_true(index->used <= index->capacity * 3 / 4);
    }
    key_index_clear(index);
    assert_int_equal(index->live, 0);
    key_hasher_done(&hasher);
    free(model);
}

static void test_exact_keys(void **state)
{
    (void)state;
    run_model((Type[]){{.kind = TYPE_INT64}}, 1, false, 50000, 400, 1);
    run_model((Type[]){{.kind = TYPE_INT32}}, 1, true, 900, 200, 2);
    run_model((Type[]){{.kind = TYPE_INT64}}, 1, true, 100000, 200, 3);
}

static void test_hashed_keys(void **state)
{
    (void)state;
    run_model((Type[]){{.kind = TYPE_STRING}}, 1, false, 30000, 200, 4);
    run_model((Type[]){{.kind = TYPE_UUID}}, 1, true, 30000, 200, 5);
    run_model((Type[]){{.kind = TYPE_INT32}, {.kind = TYPE_STRING}, {.kind = TYPE_BOOL}}, 3, true,
              30000, 200, 6);
}

/* A key inserted and deleted again and again must not let the table grow. */
static void test_absent_keys_are_reclaimed(void **state)
{
    (void)state;
    AUTO(key_index_free) KeyIndex *index = key_index_new(false, false);
    uint64_t seed = 9;
    for (int round = 0; round < 2000; round++) {
        uint64_t keys[100];
        uint32_t slots[100];
        for (int i = 0; i < 100; i++)
            keys[i] = next_random(&seed);
        key_index_reserve(index, 100);
        key_index_locate(index, &(IndexKeys){.first = keys, .count = 100}, slots);
        for (int i = 0; i < 100; i++) {
            IndexEntry *entry = key_index_entry(index, slots[i]);
            key_index_set(index, entry, 1, 1);
            key_index_forget(index, entry);
        }
    }
    assert_int_equal(index->live, 0);
    assert_true(index->capacity <= 1024);
}

/* All keys at one home, and at the end of the table: probing goes on at its start. */
static void test_collisions_wrap(void **state)
{
    (void)state;
    AUTO(key_index_free) KeyIndex *index = key_index_new(true, false);
    uint64_t first[300], second[300];
    uint32_t slots[300];
    for (uint64_t i = 0; i < 300; i++) {
        first[i] = UINT64_MAX;
        second[i] = i;
    }
    IndexKeys keys = {.first = first, .second = second, .count = 300};
    key_index_reserve(index, 300);
    key_index_locate(index, &keys, slots);
    for (uint32_t i = 0; i < 300; i++)
        key_index_set(index, key_index_entry(index, slots[i]), 1, i);
    key_index_reserve(index, 5000); /* grows */
    key_index_locate(index, &keys, slots);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(key_index_entry(index, slots[i])->position, i);
}

static void test_key_of_nulls_and_floats_is_refused(void **state)
{
    (void)state;
    Error err = {0};
    KeyHasher hasher;
    AUTO(schema_free) Schema *floats = key_schema((Type[]){{.kind = TYPE_FLOAT64}}, 1);
    assert_false(key_hasher_init(&hasher, floats, floats->key, 1, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "BadKey");
    assert_non_null(strstr(err.message, "k0"));

    AUTO(schema_free)
    Schema *schema = key_schema((Type[]){{.kind = TYPE_INT64}, {.kind = TYPE_STRING}}, 2);
    assert_true(key_hasher_init(&hasher, schema, schema->key, 2, &err));
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 2);
    batch_row_begin(batch, ROW_INSERT, (RowPosition){0});
    column_put_i64(batch, &batch->columns[0], 7);
    column_put_null(batch, &batch->columns[1]);
    IndexKeys keys;
    assert_false(key_hasher_batch(&hasher, batch, 0, &keys, &err));
    assert_string_equal(err.code, "NullKey");
    assert_non_null(strstr(err.message, "k1"));
    key_hasher_done(&hasher);
}

/* ("a", "bc") and ("ab", "c") are two keys; an int is the same key as a long (a promoted column).
 */
static void test_encoding_is_canonical(void **state)
{
    (void)state;
    Error err;
    KeyHasher hasher;
    Type two[] = {{.kind = TYPE_STRING}, {.kind = TYPE_STRING}};
    AUTO(schema_free) Schema *schema = key_schema(two, 2);
    assert_true(key_hasher_init(&hasher, schema, schema->key, 2, &err));
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 2);
    const char *texts[2][2] = {{"a", "bc"}, {"ab", "c"}};
    for (int row = 0; row < 2; row++) {
        batch_row_begin(batch, ROW_INSERT, (RowPosition){0});
        for (int i = 0; i < 2; i++)
            column_put_bytes(batch, &batch->columns[i], texts[row][i], strlen(texts[row][i]));
    }
    IndexKeys keys;
    assert_true(key_hasher_batch(&hasher, batch, 0, &keys, &err));
    assert_true(keys.first[0] != keys.first[1] || keys.second[0] != keys.second[1]);
    key_hasher_done(&hasher);

    AUTO(schema_free) Schema *ints = key_schema((Type[]){{.kind = TYPE_INT32}}, 1);
    AUTO(schema_free) Schema *longs = key_schema((Type[]){{.kind = TYPE_INT64}}, 1);
    AUTO(batch_free) Batch *narrow = batch_new(ints, 0, 1), *wide = batch_new(longs, 0, 1);
    put_key(narrow, (uint64_t)-5);
    put_key(wide, (uint64_t)-5);
    assert_true(key_hasher_init(&hasher, ints, ints->key, 1, &err));
    assert_true(key_hasher_batch(&hasher, narrow, 0, &keys, &err));
    uint64_t key = keys.first[0];
    key_hasher_move(&hasher, longs, longs->key);
    assert_true(key_hasher_batch(&hasher, wide, 0, &keys, &err));
    assert_true(keys.first[0] == key);
    key_hasher_done(&hasher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_keys),
        cmocka_unit_test(test_hashed_keys),
        cmocka_unit_test(test_absent_keys_are_reclaimed),
        cmocka_unit_test(test_collisions_wrap),
        cmocka_unit_test(test_key_of_nulls_and_floats_is_refused),
        cmocka_unit_test(test_encoding_is_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
