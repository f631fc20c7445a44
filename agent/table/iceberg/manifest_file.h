/* Manifests and manifest lists: which files a snapshot holds.
 * https://iceberg.apache.org/spec/#manifests, #manifest-lists
 *
 * A manifest is written once. Entries that are new stand in it with null sequence numbers (they
 * inherit the snapshot's); entries carried over from another manifest are copied field by field
 * from what was read, so that nothing another engine wrote is lost. */
#pragma once

#include "agent/table/iceberg/avro.h"
#include "agent/table/iceberg/hashes.h"
#include "agent/table/iceberg/iceberg.h"

#define ROW_ID_MAX ((int64_t)1 << 62) /* of what is read; sums below it can't overflow */

typedef enum EntryStatus { ENTRY_EXISTING = 0, ENTRY_ADDED = 1, ENTRY_DELETED = 2 } EntryStatus;

typedef struct PartitionSummary {
    bool contains_null, contains_nan, nan_known, has_bounds;
    /* Being written: of the field's type. In a list: TYPE_BINARY, the bound's bytes as they stand
     * there (they may be of a type the column has since been widened from). */
    Value lower, upper;
} PartitionSummary;

/* One entry of a manifest list. */
typedef struct ManifestFile {
    char *path; /* URI; owned */
    int64_t bytes;
    int32_t spec_id;
    bool deletes; /* content */
    int64_t sequence_number, min_sequence_number, snapshot_id;
    int32_t added_files, existing_files, deleted_files;
    int64_t added_rows, existing_rows, deleted_rows;
    PartitionSummary *summaries; /* one per field of the spec; owned */
    size_t summary_count;
    bool summaries_known;
    int64_t first_row_id; /* v3 data manifests; -1: none */
    /* --- not in the list --- */
    int64_t unassigned_rows; /* of entries that inherit a row id from first_row_id */
    /* Live entries by hash, so that a commit need not read what it does not change: paths; of a
     * delete manifest the data files they name, too. Read when first needed. */
    Hashes keys;
    bool keys_known;
    int64_t origin; /* in a Build: index among the table's manifests, which owns it; -1: new */
} ManifestFile;
void manifest_file_done(ManifestFile *manifest);
MUST_CHECK bool manifest_load_keys(Store *store, ManifestFile *manifest, Error *err);
/* {"name", "transform", "source-id", "field-id"} as it stands in specs; partition.c. */
json_t *partition_field_json(const PartitionField *field);
/* The other way, against the schema's columns; old specs may name columns that only older schemas
 * have (`schemas` of the metadata). */
MUST_CHECK bool partition_field_from_json(const json_t *json, const Schema *schema,
                                          const json_t *schemas, PartitionField *ret, Error *err);
uint64_t path_hash(const char *path, size_t bytes);

/* ---------- writing a manifest ---------- */
typedef struct ManifestWriter {
    AvroWriter avro;
    const PartitionSpec *spec;
    const char *table_schema_json;
    int32_t schema_id;
    int format_version;
    int64_t snapshot_id;
    ManifestFile file; /* what is known of it so far */
    bool started;
} ManifestWriter;

/* The field-id-annotated schema of entries is made from the spec. table_schema_json goes into the
 * header; both must outlive the writer. Nothing is made of them before there is an entry. */
void manifest_writer_init(ManifestWriter *writer, const PartitionSpec *spec,
                          const char *table_schema_json, int32_t schema_id, int format_version,
                          bool deletes, int64_t snapshot_id);
void manifest_put_added(ManifestWriter *writer, const DataFile *file);
/* entry: as read from another manifest, with what it inherited there made explicit. */
typedef struct ManifestEntry {
    EntryStatus status;
    int64_t snapshot_id, sequence_number, file_sequence_number; /* -1: unknown */
    int64_t first_row_id;                                       /* -1: none */
    const AvroValue *data_file;
} ManifestEntry;
MUST_CHECK bool manifest_put_carried(ManifestWriter *writer, const ManifestEntry *entry,
                                     EntryStatus status, Error *err);
/* Hash of an entry's partition, its spec included. */
MUST_CHECK bool manifest_entry_partition(const ManifestEntry *entry, const PartitionSpec *spec,
                                         uint64_t *ret_hash, Error *err);
uint64_t partition_hash(const PartitionSpec *spec, const Value *values);
/* Writes it to the store. *ret is the caller's; its sequence_number is set by the caller. Nothing
 * put: *ret is zeroed. */
MUST_CHECK bool manifest_writer_finish(ManifestWriter *writer, Store *store, const char *uri,
                                       ManifestFile *ret, Error *err);
void manifest_writer_done(ManifestWriter *writer);

/* ---------- reading ---------- */
typedef bool ManifestEach(const ManifestEntry *entry, void *context, Error *err);
/* Every entry, deleted ones too. */
MUST_CHECK bool manifest_read(Store *store, const ManifestFile *manifest, ManifestEach *each,
                              void *context, Error *err);
/* The entry's file as a DataFile; *ret is the caller's. */
MUST_CHECK bool manifest_entry_file(const ManifestEntry *entry, const ManifestFile *manifest,
                                    const PartitionSpec *spec, DataFile *ret, Error *err);

/* ---------- manifest lists ---------- */
MUST_CHECK bool manifest_list_write(Store *store, const char *uri, const ManifestFile *manifests,
                                    size_t count, int format_version, int64_t snapshot_id,
                                    int64_t parent_id, int64_t sequence_number,
                                    int64_t first_row_id, Error *err);
typedef const PartitionSpec *SpecById(const void *context, int32_t spec_id);
MUST_CHECK bool manifest_list_read(Store *store, const char *uri, SpecById *spec_by_id,
                                   const void *context, ManifestFile **ret, size_t *ret_count,
                                   Error *err);
/* The manifests' URIs, and no more. */
typedef void ManifestEachPath(const char *path, size_t bytes, void *context);
MUST_CHECK bool manifest_list_paths(Store *store, const char *uri, ManifestEachPath *each,
                                    void *context, Error *err);
void manifest_files_free(ManifestFile *manifests, size_t count);
