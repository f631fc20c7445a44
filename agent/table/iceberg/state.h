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
    int32_t schema_id;
    PartitionSpec *specs;
    size_t spec_count;
    size_t current_spec;
    ManifestFile *manifests; /* of the head's list */
    size_t manifest_count;
    bool manifests_known;
    IcebergRetention retention;
    int64_t thinned_ms;            /* when snapshots were last expired by this process */
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
void random_hex(char *to, size_t bytes); /* 2 * bytes + NUL, at most 16 bytes */
void state_specs_free(PartitionSpec *specs, size_t count);
/* The metadata of a table that is not there yet; NULL: CONFIG. */
json_t *metadata_new(const IcebergCreate *create, const TableName *name, Error *err);
json_t *schema_to_json(const Schema *schema, int32_t schema_id);
MUST_CHECK bool schema_from_json(const json_t *json, Schema **ret, Error *err);
/* Ids for everything below a type, from *last + 1 on. */
void type_assign_ids(Type *type, int32_t *last);
/* The type of a column of this or an older schema. */
MUST_CHECK bool schema_type_of(const json_t *schemas, int32_t field_id, Type *ret);

/* The loaded entry becomes the table's; taken in any case. */
MUST_CHECK bool state_adopt_entry(IcebergTable *table, CatalogEntry *entry, Error *err);
/* Is the URI in the table's own folder? Others are never deleted. */
bool state_owns_file(const IcebergTable *table, const char *uri);

/* retention.c: takes expired snapshots out of the (already copied) metadata. The caller owns the
 * array of them. */
json_t *retention_thin(IcebergTable *table, json_t *metadata, int64_t now_ms);
/* sweep.c: deletes what only the expired snapshots held. Errors leave orphans, never a hole; there
 * is nothing to report. */
void retention_clean(IcebergTable *table, json_t *expired);
