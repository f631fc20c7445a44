#include "agent/table/deletes.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define DELETE_BATCH_ROWS 8192
#define OLD_NUMBERS_MAX ((size_t)1 << 20) /* of OldDeletes, in all: 4 MiB */

/* The columns of a position delete file; names and ids are the specification's. */
static Schema *positions_schema(void)
{
    Schema *schema = schema_new(2, 0);
    schema->fields[0] = (Field){.name = mem_strdup("file_path"),
                                .type.kind = TYPE_STRING,
                                .required = true,
                                .id = ICEBERG_POS_DELETE_PATH_FIELD};
    schema->fields[1] = (Field){.name = mem_strdup("pos"),
                                .type.kind = TYPE_INT64,
                                .required = true,
                                .id = ICEBERG_POS_DELETE_POS_FIELD};
    return schema;
}

void delete_files_done(DeleteFiles *files)
{
    for (size_t i = 0; i < files->count; i++)
        data_file_done(&files->files[i]);
    free(files->files);
    *files = (DeleteFiles){0};
}

/* ---------- reading ---------- */
typedef struct PathNumber {
    const char *path;
    size_t bytes;
    uint32_t number;
} PathNumber;

typedef struct Loading {
    Store *store;
    LiveFiles *files;
    PathNumber *paths; /* sorted */
    size_t path_count;
    const Schema *schema;
    bool notes_old;     /* which data files a position delete file names: v3 */
    size_t old_numbers; /* noted, in all */
} Loading;

static int path_order(const void *a, const void *b)
{
    const PathNumber *left = a, *right = b;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? -1 : 1;
    return memcmp(left->path, right->path, left->bytes);
}

static LiveFile *find_path(const Loading *loading, const char *path, size_t bytes)
{
    PathNumber wanted = {.path = path, .bytes = bytes};
    const PathNumber *found =
        bsearch(&wanted, loading->paths, loading->path_count, sizeof wanted, path_order);
    return found ? &loading->files->items[found->number] : NULL;
}

static bool mark(LiveFile *file, uint64_t position, const DataFile *by, Error *err)
{
    if (position >= file->info.record_count)
        return error_set(err, ERROR_DATA, "BadDelete",
                         "delete file %.200s names row %llu of %.200s, which has %llu rows",
                         by->path, (unsigned long long)position, file->info.path,
                         (unsigned long long)file->info.record_count);
    if (!file->deleted)
        file->deleted = roaring_bitmap_create();
    roaring_bitmap_add(file->deleted, (uint32_t)position);
    return true;
}

/* What is beyond the limit stays unknown, and its delete file in the table: it does no harm. */
static void note_old(Loading *loading, const LiveFile *file)
{
    LiveFiles *files = loading->files;
    OldDeletes *old = &files->old[files->old_count - 1];
    uint32_t number = (uint32_t)(file - files->items);
    if (old->count && old->numbers[old->count - 1] == number)
        return;
    old->numbers = mem_regrow(old->numbers, old->count + 1, sizeof *old->numbers);
    old->numbers[old->count++] = number;
    loading->old_numbers++;
}

static bool mark_batch(Loading *loading, const Batch *batch, const DataFile *by, bool notes,
                       Error *err)
{
    LiveFile *file = NULL;
    const uint8_t *last = NULL;
    uint32_t last_bytes = 0;
    for (uint32_t row = 0; row < batch->row_count; row++) {
        uint32_t bytes;
        const uint8_t *path = column_bytes(&batch->columns[0], row, &bytes);
        /* Paths come sorted: a look-up per file, not per row. */
        if (!last || bytes != last_bytes || memcmp(path, last, bytes) != 0)
            file = find_path(loading, (const char *)path, bytes);
        last = path;
        last_bytes = bytes;
        /* A file that is gone, or one written after these deletes: not concerned. */
        if (!file || file->info.sequence_number > by->sequence_number)
            continue;
        if (!mark(file, (uint64_t)column_i64(&batch->columns[1], row), by, err))
            return false;
        if (notes)
            note_old(loading, file);
    }
    return true;
}

static bool load_positions(Loading *loading, const DataFile *by, Error *err)
{
    StoreReader *object = store_reader_open(loading->store, by->path, err);
    if (!object)
        return error_wrap(err, "position deletes");
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(object, loading->schema, err);
    if (!reader)
        return error_wrap(err, "position deletes %s", by->path);
    bool notes =
        loading->notes_old && !by->referenced_data_file && loading->old_numbers < OLD_NUMBERS_MAX;
    if (notes) {
        LiveFiles *files = loading->files;
        files->old = mem_regrow(files->old, files->old_count + 1, sizeof *files->old);
        files->old[files->old_count++] = (OldDeletes){.path = mem_strdup(by->path)};
    }
    for (;;) {
        AUTO(batch_free) Batch *batch = NULL;
        if (!parquet_reader_next(reader, &batch, err))
            return error_wrap(err, "position deletes %s", by->path);
        if (!batch)
            return true;
        if (!mark_batch(loading, batch, by, notes, err))
            return false;
    }
}

static bool load_vector(Loading *loading, const DataFile *by, Error *err)
{
    LiveFile *file = by->referenced_data_file ? find_path(loading, by->referenced_data_file,
                                                          strlen(by->referenced_data_file))
                                              : NULL;
    if (!file)
        return true;
    roaring_bitmap_t *rows;
    if (!puffin_read_vector(loading->store, by, &rows, err))
        return error_wrap(err, "deletion vector of %s", by->referenced_data_file);
    bool ok = file->has_vector = true;
    if (!roaring_bitmap_is_empty(rows))
        ok = mark(file, roaring_bitmap_maximum(rows), by, err);
    if (ok && file->deleted)
        roaring_bitmap_or_inplace(file->deleted, rows);
    roaring_bitmap_free(rows);
    return ok;
}

static bool load_one(const DataFile *file, void *context, Error *err)
{
    Loading *loading = context;
    if (file->content == FILE_DATA)
        return true;
    if (file->content == FILE_EQUALITY_DELETES)
        return error_set(err, ERROR_CONFIG, "EqualityDeletes",
                         "the table has equality deletes, which an upsert can't resolve yet: %s; "
                         "rewrite the table with another engine (rewrite_data_files with "
                         "delete-file-threshold 1), or drop it to copy it again",
                         file->path);
    if (file->format == FORMAT_PUFFIN)
        return load_vector(loading, file, err);
    if (file->format == FORMAT_PARQUET)
        return load_positions(loading, file, err);
    return error_set(err, ERROR_CONFIG, "ForeignFormat",
                     "delete file %s is not Parquet; rewrite the table with another engine, or "
                     "drop it to copy it again",
                     file->path);
}

bool deletes_load(IcebergTable *iceberg, Store *store, LiveFiles *files, Error *err)
{
    AUTO(schema_free) Schema *schema = positions_schema();
    Loading loading = {.store = store,
                       .files = files,
                       .schema = schema,
                       .notes_old = iceberg_format_version(iceberg) >= 3};
    loading.paths = mem_array(files->count, sizeof *loading.paths);
    for (uint32_t i = 1; i < files->count; i++)
        loading.paths[loading.path_count++] =
            (PathNumber){.path = files->items[i].info.path,
                         .bytes = strlen(files->items[i].info.path),
                         .number = i};
    qsort(loading.paths, loading.path_count, sizeof *loading.paths, path_order);
    bool ok = iceberg_each_file(iceberg, load_one, &loading, err);
    free(loading.paths);
    for (uint32_t i = 1; i < files->count; i++)
        if (files->items[i].deleted)
            files->items[i].deleted_count = roaring_bitmap_get_cardinality(files->items[i].deleted);
    return ok;
}

/* ---------- position delete files ---------- */
static int value_order(const Value *a, const Value *b)
{
    if (a->is_null || b->is_null)
        return (int)a->is_null - (int)b->is_null;
    if (a->byte_count != b->byte_count)
        return a->byte_count < b->byte_count ? -1 : 1;
    if (a->bytes && b->bytes)
        return memcmp(a->bytes, b->bytes, a->byte_count);
    uint32_t width = a->type.kind == TYPE_BOOL ? 1 : type_width(&a->type);
    return memcmp(&a->b, &b->b, width);
}

/* Any order that puts files of one partition together, and these by path. */
static int partition_order(const DataFile *a, const DataFile *b)
{
    if (a->spec_id != b->spec_id)
        return a->spec_id < b->spec_id ? -1 : 1;
    for (size_t i = 0; i < a->partition_count; i++) {
        int order = value_order(&a->partition[i], &b->partition[i]);
        if (order)
            return order;
    }
    return 0;
}

static int file_order(const void *a, const void *b)
{
    const LiveFile *left = *(const LiveFile *const *)a, *right = *(const LiveFile *const *)b;
    int order = partition_order(&left->info, &right->info);
    return order ? order : strcmp(left->info.path, right->info.path);
}

static bool flush(ParquetWriter *parquet, Batch **batch, Error *err)
{
    const Column *columns[] = {&(*batch)->columns[0], &(*batch)->columns[1]};
    bool ok = parquet_writer_put(parquet, columns, NULL, (*batch)->row_count, err);
    const Schema *schema = (*batch)->schema;
    batch_free(*batch);
    *batch = batch_new(schema, 0, DELETE_BATCH_ROWS);
    return ok;
}

static bool write_rows(ParquetWriter *parquet, const Schema *schema, const LiveFile *const *files,
                       size_t count, Error *err)
{
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, DELETE_BATCH_ROWS);
    for (size_t i = 0; i < count; i++) {
        const char *path = files[i]->info.path;
        size_t path_bytes = strlen(path);
        roaring_uint32_iterator_t rows;
        roaring_init_iterator(files[i]->deleted, &rows);
        for (; rows.has_value; roaring_advance_uint32_iterator(&rows)) {
            if (batch_is_full(batch) && !flush(parquet, &batch, err))
                return false;
            batch_row_begin(batch, ROW_READ, (RowPosition){0});
            column_put_bytes(batch, &batch->columns[0], path, path_bytes);
            column_put_i64(batch, &batch->columns[1], rows.current_value);
        }
    }
    return batch->row_count == 0 || flush(parquet, &batch, err);
}

/* One file for files[0..count), which share a partition. */
static bool write_partition(IcebergTable *iceberg, Store *store, const Schema *schema,
                            const LiveFile *const *files, size_t count, int zstd_level,
                            DataFile *ret, Error *err)
{
    const DataFile *like = &files[0]->info;
    const PartitionSpec *spec = iceberg_partition_spec_by_id(iceberg, like->spec_id);
    AUTO(mem_free)
    char *folder =
        spec && spec->field_count ? partition_path(spec, like->partition) : mem_strdup("");
    AUTO(mem_free) char *uri = iceberg_new_file_uri(iceberg, folder, "-deletes.parquet");
    ParquetOptions options;
    parquet_options_default(&options);
    options.zstd_level = zstd_level;
    options.plain_strings = true;
    StoreWriter *sink = store_create(store, uri, err);
    if (!sink)
        return error_wrap(err, "delete file %s", uri);
    AUTO(parquet_writer_free)
    ParquetWriter *parquet = parquet_writer_open(schema, &options, sink, err);
    ParquetFileInfo figures = {0};
    if (!parquet || !write_rows(parquet, schema, files, count, err) ||
        !parquet_writer_finish(parquet, &figures, err))
        return error_wrap(err, "delete file %s", uri);
    data_file_copy_brief(ret, like);
    free(ret->path);
    free(ret->referenced_data_file);
    ret->content = FILE_POSITION_DELETES;
    ret->format = FORMAT_PARQUET;
    ret->path = TAKE(uri);
    ret->record_count = figures.rows;
    ret->file_bytes = figures.bytes;
    ret->metrics = TAKE(figures.fields);
    ret->metric_count = figures.field_count;
    ret->split_offsets = TAKE(figures.split_offsets);
    ret->split_count = figures.split_count;
    ret->sequence_number = 0;
    ret->first_row_id = -1;
    ret->content_offset = -1;
    ret->content_bytes = 0;
    ret->referenced_data_file = count == 1 ? mem_strdup(like->path) : NULL;
    parquet_file_info_done(&figures);
    return true;
}

bool deletes_write_positions(IcebergTable *iceberg, Store *store, const LiveFiles *files,
                             const uint32_t *numbers, size_t count, int zstd_level,
                             DeleteFiles *ret, Error *err)
{
    AUTO(schema_free) Schema *schema = positions_schema();
    AUTO(mem_free) const LiveFile **sorted = mem_array(count, sizeof(LiveFile *));
    for (size_t i = 0; i < count; i++)
        sorted[i] = &files->items[numbers[i]];
    qsort(sorted, count, sizeof(LiveFile *), file_order);
    *ret = (DeleteFiles){.files = mem_array(count, sizeof *ret->files)};
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count; to++)
            if (partition_order(&sorted[from]->info, &sorted[to]->info) != 0)
                break;
        if (!write_partition(iceberg, store, schema, sorted + from, to - from, zstd_level,
                             &ret->files[ret->count], err))
            return false;
        ret->count++;
    }
    return true;
}

/* ---------- deletion vectors ---------- */
/* One Puffin file for each, though a file may hold many: DuckDB 1.5.5 applies the first vector of a
 * file to every data file that has one there, and other readers have had the like. */
bool deletes_write_vectors(IcebergTable *iceberg, Store *store, const LiveFiles *files,
                           const uint32_t *numbers, size_t count, DeleteFiles *ret, Error *err)
{
    *ret = (DeleteFiles){.files = mem_array(count, sizeof *ret->files)};
    for (size_t i = 0; i < count; i++) {
        const LiveFile *file = &files->items[numbers[i]];
        roaring_bitmap_run_optimize(file->deleted);
        const DeletionVector vector = {.data_file = file->info.path,
                                       .rows = file->deleted,
                                       .spec_id = file->info.spec_id,
                                       .partition = file->info.partition,
                                       .partition_count = file->info.partition_count};
        AUTO(mem_free) char *uri = iceberg_new_file_uri(iceberg, "", ".puffin");
        if (!puffin_write_vectors(store, uri, &vector, 1, &ret->files[i], err))
            return error_wrap(err, "deletion vector %s", uri);
        ret->count++;
    }
    return true;
}
