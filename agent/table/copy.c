/* The initial copy, in pieces: writers side by side, each with data files of its own, beside the
 * thread that puts the stream's rows and commits. A piece becomes the table's with a commit, or its
 * files are deleted.
 *
 * The rows of one snapshot have every key once, so that nothing needs to be looked up while they
 * are alone in the table. When the stream's rows come to them, or rows of an earlier snapshot are
 * there, the index says which keys are known, and the pieces' rows give way (upsert_take). */
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

TableCopy *table_copy_start(Table *table)
{
    TableCopy *copy = mem_zalloc(sizeof *copy);
    copy->table = table;
    pthread_mutex_init(&copy->lock, NULL);
    return copy;
}

void table_copy_free(TableCopy *copy)
{
    if (!copy)
        return;
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
    writer->writer = table_writer_new(copy->table, NULL, copy->table->memory_bytes_max);
    column_map_init(&writer->columns, copy->table->schema, copy->table->source_of);
    pthread_mutex_lock(&copy->lock);
    copy->writers_open++;
    pthread_mutex_unlock(&copy->lock);
    copy->table->copy_writers++;
    return writer;
}

static void writer_leave(TableCopyWriter *writer, bool finished)
{
    TableCopy *copy = writer->copy;
    pthread_mutex_lock(&copy->lock);
    copy->writers_open--;
    copy->table->copy_writers--;
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
    data_writer_limit(writer->writer, table->memory_bytes_max / table->copy_writers);
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

uint64_t table_copy_bytes(const TableCopyWriter *writer)
{
    return data_writer_bytes(writer->writer);
}

/* ---------- the table's thread ---------- */
static void set_text(char **to, const char *text)
{
    free(*to);
    *to = text ? mem_strdup(text) : NULL;
}

void table_copy_begin(Table *table, RowPosition at)
{
    ASSERT(!table->pending_rows && !table->piece_count && !table->pending.ready);
    upsert_free(TAKE(table->upsert));
    table->copy_begun = table->copying = true;
    table->copy_alone = true;
    table->passed = at;
}

const char *table_copy_progress(const Table *table)
{
    return table->copy_progress;
}

void table_copy_set_progress(Table *table, const char *progress)
{
    set_text(&table->copy_next, progress);
}

bool table_copy_take(Table *table, TableCopy *copy, Error *err)
{
    ASSERT(copy->table == table && copy->writers_open == 0 && !table->pending.ready);
    table->pieces = mem_regrow(table->pieces, table->piece_count + 1, sizeof *table->pieces);
    table->pieces[table->piece_count++] = copy;
    if (!table_usable(table, err))
        return false;
    if (table->spec->mode != MODE_UPSERT || (!table->upsert && table->copy_alone))
        return true;
    bool ok = table->upsert ? piece_index(table, copy, err) : table_index(table, err);
    return ok || table_failed(table, err);
}

bool piece_index(Table *table, TableCopy *copy, Error *err)
{
    for (size_t i = 0; i < copy->finished_count; i++) {
        DataFile *files;
        size_t count;
        if (!data_writer_finish(copy->finished[i], &files, &count, err) ||
            !upsert_take(table->upsert, files, count, err))
            return error_wrap(err, "copy of table %s.%s", table->name.database, table->name.table);
    }
    return true;
}

static bool gather(DataWriter *writer, DataFile **to, size_t *count, Error *err)
{
    DataFile *files;
    size_t more;
    if (!data_writer_finish(writer, &files, &more, err))
        return false;
    *to = mem_regrow(*to, *count + more + 1, sizeof **to);
    if (more)
        memcpy(*to + *count, files, more * sizeof *files);
    *count += more;
    return true;
}

bool pieces_join(Table *table, DataFile **ret, size_t *ret_count, Error *err)
{
    AUTO(mem_free) DataFile *all = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < table->piece_count; i++)
        for (size_t k = 0; k < table->pieces[i]->finished_count; k++)
            if (!gather(table->pieces[i]->finished[k], &all, ret_count, err))
                return false;
    if (!gather(table->writer, &all, ret_count, err))
        return false;
    *ret = TAKE(all);
    return true;
}

void pieces_done(Table *table, bool files_stay)
{
    for (size_t i = 0; i < table->piece_count; i++) {
        TableCopy *copy = table->pieces[i];
        for (size_t k = 0; files_stay && k < copy->finished_count; k++)
            data_writer_forget(copy->finished[k]);
        table_copy_free(copy);
    }
    table->piece_count = 0;
}
