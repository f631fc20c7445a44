/* Manifests. See manifest_file.h. */
#include "agent/table/iceberg/manifest_file.h"

#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "agent/table/iceberg/manifest_schema.h"
#include "agent/table/iceberg/value.h"
#include "common/json/text.h"
#include "common/mem.h"

#define MANIFEST_BYTES_MAX ((size_t)1 << 30)
#define FILE_FIGURE_MAX ((int64_t)1 << 40) /* rows or bytes of one file; sums can't overflow */

uint64_t path_hash(const char *path, size_t bytes)
{
    return XXH3_64bits(path, bytes);
}

void manifest_file_done(ManifestFile *manifest)
{
    free(manifest->path);
    for (size_t i = 0; i < manifest->summary_count; i++) {
        value_done(&manifest->summaries[i].lower);
        value_done(&manifest->summaries[i].upper);
    }
    free(manifest->summaries);
    hashes_done(&manifest->keys);
    *manifest = (ManifestFile){0};
}

void manifest_files_free(ManifestFile *manifests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        manifest_file_done(&manifests[i]);
    free(manifests);
}

void data_file_done(DataFile *file)
{
    free(file->path);
    values_free(file->partition, file->partition_count);
    free(file->metrics);
    free(file->split_offsets);
    free(file->referenced_data_file);
    *file = (DataFile){0};
}

/* ---------- writing ---------- */
static char *spec_json(const PartitionSpec *spec)
{
    json_t *fields = json_array();
    for (size_t i = 0; i < spec->field_count; i++)
        json_array_append_new(fields, partition_field_json(&spec->fields[i]));
    char *text = json_text(fields, JSON_COMPACT);
    json_decref(fields);
    ASSERT(text);
    return text;
}

void manifest_writer_init(ManifestWriter *writer, const PartitionSpec *spec,
                          const char *table_schema_json, int32_t schema_id, int format_version,
                          bool deletes, int64_t snapshot_id)
{
    *writer = (ManifestWriter){.spec = spec,
                               .table_schema_json = table_schema_json,
                               .schema_id = schema_id,
                               .format_version = format_version,
                               .snapshot_id = snapshot_id};
    writer->file = (ManifestFile){.spec_id = spec->spec_id,
                                  .deletes = deletes,
                                  .snapshot_id = snapshot_id,
                                  .min_sequence_number = -1,
                                  .first_row_id = -1,
                                  .summaries_known = true,
                                  .keys_known = true,
                                  .origin = -1};
    writer->file.summary_count = spec->field_count;
    writer->file.summaries = mem_array(spec->field_count, sizeof(PartitionSummary));
    for (size_t i = 0; i < spec->field_count; i++)
        writer->file.summaries[i].nan_known = true;
}

/* The header. Not before there is an entry: most writers that a commit opens get none. */
static void start(ManifestWriter *writer)
{
    if (writer->avro.file.used)
        return;
    AUTO(mem_free) char *schema = manifest_schema(writer->spec, writer->format_version);
    AUTO(mem_free) char *fields = spec_json(writer->spec);
    AUTO(mem_free) char *spec_id = mem_format("%d", writer->spec->spec_id);
    AUTO(mem_free) char *schema_id = mem_format("%d", writer->schema_id);
    AUTO(mem_free) char *version = mem_format("%d", writer->format_version);
    const char *const metadata[] = {"schema",
                                    writer->table_schema_json,
                                    "schema-id",
                                    schema_id,
                                    "partition-spec",
                                    fields,
                                    "partition-spec-id",
                                    spec_id,
                                    "format-version",
                                    version,
                                    "content",
                                    writer->file.deletes ? "deletes" : "data"};
    avro_writer_init(&writer->avro, schema, metadata, ARRAY_LEN(metadata) / 2);
}

void manifest_writer_done(ManifestWriter *writer)
{
    avro_writer_done(&writer->avro);
    manifest_file_done(&writer->file);
}

static void summarize(ManifestWriter *writer, const Value *partition)
{
    for (size_t i = 0; i < writer->file.summary_count; i++) {
        PartitionSummary *summary = &writer->file.summaries[i];
        if (partition[i].is_null) {
            summary->contains_null = true;
        } else if (value_is_nan(&partition[i])) {
            summary->contains_nan = true;
        } else if (!summary->has_bounds) {
            value_copy(&summary->lower, &partition[i]);
            value_copy(&summary->upper, &partition[i]);
            summary->has_bounds = true;
        } else if (value_compare(&partition[i], &summary->lower) < 0) {
            value_done(&summary->lower);
            value_copy(&summary->lower, &partition[i]);
        } else if (value_compare(&partition[i], &summary->upper) > 0) {
            value_done(&summary->upper);
            value_copy(&summary->upper, &partition[i]);
        }
    }
}

static void add_keys(ManifestFile *file, const char *path, size_t bytes, const char *reference,
                     size_t reference_bytes)
{
    hashes_add(&file->keys, path_hash(path, bytes));
    if (file->deletes && reference)
        hashes_add(&file->keys, path_hash(reference, reference_bytes));
}

static void put_optional_long(Bytes *to, int64_t value, bool there)
{
    bytes_put_zigzag(to, there);
    if (there)
        bytes_put_zigzag(to, value);
}

static void put_head(Bytes *to, EntryStatus status, int64_t snapshot_id, int64_t sequence_number,
                     int64_t file_sequence_number)
{
    bytes_put_zigzag(to, status);
    put_optional_long(to, snapshot_id, true);
    put_optional_long(to, sequence_number, sequence_number >= 0);
    put_optional_long(to, file_sequence_number, file_sequence_number >= 0);
}

static int64_t least_known(int64_t a, int64_t b)
{
    return a < 0 || b < a ? b : a;
}

typedef enum Figure {
    FIGURE_BYTES,
    FIGURE_VALUES,
    FIGURE_NULLS,
    FIGURE_NANS,
    FIGURE_LOWER,
    FIGURE_UPPER
} Figure;

/* Is there such a figure for the field; and its number, or bytes. */
static bool figure_of(const ParquetFieldMetrics *metrics, Figure figure, int64_t *ret_number,
                      const uint8_t **ret_bytes, size_t *ret_count)
{
    switch (figure) {
    case FIGURE_BYTES:
        *ret_number = metrics->column_bytes;
        return true;
    case FIGURE_VALUES:
        *ret_number = metrics->value_count;
        return true;
    case FIGURE_NULLS:
        *ret_number = metrics->null_count;
        return true;
    case FIGURE_NANS:
        *ret_number = metrics->nan_count;
        return metrics->nan_count >= 0;
    case FIGURE_LOWER:
        *ret_bytes = metrics->lower;
        *ret_count = metrics->lower_bytes;
        return metrics->has_lower;
    case FIGURE_UPPER:
        *ret_bytes = metrics->upper;
        *ret_count = metrics->upper_bytes;
        return metrics->has_upper;
    }
    ASSERT(false);
}

static void put_figures(Bytes *to, const DataFile *file, Figure figure)
{
    int64_t number, count = 0;
    const uint8_t *bytes;
    size_t byte_count;
    for (size_t i = 0; i < file->metric_count; i++)
        count += figure_of(&file->metrics[i], figure, &number, &bytes, &byte_count);
    bytes_put_zigzag(to, count > 0);
    if (!count)
        return;
    bytes_put_zigzag(to, count);
    for (size_t i = 0; i < file->metric_count; i++) {
        if (!figure_of(&file->metrics[i], figure, &number, &bytes, &byte_count))
            continue;
        bytes_put_zigzag(to, file->metrics[i].field_id);
        if (figure >= FIGURE_LOWER)
            avro_put_bytes(to, bytes, byte_count);
        else
            bytes_put_zigzag(to, number);
    }
    bytes_put_u8(to, 0);
}

void manifest_put_added(ManifestWriter *writer, const DataFile *file)
{
    static const char *const formats[] = {"PARQUET", "PUFFIN", "OTHER"};
    Bytes *to = &writer->avro.block;
    start(writer);
    /* a rewritten file may keep the age of its rows */
    put_head(to, ENTRY_ADDED, writer->snapshot_id,
             file->sequence_number > 0 ? file->sequence_number : -1, -1);
    bytes_put_zigzag(to, file->content);
    avro_put_text(to, file->path);
    avro_put_text(to, formats[file->format]);
    ASSERT(file->partition_count == writer->spec->field_count);
    for (size_t i = 0; i < file->partition_count; i++)
        value_put_avro(&file->partition[i], to);
    bytes_put_zigzag(to, (int64_t)file->record_count);
    bytes_put_zigzag(to, (int64_t)file->file_bytes);
    for (Figure figure = FIGURE_BYTES; figure <= FIGURE_UPPER; figure++)
        put_figures(to, file, figure);
    bytes_put_u8(to, 0); /* key_metadata */
    bytes_put_zigzag(to, file->split_count > 0);
    if (file->split_count) {
        bytes_put_zigzag(to, (int64_t)file->split_count);
        for (size_t i = 0; i < file->split_count; i++)
            bytes_put_zigzag(to, file->split_offsets[i]);
        bytes_put_u8(to, 0);
    }
    bytes_put_u8(to, 0);                                  /* equality_ids */
    put_optional_long(to, 0, file->content == FILE_DATA); /* sort_order_id */
    if (writer->format_version >= 3)
        bytes_put_u8(to, 0); /* first_row_id: inherited */
    bytes_put_zigzag(to, file->referenced_data_file != NULL);
    if (file->referenced_data_file)
        avro_put_text(to, file->referenced_data_file);
    if (writer->format_version >= 3) {
        put_optional_long(to, file->content_offset, file->content_offset >= 0);
        put_optional_long(to, file->content_bytes, file->content_offset >= 0);
    }
    avro_record_end(&writer->avro);
    summarize(writer, file->partition);
    add_keys(&writer->file, file->path, strlen(file->path), file->referenced_data_file,
             file->referenced_data_file ? strlen(file->referenced_data_file) : 0);
    if (file->sequence_number > 0)
        writer->file.min_sequence_number =
            least_known(writer->file.min_sequence_number, file->sequence_number);
    writer->file.added_files++;
    writer->file.added_rows += (int64_t)file->record_count;
    writer->file.unassigned_rows += (int64_t)file->record_count;
    writer->started = true;
}

/* What an optional field of a data file is, for copying. */
typedef enum CopyKind { COPY_LONG, COPY_BYTES, COPY_MAP_LONG, COPY_MAP_BYTES, COPY_LIST } CopyKind;

static bool put_copied(Bytes *to, const AvroValue *value, CopyKind kind)
{
    bytes_put_zigzag(to, value != NULL);
    if (!value)
        return true;
    if (kind == COPY_LONG) {
        bytes_put_zigzag(to, value->i);
        return value->kind == AVRO_LONG;
    }
    if (kind == COPY_BYTES) {
        if (value->kind != AVRO_BYTES)
            return false;
        avro_put_bytes(to, value->bytes, value->count);
        return true;
    }
    if (value->kind != AVRO_ARRAY)
        return false;
    if (value->item_count)
        bytes_put_zigzag(to, (int64_t)value->item_count);
    for (size_t i = 0; i < value->item_count; i++) {
        const AvroValue *item = &value->items[i];
        if (kind == COPY_LIST) {
            if (item->kind != AVRO_LONG)
                return false;
            bytes_put_zigzag(to, item->i);
            continue;
        }
        AvroKind wanted = kind == COPY_MAP_LONG ? AVRO_LONG : AVRO_BYTES;
        if (item->kind != AVRO_RECORD || item->item_count != 2 ||
            item->items[0].kind != AVRO_LONG || item->items[1].kind != wanted)
            return false;
        bytes_put_zigzag(to, item->items[0].i);
        if (kind == COPY_MAP_LONG)
            bytes_put_zigzag(to, item->items[1].i);
        else
            avro_put_bytes(to, item->items[1].bytes, item->items[1].count);
    }
    bytes_put_u8(to, 0);
    return true;
}

static bool read_partition(const AvroValue *data_file, const PartitionSpec *spec, Value **ret,
                           Error *err)
{
    const AvroValue *tuple = avro_field(data_file, 102);
    Value *values = mem_array(spec->field_count, sizeof *values);
    for (size_t i = 0; i < spec->field_count; i++)
        if (!value_from_avro(avro_field(tuple, spec->fields[i].field_id), &spec->fields[i].result,
                             &values[i], err)) {
            values_free(values, i);
            return false;
        }
    *ret = values;
    return true;
}

static void count_carried(ManifestFile *file, const ManifestEntry *entry, EntryStatus status)
{
    int64_t rows = avro_long(entry->data_file, 103, 0);
    if (status == ENTRY_DELETED) {
        file->deleted_files++;
        file->deleted_rows += rows;
        return;
    }
    file->existing_files++;
    file->existing_rows += rows;
    file->min_sequence_number = least_known(file->min_sequence_number, entry->sequence_number);
    if (entry->first_row_id < 0)
        file->unassigned_rows += rows;
    const AvroValue *path = avro_field(entry->data_file, 100);
    const AvroValue *reference = avro_field(entry->data_file, 143);
    add_keys(file, (const char *)path->bytes, path->count,
             reference ? (const char *)reference->bytes : NULL, reference ? reference->count : 0);
}

bool manifest_put_carried(ManifestWriter *writer, const ManifestEntry *entry, EntryStatus status,
                          Error *err)
{
    static const struct {
        int id;
        CopyKind kind;
    } tail[] = {{108, COPY_MAP_LONG}, {109, COPY_MAP_LONG},  {110, COPY_MAP_LONG},
                {137, COPY_MAP_LONG}, {125, COPY_MAP_BYTES}, {128, COPY_MAP_BYTES},
                {131, COPY_BYTES},    {132, COPY_LIST},      {135, COPY_LIST},
                {140, COPY_LONG}};
    Bytes *to = &writer->avro.block;
    size_t began = to->used;
    const AvroValue *file = entry->data_file;
    const AvroValue *path = avro_field(file, 100), *format = avro_field(file, 101);
    Value *partition = NULL;
    if (!path || path->kind != AVRO_BYTES || !format || format->kind != AVRO_BYTES)
        return error_set(err, ERROR_DATA, "BadManifest", "an entry has no path or no format");
    if (!read_partition(file, writer->spec, &partition, err))
        return false;
    start(writer);
    put_head(to, status, status == ENTRY_DELETED ? writer->snapshot_id : entry->snapshot_id,
             entry->sequence_number, entry->file_sequence_number);
    bytes_put_zigzag(to, avro_long(file, 134, 0));
    avro_put_bytes(to, path->bytes, path->count);
    avro_put_bytes(to, format->bytes, format->count);
    for (size_t i = 0; i < writer->spec->field_count; i++)
        value_put_avro(&partition[i], to);
    bytes_put_zigzag(to, avro_long(file, 103, 0));
    bytes_put_zigzag(to, avro_long(file, 104, 0));
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(tail) && ok; i++)
        ok = put_copied(to, avro_field(file, tail[i].id), tail[i].kind);
    if (writer->format_version >= 3)
        put_optional_long(to, entry->first_row_id, entry->first_row_id >= 0);
    ok = ok && put_copied(to, avro_field(file, 143), COPY_BYTES);
    if (writer->format_version >= 3)
        ok = ok && put_copied(to, avro_field(file, 144), COPY_LONG) &&
             put_copied(to, avro_field(file, 145), COPY_LONG);
    if (!ok) {
        to->used = began;
        values_free(partition, writer->spec->field_count);
        return error_set(err, ERROR_DATA, "BadManifest",
                         "an entry of %.*s has a field of the "
                         "wrong type",
                         (int)path->count, (const char *)path->bytes);
    }
    avro_record_end(&writer->avro);
    summarize(writer, partition);
    values_free(partition, writer->spec->field_count);
    count_carried(&writer->file, entry, status);
    writer->started = true;
    return true;
}

/* From here on the bounds are bytes, as in every list. */
static void bound_to_bytes(Value *bound)
{
    Bytes bytes = {0};
    value_serialize(bound, &bytes);
    value_done(bound);
    bytes_reserve(&bytes, 1);
    *bound =
        (Value){.type.kind = TYPE_BINARY, .bytes = bytes.data, .byte_count = (uint32_t)bytes.used};
}

bool manifest_writer_finish(ManifestWriter *writer, Store *store, const char *uri,
                            ManifestFile *ret, Error *err)
{
    *ret = (ManifestFile){0};
    if (!writer->started)
        return true;
    avro_writer_finish(&writer->avro);
    if (!store_put(store, uri, writer->avro.file.data, writer->avro.file.used, err))
        return error_wrap(err, "manifest");
    writer->file.path = mem_strdup(uri);
    writer->file.bytes = (int64_t)writer->avro.file.used;
    hashes_sort(&writer->file.keys);
    for (size_t i = 0; i < writer->file.summary_count; i++)
        if (writer->file.summaries[i].has_bounds) {
            bound_to_bytes(&writer->file.summaries[i].lower);
            bound_to_bytes(&writer->file.summaries[i].upper);
        }
    *ret = writer->file;
    writer->file = (ManifestFile){0};
    return true;
}

/* ---------- reading ---------- */
static bool entry_of(const AvroValue *record, const ManifestFile *manifest, int64_t *next_row_id,
                     ManifestEntry *ret, Error *err)
{
    *ret = (ManifestEntry){.data_file = avro_field(record, 2)};
    int64_t status = avro_long(record, 0, -1);
    if (status < 0 || status > 2 || !ret->data_file || ret->data_file->kind != AVRO_RECORD)
        return error_set(err, ERROR_DATA, "BadManifest", "an entry has no status or no file");
    ret->status = (EntryStatus)status;
    ret->snapshot_id = avro_long(record, 1, manifest->snapshot_id);
    /* Manifests of format version 1 have no sequence numbers: theirs are 0. */
    bool inherits = ret->status == ENTRY_ADDED || manifest->sequence_number == 0;
    ret->sequence_number = avro_long(record, 3, inherits ? manifest->sequence_number : -1);
    ret->file_sequence_number = avro_long(record, 4, inherits ? manifest->sequence_number : -1);
    if (ret->status != ENTRY_DELETED && ret->sequence_number < 0)
        return error_set(err, ERROR_DATA, "BadManifest", "a live entry has no sequence number");
    int64_t rows = avro_long(ret->data_file, 103, -1), bytes = avro_long(ret->data_file, 104, -1);
    ret->first_row_id = avro_long(ret->data_file, 142, -1);
    if (rows < 0 || rows > FILE_FIGURE_MAX || bytes < 0 || bytes > FILE_FIGURE_MAX ||
        ret->first_row_id > ROW_ID_MAX || *next_row_id > ROW_ID_MAX)
        return error_set(err, ERROR_DATA, "BadManifest",
                         "an entry has no size, or an impossible one");
    if (ret->first_row_id < 0 && *next_row_id >= 0 && !manifest->deletes &&
        ret->status != ENTRY_DELETED) {
        ret->first_row_id = *next_row_id;
        *next_row_id += rows;
    }
    return true;
}

bool manifest_read(Store *store, const ManifestFile *manifest, ManifestEach *each, void *context,
                   Error *err)
{
    Bytes data = {0};
    bool ok = store_get(store, manifest->path, MANIFEST_BYTES_MAX, &data, err);
    AUTO(avro_reader_free)
    AvroReader *reader = ok ? avro_reader_open(data.data, data.used, err) : NULL;
    ok = reader != NULL;
    int64_t next_row_id = manifest->first_row_id;
    while (ok) {
        const AvroValue *record;
        ManifestEntry entry;
        ok = avro_reader_next(reader, &record, err);
        if (!ok || !record)
            break;
        ok = entry_of(record, manifest, &next_row_id, &entry, err) && each(&entry, context, err);
    }
    if (!ok)
        error_wrap(err, "%s", manifest->path);
    bytes_done(&data);
    return ok;
}

static bool key_entry(const ManifestEntry *entry, void *context, Error *err)
{
    (void)err;
    const AvroValue *path = avro_field(entry->data_file, 100);
    const AvroValue *reference = avro_field(entry->data_file, 143);
    if (entry->status == ENTRY_DELETED || !path || path->kind != AVRO_BYTES)
        return true;
    bool refers = reference && reference->kind == AVRO_BYTES;
    add_keys(context, (const char *)path->bytes, path->count,
             refers ? (const char *)reference->bytes : NULL, refers ? reference->count : 0);
    return true;
}

bool manifest_load_keys(Store *store, ManifestFile *manifest, Error *err)
{
    if (manifest->keys_known)
        return true;
    manifest->keys.count = 0;
    if (!manifest_read(store, manifest, key_entry, manifest, err))
        return false;
    hashes_sort(&manifest->keys);
    manifest->keys_known = true;
    return true;
}

uint64_t partition_hash(const PartitionSpec *spec, const Value *values)
{
    Bytes text = {0};
    bytes_put_u32(&text, (uint32_t)spec->spec_id);
    for (size_t i = 0; i < spec->field_count; i++) {
        bytes_put_u8(&text, values[i].is_null);
        size_t at = text.used;
        bytes_put_u32(&text, 0);
        if (!values[i].is_null)
            value_serialize(&values[i], &text);
        uint32_t bytes = (uint32_t)(text.used - at);
        memcpy(text.data + at, &bytes, sizeof bytes);
    }
    uint64_t hash = XXH3_64bits(text.data, text.used);
    bytes_done(&text);
    return hash;
}

bool manifest_entry_partition(const ManifestEntry *entry, const PartitionSpec *spec,
                              uint64_t *ret_hash, Error *err)
{
    Value *values;
    if (!read_partition(entry->data_file, spec, &values, err))
        return false;
    *ret_hash = partition_hash(spec, values);
    values_free(values, spec->field_count);
    return true;
}

static void read_splits(const AvroValue *list, DataFile *file)
{
    if (!list || list->kind != AVRO_ARRAY)
        return;
    file->split_offsets = mem_array(list->item_count, sizeof *file->split_offsets);
    for (size_t i = 0; i < list->item_count; i++)
        file->split_offsets[i] = list->items[i].kind == AVRO_LONG ? list->items[i].i : 0;
    file->split_count = list->item_count;
}

bool manifest_entry_file(const ManifestEntry *entry, const ManifestFile *manifest,
                         const PartitionSpec *spec, DataFile *ret, Error *err)
{
    const AvroValue *from = entry->data_file;
    *ret = (DataFile){0};
    int64_t content = avro_long(from, 134, 0);
    if (content < 0 || content > 2)
        return error_set(err, ERROR_DATA, "BadManifest", "a file is neither data nor deletes");
    if (!read_partition(from, spec, &ret->partition, err))
        return false;
    ret->partition_count = spec->field_count;
    ret->content = (FileContent)content;
    ret->record_count = (uint64_t)avro_long(from, 103, 0);
    ret->file_bytes = (uint64_t)avro_long(from, 104, 0);
    ret->spec_id = manifest->spec_id;
    ret->sequence_number = entry->sequence_number;
    ret->first_row_id = entry->first_row_id;
    ret->path = avro_text(from, 100);
    AUTO(mem_free) char *format = avro_text(from, 101);
    if (!ret->path || !format) {
        data_file_done(ret);
        return error_set(err, ERROR_DATA, "BadManifest", "a file has no path or no format");
    }
    ret->format = strcasecmp(format, "parquet") == 0  ? FORMAT_PARQUET
                  : strcasecmp(format, "puffin") == 0 ? FORMAT_PUFFIN
                                                      : FORMAT_OTHER;
    ret->referenced_data_file = avro_text(from, 143);
    ret->content_offset = avro_long(from, 144, -1);
    ret->content_bytes = avro_long(from, 145, -1);
    read_splits(avro_field(from, 132), ret);
    return true;
}
