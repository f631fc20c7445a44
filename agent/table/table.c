/* The stream into a table: changes put. commit.c makes them durable. */
#include <string.h>

#include "agent/table/iceberg/turn.h"
#include "agent/table/table_private.h"
#include "common/clock.h"
#include "common/mem.h"

#define HOUR_US INT64_C(3600000000)

bool table_usable(const Table *table, Error *err)
{
    return !table->failed ||
           error_set(err, ERROR_RETRY, "TableFailed",
                     "table %s.%s lost what was pending; open it again and go on from its position",
                     table->name.database, table->name.table);
}

static bool upsert_start(Table *table, bool load, Error *err)
{
    UpsertOptions options = {.store = table->store,
                             .iceberg = table->iceberg,
                             .schema = table->schema,
                             .lineage = table->lineage,
                             .source = table->source,
                             .source_of = table->source_of,
                             .writer = table->writer,
                             .zstd_level = table->spec->zstd_level,
                             .ordering = table->ordering,
                             .seed = table->lanes ? table_seed(table) : 0};
    table->upsert = upsert_new(&options, err);
    if (!table->upsert)
        return false;
    upsert_copying(table->upsert, table->copying);
    if (!load || upsert_load(table->upsert, err))
        return true;
    upsert_free(table->upsert);
    table->upsert = NULL;
    return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
}

bool table_index(Table *table, Error *err)
{
    if (!upsert_start(table, !table->copy_begun, err))
        return false;
    for (size_t i = 0; i < table->piece_count; i++)
        if (!piece_index(table, table->pieces[i], err))
            return false;
    return true;
}

void table_adopt(Table *table, RowPosition passed)
{
    ASSERT(table->pending_rows == 0);
    table->passed = passed;
}

/* The first row the table hasn't seen. Rows come in order: those at or before the table's position
 * stand first. */
static uint32_t first_new(const Table *table, const Batch *batch)
{
    uint32_t row = 0;
    while (row < batch->row_count &&
           row_position_compare(batch->positions[row], table->passed) <= 0)
        row++;
    return row;
}

static bool append_put(Table *table, const Batch *batch, uint32_t from, char op, Error *err)
{
    if (batch->row_count > table->all_rows_held) {
        table->all_rows_held = batch->row_count;
        table->all_rows =
            mem_regrow(table->all_rows, table->all_rows_held, sizeof *table->all_rows);
        for (uint32_t row = 0; row < table->all_rows_held; row++)
            table->all_rows[row] = row;
    }
    const Column *const *columns = column_map_batch(&table->columns, batch, op);
    return data_writer_put(table->writer, columns, table->all_rows + from, batch->row_count - from,
                           false, NULL, NULL, err);
}

int32_t *table_key(const Table *table, size_t *ret_count)
{
    const Schema *schema = table->schema;
    int32_t *origins = mem_array(schema->key_count, sizeof *origins);
    *ret_count = 0;
    for (size_t i = 0; i < schema->key_count; i++) {
        uint32_t from = table->source_of[schema->key[i]];
        if (from < table->source->field_count)
            origins[(*ret_count)++] = table->source->fields[from].origin;
    }
    return origins;
}

bool table_failed(Table *table, Error *err)
{
    bool changed;
    Error why = {0};
    table->failed = true;
    if (!iceberg_table_refresh(table->iceberg, &changed, &why) &&
        strcmp(why.code, "TableDropped") == 0)
        *err = why;
    return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
}

bool table_put(Table *table, const Batch *batch, Error *err)
{
    if (!table_usable(table, err))
        return false;
    ASSERT(batch->column_count == table->source->field_count);
    uint32_t from = first_new(table, batch);
    if (from == batch->row_count)
        return true;
    bool ok;
    if (table->spec->mode == MODE_APPEND) {
        ASSERT(!batch->has_unchanged);
        ok = append_put(table, batch, from, 0, err);
    } else {
        const Column *const *columns = column_map_batch(&table->columns, batch, 0);
        ok = (table->upsert || table_index(table, err)) &&
             upsert_put(table->upsert, batch, columns, from, err);
    }
    if (!ok)
        return table_failed(table, err);
    table->pending_rows += batch->row_count - from;
    table->changes += batch->row_count - from;
    return true;
}

bool table_truncate(Table *table, RowPosition position, Error *err)
{
    if (!table_usable(table, err))
        return false;
    if (row_position_compare(position, table->passed) <= 0)
        return true;
    if (table->spec->mode == MODE_APPEND) {
        AUTO(batch_free) Batch *batch = batch_new(table->source, 0, 1);
        batch_row_begin(batch, ROW_DELETE, position);
        for (uint32_t i = 0; i < batch->column_count; i++)
            column_put_null(batch, &batch->columns[i]);
        if (!append_put(table, batch, 0, 't', err))
            return table_failed(table, err);
    } else {
        /* Nothing needs to be read of what is about to go. */
        if (!table->upsert && !upsert_start(table, false, err))
            return false;
        upsert_truncate(table->upsert);
        pieces_done(table, false);
    }
    table->pending_rows++;
    table->changes++;
    return true;
}

size_t table_buffers(const Table *table)
{
    return data_writer_memory(table->writer);
}

size_t table_kept(const Table *table)
{
    return table->upsert ? upsert_kept(table->upsert) : 0;
}

void table_forget(Table *table)
{
    if (table->upsert)
        upsert_forget(table->upsert);
}

bool table_ease(Table *table, Error *err)
{
    if (!table_usable(table, err))
        return false;
    return data_writer_ease(table->writer, err) || table_failed(table, err);
}

const char *table_asked(const Table *table, const char *what)
{
    AUTO(mem_free) char *name = mem_format("firn.%s.%s", what, table->unit);
    return iceberg_property(table->iceberg, name);
}

void table_set_asked(Table *table, const char *what, const char *value)
{
    free(table->asked_property);
    free(table->asked_value);
    table->asked_property = mem_format("firn.%s.%s", what, table->unit);
    table->asked_value = mem_strdup(value);
}

bool table_sweep_unfinished(Table *table, int64_t before_us, Error *err)
{
    AUTO(mem_free) char *folder = mem_format("%s/", iceberg_location(table->iceberg));
    return store_sweep_unfinished(table->store, folder, before_us, err);
}

/* An error here is none of the commit's: what was known counts. */
void table_see_maintained(Table *table)
{
    Turn turn;
    Error ignored = {0};
    if (!table->spec->orphans_older_than_ms || clock_mono_us() < table->maintained_us)
        return;
    table->maintained_us = clock_mono_us() + clock_asked_us("FIRN_MAINTAIN_MS", HOUR_US);
    AUTO(mem_free)
    char *uri = mem_format("%s/metadata/" TURN_FILE, iceberg_location(table->iceberg));
    if (turn_read(table->store, uri, &turn, &ignored))
        table->orphans_stay = turn.failed[0];
}

void table_figures(const Table *table, TableFigures *ret)
{
    *ret = (TableFigures){.pending_rows = table->pending_rows,
                          .pending_bytes = data_writer_bytes(table->writer),
                          .memory_bytes = data_writer_memory(table->writer),
                          .rows = table->rows,
                          .commits = table->commits,
                          .changes = table->changes,
                          .committed_us = table->committed_us,
                          .thins = iceberg_thins(table->iceberg),
                          .orphans_stay = table->orphans_stay};
    if (table->upsert) {
        ret->memory_bytes += upsert_memory(table->upsert);
        ret->filled = upsert_filled(table->upsert);
    }
}
