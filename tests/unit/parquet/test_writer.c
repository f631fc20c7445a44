/* links: firn_parquet */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>

#include "agent/table/parquet/parquet.h"
#include "tests/unit/parquet/memory_store.h"

static Schema *schema_of(const char *const *types, size_t count, bool required)
{
    Schema *schema = schema_new(count, 0);
    for (size_t i = 0; i < count; i++) {
        Field *field = &schema->fields[i];
        *field = (Field){.id = (int32_t)i + 1, .required = required};
        field->name = mem_format("f%zu", i + 1);
        assert_true(type_parse(types[i], &field->type, NULL));
    }
    return schema;
}

static void put(ParquetWriter *writer, const Batch *batch, bool expected, Error *err)
{
    const Column *columns[16];
    for (uint32_t i = 0; i < batch->column_count; i++)
        columns[i] = &batch->columns[i];
    assert_int_equal(parquet_writer_put(writer, columns, NULL, batch->row_count, err), expected);
}

/* Writes a batch as a whole file. */
static void write_file(const Batch *batch, Bytes *file, ParquetFileInfo *info)
{
    Error err = {0};
    ParquetOptions options;
    parquet_options_default(&options);
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(batch->schema, &options, memory_writer(file), &err);
    assert_non_null(writer);
    put(writer, batch, true, &err);
    assert_true(parquet_writer_finish(writer, info, &err));
}

static void put_text(Batch *batch, int column, const char *text)
{
    column_put_bytes(batch, &batch->columns[column], text, strlen(text));
}

static void bound(const uint8_t *found, uint8_t bytes, const char *expected, size_t expected_bytes)
{
    assert_int_equal(bytes, expected_bytes);
    assert_memory_equal(found, expected, expected_bytes);
}
#define BOUND(metrics, end, text)                                                                  \
    do {                                                                                           \
        assert_true((metrics).has_##end);                                                          \
        bound((metrics).end, (metrics).end##_bytes, text, sizeof(text) - 1);                       \
    } while (0)

static void bounds_are_icebergs(void **state)
{
    (void)state;
    static const char *const types[] = {"int",           "double", "decimal(12,2)",
                                        "decimal(30,0)", "string", "string",
                                        "binary",        "uuid",   "boolean"};
    AUTO(schema_free) Schema *schema = schema_of(types, 9, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 4);
    static const double doubles[] = {0.0, NAN, -0.0, 0.0};
    for (int i = 0; i < 4; i++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        column_put_i32(batch, &batch->columns[0], i - 2);
        memcpy(column_put_fixed(batch, &batch->columns[1]), &doubles[i], sizeof(double));
        column_put_i128(batch, &batch->columns[2], i * 100 - 128);
        column_put_i128(batch, &batch->columns[3], i ? (__int128)1 << 70 : -1);
        put_text(batch, 4, i % 2 ? "" : "0123456789abcdef-more");
        /* The highest character can't be raised: the one before it is. */
        put_text(batch, 5, "aaaaaaaaaaaaaa\xc3\xbf\xf4\x8f\xbf\xbf and more");
        column_put_bytes(batch, &batch->columns[6],
                         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                         17);
        memset(column_put_fixed(batch, &batch->columns[7]), i, 16);
        if (i == 3)
            column_put_null(batch, &batch->columns[8]);
        else
            column_put_bool(batch, &batch->columns[8], true);
    }
    Bytes file = {0};
    ParquetFileInfo info;
    write_file(batch, &file, &info);
    const ParquetFieldMetrics *f = info.fields;
    BOUND(f[0], lower, "\xfe\xff\xff\xff");
    BOUND(f[0], upper, "\x01\0\0\0");
    assert_int_equal(f[0].nan_count, -1);
    assert_int_equal(f[1].nan_count, 1);
    BOUND(f[1], lower, "\0\0\0\0\0\0\0\x80"); /* -0.0 */
    BOUND(f[1], upper, "\0\0\0\0\0\0\0\0");
    BOUND(f[2], lower, "\x80"); /* -128: the fewest bytes */
    BOUND(f[2], upper, "\0\xac");
    BOUND(f[3], lower, "\xff");
    BOUND(f[3], upper, "\x40\0\0\0\0\0\0\0\0");
    BOUND(f[4], lower, "");
    BOUND(f[4], upper, "0123456789abcdeg");
    BOUND(f[5], lower, "aaaaaaaaaaaaaa\xc3\xbf\xf4\x8f\xbf\xbf");
    BOUND(f[5], upper, "aaaaaaaaaaaaaa\xc4\x80");
    BOUND(f[6], lower, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_false(f[6].has_upper); /* no sixteen bytes are above */
    BOUND(f[7], upper, "\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3");
    BOUND(f[8], lower, "\1");
    assert_int_equal(f[8].null_count, 1);
    assert_int_equal(f[8].value_count, 4);
    parquet_file_info_done(&info);
    bytes_done(&file);
}

static void refuses_null_and_overflow(void **state)
{
    (void)state;
    static const char *const types[] = {"long", "decimal(9,2)"};
    AUTO(schema_free) Schema *schema = schema_of(types, 2, true);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 4);
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    column_put_null(batch, &batch->columns[0]);
    column_put_i128(batch, &batch->columns[1], 1);
    AUTO(batch_free) Batch *large = batch_new(schema, 0, 4);
    batch_row_begin(large, ROW_READ, (RowPosition){0});
    column_put_i64(large, &large->columns[0], 1);
    column_put_i128(large, &large->columns[1], 1000000000);

    Error err = {0};
    ParquetOptions options;
    parquet_options_default(&options);
    Bytes file = {0};
    ParquetWriter *writer = parquet_writer_open(schema, &options, memory_writer(&file), &err);
    put(writer, batch, false, &err);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.code, "NullInRequired");
    assert_non_null(strstr(err.message, "f1"));
    put(writer, large, false, &err);
    assert_string_equal(err.code, "DecimalOverflow");
    assert_int_equal(parquet_writer_rows(writer), 0); /* nothing of them was taken */
    parquet_writer_free(writer);
    assert_false(memory_finished);
    assert_int_equal(memory_open, 0);
    bytes_done(&file);
}

static void every_failing_write_is_told(void **state)
{
    (void)state;
    static const char *const types[] = {"long", "string"};
    AUTO(schema_free) Schema *schema = schema_of(types, 2, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 100);
    for (int i = 0; i < 100; i++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        column_put_i64(batch, &batch->columns[0], i);
        put_text(batch, 1, "a");
    }
    static const int32_t blooms[] = {1, 2};
    bool done = false;
    int failures = 0;
    for (int at = 0; !done; at++) {
        Error err = {0};
        ParquetOptions options;
        parquet_options_default(&options);
        options.row_group_rows = 60;
        options.bloom_ids = blooms;
        options.bloom_count = 2;
        Bytes file = {0};
        StoreWriter *sink = memory_writer(&file);
        sink->fail_after = at;
        AUTO(parquet_writer_free)
        ParquetWriter *writer = parquet_writer_open(schema, &options, sink, &err);
        const Column *columns[] = {&batch->columns[0], &batch->columns[1]};
        ParquetFileInfo info;
        done = writer && parquet_writer_put(writer, columns, NULL, 100, &err) &&
               parquet_writer_finish(writer, &info, &err);
        if (done) {
            parquet_file_info_done(&info);
        } else {
            assert_string_equal(err.code, "DiskFull");
            assert_false(memory_finished);
            failures++;
        }
        if (!done && writer && parquet_writer_rows(writer) < 100)
            assert_false(parquet_writer_finish(writer, &info, &err));
        bytes_done(&file);
    }
    assert_true(failures >= 10);
    assert_int_equal(memory_open, 0);
}

/* A value larger than any page, among small ones that a dictionary holds: in the first page, behind
 * pages with a dictionary, at the end, twice; compressed and not. Nothing keeps its memory. */
static void large_values_keep_no_memory(void **state)
{
    (void)state;
    enum { LARGE = 12 << 20, ROWS = 50 };
    static const int large_at[] = {0, 3, 30, 31, 49};
    static const char *const types[] = {"string"};
    AUTO(schema_free) Schema *schema = schema_of(types, 1, false);
    AUTO(mem_free) char *large = mem_alloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)('a' + (i * i >> 7) % 23);
    for (size_t first = 0; first < ARRAY_LEN(large_at); first++)
        for (int level = 0; level < 4; level += 3) {
            Error err = {0};
            Bytes file = {0};
            ParquetFileInfo info;
            ParquetOptions options;
            parquet_options_default(&options);
            options.zstd_level = level;
            AUTO(batch_free) Batch *batch = batch_new(schema, 0, ROWS);
            size_t next = first;
            for (int i = 0; i < ROWS; i++) {
                bool is_large = next < ARRAY_LEN(large_at) && large_at[next] == i;
                next += is_large;
                batch_row_begin(batch, ROW_READ, (RowPosition){0});
                if (is_large)
                    column_put_bytes(batch, &batch->columns[0], large, LARGE - (size_t)i);
                else
                    put_text(batch, 0, i % 2 ? "odd" : "even");
            }
            AUTO(parquet_writer_free)
            ParquetWriter *writer =
                parquet_writer_open(schema, &options, memory_writer(&file), &err);
            const Column *columns[] = {&batch->columns[0]};
            uint32_t row;
            for (row = 0; row < 10; row++) /* the page is behind rows that a dictionary holds */
                assert_true(parquet_writer_put(writer, columns, &row, 1, &err));
            put(writer, batch, true, &err);
            size_t waiting = level ? 0 : 48 << 20; /* pages that are not compressed */
            assert_true(parquet_writer_memory(writer) < waiting + ((size_t)8 << 20));
            assert_true(parquet_writer_finish(writer, &info, &err));
            parquet_file_info_done(&info);
            AUTO(parquet_reader_free)
            ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
            for (uint32_t seen = 0; seen < ROWS + 10;) {
                AUTO(batch_free) Batch *got = NULL;
                assert_true(parquet_reader_next(reader, &got, &err));
                assert_non_null(got);
                for (uint32_t i = 0; i < got->row_count; i++, seen++) {
                    uint32_t bytes, wanted, from = seen < 10 ? seen : seen - 10;
                    const uint8_t *value = column_bytes(&got->columns[0], i, &bytes);
                    const uint8_t *was = column_bytes(&batch->columns[0], from, &wanted);
                    assert_int_equal(bytes, wanted);
                    assert_memory_equal(value, was, bytes);
                }
            }
            bytes_done(&file);
        }
}

/* Reads one column under another type. */
static bool read_as(const Bytes *file, const char *type, int32_t id, Batch **ret, Error *err)
{
    static Schema *schema; /* outlives the batch; the last one is freed by the next call */
    schema_free(schema);
    schema = NULL;
    if (!type)
        return true;
    schema = schema_of(&type, 1, false);
    schema->fields[0].id = id;
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(memory_reader(file), schema, err);
    return reader && parquet_reader_next(reader, ret, err);
}

static void promotes_and_fills_with_null(void **state)
{
    (void)state;
    static const char *const types[] = {"int", "float", "decimal(9,2)", "string"};
    AUTO(schema_free) Schema *schema = schema_of(types, 4, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 1);
    float f = 1.5f;
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    column_put_i32(batch, &batch->columns[0], -5);
    memcpy(column_put_fixed(batch, &batch->columns[1]), &f, sizeof f);
    column_put_i128(batch, &batch->columns[2], -123);
    put_text(batch, 3, "x");
    Bytes file = {0};
    ParquetFileInfo info;
    write_file(batch, &file, &info);
    parquet_file_info_done(&info);

    Error err = {0};
    Batch *got = NULL;
    double d;
    __int128 x;
    assert_true(read_as(&file, "long", 1, &got, &err));
    assert_int_equal(column_i64(&got->columns[0], 0), -5);
    batch_free(got);
    assert_true(read_as(&file, "double", 2, &got, &err));
    memcpy(&d, got->columns[0].values, sizeof d);
    assert_true(d == 1.5);
    batch_free(got);
    assert_true(read_as(&file, "decimal(30,2)", 3, &got, &err));
    memcpy(&x, got->columns[0].values, sizeof x);
    assert_true(x == -123);
    batch_free(got);
    assert_true(read_as(&file, "long", 99, &got, &err));
    assert_true(column_is_null(&got->columns[0], 0));
    batch_free(got);
    static const char *const wrong[] = {"string", "date", "decimal(9,3)", "int"};
    for (int32_t id = 1; id <= 4; id++) {
        bool same = id == 1 ? read_as(&file, "float", id, &got, &err)
                            : read_as(&file, wrong[id - 1], id, &got, &err);
        assert_false(same);
        assert_string_equal(err.code, "ParquetType");
    }
    assert_true(read_as(NULL, NULL, 0, &got, &err));
    bytes_done(&file);
}

/* Every level that the manifest takes is written, and read back. */
static void compression_levels(void **state)
{
    (void)state;
    static const char *const types[] = {"string"};
    AUTO(schema_free) Schema *schema = schema_of(types, 1, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 500);
    for (int i = 0; i < 500; i++) {
        char text[32];
        snprintf(text, sizeof text, "row %d of many", i);
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        put_text(batch, 0, text);
    }
    for (int level = -1; level <= 23; level++) {
        Error err = {0};
        Bytes file = {0};
        ParquetFileInfo info;
        ParquetOptions options;
        parquet_options_default(&options);
        options.zstd_level = level;
        AUTO(parquet_writer_free)
        ParquetWriter *writer = parquet_writer_open(schema, &options, memory_writer(&file), &err);
        if (level < 0 || level > 22) {
            assert_null(writer);
            assert_int_equal(err.kind, ERROR_CONFIG);
            assert_string_equal(err.code, "CompressionLevel");
            bytes_done(&file);
            continue;
        }
        put(writer, batch, true, &err);
        assert_true(parquet_writer_finish(writer, &info, &err));
        parquet_file_info_done(&info);
        AUTO(parquet_reader_free)
        ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
        AUTO(batch_free) Batch *got = NULL;
        assert_true(parquet_reader_next(reader, &got, &err));
        assert_int_equal(got->row_count, 500);
        for (uint32_t i = 0; i < 500; i++) {
            uint32_t bytes, wanted;
            const uint8_t *value = column_bytes(&got->columns[0], i, &bytes);
            const uint8_t *was = column_bytes(&batch->columns[0], i, &wanted);
            assert_int_equal(bytes, wanted);
            assert_memory_equal(value, was, bytes);
        }
        bytes_done(&file);
    }
}

static void types_that_parquet_has_not(void **state)
{
    (void)state;
    AUTO(schema_free) Schema *schema = schema_new(1, 0);
    schema->fields[0] =
        (Field){.name = mem_strdup("v"), .type = {.kind = TYPE_FIXED, .fixed_bytes = 2 << 20}};
    Bytes file = {0};
    ParquetOptions options;
    parquet_options_default(&options);
    Error err = {0};
    assert_null(parquet_writer_open(schema, &options, memory_writer(&file), &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "TypeUnsupported");
    assert_non_null(strstr(err.message, "fixed[2097152]"));
    bytes_done(&file);
}

/* One bit is wrong: each of the reasons comes up. */
static void a_wrong_bit_has_a_reason(void **state)
{
    (void)state;
    static const char *const types[] = {"long"};
    AUTO(schema_free) Schema *schema = schema_of(types, 1, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 50);
    for (int i = 0; i < 50; i++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        column_put_i64(batch, &batch->columns[0], i * i);
    }
    Bytes file = {0};
    ParquetFileInfo info;
    write_file(batch, &file, &info);
    parquet_file_info_done(&info);
    bool codec = false, footer = false, page = false;
    for (size_t i = 0; i < file.used; i++)
        for (int bit = 0; bit < 8; bit++) {
            Error err = {0};
            file.data[i] ^= (uint8_t)(1 << bit);
            AUTO(parquet_reader_free)
            ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
            Batch *got = NULL;
            if (!reader || !parquet_reader_next(reader, &got, &err)) {
                assert_int_equal(err.kind, ERROR_DATA);
                codec = codec || strcmp(err.code, "ParquetCodec") == 0;
                footer = footer || strcmp(err.code, "ParquetFooter") == 0;
                page = page || strcmp(err.code, "ParquetPage") == 0;
            }
            batch_free(got);
            file.data[i] ^= (uint8_t)(1 << bit);
        }
    assert_true(codec);
    assert_true(footer);
    assert_true(page);
    bytes_done(&file);
}

/* Every file cut short, and every byte turned over: an answer or DATA, never a crash. */
static void damage_is_data(void **state)
{
    (void)state;
    static const char *const types[] = {"long", "string", "double"};
    AUTO(schema_free) Schema *schema = schema_of(types, 3, false);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 50);
    for (int i = 0; i < 50; i++) {
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        column_put_i64(batch, &batch->columns[0], i * i);
        put_text(batch, 1, i % 3 ? "abc" : "de");
        column_put_null(batch, &batch->columns[2]);
    }
    Bytes file = {0};
    ParquetFileInfo info;
    write_file(batch, &file, &info);
    parquet_file_info_done(&info);
    size_t whole = file.used, refused = 0;
    for (size_t i = 0; i < whole * 2; i++) {
        Error err = {0};
        bool cut = i >= whole;
        file.used = cut ? i - whole : whole;
        if (!cut)
            file.data[i] ^= 0xff;
        AUTO(parquet_reader_free)
        ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
        Batch *got = NULL;
        bool good = reader && parquet_reader_next(reader, &got, &err);
        batch_free(got);
        assert_true(good || err.kind == ERROR_DATA);
        assert_false(cut && good);
        refused += !good;
        if (!cut)
            file.data[i] ^= 0xff;
    }
    assert_true(refused > whole);
    bytes_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_icebergs),
        cmocka_unit_test(refuses_null_and_overflow),
        cmocka_unit_test(every_failing_write_is_told),
        cmocka_unit_test(large_values_keep_no_memory),
        cmocka_unit_test(promotes_and_fills_with_null),
        cmocka_unit_test(compression_levels),
        cmocka_unit_test(types_that_parquet_has_not),
        cmocka_unit_test(a_wrong_bit_has_a_reason),
        cmocka_unit_test(damage_is_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
