#include "agent/table/writer.h"

#include <string.h>

#include "agent/table/live.h"
#include "agent/table/route.h"
#include "common/mem.h"

typedef struct OpenFile {
    ParquetWriter *parquet;
    uint32_t file; /* index in files */
    uint32_t partition;
    bool row_ids;
} OpenFile;

struct DataWriter {
    DataWriterOptions options;
    Router router;
    int32_t *bloom_ids;
    size_t bloom_count;
    OpenFile open[WRITER_OPEN_MAX];
    uint32_t open_count;
    DataFile *files; /* all of this interval, open ones without figures */
    size_t file_count, files_held;
    uint64_t finished_bytes;
    uint32_t *grouped; /* the selection, sorted by partition */
    uint32_t *starts;  /* per partition: its first in grouped */
    size_t grouped_held, starts_held;
};

DataWriter *data_writer_new(const DataWriterOptions *options)
{
    DataWriter *writer = mem_zalloc(sizeof *writer);
    writer->options = *options;
    router_init(&writer->router, options->spec);
    if (options->bloom_key) {
        writer->bloom_count = options->schema->key_count;
        writer->bloom_ids = mem_array(writer->bloom_count, sizeof *writer->bloom_ids);
        for (size_t i = 0; i < writer->bloom_count; i++)
            writer->bloom_ids[i] = options->schema->fields[options->schema->key[i]].id;
    }
    return writer;
}

void data_writer_limit(DataWriter *writer, size_t memory_bytes_max)
{
    writer->options.memory_bytes_max = memory_bytes_max;
}

void data_writer_forget(DataWriter *writer)
{
    ASSERT(writer->open_count == 0);
    for (size_t i = 0; i < writer->file_count; i++)
        data_file_done(&writer->files[i]);
    writer->file_count = 0;
    writer->finished_bytes = 0;
    router_clear(&writer->router);
}

void data_writer_discard(DataWriter *writer)
{
    for (uint32_t i = 0; i < writer->open_count; i++)
        parquet_writer_free(writer->open[i].parquet);
    writer->open_count = 0;
    for (size_t i = 0; i < writer->file_count; i++)
        if (!store_delete(writer->options.store, writer->files[i].path, NULL))
            continue; /* an orphan nobody refers to */
    data_writer_forget(writer);
}

void data_writer_free(DataWriter *writer)
{
    if (!writer)
        return;
    data_writer_discard(writer);
    router_done(&writer->router);
    free(writer->files);
    free(writer->bloom_ids);
    free(writer->grouped);
    free(writer->starts);
    free(writer);
}

static char *new_uri(DataWriter *writer, const char *partition_path_text)
{
    pthread_mutex_t *names = writer->options.names;
    if (names)
        pthread_mutex_lock(names);
    const DataWriterOptions *options = &writer->options;
    char *uri = options->name
                    ? iceberg_named_file_uri(options->iceberg, partition_path_text, options->name,
                                             ".parquet")
                    : iceberg_new_file_uri(options->iceberg, partition_path_text, ".parquet");
    if (names)
        pthread_mutex_unlock(names);
    return uri;
}

/* The entry in files exists only once the file does. */
static bool file_open(DataWriter *writer, uint32_t number, bool row_ids, Error *err)
{
    const DataWriterOptions *options = &writer->options;
    Partition *partition = &writer->router.partitions[number];
    ParquetOptions parquet;
    parquet_options_default(&parquet);
    parquet.zstd_level = options->zstd_level;
    parquet.bloom_ids = writer->bloom_ids;
    parquet.bloom_count = writer->bloom_count;
    parquet.schema_json = options->schema_json;
    if (parquet.row_group_bytes > options->memory_bytes_max / 2)
        parquet.row_group_bytes = options->memory_bytes_max / 2;
    AUTO(mem_free) char *uri = new_uri(writer, partition->path);
    StoreWriter *sink = store_create(options->store, uri, err);
    if (!sink)
        return error_wrap(err, "data file %s", uri);
    ParquetWriter *file =
        parquet_writer_open(row_ids ? options->lineage : options->schema, &parquet, sink, err);
    if (!file)
        return error_wrap(err, "data file %s", uri);
    if (writer->file_count == writer->files_held) {
        writer->files_held = writer->files_held ? writer->files_held * 2 : 8;
        writer->files = mem_regrow(writer->files, writer->files_held, sizeof *writer->files);
    }
    size_t fields = options->spec->field_count;
    DataFile *info = &writer->files[writer->file_count];
    *info = (DataFile){.content = FILE_DATA,
                       .format = FORMAT_PARQUET,
                       .path = TAKE(uri),
                       .spec_id = options->spec->spec_id,
                       .partition = mem_array(fields, sizeof(Value)),
                       .partition_count = fields,
                       .first_row_id = -1,
                       .content_offset = -1};
    for (size_t i = 0; i < fields; i++)
        value_copy(&info->partition[i], &partition->values[i]);
    partition->open = writer->open_count;
    writer->open[writer->open_count++] = (OpenFile){.parquet = file,
                                                    .file = (uint32_t)writer->file_count++,
                                                    .partition = number,
                                                    .row_ids = row_ids};
    return true;
}

static bool file_close(DataWriter *writer, uint32_t at, Error *err)
{
    OpenFile open = writer->open[at];
    DataFile *info = &writer->files[open.file];
    ParquetFileInfo figures = {0};
    bool ok = parquet_writer_finish(open.parquet, &figures, err) ||
              error_wrap(err, "data file %s", info->path);
    parquet_writer_free(open.parquet);
    writer->router.partitions[open.partition].open = UINT32_MAX;
    writer->open[at] = writer->open[--writer->open_count];
    if (at < writer->open_count)
        writer->router.partitions[writer->open[at].partition].open = at;
    if (!ok)
        return false;
    info->record_count = figures.rows;
    info->file_bytes = figures.bytes;
    info->metrics = TAKE(figures.fields);
    info->metric_count = figures.field_count;
    info->split_offsets = TAKE(figures.split_offsets);
    info->split_count = figures.split_count;
    writer->finished_bytes += figures.bytes;
    parquet_file_info_done(&figures);
    return true;
}

/* The open file that takes rows of the partition; room is made when none is open. */
static bool file_for(DataWriter *writer, uint32_t partition, bool row_ids, OpenFile **ret,
                     Error *err)
{
    uint32_t at = writer->router.partitions[partition].open;
    if (at != UINT32_MAX && row_ids && !writer->open[at].row_ids) {
        if (!file_close(writer, at, err))
            return false;
        at = UINT32_MAX;
    }
    if (at == UINT32_MAX) {
        if (writer->open_count == WRITER_OPEN_MAX) {
            uint32_t largest = 0;
            for (uint32_t i = 1; i < writer->open_count; i++)
                if (parquet_writer_bytes(writer->open[i].parquet) >
                    parquet_writer_bytes(writer->open[largest].parquet))
                    largest = i;
            if (!file_close(writer, largest, err))
                return false;
        }
        if (!file_open(writer, partition, row_ids, err))
            return false;
        at = writer->open_count - 1;
    }
    *ret = &writer->open[at];
    return true;
}

static bool put_partition(DataWriter *writer, uint32_t partition, const Column *const *columns,
                          const uint32_t *rows, size_t count, bool row_ids, DataPlaced *placed,
                          void *context, Error *err)
{
    OpenFile *open;
    if (!file_for(writer, partition, row_ids, &open, err))
        return false;
    uint64_t first = parquet_writer_rows(open->parquet);
    ASSERT(first + count < UINT32_MAX);
    if (!parquet_writer_put(open->parquet, columns, rows, count, err))
        return error_wrap(err, "data file %s", writer->files[open->file].path);
    if (placed)
        placed(context, open->file, (uint32_t)first, rows, count);
    if (parquet_writer_bytes(open->parquet) >= writer->options.file_target_bytes ||
        first + count > UINT32_MAX / 2)
        return file_close(writer, writer->router.partitions[partition].open, err);
    return true;
}

/* The selection sorted by partition, order kept within each. */
static void group(DataWriter *writer, const uint32_t *selection, size_t count)
{
    const Router *router = &writer->router;
    if (count > writer->grouped_held) {
        writer->grouped_held = count;
        writer->grouped = mem_regrow(writer->grouped, count, sizeof *writer->grouped);
    }
    size_t partitions = router->partition_count;
    if (partitions + 2 > writer->starts_held) {
        writer->starts_held = partitions * 2 + 2;
        writer->starts = mem_regrow(writer->starts, writer->starts_held, sizeof *writer->starts);
    }
    /* starts[p + 1] counts, then begins, then ends partition p; starts[p] is then where it began.
     */
    memset(writer->starts, 0, (partitions + 2) * sizeof *writer->starts);
    for (size_t i = 0; i < count; i++)
        writer->starts[router->numbers[i] + 2]++;
    for (size_t i = 2; i < partitions + 2; i++)
        writer->starts[i] += writer->starts[i - 1];
    for (size_t i = 0; i < count; i++)
        writer->grouped[writer->starts[router->numbers[i] + 1]++] = selection[i];
}

/* One file alone is bounded by the size of its row groups. */
static bool memory_bound(DataWriter *writer, Error *err)
{
    while (writer->open_count > 1 &&
           data_writer_memory(writer) > writer->options.memory_bytes_max) {
        uint32_t largest = 0;
        for (uint32_t i = 1; i < writer->open_count; i++)
            if (parquet_writer_memory(writer->open[i].parquet) >
                parquet_writer_memory(writer->open[largest].parquet))
                largest = i;
        if (!file_close(writer, largest, err))
            return false;
    }
    return true;
}

bool data_writer_put(DataWriter *writer, const Column *const *columns, const uint32_t *selection,
                     size_t count, bool with_row_ids, DataPlaced *placed, void *context, Error *err)
{
    if (count == 0)
        return true;
    if (writer->options.spec->field_count == 0) {
        router_route(&writer->router, columns, selection, 1);
        if (!put_partition(writer, 0, columns, selection, count, with_row_ids, placed, context,
                           err))
            return false;
        return memory_bound(writer, err);
    }
    router_route(&writer->router, columns, selection, count);
    group(writer, selection, count);
    for (uint32_t partition = 0; partition < writer->router.partition_count; partition++) {
        uint32_t from = writer->starts[partition], to = writer->starts[partition + 1];
        if (from < to && !put_partition(writer, partition, columns, writer->grouped + from,
                                        to - from, with_row_ids, placed, context, err))
            return false;
    }
    return memory_bound(writer, err);
}

static bool close_all(DataWriter *writer, Error *err)
{
    while (writer->open_count)
        if (!file_close(writer, writer->open_count - 1, err))
            return false;
    return true;
}

bool data_writer_ease(DataWriter *writer, Error *err)
{
    for (uint32_t i = writer->open_count; i-- > 0;) {
        bool ended;
        if (!parquet_writer_ease(writer->open[i].parquet, &ended, err) ||
            (!ended && !file_close(writer, i, err)))
            return false;
    }
    return true;
}

bool data_writer_reshape(DataWriter *writer, const Schema *schema, const Schema *lineage,
                         const char *schema_json, Error *err)
{
    if (!close_all(writer, err))
        return false;
    writer->options.schema = schema;
    writer->options.lineage = lineage;
    writer->options.schema_json = schema_json;
    return true;
}

bool data_writer_whole(DataWriter *writer, uint32_t file, const char **ret_uri, Error *err)
{
    ASSERT(file < writer->file_count);
    for (uint32_t i = 0; i < writer->open_count; i++)
        if (writer->open[i].file == file) {
            if (!file_close(writer, i, err))
                return false;
            break;
        }
    *ret_uri = writer->files[file].path;
    return true;
}

bool data_writer_finish(DataWriter *writer, DataFile **ret_files, size_t *ret_count, Error *err)
{
    if (!close_all(writer, err))
        return false;
    *ret_files = writer->files;
    *ret_count = writer->file_count;
    return true;
}

uint64_t data_writer_bytes(const DataWriter *writer)
{
    uint64_t bytes = writer->finished_bytes;
    for (uint32_t i = 0; i < writer->open_count; i++)
        bytes += parquet_writer_bytes(writer->open[i].parquet);
    return bytes;
}

size_t data_writer_memory(const DataWriter *writer)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < writer->open_count; i++)
        bytes += parquet_writer_memory(writer->open[i].parquet);
    return bytes;
}
