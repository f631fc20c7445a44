/* Manifest lists. https://iceberg.apache.org/spec/#manifest-lists */
#include <string.h>

#include "agent/table/iceberg/manifest_file.h"
#include "agent/table/iceberg/manifest_schema.h"
#include "agent/table/iceberg/value.h"
#include "common/mem.h"

#define LIST_BYTES_MAX ((size_t)256 << 20)
#define COUNT_MAX ((int64_t)1 << 56) /* sums of a list's counts can't overflow */

static void put_bound(Bytes *to, const PartitionSummary *summary, const Value *bound)
{
    bytes_put_zigzag(to, summary->has_bounds);
    if (summary->has_bounds)
        avro_put_bytes(to, bound->bytes, bound->byte_count);
}

/* Known summaries are there, if only as an empty list. */
static void put_summaries(Bytes *to, const ManifestFile *manifest)
{
    bytes_put_zigzag(to, manifest->summaries_known);
    if (!manifest->summaries_known)
        return;
    if (manifest->summary_count)
        bytes_put_zigzag(to, (int64_t)manifest->summary_count);
    for (size_t i = 0; i < manifest->summary_count; i++) {
        const PartitionSummary *summary = &manifest->summaries[i];
        bytes_put_u8(to, summary->contains_null);
        bytes_put_zigzag(to, summary->nan_known);
        if (summary->nan_known)
            bytes_put_u8(to, summary->contains_nan);
        put_bound(to, summary, &summary->lower);
        put_bound(to, summary, &summary->upper);
    }
    bytes_put_u8(to, 0);
}

static void put_manifest(Bytes *to, const ManifestFile *manifest, int format_version)
{
    avro_put_text(to, manifest->path);
    bytes_put_zigzag(to, manifest->bytes);
    bytes_put_zigzag(to, manifest->spec_id);
    bytes_put_zigzag(to, manifest->deletes);
    bytes_put_zigzag(to, manifest->sequence_number);
    bytes_put_zigzag(to, manifest->min_sequence_number);
    bytes_put_zigzag(to, manifest->snapshot_id);
    bytes_put_zigzag(to, manifest->added_files);
    bytes_put_zigzag(to, manifest->existing_files);
    bytes_put_zigzag(to, manifest->deleted_files);
    bytes_put_zigzag(to, manifest->added_rows);
    bytes_put_zigzag(to, manifest->existing_rows);
    bytes_put_zigzag(to, manifest->deleted_rows);
    put_summaries(to, manifest);
    bytes_put_u8(to, 0); /* key_metadata */
    if (format_version >= 3) {
        bytes_put_zigzag(to, manifest->first_row_id >= 0);
        if (manifest->first_row_id >= 0)
            bytes_put_zigzag(to, manifest->first_row_id);
    }
}

bool manifest_list_write(Store *store, const char *uri, const ManifestFile *manifests, size_t count,
                         int format_version, int64_t snapshot_id, int64_t parent_id,
                         int64_t sequence_number, int64_t first_row_id, Error *err)
{
    AUTO(mem_free) char *schema = manifest_list_schema(format_version);
    AUTO(mem_free) char *id = mem_format("%lld", (long long)snapshot_id);
    AUTO(mem_free)
    char *parent = parent_id >= 0 ? mem_format("%lld", (long long)parent_id) : mem_strdup("null");
    AUTO(mem_free) char *sequence = mem_format("%lld", (long long)sequence_number);
    AUTO(mem_free) char *version = mem_format("%d", format_version);
    AUTO(mem_free) char *row_id = mem_format("%lld", (long long)first_row_id);
    const char *const metadata[] = {"snapshot-id",     id,       "parent-snapshot-id", parent,
                                    "sequence-number", sequence, "format-version",     version,
                                    "first-row-id",    row_id};
    AvroWriter writer;
    avro_writer_init(&writer, schema, metadata,
                     ARRAY_LEN(metadata) / 2 - (format_version >= 3 ? 0 : 1));
    for (size_t i = 0; i < count; i++) {
        put_manifest(&writer.block, &manifests[i], format_version);
        avro_record_end(&writer);
    }
    avro_writer_finish(&writer);
    bool ok = store_put(store, uri, writer.file.data, writer.file.used, err);
    avro_writer_done(&writer);
    return ok || error_wrap(err, "manifest list");
}

/* ---------- reading ---------- */
static Value bound_of(const AvroValue *from)
{
    Value bound = {.type.kind = TYPE_BINARY, .byte_count = (uint32_t)from->count};
    bound.bytes = mem_alloc(from->count);
    memcpy(bound.bytes, from->bytes, from->count);
    return bound;
}

static bool read_summaries(const AvroValue *list, const PartitionSpec *spec, ManifestFile *ret)
{
    if (!list)
        return true;
    if (list->kind != AVRO_ARRAY || list->item_count != spec->field_count)
        return false;
    ret->summaries = mem_array(spec->field_count, sizeof *ret->summaries);
    ret->summary_count = spec->field_count;
    ret->summaries_known = true;
    for (size_t i = 0; i < spec->field_count; i++) {
        const AvroValue *from = &list->items[i];
        PartitionSummary *to = &ret->summaries[i];
        const AvroValue *null = avro_field(from, 509), *nan = avro_field(from, 518);
        const AvroValue *lower = avro_field(from, 510), *upper = avro_field(from, 511);
        to->contains_null = null && null->kind == AVRO_BOOL && null->b;
        to->nan_known = nan && nan->kind == AVRO_BOOL;
        to->contains_nan = to->nan_known && nan->b;
        to->lower.is_null = to->upper.is_null = true;
        if (!lower || !upper)
            continue;
        if (lower->kind != AVRO_BYTES || upper->kind != AVRO_BYTES || lower->count > UINT32_MAX ||
            upper->count > UINT32_MAX)
            return false;
        to->lower = bound_of(lower);
        to->upper = bound_of(upper);
        to->has_bounds = true;
    }
    return true;
}

static bool read_manifest(const AvroValue *from, SpecById *spec_by_id, const void *context,
                          ManifestFile *ret, Error *err)
{
    *ret = (ManifestFile){.path = avro_text(from, 500),
                          .bytes = avro_long(from, 501, 0),
                          .spec_id = (int32_t)avro_long(from, 502, 0),
                          .deletes = avro_long(from, 517, 0) == 1,
                          .sequence_number = avro_long(from, 515, 0),
                          .min_sequence_number = avro_long(from, 516, 0),
                          .snapshot_id = avro_long(from, 503, -1),
                          .added_files = (int32_t)avro_long(from, 504, 0),
                          .existing_files = (int32_t)avro_long(from, 505, 0),
                          .deleted_files = (int32_t)avro_long(from, 506, 0),
                          .added_rows = avro_long(from, 512, 0),
                          .existing_rows = avro_long(from, 513, 0),
                          .deleted_rows = avro_long(from, 514, 0),
                          .first_row_id = avro_long(from, 520, -1),
                          .origin = -1};
    const int32_t counts[] = {504, 505, 506, 512, 513, 514};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        if (avro_long(from, counts[i], -1) < 0 ||
            avro_long(from, counts[i], 0) > (i < 3 ? INT32_MAX : COUNT_MAX))
            return error_set(err, ERROR_DATA, "BadManifestList",
                             "a manifest's numbers of files and rows are not there, as some "
                             "writers of format version 1 leave them out; rewrite the manifests "
                             "(Spark: rewrite_manifests)");
    ret->unassigned_rows = ret->added_rows + ret->existing_rows;
    const PartitionSpec *spec = spec_by_id(context, ret->spec_id);
    if (!ret->path || !spec || ret->first_row_id > ROW_ID_MAX)
        return error_set(err, ERROR_DATA, "BadManifestList",
                         "a manifest has no path, no possible row ids, or its partition spec %d "
                         "is unknown",
                         ret->spec_id);
    return read_summaries(avro_field(from, 507), spec, ret) ||
           error_set(err, ERROR_DATA, "BadManifestList",
                     "%s: its partition summaries do not fit "
                     "partition spec %d",
                     ret->path, ret->spec_id);
}

typedef bool EachRecord(const AvroValue *record, void *context, Error *err);

static bool each_record(Store *store, const char *uri, EachRecord *each, void *context, Error *err)
{
    Bytes data = {0};
    const AvroValue *record = NULL;
    bool ok = store_get(store, uri, LIST_BYTES_MAX, &data, err);
    AUTO(avro_reader_free)
    AvroReader *reader = ok ? avro_reader_open(data.data, data.used, err) : NULL;
    ok = reader && avro_reader_next(reader, &record, err);
    while (ok && record)
        ok = each(record, context, err) && avro_reader_next(reader, &record, err);
    bytes_done(&data);
    return ok || error_wrap(err, "manifest list %s", uri);
}

typedef struct PathCaller {
    ManifestEachPath *each;
    void *context;
} PathCaller;

static bool call_with_path(const AvroValue *record, void *context, Error *err)
{
    const PathCaller *caller = context;
    const AvroValue *path = avro_field(record, 500);
    if (!path || path->kind != AVRO_BYTES)
        return error_set(err, ERROR_DATA, "BadManifestList", "a manifest has no path");
    caller->each((const char *)path->bytes, path->count, caller->context);
    return true;
}

bool manifest_list_paths(Store *store, const char *uri, ManifestEachPath *each, void *context,
                         Error *err)
{
    PathCaller caller = {each, context};
    return each_record(store, uri, call_with_path, &caller, err);
}

typedef struct Collected {
    SpecById *spec_by_id;
    const void *context;
    ManifestFile *manifests;
    size_t count;
} Collected;

static bool collect(const AvroValue *record, void *context, Error *err)
{
    Collected *to = context;
    to->manifests = mem_regrow(to->manifests, to->count + 1, sizeof *to->manifests);
    return read_manifest(record, to->spec_by_id, to->context, &to->manifests[to->count++], err);
}

bool manifest_list_read(Store *store, const char *uri, SpecById *spec_by_id, const void *context,
                        ManifestFile **ret, size_t *ret_count, Error *err)
{
    Collected all = {.spec_by_id = spec_by_id, .context = context};
    if (!each_record(store, uri, collect, &all, err)) {
        manifest_files_free(all.manifests, all.count);
        return false;
    }
    *ret = all.manifests;
    *ret_count = all.count;
    return true;
}
