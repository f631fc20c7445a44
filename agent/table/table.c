/* The stream into a table: changes put, one snapshot per commit. */
#include <string.h>

#include "agent/table/table_private.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

static bool usable(const Table *table, Error *err)
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
                             .zstd_level = table->spec->zstd_level};
    table->upsert = upsert_new(&options, err);
    if (!table->upsert)
        return false;
    if (!load || upsert_load(table->upsert, err))
        return true;
    upsert_free(table->upsert);
    table->upsert = NULL;
    return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
}

/* The first row the table hasn't seen. Rows come in order: those at or before the table's position
 * stand first. */
static uint32_t first_new(const Table *table, const Batch *batch)
{
    uint32_t row = 0;
    if (table->complete)
        while (row < batch->row_count &&
               row_position_compare(batch->positions[row], table->position.at) <= 0)
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

/* Whatever failed: if the table was dropped under us, then that is why. */
static bool failed(Table *table, Error *err)
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
    if (!usable(table, err))
        return false;
    ASSERT(batch->column_count == table->source->field_count);
    uint32_t from = first_new(table, batch);
    if (from == batch->row_count)
        return true;
    bool ok;
    if (table->spec->mode == MODE_APPEND) {
        ok = append_put(table, batch, from, 0, err);
    } else {
        const Column *const *columns = column_map_batch(&table->columns, batch, 0);
        ok = (table->upsert || upsert_start(table, true, err)) &&
             upsert_put(table->upsert, batch, columns, from, err);
    }
    if (!ok)
        return failed(table, err);
    table->pending_rows += batch->row_count - from;
    table->changes += batch->row_count - from;
    return true;
}

bool table_truncate(Table *table, RowPosition position, Error *err)
{
    if (!usable(table, err))
        return false;
    if (table->complete && row_position_compare(position, table->position.at) <= 0)
        return true;
    if (table->spec->mode == MODE_APPEND) {
        AUTO(batch_free) Batch *batch = batch_new(table->source, 0, 1);
        batch_row_begin(batch, ROW_DELETE, position);
        for (uint32_t i = 0; i < batch->column_count; i++)
            column_put_null(batch, &batch->columns[i]);
        if (!append_put(table, batch, 0, 't', err))
            return failed(table, err);
    } else {
        /* Nothing needs to be read of what is about to go. */
        if (!table->upsert && !upsert_start(table, false, err))
            return false;
        upsert_truncate(table->upsert);
    }
    table->pending_rows++;
    table->changes++;
    return true;
}

void table_figures(const Table *table, TableFigures *ret)
{
    *ret = (TableFigures){.pending_rows = table->pending_rows,
                          .pending_bytes = data_writer_bytes(table->writer),
                          .memory_bytes = data_writer_memory(table->writer),
                          .rows = table->rows,
                          .commits = table->commits,
                          .changes = table->changes,
                          .committed_us = table->committed_us};
    if (table->upsert)
        ret->memory_bytes += upsert_memory(table->upsert);
}

/* ---------- committing ---------- */
/* What a refused commit means: a foreign commit, or the table is gone. */
static bool explain_conflict(Table *table, Error *err)
{
    bool changed;
    Error why = {0};
    if (!iceberg_table_refresh(table->iceberg, &changed, &why)) {
        *err = why;
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    }
    return error_set(err, ERROR_CONFLICT, "ForeignCommit",
                     "table %s.%s was committed to by somebody else (its head is now %lld); what "
                     "was pending is thrown away and comes again from the table's position",
                     table->name.database, table->name.table,
                     (long long)iceberg_current_snapshot(table->iceberg));
}

bool table_commit_files(Table *table, IcebergCommit *commit, const Position *position,
                        bool *ret_unknown, Error *err)
{
    char text[POSITION_TEXT_BYTES];
    position_format(position, text);
    AUTO(mem_free) char *with_snapshot = mem_format("%s %%SNAPSHOT%%", text);
    const char *summary[] = {table->property, text};
    const char *properties[] = {table->property, with_snapshot};
    commit->summary = summary;
    commit->summary_count = 1;
    commit->properties = properties;
    commit->property_count = 1;
    *ret_unknown = false;
    int64_t snapshot;
    if (!iceberg_commit(table->iceberg, commit, &snapshot, err)) {
        *ret_unknown = err->kind == ERROR_RETRY;
        if (err->kind == ERROR_CONFLICT)
            return explain_conflict(table, err);
        return failed(table, err);
    }
    table->snapshot = snapshot;
    table->position = *position;
    table->complete = true;
    table->rows = table->upsert ? upsert_rows(table->upsert) : table_rows_of_head(table);
    table->commits++;
    table->committed_us = clock_wall_us();
    return true;
}

static void delete_objects(const Table *table, const char *const *uris, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!store_delete(table->store, uris[i], NULL))
            continue; /* an orphan nobody refers to */
}

/* Everything pending, durable in files. */
static bool write_pending(Table *table, UpsertPending *pending, IcebergCommit *ret, Error *err)
{
    *ret = (IcebergCommit){0};
    bool ok = table->upsert
                  ? upsert_finish(table->upsert, pending, err)
                  : data_writer_finish(table->writer, &ret->added, &ret->added_count, err);
    if (!ok)
        return failed(table, err);
    if (table->upsert)
        *ret = (IcebergCommit){.added = pending->added,
                               .added_count = pending->added_count,
                               .removed = pending->removed,
                               .removed_count = pending->removed_count,
                               .remove_all = pending->remove_all};
    return true;
}

bool table_commit(Table *table, const Position *position, Error *err)
{
    if (!usable(table, err))
        return false;
    if (table->pending_rows == 0)
        return true;
    bool unknown = false;
    UpsertPending pending = {0};
    IcebergCommit commit;
    bool ok = write_pending(table, &pending, &commit, err);
    if (ok) {
        CRASH_POINT("commit-files-written");
        ok = table_commit_files(table, &commit, position, &unknown, err);
    }
    if (ok) {
        CRASH_POINT("commit-done");
        table->pending_rows = 0;
        delete_objects(table, pending.dead, pending.dead_count);
        if (table->upsert)
            upsert_committed(table->upsert, &pending);
    }
    if (ok || unknown) {
        /* Not ours to delete: the table's, or perhaps so. */
        data_writer_forget(table->writer);
    } else {
        for (size_t i = 0; i < pending.deletes.count; i++)
            delete_objects(table, (const char *const *)&pending.deletes.files[i].path, 1);
        data_writer_discard(table->writer);
    }
    upsert_pending_done(&pending);
    table->failed |= !ok;
    return ok;
}
