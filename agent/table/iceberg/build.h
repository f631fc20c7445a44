/* A commit while it is being made: the new snapshot's manifests and what they add up to. */
#pragma once

#include "agent/table/iceberg/hashes.h"
#include "agent/table/iceberg/state.h"

/* What a snapshot adds, or removes. */
typedef struct Counts {
    int64_t files, records, bytes; /* bytes of delete files, too; of a vector its blob's */
    int64_t delete_files, position_files, vectors, position_deletes;
    int64_t equality_files, equality_deletes;
} Counts;

/* A data file that is removed, or whose deletes are replaced; a delete file that goes. */
typedef struct Named {
    uint64_t hash;
    const char *path;
    bool found;
} Named;

typedef struct Build {
    IcebergTable *table;
    const IcebergCommit *commit;
    json_t *schema;    /* the table's with this commit; owned */
    char *schema_json; /* its text; owned */
    int32_t schema_id;
    bool schema_is_new; /* the metadata does not have it yet */
    int format_version; /* the table's with this commit */
    int64_t snapshot_id, sequence_number, first_row_id, next_row_id;
    ManifestFile *manifests; /* those with origin >= 0 are the table's still */
    size_t count;
    char **written; /* URIs of what was written, to delete when the commit loses */
    size_t written_count;
    Named *removed, *replaced; /* sorted by hash */
    size_t removed_count, replaced_count;
    Counts added_counts, removed_counts;
    int64_t manifests_created, manifests_replaced;
    Merging merging;
    Hashes partitions; /* that were changed */
} Build;

/* Writes the manifests. */
MUST_CHECK bool build_manifests(Build *build, Error *err);
/* A URI in the table's metadata folder that is deleted with the build; it owns the text. */
char *build_uri(Build *build, const char *prefix);
/* Row ids for the new manifests, and then for the added files. */
void build_assign_row_ids(Build *build);
void build_fill_in_added(const Build *build);
/* The list becomes the table's. */
void build_hand_over(Build *build);
/* Deletes what was written: the commit has surely not taken effect. */
void build_undo(Build *build);
void build_done(Build *build);

/* summary.c */
json_t *summary_json(Build *build, const json_t *parent);
/* The text with the snapshot's id for %SNAPSHOT%. */
json_t *build_text(const Build *build, const char *text);
