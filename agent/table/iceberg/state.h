/* An IcebergTable from inside; for the files of this folder alone. */
#pragma once

#include "agent/table/iceberg/iceberg.h"
#include "agent/table/iceberg/manifest_file.h"

/* A snapshot as a step of the table's history. */
typedef struct Step {
    json_t *snapshot; /* the metadata's; NULL: it is leaving */
    const char *list; /* the URI of its manifest list; NULL: none is said. The snapshot's */
    bool appends;     /* nothing was removed by it */
    int64_t id, parent_id, sequence, time_ms;
    int64_t parent; /* index; -1: none, or no longer known */
    bool on_chain;  /* history_mark */
    bool keep;      /* retention.c */
} Step;

typedef struct History {
    Step *steps; /* owned */
    size_t count;
} History;

/* Expired snapshots whose files have to stay for now: see leaving.c. */
typedef struct LeavingBatch {
    char *uri;         /* of the file that tells of them; NULL: it could not be written */
    int64_t newest_ms; /* time of the newest of them */
    Step *steps;       /* without a snapshot; their lists' URIs are owned */
    size_t count;
} LeavingBatch;
typedef struct Leaving {
    LeavingBatch *batches;
    size_t count;
    bool known; /* those that an earlier process left have been looked for */
} Leaving;
void leaving_done(Leaving *leaving);

/* Metadata as text, with what is needed to reuse it: see text.c. */
#define TEXT_ARRAYS 5
typedef struct TextArray {
    json_t *array; /* held, so that its entries keep their addresses; NULL: not there */
    size_t start, count;
    size_t *ends; /* of the entries, in the text; owned */
} TextArray;
typedef struct TextMember {
    json_t *value; /* held */
    size_t start, bytes;
} TextMember;
typedef struct MetadataText {
    Bytes text;
    TextArray arrays[TEXT_ARRAYS];
    TextMember *members; /* the others; owned */
    size_t member_count;
} MetadataText;
/* The text of the metadata, by the help of older text (empty is fine). Whatever members, or entries
 * of the arrays, are shared between the two must not have been changed since. */
void metadata_text_init(MetadataText *to, json_t *metadata, const MetadataText *known);
void metadata_text_done(MetadataText *text);

struct IcebergTable {
    Catalog *catalog; /* not owned */
    Store *store;     /* the catalog's for this table; not owned */
    char *database, *name;
    char *asked_location; /* NULL: what the catalog chooses */
    char *location;       /* canonical URI */
    char *location_before;
    CatalogEntry entry; /* without the text of the metadata */
    json_t *metadata;
    History history;   /* of the metadata */
    MetadataText text; /* as last written by us; may be of older metadata, or empty */
    int format_version;
    Schema *schema;
    char *schema_json;
    int32_t schema_id;
    PartitionSpec *specs;
    size_t spec_count;
    size_t current_spec;
    ManifestFile *manifests; /* of the head's list */
    size_t manifest_count;
    bool manifests_known;
    IcebergRetention retention;
    Leaving leaving;
    bool never_thin;               /* the catalog sees to its snapshots itself */
    int64_t thinned_ms;            /* when snapshots were last expired by this process */
    int64_t looked_ms;             /* when it was last looked whether some are due */
    int32_t look_after;            /* so many commits */
    char file_prefix[33];          /* random: names of files never collide with another process's */
    _Atomic uint64_t file_counter; /* names may be asked for by several threads */
};

static inline TableName table_name(const IcebergTable *table)
{
    return (TableName){table->database, table->name, table->asked_location};
}
/* Fills everything that follows from the metadata; takes it in any case. keep_manifests: those the
 * table has are, or become, the ones of its head. */
MUST_CHECK bool state_adopt(IcebergTable *table, json_t *metadata, bool keep_manifests, Error *err);
/* Where its files are, by the metadata and the entry it has now. */
MUST_CHECK bool state_find_store(IcebergTable *table, Error *err);
MUST_CHECK bool state_load_manifests(IcebergTable *table, Error *err);
const PartitionSpec *state_spec_by_id(const void *table, int32_t spec_id);
/* The snapshot of that id in any metadata; NULL. */
json_t *metadata_snapshot(const json_t *metadata, int64_t snapshot_id);
int64_t metadata_head(const json_t *metadata); /* -1: none */
char *metadata_file_uri(IcebergTable *table, const char *prefix, const char *suffix) OWNED_BY(free);
void random_hex(char *to, size_t bytes);     /* 2 * bytes + NUL, at most 16 bytes */
void random_uuid(int version, char ret[37]); /* 4, or 7: starts with the time */
void state_specs_free(PartitionSpec *specs, size_t count);
json_t *schema_to_json(const Schema *schema, int32_t schema_id);
/* The same, where `from` says more of fields that stay (as others may have written it) with that.
 */
json_t *schema_change_json(const json_t *from, const Schema *schema, int32_t schema_id);
MUST_CHECK bool schema_from_json(const json_t *json, Schema **ret, Error *err);
/* The type of a column of this or an older schema. */
MUST_CHECK bool schema_type_of(const json_t *schemas, int32_t field_id, Type *ret);

/* The loaded entry becomes the table's; taken in any case. */
MUST_CHECK bool state_adopt_entry(IcebergTable *table, CatalogEntry *entry, Error *err);
/* Is the URI in the table's own folder? Others are never deleted. */
bool state_owns_file(const IcebergTable *table, const char *uri);

/* How small manifests are merged: by the table's properties commit.manifest…, else as the retention
 * says. */
typedef struct Merging {
    int32_t fanout; /* so many of a tier become one; 0: none ever */
    int64_t target_bytes;
} Merging;
Merging state_merging(const IcebergTable *table);
/* Predecessors of metadata.json that are kept: write.metadata.previous-versions-max, else as the
 * retention says. */
size_t state_metadata_files(const IcebergTable *table);

/* Is it time to look for snapshots that are to go? */
bool retention_is_time(IcebergTable *table, int64_t now_ms);
/* retention.c: the ids of snapshots that are to go with this commit, by what the metadata will be
 * (its history); NULL: none. */
json_t *retention_choose(IcebergTable *table, const json_t *metadata, History *history,
                         int64_t now_ms);
/* May anything of the table be deleted? */
bool retention_allowed(const IcebergTable *table, const json_t *metadata);
/* leaving.c: after a commit that expired these (NULL: none): deletes what nobody may be reading any
 * more. Errors leave orphans, never a hole; there is nothing to report. */
void retention_clean(IcebergTable *table, const json_t *expired);
/* The manifest lists of all that are leaving, as the files beside the table tell. */
typedef bool LeavingEach(void *context, const char *list, Error *err);
MUST_CHECK bool leaving_each(IcebergTable *table, LeavingEach *each, void *context, Error *err);
/* sweep.c: deletes what only those of the steps held that the table no longer has; what is still
 * leaving stays. */
void sweep(IcebergTable *table, const Step *gone, size_t count);
