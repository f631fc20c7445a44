#include "agent/table/fill.h"

#include <string.h>

#include "agent/table/fill_kept.h"
#include "common/mem.h"

#define NOT_FOLLOWED UINT32_MAX

/* A column that updates have left out at some time. */
typedef struct FillColumn {
    uint32_t field;        /* of the table */
    bool now;              /* it has unchanged values in the batch at hand */
    const Column *given;   /* of the batch at hand */
    RowBase *origins;      /* per row of the batch with such a value: where it stands */
    const Column **values; /* per row asked for: the column that has the value ... */
    uint32_t *value_rows;  /* ... and where */
} FillColumn;

/* A value that has to be read. */
typedef struct Need {
    uint32_t file, column, position;
    uint32_t at; /* in the rows asked for */
} Need;

struct Fill {
    const Schema *schema; /* of the table */
    Schema *followed;     /* the columns below, as the table has them; its fields never move */
    uint32_t *column_of;  /* per field of the table; NOT_FOLLOWED: none */
    FillColumn *columns;
    uint32_t column_count;
    const Batch *batch;
    uint32_t from;
    RowBase *bases;
    uint32_t rows_held;
    Need *needs;
    size_t need_count, needs_held;
    Batch *picked; /* values read, one column each */
    Batch *filled;
    size_t piece; /* so many rows were not too much; 0: nothing ever was */
    const Column **kept_columns;
    FileReaders readers;
    KeptRows kept;
    uint64_t count;
};

static void columns_done(Fill *fill)
{
    for (uint32_t i = 0; i < fill->column_count; i++) {
        free(fill->columns[i].origins);
        free(fill->columns[i].values);
        free(fill->columns[i].value_rows);
    }
    free(fill->columns);
    free(fill->column_of);
    file_readers_close(&fill->readers);
    kept_done(&fill->kept);
    fill_end(fill);
    if (fill->followed)
        fill->followed->field_count = fill->column_count;
    schema_free(fill->followed);
    free(fill->kept_columns);
}

void fill_free(Fill *fill)
{
    if (!fill)
        return;
    columns_done(fill);
    free(fill->bases);
    free(fill->needs);
    free(fill);
}

void fill_reset(Fill *fill, const Schema *schema)
{
    columns_done(fill);
    fill->schema = schema;
    fill->rows_held = 0;
    fill->column_count = 0;
    fill->columns = mem_array(schema->field_count, sizeof *fill->columns);
    fill->column_of = mem_array(schema->field_count, sizeof *fill->column_of);
    for (size_t i = 0; i < schema->field_count; i++)
        fill->column_of[i] = NOT_FOLLOWED;
    fill->kept_columns = mem_array(schema->field_count, sizeof *fill->kept_columns);
    fill->followed = schema_new(schema->field_count, 0);
    fill->followed->field_count = 0;
}

Fill *fill_new(const FillOptions *options)
{
    Fill *fill = mem_zalloc(sizeof *fill);
    fill->readers =
        (FileReaders){.store = options->store, .file = options->file, .context = options->context};
    fill_reset(fill, options->schema);
    return fill;
}

/* ---------- a batch ---------- */
static void follow(Fill *fill, uint32_t field)
{
    uint32_t number = fill->column_count++;
    file_readers_close(&fill->readers); /* they were opened for fewer columns */
    field_copy(&fill->followed->fields[number], &fill->schema->fields[field]);
    fill->followed->field_count = fill->column_count;
    fill->columns[number] = (FillColumn){.field = field};
    fill->column_of[field] = number;
    fill->rows_held = 0;
}

static void rows_reserve(Fill *fill, uint32_t rows)
{
    if (rows <= fill->rows_held)
        return;
    fill->rows_held = rows;
    fill->bases = mem_regrow(fill->bases, rows, sizeof *fill->bases);
    for (uint32_t i = 0; i < fill->column_count; i++) {
        FillColumn *column = &fill->columns[i];
        column->origins = mem_regrow(column->origins, rows, sizeof *column->origins);
        column->values = mem_regrow(column->values, rows, sizeof *column->values);
        column->value_rows = mem_regrow(column->value_rows, rows, sizeof *column->value_rows);
    }
}

void fill_begin(Fill *fill, const Batch *batch, const Column *const *columns, uint32_t from,
                RowBase **ret_bases)
{
    for (uint32_t i = 0; i < fill->column_count; i++)
        fill->columns[i].now = false;
    for (uint32_t field = 0; field < fill->schema->field_count; field++) {
        if (!columns[field]->unchanged)
            continue;
        if (fill->column_of[field] == NOT_FOLLOWED)
            follow(fill, field);
        FillColumn *column = &fill->columns[fill->column_of[field]];
        column->now = true;
        column->given = columns[field];
    }
    rows_reserve(fill, batch->row_count);
    fill->batch = batch;
    fill->from = from;
    *ret_bases = fill->bases;
}

/* A row that replaces one of the same batch, whose value was left out as well, has what that has.
 */
void fill_resolve(Fill *fill)
{
    for (uint32_t i = 0; i < fill->column_count; i++) {
        FillColumn *column = &fill->columns[i];
        if (!column->now)
            continue;
        for (uint32_t row = fill->from; row < fill->batch->row_count; row++) {
            RowBase base = fill->bases[row];
            if (!column_is_unchanged(column->given, row))
                continue;
            ASSERT(base.file != INDEX_FILE_BATCH || base.position < row);
            if (base.file == INDEX_FILE_BATCH && column_is_unchanged(column->given, base.position))
                base = column->origins[base.position];
            column->origins[row] = base;
        }
    }
}

/* ---------- reading ---------- */
static bool missing(const Fill *fill, uint32_t column, Error *err)
{
    return error_set(err, ERROR_RETRY, "BaseRowMissing",
                     "an update leaves column %s out, and the table has no row that it would have "
                     "it from",
                     fill->followed->fields[column].name);
}

static int compare_needs(const void *a, const void *b)
{
    const Need *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

/* Sorted needs [from, to) are of one file. False with an empty *err: they are too much at once. */
static bool read_file(Fill *fill, size_t from, size_t to, size_t count, bool *ret_too_much,
                      Error *err)
{
    ParquetReader *reader;
    if (!file_readers_get(&fill->readers, fill->followed, fill->needs[from].file, &reader, err))
        return false;
    bool ok = true;
    for (size_t i = from; i < to && ok && !*ret_too_much; i++) {
        const Need *need = &fill->needs[i];
        Column *picked = &fill->picked->columns[need->column];
        FillColumn *column = &fill->columns[need->column];
        if (!parquet_reader_has(reader, need->column))
            return missing(fill, need->column, err);
        column->values[need->at] = picked;
        column->value_rows[need->at] = picked->rows;
        ok = parquet_reader_pick(reader, need->column, need->position, fill->picked, picked, err);
        *ret_too_much = fill->picked->bytes > FILL_BYTES && count > 1;
    }
    parquet_reader_rest(reader);
    return ok || file_readers_failed(&fill->readers, fill->needs[from].file, err);
}

static void need(Fill *fill, Need one)
{
    if (fill->need_count == fill->needs_held) {
        fill->needs_held = fill->needs_held ? fill->needs_held * 2 : 64;
        fill->needs = mem_regrow(fill->needs, fill->needs_held, sizeof *fill->needs);
    }
    fill->needs[fill->need_count++] = one;
}

/* Where the values of the rows are, as far as they need not be read. */
static bool find_values(Fill *fill, uint32_t number, const uint32_t *rows, size_t count, Error *err)
{
    FillColumn *column = &fill->columns[number];
    for (size_t i = 0; i < count; i++) {
        RowBase origin = {INDEX_FILE_BATCH, rows[i]};
        if (column_is_unchanged(column->given, rows[i]))
            origin = column->origins[rows[i]];
        if (origin.file == INDEX_FILE_NONE ||
            (origin.file > INDEX_FILE_MAX && origin.file != INDEX_FILE_BATCH))
            return missing(fill, number, err);
        if (origin.file == INDEX_FILE_BATCH) {
            column->values[i] = column->given;
            column->value_rows[i] = origin.position;
        } else if (!kept_find(&fill->kept, origin.file, origin.position, number, &column->values[i],
                              &column->value_rows[i])) {
            need(fill, (Need){origin.file, number, origin.position, (uint32_t)i});
        }
    }
    return true;
}

/* *ret_too_much: nothing is known; ask for fewer. */
static bool gather(Fill *fill, const uint32_t *rows, size_t count, bool *ret_too_much, Error *err)
{
    *ret_too_much = false;
    fill->need_count = 0;
    for (uint32_t i = 0; i < fill->column_count; i++)
        if (fill->columns[i].now && !find_values(fill, i, rows, count, err))
            return false;
    batch_free(TAKE(fill->picked));
    if (fill->need_count == 0)
        return true;
    fill->picked = batch_new(fill->followed, 0, (uint32_t)count);
    qsort(fill->needs, fill->need_count, sizeof *fill->needs, compare_needs);
    for (size_t from = 0, to; from < fill->need_count && !*ret_too_much; from = to) {
        for (to = from + 1; to < fill->need_count; to++)
            if (fill->needs[to].file != fill->needs[from].file)
                break;
        if (!read_file(fill, from, to, count, ret_too_much, err))
            return false;
    }
    return true;
}

/* Columns as the batch's, but with rows in between left null. */
static void put_together(Fill *fill, const uint32_t *rows, size_t count, const Column **columns)
{
    batch_free(TAKE(fill->filled));
    fill->filled = batch_new(fill->followed, 0, rows[count - 1] + 1);
    for (uint32_t i = 0; i < fill->column_count; i++) {
        FillColumn *from = &fill->columns[i];
        if (!from->now)
            continue;
        Column *to = &fill->filled->columns[i];
        for (size_t k = 0; k < count; k++) {
            while (to->rows < rows[k])
                column_put_null(fill->filled, to);
            column_put_copy(fill->filled, to, from->values[k], from->value_rows[k]);
            fill->count += column_is_unchanged(from->given, rows[k]);
        }
        columns[from->field] = to;
    }
    batch_free(TAKE(fill->picked));
}

bool fill_rows(Fill *fill, const uint32_t *rows, size_t *count, const Column **columns, Error *err)
{
    ASSERT(*count > 0);
    if (fill->piece && *count > fill->piece * 2)
        *count = fill->piece * 2;
    for (bool too_much = true; too_much;) {
        if (!gather(fill, rows, *count, &too_much, err))
            return false;
        if (too_much)
            *count = (*count + 1) / 2;
        if (too_much || fill->piece)
            fill->piece = *count;
    }
    put_together(fill, rows, *count, columns);
    return true;
}

void fill_keep(Fill *fill, uint32_t file, uint32_t first_position, const Column *const *columns,
               const uint32_t *rows, size_t count)
{
    for (uint32_t i = 0; i < fill->column_count; i++)
        fill->kept_columns[i] = columns[fill->columns[i].field];
    for (size_t i = 0; i < count; i++)
        kept_put(&fill->kept, fill->followed, file, first_position + (uint32_t)i,
                 fill->kept_columns, rows[i]);
}

void fill_end(Fill *fill)
{
    batch_free(TAKE(fill->picked));
    batch_free(TAKE(fill->filled));
}

size_t fill_kept(const Fill *fill)
{
    return kept_memory(&fill->kept) + file_readers_memory(&fill->readers);
}

void fill_forget(Fill *fill)
{
    kept_done(&fill->kept);
    file_readers_close(&fill->readers);
}

bool fill_keeps(const Fill *fill)
{
    return fill->column_count > 0;
}

uint64_t fill_count(const Fill *fill)
{
    return fill->count;
}

size_t fill_memory(const Fill *fill)
{
    size_t each = sizeof(RowBase) + sizeof(Column *) + sizeof(uint32_t);
    return fill_kept(fill) + fill->rows_held * (sizeof *fill->bases + fill->column_count * each);
}
