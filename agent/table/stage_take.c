/* The other side: what consumers have staged joins the table's pending commit. */
#include <string.h>

#include "agent/table/stage_file.h"
#include "common/mem.h"

#define PIECE_BYTES_MAX ((size_t)1 << 30)
#define LEFT_ROWS 1024u /* at a time */

void staged_join(const Table *table, DataFile **ret, size_t *ret_count)
{
    size_t more = 0;
    for (size_t i = 0; i < table->staged_count; i++)
        more += table->staged[i].count;
    if (!more)
        return;
    *ret = mem_regrow(*ret, *ret_count + more, sizeof **ret);
    for (size_t i = 0; i < table->staged_count; i++) {
        memcpy(*ret + *ret_count, table->staged[i].files, table->staged[i].count * sizeof **ret);
        *ret_count += table->staged[i].count;
    }
}

void staged_done(Table *table, bool committed)
{
    for (size_t i = 0; i < table->staged_count; i++) {
        StagedFiles *staged = &table->staged[i];
        if (committed && !store_delete(table->store, staged->uri, NULL))
            (void)0; /* an orphan nobody refers to */
        for (size_t k = 0; k < staged->count; k++)
            data_file_done(&staged->files[k]);
        free(staged->files);
        free(staged->uri);
    }
    table->staged_count = 0;
}

/* Rows [at, …) of the run that lack values, as many as follow each other. */
static bool put_left(Table *table, Reader *left, uint32_t count, Error *err)
{
    while (count) {
        uint32_t rows = count < LEFT_ROWS ? count : LEFT_ROWS;
        AUTO(batch_free) Batch *batch = batch_new(table->source, 0, rows);
        for (uint32_t i = 0; i < rows; i++)
            if (!stage_row_decode(left, batch, err))
                return false;
        const Column *const *columns = column_map_batch(&table->columns, batch, 0);
        if (!upsert_put(table->upsert, batch, columns, 0, err)) {
            if (err && strcmp(err->code, "BaseRowMissing") == 0) /* nor will it have one later */
                err->kind = ERROR_CONFIG;
            return false;
        }
        count -= rows;
    }
    return true;
}

static bool take_keys(Table *table, const StageFile *file, uint32_t first_file, Error *err)
{
    Reader left = reader_over(file->left, file->left_bytes);
    for (uint64_t at = 0, end; at < file->key_count; at = end) {
        bool lacks = file->in_file[at] == STAGE_LEFT;
        for (end = at + 1; end < file->key_count; end++)
            if ((file->in_file[end] == STAGE_LEFT) != lacks)
                break;
        if (lacks) {
            if (!put_left(table, &left, (uint32_t)(end - at), err))
                return false;
            continue;
        }
        const UpsertRun run = {.first = file->first + at,
                               .second = file->second ? file->second + at : NULL,
                               .files = file->in_file + at,
                               .positions = file->positions + at,
                               .count = (size_t)(end - at)};
        if (!upsert_run(table->upsert, &run, first_file, err))
            return false;
    }
    return true;
}

static bool outdated(const char *name, const char *why, Error *err)
{
    return error_set(err, ERROR_CONFLICT, "PieceOutdated", "piece %s %s", name, why);
}

static bool take(Table *table, const char *name, StageFile *file, Error *err)
{
    bool upserts = table->spec->mode == MODE_UPSERT;
    if (file->columns != stage_columns(table) || file->seed != (upserts ? table_seed(table) : 0))
        return outdated(name, "was staged for other columns than the table has", err);
    if (upserts && !table->upsert && !table_index(table, err))
        return false;
    if (upserts && file->wide != upsert_is_wide(table->upsert))
        return outdated(name, "was staged for another key than the table has", err);
    table->staged = mem_regrow(table->staged, table->staged_count + 1, sizeof *table->staged);
    StagedFiles *staged = &table->staged[table->staged_count++];
    *staged = (StagedFiles){
        .uri = stage_uri(table, name), .files = file->files, .count = file->file_count};
    file->files = NULL;
    file->file_count = 0;
    if (!upserts) {
        for (size_t i = 0; i < staged->count; i++)
            table->pending_rows += staged->files[i].record_count;
        return true;
    }
    uint32_t first = upsert_join(table->upsert, staged->files, staged->count);
    table->pending_rows += file->key_count;
    return take_keys(table, file, first, err);
}

bool table_take_staged(Table *table, const char *name, Error *err)
{
    StageFile file;
    Error why = {0};
    Bytes object = {0};
    AUTO(mem_free) char *uri = stage_uri(table, name);
    ASSERT(table->lanes && !table->pending.ready);
    if (!table_usable(table, err))
        return false;
    bool ok = store_get(table->store, uri, PIECE_BYTES_MAX, &object, &why);
    if (!ok && strcmp(why.code, "ObjectMissing") == 0) {
        outdated(name, "is gone", err);
    } else if (!ok) {
        *err = why;
        error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    } else {
        uint64_t before = table->pending_rows;
        ok =
            stage_file_decode(&object, table->iceberg, &file, err) && take(table, name, &file, err);
        stage_file_done(&file);
        table->changes += table->pending_rows - before;
        if (!ok)
            table_failed(table, err);
    }
    bytes_done(&object);
    return ok;
}
