/* An IcebergTable from inside; for the files of this folder alone. */
#pragma once

#include "agent/table/iceberg/iceberg.h"
#include "agent/table/iceberg/manifest_file.h"

struct IcebergTable {
    Store *store;     /* not owned */
    Catalog *catalog; /* not owned */
    char *database, *name, *location;
    CatalogEntry entry; /* without the text of the metadata */
    json_t *metadata;
    int format_version;
    Schema *schema;
    char *schema_json;
    PartitionSpec *specs;
    size_t spec_count;
    size_t current_spec;
    ManifestFile *manifests; /* of the head's list */
    size_t manifest_count;
    bool manifests_known;
    IcebergRetention retention;
    char file_prefix[33];          /* random: names of files never collide with another process's */
    _Atomic uint64_t file_counter; /* names may be asked for by several threads */
};

static inline TableName table_name(const IcebergTable *table)
{
    return (TableName){table->database, table->name, table->location};
}
/* Fills everything that follows from the metadata; takes it in any case. */
MUST_CHECK bool state_adopt(IcebergTable *table, json_t *metadata, Error *err);
MUST_CHECK bool state_load_manifests(IcebergTable *table, Error *err);
const PartitionSpec *state_spec_by_id(const void *table, int32_t spec_id);
/* The snapshot of that id in any metadata; NULL. */
json_t *metadata_snapshot(const json_t *metadata, int64_t snapshot_id);
int64_t metadata_head(const json_t *metadata); /* -1: none */
char *metadata_file_uri(IcebergTable *table, const char *prefix, const char *suffix) OWNED_BY(free);
void random_uuid(char ret[37]);
json_t *schema_to_json(const Schema *schema, int32_t schema_id);
MUST_CHECK bool schema_from_json(const json_t *json, Schema **ret, Error *err);

/* retention.c: takes expired snapshots out of the (already copied) metadata, oldest first and not
 * too many at once. *ret_expired holds them, caller decrefs. */
void retention_thin(const IcebergTable *table, json_t *metadata, int64_t now_ms,
                    json_t **ret_expired);
/* Deletes what only the expired snapshots held. Errors leave orphans, never a hole; nothing to
 * report. */
void retention_clean(IcebergTable *table, const json_t *expired);
