/* Which metadata is a table's newest: the one place where commits are decided, by compare and swap.
 * Drivers: directory/ (vN.metadata.json created exclusively is the truth, version-hint.text is a
 * hint, repaired at open), rest/ (Iceberg's REST protocol); glue/, jdbc/ to come. A catalog knows
 * nothing of what is inside metadata: a change travels both as the whole new metadata, for catalogs
 * that are nothing but a pointer, and as the REST protocol's requirements and updates, for those
 * that write it themselves.
 * https://iceberg.apache.org/spec/#file-system-tables
 * https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
 *
 * Directory layout: <warehouse>/<database>/<table>/metadata/vN.metadata.json; a LakeTable's
 * explicit `location` overrides <warehouse>/<database>/<table>. Several threads may call. */
#pragma once

#include <jansson.h>

#include "agent/store/store.h"
#include "common/bytes.h"
#include "common/error.h"

typedef struct Catalog Catalog;

typedef struct TableName {
    const char *database; /* "a" or "a.b": levels of the namespace */
    const char *table;
    const char *location; /* canonical URI of the table's root, no slash at the end; REST: NULL lets
                             the catalog choose when it is made */
} TableName;

void catalog_close(Catalog *catalog);
/* Does not take the store. */
Catalog *catalog_directory_open(Store *store, Error *err) OWNED_BY(catalog_close);

typedef enum RestAuth {
    REST_AUTH_NONE,
    REST_AUTH_BEARER,
    REST_AUTH_OAUTH2,
    REST_AUTH_SIGV4
} RestAuth;
typedef struct RestOptions {
    const char *uri;       /* "http://catalog:8181", without /v1 */
    const char *warehouse; /* as the server knows it; NULL: none is sent */
    const char *ca_pem;    /* NULL: the system's certificates */
    RestAuth auth;
    const char *token;                     /* bearer */
    const char *client_id, *client_secret; /* OAuth2 client credentials */
    const char *oauth2_uri;                /* NULL: <uri>/v1/oauth/tokens */
    const char *scope;                     /* NULL: "catalog" */
    AwsCredentials *signing_credentials;   /* SigV4; not owned */
    const char *signing_region, *signing_service;
    bool vended; /* ask for credentials of each table's files (X-Iceberg-Access-Delegation) */
    const S3Options *s3; /* for the stores of tables; what the server says of endpoint, region and
                            style goes before it. Its credentials are used where none are vended */
    Store *store;        /* for tables whose location is no s3://; not owned; may be NULL */
} RestOptions;
/* Copies the options; fetches the server's configuration at once. CONFIG names the field when the
 * server refuses (401, 403, unknown warehouse); RETRY when it does not answer. */
Catalog *catalog_rest_open(const RestOptions *options, Error *err) OWNED_BY(catalog_close);

typedef struct CatalogEntry {
    char *metadata_uri; /* owned; NULL: there is no such table */
    int64_t version;    /* directory: N of vN */
    Bytes metadata;     /* owned; the JSON */
} CatalogEntry;
void catalog_entry_done(CatalogEntry *entry);

/* A missing table is true with metadata_uri NULL. */
MUST_CHECK bool catalog_load(Catalog *catalog, const TableName *name, CatalogEntry *ret,
                             Error *err);

/* Where the table's files are read and written; the catalog's, good while it is open. Directory:
 * its own store. REST: by the table's location, with vended credentials that renew themselves where
 * the server gives some. entry: as catalog_load or catalog_commit gave it, or for a table that is
 * not there yet what catalog_stage gave. */
MUST_CHECK bool catalog_store(Catalog *catalog, const TableName *name, const CatalogEntry *entry,
                              Store **ret, Error *err);

/* Does a commit need the whole metadata (directory), or the updates alone (REST)? */
bool catalog_keeps_metadata(const Catalog *catalog);

/* A table that is to be made, before it is there: the namespace is made if it is missing, and *ret
 * (caller frees) is the location it will have. Directory: name->location. REST: stage-create, which
 * tells what location the server chose; nothing is there yet. */
MUST_CHECK bool catalog_stage(Catalog *catalog, const TableName *name, const json_t *metadata,
                              char **ret_location, Error *err);

typedef struct CatalogChange {
    const CatalogEntry *base; /* NULL: the table is made */
    const char *metadata;     /* the whole, where catalog_keeps_metadata; else NULL */
    size_t metadata_bytes;
    const json_t *requirements; /* arrays of the REST protocol */
    const json_t *updates;
    const char *id; /* UUID of this commit: Idempotency-Key where the server takes one. The same
                       change may be sent again under the same id */
} CatalogChange;

/* Makes the change if `base` still is the newest (REST: if its requirements hold). On true *ret is
 * the table now; its metadata is empty when it is what was handed in. CONFLICT: somebody else was
 * first. RETRY: it is not known whether it took effect; load and look for the commit's own snapshot
 * id before anything else; code "NotSent": it surely did not. */
MUST_CHECK bool catalog_commit(Catalog *catalog, const TableName *name, const CatalogChange *change,
                               CatalogEntry *ret, Error *err);

/* Forgets the table; its files too when purge. A missing table is true. */
MUST_CHECK bool catalog_drop(Catalog *catalog, const TableName *name, bool purge, Error *err);

DEFINE_AUTO(Catalog, catalog_close);
