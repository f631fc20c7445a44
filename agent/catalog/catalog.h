/* Which metadata.json is a table's newest: the one place where commits are decided, by compare and
 * swap. Drivers: directory/ (vN.metadata.json created exclusively is the truth, version-hint.text
 * is a hint, repaired at open); rest/, glue/, jdbc/ to come. A catalog knows nothing of what is
 * inside metadata, but for the requirements and updates of the REST protocol that travel beside it.
 * https://iceberg.apache.org/spec/#file-system-tables
 *
 * Directory layout: <warehouse>/<database>/<table>/metadata/vN.metadata.json; a LakeTable's
 * explicit `location` overrides <warehouse>/<database>/<table>. Several threads may call. */
#pragma once

#include "agent/store/store.h"
#include "common/bytes.h"
#include "common/error.h"

typedef struct Catalog Catalog;

typedef struct TableName {
    const char *database;
    const char *table;
    const char *location; /* canonical URI of the table's root, no slash at the end */
} TableName;

void catalog_close(Catalog *catalog);
/* Does not take the store. */
Catalog *catalog_directory_open(Store *store, Error *err) OWNED_BY(catalog_close);

typedef struct CatalogEntry {
    char *metadata_uri; /* owned; NULL: there is no such table */
    int64_t version;    /* directory: N of vN */
    Bytes metadata;     /* owned; the JSON */
} CatalogEntry;
void catalog_entry_done(CatalogEntry *entry);

/* A missing table is true with metadata_uri NULL. */
MUST_CHECK bool catalog_load(Catalog *catalog, const TableName *name, CatalogEntry *ret,
                             Error *err);

/* Makes `metadata` the newest if `base` (NULL: no table yet) still is. On true *ret_uri (caller
 * frees) and *ret_version name it. CONFLICT: somebody else was first. RETRY: it is not known
 * whether it took effect; load and look for the commit's own snapshot id before anything else. */
MUST_CHECK bool catalog_commit(Catalog *catalog, const TableName *name, const CatalogEntry *base,
                               const char *metadata, size_t metadata_bytes, char **ret_uri,
                               int64_t *ret_version, Error *err);

/* Forgets the table; its files too when purge. A missing table is true. */
MUST_CHECK bool catalog_drop(Catalog *catalog, const TableName *name, bool purge, Error *err);

DEFINE_AUTO(Catalog, catalog_close);
