/* A consumer's side of a group: a piece's rows into data files, and per row what became of its key.
 * In a batch only the version of a key that counts is written, unless an update left values out:
 * then what it left out may stand in a row before it. */
#include <string.h>

#include "agent/table/order.h"
#include "agent/table/stage_file.h"
#include "common/crash.h"
#include "common/mem.h"

struct TableStage {
    Table *table;
    char *name;
    bool upsert;
    bool finished;
    DataWriter *writer;
    ColumnMap columns;
    KeyHasher hasher;
    int ordering; /* the batches' column that says which version is newer; -1: the later one is */
    Bytes first, second, in_file, positions; /* of all keys so far */
    Bytes left;
    uint64_t left_count;
    /* of the batch at hand, by its rows */
    uint32_t *selection, *row_file, *row_position;
    uint32_t rows_held;
    uint32_t *newest; /* a hash table of keys: row + 1 of the version that counts, 0: free */
    uint32_t newest_held;
};

void table_stage_free(TableStage *stage)
{
    if (!stage)
        return;
    data_writer_free(stage->writer);
    free(stage->name);
    column_map_done(&stage->columns);
    if (stage->upsert)
        key_hasher_done(&stage->hasher);
    bytes_done(&stage->first);
    bytes_done(&stage->second);
    bytes_done(&stage->in_file);
    bytes_done(&stage->positions);
    bytes_done(&stage->left);
    free(stage->selection);
    free(stage->row_file);
    free(stage->row_position);
    free(stage->newest);
    free(stage);
}

TableStage *table_stage_new(Table *table, const char *name, Error *err)
{
    const Schema *schema = table->schema;
    ASSERT(table->lanes);
    TableStage *stage = mem_zalloc(sizeof *stage);
    stage->table = table;
    stage->name = mem_strdup(name);
    stage->writer = table_writer_new(table, stage->name, table->memory_bytes_max);
    column_map_init(&stage->columns, schema, table->source_of);
    if (table->spec->mode != MODE_UPSERT)
        return stage;
    AUTO(mem_free) uint32_t *columns = mem_array(schema->key_count, sizeof *columns);
    for (size_t i = 0; i < schema->key_count; i++)
        columns[i] = table->source_of[schema->key[i]];
    if (!key_hasher_init(&stage->hasher, table->source, columns, schema->key_count, err)) {
        key_hasher_done(&stage->hasher);
        table_stage_free(stage);
        return NULL;
    }
    stage->upsert = true;
    stage->ordering = table->ordering ? schema_find(table->source, table->ordering) : -1;
    key_hasher_seed(&stage->hasher, table_seed(table));
    return stage;
}

static void reserve(TableStage *stage, uint32_t rows)
{
    if (rows <= stage->rows_held)
        return;
    stage->rows_held = rows;
    stage->selection = mem_regrow(stage->selection, rows, sizeof *stage->selection);
    stage->row_file = mem_regrow(stage->row_file, rows, sizeof *stage->row_file);
    stage->row_position = mem_regrow(stage->row_position, rows, sizeof *stage->row_position);
    uint32_t slots = 64;
    while (slots < 2 * rows)
        slots *= 2;
    stage->newest_held = slots;
    stage->newest = mem_regrow(stage->newest, slots, sizeof *stage->newest);
}

static void placed(void *context, uint32_t file, uint32_t first_position, const uint32_t *rows,
                   size_t count)
{
    TableStage *stage = context;
    for (size_t i = 0; i < count; i++) {
        stage->row_file[rows[i]] = file;
        stage->row_position[rows[i]] = first_position + (uint32_t)i;
    }
}

/* The place of the row's key in the hash table. */
static uint32_t *newest_of(TableStage *stage, const IndexKeys *keys, uint32_t row)
{
    uint32_t mask = stage->newest_held - 1;
    uint32_t slot = (uint32_t)(keys->first[row] >> 32 ^ keys->first[row]) & mask;
    for (; stage->newest[slot]; slot = (slot + 1) & mask) {
        uint32_t other = stage->newest[slot] - 1;
        if (keys->first[other] == keys->first[row] &&
            (!keys->second || keys->second[other] == keys->second[row]))
            break;
    }
    return &stage->newest[slot];
}

static bool lacks_values(const Batch *batch, uint32_t row)
{
    for (uint32_t i = 0; batch->has_unchanged && i < batch->column_count; i++)
        if (column_is_unchanged(&batch->columns[i], row))
            return true;
    return false;
}

#define ROW_PASSED (UINT32_MAX - 2) /* another row of the batch counts for its key */

/* Of rows of one key only the one that counts need be told of: the later one; or, by the order, the
 * greater. A deletion stays with the row behind it then: that counts against nothing older. */
static void pass_rows(TableStage *stage, const Batch *batch, const IndexKeys *keys)
{
    const Column *by = stage->ordering < 0 ? NULL : &batch->columns[stage->ordering];
    memset(stage->newest, 0, stage->newest_held * sizeof *stage->newest);
    for (uint32_t row = 0; row < batch->row_count; row++) {
        uint32_t *newest = newest_of(stage, keys, row), before = *newest - 1;
        bool first = !*newest, deletes = batch->ops[row] == ROW_DELETE;
        bool after_deletion = !first && batch->ops[before] == ROW_DELETE;
        if (by && !first && !deletes && !after_deletion && order_before(by, row, by, before)) {
            stage->row_file[row] = ROW_PASSED;
            continue;
        }
        if (!first && (!by || deletes || !after_deletion))
            stage->row_file[before] = ROW_PASSED;
        *newest = row + 1;
    }
}

/* row_file says for each row what becomes of it; returns how many are to be written. */
static uint32_t sort_rows(TableStage *stage, const Batch *batch, const IndexKeys *keys)
{
    uint32_t count = 0;
    ASSERT(keys->first && keys->count == batch->row_count);
    memset(stage->row_file, 0, batch->row_count * sizeof *stage->row_file);
    if (!batch->has_unchanged)
        pass_rows(stage, batch, keys);
    for (uint32_t row = 0; row < batch->row_count; row++) {
        uint32_t *to = &stage->row_file[row];
        if (*to == ROW_PASSED)
            continue;
        if (batch->ops[row] == ROW_DELETE)
            *to = RUN_DELETED;
        else if (lacks_values(batch, row))
            *to = STAGE_LEFT;
        else
            stage->selection[count++] = row;
    }
    return count;
}

static void note_keys(TableStage *stage, const Batch *batch, const IndexKeys *keys)
{
    for (uint32_t row = 0; row < batch->row_count; row++) {
        uint32_t file = stage->row_file[row];
        if (file == ROW_PASSED)
            continue;
        bytes_put_u64(&stage->first, keys->first[row]);
        if (keys->second)
            bytes_put_u64(&stage->second, keys->second[row]);
        bytes_put_u32(&stage->in_file, file);
        bytes_put_u32(&stage->positions, file < STAGE_LEFT ? stage->row_position[row] : 0);
        if (file != STAGE_LEFT)
            continue;
        stage_row_encode(batch, row, &stage->left);
        stage->left_count++;
    }
}

bool table_stage_put(TableStage *stage, const Batch *batch, Error *err)
{
    Table *table = stage->table;
    IndexKeys keys;
    uint32_t count = batch->row_count;
    ASSERT(batch->column_count == table->source->field_count && !stage->finished);
    if (!count)
        return true;
    reserve(stage, count);
    if (stage->upsert) {
        if (!key_hasher_batch(&stage->hasher, batch, 0, &keys, err))
            return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
        count = sort_rows(stage, batch, &keys);
    } else {
        for (uint32_t row = 0; row < count; row++)
            stage->selection[row] = row;
    }
    const Column *const *columns = column_map_batch(&stage->columns, batch, 0);
    if (!data_writer_put(stage->writer, columns, stage->selection, count, false,
                         stage->upsert ? placed : NULL, stage, err))
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    if (stage->upsert)
        note_keys(stage, batch, &keys);
    return true;
}

size_t table_stage_memory(const TableStage *stage)
{
    return data_writer_memory(stage->writer) + stage->first.held + stage->second.held +
           stage->in_file.held + stage->positions.held + stage->left.held;
}

bool table_stage_ease(TableStage *stage, Error *err)
{
    return data_writer_ease(stage->writer, err);
}

bool table_stage_finish(TableStage *stage, Error *err)
{
    const Table *table = stage->table;
    DataFile *files;
    size_t count;
    if (!data_writer_finish(stage->writer, &files, &count, err))
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    CRASH_POINT("stage-files-written");
    const StageFile file = {.columns = stage_columns(table),
                            .seed = stage->upsert ? table_seed(table) : 0,
                            .wide = stage->upsert && stage->hasher.wide,
                            .files = files,
                            .file_count = (uint32_t)count,
                            .first = (uint64_t *)(void *)stage->first.data,
                            .second = (uint64_t *)(void *)stage->second.data,
                            .in_file = (uint32_t *)(void *)stage->in_file.data,
                            .positions = (uint32_t *)(void *)stage->positions.data,
                            .key_count = stage->first.used / sizeof(uint64_t),
                            .left_count = stage->left_count,
                            .left = stage->left.data,
                            .left_bytes = stage->left.used};
    Bytes object = {0};
    stage_file_encode(&file, &object);
    AUTO(mem_free) char *uri = stage_uri(table, stage->name);
    bool ok = store_put(table->store, uri, object.data, object.used, err);
    bytes_done(&object);
    if (!ok)
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    stage->finished = true;
    data_writer_forget(stage->writer);
    return true;
}
