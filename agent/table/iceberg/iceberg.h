/* Iceberg tables, v2 and v3: metadata, snapshots, manifests, Puffin. Everything between "these
 * files are written" and "the catalog has the new metadata". https://iceberg.apache.org/spec/
 *
 * An IcebergTable is the table as last loaded or committed, with what is needed for the next
 * commit. One thread at a time. It holds no rows and opens no data files.
 *
 *   avro.h          the narrow Avro object file writer and reader manifests need
 *   manifest_file.h entries and manifest lists
 *   metadata.c      metadata.json; table.c: loaded, made, refreshed, asked
 *   change.h        a change as the REST protocol has it, and what it makes of metadata
 *   partition.c     transforms
 *   puffin.c        deletion vectors
 *   rollback.c      back to an older snapshot
 *   snapshot.c      one commit; build.c: its manifests, summary.c: what it says of itself
 *   history.c       ancestors; retention.c: thinning, sweep.c: what goes with it
 *   orphans.c       files that no snapshot names; turn.h: who removes them, and how it went */
#pragma once

#include <jansson.h>
#include <roaring/roaring.h>
#include <stdatomic.h>

#include "agent/catalog/catalog.h"
#include "agent/record/batch.h"
#include "agent/table/parquet/parquet.h"

#define ICEBERG_ROW_ID_FIELD 2147483540           /* _row_id */
#define ICEBERG_LAST_UPDATED_SEQ_FIELD 2147483539 /* _last_updated_sequence_number */
#define ICEBERG_POS_DELETE_PATH_FIELD 2147483546
#define ICEBERG_POS_DELETE_POS_FIELD 2147483545

/* ---------- partitioning ---------- */
typedef enum TransformKind {
    TRANSFORM_IDENTITY,
    TRANSFORM_BUCKET,
    TRANSFORM_TRUNCATE,
    TRANSFORM_YEAR,
    TRANSFORM_MONTH,
    TRANSFORM_DAY,
    TRANSFORM_HOUR,
    TRANSFORM_VOID,
} TransformKind;

typedef struct PartitionField {
    char *name;
    int32_t source_id;
    uint32_t source; /* index of the column in the schema */
    int32_t field_id;
    TransformKind transform;
    int32_t argument; /* bucket count, truncate width */
    Type result;
} PartitionField;

typedef struct PartitionSpec {
    int32_t spec_id;
    PartitionField *fields;
    size_t field_count;
} PartitionSpec;

/* A single value, as in partition tuples and bounds. Text in `bytes` is owned by whoever holds the
 * Value. */
typedef struct Value {
    bool is_null;
    Type type;
    union {
        bool b;
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        __int128 i128;
        uint8_t uuid[16];
    };
    uint8_t *bytes; /* string, binary, fixed */
    uint32_t byte_count;
} Value;
void value_done(Value *value);
void value_copy(Value *to, const Value *from); /* deep */

/* Parses one entry of partitionBy ("day(created_at)", "bucket(16, id)", "country") against the
 * schema; CONFIG error names the entry, an unknown column with its nearest name, or a transform
 * that the type does not allow. */
MUST_CHECK bool partition_field_parse(const char *text, const Schema *schema, PartitionField *ret,
                                      Error *err);
/* As partitionBy has it; caller frees. */
char *partition_field_text(const PartitionField *field, const Schema *schema) OWNED_BY(free);
/* The transformed value of one row. */
void partition_value(const PartitionField *field, const Column *column, uint32_t row, Value *ret);
/* "day=2026-11-21/id_bucket=3", values URL-escaped, each part of a length that file systems take;
 * caller frees. */
char *partition_path(const PartitionSpec *spec, const Value *values) OWNED_BY(free);

/* ---------- files ---------- */
typedef enum FileContent {
    FILE_DATA = 0,
    FILE_POSITION_DELETES = 1,
    FILE_EQUALITY_DELETES = 2
} FileContent;
typedef enum FileFormat { FORMAT_PARQUET, FORMAT_PUFFIN, FORMAT_OTHER } FileFormat;

typedef struct DataFile {
    FileContent content;
    FileFormat format;
    char *path; /* URI; owned */
    int32_t spec_id;
    Value *partition; /* one per field of the spec; owned */
    size_t partition_count;
    uint64_t record_count;
    uint64_t file_bytes;
    ParquetFieldMetrics *metrics; /* owned; may be NULL */
    size_t metric_count;
    int64_t *split_offsets; /* owned */
    size_t split_count;
    int64_t sequence_number; /* data sequence number; 0 for fresh files */
    int64_t first_row_id;    /* v3 data files; -1: none or not known until the commit */
    /* deletion vectors (v3) and position deletes that name one file */
    char *referenced_data_file; /* owned; NULL: none */
    int64_t content_offset;     /* DV: of the blob in the Puffin file; -1: none */
    int64_t content_bytes;
} DataFile;
void data_file_done(DataFile *file);

/* ---------- a table ---------- */
typedef struct IcebergTable IcebergTable;

void iceberg_table_free(IcebergTable *table);

/* Loads the table; *ret NULL when the catalog has none. The catalog, which says where the table's
 * files are, must outlive it. */
MUST_CHECK bool iceberg_table_load(Catalog *catalog, const TableName *name, IcebergTable **ret,
                                   Error *err);

typedef struct IcebergCreate {
    int format_version;   /* 2 or 3 */
    const Schema *schema; /* ids are assigned here, 1 .. n, elements after the top level; key ->
                             identifier-field-ids: required columns, no floating point (CONFIG) */
    const char *const *partition_by; /* texts as in the manifest */
    size_t partition_count;
    const char *const *properties; /* key, value, key, value, … */
    size_t property_count;         /* pairs */
} IcebergCreate;
/* CONFLICT when it appeared meanwhile. */
MUST_CHECK bool iceberg_table_create(Catalog *catalog, const TableName *name,
                                     const IcebergCreate *create, IcebergTable **ret, Error *err);

/* Loads again if the catalog has newer metadata; *ret_changed says so. CONFIG "TableDropped" when
 * it is gone, or when its table-uuid is another. */
MUST_CHECK bool iceberg_table_refresh(IcebergTable *table, bool *ret_changed, Error *err);

int iceberg_format_version(const IcebergTable *table);
const char *iceberg_uuid(const IcebergTable *table);
const char *iceberg_location(const IcebergTable *table); /* canonical URI */
Store *iceberg_store(const IcebergTable *table); /* of its files; good while the catalog is open */
const Schema *
iceberg_schema(const IcebergTable *table); /* current, with ids; identifier fields as key */
const char *iceberg_schema_json(const IcebergTable *table);     /* of the current schema */
char *iceberg_schema_text(const Schema *schema) OWNED_BY(free); /* of any, without its own id */
/* Ids for everything below a type, from *last + 1 on. */
void type_assign_ids(Type *type, int32_t *last);
int32_t iceberg_last_column_id(const IcebergTable *table);
const PartitionSpec *iceberg_partition_spec(const IcebergTable *table); /* current */
const PartitionSpec *iceberg_partition_spec_by_id(const IcebergTable *table, int32_t spec_id);
const char *iceberg_property(const IcebergTable *table, const char *key); /* NULL: not set */
/* What a unit says of its place in its source goes by this and the unit's name: see table.h. */
#define ICEBERG_CLAIM "firn.position."
/* The key of a property that begins so; NULL: there is none. */
const char *iceberg_property_like(const IcebergTable *table, const char *prefix);
const json_t *iceberg_metadata(const IcebergTable *table);   /* the whole, for `inspect` */
int64_t iceberg_current_snapshot(const IcebergTable *table); /* id of main, -1: none */
/* Is `ancestor` the head of main or one of its ancestors? Where the chain of parents is cut by
 * expiry, it is taken to go on at the next older snapshot; one that is not known counts as expired
 * with the rest, if no snapshot is newer than the head. See history.c. */
bool iceberg_is_ancestor(const IcebergTable *table, int64_t ancestor);
/* Does the head say which row ids its rows have? One of version 2 does not, nor do its rows have
 * any, also once the table is of version 3: the next snapshot gives them theirs.
 * https://iceberg.apache.org/spec/#row-lineage-for-upgraded-tables */
bool iceberg_has_row_ids(const IcebergTable *table);
int64_t iceberg_snapshot_time_ms(const IcebergTable *table, int64_t snapshot_id); /* -1: unknown */
const char *iceberg_snapshot_summary(const IcebergTable *table, int64_t snapshot_id,
                                     const char *key); /* NULL: none */

/* Every live file of the head: data files first, then delete files. `file` is the callee's to read
 * only; copy what is kept. Returning false from each stops with the callback's *err. */
typedef bool IcebergEachFile(const DataFile *file, void *context, Error *err);
MUST_CHECK bool iceberg_each_file(IcebergTable *table, IcebergEachFile *each, void *context,
                                  Error *err);

/* Deletes those of the files, in the table's own folder, that none of its snapshots holds, expired
 * ones whose files are still there among them. What can't be read deletes nothing. */
void iceberg_delete_unheld(IcebergTable *table, const char *const *uris, size_t count);

/* The same of all that lie below data/, as far as `is_left` says so by URI and time. */
typedef bool IcebergGoes(void *context, const char *uri, int64_t modified_us);
MUST_CHECK bool iceberg_sweep_unheld(IcebergTable *table, IcebergGoes *is_left, void *context,
                                     Error *err);

/* ---------- files that nobody names: orphans.c ---------- */
typedef struct IcebergOrphans {
    int64_t older_than_us;               /* than the units' last commits; a day at least */
    bool (*is_others)(const char *name); /* files that somebody else sees to; NULL: none */
    bool dry_run;                        /* nothing is deleted; the figures are what would be */
    /* Each, before it is deleted; NULL. */
    void (*each)(void *context, const char *uri, uint64_t bytes, int64_t modified_us);
    void *context;
    const atomic_bool *stop; /* RETRY "Stopped" soon after it is set; NULL */
} IcebergOrphans;

typedef struct IcebergOrphanFigures {
    uint64_t seen; /* files that lie there */
    uint64_t files, bytes;
    uint64_t held;     /* old ones that stayed, for a commit may yet name them */
    int64_t before_us; /* files of that time and younger stayed; below 0: all did */
    bool more;         /* there were too many for one run */
} IcebergOrphanFigures;

/* Loads the table anew. CONFIG "NotAllowed", "LocationShared"; what can't be read deletes nothing.
 * *ret is filled in any case. */
MUST_CHECK bool iceberg_remove_orphans(IcebergTable *table, const IcebergOrphans *how,
                                       IcebergOrphanFigures *ret, Error *err);

/* A data file's URI: <location>/data/<partition path>/<name>-<counter>.parquet, of a name that is
 * nobody else's; caller frees. */
char *iceberg_named_file_uri(IcebergTable *table, const char *partition_path, const char *name,
                             const char *suffix) OWNED_BY(free);
/* … of a random name, the table's own. suffix such as ".parquet", "-deletes.parquet", ".puffin". */
char *iceberg_new_file_uri(IcebergTable *table, const char *partition_path, const char *suffix)
    OWNED_BY(free);

/* ---------- one commit ---------- */
typedef struct IcebergCommit {
    DataFile *added; /* data and delete files; sequence_number and first_row_id are filled in on
                        success */
    size_t added_count;
    const char *const
        *removed; /* data file URIs that are gone altogether (all rows deleted, rewritten) */
    size_t removed_count;
    /* Deletion vectors that the added ones replace, named by the data file they belong to, are
     * removed by the commit itself (v3: one per data file). Delete files of removed data files go
     * with them (DVs; position deletes naming only it). */
    /* Position delete files that go without a data file of theirs going: URIs. What the table no
     * longer holds is passed over. */
    const char *const *retired;
    size_t retired_count;
    bool remove_all; /* truncate: every file of before is removed; `added` stays */
    /* Summary entries and table properties to set, pairs. "%SNAPSHOT%" in a value stands for the
     * new snapshot's id. */
    const char *const *summary;
    size_t summary_count;
    const char *const *properties;
    size_t property_count;
    /* The table's columns from this commit on, ids and all, key -> identifier-field-ids; NULL: as
     * they are. The files may be of the old ones or of these. */
    const Schema *schema;
    int32_t last_column_id; /* with a schema: the highest id that was ever given */
    /* The table's from this commit on, where its own is lower; 0: as it is. With version 3 every
     * row of before gets its row id. */
    int format_version;
    const char *operation; /* NULL: append, overwrite or delete, as the files say */
} IcebergCommit;

/* Retention as law 10 has it; part of every commit. A snapshot's files stay for all_ms, whether or
 * not the metadata still tells of it: somebody may be reading them. */
typedef struct IcebergRetention {
    int64_t all_ms;          /* every snapshot younger than this stays (1 h) … */
    int32_t burst_most;      /* … up to so many, and one per second; 0: all (50) */
    int32_t young_most;      /* … up to so many, and one per twelfth of all_ms; 0: all (1,000) */
    int64_t hourly_ms;       /* then one per hour (5 d) */
    int64_t daily_ms;        /* then one per day (30 d); older ones go, never the head or a ref's */
    int32_t metadata_files;  /* predecessors kept (100) */
    int32_t merge_manifests; /* so many small manifests of like size are merged (10) */
    int64_t manifest_bytes;  /* target (8 MiB) */
} IcebergRetention;
extern const IcebergRetention iceberg_retention_default; /* the figures in brackets */
/* The table's properties commit.manifest-merge.enabled, commit.manifest.min-count-to-merge,
 * commit.manifest.target-size-bytes and write.metadata.previous-versions-max go before it. */
void iceberg_set_retention(IcebergTable *table, const IcebergRetention *retention);

/* Do commits expire snapshots? Not with gc.enabled=false, or where the catalog sees to that. */
bool iceberg_thins(const IcebergTable *table);

typedef struct IcebergAttempt IcebergAttempt;

typedef enum IcebergAnswer {
    ICEBERG_TAKEN,   /* the table's state is the new one */
    ICEBERG_REFUSED, /* surely no effect: what it was made for no longer stands */
    ICEBERG_UNKNOWN, /* no answer: it may have taken effect, or may yet */
    ICEBERG_FAILED,  /* surely no effect, for another reason */
} IcebergAnswer;

/* Frees memory only. */
void iceberg_attempt_free(IcebergAttempt *attempt);
/* Writes manifests and list on top of the state the table has now. The commit and its files outlive
 * the attempt. On failure nothing of it is left. */
IcebergAttempt *iceberg_attempt_new(IcebergTable *table, IcebergCommit *commit, Error *err)
    OWNED_BY(iceberg_attempt_free);
int64_t iceberg_attempt_id(const IcebergAttempt *attempt); /* the snapshot's */
/* Sends it, once; it may be sent again, and asserts the same then. *why says what is wrong unless
 * TAKEN. */
IcebergAnswer iceberg_attempt_send(IcebergAttempt *attempt, Error *why);
/* The table, loaded again since, holds it: `added` is filled in as by TAKEN. */
void iceberg_attempt_found(IcebergAttempt *attempt);
/* It has surely not taken effect and never will: its manifests go. */
void iceberg_attempt_undo(IcebergAttempt *attempt);

/* Is the snapshot known, and the head or under it? */
bool iceberg_history_holds(const IcebergTable *table, int64_t snapshot_id);
typedef enum IcebergForeign {
    ICEBERG_FILES_SAME, /* expiry, properties, branches and tags */
    ICEBERG_FILES_ADDED,
    ICEBERG_FILES_CHANGED, /* removed or replaced, or `since` is not under the head */
} IcebergForeign;
/* What was done to the files of main since the snapshot (-1: the empty table). */
IcebergForeign iceberg_foreign(const IcebergTable *table, int64_t since);
int64_t iceberg_last_sequence(const IcebergTable *table);

/* ---------- going back ---------- */
/* The newest snapshot that the head stands on, or is, and that is no younger; -1: none is known. */
int64_t iceberg_snapshot_at(const IcebergTable *table, int64_t time_ms);
/* What the snapshot's summary says, or that of the nearest one below it that says anything; NULL:
 * none does, as far as they are known. */
const char *iceberg_said(const IcebergTable *table, int64_t snapshot_id, const char *key);
/* Makes the snapshot the head of main, and sets the properties (pairs) with it. Snapshots that were
 * on top stay until they are expired. The table is as loaded before: refresh it. *why as
 * iceberg_attempt_send; FAILED with CONFIG "SnapshotMissing" when it is not known. */
IcebergAnswer iceberg_roll_back(IcebergTable *table, int64_t snapshot_id,
                                const char *const *properties, size_t property_count, Error *why);

/* ---------- deletes ---------- */
/* One Puffin file with a deletion-vector-v1 blob per entry. https://iceberg.apache.org/puffin-spec/
 * Fills in, for each, a DataFile (content position deletes, format Puffin, offsets, record_count =
 * cardinality). */
typedef struct DeletionVector {
    const char *data_file; /* URI */
    const roaring_bitmap_t *rows;
    int32_t spec_id;
    const Value *partition;
    size_t partition_count;
} DeletionVector;
MUST_CHECK bool puffin_write_vectors(Store *store, const char *uri, const DeletionVector *vectors,
                                     size_t count, DataFile *ret_files, Error *err);
/* The vector that `file` (a DV of iceberg_each_file) names; caller frees with roaring_bitmap_free.
 * Checked: magic, CRC, cardinality. */
MUST_CHECK bool puffin_read_vector(Store *store, const DataFile *file, roaring_bitmap_t **ret,
                                   Error *err);

DEFINE_AUTO(IcebergTable, iceberg_table_free);
DEFINE_AUTO(IcebergAttempt, iceberg_attempt_free);
