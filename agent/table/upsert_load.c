/* The index from the table: key columns (and _row_id in v3) of every live row; and, the same way,
 * from files that join it. */
#include "agent/table/upsert_private.h"

#include <string.h>

#include "common/mem.h"

typedef struct KeyFile {
    Upsert *upsert;
    const Schema *wanted; /* key columns, then _row_id in v3 */
    uint32_t number;
    uint32_t *rows; /* per key of the batch at hand: its row */
    uint32_t *slots;
    uint32_t rows_held;
    bool joins; /* its rows give way to what is known */
} KeyFile;

static bool collect(const DataFile *file, void *context, Error *err)
{
    Upsert *upsert = context;
    if (file->content != FILE_DATA)
        return true;
    if (file->format != FORMAT_PARQUET)
        return error_set(err, ERROR_CONFIG, "ForeignFormat",
                         "data file %s is not Parquet; rewrite the table with another engine, or "
                         "drop it to copy it again",
                         file->path);
    if (file->record_count >= UINT32_MAX)
        return error_set(err, ERROR_CONFIG, "FileTooLarge",
                         "data file %s has %llu rows; rewrite it into files below 4,294,967,295 "
                         "rows",
                         file->path, (unsigned long long)file->record_count);
    live_files_extend(&upsert->files, upsert->files.count + 1);
    data_file_copy_brief(&upsert->files.items[upsert->files.count - 1].info, file);
    return true;
}

static Schema *wanted_schema(const Upsert *upsert)
{
    const Schema *table = upsert->options.schema;
    Schema *wanted = schema_new(table->key_count + upsert->lineage, table->key_count);
    for (size_t i = 0; i < table->key_count; i++) {
        field_copy(&wanted->fields[i], &table->fields[table->key[i]]);
        wanted->key[i] = (uint32_t)i;
    }
    if (upsert->lineage)
        field_copy(&wanted->fields[table->key_count],
                   &upsert->options.lineage->fields[table->field_count]);
    return wanted;
}

/* Takes the keys of deleted rows out of the batch's, and notes the row of each that is left. */
static void drop_deleted(KeyFile *file, const roaring_bitmap_t *deleted, uint32_t first_row,
                         IndexKeys *keys)
{
    uint64_t *first = file->upsert->hasher.first, *second = file->upsert->hasher.second;
    size_t left = 0;
    roaring_uint32_iterator_t next = {0};
    if (deleted) {
        roaring_init_iterator(deleted, &next);
        roaring_move_uint32_iterator_equalorlarger(&next, first_row);
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        if (next.has_value && next.current_value == first_row + i) {
            roaring_advance_uint32_iterator(&next);
            continue;
        }
        first[left] = first[i];
        if (keys->second)
            second[left] = second[i];
        file->rows[left++] = i;
    }
    keys->count = left;
}

static bool add_batch(KeyFile *file, const Batch *batch, uint32_t first_row, Error *err)
{
    Upsert *upsert = file->upsert;
    KeyIndex *index = upsert->index;
    const LiveFile *live = &upsert->files.items[file->number];
    if (!file->rows || batch->row_count > file->rows_held) {
        file->rows_held = batch->row_count;
        file->rows = mem_regrow(file->rows, file->rows_held, sizeof *file->rows);
        file->slots = mem_regrow(file->slots, file->rows_held, sizeof *file->slots);
    }
    IndexKeys keys;
    if (!key_hasher_batch(&upsert->hasher, batch, 0, &keys, err))
        return error_wrap(err, "data file %s", live->info.path);
    drop_deleted(file, file->joins ? NULL : live->deleted, first_row, &keys);
    key_index_reserve(index, keys.count);
    key_index_locate(index, &keys, file->slots);
    const Column *row_ids = upsert->lineage ? &batch->columns[batch->column_count - 1] : NULL;
    for (size_t i = 0; i < keys.count; i++) {
        IndexEntry *entry = key_index_entry(index, file->slots[i]);
        if (file->joins && entry->file != INDEX_FILE_ABSENT) {
            live_files_delete(&upsert->files, file->number, first_row + file->rows[i]);
            continue;
        }
        if (index_entry_has_row(entry))
            return error_set(err, ERROR_CONFIG, "DuplicateKey",
                             "a key stands twice in the table: row %u of %s and row %u of %s; "
                             "delete one with another engine, or drop the table to copy it again",
                             entry->position, upsert->files.items[entry->file].info.path,
                             first_row + file->rows[i], live->info.path);
        key_index_set(index, entry, file->number, first_row + file->rows[i]);
        if (row_ids)
            key_index_set_row_id(index, entry,
                                 column_is_null(row_ids, file->rows[i])
                                     ? INDEX_ROW_ID_NONE
                                     : column_i64(row_ids, file->rows[i]));
    }
    return true;
}

static bool add_file(KeyFile *file, Error *err)
{
    Upsert *upsert = file->upsert;
    const DataFile *info = &upsert->files.items[file->number].info;
    StoreReader *object = store_reader_open(upsert->options.store, info->path, err);
    if (!object)
        return error_wrap(err, "data file %s", info->path);
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(object, file->wanted, err);
    if (!reader)
        return error_wrap(err, "data file %s", info->path);
    if (parquet_reader_rows(reader) != info->record_count)
        return error_set(err, ERROR_DATA, "BadFile",
                         "data file %s has %llu rows, the manifest says %llu", info->path,
                         (unsigned long long)parquet_reader_rows(reader),
                         (unsigned long long)info->record_count);
    uint64_t row = 0;
    for (;;) {
        AUTO(batch_free) Batch *batch = NULL;
        if (!parquet_reader_next(reader, &batch, err))
            return error_wrap(err, "data file %s", info->path);
        if (!batch)
            return true;
        if (!add_batch(file, batch, (uint32_t)row, err))
            return false;
        row += batch->row_count;
    }
}

/* Reads the files numbered [from, count). */
static bool add_files(KeyFile *file, uint32_t from, Error *err)
{
    Upsert *upsert = file->upsert;
    LiveFiles *files = &upsert->files;
    AUTO(schema_free) Schema *wanted = wanted_schema(upsert);
    AUTO(mem_free) uint32_t *source_columns = mem_array(wanted->key_count, sizeof(uint32_t));
    memcpy(source_columns, upsert->hasher.columns, wanted->key_count * sizeof(uint32_t));
    key_hasher_move(&upsert->hasher, wanted, wanted->key);
    file->wanted = wanted;
    bool ok = true;
    for (uint32_t i = from; i < files->count && ok; i++) {
        file->number = i;
        ok = add_file(file, err);
        LiveFile *live = &files->items[i];
        /* v2 writes only new deletes; what older files name need not be kept. */
        if (!upsert->lineage && live->deleted && !file->joins) {
            roaring_bitmap_free(live->deleted);
            live->deleted = NULL;
        }
    }
    free(file->rows);
    free(file->slots);
    key_hasher_move(&upsert->hasher, upsert->options.source, source_columns);
    return ok;
}

uint32_t upsert_join(Upsert *upsert, const DataFile *given, size_t count)
{
    LiveFiles *files = &upsert->files;
    uint32_t first = files->count;
    ASSERT(first + count <= INDEX_FILE_MAX);
    if (count == 0)
        return first;
    upsert->taken = mem_regrow(upsert->taken, upsert->taken_count + count, sizeof *upsert->taken);
    live_files_extend(files, first + (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        uint32_t number = first + (uint32_t)i;
        ASSERT(given[i].record_count < UINT32_MAX);
        data_file_copy_brief(&files->items[number].info, &given[i]);
        upsert->taken[upsert->taken_count++] = (TakenFile){number, &given[i]};
    }
    return first;
}

bool upsert_take(Upsert *upsert, const DataFile *given, size_t count, Error *err)
{
    uint32_t first = upsert_join(upsert, given, count);
    if (count == 0)
        return true;
    KeyFile file = {.upsert = upsert, .joins = true};
    return add_files(&file, first, err);
}

bool upsert_load(Upsert *upsert, Error *err)
{
    const UpsertOptions *options = &upsert->options;
    LiveFiles *files = &upsert->files;
    if (!iceberg_each_file(options->iceberg, collect, upsert, err) ||
        !deletes_load(options->iceberg, options->store, files, err))
        return false;
    uint64_t rows = 0;
    for (uint32_t i = 1; i < files->count; i++)
        rows += files->items[i].info.record_count - files->items[i].deleted_count;
    key_index_reserve(upsert->index, rows);
    KeyFile file = {.upsert = upsert};
    bool ok = add_files(&file, 1, err);
    upsert_none_pending(upsert);
    return ok;
}
