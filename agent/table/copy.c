/* The initial copy: writers side by side, each with data files of its own; no index, since a copy
 * has every key once. Files become the table's in one commit, or are deleted. */
#include "agent/table/table_private.h"
#include "common/crash.h"
#include "common/mem.h"

struct TableCopy {
    Table *table;
    pthread_mutex_t lock;
    size_t writers_open;
    DataWriter **finished; /* holding the files to commit */
    size_t finished_count, finished_held;
};

struct TableCopyWriter {
    TableCopy *copy;
    DataWriter *writer; /* NULL: finished */
    ColumnMap columns;
    uint32_t *all_rows;
    uint32_t all_rows_held;
};

TableCopy *table_copy_start(Table *table, Error *err)
{
    if (table->pending_rows) {
        error_set(err, ERROR_FATAL, "CopyOfPending",
                  "table %s.%s: a copy can't start while %llu changes are pending",
                  table->name.database, table->name.table, (unsigned long long)table->pending_rows);
        return NULL;
    }
    TableCopy *copy = mem_zalloc(sizeof *copy);
    copy->table = table;
    pthread_mutex_init(&copy->lock, NULL);
    return copy;
}

void table_copy_free(TableCopy *copy)
{
    if (!copy)
        return;
    if (copy->table->pending.copy == copy && copy->table->pending.unknown)
        table_abandon(copy->table, false); /* its files may be the table's */
    for (size_t i = 0; i < copy->finished_count; i++)
        data_writer_free(copy->finished[i]);
    free(copy->finished);
    pthread_mutex_destroy(&copy->lock);
    free(copy);
}

TableCopyWriter *table_copy_writer_open(TableCopy *copy, Error *err)
{
    (void)err;
    TableCopyWriter *writer = mem_zalloc(sizeof *writer);
    writer->copy = copy;
    writer->writer = table_writer_new(copy->table, copy->table->memory_bytes_max);
    column_map_init(&writer->columns, copy->table->schema, copy->table->source_of);
    pthread_mutex_lock(&copy->lock);
    copy->writers_open++;
    pthread_mutex_unlock(&copy->lock);
    return writer;
}

static void writer_leave(TableCopyWriter *writer, bool finished)
{
    TableCopy *copy = writer->copy;
    pthread_mutex_lock(&copy->lock);
    copy->writers_open--;
    if (finished) {
        if (copy->finished_count == copy->finished_held) {
            copy->finished_held = copy->finished_held ? copy->finished_held * 2 : 8;
            copy->finished = mem_regrow(copy->finished, copy->finished_held, sizeof(DataWriter *));
        }
        copy->finished[copy->finished_count++] = TAKE(writer->writer);
    }
    pthread_mutex_unlock(&copy->lock);
}

void table_copy_writer_free(TableCopyWriter *writer)
{
    if (!writer)
        return;
    if (writer->writer) {
        writer_leave(writer, false);
        data_writer_free(writer->writer);
    }
    column_map_done(&writer->columns);
    free(writer->all_rows);
    free(writer);
}

bool table_copy_put(TableCopyWriter *writer, const Batch *batch, Error *err)
{
    TableCopy *copy = writer->copy;
    Table *table = copy->table;
    ASSERT(batch->column_count == table->source->field_count);
    if (batch->row_count > writer->all_rows_held) {
        writer->all_rows_held = batch->row_count;
        writer->all_rows =
            mem_regrow(writer->all_rows, writer->all_rows_held, sizeof *writer->all_rows);
        for (uint32_t row = 0; row < batch->row_count; row++)
            writer->all_rows[row] = row;
    }
    /* The writers share what the table may hold. */
    pthread_mutex_lock(&copy->lock);
    data_writer_limit(writer->writer, table->memory_bytes_max / copy->writers_open);
    pthread_mutex_unlock(&copy->lock);
    const Column *const *columns = column_map_batch(&writer->columns, batch, 0);
    if (!data_writer_put(writer->writer, columns, writer->all_rows, batch->row_count, false, NULL,
                         NULL, err))
        return error_wrap(err, "copy of table %s.%s", table->name.database, table->name.table);
    table->changes += batch->row_count;
    return true;
}

bool table_copy_finish(TableCopyWriter *writer, Error *err)
{
    DataFile *files;
    size_t count;
    const Table *table = writer->copy->table;
    if (!data_writer_finish(writer->writer, &files, &count, err))
        return error_wrap(err, "copy of table %s.%s", table->name.database, table->name.table);
    writer_leave(writer, true);
    return true;
}

bool copy_gather(TableCopy *copy, DataFile **ret, size_t *ret_count, Error *err)
{
    *ret = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < copy->finished_count; i++) {
        DataFile *files;
        size_t count;
        if (!data_writer_finish(copy->finished[i], &files, &count, err)) {
            free(*ret);
            return false;
        }
        *ret = mem_regrow(*ret, *ret_count + count + 1, sizeof **ret);
        memcpy(*ret + *ret_count, files, count * sizeof *files);
        *ret_count += count;
    }
    return true;
}

void copy_forget(TableCopy *copy)
{
    for (size_t i = 0; i < copy->finished_count; i++)
        data_writer_forget(copy->finished[i]);
}

bool table_copy_close(TableCopy *copy, Error *err)
{
    Table *table = copy->table;
    TablePending *pending = &table->pending;
    ASSERT(copy->writers_open == 0 && !pending->ready);
    size_t count;
    if (!copy_gather(copy, &pending->copied, &count, err))
        return error_wrap(err, "copy of table %s.%s", table->name.database, table->name.table);
    /* An index of what was there before is void. */
    upsert_free(table->upsert);
    table->upsert = NULL;
    pending->copy = copy;
    pending->ready = true;
    pending->commit = (IcebergCommit){.added = pending->copied, .added_count = count};
    CRASH_POINT("copy-before-commit");
    return true;
}
